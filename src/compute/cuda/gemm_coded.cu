/*
 * gemm_coded.cu - a few dozen rows on Hopper: packed weights become tensor core operands in registers.
 *
 *     y[r][n] = sum over k of w[n][k] x[r][k]
 *
 * Floor: the bytes of w over 4.5 TB/s (H200), 2 n_rows rows cols operations at 770 TFLOP/s, and decoding: the lanes of
 * the chip issue 30e12 instructions a second and an element takes 3 to 4. A layer of an 8B model in Q4_K at 64 rows:
 * 27, 36 and 29 us.
 *
 * Measured there: 120 us at 64 rows and 152 at 128 (Q8_0 124 and 162, NVFP4 119 and 148, Q6_K 146 and 189), of which
 * each of the four products takes about 4 us for starting and adding.
 *
 * Schedule. A block computes block_rows (64 for each warpgroup) rows of w by kN rows of x. A warpgroup fills a ring of
 * stages, each 128 elements of k: tensor copies bring the planes of w and x, small asynchronous copies the scales. A
 * warp of the others has 16 rows of w: its lanes turn 32 elements of k of them into fragments of wgmma's operand from
 * registers, the rows of x being the other one in shared memory. So a weight is decoded once, whatever the number of
 * rows, and while the tensor cores work on one group the next is decoded.
 *
 * k is split over the blocks of a cluster, by the shape of the matrix alone; their sums are added in order of rank
 * through distributed shared memory.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/cluster.cuh"
#include "compute/cuda/codec_pairs.cuh"
#include "compute/cuda/hopper.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/packed.h"
#include "compute/cuda/packed_tiles.cuh"
#include "compute/cuda/tensor_map.cuh"
#include "compute/cuda/wgmma.cuh"

enum {
    kSpan = 128,
    kMaxWarpgroups = 4,
    kFillers = 128, /* threads that fill the ring */
    kMaxThreads = 128 * kMaxWarpgroups + kFillers,
    kRegisters = 112, /* of a thread that multiplies */
    kMaxStages = 8,
    kPadding = 4, /* floats between rows of sums: spreads the banks */
};

/* Bytes of shared memory that one block may have, less the barriers. */
static const int32_t RING_BYTES = 224 * 1024;
static const size_t SHARED_BYTES = (size_t)RING_BYTES + 2 * kMaxStages * sizeof(uint64_t);

typedef struct CodedMatrix {
    CUtensorMap low, high;
    CudaWeight weight;
    const float *bias;
    float *y;
    int32_t rows, n_blocks;
} CodedMatrix;

typedef struct CodedArguments {
    CUtensorMap x;
    CodedMatrix parts[CUDA_MAX_OUTPUTS];
    uint16_t *out; /* gated; NULL: not */
    size_t out_stride;
    float limit;
    Activation activation;
    int32_t n_rows, cols, n_spans, n_ranks, n_stages, block_rows;
} CodedArguments;

/* Groups whose fragments a warp keeps: 128 rows of x take too many registers for sums to keep those of two. */
__host__ __device__ constexpr int fragments_of(int tile_rows) { return tile_rows > 64 ? 1 : 2; }

