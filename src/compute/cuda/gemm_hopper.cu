/*
 * gemm_hopper.cu - bfloat16 products of many rows on Hopper: y[r][n] = sum over k of x[r][k] w[n][k].
 *
 * Floor: 2 n_rows rows cols operations at 770 TFLOP/s (what a library reaches on an H200 with random data).
 *
 * Schedule. Blocks stay and walk over tiles of 128 rows of x by 2 * kHalf rows of w (the "columns" of y). One thread
 * copies 64-wide slices of both to a ring of kStages buffers with the bulk copy engine; two warpgroups each multiply 64
 * rows of x by all columns, results in registers. Ring buffers of the next tile fill while results are written. In a
 * cluster of two, blocks take neighbouring rows of x and the same columns, and each copies one half of the columns for
 * both.
 *
 * Columns come in two halves of kHalf, which in a gated product are the same columns of gate and up: then a thread
 * holds both numbers of every result and writes activation(gate) * up at once.
 *
 * Tiles run in bands of kBand row tiles, so that what is read again comes from L2.
 */
#include "compute/cuda/activation.cuh"
#include "compute/cuda/dense.h"
#include "compute/cuda/hopper.cuh"
#include "compute/cuda/launch.cuh"

enum {
    kRows = DENSE_TILE_ROWS,
    kSlice = 64, /* of k: 128 bytes, what one swizzled row of shared memory holds */
    kStages = 4,
    kBand = 8,
    kThreads = 384,
};

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
    const int32_t *n_group_tiles;
    uint16_t *out;
    size_t out_stride;
    float limit;
    Activation activation;
    int32_t n_rows, n_slices, n_column_tiles, stack_rows;
} DenseArguments;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* Shared memory of a block: kStages of x and w, then the barriers. */
template <int kHalf> struct Ring {
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

/* A block's place in y. */
struct Tile {
    int part, column;     /* of the part's y */
    int row, end_row;     /* of x */
    int group, group_row; /* first row of the group's matrix within the stack */
};

template <int kHalf, int kCluster, bool kGated> __device__ __forceinline__ int tile_count(const DenseArguments &a)
{
    const int bands =
        a.group_tiles != nullptr ? *a.n_group_tiles : (a.n_rows + kRows * kCluster - 1) / (kRows * kCluster);
    return bands * a.n_column_tiles;
}

template <int kHalf, int kCluster, bool kGated>
__device__ __forceinline__ Tile tile_at(const DenseArguments &a, int index, int n_tiles, int rank)
{
    const int n_row_tiles = n_tiles / a.n_column_tiles;
    const int band = index / (kBand * a.n_column_tiles), within = index - band * kBand * a.n_column_tiles;
    const int height = min(kBand, n_row_tiles - band * kBand);
    int column_tile = within / height;
    const int row_tile = band * kBand + within - column_tile * height;
    Tile tile = {};
    if (!kGated)
        while (column_tile >= a.parts[tile.part].n_tiles) column_tile -= a.parts[tile.part++].n_tiles;
    tile.column = column_tile * (kGated ? kHalf : 2 * kHalf);
    if (a.group_tiles != nullptr) {
        const int4 group = a.group_tiles[row_tile];
        tile.group = group.x;
        tile.group_row = group.x * a.stack_rows;
        tile.row = group.y;
        tile.end_row = group.z;
    } else {
        tile.row = (row_tile * kCluster + rank) * kRows;
        tile.end_row = a.n_rows;
    }
    return tile;
}

/* The thread that fills the ring. */
template <int kHalf, int kCluster, bool kGated>
__device__ __forceinline__ void fill(const DenseArguments &a, const Ring<kHalf> &ring, int rank)
{
    cuda_wait_for_inputs();
    const int n_tiles = tile_count<kHalf, kCluster, kGated>(a);
    uint32_t turn = 0; /* slices so far */
    for (int index = blockIdx.x / kCluster; index < n_tiles; index += gridDim.x / kCluster) {
        const Tile tile = tile_at<kHalf, kCluster, kGated>(a, index, n_tiles, rank);
        for (int slice = 0; slice < a.n_slices; slice++, turn++) {
            const int stage = turn % kStages, k = slice * kSlice;
            barrier_wait(&ring.empty[stage], (turn / kStages & 1) ^ 1);
            barrier_expect(&ring.full[stage], Ring<kHalf>::kStageBytes);
            tensor_load(ring.x(stage), &a.x, &ring.full[stage], k, tile.row);
            for (int half = 0; half < 2; half++) {
                const CUtensorMap *map = &a.parts[kGated ? half : tile.part].map;
                const int row = tile.group_row + tile.column + (kGated ? 0 : half * kHalf);
                if (kCluster == 1)
                    tensor_load(ring.w(stage, half), map, &ring.full[stage], k, row);
                else if (half == rank)
                    tensor_load_multicast(ring.w(stage, half), map, &ring.full[stage], k, row, 3);
            }
        }
    }
    /* The other block still reports to these barriers: stay until it is done. */
    for (int i = 0; i < kStages; i++, turn++) barrier_wait(&ring.empty[turn % kStages], (turn / kStages & 1) ^ 1);
}

/* d += 64 rows of x times the columns, over all of k. `turn` counts slices since the kernel started. */
template <int kHalf, int kCluster>
__device__ __forceinline__ void multiply(const Ring<kHalf> &ring, int n_slices, int warpgroup, uint32_t &turn,
                                         float (&d)[kHalf])
{
    const int lane = threadIdx.x % 32;
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
        if (lane < kCluster) barrier_arrive_at(&ring.empty[(turn - 1) % kStages], lane);
    }
    product_wait<0>();
    if (lane < kCluster) barrier_arrive_at(&ring.empty[(turn - 1) % kStages], lane);
}

