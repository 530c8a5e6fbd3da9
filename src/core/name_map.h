/*
 * name_map.h - names to numbers: tensors, metadata keys, vocabulary. Open addressing, hashes seeded from the system, so
 * that a hostile file cannot choose names that collide.
 */
#ifndef IMP_CORE_NAME_MAP_H
#define IMP_CORE_NAME_MAP_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct NameMapSlot {
    const char *name; /* NULL: empty */
    size_t length;
    uint64_t hash;
    size_t value;
} NameMapSlot;

/* Zero-initialize to start. Names are not copied: they outlive the map. Any number of threads may find at once. */
typedef struct NameMap {
    NameMapSlot *slots; /* [capacity], a power of two */
    size_t capacity, count;
    uint64_t seed;
} NameMap;

/* Makes room for `count` names in all, so that the additions up to there do not grow the table. */
ImpStatus name_map_reserve(NameMap *map, size_t count);

/* Adds `name` unless it is there already. `*existing` is the value that the name has then: `value`, or its older one.
 */
ImpStatus name_map_add(NameMap *map, const char *name, size_t length, size_t value, size_t *existing);

bool name_map_find(const NameMap *map, const char *name, size_t length, size_t *value);
void name_map_free(NameMap *map);

#endif
