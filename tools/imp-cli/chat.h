/*
 * chat.h - a conversation on the terminal: what chat.c, chat_commands.c and line_editor.c share.
 */
#ifndef IMP_CLI_CHAT_H
#define IMP_CLI_CHAT_H

#include "cli.h"

/* ---- line_editor.c: lines from a person or a pipe ---- */

typedef struct LineEditor LineEditor;

typedef enum LineResult { LINE_READ, LINE_CANCELLED, LINE_END, LINE_FAILED } LineResult;

/* With a terminal on standard input: editing, history kept in the regular file `history_path` ("" or NULL: not kept),
 * Tab completing a word of `completions` (NULL-ended) at the start of a line. Else: plain lines. NULL after printing an
 * error. */
LineEditor *line_editor_create(const char *history_path, const char *const *completions);
void line_editor_free(LineEditor *editor);
bool line_editor_has_terminal(const LineEditor *editor);
/* One line without its end, the editor's until the next call. `prompt` is shown on a terminal only. Ctrl-C gives
 * LINE_CANCELLED, Ctrl-D on an empty line and the end of a file LINE_END. */
LineResult line_editor_read(LineEditor *editor, const char *prompt, const char **line);
/* Adds an entry, perhaps of several lines, to the history. */
void line_editor_remember(LineEditor *editor, const char *entry);
/* While an answer runs: keys that are pressed do not show up in it. */
void line_editor_mute(LineEditor *editor, bool muted);

/* ---- chat.c: the conversation ---- */

typedef struct Turn {
    char *role, *content;
} Turn;

typedef struct Chat {
    Session *session;
    LineEditor *editor;
    Turn *turns; /* without the system message, which is the setting generation.system */
    size_t n_turns, capacity;
    uint64_t regenerations; /* of the last answer, so that a fixed seed gives another one */
    bool leave;
} Chat;

/* false (and a sentence) without memory. */
bool chat_add(Chat *chat, const char *role, const char *content, size_t length);
/* Forgets all but the first n_turns. */
void chat_shorten(Chat *chat, size_t n_turns);
/* Answers the last turn, which is the user's. On failure, which it tells, that turn is taken back. */
void chat_answer(Chat *chat);

/* ---- chat_commands.c: lines that begin with a slash ---- */

/* Runs "/name arguments". */
void chat_command(Chat *chat, const char *line);
/* "/help", …, NULL. */
const char *const *chat_command_names(void);

#endif
