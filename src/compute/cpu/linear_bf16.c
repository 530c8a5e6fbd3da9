/*
 * linear_bf16.c - the loop nest around products of BF16 in tiles (bf16.h).
 *
 * First the input's rows are rounded, in groups of 16: once for all jobs that take them as they come, and once for each choice of
 * rows that a job makes, so that a tile always finds its rows beside each other. A small input is rounded by every thread for
 * itself. Then as many rows as the second cache can hold beside weights are multiplied with all weights, and then the next ones:
 * weights can be fetched while others are multiplied, so that reading them twice costs less than reading activations from the third
 * cache for each block of weights. Where rows are too long for that, a task has many weight rows (BF16_PANELS).
 */
#include "compute/cpu/cpu_compute.h"

/* From so many activation rows on tasks of long rows are as large as threads leave room for, and gates are activated at once. */
enum { MANY_ROWS = 128, TASKS_A_THREAD = 4 };

typedef struct Bf16Run {
    CpuCompute *compute;
    const LinearInput *input;
    const LinearJob *jobs;
    int32_t n_jobs;
    int32_t task_rows, n_groups;
    int32_t first, n_acts; /* which rows of every job are multiplied at present, at most */
    bool private; /* each thread has its own rounded input */
    uint64_t number;
} Bf16Run;

static bool is_bf16(const CpuCompute *compute, const LinearJob *job)
{
    return product_kind(compute->kernels, job->weight) == PRODUCT_BF16;
}

/* ---- the input ---- */

static void round_group(const Bf16Run *run, const LinearJob *job, int32_t group, uint16_t *acts)
{
    const LinearInput *input = run->input;
    const int32_t first = group * BF16_ROWS, n = min_i32(BF16_ROWS, job->n_rows - first);
    const float *rows[BF16_ROWS];
    for (int32_t i = 0; i < n; i++) rows[i] = input_floats(input, input_row(job, first + i));
    run->compute->kernels->bf16_round(rows, n, input->cols, acts + (size_t)(job->first_act + first) * (size_t)input->cols);
}

static void round_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const Bf16Run *run = context;
    const LinearJob *job = run->jobs;
    while (job + 1 < run->jobs + run->n_jobs && task >= job[1].first_group) job++;
    round_group(run, job, task - job->first_group, run->compute->bf16_acts);
}

/* A thread's own copy, at its first task of a run. */
static const uint16_t *rounded_input(const Bf16Run *run, int32_t thread)
{
    if (!run->private) return run->compute->bf16_acts;
    ThreadScratch *scratch = &run->compute->threads[thread];
    if (scratch->rounded == run->number) return scratch->bf16_acts;
    scratch->rounded = run->number;
    const LinearJob *job = run->jobs;
    for (int32_t group = 0; group < run->n_groups; group++) {
        while (job + 1 < run->jobs + run->n_jobs && group >= job[1].first_group) job++;
        round_group(run, job, group - job->first_group, scratch->bf16_acts);
    }
    return scratch->bf16_acts;
}

/* Gives each choice of rows its place; returns how many rows they are together. */
static int32_t place_inputs(Bf16Run *run, LinearJob *jobs)
{
    const LinearJob *before = NULL;
    int32_t n_acts = 0;
    for (int32_t i = 0; i < run->n_jobs; i++) {
        LinearJob *job = &jobs[i];
        job->first_group = run->n_groups;
        if (!is_bf16(run->compute, job)) continue;
        const bool same = before != NULL && before->x_rows == job->x_rows && before->n_rows == job->n_rows;
        job->first_act = same ? before->first_act : n_acts;
        before = job;
        if (same) continue;
        n_acts += job->n_rows;
        run->n_groups += blocks_of(job->n_rows, BF16_ROWS);
    }
    return n_acts;
}

/* ---- products ---- */

/* Panels of weight rows from `row` on times the rows of the job whose turn it is. */
static void multiply(const Bf16Run *run, const LinearJob *job, const uint8_t *panels, int64_t row, int32_t n_rows,
                     const uint16_t *acts, Bf16Sums *sums)
{
    const Bf16Product product = {
        .panels = panels,
        .n_rows = n_rows,
        .n_acts = min_i32(run->n_acts, job->n_rows - run->first),
        .cols = job->weight->cols,
        .acts = acts + (size_t)(job->first_act + run->first) * (size_t)job->weight->cols,
        .sums = sums,
        .y = job->y + row + (job->y_rows != NULL ? 0 : (size_t)run->first * job->y_stride),
        .y_stride = job->y_stride,
        .y_rows = job->y_rows != NULL ? job->y_rows + run->first : NULL,
        .bias = job->bias != NULL ? job->bias + row : NULL,
        .scale = job->weight->scale,
    };
    run->compute->kernels->bf16_multiply(&product);
}

