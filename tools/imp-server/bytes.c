/* bytes.c - strings that grow, and text as JSON in them: what every token of a stream goes through. */
#include "server.h"

#include <stdlib.h>
#include <string.h>

bool bytes_append(Bytes *bytes, const char *data, size_t length)
{
    if (bytes->capacity - bytes->length < length + 1) {
        size_t capacity = bytes->capacity < 256 ? 256 : bytes->capacity;
        while (capacity - bytes->length < length + 1) capacity *= 2;
        char *grown = realloc(bytes->data, capacity);
        if (grown == NULL) return false;
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    if (length > 0) memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
    bytes->data[bytes->length] = '\0';
    return true;
}

bool bytes_puts(Bytes *bytes, const char *text) { return bytes_append(bytes, text, strlen(text)); }

/* The escape of a byte inside of a JSON string; NULL: it stands for itself. */
static const char *escape_of(unsigned char byte, char room[8])
{
    static const char plain[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    const char *found = byte != '\0' ? strchr(plain, byte) : NULL;
    if (found == NULL && byte >= 0x20) return NULL;
    if (found != NULL)
        (void)snprintf(room, 8, "\\%c", letters[found - plain]);
    else
        (void)snprintf(room, 8, "\\u%04x", byte);
    return room;
}

bool bytes_json(Bytes *bytes, const char *text, size_t length)
{
    char room[8];
    size_t from = 0;
    bool good = bytes_puts(bytes, "\"");
    for (size_t i = 0; i < length; i++) {
        const char *escape = escape_of((unsigned char)text[i], room);
        if (escape == NULL) continue;
        good = good && bytes_append(bytes, text + from, i - from) && bytes_puts(bytes, escape);
        from = i + 1;
    }
    return good && bytes_append(bytes, text + from, length - from) && bytes_puts(bytes, "\"");
}

void bytes_free(Bytes *bytes)
{
    free(bytes->data);
    *bytes = (Bytes){0};
}
