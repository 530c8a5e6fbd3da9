#!/usr/bin/env python3
"""Compares imp's tokenizers with the `tokenizers` package: ids, with special tokens and without, and decoded text.

    compare_tokenizers.py DRIVER [--count 20000] [--seed 1] [--only NAME] [--gguf FILE]...

DRIVER is tests/text/tokenize_driver.c. Tokenizers are trained here, one for each configuration of the table; a GGUF file's
is rebuilt from its tokens and merges or scores. Prints a line a tokenizer, and exits with 1 when anything differs.
"""
import argparse
import base64
import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sample_texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

P, N, D = pre_tokenizers, normalizers, decoders

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(upper, lower, suffix):
    return r"[^\r\n\p{L}\p{N}]?[%s]*[%s]+%s|[^\r\n\p{L}\p{N}]?[%s]+[%s]*%s" % (upper, lower, suffix, upper, lower, suffix)


PATTERNS = {
    "gpt2": [GPT2],
    "llama3": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES],
    "qwen2": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES],
    "qwen35": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + SPACES],
    "o200k": [cased(UPPER, LOWER, CONTRACTION + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES],
    "tekken": [cased(UPPER, LOWER, "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES],
    "kimi": [r"[\p{Han}]+|" + cased(UPPER + r"&&[^\p{Han}]", LOWER + r"&&[^\p{Han}]", CONTRACTION + "?")
             + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES],
    "deepseek3": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                  r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|""" + SPACES],
    "deepseek_coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
    "deepseek_llm": [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$",
                     "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}+"],
    "bloom": [" ?[^(\\s|[.,!?…。，、।۔،])]+"],
    "seed": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + SPACES],
    "bailing": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "odd": [r"\w+|[^\w\s]+|\s+", r"\d{1,2}+", r"(?m).{1,7}", r"[\p{Ll}\h]+|\P{L}|$"],
}


def corpus():
    rng = random.Random(7)
    lines = list(sample_texts.SENTENCES) * 3 + list(sample_texts.CODE) * 3
    lines += [" ".join(rng.choice(sample_texts.WORDS) for _ in range(12)) for _ in range(400)]
    return lines


def special(text, **options):
    return AddedToken(text, special=True, normalized=False, **options)


def add_usual_tokens(tokenizer):
    tokenizer.add_special_tokens([special("<|im_start|>"), special("<|im_end|>"), special("<s>"), special("<mask>", lstrip=True),
                                  special("</s>", rstrip=True)])
    tokenizer.add_tokens([AddedToken("extra", single_word=True, normalized=False), AddedToken("<tool>", lstrip=True, rstrip=True),
                          AddedToken("\n\n\n", normalized=False), AddedToken("Ki", normalized=True), "the of"])
    return tokenizer


def template(tokenizer, single, names):
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=[(n, tokenizer.token_to_id(n)) for n in names])


def byte_level(patterns=None, pre=None, ignore_merges=False, normalizer=None, legacy_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if patterns is not None:
        pre = P.Sequence([P.Split(Regex(p), "isolated") for p in patterns] + [P.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = D.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=3000, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    add_usual_tokens(tokenizer)
    template(tokenizer, "<s> $A </s>", ["<s>", "</s>"])
    if legacy_merges:
        data = json.loads(tokenizer.to_str())
        data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
        return Tokenizer.from_str(json.dumps(data))
    return tokenizer


def byte_tokens():
    return ["<0x%02X>" % i for i in range(256)]


def characters(normalizer, pre, decoder, byte_fallback=True, fuse=True, prefix=None, suffix=None, unknown="<unk>", vocab_size=3000):
    options = {}
    if prefix is not None:
        options["continuing_subword_prefix"] = prefix
    if suffix is not None:
        options["end_of_word_suffix"] = suffix
    tokenizer = Tokenizer(models.BPE(unk_token=unknown, fuse_unk=fuse, byte_fallback=byte_fallback, **options))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if decoder is not None:
        tokenizer.decoder = decoder
    tokens = [unknown] if unknown else []
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=tokens + (byte_tokens() if byte_fallback else []),
                                  limit_alphabet=400, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus(), trainer)
    # Byte tokens belong to the model alone.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return add_usual_tokens(Tokenizer.from_str(json.dumps(data)))


def unigram(normalizer, pre, decoder, byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    trainer = trainers.UnigramTrainer(vocab_size=1200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    data = json.loads(tokenizer.to_str())
    if byte_fallback:
        data["model"]["vocab"] += [[t, 0.0] for t in byte_tokens()]
        data["model"]["byte_fallback"] = True
    return add_usual_tokens(Tokenizer.from_str(json.dumps(data)))


def wordpiece(normalizer, pre):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = D.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"], limit_alphabet=600, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")))
    return tokenizer


def wordlevel():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = P.Sequence([P.Whitespace(), P.Punctuation("contiguous")])
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=800, special_tokens=["[UNK]"], show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(("[UNK]", 0), ("[UNK]", 0))
    return tokenizer


def charsmap(pairs):
    """A precompiled_charsmap of a few replacements: the double array is built the simple way, one node after the other."""
    texts, values = b"", {}
    for key, text in pairs.items():
        values[key.encode()] = len(texts)
        texts += text.encode() + b"\0"
    units, used = {}, {0}

    def place(prefix, node):
        children = sorted({k[len(prefix)] for k in values if k.startswith(prefix) and len(k) > len(prefix)})
        labels = ([0] if prefix in values else []) + children
        base = 1
        while any(((base ^ c) in used) for c in labels) or (base ^ node) >= 1 << 21:
            base += 1
        units[node] = units.get(node, 0) | (base ^ node) << 10 | ((1 << 8) if prefix in values else 0)
        for c in labels:
            used.add(base ^ c)
        if prefix in values:
            units[base] = 1 << 31 | values[prefix]
        for c in children:
            units[base ^ c] = c
        for c in children:
            place(prefix + bytes([c]), base ^ c)

    place(b"", 0)
    size = (max(units) // 256 + 1) * 256
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64decode(base64.b64encode(struct.pack("<I", len(trie)) + trie + texts))


CHARSMAP = {"ﬁ": "fi", "Ⅷ": "VIII", "①": "1", "½": "1/2", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "e\u0301": "é", "\u200b": "",
            "ａ": "a", "㈱": "(株)", "Å": "Å", "한": "han", "\u0344": "\u0308\u0301", "1": "one", "<": "«"}

LLAMA_DECODER = lambda: D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
GEMMA_DECODER = lambda: D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()])

CONFIGURATIONS = {
    **{"bytes-" + name: (lambda p=p: byte_level(patterns=p)) for name, p in PATTERNS.items()},
    "bytes-default": lambda: byte_level(pre=P.ByteLevel(add_prefix_space=True)),
    "bytes-legacy-merges": lambda: byte_level(pre=P.ByteLevel(add_prefix_space=False), legacy_merges=True),
    "bytes-ignore-merges": lambda: byte_level(patterns=PATTERNS["llama3"], ignore_merges=True),
    "bytes-smollm": lambda: byte_level(pre=P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)])),
    "bytes-falcon": lambda: byte_level(pre=P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False),
                                                      P.Split(Regex("[0-9][0-9][0-9]"), "isolated")])),
    "bytes-nfc": lambda: byte_level(patterns=PATTERNS["qwen2"], normalizer=N.NFC()),
    "bytes-nfkd-lower": lambda: byte_level(patterns=PATTERNS["qwen2"], normalizer=N.Sequence([N.NFKD(), N.Lowercase(), N.Strip()])),
    "bytes-normalizer": lambda: byte_level(pre=P.Split(Regex(r"\s+"), "merged_with_next"), normalizer=N.Sequence([N.NFKC(), N.ByteLevel()])),
    "bytes-metaspace": lambda: byte_level(pre=P.Sequence([P.Metaspace(prepend_scheme="first"), P.ByteLevel(add_prefix_space=False)])),
    "llama2": lambda: characters(N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None, LLAMA_DECODER()),
    "llama2-metaspace": lambda: characters(None, P.Metaspace(prepend_scheme="first", split=False), LLAMA_DECODER()),
    "gemma": lambda: characters(N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous"), GEMMA_DECODER()),
    "bpe-unknown": lambda: characters(N.NFD(), P.Whitespace(), None, byte_fallback=False, fuse=False),
    "bpe-unknown-fused": lambda: characters(None, None, None, byte_fallback=False, fuse=True),
    "bpe-dropped": lambda: characters(None, P.WhitespaceSplit(), D.Fuse(), byte_fallback=False, unknown=None),
    "bpe-suffix": lambda: characters(N.Lowercase(), P.BertPreTokenizer(), D.BPEDecoder("</w>"), byte_fallback=False, suffix="</w>"),
    "bpe-prefix": lambda: characters(None, P.Whitespace(), D.WordPiece("##", False), byte_fallback=False, prefix="##"),
    "unigram": lambda: unigram(N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(), D.Metaspace()),
    "unigram-t5": lambda: unigram(N.Precompiled(charsmap(CHARSMAP)), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), D.Metaspace()),
    "unigram-bytes": lambda: unigram(N.NFKC(), P.Metaspace(prepend_scheme="never", split=False), LLAMA_DECODER(), byte_fallback=True),
    "wordpiece": lambda: wordpiece(N.BertNormalizer(), P.BertPreTokenizer()),
    "wordpiece-cased": lambda: wordpiece(N.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False), P.BertPreTokenizer()),
    "wordpiece-accents": lambda: wordpiece(N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]), P.Sequence([P.Whitespace(), P.FixedLength(7)])),
    "wordlevel": wordlevel,
    **{"split-" + b: (lambda b=b: characters(None, P.Sequence([P.Split(Regex(r"[aeiou]|\s"), b), P.Split("th", b, invert=True), P.Punctuation(b)]),
                                             None, byte_fallback=False)) for b in
       ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")},
    "split-inverted": lambda: characters(None, P.Split(Regex(r"\w+"), "contiguous", invert=True), D.CTC("e", "t"), byte_fallback=False),
    "split-delimiter": lambda: characters(N.Strip(True, False), P.CharDelimiterSplit("e"), D.Sequence([D.Fuse(), D.Replace(Regex("[ab]+"), "x"),
                                          D.Strip("x", 2, 1)]), byte_fallback=False),
}


def read_gguf(path):
    """The tokenizer that a GGUF file's model had: what SmolLM2's and Gemma's conversions started from."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields

    def strings(key):
        return [bytes(fields[key].parts[i]).decode("utf-8", "replace") for i in fields[key].data]

    def numbers(key):
        return [fields[key].parts[i][0] for i in fields[key].data]

    tokens, types = strings("tokenizer.ggml.tokens"), [int(t) for t in numbers("tokenizer.ggml.token_type")]
    if fields["tokenizer.ggml.model"].contents() == "gpt2":
        tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in strings("tokenizer.ggml.merges")]))
        assert fields["tokenizer.ggml.pre"].contents() == "smollm"
        tokenizer.pre_tokenizer = P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = D.ByteLevel()
    else:
        # The conversion writes the runs of U+2581, which are user-defined tokens, as spaces.
        tokens = [t.replace(" ", "▁") if y == 4 and not t.strip(" ") else t for t, y in zip(tokens, types)]
        scores = [0.0 if y == 4 else float(s) for s, y in zip(numbers("tokenizer.ggml.scores"), types)]
        vocab, merges = {t: i for i, t in enumerate(tokens)}, []
        usable = {t for t, y in zip(tokens, types) if y in (1, 4)}
        for token, score in zip(tokens, scores):
            pairs = [(token[:i], token[i:]) for i in range(1, len(token))] if token in usable else []
            pairs = [p for p in pairs if p[0] in usable and p[1] in usable]
            merges += [(a, b, score) for a, b in sorted(pairs, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
        merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
        tokenizer = Tokenizer(models.BPE(vocab, [(a, b) for a, b, _ in merges], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        tokenizer.normalizer = N.Replace(" ", "▁")
        tokenizer.pre_tokenizer = P.Split(" ", "merged_with_previous")
        tokenizer.decoder = GEMMA_DECODER()
    tokenizer.add_tokens([AddedToken(t, special=y in (2, 3), normalized=False) for t, y in zip(tokens, types) if y in (2, 3, 4)])
    return tokenizer


class Driver:
    def __init__(self, executable, model):
        self.command = [executable, model]

    def run(self, options, data):
        done = subprocess.run(self.command + options, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(self.command + options), done.stderr.decode()))
        return done.stdout

    def encode(self, texts, options):
        out = self.run(options, b"".join(struct.pack("<I", len(t)) + t for t in texts))
        return [list(map(int, line.split())) for line in out.decode().split("\n")[:-1]]

    def decode(self, lists, options):
        out = self.run(["--detokenize"] + options, "".join(" ".join(map(str, ids)) + "\n" for ids in lists).encode())
        texts, at = [], 0
        while at < len(out):
            (length,) = struct.unpack_from("<I", out, at)
            texts.append(out[at + 4:at + 4 + length].decode("utf-8"))
            at += 4 + length
        return texts


def report(name, what, inputs, ours, theirs):
    wrong = [(i, a, b) for i, a, b in zip(inputs, ours, theirs) if a != b]
    if len(ours) != len(theirs):
        print("%s: %s: %d results, expected %d" % (name, what, len(ours), len(theirs)))
        return 1
    for i, a, b in wrong[:3]:
        print("%s: %s differs: %r\n  ours   %r\n  theirs %r" % (name, what, i, a, b))
    return len(wrong)


def random_ids(tokenizer, rng, count):
    known = [i for i in range(tokenizer.get_vocab_size()) if tokenizer.id_to_token(i) is not None]
    return [[rng.choice(known) for _ in range(rng.randrange(1, 12))] for _ in range(count)]


@contextlib.contextmanager
def silent_panics():
    """The reference's panics are caught, but not before their backtraces are written to descriptor 2."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def decode(tokenizer, ids, skip_special):
    """None where the reference panics, as its Strip and BPEDecoder do on too little text: nothing can be compared there."""
    try:
        return tokenizer.decode(ids, skip_special_tokens=skip_special)
    except BaseException as problem:
        if type(problem).__name__ != "PanicException":
            raise
        return None


def compare(name, driver, tokenizer, samples, seed):
    start = time.time()
    wrong = 0
    texts = [sample_texts.expected(s) for s in samples]
    tokenizer.encode_special_tokens = False
    theirs = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    wrong += report(name, "ids", texts, driver.encode(samples, []), theirs)
    few = samples[:len(samples) // 4]
    with_template = [e.ids for e in tokenizer.encode_batch(texts[:len(few)], add_special_tokens=True)]
    if tokenizer.post_processor is not None:
        wrong += report(name, "ids with template", texts, driver.encode(few, ["--add-special"]), with_template)
    tokenizer.encode_special_tokens = True
    plain = [e.ids for e in tokenizer.encode_batch(texts[:len(few)], add_special_tokens=False)]
    wrong += report(name, "ids without special tokens", texts, driver.encode(few, ["--no-parse-special"]), plain)
    lists = [ids for ids in theirs[:len(few)] if ids] + random_ids(tokenizer, random.Random(seed), len(few))
    for options, skip in (([], False), (["--skip-special"], True), (["--stream"], False)):
        with silent_panics():
            expected = [decode(tokenizer, ids, skip) for ids in lists]
        kept = [ids for ids, text in zip(lists, expected) if text is not None]
        expected = [text for text in expected if text is not None]
        wrong += report(name, "text " + " ".join(options), kept, driver.decode(kept, options), expected)
    print("%-24s %7d strings %6d differences %6.1f s" % (name, len(samples), wrong, time.time() - start), flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("--keep", help="folder for the trained tokenizers; those that are there are not trained again")
    args = parser.parse_args()
    samples = sample_texts.samples(args.seed, args.count)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, build in CONFIGURATIONS.items():
            if args.only and args.only not in name:
                continue
            folder = os.path.join(args.keep or temporary, name)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, "tokenizer.json")
            if not os.path.exists(path):
                build().save(path)
            wrong += compare(name, Driver(args.driver, folder), Tokenizer.from_file(path), samples, args.seed)
    for path in args.gguf:
        if not args.only or args.only in path:
            wrong += compare(os.path.basename(path)[:24], Driver(args.driver, path), read_gguf(path), samples, args.seed)
    print("%d differences" % wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
