/*
 * reasoning.h - the block of reasoning before an answer: which tags a model puts around it, and splitting it from the
 * answer while both are streaming.
 */
#ifndef IMP_SERVER_REASONING_H
#define IMP_SERVER_REASONING_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ReasoningState {
    REASONING_OFF,   /* everything is answer */
    REASONING_START, /* nothing but white space yet: the opening tag may come */
    REASONING_INSIDE,
    REASONING_AFTER, /* behind the closing tag: white space is dropped */
    REASONING_ANSWER
} ReasoningState;

typedef struct ReasoningTags {
    const char *open, *close;
} ReasoningTags;

typedef struct ReasoningSplitter {
    const ReasoningTags *tags;
    ReasoningState state;
    char *held; /* what may be the beginning of a tag, or leading white space */
    size_t held_length, held_capacity;
} ReasoningSplitter;

/* Receives a piece of one kind, in order; never empty. */
typedef void ReasoningSink(void *user, bool is_reasoning, const char *text, size_t length);

/* `inside`: the prompt has opened the block already. `tags` NULL: everything is answer. */
void reasoning_init(ReasoningSplitter *splitter, const ReasoningTags *tags, bool inside);
void reasoning_free(ReasoningSplitter *splitter);
/* `last`: nothing follows, what was held back is text. False without memory. */
bool reasoning_push(ReasoningSplitter *splitter, const char *text, size_t length, bool last, ReasoningSink *sink,
                    void *user);

/* Whether a rendered prompt ends inside of a block that it has opened. */
bool reasoning_prompt_is_open(const ReasoningTags *tags, const char *prompt, size_t length);

#endif
