/*
 * compute.h - the operations a backend provides, at the grain of a transformer block, and the objects they work on.
 *
 * A Backend is a device (the CPU with its threads, one GPU): it prepares a model's weights once. A Compute is one context
 * on it: the store of keys, values and states, and all scratch memory, sized at creation; no operation allocates.
 * Operations return nothing: they queue work whose outcome `finish` reports.
 *
 * Rule 5: a row's result must not depend on the other rows of the batch, on how its sequence was cut into chunks, or on
 * the number of threads.
 */
#ifndef IMP_COMPUTE_COMPUTE_H
#define IMP_COMPUTE_COMPUTE_H

#include "compute/batch.h"
#include "compute/sample.h"
#include "core/status.h"
#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Backend Backend;
typedef struct Compute Compute;

/* Activations: [rows][width] in the backend's own element type and memory (the CPU: float32). Row r starts at
 * r * width elements. */
typedef struct Act {
    void *data;
    int32_t width;
} Act;

/* What a Compute is sized for. */
typedef struct ComputeSizes {
    int32_t max_rows;      /* of a batch */
    int32_t max_sequences; /* of a batch */
    int32_t max_logits;    /* rows whose logits one step may want */
    int32_t max_tokens;    /* of a sequence */
    int32_t n_pages[MODEL_MAX_PAGE_GROUPS]; /* pages of KV_PAGE_TOKENS tokens in each group's pool */
    int32_t n_state_slots; /* recurrent states: running sequences and snapshots */
    DType kv_type;         /* DT_F32, DT_F16, DT_BF16, … what the backend supports */
} ComputeSizes;

/* One output of a linear: y = w x + bias. */
typedef struct LinearOutput {
    const Weight *weight;
    const Vector *bias; /* NULL or absent: none */
    Act y;              /* width == weight->rows */
} LinearOutput;

