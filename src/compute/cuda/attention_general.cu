/*
 * attention_general.cu - attention in float32 for any type of keys and values, any head size and any mask: what the
 * faster kernels are compared with, and what runs where none of them fits.
 *
 * The context is cut into parts of 256 keys at fixed places. A block takes up to four query heads of one KV head and
 * one row: scores of a part into shared memory (a warp reads 8 keys at a time, four lanes a key), one warp a head for
 * the softmax, then the weighted values (a lane holds 8 dimensions, the warps share the keys). Parts are merged in
 * ascending order, by the block itself when there are rows enough to fill the chip, else by a second kernel from the
 * workspace. Both add the same numbers in the same order, so a row's result depends neither on the batch nor on which
 * of them ran.
 *
 * Floor: a row reads its keys and values once a block: at a context of 16,384, llama-3.1-8b's shapes in float16 are 64
 * MB a layer, 15 us at 4.3 TB/s; the products, done one by one, take longer.
 */
#include "compute/cuda/attention.cuh"

namespace
{

enum { PART_KEYS = 256, BLOCK_HEADS = 4, WARPS = 8, THREADS = WARPS * 32, SPLIT_ROWS = 16 };

struct Shared {
    float *q;      /* [BLOCK_HEADS][padded] */
    float *scores; /* [BLOCK_HEADS][PART_KEYS] */
    float *sums;   /* [WARPS][BLOCK_HEADS][padded_v] */
    float *total;  /* [BLOCK_HEADS][padded_v]: merged so far */
    float *state;  /* [BLOCK_HEADS][4]: max and sum of the part, then factors of the merge */
    int32_t padded, padded_v;
};

__device__ Shared shared_of(const AttendTask &task, float *memory)
{
    Shared shared;
    shared.padded = 8 * task.layout.keys.chunks;
    shared.padded_v = 8 * task.layout.values.chunks;
    shared.q = memory;
    shared.scores = shared.q + BLOCK_HEADS * shared.padded;
    shared.sums = shared.scores + BLOCK_HEADS * PART_KEYS;
    shared.total = shared.sums + WARPS * BLOCK_HEADS * shared.padded_v;
    shared.state = shared.total + BLOCK_HEADS * shared.padded_v;
    return shared;
}

size_t shared_bytes(const AttendTask &task)
{
    const size_t padded = 8 * (size_t)task.layout.keys.chunks, padded_v = 8 * (size_t)task.layout.values.chunks;
    return BLOCK_HEADS * (padded + PART_KEYS + (WARPS + 1) * padded_v + 4) * sizeof(float);
}

/* What a block works on. */
struct Work {
    int32_t row, kv_head, first_head, n_heads;
    const int32_t *pages;
    KeyRange range;
};

__device__ Work work_of(const AttendTask &task)
{
    Work work;
    const int32_t head_blocks = (task.group + BLOCK_HEADS - 1) / BLOCK_HEADS;
    work.row = (int32_t)blockIdx.x;
    work.kv_head = (int32_t)blockIdx.y / head_blocks;
    const int32_t in_group = (int32_t)blockIdx.y % head_blocks * BLOCK_HEADS;
    work.first_head = work.kv_head * task.group + in_group;
    work.n_heads = min((int32_t)BLOCK_HEADS, task.group - in_group);
    const int32_t sequence = task.row_sequence[work.row];
    work.pages = task.page_table + (size_t)sequence * (size_t)task.page_stride;
    work.range = visible_keys(task, task.positions[work.row], task.n_past[sequence] + task.sequence_rows[sequence]);
    return work;
}

__device__ __forceinline__ const uint8_t *head_plane(const AttendTask &task, const Work &work, int32_t key)
{
    return task.pages + (size_t)work.pages[key / KV_PAGE_TOKENS] * task.page_bytes +
           (size_t)work.kv_head * task.layout.head_bytes;
}

/* Scores of a part's keys; -inf where a key is not seen. */
template <DType TYPE>
__device__ void score_part(const AttendTask &task, const Work &work, const Shared &shared, int32_t start)
{
    const int32_t lane = (int32_t)(threadIdx.x % 32), warp = (int32_t)(threadIdx.x / 32);
    for (int32_t eight = warp; eight < PART_KEYS / 8; eight += WARPS) {
        const int32_t base = start + eight * 8, key = base + lane % 8;
        float sum[BLOCK_HEADS] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (base < work.range.end && base + 8 > work.range.first) {
            const uint8_t *plane = head_plane(task, work, base);
            for (int32_t chunk = lane / 8; chunk < task.layout.keys.chunks; chunk += 4) {
                float k[8];
                kv_load_eight<TYPE>(plane, task.layout.keys, key % KV_PAGE_TOKENS, chunk, k);
#pragma unroll
                for (int h = 0; h < BLOCK_HEADS; h++)
#pragma unroll
                    for (int i = 0; i < 8; i++)
                        sum[h] = __fmaf_rn(shared.q[h * shared.padded + 8 * chunk + i], k[i], sum[h]);
            }
        }
        const bool seen = key >= work.range.first && key < work.range.end;
#pragma unroll
        for (int h = 0; h < BLOCK_HEADS; h++) {
            sum[h] += __shfl_xor_sync(~0u, sum[h], 8);
            sum[h] += __shfl_xor_sync(~0u, sum[h], 16);
            if (lane < 8)
                shared.scores[h * PART_KEYS + eight * 8 + lane] = seen ? finish_score(task, sum[h]) : -INFINITY;
        }
    }
}

/* Warp h turns head h's scores into weights; state[h]: the part's largest score and sum. */
__device__ void soften_part(const Shared &shared)
{
    const int32_t lane = (int32_t)(threadIdx.x % 32), head = (int32_t)(threadIdx.x / 32);
    if (head >= BLOCK_HEADS) return;
    float *scores = shared.scores + head * PART_KEYS, largest = -INFINITY, sum = 0.0f;
    for (int32_t i = lane; i < PART_KEYS; i += 32) largest = fmaxf(largest, scores[i]);
    largest = warp_max(largest);
    for (int32_t i = lane; i < PART_KEYS; i += 32) {
        const float weight = scores[i] == -INFINITY ? 0.0f : expf(scores[i] - largest);
        scores[i] = weight;
        sum += weight;
    }
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
    if (lane == 0) {
        shared.state[head * 4] = largest;
        shared.state[head * 4 + 1] = sum;
    }
}

/* Each warp's share of the weighted values into `sums`: 32 dimensions a turn, lane % 8 a key, lane / 8 a chunk. */
template <DType TYPE>
__device__ void weigh_part(const AttendTask &task, const Work &work, const Shared &shared, int32_t start)
{
    const int32_t lane = (int32_t)(threadIdx.x % 32), warp = (int32_t)(threadIdx.x / 32);
    for (int32_t chunk = lane / 8; chunk < (task.layout.values.chunks + 3) / 4 * 4; chunk += 4) {
        float sum[BLOCK_HEADS][8] = {};
        for (int32_t eight = warp; eight < PART_KEYS / 8; eight += WARPS) {
            const int32_t base = start + eight * 8, key = base + lane % 8;
            if (base >= work.range.end || base + 8 <= work.range.first) continue;
            if (key < work.range.first || key >= work.range.end || chunk >= task.layout.values.chunks) continue;
            const uint8_t *plane = head_plane(task, work, base) + task.layout.keys.bytes;
            float v[8];
            kv_load_eight<TYPE>(plane, task.layout.values, key % KV_PAGE_TOKENS, chunk, v);
#pragma unroll
            for (int h = 0; h < BLOCK_HEADS; h++) {
                const float weight = shared.scores[h * PART_KEYS + eight * 8 + lane % 8];
#pragma unroll
                for (int i = 0; i < 8; i++) sum[h][i] = __fmaf_rn(weight, v[i], sum[h][i]);
            }
        }
#pragma unroll
        for (int h = 0; h < BLOCK_HEADS; h++)
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float value = sum[h][i];
                for (int distance = 1; distance < 8; distance *= 2) value += __shfl_xor_sync(~0u, value, distance);
                if (lane % 8 == i && chunk < task.layout.values.chunks)
                    shared.sums[(warp * BLOCK_HEADS + h) * shared.padded_v + 8 * chunk + i] = value;
            }
    }
}

