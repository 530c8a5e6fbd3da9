/*
 * gemm_packed.cu - several rows of activations meet matrices of any type: y[r][n] = sum over k of w[n][k] x[r][k].
 *
 * Floor for few rows: the bytes of the packed matrix over 4.5 TB/s (H200). From about 100 rows on the tensor cores'
 * mma.sync rate and reading x from shared memory decide.
 *
 * Measured over a layer of an 8B model: BF16 at 8 rows 3.0 TB/s; Q4_K 120 us at 8 rows and 270 us at 64 (103 TFLOP/s),
 * where decoding weights and the short share of k of a block cost more than memory does.
 *
 * Schedule. A block computes 128 rows of w by kRowTiles * 8 rows of x; each of its 4 warps 32 rows of w. Along k it
 * walks in spans of 128 (64 for 16-bit types), kStages of which are on their way to shared memory at any time
 * (cp.async). The lane (g, t), g = lane / 4, t = lane % 4, copies of rows g, g + 8, g + 16, g + 24 the 32 elements [32
 * t, 32 t + 32) of the span straight from the planes, one group of the quantization, to a place that only it reads.
 * Eight elements at a time become bfloat16 fragments of mma.m16n8k16. Which k an instruction's slot stands for is free
 * as long as both operands agree, so x is put into shared memory such that the lane finds the same elements of row g.
 *
 * k is split over the blocks of a cluster, by the shape of the matrix alone, and their sums are added in order of rank
 * through distributed shared memory: a row's result does not depend on how many rows there are.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/codec_bf16.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/packed.h"
#include "compute/cuda/packed_tiles.cuh"

enum {
    kWarps = 4,
    kThreads = 32 * kWarps,
    kWarpRows = 32, /* of w */
    kBlockRows = kWarps * kWarpRows,
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

/* ---- from global to shared memory ---- */

/* How spans of a type lie in shared memory: a stage holds x, then the low and the high planes' bits of w. */
template <DType T, int kRowTiles> struct Stage {
    static constexpr bool kPlain = codec_shape(T).scaling == SCALING_NONE;
    /* Lanes of a 16-bit type take 16-byte chunks in turns, so that a warp's loads are whole lines. */
    static constexpr bool kTurns = codec_shape(T).low_bits == 16;
    static constexpr int kSpan = kTurns ? 64 : 128;
    static constexpr int kChunks = kSpan / 8, kLaneChunks = kChunks / 4; /* 16 bytes of x */
    static constexpr int kLowBytes = kSpan / 4 * codec_shape(T).low_bits / 8,
                         kLowUnit = kLowBytes < 16 ? kLowBytes : 16;
    static constexpr int kHighBytes = 4 * codec_shape(T).high_bits;
    static constexpr int kXBytes = kRowTiles * 8 * kSpan * 2;
    static constexpr int kLowAt = kXBytes, kHighAt = kLowAt + 4 * kThreads * kLowBytes;
    static constexpr int kScaleBytes = SpanScales<T>::kBytes, kSuperBytes = SpanScales<T>::kSuperBytes;
    static constexpr int kScalesAt = kHighAt + 4 * kThreads * kHighBytes,
                         kSuperAt = kScalesAt + kBlockRows * kScaleBytes;
    static constexpr int kBytes = (kSuperAt + kBlockRows * (kSuperBytes > 0 ? 4 : 0) + 15) / 16 * 16;
    static constexpr int kCount = 4 * kBytes > CUDA_COMMON_SHARED_BYTES ? 3 : kBytes > 16 * 1024 ? 4 : 6;
    static_assert(kCount * kBytes <= CUDA_COMMON_SHARED_BYTES, "no GPU but a few runs this");

    static __device__ __forceinline__ int column(int chunk) { return kTurns ? chunk % 4 : chunk / kLaneChunks; }
    static __device__ __forceinline__ int turn(int chunk) { return kTurns ? chunk / 4 : chunk % kLaneChunks; }
    /* 16-byte slot of x; the last term keeps both the copy's writes and the reads free of bank conflicts. */
    static __device__ __forceinline__ int slot(int tile, int turn, int lane)
    {
        return (tile * kLaneChunks + turn) * 32 + (lane ^ (kTurns ? turn * 4 : turn * 2));
    }
    /* Bytes of this thread's strip i. */
    static __device__ __forceinline__ int low(int i, int unit)
    {
        return kLowAt + ((i * (kLowBytes / kLowUnit) + unit) * kThreads + (int)threadIdx.x) * kLowUnit;
    }
    static __device__ __forceinline__ int high(int i)
    {
        return kHighAt + (i * kThreads + (int)threadIdx.x) * kHighBytes;
    }
    /* Scales of the row of this thread's strip i, which four lanes share. */
    static __device__ __forceinline__ int scales(int i)
    {
        return kScalesAt + (i * (kThreads / 4) + (int)threadIdx.x / 4) * kScaleBytes;
    }
    static __device__ __forceinline__ int super(int i)
    {
        return kSuperAt + (i * (kThreads / 4) + (int)threadIdx.x / 4) * 4;
    }
};

