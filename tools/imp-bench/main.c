/*
 * main.c - imp-bench: one context for each combination of threads and sequences, every prompt, decode and depth on it.
 *
 * As llama-bench does, a prompt and decoding are measured apart: ppN is a prompt of N tokens, tgN is N tokens decoded,
 * each behind `@ dN` tokens that were computed before, by `x N` sequences together.
 */
#include "bench_tool.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_FAILED = 1 };

static int fail(void)
{
    fprintf(stderr, "imp-bench: %s\n", imp_last_error());
    return EXIT_FAILED;
}

static int32_t largest(const Values *values)
{
    int32_t best = 0;
    for (int32_t i = 0; i < values->count; i++) best = values->values[i] > best ? values->values[i] : best;
    return best;
}

static void name_line(Line *line)
{
    const ImpBenchTest *test = &line->test;
    int length = test->n_prompt > 0 ? snprintf(line->name, sizeof line->name, "pp%d", (int)test->n_prompt)
                                    : snprintf(line->name, sizeof line->name, "tg%d", (int)test->n_generate);
    if (test->depth > 0)
        length += snprintf(line->name + length, sizeof line->name - (size_t)length, " @ d%d", (int)test->depth);
    if (test->n_sequences > 1)
        (void)snprintf(line->name + length, sizeof line->name - (size_t)length, " x %d", (int)test->n_sequences);
}

static int measure(ImpContext context, Report *report, Line *line)
{
    if (line->test.n_prompt == 0 && line->test.n_generate == 0) return 0;
    line->test.size = sizeof line->test;
    line->result = (ImpBenchResult){.size = sizeof line->result};
    if (imp_bench(context, &line->test, &line->result) != IMP_OK) return fail();
    name_line(line);
    report_line(report, line);
    return 0;
}

/* Every depth, then every prompt and every decode length at it. */
static int measure_context(ImpContext context, const Options *options, Report *report, Line *line)
{
    int code = 0;
    for (int32_t d = 0; d < options->depth.count; d++) {
        line->test.depth = options->depth.values[d];
        line->test.n_generate = 0;
        for (int32_t i = 0; i < options->prompt.count && code == 0; i++) {
            line->test.n_prompt = options->prompt.values[i];
            code = measure(context, report, line);
        }
        line->test.n_prompt = 0;
        for (int32_t i = 0; i < options->generate.count && code == 0; i++) {
            line->test.n_generate = options->generate.values[i];
            code = measure(context, report, line);
        }
    }
    return code;
}

static int measure_combination(ImpModel model, const Options *options, Report *report, int32_t threads,
                               int32_t sequences)
{
    const int32_t prompt = largest(&options->prompt), generate = largest(&options->generate);
    ImpConfig config = imp_config_default();
    config.n_threads = threads;
    config.max_seq_len = largest(&options->depth) + (prompt > generate ? prompt : generate);
    config.max_sequences = sequences + 1;
    config.max_logits = sequences;
    config.prefill_chunk_size = options->chunk;
    config.kv_type = options->kv_type;
    config.cpu_isa = options->cpu_isa;
    config.device = options->device;
    config.cuda_tier = options->cuda_tier;
    config.cuda_graphs = options->cuda_graphs;
    config.deterministic = options->deterministic;
    ImpContext context;
    if (imp_context_create(model, &config, &context) != IMP_OK) return fail();
    Line line = {.threads = threads, .test = {.n_sequences = sequences, .reps = options->reps, .processor_time = options->processor_time}};
    const int code = measure_context(context, options, report, &line);
    imp_context_free(context);
    return code;
}

int main(int argc, char **argv)
{
    Options options;
    int code;
    if (!options_read(argc, argv, &options, &code)) return code;
    ImpModel model;
    if (imp_model_load(options.model, IMP_FORMAT_AUTO, &model) != IMP_OK) return fail();
    Report report = {
        .form = options.output, .model = {.size = sizeof report.model}, .machine = {.size = sizeof report.machine}};
    if (imp_model_info(model, &report.model) != IMP_OK) code = fail();
    if (code == 0 && options.measure_machine && imp_bench_machine(largest(&options.threads), &report.machine) != IMP_OK)
        code = fail();
    if (code == 0) report_begin(&report, options.model);
    for (int32_t t = 0; t < options.threads.count; t++)
        for (int32_t s = 0; s < options.sequences.count && code == 0; s++)
            code =
                measure_combination(model, &options, &report, options.threads.values[t], options.sequences.values[s]);
    if (code == 0) report_end(&report);
    imp_model_free(model);
    return code;
}
