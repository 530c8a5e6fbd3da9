/* flags.c - flags and what they set; every other key of imp.conf is within reach of --set. */
#include "flags.h"

#include "imp/imp.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Flag flags[] = {
    {"--model", "MODEL", "models.default",
     "GGUF file, SafeTensors directory, or name of a model in the models directory."},
    {"--host", "ADDRESS", "server.host", NULL},
    {"--port", "N", "server.port", NULL},
    {"--api-key", "KEY", "server.api_key", NULL},
    {"--max-concurrent", "N", "server.max_concurrent", NULL},
    {"--max-waiting", "N", "server.max_waiting", NULL},
    {"--rate-limit", "N", "server.rate_limit", NULL},
    {"--log-requests", "FILE", "server.log_requests", NULL},
    {"--reasoning-format", "FORMAT", "server.reasoning_format", NULL},
    {"--think-budget", "SHARE", "server.think_budget", NULL},
    {"--prefix-pin-budget-pct", "P", "server.prefix_pin_budget_pct", NULL},
    {"--chat-template", "NAME", "generation.chat_template", NULL},
    {"--chat-template-file", "FILE", "generation.chat_template_file", NULL},
    {"--max-tokens", "N", "generation.max_tokens",
     "Most tokens of an answer, for requests that do not say; 0: no limit."},
    {"--device", "NAME", "runtime.device", NULL},
    {"--gpu-layers", "N", "runtime.gpu_layers", NULL},
    {"--threads", "N", "cpu.threads", NULL},
    {"--max-seq-len", "N", "runtime.max_seq_len", NULL},
    {"--kv-tokens", "N", "server.kv_tokens", NULL},
    {"--min-kv-tokens", "N", "kv_cache.min_tokens", NULL},
    {"--prefill-chunk-size", "N", "runtime.prefill_chunk_size", NULL},
    {"--config", "FILE", NULL, "Configuration file, in place of $IMP_CONFIG, ./imp.conf or ~/.config/imp/imp.conf."},
    {"--set", "KEY=VALUE", NULL, "Set any key of imp.conf. May be repeated; named flags have the last word."},
    {"--version", NULL, NULL, "Print the version."},
    {"--help", NULL, NULL, "Print this."},
};
enum { N_FLAGS = sizeof flags / sizeof flags[0] };

const Flag *flag_at(size_t index) { return index < N_FLAGS ? &flags[index] : NULL; }

int fail(int code, const char *sentence)
{
    (void)fprintf(stderr, "imp-server: %s\n", sentence);
    return code;
}

void flag_describe(const Flag *flag, char *out, size_t size)
{
    const ImpSettingInfo *info = flag->setting != NULL ? imp_setting_find(flag->setting) : NULL;
    const char *value = info != NULL ? info->default_value : "\"\"";
    char range[256] = "";
    if (info != NULL && info->type == IMP_SETTING_CHOICE) (void)imp_setting_range(info, range, sizeof range);
    const bool quoted = value[0] == '"', has_default = strcmp(value, "\"\"") != 0;
    const int length = (int)strlen(value) - (quoted ? 2 : 0);
    (void)snprintf(out, size, "%s%s%s%s%s%.*s%s", flag->help != NULL ? flag->help : info->help,
                   has_default || range[0] != '\0' ? " (" : "", range, has_default && range[0] != '\0' ? "; " : "",
                   has_default ? "default " : "", has_default ? length : 0, value + quoted,
                   has_default || range[0] != '\0' ? ")" : "");
}

/* ---- reading ---- */

static int unknown_flag(const char *word)
{
    const char *names[N_FLAGS + 1];
    char sentence[256];
    for (size_t i = 0; i < N_FLAGS; i++) names[i] = flags[i].name;
    names[N_FLAGS] = NULL;
    (void)snprintf(sentence, sizeof sentence, "there is no flag %.64s; the nearest is %s", word,
                   imp_nearest_name(word, names));
    return fail(EXIT_USAGE, sentence);
}

static const Flag *find_flag(const char *word)
{
    const size_t length = strcspn(word, "=");
    for (size_t i = 0; i < N_FLAGS; i++)
        if (strlen(flags[i].name) == length && strncmp(word, flags[i].name, length) == 0) return &flags[i];
    return NULL;
}

typedef enum Pass { PASS_CONFIG, PASS_SET, PASS_NAMED } Pass;

/* What one flag does in one pass. */
static ImpStatus apply(const Flag *flag, const char *argument, Pass pass, ImpSettings *settings, const char **config)
{
    if (strcmp(flag->name, "--config") == 0) *config = argument;
    if (pass == PASS_SET && strcmp(flag->name, "--set") == 0) return imp_settings_assign(settings, argument);
    if (pass == PASS_NAMED && flag->setting != NULL) return imp_settings_set(settings, flag->setting, argument);
    return IMP_OK;
}

/* One pass over the words: all of them are checked in each. */
static int read_words(char **words, Pass pass, ImpSettings *settings, const char **config)
{
    char sentence[1400];
    for (; *words != NULL; words++) {
        const Flag *flag = find_flag(*words);
        if (flag == NULL) return unknown_flag(*words);
        const char *equals = strchr(*words, '='), *argument = equals != NULL ? equals + 1 : NULL;
        if (flag->argument == NULL && argument != NULL) {
            (void)snprintf(sentence, sizeof sentence, "%s takes no argument", flag->name);
            return fail(EXIT_USAGE, sentence);
        }
        if (flag->argument == NULL) continue;
        if (argument == NULL) argument = *++words;
        if (argument == NULL) {
            (void)snprintf(sentence, sizeof sentence, "%s expects %s", flag->name, flag->argument);
            return fail(EXIT_USAGE, sentence);
        }
        if (apply(flag, argument, pass, settings, config) != IMP_OK) {
            (void)snprintf(sentence, sizeof sentence, "%s: %s", flag->name, imp_last_error());
            return fail(EXIT_USAGE, sentence);
        }
    }
    return EXIT_SUCCESS;
}

int flags_read(char **words, ImpSettings *settings)
{
    const char *config = NULL;
    int code = read_words(words, PASS_CONFIG, settings, &config);
    if (code == EXIT_SUCCESS && imp_settings_load(settings, config) != IMP_OK)
        code = fail(EXIT_USAGE, imp_last_error());
    if (code == EXIT_SUCCESS) code = read_words(words, PASS_SET, settings, &config);
    return code == EXIT_SUCCESS ? read_words(words, PASS_NAMED, settings, &config) : code;
}
