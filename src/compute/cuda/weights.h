/*
 * weights.h - weights in device memory: the planes of each data type, and the kernels that re-lay a file's rows into them.
 */
#ifndef IMP_COMPUTE_CUDA_WEIGHTS_H
#define IMP_COMPUTE_CUDA_WEIGHTS_H

#include "compute/cuda/cuda_compute.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Device bytes that a matrix takes, a multiple of 256. 0: the type cannot be multiplied on the device at this shape. */
size_t cuda_weight_bytes(DType type, int64_t rows, int64_t cols);

/* Lays out `memory` (device, cuda_weight_bytes, on 256 bytes) as planes: fills type, rows, cols, planes, plane_stride;
 * scale 1, no stack. */
void cuda_weight_place(CudaWeight *weight, DType type, int64_t rows, int64_t cols, void *memory);

/* Re-lays rows first_row … first_row + n_rows - 1 from `raw` (device, as in the file, rows contiguous, on 16 bytes). */
void cuda_weight_relay(CudaQueue *queue, const CudaWeight *weight, const void *raw, int64_t first_row, int64_t n_rows);

/* x[r] = table[tokens[r]] * multiplier, float32 [batch->n_rows][cols]. */
void cuda_embed(CudaQueue *queue, const CudaBatch *batch, const CudaWeight *table, float multiplier, float *x);

/* Rows of a weight in float32 (times its scale), [n_rows][cols]: routers of several rows, and what tests compare. */
void cuda_weight_decode_f32(CudaQueue *queue, const CudaWeight *weight, int64_t first_row, int64_t n_rows, float *out);

#ifdef __cplusplus
}
#endif
#endif
