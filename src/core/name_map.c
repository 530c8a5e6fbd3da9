/*
 * name_map.c - linear probing in a table at most half full; every slot keeps its hash, so a probe seldom compares names
 * and growing never reads them.
 */
#include "core/name_map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* FNV-1a from a secret start, then a finalizer, because the table looks at the low bits only. */
static uint64_t hash_name(uint64_t seed, const char *name, size_t length)
{
    uint64_t hash = 0xCBF29CE484222325u ^ seed;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3u;
    hash = (hash ^ hash >> 33) * 0xFF51AFD7ED558CCDu;
    return hash ^ hash >> 33;
}

/* The slot of this name, or the empty one where it belongs. The table has an empty slot. */
static NameMapSlot *find_slot(NameMapSlot *slots, size_t capacity, uint64_t hash, const char *name, size_t length)
{
    for (size_t i = (size_t)hash & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
        NameMapSlot *slot = &slots[i];
        if (slot->name == NULL) return slot;
        if (slot->hash == hash && slot->length == length && memcmp(slot->name, name, length) == 0) return slot;
    }
}

ImpStatus name_map_reserve(NameMap *map, size_t count)
{
    if (count <= map->capacity / 2) return IMP_OK;
    size_t capacity = map->capacity == 0 ? 16 : map->capacity;
    while (capacity / 2 < count) {
        if (capacity > SIZE_MAX / 4 / sizeof *map->slots) return imp_fail_memory(count);
        capacity *= 2;
    }
    NameMapSlot *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL) return imp_fail_memory(capacity * sizeof *slots);
    /* Without entropy the seed stays 0: a weaker map, not a failure. */
    if (map->capacity == 0 && getrandom(&map->seed, sizeof map->seed, GRND_NONBLOCK) < 0) map->seed = 0;
    for (size_t i = 0; i < map->capacity; i++) {
        const NameMapSlot *old = &map->slots[i];
        if (old->name == NULL) continue;
        size_t at = (size_t)old->hash & (capacity - 1);
        while (slots[at].name != NULL) at = (at + 1) & (capacity - 1);
        slots[at] = *old;
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return IMP_OK;
}

ImpStatus name_map_add(NameMap *map, const char *name, size_t length, size_t value, size_t *existing)
{
    IMP_TRY(name_map_reserve(map, map->count + 1));
    const uint64_t hash = hash_name(map->seed, name, length);
    NameMapSlot *slot = find_slot(map->slots, map->capacity, hash, name, length);
    if (slot->name == NULL) {
        *slot = (NameMapSlot){.name = name, .length = length, .hash = hash, .value = value};
        map->count++;
    }
    *existing = slot->value;
    return IMP_OK;
}

bool name_map_find(const NameMap *map, const char *name, size_t length, size_t *value)
{
    if (map->count == 0) return false;
    const uint64_t hash = hash_name(map->seed, name, length);
    const NameMapSlot *slot = find_slot(map->slots, map->capacity, hash, name, length);
    if (slot->name == NULL) return false;
    *value = slot->value;
    return true;
}

void name_map_free(NameMap *map)
{
    free(map->slots);
    *map = (NameMap){0};
}