/* Eight elements that need not lie on 16 bytes. */
__device__ __forceinline__ void copy_slowly(void *to, const uint16_t *from, int n)
{
    uint32_t words[4] = {};
    for (int i = 0; i < 8; i++)
        if (i < n) words[i / 2] |= (uint32_t)from[i] << (i % 2 * 16);
    *(uint4 *)to = make_uint4(words[0], words[1], words[2], words[3]);
}

/* Which elements of x this thread copies of every span: chunk threadIdx.x % kChunks of some rows. */
template <DType T, int kRowTiles> struct XRows {
    using S = Stage<T, kRowTiles>;
    static constexpr int kCount = kRowTiles * 8 * S::kChunks / kThreads, kStep = kThreads / S::kChunks;
    int32_t row[kCount]; /* -1: none */

    __device__ __forceinline__ XRows(const PackedArguments &a, const Task &task)
    {
#pragma unroll
        for (int i = 0; i < kCount; i++) {
            const int at = task.row + i * kStep + (int)threadIdx.x / S::kChunks;
            row[i] = at >= task.end_row ? -1 : a.x_rows != nullptr ? a.x_rows[at] : at;
        }
    }

    __device__ __forceinline__ void copy(const PackedArguments &a, int span, uint8_t *stage) const
    {
        const int chunk = threadIdx.x % S::kChunks, k = span * S::kSpan + chunk * 8;
        const bool aligned = a.cols % 8 == 0, inside = k < a.cols;
        const uint16_t *from = a.x + (inside ? k : 0);
#pragma unroll
        for (int i = 0; i < kCount; i++) {
            const int r = i * kStep + (int)threadIdx.x / S::kChunks;
            const bool present = inside && row[i] >= 0;
            uint8_t *to = stage + 16 * S::slot(r / 8, S::turn(chunk), r % 8 * 4 + S::column(chunk));
            const uint16_t *elements = from + (size_t)(uint32_t)max(row[i], 0) * (uint32_t)a.cols;
            if (aligned)
                copy_async<16>(to, elements, present);
            else
                copy_slowly(to, elements, present ? a.cols - k : 0);
        }
    }
};

/* Lane t copies the t-th 4 bytes of a row's scales, or lane 0 all at once; lane 3 what belongs to 256 elements. */
template <DType T, int kRowTiles>
__device__ __forceinline__ void copy_scales(const PackedArguments &a, const CodecRow &row, int i, int span,
                                            uint8_t *stage)
{
    using S = Stage<T, kRowTiles>;
    const int t = threadIdx.x % 4;
    const uint8_t *from = row.scales + SpanScales<T>::at(span);
    if constexpr (S::kScaleBytes == 12) { /* rows of 12 bytes: no better alignment than 4 */
        if (t < 3) copy_async<4>(stage + S::scales(i) + 4 * t, from + 4 * t);
    } else if constexpr (S::kScaleBytes > 0) {
        if (t == 0) copy_async<S::kScaleBytes>(stage + S::scales(i), from);
    }
    if constexpr (S::kSuperBytes > 0)
        if (t == 3) copy_async<4>(stage + S::super(i), row.super + SpanScales<T>::super_at(span));
}

