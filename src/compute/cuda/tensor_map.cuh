/*
 * tensor_map.cuh - descriptions of matrices for Hopper's bulk copy engine, made on the host.
 */
#ifndef IMP_COMPUTE_CUDA_TENSOR_MAP_CUH
#define IMP_COMPUTE_CUDA_TENSOR_MAP_CUH

#include "compute/cuda/cuda_compute.h"

#include <cuda.h>

enum { TENSOR_MAP_SLICE = 64 }; /* bfloat16 in 128 bytes, what one swizzled row of shared memory holds */

typedef CUresult TensorMapEncode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                 const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, found without linking the driver's library. */
static inline TensorMapEncode *tensor_map_encode(CudaQueue *queue)
{
    static TensorMapEncode *encode; /* the same for every thread that looks it up */
    if (encode != NULL) return encode;
    void *function = NULL;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    if (error != cudaSuccess || function == NULL) {
        queue->error = error != cudaSuccess ? error : cudaErrorNotSupported;
        return NULL;
    }
    encode = (TensorMapEncode *)function;
    return encode;
}

/* Boxes of box_rows rows by box_width elements of a matrix whose rows are stride bytes apart; swizzled over the bytes
 * of a box's row. What lies outside reads as 0. */
static inline void tensor_map_make(CudaQueue *queue, CUtensorMap *map, CUtensorMapDataType type, const void *data,
                                   size_t stride, int64_t rows, int64_t width, CUtensorMapSwizzle swizzle,
                                   uint32_t box_width, uint32_t box_rows)
{
    TensorMapEncode *encode = tensor_map_encode(queue);
    if (encode == NULL) return;
    const cuuint64_t sizes[2] = {(cuuint64_t)width, (cuuint64_t)rows}, strides[1] = {(cuuint64_t)stride};
    const cuuint32_t box[2] = {box_width, box_rows}, steps[2] = {1, 1};
    const CUresult result =
        encode(map, type, 2, (void *)data, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) queue->error = cudaErrorInvalidValue;
}

/* Boxes of box_rows rows by TENSOR_MAP_SLICE columns of bfloat16 [rows][cols], rows stride elements apart. */
static inline void tensor_map_bf16(CudaQueue *queue, CUtensorMap *map, const uint16_t *data, size_t stride,
                                   int64_t rows, int32_t cols, uint32_t box_rows)
{
    tensor_map_make(queue, map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, data, stride * 2, rows, cols,
                    CU_TENSOR_MAP_SWIZZLE_128B, TENSOR_MAP_SLICE, box_rows);
}

/* Boxes of box_rows rows by 16, 32, 64 or 128 bytes. */
static inline void tensor_map_bytes(CudaQueue *queue, CUtensorMap *map, const uint8_t *data, size_t stride,
                                    int64_t rows, uint32_t box_bytes, uint32_t box_rows)
{
    const CUtensorMapSwizzle swizzle = box_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                       : box_bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                       : box_bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                         : CU_TENSOR_MAP_SWIZZLE_NONE;
    tensor_map_make(queue, map, CU_TENSOR_MAP_DATA_TYPE_UINT8, data, stride, rows, (int64_t)stride, swizzle, box_bytes,
                    box_rows);
}

#endif
