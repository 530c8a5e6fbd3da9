/* openai_embeddings.c - POST /v1/embeddings: the mean of the final hidden states, of unit length. */
#include "openai.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 2048, INPUTS_AT_ONCE = MAX_CHOICES };

static char *encode_base64(const void *data, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    char *text = malloc((length + 2) / 3 * 4 + 1), *out = text;
    for (size_t i = 0; text != NULL && i < length; i += 3) {
        const size_t left = length - i;
        const unsigned word =
            (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0u);
        *out++ = digits[word >> 18];
        *out++ = digits[word >> 12 & 63];
        *out++ = left > 1 ? digits[word >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[word & 63] : '=';
    }
    if (text != NULL) *out = '\0';
    return text;
}

/* The leading `dimensions` of a vector, made of unit length again. */
static json_t *vector_json(float *values, int64_t dimensions, bool base64)
{
    double squares = 0;
    for (int64_t i = 0; i < dimensions; i++) squares += (double)values[i] * (double)values[i];
    const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < dimensions; i++) values[i] *= scale;
    if (base64) {
        char *text = encode_base64(values, (size_t)dimensions * sizeof *values);
        json_t *result = text != NULL ? json_string(text) : NULL;
        free(text);
        return result;
    }
    json_t *list = json_array();
    for (int64_t i = 0; i < dimensions; i++) (void)json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static const json_t *input_at(const json_t *input, size_t index, size_t *count)
{
    const bool several = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    *count = several ? json_array_size(input) : 1;
    return several ? json_array_get(input, index) : input;
}

static ImpStatus submit_input(Stream *stream, Fields *fields, const json_t *entry)
{
    Server *server = stream->server;
    Prompt prompt = {0};
    ImpStatus status = IMP_OK;
    if (json_is_string(entry))
        status = prompt_from_text(server, json_string_value(entry), json_string_length(entry), &prompt);
    else if (json_is_array(entry))
        prompt_from_ids(server, fields, "input", entry, &prompt);
    else
        fields_fail(fields, "input", "input must be a string, a list of token ids, or a list of either");
    if (status == IMP_OK && fields_good(fields)) {
        ImpRequest request = {
            .size = sizeof request, .tokens = prompt.tokens, .n_tokens = prompt.n_tokens, .embedding = true};
        status = job_submit(&stream->jobs[stream->n_jobs++], &stream->group, server, &request);
    }
    prompt_free(&prompt);
    return status;
}

/* A few inputs at a time, so that one request does not fill the queue. Returns IMP_ERR_CANCELLED when the client left.
 */
static ImpStatus embed_some(Exchange *exchange, Fields *fields, size_t from, size_t to, int64_t dimensions, bool base64,
                            json_t *data, int64_t *n_tokens)
{
    const json_t *input = json_object_get(fields->object, "input");
    Stream *stream = stream_create(exchange, NULL);
    ImpStatus status = stream != NULL ? IMP_OK : IMP_ERR_OUT_OF_MEMORY;
    size_t count;
    for (size_t i = from; i < to && status == IMP_OK && fields_good(fields); i++)
        status = submit_input(stream, fields, input_at(input, i, &count));
    if (status == IMP_OK && fields_good(fields) && !stream_wait(stream)) status = IMP_ERR_CANCELLED;
    for (int32_t i = 0; status == IMP_OK && fields_good(fields) && i < stream->n_jobs; i++) {
        Job *job = &stream->jobs[i];
        if (job->status != IMP_OK)
            fields_fail(fields, "input", "%s", job->error);
        else if (job->stop_reason == IMP_STOP_CANCELLED)
            fields_fail(fields, "input", "the server is shutting down");
        *n_tokens += job->prompt_tokens;
        (void)json_array_append_new(data,
                                    json_pack("{s:s, s:I, s:o}", "object", "embedding", "index", (json_int_t)from + i,
                                              "embedding", vector_json(job->embedding, dimensions, base64)));
    }
    stream_free(stream);
    return status;
}

enum MHD_Result route_embeddings(Exchange *exchange)
{
    Server *server = exchange->server;
    Fields fields = {.object = exchange->request};
    int64_t dimensions = server->info.n_embd, n_tokens = 0;
    const char *encoding = "float";
    size_t count = 0;
    fields_int(&fields, "dimensions", 1, server->info.n_embd, &dimensions);
    fields_string(&fields, "encoding_format", &encoding);
    const bool base64 = strcmp(encoding, "base64") == 0;
    if (!base64 && strcmp(encoding, "float") != 0)
        fields_fail(&fields, "encoding_format", "encoding_format must be float or base64");
    (void)input_at(json_object_get(exchange->request, "input"), 0, &count);
    if (count < 1 || count > MAX_INPUTS) fields_fail(&fields, "input", "input must hold 1 to %d texts", MAX_INPUTS);
    json_t *data = json_array();
    ImpStatus status = IMP_OK;
    for (size_t from = 0; from < count && status == IMP_OK && fields_good(&fields); from += INPUTS_AT_ONCE) {
        const size_t to = from + INPUTS_AT_ONCE < count ? from + INPUTS_AT_ONCE : count;
        status = embed_some(exchange, &fields, from, to, dimensions, base64, data, &n_tokens);
    }
    if (status == IMP_OK && fields_good(&fields))
        return reply_json(exchange, MHD_HTTP_OK,
                          json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data", data, "model",
                                    server->model_name, "usage", "prompt_tokens", (json_int_t)n_tokens, "total_tokens",
                                    (json_int_t)n_tokens));
    json_decref(data);
    if (!fields_good(&fields)) return reply_error(exchange, 400, fields.param, "%s", fields.error);
    return status == IMP_ERR_CANCELLED ? MHD_NO : reply_imp_error(exchange, status);
}
