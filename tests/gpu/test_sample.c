/*
 * test_sample.c - tokens drawn on the GPU against those that the runtime's own sampler draws from the same logits.
 */
#include "gpu_test.h"

#include "compute/cuda/sample.h"
#include "runtime/sampler.h"

enum { MAX_ROWS = 1024 };

static bool is_short; /* a few cases only, for slow tools */

/* Rows of logits, and what is to be drawn from them. */
typedef struct Draws {
    int32_t n_rows, stride;
    float *logits; /* [n_rows][stride] */
    SampleRow rows[MAX_ROWS];
    SampleResult results[MAX_ROWS];
} Draws;

static const void *upload(const void *host, size_t bytes) { return bytes > 0 && host ? gpu_copy(host, bytes) : NULL; }

static void list_upload(SampleList *list)
{
    list->entries = upload(list->entries, (size_t)list->count * sizeof *list->entries);
}

/* Draws on the device; `after`: the logits as they are then, or NULL. */
static void draw_there(Draws *draws, float *after)
{
    const size_t n = (size_t)draws->n_rows, bytes = n * (size_t)draws->stride * sizeof(float);
    static SampleRow rows[MAX_ROWS];
    CudaSampleNeeds needs = {0};
    memcpy(rows, draws->rows, n * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        draws->results[i] = (SampleResult){.token = SAMPLE_UNDONE, .surprise = (double)NAN};
        rows[i].allowed = upload(rows[i].allowed, ((size_t)rows[i].n_vocab + 31) / 32 * sizeof(uint32_t));
        list_upload(&rows[i].bias), list_upload(&rows[i].penalties), list_upload(&rows[i].dry);
        const CudaSampleNeeds own = cuda_sample_needs(&rows[i]);
        needs.adjusting = needs.adjusting || own.adjusting;
        needs.weighing = needs.weighing || own.weighing;
    }
    const int32_t n_blocks = cuda_sample_blocks(draws->stride);
    CudaSample sample = {.n_rows = draws->n_rows,
                         .stride = draws->stride,
                         .n_blocks = n_blocks,
                         .needs = needs,
                         .logits = gpu_copy(draws->logits, bytes),
                         .rows = gpu_copy(rows, n * sizeof *rows),
                         .results = gpu_copy(draws->results, n * sizeof *draws->results),
                         .maxima = gpu_alloc(n * (size_t)n_blocks * sizeof(float)),
                         .masses = gpu_alloc(n * (size_t)n_blocks * 2 * sizeof(double))};
    cuda_sample_draw(&gpu_queue, &sample);
    gpu_read(draws->results, sample.results, n * sizeof *draws->results);
    if (after != NULL) gpu_read(after, sample.logits, bytes);
    for (size_t i = 0; i < n; i++) {
        (void)cudaFree((void *)(uintptr_t)rows[i].allowed), (void)cudaFree((void *)(uintptr_t)rows[i].bias.entries);
        (void)cudaFree((void *)(uintptr_t)rows[i].penalties.entries);
        (void)cudaFree((void *)(uintptr_t)rows[i].dry.entries);
    }
    (void)cudaFree(sample.logits), (void)cudaFree((void *)(uintptr_t)sample.rows), (void)cudaFree(sample.results);
    (void)cudaFree(sample.maxima), (void)cudaFree(sample.masses);
}

/* ---- the most probable token ---- */

/* Normal numbers, the same ones again and again a little further on: many are wanted. */
static void fill_normal(float *row, int32_t n, float mean, float width)
{
    enum { DIFFERENT = 8191 };
    static float normal[DIFFERENT];
    if (normal[0] == 0.0f)
        for (int32_t i = 0; i < DIFFERENT; i++) normal[i] = random_normal();
    uint32_t at = random_u32() % DIFFERENT;
    for (int32_t i = 0; i < n; i++, at = at + 1 < DIFFERENT ? at + 1 : 0)
        row[i] = mean + width * (normal[at] + 1e-3f * (float)(i / DIFFERENT));
}

