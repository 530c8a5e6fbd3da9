/*
 * float_kernels.h - every kernel over float32, written once over the vector of 16 floats.
 *
 * A level's file includes its simd_*.h, then this, and fills its table with FLOAT_KERNELS.
 */
#ifndef IMP_COMPUTE_CPU_FLOAT_KERNELS_H
#define IMP_COMPUTE_CPU_FLOAT_KERNELS_H

#include "compute/cpu/kernels.h"
#include "quant/float_bits.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* For bodies whose constant arguments must be folded into each of their instances. The portable level says otherwise: its
 * vectors are arrays, and unrolling them into everything takes a sanitizing compiler many minutes. */
#ifndef KERNEL_INLINE
#define KERNEL_INLINE static inline __attribute__((always_inline))
#endif

KERNEL_INLINE F32x16 load_part(const float *p, int32_t n) { return n >= 16 ? v_load(p) : v_load_n(p, n); }

KERNEL_INLINE void store_part(float *p, F32x16 a, int32_t n)
{
    if (n >= 16) v_store(p, a);
    else v_store_n(p, a, n);
}

/* ---- elementary functions ---- */

/* exp(x) to 1 ulp: x = n ln 2 + r, a minimax polynomial in r, times 2^n. */
KERNEL_INLINE F32x16 v_exp(F32x16 x)
{
    x = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)); /* a NaN stays one */
    const F32x16 n = v_round(v_mul(x, v_set1(0x1.715476p+0f)));
    F32x16 r = v_fma(n, v_set1(-0x1.62e4p-1f), x);
    r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);
    F32x16 p = v_set1(0.00019790136f);
    p = v_fma(p, r, v_set1(0.0013944869f));
    p = v_fma(p, r, v_set1(0.0083334985f));
    p = v_fma(p, r, v_set1(0.041666292f));
    p = v_fma(p, r, v_set1(0.16666667f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_add(v_fma(v_mul(r, r), p, r), v_set1(1.0f));
    return v_times_pow2(p, n);
}

KERNEL_INLINE F32x16 v_sigmoid(F32x16 x)
{
    const F32x16 one = v_set1(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_set1(0.0f), x))));
}

/* A polynomial near zero, where the quotient of exponentials would cancel; 1 - 2 / (exp(2|x|) + 1) elsewhere. */
KERNEL_INLINE F32x16 v_tanh(F32x16 x)
{
    const F32x16 magnitude = v_abs(x), one = v_set1(1.0f), two = v_set1(2.0f), square = v_mul(x, x);
    F32x16 p = v_set1(0.0021475397f);
    p = v_fma(p, square, v_set1(-0.0081826774f));
    p = v_fma(p, square, v_set1(0.021702969f));
    p = v_fma(p, square, v_set1(-0.053947203f));
    p = v_fma(p, square, v_set1(0.1333321f));
    p = v_fma(p, square, v_set1(-0.33333331f));
    const F32x16 small = v_fma(v_mul(p, square), x, x);
    const F32x16 large = v_sub(one, v_div(two, v_add(v_exp(v_mul(two, magnitude)), one)));
    return v_if_less(magnitude, v_set1(0.625f), small, v_copysign(large, x));
}

/* ---- products ---- */

/* Elements i … i+15 of a row of weights, or the n < 16 that are left and zeros. */
KERNEL_INLINE F32x16 load_weights(const void *row, int32_t i, DType type)
{
    switch (type) {
    case DT_F16: return v_load_f16((const uint16_t *)row + i);
    case DT_BF16: return v_load_bf16((const uint16_t *)row + i);
    default: return v_load((const float *)row + i);
    }
}

KERNEL_INLINE F32x16 load_last_weights(const void *row, int32_t i, int32_t n, DType type)
{
    if (type == DT_F32) return v_load_n((const float *)row + i, n);
    uint16_t halves[16] = {0};
    memcpy(halves, (const uint16_t *)row + i, (size_t)n * sizeof *halves);
    return load_weights(halves, 0, type);
}

