/*
 * linear.c - the loop nest around the products: which rows, in which order, by which thread.
 *
 * A task is a block of weight rows, never a part of a sum, so threads do not meet. Inside it a panel of rows is decoded to
 * float32 once and multiplied with all activation rows, tile by tile; for one activation row the panel is a tile high and
 * stays in the first cache.
 */
#include "compute/cpu/cpu_compute.h"

#include <string.h>

enum { TASK_ROWS = 32 };

typedef struct LinearRun {
    CpuCompute *compute;
    const LinearJob *jobs;
    int32_t n_jobs;
} LinearRun;

/* Pointers to `n` rows of a weight as float32: into the file where it is float32 already, else decoded into `panel`. */
static void weight_rows(const CpuKernels *kernels, const Weight *weight, int64_t first, int32_t n, float *panel,
                        const float *rows[])
{
    const size_t cols = (size_t)weight->cols;
    for (int32_t r = 0; r < n; r++) {
        const uint8_t *bytes = weight->data + (size_t)(first + r) * weight->row_bytes;
        if (weight->type == DT_F32 && (uintptr_t)bytes % sizeof(float) == 0) {
            rows[r] = (const float *)(const void *)bytes;
        } else {
            float *decoded = panel + (size_t)r * cols;
            kernels_decoder(kernels, weight->type)(bytes, decoded, cols);
            rows[r] = decoded;
        }
    }
}

/* One panel's rows times all activation rows of the job. */
static void multiply_panel(const CpuKernels *kernels, const LinearJob *job, int64_t first, int32_t n,
                           const float *rows[])
{
    const Weight *weight = job->weight;
    /* A tile always has DOT_TILE_ROWS rows: the last one's repeat stands in for those past the end. */
    for (int32_t r = n; r < round_up_i32(n, DOT_TILE_ROWS); r++) rows[r] = rows[n - 1];
    for (int32_t a = 0; a < job->n_rows; a += DOT_TILE_ACTS) {
        const int32_t n_acts = min_i32(DOT_TILE_ACTS, job->n_rows - a);
        const float *acts[DOT_TILE_ACTS];
        for (int32_t i = 0; i < n_acts; i++) {
            const int32_t row = job->x_rows != NULL ? job->x_rows[a + i] : a + i;
            acts[i] = job->x + (size_t)row * job->x_stride;
        }
        for (int32_t r = 0; r < n; r += DOT_TILE_ROWS) {
            float sums[DOT_TILE_ACTS * DOT_TILE_ROWS];
            kernels->dot_tile(rows + r, acts, n_acts, (int32_t)weight->cols, sums, DOT_TILE_ROWS);
            for (int32_t i = 0; i < n_acts; i++) {
                const int32_t row = job->y_rows != NULL ? job->y_rows[a + i] : a + i;
                float *y = job->y + (size_t)row * job->y_stride + first + r;
                for (int32_t j = 0; j < min_i32(DOT_TILE_ROWS, n - r); j++) {
                    const float sum = sums[i * DOT_TILE_ROWS + j] * weight->scale;
                    y[j] = job->bias != NULL ? sum + job->bias[first + r + j] : sum;
                }
            }
        }
    }
}

static void linear_task(void *context, int32_t task, int32_t thread)
{
    const LinearRun *run = context;
    const LinearJob *job = run->jobs;
    while (job + 1 < run->jobs + run->n_jobs && task >= job[1].first_task) job++;
    const CpuKernels *kernels = run->compute->kernels;
    const int64_t first = (int64_t)(task - job->first_task) * TASK_ROWS;
    const int64_t end = first + TASK_ROWS < job->weight->rows ? first + TASK_ROWS : job->weight->rows;
    const int32_t panel_rows = job->n_rows == 1 ? DOT_TILE_ROWS : LINEAR_PANEL_ROWS;
    for (int64_t row = first; row < end; row += panel_rows) {
        const int32_t n = end - row < panel_rows ? (int32_t)(end - row) : panel_rows;
        const float *rows[LINEAR_PANEL_ROWS];
        weight_rows(kernels, job->weight, row, n, run->compute->threads[thread].panel, rows);
        multiply_panel(kernels, job, row, n, rows);
    }
}

void cpu_linear_run(CpuCompute *compute, LinearJob *jobs, int32_t n_jobs)
{
    int32_t n_tasks = 0;
    for (int32_t i = 0; i < n_jobs; i++) {
        jobs[i].first_task = n_tasks;
        n_tasks += (int32_t)((jobs[i].weight->rows + TASK_ROWS - 1) / TASK_ROWS);
    }
    LinearRun run = {compute, jobs, n_jobs};
    thread_pool_run(compute->pool, linear_task, &run, n_tasks);
}

void cpu_linear(Compute *base, Act x, const LinearOutput *outputs, int32_t n_outputs)
{
    enum { TOGETHER = 8 };
    CpuCompute *compute = cpu_compute(base);
    for (int32_t done = 0; done < n_outputs; done += TOGETHER) {
        const int32_t n = min_i32(TOGETHER, n_outputs - done);
        LinearJob jobs[TOGETHER];
        for (int32_t i = 0; i < n; i++) {
            const LinearOutput *output = &outputs[done + i];
            jobs[i] = (LinearJob){
                .weight = output->weight,
                .bias = output->bias != NULL ? output->bias->data : NULL,
                .x = x.data,
                .x_stride = (size_t)x.width,
                .y = output->y.data,
                .y_stride = (size_t)output->y.width,
                .n_rows = compute->batch->n_rows,
            };
        }
        cpu_linear_run(compute, jobs, n);
    }
}

/* ---- the two ends of a model ---- */

void cpu_embed(Compute *base, const Weight *table, float multiplier, Act x)
{
    CpuCompute *compute = cpu_compute(base);
    const float factor = multiplier * table->scale;
    for (int32_t r = 0; r < compute->batch->n_rows; r++) {
        const int64_t token = compute->batch->tokens[r];
        float *out = act_row(x, r);
        const uint8_t *bytes = table->data + (size_t)token * table->row_bytes;
        kernels_decoder(compute->kernels, table->type)(bytes, out, (size_t)table->cols);
        if (factor != 1.0f) compute->kernels->scale(out, factor, x.width);
    }
}

typedef struct LogitsRun {
    CpuCompute *compute;
    const Model *model;
    float *logits;
} LogitsRun;

static void logits_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const LogitsRun *run = context;
    const Model *model = run->model;
    run->compute->kernels->finish_logits(run->logits + (size_t)task * (size_t)model->n_vocab, model->logit_multiplier,
                                         model->head_bias.data, model->logit_softcap, model->n_vocab);
}

void cpu_logits(Compute *base, const Model *model, Act x, float *logits)
{
    CpuCompute *compute = cpu_compute(base);
    LinearJob job = {
        .weight = &model->head,
        .x = x.data,
        .x_stride = (size_t)x.width,
        .x_rows = compute->batch->logit_rows,
        .y = logits,
        .y_stride = (size_t)model->n_vocab,
        .n_rows = compute->batch->n_logits,
    };
    cpu_linear_run(compute, &job, 1);
    if (model->head_bias.data == NULL && model->logit_multiplier == 1.0f && model->logit_softcap == 0.0f) return;
    LogitsRun run = {compute, model, logits};
    thread_pool_run(compute->pool, logits_task, &run, compute->batch->n_logits);
}
