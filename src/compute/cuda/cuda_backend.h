/*
 * cuda_backend.h - an NVIDIA GPU as a backend. Nothing of CUDA shows here: what stands outside of this directory compiles
 * and links without its headers, and a machine without a driver has no devices.
 */
#ifndef IMP_COMPUTE_CUDA_CUDA_BACKEND_H
#define IMP_COMPUTE_CUDA_CUDA_BACKEND_H

#include "compute/compute.h"

/* Which kernels may be used: the tests force the lower tiers on a card that has the higher ones. */
typedef enum CudaTierChoice { CUDA_USE_AUTO, CUDA_USE_PORTABLE, CUDA_USE_HOPPER, CUDA_USE_BLACKWELL } CudaTierChoice;
/* Whether decode steps are recorded once and replayed. */
typedef enum CudaGraphs { CUDA_GRAPHS_AUTO, CUDA_GRAPHS_ALWAYS, CUDA_GRAPHS_NEVER } CudaGraphs;

typedef struct CudaOptions {
    int32_t device; /* 0 … cuda_device_count() - 1 */
    CudaTierChoice tier;
    CudaGraphs graphs;
    bool no_overlap;    /* kernels do not start before their predecessor has ended */
    bool deterministic; /* bits do not depend on what else is in the batch */
} CudaOptions;

typedef struct CudaDevice {
    char name[64];
    char features[48]; /* "compute 9.0, Hopper kernels" */
    int32_t n_sms;
    uint64_t memory_bytes, memory_free_bytes;
} CudaDevice;

#ifdef IMP_CUDA

/* GPUs that imp can use (compute capability 8.0 and up, a driver new enough); 0 without a driver. Starts the driver at
 * its first call, which takes a moment. */
int32_t cuda_device_count(void);
/* What the driver said when it could not be used; NULL when it could, or when there is none. */
const char *cuda_device_problem(void);
ImpStatus cuda_device_info(int32_t device, CudaDevice *out);

ImpStatus cuda_backend_create(const CudaOptions *options, Backend **out);

#else /* built without nvcc */

static inline int32_t cuda_device_count(void) { return 0; }
static inline const char *cuda_device_problem(void) { return "this imp was built without the CUDA compiler"; }
static inline ImpStatus cuda_device_info(int32_t device, CudaDevice *out)
{
    (void)out;
    return imp_fail(IMP_ERR_UNSUPPORTED, "there is no GPU %d: %s", (int)device, cuda_device_problem());
}
static inline ImpStatus cuda_backend_create(const CudaOptions *options, Backend **out)
{
    (void)out;
    return imp_fail(IMP_ERR_UNSUPPORTED, "there is no GPU %d: %s", (int)options->device, cuda_device_problem());
}

#endif
#endif
