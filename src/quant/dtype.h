/*
 * dtype.h - the one table of data types: names, ids in the file formats, block sizes, and the scalar codec of each, which
 * is the reference that every kernel is compared with and the fallback where a type has no kernel.
 */
#ifndef IMP_QUANT_DTYPE_H
#define IMP_QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum DType {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_F64,
    DT_I8,
    DT_I16,
    DT_I32,
    DT_I64,
    DT_U8,
    DT_U16,
    DT_U32,
    DT_U64,
    DT_BOOL,
    DT_F8_E4M3,
    DT_F8_E5M2,
    DT_Q4_0,
    DT_Q4_1,
    DT_Q5_0,
    DT_Q5_1,
    DT_Q8_0,
    DT_Q2_K,
    DT_Q3_K,
    DT_Q4_K,
    DT_Q5_K,
    DT_Q6_K,
    DT_IQ4_NL,
    DT_IQ4_XS,
    DT_MXFP4,
    DT_NVFP4,
    DT_COUNT,
    DT_NONE = -1
} DType;

/* Decodes `n` elements (a multiple of block_elems) from blocks that need no alignment. Bit-equal to the `gguf` Python
 * package's dequantization in float32. */
typedef void DTypeDecode(const void *blocks, float *out, size_t n);

/* Encodes `n` elements (a multiple of block_elems): plain types round to nearest even, block types choose scales and
 * integers as the `gguf` package does. */
typedef void DTypeEncode(const float *in, void *blocks, size_t n);

typedef struct DTypeInfo {
    const char *name;        /* as GGUF tools print it: "Q4_K" */
    const char *safetensors; /* name in a SafeTensors header, NULL: not of that format */
    int32_t gguf_id;         /* type number in a GGUF file, -1: not of that format */
    uint16_t block_elems;    /* elements of a block, 1 for plain types */
    uint16_t block_bytes;
    DTypeDecode *decode;     /* NULL only for integers and booleans */
    DTypeEncode *encode;     /* NULL where imp only reads the type */
} DTypeInfo;

/* `type` must be below DT_COUNT. */
const DTypeInfo *dtype_info(DType type);

/* DT_NONE for a number or name that the table does not have. */
DType dtype_from_gguf(uint32_t gguf_id);
DType dtype_from_safetensors(const char *name);

/* Bytes of a row of `n` elements; false when n is not a whole number of blocks or the product overflows. */
bool dtype_row_bytes(DType type, uint64_t n, size_t *bytes);

#endif
