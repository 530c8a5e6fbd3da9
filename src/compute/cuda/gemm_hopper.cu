/*
 * gemm_hopper.cu - bfloat16 products of many rows on Hopper: y[r][n] = sum over k of x[r][k] w[n][k].
 *
 * Floor: 2 n_rows rows cols operations at 770 TFLOP/s (what a library reaches on an H200 with random data).
 *
 * Measured at 4,096 rows, shapes of an 8B model: q k v 708, o 702, gate up with activation 730, down 783 TFLOP/s. At
 * 128 rows, where w must come from memory: 2.9 TB/s over a layer (gate up 3.3, the smaller matrices less).
 *
 * Schedule. Blocks stay and walk over tiles of 128 rows of x by 256 rows of w (the "columns" of y). One thread copies
 * 64-wide slices of both to a ring of kStages buffers with the bulk copy engine; two warpgroups each multiply 64 rows
 * of x by all columns, results in registers. Ring buffers of the next tile fill while results are written. In a cluster
 * of two ("paired"), blocks take neighbouring rows of x and the same columns, and each copies one half of the columns
 * for both.
 *
 * Columns come in two halves of kHalf, which in a gated product are the same columns of gate and up: then a thread
 * holds both numbers of every result and writes activation(gate) * up at once.
 *
 * Where tiles are too few for the chip, a cluster of n_splits blocks shares a tile: each takes a part of k, puts its
 * sums into shared memory, and finishes a part of the columns, adding the sums in order of rank.
 *
 * Tiles run in bands of kBand row tiles, so that what is read again comes from L2.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/cluster.cuh"
#include "compute/cuda/dense.h"
#include "compute/cuda/hopper.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/tensor_map.cuh"

enum {
    kRows = DENSE_TILE_ROWS,
    kHalf = 128,
    kSlice = 64, /* of k: 128 bytes, what one swizzled row of shared memory holds */
    kStages = 4,
    kMaxSplits = 8,
    kBand = 8,
    kThreads = 384,
};

static const size_t SHARED_BYTES = kStages * (size_t)(kRows + 2 * kHalf) * kSlice * 2 + 2 * kStages * sizeof(uint64_t);

typedef struct DenseMatrix {
    CUtensorMap map;
    const float *bias, *scales;
    float *y;
    size_t y_stride;
    float scale;
    int32_t rows, n_tiles;
} DenseMatrix;

typedef struct DenseArguments {
    CUtensorMap x;
    DenseMatrix parts[DENSE_MAX_PARTS];
    const int4 *group_tiles;
    const int32_t *tile_starts;
    int32_t first_group, end_group;
    uint16_t *out;
    size_t out_stride;
    float limit;
    Activation activation;
    int32_t n_rows, n_slices, n_column_tiles, n_splits, stack_rows;
    bool early; /* no earlier kernel writes w */
} DenseArguments;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* Shared memory of a block: kStages of x and w, then the barriers. */
struct Ring {
    static constexpr int kXBytes = kRows * kSlice * 2, kHalfBytes = kHalf * kSlice * 2;
    static constexpr int kStageBytes = kXBytes + 2 * kHalfBytes;
    uint8_t *base;
    uint64_t *full, *empty;

    __device__ Ring(uint8_t *shared)
        : base(shared), full((uint64_t *)(shared + kStages * kStageBytes)), empty(full + kStages)
    {
    }
    __device__ uint8_t *x(int stage) const { return base + stage * kStageBytes; }
    __device__ uint8_t *w(int stage, int half) const { return x(stage) + kXBytes + half * kHalfBytes; }
};

/* Whose share of the work this block's is. */
struct Place {
    int rank;            /* in its cluster */
    int first, step;     /* tiles first, first + step, … are its cluster's */
    int n_tiles;         /* of all */
    int slice, n_slices; /* of k */
};

/* A tile's place in y. */
struct Tile {
    int part, column;     /* of the part's y */
    int row, end_row;     /* of x */
    int group, group_row; /* first row of the group's matrix within w */
    int bias_row;         /* the same within the bias */
};

