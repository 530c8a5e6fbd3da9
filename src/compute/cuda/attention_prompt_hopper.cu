/*
 * attention_prompt_hopper.cu - attention of sequences with many rows on Hopper: wgmma and bulk copies.
 *
 * Floor: arithmetic, 0.18 ms a layer for 4,096 tokens of llama-3.1-8b at 770 TFLOP/s (attention_prompt.cu). The
 * exponentials, 32 * 4096^2 / 2 at 16 a cycle and multiprocessor, take 0.07 ms of their own units: they must overlap
 * products. Measured on an H200: 0.40 ms (342 TFLOP/s); heads of 64 207, of 256 385 TFLOP/s.
 *
 * The tiles, steps and bits are those of attention_prompt.cu; two warpgroups of 64 rows each share a step's keys and
 * values. Queries lie in shared memory as cores of 8 rows by 16 bytes, like the pages, which one warp asks for with one
 * bulk copy a plane. Schedule of a step, AHEAD (where shared memory has room for three steps):
 *
 *     barrier, start scores(i+1), start sums += weights(i) values(i), wait for scores, softmax(i+1), wait for sums, rescale
 *
 * so a warpgroup's softmax runs beside its own sums and beside the other warpgroup's products. Otherwise scores,
 * softmax and sums follow one another and only the two warpgroups overlap.
 */
#include "compute/cuda/attention_prompt.cuh"
#include "compute/cuda/wgmma.cuh"

namespace
{

enum { WARPS = 8, ROWS = WARPS * 16, PAGES = 4, STEP = PAGES * KV_PAGE_TOKENS };

/* Shared memory: queries, stages, expanded pages where PACKED, barriers. */
template <int DIM, bool PACKED> struct Plan {
    static constexpr uint32_t plane = DIM * KV_PAGE_TOKENS * 2;
    static constexpr uint32_t queries = ROWS * DIM * 2;
    static constexpr uint32_t step = 2 * PAGES * plane; /* of 16-bit elements */
    static constexpr bool ahead = DIM <= 128 && !PACKED;
    static constexpr int stages = ahead ? 3 : 2;
};

template <int DIM, bool PACKED> size_t plan_bytes(uint32_t head_bytes)
{
    typedef Plan<DIM, PACKED> P;
    return P::queries + (size_t)P::stages * (PACKED ? PAGES * head_bytes : P::step) + (PACKED ? P::step : 0) + 64;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ __forceinline__ void bulk_load(uint32_t to, const void *from, uint32_t bytes, uint64_t *barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(tile_address(barrier))
                 : "memory");
}

/* What the threads of a block know of the context they walk. */
struct Walk {
    const int32_t *pages;
    int32_t length, kv_head;
};

/* The page of a step, -1 where there is none. */
__device__ __forceinline__ int32_t page_of(const Walk &walk, int32_t start, int p)
{
    return start + p * KV_PAGE_TOKENS < walk.length ? walk.pages[start / KV_PAGE_TOKENS + p] : -1;
}

/* Warp 0 asks for a step: keys one page after the other, then values; packed pages as they are. */
template <int DIM, bool PACKED>
__device__ __forceinline__ void ask_for_step(const AttendTask &task, const Walk &walk, int32_t start, uint32_t to,
                                             uint64_t *barrier)
{
    typedef Plan<DIM, PACKED> P;
    const uint32_t lane = threadIdx.x % 32;
    const int32_t page = lane < 2 * PAGES ? page_of(walk, start, (int)(lane % PAGES)) : -1;
    const uint8_t *from =
        task.pages + (size_t)max(page, 0) * task.page_bytes + (size_t)walk.kv_head * task.layout.head_bytes;
    const uint32_t found = (uint32_t)__popc(__ballot_sync(~0u, page >= 0 && lane < PAGES));
    if (lane == 0) barrier_expect(barrier, found * (PACKED ? task.layout.head_bytes : 2 * P::plane));
    __syncwarp();
    if (page < 0) return;
    if constexpr (PACKED) {
        if (lane < PAGES) bulk_load(to + lane * task.layout.head_bytes, from, task.layout.head_bytes, barrier);
    } else {
        bulk_load(to + lane * P::plane, from + (lane < PAGES ? 0 : task.layout.keys.bytes), P::plane, barrier);
    }
}

/* Values of tokens that are not there become zeros, lest they be no numbers: a weight of zero would not help. */
template <int DIM> __device__ __forceinline__ void clear_missing(const Walk &walk, int32_t start, uint8_t *values)
{
    for (int p = 0; p < PAGES; p++) {
        const int32_t left = page_of(walk, start, p) < 0 ? 0 : walk.length - start - p * KV_PAGE_TOKENS;
        if (left >= KV_PAGE_TOKENS) continue;
        for (int32_t piece = (int32_t)threadIdx.x; piece < 2 * DIM; piece += WARPS * 32)
            if (piece / DIM * 8 + piece % 8 >= left)
                reinterpret_cast<uint4 *>(values + (size_t)p * Plan<DIM, false>::plane)[piece] = {0, 0, 0, 0};
    }
}

template <int DIM, bool BF16>
__device__ __forceinline__ void start_scores(float (&scores)[2 * PAGES][4], uint32_t queries, uint32_t keys)
{
    wgmma_settle(scores);
    product_fence();
#pragma unroll
    for (uint32_t k = 0; k < DIM / 16; k++)
        wgmma_scores<BF16>(scores, wgmma_cores(queries + k * 256, 128, DIM * 16),
                           wgmma_cores(keys + k * 256, 128, DIM * 16), k > 0);
    product_commit();
}

template <int DIM, bool BF16>
__device__ __forceinline__ void start_sums(float (&out)[DIM / 8][4], const uint32_t (&p)[PAGES][4], uint32_t values)
{
    wgmma_settle(out);
    product_fence();
#pragma unroll
    for (uint32_t page = 0; page < PAGES; page++)
        wgmma_sums<DIM, BF16>(out, p[page], wgmma_cores(values + page * Plan<DIM, false>::plane, DIM * 16, 128));
    product_commit();
}

/* A lane's two rows into shared memory: cores of 8 rows by 16 bytes, a row group's chunks one after the other. */
template <int DIM, bool BF16>
__device__ __forceinline__ void place_queries(const AttendTask &task, Row row[2], uint8_t *queries)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (uint32_t which = 0; which < 2; which++) {
        uint32_t pairs[DIM / 8];
        load_query<DIM, BF16>(task, row[which], pairs);
        uint8_t *cores = queries + (warp * 2 + which) * (DIM * 16) + lane / 4 * 16 + lane % 4 * 4;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 8; i++) *reinterpret_cast<uint32_t *>(cores + i * 128) = pairs[i];
    }
}

