/*
 * filters_text.c - filters over text.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/unicode.h"

#include <stdio.h>

#define FILTER(name)                                                                                                   \
    static bool name(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, JinjaValue *out)

static bool truthy_argument(JinjaState *state, const JinjaValue *argument)
{
    return argument->kind != JINJA_MISSING && jinja_truthy(state, argument);
}

FILTER(filter_string)
{
    (void)arguments;
    return jinja_to_string(state, value, out);
}

FILTER(filter_upper)
{
    (void)arguments;
    JinjaValue text;
    return jinja_to_string(state, value, &text) && jinja_upper(state, text.string, out);
}

FILTER(filter_lower)
{
    (void)arguments;
    JinjaValue text;
    return jinja_to_string(state, value, &text) && jinja_lower(state, text.string, out);
}

FILTER(filter_capitalize)
{
    (void)arguments;
    JinjaValue text;
    return jinja_to_string(state, value, &text) && jinja_capitalize(state, text.string, out);
}

static bool starts_word(uint32_t c)
{
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || unicode_is_space(c);
}

/* Words begin after white space and opening signs only, unlike str.title's; what is joined is no Markup. */
FILTER(filter_title)
{
    (void)arguments;
    JinjaValue text;
    if (!jinja_to_string(state, value, &text)) return false;
    StrBuf *result = jinja_capture(state);
    if (result == NULL) return false;
    const char *at = text.string->data, *end = at + text.string->length;
    while (at < end) {
        const char *word = at;
        size_t width;
        while (at < end && starts_word(unicode_decode(at, end, &width))) at += width;
        jinja_append(state, result, word, (size_t)(at - word));
        word = at;
        size_t first_width = 0;
        while (at < end && !starts_word(unicode_decode(at, end, &width))) {
            if (at == word) first_width = width;
            at += width;
        }
        if (at == word) break;
        JinjaValue first, rest, upper, lower;
        if (!jinja_view(state, word, first_width, &first) || !jinja_upper(state, first.string, &upper)) return false;
        if (!jinja_view(state, word + first_width, (size_t)(at - word) - first_width, &rest)) return false;
        if (!jinja_lower(state, rest.string, &lower)) return false;
        jinja_str(state, result, &upper);
        jinja_str(state, result, &lower);
    }
    return jinja_capture_finish(state, result, out);
}

FILTER(filter_trim)
{
    JinjaValue text;
    if (arguments[0].kind != JINJA_STRING && arguments[0].kind != JINJA_NONE && arguments[0].kind != JINJA_MISSING) {
        return jinja_raise(state, "strip arg must be None or str");
    }
    return jinja_to_string(state, value, &text) && jinja_strip(state, text.string, &arguments[0], 3, out);
}

FILTER(filter_replace)
{
    JinjaValue text, old, with;
    int64_t count = -1;
    if (!jinja_to_string(state, value, &text) || !jinja_to_string(state, &arguments[0], &old) ||
        !jinja_to_string(state, &arguments[1], &with)) {
        return false;
    }
    if (arguments[2].kind != JINJA_MISSING && arguments[2].kind != JINJA_NONE &&
        !jinja_index(state, &arguments[2], &count)) {
        return false;
    }
    if (!jinja_replace(state, text.string, old.string, with.string, count, out)) return false;
    out->string->markup = false;
    return true;
}

FILTER(filter_center)
{
    JinjaValue text;
    const JinjaValue width = arguments[0].kind == JINJA_MISSING ? jinja_int(80) : arguments[0];
    const JinjaArguments call = {.positional = &width, .n_positional = 1};
    const JinjaString name = {.data = "center", .length = 6};
    return jinja_to_string(state, value, &text) &&
           jinja_invoke(state, jinja_find_string_method(&name), &text, &call, out);
}

/* ---- indent ---- */

