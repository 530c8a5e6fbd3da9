/*
 * cpu_backend.c - the two objects: the backend with its level of kernels and its threads, and a compute with its memory.
 *
 * Everything an operation needs is taken here, from sizes that the layer table gives, so that a step allocates nothing.
 */
#include "compute/cpu/cpu_backend.h"

#include "compute/cpu/cpu_compute.h"
#include "compute/cpu/cpu_topology.h"
#include "core/large_memory.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

typedef struct CpuBlock {
    struct CpuBlock *next;
    size_t large; /* its bytes, if it came from large_memory_take; else 0 */
    uint8_t bytes[];
} CpuBlock;

/* `block`: zeroed memory with room for the result behind its head. */
static void keep_block(CpuCompute *compute, CpuBlock *block, size_t bytes, size_t large, void *out_pointer)
{
    block->large = large;
    block->next = compute->blocks;
    compute->blocks = block;
    compute->base.memory.workspace += bytes;
    const uintptr_t aligned = ((uintptr_t)block->bytes + 63) & ~(uintptr_t)63;
    void *result = (void *)aligned;
    memcpy(out_pointer, &result, sizeof result);
}

ImpStatus cpu_alloc(CpuCompute *compute, size_t count, size_t size, void *out_pointer)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 4096) return imp_fail_memory(SIZE_MAX);
    /* calloc takes large blocks straight from the system, zeroed and untouched; memset would touch them all. */
    CpuBlock *block = calloc(1, sizeof *block + bytes + 64);
    if (block == NULL) return imp_fail_memory(bytes);
    keep_block(compute, block, bytes, 0, out_pointer);
    return IMP_OK;
}

/* The same in huge pages, if it has a few: products write rows that are far apart, and soon each would be in a page of its own. */
static ImpStatus alloc_rows(CpuCompute *compute, size_t count, size_t size, void *out_pointer)
{
    enum { LARGE = 4 << 20 };
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes < LARGE || bytes > SIZE_MAX - 4096)
        return cpu_alloc(compute, count, size, out_pointer);
    const size_t large = sizeof(CpuBlock) + bytes + 64;
    CpuBlock *block = large_memory_take(large);
    if (block == NULL) return imp_fail_memory(bytes);
    keep_block(compute, block, bytes, large, out_pointer);
    return IMP_OK;
}

/* ---- compute ---- */

static void compute_destroy(Compute *base)
{
    CpuCompute *compute = cpu_compute(base);
    for (CpuBlock *block = compute->blocks, *next; block != NULL; block = next) {
        next = block->next;
        if (block->large > 0) large_memory_give(block, block->large);
        else free(block);
    }
    free(compute);
}

static ImpStatus act_create(Compute *base, int32_t width, Act *out)
{
    *out = (Act){.width = width};
    base->memory.activations += (uint64_t)base->sizes.max_rows * (uint64_t)width * sizeof(float);
    base->memory.workspace -= (uint64_t)base->sizes.max_rows * (uint64_t)width * sizeof(float);
    return alloc_rows(cpu_compute(base), (size_t)base->sizes.max_rows, (size_t)width * sizeof(float), &out->data);
}

static ImpStatus act_read(Compute *base, Act act, int32_t first_row, int32_t n_rows, float *out)
{
    (void)base;
    memcpy(out, act_row(act, first_row), (size_t)n_rows * (size_t)act.width * sizeof *out);
    return IMP_OK;
}

static ImpStatus act_write(Compute *base, Act act, int32_t n_rows, const float *rows)
{
    (void)base;
    memcpy(act_row(act, 0), rows, (size_t)n_rows * (size_t)act.width * sizeof *rows);
    return IMP_OK;
}

static void *host_alloc(Compute *base, size_t bytes)
{
    (void)base;
    return calloc(1, bytes);
}

static void host_free(Compute *base, void *memory)
{
    (void)base;
    free(memory);
}

