/*
 * batch.h - what one step computes: any mix of prompt chunks and single tokens of many sequences.
 */
#ifndef IMP_COMPUTE_BATCH_H
#define IMP_COMPUTE_BATCH_H

#include "model/model.h"

enum { KV_PAGE_TOKENS = 16 };

typedef struct BatchSequence {
    int32_t first_row, n_rows; /* its rows in the flat arrays: consecutive, positions ascending by one */
    int32_t n_past;            /* tokens already in its pages: the position of its first row */
    int32_t state_slot;        /* recurrent state; -1 when the model has none */
    /* Page ids by page group, indexed by position / KV_PAGE_TOKENS and covering n_past + n_rows tokens. Pages wholly
     * behind a group's window hold -1. */
    const int32_t *pages[MODEL_MAX_PAGE_GROUPS];
} BatchSequence;

typedef struct Batch {
    int32_t n_rows;
    const int32_t *tokens;    /* [n_rows] */
    const int32_t *positions; /* [n_rows] */
    int32_t n_sequences;
    const BatchSequence *sequences; /* [n_sequences], rows in ascending order, covering 0 … n_rows-1 */
    int32_t n_logits;
    const int32_t *logit_rows; /* [n_logits] rows whose logits are wanted, ascending */
} Batch;

#endif
