/*
 * stream.c - the connection's thread sleeps in the reader until the engine has something, and formats it there.
 */
#include "stream.h"

#include "imp/constrain.h"

#include <stdlib.h>
#include <string.h>

Stream *stream_create(Exchange *exchange, const StreamFormat *format)
{
    Stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->format = format;
    stream->server = exchange->server;
    stream->exchange = exchange;
    exchange_hold(exchange);
    stream->created = time(NULL);
    stream->peer = peer_socket(exchange);
    job_group_init(&stream->group);
    return stream;
}

static void write_log(const Stream *stream)
{
    if (stream->log_prompt == NULL) return;
    for (int32_t i = 0; i < stream->n_jobs; i++) {
        const Job *job = &stream->jobs[i];
        log_exchange(stream->exchange, stream->log_prompt, job->answer.data != NULL ? job->answer.data : "",
                     job->prompt_tokens, job->cached_tokens, job->generated_tokens);
    }
}

void stream_free(Stream *stream)
{
    if (stream == NULL) return;
    write_log(stream);
    for (int32_t i = 0; i < stream->n_jobs; i++) job_close(&stream->jobs[i], stream->server);
    job_group_free(&stream->group);
    for (int32_t i = 0; i < stream->n_jobs; i++) imp_tool_reader_free(stream->targets[i].reader);
    imp_constraint_free(stream->constraint);
    imp_tools_free(stream->tools);
    bytes_free(&stream->out);
    bytes_free(&stream->head);
    free(stream->log_prompt);
    exchange_release(stream->exchange);
    free(stream);
}

void stream_take_parts(Stream *stream, RequestParams *params)
{
    stream->constraint = params->constraint;
    params->constraint = NULL;
    if (!tool_use_reads(&params->use)) return;
    stream->tools = params->use.tools;
    stream->single_call = params->use.rules.single;
    params->use.tools = NULL;
}

/* ---- what an answer says, piece by piece ---- */

static void take_text(AnswerTarget *target, bool is_reasoning, const char *text, size_t length)
{
    WholeAnswer *whole = target->whole;
    if (whole != NULL)
        (void)bytes_append(is_reasoning ? &whole->reasoning : &whole->text, text, length);
    else
        target->stream->format->piece(target->stream, target->choice, is_reasoning, text, length);
}

/* A call of a whole answer. */
static void collect_call(WholeAnswer *whole, const ImpToolEvent *event)
{
    if (event->kind == IMP_TOOL_ARGUMENTS) {
        (void)bytes_append(&whole->arguments, event->text, event->length);
    } else if (event->kind == IMP_TOOL_CALL) {
        if (whole->calls == NULL) whole->calls = json_array();
        (void)json_array_append_new(whole->calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", event->id, "type", "function",
                                                            "function", "name", event->name, "arguments", ""));
    } else {
        json_t *call = json_array_get(whole->calls, json_array_size(whole->calls) - 1);
        json_t *text = json_stringn(whole->arguments.data != NULL ? whole->arguments.data : "", whole->arguments.length);
        if (text != NULL) (void)json_object_set_new(json_object_get(call, "function"), "arguments", text);
        whole->arguments.length = 0;
    }
}

static void on_tool_event(void *user, const ImpToolEvent *event)
{
    AnswerTarget *target = user;
    Stream *stream = target->stream;
    if (event->kind == IMP_TOOL_TEXT || event->kind == IMP_TOOL_REASONING) {
        take_text(target, event->kind == IMP_TOOL_REASONING && stream->server->split_reasoning, event->text, event->length);
        return;
    }
    if (stream->single_call && event->index > 0) return;
    if (event->kind == IMP_TOOL_CALL) stream->jobs[target->choice].n_calls++;
    if (target->whole != NULL)
        collect_call(target->whole, event);
    else if (event->kind == IMP_TOOL_CALL)
        stream->format->call(stream, target->choice, event);
    else if (event->kind == IMP_TOOL_ARGUMENTS)
        stream->format->arguments(stream, target->choice, event);
}

static void on_piece(void *user, bool is_reasoning, const char *text, size_t length)
{
    AnswerTarget *target = user;
    if (is_reasoning || target->reader == NULL)
        take_text(target, is_reasoning, text, length);
    else if (imp_tool_reader_push(target->reader, text, length, false) != IMP_OK)
        target->stream->jobs[target->choice].memory_short = true;
}

/* Text of a choice, which may be its last. False without memory. */
static bool take_answer(AnswerTarget *target, const Bytes *text, bool last)
{
    Job *job = &target->stream->jobs[target->choice];
    bool good = reasoning_push(&job->splitter, text->data != NULL ? text->data : "", text->length, last, on_piece, target);
    if (last && target->reader != NULL) good = imp_tool_reader_push(target->reader, "", 0, true) == IMP_OK && good;
    return good;
}

static ImpStatus open_target(Stream *stream, int32_t choice)
{
    AnswerTarget *target = &stream->targets[choice];
    *target = (AnswerTarget){.stream = stream, .choice = choice};
    if (stream->tools == NULL) return IMP_OK;
    uint64_t seed = 0xcbf29ce484222325U + (uint64_t)choice;
    for (const char *c = stream->exchange->id; *c != '\0'; c++) seed = (seed ^ (uint64_t)(unsigned char)*c) * 0x100000001b3U;
    return imp_tool_reader_create(stream->tools, seed, on_tool_event, target, &target->reader);
}

