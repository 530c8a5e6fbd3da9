/*
 * main.c - imp-cli: what was asked for, done, and its exit code.
 */
#include "cli.h"

#include <locale.h>
#include <string.h>
#include <unistd.h>

static void print_log(ImpLogLevel level, const char *line, void *user)
{
    (void)user;
    static const char *const names[] = {
        [IMP_LOG_ERROR] = "error", [IMP_LOG_WARNING] = "warning", [IMP_LOG_INFO] = "info", [IMP_LOG_DEBUG] = "debug"};
    progress_clear();
    (void)fprintf(stderr, "imp-cli: %s: %s\n", names[level], line);
}

static void start_log(const Options *options, const ImpSettings *settings)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    const char *wanted = imp_settings_string(settings, "diagnostics.log_level");
    ImpLogLevel level = IMP_LOG_ERROR;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], wanted) == 0) level = (ImpLogLevel)i;
    imp_log_set(print_log, NULL, options->quiet ? IMP_LOG_ERROR : level);
}

/* A chat needs a person at both ends; without a prompt and with a terminal to type at, that is what is meant. */
static bool wants_chat(const Options *options)
{
    return options->interactive || (options->prompt == NULL && options->ids == NULL && isatty(STDIN_FILENO));
}

static int run_model(const Options *options, ImpSettings *settings)
{
    Session session;
    int code;
    if (options->tokenize || options->detokenize || options->check_constraint) {
        code = session_open_vocabulary(&session, options, settings);
        if (code == EXIT_OK)
            code = options->tokenize     ? tokenize_run(&session)
                   : options->detokenize ? detokenize_run(&session)
                                         : check_constraint_run(&session);
    } else {
        const bool dumps =
            options->dump_logits != NULL || imp_settings_string(settings, "diagnostics.dump_hidden_dir")[0] != '\0';
        code = session_open(&session, options, settings);
        if (code == EXIT_OK && options->bench) {
            code = bench_run(&session);
        } else if (code == EXIT_OK && options->mem_report) {
            code = memory_run(&session);
        } else if (code == EXIT_OK && options->perplexity != NULL) {
            code = perplexity_run(&session);
        } else if (code == EXIT_OK && dumps) {
            code = dump_run(&session);
        } else if (code == EXIT_OK && wants_chat(options)) {
            code = chat_run(&session);
        } else if (code == EXIT_OK) {
            code = generate_run(&session);
        }
    }
    session_close(&session);
    return code;
}

static int run(const Options *options, ImpSettings *settings)
{
    if (options->help) return help_print();
    if (options->version) return output_printf("imp-cli %s\n", imp_version()) ? EXIT_OK : output_status();
    if (options->print_reference != NULL) return reference_print(options->print_reference);
    start_log(options, settings);
    const bool reads_prompt = !(options->bench || options->perplexity != NULL || options->mem_report ||
                                options->list_devices || options->render_chat != NULL || options->check_constraint);
    if (options->prompt != NULL && !reads_prompt) note("--prompt has no effect here: nothing is asked of the model");
    if (options->list_devices) return devices_run(options);
    if (options->render_chat != NULL) return render_run(options, settings);
    return run_model(options, settings);
}

int main(int argc, char **argv)
{
    Options options;
    ImpSettings *settings = NULL;
    (void)setlocale(LC_CTYPE, "");
    terminal_start(false);
    if (imp_settings_create(&settings) != IMP_OK) return fail_imp();
    int code = args_parse(argc, argv, &options, settings);
    terminal_start(options.quiet);
    if (code == EXIT_OK) code = run(&options, settings);
    if (code == EXIT_OK) code = output_status();
    imp_settings_free(settings);
    return code;
}
