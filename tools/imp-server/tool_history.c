/*
 * tool_history.c - earlier calls and their results, as the model's template can show them (tool_ways.c). What a template has no place for
 * at all is written into the messages' text.
 */
#include "tool_use.h"
#include "tool_ways.h"

#include <stdlib.h>
#include <string.h>

/* ---- calls as the template takes them ---- */

/* Arguments come parsed; those that could not be are text, which some templates do not take. */
static void pass_arguments(const ToolWays *ways, json_t *function)
{
    json_t *arguments = json_object_get(function, "arguments");
    if (json_is_string(arguments) && !ways->takes_text) {
        (void)json_object_set_new(function, "arguments", json_pack("{s:O}", "arguments", arguments));
    } else if (ways->arguments_as_text && arguments != NULL && !json_is_string(arguments)) {
        char *text = json_dumps(arguments, JSON_ENCODE_ANY);
        if (text != NULL) (void)json_object_set_new(function, "arguments", json_string(text));
        free(text);
    }
}

static void pass_calls(const ToolWays *ways, json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls"), *content = json_object_get(message, "content");
    if (json_array_size(calls) == 0) return;
    if (ways->content_is_null && json_string_length(content) == 0) (void)json_object_set_new(message, "content", json_null());
    for (size_t i = 0; i < json_array_size(calls); i++)
        pass_arguments(ways, json_object_get(json_array_get(calls, i), "function"));
}

static bool has_role(const json_t *message, const char *role)
{
    const char *own = json_string_value(json_object_get(message, "role"));
    return own != NULL && strcmp(own, role) == 0;
}

/* The result of a call among the tool messages from messages[at] on. */
static size_t find_result(const json_t *messages, size_t at, const char *id)
{
    while (at < json_array_size(messages) && has_role(json_array_get(messages, at), "tool")) {
        const char *own = json_string_value(json_object_get(json_array_get(messages, at), "tool_call_id"));
        if (own != NULL && id != NULL && strcmp(own, id) == 0) return at;
        at++;
    }
    return SIZE_MAX;
}

/* Several calls in messages[at], which the template cannot show, become messages of one call each, with its result behind it. */
static void split_calls(json_t *messages, size_t at)
{
    json_t *message = json_incref(json_array_get(messages, at)), *calls = json_incref(json_object_get(message, "tool_calls"));
    for (size_t i = 0; i < json_array_size(calls) && json_array_size(calls) > 1; i++) {
        json_t *call = json_array_get(calls, i);
        if (i > 0) (void)json_array_insert_new(messages, at, json_pack("{s:s, s:s}", "role", "assistant", "content", ""));
        (void)json_object_set_new(json_array_get(messages, at), "tool_calls", json_pack("[O]", call));
        const size_t result = find_result(messages, ++at, json_string_value(json_object_get(call, "id")));
        if (result == SIZE_MAX) continue;
        json_t *moved = json_incref(json_array_get(messages, result));
        (void)json_array_remove(messages, result);
        (void)json_array_insert_new(messages, at++, moved);
    }
    json_decref(calls);
    json_decref(message);
}

/* Where the user cannot speak behind a result the assistant says nothing first. */
static void answer_results(json_t *messages)
{
    for (size_t i = 1; i < json_array_size(messages); i++)
        if (has_role(json_array_get(messages, i), "user") && has_role(json_array_get(messages, i - 1), "tool"))
            (void)json_array_insert_new(messages, i, json_pack("{s:s, s:s}", "role", "assistant", "content", ""));
}

static void fit(const ToolWays *ways, json_t *messages)
{
    for (size_t i = 0; ways->one_call && i < json_array_size(messages); i++) split_calls(messages, i);
    if (ways->no_user_behind_result) answer_results(messages);
    for (size_t i = 0; i < json_array_size(messages); i++) pass_calls(ways, json_array_get(messages, i));
}

/* ---- names and ids ---- */

