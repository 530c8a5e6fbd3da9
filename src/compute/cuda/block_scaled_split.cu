/*
 * block_scaled_split.cu - rows of bfloat16 as sums of terms that block-scaled tensor cores take (block_scaled.cuh).
 *
 * Floor: two bytes an element in, terms * (bits / 8 + 1 / group) out: 1.9 for NVFP4, 2.1 for MXFP4. A block a row, a
 * thread 32 consecutive elements, which it keeps while one term after the other takes its share.
 *
 * A scale is the smallest power of two under which the largest element fits (ue8m0), or the number closest to the
 * largest element over 6 (ue4m3; what then does not fit is left to the next term). NVFP4's scales have a short range,
 * so rows are brought to 448 * 6 by a power of two first. A row or group that has an infinity or a NaN becomes NaN.
 */
#include "compute/cuda/block_scaled.cuh"
#include "compute/cuda/codec.cuh"
#include "compute/cuda/launch.cuh"

enum { kThreads = 128 };

/* The biased exponent of the smallest power of two p with largest <= limit p, at least 1; limit: a float's bits. */
__device__ __forceinline__ uint32_t power_above(uint32_t largest, uint32_t limit)
{
    const int exponent = (int)(largest >> 23) - (int)(limit >> 23) + 127;
    const int power = exponent + ((largest & 0x7FFFFFu) > (limit & 0x7FFFFFu) ? 1 : 0);
    return (uint32_t)min(max(power, 1), 253);
}

__device__ __forceinline__ float power_of_two(uint32_t biased) { return __uint_as_float(biased << 23); }

template <int n> __device__ __forceinline__ uint32_t largest_of(const float *values)
{
    uint32_t largest = 0; /* magnitudes as integers: a NaN is above infinity */
#pragma unroll
    for (int i = 0; i < n; i++) largest = max(largest, __float_as_uint(values[i]) & 0x7FFFFFFFu);
    return largest;
}

/* The code of the e2m1 number closest to x, of two that are as close the even one; past 6: 6. Its value in *number. */
__device__ __forceinline__ uint32_t e2m1_code(float x, float *number)
{
    const float size = fabsf(x);
    const float step = size < 2.0f ? 0.5f : size < 4.0f ? 1.0f : 2.0f;
    const float count = fminf(rintf(size / step), step < 2.0f ? 4.0f : 3.0f);
    *number = copysignf(count * step, x);
    const uint32_t code = (uint32_t)count + (step < 1.0f ? 0 : step < 2.0f ? 2 : 4);
    return code | (__float_as_uint(x) >> 28 & 8);
}

__device__ __forceinline__ float e4m3_value(uint32_t code)
{
    const __half_raw half = __nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)code, __NV_E4M3);
    return __half2float(*(const __half *)&half);
}

__device__ __forceinline__ uint32_t e4m3_code(float x)
{
    return (uint32_t)__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
}

/* Takes one term from 32 numbers: its elements in four words, two scales. */
__device__ __forceinline__ uint32_t take_e2m1(float (&values)[CODEC_GROUP], uint32_t (&words)[4])
{
    uint32_t scales = 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t scale = e4m3_code(__uint_as_float(largest_of<16>(values + 16 * half)) * (1.0f / 6.0f));
        const float size = e4m3_value(scale), inverse = scale > 0 ? 1.0f / size : 0.0f;
        scales |= scale << (8 * half);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t word = 0;
#pragma unroll
            for (int e = 0; e < 8; e++) {
                float *value = &values[16 * half + 8 * i + e], number;
                word |= e2m1_code(*value * inverse, &number) << (4 * codec_position(DT_NVFP4, e));
                *value -= number * size;
            }
            words[2 * half + i] = word;
        }
    }
    return scales;
}

/* The same in eight words: of each octet the elements of even nibbles (codec.cuh), then, four words on, of odd ones. */
__device__ __forceinline__ uint32_t take_e4m3(float (&values)[CODEC_GROUP], uint32_t (&words)[8])
{
    const uint32_t largest = largest_of<CODEC_GROUP>(values);
    const uint32_t power = power_above(largest, 0x43E00000u); /* 448 */
    const float inverse = power_of_two(254 - power), size = power_of_two(power);
#pragma unroll
    for (int octet = 0; octet < 4; octet++) {
        words[octet] = words[octet + 4] = 0;
#pragma unroll
        for (int e = 0; e < 8; e++) {
            const int nibble = codec_position(DT_MXFP4, e);
            float *value = &values[8 * octet + e];
            const uint32_t code = e4m3_code(*value * inverse);
            words[octet + nibble % 2 * 4] |= code << (nibble / 2 * 8);
            *value -= e4m3_value(code) * size;
        }
    }
    return largest < 0x7F800000u ? power : 0xFF;
}