KERNEL_INLINE void dot_tile_of(DType type, const void *const w[DOT_TILE_ROWS], const float *const x[], int n_acts,
                               int32_t k, float *out)
{
    F32x16 sum[DOT_TILE_ACTS][DOT_TILE_ROWS];
    for (int a = 0; a < n_acts; a++)
        for (int r = 0; r < DOT_TILE_ROWS; r++) sum[a][r] = v_set1(0.0f);
    int32_t i = 0;
    for (; i + 16 <= k; i += 16) {
        F32x16 row[DOT_TILE_ROWS];
        for (int r = 0; r < DOT_TILE_ROWS; r++) row[r] = load_weights(w[r], i, type);
        for (int a = 0; a < n_acts; a++) {
            const F32x16 act = v_load(x[a] + i);
            for (int r = 0; r < DOT_TILE_ROWS; r++) sum[a][r] = v_fma(row[r], act, sum[a][r]);
        }
    }
    if (i < k) {
        for (int a = 0; a < n_acts; a++) {
            const F32x16 act = v_load_n(x[a] + i, k - i);
            for (int r = 0; r < DOT_TILE_ROWS; r++)
                sum[a][r] = v_fma(load_last_weights(w[r], i, k - i, type), act, sum[a][r]);
        }
    }
    for (int a = 0; a < n_acts; a++)
        for (int r = 0; r < DOT_TILE_ROWS; r++) out[a * DOT_TILE_ROWS + r] = v_sum(sum[a][r]);
}

/* With one activation memory is what counts, and four rows at once are no stream that the processor sees coming: one after
 * the other they come twice as fast. */
KERNEL_INLINE void dot_rows_of(DType type, const void *const w[DOT_TILE_ROWS], const float *x, int32_t k, float *out)
{
    for (int r = 0; r < DOT_TILE_ROWS; r++) {
        F32x16 sum = v_set1(0.0f);
        int32_t i = 0;
        for (; i + 16 <= k; i += 16) sum = v_fma(load_weights(w[r], i, type), v_load(x + i), sum);
        if (i < k) sum = v_fma(load_last_weights(w[r], i, k - i, type), v_load_n(x + i, k - i), sum);
        out[r] = v_sum(sum);
    }
}

#define DOT_TILE(name, type)                                                                                           \
    static void name(const void *const w[DOT_TILE_ROWS], const float *const x[], int32_t n_acts, int32_t k,            \
                     float *out)                                                                                       \
    {                                                                                                                  \
        switch (n_acts) {                                                                                              \
        case 1: dot_rows_of(type, w, x[0], k, out); break;                                                             \
        case 2: dot_tile_of(type, w, x, 2, k, out); break;                                                             \
        case 3: dot_tile_of(type, w, x, 3, k, out); break;                                                             \
        case 4: dot_tile_of(type, w, x, 4, k, out); break;                                                             \
        case 5: dot_tile_of(type, w, x, 5, k, out); break;                                                             \
        default: dot_tile_of(type, w, x, 6, k, out); break;                                                            \
        }                                                                                                              \
    }
DOT_TILE(dot_tile_f32, DT_F32)
DOT_TILE(dot_tile_f16, DT_F16)
DOT_TILE(dot_tile_bf16, DT_BF16)
#undef DOT_TILE

/* ---- sums and norms ---- */

static float sum_of(const float *x, int32_t n)
{
    F32x16 total = v_set1(0.0f);
    for (int32_t i = 0; i < n; i += 16) total = v_add(total, load_part(x + i, n - i));
    return v_sum(total);
}

static float sum_of_squares(const float *x, float mean, int32_t n)
{
    F32x16 total = v_set1(0.0f);
    const F32x16 center = v_set1(mean);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const F32x16 d = v_sub(v_load(x + i), center);
        total = v_fma(d, d, total);
    }
    if (i < n) {
        const F32x16 d = v_keep_range(v_sub(v_load_n(x + i, n - i), center), 0, n - i, 0.0f);
        total = v_fma(d, d, total);
    }
    return v_sum(total);
}

