/*
 * log.h - what the library has to say while it works. The library never prints: a program installs a sink.
 */
#ifndef IMP_CORE_LOG_H
#define IMP_CORE_LOG_H

#include "core/status.h"

typedef enum LogLevel { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG } LogLevel;

/* Receives one line without its newline; may be called from any thread. */
typedef void LogSink(LogLevel level, const char *line, void *user);

/* Set once at start, before other threads exist. NULL (the default) drops everything. */
void log_set_sink(LogSink *sink, void *user, LogLevel max_level);

void log_line(LogLevel level, const char *format, ...) IMP_PRINTF(2, 3);

#endif
