/* test_experts_row.c - routing of any number of rows, and one row through its experts, against double precision. */
#include "compute/cuda/experts.h"
#include "gpu_test.h"

enum { EMBD = 512 };

static double sigmoid_of(double x) { return 1.0 / (1.0 + exp(-x)); }

/* ---- routing ---- */

static double group_value(const Experts *spec, const double *choice, int group)
{
    const int size = spec->n_experts / spec->n_groups;
    double best = -INFINITY, second = -INFINITY;
    for (int e = group * size; e < (group + 1) * size; e++) {
        if (choice[e] > best) {
            second = best;
            best = choice[e];
        } else if (choice[e] > second) {
            second = choice[e];
        }
    }
    return spec->group_score == GROUP_BEST || size == 1 ? best : best + second;
}

static void softmax(double *values, int n)
{
    double most = -INFINITY, sum = 0.0;
    for (int i = 0; i < n; i++) most = fmax(most, values[i]);
    for (int i = 0; i < n; i++) sum += values[i] = exp(values[i] - most);
    for (int i = 0; i < n; i++) values[i] /= sum;
}

/* scores: logits in, spoiled. */
static void reference_route(const Experts *spec, const float *choice_bias, double *scores, int32_t *chosen,
                            double *weights)
{
    const int n = spec->n_experts;
    double choice[1024], values[64];
    bool taken[1024] = {false};
    if (spec->router_kind == ROUTER_SIGMOID)
        for (int e = 0; e < n; e++) scores[e] = sigmoid_of(scores[e]);
    if (spec->router_kind == ROUTER_SOFTMAX) softmax(scores, n);
    for (int e = 0; e < n; e++) choice[e] = scores[e] + (choice_bias != NULL ? (double)choice_bias[e] : 0.0);
    if (spec->n_groups > 1) {
        for (int g = 0; g < spec->n_groups; g++) values[g] = group_value(spec, choice, g);
        for (int g = 0; g < spec->n_groups; g++) {
            int better = 0;
            for (int other = 0; other < spec->n_groups; other++) better += values[other] > values[g];
            const int size = n / spec->n_groups;
            for (int e = g * size; better >= spec->n_groups_used && e < (g + 1) * size; e++) choice[e] = -INFINITY;
        }
    }
    double sum = 0.0;
    for (int rank = 0; rank < spec->n_used; rank++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (!taken[e] && (best < 0 || choice[e] > choice[best])) best = e;
        taken[best] = true;
        chosen[rank] = best;
        weights[rank] = scores[best];
    }
    if (spec->router_kind == ROUTER_SOFTMAX_CHOSEN) softmax(weights, spec->n_used);
    for (int rank = 0; rank < spec->n_used; rank++) sum += weights[rank];
    for (int rank = 0; rank < spec->n_used; rank++)
        weights[rank] *= (double)spec->scale / (spec->renormalize ? sum + (double)spec->renormalize_eps : 1.0);
}

static void reference_product(const TestWeight *weight, size_t first_row, size_t rows, const double *x,
                              const float *bias, double *y)
{
    const size_t cols = (size_t)weight->weight.cols;
    for (size_t r = 0; r < rows; r++) {
        double sum = bias != NULL ? (double)bias[r] : 0.0;
        for (size_t c = 0; c < cols; c++) sum += (double)weight->values[(first_row + r) * cols + c] * x[c];
        y[r] = sum;
    }
}

