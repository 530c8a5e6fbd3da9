/* pattern.c - one way to walk over matches, whoever finds them. */
#include "text/tokenizer/pattern.h"

#include "text/tokenizer/regex.h"
#include "text/tokenizer/utf8.h"

#include <string.h>

ImpStatus pattern_regex(PatternCompiler *compiler, const char *source, size_t length, Pattern *out)
{
    *out = (Pattern){.kind = PATTERN_WORDS, .unicode = compiler->unicode, .rules = word_rules_find(source, length)};
    if (out->rules != NULL) return IMP_OK;
    out->kind = PATTERN_REGEX;
    return regex_compile(compiler, source, length, &out->regex);
}

ImpStatus pattern_literal(Arena *arena, const char *text, size_t length, Pattern *out)
{
    *out = (Pattern){.kind = PATTERN_LITERAL, .literal = arena_string(arena, text, length), .literal_length = length};
    return out->literal == NULL ? imp_fail_memory(length) : IMP_OK;
}

Pattern pattern_class(const UnicodeTable *unicode, uint32_t categories, unsigned properties)
{
    return (Pattern){.kind = PATTERN_CLASS, .unicode = unicode, .categories = categories, .properties = properties};
}

Pattern pattern_words_and_symbols(const UnicodeTable *unicode)
{
    return (Pattern){.kind = PATTERN_RUNS, .unicode = unicode};
}

void pattern_free(Pattern *pattern)
{
    regex_free(pattern->regex);
    pattern->regex = NULL;
}

static bool next_literal(const Pattern *pattern, const char *text, size_t length, size_t from, size_t *start,
                         size_t *end)
{
    if (pattern->literal_length == 0 || pattern->literal_length > length - from) return false;
    const char *hit = memmem(text + from, length - from, pattern->literal, pattern->literal_length);
    if (hit == NULL) return false;
    *start = (size_t)(hit - text);
    *end = *start + pattern->literal_length;
    return true;
}

static bool next_in_class(const Pattern *pattern, const char *text, size_t length, size_t from, size_t *start,
                          size_t *end)
{
    for (size_t at = from, width; at < length; at += width) {
        const unsigned flags = unicode_flags(pattern->unicode, utf8_decode(text + at, &width));
        if ((flags & pattern->properties) != 0 || unicode_in(flags, pattern->categories)) {
            *start = at;
            *end = at + width;
            return true;
        }
    }
    return false;
}

static bool next_run(const Pattern *pattern, const char *text, size_t length, size_t from, size_t *start, size_t *end)
{
    enum { WHAT = UC_RUST_WORD | UC_SPACE };
    unsigned kind = UC_SPACE;
    for (size_t at = from, width; at < length; at += width) {
        const unsigned here = unicode_flags(pattern->unicode, utf8_decode(text + at, &width)) & WHAT;
        if (kind == UC_SPACE && here != UC_SPACE) {
            kind = here;
            *start = at;
        } else if (kind != UC_SPACE && here != kind) {
            *end = at;
            return true;
        }
    }
    *end = length;
    return kind != UC_SPACE;
}

ImpStatus pattern_next(const Pattern *pattern, RegexScratch **scratch, const char *text, size_t length,
                       PatternWalk *walk, bool *found, size_t *start, size_t *end)
{
    for (;;) {
        *found = false;
        if (walk->from > length) return IMP_OK;
        switch (pattern->kind) {
        case PATTERN_WORDS:
            *found = word_rules_next(pattern->rules, pattern->unicode, text, length, walk->from, start, end);
            break;
        case PATTERN_LITERAL:
            *found = next_literal(pattern, text, length, walk->from, start, end);
            break;
        case PATTERN_CLASS:
            *found = next_in_class(pattern, text, length, walk->from, start, end);
            break;
        case PATTERN_RUNS:
            *found = next_run(pattern, text, length, walk->from, start, end);
            break;
        case PATTERN_REGEX:
            IMP_TRY(regex_search(pattern->regex, scratch, text, length, walk->from, found, start, end));
            break;
        }
        if (!*found) return IMP_OK;
        if (*start < *end || !walk->matched || walk->last_end != *end) break;
        /* An empty match where the last one ended: look again one character on. */
        walk->from += walk->from < length ? utf8_width(text[walk->from]) : 1;
    }
    walk->from = *end;
    walk->last_end = *end;
    walk->matched = true;
    return IMP_OK;
}
