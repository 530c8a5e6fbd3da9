/*
 * expression_syntax.c - a recursive-descent reader of regular expressions (see expression.h for the dialect).
 */
#include "runtime/constraint/expression_syntax.h"
#include "runtime/constraint/json_value.h"

#include <string.h>

enum { MAX_DEPTH = 100, MAX_BOUND = 100000 };

typedef struct ExpressionReader {
    Arena *arena;
    const char *text;
    size_t length, at, depth;
    bool ignore_case, dot_all;
    CharSet classes[3]; /* \d \s \w, made once when first used */
} ExpressionReader;

static ImpStatus bad_expression(const ExpressionReader *reader, ImpStatus code, const char *what)
{
    return imp_fail(code, "pattern, byte %zu: %s", reader->at, what);
}

static ImpStatus malformed(const ExpressionReader *reader, const char *what) { return bad_expression(reader, IMP_ERR_FORMAT, what); }

static ImpStatus unsupported(const ExpressionReader *reader, const char *what)
{
    return bad_expression(reader, IMP_ERR_UNSUPPORTED, what);
}

static bool at_end(const ExpressionReader *reader) { return reader->at >= reader->length; }
static char peek(const ExpressionReader *reader) { return at_end(reader) ? '\0' : reader->text[reader->at]; }

static bool accept(ExpressionReader *reader, const char *word)
{
    const size_t length = strlen(word);
    if (reader->length - reader->at < length || memcmp(reader->text + reader->at, word, length) != 0) return false;
    reader->at += length;
    return true;
}

static ImpStatus new_node(const ExpressionReader *reader, ExpressionKind kind, ExpressionNode **out)
{
    ExpressionNode *node = arena_alloc(reader->arena, 1, sizeof *node);
    if (node == NULL) return imp_fail_memory(sizeof *node);
    node->kind = kind;
    node->at = reader->at;
    *out = node;
    return IMP_OK;
}

