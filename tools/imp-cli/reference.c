/*
 * reference.c - the files of the repository that list keys and flags, printed from the tables: `ninja reference` writes
 * them, and a test fails when one differs.
 */
#include "cli.h"

#include <string.h>

/* Length of the section's name in front of a key's dot. */
static size_t section_length(const ImpSettingInfo *info) { return strcspn(info->key, "."); }

/* Whether a key begins another section than the one before it. */
static bool begins_section(size_t index)
{
    if (index == 0) return true;
    const ImpSettingInfo *info = imp_setting_at(index), *before = imp_setting_at(index - 1);
    return section_length(info) != section_length(before) || strncmp(info->key, before->key, section_length(info)) != 0;
}

static void section_name(const ImpSettingInfo *info, char *name, size_t size)
{
    (void)snprintf(name, size, "%.*s", (int)section_length(info), info->key);
}

static const char *type_name(ImpSettingType type)
{
    static const char *const names[] = {
        [IMP_SETTING_BOOL] = "boolean", [IMP_SETTING_INT] = "whole number", [IMP_SETTING_FLOAT] = "number",
        [IMP_SETTING_CHOICE] = "word",  [IMP_SETTING_STRING] = "text",      [IMP_SETTING_STRINGS] = "list of texts",
    };
    return names[type];
}

/* The flag that sets a key by its argument; NULL when only --set does. */
static const Flag *flag_of(const ImpSettingInfo *info)
{
    for (size_t i = 0; flag_at(i) != NULL; i++)
        if (flag_at(i)->setting != NULL && flag_at(i)->argument != NULL && strcmp(flag_at(i)->setting, info->key) == 0)
            return flag_at(i);
    return NULL;
}

/* Type and range in a few words. */
static void describe_values(const ImpSettingInfo *info, char *out, size_t size)
{
    char range[256] = "";
    (void)imp_setting_range(info, range, sizeof range);
    if (info->type == IMP_SETTING_BOOL || info->type == IMP_SETTING_CHOICE) {
        (void)snprintf(out, size, "%s", range);
    } else {
        (void)snprintf(out, size, "%s%s%s", type_name(info->type), range[0] != '\0' ? ", " : "", range);
    }
}

/* `text` with every '|' of `list` written as ", ". */
static void print_words(const char *list)
{
    for (; *list != '\0'; list++) (void)output_printf(*list == '|' ? ", " : "%c", *list);
}

static const char planned_sentence[] = "Keys marked *not built yet* have a place in the configuration, but nothing in "
                                       "imp does what they say so far. Setting "
                                       "one, even to its default, stops the program with the sentence `SECTION.KEY: "
                                       "its mechanism is not built yet`, so that no "
                                       "file claims what does not happen.";

/* ---- docs/configuration.md ---- */

static void print_markdown_key(const ImpSettingInfo *info)
{
    char values[512];
    const Flag *flag = flag_of(info);
    describe_values(info, values, sizeof values);
    (void)output_printf("| `%s` | `%s` | %s | ", strchr(info->key, '.') + 1, info->default_value, values);
    if (!info->built) (void)output_printf("*not built yet* ");
    (void)output_printf("%s", info->help);
    if (info->planned[0] != '\0') {
        (void)output_printf(" Not built yet: ");
        print_words(info->planned);
        (void)output_printf(".");
    }
    if (flag != NULL) (void)output_printf(" Flag: `%s`.", flag->name);
    (void)output_printf(" |\n");
}

