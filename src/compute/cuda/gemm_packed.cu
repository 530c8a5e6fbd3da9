/*
 * gemm_packed.cu - several rows of activations meet matrices of any type: y[r][n] = sum over k of w[n][k] x[r][k].
 *
 * Floor for few rows: the bytes of the packed matrix over 4.5 TB/s (H200). From about 100 rows on the tensor cores'
 * mma.sync rate and reading x from shared memory decide.
 *
 * Schedule. A block computes 128 rows of w by kRowTiles * 8 rows of x; each of its 4 warps 32 rows of w. Along k it
 * walks in spans of 128. The lane (g, t), g = lane / 4, t = lane % 4, reads of rows g, g + 8, g + 16, g + 24 the 32
 * elements [32 t, 32 t + 32) of the span straight from the planes: one group of the quantization, one span ahead. Eight
 * elements at a time become bfloat16 fragments of mma.m16n8k16. Which k an instruction's slot stands for is free as
 * long as both operands agree, so x is put into shared memory (cp.async, kStages deep) such that the lane finds the
 * same elements of row g.
 *
 * k is split over the blocks of a cluster, by the shape of the matrix alone, and their sums are added in order of rank
 * through distributed shared memory: a row's result does not depend on how many rows there are.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/codec.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/packed.h"

enum {
    kWarps = 4,
    kThreads = 32 * kWarps,
    kWarpRows = 32, /* of w */
    kBlockRows = kWarps * kWarpRows,
    kSpan = 128,
    kSpanChunks = kSpan / 8, /* of 16 bytes of x */
    kStages = 3,
    kSumStride = kBlockRows + 4, /* floats: spreads the banks */
};

typedef struct PackedMatrix {
    CudaWeight weight;
    const float *bias;
    float *y;
    int32_t rows, n_blocks;
} PackedMatrix;

typedef struct PackedArguments {
    PackedMatrix parts[CUDA_MAX_OUTPUTS];
    const uint16_t *x;
    const int4 *tiles;
    const int32_t *n_tiles, *x_rows;
    uint16_t *out; /* gated; NULL: not */
    size_t out_stride;
    float limit;
    Activation activation;
    int32_t n_rows, cols, n_spans, n_ranks;
} PackedArguments;

/* What a block does. */
struct Task {
    int rank, first_span, end_span; /* of k */
    int row, end_row;               /* of x, or of the groups' order */
    int group, group_row;           /* the matrix within its stack starts at row group_row */
    int part, first;                /* rows of y's columns: from `first` of `part` on; gated: 64 of gate and of up */
};

__device__ __forceinline__ bool packed_task(const PackedArguments &a, int tile_rows, Task *task)
{
    const int tile = blockIdx.x / a.n_ranks;
    *task = Task{};
    task->rank = blockIdx.x % a.n_ranks;
    task->first_span = a.n_spans * task->rank / a.n_ranks;
    task->end_span = a.n_spans * (task->rank + 1) / a.n_ranks;
    int block = blockIdx.y;
    if (a.out == nullptr)
        while (block >= a.parts[task->part].n_blocks) block -= a.parts[task->part++].n_blocks;
    task->first = block * (a.out != nullptr ? kBlockRows / 2 : kBlockRows);
    if (a.tiles == nullptr) {
        task->row = tile * tile_rows;
        task->end_row = min(task->row + tile_rows, a.n_rows);
        return true;
    }
    if (tile >= *a.n_tiles) return false;
    const int4 place = a.tiles[tile];
    task->group = place.x;
    task->group_row = place.x * a.parts[0].weight.stack_rows;
    task->row = place.y;
    task->end_row = place.z;
    return true;
}

/* ---- x in shared memory ---- */

/* Chunk c of a span belongs to lane column t as its j-th. Lanes of a plain 16-bit type take turns, so that a warp's
 * loads of w are whole lines; a group's lane has 32 elements in a row. */
