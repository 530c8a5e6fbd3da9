/* test_bench.c - what imp/bench.h measures and counts. */
#include "api_test.h"

#include "imp/bench.h"

static ImpContext open_bench_context(ImpModel model, int32_t n_sequences)
{
    ImpConfig config = small_config();
    config.max_seq_len = 64;
    config.max_sequences = n_sequences + 1;
    config.prefill_chunk_size = 8;
    ImpContext context = NULL;
    assert_ok(imp_context_create(model, &config, &context));
    return context;
}

static ImpBenchResult bench(ImpContext context, int32_t n_prompt, int32_t n_generate, int32_t n_sequences, int32_t depth)
{
    const ImpBenchTest test = {.size = sizeof test, .n_prompt = n_prompt, .n_generate = n_generate,
                               .n_sequences = n_sequences, .depth = depth, .reps = 2};
    ImpBenchResult result = {.size = sizeof result};
    assert_ok(imp_bench(context, &test, &result));
    assert_int_equal(result.n_tokens, n_sequences * (n_prompt + n_generate));
    assert_true(result.tokens_per_second > 0 && result.best >= result.tokens_per_second && result.deviation >= 0);
    return result;
}

static void prompts_and_decoding_are_measured(void **state)
{
    (void)state;
    static const char *const models[] = {GOLDEN("llama"), GOLDEN("qwen3-moe"), GOLDEN("lfm2"), GOLDEN("gemma3")};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        ImpModel model = open_model(models[i]);
        ImpContext context = open_bench_context(model, 3);
        ImpModelInfo info = {.size = sizeof info};
        assert_ok(imp_model_info(model, &info));
        const ImpBenchResult prompt = bench(context, 20, 0, 1, 0), decode = bench(context, 0, 4, 1, 0);
        assert_true(decode.bytes_per_token > (double)info.bytes_per_token);
        assert_true(prompt.bytes_per_token < decode.bytes_per_token);
        /* Sequences share a step's weights; what is multiplied stays the same. */
        const ImpBenchResult together = bench(context, 0, 4, 3, 0);
        assert_true(together.bytes_per_token < decode.bytes_per_token);
        assert_true(fabs(together.madds_per_token / decode.madds_per_token - 1) < 1e-9);
        (void)bench(context, 20, 4, 3, 30);
        imp_context_free(context);
        imp_model_free(model);
    }
}

static void depth_costs_keys_and_values(void **state)
{
    (void)state;
    ImpModel model = open_model(GOLDEN("llama"));
    ImpContext context = open_bench_context(model, 1);
    const double none = bench(context, 0, 2, 1, 0).bytes_per_token;
    const double some = bench(context, 0, 2, 1, 20).bytes_per_token;
    const double more = bench(context, 0, 2, 1, 40).bytes_per_token;
    assert_true(some > none);
    assert_true(fabs((more - none) / (some - none) - 2) < 1e-9);
    imp_context_free(context);
    imp_model_free(model);
}

static void the_conversation_is_left_alone(void **state)
{
    (void)state;
    ImpModel model = open_model(GOLDEN("lfm2"));
    ImpContext context = open_bench_context(model, 2);
    const int32_t tokens[] = {5, 6, 7, 8, 9};
    assert_ok(imp_prefill(context, tokens, 5));
    const float before = imp_logits(context)[3];
    (void)bench(context, 9, 3, 2, 10);
    int32_t n_tokens;
    (void)imp_context_tokens(context, &n_tokens);
    assert_int_equal(n_tokens, 5);
    assert_true(imp_logits(context)[3] == before);
    imp_context_free(context);
    imp_model_free(model);
}

static void impossible_tests_are_refused(void **state)
{
    (void)state;
    ImpModel model = open_model(GOLDEN("llama"));
    ImpContext context = open_bench_context(model, 2);
    static const struct {
        ImpBenchTest test;
        ImpStatus status;
        const char *words;
    } bad[] = {
        {{0, 0, 0, 1, 0, 1, false}, IMP_ERR_INVALID_ARGUMENT, "0 + 0 tokens"},
        {{0, -1, 4, 1, 0, 1, false}, IMP_ERR_INVALID_ARGUMENT, "-1 + 4"},
        {{0, 4, 4, 0, 0, 1, false}, IMP_ERR_INVALID_ARGUMENT, "0 sequences"},
        {{0, 4, 4, 1, -1, 1, false}, IMP_ERR_INVALID_ARGUMENT, "a benchmark of"},
        {{0, 4, 4, 1, 0, 0, false}, IMP_ERR_INVALID_ARGUMENT, "0 times"},
        {{0, 4, 4, 3, 0, 1, false}, IMP_ERR_INVALID_ARGUMENT, "room for 2 sequences"},
        {{0, 40, 20, 1, 5, 1, false}, IMP_ERR_CONTEXT_FULL, "sequences of 65 tokens"},
        {{0, INT32_MAX, INT32_MAX, 1, INT32_MAX, 1, false}, IMP_ERR_CONTEXT_FULL, "are to be measured"},
    };
    ImpBenchResult result = {.size = sizeof result};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ImpBenchTest test = bad[i].test;
        test.size = sizeof test;
        assert_fails(imp_bench(context, &test, &result), bad[i].status, bad[i].words);
    }
    assert_fails(imp_bench(context, &bad[0].test, &result), IMP_ERR_INVALID_ARGUMENT, "ImpBenchTest.size");
    assert_fails(imp_bench(NULL, &bad[0].test, &result), IMP_ERR_INVALID_ARGUMENT, "NULL");
    imp_context_free(context);
    imp_model_free(model);
}

static void the_machine_is_measured(void **state)
{
    (void)state;
    ImpMachineSpeed speed = {.size = sizeof speed};
    assert_ok(imp_bench_machine(1, &speed));
    /* Slower than any machine that runs this, faster than any there is. */
    assert_true(speed.read_bytes > 1e7 && speed.read_bytes < 1e13);
    assert_true(speed.float_madds > 1e6 && speed.float_madds < 1e13);
    assert_true(speed.int8_madds > 1e6 && speed.int8_madds < 1e14);
    assert_true(speed.tile_madds == 0 || (speed.tile_madds > speed.int8_madds && speed.tile_madds < 1e15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_and_decoding_are_measured),
        cmocka_unit_test(depth_costs_keys_and_values),
        cmocka_unit_test(the_conversation_is_left_alone),
        cmocka_unit_test(impossible_tests_are_refused),
        cmocka_unit_test(the_machine_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
