/*
 * dtype.c - the table itself, and the few questions that are answered by walking it.
 */
#include "quant/codec.h"

static const DTypeInfo dtype_table[DT_COUNT] = {
    /*               GGUF name, SafeTensors, id, elements, bytes, decode, encode */
    [DT_F32] =     {"F32", "F32", 0, 1, 4, f32_decode, f32_encode},
    [DT_F16] =     {"F16", "F16", 1, 1, 2, f16_decode, f16_encode},
    [DT_BF16] =    {"BF16", "BF16", 30, 1, 2, bf16_decode, bf16_encode},
    [DT_F64] =     {"F64", "F64", 28, 1, 8, f64_decode, f64_encode},
    [DT_I8] =      {"I8", "I8", 24, 1, 1, NULL, NULL},
    [DT_I16] =     {"I16", "I16", 25, 1, 2, NULL, NULL},
    [DT_I32] =     {"I32", "I32", 26, 1, 4, NULL, NULL},
    [DT_I64] =     {"I64", "I64", 27, 1, 8, NULL, NULL},
    [DT_U8] =      {"U8", "U8", -1, 1, 1, NULL, NULL},
    [DT_U16] =     {"U16", "U16", -1, 1, 2, NULL, NULL},
    [DT_U32] =     {"U32", "U32", -1, 1, 4, NULL, NULL},
    [DT_U64] =     {"U64", "U64", -1, 1, 8, NULL, NULL},
    [DT_BOOL] =    {"BOOL", "BOOL", -1, 1, 1, NULL, NULL},
    [DT_F8_E4M3] = {"F8_E4M3", "F8_E4M3", -1, 1, 1, f8_e4m3_decode, NULL},
    [DT_F8_E5M2] = {"F8_E5M2", "F8_E5M2", -1, 1, 1, f8_e5m2_decode, NULL},
    [DT_Q4_0] =    {"Q4_0", NULL, 2, 32, 18, q4_0_decode, q4_0_encode},
    [DT_Q4_1] =    {"Q4_1", NULL, 3, 32, 20, q4_1_decode, q4_1_encode},
    [DT_Q5_0] =    {"Q5_0", NULL, 6, 32, 22, q5_0_decode, q5_0_encode},
    [DT_Q5_1] =    {"Q5_1", NULL, 7, 32, 24, q5_1_decode, q5_1_encode},
    [DT_Q8_0] =    {"Q8_0", NULL, 8, 32, 34, q8_0_decode, q8_0_encode},
    [DT_Q2_K] =    {"Q2_K", NULL, 10, 256, 84, q2_k_decode, NULL},
    [DT_Q3_K] =    {"Q3_K", NULL, 11, 256, 110, q3_k_decode, NULL},
    [DT_Q4_K] =    {"Q4_K", NULL, 12, 256, 144, q4_k_decode, NULL},
    [DT_Q5_K] =    {"Q5_K", NULL, 13, 256, 176, q5_k_decode, NULL},
    [DT_Q6_K] =    {"Q6_K", NULL, 14, 256, 210, q6_k_decode, NULL},
    [DT_IQ4_NL] =  {"IQ4_NL", NULL, 20, 32, 18, iq4_nl_decode, NULL},
    [DT_IQ4_XS] =  {"IQ4_XS", NULL, 23, 256, 136, iq4_xs_decode, NULL},
    [DT_MXFP4] =   {"MXFP4", NULL, 39, 32, 17, mxfp4_decode, NULL},
    [DT_NVFP4] =   {"NVFP4", NULL, 40, 64, 36, nvfp4_decode, NULL},
};

const DTypeInfo *dtype_info(DType type) { return &dtype_table[type]; }

DType dtype_from_gguf(uint32_t gguf_id)
{
    for (int type = 0; type < DT_COUNT; type++) {
        if (dtype_table[type].gguf_id >= 0 && (uint32_t)dtype_table[type].gguf_id == gguf_id) return (DType)type;
    }
    return DT_NONE;
}

DType dtype_from_safetensors(const char *name)
{
    for (int type = 0; type < DT_COUNT; type++) {
        const char *known = dtype_table[type].safetensors;
        if (known != NULL && strcmp(known, name) == 0) return (DType)type;
    }
    return DT_NONE;
}

bool dtype_row_bytes(DType type, uint64_t n, size_t *bytes)
{
    const DTypeInfo *info = &dtype_table[type];
    const uint64_t blocks = n / info->block_elems;
    if (n % info->block_elems != 0 || blocks > SIZE_MAX / info->block_bytes) return false;
    *bytes = (size_t)blocks * info->block_bytes;
    return true;
}
