/*
 * gemm_block_scaled.cu - several rows of activations meet NVFP4 and MXFP4 matrices on block-scaled tensor cores:
 * y[r][n] = sum over k of w[n][k] x[r][k], with x as a sum of terms (block_scaled.cuh).
 *
 * Floor: the bytes of the packed matrix, or terms * 2 n_rows rows cols operations at the rate of FP4 (NVFP4) or FP8
 * (MXFP4) tensor instructions. No card of this tier was at hand: nothing here is tuned, only counted. On other GPUs the
 * same kernel runs with the instruction emulated, which is how its tests run (tests/gpu/test_block_scaled.c).
 *
 * Schedule. A block of 8 warps computes 128 rows of w ("columns" of y) by 32 or 128 rows of x, each warp kRowTiles
 * tiles of 16 rows of w by 32 rows of x. Along k it walks in spans of 128 of which kStages are on their way to shared
 * memory (cp.async): elements and scales of w and of every term of x. A step of 64 of w is read once (ldmatrix) and
 * meets the terms one after the other. Sums go through shared memory, so that results are written in whole lines, with
 * the activation of a gated product, where the block's columns are 64 of gate and the same 64 of up.
 *
 * In shared memory 16-byte chunks of a row are swapped by its number, so that neither copies nor ldmatrix meet bank
 * conflicts. k is never split and terms have one order: a row's result does not depend on how many rows there are.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/block_scaled.cuh"
#include "compute/cuda/block_scaled.h"
#include "compute/cuda/codec.cuh"
#include "compute/cuda/launch.cuh"

enum {
    kThreads = 256,
    kSpan = 128,                 /* of k */
    kBlockRows = 128,            /* of w */
    kWarpColumns = 32,           /* rows of x */
    kSumStride = kBlockRows + 4, /* floats: spreads the banks */
    kWeightBytes = kSpan / 2,    /* of a row in a span */
};

typedef struct BlockScaledMatrix {
    CudaWeight weight;
    const float *bias;
    float *y;
    int32_t n_blocks;
} BlockScaledMatrix;

typedef struct BlockScaledArguments {
    BlockScaledMatrix parts[CUDA_MAX_OUTPUTS];
    BlockScaledRows x;
    uint16_t *out; /* gated; NULL: not */
    size_t out_stride;
    float limit;
    Activation activation;
    int32_t cols;
} BlockScaledArguments;

/* How a span lies in shared memory: w, the terms of x, the scales of both. */
template <DType T, int kRowTiles> struct Stage {
    static constexpr BlockScaledShape kShape = block_scaled_shape(T);
    static constexpr int kRows = kWarpColumns * kRowTiles; /* of x */
    static constexpr int kRowBytes = kSpan * kShape.bits / 8, kScaleBytes = kSpan / kShape.group;
    static constexpr int kXAt = kBlockRows * kWeightBytes;
    static constexpr int kScalesWAt = kXAt + kShape.terms * kRows * kRowBytes;
    static constexpr int kScalesXAt = kScalesWAt + kBlockRows * kScaleBytes;
    static constexpr int kBytes = kScalesXAt + kShape.terms * kRows * kScaleBytes;
    static constexpr int kCount = kRowTiles > 1 ? 2 : 4;

    /* Offset of 16-byte chunk `chunk` of row `row` in a tile whose rows have `bytes`, 64 or 128. */
    static __device__ __forceinline__ int chunk_at(int row, int chunk, int bytes)
    {
        const int turn = bytes == 64 ? row / 2 % 4 : row % 8;
        return row * bytes + (chunk ^ turn) * 16;
    }
};

/* ---- from global to shared memory ---- */

template <int n> __device__ __forceinline__ void copy_async(uint8_t *to, const uint8_t *from, int present)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    const int bytes = min(max(present, 0), n); /* the rest becomes zeros */
    if constexpr (n == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(at), "l"(from), "r"(bytes), "n"(n)
                     : "memory");
}

