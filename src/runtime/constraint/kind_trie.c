/*
 * kind_trie.c - building the trie of kinds from the trie of characters, and the walk (kind_trie.h).
 *
 * All nodes of the trie of characters that one way of kinds leads to are one node here. Its children are theirs, dealt
 * out by kind.
 */
#include "runtime/constraint/kind_trie.h"
#include "runtime/constraint/character_kind.h"
#include "runtime/constraint/character_walk.h"

#include <stdlib.h>
#include <string.h>

/*
 * Building.
 */
typedef struct KindBuilder {
    const CharacterTrie *from;
    KindTrie *to;
    uint32_t *parents; /* [from->n_nodes] 1 + the node above; 0 at the top */
    uint32_t *groups;  /* [from->n_nodes] nodes of one way of kinds side by side */
    size_t n_groups, n_tokens;
} KindBuilder;

static uint64_t node_kind(const CharacterTrie *trie, const CharacterNode *node)
{
    return node->character < 128 ? character_kind(node->character) : trie->beyond_kind[node->character - 128];
}

/* The tokens that end at a node of the trie of characters. */
static void add_tokens(KindBuilder *builder, uint32_t node)
{
    const CharacterTrie *from = builder->from;
    KindTrie *to = builder->to;
    for (uint32_t t = from->nodes[node].first; t < from->nodes[node + 1].first; t++) {
        const size_t n = builder->n_tokens++;
        const uint32_t start = to->starts[n];
        const uint32_t depth = from->nodes[node].depth;
        uint32_t at = node;
        to->order[n] = from->order[t];
        to->starts[n + 1] = start + depth;
        for (uint32_t d = depth; d-- > 0; at = builder->parents[at] - 1)
            to->characters[start + d] = from->nodes[at].character;
        uint32_t shared = 0;
        if (n > 0) {
            const uint32_t before = to->starts[n - 1];
            while (shared < depth && before + shared < start &&
                   to->characters[before + shared] == to->characters[start + shared])
                shared++;
        }
        to->shared[n] = (uint16_t)shared;
    }
}

/* Calls itself for the children, once a kind: as deep as the longest token has characters. */
static void add_children(KindBuilder *builder, size_t group, size_t group_end, uint16_t depth);

/* groups[group … group_end): where a way of kinds leads to. */
static void add_node(KindBuilder *builder, size_t group, size_t group_end, uint64_t kind, uint16_t depth)
{
    KindTrie *to = builder->to;
    const size_t index = to->n_nodes++;
    to->nodes[index] = (KindNode){.kinds = kind,
                                  .first = (uint32_t)builder->n_tokens,
                                  .depth = depth,
                                  .height = 1,
                                  .kind = (uint8_t)__builtin_ctzll(kind)};
    for (size_t i = group; i < group_end; i++) add_tokens(builder, builder->groups[i]);
    add_children(builder, group, group_end, (uint16_t)(depth + 1));
    KindNode *node = &to->nodes[index];
    node->end = (uint32_t)to->n_nodes;
    for (size_t child = index + 1; child < node->end; child = to->nodes[child].end) {
        node->kinds |= to->nodes[child].kinds;
        if (to->nodes[child].height >= node->height) node->height = (uint16_t)(to->nodes[child].height + 1);
    }
}

/* Calls `visit` with each child of the group's nodes; of all at the top where the group is empty. */
typedef void VisitChild(KindBuilder *builder, uint32_t *places, uint32_t child);

static void visit_children(KindBuilder *builder, size_t group, size_t group_end, VisitChild *visit, uint32_t *places)
{
    const CharacterNode *nodes = builder->from->nodes;
    if (group == group_end) {
        for (uint32_t child = 0; child < builder->from->n_nodes; child = nodes[child].end)
            visit(builder, places, child);
    }
    for (size_t i = group; i < group_end; i++) {
        const uint32_t parent = builder->groups[i];
        for (uint32_t child = parent + 1; child < nodes[parent].end; child = nodes[child].end)
            visit(builder, places, child);
    }
}