static float max_of(const float *x, int32_t n)
{
    F32x16 most = v_set1(-INFINITY);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) most = v_max(most, v_load(x + i));
    if (i < n) most = v_max(most, v_keep_range(v_load_n(x + i, n - i), 0, n - i, -INFINITY));
    return v_reduce_max(most);
}

static void add_scaled(float *y, const float *x, float m, int32_t n)
{
    const F32x16 factor = v_set1(m);
    for (int32_t i = 0; i < n; i += 16) {
        const F32x16 scaled = v_mul(load_part(x + i, n - i), factor);
        store_part(y + i, v_add(load_part(y + i, n - i), scaled), n - i);
    }
}

static void scale_by(float *y, float m, int32_t n)
{
    const F32x16 factor = v_set1(m);
    for (int32_t i = 0; i < n; i += 16) store_part(y + i, v_mul(load_part(y + i, n - i), factor), n - i);
}

static void normalize(const float *x, float mean, float m, const float *w, const float *b, float *y, int32_t n)
{
    const F32x16 center = v_set1(mean), factor = v_set1(m);
    for (int32_t i = 0; i < n; i += 16) {
        F32x16 value = v_mul(v_sub(load_part(x + i, n - i), center), factor);
        if (w != NULL) value = v_mul(value, load_part(w + i, n - i));
        if (b != NULL) value = v_add(value, load_part(b + i, n - i));
        store_part(y + i, value, n - i);
    }
}

static void finish_logits(float *y, float m, const float *b, float cap, int32_t n)
{
    const F32x16 factor = v_set1(m), limit = v_set1(cap);
    for (int32_t i = 0; i < n; i += 16) {
        F32x16 value = load_part(y + i, n - i);
        if (b != NULL) value = v_add(value, load_part(b + i, n - i));
        value = v_mul(value, factor);
        if (cap != 0.0f) value = v_mul(limit, v_tanh(v_div(value, limit)));
        store_part(y + i, value, n - i);
    }
}

/* ---- activations ---- */

KERNEL_INLINE F32x16 act_silu(F32x16 x)
{
    const F32x16 one = v_set1(1.0f);
    return v_div(x, v_add(one, v_exp(v_sub(v_set1(0.0f), x))));
}

/* 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), which does not cancel; u = sqrt(2 / pi) (x + 0.044715 x^3). */
KERNEL_INLINE F32x16 act_gelu_tanh(F32x16 x)
{
    const F32x16 cubic = v_fma(v_mul(v_mul(x, x), v_set1(0.044715f)), x, x);
    return v_div(x, v_add(v_set1(1.0f), v_exp(v_mul(cubic, v_set1(-1.5957691f)))));
}

/* 0.5 x (1 + erf(x / sqrt 2)), lane by lane: encoders alone use it. */
KERNEL_INLINE F32x16 act_gelu(F32x16 x)
{
    float lane[16];
    v_store(lane, x);
    for (int l = 0; l < 16; l++) lane[l] = 0.5f * lane[l] * (1.0f + erff(lane[l] * 0.70710678f));
    return v_load(lane);
}

KERNEL_INLINE F32x16 act_relu(F32x16 x) { return v_max(x, v_set1(0.0f)); }

KERNEL_INLINE F32x16 act_relu2(F32x16 x)
{
    const F32x16 positive = act_relu(x);
    return v_mul(positive, positive);
}

KERNEL_INLINE void activate_with(F32x16 (*act)(F32x16), const float *gate, const float *up, float *y, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        F32x16 value = act(load_part((gate != NULL ? gate : up) + i, n - i));
        if (gate != NULL) value = v_mul(value, load_part(up + i, n - i));
        store_part(y + i, value, n - i);
    }
}

