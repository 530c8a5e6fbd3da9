/*
 * simd_portable.h - the vector of 16 floats in plain C11: the reference that every other level is compared with.
 */
#ifndef IMP_COMPUTE_CPU_SIMD_PORTABLE_H
#define IMP_COMPUTE_CPU_SIMD_PORTABLE_H

#include "quant/float_bits.h"

#include <math.h>
#include <stdint.h>

/* Inlined a thousand times over, the sanitizers' checks of every lane would take the compiler minutes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define V_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define V_CHECKED 1
#endif
#endif
#ifdef V_CHECKED
#define V_INLINE static __attribute__((noinline, unused))
#else
#define V_INLINE static inline
#endif

typedef struct F32x16 {
    float lane[16];
} F32x16;

#define KERNEL_INLINE static

/* One result per lane: `expression` in terms of l. */
#define V_EACH(expression)                                                                                             \
    F32x16 result;                                                                                                     \
    for (int l = 0; l < 16; l++) result.lane[l] = (expression);                                                        \
    return result

V_INLINE F32x16 v_set1(float x) { V_EACH(x); }
V_INLINE F32x16 v_load(const float *p) { V_EACH(p[l]); }
V_INLINE F32x16 v_load_n(const float *p, int n) { V_EACH(l < n ? p[l] : 0.0f); }
V_INLINE F32x16 v_load_f16(const uint16_t *p) { V_EACH(f16_to_f32(p[l])); }
V_INLINE F32x16 v_load_bf16(const uint16_t *p) { V_EACH(bf16_to_f32(p[l])); }
V_INLINE F32x16 v_load_s8(const int8_t *p) { V_EACH((float)p[l]); }
V_INLINE F32x16 v_load_e4m3(const uint8_t *p) { V_EACH(f8_e4m3_to_f32(p[l])); }
V_INLINE F32x16 v_load_s32(const int32_t *p) { V_EACH((float)p[l]); }
V_INLINE F32x16 v_load_nibbles_low(const uint8_t *p) { V_EACH((float)(p[l] & 15)); }
V_INLINE F32x16 v_load_nibbles_high(const uint8_t *p) { V_EACH((float)(p[l] >> 4)); }

V_INLINE void v_store(float *p, F32x16 a)
{
    for (int l = 0; l < 16; l++) p[l] = a.lane[l];
}
V_INLINE void v_store_n(float *p, F32x16 a, int n)
{
    for (int l = 0; l < n; l++) p[l] = a.lane[l];
}
V_INLINE void v_store_f16(uint16_t *p, F32x16 a)
{
    for (int l = 0; l < 16; l++) p[l] = f32_to_f16(a.lane[l]);
}

/* Whole numbers from -128 to 127. */
V_INLINE void v_store_s8(int8_t *p, F32x16 a)
{
    for (int l = 0; l < 16; l++) p[l] = (int8_t)a.lane[l];
}

/* Whole numbers from -32768 to 32767. */
V_INLINE void v_store_s16(int16_t *p, F32x16 a)
{
    for (int l = 0; l < 16; l++) p[l] = (int16_t)a.lane[l];
}

V_INLINE F32x16 v_add(F32x16 a, F32x16 b) { V_EACH(a.lane[l] + b.lane[l]); }
V_INLINE F32x16 v_sub(F32x16 a, F32x16 b) { V_EACH(a.lane[l] - b.lane[l]); }
V_INLINE F32x16 v_mul(F32x16 a, F32x16 b) { V_EACH(a.lane[l] * b.lane[l]); }
V_INLINE F32x16 v_div(F32x16 a, F32x16 b) { V_EACH(a.lane[l] / b.lane[l]); }
V_INLINE F32x16 v_fma(F32x16 a, F32x16 b, F32x16 c) { V_EACH(fmaf(a.lane[l], b.lane[l], c.lane[l])); }
/* The second operand where one is a NaN, as the instructions do. */
V_INLINE F32x16 v_max(F32x16 a, F32x16 b) { V_EACH(a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]); }
V_INLINE F32x16 v_min(F32x16 a, F32x16 b) { V_EACH(a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]); }
V_INLINE F32x16 v_round(F32x16 a) { V_EACH(nearbyintf(a.lane[l])); }
V_INLINE F32x16 v_abs(F32x16 a) { V_EACH(f32_from_bits(f32_to_bits(a.lane[l]) & 0x7FFFFFFFu)); }
/* |a| with the sign of s. */
V_INLINE F32x16 v_copysign(F32x16 a, F32x16 s)
{
    V_EACH(f32_from_bits((f32_to_bits(a.lane[l]) & 0x7FFFFFFFu) | (f32_to_bits(s.lane[l]) & 0x80000000u)));
}
/* a < b ? x : y */
V_INLINE F32x16 v_if_less(F32x16 a, F32x16 b, F32x16 x, F32x16 y)
{
    V_EACH(a.lane[l] < b.lane[l] ? x.lane[l] : y.lane[l]);
}
/* Lanes first <= l < end of a, `other` elsewhere. */
V_INLINE F32x16 v_keep_range(F32x16 a, int first, int end, float other)
{
    V_EACH(l >= first && l < end ? a.lane[l] : other);
}
/* 2^a for a whole number -126 <= a <= 127. */
V_INLINE F32x16 v_pow2(F32x16 a)
{
    V_EACH(f32_from_bits((uint32_t)((a.lane[l] >= -126.0f ? (int32_t)a.lane[l] : -126) + 127) << 23));
}

/* a * 2^n for whole n in -150 … 130, in two factors so that subnormal results round once. */
V_INLINE F32x16 v_times_pow2(F32x16 a, F32x16 n)
{
    const F32x16 half = v_round(v_mul(n, v_set1(0.5f)));
    return v_mul(v_mul(a, v_pow2(half)), v_pow2(v_sub(n, half)));
}

V_INLINE float v_sum(F32x16 a)
{
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++) a.lane[l] += a.lane[l + half];
    return a.lane[0];
}
V_INLINE float v_reduce_max(F32x16 a)
{
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++) a.lane[l] = a.lane[l] > a.lane[l + half] ? a.lane[l] : a.lane[l + half];
    return a.lane[0];
}

#undef V_EACH
#undef V_CHECKED
#undef V_INLINE
#endif
