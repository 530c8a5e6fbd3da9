/*
 * jinja_driver.c - renders templates for comparisons. A line in: the template as a JSON string, a tab, the variables as
 * a JSON object; a line out: {"out"} or {"error"}. With --repeat N each is read and rendered N times, and a line out
 * holds the least times of reading the variables and of rendering them, {"read_seconds", "render_seconds"}.
 */
#include "core/clock.h"
#include "text/template/chat_template.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *failure(void) { return json_pack("{s:s}", "error", imp_last_error()); }

static json_t *render(const ChatTemplate *chat_template, const char *variables, size_t length)
{
    StrBuf text = {0};
    TemplateValues *values = NULL;
    TemplateLimits limits = chat_template_default_limits();
    limits.now = 1767225599;
    json_t *result;
    if (template_values_read(chat_template, variables, length, &values) != IMP_OK ||
        chat_template_render(values, &limits, &text) != IMP_OK) {
        result = failure();
    } else {
        result = json_pack("{s:o?}", "out", json_stringn(text.data, text.length));
        if (json_is_null(json_object_get(result, "out"))) {
            json_decref(result);
            result = json_pack("{s:s}", "error", "surrogates not allowed");
        }
    }
    template_values_free(values);
    strbuf_free(&text);
    return result;
}

static json_t *measure(const ChatTemplate *chat_template, const char *variables, size_t length, long repeat)
{
    StrBuf text = {0};
    const TemplateLimits limits = chat_template_default_limits();
    double read = 1e30, rendered = 1e30;
    json_t *result = NULL;
    for (long i = 0; i < repeat && result == NULL; i++) {
        TemplateValues *values = NULL;
        const double start = clock_seconds();
        if (template_values_read(chat_template, variables, length, &values) != IMP_OK) result = failure();
        const double middle = clock_seconds();
        strbuf_clear(&text);
        if (result == NULL && chat_template_render(values, &limits, &text) != IMP_OK) result = failure();
        const double end = clock_seconds();
        if (middle - start < read) read = middle - start;
        if (end - middle < rendered) rendered = end - middle;
        template_values_free(values);
    }
    strbuf_free(&text);
    return result != NULL ? result : json_pack("{s:f, s:f}", "read_seconds", read, "render_seconds", rendered);
}

static json_t *answer(const json_t *source, const char *variables, size_t length, long repeat)
{
    ChatTemplate *chat_template;
    if (!json_is_string(source)) return json_pack("{s:s}", "error", "no template");
    if (chat_template_compile(json_string_value(source), json_string_length(source), &chat_template) != IMP_OK) {
        return failure();
    }
    json_t *result =
        repeat > 0 ? measure(chat_template, variables, length, repeat) : render(chat_template, variables, length);
    chat_template_free(chat_template);
    return result;
}

int main(int argc, char **argv)
{
    const long repeat = argc == 3 && strcmp(argv[1], "--repeat") == 0 ? atol(argv[2]) : 0;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        const char *tab = memchr(line, '\t', (size_t)length), *variables = tab == NULL ? line : tab + 1;
        const size_t template_length = tab == NULL ? 0 : (size_t)(tab - line);
        json_t *source = json_loadb(line, template_length, JSON_DECODE_ANY, NULL);
        json_t *result = answer(source, variables, (size_t)(line + length - variables), repeat);
        json_dumpf(result, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(source);
    }
    free(line);
    return 0;
}
