/*
 * tool_write.c - a call as text, in a format's first form: for conversations with models whose template cannot write calls.
 */
#include "runtime/tools/tool_constraint.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void put_json(const json_t *value, StrBuf *out)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    if (text == NULL) out->failed = true;
    else strbuf_puts(out, text);
    free(text);
}

/* A value where JSON is not the rule: strings between the format's marks, Python's literals. */
static void put_value(const ToolFormat *format, ArgumentSyntax syntax, const json_t *value, StrBuf *out)
{
    const char *quote = syntax == ARGUMENTS_TAGGED ? "" : format->quote;
    const char *literal = json_is_true(value) ? "True" : json_is_false(value) ? "False" : json_is_null(value) ? "None" : NULL;
    if (syntax == ARGUMENTS_PYTHON && literal != NULL) {
        strbuf_puts(out, literal);
    } else if (syntax != ARGUMENTS_PYTHON && json_is_string(value)) {
        strbuf_puts(out, quote);
        strbuf_append(out, json_string_value(value), json_string_length(value));
        strbuf_puts(out, quote);
    } else {
        put_json(value, out);
    }
}

static void put_arguments(const ToolFormat *format, ArgumentSyntax syntax, const json_t *arguments, StrBuf *out)
{
    static const struct {
        const char *separator, *before_key, *after_key, *after_value, *end;
    } marks[] = {[ARGUMENTS_PYTHON] = {", ", "", "=", "", ")"}, [ARGUMENTS_BARE] = {",", "", ":", "", "}"}};
    const bool tagged = syntax == ARGUMENTS_TAGGED;
    const char *key;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)arguments, key, value)
    {
        if (!first && !tagged) strbuf_puts(out, marks[syntax].separator);
        first = false;
        strbuf_puts(out, tagged ? format->key_open : marks[syntax].before_key);
        strbuf_puts(out, key);
        const bool is_json = format->key_end_json != NULL && !json_is_string(value);
        strbuf_puts(out, !tagged ? marks[syntax].after_key : is_json ? format->key_end_json : format->key_end);
        put_value(format, syntax, value, out);
        strbuf_puts(out, tagged ? format->value_end : marks[syntax].after_value);
    }
    if (!tagged) strbuf_puts(out, marks[syntax].end);
}

ImpStatus tool_write_call(const ToolFormat *format, const char *name, const json_t *arguments, StrBuf *out)
{
    const ToolForm *form = &format->forms[0];
    const bool object = form->after_name == NULL;
    strbuf_puts(out, form->open);
    strbuf_puts(out, form->call);
    if (object)
        strbuf_printf(out, "{\"name\": \"%s\", \"%s\": ", name,
                      format->arguments_key != NULL ? format->arguments_key : "arguments");
    else strbuf_printf(out, format->named_ids ? "functions.%s:0%s" : "%s%s", name, form->after_name);
    if (form->arguments == ARGUMENTS_JSON) put_json(arguments, out);
    else put_arguments(format, form->arguments, arguments, out);
    if (object) strbuf_puts(out, "}");
    strbuf_puts(out, form->call_end);
    strbuf_puts(out, form->close);
    return strbuf_check(out);
}
