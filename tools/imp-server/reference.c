/*
 * reference.c - --help, and the files of the repository that list the flags: `ninja reference` writes these, and a test
 * fails when one differs.
 */
#include "flags.h"

#include "imp/imp.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAG_COLUMN = 30, WIDTH = 110 };

/* Words of a paragraph, broken at WIDTH; the first line has begun in column FLAG_COLUMN. */
static void print_wrapped(const char *text)
{
    int at = FLAG_COLUMN;
    for (bool first = true; *text != '\0'; first = false) {
        const int length = (int)strcspn(text, " ");
        const bool breaks = !first && at + 1 + length > WIDTH;
        if (breaks) (void)printf("\n%*s", FLAG_COLUMN, "");
        if (!first && !breaks) (void)printf(" ");
        at = breaks ? FLAG_COLUMN : at + !first;
        (void)printf("%.*s", length, text);
        at += length;
        text += length + (text[length] == ' ');
    }
    (void)printf("\n");
}

static int end_output(void) { return fflush(stdout) != 0 || ferror(stdout) ? EXIT_FAILED : EXIT_SUCCESS; }

int help_print(void)
{
    char help[1024], left[64];
    (void)printf(
        "Usage: imp-server --model MODEL [FLAGS]\n\n"
        "Serves a model over HTTP: OpenAI's /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/models,\n"
        "Anthropic's /v1/messages, /tokenize, /detokenize, /health, /metrics, and a chat page at /.\n\n");
    for (size_t i = 0; flag_at(i) != NULL; i++) {
        const Flag *flag = flag_at(i);
        (void)snprintf(left, sizeof left, "  %s %s", flag->name, flag->argument != NULL ? flag->argument : "");
        (void)printf("%-*s", FLAG_COLUMN, left);
        if (strlen(left) + 1 > FLAG_COLUMN) (void)printf("\n%*s", FLAG_COLUMN, "");
        flag_describe(flag, help, sizeof help);
        print_wrapped(help);
    }
    (void)printf("\nEvery flag is a key of imp.conf; imp-server(1) and imp.conf(5) say more.\n");
    return end_output();
}

/* ---- the manual page ---- */

/* Text for troff: backslashes and hyphens escaped, no line that begins with a control character. The table is ASCII. */
static void print_roff(const char *text)
{
    if (*text == '.' || *text == '\'') (void)printf("\\&");
    for (; *text != '\0'; text++) {
        if (*text == '-' || *text == '\\')
            (void)printf("\\%c", *text == '-' ? '-' : 'e');
        else
            (void)putchar(*text);
    }
}

static void print_man_flag(const Flag *flag)
{
    char help[1024];
    (void)printf(".TP\n\\fB");
    print_roff(flag->name);
    (void)printf("\\fR");
    if (flag->argument != NULL) (void)printf(" \\fI%s\\fR", flag->argument);
    (void)printf("\n");
    flag_describe(flag, help, sizeof help);
    print_roff(help);
    (void)printf("\n");
}

static int print_man(void)
{
    (void)printf(
        ".\\\" Made from the table of flags by `ninja reference`.\n"
        ".TH IMP-SERVER 1 \"\" \"imp %s\" \"User commands\"\n"
        ".SH NAME\nimp-server \\- serve an open-weights language model over HTTP\n"
        ".SH SYNOPSIS\n.B imp-server\n\\fB\\-\\-model\\fR \\fIMODEL\\fR [\\fIflags\\fR]\n"
        ".SH DESCRIPTION\n"
        "imp\\-server answers clients of OpenAI's API (/v1/chat/completions, /v1/completions, /v1/embeddings,\n"
        "/v1/models) and of Anthropic's (/v1/messages, /v1/messages/count_tokens). /tokenize and /detokenize\n"
        "turn text into token ids and back, /health tells whether the server takes requests, /metrics is for\n"
        "Prometheus, and / is a chat page. It listens on 127.0.0.1 unless \\fB\\-\\-host\\fR says otherwise.\n"
        ".PP\n"
        "Requests are computed together, in steps that take the next token of each and as much of the prompts\n"
        "as fits; an answer does not depend on what runs beside it. What was computed of a prompt's beginning\n"
        "is found again by later requests.\n"
        ".SH OPTIONS\n"
        "Arguments follow their flag, or an = behind it. Defaults are those of the keys in \\fBimp.conf\\fR(5),\n"
        "which a configuration file can change.\n",
        imp_version());
    for (size_t i = 0; flag_at(i) != NULL; i++) print_man_flag(flag_at(i));
    (void)printf(
        ".SH SIGNALS\n.TP\nSIGTERM, SIGINT\n"
        "The first refuses new requests, lets those that run come to their ends and then leaves; a second one\n"
        "ends them too.\n"
        ".SH EXIT STATUS\n.TP\n0\nended by a signal\n.TP\n1\n"
        "failed: a file, a model, the memory, the address\n.TP\n2\n"
        "asked for something that cannot be: a flag, a value, a key\n"
        ".SH ENVIRONMENT\n.TP\nIMP_CONFIG\nconfiguration file, when \\fB\\-\\-config\\fR names none\n"
        ".SH FILES\n.TP\n~/.cache/imp\nmodels that go by a short name\n"
        ".TP\n\\&./imp.conf, ~/.config/imp/imp.conf\nconfiguration\n"
        ".SH EXAMPLES\n.nf\nimp\\-server \\-\\-model smollm2\\-135m\\-instruct \\-\\-port 8080\n"
        "curl http://127.0.0.1:8080/v1/chat/completions \\e\n"
        "    \\-d '{\\(dqmessages\\(dq: [{\\(dqrole\\(dq: \\(dquser\\(dq, \\(dqcontent\\(dq: "
        "\\(dqHello!\\(dq}]}'\n.fi\n"
        ".SH SEE ALSO\n\\fBimp\\-cli\\fR(1), \\fBimp.conf\\fR(5)\n");
    return end_output();
}

