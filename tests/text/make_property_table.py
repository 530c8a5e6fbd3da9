#!/usr/bin/env python3
"""Writes property_names.inc and property_ranges.inc of src/text/tokenizer: the scripts and the POSIX-like properties that
patterns may name, as Oniguruma inside the `tokenizers` package knows them, asked code point by code point. Also script_runs.inc:
the scripts of the pre-tokenizer UnicodeScripts, which has other tables.

    python3 tests/text/make_property_table.py src/text/tokenizer

A row of names is {names, first range, ranges}; what the general categories already say (letters are alphabetic) is left out.
The names to try are those of the `regex` package.
"""
import sys

import tokenizers
from regex import _regex_core
from tokenizers import Regex, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CHUNKS = ["".join(map(chr, POINTS[i:i + 20000])) for i in range(0, len(POINTS), 20000)]


def accepts(pattern):
    try:
        return pre_tokenizers.Split(Regex(pattern), "removed") is not None
    except Exception:  # the package raises nothing more exact
        return False


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return {ord(c) for chunk in CHUNKS for piece, _ in split.pre_tokenize_str(chunk) for c in piece}


def folded(name):
    return "".join(c for c in name.lower() if c not in " -_")


def script_names():
    """The spellings of each script."""
    values = _regex_core.PROPERTIES["SCRIPT"][1]
    by_number = {}
    for name, number in values.items():
        by_number.setdefault(number, set()).add(folded(name))
    return sorted(sorted(names) for names in by_number.values())


def ranges(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def tables():
    letters = members(r"\p{L}|\p{Nl}")
    yield ["alpha", "alphabetic"], members("[[:alpha:]]") - letters
    yield ["upper", "uppercase"], members("[[:upper:]]") - members(r"\p{Lu}")
    yield ["lower", "lowercase"], members("[[:lower:]]") - members(r"\p{Ll}")
    for names in script_names():
        known = [name for name in names if name not in ("unknown", "zzzz") and accepts(r"\p{%s}" % name)]
        if known:
            yield known, members(r"\p{%s}" % known[0])


def write(path, what, rows):
    with open(path, "w") as out:
        print("/* Made by tests/text/make_property_table.py from tokenizers %s: %s. */" % (tokenizers.__version__, what), file=out)
        line = ""
        for row in rows:
            if len(line) + len(row) > 118:
                print(line, file=out)
                line = ""
            line += row
        print(line, file=out)


def script_runs():
    """(first code point, number of its script): 0 belongs to every script."""
    scripts = pre_tokenizers.UnicodeScripts()
    known, runs = [], []  # of each script a character
    for c in range(0x110000):
        number = runs[-1][1] if runs else 0
        if not 0xD800 <= c <= 0xDFFF:
            character = chr(c)
            if not scripts.pre_tokenize_str(character):
                number = 0
            elif number == 0 or len(scripts.pre_tokenize_str(known[number - 1] + character)) > 1:
                number = next((i for i, other in enumerate(known, 1) if len(scripts.pre_tokenize_str(other + character)) == 1), 0)
                if number == 0:
                    known.append(character)
                    number = len(known)
        if not runs or runs[-1][1] != number:
            runs.append((c, number))
    return runs


def main():
    names, all_ranges = [], []
    for spellings, code_points in tables():
        found = ranges(code_points)
        names.append('{" %s ",%d,%d},' % (" ".join(spellings), len(all_ranges), len(found)))
        all_ranges += found
    write(sys.argv[1] + "/property_names.inc", "{names, first range, ranges}", names)
    write(sys.argv[1] + "/property_ranges.inc", "{first, last}", ["{%d,%d}," % tuple(r) for r in all_ranges])
    write(sys.argv[1] + "/script_runs.inc", "{first code point, script}", ["{%d,%d}," % run for run in script_runs()])


if __name__ == "__main__":
    main()
