/*
 * cpu_compute.h - the CPU's Compute from the inside: what its operations, one file each, share.
 */
#ifndef IMP_COMPUTE_CPU_COMPUTE_H
#define IMP_COMPUTE_CPU_COMPUTE_H

#include "compute/compute.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/repack.h"
#include "compute/cpu/task_order.h"
#include "core/thread_pool.h"

enum { ROPE_TABLES = 4, LINEAR_PANEL_ROWS = 16 };

typedef struct CpuBackend {
    Backend base;
    const CpuKernels *kernels;
    ThreadPool *pool;
    CpuRepack repack;
    float fine_threshold;
    int32_t n_nodes;         /* that the threads are on */
    RepackedModel *repacked; /* of the one model that was prepared; NULL: none */
    char name[48];
} CpuBackend;

/* Keys and values of one layer that owns some. A page: for each KV head its keys [head_dim][KV_PAGE_TOKENS], then its
 * values [KV_PAGE_TOKENS][value_stride]; 8-bit ones are followed by a float32 scale a token, [KV_PAGE_TOKENS]. */
typedef struct KvLayer {
    uint8_t *pages; /* NULL: the layer owns none */
    DType type;
    int32_t group;
    int32_t head_dim, value_stride, n_kv_heads;
    size_t key_bytes, head_bytes, page_bytes; /* of a head's keys, of a head, of a page */
} KvLayer;

/* Last inputs of a short convolution: [n_state_slots][width - 1][channels], oldest first. */
typedef struct ConvState {
    float *slots; /* NULL: the layer has none */
    size_t slot_floats;
} ConvState;

/* Cosines and sines of this batch's positions for one set of frequencies: [n_rows][n_dims / 2] each. */
typedef struct RopeTable {
    const float *inv_freq; /* which frequencies are in it; NULL: none yet */
    float magnitude;
    int32_t n_pairs;
    float *cosine, *sine;
} RopeTable;

/* Memory of one thread. */
typedef struct ThreadScratch {
    ActChunk *acts;     /* a small input of the running products in fixed point, and … */
    WideAct *wide_acts; /* … for half-precision weights */
    uint16_t *bf16_acts; /* the same in BF16, for BF16 weights in tiles */
    uint64_t rounded;    /* the run that it is of */
    Bf16Sums *bf16_sums;
    float *bf16_gated;   /* some columns of gate and of up */
    uint64_t quantized; /* the run that it is of */
    uint8_t *panel;     /* LINEAR_PANEL_ROWS rows decoded to float32, or PACKED_PANELS panels re-laid */
    PackedScratch *packed;
    float *row;   /* [max_width]: one row of anything */
    float *sums;  /* [ATTEND_QUERIES][max_value_stride]: what queries have added up so far */
} ThreadScratch;

/* Routing of one step's rows, and the chosen experts' activations by slot = row * n_used + rank. */
typedef struct ExpertScratch {
    float *scores;        /* [max_rows][n_experts] */
    int32_t *chosen;      /* [max_rows * n_used] expert of a slot */
    float *weights;       /* [max_rows * n_used] */
    int32_t *first;       /* [n_experts + 1] where an expert's slots start in `slots` */
    int32_t *slots;       /* [max_rows * n_used] slots by expert, ascending */
    int32_t *slot_rows;   /* [max_rows * n_used] their rows */
    float *input;         /* [max_rows * n_used][n_embd], for weights on the input; else NULL */
    float *gate, *up;     /* [max_rows * n_used][n_ff] */
    float *down;          /* [max_rows * n_used][n_embd] */
    float *shared_gate, *shared_up, *shared_down; /* [max_rows][shared n_ff], …, [max_rows][n_embd] */
    float *shared_weight; /* [max_rows] */
    struct LinearJob *jobs; /* [2 * n_experts] */
} ExpertScratch;

typedef struct CpuCompute {
    Compute base;
    CpuBackend *backend;
    const CpuKernels *kernels;
    ThreadPool *pool;
    const Batch *batch;
    ImpStatus status;
    int32_t *row_sequence; /* [max_rows] which sequence of the batch a row belongs to */
    KvLayer *kv;           /* [n_layers] */
    ConvState *conv;       /* [n_layers] */
    RopeTable rope[ROPE_TABLES];
    int32_t n_rope;        /* tables valid for this batch */
    int32_t max_cols, max_width, max_value_stride;
    float fine_threshold;  /* packed.h: which activation blocks have 16 bits */
    ActChunk *acts;        /* a large input of the running products in fixed point, for quantized weights … */
    WideAct *wide_acts;    /* … and for half-precision ones */
    uint16_t *bf16_acts;   /* the same in BF16: every job's choice of rows for itself */
    uint64_t n_linear_runs;
    ThreadScratch *threads;
    ExpertScratch experts;
    struct CpuBlock *blocks; /* all memory, for destroy */
} CpuCompute;

static inline CpuCompute *cpu_compute(Compute *compute) { return (CpuCompute *)compute; }

/* Zeroed memory aligned to 64 bytes that lives as long as the compute. IMP_ERR_OUT_OF_MEMORY names the size. */
ImpStatus cpu_alloc(CpuCompute *compute, size_t count, size_t size, void *out_pointer);

static inline float *act_row(Act act, int32_t row) { return (float *)act.data + (size_t)row * (size_t)act.width; }

