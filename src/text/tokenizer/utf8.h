/*
 * utf8.h - characters out of bytes. Everything past tokenizer_encode's door is valid UTF-8, because the door repairs
 * it.
 */
#ifndef IMP_TEXT_UTF8_H
#define IMP_TEXT_UTF8_H

#include "core/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that a lead byte of valid UTF-8 opens. */
static inline size_t utf8_width(char lead)
{
    const unsigned char byte = (unsigned char)lead;
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/* The character at `text`, which must be valid UTF-8; `width` gets its length in bytes. */
static inline uint32_t utf8_decode(const char *text, size_t *width)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *width = 1;
        return s[0];
    }
    if (s[0] < 0xE0) {
        *width = 2;
        return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    }
    if (s[0] < 0xF0) {
        *width = 3;
        return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    }
    *width = 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 | (s[3] & 0x3F);
}

/* The start of the character that ends right before `end`; `end` must be above 0. */
static inline size_t utf8_previous(const char *text, size_t end)
{
    do end--;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

/* Writes a character's 1 … 4 bytes and returns their number. */
size_t utf8_encode(uint32_t code_point, char out[4]);

/* Bytes from `text` that are whole, valid characters. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* Length of the ill-formed sequence at `text` (length > 0) that one U+FFFD stands for: the maximal subpart of Unicode
 * 3.9, table 3-8, which is what Python's and Rust's decoders use. 0 when a valid character starts here. With `more`
 * text to come, a sequence that could still become a character gives SIZE_MAX. */
size_t utf8_bad_length(const char *text, size_t length, bool more);

/* Appends the text with U+FFFD for each ill-formed sequence. */
void utf8_repair(const char *text, size_t length, StrBuf *out);

#endif
