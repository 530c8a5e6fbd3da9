/*
 * experts_route.cuh - which experts a row goes to, and with what weights: one warp's work, wherever it runs.
 *
 * Scores and what the choice goes by lie in shared memory, lanes own every 32nd expert; the best is found n_used times
 * by a maximum over the warp. Ties go to the lower index, as on the CPU; a NaN is chosen last.
 */
#ifndef IMP_COMPUTE_CUDA_EXPERTS_ROUTE_CUH
#define IMP_COMPUTE_CUDA_EXPERTS_ROUTE_CUH

#include "compute/cuda/matvec_call.h"

#include <cuda_runtime.h>
#include <math.h>

enum { ROUTE_LANES = 32 };

__device__ __forceinline__ float route_warp_sum(float value)
{
    for (int step = ROUTE_LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}

__device__ __forceinline__ float route_warp_max(float value)
{
    for (int step = ROUTE_LANES / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

/* Ascends with the number; a NaN is 1, below every number. 0 is left for what may not be chosen again. */
__device__ __forceinline__ uint32_t route_order_of(float value)
{
    if (isnan(value)) return 1;
    const uint32_t bits = __float_as_uint(value + 0.0f); /* minus zero equals zero */
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/* scores[i] = exp(scores[i] - max) / sum over n, lanes side by side. */
__device__ __forceinline__ void route_softmax(float *scores, int n, int lane)
{
    float most = -INFINITY, sum = 0.0f;
    for (int e = lane; e < n; e += ROUTE_LANES) most = fmaxf(most, scores[e]);
    most = route_warp_max(most);
    for (int e = lane; e < n; e += ROUTE_LANES) sum += scores[e] = expf(scores[e] - most);
    sum = route_warp_sum(sum);
    for (int e = lane; e < n; e += ROUTE_LANES) scores[e] /= sum;
    __syncwarp();
}

/* The group's best choice score, or the sum of its two best. */
__device__ __forceinline__ float route_group_value(const RouteSpec &spec, const float *choice, int group)
{
    const int size = spec.n_experts / spec.n_groups;
    float best = -INFINITY, second = -INFINITY;
    for (int e = group * size; e < (group + 1) * size; e++) {
        if (choice[e] > best) {
            second = best;
            best = choice[e];
        } else if (choice[e] > second) {
            second = choice[e];
        }
    }
    return spec.group_score == GROUP_BEST || size == 1 ? best : best + second;
}

/* Takes the experts of all but the best groups out of the choice. values: scratch [n_groups]. */
__device__ __forceinline__ void route_mask_groups(const RouteSpec &spec, float *choice, float *values, int lane)
{
    const int size = spec.n_experts / spec.n_groups;
    for (int group = lane; group < spec.n_groups; group += ROUTE_LANES)
        values[group] = route_group_value(spec, choice, group);
    __syncwarp();
    for (int group = lane; group < spec.n_groups; group += ROUTE_LANES) {
        int better = 0;
        for (int other = 0; other < spec.n_groups; other++)
            better += values[other] > values[group] || (values[other] == values[group] && other < group);
        if (better < spec.n_groups_used) continue;
        for (int e = group * size; e < (group + 1) * size; e++) choice[e] = -INFINITY;
    }
    __syncwarp();
}

/* The n_used best of `order`, which it spoils. */
__device__ __forceinline__ void route_choose(const RouteSpec &spec, uint32_t *order, int32_t *chosen, int lane)
{
    for (int rank = 0; rank < spec.n_used; rank++) {
        uint32_t best = 0;
        int at = spec.n_experts;
        for (int e = lane; e < spec.n_experts; e += ROUTE_LANES) {
            if (order[e] > best) {
                best = order[e];
                at = e;
            }
        }
        const uint32_t most = __reduce_max_sync(0xFFFFFFFFu, best);
        const int winner = __reduce_min_sync(0xFFFFFFFFu, best == most ? at : spec.n_experts);
        if (lane == winner % ROUTE_LANES) {
            order[winner] = 0;
            chosen[rank] = winner;
        }
    }
    __syncwarp();
}

/* weights[rank] from the chosen experts' scores. */
__device__ __forceinline__ void route_weigh(const RouteSpec &spec, const float *scores, const int32_t *chosen,
                                            float *weights, int lane)
{
    for (int rank = lane; rank < spec.n_used; rank += ROUTE_LANES) weights[rank] = scores[chosen[rank]];
    __syncwarp();
    if (spec.kind == ROUTER_SOFTMAX_CHOSEN) route_softmax(weights, spec.n_used, lane);
    float sum = 1.0f;
    if (spec.renormalize) {
        sum = 0.0f;
        for (int rank = 0; rank < spec.n_used; rank++) sum += weights[rank];
        sum += spec.renormalize_eps;
    }
    __syncwarp();
    for (int rank = lane; rank < spec.n_used; rank += ROUTE_LANES) weights[rank] = weights[rank] / sum * spec.scale;
    __syncwarp();
}

/* Words of shared memory of a warp. */
__host__ __device__ inline int route_words(int n_experts, int n_used, int n_groups)
{
    return 2 * n_experts + 2 * n_used + (n_groups > 0 ? n_groups : 0);
}

/* A warp: chosen and weights [n_used] in shared memory behind what `shared` holds; route_words() of it. */
typedef struct Routed {
    const int32_t *chosen;
    const float *weights;
} Routed;

__device__ __forceinline__ Routed route_row(const RouteSpec &spec, const float *logits, float *shared, int lane)
{
    const int n = spec.n_experts;
    float *scores = shared, *choice = scores + n, *weights = choice + n;
    int32_t *chosen = (int32_t *)(weights + spec.n_used);
    float *groups = (float *)(chosen + spec.n_used);
    for (int e = lane; e < n; e += ROUTE_LANES) {
        const float logit = logits[e];
        scores[e] = spec.kind == ROUTER_SIGMOID ? 1.0f / (1.0f + expf(-logit)) : logit;
    }
    __syncwarp();
    if (spec.kind == ROUTER_SOFTMAX) route_softmax(scores, n, lane);
    for (int e = lane; e < n; e += ROUTE_LANES)
        choice[e] = scores[e] + (spec.choice_bias != NULL ? spec.choice_bias[e] : 0.0f);
    __syncwarp();
    if (spec.n_groups > 1) route_mask_groups(spec, choice, groups, lane);
    uint32_t *order = (uint32_t *)choice;
    for (int e = lane; e < n; e += ROUTE_LANES) order[e] = route_order_of(choice[e]);
    __syncwarp();
    route_choose(spec, order, chosen, lane);
    route_weigh(spec, scores, chosen, weights, lane);
    return {chosen, weights};
}

#endif
