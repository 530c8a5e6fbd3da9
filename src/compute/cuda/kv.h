/*
 * kv.h - how keys and values lie in a page of device memory.
 *
 * A page holds KV_PAGE_TOKENS tokens of one layer: for each KV head a plane of keys and one of values, each followed by
 * its scales. A plane is cut into cores of 8 tokens by 8 dimensions, 64 consecutive elements with the dimension innermost:
 *
 *     element(token, d) = ((token / 8 * chunks + d / 8) * 8 + token % 8) * 8 + d % 8      chunks = ceil(dims / 8)
 *
 * With 16-bit elements a core is the 8 x 16 byte matrix that ldmatrix and wgmma read without bank conflicts, so a plane is
 * copied to shared memory as it is, in one piece. 8 dimensions of a token are always adjacent: 4-bit elements of two
 * tokens never share a word.
 *
 *     type        element                                              scales of a plane
 *     F32 F16 BF16  as is                                              none
 *     F8_E4M3     x = scale(token) * e4m3                              float32 [16], largest magnitude / 448
 *     I8          x = scale(token) * int8                              float32 [16], largest magnitude / 127
 *     Q4_0        x = scale(token, d / 32) * (nibble - 8)              float16 [16][ceil(dims / 32)], chosen as GGUF does
 *     NVFP4       x = scale(token) * e4m3(token, d / 16) * e2m1        float32 [16], largest magnitude / 2688;
 *                                                                      then e4m3 [16][ceil(dims / 16)]
 *
 * Word w of 4-bit elements holds elements e0 … e7 of its 8: e(2i) in bits 4i … 4i+3, e(2i+1) in bits 16+4i … 19+4i.
 */
#ifndef IMP_COMPUTE_CUDA_KV_H
#define IMP_COMPUTE_CUDA_KV_H

#include "compute/batch.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One plane: keys or values of one head in one page. Offsets in bytes from its start. */
typedef struct KvPlane {
    int32_t chunks;         /* of 8 dimensions */
    int32_t groups;         /* scales of a token beyond the first */
    uint32_t scales, bytes; /* where the scales start; all of it, a multiple of 16 */
} KvPlane;

/* Where planes lie in a page: head h's keys at h * head_bytes, its values `keys.bytes` behind them. */
typedef struct KvLayout {
    KvPlane keys, values;
    uint32_t head_bytes;
} KvLayout;

/* Bits of an element; 0: not a type of keys and values. */
static inline uint32_t kv_element_bits(DType type)
{
    switch (type) {
    case DT_F32: return 32;
    case DT_F16:
    case DT_BF16: return 16;
    case DT_F8_E4M3:
    case DT_I8: return 8;
    case DT_Q4_0:
    case DT_NVFP4: return 4;
    default: return 0;
    }
}

static inline KvPlane kv_plane(DType type, int32_t dims)
{
    KvPlane plane = {(dims + 7) / 8, 0, 0, 0};
    plane.scales = (uint32_t)plane.chunks * KV_PAGE_TOKENS * kv_element_bits(type);
    uint32_t bytes = 0;
    if (type == DT_F8_E4M3 || type == DT_I8) bytes = KV_PAGE_TOKENS * 4;
    if (type == DT_Q4_0) {
        plane.groups = (dims + 31) / 32;
        bytes = (uint32_t)plane.groups * KV_PAGE_TOKENS * 2;
    }
    if (type == DT_NVFP4) {
        plane.groups = (dims + 15) / 16;
        bytes = KV_PAGE_TOKENS * 4 + (uint32_t)plane.groups * KV_PAGE_TOKENS;
    }
    plane.bytes = (plane.scales + bytes + 15) / 16 * 16;
    return plane;
}

static inline KvLayout kv_layout(DType type, int32_t head_dim, int32_t head_dim_v)
{
    KvLayout layout = {kv_plane(type, head_dim), kv_plane(type, head_dim_v), 0};
    layout.head_bytes = layout.keys.bytes + layout.values.bytes;
    return layout;
}

/* Which group of 8 elements of a plane holds dimensions 8 * chunk … of a token of the page. */
static inline uint32_t kv_eight(int32_t chunks, int32_t token, int32_t chunk)
{
    return (uint32_t)((token / 8 * chunks + chunk) * 8 + token % 8);
}

#endif
