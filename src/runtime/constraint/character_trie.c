/*
 * character_trie.c - building the trie, what an automaton's states let through, and the walk.
 */
#include "runtime/constraint/character_trie.h"
#include "runtime/constraint/character_kind.h"

#include <stdlib.h>
#include <string.h>

/* Tokens are at most VOCAB_MAX_TOKEN_BYTES long. */
enum { MAX_DEPTH = 1024 };

/*
 * Building.
 */
static int compare_code_points(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Every character of the tokens beyond ASCII, once. */
static ImpStatus collect_characters(const TrieToken *tokens, size_t n, CharacterTrie *trie)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < tokens[i].length; k++) count += (unsigned char)tokens[i].bytes[k] >= 0xc0;
    }
    trie->beyond = malloc((count + 1) * sizeof *trie->beyond);
    if (trie->beyond == NULL) return imp_fail_memory(count * sizeof *trie->beyond);
    count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < tokens[i].length;) {
            const uint32_t c = utf8_next(tokens[i].bytes, tokens[i].length, &at);
            if (c >= 128) trie->beyond[count++] = c;
        }
    }
    qsort(trie->beyond, count, sizeof *trie->beyond, compare_code_points);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || trie->beyond[i] != trie->beyond[i - 1]) trie->beyond[trie->n_beyond++] = trie->beyond[i];
    }
    trie->beyond_kind = malloc((trie->n_beyond + 1) * sizeof *trie->beyond_kind);
    if (trie->beyond_kind == NULL) return imp_fail_memory(trie->n_beyond * sizeof *trie->beyond_kind);
    for (size_t i = 0; i < trie->n_beyond; i++) {
        trie->beyond_kind[i] = character_kind(trie->beyond[i]);
        trie->beyond_kinds |= trie->beyond_kind[i];
    }
    return IMP_OK;
}

static uint32_t character_number(const CharacterTrie *trie, uint32_t code_point)
{
    if (code_point < 128) return code_point;
    const uint32_t *found =
        bsearch(&code_point, trie->beyond, trie->n_beyond, sizeof *trie->beyond, compare_code_points);
    return 128 + (uint32_t)(found - trie->beyond);
}

/* Children come after their parents, so going backwards they are described first. */
static void describe_branches(CharacterTrie *trie)
{
    for (size_t i = trie->n_nodes; i-- > 0;) {
        CharacterNode *node = &trie->nodes[i];
        node->kinds =
            node->character < 128 ? character_kind(node->character) : trie->beyond_kind[node->character - 128];
        node->height = 1;
        for (size_t child = i + 1; child < node->end; child = trie->nodes[child].end) {
            node->kinds |= trie->nodes[child].kinds;
            if (trie->nodes[child].height >= node->height) node->height = (uint16_t)(trie->nodes[child].height + 1);
        }
        if (node->depth > trie->depth) trie->depth = node->depth;
    }
}

/* Each token adds the characters that it does not share with the one before. */
static void add_tokens(const TrieToken *tokens, size_t n, CharacterTrie *trie, uint32_t *open)
{
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        size_t shared = 0;
        uint32_t number = 0;
        trie->order[i] = tokens[i].id;
        while (at < tokens[i].length) {
            number = character_number(trie, utf8_next(tokens[i].bytes, tokens[i].length, &at));
            if (shared == depth || trie->nodes[open[shared]].character != number) break;
            shared++;
            number = UINT32_MAX;
        }
        for (; depth > shared; depth--) trie->nodes[open[depth - 1]].end = (uint32_t)trie->n_nodes;
        while (number != UINT32_MAX) {
            open[depth++] = (uint32_t)trie->n_nodes;
            trie->nodes[trie->n_nodes++] =
                (CharacterNode){.first = (uint32_t)i, .depth = (uint16_t)depth, .character = number};
            if (at == tokens[i].length) break;
            number = character_number(trie, utf8_next(tokens[i].bytes, tokens[i].length, &at));
        }
        trie->lengths[i] = (uint16_t)depth;
    }
    for (; depth > 0; depth--) trie->nodes[open[depth - 1]].end = (uint32_t)trie->n_nodes;
    trie->nodes[trie->n_nodes] = (CharacterNode){.first = (uint32_t)n};
}

