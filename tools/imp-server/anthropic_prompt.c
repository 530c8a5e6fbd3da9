/*
 * anthropic_prompt.c - Anthropic's system and messages in the shape that chat templates know.
 *
 * A user's tool_result blocks become messages of the role "tool"; an assistant's tool_use blocks become tool_calls.
 */
#include "prompt.h"

#include <string.h>

static const char *block_type(const json_t *block)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    return type != NULL ? type : "";
}

/* Text of a string or of a list of text blocks; other blocks are named in an error. */
static json_t *plain_text(Fields *fields, const char *name, const json_t *content)
{
    if (content == NULL || json_is_null(content)) return json_string("");
    if (json_is_string(content)) return json_copy((json_t *)(uintptr_t)content);
    if (!json_is_array(content)) {
        fields_fail(fields, name, "%s must be a string or a list of blocks", name);
        return json_string("");
    }
    Bytes text = {0};
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *value = json_object_get(block, "text");
        if (strcmp(block_type(block), "text") != 0 || !json_is_string(value))
            fields_fail(fields, name, "%s: blocks of the type %.40s cannot be read by this model", name,
                        block_type(block));
        else
            (void)bytes_append(&text, json_string_value(value), json_string_length(value));
    }
    json_t *joined = json_stringn(text.data != NULL ? text.data : "", text.length);
    bytes_free(&text);
    return joined;
}

/* Reasoning goes with the calls that it led to; before other answers it is not shown to the model again. */
static void add_message(json_t *list, const char *role, Bytes *text, const Bytes *reasoning, json_t *tool_calls)
{
    if (text->length == 0 && json_array_size(tool_calls) == 0) {
        json_decref(tool_calls);
        return;
    }
    json_t *message =
        json_pack("{s:s, s:s%}", "role", role, "content", text->data != NULL ? text->data : "", text->length);
    if (json_array_size(tool_calls) > 0) {
        (void)json_object_set(message, "tool_calls", tool_calls);
        if (reasoning->length > 0)
            (void)json_object_set_new(message, "reasoning_content", json_stringn(reasoning->data, reasoning->length));
    }
    json_decref(tool_calls);
    (void)json_array_append_new(list, message);
    text->length = 0;
}

/* A message of the role "tool". Templates have no place for is_error: the text says it. */
static void add_result(Fields *fields, json_t *list, const json_t *block)
{
    const char *id = json_string_value(json_object_get(block, "tool_use_id"));
    json_t *content = plain_text(fields, "messages", json_object_get(block, "content"));
    if (id == NULL) fields_fail(fields, "messages", "messages: a tool_result block has no tool_use_id");
    if (json_is_true(json_object_get(block, "is_error"))) {
        json_t *told = json_pack("s+", "Error: ", json_string_value(content));
        json_decref(content);
        content = told;
    }
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", id != NULL ? id : "",
                                                "content", content != NULL ? content : json_string("")));
}

/* One message's blocks, as one or several messages. */
static void add_blocks(Fields *fields, json_t *list, const char *role, const json_t *blocks)
{
    Bytes text = {0}, reasoning = {0};
    json_t *calls = json_array(), *empty = json_object();
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        const json_t *block = json_array_get(blocks, i);
        const char *type = block_type(block);
        const json_t *value = json_object_get(block, "text");
        if (strcmp(type, "text") == 0 && json_is_string(value)) {
            (void)bytes_append(&text, json_string_value(value), json_string_length(value));
        } else if (strcmp(type, "thinking") == 0) {
            const char *thinking = json_string_value(json_object_get(block, "thinking"));
            (void)bytes_puts(&reasoning, thinking != NULL ? thinking : "");
        } else if (strcmp(type, "redacted_thinking") == 0) {
            continue;
        } else if (strcmp(type, "tool_use") == 0) {
            const char *id = json_string_value(json_object_get(block, "id"));
            const char *name = json_string_value(json_object_get(block, "name"));
            json_t *input = json_object_get(block, "input");
            if (name == NULL) fields_fail(fields, "messages", "messages: a tool_use block has no name");
            if (id == NULL) fields_fail(fields, "messages", "messages: a tool_use block has no id");
            if (input != NULL && !json_is_object(input))
                fields_fail(fields, "messages", "messages: the input of a tool_use block must be an object");
            (void)json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:O}}", "id", id != NULL ? id : "", "type",
                                                         "function", "function", "name", name != NULL ? name : "",
                                                         "arguments", input != NULL ? input : empty));
        } else if (strcmp(type, "tool_result") == 0) {
            add_result(fields, list, block);
        } else {
            fields_fail(fields, "messages", "messages: blocks of the type %.40s cannot be read by this model", type);
        }
    }
    add_message(list, role, &text, &reasoning, calls);
    json_decref(empty);
    bytes_free(&text);
    bytes_free(&reasoning);
}

json_t *anthropic_messages(Fields *fields)
{
    const json_t *messages = fields_member(fields, "messages", JSON_ARRAY, "a list of messages");
    const json_t *system = json_object_get(fields->object, "system");
    json_t *list = json_array();
    if (json_array_size(messages) == 0) fields_fail(fields, "messages", "messages must hold at least one message");
    if (system != NULL && !json_is_null(system))
        (void)json_array_append_new(
            list, json_pack("{s:s, s:o}", "role", "system", "content", plain_text(fields, "system", system)));
    for (size_t i = 0; i < json_array_size(messages) && fields_good(fields); i++) {
        const json_t *message = json_array_get(messages, i), *content = json_object_get(message, "content");
        const char *role = json_string_value(json_object_get(message, "role"));
        if (role == NULL || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
            fields_fail(fields, "messages", "messages: role must be user or assistant");
        else if (json_is_string(content))
            (void)json_array_append_new(list, json_pack("{s:s, s:O}", "role", role, "content", content));
        else if (json_is_array(content))
            add_blocks(fields, list, role, content);
        else
            fields_fail(fields, "messages", "messages: content must be a string or a list of blocks");
    }
    if (fields_good(fields)) return list;
    json_decref(list);
    return NULL;
}
