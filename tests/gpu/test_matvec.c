/* test_matvec.c - one row of activations against a sum in double precision over the values of src/quant. */
#include "compute/cuda/matvec.h"
#include "gpu_test.h"

static double activation_of(Activation activation, double limit, double gate, double up, bool gated)
{
    if (activation == ACT_SWIGLU_OAI) {
        const double most = limit > 0.0 ? limit : INFINITY;
        const double u = fmax(fmin(up, most), -most), g = gated ? fmin(gate, most) : u;
        const double glu = g / (1.0 + exp(-1.702 * g));
        return gated ? (u + 1.0) * glu : glu;
    }
    const double x = gated ? gate : up;
    double y = x;
    switch (activation) {
    case ACT_SILU:
        y = x / (1.0 + exp(-x));
        break;
    case ACT_GELU:
        y = 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
        break;
    case ACT_GELU_TANH:
        y = 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
        break;
    case ACT_RELU:
        y = x > 0.0 ? x : 0.0;
        break;
    case ACT_RELU2:
        y = x > 0.0 ? x * x : 0.0;
        break;
    default:
        break;
    }
    return gated ? y * up : y;
}

static void reference(const TestWeight *weight, const float *x, const float *bias, double *y)
{
    const int32_t rows = weight->weight.rows, cols = weight->weight.cols;
    for (int32_t r = 0; r < rows; r++) {
        double sum = bias != NULL ? (double)bias[r] : 0.0;
        for (int32_t c = 0; c < cols; c++)
            sum += (double)weight->values[(size_t)r * (size_t)cols + (size_t)c] * (double)x[c];
        y[r] = sum;
    }
}

/* Types whose activations are rounded to 16 bits; the others are computed in float32. */
static double tolerance(DType type) { return dtype_info(type)->block_elems > 1 ? 6e-5 : 2e-6; }

/* Errors are measured against the results, or against what their terms would add up to by chance, where terms cancel.
 */
static double cancelled(const TestWeight *weight, const float *x, size_t rows)
{
    const size_t cols = (size_t)weight->weight.cols;
    double size = 0.0;
    for (size_t i = 0; i < rows * cols; i++) {
        const double term = (double)weight->values[i] * (double)x[i % cols];
        size += term * term;
    }
    return sqrt(size);
}

static void check(const char *what, DType type, const float *device, const double *expected, size_t n, double least)
{
    float *out = malloc(n * sizeof *out);
    gpu_read(out, device, n * sizeof *out);
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)out[i] - expected[i]) * ((double)out[i] - expected[i]);
        size += expected[i] * expected[i];
    }
    const double error = sqrt(difference) / fmax(sqrt(size), least);
    if (!(error < tolerance(type))) fail_msg("%s, %s, %zu rows: error %g", what, dtype_info(type)->name, n, error);
    free(out);
}

static void check_product(DType type, int32_t rows, int32_t cols, bool extreme, bool with_bias)
{
    if (!gpu_takes(type, 100.0 * rows * cols)) return;
    TestWeight weight = test_weight(type, rows, cols, extreme, extreme ? 1e-6f : 1.5f);
    float *x = random_vector((size_t)cols), *bias = random_vector((size_t)rows);
    if (extreme)
        for (int32_t c = 0; c < cols; c++) x[c] *= c % 5 > 0 ? 1e-6f : c % 3 == 0 ? 1e-3f : 1e-9f;
    double *expected = malloc((size_t)rows * sizeof *expected);
    reference(&weight, x, with_bias ? bias : NULL, expected);
    float *device_x = gpu_copy(x, (size_t)cols * sizeof *x), *device_bias = gpu_copy(bias, (size_t)rows * sizeof *bias);
    float *y = gpu_alloc((size_t)rows * sizeof *y);
    const CudaOutput output = {&weight.weight, with_bias ? device_bias : NULL, y};
    cuda_matvec(&gpu_queue, device_x, &output, 1);
    check("product", type, y, expected, (size_t)rows, cancelled(&weight, x, (size_t)rows));
    gpu_ok(cudaFree(device_x));
    gpu_ok(cudaFree(device_bias));
    gpu_ok(cudaFree(y));
    free(x);
    free(bias);
    free(expected);
    test_weight_free(&weight);
}

