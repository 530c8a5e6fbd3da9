/*
 * attention_prompt.cuh - what the two kernels for prompts share: tiles of rows, a lane's rows and their softmax.
 */
#ifndef IMP_COMPUTE_CUDA_ATTENTION_PROMPT_CUH
#define IMP_COMPUTE_CUDA_ATTENTION_PROMPT_CUH

#include "compute/cuda/attention_tiles.cuh"

/* Which tile of which sequence is the `tile`th, counting those of sequences with at least `least_rows` rows. */
struct Tile {
    int32_t sequence, index; /* sequence -1: there is none */
};

__device__ __forceinline__ Tile find_tile(const AttendTask &task, int32_t tile, int32_t least_rows, int32_t tile_rows)
{
    const int32_t lane = (int32_t)(threadIdx.x % 32);
    for (int32_t base = 0; base < task.n_sequences; base += 32) {
        const int32_t rows = base + lane < task.n_sequences ? task.sequence_rows[base + lane] : 0;
        const int32_t tiles = rows >= least_rows ? (rows * task.group + tile_rows - 1) / tile_rows : 0;
        int32_t before = tiles; /* this sequence's and those before it */
        for (int distance = 1; distance < 32; distance *= 2) {
            const int32_t other = __shfl_up_sync(~0u, before, distance);
            if (lane >= distance) before += other;
        }
        const unsigned found = __ballot_sync(~0u, tile < before);
        if (found != 0) {
            const int owner = __ffs((int)found) - 1;
            return {base + owner, tile - __shfl_sync(~0u, before - tiles, owner)};
        }
        tile -= __shfl_sync(~0u, before, 31);
    }
    return {-1, 0};
}

/* A bound of the tiles of a batch: each sequence's last one may be a part of one. */
static inline unsigned most_tiles(const CudaBatch *batch, const AttendTask &task, int32_t tile_rows)
{
    return (unsigned)((int64_t)batch->n_rows * task.group / tile_rows + batch->n_sequences);
}

/* What a tile's rows need: queries of its sequence, keys from first_key to end_key - 1. */
struct Span {
    int32_t length, n_queries, first_query, first_key, end_key;
};

__device__ __forceinline__ Span span_of(const AttendTask &task, const Tile &tile, int32_t tile_rows)
{
    const int32_t past = task.n_past[tile.sequence], rows = task.sequence_rows[tile.sequence];
    Span span = {past + rows, rows * task.group, tile.index * tile_rows, 0, 0};
    const int32_t last_query = min(span.first_query + tile_rows, span.n_queries) - 1;
    span.first_key = visible_keys(task, past + span.first_query / task.group, span.length).first;
    span.end_key = visible_keys(task, past + last_query / task.group, span.length).end;
    return span;
}

/* Page p of a step of packed pages as float16: all keys, then all values. Tokens from n_tokens on become zeros. */
template <int DIM, int PAGES>
__device__ __forceinline__ void expand_page(const AttendTask &task, DType type, const uint8_t *packed, int p,
                                            int32_t n_tokens, uint8_t *out, int32_t n_threads)
{
    constexpr size_t PLANE = DIM * KV_PAGE_TOKENS * 2;
    const uint8_t *raw = packed + (size_t)p * task.layout.head_bytes;
    const int32_t thread = (int32_t)threadIdx.x;
    expand_plane<DIM / 8>(type, raw, task.layout.keys, n_tokens, out + (size_t)p * PLANE, thread, n_threads);
    expand_plane<DIM / 8>(type, raw + task.layout.keys.bytes, task.layout.values, n_tokens,
                          out + (size_t)(PAGES + p) * PLANE, thread, n_threads);
}

/* One of a lane's two rows: what it sees and where its softmax stands. */
struct Row {
    int32_t index, row, head; /* in the tile's sequence; in the batch */
    KeyRange range;
    float factor, largest, sum;
};

__device__ __forceinline__ Row row_of(const AttendTask &task, int32_t sequence, int32_t kv_head, int32_t index)
{
    const int32_t past = task.n_past[sequence], rows = task.sequence_rows[sequence];
    const int32_t query = min(index, rows * task.group - 1), token = query / task.group;
    return {index,
            task.first_row[sequence] + token,
            kv_head * task.group + query % task.group,
            visible_keys(task, past + token, past + rows),
            task.scale,
            -INFINITY,
            0.0f};
}

/* A query in 16 bits: pairs[i] holds dimensions 8 i + 2 (lane % 4) and the next. The row's factor takes the power of
 * two. */
