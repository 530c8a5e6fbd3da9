/*
 * vocab.c - building the tries, walking them, and keeping masks (vocab.h).
 */
#include "runtime/constraint/vocab.h"
#include "runtime/constraint/utf8_reader.h"

#include <stdlib.h>
#include <string.h>

enum { N_SLOTS = 512 };

/* Tokens to be sorted by their bytes. */
typedef struct SortToken {
    const char *bytes;
    size_t length;
    int32_t id;
} SortToken;

static int compare_tokens(const void *left, const void *right)
{
    const SortToken *a = left;
    const SortToken *b = right;
    const int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    if (order != 0) return order;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static size_t shared_prefix(const SortToken *a, const SortToken *b)
{
    size_t n = 0;
    while (n < a->length && n < b->length && a->bytes[n] == b->bytes[n]) n++;
    return n;
}

static uint16_t byte_group(uint8_t byte)
{
    static const char singles[] = " -_.,:/'+@";
    if (byte >= 0x80) return 1U << 15;
    if (byte >= 'a' && byte <= 'z') return 1;
    if (byte >= 'A' && byte <= 'Z') return 2;
    if (byte >= '0' && byte <= '9') return 4;
    const char *found = byte == 0 ? NULL : strchr(singles, byte);
    if (found != NULL) return (uint16_t)(8U << (found - singles));
    return byte < 0x20 || byte == 0x7f ? 1U << 14 : 1U << 13;
}

/* Children come after their parents, so going backwards they are described first. */
static void describe_branches(VocabTrie *trie)
{
    for (size_t i = trie->n_nodes; i-- > 0;) {
        VocabNode *node = &trie->nodes[i];
        node->groups = byte_group(node->byte);
        node->height = 1;
        for (size_t child = i + 1; child < node->end; child = trie->nodes[child].end) {
            const uint8_t below = trie->nodes[child].height;
            node->groups |= trie->nodes[child].groups;
            if (below >= node->height) node->height = below == 255 ? 255 : (uint8_t)(below + 1);
        }
    }
}

/* The trie of sorted tokens. Each token adds the bytes that it does not share with the one before. */
static ImpStatus build_trie(const SortToken *tokens, size_t n, VocabTrie *trie)
{
    size_t n_nodes = 0;
    for (size_t i = 0; i < n; i++) n_nodes += tokens[i].length - (i == 0 ? 0 : shared_prefix(&tokens[i - 1], &tokens[i]));
    uint32_t *open = malloc((VOCAB_MAX_TOKEN_BYTES + 1) * sizeof *open); /* the node at each depth of the current path */
    trie->nodes = malloc((n_nodes + 1) * sizeof *trie->nodes);
    trie->order = malloc((n + 1) * sizeof *trie->order);
    if (trie->nodes == NULL || trie->order == NULL || open == NULL) {
        free(open);
        return imp_fail_memory(n_nodes * sizeof *trie->nodes);
    }
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t shared = i == 0 ? 0 : shared_prefix(&tokens[i - 1], &tokens[i]);
        trie->order[i] = tokens[i].id;
        for (; depth > shared; depth--) trie->nodes[open[depth]].end = (uint32_t)trie->n_nodes;
        while (depth < tokens[i].length) {
            const uint8_t byte = (uint8_t)tokens[i].bytes[depth];
            open[++depth] = (uint32_t)trie->n_nodes;
            trie->nodes[trie->n_nodes++] = (VocabNode){.first = (uint32_t)i, .depth = (uint16_t)depth, .byte = byte};
        }
    }
    for (; depth > 0; depth--) trie->nodes[open[depth]].end = (uint32_t)trie->n_nodes;
    trie->nodes[trie->n_nodes] = (VocabNode){.first = (uint32_t)n};
    free(open);
    describe_branches(trie);
    return IMP_OK;
}

/* Number of characters when the token is made of whole ordinary ones; 0 otherwise. */
static size_t plain_characters(const char *bytes, size_t length)
{
    if (!utf8_is_valid(bytes, length)) return 0;
    size_t characters = 0;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c < 0x20 || c == '"' || c == '\\') return 0;
        characters += (c & 0xc0) != 0x80;
    }
    return characters;
}

