/* kernels_amx.c - AVX-512's kernels, but products of many rows in tiles of signed bytes (AMX-TILE and AMX-INT8), and all of BF16
 * weights in tiles of BF16 where the processor has those (AMX-BF16). */
#include "compute/cpu/kernels.h"

#if defined(__x86_64__)
#include "compute/cpu/bf16_amx.h"
#include "compute/cpu/packed_amx.h"
#include "compute/cpu/wide_amx.h"

#include <pthread.h>

static CpuKernels amx_table;

static void fill_amx_table(void)
{
    amx_table = *kernels_avx512();
    amx_table.name = "AMX";
    amx_table.isa = CPU_ISA_AMX;
    amx_table.packed_multiply = packed_multiply_amx;
    amx_table.wide_quantize = wide_quantize_amx;
    amx_table.wide_multiply = wide_multiply_amx;
    if (!tile_has_bf16()) return;
    amx_table.bf16_round = bf16_round_amx;
    amx_table.bf16_multiply = bf16_multiply_amx;
}

const CpuKernels *kernels_amx(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fill_amx_table);
    return &amx_table;
}
#else
const CpuKernels *kernels_amx(void) { return NULL; }
#endif
