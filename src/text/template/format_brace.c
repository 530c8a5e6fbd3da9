/*
 * format_brace.c - "{}".format(values), as Python's string.Formatter does it in Jinja's sandbox.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/format_spec.h"
#include "text/template/number.h"
#include "text/template/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

typedef struct BraceState {
    JinjaState *state;
    const JinjaArguments *arguments;
    int64_t next; /* automatic number; -1: fields are numbered by hand */
    bool automatic, manual;
    bool markup; /* fields are escaped */
} BraceState;

static bool write_formatted(BraceState *brace, StrBuf *text, const char *at, const char *end, int depth);

static bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

static bool read_spec_number(JinjaState *state, const char **at, const char *end, int64_t *out)
{
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        *out = (*out < 0 ? 0 : *out) * 10 + (**at - '0');
        if (*out > FORMAT_MAX_WIDTH) return jinja_raise(state, "Too many decimal digits in format string");
    }
    return true;
}

/* , and _ go with some types only; `type` is what the value's own would be where none is named. */
static bool check_grouping(JinjaState *state, const FormatSpec *spec, char type)
{
    const bool decimal = type == 0 || memchr("defgEG%F", type, 8) != NULL;
    const bool binary = type != 0 && memchr("boxX", type, 4) != NULL;
    if (spec->grouping == 0 || decimal || (binary && spec->grouping == '_')) return true;
    return jinja_raise(state, "Cannot specify '%c' with '%c'.", spec->grouping, type);
}

static bool read_grouping(JinjaState *state, const char **at, const char *end, FormatSpec *spec)
{
    if (*at < end && (**at == ',' || **at == '_')) spec->grouping = *(*at)++;
    if (*at < end && (**at == ',' || **at == '_')) {
        if (**at == spec->grouping && spec->grouping == ',') return true; /* no more of the specification: invalid */
        return jinja_raise(state, **at == spec->grouping ? "Cannot specify '_' with '_'."
                                                         : "Cannot specify both ',' and '_'.");
    }
    return true;
}

static bool parse_spec(JinjaState *state, const JinjaString *text, const JinjaValue *value, FormatSpec *spec)
{
    const char *at = text->data, *end = at + text->length;
    *spec = (FormatSpec){.fill = {.data = " ", .length = 1, .n_chars = 1}, .precision = -1};
    size_t width = 0;
    bool filled = false;
    if (at < end) (void)unicode_decode(at, end, &width);
    if (at < end && at + width < end && is_align(at[width])) {
        filled = true;
        spec->fill = (JinjaString){.data = at, .length = width, .n_chars = 1};
        spec->align = at[width];
        at += width + 1;
    } else if (at < end && is_align(*at)) {
        spec->align = *at++;
    }
    if (at < end && (*at == '+' || *at == '-' || *at == ' ')) spec->sign = *at++;
    if (at < end && *at == 'z') {
        spec->no_negative_zero = true;
        at++;
    }
    if (at < end && *at == '#') {
        spec->alternate = true;
        at++;
    }
    if (at < end && *at == '0' && !filled) {
        spec->fill = (JinjaString){.data = "0", .length = 1, .n_chars = 1};
        if (spec->align == 0 && value->kind != JINJA_STRING) spec->align = '=';
        at++;
    }
    if (!read_spec_number(state, &at, end, &spec->width)) return false;
    if (!read_grouping(state, &at, end, spec)) return false;
    if (at < end && *at == '.') {
        at++;
        if (at == end || *at < '0' || *at > '9') return jinja_raise(state, "Format specifier missing precision");
        if (!read_spec_number(state, &at, end, &spec->precision)) return false;
    }
    if (at < end && (unsigned char)*at < 0x80) spec->type = *at++;
    if (at < end && (unsigned char)*at >= 0x80) {
        const uint32_t code = unicode_decode(at, end, &width);
        if (at + width == end && spec->type == 0) {
            return jinja_raise(state, "Unknown format code '\\x%x' for object of type '%s'", code,
                               jinja_type_name(value));
        }
    }
    if (at == end) {
        const char own = value->kind == JINJA_STRING ? 's' : value->kind == JINJA_FLOAT ? '\0' : 'd';
        return check_grouping(state, spec, spec->type != 0 ? spec->type : own);
    }
    return jinja_raise(state, "Invalid format specifier '%.*s' for object of type '%s'", (int)text->length, text->data,
                       jinja_type_name(value));
}

