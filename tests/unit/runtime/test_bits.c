/*
 * test_bits.c - the same tokens give the same bits: alone and beside seven other sequences, in chunks of any size, on one
 * thread and on two, for every architecture, every data type and every level of instructions that this processor has.
 *
 * The architectures are the goldens. The data types are tried on random_model.h's.
 */
#include "loaded_model.h"
#include "random_model.h"

enum { N_NEIGHBOURS = 7, MAX_CHUNK = 512, MAX_TOKENS = 70 };

/* One way of computing the logits of a sequence. */
typedef struct Manner {
    int32_t chunk;
    int32_t n_threads;
    bool neighbours;
    CpuIsa isa;
    DType kv_type;
} Manner;

typedef struct Neighbours {
    int32_t sequences[N_NEIGHBOURS];
    int32_t tokens[16];
} Neighbours;

/* Some decode, some read a prompt; the one whose bits are compared runs in their middle. */
static const int32_t neighbour_rows[N_NEIGHBOURS] = {1, 3, 1, 8, 2, 1, 5};
enum { NEIGHBOUR_ROWS = 21 };

static void step_beside(LoadedModel *loaded, Neighbours *neighbours, const StepInput *own, float *own_logits,
                        float *scratch)
{
    StepInput inputs[N_NEIGHBOURS + 1];
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    KvCache *kv = runner_kv(loaded->runner);
    size_t own_row = 0;
    for (int32_t i = 0, n = 0; i < N_NEIGHBOURS; i++) {
        if (kv_sequence_length(kv, neighbours->sequences[i]) + neighbour_rows[i] > MAX_TOKENS) {
            kv_sequence_close(kv, neighbours->sequences[i]);
            neighbours->sequences[i] = loaded_sequence(loaded);
        }
        inputs[n++] = (StepInput){neighbours->sequences[i], neighbours->tokens + i, neighbour_rows[i], 1};
        if (i == N_NEIGHBOURS / 2) {
            own_row = (size_t)n;
            inputs[n++] = *own;
        }
    }
    assert_ok(runner_step(loaded->runner, inputs, N_NEIGHBOURS + 1, scratch));
    memcpy(own_logits, scratch + own_row * n_vocab, (size_t)own->n_logits * n_vocab * sizeof(float));
}

/* All logits of `tokens`: [n_tokens][n_vocab], from malloc. `loaded` has a model and gets a runner for the while. */
static float *run(LoadedModel *loaded, const Manner *manner, const int32_t *tokens, int32_t n_tokens)
{
    const RunnerOptions options = {.max_tokens = MAX_TOKENS, .max_sequences = N_NEIGHBOURS + 1,
                                   .chunk = MAX_CHUNK + NEIGHBOUR_ROWS, .max_logits = MAX_CHUNK + NEIGHBOUR_ROWS,
                                   .kv_type = manner->kv_type};
    loaded_runner(loaded, manner->isa, manner->n_threads, &options);
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    float *logits = malloc((size_t)n_tokens * n_vocab * sizeof(float));
    float *scratch = malloc((size_t)(n_tokens + N_NEIGHBOURS) * n_vocab * sizeof(float));
    Neighbours neighbours;
    for (int32_t i = 0; i < 16; i++) neighbours.tokens[i] = 5 + 4 * i % 23;
    for (int32_t i = 0; manner->neighbours && i < N_NEIGHBOURS; i++) neighbours.sequences[i] = loaded_sequence(loaded);

    const int32_t sequence = loaded_sequence(loaded);
    for (int32_t done = 0; done < n_tokens; done += manner->chunk) {
        const int32_t rows = n_tokens - done < manner->chunk ? n_tokens - done : manner->chunk;
        const StepInput own = {sequence, tokens + done, rows, rows};
        float *out = logits + (size_t)done * n_vocab;
        if (manner->neighbours) {
            step_beside(loaded, &neighbours, &own, out, scratch);
        } else {
            assert_ok(runner_step(loaded->runner, &own, 1, out));
        }
    }
    free(scratch);
    loaded_close_runner(loaded);
    return logits;
}