template <DType T> struct Chunks {
    static constexpr bool kTurns = codec_shape(T).low_bits == 16;
    static __device__ __forceinline__ int column(int c) { return kTurns ? c % 4 : c / 4; }
    static __device__ __forceinline__ int turn(int c) { return kTurns ? c / 4 : c % 4; }
    /* 16-byte slot of (8-row tile, turn, lane); the last term keeps both the copy's writes and the reads free of
     * conflicts. */
    static __device__ __forceinline__ int slot(int tile, int turn, int lane)
    {
        return (tile * 4 + turn) * 32 + (lane ^ (kTurns ? turn % 2 * 4 : turn * 2));
    }
};

__device__ __forceinline__ void copy_async(void *to, const void *from, bool present)
{
    const int bytes = present ? 16 : 0; /* the rest of 16 becomes zeros */
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}

/* Eight elements that need not lie on 16 bytes. */
__device__ __forceinline__ void copy_slowly(uint4 *to, const uint16_t *from, int n)
{
    uint32_t words[4] = {};
    for (int i = 0; i < 8; i++)
        if (i < n) words[i / 2] |= (uint32_t)from[i] << (i % 2 * 16);
    *to = make_uint4(words[0], words[1], words[2], words[3]);
}

template <DType T, int kRowTiles>
__device__ __forceinline__ void copy_span(const PackedArguments &a, const Task &task, int span, uint4 *stage)
{
    const bool aligned = a.cols % 8 == 0;
#pragma unroll
    for (int i = 0; i < kRowTiles * 8 * kSpanChunks / kThreads; i++) {
        const int at = i * kThreads + threadIdx.x, r = at / kSpanChunks, c = at % kSpanChunks;
        const int row = task.row + r, k = span * kSpan + c * 8;
        const bool present = row < task.end_row && k < a.cols;
        const int x_row = !present ? 0 : a.x_rows != nullptr ? a.x_rows[row] : row;
        const uint16_t *from = a.x + (size_t)x_row * a.cols + (present ? k : 0);
        uint4 *to = stage + Chunks<T>::slot(r / 8, Chunks<T>::turn(c), r % 8 * 4 + Chunks<T>::column(c));
        if (aligned)
            copy_async(to, from, present);
        else
            copy_slowly(to, from, present ? a.cols - k : 0);
    }
}

/* ---- w in registers ---- */

__device__ __forceinline__ uint32_t pack_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&pair;
}

/* The 32 elements of a span that a lane has of one row. */
template <DType T> struct Strip {
    static constexpr bool kPlain = codec_shape(T).scaling == SCALING_NONE;
    CodecBits<T> bits;
    CodecScales scales;

    __device__ __forceinline__ void load(const CodecRow &row, int span, int t, int cols)
    {
        if constexpr (kPlain) {
            constexpr int kChunk = codec_shape(T).low_bits == 16 ? 8 : 16; /* elements of 16 bytes */
#pragma unroll
            for (int i = 0; i < kSpan / 4 / kChunk; i++) {
                const int at = span * kSpan + (kChunk == 8 ? i * 32 + t * 8 : t * 32 + i * 16);
                uint4 four = make_uint4(0, 0, 0, 0);
                if (at < cols) four = __ldg((const uint4 *)(row.low + (size_t)at * (16 / kChunk)));
                bits.low[4 * i] = four.x;
                bits.low[4 * i + 1] = four.y;
                bits.low[4 * i + 2] = four.z;
                bits.low[4 * i + 3] = four.w;
            }
        } else {
            const int group = span * 4 + t;
            const bool present = group * CODEC_GROUP < cols;
            bits = codec_load<T>(row, present ? group : 0);
            scales = codec_scales<T>(row, present ? group : 0);
            if (!present) scales = CodecScales{};
        }
    }

    /* Pairs (0, 1), (2, 3), (4, 5), (6, 7) of the lane's chunk j, as bfloat16. */
    __device__ __forceinline__ void pairs(int j, uint32_t (&out)[4]) const
    {
        if constexpr (T == DT_BF16) {
#pragma unroll
            for (int i = 0; i < 4; i++) out[i] = bits.low[4 * j + i];
        } else if constexpr (T == DT_F16) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const uint32_t word = bits.low[4 * j + i];
                out[i] = pack_pair(codec_half(word & 0xFFFF), codec_half(word >> 16));
            }
        } else if constexpr (kPlain) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const uint32_t word = bits.low[2 * j + i / 2] >> (i % 2 * 16);
                const __half2_raw both = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(word & 0xFFFF),
                                                                    T == DT_F8_E4M3 ? __NV_E4M3 : __NV_E5M2);
                out[i] = pack_pair(codec_half(both.x), codec_half(both.y));
            }
        } else {
            const uint32_t quads[2] = {codec_quad<T>(bits, 2 * j), codec_quad<T>(bits, 2 * j + 1)};
            float value[8];
#pragma unroll
            for (int e = 0; e < 8; e++) {
                const int position = codec_position(T, e);
                value[e] = number(quads[position / 4], position % 4) * scales.scale[j / 2];
                if constexpr (codec_has_minimum(T)) value[e] += scales.minimum[j / 2];
            }
#pragma unroll
            for (int i = 0; i < 4; i++) out[i] = pack_pair(value[2 * i], value[2 * i + 1]);
        }
    }

    /* Signed byte `at` of a quad less the type's zero: the byte, its sign flipped, is put under the exponent of 2^23.
     */
    static __device__ __forceinline__ float number(uint32_t quad, int at)
    {
        constexpr bool kSigned = codec_shape(T).low_bits == 8 || codec_is_table(T);
        const uint32_t flipped = kSigned ? quad ^ 0x80808080u : quad;
        const float shifted = __uint_as_float(__byte_perm(flipped, 0x4B000000u, 0x7440u | (uint32_t)at));
        return shifted - (8388608.0f + (kSigned ? 128.0f : 0.0f) + (float)codec_shape(T).zero);
    }
};