/* The name of the function that was called under an id; NULL: none was. */
static const char *called_name(const json_t *messages, const char *id)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t c = 0; c < json_array_size(calls); c++) {
            const json_t *call = json_array_get(calls, c);
            const char *own = json_string_value(json_object_get(call, "id"));
            if (own != NULL && strcmp(own, id) == 0) return json_string_value(json_object_get(json_object_get(call, "function"), "name"));
        }
    }
    return NULL;
}

/* Some templates want results to say whose they are. */
static void name_result(const json_t *messages, json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const char *id = json_string_value(json_object_get(message, "tool_call_id"));
    if (role == NULL || strcmp(role, "tool") != 0 || id == NULL || json_object_get(message, "name") != NULL) return;
    const char *name = called_name(messages, id);
    if (name != NULL) (void)json_object_set_new(message, "name", json_string(name));
}

/* Nine letters and digits out of any id; those that are so already stay. */
static void shorten_id(json_t *object, const char *key)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *id = json_string_value(json_object_get(object, key));
    char shorter[10] = "";
    if (id == NULL || (strlen(id) == 9 && strspn(id, letters) == 9)) return;
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char *c = id; *c != '\0'; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3ULL;
    for (size_t i = 0; i < 9; i++, hash /= sizeof letters - 1) shorter[i] = letters[hash % (sizeof letters - 1)];
    (void)json_object_set_new(object, key, json_string(shorter));
}

static void shorten_ids(json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls");
    shorten_id(message, "tool_call_id");
    for (size_t i = 0; i < json_array_size(calls); i++) shorten_id(json_array_get(calls, i), "id");
}

/* ---- what the template has no place for ---- */

/* Appends a call as the model writes it. */
static void write_call(const ToolUse *use, const char *name, const char *arguments, Bytes *out)
{
    size_t length = 0;
    char *text = NULL;
    if (imp_tools_write_call(use->tools, name, arguments, NULL, 0, &length) == IMP_OK) text = malloc(length + 1);
    if (text != NULL && imp_tools_write_call(use->tools, name, arguments, text, length + 1, &length) == IMP_OK)
        (void)bytes_append(out, text, length);
    free(text);
}

static void write_calls(const ToolUse *use, json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls");
    const char *content = json_string_value(json_object_get(message, "content"));
    Bytes text = {0};
    if (json_array_size(calls) == 0) return;
    (void)bytes_puts(&text, content != NULL ? content : "");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        const json_t *given = json_object_get(function, "arguments");
        char *arguments = json_is_object(given) ? json_dumps(given, 0) : NULL;
        if (text.length > 0) (void)bytes_puts(&text, "\n");
        write_call(use, name != NULL ? name : "", arguments != NULL ? arguments : "{}", &text);
        free(arguments);
    }
    (void)json_object_set_new(message, "content", json_stringn(text.data, text.length));
    (void)json_object_del(message, "tool_calls");
    bytes_free(&text);
}

/* A result becomes the user's words. */
static void tell_result(json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const char *name = json_string_value(json_object_get(message, "name"));
    if (role == NULL || strcmp(role, "tool") != 0) return;
    json_t *result = json_object();
    if (name != NULL) (void)json_object_set_new(result, "name", json_string(name));
    (void)json_object_set(result, "content", json_object_get(message, "content"));
    char *json = json_dumps(result, 0);
    Bytes text = {0};
    (void)(bytes_puts(&text, "<tool_response>\n") && bytes_puts(&text, json != NULL ? json : "") &&
           bytes_puts(&text, "\n</tool_response>"));
    (void)json_object_clear(message);
    (void)json_object_set_new(message, "role", json_string("user"));
    (void)json_object_set_new(message, "content", json_stringn(text.data != NULL ? text.data : "", text.length));
    bytes_free(&text);
    free(json);
    json_decref(result);
}