static int print_markdown(void)
{
    char name[64];
    (void)output_printf(
        "# Configuration\n\n"
        "<!-- Made from the tables of keys and flags by `ninja reference`; edit src/runtime/config_schema.c. -->\n\n"
        "imp reads one configuration file: the one that `--config` names, else the one that `$IMP_CONFIG` names, else\n"
        "`./imp.conf`, else `~/.config/imp/imp.conf`, else none. Over its values go `--set section.key=value` (any "
        "key, any number\n"
        "of times), and over these the named flags. `imp.conf.example` lists every key with its default.\n\n"
        "## The file\n\n"
        "A subset of TOML: sections, keys, comments.\n\n"
        "```toml\n"
        "# imp.conf\n"
        "kv_cache.dtype = \"bf16\"       # before the first section a key carries its section\n\n"
        "[sampling]\n"
        "temperature = 0.2\n"
        "top_k = 1_000\n"
        "order = [\"top_k\", \"temperature\"]\n\n"
        "[generation]\n"
        "system = \"Answer briefly.\\nIn French.\"   # escapes as in TOML\n"
        "stop = ['\\end', \"\\n\\n\"]                 # 'single quotes' take every character as it is\n"
        "```\n\n"
        "Booleans are `true` and `false`, whole numbers decimal; texts are always quoted; a list may run over several "
        "lines. The\n"
        "rest of TOML (dates, tables in braces, texts over several lines, other bases) is refused. The file is UTF-8, "
        "up to 1 MiB, a\n"
        "line up to 64 KiB. On the command line texts, words and lists need no quotes: `--set kv_cache.dtype=bf16`,\n"
        "`--set sampling.order=top_k,temperature`.\n\n"
        "Whatever is wrong stops the program with a sentence that names file and line: an unknown section or key (with "
        "the\n"
        "nearest one), a value of the wrong type or out of its range (with the range), a key or section given "
        "twice.\n\n"
        "%s\n\n"
        "## The keys\n",
        planned_sentence);
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        if (begins_section(i)) {
            section_name(info, name, sizeof name);
            (void)output_printf("\n### [%s]\n\n%s\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n",
                                name, imp_setting_section_help(name));
        }
        print_markdown_key(info);
    }
    return output_status();
}

/* ---- imp.conf.example ---- */

/* A paragraph as comment lines of up to 110 columns. */
static void print_comment(const char *text)
{
    size_t at = 0;
    while (*text != '\0') {
        const size_t length = strcspn(text, " ");
        if (at == 0 || at + 1 + length > 110) {
            (void)output_printf(at == 0 ? "#" : "\n#");
            at = 1;
        }
        (void)output_printf(" %.*s", (int)length, text);
        at += 1 + length;
        text += length + (text[length] == ' ');
    }
    (void)output_printf("\n");
}

static int print_example(void)
{
    char name[64], values[512], comment[1024];
    (void)output_printf(
        "# imp.conf: every key with its default, as a comment. Take away the first # of a line to set it.\n"
        "# docs/configuration.md and imp.conf(5) say more.\n");
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        if (begins_section(i)) {
            section_name(info, name, sizeof name);
            (void)output_printf("\n# ---- %s\n[%s]\n", imp_setting_section_help(name), name);
        }
        describe_values(info, values, sizeof values);
        (void)snprintf(comment, sizeof comment, "%s%s%s%s%s", info->built ? "" : "(not built yet) ", info->help,
                       values[0] != '\0' ? " (" : "", values, values[0] != '\0' ? ")" : "");
        (void)output_printf("\n");
        print_comment(comment);
        (void)output_printf("#%s = %s\n", strchr(info->key, '.') + 1, info->default_value);
    }
    return output_status();
}

/* ---- manual pages ---- */

/* One character beyond ASCII as \[uXXXX]; where its last byte is. The tables hold valid UTF-8. */
static const char *print_roff_character(const char *text)
{
    const unsigned char lead = (unsigned char)*text;
    const int followers = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    unsigned code = lead & (0x3Fu >> followers);
    for (int i = 0; i < followers; i++) code = code << 6 | ((unsigned char)*++text & 0x3Fu);
    (void)output_printf("\\[u%04X]", code);
    return text;
}

/* Text for troff: backslashes and hyphens escaped, no line that begins with a control character. */
static void print_roff(const char *text)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\'')) (void)output_printf("\\&");
        line_start = *text == '\n';
        if (*text == '\\') {
            (void)output_printf("\\e");
        } else if (*text == '-') {
            (void)output_printf("\\-");
        } else if ((unsigned char)*text >= 0x80) {
            text = print_roff_character(text);
        } else {
            (void)output_write(text, 1);
        }
    }
}

