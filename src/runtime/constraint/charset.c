/*
 * charset.c - ranges of code points; Unicode properties come from utf8proc and PCRE2, there are no tables of them here.
 */
#include "runtime/constraint/charset.h"
#include "runtime/constraint/json_value.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

ImpStatus charset_add(Arena *arena, CharSet *set, uint32_t low, uint32_t high)
{
    if (set->count > 0 && set->ranges[set->count - 1].high + 1 == low) {
        set->ranges[set->count - 1].high = high;
        return IMP_OK;
    }
    if (set->count == set->capacity) {
        const size_t capacity = set->capacity * 2 + 4;
        CharRange *grown = arena_alloc(arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (set->count != 0) memcpy(grown, set->ranges, set->count * sizeof *grown);
        set->ranges = grown;
        set->capacity = capacity;
    }
    set->ranges[set->count++] = (CharRange){low, high};
    return IMP_OK;
}

ImpStatus charset_add_set(Arena *arena, CharSet *set, const CharSet *other)
{
    for (size_t i = 0; i < other->count; i++)
        IMP_TRY(charset_add(arena, set, other->ranges[i].low, other->ranges[i].high));
    return IMP_OK;
}

static int compare_ranges(const void *left, const void *right)
{
    const CharRange *a = left;
    const CharRange *b = right;
    return (a->low > b->low) - (a->low < b->low);
}

void charset_finish(CharSet *set)
{
    if (set->count == 0) return;
    qsort(set->ranges, set->count, sizeof *set->ranges, compare_ranges);
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        const CharRange range = set->ranges[i];
        if (kept > 0 && range.low <= set->ranges[kept - 1].high + 1) {
            if (range.high > set->ranges[kept - 1].high) set->ranges[kept - 1].high = range.high;
        } else {
            set->ranges[kept++] = range;
        }
    }
    set->count = kept;
}

ImpStatus charset_complement(Arena *arena, const CharSet *set, CharSet *out)
{
    *out = (CharSet){0};
    uint32_t next = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->ranges[i].low > next) IMP_TRY(charset_add(arena, out, next, set->ranges[i].low - 1));
        next = set->ranges[i].high + 1;
    }
    if (next <= CODE_POINT_MAX) IMP_TRY(charset_add(arena, out, next, CODE_POINT_MAX));
    return IMP_OK;
}

ImpStatus charset_fold_case(Arena *arena, CharSet *set)
{
    charset_finish(set);
    const size_t count = set->count;
    for (size_t i = 0; i < count; i++) {
        const CharRange range = set->ranges[i];
        /* Nothing beyond the Supplementary Multilingual Plane has case. */
        for (uint32_t c = range.low; c <= range.high && c < 0x20000; c++) {
            const uint32_t lower = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
            const uint32_t upper = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
            if (lower != c) IMP_TRY(charset_add(arena, set, lower, lower));
            if (upper != c) IMP_TRY(charset_add(arena, set, upper, upper));
        }
    }
    charset_finish(set);
    return IMP_OK;
}

bool charset_contains(const CharSet *set, uint32_t code_point)
{
    for (size_t i = 0; i < set->count; i++) {
        if (code_point >= set->ranges[i].low && code_point <= set->ranges[i].high) return true;
    }
    return false;
}

/*
 * General categories as runs of code points, made once: asking for all code points takes milliseconds, a pattern may ask often.
 */
typedef struct CategoryRun {
    uint32_t first;
    uint8_t category;
} CategoryRun;

enum { MAX_RUNS = 8192 };

static CategoryRun runs[MAX_RUNS];
static size_t n_runs;
static pthread_once_t runs_made = PTHREAD_ONCE_INIT;

static void make_runs(void)
{
    for (uint32_t c = 0; c <= CODE_POINT_MAX && n_runs < MAX_RUNS; c++) {
        /* Between the last ideograph and the tags, and in the private planes, categories do not change. */
        if (c == 0x33480) c = 0xe0000;
        if (c == 0xe0200) c = 0xf0000;
        if (c == 0xf0002) c = 0xffffd;
        if (c == 0x100002) c = 0x10fffd;
        const uint8_t category = (uint8_t)utf8proc_category((utf8proc_int32_t)c);
        if (n_runs == 0 || runs[n_runs - 1].category != category) runs[n_runs++] = (CategoryRun){c, category};
    }
}

