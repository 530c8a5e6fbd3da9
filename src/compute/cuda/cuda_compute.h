/*
 * cuda_compute.h - what the kernel families of the CUDA backend share: how a weight and an activation lie in device
 * memory, what a step looks like from a kernel, and how kernels are launched.
 *
 * A step has one of two regimes. One row ("decode"): matrices meet a vector, everything is float32, each kernel rounds
 * activations itself where its integers need it. Several rows: operations that feed a matrix write bfloat16, which tensor
 * cores read. Matrices of F32 weights are computed in float32 in both, as are the router and the norms.
 */
#ifndef IMP_COMPUTE_CUDA_CUDA_COMPUTE_H
#define IMP_COMPUTE_CUDA_CUDA_COMPUTE_H

#ifdef __cplusplus
extern "C" {
#endif
#include "compute/batch.h"
#include "model/layer.h"
#include "quant/dtype.h"
#ifdef __cplusplus
}
#endif

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which kernels may run; Hopper's and Blackwell's tier each include the portable ones. */
typedef enum CudaTier { CUDA_TIER_PORTABLE, CUDA_TIER_HOPPER, CUDA_TIER_BLACKWELL } CudaTier;

/* How a launcher launches. */
typedef struct CudaQueue {
    cudaStream_t stream;
    CudaTier tier;
    int32_t n_sms;
    bool overlap;       /* programmatic dependent launch: every kernel waits for the one before it itself (launch.cuh) */
    bool deterministic; /* bits must not depend on the other rows of the batch */
    void *workspace;    /* scratch of one operation, cuda_workspace_bytes() of it */
    size_t workspace_bytes;
    cudaError_t error;  /* the first one; launchers do nothing once it is set */
} CudaQueue;

/* A matrix re-laid into planes, each row-major with rows that start on 16 bytes; weights.h says which planes a type has.
 * The experts of a layer are one weight of n_experts * stack_rows rows. */
enum { CUDA_MAX_PLANES = 4 };
typedef struct CudaWeight {
    DType type;
    int32_t rows, cols;
    float scale;               /* of all elements */
    const float *stack_scales; /* device [rows / stack_rows] instead of `scale`; NULL: none */
    int32_t stack_rows;        /* rows of one expert; 0: not a stack */
    const uint8_t *planes[CUDA_MAX_PLANES]; /* device */
    size_t plane_stride[CUDA_MAX_PLANES];   /* bytes of a row */
} CudaWeight;

/* An activation: Act.data points at one of these, in host memory. Rows are Act.width apart, which may be less than what
 * was allocated. */
typedef struct CudaAct {
    float *f32;      /* device [max_rows][width] */
    uint16_t *bf16;  /* device [max_rows][width] bfloat16; NULL where nothing reads it so */
} CudaAct;

/* Which forms an operation that feeds matrices writes in this step. */
typedef enum CudaForms { CUDA_FORM_F32 = 1, CUDA_FORM_BF16 = 2 } CudaForms;

/* The batch on the device. All pointers are device memory whose contents change from step to step while the pointers
 * stay; numbers are those of the host and fixed within a captured graph. */
typedef struct CudaBatch {
    int32_t n_rows, n_sequences, n_logits;
    int32_t max_context;       /* an upper bound of n_past + n_rows of any sequence */
    int32_t max_sequence_rows; /* an upper bound of n_rows of any sequence */
    const int32_t *tokens, *positions, *row_sequence; /* [n_rows] */
    const int32_t *first_row, *sequence_rows, *n_past, *state_slot; /* [n_sequences] */
    const int32_t *pages[MODEL_MAX_PAGE_GROUPS]; /* [n_sequences][page_stride[group]] */
    int32_t page_stride[MODEL_MAX_PAGE_GROUPS];
    const int32_t *logit_rows; /* [n_logits] */
} CudaBatch;

/* Keys and values of one layer that owns some, a page after the other; kv.h says how a page lies. */
typedef struct CudaKv {
    uint8_t *pages; /* device; NULL: the layer owns none */
    DType type;     /* DT_F32, DT_F16, DT_BF16, DT_F8_E4M3, DT_I8, … */
    int32_t group, n_kv_heads, head_dim, head_dim_v;
    size_t page_bytes;
} CudaKv;

#ifdef __cplusplus
}
#endif
#endif
