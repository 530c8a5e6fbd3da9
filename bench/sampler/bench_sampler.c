/*
 * bench_sampler.c - microseconds per draw on one core, for the vocabulary sizes and the chains that people use.
 *
 *     ninja bench_sampler && ./bench/bench_sampler
 *
 * Floor of the default chain at 262,144 tokens: one pass over 1 MiB of logits. Each draw gets fresh logits, copied in
 * beforehand outside the measured time, so that they come from the cache the model's head left them in.
 */
#include "core/clock.h"
#include "runtime/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_LOGITS = 8, MAX_VOCAB = 262144, WARM_UP = 20 };

static void as_it_is(SamplerParams *params) { (void)params; }
static void greedy(SamplerParams *params) { params->temperature = 0.0f; }
static void penalties(SamplerParams *params) { params->repeat_penalty = 1.1f; }

static void dry(SamplerParams *params) { params->dry_multiplier = 0.8f; }

static void top_p_alone(SamplerParams *params) { params->top_k = 0; }

static void min_p_alone(SamplerParams *params)
{
    params->top_k = 0;
    params->top_p = 1.0f;
    params->min_p = 0.05f;
}

static void typical_p_alone(SamplerParams *params)
{
    min_p_alone(params);
    params->min_p = 0.0f;
    params->typical_p = 0.9f;
}

static void temperature_alone(SamplerParams *params)
{
    min_p_alone(params);
    params->min_p = 0.0f;
}

static void mirostat(SamplerParams *params) { params->mirostat = 2; }

static const struct {
    const char *name;
    void (*change)(SamplerParams *params);
} chains[] = {
    {"default (top-k 40, top-p 0.9, temperature 0.7)", as_it_is},
    {"greedy", greedy},
    {"default + repeat penalty", penalties},
    {"default + DRY over 4096 tokens", dry},
    {"top-p 0.9, no top-k", top_p_alone},
    {"min-p 0.05 alone", min_p_alone},
    {"typical-p 0.9 alone", typical_p_alone},
    {"temperature alone", temperature_alone},
    {"mirostat 2", mirostat},
};

/* Gaussian logits with a few high ones, as a language model's are. */
static void make_logits(float *logits, int32_t n, uint64_t *state)
{
    for (int32_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int j = 0; j < 4; j++) {
            *state = *state * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(*state >> 40) * 0x1p-24;
        }
        logits[i] = (float)((sum - 2.0) * 5.0);
    }
    for (int j = 0; j < 50; j++) logits[(*state >> 20) * (uint64_t)(j + 1) % (uint64_t)n] += 12.0f;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(const char *name, const SamplerParams *params, int32_t n_vocab, const float *logits, float *work)
{
    enum { DRAWS = 201 };
    double seconds[DRAWS];
    Sampler *sampler;
    if (sampler_create(params, n_vocab, 4096, &sampler) != IMP_OK) {
        fprintf(stderr, "%s\n", imp_last_error());
        return 1;
    }
    for (int i = 0; i < 4096; i++) sampler_accept(sampler, (i * i) % 997);
    for (int i = -WARM_UP; i < DRAWS; i++) {
        memcpy(work, logits + (size_t)((i + WARM_UP) % N_LOGITS) * (size_t)n_vocab, (size_t)n_vocab * sizeof *work);
        const double start = clock_seconds();
        const int32_t token = sampler_draw(sampler, work, NULL, i);
        const double end = clock_seconds();
        sampler_accept(sampler, token);
        if (i >= 0) seconds[i] = end - start;
    }
    qsort(seconds, DRAWS, sizeof seconds[0], compare_doubles);
    printf("%7d  %8.1f  %8.1f  %s\n", (int)n_vocab, seconds[DRAWS / 2] * 1e6, seconds[DRAWS * 9 / 10] * 1e6, name);
    sampler_free(sampler);
    return 0;
}

int main(void)
{
    const int32_t sizes[] = {32000, 151936, MAX_VOCAB};
    float *logits = malloc((size_t)N_LOGITS * MAX_VOCAB * sizeof *logits);
    float *work = malloc(MAX_VOCAB * sizeof *work);
    if (!logits || !work) return 1;
    printf("  vocab    median   90th %%  chain (microseconds)\n");
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        uint64_t state = 42;
        for (int i = 0; i < N_LOGITS; i++) make_logits(logits + (size_t)i * (size_t)sizes[size], sizes[size], &state);
        for (size_t chain = 0; chain < sizeof chains / sizeof chains[0]; chain++) {
            SamplerParams params = sampler_default_params();
            chains[chain].change(&params);
            if (measure(chains[chain].name, &params, sizes[size], logits, work) != 0) return 1;
        }
    }
    free(logits);
    free(work);
    return 0;
}
