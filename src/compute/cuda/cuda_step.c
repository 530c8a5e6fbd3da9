/*
 * cuda_step.c - one step from the host's side: the batch goes over in one copy, logits that are wanted come back in one, and
 * a decode step is recorded the first time its shape is seen and replayed from then on.
 *
 * What a recording fixes are the numbers of rows and of wanted logits, and a bound of the context, rounded up to a power
 * of two; all that changes from step to step is read from the batch on the device. So a growing conversation needs a new
 * recording a dozen times in its life.
 */
#include "compute/cuda/cuda_private.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_CONTEXT_BOUND = 1024 };

/* ---- the batch ---- */

static size_t groups_of(const CudaCompute *compute) { return (size_t)compute->base.model->n_page_groups; }

static int32_t context_bound(const CudaCompute *compute, int32_t longest)
{
    const int32_t most = compute->base.sizes.max_tokens;
    int32_t bound = LEAST_CONTEXT_BOUND;
    while (bound < longest) bound *= 2;
    if (bound > most) bound = most;
    return (bound + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
}

static size_t all_pages(const CudaCompute *compute)
{
    const ComputeSizes *sizes = &compute->base.sizes;
    return (size_t)sizes->max_sequences * ((size_t)sizes->max_tokens / KV_PAGE_TOKENS + 1) * groups_of(compute);
}

/* The arrays of the batch one after the other; `at` moves on. */
static int32_t *next_array(const CudaCompute *compute, size_t n, size_t *at, const int32_t **on_device)
{
    int32_t *host = compute->host_batch + *at;
    *on_device = compute->device_batch + *at;
    *at += (n + 3) & ~(size_t)3; /* on 16 bytes */
    return host;
}

typedef struct HostBatch {
    int32_t *tokens, *positions, *row_sequence, *first_row, *sequence_rows, *n_past, *state_slot, *logit_rows;
} HostBatch;

static HostBatch place_arrays(CudaCompute *compute, size_t *at)
{
    const ComputeSizes *sizes = &compute->base.sizes;
    const size_t rows = (size_t)sizes->max_rows, sequences = (size_t)sizes->max_sequences;
    CudaBatch *batch = &compute->batch;
    *at = 0;
    return (HostBatch){
        .tokens = next_array(compute, rows, at, &batch->tokens),
        .positions = next_array(compute, rows, at, &batch->positions),
        .row_sequence = next_array(compute, rows, at, &batch->row_sequence),
        .first_row = next_array(compute, sequences, at, &batch->first_row),
        .sequence_rows = next_array(compute, sequences, at, &batch->sequence_rows),
        .n_past = next_array(compute, sequences, at, &batch->n_past),
        .state_slot = next_array(compute, sequences, at, &batch->state_slot),
        .logit_rows = next_array(compute, (size_t)sizes->max_logits, at, &batch->logit_rows),
    };
}

ImpStatus cuda_step_create(CudaCompute *compute)
{
    const ComputeSizes *sizes = &compute->base.sizes;
    const size_t rows = (size_t)sizes->max_rows, logits = (size_t)(sizes->max_logits > 0 ? sizes->max_logits : 1);
    const size_t width = (size_t)compute->base.model->n_embd, vocab = (size_t)compute->base.model->n_vocab;
    ComputeMemory *memory = &compute->base.memory;
    compute->batch_words = 3 * rows + 4 * (size_t)sizes->max_sequences + logits + all_pages(compute) + 64;
    IMP_TRY(cuda_check(cudaMallocHost((void **)&compute->host_batch, compute->batch_words * sizeof(int32_t)),
                       "pinned memory for batches"));
    IMP_TRY(cuda_take(compute, compute->batch_words * sizeof(int32_t), &memory->activations, &compute->device_batch));
    IMP_TRY(cuda_take(compute, logits * width * sizeof(float), &memory->activations, &compute->logit_input.f32));
    IMP_TRY(cuda_take(compute, logits * width * sizeof(uint16_t), &memory->activations, &compute->logit_input.bf16));
    IMP_TRY(cuda_take(compute, logits * vocab * sizeof(float), &memory->activations, &compute->device_logits));
    return cuda_check(cudaMallocHost((void **)&compute->host_logits, logits * vocab * sizeof(float)),
                      "pinned memory for logits");
}

void cuda_step_destroy(CudaCompute *compute)
{
    for (int32_t i = 0; i < compute->n_recordings; i++) (void)cudaGraphExecDestroy(compute->recordings[i].graph);
    (void)cudaFreeHost(compute->host_batch);
    (void)cudaFreeHost(compute->host_logits);
}

static void fill_sequences(CudaCompute *compute, const Batch *batch, const HostBatch *host, int32_t *pages)
{
    const Model *model = compute->base.model;
    CudaBatch *out = &compute->batch;
    for (int32_t s = 0; s < batch->n_sequences; s++) {
        const BatchSequence *sequence = &batch->sequences[s];
        host->first_row[s] = sequence->first_row;
        host->sequence_rows[s] = sequence->n_rows;
        host->n_past[s] = sequence->n_past;
        host->state_slot[s] = sequence->state_slot;
        for (int32_t r = 0; r < sequence->n_rows; r++) host->row_sequence[sequence->first_row + r] = s;
        const int32_t used = (sequence->n_past + sequence->n_rows + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        for (int32_t g = 0; g < model->n_page_groups; g++) {
            int32_t *list = pages + ((size_t)g * (size_t)batch->n_sequences + (size_t)s) * (size_t)out->page_stride[g];
            memcpy(list, sequence->pages[g], (size_t)used * sizeof *list);
        }
    }
}

static bool fits(const CudaCompute *compute, const Batch *batch, int32_t longest)
{
    const ComputeSizes *sizes = &compute->base.sizes;
    return batch->n_rows <= sizes->max_rows && batch->n_sequences <= sizes->max_sequences &&
           batch->n_logits <= sizes->max_logits && longest <= sizes->max_tokens;
}

void cuda_begin(Compute *base, const Batch *batch)
{
    CudaCompute *compute = cuda_compute(base);
    CudaBatch *out = &compute->batch;
    int32_t longest = 0, most_rows = 0;
    for (int32_t s = 0; s < batch->n_sequences; s++) {
        const BatchSequence *sequence = &batch->sequences[s];
        const int32_t length = sequence->n_past + sequence->n_rows;
        longest = length > longest ? length : longest;
        most_rows = sequence->n_rows > most_rows ? sequence->n_rows : most_rows;
    }
    compute->status = IMP_OK;
    compute->wanted_logits = NULL;
    compute->sampling.wanted = NULL;
    compute->queue.error = cudaSuccess;
    compute->step++;
    if (!fits(compute, batch, longest)) {
        compute->status = imp_fail(IMP_ERR_INTERNAL, "a batch of %d rows of %d sequences is larger than what was sized",
                                   (int)batch->n_rows, (int)batch->n_sequences);
        compute->queue.error = cudaErrorInvalidValue; /* nothing is launched */
        return;
    }
    (void)cudaSetDevice(compute->backend->runtime_device);
    size_t at;
    const HostBatch host = place_arrays(compute, &at);
    out->n_rows = batch->n_rows;
    out->n_sequences = batch->n_sequences;
    out->n_logits = batch->n_logits;
    out->max_context = context_bound(compute, longest);
    out->max_sequence_rows = most_rows;
    compute->several = batch->n_rows > 1 || compute->queue.deterministic;
    memcpy(host.tokens, batch->tokens, (size_t)batch->n_rows * sizeof(int32_t));
    memcpy(host.positions, batch->positions, (size_t)batch->n_rows * sizeof(int32_t));
    if (batch->n_logits > 0) memcpy(host.logit_rows, batch->logit_rows, (size_t)batch->n_logits * sizeof(int32_t));
    const int32_t stride = out->max_context / KV_PAGE_TOKENS;
    int32_t *pages = compute->host_batch + at;
    for (int32_t g = 0; g < compute->base.model->n_page_groups; g++) {
        out->page_stride[g] = stride;
        out->pages[g] = compute->device_batch + at + (size_t)g * (size_t)batch->n_sequences * (size_t)stride;
    }
    fill_sequences(compute, batch, &host, pages);
    at += groups_of(compute) * (size_t)batch->n_sequences * (size_t)stride;
    compute->queue.error = cudaMemcpyAsync(compute->device_batch, compute->host_batch, at * sizeof(int32_t),
                                           cudaMemcpyHostToDevice, compute->queue.stream);
}

/* ---- logits ---- */

typedef struct CudaHostBlock {
    struct CudaHostBlock *next;
    void *memory;
    size_t bytes;
} CudaHostBlock;

void *cuda_host_alloc(Compute *base, size_t bytes)
{
    CudaCompute *compute = cuda_compute(base);
    CudaHostBlock *block = calloc(1, sizeof *block);
    if (block == NULL) return NULL;
    (void)cudaSetDevice(compute->backend->runtime_device);
    if (cudaMallocHost(&block->memory, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        free(block);
        return NULL;
    }
    memset(block->memory, 0, bytes);
    block->bytes = bytes;
    block->next = compute->host_blocks;
    compute->host_blocks = block;
    return block->memory;
}

void cuda_host_free(Compute *base, void *memory)
{
    CudaCompute *compute = cuda_compute(base);
    for (CudaHostBlock **link = &compute->host_blocks; *link != NULL; link = &(*link)->next) {
        CudaHostBlock *block = *link;
        if (block->memory != memory) continue;
        *link = block->next;
        (void)cudaFreeHost(memory);
        free(block);
        return;
    }
}

/* Where the device writes logits that are wanted at `logits`: there, when it can, else into memory of its own. */
static float *reachable(const CudaCompute *compute, float *logits)
{
    const uint8_t *at = (const uint8_t *)logits;
    for (const CudaHostBlock *block = compute->host_blocks; block != NULL; block = block->next) {
        const uint8_t *first = block->memory;
        if (at >= first && at < first + block->bytes) return logits;
    }
    return compute->host_logits;
}

void cuda_logits(Compute *base, const Model *model, Act x, float *logits)
{
    CudaCompute *compute = cuda_compute(base);
    const int32_t n = compute->batch.n_logits;
    const CudaWeight *head = model->head.prepared;
    const CudaOutput output = {.weight = head, .bias = model->head_bias.prepared, .y = compute->device_logits};
    const bool all_rows = n == compute->batch.n_rows; /* in their order */
    const CudaAct *input = all_rows ? cuda_act(x) : &compute->logit_input;
    if (!all_rows)
        cuda_gather_rows(&compute->queue, compute->batch.logit_rows, n, x.width, cuda_act(x), cuda_forms(compute),
                         &compute->logit_input);
    cuda_multiply(compute, input, n, &output, 1);
    cuda_finish_logits(&compute->queue, compute->device_logits, n, model->n_vocab, model->logit_multiplier,
                       model->logit_softcap);
    if (compute->queue.error == cudaSuccess && logits != NULL)
        compute->queue.error = cudaMemcpyAsync(reachable(compute, logits), compute->device_logits,
                                               (size_t)n * (size_t)model->n_vocab * sizeof(float),
                                               cudaMemcpyDeviceToHost, compute->queue.stream);
    compute->wanted_logits = logits;
}

/* ---- recordings ---- */

static bool is_recording_of(const CudaRecording *recording, const CudaBatch *batch, const float *logits)
{
    return recording->n_rows == batch->n_rows && recording->n_logits == batch->n_logits &&
           recording->max_context == batch->max_context && recording->logits == logits;
}

bool cuda_replay(Compute *base, float *logits)
{
    CudaCompute *compute = cuda_compute(base);
    const CudaBatch *batch = &compute->batch;
    if (compute->backend->options.graphs == CUDA_GRAPHS_NEVER || compute->queue.error != cudaSuccess) return false;
    if (batch->max_sequence_rows != 1) return false;
    float *const target = batch->n_logits > 0 && logits != NULL ? reachable(compute, logits) : NULL;
    for (int32_t i = 0; i < compute->n_recordings; i++) {
        CudaRecording *recording = &compute->recordings[i];
        if (!is_recording_of(recording, batch, target)) continue;
        recording->last_used = compute->step;
        compute->queue.error = cudaGraphLaunch(recording->graph, compute->queue.stream);
        compute->wanted_logits = batch->n_logits > 0 ? logits : NULL;
        return true;
    }
    compute->queue.error = cudaStreamBeginCapture(compute->queue.stream, cudaStreamCaptureModeThreadLocal);
    compute->recording = compute->queue.error == cudaSuccess;
    return false;
}

/* A free place, or the one whose recording was used longest ago. */
static CudaRecording *place_for_recording(CudaCompute *compute)
{
    if (compute->n_recordings < MAX_RECORDINGS) return &compute->recordings[compute->n_recordings++];
    CudaRecording *oldest = &compute->recordings[0];
    for (int32_t i = 1; i < MAX_RECORDINGS; i++)
        if (compute->recordings[i].last_used < oldest->last_used) oldest = &compute->recordings[i];
    (void)cudaGraphExecDestroy(oldest->graph);
    return oldest;
}

void cuda_end_recording(CudaCompute *compute)
{
    if (!compute->recording) return;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t executable = NULL;
    compute->recording = false;
    cudaError_t error = cudaStreamEndCapture(compute->queue.stream, &graph);
    if (compute->queue.error == cudaSuccess) compute->queue.error = error;
    if (compute->queue.error == cudaSuccess) compute->queue.error = cudaGraphInstantiate(&executable, graph, 0);
    if (graph != NULL) (void)cudaGraphDestroy(graph);
    if (compute->queue.error != cudaSuccess) return;
    *place_for_recording(compute) = (CudaRecording){.n_rows = compute->batch.n_rows,
                                                    .n_logits = compute->batch.n_logits,
                                                    .max_context = compute->batch.max_context,
                                                    .logits = compute->wanted_logits != NULL
                                                                  ? reachable(compute, compute->wanted_logits)
                                                                  : NULL,
                                                    .graph = executable,
                                                    .last_used = compute->step};
    compute->queue.error = cudaGraphLaunch(executable, compute->queue.stream);
}

ImpStatus cuda_finish(Compute *base)
{
    CudaCompute *compute = cuda_compute(base);
    cuda_end_recording(compute);
    const cudaError_t ended = cudaStreamSynchronize(compute->queue.stream);
    if (compute->status != IMP_OK) return compute->status;
    IMP_TRY(cuda_check(compute->queue.error, "starting a step"));
    IMP_TRY(cuda_check(ended, "a step"));
    if (compute->wanted_logits != NULL && reachable(compute, compute->wanted_logits) == compute->host_logits)
        memcpy(compute->wanted_logits, compute->host_logits,
               (size_t)compute->batch.n_logits * (size_t)compute->base.model->n_vocab * sizeof(float));
    if (compute->sampling.wanted != NULL)
        memcpy(compute->sampling.wanted, compute->sampling.results,
               (size_t)compute->batch.n_logits * sizeof *compute->sampling.results);
    return IMP_OK;
}