/* The warps' shares, added in order. */
__device__ __forceinline__ float part_value(const Shared &shared, int32_t head, int32_t d)
{
    float value = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) value += shared.sums[(w * BLOCK_HEADS + head) * shared.padded_v + d];
    return value;
}

/* A partial result in the workspace: [row][head][part] of head_dim_v values, largest score, sum. */
__device__ __forceinline__ float *partial_of(const AttendTask &task, int32_t row, int32_t head, int32_t part)
{
    const size_t index = ((size_t)row * (size_t)task.n_heads + (size_t)head) * (size_t)task.n_parts + (size_t)part;
    return task.partials + index * (size_t)(task.head_dim_v + 2);
}

/* grid: rows, KV heads times blocks of their query heads, parts (1: this block walks them all). */
template <DType TYPE> __global__ void __launch_bounds__(THREADS) general_kernel(const AttendTask task)
{
    extern __shared__ float memory[];
    cuda_let_next_start();
    const Shared shared = shared_of(task, memory);
    cuda_wait_for_inputs();
    const Work work = work_of(task);
    const bool split = task.n_parts > 1;
    const int32_t first_part = split ? (int32_t)blockIdx.z : work.range.first / PART_KEYS;
    const int32_t last_part = split ? first_part : (work.range.end - 1) / PART_KEYS;
    if (first_part * PART_KEYS >= work.range.end || (last_part + 1) * PART_KEYS <= work.range.first) return;

    for (int32_t i = (int32_t)threadIdx.x; i < BLOCK_HEADS * shared.padded; i += THREADS) {
        const int32_t h = i / shared.padded, d = i % shared.padded;
        const size_t head = (size_t)work.row * (size_t)task.n_heads + (size_t)(work.first_head + h);
        shared.q[i] = h < work.n_heads && d < task.head_dim ? task.q[head * (size_t)task.q_stride + (size_t)d] : 0.0f;
    }
    Softmax softmax[BLOCK_HEADS];
    for (int h = 0; h < BLOCK_HEADS; h++) softmax[h] = first_softmax(task, work.first_head + min(h, work.n_heads - 1));
    for (int32_t i = (int32_t)threadIdx.x; i < BLOCK_HEADS * shared.padded_v; i += THREADS) shared.total[i] = 0.0f;
    __syncthreads();

    for (int32_t part = first_part; part <= last_part; part++) {
        score_part<TYPE>(task, work, shared, part * PART_KEYS);
        __syncthreads();
        soften_part(shared);
        __syncthreads();
        weigh_part<TYPE>(task, work, shared, part * PART_KEYS);
        __syncthreads();
        for (int h = 0; h < BLOCK_HEADS; h++) {
            if (h >= work.n_heads) break;
            const Softmax found = {shared.state[h * 4], shared.state[h * 4 + 1]};
            if (split) {
                float *partial = partial_of(task, work.row, work.first_head + h, part);
                for (int32_t d = (int32_t)threadIdx.x; d < task.head_dim_v; d += THREADS)
                    partial[d] = part_value(shared, h, d);
                if (threadIdx.x == 0) {
                    partial[task.head_dim_v] = found.max;
                    partial[task.head_dim_v + 1] = found.sum;
                }
                continue;
            }
            float keep, take;
            merge_softmax(softmax[h], found, keep, take);
            for (int32_t d = (int32_t)threadIdx.x; d < task.head_dim_v; d += THREADS) {
                float *total = &shared.total[h * shared.padded_v + d];
                *total = merge_value(*total, keep, part_value(shared, h, d), take);
            }
        }
        __syncthreads();
    }
    if (split) return;
    for (int h = 0; h < BLOCK_HEADS; h++)
        if (h < work.n_heads)
            for (int32_t d = (int32_t)threadIdx.x; d < task.head_dim_v; d += THREADS)
                write_result(task, work.row, work.first_head + h, d, shared.total[h * shared.padded_v + d],
                             softmax[h].sum);
}

