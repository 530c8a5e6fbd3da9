/*
 * attention.c - softmax(q k) v over the pages, a block of ATTEND_KEYS keys at a time, with a running maximum (Milakov and
 * Gimelshein, "Online normalizer calculation for softmax").
 *
 * Blocks start at multiples of ATTEND_KEYS and a query walks its own in ascending order whatever else the step computes,
 * so its arithmetic depends on its position alone. The queries of a task, rows of one sequence times heads of one group,
 * read the same pages and go through them together, ATTEND_QUERIES at a time.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

enum { TASK_QUERIES = 4 * ATTEND_QUERIES };

typedef struct AttentionRun {
    const CpuCompute *compute;
    const Attention *spec;
    const KvLayer *kv;
    Act q, out;
    int32_t q_stride;
    int32_t task_queries; /* of one task, at most */
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

/* ---- a tile: queries first … first + n - 1 of a KV head, row by row and head by head in each ---- */

typedef struct Tile {
    const BatchSequence *sequence;
    int32_t kv_head, first, n;
} Tile;

static int32_t tile_row(const AttentionRun *run, const Tile *tile, int32_t i)
{
    return tile->sequence->first_row + (tile->first + i) / (run->spec->n_heads / run->spec->n_kv_heads);
}

static int32_t tile_head(const AttentionRun *run, const Tile *tile, int32_t i)
{
    const int32_t group = run->spec->n_heads / run->spec->n_kv_heads;
    return tile->kv_head * group + (tile->first + i) % group;
}

/* Starts the queries; the keys that any of them sees. A sink is one more key, seen first, whose value is zero. */
static KeyRange start_tile(const AttentionRun *run, const Tile *tile, float *sums, AttendQuery *queries,
                           KeyRange *ranges)
{
    const Attention *spec = run->spec;
    const int32_t length = tile->sequence->n_past + tile->sequence->n_rows;
    KeyRange all = {INT32_MAX, 0};
    for (int32_t i = 0; i < tile->n; i++) {
        const int32_t row = tile_row(run, tile, i), head = tile_head(run, tile, i);
        const bool sink = vector_present(&spec->sinks);
        queries[i] = (AttendQuery){
            .q = act_row(run->q, row) + head * run->q_stride,
            .out = sums + i * run->kv->value_stride,
            .max = sink ? spec->sinks.data[head] : -INFINITY,
            .sum = sink ? 1.0f : 0.0f,
        };
        ranges[i] = visible_keys(spec, run->compute->batch->positions[row], length);
        all.first = min_i32(all.first, ranges[i].first);
        all.end = max_i32(all.end, ranges[i].end);
    }
    memset(sums, 0, (size_t)(tile->n * run->kv->value_stride) * sizeof *sums);
    return all;
}

static void finish_tile(const AttentionRun *run, const Tile *tile, const AttendQuery *queries)
{
    const Attention *spec = run->spec;
    const CpuKernels *kernels = run->compute->kernels;
    const int32_t dim = spec->head_dim_v;
    for (int32_t i = 0; i < tile->n; i++) {
        float *out = queries[i].out;
        kernels->scale(out, 1.0f / queries[i].sum, run->kv->value_stride);
        if (spec->gate == OUTPUT_GATE_SIGMOID) kernels->gate_sigmoid(out, queries[i].q + spec->head_dim, dim);
        memcpy(act_row(run->out, tile_row(run, tile, i)) + tile_head(run, tile, i) * dim, out,
               (size_t)dim * sizeof *out);
    }
}

static void attend_tile(const AttentionRun *run, const Tile *tile, float *sums)
{
    const KvLayer *kv = run->kv;
    const int32_t *pages = tile->sequence->pages[kv->group];
    AttendQuery queries[ATTEND_QUERIES];
    KeyRange ranges[ATTEND_QUERIES];
    const KeyRange all = start_tile(run, tile, sums, queries, ranges);
    for (int32_t start = all.first - all.first % ATTEND_KEYS; start < all.end; start += ATTEND_KEYS) {
        AttendBlock block = {
            .key_bytes = kv->key_bytes,
            .head_dim = kv->head_dim,
            .value_stride = kv->value_stride,
            .scale = run->spec->scale,
            .softcap = run->spec->softcap,
        };
        for (int32_t p = 0; p < ATTEND_PAGES; p++) {
            const int32_t key = start + p * KV_PAGE_TOKENS;
            if (key < all.end && key + KV_PAGE_TOKENS > all.first)
                block.pages[p] = kv_head(kv, pages[key / KV_PAGE_TOKENS], tile->kv_head);
        }
        for (int32_t i = 0; i < tile->n; i++) {
            queries[i].first = max_i32(ranges[i].first - start, 0);
            queries[i].end = min_i32(ranges[i].end - start, ATTEND_KEYS);
        }
        run->compute->kernels->attend_block[kv->type](&block, queries, tile->n);
    }
    finish_tile(run, tile, queries);
}

/* ---- tasks ---- */

static int32_t sequence_queries(const AttentionRun *run, const BatchSequence *sequence)
{
    return sequence->n_rows * (run->spec->n_heads / run->spec->n_kv_heads);
}

static int32_t sequence_tasks(const AttentionRun *run, const BatchSequence *sequence)
{
    return blocks_of(sequence_queries(run, sequence), run->task_queries) * run->spec->n_kv_heads;
}

static void attention_task(void *context, int32_t task, int32_t thread)
{
    const AttentionRun *run = context;
    const BatchSequence *sequence = run->compute->batch->sequences;
    for (; task >= sequence_tasks(run, sequence); sequence++) task -= sequence_tasks(run, sequence);
    const int32_t n_heads = run->spec->n_kv_heads, queries = sequence_queries(run, sequence);
    /* The last rows of a prompt see most: they come first, so that no thread ends alone with them. */
    const int32_t part = blocks_of(queries, run->task_queries) - 1 - task / n_heads;
    const int32_t first = part * run->task_queries, end = min_i32(first + run->task_queries, queries);
    Tile tile = {.sequence = sequence, .kv_head = task % n_heads};
    for (tile.first = first; tile.first < end; tile.first += tile.n) {
        tile.n = min_i32(ATTEND_QUERIES, end - tile.first);
        attend_tile(run, &tile, run->compute->threads[thread].sums);
    }
}

void cpu_attention(Compute *base, const Attention *spec, Act q, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    const Batch *batch = compute->batch;
    AttentionRun run = {
        .compute = compute,
        .spec = spec,
        .kv = &compute->kv[spec->kv_layer],
        .q = q,
        .out = out,
        .q_stride = spec->gate == OUTPUT_GATE_NONE ? spec->head_dim : 2 * spec->head_dim,
    };
    /* Large tasks share pages, but every thread is to have one. */
    const int32_t each = blocks_of(batch->n_rows * spec->n_heads, thread_pool_size(compute->pool));
    run.task_queries = max_i32(1, min_i32(each, TASK_QUERIES));
    int32_t n_tasks = 0;
    size_t bytes = 0;
    for (int32_t s = 0; s < batch->n_sequences; s++) {
        const BatchSequence *sequence = &batch->sequences[s];
        const size_t keys = (size_t)(sequence->n_past + sequence->n_rows);
        n_tasks += sequence_tasks(&run, sequence);
        /* A tile of queries goes through a head's keys and values once. */
        bytes += (size_t)blocks_of(sequence_queries(&run, sequence), ATTEND_QUERIES) * keys * run.kv->page_bytes / KV_PAGE_TOKENS;
    }
    thread_pool_run_sized(compute->pool, attention_task, &run, n_tasks, bytes);
}
