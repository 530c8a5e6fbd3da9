/*
 * linear.c - the loop nest around the products: which rows, in which order, by which thread.
 *
 * A task is a block of weight rows, never a part of a sum, so threads do not meet.
 *
 * BF16 weights are linear_bf16.c's on a level that has tiles for them.
 *
 * Quantized weights (packed.h) and those in half precision (wide.h): the input's rows are turned into fixed point, all rows
 * once or, when they are few, by every thread for itself; then
 * panels of 16 weight rows, four at a time, are multiplied with all of them, PACKED_ACTS at a time. Panels come from `prepare`,
 * or are re-laid here when the model was left as it is in the file.
 *
 * The rest (float32, types without a packed format): a panel of rows is decoded to float32 and multiplied with all activation
 * rows, tile by tile; for a few activation rows half-precision rows are decoded in registers.
 */
#include "compute/cpu/cpu_compute.h"

#include <string.h>

typedef struct LinearRun {
    CpuCompute *compute;
    const LinearInput *input;
    const LinearJob *jobs;
    int32_t n_jobs;
    bool packed, wide; /* which fixed point the jobs want */
    bool private;      /* each thread has its own */
    uint64_t number;
} LinearRun;

/* Where the result of a job's i-th row goes. */
static float *output_row(const LinearJob *job, int32_t i)
{
    return job->y + (size_t)(job->y_rows != NULL ? job->y_rows[i] : i) * job->y_stride;
}

/* y = scale * sum + bias for n of a job's outputs from `first`. */
static void store_sums(const LinearJob *job, const float *sums, int64_t first, int32_t n, float *y)
{
    const float scale = job->weight->scale;
    float *restrict out = y + first;
    if (scale == 1.0f && job->bias == NULL) {
        memcpy(out, sums, (size_t)n * sizeof *out);
        return;
    }
    for (int32_t j = 0; j < n; j++) out[j] = sums[j] * scale;
    if (job->bias == NULL) return;
    const float *restrict bias = job->bias + first;
    for (int32_t j = 0; j < n; j++) out[j] += bias[j];
}

/* ---- panels ---- */

static void quantize(const LinearRun *run, int32_t row, ActChunk *acts, WideAct *wide_acts)
{
    const LinearInput *input = run->input;
    const CpuCompute *compute = run->compute;
    const float *x = input_floats(input, row);
    if (run->packed)
        compute->kernels->quantize_row(x, input->cols, compute->fine_threshold, acts + row, (size_t)input->n_rows);
    if (run->wide)
        compute->kernels->wide_quantize(x, input->cols, wide_acts + (size_t)row * (size_t)(input->cols / WIDE_COLS));
}

static void quantize_task(void *context, int32_t row, int32_t thread)
{
    (void)thread;
    const LinearRun *run = context;
    quantize(run, row, run->compute->acts, run->compute->wide_acts);
}

/* A thread's own copy, at its first task of a run. */
static void quantize_private(const LinearRun *run, ThreadScratch *scratch)
{
    if (scratch->quantized == run->number) return;
    scratch->quantized = run->number;
    for (int32_t row = 0; row < run->input->n_rows; row++) quantize(run, row, scratch->acts, scratch->wide_acts);
}

/* Multiplies panels with rows first … first + n - 1 of a job: out[i] gets the i-th one's sums of a quantized weight, `sums` all of
 * another's. */
static void multiply_panels(const LinearRun *run, const LinearJob *job, const uint8_t *const panels[PACKED_PANELS], int n_panels,
                            int32_t first, int32_t n, const ThreadScratch *scratch, float *sums, float *const out[])
{
    const CpuCompute *compute = run->compute;
    const PackedFormat *format = packed_format(job->weight->type);
    const int64_t cols = job->weight->cols;
    if (format != NULL) {
        ActRows acts;
        acts.stride = (size_t)run->input->n_rows;
        acts.n = n;
        const ActChunk *rows = run->private ? scratch->acts : compute->acts;
        for (int32_t i = 0; i < n; i++) acts.first[i] = rows + input_row(job, first + i);
        compute->kernels->packed_multiply(format, panels, n_panels, cols, &acts, scratch->packed, out);
    } else {
        const WideAct *acts[PACKED_ACTS], *rows = run->private ? scratch->wide_acts : compute->wide_acts;
        for (int32_t i = 0; i < n; i++) acts[i] = rows + input_row(job, first + i) * (cols / WIDE_COLS);
        compute->kernels->wide_multiply(panels, n_panels, cols, acts, n, sums);
    }
}

