/* arena.c - chunks in a list; a request larger than a chunk gets its own. */
#include "core/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_CHUNK = 64 * 1024 };

struct ArenaChunk {
    ArenaChunk *next;
    size_t used, capacity;
    alignas(ARENA_ALIGN) unsigned char bytes[];
};

void *arena_alloc(Arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > (SIZE_MAX - ARENA_CHUNK) / size) return NULL;
    const size_t bytes = (count * size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (arena->limit != 0 && bytes > arena->limit - arena->used) return NULL;
    ArenaChunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < bytes) {
        const size_t capacity = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;
        chunk = calloc(1, sizeof *chunk + capacity);
        if (chunk == NULL) return NULL;
        chunk->capacity = capacity;
        /* An oversized chunk is full at once: keep the half-empty one in front. */
        if (bytes > ARENA_CHUNK && arena->chunks != NULL) {
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
        } else {
            chunk->next = arena->chunks;
            arena->chunks = chunk;
        }
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += bytes;
    arena->used += bytes;
    return result;
}

char *arena_string(Arena *arena, const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : arena_alloc(arena, length + 1, 1);
    if (copy != NULL && length > 0) memcpy(copy, text, length);
    return copy;
}

void arena_free(Arena *arena)
{
    for (ArenaChunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    arena->chunks = NULL;
    arena->used = 0;
}
