/*
 * bench_matvec.c - how fast the matrix-vector products of a decode step read their weights.
 *
 * Chains: the matrices of several layers one after the other, as a step has them, recorded once as a CUDA graph whose
 * kernels overlap; every layer has weights of its own, so that nothing is read from a cache. Singles: one matrix again
 * and again over copies that are larger than the cache together. Prints the median time and GB/s of weights.
 *
 *   bench_matvec [-c name] [warps blocks_per_sm]...    schedules to compare; none: the kernel's
 * own
 */
#include "compute/cuda/experts.h"
#include "compute/cuda/matvec_call.h"
#include "compute/cuda/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 9, MAX_MATRICES = 8 };

static CudaQueue queue;
static float *input, *output;

static void need(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

/* One product: up to three matrices over one input, or a gate and an up. */
typedef struct Product {
    DType types[CUDA_MAX_OUTPUTS];
    int32_t rows[CUDA_MAX_OUTPUTS], cols;
    bool gated;
} Product;

typedef struct Chain {
    const char *name;
    int32_t layers;
    Product products[MAX_MATRICES];
} Chain;

static const Chain chains[] = {
    {"llama-3.1-8b Q4_K",
     32,
     {{{DT_Q4_K, DT_Q4_K, DT_Q6_K}, {4096, 1024, 1024}, 4096, false},
      {{DT_Q4_K}, {4096}, 4096, false},
      {{DT_Q4_K, DT_Q4_K}, {14336, 14336}, 4096, true},
      {{DT_Q4_K}, {4096}, 14336, false}}},
    {"llama-3.1-8b NVFP4",
     32,
     {{{DT_NVFP4, DT_NVFP4, DT_NVFP4}, {4096, 1024, 1024}, 4096, false},
      {{DT_NVFP4}, {4096}, 4096, false},
      {{DT_NVFP4, DT_NVFP4}, {14336, 14336}, 4096, true},
      {{DT_NVFP4}, {4096}, 14336, false}}},
    {"llama-3.1-8b BF16",
     32,
     {{{DT_BF16, DT_BF16, DT_BF16}, {4096, 1024, 1024}, 4096, false},
      {{DT_BF16}, {4096}, 4096, false},
      {{DT_BF16, DT_BF16}, {14336, 14336}, 4096, true},
      {{DT_BF16}, {4096}, 14336, false}}},
    {"qwen3-8b Q8_0",
     36,
     {{{DT_Q8_0, DT_Q8_0, DT_Q8_0}, {4096, 1024, 1024}, 4096, false},
      {{DT_Q8_0}, {4096}, 4096, false},
      {{DT_Q8_0, DT_Q8_0}, {12288, 12288}, 4096, true},
      {{DT_Q8_0}, {4096}, 12288, false}}},
    {"llama-3.2-1b BF16",
     16,
     {{{DT_BF16, DT_BF16, DT_BF16}, {2048, 512, 512}, 2048, false},
      {{DT_BF16}, {2048}, 2048, false},
      {{DT_BF16, DT_BF16}, {8192, 8192}, 2048, true},
      {{DT_BF16}, {2048}, 8192, false}}},
    {"lm_head 128256x4096 Q6_K", 3, {{{DT_Q6_K}, {128256}, 4096, false}}},
    {"lm_head 128256x4096 BF16", 2, {{{DT_BF16}, {128256}, 4096, false}}},
    {"lm_head 151936x4096 Q8_0", 2, {{{DT_Q8_0}, {151936}, 4096, false}}},
    {"only o 4096x4096 Q4_K", 64, {{{DT_Q4_K}, {4096}, 4096, false}}},
    {"only gate/up 14336 Q4_K", 32, {{{DT_Q4_K, DT_Q4_K}, {14336, 14336}, 4096, true}}},
    {"only down 4096x14336 Q6_K", 16, {{{DT_Q6_K}, {4096}, 14336, false}}},
    {"only Q5_K 4096x4096", 64, {{{DT_Q5_K}, {4096}, 4096, false}}},
    {"only Q4_0 4096x4096", 64, {{{DT_Q4_0}, {4096}, 4096, false}}},
    {"only IQ4_XS 4096x4096", 64, {{{DT_IQ4_XS}, {4096}, 4096, false}}},
    {"only MXFP4 4096x4096", 64, {{{DT_MXFP4}, {4096}, 4096, false}}},
    {"only Q2_K 8192x4096", 64, {{{DT_Q2_K}, {8192}, 4096, false}}},
    {"only Q3_K 8192x4096", 64, {{{DT_Q3_K}, {8192}, 4096, false}}},
    {"only F8_E4M3 4096x4096", 64, {{{DT_F8_E4M3}, {4096}, 4096, false}}},
    {"only F16 4096x4096", 32, {{{DT_F16}, {4096}, 4096, false}}},
};

static int matrices_of(const Product *product)
{
    int n = 0;
    while (n < CUDA_MAX_OUTPUTS && product->rows[n] > 0) n++;
    return n;
}

static int products_of(const Chain *chain)
{
    int n = 0;
    while (n < MAX_MATRICES && chain->products[n].cols > 0) n++;
    return n;
}

static void run_product(const Product *product, const CudaWeight *weights)
{
    CudaOutput outputs[CUDA_MAX_OUTPUTS];
    const int n = matrices_of(product);
    for (int i = 0; i < n; i++) outputs[i] = (CudaOutput){&weights[i], NULL, output + (size_t)i * 65536};
    if (product->gated)
        cuda_matvec_gated(&queue, input, &outputs[0], &outputs[1], ACT_SILU, 0.0f, output);
    else
        cuda_matvec(&queue, input, outputs, n);
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The weights of a chain in `memory`, whatever bytes are there. */
static size_t place(const Chain *chain, uint8_t *memory, CudaWeight *weights)
{
    size_t at = 0;
    for (int layer = 0; layer < chain->layers; layer++) {
        for (int p = 0; p < products_of(chain); p++) {
            const Product *product = &chain->products[p];
            for (int i = 0; i < matrices_of(product); i++) {
                cuda_weight_place(weights++, product->types[i], product->rows[i], product->cols, memory + at);
                at += cuda_weight_bytes(product->types[i], product->rows[i], product->cols);
            }
        }
    }
    return at;
}

/* Experts of qwen3-30b-a3b: 8 of 128, two of three matrices Q4_K, one Q6_K. */
enum { MOE_LAYERS = 8, MOE_EXPERTS = 128, MOE_USED = 8, MOE_EMBD = 2048, MOE_FF = 768 };

typedef struct MoeLayer {
    Experts spec;
    CudaWeight router, gate, up, down;
    CudaExperts experts;
} MoeLayer;

static size_t place_stack(CudaWeight *weight, DType type, int32_t rows, int32_t cols, uint8_t *memory)
{
    cuda_weight_place(weight, type, (int64_t)rows * MOE_EXPERTS, cols, memory);
    weight->stack_rows = rows;
    return cuda_weight_bytes(type, (int64_t)rows * MOE_EXPERTS, cols);
}

/* Returns the bytes that one step reads. */
static size_t place_moe(MoeLayer *layers, uint8_t *memory)
{
    size_t at = 0, read = 0;
    for (int i = 0; i < MOE_LAYERS; i++) {
        MoeLayer *layer = &layers[i];
        layer->spec =
            (Experts){.n_experts = MOE_EXPERTS, .n_used = MOE_USED, .scale = 1.0f, .renormalize = true, .n_ff = MOE_FF};
        layer->spec.router = (Weight){.type = DT_F32, .rows = MOE_EXPERTS, .cols = MOE_EMBD};
        cuda_weight_place(&layer->router, DT_F32, MOE_EXPERTS, MOE_EMBD, memory + at);
        const size_t router = cuda_weight_bytes(DT_F32, MOE_EXPERTS, MOE_EMBD);
        at += router;
        size_t stacks = place_stack(&layer->gate, DT_Q4_K, MOE_FF, MOE_EMBD, memory + at);
        stacks += place_stack(&layer->up, DT_Q4_K, MOE_FF, MOE_EMBD, memory + at + stacks);
        stacks += place_stack(&layer->down, DT_Q6_K, MOE_EMBD, MOE_FF, memory + at + stacks);
        layer->experts = (CudaExperts){.spec = &layer->spec,
                                       .router = &layer->router,
                                       .gate = &layer->gate,
                                       .up = &layer->up,
                                       .down = &layer->down};
        at += stacks;
        read += router + stacks / MOE_EXPERTS * MOE_USED;
    }
    return read;
}

typedef struct Work {
    const Chain *chain; /* NULL: experts */
    const CudaWeight *weights;
    const MoeLayer *moe;
} Work;

static void record(const Work *work)
{
    const CudaWeight *weights = work->weights;
    for (int layer = 0; work->chain == NULL && layer < MOE_LAYERS; layer++)
        cuda_experts_row(&queue, &work->moe[layer].experts, input, output);
    for (int layer = 0; work->chain != NULL && layer < work->chain->layers; layer++) {
        for (int p = 0; p < products_of(work->chain); p++) {
            run_product(&work->chain->products[p], weights);
            weights += matrices_of(&work->chain->products[p]);
        }
    }
}

static float measure(const Work *work, bool overlap)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t start, stop;
    queue.overlap = overlap;
    need(cudaStreamBeginCapture(queue.stream, cudaStreamCaptureModeThreadLocal), "capture");
    record(work);
    need(cudaStreamEndCapture(queue.stream, &graph), "capture");
    need(queue.error, "launch");
    need(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    need(cudaEventCreate(&start), "event");
    need(cudaEventCreate(&stop), "event");
    float times[REPEATS];
    for (int i = -2; i < REPEATS; i++) {
        need(cudaEventRecord(start, queue.stream), "record");
        need(cudaGraphLaunch(exec, queue.stream), "graph");
        need(cudaEventRecord(stop, queue.stream), "record");
        need(cudaEventSynchronize(stop), "run");
        if (i >= 0) need(cudaEventElapsedTime(&times[i], start, stop), "time");
    }
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    qsort(times, REPEATS, sizeof times[0], compare);
    return times[REPEATS / 2];
}

int main(int argc, char **argv)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        puts("no GPU");
        return 0;
    }
    struct cudaDeviceProp properties;
    need(cudaGetDeviceProperties(&properties, 0), "properties");
    need(cudaStreamCreate(&queue.stream), "stream");
    queue.n_sms = properties.multiProcessorCount;
    queue.workspace_bytes = 4 << 20;
    need(cudaMalloc(&queue.workspace, queue.workspace_bytes), "workspace");

    /* Bytes whose half-precision fields are small: 0x2A.. repeated with noise. */
    const size_t bytes = (size_t)16 << 30;
    uint8_t *memory;
    need(cudaMalloc((void **)&memory, bytes), "weights");
    const size_t chunk = (size_t)16 << 20;
    uint8_t *noise = malloc(chunk);
    uint32_t random = 1;
    for (size_t i = 0; i < chunk; i++) {
        random = random * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(random >> 24 & 0x37);
    }
    for (size_t at = 0; at < bytes; at += chunk)
        need(cudaMemcpy(memory + at, noise, chunk, cudaMemcpyHostToDevice), "fill");
    free(noise);
    float values[32768];
    for (int i = 0; i < 32768; i++) values[i] = (float)(i * 7919 % 201 - 100) * 0.01f;
    need(cudaMalloc((void **)&input, sizeof values), "input");
    need(cudaMemcpy(input, values, sizeof values, cudaMemcpyHostToDevice), "input");
    need(cudaMalloc((void **)&output, (size_t)4 * 65536 * sizeof(float)), "output");

    const MatvecTuning own = matvec_tuning;
    const char *only = "";
    if (argc > 2 && strcmp(argv[1], "-c") == 0) {
        only = argv[2];
        argv += 2;
        argc -= 2;
    }
    const int n_schedules = argc > 2 ? (argc - 1) / 2 : 1;
    static CudaWeight weights[64 * MAX_MATRICES];
    printf("%-28s %9s", "GB/s (microseconds)", "MB");
    for (int s = 0; s < n_schedules; s++) {
        if (argc > 2)
            printf("  %12s/%-3s", argv[1 + 2 * s], argv[2 + 2 * s]);
        else
            printf("  %16s", "own");
    }
    puts("        alone");
    static MoeLayer moe[MOE_LAYERS];
    const size_t n_chains = sizeof chains / sizeof chains[0];
    for (size_t c = 0; c <= n_chains; c++) {
        const Work work = {c < n_chains ? &chains[c] : NULL, weights, moe};
        const char *name = work.chain != NULL ? work.chain->name : "qwen3-30b-a3b experts";
        if (strstr(name, only) == NULL) continue;
        const size_t used = work.chain != NULL ? place(work.chain, memory, weights) : place_moe(moe, memory);
        printf("%-28s %9.1f", name, (double)used / 1e6);
        for (int s = 0; s <= n_schedules; s++) {
            matvec_tuning = own;
            if (argc > 2 && s < n_schedules)
                matvec_tuning = (MatvecTuning){atoi(argv[1 + 2 * s]), atoi(argv[2 + 2 * s])};
            const float ms = measure(&work, s < n_schedules); /* last: kernels that do not overlap */
            printf("  %7.0f (%6.0f)", (double)used / (double)ms / 1e6, (double)ms * 1e3);
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}
