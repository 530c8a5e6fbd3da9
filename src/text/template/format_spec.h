/*
 * format_spec.h - what "%…" % values and "{…}".format(values) share: padding of text, digits and signs to a width.
 *
 * Functions that return bool give false after raising.
 */
#ifndef IMP_TEXT_TEMPLATE_FORMAT_SPEC_H
#define IMP_TEXT_TEMPLATE_FORMAT_SPEC_H

#include "text/template/value.h"

enum { FORMAT_MAX_WIDTH = 1 << 20, FORMAT_MAX_PRECISION = 4000 };

typedef struct FormatSpec {
    JinjaString fill;
    char align; /* < > ^ = or 0 */
    char sign;  /* + - space or 0 */
    bool alternate, zero;
    bool no_negative_zero; /* z: what is rounded to -0 is shown as 0 */
    int64_t width;         /* 0: none */
    int64_t precision;     /* -1: none */
    char grouping;         /* , _ or 0 */
    char type;             /* 0: none */
} FormatSpec;

/* Writes `prefix` (sign and base) and `body` padded to the width. */
void format_write_padded(JinjaState *state, StrBuf *text, const FormatSpec *spec, char default_align,
                         const char *prefix, const char *body, size_t body_length, size_t body_chars);

/* The string, cut to the precision's characters. */
void format_write_string(JinjaState *state, StrBuf *text, const FormatSpec *spec, JinjaString *string);

/* An integer of any kind with at least `least` digits. */
bool format_write_integer(JinjaState *state, StrBuf *text, const FormatSpec *spec, const JinjaValue *value,
                          size_t least);
bool format_write_float(JinjaState *state, StrBuf *text, const FormatSpec *spec, double value);

/* repr(value), or ascii(value). */
bool format_represent(JinjaState *state, const JinjaValue *value, bool ascii, JinjaValue *out);

#endif
