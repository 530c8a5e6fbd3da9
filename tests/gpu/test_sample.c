/*
 * test_sample.c - tokens drawn on the GPU against those that the runtime's own sampler draws from the same logits.
 */
#include "gpu_test.h"

#include "compute/cuda/sample.h"
#include "runtime/sampler.h"

enum { MAX_ROWS = 64 };

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
    SampleRow rows[MAX_ROWS];
    memcpy(rows, draws->rows, sizeof rows);
    for (size_t i = 0; i < n; i++) {
        draws->results[i] = (SampleResult){.token = SAMPLE_UNDONE, .surprise = (double)NAN};
        rows[i].allowed = upload(rows[i].allowed, ((size_t)rows[i].n_vocab + 31) / 32 * sizeof(uint32_t));
        list_upload(&rows[i].bias), list_upload(&rows[i].penalties), list_upload(&rows[i].dry);
    }
    const int32_t n_blocks = cuda_sample_blocks(draws->stride);
    CudaSample sample = {.n_rows = draws->n_rows,
                         .stride = draws->stride,
                         .n_blocks = n_blocks,
                         .logits = gpu_copy(draws->logits, bytes),
                         .rows = gpu_copy(rows, n * sizeof *rows),
                         .results = gpu_copy(draws->results, n * sizeof *draws->results),
                         .maxima = gpu_alloc(n * (size_t)n_blocks * sizeof(float))};
    cuda_sample_draw(&gpu_queue, &sample);
    gpu_read(draws->results, sample.results, n * sizeof *draws->results);
    if (after != NULL) gpu_read(after, sample.logits, bytes);
    for (size_t i = 0; i < n; i++) {
        (void)cudaFree((void *)(uintptr_t)rows[i].allowed), (void)cudaFree((void *)(uintptr_t)rows[i].bias.entries);
        (void)cudaFree((void *)(uintptr_t)rows[i].penalties.entries);
        (void)cudaFree((void *)(uintptr_t)rows[i].dry.entries);
    }
    (void)cudaFree(sample.logits), (void)cudaFree((void *)(uintptr_t)sample.rows), (void)cudaFree(sample.results);
    (void)cudaFree(sample.maxima);
}

/* ---- the most probable token ---- */

/* Kinds of rows in which a maximum may be missed. */
static void fill_row(float *row, int32_t n, int32_t kind)
{
    for (int32_t i = 0; i < n; i++) row[i] = random_normal() * 3.0f;
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
    for (size_t v = 0; v < sizeof vocabularies / sizeof vocabularies[0]; v++) {
        const int32_t n = vocabularies[v], stride = n + 1; /* rows that do not start on 16 bytes */
        Draws draws = {.n_rows = ROWS, .stride = stride};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
