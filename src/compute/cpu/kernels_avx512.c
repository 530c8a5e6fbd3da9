/* kernels_avx512.c - the kernels in AVX-512 (F, BW, DQ, VL, VNNI). */
#include "compute/cpu/kernels.h"

#if defined(__x86_64__)
#include "compute/cpu/simd_avx512.h"

#include "compute/cpu/float_kernels.h"
#include "compute/cpu/attend_kernels.h"
#include "compute/cpu/packed_avx512.h"
#include "compute/cpu/quantize_avx512.h"
#include "compute/cpu/wide_avx512.h"

const CpuKernels *kernels_avx512(void)
{
    static const CpuKernels table = {.name = "AVX-512", .isa = CPU_ISA_AVX512, FLOAT_KERNELS, ATTEND_KERNELS,
                                     .quantize_row = quantize_row_avx512, .packed_multiply = packed_multiply_avx512,
                                     .wide_multiply = wide_multiply_avx512};
    return &table;
}
#else
const CpuKernels *kernels_avx512(void) { return NULL; }
#endif