/* Several user messages in a row are one: many templates want turns to alternate. */
static void join_user_messages(json_t *messages)
{
    for (size_t i = 1; i < json_array_size(messages);) {
        json_t *before = json_array_get(messages, i - 1), *message = json_array_get(messages, i);
        const char *a = json_string_value(json_object_get(before, "role")), *b = json_string_value(json_object_get(message, "role"));
        if (a == NULL || b == NULL || strcmp(a, "user") != 0 || strcmp(b, "user") != 0) {
            i++;
            continue;
        }
        json_t *joined = json_pack("s++", json_string_value(json_object_get(before, "content")), "\n",
                                   json_string_value(json_object_get(message, "content")));
        if (joined == NULL) return;
        (void)json_object_set_new(before, "content", joined);
        (void)json_array_remove(messages, i);
    }
}

/* What the model is told where its template tells it nothing. */
static void describe_tools(const ToolUse *use, const json_t *list, Bytes *text)
{
    (void)bytes_puts(text, "You can call tools. Each of these lines describes one, its parameters as a JSON Schema:\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *function = json_object_get(entry, "function");
        char *json = json_dumps(function != NULL ? function : entry, 0);
        (void)(bytes_puts(text, json != NULL ? json : "") && bytes_puts(text, "\n"));
        free(json);
    }
    (void)bytes_puts(text, "To call a tool, write its name and its arguments like this, and nothing behind it:\n");
    write_call(use, "tool_name", "{\"parameter\": \"value\"}", text);
    (void)bytes_puts(text, "\nYou then get the result. When no tool is needed, answer in plain words.");
}

static void tell_of_tools(const ToolUse *use, const json_t *list, json_t *messages)
{
    json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    const bool has_system = role != NULL && strcmp(role, "system") == 0;
    const char *content = has_system ? json_string_value(json_object_get(first, "content")) : NULL;
    Bytes text = {0};
    if (content != NULL && content[0] != '\0') (void)(bytes_puts(&text, content) && bytes_puts(&text, "\n\n"));
    describe_tools(use, list, &text);
    json_t *message = json_pack("{s:s, s:s%}", "role", "system", "content", text.data, text.length);
    if (has_system) (void)json_array_set_new(messages, 0, message);
    else (void)json_array_insert_new(messages, 0, message);
    bytes_free(&text);
}

/* Some templates look for the tools, as text, in the system message. */
static void hand_tools_to_system(const json_t *list, json_t *messages)
{
    json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    char *text = json_dumps(list, 0);
    if (role == NULL || strcmp(role, "system") != 0) {
        first = json_pack("{s:s, s:s}", "role", "system", "content", "");
        (void)json_array_insert_new(messages, 0, first);
    }
    if (text != NULL) (void)json_object_set_new(first, "tools", json_string(text));
    free(text);
}

void tool_use_adapt(Server *server, const ToolUse *use, const json_t *list, json_t *messages)
{
    const unsigned missing = imp_tools_missing(use->tools);
    bool has_calls = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        has_calls = has_calls || json_array_size(json_object_get(message, "tool_calls")) > 0;
        name_result(messages, message);
    }
    if (has_calls && (missing & IMP_TOOLS_NO_CALLS) == 0) {
        const ToolWays ways = tool_ways_of(server);
        fit(&ways, messages);
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        if (imp_tools_have_short_ids(use->tools)) shorten_ids(message);
        if ((missing & IMP_TOOLS_NO_CALLS) != 0) write_calls(use, message);
        if ((missing & IMP_TOOLS_NO_RESULTS) != 0) tell_result(message);
    }
    if ((missing & IMP_TOOLS_NO_RESULTS) != 0 && has_calls) join_user_messages(messages);
    if (list == NULL) return;
    if ((missing & IMP_TOOLS_IN_SYSTEM) != 0) hand_tools_to_system(list, messages);
    else if ((missing & IMP_TOOLS_NO_LIST) != 0) tell_of_tools(use, list, messages);
}
