/*
 * rowwise.h - operations that touch each row by itself: residual and norm, activation, short convolution, gathering.
 */
#ifndef IMP_COMPUTE_CUDA_ROWWISE_H
#define IMP_COMPUTE_CUDA_ROWWISE_H

#include "compute/cuda/cuda_compute.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Norm.kind and eps with device vectors of [width]; NULL: 1 and 0. */
typedef struct CudaNorm {
    NormKind kind;
    float eps;
    const float *weight, *bias;
} CudaNorm;

/* As residual_norm of compute.h: x += multiplier * post_norm(y); x *= scale; out = norm(x) in the wanted forms. y NULL: only
 * the norm; norm NULL: only the addition. */
void cuda_residual_norm(CudaQueue *queue, int32_t n_rows, int32_t width, float *x, const float *y,
                        const CudaNorm *post_norm, float multiplier, float scale, const CudaNorm *norm, CudaForms forms,
                        const CudaAct *out);

/* out = activation(gate) * up; gate NULL: activation(up). */
void cuda_activate(CudaQueue *queue, int32_t n_rows, int32_t width, Activation activation, float limit,
                   const float *gate, const float *up, CudaForms forms, const CudaAct *out);

/* out = C * conv(B * x); `state`: device [slots][taps - 1][channels]; taps device [channels][width]. */
void cuda_short_conv(CudaQueue *queue, const CudaBatch *batch, const ShortConv *spec, const float *taps,
                     const float *conv_bias, float *state, const float *bcx, CudaForms forms, const CudaAct *out);

/* out[i] = x[rows[i]] in both forms (bf16 only where out has it); `rows` on the device. */
void cuda_gather_rows(CudaQueue *queue, const int32_t *rows, int32_t n_rows, int32_t width, const CudaAct *x,
                      CudaForms from, const CudaAct *out);

/* logits = cap(multiplier * logits) in place, [n_rows][n_vocab]; softcap 0: none. */
void cuda_finish_logits(CudaQueue *queue, float *logits, int32_t n_rows, int32_t n_vocab, float multiplier,
                        float softcap);

#ifdef __cplusplus
}
#endif
#endif
