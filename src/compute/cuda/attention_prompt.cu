/*
 * attention_prompt.cu - attention of sequences with many rows: tiles of queries against tiles of keys, softmax on the
 * way (Dao et al., "FlashAttention"). This is the kernel of every GPU; attention_prompt_hopper.cu replaces it on
 * Hopper.
 *
 * Floor: arithmetic. 4,096 tokens of llama-3.1-8b are 4 * 128 * 32 * 4096^2 / 2 = 137 GFLOP a layer, 0.18 ms at 770
 * TFLOP/s; keys and values come from the second-level cache, once for every 128 rows. Reading each page's fragments
 * from shared memory for 16 rows at a time is what limits this kernel: 0.61 ms on an H200 (226 TFLOP/s).
 *
 * A block has a tile of 128 rows: the query heads of one KV head for some consecutive tokens, in the order (token,
 * head), so that a page serves all heads of its group. Eight warps take 16 rows each and walk the context in steps of
 * 64 keys; the next step's pages are copied to shared memory while this one is computed.
 *
 * Steps start at multiples of 64 keys, and keys that a row does not see change nothing in it, not by a bit. So a row's
 * result depends on its sequence alone, and `deterministic` uses this kernel for single tokens too.
 */
#include "compute/cuda/attention_prompt.cuh"

namespace
{

enum { WARPS = 8, ROWS = WARPS * 16, PAGES = 4, STEP = PAGES * KV_PAGE_TOKENS, STAGES = 2 };

/* All threads ask for a step's pages: keys one page after the other, then values. Tokens that are not there become
 * zeros. */
template <int DIM, bool PACKED>
__device__ __forceinline__ void ask_for_step(const AttendTask &task, const int32_t *pages, int32_t start,
                                             int32_t length, int32_t kv_head, uint32_t to)
{
    constexpr uint32_t PLANE = DIM * KV_PAGE_TOKENS * 2;
#pragma unroll
    for (int p = 0; p < PAGES; p++) {
        const int32_t left = length - start - p * KV_PAGE_TOKENS;
        const int32_t page = left > 0 ? pages[start / KV_PAGE_TOKENS + p] : -1;
        const uint8_t *from =
            task.pages + (size_t)max(page, 0) * task.page_bytes + (size_t)kv_head * task.layout.head_bytes;
        if constexpr (PACKED) {
            for (uint32_t i = threadIdx.x * 16; i < task.layout.head_bytes; i += WARPS * 32 * 16)
                copy_async(to + (uint32_t)p * task.layout.head_bytes + i, from + i, page >= 0 ? 16 : 0);
        } else {
#pragma unroll
            for (uint32_t piece = threadIdx.x; piece < 2 * PLANE / 16; piece += WARPS * 32) {
                const uint32_t plane = piece / (PLANE / 16), in_plane = piece % (PLANE / 16);
                const int32_t token = (int32_t)(in_plane / DIM * 8 + in_plane % 8);
                copy_async(to + (plane * PAGES + (uint32_t)p) * PLANE + in_plane * 16, from + (size_t)piece * 16,
                           page >= 0 && token < left ? 16 : 0);
            }
        }
    }
}

/* grid: KV heads, tiles; the longest contexts first. */
template <int DIM, bool BF16, bool PACKED>
__global__ void __launch_bounds__(WARPS * 32, 1) prompt_kernel(const AttendTask task, DType type, int32_t least_rows)
{
    constexpr uint32_t PLANE = DIM * KV_PAGE_TOKENS * 2;
    extern __shared__ __align__(128) uint8_t shared[];
    cuda_let_next_start();
    const int32_t lane = (int32_t)(threadIdx.x % 32), warp = (int32_t)(threadIdx.x / 32), kv_head = (int32_t)blockIdx.x;
    const Tile tile = find_tile(task, (int32_t)(gridDim.y - 1 - blockIdx.y), least_rows, ROWS);
    cuda_wait_for_inputs();
    if (tile.sequence < 0) return;

    const Span span = span_of(task, tile, ROWS);
    const int32_t *pages = task.page_table + (size_t)tile.sequence * (size_t)task.page_stride;
    const uint32_t stage_bytes = PACKED ? PAGES * task.layout.head_bytes : 2 * PAGES * PLANE;
    uint8_t *expanded = shared + STAGES * (size_t)stage_bytes; /* where PACKED */
    int32_t start = span.first_key / STEP * STEP;
    ask_for_step<DIM, PACKED>(task, pages, start, span.length, kv_head, tile_address(shared));
    commit_copies();

    Row row[2];
    uint32_t q[DIM / 16][4];
#pragma unroll
    for (int which = 0; which < 2; which++) {
        uint32_t pairs[DIM / 8];
        row[which] = row_of(task, tile.sequence, kv_head, span.first_query + warp * 16 + which * 8 + lane / 4);
        load_query<DIM, BF16>(task, row[which], pairs);
#pragma unroll
        for (int i = 0; i < DIM / 8; i++) q[i / 2][i % 2 * 2 + which] = pairs[i];
    }
    float out[DIM / 8][4] = {};
    for (int32_t step = 0; start < span.end_key; step++, start += STEP) {
        wait_for_copies<0>();
        __syncthreads();
        if (start + STEP < span.end_key)
            ask_for_step<DIM, PACKED>(task, pages, start + STEP, span.length, kv_head,
                                      tile_address(shared) + (uint32_t)(step + 1) % STAGES * stage_bytes);
        commit_copies();
        uint8_t *planes = shared + (size_t)(step % STAGES) * stage_bytes;
        if constexpr (PACKED) {
            for (int p = 0; p < PAGES; p++)
                expand_page<DIM, PAGES>(task, type, planes, p, span.length - start - p * KV_PAGE_TOKENS, expanded,
                                        WARPS * 32);
            __syncthreads();
            planes = expanded;
        }
        const uint32_t keys = tile_address(planes), values = keys + PAGES * PLANE;
        float scores[2 * PAGES][4] = {}, keep[2];
        score_pages<DIM, PAGES, BF16>(scores, q, keys);
        soften_step(task, row, start, scores, keep);
        uint32_t p[PAGES][4];
        pack_weights<BF16>(scores, p);
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) out[n][i] *= keep[i / 2];
#pragma unroll
        for (int page = 0; page < PAGES; page++) add_values<DIM, BF16>(out, p[page], values + (uint32_t)page * PLANE);
    }
    wait_for_copies<0>();
#pragma unroll
    for (int which = 0; which < 2; which++) {
        row[which].sum = quad_sum(row[which].sum);
        if (row[which].index < span.n_queries) write_row<DIM>(task, row[which], which, out);
    }
}