static int compare_plain(const void *left, const void *right, void *lengths)
{
    const uint16_t a = ((const uint16_t *)lengths)[*(const int32_t *)left];
    const uint16_t b = ((const uint16_t *)lengths)[*(const int32_t *)right];
    return (a > b) - (a < b);
}

/* The token can hold the end of a key, its value and another key. */
static bool holds_keys(const char *bytes, size_t length)
{
    size_t quotes = 0;
    bool colon = false;
    bool comma = false;
    for (size_t i = 0; i < length; i++) {
        quotes += bytes[i] == '"';
        colon = colon || bytes[i] == ':';
        comma = comma || bytes[i] == ',';
    }
    return quotes >= 3 && colon && comma;
}

static ImpStatus copy_tokens(ConstraintVocab *vocab, const ConstraintToken *tokens)
{
    const size_t n = (size_t)vocab->n_tokens;
    size_t size = 0;
    for (size_t i = 0; i < n; i++) size += tokens[i].length <= VOCAB_MAX_TOKEN_BYTES ? tokens[i].length : 0;
    if (size > UINT32_MAX) return imp_fail(IMP_ERR_LIMIT, "the vocabulary has more than 4 GiB of text");
    vocab->bytes = malloc(size + 1);
    vocab->starts = malloc((n + 1) * sizeof *vocab->starts);
    vocab->end_bits = calloc(vocab->words, sizeof *vocab->end_bits);
    vocab->plain_bits = calloc(vocab->words, sizeof *vocab->plain_bits);
    vocab->plain = malloc((n + 1) * sizeof *vocab->plain);
    vocab->plain_length = calloc(n + 1, sizeof *vocab->plain_length);
    vocab->slots = calloc(N_SLOTS, sizeof *vocab->slots);
    if (vocab->bytes == NULL || vocab->starts == NULL || vocab->end_bits == NULL ||
        vocab->plain_bits == NULL || vocab->plain == NULL || vocab->plain_length == NULL || vocab->slots == NULL)
        return imp_fail_memory(size);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t length = tokens[i].length <= VOCAB_MAX_TOKEN_BYTES ? tokens[i].length : 0;
        vocab->starts[i] = (uint32_t)at;
        if (length != 0) memcpy(vocab->bytes + at, tokens[i].bytes, length);
        vocab->keys_in_tokens = vocab->keys_in_tokens || holds_keys(vocab->bytes + at, length);
        at += length;
    }
    vocab->starts[n] = (uint32_t)at;
    return IMP_OK;
}

static void set_bit(uint32_t *bits, int32_t token) { bits[token / 32] |= 1U << token % 32; }

static ImpStatus build_tries(ConstraintVocab *vocab)
{
    SortToken *sorted = malloc(((size_t)vocab->n_tokens + 1) * sizeof *sorted);
    if (sorted == NULL) return imp_fail_memory((size_t)vocab->n_tokens * sizeof *sorted);
    size_t n = 0;
    for (int32_t i = 0; i < vocab->n_tokens; i++) {
        size_t length = 0;
        const char *bytes = vocab_token(vocab, i, &length);
        if (length > 0) sorted[n++] = (SortToken){bytes, length, i};
    }
    qsort(sorted, n, sizeof *sorted, compare_tokens);
    ImpStatus status = build_trie(sorted, n, &vocab->all);
    SortToken *plain = malloc((n + 1) * sizeof *plain);
    if (plain == NULL) {
        free(sorted);
        return imp_fail_memory(n * sizeof *plain);
    }
    size_t n_special = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t characters = plain_characters(sorted[i].bytes, sorted[i].length);
        if (characters == 0) {
            sorted[n_special++] = sorted[i];
            continue;
        }
        plain[vocab->n_plain] = sorted[i];
        set_bit(vocab->plain_bits, sorted[i].id);
        vocab->plain[vocab->n_plain++] = sorted[i].id;
        vocab->plain_length[sorted[i].id] = (uint16_t)characters;
        if (characters > vocab->longest_plain) vocab->longest_plain = (uint16_t)characters;
    }
    qsort_r(vocab->plain, vocab->n_plain, sizeof *vocab->plain, compare_plain, vocab->plain_length);
    if (status == IMP_OK) status = build_trie(plain, vocab->n_plain, &vocab->plain_trie);
    if (status == IMP_OK) status = build_trie(sorted, n_special, &vocab->special);
    free(plain);
    free(sorted);
    return status;
}

