/* anthropic.c - POST /v1/messages and /v1/messages/count_tokens. */
#include "anthropic.h"

#include <string.h>

static const char *stop_reason(const Job *job)
{
    switch (job->stop_reason) {
    case IMP_STOP_LENGTH:
    case IMP_STOP_CONTEXT:
    case IMP_STOP_CANCELLED:
        return "max_tokens";
    case IMP_STOP_STRING:
        return "stop_sequence";
    default:
        return job->n_calls > 0 ? "tool_use" : "end_turn";
    }
}

/* Tokens that were read from the cache, and those that were pinned there, are counted beside the others in this
 * dialect, not among them. */
static json_t *usage(const Job *job)
{
    const int32_t created = job->pinned_tokens > job->cached_tokens ? job->pinned_tokens - job->cached_tokens : 0;
    return json_pack("{s:i, s:i, s:i, s:i}", "input_tokens", (int)(job->prompt_tokens - job->cached_tokens - created),
                     "cache_creation_input_tokens", (int)created, "cache_read_input_tokens", (int)job->cached_tokens,
                     "output_tokens", (int)job->generated_tokens);
}

static json_t *message_head(const Stream *stream)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:[], s:n, s:n}", "id", stream->exchange->id, "type", "message", "role",
                     "assistant", "model", stream->server->model_name, "content", "stop_reason", "stop_sequence");
}

static json_t *stop_sequence(const Stream *stream, const Job *job)
{
    const json_t *sequences = json_object_get(stream->exchange->request, "stop_sequences");
    const json_t *found = json_array_get(sequences, (size_t)(job->stop_index < 0 ? 0 : job->stop_index));
    return job->stop_reason == IMP_STOP_STRING && found != NULL ? json_copy((json_t *)(uintptr_t)found) : json_null();
}

/* ---- streaming ---- */

enum { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT, BLOCK_TOOL };

static void begin(Stream *stream)
{
    json_t *message = message_head(stream);
    const Job known = {.prompt_tokens = stream->jobs[0].prompt_tokens};
    (void)json_object_set_new(message, "usage", usage(&known));
    stream_event(stream, "message_start", json_pack("{s:s, s:o}", "type", "message_start", "message", message));
    stream_event(stream, "ping", json_pack("{s:s}", "type", "ping"));
}

static void close_block(Stream *stream)
{
    if (stream->open_block == BLOCK_NONE) return;
    if (stream->open_block == BLOCK_THINKING)
        stream_event(stream, "content_block_delta",
                     json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index",
                               (int)stream->block_index, "delta", "type", "signature_delta", "signature", "imp"));
    stream_event(stream, "content_block_stop",
                 json_pack("{s:s, s:i}", "type", "content_block_stop", "index", (int)stream->block_index));
    stream->open_block = BLOCK_NONE;
    stream->block_index++;
}

/* Takes the block, as it is before its deltas. */
static void start_block(Stream *stream, int kind, json_t *block)
{
    close_block(stream);
    stream_event(stream, "content_block_start",
                 json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", (int)stream->block_index,
                           "content_block", block));
    stream->open_block = kind;
}

static void open_block(Stream *stream, int kind)
{
    if (stream->open_block == kind) return;
    start_block(stream, kind,
                kind == BLOCK_THINKING ? json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", "")
                                       : json_pack("{s:s, s:s}", "type", "text", "text", ""));
}

/* Appends a delta that begins so and holds the text. Without a tree of JSON between, because it happens for every token. */
static void put_delta(Stream *stream, const char *beginning, const char *text, size_t length)
{
    char index[16];
    Bytes *out = &stream->out;
    (void)snprintf(index, sizeof index, "%d", (int)stream->block_index);
    (void)(bytes_puts(out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":") &&
           bytes_puts(out, index) && bytes_puts(out, beginning) && bytes_json(out, text, length) &&
           bytes_puts(out, "}}\n\n"));
}

