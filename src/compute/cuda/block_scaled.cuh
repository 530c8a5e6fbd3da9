/*
 * block_scaled.cuh - the two block-scaled instructions of compute capability 12.0, what activations become for them,
 * and an emulation of both, lane for lane, for GPUs that have neither.
 *
 *     d[16 rows of w][8 rows of x] += sum over k of (a[row][k] scale_a[row][k / group]) (b[k][column] scale_b[…])
 *
 *     weights   instruction                   a      b      scales       group   terms
 *     NVFP4     m16n8k64, kind::mxf4nvf4      e2m1   e2m1   ue4m3        16      3        SASS: OMMA.SF
 *     MXFP4     m16n8k32, kind::mxf8f6f4      e2m1   e4m3   ue8m0        32      2        SASS: QMMA.SF
 *
 * Weights and their scales go in as they are. Activations would lose too much in one number of so few bits, so x is a
 * sum of terms, each with scales of its own: the second stands for what the first leaves of x, and so on. The same
 * weights meet each term, and all products are added to the same sums. Error of x so far, ||x' - x|| / ||x|| of
 * normally distributed bfloat16 numbers, which themselves are 1.7e-3 away from what they were rounded from:
 *
 *     terms     1         2         3         4
 *     e2m1      9.5e-2    8.7e-3    7.9e-4    7.1e-5
 *     e4m3      2.7e-2    4e-10
 *
 * (Two e4m3 numbers cover bfloat16's eight bits: exact down to 2^-14 of a group's largest.)
 *
 * A group's elements share what its largest leaves them: beside one of a thousand times their size, e2m1 terms keep the
 * others to about a thousandth of that one, as integers of 8 bits with a scale would to a 250th.
 *
 * So three and two terms lose less than bfloat16 has lost already, and results are those of the other tiers. The rate
 * is a third of the FP4 tensor rate, a half of the FP8 one: 2.7 and 2 times that of bfloat16 where each step of formats
 * doubles it, and no weight is ever decoded.
 *
 * Fragments (PTX ISA 9.0, sections 9.7.14.3 and 9.7.14.5). Lane g = lane / 4, t = lane % 4. A has four registers, B
 * two, each of eight 4-bit elements (j = 0 … 7) or of four bytes (j = 0 … 3), lowest first.
 *
 *     m16n8k64    a[i]: row g + 8 (i % 2), k = 8 t + 32 (i / 2) + j    b[i]: column g, k = 8 t + 32 i + j
 *     m16n8k32    a[i]: row g + 8 (i % 2), k = 4 t + 16 (i / 2) + j    b[i]: column g, k = 4 t + 16 i + j
 *     both        d[i]: row g + 8 (i / 2), column 2 t + i % 2
 *
 * In bytes, e2m1 stands in bits 5 … 2, the others zero. Which k a slot stands for is free as long as A and B agree and
 * a group of the scales stays one.
 *
 * Scales: the selector {byte, thread} says which lanes' registers count. A: of each four lanes the pair 2 thread, 2
 * thread + 1; the even one has row g, the odd one row g + 8. B: lane 4 column + thread. With scale_vec::4X (k64) the
 * four bytes are the groups of 16 in order, byte 0; with 1X (k32) `byte` chooses the one that counts.
 */
#ifndef IMP_COMPUTE_CUDA_BLOCK_SCALED_CUH
#define IMP_COMPUTE_CUDA_BLOCK_SCALED_CUH

#include "compute/cuda/cuda_compute.h"

#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* A format of weights and what x becomes for it. */
typedef struct BlockScaledShape {
    int terms;
    int bits;  /* of an element of a term */
    int group; /* elements under one scale, of weights and terms alike */
} BlockScaledShape;

__host__ __device__ constexpr BlockScaledShape block_scaled_shape(DType type)
{
    switch (type) {
    case DT_NVFP4:
        return {3, 4, 16};
    case DT_MXFP4:
        return {2, 8, 32};
    default:
        return {0, 0, 0};
    }
}

/* Rows of x as terms, in the workspace: elements [term][n_rows][row_bytes], scales [term][n_rows][scale_bytes], and for
 * NVFP4, whose scales have a short range, a power of two a row. */
typedef struct BlockScaledRows {
    uint8_t *elements, *scales;
    float *factors;
    int32_t row_bytes, scale_bytes;
    int32_t n_rows;
} BlockScaledRows;

#if !defined(__CUDA_ARCH_FEAT_SM120_ALL)

/* ---- emulation ---- */

__device__ __forceinline__ void half_mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* Four e2m1 numbers s e e m, one at bit 2 of each byte, as two pairs of halves: sign, exponent and mantissa at their
 * places are the number times 2^-14. */