ImpStatus constraint_vocab_create(const ConstraintToken *tokens, int32_t n_tokens, const int32_t *end_ids,
                                  int32_t n_end_ids, ConstraintVocab **out)
{
    if (n_tokens < 1) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the vocabulary is empty");
    ConstraintVocab *vocab = calloc(1, sizeof *vocab);
    if (vocab == NULL) return imp_fail_memory(sizeof *vocab);
    vocab->n_tokens = n_tokens;
    vocab->words = ((size_t)n_tokens + 31) / 32;
    (void)pthread_mutex_init(&vocab->lock, NULL);
    ImpStatus status = copy_tokens(vocab, tokens);
    if (status == IMP_OK) status = build_tries(vocab);
    for (int32_t i = 0; status == IMP_OK && i < n_end_ids; i++) {
        if (end_ids[i] >= 0 && end_ids[i] < n_tokens) set_bit(vocab->end_bits, end_ids[i]);
        else status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "end token %d is outside the vocabulary", (int)end_ids[i]);
    }
    if (status != IMP_OK) {
        constraint_vocab_free(vocab);
        return status;
    }
    *out = vocab;
    return IMP_OK;
}

ImpStatus constraint_vocab_from_tokenizer(const Tokenizer *tokenizer, ConstraintVocab **out)
{
    const int32_t n = tokenizer_vocab_size(tokenizer);
    const size_t count = n > 0 ? (size_t)n : 0;
    ConstraintToken *tokens = calloc(count + 1, sizeof *tokens);
    int32_t *ends = malloc((count + 1) * sizeof *ends);
    int32_t n_ends = 0;
    ImpStatus status = tokens == NULL || ends == NULL ? imp_fail_memory(count * sizeof *tokens) : IMP_OK;
    for (int32_t id = 0; status == IMP_OK && id < n; id++) {
        if (tokenizer_is_end(tokenizer, id)) ends[n_ends++] = id;
        if (!tokenizer_is_special(tokenizer, id)) tokens[id].bytes = tokenizer_token_bytes(tokenizer, id, &tokens[id].length);
    }
    if (status == IMP_OK) status = constraint_vocab_create(tokens, n, ends, n_ends, out);
    free(tokens);
    free(ends);
    return status;
}

static void free_trie(VocabTrie *trie)
{
    free(trie->nodes);
    free(trie->order);
}

void constraint_vocab_free(ConstraintVocab *vocab)
{
    if (vocab == NULL) return;
    for (size_t i = 0; vocab->slots != NULL && i < N_SLOTS; i++) free(vocab->slots[i].bits);
    free(vocab->slots);
    free(vocab->bytes);
    free(vocab->starts);
    free(vocab->end_bits);
    free(vocab->plain_bits);
    free(vocab->plain);
    free(vocab->plain_length);
    free_trie(&vocab->all);
    free_trie(&vocab->plain_trie);
    free_trie(&vocab->special);
    (void)pthread_mutex_destroy(&vocab->lock);
    free(vocab);
}

int32_t constraint_vocab_size(const ConstraintVocab *vocab) { return vocab->n_tokens; }

