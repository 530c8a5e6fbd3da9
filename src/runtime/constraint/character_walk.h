/*
 * character_walk.h - what the walks with an automaton share (character_trie.c, kind_trie.c): where they are, and what
 * is remembered of automata and of their states (character_memo.c).
 */
#ifndef IMP_RUNTIME_CONSTRAINT_CHARACTER_WALK_H
#define IMP_RUNTIME_CONSTRAINT_CHARACTER_WALK_H

#include "runtime/constraint/character_trie.h"

/* Tokens are at most VOCAB_MAX_TOKEN_BYTES long. */
enum { CHARACTER_MAX_DEPTH = 1024, SURVIVAL_DEPTH = 24, N_KINDS = 64 };

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

/* Where each kind of characters leads from a state. */
#define KIND_MIXED UINT32_MAX /* its characters lead to different states */
typedef struct KindSteps {
    const Dfa *dfa;
    uint32_t state;
    uint64_t forever; /* kinds that lead back to the state */
    uint64_t safe;    /* whatever is made of these kinds leads somewhere */
    bool safe_known;
    uint32_t to[N_KINDS];
} KindSteps;

typedef struct CharacterWalk {
    const CharacterTrie *trie;
    const AutomatonClasses *classes;
    const StringCursor *cursor;
    CharacterMemo *memo;
    uint32_t *bits;
    bool counted;
    uint64_t line_ends; /* kinds that Dfa.lasting says nothing about */
} CharacterWalk;

/* NULL without memory. */
const AutomatonClasses *character_memo_classes(CharacterMemo *memo, const CharacterTrie *trie, const Dfa *dfa);
/* Valid until another state is asked for. */
const Survival *character_memo_survival(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state);
const KindSteps *character_memo_steps(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state);
/* KindSteps.safe: costs more than the steps themselves. */
uint64_t character_memo_safe(CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state);

/* The text can end well when it is in `state` behind `characters`. */
static inline bool character_walk_fits(const CharacterWalk *walk, uint32_t state, uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const uint32_t least = cursor->least > characters ? cursor->least - characters : 0;
    if (characters > cursor->most) return false;
    const uint32_t most = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
    return dfa_within(walk->classes->dfa, state, least, most);
}

/* Behind `characters`, in `state`: whatever of these kinds comes next, `height` characters at most, leads somewhere. */
static inline bool character_walk_lasts(const CharacterWalk *walk, uint32_t state, uint32_t characters, uint32_t height,
                                        uint64_t kinds)
{
    const Dfa *dfa = walk->classes->dfa;
    const StringCursor *cursor = walk->cursor;
    const uint64_t farthest = (uint64_t)characters + height + dfa->farthest_end; /* which may be DFA_UNBOUNDED */
    if (cursor->most != DFA_UNBOUNDED && farthest > cursor->most) return false;
    if (dfa->immortal[state]) return true;
    return height <= dfa->lasting[state] && (kinds & walk->line_ends) == 0 && cursor->least <= characters + 1;
}

/* The same, where these kinds are safe in the state. */
static inline bool character_walk_has_room(const CharacterWalk *walk, uint32_t characters, uint32_t height)
{
    const StringCursor *cursor = walk->cursor;
    const uint64_t farthest = (uint64_t)characters + height + walk->classes->dfa->farthest_end;
    return cursor->least <= characters + 1 && (cursor->most == DFA_UNBOUNDED || farthest <= cursor->most);
}

/* Allows the tokens order[from … to). */
static inline void character_walk_allow(const CharacterWalk *walk, const int32_t *order, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) walk->bits[order[i] / 32] |= 1U << order[i] % 32;
}

/* Class of a character of the trie. */
static inline uint32_t character_walk_class(const CharacterWalk *walk, uint32_t character)
{
    if (character < 128) return walk->classes->dfa->ascii[character];
    return walk->classes->beyond == NULL ? walk->classes->uniform : walk->classes->beyond[character - 128];
}

/* Sets the bits of the tokens that begin with a kind of characters which the automaton does not tell apart; *mixed: the
 * other kinds, whose tokens are left. */
void kind_trie_walk(const CharacterWalk *walk, uint64_t *mixed);
/* How many tokens, at most, a walk without bounds of length would have to look at: behind the first characters of all others any text
 * may follow, or none. */
size_t kind_trie_undecided(const CharacterTrie *trie, CharacterMemo *memo, const AutomatonClasses *classes, uint32_t state);

#endif
