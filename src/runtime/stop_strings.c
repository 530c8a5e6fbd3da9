/*
 * stop_strings.c - one growing end of the text is kept: as much as is still the beginning of some stop string.
 */
#include "runtime/stop_strings.h"

#include <string.h>

ImpStatus stop_matcher_init(StopMatcher *matcher, const char *const *strings, int32_t n_strings)
{
    *matcher = (StopMatcher){0};
    if (n_strings < 0 || n_strings > STOP_MAX_STRINGS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d stop strings are given, but 0 to %d are possible", (int)n_strings,
                        (int)STOP_MAX_STRINGS);
    for (int32_t i = 0; i < n_strings; i++) {
        if (!strings[i] || !strings[i][0])
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "stop string %d is empty", (int)i + 1);
        if (((unsigned char)strings[i][0] & 0xC0) == 0x80)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "stop string %d begins inside a UTF-8 character", (int)i + 1);
        matcher->strings[i] = strings[i];
        matcher->lengths[i] = strlen(strings[i]);
    }
    matcher->n_strings = n_strings;
    return IMP_OK;
}

void stop_matcher_free(StopMatcher *matcher) { strbuf_free(&matcher->held); }

/* The first stop string to end in the held text, at or behind `from`; where it starts in *start. */
static int32_t find_first_end(const StopMatcher *matcher, size_t from, size_t *start)
{
    const StrBuf *held = &matcher->held;
    for (size_t end = from; end <= held->length; end++) {
        int32_t found = -1;
        for (int32_t i = 0; i < matcher->n_strings; i++) {
            const size_t length = matcher->lengths[i];
            if (length > end || (found >= 0 && length <= matcher->lengths[found])) continue;
            if (memcmp(held->data + end - length, matcher->strings[i], length) == 0) found = i;
        }
        if (found >= 0) {
            *start = end - matcher->lengths[found];
            return found;
        }
    }
    return -1;
}

/* Where the longest end of the held text starts that is also the beginning of a stop string. */
static size_t find_pending(const StopMatcher *matcher)
{
    const StrBuf *held = &matcher->held;
    size_t first = held->length;
    for (int32_t i = 0; i < matcher->n_strings; i++) {
        size_t length = matcher->lengths[i] - 1;
        if (length > held->length) length = held->length;
        while (length > 0 && memcmp(held->data + held->length - length, matcher->strings[i], length) != 0) length--;
        if (held->length - length < first) first = held->length - length;
    }
    return first;
}

int32_t stop_matcher_push(StopMatcher *matcher, const char *text, size_t length, StrBuf *out)
{
    if (matcher->n_strings == 0) {
        strbuf_append(out, text, length);
        return -1;
    }
    StrBuf *held = &matcher->held;
    const size_t seen = held->length;
    strbuf_append(held, text, length);
    if (held->failed) {
        out->failed = true;
        return -1;
    }
    if (held->length == 0) return -1;
    size_t start;
    const int32_t found = find_first_end(matcher, seen + 1, &start);
    const size_t ready = found >= 0 ? start : find_pending(matcher);
    strbuf_append(out, held->data, ready);
    if (found >= 0) {
        strbuf_clear(held);
        return found;
    }
    memmove(held->data, held->data + ready, held->length - ready);
    held->length -= ready;
    held->data[held->length] = '\0';
    return -1;
}

void stop_matcher_finish(StopMatcher *matcher, StrBuf *out)
{
    if (matcher->held.length > 0) strbuf_append(out, matcher->held.data, matcher->held.length);
    strbuf_clear(&matcher->held);
}
