/*
 * test_allocations.c - nothing is allocated on the hot path: a hundred decode steps of three sequences, counted in malloc
 * itself, for every architecture.
 */
#include "loaded_model.h"

#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAVE_OWN_MALLOC 0
#else
#define HAVE_OWN_MALLOC 1
#endif
#else
#define HAVE_OWN_MALLOC 1
#endif

static _Atomic long n_allocations;

#if HAVE_OWN_MALLOC
/* glibc's allocator under its other names; ours take the public ones, for every library of the process. */
#define PUBLIC __attribute__((visibility("default")))
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

PUBLIC void *malloc(size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_malloc(size);
}

PUBLIC void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_calloc(count, size);
}

PUBLIC void *realloc(void *block, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_realloc(block, size);
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_memalign(alignment, size);
}

PUBLIC int posix_memalign(void **block, size_t alignment, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : 12; /* ENOMEM */
}
#endif

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
    const long before = atomic_load(&n_allocations);
    ImpStatus status = IMP_OK;
    for (int32_t step = 0; step < N_STEPS && status == IMP_OK; step++) {
        tokens[0] = 3 + step % 50;
        status = runner_step(loaded.runner, inputs, N_SEQUENCES, logits);
    }
    const long after = atomic_load(&n_allocations);
    assert_ok(status);
    if (after != before) fail_msg("%s: %ld allocations in %d steps", path, after - before, N_STEPS);
    free(logits);
    loaded_close(&loaded);
}

static void test_steps_do_not_allocate(void **state)
{
    (void)state;
    if (!HAVE_OWN_MALLOC) skip(); /* the sanitizer has taken malloc; the plain builds count */
    const long before = atomic_load(&n_allocations);
    free(malloc(1));
    assert_int_equal(atomic_load(&n_allocations), before + 1);

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
