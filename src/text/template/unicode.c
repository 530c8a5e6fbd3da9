/*
 * unicode.c - utf8proc's tables, completed by the few things Python's str methods do differently.
 */
#include "text/template/unicode.h"
#include "text/template/unicode_tables.h"

#include <utf8proc.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

uint32_t unicode_decode_last(const char *start, const char *end, size_t *width)
{
    const char *at = end - 1;
    while (at > start && end - at < 4 && ((unsigned char)*at & 0xC0) == 0x80) at--;
    const uint32_t code_point = unicode_decode(at, end, width);
    if (at + *width != end) {
        *width = 1;
        return 0xFFFD;
    }
    return code_point;
}

size_t unicode_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool unicode_valid(const char *bytes, size_t length, size_t *bad)
{
    for (size_t i = 0; i < length;) {
        if ((unsigned char)bytes[i] < 0x80) {
            i++;
            continue;
        }
        utf8proc_int32_t code_point;
        const size_t left = length - i;
        const utf8proc_ssize_t width =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes + i, (utf8proc_ssize_t)(left < 4 ? left : 4), &code_point);
        if (width <= 0) {
            *bad = i;
            return false;
        }
        i += (size_t)width;
    }
    return true;
}

size_t unicode_count(const char *bytes, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)bytes[i] & 0xC0) != 0x80;
    return n;
}

size_t unicode_offset(const char *bytes, size_t length, size_t index)
{
    size_t i = 0;
    for (; i < length; i++) {
        if (((unsigned char)bytes[i] & 0xC0) == 0x80) continue;
        if (index == 0) break;
        index--;
    }
    return i;
}

static bool in_ranges(const UnicodeRange *ranges, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= ranges[low].first;
}

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

bool unicode_is_space_slow(uint32_t c)
{
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_alpha(uint32_t c)
{
    if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    const utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool unicode_is_decimal(uint32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND; }

bool unicode_is_digit(uint32_t c)
{
    return unicode_is_decimal(c) || (c >= 0x80 && in_ranges(unicode_digits, COUNT(unicode_digits), c));
}

bool unicode_is_numeric(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    const utf8proc_category_t kind = category(c);
    return (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) ||
           in_ranges(unicode_numerics, COUNT(unicode_numerics), c);
}

bool unicode_is_lower(uint32_t c)
{
    return c < 0x80 ? c >= 'a' && c <= 'z' : utf8proc_islower((utf8proc_int32_t)c) != 0;
}

bool unicode_is_upper(uint32_t c)
{
    return c < 0x80 ? c >= 'A' && c <= 'Z' : utf8proc_isupper((utf8proc_int32_t)c) != 0;
}

bool unicode_is_title(uint32_t c) { return c >= 0x80 && category(c) == UTF8PROC_CATEGORY_LT; }

bool unicode_is_printable(uint32_t c)
{
    if (c < 0x7F) return c >= 0x20;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

bool unicode_is_identifier_start(uint32_t c)
{
    return c == '_' || unicode_is_alpha(c) || (c >= 0x80 && category(c) == UTF8PROC_CATEGORY_NL);
}

bool unicode_is_identifier_part(uint32_t c)
{
    if (unicode_is_identifier_start(c) || unicode_is_decimal(c)) return true;
    if (c < 0x80) return false;
    const utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_PC;
}

bool unicode_is_cased(uint32_t c) { return unicode_is_lower(c) || unicode_is_upper(c) || unicode_is_title(c); }

bool unicode_is_case_ignorable(uint32_t c)
{
    return in_ranges(unicode_case_ignorable, COUNT(unicode_case_ignorable), c);
}

int unicode_digit_value(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9' ? (int)(c - '0') : -1;
    if (!unicode_is_decimal(c)) return -1;
    /* Decimal digits come in runs of ten; the mathematical ones in five runs without a gap, which end at U+1D7FF. */
    if (c >= 0x1D7CE && c <= 0x1D7FF) return (int)((c - 0x1D7CE) % 10);
    int value = 0;
    while (value < 9 && unicode_is_decimal(c - 1 - (uint32_t)value)) value++;
    return value;
}

static size_t special_mapping(const UnicodeMapping *mappings, size_t n, uint32_t c, uint32_t out[3])
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (mappings[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || mappings[low].from != c) return 0;
    size_t count = 0;
    while (count < 3 && mappings[low].to[count] != 0) {
        out[count] = mappings[low].to[count];
        count++;
    }
    return count;
}

size_t unicode_to_upper(uint32_t c, uint32_t out[3])
{
    if (c < 0x80) {
        out[0] = c >= 'a' && c <= 'z' ? c - 32 : c;
        return 1;
    }
    const size_t n = special_mapping(unicode_upper_special, COUNT(unicode_upper_special), c, out);
    if (n > 0) return n;
    out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
    return 1;
}

size_t unicode_to_lower(uint32_t c, uint32_t out[3])
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    const size_t n = special_mapping(unicode_lower_special, COUNT(unicode_lower_special), c, out);
    if (n > 0) return n;
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

size_t unicode_to_title(uint32_t c, uint32_t out[3])
{
    if (c < 0x80) return unicode_to_upper(c, out);
    const size_t n = special_mapping(unicode_title_special, COUNT(unicode_title_special), c, out);
    if (n > 0) return n;
    out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)c);
    return 1;
}

size_t unicode_to_folded(uint32_t c, uint32_t out[3])
{
    utf8proc_int32_t folded[4];
    int last_class = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, folded, 3, UTF8PROC_CASEFOLD, &last_class);
    if (n < 1 || n > 3) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)folded[i];
    return (size_t)n;
}