/* grid: rows, heads. */
__global__ void merge_kernel(const AttendTask task)
{
    cuda_let_next_start();
    const int32_t row = (int32_t)blockIdx.x, head = (int32_t)blockIdx.y;
    cuda_wait_for_inputs();
    const int32_t sequence = task.row_sequence[row];
    const KeyRange range =
        visible_keys(task, task.positions[row], task.n_past[sequence] + task.sequence_rows[sequence]);
    for (int32_t d = (int32_t)threadIdx.x; d < task.head_dim_v; d += (int32_t)blockDim.x) {
        Softmax softmax = first_softmax(task, head);
        float total = 0.0f;
        for (int32_t part = range.first / PART_KEYS; part * PART_KEYS < range.end; part++) {
            const float *partial = partial_of(task, row, head, part);
            float keep, take;
            merge_softmax(softmax, {partial[task.head_dim_v], partial[task.head_dim_v + 1]}, keep, take);
            total = merge_value(total, keep, partial[d], take);
        }
        write_result(task, row, head, d, total, softmax.sum);
    }
}

void (*general_kernel_of(DType type))(const AttendTask)
{
    switch (type) {
    case DT_F32: return general_kernel<DT_F32>;
    case DT_F16: return general_kernel<DT_F16>;
    case DT_BF16: return general_kernel<DT_BF16>;
    case DT_F8_E4M3: return general_kernel<DT_F8_E4M3>;
    case DT_I8: return general_kernel<DT_I8>;
    case DT_Q4_0: return general_kernel<DT_Q4_0>;
    case DT_NVFP4: return general_kernel<DT_NVFP4>;
    default: return NULL;
    }
}

