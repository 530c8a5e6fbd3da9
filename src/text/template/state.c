/*
 * state.c - one rendering's failures, memory and text under construction.
 *
 * The first failure wins: it is kept in state->status, and everything after it is skipped. Memory is handed out from
 * chunks and freed all at once. Buffers for text are kept in a stack and used again.
 */
#include "text/template/unicode.h"
#include "text/template/value.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- failures ---- */

static bool fail_with(JinjaState *state, ImpStatus status, const char *format, va_list arguments)
{
    if (state->status != IMP_OK) return false;
    char message[1024];
    const int length = vsnprintf(message, sizeof message, format, arguments);
    if (length >= (int)sizeof message) {
        /* Cut at the border of a character. */
        size_t end = sizeof message - 1;
        while (end > 0 && ((unsigned char)message[end - 1] & 0xC0) == 0x80) end--;
        if (end > 0 && (unsigned char)message[end - 1] >= 0xC0) end--;
        message[end] = '\0';
    }
    state->status = imp_fail(status, "template line %u: %s", state->line, message);
    return false;
}

bool jinja_raise(JinjaState *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fail_with(state, IMP_ERR_FORMAT, format, arguments);
    va_end(arguments);
    return false;
}

bool jinja_raise_limit(JinjaState *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fail_with(state, IMP_ERR_LIMIT, format, arguments);
    va_end(arguments);
    return false;
}

bool jinja_charge_slow(JinjaState *state, uint64_t n)
{
    (void)n;
    state->steps_left = 0;
    return jinja_raise_limit(state, "the template ran more than %llu steps", (unsigned long long)state->limits.steps);
}

bool jinja_enter_failed(JinjaState *state) { return jinja_raise_limit(state, "maximum recursion depth exceeded"); }

/* ---- memory: chunks handed out from the front, freed together ---- */

struct JinjaChunk {
    JinjaChunk *next;
    size_t bytes;
    max_align_t memory[];
};

/* Small enough to stay in malloc's heap, so that one rendering after the other finds the same warm pages. */
enum { CHUNK_BYTES = 60 * 1024, CHUNK_ALIGNMENT = 16 };

static void *fail_memory(JinjaState *state)
{
    (void)jinja_raise_limit(state, "the template used more than %zu bytes of memory", state->limits.memory_bytes);
    return NULL;
}

void *jinja_alloc_chunk(JinjaState *state, size_t bytes)
{
    if (bytes > SIZE_MAX / 4) return fail_memory(state);
    bytes = (bytes + CHUNK_ALIGNMENT - 1) & ~(size_t)(CHUNK_ALIGNMENT - 1);
    const bool alone = bytes > CHUNK_BYTES / 4;
    const size_t capacity = alone ? bytes : CHUNK_BYTES, limit = state->limits.memory_bytes;
    if (limit != 0 && (state->memory_used > limit || capacity > limit - state->memory_used)) return fail_memory(state);
    JinjaChunk *chunk = malloc(sizeof *chunk + capacity);
    if (chunk == NULL) return fail_memory(state);
    state->memory_used += capacity;
    chunk->next = state->chunks;
    chunk->bytes = capacity;
    state->chunks = chunk;
    /* Something large gets a chunk of its own; the current one still has room for small things. */
    if (!alone) {
        state->free_start = (char *)chunk->memory + bytes;
        state->free_end = (char *)chunk->memory + capacity;
    }
    return chunk->memory;
}

void *jinja_alloc(JinjaState *state, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return fail_memory(state);
    void *memory = jinja_alloc_raw(state, bytes);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

char *jinja_copy_text(JinjaState *state, const char *bytes, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : jinja_alloc_raw(state, length + 1);
    if (copy == NULL) return NULL;
    if (length > 0) memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

void jinja_free_memory(JinjaState *state)
{
    for (JinjaChunk *chunk = state->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    state->chunks = NULL;
}

/* ---- text under construction ---- */

void jinja_append_slow(JinjaState *state, StrBuf *text, const char *bytes, size_t length)
{
    if (state->status != IMP_OK) return;
    if (state->limits.output_bytes != 0 && length > state->limits.output_bytes - text->length) {
        (void)jinja_raise_limit(state, "the template wrote more than %zu bytes", state->limits.output_bytes);
        return;
    }
    strbuf_append(text, bytes, length);
    if (text->failed) state->status = imp_fail_memory(length);
}

void jinja_puts(JinjaState *state, StrBuf *text, const char *bytes) { jinja_append(state, text, bytes, strlen(bytes)); }

void jinja_append_char(JinjaState *state, StrBuf *text, uint32_t code_point)
{
    char bytes[4];
    jinja_append_slow(state, text, bytes, unicode_encode(code_point, bytes));
}

void jinja_pad(JinjaState *state, StrBuf *text, const char *fill, size_t fill_length, size_t count)
{
    for (size_t i = 0; i < count && state->status == IMP_OK; i++) {
        if (i % 64 == 0 && !jinja_charge(state, 8)) return;
        jinja_append(state, text, fill, fill_length);
    }
}

StrBuf *jinja_capture(JinjaState *state)
{
    if (state->n_captures == JINJA_MAX_CAPTURES) {
        (void)jinja_raise_limit(state, "blocks are nested deeper than %d", JINJA_MAX_CAPTURES);
        return NULL;
    }
    if (state->captures == NULL) state->captures = jinja_alloc(state, JINJA_MAX_CAPTURES, sizeof *state->captures);
    if (state->captures == NULL) return NULL;
    StrBuf **slot = &state->captures[state->n_captures];
    if (*slot == NULL) {
        *slot = calloc(1, sizeof **slot);
        if (*slot == NULL) {
            state->status = imp_fail_memory(sizeof **slot);
            return NULL;
        }
    }
    strbuf_clear(*slot);
    state->n_captures++;
    return *slot;
}

bool jinja_capture_finish(JinjaState *state, StrBuf *text, JinjaValue *out)
{
    const bool ok = state->status == IMP_OK && jinja_string(state, text->data, text->length, out);
    jinja_capture_drop(state, text);
    return ok;
}

void jinja_capture_drop(JinjaState *state, StrBuf *text)
{
    if (text->capacity > (size_t)1 << 20) strbuf_free(text);
    state->n_captures--;
}
