/*
 * unicode.h - code points as Python's str methods see them: white space, case, digits, printability.
 */
#ifndef IMP_TEXT_TEMPLATE_UNICODE_H
#define IMP_TEXT_TEMPLATE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at `at` (valid UTF-8, lone surrogates allowed) and the bytes it takes. at < end. */
static inline uint32_t unicode_decode(const char *at, const char *end, size_t *width)
{
    const unsigned char *p = (const unsigned char *)at;
    const size_t left = (size_t)(end - at);
    if (p[0] < 0x80) {
        *width = 1;
        return p[0];
    }
    if (p[0] < 0xE0 && left >= 2) {
        *width = 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0 && left >= 3) {
        *width = 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3Fu);
    }
    if (left >= 4) {
        *width = 4;
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 |
               (p[3] & 0x3Fu);
    }
    *width = left < 1 ? 1 : left;
    return 0xFFFD;
}

/* The code point that ends before `end`. start < end. */
uint32_t unicode_decode_last(const char *start, const char *end, size_t *width);
/* Writes 1 to 4 bytes, returns how many. */
size_t unicode_encode(uint32_t code_point, char out[4]);
/* Whether `length` bytes are UTF-8 (no surrogates); stores the offset of the first bad byte. */
bool unicode_valid(const char *bytes, size_t length, size_t *bad);
size_t unicode_count(const char *bytes, size_t length);
/* Byte offset of the code point number `index` (at most `length`). */
size_t unicode_offset(const char *bytes, size_t length, size_t index);

bool unicode_is_space_slow(uint32_t code_point);
/* str.isspace and the \s of a regular expression */
static inline bool unicode_is_space(uint32_t c)
{
    return c < 0x80 ? c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31) : unicode_is_space_slow(c);
}
/* what str.splitlines breaks at */
static inline bool unicode_is_line_break(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}
bool unicode_is_alpha(uint32_t c);
bool unicode_is_decimal(uint32_t c);
bool unicode_is_digit(uint32_t c);
bool unicode_is_numeric(uint32_t c);
static inline bool unicode_is_alnum(uint32_t c) { return unicode_is_alpha(c) || unicode_is_numeric(c); }
bool unicode_is_lower(uint32_t c);
bool unicode_is_upper(uint32_t c);
bool unicode_is_title(uint32_t c);
bool unicode_is_printable(uint32_t c);
bool unicode_is_identifier_start(uint32_t c);
bool unicode_is_identifier_part(uint32_t c);
/* letters that take part in casing, and those that Final_Sigma looks through */
bool unicode_is_cased(uint32_t c);
bool unicode_is_case_ignorable(uint32_t c);
/* The value of a decimal digit, -1 for others. */
int unicode_digit_value(uint32_t c);

/* Full case mappings: up to three code points, returns how many. */
size_t unicode_to_upper(uint32_t c, uint32_t out[3]);
size_t unicode_to_lower(uint32_t c, uint32_t out[3]);
size_t unicode_to_title(uint32_t c, uint32_t out[3]);
size_t unicode_to_folded(uint32_t c, uint32_t out[3]);

#endif
