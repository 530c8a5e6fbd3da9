/*
 * test_rowwise.c - norms, residuals, activations, short convolution and gathering on the GPU against a reference in
 * double precision.
 */
#include "gpu_test.h"

#include "compute/cuda/rowwise.h"

static float *upload(const float *host, size_t n) { return gpu_copy(host, n * sizeof *host); }

static float *download(const float *device, size_t n)
{
    float *host = malloc(n * sizeof *host);
    gpu_read(host, device, n * sizeof *host);
    return host;
}

/* The bfloat16 form must be the float32 form, rounded. */
static void check_forms(const CudaAct *act, size_t n)
{
    float *f32 = download(act->f32, n);
    uint16_t *bf16 = malloc(n * sizeof *bf16);
    gpu_read(bf16, act->bf16, n * sizeof *bf16);
    for (size_t i = 0; i < n; i++) assert_int_equal(bf16[i], f32_to_bf16(f32[i]));
    free(f32);
    free(bf16);
}

static CudaAct act_alloc(size_t n) { return (CudaAct){gpu_alloc(n * sizeof(float)), gpu_alloc(n * sizeof(uint16_t))}; }

static void act_free(CudaAct *act)
{
    gpu_ok(cudaFree(act->f32));
    gpu_ok(cudaFree(act->bf16));
}

static void check(const char *what, int32_t width, const float *out, const double *ref, size_t n, double tolerance)
{
    const double error = relative_error(out, ref, n);
    if (!(error <= tolerance)) fail_msg("%s of %d: error %.2e", what, width, error);
}

/* ---- residual and norm ---- */

static void ref_norm(NormKind kind, double eps, const float *weight, const float *bias, double *x, int32_t n)
{
    if (kind == NORM_NONE) return;
    double mean = 0.0, squares = 0.0;
    for (int32_t i = 0; i < n && kind == NORM_LAYER; i++) mean += x[i] / n;
    for (int32_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean) / n;
    for (int32_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) / sqrt(squares + eps) * (weight != NULL ? (double)weight[i] : 1.0) +
               (bias != NULL ? (double)bias[i] : 0.0);
}

typedef struct ResidualCase {
    NormKind norm, post_norm;
    bool has_y, has_out, bias;
    float multiplier, scale, range;
} ResidualCase;

static void run_residual(const ResidualCase *c, int32_t rows, int32_t width)
{
    const size_t n = (size_t)rows * (size_t)width;
    float *x = random_vector(n), *y = random_vector(n), *weight = random_vector((size_t)width);
    float *post = random_vector((size_t)width), *bias = random_vector((size_t)width);
    for (size_t i = 0; i < n; i++) x[i] *= c->range;
    float *dx = upload(x, n), *dy = upload(y, n), *dw = upload(weight, (size_t)width);
    float *dp = upload(post, (size_t)width), *db = upload(bias, (size_t)width);
    const CudaNorm norm = {c->norm, 1e-5f, dw, c->bias ? db : NULL}, post_norm = {c->post_norm, 1e-6f, dp, NULL};
    CudaAct out = act_alloc(n);
    cuda_residual_norm(&gpu_queue, rows, width, dx, c->has_y ? dy : NULL, &post_norm, c->multiplier, c->scale,
                       c->has_out ? &norm : NULL, CUDA_FORM_F32 | CUDA_FORM_BF16, &out);
    double *sum = malloc(n * sizeof *sum), *normed = malloc(n * sizeof *normed), *part = malloc(n * sizeof *part);
    for (int32_t r = 0; r < rows; r++) {
        double *row = sum + (size_t)r * (size_t)width, *last = normed + (size_t)r * (size_t)width;
        for (int32_t i = 0; i < width; i++) part[i] = (double)y[(size_t)r * (size_t)width + (size_t)i];
        ref_norm(c->post_norm, 1e-6, post, NULL, part, width);
        for (int32_t i = 0; i < width; i++) {
            row[i] = (double)x[(size_t)r * (size_t)width + (size_t)i];
            if (c->has_y) row[i] += (double)c->multiplier * part[i];
            last[i] = row[i] *= (double)c->scale;
        }
        ref_norm(c->norm, 1e-5, weight, c->bias ? bias : NULL, last, width);
    }
    float *x_after = download(dx, n);
    check("residual", width, x_after, sum, n, 1e-6);
    if (c->has_out) {
        float *out_after = download(out.f32, n);
        check("norm", width, out_after, normed, n, 1e-6);
        check_forms(&out, n);
        free(out_after);
    }
    act_free(&out);
    cudaFree(dx), cudaFree(dy), cudaFree(dw), cudaFree(dp), cudaFree(db);
    free(x), free(y), free(weight), free(post), free(bias), free(sum), free(normed), free(part), free(x_after);
}

