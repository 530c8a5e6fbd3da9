/*
 * regex.h - regular expressions as Oniguruma (Ruby syntax, UTF-8, Unicode 16) reads them, run by PCRE2.
 */
#ifndef IMP_TEXT_REGEX_H
#define IMP_TEXT_REGEX_H

#include "text/tokenizer/pattern.h"

/* Fails with IMP_ERR_FORMAT for a pattern that is none, IMP_ERR_UNSUPPORTED for what PCRE2 cannot say. */
ImpStatus regex_compile(PatternCompiler *compiler, const char *source, size_t length, Regex **out);
void regex_free(Regex *regex);

/* The first match at or after `from` (at most `length`). */
ImpStatus regex_search(const Regex *regex, RegexScratch **scratch, const char *text, size_t length, size_t from,
                       bool *found, size_t *start, size_t *end);

#endif