static void begin(Compute *base, const Batch *batch)
{
    static const Batch empty = {0};
    CpuCompute *compute = cpu_compute(base);
    compute->status = IMP_OK;
    compute->batch = batch;
    compute->n_rope = 0;
    for (int32_t i = 0; i < ROPE_TABLES; i++) compute->rope[i].inv_freq = NULL;
    if (batch->n_rows > base->sizes.max_rows || batch->n_sequences > base->sizes.max_sequences) {
        compute->status = imp_fail(IMP_ERR_INTERNAL, "a batch of %d rows of %d sequences, sized for %d of %d",
                                   (int)batch->n_rows, (int)batch->n_sequences, (int)base->sizes.max_rows,
                                   (int)base->sizes.max_sequences);
        compute->batch = &empty;
        return;
    }
    for (int32_t s = 0; s < batch->n_sequences; s++)
        for (int32_t r = 0; r < batch->sequences[s].n_rows; r++)
            compute->row_sequence[batch->sequences[s].first_row + r] = s;
}

/* Operations have finished when they return. */
static ImpStatus finish(Compute *base) { return cpu_compute(base)->status; }

static const ComputeOps compute_ops = {
    .destroy = compute_destroy,
    .act_create = act_create,
    .act_read = act_read,
    .act_write = act_write,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .begin = begin,
    .finish = finish,
    .embed = cpu_embed,
    .residual_norm = cpu_residual_norm,
    .linear = cpu_linear,
    .attention_store = cpu_attention_store,
    .attention = cpu_attention,
    .gated = cpu_gated,
    .experts = cpu_experts,
    .short_conv = cpu_short_conv,
    .logits = cpu_logits,
    .state_clear = cpu_state_clear,
    .state_copy = cpu_state_copy,
    .page_copy = cpu_page_copy,
};

/* ---- sizes ---- */

/* What the widest weight, and the most activations of one product, need. */
typedef struct Needs {
    const CpuKernels *kernels;
    int32_t cols, pairs;
    size_t panel_bytes, act_chunks, wide_blocks, bf16_acts;
} Needs;

/* `rows`: most rows of its input; `chosen`: most choices of them, by all weights that share the input. */
static void fit_weight(Needs *needs, const Weight *weight, size_t rows, size_t chosen)
{
    if (!weight_present(weight)) return;
    needs->cols = max_i32(needs->cols, (int32_t)weight->cols);
    const size_t panel = panel_bytes(needs->kernels, weight);
    const size_t bytes = panel > 0 ? PACKED_PANELS * panel : LINEAR_PANEL_ROWS * (size_t)weight->cols * sizeof(float);
    if (bytes > needs->panel_bytes) needs->panel_bytes = bytes;
    size_t chunks = 0, blocks = 0, acts = 0;
    switch (product_kind(needs->kernels, weight)) {
    case PRODUCT_PACKED: chunks = rows * (size_t)act_chunks(weight->cols); break;
    case PRODUCT_WIDE: blocks = rows * (size_t)weight->cols / WIDE_COLS; break;
    case PRODUCT_BF16: acts = chosen * (size_t)weight->cols; break;
    case PRODUCT_FLOAT: break;
    }
    if (chunks > needs->act_chunks) needs->act_chunks = chunks;
    if (blocks > needs->wide_blocks) needs->wide_blocks = blocks;
    if (acts > needs->bf16_acts) needs->bf16_acts = acts;
}

static void fit_layer(CpuCompute *compute, const Layer *layer, Needs *needs)
{
    const size_t rows = (size_t)compute->base.sizes.max_rows;
    const Attention *attention = &layer->attention;
    const Experts *experts = &layer->experts;
    const Weight *const weights[] = {
        &attention->wq,           &attention->wk,            &attention->wv,
        &attention->wo,           &layer->short_conv.in_proj, &layer->short_conv.out_proj,
        &layer->dense.gate,       &layer->dense.up,          &layer->dense.down,
        &experts->router,         &experts->shared.gate,     &experts->shared.up,
        &experts->shared.down,    &experts->shared_gate,
    };
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) fit_weight(needs, weights[i], rows, rows);
    if (layer->ffn == FFN_EXPERTS) {
        const size_t slots = rows * (size_t)max_i32(experts->n_used, 1);
        for (int32_t e = 0; e < experts->n_experts; e++) {
            const size_t inputs = experts->weight_on_input ? slots : rows;
            if (experts->gate != NULL) fit_weight(needs, &experts->gate[e], inputs, slots);
            fit_weight(needs, &experts->up[e], inputs, slots);
            fit_weight(needs, &experts->down[e], slots, slots);
        }
        compute->max_width = max_i32(compute->max_width, experts->n_experts + max_i32(experts->n_groups, 0));
    }
    if (layer->mixer == MIXER_ATTENTION) {
        /* A row of keys with one encoded head behind it; a head of values; the sum of values. */
        compute->max_width = max_i32(compute->max_width, (attention->n_kv_heads + 1) * attention->head_dim);
        compute->max_width = max_i32(compute->max_width, round_up_i32(attention->head_dim_v, CPU_LANES));
        compute->max_value_stride =
            max_i32(compute->max_value_stride, round_up_i32(attention->head_dim_v, CPU_LANES));
        needs->pairs = max_i32(needs->pairs, attention->rope.n_dims / 2);
    }
}

