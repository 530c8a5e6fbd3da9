/*
 * linear_f32.cu - F32 weights in float32: routers, and models whose file is F32.
 *
 * A warp computes a tile of outputs, its lanes share the columns: lane l takes elements 4 (l + 32 i) … + 3 for i = 0,
 * 1, …, one after the other, then the lanes are added in a tree. That order is the same for every tile, so a row's bits
 * depend on nothing but the row. One row of activations: a warp a row of the weight, whose lines are asked for before
 * the kernel waits; floor: the weight's bytes. Several: four by four, each loaded number meets four others; bound by
 * the loads from L1.
 */
#include "compute/cuda/launch.cuh"
#include "compute/cuda/matvec.h"

#include <limits.h>

enum { LANES = 32, WARPS = 8, LINE = 128 };

static __device__ __forceinline__ float4 load_four(const float *row, int at, int cols, bool aligned)
{
    if (aligned && at + 4 <= cols) return *(const float4 *)(row + at);
    return make_float4(at < cols ? row[at] : 0.0f, at + 1 < cols ? row[at + 1] : 0.0f,
                       at + 2 < cols ? row[at + 2] : 0.0f, at + 3 < cols ? row[at + 3] : 0.0f);
}

template <int W, int X>
static __device__ __forceinline__ void add_products(const float *const (&rows_w)[W], const float *const (&rows_x)[X],
                                                    int at, int cols, bool aligned_w, bool aligned_x,
                                                    float (&sums)[W][X])
{
    float4 a[W], b[X];
#pragma unroll
    for (int w = 0; w < W; w++) a[w] = load_four(rows_w[w], at, cols, aligned_w);
#pragma unroll
    for (int r = 0; r < X; r++) b[r] = load_four(rows_x[r], at, cols, aligned_x);
#pragma unroll
    for (int w = 0; w < W; w++) {
#pragma unroll
        for (int r = 0; r < X; r++) {
            float sum = sums[w][r];
            sum = fmaf(a[w].x, b[r].x, sum);
            sum = fmaf(a[w].y, b[r].y, sum);
            sum = fmaf(a[w].z, b[r].z, sum);
            sums[w][r] = fmaf(a[w].w, b[r].w, sum);
        }
    }
}

/* A warp: W rows of the weight (blockIdx.x) times X rows of x (blockIdx.y). */
template <int W, int X>
static __global__ void __launch_bounds__(WARPS *LANES)
    linear_f32_kernel(CudaWeight weight, const float *bias, const float *x, int32_t n_rows, float *y)
{
    cuda_let_next_start();
    const int lane = threadIdx.x % LANES, cols = weight.cols, warps = blockDim.x / LANES;
    const int first_w = (blockIdx.x * warps + threadIdx.x / LANES) * W, first_x = blockIdx.y * X;
    const float *rows_w[W], *rows_x[X];
#pragma unroll
    for (int w = 0; w < W; w++) {
        const int row = min(first_w + w, weight.rows - 1);
        rows_w[w] = (const float *)(weight.planes[0] + (int64_t)row * weight.plane_stride[0]);
    }
#pragma unroll
    for (int r = 0; r < X; r++) rows_x[r] = x + (int64_t)min(first_x + r, n_rows - 1) * cols;
    if (X == 1 && first_w < weight.rows) {
        for (int at = lane * LINE; at < cols * 4; at += LANES * LINE)
            asm volatile("prefetch.global.L2 [%0];" ::"l"((const uint8_t *)rows_w[0] + at));
    }
    cuda_wait_for_inputs();
    if (first_w >= weight.rows) return;

    float sums[W][X] = {};
    const bool aligned = cols % 4 == 0 && ((uintptr_t)x & 15) == 0, weight_aligned = weight.plane_stride[0] % 16 == 0;
    const int whole = aligned && weight_aligned ? cols / (LANES * 4) * (LANES * 4) : 0;
#pragma unroll(X == 1 ? 4 : 1)
    for (int at = lane * 4; at < whole; at += LANES * 4)
        add_products<W, X>(rows_w, rows_x, at, INT_MAX, true, true, sums);
    for (int at = whole + lane * 4; at < cols; at += LANES * 4)
        add_products<W, X>(rows_w, rows_x, at, cols, weight_aligned, aligned, sums);
#pragma unroll
    for (int w = 0; w < W; w++) {
#pragma unroll
        for (int r = 0; r < X; r++) {
            float sum = sums[w][r];
            for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
            const int row = first_w + w;
            if (lane != 0 || row >= weight.rows || first_x + r >= n_rows) continue;
            sum *= weight.scale;
            y[(int64_t)(first_x + r) * weight.rows + row] = bias != NULL ? sum + bias[row] : sum;
        }
    }
}

void cuda_linear_f32(CudaQueue *queue, const float *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs)
{
    for (int32_t i = 0; i < n_outputs; i++) {
        const CudaOutput *output = &outputs[i];
        const unsigned rows = (unsigned)output->weight->rows;
        if (n_rows == 1) {
            /* Few rows (a router): over as many multiprocessors as there are. */
            const unsigned warps = rows >= (unsigned)queue->n_sms * WARPS ? WARPS : 1;
            cuda_launch(queue, linear_f32_kernel<1, 1>, dim3((rows + warps - 1) / warps), dim3(warps * LANES), 0,
                        *output->weight, output->bias, x, n_rows, output->y);
        } else {
            cuda_launch(queue, linear_f32_kernel<4, 4>,
                        dim3((rows + 4 * WARPS - 1) / (4 * WARPS), (unsigned)(n_rows + 3) / 4), dim3(WARPS * LANES), 0,
                        *output->weight, output->bias, x, n_rows, output->y);
        }
    }
}
