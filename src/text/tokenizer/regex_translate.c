/*
 * regex_translate.c - from Oniguruma's Ruby syntax to PCRE2's.
 *
 * The two agree on nearly everything. They do not on: the Unicode version behind \p, \w, \d and \s; \h (a hexadecimal
 * digit), \v (one character) and \u; classes inside classes and && between them; (?m), which is PCRE2's (?s); x{2,3}+,
 * which repeats and is not possessive; and x{,3}. So every class is read into a set of code points and written anew,
 * and the rest is copied.
 */
#include "text/tokenizer/regex_translate.h"

#include "text/tokenizer/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_PATTERN_BYTES = 1 << 16, MAX_CLASSES = 200 };

typedef struct Translator {
    CategoryCache *cache;
    const char *at, *end;
    StrBuf *out;
    size_t groups[MAX_DEPTH]; /* where in `out` the open groups start */
    size_t depth;
    size_t atom; /* where in `out` the last thing that can be repeated starts */
    int classes;
} Translator;

static ImpStatus broken(const char *what) { return imp_fail(IMP_ERR_FORMAT, "%s", what); }

/* Up to `max` hexadecimal digits. */
static bool read_hex(Translator *t, int max, uint32_t *value)
{
    int n = 0;
    *value = 0;
    for (; n < max && t->at < t->end; n++, t->at++) {
        const char c = *t->at;
        const int digit = c >= '0' && c <= '9'                     ? c - '0'
                          : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                   : -1;
        if (digit < 0) break;
        *value = *value << 4 | (uint32_t)digit;
    }
    return n > 0 && *value < UNICODE_LIMIT;
}

/* An escape that names one character, `at` behind the backslash; leaves `at` in place and gives false for any other. */
static ImpStatus character_escape(Translator *t, bool in_class, bool *found, uint32_t *code_point)
{
    static const struct {
        char letter;
        unsigned char value;
    } controls[] = {{'n', 10}, {'r', 13}, {'t', 9}, {'f', 12}, {'v', 11}, {'a', 7}, {'e', 27}};
    *found = true;
    const char letter = *t->at;
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        if (letter == controls[i].letter) {
            t->at++;
            *code_point = controls[i].value;
            return IMP_OK;
        }
    }
    if (letter == 'u' || letter == 'x') {
        t->at++;
        const bool braces = letter == 'x' && t->at < t->end && *t->at == '{';
        t->at += braces;
        if (!read_hex(t, braces ? 8 : letter == 'u' ? 4 : 2, code_point))
            return broken("a hexadecimal escape names no character");
        if (braces && (t->at == t->end || *t->at++ != '}')) return broken("a \\x{ escape does not end");
        if (letter == 'x' && !braces && *code_point > 0x7F) return broken("a \\xHH escape names half a character");
        return IMP_OK;
    }
    if (in_class && letter == 'b') {
        t->at++;
        *code_point = 8;
        return IMP_OK;
    }
    *found = false;
    return IMP_OK;
}

/* \p{Name}, \p{^Name}, \P{Name}; `at` behind the letter, at the brace. */
static ImpStatus property(Translator *t, bool negated, CodeSet *set)
{
    const char *start = ++t->at;
    while (t->at < t->end && *t->at != '}') t->at++;
    if (t->at == t->end) return broken("a \\p{ escape does not end");
    size_t length = (size_t)(t->at++ - start);
    if (length > 0 && start[0] == '^') {
        negated = !negated;
        start++;
        length--;
    }
    if (!code_set_add_property(set, start, length)) {
        return imp_fail(IMP_ERR_UNSUPPORTED, "the character property \\p{%.*s} is not supported",
                        (int)(length < 60 ? length : 60), start);
    }
    if (negated) code_set_complement(set);
    return IMP_OK;
}

/* Oniguruma's word characters. Outside of a class six of Latin-1, which are numbers but no digits, belong to them as
 * well. */
static void add_word(CodeSet *set, bool in_class)
{
    static const unsigned char odd_ones[] = {0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE};
    code_set_add_class(set, 0, UC_ONIG_WORD);
    for (size_t i = 0; in_class && i < sizeof odd_ones; i++) code_set_remove(set, odd_ones[i]);
}