template <bool kPaired> __device__ __forceinline__ Place place_of_block(const DenseArguments &a)
{
    const int blocks = kPaired ? 2 : a.n_splits, rows = kPaired ? 2 * kRows : kRows;
    const int row_tiles = a.group_tiles != nullptr ? a.tile_starts[a.end_group] - a.tile_starts[a.first_group]
                                                   : (a.n_rows + rows - 1) / rows;
    Place place = {blocks == 1 ? 0 : (int)cluster_rank(),
                   (int)blockIdx.x / blocks,
                   (int)gridDim.x / blocks,
                   row_tiles * a.n_column_tiles,
                   0,
                   a.n_slices};
    if (!kPaired) {
        place.slice = a.n_slices * place.rank / blocks;
        place.n_slices = a.n_slices * (place.rank + 1) / blocks - place.slice;
    }
    return place;
}

template <bool kPaired, bool kGated>
__device__ __forceinline__ Tile tile_at(const DenseArguments &a, const Place &place, int index)
{
    const int n_row_tiles = place.n_tiles / a.n_column_tiles;
    const int band = index / (kBand * a.n_column_tiles), within = index - band * kBand * a.n_column_tiles;
    const int height = min(kBand, n_row_tiles - band * kBand);
    int column_tile = within / height;
    const int row_tile = band * kBand + within - column_tile * height;
    Tile tile = {};
    if (!kGated)
        while (column_tile >= a.parts[tile.part].n_tiles) column_tile -= a.parts[tile.part++].n_tiles;
    tile.column = column_tile * (kGated ? kHalf : 2 * kHalf);
    if (a.group_tiles != nullptr) {
        const int4 group = a.group_tiles[a.tile_starts[a.first_group] + row_tile];
        tile.group = group.x;
        tile.group_row = (group.x - a.first_group) * a.stack_rows;
        tile.bias_row = group.x * a.stack_rows;
        tile.row = group.y;
        tile.end_row = group.z;
    } else {
        tile.row = (kPaired ? row_tile * 2 + place.rank : row_tile) * kRows;
        tile.end_row = a.n_rows;
    }
    return tile;
}

/* ---- the thread that fills the ring ---- */

template <bool kPaired, bool kGated>
__device__ __forceinline__ void fill_w(const DenseArguments &a, const Ring &ring, const Place &place, const Tile &tile,
                                       int slice, int stage)
{
    barrier_expect(&ring.full[stage], Ring::kStageBytes);
    for (int half = 0; half < 2; half++) {
        const CUtensorMap *map = &a.parts[kGated ? half : tile.part].map;
        const int k = (place.slice + slice) * kSlice, row = tile.group_row + tile.column + (kGated ? 0 : half * kHalf);
        if (!kPaired)
            tensor_load(ring.w(stage, half), map, &ring.full[stage], k, row);
        else if (half == place.rank)
            tensor_load_multicast(ring.w(stage, half), map, &ring.full[stage], k, row, 3);
    }
}

template <bool kPaired, bool kGated> __device__ __forceinline__ void fill(const DenseArguments &a, const Ring &ring)
{
    uint32_t turn = 0, early = 0; /* slices so far, and those whose w was asked for before the inputs were there */
    if (a.early && a.group_tiles == nullptr) {
        const Place place = place_of_block<kPaired>(a);
        const Tile tile = tile_at<kPaired, kGated>(a, place, place.first);
        for (; early < kStages && (int)early < place.n_slices && place.first < place.n_tiles; early++)
            fill_w<kPaired, kGated>(a, ring, place, tile, (int)early, (int)early);
    }
    cuda_wait_for_inputs();
    const Place place = place_of_block<kPaired>(a);
    for (int index = place.first; index < place.n_tiles; index += place.step) {
        const Tile tile = tile_at<kPaired, kGated>(a, place, index);
        for (int slice = 0; slice < place.n_slices; slice++, turn++) {
            const int stage = turn % kStages;
            if (turn >= early) {
                barrier_wait(&ring.empty[stage], (turn / kStages & 1) ^ 1);
                fill_w<kPaired, kGated>(a, ring, place, tile, slice, stage);
            }
            tensor_load(ring.x(stage), &a.x, &ring.full[stage], (place.slice + slice) * kSlice, tile.row);
        }
    }
    /* The other block still reports to these barriers: stay until it is done. */
    for (int i = 0; i < kStages; i++, turn++) barrier_wait(&ring.empty[turn % kStages], (turn / kStages & 1) ^ 1);
}

/* ---- the warpgroups that multiply ---- */

