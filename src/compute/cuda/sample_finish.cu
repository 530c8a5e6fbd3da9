/*
 * sample_finish.cu - the last kernel of a draw, a block a row: from the maxima of the vocabulary's blocks to one token.
 *
 * Floor: latency. The row's parameters and maxima, a selection among the maxima, the few blocks that reach it, a sort
 * of what they hold, and two sums a link: 10 us for top-k 40, top-p and a temperature. Calls in place of inlined code
 * were 4 us slower.
 *
 * Schedule: the k-th highest maximum is a lower bound of the k-th highest logit, since k blocks have one as high. So
 * top-k gathers what reaches it and sorts that; a threshold (min-p, mirostat) gathers what reaches the threshold; top-p
 * and typical-p, which know the mass of all, gather the 64 best in this way, and eight times as many where they do not
 * hold enough, and at last as many as fit. Where there are fewer blocks than tokens are wanted, the bound comes from
 * the logits themselves. Later links work on the sorted list in shared memory. Without any the token is found in the
 * order of ids: first its block by the blocks' masses, then itself. What does not fit into the list is left to the
 * host, with the logits as they were.
 */
#include "compute/cuda/sample_list.cuh"

namespace
{

enum { FIRST_RANK = 64, MORE_RANKS = 8, MOST_LISTED = LIST_CAPACITY - KTH_MORE, GATHER_LOADS = 4 };

/* In dynamic shared memory. */
struct ListMemory {
    uint64_t sorting[LIST_CAPACITY];
    float keys[LIST_CAPACITY];
    int32_t ids[LIST_CAPACITY];
};

/* A row on its way; the same in all threads. */
struct Chain {
    const SampleRow &row;
    View view;
    const float *maxima;   /* [n_blocks] of logits as they lie in memory */
    const double2 *masses; /* [n_blocks] */
    int n_blocks;
    Scale scale; /* of the whole vocabulary */
    bool whole;  /* every token is a candidate still; else the list holds them, the most probable first */
    float max;   /* of the candidates */
    ListMemory &list;
    int n; /* of the list */
};

__device__ __forceinline__ double weight_of(const Chain &chain, int i)
{
    return (double)exp_negative(chain.list.keys[i] - chain.max);
}

/* ---- the maximum ---- */

struct Peak {
    float value;
    int block; /* the first that has it */
};

__device__ Peak find_peak(const float *maxima, int n)
{
    __shared__ float of_warps[LIST_WARPS];
    Peak own = {-INFINITY, n};
    for (int i = threadIdx.x; i < n; i += LIST_THREADS)
        if (maxima[i] > own.value) own = {maxima[i], i};
    const float warps = warp_max(own.value);
    if (threadIdx.x % SAMPLE_WARP == 0) of_warps[threadIdx.x / SAMPLE_WARP] = warps;
    __syncthreads();
    float most = of_warps[0];
    for (int w = 1; w < LIST_WARPS; w++) most = fmaxf(most, of_warps[w]);
    return {most, block_min(own.value == most ? own.block : n)};
}

/* The first token of a block of logits that reaches `value`; by one warp. */
__device__ int first_reaching(const View &view, int block, float value)
{
    const int i = block * CUDA_SAMPLE_BLOCK + 4 * (threadIdx.x % SAMPLE_WARP);
    const float4 four = view_four(view, i);
    int at = view.n;
    if (four.w >= value) at = i + 3;
    if (four.z >= value) at = i + 2;
    if (four.y >= value) at = i + 1;
    if (four.x >= value) at = i;
    return __reduce_min_sync(0xFFFFFFFFu, at);
}

/* ---- the list ---- */

__device__ __forceinline__ void push(ListMemory &list, int *n, float value, int32_t id)
{
    const int at = atomicAdd(n, 1);
    if (at < LIST_CAPACITY) list.sorting[at] = (uint64_t)~ascending_bits(value) << 32 | (uint32_t)id;
}

/* Makes the list of all tokens of at least `threshold`, of those with `weighty` that have a weight; false: too many. */
__device__ bool gather(Chain &chain, float threshold, bool weighty)
{
    __shared__ int n_near, n_listed;
    ListMemory &list = chain.list;
    uint16_t *near = reinterpret_cast<uint16_t *>(list.ids); /* blocks with something to list */
    const int lane = threadIdx.x % SAMPLE_WARP, warp = threadIdx.x / SAMPLE_WARP;
    const float bound = fmaxf(threshold, -FLT_MAX);
    __syncthreads();
    if (threadIdx.x == 0) n_near = n_listed = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < chain.n_blocks; i += LIST_THREADS)
        if (scaled(chain.scale, chain.maxima[i]) >= bound) near[atomicAdd(&n_near, 1)] = (uint16_t)i;
    __syncthreads();
    for (int first = warp; first < n_near; first += GATHER_LOADS * LIST_WARPS) {
        float4 fours[GATHER_LOADS];
        int at[GATHER_LOADS];
        for (int j = 0; j < GATHER_LOADS; j++) {
            const int block = first + j * LIST_WARPS;
            at[j] = block < n_near ? near[block] * CUDA_SAMPLE_BLOCK + 4 * lane : chain.view.n;
            fours[j] = view_four(chain.view, at[j]);
        }
        for (int j = 0; j < GATHER_LOADS; j++) {
            const float values[4] = {fours[j].x, fours[j].y, fours[j].z, fours[j].w};
            for (int e = 0; e < 4; e++) {
                const float value = scaled(chain.scale, values[e]);
                if (value >= bound && (!weighty || value - chain.max > SAMPLE_LEAST_SHIFT))
                    push(list, &n_listed, value, at[j] + e);
            }
        }
    }
    __syncthreads();
    const int n = n_listed;
    if (n > LIST_CAPACITY) return false;
    list_sort(list.sorting, n);
    for (int i = threadIdx.x; i < n; i += LIST_THREADS) {
        list.keys[i] = from_ascending_bits(~(uint32_t)(list.sorting[i] >> 32));
        list.ids[i] = (int32_t)(uint32_t)list.sorting[i];
    }
    __syncthreads();
    chain.n = n;
    chain.whole = false;
    return true;
}

