/*
 * weights.cu - re-laying a file's rows into planes, and reading whole rows back as numbers.
 *
 * Re-laying happens once, behind the copy from the host: a thread a group of 32 reads the file's bytes (blocks lie at
 * any address) and writes each plane's share. Its floor is PCIe, which it is far above. Decoding serves embeddings,
 * panels of a matrix for the dense product, and tests: a thread a group; bfloat16 goes through shared memory so that a
 * warp writes whole lines. Floor of a panel: the weight's bytes in, two bytes an element out.
 */
#include "compute/cuda/codec.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/weights.h"

enum { ALIGN = 256, ROW_ALIGN = 16, THREADS = 128 };

/* ---- layout ---- */

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

/* Bytes of a plane's row; groups of a block type are whole. */
static size_t stride_of(const CodecShape &shape, int plane, int64_t cols)
{
    return round_up(((size_t)cols * (size_t)shape.plane_bytes[plane] + CODEC_SUPER - 1) / CODEC_SUPER, ROW_ALIGN);
}

size_t cuda_weight_bytes(DType type, int64_t rows, int64_t cols)
{
    if (type < 0 || type >= DT_COUNT || rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX / 2) return 0;
    const CodecShape shape = codec_shape(type);
    if (shape.low_bits == 0 || cols % dtype_info(type)->block_elems != 0) return 0;
    size_t bytes = 0;
    for (int plane = 0; plane < CUDA_MAX_PLANES; plane++) {
        if (shape.plane_bytes[plane] == 0) continue;
        const size_t stride = stride_of(shape, plane, cols);
        if ((size_t)rows > (SIZE_MAX / 8) / stride) return 0;
        bytes += round_up((size_t)rows * stride, ALIGN);
    }
    return bytes;
}

void cuda_weight_place(CudaWeight *weight, DType type, int64_t rows, int64_t cols, void *memory)
{
    const CodecShape shape = codec_shape(type);
    *weight = CudaWeight{};
    weight->type = type;
    weight->rows = (int32_t)rows;
    weight->cols = (int32_t)cols;
    weight->scale = 1.0f;
    const uint8_t *at = (const uint8_t *)memory;
    for (int plane = 0; plane < CUDA_MAX_PLANES; plane++) {
        if (shape.plane_bytes[plane] == 0) continue;
        weight->planes[plane] = at;
        weight->plane_stride[plane] = stride_of(shape, plane, cols);
        at += round_up((size_t)rows * weight->plane_stride[plane], ALIGN);
    }
}

/* ---- from the file ---- */

/* Element i of 2 * half elements whose first half lies in the low nibbles of `half` bytes, the second in the high ones.
 */
static __device__ __forceinline__ uint32_t split_nibble(const uint8_t *bytes, int i, int half)
{
    return bytes[i % half] >> (i / half * 4) & 0x0F;
}

