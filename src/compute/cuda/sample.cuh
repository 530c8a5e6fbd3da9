/*
 * sample.cuh - what the kernels that draw share: a row as it is looked at, the exponential of the runtime's sampler,
 * and what a row's chain asks of the whole vocabulary.
 */
#ifndef IMP_COMPUTE_CUDA_SAMPLE_CUH
#define IMP_COMPUTE_CUDA_SAMPLE_CUH

#include "compute/cuda/launch.cuh"
#include "compute/cuda/sample.h"

#include <math.h>

enum { SAMPLE_WARP = 32 };

/* e^-87 is the last normal power. */
#define SAMPLE_LEAST_SHIFT (-87.0f)

/* ---- a row ---- */

struct View {
    const float *logits;
    const uint32_t *allowed; /* NULL: all are */
    int32_t n;
    bool aligned; /* on 16 bytes */
};

__device__ __forceinline__ View view_of(const CudaSample &sample, const SampleRow &row, int index)
{
    const float *logits = sample.logits + (size_t)index * (size_t)sample.stride;
    return {logits, row.allowed, row.n_vocab, (reinterpret_cast<uintptr_t>(logits) & 15) == 0};
}

/* Four logits from i, a multiple of 4, on; what is not allowed or behind the end is -infinity. */
__device__ __forceinline__ float4 view_four(const View &view, int32_t i)
{
    float4 four = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    if (i >= view.n) return four;
    if (view.aligned && i + 4 <= view.n) {
        four = *reinterpret_cast<const float4 *>(view.logits + i);
    } else {
        four.x = view.logits[i];
        if (i + 1 < view.n) four.y = view.logits[i + 1];
        if (i + 2 < view.n) four.z = view.logits[i + 2];
        if (i + 3 < view.n) four.w = view.logits[i + 3];
    }
    if (view.allowed == NULL) return four;
    const uint32_t bits = view.allowed[i / 32] >> (i % 32);
    if ((bits & 1u) == 0) four.x = -INFINITY;
    if ((bits & 2u) == 0) four.y = -INFINITY;
    if ((bits & 4u) == 0) four.z = -INFINITY;
    if ((bits & 8u) == 0) four.w = -INFINITY;
    return four;
}

/* A temperature before the first link that leaves tokens out: applied to a logit wherever it is read. */
struct Scale {
    bool on;
    float max, factor;
};

__device__ __forceinline__ float scaled(const Scale &scale, float logit)
{
    return scale.on ? (logit - scale.max) * scale.factor : logit;
}

/* ---- the plan ---- */

/* What a chain does while every token is a candidate: links before `first_cut` (n_links: there is none). */
struct Plan {
    int first_cut;
    bool scales;  /* a temperature is among them */
    bool adjusts; /* bias, penalties or DRY are */
    bool weighs;  /* the first cut, or the draw without one, needs the mass of all */
    bool centers; /* and the mean logit too */
};

__host__ __device__ __forceinline__ Plan plan_of(const SampleRow &row)
{
    Plan plan = {0, false, row.bias.count > 0, false, false};
    for (; plan.first_cut < row.n_links; plan.first_cut++) {
        const int link = row.links[plan.first_cut];
        if (link == SAMPLE_TEMPERATURE)
            plan.scales = true;
        else if (link == SAMPLE_PENALTIES || link == SAMPLE_DRY)
            plan.adjusts = true;
        else
            break;
    }
    const int cut = plan.first_cut < row.n_links ? row.links[plan.first_cut] : (int)SAMPLE_LINK_COUNT;
    plan.weighs = row.kind == SAMPLE_DRAW && cut != SAMPLE_TOP_K && cut != SAMPLE_MIN_P;
    plan.centers = plan.weighs && cut == SAMPLE_TYPICAL_P;
    return plan;
}

/* ---- numbers ---- */

/* The exponential of runtime/sampler_select.c, bit for bit: every operation is rounded by itself. */
__device__ __forceinline__ float exp_negative(float x)
{
    if (!(x > SAMPLE_LEAST_SHIFT)) return 0.0f;
    const float shifted = __fadd_rn(__fmul_rn(x, 1.44269504f), 12582912.0f);
    const float k = shifted - 12582912.0f;
    const float r = __fsub_rn(__fsub_rn(x, __fmul_rn(k, 0.693145752f)), __fmul_rn(k, 1.42860677e-6f));
    float sum = 1.0f / 720.0f;
    sum = __fadd_rn(__fmul_rn(sum, r), 1.0f / 120.0f);
    sum = __fadd_rn(__fmul_rn(sum, r), 1.0f / 24.0f);
    sum = __fadd_rn(__fmul_rn(sum, r), 1.0f / 6.0f);
    sum = __fadd_rn(__fmul_rn(sum, r), 0.5f);
    sum = __fadd_rn(__fmul_rn(sum, r), 1.0f);
    sum = __fadd_rn(__fmul_rn(sum, r), 1.0f);
    return __fmul_rn(sum, __uint_as_float((__float_as_uint(shifted) - 0x4B400000u + 127u) << 23));
}

/* Unsigned integers in the order of the numbers. Both zeros are one. */
__device__ __forceinline__ uint32_t ascending_bits(float value)
{
    const uint32_t bits = __float_as_uint(value + 0.0f);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_ascending_bits(uint32_t bits)
{
    return __uint_as_float((bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits);
}

/* A NaN is never a maximum. */
__device__ __forceinline__ float warp_max(float value)
{
    for (int step = SAMPLE_WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

__device__ __forceinline__ double warp_sum(double value)
{
    for (int step = SAMPLE_WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}

/* Keskar et al., CTRL, 2019 (repeat); the other two as OpenAI's API documents them. */
__device__ __forceinline__ float sample_penalized(const SampleRow &row, float logit, float count)
{
    const float repeated = logit > 0.0f ? __fdiv_rn(logit, row.repeat) : __fmul_rn(logit, row.repeat);
    return __fsub_rn(__fsub_rn(repeated, __fmul_rn(count, row.frequency)), row.presence);
}

/* Whether an earlier entry names the same token: of several biases the first one's thread takes care. */
__device__ __forceinline__ bool sample_is_again(const SampleEntry *entries, int index)
{
    for (int i = 0; i < index; i++)
        if (entries[i].token == entries[index].token) return true;
    return false;
}

/* sample_finish.cu: the last kernel, a block a row. */
void sample_finish(CudaQueue *queue, const CudaSample *sample);

#endif
