/*
 * experts.c - mixture of experts: route every row, group the rows by expert, run each expert once, add up.
 *
 * A slot is one (row, rank) pair, rank 0 being the row's first choice. Sorted by expert, an expert's slots become the rows
 * of three ordinary products, so its weights are read once a step. Every row then adds its slots in order of rank.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

typedef struct ExpertRun {
    CpuCompute *compute;
    const Experts *spec;
    Act x, out;
} ExpertRun;

/* ---- memory ---- */

ImpStatus experts_create(CpuCompute *compute)
{
    const Model *model = compute->base.model;
    ExpertScratch *scratch = &compute->experts;
    size_t experts = 0, used = 0, width = 0, shared = 0;
    bool on_input = false;
    for (int32_t i = 0; i < model->n_layers; i++) {
        if (model->layers[i].ffn != FFN_EXPERTS) continue;
        const Experts *spec = &model->layers[i].experts;
        if (spec->n_used < 1 || spec->n_used > spec->n_experts)
            return imp_fail(IMP_ERR_FORMAT, "layer %d uses %d of %d experts", (int)i, (int)spec->n_used,
                            (int)spec->n_experts);
        if ((size_t)spec->n_experts > experts) experts = (size_t)spec->n_experts;
        if ((size_t)spec->n_used > used) used = (size_t)spec->n_used;
        if ((size_t)spec->n_ff > width) width = (size_t)spec->n_ff;
        if ((size_t)spec->shared.n_ff > shared) shared = (size_t)spec->shared.n_ff;
        on_input = on_input || spec->weight_on_input;
    }
    if (experts == 0) return IMP_OK;
    const size_t rows = (size_t)compute->base.sizes.max_rows, slots = rows * used, embd = (size_t)model->n_embd;
    IMP_TRY(cpu_alloc(compute, rows * experts, sizeof(float), &scratch->scores));
    IMP_TRY(cpu_alloc(compute, slots, sizeof(int32_t), &scratch->chosen));
    IMP_TRY(cpu_alloc(compute, slots, sizeof(float), &scratch->weights));
    IMP_TRY(cpu_alloc(compute, experts + 1, sizeof(int32_t), &scratch->first));
    IMP_TRY(cpu_alloc(compute, slots, sizeof(int32_t), &scratch->slots));
    IMP_TRY(cpu_alloc(compute, slots, sizeof(int32_t), &scratch->slot_rows));
    IMP_TRY(cpu_alloc(compute, slots, width * sizeof(float), &scratch->gate));
    IMP_TRY(cpu_alloc(compute, slots, width * sizeof(float), &scratch->up));
    IMP_TRY(cpu_alloc(compute, slots, embd * sizeof(float), &scratch->down));
    IMP_TRY(cpu_alloc(compute, 2 * experts, sizeof(LinearJob), &scratch->jobs));
    if (on_input) IMP_TRY(cpu_alloc(compute, slots, embd * sizeof(float), &scratch->input));
    if (shared == 0) return IMP_OK;
    IMP_TRY(cpu_alloc(compute, rows, shared * sizeof(float), &scratch->shared_gate));
    IMP_TRY(cpu_alloc(compute, rows, shared * sizeof(float), &scratch->shared_up));
    IMP_TRY(cpu_alloc(compute, rows, embd * sizeof(float), &scratch->shared_down));
    return cpu_alloc(compute, rows, sizeof(float), &scratch->shared_weight);
}

/* ---- routing ---- */

static bool is_chosen(const int32_t *chosen, int32_t n, int32_t expert)
{
    for (int32_t i = 0; i < n; i++)
        if (chosen[i] == expert) return true;
    return false;
}

/* The group's best choice score, or the sum of its two best. */
static float group_value(const Experts *spec, const float *choice, int32_t group)
{
    const int32_t size = spec->n_experts / spec->n_groups;
    float best = -INFINITY, second = -INFINITY;
    for (int32_t e = group * size; e < (group + 1) * size; e++) {
        if (choice[e] > best) {
            second = best;
            best = choice[e];
        } else if (choice[e] > second) {
            second = choice[e];
        }
    }
    return spec->group_score == GROUP_BEST || size == 1 ? best : best + second;
}