static void test_residual_norm(void **state)
{
    (void)state;
    gpu_need();
    static const ResidualCase cases[] = {
        {NORM_RMS, NORM_NONE, true, true, false, 1.0f, 1.0f, 1.0f},
        {NORM_RMS, NORM_RMS, true, true, false, 0.22f, 1.7f, 1.0f},
        {NORM_LAYER, NORM_NONE, true, true, true, 1.0f, 1.0f, 3.0f},
        {NORM_LAYER, NORM_LAYER, true, true, false, 1.0f, 0.5f, 1.0f},
        {NORM_RMS, NORM_NONE, false, true, true, 1.0f, 1.0f, 1e12f},
        {NORM_RMS, NORM_NONE, false, true, false, 1.0f, 1.0f, 1e-3f},
        {NORM_NONE, NORM_NONE, true, false, false, 2.0f, 1.0f, 1.0f},
        {NORM_NONE, NORM_NONE, false, true, false, 1.0f, 1.0f, 1.0f},
    };
    static const int32_t widths[] = {1, 30, 32, 64, 576, 2048, 2881, 4096, 5120, 8192, 16384};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
            for (int32_t rows = 1; rows <= 7; rows += 6) {
                /* A layer norm of one element divides nothing by next to nothing. */
                if (widths[w] == 1 && (cases[c].norm == NORM_LAYER || cases[c].post_norm == NORM_LAYER)) continue;
                run_residual(&cases[c], rows, widths[w]);
            }
}

/* A row's bits do not depend on how many rows there are. */
static void test_norm_bits(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 70, WIDTH = 3072 };
    float *x = random_vector(ROWS * WIDTH), *device = upload(x, ROWS * WIDTH);
    const CudaNorm norm = {NORM_RMS, 1e-5f, NULL, NULL};
    CudaAct all = act_alloc(ROWS * WIDTH), one = act_alloc(WIDTH);
    cuda_residual_norm(&gpu_queue, ROWS, WIDTH, device, NULL, NULL, 1.0f, 1.0f, &norm, CUDA_FORM_F32, &all);
    cuda_residual_norm(&gpu_queue, 1, WIDTH, device + 41 * WIDTH, NULL, NULL, 1.0f, 1.0f, &norm, CUDA_FORM_F32, &one);
    float *many = download(all.f32, ROWS * WIDTH), *alone = download(one.f32, WIDTH);
    assert_memory_equal(many + 41 * WIDTH, alone, WIDTH * sizeof(float));
    act_free(&all), act_free(&one);
    free(x), free(many), free(alone), cudaFree(device);
}

/* ---- activations ---- */

static double ref_activation(Activation activation, double x)
{
    switch (activation) {
    case ACT_SILU: return x / (1.0 + exp(-x));
    case ACT_GELU: return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case ACT_GELU_TANH: return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
    case ACT_RELU: return x > 0.0 ? x : 0.0;
    default: return x > 0.0 ? x * x : 0.0;
    }
}

static double ref_gated(Activation activation, double limit, const double *gate, double up)
{
    if (activation != ACT_SWIGLU_OAI)
        return gate != NULL ? ref_activation(activation, *gate) * up : ref_activation(activation, up);
    const double most = limit > 0.0 ? limit : INFINITY;
    const double u = fmax(fmin(up, most), -most), g = gate != NULL ? fmin(*gate, most) : u;
    return (gate != NULL ? u + 1.0 : 1.0) * g / (1.0 + exp(-1.702 * g));
}

