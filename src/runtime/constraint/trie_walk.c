/*
 * trie_walk.c - a trie of bytes walked with a constraint's machine: what the machine refuses is cut off with everything below it.
 *
 * Stepping the machine costs tens of nanoseconds, and most of what is below a quote or an escape is ordinary text, about which
 * automata know all there is to know. So where a node has come into a string, its branch is a lane: as long as some automaton of
 * the string lives, tokens are allowed without asking the machine, which steps only when something comes that automata say
 * nothing about. Then it makes good what was left out.
 */
#include "runtime/constraint/vocab.h"

#include <string.h>

enum { MAX_LANES = 24 };

/* A branch inside of a string. */
typedef struct TextLane {
    JsonWays ways;
    uint32_t base; /* depth of the node that came into the string */
} TextLane;

typedef struct TrieWalk {
    const VocabTrie *trie;
    WalkMemo *memo;
    const Machine *machine;
    Tape *tape;
    uint32_t *bits;
    bool may_meet;
    TextLane lanes[MAX_LANES]; /* those of the node and of nodes above it */
    size_t n_lanes;
    /* Of the current path, by depth. */
    uint32_t states[VOCAB_MAX_TOKEN_BYTES + 1]; /* 0: the machine was not asked */
    size_t tops[VOCAB_MAX_TOKEN_BYTES + 1];     /* of the tape, where it was */
    uint32_t automata[VOCAB_MAX_TOKEN_BYTES + 1][JSON_MAX_WAYS];
    uint8_t lane[VOCAB_MAX_TOKEN_BYTES + 1]; /* 1 + its number, 0: outside of all */
    uint8_t bytes[VOCAB_MAX_TOKEN_BYTES + 1];
} TrieWalk;

/* Sets the bits of the tokens from one node's first to another's. */
static inline void allow(const TrieWalk *walk, const VocabNode *from, const VocabNode *to)
{
    const int32_t *order = walk->trie->order;
    for (uint32_t i = from->first; i < to->first; i++) walk->bits[order[i] / 32] |= 1U << order[i] % 32;
}

/* One offset for all states of this round with the same hash. */
static uint32_t one_of_its_kind(WalkMemo *memo, const Machine *machine, Tape *tape, size_t top, uint32_t state)
{
    const uint64_t hash = machine_hash(machine, tape, state);
    const size_t slot = hash % WALK_STATES;
    if (memo->states[slot].round == memo->round && memo->states[slot].hash == hash) {
        tape->top = top;
        return memo->states[slot].state;
    }
    memo->states[slot].round = memo->round;
    memo->states[slot].hash = hash;
    memo->states[slot].state = state;
    return state;
}

/* Where characters are put on the tape's text, a state holds for the way that has just come there alone: its steps are made anew. */
static uint32_t memo_step(WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t from, uint8_t byte)
{
    const size_t slot = (from / 16 * 31 + byte * 7U) % WALK_STEPS;
    if (memo->steps[slot].round == memo->round && memo->steps[slot].from == from && memo->steps[slot].byte == byte)
        return memo->steps[slot].to;
    const size_t top = tape->top;
    uint32_t to = machine_step(machine, tape, from, byte);
    if (to == 0)
        tape->top = top;
    else if (machine_may_meet(machine, tape, to))
        to = one_of_its_kind(memo, machine, tape, top, to);
    if (!machine_may_meet(machine, tape, from)) return to;
    memo->steps[slot].round = memo->round;
    memo->steps[slot].from = from;
    memo->steps[slot].byte = byte;
    memo->steps[slot].to = to;
    return to;
}

/* Steps to `depth` from the depth above; false when that is refused. */
static bool step_machine(TrieWalk *walk, uint32_t depth)
{
    const uint32_t from = walk->states[depth - 1];
    const uint8_t byte = walk->bytes[depth];
    if (!walk->may_meet) walk->tape->top = walk->tops[depth - 1];
    walk->states[depth] = walk->may_meet ? memo_step(walk->memo, walk->machine, walk->tape, from, byte)
                                         : machine_step(walk->machine, walk->tape, from, byte);
    walk->tops[depth] = walk->tape->top;
    return walk->states[depth] != 0;
}

/* Steps the machine to where lanes have come. */
static bool catch_up(TrieWalk *walk, uint32_t depth)
{
    uint32_t known = depth;
    while (walk->states[known] == 0) known--;
    while (known < depth && step_machine(walk, known + 1)) known++;
    return known == depth;
}

/* The node at `depth`, which the machine has come to, begins a lane if it is inside of a string. */
static void enter_lane(TrieWalk *walk, uint32_t depth)
{
    walk->lane[depth] = 0;
    while (walk->n_lanes > 0 && walk->lanes[walk->n_lanes - 1].base >= depth) walk->n_lanes--;
    if (walk->n_lanes == MAX_LANES) return;
    TextLane *lane = &walk->lanes[walk->n_lanes];
    lane->base = depth;
    machine_ways(walk->machine, walk->tape, walk->states[depth], &lane->ways);
    if (lane->ways.n == 0) return;
    for (size_t i = 0; i < lane->ways.n; i++) walk->automata[depth][i] = lane->ways.ways[i].state;
    walk->lane[depth] = (uint8_t)++walk->n_lanes;
}