static bool raise_unknown_code(JinjaState *state, const FormatSpec *spec, const JinjaValue *value)
{
    return jinja_raise(state, "Unknown format code '%c' for object of type '%s'", spec->type, jinja_type_name(value));
}

static bool format_string(JinjaState *state, StrBuf *text, const FormatSpec *spec, const JinjaValue *value)
{
    if (spec->type != 0 && spec->type != 's') return raise_unknown_code(state, spec, value);
    if (spec->sign == ' ') return jinja_raise(state, "Space not allowed in string format specifier");
    if (spec->sign != 0) return jinja_raise(state, "Sign not allowed in string format specifier");
    if (spec->no_negative_zero)
        return jinja_raise(state, "Negative zero coercion (z) not allowed in string format specifier");
    if (spec->alternate) return jinja_raise(state, "Alternate form (#) not allowed in string format specifier");
    if (spec->align == '=') return jinja_raise(state, "'=' alignment not allowed in string format specifier");
    format_write_string(state, text, spec, value->string);
    return true;
}

static bool format_integer(JinjaState *state, StrBuf *text, const FormatSpec *spec, const JinjaValue *value)
{
    const int64_t integer = jinja_clamped(value);
    double number;
    if (spec->type != 0 && memchr("eEfFgG%", spec->type, 7) != NULL)
        return jinja_to_double(state, value, &number) && format_write_float(state, text, spec, number);
    if (spec->type != 0 && memchr("bcdoxXn", spec->type, 7) == NULL) return raise_unknown_code(state, spec, value);
    if (spec->precision >= 0) return jinja_raise(state, "Precision not allowed in integer format specifier");
    if (spec->no_negative_zero)
        return jinja_raise(state, "Negative zero coercion (z) not allowed in integer format specifier");
    if (spec->type == 'c') {
        char bytes[4];
        if (spec->sign != 0) return jinja_raise(state, "Sign not allowed with integer format specifier 'c'");
        if (spec->alternate)
            return jinja_raise(state, "Alternate form (#) not allowed with integer format specifier 'c'");
        if (value->kind == JINJA_BIG) return jinja_raise(state, "Python int too large to convert to C long");
        if (integer < 0 || integer > 0x10FFFF) return jinja_raise(state, "%%c arg not in range(0x110000)");
        const size_t length = unicode_encode((uint32_t)integer, bytes);
        format_write_padded(state, text, spec, '<', "", bytes, length, 1);
        return true;
    }
    return format_write_integer(state, text, spec, value, 0);
}

/* format(value, specification) appended. */
static bool format_value(JinjaState *state, StrBuf *text, const JinjaValue *value, const JinjaString *specification)
{
    FormatSpec spec;
    if (specification->length == 0) {
        jinja_str(state, text, value);
        return state->status == IMP_OK;
    }
    if (value->kind != JINJA_STRING && !jinja_is_number(value)) {
        return jinja_raise(state, "unsupported format string passed to %s.__format__", jinja_type_name(value));
    }
    if (!parse_spec(state, specification, value, &spec)) return false;
    if (value->kind == JINJA_STRING) return format_string(state, text, &spec, value);
    if (value->kind == JINJA_FLOAT) {
        if (spec.type != 0 && memchr("eEfFgGn%", spec.type, 8) == NULL) return raise_unknown_code(state, &spec, value);
        return format_write_float(state, text, &spec, value->number);
    }
    return format_integer(state, text, &spec, value);
}