/* Takes the experts of all but the best groups out of the choice. Ties go to the lower index, here and below. */
static void mask_groups(const Experts *spec, float *choice)
{
    const int32_t size = spec->n_experts / spec->n_groups;
    for (int32_t group = 0; group < spec->n_groups; group++) {
        const float value = group_value(spec, choice, group);
        int32_t better = 0;
        for (int32_t other = 0; other < spec->n_groups; other++) {
            const float rival = group_value(spec, choice, other);
            better += rival > value || (rival == value && other < group);
        }
        if (better < spec->n_groups_used) continue;
        /* The group's experts are masked later, since other groups still compare with them. */
        choice[spec->n_experts + group] = 1.0f;
    }
    for (int32_t e = 0; e < size * spec->n_groups; e++)
        if (choice[spec->n_experts + e / size] != 0.0f) choice[e] = -INFINITY;
}

static void choose(const Experts *spec, const float *choice, int32_t *chosen)
{
    for (int32_t rank = 0; rank < spec->n_used; rank++) {
        int32_t best = -1;
        for (int32_t e = 0; e < spec->n_experts; e++)
            if (!is_chosen(chosen, rank, e) && (best < 0 || choice[e] > choice[best])) best = e;
        chosen[rank] = best;
    }
}

static void weigh(const CpuKernels *kernels, const Experts *spec, const float *scores, const int32_t *chosen,
                  float *weights)
{
    for (int32_t rank = 0; rank < spec->n_used; rank++) weights[rank] = scores[chosen[rank]];
    if (spec->router_kind == ROUTER_SOFTMAX_CHOSEN) {
        const float sum = kernels->exp_sum(weights, kernels->max(weights, spec->n_used), spec->n_used);
        for (int32_t rank = 0; rank < spec->n_used; rank++) weights[rank] /= sum;
    }
    if (spec->renormalize) {
        float sum = 0.0f;
        for (int32_t rank = 0; rank < spec->n_used; rank++) sum += weights[rank];
        for (int32_t rank = 0; rank < spec->n_used; rank++) weights[rank] /= sum + spec->renormalize_eps;
    }
    for (int32_t rank = 0; rank < spec->n_used; rank++) weights[rank] *= spec->scale;
}

static void route_task(void *context, int32_t row, int32_t thread)
{
    const ExpertRun *run = context;
    const Experts *spec = run->spec;
    const CpuKernels *kernels = run->compute->kernels;
    ExpertScratch *scratch = &run->compute->experts;
    const int32_t n = spec->n_experts;
    float *scores = scratch->scores + (size_t)row * (size_t)n;
    if (spec->router_kind == ROUTER_SIGMOID) kernels->sigmoid(scores, n);
    if (spec->router_kind == ROUTER_SOFTMAX) {
        const float sum = kernels->exp_sum(scores, kernels->max(scores, n), n);
        for (int32_t e = 0; e < n; e++) scores[e] /= sum;
    }
    float *choice = run->compute->threads[thread].row; /* [n_experts], then a mark a group */
    memcpy(choice, scores, (size_t)n * sizeof *choice);
    memset(choice + n, 0, (size_t)max_i32(spec->n_groups, 0) * sizeof *choice);
    if (vector_present(&spec->choice_bias)) kernels->add_scaled(choice, spec->choice_bias.data, 1.0f, n);
    if (spec->n_groups > 1) mask_groups(spec, choice);
    int32_t *chosen = scratch->chosen + (size_t)row * (size_t)spec->n_used;
    float *weights = scratch->weights + (size_t)row * (size_t)spec->n_used;
    choose(spec, choice, chosen);
    weigh(kernels, spec, scores, chosen, weights);
    if (!spec->weight_on_input) return;
    for (int32_t rank = 0; rank < spec->n_used; rank++) {
        float *input = scratch->input + ((size_t)row * (size_t)spec->n_used + (size_t)rank) * (size_t)run->x.width;
        memcpy(input, act_row(run->x, row), (size_t)run->x.width * sizeof *input);
        kernels->scale(input, weights[rank], run->x.width);
        weights[rank] = 1.0f;
    }
}

