/*
 * line_editor.c - lines to send, through libedit on a terminal and by plain reads elsewhere.
 *
 * The editor draws on standard error, for standard output is the answers' alone. Ctrl-C is an ordinary key while a line
 * is edited: the terminal's interrupt character is switched off then, and the key bound to a function that drops the
 * line.
 */
#include "chat.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include <histedit.h>

enum { HISTORY_ENTRIES = 1000 };

struct LineEditor {
    EditLine *edit; /* NULL: no terminal */
    History *history;
    FILE *screen;
    char *history_path;
    const char *const *completions;
    const char *prompt;
    bool cancelled;
    char *line; /* of getline, or the editor's line without its end */
    size_t capacity;
    struct termios before_mute;
    bool muted;
};

/* ---- keys ---- */

static LineEditor *editor_of(EditLine *edit)
{
    void *editor = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &editor);
    return editor;
}

static char *show_prompt(EditLine *edit)
{
    /* libedit's type has no const, yet it only reads. */
    union {
        const char *in;
        char *out;
    } prompt = {.in = editor_of(edit)->prompt};
    return prompt.out;
}

static unsigned char cancel_line(EditLine *edit, int key)
{
    (void)key;
    editor_of(edit)->cancelled = true;
    return CC_EOF;
}

/* Terminals that are asked to put marks around pasted text: its line ends then send nothing, they become part of the
 * line. */
static const char paste_marks_on[] = "\x1b[?2004h", paste_marks_off[] = "\x1b[?2004l";
static const wchar_t paste_end[] = L"\x1b[201~";

enum { PASTE_END_LENGTH = sizeof paste_end / sizeof paste_end[0] - 1, PASTE_LIMIT = 1 << 20 };

/* Reads up to the closing mark; the pasted text without it and without a last line end. NULL without memory. */
static wchar_t *read_paste(EditLine *edit)
{
    size_t length = 0, capacity = 256;
    wchar_t *text = malloc(capacity * sizeof *text), character;
    while (text != NULL && length < PASTE_LIMIT && el_wgetc(edit, &character) == 1) {
        if (length + 1 == capacity) {
            wchar_t *larger = realloc(text, 2 * capacity * sizeof *text);
            if (larger == NULL) break;
            text = larger;
            capacity *= 2;
        }
        text[length++] = character == L'\r' ? L'\n' : character;
        if (length < PASTE_END_LENGTH || wmemcmp(text + length - PASTE_END_LENGTH, paste_end, PASTE_END_LENGTH) != 0)
            continue;
        length -= PASTE_END_LENGTH;
        if (length > 0 && text[length - 1] == L'\n') length--;
        break;
    }
    if (text != NULL) text[length] = L'\0';
    return text;
}

static unsigned char paste(EditLine *edit, int key)
{
    (void)key;
    wchar_t *text = read_paste(edit);
    const bool inserted = text != NULL && (text[0] == L'\0' || el_winsertstr(edit, text) == 0);
    free(text);
    return inserted ? CC_REFRESH : CC_REFRESH_BEEP;
}

/* libedit's own handler gives the terminal back first. */
static unsigned char suspend(EditLine *edit, int key)
{
    (void)edit;
    (void)key;
    (void)raise(SIGTSTP);
    return CC_REFRESH;
}

/* The one word of the list that begins as the line does. */
static unsigned char complete_word(EditLine *edit, int key)
{
    (void)key;
    const LineInfo *info = el_line(edit);
    const size_t length = (size_t)(info->cursor - info->buffer);
    const char *found = NULL;
    for (const char *const *word = editor_of(edit)->completions; *word != NULL; word++) {
        if (length == 0 || strncmp(*word, info->buffer, length) != 0) continue;
        if (found != NULL) return CC_REFRESH_BEEP;
        found = *word;
    }
    if (found == NULL || el_insertstr(edit, found + length) != 0 || el_insertstr(edit, " ") != 0)
        return CC_REFRESH_BEEP;
    return CC_REFRESH;
}

static void bind_keys(EditLine *edit)
{
    static const char *const keys[][2] = {
        {"^C", "imp-cancel-line"},    {"^Z", "imp-suspend"},        {"\\e[200~", "imp-paste"},
        {"^I", "imp-complete"},       {"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"},
        {"\\e[H", "ed-move-to-beg"},  {"\\e[F", "ed-move-to-end"},  {"\\e[1~", "ed-move-to-beg"},
        {"\\e[4~", "ed-move-to-end"}, {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},
    };
    (void)el_set(edit, EL_ADDFN, "imp-cancel-line", "Drop the line", cancel_line);
    (void)el_set(edit, EL_ADDFN, "imp-suspend", "Stop until the shell goes on", suspend);
    (void)el_set(edit, EL_ADDFN, "imp-paste", "Insert pasted text as it is", paste);
    (void)el_set(edit, EL_ADDFN, "imp-complete", "Complete a command", complete_word);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) (void)el_set(edit, EL_BIND, keys[i][0], keys[i][1], NULL);
    (void)el_set(edit, EL_SETTY, "-d", "-isig", NULL);
}

/* ---- creation ---- */

