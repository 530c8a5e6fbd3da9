/*
 * code_set.h - a set of code points: what a class of a regular expression means before it is written for PCRE2.
 */
#ifndef IMP_TEXT_CODE_SET_H
#define IMP_TEXT_CODE_SET_H

#include "core/strbuf.h"
#include "text/tokenizer/unicode.h"

typedef struct CodeSet {
    uint64_t bits[UNICODE_LIMIT / 64];
} CodeSet;

/* An empty set on the heap, freed with free(); NULL without memory. */
CodeSet *code_set_create(void);

void code_set_add(CodeSet *set, uint32_t first, uint32_t last);
void code_set_remove(CodeSet *set, uint32_t code_point);
void code_set_unite(CodeSet *set, const CodeSet *other);
void code_set_intersect(CodeSet *set, const CodeSet *other);
void code_set_complement(CodeSet *set);
bool code_set_has(const CodeSet *set, uint32_t code_point);

/* Adds every code point of these categories or with one of these properties. */
void code_set_add_class(CodeSet *set, uint32_t categories, unsigned properties);

/* Adds a property by its Unicode name ("L", "Lu", "Letter", "Han", "alpha", …; case, spaces, "-" and "_" do not count).
 * False when the name is unknown. */
bool code_set_add_property(CodeSet *set, const char *name, size_t length);

/*
 * What PCRE2 believes about general categories: asked once, when a large set is first written; zero-initialize, free
 * with category_cache_free.
 */
typedef struct CategoryCache {
    CodeSet *sets[32]; /* by category; NULL until asked */
    StrBuf characters; /* every assigned character */
} CategoryCache;

void category_cache_free(CategoryCache *cache);

/*
 * Appends the set as a PCRE2 class. Large sets are written with \p{…} where PCRE2's own categories, whatever its
 * Unicode version, lie inside the set, and as ranges for the rest.
 */
ImpStatus code_set_write(const CodeSet *set, CategoryCache *cache, StrBuf *out);

#endif
