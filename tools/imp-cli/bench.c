/*
 * bench.c - --bench: how fast a model reads prompts and decodes, each measured by itself from an empty context,
 * repeated, with the spread. One run of each test comes before the clock starts.
 *
 *   ppN    a prompt of N tokens, in chunks of runtime.prefill_chunk_size
 *   tgN    N tokens decoded one after the other by one sequence
 *   tgNxB  the same by B sequences together, when runtime.max_batch_size was set
 *
 * Tokens are drawn evenly from the vocabulary by a fixed rule: what they are does not matter to the speed of dense
 * layers, and spreads the load over experts.
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Bench {
    Session *session;
    int32_t n_prompt, n_generate, n_sequences, reps;
    int32_t *tokens;    /* [n_prompt or n_generate or n_sequences, whichever is most] */
    int32_t *sequences; /* [n_sequences] open ones of the batch test */
    float *logits;      /* [n_sequences][n_vocab] */
} Bench;

typedef struct BenchResult {
    char name[48];
    int64_t n_tokens;
    double mean, deviation; /* tokens per second */
} BenchResult;

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Numerical Recipes' linear congruential generator; its upper half is even enough. */
static void fill_tokens(int32_t *tokens, int32_t count, int32_t n_vocab)
{
    uint64_t state = 1;
    for (int32_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (int32_t)((state >> 33) % (uint64_t)n_vocab);
    }
}

/* ---- the tests ---- */

typedef ImpStatus BenchTest(Bench *bench);

static ImpStatus test_prompt(Bench *bench)
{
    imp_context_reset(bench->session->context);
    return imp_prefill(bench->session->context, bench->tokens, bench->n_prompt);
}

static ImpStatus test_decode(Bench *bench)
{
    ImpStatus status = IMP_OK;
    imp_context_reset(bench->session->context);
    for (int32_t i = 0; i < bench->n_generate && status == IMP_OK; i++)
        status = imp_prefill(bench->session->context, &bench->tokens[i], 1);
    return status;
}

static ImpStatus decode_together(Bench *bench)
{
    ImpStepInput inputs[64];
    ImpStatus status = IMP_OK;
    for (int32_t i = 0; i < bench->n_generate && status == IMP_OK; i++) {
        for (int32_t s = 0; s < bench->n_sequences; s++)
            inputs[s] = (ImpStepInput){
                .sequence = bench->sequences[s], .tokens = &bench->tokens[i], .n_tokens = 1, .n_logits = 1};
        status = imp_step(bench->session->context, inputs, bench->n_sequences, bench->logits);
    }
    return status;
}

static ImpStatus test_batch(Bench *bench)
{
    ImpStatus status = IMP_OK;
    int32_t open = 0;
    for (; open < bench->n_sequences && status == IMP_OK; open += status == IMP_OK)
        status = imp_sequence_open(bench->session->context, &bench->sequences[open]);
    if (status == IMP_OK) status = decode_together(bench);
    while (open > 0) (void)imp_sequence_close(bench->session->context, bench->sequences[--open]);
    return status;
}

/* Mean and sample standard deviation of the speeds of the runs. */
static int measure(Bench *bench, BenchTest *test, int64_t n_tokens, BenchResult *result)
{
    double sum = 0, squares = 0;
    for (int32_t i = -1; i < bench->reps; i++) {
        const double start = seconds();
        if (test(bench) != IMP_OK) return fail_imp();
        const double speed = (double)n_tokens / (seconds() - start);
        if (i < 0) continue;
        sum += speed;
        squares += speed * speed;
    }
    const double n = bench->reps;
    result->n_tokens = n_tokens;
    result->mean = sum / n;
    const double variance = n > 1 ? (squares - sum * sum / n) / (n - 1) : 0;
    result->deviation = variance > 0 ? sqrt(variance) : 0;
    return EXIT_OK;
}

/* ---- setting up ---- */

enum { MAX_BATCH = 64, MAX_TESTS = 3 };

static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

