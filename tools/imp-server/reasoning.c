/* reasoning.c - a tag may be cut anywhere: whatever could be its beginning waits. */
#include "reasoning.h"

#include <stdlib.h>
#include <string.h>

void reasoning_init(ReasoningSplitter *splitter, const ReasoningTags *tags, bool inside)
{
    *splitter = (ReasoningSplitter){.tags = tags,
                                    .state = tags == NULL ? REASONING_OFF
                                             : inside     ? REASONING_INSIDE
                                                          : REASONING_START};
}

void reasoning_free(ReasoningSplitter *splitter)
{
    free(splitter->held);
    *splitter = (ReasoningSplitter){0};
}

static bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

static size_t leading_space(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && is_space(text[n])) n++;
    return n;
}

static bool hold(ReasoningSplitter *splitter, const char *text, size_t length)
{
    if (splitter->held_capacity - splitter->held_length < length) {
        const size_t capacity = (splitter->held_length + length) * 2;
        char *grown = realloc(splitter->held, capacity);
        if (grown == NULL) return false;
        splitter->held = grown;
        splitter->held_capacity = capacity;
    }
    if (length > 0) memcpy(splitter->held + splitter->held_length, text, length);
    splitter->held_length += length;
    return true;
}

static void emit(ReasoningSink *sink, void *user, bool is_reasoning, const char *text, size_t length)
{
    if (length > 0) sink(user, is_reasoning, text, length);
}

/* Bytes at the end of the text that begin the tag. */
static size_t begun(const char *text, size_t length, const char *tag)
{
    size_t n = strlen(tag) - 1;
    if (n > length) n = length;
    while (n > 0 && memcmp(text + length - n, tag, n) != 0) n--;
    return n;
}

/* One state's share of the held text; returns how many bytes were used up, and changes the state when it ends. */
static size_t advance(ReasoningSplitter *splitter, const char *text, size_t length, bool last, ReasoningSink *sink,
                      void *user)
{
    const size_t space = leading_space(text, length);
    const ReasoningTags *tags = splitter->tags;
    switch (splitter->state) {
    case REASONING_START: {
        const size_t n_open = strlen(tags->open), n_text = length - space;
        if (n_text >= n_open && memcmp(text + space, tags->open, n_open) == 0) {
            splitter->state = REASONING_INSIDE;
            return space + n_open;
        }
        if (!last && n_text < n_open && memcmp(text + space, tags->open, n_text) == 0) return 0;
        splitter->state = REASONING_ANSWER;
        return 0;
    }
    case REASONING_INSIDE: {
        const char *end = memmem(text, length, tags->close, strlen(tags->close));
        if (end != NULL) {
            emit(sink, user, true, text, (size_t)(end - text));
            splitter->state = REASONING_AFTER;
            return (size_t)(end - text) + strlen(tags->close);
        }
        const size_t sure = last ? length : length - begun(text, length, tags->close);
        emit(sink, user, true, text, sure);
        return sure;
    }
    case REASONING_AFTER:
        if (space < length) splitter->state = REASONING_ANSWER;
        return space;
    case REASONING_OFF:
    case REASONING_ANSWER:
        break;
    }
    emit(sink, user, false, text, length);
    return length;
}

bool reasoning_push(ReasoningSplitter *splitter, const char *text, size_t length, bool last, ReasoningSink *sink,
                    void *user)
{
    if (!hold(splitter, text, length)) return false;
    size_t used = 0;
    for (;;) {
        const ReasoningState before = splitter->state;
        used += advance(splitter, splitter->held + used, splitter->held_length - used, last, sink, user);
        if (splitter->state == before) break;
    }
    splitter->held_length -= used;
    if (splitter->held_length > 0) memmove(splitter->held, splitter->held + used, splitter->held_length);
    return true;
}

bool reasoning_prompt_is_open(const ReasoningTags *tags, const char *prompt, size_t length)
{
    const size_t n_open = strlen(tags->open);
    while (length > 0 && is_space(prompt[length - 1])) length--;
    return length >= n_open && memcmp(prompt + length - n_open, tags->open, n_open) == 0;
}
