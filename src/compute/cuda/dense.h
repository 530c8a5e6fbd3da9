/*
 * dense.h - products of bfloat16 rows with bfloat16 matrices on Hopper's warpgroup instructions (gemm_hopper.cu).
 */
#ifndef IMP_COMPUTE_CUDA_DENSE_H
#define IMP_COMPUTE_CUDA_DENSE_H

#include "compute/cuda/cuda_compute.h"
#include "model/layer.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DENSE_MAX_PARTS = 3, DENSE_TILE_ROWS = 128 };

/* One matrix [rows][cols] of a product and what becomes of its results. */
typedef struct DensePart {
    const uint16_t *w; /* device, row-major */
    size_t w_stride;   /* elements between rows */
    int32_t rows;      /* even */
    bool computed;     /* by an earlier kernel, which must be waited for */
    float scale;
    const float *bias; /* device [rows]; NULL: none */
    float *y;          /* device float32, row r at y + r * y_stride; unused by gated products */
    size_t y_stride;
} DensePart;

/* Rows of x in groups, each with a matrix of its own: the parts' matrices are stacks of those of groups first_group …
 * end_group - 1, stack_rows rows each, with scales[group] instead of `scale` and bias + group * stack_rows. */
typedef struct DenseGroups {
    const int4 *tiles; /* device: {group, first row, row past the tile's last, 0}, at most DENSE_TILE_ROWS rows */
    const int32_t *tile_starts; /* device: group g has tiles tile_starts[g] … tile_starts[g + 1] - 1 */
    int32_t first_group, end_group;
    int32_t max_tiles; /* a bound of the tiles of these groups that the host knows */
    int32_t stack_rows;
    const float *scales[DENSE_MAX_PARTS]; /* device; NULL: the part's scale */
} DenseGroups;

/* Activation of a gated product: bfloat16 out [n_rows][rows] = activation(part 0) * part 1. */
typedef struct DenseGate {
    Activation activation;
    float limit;
    uint16_t *out;
    size_t out_stride;
} DenseGate;

/* Whether the copy engine can take these rows. */
bool dense_possible(const CudaQueue *queue, const void *rows, int32_t cols, size_t stride);

/* y = scale * w x + bias for parts over one x: bfloat16 [n_rows][cols], rows x_stride elements apart. gate NULL:
 * float32 results of each part; else two parts, gate and up. groups NULL: every row meets every matrix. */
void dense_product(CudaQueue *queue, const uint16_t *x, size_t x_stride, int32_t n_rows, int32_t cols,
                   const DensePart *parts, int32_t n_parts, const DenseGate *gate, const DenseGroups *groups);

#ifdef __cplusplus
}
#endif
#endif
