/*
 * code_set.c - sets of code points and their spelling for PCRE2.
 *
 * The reference's \p{L} is that of Unicode 16, PCRE2's that of whichever release the system has. A class of six hundred
 * ranges would say it exactly but match slowly, so a large class is written as the categories that PCRE2 knows and the
 * set contains, plus the code points that are missing then. What PCRE2 knows is asked of PCRE2.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/code_set.h"

#include "text/tokenizer/utf8.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = UNICODE_LIMIT / 64, FEW_RANGES = 24 };

CodeSet *code_set_create(void) { return calloc(1, sizeof(CodeSet)); }

void code_set_add(CodeSet *set, uint32_t first, uint32_t last)
{
    if (last >= UNICODE_LIMIT) last = UNICODE_LIMIT - 1;
    for (uint32_t c = first; c <= last;) {
        if (c % 64 == 0 && last - c >= 63) {
            set->bits[c / 64] = UINT64_MAX;
            c += 64;
        } else {
            set->bits[c / 64] |= UINT64_C(1) << (c % 64);
            c++;
        }
    }
}

void code_set_remove(CodeSet *set, uint32_t code_point)
{
    set->bits[code_point / 64] &= ~(UINT64_C(1) << (code_point % 64));
}

void code_set_unite(CodeSet *set, const CodeSet *other)
{
    for (size_t i = 0; i < WORDS; i++) set->bits[i] |= other->bits[i];
}

void code_set_intersect(CodeSet *set, const CodeSet *other)
{
    for (size_t i = 0; i < WORDS; i++) set->bits[i] &= other->bits[i];
}

void code_set_complement(CodeSet *set)
{
    for (size_t i = 0; i < WORDS; i++) set->bits[i] = ~set->bits[i];
}

bool code_set_has(const CodeSet *set, uint32_t code_point)
{
    return (set->bits[code_point / 64] >> (code_point % 64) & 1) != 0;
}

void code_set_add_class(CodeSet *set, uint32_t categories, unsigned properties)
{
    uint32_t first, last;
    unsigned flags;
    for (size_t i = 0; unicode_run_at(i, &first, &last, &flags); i++) {
        if ((flags & properties) != 0 || unicode_in(flags, categories)) code_set_add(set, first, last);
    }
}

/* Scripts and what the general categories do not say of letters. */
typedef struct PropertyRows {
    const char *names; /* lower case, each between spaces */
    size_t first_range, n_ranges;
} PropertyRows;

static const PropertyRows property_rows[] = {
#include "text/tokenizer/property_names.inc"
};

static const struct {
    uint32_t first, last;
} property_ranges[] = {
#include "text/tokenizer/property_ranges.inc"
};

/* Adds the ranges under a name; false when there are none. */
static bool add_ranges(CodeSet *set, const char *name)
{
    char spaced[40];
    (void)snprintf(spaced, sizeof spaced, " %s ", name);
    for (size_t i = 0; i < sizeof property_rows / sizeof property_rows[0]; i++) {
        if (strstr(property_rows[i].names, spaced) == NULL) continue;
        for (size_t r = 0; r < property_rows[i].n_ranges; r++) {
            const size_t range = property_rows[i].first_range + r;
            code_set_add(set, property_ranges[range].first, property_ranges[range].last);
        }
        return true;
    }
    return false;
}

typedef struct PropertyName {
    const char *name; /* lower case, without spaces, '-' and '_' */
    uint32_t categories;
    unsigned properties;
} PropertyName;

