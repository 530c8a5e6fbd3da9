/*
 * fuzz_http_body.c - any bytes as the body of a request in either dialect: an error that names its field, or parameters
 * and messages that lie within what the server promises its engine and its templates.
 */
#include "anthropic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Streams hold their exchange; there is none here. */
void exchange_hold(Exchange *exchange) { (void)exchange; }
void exchange_release(Exchange *exchange) { (void)exchange; }

/* Ends the run with the line that does not hold. */
#define require(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            (void)fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* An error says which field; its answer can be written, whatever bytes it quotes. */
static void check_fields(const Fields *fields)
{
    if (fields_good(fields)) return;
    require(fields->param[0] != '\0');
    for (int dialect = DIALECT_OPENAI; dialect <= DIALECT_ANTHROPIC; dialect++)
        json_decref(error_object((Dialect)dialect, 400, fields->param, fields->error));
}

static void read_params(const Server *server, const json_t *body, const char *stop_field)
{
    Fields fields = {.object = body};
    RequestParams params;
    params_read(server, &fields, stop_field, &params);
    check_fields(&fields);
    if (fields_good(&fields)) {
        ImpGenerateParams storage;
        const int32_t token = 0;
        ImpRequest request = params_request(&params, &storage, &token, 1, 0);
        const Prompt prompt = {.n_tokens = 1};
        params_limit_reasoning(server, &params, &prompt, &request);
        require(request.reasoning_budget >= 0);
        require(request.n_stop >= 0 && request.n_stop <= MAX_STOP_STRINGS);
        require(params.n >= 1 && params.n <= MAX_CHOICES && storage.max_tokens >= 0);
        require(storage.temperature >= 0 && storage.top_p >= 0 && storage.top_p <= 1);
        for (int32_t i = 0; i < storage.n_logit_bias; i++)
            require(storage.logit_bias[i].token >= 0 && storage.logit_bias[i].token < server->info.n_vocab &&
                    !isnan(storage.logit_bias[i].bias));
    }
    params_free(&params);
}

/* A reader of messages or tools: a value that can be written as JSON again, unless there was an error or there are
 * none.
 */
static void read_list(const json_t *body, json_t *(*reader)(Fields *))
{
    Fields fields = {.object = body};
    json_t *list = reader(&fields);
    check_fields(&fields);
    if (fields_good(&fields) && list != NULL) {
        char *text = json_dumps(list, JSON_COMPACT | JSON_ENCODE_ANY);
        require(text != NULL);
        free(text);
    }
    json_decref(list);
}

/* Which block is pinned; what the marked body says is read like any other. */
static void read_pin(Server *server, const json_t *body, const uint8_t *data, size_t size)
{
    Exchange exchange = {.server = server, .body = {.data = (char *)(uintptr_t)data, .length = size}};
    Fields fields = {.object = body};
    const RequestParams params = {.reasoning_budget = -1};
    Prompt prompt = {0};
    anthropic_read_pin(&exchange, &fields, &params, &prompt);
    check_fields(&fields);
    require(prompt.n_pinned == 0);
}

static void read_ids(Server *server, const json_t *body, const char *name)
{
    const json_t *ids = json_object_get(body, name);
    Fields fields = {.object = body};
    Prompt prompt;
    if (!json_is_array(ids)) return;
    prompt_from_ids(server, &fields, name, ids, &prompt);
    check_fields(&fields);
    for (int32_t i = 0; fields_good(&fields) && i < prompt.n_tokens; i++)
        require(prompt.tokens[i] >= 0 && prompt.tokens[i] < server->info.n_vocab);
    prompt_free(&prompt);
}

/* Patterns, grammars and schemas have targets of their own, and compiling one may take as long as a thousand bodies. */
static void drop_large(json_t *body)
{
    static const struct {
        const char *name;
        size_t most;
    } members[] = {{"regex", 16}, {"grammar", 32}, {"response_format", 200}, {"output_config", 200}, {"tools", 400}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (json_dumpb(json_object_get(body, members[i].name), NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) >
            members[i].most)
            (void)json_object_del(body, members[i].name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Server server = {.info = {.n_vocab = 1000}};
    server.defaults = imp_generate_params_default();
    imp_reasoning_tags(NULL, &server.tags.open, &server.tags.close);
    if (json_excess((const char *)data, size) != NULL) return 0;
    json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (json_is_object(body)) {
        drop_large(body);
        read_params(&server, body, "stop");
        read_params(&server, body, "stop_sequences");
        read_list(body, openai_messages);
        read_list(body, anthropic_messages);
        read_list(body, anthropic_tools);
        read_pin(&server, body, data, size);
        read_ids(&server, body, "prompt");
        read_ids(&server, body, "tokens");
    }
    json_decref(body);
    return 0;
}