static bool indentation(JinjaState *state, const JinjaValue *width, JinjaValue *out)
{
    if (width->kind == JINJA_STRING) {
        *out = *width;
        return true;
    }
    const JinjaValue space_width = width->kind == JINJA_MISSING ? jinja_int(4) : *width;
    JinjaValue space;
    if (!jinja_text(state, " ", &space)) return false;
    int64_t count;
    if (!jinja_is_integer(&space_width)) {
        if (space_width.kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, &space_width);
        return jinja_raise(state, "can't multiply sequence by non-int of type '%s'", jinja_type_name(&space_width));
    }
    if (space_width.kind == JINJA_BIG) return jinja_raise(state, "cannot fit 'int' into an index-sized integer");
    if (!jinja_index(state, &space_width, &count)) return false;
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    jinja_pad(state, text, " ", 1, count > 0 ? (size_t)count : 0);
    return jinja_capture_finish(state, text, out);
}

FILTER(filter_indent)
{
    JinjaValue indent, line_end, text;
    JinjaItems lines;
    if (!indentation(state, &arguments[0], &indent)) return false;
    const bool first = truthy_argument(state, &arguments[1]), blank = truthy_argument(state, &arguments[2]);
    if (value->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, value);
    if (value->kind == JINJA_LIST) return jinja_raise(state, "'list' object has no attribute 'splitlines'");
    if (value->kind == JINJA_TUPLE) return jinja_raise(state, "can only concatenate tuple (not \"str\") to tuple");
    if (value->kind != JINJA_STRING) {
        return jinja_raise(state, "unsupported operand type(s) for +=: '%s' and 'str'", jinja_type_name(value));
    }
    if (!jinja_text(state, "\n", &line_end) || !jinja_add(state, value, &line_end, &text)) return false;
    text.string->markup = value->string->markup;
    if (!jinja_split_lines(state, text.string, false, &lines)) return false;
    StrBuf *result = jinja_capture(state);
    if (result == NULL) return false;
    for (size_t i = 0; i < lines.n && state->status == IMP_OK; i++) {
        const JinjaString *line = lines.items[i].string;
        if (i > 0) jinja_append(state, result, "\n", 1);
        if (i == 0 ? first : blank || line->length > 0) jinja_str(state, result, &indent);
        jinja_append(state, result, line->data, line->length);
    }
    if (!jinja_capture_finish(state, result, out)) return false;
    out->string->markup = value->string->markup;
    return true;
}

/* ---- truncate ---- */

/* Python's assert that `value` is at least `least`: any two things that have an order. */
static bool at_least(JinjaState *state, const char *name, const JinjaValue *value, int64_t least, double *out)
{
    const JinjaValue bound = jinja_int(least);
    int order = 0;
    StrBuf text = {0};
    if (!jinja_order(state, value, &bound, ">=", &order)) return false;
    if (order == -1 || order == 2) {
        jinja_str(state, &text, value);
        (void)jinja_raise(state, "expected %s >= %lld, got %s", name, (long long)least,
                          text.data == NULL ? "" : text.data);
        strbuf_free(&text);
        return false;
    }
    *out = value->kind == JINJA_FLOAT ? value->number : jinja_big_to_double(value);
    return true;
}

FILTER(filter_truncate)
{
    const bool has_leeway = arguments[3].kind != JINJA_MISSING && arguments[3].kind != JINJA_NONE;
    const JinjaValue limit = arguments[0].kind == JINJA_MISSING ? jinja_int(255) : arguments[0];
    const JinjaValue slack = has_leeway ? arguments[3] : jinja_int(5);
    const bool kill_words = truthy_argument(state, &arguments[1]);
    JinjaValue end = arguments[2], head;
    double length, leeway;
    size_t n, end_length;
    if (end.kind == JINJA_MISSING && !jinja_text(state, "...", &end)) return false;
    if (!jinja_length(state, &end, &end_length)) return false;
    if (!at_least(state, "length", &limit, (int64_t)end_length, &length)) return false;
    if (!at_least(state, "leeway", &slack, 0, &leeway)) return false;
    if (!jinja_length(state, value, &n)) return false;
    if ((double)n <= length + leeway) {
        *out = *value;
        return true;
    }
    if (limit.kind == JINJA_FLOAT)
        return jinja_raise(state, "slice indices must be integers or None or have an __index__ method");
    if (value->kind != JINJA_STRING || end.kind != JINJA_STRING) return jinja_raise(state, "truncate expects a string");
    if (!jinja_substring(state, value->string, 0, (size_t)length - end_length, &head)) return false;
    const char *space = kill_words ? NULL : memrchr(head.string->data, ' ', head.string->length);
    if (space != NULL && !jinja_view(state, head.string->data, (size_t)(space - head.string->data), &head))
        return false;
    head.string->markup = value->string->markup;
    return jinja_add(state, &head, &end, out);
}

