/*
 * bench.c - --bench: prompts and decoding measured apart, as imp-bench does over many combinations, with this program's
 * model, context and configuration.
 *
 *   ppN      a prompt of N tokens, in chunks of runtime.prefill_chunk_size
 *   tgN      N tokens decoded one after the other by one sequence
 *   tgN x B  the same by B sequences together, when runtime.max_batch_size was set
 */
#include "cli.h"

#include "imp/bench.h"

#include <string.h>

enum { MAX_LINES = 3 };

typedef struct BenchLine {
    char name[64];
    ImpBenchTest test;
    ImpBenchResult result;
} BenchLine;

typedef struct Bench {
    Session *session;
    ImpMachineSpeed machine;
    BenchLine lines[MAX_LINES];
    size_t n_lines;
} Bench;

static int32_t int32_of(const Session *session, const char *key)
{
    return (int32_t)imp_settings_int(session->settings, key);
}

/* Of what a line reaches: bytes and multiply-adds a second. */
static double read_rate(const BenchLine *line) { return line->result.tokens_per_second * line->result.bytes_per_token; }
static double madd_rate(const BenchLine *line) { return line->result.tokens_per_second * line->result.madds_per_token; }

/* Percent of what the machine can do; the closer of the two limits is the one that holds a line back. */
static double percent(double rate, double limit) { return limit > 0 ? 100 * rate / limit : 0; }

/* Quantized weights can be multiplied in 8 bits, others as floats. */
static double best_madds(const Bench *bench)
{
    static const char *const floats[] = {"F32", "F16", "BF16"};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        if (strcmp(bench->session->info.weight_type, floats[i]) == 0) return bench->machine.float_madds;
    return bench->machine.int8_madds;
}

/* ---- measuring ---- */

static void add_line(Bench *bench, int32_t n_prompt, int32_t n_generate, int32_t n_sequences)
{
    if (n_prompt + n_generate == 0) return;
    BenchLine *line = &bench->lines[bench->n_lines++];
    *line = (BenchLine){.test = {.size = sizeof line->test,
                                 .n_prompt = n_prompt,
                                 .n_generate = n_generate,
                                 .n_sequences = n_sequences,
                                 .depth = int32_of(bench->session, "bench.depth"),
                                 .reps = int32_of(bench->session, "bench.reps")}};
    int length = snprintf(line->name, sizeof line->name, n_prompt > 0 ? "pp%d" : "tg%d", n_prompt + n_generate);
    if (line->test.depth > 0)
        length += snprintf(line->name + length, sizeof line->name - (size_t)length, " @ d%d", line->test.depth);
    if (n_sequences > 1) (void)snprintf(line->name + length, sizeof line->name - (size_t)length, " x %d", n_sequences);
}

static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

static int prepare(Bench *bench)
{
    Session *session = bench->session;
    const int32_t n_prompt = int32_of(session, "bench.prompt_tokens");
    const int32_t n_generate = int32_of(session, "bench.generate_tokens");
    const bool batch = imp_settings_is_set(session->settings, "runtime.max_batch_size");
    const int32_t n_sequences = batch ? int32_of(session, "runtime.max_batch_size") : 1;
    add_line(bench, n_prompt, 0, 1);
    add_line(bench, 0, n_generate, 1);
    if (n_sequences > 1) add_line(bench, 0, n_generate, n_sequences);
    if (bench->n_lines == 0)
        return fail_usage("bench.prompt_tokens and bench.generate_tokens are both 0: there is nothing to measure");
    if (session->config.max_seq_len == 0)
        session->config.max_seq_len = int32_of(session, "bench.depth") + larger(n_prompt, n_generate);
    session->config.max_sequences = n_sequences + 1;
    session->config.max_logits = n_sequences;
    return session_start(session);
}

