/*
 * strbuf.h - a growing byte string: prompts, rendered templates, JSON bodies, messages.
 */
#ifndef IMP_CORE_STRBUF_H
#define IMP_CORE_STRBUF_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialize to start. `data` is NUL-terminated whenever it is not NULL; `failed` stays set once memory ran out,
 * so that a long run of appends needs one check at its end. */
typedef struct StrBuf {
    char *data;
    size_t length, capacity;
    bool failed;
} StrBuf;

void strbuf_append(StrBuf *buffer, const char *bytes, size_t length);
void strbuf_puts(StrBuf *buffer, const char *text);
void strbuf_putc(StrBuf *buffer, char byte);
void strbuf_printf(StrBuf *buffer, const char *format, ...) IMP_PRINTF(2, 3);
/* Makes room for `extra` more bytes; false (and `failed`) without memory. */
bool strbuf_reserve(StrBuf *buffer, size_t extra);
/* Keeps the memory, empties the string. */
void strbuf_clear(StrBuf *buffer);
void strbuf_free(StrBuf *buffer);
/* IMP_ERR_OUT_OF_MEMORY when an append failed; IMP_OK otherwise, and then `data` is not NULL. */
ImpStatus strbuf_check(StrBuf *buffer);

#endif