#endif

/* grid: KV heads, tiles; the longest contexts first. */
template <int DIM, bool BF16, bool PACKED>
__global__ void __launch_bounds__(WARPS * 32, 1) prompt_kernel(const AttendTask task, DType type, int32_t least_rows)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    typedef Plan<DIM, PACKED> P;
    extern __shared__ __align__(128) uint8_t shared[];
    cuda_let_next_start();
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int32_t kv_head = (int32_t)blockIdx.x;
    const uint32_t stage_bytes = PACKED ? PAGES * task.layout.head_bytes : P::step;
    uint8_t *stages = shared + P::queries, *expanded = stages + P::stages * (size_t)stage_bytes; /* where PACKED */
    uint64_t *arrived = reinterpret_cast<uint64_t *>(expanded + (PACKED ? P::step : 0));
    if (threadIdx.x == 0) {
        for (int i = 0; i < P::stages; i++) barrier_init(&arrived[i], 1);
        barrier_init_fence();
    }
    const Tile tile = find_tile(task, (int32_t)(gridDim.y - 1 - blockIdx.y), least_rows, ROWS);
    cuda_wait_for_inputs();
    if (tile.sequence < 0) return;

    const Span span = span_of(task, tile, ROWS);
    const Walk walk = {task.page_table + (size_t)tile.sequence * (size_t)task.page_stride, span.length, kv_head};
    const int32_t first = span.first_key / STEP * STEP, n_steps = (span.end_key - first + STEP - 1) / STEP;
    Row row[2];