/* This warp has read a slice: told to every thread that fills its buffer. */
template <bool kPaired> __device__ __forceinline__ void slice_done(const Ring &ring, uint32_t turn)
{
    const int lane = threadIdx.x % 32;
    uint64_t *empty = &ring.empty[turn % kStages];
    if (kPaired && lane < 2) barrier_arrive_at(empty, lane);
    if (!kPaired && lane == 0) barrier_arrive(empty);
}

/* d = 64 rows of x times the columns, over this block's part of k. `turn` counts slices since the kernel started. */
template <bool kPaired>
__device__ __forceinline__ void multiply(const Ring &ring, int n_slices, int warpgroup, uint32_t &turn,
                                         float (&d)[kHalf])
{
    for (int slice = 0; slice < n_slices; slice++, turn++) {
        const int stage = turn % kStages;
        barrier_wait(&ring.full[stage], turn / kStages & 1);
        const uint64_t x = matrix_descriptor(ring.x(stage) + warpgroup * 64 * 128);
        const uint64_t w = matrix_descriptor(ring.w(stage, 0));
        product_fence();
#pragma unroll
        for (int k = 0; k < kSlice / 16; k++) product(d, x + 2 * k, w + 2 * k, slice > 0 || k > 0);
        product_commit();
        if (slice == 0) continue;
        product_wait<1>(); /* the slice before has been read */
        slice_done<kPaired>(ring, turn - 1);
    }
    product_wait<0>();
    slice_done<kPaired>(ring, turn - 1);
}

/* Results lie as the instruction leaves them: this thread has, of each 8 columns ("chunk"), 2 neighbours in one row and
 * 2 in the row 8 further. */
__device__ __forceinline__ float scale_of(const DenseMatrix &part, const Tile &tile)
{
    return part.scales != nullptr ? part.scales[tile.group] : part.scale;
}

__device__ __forceinline__ float bias_of(const DenseMatrix &part, const Tile &tile, int column)
{
    return part.bias != nullptr && column < part.rows ? part.bias[tile.bias_row + column] : 0.0f;
}

/* d = scale * d + bias for `count` numbers of one part. */
template <int count>
__device__ __forceinline__ void scale_and_bias(const DenseMatrix &part, const Tile &tile, int column, float *d)
{
    const float scale = scale_of(part, tile);
    if (scale != 1.0f) {
#pragma unroll
        for (int i = 0; i < count; i++) d[i] *= scale;
    }
    if (part.bias == nullptr) return;
#pragma unroll
    for (int chunk = 0; chunk < count / 4; chunk++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float bias = bias_of(part, tile, column + 8 * chunk + i);
            d[4 * chunk + i] += bias;
            d[4 * chunk + 2 + i] += bias;
        }
    }
}

/* Where this thread's results go. */
struct Target {
    int row, column;   /* of its first number */
    bool upper, lower; /* whether row and row + 8 exist */
};

__device__ __forceinline__ void write_floats(const DenseMatrix &part, const Target &target, int column, const float *d)
{
    if (column >= part.rows) return;
    float *y = part.y + (size_t)target.row * part.y_stride + column;
    if (target.upper) *(float2 *)y = make_float2(d[0], d[1]);
    if (target.lower) *(float2 *)(y + 8 * part.y_stride) = make_float2(d[2], d[3]);
}

__device__ __forceinline__ void write_halves(const DenseArguments &a, const Target &target, int column, const float *d)
{
    if (column >= a.parts[0].rows) return;
    uint16_t *out = a.out + (size_t)target.row * a.out_stride + column;
    if (target.upper) *(__nv_bfloat162 *)out = __floats2bfloat162_rn(d[0], d[1]);
    if (target.lower) *(__nv_bfloat162 *)(out + 8 * a.out_stride) = __floats2bfloat162_rn(d[2], d[3]);
}

template <bool kGated>
__device__ __forceinline__ void write_tile(const DenseArguments &a, const Tile &tile, const Target &target,
                                           float (&d)[kHalf])
{
    constexpr int kCount = kGated ? kHalf / 2 : kHalf;
    scale_and_bias<kCount>(a.parts[tile.part], tile, target.column, d);
    if constexpr (kGated) {
        scale_and_bias<kCount>(a.parts[1], tile, target.column, d + kCount);
        activation_gated_all<kCount>(a.activation, a.limit, d, d + kCount);
    }
#pragma unroll
    for (int chunk = 0; chunk < kCount / 4; chunk++) {
        if constexpr (kGated)
            write_halves(a, target, target.column + 8 * chunk, d + 4 * chunk);
        else
            write_floats(a.parts[tile.part], target, target.column + 8 * chunk, d + 4 * chunk);
    }
}

