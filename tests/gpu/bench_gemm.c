/*
 * bench_gemm.c - times the products of a transformer layer for several rows: GB/s of weights and TFLOP/s by type and
 * shape.
 *
 *     bench_gemm [type [rows...]]
 *
 * Each product runs over enough copies of its weights that none is found in L2, as one CUDA graph; the median of
 * replays.
 */
#include "gpu_test.h"

#include "compute/cuda/gemm.h"

#include <stdio.h>

enum { COPIES = 64, REPLAYS = 7, BYTES = 400 << 20 };

typedef struct Shape {
    const char *name;
    int32_t cols, n_outputs, rows[CUDA_MAX_OUTPUTS];
    bool gated;
} Shape;

static const Shape shapes[] = {
    {"q k v", 4096, 3, {4096, 1024, 1024}, false},
    {"o", 4096, 1, {4096}, false},
    {"gate up", 4096, 2, {14336, 14336}, true},
    {"down", 14336, 1, {4096}, false},
};

static void run(const Shape *shape, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, uint16_t *out)
{
    if (shape->gated)
        cuda_gemm_gated(&gpu_queue, x, n_rows, &outputs[0], &outputs[1], ACT_SILU, 0.0f, out);
    else
        cuda_gemm(&gpu_queue, x, n_rows, outputs, shape->n_outputs);
}

/* Seconds of one product. */
static double time_shape(const Shape *shape, DType type, int32_t n_rows, double *weight_bytes)
{
    static CudaWeight weights[COPIES][CUDA_MAX_OUTPUTS];
    CudaOutput outputs[COPIES][CUDA_MAX_OUTPUTS] = {0};
    size_t bytes = 0;
    for (int32_t i = 0; i < shape->n_outputs; i++) bytes += cuda_weight_bytes(type, shape->rows[i], shape->cols);
    *weight_bytes = (double)bytes;
    int copies = (int)(BYTES / bytes) + 1;
    if (copies > COPIES) copies = COPIES;
    uint8_t *memory = gpu_alloc(bytes * (size_t)copies), *at = memory;
    const size_t x_count = (size_t)n_rows * (size_t)shape->cols;
    uint16_t *x = gpu_alloc(x_count * sizeof *x), *out = NULL;
    float *y[CUDA_MAX_OUTPUTS] = {0};
    /* Random bits: harmless numbers in most types, and as hard on the chip's power as real ones. */
    const size_t block = (size_t)1 << 20;
    uint32_t *bits = malloc(block);
    for (size_t i = 0; i < block / 4; i++) bits[i] = random_u32() & 0xBFBFBFBFu;
    for (size_t done = 0; done < bytes * (size_t)copies; done += block) {
        const size_t left = bytes * (size_t)copies - done;
        gpu_ok(cudaMemcpy(memory + done, bits, left < block ? left : block, cudaMemcpyHostToDevice));
    }
    for (size_t done = 0; done < x_count * 2; done += block)
        gpu_ok(cudaMemcpy((uint8_t *)x + done, bits, x_count * 2 - done < block ? x_count * 2 - done : block,
                          cudaMemcpyHostToDevice));
    free(bits);
    for (int32_t i = 0; i < shape->n_outputs; i++)
        y[i] = gpu_alloc((size_t)n_rows * (size_t)shape->rows[i] * sizeof(float));
    if (shape->gated) out = gpu_alloc((size_t)n_rows * (size_t)shape->rows[0] * sizeof *out);
    for (int copy = 0; copy < copies; copy++) {
        for (int32_t i = 0; i < shape->n_outputs; i++) {
            cuda_weight_place(&weights[copy][i], type, shape->rows[i], shape->cols, at);
            at += cuda_weight_bytes(type, shape->rows[i], shape->cols);
            outputs[copy][i] = (CudaOutput){&weights[copy][i], NULL, y[i]};
        }
    }

    cudaGraph_t graph;
    cudaGraphExec_t exec;
    run(shape, x, n_rows, outputs[0], out);
    gpu_wait();
    gpu_ok(cudaStreamBeginCapture(gpu_queue.stream, cudaStreamCaptureModeGlobal));
    for (int copy = 0; copy < copies; copy++) run(shape, x, n_rows, outputs[copy], out);
    gpu_ok(cudaStreamEndCapture(gpu_queue.stream, &graph));
    gpu_ok(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t start, end;
    gpu_ok(cudaEventCreate(&start));
    gpu_ok(cudaEventCreate(&end));
    float times[REPLAYS];
    for (int i = -1; i < REPLAYS; i++) {
        float *time = &times[i < 0 ? 0 : i];
        gpu_ok(cudaEventRecord(start, gpu_queue.stream));
        gpu_ok(cudaGraphLaunch(exec, gpu_queue.stream));
        gpu_ok(cudaEventRecord(end, gpu_queue.stream));
        gpu_ok(cudaEventSynchronize(end));
        gpu_ok(cudaEventElapsedTime(time, start, end));
        for (; time > times && i > 0 && time[-1] > *time; time--) {
            const float swap = *time;
            *time = time[-1];
            time[-1] = swap;
        }
    }
    gpu_ok(cudaGraphExecDestroy(exec));
    gpu_ok(cudaGraphDestroy(graph));
    gpu_ok(cudaFree(memory));
    gpu_ok(cudaFree(x));
    gpu_ok(cudaFree(out));
    for (int32_t i = 0; i < shape->n_outputs; i++) gpu_ok(cudaFree(y[i]));
    return (double)times[REPLAYS / 2] * 1e-3 / copies;
}

int main(int argc, char **argv)
{
    static const DType types[] = {DT_BF16, DT_Q8_0, DT_Q4_K, DT_Q6_K, DT_NVFP4};
    int32_t row_counts[32] = {2, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};
    int n_counts = 10;
    if (!gpu_present()) return 0;
    gpu_setup(NULL);
    cudaFree(gpu_queue.workspace);
    gpu_queue.workspace_bytes = (size_t)128 << 20;
    gpu_queue.workspace = gpu_alloc(gpu_queue.workspace_bytes);
    if (argc > 2) {
        n_counts = argc - 2 < 32 ? argc - 2 : 32;
        for (int i = 0; i < n_counts; i++) row_counts[i] = atoi(argv[2 + i]);
    }
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        const char *name = dtype_info(types[t])->name;
        if (argc > 1 && strcmp(argv[1], name) != 0) continue;
        for (int r = 0; r < n_counts; r++) {
            const int32_t n_rows = row_counts[r];
            double sum = 0.0, all_bytes = 0.0, operations = 0.0;
            printf("%-6s %4d rows ", name, (int)n_rows);
            for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
                double bytes, outputs = 0.0;
                const double seconds = time_shape(&shapes[s], types[t], n_rows, &bytes);
                for (int32_t i = 0; i < shapes[s].n_outputs; i++) outputs += shapes[s].rows[i];
                const double work = 2.0 * n_rows * shapes[s].cols * outputs;
                printf(" | %s %7.1f us %5.0f GB/s %5.1f TF", shapes[s].name, seconds * 1e6, bytes / seconds * 1e-9,
                       work / seconds * 1e-12);
                sum += seconds;
                all_bytes += bytes;
                operations += work;
            }
            printf(" | layer %7.1f us %5.0f GB/s %5.1f TF\n", sum * 1e6, all_bytes / sum * 1e-9,
                   operations / sum * 1e-12);
            fflush(stdout);
        }
    }
    return 0;
}