/* Counting sort of the slots by expert: stable, so an expert's slots ascend. */
static void sort_slots(ExpertScratch *scratch, const Experts *spec, int32_t n_rows)
{
    const int32_t n_slots = n_rows * spec->n_used;
    memset(scratch->first, 0, (size_t)(spec->n_experts + 1) * sizeof *scratch->first);
    for (int32_t s = 0; s < n_slots; s++) scratch->first[scratch->chosen[s] + 1]++;
    for (int32_t e = 0; e < spec->n_experts; e++) scratch->first[e + 1] += scratch->first[e];
    for (int32_t s = 0; s < n_slots; s++) {
        const int32_t at = scratch->first[scratch->chosen[s]]++;
        scratch->slots[at] = s;
        scratch->slot_rows[at] = s / spec->n_used;
    }
    /* Each start has moved to its end. */
    for (int32_t e = spec->n_experts; e > 0; e--) scratch->first[e] = scratch->first[e - 1];
    scratch->first[0] = 0;
}

/* ---- the experts ---- */

static bool has_gate(const Weight *gate) { return gate != NULL && weight_present(gate); }

static const float *bias_of(const Vector *biases, int32_t expert)
{
    return biases != NULL ? biases[expert].data : NULL;
}

static void run_up(const ExpertRun *run)
{
    ExpertScratch *scratch = &run->compute->experts;
    const Experts *spec = run->spec;
    int32_t n_jobs = 0;
    for (int32_t e = 0; e < spec->n_experts; e++) {
        const int32_t first = scratch->first[e], n = scratch->first[e + 1] - first;
        if (n == 0) continue;
        LinearJob job = {
            .x_rows = (spec->weight_on_input ? scratch->slots : scratch->slot_rows) + first,
            .y_stride = (size_t)spec->n_ff,
            .y_rows = scratch->slots + first,
            .n_rows = n,
        };
        if (has_gate(spec->gate)) {
            job.weight = &spec->gate[e];
            job.bias = bias_of(spec->gate_bias, e);
            job.y = scratch->gate;
            scratch->jobs[n_jobs++] = job;
        }
        job.weight = &spec->up[e];
        job.bias = bias_of(spec->up_bias, e);
        job.y = scratch->up;
        scratch->jobs[n_jobs++] = job;
    }
    const int32_t n_rows = run->compute->batch->n_rows;
    const LinearInput input = {
        .x = spec->weight_on_input ? scratch->input : run->x.data,
        .stride = (size_t)run->x.width,
        .n_rows = spec->weight_on_input ? n_rows * spec->n_used : n_rows,
        .cols = run->x.width,
    };
    cpu_linear_run(run->compute, &input, scratch->jobs, n_jobs);
}

static void activate_slot_task(void *context, int32_t slot, int32_t thread)
{
    (void)thread;
    const ExpertRun *run = context;
    const Experts *spec = run->spec;
    const ExpertScratch *scratch = &run->compute->experts;
    const size_t at = (size_t)slot * (size_t)spec->n_ff;
    run->compute->kernels->activate(spec->activation, spec->limit, has_gate(spec->gate) ? scratch->gate + at : NULL,
                                    scratch->up + at, scratch->up + at, spec->n_ff);
}

static void run_down(const ExpertRun *run)
{
    ExpertScratch *scratch = &run->compute->experts;
    const Experts *spec = run->spec;
    int32_t n_jobs = 0;
    for (int32_t e = 0; e < spec->n_experts; e++) {
        const int32_t first = scratch->first[e], n = scratch->first[e + 1] - first;
        if (n == 0) continue;
        scratch->jobs[n_jobs++] = (LinearJob){
            .weight = &spec->down[e],
            .bias = bias_of(spec->down_bias, e),
            .x_rows = scratch->slots + first,
            .y = scratch->down,
            .y_stride = (size_t)run->out.width,
            .y_rows = scratch->slots + first,
            .n_rows = n,
        };
    }
    const LinearInput input = {
        .x = scratch->up,
        .stride = (size_t)spec->n_ff,
        .n_rows = run->compute->batch->n_rows * spec->n_used,
        .cols = spec->n_ff,
    };
    cpu_linear_run(run->compute, &input, scratch->jobs, n_jobs);
}

/* ---- the shared expert ---- */

static void shared_activate_task(void *context, int32_t row, int32_t thread)
{
    (void)thread;
    const ExpertRun *run = context;
    const FeedForward *shared = &run->spec->shared;
    const ExpertScratch *scratch = &run->compute->experts;
    const size_t at = (size_t)row * (size_t)shared->n_ff;
    run->compute->kernels->activate(shared->activation, shared->limit,
                                    has_gate(&shared->gate) ? scratch->shared_gate + at : NULL,
                                    scratch->shared_up + at, scratch->shared_up + at, shared->n_ff);
}

