/*
 * sampler_breakers.h - DRY breakers as people write them ("\n", ":") become the tokens that the sampler looks for.
 */
#ifndef IMP_RUNTIME_SAMPLER_BREAKERS_H
#define IMP_RUNTIME_SAMPLER_BREAKERS_H

#include "core/arena.h"
#include "runtime/sampler.h"
#include "text/tokenizer/tokenizer.h"

/* Sets params->dry_breaker_tokens (every token whose bytes contain one of the texts) and params->dry_breakers (texts
 * that the tokenizer cuts into several tokens); memory from `arena`, to live until the sampler is created. n_vocab as
 * the sampler's. IMP_ERR_INVALID_ARGUMENT for an empty text or too many. */
ImpStatus sampler_breakers_set(const Tokenizer *tokenizer, const char *const *texts, int32_t n_texts, int32_t n_vocab,
                               Arena *arena, SamplerParams *params);

#endif
