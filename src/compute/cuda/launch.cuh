/*
 * launch.cuh - how kernels are launched and how they follow one another.
 *
 * With programmatic dependent launch a kernel starts while the one before it still runs. So every kernel
 *   1. asks for what does not depend on earlier kernels (weights, norms, biases),
 *   2. calls cuda_wait_for_inputs() before its first read of an activation, a state or a page, and before its first write,
 *   3. calls cuda_let_next_start() as soon as its blocks are placed; usually at once.
 * All kernels of a stream must keep to 2, also those with nothing to read: a kernel's wait is what makes its successor's
 * wait cover its predecessors.
 */
#ifndef IMP_COMPUTE_CUDA_LAUNCH_CUH
#define IMP_COMPUTE_CUDA_LAUNCH_CUH

#include "compute/cuda/cuda_compute.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

__device__ __forceinline__ void cuda_wait_for_inputs()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void cuda_let_next_start()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Shared memory that a block may have on every GPU that imp runs on. Hopper's tier takes up to 227 KB. */
enum { CUDA_COMMON_SHARED_BYTES = 99 * 1024 };

static inline bool cuda_shared_fits(const CudaQueue *queue, size_t shared_bytes)
{
    return queue->tier == CUDA_TIER_HOPPER || shared_bytes <= CUDA_COMMON_SHARED_BYTES;
}

/* Launches on the queue's stream in clusters of cluster_blocks; the first error is kept in the queue. Shared memory past
 * 48 KB is asked for here. */
template <typename... Parameters, typename... Arguments>
static inline void cuda_launch_cluster(CudaQueue *queue, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                                       unsigned cluster_blocks, size_t shared_bytes, const Arguments &...arguments)
{
    if (queue->error != cudaSuccess || grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    if (!cuda_shared_fits(queue, shared_bytes)) {
        queue->error = cudaErrorLaunchOutOfResources;
        return;
    }
    if (shared_bytes > 48 * 1024) {
        queue->error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
        if (queue->error != cudaSuccess) return;
    }
    cudaLaunchAttribute attributes[2] = {};
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = queue->stream;
    config.attrs = attributes;
    if (queue->overlap) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster_blocks > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = cluster_blocks;
        attributes[config.numAttrs].val.clusterDim.y = 1;
        attributes[config.numAttrs++].val.clusterDim.z = 1;
    }
    queue->error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

/* The same without clusters. */
template <typename... Parameters, typename... Arguments>
static inline void cuda_launch(CudaQueue *queue, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                               size_t shared_bytes, const Arguments &...arguments)
{
    cuda_launch_cluster(queue, kernel, grid, block, 1, shared_bytes, arguments...);
}

#endif
