/*
 * stop_strings.h - finds stop strings in text that arrives in pieces, and holds back what may yet become one.
 *
 * The result does not depend on how the text is cut: the string whose end comes first wins, the longest of those that
 * end together.
 */
#ifndef IMP_RUNTIME_STOP_STRINGS_H
#define IMP_RUNTIME_STOP_STRINGS_H

#include "core/status.h"
#include "core/strbuf.h"

#include <stdint.h>

enum { STOP_MAX_STRINGS = 16 };

typedef struct StopMatcher {
    const char *strings[STOP_MAX_STRINGS]; /* the caller's */
    size_t lengths[STOP_MAX_STRINGS];
    int32_t n_strings;
    StrBuf held;
} StopMatcher;

/* IMP_ERR_INVALID_ARGUMENT: too many strings, an empty one, or one that begins inside a UTF-8 character. */
ImpStatus stop_matcher_init(StopMatcher *matcher, const char *const *strings, int32_t n_strings);
void stop_matcher_free(StopMatcher *matcher);

/* Appends to `out` what is certain to come before any stop string. Returns the index of the string that was found
 * (nothing follows then: what was held is dropped), -1 when none was. */
int32_t stop_matcher_push(StopMatcher *matcher, const char *text, size_t length, StrBuf *out);
/* The text has ended: appends what was held back. */
void stop_matcher_finish(StopMatcher *matcher, StrBuf *out);

#endif
