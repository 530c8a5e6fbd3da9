/*
 * experts_grouped.cu - the experts of several rows: rows sorted by expert, one product over all experts.
 *
 * A slot is one (row, rank) pair, rank 0 being the row's first choice; slot = row * n_used + rank. Sorted by expert the
 * slots become the rows of two grouped products (gate with up, down), cut into tiles that never cross an expert.
 * Everything happens on the device: the host knows bounds alone. Each row then adds its slots in order of rank. Experts
 * of F32 weights are computed in float32, slot by slot.
 *
 * Floor: the chosen experts' bytes once, over 4.5 TB/s (H200), or 6 n_slots n_ff n_embd operations.
 */
#include "compute/cuda/dense.h"
#include "compute/cuda/experts.h"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/packed.h"
#include "compute/cuda/rowwise.h"

enum {
    SORT_THREADS = 512,
    TILE_THREADS = 1024,
    ALIGN = 256,
    DENSE_ROWS = 96, /* mean rows of an expert from which on its matrices are decoded first */
};

/* Decoded matrices of some experts at a time. */
static const size_t PANEL_BYTES = (size_t)256 << 20;

/* ---- sorting ---- */

/* Sum over the threads before this one; *total of all. `shared`: 33 numbers. */
static __device__ __forceinline__ int scan_threads(int value, int *shared, int *total)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    int sum = value;
    for (int step = 1; step < 32; step *= 2) {
        const int below = __shfl_up_sync(0xFFFFFFFFu, sum, step);
        if (lane >= step) sum += below;
    }
    __syncthreads();
    if (lane == 31) shared[warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < n_warps; w++) {
        before += w < warp ? shared[w] : 0;
        all += shared[w];
    }
    *total = all;
    return before + sum - value;
}

/* A block an expert: its slots, ascending, behind those of the experts before it. first[e]: where they start;
 * slot_rows[place]: the row; places[slot]: the place. */
static __global__ void __launch_bounds__(SORT_THREADS)
    sort_kernel(const int32_t *chosen, int n_slots, int n_used, int32_t *first, int32_t *slot_rows, int32_t *places)
{
    __shared__ int sums[33];
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int expert = blockIdx.x, share = (n_slots + SORT_THREADS - 1) / SORT_THREADS;
    const int begin = min((int)threadIdx.x * share, n_slots), end = min(begin + share, n_slots);
    int mine = 0, less = 0;
    for (int slot = begin; slot < end; slot++) {
        mine += chosen[slot] == expert;
        less += chosen[slot] < expert;
    }
    int start, count;
    scan_threads(less, sums, &start);
    int place = scan_threads(mine, sums, &count) + start;
    for (int slot = begin; slot < end; slot++) {
        if (chosen[slot] != expert) continue;
        slot_rows[place] = slot / n_used;
        places[slot] = place++;
    }
    if (threadIdx.x != 0) return;
    first[expert] = start;
    if (expert == (int)gridDim.x - 1) first[expert + 1] = n_slots;
}

/* Tiles of at most tile_rows places of one expert, those of expert e from starts[e] on. One block. */
static __global__ void __launch_bounds__(TILE_THREADS)
    tile_kernel(const int32_t *first, int n_experts, int tile_rows, int4 *tiles, int32_t *starts)
{
    __shared__ int sums[33];
    cuda_let_next_start();
    cuda_wait_for_inputs();
    int done = 0;
    for (int base = 0; base < n_experts; base += TILE_THREADS) {
        const int expert = base + threadIdx.x;
        const int begin = expert < n_experts ? first[expert] : 0, end = expert < n_experts ? first[expert + 1] : 0;
        int total, tile = done + scan_threads((end - begin + tile_rows - 1) / tile_rows, sums, &total);
        if (expert < n_experts) starts[expert] = tile;
        for (int row = begin; row < end; row += tile_rows)
            tiles[tile++] = make_int4(expert, row, min(row + tile_rows, end), 0);
        done += total;
    }
    if (threadIdx.x == 0) starts[n_experts] = done;
}

/* ---- rows in, rows out ---- */

/* out[places[slot]] = weights[slot] * x[slot / n_used], for experts whose weight multiplies their input. */
static __global__ void __launch_bounds__(256)
    scale_inputs_kernel(const float *x, const float *weights, const int32_t *places, int n_used, int width,
                        uint16_t *out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int slot = blockIdx.x;
    const float weight = weights[slot];
    const float *from = x + (size_t)(slot / n_used) * width;
    uint16_t *to = out + (size_t)places[slot] * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        to[i] = __bfloat16_as_ushort(__float2bfloat16_rn(from[i] * weight));
}

