/*
 * sampler_select.h - the candidates of one draw: from all tokens of the vocabulary down to one, without sorting them
 * all.
 *
 * A selection starts with the whole vocabulary in place. The first truncation gathers the survivors into a short list,
 * sorted from the most probable down (equal logits: lowest id first), on which later ones work.
 */
#ifndef IMP_RUNTIME_SAMPLER_SELECT_H
#define IMP_RUNTIME_SAMPLER_SELECT_H

#include "core/arena.h"
#include "core/status.h"

#include <stdbool.h>
#include <stdint.h>

/* `key` is the logit, or what else a list is sorted by, largest first. */
typedef struct Candidate {
    float key;
    int32_t id;
} Candidate;

typedef struct Selection {
    int32_t n_vocab, n_blocks;
    float *logits;   /* [n_vocab], the caller's */
    bool whole;      /* every token is a candidate still; else the list holds them */
    Candidate *list; /* [n_vocab], the first n in use */
    int32_t n;
    bool maxima_valid;
    float *block_max; /* [n_blocks] of SELECT_BLOCK logits each */
    Candidate *order; /* [n_vocab] scratch: a second sorting */
    Candidate *spare; /* [n_vocab] scratch of the sort */
    double *mass;     /* [SELECT_BUCKETS] */
} Selection;

ImpStatus selection_init(Selection *selection, int32_t n_vocab, Arena *arena);

/* All tokens of logits[n_vocab] are candidates, NaN becomes -infinity. */
void selection_begin(Selection *selection, float *logits);
/* The logits were changed from outside while the selection was whole. */
void selection_touch(Selection *selection);

/* The most probable candidate's logit; -INFINITY when there is none. */
float selection_max(Selection *selection);
/* The most probable candidate. */
int32_t selection_best(Selection *selection);

/* Every logit becomes (logit - selection_max) * factor. */
void selection_scale(Selection *selection, float factor);
void selection_top_k(Selection *selection, int32_t k);
/* Candidates with a logit of at least `threshold`; the most probable one always stays. */
void selection_at_least(Selection *selection, float threshold);
/* The fewest candidates of together at least probability p, taken from the most probable down. */
void selection_top_p(Selection *selection, float p);
/* The same, taken by how near their surprise is to the entropy. */
void selection_typical_p(Selection *selection, float p);

/* ln of the sum of exp(logit - selection_max). */
double selection_log_sum(Selection *selection);
/* The list is sorted again after its keys changed. */
void selection_resort(Selection *selection);
/* The candidate at `u` (0 <= u < 1) of the cumulative probability. */
int32_t selection_draw(Selection *selection, double u);
/* A candidate's logit. */
float selection_logit(const Selection *selection, int32_t id);

#endif
