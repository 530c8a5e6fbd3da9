/*
 * string_methods.c - the methods of str.
 *
 * Positions are code points to the template and bytes here; for ASCII, nearly always, they are the same.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/number.h"
#include "text/template/unicode.h"

#include <stdio.h>

#define METHOD(name)                                                                                                   \
    static bool name(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, JinjaValue *out)

static bool finish_markup(bool ok, const JinjaValue *self, JinjaValue *out)
{
    if (ok && out->kind == JINJA_STRING) out->string->markup = self->string->markup;
    return ok;
}

static bool need_string(JinjaState *state, const JinjaValue *value, const char *message)
{
    if (value->kind == JINJA_STRING) return true;
    return jinja_raise(state, "%s, not %s", message, jinja_type_name(value));
}

/* ---- case ---- */

METHOD(method_lower)
{
    (void)arguments;
    return jinja_lower(state, self->string, out);
}

METHOD(method_upper)
{
    (void)arguments;
    return jinja_upper(state, self->string, out);
}

METHOD(method_casefold)
{
    (void)arguments;
    return jinja_fold(state, self->string, out);
}

METHOD(method_capitalize)
{
    (void)arguments;
    return jinja_capitalize(state, self->string, out);
}

METHOD(method_title)
{
    (void)arguments;
    return jinja_title(state, self->string, out);
}

METHOD(method_swapcase)
{
    (void)arguments;
    return jinja_swap_case(state, self->string, out);
}

/* ---- stripping ---- */

static bool strip(JinjaState *state, const JinjaValue *self, const JinjaValue *characters, int sides, const char *name,
                  JinjaValue *out)
{
    if (characters->kind != JINJA_STRING && characters->kind != JINJA_NONE && characters->kind != JINJA_MISSING) {
        return jinja_raise(state, "%s arg must be None or str", name);
    }
    return jinja_strip(state, self->string, characters, sides, out);
}

METHOD(method_strip) { return strip(state, self, &arguments[0], 3, "strip", out); }
METHOD(method_lstrip) { return strip(state, self, &arguments[0], 1, "lstrip", out); }
METHOD(method_rstrip) { return strip(state, self, &arguments[0], 2, "rstrip", out); }

static bool has_prefix(const JinjaString *string, const JinjaString *prefix)
{
    return prefix->length <= string->length && memcmp(string->data, prefix->data, prefix->length) == 0;
}

static bool has_suffix(const JinjaString *string, const JinjaString *suffix)
{
    return suffix->length <= string->length &&
           memcmp(string->data + string->length - suffix->length, suffix->data, suffix->length) == 0;
}

METHOD(method_removeprefix)
{
    if (!need_string(state, &arguments[0], "removeprefix() argument must be str")) return false;
    const JinjaString *string = self->string, *prefix = arguments[0].string;
    const size_t skip = has_prefix(string, prefix) ? prefix->length : 0;
    return finish_markup(jinja_view(state, string->data + skip, string->length - skip, out), self, out);
}

METHOD(method_removesuffix)
{
    if (!need_string(state, &arguments[0], "removesuffix() argument must be str")) return false;
    const JinjaString *string = self->string, *suffix = arguments[0].string;
    const size_t drop = has_suffix(string, suffix) ? suffix->length : 0;
    return finish_markup(jinja_view(state, string->data, string->length - drop, out), self, out);
}

/* ---- finding ---- */

