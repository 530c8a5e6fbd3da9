/* regex_translate.h - Oniguruma's Ruby syntax in PCRE2's words. */
#ifndef IMP_TEXT_REGEX_TRANSLATE_H
#define IMP_TEXT_REGEX_TRANSLATE_H

#include "core/strbuf.h"
#include "text/tokenizer/code_set.h"

/* Appends the PCRE2 pattern (for PCRE2_UTF | PCRE2_MULTILINE, newline LF) that matches what `source` (valid UTF-8)
 * does. */
ImpStatus regex_translate(CategoryCache *cache, const char *source, size_t length, StrBuf *out);

#endif
