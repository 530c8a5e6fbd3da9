/*
 * format_spec.c - text and numbers padded to a width, as both of Python's ways of formatting end.
 */
#include "text/template/format_spec.h"
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/number.h"
#include "text/template/unicode.h"

#include <math.h>
#include <stdio.h>

enum { NUMBER_SPACE = 8192 };

void format_write_padded(JinjaState *state, StrBuf *text, const FormatSpec *spec, char default_align,
                         const char *prefix, const char *body, size_t body_length, size_t body_chars)
{
    const size_t used = strlen(prefix) + body_chars;
    const size_t total = (size_t)spec->width > used ? (size_t)spec->width - used : 0;
    const char align = spec->align != 0 ? spec->align : default_align;
    const size_t left = align == '>' ? total : align == '^' ? total / 2 : 0, inner = align == '=' ? total : 0;
    jinja_pad(state, text, spec->fill.data, spec->fill.length, left);
    jinja_puts(state, text, prefix);
    jinja_pad(state, text, spec->fill.data, spec->fill.length, inner);
    jinja_append(state, text, body, body_length);
    jinja_pad(state, text, spec->fill.data, spec->fill.length, total - left - inner);
}

void format_write_string(JinjaState *state, StrBuf *text, const FormatSpec *spec, JinjaString *string)
{
    size_t length = string->length, n = jinja_n_chars(string);
    if (spec->precision >= 0 && (size_t)spec->precision < n) {
        n = (size_t)spec->precision;
        length = unicode_offset(string->data, string->length, n);
    }
    format_write_padded(state, text, spec, '<', "", string->data, length, n);
}

/* Separators between groups of `size` digits; with zero filling the zeros are grouped too, up to `width`. */
static size_t group_digits(const char *digits, size_t n, char separator, size_t size, size_t width, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < n || written < width; i++) { /* from the last one on */
        if (i > 0 && i % size == 0) out[written++] = separator;
        out[written++] = i < n ? digits[n - 1 - i] : '0';
    }
    for (size_t i = 0; i < written / 2; i++) {
        const char last = out[written - 1 - i];
        out[written - 1 - i] = out[i];
        out[i] = last;
    }
    return written;
}

static const char *sign_text(const FormatSpec *spec, bool negative)
{
    return negative ? "-" : spec->sign == '+' ? "+" : spec->sign == ' ' ? " " : "";
}

/* A number's digits, its part after them (fraction, exponent) and what stands in front. */
static void write_number(JinjaState *state, StrBuf *text, const FormatSpec *spec, const char *prefix,
                         const char *digits, size_t n_digits, const char *rest, size_t n_rest, size_t group)
{
    FormatSpec padded = *spec;
    const bool zeros = spec->zero && spec->align == 0;
    if (zeros) {
        padded.align = '=';
        padded.fill = (JinjaString){.data = "0", .length = 1};
    }
    const size_t outside = strlen(prefix) + n_rest;
    const bool grouped_zeros = padded.align == '=' && padded.fill.length == 1 && padded.fill.data[0] == '0';
    const size_t wanted = grouped_zeros && (size_t)spec->width > outside ? (size_t)spec->width - outside : 0;
    size_t n = n_digits;
    char *body = jinja_alloc_raw(state, 2 * (n_digits > wanted ? n_digits : wanted) + n_rest + 2);
    if (body == NULL) return;
    if (spec->grouping != 0) {
        n = group_digits(digits, n_digits, spec->grouping, group, wanted, body);
    } else {
        memcpy(body, digits, n);
    }
    memcpy(body + n, rest, n_rest);
    format_write_padded(state, text, &padded, '>', prefix, body, n + n_rest, n + n_rest);
}

/* The sign and, in the alternate form, the base. */
static void integer_prefix(const FormatSpec *spec, bool negative, char prefix[4])
{
    const bool based = spec->alternate && spec->type != 0 && memchr("boxX", spec->type, 4) != NULL;
    const char base[2] = {spec->type, '\0'};
    (void)snprintf(prefix, 4, "%s%s%.1s", sign_text(spec, negative), based ? "0" : "", based ? base : "");
}