static void test_activate(void **state)
{
    (void)state;
    gpu_need();
    for (int activation = ACT_SILU; activation <= ACT_SWIGLU_OAI; activation++)
        for (int variant = 0; variant < 4; variant++) {
            const int32_t rows = variant % 2 == 0 ? 1 : 5, width = variant % 2 == 0 ? 4096 : 333;
            const bool has_gate = variant < 2;
            const float limit = variant == 0 ? 7.0f : 0.0f;
            const size_t n = (size_t)rows * (size_t)width;
            float *gate = random_vector(n), *up = random_vector(n);
            for (size_t i = 0; i < n; i++) gate[i] *= i % 3 == 0 ? 30.0f : 1.0f, up[i] *= i % 7 == 0 ? 100.0f : 1.0f;
            float *dg = upload(gate, n), *du = upload(up, n);
            CudaAct out = act_alloc(n);
            cuda_activate(&gpu_queue, rows, width, (Activation)activation, limit, has_gate ? dg : NULL, du,
                          CUDA_FORM_F32 | CUDA_FORM_BF16, &out);
            double *ref = malloc(n * sizeof *ref);
            for (size_t i = 0; i < n; i++) {
                const double g = (double)gate[i];
                ref[i] = ref_gated((Activation)activation, (double)limit, has_gate ? &g : NULL, (double)up[i]);
            }
            float *after = download(out.f32, n);
            check("activation", activation, after, ref, n, 1e-6);
            check_forms(&out, n);
            /* Each element, not only the large ones. */
            for (size_t i = 0; i < n; i++) assert_true(fabs((double)after[i] - ref[i]) <= 1e-5 * fabs(ref[i]) + 1e-6);
            act_free(&out);
            cudaFree(dg), cudaFree(du), free(gate), free(up), free(ref), free(after);
        }
}

/* ---- short convolution ---- */

static void test_short_conv(void **state)
{
    (void)state;
    gpu_need();
    enum { CHANNELS = 200, SLOTS = 5, ROWS = 160, SEQUENCES = 3 };
    static const int32_t steps[][SEQUENCES] = {{40, 1, 3}, {1, 1, 33}, {1, 2, 64}, {0, 90, 32}, {5, 1, 1}};
    for (int32_t width = 1; width <= 5; width += 2) {
        const size_t past = (size_t)width - 1;
        float *taps = random_vector((size_t)(CHANNELS * width)), *bias = random_vector(CHANNELS);
        float *dt = upload(taps, (size_t)(CHANNELS * width)), *db = upload(bias, CHANNELS);
        float *state_rows = calloc(SLOTS * (past + 1) * CHANNELS, sizeof(float));
        float *ds = upload(state_rows, SLOTS * (past + 1) * CHANNELS);
        double *inputs =
            calloc((size_t)SEQUENCES * (5 * ROWS + 8) * CHANNELS, sizeof *inputs); /* B * x, after 8 zeros */
        int32_t length[SEQUENCES] = {8, 8, 8};
        const ShortConv spec = {.width = width, .channels = CHANNELS};
        for (size_t step = 0; step < sizeof steps / sizeof steps[0]; step++) {
            int32_t arrays[4][SEQUENCES] = {{0}}, n = 0, rows = 0;
            int32_t owner[SEQUENCES];
            for (int32_t s = 0; s < SEQUENCES; s++) {
                if (steps[step][s] == 0) continue;
                owner[n] = s;
                arrays[0][n] = rows, arrays[1][n] = steps[step][s], arrays[2][n] = SLOTS - 1 - s;
                rows += steps[step][s];
                n++;
            }
            int32_t *da = gpu_copy(arrays, sizeof arrays);
            const CudaBatch batch = {.n_rows = rows,
                                     .n_sequences = n,
                                     .max_sequence_rows = ROWS,
                                     .first_row = da,
                                     .sequence_rows = da + SEQUENCES,
                                     .state_slot = da + 2 * SEQUENCES};
            float *bcx = random_vector((size_t)(rows * 3 * CHANNELS)), *dx = upload(bcx, (size_t)(rows * 3 * CHANNELS));
            const size_t total = (size_t)(rows * CHANNELS);
            CudaAct out = act_alloc(total);
            cuda_short_conv(&gpu_queue, &batch, &spec, dt, db, ds, dx, CUDA_FORM_F32 | CUDA_FORM_BF16, &out);
            double *ref = malloc(total * sizeof *ref);
            for (int32_t i = 0; i < n; i++)
                for (int32_t r = 0; r < arrays[1][i]; r++)
                    for (int32_t c = 0; c < CHANNELS; c++) {
                        const float *row = bcx + (size_t)(arrays[0][i] + r) * 3 * CHANNELS;
                        double *column = inputs + ((size_t)owner[i] * (5 * ROWS + 8)) * CHANNELS + c,
                               sum = (double)bias[c];
                        const int32_t at = length[owner[i]] + r;
                        column[(size_t)at * CHANNELS] = (double)row[c] * (double)row[2 * CHANNELS + c];
                        for (int32_t t = 0; t < width; t++)
                            sum += (double)taps[c * width + t] * column[(size_t)(at - width + 1 + t) * CHANNELS];
                        ref[(arrays[0][i] + r) * CHANNELS + c] = sum * (double)row[CHANNELS + c];
                    }
            for (int32_t i = 0; i < n; i++) length[owner[i]] += arrays[1][i];
            float *after = download(out.f32, total);
            check("short convolution", width, after, ref, total, 1e-6);
            check_forms(&out, total);
            act_free(&out);
            cudaFree(da), cudaFree(dx), free(bcx), free(ref), free(after);
        }
        cudaFree(dt), cudaFree(db), cudaFree(ds), free(taps), free(bias), free(state_rows), free(inputs);
    }
}