static void piece(Stream *stream, int32_t choice, bool is_reasoning, const char *text, size_t length)
{
    (void)choice;
    open_block(stream, is_reasoning ? BLOCK_THINKING : BLOCK_TEXT);
    put_delta(stream,
              is_reasoning ? ",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":"
                           : ",\"delta\":{\"type\":\"text_delta\",\"text\":",
              text, length);
}

static void call(Stream *stream, int32_t choice, const ImpToolEvent *event)
{
    (void)choice;
    start_block(stream, BLOCK_TOOL,
                json_pack("{s:s, s:s, s:s, s:{}}", "type", "tool_use", "id", event->id, "name", event->name, "input"));
}

static void arguments(Stream *stream, int32_t choice, const ImpToolEvent *event)
{
    (void)choice;
    put_delta(stream, ",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":", event->text, event->length);
}

static void tokens(Stream *stream, int32_t choice, const JobToken *list, size_t n_tokens)
{
    (void)stream, (void)choice, (void)list, (void)n_tokens; /* this dialect has no probabilities, and asks for none */
}

static void choice_end(Stream *stream, int32_t choice)
{
    const Job *job = &stream->jobs[choice];
    if (job->status != IMP_OK) {
        close_block(stream);
        stream_event(stream, "error", error_object(DIALECT_ANTHROPIC, http_status_of(job->status), NULL, job->error));
        return;
    }
    if (stream->block_index == 0)
        open_block(stream, stream->open_block == BLOCK_NONE ? BLOCK_TEXT : stream->open_block);
    close_block(stream);
    json_t *delta =
        json_pack("{s:s, s:o}", "stop_reason", stop_reason(job), "stop_sequence", stop_sequence(stream, job));
    stream_event(stream, "message_delta",
                 json_pack("{s:s, s:o, s:o}", "type", "message_delta", "delta", delta, "usage", usage(job)));
}

static void end(Stream *stream) { stream_event(stream, "message_stop", json_pack("{s:s}", "type", "message_stop")); }

static const StreamFormat anthropic_stream_format = {
    .begin = begin,
    .piece = piece,
    .tokens = tokens,
    .call = call,
    .arguments = arguments,
    .choice_end = choice_end,
    .end = end,
    .ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
};

/* ---- whole answers ---- */

/* tool_use blocks. Arguments that an answer's end has cut off are no JSON: of these nothing is left. */
static void add_calls(json_t *content, const json_t *calls)
{
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        const char *arguments = json_string_value(json_object_get(function, "arguments"));
        json_t *input = json_loads(arguments != NULL ? arguments : "", 0, NULL);
        /* Integers beyond 64 bits are valid, too. */
        if (input == NULL) input = json_loads(arguments != NULL ? arguments : "", JSON_DECODE_INT_AS_REAL, NULL);
        if (!json_is_object(input)) {
            json_decref(input);
            input = json_object();
        }
        (void)json_array_append_new(content, json_pack("{s:s, s:O, s:O, s:o}", "type", "tool_use", "id",
                                                       json_object_get(call, "id"), "name",
                                                       json_object_get(function, "name"), "input", input));
    }
}

static enum MHD_Result reply_whole(Stream *stream)
{
    Exchange *exchange = stream->exchange;
    const Job *job = &stream->jobs[0];
    enum MHD_Result result;
    if (!stream_wait(stream)) {
        result = MHD_NO;
    } else if (job->status != IMP_OK) {
        result = reply_error(exchange, http_status_of(job->status), NULL, "%s", job->error);
    } else {
        WholeAnswer answer;
        json_t *body = message_head(stream), *content = json_object_get(body, "content");
        (void)stream_collect(stream, 0, &answer);
        if (answer.reasoning.length > 0)
            (void)json_array_append_new(content,
                                        json_pack("{s:s, s:s%, s:s}", "type", "thinking", "thinking",
                                                  answer.reasoning.data, answer.reasoning.length, "signature", "imp"));
        if (answer.text.length > 0 || (answer.reasoning.length == 0 && answer.calls == NULL))
            (void)json_array_append_new(
                content, json_pack("{s:s, s:s%}", "type", "text", "text", answer.text.data, answer.text.length));
        add_calls(content, answer.calls);
        (void)json_object_set_new(body, "stop_reason", json_string(stop_reason(job)));
        (void)json_object_set_new(body, "stop_sequence", stop_sequence(stream, job));
        (void)json_object_set_new(body, "usage", usage(job));
        whole_answer_free(&answer);
        result = reply_json(exchange, MHD_HTTP_OK, body);
    }
    stream_free(stream);
    return result;
}

