/*
 * api_bench.c - runs with a clock around them.
 *
 * Tokens are drawn evenly from the vocabulary by a fixed rule: what they are does not matter to dense layers, and
 * spreads the load over experts. Between runs a sequence goes back to its depth; where its state cannot go back the
 * depth is computed anew, outside of the measured time. Of the logits comes to the host what a program would get that
 * generates text: the logits where the host draws, the most probable token where the backend does.
 */
#include "api/api.h"

#include "compute/cpu/cpu_speed.h"
#include "core/clock.h"
#include "imp/bench.h"
#include "model/model_cost.h"

#include <math.h>
#include <stdlib.h>

typedef struct Bench {
    ImpContext context;
    ImpBenchTest test;
    int32_t length; /* tokens of each sequence: depth, prompt, decoded */
    int32_t n_open;
    int32_t *sequences;   /* [n_sequences] */
    int32_t *tokens;      /* [n_sequences][length] */
    StepInput *inputs;    /* [n_sequences] */
    float *logits;        /* [n_sequences][n_vocab]; where the backend draws nothing comes there */
    SampleRow *samples;   /* [n_sequences] the most probable token each, by a backend that draws */
    SampleResult *sampled;
} Bench;

static ImpStatus check_test(ImpContext context, const ImpBenchTest *test)
{
    const RunnerOptions *options = runner_options(context->runner);
    if (test->n_prompt < 0 || test->n_generate < 0 || test->depth < 0 || test->n_sequences < 1 || test->reps < 1 ||
        (test->n_prompt == 0 && test->n_generate == 0))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a benchmark of %d + %d tokens by %d sequences, %d times",
                        (int)test->n_prompt, (int)test->n_generate, (int)test->n_sequences, (int)test->reps);
    if (test->n_sequences >= options->max_sequences)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the context has room for %d sequences besides its own, not for %d",
                        (int)options->max_sequences - 1, (int)test->n_sequences);
    const int64_t length = (int64_t)test->depth + test->n_prompt + test->n_generate;
    if (length > options->max_tokens)
        return imp_fail(IMP_ERR_CONTEXT_FULL, "sequences of %lld tokens are to be measured, the context holds %d",
                        (long long)length, (int)options->max_tokens);
    return IMP_OK;
}

static ImpStatus create_bench(Bench *bench, ImpContext context, const ImpBenchTest *test)
{
    IMP_TRY(check_test(context, test));
    const size_t n_sequences = (size_t)test->n_sequences, n_vocab = (size_t)context->model->model->n_vocab;
    *bench = (Bench){.context = context, .test = *test, .length = test->depth + test->n_prompt + test->n_generate};
    const size_t n_tokens = n_sequences * (size_t)bench->length;
    bench->sequences = calloc(n_sequences, sizeof *bench->sequences);
    bench->tokens = calloc(n_tokens, sizeof *bench->tokens);
    bench->inputs = calloc(n_sequences, sizeof *bench->inputs);
    bench->logits = runner_logits_alloc(context->runner, test->n_sequences);
    bench->samples = calloc(n_sequences, sizeof *bench->samples);
    bench->sampled = calloc(n_sequences, sizeof *bench->sampled);
    if (bench->sequences == NULL || bench->tokens == NULL || bench->inputs == NULL || bench->logits == NULL ||
        bench->samples == NULL || bench->sampled == NULL)
        return imp_fail_memory(n_sequences * n_vocab * sizeof *bench->logits);
    uint64_t state = 1; /* a linear congruential generator; its upper half is even enough */
    for (size_t i = 0; i < n_tokens; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bench->tokens[i] = (int32_t)((state >> 33) % n_vocab);
    }
    for (; bench->n_open < test->n_sequences; bench->n_open++)
        IMP_TRY(imp_sequence_open(context, &bench->sequences[bench->n_open]));
    return IMP_OK;
}

static void free_bench(Bench *bench)
{
    while (bench->n_open > 0) (void)imp_sequence_close(bench->context, bench->sequences[--bench->n_open]);
    free(bench->sequences);
    free(bench->tokens);
    free(bench->inputs);
    free(bench->samples);
    free(bench->sampled);
    if (bench->context) runner_logits_free(bench->context->runner, bench->logits);
}

/* One step; each sequence that wants logits gets its next token from them, if the backend draws. */
static ImpStatus step(Bench *bench, int32_t n_inputs)
{
    Runner *runner = bench->context->runner;
    if (!runner_draws(runner)) return runner_step(runner, bench->inputs, n_inputs, bench->logits);
    int32_t n = 0;
    for (int32_t i = 0; i < n_inputs; i++)
        if (bench->inputs[i].n_logits > 0)
            bench->samples[n++] = (SampleRow){.kind = SAMPLE_GREEDY, .n_vocab = bench->context->model->model->n_vocab};
    IMP_TRY(runner_step_begin(runner, bench->inputs, n_inputs, NULL));
    if (n > 0) runner_sample(runner, bench->samples, bench->sampled);
    IMP_TRY(runner_step_end(runner));
    for (int32_t i = 0; i < n; i++)
        if (bench->sampled[i].token == SAMPLE_UNDONE) return imp_fail(IMP_ERR_INTERNAL, "the backend drew nothing");
    return IMP_OK;
}

/* Computes tokens first … first + count - 1 of every sequence in steps as full as the chunk allows; logits of each last
 * one where they are wanted. */