static int measure(Bench *bench)
{
    bench->machine.size = sizeof bench->machine;
    if (imp_bench_machine(bench->session->config.n_threads, &bench->machine) != IMP_OK) return fail_imp();
    for (size_t i = 0; i < bench->n_lines; i++) {
        BenchLine *line = &bench->lines[i];
        line->result.size = sizeof line->result;
        const ImpStatus status = imp_bench(bench->session->context, &line->test, &line->result);
        progress_clear();
        if (status != IMP_OK) return fail_imp();
    }
    return EXIT_OK;
}

/* ---- telling ---- */

static void print_table(const Bench *bench)
{
    const ImpModelInfo *info = &bench->session->info;
    (void)output_printf("%s %s, %.1f M parameters; the machine reads %.1f GB/s, multiplies %.1f Gmadd/s\n\n",
                        info->architecture, info->weight_type, (double)info->n_parameters * 1e-6,
                        bench->machine.read_bytes * 1e-9, best_madds(bench) * 1e-9);
    (void)output_printf("%-20s %10s %8s %10s %8s %6s %9s %6s\n", "test", "tok/s", "+-", "MB/token", "GB/s", "read",
                        "Gmadd/s", "math");
    for (size_t i = 0; i < bench->n_lines; i++) {
        const BenchLine *line = &bench->lines[i];
        (void)output_printf("%-20s %10.2f %8.2f %10.2f %8.2f %5.1f%% %9.2f %5.1f%%\n", line->name,
                            line->result.tokens_per_second, line->result.deviation, line->result.bytes_per_token * 1e-6,
                            read_rate(line) * 1e-9, percent(read_rate(line), bench->machine.read_bytes),
                            madd_rate(line) * 1e-9, percent(madd_rate(line), best_madds(bench)));
    }
}

static void print_json_line(const Bench *bench, const BenchLine *line, bool first)
{
    const ImpBenchTest *test = &line->test;
    (void)output_printf("%s{\"test\": \"%s\", \"prompt\": %d, \"generate\": %d, \"sequences\": %d, \"depth\": %d, "
                        "\"reps\": %d, \"tokens_per_second\": %.4f, \"deviation\": %.4f, \"best\": %.4f, "
                        "\"bytes_per_token\": %.0f, \"bytes_per_second\": %.0f, \"read_fraction\": %.4f, "
                        "\"madds_per_second\": %.0f, \"math_fraction\": %.4f}",
                        first ? "" : ", ", line->name, test->n_prompt, test->n_generate, test->n_sequences, test->depth,
                        test->reps, line->result.tokens_per_second, line->result.deviation, line->result.best,
                        line->result.bytes_per_token, read_rate(line),
                        percent(read_rate(line), bench->machine.read_bytes) / 100, madd_rate(line),
                        percent(madd_rate(line), best_madds(bench)) / 100);
}

static int print_json(const Bench *bench)
{
    const ImpModelInfo *info = &bench->session->info;
    Text names = {0};
    const bool done = text_puts(&names, "{\"architecture\": ") &&
                      text_append_json(&names, info->architecture, strlen(info->architecture)) &&
                      text_puts(&names, ", \"weights\": ") &&
                      text_append_json(&names, info->weight_type, strlen(info->weight_type));
    if (done)
        (void)output_printf("{\"model\": %s, \"parameters\": %llu, \"weight_bytes\": %llu}, \"machine\": "
                            "{\"read_bytes_per_second\": %.0f, \"float_madds_per_second\": %.0f, "
                            "\"int8_madds_per_second\": %.0f}, \"results\": [",
                            names.data, (unsigned long long)info->n_parameters, (unsigned long long)info->weight_bytes,
                            bench->machine.read_bytes, bench->machine.float_madds, bench->machine.int8_madds);
    text_free(&names);
    if (!done) return fail("out of memory");
    for (size_t i = 0; i < bench->n_lines; i++) print_json_line(bench, &bench->lines[i], i == 0);
    (void)output_printf("]}\n");
    return output_status();
}

int bench_run(Session *session)
{
    Bench bench = {.session = session};
    int code = prepare(&bench);
    if (code == EXIT_OK) code = measure(&bench);
    if (code != EXIT_OK || session->options->json) return code != EXIT_OK ? code : print_json(&bench);
    print_table(&bench);
    return output_status();
}
