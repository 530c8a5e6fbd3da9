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

/* Logits are looked at in blocks of this many, of which a row may have so many. */
enum { CUDA_SAMPLE_BLOCK = 128, CUDA_SAMPLE_MAX_BLOCKS = 4096 };

/* Kernels that some row needs. */
typedef struct CudaSampleNeeds {
    bool adjusting; /* of single logits */
    bool weighing;  /* of the whole vocabulary */
} CudaSampleNeeds;

typedef struct CudaSample {
    int32_t n_rows;
    int32_t stride;   /* logits from one row to the next */
    int32_t n_blocks; /* cuda_sample_blocks(stride) */
    CudaSampleNeeds needs;
    float *logits;         /* device; single ones are changed in place, and back where nothing is drawn */
    const SampleRow *rows; /* device [n_rows], their pointers too; entries of lists are written to */
    SampleResult *results; /* [n_rows], device or pinned host memory; undone before, only what is drawn is written */
    float *maxima;         /* scratch [n_rows][n_blocks] */
    double *masses;        /* scratch [n_rows][n_blocks][2], on 16 bytes */
} CudaSample;

/* Blocks of a row of n logits. */
static inline int32_t cuda_sample_blocks(int32_t n) { return (n + CUDA_SAMPLE_BLOCK - 1) / CUDA_SAMPLE_BLOCK; }

/* What one row needs. */
CudaSampleNeeds cuda_sample_needs(const SampleRow *row);

/* Draws from the rows of kind SAMPLE_GREEDY and SAMPLE_DRAW. A row stays undone when the tokens that a link leaves are more
 * than a block can sort. */
void cuda_sample_draw(CudaQueue *queue, const CudaSample *sample);

#ifdef __cplusplus
}
#endif
#endif
