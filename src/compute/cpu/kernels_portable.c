/* kernels_portable.c - the kernels in plain C11, on any processor: the reference. */
#include "compute/cpu/simd_portable.h"

#include "compute/cpu/float_kernels.h"
#include "compute/cpu/attend_kernels.h"
#include "compute/cpu/packed_kernels.h"
#include "compute/cpu/quantize_kernels.h"
#include "compute/cpu/wide_kernels.h"

const CpuKernels *kernels_portable(void)
{
    static const CpuKernels table = {.name = "portable", .isa = CPU_ISA_PORTABLE, FLOAT_KERNELS, ATTEND_KERNELS,
                                     .quantize_row = quantize_row, .packed_multiply = packed_multiply,
                                     .wide_multiply = wide_multiply};
    return &table;
}