/* The file's integer of element i of a block, all its bits: low bits lowest (src/quant has the layouts). */
template <DType T> static __device__ __forceinline__ uint32_t file_integer(const uint8_t *block, int i)
{
    if constexpr (T == DT_Q4_0 || T == DT_IQ4_NL) return split_nibble(block + 2, i, 16);
    if constexpr (T == DT_Q4_1) return split_nibble(block + 4, i, 16);
    if constexpr (T == DT_MXFP4) return split_nibble(block + 1, i, 16);
    if constexpr (T == DT_Q5_0) return split_nibble(block + 6, i, 16) | (block[2 + i / 8] >> (i % 8) & 1) << 4;
    if constexpr (T == DT_Q5_1) return split_nibble(block + 8, i, 16) | (block[4 + i / 8] >> (i % 8) & 1) << 4;
    if constexpr (T == DT_Q8_0) return block[2 + i];
    if constexpr (T == DT_IQ4_XS) return split_nibble(block + 8 + i / 32 * 16, i % 32, 16);
    if constexpr (T == DT_NVFP4) return split_nibble(block + 4 + i / 16 * 8, i % 16, 8);
    if constexpr (T == DT_Q4_K) return split_nibble(block + 16 + i / 64 * 32, i % 64, 32);
    if constexpr (T == DT_Q5_K)
        return split_nibble(block + 48 + i / 64 * 32, i % 64, 32) | (block[16 + i % 32] >> (i / 32) & 1) << 4;
    if constexpr (T == DT_Q6_K)
        return split_nibble(block + i / 128 * 64, i % 128, 64) |
               (block[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) << 4;
    if constexpr (T == DT_Q2_K) return block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    if constexpr (T == DT_Q3_K)
        return (block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) | (block[i % 32] >> (i / 32) & 1) << 2;
    return 0;
}

/* Scale and minimum of group `index` in Q4_K's and Q5_K's twelve bytes. */
static __device__ __forceinline__ void file_six_min(const uint8_t *bytes, int index, uint32_t *scale, uint32_t *minimum)
{
    if (index < 4) {
        *scale = bytes[index] & 0x3F;
        *minimum = bytes[index + 4] & 0x3F;
    } else {
        *scale = (bytes[index + 4] & 0x0F) | (bytes[index - 4] >> 6) << 4;
        *minimum = bytes[index + 4] >> 4 | (bytes[index] >> 6) << 4;
    }
}

/* The two 6-bit numbers of group `index` (of eight), in the order of codec_six_bits(). */
template <DType T>
static __device__ __forceinline__ void file_six(const uint8_t *block, int index, uint32_t *first, uint32_t *second)
{
    if constexpr (T == DT_Q3_K) {
        const uint8_t *bytes = block + 96;
        uint32_t both[2];
        for (int part = 0; part < 2; part++) {
            const int group = 2 * index + part;
            both[part] = (bytes[group % 8] >> (group / 8 * 4) & 0x0F) | (bytes[8 + group % 4] >> (group / 4 * 2) & 3)
                                                                            << 4;
        }
        *first = both[0];
        *second = both[1];
    } else {
        file_six_min(block + 4, index, first, second);
    }
}

static __device__ __forceinline__ void copy_bytes(uint8_t *to, const uint8_t *from, int n)
{
    for (int i = 0; i < n; i++) to[i] = from[i];
}

/* Packs b bits of each of 32 integers as codec.cuh says. */
template <int B>
static __device__ __forceinline__ void pack(const uint32_t (&integers)[CODEC_GROUP], int shift, uint8_t *at)
{
    uint32_t words[B] = {};
#pragma unroll
    for (int e = 0; e < CODEC_GROUP; e++) {
        const int position = codec_plane_position(e % 8), quad = e / 8 * 2 + position / 4;
        words[quad * B / 8] |= (integers[e] >> shift & ((1u << B) - 1)) << (position % 4 * 8 + B * (quad % (8 / B)));
    }
#pragma unroll
    for (int i = 0; i < B; i++) ((uint32_t *)at)[i] = words[i];
}

template <DType T>
static __device__ __forceinline__ void relay_scales(const uint8_t *block, int index, uint8_t *scales, uint8_t *super)
{
    constexpr CodecScaling scaling = codec_shape(T).scaling;
    if constexpr (scaling == SCALING_HALF) copy_bytes(scales, block, 2);
    if constexpr (scaling == SCALING_HALF_PAIR) copy_bytes(scales, block, 4);
    if constexpr (scaling == SCALING_E8M0) copy_bytes(scales, block, 1);
    if constexpr (scaling == SCALING_E4M3)
        for (int i = 0; i < 2; i++) scales[i] = block[index * 2 + i] == 0x7F ? 0 : block[index * 2 + i];
    if constexpr (scaling == SCALING_EIGHT) copy_bytes(scales, block + 192 + index * 2, 2);
    if constexpr (scaling == SCALING_NIBBLE_MIN) copy_bytes(scales, block + index * 2, 2);
    if constexpr (scaling == SCALING_SIX_SPLIT) copy_bytes(scales + index, block + index, 1);
    if constexpr (scaling == SCALING_SIX || scaling == SCALING_SIX_MIN) {
        uint8_t *at = scales;
        if constexpr (scaling == SCALING_SIX_MIN) {
            at += 4;
            if (index == 0) copy_bytes(scales, block, 4);
        }
        uint32_t first, second, neighbour[2];
        file_six<T>(block, index, &first, &second);
        at[index] = (uint8_t)((first & 0x0F) | (second & 0x0F) << 4);
        if (index % 2 == 0) {
            file_six<T>(block, index + 1, &neighbour[0], &neighbour[1]);
            at[8 + index / 2] =
                (uint8_t)(first >> 4 | second >> 4 << 2 | neighbour[0] >> 4 << 4 | neighbour[1] >> 4 << 6);
        }
    }
    if (index != 0) return;
    if constexpr (T == DT_Q6_K) copy_bytes(super, block + 208, 2);
    if constexpr (T == DT_Q3_K) copy_bytes(super, block + 108, 2);
    if constexpr (T == DT_Q2_K) copy_bytes(super, block + 80, 4);
}

/* A thread a group. */
template <DType T>
static __global__ void __launch_bounds__(THREADS) relay_kernel(CudaWeight weight, const uint8_t *raw, int64_t first_row,
                                                               int64_t n_rows, int block_elems, int block_bytes)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    constexpr CodecShape shape = codec_shape(T);
    const int64_t groups = weight.cols / CODEC_GROUP, row_blocks = weight.cols / block_elems;
    const int64_t at = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (at >= n_rows * groups) return;
    const int64_t row = at / groups;
    const int group = (int)(at % groups), in_block = block_elems / CODEC_GROUP, index = group % in_block;
    const uint8_t *block = raw + (row * row_blocks + group / in_block) * block_bytes;
    uint32_t integers[CODEC_GROUP];
#pragma unroll
    for (int e = 0; e < CODEC_GROUP; e++) integers[e] = file_integer<T>(block, index * CODEC_GROUP + e);

    const CodecRow to = codec_row(weight, first_row + row);
    pack<shape.low_bits>(integers, 0, (uint8_t *)to.low + group * 4 * shape.low_bits);
    if constexpr (shape.high_bits > 0)
        pack<shape.high_bits>(integers, shape.low_bits, (uint8_t *)to.high + group * 4 * shape.high_bits);
    constexpr bool by_group =
        shape.scaling != SCALING_SIX && shape.scaling != SCALING_SIX_MIN && shape.scaling != SCALING_SIX_SPLIT;
    const int scales_at =
        by_group ? group * (shape.plane_bytes[PLANE_SCALES] / 8) : group / 8 * shape.plane_bytes[PLANE_SCALES];
    relay_scales<T>(block, index, (uint8_t *)to.scales + scales_at,
                    (uint8_t *)to.super + group / 8 * shape.plane_bytes[PLANE_SUPER]);
}