bool format_write_integer(JinjaState *state, StrBuf *text, const FormatSpec *spec, const JinjaValue *value,
                          size_t least)
{
    char prefix[4], *digits;
    size_t n;
    const char type = spec->type;
    const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : (type | 0x20) == 'x' ? 16 : 10;
    if (!jinja_big_digits(state, value, base, type == 'X', &digits, &n)) return false;
    if (n < least) {
        char *padded = jinja_alloc_raw(state, least);
        if (padded == NULL) return false;
        memset(padded, '0', least - n);
        memcpy(padded + least - n, digits, n);
        digits = padded;
        n = least;
    }
    integer_prefix(spec, jinja_clamped(value) < 0, prefix);
    write_number(state, text, spec, prefix, digits, n, "", 0, base == 10 ? 3 : 4);
    return state->status == IMP_OK;
}

bool format_write_float(JinjaState *state, StrBuf *text, const FormatSpec *spec, double value)
{
    char buffer[NUMBER_SPACE];
    char type = spec->type;
    const bool percent = type == '%', plain = type == 0;
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    if (spec->precision > FORMAT_MAX_PRECISION) return jinja_raise(state, "precision too big");
    if (percent) value *= 100;
    if (percent) type = 'f';
    if (type == 'n') type = 'g';
    const bool negative = signbit(value) && !isnan(value);
    const double magnitude = fabs(value);
    size_t length;
    if (!isfinite(value)) {
        length = (size_t)snprintf(buffer, sizeof buffer, "%s", isnan(value) ? "nan" : "inf");
        if (type == 'E' || type == 'F' || type == 'G') {
            for (size_t i = 0; i < length; i++) buffer[i] = (char)(buffer[i] - 32);
        }
    } else if (plain && spec->precision < 0) {
        length = number_repr(magnitude, buffer);
    } else {
        if (plain) type = 'g';
        if ((type | 0x20) == 'g' && precision == 0) precision = 1;
        length = number_format(type, precision, spec->alternate, magnitude, buffer, sizeof buffer);
        /* Without a type a float keeps a digit behind its point, and turns to an exponent one digit earlier. */
        if (plain && memchr(buffer, '.', length) == NULL && memchr(buffer, 'e', length) == NULL) {
            if (length >= (size_t)precision) {
                length = number_format('e', precision - 1, false, magnitude, buffer, sizeof buffer);
            } else {
                memcpy(buffer + length, ".0", 3);
                length += 2;
            }
        }
    }
    if (percent) {
        buffer[length++] = '%';
        buffer[length] = '\0';
    }
    size_t n_digits = 0;
    while (n_digits < length && buffer[n_digits] >= '0' && buffer[n_digits] <= '9') n_digits++;
    FormatSpec shown = *spec;
    if (n_digits == 0) shown.grouping = 0;
    const bool shows_zero =
        strspn(buffer, "0.") == length - (percent ? 1 : 0) || strspn(buffer, "0.") == strcspn(buffer, "eE");
    const bool minus = negative && !(spec->no_negative_zero && shows_zero);
    write_number(state, text, &shown, sign_text(spec, minus), buffer, n_digits, buffer + n_digits, length - n_digits,
                 3);
    return true;
}

bool format_represent(JinjaState *state, const JinjaValue *value, bool ascii, JinjaValue *out)
{
    const char *repr = jinja_repr_text(state, value), *at = repr, *end = repr + strlen(repr);
    if (state->status != IMP_OK) return false;
    if (!ascii) return jinja_text(state, repr, out);
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    while (at < end && state->status == IMP_OK) {
        char escape[16];
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        (void)snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        if (c < 0x80) {
            jinja_append(state, text, at, width);
        } else {
            jinja_puts(state, text, escape);
        }
        at += width;
    }
    return jinja_capture_finish(state, text, out);
}