static uint32_t *place_of(const KindBuilder *builder, uint32_t *places, uint32_t child)
{
    return &places[__builtin_ctzll(node_kind(builder->from, &builder->from->nodes[child]))];
}

static void count_child(KindBuilder *builder, uint32_t *places, uint32_t child) { ++*place_of(builder, places, child); }

static void put_child(KindBuilder *builder, uint32_t *places, uint32_t child)
{
    builder->groups[(*place_of(builder, places, child))++] = child;
}

static void add_children(KindBuilder *builder, size_t group, size_t group_end, uint16_t depth)
{
    uint32_t places[N_KINDS] = {
        0}; /* how many there are of each kind; then where the next one of it goes; then where they end */
    visit_children(builder, group, group_end, count_child, places);
    const size_t first = builder->n_groups;
    for (size_t k = 0; k < N_KINDS; k++) {
        const uint32_t count = places[k];
        places[k] = (uint32_t)builder->n_groups;
        builder->n_groups += count;
    }
    visit_children(builder, group, group_end, put_child, places);
    size_t from = first;
    for (size_t k = 0; k < N_KINDS; k++) {
        if (places[k] > from) add_node(builder, from, places[k], 1ULL << k, depth);
        from = places[k];
    }
}

static size_t find_parents(const CharacterTrie *trie, uint32_t *parents)
{
    size_t characters = 0; /* of all tokens */
    for (uint32_t i = 0; i < trie->n_nodes; i++) {
        if (trie->nodes[i].depth == 1) parents[i] = 0;
        for (uint32_t child = i + 1; child < trie->nodes[i].end; child = trie->nodes[child].end) parents[child] = i + 1;
        characters += (size_t)(trie->nodes[i + 1].first - trie->nodes[i].first) * trie->nodes[i].depth;
    }
    return characters;
}

ImpStatus kind_trie_build(const CharacterTrie *trie, size_t n, KindTrie *out)
{
    KindBuilder builder = {.from = trie, .to = out};
    *out = (KindTrie){0};
    builder.parents = malloc((trie->n_nodes + 1) * sizeof *builder.parents);
    builder.groups = malloc((trie->n_nodes + 1) * sizeof *builder.groups);
    out->order = malloc((n + 1) * sizeof *out->order);
    out->starts = calloc(n + 1, sizeof *out->starts);
    out->shared = malloc((n + 1) * sizeof *out->shared);
    out->nodes = malloc((trie->n_nodes + 1) * sizeof *out->nodes);
    if (builder.parents != NULL)
        out->characters = malloc((find_parents(trie, builder.parents) + 1) * sizeof *out->characters);
    const bool there = builder.groups != NULL && out->order != NULL && out->starts != NULL && out->shared != NULL &&
                       out->nodes != NULL && out->characters != NULL;
    if (there) {
        add_children(&builder, 0, 0, 1);
        out->nodes[out->n_nodes] = (KindNode){.first = (uint32_t)builder.n_tokens};
        KindNode *fitting = realloc(out->nodes, (out->n_nodes + 1) * sizeof *out->nodes);
        if (fitting != NULL) out->nodes = fitting;
    }
    free(builder.parents);
    free(builder.groups);
    return there ? IMP_OK : imp_fail_memory(trie->n_nodes * sizeof *out->nodes);
}

void kind_trie_free(KindTrie *trie)
{
    free(trie->nodes);
    free(trie->order);
    free(trie->starts);
    free(trie->characters);
    free(trie->shared);
    *trie = (KindTrie){0};
}

/*
 * The walk.
 */

/* Those of them that have at most `longest` characters. */
static void allow_short(const CharacterWalk *walk, uint32_t from, uint32_t to, uint32_t longest)
{
    const KindTrie *trie = &walk->trie->by_kind;
    for (uint32_t i = from; i < to; i++)
        walk->bits[trie->order[i] / 32] |= (uint32_t)(trie->starts[i + 1] - trie->starts[i] <= longest)
                                           << trie->order[i] % 32;
}