/* How a stage lies in shared memory: x in two slices of 64 columns, the planes of w, the scales. */
template <DType T, int kN> struct Stage {
    static constexpr CodecShape kShape = codec_shape(T);
    static constexpr int kSliceBytes = kN * TENSOR_MAP_SLICE * 2;
    static constexpr int kLowBytes = kSpan * kShape.low_bits / 8, kHighBytes = kSpan * kShape.high_bits / 8;
    static constexpr int kScaleBytes = SpanScales<T>::kBytes, kSuperBytes = SpanScales<T>::kSuperBytes;
    static constexpr int kRowBytes = kLowBytes + kHighBytes + kScaleBytes + (kSuperBytes > 0 ? 4 : 0);

    static __host__ __device__ constexpr int low() { return 2 * kSliceBytes; }
    static __host__ __device__ constexpr int high(int rows) { return low() + rows * kLowBytes; }
    static __host__ __device__ constexpr int scales(int rows) { return high(rows) + rows * kHighBytes; }
    static __host__ __device__ constexpr int super(int rows) { return scales(rows) + rows * kScaleBytes; }
    static __host__ __device__ constexpr int bytes(int rows) { return (low() + rows * kRowBytes + 1023) / 1024 * 1024; }
    /* What the tensor copies bring. */
    static __host__ __device__ constexpr int copied(int rows) { return low() + rows * (kLowBytes + kHighBytes); }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* What a block does. */
struct Task {
    int rank, first_span, n_spans; /* of k */
    int row, n_rows;               /* of x */
    int part, first;               /* rows of w from `first` on; gated: half as many of gate and of up */
};

__device__ __forceinline__ Task task_of_block(const CodedArguments &a, int tile_rows)
{
    const int tile = blockIdx.x / a.n_ranks;
    Task task = {};
    task.rank = blockIdx.x % a.n_ranks;
    task.first_span = a.n_spans * task.rank / a.n_ranks;
    task.n_spans = a.n_spans * (task.rank + 1) / a.n_ranks - task.first_span;
    task.row = tile * tile_rows;
    task.n_rows = min(tile_rows, a.n_rows - task.row);
    int block = blockIdx.y;
    if (a.out == nullptr)
        while (block >= a.parts[task.part].n_blocks) block -= a.parts[task.part++].n_blocks;
    task.first = block * (a.out != nullptr ? a.block_rows / 2 : a.block_rows);
    return task;
}

template <DType T, int kN> struct Ring {
    using S = Stage<T, kN>;
    uint8_t *base;
    uint64_t *full, *empty;
    int bytes, n_stages, rows;

    __device__ Ring(uint8_t *shared, const CodedArguments &a)
        : base(shared), full((uint64_t *)(shared + RING_BYTES)), empty(full + kMaxStages),
          bytes(S::bytes(a.block_rows)), n_stages(a.n_stages), rows(a.block_rows)
    {
    }
    __device__ uint8_t *stage(int i) const { return base + i * bytes; }
};

/* Walks over the ring: the stage and how often it has been used. */
struct Turn {
    int stage, phase;
    __device__ void next(int n_stages)
    {
        if (++stage == n_stages) {
            stage = 0;
            phase ^= 1;
        }
    }
};

/* ---- the warps that fill the ring ---- */

/* Arrives at the barrier when this thread's copies so far are there. */
__device__ __forceinline__ void copies_arrive(uint64_t *barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

/* The rows whose scales a thread copies: its number and kFillers more. */
struct ScaleRows {
    static constexpr int n = 64 * kMaxWarpgroups / kFillers;
    const uint8_t *scales[n], *super[n];

    __device__ __forceinline__ ScaleRows(const CodedArguments &a, const Task &task, int filler)
    {
        const int box_rows = a.out != nullptr ? a.block_rows / 2 : a.block_rows;
#pragma unroll
        for (int i = 0; i < n; i++) {
            const int r = min(filler + i * kFillers, a.block_rows - 1), box = r / box_rows;
            const CodedMatrix &part = a.parts[a.out != nullptr ? box : task.part];
            const CodecRow row = codec_row(part.weight, min(task.first + r - box * box_rows, part.rows - 1));
            scales[i] = row.scales;
            super[i] = row.super;
        }
    }
};

template <DType T, int kN>
__device__ __forceinline__ void fill_w(const CodedArguments &a, const Ring<T, kN> &ring, const Task &task,
                                       const ScaleRows &rows, int filler, int span, int index)
{
    using S = Stage<T, kN>;
    uint8_t *stage = ring.stage(index);
    uint64_t *full = &ring.full[index];
    if (filler == 0) {
        const int n_boxes = a.out != nullptr ? 2 : 1, box_rows = ring.rows / n_boxes;
        barrier_expect(full, (uint32_t)S::copied(ring.rows));
        for (int box = 0; box < n_boxes; box++) {
            const CodedMatrix &part = a.parts[a.out != nullptr ? box : task.part];
            tensor_load(stage + S::low() + box * box_rows * S::kLowBytes, &part.low, full, span * S::kLowBytes,
                        task.first);
            if constexpr (S::kHighBytes > 0)
                tensor_load(stage + S::high(ring.rows) + box * box_rows * S::kHighBytes, &part.high, full,
                            span * S::kHighBytes, task.first);
        }
    }
#pragma unroll
    for (int i = 0; i < ScaleRows::n; i++) {
        const int r = filler + i * kFillers;
        if (r >= ring.rows) continue;
        uint8_t *to = stage + S::scales(ring.rows) + r * S::kScaleBytes;
        const uint8_t *from = rows.scales[i] + SpanScales<T>::at(span);
        if constexpr (S::kScaleBytes == 12) { /* rows of 12 bytes: no better alignment than 4 */
            for (int at = 0; at < 12; at += 4) copy_async<4>(to + at, from + at);
        } else if constexpr (S::kScaleBytes > 0) {
            copy_async<S::kScaleBytes>(to, from);
        }
        if constexpr (S::kSuperBytes > 0)
            copy_async<4>(stage + S::super(ring.rows) + r * 4, rows.super[i] + SpanScales<T>::super_at(span));
    }
    copies_arrive(full);
}

template <DType T, int kN>
__device__ __forceinline__ void fill_x(const CodedArguments &a, const Ring<T, kN> &ring, const Task &task, int span,
                                       int index)
{
    for (int slice = 0; slice < 2; slice++)
        tensor_load(ring.stage(index) + slice * Stage<T, kN>::kSliceBytes, &a.x, &ring.full[index],
                    span * kSpan + slice * TENSOR_MAP_SLICE, task.row);
}

template <DType T, int kN>
__device__ __forceinline__ void fill(const CodedArguments &a, const Ring<T, kN> &ring, const Task &task, int filler)
{
    const ScaleRows rows(a, task, filler);
    const int early = min(ring.n_stages, task.n_spans); /* whose w needs no earlier kernel */
    for (int i = 0; i < early; i++) fill_w<T, kN>(a, ring, task, rows, filler, task.first_span + i, i);
    cuda_wait_for_inputs();
    for (int i = 0; i < early && filler == 0; i++) fill_x<T, kN>(a, ring, task, task.first_span + i, i);
    Turn turn = {0, 0};
    for (int i = early; i < task.n_spans; i++) {
        barrier_wait(&ring.empty[turn.stage], turn.phase);
        fill_w<T, kN>(a, ring, task, rows, filler, task.first_span + i, turn.stage);
        if (filler == 0) fill_x<T, kN>(a, ring, task, task.first_span + i, turn.stage);
        turn.next(ring.n_stages);
    }
}

/* ---- the warps that decode and multiply ---- */

/* A row of one plane in a stage, kBytes of it a span, swizzled by the copy in units of 16 bytes. */
template <int kBytes> struct PlaneRow {
    int at, swizzle;

    __device__ __forceinline__ PlaneRow(int plane, int row)
        : at(plane + row * kBytes), swizzle((row * kBytes >> 7 & (kBytes / 16 - 1)) << 4)
    {
    }
    /* kWords words from byte `offset` on, which do not cross 16 bytes unless they are whole units. */
    template <int kWords> __device__ __forceinline__ void read(const uint8_t *stage, int offset, uint32_t *words) const
    {
        codec_words < kWords<4 ? kWords : 4>(stage + at + ((offset & ~15) ^ swizzle) + offset % 16, words);
        if constexpr (kWords > 4) read<kWords - 4>(stage, offset + 16, words + 4);
    }
};

/* Where a warp finds its rows, g and g + 8 of 16. */
template <DType T, int kN> struct Rows {
    using S = Stage<T, kN>;
    int row, n_rows;
    PlaneRow<S::kLowBytes> low[2];
    PlaneRow<S::kHighBytes> high[2];

    __device__ __forceinline__ Rows(int row, int n_rows)
        : row(row), n_rows(n_rows), low{{S::low(), row}, {S::low(), row + 8}}, high{{S::high(n_rows), row},
                                                                                    {S::high(n_rows), row + 8}}
    {
    }
    __device__ __forceinline__ void read_bits(const uint8_t *stage, int group, CodecBits<T> (&bits)[2]) const
    {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            low[r].template read<CodecBits<T>::n_low>(stage, group * 4 * CodecBits<T>::n_low, bits[r].low);
            if constexpr (CodecBits<T>::n_high > 0)
                high[r].template read<CodecBits<T>::n_high>(stage, group * 4 * CodecBits<T>::n_high, bits[r].high);
        }
    }
    /* Those of group t of the span, t = lane % 4. */
    __device__ __forceinline__ void read_scales(const uint8_t *stage, int span, int cols,
                                                CodecScales (&scales)[2]) const
    {
        if constexpr (!codec_is_plain(T)) {
            const int t = threadIdx.x % 4;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const CodecRow at = {nullptr, nullptr, stage + S::scales(n_rows) + (row + 8 * r) * S::kScaleBytes,
                                     stage + S::super(n_rows) + (row + 8 * r) * 4 + SpanScales<T>::super_half(span)};
                scales[r] = codec_scales<T>(at, SpanScales<T>::group(span, t));
                if ((span * 4 + t) * CODEC_GROUP >= cols) scales[r] = CodecScales{};
            }
        }
    }
};