static void multiply_rows(const Bf16Run *run, const LinearJob *job, int64_t row, int32_t n_rows, int32_t thread)
{
    const Weight *weight = job->weight;
    ThreadScratch *scratch = &run->compute->threads[thread];
    const uint16_t *acts = rounded_input(run, thread);
    const size_t bytes = bf16_panel_bytes(weight->cols);
    if (weight->prepared != NULL) {
        const uint8_t *panels = (const uint8_t *)weight->prepared + (size_t)(row / PANEL_ROWS) * bytes;
        multiply(run, job, panels, row, n_rows, acts, scratch->bf16_sums);
        return;
    }
    for (int32_t done = 0; done < n_rows; done += PACKED_ROWS) {
        const int32_t n = min_i32(PACKED_ROWS, n_rows - done);
        for (int32_t r = 0; r < n; r += PANEL_ROWS)
            panel_pack(run->compute->kernels, weight, row + done + r, scratch->panel + (size_t)(r / PANEL_ROWS) * bytes);
        multiply(run, job, scratch->panel, row + done, n, acts, scratch->bf16_sums);
    }
}

static int32_t job_tasks(const Bf16Run *run, const LinearJob *job)
{
    return is_bf16(run->compute, job) ? (int32_t)((job->weight->rows + run->task_rows - 1) / run->task_rows) : 0;
}

/* The task that comes at a place where every thread is to read the memory of its own node. */
static int32_t task_of_lanes(const Bf16Run *run, int32_t place)
{
    int32_t counts[LANE_JOBS];
    for (int32_t i = 0; i < run->n_jobs; i++) counts[i] = job_tasks(run, &run->jobs[i]);
    const TaskPlace at = task_in_lanes(counts, run->n_jobs, thread_pool_size(run->compute->pool), place);
    return run->jobs[at.weight].first_task + at.task;
}

static void multiply_task(void *context, int32_t task, int32_t thread)
{
    const Bf16Run *run = context;
    const LinearJob *job = run->jobs;
    if (run->compute->backend->n_nodes > 1 && run->n_jobs <= LANE_JOBS) task = task_of_lanes(run, task);
    while (job + 1 < run->jobs + run->n_jobs && task >= job[1].first_task) job++;
    const int64_t row = (int64_t)(task - job->first_task) * run->task_rows, left = job->weight->rows - row;
    if (job->n_rows > run->first) multiply_rows(run, job, row, left < run->task_rows ? (int32_t)left : run->task_rows, thread);
}

/* ---- gate and up ---- */

typedef struct GatedRun {
    Bf16Run base; /* one job: its weight is the gate, its output `up` */
    const FeedForward *spec;
} GatedRun;

static Bf16Product gated_product(const Bf16Run *run, const Weight *weight, const Vector *bias, int64_t first, int32_t n)
{
    return (Bf16Product){
        .n_acts = min_i32(run->n_acts, run->jobs[0].n_rows - run->first),
        .acts = run->compute->bf16_acts + (size_t)run->first * (size_t)weight->cols,
        .panels = (const uint8_t *)weight->prepared + (size_t)(first / PANEL_ROWS) * bf16_panel_bytes(weight->cols),
        .n_rows = n,
        .cols = weight->cols,
        .bias = bias->data != NULL ? bias->data + first : NULL,
        .scale = weight->scale,
    };
}

/* Some columns of gate and up, which never leave the cache: in the output, rows are so far apart that few sets of the cache would have to
 * hold them all. */
static void gated_task(void *context, int32_t task, int32_t thread)
{
    const GatedRun *run = context;
    const LinearJob *job = run->base.jobs;
    const FeedForward *spec = run->spec;
    const CpuKernels *kernels = run->base.compute->kernels;
    const int64_t first = (int64_t)task * TASK_ROWS, left = spec->up.rows - first;
    const int32_t n = left < TASK_ROWS ? (int32_t)left : TASK_ROWS;
    Bf16Product gate = gated_product(&run->base, &spec->gate, &spec->gate_bias, first, n);
    Bf16Product up = gated_product(&run->base, &spec->up, &spec->up_bias, first, n);
    gate.y = run->base.compute->threads[thread].bf16_gated;
    up.y = gate.y + BF16_GATED_FLOATS / 2;
    gate.y_stride = up.y_stride = TASK_ROWS;
    kernels->bf16_multiply(&gate);
    kernels->bf16_multiply(&up);
    for (int32_t i = 0; i < up.n_acts; i++)
        kernels->activate(spec->activation, spec->limit, gate.y + i * TASK_ROWS, up.y + i * TASK_ROWS,
                          job->y + (size_t)(run->base.first + i) * job->y_stride + first, n);
}

