/*
 * utf8_reader.h - one character being read byte by byte, with the range of code points that it can still become.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_UTF8_READER_H
#define IMP_RUNTIME_CONSTRAINT_UTF8_READER_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialize to start a character. */
typedef struct Utf8Reader {
    uint32_t point;
    uint8_t pending, length; /* continuation bytes to come; bytes of the whole character */
} Utf8Reader;

/* Reads a byte; false when it is out of place. *low … *high: what the character can be; with pending 0, what it is. */
static inline bool utf8_read(Utf8Reader *reader, unsigned char byte, uint32_t *low, uint32_t *high)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (reader->pending == 0) {
        if (byte < 0x80) {
            *low = *high = byte;
            *reader = (Utf8Reader){byte, 0, 1};
            return true;
        }
        if (byte < 0xc2 || byte > 0xf4) return false;
        reader->length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
        reader->point = byte & (0x7fU >> reader->length);
        reader->pending = (uint8_t)(reader->length - 1);
    } else {
        if ((byte & 0xc0) != 0x80) return false;
        reader->point = reader->point << 6 | (byte & 0x3fU);
        reader->pending--;
    }
    *low = reader->point << 6 * reader->pending;
    *high = *low | ((1U << 6 * reader->pending) - 1);
    if (*low < least[reader->length]) *low = least[reader->length];
    if (*high > 0x10ffff) *high = 0x10ffff;
    if (*low >= 0xd800 && *high <= 0xdfff) return false; /* surrogates fill whole ranges here */
    return *low <= *high;
}

#endif