static void print_man_flag(const Flag *flag)
{
    char help[1024];
    (void)output_printf(".TP\n");
    if (flag->letter != '\0') (void)output_printf("\\fB\\-%c\\fR, ", flag->letter);
    (void)output_printf("\\fB");
    print_roff(flag->name);
    (void)output_printf("\\fR");
    if (flag->argument != NULL) (void)output_printf(" \\fI%s\\fR", flag->argument);
    (void)output_printf("\n");
    flag_describe(flag, help, sizeof help);
    print_roff(help);
    (void)output_printf("\n");
}

static int print_man_cli(void)
{
    (void)output_printf(".\\\" Made from the table of flags by `ninja reference`.\n"
                        ".TH IMP-CLI 1 \"\" \"imp %s\" \"User commands\"\n"
                        ".SH NAME\nimp-cli \\- run open-weights language models\n"
                        ".SH SYNOPSIS\n.B imp-cli\n\\fB\\-\\-model\\fR \\fIMODEL\\fR [\\fB\\-\\-prompt\\fR "
                        "\\fITEXT\\fR] [\\fIflags\\fR]\n"
                        ".SH DESCRIPTION\n"
                        "imp\\-cli answers a prompt with a language model: one that is given, or read from standard "
                        "input. On a terminal without a\n"
                        "prompt it chats. A model that was tuned for chats gets its template applied; "
                        "\\fB\\-\\-raw\\fR leaves it out.\n.PP\n"
                        "The answer alone goes to standard output; all else, the last line with its speed among it, to "
                        "standard error.\n"
                        ".SH OPTIONS\n"
                        "Arguments follow their flag, or an = behind it. Defaults are those of the keys in "
                        "\\fBimp.conf\\fR(5), which a\n"
                        "configuration file can change.\n",
                        imp_version());
    for (int group = 0; group < GROUP_COUNT; group++) {
        (void)output_printf(".SS %s\n", flag_group_title((FlagGroup)group));
        for (size_t i = 0; flag_at(i) != NULL; i++)
            if ((int)flag_at(i)->group == group && !flag_at(i)->hidden) print_man_flag(flag_at(i));
    }
    (void)output_printf(
        ".SH CHATTING\n"
        "Lines are edited as in emacs; Tab completes commands, Ctrl\\-R searches what was typed before. A line that "
        "ends in a\n"
        "backslash goes on in the next; lines between two lines of \\(dq\\(dq\\(dq are one message. Ctrl\\-C stops an "
        "answer, or drops\n"
        "the line being typed; Ctrl\\-D leaves.\n.PP\n"
        "Commands: /help, /reset, /system, /regen, /save, /load, /set, /stats, /quit. A message that begins with a "
        "slash is\n"
        "written with two.\n"
        ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed: a file, a model, the memory, the output\n.TP\n2\n"
        "asked for something that cannot be: a flag, a value, a key\n"
        ".SH ENVIRONMENT\n.TP\nIMP_CONFIG\nconfiguration file, when \\fB\\-\\-config\\fR names none\n"
        ".TP\nNO_COLOR\nno colours\n"
        ".SH FILES\n.TP\n~/.cache/imp\nmodels that go by a short name\n"
        ".TP\n\\&./imp.conf, ~/.config/imp/imp.conf\nconfiguration\n"
        ".TP\n~/.local/state/imp/history\nlines typed in chats\n"
        ".SH SEE ALSO\n\\fBimp.conf\\fR(5)\n");
    return output_status();
}

static void print_man_key(const ImpSettingInfo *info)
{
    char values[512];
    describe_values(info, values, sizeof values);
    (void)output_printf(".TP\n\\fB%s\\fR = ", strchr(info->key, '.') + 1);
    print_roff(info->default_value);
    (void)output_printf("\n");
    if (!info->built) (void)output_printf("(not built yet) ");
    print_roff(info->help);
    if (values[0] != '\0') {
        (void)output_printf(" (");
        print_roff(values);
        (void)output_printf(")");
    }
    if (info->planned[0] != '\0') {
        (void)output_printf(" Not built yet: ");
        print_words(info->planned);
        (void)output_printf(".");
    }
    (void)output_printf("\n");
}

