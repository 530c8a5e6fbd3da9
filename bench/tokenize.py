#!/usr/bin/env python3
"""Single-thread encoding throughput against the `tokenizers` package: 10 MB each of English, code and Chinese.

    bench/tokenize.py DRIVER MODEL... [--megabytes 10] [--rounds 3] [--text NAME=FILE]... [--out results.json]

DRIVER is the build's tokenize_driver; MODEL a directory with a tokenizer.json. The texts are made here, from word lists with
a natural distribution of frequencies, unless --text names a file for one of them. Runs of the two are interleaved, and the
best of each counts, in processor time. Both get the same texts of about 10 KB each, as a server would.
"""
import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import functools
import itertools
import json
import os
import random
import struct
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "text"))
import sample_texts
from tokenizers import Tokenizer


@functools.lru_cache(maxsize=None)
def harmonic(count):
    return list(itertools.accumulate(1 / (i + 2) for i in range(count)))


def zipf(rng, items, count):
    return rng.choices(items, cum_weights=harmonic(len(items)), k=count)


def english(rng, size):
    syllables = "er in on at an re th en he ti or te st ar nd ou it is al ed to nt ng es ha ve co me de ro".split()
    words = sample_texts.WORDS + ["".join(rng.choice(syllables) for _ in range(rng.randrange(1, 5))) for _ in range(30000)]
    text, length = [], 0
    while length < size:
        sentence = zipf(rng, words, rng.randrange(5, 25))
        text.append(sentence[0].capitalize() + " " + " ".join(sentence[1:]) + rng.choice([". ", ", ", "! ", ".\n\n", "; ", " - "]))
        length += len(text[-1])
    return "".join(text)


def code(rng, size):
    names = ["".join(zipf(rng, ["get", "set", "Value", "_", "index", "node", "List", "map", "i", "x", "size", "ptr", "buffer", "0", "Name"], rng.randrange(1, 5)))
             for _ in range(5000)]
    text, length = [], 0
    while length < size:
        a, b, c = zipf(rng, names, 3)
        text.append("    " * rng.randrange(5) + rng.choice([
            "if (%s->%s != NULL && %s > %d) {\n", "for (size_t i = 0; i < %s.%s; i++) %s[i] = %d;\n", "return %s(%s, &%s, 0x%x);\n",
            "def %s(self, %s, %s=%d):\n", "// %s %s: see %s, line %d\n", "}\n\nstatic int %s_%s(const char *%s, long n%d)\n{\n",
        ]) % (a, b, c, rng.randrange(1000)))
        length += len(text[-1])
    return "".join(text)


def chinese(rng, size):
    common = [chr(c) for c in range(0x4E00, 0x4E00 + 3000)]
    rng.shuffle(common)
    words = ["".join(zipf(rng, common, rng.choice([1, 2, 2, 2, 3, 4]))) for _ in range(20000)] + list("的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会")
    rng.shuffle(words)
    text, length = [], 0
    while length * 3 < size:
        text.append("".join(zipf(rng, words, rng.randrange(4, 15))) + rng.choice("，。、！？：") + ("\n" if rng.random() < 0.05 else ""))
        length += len(text[-1])
    return "".join(text)


def chunks(text, size=10000):
    return [text[i:i + size] for i in range(0, len(text), size)]


def best_of(rounds, runs):
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            best[i] = min(best[i], run())
    return best


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=os.path.dirname(os.path.abspath(__file__))).stdout.strip()


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return "%s, %d processors" % (models[0] if models else "unknown", len(models))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--text", action="append", default=[])
    parser.add_argument("--out")
    args = parser.parse_args()
    files, results = dict(item.split("=", 1) for item in args.text), []
    texts = {}
    for make in (english, code, chinese):
        if make.__name__ in files:
            with open(files[make.__name__], encoding="utf-8") as file:
                texts[make.__name__] = file.read(int(args.megabytes * 1e6))
        else:
            texts[make.__name__] = make(random.Random(1), int(args.megabytes * 1e6))
    for model in args.models:
        tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        for name, text in texts.items():
            parts = chunks(text)
            data = b"".join(struct.pack("<I", len(p)) + p for p in (t.encode() for t in parts))

            def ours():
                out = subprocess.run([args.driver, model, "--time"], input=data, stdout=subprocess.PIPE, check=True).stdout
                return float(out.split()[0])

            def theirs():
                start = time.process_time()
                for part in parts:
                    tokenizer.encode(part, add_special_tokens=False)
                return time.process_time() - start

            a, b = best_of(args.rounds, [ours, theirs])
            megabytes = len(text.encode()) / 1e6
            print("%-24s %-8s imp %7.1f MB/s  tokenizers %6.2f MB/s  ratio %5.1f" % (os.path.basename(model.rstrip("/"))[:24], name, megabytes / a,
                                                                                  megabytes / b, b / a), flush=True)
            results.append({"tokenizer": os.path.basename(model.rstrip("/")), "text": name, "megabytes": round(megabytes, 2),
                            "imp_megabytes_per_second": round(megabytes / a, 1), "tokenizers_megabytes_per_second": round(megabytes / b, 2),
                            "ratio": round(b / a, 1)})
    if args.out:
        with open(args.out, "w") as file:
            json.dump({"commit": commit(), "command": "python bench/tokenize.py " + " ".join(sys.argv[1:]), "machine": machine(),
                       "results": results}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