typedef struct ComputeOps {
    void (*destroy)(Compute *compute);

    /* Workspace: [sizes.max_rows][width], valid until destroy. Only while the forward pass is being set up. */
    ImpStatus (*act_create)(Compute *compute, int32_t width, Act *out);
    /* Copies rows to host memory as float32 [n_rows][width]; waits for queued work. For dumps and embeddings. */
    ImpStatus (*act_read)(Compute *compute, Act act, int32_t first_row, int32_t n_rows, float *out);

    /* The way back, rows from 0 on; where the step's forms differ all are written. Waits for queued work. */
    ImpStatus (*act_write)(Compute *compute, Act act, int32_t n_rows, const float *rows);
    /* Host memory that logits reach without a detour, zeroed; freed by its owner, before destroy. NULL: memory is short. */
    void *(*host_alloc)(Compute *compute, size_t bytes);
    void (*host_free)(Compute *compute, void *memory);

    /* Announces the batch that the following operations work on. The batch outlives `finish`. */
    void (*begin)(Compute *compute, const Batch *batch);
    /* The walk comes to a layer, with the stream in x and its norm in h. NULL: that is all the same to the backend. */
    void (*enter_layer)(Compute *compute, int32_t layer, Act x, Act h);
    /* Queues the whole step from a recording of an earlier one of this shape: true, and only `finish` is left to call.
     * Else the step is walked, and may be recorded on the way. NULL: the backend records nothing. */
    bool (*replay)(Compute *compute, float *logits);
    /* Waits for the step; the first error of its operations. */
    ImpStatus (*finish)(Compute *compute);

    /* x[r] = table[tokens[r]] * multiplier. */
    void (*embed)(Compute *compute, const Weight *table, float multiplier, Act x);

    /* x += multiplier * post_norm(y), then out = norm(x). y.data NULL: only the norm; norm NULL: only the addition;
     * post_norm NULL or NORM_NONE: y as it is. After the addition x is multiplied by `scale` (1: not). */
    void (*residual_norm)(Compute *compute, Act x, Act y, const Norm *post_norm, float multiplier, float scale,
                          const Norm *norm, Act out);

    /* Several matrices over one input. */
    void (*linear)(Compute *compute, Act x, const LinearOutput *outputs, int32_t n_outputs);

    /* Norms and turns q (in place) and k, and writes k and v to layer `layer`'s pages. k.data NULL: the layer reads
     * another's keys and values, only q is treated. v.data NULL beside a k: the values are k before norm and rotary.
     * With an output gate q holds query and gate of each head one after the other: [rows][n_heads][2][head_dim]. */
    void (*attention_store)(Compute *compute, int32_t layer, const Attention *spec, Act q, Act k, Act v);
    /* out[r] = attention of q[r] over the pages of layer spec->kv_layer, this step's rows included.
     * out: [rows][n_heads * head_dim_v]. */
    void (*attention)(Compute *compute, const Attention *spec, Act q, Act out);

    /* up = activation(w_gate x + b_gate) * (w_up x + b_up); without a gate up = activation(w_up x + b_up). `gate` is
     * scratch of the same width. */
    void (*gated)(Compute *compute, const FeedForward *spec, Act x, Act gate, Act up);

    /* Routing and the chosen experts' feed-forward (the shared expert too): out = sum of weight * expert(x), summed in a
     * fixed order. */
    void (*experts)(Compute *compute, const Experts *spec, Act x, Act out);

    /* out = C * conv(B * x) over bcx: [rows][3 * channels]; reads and advances the state of layer `layer`. */
    void (*short_conv)(Compute *compute, int32_t layer, const ShortConv *spec, Act bcx, Act out);

    /* Logits of the batch's logit_rows: cap(multiplier * (head x + bias)); the final norm was already applied to x.
     * logits: host float32 [n_logits][n_vocab]; NULL: they stay with a backend that draws. */
    void (*logits)(Compute *compute, const Model *model, Act x, float *logits);
    /* Draws from the step's logits, which stayed: between the walk (or the replay) and `finish`, behind which the
     * results can be read. rows, results: [n_logits]; rows and what they point at are free when this returns. NULL: see
     * Compute.draws. */
    void (*sample)(Compute *compute, const SampleRow *rows, SampleResult *results);
    /* After `finish`: row `index` of the logits that stayed, where nothing was drawn from it. */
    ImpStatus (*logits_read)(Compute *compute, int32_t index, float *logits);

    /* Recurrent states: whole slots, all layers. */
    void (*state_clear)(Compute *compute, int32_t slot);
    void (*state_copy)(Compute *compute, int32_t from_slot, int32_t to_slot);
    /* One page's keys and values in all layers of a group (copy on write). */
    void (*page_copy)(Compute *compute, int32_t group, int32_t from_page, int32_t to_page);
} ComputeOps;

/* Bytes that a compute took, by what they are for. */
typedef struct ComputeMemory {
    uint64_t pages, states, activations, workspace;
} ComputeMemory;

struct Compute {
    const ComputeOps *ops;
    const Model *model;
    ComputeSizes sizes;
    ComputeMemory memory;
    bool draws; /* has `sample` and `logits_read` */
};

/* Called now and then during long work; `done` of `total` units. Returning false cancels with IMP_ERR_CANCELLED. */
typedef bool ProgressCallback(void *user, const char *what, uint64_t done, uint64_t total);

typedef struct Progress {
    ProgressCallback *callback; /* NULL: nobody watches */
    void *user;
} Progress;

typedef struct BackendOps {
    void (*destroy)(Backend *backend);
    /* Bytes of its own memory that a compute could still take, 0: unknown. NULL: it lives in the host's memory. */
    uint64_t (*memory_available)(Backend *backend);
    /* Re-lays or uploads the weights of a model, once. Weight.prepared and Vector.prepared are the backend's. */
    ImpStatus (*prepare)(Backend *backend, Model *model, const Progress *progress);
    /* Undoes prepare. */
    void (*release)(Backend *backend, Model *model);
    ImpStatus (*create_compute)(Backend *backend, const Model *model, const ComputeSizes *sizes, Compute **out);
} BackendOps;

/* first <= layer < end. */
typedef struct LayerRange {
    int32_t first, end;
} LayerRange;

struct Backend {
    const BackendOps *ops;
    LayerRange layers; /* what it prepares and computes of the model; end 0: everything */
    const char *name;      /* "cpu (AVX-512)" */
    uint64_t weight_bytes; /* that it took for the model it prepared, beside the mapped file */
};

#endif
