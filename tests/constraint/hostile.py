"""Schemas, patterns and grammars that are meant to take forever, against the bounds that docs/constraints.md states.

    hostile.py BUILD/constraint_driver [--seconds N]

Each is compiled by a process of its own and, if it compiles, followed for a few random texts over the 256 bytes. Exits with 1 when one takes
more processor time than N seconds (10), or does not end in an answer.
"""

import argparse
import json
import resource
import subprocess
import sys

PATTERNS = [r"(a|b)*a(a|b){14}", r"(?:a{0,40}b{0,40}){0,30}c", r"(x+x+)+y", r"(.*a){12}", r"(a?){80}a{80}", r"\w{1,900}x\w{1,90}",
            r"(?:[a-z]{1,50}\.){1,30}[a-z]{2,6}", r"(?!.*(aa|bb|cc|dd))\w{1,200}",
            r"^(?=.*\d)(?=.*[a-z])(?=.*[A-Z])(?=.*[^a-zA-Z0-9]).{8,64}$", r"a{99999}", r"((a{100}){100}){100}"]


def letter(i):
    return chr(97 + i % 26)


def nested(before, inner, behind, n):
    return json.loads(before * n + inner + behind * n)


def schemas():
    for pattern in PATTERNS:
        yield pattern, {"type": "string", "pattern": pattern, "minLength": 20, "maxLength": 2000}
    strings = {f"p{i}": {"type": "string", "pattern": f"(a|b)*a(a|b){{11}}{i}"} for i in range(4000)}
    yield "200 costly patterns", {"type": "object", "properties": dict(list(strings.items())[:200])}
    yield "4,000 costly patterns", {"type": "object", "properties": strings}
    yield "oneOf patterns", {"oneOf": [{"type": "string", "pattern": "^.*%s.*$" % letter(i) + "x" * (i // 26)} for i in range(40)]}
    yield "allOf patterns", {"allOf": [{"type": "string", "pattern": letter(i) * (1 + i // 26)} for i in range(30)]}
    yield "deep items", nested('{"items":', "{}", "}", 250)
    yield "deep not", nested('{"not":', '{"type":"string"}', "}", 250)
    graph = {f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{(i + 1) % 300}"}, "b": {"$ref": f"#/$defs/d{(i * 7 + 3) % 300}"}}}
             for i in range(300)}
    yield "300 recursive definitions", {"$defs": graph, "$ref": "#/$defs/d0"}
    objects = [{"type": "object", "properties": {f"k{j}": {"type": "integer", "minimum": i + j} for j in range(10)}} for i in range(500)]
    yield "oneOf objects", {"oneOf": objects[:30]}
    yield "anyOf objects", {"anyOf": objects}
    yield "enum of 50,000", {"enum": [f"v{i}" for i in range(50000)]}
    yield "two large enums", {"allOf": [{"enum": [f"v{i}" for i in range(20000)]}, {"enum": [f"v{2 * i}" for i in range(20000)]}]}
    yield "enum of objects", {"enum": [{"a": i, "b": [i]} for i in range(5000)]}
    yield "59,000 properties", {"type": "object", "properties": {f"v{i}": {"type": "integer", "minimum": i} for i in range(59000)}}
    yield "60,000 required", {"type": "object", "required": [f"v{i}" for i in range(60000)]}
    yield "3,000 requirements", {"allOf": [{"required": [f"v{i}"]} for i in range(3000)]}
    yield "conditions", {"allOf": [{"if": {"properties": {f"a{i}": {"const": 1}}}, "then": {"required": [f"b{i}"]}} for i in range(60)]}
    yield "key classes", {"patternProperties": {"^.*%s.*$" % (letter(i) * (1 + i // 26)): {"type": "integer", "minimum": i} for i in range(30)}}
    yield "steps", {"allOf": [{"multipleOf": p} for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)]}
    yield "a length of 10^9", {"type": "string", "pattern": "^a*$", "minLength": 10**9}
    yield "dependencies", {"type": "object", "dependentRequired": {f"v{i}": [f"v{j}" for j in range(i + 1, min(i + 60, 2000))] for i in range(2000)}}
    yield "few properties of many", {"type": "object", "maxProperties": 50, "properties": {f"v{i}": {} for i in range(5000)},
                                     "dependentRequired": {f"v{i}": [f"v{i + 1}"] for i in range(4000)}}


def lines():
    for name, schema in schemas():
        yield "schema: " + name, {"schema": json.dumps(schema)}
    for pattern in PATTERNS:
        yield "regex: " + pattern, {"regex": pattern}
    yield "regex: 20,000 words", {"regex": "|".join(f"w{i}" for i in range(20000))}
    for grammar in ('root ::= root root | "a"', 'root ::= (("a"{0,1000}){0,1000}){0,1000}', 'root ::= "a" root "a" | "a" root | "a"',
                    'root ::= x x x x x x x x\nx ::= "a"* "a"*'):
        yield "grammar: " + grammar, {"grammar": grammar}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    failures = 0
    for name, line in lines():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = json.dumps({**line, "texts": ["aaaaaaaaaaaaaaaa"], "walks": 0})
        done = subprocess.run([arguments.driver], input=text + "\n", capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answer = json.loads(done.stdout) if done.stdout else {"error": "no answer"}
        failed = not done.stdout or seconds > arguments.seconds
        failures += failed
        print("%s%6.2f s  %-50.50s %s" % ("FAILED " if failed else "", seconds, name, answer.get("error", "compiled")[:90]), flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
