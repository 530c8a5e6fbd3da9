/*
 * unicode.h - what kind of character a code point is, in the words of those whose opinion the `tokenizers` package
 * asks.
 *
 * The data is frozen in unicode_runs.inc: ids must not change with the Unicode version of a system library.
 */
#ifndef IMP_TEXT_UNICODE_H
#define IMP_TEXT_UNICODE_H

#include "core/arena.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General categories, in the low five bits of a character's flags. */
enum {
    GC_CN,
    GC_LU,
    GC_LL,
    GC_LT,
    GC_LM,
    GC_LO,
    GC_MN,
    GC_MC,
    GC_ME,
    GC_ND,
    GC_NL,
    GC_NO,
    GC_PC,
    GC_PD,
    GC_PS,
    GC_PE,
    GC_PI,
    GC_PF,
    GC_PO,
    GC_SM,
    GC_SC,
    GC_SK,
    GC_SO,
    GC_ZS,
    GC_ZL,
    GC_ZP,
    GC_CC,
    GC_CF,
    GC_CO,
    GC_CS,
    GC_MASK = 31,
};

/* Sets of general categories. */
#define GC_BIT(gc) (UINT32_C(1) << (gc))
#define GC_L (GC_BIT(GC_LU) | GC_BIT(GC_LL) | GC_BIT(GC_LT) | GC_BIT(GC_LM) | GC_BIT(GC_LO))
#define GC_M (GC_BIT(GC_MN) | GC_BIT(GC_MC) | GC_BIT(GC_ME))
#define GC_N (GC_BIT(GC_ND) | GC_BIT(GC_NL) | GC_BIT(GC_NO))
#define GC_P                                                                                                           \
    (GC_BIT(GC_PC) | GC_BIT(GC_PD) | GC_BIT(GC_PS) | GC_BIT(GC_PE) | GC_BIT(GC_PI) | GC_BIT(GC_PF) | GC_BIT(GC_PO))
#define GC_S (GC_BIT(GC_SM) | GC_BIT(GC_SC) | GC_BIT(GC_SK) | GC_BIT(GC_SO))
#define GC_Z (GC_BIT(GC_ZS) | GC_BIT(GC_ZL) | GC_BIT(GC_ZP))
#define GC_C (GC_BIT(GC_CN) | GC_BIT(GC_CC) | GC_BIT(GC_CF) | GC_BIT(GC_CO) | GC_BIT(GC_CS))

/* Properties, above the category. */
enum {
    UC_SPACE = 1 << 5,      /* White_Space */
    UC_ONIG_WORD = 1 << 6,  /* \w of Oniguruma, which patterns use */
    UC_RUST_WORD = 1 << 7,  /* \w of the regex crate: Whitespace pre-tokenizer, single_word */
    UC_NUMERIC = 1 << 8,    /* the Digits pre-tokenizer's digits */
    UC_OLD_PUNCT = 1 << 9,  /* punctuation for Punctuation and BERT */
    UC_OLD_OTHER = 1 << 10, /* control characters for BERT's clean-up */
    UC_OLD_MN = 1 << 11,    /* accents for BERT */
    UC_OLD_MARK = 1 << 12,  /* accents for StripAccents */
    UC_HAN = 1 << 13,       /* script Han */
    UC_MOVED_NFC = 1 << 14, /* a normal form changes it, reorders it or joins it to what stands before */
    UC_MOVED_NFD = 1 << 15,
    UC_MOVED_NFKC = 1 << 16,
    UC_MOVED_NFKD = 1 << 17,
    UC_LATE = 1 << 18,  /* normalized by newer versions of Unicode only */
    UC_UPPER = 1 << 19, /* has another lower case */
};

enum { UNICODE_LIMIT = 0x110000, UNICODE_PAGE_BITS = 8 };

/* Pages of 256 flags; equal pages are one. */
typedef struct UnicodeTable {
    const uint32_t *pages[UNICODE_LIMIT >> UNICODE_PAGE_BITS];
} UnicodeTable;

/* Expands the frozen runs into a table owned by `arena`. */
ImpStatus unicode_table_create(Arena *arena, const UnicodeTable **out);

/* Walks the frozen data: run `index` of characters with equal flags; false past the last. */
bool unicode_run_at(size_t index, uint32_t *first, uint32_t *last, unsigned *flags);

static inline unsigned unicode_flags(const UnicodeTable *table, uint32_t code_point)
{
    return table->pages[code_point >> UNICODE_PAGE_BITS][code_point & 0xFF];
}

/* Writes the lower case, one or two characters, and returns their number. */
size_t unicode_lower(const UnicodeTable *table, uint32_t code_point, uint32_t out[2]);

/* A number for the script that the pre-tokenizer UnicodeScripts sees: equal for equal scripts, 0 for what belongs to
 * any. Hiragana and Katakana are Han to it. */
unsigned unicode_script(uint32_t code_point);

static inline bool unicode_in(unsigned flags, uint32_t categories)
{
    return (categories >> (flags & GC_MASK) & 1) != 0;
}

#endif