__device__ __forceinline__ void halves_of_e2m1(uint32_t bytes, uint32_t (&out)[2])
{
    const __half2 factor = __floats2half2_rn(16384.0f, 16384.0f);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t pair = __byte_perm(bytes >> (16 * i), 0, 0x4140); /* a byte in each half */
        const uint32_t raw = (pair & 0x00200020u) << 10 | (pair & 0x001C001Cu) << 7;
        const __half2 numbers = __hmul2(*(const __half2 *)&raw, factor);
        out[i] = *(const uint32_t *)&numbers;
    }
}

__device__ __forceinline__ void halves_of_e4m3(uint32_t bytes, uint32_t (&out)[2])
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const __half2_raw pair =
            __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(bytes >> (16 * i) & 0xFFFF), __NV_E4M3);
        out[i] = (uint32_t)pair.x | (uint32_t)pair.y << 16;
    }
}

__device__ __forceinline__ float ue4m3_value(uint32_t code)
{
    const uint32_t magnitude = code & 0x7F;
    return magnitude == 0x7F ? __uint_as_float(0x7FC00000u) : __uint_as_float(magnitude << 20) * 0x1p120f;
}

/* The scale registers that count for this lane's results: of rows g and g + 8 and of columns 2 t and 2 t + 1. */
__device__ __forceinline__ void chosen_scales(uint32_t scale_a, uint32_t scale_b, uint32_t (&of_rows)[2],
                                              uint32_t (&of_columns)[2])
{
    const int lane = threadIdx.x % 32, first = lane & ~3, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        of_rows[i] = __shfl_sync(0xFFFFFFFFu, scale_a, first + i);
        of_columns[i] = __shfl_sync(0xFFFFFFFFu, scale_b, 4 * (2 * t + i));
    }
}

/* The 16 elements of a group lie in two neighbouring lanes of four: lane t takes the half-word t % 2 of lane t / 2 of
 * the two, as bytes with e2m1 in their middle. */
__device__ __forceinline__ uint32_t spread_e2m1(uint32_t word, int group)
{
    const int lane = threadIdx.x % 32, t = lane % 4;
    const uint32_t from = __shfl_sync(0xFFFFFFFFu, word, (lane & ~3) + group % 2 * 2 + t / 2) >> (t % 2 * 16);
    return (from & 0x000F) << 2 | (from & 0x00F0) << 6 | (from & 0x0F00) << 10 | (from & 0xF000) << 14;
}

#endif

/* ---- the instructions, selectors {0, 0} and {kByte, 0} ---- */

#if defined(__CUDA_ARCH_FEAT_SM120_ALL)

