/*
 * terminal.c - everything that imp-cli writes: the answer, sentences about failures, notes and the progress bar.
 *
 * Writes to standard output go through write(2) at once: text appears as it is generated, and a full disk or a closed
 * pipe is noticed at the write that fails and not in a buffer at exit.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool quiet, output_is_terminal, error_is_terminal, colour;
    bool output_failed;
    bool bar_visible;
    double bar_start; /* when the work at hand began */
    const char *bar_what;
} terminal;

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void terminal_start(bool quiet)
{
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    terminal.quiet = quiet;
    terminal.output_is_terminal = isatty(STDOUT_FILENO);
    terminal.error_is_terminal = isatty(STDERR_FILENO) && kind != NULL && strcmp(kind, "dumb") != 0;
    terminal.colour = terminal.error_is_terminal && (no_colour == NULL || no_colour[0] == '\0');
    /* A reader that went away shall be an error of write, not the end of the program. */
    (void)signal(SIGPIPE, SIG_IGN);
}

bool terminal_can_draw(void) { return terminal.error_is_terminal; }

bool terminal_has_colour(void) { return terminal.colour; }

int terminal_width(void)
{
    struct winsize size;
    for (int descriptor = STDOUT_FILENO; descriptor <= STDERR_FILENO; descriptor++)
        if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 100;
}

/* ---- standard output ---- */

bool output_write(const char *bytes, size_t length)
{
    while (length > 0 && !terminal.output_failed) {
        const ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            terminal.output_failed = true;
            (void)fail(errno == EPIPE ? "whoever read standard output has closed it"
                                      : "cannot write to standard output: %s",
                       strerror(errno));
            break;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return !terminal.output_failed;
}

/* Length of the control character at hand: ASCII's but tab and line feed, and U+0080 to U+009F; 0 for any other. */
static size_t control_length(const char *text, size_t length)
{
    const unsigned char byte = (unsigned char)text[0];
    if (byte < 0x20 || byte == 0x7f) return byte != '\n' && byte != '\t';
    return byte == 0xC2 && length > 1 && (unsigned char)text[1] < 0xA0 ? 2 : 0;
}

bool output_text(const char *text, size_t length)
{
    if (!terminal.output_is_terminal) return output_write(text, length);
    size_t start = 0;
    for (size_t i = 0; i < length;) {
        const size_t control = control_length(text + i, length - i);
        if (control > 0 && !(output_write(text + start, i - start) && output_write("\xEF\xBF\xBD", 3))) return false;
        i += control > 0 ? control : 1;
        if (control > 0) start = i;
    }
    return output_write(text + start, length - start);
}

bool output_printf(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        terminal.output_failed = true;
        (void)fail("out of memory");
        return false;
    }
    const bool written = output_write(text, (size_t)length);
    free(text);
    return written;
}

int output_status(void) { return terminal.output_failed ? EXIT_FAILED : EXIT_OK; }

/* ---- standard error ---- */

static void print_line(const char *prefix, const char *format, va_list arguments)
{
    progress_clear();
    (void)fputs(prefix, stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
}

int fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("imp-cli: ", format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

int fail_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("imp-cli: ", format, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

int fail_imp(void) { return fail("%s", imp_last_error()); }

void note(const char *format, ...)
{
    if (terminal.quiet) return;
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}

void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}

/* ---- the bar ---- */

enum { BAR_CELLS = 30 };

/* What is being done, in people's words, and the unit of its numbers. */
static void describe_progress(const char *what, uint64_t done, uint64_t total, char *text, size_t size)
{
    if (strcmp(what, "prompt") == 0) {
        (void)snprintf(text, size, "reading the prompt: %llu of %llu tokens", (unsigned long long)done,
                       (unsigned long long)total);
    } else {
        (void)snprintf(text, size, "%s: %.2f of %.2f GB", strcmp(what, "load") == 0 ? "loading" : what,
                       (double)done * 1e-9, (double)total * 1e-9);
    }
}

bool progress_draw(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    if (!terminal.error_is_terminal || terminal.quiet || total == 0) return true;
    const double now = seconds();
    if (terminal.bar_what == NULL || strcmp(terminal.bar_what, what) != 0) {
        terminal.bar_what = what;
        terminal.bar_start = now;
    }
    if (done >= total) {
        progress_clear();
        return true;
    }
    if (now - terminal.bar_start < 0.25) return true; /* what is done soon needs no bar */
    const double share = (double)done / (double)total;
    char text[128], bar[BAR_CELLS + 1], line[256];
    describe_progress(what, done, total, text, sizeof text);
    for (int i = 0; i < BAR_CELLS; i++) bar[i] = i < (int)(share * BAR_CELLS) ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    const int room = terminal_width() - 1; /* a line that wrapped could not be cleared */
    int length = snprintf(line, sizeof line, "[%s] %3.0f %%  %s", bar, share * 100, text);
    if (length > room) length = snprintf(line, sizeof line, "%3.0f %%  %s", share * 100, text);
    (void)fprintf(stderr, "\r\x1b[K%.*s", length < room ? length : room, line);
    (void)fflush(stderr);
    terminal.bar_visible = true;
    return true;
}

void progress_clear(void)
{
    if (terminal.bar_visible) (void)fputs("\r\x1b[K", stderr);
    terminal.bar_visible = false;
    terminal.bar_what = NULL;
}
