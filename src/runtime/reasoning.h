/*
 * reasoning.h - a block of reasoning at the head of an answer, kept within a budget of tokens: where it begins and ends
 * in the bytes of the text, and which tokens must close it.
 */
#ifndef IMP_RUNTIME_REASONING_H
#define IMP_RUNTIME_REASONING_H

#include "text/tokenizer/tokenizer.h"

enum { REASONING_MAX_MARKER = 32, REASONING_MAX_CLOSING = 32 };

typedef struct ReasoningRule {
    const char *open, *close; /* the markers, "<think>" and "</think>"; NULL: nothing is looked for */
    int32_t budget;           /* tokens between them; -1: no limit */
    bool inside;              /* the prompt has opened the block */
} ReasoningRule;

/* Zeroed: there is no block. */
typedef struct Reasoning {
    enum { REASONING_NONE, REASONING_BEFORE, REASONING_INSIDE } state;
    char open[REASONING_MAX_MARKER + 1], close[REASONING_MAX_MARKER + 1];
    int32_t budget;
    int32_t n_tokens;                       /* that were accepted inside, those of forced markers excepted */
    int32_t closing[REASONING_MAX_CLOSING]; /* the tokens of `close` */
    int32_t n_closing, n_closed;            /* n_closed: how many of them were forced */
    bool must_close;
    char tail[2 * REASONING_MAX_MARKER]; /* the latest bytes, that a marker may have begun in */
    size_t n_tail;
} Reasoning;

/* The tags that a chat template (NULL: none) puts around reasoning; <think> and </think> where it has none. Static. */
void reasoning_tags(const char *template_source, const char **open, const char **close);
/* Whether a prompt's tokens end with the opening tag, white space apart. */
bool reasoning_opened(const char *open, const Tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens);

/* At the start of an answer. IMP_ERR_INVALID_ARGUMENT for markers that are too long. `tokenizer` NULL: nothing is
 * looked for. */
ImpStatus reasoning_begin(Reasoning *reasoning, const ReasoningRule *rule, const Tokenizer *tokenizer);

static inline bool reasoning_is_inside(const Reasoning *reasoning) { return reasoning->state == REASONING_INSIDE; }
/* The token that must come next, because the budget is spent or reasoning_end was called; -1: none. */
int32_t reasoning_forced(const Reasoning *reasoning);
/* Closes the block from the next token on. */
void reasoning_end(Reasoning *reasoning);
/* Whether the token would close the block and say more than white space behind the marker. */
bool reasoning_spills(const Reasoning *reasoning, const Tokenizer *tokenizer, int32_t token);
void reasoning_accept(Reasoning *reasoning, const Tokenizer *tokenizer, int32_t token);

#endif
