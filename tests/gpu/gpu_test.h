/*
 * gpu_test.h - what tests of kernels share: a queue on the first GPU (or a skipped test), device memory, random weights
 * of any type, and errors relative to a reference.
 */
#ifndef IMP_TESTS_GPU_TEST_H
#define IMP_TESTS_GPU_TEST_H

#include "cmocka_all.h"
#include "compute/cuda/weights.h"
#include "quant/float_bits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static CudaQueue gpu_queue;

static inline bool gpu_present(void)
{
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

static inline void gpu_ok(cudaError_t error)
{
    if (error != cudaSuccess) fail_msg("CUDA: %s", cudaGetErrorString(error));
}

/* Group set-up: leaves gpu_queue without a stream where there is no GPU. IMP_TIER=0 … 2 lowers the tier. */
static inline int gpu_setup(void **state)
{
    (void)state;
    if (!gpu_present()) return 0;
    struct cudaDeviceProp properties;
    gpu_ok(cudaGetDeviceProperties(&properties, 0));
    gpu_ok(cudaStreamCreate(&gpu_queue.stream));
    gpu_queue.n_sms = properties.multiProcessorCount;
    gpu_queue.tier = properties.major >= 12  ? CUDA_TIER_BLACKWELL
                     : properties.major == 9 ? CUDA_TIER_HOPPER
                                             : CUDA_TIER_PORTABLE;
    const char *tier = getenv("IMP_TIER");
    if (tier != NULL && atoi(tier) < (int)gpu_queue.tier) gpu_queue.tier = (CudaTier)atoi(tier);
    gpu_queue.overlap = properties.major >= 9;
    gpu_queue.workspace_bytes = (size_t)64 << 20;
    gpu_ok(cudaMalloc(&gpu_queue.workspace, gpu_queue.workspace_bytes));
    return 0;
}

/* At the start of every test. */
static inline void gpu_need(void)
{
    if (gpu_queue.stream == NULL) skip();
}

static inline void gpu_wait(void)
{
    gpu_ok(gpu_queue.error);
    gpu_ok(cudaGetLastError());
    gpu_ok(cudaStreamSynchronize(gpu_queue.stream));
}

/* Device memory, poisoned with NaNs. */
static inline void *gpu_alloc(size_t bytes)
{
    void *memory = NULL;
    gpu_ok(cudaMalloc(&memory, bytes > 0 ? bytes : 1));
    gpu_ok(cudaMemset(memory, 0xFF, bytes));
    return memory;
}

static inline void *gpu_copy(const void *host, size_t bytes)
{
    void *memory = gpu_alloc(bytes);
    gpu_ok(cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice));
    return memory;
}

static inline void gpu_read(void *host, const void *device, size_t bytes)
{
    gpu_wait();
    gpu_ok(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost));
}

/* IMP_TEST_SHORT: a few small cases, for tools that make everything slow (run.sh). */
static inline bool gpu_is_short(void) { return getenv("IMP_TEST_SHORT") != NULL; }

/* Whether a case of this type and so many multiplications is taken. */
static inline bool gpu_takes(DType type, double work)
{
    static const DType few[] = {DT_F32, DT_BF16, DT_Q4_K, DT_Q6_K, DT_Q8_0, DT_NVFP4, DT_MXFP4};
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++)
        if (few[i] == type && work < 4e7) return true;
    return !gpu_is_short();
}

/* ---- random numbers ---- */

static uint64_t gpu_random_state = 88172645463325252u;

static inline uint32_t random_u32(void)
{
    gpu_random_state ^= gpu_random_state << 13;
    gpu_random_state ^= gpu_random_state >> 7;
    gpu_random_state ^= gpu_random_state << 17;
    return (uint32_t)(gpu_random_state >> 32);
}

/* Within -1 … 1. */
static inline float random_float(void) { return (float)(int32_t)random_u32() * 0x1p-31f; }

/* Bell-shaped, about 1 wide. */
static inline float random_normal(void)
{
    return (random_float() + random_float() + random_float() + random_float()) * 0.866f;
}

static inline float *random_vector(size_t n)
{
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = random_normal();
    return values;
}

/* ---- random weights ---- */

/* Where blocks keep half-precision numbers; -1: no more. */
static inline const int *half_fields(DType type)
{
    static const int first[] = {0, -1}, both[] = {0, 2, -1}, q2[] = {80, 82, -1}, q3[] = {108, -1}, q6[] = {208, -1};
    static const int none[] = {-1};
    switch (type) {
    case DT_Q4_0:
    case DT_Q5_0:
    case DT_Q8_0:
    case DT_IQ4_NL:
    case DT_IQ4_XS:
        return first;
    case DT_Q4_1:
    case DT_Q5_1:
    case DT_Q4_K:
    case DT_Q5_K:
        return both;
    case DT_Q2_K:
        return q2;
    case DT_Q3_K:
        return q3;
    case DT_Q6_K:
        return q6;
    default:
        return none;
    }
}

