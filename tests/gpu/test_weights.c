/* test_weights.c - weights re-laid on the device and read back: the numbers of src/quant, to the bit. */
#include "gpu_test.h"

/* Equal as numbers: minus zero is zero. Subnormal products may be rounded once more by a scale. */
static void check_values(DType type, const float *out, const float *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(out[i] == expected[i]) && !(isnan(out[i]) && isnan(expected[i])))
            fail_msg("%s: element %zu is %a, not %a", dtype_info(type)->name, i, (double)out[i], (double)expected[i]);
    }
}

static void check_type(DType type, int64_t rows, int64_t cols, bool extreme, float scale)
{
    const size_t n = (size_t)(rows * cols);
    TestWeight weight = test_weight(type, rows, cols, extreme, scale);
    float *device = gpu_alloc(n * sizeof *device), *out = malloc(n * sizeof *out);
    cuda_weight_decode_f32(&gpu_queue, &weight.weight, 0, rows, device);
    gpu_read(out, device, n * sizeof *out);
    check_values(type, out, weight.values, n);
    gpu_ok(cudaFree(device));
    free(out);
    test_weight_free(&weight);
}

/* Every length of a row that is a few blocks, and rows that end inside a warp. */
static void test_all_types(void **state)
{
    (void)state;
    gpu_need();
    static const int64_t rows[] = {1, 3, 37};
    for (size_t t = 0; t < GPU_TYPES; t++) {
        const int64_t block = dtype_info(gpu_types[t])->block_elems;
        for (size_t r = 0; r < 3; r++) {
            for (int64_t blocks = 1; blocks <= 5; blocks++) {
                check_type(gpu_types[t], rows[r], block * blocks, false, 1.0f);
                check_type(gpu_types[t], rows[r], block * blocks, true, 1.0f);
            }
            check_type(gpu_types[t], rows[r], 2304, true, 0.75f);
        }
    }
}

/* Rows of plain types that end anywhere. */
static void test_ragged_rows(void **state)
{
    (void)state;
    gpu_need();
    for (size_t t = 0; t < 5; t++)
        for (int64_t cols = 1; cols < 140; cols += 7) check_type(gpu_types[t], 5, cols, false, 1.0f);
}

/* Some rows re-laid by themselves, some read back by themselves. */
static void test_parts(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 19, COLS = 768 };
    for (size_t t = 0; t < GPU_TYPES; t++) {
        const DType type = gpu_types[t];
        size_t row_bytes = 0;
        assert_true(dtype_row_bytes(type, COLS, &row_bytes));
        uint8_t *raw = malloc(row_bytes * ROWS);
        random_blocks(type, raw, (size_t)ROWS * COLS / dtype_info(type)->block_elems, false);
        float *expected = malloc(sizeof *expected * ROWS * COLS), *out = malloc(sizeof *out * ROWS * COLS);
        dtype_info(type)->decode(raw, expected, (size_t)ROWS * COLS);
        CudaWeight weight;
        void *memory = gpu_alloc(cuda_weight_bytes(type, ROWS, COLS));
        cuda_weight_place(&weight, type, ROWS, COLS, memory);
        for (int first = 0; first < ROWS; first += 8) {
            const int n = first + 8 < ROWS ? 8 : ROWS - first;
            void *part = gpu_copy(raw + (size_t)first * row_bytes, (size_t)n * row_bytes);
            cuda_weight_relay(&gpu_queue, &weight, part, first, n);
            gpu_wait();
            gpu_ok(cudaFree(part));
        }
        float *device = gpu_alloc(sizeof *device * ROWS * COLS);
        cuda_weight_decode_f32(&gpu_queue, &weight, 5, 9, device);
        gpu_read(out, device, sizeof *out * 9 * COLS);
        check_values(type, out, expected + 5 * COLS, 9 * COLS);
        gpu_ok(cudaFree(device));
        gpu_ok(cudaFree(memory));
        free(raw);
        free(expected);
        free(out);
    }
}

static void test_embed(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 300, COLS = 512, N = 7 };
    static const int32_t tokens[N] = {299, 0, 17, 17, 256, 1, 128};
    int32_t *device_tokens = gpu_copy(tokens, sizeof tokens);
    const CudaBatch batch = {.n_rows = N, .tokens = device_tokens};
    for (size_t t = 0; t < GPU_TYPES; t++) {
        TestWeight table = test_weight(gpu_types[t], ROWS, COLS, false, 1.0f);
        float *device = gpu_alloc(sizeof *device * N * COLS), out[N * COLS], expected[N * COLS];
        cuda_embed(&gpu_queue, &batch, &table.weight, 2.5f, device);
        gpu_read(out, device, sizeof out);
        for (int r = 0; r < N; r++)
            for (int i = 0; i < COLS; i++) expected[r * COLS + i] = table.values[tokens[r] * COLS + i] * 2.5f;
        check_values(gpu_types[t], out, expected, N * COLS);
        gpu_ok(cudaFree(device));
        test_weight_free(&table);
    }
    gpu_ok(cudaFree(device_tokens));
}

/* Experts of a stack have scales of their own. */
static void test_stack(void **state)
{
    (void)state;
    gpu_need();
    enum { EXPERTS = 3, ROWS = 5, COLS = 64 };
    static const float scales[EXPERTS] = {0.5f, 2.0f, 3.0f};
    TestWeight stack = test_weight(DT_NVFP4, EXPERTS * ROWS, COLS, false, 1.0f);
    stack.weight.stack_rows = ROWS;
    stack.weight.stack_scales = gpu_copy(scales, sizeof scales);
    float *device = gpu_alloc(sizeof *device * EXPERTS * ROWS * COLS), out[EXPERTS * ROWS * COLS];
    cuda_weight_decode_f32(&gpu_queue, &stack.weight, 0, EXPERTS * ROWS, device);
    gpu_read(out, device, sizeof out);
    for (int i = 0; i < EXPERTS * ROWS * COLS; i++) stack.values[i] *= scales[i / (ROWS * COLS)];
    check_values(DT_NVFP4, out, stack.values, EXPERTS * ROWS * COLS);
    gpu_ok(cudaFree(device));
    gpu_ok(cudaFree((void *)(uintptr_t)stack.weight.stack_scales));
    test_weight_free(&stack);
}

/* Needs no GPU: what the device cannot take, and that it takes no more bytes than the file, but for whole lines. */
static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(cuda_weight_bytes(DT_F64, 4, 256), 0);
    assert_int_equal(cuda_weight_bytes(DT_I32, 4, 256), 0);
    assert_int_equal(cuda_weight_bytes(DT_NONE, 4, 256), 0);
    assert_int_equal(cuda_weight_bytes(DT_Q4_K, 4, 128), 0);
    assert_int_equal(cuda_weight_bytes(DT_Q8_0, 0, 128), 0);
    assert_int_equal(cuda_weight_bytes(DT_Q8_0, INT64_MAX, 128), 0);
    for (size_t t = 0; t < GPU_TYPES; t++) {
        size_t row_bytes = 0;
        assert_true(dtype_row_bytes(gpu_types[t], 4096, &row_bytes));
        const size_t bytes = cuda_weight_bytes(gpu_types[t], 4096, 4096);
        assert_int_equal(bytes, 4096 * row_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_all_types), cmocka_unit_test(test_ragged_rows),
        cmocka_unit_test(test_parts), cmocka_unit_test(test_embed),     cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
