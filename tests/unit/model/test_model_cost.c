/* test_model_cost.c - bytes and multiply-adds of models small enough to count by hand. */
#include "cmocka_all.h"

#include "model/model_cost.h"

static const uint8_t present;

static Weight matrix(int64_t rows, int64_t cols)
{
    return (Weight){.rows = rows, .cols = cols, .row_bytes = (size_t)cols, .data = &present};
}

static void a_dense_layer_is_read_once_a_step(void **state)
{
    (void)state;
    Layer layer = {.mixer = MIXER_ATTENTION, .ffn = FFN_DENSE};
    layer.attention = (Attention){.n_heads = 2, .n_kv_heads = 1, .head_dim = 4, .head_dim_v = 4, .wq = matrix(8, 8),
                                  .wk = matrix(4, 8), .wv = matrix(4, 8), .wo = matrix(8, 8)};
    layer.dense = (FeedForward){.up = matrix(16, 8), .down = matrix(8, 16)};
    const Model model = {.n_layers = 1, .layers = &layer, .embedding = matrix(10, 8), .head = matrix(10, 8)};
    const double layer_bytes = 64 + 32 + 32 + 64 + 128 + 128;

    StepShape shape = {.rows = 1, .sequences = 1, .logits = 1, .keys = 3, .kv_element_bytes = 2};
    StepCost cost = model_step_cost(&model, &shape);
    assert_float_equal(cost.bytes, 8 + layer_bytes + 80 + 3 * 8 * 2, 1e-9);
    assert_float_equal(cost.madds, layer_bytes + 80 + 3 * 2 * 8, 1e-9);

    shape = (StepShape){.rows = 10, .sequences = 1, .logits = 0, .keys = 3, .kv_element_bytes = 2};
    cost = model_step_cost(&model, &shape);
    assert_float_equal(cost.bytes, 80 + layer_bytes + 3 * 8 * 2, 1e-9);
    assert_float_equal(cost.madds, 10 * (layer_bytes + 3 * 2 * 8), 1e-9);

    layer.attention.window = 2; /* the third key is out of sight */
    cost = model_step_cost(&model, &shape);
    assert_float_equal(cost.bytes, 80 + layer_bytes + 2 * 8 * 2, 1e-9);
}

static void experts_are_read_as_they_are_chosen(void **state)
{
    (void)state;
    Weight up[4], down[4];
    for (int i = 0; i < 4; i++) {
        up[i] = matrix(16, 8);
        down[i] = matrix(8, 16);
    }
    Layer layer = {.ffn = FFN_EXPERTS};
    layer.experts = (Experts){.n_experts = 4, .n_used = 1, .router = matrix(4, 8), .up = up, .down = down};
    const Model model = {.n_layers = 1, .layers = &layer};
    StepShape shape = {.rows = 1, .sequences = 1, .keys = 1, .kv_element_bytes = 2};
    assert_float_equal(model_step_cost(&model, &shape).bytes, 32 + 256, 1e-9);
    shape.rows = 2;
    assert_float_equal(model_step_cost(&model, &shape).bytes, 32 + 1024 * (1 - 0.75 * 0.75), 1e-9);
    assert_float_equal(model_step_cost(&model, &shape).madds, 2 * (32 + 256), 1e-9);
    shape.rows = 1000;
    assert_float_equal(model_step_cost(&model, &shape).bytes, 32 + 1024, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_layer_is_read_once_a_step),
        cmocka_unit_test(experts_are_read_as_they_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
