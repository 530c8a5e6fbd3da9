/*
 * token_letters.c - the index, and the letters that an automaton can be broken with.
 *
 * A set of letters guards a state when every way from it to DFA_DEAD reads at least one of them, or even two different
 * ones. It is found by taking out of all letters one after the other, the most common first, as long as what remains
 * still guards. Several sets are found so, and a token that breaks the pattern holds letters of each. What is asked of
 * the automaton meanwhile is only whether DFA_DEAD can be reached without some classes.
 */
#include "runtime/constraint/token_letters.h"

#include <stdlib.h>
#include <string.h>

ImpStatus token_letters_build(const TrieToken *tokens, size_t n, size_t words, TokenLetters *out)
{
    *out = (TokenLetters){.words = words, .holders = calloc(N_PRINTABLE * words, sizeof *out->holders)};
    if (out->holders == NULL) return imp_fail_memory(N_PRINTABLE * words * sizeof *out->holders);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < tokens[i].length; k++) {
            const size_t row = (size_t)(unsigned char)tokens[i].bytes[k] - ' ';
            if (row >= N_PRINTABLE) continue;
            uint32_t *word = &out->holders[row * words + (size_t)tokens[i].id / 32];
            const uint32_t bit = 1U << tokens[i].id % 32;
            out->counts[row] += (*word & bit) == 0;
            *word |= bit;
        }
    }
    return IMP_OK;
}

void token_letters_free(TokenLetters *letters)
{
    free(letters->holders);
    *letters = (TokenLetters){0};
}

enum { MAX_STATES = 512, MAX_CLASSES = 64, MAX_WORK = 100000 };

/* A search for letters that guard a state. Sets of classes are bits. */
typedef struct Guard {
    const Dfa *dfa;
    uint32_t state;
    uint64_t met;                 /* classes of characters that tokens hold */
    uint64_t letters;             /* those of ASCII alone */
    uint32_t counts[MAX_CLASSES]; /* tokens with such a letter, at most */
    uint32_t reached[MAX_STATES], n_reached;
    bool seen[MAX_STATES];
    size_t work;
} Guard;

/* Follows `classes` from the states reached[from …], adding what they lead to. False at DFA_DEAD. */
static bool spread(Guard *guard, uint32_t from, uint64_t classes)
{
    const Dfa *dfa = guard->dfa;
    for (uint32_t i = from; i < guard->n_reached; i++) {
        const uint32_t *next = dfa->next + (size_t)guard->reached[i] * dfa->n_classes;
        for (uint64_t left = classes; left != 0; left &= left - 1) {
            const uint32_t to = next[__builtin_ctzll(left)];
            guard->work++;
            if (to == DFA_DEAD) return false;
            if (!guard->seen[to]) guard->reached[guard->n_reached++] = to;
            guard->seen[to] = true;
        }
    }
    return true;
}

/* Forgets what was reached behind the first `n` states. */
static void forget(Guard *guard, uint32_t n)
{
    while (guard->n_reached > n) guard->seen[guard->reached[--guard->n_reached]] = false;
}

/* Every way to DFA_DEAD reads `least` different classes of `set`: 1 or 2. */
static bool guards(Guard *guard, uint64_t set, unsigned least)
{
    const uint64_t others = guard->met & ~set;
    forget(guard, 0);
    guard->reached[guard->n_reached++] = guard->state;
    guard->seen[guard->state] = true;
    if (guard->work > MAX_WORK || !spread(guard, 0, others)) return false;
    const uint32_t without = guard->n_reached;
    for (uint64_t left = least < 2 ? 0 : set; left != 0; left &= left - 1) {
        const uint64_t one = left & -left;
        /* The states so far over this letter, then their successors over it and the others. */
        for (uint32_t i = 0; i < without; i++) {
            const uint32_t to =
                guard->dfa->next[(size_t)guard->reached[i] * guard->dfa->n_classes + (uint32_t)__builtin_ctzll(one)];
            if (to == DFA_DEAD) return false;
            if (!guard->seen[to]) guard->reached[guard->n_reached++] = to;
            guard->seen[to] = true;
        }
        guard->work += without;
        if (!spread(guard, without, others | one)) return false;
        forget(guard, without);
    }
    return true;
}

