/*
 * strftime.c - datetime.now().strftime(format): local time, English names, no zone (Python's now() carries none).
 */
#include "text/template/builtins.h"

#include <locale.h>
#include <time.h>

enum { MAX_FORMAT = 4096, MAX_DIRECTIVE = 16, MAX_TEXT = 512 };

/* The end of the directive whose % is at `at`: flags, a width and one letter. */
static size_t directive_end(const char *format, size_t length, size_t at)
{
    size_t end = at + 1;
    while (end < length && memchr("-_0^#EO123456789", format[end], 16) != NULL && end - at < MAX_DIRECTIVE - 1) end++;
    return end < length ? end + 1 : end;
}

static void append_directive(JinjaState *state, StrBuf *text, const char *directive, size_t length,
                             const struct tm *when, locale_t locale)
{
    char format[MAX_DIRECTIVE + 2], result[MAX_TEXT];
    const char letter = directive[length - 1];
    if (letter == 'z' || letter == 'Z') return;
    if (letter == 'f') {
        jinja_puts(state, text, "000000");
        return;
    }
    /* A character behind it tells an empty result from one that did not fit. */
    memcpy(format, directive, length);
    format[length] = '.';
    format[length + 1] = '\0';
    const size_t n = strftime_l(result, sizeof result, format, when, locale);
    if (n > 0) jinja_append(state, text, result, n - 1);
}

bool jinja_strftime(JinjaState *state, const JinjaString *format, int64_t seconds, JinjaValue *out)
{
    struct tm when;
    const time_t time = (time_t)seconds;
    if (format->length > MAX_FORMAT) return jinja_raise_limit(state, "a time format is too long");
    if (localtime_r(&time, &when) == NULL) return jinja_raise(state, "year is out of range");
    const locale_t locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    StrBuf *text = locale == (locale_t)0 ? NULL : jinja_capture(state);
    if (text == NULL) {
        if (locale != (locale_t)0) freelocale(locale);
        return jinja_raise_limit(state, "no memory for a time format");
    }
    for (size_t at = 0; at < format->length;) {
        const char *percent = memchr(format->data + at, '%', format->length - at);
        const size_t plain = percent == NULL ? format->length : (size_t)(percent - format->data);
        jinja_append(state, text, format->data + at, plain - at);
        at = plain;
        if (at == format->length) break;
        const size_t end = directive_end(format->data, format->length, at);
        append_directive(state, text, format->data + at, end - at, &when, locale);
        at = end;
    }
    freelocale(locale);
    return jinja_capture_finish(state, text, out);
}
