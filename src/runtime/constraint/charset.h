/*
 * charset.h - sets of code points as sorted ranges: what a class in a pattern or a grammar stands for.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_CHARSET_H
#define IMP_RUNTIME_CONSTRAINT_CHARSET_H

#include "core/arena.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CODE_POINT_MAX = 0x10ffff };

typedef struct CharRange {
    uint32_t low, high; /* both included */
} CharRange;

/* Zero-initialize to the empty set; the ranges live in an arena. */
typedef struct CharSet {
    CharRange *ranges; /* after charset_finish: sorted, disjoint, not touching */
    size_t count, capacity;
} CharSet;

ImpStatus charset_add(Arena *arena, CharSet *set, uint32_t low, uint32_t high);
ImpStatus charset_add_set(Arena *arena, CharSet *set, const CharSet *other);
/* Sorts and merges. */
void charset_finish(CharSet *set);
/* *out becomes everything that is not in the finished `set`. */
ImpStatus charset_complement(Arena *arena, const CharSet *set, CharSet *out);
/* Adds the other case of every member (simple case mapping). */
ImpStatus charset_fold_case(Arena *arena, CharSet *set);
bool charset_contains(const CharSet *set, uint32_t code_point);

/* The class behind \d \w \s (Unicode-aware, as Python's re has them) by its lower-case letter. */
ImpStatus charset_add_class(Arena *arena, CharSet *set, char letter);
/* The class behind \p{name}: a general category, one of Java's names (Print, Graph, Alnum, …), or what PCRE2 knows by that name;
 * *known false for all others. */
ImpStatus charset_add_property(Arena *arena, CharSet *set, const char *name, size_t length, bool *known);

#endif
