/*
 * activation.cuh - the activations of feed-forward blocks on float32 values in registers.
 */
#ifndef IMP_COMPUTE_CUDA_ACTIVATION_CUH
#define IMP_COMPUTE_CUDA_ACTIVATION_CUH

#include "model/layer.h"

#include <cuda_runtime.h>

__device__ __forceinline__ float activation_sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

__device__ __forceinline__ float activation_of(Activation activation, float x)
{
    switch (activation) {
    case ACT_SILU:
        return x * activation_sigmoid(x);
    case ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case ACT_GELU_TANH:
        return x * activation_sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
    case ACT_RELU:
        return fmaxf(x, 0.0f);
    case ACT_RELU2:
        return fmaxf(x, 0.0f) * fmaxf(x, 0.0f);
    default:
        return x * activation_sigmoid(1.702f * x);
    }
}

/* activation(gate) * up, with ACT_SWIGLU_OAI's clamps at `limit` (0: none). */
__device__ __forceinline__ float activation_gated(Activation activation, float limit, float gate, float up)
{
    if (activation != ACT_SWIGLU_OAI) return activation_of(activation, gate) * up;
    const float most = limit > 0.0f ? limit : INFINITY;
    const float u = fmaxf(fminf(up, most), -most);
    return (u + 1.0f) * activation_of(activation, fminf(gate, most));
}

/* gate[i] = activation(gate[i]) * up[i] for whole arrays in registers: one branch, and only the taken loop is fetched.
 */
template <int n>
__device__ __forceinline__ void activation_gated_all(Activation activation, float limit, float *gate, const float *up)
{
    switch (activation) {
#define ACTIVATION_LOOP(kind)                                                                                          \
    case kind:                                                                                                         \
        _Pragma("unroll") for (int i = 0; i < n; i++) gate[i] = activation_gated(kind, limit, gate[i], up[i]);         \
        break;
        ACTIVATION_LOOP(ACT_SILU)
        ACTIVATION_LOOP(ACT_GELU)
        ACTIVATION_LOOP(ACT_GELU_TANH)
        ACTIVATION_LOOP(ACT_RELU)
        ACTIVATION_LOOP(ACT_RELU2)
        ACTIVATION_LOOP(ACT_SWIGLU_OAI)
#undef ACTIVATION_LOOP
    }
}

#endif