static void check_route(Experts spec, DType router_type, int32_t n_rows, bool biased)
{
    const size_t n = (size_t)spec.n_experts, used = (size_t)spec.n_used;
    TestWeight router = test_weight(router_type, spec.n_experts, EMBD, false, 1.0f);
    spec.router = (Weight){.type = router_type, .rows = spec.n_experts, .cols = EMBD};
    float *x = random_vector((size_t)n_rows * EMBD), *bias = random_vector(2 * n);
    for (size_t i = 0; i < 2 * n; i++) bias[i] *= 0.3f;
    float *device_x = gpu_copy(x, (size_t)n_rows * EMBD * sizeof *x),
          *device_bias = gpu_copy(bias, 2 * n * sizeof *bias);
    float *scores = gpu_alloc((size_t)n_rows * n * sizeof *scores),
          *weights = gpu_alloc((size_t)n_rows * used * sizeof *weights);
    int32_t *chosen = gpu_alloc((size_t)n_rows * used * sizeof *chosen);
    const CudaExperts experts = {.spec = &spec,
                                 .router = &router.weight,
                                 .router_bias = biased ? device_bias : NULL,
                                 .choice_bias = biased ? device_bias + n : NULL};
    cuda_route(&gpu_queue, &experts, device_x, n_rows, scores, chosen, weights);
    int32_t *out_chosen = malloc((size_t)n_rows * used * sizeof *out_chosen);
    float *out_weights = malloc((size_t)n_rows * used * sizeof *out_weights);
    gpu_read(out_chosen, chosen, (size_t)n_rows * used * sizeof *out_chosen);
    gpu_read(out_weights, weights, (size_t)n_rows * used * sizeof *out_weights);
    for (int32_t r = 0; r < n_rows; r++) {
        double row[EMBD], logits[1024], expected[64];
        int32_t expected_chosen[64];
        for (int c = 0; c < EMBD; c++) row[c] = (double)x[r * EMBD + c];
        reference_product(&router, 0, n, row, biased ? bias : NULL, logits);
        reference_route(&spec, biased ? bias + n : NULL, logits, expected_chosen, expected);
        for (size_t rank = 0; rank < used; rank++) {
            assert_int_equal(out_chosen[(size_t)r * used + rank], expected_chosen[rank]);
            assert_true(fabs((double)out_weights[(size_t)r * used + rank] - expected[rank]) <
                        1e-4 * fabs(expected[rank]) + 1e-6);
        }
    }
    gpu_ok(cudaFree(device_x));
    gpu_ok(cudaFree(device_bias));
    gpu_ok(cudaFree(scores));
    gpu_ok(cudaFree(weights));
    gpu_ok(cudaFree(chosen));
    free(x);
    free(bias);
    free(out_chosen);
    free(out_weights);
    test_weight_free(&router);
}

static void test_route(void **state)
{
    (void)state;
    gpu_need();
    static const int32_t rows[] = {1, 2, 33};
    for (size_t r = 0; r < 3; r++) {
        for (int kind = ROUTER_SOFTMAX; kind <= ROUTER_SIGMOID; kind++) {
            Experts spec = {.n_experts = 128, .n_used = 8, .router_kind = (RouterKind)kind, .scale = 1.0f};
            check_route(spec, DT_F32, rows[r], false);
            spec.renormalize = true;
            spec.renormalize_eps = 1e-20f;
            spec.scale = 2.5f;
            check_route(spec, DT_F32, rows[r], kind == ROUTER_SIGMOID);
            check_route(spec, DT_BF16, rows[r], kind == ROUTER_SIGMOID);
            spec.n_groups = 8;
            spec.n_groups_used = 4;
            check_route(spec, DT_F32, rows[r], false);
            spec.group_score = GROUP_BEST_TWO;
            check_route(spec, DT_F32, rows[r], kind == ROUTER_SIGMOID);
        }
        check_route((Experts){.n_experts = 4, .n_used = 1, .scale = 1.0f}, DT_F32, rows[r], false);
        check_route((Experts){.n_experts = 37, .n_used = 37, .scale = 1.0f}, DT_F32, rows[r], false);
        check_route((Experts){.n_experts = 512, .n_used = 10, .scale = 1.0f, .renormalize = true}, DT_Q8_0, rows[r],
                    false);
    }
}

/* Equal scores: the lower index first. Not a number: still n_used different experts. */
static void test_ties(void **state)
{
    (void)state;
    gpu_need();
    enum { N = 64, USED = 6 };
    TestWeight router = test_weight(DT_F32, N, EMBD, false, 0.0f);
    Experts spec = {.n_experts = N, .n_used = USED, .scale = 1.0f, .router = {.type = DT_F32}};
    const CudaExperts experts = {.spec = &spec, .router = &router.weight};
    float *x = random_vector(2 * EMBD), weights[2 * USED];
    x[EMBD + 3] = NAN;
    int32_t chosen[2 * USED];
    float *device_x = gpu_copy(x, 2 * EMBD * sizeof *x), *scores = gpu_alloc(2 * N * sizeof *scores);
    float *device_weights = gpu_alloc(sizeof weights);
    int32_t *device_chosen = gpu_alloc(sizeof chosen);
    cuda_route(&gpu_queue, &experts, device_x, 2, scores, device_chosen, device_weights);
    gpu_read(chosen, device_chosen, sizeof chosen);
    gpu_read(weights, device_weights, sizeof weights);
    for (int i = 0; i < 2 * USED; i++) assert_int_equal(chosen[i], i % USED);
    for (int i = 0; i < USED; i++) assert_true(fabs((double)weights[i] - 1.0 / N) < 1e-6);
    gpu_ok(cudaFree(device_x));
    gpu_ok(cudaFree(scores));
    gpu_ok(cudaFree(device_weights));
    gpu_ok(cudaFree(device_chosen));
    free(x);
    test_weight_free(&router);
}

/* ---- one row ---- */

typedef struct RowCase {
    Experts spec;
    DType gate, up, down; /* gate DT_NONE: none */
    DType shared;         /* DT_NONE: no shared expert */
    bool biased, shared_gate, stack_scales;
} RowCase;

