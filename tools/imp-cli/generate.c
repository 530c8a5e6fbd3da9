/*
 * generate.c - one prompt, one answer: text to standard output as it comes, or a JSON object when it is done.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const char *generate_stop_name(ImpStopReason reason)
{
    static const char *const names[] = {
        [IMP_STOP_NONE] = "none",           [IMP_STOP_END] = "end",
        [IMP_STOP_LENGTH] = "length",       [IMP_STOP_CONTEXT] = "context",
        [IMP_STOP_STRING] = "stop string",  [IMP_STOP_CALLBACK] = "output",
        [IMP_STOP_CANCELLED] = "cancelled",
    };
    return names[reason];
}

static double per_second(int32_t count, double seconds) { return seconds > 0 ? count / seconds : 0; }

void generate_report(const Session *session, bool asked)
{
    ImpStats stats = {.size = sizeof stats};
    if (imp_stats(session->context, &stats) != IMP_OK) return;
    const int32_t computed = stats.prompt_tokens - stats.reused_tokens;
    const char *dim = terminal_has_colour() ? "\x1b[2m" : "", *plain = terminal_has_colour() ? "\x1b[0m" : "";
    const char *why = stats.stop_reason == IMP_STOP_LENGTH      ? "; cut at --max-tokens"
                      : stats.stop_reason == IMP_STOP_CONTEXT   ? "; the context is full"
                      : stats.stop_reason == IMP_STOP_CANCELLED ? "; stopped"
                                                                : "";
    (asked ? tell : note)("%s%d tokens, %.1f tok/s (prompt: %d tokens, %.1f tok/s)%s%s", dim, stats.generated_tokens,
                          per_second(stats.generated_tokens, stats.generate_seconds), stats.prompt_tokens,
                          per_second(computed, stats.prompt_seconds), why, plain);
}

/* ---- what happens to the text ---- */

bool generate_take_text(void *user, const char *text, size_t length)
{
    Answer *answer = user;
    progress_clear();
    if (length == 0 || answer->silent) return true;
    answer->last = text[length - 1];
    return output_text(text, length);
}

static int print_json(const Session *session)
{
    ImpStats stats = {.size = sizeof stats};
    size_t length;
    const char *text = imp_generated_text(session->context, &length);
    Text out = {0};
    if (imp_stats(session->context, &stats) != IMP_OK) return fail_imp();
    bool done =
        text_puts(&out, "{\"text\": ") && text_append_json(&out, text, length) && text_puts(&out, ", \"tokens\": ");
    int32_t n_tokens;
    const int32_t *tokens = imp_generated_tokens(session->context, &n_tokens);
    done = done && ids_append_json(&out, tokens, (size_t)n_tokens);
    if (done)
        (void)output_printf("%s, \"prompt_tokens\": %d, \"generated_tokens\": %d, \"forced_tokens\": %d, \"stop\": \"%s\", \"seed\": %llu, "
                            "\"prompt_seconds\": %.6f, \"generate_seconds\": %.6f}\n",
                            out.data, stats.prompt_tokens, stats.generated_tokens, stats.forced_tokens,
                            generate_stop_name(stats.stop_reason), (unsigned long long)stats.seed, stats.prompt_seconds,
                            stats.generate_seconds);
    text_free(&out);
    return done ? output_status() : fail("out of memory");
}

/* Without a vocabulary the answer is ids. */
static int print_ids(const Session *session)
{
    int32_t n_tokens;
    const int32_t *tokens = imp_generated_tokens(session->context, &n_tokens);
    Text out = {0};
    const bool done = ids_append_json(&out, tokens, (size_t)n_tokens);
    if (done) (void)output_printf("%s\n", out.data);
    text_free(&out);
    return done ? output_status() : fail("out of memory");
}

/* What follows the last token: line end, JSON or ids, and the lines for people. */
static int finish(const Session *session, const Answer *answer)
{
    int code = EXIT_OK;
    progress_clear();
    if (answer->silent) {
        code = print_json(session);
    } else if (!session->info.has_vocabulary) {
        code = print_ids(session);
    } else if (answer->last != '\n') {
        (void)output_write("\n", 1);
    }
    session_dump_tokens(session);
    if (output_status() == EXIT_OK) generate_report(session, false);
    return code != EXIT_OK ? code : output_status();
}

int generate_answer(Session *session, const Ids *ids)
{
    Answer answer = {.silent = session->options->json};
    const ImpStatus status = imp_generate_tokens(session->context, ids->data, (int32_t)ids->count, &session->params,
                                                 generate_take_text, &answer);
    progress_clear();
    return status == IMP_OK ? finish(session, &answer) : fail_imp();
}

int generate_run(Session *session)
{
    Ids ids = {0};
    int code = session_prompt_ids(session, &ids);
    if (code == EXIT_OK) code = session_start(session);
    if (code == EXIT_OK) code = generate_answer(session, &ids);
    ids_free(&ids);
    return code;
}
