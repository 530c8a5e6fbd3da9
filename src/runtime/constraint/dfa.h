/*
 * dfa.h - deterministic automata over code points: patterns, formats and key classes of a schema, and whole-text patterns.
 *
 * Code points are first mapped to the few classes that an automaton can tell apart. State 0 is dead: a state other than 0
 * always has an accepted continuation, so that "may still match" is "not 0". Automata are immutable and live in an arena.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_DFA_H
#define IMP_RUNTIME_CONSTRAINT_DFA_H

#include "runtime/constraint/charset.h"

enum { DFA_DEAD = 0, DFA_MAX_PARTS = 64, DFA_FOREVER = 255 };
#define DFA_UNBOUNDED UINT32_MAX

typedef struct Dfa {
    uint32_t n_states, n_classes, n_bounds, start;
    uint16_t ascii[128];          /* class of each ASCII character */
    const uint32_t *bounds;       /* [n_bounds] ascending first code points of intervals; bounds[0] is 0 */
    const uint16_t *bound_class;  /* [n_bounds] */
    const uint32_t *next;         /* [n_states][n_classes] */
    const uint32_t *label;        /* [n_states] 0: the text may not end here; otherwise what is accepted */
    const uint32_t *shortest;     /* [n_states] characters to the nearest acceptance */
    const uint32_t *longest;      /* [n_states] characters to the farthest, DFA_UNBOUNDED when there is none */
    const uint32_t *reach;        /* [n_states][n_reach] characters to the nearest acceptance after at least so many; NULL mostly */
    uint32_t n_reach;
    const uint32_t *completions;  /* [n_states] accepted continuations, DFA_UNBOUNDED when too many to count */
    const uint8_t *universal;     /* [n_states] every continuation is accepted, with one label */
    const uint8_t *immortal;      /* [n_states] no continuation leads to DFA_DEAD */
    const uint8_t *lasting;       /* [n_states] nor do so many characters other than line ends (\n, \r, U+2028, U+2029); DFA_FOREVER */
    bool some_finite;             /* some state has finitely many completions */
    uint32_t farthest_end;        /* characters to the nearest acceptance from any state, with a least length counted in `reach` */
} Dfa;

static inline uint32_t dfa_class(const Dfa *dfa, uint32_t code_point)
{
    if (code_point < 128) return dfa->ascii[code_point];
    uint32_t low = 0;
    uint32_t high = dfa->n_bounds;
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (dfa->bounds[middle] <= code_point) low = middle;
        else high = middle;
    }
    return dfa->bound_class[low];
}

static inline uint32_t dfa_step(const Dfa *dfa, uint32_t state, uint32_t code_point)
{
    return dfa->next[(size_t)state * dfa->n_classes + dfa_class(dfa, code_point)];
}

/* Some code point in low … high leads on from `state` to a text with `least` to `most` characters from here. */
bool dfa_step_possible(const Dfa *dfa, uint32_t state, uint32_t low, uint32_t high, uint32_t least, uint32_t most);
/* Accepted texts from `state` whose first character is in low … high; UINT64_MAX when they are not counted. */
uint64_t dfa_range_completions(const Dfa *dfa, uint32_t state, uint32_t low, uint32_t high);
/* From `state`, acceptance can come after `least` to `most` characters. Exact where only one of the bounds says something, and
 * after dfa_with_lengths() with a least length that was not smaller. */
static inline bool dfa_within(const Dfa *dfa, uint32_t state, uint32_t least, uint32_t most)
{
    if (state == DFA_DEAD) return false;
    if (dfa->reach == NULL || least >= dfa->n_reach) return dfa->shortest[state] <= most && dfa->longest[state] >= least;
    return dfa->reach[(size_t)state * dfa->n_reach + least] <= most;
}
/* The same automaton with what dfa_within() needs for texts of at least `min` characters. IMP_ERR_LIMIT when that is much. */
ImpStatus dfa_with_lengths(Arena *arena, const Dfa *dfa, uint32_t min, const Dfa **out);

/* Both have the same states with the same continuations, whatever their labels are. */
bool dfa_goes_alike(const Dfa *a, const Dfa *b);

/* The label of a whole text (valid UTF-8). */
uint32_t dfa_match(const Dfa *dfa, const char *text, size_t length);

/*
 * Nondeterministic automata are built node by node and then made deterministic. A node is a step or a set of steps to others.
 */
