/*
 * tape.h - the memory of a state: append-only, addressed by offsets, cut back by remembering how long it was.
 *
 * Records are immutable once written, so an earlier state stays valid while a later one is tried and given up. A second
 * stretch is written over: it holds the characters of the string or key being read, where they have to be compared later (keys, items
 * that must differ).
 */
#ifndef IMP_RUNTIME_CONSTRAINT_TAPE_H
#define IMP_RUNTIME_CONSTRAINT_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Tape {
    uint8_t *memory;
    size_t top, capacity;
    char *text;
    size_t text_capacity;
    size_t work; /* comparisons made since it was set to 0 */
    bool keys_in_tokens; /* some token holds a whole key behind the end of another: then it matters what keys are */
    bool failed; /* memory or the budget of work ran out: what was written since is not to be used */
} Tape;

/* What one mask or one token may cost: some hundredths of a second. Only ambiguous grammars come near it. */
enum { TAPE_MAX_WORK = 20 * 1000 * 1000 };

bool tape_init(Tape *tape);
void tape_free(Tape *tape);
bool tape_copy(const Tape *from, Tape *to);

/* Makes room for `size` more bytes. */
bool tape_grow(Tape *tape, size_t size);
/* Room for `size` bytes, 16-byte aligned; 0 when there is none. May move the memory: offsets stay, pointers do not. */
static inline uint32_t tape_take(Tape *tape, size_t size)
{
    const size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded > tape->capacity - tape->top && !tape_grow(tape, rounded)) return 0;
    const uint32_t offset = (uint32_t)tape->top;
    tape->top += rounded;
    return offset;
}
static inline void *tape_at(const Tape *tape, uint32_t offset) { return tape->memory + offset; }
/* Stores a character at text[at]. */
bool tape_put(Tape *tape, size_t at, const char *bytes, size_t length);

#endif
