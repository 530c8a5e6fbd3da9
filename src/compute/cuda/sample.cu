/*
 * sample.cu - tokens drawn from rows of logits, so that only their ids leave the device: what is done side by side over
 * the whole vocabulary.
 *
 * Floor: one read of the logits, which the head has just written: 0.6 MB for a row of 151,936, a microsecond from the
 * second cache; 128 rows are 78 MB, 18 us at 4.3 TB/s. Measured on an H200 to the token (tests/gpu/bench_sample.c):
 * greedy 3.6 and 24 us; top-k 40, top-p and a temperature 14 and 35; a temperature alone, which weighs all, 12 and 76.
 *
 * Schedule, four kernels that follow one another as those of a step do:
 *   adjust  changes the logits of single tokens (bias, penalties, DRY), keeping the old ones; where some row has any.
 *   survey  takes the maximum of every 128 logits.
 *   weigh   takes the mass of every 128 logits, against the row's maximum; where a chain begins with a link that needs
 * it. finish  (sample_finish.cu) is a block a row: with the maxima it knows which few of the 128s to read again. Masks
 * and a temperature are applied wherever a logit is read. A row's result depends on its own logits alone: sums have one
 * order, whatever else is in the batch.
 */
#include "compute/cuda/sample.cuh"

namespace
{

enum { THREADS = 512, WARPS = THREADS / SAMPLE_WARP, LOADS = 4, ADJUST_THREADS = 256 };

/* ---- single tokens ---- */

/* The old logit takes the place of what changed it, so that it can come back. */
__device__ __forceinline__ void exchange(float *logit, float value, SampleEntry *entry)
{
    entry->value = *logit;
    *logit = value;
}

__device__ void add_bias(const SampleList &list, float *logits)
{
    SampleEntry *entries = const_cast<SampleEntry *>(list.entries);
    for (int i = threadIdx.x; i < list.count; i += ADJUST_THREADS) {
        if (sample_is_again(entries, i)) continue;
        float *logit = &logits[entries[i].token], sum = *logit;
        for (int j = i; j < list.count; j++)
            if (entries[j].token == entries[i].token) sum += entries[j].value;
        exchange(logit, sum, &entries[i]);
    }
}

__device__ void penalize(const SampleRow &row, float *logits)
{
    SampleEntry *entries = const_cast<SampleEntry *>(row.penalties.entries);
    for (int i = threadIdx.x; i < row.penalties.count; i += ADJUST_THREADS) {
        float *logit = &logits[entries[i].token];
        exchange(logit, sample_penalized(row, *logit, entries[i].value), &entries[i]);
    }
}

__device__ void subtract_dry(const SampleList &list, float *logits)
{
    SampleEntry *entries = const_cast<SampleEntry *>(list.entries);
    for (int i = threadIdx.x; i < list.count; i += ADJUST_THREADS) {
        float *logit = &logits[entries[i].token];
        exchange(logit, *logit - entries[i].value, &entries[i]);
    }
}

__global__ void __launch_bounds__(ADJUST_THREADS) adjust(const CudaSample sample)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const SampleRow &row = sample.rows[blockIdx.x];
    if (row.kind < SAMPLE_GREEDY) return;
    float *logits = sample.logits + (size_t)blockIdx.x * (size_t)sample.stride;
    const Plan plan = plan_of(row);
    add_bias(row.bias, logits);
    for (int i = 0; i < plan.first_cut; i++) {
        __syncthreads();
        if (row.links[i] == SAMPLE_PENALTIES) penalize(row, logits);
        if (row.links[i] == SAMPLE_DRY) subtract_dry(row.dry, logits);
    }
}

/* ---- the whole vocabulary ---- */

__device__ __forceinline__ float maximum_of(float4 four)
{
    return fmaxf(fmaxf(fmaxf(four.x, -INFINITY), four.y), fmaxf(four.z, four.w));
}

/* Calls f(block, four of its logits) for `per_warp` blocks from the warp's first on, several loads ahead. */
template <typename Each>
__device__ __forceinline__ void each_block(const View &view, int n_blocks, int per_warp, const Each &f)
{
    const int first = (blockIdx.x * WARPS + threadIdx.x / SAMPLE_WARP) * per_warp,
              end = min(first + per_warp, n_blocks);
    const int lane = threadIdx.x % SAMPLE_WARP;
    for (int block = first; block < end; block += LOADS) {
        float4 fours[LOADS];
        for (int j = 0; j < LOADS; j++)
            if (block + j < end) fours[j] = view_four(view, (block + j) * CUDA_SAMPLE_BLOCK + 4 * lane);
        for (int j = 0; j < LOADS; j++)
            if (block + j < end) f(block + j, fours[j]);
    }
}

