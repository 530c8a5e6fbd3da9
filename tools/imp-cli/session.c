/*
 * session.c - a model by path or short name, its context, and the ids of a prompt.
 */
#include "cli.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- short names ---- */

static bool is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), ending_length = strlen(ending);
    return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* models.dir with ~ resolved. */
static bool models_directory(const ImpSettings *settings, char *path, size_t size)
{
    const char *directory = imp_settings_string(settings, "models.dir"), *home = getenv("HOME");
    if (directory[0] == '\0') directory = "~/.cache/imp";
    int length;
    if (directory[0] == '~' && directory[1] == '/') {
        if (home == NULL) return false;
        length = snprintf(path, size, "%s%s", home, directory + 1);
    } else {
        length = snprintf(path, size, "%s", directory);
    }
    return length > 0 && (size_t)length < size;
}

/* Of a split model only the first file counts; of a directory, one with weights or a tokenizer. */
static bool is_model(const char *directory, const char *name)
{
    char path[PATH_MAX], file[PATH_MAX];
    if (name[0] == '.' || snprintf(path, sizeof path, "%s/%s", directory, name) >= PATH_MAX) return false;
    if (!is_directory(path)) {
        const char *split = strstr(name, "-of-");
        const bool later_part = split != NULL && split - name > 6 && memcmp(split - 6, "-00001", 6) != 0;
        return ends_with(name, ".gguf") && !later_part;
    }
    static const char *const marks[] = {"config.json", "tokenizer.json"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (snprintf(file, sizeof file, "%s/%s", path, marks[i]) < PATH_MAX && exists(file)) return true;
    return false;
}

enum { MAX_MODELS = 256 };

typedef struct ModelNames {
    const char *names[MAX_MODELS + 1]; /* NULL at the end */
    size_t count;
} ModelNames;

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_models(const char *directory, ModelNames *models)
{
    *models = (ModelNames){0};
    DIR *stream = opendir(directory);
    if (stream == NULL) return;
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL && models->count < MAX_MODELS;) {
        if (!is_model(directory, entry->d_name)) continue;
        models->names[models->count] = strdup(entry->d_name);
        if (models->names[models->count] != NULL) models->count++;
    }
    (void)closedir(stream);
    models->names[models->count] = NULL;
    qsort(models->names, models->count, sizeof models->names[0], compare_names);
}

static void free_models(ModelNames *models)
{
    for (size_t i = 0; i < models->count; i++) free((char *)models->names[i]);
}

/* The one model that `name` means: all of its name, its name without .gguf, or a beginning that no other has, in any
 * case of letters. NULL when there is none or more than one (*n_matches). */
static const char *match_model(const ModelNames *models, const char *name, size_t *n_matches)
{
    const char *found = NULL;
    *n_matches = 0;
    for (size_t i = 0; i < models->count; i++) {
        const char *candidate = models->names[i];
        const size_t length = strlen(name);
        if (strncasecmp(candidate, name, length) != 0) continue;
        if (candidate[length] == '\0' || strcasecmp(candidate + length, ".gguf") == 0) {
            *n_matches = 1;
            return candidate;
        }
        found = candidate;
        (*n_matches)++;
    }
    return *n_matches == 1 ? found : NULL;
}

/* "; there: a, b, c" for the end of a sentence. */
static void append_names(Text *text, const ModelNames *models, const char *directory)
{
    (void)text_puts(text, models->count == 0 ? "there are no models in " : "models in ");
    (void)text_puts(text, directory);
    for (size_t i = 0; i < models->count && i < 20; i++) {
        (void)text_puts(text, i == 0 ? ": " : ", ");
        (void)text_puts(text, models->names[i]);
    }
}

static int fail_no_model(const char *name, size_t n_matches, const ModelNames *models, const char *directory)
{
    Text list = {0};
    append_names(&list, models, directory);
    const char *shown = list.data != NULL ? list.data : "";
    int code;
    if (name[0] == '\0') {
        code = fail_usage("--model expects a GGUF file, a SafeTensors directory or a short name; %s", shown);
    } else if (n_matches > 1) {
        code = fail("%s could be any of %zu models; %s", name, n_matches, shown);
    } else {
        code = fail("%s is no file or directory and no model's short name; %s", name, shown);
    }
    text_free(&list);
    return code;
}