/* Tokens of a branch for which it is worth finding out what is safe. */
enum { LEAST_SAFE = 256 };

/* Whatever is below the node leads somewhere from `state`, which comes before it, as far as that can be told by kinds. */
static bool branch_is_safe(const CharacterWalk *walk, const KindNode *node, uint32_t state)
{
    const uint32_t end = walk->trie->by_kind.nodes[node->end].first;
    return end - node->first >= LEAST_SAFE && character_walk_has_room(walk, node->depth - 1U, node->height) &&
           (node->kinds & ~character_memo_safe(walk->memo, walk->classes, state)) == 0;
}

/* Decides about a whole branch at once, if that is possible: where nothing dies, or nothing moves. */
static bool take_branch(const CharacterWalk *walk, const KindSteps *steps, const KindNode *node)
{
    const StringCursor *cursor = walk->cursor;
    const Dfa *dfa = walk->classes->dfa;
    const uint32_t characters = node->depth - 1U;
    const uint32_t end = walk->trie->by_kind.nodes[node->end].first;
    const bool endless = cursor->most == DFA_UNBOUNDED;
    if (character_walk_lasts(walk, steps->state, characters, node->height, node->kinds) ||
        branch_is_safe(walk, node, steps->state)) {
        character_walk_allow(walk, walk->trie->by_kind.order, node->first, end);
        return true;
    }
    if ((node->kinds & ~steps->forever) != 0 || cursor->least > characters) return false;
    const uint32_t shortest = dfa->shortest[steps->state];
    if (endless || characters + node->height + shortest <= cursor->most)
        character_walk_allow(walk, walk->trie->by_kind.order, node->first, end);
    else
        allow_short(walk, node->first, end, cursor->most - shortest);
    return true;
}

/* The tokens order[from … to) character by character: all come into `state` behind the same `top` characters. `kinds`:
 * of all that follows there. */
static void read_tokens(const CharacterWalk *walk, uint32_t from, uint32_t to, uint32_t state, uint32_t top,
                        uint64_t kinds)
{
    const KindTrie *trie = &walk->trie->by_kind;
    const Dfa *dfa = walk->classes->dfa;
    uint32_t states[CHARACTER_MAX_DEPTH + 1];
    uint32_t known = top; /* states[top … known] are those behind so many characters of the token before */
    bool refused = false; /* that was, at the character behind them */
    states[top] = state;
    for (uint32_t t = from; t < to; t++) {
        const uint32_t *characters = trie->characters + trie->starts[t];
        const uint32_t length = trie->starts[t + 1] - trie->starts[t];
        const uint32_t shared = t == from || trie->shared[t] < top ? top : trie->shared[t];
        if (refused && shared > known) continue;
        if (shared < known) known = shared;
        refused = false;
        if ((walk->bits[trie->order[t] / 32] >> trie->order[t] % 32 & 1) != 0)
            continue; /* some other cursor goes on with it */
        while (known < length && !character_walk_lasts(walk, states[known], known, length - known, kinds)) {
            const uint32_t next =
                dfa->next[(size_t)states[known] * dfa->n_classes + character_walk_class(walk, characters[known])];
            refused = next == DFA_DEAD || (walk->counted && !character_walk_fits(walk, next, known + 1));
            if (refused) break;
            states[++known] = next;
        }
        if (!refused) character_walk_allow(walk, walk->trie->by_kind.order, t, t + 1);
    }
}

/* The tokens of a branch, whose first characters lead to different states. As far as `state` before it lasts, or all that came
 * since is safe, that does not matter. */