/* ---- a tile shared by the blocks of a cluster ---- */

/* This thread's chunk, added over the blocks in order of rank. */
__device__ __forceinline__ void sum_chunk(const float4 *sums, int chunk, int n_splits, float *d)
{
    const uint32_t at = shared_address(sums + chunk * 256 + (threadIdx.x - 128));
    float4 parts[kMaxSplits];
#pragma unroll
    for (int rank = 0; rank < kMaxSplits; rank++)
        if (rank < n_splits) parts[rank] = shared_read_at(at, rank);
    for (int i = 0; i < 4; i++) d[i] = 0.0f;
#pragma unroll
    for (int rank = 0; rank < kMaxSplits; rank++) {
        if (rank >= n_splits) break;
        d[0] += parts[rank].x;
        d[1] += parts[rank].y;
        d[2] += parts[rank].z;
        d[3] += parts[rank].w;
    }
}

template <bool kGated>
__device__ __forceinline__ void write_shared_tile(const DenseArguments &a, const Ring &ring, const Place &place,
                                                  const Tile &tile, const Target &target, const float (&d)[kHalf])
{
    float4 *sums = (float4 *)ring.base; /* [chunk][thread]; the ring is empty */
    asm volatile("bar.sync 1, 256;" ::: "memory");
    if (target.upper) {
#pragma unroll
        for (int chunk = 0; chunk < kHalf / 4; chunk++)
            sums[chunk * 256 + threadIdx.x - 128] =
                make_float4(d[4 * chunk], d[4 * chunk + 1], d[4 * chunk + 2], d[4 * chunk + 3]);
    }
    cluster_sync();
    constexpr int kChunks = kGated ? kHalf / 8 : kHalf / 4;
    for (int chunk = place.rank; chunk < kChunks && target.upper; chunk += a.n_splits) {
        const int column = target.column + 8 * chunk;
        float result[4], up[4];
        sum_chunk(sums, chunk, a.n_splits, result);
        scale_and_bias<4>(a.parts[tile.part], tile, column, result);
        if constexpr (kGated) {
            sum_chunk(sums, chunk + kChunks, a.n_splits, up);
            scale_and_bias<4>(a.parts[1], tile, column, up);
            activation_gated_all<4>(a.activation, a.limit, result, up);
            write_halves(a, target, column, result);
        } else {
            write_floats(a.parts[tile.part], target, column, result);
        }
    }
    cluster_sync(); /* others may still read these sums */
}

template <bool kPaired, bool kGated>
__device__ __forceinline__ void consume(const DenseArguments &a, const Ring &ring, int warpgroup)
{
    cuda_wait_for_inputs();
    const Place place = place_of_block<kPaired>(a);
    uint32_t turn = 0;
    for (int index = place.first; index < place.n_tiles; index += place.step) {
        const Tile tile = tile_at<kPaired, kGated>(a, place, index);
        float d[kHalf]; /* 64 * 256 numbers over 128 threads */
        multiply<kPaired>(ring, place.n_slices, warpgroup, turn, d);
        const int row = tile.row + warpgroup * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
        const Target target = {row, tile.column + (int)threadIdx.x % 4 * 2, row < tile.end_row, row + 8 < tile.end_row};
        if (!kPaired && a.n_splits > 1)
            write_shared_tile<kGated>(a, ring, place, tile, target, d);
        else
            write_tile<kGated>(a, tile, target, d);
    }
}
#endif

template <bool kPaired, bool kGated>
__global__ void __launch_bounds__(kThreads, 1) dense_kernel(const __grid_constant__ DenseArguments a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    const Ring ring(shared);
    cuda_let_next_start();
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; stage++) {
            barrier_init(&ring.full[stage], 1);
            barrier_init(&ring.empty[stage], kPaired ? 16 : 8); /* a thread of every multiplying warp */
        }
        barrier_init_fence();
    }
    if (kPaired)
        cluster_sync();
    else
        __syncthreads();
    if (threadIdx.x < 128) {
        registers_release<40>();
        if (threadIdx.x == 0) fill<kPaired, kGated>(a, ring);
    } else {
        registers_take<232>();
        consume<kPaired, kGated>(a, ring, (int)threadIdx.x / 128 - 1);
    }