#pragma unroll
    for (int which = 0; which < 2; which++)
        row[which] =
            row_of(task, tile.sequence, kv_head, span.first_query + (int32_t)(warp * 16 + which * 8 + lane / 4));
    __syncthreads();
    if (warp == 0)
        for (int32_t i = 0; i < min(P::stages - 1, n_steps); i++)
            ask_for_step<DIM, PACKED>(task, walk, first + i * STEP, tile_address(stages) + (uint32_t)i * stage_bytes,
                                      &arrived[i]);
    place_queries<DIM, BF16>(task, row, shared);
    const uint32_t queries = tile_address(shared) + warp / 4 * (64 * DIM * 2);

    float out[DIM / 8][4] = {}, scores[2 * PAGES][4], keep[2];
    uint32_t p[PAGES][4];
    /* Waits for step i and makes it fit to be read. Its barrier also says that all warps are done with the step whose
     * stage the next one takes. */
    const auto prepare = [&](int32_t i) {
        const int stage = i % P::stages;
        const int32_t start = first + i * STEP;
        uint8_t *planes = stages + (size_t)stage * stage_bytes;
        barrier_wait(&arrived[stage], (uint32_t)(i / P::stages) & 1);
        if constexpr (PACKED) {
            __syncthreads(); /* the expanded pages of the step before have been read */
            for (int page = 0; page < PAGES; page++)
                expand_page<DIM, PAGES>(task, type, planes, page,
                                        page_of(walk, start, page) < 0 ? 0
                                                                       : span.length - start - page * KV_PAGE_TOKENS,
                                        expanded, WARPS * 32);
        } else if (i == 0 || start + STEP > span.length) {
            clear_missing<DIM>(walk, start, planes + PAGES * P::plane);
        }
        wgmma_see_shared();
        __syncthreads();
        const int32_t next = i + 1;
        if (warp == 0 && next >= P::stages - 1 && next < n_steps)
            ask_for_step<DIM, PACKED>(task, walk, first + next * STEP,
                                      tile_address(stages) + (uint32_t)(next % P::stages) * stage_bytes,
                                      &arrived[next % P::stages]);
        return tile_address(PACKED ? expanded : planes);
    };
    uint32_t keys = prepare(0);
    start_scores<DIM, BF16>(scores, queries, keys);
    product_wait<0>();
    wgmma_settle(scores);
    soften_step(task, row, first, scores, keep);
    pack_weights<BF16>(scores, p);
    for (int32_t i = 1; i < n_steps; i++) {
        const uint32_t values = keys + PAGES * P::plane;
        if constexpr (P::ahead) {
            keys = prepare(i);
            start_scores<DIM, BF16>(scores, queries, keys);
            start_sums<DIM, BF16>(out, p, values);
            product_wait<1>();
            wgmma_settle(scores);
            soften_step(task, row, first + i * STEP, scores, keep);
            product_wait<0>();
            wgmma_settle(out);
        } else {
            start_sums<DIM, BF16>(out, p, values);
            product_wait<0>();
            wgmma_settle(out);
            keys = prepare(i);
            start_scores<DIM, BF16>(scores, queries, keys);
            product_wait<0>();
            wgmma_settle(scores);
            soften_step(task, row, first + i * STEP, scores, keep);
        }
        pack_weights<BF16>(scores, p);
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) out[n][j] *= keep[j / 2];
    }
    start_sums<DIM, BF16>(out, p, keys + PAGES * P::plane);
    product_wait<0>();
    wgmma_settle(out);
#pragma unroll
    for (int which = 0; which < 2; which++) {
        row[which].sum = quad_sum(row[which].sum);
        if (row[which].index < span.n_queries) write_row<DIM>(task, row[which], which, out);
    }
#endif
}

typedef void PromptKernel(const AttendTask, DType, int32_t);

template <int DIM>
void launch(CudaQueue *queue, const CudaBatch *batch, const AttendTask &task, DType type, int32_t least_rows)
{
    const bool packed = type != DT_F16 && type != DT_BF16;
    PromptKernel *kernel = packed            ? prompt_kernel<DIM, false, true>
                           : type == DT_BF16 ? prompt_kernel<DIM, true, false>
                                             : prompt_kernel<DIM, false, false>;
    const size_t bytes = packed ? plan_bytes<DIM, true>(task.layout.head_bytes) : plan_bytes<DIM, false>(0);
    cuda_launch(queue, kernel, dim3((unsigned)task.n_kv_heads, most_tiles(batch, task, ROWS)), dim3(WARPS * 32), bytes,
                task, type, least_rows);
}

} // namespace

void attention_prompt_hopper(CudaQueue *queue, const CudaBatch *batch, const AttendTask &task, DType type,
                             int32_t least_rows)
{
    switch (task.head_dim) { /* those of attention_prompt.cu */
    case 64: launch<64>(queue, batch, task, type, least_rows); break;
    case 128: launch<128>(queue, batch, task, type, least_rows); break;
    default: launch<256>(queue, batch, task, type, least_rows); break;
    }
}