/* 32 elements of x; cols: a multiple of 32. */
__device__ __forceinline__ void read_group(const uint16_t *x, float (&values)[CODEC_GROUP])
{
#pragma unroll
    for (int part = 0; part < 4; part++) {
        const uint4 raw = ((const uint4 *)x)[part];
        const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            values[part * 8 + 2 * i] = __uint_as_float(words[i] << 16);
            values[part * 8 + 2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
        }
    }
}

/* The biased exponent of what brings the row to 448 * 6, 255 for a row that is not finite. */
__device__ __forceinline__ uint32_t row_power(const uint16_t *x, int32_t cols)
{
    __shared__ uint32_t largest_of_warps[kThreads / 32];
    uint32_t largest = 0;
    for (int group = threadIdx.x; group < cols / CODEC_GROUP; group += kThreads) {
        float values[CODEC_GROUP];
        read_group(x + group * CODEC_GROUP, values);
        largest = max(largest, largest_of<CODEC_GROUP>(values));
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) largest = max(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, step));
    if (threadIdx.x % 32 == 0) largest_of_warps[threadIdx.x / 32] = largest;
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < kThreads / 32; warp++) largest = max(largest, largest_of_warps[warp]);
    return largest < 0x7F800000u ? power_above(largest, 0x45280000u) : 0xFF; /* 2688 */
}

template <DType T>
static __global__ void __launch_bounds__(kThreads) split_kernel(const uint16_t *x, int32_t cols, BlockScaledRows rows)
{
    constexpr BlockScaledShape kShape = block_scaled_shape(T);
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const uint16_t *from = x + (size_t)blockIdx.x * (size_t)cols;
    float inverse = 1.0f;
    if constexpr (T == DT_NVFP4) {
        const uint32_t power = row_power(from, cols);
        inverse = power == 0xFF ? 0.0f : power_of_two(254 - power);
        if (threadIdx.x == 0)
            rows.factors[blockIdx.x] = power == 0xFF ? __uint_as_float(0x7FC00000u) : power_of_two(power);
    }
    for (int group = threadIdx.x; group < cols / CODEC_GROUP; group += kThreads) {
        float values[CODEC_GROUP];
        read_group(from + group * CODEC_GROUP, values);
#pragma unroll
        for (int i = 0; i < CODEC_GROUP; i++) values[i] *= inverse;
#pragma unroll
        for (int term = 0; term < kShape.terms; term++) {
            const size_t row = (size_t)term * (size_t)rows.n_rows + blockIdx.x;
            uint4 *elements = (uint4 *)(rows.elements + row * (size_t)rows.row_bytes) + group * (kShape.bits / 4);
            uint8_t *scales = rows.scales + row * (size_t)rows.scale_bytes;
            if constexpr (T == DT_NVFP4) {
                uint32_t words[4];
                ((uint16_t *)scales)[group] = (uint16_t)take_e2m1(values, words);
                elements[0] = make_uint4(words[0], words[1], words[2], words[3]);
            } else {
                uint32_t words[8];
                scales[group] = (uint8_t)take_e4m3(values, words);
                elements[0] = make_uint4(words[0], words[1], words[2], words[3]);
                elements[1] = make_uint4(words[4], words[5], words[6], words[7]);
            }
        }
    }
}

void block_scaled_split(CudaQueue *queue, DType type, const uint16_t *x, int32_t cols, const BlockScaledRows *rows)
{
    const dim3 grid((unsigned)rows->n_rows);
    if (type == DT_NVFP4)
        cuda_launch(queue, split_kernel<DT_NVFP4>, grid, dim3(kThreads), 0, x, cols, *rows);
    else
        cuda_launch(queue, split_kernel<DT_MXFP4>, grid, dim3(kThreads), 0, x, cols, *rows);
}
