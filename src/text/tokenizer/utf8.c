/*
 * utf8.c - validation and repair.
 *
 * An ill-formed stretch becomes as many U+FFFD as Python's decoder writes: one for the longest prefix of a valid
 * sequence, one for every byte that can start none.
 */
#include "text/tokenizer/utf8.h"

#include <string.h>

size_t utf8_encode(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

/* Number of bytes that `lead` announces, and the range of the second one, which alone is narrower than 80…BF: no
 * overlong forms, no surrogates, nothing above U+10FFFF. 0 for a byte that starts nothing. */
static size_t announced(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0) *low = 0xA0;
        if (lead == 0xED) *high = 0x9F;
        return 3;
    }
    if (lead > 0xF4) return 0;
    if (lead == 0xF0) *low = 0x90;
    if (lead == 0xF4) *high = 0x8F;
    return 4;
}

size_t utf8_bad_length(const char *text, size_t length, bool more)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low, high;
    const size_t width = announced(s[0], &low, &high);
    if (width == 0) return 1;
    for (size_t i = 1; i < width; i++) {
        if (i == length) return more ? SIZE_MAX : i;
        if (s[i] < low || s[i] > high) return i;
        low = 0x80;
        high = 0xBF;
    }
    return 0;
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint64_t word;
        if (length - i >= sizeof word) {
            memcpy(&word, text + i, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof word;
                continue;
            }
        }
        if (utf8_bad_length(text + i, length - i, false) != 0) return i;
        i += utf8_width(text[i]);
    }
    return i;
}

void utf8_repair(const char *text, size_t length, StrBuf *out)
{
    size_t i = 0;
    while (i < length) {
        const size_t good = utf8_valid_prefix(text + i, length - i);
        strbuf_append(out, text + i, good);
        i += good;
        if (i == length) break;
        strbuf_append(out, "\xEF\xBF\xBD", 3);
        i += utf8_bad_length(text + i, length - i, false);
    }
}
