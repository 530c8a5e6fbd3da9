/*
 * rowwise.cu - operations that touch each row by itself.
 *
 * Floor: bytes alone. residual_norm reads x and y and writes x and the normed row in one or two forms: 16 to 18 bytes
 * an element, 0.25 MB for a row of 16,384 and so nothing but latency in decode; 4,096 rows of 4,096 are 285 MB, 66 us
 * at 4.3 TB/s. activate moves 10 to 12 bytes an element. Measured on an H200 in a graph: a row of 4,096 1.7 us, 4,096
 * of them 73 us; activate 2.1 and 58 us.
 *
 * A row of residual_norm belongs to one block and stays in its registers between the additions and the sums, so that a
 * lone row costs one trip to memory and two barriers a norm. The number of threads follows from the width alone: a
 * row's sums do not depend on the other rows.
 */
#include "compute/cuda/launch.cuh"
#include "compute/cuda/rowwise.h"

namespace
{

/* Four elements at i of a row of n; rows that do not start on 16 bytes are read one by one. */
__device__ __forceinline__ float4 load_four(const float *row, int32_t i, int32_t n, bool aligned)
{
    if (aligned && i < n) return *reinterpret_cast<const float4 *>(row + i);
    float4 four = {0.0f, 0.0f, 0.0f, 0.0f};
    if (i < n) four.x = row[i];
    if (i + 1 < n) four.y = row[i + 1];
    if (i + 2 < n) four.z = row[i + 2];
    if (i + 3 < n) four.w = row[i + 3];
    return four;
}

__device__ __forceinline__ void store_four(float *row, int32_t i, int32_t n, bool aligned, float4 four)
{
    if (aligned && i < n) {
        *reinterpret_cast<float4 *>(row + i) = four;
        return;
    }
    if (i < n) row[i] = four.x;
    if (i + 1 < n) row[i + 1] = four.y;
    if (i + 2 < n) row[i + 2] = four.z;
    if (i + 3 < n) row[i + 3] = four.w;
}

__device__ __forceinline__ uint32_t pack_bf16(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

__device__ __forceinline__ void store_four_bf16(uint16_t *row, int32_t i, int32_t n, bool aligned, float4 four)
{
    const uint32_t low = pack_bf16(four.x, four.y), high = pack_bf16(four.z, four.w);
    if (aligned && i < n) {
        *reinterpret_cast<uint2 *>(row + i) = make_uint2(low, high);
        return;
    }
    if (i < n) row[i] = (uint16_t)low;
    if (i + 1 < n) row[i + 1] = (uint16_t)(low >> 16);
    if (i + 2 < n) row[i + 2] = (uint16_t)high;
    if (i + 3 < n) row[i + 3] = (uint16_t)(high >> 16);
}

/* Where a result goes: either pointer may be NULL. */
struct RowForms {
    float *f32;
    uint16_t *bf16;
};

RowForms forms_of(CudaForms forms, const CudaAct *act)
{
    if (act == NULL) return {NULL, NULL};
    return {(forms & CUDA_FORM_F32) != 0 ? act->f32 : NULL, (forms & CUDA_FORM_BF16) != 0 ? act->bf16 : NULL};
}

__device__ __forceinline__ void store_forms(const RowForms &out, size_t row_start, int32_t i, int32_t n, bool aligned,
                                            float4 four)
{
    if (out.f32 != NULL) store_four(out.f32 + row_start, i, n, aligned, four);
    if (out.bf16 != NULL) store_four_bf16(out.bf16 + row_start, i, n, aligned, four);
}

/* ---- residual and norm ---- */

enum { NORM_SUMS = 4 }; /* of one row: mean and variance of two norms */

/* The sum over the block in every thread. Each use has its own `slots`, so that one barrier is enough. */
__device__ __forceinline__ float block_sum(float value, float slots[32])
{
    for (int32_t distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? slots[threadIdx.x % 32] : 0.0f;
    for (int32_t distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    return value;
}

struct NormTask {
    NormKind kind;
    float eps;
    const float *weight, *bias;
};

NormTask norm_task(const CudaNorm *norm)
{
    if (norm == NULL) return {NORM_NONE, 0.0f, NULL, NULL};
    return {norm->kind, norm->eps, norm->weight, norm->bias};
}

struct ResidualTask {
    int32_t width;
    float *x;
    const float *y;
    NormTask post_norm, norm;
    float multiplier, scale;
    RowForms out;
};

template <int PARTS>
__device__ __forceinline__ void normalize(const NormTask &norm, float4 value[PARTS], const float4 weight[PARTS],
                                          int32_t n, bool aligned, float slots[2][32])
{
    if (norm.kind == NORM_NONE) return;
    float mean = 0.0f;
    if (norm.kind == NORM_LAYER) {
        float sum = 0.0f;
        for (int p = 0; p < PARTS; p++) sum += (value[p].x + value[p].y) + (value[p].z + value[p].w);
        mean = block_sum(sum, slots[0]) / (float)n;
    }
    float squares = 0.0f;
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        const int32_t i = 4 * (int32_t)(threadIdx.x + p * blockDim.x);
        const float4 d = {value[p].x - mean, value[p].y - mean, value[p].z - mean, value[p].w - mean};
        if (i < n) squares += d.x * d.x;
        if (i + 1 < n) squares += d.y * d.y;
        if (i + 2 < n) squares += d.z * d.z;
        if (i + 3 < n) squares += d.w * d.w;
    }
    const float factor = 1.0f / sqrtf(block_sum(squares, slots[1]) / (float)n + norm.eps);
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        const int32_t i = 4 * (int32_t)(threadIdx.x + p * blockDim.x);
        float4 v = {(value[p].x - mean) * factor, (value[p].y - mean) * factor, (value[p].z - mean) * factor,
                    (value[p].w - mean) * factor};
        if (norm.weight != NULL) v = {v.x * weight[p].x, v.y * weight[p].y, v.z * weight[p].z, v.w * weight[p].w};
        if (norm.bias != NULL) {
            const float4 b = load_four(norm.bias, i, n, aligned);
            v = {v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w};
        }
        value[p] = v;
    }
}

template <int PARTS>
__device__ __forceinline__ void load_row(const float *row, int32_t n, bool aligned, float4 value[PARTS])
{
#pragma unroll
    for (int p = 0; p < PARTS; p++) value[p] = load_four(row, 4 * (int32_t)(threadIdx.x + p * blockDim.x), n, aligned);
}

/* A block a row; a thread holds PARTS times four elements. */
template <int PARTS> __global__ void __launch_bounds__(1024) residual_norm_kernel(const ResidualTask task)
{
    __shared__ float slots[NORM_SUMS][32];
    cuda_let_next_start();
    const int32_t n = task.width;
    const bool aligned = n % 4 == 0;
    const size_t start = (size_t)blockIdx.x * (size_t)n;
    float4 weight[PARTS], post_weight[PARTS], x[PARTS];
    if (task.norm.weight != NULL) load_row<PARTS>(task.norm.weight, n, aligned, weight);
    if (task.post_norm.weight != NULL) load_row<PARTS>(task.post_norm.weight, n, aligned, post_weight);
    cuda_wait_for_inputs();
    load_row<PARTS>(task.x + start, n, aligned, x);
    if (task.y != NULL) {
        float4 y[PARTS];
        load_row<PARTS>(task.y + start, n, aligned, y);
        normalize<PARTS>(task.post_norm, y, post_weight, n, aligned, slots);
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            x[p].x += y[p].x * task.multiplier;
            x[p].y += y[p].y * task.multiplier;
            x[p].z += y[p].z * task.multiplier;
            x[p].w += y[p].w * task.multiplier;
        }
    }
    if (task.y != NULL || task.scale != 1.0f) {
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            x[p] = {x[p].x * task.scale, x[p].y * task.scale, x[p].z * task.scale, x[p].w * task.scale};
            store_four(task.x + start, 4 * (int32_t)(threadIdx.x + p * blockDim.x), n, aligned, x[p]);
        }
    }
    normalize<PARTS>(task.norm, x, weight, n, aligned, slots + 2);
#pragma unroll
    for (int p = 0; p < PARTS; p++)
        store_forms(task.out, start, 4 * (int32_t)(threadIdx.x + p * blockDim.x), n, aligned, x[p]);
}

