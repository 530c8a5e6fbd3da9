/*
 * bpe_encode.c - one word into tokens.
 *
 * Most words of a text are tokens themselves, and most tokens are what merging their own text gives; whether that holds
 * is found out once a token and remembered. Words of several tokens are remembered for the rest of the call. What is
 * left is merged: up to a few dozen symbols in a plain array, where finding the lowest rank is a scan, and longer words
 * with a heap over a linked list, in n log n.
 */
#include "text/tokenizer/bpe.h"

#include "text/tokenizer/bpe_internal.h"
#include "text/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    SCAN_SYMBOLS = 40, /* up to here the scan beats the heap */
    CACHE_WORD_BYTES = 38,
    CACHE_WORD_IDS = 12,
    CACHE_MAX_ENTRIES = 1 << 14,
    CUT_MIN_BYTES = 8, /* no use in looking for cuts below */
};

enum { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

#define NO_MERGE UINT64_MAX

/* A token so far: text [start, end) of the word, nothing when no merge may touch it (unknown characters, fallback
 * bytes). */
typedef struct Symbol {
    int32_t id;
    uint32_t start, end;
    uint32_t characters;
    int32_t previous, next; /* in the list of the heap's way; -1 past the ends */
} Symbol;

typedef struct Candidate {
    uint64_t key;  /* rank: lowest first */
    uint64_t pair; /* the ids that it merges, to notice that one has gone */
    uint32_t at;   /* the left symbol */
    int32_t result;
} Candidate;

typedef struct CacheEntry {
    uint64_t hash;
    uint8_t length, count; /* length 0: empty */
    char word[CACHE_WORD_BYTES];
    int32_t ids[CACHE_WORD_IDS];
} CacheEntry;

struct BpeScratch {
    Symbol *symbols;
    size_t n_symbols, symbol_capacity;
    Candidate *heap;
    size_t n_heap, heap_capacity;
    CacheEntry *cache; /* NULL for short texts: nothing would come twice */
    uint64_t cache_mask;
};

BpeScratch *bpe_scratch_create(size_t text_length)
{
    BpeScratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL || text_length < 2048) return scratch;
    size_t entries = 64;
    while (entries < CACHE_MAX_ENTRIES && entries < text_length / 64) entries *= 2;
    scratch->cache = calloc(entries, sizeof *scratch->cache);
    scratch->cache_mask = entries - 1;
    return scratch;
}

void bpe_scratch_free(BpeScratch *scratch)
{
    if (scratch == NULL) return;
    free(scratch->symbols);
    free(scratch->heap);
    free(scratch->cache);
    free(scratch);
}

/* A float's bits in an order that unsigned integers have, highest score first. */
static inline uint64_t score_key(float score)
{
    uint32_t bits;
    const float value = score + 0.0f; /* -0 is 0 */
    memcpy(&bits, &value, sizeof bits);
    bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return ~bits & UINT32_MAX;
}

/* The rank of merging two neighbours, NO_MERGE when they do not. With scores, SentencePiece's order is made total as
 * the reference's conversion to merges makes it: by score, then the longer left part first, then the longer right part;
 * what is equal still is ordered by ids. */
static inline uint64_t rank_of(const Bpe *bpe, const char *word, const Symbol *left, const Symbol *right,
                               int32_t *result)
{
    if (bpe->scores != NULL) {
        if (left->start == left->end || right->start == right->end) return NO_MERGE;
        *result = vocab_lookup(bpe->vocab, word + left->start, right->end - left->start);
        if (*result < 0) return NO_MERGE;
        const uint64_t left_length = left->characters < UINT16_MAX ? left->characters : UINT16_MAX;
        const uint64_t right_length = right->characters < UINT16_MAX ? right->characters : UINT16_MAX;
        return score_key(bpe->scores[*result]) << 32 | (UINT16_MAX - left_length) << 16 | (UINT16_MAX - right_length);
    }
    const uint64_t pair = bpe_pair(left->id, right->id);
    for (uint64_t i = bpe_pair_hash(pair) & bpe->merge_mask;; i = (i + 1) & bpe->merge_mask) {
        const BpeMerge *merge = &bpe->merges[i];
        if (merge->pair == pair) {
            *result = merge->result;
            return merge->rank;
        }
        if (merge->pair == UINT64_MAX) return NO_MERGE;
    }
}

static ImpStatus reserve_symbols(BpeScratch *scratch, size_t count)
{
    if (count <= scratch->symbol_capacity) return IMP_OK;
    const size_t capacity = count + count / 2 + 64;
    Symbol *symbols = realloc(scratch->symbols, capacity * sizeof *symbols);
    if (symbols == NULL) return imp_fail_memory(capacity * sizeof *symbols);
    scratch->symbols = symbols;
    scratch->symbol_capacity = capacity;
    return IMP_OK;
}