static double activation_of(const Experts *spec, double gate, double up, bool gated)
{
    const double x = gated ? gate : up;
    if (spec->activation == ACT_SWIGLU_OAI) {
        const double most = (double)spec->limit, u = fmax(fmin(up, most), -most), g = gated ? fmin(gate, most) : u;
        return (gated ? u + 1.0 : 1.0) * g * sigmoid_of(1.702 * g);
    }
    return x * sigmoid_of(x) * (gated ? up : 1.0);
}

static TestWeight stack_of(DType type, const RowCase *from, int32_t rows, int32_t cols)
{
    TestWeight stack = test_weight(type, from->spec.n_experts * rows, cols, false, 1.0f);
    stack.weight.stack_rows = rows;
    if (!from->stack_scales) return stack;
    float *scales = malloc((size_t)from->spec.n_experts * sizeof *scales);
    for (int e = 0; e < from->spec.n_experts; e++) scales[e] = 0.5f + 0.25f * (float)(e % 5);
    for (int64_t i = 0; i < (int64_t)from->spec.n_experts * rows * cols; i++)
        stack.values[i] *= scales[i / ((int64_t)rows * cols)];
    stack.weight.stack_scales = gpu_copy(scales, (size_t)from->spec.n_experts * sizeof *scales);
    free(scales);
    return stack;
}

static void stack_free(TestWeight *stack)
{
    gpu_ok(cudaFree((void *)(uintptr_t)stack->weight.stack_scales));
    test_weight_free(stack);
}

static void check_row(RowCase from)
{
    Experts *spec = &from.spec;
    const bool gated = from.gate != DT_NONE, shared = from.shared != DT_NONE;
    const size_t n = (size_t)spec->n_experts, n_ff = (size_t)spec->n_ff, used = (size_t)spec->n_used;
    enum { SHARED_FF = 768 };
    if (!gpu_takes(from.up, 0.0)) return;
    spec->shared = (FeedForward){.activation = ACT_SILU, .n_ff = shared ? SHARED_FF : 0};
    spec->router = (Weight){.type = DT_F32, .rows = spec->n_experts, .cols = EMBD};
    const DType shared_type = shared ? from.shared : DT_F32;
    TestWeight router = test_weight(DT_F32, spec->n_experts, EMBD, false, 1.0f);
    TestWeight gate = stack_of(gated ? from.gate : DT_F32, &from, spec->n_ff, EMBD),
               up = stack_of(from.up, &from, spec->n_ff, EMBD);
    TestWeight down = stack_of(from.down, &from, EMBD, spec->n_ff);
    TestWeight shared_gate = test_weight(DT_F32, 1, EMBD, false, 1.0f),
               shared_in = test_weight(shared_type, 2 * SHARED_FF, EMBD, false, 1.0f);
    TestWeight shared_down = test_weight(shared_type, EMBD, SHARED_FF, false, 1.0f);
    /* One matrix after the other in one memory: gate's rows and up's. */
    CudaWeight gate_part = shared_in.weight, up_part = shared_in.weight;
    gate_part.rows = up_part.rows = SHARED_FF;
    for (int p = 0; p < CUDA_MAX_PLANES; p++)
        if (up_part.planes[p] != NULL) up_part.planes[p] += SHARED_FF * up_part.plane_stride[p];

    float *x = random_vector(EMBD), *bias = random_vector(n * (2 * n_ff + EMBD));
    float *device_x = gpu_copy(x, EMBD * sizeof *x),
          *device_bias = gpu_copy(bias, n * (2 * n_ff + EMBD) * sizeof *bias);
    float *device_out = gpu_alloc(EMBD * sizeof *device_out);
    CudaExperts experts = {.spec = spec,
                           .router = &router.weight,
                           .gate = gated ? &gate.weight : NULL,
                           .up = &up.weight,
                           .down = &down.weight};
    if (from.biased) {
        experts.gate_bias = device_bias;
        experts.up_bias = device_bias + n * n_ff;
        experts.down_bias = device_bias + 2 * n * n_ff;
    }
    if (shared) {
        experts.shared_gate = from.shared_gate ? &shared_gate.weight : NULL;
        experts.shared_gate_proj.weight = &gate_part;
        experts.shared_up.weight = &up_part;
        experts.shared_down.weight = &shared_down.weight;
    }
    assert_true(cuda_experts_row_workspace(spec) <= gpu_queue.workspace_bytes);
    cuda_experts_row(&gpu_queue, &experts, device_x, device_out);

    double row[EMBD], logits[1024], weights[64], expected[EMBD] = {0}, y[EMBD];
    double *hidden = malloc(2 * (n_ff + SHARED_FF) * sizeof *hidden), *hidden_up = hidden + n_ff + SHARED_FF;
    int32_t chosen[64];
    for (int c = 0; c < EMBD; c++) row[c] = (double)x[c];
    reference_product(&router, 0, n, row, NULL, logits);
    reference_route(spec, NULL, logits, chosen, weights);
    for (size_t rank = 0; rank < used; rank++) {
        const size_t e = (size_t)chosen[rank];
        double in[EMBD];
        for (int c = 0; c < EMBD; c++) in[c] = row[c] * (spec->weight_on_input ? weights[rank] : 1.0);
        if (gated) reference_product(&gate, e * n_ff, n_ff, in, from.biased ? bias + e * n_ff : NULL, hidden);
        reference_product(&up, e * n_ff, n_ff, in, from.biased ? bias + (n + e) * n_ff : NULL, hidden_up);
        for (size_t i = 0; i < n_ff; i++) hidden[i] = activation_of(spec, hidden[i], hidden_up[i], gated);
        reference_product(&down, e * EMBD, EMBD, hidden, from.biased ? bias + 2 * n * n_ff + e * EMBD : NULL, y);
        for (int c = 0; c < EMBD; c++) expected[c] += y[c] * (spec->weight_on_input ? 1.0 : weights[rank]);
    }
    if (shared) {
        const Experts silu = {.activation = ACT_SILU};
        double factor = 1.0;
        if (from.shared_gate) {
            reference_product(&shared_gate, 0, 1, row, NULL, &factor);
            factor = sigmoid_of(factor);
        }
        reference_product(&shared_in, 0, SHARED_FF, row, NULL, hidden);
        reference_product(&shared_in, SHARED_FF, SHARED_FF, row, NULL, hidden_up);
        for (int i = 0; i < SHARED_FF; i++) hidden[i] = activation_of(&silu, hidden[i], hidden_up[i], true);
        reference_product(&shared_down, 0, EMBD, hidden, NULL, y);
        for (int c = 0; c < EMBD; c++) expected[c] += factor * y[c];
    }
    float out[EMBD];
    gpu_read(out, device_out, sizeof out);
    const double error = relative_error(out, expected, EMBD);
    if (!(error < 1e-4)) fail_msg("experts of %s: error %g", dtype_info(from.up)->name, error);
    gpu_ok(cudaFree(device_x));
    gpu_ok(cudaFree(device_bias));
    gpu_ok(cudaFree(device_out));
    free(x);
    free(bias);
    free(hidden);
    test_weight_free(&router);
    stack_free(&gate);
    stack_free(&up);
    stack_free(&down);
    test_weight_free(&shared_gate);
    test_weight_free(&shared_in);
    test_weight_free(&shared_down);
}

