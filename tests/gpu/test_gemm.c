/*
 * test_gemm.c - products of several rows: every type, ragged shapes, both paths, against sums in double precision.
 *
 * The reference multiplies what the device multiplies: activations are bfloat16 to begin with, so for BF16 weights only
 * the order of additions differs; weights of other types are rounded to bfloat16 on the way.
 */
#include "gpu_test.h"

#include "compute/cuda/gemm.h"

#include <stdio.h>

enum { SAMPLES = 600 };

static float bf16_value(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static uint16_t *random_bf16(size_t n)
{
    uint16_t *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const float value = random_normal();
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        values[i] = (uint16_t)(word >> 16);
    }
    return values;
}

static double dot(const uint16_t *x, const float *w, int32_t cols)
{
    double sum = 0.0;
    for (int32_t k = 0; k < cols; k++) sum += (double)bf16_value(x[k]) * (double)w[k];
    return sum;
}

/* Sample i of an [n_rows][rows] result: the corners of the last tiles first. */
static void sample(int i, int32_t n_rows, int32_t rows, int32_t *r, int32_t *n)
{
    const bool corner = i < 100;
    *r = corner ? n_rows - 1 - i % 10 : (int32_t)(random_u32() % (uint32_t)n_rows);
    *n = corner ? rows - 1 - i / 10 : (int32_t)(random_u32() % (uint32_t)rows);
    if (*r < 0) *r = 0;
    if (*n < 0) *n = 0;
}

static double limit_of(DType type) { return type == DT_BF16 ? 1e-5 : 4e-3; }

static void check_linear(DType type, int32_t n_rows, int32_t cols, const int32_t *rows, int32_t n_outputs, bool bias)
{
    if (!gpu_takes(type, (double)n_rows * cols * rows[0])) return;
    uint16_t *x = random_bf16((size_t)n_rows * (size_t)cols);
    uint16_t *device_x = gpu_copy(x, (size_t)n_rows * (size_t)cols * sizeof *x);
    TestWeight weights[CUDA_MAX_OUTPUTS];
    float *biases[CUDA_MAX_OUTPUTS];
    CudaOutput outputs[CUDA_MAX_OUTPUTS] = {0};
    for (int32_t i = 0; i < n_outputs; i++) {
        weights[i] = test_weight(type, rows[i], cols, false, i == 1 ? 0.5f : 1.0f);
        biases[i] = random_vector((size_t)rows[i]);
        outputs[i].weight = &weights[i].weight;
        outputs[i].bias = bias ? gpu_copy(biases[i], (size_t)rows[i] * sizeof(float)) : NULL;
        outputs[i].y = gpu_alloc(((size_t)n_rows * (size_t)rows[i] + 1) * sizeof(float));
    }
    cuda_gemm(&gpu_queue, device_x, n_rows, outputs, n_outputs);
    for (int32_t i = 0; i < n_outputs; i++) {
        const size_t n = (size_t)n_rows * (size_t)rows[i];
        float *y = malloc((n + 1) * sizeof *y), out[SAMPLES];
        double expected[SAMPLES];
        gpu_read(y, outputs[i].y, (n + 1) * sizeof *y);
        for (int s = 0; s < SAMPLES; s++) {
            int32_t r, column;
            sample(s, n_rows, rows[i], &r, &column);
            out[s] = y[(size_t)r * (size_t)rows[i] + (size_t)column];
            expected[s] = dot(x + (size_t)r * (size_t)cols, weights[i].values + (size_t)column * (size_t)cols, cols);
            if (bias) expected[s] += (double)biases[i][column];
        }
        const double error = relative_error(out, expected, SAMPLES);
        printf("%-8s rows %4d  cols %5d  outputs %5d%s  error %.1e\n", dtype_info(type)->name, (int)n_rows, (int)cols,
               (int)rows[i], bias ? " + bias" : "       ", error);
        assert_true(error < limit_of(type));
        for (size_t at = 0; at < n; at++)
            if (isnan(y[at])) fail_msg("row %zu of output %d was not written", at / (size_t)rows[i], (int)i);
        assert_true(isnan(y[n]));
        free(y);
    }
    for (int32_t i = 0; i < n_outputs; i++) {
        gpu_ok(cudaFree(outputs[i].y));
        gpu_ok(cudaFree((void *)outputs[i].bias));
        free(biases[i]);
        test_weight_free(&weights[i]);
    }
    gpu_ok(cudaFree(device_x));
    free(x);
}

