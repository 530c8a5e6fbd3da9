/*
 * test_block_scaled.c - products whose tensor instructions scale blocks themselves, against sums in double precision.
 *
 * On a card without these instructions an emulation of them takes their place, lane for lane (block_scaled.cuh);
 * everything else is what runs on one that has them. MXFP4 takes all of bfloat16 but its rarest: nothing is left but
 * float32 sums. NVFP4 meets x in three terms, less than half a rounding to bfloat16 away.
 */
#include "gpu_test.h"

#include "compute/cuda/block_scaled.h"

#include <stdio.h>

static float bf16_value(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static uint16_t bf16_bits(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return (uint16_t)(word >> 16);
}

static uint16_t *random_bf16(size_t n)
{
    uint16_t *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = bf16_bits(random_normal());
    return values;
}

static double dot(const uint16_t *x, const float *w, int32_t cols)
{
    double sum = 0.0;
    for (int32_t k = 0; k < cols; k++) sum += (double)bf16_value(x[k]) * (double)w[k];
    return sum;
}

/* How large a sum of such terms is, had they random signs: what its error is measured against. A term's error depends
 * on the largest x of its group. */
static double size_of(const uint16_t *x, const float *w, int32_t cols)
{
    enum { GROUP = 16 };
    double squares = 0.0;
    for (int32_t first = 0; first < cols; first += GROUP) {
        double largest = 0.0, weights = 0.0;
        for (int32_t k = first; k < first + GROUP; k++) {
            largest = fmax(largest, fabs((double)bf16_value(x[k])));
            weights += (double)w[k] * (double)w[k];
        }
        squares += largest * largest * weights;
    }
    return sqrt(squares);
}

/* Errors so far. */
typedef struct Errors {
    double difference, size;
} Errors;

static void add_error(Errors *errors, double difference, double size)
{
    errors->difference += difference * difference;
    errors->size += size * size;
}

/* A NaN stays one. */
static double error_of(const Errors *errors) { return sqrt(errors->difference / errors->size); }

static double limit_of(DType type) { return type == DT_MXFP4 ? 1e-6 : 6e-4; }

/* ---- shapes ---- */

enum { SAMPLES = 16 }; /* columns of each output that are compared, the last ones among them */

static int32_t sampled(int s, int32_t rows)
{
    const int32_t last = rows - 1 - s;
    return s < 6 || rows <= SAMPLES ? (last > 0 ? last : 0) : (int32_t)(random_u32() % (uint32_t)rows);
}

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
    assert_true(block_scaled_possible(&gpu_queue, device_x, outputs, n_outputs));
    block_scaled_product(&gpu_queue, device_x, n_rows, outputs, n_outputs, NULL);
    for (int32_t i = 0; i < n_outputs; i++) {
        const size_t n = (size_t)n_rows * (size_t)rows[i];
        float *y = malloc((n + 1) * sizeof *y);
        Errors errors = {0};
        gpu_read(y, outputs[i].y, (n + 1) * sizeof *y);
        for (int s = 0; s < SAMPLES; s++) {
            const int32_t column = sampled(s, rows[i]);
            const float *w = weights[i].values + (size_t)column * (size_t)cols;
            for (int32_t r = 0; r < n_rows; r++) {
                const uint16_t *row = x + (size_t)r * (size_t)cols;
                const double expected = dot(row, w, cols) + (bias ? (double)biases[i][column] : 0.0);
                const double size = size_of(row, w, cols);
                const double difference = (double)y[(size_t)r * (size_t)rows[i] + (size_t)column] - expected;
                add_error(&errors, difference, size);
                if (!(fabs(difference) < 5.0 * limit_of(type) * size))
                    fail_msg("%s row %d column %d: off by %g", dtype_info(type)->name, (int)r, (int)column, difference);
            }
        }
        printf("%-6s rows %4d  cols %5d  outputs %5d%s  error %.1e\n", dtype_info(type)->name, (int)n_rows, (int)cols,
               (int)rows[i], bias ? " + bias" : "       ", error_of(&errors));
        assert_true(error_of(&errors) < limit_of(type) || (n < 16 && error_of(&errors) < 5.0 * limit_of(type)));
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

static const DType types[] = {DT_NVFP4, DT_MXFP4};

static void shapes(void **state)
{
    (void)state;
    gpu_need();
    for (int i = 0; i < 2; i++) {
        check_linear(types[i], 17, 128, (int32_t[]){128}, 1, false);
        check_linear(types[i], 32, 512, (int32_t[]){200}, 1, true);
        check_linear(types[i], 19, 2560, (int32_t[]){130, 64, 34}, 3, true);
        check_linear(types[i], 64, 1024, (int32_t[]){1000}, 1, false);
        check_linear(types[i], 128, 4096, (int32_t[]){256}, 1, false);
        check_linear(types[i], 200, 768, (int32_t[]){400, 30}, 2, true);
    }
}

/* Ends within a span, a step, a tile; one row, one column. */
static void ragged(void **state)
{
    (void)state;
    gpu_need();
    for (int i = 0; i < 2; i++) {
        check_linear(types[i], 1, 64, (int32_t[]){1}, 1, true);
        check_linear(types[i], 33, 192, (int32_t[]){31}, 1, true);
        check_linear(types[i], 129, 320, (int32_t[]){129}, 1, false);
        check_linear(types[i], 5, 64, (int32_t[]){3, 1, 7}, 3, true);
        check_linear(types[i], 257, 576, (int32_t[]){10}, 1, false);
    }
    check_linear(DT_MXFP4, 40, 32, (int32_t[]){20}, 1, true); /* half a step */
    check_linear(DT_MXFP4, 130, 352, (int32_t[]){140}, 1, false);
    check_linear(DT_MXFP4, 20, 224, (int32_t[]){9}, 1, true);
}

/* A workspace that holds a few rows in terms. */
static void pieces(void **state)
{
    (void)state;
    gpu_need();
    const size_t whole = gpu_queue.workspace_bytes;
    for (int i = 0; i < 2; i++) {
        gpu_queue.workspace_bytes = block_scaled_row_bytes(types[i], 640) * 50;
        check_linear(types[i], 170, 640, (int32_t[]){150, 66}, 2, true);
    }
    gpu_queue.workspace_bytes = whole;
}

/* ---- gate and up ---- */

static void check_gated(DType type, int32_t n_rows, int32_t cols, int32_t n_ff, Activation activation)
{
    if (!gpu_takes(type, 2.0 * n_rows * cols * n_ff)) return;
    uint16_t *x = random_bf16((size_t)n_rows * (size_t)cols);
    uint16_t *device_x = gpu_copy(x, (size_t)n_rows * (size_t)cols * sizeof *x);
    TestWeight gate = test_weight(type, n_ff, cols, false, 1.0f), up = test_weight(type, n_ff, cols, false, 0.5f);
    float *gate_bias = random_vector((size_t)n_ff);
    const size_t n = (size_t)n_rows * (size_t)n_ff;
    const CudaOutput outputs[2] = {
        {&gate.weight, gpu_copy(gate_bias, (size_t)n_ff * sizeof(float)), NULL},
        {&up.weight, NULL, NULL},
    };
    uint16_t *out = gpu_alloc(n * sizeof *out), *y = malloc(n * sizeof *y);
    const GemmGate spec = {activation, 0.0f, out, (size_t)n_ff};
    block_scaled_product(&gpu_queue, device_x, n_rows, outputs, 2, &spec);
    gpu_read(y, out, n * sizeof *y);
    float *values = malloc((size_t)n_rows * SAMPLES * sizeof *values);
    double *expected = malloc((size_t)n_rows * SAMPLES * sizeof *expected);
    for (int s = 0; s < SAMPLES; s++) {
        const int32_t column = sampled(s, n_ff);
        const size_t at = (size_t)column * (size_t)cols;
        for (int32_t r = 0; r < n_rows; r++) {
            const double g = dot(x + (size_t)r * (size_t)cols, gate.values + at, cols) + (double)gate_bias[column];
            const double u = dot(x + (size_t)r * (size_t)cols, up.values + at, cols);
            values[r * SAMPLES + s] = bf16_value(y[(size_t)r * (size_t)n_ff + (size_t)column]);
            expected[r * SAMPLES + s] = u * (activation == ACT_SILU ? g / (1.0 + exp(-g)) : g > 0.0 ? g * g : 0.0);
        }
    }
    const double error = relative_error(values, expected, (size_t)n_rows * SAMPLES);
    printf("%-6s gated rows %4d  cols %5d  outputs %5d  error %.1e\n", dtype_info(type)->name, (int)n_rows, (int)cols,
           (int)n_ff, error);
    assert_true(error < 3e-3);
    for (size_t at = 0; at < n; at++)
        if (isnan(bf16_value(y[at]))) fail_msg("row %zu was not written", at / (size_t)n_ff);
    gpu_ok(cudaFree((void *)outputs[0].bias));
    gpu_ok(cudaFree(out));
    gpu_ok(cudaFree(device_x));
    test_weight_free(&gate);
    test_weight_free(&up);
    free(expected);
    free(values);
    free(gate_bias);
    free(y);
    free(x);
}

static void gated(void **state)
{
    (void)state;
    gpu_need();
    for (int i = 0; i < 2; i++) {
        check_gated(types[i], 20, 512, 300, ACT_SILU);
        check_gated(types[i], 257, 1024, 130, ACT_RELU2);
    }
}

/* ---- numbers at the ends of their ranges ---- */

enum { EDGE_ROWS = 20, EDGE_COLS = 320, EDGE_OUTPUTS = 40 };

/* Weights whose row n has the scale code codes[n % n_codes] in every block, and values on the host. */
static TestWeight edge_weight(DType type, const uint8_t *codes, int n_codes)
{
    const DTypeInfo *info = dtype_info(type);
    TestWeight out = {0};
    const size_t n = (size_t)EDGE_OUTPUTS * EDGE_COLS, blocks = n / info->block_elems;
    const size_t row_blocks = EDGE_COLS / info->block_elems;
    uint8_t *raw = malloc(blocks * info->block_bytes);
    random_blocks(type, raw, blocks, false);
    for (size_t i = 0; i < blocks; i++)
        memset(raw + i * info->block_bytes, codes[i / row_blocks % (size_t)n_codes], type == DT_NVFP4 ? 4 : 1);
    out.values = malloc(n * sizeof *out.values);
    info->decode(raw, out.values, n);
    out.memory = gpu_alloc(cuda_weight_bytes(type, EDGE_OUTPUTS, EDGE_COLS));
    cuda_weight_place(&out.weight, type, EDGE_OUTPUTS, EDGE_COLS, out.memory);
    void *device_raw = gpu_copy(raw, blocks * info->block_bytes);
    cuda_weight_relay(&gpu_queue, &out.weight, device_raw, 0, EDGE_OUTPUTS);
    gpu_wait();
    gpu_ok(cudaFree(device_raw));
    free(raw);
    return out;
}

/* y [EDGE_ROWS][EDGE_OUTPUTS], to be freed. */
static float *edge_product(const TestWeight *weight, const uint16_t *x)
{
    const size_t bytes = EDGE_ROWS * EDGE_OUTPUTS * sizeof(float);
    uint16_t *device_x = gpu_copy(x, EDGE_ROWS * EDGE_COLS * sizeof *x);
    const CudaOutput output = {&weight->weight, NULL, gpu_alloc(bytes)};
    float *y = malloc(bytes);
    block_scaled_product(&gpu_queue, device_x, EDGE_ROWS, &output, 1, NULL);
    gpu_read(y, output.y, bytes);
    gpu_ok(cudaFree(output.y));
    gpu_ok(cudaFree(device_x));
    return y;
}

/* Errors of each weight row over all rows of x: scales of different rows do not hide each other. */
static void check_edges(DType type, const uint8_t *codes, int n_codes, const uint16_t *x, double limit)
{
    TestWeight weight = edge_weight(type, codes, n_codes);
    float *y = edge_product(&weight, x);
    for (int32_t n = 0; n < EDGE_OUTPUTS; n++) {
        for (int32_t r = 0; r < EDGE_ROWS; r++) {
            const uint16_t *row = x + r * EDGE_COLS;
            const float *w = weight.values + n * EDGE_COLS;
            const double exact = dot(row, w, EDGE_COLS), size = size_of(row, w, EDGE_COLS);
            const double error = fabs((double)y[r * EDGE_OUTPUTS + n] - exact);
            if (!(error <= limit * size))
                fail_msg("%s, scale code %d, row %d: %g for %g, terms of size %g", dtype_info(type)->name,
                         codes[n % n_codes], (int)r, (double)y[r * EDGE_OUTPUTS + n], exact, size);
        }
    }
    test_weight_free(&weight);
    free(y);
}

/* Rows of very different sizes, zeros, and rows with one element far above the others. */
static uint16_t *edge_rows(void)
{
    static const float sizes[] = {1.0f, 0.0f, 0x1p60f, 0x1p-20f, 448.0f, 6.0f, 3.0f, 1e-3f, 0x1p40f, 2688.0f};
    uint16_t *x = malloc(EDGE_ROWS * EDGE_COLS * sizeof *x);
    for (int r = 0; r < EDGE_ROWS; r++)
        for (int k = 0; k < EDGE_COLS; k++) {
            float value = sizes[r % 10] * (r >= 10 && k % 3 == 0 ? 1.0f : random_normal());
            if (r >= 15 && k == 7 * r) value *= 1000.0f;
            if (r % 4 == 1 && k / 16 % 2 == 0) value = 0.0f; /* whole groups */
            x[r * EDGE_COLS + k] = bf16_bits(value);
        }
    return x;
}

static void edges(void **state)
{
    (void)state;
    gpu_need();
    /* ue4m3: zero, subnormal, the smallest normal, one, the largest; ue8m0: subnormal as a float, small, one, large. */
    static const uint8_t nvfp4[] = {0x00, 0x01, 0x07, 0x08, 0x38, 0x7E}, mxfp4[] = {20, 40, 126, 127, 128, 180};
    static const uint8_t smallest[] = {0, 1, 2};
    uint16_t *x = edge_rows();
    check_edges(DT_NVFP4, nvfp4, sizeof nvfp4, x, 3e-3);
    check_edges(DT_MXFP4, mxfp4, sizeof mxfp4, x, 5e-6);
    for (int i = 0; i < EDGE_ROWS * EDGE_COLS; i++) x[i] = bf16_bits(ldexpf(random_normal(), 40));
    check_edges(DT_MXFP4, smallest, sizeof smallest, x, 5e-6);
    free(x);
}

/* An infinity or a NaN in a row of x is that row's alone. */
static void not_finite(void **state)
{
    (void)state;
    gpu_need();
    static const uint8_t code[] = {0x38}, power[] = {127};
    for (int i = 0; i < 2; i++) {
        uint16_t *x = random_bf16(EDGE_ROWS * EDGE_COLS);
        x[3 * EDGE_COLS + 100] = 0x7F80;
        x[5 * EDGE_COLS + 319] = 0x7FC0;
        TestWeight weight = edge_weight(types[i], i == 0 ? code : power, 1);
        float *y = edge_product(&weight, x);
        for (int r = 0; r < EDGE_ROWS; r++)
            for (int n = 0; n < EDGE_OUTPUTS; n++)
                assert_int_equal(isnan(y[r * EDGE_OUTPUTS + n]) != 0, r == 3 || r == 5);
        test_weight_free(&weight);
        free(y);
        free(x);
    }
}

/* A row alone, among few and among many: the same bits. */
static void same_bits(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 150, COLS = 1536, OUTPUTS = 300 };
    for (int i = 0; i < 2; i++) {
        TestWeight weight = test_weight(types[i], OUTPUTS, COLS, false, 1.0f);
        uint16_t *x = random_bf16((size_t)ROWS * COLS), *device_x = gpu_copy(x, (size_t)ROWS * COLS * sizeof *x);
        const size_t bytes = (size_t)ROWS * OUTPUTS * sizeof(float);
        float *all = malloc(bytes), *part = malloc(bytes);
        const CudaOutput output = {&weight.weight, NULL, gpu_alloc(bytes)};
        block_scaled_product(&gpu_queue, device_x, ROWS, &output, 1, NULL);
        gpu_read(all, output.y, bytes);
        static const int32_t counts[] = {1, 17, 32, 33, 100};
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            const size_t first = ROWS - (size_t)counts[c], size = (size_t)counts[c] * OUTPUTS * sizeof(float);
            block_scaled_product(&gpu_queue, device_x + first * COLS, counts[c], &output, 1, NULL);
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes), cmocka_unit_test(ragged),     cmocka_unit_test(pieces),    cmocka_unit_test(gated),
        cmocka_unit_test(edges),  cmocka_unit_test(not_finite), cmocka_unit_test(same_bits),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