/* The same in a format that is Markup: what is none is escaped. */
static bool format_escaped(JinjaState *state, StrBuf *text, const JinjaValue *value, const JinjaString *specification)
{
    JinjaValue field = *value, escaped;
    if (value->kind == JINJA_STRING && value->string->markup) {
        if (specification->length > 0) return jinja_raise(state, "Unsupported format specification for Markup.");
    } else {
        StrBuf *plain = jinja_capture(state);
        if (plain == NULL || !format_value(state, plain, value, specification)) return false;
        if (!jinja_capture_finish(state, plain, &field)) return false;
    }
    if (!jinja_escape(state, &field, &escaped)) return false;
    jinja_str(state, text, &escaped);
    return state->status == IMP_OK;
}

static bool is_number_text(const char *start, const char *end)
{
    for (const char *at = start; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
    }
    return end > start && end - start < 10;
}

/* The value that a field's first part names: a number, nothing (the next number) or a keyword. Only what is `alone`,
 * with no attribute or item behind it, counts as numbered by hand or not. */
static bool first_value(BraceState *brace, const char *start, const char *end, bool alone, JinjaValue *out)
{
    JinjaState *state = brace->state;
    int64_t index = -1;
    if (start == end && alone) {
        if (brace->manual) {
            return jinja_raise(state, "cannot switch from manual field specification to automatic field numbering");
        }
        brace->automatic = true;
        index = brace->next++;
    } else if (is_number_text(start, end)) {
        if (alone && brace->automatic) {
            return jinja_raise(state, "cannot switch from manual field specification to automatic field numbering");
        }
        brace->manual |= alone;
        index = 0;
        for (const char *at = start; at < end; at++) index = index * 10 + (*at - '0');
    }
    if (index >= 0) {
        if ((size_t)index >= brace->arguments->n_positional) return jinja_raise(state, "tuple index out of range");
        *out = brace->arguments->positional[index];
        return true;
    }
    for (size_t i = 0; i < brace->arguments->n_named; i++) {
        const JinjaNamed *named = &brace->arguments->named[i];
        if (named->name->length != (size_t)(end - start) || memcmp(named->name->data, start, named->name->length) != 0)
            continue;
        *out = named->value;
        return true;
    }
    JinjaValue name;
    return jinja_view(state, start, (size_t)(end - start), &name) &&
           jinja_raise(state, "%s", jinja_repr_text(state, &name));
}