ImpStatus character_trie_build(const TrieToken *tokens, size_t n, CharacterTrie *trie)
{
    *trie = (CharacterTrie){0};
    IMP_TRY(collect_characters(tokens, n, trie));
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t shared = 0;
        while (i > 0 && shared < tokens[i].length && shared < tokens[i - 1].length &&
               tokens[i].bytes[shared] == tokens[i - 1].bytes[shared])
            shared++;
        most += tokens[i].length - shared + 1;
    }
    uint32_t *open = malloc(MAX_DEPTH * sizeof *open); /* the node at each depth of the current path */
    trie->nodes = malloc((most + 1) * sizeof *trie->nodes);
    trie->order = malloc((n + 1) * sizeof *trie->order);
    trie->lengths = malloc((n + 1) * sizeof *trie->lengths);
    const bool there = trie->nodes != NULL && trie->order != NULL && trie->lengths != NULL && open != NULL;
    if (there) add_tokens(tokens, n, trie, open);
    free(open);
    if (!there) return imp_fail_memory(most * sizeof *trie->nodes);
    describe_branches(trie);
    return IMP_OK;
}

void character_trie_free(CharacterTrie *trie)
{
    free(trie->nodes);
    free(trie->order);
    free(trie->lengths);
    free(trie->beyond);
    free(trie->beyond_kind);
    *trie = (CharacterTrie){0};
}

/*
 * What is remembered of an automaton, and of its states.
 */
enum { N_AUTOMATA = 8, N_SURVIVALS = 256, SURVIVAL_DEPTH = 24, MAX_FRONTIER = 24, MAX_SURVIVAL_WORK = 6000 };

typedef struct AutomatonClasses {
    const Dfa *dfa;        /* NULL: empty */
    uint64_t *class_kinds; /* [n_classes] kinds of the trie's characters of the class */
    uint16_t *beyond;      /* [n_beyond] class of each; NULL when all are of the class `uniform` */
    uint16_t uniform;
} AutomatonClasses;

/* How a state can go on without dying. */
typedef struct Survival {
    const Dfa *dfa;
    uint32_t state;
    uint64_t forever;                 /* kinds that lead from the state back to it */
    uint64_t within[SURVIVAL_DEPTH];  /* [n - 1]: any n characters of these kinds lead somewhere, and any fewer */
    uint32_t nearest[SURVIVAL_DEPTH]; /* [n - 1]: characters to an end of the text after any 1 … n of them, at most, */
    uint32_t farthest[SURVIVAL_DEPTH]; /* and characters that the text may grow to, at least */
} Survival;