/* Rows of a plain type: a thread 4 bytes of a row, zeros behind its end. */
static __global__ void __launch_bounds__(THREADS)
    copy_rows_kernel(CudaWeight weight, const uint8_t *raw, int64_t first_row, int64_t n_rows, int64_t row_bytes)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int64_t words = (int64_t)weight.plane_stride[PLANE_LOW] / 4;
    const int64_t at = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (at >= n_rows * words) return;
    const int64_t row = at / words, byte = at % words * 4;
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        if (byte + i < row_bytes) word |= (uint32_t)raw[row * row_bytes + byte + i] << (8 * i);
    *(uint32_t *)(codec_row(weight, first_row + row).low + byte) = word;
}

static unsigned blocks_for(int64_t threads) { return (unsigned)((threads + THREADS - 1) / THREADS); }

template <DType T>
static void relay(CudaQueue *queue, const CudaWeight *weight, const uint8_t *raw, int64_t first_row, int64_t n_rows)
{
    const DTypeInfo *info = dtype_info(T);
    const int64_t row_bytes = (int64_t)(weight->cols / info->block_elems) * info->block_bytes;
    if constexpr (codec_shape(T).scaling != SCALING_NONE) {
        cuda_launch(queue, relay_kernel<T>, dim3(blocks_for(n_rows * (weight->cols / CODEC_GROUP))), dim3(THREADS), 0,
                    *weight, raw, first_row, n_rows, (int)info->block_elems, (int)info->block_bytes);
    } else if ((size_t)row_bytes != weight->plane_stride[PLANE_LOW]) {
        cuda_launch(queue, copy_rows_kernel, dim3(blocks_for(n_rows * (int64_t)weight->plane_stride[PLANE_LOW] / 4)),
                    dim3(THREADS), 0, *weight, raw, first_row, n_rows, row_bytes);
    } else if (queue->error == cudaSuccess) {
        queue->error = cudaMemcpyAsync((uint8_t *)weight->planes[PLANE_LOW] + first_row * row_bytes, raw,
                                       (size_t)(n_rows * row_bytes), cudaMemcpyDeviceToDevice, queue->stream);
    }
}

