/*
 * experts.h - mixture of experts: routing, the rows grouped by expert, one product over all of them.
 */
#ifndef IMP_COMPUTE_CUDA_EXPERTS_H
#define IMP_COMPUTE_CUDA_EXPERTS_H

#include "compute/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A layer's experts on the device: stacks of n_experts * n_ff (gate, up) and n_experts * n_embd (down) rows. */
typedef struct CudaExperts {
    const Experts *spec;
    const CudaWeight *router, *gate, *up, *down; /* gate NULL: none */
    const float *router_bias, *choice_bias;      /* device; NULL: none */
    const float *gate_bias, *up_bias, *down_bias; /* device [n_experts][rows of one]; NULL: none */
    const CudaWeight *shared_gate;                /* [1][n_embd]; NULL: the shared expert has no gate */
    CudaOutput shared_gate_proj, shared_up, shared_down; /* weight NULL: no shared expert */
} CudaExperts;

/* Workspace of layers like this for up to max_rows rows. */
size_t cuda_experts_workspace(const Experts *spec, int32_t n_embd, int32_t max_rows);

/* out[r] = sum over the chosen experts, in order of rank, of weight * expert(x[r]), and the shared expert. x: f32 always,
 * bf16 too where n_rows > 1; out: float32 [n_rows][n_embd]. */
void cuda_experts(CudaQueue *queue, const CudaExperts *experts, const CudaAct *x, int32_t n_rows, float *out);

/* ---- its parts ---- */

/* The n_used experts of every row by rank, and their weights: device [n_rows][n_used]. x: float32; scores: scratch
 * [n_rows][n_experts]. The last cuda_route_workspace() bytes of the workspace may be used. */
void cuda_route(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *scores,
                int32_t *chosen, float *weights);
size_t cuda_route_workspace(const Experts *spec);

/* cuda_experts for one row. */
void cuda_experts_row(CudaQueue *queue, const CudaExperts *experts, const float *x, float *out);
size_t cuda_experts_row_workspace(const Experts *spec);

/* cuda_experts for several rows. */
void cuda_experts_grouped(CudaQueue *queue, const CudaExperts *experts, const CudaAct *x, int32_t n_rows, float *out);

#ifdef __cplusplus
}
#endif
#endif