__device__ __forceinline__ void product_e2m1(float (&d)[4], const uint32_t *a, const uint32_t *b, uint32_t scale_a,
                                             uint32_t scale_b)
{
    asm("mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, %10, {0, 0}, %11, {0, 0};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "r"(scale_b));
}

template <int kByte>
__device__ __forceinline__ void product_e2m1_e4m3(float (&d)[4], const uint32_t *a, const uint32_t *b, uint32_t scale_a,
                                                  uint32_t scale_b)
{
    asm("mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.e2m1.e4m3.f32.ue8m0 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, %10, {%12, 0}, %11, {%12, 0};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "r"(scale_b), "n"(kByte));
}

#else

/* Functions, not inlined: there are many places and speed is no concern. */
static __device__ __noinline__ float4 emulated_e2m1(float4 d, uint4 a, uint2 b, uint32_t scale_a, uint32_t scale_b)
{
    uint32_t of_rows[2], of_columns[2];
    chosen_scales(scale_a, scale_b, of_rows, of_columns);
#pragma unroll
    for (int group = 0; group < 4; group++) { /* groups 0 and 1 lie in the first half of the registers */
        uint32_t upper[2], lower[2], column[2];
        halves_of_e2m1(spread_e2m1(group < 2 ? a.x : a.z, group), upper);
        halves_of_e2m1(spread_e2m1(group < 2 ? a.y : a.w, group), lower);
        halves_of_e2m1(spread_e2m1(group < 2 ? b.x : b.y, group), column);
        float sums[4] = {};
        half_mma(sums, upper[0], lower[0], upper[1], lower[1], column[0], column[1]);
        float rows[2], columns[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            rows[i] = ue4m3_value(of_rows[i] >> (8 * group));
            columns[i] = ue4m3_value(of_columns[i] >> (8 * group));
        }
        d.x += sums[0] * (rows[0] * columns[0]);
        d.y += sums[1] * (rows[0] * columns[1]);
        d.z += sums[2] * (rows[1] * columns[0]);
        d.w += sums[3] * (rows[1] * columns[1]);
    }
    return d;
}

/* 2^(code - 127) of both codes times x; 255 is no number. */
__device__ __forceinline__ float times_ue8m0(float x, uint32_t row, uint32_t column)
{
    const bool number = row != 0xFF && column != 0xFF;
    return number ? ldexpf(x, (int)(row + column) - 254) : __uint_as_float(0x7FC00000u);
}

static __device__ __noinline__ float4 emulated_e2m1_e4m3(float4 d, uint4 a, uint2 b, uint32_t scale_a, uint32_t scale_b,
                                                         int byte)
{
    uint32_t of_rows[2], of_columns[2], upper[2], lower[2], column[2];
    chosen_scales(scale_a >> (8 * byte) & 0xFF, scale_b >> (8 * byte) & 0xFF, of_rows, of_columns);
    float sums[4] = {};
    halves_of_e2m1(a.x, upper);
    halves_of_e2m1(a.y, lower);
    halves_of_e4m3(b.x, column);
    half_mma(sums, upper[0], lower[0], upper[1], lower[1], column[0], column[1]);
    halves_of_e2m1(a.z, upper);
    halves_of_e2m1(a.w, lower);
    halves_of_e4m3(b.y, column);
    half_mma(sums, upper[0], lower[0], upper[1], lower[1], column[0], column[1]);
    d.x += times_ue8m0(sums[0], of_rows[0], of_columns[0]);
    d.y += times_ue8m0(sums[1], of_rows[0], of_columns[1]);
    d.z += times_ue8m0(sums[2], of_rows[1], of_columns[0]);
    d.w += times_ue8m0(sums[3], of_rows[1], of_columns[1]);
    return d;
}

__device__ __forceinline__ void product_e2m1(float (&d)[4], const uint32_t *a, const uint32_t *b, uint32_t scale_a,
                                             uint32_t scale_b)
{
    const float4 sums = emulated_e2m1(make_float4(d[0], d[1], d[2], d[3]), make_uint4(a[0], a[1], a[2], a[3]),
                                      make_uint2(b[0], b[1]), scale_a, scale_b);
    d[0] = sums.x, d[1] = sums.y, d[2] = sums.z, d[3] = sums.w;
}

template <int kByte>
__device__ __forceinline__ void product_e2m1_e4m3(float (&d)[4], const uint32_t *a, const uint32_t *b, uint32_t scale_a,
                                                  uint32_t scale_b)
{
    const float4 sums = emulated_e2m1_e4m3(make_float4(d[0], d[1], d[2], d[3]), make_uint4(a[0], a[1], a[2], a[3]),
                                           make_uint2(b[0], b[1]), scale_a, scale_b, kByte);
    d[0] = sums.x, d[1] = sums.y, d[2] = sums.z, d[3] = sums.w;
}

#endif

/* ---- a step of 64 along k ---- */

/* Registers of one 16-row tile of weights for a step, from the words that four matrices of ldmatrix give: rows 0-7 and
 * 8-15 of the first 32 elements, then of the second. codec.cuh has the order of elements in a word: nibble i is element
 * codec_position(), so a word is a register of the 64-wide instruction, and its even and its odd nibbles are registers
 * of the 32-wide one. */
template <DType T> struct BlockScaledTile {
    static constexpr bool kNibbles = block_scaled_shape(T).bits == 4;
    static constexpr int kColumnWords = kNibbles ? 2 : 4;
    uint32_t words[kNibbles ? 4 : 8];

    __device__ __forceinline__ void set(const uint32_t (&loaded)[4])
    {
        if constexpr (kNibbles) {
#pragma unroll
            for (int i = 0; i < 4; i++) words[i] = loaded[i];
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) { /* instruction i / 2, rows 8 (i % 2) */
                words[i / 2 * 4 + i % 2] = loaded[i] << 2 & 0x3C3C3C3Cu;
                words[i / 2 * 4 + 2 + i % 2] = loaded[i] >> 2 & 0x3C3C3C3Cu;
            }
        }
    }

    /* d += this tile times eight rows of x. Scales of kStep 0 and 1 lie in words of their own (NVFP4), or in the two
     * halves of one (MXFP4). */
    template <int kStep>
    __device__ __forceinline__ void multiply(float (&d)[4], const uint32_t *columns, uint32_t scale_w,
                                             uint32_t scale_x) const
    {
        if constexpr (kNibbles) {
            product_e2m1(d, words, columns, scale_w, scale_x);
        } else {
            product_e2m1_e4m3<2 * kStep>(d, words, columns, scale_w, scale_x);
            product_e2m1_e4m3<2 * kStep + 1>(d, words + 4, columns + 2, scale_w, scale_x);
        }
    }
};

/* x [n_rows][cols] as terms into `rows`, whose pointers and sizes are set. */
void block_scaled_split(CudaQueue *queue, DType type, const uint16_t *x, int32_t cols, const BlockScaledRows *rows);

#endif