/* Sets the bits of the tokens from one node's first to another's. */
static inline void allow(const VocabTrie *trie, const VocabNode *from, const VocabNode *to, uint32_t *bits)
{
    for (uint32_t i = from->first; i < to->first; i++) set_bit(bits, trie->order[i]);
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

static uint32_t memo_step(WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t from, uint8_t byte)
{
    const size_t slot = (from / 16 * 31 + byte * 7U) % WALK_STEPS;
    if (memo->steps[slot].round == memo->round && memo->steps[slot].from == from && memo->steps[slot].byte == byte)
        return memo->steps[slot].to;
    const size_t top = tape->top;
    uint32_t to = machine_step(machine, tape, from, byte);
    if (to == 0) tape->top = top;
    else if (machine_may_meet(machine, tape, to)) to = one_of_its_kind(memo, machine, tape, top, to);
    memo->steps[slot].round = memo->round;
    memo->steps[slot].from = from;
    memo->steps[slot].byte = byte;
    memo->steps[slot].to = to;
    return to;
}

static void walk_trie(const VocabTrie *trie, WalkMemo *memo, const Machine *machine,
                      Tape *tape, uint32_t state, uint32_t *bits)
{
    uint32_t states[VOCAB_MAX_TOKEN_BYTES + 1];
    size_t tops[VOCAB_MAX_TOKEN_BYTES + 1];
    const bool may_meet = machine_may_meet(machine, tape, state);
    states[0] = state;
    tops[0] = tape->top;
    memo->round++;
    for (size_t i = 0; i < trie->n_nodes && !tape->failed;) {
        const VocabNode *node = &trie->nodes[i];
        const uint32_t from = states[node->depth - 1];
        if (!may_meet) tape->top = tops[node->depth - 1];
        const uint32_t next = may_meet ? memo_step(memo, machine, tape, from, node->byte)
                                       : machine_step(machine, tape, from, node->byte);
        if (next == 0) {
            i = node->end;
            continue;
        }
        states[node->depth] = next;
        tops[node->depth] = tape->top;
        allow(trie, node, node + 1, bits);
        i++;
    }
    tape->top = tops[0];
}

enum { WALK_LOOPS = 64, WALK_CLASSES = 1024 };

/* A walk with an automaton instead of a machine: what it is at each depth. */
typedef struct AutomatonWalk {
    const StringCursor *cursor;
    const Dfa *dfa;
    bool counted, any_bytes; /* any_bytes: tokens may end with half a character */
    uint32_t states[VOCAB_MAX_TOKEN_BYTES + 1];
    uint16_t characters[VOCAB_MAX_TOKEN_BYTES + 1];
    Utf8Reader readers[VOCAB_MAX_TOKEN_BYTES + 1];
    struct {
        uint32_t state;
        uint16_t groups; /* those of which every byte leads from the state back to it */
    } loops[WALK_LOOPS];
    struct {
        uint32_t code_point, class;
    } classes[WALK_CLASSES]; /* of characters beyond ASCII, met before */
} AutomatonWalk;

static bool fits(const AutomatonWalk *walk, uint32_t state, uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const uint32_t least = cursor->least > characters ? cursor->least - characters : 0;
    if (characters > cursor->most) return false;
    const uint32_t most = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
    return dfa_within(walk->dfa, state, least, most);
}

/* A byte that is no character of ASCII. */
static uint32_t step_beyond_ascii(AutomatonWalk *walk, size_t depth, uint8_t byte)
{
    uint32_t low = 0;
    uint32_t high = 0;
    const uint32_t state = walk->states[depth - 1];
    walk->readers[depth] = walk->readers[depth - 1];
    walk->characters[depth] = walk->characters[depth - 1];
    if (!utf8_read(&walk->readers[depth], byte, &low, &high)) return DFA_DEAD;
    if (walk->readers[depth].pending != 0) {
        /* Half a character: what it can become matters only where a token can end with it. */
        const bool possible = !walk->any_bytes || dfa_step_possible(walk->dfa, state, low, high, 0, DFA_UNBOUNDED);
        return possible ? state : DFA_DEAD;
    }
    const size_t slot = low % WALK_CLASSES;
    if (walk->classes[slot].code_point != low) {
        walk->classes[slot].code_point = low;
        walk->classes[slot].class = dfa_class(walk->dfa, low);
    }
    walk->characters[depth]++;
    return walk->dfa->next[(size_t)state * walk->dfa->n_classes + walk->classes[slot].class];
}

/* Goes over one more byte to `depth`; false when that leads nowhere. */
static inline bool step_automaton(AutomatonWalk *walk, size_t depth, uint8_t byte)
{
    const Dfa *dfa = walk->dfa;
    if (byte < 0x80 && walk->readers[depth - 1].pending == 0) {
        walk->states[depth] = dfa->next[(size_t)walk->states[depth - 1] * dfa->n_classes + dfa->ascii[byte]];
        walk->characters[depth] = (uint16_t)(walk->characters[depth - 1] + 1);
        walk->readers[depth].pending = 0;
    } else {
        walk->states[depth] = step_beyond_ascii(walk, depth, byte);
    }
    if (walk->states[depth] == DFA_DEAD) return false;
    return !walk->counted || fits(walk, walk->states[depth], walk->characters[depth]);
}

static uint16_t find_loops(const Dfa *dfa, uint32_t state)
{
    const uint32_t *next = dfa->next + (size_t)state * dfa->n_classes;
    uint16_t loops = UINT16_MAX;
    for (uint32_t c = 0; c < 128; c++) {
        if (next[dfa->ascii[c]] != state) loops &= (uint16_t)~byte_group((uint8_t)c);
    }
    for (uint32_t i = dfa->n_bounds; i-- > 0;) {
        if (next[dfa->bound_class[i]] != state) loops &= (uint16_t)~byte_group(0x80);
        if (dfa->bounds[i] <= 128) break;
    }
    return loops;
}

/* Whatever is at and below the node leaves the automaton where it is: all of it is allowed. With any_bytes, nothing beyond
 * ASCII is taken on trust. */
static bool branch_loops(AutomatonWalk *walk, const VocabNode *node)
{
    const size_t depth = node->depth - 1U;
    const uint32_t state = walk->states[depth];
    const size_t slot = state % WALK_LOOPS;
    if (walk->readers[depth].pending != 0) return false;
    if (walk->loops[slot].state != state) {
        walk->loops[slot].state = state;
        walk->loops[slot].groups = find_loops(walk->dfa, state);
        if (walk->any_bytes) walk->loops[slot].groups &= (uint16_t)~byte_group(0x80);
    }
    if ((node->groups & ~walk->loops[slot].groups) != 0) return false;
    if (!walk->counted) return true;
    return node->height < 255 && fits(walk, state, walk->characters[depth] + (uint32_t)node->height);
}

static void walk_automaton(const VocabTrie *trie, bool any_bytes, const StringCursor *cursor, uint32_t *bits)
{
    AutomatonWalk walk;
    walk.cursor = cursor;
    walk.dfa = cursor->dfa;
    walk.counted = cursor->least > 0 || cursor->most != DFA_UNBOUNDED;
    memset(walk.loops, 0, sizeof walk.loops);
    memset(walk.classes, 0, sizeof walk.classes);
    walk.classes[0].code_point = 1; /* not what belongs there */
    walk.states[0] = cursor->state;
    walk.characters[0] = 0;
    walk.readers[0] = (Utf8Reader){0};
    walk.any_bytes = any_bytes;
    for (size_t i = 0; i < trie->n_nodes;) {
        const VocabNode *node = &trie->nodes[i];
        const size_t depth = node->depth;
        if (node->end - i > 4 && walk.dfa->loops[walk.states[depth - 1]] &&
            branch_loops(&walk, node)) {
            allow(trie, node, &trie->nodes[node->end], bits);
            i = node->end;
        } else if (!step_automaton(&walk, depth, node->byte)) {
            i = node->end;
        } else {
            allow(trie, node, node + 1, bits);
            i++;
        }
    }
}

/* Tokens that `text` begins with. */
static void walk_text(const VocabTrie *trie, const char *text, size_t length, uint32_t *bits)
{
    size_t i = 0;
    size_t end = trie->n_nodes;
    for (size_t depth = 0; depth < length && i < end;) {
        if (trie->nodes[i].byte != (uint8_t)text[depth]) {
            i = trie->nodes[i].end;
            continue;
        }
        allow(trie, &trie->nodes[i], &trie->nodes[i + 1], bits);
        end = trie->nodes[i].end;
        i++;
        depth++;
    }
}

/* Ordinary characters, as many as there is room for. */
static void allow_plain(const ConstraintVocab *vocab, uint32_t room, uint32_t *bits)
{
    if (room >= vocab->longest_plain) {
        for (size_t w = 0; w < vocab->words; w++) bits[w] |= vocab->plain_bits[w];
        return;
    }
    for (size_t i = 0; i < vocab->n_plain && vocab->plain_length[vocab->plain[i]] <= room; i++)
        set_bit(bits, vocab->plain[i]);
}

static void walk_cursor(const ConstraintVocab *vocab, const VocabTrie *trie, const StringCursor *cursor, uint32_t *bits)
{
    if (cursor->listed != NULL) {
        for (uint32_t k = cursor->a; k < cursor->b; k++)
            walk_text(trie, cursor->listed->strings[k] + cursor->bytes, cursor->listed->lengths[k] - cursor->bytes, bits);
    } else if (cursor->dfa == NULL) {
        allow_plain(vocab, cursor->most, bits);
    } else {
        walk_automaton(trie, trie == &vocab->all, cursor, bits);
    }
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
    for (size_t i = 0; i < length && at != 0; i++) at = machine_step(check->machine, check->tape, at, (unsigned char)bytes[i]);
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
            if (accepted) check->bits[trie->order[t] / 32] |= bit;
            else check->bits[trie->order[t] / 32] &= ~bit;
        }
        end = trie->nodes[i].end;
        i++;
        depth++;
    }
}