/* An escape that names a set, `at` behind the backslash; `set` (empty before) gets it. */
static ImpStatus set_escape(Translator *t, bool in_class, bool *found, CodeSet *set)
{
    const char letter = *t->at, kind = (char)(letter | 0x20);
    *found = true;
    if (kind == 'p' && t->at + 1 < t->end && t->at[1] == '{') {
        t->at++;
        return property(t, letter == 'P', set);
    }
    switch (kind) {
    case 's':
        code_set_add_class(set, 0, UC_SPACE);
        break;
    case 'd':
        code_set_add_class(set, GC_BIT(GC_ND), 0);
        break;
    case 'w':
        add_word(set, in_class);
        break;
    case 'h':
        code_set_add(set, '0', '9');
        code_set_add(set, 'A', 'F');
        code_set_add(set, 'a', 'f');
        break;
    default:
        *found = false;
        return IMP_OK;
    }
    t->at++;
    if (letter != kind) code_set_complement(set);
    return IMP_OK;
}

/* [:name:] or [:^name:], `at` behind "[:"; false when it is none and `at` stays. */
static bool posix_class(Translator *t, CodeSet *set)
{
    const char *start = t->at;
    const char *end = memmem(start, (size_t)(t->end - start), ":]", 2);
    if (end == NULL) return false;
    const bool negated = *start == '^';
    start += negated;
    const size_t length = (size_t)(end - start);
    if (length == 4 && memcmp(start, "word", 4) == 0) {
        add_word(set, true);
    } else if (length == 5 && memcmp(start, "punct", 5) == 0) {
        code_set_add_class(set, GC_P | GC_S, 0); /* \p{Punct} has no symbols */
    } else {
        /* Of the properties, those that have a POSIX name. */
        static const char names[] = " alnum alpha ascii blank cntrl digit graph lower print space upper xdigit ";
        char spaced[16];
        if (length + 3 > sizeof spaced) return false;
        (void)snprintf(spaced, sizeof spaced, " %.*s ", (int)length, start);
        if (strstr(names, spaced) == NULL || !code_set_add_property(set, start, length)) return false;
    }
    if (negated) code_set_complement(set);
    t->at = end + 2;
    return true;
}

static ImpStatus read_class(Translator *t, int depth, CodeSet *out);

/* One member of a class: a set (`*is_set`, added to `out`) or a character. */
static ImpStatus class_member(Translator *t, int depth, CodeSet *out, bool *is_set, uint32_t *code_point)
{
    ImpStatus status = IMP_OK;
    CodeSet *set = NULL;
    *is_set = false;
    if (*t->at == '[') {
        set = code_set_create();
        if (set == NULL) return imp_fail_memory(sizeof *set);
        t->at++;
        *is_set = true;
        if (t->at < t->end && *t->at == ':') {
            t->at++;
            if (!posix_class(t, set)) IMP_GOTO(imp_fail(IMP_ERR_UNSUPPORTED, "a [: :] class is not supported"));
        } else {
            IMP_GOTO(read_class(t, depth + 1, set));
        }
        code_set_unite(out, set);
    } else if (*t->at == '\\') {
        if (++t->at == t->end) return broken("the pattern ends in a backslash");
        set = code_set_create();
        if (set == NULL) return imp_fail_memory(sizeof *set);
        IMP_GOTO(set_escape(t, true, is_set, set));
        if (*is_set) {
            code_set_unite(out, set);
        } else {
            bool named;
            size_t width;
            IMP_GOTO(character_escape(t, true, &named, code_point));
            if (!named) {
                *code_point = utf8_decode(t->at, &width);
                t->at += width;
            }
        }
    } else {
        size_t width;
        *code_point = utf8_decode(t->at, &width);
        t->at += width;
    }
fail:
    free(set);
    return status;
}

