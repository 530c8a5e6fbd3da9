/*
 * loaded_model.h - a golden model (tests/oracle/golden) from file to runner, with its tokens and the logits it must give.
 *
 * Tests that include it are built twice where there is a CUDA compiler: for the processor, and with IMP_TEST_GPU for the first
 * GPU, whose tier of kernels the environment may lower (IMP_TIER=0), or for the processor's first layer and the GPU's others
 * (IMP_SPLIT=1).
 */
#ifndef IMP_TESTS_LOADED_MODEL_H
#define IMP_TESTS_LOADED_MODEL_H

#include "cmocka_all.h"

#include "compute/cpu/cpu_backend.h"
#include "compute/cuda/cuda_backend.h"
#include "compute/split.h"
#include "core/strbuf.h"
#include "core/file_map.h"
#include "runtime/runner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN_DIR IMP_TEST_DATA "/oracle/golden"

enum { MAX_GOLDENS = 1024, GOLDEN_TOKENS = 60, TEST_SKIPPED = 77 };

#define assert_ok(expression)                                                                                          \
    do {                                                                                                               \
        const ImpStatus assert_status = (expression);                                                                  \
        if (assert_status != IMP_OK) fail_msg("%s: %s", imp_status_name(assert_status), imp_last_error());             \
    } while (0)

typedef struct LoadedModel {
    ModelFile *file;
    Model *model;
    Backend *backend;
    Runner *runner;
} LoadedModel;

/* The names of the goldens in a directory, sorted; returns how many. */
static inline size_t golden_names(const char *directory, char *names[MAX_GOLDENS])
{
    struct dirent **entries = NULL;
    const int n_entries = scandir(directory, &entries, NULL, alphasort);
    size_t n = 0;
    for (int i = 0; i < n_entries; i++) {
        char tokens[512];
        snprintf(tokens, sizeof tokens, "%s/%s/tokens.bin", directory, entries[i]->d_name);
        if (access(tokens, R_OK) == 0 && n < MAX_GOLDENS) names[n++] = strdup(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return n;
}

static bool loaded_deterministic; /* what a GPU is asked for; the processor always is */

#ifdef IMP_TEST_GPU

static inline bool loaded_device_exists(void) { return cuda_device_count() > 0; }
static inline bool loaded_level_exists(CpuIsa isa) { return isa == CPU_ISA_PORTABLE; }
static inline bool loaded_type_exists(DType type) { return type != DT_F64; }

static inline ImpStatus loaded_backend(CpuIsa isa, int32_t n_threads, Backend **out)
{
    const char *tier = getenv("IMP_TIER");
    const CudaOptions cuda = {.tier = tier != NULL && strcmp(tier, "0") == 0 ? CUDA_USE_PORTABLE : CUDA_USE_AUTO,
                              .deterministic = loaded_deterministic};
    Backend *cpu = NULL, *gpu = NULL;
    if (getenv("IMP_SPLIT") == NULL) return cuda_backend_create(&cuda, out);
    IMP_TRY(cpu_backend_create(&(CpuOptions){.n_threads = n_threads, .isa = isa}, &cpu));
    IMP_TRY(cuda_backend_create(&cuda, &gpu));
    return split_backend_create(cpu, gpu, 1, out);
}

#else

static inline bool loaded_device_exists(void) { return true; }
static inline bool loaded_type_exists(DType type) { return type < DT_COUNT; }

static inline ImpStatus loaded_backend(CpuIsa isa, int32_t n_threads, Backend **out)
{
    const CpuOptions cpu = {.n_threads = n_threads, .isa = isa};
    (void)loaded_deterministic;
    return cpu_backend_create(&cpu, out);
}

static inline bool loaded_level_exists(CpuIsa isa)
{
    Backend *backend;
    if (loaded_backend(isa, 1, &backend) != IMP_OK) return false;
    backend->ops->destroy(backend);
    return true;
}

#endif

static inline void loaded_runner(LoadedModel *loaded, CpuIsa isa, int32_t n_threads, const RunnerOptions *options)
{
    if (getenv("IMP_SPLIT") != NULL && loaded->model->n_layers < 2) skip(); /* one layer cannot be split */
    assert_ok(loaded_backend(isa, n_threads, &loaded->backend));
    assert_ok(loaded->backend->ops->prepare(loaded->backend, loaded->model, NULL));
    assert_ok(runner_create(loaded->backend, loaded->model, options, &loaded->runner));
}

static inline void loaded_open(LoadedModel *loaded, const char *path, CpuIsa isa, int32_t n_threads,
                               const RunnerOptions *options)
{
    *loaded = (LoadedModel){0};
    assert_ok(model_file_open(path, MODEL_FORMAT_AUTO, &loaded->file));
    assert_ok(model_load(loaded->file, &loaded->model));
    loaded_runner(loaded, isa, n_threads, options);
}

static inline void loaded_close_runner(LoadedModel *loaded)
{
    runner_free(loaded->runner);
    loaded->backend->ops->release(loaded->backend, loaded->model);
    loaded->backend->ops->destroy(loaded->backend);
}

static inline void loaded_close(LoadedModel *loaded)
{
    loaded_close_runner(loaded);
    model_free(loaded->model);
    model_file_close(loaded->file);
}

static inline int32_t loaded_sequence(LoadedModel *loaded)
{
    int32_t sequence = -1;
    assert_ok(kv_sequence_open(runner_kv(loaded->runner), &sequence));
    return sequence;
}

/* One step of one sequence, all its rows' logits. */
static inline void loaded_step(LoadedModel *loaded, int32_t sequence, const int32_t *tokens, int32_t n, float *logits)
{
    const StepInput input = {.sequence = sequence, .tokens = tokens, .n_tokens = n, .n_logits = n};
    assert_ok(runner_step(loaded->runner, &input, 1, logits));
}

#endif