/* d = scale * d + bias for `count` numbers of one part. Results lie as the instruction leaves them: this thread has, of
 * each 8 columns, 2 neighbours in one row and 2 in the row 8 further. */
template <int count> __device__ __forceinline__ void scale_and_bias(const DenseMatrix &part, const Tile &tile, float *d)
{
    const float scale = part.scales != nullptr ? part.scales[tile.group] : part.scale;
    if (scale != 1.0f) {
#pragma unroll
        for (int i = 0; i < count; i++) d[i] *= scale;
    }
    if (part.bias == nullptr) return;
    const float *bias = part.bias + tile.group_row;
    const int first = tile.column + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < count / 4; j++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float b = first + 8 * j < part.rows ? bias[first + 8 * j + i] : 0.0f;
            d[4 * j + i] += b;
            d[4 * j + 2 + i] += b;
        }
    }
}

template <int kHalf>
__device__ __forceinline__ void write_parts(const DenseArguments &a, const Tile &tile, int row, float (&d)[kHalf])
{
    const DenseMatrix &part = a.parts[tile.part];
    scale_and_bias<kHalf>(part, tile, d);
    const int column = tile.column + threadIdx.x % 4 * 2;
    float *y = part.y + (size_t)row * part.y_stride + column, *y8 = y + 8 * part.y_stride;
    const int end = row < tile.end_row ? part.rows : 0, end8 = row + 8 < tile.end_row ? part.rows : 0;
#pragma unroll
    for (int j = 0; j < kHalf / 4; j++) {
        if (column + 8 * j < end) *(float2 *)(y + 8 * j) = make_float2(d[4 * j], d[4 * j + 1]);
        if (column + 8 * j < end8) *(float2 *)(y8 + 8 * j) = make_float2(d[4 * j + 2], d[4 * j + 3]);
    }
}

