/* routes.c - the small routes: models, tokens, health, metrics; and the request log. */
#include "prompt.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void add_model(json_t *list, const char *name, time_t created, bool loaded)
{
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:b}", "id", name, "object", "model", "created",
                                                (json_int_t)created, "owned_by", "imp", "loaded", loaded));
}

/* Files that end in .gguf and directories with weights in them. */
static bool is_model(const char *directory, const char *name)
{
    char path[2048];
    struct stat info;
    const size_t length = strlen(name);
    if (name[0] == '.') return false;
    if (length > 5 && strcmp(name + length - 5, ".gguf") == 0) return true;
    (void)snprintf(path, sizeof path, "%s/%s/config.json", directory, name);
    return stat(path, &info) == 0;
}

enum MHD_Result route_models(Exchange *exchange)
{
    Server *server = exchange->server;
    json_t *list = json_array();
    add_model(list, server->model_name, server->started, true);
    (void)json_object_set_new(json_array_get(list, 0), "context", json_integer(imp_engine_context(server->engine)));
    DIR *directory = server->models_dir[0] != '\0' ? opendir(server->models_dir) : NULL;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        if (!is_model(server->models_dir, entry->d_name)) continue;
        char name[sizeof entry->d_name];
        (void)snprintf(name, sizeof name, "%s", entry->d_name);
        char *ending = strstr(name, ".gguf");
        if (ending != NULL) *ending = '\0';
        if (strcmp(name, server->model_name) != 0) add_model(list, name, server->started, false);
    }
    if (directory != NULL) (void)closedir(directory);
    return reply_json(exchange, MHD_HTTP_OK, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

enum MHD_Result route_tokenize(Exchange *exchange)
{
    Server *server = exchange->server;
    Fields fields = {.object = exchange->request};
    const json_t *content = fields_member(&fields, "content", JSON_STRING, "a string");
    if (content == NULL) content = fields_member(&fields, "text", JSON_STRING, "a string");
    if (content == NULL) content = fields_member(&fields, "prompt", JSON_STRING, "a string");
    bool add_special = false, parse_special = true;
    fields_bool(&fields, "add_special", &add_special);
    fields_bool(&fields, "parse_special", &parse_special);
    if (content == NULL) fields_fail(&fields, "content", "content must be a string");
    if (!fields_good(&fields)) return reply_error(exchange, 400, fields.param, "%s", fields.error);
    const unsigned flags =
        (add_special ? IMP_TOKENIZE_ADD_SPECIAL : 0u) | (parse_special ? IMP_TOKENIZE_PARSE_SPECIAL : 0u);
    size_t count = 0, capacity = json_string_length(content) + 16;
    int32_t *ids = malloc(capacity * sizeof *ids);
    if (ids == NULL) return reply_error(exchange, 500, NULL, "out of memory");
    const ImpStatus status = imp_tokenize(server->model, json_string_value(content), json_string_length(content), flags,
                                          ids, capacity, &count);
    json_t *list = json_array();
    for (size_t i = 0; status == IMP_OK && i < count; i++) (void)json_array_append_new(list, json_integer(ids[i]));
    free(ids);
    if (status == IMP_OK)
        return reply_json(exchange, MHD_HTTP_OK,
                          json_pack("{s:o, s:I, s:i}", "tokens", list, "count", (json_int_t)count, "max_model_len",
                                    (int)imp_engine_context(server->engine)));
    json_decref(list);
    return reply_imp_error(exchange, status);
}

enum MHD_Result route_detokenize(Exchange *exchange)
{
    Server *server = exchange->server;
    Fields fields = {.object = exchange->request};
    Prompt ids = {0};
    const json_t *tokens = fields_member(&fields, "tokens", JSON_ARRAY, "a list of token ids");
    if (tokens == NULL)
        fields_fail(&fields, "tokens", "tokens must be a list of token ids");
    else
        prompt_from_ids(server, &fields, "tokens", tokens, &ids);
    if (!fields_good(&fields)) {
        prompt_free(&ids);
        return reply_error(exchange, 400, fields.param, "%s", fields.error);
    }
    size_t length = 0;
    ImpStatus status = imp_detokenize(server->model, ids.tokens, (size_t)ids.n_tokens, true, NULL, 0, &length);
    char *text = malloc(length + 1);
    if (text != NULL && (status == IMP_OK || status == IMP_ERR_BUFFER_TOO_SMALL))
        status = imp_detokenize(server->model, ids.tokens, (size_t)ids.n_tokens, true, text, length + 1, &length);
    prompt_free(&ids);
    json_t *content = text != NULL && status == IMP_OK ? json_stringn(text, length) : NULL;
    free(text);
    if (status != IMP_OK) return reply_imp_error(exchange, status);
    if (content == NULL) return reply_error(exchange, 400, "tokens", "tokens: their text is not valid UTF-8");
    return reply_json(exchange, MHD_HTTP_OK, json_pack("{s:O, s:o}", "content", content, "prompt", content));
}

enum MHD_Result route_health(Exchange *exchange)
{
    const bool draining = atomic_load(&exchange->server->draining);
    return reply_json(exchange, draining ? 503 : 200, json_pack("{s:s}", "status", draining ? "draining" : "ok"));
}

static void metric(Bytes *text, const char *name, const char *type, const char *help, double value)
{
    char line[512];
    (void)snprintf(line, sizeof line, "# HELP imp_%s %s\n# TYPE imp_%s %s\nimp_%s %.17g\n", name, help, name, type,
                   name, value);
    (void)bytes_puts(text, line);
}

enum MHD_Result route_metrics(Exchange *exchange)
{
    Server *server = exchange->server;
    ImpEngineStats stats = {.size = sizeof stats};
    Bytes text = {0};
    if (imp_engine_stats(server->engine, &stats) != IMP_OK) return reply_error(exchange, 500, NULL, "no statistics");
    metric(&text, "requests_running", "gauge", "Requests that are being generated.", stats.running);
    metric(&text, "requests_waiting", "gauge", "Requests in the queue.", stats.waiting);
    metric(&text, "requests_finished_total", "counter", "Requests that came to their end.", (double)stats.finished);
    metric(&text, "requests_failed_total", "counter", "Requests that failed.", (double)stats.failed);
    metric(&text, "requests_cancelled_total", "counter", "Requests cancelled or timed out.", (double)stats.cancelled);
    metric(&text, "requests_preempted_total", "counter", "Times a request was put back for want of pages.",
           (double)stats.preempted);
    metric(&text, "prompt_tokens_total", "counter", "Tokens of prompts.", (double)stats.prompt_tokens);
    metric(&text, "cached_tokens_total", "counter", "Of these, tokens that needed no computing.",
           (double)stats.cached_tokens);
    metric(&text, "generated_tokens_total", "counter", "Tokens generated.", (double)stats.generated_tokens);
    metric(&text, "steps_total", "counter", "Steps of the model.", (double)stats.steps);
    metric(&text, "rows_total", "counter", "Rows of all steps.", (double)stats.rows);
    metric(&text, "busy_seconds_total", "counter", "Seconds spent in steps.", stats.busy_seconds);
    metric(&text, "kv_pages", "gauge", "Pages of 16 tokens.", stats.pages);
    metric(&text, "kv_pages_in_use", "gauge", "Pages that running requests hold.", stats.pages_in_use);
    metric(&text, "kv_pages_cached", "gauge", "Pages that only the prefix cache keeps.", stats.pages_cached);
    metric(&text, "http_requests_total", "counter", "HTTP requests.", (double)atomic_load(&server->requests));
    metric(&text, "http_errors_total", "counter", "HTTP answers with an error.", (double)atomic_load(&server->errors));
    const enum MHD_Result result = reply_text(exchange, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                                              text.data != NULL ? text.data : "", text.length);
    bytes_free(&text);
    return result;
}

void log_exchange(Exchange *exchange, const char *prompt, const char *answer, int32_t prompt_tokens,
                  int32_t cached_tokens, int32_t generated_tokens)
{
    Server *server = exchange->server;
    json_t *line = json_pack("{s:I, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f}", "time", (json_int_t)time(NULL), "id",
                             exchange->id, "path", exchange->path, "prompt", prompt, "response", answer,
                             "prompt_tokens", (int)prompt_tokens, "cached_tokens", (int)cached_tokens,
                             "generated_tokens", (int)generated_tokens, "seconds", now_seconds() - exchange->started);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (text == NULL) return;
    (void)pthread_mutex_lock(&server->log_mutex);
    (void)fprintf(server->request_log, "%s\n", text);
    (void)fflush(server->request_log);
    (void)pthread_mutex_unlock(&server->log_mutex);
    free(text);
}
