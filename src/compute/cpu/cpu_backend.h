/*
 * cpu_backend.h - the CPU as a backend: every data type, any x86-64 (and any other processor, more slowly).
 */
#ifndef IMP_COMPUTE_CPU_BACKEND_H
#define IMP_COMPUTE_CPU_BACKEND_H

#include "compute/compute.h"

typedef enum CpuIsa { CPU_ISA_AUTO, CPU_ISA_PORTABLE, CPU_ISA_AVX2, CPU_ISA_AVX512, CPU_ISA_AMX } CpuIsa;
typedef enum CpuRepack { CPU_REPACK_AUTO, CPU_REPACK_ALWAYS, CPU_REPACK_NEVER } CpuRepack;

typedef struct CpuOptions {
    int32_t n_threads; /* 0: physical cores */
    CpuIsa isa;        /* the highest level to use; above what the processor has is an error */
    CpuRepack repack;
    bool pin_threads;
    float fine_threshold; /* which activations of quantized products get 16 bits instead of 8 (packed.h): the lower the
                             more, all below any block's share; 0: chosen by the model's size */
} CpuOptions;

/* A model that was prepared by one CPU backend runs on all with the same isa and repack, at once if need be; the one that
 * prepared it releases it, after them. */
ImpStatus cpu_backend_create(const CpuOptions *options, Backend **out);

#endif
