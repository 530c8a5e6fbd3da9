/*
 * test_golden.c - every architecture against transformers in float32.
 *
 * tests/oracle/golden holds tiny random models, each as SafeTensors and as GGUF, with 60 tokens and their logits
 * (tests/oracle/make_models.py made them). Forty tokens go in as a prompt in uneven chunks, twenty one by one; no logit
 * may differ by more than a ten-thousandth of the logits' spread.
 *
 * With an argument it checks the goldens of that directory instead.
 */
#include "loaded_model.h"

#include <math.h>

typedef struct Golden {
    char *name, *path;
    char *title;
} Golden;

static const char *golden_dir = GOLDEN_DIR;

static void read_exactly(const char *name, const char *file_name, void *out, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", golden_dir, name, file_name);
    FileMap map;
    assert_ok(file_map_open(path, &map));
    assert_int_equal(map.size, bytes);
    memcpy(out, map.data, bytes);
    file_map_close(&map);
}

static void compute_logits(LoadedModel *loaded, const int32_t tokens[GOLDEN_TOKENS], float *logits)
{
    static const int32_t prompt_chunks[] = {1, 7, 16, 3, 13};
    const int32_t sequence = loaded_sequence(loaded);
    int32_t done = 0;
    for (size_t i = 0; i < sizeof prompt_chunks / sizeof *prompt_chunks; i++) {
        loaded_step(loaded, sequence, tokens + done, prompt_chunks[i], logits + (size_t)done * (size_t)loaded->model->n_vocab);
        done += prompt_chunks[i];
    }
    for (; done < GOLDEN_TOKENS; done++) {
        loaded_step(loaded, sequence, tokens + done, 1, logits + (size_t)done * (size_t)loaded->model->n_vocab);
    }
}

static void check_golden(void **state)
{
    const Golden *golden = *state;
    const RunnerOptions options = {.max_tokens = 64, .max_sequences = 1, .chunk = 16, .max_logits = 16,
                                   .kv_type = DT_F32};
    LoadedModel loaded;
    loaded_open(&loaded, golden->path, CPU_ISA_AUTO, 1, &options);

    const size_t n_logits = (size_t)GOLDEN_TOKENS * (size_t)loaded.model->n_vocab;
    int32_t tokens[GOLDEN_TOKENS];
    float *expected = malloc(n_logits * sizeof(float)), *logits = malloc(n_logits * sizeof(float));
    read_exactly(golden->name, "tokens.bin", tokens, sizeof tokens);
    read_exactly(golden->name, "logits.bin", expected, n_logits * sizeof(float));
    compute_logits(&loaded, tokens, logits);

    float low = expected[0], high = expected[0], worst = 0;
    size_t worst_at = 0;
    for (size_t i = 0; i < n_logits; i++) {
        low = fminf(low, expected[i]);
        high = fmaxf(high, expected[i]);
        const float difference = fabsf(logits[i] - expected[i]);
        if (!(difference <= worst)) { /* catches NaN too */
            worst = difference;
            worst_at = i;
        }
    }
    if (!(worst <= 1e-4f * (high - low))) {
        fail_msg("token %zu, id %zu: %g instead of %g, %.2g of the spread", worst_at / (size_t)loaded.model->n_vocab,
                 worst_at % (size_t)loaded.model->n_vocab, (double)logits[worst_at], (double)expected[worst_at],
                 (double)(worst / (high - low)));
    }
    free(expected);
    free(logits);
    loaded_close(&loaded);
}

static Golden golden_of(const char *name, const char *suffix)
{
    Golden golden = {.name = strdup(name)};
    if (asprintf(&golden.path, "%s/%s%s", golden_dir, name, suffix) < 0) abort();
    if (asprintf(&golden.title, "%s%s", name, suffix[0] ? " (GGUF)" : " (SafeTensors)") < 0) abort();
    return golden;
}

int main(int argc, char **argv)
{
    char *names[MAX_GOLDENS];
    static Golden goldens[2 * MAX_GOLDENS];
    static struct CMUnitTest tests[2 * MAX_GOLDENS];
    if (!loaded_device_exists()) return TEST_SKIPPED;
    if (argc > 1) golden_dir = argv[1];
    const size_t n_names = golden_names(golden_dir, names);
    for (size_t i = 0; i < n_names; i++) {
        goldens[2 * i] = golden_of(names[i], "");
        goldens[2 * i + 1] = golden_of(names[i], "/model.gguf");
        free(names[i]);
    }
    for (size_t i = 0; i < 2 * n_names; i++) {
        tests[i] = (struct CMUnitTest){goldens[i].title, check_golden, NULL, NULL, &goldens[i]};
    }
    const int failed = n_names ? _cmocka_run_group_tests("goldens", tests, 2 * n_names, NULL, NULL) : 1;
    for (size_t i = 0; i < 2 * n_names; i++) {
        free(goldens[i].name);
        free(goldens[i].path);
        free(goldens[i].title);
    }
    return failed;
}