/* Where the way comes to over the byte, `read` characters after the lane's beginning; DFA_DEAD when it goes no further. */
static inline uint32_t step_way(const StringCursor *way, uint32_t state, uint8_t byte, uint32_t read, bool endless)
{
    const Dfa *dfa = way->dfa;
    if (dfa == NULL) return read <= way->most ? 1 : DFA_DEAD;
    const uint32_t next = state == DFA_DEAD ? DFA_DEAD : dfa->next[(size_t)state * dfa->n_classes + dfa->ascii[byte]];
    if (next == DFA_DEAD || (endless && dfa->completions[next] != DFA_UNBOUNDED)) return DFA_DEAD;
    if (way->least == 0 && way->most == DFA_UNBOUNDED) return next;
    const uint32_t least = way->least > read ? way->least - read : 0;
    const uint32_t most = way->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : way->most - read;
    return read <= way->most && dfa_within(dfa, next, least, most) ? next : DFA_DEAD;
}

/* Goes to `depth` in the lane of the depth above; false when no way lives on. */
static bool step_lane(TrieWalk *walk, uint32_t depth)
{
    const TextLane *lane = &walk->lanes[walk->lane[depth - 1] - 1];
    uint32_t lives = DFA_DEAD;
    for (size_t i = 0; i < lane->ways.n; i++) {
        walk->automata[depth][i] = step_way(&lane->ways.ways[i], walk->automata[depth - 1][i], walk->bytes[depth],
                                            depth - lane->base, lane->ways.endless);
        lives |= walk->automata[depth][i];
    }
    walk->lane[depth] = walk->lane[depth - 1];
    walk->states[depth] = 0;
    return lives != DFA_DEAD;
}

/* Some way goes on with any `height` ordinary characters after `read` of them. */
static bool way_lasts(const StringCursor *way, uint32_t state, uint32_t read, uint32_t height, bool endless)
{
    const Dfa *dfa = way->dfa;
    const uint64_t farthest = (uint64_t)read + height + (dfa == NULL ? 0 : dfa->farthest_end);
    if (way->most != DFA_UNBOUNDED && farthest > way->most) return false;
    if (dfa == NULL) return true;
    /* A state without endlessly many texts left does not last forever. */
    const uint32_t needed = endless && dfa->some_finite ? DFA_FOREVER : height;
    return state != DFA_DEAD && dfa->lasting[state] >= needed && way->least <= read;
}

/* All that is below the node, which has come to its depth in a lane, may follow. */
static bool takes_branch(const TrieWalk *walk, const VocabNode *node)
{
    const uint32_t depth = node->depth;
    if (node->plain_height == 0 || walk->lane[depth] == 0) return false;
    const TextLane *lane = &walk->lanes[walk->lane[depth] - 1];
    for (size_t i = 0; i < lane->ways.n; i++) {
        if (way_lasts(&lane->ways.ways[i], walk->automata[depth][i], depth - lane->base, node->plain_height,
                      lane->ways.endless))
            return true;
    }
    return false;
}

static bool is_ordinary(uint8_t byte) { return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\'; }

/* Asking about a branch must cost less than walking it. */
enum { LEAST_BRANCH = 4 };

/* Goes on to the node; false when it is refused (or the tape failed). */
static bool visit(TrieWalk *walk, const VocabNode *node, bool is_branch)
{
    const uint32_t depth = node->depth;
    walk->bytes[depth] = node->byte;
    if (walk->lane[depth - 1] != 0 && is_ordinary(node->byte)) {
        if (step_lane(walk, depth)) return true;
        if (walk->lanes[walk->lane[depth] - 1].ways.only) return false;
    }
    walk->lane[depth] = 0;
    if (!catch_up(walk, depth - 1) || !step_machine(walk, depth)) return false;
    if (is_branch) enter_lane(walk, depth);
    return true;
}

void trie_walk(const VocabTrie *trie, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state, uint32_t *bits)
{
    TrieWalk walk;
    walk.trie = trie;
    walk.memo = memo;
    walk.machine = machine;
    walk.tape = tape;
    walk.bits = bits;
    walk.may_meet = machine_may_meet(machine, tape, state);
    walk.n_lanes = 0;
    walk.states[0] = state;
    walk.tops[0] = tape->top;
    memo->round++;
    enter_lane(&walk, 0);
    for (size_t i = 0; i < trie->n_nodes && !tape->failed;) {
        const VocabNode *node = &trie->nodes[i];
        const bool is_branch = node->end - i >= LEAST_BRANCH;
        if (!visit(&walk, node, is_branch)) {
            i = node->end;
        } else if (is_branch && takes_branch(&walk, node)) {
            allow(&walk, node, &trie->nodes[node->end]);
            i = node->end;
        } else {
            allow(&walk, node, node + 1);
            i++;
        }
    }
    tape->top = walk.tops[0];
}