/* Kinds of rows in which a maximum may be missed. */
static void fill_row(float *row, int32_t n, int32_t kind)
{
    fill_normal(row, n, 0.0f, 3.0f);
    if (kind == 1)
        for (int32_t i = 0; i < n; i++) row[i] = 0.0f; /* ties: the first */
    if (kind == 2)
        for (int32_t i = 0; i < n; i += 3) row[i] = NAN;
    if (kind == 3)
        for (int32_t i = 0; i < n; i++) row[i] = i % 2 != 0 ? NAN : -INFINITY; /* no token is left */
    if (kind == 4) row[random_u32() % (uint32_t)n] = row[n - 1] = INFINITY;
    if (kind == 5)
        for (int32_t i = 0; i < n; i++) row[i] = i == n - 1 ? -3.0e38f : -INFINITY;
    if (kind == 6)
        for (int32_t i = 0; i < n; i++) row[i] = i % 1000 == 999 ? 5.0f : -5.0f; /* the first of many */
}

static void test_greedy(void **state)
{
    (void)state;
    gpu_need();
    static const int32_t vocabularies[] = {1, 7, 128, 1000, 49152, 128256, 151936, 262144, 262147};
    enum { KINDS = 7, ROWS = 2 * KINDS };
    const size_t n_vocabularies = is_short ? 4 : sizeof vocabularies / sizeof vocabularies[0];
    for (size_t v = 0; v < n_vocabularies; v++) {
        const int32_t n = vocabularies[v], stride = n + 1; /* rows that do not start on 16 bytes */
        static Draws draws;
        draws.n_rows = ROWS, draws.stride = stride;
        draws.logits = calloc((size_t)ROWS * (size_t)stride, sizeof(float));
        uint32_t *allowed = malloc(((size_t)n + 31) / 32 * sizeof *allowed);
        for (int32_t i = 0; i < (n + 31) / 32; i++) allowed[i] = random_u32() & random_u32();
        SamplerParams params = sampler_default_params();
        params.temperature = 0.0f;
        Sampler *sampler;
        assert_int_equal(sampler_create(&params, n, 16, &sampler), IMP_OK);
        for (int32_t r = 0; r < ROWS; r++) {
            float *row = draws.logits + (size_t)r * (size_t)stride;
            fill_row(row, n, r % KINDS);
            row[n] = 1e9f; /* behind what may be drawn */
            assert_true(sampler_describe(sampler, r < KINDS ? NULL : allowed, 0, &draws.rows[r]));
        }
        draw_there(&draws, NULL);
        for (int32_t r = 0; r < ROWS; r++) {
            const int32_t here =
                sampler_draw(sampler, draws.logits + (size_t)r * (size_t)stride, r < KINDS ? NULL : allowed, 0);
            if (draws.results[r].token != here)
                fail_msg("vocabulary %d, row %d: token %d, not %d", n, r, draws.results[r].token, here);
        }
        sampler_free(sampler);
        free(draws.logits);
        free(allowed);
    }
}

/* ---- chains ---- */

/* A chain, as what differs from one in which every link is off. */
typedef struct TestChain {
    const char *name;
    float temperature;
    int32_t top_k;
    float top_p, min_p, typical_p; /* 0: off */
    float repeat, frequency, presence;
    float dry;
    int32_t mirostat, n_bias;
    bool masked;
    const char *order; /* a letter a link; NULL: the usual one */
} TestChain;