/* `extreme`: any finite number in every field; else scales of about 1/100. */
static inline void random_blocks(DType type, uint8_t *bytes, size_t n, bool extreme)
{
    const DTypeInfo *info = dtype_info(type);
    for (size_t i = 0; i < n * info->block_bytes; i++) bytes[i] = (uint8_t)random_u32();
    for (size_t i = 0; i < n; i++) {
        uint8_t *block = bytes + i * info->block_bytes;
        for (const int *field = half_fields(type); *field >= 0; field++) {
            uint16_t half = f32_to_f16(0.01f * random_float());
            if (extreme) half = (uint16_t)random_u32();
            if ((half & 0x7C00) == 0x7C00) half = 0x7BFF;
            memcpy(block + *field, &half, sizeof half);
        }
        if (type == DT_MXFP4) block[0] = (uint8_t)(extreme ? random_u32() % 251 : 115 + random_u32() % 8);
        if (type == DT_NVFP4 && !extreme)
            for (int s = 0; s < 4; s++) block[s] = (uint8_t)(0x20 + random_u32() % 24);
        if (type == DT_F8_E4M3) {
            if ((block[0] & 0x7F) == 0x7F || !extreme) block[0] &= 0xBE;
        } else if (type == DT_F8_E5M2) {
            if ((block[0] & 0x7C) == 0x7C || !extreme) block[0] &= 0xBF;
        } else if (type == DT_F32 || type == DT_F16 || type == DT_BF16) {
            uint32_t any = random_u32();
            float value = 0.05f * random_normal();
            if (extreme) memcpy(&value, &any, sizeof value);
            /* No rounding to bfloat16 may overflow. */
            if (!(fabsf(value) < 1e37f) || (extreme && type == DT_F16)) value = 65504.0f * random_float();
            info->encode(&value, block, 1);
        }
    }
}

static const DType gpu_types[] = {DT_F32,  DT_F16,    DT_BF16,   DT_F8_E4M3, DT_F8_E5M2, DT_Q4_0, DT_Q4_1,
                                  DT_Q5_0, DT_Q5_1,   DT_Q8_0,   DT_Q2_K,    DT_Q3_K,    DT_Q4_K, DT_Q5_K,
                                  DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS, DT_MXFP4,   DT_NVFP4};
enum { GPU_TYPES = sizeof gpu_types / sizeof gpu_types[0] };

/* A weight on the device and its values on the host. */
typedef struct TestWeight {
    CudaWeight weight;
    void *memory;
    float *values; /* [rows][cols], times scale */
} TestWeight;

static inline TestWeight test_weight(DType type, int64_t rows, int64_t cols, bool extreme, float scale)
{
    const DTypeInfo *info = dtype_info(type);
    TestWeight out = {0};
    size_t row_bytes = 0;
    assert_true(dtype_row_bytes(type, (uint64_t)cols, &row_bytes));
    const size_t bytes = row_bytes * (size_t)rows, n = (size_t)(rows * cols);
    uint8_t *raw = malloc(bytes);
    random_blocks(type, raw, n / info->block_elems, extreme);
    out.values = malloc(n * sizeof *out.values);
    info->decode(raw, out.values, n);
    for (size_t i = 0; i < n; i++) out.values[i] *= scale;
    const size_t device_bytes = cuda_weight_bytes(type, rows, cols);
    assert_true(device_bytes > 0);
    out.memory = gpu_alloc(device_bytes);
    cuda_weight_place(&out.weight, type, rows, cols, out.memory);
    out.weight.scale = scale;
    void *device_raw = gpu_copy(raw, bytes);
    cuda_weight_relay(&gpu_queue, &out.weight, device_raw, 0, rows);
    gpu_wait();
    gpu_ok(cudaFree(device_raw));
    free(raw);
    return out;
}

static inline void test_weight_free(TestWeight *weight)
{
    gpu_ok(cudaFree(weight->memory));
    free(weight->values);
}

/* ||out - ref|| / ||ref||; a NaN in `out` gives a NaN. */
static inline double relative_error(const float *out, const double *ref, size_t n)
{
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)out[i] - ref[i]) * ((double)out[i] - ref[i]);
        size += ref[i] * ref[i];
    }
    return size > 0.0 ? sqrt(difference / size) : sqrt(difference);
}

#endif