template <int DIM, bool BF16>
__device__ __forceinline__ void load_query(const AttendTask &task, Row &row, uint32_t pairs[DIM / 8])
{
    const float *from = task.q + ((size_t)row.row * (size_t)task.n_heads + (size_t)row.head) * (size_t)task.q_stride;
    const int32_t lane = (int32_t)(threadIdx.x % 32);
    float2 x[DIM / 8];
    float largest = 0.0f;
#pragma unroll
    for (int i = 0; i < DIM / 8; i++) {
        x[i] = *reinterpret_cast<const float2 *>(from + 8 * i + lane % 4 * 2);
        largest = fmaxf(largest, fmaxf(fabsf(x[i].x), fabsf(x[i].y)));
    }
    const float power = BF16 ? 1.0f : power_below(quad_max(largest)), inverse = 1.0f / power;
    row.factor *= power;
#pragma unroll
    for (int i = 0; i < DIM / 8; i++) pairs[i] = pack_pair<BF16>(x[i].x * inverse, x[i].y * inverse);
}

/* Masks the scores of a step for one of a lane's rows (elements 2 * which … of each tile of 8 keys). */
template <int TILES>
__device__ __forceinline__ void mask_scores(const Row &row, int which, int32_t start, float (&scores)[TILES][4])
{
    const int32_t first_key = start + (int32_t)(threadIdx.x % 4) * 2;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int32_t key = first_key + 8 * tile + i;
            if (key < row.range.first || key >= row.range.end) scores[tile][2 * which + i] = -INFINITY;
        }
}

/* Scores to weights for one of a lane's rows; returns what the sums so far keep. The largest is that of the products,
 * times `factor` in units of log2: no product is multiplied before the one multiply-add in front of its exponential. */
template <int TILES>
__device__ __forceinline__ float soften(Row &row, float factor, int which, float (&scores)[TILES][4])
{
    float largest = -INFINITY;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        largest = fmaxf(largest, fmaxf(scores[tile][2 * which], scores[tile][2 * which + 1]));
    const float now = fmaxf(row.largest, quad_max(largest)), base = now == -INFINITY ? 0.0f : now;
    const float shift = base * factor;
    const float keep = exp2_fast((row.largest - base) * factor); /* exactly 1 where the largest stays */
    row.largest = now;
    float sum = 0.0f;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float &score = scores[tile][2 * which + i];
            score = exp2_fast(__fmaf_rn(score, factor, -shift));
            sum += score;
        }
    row.sum = __fmaf_rn(row.sum, keep, sum);
    return keep;
}

/* A step's scores of both rows to weights, and the factors of the sums so far. */
template <int TILES>
__device__ __forceinline__ void soften_step(const AttendTask &task, Row row[2], int32_t start,
                                            float (&scores)[TILES][4], float keep[2])
{
    const bool sees_all = start >= max(row[0].range.first, row[1].range.first) &&
                          start + 8 * TILES <= min(row[0].range.end, row[1].range.end);
    const bool all_seen = __all_sync(~0u, sees_all);
#pragma unroll
    for (int which = 0; which < 2; which++) {
        if (task.softcap != 0.0f) {
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    scores[tile][2 * which + i] = capped(scores[tile][2 * which + i], row[which].factor, task.softcap);
        }
        if (!all_seen) mask_scores(row[which], which, start, scores);
        keep[which] = soften(row[which], (task.softcap != 0.0f ? 1.0f : row[which].factor) * LOG2_E, which, scores);
    }
}

/* Weights as the left side of the next product: p[i] for tokens 16 i …. */
template <bool BF16, int TILES>
__device__ __forceinline__ void pack_weights(const float (&scores)[TILES][4], uint32_t (&p)[TILES / 2][4])
{
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int which = 0; which < 2; which++)
            p[t / 2][t % 2 * 2 + which] = pack_pair<BF16>(scores[t][2 * which], scores[t][2 * which + 1]);
}

/* A row's result, two neighbouring dimensions a lane. */
template <int DIM>
__device__ __forceinline__ void write_row(const AttendTask &task, const Row &row, int which,
                                          const float out[DIM / 8][4])
{
    const int32_t lane = (int32_t)(threadIdx.x % 32);
    float weights = row.sum, take = 1.0f;
    if (task.sinks != NULL) { /* one more key, without a value */
        const float largest = row.largest * (task.softcap != 0.0f ? 1.0f : row.factor) * LOG2_E;
        const float sink = task.sinks[row.head] * LOG2_E, all = fmaxf(largest, sink);
        take = exp2_fast(largest - all);
        weights = weights * take + exp2_fast(sink - all);
    }
    const float factor = take / weights;
    const size_t head = (size_t)row.row * (size_t)task.n_heads + (size_t)row.head;
    const float *gate = task.q + head * (size_t)task.q_stride + DIM;
#pragma unroll
    for (int n = 0; n < DIM / 8; n++) {
        const int32_t d = 8 * n + lane % 4 * 2;
        float2 y = {out[n][2 * which] * factor, out[n][2 * which + 1] * factor};
        if (task.gate) y = {y.x / (1.0f + expf(-gate[d])), y.y / (1.0f + expf(-gate[d + 1]))};
        if (task.f32 != NULL) *reinterpret_cast<float2 *>(task.f32 + head * DIM + (size_t)d) = y;
        if (task.bf16 != NULL)
            *reinterpret_cast<uint32_t *>(task.bf16 + head * DIM + (size_t)d) = pack_pair<true>(y.x, y.y);
    }
}

#endif