static ImpStatus allocate(CpuCompute *compute)
{
    const Model *model = compute->base.model;
    const size_t rows = (size_t)compute->base.sizes.max_rows;
    Needs needs = {.kernels = compute->kernels};
    compute->max_width = model->n_embd;
    const size_t logits = (size_t)max_i32(compute->base.sizes.max_logits, compute->base.sizes.max_rows);
    fit_weight(&needs, &model->head, logits, logits);
    for (int32_t i = 0; i < model->n_layers; i++) fit_layer(compute, &model->layers[i], &needs);
    compute->max_cols = needs.cols;

    IMP_TRY(cpu_alloc(compute, rows, sizeof *compute->row_sequence, &compute->row_sequence));
    IMP_TRY(kv_store_create(compute));
    for (int32_t i = 0; i < ROPE_TABLES && needs.pairs > 0; i++) {
        IMP_TRY(cpu_alloc(compute, rows, (size_t)needs.pairs * sizeof(float), &compute->rope[i].cosine));
        IMP_TRY(cpu_alloc(compute, rows, (size_t)needs.pairs * sizeof(float), &compute->rope[i].sine));
    }
    IMP_TRY(cpu_alloc(compute, needs.act_chunks, sizeof *compute->acts, &compute->acts));
    IMP_TRY(cpu_alloc(compute, needs.wide_blocks, sizeof *compute->wide_acts, &compute->wide_acts));
    IMP_TRY(alloc_rows(compute, needs.bf16_acts, sizeof *compute->bf16_acts, &compute->bf16_acts));
    const int32_t n_threads = thread_pool_size(compute->pool);
    IMP_TRY(cpu_alloc(compute, (size_t)n_threads, sizeof *compute->threads, &compute->threads));
    for (int32_t i = 0; i < n_threads; i++) {
        ThreadScratch *scratch = &compute->threads[i];
        IMP_TRY(cpu_alloc(compute, needs.panel_bytes, 1, &scratch->panel));
        if (needs.act_chunks > 0) {
            IMP_TRY(cpu_alloc(compute, 1, sizeof *scratch->packed, &scratch->packed));
            IMP_TRY(cpu_alloc(compute, PRIVATE_CHUNKS, sizeof *scratch->acts, &scratch->acts));
        }
        if (needs.wide_blocks > 0)
            IMP_TRY(cpu_alloc(compute, PRIVATE_FLOATS / WIDE_COLS, sizeof *scratch->wide_acts, &scratch->wide_acts));
        if (needs.bf16_acts > 0) {
            IMP_TRY(cpu_alloc(compute, PRIVATE_FLOATS, sizeof *scratch->bf16_acts, &scratch->bf16_acts));
            IMP_TRY(cpu_alloc(compute, 1, sizeof *scratch->bf16_sums, &scratch->bf16_sums));
            IMP_TRY(cpu_alloc(compute, BF16_GATED_FLOATS, sizeof *scratch->bf16_gated, &scratch->bf16_gated));
        }
        IMP_TRY(cpu_alloc(compute, (size_t)compute->max_width, sizeof(float), &scratch->row));
        IMP_TRY(cpu_alloc(compute, ATTEND_QUERIES, (size_t)compute->max_value_stride * sizeof(float), &scratch->sums));
    }
    return experts_create(compute);
}

