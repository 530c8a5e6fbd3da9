/*
 * text.c - the string operations that methods, filters and operators share. ASCII goes byte by byte, the rest by code
 * points; every function charges the bytes it reads.
 */
#include "text/template/builtins.h"
#include "text/template/unicode.h"

bool jinja_substring(JinjaState *state, JinjaString *string, size_t start, size_t end, JinjaValue *out)
{
    const size_t n = jinja_n_chars(string);
    size_t first = start, last = end;
    if (n != string->length) {
        if (!jinja_charge_bytes(state, string->length)) return false;
        first = start * 2 > n ? 0 : unicode_offset(string->data, string->length, start);
        if (start * 2 > n) {
            /* Count from the end: the tail is often what is wanted. */
            first = string->length;
            for (size_t left = n - start; left > 0; left--) {
                do first--;
                while (first > 0 && ((unsigned char)string->data[first] & 0xC0) == 0x80);
            }
        }
        last = end == n ? string->length
                        : first + unicode_offset(string->data + first, string->length - first, end - start);
    }
    if (!jinja_view(state, string->data + first, last - first, out)) return false;
    out->string->n_chars = end - start;
    return true;
}

/* ---- case ---- */

typedef size_t CaseMapping(uint32_t c, uint32_t out[3]);

/* A sigma at the end of a word has its own lower case. */
static bool is_final_sigma(const JinjaString *string, size_t at)
{
    const char *start = string->data, *end = start + string->length, *before = start + at, *after = start + at + 2;
    bool cased = false;
    while (before > start) {
        size_t width;
        const uint32_t c = unicode_decode_last(start, before, &width);
        before -= width;
        if (unicode_is_case_ignorable(c)) continue;
        cased = unicode_is_cased(c);
        break;
    }
    if (!cased) return false;
    while (after < end) {
        size_t width;
        const uint32_t c = unicode_decode(after, end, &width);
        after += width;
        if (!unicode_is_case_ignorable(c)) return !unicode_is_cased(c);
    }
    return true;
}

static void append_mapped(JinjaState *state, StrBuf *text, const JinjaString *string, size_t at, uint32_t c,
                          CaseMapping *mapping)
{
    uint32_t mapped[3];
    if (c == 0x3A3 && mapping == unicode_to_lower) {
        /* Looking around costs: a run of ignorable characters is walked again for each sigma. */
        if (!jinja_charge_bytes(state, string->length)) return;
        jinja_append_char(state, text, is_final_sigma(string, at) ? 0x3C2 : 0x3C3);
        return;
    }
    const size_t n = mapping(c, mapped);
    for (size_t i = 0; i < n; i++) jinja_append_char(state, text, mapped[i]);
}

static void map_range(JinjaState *state, StrBuf *text, const JinjaString *string, size_t start, size_t end,
                      CaseMapping *mapping)
{
    for (size_t at = start; at < end && state->status == IMP_OK;) {
        size_t width;
        const uint32_t c = unicode_decode(string->data + at, string->data + string->length, &width);
        if (c < 0x80) {
            char plain[256];
            size_t n = 0;
            uint32_t mapped[3];
            while (n < sizeof plain && at < end && (unsigned char)string->data[at] < 0x80) {
                (void)mapping((uint32_t)string->data[at++], mapped);
                plain[n++] = (char)mapped[0];
            }
            jinja_append(state, text, plain, n);
            continue;
        }
        append_mapped(state, text, string, at, c, mapping);
        at += width;
    }
}

