/*
 * bench_attention.c - times of attention and of row operations on the GPU: medians over replays of a graph that walks
 * several layers' pages, so that nothing is found in the second-level cache that would not be there in a model.
 *
 *   gpu_bench_attention [bandwidth in GB/s, for the percentages; 4500]
 */
#include "gpu_test.h"

#include "compute/cuda/attention.h"
#include "compute/cuda/rowwise.h"

enum { REPEATS = 15 };

typedef struct Shape {
    const char *name;
    int32_t n_heads, n_kv_heads, head_dim;
} Shape;

static double bandwidth = 4500.0;

static int compare_floats(const void *a, const void *b)
{
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

/* Median microseconds of a captured graph. */
static double time_graph(cudaGraphExec_t graph)
{
    cudaEvent_t start, stop;
    float times[REPEATS];
    gpu_ok(cudaEventCreate(&start));
    gpu_ok(cudaEventCreate(&stop));
    for (int i = -2; i < REPEATS; i++) {
        gpu_ok(cudaEventRecord(start, gpu_queue.stream));
        gpu_ok(cudaGraphLaunch(graph, gpu_queue.stream));
        gpu_ok(cudaEventRecord(stop, gpu_queue.stream));
        gpu_ok(cudaEventSynchronize(stop));
        float ms = 0.0f;
        gpu_ok(cudaEventElapsedTime(&ms, start, stop));
        if (i >= 0) times[i] = ms * 1000.0f;
    }
    qsort(times, REPEATS, sizeof times[0], compare_floats);
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    return (double)times[REPEATS / 2];
}

static void begin_capture(void) { gpu_ok(cudaStreamBeginCapture(gpu_queue.stream, cudaStreamCaptureModeThreadLocal)); }

static double end_capture(void)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    gpu_ok(gpu_queue.error);
    gpu_ok(cudaStreamEndCapture(gpu_queue.stream, &graph));
    gpu_ok(cudaGraphInstantiate(&exec, graph, 0));
    const double us = time_graph(exec);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    return us;
}

