/*
 * vocab.c - building the tries, walking them, and keeping masks (vocab.h).
 */
#include "runtime/constraint/vocab.h"

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

/* The trie of sorted tokens. Each token adds the bytes that it does not share with the one before. */
static ImpStatus build_trie(const SortToken *tokens, size_t n, int32_t *same_bytes, VocabTrie *trie)
{
    size_t n_nodes = 0;
    for (size_t i = 0; i < n; i++) n_nodes += tokens[i].length - (i == 0 ? 0 : shared_prefix(&tokens[i - 1], &tokens[i]));
    uint32_t *open = malloc((VOCAB_MAX_TOKEN_BYTES + 1) * sizeof *open); /* the node at each depth of the current path */
    trie->nodes = malloc((n_nodes + 1) * sizeof *trie->nodes);
    if (trie->nodes == NULL || open == NULL) {
        free(open);
        return imp_fail_memory(n_nodes * sizeof *trie->nodes);
    }
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t shared = i == 0 ? 0 : shared_prefix(&tokens[i - 1], &tokens[i]);
        if (i > 0 && shared == tokens[i].length && shared == tokens[i - 1].length) {
            if (same_bytes != NULL) same_bytes[tokens[i - 1].id] = tokens[i].id;
            continue;
        }
        for (; depth > shared; depth--) trie->nodes[open[depth]].end = (uint32_t)trie->n_nodes;
        while (depth < tokens[i].length) {
            const uint8_t byte = (uint8_t)tokens[i].bytes[depth];
            open[++depth] = (uint32_t)trie->n_nodes;
            trie->nodes[trie->n_nodes++] = (VocabNode){.token = -1, .depth = (uint16_t)depth, .byte = byte};
        }
        trie->nodes[open[depth]].token = tokens[i].id;
    }
    for (; depth > 0; depth--) trie->nodes[open[depth]].end = (uint32_t)trie->n_nodes;
    free(open);
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

static ImpStatus copy_tokens(ConstraintVocab *vocab, const ConstraintToken *tokens)
{
    const size_t n = (size_t)vocab->n_tokens;
    size_t size = 0;
    for (size_t i = 0; i < n; i++) size += tokens[i].length <= VOCAB_MAX_TOKEN_BYTES ? tokens[i].length : 0;
    if (size > UINT32_MAX) return imp_fail(IMP_ERR_LIMIT, "the vocabulary has more than 4 GiB of text");
    vocab->bytes = malloc(size + 1);
    vocab->starts = malloc((n + 1) * sizeof *vocab->starts);
    vocab->same_bytes = malloc((n + 1) * sizeof *vocab->same_bytes);
    vocab->end_bits = calloc(vocab->words, sizeof *vocab->end_bits);
    vocab->plain_bits = calloc(vocab->words, sizeof *vocab->plain_bits);
    vocab->plain = malloc((n + 1) * sizeof *vocab->plain);
    vocab->plain_length = calloc(n + 1, sizeof *vocab->plain_length);
    vocab->slots = calloc(N_SLOTS, sizeof *vocab->slots);
    if (vocab->bytes == NULL || vocab->starts == NULL || vocab->same_bytes == NULL || vocab->end_bits == NULL ||
        vocab->plain_bits == NULL || vocab->plain == NULL || vocab->plain_length == NULL || vocab->slots == NULL)
        return imp_fail_memory(size);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t length = tokens[i].length <= VOCAB_MAX_TOKEN_BYTES ? tokens[i].length : 0;
        vocab->starts[i] = (uint32_t)at;
        vocab->same_bytes[i] = -1;
        if (length != 0) memcpy(vocab->bytes + at, tokens[i].bytes, length);
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
    ImpStatus status = build_trie(sorted, n, vocab->same_bytes, &vocab->all);
    size_t n_special = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t characters = plain_characters(sorted[i].bytes, sorted[i].length);
        if (characters == 0) {
            sorted[n_special++] = sorted[i];
            continue;
        }
        set_bit(vocab->plain_bits, sorted[i].id);
        vocab->plain[vocab->n_plain++] = sorted[i].id;
        vocab->plain_length[sorted[i].id] = (uint16_t)characters;
        if (characters > vocab->longest_plain) vocab->longest_plain = (uint16_t)characters;
    }
    qsort_r(vocab->plain, vocab->n_plain, sizeof *vocab->plain, compare_plain, vocab->plain_length);
    if (status == IMP_OK) status = build_trie(sorted, n_special, NULL, &vocab->special);
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

void constraint_vocab_free(ConstraintVocab *vocab)
{
    if (vocab == NULL) return;
    for (size_t i = 0; vocab->slots != NULL && i < N_SLOTS; i++) free(vocab->slots[i].bits);
    free(vocab->slots);
    free(vocab->bytes);
    free(vocab->starts);
    free(vocab->same_bytes);
    free(vocab->end_bits);
    free(vocab->plain_bits);
    free(vocab->plain);
    free(vocab->plain_length);
    free(vocab->all.nodes);
    free(vocab->special.nodes);
    (void)pthread_mutex_destroy(&vocab->lock);
    free(vocab);
}

int32_t constraint_vocab_size(const ConstraintVocab *vocab) { return vocab->n_tokens; }

static void walk_trie(const ConstraintVocab *vocab, const VocabTrie *trie, const Machine *machine, Tape *tape,
                      uint32_t state, uint32_t *bits)
{
    uint32_t states[VOCAB_MAX_TOKEN_BYTES + 1];
    size_t tops[VOCAB_MAX_TOKEN_BYTES + 1];
    states[0] = state;
    tops[0] = tape->top;
    for (size_t i = 0; i < trie->n_nodes;) {
        const VocabNode *node = &trie->nodes[i];
        tape->top = tops[node->depth - 1];
        const uint32_t next = machine_step(machine, tape, states[node->depth - 1], node->byte);
        if (next == 0) {
            i = node->end;
            continue;
        }
        states[node->depth] = next;
        tops[node->depth] = tape->top;
        for (int32_t token = node->token; token >= 0; token = vocab->same_bytes[token]) set_bit(bits, token);
        i++;
    }
    tape->top = tops[0];
}

bool vocab_walk(const ConstraintVocab *vocab, const Machine *machine, Tape *tape, uint32_t state, uint32_t *bits)
{
    uint32_t room = 0;
    memset(bits, 0, vocab->words * sizeof *bits);
    if (!machine_any_characters(machine, tape, state, &room)) {
        walk_trie(vocab, &vocab->all, machine, tape, state, bits);
        return !tape->failed;
    }
    if (room >= vocab->longest_plain) {
        memcpy(bits, vocab->plain_bits, vocab->words * sizeof *bits);
    } else {
        for (size_t i = 0; i < vocab->n_plain && vocab->plain_length[vocab->plain[i]] <= room; i++)
            set_bit(bits, vocab->plain[i]);
    }
    walk_trie(vocab, &vocab->special, machine, tape, state, bits);
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
        if (trie->nodes[i].token >= 0) best = trie->nodes[i].token;
        end = trie->nodes[i].end;
        i++;
        depth++;
    }
    return best;
}