static void read_branch(const CharacterWalk *walk, const KindNode *node, uint32_t state)
{
    const KindNode *nodes = walk->trie->by_kind.nodes;
    const uint32_t top = node->depth - 1U;
    uint64_t safe = 0;
    uint64_t way[CHARACTER_MAX_DEPTH + 1]; /* kinds from the top down to the node at each depth */
    if (nodes[node->end].first - node->first >= LEAST_SAFE) safe = character_memo_safe(walk->memo, walk->classes, state);
    way[top] = 0;
    for (uint32_t i = (uint32_t)(node - nodes), end = node->end; i < end;) {
        const KindNode *at = &nodes[i];
        const uint32_t height = at->depth + at->height - 1U - top;
        const uint32_t branch_end = nodes[at->end].first;
        const bool line_end = (1ULL << at->kind & walk->line_ends) != 0;
        way[at->depth] = way[at->depth - 1] | 1ULL << at->kind;
        const bool is_safe = (way[at->depth] & ~safe) == 0;
        if (is_safe && (at->kinds & ~safe) == 0 && character_walk_has_room(walk, top, height)) {
            character_walk_allow(walk, walk->trie->by_kind.order, at->first, branch_end);
            i = at->end;
        } else if (character_walk_lasts(walk, state, top, height, at->kinds)) {
            character_walk_allow(walk, walk->trie->by_kind.order, at->first, branch_end);
            i = at->end;
        } else if (line_end) {
            read_tokens(walk, at->first, branch_end, state, top, walk->line_ends);
            i = at->end;
        } else {
            if (is_safe && character_walk_has_room(walk, top, at->depth - top))
                character_walk_allow(walk, walk->trie->by_kind.order, at->first, at[1].first);
            else read_tokens(walk, at->first, at[1].first, state, top, at->kinds);
            i++;
        }
    }
}

/* Of a branch at the top whose first characters lead to different states: so many tokens are better read along the trie of
 * characters, unless most of them are safe. */
enum { MANY_TOKENS = 1024 };

static bool is_for_characters(const CharacterWalk *walk, const KindNode *node)
{
    const size_t tokens = walk->trie->by_kind.nodes[node->end].first - node->first;
    if (node->depth > 1 || tokens < MANY_TOKENS) return false;
    return (1ULL << node->kind & ~character_memo_safe(walk->memo, walk->classes, walk->cursor->state)) != 0;
}

void kind_trie_walk(const CharacterWalk *walk, uint64_t *mixed)
{
    const KindTrie *trie = &walk->trie->by_kind;
    uint32_t states[CHARACTER_MAX_DEPTH + 1];
    *mixed = 0;
    states[0] = walk->cursor->state;
    for (size_t i = 0; i < trie->n_nodes;) {
        const KindNode *node = &trie->nodes[i];
        const KindSteps *steps = character_memo_steps(walk->memo, walk->classes, states[node->depth - 1]);
        const uint32_t state = steps->to[node->kind];
        i = node->end;
        if (state == DFA_DEAD || take_branch(walk, steps, node)) continue;
        if (state == KIND_MIXED && is_for_characters(walk, node)) *mixed |= 1ULL << node->kind;
        else if (state == KIND_MIXED) read_branch(walk, node, states[node->depth - 1]);
        if (state == KIND_MIXED || (walk->counted && !character_walk_fits(walk, state, node->depth))) continue;
        states[node->depth] = state;
        character_walk_allow(walk, walk->trie->by_kind.order, node->first, node[1].first);
        if (node->depth < walk->cursor->most) i = (size_t)(node - trie->nodes) + 1;
    }
}

size_t kind_trie_undecided(const CharacterTrie *trie, CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state)
{
    const KindNode *nodes = trie->by_kind.nodes;
    const KindSteps *steps = character_memo_steps(memo, classes, state);
    size_t undecided = 0;
    for (size_t i = 0; i < trie->by_kind.n_nodes; i = nodes[i].end) {
        const uint32_t next = steps->to[nodes[i].kind];
        if (next == DFA_DEAD || (next != KIND_MIXED && classes->dfa->immortal[next])) continue;
        undecided += nodes[nodes[i].end].first - nodes[i].first;
    }
    return undecided;
}