/* ---- activation ---- */

__device__ __forceinline__ float apply(Activation activation, float x)
{
    switch (activation) {
    case ACT_SILU: return x / (1.0f + expf(-x));
    case ACT_GELU:
        return 0.5f * x * erfcf(x * -0.70710678f); /* 1 + erf(x / sqrt 2), which would cancel */
    /* 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), which does not cancel; u = sqrt(2 / pi) (x + 0.044715 x^3). */
    case ACT_GELU_TANH: return x / (1.0f + expf(-1.5957691f * (x * x * 0.044715f * x + x)));
    case ACT_RELU: return fmaxf(x, 0.0f);
    case ACT_RELU2: return fmaxf(x, 0.0f) * fmaxf(x, 0.0f);
    default: return x;
    }
}

__device__ __forceinline__ float clamp_keeping_nan(float x, float least, float most)
{
    return x > most ? most : x < least ? least : x;
}

/* gate is not read where there is none. */
__device__ __forceinline__ float gated(Activation activation, float limit, bool has_gate, float gate, float up)
{
    if (activation != ACT_SWIGLU_OAI) return has_gate ? apply(activation, gate) * up : apply(activation, up);
    const float most = limit > 0.0f ? limit : INFINITY;
    const float u = clamp_keeping_nan(up, -most, most), g = has_gate ? clamp_keeping_nan(gate, -INFINITY, most) : u;
    const float glu = g / (1.0f + expf(-1.702f * g));
    return has_gate ? (u + 1.0f) * glu : glu;
}