/* Every manner must give the bits of the first. */
static void check_alike(LoadedModel *loaded, const char *name, const Manner *manners, size_t n_manners, int32_t n_tokens)
{
    int32_t tokens[MAX_TOKENS];
    for (int32_t i = 0; i < n_tokens; i++) tokens[i] = (7 + 31 * i + i * i) % loaded->model->n_vocab;
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    float *first = run(loaded, &manners[0], tokens, n_tokens);
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < (size_t)n_tokens * n_vocab; i++) {
        assert_true(isfinite(first[i]));
        low = fminf(low, first[i]);
        high = fmaxf(high, first[i]);
    }
    assert_true(high > low); /* or equality would say nothing */
    for (size_t i = 1; i < n_manners; i++) {
        float *logits = run(loaded, &manners[i], tokens, n_tokens);
        for (size_t j = 0; j < (size_t)n_tokens * n_vocab; j++) {
            if (memcmp(&logits[j], &first[j], sizeof(float)) != 0) {
                fail_msg("%s, instruction level %d: token %zu has other bits in chunks of %d on %d threads%s", name,
                         (int)manners[i].isa, j / n_vocab, (int)manners[i].chunk, (int)manners[i].n_threads,
                         manners[i].neighbours ? " beside others" : "");
            }
        }
        free(logits);
    }
    free(first);
}

static void test_every_architecture(void **state)
{
    (void)state;
    static const Manner manners[] = {
        {512, 1, false, CPU_ISA_AUTO, DT_F32}, {64, 1, false, CPU_ISA_AUTO, DT_F32}, {7, 1, false, CPU_ISA_AUTO, DT_F32},
        {1, 2, false, CPU_ISA_AUTO, DT_F32},   {512, 2, true, CPU_ISA_AUTO, DT_F32}, {7, 2, true, CPU_ISA_AUTO, DT_F32},
        {1, 1, true, CPU_ISA_AUTO, DT_F32},
    };
    char *names[MAX_GOLDENS];
    const size_t n_names = golden_names(GOLDEN_DIR, names);
    assert_true(n_names > 0);
    for (size_t i = 0; i < n_names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, names[i]);
        LoadedModel loaded = {0};
        assert_ok(model_file_open(path, MODEL_FORMAT_AUTO, &loaded.file));
        assert_ok(model_load(loaded.file, &loaded.model));
        check_alike(&loaded, names[i], manners, sizeof manners / sizeof *manners, MAX_TOKENS);
        model_free(loaded.model);
        model_file_close(loaded.file);
        free(names[i]);
    }
}

static ImpStatus set_exact(Weight *weight, void *exact)
{
    weight->exact = *(bool *)exact;
    return IMP_OK;
}

static void check_type(DType type, CpuIsa isa, bool exact)
{
    const Manner manners[] = {
        {512, 1, false, isa, DT_F16}, {5, 1, false, isa, DT_F16}, {1, 2, false, isa, DT_F16}, {3, 2, true, isa, DT_F16},
    };
    Arena arena = {0};
    LoadedModel loaded = {.model = random_model(&arena, type)};
    assert_ok(model_visit_weights(loaded.model, set_exact, &exact));
    check_alike(&loaded, dtype_info(type)->name, manners, sizeof manners / sizeof *manners, 8);
    arena_free(&arena);
}

static void test_every_type_at_every_level(void **state)
{
    (void)state;
    for (CpuIsa isa = CPU_ISA_PORTABLE; isa <= CPU_ISA_AMX; isa++) {
        for (DType type = 0; type < DT_COUNT && loaded_level_exists(isa); type++) {
            if (!dtype_info(type)->decode || !loaded_type_exists(type)) continue;
            check_type(type, isa, false);
            if (type == DT_F16 || type == DT_BF16) check_type(type, isa, true);
        }
    }
}

int main(void)
{
    if (!loaded_device_exists()) return TEST_SKIPPED;
    loaded_deterministic = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_architecture),
        cmocka_unit_test(test_every_type_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
