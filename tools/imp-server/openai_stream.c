/* openai_stream.c - chunks, probabilities, usage. */
#include "openai.h"

#include <stdlib.h>
#include <string.h>

const char *openai_finish_reason(const Job *job)
{
    switch (job->stop_reason) {
    case IMP_STOP_LENGTH:
    case IMP_STOP_CONTEXT:
    case IMP_STOP_CANCELLED: /* ran into its time-out */
        return "length";
    default:
        return job->n_calls > 0 ? "tool_calls" : "stop";
    }
}

const Job *first_failure(const Stream *stream)
{
    for (int32_t i = 0; i < stream->n_jobs; i++)
        if (stream->jobs[i].done && stream->jobs[i].status != IMP_OK) return &stream->jobs[i];
    return NULL;
}

json_t *openai_usage(const Stream *stream)
{
    int64_t generated = 0, cached = 0, prompt = 0, reasoning = 0;
    for (int32_t i = 0; i < stream->n_jobs; i++) {
        const Job *job = &stream->jobs[i];
        generated += job->generated_tokens;
        reasoning += job->reasoning_tokens;
        /* A prompt counts once, however many choices; what the first did not have to compute. */
        if (job->first_choice) cached += job->cached_tokens;
        if (job->first_choice) prompt += job->prompt_tokens;
    }
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)prompt, "completion_tokens",
                     (json_int_t)generated, "total_tokens", (json_int_t)(prompt + generated), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)cached, "completion_tokens_details", "reasoning_tokens",
                     (json_int_t)reasoning);
}

/* The token's text; bytes that are no UTF-8 show as U+FFFD, and as what they are in "bytes". */
static json_t *token_text(const Server *server, int32_t token, const char **bytes, size_t *length)
{
    *bytes = imp_token_bytes(server->model, token, length);
    if (*bytes == NULL) *bytes = "";
    json_t *text = json_stringn(*bytes, *length);
    return text != NULL ? text : json_string("\xEF\xBF\xBD");
}

/* JSON has no infinities. */
static double json_logprob(float logprob) { return logprob > -9999.0f ? (double)logprob : -9999.0; }

static json_t *token_entry(const Server *server, int32_t token, float logprob)
{
    const char *bytes;
    size_t length = 0;
    json_t *text = token_text(server, token, &bytes, &length), *list = json_array();
    for (size_t i = 0; i < length; i++) (void)json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    return json_pack("{s:o, s:f, s:o}", "token", text, "logprob", json_logprob(logprob), "bytes", list);
}