/* ---- gathering, logits ---- */

static void test_gather_rows(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 9, WIDTH = 77, WANTED = 4 };
    static const int32_t wanted[WANTED] = {8, 0, 3, 3};
    float *x = random_vector(ROWS * WIDTH);
    CudaAct from = {upload(x, ROWS * WIDTH), NULL}, out = act_alloc(WANTED * WIDTH);
    int32_t *rows = gpu_copy(wanted, sizeof wanted);
    cuda_gather_rows(&gpu_queue, rows, WANTED, WIDTH, &from, CUDA_FORM_F32, &out);
    float *after = download(out.f32, WANTED * WIDTH);
    for (int i = 0; i < WANTED; i++)
        assert_memory_equal(after + i * WIDTH, x + wanted[i] * WIDTH, WIDTH * sizeof(float));
    check_forms(&out, WANTED * WIDTH);
    cudaFree(from.f32), cudaFree(rows), act_free(&out), free(x), free(after);
}

static void test_finish_logits(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 3, VOCAB = 50257 };
    float *logits = random_vector(ROWS * VOCAB);
    for (size_t i = 0; i < ROWS * VOCAB; i++) logits[i] *= i % 5 == 0 ? 100.0f : 3.0f;
    for (int cap = 0; cap <= 30; cap += 30) {
        float *device = upload(logits, ROWS * VOCAB);
        double *ref = malloc(ROWS * VOCAB * sizeof *ref);
        for (size_t i = 0; i < ROWS * VOCAB; i++) {
            ref[i] = (double)(logits[i] * 0.7f);
            if (cap > 0) ref[i] = cap * tanh(ref[i] / cap);
        }
        cuda_finish_logits(&gpu_queue, device, ROWS, VOCAB, 0.7f, (float)cap);
        float *after = download(device, ROWS * VOCAB);
        check("logits", VOCAB, after, ref, ROWS * VOCAB, 1e-6);
        cudaFree(device), free(ref), free(after);
    }
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_residual_norm), cmocka_unit_test(test_norm_bits),   cmocka_unit_test(test_activate),
        cmocka_unit_test(test_short_conv),    cmocka_unit_test(test_gather_rows), cmocka_unit_test(test_finish_logits),
    };
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