__global__ void activate_kernel(int64_t n, Activation activation, float limit, const float *gate, const float *up,
                                RowForms out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int64_t first = 4 * (blockIdx.x * (int64_t)blockDim.x + threadIdx.x);
    if (first >= n) return;
    const int32_t left = n - first < 4 ? (int32_t)(n - first) : 4;
    const bool aligned = left == 4;
    const float4 u = load_four(up + first, 0, left, aligned);
    const float4 g = gate != NULL ? load_four(gate + first, 0, left, aligned) : u;
    const bool has_gate = gate != NULL;
    const float4 y = {gated(activation, limit, has_gate, g.x, u.x), gated(activation, limit, has_gate, g.y, u.y),
                      gated(activation, limit, has_gate, g.z, u.z), gated(activation, limit, has_gate, g.w, u.w)};
    store_forms(out, (size_t)first, 0, left, aligned, y);
}

/* ---- short convolution ---- */

/* Rows of one sequence that a block walks. What lies before them is the products of earlier rows, or the state. */
enum { CONV_ROWS = 32, CONV_CHANNELS = 128 };

struct ConvTask {
    int32_t channels, width, n_sequences;
    const int32_t *first_row, *sequence_rows, *state_slot;
    const float *taps, *bias, *bcx;
    float *state;
    RowForms out;
};

/* B * x of row `row` of the sequence, or of its past where row is negative. */
__device__ __forceinline__ float conv_input(const ConvTask &task, int32_t sequence, int32_t row, int32_t c)
{
    if (row >= 0) {
        const float *bcx = task.bcx + (size_t)(task.first_row[sequence] + row) * 3 * (size_t)task.channels;
        return bcx[c] * bcx[2 * task.channels + c];
    }
    const size_t slot = (size_t)task.state_slot[sequence] * (size_t)(task.width - 1);
    return task.state[(slot + (size_t)(task.width - 1 + row)) * (size_t)task.channels + (size_t)c];
}

/* The last width - 1 inputs. The new entry t is read before it is overwritten: entry t + n_rows, never an earlier one.
 */
__device__ __forceinline__ void advance_conv_state(const ConvTask &task, int32_t sequence, int32_t c)
{
    const int32_t n_rows = task.sequence_rows[sequence], past = task.width - 1;
    const size_t slot = (size_t)task.state_slot[sequence] * (size_t)past;
    for (int32_t t = 0; t < past; t++)
        task.state[(slot + (size_t)t) * (size_t)task.channels + (size_t)c] =
            conv_input(task, sequence, n_rows - past + t, c);
}

/* grid: blocks of channels, blocks of rows, sequences. A sequence of one block of rows advances its state here. */
__global__ void conv_kernel(const ConvTask task)
{
    cuda_let_next_start();
    const int32_t c = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x), sequence = (int32_t)blockIdx.z;
    const bool inside = c < task.channels;
    cuda_wait_for_inputs();
    const int32_t n_rows = task.sequence_rows[sequence], first = (int32_t)blockIdx.y * CONV_ROWS;
    if (!inside || first >= n_rows) return;
    const float *taps = task.taps + (size_t)c * (size_t)task.width;
    for (int32_t row = first; row < min(first + CONV_ROWS, n_rows); row++) {
        float sum = 0.0f;
        for (int32_t t = 0; t < task.width; t++)
            sum += taps[t] * conv_input(task, sequence, row - (task.width - 1) + t, c);
        if (task.bias != NULL) sum += task.bias[c];
        const size_t at = (size_t)(task.first_row[sequence] + row);
        const float y = task.bcx[(at * 3 + 1) * (size_t)task.channels + (size_t)c] * sum;
        if (task.out.f32 != NULL) task.out.f32[at * (size_t)task.channels + (size_t)c] = y;
        if (task.out.bf16 != NULL)
            task.out.bf16[at * (size_t)task.channels + (size_t)c] = __bfloat16_as_ushort(__float2bfloat16_rn(y));
    }
    if (n_rows <= CONV_ROWS) advance_conv_state(task, sequence, c);
}

/* The states of sequences of several blocks of rows, once all of those have read them. */
__global__ void conv_state_kernel(const ConvTask task)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int32_t c = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x), sequence = (int32_t)blockIdx.y;
    if (c < task.channels && task.sequence_rows[sequence] > CONV_ROWS) advance_conv_state(task, sequence, c);
}

/* ---- gathering, logits ---- */