static void activate_oai(float limit, const float *gate, const float *up, float *y, int32_t n)
{
    const F32x16 most = v_set1(limit > 0.0f ? limit : INFINITY), least = v_sub(v_set1(0.0f), most);
    for (int32_t i = 0; i < n; i += 16) {
        const F32x16 u = v_max(v_min(load_part(up + i, n - i), most), least);
        const F32x16 g = gate != NULL ? v_min(load_part(gate + i, n - i), most) : u;
        const F32x16 glu = v_mul(g, v_sigmoid(v_mul(g, v_set1(1.702f))));
        store_part(y + i, gate != NULL ? v_mul(v_add(u, v_set1(1.0f)), glu) : glu, n - i);
    }
}

static void activate(Activation activation, float limit, const float *gate, const float *up, float *y, int32_t n)
{
    switch (activation) {
    case ACT_SILU: activate_with(act_silu, gate, up, y, n); break;
    case ACT_GELU: activate_with(act_gelu, gate, up, y, n); break;
    case ACT_GELU_TANH: activate_with(act_gelu_tanh, gate, up, y, n); break;
    case ACT_RELU: activate_with(act_relu, gate, up, y, n); break;
    case ACT_RELU2: activate_with(act_relu2, gate, up, y, n); break;
    case ACT_SWIGLU_OAI: activate_oai(limit, gate, up, y, n); break;
    }
}

static void sigmoid(float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) store_part(x + i, v_sigmoid(load_part(x + i, n - i)), n - i);
}

static void gate_sigmoid(float *y, const float *gate, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const F32x16 factor = v_sigmoid(load_part(gate + i, n - i));
        store_part(y + i, v_mul(load_part(y + i, n - i), factor), n - i);
    }
}

static float exp_sum(float *x, float max, int32_t n)
{
    const F32x16 most = v_set1(max);
    F32x16 total = v_set1(0.0f);
    for (int32_t i = 0; i < n; i += 16) {
        F32x16 value = v_exp(v_sub(load_part(x + i, n - i), most));
        if (n - i < 16) value = v_keep_range(value, 0, n - i, 0.0f);
        store_part(x + i, value, n - i);
        total = v_add(total, value);
    }
    return v_sum(total);
}

/* ---- rotary ---- */

/* Plain products and sums, as transformers computes x * cos + rotate_half(x) * sin. */
static void rotate_half(float *a, float *b, const float *c, const float *s, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const F32x16 first = load_part(a + i, n - i), second = load_part(b + i, n - i);
        const F32x16 cosine = load_part(c + i, n - i), sine = load_part(s + i, n - i);
        store_part(a + i, v_sub(v_mul(first, cosine), v_mul(second, sine)), n - i);
        store_part(b + i, v_add(v_mul(second, cosine), v_mul(first, sine)), n - i);
    }
}

/* ---- decoders: the types whose blocks map onto 16 lanes without further ado ---- */

static void decode_f16(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(out + i, v_load_f16((const uint16_t *)(const void *)(in + 2 * i)));
    dtype_info(DT_F16)->decode(in + 2 * i, out + i, n - i);
}

static void decode_bf16(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(out + i, v_load_bf16((const uint16_t *)(const void *)(in + 2 * i)));
    dtype_info(DT_BF16)->decode(in + 2 * i, out + i, n - i);
}

KERNEL_INLINE float block_f16(const uint8_t *bytes)
{
    return f16_to_f32((uint16_t)(bytes[0] | (uint16_t)bytes[1] << 8));
}

/* d, 16 bytes: element l in the low half of byte l, l + 16 in the high one; value (q - 8) d. */
static void decode_q4_0(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += 32, block += 18) {
        const F32x16 d = v_set1(block_f16(block)), eight = v_set1(8.0f);
        v_store(out + i, v_mul(d, v_sub(v_load_nibbles_low(block + 2), eight)));
        v_store(out + i + 16, v_mul(d, v_sub(v_load_nibbles_high(block + 2), eight)));
    }
}

