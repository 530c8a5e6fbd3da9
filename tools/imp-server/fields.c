/* fields.c - one error a request: the first. */
#include "fields.h"

#include "server.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void fields_fail(Fields *fields, const char *name, const char *format, ...)
{
    if (!fields_good(fields)) return;
    va_list arguments;
    va_start(arguments, format);
    (void)snprintf(fields->param, sizeof fields->param, "%s", name);
    (void)vsnprintf(fields->error, sizeof fields->error, format, arguments);
    va_end(arguments);
}

static const json_t *find(const Fields *fields, const char *name)
{
    const json_t *value = json_object_get(fields->object, name);
    return json_is_null(value) ? NULL : value;
}

void fields_int(Fields *fields, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const json_t *value = find(fields, name);
    if (value == NULL) return;
    const double number = json_number_value(value);
    if (!json_is_number(value) || number != floor(number) || fabs(number) > 9e18) {
        fields_fail(fields, name, "%s must be an integer", name);
    } else {
        const int64_t whole = json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
        if (whole < min || whole > max)
            fields_fail(fields, name, "%s must be within %lld and %lld", name, (long long)min, (long long)max);
        else
            *out = whole;
    }
}

void fields_float(Fields *fields, const char *name, double min, double max, float *out)
{
    const json_t *value = find(fields, name);
    if (value == NULL) return;
    const double number = json_number_value(value);
    if (!json_is_number(value))
        fields_fail(fields, name, "%s must be a number", name);
    else if (!(number >= min && number <= max))
        fields_fail(fields, name, "%s must be within %g and %g", name, min, max);
    else
        *out = (float)number;
}

void fields_bool(Fields *fields, const char *name, bool *out)
{
    const json_t *value = find(fields, name);
    if (value == NULL) return;
    if (!json_is_boolean(value))
        fields_fail(fields, name, "%s must be true or false", name);
    else
        *out = json_is_true(value);
}

void fields_string(Fields *fields, const char *name, const char **out)
{
    const json_t *value = find(fields, name);
    if (value == NULL) return;
    if (!json_is_string(value))
        fields_fail(fields, name, "%s must be a string", name);
    else
        *out = json_string_value(value);
}

const json_t *fields_member(Fields *fields, const char *name, json_type type, const char *expected)
{
    const json_t *value = find(fields, name);
    if (value == NULL || json_typeof(value) == type) return value;
    fields_fail(fields, name, "%s must be %s", name, expected);
    return NULL;
}

const char *json_excess(const char *text, size_t length)
{
    int32_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        const char byte = text[i];
        if (in_string) {
            if (byte == '\\')
                i++;
            else if (byte == '"')
                in_string = false;
        } else if (byte == '"') {
            in_string = true;
        } else if (byte == '[' || byte == '{') {
            if (++depth > MAX_JSON_DEPTH) return "is nested too deeply";
            values++;
        } else if (byte == ']' || byte == '}') {
            depth--;
        } else if (byte == ',') {
            values++;
        }
        if (values > MAX_JSON_VALUES) return "holds too many values";
    }
    return NULL;
}
