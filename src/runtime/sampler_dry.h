/*
 * sampler_dry.h - "don't repeat yourself": how long a repetition each token would prolong.
 *
 * p-e-w, https://github.com/oobabooga/text-generation-webui/pull/5677.
 */
#ifndef IMP_RUNTIME_SAMPLER_DRY_H
#define IMP_RUNTIME_SAMPLER_DRY_H

#include <stdbool.h>
#include <stdint.h>

enum { DRY_MAX_BREAKERS = 16 };

typedef struct DryBreakers {
    const uint32_t *tokens; /* a bit per token; NULL: none */
    struct {
        const int32_t *tokens;
        int32_t count;
    } sequences[DRY_MAX_BREAKERS];
    int32_t n_sequences;
} DryBreakers;

/* How many tokens at the end of tokens[n] lie behind the last breaker. */
int32_t dry_reach(const DryBreakers *breakers, const int32_t *tokens, int32_t n);

/* match[i] for i in 1 … n-1: how many tokens the text that ends before tokens[n-i] has in common with the end of the
 * text, at most `reach`; a token tokens[n-i] would prolong a repetition of that length. match: [n]. */
void dry_match(const int32_t *tokens, int32_t n, int32_t reach, int32_t *match);

bool dry_is_breaker(const DryBreakers *breakers, int32_t token);

#endif
