/*
 * character_memo.c - what is remembered of an automaton, and of its states: which characters it tells apart, where each kind of
 * them leads, and how long any characters of which kinds may follow.
 */
#include "runtime/constraint/character_kind.h"
#include "runtime/constraint/character_walk.h"

#include <stdlib.h>
#include <string.h>

enum { N_AUTOMATA = 8, N_SURVIVALS = 256, N_STEPS = 256, MAX_FRONTIER = 24, MAX_SURVIVAL_WORK = 6000 };
enum { MAX_REACHED = 512, MAX_STAMPS = 4096, MAX_SAFE_WORK = 30000 };

/* States that characters of some kinds lead to, and the kinds of the last of these. */
typedef struct Reached {
    uint32_t states[MAX_REACHED];
    uint64_t by[MAX_REACHED];
    size_t count;
    uint16_t places[MAX_STAMPS]; /* 1 + the place of each state of the automaton; 0: not reached */
} Reached;

struct CharacterMemo {
    AutomatonClasses automata[N_AUTOMATA];
    size_t oldest;
    Survival survivals[N_SURVIVALS];
    KindSteps steps[N_STEPS];
    Reached reached; /* empty between searches */
};

CharacterMemo *character_memo_create(void) { return calloc(1, sizeof(CharacterMemo)); }

static void free_classes(AutomatonClasses *classes)
{
    free(classes->class_kinds);
    free(classes->beyond);
    *classes = (AutomatonClasses){0};
}

void character_memo_free(CharacterMemo *memo)
{
    if (memo == NULL) return;
    for (size_t i = 0; i < N_AUTOMATA; i++) free_classes(&memo->automata[i]);
    free(memo);
}

/* The classes of the trie's characters beyond ASCII: both are sorted. */
static bool classify_beyond(const CharacterTrie *trie, const Dfa *dfa, AutomatonClasses *out)
{
    uint32_t interval = 0;
    while (interval + 1 < dfa->n_bounds && dfa->bounds[interval + 1] <= 128) interval++;
    bool uniform = true;
    for (uint32_t i = interval; i < dfa->n_bounds; i++)
        uniform = uniform && dfa->bound_class[i] == dfa->bound_class[interval];
    if (uniform) {
        out->uniform = dfa->bound_class[interval];
        out->class_kinds[out->uniform] |= trie->beyond_kinds;
        return true;
    }
    out->beyond = malloc((trie->n_beyond + 1) * sizeof *out->beyond);
    if (out->beyond == NULL) return false;
    for (size_t k = 0; k < trie->n_beyond; interval++) {
        const uint32_t end = interval + 1 < dfa->n_bounds ? dfa->bounds[interval + 1] : UINT32_MAX;
        const uint16_t class = dfa->bound_class[interval];
        uint64_t kinds = 0;
        for (; k < trie->n_beyond && trie->beyond[k] < end; k++) {
            out->beyond[k] = class;
            kinds |= trie->beyond_kind[k];
        }
        out->class_kinds[class] |= kinds;
    }
    return true;
}

const AutomatonClasses *character_memo_classes(CharacterMemo *memo, const CharacterTrie *trie, const Dfa *dfa)
{
    for (size_t i = 0; i < N_AUTOMATA; i++) {
        if (memo->automata[i].dfa == dfa) return &memo->automata[i];
    }
    AutomatonClasses *classes = &memo->automata[memo->oldest++ % N_AUTOMATA];
    free_classes(classes);
    classes->class_kinds = calloc(dfa->n_classes, sizeof *classes->class_kinds);
    if (classes->class_kinds == NULL || !classify_beyond(trie, dfa, classes)) {
        free_classes(classes);
        return NULL;
    }
    for (uint32_t c = 0; c < 128; c++) classes->class_kinds[dfa->ascii[c]] |= character_kind(c);
    classes->dfa = dfa;
    return classes;
}

/* The same behind a certain number of characters. */
typedef struct Frontier {
    uint32_t states[MAX_FRONTIER];
    uint64_t by[MAX_FRONTIER];
    size_t count;
} Frontier;