/* Appends a part; the array doubles at powers of two. */
static ImpStatus add_part(const ExpressionReader *reader, ExpressionNode *node, ExpressionNode *part)
{
    const size_t n = node->n_parts;
    if ((n & (n - 1)) == 0) {
        ExpressionNode **grown = arena_alloc(reader->arena, n == 0 ? 1 : 2 * n, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(2 * n * sizeof *grown);
        if (n != 0) memcpy(grown, node->parts, n * sizeof *grown);
        node->parts = grown;
    }
    node->parts[node->n_parts++] = part;
    return IMP_OK;
}

static bool read_hex(ExpressionReader *reader, size_t min, size_t max, uint32_t *out)
{
    uint32_t value = 0;
    size_t count = 0;
    for (; count < max && !at_end(reader); count++, reader->at++) {
        const char c = peek(reader);
        if (c >= '0' && c <= '9') value = value * 16 + (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f') value = value * 16 + (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F') value = value * 16 + (uint32_t)(c - 'A') + 10;
        else break;
    }
    *out = value;
    return count >= min && value <= CODE_POINT_MAX;
}

/* \uXXXX (a surrogate pair makes one character), \u{…}. */
static ImpStatus read_unicode_escape(ExpressionReader *reader, uint32_t *out)
{
    if (accept(reader, "{")) {
        if (!read_hex(reader, 1, 6, out) || !accept(reader, "}")) return malformed(reader, "a bad \\u{…} escape");
        return IMP_OK;
    }
    if (!read_hex(reader, 4, 4, out)) return malformed(reader, "a bad \\u escape");
    uint32_t low = 0;
    const size_t before = reader->at;
    if (*out >= 0xd800 && *out < 0xdc00 && accept(reader, "\\u") && read_hex(reader, 4, 4, &low) && low >= 0xdc00 &&
        low < 0xe000)
        *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    else if (*out >= 0xd800 && *out < 0xdc00) reader->at = before;
    return IMP_OK;
}

/* A class escape: \d \D \s \S \w \W \p{…} \P{…}. */
static ImpStatus add_class_escape(ExpressionReader *reader, char letter, CharSet *set)
{
    static const char letters[] = "dsw";
    const bool negated = letter >= 'A' && letter <= 'Z';
    const char lower = negated ? (char)(letter + 32) : letter;
    CharSet property = {0};
    CharSet *members = &property;
    if (lower == 'p') {
        const char *name = reader->text + reader->at + 1;
        const char *brace = at_end(reader) ? NULL : memchr(name - 1, '}', reader->length - reader->at);
        bool known = false;
        if (peek(reader) != '{' || brace == NULL) return malformed(reader, "\\p without {…}");
        IMP_TRY(charset_add_property(reader->arena, &property, name, (size_t)(brace - name), &known));
        if (!known) return unsupported(reader, "an unknown Unicode property");
        reader->at = (size_t)(brace + 1 - reader->text);
    } else {
        members = &reader->classes[strchr(letters, lower) - letters];
        if (members->count == 0) IMP_TRY(charset_add_class(reader->arena, members, lower));
    }
    charset_finish(members);
    CharSet rest = {0};
    if (negated) IMP_TRY(charset_complement(reader->arena, members, &rest));
    return charset_add_set(reader->arena, set, negated ? &rest : members);
}

/* The character behind an escape that names one; the backslash is read. */
static ImpStatus read_character_escape(ExpressionReader *reader, bool in_class, uint32_t *out)
{
    static const char names[] = "nrtfva";
    static const char meanings[] = "\n\r\t\f\v\a";
    const char c = peek(reader);
    reader->at++;
    const char *found = c == '\0' ? NULL : strchr(names, c);
    if (found != NULL) {
        *out = (unsigned char)meanings[found - names];
        return IMP_OK;
    }
    if (c == 'x') return read_hex(reader, 2, 2, out) ? IMP_OK : malformed(reader, "a bad \\x escape");
    if (c == 'u') return read_unicode_escape(reader, out);
    if (c == 'U') return read_hex(reader, 8, 8, out) ? IMP_OK : malformed(reader, "a bad \\U escape");
    if (c == 'c' && ((peek(reader) | 32) >= 'a' && (peek(reader) | 32) <= 'z')) {
        *out = (unsigned char)reader->text[reader->at++] & 0x1f;
        return IMP_OK;
    }
    if (c == '0') {
        *out = 0;
        return IMP_OK;
    }
    if (c == 'b' && in_class) {
        *out = '\b';
        return IMP_OK;
    }
    if (c == 'B') return malformed(reader, "\\B in brackets");
    if ((c >= '1' && c <= '9') || c == 'k') return unsupported(reader, "back-references are not regular");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return malformed(reader, "an unknown escape");
    reader->at--;
    *out = utf8_next(reader->text, reader->length, &reader->at);
    return IMP_OK;
}

static bool names_class(char c) { return c != '\0' && strchr("dDsSwWpP", c) != NULL; }

/* One member of a bracket expression: a character, or a class (then *single is false). */
static ImpStatus read_class_member(ExpressionReader *reader, CharSet *set, uint32_t *character, bool *single)
{
    *single = true;
    if (peek(reader) != '\\') {
        *character = utf8_next(reader->text, reader->length, &reader->at);
        return IMP_OK;
    }
    reader->at++;
    if (at_end(reader)) return malformed(reader, "an unfinished escape");
    if (!names_class(peek(reader))) return read_character_escape(reader, true, character);
    *single = false;
    const char letter = reader->text[reader->at++];
    return add_class_escape(reader, letter, set);
}

static ImpStatus read_class(ExpressionReader *reader, CharSet *out)
{
    const bool negated = accept(reader, "^");
    CharSet set = {0};
    for (bool first = true; first || peek(reader) != ']'; first = false) {
        uint32_t low = 0;
        bool single = true;
        if (at_end(reader)) return malformed(reader, "a bracket that is not closed");
        IMP_TRY(read_class_member(reader, &set, &low, &single));
        if (!single) continue;
        uint32_t high = low;
        const bool range = peek(reader) == '-' && reader->at + 1 < reader->length && reader->text[reader->at + 1] != ']';
        if (range) {
            reader->at++;
            IMP_TRY(read_class_member(reader, &set, &high, &single));
            if (!single) { /* [a-\d] : the hyphen stands for itself */
                IMP_TRY(charset_add(reader->arena, &set, '-', '-'));
                high = low;
            }
            if (high < low) return malformed(reader, "a range that runs backwards");
        }
        IMP_TRY(charset_add(reader->arena, &set, low, high));
    }
    reader->at++;
    charset_finish(&set);
    if (reader->ignore_case) IMP_TRY(charset_fold_case(reader->arena, &set));
    if (negated) return charset_complement(reader->arena, &set, out);
    *out = set;
    return IMP_OK;
}

static ImpStatus read_choice(ExpressionReader *reader, ExpressionNode **out);

/* Flags of (?i) and (?i:…); *scoped tells which. */
static ImpStatus read_flags(ExpressionReader *reader, bool *scoped)
{
    bool on = true;
    for (; !at_end(reader); reader->at++) {
        const char c = peek(reader);
        if (c == '-') on = false;
        else if (c == 'i') reader->ignore_case = on;
        else if (c == 's') reader->dot_all = on;
        else if (c != 'u') break;
    }
    *scoped = peek(reader) == ':';
    if (!*scoped && peek(reader) != ')') return unsupported(reader, "an unknown group or flag");
    reader->at++;
    return IMP_OK;
}

static ImpStatus skip_group_name(ExpressionReader *reader, char closing)
{
    const char *close = memchr(reader->text + reader->at, closing, reader->length - reader->at);
    if (close == NULL) return malformed(reader, "a group name that does not end");
    reader->at = (size_t)(close + 1 - reader->text);
    return IMP_OK;
}

static ImpStatus read_group(ExpressionReader *reader, ExpressionNode **out)
{
    const bool ignore_case = reader->ignore_case;
    const bool dot_all = reader->dot_all;
    ExpressionKind kind = EXPRESSION_SEQUENCE;
    if (accept(reader, "?=")) kind = EXPRESSION_AHEAD;
    else if (accept(reader, "?!")) kind = EXPRESSION_NOT_AHEAD;
    else if (accept(reader, "?<=")) kind = EXPRESSION_BEHIND;
    else if (accept(reader, "?<!")) kind = EXPRESSION_NOT_BEHIND;
    else if (accept(reader, "?P<") || accept(reader, "?<")) IMP_TRY(skip_group_name(reader, '>'));
    else if (accept(reader, "?P=")) return unsupported(reader, "back-references are not regular");
    else if (accept(reader, "?>")) return unsupported(reader, "atomic groups are not supported");
    else if (accept(reader, "?") && !accept(reader, ":")) {
        bool scoped = false;
        IMP_TRY(read_flags(reader, &scoped));
        if (!scoped) return new_node(reader, EXPRESSION_SEQUENCE, out);
    }
    ExpressionNode *inner = NULL;
    IMP_TRY(read_choice(reader, &inner));
    if (!accept(reader, ")")) return malformed(reader, "a group that is not closed");
    reader->ignore_case = ignore_case;
    reader->dot_all = dot_all;
    if (kind == EXPRESSION_SEQUENCE) {
        *out = inner;
        return IMP_OK;
    }
    IMP_TRY(new_node(reader, kind, out));
    return add_part(reader, *out, inner);
}

static ImpStatus read_escape(ExpressionReader *reader, ExpressionNode **out)
{
    if (at_end(reader)) return malformed(reader, "an unfinished escape");
    if (accept(reader, "A")) return new_node(reader, EXPRESSION_START, out);
    if (accept(reader, "Z") || accept(reader, "z")) return new_node(reader, EXPRESSION_END, out);
    if (accept(reader, "b")) return new_node(reader, EXPRESSION_BORDER, out);
    if (accept(reader, "B")) return new_node(reader, EXPRESSION_NOT_BORDER, out);
    IMP_TRY(new_node(reader, EXPRESSION_SET, out));
    if (names_class(peek(reader))) {
        const char letter = reader->text[reader->at++];
        IMP_TRY(add_class_escape(reader, letter, &(*out)->set));
    } else {
        uint32_t c = 0;
        IMP_TRY(read_character_escape(reader, false, &c));
        IMP_TRY(charset_add(reader->arena, &(*out)->set, c, c));
    }
    charset_finish(&(*out)->set);
    return reader->ignore_case ? charset_fold_case(reader->arena, &(*out)->set) : IMP_OK;
}

static ImpStatus read_atom(ExpressionReader *reader, ExpressionNode **out)
{
    if (accept(reader, "(")) return read_group(reader, out);
    if (accept(reader, "^")) return new_node(reader, EXPRESSION_START, out);
    if (accept(reader, "$")) return new_node(reader, EXPRESSION_DOLLAR, out);
    if (accept(reader, "\\")) return read_escape(reader, out);
    const char c = peek(reader);
    if (c != '\0' && strchr("*+?", c) != NULL) return malformed(reader, "nothing to repeat");
    IMP_TRY(new_node(reader, EXPRESSION_SET, out));
    if (accept(reader, "[")) return read_class(reader, &(*out)->set);
    CharSet *set = &(*out)->set;
    if (accept(reader, ".")) {
        if (reader->dot_all) return charset_add(reader->arena, set, 0, CODE_POINT_MAX);
        IMP_TRY(charset_add(reader->arena, set, 0, '\n' - 1));
        return charset_add(reader->arena, set, '\n' + 1, CODE_POINT_MAX);
    }
    const uint32_t character = utf8_next(reader->text, reader->length, &reader->at);
    IMP_TRY(charset_add(reader->arena, set, character, character));
    return reader->ignore_case ? charset_fold_case(reader->arena, set) : IMP_OK;
}

static bool read_bound(ExpressionReader *reader, uint32_t *out)
{
    const size_t start = reader->at;
    uint32_t value = 0;
    for (; peek(reader) >= '0' && peek(reader) <= '9'; reader->at++) {
        value = value * 10 + (uint32_t)(peek(reader) - '0');
        if (value > MAX_BOUND) value = MAX_BOUND + 1;
    }
    *out = value;
    return reader->at > start;
}

/* Reads {n}, {n,}, {,m}, {n,m}; a brace that is none of these stands for itself. */
static bool read_braces(ExpressionReader *reader, uint32_t *min, uint32_t *max)
{
    const size_t before = reader->at;
    if (!accept(reader, "{")) return false;
    const bool has_min = read_bound(reader, min);
    bool has_max = false;
    if (accept(reader, ",")) {
        has_max = read_bound(reader, max);
        if (!has_max) *max = EXPRESSION_FOREVER;
        if (!has_min) *min = 0;
    } else {
        *max = *min;
    }
    if ((has_min || has_max) && accept(reader, "}")) return true;
    reader->at = before;
    return false;
}

static bool read_quantifier(ExpressionReader *reader, uint32_t *min, uint32_t *max)
{
    *min = 0;
    *max = EXPRESSION_FOREVER;
    if (accept(reader, "*")) return true;
    if (accept(reader, "+")) {
        *min = 1;
        return true;
    }
    if (accept(reader, "?")) {
        *max = 1;
        return true;
    }
    return read_braces(reader, min, max);
}

static ImpStatus read_repeated(ExpressionReader *reader, ExpressionNode **out)
{
    ExpressionNode *atom = NULL;
    IMP_TRY(read_atom(reader, &atom));
    uint32_t min = 0;
    uint32_t max = 0;
    while (read_quantifier(reader, &min, &max)) {
        if (max < min) return malformed(reader, "a repetition whose bounds run backwards");
        if (min > MAX_BOUND || (max != EXPRESSION_FOREVER && max > MAX_BOUND))
            return bad_expression(reader, IMP_ERR_LIMIT, "a repetition of more than 100000");
        if (accept(reader, "+")) return unsupported(reader, "possessive repetitions are not supported");
        (void)accept(reader, "?"); /* lazy: the same texts */
        /* What reads nothing holds again when it holds once. */
        const bool looks = atom->kind != EXPRESSION_SET && atom->kind != EXPRESSION_SEQUENCE &&
                           atom->kind != EXPRESSION_CHOICE && atom->kind != EXPRESSION_REPEAT;
        if (looks && max != 0) max = 1;
        if (looks && min > 1) min = 1;
        ExpressionNode *repeat = NULL;
        IMP_TRY(new_node(reader, EXPRESSION_REPEAT, &repeat));
        repeat->min = min;
        repeat->max = max;
        IMP_TRY(add_part(reader, repeat, atom));
        atom = repeat;
    }
    *out = atom;
    return IMP_OK;
}

static ImpStatus read_sequence(ExpressionReader *reader, ExpressionNode **out)
{
    IMP_TRY(new_node(reader, EXPRESSION_SEQUENCE, out));
    while (!at_end(reader) && peek(reader) != '|' && peek(reader) != ')') {
        ExpressionNode *part = NULL;
        if (accept(reader, "(?#")) {
            IMP_TRY(skip_group_name(reader, ')'));
            continue;
        }
        IMP_TRY(read_repeated(reader, &part));
        IMP_TRY(add_part(reader, *out, part));
    }
    return IMP_OK;
}

static ImpStatus read_choice(ExpressionReader *reader, ExpressionNode **out)
{
    if (reader->depth == MAX_DEPTH) return bad_expression(reader, IMP_ERR_LIMIT, "more than 100 nested groups");
    reader->depth++;
    ExpressionNode *first = NULL;
    IMP_TRY(read_sequence(reader, &first));
    *out = first;
    if (peek(reader) == '|') {
        IMP_TRY(new_node(reader, EXPRESSION_CHOICE, out));
        IMP_TRY(add_part(reader, *out, first));
    }
    while (accept(reader, "|")) {
        ExpressionNode *branch = NULL;
        IMP_TRY(read_sequence(reader, &branch));
        IMP_TRY(add_part(reader, *out, branch));
    }
    reader->depth--;
    return IMP_OK;
}

ImpStatus expression_parse(Arena *arena, const char *pattern, size_t length, ExpressionNode **out)
{
    ExpressionReader reader = {.arena = arena, .text = pattern, .length = length};
    if (!utf8_is_valid(pattern, length)) return malformed(&reader, "not UTF-8");
    IMP_TRY(read_choice(&reader, out));
    if (reader.at < length) return malformed(&reader, "a ')' that closes nothing");
    return IMP_OK;
}
