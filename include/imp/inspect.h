/*
 * imp/inspect.h - looking inside a model: logits of every token, hidden states, perplexity, templates by themselves,
 * and steps over several sequences for benchmarks.
 *
 * The rules of imp/imp.h about threads, buffers and errors hold here too.
 */
#ifndef IMP_INSPECT_H
#define IMP_INSPECT_H

#include "imp/imp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- One text, every token ---- */

/* Receives logits[n_rows][n_vocab] of the tokens first_row … first_row + n_rows - 1. Returning false cancels. */
typedef bool ImpLogitsCallback(void *user, int32_t first_row, int32_t n_rows, int32_t n_vocab, const float *logits);

/* Computes `tokens` from the start of an emptied context and hands out the logits of every one of them, in order, at
 * most config.max_logits rows at once. The same bits as from imp_prefill. */
IMP_API ImpStatus imp_evaluate(ImpContext context, const int32_t *tokens, int32_t n_tokens, ImpLogitsCallback *callback,
                               void *user);

/* Called in every step after each layer with the residual stream rows[n_rows][width]: layer -1 is the embedding, layer
 * n_layers the final norm. A prompt comes in chunks of prefill_chunk_size rows. */
typedef void ImpLayerCallback(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width);

/* Costs time and memory; NULL stops watching. */
IMP_API ImpStatus imp_watch_layers(ImpContext context, ImpLayerCallback *callback, void *user);

typedef struct ImpPerplexity {
    size_t size;
    double perplexity; /* exp(mean_nll) */
    double mean_nll;   /* mean of -ln p over the scored tokens */
    int64_t n_scored;
    int32_t n_windows;
} ImpPerplexity;

/* Perplexity of a text's ids in windows of `window` tokens that do not overlap (0: 512, or what the context holds if
 * that is less); an incomplete last window is left out. In each window the first token is replaced by BOS where the
 * model adds one, and the second half is scored: the tokens window/2 … window-1, each with all before it in the window
 * as context. Empties the context. IMP_ERR_INVALID_ARGUMENT when the text is shorter than one window. Set result->size
 * first. */
IMP_API ImpStatus imp_perplexity(ImpContext context, const int32_t *tokens, size_t n_tokens, int32_t window,
                                 ImpPerplexity *result);

/* ---- Memory ---- */

/* Bytes that a context and its model's weights took from its device. */
typedef struct ImpMemory {
    size_t size;
    const char *device;        /* "NVIDIA H200 (Hopper kernels)"; as long as the model */
    uint64_t weight_bytes;     /* beside the mapped file */
    uint64_t page_bytes;       /* keys and values */
    uint64_t state_bytes;      /* recurrent states and their snapshots */
    uint64_t activation_bytes; /* rows between the operations of a step, and its logits */
    uint64_t workspace_bytes;
    uint64_t free_bytes; /* what is left; 0: unknown */
    int32_t max_tokens;  /* of a sequence */
    int32_t max_sequences;
    int32_t chunk; /* rows of a step */
} ImpMemory;

/* Set memory->size first. */
IMP_API ImpStatus imp_context_memory(ImpContext context, ImpMemory *memory);

/* ---- Vocabulary ---- */

/* A token's content as text, special tokens included ("<|im_end|>"): NUL-terminated and as long as the model; "" for
 * unused ids. NULL for ids outside the vocabulary. `length` may be NULL. */
IMP_API const char *imp_token_text(ImpModel model, int32_t token, size_t *length);
/* The bytes that a token stands for inside running text, which may be half a character; special tokens: their text. */
IMP_API const char *imp_token_bytes(ImpModel model, int32_t token, size_t *length);
IMP_API bool imp_token_is_special(ImpModel model, int32_t token);

/* ---- Templates ---- */

/* Renders a Jinja chat template with the members of a JSON object as its variables (messages, tools,
 * add_generation_prompt, …). `source`: Jinja source or a name (imp_template_name), NULL for the model's. `model` NULL:
 * a template by itself; else its bos_token and eos_token are variables too. `json` NULL: no variables. */
IMP_API ImpStatus imp_template_render(ImpModel model, const char *source, const char *json, char *buffer, size_t size,
                                      size_t *length);

/* Names of the built-in templates in order, NULL past the end. */
IMP_API const char *imp_template_name(size_t index);
/* Source of the model's template; NULL when it has none. As long as the model. */
IMP_API const char *imp_model_template(ImpModel model);

/* ---- Several sequences ---- */

/* Sequences besides the context's own, up to config.max_sequences together with it. IMP_ERR_CONTEXT_FULL past that. */
IMP_API ImpStatus imp_sequence_open(ImpContext context, int32_t *sequence);
IMP_API ImpStatus imp_sequence_close(ImpContext context, int32_t sequence);
/* Tokens that it holds; -1 when it is not open. */
IMP_API int32_t imp_sequence_length(ImpContext context, int32_t sequence);
/* Forgets all but the first n_tokens. *kept (may be NULL): how many remain, 0 where the model's state cannot go back. */
IMP_API ImpStatus imp_sequence_truncate(ImpContext context, int32_t sequence, int32_t n_tokens, int32_t *kept);

/* What one sequence contributes to a step. */
typedef struct ImpStepInput {
    int32_t sequence;
    const int32_t *tokens; /* [n_tokens], at least one */
    int32_t n_tokens;
    int32_t n_logits; /* logits of its last n_logits tokens are wanted */
} ImpStepInput;

/* One step over several sequences, each named once: at most prefill_chunk_size tokens and max_logits logits together.
 * logits: [sum of n_logits][n_vocab] in order; NULL when none are wanted. On failure the sequences are as before. */
IMP_API ImpStatus imp_step(ImpContext context, const ImpStepInput *inputs, int32_t n_inputs, float *logits);

#ifdef __cplusplus
}
#endif
#endif
