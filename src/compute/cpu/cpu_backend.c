/*
 * cpu_backend.c - the two objects: the backend with its level of kernels and its threads, and a compute with its memory.
 *
 * Everything an operation needs is taken here, from sizes that the layer table gives, so that a step allocates nothing.
 */
#include "compute/cpu/cpu_backend.h"

#include "compute/cpu/cpu_compute.h"
#include "compute/cpu/cpu_topology.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

typedef struct CpuBlock {
    struct CpuBlock *next;
    uint8_t bytes[];
} CpuBlock;

ImpStatus cpu_alloc(CpuCompute *compute, size_t count, size_t size, void *out_pointer)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 4096) return imp_fail_memory(SIZE_MAX);
    /* calloc takes large blocks straight from the system, zeroed and untouched; memset would touch them all. */
    CpuBlock *block = calloc(1, sizeof *block + bytes + 64);
    if (block == NULL) return imp_fail_memory(bytes);
    block->next = compute->blocks;
    compute->blocks = block;
    const uintptr_t aligned = ((uintptr_t)block->bytes + 63) & ~(uintptr_t)63;
    void *result = (void *)aligned;
    memcpy(out_pointer, &result, sizeof result);
    return IMP_OK;
}

/* ---- compute ---- */

static void compute_destroy(Compute *base)
{
    CpuCompute *compute = cpu_compute(base);
    for (CpuBlock *block = compute->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(compute);
}

static ImpStatus act_create(Compute *base, int32_t width, Act *out)
{
    *out = (Act){.width = width};
    return cpu_alloc(cpu_compute(base), (size_t)base->sizes.max_rows, (size_t)width * sizeof(float), &out->data);
}

static ImpStatus act_read(Compute *base, Act act, int32_t first_row, int32_t n_rows, float *out)
{
    (void)base;
    memcpy(out, act_row(act, first_row), (size_t)n_rows * (size_t)act.width * sizeof *out);
    return IMP_OK;
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
    .begin = begin,
    .finish = finish,
    .embed = cpu_embed,
    .residual_norm = cpu_residual_norm,
    .linear = cpu_linear,
    .attention_store = cpu_attention_store,
    .attention = cpu_attention,
    .activate = cpu_activate,
    .experts = cpu_experts,
    .short_conv = cpu_short_conv,
    .logits = cpu_logits,
    .state_clear = cpu_state_clear,
    .state_copy = cpu_state_copy,
    .page_copy = cpu_page_copy,
};

/* ---- sizes ---- */

static void fit_weight(int32_t *max_cols, const Weight *weight)
{
    if (weight_present(weight) && weight->cols > *max_cols) *max_cols = (int32_t)weight->cols;
}

static void fit_layer(CpuCompute *compute, const Layer *layer, int32_t *max_pairs)
{
    const Attention *attention = &layer->attention;
    const Experts *experts = &layer->experts;
    const Weight *const weights[] = {
        &attention->wq,           &attention->wk,            &attention->wv,
        &attention->wo,           &layer->short_conv.in_proj, &layer->short_conv.out_proj,
        &layer->dense.gate,       &layer->dense.up,          &layer->dense.down,
        &experts->router,         &experts->shared.gate,     &experts->shared.up,
        &experts->shared.down,    &experts->shared_gate,
    };
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) fit_weight(&compute->max_cols, weights[i]);
    if (layer->ffn == FFN_EXPERTS) {
        fit_weight(&compute->max_cols, experts->up);
        fit_weight(&compute->max_cols, experts->down);
        compute->max_width = max_i32(compute->max_width, experts->n_experts + max_i32(experts->n_groups, 0));
    }
    if (layer->mixer == MIXER_ATTENTION) {
        /* A row of keys with one encoded head behind it; a head of values; the sum of values. */
        compute->max_width = max_i32(compute->max_width, (attention->n_kv_heads + 1) * attention->head_dim);
        compute->max_width = max_i32(compute->max_width, round_up_i32(attention->head_dim_v, CPU_LANES));
        *max_pairs = max_i32(*max_pairs, attention->rope.n_dims / 2);
    }
}

static ImpStatus allocate(CpuCompute *compute)
{
    const Model *model = compute->base.model;
    const size_t rows = (size_t)compute->base.sizes.max_rows;
    int32_t max_pairs = 0;
    compute->max_width = model->n_embd;
    fit_weight(&compute->max_cols, &model->head);
    for (int32_t i = 0; i < model->n_layers; i++) fit_layer(compute, &model->layers[i], &max_pairs);

    IMP_TRY(cpu_alloc(compute, rows, sizeof *compute->row_sequence, &compute->row_sequence));
    IMP_TRY(kv_store_create(compute));
    for (int32_t i = 0; i < ROPE_TABLES && max_pairs > 0; i++) {
        IMP_TRY(cpu_alloc(compute, rows, (size_t)max_pairs * sizeof(float), &compute->rope[i].cosine));
        IMP_TRY(cpu_alloc(compute, rows, (size_t)max_pairs * sizeof(float), &compute->rope[i].sine));
    }
    const int32_t n_threads = thread_pool_size(compute->pool);
    IMP_TRY(cpu_alloc(compute, (size_t)n_threads, sizeof *compute->threads, &compute->threads));
    for (int32_t i = 0; i < n_threads; i++) {
        ThreadScratch *scratch = &compute->threads[i];
        IMP_TRY(cpu_alloc(compute, LINEAR_PANEL_ROWS, (size_t)compute->max_cols * sizeof(float), &scratch->panel));
        IMP_TRY(cpu_alloc(compute, (size_t)compute->max_width, sizeof(float), &scratch->row));
    }
    return experts_create(compute);
}

/* ---- backend ---- */

static ImpStatus create_compute(Backend *base, const Model *model, const ComputeSizes *sizes, Compute **out)
{
    CpuBackend *backend = (CpuBackend *)base;
    *out = NULL;
    if (sizes->kv_type < 0 || sizes->kv_type > DT_BF16)
        return imp_fail(IMP_ERR_UNSUPPORTED, "kv_cache.dtype: the CPU keeps F32, F16 or BF16 keys and values");
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
    };
    const ImpStatus status = allocate(compute);
    if (status != IMP_OK) {
        compute_destroy(&compute->base);
        return status;
    }
    *out = &compute->base;
    return IMP_OK;
}

static ImpStatus prepare(Backend *backend, Model *model, const Progress *progress)
{
    (void)backend;
    (void)model;
    (void)progress;
    return IMP_OK;
}

static void release(Backend *backend, Model *model)
{
    (void)backend;
    (void)model;
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
    ImpStatus status = kernels_choose(options->isa, &backend->kernels);
    if (status != IMP_OK) goto fail;
    const int32_t n_threads = options->n_threads > 0 ? options->n_threads : cpu_physical_cores();
    IMP_GOTO(thread_pool_create(n_threads, &backend->pool));
    if (options->pin_threads) cpu_pin_threads(backend->pool);
    (void)snprintf(backend->name, sizeof backend->name, "cpu (%s)", backend->kernels->name);
    backend->base.name = backend->name;
    *out = &backend->base;
    return IMP_OK;
fail:
    backend_destroy(&backend->base);
    return status;
}
