/* kernels_avx2.c - the kernels in AVX2 with FMA and F16C. */
#include "compute/cpu/kernels.h"

#if defined(__x86_64__)
#include "compute/cpu/simd_avx2.h"

#include "compute/cpu/float_kernels.h"
#define ATTEND_TILE 3
#define ATTEND_SLICES 2
#include "compute/cpu/attend_kernels.h"
#include "compute/cpu/packed_avx2.h"
#include "compute/cpu/quantize_kernels.h"
#include "compute/cpu/wide_avx2.h"
#include "compute/cpu/wide_kernels.h"

const CpuKernels *kernels_avx2(void)
{
    static const CpuKernels table = {.name = "AVX2", .isa = CPU_ISA_AVX2, FLOAT_KERNELS, ATTEND_KERNELS,
                                     .quantize_row = quantize_row, .packed_multiply = packed_multiply_avx2,
                                     .wide_multiply = wide_multiply};
    return &table;
}
#else
const CpuKernels *kernels_avx2(void) { return NULL; }
#endif