ImpStatus anthropic_prompt(Server *server, Fields *fields, const RequestParams *params, Prompt *out)
{
    json_t *messages = anthropic_messages(fields), *tools = anthropic_tools(fields);
    *out = (Prompt){0};
    if (!fields_good(fields)) {
        json_decref(messages);
        json_decref(tools);
        return IMP_OK;
    }
    const json_t *offered = params->use.list != NULL ? tools : NULL;
    tool_use_adapt(server, &params->use, offered, messages);
    json_t *variables = json_pack("{s:o, s:O?, s:b, s:n}", "messages", messages, "tools", offered, "add_generation_prompt", 1,
                                  "documents");
    json_decref(tools);
    if (variables != NULL) params_template_variables(params, variables);
    const ImpStatus status = prompt_from_chat(server, variables, out);
    json_decref(variables);
    return status;
}

enum MHD_Result route_messages(Exchange *exchange)
{
    Fields fields = {.object = exchange->request};
    RequestParams params;
    Prompt prompt;
    params_read(exchange->server, &fields, "stop_sequences", &params);
    if (json_object_get(exchange->request, "max_tokens") == NULL)
        fields_fail(&fields, "max_tokens", "max_tokens: field required");
    if (params.sampling.max_tokens < 1) fields_fail(&fields, "max_tokens", "max_tokens must be at least 1");
    if (params.n != 1) fields_fail(&fields, "n", "n is not a field of this dialect");
    tool_use_read_anthropic(exchange->server, &fields, &params.use);
    if (params.use.list != NULL && params.constraint != NULL && params.answer_schema == NULL)
        fields_fail(&fields, "tools", "tools: not together with regex or grammar");
    ImpStatus status = anthropic_prompt(exchange->server, &fields, &params, &prompt);
    if (status == IMP_OK && fields_good(&fields)) anthropic_read_pin(exchange, &fields, &params, &prompt);
    if (status == IMP_OK && fields_good(&fields)) status = params_constrain_tools(exchange->server, &prompt, &params);
    Stream *stream = NULL;
    if (status == IMP_OK && fields_good(&fields)) {
        stream = stream_create(exchange, &anthropic_stream_format);
        if (stream != NULL) stream_take_parts(stream, &params);
        status = stream != NULL ? stream_submit(stream, &params, &prompt, false, 0) : IMP_ERR_OUT_OF_MEMORY;
    }
    prompt_free(&prompt);
    params_free(&params);
    if (status != IMP_OK || !fields_good(&fields)) {
        const enum MHD_Result result = !fields_good(&fields)
                                           ? reply_error(exchange, 400, fields.param, "%s", fields.error)
                                           : reply_imp_error(exchange, status);
        stream_free(stream);
        return result;
    }
    return params.stream ? stream_reply(stream) : reply_whole(stream);
}

enum MHD_Result route_count_tokens(Exchange *exchange)
{
    Fields fields = {.object = exchange->request};
    RequestParams params = {0};
    Prompt prompt;
    params_read_reasoning(exchange->server, &fields, &params);
    tool_use_read_anthropic(exchange->server, &fields, &params.use);
    const ImpStatus status = anthropic_prompt(exchange->server, &fields, &params, &prompt);
    const int32_t n_tokens = prompt.n_tokens;
    prompt_free(&prompt);
    params_free(&params);
    if (!fields_good(&fields)) return reply_error(exchange, 400, fields.param, "%s", fields.error);
    if (status != IMP_OK) return reply_imp_error(exchange, status);
    return reply_json(exchange, MHD_HTTP_OK, json_pack("{s:i}", "input_tokens", (int)n_tokens));
}