/* The panels from weight row `row` on, `n_rows` rows of them within the weight. */
static void weight_panels(const LinearRun *run, const LinearJob *job, int64_t row, int32_t n_rows, ThreadScratch *scratch)
{
    const Weight *weight = job->weight;
    const size_t bytes = panel_bytes(run->compute->kernels, weight);
    const uint8_t *panels[PACKED_PANELS] = {NULL};
    const int n_panels = (n_rows + PANEL_ROWS - 1) / PANEL_ROWS;
    for (int p = 0; p < n_panels; p++) {
        if (weight->prepared != NULL) {
            panels[p] = (const uint8_t *)weight->prepared + (size_t)(row / PANEL_ROWS + p) * bytes;
            continue;
        }
        uint8_t *panel = scratch->panel + (size_t)p * bytes;
        panel_pack(run->compute->kernels, weight, row + p * PANEL_ROWS, panel);
        panels[p] = panel;
    }
    /* Whole panels whose sums are the results already. */
    const bool direct = packed_format(weight->type) != NULL && n_rows % PANEL_ROWS == 0 && weight->scale == 1.0f && job->bias == NULL;
    for (int32_t first = 0; first < job->n_rows; first += PACKED_ACTS) {
        const int32_t n = min_i32(PACKED_ACTS, job->n_rows - first);
        _Alignas(64) float sums[PACKED_OUT];
        float *out[PACKED_ACTS];
        for (int32_t i = 0; i < n; i++) out[i] = direct ? output_row(job, first + i) + row : sums + i * PACKED_ROWS;
        multiply_panels(run, job, panels, n_panels, first, n, scratch, sums, out);
        for (int32_t i = 0; i < n && !direct; i++)
            store_sums(job, sums + i * PACKED_ROWS, row, n_rows, output_row(job, first + i));
    }
}

/* ---- float ---- */

/* Whether the rows can be multiplied where they lie: a kernel knows their type, they are aligned, and decoding them once
 * for many activation rows would not pay. */
static bool multiply_in_place(const Weight *weight, int32_t n_acts)
{
    const size_t size = weight->type == DT_F32 ? sizeof(float) : sizeof(uint16_t);
    return weight->type <= DT_BF16 && (weight->type == DT_F32 || n_acts <= DOT_TILE_ACTS) &&
           (uintptr_t)weight->data % size == 0;
}

/* Pointers to `n` rows of a weight: into the file, or decoded to float32 into `panel`. Returns their type. */
static DType weight_rows(const CpuKernels *kernels, const LinearJob *job, int64_t first, int32_t n, float *panel,
                         const void *rows[])
{
    const Weight *weight = job->weight;
    const bool in_place = multiply_in_place(weight, job->n_rows);
    for (int32_t r = 0; r < n; r++) {
        const uint8_t *bytes = weight->data + (size_t)(first + r) * weight->row_bytes;
        float *decoded = panel + (size_t)r * (size_t)weight->cols;
        if (!in_place) kernels_decoder(kernels, weight->type)(bytes, decoded, (size_t)weight->cols);
        rows[r] = in_place ? (const void *)bytes : decoded;
    }
    return in_place ? weight->type : DT_F32;
}

/* One panel's rows times all activation rows of the job. */
static void float_panel(const LinearRun *run, const LinearJob *job, int64_t first, int32_t n, ThreadScratch *scratch)
{
    const CpuKernels *kernels = run->compute->kernels;
    const void *rows[LINEAR_PANEL_ROWS];
    const DType type = weight_rows(kernels, job, first, n, (float *)(void *)scratch->panel, rows);
    /* A tile always has DOT_TILE_ROWS rows: the last one's repeat stands in for those past the end. */
    for (int32_t r = n; r < round_up_i32(n, DOT_TILE_ROWS); r++) rows[r] = rows[n - 1];
    for (int32_t a = 0; a < job->n_rows; a += DOT_TILE_ACTS) {
        const int32_t n_acts = min_i32(DOT_TILE_ACTS, job->n_rows - a);
        const float *acts[DOT_TILE_ACTS];
        for (int32_t i = 0; i < n_acts; i++) acts[i] = input_floats(run->input, input_row(job, a + i));
        for (int32_t r = 0; r < n; r += DOT_TILE_ROWS) {
            float sums[DOT_TILE_ACTS * DOT_TILE_ROWS];
            kernels->dot_tile[type](rows + r, acts, n_acts, (int32_t)job->weight->cols, sums);
            for (int32_t i = 0; i < n_acts; i++)
                store_sums(job, sums + i * DOT_TILE_ROWS, first + r, min_i32(DOT_TILE_ROWS, n - r),
                           output_row(job, a + i));
        }
    }
}

/* ---- the loop ---- */

/* None of a weight that is multiplied in linear_bf16.c. */
static int32_t job_tasks(const CpuCompute *compute, const LinearJob *job)
{
    return product_kind(compute->kernels, job->weight) == PRODUCT_BF16 ? 0 : blocks_of((int32_t)job->weight->rows, TASK_ROWS);
}

/* The task that comes at a place where every thread is to read the memory of its own node. */
static int32_t task_of_lanes(const LinearRun *run, int32_t place)
{
    int32_t counts[LANE_JOBS];
    for (int32_t i = 0; i < run->n_jobs; i++) counts[i] = job_tasks(run->compute, &run->jobs[i]);
    const TaskPlace at = task_in_lanes(counts, run->n_jobs, thread_pool_size(run->compute->pool), place);
    return run->jobs[at.weight].first_task + at.task;
}

