"""Tokenizers trained with the `tokenizers` package, one for each configuration of the table below, all with added tokens
of every kind: what compare_tokenizers.py compares, beside the shapes of real models in families.py.
"""
import base64
import json
import pathlib
import random
import struct

import sample_texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

P, N, D = pre_tokenizers, normalizers, decoders

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(upper, lower, suffix):
    return r"[^\r\n\p{L}\p{N}]?[%s]*[%s]+%s|[^\r\n\p{L}\p{N}]?[%s]+[%s]*%s" % (upper, lower, suffix, upper, lower, suffix)


# The alphabetic scripts with case, as DeepSeek LLM lists them.
CASED_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-"
    "\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943")

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
    "deepseek_llm": [r"[\r\n]", r"\s?[%s]+" % CASED_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$",
                     "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}+"],
    "bloom": [" ?[^(\\s|[.,!?…。，、।۔،])]+"],
    "seed": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + SPACES],
    "bailing": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "afmoe": [r"\p{Nd}{1,3}(?=(?:\p{Nd}{3})*(?:\P{Nd}|$))",
              "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff"
              "\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
              r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|""" + SPACES],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "classes": [r"[[:alpha:]]+|[[:^print:][:blank:]]|[[:upper:]\p{Greek}&&[^A-C]]+", r"[[:punct:]]|\p{Cyrillic}{1,2}|\p{^Latin}\P{Hangul}?"],
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


def foreign_tokens():
    """Added tokens that the model's vocabulary has too, though no word of byte-level characters can be one."""
    data = json.loads(byte_level(pre=P.ByteLevel(add_prefix_space=False)).to_str())
    vocab = data["model"]["vocab"]
    texts = ["  ", "        ", "<｜begin▁of▁sentence｜>", "<｜User｜>", "[PAD 1]", "日本"]
    for i, text in enumerate(texts):
        vocab[text] = 5000 + i
    data["added_tokens"] = [{"id": vocab[text], "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                             "special": i > 1} for i, text in enumerate(texts)]
    data["post_processor"] = None
    return Tokenizer.from_str(json.dumps(data))


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


class Written:
    """A tokenizer.json whose digits must stay as they are: the package would write the numbers that it has read."""

    def __init__(self, text):
        self.text = text

    def save(self, path):
        pathlib.Path(path).write_text(self.text, encoding="utf-8")


def unigram_ties():
    """Runs of a letter part into the same pieces in many orders: the last bit of the sums decides, and so how scores are read."""
    rng = random.Random(5)
    vocab = [["<unk>", 0.0]] + [[c * n, struct.unpack("f", struct.pack("f", -rng.uniform(5, 14)))[0]] for c in "abcdefgh.,-=_*#/0129AZé中あ" for n in (1, 2, 3, 5)]
    data = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
            "decoder": None, "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}}
    return Written(json.dumps(data))


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

FAMILY_PATTERNS = ("gpt2", "llama3", "qwen2", "qwen35", "o200k", "tekken", "kimi", "deepseek3", "deepseek_llm", "deepseek_coder", "bloom", "afmoe")
CONFIGURATIONS = {
    **{"bytes-" + name: (lambda p=p: byte_level(patterns=p)) for name, p in PATTERNS.items() if name not in FAMILY_PATTERNS},
    "bytes-default": lambda: byte_level(pre=P.ByteLevel(add_prefix_space=True)),
    "bytes-legacy-merges": lambda: byte_level(pre=P.ByteLevel(add_prefix_space=False), legacy_merges=True),
    "bytes-ignore-merges": lambda: byte_level(patterns=PATTERNS["llama3"], ignore_merges=True),
    "bytes-foreign-tokens": foreign_tokens,
    "bytes-nfc": lambda: byte_level(patterns=PATTERNS["qwen2"], normalizer=N.NFC()),
    "bytes-nfkd-lower": lambda: byte_level(patterns=PATTERNS["qwen2"], normalizer=N.Sequence([N.NFKD(), N.Lowercase(), N.Strip()])),
    "bytes-normalizer": lambda: byte_level(pre=P.Split(Regex(r"\s+"), "merged_with_next"), normalizer=N.Sequence([N.NFKC(), N.ByteLevel()])),
    "bytes-metaspace": lambda: byte_level(pre=P.Sequence([P.Metaspace(prepend_scheme="first"), P.ByteLevel(add_prefix_space=False)])),
    "llama2-metaspace": lambda: characters(None, P.Metaspace(prepend_scheme="first", split=False), LLAMA_DECODER()),
    "bpe-unknown": lambda: characters(N.NFD(), P.Whitespace(), None, byte_fallback=False, fuse=False),
    "bpe-unknown-fused": lambda: characters(None, None, None, byte_fallback=False, fuse=True),
    "bpe-dropped": lambda: characters(None, P.WhitespaceSplit(), D.Fuse(), byte_fallback=False, unknown=None),
    "bpe-suffix": lambda: characters(N.Lowercase(), P.BertPreTokenizer(), D.BPEDecoder("</w>"), byte_fallback=False, suffix="</w>"),
    "bpe-marked-bytes": lambda: characters(None, P.Whitespace(), D.BPEDecoder(""), prefix="##", suffix="</w>"),
    "bpe-prefix": lambda: characters(None, P.Whitespace(), D.WordPiece("##", False), byte_fallback=False, prefix="##"),
    "unigram": lambda: unigram(N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(), D.Metaspace()),
    "unigram-t5": lambda: unigram(N.Precompiled(charsmap(CHARSMAP)), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), D.Metaspace()),
    "unigram-ties": unigram_ties,
    "unigram-bytes": lambda: unigram(N.NFKC(), P.Metaspace(prepend_scheme="never", split=False), LLAMA_DECODER(), byte_fallback=True),
    "wordpiece": lambda: wordpiece(N.BertNormalizer(), P.BertPreTokenizer()),
    "wordpiece-cased": lambda: wordpiece(N.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False), P.BertPreTokenizer()),
    "wordpiece-accents": lambda: wordpiece(N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]), P.Sequence([P.Whitespace(), P.FixedLength(7)])),
    "wordlevel": wordlevel,
    **{"split-" + b: (lambda b=b: characters(None, P.Sequence([P.Split(Regex(r"[aeiou]|\s"), b), P.Split("th", b, invert=True), P.Punctuation(b)]),
                                             None, byte_fallback=False)) for b in
       ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")},
    "split-scripts": lambda: characters(None, P.Sequence([P.UnicodeScripts(), P.WhitespaceSplit()]), None, byte_fallback=False),
    "split-scripts-alone": lambda: characters(None, P.UnicodeScripts(), D.Fuse(), byte_fallback=False),
    "split-inverted": lambda: characters(None, P.Split(Regex(r"\w+"), "contiguous", invert=True), D.CTC("e", "t"), byte_fallback=False),
    "split-empty": lambda: characters(N.Replace("", "~"), P.Split("", "contiguous", invert=True), D.Sequence([D.BPEDecoder("e"), D.Replace("", "-")]),
                                      byte_fallback=False),
    "split-delimiter": lambda: characters(N.Strip(True, False), P.CharDelimiterSplit("e"), D.Sequence([D.Fuse(), D.Replace(Regex("[ab]+"), "x"),
                                          D.Strip("x", 2, 1)]), byte_fallback=False),
}