__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* sums += 32 rows of w times the rows of x, over one span. */
template <DType T, int kRowTiles>
__device__ __forceinline__ void multiply_span(const Strip<T> (&strips)[4], const uint4 *stage,
                                              float (&sums)[2][kRowTiles][4])
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        uint32_t w[2][2][4]; /* [16 rows][instruction][fragment] */
#pragma unroll
        for (int m = 0; m < 2; m++) {
            uint32_t upper[4], lower[4];
            strips[2 * m].pairs(j, upper);
            strips[2 * m + 1].pairs(j, lower);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                w[m][i][0] = upper[2 * i];
                w[m][i][1] = lower[2 * i];
                w[m][i][2] = upper[2 * i + 1];
                w[m][i][3] = lower[2 * i + 1];
            }
        }
#pragma unroll
        for (int tile = 0; tile < kRowTiles; tile++) {
            const uint4 x = stage[Chunks<T>::slot(tile, j, lane)];
#pragma unroll
            for (int m = 0; m < 2; m++) {
                mma(sums[m][tile], w[m][0], x.x, x.y);
                mma(sums[m][tile], w[m][1], x.z, x.w);
            }
        }
    }
}

/* ---- results ---- */

__device__ __forceinline__ void cluster_barrier()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/* The number at the same place in block `rank` of the cluster. */
__device__ __forceinline__ float cluster_read(const float *at, int rank)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    float value;
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %1, %2;\nld.shared::cluster.f32 %0, [remote];\n}"
        : "=f"(value)
        : "r"((uint32_t)__cvta_generic_to_shared(at)), "r"(rank)
        : "memory");
    return value;
#else
    return *at;
#endif
}

__device__ __forceinline__ float sum_ranks(const PackedArguments &a, const float *sums, int at)
{
    if (a.n_ranks == 1) return sums[at];
    float sum = 0.0f;
    for (int rank = 0; rank < a.n_ranks; rank++) sum += cluster_read(sums + at, rank);
    return sum;
}

__device__ __forceinline__ float finish(const PackedMatrix &part, const Task &task, int column, float sum)
{
    const CudaWeight &weight = part.weight;
    const float scale = weight.stack_scales != nullptr ? weight.stack_scales[task.group] : weight.scale;
    return sum * scale + (part.bias != nullptr ? part.bias[task.group_row + column] : 0.0f);
}

