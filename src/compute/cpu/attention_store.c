/*
 * attention_store.c - between the projections and the attention: norms and turns of queries and keys, and their place in
 * the pages.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

typedef struct StoreRun {
    CpuCompute *compute;
    const Attention *spec;
    const KvLayer *kv; /* NULL: only the queries */
    const RopeTable *rope;
    Act q, k, v;
    int32_t q_stride; /* of a head in a row of q: a gate may lie behind each query */
} StoreRun;

/* Norm of the heads of one row: each by itself, or all as one. */
static void norm_heads(const CpuKernels *kernels, const Attention *spec, const Vector *weight, float *heads,
                       int32_t n_heads, int32_t stride)
{
    const int32_t dim = spec->head_dim;
    float squares = 0.0f;
    if (spec->qk_norm == QK_NORM_ROW)
        for (int32_t h = 0; h < n_heads; h++) squares += kernels->sum_of_squares(heads + h * stride, 0.0f, dim);
    for (int32_t h = 0; h < n_heads; h++) {
        float *head = heads + h * stride;
        const bool row = spec->qk_norm == QK_NORM_ROW;
        const float mean = row ? squares / (float)(n_heads * dim)
                               : kernels->sum_of_squares(head, 0.0f, dim) / (float)dim;
        const float *w = spec->qk_norm == QK_NORM_HEAD_UNWEIGHTED ? NULL : weight->data;
        if (w != NULL && row) w += h * dim;
        kernels->normalize(head, 0.0f, 1.0f / sqrtf(mean + spec->qk_norm_eps), w, NULL, head, dim);
    }
}

/* Norm and turn, in the layer's order. */
static void treat_heads(const StoreRun *run, const Vector *norm_weight, int32_t row, float *heads, int32_t n_heads,
                        int32_t stride)
{
    const Attention *spec = run->spec;
    const CpuKernels *kernels = run->compute->kernels;
    if (spec->qk_norm != QK_NORM_NONE && !spec->qk_norm_after_rope)
        norm_heads(kernels, spec, norm_weight, heads, n_heads, stride);
    if (run->rope != NULL)
        for (int32_t h = 0; h < n_heads; h++) rope_apply(kernels, &spec->rope, run->rope, row, heads + h * stride);
    if (spec->qk_norm != QK_NORM_NONE && spec->qk_norm_after_rope)
        norm_heads(kernels, spec, norm_weight, heads, n_heads, stride);
}

static void store_values(const StoreRun *run, const float *values, int32_t page, int32_t slot, float *scratch)
{
    const Attention *spec = run->spec;
    const KvLayer *kv = run->kv;
    const CpuKernels *kernels = run->compute->kernels;
    const DType type = run->compute->base.sizes.kv_type;
    const int32_t dim = spec->head_dim_v;
    for (int32_t h = 0; h < spec->n_kv_heads; h++) {
        const float *head = values + (size_t)h * (size_t)dim;
        if (spec->v_norm) {
            const float mean = kernels->sum_of_squares(head, 0.0f, dim) / (float)dim;
            kernels->normalize(head, 0.0f, 1.0f / sqrtf(mean + spec->qk_norm_eps), NULL, NULL, scratch, dim);
            head = scratch;
        }
        const size_t stride = (size_t)kv->value_stride * dtype_info(type)->block_bytes;
        uint8_t *codes = kv_head(kv, page, h) + kv->key_bytes;
        const float scale = kernels->encode_kv[type](head, codes + (size_t)slot * stride, dim);
        if (dtype_info(type)->block_bytes == 1)
            memcpy(codes + KV_PAGE_TOKENS * stride + (size_t)slot * sizeof scale, &scale, sizeof scale);
    }
}

/* A key becomes a column of its page: dimension d at [d][slot]. */
static void store_keys(const StoreRun *run, const float *keys, int32_t page, int32_t slot, void *encoded)
{
    const KvLayer *kv = run->kv;
    const DType type = run->compute->base.sizes.kv_type;
    const size_t bytes = dtype_info(type)->block_bytes;
    for (int32_t h = 0; h < kv->n_kv_heads; h++) {
        const float *head = keys + (size_t)h * (size_t)kv->head_dim;
        const float scale = run->compute->kernels->encode_kv[type](head, encoded, kv->head_dim);
        uint8_t *codes = kv_head(kv, page, h), *column = codes + (size_t)slot * bytes;
        const uint8_t *from = encoded;
        switch (bytes) {
        case 1:
            for (int32_t d = 0; d < kv->head_dim; d++) column[d * KV_PAGE_TOKENS] = from[d];
            memcpy(codes + (size_t)kv->head_dim * KV_PAGE_TOKENS + (size_t)slot * sizeof scale, &scale, sizeof scale);
            break;
        case 2:
            for (int32_t d = 0; d < kv->head_dim; d++) memcpy(column + d * 2 * KV_PAGE_TOKENS, from + d * 2, 2);
            break;
        default:
            for (int32_t d = 0; d < kv->head_dim; d++) memcpy(column + d * 4 * KV_PAGE_TOKENS, from + d * 4, 4);
        }
    }
}

/* Queries of models without rotary on a layer grow with their position, lest long contexts flatten the softmax. */
static float query_temperature(const Attention *spec, int32_t position)
{
    if (spec->temperature_scale == 0.0f) return 1.0f;
    const float steps = floorf((float)(position + 1) / (float)spec->temperature_floor);
    return 1.0f + spec->temperature_scale * logf(1.0f + steps);
}

static void store_task(void *context, int32_t row, int32_t thread)
{
    const StoreRun *run = context;
    const CpuCompute *compute = run->compute;
    const Attention *spec = run->spec;
    const int32_t position = compute->batch->positions[row];
    float *q = act_row(run->q, row);
    treat_heads(run, &spec->q_norm, row, q, spec->n_heads, run->q_stride);
    const float temperature = query_temperature(spec, position);
    if (temperature != 1.0f)
        for (int32_t h = 0; h < spec->n_heads; h++)
            compute->kernels->scale(q + h * run->q_stride, temperature, spec->head_dim);
    if (run->kv == NULL) return;

    const BatchSequence *sequence = &compute->batch->sequences[compute->row_sequence[row]];
    const int32_t page = sequence->pages[run->kv->group][position / KV_PAGE_TOKENS];
    const int32_t slot = position % KV_PAGE_TOKENS;
    float *scratch = compute->threads[thread].row;
    /* Values first: where they are the raw keys, these have not been touched yet. */
    store_values(run, act_row(run->v.data != NULL ? run->v : run->k, row), page, slot, scratch);
    const int32_t key_width = spec->n_kv_heads * spec->head_dim;
    memcpy(scratch, act_row(run->k, row), (size_t)key_width * sizeof *scratch);
    treat_heads(run, &spec->k_norm, row, scratch, spec->n_kv_heads, spec->head_dim);
    store_keys(run, scratch, page, slot, scratch + key_width);
}

void cpu_attention_store(Compute *base, int32_t layer, const Attention *spec, Act q, Act k, Act v)
{
    CpuCompute *compute = cpu_compute(base);
    StoreRun run = {
        .compute = compute,
        .spec = spec,
        .kv = k.data != NULL ? &compute->kv[layer] : NULL,
        .rope = rope_table(compute, &spec->rope),
        .q = q,
        .k = k,
        .v = v,
        .q_stride = spec->gate == OUTPUT_GATE_NONE ? spec->head_dim : 2 * spec->head_dim,
    };
    thread_pool_run_sized(compute->pool, store_task, &run, compute->batch->n_rows,
                          act_bytes(compute, q) + 2 * act_bytes(compute, k));
}