/* A batch of sequences that are all as long, their pages one after the other. */
static CudaBatch make_batch(int32_t sequences, int32_t n_past, int32_t rows, int32_t **memory)
{
    const int32_t n = sequences * rows, length = n_past + rows, table = (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    const size_t count = (size_t)(2 * n + 3 * sequences) + (size_t)sequences * (size_t)table;
    int32_t *host = malloc(count * sizeof *host), *positions = host, *owners = host + n, *first = owners + n;
    int32_t *lengths = first + sequences, *past = lengths + sequences, *pages = past + sequences;
    for (int32_t i = 0; i < n; i++) positions[i] = n_past + i % rows, owners[i] = i / rows;
    for (int32_t s = 0; s < sequences; s++) first[s] = s * rows, lengths[s] = rows, past[s] = n_past;
    for (int32_t i = 0; i < sequences * table; i++) pages[i] = i;
    int32_t *device = *memory = gpu_copy(host, count * sizeof *host);
    CudaBatch batch = {.n_rows = n,
                       .n_sequences = sequences,
                       .max_context = (length + 255) / 256 * 256,
                       .max_sequence_rows = rows,
                       .positions = device,
                       .row_sequence = device + n,
                       .first_row = device + 2 * n,
                       .sequence_rows = device + 2 * n + sequences,
                       .n_past = device + 2 * n + 2 * sequences};
    batch.pages[0] = device + 2 * n + 3 * sequences;
    batch.page_stride[0] = table;
    free(host);
    return batch;
}

static void time_attention(const Shape *shape, DType type, int32_t sequences, int32_t n_past, int32_t rows)
{
    const int32_t length = n_past + rows, table = (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    const Attention spec = {.n_heads = shape->n_heads,
                            .n_kv_heads = shape->n_kv_heads,
                            .head_dim = shape->head_dim,
                            .head_dim_v = shape->head_dim,
                            .scale = 0.1f,
                            .rope = {.kind = ROPE_HALF, .n_dims = shape->head_dim, .magnitude = 1.0f}};
    const size_t page_bytes = cuda_kv_page_bytes(type, spec.n_kv_heads, spec.head_dim, spec.head_dim);
    const size_t layer_bytes = page_bytes * (size_t)table * (size_t)sequences;
    int32_t layers = (int32_t)(((size_t)400 << 20) / layer_bytes) + 1; /* several times the cache */
    if (layers > (rows > 1 ? 4 : 32)) layers = rows > 1 ? 4 : 32;
    const size_t heads = (size_t)spec.head_dim * (size_t)sequences * (size_t)rows;
    float *freq = malloc((size_t)spec.head_dim / 2 * sizeof *freq);
    for (int32_t i = 0; i < spec.head_dim / 2; i++) freq[i] = powf(10000.0f, -2.0f * (float)i / (float)spec.head_dim);
    float *host = random_vector(heads * (size_t)spec.n_heads);
    float *q = gpu_copy(host, heads * (size_t)spec.n_heads * 4),
          *k = gpu_copy(host, heads * (size_t)spec.n_kv_heads * 4);
    const CudaAttention attention = {.spec = &spec, .inv_freq = gpu_copy(freq, (size_t)spec.head_dim / 2 * 4)};
    const CudaAct out = {gpu_alloc(heads * (size_t)spec.n_heads * 4), gpu_alloc(heads * (size_t)spec.n_heads * 2)};
    const CudaForms forms = sequences * rows == 1 ? CUDA_FORM_F32 : CUDA_FORM_BF16;
    uint8_t *pages = gpu_alloc(layer_bytes * (size_t)layers);
    gpu_ok(cudaMemset(pages, 0x2B, layer_bytes * (size_t)layers));
    int32_t *memory;
    const CudaBatch batch = make_batch(sequences, n_past, rows, &memory);
    double us[3];
    for (int variant = 0; variant < 3; variant++) { /* both, store, attention */
        begin_capture();
        for (int32_t l = 0; l < layers; l++) {
            const CudaKv kv = {.pages = pages + (size_t)l * layer_bytes,
                               .type = type,
                               .n_kv_heads = spec.n_kv_heads,
                               .head_dim = spec.head_dim,
                               .head_dim_v = spec.head_dim,
                               .page_bytes = page_bytes};
            if (variant < 2) cuda_attention_store(&gpu_queue, &batch, &attention, &kv, q, k, k);
            if (variant == 0 || variant == 2) cuda_attention(&gpu_queue, &batch, &attention, &kv, q, forms, &out);
        }
        us[variant] = end_capture() / layers;
    }
    const double floor_us = (double)layer_bytes / bandwidth * 1e-3;
    const double pairs = (double)sequences * ((double)n_past * rows + 0.5 * (double)rows * rows);
    const double tflops = 4.0 * pairs * spec.n_heads * spec.head_dim / us[2] * 1e-6;
    printf("%-14s %-7s %4d x %5d + %4d: %9.2f us a layer (store %7.2f, attention %9.2f), bytes %8.2f us = %3.0f %%, "
           "%6.1f TFLOP/s\n",
           shape->name, dtype_info(type)->name, sequences, n_past, rows, us[0], us[1], us[2], floor_us,
           100.0 * floor_us / us[0], tflops);
    fflush(stdout);
    cudaFree(q), cudaFree(k), cudaFree(out.f32), cudaFree(out.bf16), cudaFree(pages), cudaFree(memory);
    cudaFree((void *)attention.inv_freq);
    free(freq), free(host);
}

static void time_norm(int32_t rows, int32_t width)
{
    enum { BUFFERS = 16 };
    const size_t n = (size_t)rows * (size_t)width;
    float *host = random_vector(n), *x[BUFFERS], *y = gpu_copy(host, n * 4),
          *weight = gpu_copy(host, (size_t)width * 4);
    CudaAct out = {gpu_alloc(n * 4), gpu_alloc(n * 2)};
    const int buffers = n > (size_t)1 << 24 ? 4 : BUFFERS;
    for (int i = 0; i < buffers; i++) x[i] = gpu_copy(host, n * 4);
    const CudaNorm norm = {NORM_RMS, 1e-5f, weight, NULL};
    begin_capture();
    for (int i = 0; i < 4 * buffers; i++)
        cuda_residual_norm(&gpu_queue, rows, width, x[i % buffers], y, NULL, 1.0f, 1.0f, &norm,
                           rows == 1 ? CUDA_FORM_F32 : CUDA_FORM_BF16, &out);
    const double us = end_capture() / (4 * buffers), bytes = (double)n * (rows == 1 ? 16 : 14);
    printf("residual_norm %5d x %5d: %8.2f us, bytes %7.2f us\n", rows, width, us, bytes / bandwidth * 1e-3);
    begin_capture();
    for (int i = 0; i < 4 * buffers; i++)
        cuda_activate(&gpu_queue, rows, width, ACT_SILU, 0.0f, x[i % buffers], y, CUDA_FORM_BF16, &out);
    printf("activate      %5d x %5d: %8.2f us\n", rows, width, end_capture() / (4 * buffers));
    for (int i = 0; i < buffers; i++) cudaFree(x[i]);
    cudaFree(y), cudaFree(weight), cudaFree(out.f32), cudaFree(out.bf16), free(host);
}

int main(int count, char **arguments)
{
    if (count > 1) bandwidth = atof(arguments[1]);
    static const Shape shapes[] = {
        {"llama-3.1-8b", 32, 8, 128}, {"llama-3.2-1b", 32, 8, 64}, {"qwen3-30b-a3b", 32, 4, 128}, {"gemma", 8, 4, 256}};
    gpu_setup(NULL);
    if (gpu_queue.stream == NULL) return 0;
    time_norm(1, 2048);
    time_norm(1, 4096);
    time_norm(64, 4096);
    time_norm(4096, 4096);
    static const int32_t contexts[] = {128, 1024, 4096, 16383};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t c = 0; c < sizeof contexts / sizeof contexts[0]; c++)
            time_attention(&shapes[s], DT_F16, 1, contexts[c], 1);
    time_attention(&shapes[0], DT_F16, 16, 1024, 1);
    time_attention(&shapes[0], DT_F16, 64, 600, 1);
    time_attention(&shapes[2], DT_F16, 64, 600, 1);
    time_attention(&shapes[0], DT_F16, 128, 600, 1);
    static const DType types[] = {DT_BF16, DT_F8_E4M3, DT_I8, DT_Q4_0, DT_NVFP4};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        time_attention(&shapes[0], types[t], 1, 16383, 1);
        time_attention(&shapes[0], types[t], 64, 600, 1);
    }
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) time_attention(&shapes[s], DT_F16, 1, 0, 4096);
    time_attention(&shapes[0], DT_BF16, 1, 0, 4096);
    time_attention(&shapes[0], DT_F16, 1, 8192, 512);
    return 0;
}