void cuda_weight_relay(CudaQueue *queue, const CudaWeight *weight, const void *raw, int64_t first_row, int64_t n_rows)
{
    switch (weight->type) {
#define RELAY(type)                                                                                                    \
    case type:                                                                                                         \
        relay<type>(queue, weight, (const uint8_t *)raw, first_row, n_rows);                                           \
        break;
        CODEC_TYPES(RELAY)
#undef RELAY
    default:
        break;
    }
}

/* ---- back to numbers ---- */

/* Which rows: those listed, or consecutive ones. */
typedef struct RowChoice {
    const int32_t *list; /* device; NULL: from `first` on */
    int64_t first, count;
} RowChoice;

/* A thread a group; cols of a plain type may end inside one. out: [choice.count][cols]. */
template <DType T>
static __global__ void __launch_bounds__(THREADS)
    decode_kernel(CudaWeight weight, RowChoice choice, float multiplier, float *out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int groups = (weight.cols + CODEC_GROUP - 1) / CODEC_GROUP;
    const int64_t total = choice.count * groups, thread = blockIdx.x * (int64_t)THREADS + threadIdx.x;
    if (thread >= total) return;
    const int64_t r = thread / groups;
    const int group = (int)(thread % groups);
    const int64_t row = choice.list != NULL ? choice.list[r] : choice.first + r;
    const float scale = weight.stack_scales != NULL ? weight.stack_scales[row / weight.stack_rows] : weight.scale;
    float values[CODEC_GROUP] = {};
    if (codec_shape(T).scaling != SCALING_NONE || weight.cols % CODEC_GROUP == 0) {
        codec_values<T>(codec_row(weight, row), group, values);
#pragma unroll
        for (int e = 0; e < CODEC_GROUP; e += 4)
            *(float4 *)(out + thread * CODEC_GROUP + e) =
                make_float4(values[e] * scale * multiplier, values[e + 1] * scale * multiplier,
                            values[e + 2] * scale * multiplier, values[e + 3] * scale * multiplier);
        return;
    }
    if constexpr (codec_shape(T).scaling == SCALING_NONE) {
        constexpr int n = 16 * 8 / codec_shape(T).low_bits;
        for (int first = group * CODEC_GROUP; first < weight.cols && first < (group + 1) * CODEC_GROUP; first += n) {
            float part[n];
            codec_plain<T>(((const uint4 *)codec_row(weight, row).low)[first / n], part);
            for (int i = 0; i < n && first + i < weight.cols; i++)
                out[r * weight.cols + first + i] = part[i] * scale * multiplier;
        }
    }
}

static void decode(CudaQueue *queue, const CudaWeight *weight, RowChoice choice, float multiplier, float *out)
{
    const dim3 grid(blocks_for(choice.count * ((weight->cols + CODEC_GROUP - 1) / CODEC_GROUP)));
    switch (weight->type) {
#define DECODE(type)                                                                                                   \
    case type:                                                                                                         \
        cuda_launch(queue, decode_kernel<type>, grid, dim3(THREADS), 0, *weight, choice, multiplier, out);             \
        break;
        CODEC_TYPES(DECODE)
#undef DECODE
    default:
        break;
    }
}

void cuda_embed(CudaQueue *queue, const CudaBatch *batch, const CudaWeight *table, float multiplier, float *x)
{
    decode(queue, table, RowChoice{batch->tokens, 0, batch->n_rows}, multiplier, x);
}

void cuda_weight_decode_f32(CudaQueue *queue, const CudaWeight *weight, int64_t first_row, int64_t n_rows, float *out)
{
    decode(queue, weight, RowChoice{NULL, first_row, n_rows}, 1.0f, out);
}