size_t partial_bytes(int32_t n_heads, int32_t head_dim_v, int32_t rows, int32_t context)
{
    const size_t parts = ((size_t)context + PART_KEYS - 1) / PART_KEYS;
    return (size_t)rows * (size_t)n_heads * parts * (size_t)(head_dim_v + 2) * sizeof(float);
}

} // namespace

size_t attention_general_workspace(const Attention *spec, int32_t max_rows, int32_t max_context)
{
    return partial_bytes(spec->n_heads, spec->head_dim_v, max_rows < SPLIT_ROWS ? max_rows : (int32_t)SPLIT_ROWS,
                         max_context);
}

void attention_general(CudaQueue *queue, const CudaBatch *batch, AttendTask task, DType type)
{
    const auto kernel = general_kernel_of(type);
    if (kernel == NULL) {
        if (queue->error == cudaSuccess) queue->error = cudaErrorInvalidValue;
        return;
    }
    const int32_t parts = (batch->max_context + PART_KEYS - 1) / PART_KEYS;
    const bool split =
        parts > 1 && batch->n_rows <= SPLIT_ROWS &&
        partial_bytes(task.n_heads, task.head_dim_v, batch->n_rows, batch->max_context) <= queue->workspace_bytes;
    task.n_parts = split ? parts : 1;
    task.partials = (float *)queue->workspace;
    const int32_t head_blocks = (task.group + BLOCK_HEADS - 1) / BLOCK_HEADS;
    const dim3 grid((unsigned)batch->n_rows, (unsigned)(task.n_kv_heads * head_blocks), (unsigned)task.n_parts);
    cuda_launch(queue, kernel, grid, dim3(THREADS), shared_bytes(task), task);
    if (split)
        cuda_launch(queue, merge_kernel, dim3((unsigned)batch->n_rows, (unsigned)task.n_heads), dim3(128), 0, task);
}
