/* strbuf.c - doubling growth, one sticky failure flag. */
#include "core/strbuf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool strbuf_reserve(StrBuf *buffer, size_t extra)
{
    if (buffer->failed || extra >= SIZE_MAX / 2 - buffer->length) {
        buffer->failed = true;
        return false;
    }
    const size_t need = buffer->length + extra + 1;
    if (need <= buffer->capacity) return true;
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < need) capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    data[buffer->length] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void strbuf_append(StrBuf *buffer, const char *bytes, size_t length)
{
    if (!strbuf_reserve(buffer, length)) return;
    if (length > 0) memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void strbuf_puts(StrBuf *buffer, const char *text) { strbuf_append(buffer, text, strlen(text)); }

void strbuf_putc(StrBuf *buffer, char byte) { strbuf_append(buffer, &byte, 1); }

void strbuf_printf(StrBuf *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        buffer->failed = true;
    } else if (strbuf_reserve(buffer, (size_t)length)) {
        (void)vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
}

void strbuf_clear(StrBuf *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
    if (buffer->data != NULL) buffer->data[0] = '\0';
}

void strbuf_free(StrBuf *buffer)
{
    free(buffer->data);
    *buffer = (StrBuf){0};
}

ImpStatus strbuf_check(StrBuf *buffer)
{
    if (buffer->data == NULL) (void)strbuf_reserve(buffer, 0);
    return buffer->failed ? imp_fail_memory(buffer->capacity * 2) : IMP_OK;
}
