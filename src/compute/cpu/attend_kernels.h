/*
 * attend_kernels.h - one block of keys and values times a tile of queries: scores, running softmax, sum of values.
 *
 * Queries that read the same pages (the heads of a group, the rows of a prompt) come together, so that a key or a value is
 * loaded and widened once for all of them. Every query's arithmetic is its own and the same in any company: of a score, the
 * products of even and of odd dimensions, each ascending, then their sum; of a sum of values, the keys ascending. Keys that a
 * query does not see have weight zero; what no query of the tile sees is not read.
 *
 * A level may say how many queries and how many vectors of a value its registers hold.
 */
#ifndef IMP_COMPUTE_CPU_ATTEND_KERNELS_H
#define IMP_COMPUTE_CPU_ATTEND_KERNELS_H

#include "compute/cpu/float_kernels.h"

#ifndef ATTEND_TILE
#define ATTEND_TILE 6
#define ATTEND_SLICES 4
#endif

/* ---- elements ---- */

KERNEL_INLINE bool kv_has_scales(DType type) { return type == DT_I8 || type == DT_F8_E4M3; }

KERNEL_INLINE size_t kv_bytes(DType type) { return type == DT_F32 ? 4 : kv_has_scales(type) ? 1 : 2; }

KERNEL_INLINE F32x16 load_kv(const uint8_t *p, size_t index, DType type)
{
    const void *at = p + index * kv_bytes(type);
    switch (type) {
    case DT_F16: return v_load_f16((const uint16_t *)at);
    case DT_BF16: return v_load_bf16((const uint16_t *)at);
    case DT_I8: return v_load_s8((const int8_t *)at);
    case DT_F8_E4M3: return v_load_e4m3((const uint8_t *)at);
    default: return v_load((const float *)at);
    }
}

static float encode_f32(const float *x, void *out, int32_t n)
{
    memcpy(out, x, (size_t)n * sizeof *x);
    return 1.0f;
}

static float encode_f16(const float *x, void *out, int32_t n)
{
    uint16_t *half = out;
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) v_store_f16(half + i, v_load(x + i));
    for (; i < n; i++) half[i] = f32_to_f16(x[i]);
    return 1.0f;
}

static float encode_bf16(const float *x, void *out, int32_t n)
{
    uint16_t *half = out;
    for (int32_t i = 0; i < n; i++) half[i] = f32_to_bf16(x[i]);
    return 1.0f;
}