/* sums: shared [rows of x][kSumStride]; the ranks share the rows among them. */
__device__ __forceinline__ void write_results(const PackedArguments &a, const Task &task, const float *sums)
{
    const int n = task.end_row - task.row;
    if (a.out == nullptr) {
        const PackedMatrix &part = a.parts[task.part];
        const int column = task.first + threadIdx.x;
        for (int r = task.rank; r < n && column < part.rows; r += a.n_ranks)
            part.y[(size_t)(task.row + r) * part.rows + column] =
                finish(part, task, column, sum_ranks(a, sums, r * kSumStride + threadIdx.x));
        return;
    }
    const int half = kBlockRows / 2, column = task.first + threadIdx.x % half;
    for (int r = task.rank + a.n_ranks * (threadIdx.x / half); r < n && column < a.parts[0].rows; r += 2 * a.n_ranks) {
        const int at = r * kSumStride + threadIdx.x % half;
        const float gate = finish(a.parts[0], task, column, sum_ranks(a, sums, at));
        const float up = finish(a.parts[1], task, column, sum_ranks(a, sums, at + half));
        a.out[(size_t)(task.row + r) * a.out_stride + column] =
            __bfloat16_as_ushort(__float2bfloat16_rn(activation_gated(a.activation, a.limit, gate, up)));
    }
}

/* ---- the kernel ---- */

