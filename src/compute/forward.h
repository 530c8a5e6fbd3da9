/*
 * forward.h - the forward pass: one walk over the layer table, for every architecture, backend and kind of batch.
 */
#ifndef IMP_COMPUTE_FORWARD_H
#define IMP_COMPUTE_FORWARD_H

#include "compute/compute.h"

typedef struct Forward Forward;

/* Called after each layer with the residual stream (layer -1: the embeddings; layer n_layers: the final norm), as
 * float32 [n_rows][n_embd]. Costs a copy a layer; for --dump-hidden and tests. */
typedef void ForwardWatch(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width);

/* Takes the workspace it needs from `compute`, which must outlive it. */
ImpStatus forward_create(Compute *compute, Forward **out);
void forward_free(Forward *forward);
/* Costs the memory of one activation; NULL stops watching. */
ImpStatus forward_watch(Forward *forward, ForwardWatch *watch, void *user);

/* Runs one step. logits: [batch->n_logits][n_vocab] float32, may be NULL when n_logits is 0. Allocates nothing. */
ImpStatus forward_run(Forward *forward, const Batch *batch, float *logits);
/* The same in two parts: the first queues the step (`logits` NULL: they stay with the backend, to be drawn from), the
 * second waits for it. */
void forward_start(Forward *forward, const Batch *batch, float *logits);
ImpStatus forward_finish(Forward *forward);

/* After forward_run: the final norm's output of `n_rows` rows from `first_row`, [n_rows][n_embd], for embeddings. */
ImpStatus forward_read_hidden(Forward *forward, int32_t first_row, int32_t n_rows, float *out);

#endif
