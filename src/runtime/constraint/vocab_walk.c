/*
 * vocab_walk.c - one mask: the tries walked with the machine (trie_walk.c), with automata and beside sorted texts (vocab.h).
 */
#include "runtime/constraint/vocab.h"

#include <stdlib.h>
#include <string.h>

WalkMemo *walk_memo_create(size_t words)
{
    WalkMemo *memo = calloc(1, sizeof *memo);
    if (memo != NULL) memo->scratch = malloc(words * sizeof *memo->scratch);
    if (memo != NULL && memo->scratch == NULL) {
        free(memo);
        return NULL;
    }
    return memo;
}

void walk_memo_free(WalkMemo *memo)
{
    if (memo == NULL) return;
    character_memo_free(memo->plain);
    character_memo_free(memo->marked);
    free(memo->scratch);
    free(memo);
}

/* Sorted texts, of which tokens may be the beginnings. */
typedef struct TextList {
    const StringCursor *cursor;
    const ConstraintVocab *vocab;
    uint32_t *bits;
} TextList;

static bool some_chosen(const StringCursor *cursor, uint32_t a, uint32_t b)
{
    if (cursor->chosen == NULL) return a < b;
    for (; a < b && a % 64 != 0; a++) {
        if ((cursor->chosen[a / 64] >> a % 64 & 1) != 0) return true;
    }
    for (; a + 64 <= b; a += 64) {
        if (cursor->chosen[a / 64] != 0) return true;
    }
    for (; a < b; a++) {
        if ((cursor->chosen[a / 64] >> a % 64 & 1) != 0) return true;
    }
    return false;
}

/* The texts a … b-1, which are alike up to `bytes`, beside the nodes from `node` to `end`, which are children of one:
 * both are sorted. */
static void walk_texts(const TextList *list, uint32_t a, uint32_t b, size_t bytes, size_t node, size_t end)
{
    const StringCursor *cursor = list->cursor;
    const VocabTrie *trie = &list->vocab->all;
    while (a < b && cursor->lengths[a] <= bytes) a++;
    while (a < b && node < end) {
        const uint8_t byte = (uint8_t)cursor->texts[a][bytes];
        uint32_t low = a;
        uint32_t high = b;
        json_narrow(cursor->texts, cursor->lengths, &low, &high, bytes, byte);
        while (node < end && trie->nodes[node].byte < byte) node = trie->nodes[node].end;
        if (node < end && trie->nodes[node].byte == byte && some_chosen(cursor, a, high)) {
            for (uint32_t t = trie->nodes[node].first; t < trie->nodes[node + 1].first; t++) {
                const uint32_t bit = 1U << trie->order[t] % 32;
                list->bits[trie->order[t] / 32] |= bit & list->vocab->plain_bits[trie->order[t] / 32];
            }
            walk_texts(list, a, high, bytes + 1, node + 1, trie->nodes[node].end);
        }
        a = high;
    }
}

static inline void set_bit(uint32_t *bits, int32_t token) { bits[token / 32] |= 1U << token % 32; }

/* Ordinary characters, as many as there is room for. */
static void allow_plain(const ConstraintVocab *vocab, WalkMemo *memo, uint32_t room, uint32_t *bits)
{
    const int32_t *ids = vocab->plain_ids;
    const uint16_t *length = vocab->plain_length;
    size_t n = vocab->n_plain; /* those that fit, if they are most */
    while (n > vocab->n_plain / 2 && length[ids[n - 1]] > room) n--;
    if (n <= vocab->n_plain / 2) {
        for (size_t i = 0; i < vocab->n_plain && length[ids[i]] <= room; i++) set_bit(bits, ids[i]);
        return;
    }
    memcpy(memo->scratch, vocab->plain_bits, vocab->words * sizeof *bits);
    for (size_t i = n; i < vocab->n_plain; i++) memo->scratch[ids[i] / 32] &= ~(1U << ids[i] % 32);
    for (size_t w = 0; w < vocab->words; w++) bits[w] |= memo->scratch[w];
}

/* Where so many of the plain tokens are allowed that few are left, reading these is less than a walk; a token that is read costs
 * as much as READING of those that are walked. */
enum { FEW_LEFT = 8192, READING = 4 };

static size_t count_left(const ConstraintVocab *vocab, const uint32_t *bits)
{
    size_t left = 0;
    for (size_t w = 0; w < vocab->words; w++) left += (size_t)__builtin_popcount(vocab->plain_bits[w] & ~bits[w]);
    return left;
}

/* The automaton goes on with the whole token, and the text can have a length that it may have. */
static bool cursor_takes(const StringCursor *cursor, const char *text, size_t length)
{
    const bool counted = cursor->least > 0 || cursor->most != DFA_UNBOUNDED;
    uint32_t state = cursor->state;
    uint32_t characters = 0;
    for (size_t at = 0; at < length;) {
        const unsigned char byte = (unsigned char)text[at];
        state = dfa_step(cursor->dfa, state, byte < 0x80 ? (at++, byte) : utf8_next(text, length, &at));
        characters++;
        if (state == DFA_DEAD || characters > cursor->most) return false;
        const uint32_t least = cursor->least > characters ? cursor->least - characters : 0;
        const uint32_t most = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
        if (counted && !dfa_within(cursor->dfa, state, least, most)) return false;
    }
    return true;
}