static const TestChain chains[] = {
    {.name = "all", .temperature = 1.0f},
    {.name = "all, colder", .temperature = 0.6f},
    {.name = "all, masked", .temperature = 0.9f, .masked = true},
    {.name = "top-k", .temperature = 0.8f, .top_k = 40},
    {.name = "top-k 1", .temperature = 0.8f, .top_k = 1},
    {.name = "top-k 500", .temperature = 1.3f, .top_k = 500},
    {.name = "top-p", .temperature = 1.0f, .top_p = 0.9f},
    {.name = "top-p, wide", .temperature = 1.0f, .top_p = 0.99f},
    {.name = "top-p behind a temperature", .temperature = 0.7f, .top_p = 0.9f, .order = "TP"},
    {.name = "min-p", .temperature = 1.1f, .min_p = 0.05f},
    {.name = "min-p behind a temperature", .temperature = 1.1f, .min_p = 0.02f, .order = "TM"},
    {.name = "typical", .temperature = 1.0f, .typical_p = 0.8f},
    {.name = "typical behind a temperature", .temperature = 0.5f, .typical_p = 0.95f, .order = "TY"},
    {.name = "default", .temperature = 0.7f, .top_k = 40, .top_p = 0.9f},
    {.name = "default with all",
     .temperature = 0.7f,
     .top_k = 100,
     .top_p = 0.95f,
     .min_p = 0.01f,
     .typical_p = 0.9f,
     .repeat = 1.2f,
     .frequency = 0.3f,
     .presence = 0.2f,
     .dry = 0.8f,
     .n_bias = 30,
     .masked = true},
    {.name = "typical first", .temperature = 1.2f, .top_k = 30, .top_p = 0.8f, .typical_p = 0.9f, .order = "YPKT"},
    {.name = "penalties", .temperature = 1.0f, .top_k = 200, .repeat = 1.5f, .frequency = 0.5f, .presence = 0.5f},
    {.name = "penalties behind top-k",
     .temperature = 1.0f,
     .top_k = 60,
     .repeat = 0.7f,
     .presence = -2.0f,
     .dry = 1.0f,
     .order = "KRDTPM",
     .top_p = 0.95f,
     .min_p = 0.01f},
    {.name = "temperature twice", .temperature = 0.3f, .top_p = 0.95f, .top_k = 20, .order = "PTK"},
    {.name = "bias", .temperature = 1.0f, .n_bias = 200},
    {.name = "mirostat", .temperature = 1.0f, .mirostat = 2},
    {.name = "mirostat, all",
     .temperature = 0.8f,
     .mirostat = 2,
     .repeat = 1.3f,
     .n_bias = 5,
     .dry = 0.5f,
     .masked = true},
    {.name = "greedy",
     .temperature = 0.0f,
     .repeat = 1.3f,
     .presence = 1.0f,
     .dry = 0.8f,
     .n_bias = 10,
     .masked = true},
    {.name = "cold", .temperature = 1e-30f, .top_k = 10},
    {.name = "hot", .temperature = 9e29f, .top_k = 10},
};
enum { N_CHAINS = sizeof chains / sizeof chains[0], MAX_BIAS = 256, HISTORY = 64 };

static SamplerParams chain_params(const TestChain *chain, LogitBias *bias, int32_t n_vocab)
{
    static const char letters[] = "RDKYPMT"; /* in the order of SamplerLink */
    SamplerParams params = sampler_default_params();
    params.temperature = chain->temperature;
    params.top_k = chain->top_k;
    params.top_p = chain->top_p > 0.0f ? chain->top_p : 1.0f;
    params.min_p = chain->min_p;
    params.typical_p = chain->typical_p > 0.0f ? chain->typical_p : 1.0f;
    params.repeat_penalty = chain->repeat > 0.0f ? chain->repeat : 1.0f;
    params.frequency_penalty = chain->frequency;
    params.presence_penalty = chain->presence;
    params.dry_multiplier = chain->dry;
    params.dry_allowed_length = 1;
    params.mirostat = chain->mirostat;
    params.seed = random_u32();
    for (int32_t i = 0; i < chain->n_bias; i++)
        bias[i] =
            (LogitBias){(int32_t)(random_u32() % (uint32_t)n_vocab), i % 9 == 8 ? -INFINITY : 2.0f * random_normal()};
    for (int32_t i = 1; i < chain->n_bias; i += 4) bias[i].token = bias[i - 1].token; /* twice the same */
    params.logit_bias = bias;
    params.n_logit_bias = chain->n_bias;
    if (chain->order != NULL) {
        params.n_links = (int32_t)strlen(chain->order);
        for (int32_t i = 0; i < params.n_links; i++)
            params.order[i] = (SamplerLink)(strchr(letters, chain->order[i]) - letters);
    }
    return params;
}

/* Logits as a model gives them: few likely tokens anywhere among many unlikely ones. */
static void fill_peaked(float *row, int32_t n, float steepness)
{
    fill_normal(row, n, -20.0f, 2.0f);
    for (int32_t rank = 0; rank < n && rank < 3000; rank++)
        row[random_u32() % (uint32_t)n] = 4.0f - steepness * logf((float)(rank + 1)) + 0.1f * random_normal();
}

typedef struct Tally {
    int32_t drawn, equal, undone;
} Tally;

/* Rows of their own samplers, drawn on the device and on the host. */
enum { CHAIN_ROWS = 12 };

