/*
 * format_percent.c - "%s" % values, as Python formats them.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/format_spec.h"
#include "text/template/number.h"
#include "text/template/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

typedef struct PercentState {
    JinjaState *state;
    StrBuf *text;
    const JinjaString *format;
    size_t at;
    const JinjaValue *arguments; /* a tuple's items, or the one value */
    size_t n, used;
    const JinjaValue *mapping; /* NULL: none */
    bool markup;
} PercentState;

static bool next_argument(PercentState *percent, const JinjaValue **out)
{
    if (percent->used >= percent->n) return jinja_raise(percent->state, "not enough arguments for format string");
    *out = &percent->arguments[percent->used++];
    return true;
}

static char percent_peek(const PercentState *percent)
{
    return percent->at < percent->format->length ? percent->format->data[percent->at] : '\0';
}

/* (name) selects a value of the mapping. */
static bool read_key(PercentState *percent)
{
    JinjaState *state = percent->state;
    const JinjaString *format = percent->format;
    if (percent_peek(percent) != '(') return true;
    if (percent->mapping == NULL) return jinja_raise(state, "format requires a mapping");
    const size_t start = ++percent->at;
    int depth = 1;
    for (; percent->at < format->length; percent->at++) {
        if (format->data[percent->at] == '(') depth++;
        if (format->data[percent->at] == ')' && --depth == 0) break;
    }
    if (depth > 0) return jinja_raise(state, "incomplete format key");
    JinjaValue key, *value = jinja_alloc(state, 1, sizeof *value);
    if (value == NULL || !jinja_view(state, format->data + start, percent->at - start, &key)) return false;
    percent->at++;
    if (percent->mapping->kind == JINJA_DICT) {
        const JinjaValue *found = jinja_dict_find(state, percent->mapping->dict, &key);
        if (found == NULL) return jinja_raise(state, "%s", jinja_repr_text(state, &key));
        *value = *found;
    } else if (percent->mapping->kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(state, percent->mapping);
    } else {
        return jinja_raise(state, "%s indices must be integers or slices, not str", jinja_type_name(percent->mapping));
    }
    /* From here on it is the only value, for * too. */
    percent->arguments = value;
    percent->n = 1;
    percent->used = 0;
    return true;
}

/* A number in the format or, for *, among the values. */
static bool read_number(PercentState *percent, int64_t *out)
{
    if (percent_peek(percent) == '*') {
        const JinjaValue *value = NULL;
        percent->at++;
        if (!next_argument(percent, &value)) return false;
        if (!jinja_is_integer(value)) return jinja_raise(percent->state, "* wants int");
        *out = jinja_clamped(value);
        if (value->kind == JINJA_BIG)
            return jinja_raise(percent->state, "Python int too large to convert to C ssize_t");
        return true;
    }
    while (percent_peek(percent) >= '0' && percent_peek(percent) <= '9') {
        *out = (*out < 0 ? 0 : *out) * 10 + (percent_peek(percent) - '0');
        if (*out > FORMAT_MAX_WIDTH) return jinja_raise(percent->state, "width too big");
        percent->at++;
    }
    return true;
}

static bool read_percent_spec(PercentState *percent, FormatSpec *spec)
{
    *spec = (FormatSpec){.fill = {.data = " ", .length = 1, .n_chars = 1}, .align = '>', .precision = -1};
    if (!read_key(percent)) return false;
    for (;; percent->at++) {
        const char c = percent_peek(percent);
        if (c == '-') {
            spec->align = '<';
        } else if (c == '+') {
            spec->sign = '+';
        } else if (c == ' ') {
            if (spec->sign == 0) spec->sign = ' ';
        } else if (c == '#') {
            spec->alternate = true;
        } else if (c == '0') {
            spec->zero = true;
        } else {
            break;
        }
    }
    if (!read_number(percent, &spec->width)) return false;
    if (spec->width < 0) {
        spec->align = '<';
        spec->width = spec->width < -FORMAT_MAX_WIDTH ? FORMAT_MAX_WIDTH + 1 : -spec->width;
    }
    if (percent_peek(percent) == '.') {
        percent->at++;
        spec->precision = 0;
        if (!read_number(percent, &spec->precision)) return false;
        if (spec->precision < 0) spec->precision = 0;
    }
    const char c = percent_peek(percent);
    if (c == 'h' || c == 'l' || c == 'L') percent->at++;
    if (percent->at >= percent->format->length) return jinja_raise(percent->state, "incomplete format");
    spec->type = percent->format->data[percent->at++];
    return true;
}

static bool percent_integer(PercentState *percent, FormatSpec *spec, const JinjaValue *value)
{
    JinjaState *state = percent->state;
    const bool decimal = spec->type == 'd' || spec->type == 'i' || spec->type == 'u';
    JinjaValue integer = *value;
    if (jinja_is_integer(value)) {
        /* as it is */
    } else if (value->kind == JINJA_FLOAT && decimal) {
        if (isnan(value->number)) return jinja_raise(state, "cannot convert float NaN to integer");
        if (isinf(value->number)) return jinja_raise(state, "cannot convert float infinity to integer");
        if (!jinja_integer_of_double(state, value->number, &integer)) return false;
    } else if (value->kind == JINJA_UNDEFINED && decimal) {
        return jinja_fail_undefined(state, value);
    } else {
        return jinja_raise(state, "%%%c format: %s is required, not %s", spec->type,
                           decimal ? "a real number" : "an integer", jinja_type_name(value));
    }
    if (decimal) spec->type = 'd';
    if (spec->zero && spec->align == '>') spec->align = 0;
    /* A precision is the least number of digits. */
    return format_write_integer(state, percent->text, spec, &integer,
                                spec->precision > 0 ? (size_t)spec->precision : 0);
}

