/*
 * packed.h - products of bfloat16 rows with matrices of any type, decoded in registers on their way to tensor cores
 * (gemm_packed.cu). The path of few rows, and of every shape and device that has no better one.
 */
#ifndef IMP_COMPUTE_CUDA_PACKED_H
#define IMP_COMPUTE_CUDA_PACKED_H

#include "compute/cuda/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Activation of a gated product: bfloat16 out [n_rows][rows of the matrices], rows out_stride elements apart. */
typedef struct GemmGate {
    Activation activation;
    float limit;
    uint16_t *out;
    size_t out_stride;
} GemmGate;

/* Rows of x in groups, each with a matrix of its own within the stacks (CudaWeight.stack_rows). */
typedef struct GemmGroups {
    const int4 *tiles;      /* device: {group, first row, row past the tile's last, 0} */
    const int32_t *n_tiles; /* device */
    const int32_t *x_rows;  /* device: where row r of the products lies in x; NULL: r */
    int32_t max_tiles;      /* a bound of n_tiles that the host knows */
    int32_t tile_rows;      /* a bound of the rows of a tile */
} GemmGroups;

/* Rows of a tile for matrices that meet n_rows rows, at least PACKED_LEAST_ROWS. */
enum { PACKED_LEAST_ROWS = 16 };
int32_t packed_tile_rows(int32_t n_rows);

/* y = w x + bias of up to CUDA_MAX_OUTPUTS matrices of one type; x: bfloat16 [.][cols]. gate: two outputs, gate and up,
 * of which only the activation is written; NULL: float32 y. groups NULL: every row meets every matrix. */
void packed_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs,
                    const GemmGate *gate, const GemmGroups *groups);

/* The same on Hopper, several times as fast (gemm_coded.cu): for x on 16 bytes and weights that say so. The order of
 * additions depends on the shape of the matrices alone. */
bool coded_possible(const CudaQueue *queue, const uint16_t *x, const CudaWeight *weight);
void coded_product(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs,
                   const GemmGate *gate);

/* Rows of a weight as bfloat16 (times its scale), [n_rows][cols]; cols: a multiple of 8. */
void panel_decode(CudaQueue *queue, const CudaWeight *weight, int64_t first_row, int32_t n_rows, uint16_t *out);

#ifdef __cplusplus
}
#endif
#endif