/* Small models feel every rounding and are fast anyway: all their activations have 16 bits. The others against that, 5,888
 * and 5,632 scored tokens of SmolLM2-135M Q4_1 and Gemma-3-270M Q4_K_M, standard deviation of a token's log-probability (16 bits
 * themselves against float32: 0.0004, 0.0003):
 *     threshold 1.5   0.049   0.045    perplexity +0.12 %  +0.14 %   9 % of blocks fine
 *     threshold 1.75  0.052   0.049    perplexity +0.09 %  +0.10 %   7 % of blocks fine
 *     8 bits alone    0.089   0.081    perplexity +0.43 %  +0.23 %   and another first word for SmolLM2 */
static float fine_threshold(const CpuBackend *backend, const Model *model)
{
    enum { SMALL = 500000000 };
    if (backend->fine_threshold > 0.0f) return backend->fine_threshold;
    return model_parameter_count(model) < SMALL ? 0.0f : 1.75f;
}

/* ---- backend ---- */

static ImpStatus create_compute(Backend *base, const Model *model, const ComputeSizes *sizes, Compute **out)
{
    CpuBackend *backend = (CpuBackend *)base;
    *out = NULL;
    if (sizes->kv_type < 0 || sizes->kv_type >= DT_COUNT || backend->kernels->attend_block[sizes->kv_type] == NULL)
        return imp_fail(IMP_ERR_UNSUPPORTED, "kv_cache.dtype: the CPU keeps keys and values in 32, 16 or 8 bits");
    if (sizes->max_rows < 1 || sizes->max_sequences < 1)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a compute for %d rows of %d sequences", (int)sizes->max_rows,
                        (int)sizes->max_sequences);
    CpuCompute *compute = calloc(1, sizeof *compute);
    if (compute == NULL) return imp_fail_memory(sizeof *compute);
    *compute = (CpuCompute){
        .base = {.ops = &compute_ops, .model = model, .sizes = *sizes},
        .backend = backend,
        .kernels = backend->kernels,
        .pool = backend->pool,
        .fine_threshold = fine_threshold(backend, model),
    };
    const ImpStatus status = allocate(compute);
    if (status != IMP_OK) {
        compute_destroy(&compute->base);
        return status;
    }
    *out = &compute->base;
    return IMP_OK;
}

static ImpStatus prepare(Backend *base, Model *model, const Progress *progress)
{
    CpuBackend *backend = (CpuBackend *)base;
    if (backend->repacked != NULL)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "this backend has prepared another model: release that first");
    IMP_TRY(repack_model(model, base->layers, backend->kernels, backend->repack, backend->pool, backend->n_nodes > 1, progress,
                         &backend->repacked));
    base->weight_bytes = repack_bytes(backend->repacked);
    return IMP_OK;
}

static void release(Backend *base, Model *model)
{
    CpuBackend *backend = (CpuBackend *)base;
    repack_release(model, backend->repacked);
    backend->repacked = NULL;
    base->weight_bytes = 0;
}

static void backend_destroy(Backend *base)
{
    CpuBackend *backend = (CpuBackend *)base;
    thread_pool_free(backend->pool);
    free(backend);
}

static const BackendOps backend_ops = {
    .destroy = backend_destroy,
    .prepare = prepare,
    .release = release,
    .create_compute = create_compute,
};

ImpStatus cpu_backend_create(const CpuOptions *options, Backend **out)
{
    *out = NULL;
    CpuBackend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) return imp_fail_memory(sizeof *backend);
    backend->base.ops = &backend_ops;
    backend->repack = options->repack;
    backend->fine_threshold = options->fine_threshold;
    ImpStatus status = kernels_choose(options->isa, &backend->kernels);
    if (status != IMP_OK) goto fail;
    const int32_t n_threads = options->n_threads > 0 ? options->n_threads : cpu_physical_cores();
    IMP_GOTO(thread_pool_create(n_threads, &backend->pool));
    backend->n_nodes = cpu_place_threads(backend->pool, options->pin_threads);
    (void)snprintf(backend->name, sizeof backend->name, "cpu (%s)", backend->kernels->name);
    backend->base.name = backend->name;
    *out = &backend->base;
    return IMP_OK;
fail:
    backend_destroy(&backend->base);
    return status;
}
