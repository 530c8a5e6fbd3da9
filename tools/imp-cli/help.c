/*
 * help.c - --help, made from the table of flags and as wide as the terminal.
 */
#include "cli.h"

#include <string.h>

enum { FLAG_COLUMN = 30, MIN_WIDTH = 60, MAX_WIDTH = 110 };

/* Terminal columns of UTF-8 text whose characters are all one column wide. */
static int columns(const char *text, size_t length)
{
    int count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* Words of a paragraph, broken at `width`; the first line begins in column `at`, the others at `indent`. */
static void append_wrapped(Text *out, const char *text, int indent, int at, int width)
{
    bool first = true;
    while (*text != '\0') {
        const size_t length = strcspn(text, " ");
        const int word = columns(text, length);
        if (!first && at + 1 + word > width) {
            (void)text_puts(out, "\n");
            for (at = 0; at < indent; at++) (void)text_puts(out, " ");
        } else if (!first) {
            (void)text_puts(out, " ");
            at++;
        }
        (void)text_append(out, text, length);
        at += word;
        text += length + (text[length] == ' ');
        first = false;
    }
    (void)text_puts(out, "\n");
}

static void append_flag(Text *out, const Flag *flag, int width)
{
    char names[80], help[1024];
    const char letter[] = {'-', flag->letter, ',', ' ', '\0'};
    (void)snprintf(names, sizeof names, "  %s%s%s%s", flag->letter != '\0' ? letter : "    ", flag->name,
                   flag->argument != NULL ? " " : "", flag->argument != NULL ? flag->argument : "");
    flag_describe(flag, help, sizeof help);
    (void)text_puts(out, names);
    int at = (int)strlen(names);
    if (at + 2 > FLAG_COLUMN) {
        (void)text_puts(out, "\n");
        at = 0;
    }
    for (; at < FLAG_COLUMN; at++) (void)text_puts(out, " ");
    append_wrapped(out, help, FLAG_COLUMN, at, width);
}

int help_print(void)
{
    Text out = {0};
    int width = terminal_width();
    width = width < MIN_WIDTH ? MIN_WIDTH : width > MAX_WIDTH ? MAX_WIDTH : width;
    (void)text_puts(&out, "imp-cli runs open-weights language models.\n\n"
                          "  imp-cli --model MODEL --prompt \"What is the capital of France?\"\n"
                          "  imp-cli --model MODEL                     chat\n"
                          "  imp-cli --model MODEL < question.txt      answer standard input\n"
                          "  imp-cli --model MODEL --bench             measure\n"
                          "\n"
                          "The answer alone goes to standard output. Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
    for (int group = 0; group < GROUP_COUNT; group++) {
        (void)text_puts(&out, "\n");
        (void)text_puts(&out, flag_group_title((FlagGroup)group));
        (void)text_puts(&out, "\n");
        for (size_t i = 0; flag_at(i) != NULL; i++)
            if ((int)flag_at(i)->group == group && !flag_at(i)->hidden) append_flag(&out, flag_at(i), width);
    }
    (void)text_puts(&out, "\n");
    append_wrapped(&out,
                   "Defaults are those of imp.conf's keys, which a configuration file can change; imp.conf(5) and "
                   "docs/configuration.md list all keys.",
                   0, 0, width);
    if (out.data == NULL) return fail("out of memory");
    (void)output_write(out.data, out.length);
    text_free(&out);
    return output_status();
}
