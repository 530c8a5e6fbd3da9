/*
 * test_limits.c - kernels of the portable and the Blackwell tier ask for no more shared memory than every GPU has.
 *
 * Needs no GPU, and passes over where there is one: a launch that is within the limits gets as far as the driver that
 * is missing, one that is not is refused before (launch.cuh). On a GPU IMP_TIER=0 shows the same in the other tests.
 */
#include "gpu_test.h"

#include "compute/cuda/attention.h"
#include "compute/cuda/gemm.h"

static int refused;

static void check(const char *what, DType type, int32_t a, int32_t b)
{
    if (gpu_queue.error == cudaErrorLaunchOutOfResources) {
        print_error("%s, %s, %d, %d: too much shared memory\n", what, dtype_info(type)->name, (int)a, (int)b);
        refused++;
    }
    gpu_queue.error = cudaSuccess;
}

static const CudaTier tiers[] = {CUDA_TIER_PORTABLE, CUDA_TIER_BLACKWELL};

/* Sizes of a chip; addresses are never followed. */
static void pretend(CudaTier tier)
{
    gpu_queue = (CudaQueue){.tier = tier, .n_sms = 28, .workspace = (void *)0x1000, .workspace_bytes = (size_t)1 << 30};
}

static void products(void **state)
{
    (void)state;
    if (gpu_present()) skip();
    static const int32_t widths[] = {256, 2048, 4096, 14336, 28672}, row_counts[] = {2, 16, 64, 500};
    refused = 0;
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
        for (size_t t = 0; t < GPU_TYPES; t++)
            for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
                CudaWeight weight;
                pretend(tiers[i]);
                cuda_weight_place(&weight, gpu_types[t], 4096, widths[w], (void *)0x100000);
                const CudaOutput outputs[2] = {{&weight, NULL, (float *)0x2000}, {&weight, NULL, (float *)0x2000}};
                cuda_matvec(&gpu_queue, (const float *)0x3000, outputs, 2);
                check("a vector", gpu_types[t], 1, widths[w]);
                cuda_matvec_gated(&gpu_queue, (const float *)0x3000, &outputs[0], &outputs[1], ACT_SILU, 0.0f,
                                  (float *)0x2000);
                check("a gated vector", gpu_types[t], 1, widths[w]);
                for (size_t r = 0; r < 4 && gpu_types[t] != DT_F32; r++) {
                    cuda_gemm(&gpu_queue, (const uint16_t *)0x3000, row_counts[r], outputs, 2);
                    check("rows", gpu_types[t], row_counts[r], widths[w]);
                }
            }
    assert_int_equal(refused, 0);
}

static void attention(void **state)
{
    (void)state;
    if (gpu_present()) skip();
    static const DType types[] = {DT_F32, DT_F16, DT_BF16, DT_F8_E4M3, DT_I8, DT_Q4_0, DT_NVFP4};
    static const int32_t dims[] = {64, 80, 96, 128, 192, 256}, row_counts[] = {1, 4, 300};
    refused = 0;
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
            for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
                for (size_t r = 0; r < 3; r++) {
                    pretend(tiers[i]);
                    const Attention spec = {.n_heads = 32,
                                            .n_kv_heads = 8,
                                            .head_dim = dims[d],
                                            .head_dim_v = dims[d],
                                            .rope = {.kind = ROPE_HALF, .n_dims = 64, .magnitude = 1.0f},
                                            .scale = 0.1f};
                    const CudaAttention layer = {.spec = &spec, .inv_freq = (const float *)0x1000};
                    const CudaKv kv = {.pages = (uint8_t *)0x1000,
                                       .type = types[t],
                                       .n_kv_heads = 8,
                                       .head_dim = dims[d],
                                       .head_dim_v = dims[d],
                                       .page_bytes = cuda_kv_page_bytes(types[t], 8, dims[d], dims[d])};
                    const CudaBatch batch = {.n_rows = row_counts[r],
                                             .n_sequences = 1,
                                             .max_context = 4096,
                                             .max_sequence_rows = row_counts[r]};
                    float *q = (float *)0x1000;
                    const CudaAct out = {q, (uint16_t *)0x1000};
                    cuda_attention_store(&gpu_queue, &batch, &layer, &kv, q, q, q);
                    check("keys and values", types[t], row_counts[r], dims[d]);
                    cuda_attention(&gpu_queue, &batch, &layer, &kv, q, CUDA_FORM_F32, &out);
                    check("attention", types[t], row_counts[r], dims[d]);
                }
    assert_int_equal(refused, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