static Tally compare_chain(const TestChain *chain, int32_t n, int32_t kind)
{
    static Draws draws;
    static LogitBias bias[CHAIN_ROWS][MAX_BIAS];
    const int32_t stride = n + (kind & 1 ? 4 : 0), words = (n + 31) / 32;
    const size_t floats = (size_t)CHAIN_ROWS * (size_t)stride;
    Sampler *samplers[CHAIN_ROWS];
    const int32_t n_rows = is_short ? 2 : CHAIN_ROWS;
    Tally tally = {0};
    float *after = malloc(floats * sizeof *after);
    uint32_t *allowed = malloc((size_t)words * sizeof *allowed);
    for (int32_t i = 0; i < words; i++) allowed[i] = random_u32() | random_u32();
    draws.n_rows = n_rows, draws.stride = stride;
    draws.logits = calloc(floats, sizeof(float));
    for (int32_t r = 0; r < n_rows; r++) {
        float *row = draws.logits + (size_t)r * (size_t)stride;
        if (kind == 0) fill_peaked(row, n, 1.0f + 0.2f * (float)r);
        if (kind == 1) fill_row(row, n, 0);
        if (kind == 2) fill_row(row, n, 1 + r % 6);
        const SamplerParams params = chain_params(chain, bias[r], n);
        assert_int_equal(sampler_create(&params, n, 1024, &samplers[r]), IMP_OK);
        for (int32_t i = 0; i < 2 * HISTORY; i++) /* likely ones, and what they were followed by, again and again */
            sampler_accept(samplers[r], (int32_t)(random_u32() % (i % 3 != 0 ? 12u : (uint32_t)n)) % n);
        assert_true(sampler_describe(samplers[r], chain->masked ? allowed : NULL, r * 1000 + n, &draws.rows[r]));
    }
    draw_there(&draws, after);
    for (int32_t r = 0; r < n_rows; r++) {
        float *row = draws.logits + (size_t)r * (size_t)stride;
        const SampleResult *there = &draws.results[r];
        if (there->token == SAMPLE_UNDONE) {
            tally.undone++;
            if (memcmp(row, after + (size_t)r * (size_t)stride, (size_t)stride * sizeof *row) != 0)
                fail_msg("%s of %d: the logits of an undone row were not restored", chain->name, n);
        } else {
            const int32_t here = sampler_draw(samplers[r], row, chain->masked ? allowed : NULL, r * 1000 + n);
            tally.drawn++;
            tally.equal += here == there->token;
            if (here != there->token)
                print_message("%s of %d, kind %d: %d, not %d\n", chain->name, n, kind, there->token, here);
        }
        sampler_free(samplers[r]);
    }
    free(draws.logits), free(after), free(allowed);
    return tally;
}

static void compare_chains(int32_t kind, int32_t rounds, double most_undone)
{
    static const int32_t vocabularies[] = {3000, 5, 300, 32000, 151936, 262144};
    Tally sum = {0};
    const size_t n = is_short ? 1 : sizeof vocabularies / sizeof vocabularies[0];
    for (size_t v = 0; v < n; v++) {
        for (int32_t c = 0; c < N_CHAINS; c++) {
            Tally of_chain = {0};
            for (int32_t round = 0; round < (is_short ? 1 : rounds); round++) {
                const Tally tally = compare_chain(&chains[c], vocabularies[v], kind);
                of_chain.drawn += tally.drawn, of_chain.equal += tally.equal, of_chain.undone += tally.undone;
            }
            if (of_chain.undone > 0)
                print_message("%s of %d: %d of %d left to the host\n", chains[c].name, vocabularies[v], of_chain.undone,
                              of_chain.drawn + of_chain.undone);
            sum.drawn += of_chain.drawn, sum.equal += of_chain.equal, sum.undone += of_chain.undone;
        }
    }
    print_message("%d of %d draws alike, %d left to the host\n", sum.equal, sum.drawn, sum.undone);
    assert_true((double)sum.equal >= 0.999 * sum.drawn);
    assert_true(sum.undone <= most_undone * (sum.drawn + sum.undone));
}

static void test_peaked(void **state)
{
    (void)state;
    gpu_need();
    compare_chains(0, 3, 0.0);
}

/* Where thousands of tokens are about as likely some links leave more than fit. */
static void test_flat(void **state)
{
    (void)state;
    gpu_need();
    compare_chains(1, 1, 0.2);
}

static void test_extremes(void **state)
{
    (void)state;
    gpu_need();
    compare_chains(2, 1, 0.5);
}