__global__ void gather_kernel(const int32_t *rows, int32_t width, RowForms from, RowForms to)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const size_t source = (size_t)rows[blockIdx.x] * (size_t)width, target = (size_t)blockIdx.x * (size_t)width;
    for (int32_t i = (int32_t)threadIdx.x; i < width; i += (int32_t)blockDim.x) {
        if (from.f32 != NULL) to.f32[target + (size_t)i] = from.f32[source + (size_t)i];
        if (to.bf16 == NULL) continue;
        to.bf16[target + (size_t)i] = from.bf16 != NULL
                                          ? from.bf16[source + (size_t)i]
                                          : __bfloat16_as_ushort(__float2bfloat16_rn(from.f32[source + (size_t)i]));
    }
}

__global__ void finish_logits_kernel(float *logits, int64_t n, float multiplier, float softcap)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        const float value = logits[i] * multiplier;
        logits[i] = softcap > 0.0f ? softcap * tanhf(value / softcap) : value;
    }
}

unsigned blocks_of(int64_t n, int64_t block) { return (unsigned)((n + block - 1) / block); }

} // namespace

void cuda_residual_norm(CudaQueue *queue, int32_t n_rows, int32_t width, float *x, const float *y,
                        const CudaNorm *post_norm, float multiplier, float scale, const CudaNorm *norm, CudaForms forms,
                        const CudaAct *out)
{
    const ResidualTask task = {
        width,           x,          y,     norm_task(post_norm),
        norm_task(norm), multiplier, scale, norm != NULL ? forms_of(forms, out) : RowForms{NULL, NULL}};
    const int64_t fours = (width + 3) / 4;
    const dim3 grid((unsigned)n_rows);
    if (fours <= 1024)
        cuda_launch(queue, residual_norm_kernel<1>, grid, dim3(blocks_of(fours, 32) * 32), 0, task);
    else if (fours <= 2 * 1024)
        cuda_launch(queue, residual_norm_kernel<2>, grid, dim3(blocks_of(fours, 2 * 32) * 32), 0, task);
    else if (fours <= 4 * 1024)
        cuda_launch(queue, residual_norm_kernel<4>, grid, dim3(blocks_of(fours, 4 * 32) * 32), 0, task);
    else if (queue->error == cudaSuccess)
        queue->error = cudaErrorInvalidValue; /* no model's rows are this wide */
}

void cuda_activate(CudaQueue *queue, int32_t n_rows, int32_t width, Activation activation, float limit,
                   const float *gate, const float *up, CudaForms forms, const CudaAct *out)
{
    const int64_t n = (int64_t)n_rows * width;
    cuda_launch(queue, activate_kernel, dim3(blocks_of(n, 4 * 256)), dim3(256), 0, n, activation, limit, gate, up,
                forms_of(forms, out));
}

void cuda_short_conv(CudaQueue *queue, const CudaBatch *batch, const ShortConv *spec, const float *taps,
                     const float *conv_bias, float *state, const float *bcx, CudaForms forms, const CudaAct *out)
{
    if (spec->width > CONV_ROWS) { /* a state would be older than one block of rows; no model comes near */
        if (queue->error == cudaSuccess) queue->error = cudaErrorInvalidValue;
        return;
    }
    const ConvTask task = {spec->channels,
                           spec->width,
                           batch->n_sequences,
                           batch->first_row,
                           batch->sequence_rows,
                           batch->state_slot,
                           taps,
                           conv_bias,
                           bcx,
                           state,
                           forms_of(forms, out)};
    const unsigned channel_blocks = blocks_of(spec->channels, CONV_CHANNELS);
    const unsigned row_blocks = blocks_of(batch->max_sequence_rows, CONV_ROWS),
                   sequences = (unsigned)batch->n_sequences;
    cuda_launch(queue, conv_kernel, dim3(channel_blocks, row_blocks, sequences), dim3(CONV_CHANNELS), 0, task);
    if (row_blocks > 1)
        cuda_launch(queue, conv_state_kernel, dim3(channel_blocks, sequences), dim3(CONV_CHANNELS), 0, task);
}

void cuda_gather_rows(CudaQueue *queue, const int32_t *rows, int32_t n_rows, int32_t width, const CudaAct *x,
                      CudaForms from, const CudaAct *out)
{
    const RowForms source = forms_of(from, x);
    cuda_launch(queue, gather_kernel, dim3((unsigned)n_rows), dim3(256), 0, rows, width, source,
                RowForms{source.f32 != NULL ? out->f32 : NULL, out->bf16});
}

void cuda_finish_logits(CudaQueue *queue, float *logits, int32_t n_rows, int32_t n_vocab, float multiplier,
                        float softcap)
{
    if (multiplier == 1.0f && softcap == 0.0f) return;
    cuda_launch(queue, finish_logits_kernel, dim3((unsigned)queue->n_sms * 4), dim3(256), 0, logits,
                (int64_t)n_rows * n_vocab, multiplier, softcap);
}