/* The part of the string that optional start and end arguments select. *valid is false when start is past the end. */
static bool select_part(JinjaState *state, const JinjaValue *self, const JinjaValue *start, const JinjaValue *end,
                        JinjaString *part, size_t *first_char, bool *valid)
{
    *part = *self->string;
    *first_char = 0;
    *valid = true;
    const bool has_start = start->kind != JINJA_MISSING && start->kind != JINJA_NONE;
    const bool has_end = end->kind != JINJA_MISSING && end->kind != JINJA_NONE;
    if (!has_start && !has_end) return true;
    const int64_t n = (int64_t)jinja_n_chars(self->string);
    int64_t bounds[2] = {0, n};
    for (int i = 0; i < 2; i++) {
        const JinjaValue *value = i == 0 ? start : end;
        if (i == 0 ? !has_start : !has_end) continue;
        if (!jinja_is_integer(value)) {
            return jinja_raise(state, "slice indices must be integers or None or have an __index__ method");
        }
        bounds[i] = jinja_clamped(value);
        if (bounds[i] < 0) bounds[i] = bounds[i] < -n ? 0 : bounds[i] + n;
    }
    if (bounds[1] > n) bounds[1] = n;
    *valid = bounds[0] <= n && bounds[0] <= bounds[1];
    if (!*valid) return true;
    JinjaValue piece;
    if (!jinja_substring(state, self->string, (size_t)bounds[0], (size_t)bounds[1], &piece)) return false;
    *part = *piece.string;
    *first_char = (size_t)bounds[0];
    return true;
}

static const char *find_last(const char *hay, size_t length, const JinjaString *needle)
{
    if (needle->length > length) return NULL;
    for (const char *at = hay + length - needle->length;; at--) {
        if (memcmp(at, needle->data, needle->length) == 0) return at;
        if (at == hay) return NULL;
    }
}

/* The character where the needle is, or -1. */
static bool find(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, bool last, int64_t *out)
{
    JinjaString part;
    size_t first_char;
    bool valid;
    if (!select_part(state, self, &arguments[1], &arguments[2], &part, &first_char, &valid)) return false;
    if (!need_string(state, &arguments[0], "must be str")) return false;
    *out = -1;
    const JinjaString *needle = arguments[0].string;
    if (!valid || !jinja_charge_bytes(state, part.length * (last ? 16 : 1))) return valid ? false : true;
    const char *found = last                  ? find_last(part.data, part.length, needle)
                        : needle->length == 0 ? part.data
                                              : memmem(part.data, part.length, needle->data, needle->length);
    if (found != NULL) *out = (int64_t)(first_char + unicode_count(part.data, (size_t)(found - part.data)));
    return true;
}

static bool find_method(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, bool last, bool must,
                        JinjaValue *out)
{
    int64_t at;
    if (!find(state, self, arguments, last, &at)) return false;
    if (must && at < 0) return jinja_raise(state, "substring not found");
    *out = jinja_int(at);
    return true;
}

METHOD(method_find) { return find_method(state, self, arguments, false, false, out); }
METHOD(method_rfind) { return find_method(state, self, arguments, true, false, out); }
METHOD(method_index) { return find_method(state, self, arguments, false, true, out); }
METHOD(method_rindex) { return find_method(state, self, arguments, true, true, out); }

METHOD(method_count)
{
    JinjaString part;
    size_t first_char;
    bool valid;
    if (!select_part(state, self, &arguments[1], &arguments[2], &part, &first_char, &valid)) return false;
    if (!need_string(state, &arguments[0], "must be str")) return false;
    if (!jinja_charge_bytes(state, part.length)) return false;
    const JinjaString *needle = arguments[0].string;
    int64_t count = 0;
    if (valid && needle->length == 0) {
        count = (int64_t)jinja_n_chars(&part) + 1;
    } else if (valid) {
        const char *at = part.data, *end = at + part.length;
        while ((at = memmem(at, (size_t)(end - at), needle->data, needle->length)) != NULL) {
            count++;
            at += needle->length;
        }
    }
    *out = jinja_int(count);
    return true;
}

/* startswith and endswith: a string or a tuple of them. */
static bool affix(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, bool suffix, JinjaValue *out)
{
    JinjaString part;
    size_t first_char;
    bool valid, holds = false;
    const JinjaValue *wanted = &arguments[0];
    const char *name = suffix ? "endswith" : "startswith";
    const size_t n = wanted->kind == JINJA_TUPLE ? wanted->list->n : 1;
    const JinjaValue *items = wanted->kind == JINJA_TUPLE ? wanted->list->items : wanted;
    if (!select_part(state, self, &arguments[1], &arguments[2], &part, &first_char, &valid)) return false;
    for (size_t i = 0; i < n && !holds; i++) {
        if (items[i].kind != JINJA_STRING && wanted->kind == JINJA_TUPLE) {
            return jinja_raise(state, "tuple for %s must only contain str, not %s", name, jinja_type_name(&items[i]));
        }
        if (items[i].kind != JINJA_STRING) {
            return jinja_raise(state, "%s first arg must be str or a tuple of str, not %s", name,
                               jinja_type_name(wanted));
        }
        holds = valid && (suffix ? has_suffix(&part, items[i].string) : has_prefix(&part, items[i].string));
    }
    *out = jinja_bool(holds);
    return true;
}

