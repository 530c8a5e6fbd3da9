#!/usr/bin/env python3
"""Writes src/text/tokenizer/unicode_runs.inc and lowercase_runs.inc: what the `tokenizers` package believes about every code point.

`tokenizers` mixes four sources of Unicode data of different ages: Oniguruma (patterns), Rust's standard library (white
space, digits), the regex crate (the Whitespace pre-tokenizer) and unicode_categories (punctuation, BERT). Asking the
package itself, code point by code point, is the only way to agree with all of them. The output is a list of runs
{first code point, flags}; see unicode.h for the flags. unicodedata2 (the newest Unicode) tells which characters a system
library may normalize although the reference does not know them yet.

    python3 tests/text/make_unicode_table.py src/text/tokenizer
"""
import sys

import tokenizers
import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cs".split()
FLAGS = "space onig_word rust_word numeric old_punct old_other old_mn old_mark han moved_nfc moved_nfd moved_nfkc moved_nfkd late upper".split()
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


# Normal forms. A character is moved when it changes, is reordered, or joins what stands before it.
forms = {"nfc": normalizers.NFC(), "nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(), "nfkd": normalizers.NFKD()}
nfd = {c: forms["nfd"].normalize_str(chr(c)) for c in points}
combining = {c for c in points if forms["nfd"].normalize_str("a\u0345" + chr(c)) != "a\u0345" + nfd[c]} | {0x345}
joining = {ord(ch) for text in nfd.values() for ch in text[1:]}
for name, form in forms.items():
    sets["moved_" + name] = {c for c in points if form.normalize_str(chr(c)) != chr(c)} | combining
    if name in ("nfc", "nfkc"):
        sets["moved_" + name] |= joining
known = sets["moved_nfkd"] | joining | {ord(text[0]) for c, text in nfd.items() if text != chr(c)}
late = set()
for c in points:
    new = unicodedata2.normalize("NFKD", chr(c))
    if c not in known and (new != chr(c) or unicodedata2.combining(chr(c))):
        late |= {c} | {ord(ch) for ch in new if ord(ch) not in known}
sets["late"] = {c for c in late if c > 0x2FF}


# Lower case.
lower = normalizers.Lowercase()
mapping = {c: lower.normalize_str(chr(c)) for c in points}
mapping = {c: text for c, text in mapping.items() if text != chr(c)}
sets["upper"] = set(mapping)
assert [c for c, text in mapping.items() if len(text) > 1] == [0x130] and mapping.pop(0x130) == "i\u0307"


def write(path, what, rows):
    with open(path, "w") as out:
        print("/* Made by tests/text/make_unicode_table.py from tokenizers %s: %s. */" % (tokenizers.__version__, what), file=out)
        line = ""
        for row in rows:
            if len(line) + len(row) > 118:
                print(line, file=out)
                line = ""
            line += row
        print(line, file=out)


runs, last = [], None
for c in range(0x110000):
    value = category[c]
    for bit, name in enumerate(FLAGS):
        if c in sets[name]:
            value |= 1 << (5 + bit)
    if value != last:
        runs.append("{%d,%d}," % (c, value))
        last = value
write(sys.argv[1] + "/unicode_runs.inc", "{first code point, flags of unicode.h}", runs)

# Runs {first, last, step, difference}: every step-th character maps to itself plus the difference.
rows, todo = [], sorted(mapping)
while todo:
    first, best = todo[0], None
    for step in (1, 2):
        last = first
        while last + step in mapping and ord(mapping[last + step]) - last - step == ord(mapping[first]) - first:
            last += step
        if best is None or last - first > best[1] - first:
            best = (step, last)
    step, last = best
    rows.append("{%d,%d,%d,%d}," % (first, last, step, ord(mapping[first]) - first))
    taken = set(range(first, last + 1, step))
    todo = [c for c in todo if c not in taken]
write(sys.argv[1] + "/lowercase_runs.inc", "{first, last, step, difference}", rows)
