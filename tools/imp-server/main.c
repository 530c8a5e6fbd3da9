/*
 * main.c - imp-server: flags and settings, the model, the engine, and then HTTP until a signal.
 */
#include "flags.h"
#include "server.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the model ---- */

static void read_models_dir(Server *server)
{
    const char *directory = imp_settings_string(server->settings, "models.dir"), *home = getenv("HOME");
    if (directory[0] == '\0') directory = "~/.cache/imp";
    if (directory[0] == '~' && home != NULL)
        (void)snprintf(server->models_dir, sizeof server->models_dir, "%s%s", home, directory + 1);
    else
        (void)snprintf(server->models_dir, sizeof server->models_dir, "%s", directory);
}

/* A path, or a name in the models directory with or without its ending. */
static void find_model(const Server *server, const char *name, char *path, size_t size)
{
    static const char *const endings[] = {"", ".gguf"};
    struct stat info;
    (void)snprintf(path, size, "%s", name);
    for (size_t i = 0; i < 2 && stat(path, &info) != 0; i++)
        (void)snprintf(path, size, "%s/%s%s", server->models_dir, name, endings[i]);
    if (stat(path, &info) != 0) (void)snprintf(path, size, "%s", name);
}

/* What answers call the model: the file's name without its ending. */
static void name_model(Server *server, const char *path)
{
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/') copy[--length] = '\0';
    const char *slash = strrchr(copy, '/');
    (void)snprintf(server->model_name, sizeof server->model_name, "%s", slash != NULL ? slash + 1 : copy);
    char *ending = strstr(server->model_name, ".gguf");
    if (ending != NULL) *ending = '\0';
    json_t *text = json_string(server->model_name);
    if (text == NULL) (void)snprintf(server->model_name, sizeof server->model_name, "model"); /* no UTF-8, no JSON */
    json_decref(text);
}

static bool show_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    sigset_t pending;
    const bool interrupted =
        sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM));
    if (isatty(STDERR_FILENO) && total > 0)
        (void)fprintf(stderr, "\r%s %3.0f %%%s", what, 100.0 * (double)done / (double)total,
                      done == total ? "\r\033[K" : "");
    return !interrupted;
}

/* Where they are special tokens they would be left out of the text, and nobody could tell reasoning from answer. */
static void choose_tags(Server *server)
{
    int32_t tokens[2];
    size_t n_tokens = 0;
    const char *source = server->defaults.chat_template;
    imp_reasoning_tags(source != NULL ? source : imp_model_template(server->model), &server->tags.open, &server->tags.close);
    if (imp_tokenize(server->model, server->tags.open, strlen(server->tags.open), IMP_TOKENIZE_PARSE_SPECIAL, tokens,
                     2, &n_tokens) == IMP_OK &&
        n_tokens == 1 && imp_token_is_special(server->model, tokens[0]))
        server->defaults.keep_special = true;
}

static int open_model(Server *server)
{
    const char *name = imp_settings_string(server->settings, "models.default");
    char path[PATH_MAX];
    if (name[0] == '\0')
        return fail(EXIT_USAGE, "--model is missing: a GGUF file, a SafeTensors directory or a model's name");
    read_models_dir(server);
    find_model(server, name, path, sizeof path);
    name_model(server, path);
    if (imp_model_load(path, IMP_FORMAT_AUTO, &server->model) != IMP_OK) return fail(EXIT_FAILED, imp_last_error());
    server->info.size = sizeof server->info;
    if (imp_model_info(server->model, &server->info) != IMP_OK) return fail(EXIT_FAILED, imp_last_error());
    choose_tags(server);
    return EXIT_SUCCESS;
}

static int start_engine(Server *server)
{
    ImpEngineConfig config = imp_engine_config_default();
    if (imp_settings_apply_config(server->settings, &config.context) != IMP_OK)
        return fail(EXIT_USAGE, imp_last_error());
    config.context.max_sequences = (int32_t)imp_settings_int(server->settings, "server.max_concurrent");
    config.context.progress = show_progress;
    config.kv_tokens = (int32_t)imp_settings_int(server->settings, "server.kv_tokens");
    config.max_waiting = (int32_t)imp_settings_int(server->settings, "server.max_waiting");
    config.prefix_cache = imp_settings_bool(server->settings, "server.prefix_cache");
    config.pin_percent = (float)imp_settings_float(server->settings, "server.prefix_pin_budget_pct");
    return imp_engine_create(server->model, &config, &server->engine) == IMP_OK ? EXIT_SUCCESS
                                                                                : fail(EXIT_FAILED, imp_last_error());
}

static int read_server(Server *server)
{
    const ImpSettings *settings = server->settings;
    const char *log = imp_settings_string(settings, "server.log_requests");
    server->api_key = imp_settings_string(settings, "server.api_key");
    server->rate_limit = (int32_t)imp_settings_int(settings, "server.rate_limit");
    server->split_reasoning = strcmp(imp_settings_string(settings, "server.reasoning_format"), "deepseek") == 0;
    server->head_seconds = (int32_t)imp_settings_int(settings, "server.head_seconds");
    server->body_seconds = (int32_t)imp_settings_int(settings, "server.body_seconds");
    server->think_budget = imp_settings_float(settings, "server.think_budget");
    server->defaults = imp_generate_params_default();
    if (imp_settings_apply_params(server->settings, &server->defaults) != IMP_OK)
        return fail(EXIT_USAGE, imp_last_error());
    if (log[0] == '\0') return EXIT_SUCCESS;
    server->request_log = fopen(log, "a");
    if (server->request_log != NULL) return EXIT_SUCCESS;
    perror(log);
    return EXIT_FAILED;
}

static int serve(Server *server)
{
    int code = read_server(server);
    if (code == EXIT_SUCCESS) code = open_model(server);
    /* The engine's threads, too, leave them to the one that waits for them. */
    http_block_signals();
    if (code == EXIT_SUCCESS) code = start_engine(server);
    if (code == EXIT_SUCCESS)
        code = http_run(server, imp_settings_string(server->settings, "server.host"),
                        (int)imp_settings_int(server->settings, "server.port"));
    imp_engine_free(server->engine);
    imp_model_free(server->model);
    if (server->request_log != NULL) (void)fclose(server->request_log);
    return code;
}

int main(int argc, char **argv)
{
    static Server server = {.log_mutex = PTHREAD_MUTEX_INITIALIZER};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return help_print();
        if (strcmp(argv[i], "--version") == 0) return printf("imp-server %s\n", imp_version()) < 0;
        if (strcmp(argv[i], "--print-reference") == 0) return reference_print(argc > i + 1 ? argv[i + 1] : "");
    }
    server.started = time(NULL);
    if (imp_settings_create(&server.settings) != IMP_OK) return fail(EXIT_FAILED, imp_last_error());
    int code = flags_read(argv + 1, server.settings);
    if (code == EXIT_SUCCESS) code = serve(&server);
    imp_settings_free(server.settings);
    return code;
}
