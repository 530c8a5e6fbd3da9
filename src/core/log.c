/* log.c - one sink for the process: the only global mutable state. */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

static struct {
    LogSink *sink;
    void *user;
    LogLevel max_level;
} log_state;

void log_set_sink(LogSink *sink, void *user, LogLevel max_level)
{
    log_state.sink = sink;
    log_state.user = user;
    log_state.max_level = max_level;
}

void log_line(LogLevel level, const char *format, ...)
{
    if (log_state.sink == NULL || level > log_state.max_level) return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    log_state.sink(level, line, log_state.user);
}