FILTER(filter_wordcount)
{
    (void)arguments;
    JinjaValue text;
    if (!jinja_to_string(state, value, &text) || !jinja_charge_bytes(state, text.string->length)) return false;
    const char *at = text.string->data, *end = at + text.string->length;
    int64_t count = 0;
    bool in_word = false;
    while (at < end) {
        size_t width;
        const uint32_t c = unicode_decode(at, end, &width);
        const bool word = c == '_' || unicode_is_alnum(c);
        count += word && !in_word;
        in_word = word;
        at += width;
    }
    *out = jinja_int(count);
    return true;
}

/* "%s"|format(…): named arguments become a dictionary, others a tuple. */
static bool filter_format(JinjaState *state, const JinjaValue *value, const JinjaArguments *arguments, JinjaValue *out)
{
    JinjaValue text, values;
    if (arguments->n_positional > 0 && arguments->n_named > 0) {
        return jinja_raise(state, "can't handle positional and keyword arguments at the same time");
    }
    if (!jinja_to_string(state, value, &text)) return false;
    if (arguments->n_named > 0) {
        if (!jinja_dict(state, arguments->n_named, &values)) return false;
        for (size_t i = 0; i < arguments->n_named; i++) {
            const JinjaValue key = {.kind = JINJA_STRING, .string = arguments->named[i].name};
            if (!jinja_dict_set(state, values.dict, key, arguments->named[i].value)) return false;
        }
    } else {
        if (!jinja_tuple(state, arguments->n_positional, &values)) return false;
        for (size_t i = 0; i < arguments->n_positional; i++) values.list->items[i] = arguments->positional[i];
    }
    return jinja_modulo(state, &text, &values, out);
}

static const JinjaBuiltin filters[] = {
    {.name = "string", .python_name = "soft_str", .hidden = 1, .call = filter_string},
    {.name = "upper", .python_name = "do_upper", .hidden = 1, .call = filter_upper},
    {.name = "lower", .python_name = "do_lower", .hidden = 1, .call = filter_lower},
    {.name = "capitalize", .python_name = "do_capitalize", .hidden = 1, .call = filter_capitalize},
    {.name = "title", .python_name = "do_title", .hidden = 1, .call = filter_title},
    {.name = "trim",
     .python_name = "do_trim",
     .hidden = 1,
     .n_parameters = 1,
     .parameters = {"chars"},
     .call = filter_trim},
    {.name = "replace",
     .python_name = "do_replace",
     .hidden = 2,
     .n_required = 2,
     .n_parameters = 3,
     .parameters = {"old", "new", "count"},
     .call = filter_replace},
    {.name = "center",
     .python_name = "do_center",
     .hidden = 1,
     .n_parameters = 1,
     .parameters = {"width"},
     .call = filter_center},
    {.name = "indent",
     .python_name = "do_indent",
     .hidden = 1,
     .n_parameters = 3,
     .parameters = {"width", "first", "blank"},
     .call = filter_indent},
    {.name = "truncate",
     .python_name = "do_truncate",
     .hidden = 2,
     .n_parameters = 4,
     .parameters = {"length", "killwords", "end", "leeway"},
     .call = filter_truncate},
    {.name = "wordcount", .python_name = "do_wordcount", .hidden = 1, .call = filter_wordcount},
    {.name = "format", .n_parameters = JINJA_VARIADIC, .raw = filter_format},
};

const JinjaBuiltinTable jinja_text_filters = {filters, sizeof filters / sizeof *filters};