static bool percent_float(PercentState *percent, FormatSpec *spec, const JinjaValue *value)
{
    JinjaState *state = percent->state;
    if (value->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, value);
    if (!jinja_is_number(value)) return jinja_raise(state, "must be real number, not %s", jinja_type_name(value));
    double number;
    if (!jinja_to_double(state, value, &number)) return false;
    if (spec->zero && spec->align == '>') spec->align = 0;
    if (!isfinite(number)) spec->zero = false;
    return format_write_float(state, percent->text, spec, number);
}

static bool percent_text(PercentState *percent, const FormatSpec *spec, const JinjaValue *value)
{
    JinjaState *state = percent->state;
    JinjaValue text = *value;
    if (spec->type == 's') {
        if (percent->markup ? !jinja_escape(state, value, &text) : !jinja_to_string(state, value, &text)) return false;
    } else {
        if (!format_represent(state, value, spec->type == 'a', &text)) return false;
        if (percent->markup && !jinja_escape(state, &text, &text)) return false;
    }
    FormatSpec shown = *spec;
    shown.zero = false;
    format_write_string(state, percent->text, &shown, text.string);
    return state->status == IMP_OK;
}

static bool percent_character(PercentState *percent, const FormatSpec *spec, const JinjaValue *value)
{
    JinjaState *state = percent->state;
    JinjaString string = {.n_chars = 1};
    char bytes[4];
    if (value->kind == JINJA_STRING && jinja_n_chars(value->string) == 1) {
        string = *value->string;
    } else if (jinja_is_integer(value)) {
        const int64_t c = jinja_clamped(value);
        if (c < 0 || c > 0x10FFFF) return jinja_raise(state, "%%c arg not in range(0x110000)");
        string.length = unicode_encode((uint32_t)c, bytes);
        string.data = bytes;
    } else {
        return jinja_raise(state, "%%c requires int or char");
    }
    FormatSpec shown = *spec;
    shown.precision = -1;
    format_write_string(state, percent->text, &shown, &string);
    return true;
}

static bool raise_unsupported(PercentState *percent)
{
    const size_t start = percent->at - 1;
    const char *at = percent->format->data + start;
    size_t width;
    const uint32_t c = unicode_decode(at, percent->format->data + percent->format->length, &width);
    const bool shown = c >= 32 && c < 127;
    return jinja_raise(percent->state, "unsupported format character '%.*s' (0x%x) at index %zu",
                       shown ? (int)width : 1, shown ? at : "?", c, unicode_count(percent->format->data, start));
}

/* One conversion, `at` past its %. */
static bool percent_conversion(PercentState *percent)
{
    JinjaState *state = percent->state;
    const JinjaValue *value = NULL;
    FormatSpec spec;
    if (percent_peek(percent) == '%') {
        percent->at++;
        jinja_append(state, percent->text, "%", 1);
        return true;
    }
    if (!read_percent_spec(percent, &spec) || !next_argument(percent, &value)) return false;
    if (memchr("diuoxXeEfFgGcrsa", spec.type, 16) == NULL) return raise_unsupported(percent);
    if (spec.width > FORMAT_MAX_WIDTH || spec.precision > FORMAT_MAX_PRECISION)
        return jinja_raise(state, "width too big");
    switch (spec.type) {
    case 's':
    case 'r':
    case 'a':
        return percent_text(percent, &spec, value);
    case 'c':
        return percent_character(percent, &spec, value);
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        return percent_integer(percent, &spec, value);
    default:
        return percent_float(percent, &spec, value);
    }
}

bool jinja_percent_format(JinjaState *state, const JinjaString *format, const JinjaValue *values, JinjaValue *out)
{
    PercentState percent = {.state = state, .format = format, .arguments = values, .n = 1, .markup = format->markup};
    if (values->kind == JINJA_TUPLE) {
        percent.arguments = values->list->items;
        percent.n = values->list->n;
    } else if (values->kind == JINJA_DICT || values->kind == JINJA_LIST || values->kind == JINJA_UNDEFINED ||
               values->kind == JINJA_RANGE) {
        percent.mapping = values;
    }
    percent.text = jinja_charge_bytes(state, format->length) ? jinja_capture(state) : NULL;
    if (percent.text == NULL) return false;
    while (percent.at < format->length && state->status == IMP_OK) {
        const char *mark = memchr(format->data + percent.at, '%', format->length - percent.at);
        const size_t plain = mark == NULL ? format->length : (size_t)(mark - format->data);
        jinja_append(state, percent.text, format->data + percent.at, plain - percent.at);
        percent.at = plain + 1;
        if (mark != NULL && percent.at >= format->length) return jinja_raise(state, "incomplete format");
        if (mark != NULL && !percent_conversion(&percent)) return false;
    }
    if (percent.used < percent.n && percent.mapping == NULL) {
        return jinja_raise(state, "not all arguments converted during string formatting");
    }
    if (!jinja_capture_finish(state, percent.text, out)) return false;
    out->string->markup = format->markup;
    return true;
}
