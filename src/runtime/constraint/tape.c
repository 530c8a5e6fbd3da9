/*
 * tape.c - growing memory for states. It starts large enough for ordinary texts, so that decoding allocates nothing.
 */
#include "runtime/constraint/tape.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 128 << 10, FIRST_TEXT = 16 << 10 };

bool tape_init(Tape *tape)
{
    *tape = (Tape){.memory = malloc(FIRST_CAPACITY), .text = malloc(FIRST_TEXT)};
    if (tape->memory == NULL || tape->text == NULL) {
        tape_free(tape);
        return false;
    }
    tape->capacity = FIRST_CAPACITY;
    tape->text_capacity = FIRST_TEXT;
    tape->top = 16; /* offset 0 means "nothing" */
    return true;
}

void tape_free(Tape *tape)
{
    free(tape->memory);
    free(tape->text);
    *tape = (Tape){0};
}

bool tape_copy(const Tape *from, Tape *to)
{
    *to = *from;
    to->memory = malloc(from->capacity);
    to->text = malloc(from->text_capacity);
    if (to->memory == NULL || to->text == NULL) {
        tape_free(to);
        return false;
    }
    memcpy(to->memory, from->memory, from->top);
    memcpy(to->text, from->text, from->text_capacity);
    return true;
}

bool tape_grow(Tape *tape, size_t size)
{
    const size_t capacity = (tape->capacity + size) * 2;
    uint8_t *grown = capacity <= UINT32_MAX ? realloc(tape->memory, capacity) : NULL;
    if (grown == NULL) {
        tape->failed = true;
        return false;
    }
    tape->memory = grown;
    tape->capacity = capacity;
    return true;
}

bool tape_put(Tape *tape, size_t at, const char *bytes, size_t length)
{
    if (length > tape->text_capacity - at) {
        const size_t capacity = (tape->text_capacity + length) * 2;
        char *grown = realloc(tape->text, capacity);
        if (grown == NULL) {
            tape->failed = true;
            return false;
        }
        tape->text = grown;
        tape->text_capacity = capacity;
    }
    memcpy(tape->text + at, bytes, length);
    return true;
}