/* The factor that makes the largest magnitude `top`, and its inverse; 0 where the quotient would overflow. */
static float largest(const float *x, int32_t n)
{
    float most = 0.0f;
    for (int32_t i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most > 1e-30f ? most : 0.0f;
}

static float encode_s8(const float *x, void *out, int32_t n)
{
    const float most = largest(x, n), inverse = most > 0.0f ? 127.0f / most : 0.0f;
    int8_t *codes = out;
    /* Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum. */
    for (int32_t i = 0; i < n; i++) codes[i] = (int8_t)f32_to_bits(x[i] * inverse + 0x1.8p23f);
    return most / 127.0f;
}

/* To the nearest, even of two, for magnitudes up to 448: a subnormal counts 2^-9, the rest loses 20 bits. */
static uint8_t e4m3_code(float x)
{
    const uint32_t bits = f32_to_bits(x), magnitude = bits & 0x7FFFFFFFu, sign = bits >> 24 & 0x80u;
    if (magnitude < 0x3C800000u) /* 2^-6 */
        return (uint8_t)(sign | (f32_to_bits(f32_from_bits(magnitude) * 512.0f + 0x1.8p23f) & 0x0Fu));
    const uint32_t code = ((magnitude + 0x7FFFFu + (magnitude >> 20 & 1u)) >> 20) - (120u << 3);
    return (uint8_t)(sign | (code < 0x7Eu ? code : 0x7Eu));
}

static float encode_e4m3(const float *x, void *out, int32_t n)
{
    const float most = largest(x, n), inverse = most > 0.0f ? 448.0f / most : 0.0f;
    uint8_t *codes = out;
    for (int32_t i = 0; i < n; i++) codes[i] = e4m3_code(x[i] * inverse);
    return most / 448.0f;
}

/* ---- scores ---- */

KERNEL_INLINE void attend_scores(DType type, const AttendBlock *block, const AttendQuery *queries, int n,
                                 float scores[][ATTEND_KEYS])
{
    const int32_t dims = block->head_dim;
    const float *q[ATTEND_TILE];
    for (int a = 0; a < n; a++) q[a] = queries[a].q;
    for (int page = 0; page < ATTEND_PAGES; page++) {
        const uint8_t *keys = block->pages[page];
        if (keys == NULL) continue;
        F32x16 even[ATTEND_TILE], odd[ATTEND_TILE];
        for (int a = 0; a < n; a++) even[a] = odd[a] = v_set1(0.0f);
        int32_t d = 0;
        for (; d + 2 <= dims; d += 2) {
            const F32x16 first = load_kv(keys, (size_t)d * KV_PAGE_TOKENS, type);
            const F32x16 second = load_kv(keys, (size_t)(d + 1) * KV_PAGE_TOKENS, type);
            for (int a = 0; a < n; a++) {
                even[a] = v_fma(v_set1(q[a][d]), first, even[a]);
                odd[a] = v_fma(v_set1(q[a][d + 1]), second, odd[a]);
            }
        }
        if (d < dims)
            for (int a = 0; a < n; a++)
                even[a] = v_fma(v_set1(q[a][d]), load_kv(keys, (size_t)d * KV_PAGE_TOKENS, type), even[a]);
        F32x16 scale = v_set1(block->scale);
        if (kv_has_scales(type))
            scale = v_mul(scale, v_load((const float *)(const void *)(keys + (size_t)dims * KV_PAGE_TOKENS)));
        for (int a = 0; a < n; a++)
            v_store(scores[a] + page * KV_PAGE_TOKENS, v_mul(v_add(even[a], odd[a]), scale));
    }
}

/* ---- softmax ---- */

KERNEL_INLINE int clamp_key(int32_t key) { return key < 0 ? 0 : key > KV_PAGE_TOKENS ? KV_PAGE_TOKENS : key; }

/* Caps a query's scores and takes those away that it does not see; the largest. */
KERNEL_INLINE float attend_largest(const AttendBlock *block, const AttendQuery *query, float scores[ATTEND_KEYS])
{
    F32x16 most = v_set1(-INFINITY);
    if (query->first <= 0 && query->end >= ATTEND_KEYS && block->softcap == 0.0f) {
        for (int page = 0; page < ATTEND_PAGES; page++) most = v_max(most, v_load(scores + page * KV_PAGE_TOKENS));
        return v_reduce_max(most);
    }
    for (int page = 0; page < ATTEND_PAGES; page++, scores += KV_PAGE_TOKENS) {
        const int first = clamp_key(query->first - page * KV_PAGE_TOKENS);
        const int end = clamp_key(query->end - page * KV_PAGE_TOKENS);
        F32x16 score = v_set1(-INFINITY);
        if (first < end) {
            score = v_load(scores);
            if (block->softcap != 0.0f) {
                const F32x16 cap = v_set1(block->softcap);
                score = v_mul(cap, v_tanh(v_div(score, cap)));
            }
            score = v_keep_range(score, first, end, -INFINITY);
        }
        v_store(scores, score);
        most = v_max(most, score);
    }
    return v_reduce_max(most);
}

/* Turns a query's scores into weights; their sum. */
KERNEL_INLINE float attend_weights(DType type, const AttendBlock *block, float max, float scores[ATTEND_KEYS])
{
    F32x16 total = v_set1(0.0f);
    for (int page = 0; page < ATTEND_PAGES; page++, scores += KV_PAGE_TOKENS) {
        F32x16 weight = v_exp(v_sub(v_load(scores), v_set1(max)));
        total = v_add(total, weight);
        if (kv_has_scales(type) && block->pages[page] != NULL) {
            const size_t codes = (size_t)block->value_stride * KV_PAGE_TOKENS;
            weight = v_mul(weight, v_load((const float *)(const void *)(block->pages[page] + block->key_bytes + codes)));
        }
        v_store(scores, weight);
    }
    return v_sum(total);
}

/* Turns the scores into weights, moves the queries' maxima and sums, and tells what their sums of values shrink by. One query waits
 * for itself most of the time, so each step is for all of them. */
KERNEL_INLINE void attend_softmax(DType type, const AttendBlock *block, AttendQuery *queries, int n, float scores[][ATTEND_KEYS],
                                  float correction[CPU_LANES])
{
    float max[ATTEND_TILE], sum[ATTEND_TILE], moved[CPU_LANES] = {0};
    for (int a = 0; a < n; a++) {
        max[a] = queries[a].max;
        if (queries[a].first >= queries[a].end) continue;
        const float largest_score = attend_largest(block, &queries[a], scores[a]);
        max[a] = largest_score > max[a] ? largest_score : max[a];
        if (max[a] != queries[a].max) moved[a] = queries[a].max - max[a];
    }
    for (int a = 0; a < n; a++) {
        sum[a] = 0.0f;
        if (queries[a].first < queries[a].end) sum[a] = attend_weights(type, block, max[a], scores[a]);
        else memset(scores[a], 0, sizeof scores[a]);
    }
    v_store(correction, v_exp(v_load(moved))); /* exp(0) is 1 */
    for (int a = 0; a < n; a++) {
        queries[a].max = max[a];
        queries[a].sum = queries[a].sum * correction[a] + sum[a];
    }
}

/* ---- values ---- */

/* Dimensions d … d + 16 * n_slices - 1 of all queries' sums. */
KERNEL_INLINE void attend_slices(DType type, const AttendBlock *block, AttendQuery *queries, int n, int n_slices,
                                 int32_t d, float weights[][ATTEND_KEYS], const float *correction, int32_t first,
                                 int32_t end)
{
    F32x16 sum[ATTEND_TILE][ATTEND_SLICES];
    for (int a = 0; a < n; a++)
        for (int s = 0; s < n_slices; s++)
            sum[a][s] = v_mul(v_load(queries[a].out + d + 16 * s), v_set1(correction[a]));
    for (int32_t j = first; j < end; j++) {
        const uint8_t *values = block->pages[j / KV_PAGE_TOKENS] + block->key_bytes;
        const size_t at = (size_t)(j % KV_PAGE_TOKENS) * (size_t)block->value_stride + (size_t)d;
        F32x16 value[ATTEND_SLICES];
        for (int s = 0; s < n_slices; s++) value[s] = load_kv(values, at + 16 * (size_t)s, type);
        for (int a = 0; a < n; a++) {
            const F32x16 weight = v_set1(weights[a][j]);
            for (int s = 0; s < n_slices; s++) sum[a][s] = v_fma(weight, value[s], sum[a][s]);
        }
    }
    for (int a = 0; a < n; a++)
        for (int s = 0; s < n_slices; s++) v_store(queries[a].out + d + 16 * s, sum[a][s]);
}

KERNEL_INLINE void attend_tile(DType type, const AttendBlock *block, AttendQuery *queries, int n)
{
    float scores[ATTEND_TILE][ATTEND_KEYS], correction[CPU_LANES];
    int32_t first = ATTEND_KEYS, end = 0, d = 0;
    attend_scores(type, block, queries, n, scores);
    for (int a = 0; a < n; a++) {
        if (queries[a].first >= queries[a].end) continue;
        first = queries[a].first < first ? queries[a].first : first;
        end = queries[a].end > end ? queries[a].end : end;
    }
    attend_softmax(type, block, queries, n, scores, correction);
    for (; d + 16 * ATTEND_SLICES <= block->value_stride; d += 16 * ATTEND_SLICES)
        attend_slices(type, block, queries, n, ATTEND_SLICES, d, scores, correction, first, end);
    for (; d < block->value_stride; d += 16) attend_slices(type, block, queries, n, 1, d, scores, correction, first, end);
}

KERNEL_INLINE void attend_block(DType type, const AttendBlock *block, AttendQuery *queries, int32_t n)
{
    for (int32_t a = 0; a < n; a += ATTEND_TILE) {
        switch (n - a < ATTEND_TILE ? n - a : ATTEND_TILE) {
        case 1: attend_tile(type, block, queries + a, 1); break;
        case 2: attend_tile(type, block, queries + a, 2); break;
#if ATTEND_TILE > 3
        case 3: attend_tile(type, block, queries + a, 3); break;
        case 4: attend_tile(type, block, queries + a, 4); break;
        case 5: attend_tile(type, block, queries + a, 5); break;
#endif
        default: attend_tile(type, block, queries + a, ATTEND_TILE);
        }
    }
}

#define ATTEND_BLOCK(name, type)                                                                                       \
    static void name(const AttendBlock *block, AttendQuery *queries, int32_t n)                                        \
    {                                                                                                                  \
        attend_block(type, block, queries, n);                                                                         \
    }
ATTEND_BLOCK(attend_f32, DT_F32)
ATTEND_BLOCK(attend_f16, DT_F16)
ATTEND_BLOCK(attend_bf16, DT_BF16)
ATTEND_BLOCK(attend_s8, DT_I8)
ATTEND_BLOCK(attend_e4m3, DT_F8_E4M3)
#undef ATTEND_BLOCK

#define ATTEND_KERNELS                                                                                                 \
    .encode_kv = {[DT_F32] = encode_f32, [DT_F16] = encode_f16, [DT_BF16] = encode_bf16, [DT_I8] = encode_s8,          \
                  [DT_F8_E4M3] = encode_e4m3},                                                                         \
    .attend_block = {[DT_F32] = attend_f32, [DT_F16] = attend_f16, [DT_BF16] = attend_bf16, [DT_I8] = attend_s8,       \
                     [DT_F8_E4M3] = attend_e4m3}

#endif