/* ---- completions ---- */

static const char *choices_of(const Flag *flag)
{
    const ImpSettingInfo *info = flag->setting != NULL ? imp_setting_find(flag->setting) : NULL;
    return info != NULL ? info->choices : "";
}

/* `text` with every '|' as a space. */
static void print_words(const char *text)
{
    for (; *text != '\0'; text++) (void)putchar(*text == '|' ? ' ' : *text);
}

static void print_keys(void)
{
    for (size_t i = 0; imp_setting_at(i) != NULL; i++)
        if (imp_setting_at(i)->built) (void)printf("%s ", imp_setting_at(i)->key);
}

static void print_bash_flag(const Flag *flag)
{
    const char *words = choices_of(flag);
    (void)printf("    %s) ", flag->name);
    if (strcmp(flag->name, "--set") == 0) {
        (void)printf("compopt -o nospace; mapfile -t COMPREPLY < <(compgen -S = -W '");
        print_keys();
        (void)printf("' -- \"$word\"); return ;;\n");
    } else if (words[0] != '\0') {
        (void)printf("mapfile -t COMPREPLY < <(compgen -W '");
        print_words(words);
        (void)printf("' -- \"$word\"); return ;;\n");
    } else if (strcmp(flag->argument, "MODEL") == 0) {
        (void)printf("compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\"; "
                     "cd ~/.cache/imp 2>/dev/null && compgen -f -X '!*.gguf' -- \"$word\"); return ;;\n");
    } else if (strcmp(flag->argument, "FILE") == 0) {
        (void)printf("compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n");
    } else {
        (void)printf("return ;;\n");
    }
}

static int print_bash(void)
{
    (void)printf("# bash completion of imp-server, made from the table of flags by `ninja reference`.\n\n"
                 "_imp_server() {\n"
                 "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
                 "    COMPREPLY=()\n"
                 "    case \"$before\" in\n");
    for (size_t i = 0; flag_at(i) != NULL; i++)
        if (flag_at(i)->argument != NULL) print_bash_flag(flag_at(i));
    (void)printf("    esac\n    mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; flag_at(i) != NULL; i++) (void)printf("%s ", flag_at(i)->name);
    (void)printf("' -- \"$word\")\n}\ncomplete -F _imp_server imp-server\n");
    return end_output();
}

/* Up to the first full stop, with what zsh's specifications and quotes treat specially escaped. */
static void print_zsh_help(const char *help)
{
    for (; *help != '\0' && !(help[0] == '.' && (help[1] == ' ' || help[1] == '\0')); help++) {
        if (strchr("[]:\\", *help) != NULL) (void)putchar('\\');
        (void)printf(*help == '\'' ? "'\\''" : "%c", *help);
    }
}

static void print_zsh_flag(const Flag *flag)
{
    char help[1024];
    const char *words = choices_of(flag);
    const bool sets = strcmp(flag->name, "--set") == 0;
    flag_describe(flag, help, sizeof help);
    (void)printf("  '%s%s[", sets ? "*" : "", flag->name);
    print_zsh_help(help);
    (void)printf("]");
    if (flag->argument != NULL) (void)printf(":%s:", flag->argument);
    if (sets) {
        (void)printf("->keys");
    } else if (words[0] != '\0') {
        (void)putchar('(');
        print_words(words);
        (void)putchar(')');
    } else if (flag->argument != NULL && strcmp(flag->argument, "MODEL") == 0) {
        (void)printf("->models");
    } else if (flag->argument != NULL && strcmp(flag->argument, "FILE") == 0) {
        (void)printf("_files");
    }
    (void)printf("' \\\n");
}

static int print_zsh(void)
{
    (void)printf("#compdef imp-server\n"
                 "# zsh completion of imp-server, made from the table of flags by `ninja reference`.\n\n"
                 "local state line\n_arguments -s \\\n");
    for (size_t i = 0; flag_at(i) != NULL; i++) print_zsh_flag(flag_at(i));
    (void)printf("  && return\n\ncase $state in\n  keys) compadd -S = ");
    print_keys();
    (void)printf(";;\n  models) _files; compadd -- ~/.cache/imp/*.gguf(N:t);;\nesac\n");
    return end_output();
}

int reference_print(const char *what)
{
    static const struct {
        const char *name;
        int (*print)(void);
    } kinds[] = {{"man", print_man}, {"bash", print_bash}, {"zsh", print_zsh}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, what) == 0) return kinds[i].print();
    return fail(EXIT_USAGE, "--print-reference expects man, bash or zsh");
}
