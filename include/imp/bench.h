/*
 * imp/bench.h - how fast a model runs, and how fast the machine could run it.
 *
 * Prompts and decoding are measured apart, repeated, after one run that does not count. What a run reads and multiplies
 * is counted too, so that a speed can be set against the machine's own limits.
 */
#ifndef IMP_BENCH_H
#define IMP_BENCH_H

#include "imp/imp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One measurement: each of n_sequences sequences holds `depth` tokens before the clock starts, then computes n_prompt
 * tokens in chunks, then decodes n_generate one after the other, all sequences together in each step. The context must
 * have been created for n_sequences more than its own, with room for depth + n_prompt + n_generate tokens in each. */
typedef struct ImpBenchTest {
    size_t size;
    int32_t n_prompt, n_generate; /* not both 0 */
    int32_t n_sequences;          /* at least 1 */
    int32_t depth;
    int32_t reps; /* runs that count, at least 1 */
    bool processor_time; /* count processors' seconds, not the clock's: for one thread on a machine that others use too */
} ImpBenchTest;

typedef struct ImpBenchResult {
    size_t size;
    int64_t n_tokens;         /* of one run: n_sequences * (n_prompt + n_generate) */
    double tokens_per_second; /* mean over the runs */
    double deviation;         /* sample standard deviation, 0 for one run */
    double best;              /* of the fastest run */
    double bytes_per_token;   /* that must be read: weights once a step, keys and values */
    double madds_per_token;   /* multiply-adds that must be computed */
} ImpBenchResult;

/* Set result->size first. The context's own conversation is left alone. */
IMP_API ImpStatus imp_bench(ImpContext context, const ImpBenchTest *test, ImpBenchResult *result);

/* What the processor reaches at best. */
typedef struct ImpMachineSpeed {
    size_t size;
    double read_bytes;  /* a second, from memory */
    double float_madds; /* float32 multiply-adds a second */
    double int8_madds;  /* 8-bit multiply-adds a second */
    double tile_madds;  /* the same in AMX tiles; 0: the processor or the system has none */
} ImpMachineSpeed;

/* Measures on n_threads threads (0: all processors), which takes about a second. Set speed->size first. */
IMP_API ImpStatus imp_bench_machine(int32_t n_threads, ImpMachineSpeed *speed);

#ifdef __cplusplus
}
#endif
#endif
