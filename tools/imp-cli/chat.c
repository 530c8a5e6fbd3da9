/*
 * chat.c - the conversation: read a message, answer it, remember both.
 *
 * The whole conversation is handed over for every answer; the context computes only what it does not hold yet. Without
 * a template the conversation is one text that both sides prolong.
 */
#include "chat.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- turns ---- */

bool chat_add(Chat *chat, const char *role, const char *content, size_t length)
{
    if (chat->n_turns == chat->capacity) {
        const size_t capacity = chat->capacity == 0 ? 16 : chat->capacity * 2;
        Turn *turns = realloc(chat->turns, capacity * sizeof *turns);
        if (turns == NULL) {
            (void)fail("out of memory for %zu messages", capacity);
            return false;
        }
        chat->turns = turns;
        chat->capacity = capacity;
    }
    const Turn turn = {strdup(role), strndup(content, length)};
    if (turn.role == NULL || turn.content == NULL) {
        free(turn.role);
        free(turn.content);
        (void)fail("out of memory for a message of %zu bytes", length);
        return false;
    }
    chat->turns[chat->n_turns++] = turn;
    return true;
}

void chat_shorten(Chat *chat, size_t n_turns)
{
    while (chat->n_turns > n_turns) {
        const Turn *turn = &chat->turns[--chat->n_turns];
        free(turn->role);
        free(turn->content);
    }
}

/* ---- answers ---- */

/* The context that Ctrl-C stops; NULL while none works. A signal handler has nowhere else to look. */
static ImpContext volatile working_context;

static void handle_interrupt(int signal_number)
{
    (void)signal_number;
    const ImpContext context = working_context;
    if (context != NULL) imp_context_cancel(context);
}

/* The conversation through the template. */
static int message_ids(const Chat *chat, Ids *ids)
{
    const char *system = imp_settings_string(chat->session->settings, "generation.system");
    ImpMessage *messages = calloc(chat->n_turns + 1, sizeof *messages);
    if (messages == NULL) return fail("out of memory for %zu messages", chat->n_turns);
    size_t count = 0;
    if (system[0] != '\0') messages[count++] = (ImpMessage){"system", system};
    for (size_t i = 0; i < chat->n_turns; i++)
        messages[count++] = (ImpMessage){chat->turns[i].role, chat->turns[i].content};
    const int code = session_chat_ids(chat->session, messages, count, ids);
    free(messages);
    return code;
}

/* The conversation as one text. */
static int text_ids(const Chat *chat, Ids *ids)
{
    Text text = {0};
    bool done = true;
    for (size_t i = 0; i < chat->n_turns && done; i++) {
        if (i > 0 && strcmp(chat->turns[i].role, "user") == 0) done = text_puts(&text, "\n");
        done = done && text_puts(&text, chat->turns[i].content);
    }
    const int code = done ? session_text_ids(chat->session, text.data, text.length, ids)
                          : fail("out of memory for the conversation");
    text_free(&text);
    return code;
}

/* The call itself, with Ctrl-C meaning "enough" while it runs. */
static ImpStatus generate(Chat *chat, const Ids *ids, Answer *answer)
{
    struct sigaction before, during = {.sa_handler = handle_interrupt};
    ImpGenerateParams params = chat->session->params;
    if (params.seed != IMP_SEED_RANDOM) params.seed += chat->regenerations;
    (void)sigemptyset(&during.sa_mask);
    working_context = chat->session->context;
    (void)sigaction(SIGINT, &during, &before);
    line_editor_mute(chat->editor, true);
    const ImpStatus status = imp_generate_tokens(chat->session->context, ids->data, (int32_t)ids->count, &params,
                                                 generate_take_text, answer);
    line_editor_mute(chat->editor, false);
    (void)sigaction(SIGINT, &before, NULL);
    working_context = NULL;
    progress_clear();
    return status;
}

/* What becomes of the conversation after an answer, or after what was to be one. */
static void take_answer(Chat *chat, ImpStatus status)
{
    size_t length;
    const char *text = imp_generated_text(chat->session->context, &length);
    if (status != IMP_OK && status != IMP_ERR_CANCELLED) {
        (void)fail_imp();
        if (status == IMP_ERR_CONTEXT_FULL) note("/reset starts anew; --max-seq-len makes room for more");
        chat_shorten(chat, chat->n_turns - 1);
    } else if (status == IMP_ERR_CANCELLED && length == 0) {
        note("stopped before the first word; the message is taken back");
        chat_shorten(chat, chat->n_turns - 1);
    } else if (!chat_add(chat, "assistant", text, length) || output_status() != EXIT_OK) {
        chat->leave = true;
    } else {
        session_dump_tokens(chat->session);
        generate_report(chat->session, false);
    }
}