/* sums = 16 rows of w of this warp by the rows of x, over this block's part of k. Bits are read a group ahead. */
template <DType T, int kN>
__device__ __forceinline__ void multiply(const CodedArguments &a, const Ring<T, kN> &ring, const Task &task,
                                         float (&sums)[kN / 8][4])
{
    using S = Stage<T, kN>;
    const Rows<T, kN> rows(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, ring.rows);
    const PairLane lane = pair_lane<T>(threadIdx.x % 4);
    CodecBits<T> next[2];
    CodecScales own[2] = {};
    constexpr int kFragments = fragments_of(kN);
    Turn turn = {0, 0};
    uint64_t *before = nullptr; /* of the span before */
    for (int i = 0; i < task.n_spans; i++) {
        const uint8_t *stage = ring.stage(turn.stage);
        barrier_wait(&ring.full[turn.stage], turn.phase);
        rows.read_scales(stage, task.first_span + i, a.cols, own);
        rows.read_bits(stage, 0, next);
        uint64_t *empty = &ring.empty[turn.stage];
        turn.next(ring.n_stages);
#pragma unroll
        for (int group = 0; group < 4; group++) {
            CodecBits<T> bits[2];
            PairScales<T> scales[2];
            uint32_t w[2][4]; /* [instruction][fragment] */
#pragma unroll
            for (int r = 0; r < 2; r++) {
                bits[r] = next[r];
                scales[r] = share_scales<T>(own[r], group);
            }
            if (group < 3) {
                rows.read_bits(stage, group + 1, next);
            }
            product_wait<kFragments - 1>(); /* the fragments that were here have been read */
            if (group == kFragments - 1 && i > 0 && threadIdx.x % 32 == 0) barrier_arrive(before);
#pragma unroll
            for (int k = 0; k < 2; k++) {
#pragma unroll
                for (int j = 0; j < 4; j++) w[k][j] = bf16_of_pair<T>(bits[j % 2], lane, scales[j % 2], 2 * k + j / 2);
            }
            const uint64_t x = matrix_descriptor(stage + group / 2 * S::kSliceBytes) + group % 2 * 4;
            product_fence();
#pragma unroll
            for (int k = 0; k < 2; k++) wgmma_rows<kN>(sums, w[k], x + 2 * k);
            product_commit();
        }
        before = empty;
    }
    product_wait<0>();
    wgmma_settle(sums);
}

