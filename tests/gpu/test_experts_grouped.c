/*
 * test_experts_grouped.c - several rows through their experts, against the same rows one by one (test_experts_row.c
 * compares those with double precision).
 */
#include "gpu_test.h"

#include "compute/cuda/experts.h"

#include <stdio.h>

enum { EMBD = 512, SHARED_FF = 384 };

typedef struct Case {
    Experts spec;
    DType gate, up, down; /* gate DT_NONE: none */
    DType shared;         /* DT_NONE: no shared expert */
    bool biased, shared_gate, stack_scales;
    double limit;
} Case;

/* The experts of one layer, on the device and as the model describes them. */
typedef struct TestLayer {
    CudaExperts experts;
    Experts spec;
    TestWeight router, gate, up, down, shared_gate, shared_in[2], shared_down;
    float *bias;
    Weight shapes[3]; /* of gate, up, down: only types matter here */
} TestLayer;

static const uint8_t some_data;

static TestWeight stack_of(DType type, const Case *from, int32_t rows, int32_t cols)
{
    const size_t n = (size_t)from->spec.n_experts;
    TestWeight stack = test_weight(type, from->spec.n_experts * rows, cols, false, 1.0f);
    stack.weight.stack_rows = rows;
    if (!from->stack_scales) return stack;
    float *scales = malloc(n * sizeof *scales);
    for (size_t e = 0; e < n; e++) scales[e] = 0.5f + 0.25f * (float)(e % 5);
    stack.weight.stack_scales = gpu_copy(scales, n * sizeof *scales);
    free(scales);
    return stack;
}

static void stack_free(TestWeight *stack)
{
    gpu_ok(cudaFree((void *)(uintptr_t)stack->weight.stack_scales));
    test_weight_free(stack);
}

static void layer_create(const Case *from, TestLayer *layer)
{
    const size_t n = (size_t)from->spec.n_experts, n_ff = (size_t)from->spec.n_ff;
    const bool gated = from->gate != DT_NONE, shared = from->shared != DT_NONE;
    const DType shared_type = shared ? from->shared : DT_F32;
    layer->spec = from->spec;
    Experts *spec = &layer->spec;
    spec->router = (Weight){.type = DT_F32, .rows = spec->n_experts, .cols = EMBD};
    layer->shapes[0] = (Weight){.type = from->gate, .data = gated ? &some_data : NULL};
    layer->shapes[1] = (Weight){.type = from->up, .data = &some_data};
    layer->shapes[2] = (Weight){.type = from->down, .data = &some_data};
    spec->gate = &layer->shapes[0];
    spec->up = &layer->shapes[1];
    spec->down = &layer->shapes[2];
    if (shared) {
        const Weight part = {.type = shared_type, .data = &some_data};
        spec->shared = (FeedForward){.activation = ACT_SILU, .n_ff = SHARED_FF, .gate = part, .up = part, .down = part};
    }
    layer->router = test_weight(DT_F32, spec->n_experts, EMBD, false, 1.0f);
    layer->gate = stack_of(gated ? from->gate : DT_F32, from, spec->n_ff, EMBD);
    layer->up = stack_of(from->up, from, spec->n_ff, EMBD);
    layer->down = stack_of(from->down, from, EMBD, spec->n_ff);
    layer->shared_gate = test_weight(DT_F32, 1, EMBD, false, 1.0f);
    for (int i = 0; i < 2; i++) layer->shared_in[i] = test_weight(shared_type, SHARED_FF, EMBD, false, 1.0f);
    layer->shared_down = test_weight(shared_type, EMBD, SHARED_FF, false, 1.0f);
    float *bias = random_vector(n * (2 * n_ff + EMBD));
    layer->bias = gpu_copy(bias, n * (2 * n_ff + EMBD) * sizeof *bias);
    free(bias);

    CudaExperts *experts = &layer->experts;
    *experts = (CudaExperts){
        .spec = spec, .router = &layer->router.weight, .up = &layer->up.weight, .down = &layer->down.weight};
    if (gated) experts->gate = &layer->gate.weight;
    if (from->biased) {
        experts->gate_bias = layer->bias;
        experts->up_bias = layer->bias + n * n_ff;
        experts->down_bias = layer->bias + 2 * n * n_ff;
    }
    if (!shared) return;
    if (from->shared_gate) experts->shared_gate = &layer->shared_gate.weight;
    experts->shared_gate_proj.weight = &layer->shared_in[0].weight;
    experts->shared_up.weight = &layer->shared_in[1].weight;
    experts->shared_down.weight = &layer->shared_down.weight;
}