template <int kHalf>
__device__ __forceinline__ void write_gated(const DenseArguments &a, const Tile &tile, int row, float (&d)[kHalf])
{
    constexpr int kCount = kHalf / 2;
    scale_and_bias<kCount>(a.parts[0], tile, d);
    scale_and_bias<kCount>(a.parts[1], tile, d + kCount);
    activation_gated_all<kCount>(a.activation, a.limit, d, d + kCount);
    const int column = tile.column + threadIdx.x % 4 * 2, rows = a.parts[0].rows;
    uint16_t *out = a.out + (size_t)row * a.out_stride + column, *out8 = out + 8 * a.out_stride;
    const int end = row < tile.end_row ? rows : 0, end8 = row + 8 < tile.end_row ? rows : 0;
#pragma unroll
    for (int j = 0; j < kCount / 4; j++) {
        if (column + 8 * j < end) *(__nv_bfloat162 *)(out + 8 * j) = __floats2bfloat162_rn(d[4 * j], d[4 * j + 1]);
        if (column + 8 * j < end8)
            *(__nv_bfloat162 *)(out8 + 8 * j) = __floats2bfloat162_rn(d[4 * j + 2], d[4 * j + 3]);
    }
}

template <int kHalf, int kCluster, bool kGated>
__device__ __forceinline__ void consume(const DenseArguments &a, const Ring<kHalf> &ring, int rank, int warpgroup)
{
    cuda_wait_for_inputs();
    const int n_tiles = tile_count<kHalf, kCluster, kGated>(a);
    uint32_t turn = 0;
    for (int index = blockIdx.x / kCluster; index < n_tiles; index += gridDim.x / kCluster) {
        const Tile tile = tile_at<kHalf, kCluster, kGated>(a, index, n_tiles, rank);
        float d[kHalf]; /* 64 * 2 kHalf numbers over 128 threads */
        multiply<kHalf, kCluster>(ring, a.n_slices, warpgroup, turn, d);
        const int row = tile.row + warpgroup * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
        if (kGated)
            write_gated<kHalf>(a, tile, row, d);
        else
            write_parts<kHalf>(a, tile, row, d);
    }
}
#endif

template <int kHalf, int kCluster, bool kGated>
__global__ void __launch_bounds__(kThreads, 1) dense_kernel(const __grid_constant__ DenseArguments a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) uint8_t shared[];
    const Ring<kHalf> ring(shared);
    const int rank = kCluster == 1 ? 0 : (int)cluster_rank();
    cuda_let_next_start();
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; stage++) {
            barrier_init(&ring.full[stage], 1);
            barrier_init(&ring.empty[stage], 8 * kCluster); /* a thread of every multiplying warp */
        }
        barrier_init_fence();
    }
    if (kCluster > 1)
        cluster_sync();
    else
        __syncthreads();
    if (threadIdx.x < 128) {
        registers_release<40>();
        if (threadIdx.x == 0) fill<kHalf, kCluster, kGated>(a, ring, rank);
    } else {
        registers_take<232>();
        consume<kHalf, kCluster, kGated>(a, ring, rank, (int)threadIdx.x / 128 - 1);
    }
#endif
}

/* ---- host ---- */

typedef CUresult TensorMapEncode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                 const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, found without linking the driver's library. */
static TensorMapEncode *tensor_map_encode(CudaQueue *queue)
{
    static TensorMapEncode *encode; /* the same for every thread that looks it up */
    if (encode != NULL) return encode;
    void *function = NULL;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    if (error != cudaSuccess || function == NULL) {
        queue->error = error != cudaSuccess ? error : cudaErrorNotSupported;
        return NULL;
    }
    encode = (TensorMapEncode *)function;
    return encode;
}

/* Boxes of box_rows rows by kSlice columns of bfloat16 [rows][cols]; what lies outside reads as 0. */
static void encode_rows(CudaQueue *queue, CUtensorMap *map, const uint16_t *data, size_t stride, int64_t rows,
                        int32_t cols, uint32_t box_rows)
{
    TensorMapEncode *encode = tensor_map_encode(queue);
    if (encode == NULL) return;
    const cuuint64_t sizes[2] = {(cuuint64_t)cols, (cuuint64_t)rows}, strides[1] = {(cuuint64_t)stride * 2};
    const cuuint32_t box[2] = {kSlice, box_rows}, steps[2] = {1, 1};
    const CUresult result = encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)data, sizes, strides, box, steps,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) queue->error = cudaErrorInvalidValue;
}