static void run_shared(ExpertRun *run)
{
    const FeedForward *shared = &run->spec->shared;
    const ExpertScratch *scratch = &run->compute->experts;
    const int32_t n_rows = run->compute->batch->n_rows;
    LinearJob jobs[3];
    int32_t n_jobs = 0;
    LinearInput input = {.x = run->x.data, .stride = (size_t)run->x.width, .n_rows = n_rows, .cols = run->x.width};
    LinearJob job = {.n_rows = n_rows};
    if (has_gate(&shared->gate)) {
        job.weight = &shared->gate;
        job.bias = shared->gate_bias.data;
        job.y = scratch->shared_gate;
        job.y_stride = (size_t)shared->n_ff;
        jobs[n_jobs++] = job;
    }
    job.weight = &shared->up;
    job.bias = shared->up_bias.data;
    job.y = scratch->shared_up;
    job.y_stride = (size_t)shared->n_ff;
    jobs[n_jobs++] = job;
    if (weight_present(&run->spec->shared_gate)) {
        job.weight = &run->spec->shared_gate;
        job.bias = NULL;
        job.y = scratch->shared_weight;
        job.y_stride = 1;
        jobs[n_jobs++] = job;
    }
    cpu_linear_run(run->compute, &input, jobs, n_jobs);
    thread_pool_run_sized(run->compute->pool, shared_activate_task, run, n_rows,
                          (size_t)n_rows * (size_t)shared->n_ff * 3 * sizeof(float));
    input.x = scratch->shared_up;
    input.stride = (size_t)shared->n_ff;
    input.cols = shared->n_ff;
    job = (LinearJob){
        .weight = &shared->down,
        .bias = shared->down_bias.data,
        .y = scratch->shared_down,
        .y_stride = (size_t)run->out.width,
        .n_rows = n_rows,
    };
    cpu_linear_run(run->compute, &input, &job, 1);
}

/* ---- the sum ---- */

static void combine_task(void *context, int32_t row, int32_t thread)
{
    (void)thread;
    const ExpertRun *run = context;
    const Experts *spec = run->spec;
    const CpuKernels *kernels = run->compute->kernels;
    const ExpertScratch *scratch = &run->compute->experts;
    const int32_t width = run->out.width;
    float *out = act_row(run->out, row);
    memset(out, 0, (size_t)width * sizeof *out);
    for (int32_t rank = 0; rank < spec->n_used; rank++) {
        const size_t slot = (size_t)row * (size_t)spec->n_used + (size_t)rank;
        kernels->add_scaled(out, scratch->down + slot * (size_t)width, scratch->weights[slot], width);
    }
    if (spec->shared.n_ff == 0) return;
    float weight = 1.0f;
    if (weight_present(&spec->shared_gate)) {
        weight = scratch->shared_weight[row];
        kernels->sigmoid(&weight, 1);
    }
    kernels->add_scaled(out, scratch->shared_down + (size_t)row * (size_t)width, weight, width);
}

void cpu_experts(Compute *base, const Experts *spec, Act x, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    const int32_t n_rows = compute->batch->n_rows;
    ExpertRun run = {compute, spec, x, out};
    const LinearInput input = {.x = x.data, .stride = (size_t)x.width, .n_rows = n_rows, .cols = x.width};
    LinearJob router = {
        .weight = &spec->router,
        .bias = spec->router_bias.data,
        .y = compute->experts.scores,
        .y_stride = (size_t)spec->n_experts,
        .n_rows = n_rows,
    };
    cpu_linear_run(compute, &input, &router, 1);
    /* Choosing compares each expert's score with the chosen ones'. */
    thread_pool_run_sized(compute->pool, route_task, &run, n_rows,
                          (size_t)n_rows * (size_t)spec->n_experts * (size_t)spec->n_used * 2 * sizeof(float));
    sort_slots(&compute->experts, spec, n_rows);
    run_up(&run);
    thread_pool_run_sized(compute->pool, activate_slot_task, &run, n_rows * spec->n_used,
                          (size_t)(n_rows * spec->n_used) * (size_t)spec->n_ff * 3 * sizeof(float));
    run_down(&run);
    if (spec->shared.n_ff > 0) run_shared(&run);
    thread_pool_run_sized(compute->pool, combine_task, &run, n_rows, act_bytes(compute, out) * (size_t)(spec->n_used + 1));
}
