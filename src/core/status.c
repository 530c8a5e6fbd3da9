/* status.c - the per-thread error sentence. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 1024 };

static _Thread_local char last_message[MESSAGE_BYTES];

/* Sentences quote names out of hostile files: no control character may reach a terminal, no half character a JSON body.
 */
static void sanitize(char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f) text[i] = '?';
    }
    /* A cut inside a UTF-8 character leaves a lead byte with too few followers: drop it. */
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    const unsigned char lead = (unsigned char)text[start - 1];
    const size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (length - start < need) text[start - 1] = '\0';
}

ImpStatus imp_fail(ImpStatus code, const char *format, ...)
{
    /* Through a second buffer: an argument may be imp_last_error() itself. */
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    sanitize(message);
    memcpy(last_message, message, strlen(message) + 1);
    return code;
}

ImpStatus imp_fail_prefix(ImpStatus code, const char *format, ...)
{
    char prefix[MESSAGE_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    return imp_fail(code, "%s: %s", prefix, last_message);
}

ImpStatus imp_fail_memory(size_t bytes)
{
    return imp_fail(IMP_ERR_OUT_OF_MEMORY, "out of memory: %zu bytes were refused", bytes);
}

const char *imp_last_error(void) { return last_message; }

const char *imp_status_name(ImpStatus status)
{
    static const char *const names[] = {
        [IMP_OK] = "ok",
        [IMP_ERR_INVALID_ARGUMENT] = "invalid argument",
        [IMP_ERR_IO] = "input/output error",
        [IMP_ERR_FORMAT] = "bad format",
        [IMP_ERR_UNSUPPORTED] = "unsupported",
        [IMP_ERR_OUT_OF_MEMORY] = "out of memory",
        [IMP_ERR_CONTEXT_FULL] = "context full",
        [IMP_ERR_BUFFER_TOO_SMALL] = "buffer too small",
        [IMP_ERR_CANCELLED] = "cancelled",
        [IMP_ERR_LIMIT] = "limit reached",
        [IMP_ERR_DEVICE] = "device error",
        [IMP_ERR_INTERNAL] = "internal error",
    };
    const size_t index = (size_t)status;
    return index < sizeof names / sizeof names[0] ? names[index] : "unknown status";
}
