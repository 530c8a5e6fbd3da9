"""Runs the JSON-Schema-Test-Suite: which of its instances are taken.

    run_suite.py BUILD/constraint_driver SUITE

SUITE is the suite's directory "tests" (the source archive of PyPI's jsonschema has it as json/tests). Required tests and the optional ones of
formats count; cases that refer to documents at other places are left out unless these are metaschemas, as imp reads no other documents.
Schemas that are refused are counted by reason. Exits with 1 when an instance was taken or lost wrongly.
"""

import argparse
import collections
import json
import pathlib
import sys

from compare_jsonschema import Driver

DRAFTS = {"draft4": "http://json-schema.org/draft-04/schema#", "draft6": "http://json-schema.org/draft-06/schema#",
          "draft7": "http://json-schema.org/draft-07/schema#", "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
          "draft2020-12": "https://json-schema.org/draft/2020-12/schema"}


def cases(suite):
    for draft, uri in DRAFTS.items():
        folder = suite / draft
        for file in sorted(folder.glob("*.json")) + sorted(folder.glob("optional/format/*.json")):
            for case in json.loads(file.read_text()):
                schema = case["schema"]
                if isinstance(schema, dict) and "$schema" not in schema:
                    schema = {"$schema": uri, **schema}
                yield f"{draft}/{file.stem}: {case['description']}", file.parent.name == "format", schema, case["tests"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("driver")
    parser.add_argument("suite", type=pathlib.Path)
    arguments = parser.parse_args()
    driver = Driver([arguments.driver])
    counts, refusals = collections.Counter(), collections.defaultdict(list)
    for name, is_format, schema, tests in cases(arguments.suite):
        kind = "format " if is_format else ""
        text = json.dumps(schema)
        if "localhost:1234" in text:
            counts["elsewhere"] += 1
            continue
        counts[kind + "schemas"] += 1
        answer = driver.ask(schema=text, texts=[json.dumps(test["data"]) for test in tests])
        if "error" in answer:
            # A schema that nothing satisfies cannot be generated from: refusing it is right when no instance is valid.
            if "no value satisfies" in answer["error"] and not any(test["valid"] for test in tests):
                counts[kind + "right"] += len(tests)
                continue
            counts[kind + "refused"] += 1
            refusals[answer["error"].split(": ", 1)[-1][:80]].append(name)
            continue
        for test, at in zip(tests, answer["at"]):
            if test["valid"] == (at == -1):
                counts[kind + "right"] += 1
                continue
            verdict = "lost" if test["valid"] else "taken wrongly"
            counts[kind + verdict] += 1
            print(verdict, name, test["description"], json.dumps(test["data"]), sep=" | ")
    print(json.dumps(counts, indent=1))
    for reason, names in sorted(refusals.items(), key=lambda item: -len(item[1])):
        print(len(names), "refused:", reason, names if arguments.verbose else names[:2])
    sys.exit(1 if counts["lost"] or counts["taken wrongly"] else 0)


if __name__ == "__main__":
    main()