ImpStatus stream_submit(Stream *stream, const RequestParams *params, const Prompt *prompt, bool want_logprobs,
                        int32_t n_top_logprobs)
{
    Server *server = stream->server;
    if (server->request_log != NULL && stream->log_prompt == NULL)
        stream->log_prompt = strdup(prompt->text != NULL ? prompt->text : "");
    for (int64_t i = 0; i < params->n; i++) {
        ImpGenerateParams storage;
        ImpRequest request = params_request(params, &storage, prompt->tokens, prompt->n_tokens, (int32_t)i);
        request.want_logprobs = want_logprobs;
        request.n_top_logprobs = n_top_logprobs;
        Job *job = &stream->jobs[stream->n_jobs++];
        job->first_choice = i == 0;
        const bool split = prompt->is_chat && server->split_reasoning;
        if (prompt->is_chat) params_limit_reasoning(server, params, prompt, &request);
        reasoning_init(&job->splitter, split ? &server->tags : NULL, prompt->inside_reasoning);
        request.n_pinned = prompt->n_pinned;
        request.pin_seconds = prompt->pin_seconds;
        ImpStatus status = open_target(stream, stream->n_jobs - 1);
        if (status == IMP_OK) status = job_submit(job, &stream->group, server, &request);
        if (status != IMP_OK) return status;
    }
    return IMP_OK;
}

void stream_event(Stream *stream, const char *name, json_t *data)
{
    char *text = data != NULL ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    if (text == NULL) return;
    if (name != NULL)
        (void)(bytes_puts(&stream->out, "event: ") && bytes_puts(&stream->out, name) && bytes_puts(&stream->out, "\n"));
    (void)(bytes_puts(&stream->out, "data: ") && bytes_puts(&stream->out, text) && bytes_puts(&stream->out, "\n\n"));
    free(text);
}

/* ---- streaming ---- */

/* Takes what one job has and formats it; true when there was something. */
static bool drain_job(Stream *stream, int32_t choice)
{
    Job *job = &stream->jobs[choice];
    const Bytes *text = &job->moved;
    JobToken *tokens;
    size_t n_tokens;
    bool done;
    if (stream->ended_choice[choice]) return false;
    job_take(job, &tokens, &n_tokens, &done);
    if (n_tokens > 0) stream->format->tokens(stream, choice, tokens, n_tokens);
    if (text->length > 0 || done) (void)take_answer(&stream->targets[choice], text, done);
    if (stream->log_prompt != NULL && text->length > 0) (void)bytes_append(&job->answer, text->data, text->length);
    if (done) {
        stream->format->choice_end(stream, choice);
        stream->ended_choice[choice] = true;
        stream->n_ended++;
    }
    const bool some = text->length > 0 || n_tokens > 0 || done;
    free(tokens);
    return some;
}

/* Puts more events into `out`; false when the client has gone. */
static bool produce(Stream *stream)
{
    if (!stream->begun) {
        stream->begun = true;
        stream->format->begin(stream);
        return true;
    }
    if (stream->n_ended == stream->n_jobs) {
        stream->format->end(stream);
        stream->ended = true;
        return true;
    }
    if (!jobs_wait(stream->jobs, stream->n_jobs, &stream->group, stream->peer, PING_SECONDS)) return false;
    bool some = false;
    for (int32_t i = 0; i < stream->n_jobs; i++) some = drain_job(stream, i) || some;
    if (!some) (void)bytes_puts(&stream->out, stream->format->ping);
    return true;
}

static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t size)
{
    Stream *stream = user;
    (void)position;
    while (stream->sent == stream->out.length) {
        stream->sent = stream->out.length = 0;
        if (stream->ended) return MHD_CONTENT_READER_END_OF_STREAM;
        if (!produce(stream)) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t length = stream->out.length - stream->sent;
    if (length > size) length = size;
    memcpy(buffer, stream->out.data + stream->sent, length);
    stream->sent += length;
    return (ssize_t)length;
}

static void free_stream(void *user) { stream_free(user); }

enum MHD_Result stream_reply(Stream *stream)
{
    Exchange *exchange = stream->exchange;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, stream, free_stream);
    if (response == NULL) {
        stream_free(stream);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream; charset=utf-8");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    (void)MHD_add_response_header(response, "x-request-id", exchange->id);
    const enum MHD_Result result = MHD_queue_response(exchange->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- whole answers ---- */

bool stream_wait(Stream *stream) { return jobs_wait_done(stream->jobs, stream->n_jobs, &stream->group, stream->peer); }

bool stream_collect(Stream *stream, int32_t choice, WholeAnswer *out)
{
    Job *job = &stream->jobs[choice];
    const Bytes *text = &job->moved;
    bool done;
    *out = (WholeAnswer){0};
    job_take(job, &out->tokens, &out->n_tokens, &done);
    stream->targets[choice].whole = out;
    const bool good = bytes_append(&out->text, "", 0) && take_answer(&stream->targets[choice], text, true);
    if (stream->log_prompt != NULL && text->length > 0) (void)bytes_append(&job->answer, text->data, text->length);
    return good && !job->memory_short;
}

void whole_answer_free(WholeAnswer *answer)
{
    bytes_free(&answer->text);
    bytes_free(&answer->reasoning);
    bytes_free(&answer->arguments);
    json_decref(answer->calls);
    free(answer->tokens);
    *answer = (WholeAnswer){0};
}
