/*
 * cluster.cuh - how many clusters run at once: multiprocessors share a cluster only within their part of the chip, and
 * the driver alone knows how many each part of this chip has.
 */
#ifndef IMP_COMPUTE_CUDA_CLUSTER_CUH
#define IMP_COMPUTE_CUDA_CLUSTER_CUH

#include "compute/cuda/cuda_compute.h"

#include <cuda_runtime.h>

enum { CLUSTER_MOST = 8 };

/* Clusters of `blocks` blocks (1 … CLUSTER_MOST) of this kernel that fit on the chip. Asked once for all kernels of a file
 * that have the same parameters: they must fill a multiprocessor alike, with threads and shared_bytes the same. */
template <typename... Parameters>
static inline int32_t clusters_at_once(CudaQueue *queue, void (*kernel)(Parameters...), unsigned threads,
                                       size_t shared_bytes, int32_t blocks)
{
    static int32_t known[CLUSTER_MOST + 1]; /* the same for every thread that asks */
    if (blocks == 1) return queue->n_sms;
    if (known[blocks] > 0 || queue->error != cudaSuccess) return known[blocks];
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = (unsigned)blocks;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(queue->n_sms / blocks * blocks));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared_bytes;
    config.attrs = &attribute;
    config.numAttrs = 1;
    int clusters = 0;
    queue->error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    if (queue->error == cudaSuccess) queue->error = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
    known[blocks] = clusters;
    return clusters;
}

#endif
