/*
 * test_split.c - a model on two devices gives the logits that it gives on one, and so does a second context over the
 * same weights while the first one is there. Both devices are the processor here.
 */
#include "compute/split.h"
#include "loaded_model.h"

enum { N_TOKENS = 12 };

static float *logits_of(Backend *backend, Model *model)
{
    const RunnerOptions options = {
        .max_tokens = 64, .max_sequences = 1, .chunk = N_TOKENS, .max_logits = N_TOKENS, .kv_type = DT_F32};
    LoadedModel loaded = {.model = model};
    float *logits = calloc((size_t)N_TOKENS * (size_t)model->n_vocab, sizeof *logits);
    int32_t tokens[N_TOKENS];
    for (int32_t i = 0; i < N_TOKENS; i++) tokens[i] = (5 + 13 * i) % model->n_vocab;
    assert_ok(runner_create(backend, model, &options, &loaded.runner));
    loaded_step(&loaded, loaded_sequence(&loaded), tokens, N_TOKENS, logits);
    runner_free(loaded.runner);
    return logits;
}

static Backend *processor(void)
{
    Backend *backend;
    assert_ok(cpu_backend_create(&(CpuOptions){.n_threads = 1}, &backend));
    return backend;
}

static void test_two_contexts(void **state)
{
    (void)state;
    ModelFile *file;
    Model *model;
    assert_ok(model_file_open(GOLDEN_DIR "/llama/model.gguf", MODEL_FORMAT_AUTO, &file));
    assert_ok(model_load(file, &model));
    const size_t bytes = (size_t)N_TOKENS * (size_t)model->n_vocab * sizeof(float);

    Backend *whole = processor(), *split, *beside;
    assert_ok(whole->ops->prepare(whole, model, NULL));
    float *expected = logits_of(whole, model);
    whole->ops->release(whole, model);
    whole->ops->destroy(whole);

    assert_ok(split_backend_create(processor(), processor(), 1, &split));
    assert_ok(split->ops->prepare(split, model, NULL));
    assert_ok(split_backend_create_beside(split, processor(), &beside));
    assert_string_equal(beside->name, split->name);
    float *first = logits_of(split, model), *second = logits_of(beside, model);
    assert_memory_equal(first, expected, bytes);
    assert_memory_equal(second, expected, bytes);
    beside->ops->destroy(beside);
    float *again = logits_of(split, model);
    assert_memory_equal(again, expected, bytes);
    split->ops->release(split, model);
    split->ops->destroy(split);

    free(expected), free(first), free(second), free(again);
    model_free(model);
    model_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_contexts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