/* The directories above a file; a history that cannot be kept is no reason to refuse a chat. */
static void make_parents(const char *path)
{
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof parent, "%s", path);
    for (char *slash = strchr(parent + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(parent, 0700);
        *slash = '/';
    }
}

/* libedit sets the permissions of what it saves to: no device may be that, nor a pipe, which would block. */
static bool can_keep_history(const char *path)
{
    struct stat info;
    return path != NULL && path[0] != '\0' && (stat(path, &info) != 0 || S_ISREG(info.st_mode));
}

static bool open_terminal(LineEditor *editor)
{
    HistEvent event;
    const int descriptor = dup(isatty(STDERR_FILENO) ? STDERR_FILENO : STDOUT_FILENO);
    editor->screen = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    if (editor->screen == NULL) return false;
    editor->edit = el_init("imp-cli", stdin, editor->screen, editor->screen);
    editor->history = history_init();
    if (editor->edit == NULL || editor->history == NULL) return false;
    (void)history(editor->history, &event, H_SETSIZE, HISTORY_ENTRIES);
    (void)history(editor->history, &event, H_SETUNIQUE, 1);
    if (editor->history_path != NULL) (void)history(editor->history, &event, H_LOAD, editor->history_path);
    (void)el_set(editor->edit, EL_CLIENTDATA, editor);
    (void)el_set(editor->edit, EL_PROMPT_ESC, show_prompt, '\1');
    (void)el_set(editor->edit, EL_EDITOR, "emacs");
    (void)el_set(editor->edit, EL_SIGNAL, 1);
    (void)el_set(editor->edit, EL_HIST, history, editor->history);
    bind_keys(editor->edit);
    (void)el_source(editor->edit, NULL);
    return true;
}

LineEditor *line_editor_create(const char *history_path, const char *const *completions)
{
    LineEditor *editor = calloc(1, sizeof *editor);
    if (editor == NULL) {
        (void)fail("out of memory");
        return NULL;
    }
    editor->completions = completions;
    if (can_keep_history(history_path)) editor->history_path = strdup(history_path);
    if (isatty(STDIN_FILENO) && !open_terminal(editor)) {
        (void)fail("the terminal cannot be used for line editing");
        line_editor_free(editor);
        return NULL;
    }
    return editor;
}

void line_editor_free(LineEditor *editor)
{
    if (editor == NULL) return;
    HistEvent event;
    if (editor->history != NULL && editor->history_path != NULL) {
        make_parents(editor->history_path);
        const mode_t mask = umask(0077); /* what people type is theirs */
        (void)history(editor->history, &event, H_SAVE, editor->history_path);
        (void)umask(mask);
    }
    if (editor->edit != NULL) el_end(editor->edit);
    if (editor->history != NULL) history_end(editor->history);
    if (editor->screen != NULL) (void)fclose(editor->screen);
    free(editor->history_path);
    free(editor->line);
    free(editor);
}

bool line_editor_has_terminal(const LineEditor *editor) { return editor->edit != NULL; }

/* ---- reading ---- */

static LineResult read_plain(LineEditor *editor, const char **line)
{
    ssize_t length = getline(&editor->line, &editor->capacity, stdin);
    if (length < 0) return ferror(stdin) ? LINE_FAILED : LINE_END;
    if (length > 0 && editor->line[length - 1] == '\n') editor->line[--length] = '\0';
    if (length > 0 && editor->line[length - 1] == '\r') editor->line[--length] = '\0';
    *line = editor->line;
    return LINE_READ;
}

LineResult line_editor_read(LineEditor *editor, const char *prompt, const char **line)
{
    if (editor->edit == NULL) return read_plain(editor, line);
    int count = 0;
    editor->prompt = prompt;
    editor->cancelled = false;
    if (terminal_can_draw()) (void)fputs(paste_marks_on, editor->screen);
    const char *typed = el_gets(editor->edit, &count);
    if (terminal_can_draw()) (void)fputs(paste_marks_off, editor->screen);
    (void)fflush(editor->screen);
    if (editor->cancelled || typed == NULL || count <= 0) {
        (void)fputc('\n', editor->screen);
        (void)fflush(editor->screen);
        return editor->cancelled ? LINE_CANCELLED : LINE_END;
    }
    free(editor->line);
    const size_t length = (size_t)count;
    editor->line = strndup(typed, typed[length - 1] == '\n' ? length - 1 : length);
    *line = editor->line;
    return editor->line != NULL ? LINE_READ : LINE_FAILED;
}

void line_editor_remember(LineEditor *editor, const char *entry)
{
    HistEvent event;
    if (editor->history != NULL && entry[0] != '\0') (void)history(editor->history, &event, H_ENTER, entry);
}

void line_editor_mute(LineEditor *editor, bool muted)
{
    if (editor->edit == NULL || editor->muted == muted) return;
    struct termios quiet;
    if (muted) {
        if (tcgetattr(STDIN_FILENO, &editor->before_mute) != 0) return;
        quiet = editor->before_mute;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
    } else {
        quiet = editor->before_mute;
    }
    editor->muted = muted;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
}