/* Bytes `at` … `at` + n - 1 of a row of `row_bytes`. */
template <int n> __device__ __forceinline__ void copy_part(uint8_t *to, const uint8_t *row, int at, int row_bytes)
{
    copy_async<n>(to, row + (at < row_bytes ? at : 0), row_bytes - at);
}

/* Row r of the block's 128 of w: in a gated product 64 of each part. */
__device__ __forceinline__ CodecRow row_of_w(const BlockScaledArguments &a, int part, int first, int r)
{
    if (a.out != nullptr) part = r / (kBlockRows / 2);
    const CudaWeight &weight = a.parts[part].weight;
    return codec_row(weight, min(first + (a.out != nullptr ? r % (kBlockRows / 2) : r), weight.rows - 1));
}

template <DType T, int kRowTiles>
__device__ __forceinline__ void copy_w(const BlockScaledArguments &a, int part, int first, int span, uint8_t *stage)
{
    using S = Stage<T, kRowTiles>;
    constexpr int kChunks = kWeightBytes / 16;
#pragma unroll
    for (int i = 0; i < kBlockRows * kChunks / kThreads; i++) {
        const int at = i * kThreads + (int)threadIdx.x, r = at / kChunks, chunk = at % kChunks;
        copy_part<16>(stage + S::chunk_at(r, chunk, kWeightBytes), row_of_w(a, part, first, r).low,
                      span * kWeightBytes + chunk * 16, a.cols / 2);
    }
    if (threadIdx.x < kBlockRows)
        copy_part<S::kScaleBytes>(stage + S::kScalesWAt + threadIdx.x * S::kScaleBytes,
                                  row_of_w(a, part, first, threadIdx.x).scales, span * S::kScaleBytes,
                                  a.cols / S::kShape.group);
}

template <DType T, int kRowTiles>
__device__ __forceinline__ void copy_x(const BlockScaledArguments &a, int first, int span, uint8_t *stage)
{
    using S = Stage<T, kRowTiles>;
    constexpr int kChunks = S::kRowBytes / 16, kAll = S::kShape.terms * S::kRows * kChunks;
    const int last = a.x.n_rows - 1;
#pragma unroll
    for (int i = 0; i < (kAll + kThreads - 1) / kThreads; i++) {
        const int at = i * kThreads + (int)threadIdx.x, chunk = at % kChunks, r = at / kChunks;
        if (kAll % kThreads != 0 && at >= kAll) break;
        const size_t row = (size_t)(r / S::kRows) * (size_t)a.x.n_rows + (size_t)min(first + r % S::kRows, last);
        copy_part<16>(stage + S::kXAt + S::chunk_at(r, chunk, S::kRowBytes), a.x.elements + row * (size_t)a.x.row_bytes,
                      span * S::kRowBytes + chunk * 16, a.x.row_bytes);
    }
    for (int r = threadIdx.x; r < S::kShape.terms * S::kRows; r += kThreads) {
        const size_t row = (size_t)(r / S::kRows) * (size_t)a.x.n_rows + (size_t)min(first + r % S::kRows, last);
        copy_part<S::kScaleBytes>(stage + S::kScalesXAt + r * S::kScaleBytes,
                                  a.x.scales + row * (size_t)a.x.scale_bytes, span * S::kScaleBytes,
                                  a.cols / S::kShape.group);
    }
}

/* ---- from shared memory to fragments ---- */

/* Four 8 by 16-byte matrices; lane l gives the address of row l % 8 of matrix l / 8 and gets word l % 4 of row l / 4.
 */
__device__ __forceinline__ void load_matrices(const uint8_t *at, uint32_t (&out)[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(at))
                 : "memory");
}