/* The list's first is the most probable; all have read it when keys change again. */
__device__ __forceinline__ void take_max(Chain &chain)
{
    chain.max = chain.list.keys[0];
    __syncthreads();
}

/* The list in order again after its keys changed; equal keys stay in the order they had. */
__device__ void resort(Chain &chain)
{
    enum { OWN = LIST_CAPACITY / LIST_THREADS };
    ListMemory &list = chain.list;
    __syncthreads();
    for (int i = threadIdx.x; i < chain.n; i += LIST_THREADS)
        list.sorting[i] = (uint64_t)~ascending_bits(list.keys[i]) << 32 | (uint32_t)i;
    list_sort(list.sorting, chain.n);
    float keys[OWN];
    int32_t ids[OWN];
    for (int j = 0; j < OWN; j++) {
        const int i = j * LIST_THREADS + threadIdx.x;
        if (i >= chain.n) break;
        keys[j] = list.keys[(uint32_t)list.sorting[i]];
        ids[j] = list.ids[(uint32_t)list.sorting[i]];
    }
    __syncthreads();
    for (int j = 0; j < OWN; j++) {
        const int i = j * LIST_THREADS + threadIdx.x;
        if (i >= chain.n) break;
        list.keys[i] = keys[j];
        list.ids[i] = ids[j];
    }
    __syncthreads();
    take_max(chain);
}

/* ---- links ---- */

__device__ void penalize_list(Chain &chain, bool dry)
{
    const SampleList &entries = dry ? chain.row.dry : chain.row.penalties;
    for (int e = threadIdx.x; e < entries.count; e += LIST_THREADS) {
        const SampleEntry entry = entries.entries[e];
        for (int i = 0; i < chain.n; i++) {
            if (chain.list.ids[i] != entry.token) continue;
            float *key = &chain.list.keys[i];
            *key = dry ? *key - entry.value : sample_penalized(chain.row, *key, entry.value);
        }
    }
    resort(chain);
}

