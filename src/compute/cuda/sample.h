/*
 * sample.h - drawing tokens from rows of logits that lie on the device; compute/sample.h says what a row asks for.
 */
#ifndef IMP_COMPUTE_CUDA_SAMPLE_H
#define IMP_COMPUTE_CUDA_SAMPLE_H

#include "compute/cuda/cuda_compute.h"
#include "compute/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Logits are looked at in blocks of this many. */
enum { CUDA_SAMPLE_BLOCK = 128 };

typedef struct CudaSample {
    int32_t n_rows;
    int32_t stride;   /* logits from one row to the next */
    int32_t n_blocks; /* cuda_sample_blocks(stride) */
    float *logits;
    const SampleRow *rows;  /* device [n_rows], their pointers too */
    SampleResult *results;  /* [n_rows], device or pinned host memory; only those of drawn rows are written */
    float *maxima;          /* scratch [n_rows][n_blocks] */
} CudaSample;

/* Blocks of a row of n logits. */
static inline int32_t cuda_sample_blocks(int32_t n) { return (n + CUDA_SAMPLE_BLOCK - 1) / CUDA_SAMPLE_BLOCK; }

/* Draws from the rows of kind SAMPLE_GREEDY and SAMPLE_DRAW. */
void cuda_sample_draw(CudaQueue *queue, const CudaSample *sample);

#ifdef __cplusplus
}
#endif
#endif
