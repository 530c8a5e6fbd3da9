/*
 * attention_store.cu - between the projections and the attention: norms and turns of queries and keys, and their place in
 * the pages.
 *
 * Floor: q read and written, k and v read and their pages written: 70 KB a row of llama-3.1-8b, nothing but latency in
 * decode, 67 us for 4,096 rows at 4.3 TB/s.
 *
 * A warp treats one head in shared memory, since a turn couples dimensions half a head apart. The items of a row are its
 * query heads, then its key heads, then its value heads; a block takes a few of them. Where a norm is over all heads of a
 * row, one block takes all queries and another all keys and values, and what its heads share is a sum in shared memory.
 *
 * Angles are position * inv_freq rounded to float32, cosine and sine those of the library with full range reduction, as on
 * the CPU.
 */
#include "compute/cuda/attention.cuh"

namespace
{

enum { STORE_WARPS = 4, STORE_ROW_WARPS = 16 };

struct StoreTask {
    int32_t n_heads, n_kv_heads, head_dim, head_dim_v, q_stride;
    int32_t padded; /* floats of a head in shared memory */
    QkNorm qk_norm;
    float eps;
    bool norm_after_rope, v_norm;
    const float *q_norm, *k_norm;
    RopeKind rope;
    int32_t n_pairs, original_context;
    const float *inv_freq, *inv_freq_long;
    float magnitude, temperature_scale;
    int32_t temperature_floor;
    const int32_t *positions, *row_sequence, *page_table;
    int32_t page_stride;
    float *q;
    const float *k, *v; /* v: the raw keys where the layer has no values of its own */
    uint8_t *pages;
    size_t page_bytes;
    KvLayout layout;
};

enum ItemKind { ITEM_QUERY, ITEM_KEY, ITEM_VALUE };

struct Item {
    ItemKind kind;
    int32_t head;
    float *x; /* shared, `padded` floats */
};

__device__ __forceinline__ float warp_sum(float value)
{
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    return value;
}

__device__ float sum_of_squares(const float *x, int32_t n)
{
    float sum = 0.0f;
    for (int32_t i = (int32_t)(threadIdx.x % 32); i < n; i += 32) sum += x[i] * x[i];
    return warp_sum(sum);
}

__device__ void scale_head(float *x, int32_t n, float factor, const float *weight)
{
    for (int32_t i = (int32_t)(threadIdx.x % 32); i < n; i += 32)
        x[i] = weight != NULL ? x[i] * factor * weight[i] : x[i] * factor;
    __syncwarp();
}

__device__ void turn(const StoreTask &task, int32_t position, float *head)
{
    const bool is_long = task.inv_freq_long != NULL && position >= task.original_context;
    const float *inv_freq = is_long ? task.inv_freq_long : task.inv_freq;
    for (int32_t i = (int32_t)(threadIdx.x % 32); i < task.n_pairs; i += 32) {
        float sine, cosine;
        sincosf(__fmul_rn((float)position, inv_freq[i]), &sine, &cosine);
        sine *= task.magnitude;
        cosine *= task.magnitude;
        const int32_t first = task.rope == ROPE_HALF ? i : 2 * i;
        const int32_t second = task.rope == ROPE_HALF ? i + task.n_pairs : 2 * i + 1;
        const float a = head[first], b = head[second];
        head[first] = a * cosine - b * sine;
        head[second] = b * cosine + a * sine;
    }
    __syncwarp();
}

__device__ Item item_of(const StoreTask &task, int32_t index, float *x)
{
    if (index < task.n_heads) return {ITEM_QUERY, index, x};
    index -= task.n_heads;
    return index < task.n_kv_heads ? Item{ITEM_KEY, index, x} : Item{ITEM_VALUE, index - task.n_kv_heads, x};
}

__device__ void load_item(const StoreTask &task, int32_t row, const Item &item)
{
    const int32_t dim = item.kind == ITEM_VALUE ? task.head_dim_v : task.head_dim;
    const size_t heads = (size_t)row * (size_t)task.n_kv_heads + (size_t)item.head;
    const float *from = item.kind == ITEM_KEY     ? task.k + heads * (size_t)dim
                        : item.kind == ITEM_VALUE ? task.v + heads * (size_t)dim
                                                  : task.q + ((size_t)row * (size_t)task.n_heads + (size_t)item.head) *
                                                                 (size_t)task.q_stride;
    for (int32_t i = (int32_t)(threadIdx.x % 32); i < task.padded; i += 32) item.x[i] = i < dim ? from[i] : 0.0f;
    __syncwarp();
}

/* squares: of the head, or of all heads of the row. */
__device__ void norm_item(const StoreTask &task, const Item &item, float squares)
{
    const bool row = task.qk_norm == QK_NORM_ROW;
    const int32_t dim = task.head_dim;
    const int32_t n = row ? dim * (item.kind == ITEM_QUERY ? task.n_heads : task.n_kv_heads) : dim;
    const float *weight = task.qk_norm == QK_NORM_HEAD_UNWEIGHTED ? NULL
                          : item.kind == ITEM_QUERY               ? task.q_norm
                                                                  : task.k_norm;
    if (row) weight += item.head * dim;
    scale_head(item.x, dim, 1.0f / sqrtf(squares / (float)n + task.eps), weight);
}

/* Queries of models without rotary on a layer grow with their position, lest long contexts flatten the softmax. */
__device__ float query_temperature(const StoreTask &task, int32_t position)
{
    if (task.temperature_scale == 0.0f) return 1.0f;
    const float steps = floorf((float)(position + 1) / (float)task.temperature_floor);
    return 1.0f + task.temperature_scale * logf(1.0f + steps);
}

template <DType TYPE>
__device__ void store_item(const StoreTask &task, int32_t row, int32_t position, const Item &item)
{
    if (item.kind == ITEM_QUERY) {
        const float temperature = query_temperature(task, position);
        float *to = task.q + ((size_t)row * (size_t)task.n_heads + (size_t)item.head) * (size_t)task.q_stride;
        for (int32_t i = (int32_t)(threadIdx.x % 32); i < task.head_dim; i += 32) to[i] = item.x[i] * temperature;
        return;
    }
    const int32_t *table = task.page_table + (size_t)task.row_sequence[row] * (size_t)task.page_stride;
    const int32_t page = table[position / KV_PAGE_TOKENS];
    if (page < 0) return; /* behind every window that will be */
    uint8_t *plane = task.pages + (size_t)page * task.page_bytes + (size_t)item.head * task.layout.head_bytes;
    if (item.kind == ITEM_KEY)
        kv_store_row<TYPE>(plane, task.layout.keys, position % KV_PAGE_TOKENS, item.x);
    else
        kv_store_row<TYPE>(plane + task.layout.keys.bytes, task.layout.values, position % KV_PAGE_TOKENS, item.x);
}

/* grid: rows, parts of their items. Block y has the items from split[y] on, of at most `per_block`. */
template <DType TYPE>
__global__ void __launch_bounds__(STORE_ROW_WARPS * 32) store_kernel(const StoreTask task, int32_t per_block, int32_t end)
{
    extern __shared__ float shared[];
    cuda_let_next_start();
    const int32_t row = (int32_t)blockIdx.x, warp = (int32_t)(threadIdx.x / 32), warps = (int32_t)(blockDim.x / 32);
    const bool by_row = task.qk_norm == QK_NORM_ROW;
    const int32_t first = by_row && blockIdx.y == 1 ? task.n_heads : (int32_t)blockIdx.y * per_block;
    const int32_t last = by_row ? (blockIdx.y == 0 ? task.n_heads : end) : min(first + per_block, end);
    float *heads = shared, *squares = shared + (size_t)per_block * (size_t)task.padded;
    const int32_t position = task.positions[row];
    cuda_wait_for_inputs();
    for (int32_t i = first + warp; i < last; i += warps) {
        const Item item = item_of(task, i, heads + (size_t)(i - first) * (size_t)task.padded);
        load_item(task, row, item);
        if (item.kind == ITEM_VALUE) {
            if (task.v_norm)
                scale_head(item.x, task.head_dim_v,
                           1.0f / sqrtf(sum_of_squares(item.x, task.head_dim_v) / (float)task.head_dim_v + task.eps),
                           NULL);
            continue;
        }
        if (task.norm_after_rope && task.rope != ROPE_NONE) turn(task, position, item.x);
        if (task.qk_norm != QK_NORM_NONE) squares[i - first] = sum_of_squares(item.x, task.head_dim);
    }
    if (by_row) __syncthreads();
    else __syncwarp();
    for (int32_t i = first + warp; i < last; i += warps) {
        const Item item = item_of(task, i, heads + (size_t)(i - first) * (size_t)task.padded);
        if (item.kind != ITEM_VALUE) {
            float sum = 0.0f;
            if (by_row)
                for (int32_t h = 0; h < (item.kind == ITEM_QUERY ? task.n_heads : task.n_kv_heads); h++) sum += squares[h];
            else if (task.qk_norm != QK_NORM_NONE) sum = squares[i - first];
            if (task.qk_norm != QK_NORM_NONE) norm_item(task, item, sum);
            if (!task.norm_after_rope && task.rope != ROPE_NONE) turn(task, position, item.x);
        }
        store_item<TYPE>(task, row, position, item);
    }
}

StoreTask store_task(const CudaBatch *batch, const CudaAttention *attention, const CudaKv *kv, float *q, const float *k,
                     const float *v)
{
    const Attention *spec = attention->spec;
    StoreTask task = {};
    task.n_heads = spec->n_heads;
    task.n_kv_heads = spec->n_kv_heads;
    task.head_dim = spec->head_dim;
    task.head_dim_v = spec->head_dim_v;
    task.q_stride = spec->gate == OUTPUT_GATE_NONE ? spec->head_dim : 2 * spec->head_dim;
    task.padded = ((spec->head_dim > spec->head_dim_v ? spec->head_dim : spec->head_dim_v) + 7) / 8 * 8;
    task.qk_norm = spec->qk_norm;
    task.eps = spec->qk_norm_eps;
    task.norm_after_rope = spec->qk_norm_after_rope;
    task.v_norm = spec->v_norm;
    task.q_norm = attention->q_norm;
    task.k_norm = attention->k_norm;
    task.rope = spec->rope.n_dims < 2 ? ROPE_NONE : spec->rope.kind;
    task.n_pairs = spec->rope.n_dims / 2;
    task.original_context = spec->rope.original_context;
    task.inv_freq = attention->inv_freq;
    task.inv_freq_long = attention->inv_freq_long;
    task.magnitude = spec->rope.magnitude;
    task.temperature_scale = spec->temperature_scale;
    task.temperature_floor = spec->temperature_floor;
    task.positions = batch->positions;
    task.row_sequence = batch->row_sequence;
    task.q = q;
    task.k = k;
    task.v = v != NULL ? v : k;
    if (k != NULL) {
        task.page_table = batch->pages[kv->group];
        task.page_stride = batch->page_stride[kv->group];
        task.pages = kv->pages;
        task.page_bytes = kv->page_bytes;
        task.layout = kv_layout(kv->type, kv->head_dim, kv->head_dim_v);
    }
    return task;
}

/* Which kernel writes a type; queries alone go by any. */
void (*store_kernel_of(DType type))(const StoreTask, int32_t, int32_t)
{
    switch (type) {
    case DT_F32: return store_kernel<DT_F32>;
    case DT_F16: return store_kernel<DT_F16>;
    case DT_BF16: return store_kernel<DT_BF16>;
    case DT_F8_E4M3: return store_kernel<DT_F8_E4M3>;
    case DT_I8: return store_kernel<DT_I8>;
    case DT_Q4_0: return store_kernel<DT_Q4_0>;
    case DT_NVFP4: return store_kernel<DT_NVFP4>;
    default: return NULL;
    }
}

} // namespace

