/*
 * character_kind.c - small letters, capitals, digits, each other printable character of ASCII, four kinds of control
 * characters; beyond ASCII the general category by the stretch of code points that it lies in.
 */
#include "runtime/constraint/character_kind.h"

#include <utf8proc.h>

enum {
    KIND_SMALL,
    KIND_CAPITAL,
    KIND_DIGIT,
    KIND_CONTROL,
    KIND_TAB,
    KIND_NEWLINE,
    KIND_RETURN,
    KIND_SIGNS,
    KIND_BEYOND = 40
};

/* Letters, marks, numbers, punctuation, symbols, all others. */
enum { N_CATEGORIES = 6 };

static unsigned category_group(uint32_t code_point)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code_point);
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return 0;
    if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) return 1;
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return 2;
    if (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) return 3;
    if (category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO) return 4;
    return 5;
}

/* Printable characters of ASCII that are neither letters nor digits: 33 of them, in their order. */
static unsigned sign_number(uint32_t c)
{
    if (c < '0') return c - ' ';
    if (c < 'A') return c - ':' + 16;
    if (c < 'a') return c - '[' + 23;
    return c - '{' + 29;
}

uint64_t character_kind(uint32_t code_point)
{
    unsigned kind = KIND_CONTROL;
    if (code_point >= 0x80) {
        const unsigned stretch = code_point < 0x100 ? 0 : code_point < 0xd800 ? 1 : code_point < 0x10000 ? 2 : 3;
        kind = KIND_BEYOND + stretch * N_CATEGORIES + category_group(code_point);
    } else if (code_point >= 'a' && code_point <= 'z') {
        kind = KIND_SMALL;
    } else if (code_point >= 'A' && code_point <= 'Z') {
        kind = KIND_CAPITAL;
    } else if (code_point >= '0' && code_point <= '9') {
        kind = KIND_DIGIT;
    } else if (code_point >= ' ' && code_point < 0x7f) {
        kind = KIND_SIGNS + sign_number(code_point);
    } else if (code_point == '\t') {
        kind = KIND_TAB;
    } else if (code_point == '\n') {
        kind = KIND_NEWLINE;
    } else if (code_point == '\r') {
        kind = KIND_RETURN;
    }
    return 1ULL << kind;
}