METHOD(method_startswith) { return affix(state, self, arguments, false, out); }
METHOD(method_endswith) { return affix(state, self, arguments, true, out); }

/* ---- splitting ---- */

static bool push_piece(JinjaState *state, const JinjaValue *self, JinjaItems *pieces, const char *start,
                       const char *end)
{
    JinjaValue piece;
    if (!jinja_view(state, start, (size_t)(end - start), &piece)) return false;
    piece.string->markup = self->string->markup;
    return jinja_push(state, pieces, piece);
}

static const char *skip_space(const char *at, const char *end, bool space)
{
    while (at < end) {
        size_t width;
        if (unicode_is_space(unicode_decode(at, end, &width)) != space) break;
        at += width;
    }
    return at;
}

static const char *skip_space_back(const char *start, const char *end, bool space)
{
    while (end > start) {
        size_t width;
        if (unicode_is_space(unicode_decode_last(start, end, &width)) != space) break;
        end -= width;
    }
    return end;
}

/* When the limit is reached the rest is one piece, white space at its far end included. */
static bool split_space(JinjaState *state, const JinjaValue *self, int64_t limit, JinjaItems *pieces)
{
    const char *end = self->string->data + self->string->length, *at = skip_space(self->string->data, end, true);
    for (; at < end; at = skip_space(at, end, true)) {
        const char *start = at;
        at = limit == 0 ? end : skip_space(at, end, false);
        if (limit > 0) limit--;
        if (!push_piece(state, self, pieces, start, at)) return false;
    }
    return true;
}

static bool split_space_back(JinjaState *state, const JinjaValue *self, int64_t limit, JinjaItems *pieces)
{
    const char *start = self->string->data, *at = skip_space_back(start, start + self->string->length, true);
    for (; at > start; at = skip_space_back(start, at, true)) {
        const char *end = at;
        at = limit == 0 ? start : skip_space_back(start, at, false);
        if (limit > 0) limit--;
        if (!push_piece(state, self, pieces, at, end)) return false;
    }
    return true;
}

static bool split_at(JinjaState *state, const JinjaValue *self, const JinjaString *separator, int64_t limit,
                     JinjaItems *pieces)
{
    const char *at = self->string->data, *end = at + self->string->length;
    while (limit != 0) {
        const char *found = memmem(at, (size_t)(end - at), separator->data, separator->length);
        if (found == NULL) break;
        if (!push_piece(state, self, pieces, at, found)) return false;
        at = found + separator->length;
        if (limit > 0) limit--;
    }
    return push_piece(state, self, pieces, at, end);
}

static bool split_at_back(JinjaState *state, const JinjaValue *self, const JinjaString *separator, int64_t limit,
                          JinjaItems *pieces)
{
    const char *start = self->string->data, *end = start + self->string->length;
    while (limit != 0) {
        const char *found = find_last(start, (size_t)(end - start), separator);
        if (found == NULL) break;
        if (!push_piece(state, self, pieces, found + separator->length, end)) return false;
        end = found;
        if (limit > 0) limit--;
    }
    return push_piece(state, self, pieces, start, end);
}

