/*
 * cuda_sample.c - the host's part of drawing: what the rows ask for goes over in one copy while the model computes, and
 * the kernels are queued behind the step.
 *
 * They stand behind the step's recording, not in it: masks are made while the model computes, and which kernels are
 * needed changes with the rows. Their launches cost no time of the device's, which is at work meanwhile. Tokens are
 * written to pinned memory.
 */
#include "compute/cuda/cuda_private.h"

#include <math.h>
#include <string.h>

enum { ENTRIES_A_ROW = 1024, ENTRIES_MORE = 4096 };

static size_t capacity(const CudaCompute *compute)
{
    return (size_t)(compute->base.sizes.max_logits > 0 ? compute->base.sizes.max_logits : 1);
}

static size_t mask_bytes(int32_t n_vocab) { return ((size_t)n_vocab + 127) / 128 * 16; }

ImpStatus cuda_sampling_create(CudaCompute *compute)
{
    CudaSampling *sampling = &compute->sampling;
    const int32_t n_vocab = compute->base.model->n_vocab;
    const size_t rows = capacity(compute), blocks = (size_t)cuda_sample_blocks(n_vocab);
    uint64_t *account = &compute->base.memory.activations;
    sampling->bytes = rows * (sizeof(SampleRow) + mask_bytes(n_vocab) + 64) +
                      (rows * ENTRIES_A_ROW + ENTRIES_MORE) * sizeof(SampleEntry);
    IMP_TRY(cuda_check(cudaMallocHost((void **)&sampling->host, sampling->bytes), "pinned memory for draws"));
    IMP_TRY(cuda_check(cudaMallocHost((void **)&sampling->results, rows * sizeof *sampling->results),
                       "pinned memory for tokens"));
    IMP_TRY(cuda_take(compute, sampling->bytes, account, &sampling->device));
    IMP_TRY(cuda_take(compute, rows * blocks * sizeof(float), account, &sampling->maxima));
    IMP_TRY(cuda_take(compute, rows * blocks * 2 * sizeof(double), account, &sampling->masses));
    IMP_TRY(cuda_check(cudaStreamCreateWithFlags(&sampling->stream, cudaStreamNonBlocking), "a stream"));
    IMP_TRY(cuda_check(cudaEventCreateWithFlags(&sampling->uploaded, cudaEventDisableTiming), "an event"));
    compute->base.draws = blocks <= CUDA_SAMPLE_MAX_BLOCKS;
    return IMP_OK;
}

void cuda_sampling_destroy(CudaCompute *compute)
{
    CudaSampling *sampling = &compute->sampling;
    if (sampling->uploaded != NULL) (void)cudaEventDestroy(sampling->uploaded);
    if (sampling->stream != NULL) (void)cudaStreamDestroy(sampling->stream);
    (void)cudaFreeHost(sampling->host);
    (void)cudaFreeHost(sampling->results);
}

/* ---- what goes over ---- */

/* Puts bytes behind those that are there and says where they will be on the device; NULL: no room. */
static const void *put(CudaSampling *sampling, const void *bytes, size_t n)
{
    const size_t at = (sampling->used + 15) & ~(size_t)15;
    if (at + n > sampling->bytes) return NULL;
    memcpy(sampling->host + at, bytes, n);
    sampling->used = at + n;
    return sampling->device + at;
}

static bool put_list(CudaSampling *sampling, SampleList *list)
{
    if (list->count == 0) return true;
    list->entries = put(sampling, list->entries, (size_t)list->count * sizeof *list->entries);
    return list->entries != NULL;
}

/* A row as the device reads it; one that is not drawn there, or whose lists find no room, asks for nothing. */
static SampleRow device_row(CudaSampling *sampling, const SampleRow *given)
{
    SampleRow row = *given;
    bool good = row.kind >= SAMPLE_GREEDY;
    if (good)
        good = put_list(sampling, &row.bias) && put_list(sampling, &row.penalties) && put_list(sampling, &row.dry);
    if (good && row.allowed != NULL) {
        row.allowed = put(sampling, row.allowed, ((size_t)row.n_vocab + 31) / 32 * sizeof *row.allowed);
        good = row.allowed != NULL;
    }
    if (!good) row.kind = SAMPLE_NOTHING;
    return row;
}