bool dense_possible(const CudaQueue *queue, const void *rows, int32_t cols, size_t stride)
{
    return queue->tier == CUDA_TIER_HOPPER && (uintptr_t)rows % 16 == 0 && cols >= kSlice && stride % 8 == 0;
}

template <int kHalf, int kCluster, bool kGated>
static void launch_dense(CudaQueue *queue, const DenseArguments *arguments, int32_t max_tiles)
{
    const size_t bytes = kStages * (size_t)(kRows + 2 * kHalf) * kSlice * 2 + 2 * kStages * sizeof(uint64_t);
    const int32_t clusters = max_tiles < queue->n_sms / kCluster ? max_tiles : queue->n_sms / kCluster;
    cuda_launch_cluster(queue, dense_kernel<kHalf, kCluster, kGated>, dim3((unsigned)(clusters * kCluster)),
                        dim3(kThreads), kCluster, bytes, *arguments);
}

template <bool kGated>
static void choose_dense(CudaQueue *queue, DenseArguments *arguments, int32_t n_rows, const DenseGroups *groups,
                         int half)
{
    const int32_t row_tiles = groups != NULL ? groups->max_tiles : (n_rows + kRows - 1) / kRows;
    const bool paired = groups == NULL && row_tiles > 1;
    const int32_t tiles = (paired ? (row_tiles + 1) / 2 : row_tiles) * arguments->n_column_tiles;
    if (half == 128 && paired) launch_dense<128, 2, kGated>(queue, arguments, tiles);
    if (half == 128 && !paired) launch_dense<128, 1, kGated>(queue, arguments, tiles);
    if (half == 64 && paired) launch_dense<64, 2, kGated>(queue, arguments, tiles);
    if (half == 64 && !paired) launch_dense<64, 1, kGated>(queue, arguments, tiles);
}

void dense_product(CudaQueue *queue, const uint16_t *x, size_t x_stride, int32_t n_rows, int32_t cols,
                   const DensePart *parts, int32_t n_parts, const DenseGate *gate, const DenseGroups *groups)
{
    if (queue->error != cudaSuccess) return;
    DenseArguments arguments = {};
    int half = 128;
    encode_rows(queue, &arguments.x, x, x_stride, n_rows, cols, kRows);
    for (int32_t i = 0; i < n_parts; i++) {
        DenseMatrix *matrix = &arguments.parts[i];
        const DensePart *part = &parts[i];
        const int width = gate != NULL ? half : 2 * half;
        encode_rows(queue, &matrix->map, part->w, part->w_stride,
                    groups != NULL ? (int64_t)groups->n_groups * groups->stack_rows : part->rows, cols, (uint32_t)half);
        matrix->bias = part->bias;
        matrix->scales = groups != NULL ? groups->scales[i] : NULL;
        matrix->scale = part->scale;
        matrix->y = part->y;
        matrix->y_stride = part->y_stride;
        matrix->rows = part->rows;
        matrix->n_tiles = (part->rows + width - 1) / width;
        if (gate == NULL || i == 0) arguments.n_column_tiles += matrix->n_tiles;
    }
    arguments.n_rows = n_rows;
    arguments.n_slices = (cols + kSlice - 1) / kSlice;
    if (groups != NULL) {
        arguments.group_tiles = groups->tiles;
        arguments.n_group_tiles = groups->n_tiles;
        arguments.stack_rows = groups->stack_rows;
    }
    if (queue->error != cudaSuccess) return;
    if (gate == NULL) return choose_dense<false>(queue, &arguments, n_rows, groups, half);
    arguments.out = gate->out;
    arguments.out_stride = gate->out_stride;
    arguments.limit = gate->limit;
    arguments.activation = gate->activation;
    choose_dense<true>(queue, &arguments, n_rows, groups, half);
}