/* Scales of a row for a step: its own word, or the span's. */
template <int kStep, int kScaleBytes> __device__ __forceinline__ uint32_t load_scales(const uint8_t *scales, int row)
{
    return *(const uint32_t *)(scales + row * kScaleBytes + (kScaleBytes > 4 ? 4 * kStep : 0));
}

/* Registers for columns 8 i … 8 i + 7 of this warp's, i < 4, of rows `first` … of the terms' tile. */
template <DType T, int kRowTiles, int kStep>
__device__ __forceinline__ void load_columns(const uint8_t *x, int first,
                                             uint32_t (&out)[4][BlockScaledTile<T>::kColumnWords])
{
    using S = Stage<T, kRowTiles>;
    const int lane = threadIdx.x % 32;
    constexpr int kWords = BlockScaledTile<T>::kColumnWords, kEach = 4 / kWords; /* columns of one ldmatrix, in 8s */
#pragma unroll
    for (int i = 0; i < 4; i += kEach) {
        uint32_t loaded[4];
        const int row = first + 8 * i + lane / 8 / kWords * 8 + lane % 8, chunk = kStep * kWords + lane / 8 % kWords;
        load_matrices(x + S::chunk_at(row, chunk, S::kRowBytes), loaded);
#pragma unroll
        for (int j = 0; j < 4; j++) out[i + j / kWords][j % kWords] = loaded[j];
    }
}

/* sums += this warp's rows of w times its rows of x, over 64 of k. */
template <DType T, int kRowTiles, int kStep>
__device__ __forceinline__ void multiply_step(const uint8_t *stage, int first_row, int first_column,
                                              float (&sums)[kRowTiles][4][4])
{
    using S = Stage<T, kRowTiles>;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    BlockScaledTile<T> tiles[kRowTiles];
    uint32_t scales_w[kRowTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; m++) {
        uint32_t loaded[4];
        const int row = first_row + 16 * m + lane % 16;
        load_matrices(stage + S::chunk_at(row, 2 * kStep + lane / 16, kWeightBytes), loaded);
        tiles[m].set(loaded);
        scales_w[m] = load_scales<kStep, S::kScaleBytes>(stage + S::kScalesWAt, first_row + 16 * m + g + t % 2 * 8);
    }
#pragma unroll 1
    for (int term = 0; term < S::kShape.terms; term++) {
        const int first = term * S::kRows + first_column;
        uint32_t columns[4][BlockScaledTile<T>::kColumnWords];
        load_columns<T, kRowTiles, kStep>(stage + S::kXAt, first, columns);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const uint32_t scales_x = load_scales<kStep, S::kScaleBytes>(stage + S::kScalesXAt, first + 8 * n + g);
#pragma unroll
            for (int m = 0; m < kRowTiles; m++)
                tiles[m].template multiply<kStep>(sums[m][n], columns[n], scales_w[m], scales_x);
        }
    }
}

/* ---- results ---- */

__device__ __forceinline__ float finish(const BlockScaledMatrix &part, int column, float sum)
{
    return sum * part.weight.scale + (part.bias != nullptr ? part.bias[column] : 0.0f);
}

/* sums: shared [rows of x][kSumStride]. */
__device__ __forceinline__ void write_results(const BlockScaledArguments &a, int part, int first_column, int first_row,
                                              int n_rows, const float *sums)
{
    const bool gated = a.out != nullptr;
    const int width = gated ? kBlockRows / 2 : kBlockRows, c = threadIdx.x % width, column = first_column + c;
    if (column >= a.parts[part].weight.rows) return;
    for (int r = threadIdx.x / width; r < n_rows; r += kThreads / width) {
        const size_t row = (size_t)(first_row + r);
        const float factor = a.x.factors != nullptr ? a.x.factors[row] : 1.0f;
        const float sum = finish(a.parts[part], column, sums[r * kSumStride + c] * factor);
        if (gated) {
            const float up = finish(a.parts[1], column, sums[r * kSumStride + width + c] * factor);
            a.out[row * a.out_stride + column] =
                __bfloat16_as_ushort(__float2bfloat16_rn(activation_gated(a.activation, a.limit, sum, up)));
        } else {
            a.parts[part].y[row * (size_t)a.parts[part].weight.rows + column] = sum;
        }
    }
}

