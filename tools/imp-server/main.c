/*
 * main.c - imp-server: flags and settings, the model, the engine, and then HTTP until a signal.
 */
#include "server.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Every flag stands for a key of imp.conf, but for the four that main knows. */
static const struct {
    const char *name, *argument, *setting, *help;
} flags[] = {
    {"--model", "MODEL", "models.default",
     "GGUF file, SafeTensors directory, or the name of a model in the models directory."},
    {"--host", "ADDRESS", "server.host", NULL},
    {"--port", "N", "server.port", NULL},
    {"--api-key", "KEY", "server.api_key", NULL},
    {"--max-concurrent", "N", "server.max_concurrent", NULL},
    {"--max-waiting", "N", "server.max_waiting", NULL},
    {"--rate-limit", "N", "server.rate_limit", NULL},
    {"--log-requests", "FILE", "server.log_requests", NULL},
    {"--reasoning-format", "FORMAT", "server.reasoning_format", NULL},
    {"--device", "NAME", "runtime.device", NULL},
    {"--threads", "N", "cpu.threads", NULL},
    {"--max-seq-len", "N", "runtime.max_seq_len", NULL},
    {"--kv-tokens", "N", "server.kv_tokens", NULL},
    {"--prefill-chunk-size", "N", "runtime.prefill_chunk_size", NULL},
    {"--chat-template", "NAME", "generation.chat_template", NULL},
    {"--chat-template-file", "FILE", "generation.chat_template_file", NULL},
    {"--max-tokens", "N", "generation.max_tokens", "Most tokens of an answer, for requests that do not say."},
};
enum { N_FLAGS = sizeof flags / sizeof flags[0] };

static int fail(int code, const char *sentence)
{
    (void)fprintf(stderr, "imp-server: %s\n", sentence);
    return code;
}

static int print_help(void)
{
    (void)printf(
        "Usage: imp-server --model MODEL [FLAGS]\n\n"
        "Serves a model over HTTP: OpenAI's /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/models,\n"
        "Anthropic's /v1/messages, /tokenize, /detokenize, /health, /metrics, and a chat page at /.\n\n");
    for (size_t i = 0; i < N_FLAGS; i++) {
        const ImpSettingInfo *info = imp_setting_find(flags[i].setting);
        char left[64];
        (void)snprintf(left, sizeof left, "%s %s", flags[i].name, flags[i].argument);
        (void)printf("  %-28s %s", left, flags[i].help != NULL ? flags[i].help : info->help);
        if (strcmp(info->default_value, "\"\"") != 0) (void)printf(" [%s]", info->default_value);
        (void)printf("\n");
    }
    (void)printf("  %-28s %s\n", "--set KEY=VALUE", "Set any key of imp.conf (see imp.conf(5)). May be repeated.");
    (void)printf("  %-28s %s\n", "--config FILE",
                 "Configuration file, in place of $IMP_CONFIG, ./imp.conf, ~/.config/imp/imp.conf.");
    (void)printf("  %-28s %s\n  %-28s %s\n", "--version", "Print the version.", "--help", "Print this.");
    return ferror(stdout) ? EXIT_FAILED : EXIT_SUCCESS;
}

/* ---- the command line ---- */

static int unknown_flag(const char *word)
{
    const char *names[N_FLAGS + 5] = {"--set", "--config", "--version", "--help"};
    char sentence[256];
    for (size_t i = 0; i < N_FLAGS; i++) names[i + 4] = flags[i].name;
    (void)snprintf(sentence, sizeof sentence, "there is no flag %.64s; the nearest is %s", word,
                   imp_nearest_name(word, names));
    return fail(EXIT_USAGE, sentence);
}

/* The argument of `word`, behind its '=' or in the next word; NULL when it is missing. */
static const char *argument_of(char **words, const char *name, int *used)
{
    const size_t length = strlen(name);
    *used = 1;
    if (words[0][length] == '=') return words[0] + length + 1;
    if (words[1] != NULL) *used = 2;
    return words[1];
}

static bool is_flag(const char *word, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && (word[length] == '\0' || word[length] == '=');
}

/* One pass over the words: which = 0 checks and finds --config, 1 applies --set, 2 applies the named flags. */
static int read_flags(char **words, int which, ImpSettings *settings, const char **config)
{
    for (int used; *words != NULL; words += used) {
        size_t i = 0;
        while (i < N_FLAGS && !is_flag(*words, flags[i].name)) i++;
        const char *name = i < N_FLAGS                   ? flags[i].name
                           : is_flag(*words, "--set")    ? "--set"
                           : is_flag(*words, "--config") ? "--config"
                                                         : NULL;
        if (name == NULL) return unknown_flag(*words);
        const char *argument = argument_of(words, name, &used);
        ImpStatus status = IMP_OK;
        char sentence[1400];
        if (argument == NULL) {
            (void)snprintf(sentence, sizeof sentence, "%s expects %s", name,
                           i < N_FLAGS ? flags[i].argument : "an argument");
            return fail(EXIT_USAGE, sentence);
        }
        if (strcmp(name, "--config") == 0)
            *config = argument;
        else if (strcmp(name, "--set") == 0)
            status = which == 1 ? imp_settings_assign(settings, argument) : IMP_OK;
        else if (which == 2)
            status = imp_settings_set(settings, flags[i].setting, argument);
        if (status != IMP_OK) {
            (void)snprintf(sentence, sizeof sentence, "%s: %s", name, imp_last_error());
            return fail(EXIT_USAGE, sentence);
        }
    }
    return EXIT_SUCCESS;
}

static int read_settings(char **words, ImpSettings *settings)
{
    const char *config = NULL;
    int code = read_flags(words, 0, settings, &config);
    if (code == EXIT_SUCCESS && imp_settings_load(settings, config) != IMP_OK)
        code = fail(EXIT_USAGE, imp_last_error());
    for (int which = 1; which <= 2 && code == EXIT_SUCCESS; which++) code = read_flags(words, which, settings, &config);
    return code;
}

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
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return print_help();
        if (strcmp(argv[i], "--version") == 0) return printf("imp-server %s\n", imp_version()) < 0;
    }
    server.started = time(NULL);
    if (imp_settings_create(&server.settings) != IMP_OK) return fail(EXIT_FAILED, imp_last_error());
    int code = read_settings(argv + 1, server.settings);
    if (code == EXIT_SUCCESS) code = serve(&server);
    imp_settings_free(server.settings);
    return code;
}