static const PropertyName property_names[] = {
    {"l", GC_L, 0},
    {"letter", GC_L, 0},
    {"lu", GC_BIT(GC_LU), 0},
    {"uppercaseletter", GC_BIT(GC_LU), 0},
    {"ll", GC_BIT(GC_LL), 0},
    {"lowercaseletter", GC_BIT(GC_LL), 0},
    {"lt", GC_BIT(GC_LT), 0},
    {"titlecaseletter", GC_BIT(GC_LT), 0},
    {"lc", GC_BIT(GC_LU) | GC_BIT(GC_LL) | GC_BIT(GC_LT), 0},
    {"casedletter", GC_BIT(GC_LU) | GC_BIT(GC_LL) | GC_BIT(GC_LT), 0},
    {"lm", GC_BIT(GC_LM), 0},
    {"modifierletter", GC_BIT(GC_LM), 0},
    {"lo", GC_BIT(GC_LO), 0},
    {"otherletter", GC_BIT(GC_LO), 0},
    {"m", GC_M, 0},
    {"mark", GC_M, 0},
    {"combiningmark", GC_M, 0},
    {"mn", GC_BIT(GC_MN), 0},
    {"nonspacingmark", GC_BIT(GC_MN), 0},
    {"mc", GC_BIT(GC_MC), 0},
    {"spacingmark", GC_BIT(GC_MC), 0},
    {"me", GC_BIT(GC_ME), 0},
    {"enclosingmark", GC_BIT(GC_ME), 0},
    {"n", GC_N, 0},
    {"number", GC_N, 0},
    {"nd", GC_BIT(GC_ND), 0},
    {"decimalnumber", GC_BIT(GC_ND), 0},
    {"digit", GC_BIT(GC_ND), 0},
    {"nl", GC_BIT(GC_NL), 0},
    {"letternumber", GC_BIT(GC_NL), 0},
    {"no", GC_BIT(GC_NO), 0},
    {"othernumber", GC_BIT(GC_NO), 0},
    {"p", GC_P, 0},
    {"punctuation", GC_P, 0},
    {"pc", GC_BIT(GC_PC), 0},
    {"connectorpunctuation", GC_BIT(GC_PC), 0},
    {"pd", GC_BIT(GC_PD), 0},
    {"dashpunctuation", GC_BIT(GC_PD), 0},
    {"ps", GC_BIT(GC_PS), 0},
    {"openpunctuation", GC_BIT(GC_PS), 0},
    {"pe", GC_BIT(GC_PE), 0},
    {"closepunctuation", GC_BIT(GC_PE), 0},
    {"pi", GC_BIT(GC_PI), 0},
    {"initialpunctuation", GC_BIT(GC_PI), 0},
    {"pf", GC_BIT(GC_PF), 0},
    {"finalpunctuation", GC_BIT(GC_PF), 0},
    {"po", GC_BIT(GC_PO), 0},
    {"otherpunctuation", GC_BIT(GC_PO), 0},
    {"s", GC_S, 0},
    {"symbol", GC_S, 0},
    {"sm", GC_BIT(GC_SM), 0},
    {"mathsymbol", GC_BIT(GC_SM), 0},
    {"sc", GC_BIT(GC_SC), 0},
    {"currencysymbol", GC_BIT(GC_SC), 0},
    {"sk", GC_BIT(GC_SK), 0},
    {"modifiersymbol", GC_BIT(GC_SK), 0},
    {"so", GC_BIT(GC_SO), 0},
    {"othersymbol", GC_BIT(GC_SO), 0},
    {"z", GC_Z, 0},
    {"separator", GC_Z, 0},
    {"zs", GC_BIT(GC_ZS), 0},
    {"spaceseparator", GC_BIT(GC_ZS), 0},
    {"zl", GC_BIT(GC_ZL), 0},
    {"lineseparator", GC_BIT(GC_ZL), 0},
    {"zp", GC_BIT(GC_ZP), 0},
    {"paragraphseparator", GC_BIT(GC_ZP), 0},
    {"c", GC_C, 0},
    {"other", GC_C, 0},
    {"cc", GC_BIT(GC_CC), 0},
    {"control", GC_BIT(GC_CC), 0},
    {"cntrl", GC_BIT(GC_CC), 0},
    {"cf", GC_BIT(GC_CF), 0},
    {"format", GC_BIT(GC_CF), 0},
    {"cn", GC_BIT(GC_CN), 0},
    {"unassigned", GC_BIT(GC_CN), 0},
    {"co", GC_BIT(GC_CO), 0},
    {"privateuse", GC_BIT(GC_CO), 0},
    {"cs", GC_BIT(GC_CS), 0},
    {"surrogate", GC_BIT(GC_CS), 0},
    {"any", UINT32_MAX, 0},
    {"space", 0, UC_SPACE},
    {"whitespace", 0, UC_SPACE},
    /* What POSIX brackets name too. The rows of these names are added to the categories. */
    {"alpha", GC_L | GC_BIT(GC_NL), 0},
    {"alphabetic", GC_L | GC_BIT(GC_NL), 0},
    {"upper", GC_BIT(GC_LU), 0},
    {"uppercase", GC_BIT(GC_LU), 0},
    {"lower", GC_BIT(GC_LL), 0},
    {"lowercase", GC_BIT(GC_LL), 0},
    {"punct", GC_P, 0},
    {"graph", ~(GC_Z | GC_BIT(GC_CC) | GC_BIT(GC_CN) | GC_BIT(GC_CS)), 0},
    {"print", ~(GC_BIT(GC_ZL) | GC_BIT(GC_ZP) | GC_BIT(GC_CC) | GC_BIT(GC_CN) | GC_BIT(GC_CS)), 0},
};

