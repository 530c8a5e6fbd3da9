/*
 * block_scaled.h - products on tensor cores that take 4-bit weights and their block scales as they lie in memory: the
 * Blackwell tier's path for NVFP4 and MXFP4 matrices and several rows (gemm_block_scaled.cu).
 */
#ifndef IMP_COMPUTE_CUDA_BLOCK_SCALED_H
#define IMP_COMPUTE_CUDA_BLOCK_SCALED_H

#include "compute/cuda/packed.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From so many rows on this path is taken: fewer wait for memory whichever instruction multiplies them. */
enum { BLOCK_SCALED_LEAST_ROWS = 17 };

/* Workspace for one row of activations that meets this type; 0: not a type of this path. */
size_t block_scaled_row_bytes(DType type, int32_t cols);

/* Whether the product below takes these matrices (all of one type) and this x. Says nothing of the tier: the kernels
 * run on every tier, with the instruction on Blackwell and an emulation of it, for tests, on the others. */
bool block_scaled_possible(const CudaQueue *queue, const uint16_t *x, const CudaOutput *outputs, int32_t n_outputs);

/* y = w x + bias of up to CUDA_MAX_OUTPUTS matrices of one type; x: bfloat16 [n_rows][cols], on 16 bytes. gate: two
 * outputs, gate and up, of which only the activation is written; NULL: float32 y. */
void block_scaled_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                          int32_t n_outputs, const GemmGate *gate);

#ifdef __cplusplus
}
#endif
#endif
