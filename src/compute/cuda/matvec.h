/*
 * matvec.h - one row of activations: matrices times a vector, and the float32 products of any number of rows.
 */
#ifndef IMP_COMPUTE_CUDA_MATVEC_H
#define IMP_COMPUTE_CUDA_MATVEC_H

#include "compute/cuda/cuda_compute.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CUDA_MAX_OUTPUTS = 3 };

typedef struct CudaOutput {
    const CudaWeight *weight;
    const float *bias; /* device [rows]; NULL: none */
    float *y;          /* device [n_rows][rows] */
} CudaOutput;

/* y = w x + bias for up to CUDA_MAX_OUTPUTS matrices over one x (device float32 [cols]), in one launch where the types allow. */
void cuda_matvec(CudaQueue *queue, const float *x, const CudaOutput *outputs, int32_t n_outputs);

/* out = activation(gate x + gate_bias) * (up x + up_bias); gate NULL: activation(up x + up_bias). out: float32 [n_ff]. */
void cuda_matvec_gated(CudaQueue *queue, const float *x, const CudaOutput *gate, const CudaOutput *up,
                       Activation activation, float limit, float *out);

/* F32 weights over n_rows rows of x (float32), in float32: a row's sums do not depend on n_rows. */
void cuda_linear_f32(CudaQueue *queue, const float *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs);

#ifdef __cplusplus
}
#endif
#endif
