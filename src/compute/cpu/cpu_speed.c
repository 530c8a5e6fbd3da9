/*
 * cpu_speed.c - reads a buffer that no cache holds, in pages like those of a model's weights, and runs multiply-add loops that
 * never leave the registers.
 *
 * The numbers are what a kernel could reach at most, not what the data sheet says: threads share the memory controller,
 * and wide units lower the clock. The best of several runs counts, because everything that disturbs a run makes it
 * slower.
 */
#include "compute/cpu/cpu_speed.h"

#include "compute/cpu/kernels.h"
#include "core/clock.h"
#include "core/large_memory.h"
#include "core/thread_pool.h"

#include <string.h>

enum {
    N_RUNS = 7,
    PORTABLE_LANES = 32,
    READ_BLOCK = 1 << 20, /* bytes of one task */
};

static const size_t read_bytes = (size_t)512 << 20;
static const int64_t loop_rounds = 200000;

static float float_madds_portable(int64_t rounds)
{
    float sums[PORTABLE_LANES];
    for (int i = 0; i < PORTABLE_LANES; i++) sums[i] = (float)i;
    for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
        for (int i = 0; i < PORTABLE_LANES; i++) sums[i] = sums[i] * 0.999f + 0.5f;
    float total = 0;
    for (int i = 0; i < PORTABLE_LANES; i++) total += sums[i];
    return total;
}

static int32_t int8_madds_portable(int64_t rounds)
{
    uint32_t sums[PORTABLE_LANES];
    for (uint32_t i = 0; i < PORTABLE_LANES; i++) sums[i] = i;
    for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
        for (int i = 0; i < PORTABLE_LANES; i++) sums[i] += (uint32_t)((int32_t)(int8_t)sums[i] * 77);
    uint32_t total = 0;
    for (int i = 0; i < PORTABLE_LANES; i++) total += sums[i];
    return (int32_t)(total >> 1);
}

static const CpuSpeedLoops portable_loops = {
    .float_madds = float_madds_portable,
    .int8_madds = int8_madds_portable,
    .floats_a_round = PORTABLE_LANES,
    .int8s_a_round = PORTABLE_LANES,
};

static const CpuSpeedLoops *best_loops(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && cpu_speed_loops_avx512() != NULL)
        return cpu_speed_loops_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_speed_loops_avx2() != NULL)
        return cpu_speed_loops_avx2();
#endif
    return &portable_loops;
}

typedef struct SpeedRun {
    const CpuSpeedLoops *loops;
    uint64_t *words;
    _Atomic uint64_t kept; /* results go here: they must be computed */
} SpeedRun;

static void float_task(void *context, int32_t task, int32_t thread)
{
    (void)task, (void)thread;
    SpeedRun *run = context;
    run->kept = (uint64_t)run->loops->float_madds(loop_rounds);
}

static void int8_task(void *context, int32_t task, int32_t thread)
{
    (void)task, (void)thread;
    SpeedRun *run = context;
    run->kept = (uint64_t)run->loops->int8_madds(loop_rounds);
}

/* Pages that nobody has written are all the same one. */
static void fill_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const SpeedRun *run = context;
    memset((uint8_t *)run->words + (size_t)task * READ_BLOCK, 1, READ_BLOCK);
}

/* Sums one block in eight chains, so that loads, not additions, are what it waits for. */
static void read_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    SpeedRun *run = context;
    const size_t n_words = READ_BLOCK / sizeof *run->words;
    const uint64_t *words = run->words + (size_t)task * n_words;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < n_words; i += 8)
#pragma GCC unroll 8
        for (size_t lane = 0; lane < 8; lane++) sums[lane] += words[i + lane];
    uint64_t total = 0;
    for (size_t lane = 0; lane < 8; lane++) total += sums[lane];
    run->kept = total;
}

/* Seconds of the fastest of several runs. */
static double fastest(ThreadPool *pool, ThreadTask *task, SpeedRun *run, int32_t n_tasks)
{
    double best = 0;
    for (int i = 0; i < N_RUNS; i++) {
        const double start = clock_seconds();
        thread_pool_run(pool, task, run, n_tasks);
        const double seconds = clock_seconds() - start;
        if (i == 0 || seconds < best) best = seconds;
    }
    return best > 1e-9 ? best : 1e-9;
}

ImpStatus cpu_speed_measure(int32_t n_threads, CpuSpeed *out)
{
    ThreadPool *pool;
    IMP_TRY(thread_pool_create(n_threads, &pool));
    SpeedRun run = {.loops = best_loops(), .words = large_memory_take(read_bytes)};
    if (run.words == NULL) {
        thread_pool_free(pool);
        return imp_fail_memory(read_bytes);
    }
    const int32_t n_tasks = thread_pool_size(pool);
    thread_pool_run(pool, fill_task, &run, (int32_t)(read_bytes / READ_BLOCK));
    const double rounds = (double)loop_rounds * n_tasks;
    out->float_madds = rounds * run.loops->floats_a_round / fastest(pool, float_task, &run, n_tasks);
    out->int8_madds = rounds * run.loops->int8s_a_round / fastest(pool, int8_task, &run, n_tasks);
    out->tile_madds = 0;
    if (kernels_level_exists(CPU_ISA_AMX) && cpu_speed_loops_amx() != NULL) {
        run.loops = cpu_speed_loops_amx();
        out->tile_madds = rounds * run.loops->int8s_a_round / fastest(pool, int8_task, &run, n_tasks);
    }
    out->read_bytes = (double)read_bytes / fastest(pool, read_task, &run, (int32_t)(read_bytes / READ_BLOCK));
    large_memory_give(run.words, read_bytes);
    thread_pool_free(pool);
    return IMP_OK;
}