__device__ void apply_temperature(Chain &chain)
{
    const Scale scale = {true, chain.max, chain.row.factor};
    if (chain.whole) {
        chain.scale = scale;
    } else {
        for (int i = threadIdx.x; i < chain.n; i += LIST_THREADS)
            chain.list.keys[i] = scaled(scale, chain.list.keys[i]);
        __syncthreads();
    }
    chain.max = 0.0f;
}

/* The k-th highest maximum. */
__device__ float bound_of_blocks(const Chain &chain, int k)
{
    enum { OWN = CUDA_SAMPLE_MAX_BLOCKS / LIST_THREADS };
    float own[OWN];
    for (int j = 0; j < OWN; j++) {
        const int i = j * LIST_THREADS + threadIdx.x;
        own[j] = i < chain.n_blocks ? chain.maxima[i] : 0.0f;
    }
    return kth_highest(k, [&](const auto &count) {
        for (int j = 0; j < OWN; j++)
            if (j * LIST_THREADS + (int)threadIdx.x < chain.n_blocks) count(ascending_bits(own[j]));
    });
}

/* The k-th highest logit, of all; a NaN is the lowest. */
__device__ float bound_of_tokens(const Chain &chain, int k)
{
    return kth_highest(k, [&](const auto &count) {
        for (int first = 0; first < chain.view.n; first += 4 * GATHER_LOADS * LIST_THREADS) {
            float4 fours[GATHER_LOADS];
            for (int j = 0; j < GATHER_LOADS; j++)
                fours[j] = view_four(chain.view, first + 4 * (j * LIST_THREADS + (int)threadIdx.x));
            for (int j = 0; j < GATHER_LOADS; j++) {
                const int at = first + 4 * (j * LIST_THREADS + (int)threadIdx.x);
                const float values[4] = {fours[j].x, fours[j].y, fours[j].z, fours[j].w};
                for (int e = 0; e < 4; e++)
                    if (at + e < chain.view.n) count(isnan(values[e]) ? 0u : ascending_bits(values[e]));
            }
        }
    });
}

/* What the k most probable tokens reach, and not many more, as candidates are compared; -infinity where the list has
 * room for all, or has none for k. */
__device__ float bound_of_rank(const Chain &chain, int k)
{
    if (k <= chain.n_blocks) return scaled(chain.scale, bound_of_blocks(chain, k));
    if (chain.view.n <= LIST_CAPACITY || k > MOST_LISTED) return -INFINITY;
    return scaled(chain.scale, bound_of_tokens(chain, k));
}

__device__ bool apply_top_k(Chain &chain)
{
    if (chain.whole && !gather(chain, bound_of_rank(chain, chain.row.top_k), false)) return false;
    chain.n = min(chain.n, chain.row.top_k);
    return true;
}

__device__ bool apply_threshold(Chain &chain, float threshold)
{
    const float bound = fminf(threshold, chain.max);
    if (chain.whole) return gather(chain, bound, false);
    int kept = 1;
    for (int i = threadIdx.x; i < chain.n; i += LIST_THREADS)
        if (chain.list.keys[i] >= bound) kept = i + 1;
    chain.n = -block_min(-kept);
    return true;
}

/* The sum of exp(key - max). */
__device__ double find_mass(const Chain &chain)
{
    if (chain.whole) return list_sum(chain.n_blocks, [&](int i) { return chain.masses[i].x; });
    return list_sum(chain.n, [&](int i) { return weight_of(chain, i); });
}

