/*
 * experts_route.cu - the router's product and the choice, for any number of rows.
 *
 * The product is float32 whatever the router's type; then a warp a row chooses. Floor of one row: two launches; the sum
 * of bytes is nothing. One row on its way through its experts chooses inside the next kernel instead (experts_row.cu).
 */
#include "compute/cuda/experts.h"
#include "compute/cuda/experts_route.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/weights.h"

enum { LANES = 32, WARPS = 4 };

static __global__ void __launch_bounds__(WARPS *LANES)
    route_kernel(RouteSpec spec, const float *logits, int32_t n_rows, int32_t *chosen_out, float *weights_out)
{
    extern __shared__ float route_shared[];
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, used = spec.n_used;
    const int row = blockIdx.x * (blockDim.x / LANES) + warp;
    if (row >= n_rows) return;
    float *shared = route_shared + warp * route_words(spec.n_experts, used, spec.n_groups);
    const Routed routed = route_row(spec, logits + (int64_t)row * spec.n_experts, shared, lane);
    for (int rank = lane; rank < used; rank += LANES) {
        chosen_out[(int64_t)row * used + rank] = routed.chosen[rank];
        weights_out[(int64_t)row * used + rank] = routed.weights[rank];
    }
}

size_t cuda_route_workspace(const Experts *spec)
{
    if (spec->router.type == DT_F32) return 0;
    return (size_t)spec->router.rows * (size_t)spec->router.cols * sizeof(float) + 256;
}

/* A weight of another type than F32 is decoded at the end of the workspace, but for one row. */
void route_logits(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *logits)
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

RouteSpec route_spec(const CudaExperts *experts)
{
    const Experts *from = experts->spec;
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
    return spec;
}

void cuda_route(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *scores,
                int32_t *chosen, float *weights)
{
    const RouteSpec spec = route_spec(experts);
    route_logits(queue, experts, x, n_rows, scores);
    const int warps = n_rows < WARPS ? 1 : WARPS;
    cuda_launch(queue, route_kernel, dim3((unsigned)((n_rows + warps - 1) / warps)), dim3((unsigned)(warps * LANES)),
                (size_t)(warps * route_words(spec.n_experts, spec.n_used, spec.n_groups)) * sizeof(float), spec,
                (const float *)scores, n_rows, chosen, weights);
}
