/*
 * test_allocations.c - nothing is allocated on the hot path: a hundred decode steps of three sequences, counted in malloc
 * itself, for every architecture.
 */
#include "loaded_model.h"

#include "count_allocations.h"

enum { N_SEQUENCES = 3, N_PROMPT = 20, N_STEPS = 100 };

static void check_steps(const char *path)
{
    const RunnerOptions options = {.max_tokens = N_PROMPT + N_STEPS, .max_sequences = N_SEQUENCES, .chunk = 64,
                                   .max_logits = N_SEQUENCES, .kv_type = DT_F16};
    LoadedModel loaded;
    loaded_open(&loaded, path, CPU_ISA_AUTO, 2, &options);
    float *logits = malloc((size_t)N_SEQUENCES * (size_t)loaded.model->n_vocab * sizeof(float));
    int32_t tokens[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++) tokens[i] = 3 + i;
    StepInput inputs[N_SEQUENCES];
    for (int32_t i = 0; i < N_SEQUENCES; i++) {
        inputs[i] = (StepInput){loaded_sequence(&loaded), tokens, N_PROMPT, 1};
    }
    assert_ok(runner_step(loaded.runner, inputs, N_SEQUENCES, logits));

    for (int32_t i = 0; i < N_SEQUENCES; i++) inputs[i].n_tokens = 1;
    const size_t before = allocations();
    ImpStatus status = IMP_OK;
    for (int32_t step = 0; step < N_STEPS && status == IMP_OK; step++) {
        tokens[0] = 3 + step % 50;
        status = runner_step(loaded.runner, inputs, N_SEQUENCES, logits);
    }
    const size_t after = allocations();
    assert_ok(status);
    if (after != before) fail_msg("%s: %zu allocations in %d steps", path, after - before, N_STEPS);
    free(logits);
    loaded_close(&loaded);
}

static void test_steps_do_not_allocate(void **state)
{
    (void)state;
    const size_t before = allocations();
    void *volatile probe = malloc(8);
    assert_int_equal(allocations(), before + 1);
    free(probe);

    char *names[MAX_GOLDENS];
    const size_t n_names = golden_names(GOLDEN_DIR, names);
    assert_true(n_names > 0);
    for (size_t i = 0; i < n_names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, names[i]);
        check_steps(path);
        free(names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps_do_not_allocate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
