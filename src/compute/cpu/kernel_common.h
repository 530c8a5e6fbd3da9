/*
 * kernel_common.h - what the kernels of several levels share: how they are inlined and unrolled, and how far ahead they ask for
 * weights.
 */
#ifndef IMP_COMPUTE_CPU_KERNEL_COMMON_H
#define IMP_COMPUTE_CPU_KERNEL_COMMON_H

#include <stddef.h>

#ifndef KERNEL_INLINE
#define KERNEL_INLINE static inline __attribute__((always_inline))
#endif

/* Before a loop whose number of turns is constant: gcc keeps the arrays that it indexes in registers only when it unrolls the
 * loop early, which clang does by itself. */
#ifdef __clang__
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Bytes ahead that one to three rows' weights, read once and in order, are asked for; 0: not at all. AMD's processors fetch such a
 * stream by themselves, and are slowed by a third when the code asks too (Zen 4: 46 GB/s become 32); Intel's stop at each page of 4 KB
 * (Emerald Rapids, two cores, Q4_0: 17 GB/s, and 25 to 29 when asked so far ahead). */
static inline size_t weights_ahead(void) { return __builtin_cpu_is("intel") ? 8192 : 0; }

#endif