#endif
}

/* ---- host ---- */

bool dense_possible(const CudaQueue *queue, const void *rows, int32_t cols, size_t stride)
{
    return queue->tier == CUDA_TIER_HOPPER && (uintptr_t)rows % 16 == 0 && cols >= kSlice && stride % 8 == 0;
}

template <bool kPaired, bool kGated>
static void launch_dense(CudaQueue *queue, const DenseArguments *arguments, int32_t max_tiles)
{
    const int32_t blocks = kPaired ? 2 : arguments->n_splits;
    const int32_t clusters = max_tiles < queue->n_sms / blocks ? max_tiles : queue->n_sms / blocks;
    cuda_launch_cluster(queue, dense_kernel<kPaired, kGated>, dim3((unsigned)(clusters * blocks)), dim3(kThreads),
                        (unsigned)blocks, SHARED_BYTES, *arguments);
}

template <bool kGated>
static void choose_dense(CudaQueue *queue, DenseArguments *arguments, int32_t n_rows, const DenseGroups *groups)
{
    const int32_t row_tiles = groups != NULL ? groups->max_tiles : (n_rows + kRows - 1) / kRows;
    const int32_t tiles = row_tiles * arguments->n_column_tiles;
    arguments->n_splits = 1;
    if (groups == NULL)
        for (int32_t n = 2; n <= kMaxSplits && arguments->n_slices / n >= kStages; n++)
            if (tiles <= clusters_at_once(queue, dense_kernel<false, kGated>, kThreads, SHARED_BYTES, n))
                arguments->n_splits = n;
    if (groups == NULL && row_tiles > 1 && arguments->n_splits == 1)
        launch_dense<true, kGated>(queue, arguments, (row_tiles + 1) / 2 * arguments->n_column_tiles);
    else
        launch_dense<false, kGated>(queue, arguments, tiles);
}

void dense_product(CudaQueue *queue, const uint16_t *x, size_t x_stride, int32_t n_rows, int32_t cols,
                   const DensePart *parts, int32_t n_parts, const DenseGate *gate, const DenseGroups *groups)
{
    if (queue->error != cudaSuccess) return;
    DenseArguments arguments = {};
    arguments.early = true;
    tensor_map_bf16(queue, &arguments.x, x, x_stride, n_rows, cols, kRows);
    for (int32_t i = 0; i < n_parts; i++) {
        DenseMatrix *matrix = &arguments.parts[i];
        const DensePart *part = &parts[i];
        const int width = gate != NULL ? kHalf : 2 * kHalf;
        tensor_map_bf16(queue, &matrix->map, part->w, part->w_stride,
                        groups != NULL ? (int64_t)(groups->end_group - groups->first_group) * groups->stack_rows
                                       : part->rows,
                        cols, kHalf);
        matrix->bias = part->bias;
        matrix->scales = groups != NULL ? groups->scales[i] : NULL;
        matrix->scale = part->scale;
        matrix->y = part->y;
        matrix->y_stride = part->y_stride;
        matrix->rows = part->rows;
        matrix->n_tiles = (part->rows + width - 1) / width;
        if (gate == NULL || i == 0) arguments.n_column_tiles += matrix->n_tiles;
        if (part->computed) arguments.early = false;
    }
    arguments.n_rows = n_rows;
    arguments.n_slices = (cols + kSlice - 1) / kSlice;
    if (groups != NULL) {
        arguments.group_tiles = groups->tiles;
        arguments.tile_starts = groups->tile_starts;
        arguments.first_group = groups->first_group;
        arguments.end_group = groups->end_group;
        arguments.stack_rows = groups->stack_rows;
    }
    if (queue->error != cudaSuccess) return;
    if (gate == NULL) return choose_dense<false>(queue, &arguments, n_rows, groups);
    arguments.out = gate->out;
    arguments.out_stride = gate->out_stride;
    arguments.limit = gate->limit;
    arguments.activation = gate->activation;
    choose_dense<true>(queue, &arguments, n_rows, groups);
}
