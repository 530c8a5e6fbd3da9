/*
 * mask_cache.c - slots by hash, in sets of eight of which the one used longest ago goes. When all masks together grow
 * too large a hand goes round and takes what was not used lately.
 */
#include "runtime/constraint/mask_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_SLOTS = 16384, N_WAYS = 8, MAX_BYTES = 32 << 20, LATELY = 128 };

typedef enum MaskForm { MASK_WHOLE, MASK_FROM_NOTHING, MASK_FROM_PLAIN } MaskForm;

typedef struct MaskSlot {
    uint64_t key, check, used;
    MaskForm form;
    uint32_t *words; /* [size] NULL: empty; the mask, or the tokens in which it differs */
    size_t size;
} MaskSlot;

struct MaskCache {
    size_t words;
    const uint32_t *plain;
    MaskSlot *slots;
    size_t bytes, hand;
    uint64_t clock;
    pthread_mutex_t lock;
};

MaskCache *mask_cache_create(size_t words, const uint32_t *plain)
{
    MaskCache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) return NULL;
    cache->words = words;
    cache->plain = plain;
    cache->slots = calloc(N_SLOTS, sizeof *cache->slots);
    (void)pthread_mutex_init(&cache->lock, NULL);
    if (cache->slots != NULL) return cache;
    mask_cache_free(cache);
    return NULL;
}

void mask_cache_free(MaskCache *cache)
{
    if (cache == NULL) return;
    for (size_t i = 0; cache->slots != NULL && i < N_SLOTS; i++) free(cache->slots[i].words);
    free(cache->slots);
    (void)pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static MaskSlot *set_of(MaskCache *cache, uint64_t key) { return &cache->slots[key % (N_SLOTS / N_WAYS) * N_WAYS]; }

static void write_mask(const MaskCache *cache, const MaskSlot *slot, uint32_t *bits)
{
    const size_t size = cache->words * sizeof *bits;
    if (slot->form == MASK_WHOLE) {
        memcpy(bits, slot->words, size);
        return;
    }
    if (slot->form == MASK_FROM_PLAIN)
        memcpy(bits, cache->plain, size);
    else
        memset(bits, 0, size);
    for (size_t i = 0; i < slot->size; i++) bits[slot->words[i] / 32] ^= 1U << slot->words[i] % 32;
}

bool mask_cache_find(MaskCache *cache, uint64_t key, uint64_t check, uint32_t *bits)
{
    bool found = false;
    if (pthread_mutex_trylock(&cache->lock) != 0) return false;
    for (size_t n = 0; n < N_WAYS && !found; n++) {
        MaskSlot *slot = set_of(cache, key) + n;
        if (slot->words == NULL || slot->key != key || slot->check != check) continue;
        write_mask(cache, slot, bits);
        slot->used = ++cache->clock;
        found = true;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    return found;
}

static void clear_slot(MaskCache *cache, MaskSlot *slot)
{
    if (slot->words != NULL) cache->bytes -= slot->size * sizeof *slot->words;
    free(slot->words);
    *slot = (MaskSlot){0};
}

/* How the mask is kept, and how many words that takes. */
static MaskForm shortest_form(const MaskCache *cache, const uint32_t *bits, size_t *size)
{
    size_t from_nothing = 0;
    size_t from_plain = 0;
    /* Most words are nothing, or plain: what is beyond hope is not counted any further. */
    for (size_t w = 0; w < cache->words; w++) {
        const uint32_t other = bits[w] ^ cache->plain[w];
        if (bits[w] != 0 && from_nothing < cache->words) from_nothing += (size_t)__builtin_popcount(bits[w]);
        if (other != 0 && from_plain < cache->words) from_plain += (size_t)__builtin_popcount(other);
    }
    *size = from_nothing < from_plain ? from_nothing : from_plain;
    if (*size < cache->words) return from_nothing < from_plain ? MASK_FROM_NOTHING : MASK_FROM_PLAIN;
    *size = cache->words;
    return MASK_WHOLE;
}

static void fill_slot(const MaskCache *cache, MaskSlot *slot, const uint32_t *bits)
{
    if (slot->form == MASK_WHOLE) {
        memcpy(slot->words, bits, cache->words * sizeof *bits);
        return;
    }
    size_t n = 0;
    for (size_t w = 0; w < cache->words; w++) {
        uint32_t word = slot->form == MASK_FROM_PLAIN ? bits[w] ^ cache->plain[w] : bits[w];
        for (; word != 0; word &= word - 1) slot->words[n++] = (uint32_t)(w * 32 + (size_t)__builtin_ctz(word));
    }
}

void mask_cache_add(MaskCache *cache, uint64_t key, uint64_t check, const uint32_t *bits)
{
    size_t size = 0;
    const MaskForm form = shortest_form(cache, bits, &size);
    uint32_t *words = malloc((size + 1) * sizeof *words);
    if (words == NULL) return;
    if (pthread_mutex_trylock(&cache->lock) != 0) {
        free(words);
        return;
    }
    MaskSlot *slot = set_of(cache, key);
    for (MaskSlot *other = slot + 1; other < set_of(cache, key) + N_WAYS; other++) {
        if (other->used < slot->used) slot = other;
    }
    clear_slot(cache, slot);
    *slot = (MaskSlot){.key = key, .check = check, .used = ++cache->clock, .form = form, .words = words, .size = size};
    fill_slot(cache, slot, bits);
    cache->bytes += size * sizeof *words;
    for (size_t met = 0; cache->bytes > MAX_BYTES; met++, cache->hand = (cache->hand + 1) % N_SLOTS) {
        MaskSlot *old = &cache->slots[cache->hand];
        if (old->used + LATELY <= cache->clock || (met >= N_SLOTS && old != slot)) clear_slot(cache, old);
    }
    (void)pthread_mutex_unlock(&cache->lock);
}