static bool frontier_add(Frontier *frontier, uint32_t state, uint64_t by)
{
    size_t i = 0;
    while (i < frontier->count && frontier->states[i] != state) i++;
    if (i == MAX_FRONTIER) return false;
    if (i == frontier->count) {
        frontier->states[frontier->count++] = state;
        frontier->by[i] = 0;
    }
    frontier->by[i] |= by;
    return true;
}

/* Goes on from all states over all characters of *kinds. Where one leads nowhere, its kinds are taken out, or those by which one gets
 * into such a place, if these are fewer. False: too many states. */
static bool advance(const AutomatonClasses *classes, const Frontier *from, uint64_t *kinds, Frontier *to)
{
    const Dfa *dfa = classes->dfa;
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        const uint32_t *next = dfa->next + (size_t)from->states[i] * dfa->n_classes;
        uint64_t dead = 0;
        for (uint32_t c = 0; c < dfa->n_classes; c++) {
            const uint64_t by = classes->class_kinds[c] & *kinds;
            if (by == 0) continue;
            if (next[c] == DFA_DEAD) dead |= by;
            else if (!frontier_add(to, next[c], by)) return false;
        }
        const uint64_t into = from->by[i] & *kinds;
        const bool avoid = into != 0 && __builtin_popcountll(into) < __builtin_popcountll(dead);
        *kinds &= ~(avoid ? into : dead);
    }
    return true;
}

/* What states behind `depth` characters still need, at most, and how far they reach, at least, of the whole way. */
static void note_ends(const Dfa *dfa, const Frontier *frontier, size_t depth, uint32_t *nearest, uint32_t *farthest)
{
    for (size_t i = 0; i < frontier->count; i++) {
        const uint32_t state = frontier->states[i];
        /* With a least length the way to the end is as long as it is for a whole text: never too short. */
        const uint32_t near =
            dfa->reach == NULL ? dfa->shortest[state] : dfa->reach[(size_t)state * dfa->n_reach + dfa->n_reach - 1];
        const uint32_t far = dfa->longest[state];
        const uint32_t near_all = near == DFA_UNBOUNDED ? near : near + (uint32_t)depth;
        const uint32_t far_all = far == DFA_UNBOUNDED ? far : far + (uint32_t)depth;
        if (near_all > *nearest) *nearest = near_all;
        if (far_all < *farthest) *farthest = far_all;
    }
}

/* Kinds are taken out from the front on: where one leads nowhere at some depth, everything begins again without it. */
static void find_survival(const AutomatonClasses *classes, uint32_t state, Survival *out)
{
    const Dfa *dfa = classes->dfa;
    const uint32_t *next = dfa->next + (size_t)state * dfa->n_classes;
    uint64_t kinds = UINT64_MAX;
    uint32_t nearest = 0;
    uint32_t farthest = DFA_UNBOUNDED;
    size_t work = 0;
    memset(out, 0, sizeof *out);
    out->dfa = dfa;
    out->state = state;
    out->forever = UINT64_MAX;
    for (uint32_t c = 0; c < dfa->n_classes; c++) {
        if (next[c] != state) out->forever &= ~classes->class_kinds[c];
    }
    Frontier frontiers[2] = {{.states = {state}, .count = 1}};
    for (size_t depth = 1; depth <= SURVIVAL_DEPTH; depth++) {
        const Frontier *from = &frontiers[(depth - 1) % 2];
        Frontier *to = &frontiers[depth % 2];
        uint64_t before = kinds;
        work += from->count * dfa->n_classes;
        if (work > MAX_SURVIVAL_WORK || !advance(classes, from, &kinds, to) || kinds == 0) break;
        if (kinds == before) note_ends(dfa, to, depth, &nearest, &farthest);
        while (kinds != before) {
            /* This entry and deeper ones hold for fewer kinds; what was noted for the shallower ones stays. */
            before = kinds;
            nearest = 0;
            farthest = DFA_UNBOUNDED;
            frontiers[0] = (Frontier){.states = {state}, .count = 1};
            for (size_t again = 1; again <= depth; again++) {
                work += frontiers[(again - 1) % 2].count * dfa->n_classes;
                (void)advance(classes, &frontiers[(again - 1) % 2], &kinds, &frontiers[again % 2]);
                note_ends(dfa, &frontiers[again % 2], again, &nearest, &farthest);
            }
        }
        out->within[depth - 1] = kinds;
        out->nearest[depth - 1] = nearest;
        out->farthest[depth - 1] = farthest;
    }
}