/* out[place] = x[slot_rows[place]], 16 bytes at a time. A block a place. */
static __global__ void __launch_bounds__(128)
    gather_kernel(const uint16_t *x, const int32_t *slot_rows, int width, uint16_t *out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const uint4 *from = (const uint4 *)(x + (size_t)slot_rows[blockIdx.x] * width);
    uint4 *to = (uint4 *)(out + (size_t)blockIdx.x * width);
    for (int i = threadIdx.x; i < width / 8; i += blockDim.x) to[i] = from[i];
}

/* y[place] = w x + bias in float32 for F32 experts: a warp an output. input_weights NULL: 1; x_by_place: x has a row a
 * place, else a row for all ranks. */
static __global__ void __launch_bounds__(256)
    linear_f32_kernel(CudaWeight weight, const float *bias, const float *x, bool x_by_place, const float *input_weights,
                      const int32_t *chosen, const int32_t *places, int n_used, float *y)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int slot = blockIdx.y, column = blockIdx.x * 8 + threadIdx.x / 32, rows = weight.stack_rows;
    if (column >= rows) return;
    const int expert = chosen[slot], place = places[slot];
    const int64_t row = (int64_t)expert * rows + column;
    const float *w = (const float *)(weight.planes[0] + row * (int64_t)weight.plane_stride[0]);
    const float *from = x + (size_t)(x_by_place ? place : slot / n_used) * weight.cols;
    float sum = 0.0f;
    for (int k = threadIdx.x % 32; k < weight.cols; k += 32) sum += w[k] * from[k];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
    if (threadIdx.x % 32 != 0) return;
    sum *= weight.stack_scales != nullptr ? weight.stack_scales[expert] : weight.scale;
    if (input_weights != nullptr) sum *= input_weights[slot];
    y[(size_t)place * rows + column] = sum + (bias != nullptr ? bias[row] : 0.0f);
}

/* out[r] = sum over ranks of weight * y[place], and the shared expert's row times the sigmoid of its gate. A block a
 * row. */
static __global__ void __launch_bounds__(256)
    combine_kernel(const float *y, const float *weights, const int32_t *places, int n_used, int width,
                   const float *shared, const float *shared_gate, float *out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    const int row = blockIdx.x;
    const float share = shared_gate != nullptr ? 1.0f / (1.0f + expf(-shared_gate[row])) : 1.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (int rank = 0; rank < n_used; rank++) {
            const int slot = row * n_used + rank;
            sum += (weights != nullptr ? weights[slot] : 1.0f) * y[(size_t)places[slot] * width + i];
        }
        if (shared != nullptr) sum += share * shared[(size_t)row * width + i];
        out[(size_t)row * width + i] = sum;
    }
}

/* ---- memory ---- */

/* All scratch of a layer; with a NULL base only its size counts. */
typedef struct Scratch {
    float *scores, *weights, *y, *parts[2], *shared_y, *shared_weight;
    int32_t *chosen, *first, *slot_rows, *places, *tile_starts;
    int4 *tiles;
    uint16_t *input, *hidden;
    size_t bytes;
} Scratch;