static int print_man_conf(void)
{
    char name[64];
    (void)output_printf(
        ".\\\" Made from the table of keys by `ninja reference`.\n"
        ".TH IMP.CONF 5 \"\" \"imp %s\" \"File formats\"\n"
        ".SH NAME\nimp.conf \\- configuration of imp\n"
        ".SH SYNOPSIS\n\\&./imp.conf\n.br\n~/.config/imp/imp.conf\n"
        ".SH DESCRIPTION\n"
        "One file is read: the one that \\fB\\-\\-config\\fR names, else the one that $IMP_CONFIG names, else "
        "./imp.conf, else\n"
        "~/.config/imp/imp.conf. Over its values go \\fB\\-\\-set\\fR \\fIsection.key=value\\fR, and over these the "
        "named flags.\n.PP\n"
        "The file is a subset of TOML: [sections], \\fIkey\\fR = \\fIvalue\\fR, comments behind #. Booleans are true "
        "and false; texts are\n"
        "quoted, \\(dqwith \\en escapes\\(dq or 'without'; lists of texts stand in brackets. An unknown key, a wrong "
        "type, a value\n"
        "out of range or a key given twice stops the program with a sentence that names the line.\n.PP\n"
        "Keys that are \\fInot built yet\\fR have a place here, but nothing does what they say so far; setting one "
        "stops the program.\n",
        imp_version());
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        if (begins_section(i)) {
            section_name(info, name, sizeof name);
            (void)output_printf(".SH [%s]\n%s\n", name, imp_setting_section_help(name));
        }
        print_man_key(info);
    }
    (void)output_printf(".SH SEE ALSO\n\\fBimp\\-cli\\fR(1)\n");
    return output_status();
}

/* ---- completions ---- */

/* The words that may follow a flag, separated by '|'; "" when they are not known. */
static const char *argument_words(const Flag *flag)
{
    const ImpSettingInfo *info = flag->setting != NULL ? imp_setting_find(flag->setting) : NULL;
    return info != NULL && flag->argument != NULL ? info->choices : "";
}

