/*
 * sampler.h - the chain that turns logits into a token.
 *
 * Order of work: the allowed set and the logit bias, then the links as `order` names them, then one draw. Ties go to
 * the lowest id. Randomness is counter-based (Philox), so a draw depends on the seed, the position, the logits and the
 * accepted tokens alone.
 */
#ifndef IMP_RUNTIME_SAMPLER_H
#define IMP_RUNTIME_SAMPLER_H

#include "compute/sample.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAMPLER_MAX_BREAKERS = 16, SAMPLER_MAX_LINKS = 16 };

typedef enum SamplerLink {
    SAMPLER_PENALTIES, /* repeat, frequency, presence */
    SAMPLER_DRY,
    SAMPLER_TOP_K,
    SAMPLER_TYPICAL_P,
    SAMPLER_TOP_P,
    SAMPLER_MIN_P,
    SAMPLER_TEMPERATURE,
    SAMPLER_LINK_COUNT
} SamplerLink;

typedef struct LogitBias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY bans */
} LogitBias;

/* sampler_default_params() gives the documented defaults. */
typedef struct SamplerParams {
    float temperature;             /* 0: greedy; penalties, DRY and bias still count */
    int32_t top_k;                 /* 0: off */
    float top_p, min_p, typical_p; /* 1, 0, 1: off */
    float repeat_penalty;          /* 1: off */
    int32_t repeat_last_n;         /* of all three penalties; 0: off, -1: the whole context */
    float frequency_penalty, presence_penalty;
    float dry_multiplier, dry_base; /* multiplier 0: off */
    int32_t dry_allowed_length, dry_penalty_last_n;
    int32_t mirostat; /* 0: off, 2: mirostat 2 in place of the four truncations */
    float mirostat_tau, mirostat_eta;
    uint64_t seed;
    SamplerLink order[SAMPLER_MAX_LINKS]; /* each at most once; one that is left out does nothing */
    int32_t n_links;
    const LogitBias *logit_bias; /* [n_logit_bias], copied */
    int32_t n_logit_bias;
    /* DRY: tokens over which no repetition reaches, a bit a token as in sampler_draw, copied; NULL: none. */
    const uint32_t *dry_breaker_tokens;
    /* The same for sequences of several tokens, copied. */
    struct {
        const int32_t *tokens;
        int32_t count;
    } dry_breakers[SAMPLER_MAX_BREAKERS];
    int32_t n_dry_breakers;
} SamplerParams;

typedef struct Sampler Sampler;

SamplerParams sampler_default_params(void);
/* `max_tokens`: the longest sequence, what a last_n of -1 stands for. IMP_ERR_INVALID_ARGUMENT names the parameter and
 * its range. */
ImpStatus sampler_create(const SamplerParams *params, int32_t n_vocab, int32_t max_tokens, Sampler **out);
void sampler_free(Sampler *sampler);
/* Whether it was created with equal parameters, lists included. */
bool sampler_has_params(const Sampler *sampler, const SamplerParams *params);

/* A token entered the sequence (prompt or output): penalties and DRY look at these. When it is the one that
 * sampler_draw gave last, mirostat learns from it. */
void sampler_accept(Sampler *sampler, int32_t token);
/* Forgets all accepted tokens and the mirostat state. */
void sampler_reset(Sampler *sampler);

/* Draws the token for `position` (its index in the sequence). logits: [n_vocab], changed in place; NaN counts as
 * -infinity. `allowed`: NULL, or a bit per token (word id / 32, bit id % 32), tokens without it are never drawn.
 * Allocates nothing. Returns -1 when no token is left: none allowed, or all logits -infinity. */
int32_t sampler_draw(Sampler *sampler, float *logits, const uint32_t *allowed, int64_t position);

/* The same draw for a backend to make: sets all of *row but `logits`. Its lists are the sampler's, until it is used again.
 * False: this chain is one for sampler_draw alone. */
bool sampler_describe(Sampler *sampler, const uint32_t *allowed, int64_t position, SampleRow *row);
/* What the backend drew so; SAMPLE_NO_TOKEN is -1, as sampler_draw gives it. */
int32_t sampler_take(Sampler *sampler, const SampleResult *result);

#endif
