"""Writes src/text/template/unicode_tables.h: what Python's str methods know that utf8proc does not.

Run: python3 tests/oracle/make_unicode_tables.py > src/text/template/unicode_tables.h
"""

import unicodedata


def code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def ranges(points):
    result = []
    for point in points:
        if result and result[-1][1] == point - 1:
            result[-1][1] = point
        else:
            result.append([point, point])
    return result


def print_ranges(name, comment, points):
    print(f"\n/* {comment} */")
    print(f"static const UnicodeRange {name}[] = {{")
    line = "   "
    for first, last in ranges(points):
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


def print_mappings(name, comment, mapping):
    print(f"\n/* {comment} */")
    print(f"static const UnicodeMapping {name}[] = {{")
    line = "   "
    for point in code_points():
        mapped = mapping(chr(point))
        if len(mapped) > 1:
            item = f" {{0x{point:X}, {{{', '.join(f'0x{ord(c):X}' for c in mapped)}}}}},"
            if len(line) + len(item) > 118:
                print(line)
                line = "   "
            line += item
    print(line)
    print("};")


def case_ignorable(character):
    # CPython exposes the property only through the final sigma rule: a sigma after "A" + the character.
    return ("A" + character + "\u03a3").lower().endswith("\u03c2") and not ("\u00b2" + character + "\u03a3").lower().endswith("\u03c2")


def main():
    print("/* unicode_tables.h - made by tests/oracle/make_unicode_tables.py; do not edit. */")
    print("#ifndef IMP_TEXT_TEMPLATE_UNICODE_TABLES_H\n#define IMP_TEXT_TEMPLATE_UNICODE_TABLES_H\n")
    print("#include <stdint.h>\n")
    print("typedef struct UnicodeRange {\n    uint32_t first, last;\n} UnicodeRange;\n")
    print("typedef struct UnicodeMapping {\n    uint32_t from, to[3];\n} UnicodeMapping;")
    print_mappings("unicode_upper_special", "Upper case of more than one code point.", str.upper)
    print_mappings("unicode_lower_special", "Lower case of more than one code point.", str.lower)
    print_mappings("unicode_title_special", "Title case of more than one code point.", str.title)
    print_ranges("unicode_digits", "Digits that are no decimal digits.",
                 [c for c in code_points() if chr(c).isdigit() and not chr(c).isdecimal()])
    print_ranges("unicode_numerics", "Numeric characters outside the N categories.",
                 [c for c in code_points() if chr(c).isnumeric() and unicodedata.category(chr(c))[0] != "N"])
    print_ranges("unicode_case_ignorable", "What the final sigma rule looks through.",
                 [c for c in code_points() if case_ignorable(chr(c))])
    print("\n#endif")


main()
