"""Compares patterns with Python's re, which decides what JSON Schema's `pattern` means for the judge.

    compare_regex.py BUILD/constraint_driver [--seed N] [--patterns N]

Random patterns (counts, anchors, look-ahead, look-behind, word borders, in groups and repetitions) and short random texts: a string is
taken exactly when re.search finds the pattern in it. Exits with 1 when anything differs.
"""

import argparse
import collections
import json
import random
import re
import signal
import sys

from compare_jsonschema import Driver

ATOMS = ["a", "b", "-", " ", "[ab]", "[^a]", ".", r"\w", r"\W", r"\d", "1", "ab", r"\s", "[a-b1]"]
TEXT = "aab1- \né"


class Patterns:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def piece(self, depth, looks):
        pick = self.r.random()
        if depth > 0 and pick < 0.3:
            group = self.r.choice(["(%s)", "(?:%s)"]) % self.choice(depth - 1, looks)
            return group + self.r.choice(["", "", "?", "{0,3}", "{1,2}", "*"])
        if pick < 0.38:
            return self.r.choice(["^", "$", "^", "$", r"\Z"])
        if looks and depth > 0 and pick < 0.55:
            kind = self.r.choice(["(?=%s)", "(?!%s)", "(?!%s)"])
            return kind % self.choice(depth - 1, False)
        if looks and pick < 0.62:
            return self.r.choice(["(?<=%s)", "(?<!%s)"]) % self.r.choice(ATOMS)
        if looks and pick < 0.68:
            return self.r.choice([r"\b", r"\B"])
        return self.r.choice(ATOMS)

    def sequence(self, depth, looks):
        out = ""
        for _ in range(self.r.randint(0 if depth < 2 else 1, 3)):
            piece = self.piece(depth, looks)
            if piece[0] not in "^$" and piece[-1] not in "?*}" and not piece.startswith(("(?", "\\b", "\\B", "\\Z")) or piece.startswith("(?:"):
                piece += self.r.choice(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{0,5}", "?"])
            out += piece
        return out

    def choice(self, depth, looks):
        return "|".join(self.sequence(depth, looks) for _ in range(self.r.choice([1, 1, 1, 2])))

    def text(self):
        return "".join(self.r.choice(TEXT) for _ in range(self.r.randint(0, 7)))


class Slow(Exception):
    pass


def ring(_signal, _frame):
    raise Slow()


def main():
    signal.signal(signal.SIGALRM, ring)
    parser = argparse.ArgumentParser()
    parser.add_argument("driver", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patterns", type=int, default=1000)
    arguments = parser.parse_args()
    driver = Driver(arguments.driver)
    counts, failures = collections.Counter(), 0
    for i in range(arguments.patterns):
        source = Patterns(arguments.seed * 1000003 + i)
        pattern = source.choice(3, True)
        try:
            judge = re.compile(pattern)
        except re.error:
            counts["no pattern"] += 1
            continue
        texts = [source.text() for _ in range(60)]
        if r"\B" in pattern:  # before Python 3.14 the empty text counts as a border
            texts = [text for text in texts if text]
        schema = json.dumps({"type": "string", "pattern": pattern})
        answer = driver.ask(schema=schema, texts=[json.dumps(text) for text in texts], walks=2, seed=i)
        signal.setitimer(signal.ITIMER_REAL, 0.5)  # backtracking may take forever
        try:
            found = [judge.search(text) is not None for text in texts]
        except Slow:
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if "error" in answer:
            counts["refused: " + answer["error"].split(": ")[-1]] += 1
            if "no value" in answer["error"] and any(found):
                print("called empty", repr(pattern), repr(texts[found.index(True)]), sep="\n    ")
                failures += 1
            continue
        for text, valid, at in zip(texts, found, answer["at"]):
            counts["matches" if valid else "others"] += 1
            if valid != (at == -1):
                failures += 1
                if failures <= 10:
                    print("lost" if valid else "taken wrongly", repr(pattern), repr(text), sep="\n    ")
        for walk in answer["walks"]:
            if walk["end"] == "stuck" or (walk["end"] == "whole" and walk["text"].strip() != "\"\"" and not judge.search(json.loads(walk["text"]))):
                failures += 1
                print("bad walk", repr(pattern), repr(walk["text"]), sep="\n    ")
    print(json.dumps(counts, indent=1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