/* Those that are about ASCII, or nearly. */
static bool add_ascii_class(CodeSet *set, const char *name)
{
    if (strcmp(name, "blank") == 0) {
        code_set_add(set, '\t', '\t');
        code_set_add_class(set, GC_BIT(GC_ZS), 0);
    } else if (strcmp(name, "xdigit") == 0) {
        code_set_add(set, '0', '9');
        code_set_add(set, 'A', 'F');
        code_set_add(set, 'a', 'f');
    } else if (strcmp(name, "ascii") == 0) {
        code_set_add(set, 0, 0x7F);
    } else {
        return false;
    }
    return true;
}

bool code_set_add_property(CodeSet *set, const char *name, size_t length)
{
    char folded[32];
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (name[i] == ' ' || name[i] == '-' || name[i] == '_') continue;
        if (n + 1 == sizeof folded) return false;
        folded[n++] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    }
    folded[n] = '\0';
    if (n == 0) return false;
    if (strcmp(folded, "alnum") == 0) {
        return code_set_add_property(set, "alpha", 5) && code_set_add_property(set, "nd", 2);
    }
    bool found = add_ranges(set, folded);
    for (size_t i = 0; i < sizeof property_names / sizeof property_names[0]; i++) {
        if (strcmp(property_names[i].name, folded) != 0) continue;
        code_set_add_class(set, property_names[i].categories, property_names[i].properties);
        found = true;
    }
    return found || add_ascii_class(set, folded);
}

/* The first code point at or after `c` that is, or is not, a member; UNICODE_LIMIT when none is. */
static uint32_t next_where(const CodeSet *set, uint32_t c, bool member)
{
    while (c < UNICODE_LIMIT) {
        const uint64_t word = (member ? set->bits[c / 64] : ~set->bits[c / 64]) >> (c % 64);
        if (word != 0) return c + (uint32_t)__builtin_ctzll(word);
        c = (c / 64 + 1) * 64;
    }
    return UNICODE_LIMIT;
}

/* The next run of members at or after *from; false past the last. */
static bool next_range(const CodeSet *set, uint32_t *from, uint32_t *first, uint32_t *last)
{
    *first = next_where(set, *from, true);
    *from = next_where(set, *first, false);
    *last = *from - 1;
    return *first < UNICODE_LIMIT;
}

static size_t count_ranges(const CodeSet *set)
{
    size_t n = 0;
    for (uint32_t from = 0, first, last; next_range(set, &from, &first, &last);) n++;
    return n;
}

static void write_ranges(const CodeSet *set, StrBuf *out)
{
    for (uint32_t from = 0, first, last; next_range(set, &from, &first, &last);) {
        /* Surrogates are no characters, and PCRE2 refuses them in a UTF pattern. */
        if (first >= 0xD800 && last <= 0xDFFF) continue;
        if (first >= 0xD800 && first <= 0xDFFF) first = 0xE000;
        if (last >= 0xD800 && last <= 0xDFFF) last = 0xD7FF;
        if (first == last) {
            strbuf_printf(out, "\\x{%x}", (unsigned)first);
        } else {
            strbuf_printf(out, "\\x{%x}-\\x{%x}", (unsigned)first, (unsigned)last);
        }
    }
}

/* Categories that may stand for their members; unassigned, private and surrogate code points may not. */
static const char *const asked_categories[] = {
    [GC_LU] = "Lu", [GC_LL] = "Ll", [GC_LT] = "Lt", [GC_LM] = "Lm", [GC_LO] = "Lo", [GC_MN] = "Mn", [GC_MC] = "Mc",
    [GC_ME] = "Me", [GC_ND] = "Nd", [GC_NL] = "Nl", [GC_NO] = "No", [GC_PC] = "Pc", [GC_PD] = "Pd", [GC_PS] = "Ps",
    [GC_PE] = "Pe", [GC_PI] = "Pi", [GC_PF] = "Pf", [GC_PO] = "Po", [GC_SM] = "Sm", [GC_SC] = "Sc", [GC_SK] = "Sk",
    [GC_SO] = "So", [GC_ZS] = "Zs", [GC_ZL] = "Zl", [GC_ZP] = "Zp", [GC_CC] = "Cc", [GC_CF] = "Cf"};
enum { N_CATEGORIES = sizeof asked_categories / sizeof asked_categories[0] };

void category_cache_free(CategoryCache *cache)
{
    for (size_t i = 0; i < N_CATEGORIES; i++) free(cache->sets[i]);
    strbuf_free(&cache->characters);
    *cache = (CategoryCache){{0}, {0}};
}

/* Every assigned character: planes 0 to 3 and 14; the others hold nothing but unassigned and private ones. */
static ImpStatus all_characters(StrBuf *out)
{
    for (uint32_t c = 0; c < 0xE1000; c = c == 0x3FFFF ? 0xE0000 : c + 1) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        if (!strbuf_reserve(out, 4)) break;
        out->length += utf8_encode(c, out->data + out->length);
    }
    return strbuf_check(out);
}

