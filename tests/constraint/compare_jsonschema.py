"""Compares constraints with PyPI's jsonschema, the judge.

    compare_jsonschema.py BUILD/constraint_driver [--seed N] [--schemas N]

Random schemas, instances made to fit them and instances spoiled afterwards, in several spellings: the constraint must take
exactly those that jsonschema finds valid. Random texts that the masks allow must never get stuck, and be valid when they end.
Exits with 1, showing a few cases, when anything differs. Schemas that are refused are counted by reason.
"""

import argparse
import collections
import json
import random
import subprocess
import sys

from jsonschema import Draft202012Validator

PATTERNS = ["^a", "b$", "^[a-c]+$", r"^\d{2,3}$", "x|y", "^(ab)*$", "^.{2}$", "[0-9]", r"^\w+$", "^$", "^[^a]*$", "^(?!a)"]
STRINGS = ["", "a", "b", "ab", "abc", "aab", "12", "123", "x", "xy", "é", "a b", "中", "k", "😀", '"q"', "\\", "\n", "foo"]
NUMBERS = [0, 1, -1, 2, 3, 5, 10, 7, 0.5, 1.5, -2.5, 100, 1e3, 1.0, 2.0, 0.1, 1e-5, 1234567890123, 12, -0.25, 20]
KEYS = ["a", "b", "c", "ab", "k", "x1", "foo", "é"]
TYPES = ["string", "number", "integer", "array", "object", "object", "array", "string", "boolean", "null", None, None]
UNIONS = [["string", "null"], ["integer", "object"]]


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def chance(self, probability):
        return self.r.random() < probability

    def value(self, depth=2):
        kind = self.r.random()
        if kind < 0.1:
            return None
        if kind < 0.2:
            return self.chance(0.5)
        if kind < 0.45:
            return self.r.choice(NUMBERS)
        if kind < 0.7 or depth <= 0:
            return self.r.choice(STRINGS)
        if kind < 0.85:
            return [self.value(depth - 1) for _ in range(self.r.randint(0, 3))]
        return {key: self.value(depth - 1) for key in self.r.sample(KEYS, self.r.randint(0, 3))}

    def constants(self):
        pick = self.r.randrange(4)
        if pick == 0:
            return {"const": self.value()}
        if pick == 1:
            return {"enum": [self.value() for _ in range(self.r.randint(1, 4))]}
        if pick == 2:
            return {"enum": self.r.sample(STRINGS, 3)}
        return {"enum": [1, 2, 3, "a"]}

    def strings(self, schema):
        if self.chance(0.3):
            schema["minLength"] = self.r.randint(0, 3)
        if self.chance(0.3):
            schema["maxLength"] = self.r.randint(0, 4)
        if self.chance(0.35):
            schema["pattern"] = self.r.choice(PATTERNS)

    def numbers(self, schema):
        for keyword, probability in [("minimum", 0.35), ("maximum", 0.25), ("exclusiveMinimum", 0.15),
                                     ("exclusiveMaximum", 0.15)]:
            if self.chance(probability):
                schema[keyword] = self.r.choice(NUMBERS)
        if self.chance(0.2):
            schema["multipleOf"] = self.r.choice([2, 3, 0.5, 0.1, 0.01, 1.5, 5])

    def arrays(self, schema, depth, names):
        if self.chance(0.5):
            schema["items"] = self.schema(depth, names)
        if self.chance(0.3):
            schema["prefixItems"] = [self.schema(depth, names) for _ in range(self.r.randint(1, 2))]
        if self.chance(0.25):
            schema["contains"] = self.schema(depth, names)
            if self.chance(0.5):
                schema["minContains"] = self.r.randint(0, 2)
            if self.chance(0.3):
                schema["maxContains"] = self.r.randint(1, 3)
        if self.chance(0.25):
            schema["minItems"] = self.r.randint(0, 3)
        if self.chance(0.25):
            schema["maxItems"] = self.r.randint(0, 4)
        if self.chance(0.2):
            schema["uniqueItems"] = True
            if self.chance(0.5):
                schema["items"] = self.small_object(depth, names)

    def small_object(self, depth, names):
        """Objects of few values, of which an array can use up all."""
        part = [{"type": "boolean"}, {"enum": ["a", "ab", 1]}, {"type": "string", "maxLength": 1}, {"type": "integer", "minimum": 1, "maximum": 3},
                {"type": "string"}, {"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2}]
        keys = self.r.sample(["a", "ab", "b"], self.r.randint(1, 3))
        schema = {"type": "object", "properties": {key: self.r.choice(part) for key in keys}}
        if self.chance(0.7):
            schema["additionalProperties"] = False
        if self.chance(0.6):
            schema["required"] = self.r.sample(keys, self.r.randint(1, len(keys)))
        if self.chance(0.15):
            return {"anyOf": [schema, self.schema(depth, names)]}
        if self.chance(0.1):
            return {"enum": [{"a": 1}, {"a": 2}, {"a": 1, "b": 2}, "a"]}
        return schema

    def objects(self, schema, depth, names):
        if self.chance(0.7):
            keys = self.r.sample(KEYS, self.r.randint(0, 3))
            schema["properties"] = {key: self.schema(depth, names) for key in keys}
        if self.chance(0.2):
            patterns = self.r.sample(["^a", "b$", "^x", "[0-9]", "^.$"], self.r.randint(1, 2))
            schema["patternProperties"] = {pattern: self.schema(depth, names) for pattern in patterns}
        if self.chance(0.4):
            schema["additionalProperties"] = self.r.choice([False, False, self.schema(depth, names)])
        if self.chance(0.4):
            schema["required"] = self.r.sample(KEYS, self.r.randint(0, 2))
        if self.chance(0.15):
            schema["minProperties"] = self.r.randint(0, 3)
        if self.chance(0.15):
            schema["maxProperties"] = self.r.randint(0, 4)
        if self.chance(0.12):
            schema["propertyNames"] = self.r.choice(
                [{"pattern": "^[a-c]"}, {"maxLength": 1}, {"enum": ["a", "b", "k"]}, {"minLength": 2}])
        if self.chance(0.1):
            schema["dependentRequired"] = {self.r.choice(KEYS): self.r.sample(KEYS, self.r.randint(0, 2))}
        if self.chance(0.1):
            schema["dependentSchemas"] = {self.r.choice(KEYS): self.schema(depth, names)}

    def logic(self, schema, depth, names):
        for keyword, probability, most in [("anyOf", 0.12, 3), ("oneOf", 0.1, 3), ("allOf", 0.1, 2)]:
            if self.chance(probability):
                schema[keyword] = [self.schema(depth, names) for _ in range(self.r.randint(1, most))]
        if self.chance(0.08):
            schema["not"] = self.schema(depth, names)
        if self.chance(0.06):
            schema["if"] = self.schema(depth, names)
            if self.chance(0.7):
                schema["then"] = self.schema(depth, names)
            if self.chance(0.7):
                schema["else"] = self.schema(depth, names)
        if self.chance(0.06):
            schema["unevaluatedProperties"] = self.r.choice([False, self.schema(depth, names)])
        if self.chance(0.04):
            schema["unevaluatedItems"] = self.r.choice([False, self.schema(depth, names)])

    def schema(self, depth, names=()):
        kind = self.r.random()
        if kind < 0.06:
            return kind < 0.04
        if kind < 0.12 and names:
            return {"$ref": "#/$defs/" + self.r.choice(names)}
        if kind < 0.2:
            return self.constants()
        schema = {}
        chosen = self.r.choice(TYPES + UNIONS)
        if chosen is not None:
            schema["type"] = chosen
        wanted = [chosen] if isinstance(chosen, str) else chosen or ["string", "number", "array", "object"]
        if "string" in wanted:
            self.strings(schema)
        if "number" in wanted or "integer" in wanted:
            self.numbers(schema)
        if depth > 0 and "array" in wanted:
            self.arrays(schema, depth - 1, names)
        if depth > 0 and "object" in wanted:
            self.objects(schema, depth - 1, names)
        if depth > 0:
            self.logic(schema, depth - 1, names)
        return schema

    def instance(self, schema, root, depth=3):
        """A value that has a fair chance to be valid."""
        if isinstance(schema, bool) or depth < 0:
            return self.value(1)
        if "$ref" in schema:
            return self.instance(root["$defs"][schema["$ref"].split("/")[-1]], root, depth - 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.r.choice(schema["enum"])
        for keyword in ("allOf", "anyOf", "oneOf"):
            if keyword in schema and self.chance(0.5):
                return self.instance(self.r.choice(schema[keyword]), root, depth - 1)
        if "then" in schema and self.chance(0.3):
            return self.instance(schema["then"], root, depth - 1)
        chosen = schema.get("type")
        if isinstance(chosen, list):
            chosen = self.r.choice(chosen)
        if chosen is None:
            chosen = self.r.choice(["string", "number", "array", "object", "object", "array"])
        if chosen == "null":
            return None
        if chosen == "boolean":
            return self.chance(0.5)
        if chosen == "string":
            return self.r.choice(STRINGS + ["bb", "ccc", "45", "999", "abab"])
        if chosen in ("number", "integer"):
            if "multipleOf" in schema:
                return schema["multipleOf"] * self.r.randint(0, 40)
            low = schema.get("minimum", schema.get("exclusiveMinimum", -3))
            return self.r.choice(NUMBERS + [low, low + 1, schema.get("maximum", 4)])
        if chosen == "array":
            return self.array_instance(schema, root, depth)
        return self.object_instance(schema, root, depth)

    def array_instance(self, schema, root, depth):
        prefix = schema.get("prefixItems", [])
        items = []
        for i in range(self.r.randint(0, 4)):
            part = prefix[i] if i < len(prefix) else schema.get("items", True)
            if "contains" in schema and self.chance(0.4):
                part = schema["contains"]
            items.append(self.instance(part, root, depth - 1))
        return items

    def object_instance(self, schema, root, depth):
        properties = schema.get("properties", {})
        keys = list(schema.get("required", [])) + self.r.sample(KEYS, self.r.randint(0, 2))
        keys += self.r.sample(list(properties), self.r.randint(0, len(properties)))
        self.r.shuffle(keys)
        rest = schema.get("additionalProperties", True)
        return {key: self.instance(properties.get(key, rest), root, depth - 1) for key in keys}

    def spoil(self, value):
        if isinstance(value, dict) and value and self.chance(0.7):
            value = dict(value)
            key = self.r.choice(list(value))
            if self.chance(0.4):
                value[key] = self.spoil(value[key])
            elif self.chance(0.5):
                del value[key]
            else:
                value[self.r.choice(KEYS)] = self.value(1)
            return value
        if isinstance(value, list) and self.chance(0.7):
            value = list(value)
            if value and self.chance(0.6):
                value[self.r.randrange(len(value))] = self.spoil(self.r.choice(value))
            else:
                value.append(self.value(1))
            return value
        return self.value(2)

    def text(self, value):
        style = self.r.randrange(4)
        if style == 0:
            return json.dumps(value)
        if style == 1:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if style == 2:
            return json.dumps(value, indent=self.r.choice([1, 2, 4]))
        return json.dumps(value, ensure_ascii=False, separators=(" , ", " : "))

    def case(self):
        names = ["A", "B"] if self.chance(0.4) else []
        schema = self.schema(3, names)
        if names and isinstance(schema, dict):
            schema["$defs"] = {name: self.schema(2, names) for name in names}
        instances = [self.instance(schema, schema) for _ in range(12)]
        instances += [self.spoil(instance) for instance in instances] + [self.value() for _ in range(6)]
        return schema, [self.text(instance) for instance in instances]


class Driver:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("the driver died at " + json.dumps(line))
        return json.loads(answer)


def judge(validator, text):
    try:
        return validator.is_valid(json.loads(text))
    except BaseException as error:  # jsonschema recurses without end on some schemas, in Rust even
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def compare(schema, texts, answer, report, counts):
    validator = Draft202012Validator(schema)
    if "error" in answer:
        if "no value satisfies" in answer["error"]:
            counts["unsatisfiable"] += 1
            for text in texts:
                if judge(validator, text):
                    report("called unsatisfiable", schema, text)
        else:
            counts["refused"] += 1
            counts["refused: " + answer["error"].split(": ")[-1][:60]] += 1
        return
    counts["compiled"] += 1
    for text, at in zip(texts, answer["at"]):
        valid = judge(validator, text)
        if valid is None:
            continue
        counts["valid" if valid else "invalid"] += 1
        if valid != (at == -1):
            report("lost at byte %d" % at if valid else "taken wrongly", schema, text)
    for mask in answer["false_masks"]:
        report("false mask", schema, repr(mask))
    for walk in answer["walks"]:
        counts["walks " + walk["end"]] += 1
        if walk["end"] == "stuck":
            report("stuck", schema, repr(walk["text"]))
        elif walk["end"] == "whole" and judge(validator, walk["text"]) is False:
            report("invalid walk", schema, repr(walk["text"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemas", type=int, default=1000)
    arguments = parser.parse_args()
    driver = Driver(arguments.driver)
    counts = collections.Counter()
    failures = []

    def report(what, schema, text):
        failures.append(what)
        if len(failures) <= 10:
            print(what, json.dumps(schema), text, sep="\n    ")

    for i in range(arguments.schemas):
        schema, texts = Generator(arguments.seed * 1000003 + i).case()
        answer = driver.ask(schema=json.dumps(schema), texts=texts, walks=6, seed=i, check_masks=3)
        compare(schema, texts, answer, report, counts)
    print(json.dumps(counts, indent=1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