static const DType all_types[] = {DT_F16,  DT_BF16, DT_F8_E4M3, DT_F8_E5M2, DT_Q4_0,  DT_Q4_1,
                                  DT_Q5_0, DT_Q5_1, DT_Q8_0,    DT_Q2_K,    DT_Q3_K,  DT_Q4_K,
                                  DT_Q5_K, DT_Q6_K, DT_IQ4_NL,  DT_IQ4_XS,  DT_MXFP4, DT_NVFP4};
enum { ALL_TYPES = sizeof all_types / sizeof all_types[0] };

static void every_type(void **state)
{
    (void)state;
    gpu_need();
    for (int i = 0; i < ALL_TYPES; i++) {
        check_linear(all_types[i], 2, 1024, (int32_t[]){200}, 1, false);
        check_linear(all_types[i], 19, 2560, (int32_t[]){130, 64, 34}, 3, true);
        check_linear(all_types[i], 64, 512, (int32_t[]){1000}, 1, false);
        check_linear(all_types[i], 400, 768, (int32_t[]){400}, 1, true);
    }
}

/* Sums split over blocks, tiles of 16, 64 and 128 rows and their edges, matrices that end within a block. */
static void coded(void **state)
{
    (void)state;
    gpu_need();
    static const DType types[] = {DT_Q4_K, DT_Q6_K, DT_Q8_0, DT_NVFP4, DT_IQ4_XS, DT_Q2_K, DT_F8_E4M3};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        check_linear(types[i], 16, 4096, (int32_t[]){640}, 1, true);
        check_linear(types[i], 33, 2048, (int32_t[]){520, 72, 130}, 3, true);
        check_linear(types[i], 128, 4096, (int32_t[]){300}, 1, false);
        check_linear(types[i], 131, 1280, (int32_t[]){1031}, 1, true);
    }
    check_linear(DT_Q8_0, 40, 14336, (int32_t[]){256}, 1, false);
    check_linear(DT_Q4_0, 70, 64, (int32_t[]){100}, 1, false);
}

/* Widths that are no whole span, matrices smaller than a tile, odd counts. */
static void ragged(void **state)
{
    (void)state;
    gpu_need();
    check_linear(DT_BF16, 5, 72, (int32_t[]){3}, 1, true);
    check_linear(DT_BF16, 70, 1000, (int32_t[]){333}, 1, false);
    check_linear(DT_BF16, 3, 31, (int32_t[]){65}, 1, false);
    check_linear(DT_F16, 20, 45, (int32_t[]){129}, 1, true);
    check_linear(DT_F8_E4M3, 9, 100, (int32_t[]){17}, 1, true);
    check_linear(DT_Q4_0, 33, 96, (int32_t[]){31}, 1, true);
    check_linear(DT_Q8_0, 17, 160, (int32_t[]){257}, 1, false);
    check_linear(DT_Q8_0, 300, 160, (int32_t[]){258, 6}, 2, true);
    check_linear(DT_NVFP4, 65, 192, (int32_t[]){10}, 1, false);
    check_linear(DT_BF16, 129, 4096, (int32_t[]){512, 130, 258}, 3, true);
    check_linear(DT_BF16, 1031, 640, (int32_t[]){770}, 1, true);
}

/* A workspace smaller than the matrix: several panels. */
static void panels(void **state)
{
    (void)state;
    gpu_need();
    const size_t whole = gpu_queue.workspace_bytes;
    gpu_queue.workspace_bytes = (size_t)2 << 20;
    check_linear(DT_Q4_K, 400, 1024, (int32_t[]){1500, 700}, 2, true);
    check_linear(DT_Q8_0, 400, 4096, (int32_t[]){600}, 1, true);
    gpu_queue.workspace_bytes = whole;
}

