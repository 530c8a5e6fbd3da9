/*
 * repack.h - a model's weights re-laid into panels (packed.h, wide.h, bf16.h), once, in parallel.
 */
#ifndef IMP_COMPUTE_CPU_REPACK_H
#define IMP_COMPUTE_CPU_REPACK_H

#include "compute/compute.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/cpu/kernels.h"
#include "core/thread_pool.h"

typedef struct RepackedModel RepackedModel;

/* How a weight is multiplied. */
typedef enum ProductKind {
    PRODUCT_FLOAT,  /* as float32, without panels */
    PRODUCT_PACKED, /* packed.h */
    PRODUCT_WIDE,   /* wide.h */
    PRODUCT_BF16,   /* bf16.h */
} ProductKind;

ProductKind product_kind(const CpuKernels *kernels, const Weight *weight);

/* Bytes of a panel, 16 rows of a matrix; 0: there are none. */
size_t panel_bytes(const CpuKernels *kernels, const Weight *weight);
/* Re-lays the rows from `row` on, at most 16, into one panel. */
void panel_pack(const CpuKernels *kernels, const Weight *weight, int64_t row, uint8_t *panel);

/* Sets Weight.prepared of every weight of these layers (end 0: of the model) that has panels to them (uint8_t *, one after the other).
 * CPU_REPACK_AUTO leaves a model alone whose panels would take more than half of the memory that is available.
 * `in_lanes`: each thread of the pool touches the rows first that are in its lane of a weight's rows (task_order.h), and no others.
 * *out: the memory, NULL when nothing was re-laid. Cancelled or out of memory, no weight is prepared. */
ImpStatus repack_model(Model *model, LayerRange layers, const CpuKernels *kernels, CpuRepack mode, ThreadPool *pool,
                       bool in_lanes, const Progress *progress, RepackedModel **out);

/* The memory that the panels take; 0 of NULL. */
uint64_t repack_bytes(const RepackedModel *repacked);

/* Forgets the panels of `model`. */
void repack_release(Model *model, RepackedModel *repacked);

#endif