static void *take(uint8_t *base, size_t *used, size_t count, size_t size)
{
    const size_t at = *used;
    *used += (count * size + ALIGN - 1) / ALIGN * ALIGN;
    return base != NULL ? base + at : NULL;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Whether the activation cannot be written by the product: then gate and up are float32 results first. */
static bool needs_parts(const Weight *gate, const Weight *up, const Weight *down)
{
    return gate == NULL || !weight_present(gate) || gate->type != up->type || up->type == DT_F32 ||
           down->type == DT_F32;
}

/* Whether experts meet enough rows that decoding their matrices first pays, and the copy engine can take them. */
static bool many_rows(const Experts *spec, int32_t n_embd, int32_t n_rows)
{
    return (int64_t)n_rows * spec->n_used >= (int64_t)DENSE_ROWS * spec->n_experts && n_embd % 64 == 0 &&
           spec->n_ff % 64 == 0 && !needs_parts(spec->gate, spec->up, spec->down);
}

static Scratch lay_out(uint8_t *base, const Experts *spec, int32_t n_embd, int32_t n_rows)
{
    Scratch s = {};
    const FeedForward *shared = &spec->shared;
    const size_t rows = (size_t)n_rows, slots = rows * (size_t)spec->n_used, experts = (size_t)spec->n_experts;
    const size_t embd = (size_t)n_embd, shared_hidden = rows * (size_t)shared->n_ff;
    const size_t hidden = larger(slots * (size_t)spec->n_ff, shared_hidden);
    s.scores = (float *)take(base, &s.bytes, rows * experts, sizeof(float));
    s.chosen = (int32_t *)take(base, &s.bytes, slots, sizeof(int32_t));
    s.weights = (float *)take(base, &s.bytes, slots, sizeof(float));
    s.first = (int32_t *)take(base, &s.bytes, experts + 1, sizeof(int32_t));
    s.slot_rows = (int32_t *)take(base, &s.bytes, slots, sizeof(int32_t));
    s.places = (int32_t *)take(base, &s.bytes, slots, sizeof(int32_t));
    s.tile_starts = (int32_t *)take(base, &s.bytes, experts + 1, sizeof(int32_t));
    s.tiles = (int4 *)take(base, &s.bytes, slots / PACKED_LEAST_ROWS + experts, sizeof(int4));
    if (spec->weight_on_input || many_rows(spec, n_embd, n_rows))
        s.input = (uint16_t *)take(base, &s.bytes, slots * embd, sizeof(uint16_t));
    s.hidden = (uint16_t *)take(base, &s.bytes, hidden, sizeof(uint16_t));
    if (needs_parts(spec->gate, spec->up, spec->down) ||
        (shared->n_ff > 0 && needs_parts(&shared->gate, &shared->up, &shared->down)))
        for (int i = 0; i < 2; i++) s.parts[i] = (float *)take(base, &s.bytes, hidden, sizeof(float));
    s.y = (float *)take(base, &s.bytes, slots * embd, sizeof(float));
    if (shared->n_ff > 0) {
        s.shared_y = (float *)take(base, &s.bytes, rows * embd, sizeof(float));
        s.shared_weight = (float *)take(base, &s.bytes, rows, sizeof(float));
    }
    return s;
}

size_t cuda_experts_workspace(const Experts *spec, int32_t n_embd, int32_t max_rows)
{
    /* Behind a layer's own scratch, that of the shared expert's products or of the router. */
    CudaWeight shared = {};
    shared.type = DT_Q8_0;
    shared.rows = spec->shared.n_ff;
    shared.cols = n_embd;
    size_t inner = larger(2 * cuda_gemm_workspace(&shared, max_rows), cuda_route_workspace(spec));
    if (many_rows(spec, n_embd, max_rows)) inner = larger(inner, PANEL_BYTES);
    return larger(lay_out(NULL, spec, n_embd, max_rows).bytes + inner, cuda_experts_row_workspace(spec));
}

/* ---- the layer ---- */

/* One layer's work on several rows. */
typedef struct Run {
    CudaQueue *queue;
    const CudaExperts *experts;
    const Experts *spec;
    const CudaAct *x;
    int32_t n_rows, n_slots, n_embd;
    bool dense; /* matrices are decoded to bfloat16 first */
    Scratch scratch;
    GemmGroups groups;
} Run;

static void grouped_f32(const Run *run, const CudaOutput *output, const float *x, bool x_by_place, bool weighted)
{
    const Scratch *s = &run->scratch;
    const dim3 grid((unsigned)(output->weight->stack_rows + 7) / 8, (unsigned)run->n_slots);
    cuda_launch(run->queue, linear_f32_kernel, grid, dim3(256), 0, *output->weight, output->bias, x, x_by_place,
                weighted ? s->weights : NULL, s->chosen, s->places, run->spec->n_used, output->y);
}

/* parts[i] = one matrix of x, float32. */
static void grouped_part(const Run *run, const uint16_t *x, const GemmGroups *groups, const CudaOutput *output)
{
    if (output->weight->type == DT_F32)
        grouped_f32(run, output, run->x->f32, false, run->spec->weight_on_input);
    else
        packed_product(run->queue, x, run->n_slots, output, 1, NULL, groups);
}

/* The experts' matrices as bfloat16, as many experts at a time as the workspace holds. gate NULL: float32 outputs. */
static void grouped_dense(const Run *run, const uint16_t *x, const CudaOutput *outputs, int32_t n_outputs,
                          const DenseGate *gate)
{
    const int32_t n_experts = run->spec->n_experts, rows = outputs[0].weight->stack_rows,
                  cols = outputs[0].weight->cols;
    const size_t matrix = (size_t)rows * (size_t)cols;
    const size_t fitting = run->queue->workspace_bytes / (matrix * sizeof(uint16_t) * (size_t)n_outputs);
    DenseGroups groups = {};
    groups.tiles = run->scratch.tiles;
    groups.tile_starts = run->scratch.tile_starts;
    groups.stack_rows = rows;
    for (int32_t first = 0; first < n_experts; first = groups.end_group) {
        groups.first_group = first;
        groups.end_group = (size_t)(n_experts - first) < fitting ? n_experts : first + (int32_t)fitting;
        const int32_t n_groups = groups.end_group - first;
        groups.max_tiles = run->n_slots / DENSE_TILE_ROWS + n_groups;
        DensePart parts[2] = {};
        for (int32_t i = 0; i < n_outputs; i++) {
            uint16_t *panel = (uint16_t *)run->queue->workspace + (size_t)i * (size_t)n_groups * matrix;
            panel_decode(run->queue, outputs[i].weight, (int64_t)first * rows, n_groups * rows, panel);
            parts[i].w = panel;
            parts[i].w_stride = (size_t)cols;
            parts[i].rows = rows;
            parts[i].computed = true;
            parts[i].scale = 1.0f;
            parts[i].bias = outputs[i].bias;
            parts[i].y = outputs[i].y;
            parts[i].y_stride = (size_t)rows;
        }
        dense_product(run->queue, x, (size_t)cols, run->n_slots, cols, parts, n_outputs, gate, &groups);
    }
}

/* hidden[place] = activation(gate x) * (up x): bfloat16, or float32 in parts[1] where the next matrix is. */
static void grouped_up(const Run *run)
{
    const Scratch *s = &run->scratch;
    const CudaExperts *experts = run->experts;
    const Experts *spec = run->spec;
    const CudaOutput outputs[2] = {{experts->gate, experts->gate_bias, s->parts[0]},
                                   {experts->up, experts->up_bias, s->parts[1]}};
    GemmGroups groups = run->groups;
    groups.x_rows = spec->weight_on_input ? NULL : s->slot_rows;
    const uint16_t *x = spec->weight_on_input ? s->input : run->x->bf16;
    if (run->dense) {
        if (!spec->weight_on_input)
            cuda_launch(run->queue, gather_kernel, dim3((unsigned)run->n_slots), dim3(128), 0, x, s->slot_rows,
                        run->n_embd, s->input);
        const DenseGate gate = {spec->activation, spec->limit, s->hidden, (size_t)spec->n_ff};
        grouped_dense(run, s->input, outputs, 2, &gate);
        return;
    }
    if (!needs_parts(spec->gate, spec->up, spec->down)) {
        const GemmGate gate = {spec->activation, spec->limit, s->hidden, (size_t)spec->n_ff};
        packed_product(run->queue, x, run->n_slots, outputs, 2, &gate, &groups);
        return;
    }
    if (experts->gate != NULL) grouped_part(run, x, &groups, &outputs[0]);
    grouped_part(run, x, &groups, &outputs[1]);
    const CudaAct hidden = {s->parts[1], s->hidden};
    cuda_activate(run->queue, run->n_slots, spec->n_ff, spec->activation, spec->limit,
                  experts->gate != NULL ? s->parts[0] : NULL, s->parts[1],
                  experts->down->type == DT_F32 ? CUDA_FORM_F32 : CUDA_FORM_BF16, &hidden);
}

static void grouped_down(const Run *run)
{
    const CudaOutput down = {run->experts->down, run->experts->down_bias, run->scratch.y};
    if (run->dense)
        grouped_dense(run, run->scratch.hidden, &down, 1, NULL);
    else if (down.weight->type == DT_F32)
        grouped_f32(run, &down, run->scratch.parts[1], true, false);
    else
        packed_product(run->queue, run->scratch.hidden, run->n_slots, &down, 1, NULL, &run->groups);
}

/* One output of any type over the rows of x. */
static void plain_linear(const Run *run, const CudaAct *x, const CudaOutput *output)
{
    if (output->weight->type == DT_F32)
        cuda_linear_f32(run->queue, x->f32, run->n_rows, output, 1);
    else
        cuda_gemm(run->queue, x->bf16, run->n_rows, output, 1);
}

static void shared_expert(const Run *run)
{
    const Scratch *s = &run->scratch;
    const FeedForward *spec = &run->spec->shared;
    CudaOutput gate = run->experts->shared_gate_proj, up = run->experts->shared_up, down = run->experts->shared_down;
    gate.y = s->parts[0];
    up.y = s->parts[1];
    down.y = s->shared_y;
    const CudaAct hidden = {s->parts[1], s->hidden};
    if (!needs_parts(&spec->gate, &spec->up, &spec->down)) {
        cuda_gemm_gated(run->queue, run->x->bf16, run->n_rows, &gate, &up, spec->activation, spec->limit, s->hidden);
    } else {
        if (gate.weight != NULL) plain_linear(run, run->x, &gate);
        plain_linear(run, run->x, &up);
        cuda_activate(run->queue, run->n_rows, spec->n_ff, spec->activation, spec->limit,
                      gate.weight != NULL ? gate.y : NULL, up.y,
                      down.weight->type == DT_F32 ? CUDA_FORM_F32 : CUDA_FORM_BF16, &hidden);
    }
    plain_linear(run, &hidden, &down);
    const CudaOutput weight = {run->experts->shared_gate, NULL, s->shared_weight};
    if (weight.weight != NULL) plain_linear(run, run->x, &weight);
}

static void sort_slots(Run *run)
{
    const Scratch *s = &run->scratch;
    const int32_t n_experts = run->spec->n_experts, n_slots = run->n_slots;
    run->groups.tile_rows =
        run->dense ? (int32_t)DENSE_TILE_ROWS : packed_tile_rows((n_slots + n_experts - 1) / n_experts);
    run->groups.max_tiles = n_slots / run->groups.tile_rows + (n_slots < n_experts ? n_slots : n_experts);
    run->groups.tiles = s->tiles;
    run->groups.n_tiles = s->tile_starts + n_experts;
    cuda_launch(run->queue, sort_kernel, dim3((unsigned)n_experts), dim3(SORT_THREADS), 0, s->chosen, n_slots,
                run->spec->n_used, s->first, s->slot_rows, s->places);
    cuda_launch(run->queue, tile_kernel, dim3(1), dim3(TILE_THREADS), 0, s->first, n_experts, run->groups.tile_rows,
                s->tiles, s->tile_starts);
}

void cuda_experts_grouped(CudaQueue *queue, const CudaExperts *experts, const CudaAct *x, int32_t n_rows, float *out)
{
    const Experts *spec = experts->spec;
    CudaQueue inner = *queue; /* products in here have the workspace behind the scratch */
    Run run = {&inner, experts, spec, x, n_rows, n_rows * spec->n_used, experts->down->stack_rows, false, {}, {}};
    run.scratch = lay_out((uint8_t *)queue->workspace, spec, run.n_embd, n_rows);
    const Scratch *s = &run.scratch;
    if (queue->error == cudaSuccess && s->bytes > queue->workspace_bytes) queue->error = cudaErrorMemoryAllocation;
    if (queue->error != cudaSuccess || n_rows == 0) return;
    inner.workspace = (uint8_t *)queue->workspace + s->bytes;
    inner.workspace_bytes = queue->workspace_bytes - s->bytes;

    const size_t largest =
        (size_t)run.n_embd * (size_t)spec->n_ff * 2 * sizeof(uint16_t); /* gate and up of one expert */
    run.dense = many_rows(spec, run.n_embd, n_rows) && !queue->deterministic && inner.workspace_bytes >= largest &&
                dense_possible(queue, s->input, run.n_embd, (size_t)run.n_embd);
    cuda_route(&inner, experts, x->f32, n_rows, s->scores, s->chosen, s->weights);
    sort_slots(&run);
    if (spec->weight_on_input)
        cuda_launch(&inner, scale_inputs_kernel, dim3((unsigned)run.n_slots), dim3(256), 0, x->f32, s->weights,
                    s->places, spec->n_used, run.n_embd, s->input);
    grouped_up(&run);
    grouped_down(&run);
    const bool has_shared = experts->shared_up.weight != NULL;
    if (has_shared) shared_expert(&run);
    cuda_launch(&inner, combine_kernel, dim3((unsigned)n_rows), dim3(256), 0, s->y,
                spec->weight_on_input ? NULL : s->weights, s->places, spec->n_used, run.n_embd,
                has_shared ? s->shared_y : NULL, experts->shared_gate != NULL ? s->shared_weight : NULL, out);
    queue->error = inner.error;
}

void cuda_experts(CudaQueue *queue, const CudaExperts *experts, const CudaAct *x, int32_t n_rows, float *out)
{
    if (n_rows == 1 && !queue->deterministic)
        cuda_experts_row(queue, experts, x->f32, out);
    else
        cuda_experts_grouped(queue, experts, x, n_rows, out);
}