/* The sum of exp(key - max) * (key - max). */
__device__ double find_shift(const Chain &chain)
{
    if (chain.whole) return list_sum(chain.n_blocks, [&](int i) { return chain.masses[i].y; });
    return list_sum(chain.n, [&](int i) {
        const double weight = weight_of(chain, i);
        return weight > 0.0 ? weight * (double)(chain.list.keys[i] - chain.max) : 0.0;
    });
}

/* Gathers more and more of the whole vocabulary; each time `keep` says whether that is enough, given the lowest key
 * that is surely there (-infinity: all that have a weight are). False: more do not fit. */
template <typename Keep> __device__ bool gather_until(Chain &chain, const Keep &keep)
{
    for (int rank = FIRST_RANK;; rank = min(rank * MORE_RANKS, (int)MOST_LISTED)) {
        float bound = bound_of_rank(chain, rank);
        if (bound - chain.max <= SAMPLE_LEAST_SHIFT) bound = -INFINITY;
        if (!gather(chain, bound, true)) return false;
        if (keep(bound) || bound == -INFINITY) return true;
        if (rank == MOST_LISTED) return false;
    }
}

__device__ bool apply_top_p(Chain &chain)
{
    const double wanted = (double)chain.row.top_p * find_mass(chain);
    const auto keep = [&](float) {
        const int last = list_reach(chain.n, wanted, false, [&](int i) { return weight_of(chain, i); }).index;
        const bool enough = last < chain.n;
        if (enough) chain.n = last + 1;
        return enough;
    };
    if (chain.whole) return gather_until(chain, keep);
    (void)keep(-INFINITY);
    return true;
}

/* Keeps the n first of list.sorting, whose lower halves are places in the list, in the list's own order. */
__device__ void keep_marked(Chain &chain, int n)
{
    __shared__ uint32_t marks[LIST_CAPACITY / 32];
    __shared__ int of_warps[LIST_WARPS];
    ListMemory &list = chain.list;
    const int lane = threadIdx.x % SAMPLE_WARP, warp = threadIdx.x / SAMPLE_WARP;
    for (int i = threadIdx.x; i < LIST_CAPACITY / 32; i += LIST_THREADS) marks[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += LIST_THREADS) {
        const uint32_t at = (uint32_t)list.sorting[i];
        atomicOr(&marks[at / 32], 1u << (at % 32));
    }
    __syncthreads();
    int to = 0;
    for (int first = 0; first < chain.n; first += LIST_THREADS) {
        const int i = first + threadIdx.x;
        const bool kept = i < chain.n && (marks[i / 32] >> (i % 32) & 1u) != 0;
        const float key = kept ? list.keys[i] : 0.0f;
        const int32_t id = kept ? list.ids[i] : 0;
        const unsigned vote = __ballot_sync(0xFFFFFFFFu, kept);
        if (lane == 0) of_warps[warp] = __popc(vote);
        __syncthreads();
        int at = to + __popc(vote & ((1u << lane) - 1u));
        for (int w = 0; w < LIST_WARPS; w++) {
            if (w < warp) at += of_warps[w];
            to += of_warps[w];
        }
        if (kept) {
            list.keys[at] = key;
            list.ids[at] = id;
        }
        __syncthreads();
    }
    chain.n = to;
    take_max(chain);
}

/* Tokens by how near their logit is to the mean logit (Meister et al., Locally Typical Sampling, 2023), until they hold
 * p of the mass. */
__device__ bool apply_typical_p(Chain &chain)
{
    const double mass = find_mass(chain), wanted = (double)chain.row.typical_p * mass;
    const float center = (float)(find_shift(chain) / mass), max = chain.max;
    ListMemory &list = chain.list;
    const auto keep = [&](float bound) {
        for (int i = threadIdx.x; i < chain.n; i += LIST_THREADS)
            list.sorting[i] = (uint64_t)__float_as_uint(fabsf(list.keys[i] - max - center)) << 32 | (uint32_t)i;
        list_sort(list.sorting, chain.n);
        const int last = list_reach(chain.n, wanted, false, [&](int i) {
                             return (double)exp_negative(list.keys[(uint32_t)list.sorting[i]] - max);
                         }).index;
        /* Tokens that are missing in the list are as far from the center as the bound, or farther. */
        const bool reached = last < chain.n, sure = bound == -INFINITY;
        if (!sure && !(reached && __uint_as_float((uint32_t)(list.sorting[last] >> 32)) < center - (bound - max)))
            return false;
        keep_marked(chain, reached ? last + 1 : chain.n);
        return true;
    };
    if (chain.whole) return gather_until(chain, keep);
    (void)keep(-INFINITY);
    return true;
}

