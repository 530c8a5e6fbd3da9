/*
 * gbnf.c - the reader of GBNF, the grammar notation of llama.cpp: rules `name ::= …` with "literals", [sets], . for any
 * character, (groups), | and the repetitions * + ? {m} {m,} {m,n}; # begins a comment. A rule ends with its line unless the line ends in
 * | or inside parentheses, or the next begins with |.
 */
#include "runtime/constraint/grammar.h"

#include <string.h>

enum { MAX_DEPTH = 100, MAX_REPEAT = 10000 };

typedef struct GbnfReader {
    Grammar *grammar;
    const char *text;
    size_t length, at, depth;
} GbnfReader;

static ImpStatus bad_grammar(const GbnfReader *reader, ImpStatus code, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < reader->at; i++) line += reader->text[i] == '\n';
    return imp_fail(code, "grammar, line %zu: %s", line, what);
}

static char peek(const GbnfReader *reader) { return reader->at < reader->length ? reader->text[reader->at] : '\0'; }

static bool accept(GbnfReader *reader, const char *word)
{
    const size_t length = strlen(word);
    if (reader->length - reader->at < length || memcmp(reader->text + reader->at, word, length) != 0) return false;
    reader->at += length;
    return true;
}

static void skip_space(GbnfReader *reader, bool lines)
{
    for (; reader->at < reader->length; reader->at++) {
        const char c = peek(reader);
        if (c == '#') {
            while (reader->at + 1 < reader->length && reader->text[reader->at + 1] != '\n') reader->at++;
        } else if (c == '\n' || c == '\r') {
            if (!lines) return;
        } else if (c != ' ' && c != '\t') {
            return;
        }
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Number of the rule with this name, new or known. */
static ImpStatus rule_named(GbnfReader *reader, const char *name, size_t length, uint32_t *out)
{
    Grammar *grammar = reader->grammar;
    for (size_t i = 0; i < grammar->n_rules; i++) {
        const char *known = grammar->rules[i].name;
        if (known == NULL || strlen(known) != length || memcmp(known, name, length) != 0) continue;
        *out = (uint32_t)i;
        return IMP_OK;
    }
    const char *copy = arena_string(grammar->arena, name, length);
    if (copy == NULL) return imp_fail_memory(length);
    return grammar_add_rule(grammar, copy, out);
}

static ImpStatus read_name(GbnfReader *reader, uint32_t *rule)
{
    const size_t start = reader->at;
    while (is_name(peek(reader))) reader->at++;
    if (reader->at == start) return bad_grammar(reader, IMP_ERR_FORMAT, "a rule's name is expected");
    return rule_named(reader, reader->text + start, reader->at - start, rule);
}

static bool read_hex(GbnfReader *reader, int digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++, reader->at++) {
        const char c = peek(reader);
        const char lower = (char)(c | 32);
        if (c >= '0' && c <= '9') *out = *out * 16 + (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f') *out = *out * 16 + (uint32_t)(lower - 'a') + 10;
        else return false;
    }
    return *out <= CODE_POINT_MAX;
}

static ImpStatus read_character(GbnfReader *reader, uint32_t *out)
{
    static const char names[] = "nrt\\\"[]-^/";
    static const char meanings[] = "\n\r\t\\\"[]-^/";
    if (!accept(reader, "\\")) {
        *out = utf8_next(reader->text, reader->length, &reader->at);
        return IMP_OK;
    }
    if (reader->at >= reader->length) return bad_grammar(reader, IMP_ERR_FORMAT, "an unfinished escape");
    const char c = peek(reader);
    reader->at++;
    const char *found = c == '\0' ? NULL : strchr(names, c);
    if (found != NULL) {
        *out = (unsigned char)meanings[found - names];
        return IMP_OK;
    }
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0 && read_hex(reader, digits, out)) return IMP_OK;
    return bad_grammar(reader, IMP_ERR_FORMAT, "an unknown escape");
}

static ImpStatus read_literal(GbnfReader *reader, GrammarSequence *out)
{
    while (!accept(reader, "\"")) {
        uint32_t c = 0;
        CharSet one = {0};
        if (reader->at >= reader->length) return bad_grammar(reader, IMP_ERR_FORMAT, "a literal that is not closed");
        IMP_TRY(read_character(reader, &c));
        IMP_TRY(charset_add(reader->grammar->arena, &one, c, c));
        IMP_TRY(grammar_append_set(reader->grammar, out, &one));
    }
    return IMP_OK;
}

static ImpStatus read_set(GbnfReader *reader, GrammarSequence *out)
{
    Arena *arena = reader->grammar->arena;
    const bool negated = accept(reader, "^");
    CharSet set = {0};
    while (!accept(reader, "]")) {
        uint32_t low = 0;
        if (reader->at >= reader->length) return bad_grammar(reader, IMP_ERR_FORMAT, "a bracket that is not closed");
        IMP_TRY(read_character(reader, &low));
        uint32_t high = low;
        if (peek(reader) == '-' && reader->at + 1 < reader->length && reader->text[reader->at + 1] != ']') {
            reader->at++;
            IMP_TRY(read_character(reader, &high));
        }
        if (high < low) return bad_grammar(reader, IMP_ERR_FORMAT, "a range that runs backwards");
        IMP_TRY(charset_add(arena, &set, low, high));
    }
    charset_finish(&set);
    CharSet rest = {0};
    if (negated) IMP_TRY(charset_complement(arena, &set, &rest));
    return grammar_append_set(reader->grammar, out, negated ? &rest : &set);
}

static ImpStatus read_choice(GbnfReader *reader, uint32_t rule, bool nested);

static ImpStatus read_group(GbnfReader *reader, GrammarSequence *out)
{
    uint32_t rule = 0;
    if (reader->depth == MAX_DEPTH) return bad_grammar(reader, IMP_ERR_LIMIT, "more than 100 nested groups");
    reader->depth++;
    IMP_TRY(grammar_add_rule(reader->grammar, NULL, &rule));
    IMP_TRY(read_choice(reader, rule, true));
    if (!accept(reader, ")")) return bad_grammar(reader, IMP_ERR_FORMAT, "a group that is not closed");
    reader->depth--;
    return grammar_append(reader->grammar, out, (GrammarElement){GRAMMAR_RULE, rule, 0});
}

/* A literal, set, group or rule: what a repetition repeats. */
static ImpStatus read_unit(GbnfReader *reader, GrammarSequence *out)
{
    uint32_t rule = 0;
    if (accept(reader, "\"")) return read_literal(reader, out);
    if (accept(reader, "[")) return read_set(reader, out);
    if (accept(reader, "(")) return read_group(reader, out);
    if (accept(reader, ".")) {
        const CharSet any = {.ranges = &(CharRange){0, CODE_POINT_MAX}, .count = 1};
        CharSet copy = {0};
        IMP_TRY(charset_add_set(reader->grammar->arena, &copy, &any));
        return grammar_append_set(reader->grammar, out, &copy);
    }
    if (peek(reader) == '<' || peek(reader) == '!')
        return bad_grammar(reader, IMP_ERR_UNSUPPORTED, "tokens by name or number are not supported");
    IMP_TRY(read_name(reader, &rule));
    return grammar_append(reader->grammar, out, (GrammarElement){GRAMMAR_RULE, rule, 0});
}

static ImpStatus read_bound(GbnfReader *reader, size_t *out)
{
    const size_t start = reader->at;
    *out = 0;
    for (; peek(reader) >= '0' && peek(reader) <= '9'; reader->at++) {
        *out = *out * 10 + (size_t)(peek(reader) - '0');
        if (*out > MAX_REPEAT) return bad_grammar(reader, IMP_ERR_LIMIT, "a repetition of more than 10000");
    }
    return reader->at > start ? IMP_OK : bad_grammar(reader, IMP_ERR_FORMAT, "a number is expected in the repetition");
}

/* *max SIZE_MAX: no end. *found false when no repetition follows. */
static ImpStatus read_repetition(GbnfReader *reader, size_t *min, size_t *max, bool *found)
{
    *found = true;
    *min = 0;
    *max = SIZE_MAX;
    if (accept(reader, "*")) return IMP_OK;
    if (accept(reader, "+")) {
        *min = 1;
        return IMP_OK;
    }
    if (accept(reader, "?")) {
        *max = 1;
        return IMP_OK;
    }
    *found = accept(reader, "{");
    if (!*found) return IMP_OK;
    skip_space(reader, false);
    if (peek(reader) != ',') IMP_TRY(read_bound(reader, min));
    *max = *min;
    skip_space(reader, false);
    if (accept(reader, ",")) {
        skip_space(reader, false);
        *max = SIZE_MAX;
        if (peek(reader) != '}') IMP_TRY(read_bound(reader, max));
        skip_space(reader, false);
    }
    if (!accept(reader, "}")) return bad_grammar(reader, IMP_ERR_FORMAT, "a repetition that is not closed");
    return *max < *min ? bad_grammar(reader, IMP_ERR_FORMAT, "a repetition whose bounds run backwards") : IMP_OK;
}

static ImpStatus read_sequence(GbnfReader *reader, uint32_t rule, bool nested)
{
    GrammarSequence sequence = {0};
    for (;;) {
        skip_space(reader, nested);
        const char c = peek(reader);
        if (c == '\0' || c == '|' || c == ')' || c == '\n' || c == '\r') break;
        GrammarSequence unit = {0};
        size_t min = 0;
        size_t max = 0;
        bool repeated = false;
        IMP_TRY(read_unit(reader, &unit));
        skip_space(reader, nested);
        IMP_TRY(read_repetition(reader, &min, &max, &repeated));
        if (repeated) {
            IMP_TRY(grammar_append_repeat(reader->grammar, &sequence, &unit, min, max));
            continue;
        }
        for (size_t i = 0; i < unit.count; i++) IMP_TRY(grammar_append(reader->grammar, &sequence, unit.elements[i]));
    }
    return grammar_add_sequence(reader->grammar, rule, &sequence);
}

static ImpStatus read_choice(GbnfReader *reader, uint32_t rule, bool nested)
{
    skip_space(reader, true);
    IMP_TRY(read_sequence(reader, rule, nested));
    for (;;) {
        const size_t before = reader->at;
        skip_space(reader, true);
        if (!accept(reader, "|")) {
            if (!nested) reader->at = before;
            return IMP_OK;
        }
        skip_space(reader, true);
        IMP_TRY(read_sequence(reader, rule, nested));
    }
}

static ImpStatus read_rule(GbnfReader *reader)
{
    uint32_t rule = 0;
    IMP_TRY(read_name(reader, &rule));
    skip_space(reader, false);
    if (!accept(reader, "::=")) return bad_grammar(reader, IMP_ERR_FORMAT, "::= is expected behind a rule's name");
    reader->grammar->rules[rule].n_sequences = 0;
    IMP_TRY(read_choice(reader, rule, false));
    skip_space(reader, false);
    if (reader->at < reader->length && peek(reader) != '\n' && peek(reader) != '\r')
        return bad_grammar(reader, IMP_ERR_FORMAT, "the end of the rule is expected");
    return IMP_OK;
}

ImpStatus gbnf_parse(Arena *arena, const char *text, size_t length, const Grammar **out)
{
    Grammar *grammar = arena_alloc(arena, 1, sizeof *grammar);
    if (grammar == NULL) return imp_fail_memory(sizeof *grammar);
    grammar->arena = arena;
    GbnfReader reader = {.grammar = grammar, .text = text, .length = length};
    uint32_t root = 0;
    if (!utf8_is_valid(text, length) || memchr(text, '\0', length) != NULL)
        return imp_fail(IMP_ERR_FORMAT, "grammar: not UTF-8 text");
    IMP_TRY(rule_named(&reader, "root", 4, &root));
    for (skip_space(&reader, true); reader.at < length; skip_space(&reader, true)) IMP_TRY(read_rule(&reader));
    for (size_t i = 0; i < grammar->n_rules; i++) {
        if (!grammar->rules[i].defined)
            return imp_fail(IMP_ERR_FORMAT, "grammar: rule \"%s\" is not defined", grammar->rules[i].name);
    }
    *out = grammar;
    return grammar_finish(grammar, root);
}
