/*
 * text_tools.c - --tokenize, --detokenize and --render-chat: the text side of a model by itself.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Appends the text of the ids; special tokens are kept. A failure names the line that they came from (0: they came alone). */
static int append_text_of(ImpModel model, const Ids *ids, size_t line, Text *out)
{
    size_t length = 0;
    ImpStatus status = imp_detokenize(model, ids->data, ids->count, true, NULL, 0, &length);
    if (status != IMP_OK && status != IMP_ERR_BUFFER_TOO_SMALL)
        return line > 0 ? fail("line %zu: %s", line, imp_last_error()) : fail_imp();
    char *buffer = malloc(length + 1);
    if (buffer == NULL) return fail("out of memory for %zu bytes", length);
    status = imp_detokenize(model, ids->data, ids->count, true, buffer, length + 1, &length);
    const bool done = status == IMP_OK && text_append(out, buffer, length);
    free(buffer);
    return done ? EXIT_OK : status != IMP_OK ? fail_imp() : fail("out of memory for %zu bytes", length);
}

static unsigned tokenize_flags(const Options *options)
{
    return (options->add_special ? IMP_TOKENIZE_ADD_SPECIAL : 0u) |
           (options->no_parse_special ? 0u : IMP_TOKENIZE_PARSE_SPECIAL);
}

/* One line in, one line out; scratch that is used again for the next. */
typedef struct LineWork {
    Session *session;
    Text text, out;
    Ids ids;
} LineWork;

static int tokenize_text(LineWork *work, const char *text, size_t length)
{
    const int code =
        ids_tokenize(&work->ids, work->session->model, text, length, tokenize_flags(work->session->options));
    if (code != EXIT_OK) return code;
    return ids_append_json(&work->out, work->ids.data, work->ids.count) ? EXIT_OK : fail("out of memory");
}

static int tokenize_line(LineWork *work, const char *line, size_t length, size_t number)
{
    const char *error;
    text_clear(&work->text);
    if (!text_append(&work->text, "", 0)) return fail("out of memory");
    if (!text_parse_json(&work->text, line, length, &error)) return fail("line %zu: %s", number, error);
    return tokenize_text(work, work->text.data, work->text.length);
}

static int detokenize_line(LineWork *work, const char *line, size_t length, size_t number)
{
    const char *error;
    work->ids.count = 0;
    text_clear(&work->text);
    if (!text_append(&work->text, "", 0)) return fail("out of memory");
    if (!ids_parse_json(&work->ids, line, length, &error)) return fail("line %zu: %s", number, error);
    const int code = append_text_of(work->session->model, &work->ids, number, &work->text);
    if (code != EXIT_OK) return code;
    return text_append_json(&work->out, work->text.data, work->text.length) ? EXIT_OK : fail("out of memory");
}

/* Answers every line of standard input as soon as it is there, so that a program can talk to imp-cli over pipes. */
static int run_lines(LineWork *work, int (*handle)(LineWork *, const char *, size_t, size_t))
{
    char *line = NULL;
    size_t capacity = 0, number = 0;
    int code = EXIT_OK;
    for (ssize_t length; code == EXIT_OK && (length = getline(&line, &capacity, stdin)) >= 0;) {
        text_clear(&work->out);
        if (length > 0 && line[length - 1] == '\n') length--;
        code = handle(work, line, (size_t)length, ++number);
        if (code == EXIT_OK && !text_puts(&work->out, "\n")) code = fail("out of memory");
        if (code == EXIT_OK && !output_write(work->out.data, work->out.length)) code = output_status();
    }
    if (code == EXIT_OK && ferror(stdin)) code = fail("cannot read standard input");
    free(line);
    return code;
}

static void free_work(LineWork *work)
{
    text_free(&work->text);
    text_free(&work->out);
    ids_free(&work->ids);
}

