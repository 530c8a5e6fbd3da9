/*
 * sample.h - how one token is to be drawn from a row of logits, as plain data: what the runtime's sampler hands to a
 * backend that draws itself, so that only the token comes back.
 *
 * A backend that draws gives the token that the runtime's own chain (runtime/sampler.h, which says what each link does)
 * would draw from the same logits. What it cannot draw it leaves undone; the row's logits are then what the model gave.
 */
#ifndef IMP_COMPUTE_SAMPLE_H
#define IMP_COMPUTE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum SampleKind {
    SAMPLE_NOTHING, /* of this row nothing is wanted */
    SAMPLE_LOGITS,  /* its logits are, in host memory */
    SAMPLE_GREEDY,  /* the most probable token, ties to the lowest id */
    SAMPLE_DRAW,
} SampleKind;

/* Links with something to do, in their order. */
typedef enum SampleLink {
    SAMPLE_PENALTIES,
    SAMPLE_DRY,
    SAMPLE_TOP_K,
    SAMPLE_TYPICAL_P,
    SAMPLE_TOP_P,
    SAMPLE_MIN_P,
    SAMPLE_TEMPERATURE,
    SAMPLE_MIROSTAT, /* the last one, if at all */
    SAMPLE_LINK_COUNT
} SampleLink;

typedef struct SampleEntry {
    int32_t token;
    float value;
} SampleEntry;

typedef struct SampleList {
    const SampleEntry *entries;
    int32_t count;
} SampleList;

typedef struct SampleRow {
    SampleKind kind;
    int32_t n_vocab;         /* tokens that may be drawn, the first of the row */
    float *logits;           /* SAMPLE_LOGITS: where they go, [the model's n_vocab] */
    const uint32_t *allowed; /* a bit per token, NULL: all */
    SampleList bias;         /* added to logits; the same token may be there again */
    SampleList penalties;    /* tokens and how often they were there, each once */
    float repeat, frequency, presence;
    SampleList dry; /* subtracted from logits, each token once */
    int32_t top_k;
    float typical_p, top_p;
    float min_p_log;      /* ln(min_p) */
    float factor;         /* 1 / temperature */
    double mirostat_bound; /* the largest surprise, in bits */
    double u;             /* where in the cumulative probability the token lies, 0 <= u < 1 */
    uint8_t links[SAMPLE_LINK_COUNT];
    int32_t n_links;
} SampleRow;

enum { SAMPLE_NO_TOKEN = -1, SAMPLE_UNDONE = -2 };

typedef struct SampleResult {
    int32_t token;   /* SAMPLE_NO_TOKEN: all were banned, SAMPLE_UNDONE: nothing was drawn */
    double surprise; /* the token's in bits, where mirostat drew it; else NaN */
} SampleResult;

#endif