static void layer_free(TestLayer *layer)
{
    stack_free(&layer->gate);
    stack_free(&layer->up);
    stack_free(&layer->down);
    test_weight_free(&layer->router);
    test_weight_free(&layer->shared_gate);
    for (int i = 0; i < 2; i++) test_weight_free(&layer->shared_in[i]);
    test_weight_free(&layer->shared_down);
    gpu_ok(cudaFree(layer->bias));
}

static void check_rows(const TestLayer *layer, int32_t n_rows, double limit)
{
    if (!gpu_takes(layer->experts.up->type, (double)EMBD * layer->spec.n_ff * layer->spec.n_used * n_rows)) return;
    const size_t n = (size_t)n_rows * EMBD;
    float *x = malloc(n * sizeof *x), *out = malloc(n * sizeof *out), *alone = malloc(n * sizeof *alone);
    uint16_t *halves = malloc(n * sizeof *halves);
    double *expected = malloc(n * sizeof *expected);
    for (size_t i = 0; i < n; i++) { /* numbers that bfloat16 has */
        const float value = random_normal();
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        word &= 0xFFFF0000u;
        halves[i] = (uint16_t)(word >> 16);
        memcpy(&x[i], &word, sizeof word);
    }
    const CudaAct input = {gpu_copy(x, n * sizeof *x), gpu_copy(halves, n * sizeof *halves)};
    float *device_out = gpu_alloc(n * sizeof *device_out), *device_alone = gpu_alloc(n * sizeof *device_alone);
    cuda_experts_grouped(&gpu_queue, &layer->experts, &input, n_rows, device_out);
    gpu_read(out, device_out, n * sizeof *out);
    for (int32_t r = 0; r < n_rows; r++)
        cuda_experts_row(&gpu_queue, &layer->experts, input.f32 + (size_t)r * EMBD, device_alone + (size_t)r * EMBD);
    gpu_read(alone, device_alone, n * sizeof *alone);
    for (size_t i = 0; i < n; i++) expected[i] = (double)alone[i];
    const double error = relative_error(out, expected, n);
    printf("experts of %-7s %-7s %3d rows  error %.1e\n", dtype_info(layer->experts.up->type)->name,
           dtype_info(layer->experts.down->type)->name, (int)n_rows, error);
    assert_true(error < limit);
    gpu_ok(cudaFree(input.f32));
    gpu_ok(cudaFree(input.bf16));
    gpu_ok(cudaFree(device_out));
    gpu_ok(cudaFree(device_alone));
    free(x);
    free(out);
    free(alone);
    free(halves);
    free(expected);
}

static void check(Case from)
{
    TestLayer layer = {0};
    if (!gpu_takes(from.up, 0.0)) return;
    layer_create(&from, &layer);
    static const int32_t counts[] = {1, 3, 40, 333, 700};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        check_rows(&layer, counts[i], from.limit > 0.0 ? from.limit : 6e-3);
    layer_free(&layer);
}

