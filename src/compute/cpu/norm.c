/*
 * norm.c - what happens to whole rows between the matrices: norms, residual additions, activations.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

void cpu_norm_row(const CpuKernels *kernels, const Norm *norm, const float *x, float *y, int32_t n)
{
    if (norm->kind == NORM_NONE) {
        if (y != x) memcpy(y, x, (size_t)n * sizeof *y);
        return;
    }
    const float mean = norm->kind == NORM_LAYER ? kernels->sum(x, n) / (float)n : 0.0f;
    const float variance = kernels->sum_of_squares(x, mean, n) / (float)n;
    kernels->normalize(x, mean, 1.0f / sqrtf(variance + norm->eps), norm->weight.data, norm->bias.data, y, n);
}

typedef struct ResidualRun {
    CpuCompute *compute;
    Act x, y, out;
    const Norm *post_norm, *norm;
    float multiplier, scale;
} ResidualRun;

static void residual_task(void *context, int32_t row, int32_t thread)
{
    const ResidualRun *run = context;
    const CpuKernels *kernels = run->compute->kernels;
    float *x = act_row(run->x, row);
    const int32_t n = run->x.width;
    if (run->y.data != NULL) {
        const float *y = act_row(run->y, row);
        if (run->post_norm != NULL && run->post_norm->kind != NORM_NONE) {
            float *normed = run->compute->threads[thread].row;
            cpu_norm_row(kernels, run->post_norm, y, normed, n);
            y = normed;
        }
        kernels->add_scaled(x, y, run->multiplier, n);
    }
    if (run->scale != 1.0f) kernels->scale(x, run->scale, n);
    if (run->norm != NULL) cpu_norm_row(kernels, run->norm, x, act_row(run->out, row), n);
}

void cpu_residual_norm(Compute *base, Act x, Act y, const Norm *post_norm, float multiplier, float scale,
                       const Norm *norm, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    ResidualRun run = {compute, x, y, out, post_norm, norm, multiplier, scale};
    thread_pool_run_sized(compute->pool, residual_task, &run, compute->batch->n_rows, act_bytes(compute, x) * 3);
}

/* Columns of one task: a row of a decode step is split among threads too. */
enum { ACTIVATE_COLUMNS = 2048 };

typedef struct ActivateRun {
    const CpuKernels *kernels;
    Activation activation;
    float limit;
    Act gate, up, out;
    int32_t blocks;
} ActivateRun;

static void activate_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const ActivateRun *run = context;
    const int32_t row = task / run->blocks, first = task % run->blocks * ACTIVATE_COLUMNS;
    const int32_t n = min_i32(ACTIVATE_COLUMNS, run->out.width - first);
    run->kernels->activate(run->activation, run->limit, run->gate.data != NULL ? act_row(run->gate, row) + first : NULL,
                           act_row(run->up, row) + first, act_row(run->out, row) + first, n);
}

void cpu_activate(Compute *base, Activation activation, float limit, Act gate, Act up, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    ActivateRun run = {compute->kernels, activation, limit, gate, up, out, blocks_of(out.width, ACTIVATE_COLUMNS)};
    thread_pool_run_sized(compute->pool, activate_task, &run, compute->batch->n_rows * run.blocks,
                          act_bytes(compute, out) * 3);
}

void cpu_gated(Compute *base, const FeedForward *spec, Act x, Act gate, Act up)
{
    const LinearOutput projections[] = {{&spec->up, &spec->up_bias, up}, {&spec->gate, &spec->gate_bias, gate}};
    const bool has_gate = weight_present(&spec->gate);
    if (cpu_gated_bf16(cpu_compute(base), spec, x, up)) return;
    cpu_linear(base, x, projections, has_gate ? 2 : 1);
    cpu_activate(base, spec->activation, spec->limit, has_gate ? gate : (Act){0}, up, up);
}
