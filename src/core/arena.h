/*
 * arena.h - memory that lives as long as its owner and is freed at once: load-time tables, parsed metadata, syntax
 * trees.
 */
#ifndef IMP_CORE_ARENA_H
#define IMP_CORE_ARENA_H

#include <stddef.h>

typedef struct ArenaChunk ArenaChunk;

/* Zero-initialize to start; not thread-safe. `limit` bounds the total bytes handed out (0: none). */
typedef struct Arena {
    ArenaChunk *chunks;
    size_t used;
    size_t limit;
} Arena;

/* `count * size` zeroed bytes aligned to 16; NULL when memory or the limit is short or the product overflows.
 * A zero-sized request returns a valid pointer. */
void *arena_alloc(Arena *arena, size_t count, size_t size);

/* A copy of `length` bytes with a NUL after them; NULL as arena_alloc. */
char *arena_string(Arena *arena, const char *text, size_t length);

/* Frees everything; the arena may be used again. */
void arena_free(Arena *arena);

#endif
