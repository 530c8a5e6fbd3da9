/*
 * anthropic_cache.c - cache_control: which tokens of a prompt lie before the last block that carries it.
 *
 * Templates put blocks where they like, with what they like between. So the prompt is made a second time with a mark
 * behind the block: what both have in common reaches to its end.
 */
#include "anthropic.h"

#include <string.h>

enum { MAX_BREAKPOINTS = 4, SECONDS_SHORT = 300, SECONDS_LONG = 3600 };

static const char mark[] = "\xC2\xA7";

/* The block that carries the last cache_control so far. */
typedef struct Breakpoint {
    json_t *list; /* of tools or blocks; NULL: none */
    size_t index;
    bool is_tool;
    double seconds;
    int count;
} Breakpoint;

/* {"type": "ephemeral", "ttl": "5m" | "1h"} of a block; nothing when there is none. */
static void read_control(Fields *fields, const json_t *control, json_t *list, size_t index, bool is_tool,
                         Breakpoint *out)
{
    if (control == NULL || json_is_null(control)) return;
    const char *type = json_string_value(json_object_get(control, "type"));
    const char *ttl = json_string_value(json_object_get(control, "ttl"));
    if (type == NULL || strcmp(type, "ephemeral") != 0)
        fields_fail(fields, "cache_control", "cache_control.type must be ephemeral");
    else if (ttl != NULL && strcmp(ttl, "5m") != 0 && strcmp(ttl, "1h") != 0)
        fields_fail(fields, "cache_control", "cache_control.ttl must be 5m or 1h");
    else if (++out->count > MAX_BREAKPOINTS)
        fields_fail(fields, "cache_control", "cache_control may stand at %d blocks at most", MAX_BREAKPOINTS);
    const bool is_long = ttl != NULL && strcmp(ttl, "1h") == 0;
    *out = (Breakpoint){list, index, is_tool, is_long ? SECONDS_LONG : SECONDS_SHORT, out->count};
}

static void read_controls(Fields *fields, json_t *list, bool is_tool, Breakpoint *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        read_control(fields, json_object_get(json_array_get(list, i), "cache_control"), list, i, is_tool, out);
}

/* In the order in which they stand in a prompt. */
static Breakpoint find_breakpoint(Fields *fields, json_t *body)
{
    Breakpoint found = {0};
    json_t *messages = json_object_get(body, "messages");
    read_controls(fields, json_object_get(body, "tools"), true, &found);
    read_controls(fields, json_object_get(body, "system"), false, &found);
    for (size_t i = 0; i < json_array_size(messages); i++)
        read_controls(fields, json_object_get(json_array_get(messages, i), "content"), false, &found);
    /* Beside the messages it stands for the last block of all. */
    json_t *control = json_object_get(body, "cache_control");
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_t *content = json_object_get(last, "content");
    if (control != NULL && json_is_string(content)) {
        json_t *block = json_pack("{s:s, s:O}", "type", "text", "text", content);
        (void)json_object_set_new(last, "content", json_pack("[o]", block));
        content = json_object_get(last, "content");
    }
    if (json_array_size(content) > 0)
        read_control(fields, control, content, json_array_size(content) - 1, false, &found);
    return found;
}

/* A text goes on with the mark; behind other blocks comes one with it, and behind a tool another tool. */
static void set_mark(const Breakpoint *at)
{
    json_t *block = json_array_get(at->list, at->index), *text = json_object_get(block, "text");
    if (at->is_tool) {
        (void)json_array_insert_new(at->list, at->index + 1, json_pack("{s:s, s:{}}", "name", mark, "input_schema"));
    } else if (json_is_string(text)) {
        (void)json_object_set_new(block, "text", json_pack("s++", json_string_value(text), mark, ""));
    } else {
        (void)json_array_insert_new(at->list, at->index + 1, json_pack("{s:s, s:s}", "type", "text", "text", mark));
    }
}

void anthropic_read_pin(Exchange *exchange, Fields *fields, const RequestParams *params, Prompt *prompt)
{
    static const char word[] = "cache_control";
    if (memmem(exchange->body.data, exchange->body.length, word, sizeof word - 1) == NULL) return;
    json_t *body = json_deep_copy(fields->object);
    const Breakpoint at = find_breakpoint(fields, body);
    Fields marked = {.object = body};
    Prompt other = {0};
    if (at.list != NULL && fields_good(fields)) {
        set_mark(&at);
        /* Where a template refuses the mark nothing is common, and nothing is pinned. */
        (void)anthropic_prompt(exchange->server, &marked, params, &other);
        int32_t common = 0;
        while (common < prompt->n_tokens && common < other.n_tokens && prompt->tokens[common] == other.tokens[common])
            common++;
        prompt->n_pinned = common;
        prompt->pin_seconds = at.seconds;
    }
    prompt_free(&other);
    json_decref(body);
}