int session_find_model(ImpSettings *settings, char *path, size_t size)
{
    const char *name = imp_settings_string(settings, "models.default");
    if (name[0] != '\0' && (strchr(name, '/') != NULL || exists(name))) {
        return snprintf(path, size, "%s", name) < (int)size ? EXIT_OK : fail("the path of the model is too long");
    }
    char directory[PATH_MAX];
    if (!models_directory(settings, directory, sizeof directory))
        return fail("cannot tell the models directory: $HOME is not set and models.dir is empty");
    ModelNames models;
    size_t n_matches = 0;
    list_models(directory, &models);
    const char *found = name[0] != '\0' ? match_model(&models, name, &n_matches) : NULL;
    int code = EXIT_OK;
    if (found == NULL) {
        code = fail_no_model(name, n_matches, &models, directory);
    } else if (snprintf(path, size, "%s/%s", directory, found) >= (int)size) {
        code = fail("the path of the model is too long");
    }
    free_models(&models);
    return code;
}

/* ---- opening ---- */

static int open_model(Session *session, const Options *options, ImpSettings *settings, bool vocabulary_only)
{
    char path[PATH_MAX];
    *session = (Session){.options = options, .settings = settings};
    session->config = imp_config_default();
    session->params = imp_generate_params_default();
    const int code = session_find_model(settings, path, sizeof path);
    if (code != EXIT_OK) return code;
    if (imp_settings_apply_config(settings, &session->config) != IMP_OK ||
        imp_settings_apply_params(settings, &session->params) != IMP_OK)
        return fail_imp();
    session->config.progress = progress_draw;
    const ImpStatus status = vocabulary_only ? imp_model_load_vocabulary(path, IMP_FORMAT_AUTO, &session->model)
                                             : imp_model_load(path, IMP_FORMAT_AUTO, &session->model);
    session->info.size = sizeof session->info;
    if (status != IMP_OK || imp_model_info(session->model, &session->info) != IMP_OK) return fail_imp();
    return EXIT_OK;
}

/* What --json-schema, --regex or --grammar ask of the answer. */
static int read_constraint(Session *session)
{
    const Options *options = session->options;
    const char *file = options->json_schema != NULL ? options->json_schema : options->grammar;
    Text text = {0};
    int code = EXIT_OK;
    if (file == NULL && options->regex == NULL) return EXIT_OK;
    if (file != NULL) code = text_read_file(&text, file);
    const size_t mark = text.length >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte-order mark, as some editors write it */
    const ImpConstraintKind kind = options->json_schema != NULL ? IMP_CONSTRAINT_SCHEMA
                                   : options->regex != NULL     ? IMP_CONSTRAINT_REGEX
                                                                : IMP_CONSTRAINT_GRAMMAR;
    const char *source = file == NULL ? options->regex : text.data != NULL ? text.data + mark : "";
    const size_t length = file == NULL ? IMP_NUL_TERMINATED : text.length - mark;
    if (code == EXIT_OK && imp_constraint_compile(kind, source, length, &session->constraint) != IMP_OK)
        code = fail("%s: %s", file != NULL ? file : "--regex", imp_last_error());
    session->params.constraint = session->constraint;
    text_free(&text);
    return code;
}

int session_open(Session *session, const Options *options, ImpSettings *settings)
{
    const int code = open_model(session, options, settings, false);
    return code == EXIT_OK ? read_constraint(session) : code;
}

int session_open_vocabulary(Session *session, const Options *options, ImpSettings *settings)
{
    const int code = open_model(session, options, settings, true);
    if (code == EXIT_OK && !session->info.has_vocabulary)
        return fail("the model has no vocabulary: there is nothing to turn text into tokens with");
    return code;
}

/* One token through the model: pages of the file come in, threads and caches are ready. */
static int warm_up(const Session *session)
{
    const int32_t token = session->info.bos >= 0 ? session->info.bos : 0;
    if (imp_prefill(session->context, &token, 1) != IMP_OK) return fail_imp();
    imp_context_reset(session->context);
    return EXIT_OK;
}

int session_start(Session *session)
{
    const ImpStatus status = imp_context_create(session->model, &session->config, &session->context);
    progress_clear();
    if (status != IMP_OK) return fail_imp();
    if (imp_settings_bool(session->settings, "diagnostics.debug_forward") &&
        imp_watch_layers(session->context, session_print_layer, NULL) != IMP_OK)
        return fail_imp();
    return imp_settings_bool(session->settings, "runtime.warmup") ? warm_up(session) : EXIT_OK;
}

void session_close(Session *session)
{
    imp_context_free(session->context);
    imp_constraint_free(session->constraint);
    imp_model_free(session->model);
}

/* ---- prompts ---- */

bool session_uses_template(const Session *session)
{
    if (session->params.chat_template != NULL) return true;
    const char *name = imp_settings_string(session->settings, "generation.chat_template");
    return strcmp(name, "none") != 0 && session->info.has_chat_template;
}

