/*
 * sample.cu - tokens drawn from rows of logits, so that only their ids leave the device.
 *
 * Floor: one read of the logits, which the head has just written: 0.6 MB for a row of 151,936, a microsecond from the
 * second cache; 128 rows are 78 MB, 18 us at 4.3 TB/s.
 *
 * Schedule: `survey` takes the maximum of every 128 logits, blocks side by side over all rows. `finish`, a block a row, has
 * then little left to read: the best token is the first one that reaches the first of the highest maxima. A row's result
 * depends on its own logits alone, whatever else is in the batch.
 */
#include "compute/cuda/launch.cuh"
#include "compute/cuda/sample.h"

namespace
{

enum { WARP = 32, SURVEY_THREADS = 512, SURVEY_BLOCKS = 2 * SURVEY_THREADS / WARP, FINISH_THREADS = 1024 };

/* A row as it is looked at. */
struct View {
    const float *logits;
    const uint32_t *allowed; /* NULL: all are */
    int32_t n;
    bool aligned; /* on 16 bytes */
};

__device__ __forceinline__ View view_of(const CudaSample &sample, const SampleRow &row, int index)
{
    const float *logits = sample.logits + (size_t)index * (size_t)sample.stride;
    return {logits, row.allowed, row.n_vocab, (reinterpret_cast<uintptr_t>(logits) & 15) == 0};
}

/* Four logits from i, a multiple of 4, on; what is not allowed or behind the end is -infinity. */
__device__ __forceinline__ float4 view_four(const View &view, int32_t i)
{
    float4 four = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    if (i >= view.n) return four;
    if (view.aligned && i + 4 <= view.n) {
        four = *reinterpret_cast<const float4 *>(view.logits + i);
    } else {
        four.x = view.logits[i];
        if (i + 1 < view.n) four.y = view.logits[i + 1];
        if (i + 2 < view.n) four.z = view.logits[i + 2];
        if (i + 3 < view.n) four.w = view.logits[i + 3];
    }
    if (view.allowed == NULL) return four;
    const uint32_t bits = view.allowed[i / 32] >> (i % 32);
    if ((bits & 1u) == 0) four.x = -INFINITY;
    if ((bits & 2u) == 0) four.y = -INFINITY;
    if ((bits & 4u) == 0) four.z = -INFINITY;
    if ((bits & 8u) == 0) four.w = -INFINITY;
    return four;
}

/* A NaN is never a maximum. */
__device__ __forceinline__ float warp_max(float value)
{
    for (int step = WARP / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    return value;
}

__device__ __forceinline__ float maximum_of(float4 four)
{
    return fmaxf(fmaxf(fmaxf(four.x, -INFINITY), four.y), fmaxf(four.z, four.w));
}

__global__ void __launch_bounds__(SURVEY_THREADS) survey(const CudaSample sample)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int lane = threadIdx.x % WARP, n_blocks = sample.n_blocks;
    const SampleRow &row = sample.rows[blockIdx.y];
    if (row.kind < SAMPLE_GREEDY) return;
    const View view = view_of(sample, row, blockIdx.y);
    const int first = blockIdx.x * SURVEY_BLOCKS + threadIdx.x / WARP * 2;
    const float4 a = view_four(view, first * CUDA_SAMPLE_BLOCK + 4 * lane);
    const float4 b = view_four(view, (first + 1) * CUDA_SAMPLE_BLOCK + 4 * lane);
    const float max_a = warp_max(maximum_of(a)), max_b = warp_max(maximum_of(b));
    float *maxima = sample.maxima + (size_t)blockIdx.y * n_blocks;
    if (lane == 0 && first < n_blocks) maxima[first] = max_a;
    if (lane == 1 && first + 1 < n_blocks) maxima[first + 1] = max_b;
}

/* ---- the end ---- */

/* The highest of n maxima, and the first block that has it; by all threads of the block. */
struct Peak {
    float value;
    int block;
};

__device__ Peak find_peak(const float *maxima, int n)
{
    __shared__ float values[FINISH_THREADS / WARP];
    __shared__ int blocks[FINISH_THREADS / WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    Peak own = {-INFINITY, 0};
    for (int i = threadIdx.x; i < n; i += FINISH_THREADS)
        if (maxima[i] > own.value) own = {maxima[i], i};
    float most = warp_max(own.value);
    int block = (int)__reduce_min_sync(0xFFFFFFFFu, own.value == most ? (unsigned)own.block : (unsigned)n);
    if (lane == 0) {
        values[warp] = most;
        blocks[warp] = block;
    }
    __syncthreads();
    own = {values[lane], blocks[lane]};
    __syncthreads();
    most = warp_max(own.value);
    block = (int)__reduce_min_sync(0xFFFFFFFFu, own.value == most ? (unsigned)own.block : (unsigned)n);
    return {most, block};
}

/* The first token of a block of logits that reaches `value`; by one warp. */
__device__ int first_reaching(const View &view, int block, float value)
{
    const int i = block * CUDA_SAMPLE_BLOCK + 4 * (threadIdx.x % WARP);
    const float4 four = view_four(view, i);
    unsigned at = 0xFFFFFFFFu;
    if (four.w >= value) at = i + 3;
    if (four.z >= value) at = i + 2;
    if (four.y >= value) at = i + 1;
    if (four.x >= value) at = i;
    return (int)__reduce_min_sync(0xFFFFFFFFu, at);
}

__global__ void __launch_bounds__(FINISH_THREADS) finish(const CudaSample sample)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const SampleRow &row = sample.rows[blockIdx.x];
    if (row.kind != SAMPLE_GREEDY) return;
    const View view = view_of(sample, row, blockIdx.x);
    const Peak peak = find_peak(sample.maxima + (size_t)blockIdx.x * sample.n_blocks, sample.n_blocks);
    if (threadIdx.x >= WARP) return;
    const int token = peak.value > -INFINITY ? first_reaching(view, peak.block, peak.value) : SAMPLE_NO_TOKEN;
    if (threadIdx.x == 0) sample.results[blockIdx.x] = {token, NAN};
}

} // namespace

extern "C" void cuda_sample_draw(CudaQueue *queue, const CudaSample *sample)
{
    cuda_launch(queue, survey, dim3((sample->n_blocks + SURVEY_BLOCKS - 1) / SURVEY_BLOCKS, sample->n_rows), SURVEY_THREADS, 0,
                *sample);
    cuda_launch(queue, finish, dim3(sample->n_rows), FINISH_THREADS, 0, *sample);
}