static bool map_string(JinjaState *state, const JinjaString *string, CaseMapping *mapping, JinjaValue *out)
{
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    map_range(state, text, string, 0, string->length, mapping);
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

bool jinja_lower(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    return map_string(state, string, unicode_to_lower, out);
}

bool jinja_upper(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    return map_string(state, string, unicode_to_upper, out);
}

bool jinja_fold(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    return map_string(state, string, unicode_to_folded, out);
}

bool jinja_capitalize(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    size_t width = 0;
    if (string->length > 0) {
        const uint32_t c = unicode_decode(string->data, string->data + string->length, &width);
        append_mapped(state, text, string, 0, c, unicode_to_title);
    }
    map_range(state, text, string, width, string->length, unicode_to_lower);
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

bool jinja_title(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    bool in_word = false;
    for (size_t at = 0; at < string->length && state->status == IMP_OK;) {
        size_t width;
        const uint32_t c = unicode_decode(string->data + at, string->data + string->length, &width);
        append_mapped(state, text, string, at, c, in_word ? unicode_to_lower : unicode_to_title);
        in_word = unicode_is_cased(c);
        at += width;
    }
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

bool jinja_swap_case(JinjaState *state, const JinjaString *string, JinjaValue *out)
{
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    for (size_t at = 0; at < string->length && state->status == IMP_OK;) {
        size_t width;
        uint32_t unchanged[3];
        const uint32_t c = unicode_decode(string->data + at, string->data + string->length, &width);
        if (unicode_is_upper(c)) {
            append_mapped(state, text, string, at, c, unicode_to_lower);
        } else if (unicode_is_lower(c)) {
            append_mapped(state, text, string, at, c, unicode_to_upper);
        } else {
            unchanged[0] = c;
            jinja_append_char(state, text, unchanged[0]);
        }
        at += width;
    }
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

/* ---- stripping ---- */

static bool in_set(const JinjaString *set, const char *at, size_t width)
{
    if (width == 1) return memchr(set->data, *at, set->length) != NULL;
    return memmem(set->data, set->length, at, width) != NULL;
}

static bool strips(const JinjaString *set, uint32_t c, const char *at, size_t width)
{
    return set == NULL ? unicode_is_space(c) : in_set(set, at, width);
}

bool jinja_strip(JinjaState *state, const JinjaString *string, const JinjaValue *characters, int sides, JinjaValue *out)
{
    const JinjaString *set = characters->kind == JINJA_STRING ? characters->string : NULL;
    const char *start = string->data, *end = start + string->length;
    while ((sides & 1) != 0 && start < end) {
        size_t width;
        if (set == NULL && (signed char)*start > ' ') break;
        const uint32_t c = unicode_decode(start, end, &width);
        if (!strips(set, c, start, width)) break;
        start += width;
    }
    while ((sides & 2) != 0 && start < end) {
        size_t width;
        if (set == NULL && (signed char)end[-1] > ' ') break;
        const uint32_t c = unicode_decode_last(start, end, &width);
        if (!strips(set, c, end - width, width)) break;
        end -= width;
    }
    const size_t length = (size_t)(end - start);
    if (!jinja_charge_bytes(state, (string->length - length) * (set == NULL ? 1 : 1 + set->length / 16))) return false;
    if (length == string->length) {
        *out = (JinjaValue){.kind = JINJA_STRING, .string = (JinjaString *)(uintptr_t)string}; /* as Python does */
        return true;
    }
    if (!jinja_view(state, start, length, out)) return false;
    out->string->markup = string->markup;
    return true;
}

/* ---- replacing, splitting, joining ---- */

static void replace_between_chars(JinjaState *state, StrBuf *text, const JinjaString *string, const JinjaString *with,
                                  int64_t count)
{
    const char *at = string->data, *end = at + string->length;
    while (state->status == IMP_OK) {
        if (count != 0) jinja_append(state, text, with->data, with->length);
        if (count > 0) count--;
        if (at == end) return;
        size_t width;
        (void)unicode_decode(at, end, &width);
        jinja_append(state, text, at, width);
        at += width;
    }
}

bool jinja_replace(JinjaState *state, const JinjaString *string, const JinjaString *old, const JinjaString *with,
                   int64_t count, JinjaValue *out)
{
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    const char *at = string->data, *end = at + string->length;
    if (old->length == 0) {
        replace_between_chars(state, text, string, with, count);
    } else {
        while (count != 0 && (size_t)(end - at) >= old->length && state->status == IMP_OK) {
            const char *found = memmem(at, (size_t)(end - at), old->data, old->length);
            if (found == NULL) break;
            jinja_append(state, text, at, (size_t)(found - at));
            jinja_append(state, text, with->data, with->length);
            at = found + old->length;
            if (count > 0) count--;
        }
        jinja_append(state, text, at, (size_t)(end - at));
    }
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

bool jinja_split_lines(JinjaState *state, const JinjaString *string, bool keep_ends, JinjaItems *out)
{
    *out = (JinjaItems){0};
    if (!jinja_charge_bytes(state, string->length)) return false;
    const char *at = string->data, *end = at + string->length;
    while (at < end) {
        const char *line = at, *line_end = NULL;
        while (at < end && line_end == NULL) {
            size_t width;
            const uint32_t c = unicode_decode(at, end, &width);
            if (unicode_is_line_break(c)) line_end = at;
            at += width;
            if (c == '\r' && at < end && *at == '\n') at++;
        }
        if (line_end == NULL || keep_ends) line_end = at;
        JinjaValue value;
        if (!jinja_view(state, line, (size_t)(line_end - line), &value)) return false;
        value.string->markup = string->markup;
        if (!jinja_push(state, out, value)) return false;
    }
    return true;
}

bool jinja_join(JinjaState *state, const JinjaString *separator, const JinjaValue *items, bool convert, JinjaValue *out)
{
    JinjaItems list;
    if (!jinja_is_iterable(items) && !convert) return jinja_raise(state, "can only join an iterable");
    if (!jinja_collect(state, items, &list)) return false;
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    for (size_t i = 0; i < list.n && state->status == IMP_OK; i++) {
        JinjaValue item = list.items[i];
        if (i > 0) jinja_append(state, text, separator->data, separator->length);
        if (!convert && !separator->markup && item.kind != JINJA_STRING) { /* markup makes text of everything */
            return jinja_raise(state, "sequence item %zu: expected str instance, %s found", i, jinja_type_name(&item));
        }
        if (separator->markup && !convert && !jinja_escape(state, &list.items[i], &item)) return false;
        jinja_str(state, text, &item);
    }
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = separator->markup && !convert;
    return true;
}

/* ---- HTML ---- */

void jinja_escape_into(JinjaState *state, StrBuf *text, const char *bytes, size_t length)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    const char *plain = bytes, *end = bytes + length;
    for (const char *at = bytes; at < end; at++) {
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
            if (*at != entities[i].c) continue;
            jinja_append(state, text, plain, (size_t)(at - plain));
            jinja_puts(state, text, entities[i].entity);
            plain = at + 1;
        }
    }
    jinja_append(state, text, plain, (size_t)(end - plain));
}

bool jinja_escape(JinjaState *state, const JinjaValue *value, JinjaValue *out)
{
    JinjaValue string;
    if (!jinja_to_string(state, value, &string)) return false;
    if (string.string->markup) {
        *out = string;
        return true;
    }
    StrBuf *text = jinja_charge_bytes(state, string.string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    jinja_escape_into(state, text, string.string->data, string.string->length);
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = true;
    return true;
}