json_t *openai_chat_logprobs(const Server *server, const JobToken *tokens, size_t n_tokens)
{
    json_t *content = json_array();
    for (size_t i = 0; i < n_tokens; i++) {
        json_t *entry = token_entry(server, tokens[i].token, tokens[i].logprob), *top = json_array();
        for (int32_t j = 0; j < tokens[i].n_top; j++)
            (void)json_array_append_new(top, token_entry(server, tokens[i].top[j].token, tokens[i].top[j].logprob));
        (void)json_object_set_new(entry, "top_logprobs", top);
        (void)json_array_append_new(content, entry);
    }
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

json_t *openai_text_logprobs(const Server *server, const JobToken *tokens, size_t n_tokens, int64_t *offset)
{
    json_t *texts = json_array(), *logprobs = json_array(), *tops = json_array(), *offsets = json_array();
    for (size_t i = 0; i < n_tokens; i++) {
        const char *bytes;
        size_t length = 0;
        (void)json_array_append_new(texts, token_text(server, tokens[i].token, &bytes, &length));
        (void)json_array_append_new(logprobs, json_real(json_logprob(tokens[i].logprob)));
        (void)json_array_append_new(offsets, json_integer(*offset));
        *offset += (int64_t)length;
        json_t *top = json_object();
        for (int32_t j = 0; j < tokens[i].n_top; j++) {
            json_t *text = token_text(server, tokens[i].top[j].token, &bytes, &length);
            (void)json_object_set_new(top, json_string_value(text), json_real(json_logprob(tokens[i].top[j].logprob)));
            json_decref(text);
        }
        (void)json_array_append_new(tops, top);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", texts, "token_logprobs", logprobs, "top_logprobs", tops,
                     "text_offset", offsets);
}

json_t *openai_head(const Stream *stream, const char *object)
{
    return json_pack("{s:s, s:s, s:I, s:s}", "id", stream->exchange->id, "object", object, "created",
                     (json_int_t)stream->created, "model", stream->server->model_name);
}

/* ---- chunks ---- */

/* Takes `fields`, the choice's own members. */
static void send_choice(Stream *stream, int32_t choice, json_t *fields, const char *finish_reason)
{
    json_t *chunk = openai_head(stream, stream->chat ? "chat.completion.chunk" : "text_completion");
    (void)json_object_set_new(fields, "index", json_integer(choice));
    (void)json_object_set_new(fields, "finish_reason",
                              finish_reason != NULL ? json_string(finish_reason) : json_null());
    (void)json_object_set_new(chunk, "choices", json_pack("[o]", fields));
    if (stream->include_usage) (void)json_object_set_new(chunk, "usage", json_null());
    stream_event(stream, NULL, chunk);
}

static void begin(Stream *stream)
{
    for (int32_t i = 0; i < stream->n_jobs && stream->chat; i++)
        send_choice(stream, i, json_pack("{s:{s:s, s:s}}", "delta", "role", "assistant", "content", ""), NULL);
}

/* {"id": …, "choices": [{ of every chunk. */
static bool write_head(Stream *stream)
{
    char created[32];
    Bytes *head = &stream->head;
    if (head->length > 0) return true;
    (void)snprintf(created, sizeof created, "%lld", (long long)stream->created);
    return bytes_puts(head, "data: {\"id\":\"") && bytes_puts(head, stream->exchange->id) &&
           bytes_puts(head, stream->chat ? "\",\"object\":\"chat.completion.chunk\",\"created\":"
                                         : "\",\"object\":\"text_completion\",\"created\":") &&
           bytes_puts(head, created) && bytes_puts(head, ",\"model\":") &&
           bytes_json(head, stream->server->model_name, strlen(stream->server->model_name)) &&
           bytes_puts(head, ",\"choices\":[{\"index\":");
}

/* Written without a tree of JSON between, because it happens for every token. */
static void piece(Stream *stream, int32_t choice, bool is_reasoning, const char *text, size_t length)
{
    char index[16];
    Bytes *out = &stream->out;
    (void)snprintf(index, sizeof index, "%d", (int)choice);
    const char *opening = !stream->chat  ? ",\"text\":"
                          : is_reasoning ? ",\"delta\":{\"reasoning_content\":"
                                         : ",\"delta\":{\"content\":";
    (void)(write_head(stream) && bytes_append(out, stream->head.data, stream->head.length) && bytes_puts(out, index) &&
           bytes_puts(out, opening) && bytes_json(out, text, length) && bytes_puts(out, stream->chat ? "}" : "") &&
           bytes_puts(out, ",\"finish_reason\":null}]") &&
           bytes_puts(out, stream->include_usage ? ",\"usage\":null}\n\n" : "}\n\n"));
}

/* One entry of the delta's tool_calls. */
static void send_call(Stream *stream, int32_t choice, json_t *entry)
{
    send_choice(stream, choice, json_pack("{s:{s:[o]}}", "delta", "tool_calls", entry), NULL);
}

static void call(Stream *stream, int32_t choice, const ImpToolEvent *event)
{
    send_call(stream, choice, json_pack("{s:i, s:s, s:s, s:{s:s, s:s}}", "index", (int)event->index, "id", event->id, "type",
                                        "function", "function", "name", event->name, "arguments", ""));
}

static void arguments(Stream *stream, int32_t choice, const ImpToolEvent *event)
{
    send_call(stream, choice, json_pack("{s:i, s:{s:s%}}", "index", (int)event->index, "function", "arguments", event->text,
                                        event->length));
}

static void tokens(Stream *stream, int32_t choice, const JobToken *list, size_t n_tokens)
{
    if (stream->chat)
        send_choice(stream, choice,
                    json_pack("{s:{}, s:o}", "delta", "logprobs", openai_chat_logprobs(stream->server, list, n_tokens)),
                    NULL);
    else
        send_choice(stream, choice,
                    json_pack("{s:s, s:o}", "text", "", "logprobs",
                              openai_text_logprobs(stream->server, list, n_tokens, &stream->text_offset[choice])),
                    NULL);
}

static void choice_end(Stream *stream, int32_t choice)
{
    const Job *job = &stream->jobs[choice];
    if (job->status != IMP_OK) {
        stream_event(stream, NULL, error_object(DIALECT_OPENAI, http_status_of(job->status), NULL, job->error));
        return;
    }
    send_choice(stream, choice, stream->chat ? json_pack("{s:{}}", "delta") : json_pack("{s:s}", "text", ""),
                openai_finish_reason(job));
}

static void end(Stream *stream)
{
    if (stream->include_usage) {
        json_t *chunk = openai_head(stream, stream->chat ? "chat.completion.chunk" : "text_completion");
        (void)json_object_set_new(chunk, "choices", json_array());
        (void)json_object_set_new(chunk, "usage", openai_usage(stream));
        stream_event(stream, NULL, chunk);
    }
    (void)bytes_puts(&stream->out, "data: [DONE]\n\n");
}

const StreamFormat openai_stream_format = {
    .begin = begin,
    .piece = piece,
    .tokens = tokens,
    .call = call,
    .arguments = arguments,
    .choice_end = choice_end,
    .end = end,
    .ping = ": ping\n\n",
};
