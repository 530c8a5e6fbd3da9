/* openai_completions.c - POST /v1/completions: text as it stands, one prompt or several. */
#include "openai.h"

#include <stdlib.h>

/* Prompt number `index` of the field, which holds a string, ids, or a list of either. */
static ImpStatus read_prompt(Server *server, Fields *fields, size_t index, Prompt *out)
{
    const json_t *field = json_object_get(fields->object, "prompt");
    const json_t *entry = field;
    *out = (Prompt){0};
    if (json_is_array(field) && !json_is_integer(json_array_get(field, 0))) entry = json_array_get(field, index);
    if (json_is_string(entry))
        return prompt_from_text(server, json_string_value(entry), json_string_length(entry), out);
    if (json_is_array(entry))
        prompt_from_ids(server, fields, "prompt", entry, out);
    else
        fields_fail(fields, "prompt", "prompt must be a string, a list of token ids, or a list of either");
    return IMP_OK;
}

static size_t count_prompts(const json_t *field)
{
    const bool several = json_is_array(field) && !json_is_integer(json_array_get(field, 0));
    return several ? json_array_size(field) : 1;
}

static void refuse_unbuilt(Fields *fields)
{
    const char *suffix = "";
    bool echo = false;
    int64_t best_of = 1;
    fields_string(fields, "suffix", &suffix);
    fields_bool(fields, "echo", &echo);
    fields_int(fields, "best_of", 1, MAX_CHOICES, &best_of);
    if (suffix[0] != '\0') fields_fail(fields, "suffix", "suffix is not supported");
    if (echo) fields_fail(fields, "echo", "echo is not supported");
    if (best_of != 1) fields_fail(fields, "best_of", "best_of is not supported: use n");
}

static json_t *whole_choice(const Stream *stream, const WholeAnswer *answer, bool want_logprobs)
{
    int64_t offset = 0;
    json_t *logprobs =
        want_logprobs ? openai_text_logprobs(stream->server, answer->tokens, answer->n_tokens, &offset) : NULL;
    return json_pack("{s:s%, s:o?}", "text", answer->text.data, answer->text.length, "logprobs", logprobs);
}

/* Submits n choices of each prompt. */
static ImpStatus submit_all(Stream *stream, Fields *fields, const RequestParams *params, size_t n_prompts,
                            bool want_logprobs, int32_t n_top)
{
    for (size_t i = 0; i < n_prompts; i++) {
        Prompt prompt;
        ImpStatus status = read_prompt(stream->server, fields, i, &prompt);
        if (status == IMP_OK && fields_good(fields))
            status = stream_submit(stream, params, &prompt, want_logprobs, n_top);
        prompt_free(&prompt);
        if (status != IMP_OK || !fields_good(fields)) return status;
    }
    return IMP_OK;
}

enum MHD_Result route_completions(Exchange *exchange)
{
    Fields fields = {.object = exchange->request};
    RequestParams params;
    int64_t n_top = -1;
    const size_t n_prompts = count_prompts(json_object_get(exchange->request, "prompt"));
    params_read(exchange->server, &fields, "stop", &params);
    fields_int(&fields, "logprobs", 0, 20, &n_top);
    refuse_unbuilt(&fields);
    const json_t *options = fields_member(&fields, "stream_options", JSON_OBJECT, "an object");
    if (n_prompts < 1 || n_prompts * (size_t)params.n > MAX_CHOICES)
        fields_fail(&fields, "prompt", "prompts times n must be 1 to %d", MAX_CHOICES);
    Stream *stream = fields_good(&fields) ? stream_create(exchange, &openai_stream_format) : NULL;
    ImpStatus status = IMP_OK;
    if (stream != NULL) stream_take_parts(stream, &params);
    if (stream != NULL)
        status = submit_all(stream, &fields, &params, n_prompts, n_top >= 0, n_top > 0 ? (int32_t)n_top : 0);
    else if (fields_good(&fields))
        status = IMP_ERR_OUT_OF_MEMORY;
    params_free(&params);
    if (status != IMP_OK || !fields_good(&fields)) {
        const enum MHD_Result result = !fields_good(&fields)
                                           ? reply_error(exchange, 400, fields.param, "%s", fields.error)
                                           : reply_imp_error(exchange, status);
        stream_free(stream);
        return result;
    }
    stream->include_usage = json_is_true(json_object_get(options, "include_usage"));
    return params.stream ? stream_reply(stream)
                         : openai_reply_whole(stream, "text_completion", whole_choice, n_top >= 0);
}