static ImpStatus feed(Bench *bench, int32_t first, int32_t count, bool wants_logits)
{
    const int32_t chunk = runner_options(bench->context->runner)->chunk;
    int32_t sequence = 0, done = 0;
    while (sequence < bench->test.n_sequences && count > 0) {
        int32_t n_inputs = 0;
        for (int32_t room = chunk; room > 0 && sequence < bench->test.n_sequences;) {
            const int32_t taken = count - done < room ? count - done : room;
            const int32_t *tokens = bench->tokens + (size_t)sequence * (size_t)bench->length + first + done;
            bench->inputs[n_inputs++] = (StepInput){.sequence = bench->sequences[sequence],
                                                    .tokens = tokens,
                                                    .n_tokens = taken,
                                                    .n_logits = wants_logits && done + taken == count};
            room -= taken;
            done += taken;
            if (done < count) break;
            sequence++;
            done = 0;
        }
        IMP_TRY(step(bench, n_inputs));
    }
    return IMP_OK;
}

/* Puts every sequence at its depth. */
static ImpStatus rewind_sequences(Bench *bench)
{
    bool all_there = true;
    for (int32_t s = 0; s < bench->test.n_sequences; s++) {
        int32_t kept;
        IMP_TRY(imp_sequence_truncate(bench->context, bench->sequences[s], bench->test.depth, &kept));
        all_there = all_there && kept == bench->test.depth;
    }
    if (all_there) return IMP_OK;
    for (int32_t s = 0; s < bench->test.n_sequences; s++)
        IMP_TRY(imp_sequence_truncate(bench->context, bench->sequences[s], 0, NULL));
    return feed(bench, 0, bench->test.depth, false);
}

static ImpStatus run_once(Bench *bench, double *seconds)
{
    const ImpBenchTest *test = &bench->test;
    IMP_TRY(rewind_sequences(bench));
    double (*const now)(void) = test->processor_time ? clock_processor_seconds : clock_seconds;
    const double start = now();
    IMP_TRY(feed(bench, test->depth, test->n_prompt, true));
    for (int32_t i = 0; i < test->n_generate; i++) IMP_TRY(feed(bench, test->depth + test->n_prompt + i, 1, true));
    *seconds = now() - start;
    return IMP_OK;
}

/* Adds `steps` times what one such step costs. */
static void add_cost(StepCost *total, const Model *model, const StepShape *shape, double steps)
{
    const StepCost cost = model_step_cost(model, shape);
    total->bytes += steps * cost.bytes;
    total->madds += steps * cost.madds;
}

static void count_cost(const Bench *bench, ImpBenchResult *result)
{
    const ImpBenchTest *test = &bench->test;
    const RunnerOptions *options = runner_options(bench->context->runner);
    const Model *model = bench->context->model->model;
    StepCost total = {0};
    const DTypeInfo *kv = dtype_info(options->kv_type);
    StepShape shape = {.kv_element_bytes = (double)kv->block_bytes / kv->block_elems};
    const double prompt_rows = (double)test->n_prompt * test->n_sequences;
    if (test->n_prompt > 0) {
        const double steps = ceil(prompt_rows / options->chunk);
        shape.rows = prompt_rows / steps;
        shape.sequences = shape.logits = test->n_sequences / steps;
        shape.keys = test->depth + 0.5 * (test->n_prompt + 1);
        add_cost(&total, model, &shape, steps);
    }
    shape.rows = shape.sequences = shape.logits = test->n_sequences;
    shape.keys = test->depth + test->n_prompt + 0.5 * (test->n_generate + 1);
    add_cost(&total, model, &shape, test->n_generate);
    result->bytes_per_token = total.bytes / (double)result->n_tokens;
    result->madds_per_token = total.madds / (double)result->n_tokens;
}

/* The first run fills caches and settles clocks. */
static ImpStatus measure(Bench *bench, ImpBenchResult *result)
{
    const double n_tokens = (double)result->n_tokens, reps = bench->test.reps;
    double sum = 0, squares = 0, seconds;
    IMP_TRY(run_once(bench, &seconds));
    for (int32_t i = 0; i < bench->test.reps; i++) {
        IMP_TRY(run_once(bench, &seconds));
        const double speed = n_tokens / seconds;
        sum += speed;
        squares += speed * speed;
        result->best = fmax(result->best, speed);
    }
    result->tokens_per_second = sum / reps;
    result->deviation = reps > 1 ? sqrt(fmax(squares - sum * sum / reps, 0) / (reps - 1)) : 0;
    return IMP_OK;
}

ImpStatus imp_bench(ImpContext context, const ImpBenchTest *test, ImpBenchResult *result)
{
    API_REQUIRE(context);
    API_REQUIRE(test);
    API_REQUIRE(result);
    if (test->size != sizeof *test)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "ImpBenchTest.size is %zu, which is no size of it", test->size);
    Bench bench = {0};
    ImpBenchResult value = {.n_tokens = (int64_t)test->n_sequences * ((int64_t)test->n_prompt + test->n_generate)};
    ImpStatus status = create_bench(&bench, context, test);
    if (status == IMP_OK) status = measure(&bench, &value);
    if (status == IMP_OK) count_cost(&bench, &value);
    free_bench(&bench);
    IMP_TRY(status);
    return api_write_sized(result, &value, sizeof value, "ImpBenchResult");
}

ImpStatus imp_bench_machine(int32_t n_threads, ImpMachineSpeed *speed)
{
    API_REQUIRE(speed);
    CpuSpeed measured;
    IMP_TRY(cpu_speed_measure(n_threads, &measured));
    const ImpMachineSpeed value = {
        .read_bytes = measured.read_bytes, .float_madds = measured.float_madds, .int8_madds = measured.int8_madds,
        .tile_madds = measured.tile_madds};
    return api_write_sized(speed, &value, sizeof value, "ImpMachineSpeed");
}