/* ---- the draw ---- */

/* From the list, in its order: its index. */
__device__ int draw_from_list(const Chain &chain)
{
    const auto weight = [&](int i) { return weight_of(chain, i); };
    const double total = list_sum(chain.n, weight);
    const int drawn = list_reach(chain.n, chain.row.u * total, true, weight).index;
    if (drawn < chain.n) return drawn;
    int last = 0; /* that has a weight */
    for (int i = threadIdx.x; i < chain.n; i += LIST_THREADS)
        if (weight(i) > 0.0) last = i;
    return -block_min(-last);
}

/* From all, in the order of the ids: the block in which the sum passes u, then the token in it. */
__device__ int draw_from_all(const Chain &chain)
{
    __shared__ int token;
    __shared__ double before;
    const auto mass = [&](int i) { return chain.masses[i].x; };
    const double target = chain.row.u * list_sum(chain.n_blocks, mass);
    Reached reached = list_reach(chain.n_blocks, target, true, mass);
    if (reached.index == chain.n_blocks) reached = list_reach(chain.n_blocks, target, false, mass);
    const int block = min(reached.index, chain.n_blocks - 1);
    if (block % LIST_THREADS == (int)threadIdx.x) before = reached.before;
    __syncthreads();
    if (threadIdx.x < SAMPLE_WARP) {
        const int lane = threadIdx.x, first = block * CUDA_SAMPLE_BLOCK + 4 * lane;
        const float4 four = view_four(chain.view, first);
        const float values[4] = {four.x, four.y, four.z, four.w};
        double weights[4], sum = 0.0;
        for (int e = 0; e < 4; e++) {
            weights[e] = (double)exp_negative(scaled(chain.scale, values[e]) - chain.max);
            sum += weights[e];
        }
        double upto = sum;
        for (int step = 1; step < SAMPLE_WARP; step *= 2) {
            const double other = __shfl_up_sync(0xFFFFFFFFu, upto, step);
            if (lane >= step) upto += other;
        }
        /* The first that passes the target, else the last that has a weight. */
        double here = before + (upto - sum);
        int passing = INT32_MAX, last = -1;
        for (int e = 0; e < 4; e++) {
            here += weights[e];
            if (!(weights[e] > 0.0)) continue;
            last = first + e;
            if (here > target) passing = min(passing, first + e);
        }
        passing = __reduce_min_sync(0xFFFFFFFFu, passing);
        last = __reduce_max_sync(0xFFFFFFFFu, last);
        if (lane == 0) token = passing < INT32_MAX ? passing : last;
    }
    __syncthreads();
    return token;
}

/* Basu et al., Mirostat, 2021, with the bound on the surprise in place of an estimated k. */
__device__ bool draw_mirostat(Chain &chain, SampleResult *result)
{
    const double log_sum = log(find_mass(chain)) + (double)chain.max;
    if (!apply_threshold(chain, (float)(log_sum - chain.row.mirostat_bound * M_LN2))) return false;
    const int drawn = draw_from_list(chain);
    *result = {chain.list.ids[drawn], (log_sum - (double)chain.list.keys[drawn]) / M_LN2};
    return true;
}