/* ---- results ---- */

__device__ __forceinline__ float finish(const CodedMatrix &part, int column, float sum)
{
    return sum * part.weight.scale + (part.bias != nullptr ? part.bias[column] : 0.0f);
}

/* sums: shared [rows of x][block_rows + kPadding]; the ranks share the rows among them. */
__device__ __forceinline__ void write_results(const CodedArguments &a, const Task &task, const float *sums)
{
    const int width = a.out != nullptr ? a.block_rows / 2 : a.block_rows, stride = a.block_rows + kPadding;
    const int at_once = a.block_rows * 2 / width, within = threadIdx.x % width, column = task.first + within;
    if (column >= a.parts[task.part].rows) return;
    for (int r = task.rank + a.n_ranks * (threadIdx.x / width); r < task.n_rows; r += at_once * a.n_ranks) {
        const float sum = finish(a.parts[task.part], column, cluster_sum(sums + r * stride + within, a.n_ranks));
        if (a.out == nullptr) {
            a.parts[task.part].y[(size_t)(task.row + r) * a.parts[task.part].rows + column] = sum;
            continue;
        }
        const float up = finish(a.parts[1], column, cluster_sum(sums + r * stride + within + width, a.n_ranks));
        a.out[(size_t)(task.row + r) * a.out_stride + column] =
            __bfloat16_as_ushort(__float2bfloat16_rn(activation_gated(a.activation, a.limit, sum, up)));
    }
}

