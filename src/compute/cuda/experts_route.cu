/*
 * experts_route.cu - which experts a row goes to, and with what weights.
 *
 * The router's product is float32 whatever its weight's type. Then a warp a row: scores and what the choice goes by lie in
 * shared memory, lanes own every 32nd expert; the best is found n_used times by a maximum over the warp. Ties go to the
 * lower index, as on the CPU; a NaN is chosen last. Floor of one row: two launches; the sum of bytes is nothing.
 */
#include "compute/cuda/experts.h"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/weights.h"

#include <math.h>

enum { LANES = 32, WARPS = 4 };

typedef struct RouteSpec {
    const float *choice_bias;
    float renormalize_eps, scale;
    int32_t n_experts, n_used, n_groups, n_groups_used;
    RouterKind kind;
    GroupScore group_score;
    bool renormalize;
} RouteSpec;

static __device__ __forceinline__ float warp_sum(float value)
{
    for (int step = LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}

static __device__ __forceinline__ float warp_max(float value)
{
    for (int step = LANES / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

/* Ascends with the number; a NaN is 1, below every number. 0 is left for what may not be chosen again. */
static __device__ __forceinline__ uint32_t order_of(float value)
{
    if (isnan(value)) return 1;
    const uint32_t bits = __float_as_uint(value + 0.0f); /* minus zero equals zero */
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/* scores[i] = exp(scores[i] - max) / sum over n, lanes side by side. */
static __device__ void softmax(float *scores, int n, int lane)
{
    float most = -INFINITY, sum = 0.0f;
    for (int e = lane; e < n; e += LANES) most = fmaxf(most, scores[e]);
    most = warp_max(most);
    for (int e = lane; e < n; e += LANES) sum += scores[e] = expf(scores[e] - most);
    sum = warp_sum(sum);
    for (int e = lane; e < n; e += LANES) scores[e] /= sum;
    __syncwarp();
}

/* The group's best choice score, or the sum of its two best. */
static __device__ float group_value(const RouteSpec &spec, const float *choice, int group)
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
static __device__ void mask_groups(const RouteSpec &spec, float *choice, float *values, int lane)
{
    const int size = spec.n_experts / spec.n_groups;
    for (int group = lane; group < spec.n_groups; group += LANES) values[group] = group_value(spec, choice, group);
    __syncwarp();
    for (int group = lane; group < spec.n_groups; group += LANES) {
        int better = 0;
        for (int other = 0; other < spec.n_groups; other++)
            better += values[other] > values[group] || (values[other] == values[group] && other < group);
        if (better < spec.n_groups_used) continue;
        for (int e = group * size; e < (group + 1) * size; e++) choice[e] = -INFINITY;
    }
    __syncwarp();
}

/* The n_used best of `order`, which it spoils. */
static __device__ void choose(const RouteSpec &spec, uint32_t *order, int32_t *chosen, int lane)
{
    for (int rank = 0; rank < spec.n_used; rank++) {
        uint32_t best = 0;
        int at = spec.n_experts;
        for (int e = lane; e < spec.n_experts; e += LANES) {
            if (order[e] > best) {
                best = order[e];
                at = e;
            }
        }
        const uint32_t most = __reduce_max_sync(0xFFFFFFFFu, best);
        const int winner = __reduce_min_sync(0xFFFFFFFFu, best == most ? at : spec.n_experts);
        if (lane == winner % LANES) {
            order[winner] = 0;
            chosen[rank] = winner;
        }
    }
    __syncwarp();
}

/* weights[rank] from the chosen experts' scores. */
static __device__ void weigh(const RouteSpec &spec, const float *scores, const int32_t *chosen, float *weights, int lane)
{
    for (int rank = lane; rank < spec.n_used; rank += LANES) weights[rank] = scores[chosen[rank]];
    __syncwarp();
    if (spec.kind == ROUTER_SOFTMAX_CHOSEN) softmax(weights, spec.n_used, lane);
    float sum = 1.0f;
    if (spec.renormalize) {
        sum = 0.0f;
        for (int rank = 0; rank < spec.n_used; rank++) sum += weights[rank];
        sum += spec.renormalize_eps;
    }
    __syncwarp();
    for (int rank = lane; rank < spec.n_used; rank += LANES) weights[rank] = weights[rank] / sum * spec.scale;
    __syncwarp();
}

/* Words of shared memory of a warp. */
static __host__ __device__ int route_words(int n_experts, int n_used, int n_groups)
{
    return 2 * n_experts + 2 * n_used + (n_groups > 0 ? n_groups : 0);
}

static __global__ void __launch_bounds__(WARPS * LANES)
    route_kernel(RouteSpec spec, const float *logits, int32_t n_rows, int32_t *chosen_out, float *weights_out)
{
    extern __shared__ float route_shared[];
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, n = spec.n_experts;
    const int row = blockIdx.x * (blockDim.x / LANES) + warp;
    if (row >= n_rows) return;
    float *scores = route_shared + warp * route_words(n, spec.n_used, spec.n_groups);
    float *choice = scores + n, *weights = choice + n;
    int32_t *chosen = (int32_t *)(weights + spec.n_used);
    float *groups = (float *)(chosen + spec.n_used);

    for (int e = lane; e < n; e += LANES) {
        const float logit = logits[(int64_t)row * n + e];
        scores[e] = spec.kind == ROUTER_SIGMOID ? 1.0f / (1.0f + expf(-logit)) : logit;
    }
    __syncwarp();
    if (spec.kind == ROUTER_SOFTMAX) softmax(scores, n, lane);
    for (int e = lane; e < n; e += LANES) choice[e] = scores[e] + (spec.choice_bias != NULL ? spec.choice_bias[e] : 0.0f);
    __syncwarp();
    if (spec.n_groups > 1) mask_groups(spec, choice, groups, lane);
    uint32_t *order = (uint32_t *)choice;
    for (int e = lane; e < n; e += LANES) order[e] = order_of(choice[e]);
    __syncwarp();
    choose(spec, order, chosen, lane);
    weigh(spec, scores, chosen, weights, lane);
    for (int rank = lane; rank < spec.n_used; rank += LANES) {
        chosen_out[(int64_t)row * spec.n_used + rank] = chosen[rank];
        weights_out[(int64_t)row * spec.n_used + rank] = weights[rank];
    }
}

size_t cuda_route_workspace(const Experts *spec)
{
    if (spec->router.type == DT_F32) return 0;
    return (size_t)spec->router.rows * (size_t)spec->router.cols * sizeof(float) + 256;
}

/* The router's product. A weight of another type than F32 is decoded at the end of the workspace, but for one row. */
static void route_logits(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *logits)
{
    CudaOutput output = {experts->router, experts->router_bias, logits};
    if (n_rows == 1 && !queue->deterministic) {
        cuda_matvec(queue, x, &output, 1);
        return;
    }
    if (experts->router->type == DT_F32) {
        cuda_linear_f32(queue, x, n_rows, &output, 1);
        return;
    }
    const int32_t rows = experts->router->rows, cols = experts->router->cols;
    const size_t from_end = ((size_t)rows * (size_t)cols * sizeof(float) + 255) / 256 * 256;
    if (queue->workspace_bytes / 256 * 256 < from_end) {
        if (queue->error == cudaSuccess) queue->error = cudaErrorMemoryAllocation;
        return;
    }
    float *values = (float *)((uint8_t *)queue->workspace + queue->workspace_bytes / 256 * 256 - from_end);
    cuda_weight_decode_f32(queue, experts->router, 0, rows, values);
    CudaWeight decoded = {};
    decoded.type = DT_F32;
    decoded.rows = rows;
    decoded.cols = cols;
    decoded.scale = 1.0f;
    decoded.planes[0] = (const uint8_t *)values;
    decoded.plane_stride[0] = (size_t)cols * sizeof(float);
    output.weight = &decoded;
    cuda_linear_f32(queue, x, n_rows, &output, 1);
}

void cuda_route(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *scores,
                int32_t *chosen, float *weights)
{
    const Experts *from = experts->spec;
    route_logits(queue, experts, x, n_rows, scores);
    RouteSpec spec = {};
    spec.choice_bias = experts->choice_bias;
    spec.renormalize_eps = from->renormalize_eps;
    spec.scale = from->scale;
    spec.n_experts = from->n_experts;
    spec.n_used = from->n_used;
    spec.n_groups = from->n_groups;
    spec.n_groups_used = from->n_groups_used;
    spec.kind = from->router_kind;
    spec.group_score = from->group_score;
    spec.renormalize = from->renormalize;
    const int warps = n_rows < WARPS ? 1 : WARPS;
    cuda_launch(queue, route_kernel, dim3((unsigned)((n_rows + warps - 1) / warps)), dim3((unsigned)(warps * LANES)),
                (size_t)(warps * route_words(spec.n_experts, spec.n_used, spec.n_groups)) * sizeof(float), spec,
                (const float *)scores, n_rows, chosen, weights);
}