/* Every code point whose general category is in `categories`, a bit a category. */
static ImpStatus add_categories(Arena *arena, CharSet *set, uint64_t categories)
{
    (void)pthread_once(&runs_made, make_runs);
    for (size_t i = 0; i < n_runs; i++) {
        const uint32_t last = i + 1 < n_runs ? runs[i + 1].first - 1 : CODE_POINT_MAX;
        if ((categories >> runs[i].category & 1) != 0) IMP_TRY(charset_add(arena, set, runs[i].first, last));
    }
    return IMP_OK;
}

#define BIT(category) (1ULL << UTF8PROC_CATEGORY_##category)
static const uint64_t letters = BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO);
static const uint64_t numbers = BIT(ND) | BIT(NL) | BIT(NO);
static const uint64_t marks = BIT(MN) | BIT(MC) | BIT(ME);
static const uint64_t punctuation = BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO);
static const uint64_t symbols = BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO);
static const uint64_t separators = BIT(ZS) | BIT(ZL) | BIT(ZP);
static const uint64_t others = BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN);

/* General categories by the names that \p{…} gives them. */
static bool category_named(const char *name, size_t length, uint64_t *categories)
{
    static const char two[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";
    static const uint64_t bits[] = {BIT(LU), BIT(LL), BIT(LT), BIT(LM), BIT(LO), BIT(MN), BIT(MC), BIT(ME), BIT(ND), BIT(NL),
                                    BIT(NO), BIT(PC), BIT(PD), BIT(PS), BIT(PE), BIT(PI), BIT(PF), BIT(PO), BIT(SM), BIT(SC),
                                    BIT(SK), BIT(SO), BIT(ZS), BIT(ZL), BIT(ZP), BIT(CC), BIT(CF), BIT(CS), BIT(CO), BIT(CN)};
    static const char one[] = "LMNPSZC";
    const uint64_t groups[] = {letters, marks, numbers, punctuation, symbols, separators, others};
    for (size_t i = 0; length == 1 && i < sizeof one - 1; i++) {
        if (one[i] != name[0]) continue;
        *categories = groups[i];
        return true;
    }
    for (size_t i = 0; length == 2 && i < sizeof bits / sizeof bits[0]; i++) {
        if (memcmp(two + 2 * i, name, 2) != 0) continue;
        *categories = bits[i];
        return true;
    }
    return false;
}

/* Classes that Java's patterns name like properties. */
static bool range_named(const char *name, size_t length, const CharRange **ranges, size_t *count)
{
    static const CharRange ascii[] = {{0, 0x7f}}, print[] = {{0x20, 0x7e}}, graph[] = {{0x21, 0x7e}};
    static const CharRange alpha[] = {{'A', 'Z'}, {'a', 'z'}}, digit[] = {{'0', '9'}};
    static const CharRange alnum[] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    static const CharRange punct[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
    static const struct {
        const char *name;
        const CharRange *ranges;
        size_t count;
    } named[] = {{"ASCII", ascii, 1}, {"Print", print, 1}, {"Graph", graph, 1}, {"Alpha", alpha, 2},
                 {"Digit", digit, 1}, {"Alnum", alnum, 3}, {"Punct", punct, 4}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (strlen(named[i].name) != length || memcmp(named[i].name, name, length) != 0) continue;
        *ranges = named[i].ranges;
        *count = named[i].count;
        return true;
    }
    return false;
}

/* Letters and digits that came with Unicode 15. Python before 3.12 does not know them: they are left out of \d and \w. */
static const CharRange young[] = {{0x1123f, 0x11240}, {0x11f02, 0x11f02}, {0x11f04, 0x11f10}, {0x11f12, 0x11f33},
                                  {0x11f50, 0x11f59}, {0x1342f, 0x1342f}, {0x13441, 0x13446}, {0x1b132, 0x1b132},
                                  {0x1b155, 0x1b155}, {0x1d2c0, 0x1d2d3}, {0x1df25, 0x1df2a}, {0x1e030, 0x1e06d},
                                  {0x1e4d0, 0x1e4eb}, {0x1e4f0, 0x1e4f9}, {0x2b739, 0x2b739}, {0x31350, 0x323af}};

static ImpStatus add_settled(Arena *arena, CharSet *set, uint64_t categories)
{
    CharSet all = {0};
    CharSet rest = {0};
    CharSet settled = {0};
    IMP_TRY(add_categories(arena, &all, categories));
    charset_finish(&all);
    IMP_TRY(charset_complement(arena, &all, &rest));
    for (size_t i = 0; i < sizeof young / sizeof young[0]; i++)
        IMP_TRY(charset_add(arena, &rest, young[i].low, young[i].high));
    charset_finish(&rest);
    IMP_TRY(charset_complement(arena, &rest, &settled));
    return charset_add_set(arena, set, &settled);
}

ImpStatus charset_add_class(Arena *arena, CharSet *set, char letter)
{
    static const CharRange spaces[] = {{0x09, 0x0d},     {0x1c, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                                       {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                       {0x205f, 0x205f}, {0x3000, 0x3000}};
    if (letter == 'd') return add_settled(arena, set, BIT(ND));
    if (letter == 'w') {
        IMP_TRY(add_settled(arena, set, letters | numbers));
        return charset_add(arena, set, '_', '_');
    }
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        IMP_TRY(charset_add(arena, set, spaces[i].low, spaces[i].high));
    return IMP_OK;
}

/* Code points whose properties PCRE2 is asked for: the planes that hold characters. */
static ImpStatus all_characters(Arena *arena, char **out, size_t *out_length)
{
    char *text = arena_alloc(arena, 0x33680, 4);
    if (text == NULL) return imp_fail_memory(0x33680 * 4);
    size_t length = 0;
    for (uint32_t c = 0; c < 0xe0200; c++) {
        if (c == 0xd800) c = 0xe000;
        if (c == 0x33480) c = 0xe0000;
        length += utf8_put(c, text + length);
    }
    *out = text;
    *out_length = length;
    return IMP_OK;
}

static ImpStatus add_runs(Arena *arena, CharSet *set, pcre2_code *code, pcre2_match_data *match)
{
    char *text = NULL;
    size_t length = 0;
    IMP_TRY(all_characters(arena, &text, &length));
    for (size_t at = 0; at < length;) {
        if (pcre2_match(code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, match, NULL) < 1) break;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
        for (size_t i = span[0]; i < span[1];) {
            const uint32_t c = utf8_next(text, length, &i);
            IMP_TRY(charset_add(arena, set, c, c));
        }
        at = span[1];
    }
    return IMP_OK;
}

ImpStatus charset_add_property(Arena *arena, CharSet *set, const char *name, size_t length, bool *known)
{
    char pattern[64];
    uint64_t categories = 0;
    const CharRange *ranges = NULL;
    size_t n_ranges = 0;
    *known = category_named(name, length, &categories);
    if (*known) return add_categories(arena, set, categories);
    *known = range_named(name, length, &ranges, &n_ranges);
    for (size_t i = 0; i < n_ranges; i++) IMP_TRY(charset_add(arena, set, ranges[i].low, ranges[i].high));
    if (*known) return IMP_OK;
    for (size_t i = 0; i < length; i++) {
        if (strchr("}^\\", name[i]) != NULL) return IMP_OK;
    }
    if (length > 40) return IMP_OK;
    (void)snprintf(pattern, sizeof pattern, "\\p{%.*s}+", (int)length, name);
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &offset, NULL);
    if (code == NULL) return IMP_OK;
    *known = true;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);
    const ImpStatus status = match == NULL ? imp_fail_memory(64) : add_runs(arena, set, code, match);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return status;
}