/* ---- the draws as a whole ---- */

static void test_distribution(void **state)
{
    (void)state;
    gpu_need();
    enum { VOCAB = 200, LIKELY = 20, LAUNCHES = 100, DRAWS = MAX_ROWS * LAUNCHES };
    static Draws draws;
    static int32_t counts[2][VOCAB];
    double weights[VOCAB], total = 0.0;
    draws.n_rows = MAX_ROWS, draws.stride = VOCAB;
    draws.logits = malloc((size_t)MAX_ROWS * VOCAB * sizeof(float));
    for (int32_t i = 0; i < VOCAB; i++) {
        const float logit = i % 10 == 3 ? random_normal() : -60.0f; /* LIKELY of them */
        for (int32_t r = 0; r < MAX_ROWS; r++) draws.logits[r * VOCAB + i] = logit;
        weights[i] = exp((double)logit);
        total += weights[i];
    }
    for (int32_t cut = 0; cut < 2; cut++) { /* in the order of ids, and in a list's */
        SamplerParams params = sampler_default_params();
        params.temperature = 1.0f, params.top_p = 1.0f, params.top_k = cut * 2 * LIKELY, params.seed = 7;
        Sampler *sampler;
        assert_int_equal(sampler_create(&params, VOCAB, 16, &sampler), IMP_OK);
        for (int32_t launch = 0; launch < LAUNCHES; launch++) {
            for (int32_t r = 0; r < MAX_ROWS; r++)
                assert_true(sampler_describe(sampler, NULL, launch * MAX_ROWS + r, &draws.rows[r]));
            draw_there(&draws, NULL);
            for (int32_t r = 0; r < MAX_ROWS; r++) {
                assert_true(draws.results[r].token >= 0);
                counts[cut][draws.results[r].token]++;
            }
        }
        sampler_free(sampler);
        double chi = 0.0;
        for (int32_t i = 0; i < VOCAB; i++) {
            const double expected = DRAWS * weights[i] / total;
            if (expected < 1e-3)
                assert_int_equal(counts[cut][i], 0);
            else
                chi += (counts[cut][i] - expected) * (counts[cut][i] - expected) / expected;
        }
        print_message("chi-square %.1f with %d degrees of freedom\n", chi, LIKELY - 1);
        assert_true(chi < 43.8); /* one in a thousand is above */
    }
    free(draws.logits);
}

/* A row's token is the same alone and among others. */
static void test_alone(void **state)
{
    (void)state;
    gpu_need();
    enum { VOCAB = 32003, ROWS = 25 };
    static Draws all, one;
    static LogitBias bias[MAX_BIAS];
    all.n_rows = ROWS, all.stride = one.stride = VOCAB, one.n_rows = 1;
    all.logits = malloc((size_t)ROWS * VOCAB * sizeof(float));
    Sampler *samplers[ROWS];
    for (int32_t r = 0; r < ROWS; r++) {
        fill_peaked(all.logits + (size_t)r * VOCAB, VOCAB, 1.2f);
        const SamplerParams params = chain_params(&chains[r % N_CHAINS], bias, VOCAB);
        assert_int_equal(sampler_create(&params, VOCAB, 64, &samplers[r]), IMP_OK);
        assert_true(sampler_describe(samplers[r], NULL, r, &all.rows[r]));
    }
    draw_there(&all, NULL);
    for (int32_t r = 0; r < ROWS; r++) {
        one.logits = all.logits + (size_t)r * VOCAB;
        one.rows[0] = all.rows[r];
        draw_there(&one, NULL);
        assert_int_equal(one.results[0].token, all.results[r].token);
        assert_memory_equal(&one.results[0].surprise, &all.results[r].surprise, sizeof(double));
        sampler_free(samplers[r]);
    }
    free(all.logits);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy), cmocka_unit_test(test_peaked),
                                       cmocka_unit_test(test_flat)};
    const struct CMUnitTest slower[] = {cmocka_unit_test(test_extremes), cmocka_unit_test(test_distribution),
                                        cmocka_unit_test(test_alone)};
    is_short = gpu_is_short() || (argc > 1 && strcmp(argv[1], "--short") == 0);
    const int failed = cmocka_run_group_tests(tests, gpu_setup, NULL);
    return is_short || failed != 0 ? failed : cmocka_run_group_tests(slower, gpu_setup, NULL);
}