static bool takes_file(const Flag *flag)
{
    static const char *const names[] = {"FILE", "DIR", "MODEL"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (flag->argument != NULL && strcmp(flag->argument, names[i]) == 0) return true;
    return false;
}

/* One spelling of a flag or both: "--model|-m". */
static void print_spellings(const Flag *flag, const char *separator)
{
    (void)output_printf("%s", flag->name);
    if (flag->letter != '\0') (void)output_printf("%s-%c", separator, flag->letter);
}

static int print_bash(void)
{
    (void)output_printf("# bash completion of imp-cli, made from the table of flags by `ninja reference`.\n\n"
                        "_imp_cli() {\n"
                        "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
                        "    COMPREPLY=()\n"
                        "    case \"$before\" in\n");
    for (size_t i = 0; flag_at(i) != NULL; i++) {
        const Flag *flag = flag_at(i);
        const char *words = argument_words(flag);
        if (flag->hidden || flag->argument == NULL) continue;
        (void)output_printf("    ");
        print_spellings(flag, "|");
        if (flag->kind == FLAG_SET) {
            (void)output_printf(") compopt -o nospace; mapfile -t COMPREPLY < <(compgen -S = -W '");
            for (size_t k = 0; imp_setting_at(k) != NULL; k++)
                if (imp_setting_at(k)->built) (void)output_printf("%s ", imp_setting_at(k)->key);
            (void)output_printf("' -- \"$word\"); return ;;\n");
        } else if (words[0] != '\0') {
            (void)output_printf(") mapfile -t COMPREPLY < <(compgen -W '");
            for (const char *c = words; *c != '\0'; c++) (void)output_printf("%c", *c == '|' ? ' ' : *c);
            (void)output_printf("' -- \"$word\"); return ;;\n");
        } else if (strcmp(flag->argument, "MODEL") == 0) {
            (void)output_printf(") compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\"; "
                                "cd ~/.cache/imp 2>/dev/null && compgen -f -X '!*.gguf' -- \"$word\"); return ;;\n");
        } else if (takes_file(flag)) {
            (void)output_printf(
                ") compopt -o filenames; mapfile -t COMPREPLY < <(compgen -%c -- \"$word\"); return ;;\n",
                strcmp(flag->argument, "DIR") == 0 ? 'd' : 'f');
        } else {
            (void)output_printf(") return ;;\n");
        }
    }
    (void)output_printf("    esac\n    mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; flag_at(i) != NULL; i++)
        if (!flag_at(i)->hidden) (void)output_printf("%s ", flag_at(i)->name);
    (void)output_printf("' -- \"$word\")\n}\ncomplete -F _imp_cli imp-cli\n");
    return output_status();
}

/* Up to the first full stop, with what zsh's specifications and quotes treat specially escaped. */
static void print_zsh_help(const char *help)
{
    for (; *help != '\0' && !(help[0] == '.' && (help[1] == ' ' || help[1] == '\0')); help++) {
        if (*help == '\'') {
            (void)output_printf("'\\''");
        } else {
            if (strchr("[]:\\", *help) != NULL) (void)output_printf("\\");
            (void)output_write(help, 1);
        }
    }
}

static void print_zsh_action(const Flag *flag)
{
    const char *words = argument_words(flag);
    (void)output_printf(":%s:", flag->argument);
    if (flag->kind == FLAG_SET) {
        (void)output_printf("->keys");
    } else if (words[0] != '\0') {
        (void)output_printf("(");
        for (const char *c = words; *c != '\0'; c++) (void)output_printf("%c", *c == '|' ? ' ' : *c);
        (void)output_printf(")");
    } else if (strcmp(flag->argument, "MODEL") == 0) {
        (void)output_printf("->models");
    } else if (takes_file(flag)) {
        (void)output_printf(strcmp(flag->argument, "DIR") == 0 ? "_files -/" : "_files");
    }
}

static int print_zsh(void)
{
    char help[1024];
    (void)output_printf(
        "#compdef imp-cli\n# zsh completion of imp-cli, made from the table of flags by `ninja reference`.\n\n"
        "local state line\n_arguments -s \\\n");
    for (size_t i = 0; flag_at(i) != NULL; i++) {
        const Flag *flag = flag_at(i);
        const bool repeats = flag->kind == FLAG_SET || flag->kind == FLAG_APPEND;
        if (flag->hidden) continue;
        flag_describe(flag, help, sizeof help);
        (void)output_printf("  ");
        if (flag->letter != '\0') {
            (void)output_printf("'(-%c %s)'{-%c,%s}'[", flag->letter, flag->name, flag->letter, flag->name);
        } else {
            (void)output_printf("'%s%s[", repeats ? "*" : "", flag->name);
        }
        print_zsh_help(help);
        (void)output_printf("]");
        if (flag->argument != NULL) print_zsh_action(flag);
        (void)output_printf("' \\\n");
    }
    (void)output_printf("  && return\n\ncase $state in\n  keys) compadd -S = ");
    for (size_t k = 0; imp_setting_at(k) != NULL; k++)
        if (imp_setting_at(k)->built) (void)output_printf("%s ", imp_setting_at(k)->key);
    (void)output_printf(";;\n  models) _files; compadd -- ~/.cache/imp/*.gguf(N:t);;\nesac\n");
    return output_status();
}

int reference_print(const char *what)
{
    static const struct {
        const char *name;
        int (*print)(void);
    } kinds[] = {
        {"markdown", print_markdown}, {"example", print_example}, {"man-cli", print_man_cli},
        {"man-conf", print_man_conf}, {"bash", print_bash},       {"zsh", print_zsh},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, what) == 0) return kinds[i].print();
    return fail_usage("--print-reference expects markdown, example, man-cli, man-conf, bash or zsh, not \"%s\"", what);
}
