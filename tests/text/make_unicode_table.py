#!/usr/bin/env python3
"""Writes src/text/tokenizer/unicode_runs.inc: what the `tokenizers` package believes about every code point.

`tokenizers` mixes four sources of Unicode data of different ages: Oniguruma (patterns), Rust's standard library (white
space, digits), the regex crate (the Whitespace pre-tokenizer) and unicode_categories (punctuation, BERT). Asking the
package itself, code point by code point, is the only way to agree with all of them. The output is a list of runs
{first code point, flags}; see unicode.h for the flags.

    python3 tests/text/make_unicode_table.py > src/text/tokenizer/unicode_runs.inc
"""
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cs".split()
FLAGS = "space onig_word rust_word numeric old_punct old_other old_mn old_mark han".split()
points = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
text = "".join(map(chr, points))


def kept(pre_tokenizer):
    return {ord(ch) for piece, _ in pre_tokenizer.pre_tokenize_str(text) for ch in piece}


def onig(pattern):
    return kept(pre_tokenizers.Split(Regex(pattern), "removed", invert=True))


category = dict.fromkeys(range(0x110000), 0)
for number, name in enumerate(CATEGORIES):
    if name != "Cs":
        for c in onig(r"\p{%s}" % name):
            category[c] = number
for c in range(0xD800, 0xE000):
    category[c] = CATEGORIES.index("Cs")

everything = set(points)
sets = {
    "space": everything - kept(pre_tokenizers.WhitespaceSplit()),
    "onig_word": onig(r"\w"),
    "han": onig(r"\p{Han}"),
}
assert sets["space"] == onig(r"\s")
# "c!" stays one piece when c is neither a word character nor a space.
pieces = pre_tokenizers.Whitespace().pre_tokenize_str("\n".join(chr(c) + "!" for c in points))
sets["rust_word"] = {ord(p) for p, _ in pieces if len(p) == 1 and p != "!"}
# Between letters, an isolated character is a piece of its own.
def isolated(pre_tokenizer):
    pieces = pre_tokenizer.pre_tokenize_str("a".join(map(chr, points)))
    return {ord(p) for p, _ in pieces if len(p) == 1 and p != "a"}


sets["numeric"] = isolated(pre_tokenizers.Digits(individual_digits=True))
sets["old_punct"] = isolated(pre_tokenizers.Punctuation("isolated"))
clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
bare = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
marks = normalizers.StripAccents()
sets["old_other"] = {c for c in points if clean.normalize_str("a" + chr(c)) == "a" and c not in (0, 0xFFFD)}
sets["old_other"] |= {0, 9, 10, 13}
sets["old_mn"] = {c for c in points if bare.normalize_str("a" + chr(c)) == "a"}
sets["old_mark"] = {c for c in points if marks.normalize_str("a" + chr(c)) == "a"}

runs, last = [], None
for c in range(0x110000):
    value = category[c]
    for bit, name in enumerate(FLAGS):
        if c in sets[name]:
            value |= 1 << (5 + bit)
    if value != last:
        runs.append("{%d,%d}," % (c, value))
        last = value
print("/* Made by tests/text/make_unicode_table.py from tokenizers %s: {first code point, flags of unicode.h}. */"
      % tokenizers.__version__)
line = ""
for run in runs:
    if len(line) + len(run) > 118:
        print(line)
        line = ""
    line += run
print(line)