void chat_answer(Chat *chat)
{
    Answer answer = {0};
    Ids ids = {0};
    if ((session_uses_template(chat->session) ? message_ids(chat, &ids) : text_ids(chat, &ids)) == EXIT_OK) {
        const ImpStatus status = generate(chat, &ids, &answer);
        if (answer.last != '\0' && answer.last != '\n') (void)output_write("\n", 1);
        take_answer(chat, status);
    } else {
        chat_shorten(chat, chat->n_turns - 1);
    }
    ids_free(&ids);
}

/* ---- messages ---- */

/* A message may run on: after a backslash at the end of a line, or between lines of """. */
static LineResult read_message(Chat *chat, Text *message)
{
    static const char fence[] = "\"\"\"";
    const bool colour = terminal_has_colour();
    const char *prompt = colour ? "\1\x1b[1;32m\1>\1\x1b[0m\1 " : "> ";
    const char *line;
    bool fenced = false;
    text_clear(message);
    if (!text_append(message, "", 0)) return LINE_FAILED;
    for (;;) {
        const LineResult result = line_editor_read(chat->editor, prompt, &line);
        if (result == LINE_END && message->length > 0) return LINE_READ;
        if (result != LINE_READ) return result;
        prompt = colour ? "\1\x1b[2m\1.\1\x1b[0m\1 " : ". ";
        size_t length = strlen(line);
        if (strcmp(line, fence) == 0) {
            if (fenced) return LINE_READ;
            fenced = true;
            continue;
        }
        const bool goes_on = !fenced && length > 0 && line[length - 1] == '\\';
        if (goes_on) length--;
        if (message->length > 0 && !text_append(message, "\n", 1)) return LINE_FAILED;
        if (!text_append(message, line, length)) return LINE_FAILED;
        if (!goes_on && !fenced) return LINE_READ;
    }
}

static void handle_message(Chat *chat, const char *message)
{
    line_editor_remember(chat->editor, message);
    if (message[0] == '/' && message[1] != '/') {
        chat_command(chat, message);
        return;
    }
    if (message[0] == '/') message++; /* "//etc" is text that begins with a slash */
    if (message[strspn(message, " \t\n")] == '\0') return;
    chat->regenerations = 0;
    if (chat_add(chat, "user", message, strlen(message))) chat_answer(chat);
}

static int converse(Chat *chat)
{
    Text message = {0};
    int code = EXIT_OK;
    while (!chat->leave && code == EXIT_OK) {
        const LineResult result = read_message(chat, &message);
        if (result == LINE_READ) {
            handle_message(chat, message.data);
        } else if (result == LINE_FAILED) {
            code = fail("cannot read standard input: %s", strerror(errno));
        } else if (result == LINE_END) {
            break;
        }
    }
    text_free(&message);
    return code;
}

/* ---- beginning ---- */

static void find_history(const ImpSettings *settings, char *path, size_t size)
{
    const char *named = imp_settings_string(settings, "paths.history"), *home = getenv("HOME");
    if (named[0] != '\0') {
        (void)snprintf(path, size, "%s", named);
    } else if (home != NULL && home[0] != '\0') {
        (void)snprintf(path, size, "%s/.local/state/imp/history", home);
    } else {
        path[0] = '\0';
    }
}

static void greet(const Chat *chat)
{
    const ImpModelInfo *info = &chat->session->info;
    if (!line_editor_has_terminal(chat->editor)) return;
    note("%s (%s %s), room for %d tokens%s. /help tells more, Ctrl-D leaves.",
         info->name[0] != '\0' ? info->name : "A model", info->architecture, info->weight_type,
         imp_context_capacity(chat->session->context),
         session_uses_template(chat->session) ? "" : "; without a template it continues what you write");
}

static int first_message(Chat *chat)
{
    Text prompt = {0};
    const int code = text_read_prompt(&prompt, chat->session->options->prompt, true);
    if (code == EXIT_OK && chat_add(chat, "user", prompt.data, prompt.length)) chat_answer(chat);
    text_free(&prompt);
    return code;
}

int chat_run(Session *session)
{
    Chat chat = {.session = session};
    char history[PATH_MAX];
    if (!session->info.has_vocabulary) return fail("the model has no vocabulary: it cannot chat");
    int code = session_start(session);
    if (code != EXIT_OK) return code;
    find_history(session->settings, history, sizeof history);
    chat.editor = line_editor_create(history, chat_command_names());
    if (chat.editor == NULL) return EXIT_FAILED;
    greet(&chat);
    if (session->options->prompt != NULL) code = first_message(&chat);
    if (code == EXIT_OK) code = converse(&chat);
    line_editor_free(chat.editor);
    chat_shorten(&chat, 0);
    free(chat.turns);
    return code != EXIT_OK ? code : output_status();
}
