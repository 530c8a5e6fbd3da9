/*
 * repack.h - a model's quantized weights re-laid into panels, once, in parallel.
 */
#ifndef IMP_COMPUTE_CPU_REPACK_H
#define IMP_COMPUTE_CPU_REPACK_H

#include "compute/compute.h"
#include "compute/cpu/cpu_backend.h"
#include "core/thread_pool.h"

typedef struct RepackedModel RepackedModel;

/* Sets Weight.prepared of every weight that has a packed format to its panels (uint8_t *, one after the other).
 * CPU_REPACK_AUTO leaves a model alone whose panels would take more than half of the memory that is available.
 * *out: the memory, NULL when nothing was re-laid. Cancelled or out of memory, no weight is prepared. */
ImpStatus repack_model(Model *model, CpuRepack mode, ThreadPool *pool, const Progress *progress, RepackedModel **out);

/* Forgets the panels of `model`. */
void repack_release(Model *model, RepackedModel *repacked);

#endif