const Survival *character_memo_survival(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state)
{
    const size_t slot = (state * 31U + (uint32_t)((uintptr_t)classes->dfa >> 5)) % N_SURVIVALS;
    Survival *survival = &memo->survivals[slot];
    if (survival->dfa != classes->dfa || survival->state != state) find_survival(classes, state, survival);
    return survival;
}

static void find_steps(const AutomatonClasses *classes, uint32_t state, KindSteps *out)
{
    const Dfa *dfa = classes->dfa;
    const uint32_t *next = dfa->next + (size_t)state * dfa->n_classes;
    uint64_t known = 0;
    memset(out, 0, sizeof *out); /* a kind without characters leads nowhere */
    out->dfa = dfa;
    out->state = state;
    for (uint32_t c = 0; c < dfa->n_classes; c++) {
        for (uint64_t kinds = classes->class_kinds[c]; kinds != 0; kinds &= kinds - 1) {
            uint32_t *to = &out->to[__builtin_ctzll(kinds)];
            *to = (known & kinds & -kinds) == 0 || *to == next[c] ? next[c] : KIND_MIXED;
        }
        known |= classes->class_kinds[c];
    }
    for (size_t k = 0; k < N_KINDS; k++) out->forever |= (uint64_t)(out->to[k] == state) << k;
}

static size_t steps_slot(const AutomatonClasses *classes, uint32_t state)
{
    return (state * 31U + (uint32_t)((uintptr_t)classes->dfa >> 5)) % N_STEPS;
}

const KindSteps *character_memo_steps(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state)
{
    KindSteps *steps = &memo->steps[steps_slot(classes, state)];
    if (steps->dfa != classes->dfa || steps->state != state) find_steps(classes, state, steps);
    return steps;
}

static bool reach(Reached *reached, uint32_t state, uint64_t by)
{
    if (reached->places[state] == 0) {
        if (reached->count == MAX_REACHED) return false;
        reached->states[reached->count] = state;
        reached->by[reached->count] = 0;
        reached->places[state] = (uint16_t)++reached->count;
    }
    reached->by[reached->places[state] - 1] |= by;
    return true;
}

/* Goes from `state` wherever characters of `kinds` lead. *out: the kinds to be taken out before it is tried again, as advance()
 * does it; 0 when there are none. False: too much work. */
static bool spread(const AutomatonClasses *classes, uint32_t state, Reached *reached, uint64_t kinds, size_t *work, uint64_t *out)
{
    const Dfa *dfa = classes->dfa;
    *out = 0;
    if (!reach(reached, state, 0)) return false;
    for (size_t i = 0; i < reached->count && *out == 0; i++) {
        const uint32_t *next = dfa->next + (size_t)reached->states[i] * dfa->n_classes;
        const uint64_t into = reached->by[i];
        uint64_t dead = 0;
        for (uint32_t c = 0; c < dfa->n_classes; c++) {
            const uint64_t by = classes->class_kinds[c] & kinds;
            if (by != 0 && next[c] == DFA_DEAD) dead |= by;
            else if (by != 0 && !reach(reached, next[c], by)) return false;
        }
        *out = into != 0 && __builtin_popcountll(into) < __builtin_popcountll(dead) ? into : dead;
        *work += dfa->n_classes;
        if (*work > MAX_SAFE_WORK) return false;
    }
    return true;
}

static uint64_t find_safe(const AutomatonClasses *classes, uint32_t state, Reached *reached)
{
    uint64_t kinds = UINT64_MAX;
    uint64_t out = UINT64_MAX;
    size_t work = 0;
    if (classes->dfa->n_states > MAX_STAMPS) return 0;
    while (out != 0) {
        const bool whole = spread(classes, state, reached, kinds, &work, &out);
        while (reached->count > 0) reached->places[reached->states[--reached->count]] = 0;
        if (!whole) return 0;
        kinds &= ~out;
    }
    return kinds;
}

uint64_t character_memo_safe(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state)
{
    (void)character_memo_steps(memo, classes, state);
    KindSteps *steps = &memo->steps[steps_slot(classes, state)];
    if (!steps->safe_known) steps->safe = find_safe(classes, state, &memo->reached);
    steps->safe_known = true;
    return steps->safe;
}
