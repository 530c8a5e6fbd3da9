/*
 * bench_sample.c - how long draws take, by rows, vocabulary and chain: medians of one call's time in a recording of
 * many.
 */
#include "compute/cuda/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 16, REPEATS = 9, MAX_ROWS = 128, MAX_VOCAB = 262144 };

static CudaQueue queue;

static void need(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

typedef struct BenchChain {
    const char *name;
    SampleRow row;
    bool masked;
} BenchChain;

static const BenchChain chains[] = {
    {"greedy", {.kind = SAMPLE_GREEDY}, false},
    {"greedy, masked", {.kind = SAMPLE_GREEDY}, true},
    {"top-k 40, top-p, temperature",
     {.kind = SAMPLE_DRAW, .n_links = 3, .links = {SAMPLE_TOP_K, SAMPLE_TOP_P, SAMPLE_TEMPERATURE}},
     false},
    {"top-k 40, masked", {.kind = SAMPLE_DRAW, .n_links = 1, .links = {SAMPLE_TOP_K}}, true},
    {"temperature, min-p", {.kind = SAMPLE_DRAW, .n_links = 2, .links = {SAMPLE_TEMPERATURE, SAMPLE_MIN_P}}, false},
    {"temperature, top-p", {.kind = SAMPLE_DRAW, .n_links = 2, .links = {SAMPLE_TEMPERATURE, SAMPLE_TOP_P}}, false},
    {"typical, temperature",
     {.kind = SAMPLE_DRAW, .n_links = 2, .links = {SAMPLE_TYPICAL_P, SAMPLE_TEMPERATURE}},
     false},
    {"temperature alone", {.kind = SAMPLE_DRAW, .n_links = 1, .links = {SAMPLE_TEMPERATURE}}, false},
    {"mirostat", {.kind = SAMPLE_DRAW, .n_links = 1, .links = {SAMPLE_MIROSTAT}}, false},
};

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Microseconds of one call. */
static float time_calls(const CudaSample *sample)
{
    cudaGraph_t graph;
    cudaGraphExec_t recording;
    cudaEvent_t start, end;
    float times[REPEATS];
    need(cudaStreamBeginCapture(queue.stream, cudaStreamCaptureModeThreadLocal), "recording");
    for (int i = 0; i < CALLS; i++) cuda_sample_draw(&queue, sample);
    need(cudaStreamEndCapture(queue.stream, &graph), "recording");
    need(queue.error, "launching");
    need(cudaGraphInstantiate(&recording, graph, 0), "instantiating");
    need(cudaEventCreate(&start), "an event");
    need(cudaEventCreate(&end), "an event");
    for (int i = 0; i < REPEATS; i++) {
        need(cudaEventRecord(start, queue.stream), "an event");
        need(cudaGraphLaunch(recording, queue.stream), "launching");
        need(cudaEventRecord(end, queue.stream), "an event");
        need(cudaEventSynchronize(end), "draws");
        need(cudaEventElapsedTime(&times[i], start, end), "draws");
    }
    qsort(times, REPEATS, sizeof times[0], compare);
    need(cudaGraphExecDestroy(recording), "a recording");
    need(cudaGraphDestroy(graph), "a recording");
    return times[REPEATS / 2] * 1e3f / CALLS;
}

/* Few likely tokens among many unlikely ones. */
static void fill(float *row, int32_t n)
{
    for (int32_t i = 0; i < n; i++) row[i] = -16.0f + 4.0f * (float)rand() / (float)RAND_MAX;
    for (int32_t rank = 0; rank < 2000; rank++)
        row[(size_t)rand() * 7 % (size_t)n] = 4.0f - 1.5f * logf((float)(rank + 1));
}

static void run(const BenchChain *chain, CudaSample *sample, const uint32_t *allowed, SampleRow *device_rows)
{
    static SampleRow rows[MAX_ROWS];
    static SampleResult results[MAX_ROWS];
    int undone = 0;
    for (int32_t r = 0; r < sample->n_rows; r++) {
        rows[r] = chain->row;
        rows[r].n_vocab = sample->stride;
        rows[r].allowed = chain->masked ? allowed : NULL;
        rows[r].top_k = 40, rows[r].top_p = 0.95f, rows[r].typical_p = 0.9f, rows[r].min_p_log = logf(0.05f);
        rows[r].factor = 1.0f / 0.8f, rows[r].mirostat_bound = 8.0, rows[r].u = (r + 0.5) / sample->n_rows;
        results[r].token = SAMPLE_UNDONE;
    }
    need(cudaMemcpy(device_rows, rows, (size_t)sample->n_rows * sizeof *rows, cudaMemcpyHostToDevice), "rows");
    need(cudaMemcpy(sample->results, results, (size_t)sample->n_rows * sizeof *results, cudaMemcpyHostToDevice),
         "rows");
    sample->needs = cuda_sample_needs(&rows[0]);
    const float microseconds = time_calls(sample);
    need(cudaMemcpy(results, sample->results, (size_t)sample->n_rows * sizeof *results, cudaMemcpyDeviceToHost),
         "tokens");
    for (int32_t r = 0; r < sample->n_rows; r++) undone += results[r].token == SAMPLE_UNDONE;
    printf("%-30s %8d %5d %9.1f us", chain->name, (int)sample->stride, (int)sample->n_rows, (double)microseconds);
    printf(undone > 0 ? "  %d left to the host\n" : "\n", undone);
}

int main(void)
{
    static const int32_t vocabularies[] = {128256, 151936, 262144}, counts[] = {1, 16, 64, 128};
    static uint32_t mask[MAX_VOCAB / 32];
    struct cudaDeviceProp properties;
    CudaSample sample = {0};
    SampleRow *rows;
    uint32_t *allowed;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return 77;
    queue = (CudaQueue){.n_sms = properties.multiProcessorCount, .overlap = properties.major >= 9};
    need(cudaStreamCreate(&queue.stream), "a stream");
    const size_t floats = (size_t)MAX_ROWS * MAX_VOCAB, blocks = floats / CUDA_SAMPLE_BLOCK;
    need(cudaMalloc((void **)&sample.logits, floats * sizeof(float)), "logits");
    need(cudaMalloc((void **)&sample.maxima, blocks * sizeof(float)), "maxima");
    need(cudaMalloc((void **)&sample.masses, blocks * 2 * sizeof(double)), "masses");
    need(cudaMalloc((void **)&sample.results, MAX_ROWS * sizeof(SampleResult)), "results");
    need(cudaMalloc((void **)&rows, MAX_ROWS * sizeof *rows), "rows");
    need(cudaMalloc((void **)&allowed, sizeof mask), "a mask");
    for (size_t i = 0; i < sizeof mask / sizeof mask[0]; i++) mask[i] = (uint32_t)rand() * 2u | (uint32_t)i;
    need(cudaMemcpy(allowed, mask, sizeof mask, cudaMemcpyHostToDevice), "a mask");
    sample.rows = rows;
    float *logits = malloc(floats * sizeof *logits);
    for (size_t v = 0; v < sizeof vocabularies / sizeof vocabularies[0]; v++) {
        sample.stride = vocabularies[v];
        sample.n_blocks = cuda_sample_blocks(sample.stride);
        for (int32_t r = 0; r < MAX_ROWS; r++)
            if (r < 8)
                fill(logits + (size_t)r * (size_t)sample.stride, sample.stride);
            else
                memcpy(logits + (size_t)r * (size_t)sample.stride, logits + (size_t)(r % 8) * (size_t)sample.stride,
                       (size_t)sample.stride * sizeof *logits);
        need(cudaMemcpy(sample.logits, logits, (size_t)MAX_ROWS * (size_t)sample.stride * sizeof *logits,
                        cudaMemcpyHostToDevice),
             "logits");
        for (size_t c = 0; c < sizeof chains / sizeof chains[0]; c++) {
            for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
                sample.n_rows = counts[k];
                run(&chains[c], &sample, allowed, rows);
            }
        }
    }
    free(logits);
    return 0;
}