/* name.attribute[item]… */
static bool field_value(BraceState *brace, const char *start, const char *end, JinjaValue *out)
{
    JinjaState *state = brace->state;
    const char *at = start;
    while (at < end && *at != '.' && *at != '[') at++;
    if (!first_value(brace, start, at, at == end, out)) return false;
    while (at < end) {
        const bool is_attribute = *at == '.';
        const char *part = ++at;
        while (at < end && (is_attribute ? *at != '.' && *at != '[' : *at != ']')) at++;
        if (!is_attribute && at == end) return jinja_raise(state, "Missing ']' in format string");
        if (at == part) return jinja_raise(state, "Empty attribute in format string");
        JinjaValue key, object = *out;
        if (!is_attribute && is_number_text(part, at)) {
            int64_t index = 0;
            for (const char *digit = part; digit < at; digit++) index = index * 10 + (*digit - '0');
            key = jinja_int(index);
        } else if (!jinja_view(state, part, (size_t)(at - part), &key)) {
            return false;
        }
        if (is_attribute ? !jinja_get_attribute(state, &object, &key, out)
                         : !jinja_get_item(state, &object, &key, out)) {
            return false;
        }
        if (!is_attribute) at++;
        if (at < end && *at != '.' && *at != '[') {
            return jinja_raise(state, "Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return true;
}

static bool convert_value(JinjaState *state, char conversion, JinjaValue *value)
{
    if (conversion == 's') {
        return jinja_to_string(state, value, value) &&
               (!value->string->markup || jinja_view(state, value->string->data, value->string->length, value));
    }
    if (conversion != 'r' && conversion != 'a') {
        return jinja_raise(state, "Unknown conversion specifier %c", conversion);
    }
    return format_represent(state, value, conversion == 'a', value);
}

/* A field name[!conversion][:specification] behind its opening brace. */
typedef struct Field {
    const char *start, *name_end, *spec, *close; /* spec NULL: none */
    char conversion;                             /* 0: none */
} Field;

/* Where a name ends: at '!', ':' or the closing brace, but not inside [ ]. NULL after raising. */
static const char *name_end(JinjaState *state, const char *at, const char *end)
{
    bool in_brackets = false;
    for (; at < end; at++) {
        if (*at == '{' && !in_brackets) {
            (void)jinja_raise(state, "unexpected '{' in field name");
            return NULL;
        }
        if (*at == '[') in_brackets = true;
        if (*at == ']') in_brackets = false;
        if (!in_brackets && (*at == '}' || *at == ':' || *at == '!')) return at;
    }
    (void)jinja_raise(state, "expected '}' before end of string");
    return NULL;
}

static bool find_field(JinjaState *state, const char *at, const char *end, Field *out)
{
    *out = (Field){.start = at, .name_end = name_end(state, at, end)};
    if (out->name_end == NULL) return false;
    at = out->name_end;
    if (*at == '!') {
        if (at + 1 >= end) return jinja_raise(state, "end of string while looking for conversion specifier");
        out->conversion = at[1];
        at += 2;
        if (at >= end) return jinja_raise(state, "unmatched '{' in format spec");
        if (*at != ':' && *at != '}') return jinja_raise(state, "expected ':' after conversion specifier");
    }
    if (*at == ':') {
        out->spec = ++at;
        for (int depth = 1; at < end; at++) {
            if (*at == '{') depth++;
            if (*at == '}' && --depth == 0) break;
        }
        if (at >= end) return jinja_raise(state, "unmatched '{' in format spec");
    }
    out->close = at;
    return true;
}

static bool write_field(BraceState *brace, StrBuf *text, const Field *field, int depth)
{
    JinjaState *state = brace->state;
    JinjaValue value, specification;
    if (!field_value(brace, field->start, field->name_end, &value)) return false;
    if (field->conversion != 0 && !convert_value(state, field->conversion, &value)) return false;
    StrBuf *spec_text = jinja_capture(state);
    if (spec_text == NULL) return false;
    /* Python formats an absent specification too, one level deeper. */
    if (field->spec == NULL && depth == 3) return jinja_raise(state, "Max string recursion exceeded");
    if (field->spec != NULL && !write_formatted(brace, spec_text, field->spec, field->close, depth + 1)) return false;
    if (!jinja_capture_finish(state, spec_text, &specification)) return false;
    return brace->markup ? format_escaped(state, text, &value, specification.string)
                         : format_value(state, text, &value, specification.string);
}

static bool write_formatted(BraceState *brace, StrBuf *text, const char *at, const char *end, int depth)
{
    JinjaState *state = brace->state;
    if (depth > 3) return jinja_raise(state, "Max string recursion exceeded");
    while (at < end && state->status == IMP_OK) {
        const char *plain = at;
        while (at < end && *at != '{' && *at != '}') at++;
        jinja_append(state, text, plain, (size_t)(at - plain));
        if (at == end) break;
        if (at + 1 < end && at[1] == *at) {
            jinja_append(state, text, at, 1);
            at += 2;
            continue;
        }
        if (*at == '}') return jinja_raise(state, "Single '}' encountered in format string");
        if (at + 1 == end) return jinja_raise(state, "Single '{' encountered in format string");
        Field field;
        if (!find_field(state, at + 1, end, &field) || !write_field(brace, text, &field, depth)) return false;
        at = field.close + 1;
    }
    return state->status == IMP_OK;
}

bool jinja_brace_format(JinjaState *state, const JinjaString *format, const JinjaArguments *arguments, JinjaValue *out)
{
    BraceState brace = {.state = state, .arguments = arguments, .markup = format->markup};
    StrBuf *text = jinja_charge_bytes(state, format->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    if (!write_formatted(&brace, text, format->data, format->data + format->length, 1)) return false;
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = format->markup;
    return true;
}