bool cpu_gated_bf16(CpuCompute *compute, const FeedForward *spec, Act x, Act up)
{
    const int32_t n_rows = compute->batch->n_rows;
    const int64_t cols = spec->gate.cols;
    if (n_rows < MANY_ROWS || !weight_present(&spec->gate) || cols > BF16_PIECE * BF16_COLS || spec->gate.prepared == NULL ||
        spec->up.prepared == NULL || product_kind(compute->kernels, &spec->gate) != PRODUCT_BF16 ||
        product_kind(compute->kernels, &spec->up) != PRODUCT_BF16)
        return false;
    const LinearInput input = {.x = x.data, .stride = (size_t)x.width, .n_rows = n_rows, .cols = x.width};
    LinearJob job = {.weight = &spec->gate, .y = up.data, .y_stride = (size_t)up.width, .n_rows = n_rows};
    GatedRun run = {.base = {.compute = compute, .input = &input, .jobs = &job, .n_jobs = 1}, .spec = spec};
    place_inputs(&run.base, &job);
    thread_pool_run(compute->pool, round_task, &run.base, run.base.n_groups);
    run.base.n_acts = bf16_acts_at_once(cols);
    for (; run.base.first < n_rows; run.base.first += run.base.n_acts)
        thread_pool_run(compute->pool, gated_task, &run, blocks_of((int32_t)spec->up.rows, TASK_ROWS));
    return true;
}

/* ---- the plan ---- */

/* Places the tasks; returns their number. *bytes: of all weights, times what their products cost beside reading them. */
static int32_t place_tasks(const Bf16Run *run, LinearJob *jobs, size_t *bytes)
{
    int32_t n_tasks = 0;
    *bytes = 0;
    for (int32_t i = 0; i < run->n_jobs; i++) {
        jobs[i].first_task = n_tasks;
        n_tasks += job_tasks(run, &jobs[i]);
        if (!is_bf16(run->compute, &jobs[i])) continue;
        *bytes += jobs[i].weight->row_bytes * (size_t)jobs[i].weight->rows * (size_t)(1 + jobs[i].n_rows / 64);
    }
    return n_tasks;
}

void cpu_linear_bf16(CpuCompute *compute, const LinearInput *input, LinearJob *jobs, int32_t n_jobs)
{
    Bf16Run run = {.compute = compute, .input = input, .jobs = jobs, .n_jobs = n_jobs};
    const int32_t n_acts = place_inputs(&run, jobs), n_threads = thread_pool_size(compute->pool);
    if (n_acts == 0) return;
    int32_t n_tasks, most = 0;
    size_t bytes;
    run.n_acts = bf16_acts_at_once(input->cols);
    for (int32_t i = 0; i < n_jobs; i++) {
        if (!is_bf16(compute, &jobs[i])) continue;
        most = max_i32(most, jobs[i].n_rows);
        if (jobs[i].weight->prepared == NULL) run.n_acts = BF16_ACTS; /* re-laying panels twice would cost more */
    }
    run.task_rows = n_acts >= MANY_ROWS && input->cols > BF16_PIECE * BF16_COLS ? BF16_PANELS * BF16_ROWS : TASK_ROWS;
    while ((n_tasks = place_tasks(&run, jobs, &bytes)) < TASKS_A_THREAD * n_threads && run.task_rows > TASK_ROWS)
        run.task_rows /= 2;
    run.private = n_acts <= PRIVATE_ROWS && (int64_t)n_acts * input->cols <= PRIVATE_FLOATS;
    run.number = ++compute->n_linear_runs;
    if (!run.private)
        thread_pool_run_sized(compute->pool, round_task, &run, run.n_groups,
                              (size_t)n_acts * (size_t)input->cols * 2 * sizeof(float));
    for (; run.first < most; run.first += run.n_acts)
        thread_pool_run_sized(compute->pool, multiply_task, &run, n_tasks, bytes);
}
