#!/usr/bin/env python3
"""Writes tests/unit/text/tokenizer_goldens.json: the seeds of the fuzzers with what the `tokenizers` package makes of texts.

    python3 tests/text/make_goldens.py tests/fuzz/seeds/tokenizer_json tests/unit/text/tokenizer_goldens.json
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sample_texts
from tokenizers import Tokenizer

TEXTS = ["", " ", "hello", "hello world", " hello  world", "aaaa aaaaaaa", "<s>hello</s>  ab lab ab.", "hell<s>  </s>o", "w\u00f6rld\u00e9 e\u0301 \u4e2d\U0001f600",
         "13 1 131313", "\n\n hello\r\n", "it's don'T 'LL \u017f'\u017f", "\u2581hello \u2581\u2581w", "<0xE4><unk>", "\ufb01\u2167\u3000\u00a0x\u200b", "\u00c5\u212b \u0130I"]


def main():
    result = []
    for name in sorted(os.listdir(sys.argv[1])):
        with open(os.path.join(sys.argv[1], name), "rb") as file:
            data = json.loads(file.read().split(b"\0")[0])
        for key in ("bos_token", "eos_token", "eos_token_id"):
            del data[key]
        try:
            tokenizer = Tokenizer.from_str(json.dumps(data))
        except BaseException as problem:
            print("skipped:", name, problem)
            continue
        cases = []
        for text in TEXTS + [sample_texts.expected(s)[:60] for s in sample_texts.samples(len(name), 14)]:
            tokenizer.encode_special_tokens = False
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            template = tokenizer.encode(text, add_special_tokens=True).ids
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            case = {"text": text, "ids": ids, "template": template, "plain": plain}
            try:
                case["decoded"] = tokenizer.decode(ids, skip_special_tokens=False)
                case["skipped"] = tokenizer.decode(ids, skip_special_tokens=True)
            except BaseException as problem:  # the reference panics where a string is too short
                assert type(problem).__name__ == "PanicException"
            cases.append(case)
        result.append({"name": name.split(".")[0], "tokenizer": data, "cases": cases})
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in result) + "\n]\n")


if __name__ == "__main__":
    main()