static void read_left(const ConstraintVocab *vocab, const StringCursor *cursor, uint32_t *bits)
{
    for (size_t w = 0; w < vocab->words; w++) {
        for (uint32_t left = vocab->plain_bits[w] & ~bits[w]; left != 0; left &= left - 1) {
            const int32_t token = (int32_t)(w * 32) + __builtin_ctz(left);
            size_t length = 0;
            const char *text = vocab_token(vocab, token, &length);
            bits[w] |= (uint32_t)cursor_takes(cursor, text, length) << token % 32;
        }
    }
}

static bool walk_characters(const CharacterTrie *trie, CharacterMemo **memo, const StringCursor *cursor, uint32_t *bits)
{
    if (*memo == NULL) *memo = character_memo_create();
    return *memo != NULL && character_trie_walk(trie, *memo, cursor, bits);
}

/* Allows all but few of the plain tokens for the letters that they lack, where a walk would not be short anyway. */
static bool leave_few(const ConstraintVocab *vocab, WalkMemo *memo, const StringCursor *cursor, uint32_t *bits)
{
    const AutomatonClasses *classes = character_memo_classes(memo->plain, &vocab->plain, cursor->dfa);
    const size_t undecided =
        classes == NULL ? 0 : kind_trie_undecided(&vocab->plain, memo->plain, classes, cursor->state);
    return undecided > FEW_LEFT &&
           token_letters_allow(&vocab->letters, classes, vocab->plain.beyond_kinds, cursor->state, vocab->plain_bits,
                               undecided / READING, memo->scratch, bits);
}

/* Plain tokens along an automaton: where only few can be refused, these are read one by one. */
static bool walk_plain(const ConstraintVocab *vocab, WalkMemo *memo, const StringCursor *cursor, uint32_t *bits)
{
    if (memo->plain == NULL) memo->plain = character_memo_create();
    if (memo->plain == NULL) return false;
    bool few = count_left(vocab, bits) <= FEW_LEFT;
    if (!few && cursor->least == 0 && cursor->most == DFA_UNBOUNDED) few = leave_few(vocab, memo, cursor, bits);
    if (few) read_left(vocab, cursor, bits);
    return few || walk_characters(&vocab->plain, &memo->plain, cursor, bits);
}

static bool walk_cursor(const ConstraintVocab *vocab, WalkMemo *memo, const StringCursor *cursor, uint32_t *bits)
{
    if (cursor->texts != NULL) {
        const TextList list = {cursor, vocab, bits};
        walk_texts(&list, cursor->a, cursor->b, cursor->bytes, 0, vocab->all.n_nodes);
        return true;
    }
    if (cursor->dfa != NULL && !cursor->dfa->universal[cursor->state]) return walk_plain(vocab, memo, cursor, bits);
    allow_plain(vocab, memo, cursor->most, bits);
    return true;
}

/* Asks the machine about every token that a text begins with. */
typedef struct TextCheck {
    const ConstraintVocab *vocab;
    const Machine *machine;
    Tape *tape;
    uint32_t state;
    uint32_t *bits;
} TextCheck;

static bool accepts(const TextCheck *check, const char *bytes, size_t length)
{
    const size_t top = check->tape->top;
    uint32_t at = check->state;
    for (size_t i = 0; i < length && at != 0; i++)
        at = machine_step(check->machine, check->tape, at, (unsigned char)bytes[i]);
    check->tape->top = top;
    return at != 0;
}

static void check_text(void *context, const char *text, size_t length)
{
    const TextCheck *check = context;
    const VocabTrie *trie = &check->vocab->all;
    /* Stepping puts characters on the tape's text, behind which `text` lies: it is copied. */
    char copy[VOCAB_MAX_TOKEN_BYTES];
    if (length > sizeof copy) length = sizeof copy;
    memcpy(copy, text, length);
    size_t i = 0;
    size_t end = trie->n_nodes;
    for (size_t depth = 0; depth < length && i < end;) {
        if (trie->nodes[i].byte != (uint8_t)copy[depth]) {
            i = trie->nodes[i].end;
            continue;
        }
        const bool ends_here = trie->nodes[i + 1].first > trie->nodes[i].first;
        const bool accepted = ends_here && accepts(check, copy, depth + 1);
        for (uint32_t t = trie->nodes[i].first; ends_here && t < trie->nodes[i + 1].first; t++) {
            const uint32_t bit = 1U << trie->order[t] % 32;
            if (accepted)
                check->bits[trie->order[t] / 32] |= bit;
            else
                check->bits[trie->order[t] / 32] &= ~bit;
        }
        end = trie->nodes[i].end;
        i++;
        depth++;
    }
}

enum { MAX_CURSORS = 64 };

bool vocab_walk(const ConstraintVocab *vocab, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state,
                uint32_t *bits)
{
    StringCursor cursors[MAX_CURSORS];
    bool only_plain = true;
    memset(bits, 0, vocab->words * sizeof *bits);
    const size_t n = machine_cursors(machine, tape, state, cursors, MAX_CURSORS, &only_plain);
    for (size_t i = 0; i < n; i++) {
        if (!walk_cursor(vocab, memo, &cursors[i], bits)) return false;
    }
    if (n > 0 && !only_plain) { /* a regular expression */
        if (!walk_characters(&vocab->marked, &memo->marked, &cursors[0], bits)) return false;
        trie_walk(&vocab->broken, memo, machine, tape, state, bits);
        return !tape->failed;
    }
    trie_walk(n > 0 ? &vocab->special : &vocab->all, memo, machine, tape, state, bits);
    TextCheck check = {vocab, machine, tape, state, bits};
    machine_other_texts(machine, tape, state, check_text, &check);
    return !tape->failed;
}