template <DType T, int kRowTiles>
__device__ __forceinline__ void copy_w(const PackedArguments &a, const CodecRow (&rows)[4], int span, uint8_t *stage)
{
    using S = Stage<T, kRowTiles>;
    constexpr int kUnitElements = S::kLowUnit * 8 / codec_shape(T).low_bits;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int unit = 0; unit < S::kLowBytes / S::kLowUnit; unit++) {
            const int k = span * S::kSpan + (S::kTurns ? unit * 32 + t * 8 : t * 32 + unit * kUnitElements);
            const bool present = k < a.cols;
            const uint8_t *from = rows[i].low + (present ? k : 0) / 8 * codec_shape(T).low_bits;
            copy_async<S::kLowUnit>(stage + S::low(i, unit), from, present);
        }
        copy_scales<T, kRowTiles>(a, rows[i], i, span, stage);
        if constexpr (S::kHighBytes > 0) {
            const int group = span * 4 + t;
            const bool present = group * CODEC_GROUP < a.cols;
            const uint8_t *from = rows[i].high + (present ? group : 0) * S::kHighBytes;
            copy_async<S::kHighBytes>(stage + S::high(i), from, present);
        }
    }
}

/* ---- from shared memory to fragments ---- */

/* The elements of a span that a lane has of one row. */
template <DType T, int kRowTiles> struct Strip {
    using S = Stage<T, kRowTiles>;
    uint32_t low_words[S::kLowBytes / 4];
    CodecBits<T> bits;
    CodecScales scales;

    __device__ __forceinline__ void read(const uint8_t *stage, int i, int span, int cols)
    {
        codec_words<S::kLowUnit / 4>(stage + S::low(i, 0), low_words);
        if constexpr (S::kLowBytes > 16) codec_words<4>(stage + S::low(i, 1), low_words + 4);
        if constexpr (!S::kPlain) {
#pragma unroll
            for (int word = 0; word < S::kLowBytes / 4; word++) bits.low[word] = low_words[word];
            codec_words<CodecBits<T>::n_high>(stage + S::high(i), bits.high);
            const int t = threadIdx.x % 4, group = span * 4 + t;
            const CodecRow row = {nullptr, nullptr, stage + S::scales(i),
                                  stage + S::super(i) + SpanScales<T>::super_half(span)};
            scales = codec_scales<T>(row, SpanScales<T>::group(span, t));
            if (group * CODEC_GROUP >= cols) scales = CodecScales{};
        }
    }

    /* Pairs (0, 1), (2, 3), (4, 5), (6, 7) of the lane's chunk j, as bfloat16. */
    __device__ __forceinline__ void pairs(int j, uint32_t (&out)[4]) const
    {
        if constexpr (S::kPlain)
            bf16_from_plain<T>(low_words + j * (codec_shape(T).low_bits / 4), out);
        else
            bf16_from_quads<T>(codec_quad<T>(bits, 2 * j), codec_quad<T>(bits, 2 * j + 1), scales.scale[j / 2],
                               scales.minimum[j / 2], out);
    }
};

