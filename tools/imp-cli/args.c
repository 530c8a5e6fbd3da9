/*
 * args.c - from the command line to options and settings.
 *
 * Two passes, because precedence is not the order of words: the first knows every flag and its argument, so that a
 * mistyped flag is an error before any file is read; then come the configuration file, --set, and at last the named
 * flags.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct Given {
    const Flag *flag;
    const char *argument; /* NULL for a switch */
} Given;

static bool looks_like_flag(const char *word) { return flag_find(word, strcspn(word, "=")) != NULL; }

static int fail_unknown(const char *word)
{
    const int shown = (int)strcspn(word, "=");
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", shown, word);
    if (word[0] != '-')
        return fail_usage("unexpected argument \"%.80s\": expected a flag; the prompt goes behind --prompt", word);
    return fail_usage("there is no flag %s; the nearest is %s", name, flag_nearest(name));
}

/* What a flag that lacks its argument expects, in words. */
static int fail_missing(const Flag *flag, const char *next)
{
    char help[1024];
    flag_describe(flag, help, sizeof help);
    if (next != NULL)
        return fail_usage("%s expects %s, and %s is a flag; write %s=%s when it is meant as text", flag->name,
                          flag->argument, next, flag->name, next);
    return fail_usage("%s expects %s: %s", flag->name, flag->argument, help);
}

/* One word, and the next one where it is the argument; *used is how many words that was. */
static int read_flag(char **words, Given *given, int *used)
{
    const char *word = words[0];
    const size_t length = strcspn(word, "=");
    const Flag *flag = word[0] == '-' ? flag_find(word, length) : NULL;
    if (flag == NULL) return fail_unknown(word);
    *given = (Given){.flag = flag};
    *used = 1;
    if (word[length] == '=') {
        if (flag->argument == NULL)
            return fail_usage("%s is a switch and expects no argument, not \"%.64s\"", flag->name, word + length + 1);
        given->argument = word + length + 1;
    } else if (flag->argument != NULL) {
        if (words[1] == NULL || looks_like_flag(words[1])) return fail_missing(flag, words[1]);
        given->argument = words[1];
        *used = 2;
    }
    return EXIT_OK;
}

static void apply_option(const Given *given, Options *options)
{
    char *base = (char *)options;
    if (given->flag->kind == FLAG_TEXT) {
        *(const char **)(void *)(base + given->flag->offset) = given->argument;
    } else if (given->flag->kind == FLAG_SWITCH) {
        *(bool *)(base + given->flag->offset) = true;
    }
}

/* A flag that is a setting. `first_of_list`: it has yet to empty the list. */
static int apply_setting(const Given *given, ImpSettings *settings, bool first_of_list)
{
    const Flag *flag = given->flag;
    ImpStatus status = IMP_OK;
    if (flag->kind == FLAG_SET) {
        status = imp_settings_assign(settings, given->argument);
    } else if (flag->kind == FLAG_APPEND) {
        if (first_of_list) status = imp_settings_set(settings, flag->setting, "[]");
        if (status == IMP_OK) status = imp_settings_append(settings, flag->setting, given->argument);
    } else if (imp_setting_find(flag->setting)->type == IMP_SETTING_STRING) {
        status = imp_settings_set_string(settings, flag->setting, given->argument);
    } else {
        status = imp_settings_set(settings, flag->setting, given->argument != NULL ? given->argument : flag->value);
    }
    return status == IMP_OK ? EXIT_OK : fail_usage("%s: %s", flag->name, imp_last_error());
}

static bool is_first(const Given *given, int index)
{
    for (int i = 0; i < index; i++)
        if (given[i].flag == given[index].flag) return false;
    return true;
}

