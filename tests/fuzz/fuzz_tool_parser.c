/*
 * Fuzzes the reader of tool calls: the first byte chooses a format, the second how the rest is cut. Text and calls must not depend on the
 * cuts, calls must be of offered tools, and each that begins must end.
 */
#include "runtime/tools/tool_parser.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Heard {
    StrBuf all; /* every event, those of one kind that follow one another as one */
    int last_kind;
    int32_t n_open;
} Heard;

static void hear(void *user, const ImpToolEvent *event)
{
    Heard *heard = user;
    if ((int)event->kind != heard->last_kind) strbuf_printf(&heard->all, "\n%d:", (int)event->kind);
    heard->last_kind = (int)event->kind;
    if (event->kind == IMP_TOOL_CALL) strbuf_puts(&heard->all, event->name);
    else if (event->kind != IMP_TOOL_CALL_END) strbuf_append(&heard->all, event->text, event->length);
    heard->n_open += event->kind == IMP_TOOL_CALL;
    heard->n_open -= event->kind == IMP_TOOL_CALL_END;
    if (heard->n_open < 0 || heard->n_open > 1) abort();
}

static const ToolList *tools(void)
{
    static const char json[] =
        "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}}}},{\"name\":\"fg\"}]";
    static ToolList list;
    if (list.count == 0 && tool_list_parse(json, sizeof json - 1, &list) != IMP_OK) abort();
    return &list;
}

static void parse(const ToolFormat *format, const uint8_t *text, size_t length, size_t piece, Heard *heard)
{
    ToolParser *parser = NULL;
    *heard = (Heard){.last_kind = -1};
    if (tool_parser_create(format, tools(), 1, hear, heard, &parser) != IMP_OK) abort();
    for (size_t at = 0; at < length; at += piece) {
        const size_t n = length - at < piece ? length - at : piece;
        if (tool_parser_push(parser, (const char *)text + at, n, false) != IMP_OK) abort();
    }
    if (tool_parser_push(parser, "", 0, true) != IMP_OK) abort();
    tool_parser_free(parser);
    if (heard->n_open != 0 || strbuf_check(&heard->all) != IMP_OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n_formats = 0;
    Heard whole, cut;
    while (tool_format_at(n_formats) != NULL) n_formats++;
    if (size < 2 || size > 16384) return 0;
    const ToolFormat *format = tool_format_at(data[0] % n_formats);
    parse(format, data + 2, size - 2, size, &whole);
    parse(format, data + 2, size - 2, 1U + data[1] % 16U, &cut);
    if (whole.all.length != cut.all.length || memcmp(whole.all.data, cut.all.data, whole.all.length) != 0) abort();
    strbuf_free(&whole.all);
    strbuf_free(&cut.all);
    return 0;
}