template <DType T, int kRowTiles>
__global__ void __launch_bounds__(kThreads, kRowTiles > 4 ? 2 : 3)
    packed_kernel(const __grid_constant__ PackedArguments a)
{
    extern __shared__ __align__(128) uint4 shared[];
    constexpr int kStageSlots = kRowTiles * 4 * 32;
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    cuda_let_next_start();
    if (a.tiles != nullptr) cuda_wait_for_inputs(); /* the tiles are computed on the device */
    Task task;
    if (!packed_task(a, kRowTiles * 8, &task)) return;

    const bool gated = a.out != nullptr;
    const PackedMatrix &part = a.parts[gated ? warp / 2 : task.part];
    const int first = task.first + (gated ? warp % 2 : warp) * kWarpRows;
    CodecRow rows[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        rows[i] = codec_row(part.weight, task.group_row + min(first + g + 8 * i, part.rows - 1));

    Strip<T> strips[4], next[4];
#pragma unroll
    for (int i = 0; i < 4; i++) next[i].load(rows[i], task.first_span, t, a.cols);
    if (a.tiles == nullptr) cuda_wait_for_inputs();
#pragma unroll
    for (int i = 0; i < kStages - 1; i++) {
        if (task.first_span + i < task.end_span)
            copy_span<T, kRowTiles>(a, task, task.first_span + i, shared + i * kStageSlots);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    float sums[2][kRowTiles][4] = {};
    for (int span = task.first_span; span < task.end_span; span++) {
        const int stage = (span - task.first_span) % kStages, free_stage = (stage + kStages - 1) % kStages;
#pragma unroll
        for (int i = 0; i < 4; i++) strips[i] = next[i];
        if (span + 1 < task.end_span) {
#pragma unroll
            for (int i = 0; i < 4; i++) next[i].load(rows[i], span + 1, t, a.cols);
        }
        asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
        __syncthreads();
        if (span + kStages - 1 < task.end_span)
            copy_span<T, kRowTiles>(a, task, span + kStages - 1, shared + free_stage * kStageSlots);
        asm volatile("cp.async.commit_group;" ::: "memory");
        multiply_span<T, kRowTiles>(strips, shared + stage * kStageSlots, sums);
    }

    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    float *out = (float *)shared; /* [rows of x][kSumStride] */
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int tile = 0; tile < kRowTiles; tile++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                out[(tile * 8 + 2 * t + i % 2) * kSumStride + warp * kWarpRows + m * 16 + g + i / 2 * 8] =
                    sums[m][tile][i];
    if (a.n_ranks > 1)
        cluster_barrier();
    else
        __syncthreads();
    write_results(a, task, out);
    if (a.n_ranks > 1) cluster_barrier(); /* others may still read these sums */
}

/* ---- host ---- */

int32_t packed_tile_rows(int32_t n_rows) { return n_rows <= PACKED_LEAST_ROWS ? PACKED_LEAST_ROWS : 64; }

/* Blocks along k: enough to keep the chip busy, at least four spans each; the shape alone decides. */
static int32_t ranks_for(const CudaQueue *queue, int32_t n_blocks, int32_t n_spans, bool grouped)
{
    if (queue->tier == CUDA_TIER_PORTABLE || grouped) return 1;
    int32_t ranks = 1;
    while (ranks < 8 && n_blocks * ranks < 2 * queue->n_sms && n_spans / (2 * ranks) >= 4) ranks *= 2;
    return ranks;
}

template <DType T, int kRowTiles>
static void launch_packed(CudaQueue *queue, const PackedArguments *arguments, int32_t n_blocks, int32_t n_tiles)
{
    const size_t stages = (size_t)kStages * kRowTiles * 4 * 32 * sizeof(uint4);
    const size_t sums = (size_t)kRowTiles * 8 * kSumStride * sizeof(float);
    cuda_launch_cluster(queue, packed_kernel<T, kRowTiles>,
                        dim3((unsigned)(n_tiles * arguments->n_ranks), (unsigned)n_blocks), dim3(kThreads),
                        (unsigned)arguments->n_ranks, stages > sums ? stages : sums, *arguments);
}

template <DType T>
static void choose_packed(CudaQueue *queue, const PackedArguments *arguments, int32_t n_blocks,
                          const GemmGroups *groups)
{
    const int32_t rows = groups != NULL ? groups->tile_rows : arguments->n_rows;
    const int32_t tile = packed_tile_rows(rows);
    const int32_t n_tiles = groups != NULL ? groups->max_tiles : (rows + tile - 1) / tile;
    if (tile == PACKED_LEAST_ROWS)
        launch_packed<T, 2>(queue, arguments, n_blocks, n_tiles);
    else
        launch_packed<T, 8>(queue, arguments, n_blocks, n_tiles);
}

void packed_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs,
                    const GemmGate *gate, const GemmGroups *groups)
{
    PackedArguments arguments = {};
    int32_t n_blocks = 0;
    const int32_t width = gate != NULL ? kBlockRows / 2 : kBlockRows;
    for (int32_t i = 0; i < n_outputs; i++) {
        PackedMatrix *part = &arguments.parts[i];
        part->weight = *outputs[i].weight;
        part->bias = outputs[i].bias;
        part->y = outputs[i].y;
        part->rows = groups != NULL ? part->weight.stack_rows : part->weight.rows;
        part->n_blocks = (part->rows + width - 1) / width;
        if (gate == NULL || i == 0) n_blocks += part->n_blocks;
    }
    arguments.x = x;
    arguments.n_rows = n_rows;
    arguments.cols = outputs[0].weight->cols;
    arguments.n_spans = (arguments.cols + kSpan - 1) / kSpan;
    arguments.n_ranks = ranks_for(queue, n_blocks, arguments.n_spans, groups != NULL);
    if (groups != NULL) {
        arguments.tiles = groups->tiles;
        arguments.n_tiles = groups->n_tiles;
        arguments.x_rows = groups->x_rows;
    }
    if (gate != NULL) {
        arguments.out = gate->out;
        arguments.out_stride = gate->out_stride;
        arguments.limit = gate->limit;
        arguments.activation = gate->activation;
    }
    switch (outputs[0].weight->type) {
#define PACKED(type)                                                                                                   \
    case type:                                                                                                         \
        choose_packed<type>(queue, &arguments, n_blocks, groups);                                                      \
        break;
        CODEC_BLOCK_TYPES(PACKED)
        PACKED(DT_F16) PACKED(DT_BF16) PACKED(DT_F8_E4M3) PACKED(DT_F8_E5M2)
#undef PACKED
            default : queue->error = cudaErrorNotSupported;
        break;
    }
}