bool vocab_walk(const ConstraintVocab *vocab, WalkMemo *memo, const Machine *machine, Tape *tape, uint32_t state,
                uint32_t *bits)
{
    StringCursor cursors[8];
    bool only_plain = true;
    uint32_t room = 0;
    memset(bits, 0, vocab->words * sizeof *bits);
    const size_t n = machine_cursors(machine, tape, state, cursors, 8, &only_plain);
    const VocabTrie *trie = only_plain ? &vocab->plain_trie : &vocab->all;
    for (size_t i = 0; i < n; i++) walk_cursor(vocab, trie, &cursors[i], bits);
    if (!only_plain) return true; /* a regular expression alone */
    if (n > 0) {
        walk_trie(&vocab->special, memo, machine, tape, state, bits);
    } else if (machine_any_characters(machine, tape, state, &room)) {
        allow_plain(vocab, room, bits);
        walk_trie(&vocab->special, memo, machine, tape, state, bits);
    } else {
        walk_trie(&vocab->all, memo, machine, tape, state, bits);
    }
    TextCheck check = {vocab, machine, tape, state, bits};
    machine_other_texts(machine, tape, state, check_text, &check);
    return !tape->failed;
}

bool vocab_recall(ConstraintVocab *vocab, uint64_t key, uint64_t check, uint32_t *bits)
{
    bool found = false;
    if (pthread_mutex_trylock(&vocab->lock) != 0) return false;
    for (size_t way = 0; way < 2 && !found; way++) {
        VocabSlot *slot = &vocab->slots[(key + way * 97) % N_SLOTS];
        if (slot->bits == NULL || slot->key != key || slot->check != check) continue;
        memcpy(bits, slot->bits, vocab->words * sizeof *bits);
        slot->used = ++vocab->clock;
        found = true;
    }
    (void)pthread_mutex_unlock(&vocab->lock);
    return found;
}

