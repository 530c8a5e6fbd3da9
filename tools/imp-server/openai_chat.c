/* openai_chat.c - POST /v1/chat/completions. */
#include "openai.h"

#include <string.h>

/* One part of a message's content: text, or nothing that can be read here. */
static void join_part(Fields *fields, const json_t *part, Bytes *text)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *value = json_object_get(part, "text");
    if (type != NULL && strcmp(type, "text") == 0 && json_is_string(value)) {
        (void)bytes_append(text, json_string_value(value), json_string_length(value));
    } else if (type != NULL && strcmp(type, "refusal") == 0) {
        return;
    } else {
        fields_fail(fields, "messages", "messages: parts of the type %.40s cannot be read by this model",
                    type != NULL ? type : "?");
    }
}

/* A string for every kind of content. */
static json_t *read_content(Fields *fields, const json_t *content)
{
    if (json_is_string(content)) return json_copy((json_t *)(uintptr_t)content);
    if (content == NULL || json_is_null(content)) return json_string("");
    if (!json_is_array(content)) {
        fields_fail(fields, "messages", "messages: content must be a string or a list of parts");
        return NULL;
    }
    Bytes text = {0};
    for (size_t i = 0; i < json_array_size(content); i++) join_part(fields, json_array_get(content, i), &text);
    json_t *joined = json_stringn(text.data != NULL ? text.data : "", text.length);
    bytes_free(&text);
    return joined;
}

/* Arguments travel as text, and templates want them as what they mean. */
static json_t *read_tool_calls(Fields *fields, const json_t *calls)
{
    json_t *copy = json_deep_copy(calls);
    for (size_t i = 0; i < json_array_size(copy); i++) {
        json_t *function = json_object_get(json_array_get(copy, i), "function");
        if (!json_is_string(json_object_get(function, "name"))) {
            fields_fail(fields, "messages", "messages: tool call %zu has no function name", i);
            continue;
        }
        const char *arguments = json_string_value(json_object_get(function, "arguments"));
        const bool readable = arguments != NULL && json_excess(arguments, strlen(arguments)) == NULL;
        json_error_t error;
        json_t *parsed = readable ? json_loads(arguments, 0, &error) : NULL;
        if (readable && parsed == NULL && json_error_code(&error) == json_error_numeric_overflow) {
            char sentence[300];
            json_explain(arguments, strlen(arguments), &error, sentence, sizeof sentence);
            fields_fail(fields, "messages", "messages: what tool call %zu has as arguments %s", i, sentence);
        }
        if (parsed == NULL && arguments != NULL && arguments[strspn(arguments, " \n\r\t")] == '\0') parsed = json_object();
        if (parsed != NULL) (void)json_object_set_new(function, "arguments", parsed);
    }
    return copy;
}

static json_t *read_message(Fields *fields, const json_t *message)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    const char *role = json_string_value(json_object_get(message, "role"));
    size_t known = 0;
    while (known < sizeof roles / sizeof roles[0] && (role == NULL || strcmp(role, roles[known]) != 0)) known++;
    if (role == NULL || known == sizeof roles / sizeof roles[0]) {
        fields_fail(fields, "messages", "messages: role must be system, developer, user, assistant or tool");
        return NULL;
    }
    json_t *copy = json_copy((json_t *)(uintptr_t)message); /* names, ids and whatever else a template may want */
    if (strcmp(role, "developer") == 0) (void)json_object_set_new(copy, "role", json_string("system"));
    if (strcmp(role, "function") == 0) (void)json_object_set_new(copy, "role", json_string("tool"));
    (void)json_object_set_new(copy, "content", read_content(fields, json_object_get(message, "content")));
    const json_t *calls = json_object_get(message, "tool_calls");
    if (json_is_array(calls)) (void)json_object_set_new(copy, "tool_calls", read_tool_calls(fields, calls));
    return copy;
}

json_t *openai_messages(Fields *fields)
{
    const json_t *messages = fields_member(fields, "messages", JSON_ARRAY, "a list of messages");
    if (json_array_size(messages) == 0) {
        fields_fail(fields, "messages", "messages must be a list with at least one message");
        return NULL;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(messages) && fields_good(fields); i++)
        (void)json_array_append_new(list, read_message(fields, json_array_get(messages, i)));
    if (fields_good(fields)) return list;
    json_decref(list);
    return NULL;
}