struct CharacterMemo {
    AutomatonClasses automata[N_AUTOMATA];
    size_t oldest;
    Survival survivals[N_SURVIVALS];
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

static const AutomatonClasses *find_classes(const CharacterTrie *trie, CharacterMemo *memo, const Dfa *dfa)
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

/* States that some characters lead to, and the kinds of the last of these. */
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

static const Survival *survival_of(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state)
{
    const size_t slot = (state * 31U + (uint32_t)((uintptr_t)classes->dfa >> 5)) % N_SURVIVALS;
    Survival *survival = &memo->survivals[slot];
    if (survival->dfa != classes->dfa || survival->state != state) find_survival(classes, state, survival);
    return survival;
}

/*
 * The walk.
 */
typedef struct CharacterWalk {
    const CharacterTrie *trie;
    const AutomatonClasses *classes;
    const StringCursor *cursor;
    CharacterMemo *memo;
    uint32_t *bits;
    bool counted;
} CharacterWalk;

/* Allows the tokens order[from … to). */
static void allow(const CharacterWalk *walk, uint32_t from, uint32_t to)
{
    const int32_t *order = walk->trie->order;
    for (uint32_t i = from; i < to; i++) walk->bits[order[i] / 32] |= 1U << order[i] % 32;
}

/* Those of them that have at most `longest` characters. */
static void allow_short(const CharacterWalk *walk, uint32_t from, uint32_t to, uint32_t longest)
{
    const int32_t *order = walk->trie->order;
    const uint16_t *lengths = walk->trie->lengths;
    for (uint32_t i = from; i < to; i++)
        walk->bits[order[i] / 32] |= (uint32_t)(lengths[i] <= longest) << order[i] % 32;
}

static inline bool fits(const CharacterWalk *walk, uint32_t state, uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const uint32_t least = cursor->least > characters ? cursor->least - characters : 0;
    if (characters > cursor->most) return false;
    const uint32_t most = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
    return dfa_within(walk->classes->dfa, state, least, most);
}

/* Whatever way the branch takes from `state`, behind `characters`, it leads somewhere. */
static bool branch_survives(const CharacterWalk *walk, const Survival *survival, const CharacterNode *node,
                            uint32_t characters)
{
    const Dfa *dfa = walk->classes->dfa;
    const StringCursor *cursor = walk->cursor;
    const uint32_t room = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
    if (dfa->immortal[survival->state] && (room == DFA_UNBOUNDED || node->height + dfa->farthest_end <= room))
        return true;
    if (node->height > SURVIVAL_DEPTH || (node->kinds & ~survival->within[node->height - 1]) != 0) return false;
    const uint32_t farthest = survival->farthest[node->height - 1];
    return survival->nearest[node->height - 1] <= room &&
           (farthest == DFA_UNBOUNDED || farthest + characters >= cursor->least);
}

/* Decides about the whole branch at once, if that is possible. */
static bool take_branch(const CharacterWalk *walk, const CharacterNode *node, uint32_t state, uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const Survival *survival = survival_of(walk->memo, walk->classes, state);
    if ((node->kinds & ~survival->forever) == 0 && cursor->least <= characters) {
        /* The automaton stays where it is: how much text there is room for is all that counts. */
        const uint32_t shortest = walk->classes->dfa->shortest[state];
        const uint32_t end = walk->trie->nodes[node->end].first;
        if (cursor->most == DFA_UNBOUNDED || characters + node->height + shortest <= cursor->most)
            allow(walk, node->first, end);
        else
            allow_short(walk, node->first, end, cursor->most - shortest);
        return true;
    }
    if (!branch_survives(walk, survival, node, characters)) return false;
    allow(walk, node->first, walk->trie->nodes[node->end].first);
    return true;
}

/* Asking about a branch must cost less than walking it. */
enum { LEAST_BRANCH = 12 };

bool character_trie_walk(const CharacterTrie *trie, CharacterMemo *memo, const StringCursor *cursor, uint32_t *bits)
{
    const Dfa *dfa = cursor->dfa;
    const CharacterWalk walk = {
        trie, find_classes(trie, memo, dfa), cursor, memo, bits, cursor->least > 0 || cursor->most != DFA_UNBOUNDED};
    uint32_t states[MAX_DEPTH + 1];
    uint32_t ends[MAX_DEPTH + 1]; /* of the branch at each depth */
    if (walk.classes == NULL) return false;
    const uint16_t *beyond = walk.classes->beyond;
    states[0] = cursor->state;
    ends[0] = (uint32_t)trie->n_nodes;
    for (size_t i = 0; i < trie->n_nodes;) {
        const CharacterNode *node = &trie->nodes[i];
        const uint32_t depth = node->depth;
        if (node->end - i >= LEAST_BRANCH && take_branch(&walk, node, states[depth - 1], depth - 1)) {
            i = node->end;
            continue;
        }
        const uint32_t character = node->character;
        const uint32_t class = character < 128  ? dfa->ascii[character]
                               : beyond == NULL ? walk.classes->uniform
                                                : beyond[character - 128];
        const uint32_t state = dfa->next[(size_t)states[depth - 1] * dfa->n_classes + class];
        if (state == DFA_DEAD || (walk.counted && !fits(&walk, state, depth))) {
            /* Characters beyond ASCII come last; where all are alike none of the others needs to be tried. */
            i = character >= 128 && beyond == NULL ? ends[depth - 1] : node->end;
            continue;
        }
        states[depth] = state;
        ends[depth] = node->end;
        allow(&walk, node->first, node[1].first);
        i = depth < cursor->most ? i + 1 : node->end;
    }
    return true;
}
