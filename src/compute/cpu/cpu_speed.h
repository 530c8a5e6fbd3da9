/*
 * cpu_speed.h - how fast this machine reads memory and multiplies at best, measured: the yardsticks of benchmarks.
 */
#ifndef IMP_COMPUTE_CPU_SPEED_H
#define IMP_COMPUTE_CPU_SPEED_H

#include "core/status.h"

#include <stdint.h>

typedef struct CpuSpeed {
    double read_bytes;  /* a second, from memory, all threads together */
    double float_madds; /* float32 multiply-adds a second, in registers */
    double int8_madds;  /* 8-bit multiply-adds into 32 bits a second, in registers */
    double tile_madds;  /* the same in tiles (AMX); 0: there are none */
} CpuSpeed;

/* Best of a few short runs on `n_threads` threads (below 1: all processors); takes about a second and 512 MiB. */
ImpStatus cpu_speed_measure(int32_t n_threads, CpuSpeed *out);

/* One level's loops: `rounds` rounds of independent multiply-adds, so many a round; the result only keeps the compiler
 * from dropping them. NULL where the compiler's target has no such level. */
typedef struct CpuSpeedLoops {
    float (*float_madds)(int64_t rounds);
    int32_t (*int8_madds)(int64_t rounds);
    int32_t floats_a_round, int8s_a_round;
} CpuSpeedLoops;

const CpuSpeedLoops *cpu_speed_loops_avx2(void);
const CpuSpeedLoops *cpu_speed_loops_avx512(void); /* with VNNI */
const CpuSpeedLoops *cpu_speed_loops_amx(void);    /* bytes alone; only where kernels_level_exists(CPU_ISA_AMX) */

#endif