/* ---- the kernel ---- */

template <DType T, int kRowTiles>
static __global__ void __launch_bounds__(kThreads, 1)
    block_scaled_kernel(const __grid_constant__ BlockScaledArguments a)
{
    using S = Stage<T, kRowTiles>;
    extern __shared__ __align__(128) uint8_t shared[];
    cuda_let_next_start();
    int part = 0, block = blockIdx.y;
    if (a.out == nullptr)
        while (block >= a.parts[part].n_blocks) block -= a.parts[part++].n_blocks;
    const int first_w = block * (a.out != nullptr ? kBlockRows / 2 : kBlockRows), first_x = blockIdx.x * S::kRows;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int first_row = warp / kRowTiles * 16 * kRowTiles, first_column = warp % kRowTiles * kWarpColumns;

    const int n_spans = (a.cols + kSpan - 1) / kSpan;
#pragma unroll
    for (int i = 0; i < S::kCount - 1; i++) /* weights depend on no earlier kernel */
        if (i < n_spans) copy_w<T, kRowTiles>(a, part, first_w, i, shared + i * S::kBytes);
    cuda_wait_for_inputs();
#pragma unroll
    for (int i = 0; i < S::kCount - 1; i++) {
        if (i < n_spans) copy_x<T, kRowTiles>(a, first_x, i, shared + i * S::kBytes);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    float sums[kRowTiles][4][4] = {};
    for (int span = 0; span < n_spans; span++) {
        const int next = span + S::kCount - 1;
        asm volatile("cp.async.wait_group %0;" ::"n"(S::kCount - 2) : "memory");
        __syncthreads();
        if (next < n_spans) {
            copy_w<T, kRowTiles>(a, part, first_w, next, shared + next % S::kCount * S::kBytes);
            copy_x<T, kRowTiles>(a, first_x, next, shared + next % S::kCount * S::kBytes);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        const uint8_t *stage = shared + span % S::kCount * S::kBytes;
        multiply_step<T, kRowTiles, 0>(stage, first_row, first_column, sums);
        multiply_step<T, kRowTiles, 1>(stage, first_row, first_column, sums);
    }

    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    float *out = (float *)shared; /* [rows of x][kSumStride] */
#pragma unroll
    for (int m = 0; m < kRowTiles; m++)
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                out[(first_column + 8 * n + 2 * (lane % 4) + i % 2) * kSumStride + first_row + 16 * m + lane / 4 +
                    i / 2 * 8] = sums[m][n][i];
    __syncthreads();
    write_results(a, part, first_w, first_x, min(S::kRows, a.x.n_rows - first_x), out);
}

/* ---- host ---- */

static size_t round_up(size_t bytes) { return (bytes + 15) / 16 * 16; }

size_t block_scaled_row_bytes(DType type, int32_t cols)
{
    const BlockScaledShape shape = block_scaled_shape(type);
    if (shape.terms == 0) return 0;
    const size_t row = (size_t)cols * (size_t)shape.bits / 8, scales = round_up((size_t)(cols / shape.group));
    return (size_t)shape.terms * (row + scales) + 16; /* 16: the row's factor, and alignment */
}

bool block_scaled_possible(const CudaQueue *queue, const uint16_t *x, const CudaOutput *outputs, int32_t n_outputs)
{
    const CudaWeight *first = outputs[0].weight;
    const size_t bytes = block_scaled_row_bytes(first->type, first->cols);
    if (bytes == 0 || first->cols % CODEC_GROUP != 0 || (uintptr_t)x % 16 != 0) return false;
    for (int32_t i = 0; i < n_outputs; i++)
        if (outputs[i].weight->type != first->type || outputs[i].weight->stack_scales != NULL) return false;
    return bytes * BLOCK_SCALED_LEAST_ROWS <= queue->workspace_bytes;
}

/* Lays out `n_rows` rows of terms in the workspace. */
static BlockScaledRows place_rows(const CudaQueue *queue, DType type, int32_t cols, int32_t n_rows)
{
    const BlockScaledShape shape = block_scaled_shape(type);
    BlockScaledRows rows = {};
    const size_t n = (size_t)shape.terms * (size_t)n_rows;
    rows.n_rows = n_rows;
    rows.row_bytes = cols * shape.bits / 8;
    rows.scale_bytes = (int32_t)round_up((size_t)(cols / shape.group));
    rows.elements = (uint8_t *)queue->workspace;
    rows.scales = rows.elements + n * (size_t)rows.row_bytes;
    rows.factors = type == DT_NVFP4 ? (float *)(rows.scales + n * (size_t)rows.scale_bytes) : NULL;
    return rows;
}

template <DType T, int kRowTiles>
static void launch_block_scaled(CudaQueue *queue, const BlockScaledArguments &arguments, int32_t n_blocks)
{
    using S = Stage<T, kRowTiles>;
    const size_t stages = (size_t)S::kCount * S::kBytes, sums = (size_t)S::kRows * kSumStride * sizeof(float);
    const dim3 grid((unsigned)((arguments.x.n_rows + S::kRows - 1) / S::kRows), (unsigned)n_blocks);
    cuda_launch(queue, block_scaled_kernel<T, kRowTiles>, grid, dim3(kThreads), stages > sums ? stages : sums,
                arguments);
}

template <DType T>
static void choose_block_scaled(CudaQueue *queue, const BlockScaledArguments &arguments, int32_t n_blocks)
{
    if (arguments.x.n_rows <= kWarpColumns)
        launch_block_scaled<T, 1>(queue, arguments, n_blocks);
    else
        launch_block_scaled<T, 4>(queue, arguments, n_blocks);
}

void block_scaled_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                          int32_t n_outputs, const GemmGate *gate)
{
    BlockScaledArguments arguments = {};
    const DType type = outputs[0].weight->type;
    int32_t n_blocks = 0;
    arguments.cols = outputs[0].weight->cols;
    for (int32_t i = 0; i < n_outputs; i++) {
        BlockScaledMatrix *part = &arguments.parts[i];
        const int32_t width = gate != NULL ? kBlockRows / 2 : kBlockRows;
        part->weight = *outputs[i].weight;
        part->bias = outputs[i].bias;
        part->n_blocks = (part->weight.rows + width - 1) / width;
        if (gate == NULL || i == 0) n_blocks += part->n_blocks;
    }
    /* As many rows at once as the workspace holds in terms. */
    const size_t most = queue->workspace_bytes / block_scaled_row_bytes(type, arguments.cols);
    for (int32_t first = 0, n; first < n_rows; first += n) {
        n = n_rows - first;
        if ((size_t)n > most) n = (int32_t)most;
        arguments.x = place_rows(queue, type, arguments.cols, n);
        block_scaled_split(queue, type, x + (size_t)first * (size_t)arguments.cols, arguments.cols, &arguments.x);
        for (int32_t i = 0; i < n_outputs && gate == NULL; i++)
            arguments.parts[i].y = outputs[i].y + (size_t)first * (size_t)outputs[i].weight->rows;
        if (gate != NULL) {
            arguments.out = gate->out + (size_t)first * gate->out_stride;
            arguments.out_stride = gate->out_stride;
            arguments.limit = gate->limit;
            arguments.activation = gate->activation;
        }
        if (type == DT_NVFP4)
            choose_block_scaled<DT_NVFP4>(queue, arguments, n_blocks);
        else
            choose_block_scaled<DT_MXFP4>(queue, arguments, n_blocks);
    }
}