/* A class up to its closing bracket, `at` behind the opening one; `out` is empty before. */
static ImpStatus read_class(Translator *t, int depth, CodeSet *out)
{
    if (depth > 8) return imp_fail(IMP_ERR_LIMIT, "classes are nested too deeply");
    ImpStatus status = IMP_OK;
    CodeSet *both = NULL; /* what the parts before the last && have in common */
    const bool negated = t->at < t->end && *t->at == '^';
    t->at += negated;
    const char *first = t->at;
    for (;;) {
        if (t->at == t->end) IMP_GOTO(broken("a character class does not end"));
        if (*t->at == ']' && t->at != first) break;
        if (*t->at == '&' && t->at + 1 < t->end && t->at[1] == '&') {
            t->at += 2;
            if (both == NULL) {
                both = malloc(sizeof *both);
                if (both == NULL) IMP_GOTO(imp_fail_memory(sizeof *both));
                memcpy(both, out, sizeof *both);
            } else {
                code_set_intersect(both, out);
            }
            memset(out, 0, sizeof *out);
            continue;
        }
        bool is_set;
        uint32_t low, high;
        IMP_GOTO(class_member(t, depth, out, &is_set, &low));
        if (is_set) continue;
        high = low;
        if (t->at + 1 < t->end && *t->at == '-' && t->at[1] != ']') {
            t->at++;
            IMP_GOTO(class_member(t, depth, out, &is_set, &high));
            if (is_set) {
                /* "a-\d": the hyphen is itself */
                code_set_add(out, '-', '-');
                high = low;
            } else if (high < low) {
                IMP_GOTO(broken("a range in a class runs backwards"));
            }
        }
        code_set_add(out, low, high);
    }
    t->at++;
    if (both != NULL) code_set_intersect(out, both);
    if (negated) code_set_complement(out);
fail:
    free(both);
    return status;
}

static ImpStatus write_set(Translator *t, const CodeSet *set)
{
    if (++t->classes > MAX_CLASSES) return imp_fail(IMP_ERR_LIMIT, "the pattern has more than %d classes", MAX_CLASSES);
    t->atom = t->out->length;
    return code_set_write(set, t->cache, t->out);
}

static ImpStatus translate_class(Translator *t)
{
    CodeSet *set = code_set_create();
    if (set == NULL) return imp_fail_memory(sizeof *set);
    t->at++;
    ImpStatus status = read_class(t, 0, set);
    if (status == IMP_OK) status = write_set(t, set);
    free(set);
    return status;
}

static void write_character(Translator *t, uint32_t code_point)
{
    t->atom = t->out->length;
    strbuf_printf(t->out, "\\x{%x}", (unsigned)code_point);
}

/* \b and \B, spelt out, because PCRE2's word characters are others. */
static ImpStatus word_border(Translator *t, bool inside)
{
    CodeSet *set = code_set_create();
    StrBuf word = {0};
    if (set == NULL) return imp_fail_memory(sizeof *set);
    add_word(set, false);
    ImpStatus status = code_set_write(set, t->cache, &word);
    if (status == IMP_OK) status = strbuf_check(&word);
    if (status == IMP_OK) {
        t->atom = t->out->length;
        strbuf_printf(t->out, "(?:(?<=%s)(?%c%s)|(?<!%s)(?%c%s))", word.data, inside ? '=' : '!', word.data, word.data,
                      inside ? '!' : '=', word.data);
    }
    strbuf_free(&word);
    free(set);
    return status;
}

static ImpStatus translate_escape(Translator *t)
{
    if (++t->at == t->end) return broken("the pattern ends in a backslash");
    bool found;
    uint32_t code_point;
    CodeSet *set = code_set_create();
    if (set == NULL) return imp_fail_memory(sizeof *set);
    ImpStatus status = set_escape(t, false, &found, set);
    if (status == IMP_OK && found) status = write_set(t, set);
    free(set);
    if (status != IMP_OK || found) return status;
    IMP_TRY(character_escape(t, false, &found, &code_point));
    if (found) {
        write_character(t, code_point);
        return IMP_OK;
    }
    if (*t->at == 'b' || *t->at == 'B') return word_border(t, *t->at++ == 'B');
    size_t width;
    code_point = utf8_decode(t->at, &width);
    const bool letter = code_point < 0x80 && ((code_point | 0x20) >= 'a' && (code_point | 0x20) <= 'z');
    const bool digit = code_point >= '0' && code_point <= '9';
    if ((letter && strchr("AzZGRXKk", (int)code_point) != NULL) || digit) {
        t->atom = t->out->length;
        strbuf_putc(t->out, '\\');
        strbuf_putc(t->out, (char)code_point);
    } else {
        write_character(t, code_point); /* an escaped character without a meaning is that character */
    }
    t->at += width;
    return IMP_OK;
}

