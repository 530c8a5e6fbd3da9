/* amx_model.h - the level of AMX over a model of its instructions, which needs AVX-512. */
#ifndef IMP_TESTS_AMX_MODEL_H
#define IMP_TESTS_AMX_MODEL_H

#include "compute/cpu/kernels.h"

const CpuKernels *kernels_amx_model(void);

/* How many products of tiles this thread has computed, and how often it did what a processor refuses. */
int amx_model_products(void);
int amx_model_faults(void);

#endif