static int prepare(Bench *bench, Session *session)
{
    ImpSettings *settings = session->settings;
    *bench = (Bench){.session = session,
                     .n_prompt = (int32_t)imp_settings_int(settings, "bench.prompt_tokens"),
                     .n_generate = (int32_t)imp_settings_int(settings, "bench.generate_tokens"),
                     .reps = (int32_t)imp_settings_int(settings, "bench.reps")};
    if (imp_settings_is_set(settings, "runtime.max_batch_size"))
        bench->n_sequences = (int32_t)imp_settings_int(settings, "runtime.max_batch_size");
    if (bench->n_prompt == 0 && bench->n_generate == 0)
        return fail_usage("bench.prompt_tokens and bench.generate_tokens are both 0: there is nothing to measure");
    if (bench->n_sequences > MAX_BATCH)
        return fail_usage("--bench measures up to %d sequences together, runtime.max_batch_size is %d", MAX_BATCH,
                          bench->n_sequences);
    const int32_t count = larger(bench->n_prompt, bench->n_generate);
    if (session->config.max_seq_len == 0) session->config.max_seq_len = count;
    session->config.max_sequences = bench->n_sequences + 1;
    session->config.max_logits = larger(bench->n_sequences, 1);
    session->config.prefill_chunk_size = larger(session->config.prefill_chunk_size, bench->n_sequences);
    bench->tokens = calloc((size_t)count, sizeof *bench->tokens);
    bench->sequences = calloc((size_t)bench->n_sequences + 1, sizeof *bench->sequences);
    bench->logits = calloc((size_t)bench->n_sequences * (size_t)session->info.n_vocab + 1, sizeof *bench->logits);
    if (bench->tokens == NULL || bench->sequences == NULL || bench->logits == NULL)
        return fail("out of memory for %d tokens", count);
    fill_tokens(bench->tokens, count, session->info.n_vocab);
    return session_start(session);
}

static int run_tests(Bench *bench, BenchResult *results, size_t *count)
{
    int code = EXIT_OK;
    BenchResult *result = results;
    if (bench->n_prompt > 0) {
        (void)snprintf(result->name, sizeof result->name, "pp%d", bench->n_prompt);
        code = measure(bench, test_prompt, bench->n_prompt, result++);
    }
    if (code == EXIT_OK && bench->n_generate > 0) {
        (void)snprintf(result->name, sizeof result->name, "tg%d", bench->n_generate);
        code = measure(bench, test_decode, bench->n_generate, result++);
    }
    if (code == EXIT_OK && bench->n_generate > 0 && bench->n_sequences > 0) {
        (void)snprintf(result->name, sizeof result->name, "tg%dx%d", bench->n_generate, bench->n_sequences);
        code = measure(bench, test_batch, (int64_t)bench->n_generate * bench->n_sequences, result++);
    }
    *count = (size_t)(result - results);
    return code;
}

/* ---- telling ---- */

static void print_table(const Session *session, const BenchResult *results, size_t count)
{
    (void)output_printf("%s %s, %.1f M parameters, %.1f MB of weights a token\n", session->info.architecture,
                        session->info.weight_type, (double)session->info.n_parameters * 1e-6,
                        (double)session->info.bytes_per_token * 1e-6);
    (void)output_printf("%-12s %10s %12s %10s\n", "test", "tokens", "tok/s", "±");
    for (size_t i = 0; i < count; i++)
        (void)output_printf("%-12s %10lld %12.2f %9.2f\n", results[i].name, (long long)results[i].n_tokens,
                            results[i].mean, results[i].deviation);
}

static int print_json(const Session *session, const BenchResult *results, size_t count)
{
    Text name = {0};
    const bool done = text_append_json(&name, session->info.architecture, strlen(session->info.architecture)) &&
                      text_puts(&name, ", \"weights\": ") &&
                      text_append_json(&name, session->info.weight_type, strlen(session->info.weight_type));
    if (done)
        (void)output_printf("{\"architecture\": %s, \"parameters\": %llu, \"bytes_per_token\": %llu, \"results\": [",
                            name.data, (unsigned long long)session->info.n_parameters,
                            (unsigned long long)session->info.bytes_per_token);
    text_free(&name);
    if (!done) return fail("out of memory");
    for (size_t i = 0; i < count; i++)
        (void)output_printf("%s{\"test\": \"%s\", \"tokens\": %lld, \"tokens_per_second\": %.4f, \"deviation\": %.4f}",
                            i == 0 ? "" : ", ", results[i].name, (long long)results[i].n_tokens, results[i].mean,
                            results[i].deviation);
    (void)output_printf("]}\n");
    return output_status();
}

int bench_run(Session *session)
{
    Bench bench;
    BenchResult results[MAX_TESTS] = {0};
    size_t count = 0;
    int code = prepare(&bench, session);
    if (code == EXIT_OK) code = run_tests(&bench, results, &count);
    progress_clear();
    if (code == EXIT_OK && session->options->json) {
        code = print_json(session, results, count);
    } else if (code == EXIT_OK) {
        print_table(session, results, count);
    }
    free(bench.tokens);
    free(bench.sequences);
    free(bench.logits);
    return code;
}
