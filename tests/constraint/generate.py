"""Lets a model write under many schemas at a high temperature; PyPI's jsonschema judges what comes out.

    generate.py MODEL.gguf [--schemas N] [--each N] [--temperature T] [--at-once N] [--seed N]

Starts imp-server from $IMP_BUILD (build). All schemas bound their strings and arrays, so that every text can end inside max_tokens. Exits
with 1 when a finished text is not valid or a text does not finish.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import random
import sys
import time
import urllib.request

import jsonschema

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from server import serving  # noqa: E402

NAMES = ["name", "title", "kind", "size", "tags", "price", "id", "created", "owner", "count", "note", "state", "x", "y", "é", "level-2"]


class Schemas:
    """Schemas as programs ask for them: function parameters, records, unions with null, discriminated unions."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def scalar(self):
        return self.r.choice([
            {"type": "string", "maxLength": 16},
            {"type": "string", "minLength": 3, "maxLength": 12},
            {"type": "string", "pattern": "^[A-Z][a-z]{2,8}$"},
            {"type": "string", "pattern": r"^(?!foo)\w{1,10}(-\w{1,4})?$"},
            {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$"},
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date-time", "maxLength": 25},
            {"type": "string", "format": "uuid"},
            {"type": "string", "format": "ipv4"},
            {"type": "string", "format": "email", "maxLength": 24},
            {"enum": ["red", "green", "blue", None, 3]},
            {"const": {"a": [1, "two"]}},
            {"type": "integer"},
            {"type": "integer", "minimum": 0, "maximum": 130},
            {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.01, "maximum": 1000},
            {"type": "number", "minimum": -1.5, "maximum": 1.5},
            {"type": "boolean"},
            {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            {"type": ["string", "null"], "maxLength": 8},
        ])

    def array(self, depth):
        schema = {"type": "array", "items": self.value(depth - 1), "maxItems": self.r.randint(1, 3)}
        if self.r.random() < 0.4:
            schema["uniqueItems"] = True
        if self.r.random() < 0.2:
            schema = {"type": "array", "prefixItems": [self.scalar(), self.scalar()], "items": False, "minItems": 1}
        if self.r.random() < 0.15:
            schema = {"type": "array", "items": {"enum": ["a", "b", "c", 1]}, "contains": {"const": "b"}, "maxItems": 3}
        return schema

    def object(self, depth):
        names = self.r.sample(NAMES, self.r.randint(1, 4))
        schema = {"type": "object", "properties": {name: self.value(depth - 1) for name in names},
                  "required": self.r.sample(names, self.r.randint(0, len(names))), "additionalProperties": False}
        pick = self.r.random()
        if pick < 0.1:
            schema["minProperties"] = 1
        elif pick < 0.2:
            schema["dependentRequired"] = {names[0]: [names[-1]]}
        elif pick < 0.3:
            schema = {"type": "object", "patternProperties": {"^x-[a-z]{1,4}$": self.scalar()}, "additionalProperties": False,
                      "maxProperties": 2}
        elif pick < 0.4:
            schema["if"] = {"required": [names[0]]}
            schema["then"] = {"required": names[:2]}
        return schema

    def union(self, depth):
        ways = []
        for kind in self.r.sample(["cat", "dog", "fish"], 2):
            way = self.object(depth - 1)
            way["properties"] = {"kind": {"const": kind}, **way.get("properties", {})}
            way["properties"]["kind"] = {"const": kind}
            way["required"] = ["kind"]
            for keyword in ("if", "then", "dependentRequired"):
                way.pop(keyword, None)
            ways.append(way)
        return {"oneOf": ways}

    def value(self, depth):
        pick = self.r.random()
        if depth <= 0 or pick < 0.6:
            return self.scalar()
        if pick < 0.75:
            return self.array(depth)
        return self.object(depth) if pick < 0.92 else self.union(depth)

    def schema(self):
        return self.object(2) if self.r.random() < 0.8 else self.union(2)


def ask(url, schema, seed, temperature, max_tokens):
    body = {"messages": [{"role": "user", "content": "Give me an example as JSON."}], "temperature": temperature, "seed": seed,
            "max_tokens": max_tokens, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=3600) as reply:
        answer = json.load(reply)
    return answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--temperature", type=float, default=1.5)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    jobs = [(Schemas(arguments.seed * 1000 + i).schema(), k) for k in range(arguments.each) for i in range(arguments.schemas)]
    counts, failures, n_tokens, start = collections.Counter(), 0, 0, time.time()
    with serving(arguments.model, "--max-seq-len", arguments.max_tokens + 100) as running, \
            concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        futures = {pool.submit(ask, running.url, schema, seed, arguments.temperature, arguments.max_tokens): schema for schema, seed in jobs}
        for future in concurrent.futures.as_completed(futures):
            schema = futures[future]
            text, reason, tokens = future.result()
            n_tokens += tokens
            counts[reason] += 1
            try:
                jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(json.loads(text))
                counts["valid"] += 1
            except (ValueError, jsonschema.ValidationError) as error:
                failures += 1
                print("not valid" if reason == "stop" else "not finished", json.dumps(schema), repr(text), str(error)[:200], sep="\n    ")
            if sum(counts.values()) % 200 == 0:
                print(dict(counts), "%.0f s" % (time.time() - start), flush=True)
    print(json.dumps(counts), n_tokens, "tokens", "%.0f s" % (time.time() - start))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