/* Whether a link could be applied. */
__device__ bool apply(Chain &chain, int link)
{
    switch (link) {
    case SAMPLE_TOP_K:
        return apply_top_k(chain);
    case SAMPLE_TYPICAL_P:
        return apply_typical_p(chain);
    case SAMPLE_TOP_P:
        return apply_top_p(chain);
    case SAMPLE_MIN_P:
        return apply_threshold(chain, chain.max + chain.row.min_p_log);
    case SAMPLE_TEMPERATURE:
        apply_temperature(chain);
        return true;
    default: /* `adjust` has changed single logits of the whole vocabulary */
        if (!chain.whole) penalize_list(chain, link == SAMPLE_DRY);
        return true;
    }
}

/* The most probable candidate, of which `peak` is the whole vocabulary's first. */
__device__ int best_of(const Chain &chain, const Peak &peak)
{
    return chain.whole ? first_reaching(chain.view, peak.block, peak.value) : chain.list.ids[0];
}

__device__ SampleResult draw(Chain &chain, const Peak &peak)
{
    const SampleRow &row = chain.row;
    SampleResult result = {SAMPLE_UNDONE, NAN};
    for (int i = 0; i < row.n_links && row.kind == SAMPLE_DRAW; i++) {
        const int link = row.links[i];
        const bool single = link == SAMPLE_PENALTIES || link == SAMPLE_DRY;
        if (!single && !isfinite(chain.max)) break;
        if (link == SAMPLE_MIROSTAT) {
            (void)draw_mirostat(chain, &result);
            return result;
        }
        if (!apply(chain, link)) return result;
    }
    if (chain.max == -INFINITY)
        result.token = SAMPLE_NO_TOKEN;
    else if (row.kind == SAMPLE_GREEDY || chain.max == INFINITY)
        result.token = best_of(chain, peak);
    else
        result.token = chain.whole ? draw_from_all(chain) : chain.list.ids[draw_from_list(chain)];
    return result;
}

/* Logits of single tokens as they were, from what `adjust` kept: the last ones changed come back first. */
__device__ void restore(const SampleRow &row, float *logits)
{
    const Plan plan = plan_of(row);
    for (int i = plan.first_cut; i >= 0; i--) {
        const int link = i > 0 ? row.links[i - 1] : (int)SAMPLE_LINK_COUNT;
        const SampleList &list = i == 0 ? row.bias : link == SAMPLE_DRY ? row.dry : row.penalties;
        __syncthreads();
        if (i > 0 && link == SAMPLE_TEMPERATURE) continue;
        for (int e = threadIdx.x; e < list.count; e += LIST_THREADS)
            if (i > 0 || !sample_is_again(list.entries, e)) logits[list.entries[e].token] = list.entries[e].value;
    }
}

__global__ void __launch_bounds__(LIST_THREADS, 1) finish(const CudaSample sample)
{
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ SampleRow row;
    cuda_let_next_start();
    cuda_wait_for_inputs();
    if (threadIdx.x == 0) row = sample.rows[blockIdx.x];
    __syncthreads();
    if (row.kind < SAMPLE_GREEDY) return;
    const float *maxima = sample.maxima + (size_t)blockIdx.x * sample.n_blocks;
    const Peak peak = find_peak(maxima, sample.n_blocks);
    Chain chain = {row,
                   view_of(sample, row, blockIdx.x),
                   maxima,
                   reinterpret_cast<const double2 *>(sample.masses) + (size_t)blockIdx.x * sample.n_blocks,
                   sample.n_blocks,
                   {false, 0.0f, 1.0f},
                   true,
                   peak.value,
                   *reinterpret_cast<ListMemory *>(memory),
                   0};
    const SampleResult result = draw(chain, peak);
    if (threadIdx.x == 0) sample.results[blockIdx.x] = result;
    if (result.token == SAMPLE_UNDONE) restore(row, sample.logits + (size_t)blockIdx.x * (size_t)sample.stride);
}

} // namespace

void sample_finish(CudaQueue *queue, const CudaSample *sample)
{
    cuda_launch(queue, finish, dim3(sample->n_rows), LIST_THREADS, sizeof(ListMemory), *sample);
}