/* The warps that multiply wait for one another. */
__device__ __forceinline__ void meet(const CodedArguments &a)
{
    if (a.n_ranks > 1)
        cluster_sync();
    else
        asm volatile("bar.sync 1, %0;" ::"r"(2 * a.block_rows) : "memory");
}

template <DType T, int kN>
__device__ __forceinline__ void consume(const CodedArguments &a, const Ring<T, kN> &ring, const Task &task)
{
    float sums[kN / 8][4] = {};
    multiply<T, kN>(a, ring, task, sums);
    asm volatile("bar.sync 1, %0;" ::"r"(2 * a.block_rows) : "memory"); /* the ring is read */
    float *all = (float *)ring.base;
    const int stride = a.block_rows + kPadding, row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int tile = 0; tile < kN / 8; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) all[(tile * 8 + 2 * t + i % 2) * stride + row + i / 2 * 8] = sums[tile][i];
    meet(a);
    write_results(a, task, all);
    if (a.n_ranks > 1) cluster_leave(); /* others may still read these sums */
}
#endif

template <DType T, int kN>
__global__ void __launch_bounds__(kMaxThreads, 1) coded_kernel(const __grid_constant__ CodedArguments a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    const Ring<T, kN> ring(shared, a);
    const int n_warps = a.block_rows / 16, warp = threadIdx.x / 32;
    cuda_let_next_start();
    if (threadIdx.x == 0) {
        for (int i = 0; i < ring.n_stages; i++) {
            barrier_init(&ring.full[i], 1 + kFillers); /* the bytes expected, and every filler's copies */
            barrier_init(&ring.empty[i], (uint32_t)n_warps);
        }
        barrier_init_fence();
    }
    __syncthreads();
    const Task task = task_of_block(a, kN);
    if (warp >= n_warps) {
        registers_release<32>();
        fill<T, kN>(a, ring, task, (int)threadIdx.x - 32 * n_warps);
    } else {
        registers_take<kRegisters>();
        cuda_wait_for_inputs();
        consume<T, kN>(a, ring, task);
    }
#endif
}

/* ---- host ---- */

/* How a product is cut: rows of w in a block, and blocks along k. */
typedef struct Cut {
    int32_t block_rows, n_ranks;
} Cut;

static int32_t count_blocks(const CudaOutput *outputs, int32_t n_outputs, bool gated, int32_t block_rows)
{
    const int32_t width = gated ? block_rows / 2 : block_rows;
    int32_t n = 0;
    for (int32_t i = 0; i < (gated ? 1 : n_outputs); i++) n += (outputs[i].weight->rows + width - 1) / width;
    return n;
}

/* The cut that should take the least time, in units of a fifth of a span of four warpgroups. The number of rows of x
 * has no say, lest it change the order of additions. */
static Cut cut_for(CudaQueue *queue, const CudaOutput *outputs, int32_t n_outputs, bool gated, int32_t n_spans)
{
    enum { PER_SPAN = 1, PER_BLOCK = 20, PER_CLUSTER = 5 };
    Cut best = {};
    int32_t least = INT32_MAX;
    for (int32_t warpgroups = 2; warpgroups <= kMaxWarpgroups; warpgroups++) {
        const int32_t n_blocks = count_blocks(outputs, n_outputs, gated, 64 * warpgroups);
        for (int32_t ranks = 1; ranks <= MAX_RANKS && (ranks == 1 || ranks * 2 <= n_spans); ranks++) {
            const int32_t at_once =
                ranks * clusters_at_once(queue, coded_kernel<DT_Q8_0, 16>, kMaxThreads, SHARED_BYTES, ranks);
            if (at_once == 0) continue;
            const int32_t waves = (n_blocks * ranks + at_once - 1) / at_once;
            const int32_t spans = (n_spans + ranks - 1) / ranks;
            const int32_t cost = waves * (spans * (warpgroups + PER_SPAN) + PER_BLOCK + (ranks > 1 ? PER_CLUSTER : 0));
            if (cost < least) {
                least = cost;
                best = (Cut){64 * warpgroups, ranks};
            }
        }
    }
    return best;
}

