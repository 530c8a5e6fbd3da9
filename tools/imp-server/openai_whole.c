/* openai_whole.c - answers in one piece: wait for every choice, collect each, say what all of them took. */
#include "openai.h"

static json_t *collect_choice(Stream *stream, int32_t choice, OpenaiChoice *make, bool want_logprobs)
{
    WholeAnswer answer;
    (void)stream_collect(stream, choice, &answer);
    json_t *object = make(stream, &answer, want_logprobs);
    (void)json_object_set_new(object, "index", json_integer(choice));
    (void)json_object_set_new(object, "finish_reason", json_string(openai_finish_reason(&stream->jobs[choice])));
    whole_answer_free(&answer);
    return object;
}

enum MHD_Result openai_reply_whole(Stream *stream, const char *object, OpenaiChoice *make, bool want_logprobs)
{
    enum MHD_Result result = MHD_NO;
    const bool waited = stream_wait(stream);
    const Job *failed = waited ? first_failure(stream) : NULL;
    if (failed != NULL) {
        result = reply_error(stream->exchange, http_status_of(failed->status), NULL, "%s", failed->error);
    } else if (waited) {
        json_t *body = openai_head(stream, object), *choices = json_array();
        for (int32_t i = 0; i < stream->n_jobs; i++)
            (void)json_array_append_new(choices, collect_choice(stream, i, make, want_logprobs));
        (void)json_object_set_new(body, "choices", choices);
        (void)json_object_set_new(body, "usage", openai_usage(stream));
        result = reply_json(stream->exchange, MHD_HTTP_OK, body);
    }
    stream_free(stream);
    return result;
}
