/*
 * nfa.c - nondeterministic automata and their determinization by sets of nodes.
 *
 * The end anchors read nothing but restrict what follows: a member of a set is a node together with a promise, PROMISE_END
 * (nothing follows) or PROMISE_NEWLINE (nothing but one newline follows). The work is bounded, so that a hostile pattern is
 * refused and not endured.
 */
#include "runtime/constraint/dfa.h"
#include "runtime/constraint/dfa_build.h"
#include "runtime/constraint/json_value.h"

#include <stdlib.h>
#include <string.h>

enum { PROMISE_NONE, PROMISE_NEWLINE, PROMISE_END, N_PROMISES };
enum { MAX_SETS = 4096, MAX_WORK = 4 * 1000 * 1000 };

void nfa_init(Nfa *nfa, Arena *arena, size_t max_nodes) { *nfa = (Nfa){.arena = arena, .max_nodes = max_nodes}; }

void nfa_free(Nfa *nfa)
{
    free(nfa->nodes);
    free(nfa->sets);
    *nfa = (Nfa){0};
}

ImpStatus nfa_add(Nfa *nfa, NfaKind kind, uint32_t a, uint32_t b, uint32_t *out)
{
    if (nfa->n_nodes >= nfa->max_nodes)
        return imp_fail(IMP_ERR_LIMIT, "the pattern is too large: more than %zu steps", nfa->max_nodes);
    if (nfa->n_nodes == nfa->node_capacity) {
        const size_t capacity = nfa->node_capacity * 2 + 64;
        NfaNode *grown = realloc(nfa->nodes, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        nfa->nodes = grown;
        nfa->node_capacity = capacity;
    }
    *out = (uint32_t)nfa->n_nodes;
    nfa->nodes[nfa->n_nodes++] = (NfaNode){kind, a, b};
    return IMP_OK;
}

ImpStatus nfa_add_set(Nfa *nfa, const CharSet *set, uint32_t *out)
{
    for (size_t i = 0; i < nfa->n_sets; i++) {
        if (nfa->sets[i].count != set->count) continue;
        if (set->count == 0 || memcmp(nfa->sets[i].ranges, set->ranges, set->count * sizeof *set->ranges) == 0) {
            *out = (uint32_t)i;
            return IMP_OK;
        }
    }
    if (nfa->n_sets == MAX_SETS) return imp_fail(IMP_ERR_LIMIT, "the pattern has more than %d character sets", MAX_SETS);
    if (nfa->n_sets == nfa->set_capacity) {
        const size_t capacity = nfa->set_capacity * 2 + 16;
        CharSet *grown = realloc(nfa->sets, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        nfa->sets = grown;
        nfa->set_capacity = capacity;
    }
    *out = (uint32_t)nfa->n_sets;
    nfa->sets[nfa->n_sets++] = *set;
    return IMP_OK;
}

ImpStatus nfa_embed(Nfa *nfa, const Dfa *dfa, uint32_t accept, uint32_t *entry)
{
    const uint32_t first = (uint32_t)nfa->n_nodes;
    uint32_t node = 0;
    /* One node a state comes first, so that edges can point at them; node `first + s` becomes a chain of its edges. */
    for (uint32_t s = 0; s < dfa->n_states; s++) IMP_TRY(nfa_add(nfa, NFA_SPLIT, NFA_NONE, NFA_NONE, &node));
    for (uint32_t s = 1; s < dfa->n_states; s++) {
        uint32_t chain = NFA_NONE;
        if (dfa->label[s] != 0) IMP_TRY(nfa_add(nfa, NFA_SPLIT, accept, chain, &chain));
        for (uint32_t c = 0; c < dfa->n_classes; c++) {
            const uint32_t target = dfa->next[(size_t)s * dfa->n_classes + c];
            if (target == DFA_DEAD) continue;
            CharSet set = {0};
            for (uint32_t i = 0; i < dfa->n_bounds; i++) {
                const uint32_t high = i + 1 < dfa->n_bounds ? dfa->bounds[i + 1] - 1 : CODE_POINT_MAX;
                if (dfa->bound_class[i] == c) IMP_TRY(charset_add(nfa->arena, &set, dfa->bounds[i], high));
            }
            uint32_t number = 0;
            IMP_TRY(nfa_add_set(nfa, &set, &number));
            IMP_TRY(nfa_add(nfa, NFA_CHARS, first + target, number, &node));
            IMP_TRY(nfa_add(nfa, NFA_SPLIT, node, chain, &chain));
        }
        nfa->nodes[first + s].a = chain;
    }
    *entry = first + dfa->start;
    return IMP_OK;
}

/* The set of (node, promise) pairs that one deterministic state stands for, while it is collected. */
typedef struct Subset {
    uint32_t *members; /* node * N_PROMISES + promise */
    size_t count;
    uint32_t *stack;
    uint32_t *mark; /* [pairs] generation in which the pair was last added */
    uint32_t generation;
    uint64_t work;
} Subset;

static void subset_add(Subset *subset, size_t *depth, uint32_t pair)
{
    if (subset->mark[pair] == subset->generation) return;
    subset->mark[pair] = subset->generation;
    subset->stack[(*depth)++] = pair;
}

/* Adds a pair and everything it reaches without reading. */
static void subset_close(const Nfa *nfa, Subset *subset, uint32_t pair, bool at_start)
{
    size_t depth = 0;
    subset_add(subset, &depth, pair);
    while (depth > 0) {
        const uint32_t top = subset->stack[--depth];
        const NfaNode *node = &nfa->nodes[top / N_PROMISES];
        const uint32_t promise = top % N_PROMISES;
        subset->work++;
        switch (node->kind) {
        case NFA_SPLIT:
            if (node->a != NFA_NONE) subset_add(subset, &depth, node->a * N_PROMISES + promise);
            if (node->b != NFA_NONE) subset_add(subset, &depth, node->b * N_PROMISES + promise);
            break;
        case NFA_START:
            if (at_start) subset_add(subset, &depth, node->a * N_PROMISES + promise);
            break;
        case NFA_END: subset_add(subset, &depth, node->a * N_PROMISES + PROMISE_END); break;
        case NFA_DOLLAR:
            subset_add(subset, &depth, node->a * N_PROMISES + (promise == PROMISE_NONE ? PROMISE_NEWLINE : promise));
            break;
        case NFA_CHARS:
        case NFA_ACCEPT: subset->members[subset->count++] = top; break;
        }
    }
}

static int compare_pairs(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static uint32_t subset_label(const Nfa *nfa, const uint32_t *members, size_t count)
{
    uint32_t label = 0;
    for (size_t i = 0; i < count; i++) {
        const NfaNode *node = &nfa->nodes[members[i] / N_PROMISES];
        if (node->kind == NFA_ACCEPT && node->a > label) label = node->a;
    }
    return label;
}

static void subset_begin(Subset *subset)
{
    subset->count = 0;
    subset->generation++;
}

/* Collects what `members` reach over class `c`. `contains`: [n_sets][n_classes]; `newline` is the class of the newline. */
static void subset_move(const Nfa *nfa, Subset *subset, const uint32_t *members, size_t count, const uint8_t *contains,
                        uint32_t n_classes, uint32_t c, uint32_t newline)
{
    subset_begin(subset);
    subset->work += count / 8;
    for (size_t i = 0; i < count; i++) {
        const NfaNode *node = &nfa->nodes[members[i] / N_PROMISES];
        const uint32_t promise = members[i] % N_PROMISES;
        if (node->kind != NFA_CHARS || promise == PROMISE_END) continue;
        if (promise == PROMISE_NEWLINE && c != newline) continue;
        if (!contains[(size_t)node->b * n_classes + c]) continue;
        const uint32_t next = promise == PROMISE_NEWLINE ? (uint32_t)PROMISE_END : (uint32_t)PROMISE_NONE;
        subset_close(nfa, subset, node->a * N_PROMISES + next, false);
    }
}

static ImpStatus subset_init(const Nfa *nfa, Subset *subset)
{
    const size_t pairs = nfa->n_nodes * N_PROMISES;
    subset->members = malloc(pairs * sizeof *subset->members);
    subset->stack = malloc(pairs * sizeof *subset->stack);
    subset->mark = calloc(pairs, sizeof *subset->mark);
    if (subset->members == NULL || subset->stack == NULL || subset->mark == NULL) return imp_fail_memory(pairs * 12);
    return IMP_OK;
}

static void subset_free(Subset *subset)
{
    free(subset->members);
    free(subset->stack);
    free(subset->mark);
}

/* The number of the state that the collected set stands for. */
static ImpStatus subset_state(const Nfa *nfa, Subset *subset, DfaBuilder *builder, uint32_t *out)
{
    qsort(subset->members, subset->count, sizeof *subset->members, compare_pairs);
    if (subset->work > MAX_WORK) return imp_fail(IMP_ERR_LIMIT, "the pattern takes too much work to compile");
    return dfa_builder_state(builder, subset->members, subset->count,
                             subset_label(nfa, subset->members, subset->count), out);
}

ImpStatus nfa_determinize(const Nfa *nfa, uint32_t start, uint32_t max_states, Arena *arena, const Dfa **out)
{
    /* The newline is told apart from everything else, for the sake of promises. */
    CharSet newline = {.ranges = &(CharRange){'\n', '\n'}, .count = 1};
    Subset subset = {0};
    DfaBuilder builder = {0};
    uint8_t *contains = NULL;
    uint32_t state = 0;
    ImpStatus status = dfa_builder_init(&builder, arena, max_states);
    if (status == IMP_OK) status = dfa_builder_classes(&builder, nfa->sets, nfa->n_sets, &newline, &contains);
    if (status == IMP_OK) status = subset_init(nfa, &subset);
    if (status != IMP_OK) goto fail;
    subset_begin(&subset);
    subset_close(nfa, &subset, start * N_PROMISES + PROMISE_NONE, true);
    IMP_GOTO(subset_state(nfa, &subset, &builder, &state));
    for (uint32_t s = state; s < builder.n_states; s++) {
        for (uint32_t c = 0; c < builder.n_classes; c++) {
            size_t count = 0;
            const uint32_t *members = dfa_builder_key(&builder, s, &count);
            subset_move(nfa, &subset, members, count, contains, builder.n_classes, c, builder.newline_class);
            uint32_t target = DFA_DEAD;
            if (subset.count > 0) IMP_GOTO(subset_state(nfa, &subset, &builder, &target));
            builder.next[(size_t)s * builder.n_classes + c] = target;
        }
    }
    status = dfa_builder_finish(&builder, state, out);
fail:
    free(contains);
    subset_free(&subset);
    dfa_builder_free(&builder);
    return status;
}