template <DType T, int kN> static void launch_coded(CudaQueue *queue, CodedArguments *arguments, int32_t n_blocks)
{
    using S = Stage<T, kN>;
    const int32_t rows = arguments->block_rows;
    const int32_t n_stages = RING_BYTES / S::bytes(rows);
    arguments->n_stages = n_stages < kMaxStages ? n_stages : kMaxStages;
    const int32_t n_tiles = (arguments->n_rows + kN - 1) / kN;
    cuda_launch_cluster(queue, coded_kernel<T, kN>, dim3((unsigned)(n_tiles * arguments->n_ranks), (unsigned)n_blocks),
                        dim3((unsigned)(2 * rows + kFillers)), (unsigned)arguments->n_ranks, SHARED_BYTES, *arguments);
}

template <DType T>
static void choose_coded(CudaQueue *queue, CodedArguments *arguments, const uint16_t *x, const CudaOutput *outputs,
                         int32_t n_outputs)
{
    using S = Stage<T, 16>;
    const bool gated = arguments->out != NULL;
    const int32_t n_rows = arguments->n_rows;
    const int32_t tile = queue->deterministic ? 128 : n_rows <= 16 ? 16 : n_rows <= 64 ? 64 : 128;
    const Cut cut = cut_for(queue, outputs, n_outputs, gated, arguments->n_spans);
    const int32_t width = gated ? cut.block_rows / 2 : cut.block_rows;
    arguments->block_rows = cut.block_rows;
    arguments->n_ranks = cut.n_ranks;
    tensor_map_bf16(queue, &arguments->x, x, (size_t)arguments->cols, n_rows, arguments->cols, (uint32_t)tile);
    for (int32_t i = 0; i < n_outputs; i++) {
        CodedMatrix *part = &arguments->parts[i];
        const CudaWeight *weight = outputs[i].weight;
        part->weight = *weight;
        part->bias = outputs[i].bias;
        part->y = outputs[i].y;
        part->rows = weight->rows;
        part->n_blocks = (part->rows + width - 1) / width;
        tensor_map_bytes(queue, &part->low, weight->planes[PLANE_LOW], weight->plane_stride[PLANE_LOW], part->rows,
                         S::kLowBytes, (uint32_t)width);
        if (S::kHighBytes > 0)
            tensor_map_bytes(queue, &part->high, weight->planes[PLANE_HIGH], weight->plane_stride[PLANE_HIGH],
                             part->rows, S::kHighBytes, (uint32_t)width);
    }
    if (queue->error != cudaSuccess) return;
    const int32_t n_blocks = count_blocks(outputs, n_outputs, gated, cut.block_rows);
    if (tile == 16)
        launch_coded<T, 16>(queue, arguments, n_blocks);
    else if (tile == 64)
        launch_coded<T, 64>(queue, arguments, n_blocks);
    else
        launch_coded<T, 128>(queue, arguments, n_blocks);
}

bool coded_possible(const CudaQueue *queue, const uint16_t *x, const CudaWeight *weight)
{
    return queue->tier == CUDA_TIER_HOPPER && (uintptr_t)x % 16 == 0 && weight->cols % 8 == 0 &&
           weight->cols >= TENSOR_MAP_SLICE && weight->stack_scales == NULL && codec_shape(weight->type).low_bits <= 8;
}

void coded_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs,
                   const GemmGate *gate)
{
    CodedArguments arguments = {};
    arguments.n_rows = n_rows;
    arguments.cols = outputs[0].weight->cols;
    arguments.n_spans = (arguments.cols + kSpan - 1) / kSpan;
    if (gate != NULL) {
        arguments.out = gate->out;
        arguments.out_stride = gate->out_stride;
        arguments.limit = gate->limit;
        arguments.activation = gate->activation;
    }
    switch (outputs[0].weight->type) {
#define CODED(type)                                                                                                    \
    case type:                                                                                                         \
        choose_coded<type>(queue, &arguments, x, outputs, n_outputs);                                                  \
        break;
        CODEC_BLOCK_TYPES(CODED)
        CODED(DT_F8_E4M3)
        CODED(DT_F8_E5M2)
#undef CODED
    default:
        queue->error = cudaErrorNotSupported;
        break;
    }
}