static void test_products(void **state)
{
    (void)state;
    gpu_need();
    static const int32_t shapes[][2] = {{1, 256},     {3, 512},    {37, 768},   {300, 1024}, {64, 1280},
                                        {2049, 2048}, {128, 4096}, {517, 3072}, {61, 14336}, {16, 28672}};
    for (size_t t = 0; t < GPU_TYPES; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            check_product(gpu_types[t], shapes[s][0], shapes[s][1], false, s % 2 == 1);
        check_product(gpu_types[t], 65, 2304, true, false);
        check_product(gpu_types[t], 33, 4096, true, true);
    }
    for (int32_t cols = 32; cols <= 2112; cols += 160) check_product(DT_Q8_0, 21, cols, false, true);
    for (int32_t cols = 64; cols <= 2112; cols += 192) check_product(DT_NVFP4, 21, cols, false, false);
    for (size_t t = 0; t < 5; t++)
        for (int32_t cols = 1; cols < 1100; cols += 73) check_product(gpu_types[t], 9, cols, false, true);
}

/* Three matrices of different types over one input. */
static void test_mixed(void **state)
{
    (void)state;
    gpu_need();
    enum { COLS = 2048 };
    static const DType types[][3] = {
        {DT_Q4_K, DT_Q4_K, DT_Q6_K}, {DT_BF16, DT_Q8_0, DT_F32}, {DT_Q5_0, DT_IQ4_XS, DT_F8_E4M3}};
    static const int32_t rows[3] = {2048, 512, 517};
    float *x = random_vector(COLS), *device_x = gpu_copy(x, COLS * sizeof *x);
    for (size_t i = 0; i < 3; i++) {
        TestWeight weights[3];
        CudaOutput outputs[3];
        for (int o = 0; o < 3; o++) {
            weights[o] = test_weight(types[i][o], rows[o], COLS, false, 1.0f);
            outputs[o] = (CudaOutput){&weights[o].weight, NULL, gpu_alloc((size_t)rows[o] * sizeof(float))};
        }
        cuda_matvec(&gpu_queue, device_x, outputs, 3);
        for (int o = 0; o < 3; o++) {
            double *expected = malloc((size_t)rows[o] * sizeof *expected);
            reference(&weights[o], x, NULL, expected);
            check("mixed", types[i][o], outputs[o].y, expected, (size_t)rows[o],
                  cancelled(&weights[o], x, (size_t)rows[o]));
            free(expected);
            gpu_ok(cudaFree(outputs[o].y));
            test_weight_free(&weights[o]);
        }
    }
    gpu_ok(cudaFree(device_x));
    free(x);
}

static void check_gated(DType gate_type, DType up_type, Activation activation, float limit, bool gated, bool with_bias)
{
    enum { ROWS = 771, COLS = 1536 };
    if (!gpu_takes(up_type, 0.0)) return;
    TestWeight gate = test_weight(gate_type, ROWS, COLS, false, 1.0f),
               up = test_weight(up_type, ROWS, COLS, false, 0.5f);
    float *x = random_vector(COLS), *bias = random_vector(2 * ROWS);
    double *expected_gate = malloc(ROWS * sizeof(double)), *expected = malloc(ROWS * sizeof(double));
    reference(&gate, x, with_bias ? bias : NULL, expected_gate);
    reference(&up, x, with_bias ? bias + ROWS : NULL, expected);
    for (int r = 0; r < ROWS; r++)
        expected[r] = activation_of(activation, (double)limit, expected_gate[r], expected[r], gated);
    float *device_x = gpu_copy(x, COLS * sizeof *x), *device_bias = gpu_copy(bias, 2 * ROWS * sizeof *bias);
    float *y = gpu_alloc(ROWS * sizeof *y);
    const CudaOutput gate_output = {&gate.weight, with_bias ? device_bias : NULL, NULL};
    const CudaOutput up_output = {&up.weight, with_bias ? device_bias + ROWS : NULL, NULL};
    cuda_matvec_gated(&gpu_queue, device_x, gated ? &gate_output : NULL, &up_output, activation, limit, y);
    check("gated", up_type, y, expected, ROWS, 0.0);
    gpu_ok(cudaFree(device_x));
    gpu_ok(cudaFree(device_bias));
    gpu_ok(cudaFree(y));
    free(x);
    free(bias);
    free(expected);
    free(expected_gate);
    test_weight_free(&gate);
    test_weight_free(&up);
}