static void sort_classes(const TokenLetters *letters, const AutomatonClasses *classes, uint64_t beyond_kinds,
                         Guard *guard)
{
    const Dfa *dfa = classes->dfa;
    for (uint32_t c = 0; c < dfa->n_classes; c++) {
        if ((classes->class_kinds[c] & beyond_kinds) != 0) guard->met |= 1ULL << c;
    }
    const uint64_t beyond = guard->met;
    for (uint32_t row = 0; row < N_PRINTABLE; row++) {
        const uint32_t class = dfa->ascii[row + ' '];
        if (letters->counts[row] == 0) continue;
        guard->met |= 1ULL << class;
        guard->counts[class] += letters->counts[row];
    }
    guard->letters = guard->met & ~beyond;
}

/* A small set of some of these letters that guards the state with `least` of them; 0 when there is none. */
static uint64_t find_guards(Guard *guard, uint64_t set, unsigned least)
{
    guard->work = 0;
    if (!guards(guard, set, least)) return 0;
    for (uint64_t untried = set; untried != 0;) {
        uint32_t common = (uint32_t)__builtin_ctzll(untried);
        for (uint64_t left = untried; left != 0; left &= left - 1) {
            const uint32_t c = (uint32_t)__builtin_ctzll(left);
            if (guard->counts[c] > guard->counts[common]) common = c;
        }
        untried &= ~(1ULL << common);
        if (guards(guard, set & ~(1ULL << common), least)) set &= ~(1ULL << common);
    }
    return set;
}

/* Rows of holders, those of one class side by side. */
typedef struct GuardRows {
    const uint32_t *rows[N_PRINTABLE];
    uint32_t classes[N_PRINTABLE];
    size_t n;
    unsigned least;
} GuardRows;

static void gather_rows(const TokenLetters *letters, const Dfa *dfa, uint64_t set, GuardRows *out)
{
    for (; set != 0; set &= set - 1) {
        const uint32_t class = (uint32_t)__builtin_ctzll(set);
        for (uint32_t row = 0; row < N_PRINTABLE; row++) {
            if (dfa->ascii[row + ' '] != class || letters->counts[row] == 0) continue;
            out->rows[out->n] = letters->holders + row * letters->words;
            out->classes[out->n++] = class;
        }
    }
}

/* Tokens of one word that hold letters of `least` classes. */
static inline uint32_t suspects(const GuardRows *rows, size_t word)
{
    uint32_t once = 0;
    uint32_t twice = 0;
    for (size_t i = 0; i < rows->n;) {
        const uint32_t class = rows->classes[i];
        uint32_t held = 0;
        for (; i < rows->n && rows->classes[i] == class; i++) held |= rows->rows[i][word];
        twice |= once & held;
        once |= held;
    }
    return rows->least == 1 ? once : twice;
}

/* Tokens of one word that hold what every one of the sets asks for. */
static inline uint32_t held_by_all(const GuardRows *rows, size_t n, size_t word)
{
    uint32_t held = suspects(&rows[0], word);
    for (size_t i = 1; i < n && held != 0; i++) held &= suspects(&rows[i], word);
    return held;
}

enum { MAX_SETS = 6 };

/* Sets without a common letter, and one with two; returns how many. */
static size_t find_sets(const TokenLetters *letters, Guard *guard, GuardRows *rows)
{
    uint64_t pool = guard->letters;
    size_t n = 0;
    for (unsigned least = 1; n < MAX_SETS; n++) {
        uint64_t set = find_guards(guard, pool, least);
        if (set == 0 && n > 0) {
            least = 2;
            set = find_guards(guard, guard->letters, least);
        }
        if (set == 0) break;
        rows[n].least = least;
        gather_rows(letters, guard->dfa, set, &rows[n]);
        pool &= ~set;
        if (least == 2) return n + 1;
    }
    return n;
}

bool token_letters_allow(const TokenLetters *letters, const AutomatonClasses *classes, uint64_t beyond_kinds,
                         uint32_t state, const uint32_t *all, size_t most_left, uint32_t *scratch, uint32_t *bits)
{
    const Dfa *dfa = classes->dfa;
    Guard guard = {.dfa = dfa, .state = state};
    GuardRows rows[MAX_SETS] = {{.n = 0}};
    size_t left = 0;
    if (dfa->n_states > MAX_STATES || dfa->n_classes > MAX_CLASSES) return false;
    sort_classes(letters, classes, beyond_kinds, &guard);
    const size_t n = find_sets(letters, &guard, rows);
    if (n == 0) return false;
    for (size_t w = 0; w < letters->words && left <= most_left; w++) {
        scratch[w] = held_by_all(rows, n, w);
        left += (size_t)__builtin_popcount(all[w] & ~bits[w] & scratch[w]);
    }
    for (size_t w = 0; left <= most_left && w < letters->words; w++) bits[w] |= all[w] & ~scratch[w];
    return left <= most_left;
}