void cuda_attention_store(CudaQueue *queue, const CudaBatch *batch, const CudaAttention *attention, const CudaKv *kv,
                          float *q, const float *k, const float *v)
{
    const StoreTask task = store_task(batch, attention, kv, q, k, v);
    const auto kernel = store_kernel_of(k != NULL ? kv->type : DT_F32);
    if (kernel == NULL) {
        if (queue->error == cudaSuccess) queue->error = cudaErrorInvalidValue;
        return;
    }
    const int32_t items = task.n_heads + (k != NULL ? 2 * task.n_kv_heads : 0);
    const bool by_row = task.qk_norm == QK_NORM_ROW;
    const int32_t per_block = !by_row ? (int32_t)STORE_WARPS : task.n_heads > 2 * task.n_kv_heads ? task.n_heads
                                                                                              : 2 * task.n_kv_heads;
    const int32_t parts = !by_row ? (items + STORE_WARPS - 1) / STORE_WARPS : k != NULL ? 2 : 1;
    const size_t shared_bytes = (size_t)per_block * ((size_t)task.padded + 1) * sizeof(float);
    cuda_launch(queue, kernel, dim3((unsigned)batch->n_rows, (unsigned)parts),
                dim3(by_row ? STORE_ROW_WARPS * 32 : STORE_WARPS * 32), shared_bytes, task, per_block, items);
}