/* "(", and for "(?" everything up to where the group's content starts, with m turned into s. */
static ImpStatus translate_group(Translator *t)
{
    if (t->depth == MAX_DEPTH) return imp_fail(IMP_ERR_LIMIT, "groups are nested too deeply");
    const size_t start = t->out->length;
    t->groups[t->depth++] = start;
    strbuf_putc(t->out, *t->at++);
    if (t->at == t->end || *t->at != '?') return IMP_OK;
    strbuf_putc(t->out, *t->at++);
    if (t->at == t->end) return broken("a group does not end");
    if (strchr("imx-", *t->at) == NULL) {
        if (strchr(":=!><", *t->at) == NULL)
            return imp_fail(IMP_ERR_UNSUPPORTED, "a (?%c group is not supported", *t->at);
        strbuf_putc(t->out, *t->at++);
        return IMP_OK;
    }
    while (t->at < t->end && *t->at != ')' && *t->at != ':') {
        if (strchr("imx-", *t->at) == NULL) return broken("a group has an unknown option");
        strbuf_putc(t->out, *t->at == 'm' ? 's' : *t->at);
        t->at++;
    }
    return IMP_OK;
}

static void insert(StrBuf *out, size_t at, const char *text)
{
    const size_t length = strlen(text);
    if (!strbuf_reserve(out, length)) return;
    memmove(out->data + at + length, out->data + at, out->length - at + 1);
    memcpy(out->data + at, text, length);
    out->length += length;
}

/* {n}, {n,}, {,m} or {n,m}; anything else in braces is text. */
static void translate_braces(Translator *t)
{
    const char *p = t->at + 1;
    const char *low = p;
    while (p < t->end && *p >= '0' && *p <= '9') p++;
    const size_t low_length = (size_t)(p - low);
    size_t high_length = 0;
    const bool comma = p < t->end && *p == ',';
    if (comma) {
        p++;
        const char *high = p;
        while (p < t->end && *p >= '0' && *p <= '9') p++;
        high_length = (size_t)(p - high);
    }
    if (p == t->end || *p != '}' || low_length + high_length == 0) {
        write_character(t, '{');
        t->at++;
        return;
    }
    p++;
    const bool repeated = p < t->end && *p == '+';
    if (repeated) insert(t->out, t->atom, "(?:");
    strbuf_putc(t->out, '{');
    if (low_length == 0) strbuf_putc(t->out, '0');
    strbuf_append(t->out, t->at + 1, (size_t)(p - t->at - 1));
    if (repeated) strbuf_putc(t->out, ')');
    t->at = p;
}

static ImpStatus translate_one(Translator *t)
{
    const char c = *t->at;
    switch (c) {
    case '\\':
        return translate_escape(t);
    case '[':
        return translate_class(t);
    case '(':
        return translate_group(t);
    case ')':
        if (t->depth == 0) return broken("a closing parenthesis has no opening one");
        t->atom = t->groups[--t->depth];
        break;
    case '{':
        translate_braces(t);
        return IMP_OK;
    case '*':
    case '+':
    case '?':
        break;
    default:
        t->atom = t->out->length;
        break;
    }
    const size_t width = utf8_width(c);
    strbuf_append(t->out, t->at, width);
    t->at += width;
    return IMP_OK;
}

ImpStatus regex_translate(CategoryCache *cache, const char *source, size_t length, StrBuf *out)
{
    if (length > MAX_PATTERN_BYTES) return imp_fail(IMP_ERR_LIMIT, "a pattern of %zu bytes is too long", length);
    Translator t = {.cache = cache, .at = source, .end = source + length, .out = out};
    while (t.at < t.end) IMP_TRY(translate_one(&t));
    if (t.depth != 0) return broken("a group does not end");
    return strbuf_check(out);
}