__global__ void __launch_bounds__(THREADS) survey(const CudaSample sample, int per_warp)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const SampleRow &row = sample.rows[blockIdx.y];
    if (row.kind < SAMPLE_GREEDY) return;
    float *maxima = sample.maxima + (size_t)blockIdx.y * sample.n_blocks;
    each_block(view_of(sample, row, blockIdx.y), sample.n_blocks, per_warp, [&](int block, float4 four) {
        const float max = warp_max(maximum_of(four));
        if (threadIdx.x % SAMPLE_WARP == 0) maxima[block] = max;
    });
}

/* The highest of all maxima, by all threads. */
__device__ float row_max(const float *maxima, int n)
{
    __shared__ float of_warps[SAMPLE_WARP];
    const int lane = threadIdx.x % SAMPLE_WARP, warp = threadIdx.x / SAMPLE_WARP;
    float own = -INFINITY;
    for (int i = threadIdx.x; i < n; i += THREADS) own = fmaxf(own, maxima[i]);
    own = warp_max(own);
    if (lane == 0) of_warps[warp] = own;
    __syncthreads();
    return warp_max(lane < WARPS ? of_warps[lane] : -INFINITY);
}

/* The mass of a block of logits and, where the mean is wanted, its share of that; by a warp: lanes first, then a tree
 * over them. */
__device__ __forceinline__ double2 weigh_block(float4 four, const Scale &scale, float max, bool centers)
{
    const float shifts[4] = {scaled(scale, four.x) - max, scaled(scale, four.y) - max, scaled(scale, four.z) - max,
                             scaled(scale, four.w) - max};
    double weights[4];
    for (int i = 0; i < 4; i++) weights[i] = (double)exp_negative(shifts[i]);
    double2 mass = {warp_sum((weights[0] + weights[1]) + (weights[2] + weights[3])), 0.0};
    if (!centers) return mass;
    double mean = 0.0;
    for (int i = 0; i < 4; i++)
        if (weights[i] > 0.0) mean += weights[i] * (double)shifts[i];
    mass.y = warp_sum(mean);
    return mass;
}

__global__ void __launch_bounds__(THREADS) weigh(const CudaSample sample, int per_warp)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const SampleRow &row = sample.rows[blockIdx.y];
    if (row.kind != SAMPLE_DRAW) return;
    const Plan plan = plan_of(row);
    if (!plan.weighs) return;
    const float max = row_max(sample.maxima + (size_t)blockIdx.y * sample.n_blocks, sample.n_blocks);
    const Scale scale = {plan.scales, max, row.factor};
    double2 *masses = reinterpret_cast<double2 *>(sample.masses) + (size_t)blockIdx.y * sample.n_blocks;
    each_block(view_of(sample, row, blockIdx.y), sample.n_blocks, per_warp, [&](int block, float4 four) {
        const double2 mass = weigh_block(four, scale, plan.scales ? 0.0f : max, plan.centers);
        if (threadIdx.x % SAMPLE_WARP == 0) masses[block] = mass;
    });
}

} // namespace

extern "C" CudaSampleNeeds cuda_sample_needs(const SampleRow *row)
{
    if (row->kind < SAMPLE_GREEDY) return {false, false};
    const Plan plan = plan_of(*row);
    return {plan.adjusts, plan.weighs};
}

extern "C" void cuda_sample_draw(CudaQueue *queue, const CudaSample *sample)
{
    /* Few rows are spread thin; with many a block's start is worth more work. What a block of logits gives is the same.
     */
    const int per_warp = sample->n_rows >= 32 ? 8 : sample->n_rows >= 8 ? 4 : 2;
    const int per_block = per_warp * WARPS;
    const dim3 all((sample->n_blocks + per_block - 1) / per_block, sample->n_rows);
    if (sample->needs.adjusting) cuda_launch(queue, adjust, dim3(sample->n_rows), ADJUST_THREADS, 0, *sample);
    cuda_launch(queue, survey, all, THREADS, 0, *sample, per_warp);
    if (sample->needs.weighing) cuda_launch(queue, weigh, all, THREADS, 0, *sample, per_warp);
    sample_finish(queue, sample);
}