static void add_symbol(BpeScratch *scratch, int32_t id, size_t start, size_t end)
{
    scratch->symbols[scratch->n_symbols++] =
        (Symbol){.id = id, .start = (uint32_t)start, .end = (uint32_t)end, .characters = 1};
}

/* The bytes of an unknown character, when all of them have tokens. */
static bool add_fallback(const Bpe *bpe, BpeScratch *scratch, const char *bytes, size_t width)
{
    if (!bpe->byte_fallback) return false;
    for (size_t i = 0; i < width; i++) {
        if (bpe->fallback_ids[(unsigned char)bytes[i]] < 0) return false;
    }
    for (size_t i = 0; i < width; i++) add_symbol(scratch, bpe->fallback_ids[(unsigned char)bytes[i]], 0, 0);
    return true;
}

/* A character inside a word of a model that marks the first ones or the last. The marks are part of it even where it is
 * unknown and falls back to bytes. */
static ImpStatus look_up_marked(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length, size_t at,
                                size_t width, int32_t *id, bool *fell_back)
{
    StrBuf key = {0};
    if (at > 0 && bpe->word_prefix != NULL) strbuf_puts(&key, bpe->word_prefix);
    strbuf_append(&key, word + at, width);
    if (at + width == length && bpe->word_suffix != NULL) strbuf_puts(&key, bpe->word_suffix);
    ImpStatus status = strbuf_check(&key);
    if (status == IMP_OK) *id = vocab_lookup(bpe->vocab, key.data, key.length);
    /* Room for these bytes and, after them, one symbol a byte of the rest of the word. */
    if (status == IMP_OK && *id < 0)
        status = reserve_symbols(scratch, scratch->n_symbols + key.length + length - at + 1);
    *fell_back = status == IMP_OK && *id < 0 && add_fallback(bpe, scratch, key.data, key.length);
    strbuf_free(&key);
    return status;
}

/*
 * The word's first symbols. Unknown characters without fallback become the unknown token, neighbours one token with
 * fuse_unk; without such a token they vanish. The reference writes a waiting unknown token only when a known symbol or
 * the end comes, behind any fallback bytes in between; so does this.
 */
static ImpStatus split_into_symbols(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length)
{
    scratch->n_symbols = 0;
    IMP_TRY(reserve_symbols(scratch, length + 1));
    const bool marked = bpe->word_prefix != NULL || bpe->word_suffix != NULL;
    bool waiting = false;
    for (size_t at = 0, width; at < length; at += width) {
        int32_t id;
        bool fell_back = false;
        const unsigned char first = (unsigned char)word[at];
        width = bpe->bytes ? 1 : utf8_width(word[at]);
        if (bpe->bytes || (!marked && first < 0x80)) {
            id = bpe->symbol_ids[first];
        } else if (!marked) {
            id = vocab_lookup(bpe->vocab, word + at, width);
        } else {
            IMP_TRY(look_up_marked(bpe, scratch, word, length, at, width, &id, &fell_back));
        }
        if (id >= 0) {
            if (waiting) add_symbol(scratch, bpe->unknown, 0, 0);
            waiting = false;
            add_symbol(scratch, id, at, at + width);
        } else if (!fell_back && (marked || !add_fallback(bpe, scratch, word + at, width)) && bpe->unknown >= 0) {
            if (waiting && !bpe->fuse_unknown) add_symbol(scratch, bpe->unknown, 0, 0);
            waiting = true;
        }
    }
    if (waiting) add_symbol(scratch, bpe->unknown, 0, 0);
    return IMP_OK;
}

/* The order of two candidates of one rank. */
static inline bool goes_before(int32_t result, uint64_t pair, int32_t other_result, uint64_t other_pair)
{
    return result != other_result ? result < other_result : pair < other_pair;
}

static inline uint64_t pair_at(const Symbol *symbols, size_t at)
{
    return bpe_pair(symbols[at].id, symbols[at + 1].id);
}

