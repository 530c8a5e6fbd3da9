/*
 * attention.c - softmax(q k) v over the pages, a page at a time, with a running maximum (Milakov and Gimelshein,
 * "Online normalizer calculation for softmax").
 *
 * A query walks its visible pages in ascending order whatever else the step computes, so its arithmetic depends on its
 * position alone. A task is one row and one KV head: the query heads of the group share each page while it is in the
 * first cache.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

typedef struct AttentionRun {
    const CpuCompute *compute;
    const Attention *spec;
    const KvLayer *kv;
    Act q, out;
    int32_t q_stride;
} AttentionRun;

/* The keys that a query at `position` sees: first <= j < end. */
typedef struct KeyRange {
    int32_t first, end;
} KeyRange;

static KeyRange visible_keys(const Attention *spec, int32_t position, int32_t length)
{
    KeyRange range = {0, spec->bidirectional ? length : position + 1};
    if (spec->window > 0) {
        range.first = max_i32(0, position - spec->window + 1);
        if (spec->window < range.end - position) range.end = position + spec->window; /* bidirectional: both ways */
    }
    if (spec->chunk > 0) {
        const int32_t start = position - position % spec->chunk;
        range.first = max_i32(range.first, start);
        if (spec->chunk < range.end - start) range.end = start + spec->chunk;
    }
    return range;
}

static void attend_head(const AttentionRun *run, const int32_t *pages, KeyRange range, int32_t head, const float *q,
                        float *sum)
{
    const Attention *spec = run->spec;
    const KvLayer *kv = run->kv;
    const CpuKernels *kernels = run->compute->kernels;
    const DType type = run->compute->base.sizes.kv_type;
    const int32_t kv_head_index = head / (spec->n_heads / spec->n_kv_heads);
    /* A sink is one more key, seen first, whose value is zero. */
    SoftmaxState state = {-INFINITY, 0.0f};
    if (vector_present(&spec->sinks)) state = (SoftmaxState){spec->sinks.data[head], 1.0f};
    memset(sum, 0, (size_t)kv->value_stride * sizeof *sum);
    for (int32_t page = range.first / KV_PAGE_TOKENS; page * KV_PAGE_TOKENS < range.end; page++) {
        const uint8_t *bytes = kv_head(kv, pages[page], kv_head_index);
        const int32_t start = page * KV_PAGE_TOKENS;
        const AttendPage part = {
            .keys = bytes,
            .values = bytes + kv->key_bytes,
            .head_dim = kv->head_dim,
            .value_stride = kv->value_stride,
            .first = max_i32(range.first - start, 0),
            .end = min_i32(range.end - start, KV_PAGE_TOKENS),
            .scale = spec->scale,
            .softcap = spec->softcap,
        };
        kernels->attend_page[type](&part, q, &state, sum);
    }
    kernels->scale(sum, 1.0f / state.sum, kv->value_stride);
}

static void attention_task(void *context, int32_t task, int32_t thread)
{
    const AttentionRun *run = context;
    const CpuCompute *compute = run->compute;
    const Attention *spec = run->spec;
    const int32_t n_rows = compute->batch->n_rows, row = task % n_rows, kv_index = task / n_rows;
    const BatchSequence *sequence = &compute->batch->sequences[compute->row_sequence[row]];
    const KeyRange range =
        visible_keys(spec, compute->batch->positions[row], sequence->n_past + sequence->n_rows);
    const int32_t group = spec->n_heads / spec->n_kv_heads, dim = spec->head_dim_v;
    float *sum = compute->threads[thread].row;
    for (int32_t head = kv_index * group; head < (kv_index + 1) * group; head++) {
        const float *q = act_row(run->q, row) + head * run->q_stride;
        attend_head(run, sequence->pages[run->kv->group], range, head, q, sum);
        if (spec->gate == OUTPUT_GATE_SIGMOID) compute->kernels->gate_sigmoid(sum, q + spec->head_dim, dim);
        memcpy(act_row(run->out, row) + head * dim, sum, (size_t)dim * sizeof *sum);
    }
}

void cpu_attention(Compute *base, const Attention *spec, Act q, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    AttentionRun run = {
        .compute = compute,
        .spec = spec,
        .kv = &compute->kv[spec->kv_layer],
        .q = q,
        .out = out,
        .q_stride = spec->gate == OUTPUT_GATE_NONE ? spec->head_dim : 2 * spec->head_dim,
    };
    thread_pool_run(compute->pool, attention_task, &run, compute->batch->n_rows * spec->n_kv_heads);
}