static void check_gated(DType type, DType up_type, int32_t n_rows, int32_t cols, int32_t n_ff, Activation activation)
{
    if (!gpu_takes(type, 2.0 * n_rows * cols * n_ff)) return;
    uint16_t *x = random_bf16((size_t)n_rows * (size_t)cols);
    uint16_t *device_x = gpu_copy(x, (size_t)n_rows * (size_t)cols * sizeof *x);
    TestWeight gate = test_weight(type, n_ff, cols, false, 1.0f), up = test_weight(up_type, n_ff, cols, false, 0.5f);
    float *gate_bias = random_vector((size_t)n_ff);
    const size_t n = (size_t)n_rows * (size_t)n_ff;
    const CudaOutput outputs[2] = {
        {&gate.weight, gpu_copy(gate_bias, (size_t)n_ff * sizeof(float)), gpu_alloc(n * sizeof(float))},
        {&up.weight, NULL, gpu_alloc(n * sizeof(float))},
    };
    uint16_t *out = gpu_alloc(n * sizeof *out), *y = malloc(n * sizeof *y);
    cuda_gemm_gated(&gpu_queue, device_x, n_rows, &outputs[0], &outputs[1], activation, 0.0f, out);
    gpu_read(y, out, n * sizeof *y);
    float values[SAMPLES];
    double expected[SAMPLES];
    for (int s = 0; s < SAMPLES; s++) {
        int32_t r, column;
        sample(s, n_rows, n_ff, &r, &column);
        const size_t at = (size_t)column * (size_t)cols;
        const double g = dot(x + (size_t)r * (size_t)cols, gate.values + at, cols) + (double)gate_bias[column];
        const double u = dot(x + (size_t)r * (size_t)cols, up.values + at, cols);
        values[s] = bf16_value(y[(size_t)r * (size_t)n_ff + (size_t)column]);
        expected[s] = u * (activation == ACT_SILU ? g / (1.0 + exp(-g)) : g > 0.0 ? g * g : 0.0);
    }
    const double error = relative_error(values, expected, SAMPLES);
    printf("%-8s gated by %-8s rows %4d  cols %5d  outputs %5d  error %.1e\n", dtype_info(up_type)->name,
           dtype_info(type)->name, (int)n_rows, (int)cols, (int)n_ff, error);
    assert_true(error < 8e-3);
    for (size_t at = 0; at < n; at++)
        if (isnan(bf16_value(y[at]))) fail_msg("row %zu was not written", at / (size_t)n_ff);
    for (int i = 0; i < 2; i++) {
        gpu_ok(cudaFree(outputs[i].y));
        gpu_ok(cudaFree((void *)outputs[i].bias));
    }
    gpu_ok(cudaFree(out));
    gpu_ok(cudaFree(device_x));
    test_weight_free(&gate);
    test_weight_free(&up);
    free(gate_bias);
    free(y);
    free(x);
}

static void gated(void **state)
{
    (void)state;
    gpu_need();
    check_gated(DT_BF16, DT_BF16, 2, 1024, 300, ACT_SILU);
    check_gated(DT_Q4_K, DT_Q4_K, 40, 1024, 300, ACT_RELU2);
    check_gated(DT_Q4_K, DT_Q6_K, 40, 1024, 300, ACT_SILU);
    check_gated(DT_Q8_0, DT_Q8_0, 16, 4096, 200, ACT_SILU);
    check_gated(DT_Q4_K, DT_Q4_K, 100, 4096, 1000, ACT_SILU);
    check_gated(DT_BF16, DT_BF16, 300, 576, 1536, ACT_SILU);
    check_gated(DT_NVFP4, DT_NVFP4, 410, 1024, 770, ACT_SILU);
}

/* A row alone and the same row among many give the same bits. */
static void deterministic(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 150, COLS = 1536, OUTPUTS = 640 };
    static const DType types[] = {DT_BF16, DT_Q4_K, DT_Q8_0};
    gpu_queue.deterministic = true;
    for (int i = 0; i < 3; i++) {
        TestWeight weight = test_weight(types[i], OUTPUTS, COLS, false, 1.0f);
        uint16_t *x = random_bf16((size_t)ROWS * COLS), *device_x = gpu_copy(x, (size_t)ROWS * COLS * sizeof *x);
        const size_t bytes = (size_t)ROWS * OUTPUTS * sizeof(float);
        float *all = malloc(bytes), *part = malloc(bytes);
        const CudaOutput output = {&weight.weight, NULL, gpu_alloc(bytes)};
        cuda_gemm(&gpu_queue, device_x, ROWS, &output, 1);
        gpu_read(all, output.y, bytes);
        static const int32_t counts[] = {1, 2, 13, 16, 17, 63, 100};
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            const size_t first = ROWS - (size_t)counts[c], size = (size_t)counts[c] * OUTPUTS * sizeof(float);
            cuda_gemm(&gpu_queue, device_x + first * COLS, counts[c], &output, 1);
            gpu_read(part, output.y, size);
            assert_memory_equal(part, all + first * OUTPUTS, size);
        }
        gpu_ok(cudaFree(output.y));
        gpu_ok(cudaFree(device_x));
        test_weight_free(&weight);
        free(all);
        free(part);
        free(x);
    }
    gpu_queue.deterministic = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type), cmocka_unit_test(coded), cmocka_unit_test(ragged),
        cmocka_unit_test(panels),     cmocka_unit_test(gated), cmocka_unit_test(deterministic),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