static void merge_by_scan(const Bpe *bpe, BpeScratch *scratch, const char *word)
{
    Symbol *symbols = scratch->symbols;
    size_t n = scratch->n_symbols;
    uint64_t keys[SCAN_SYMBOLS];
    int32_t results[SCAN_SYMBOLS];
    for (size_t i = 0; i + 1 < n; i++) keys[i] = rank_of(bpe, word, &symbols[i], &symbols[i + 1], &results[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (keys[i] < keys[best]) {
                best = i;
            } else if (keys[i] == keys[best] && bpe->scores != NULL && keys[i] != NO_MERGE &&
                       goes_before(results[i], pair_at(symbols, i), results[best], pair_at(symbols, best))) {
                best = i;
            }
        }
        if (keys[best] == NO_MERGE) break;
        symbols[best].id = results[best];
        symbols[best].end = symbols[best + 1].end;
        symbols[best].characters += symbols[best + 1].characters;
        memmove(&symbols[best + 1], &symbols[best + 2], (n - best - 2) * sizeof *symbols);
        n--;
        if (best + 1 < n) {
            memmove(&keys[best + 1], &keys[best + 2], (n - best - 2) * sizeof *keys);
            memmove(&results[best + 1], &results[best + 2], (n - best - 2) * sizeof *results);
            keys[best] = rank_of(bpe, word, &symbols[best], &symbols[best + 1], &results[best]);
        }
        if (best > 0) keys[best - 1] = rank_of(bpe, word, &symbols[best - 1], &symbols[best], &results[best - 1]);
    }
    scratch->n_symbols = n;
}

static inline bool heap_before(const Candidate *a, const Candidate *b)
{
    if (a->key != b->key) return a->key < b->key;
    return a->pair != b->pair ? goes_before(a->result, a->pair, b->result, b->pair) : a->at < b->at;
}