/* PCRE2's members of a category. */
static ImpStatus ask_category(const char *category, const StrBuf *characters, CodeSet *out)
{
    char pattern[16] = "\\p{xx}+";
    memcpy(pattern + 3, category, 2);
    int error;
    PCRE2_SIZE offset;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_NO_UTF_CHECK, &error,
                                     &offset, NULL);
    pcre2_match_data *match = code == NULL ? NULL : pcre2_match_data_create(1, NULL);
    if (match == NULL) {
        pcre2_code_free(code);
        return imp_fail_memory(sizeof pattern);
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    const PCRE2_SPTR text = (PCRE2_SPTR)characters->data;
    for (size_t at = 0; pcre2_match(code, text, characters->length, at, PCRE2_NO_UTF_CHECK, match, NULL) > 0;) {
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
        size_t width;
        /* What is next to each other here is so in Unicode, but for two gaps between unassigned characters. */
        code_set_add(out, utf8_decode(characters->data + span[0], &width),
                     utf8_decode(characters->data + utf8_previous(characters->data, span[1]), &width));
        at = span[1];
    }
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return IMP_OK;
}

static bool is_subset(const CodeSet *inner, const CodeSet *outer)
{
    for (size_t i = 0; i < WORDS; i++) {
        if ((inner->bits[i] & ~outer->bits[i]) != 0) return false;
    }
    return true;
}

/* PCRE2's members of a category, from the cache. */
static ImpStatus cached_category(CategoryCache *cache, size_t category, const CodeSet **out)
{
    if (cache->characters.length == 0) IMP_TRY(all_characters(&cache->characters));
    if (cache->sets[category] == NULL) {
        CodeSet *set = code_set_create();
        if (set == NULL) return imp_fail_memory(sizeof *set);
        const ImpStatus status = ask_category(asked_categories[category], &cache->characters, set);
        if (status != IMP_OK) {
            free(set);
            return status;
        }
        cache->sets[category] = set;
    }
    *out = cache->sets[category];
    return IMP_OK;
}

/* The categories none of whose members, in the frozen table, is missing from the set. */
static uint32_t whole_categories(const CodeSet *set)
{
    uint32_t broken = 0, first, last;
    unsigned flags;
    for (size_t i = 0; unicode_run_at(i, &first, &last, &flags); i++) {
        if (next_where(set, first, false) <= last) broken |= GC_BIT(flags & GC_MASK);
    }
    return ~broken;
}

/* Writes the categories inside `set`, and the rest as ranges. `rest` starts as the set. */
static ImpStatus write_members(const CodeSet *set, CodeSet *rest, CategoryCache *cache, StrBuf *out)
{
    const uint32_t whole = whole_categories(set);
    for (size_t i = 0; i < N_CATEGORIES; i++) {
        if (asked_categories[i] == NULL || (whole & GC_BIT(i)) == 0) continue;
        const CodeSet *category = NULL;
        IMP_TRY(cached_category(cache, i, &category));
        if (!is_subset(category, set)) continue;
        strbuf_printf(out, "\\p{%s}", asked_categories[i]);
        for (size_t w = 0; w < WORDS; w++) rest->bits[w] &= ~category->bits[w];
    }
    write_ranges(rest, out);
    return IMP_OK;
}

/* Most large sets either name some categories or exclude some; the latter contain what is not assigned at all. */
static ImpStatus write_large(const CodeSet *set, CategoryCache *cache, StrBuf *out)
{
    enum { NEVER_ASSIGNED = 0x50000 };
    const bool excludes = code_set_has(set, NEVER_ASSIGNED);
    CodeSet *members = code_set_create(), *rest = code_set_create();
    ImpStatus status = IMP_OK;
    if (members == NULL || rest == NULL) IMP_GOTO(imp_fail_memory(sizeof *members));
    memcpy(members, set, sizeof *members);
    if (excludes) code_set_complement(members);
    memcpy(rest, members, sizeof *rest);
    strbuf_puts(out, excludes ? "[^" : "[");
    IMP_GOTO(write_members(members, rest, cache, out));
    strbuf_putc(out, ']');
fail:
    free(members);
    free(rest);
    return status;
}

ImpStatus code_set_write(const CodeSet *set, CategoryCache *cache, StrBuf *out)
{
    const size_t n = count_ranges(set);
    if (n == 0) {
        strbuf_puts(out, "(?!)");
    } else if (n <= FEW_RANGES) {
        strbuf_putc(out, '[');
        write_ranges(set, out);
        strbuf_putc(out, ']');
    } else {
        IMP_TRY(write_large(set, cache, out));
    }
    return IMP_OK;
}