/* False: there is nothing to draw. */
static bool upload_rows(CudaCompute *compute, const SampleRow *rows, int32_t n, CudaSampleNeeds *needs)
{
    CudaSampling *sampling = &compute->sampling;
    SampleRow *host = (SampleRow *)(void *)sampling->host;
    bool any = false;
    sampling->used = (size_t)n * sizeof *rows;
    for (int32_t i = 0; i < n; i++) {
        host[i] = device_row(sampling, &rows[i]);
        sampling->results[i] = (SampleResult){.token = SAMPLE_UNDONE, .surprise = NAN};
        const CudaSampleNeeds own = cuda_sample_needs(&host[i]);
        needs->adjusting = needs->adjusting || own.adjusting;
        needs->weighing = needs->weighing || own.weighing;
        any = any || host[i].kind != SAMPLE_NOTHING;
    }
    if (!any || compute->queue.error != cudaSuccess) return false;
    cudaError_t error =
        cudaMemcpyAsync(sampling->device, sampling->host, sampling->used, cudaMemcpyHostToDevice, sampling->stream);
    if (error == cudaSuccess) error = cudaEventRecord(sampling->uploaded, sampling->stream);
    if (error == cudaSuccess) error = cudaStreamWaitEvent(compute->queue.stream, sampling->uploaded, 0);
    compute->queue.error = error;
    return error == cudaSuccess;
}

/* Rows that are wanted as they are; neighbours that go to neighbouring places go together. */
static void copy_rows(CudaCompute *compute, const SampleRow *rows, int32_t n)
{
    const size_t width = (size_t)compute->base.model->n_vocab;
    for (int32_t i = 0, end; i < n && compute->queue.error == cudaSuccess; i = end) {
        end = i + 1;
        if (rows[i].kind != SAMPLE_LOGITS) continue;
        while (end < n && rows[end].kind == SAMPLE_LOGITS && rows[end].logits == rows[end - 1].logits + width) end++;
        compute->queue.error =
            cudaMemcpyAsync(rows[i].logits, compute->device_logits + (size_t)i * width,
                            (size_t)(end - i) * width * sizeof(float), cudaMemcpyDeviceToHost, compute->queue.stream);
    }
}

void cuda_sample(Compute *base, const SampleRow *rows, SampleResult *results)
{
    CudaCompute *compute = cuda_compute(base);
    CudaSampling *sampling = &compute->sampling;
    const int32_t n = compute->batch.n_logits;
    (void)cudaSetDevice(compute->backend->runtime_device);
    cuda_end_recording(compute);
    CudaSampleNeeds needs = {0};
    const bool any = upload_rows(compute, rows, n, &needs);
    copy_rows(compute, rows, n);
    const CudaSample sample = {.n_rows = n,
                               .needs = needs,
                               .stride = base->model->n_vocab,
                               .n_blocks = cuda_sample_blocks(base->model->n_vocab),
                               .logits = compute->device_logits,
                               .rows = (const SampleRow *)(const void *)sampling->device,
                               .results = sampling->results,
                               .maxima = sampling->maxima,
                               .masses = sampling->masses};
    if (any) cuda_sample_draw(&compute->queue, &sample);
    sampling->wanted = results;
}

ImpStatus cuda_logits_read(Compute *base, int32_t index, float *logits)
{
    CudaCompute *compute = cuda_compute(base);
    const size_t width = (size_t)base->model->n_vocab;
    (void)cudaSetDevice(compute->backend->runtime_device);
    return cuda_check(cudaMemcpy(logits, compute->device_logits + (size_t)index * width, width * sizeof(float),
                                 cudaMemcpyDeviceToHost),
                      "reading logits");
}