static void test_rows(void **state)
{
    (void)state;
    gpu_need();
    const Experts plain = {
        .n_experts = 16, .n_used = 4, .scale = 1.0f, .renormalize = true, .activation = ACT_SILU, .n_ff = 256};
    for (size_t t = 0; t < GPU_TYPES; t++)
        check((Case){.spec = plain,
                     .gate = gpu_types[t],
                     .up = gpu_types[t],
                     .down = gpu_types[t],
                     .shared = DT_NONE,
                     .limit = gpu_types[t] == DT_F32 ? 1e-5 : 6e-3});
    check(
        (Case){.spec = plain, .gate = DT_Q4_K, .up = DT_Q4_K, .down = DT_Q6_K, .shared = DT_Q8_0, .shared_gate = true});
    check((Case){.spec = plain, .gate = DT_Q4_K, .up = DT_Q5_K, .down = DT_Q6_K, .shared = DT_BF16, .biased = true});
    check((Case){.spec = plain,
                 .gate = DT_NVFP4,
                 .up = DT_NVFP4,
                 .down = DT_NVFP4,
                 .shared = DT_NONE,
                 .biased = true,
                 .stack_scales = true});
    check((Case){.spec = plain, .gate = DT_NONE, .up = DT_Q8_0, .down = DT_Q8_0, .shared = DT_NONE, .biased = true});
    check((Case){.spec = plain,
                 .gate = DT_F32,
                 .up = DT_F32,
                 .down = DT_F32,
                 .shared = DT_F32,
                 .biased = true,
                 .shared_gate = true,
                 .limit = 1e-5});
    Experts oai = plain;
    oai.router_kind = ROUTER_SOFTMAX_CHOSEN;
    oai.activation = ACT_SWIGLU_OAI;
    oai.limit = 7.0f;
    oai.renormalize = false;
    check((Case){.spec = oai, .gate = DT_MXFP4, .up = DT_MXFP4, .down = DT_MXFP4, .shared = DT_NONE, .biased = true});
    Experts input = plain;
    input.n_used = 1;
    input.weight_on_input = true;
    input.router_kind = ROUTER_SIGMOID;
    input.renormalize = false;
    check((Case){.spec = input,
                 .gate = DT_BF16,
                 .up = DT_BF16,
                 .down = DT_BF16,
                 .shared = DT_BF16,
                 .biased = true,
                 .limit = 1e-2});
    check((Case){.spec = input, .gate = DT_F32, .up = DT_F32, .down = DT_F32, .shared = DT_NONE, .limit = 1e-5});
    Experts many = plain;
    many.n_experts = 200;
    many.n_used = 11;
    check((Case){.spec = many, .gate = DT_Q4_0, .up = DT_Q4_0, .down = DT_Q4_0, .shared = DT_NONE});
}

/* Many rows in a workspace that holds the decoded matrices of a few experts at a time. */
static void test_panels(void **state)
{
    (void)state;
    gpu_need();
    enum { ROWS = 800, ROOM = 2 << 20, PANELS = 256 << 20 };
    const Case from = {.spec = {.n_experts = 16, .n_used = 4, .scale = 1.0f, .activation = ACT_SILU, .n_ff = 256},
                       .gate = DT_Q4_K,
                       .up = DT_Q4_K,
                       .down = DT_Q6_K,
                       .shared = DT_NONE,
                       .biased = true};
    TestLayer layer = {0};
    layer_create(&from, &layer);
    const size_t whole = gpu_queue.workspace_bytes;
    gpu_queue.workspace_bytes = cuda_experts_workspace(&layer.spec, EMBD, ROWS) - PANELS + ROOM;
    check_rows(&layer, ROWS, 6e-3);
    gpu_queue.workspace_bytes = whole;
    layer_free(&layer);
}

static int setup(void **state)
{
    if (gpu_setup(state) != 0 || gpu_queue.stream == NULL) return 0;
    gpu_ok(cudaFree(gpu_queue.workspace));
    gpu_queue.workspace_bytes = (size_t)512 << 20;
    gpu_queue.workspace = gpu_alloc(gpu_queue.workspace_bytes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_panels)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