static void linear_task(void *context, int32_t task, int32_t thread)
{
    const LinearRun *run = context;
    const LinearJob *job = run->jobs;
    if (run->compute->backend->n_nodes > 1 && run->n_jobs <= LANE_JOBS) task = task_of_lanes(run, task);
    while (job + 1 < run->jobs + run->n_jobs && task >= job[1].first_task) job++;
    ThreadScratch *scratch = &run->compute->threads[thread];
    if (run->private) quantize_private(run, scratch);
    const int64_t first = (int64_t)(task - job->first_task) * TASK_ROWS;
    const int64_t end = first + TASK_ROWS < job->weight->rows ? first + TASK_ROWS : job->weight->rows;
    if (product_kind(run->compute->kernels, job->weight) != PRODUCT_FLOAT) {
        for (int64_t row = first; row < end; row += PACKED_ROWS)
            weight_panels(run, job, row, end - row < PACKED_ROWS ? (int32_t)(end - row) : PACKED_ROWS, scratch);
        return;
    }
    const int32_t panel_rows = job->n_rows == 1 ? DOT_TILE_ROWS : LINEAR_PANEL_ROWS;
    for (int64_t row = first; row < end; row += panel_rows)
        float_panel(run, job, row, end - row < panel_rows ? (int32_t)(end - row) : panel_rows, scratch);
}

void cpu_linear_run(CpuCompute *compute, const LinearInput *input, LinearJob *jobs, int32_t n_jobs)
{
    LinearRun run = {.compute = compute, .input = input, .jobs = jobs, .n_jobs = n_jobs};
    int32_t n_tasks = 0;
    size_t bytes = 0;
    cpu_linear_bf16(compute, input, jobs, n_jobs);
    for (int32_t i = 0; i < n_jobs; i++) {
        const ProductKind kind = product_kind(compute->kernels, jobs[i].weight);
        jobs[i].first_task = n_tasks;
        if (kind == PRODUCT_BF16) continue;
        /* The first rows come with the weights' bytes, more of them cost computing. */
        bytes += jobs[i].weight->row_bytes * (size_t)jobs[i].weight->rows * (size_t)(1 + jobs[i].n_rows / 8);
        n_tasks += job_tasks(compute, &jobs[i]);
        run.packed = run.packed || kind == PRODUCT_PACKED;
        run.wide = run.wide || kind == PRODUCT_WIDE;
    }
    if (n_tasks == 0) return;
    run.private = (run.packed || run.wide) && input->n_rows <= PRIVATE_ROWS &&
                  (int64_t)input->n_rows * input->cols <= PRIVATE_FLOATS;
    run.number = ++compute->n_linear_runs;
    /* A float takes as long as reading six. */
    if ((run.packed || run.wide) && !run.private)
        thread_pool_run_sized(compute->pool, quantize_task, &run, input->n_rows,
                              (size_t)input->n_rows * (size_t)input->cols * 6 * sizeof(float));
    thread_pool_run_sized(compute->pool, linear_task, &run, n_tasks, bytes);
}

void cpu_linear(Compute *base, Act x, const LinearOutput *outputs, int32_t n_outputs)
{
    enum { TOGETHER = 8 };
    CpuCompute *compute = cpu_compute(base);
    const int32_t n_rows = compute->batch->n_rows;
    const LinearInput input = {.x = x.data, .stride = (size_t)x.width, .n_rows = n_rows, .cols = x.width};
    for (int32_t done = 0; done < n_outputs; done += TOGETHER) {
        const int32_t n = min_i32(TOGETHER, n_outputs - done);
        LinearJob jobs[TOGETHER];
        for (int32_t i = 0; i < n; i++) {
            const LinearOutput *output = &outputs[done + i];
            jobs[i] = (LinearJob){
                .weight = output->weight,
                .bias = output->bias != NULL ? output->bias->data : NULL,
                .y = output->y.data,
                .y_stride = (size_t)output->y.width,
                .n_rows = n_rows,
            };
        }
        cpu_linear_run(compute, &input, jobs, n);
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
    const Batch *batch = compute->batch;
    const LinearInput input = {
        .x = x.data,
        .stride = (size_t)x.width,
        .rows = batch->logit_rows,
        .n_rows = batch->n_logits,
        .cols = x.width,
    };
    LinearJob job = {
        .weight = &model->head,
        .y = logits,
        .y_stride = (size_t)model->n_vocab,
        .n_rows = batch->n_logits,
    };
    cpu_linear_run(compute, &input, &job, 1);
    if (model->head_bias.data == NULL && model->logit_multiplier == 1.0f && model->logit_softcap == 0.0f) return;
    LogitsRun run = {compute, model, logits};
    thread_pool_run(compute->pool, logits_task, &run, batch->n_logits);
}
