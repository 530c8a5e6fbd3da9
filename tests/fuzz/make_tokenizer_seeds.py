#!/usr/bin/env python3
"""Writes the seeds of fuzz_tokenizer_json and fuzz_gguf_vocab: small tokenizers with every kind of part.

    python3 tests/fuzz/make_tokenizer_seeds.py tests/fuzz/seeds
"""
import json
import os
import sys

import gguf

root = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(root, "..", "text"))
from configurations import CHARSMAP, PATTERNS, charsmap
from tokenizers import Regex, normalizers as N, pre_tokenizers as P

LETTERS = list("abcdehlorsw .,'13") + ["Ġ", "Ċ", "▁", "é", "中", "<unk>", "<s>", "</s>"]
PAIRS = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("▁", "w"), ("o", "r"), ("1", "3"), ("a", "a"), ("aa", "aa")]
VOCAB = LETTERS + [a + b for a, b in PAIRS] + ["<0x%02X>" % b for b in (0xC3, 0xB6, 0x0A, 0xE4)]
ADDED = [{"id": VOCAB.index(t), "content": t, "single_word": False, "lstrip": t == "<s>", "rstrip": t == "</s>", "normalized": False,
          "special": True} for t in ("<unk>", "<s>", "</s>")] + [
    {"id": len(VOCAB), "content": "ab", "single_word": True, "lstrip": False, "rstrip": False, "normalized": True, "special": False}]
SPECIAL = {"<s>": {"id": "<s>", "ids": [VOCAB.index("<s>")], "tokens": ["<s>"]}}
TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": SPECIAL}
BPE = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
       "byte_fallback": True, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(VOCAB)}, "merges": [list(p) for p in PAIRS]}
UNIGRAM = {"type": "Unigram", "unk_id": VOCAB.index("<unk>"), "byte_fallback": True, "vocab": [[t, -len(t) * 0.5] for t in VOCAB]}
PIECES = {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
          "vocab": {t: i for i, t in enumerate(VOCAB + ["##l", "##o"])}}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
MARK_DECODER = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                                 {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}]}


def part(thing):
    return json.loads(thing.__getstate__())


def splits(patterns, behavior="isolated"):
    return part(P.Sequence([P.Split(Regex(p), behavior) for p in patterns] + [P.ByteLevel(False, True, False)]))


SEEDS = {
    "gpt2": (BPE, None, BYTES, BYTES, TEMPLATE),
    "llama2": (BPE, part(N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])), None, MARK_DECODER, TEMPLATE),
    "legacy": ({**BPE, "merges": [" ".join(p) for p in PAIRS], "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>", "byte_fallback": False},
               part(N.NFKC()), part(P.Whitespace()), {"type": "BPEDecoder", "suffix": "</w>"}, None),
    "unigram": (UNIGRAM, part(N.Precompiled(charsmap(CHARSMAP))), part(P.Sequence([P.WhitespaceSplit(), P.Metaspace()])),
                part(P.Metaspace(prepend_scheme="first")), None),
    "wordpiece": (PIECES, part(N.BertNormalizer()), part(P.BertPreTokenizer()), {"type": "WordPiece", "prefix": "##", "cleanup": True},
                  {"type": "BertProcessing", "sep": ["</s>", VOCAB.index("</s>")], "cls": ["<s>", VOCAB.index("<s>")]}),
    "wordlevel": ({"type": "WordLevel", "unk_token": "<unk>", "vocab": {"ab": 0, "<unk>": 1, "hell": 2}}, part(N.Sequence([N.NFD(), N.StripAccents(),
                  N.Lowercase(), N.Strip(), N.Nmt()])), part(P.Sequence([P.Digits(True), P.Punctuation("contiguous"), P.FixedLength(3),
                  P.CharDelimiterSplit("e")])), {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": True}, None),
    "bytes-normalizer": (BPE, part(N.Sequence([N.NFC(), N.NFKD(), N.ByteLevel()])), part(P.Split("l", "merged_with_previous", True)), None, None),
    **{"split-" + name: (BPE, None, splits(patterns, behavior), BYTES, None) for (name, patterns), behavior in
       zip(PATTERNS.items(), ["isolated", "removed", "merged_with_next", "merged_with_previous", "contiguous"] * 4) if name not in ("gpt2", "tekken")},
}


def write_json(folder):
    for name, (model, normalizer, pre, decoder, processor) in SEEDS.items():
        data = {"version": "1.0", "added_tokens": ADDED if model is not PIECES else [], "normalizer": normalizer, "pre_tokenizer": pre,
                "post_processor": processor, "decoder": decoder, "model": model, "bos_token": "<s>", "eos_token": {"content": "</s>"},
                "eos_token_id": [1, 2]}
        with open(os.path.join(folder, name + ".tokenizer.json"), "wb") as out:
            out.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\0hello w\xc3\xb6rld <s> ab 13\n")


def write_gguf(folder):
    kinds = {"gpt2": "smollm", "gpt2-llama3": "llama-bpe", "gpt2-falcon": "falcon", "gpt2-deepseek": "deepseek-llm", "llama": "default",
             "gemma4": "gemma4", "t5": "default", "bert": "default", "gpt2-kimi": "kimi-k2"}
    for name, pre in kinds.items():
        writer = gguf.GGUFWriter(os.path.join(folder, name + ".gguf"), "phi3" if name == "llama" else "llama")
        writer.add_tokenizer_model(name.split("-")[0])
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(VOCAB + ["  "])
        writer.add_token_types([2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if t.startswith("<0x") else 1 for t in VOCAB] + [4])
        if name in ("llama", "t5"):
            writer.add_token_scores([-float(len(t)) for t in VOCAB] + [-1000.0])
        elif name not in ("bert", "gpt2-kimi"):
            writer.add_token_merges([" ".join(p) for p in PAIRS])
        if name == "t5":
            writer.add_precompiled_charsmap(charsmap({"a": "b"}))
            writer.add_remove_extra_whitespaces(True)
        writer.add_bos_token_id(VOCAB.index("<s>"))
        writer.add_eos_token_id(VOCAB.index("</s>"))
        writer.add_unk_token_id(VOCAB.index("<unk>"))
        writer.add_add_bos_token(True)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()


def main():
    for kind, write in (("tokenizer_json", write_json), ("gguf_vocab", write_gguf)):
        folder = os.path.join(sys.argv[1], kind)
        os.makedirs(folder, exist_ok=True)
        write(folder)


if __name__ == "__main__":
    main()
