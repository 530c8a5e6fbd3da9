/* cpu_kernels_amx.c - the kernels of AMX once more, over the model of its tile instructions (amx_tiles.h), for processors
 * that have AVX-512 and no AMX. Part of test_cpu_kernels.c and test_cpu_bf16.c. */
#include "compute/amx_model.h"

#if defined(__x86_64__)
#define IMP_TILE_MODEL
#define kernels_amx kernels_amx_model
#include "compute/cpu/kernels_amx.c"

int amx_model_products(void) { return tile_products; }
int amx_model_faults(void) { return tile_faults; }
#else
const CpuKernels *kernels_amx_model(void) { return NULL; }
int amx_model_products(void) { return 0; }
int amx_model_faults(void) { return 0; }
#endif
