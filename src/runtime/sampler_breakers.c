/*
 * sampler_breakers.c - looks through the vocabulary once for each list of breakers.
 */
#include "runtime/sampler_breakers.h"

#include <string.h>

static void mark_tokens(const Tokenizer *tokenizer, const char *text, int32_t n_vocab, uint32_t *mask)
{
    const size_t length = strlen(text);
    const int32_t n_ids = tokenizer_vocab_size(tokenizer) < n_vocab ? tokenizer_vocab_size(tokenizer) : n_vocab;
    for (int32_t id = 0; id < n_ids; id++) {
        size_t n_bytes;
        const char *bytes = tokenizer_token_bytes(tokenizer, id, &n_bytes);
        if (n_bytes >= length && memmem(bytes, n_bytes, text, length)) mask[id / 32] |= 1u << (id % 32);
    }
}

/* Tokenizers that put a space in front of a text would hide the breaker: leading tokens that are not part of it are
 * left out, so that the bytes of the rest spell `text`. */
static size_t skip_added_space(const Tokenizer *tokenizer, const TokenList *tokens, size_t length)
{
    size_t spelled = 0, first = tokens->count;
    while (first > 0 && spelled < length) {
        size_t n_bytes;
        (void)tokenizer_token_bytes(tokenizer, tokens->ids[--first], &n_bytes);
        spelled += n_bytes;
    }
    return first;
}

static ImpStatus add_sequence(const Tokenizer *tokenizer, const char *text, Arena *arena, SamplerParams *params)
{
    TokenList tokens = {0};
    ImpStatus status;
    IMP_GOTO(tokenizer_encode(tokenizer, text, strlen(text), 0, &tokens));
    const size_t first = skip_added_space(tokenizer, &tokens, strlen(text));
    const size_t count = tokens.count - first;
    if (count >= 2) { /* a single token is in the mask */
        int32_t *copy = arena_alloc(arena, count, sizeof *copy);
        if (!copy) {
            status = imp_fail_memory(count * sizeof *copy);
            goto fail;
        }
        memcpy(copy, tokens.ids + first, count * sizeof *copy);
        params->dry_breakers[params->n_dry_breakers].tokens = copy;
        params->dry_breakers[params->n_dry_breakers].count = (int32_t)count;
        params->n_dry_breakers++;
    }
fail:
    token_list_free(&tokens);
    return status;
}

ImpStatus sampler_breakers_set(const Tokenizer *tokenizer, const char *const *texts, int32_t n_texts, int32_t n_vocab,
                               Arena *arena, SamplerParams *params)
{
    params->n_dry_breakers = 0;
    params->dry_breaker_tokens = NULL;
    if (n_texts == 0) return IMP_OK;
    if (n_texts < 0 || n_texts > SAMPLER_MAX_BREAKERS || !texts)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d DRY breakers are given, but 0 to %d are possible", (int)n_texts,
                        (int)SAMPLER_MAX_BREAKERS);
    const size_t words = ((size_t)n_vocab + 31) / 32;
    uint32_t *mask = arena_alloc(arena, words, sizeof *mask);
    if (!mask) return imp_fail_memory(words * sizeof *mask);
    for (int32_t i = 0; i < n_texts; i++) {
        if (!texts[i] || !texts[i][0]) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "DRY breaker %d is empty", (int)i + 1);
        mark_tokens(tokenizer, texts[i], n_vocab, mask);
        IMP_TRY(add_sequence(tokenizer, texts[i], arena, params));
    }
    params->dry_breaker_tokens = mask;
    return IMP_OK;
}
