/*
 * repack.c - one region for all panels, filled weight by weight.
 *
 * The region is as large as the tensors it holds, within a few percent. It is asked of the system in one piece, so that
 * huge pages can back it, and is first touched by the threads that fill it.
 */
#include "compute/cpu/repack.h"

#include "compute/cpu/packed.h"
#include "compute/cpu/task_order.h"
#include "compute/cpu/wide.h"
#include "core/large_memory.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_ALIGN = 64, PANELS_PER_TASK = TASK_ROWS / PANEL_ROWS };

struct RepackedModel {
    uint8_t *region;
    size_t size;
};

typedef struct RepackRun {
    Model *model;
    LayerRange layers; /* end 0: the whole model */
    const CpuKernels *kernels;
    ThreadPool *pool;
    bool in_lanes;
    const Progress *progress;
    uint8_t *region; /* NULL: only sizes are wanted */
    size_t used, size;
} RepackRun;

/* ---- one weight ---- */

ProductKind product_kind(const CpuKernels *kernels, const Weight *weight)
{
    if (packed_format(weight->type) != NULL) return PRODUCT_PACKED;
    if (!wide_fits(weight)) return PRODUCT_FLOAT;
    return weight->type == DT_BF16 && kernels->bf16_multiply != NULL ? PRODUCT_BF16 : PRODUCT_WIDE;
}

size_t panel_bytes(const CpuKernels *kernels, const Weight *weight)
{
    switch (product_kind(kernels, weight)) {
    case PRODUCT_PACKED: return packed_panel_bytes(packed_format(weight->type), weight->cols);
    case PRODUCT_WIDE: return wide_panel_bytes(weight->cols);
    case PRODUCT_BF16: return bf16_panel_bytes(weight->cols);
    case PRODUCT_FLOAT: break;
    }
    return 0;
}

void panel_pack(const CpuKernels *kernels, const Weight *weight, int64_t row, uint8_t *panel)
{
    const ProductKind kind = product_kind(kernels, weight);
    const uint8_t *rows = weight->data + (size_t)row * weight->row_bytes;
    const int64_t left = weight->rows - row;
    const int32_t n_rows = left < PANEL_ROWS ? (int32_t)left : PANEL_ROWS;
    if (kind == PRODUCT_PACKED)
        packed_pack(packed_format(weight->type), rows, weight->row_bytes, n_rows, weight->cols, panel);
    else if (kind == PRODUCT_BF16) bf16_pack(rows, weight->row_bytes, n_rows, weight->cols, panel);
    else wide_pack(kernels_decoder(kernels, weight->type), rows, weight->row_bytes, n_rows, weight->cols, panel);
}

typedef struct WeightRun {
    const Weight *weight;
    const CpuKernels *kernels;
    uint8_t *panels;
    size_t panel_bytes;
    int64_t n_panels;
} WeightRun;

static void pack_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const WeightRun *run = context;
    const int64_t first = (int64_t)task * PANELS_PER_TASK;
    for (int64_t p = first; p < first + PANELS_PER_TASK && p < run->n_panels; p++)
        panel_pack(run->kernels, run->weight, p * PANEL_ROWS, run->panels + (size_t)p * run->panel_bytes);
}

static int64_t panels_of(const Weight *weight) { return (weight->rows + PANEL_ROWS - 1) / PANEL_ROWS; }

/* Whether a weight is multiplied at all: an embedding that is not the head too is only looked up. */
static bool wanted(const RepackRun *run, const Weight *weight)
{
    return weight != &run->model->embedding && weight_present(weight) && panel_bytes(run->kernels, weight) > 0;
}

static ImpStatus visit(Weight *weight, void *context)
{
    RepackRun *run = context;
    if (!wanted(run, weight)) return IMP_OK;
    WeightRun part = {weight, run->kernels, NULL, panel_bytes(run->kernels, weight), panels_of(weight)};
    const size_t bytes = ((size_t)part.n_panels * part.panel_bytes + PANEL_ALIGN - 1) & ~(size_t)(PANEL_ALIGN - 1);
    if (run->region != NULL) {
        part.panels = run->region + run->used;
        (run->in_lanes ? thread_pool_run_lanes : thread_pool_run)(
            run->pool, pack_task, &part, (int32_t)((part.n_panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK));
        weight->prepared = part.panels;
    }
    run->used += bytes;
    const Progress *progress = run->progress;
    if (run->region != NULL && progress != NULL && progress->callback != NULL &&
        !progress->callback(progress->user, "re-laying weights", run->used, run->size))
        return imp_fail(IMP_ERR_CANCELLED, "cancelled while weights were re-laid");
    return IMP_OK;
}

static ImpStatus forget(Weight *weight, void *context)
{
    (void)context;
    weight->prepared = NULL;
    return IMP_OK;
}

/* ---- the model ---- */

/* MemAvailable of /proc/meminfo in bytes; SIZE_MAX where there is none. */
static size_t available_memory(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) return SIZE_MAX;
    char line[128];
    unsigned long long kib = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) found = sscanf(line, "MemAvailable: %llu", &kib) == 1;
    (void)fclose(file);
    return found ? (size_t)kib * 1024 : SIZE_MAX;
}

static ImpStatus visit_range(RepackRun *run)
{
    if (run->layers.end == 0) return model_visit_weights(run->model, visit, run);
    return model_visit_layers(run->model, run->layers.first, run->layers.end, visit, run);
}

ImpStatus repack_model(Model *model, LayerRange layers, const CpuKernels *kernels, CpuRepack mode, ThreadPool *pool,
                       bool in_lanes, const Progress *progress, RepackedModel **out)
{
    *out = NULL;
    if (mode == CPU_REPACK_NEVER) return IMP_OK;
    RepackRun run = {.model = model, .layers = layers, .kernels = kernels, .pool = pool, .in_lanes = in_lanes,
                     .progress = progress};
    IMP_TRY(visit_range(&run));
    if (run.used == 0) return IMP_OK;
    if (mode == CPU_REPACK_AUTO && run.used > available_memory() / 2) {
        log_line(LOG_WARNING, "weights stay as they are in the file: re-laying them takes %zu MiB, more than half of what "
                              "is available (cpu.repack = always insists)", run.used >> 20);
        return IMP_OK;
    }
    RepackedModel *repacked = calloc(1, sizeof *repacked);
    if (repacked == NULL) return imp_fail_memory(sizeof *repacked);
    repacked->size = run.used;
    repacked->region = large_memory_take(run.used);
    if (repacked->region == NULL) {
        free(repacked);
        return imp_fail_memory(run.used);
    }
    run.region = repacked->region;
    run.size = run.used;
    run.used = 0;
    const ImpStatus status = visit_range(&run);
    if (status != IMP_OK) {
        repack_release(model, repacked);
        return status;
    }
    *out = repacked;
    return IMP_OK;
}

uint64_t repack_bytes(const RepackedModel *repacked) { return repacked == NULL ? 0 : repacked->size; }

void repack_release(Model *model, RepackedModel *repacked)
{
    if (repacked == NULL) return;
    (void)model_visit_weights(model, forget, NULL);
    large_memory_give(repacked->region, repacked->size);
    free(repacked);
}
