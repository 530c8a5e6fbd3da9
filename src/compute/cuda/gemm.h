/*
 * gemm.h - several rows of activations: matrices of any type on tensor cores.
 */
#ifndef IMP_COMPUTE_CUDA_GEMM_H
#define IMP_COMPUTE_CUDA_GEMM_H

#include "compute/cuda/matvec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Workspace that products of up to max_rows rows with this weight may need. */
size_t cuda_gemm_workspace(const CudaWeight *weight, int32_t max_rows);

/* y[r] = w x[r] + bias; x: bfloat16 [n_rows][cols], y: float32 [n_rows][weight->rows]. */
void cuda_gemm(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs);

/* out[r] = activation(gate x[r] + gate_bias) * (up x[r] + up_bias) as bfloat16 [n_rows][n_ff]; gate NULL: activation of
 * up alone. `y` of the outputs: float32 scratch [n_rows][n_ff] that may be used. */
void cuda_gemm_gated(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *gate, const CudaOutput *up,
                     Activation activation, float limit, uint16_t *out);

#ifdef __cplusplus
}
#endif
#endif
