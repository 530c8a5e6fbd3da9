/*
 * dfa_build.h - what the two ways to a Dfa share (sets of nondeterministic nodes, tuples of states): the classes of code
 * points, the numbering of states by a key, and the last pass that finds out what each state still leads to.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_DFA_BUILD_H
#define IMP_RUNTIME_CONSTRAINT_DFA_BUILD_H

#include "runtime/constraint/dfa.h"

typedef struct DfaBuilder {
    Arena *arena;
    uint32_t max_states, n_states, capacity, n_classes, n_bounds, newline_class;
    uint32_t *bounds;      /* in the arena */
    uint16_t *bound_class; /* in the arena */
    uint32_t *next;        /* [capacity][n_classes], filled by the user of the builder */
    uint32_t *label;       /* [capacity] */
    size_t *key_at;        /* [capacity + 1] where each state's key starts in `keys` */
    uint32_t *keys;
    size_t keys_used, keys_capacity;
    uint32_t *table; /* hash table of state numbers */
    size_t table_size;
} DfaBuilder;

ImpStatus dfa_builder_init(DfaBuilder *builder, Arena *arena, uint32_t max_states);
void dfa_builder_free(DfaBuilder *builder);
/* Splits the code points into classes by membership in sets[n_sets] and in `extra`; newline_class is the class of '\n'.
 * *contains (malloc'd): [n_sets][n_classes], 1 where a set holds a class. */
ImpStatus dfa_builder_classes(DfaBuilder *builder, const CharSet *sets, size_t n_sets, const CharSet *extra,
                              uint8_t **contains);
/* Splits them into classes that all parts can tell apart. *part_class (malloc'd): [n_parts][n_classes]. */
ImpStatus dfa_builder_refine(DfaBuilder *builder, const Dfa *const *parts, size_t n_parts, uint16_t **part_class);
/* The state with this key, new or known. */
ImpStatus dfa_builder_state(DfaBuilder *builder, const uint32_t *key, size_t count, uint32_t label, uint32_t *out);
const uint32_t *dfa_builder_key(const DfaBuilder *builder, uint32_t state, size_t *count);
/* Drops what leads nowhere and describes the rest. */
ImpStatus dfa_builder_finish(DfaBuilder *builder, uint32_t start, const Dfa **out);

#endif
