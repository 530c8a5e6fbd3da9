"""How long constraints take: compiling schemas, and the masks along texts that satisfy them.

    bench/constraint.py [--instances N] BUILD/constraint_driver MODEL.gguf PATH…

PATHs are JSON Schemas or directories of them; the texts are made from them (tests/constraint/instances.py). The vocabulary is the model's,
cut to 150,000 tokens. Each schema is gone through twice with the same vocabulary: "cold" are the masks of the first time, "warm" those of the second,
which finds most of them kept. All times are processor time of the thread that does the work.
"""

import argparse
import json
import pathlib
import sys
import tempfile

# This directory's tokenize.py hides Python's.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "constraint")
import gguf  # noqa: E402
import instances  # noqa: E402
from compare_files import quantiles, schemas  # noqa: E402
from compare_jsonschema import Driver  # noqa: E402

SIZE = 150000


def byte_of_character():
    """GPT-2's characters for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def token_bytes(path):
    """What each token of a GGUF file stands for; special ones stand for nothing."""
    reader = gguf.GGUFReader(path)
    texts = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    byte_level = reader.fields["tokenizer.ggml.model"].contents() == "gpt2"
    table = byte_of_character()
    for text, kind in zip(texts, kinds):
        if kind == 6:
            yield bytes([int(text[3:5], 16)])
        elif kind == 3:
            yield b""
        elif byte_level and kind != 4:
            yield bytes(table[c] for c in text)
        else:
            yield text.replace("\u2581", " ").encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=6)
    parser.add_argument("driver")
    parser.add_argument("model")
    parser.add_argument("paths", nargs="+")
    arguments = parser.parse_args()
    tokens = list(token_bytes(arguments.model))[:SIZE]
    have = set(tokens)
    tokens += [bytes([byte]) for byte in range(256) if bytes([byte]) not in have]
    with tempfile.NamedTemporaryFile("w", suffix=".hex") as file:
        file.write("".join(token.hex() + "\n" for token in tokens))
        file.flush()
        driver = Driver([arguments.driver, file.name])
        compile_ms, cold, warm, slowest, refused, n = [], [], [], [], 0, 0
        for name, schema in schemas(arguments.paths):
            n += 1
            source = instances.random.Random(1)
            values = instances.instances(schema, 1, arguments.instances)[::2]
            texts = [instances.spell_json(value, source) for value in values]
            line = {"schema": json.dumps(schema), "texts": texts, "mask_us": True}
            first = driver.ask(**line)
            if "error" in first:
                refused += 1
                continue
            second = driver.ask(**line)
            compile_ms.append(min(first["compile_ms"], second["compile_ms"]))
            cold += first["mask_us"]
            warm += second["mask_us"]
            slowest.append((max(first["mask_us"], default=0), first["compile_ms"], name))
    print(n, "schemas,", refused, "refused;", len(tokens), "tokens")
    print("compile_ms   ", quantiles(compile_ms))
    print("mask_us cold ", quantiles(cold))
    print("mask_us warm ", quantiles(warm))
    print("cold masks above 1 ms:", sum(us > 1000 for us in cold), "in", sum(s[0] > 1000 for s in slowest), "schemas")
    for us, ms, name in sorted(slowest, reverse=True)[:10]:
        print("    %.0f us, compiled in %.1f ms: %s" % (us, ms, pathlib.Path(name).name))


if __name__ == "__main__":
    main()