typedef void PromptKernel(const AttendTask, DType, int32_t);

struct PromptVariant {
    int32_t dim;
    PromptKernel *f16, *bf16, *packed;
};

const PromptVariant variants[] = {
    {64, prompt_kernel<64, false, false>, prompt_kernel<64, true, false>, prompt_kernel<64, false, true>},
    {128, prompt_kernel<128, false, false>, prompt_kernel<128, true, false>, prompt_kernel<128, false, true>},
    {256, prompt_kernel<256, false, false>, prompt_kernel<256, true, false>, prompt_kernel<256, false, true>},
};

const PromptVariant *variant_of(int32_t dim)
{
    for (const PromptVariant &variant : variants)
        if (variant.dim == dim) return &variant;
    return NULL;
}

} // namespace

static size_t shared_bytes_of(const AttendTask &task, DType type)
{
    const size_t planes = 2 * PAGES * (size_t)task.head_dim * KV_PAGE_TOKENS * 2;
    const bool packed = type != DT_F16 && type != DT_BF16;
    return packed ? STAGES * PAGES * (size_t)task.layout.head_bytes + planes : STAGES * planes;
}

bool attention_prompt_fits(const CudaQueue *queue, const AttendTask &task, DType type)
{
    return type != DT_F32 && task.head_dim == task.head_dim_v && variant_of(task.head_dim) != NULL &&
           cuda_shared_fits(queue, shared_bytes_of(task, type));
}

void attention_prompt(CudaQueue *queue, const CudaBatch *batch, const AttendTask &task, DType type, int32_t least_rows)
{
    if (queue->tier == CUDA_TIER_HOPPER) {
        attention_prompt_hopper(queue, batch, task, type, least_rows);
        return;
    }
    const PromptVariant *variant = variant_of(task.head_dim);
    const bool packed = type != DT_F16 && type != DT_BF16;
    cuda_launch(queue,
                packed            ? variant->packed
                : type == DT_BF16 ? variant->bf16
                                  : variant->f16,
                dim3((unsigned)task.n_kv_heads, most_tiles(batch, task, ROWS)), dim3(WARPS * 32),
                shared_bytes_of(task, type), task, type, least_rows);
}