/* Everything that the template sees. A new reference. */
static json_t *template_variables(Server *server, Fields *fields, const RequestParams *params)
{
    json_t *messages = openai_messages(fields);
    const json_t *documents = fields_member(fields, "documents", JSON_ARRAY, "a list of documents");
    const json_t *extra = fields_member(fields, "chat_template_kwargs", JSON_OBJECT, "an object");
    bool add_prompt = true;
    fields_bool(fields, "add_generation_prompt", &add_prompt);
    if (!fields_good(fields)) {
        json_decref(messages);
        return NULL;
    }
    tool_use_adapt(server, &params->use, params->use.list, messages);
    json_t *variables = json_pack("{s:o, s:O?, s:b}", "messages", messages, "tools", params->use.list,
                                  "add_generation_prompt", add_prompt);
    (void)json_object_set(variables, "documents", documents != NULL ? (json_t *)(uintptr_t)documents : json_null());
    if (extra != NULL) (void)json_object_update_missing(variables, (json_t *)(uintptr_t)extra);
    params_template_variables(params, variables);
    return variables;
}

static json_t *whole_choice(const Stream *stream, const WholeAnswer *answer, bool want_logprobs)
{
    json_t *message = json_pack("{s:s, s:s%}", "role", "assistant", "content", answer->text.data, answer->text.length);
    if (answer->calls != NULL) {
        if (answer->text.length == 0) (void)json_object_set_new(message, "content", json_null());
        (void)json_object_set(message, "tool_calls", answer->calls);
    }
    if (answer->reasoning.length > 0)
        (void)json_object_set_new(message, "reasoning_content",
                                  json_stringn(answer->reasoning.data, answer->reasoning.length));
    json_t *logprobs = want_logprobs ? openai_chat_logprobs(stream->server, answer->tokens, answer->n_tokens) : NULL;
    return json_pack("{s:o, s:o?}", "message", message, "logprobs", logprobs);
}

enum MHD_Result route_chat_completions(Exchange *exchange)
{
    Server *server = exchange->server;
    Fields fields = {.object = exchange->request};
    RequestParams params;
    Prompt prompt = {0};
    bool want_logprobs = false, include_usage = false;
    int64_t n_top = 0;
    params_read(server, &fields, "stop", &params);
    fields_bool(&fields, "logprobs", &want_logprobs);
    fields_int(&fields, "top_logprobs", 0, 20, &n_top);
    tool_use_read_openai(server, &fields, &params.use);
    if (params.use.list != NULL && params.constraint != NULL && params.answer_schema == NULL)
        fields_fail(&fields, "tools", "tools: not together with regex or grammar");
    const json_t *options = fields_member(&fields, "stream_options", JSON_OBJECT, "an object");
    include_usage = json_is_true(json_object_get(options, "include_usage"));
    json_t *variables = template_variables(server, &fields, &params);
    if (!fields_good(&fields)) {
        json_decref(variables);
        params_free(&params);
        return reply_error(exchange, 400, fields.param, "%s", fields.error);
    }
    ImpStatus status = prompt_from_chat(server, variables, &prompt);
    json_decref(variables);
    const char *param = NULL;
    if (status == IMP_OK) {
        status = params_constrain_tools(server, &prompt, &params);
        param = status != IMP_OK ? "tools" : NULL;
    }
    Stream *stream = status == IMP_OK ? stream_create(exchange, &openai_stream_format) : NULL;
    if (stream != NULL) stream_take_parts(stream, &params);
    if (status == IMP_OK)
        status = stream == NULL ? IMP_ERR_OUT_OF_MEMORY
                                : stream_submit(stream, &params, &prompt, want_logprobs, (int32_t)n_top);
    prompt_free(&prompt);
    params_free(&params);
    if (status != IMP_OK) {
        const enum MHD_Result result = param != NULL ? reply_error(exchange, http_status_of(status), param, "%s", imp_last_error())
                                                     : reply_imp_error(exchange, status);
        stream_free(stream);
        return result;
    }
    stream->chat = true;
    stream->include_usage = include_usage;
    return params.stream ? stream_reply(stream)
                         : openai_reply_whole(stream, "chat.completion", whole_choice, want_logprobs);
}