static int apply_settings(const Given *given, int count, ImpSettings *settings)
{
    int code = EXIT_OK;
    for (int i = 0; i < count && code == EXIT_OK; i++)
        if (given[i].flag->kind == FLAG_SET) code = apply_setting(&given[i], settings, false);
    for (int i = 0; i < count && code == EXIT_OK; i++)
        if (given[i].flag->setting != NULL) code = apply_setting(&given[i], settings, is_first(given, i));
    return code;
}

/* A bad value in a file is as much a mistake of usage as one on the command line; a file that is not there is not. */
static int load_configuration(const Options *options, ImpSettings *settings)
{
    const ImpStatus status = imp_settings_load(settings, options->config);
    if (status == IMP_OK) return EXIT_OK;
    return status == IMP_ERR_IO || status == IMP_ERR_OUT_OF_MEMORY ? fail_imp() : fail_usage("%s", imp_last_error());
}

/* What a flag makes no sense without, or beside. */
static int check_combination(const Options *options)
{
    const struct {
        bool given;
        const char *name;
    } modes[] = {
        {options->interactive, "--interactive"},
        {options->bench, "--bench"},
        {options->tokenize, "--tokenize"},
        {options->detokenize, "--detokenize"},
        {options->check_constraint, "--check-constraint"},
        {options->render_chat != NULL, "--render-chat"},
        {options->perplexity != NULL, "--perplexity"},
        {options->mem_report, "--mem-report"},
        {options->list_devices, "--list-devices"},
    };
    const char *mode = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (!modes[i].given) continue;
        if (mode != NULL) return fail_usage("%s and %s are different things to do: choose one", mode, modes[i].name);
        mode = modes[i].name;
    }
    const bool text_tool = options->tokenize || options->detokenize || options->check_constraint;
    if (options->jsonl && !text_tool)
        return fail_usage("--jsonl expects --tokenize, --detokenize or --check-constraint beside it");
    const int n_constraints = (options->json_schema != NULL) + (options->regex != NULL) + (options->grammar != NULL);
    if (n_constraints > 1) return fail_usage("--json-schema, --regex and --grammar exclude each other: choose one");
    if (n_constraints > 0 && mode != NULL && !options->interactive)
        return fail_usage("--json-schema, --regex and --grammar do not go with %s", mode);
    if (options->jsonl && options->prompt != NULL)
        return fail_usage("--jsonl reads standard input: leave out --prompt");
    if (options->add_special && !options->tokenize) return fail_usage("--add-special expects --tokenize beside it");
    if (options->no_parse_special && !options->tokenize && options->perplexity == NULL)
        return fail_usage("--no-parse-special expects --tokenize or --perplexity beside it");
    if (options->ids != NULL && options->prompt != NULL)
        return fail_usage("--ids takes the place of --prompt: choose one");
    if (options->ids != NULL && mode != NULL) return fail_usage("--ids does not go with %s", mode);
    if (options->dump_logits != NULL && mode != NULL) return fail_usage("--dump-logits does not go with %s", mode);
    if (options->json && options->interactive) return fail_usage("--json does not go with --interactive");
    return EXIT_OK;
}

int args_parse(int argc, char **argv, Options *options, ImpSettings *settings)
{
    *options = (Options){0};
    Given *given = calloc((size_t)argc + 1, sizeof *given);
    if (given == NULL) return fail("out of memory for %d arguments", argc);
    int code = EXIT_OK, count = 0;
    for (int i = 1, used = 0; i < argc && code == EXIT_OK; i += used) {
        code = read_flag(argv + i, &given[count], &used);
        if (code != EXIT_OK) break;
        apply_option(&given[count], options);
        if (given[count].flag->setting != NULL && strcmp(given[count].flag->setting, "generation.max_tokens") == 0)
            options->max_tokens_given = true;
        count++;
    }
    if (code == EXIT_OK && !options->help && !options->version && options->print_reference == NULL) {
        code = check_combination(options);
        if (code == EXIT_OK) code = load_configuration(options, settings);
        if (code == EXIT_OK) code = apply_settings(given, count, settings);
    }
    free(given);
    return code;
}