__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* sums += 32 rows of w times the rows of x, over one span. */
template <DType T, int kRowTiles>
__device__ __forceinline__ void multiply_span(const uint8_t *stage, int span, int cols, float (&sums)[2][kRowTiles][4])
{
    using S = Stage<T, kRowTiles>;
    constexpr int kBatch = kRowTiles < 4 ? kRowTiles : 4; /* tiles between two uses of the same sums */
    Strip<T, kRowTiles> strips[4];
#pragma unroll
    for (int i = 0; i < 4; i++) strips[i].read(stage, i, span, cols);
#pragma unroll
    for (int j = 0; j < S::kLaneChunks; j++) {
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
        for (int first = 0; first < kRowTiles; first += kBatch) {
            uint4 x[kBatch];
#pragma unroll
            for (int tile = 0; tile < kBatch; tile++)
                x[tile] = ((const uint4 *)stage)[S::slot(first + tile, j, threadIdx.x % 32)];
#pragma unroll
            for (int tile = 0; tile < kBatch; tile++)
#pragma unroll
                for (int m = 0; m < 2; m++) mma(sums[m][first + tile], w[m][0], x[tile].x, x[tile].y);
#pragma unroll
            for (int tile = 0; tile < kBatch; tile++)
#pragma unroll
                for (int m = 0; m < 2; m++) mma(sums[m][first + tile], w[m][1], x[tile].z, x[tile].w);
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
                finish(part, task, column, cluster_sum(sums + r * kSumStride + threadIdx.x, a.n_ranks));
        return;
    }
    const int half = kBlockRows / 2, column = task.first + threadIdx.x % half;
    for (int r = task.rank + a.n_ranks * (threadIdx.x / half); r < n && column < a.parts[0].rows; r += 2 * a.n_ranks) {
        const int at = r * kSumStride + threadIdx.x % half;
        const float gate = finish(a.parts[0], task, column, cluster_sum(sums + at, a.n_ranks));
        const float up = finish(a.parts[1], task, column, cluster_sum(sums + at + half, a.n_ranks));
        a.out[(size_t)(task.row + r) * a.out_stride + column] =
            __bfloat16_as_ushort(__float2bfloat16_rn(activation_gated(a.activation, a.limit, gate, up)));
    }
}

/* ---- the kernel ---- */

template <DType T, int kRowTiles>
__global__ void __launch_bounds__(kThreads, kRowTiles > 4 ? 2 : 3)
    packed_kernel(const __grid_constant__ PackedArguments a)
{
    using S = Stage<T, kRowTiles>;
    extern __shared__ __align__(128) uint8_t shared[];
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

    const int n_spans = task.end_span - task.first_span;
#pragma unroll
    for (int i = 0; i < S::kCount - 1; i++) /* weights depend on no earlier kernel */
        if (i < n_spans) copy_w<T, kRowTiles>(a, rows, task.first_span + i, shared + i * S::kBytes);
    if (a.tiles == nullptr) cuda_wait_for_inputs();
    const XRows<T, kRowTiles> x(a, task);
#pragma unroll
    for (int i = 0; i < S::kCount - 1; i++) {
        if (i < n_spans) x.copy(a, task.first_span + i, shared + i * S::kBytes);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    float sums[2][kRowTiles][4] = {};
    int stage = 0;
    for (int i = 0; i < n_spans; i++) {
        const int span = task.first_span + i, free_stage = stage == 0 ? S::kCount - 1 : stage - 1;
        asm volatile("cp.async.wait_group %0;" ::"n"(S::kCount - 2) : "memory");
        __syncthreads();
        if (i + S::kCount - 1 < n_spans) {
            copy_w<T, kRowTiles>(a, rows, span + S::kCount - 1, shared + free_stage * S::kBytes);
            x.copy(a, span + S::kCount - 1, shared + free_stage * S::kBytes);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        multiply_span<T, kRowTiles>(shared + stage * S::kBytes, span, a.cols, sums);
        stage = stage == S::kCount - 1 ? 0 : stage + 1;
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

/* Blocks along k: as many as the chip holds at once, at least four spans each; the shape alone decides. */
static int32_t ranks_for(const CudaQueue *queue, int32_t n_blocks, int32_t n_spans, bool grouped)
{
    if (queue->tier == CUDA_TIER_PORTABLE || grouped) return 1;
    int32_t ranks = 1;
    while (ranks < MAX_RANKS && 2 * n_blocks * ranks <= 2 * queue->n_sms && n_spans / (2 * ranks) >= 4) ranks *= 2;
    return ranks;
}

template <DType T, int kRowTiles>
static void launch_packed(CudaQueue *queue, PackedArguments *arguments, int32_t n_blocks, int32_t n_tiles)
{
    const size_t stages = (size_t)Stage<T, kRowTiles>::kCount * Stage<T, kRowTiles>::kBytes;
    const size_t sums = (size_t)kRowTiles * 8 * kSumStride * sizeof(float);
    cuda_launch_cluster(queue, packed_kernel<T, kRowTiles>,
                        dim3((unsigned)(n_tiles * arguments->n_ranks), (unsigned)n_blocks), dim3(kThreads),
                        (unsigned)arguments->n_ranks, stages > sums ? stages : sums, *arguments);
}

template <DType T>
static void choose_packed(CudaQueue *queue, PackedArguments *arguments, int32_t n_blocks, const GemmGroups *groups)
{
    constexpr int32_t kSpan = Stage<T, 2>::kSpan;
    arguments->n_spans = (arguments->cols + kSpan - 1) / kSpan;
    arguments->n_ranks = ranks_for(queue, n_blocks, arguments->n_spans, groups != NULL);
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
        PACKED(DT_F16)
        PACKED(DT_BF16)
        PACKED(DT_F8_E4M3)
        PACKED(DT_F8_E5M2)
#undef PACKED
    default:
        queue->error = cudaErrorNotSupported;
        break;
    }
}