static bool split(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, bool back, JinjaValue *out)
{
    int64_t limit = -1;
    if (arguments[1].kind != JINJA_MISSING && !jinja_index(state, &arguments[1], &limit)) return false;
    if (limit < 0) limit = -1;
    if (!jinja_charge_bytes(state, self->string->length * (back ? 16 : 1))) return false;
    JinjaItems pieces = {0};
    bool ok;
    if (arguments[0].kind == JINJA_MISSING || arguments[0].kind == JINJA_NONE) {
        ok = back ? split_space_back(state, self, limit, &pieces) : split_space(state, self, limit, &pieces);
    } else {
        if (!need_string(state, &arguments[0], "must be str or None")) return false;
        const JinjaString *separator = arguments[0].string;
        if (separator->length == 0) return jinja_raise(state, "empty separator");
        ok = back ? split_at_back(state, self, separator, limit, &pieces)
                  : split_at(state, self, separator, limit, &pieces);
    }
    if (!ok || !jinja_list(state, pieces.n, out)) return false;
    for (size_t i = 0; i < pieces.n; i++) out->list->items[i] = pieces.items[back ? pieces.n - 1 - i : i];
    return true;
}

METHOD(method_split) { return split(state, self, arguments, false, out); }
METHOD(method_rsplit) { return split(state, self, arguments, true, out); }

METHOD(method_splitlines)
{
    JinjaItems lines;
    int64_t keep = 0;
    if (arguments[0].kind != JINJA_MISSING && !jinja_index(state, &arguments[0], &keep)) return false;
    if (!jinja_split_lines(state, self->string, keep != 0, &lines) || !jinja_list(state, lines.n, out)) return false;
    if (lines.n > 0) memcpy(out->list->items, lines.items, lines.n * sizeof *lines.items);
    return true;
}

static bool partition(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, bool back,
                      JinjaValue *out)
{
    if (!need_string(state, &arguments[0], "must be str")) return false;
    const JinjaString *separator = arguments[0].string, *string = self->string;
    if (separator->length == 0) return jinja_raise(state, "empty separator");
    if (!jinja_charge_bytes(state, string->length * (back ? 16 : 1)) || !jinja_tuple(state, 3, out)) return false;
    const char *start = string->data, *end = start + string->length;
    const char *found = back ? find_last(start, string->length, separator)
                             : memmem(start, string->length, separator->data, separator->length);
    const char *first_end = found != NULL ? found : back ? start : end;
    const char *last_start = found != NULL ? found + separator->length : back ? start : end;
    const size_t middle = found != NULL ? separator->length : 0;
    JinjaValue *items = out->list->items;
    return finish_markup(jinja_view(state, start, (size_t)(first_end - start), &items[0]), self, &items[0]) &&
           finish_markup(jinja_view(state, first_end, middle, &items[1]), self, &items[1]) &&
           finish_markup(jinja_view(state, last_start, (size_t)(end - last_start), &items[2]), self, &items[2]);
}

METHOD(method_partition) { return partition(state, self, arguments, false, out); }
METHOD(method_rpartition) { return partition(state, self, arguments, true, out); }

METHOD(method_join) { return jinja_join(state, self->string, &arguments[0], false, out); }

/* A value that Markup's methods escape before str's see it. */
static bool escape_for(JinjaState *state, const JinjaValue *self, const JinjaValue *value, JinjaValue *out)
{
    *out = *value;
    return !self->string->markup || value->kind == JINJA_MISSING || jinja_escape(state, value, out);
}

METHOD(method_replace)
{
    int64_t count = -1;
    JinjaValue texts[2] = {arguments[0]};
    if (!escape_for(state, self, &arguments[1], &texts[1])) return false;
    for (int i = 0; i < 2; i++) {
        if (texts[i].kind == JINJA_STRING) continue;
        return jinja_raise(state, "replace() argument %d must be str, not %s", i + 1, jinja_type_name(&texts[i]));
    }
    if (arguments[2].kind != JINJA_MISSING && !jinja_index(state, &arguments[2], &count)) return false;
    return jinja_replace(state, self->string, texts[0].string, texts[1].string, count, out);
}

/* ---- padding ---- */

static bool fill_character(JinjaState *state, const JinjaValue *value, JinjaString *out)
{
    *out = (JinjaString){.data = " ", .length = 1, .n_chars = 1};
    if (value->kind == JINJA_MISSING) return true;
    if (!need_string(state, value, "The fill character must be a unicode character")) return false;
    if (jinja_n_chars(value->string) != 1)
        return jinja_raise(state, "The fill character must be exactly one character long");
    *out = *value->string;
    return true;
}