void vocab_remember(ConstraintVocab *vocab, uint64_t key, uint64_t check, const uint32_t *bits)
{
    if (pthread_mutex_trylock(&vocab->lock) != 0) return;
    VocabSlot *slot = &vocab->slots[key % N_SLOTS];
    VocabSlot *other = &vocab->slots[(key + 97) % N_SLOTS];
    if (other->used < slot->used) slot = other;
    if (slot->bits == NULL) slot->bits = malloc(vocab->words * sizeof *slot->bits);
    if (slot->bits != NULL) {
        memcpy(slot->bits, bits, vocab->words * sizeof *bits);
        slot->key = key;
        slot->check = check;
        slot->used = ++vocab->clock;
    }
    (void)pthread_mutex_unlock(&vocab->lock);
}

int32_t vocab_longest(const ConstraintVocab *vocab, const char *text, size_t length)
{
    const VocabTrie *trie = &vocab->all;
    int32_t best = -1;
    size_t i = 0;
    size_t end = trie->n_nodes;
    for (size_t depth = 0; depth < length && i < end;) {
        if (trie->nodes[i].byte != (uint8_t)text[depth]) {
            i = trie->nodes[i].end;
            continue;
        }
        if (trie->nodes[i + 1].first > trie->nodes[i].first) best = trie->order[trie->nodes[i].first];
        end = trie->nodes[i].end;
        i++;
        depth++;
    }
    return best;
}