/* d, m, 16 bytes; value q d + m. */
static void decode_q4_1(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += 32, block += 20) {
        const F32x16 d = v_set1(block_f16(block)), m = v_set1(block_f16(block + 2));
        v_store(out + i, v_add(v_mul(d, v_load_nibbles_low(block + 4)), m));
        v_store(out + i + 16, v_add(v_mul(d, v_load_nibbles_high(block + 4)), m));
    }
}

/* d, 32 signed bytes. */
static void decode_q8_0(const void *blocks, float *out, size_t n)
{
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += 32, block += 34) {
        const F32x16 d = v_set1(block_f16(block));
        v_store(out + i, v_mul(d, v_load_s8((const int8_t *)(block + 2))));
        v_store(out + i + 16, v_mul(d, v_load_s8((const int8_t *)(block + 18))));
    }
}

/* ---- activations in fixed point (packed.h): what all their kernels share ---- */

/* A chunk whose elements are smaller than ACT_TINY is zero next to anything, and its inverse scale might overflow; a block
 * whose elements are smaller than ACT_LEAST of the chunk's largest need not count in smaller steps. */
#define ACT_TINY 1e-28f
#define ACT_LEAST 0x1p-16f

/* A chunk of which every product is no number. */
static void poison_chunk(ActChunk *out)
{
    memset(out, 0, sizeof *out);
    out->scale = NAN;
}

/* Asks for the lines of a chunk that will be written, the low planes' if all have one: stores wait for each other's. */
static void expect_chunk(const ActChunk *chunk, bool joined)
{
    for (size_t at = 0; at < (joined ? sizeof *chunk : offsetof(ActChunk, low)); at += 64) __builtin_prefetch((const char *)chunk + at, 1);
}

/* ---- activations of half-precision weights (wide.h) ---- */

static void wide_quantize(const float *x, int32_t n, WideAct *out)
{
    for (int32_t b = 0; b < n / WIDE_COLS; b++, x += WIDE_COLS, out++) {
        F32x16 most = v_set1(0.0f), poison = v_set1(0.0f);
        for (int i = 0; i < WIDE_COLS; i += 16) {
            const F32x16 part = v_load(x + i);
            most = v_max(most, v_abs(part));
            poison = v_fma(part, v_set1(0.0f), poison);
        }
        /* Smaller than this, and the quotient would overflow: next to anything it is zero. */
        const float max = v_reduce_max(most);
        const bool zero = !(max > 1e-30f), finite = v_sum(poison) == 0.0f;
        const F32x16 inverse = v_set1(zero || !finite ? 0.0f : (float)WIDE_ACT_MAX / max);
        for (int i = 0; i < WIDE_COLS; i += 16)
            v_store_s16(out->codes + i, v_round(v_mul(finite ? v_load(x + i) : v_set1(0.0f), inverse)));
        out->scale = !finite ? NAN : zero ? 0.0f : max / (float)WIDE_ACT_MAX;
    }
}

/* ---- the table ---- */

#define FLOAT_KERNELS                                                                                                  \
    .dot_tile = {[DT_F32] = dot_tile_f32, [DT_F16] = dot_tile_f16, [DT_BF16] = dot_tile_bf16},                         \
    .sum = sum_of, .sum_of_squares = sum_of_squares, .max = max_of, .add_scaled = add_scaled,                          \
    .scale = scale_by, .normalize = normalize, .finish_logits = finish_logits, .activate = activate,                   \
    .gate_sigmoid = gate_sigmoid, .sigmoid = sigmoid, .exp_sum = exp_sum, .rotate_half = rotate_half,                  \
    .wide_quantize = wide_quantize,                                                                                    \
    .decode = {[DT_F16] = decode_f16, [DT_BF16] = decode_bf16, [DT_Q4_0] = decode_q4_0, [DT_Q4_1] = decode_q4_1,       \
               [DT_Q8_0] = decode_q8_0}

#endif
