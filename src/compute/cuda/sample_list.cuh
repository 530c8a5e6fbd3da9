/*
 * sample_list.cuh - what one block of threads does with numbers side by side: sums in one order, the k-th highest, a
 * sort.
 *
 * All threads of the block call each of these together and with the same arguments, and get the same answer.
 */
#ifndef IMP_COMPUTE_CUDA_SAMPLE_LIST_CUH
#define IMP_COMPUTE_CUDA_SAMPLE_LIST_CUH

#include "compute/cuda/sample.cuh"

#include <float.h>

enum { LIST_THREADS = 512, LIST_WARPS = LIST_THREADS / SAMPLE_WARP, LIST_CAPACITY = 4096 };
/* Of kth_highest: values of a digit, and how many numbers more than k may reach the bound. */
enum { KTH_DIGITS = 256, KTH_MORE = 32 };

/* The sum of the values of this thread and those before it; *total: of all. Threads from `n` on have zeros. */
__device__ __forceinline__ double block_scan(double value, int n, double *total)
{
    __shared__ double of_warps[LIST_WARPS];
    const int lane = threadIdx.x % SAMPLE_WARP, warp = threadIdx.x / SAMPLE_WARP;
    for (int step = 1; step < SAMPLE_WARP; step *= 2) {
        const double other = __shfl_up_sync(0xFFFFFFFFu, value, step);
        if (lane >= step) value += other;
    }
    if (lane == SAMPLE_WARP - 1) of_warps[warp] = value;
    __syncthreads();
    double before = 0.0, sum = 0.0;
    for (int w = 0; w < LIST_WARPS && w * SAMPLE_WARP < n; w++) {
        if (w == warp) before = sum;
        sum += of_warps[w];
    }
    __syncthreads();
    *total = sum;
    return before + value;
}

__device__ __forceinline__ int block_min(int value)
{
    __shared__ int of_warps[LIST_WARPS];
    value = __reduce_min_sync(0xFFFFFFFFu, value);
    if (threadIdx.x % SAMPLE_WARP == 0) of_warps[threadIdx.x / SAMPLE_WARP] = value;
    __syncthreads();
    int least = of_warps[0];
    for (int w = 1; w < LIST_WARPS; w++) least = min(least, of_warps[w]);
    __syncthreads();
    return least;
}

/* The sum of weight(i) for i < n: what each thread has, and then that. */
template <typename Weight> __device__ __forceinline__ double list_sum(int n, const Weight &weight)
{
    double own = 0.0, sum;
    for (int i = threadIdx.x; i < n; i += LIST_THREADS) own += weight(i);
    (void)block_scan(own, n, &sum);
    return sum;
}

/* Where a sum in order comes to `target`. */
struct Reached {
    int index;     /* the first i at which weight(0) + … + weight(i) is target, or above it if `above`; n: none */
    double before; /* the sum up to there, without it; known to the thread `index` % LIST_THREADS alone */
};

template <typename Weight>
__device__ __forceinline__ Reached list_reach(int n, double target, bool above, const Weight &weight)
{
    double sum = 0.0, part;
    for (int first = 0; first < n; first += LIST_THREADS) {
        const int i = first + threadIdx.x;
        const double own = i < n ? weight(i) : 0.0, here = sum + block_scan(own, n - first, &part);
        const bool there = i < n && (above ? here > target : here >= target);
        const int index = block_min(there ? i : n);
        if (index < n) return {index, here - own};
        sum += part;
    }
    return {n, sum};
}

/* A lower bound of the k-th highest number, which few others reach; there are k numbers or more. each(f) calls f with
 * the ascending_bits of those that are this thread's. Digit by digit of the bits, from the highest. */
template <typename Each> __device__ __forceinline__ float kth_highest(int k, const Each &each)
{
    __shared__ int counts[KTH_DIGITS];
    __shared__ int4 found; /* the digit, how many are above it, how many have it; loaded as one */
    const int lane = threadIdx.x % SAMPLE_WARP;
    uint32_t prefix = 0;
    int left = k;
    for (int shift = 24; shift >= 0; shift -= 8) {
        if (threadIdx.x < KTH_DIGITS) counts[threadIdx.x] = 0;
        __syncthreads();
        each([&](uint32_t bits) {
            if ((bits ^ prefix) >> shift >> 8 == 0) atomicAdd(&counts[bits >> shift & (KTH_DIGITS - 1)], 1);
        });
        __syncthreads();
        if (threadIdx.x < SAMPLE_WARP) {
            /* Lane l has the digits 255 - 8 l and the seven below it. */
            int sum = 0;
            for (int j = 0; j < 8; j++) sum += counts[KTH_DIGITS - 1 - 8 * lane - j];
            int upto = sum;
            for (int step = 1; step < SAMPLE_WARP; step *= 2) {
                const int other = __shfl_up_sync(0xFFFFFFFFu, upto, step);
                if (lane >= step) upto += other;
            }
            int above = upto - sum;
            if (above < left && upto >= left) {
                int digit = KTH_DIGITS - 1 - 8 * lane;
                while (above + counts[digit] < left) above += counts[digit--];
                found = {digit, above, counts[digit], 0};
            }
        }
        __syncthreads();
        const int4 digit = found;
        prefix |= (uint32_t)digit.x << shift;
        left -= digit.y;
        if (digit.z - left <= KTH_MORE) break;
    }
    __syncthreads();
    return fmaxf(from_ascending_bits(max(prefix, 0x00800000u)), -FLT_MAX); /* below that are -infinity and no numbers */
}

/* Sorts items[n] in shared memory, which has room for the next power of two, the smallest first. A bitonic network: up
 * to a distance of 32 a warp's pairs lie within its own 64 items, and only it has to wait. */
__device__ inline void list_sort(uint64_t *items, int n)
{
    int size = 2 * SAMPLE_WARP;
    while (size < n) size *= 2;
    for (int i = n + (int)threadIdx.x; i < size; i += LIST_THREADS) items[i] = ~(uint64_t)0;
    __syncthreads();
    for (int run = 2; run <= size; run *= 2) {
        for (int distance = run / 2; distance > 0; distance /= 2) {
            for (int pair = threadIdx.x; pair < size / 2; pair += LIST_THREADS) {
                const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
                const uint64_t a = items[i], b = items[j];
                if ((a > b) == ((i & run) == 0)) {
                    items[i] = b;
                    items[j] = a;
                }
            }
            const int next = distance > 1 ? distance / 2 : run;
            if (distance > SAMPLE_WARP || next > SAMPLE_WARP)
                __syncthreads();
            else
                __syncwarp();
        }
    }
    __syncthreads();
}

#endif