typedef enum NfaKind {
    NFA_SPLIT,  /* to `a` and, unless it is NFA_NONE, to `b`, reading nothing */
    NFA_CHARS,  /* to `a` over a member of set `b` */
    NFA_START,  /* to `a` at the start of the text */
    NFA_END,    /* to `a` at the end of the text */
    NFA_DOLLAR, /* to `a` at the end of the text or before a newline that ends it */
    NFA_ACCEPT, /* the text may end here; `a` is the label */
    NFA_AHEAD,  /* to `a` when look `b` accepts the text from here to its end */
    NFA_BEHIND, /* to `a` when look `b` accepts the text up to here */
} NfaKind;

#define NFA_NONE UINT32_MAX

/* Of the nodes of one `family` (0: none) one of lower `rank` accepts every text that one of higher rank accepts. */
typedef struct NfaNode {
    NfaKind kind;
    uint32_t a, b;
    uint32_t family, rank;
} NfaNode;

/* What looks around a place in the text. */
typedef struct NfaLook {
    const Dfa *dfa;
    const Dfa *at_start; /* ahead, from the very start of the text */
    bool behind, negated; /* behind: a text up to here that is not accepted */
} NfaLook;

typedef struct Nfa {
    Arena *arena; /* holds the sets */
    NfaNode *nodes;
    size_t n_nodes, node_capacity, max_nodes;
    CharSet *sets;
    size_t n_sets, set_capacity;
    NfaLook *looks;
    size_t n_looks;
    uint32_t n_families;
    uint32_t forever; /* the node behind which every text is accepted; NFA_NONE without one */
} Nfa;

void nfa_init(Nfa *nfa, Arena *arena, size_t max_nodes);
void nfa_free(Nfa *nfa);
/* IMP_ERR_LIMIT beyond max_nodes. */
ImpStatus nfa_add(Nfa *nfa, NfaKind kind, uint32_t a, uint32_t b, uint32_t *out);
/* Number of the finished set; equal sets get the same number. */
ImpStatus nfa_add_set(Nfa *nfa, const CharSet *set, uint32_t *out);
/* The automaton of everything that leads from `start` to acceptance; `at_start`: from the start of the text. IMP_ERR_LIMIT beyond max_states or a bounded amount of
 * work. When nodes of several labels accept together, the largest label counts. */
ImpStatus nfa_determinize(const Nfa *nfa, uint32_t start, bool at_start, uint32_t max_states, Arena *arena, const Dfa **out);
/* Number of a new look. IMP_ERR_LIMIT beyond a few. */
ImpStatus nfa_add_look(Nfa *nfa, NfaLook look, uint32_t *out);

/* Runs parts[n] side by side. `label` turns the parts that accept (bit i: parts[i]) into a label, 0 for none. */
typedef uint32_t DfaLabel(const void *context, uint64_t accepted);
ImpStatus dfa_product(Arena *arena, const Dfa *const *parts, size_t n_parts, DfaLabel *label, const void *context,
                      uint32_t max_states, const Dfa **out);
/* Texts that all of required[] and none of refused[] accept. */
ImpStatus dfa_combine(Arena *arena, const Dfa *const *required, size_t n_required, const Dfa *const *refused,
                      size_t n_refused, uint32_t max_states, const Dfa **out);
/* A machine that reads texts a character at a time, its states numbers of its own (0 comes first). Characters other than its letters are
 * alike to it: it sees 0 for them. */
typedef struct DfaMachine {
    const uint32_t *letters; /* [n_letters] code points */
    size_t n_letters;
    bool (*step)(const void *context, uint32_t state, uint32_t letter, uint32_t *next); /* false: none may follow */
    bool (*may_end)(const void *context, uint32_t state);
    const void *context;
} DfaMachine;
ImpStatus dfa_from_machine(Arena *arena, const DfaMachine *machine, uint32_t max_states, const Dfa **out);
/* Exactly the texts strings[n] (valid UTF-8). */
ImpStatus dfa_from_strings(Arena *arena, const char *const *strings, const size_t *lengths, size_t n, const Dfa **out);
/* Texts of min … max characters (max DFA_UNBOUNDED: no end). */
ImpStatus dfa_from_lengths(Arena *arena, uint32_t min, uint32_t max, const Dfa **out);

#endif