static ImpStatus heap_push(BpeScratch *scratch, Candidate candidate)
{
    if (scratch->n_heap == scratch->heap_capacity) {
        const size_t capacity = scratch->heap_capacity * 2 + 256;
        Candidate *heap = realloc(scratch->heap, capacity * sizeof *heap);
        if (heap == NULL) return imp_fail_memory(capacity * sizeof *heap);
        scratch->heap = heap;
        scratch->heap_capacity = capacity;
    }
    Candidate *heap = scratch->heap;
    size_t i = scratch->n_heap++;
    while (i > 0 && heap_before(&candidate, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = candidate;
    return IMP_OK;
}

static Candidate heap_pop(BpeScratch *scratch)
{
    Candidate *heap = scratch->heap;
    const Candidate top = heap[0];
    const Candidate last = heap[--scratch->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < scratch->n_heap; i = child) {
        if (child + 1 < scratch->n_heap && heap_before(&heap[child + 1], &heap[child])) child++;
        if (!heap_before(&heap[child], &last)) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static ImpStatus push_pair(const Bpe *bpe, BpeScratch *scratch, const char *word, int32_t left)
{
    const int32_t right = scratch->symbols[left].next;
    Candidate candidate = {.at = (uint32_t)left};
    candidate.key = rank_of(bpe, word, &scratch->symbols[left], &scratch->symbols[right], &candidate.result);
    if (candidate.key == NO_MERGE) return IMP_OK;
    candidate.pair = bpe_pair(scratch->symbols[left].id, scratch->symbols[right].id);
    return heap_push(scratch, candidate);
}

static ImpStatus merge_by_heap(const Bpe *bpe, BpeScratch *scratch, const char *word)
{
    Symbol *symbols = scratch->symbols;
    const int32_t n = (int32_t)scratch->n_symbols;
    scratch->n_heap = 0;
    for (int32_t i = 0; i < n; i++) {
        symbols[i].previous = i - 1;
        symbols[i].next = i + 1 < n ? i + 1 : -1;
    }
    for (int32_t i = 0; i + 1 < n; i++) IMP_TRY(push_pair(bpe, scratch, word, i));
    while (scratch->n_heap > 0) {
        const Candidate top = heap_pop(scratch);
        Symbol *left = &symbols[top.at];
        if (left->id < 0 || left->next < 0) continue;
        Symbol *right = &symbols[left->next];
        if (bpe_pair(left->id, right->id) != top.pair) continue;
        left->id = top.result;
        left->end = right->end;
        left->characters += right->characters;
        right->id = -1; /* gone */
        left->next = right->next;
        if (left->next >= 0) {
            symbols[left->next].previous = (int32_t)top.at;
            IMP_TRY(push_pair(bpe, scratch, word, (int32_t)top.at));
        }
        if (left->previous >= 0) IMP_TRY(push_pair(bpe, scratch, word, left->previous));
    }
    size_t kept = 0;
    for (int32_t i = 0; i >= 0; i = symbols[i].next) symbols[kept++] = symbols[i];
    scratch->n_symbols = kept;
    return IMP_OK;
}

/* Leaves the word's tokens in scratch->symbols. */
static ImpStatus merge_word(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length)
{
    IMP_TRY(split_into_symbols(bpe, scratch, word, length));
    if (scratch->n_symbols > SCAN_SYMBOLS) return merge_by_heap(bpe, scratch, word);
    merge_by_scan(bpe, scratch, word);
    return IMP_OK;
}

static ImpStatus push_symbols(const BpeScratch *scratch, TokenList *out)
{
    for (size_t i = 0; i < scratch->n_symbols; i++) IMP_TRY(token_list_push(out, scratch->symbols[i].id));
    return IMP_OK;
}

static bool cache_hit(const BpeScratch *scratch, uint64_t hash, const char *word, size_t length, const CacheEntry **out)
{
    if (scratch->cache == NULL || length > CACHE_WORD_BYTES) return false;
    *out = &scratch->cache[hash & scratch->cache_mask];
    return (*out)->hash == hash && (*out)->length == length && memcmp((*out)->word, word, length) == 0;
}

static void cache_store(BpeScratch *scratch, uint64_t hash, const char *word, size_t length)
{
    if (scratch->cache == NULL || length > CACHE_WORD_BYTES || scratch->n_symbols > CACHE_WORD_IDS) return;
    CacheEntry *entry = &scratch->cache[hash & scratch->cache_mask];
    entry->hash = hash;
    entry->length = (uint8_t)length;
    entry->count = (uint8_t)scratch->n_symbols;
    memcpy(entry->word, word, length);
    for (size_t i = 0; i < scratch->n_symbols; i++) entry->ids[i] = scratch->symbols[i].id;
}

/* A word no merge outside of it can touch. */
static ImpStatus encode_word(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length, TokenList *out)
{
    const uint64_t hash = vocab_hash(bpe->vocab, word, length);
    const int32_t id = vocab_lookup_hashed(bpe->vocab, word, length, hash);
    if (id >= 0) {
        const uint8_t whole = atomic_load_explicit(&bpe->whole[id], memory_order_relaxed);
        if (whole == WHOLE_YES) return token_list_push(out, id);
        if (whole == WHOLE_UNKNOWN) {
            IMP_TRY(merge_word(bpe, scratch, word, length));
            const bool yes = scratch->n_symbols == 1 && scratch->symbols[0].id == id;
            atomic_store_explicit(&bpe->whole[id], yes ? WHOLE_YES : WHOLE_NO, memory_order_relaxed);
            return push_symbols(scratch, out);
        }
    }
    const CacheEntry *entry;
    if (cache_hit(scratch, hash, word, length, &entry)) {
        for (size_t i = 0; i < entry->count; i++) IMP_TRY(token_list_push(out, entry->ids[i]));
        return IMP_OK;
    }
    IMP_TRY(merge_word(bpe, scratch, word, length));
    cache_store(scratch, hash, word, length);
    return push_symbols(scratch, out);
}

/* Whether the text may be cut between two neighbouring characters. */
static bool may_cut(const Bpe *bpe, uint32_t left, bool left_known, uint32_t right, bool right_known)
{
    if (!left_known || !right_known) return bpe->fallback_complete;
    const uint32_t bit = bpe_adjacent_bit(left, right);
    return (bpe->adjacent[bit / 64] >> (bit % 64) & 1) == 0;
}

static inline bool is_known(const Bpe *bpe, uint32_t code_point, const char *text, size_t width)
{
    return code_point < 0x80 ? bpe->symbol_ids[code_point] >= 0 : vocab_lookup(bpe->vocab, text, width) >= 0;
}

static ImpStatus encode_in_cuts(const Bpe *bpe, BpeScratch *scratch, const char *text, size_t length, TokenList *out)
{
    size_t start = 0, width;
    uint32_t left = utf8_decode(text, &width);
    bool left_known = is_known(bpe, left, text, width);
    for (size_t at = width; at < length; at += width) {
        const uint32_t right = utf8_decode(text + at, &width);
        const bool right_known = is_known(bpe, right, text + at, width);
        if (may_cut(bpe, left, left_known, right, right_known)) {
            IMP_TRY(encode_word(bpe, scratch, text + start, at - start, out));
            start = at;
        }
        left = right;
        left_known = right_known;
    }
    return encode_word(bpe, scratch, text + start, length - start, out);
}

ImpStatus bpe_encode(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length, TokenList *out)
{
    if (length == 0) return IMP_OK;
    if (length > INT32_MAX / 2) return imp_fail(IMP_ERR_LIMIT, "a text of %zu bytes is too long to tokenize", length);
    if (bpe->ignore_merges) {
        const int32_t id = vocab_lookup(bpe->vocab, word, length);
        if (id >= 0) return token_list_push(out, id);
    }
    if (bpe->adjacent != NULL && length >= CUT_MIN_BYTES) return encode_in_cuts(bpe, scratch, word, length, out);
    return encode_word(bpe, scratch, word, length, out);
}