static bool pad(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, char where, JinjaValue *out)
{
    int64_t width;
    JinjaValue filler;
    JinjaString fill;
    if (!escape_for(state, self, &arguments[1], &filler)) return false;
    if (!jinja_index(state, &arguments[0], &width) || !fill_character(state, &filler, &fill)) return false;
    const int64_t n = (int64_t)jinja_n_chars(self->string), total = width > n ? width - n : 0;
    /* CPython's rounding: an odd space goes left when the width is odd. */
    const int64_t left = where == 'r' ? total : where == 'l' ? 0 : total / 2 + (total & width & 1);
    StrBuf *text = jinja_charge_bytes(state, self->string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    jinja_pad(state, text, fill.data, fill.length, (size_t)left);
    jinja_append(state, text, self->string->data, self->string->length);
    jinja_pad(state, text, fill.data, fill.length, (size_t)(total - left));
    return finish_markup(jinja_capture_finish(state, text, out), self, out);
}

METHOD(method_center) { return pad(state, self, arguments, 'c', out); }
METHOD(method_ljust) { return pad(state, self, arguments, 'l', out); }
METHOD(method_rjust) { return pad(state, self, arguments, 'r', out); }

METHOD(method_zfill)
{
    int64_t width;
    if (!jinja_index(state, &arguments[0], &width)) return false;
    const JinjaString *string = self->string;
    const int64_t n = (int64_t)jinja_n_chars(self->string);
    const size_t sign = string->length > 0 && (string->data[0] == '-' || string->data[0] == '+');
    StrBuf *text = jinja_charge_bytes(state, string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    jinja_append(state, text, string->data, sign);
    jinja_pad(state, text, "0", 1, width > n ? (size_t)(width - n) : 0);
    jinja_append(state, text, string->data + sign, string->length - sign);
    return finish_markup(jinja_capture_finish(state, text, out), self, out);
}

METHOD(method_expandtabs)
{
    int64_t size = 8;
    if (arguments[0].kind != JINJA_MISSING && !jinja_index(state, &arguments[0], &size)) return false;
    StrBuf *text = jinja_charge_bytes(state, self->string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    const char *at = self->string->data, *end = at + self->string->length;
    int64_t column = 0;
    while (at < end && state->status == IMP_OK) {
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        if (c == '\t') {
            const int64_t spaces = size > 0 ? size - column % size : 0;
            jinja_pad(state, text, " ", 1, (size_t)spaces);
            column += spaces;
        } else {
            jinja_append(state, text, at, width);
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
        at += width;
    }
    return finish_markup(jinja_capture_finish(state, text, out), self, out);
}

/* ---- questions ---- */

typedef bool CharacterTest(uint32_t c);

static bool all_characters(JinjaState *state, const JinjaValue *self, CharacterTest *test, bool empty, JinjaValue *out)
{
    if (!jinja_charge_bytes(state, self->string->length)) return false;
    const char *at = self->string->data, *end = at + self->string->length;
    bool holds = at < end || empty;
    while (holds && at < end) {
        size_t width;
        holds = test(unicode_decode(at, end, &width));
        at += width;
    }
    *out = jinja_bool(holds);
    return true;
}

static bool is_alnum(uint32_t c) { return unicode_is_alnum(c); }
static bool is_space(uint32_t c) { return unicode_is_space(c); }
static bool is_ascii(uint32_t c) { return c < 0x80; }

#define QUESTION(method, test, empty)                                                                                  \
    METHOD(method)                                                                                                     \
    {                                                                                                                  \
        (void)arguments;                                                                                               \
        return all_characters(state, self, test, empty, out);                                                          \
    }
QUESTION(method_isalpha, unicode_is_alpha, false)
QUESTION(method_isalnum, is_alnum, false)
QUESTION(method_isdecimal, unicode_is_decimal, false)
QUESTION(method_isdigit, unicode_is_digit, false)
QUESTION(method_isnumeric, unicode_is_numeric, false)
QUESTION(method_isspace, is_space, false)
QUESTION(method_isascii, is_ascii, true)
QUESTION(method_isprintable, unicode_is_printable, true)

/* Some cased character, and none of the other case. */
static bool one_case(JinjaState *state, const JinjaValue *self, CharacterTest *wanted, CharacterTest *other,
                     JinjaValue *out)
{
    if (!jinja_charge_bytes(state, self->string->length)) return false;
    const char *at = self->string->data, *end = at + self->string->length;
    bool found = false, spoiled = false;
    while (!spoiled && at < end) {
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        spoiled = other(c) || unicode_is_title(c);
        found |= wanted(c);
        at += width;
    }
    *out = jinja_bool(found && !spoiled);
    return true;
}

METHOD(method_islower)
{
    (void)arguments;
    return one_case(state, self, unicode_is_lower, unicode_is_upper, out);
}

METHOD(method_isupper)
{
    (void)arguments;
    return one_case(state, self, unicode_is_upper, unicode_is_lower, out);
}

METHOD(method_istitle)
{
    (void)arguments;
    if (!jinja_charge_bytes(state, self->string->length)) return false;
    const char *at = self->string->data, *end = at + self->string->length;
    bool holds = true, cased = false, previous_cased = false;
    while (holds && at < end) {
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        if (unicode_is_upper(c) || unicode_is_title(c)) {
            holds = !previous_cased;
            previous_cased = cased = true;
        } else if (unicode_is_lower(c)) {
            holds = previous_cased;
            previous_cased = cased = true;
        } else {
            previous_cased = false;
        }
        at += width;
    }
    *out = jinja_bool(holds && cased);
    return true;
}

METHOD(method_isidentifier)
{
    (void)arguments;
    if (!jinja_charge_bytes(state, self->string->length)) return false;
    const char *at = self->string->data, *end = at + self->string->length;
    bool holds = at < end;
    for (bool first = true; holds && at < end; first = false) {
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        holds = first ? unicode_is_identifier_start(c) : unicode_is_identifier_part(c);
        at += width;
    }
    *out = jinja_bool(holds);
    return true;
}

/* ---- formatting ---- */

static bool method_format(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    return jinja_brace_format(state, self->string, arguments, out);
}

static bool method_format_map(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments,
                              JinjaValue *out)
{
    if (arguments->n_named > 0) return jinja_raise(state, "format_map() takes no keyword arguments");
    if (arguments->n_positional != 1) {
        return jinja_raise(state, "format_map() takes exactly one argument (%zu given)", arguments->n_positional);
    }
    const JinjaValue *map = &arguments->positional[0];
    if (map->kind != JINJA_DICT) return jinja_raise(state, "'%s' object is not subscriptable", jinja_type_name(map));
    JinjaNamed *named = jinja_alloc(state, map->dict->n, sizeof *named);
    if (named == NULL) return false;
    size_t n = 0;
    for (size_t i = 0; i < map->dict->n; i++) {
        const JinjaEntry *entry = &map->dict->entries[i];
        if (entry->key.kind == JINJA_STRING)
            named[n++] = (JinjaNamed){.name = entry->key.string, .value = entry->value};
    }
    const JinjaArguments spread = {.named = named, .n_named = n};
    return jinja_brace_format(state, self->string, &spread, out);
}

/* There is no type for bytes; a template can do nothing with them but print their repr. */
static bool method_unsupported(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments,
                               JinjaValue *out)
{
    (void)self, (void)arguments, (void)out;
    return jinja_raise_limit(state, "str.encode, str.translate and str.maketrans are not supported");
}

#define NO_ARGUMENTS(method_name)                                                                                      \
    {                                                                                                                  \
        .name = #method_name, .python_name = "str." #method_name, .style = JINJA_C_STYLE, .call = method_##method_name \
    }
#define ONE_OPTIONAL(method_name)                                                                                      \
    {                                                                                                                  \
        .name = #method_name, .python_name = "str." #method_name, .style = JINJA_C_STYLE, .n_parameters = 1,           \
        .call = method_##method_name                                                                                   \
    }
#define ONE_REQUIRED(method_name)                                                                                      \
    {                                                                                                                  \
        .name = #method_name, .python_name = "str." #method_name, .style = JINJA_C_STYLE, .n_required = 1,             \
        .n_parameters = 1, .call = method_##method_name                                                                \
    }
#define SEARCH(method_name)                                                                                            \
    {                                                                                                                  \
        .name = #method_name, .python_name = "str." #method_name, .style = JINJA_C_STYLE, .n_required = 1,             \
        .n_parameters = 3, .counted = true, .call = method_##method_name                                               \
    }
#define PAD(method_name)                                                                                               \
    {                                                                                                                  \
        .name = #method_name, .python_name = "str." #method_name, .style = JINJA_C_STYLE, .n_required = 1,             \
        .n_parameters = 2, .call = method_##method_name                                                                \
    }

static const JinjaBuiltin methods[] = {
    NO_ARGUMENTS(lower),
    NO_ARGUMENTS(upper),
    NO_ARGUMENTS(casefold),
    NO_ARGUMENTS(capitalize),
    NO_ARGUMENTS(title),
    NO_ARGUMENTS(swapcase),
    ONE_OPTIONAL(strip),
    ONE_OPTIONAL(lstrip),
    ONE_OPTIONAL(rstrip),
    ONE_REQUIRED(removeprefix),
    ONE_REQUIRED(removesuffix),
    SEARCH(find),
    SEARCH(rfind),
    SEARCH(index),
    SEARCH(rindex),
    SEARCH(count),
    SEARCH(startswith),
    SEARCH(endswith),
    {.name = "split",
     .style = JINJA_C_KEYWORDS,
     .n_parameters = 2,
     .parameters = {"sep", "maxsplit"},
     .call = method_split},
    {.name = "rsplit",
     .style = JINJA_C_KEYWORDS,
     .n_parameters = 2,
     .parameters = {"sep", "maxsplit"},
     .call = method_rsplit},
    {.name = "splitlines",
     .style = JINJA_C_KEYWORDS,
     .n_parameters = 1,
     .parameters = {"keepends"},
     .call = method_splitlines},
    ONE_REQUIRED(partition),
    ONE_REQUIRED(rpartition),
    ONE_REQUIRED(join),
    {.name = "replace",
     .python_name = "str.replace",
     .style = JINJA_C_STYLE,
     .n_required = 2,
     .n_parameters = 3,
     .call = method_replace},
    PAD(center),
    PAD(ljust),
    PAD(rjust),
    ONE_REQUIRED(zfill),
    {.name = "expandtabs",
     .style = JINJA_C_KEYWORDS,
     .n_parameters = 1,
     .parameters = {"tabsize"},
     .call = method_expandtabs},
    NO_ARGUMENTS(isalpha),
    NO_ARGUMENTS(isalnum),
    NO_ARGUMENTS(isdecimal),
    NO_ARGUMENTS(isdigit),
    NO_ARGUMENTS(isnumeric),
    NO_ARGUMENTS(isspace),
    NO_ARGUMENTS(isascii),
    NO_ARGUMENTS(isprintable),
    NO_ARGUMENTS(islower),
    NO_ARGUMENTS(isupper),
    NO_ARGUMENTS(istitle),
    NO_ARGUMENTS(isidentifier),
    {.name = "format", .n_parameters = JINJA_VARIADIC, .raw = method_format},
    {.name = "encode", .n_parameters = JINJA_VARIADIC, .raw = method_unsupported},
    {.name = "translate", .n_parameters = JINJA_VARIADIC, .raw = method_unsupported},
    {.name = "maketrans", .n_parameters = JINJA_VARIADIC, .raw = method_unsupported},
    {.name = "format_map", .n_parameters = JINJA_VARIADIC, .raw = method_format_map},
};

const JinjaBuiltin *jinja_find_string_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {methods, sizeof methods / sizeof *methods};
    return jinja_find_in(&table, name);
}
