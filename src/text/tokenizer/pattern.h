/*
 * pattern.h - what a split, a replacement or a class of characters looks for in a text, and the walk over its matches.
 */
#ifndef IMP_TEXT_PATTERN_H
#define IMP_TEXT_PATTERN_H

#include "text/tokenizer/code_set.h"
#include "text/tokenizer/unicode.h"
#include "text/tokenizer/word_rules.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Regex Regex;
typedef struct RegexScratch RegexScratch;

typedef enum PatternKind {
    PATTERN_WORDS,   /* a famous regular expression, matched by hand */
    PATTERN_REGEX,   /* any other */
    PATTERN_LITERAL, /* a string */
    PATTERN_CLASS,   /* single characters of some categories or properties */
    PATTERN_RUNS,    /* runs of word characters and runs of what is neither those nor white space: \w+|[^\w\s]+ */
} PatternKind;

typedef struct Pattern {
    PatternKind kind;
    const UnicodeTable *unicode;
    const WordRules *rules;
    Regex *regex; /* owned: pattern_free */
    const char *literal;
    size_t literal_length;
    uint32_t categories;
    unsigned properties;
} Pattern;

/* What compiling needs and patterns may share; `categories` is zero-initialized and freed with category_cache_free. */
typedef struct PatternCompiler {
    const UnicodeTable *unicode;
    CategoryCache categories;
} PatternCompiler;

/* A regular expression in Oniguruma's Ruby syntax, which is the reference's. Fails with IMP_ERR_FORMAT or
 * IMP_ERR_UNSUPPORTED and a sentence that quotes it. */
ImpStatus pattern_regex(PatternCompiler *compiler, const char *source, size_t length, Pattern *out);
/* A string, copied; an empty one matches nothing. */
ImpStatus pattern_literal(Arena *arena, const char *text, size_t length, Pattern *out);
/* Each character that is in one of the categories or has one of the properties. */
Pattern pattern_class(const UnicodeTable *unicode, uint32_t categories, unsigned properties);
/* Whitespace's pattern, in the words of the regex crate. */
Pattern pattern_words_and_symbols(const UnicodeTable *unicode);
void pattern_free(Pattern *pattern);

/* A walk over the matches in one text, left to right; zero-initialize. */
typedef struct PatternWalk {
    size_t from;     /* where the next search starts */
    size_t last_end; /* where the last match ended; an empty match right there does not count */
    bool matched;
} PatternWalk;

/* The next match: `found` false when there is none. `*scratch` is made when the first regular expression needs it,
 * serves all patterns of one thread and is freed with regex_scratch_free. IMP_ERR_LIMIT when a pattern takes too many
 * steps. */
ImpStatus pattern_next(const Pattern *pattern, RegexScratch **scratch, const char *text, size_t length,
                       PatternWalk *walk, bool *found, size_t *start, size_t *end);

void regex_scratch_free(RegexScratch *scratch);

#endif