static void test_row(void **state)
{
    (void)state;
    gpu_need();
    const Experts plain = {
        .n_experts = 16, .n_used = 4, .scale = 1.0f, .renormalize = true, .activation = ACT_SILU, .n_ff = 256};
    for (size_t t = 0; t < GPU_TYPES; t++)
        check_row((RowCase){plain, gpu_types[t], gpu_types[t], gpu_types[t], DT_NONE, false, false, false});
    check_row((RowCase){plain, DT_Q4_K, DT_Q4_K, DT_Q6_K, DT_Q8_0, false, true, false});
    check_row((RowCase){plain, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_BF16, true, false, false});
    check_row((RowCase){plain, DT_NVFP4, DT_NVFP4, DT_NVFP4, DT_NONE, true, false, true});
    check_row((RowCase){plain, DT_NONE, DT_Q8_0, DT_Q8_0, DT_NONE, true, false, false});
    Experts oai = plain;
    oai.router_kind = ROUTER_SOFTMAX_CHOSEN;
    oai.activation = ACT_SWIGLU_OAI;
    oai.limit = 7.0f;
    oai.renormalize = false;
    oai.n_ff = 1280;
    check_row((RowCase){oai, DT_MXFP4, DT_MXFP4, DT_MXFP4, DT_NONE, true, false, false});
    Experts input = plain;
    input.n_used = 1;
    input.weight_on_input = true;
    input.router_kind = ROUTER_SIGMOID;
    input.renormalize = false;
    check_row((RowCase){input, DT_BF16, DT_BF16, DT_BF16, DT_BF16, true, false, false});
    input.weight_on_input = false;
    check_row((RowCase){input, DT_BF16, DT_BF16, DT_BF16, DT_BF16, true, true, false});
    Experts many = plain; /* more slices than a block has warps */
    many.n_used = 12;
    many.n_ff = 4096;
    check_row((RowCase){many, DT_Q4_0, DT_Q4_0, DT_Q4_0, DT_NONE, true, false, false});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_route), cmocka_unit_test(test_ties),
                                       cmocka_unit_test(test_row)};
    return cmocka_run_group_tests(tests, gpu_setup, NULL);
}