static int check_line(LineWork *work, const char *line, size_t length, size_t number)
{
    /* Asked once: a second time the masks would be those that the first one kept. An answer is a few numbers and a sentence. */
    enum { ROOM = 64 << 10 };
    size_t needed = 0;
    char *buffer = malloc(ROOM);
    text_clear(&work->text);
    if (buffer == NULL) return fail("out of memory");
    const ImpStatus status = imp_constraint_check(work->session->model, line, length, buffer, ROOM, &needed);
    const int code = status != IMP_OK                            ? fail("line %zu: %s", number, imp_last_error())
                     : text_append(&work->out, buffer, needed) ? EXIT_OK
                                                               : fail("out of memory");
    free(buffer);
    return code;
}

int check_constraint_run(Session *session)
{
    LineWork work = {.session = session};
    const int code = run_lines(&work, check_line);
    free_work(&work);
    return code;
}

int tokenize_run(Session *session)
{
    LineWork work = {.session = session};
    Text text = {0};
    int code;
    if (session->options->jsonl) {
        code = run_lines(&work, tokenize_line);
    } else {
        code = text_read_prompt(&text, session->options->prompt, false);
        if (code == EXIT_OK) code = tokenize_text(&work, text.data, text.length);
        if (code == EXIT_OK && !output_printf("%s\n", work.out.data)) code = output_status();
    }
    text_free(&text);
    free_work(&work);
    return code;
}

int detokenize_run(Session *session)
{
    LineWork work = {.session = session};
    Text text = {0};
    const char *error;
    int code;
    if (session->options->jsonl) {
        code = run_lines(&work, detokenize_line);
    } else {
        code = text_read_prompt(&text, session->options->prompt, false);
        if (code == EXIT_OK && !ids_parse_json(&work.ids, text.data, text.length, &error)) code = fail("%s", error);
        if (code == EXIT_OK) code = append_text_of(session->model, &work.ids, 0, &work.out);
        /* Nothing is added: the bytes are the ids' text and no more. */
        if (code == EXIT_OK && !output_write(work.out.data, work.out.length)) code = output_status();
    }
    text_free(&text);
    free_work(&work);
    return code;
}

/* ---- templates ---- */

static int print_rendered(ImpModel model, const char *source, const char *json)
{
    size_t length = 0;
    ImpStatus status = imp_template_render(model, source, json, NULL, 0, &length);
    if (status != IMP_OK && status != IMP_ERR_BUFFER_TOO_SMALL) return fail_imp();
    char *buffer = malloc(length + 1);
    if (buffer == NULL) return fail("out of memory for %zu bytes", length);
    status = imp_template_render(model, source, json, buffer, length + 1, &length);
    int code = EXIT_OK;
    if (status != IMP_OK) {
        code = fail_imp();
    } else if (!output_write(buffer, length)) {
        code = output_status();
    }
    free(buffer);
    return code;
}

int render_run(const Options *options, ImpSettings *settings)
{
    ImpGenerateParams params = imp_generate_params_default();
    if (imp_settings_apply_params(settings, &params) != IMP_OK) return fail_imp();
    const char *name = imp_settings_string(settings, "generation.chat_template");
    if (params.chat_template == NULL && strcmp(name, "none") == 0)
        return fail_usage("--render-chat expects a template: --chat-template none leaves it none");

    Session session = {0};
    Text json = {0};
    int code = text_read_file(&json, options->render_chat);
    if (code == EXIT_OK && strlen(json.data) != json.length) code = fail("%s holds a NUL byte", options->render_chat);
    /* A template of its own may still want the model's bos_token, so a model that was named is opened. */
    const bool wants_model = params.chat_template == NULL || imp_settings_string(settings, "models.default")[0] != '\0';
    if (code == EXIT_OK && wants_model) code = session_open_vocabulary(&session, options, settings);
    if (code == EXIT_OK) code = print_rendered(session.model, params.chat_template, json.data);
    session_close(&session);
    text_free(&json);
    return code;
}