static void test_gated(void **state)
{
    (void)state;
    gpu_need();
    static const Activation activations[] = {ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_RELU, ACT_RELU2, ACT_SWIGLU_OAI};
    for (size_t a = 0; a < sizeof activations / sizeof activations[0]; a++) {
        check_gated(DT_Q8_0, DT_Q8_0, activations[a], 7.0f, true, true);
        check_gated(DT_BF16, DT_BF16, activations[a], 0.0f, false, false);
    }
    for (size_t t = 0; t < GPU_TYPES; t++) check_gated(gpu_types[t], gpu_types[t], ACT_SILU, 0.0f, true, false);
    check_gated(DT_Q4_K, DT_Q6_K, ACT_SILU, 0.0f, true, true);
    check_gated(DT_F32, DT_F32, ACT_GELU_TANH, 0.0f, true, true);
}

/* One bad activation must not come out as a number. */
static void test_not_finite(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 40, COLS = 1024 };
    static const float bad[] = {NAN, INFINITY};
    for (size_t t = 0; t < GPU_TYPES; t++) {
        TestWeight weight = test_weight(gpu_types[t], ROWS, COLS, false, 1.0f);
        for (int b = 0; b < 2; b++) {
            float *x = random_vector(COLS), out[ROWS];
            x[777] = bad[b];
            float *device_x = gpu_copy(x, COLS * sizeof *x), *y = gpu_alloc(sizeof out);
            const CudaOutput output = {&weight.weight, NULL, y};
            cuda_matvec(&gpu_queue, device_x, &output, 1);
            gpu_read(out, y, sizeof out);
            for (int r = 0; r < ROWS; r++) assert_true(!isfinite(out[r]));
            gpu_ok(cudaFree(device_x));
            gpu_ok(cudaFree(y));
            free(x);
        }
        test_weight_free(&weight);
    }
}

/* F32: right, and the same bits for a row alone and among others. */
static void test_linear_f32(void **state)
{
    (void)state;
    gpu_need();
    static const int32_t shapes[][2] = {{1, 1}, {5, 37}, {128, 2048}, {33, 4099}, {300, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        enum { N = 11 };
        const int32_t rows = shapes[s][0], cols = shapes[s][1];
        TestWeight weight = test_weight(DT_F32, rows, cols, false, 1.0f);
        float *x = random_vector((size_t)(N * cols)), *bias = random_vector((size_t)rows);
        float *device_x = gpu_copy(x, (size_t)(N * cols) * sizeof *x),
              *device_bias = gpu_copy(bias, (size_t)rows * sizeof *bias);
        float *y = gpu_alloc((size_t)(N * rows) * sizeof *y), *single = gpu_alloc((size_t)rows * sizeof *single);
        float *out = malloc((size_t)(N * rows) * sizeof *out), *out_single = malloc((size_t)rows * sizeof *out_single);
        double *expected = malloc((size_t)rows * sizeof *expected);
        CudaOutput output = {&weight.weight, device_bias, y};
        cuda_linear_f32(&gpu_queue, device_x, N, &output, 1);
        gpu_read(out, y, (size_t)(N * rows) * sizeof *out);
        for (int32_t r = 0; r < N; r++) {
            reference(&weight, x + r * cols, bias, expected);
            assert_true(relative_error(out + r * rows, expected, (size_t)rows) < 2e-6);
            output.y = single;
            /* A copy: a row may lie at any 4 bytes. */
            cuda_linear_f32(&gpu_queue, device_x + r * cols, 1, &output, 1);
            gpu_read(out_single, single, (size_t)rows * sizeof *out_single);
            assert_memory_equal(out_single, out + r * rows, (size_t)rows * sizeof *out_single);
        }
        gpu_ok(cudaFree(device_x));
        gpu_ok(cudaFree(device_bias));
        gpu_ok(cudaFree(y));
        gpu_ok(cudaFree(single));
        free(x);
        free(bias);
        free(out);
        free(out_single);
        free(expected);
        test_weight_free(&weight);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),   cmocka_unit_test(test_mixed),      cmocka_unit_test(test_gated),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_linear_f32),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