static int render(const Session *session, const ImpMessage *messages, size_t n_messages, Text *out)
{
    size_t length = 0;
    ImpStatus status = imp_chat_render(session->model, messages, n_messages, &session->params, NULL, 0, &length);
    if (status != IMP_OK && status != IMP_ERR_BUFFER_TOO_SMALL) return fail_imp();
    char *buffer = malloc(length + 1);
    if (buffer == NULL) return fail("out of memory for a prompt of %zu bytes", length);
    status = imp_chat_render(session->model, messages, n_messages, &session->params, buffer, length + 1, &length);
    const bool done = status == IMP_OK && text_append(out, buffer, length);
    free(buffer);
    return done ? EXIT_OK : status != IMP_OK ? fail_imp() : fail("out of memory for the prompt");
}

/* generation.force_bos; a prompt that has its BOS keeps the one. */
static bool put_bos(const Session *session, Ids *ids)
{
    const int32_t bos = session->info.bos;
    if (!imp_settings_bool(session->settings, "generation.force_bos") || bos < 0) return true;
    if (ids->count > 0 && ids->data[0] == bos) return true;
    if (!ids_push(ids, bos)) return false;
    memmove(ids->data + 1, ids->data, (ids->count - 1) * sizeof *ids->data);
    ids->data[0] = bos;
    return true;
}

static int tokenize_prompt(const Session *session, const char *text, size_t length, unsigned flags, Ids *ids)
{
    const int code = ids_tokenize(ids, session->model, text, length, flags | IMP_TOKENIZE_PARSE_SPECIAL);
    if (code != EXIT_OK) return code;
    return put_bos(session, ids) ? EXIT_OK : fail("out of memory for the prompt's tokens");
}

int session_text_ids(const Session *session, const char *text, size_t length, Ids *ids)
{
    return tokenize_prompt(session, text, length, IMP_TOKENIZE_ADD_SPECIAL, ids);
}

int session_chat_ids(const Session *session, const ImpMessage *messages, size_t n_messages, Ids *ids)
{
    Text rendered = {0};
    int code = render(session, messages, n_messages, &rendered);
    if (code == EXIT_OK && imp_settings_bool(session->settings, "diagnostics.debug_template"))
        note("prompt:\n%s", rendered.data);
    /* The template writes BOS where the model wants it. */
    if (code == EXIT_OK) code = tokenize_prompt(session, rendered.data, rendered.length, 0, ids);
    text_free(&rendered);
    return code;
}

int session_prompt_ids(const Session *session, Ids *ids)
{
    const char *system = imp_settings_string(session->settings, "generation.system");
    if (session->options->ids != NULL) return ids_read_file(ids, session->options->ids, session->info.n_vocab);
    if (!session->info.has_vocabulary) return fail("the model has no vocabulary: give it token ids with --ids");
    Text prompt = {0};
    int code = text_read_prompt(&prompt, session->options->prompt, true);
    if (code == EXIT_OK && prompt.length == 0) {
        code = fail_usage("the prompt is empty: expected text behind --prompt, in its @file or on standard input");
    } else if (code == EXIT_OK && !session_uses_template(session)) {
        if (system[0] != '\0') note("without a chat template the system message has no effect");
        code = session_text_ids(session, prompt.data, prompt.length, ids);
    } else if (code == EXIT_OK && strlen(prompt.data) != prompt.length) {
        code = fail("the prompt holds a NUL byte: a template takes none");
    } else if (code == EXIT_OK) {
        const ImpMessage messages[] = {{"system", system}, {"user", prompt.data}};
        const size_t first = system[0] == '\0';
        code = session_chat_ids(session, messages + first, 2 - first, ids);
    }
    text_free(&prompt);
    return code;
}

void session_dump_tokens(const Session *session)
{
    if (!imp_settings_bool(session->settings, "diagnostics.dump_tokens")) return;
    int32_t n_tokens;
    const int32_t *tokens = imp_context_tokens(session->context, &n_tokens);
    Text out = {0};
    if (ids_append_json(&out, tokens, (size_t)n_tokens)) note("tokens: %s", out.data);
    text_free(&out);
}

void session_print_layer(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width)
{
    (void)user;
    const size_t count = (size_t)n_rows * (size_t)width;
    double squares = 0;
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        squares += (double)rows[i] * (double)rows[i];
        if (!(fabsf(rows[i]) <= largest)) largest = fabsf(rows[i]); /* a NaN shows */
    }
    note("layer %3d: %d rows, rms %.6g, largest %.6g", layer, n_rows, sqrt(squares / (double)count), (double)largest);
}