/* Of the batch's rows of an activation: what thread_pool_run_sized counts. */
static inline size_t act_bytes(const CpuCompute *compute, Act act)
{
    return (size_t)compute->batch->n_rows * (size_t)act.width * sizeof(float);
}

static inline int32_t min_i32(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t max_i32(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t blocks_of(int32_t n, int32_t block) { return (n + block - 1) / block; }
static inline int32_t round_up_i32(int32_t n, int32_t multiple) { return blocks_of(n, multiple) * multiple; }

/* ---- linear.c ---- */

/* Inputs of at most so many floats are turned into fixed point by every thread for itself, so that it need not wait for
 * another one to do it, nor for its cache; the rows and chunks that such an input can have. */
enum { PRIVATE_FLOATS = 16384, PRIVATE_ROWS = 64, PRIVATE_CHUNKS = PRIVATE_FLOATS / CHUNK_COLS + PRIVATE_ROWS };

/* What all jobs of a run multiply: n_rows rows of `cols` floats. */
typedef struct LinearInput {
    const float *x;
    size_t stride;       /* floats between rows */
    const int32_t *rows; /* which rows of x, NULL: 0 … n_rows-1 */
    int32_t n_rows, cols;
} LinearInput;

/* y[y_rows[i]] = scale * w input[x_rows[i]] + bias for i < n_rows. */
typedef struct LinearJob {
    const Weight *weight;
    const float *bias;      /* NULL: none */
    const int32_t *x_rows;  /* NULL: 0 … n_rows-1 */
    float *y;
    size_t y_stride;
    const int32_t *y_rows;  /* NULL: 0 … n_rows-1 */
    int32_t n_rows;
    /* cpu_linear_run's own: its first task; where its rows are in BF16, and the first task that rounds them. */
    int32_t first_task, first_act, first_group;
} LinearJob;

/* Input row of a job's i-th row. */
static inline int32_t input_row(const LinearJob *job, int32_t i) { return job->x_rows != NULL ? job->x_rows[i] : i; }

/* Row `row` of the input, which may itself be a choice of rows. */
static inline const float *input_floats(const LinearInput *input, int32_t row)
{
    return input->x + (size_t)(input->rows != NULL ? input->rows[row] : row) * input->stride;
}

/* Runs all jobs as one parallel loop, or as two where some are linear_bf16.c's. */
void cpu_linear_run(CpuCompute *compute, const LinearInput *input, LinearJob *jobs, int32_t n_jobs);

void cpu_linear(Compute *compute, Act x, const LinearOutput *outputs, int32_t n_outputs);
void cpu_embed(Compute *compute, const Weight *table, float multiplier, Act x);
void cpu_logits(Compute *compute, const Model *model, Act x, float *logits);

/* ---- linear_bf16.c ---- */

/* Runs those of the jobs whose weights are PRODUCT_BF16. */
void cpu_linear_bf16(CpuCompute *compute, const LinearInput *input, LinearJob *jobs, int32_t n_jobs);

/* Floats of ThreadScratch.bf16_gated. */
enum { BF16_GATED_FLOATS = 2 * BF16_ACTS * TASK_ROWS };

/* up = activation(gate x) * (up x) where both weights are PRODUCT_BF16 and rows are many; else does nothing and returns false. */
bool cpu_gated_bf16(CpuCompute *compute, const FeedForward *spec, Act x, Act up);

/* ---- norm.c ---- */

/* y = norm(x) for n floats; y may be x. `norm` of kind NORM_NONE copies. */
void cpu_norm_row(const CpuKernels *kernels, const Norm *norm, const float *x, float *y, int32_t n);
void cpu_residual_norm(Compute *compute, Act x, Act y, const Norm *post_norm, float multiplier, float scale,
                       const Norm *norm, Act out);
void cpu_activate(Compute *compute, Activation activation, float limit, Act gate, Act up, Act out);
void cpu_gated(Compute *compute, const FeedForward *spec, Act x, Act gate, Act up);

/* ---- rope.c ---- */

/* The batch's table for a layer's frequencies, computed at first use; NULL when nothing turns. */
const RopeTable *rope_table(CpuCompute *compute, const Rope *rope);
/* Turns one head in place. */
void rope_apply(const CpuKernels *kernels, const Rope *rope, const RopeTable *table, int32_t row, float *head);

/* ---- attention_store.c, attention.c ---- */

void cpu_attention_store(Compute *compute, int32_t layer, const Attention *spec, Act q, Act k, Act v);
void cpu_attention(Compute *compute, const Attention *spec, Act q, Act out);

/* ---- kv_store.c ---- */

ImpStatus kv_store_create(CpuCompute *compute);
static inline uint8_t *kv_head(const KvLayer *kv, int32_t page, int32_t head)
{
    return kv->pages + (size_t)page * kv->page_bytes + (size_t)head * kv->head_bytes;
}
void cpu_state_clear(Compute *compute, int32_t slot);
void cpu_state_copy(Compute *compute, int32_t from_slot, int32_t to_slot);
void cpu_page_copy(Compute *compute, int32_t group, int32_t from_page, int32_t to_page);

/* ---- short_conv.c, experts.c ---- */

void cpu_short_conv(Compute *compute, int32_t layer, const ShortConv *spec, Act bcx, Act out);
ImpStatus experts_create(CpuCompute *compute);
void cpu_experts(Compute *compute, const Experts *spec, Act x, Act out);

#endif
