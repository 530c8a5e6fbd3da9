/*
 * word_rules.h - hand-written matchers for the famous pre-tokenizer patterns.
 *
 * Nearly every model splits text with one of a dozen regular expressions that differ in a few places only. Each is a
 * row of a table here; the matchers read every character once or twice, in time linear in the text, and a test holds
 * them to the general path (regex.c).
 */
#ifndef IMP_TEXT_WORD_RULES_H
#define IMP_TEXT_WORD_RULES_H

#include "text/tokenizer/unicode.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct WordRules WordRules;

/* The rules that do what this Oniguruma pattern does; NULL when there are none. */
const WordRules *word_rules_find(const char *pattern, size_t length);

/* The table, for tests: NULL past its end. */
const WordRules *word_rules_at(size_t index);
const char *word_rules_pattern(const WordRules *rules);

/* The first match at or after `from` (below `length`) in valid UTF-8; false when there is none. No match is empty. */
bool word_rules_next(const WordRules *rules, const UnicodeTable *unicode, const char *text, size_t length, size_t from,
                     size_t *start, size_t *end);

#endif
