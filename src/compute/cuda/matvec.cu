/*
 * matvec.cu - one row of activations: a matrix of any type times a vector.
 *
 * Floor: the weight's bytes over the memory's rate; nothing else counts. So the kernel is built around keeping reads in
 * flight, across kernels too:
 *   - A warp owns a slice of 1,024 columns, a lane 32 of them, and keeps its activations in registers. As many warps as the
 *     row has slices form a team, and walk the team's rows, each row once. Nothing but weights moves in the loop.
 *   - Weights come through a ring in shared memory that belongs to the warp: cp.async, some rows ahead, no barrier but the
 *     warp's own. The ring is filled before the kernel waits for its input: the next kernel's first weights are on their
 *     way while the one before it ends.
 *   - Block types meet activations rounded to 16 bits with a scale for every 32 (an error of 2^-16 of their largest), as
 *     integers: exact sums of 32, then float32. 16-bit and FP8 weights are multiplied in float32.
 *   - A slice's sums of several rows are added over the lanes together; slices meet once, at the end, in a fixed order: a
 *     row's result depends on nothing but the row.
 * Experts: ranks are spread over blocks (gate and up), or over the warps of a team (down), whose sums meet in order of rank.
 */
#include "compute/cuda/codec.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/matvec_call.h"
#include "compute/cuda/rowwise.h"

#include <math.h>

enum { SLICE = 1024, LANES = 32, MAX_WARPS = 32, PARTIAL_FLOATS = 8 * 1024 };

MatvecTuning matvec_tuning = {16, 1, 96 * 1024};

/* What a block needs to know of an output. */
typedef struct DeviceOutput {
    const uint8_t *planes[2][CUDA_MAX_PLANES];
    uint32_t stride[CUDA_MAX_PLANES];
    const float *bias[2], *stack_scales[2];
    float scale[2];
    float *y;
    DType type;
    int32_t rows, stack_rows;
    int32_t first_block, n_blocks; /* of all ranks */
    int32_t depth;                 /* stages of the ring */
} DeviceOutput;

typedef struct DeviceCall {
    DeviceOutput outputs[CUDA_MAX_OUTPUTS];
    const float *x, *id_weights, *sigmoid_of;
    const int32_t *ids;
    int32_t n_outputs, cols, slices; /* of this pass; slices of one rank */
    int32_t first_slice;             /* of the pass */
    int32_t team, n_teams;           /* warps of a team, teams of a block */
    int32_t spread, summed;          /* ranks over blocks, ranks over warps: 1 or n_ids */
    int32_t partial_at, ring_at;     /* bytes into shared memory */
    int32_t ring_bytes;              /* of a warp */
    MatvecExperts experts;
    Activation activation;
    float limit;
    bool gated, activated, add;
} DeviceCall;

/* ---- the ring ---- */

/* Rows of a stage: enough bytes to be worth a wait. */
__host__ __device__ constexpr int stage_rows(DType type) { return codec_shape(type).low_bits >= 16 ? 1 : codec_shape(type).low_bits == 8 ? 2 : 4; }

/* Bytes of a slice of a plane, and where the plane's rows begin in a stage. */
__host__ __device__ constexpr int slice_bytes(DType type, int plane)
{
    return codec_shape(type).plane_bytes[plane] * (SLICE / CODEC_SUPER);
}
__host__ __device__ constexpr int plane_at(DType type, int plane)
{
    int at = 0;
    for (int p = 0; p < plane; p++) at += stage_rows(type) * slice_bytes(type, p);
    return at;
}
__host__ __device__ constexpr int stage_bytes(DType type) { return (plane_at(type, CUDA_MAX_PLANES) + 15) / 16 * 16; }

static __device__ __forceinline__ void copy_async(uint32_t to, const uint8_t *from, int bytes)
{
    if (bytes == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(to), "l"(from) : "memory");
}

static __device__ __forceinline__ void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits until at most `newer` of this thread's groups are on their way. */
static __device__ __forceinline__ void wait_async(int newer)
{
    switch (newer) {
    case 0: asm volatile("cp.async.wait_group 0;" ::: "memory"); break;
    case 1: asm volatile("cp.async.wait_group 1;" ::: "memory"); break;
    case 2: asm volatile("cp.async.wait_group 2;" ::: "memory"); break;
    case 3: asm volatile("cp.async.wait_group 3;" ::: "memory"); break;
    case 4: asm volatile("cp.async.wait_group 4;" ::: "memory"); break;
    case 5: asm volatile("cp.async.wait_group 5;" ::: "memory"); break;
    default: asm volatile("cp.async.wait_group 6;" ::: "memory"); break;
    }
}

/* The rows of one warp: its slice of its team's part of an output. With a gate, rows of a and b take turns. */
typedef struct WarpRows {
    const DeviceOutput *output;
    int64_t first_row; /* of the expert in the stack + of the team's part */
    int32_t n;         /* rows, both matrices counted */
    int32_t slice;     /* of the weight's columns */
    bool gated;
} WarpRows;

static __device__ __forceinline__ const uint8_t *row_at(const WarpRows &rows, int plane, int i, uint32_t offset)
{
    const int row = rows.gated ? i >> 1 : i;
    const uint8_t *base = rows.output->planes[0][plane];
    if (rows.gated && (i & 1)) base = rows.output->planes[1][plane];
    return base + (rows.first_row + row) * (int64_t)rows.output->stride[plane] + offset;
}

template <DType T, int P> static __device__ __forceinline__ void fetch_plane(const WarpRows &rows, int first, uint32_t stage)
{
    constexpr int bytes = slice_bytes(T, P);
    if constexpr (bytes > 0) {
        constexpr int piece = bytes % 16 == 0 ? 16 : 8, pieces = bytes / piece, total = pieces * stage_rows(T);
        const uint32_t offset = (uint32_t)(rows.slice * bytes);
        const int valid = (int)(rows.output->stride[P] - offset);
#pragma unroll
        for (int c = threadIdx.x % LANES, end = c + total; c < end; c += LANES) {
            const int j = c / pieces, within = c % pieces * piece;
            if (total % LANES != 0 && c >= total) break;
            if (first + j < rows.n && within < valid)
                copy_async(stage + plane_at(T, P) + j * bytes + within, row_at(rows, P, first + j, offset + within), piece);
        }
    }
}

template <DType T> static __device__ __forceinline__ void fetch_stage(const WarpRows &rows, int first, uint32_t stage)
{
    if (first < rows.n) {
        fetch_plane<T, 0>(rows, first, stage);
        fetch_plane<T, 1>(rows, first, stage);
        fetch_plane<T, 2>(rows, first, stage);
        fetch_plane<T, 3>(rows, first, stage);
    }
    commit_async();
}

/* ---- activations ---- */

enum { X_GROUP_BYTES = 64 + 16 };

/* A group of activations: pairs of 16-bit integers in the order of the codec's quads. */
typedef struct IntegerInput {
    int32_t pairs[16];
    int32_t sums[2]; /* of elements 0-15 and 16-31 */
    float scale;
} IntegerInput;

/* The block rounds all of x: a thread eight elements, four threads a group. In shared memory: 64 bytes of integers a group,
 * then {scale, sum of elements 0-15, of 16-31, -} a group. */
template <DType T> static __device__ __forceinline__ void quantize_input(const float *x, int n_groups, uint8_t *shared)
{
    int4 *integers = (int4 *)shared, *facts = (int4 *)(shared + n_groups * 64);
    const unsigned quad_mask = 0xFu << (threadIdx.x % LANES & ~3u);
    for (int octet = (int)threadIdx.x; octet < n_groups * 4; octet += (int)blockDim.x) {
        const float4 low = ((const float4 *)x)[octet * 2], high = ((const float4 *)x)[octet * 2 + 1];
        const float values[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        float most = 0.0f;
#pragma unroll
        for (int i = 0; i < 8; i++) most = fmaxf(most, fabsf(values[i]));
        most = fmaxf(most, __shfl_xor_sync(quad_mask, most, 1));
        most = fmaxf(most, __shfl_xor_sync(quad_mask, most, 2));
        const float inverse = most > 1e-30f ? 32767.0f / most : 0.0f;
        int integer[8], sum = 0;
        float poison = 0.0f; /* 0 or NaN: what is not finite stays so */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            integer[i] = __float2int_rn(values[i] * inverse);
            sum += integer[i];
            poison += values[i] * 0.0f;
        }
        uint32_t words[4] = {};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int position = codec_position(T, i);
            words[position / 2] |= ((uint32_t)integer[i] & 0xFFFF) << (position % 2 * 16);
        }
        integers[octet] = make_int4((int)words[0], (int)words[1], (int)words[2], (int)words[3]);
        sum += __shfl_xor_sync(quad_mask, sum, 1);
        poison += __shfl_xor_sync(quad_mask, poison, 1);
        poison += __shfl_xor_sync(quad_mask, poison, 2);
        const int other = __shfl_xor_sync(quad_mask, sum, 2);
        if (octet % 4 == 0) facts[octet / 4] = make_int4(__float_as_int(most / 32767.0f + poison), sum, other, 0);
    }
}

static __device__ __forceinline__ IntegerInput load_integers(const uint8_t *shared, int n_groups, int group, bool inside)
{
    IntegerInput x = {};
    if (!inside) return x;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int4 four = ((const int4 *)shared)[group * 4 + i];
        x.pairs[4 * i] = four.x;
        x.pairs[4 * i + 1] = four.y;
        x.pairs[4 * i + 2] = four.z;
        x.pairs[4 * i + 3] = four.w;
    }
    const int4 facts = ((const int4 *)(shared + n_groups * 64))[group];
    x.scale = __int_as_float(facts.x);
    x.sums[0] = facts.y;
    x.sums[1] = facts.z;
    return x;
}

/* Two 16-bit integers times bytes 0, 1 or 2, 3 of a quad. */
static __device__ __forceinline__ int dot_low(int32_t pairs, uint32_t quad, int sum)
{
    asm("dp2a.lo.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(pairs), "r"(quad));
    return sum;
}
static __device__ __forceinline__ int dot_high(int32_t pairs, uint32_t quad, int sum)
{
    asm("dp2a.hi.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(pairs), "r"(quad));
    return sum;
}

/* A lane's group of one row of a stage. */
template <DType T> static __device__ __forceinline__ float dot_integers(const uint8_t *stage, int j, const IntegerInput &x)
{
    const int lane = threadIdx.x % LANES;
    const CodecRow row = {stage + plane_at(T, 0) + j * slice_bytes(T, 0), stage + plane_at(T, 1) + j * slice_bytes(T, 1),
                          stage + plane_at(T, 2) + j * slice_bytes(T, 2), stage + plane_at(T, 3) + j * slice_bytes(T, 3)};
    const CodecBits<T> bits = codec_load<T>(row, lane);
    const CodecScales scales = codec_scales<T>(row, lane);
    constexpr int halves = codec_has_halves(T) ? 2 : 1, zero = codec_shape(T).zero;
    int sums[2] = {-zero * (halves == 2 ? x.sums[0] : x.sums[0] + x.sums[1]), -zero * x.sums[1]};
#pragma unroll
    for (int quad = 0; quad < 8; quad++) {
        const uint32_t integers = codec_quad<T>(bits, quad);
        int &sum = sums[halves == 2 ? quad / 4 : 0];
        sum = dot_low(x.pairs[2 * quad], integers, sum);
        sum = dot_high(x.pairs[2 * quad + 1], integers, sum);
    }
    float dot = scales.scale[0] * (float)sums[0];
    if constexpr (halves == 2) dot += scales.scale[1] * (float)sums[1];
    if constexpr (codec_has_minimum(T)) {
        if constexpr (halves == 2)
            dot += scales.minimum[0] * (float)x.sums[0] + scales.minimum[1] * (float)x.sums[1];
        else
            dot += scales.minimum[0] * (float)(x.sums[0] + x.sums[1]);
    }
    return dot * x.scale;
}

/* A lane's 16-byte units of a slice are LANES units apart. */
template <DType T> struct PlainInput {
    static constexpr int per_unit = 16 * 8 / codec_shape(T).low_bits, units = SLICE / LANES / per_unit;
    float values[units][per_unit];
};

template <DType T> static __device__ __forceinline__ PlainInput<T> load_plain(const float *x, int first, int cols)
{
    typedef PlainInput<T> Input;
    Input out;
    const bool aligned = ((uintptr_t)x & 15) == 0;
#pragma unroll
    for (int unit = 0; unit < Input::units; unit++) {
        const int at = first + ((int)threadIdx.x % LANES + unit * LANES) * Input::per_unit;
#pragma unroll
        for (int i = 0; i < Input::per_unit; i += 4) {
            float *to = &out.values[unit][i];
            if (aligned && at + i + 4 <= cols) {
                const float4 four = *(const float4 *)(x + at + i);
                to[0] = four.x;
                to[1] = four.y;
                to[2] = four.z;
                to[3] = four.w;
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) to[e] = at + i + e < cols ? x[at + i + e] : 0.0f;
            }
        }
    }
    return out;
}

template <DType T>
static __device__ __forceinline__ float dot_plain(const uint8_t *stage, int j, const PlainInput<T> &x, int valid)
{
    const int lane = threadIdx.x % LANES;
    float sums[2] = {};
#pragma unroll
    for (int unit = 0; unit < PlainInput<T>::units; unit++) {
        const int at = (unit * LANES + lane) * 16;
        if (at >= valid) break;
        float weights[PlainInput<T>::per_unit];
        codec_plain<T>(*(const uint4 *)(stage + j * slice_bytes(T, 0) + at), weights);
#pragma unroll
        for (int i = 0; i < PlainInput<T>::per_unit; i++) sums[i % 2] += weights[i] * x.values[unit][i];
    }
    return sums[0] + sums[1];
}

/* ---- the loop ---- */

/* Adds R numbers over the lanes at once; the lane of first_lane(r) ends with number r. */
template <int R> static __device__ __forceinline__ float add_lanes(float (&v)[R])
{
    const int lane = threadIdx.x % LANES;
    if constexpr (R == 4) {
        const bool upper = (lane & 16) != 0;
        float two[2];
#pragma unroll
        for (int i = 0; i < 2; i++)
            two[i] = (upper ? v[i + 2] : v[i]) + __shfl_xor_sync(0xFFFFFFFFu, upper ? v[i] : v[i + 2], 16);
        const bool odd = (lane & 8) != 0;
        float sum = (odd ? two[1] : two[0]) + __shfl_xor_sync(0xFFFFFFFFu, odd ? two[0] : two[1], 8);
        for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
        return sum;
    } else if constexpr (R == 2) {
        const bool upper = (lane & 16) != 0;
        float sum = (upper ? v[1] : v[0]) + __shfl_xor_sync(0xFFFFFFFFu, upper ? v[0] : v[1], 16);
        for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
        return sum;
    } else {
        float sum = v[0];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
        return sum;
    }
}

/* Walks the warp's rows; partial[i * team] = row i's sum over the slice. `ready` waits for x and loads it. */
template <DType T>
static __device__ __forceinline__ void walk(const DeviceCall &call, const WarpRows &rows, int rank, bool early,
                                            uint8_t *shared, uint8_t *ring, float *partial)
{
    constexpr int R = stage_rows(T);
    constexpr bool plain = codec_shape(T).scaling == SCALING_NONE;
    const int depth = rows.output->depth, lane = threadIdx.x % LANES;
    const uint32_t ring_at = (uint32_t)__cvta_generic_to_shared(ring);
    if (early)
        for (int s = 0; s + 1 < depth; s++) fetch_stage<T>(rows, s * R, ring_at + s * stage_bytes(T));
    cuda_wait_for_inputs();
    if (!early)
        for (int s = 0; s + 1 < depth; s++) fetch_stage<T>(rows, s * R, ring_at + s * stage_bytes(T));

    IntegerInput integers;
    PlainInput<plain ? T : DT_BF16> floats;
    const int valid = (int)rows.output->stride[0] - rows.slice * slice_bytes(T, 0), slice = rows.slice - call.first_slice;
    const int groups = call.cols / CODEC_GROUP, group = slice * LANES + lane;
    if constexpr (plain) {
        floats = load_plain<T>(call.x + (int64_t)rank * call.cols, slice * SLICE, call.cols);
    } else {
        quantize_input<T>(call.x, groups * call.summed, shared);
        __syncthreads();
        integers = load_integers(shared, groups * call.summed, rank * groups + group, group < groups);
    }
    int slot = 0;
    for (int first = 0; first < rows.n; first += R) {
        wait_async(depth - 2);
        __syncwarp();
        const int behind = slot == 0 ? depth - 1 : slot - 1;
        fetch_stage<T>(rows, first + (depth - 1) * R, ring_at + behind * stage_bytes(T));
        const uint8_t *stage = ring + slot * stage_bytes(T);
        float sums[R];
#pragma unroll
        for (int j = 0; j < R; j++) {
            if constexpr (plain) {
                sums[j] = dot_plain<T>(stage, j, floats, valid);
            } else {
                sums[j] = group < groups ? dot_integers<T>(stage, j, integers) : 0.0f;
            }
        }
        const float sum = add_lanes<R>(sums);
        const int mine = lane / (LANES / R);
        if (lane % (LANES / R) == 0 && first + mine < rows.n) partial[(first + mine) * call.team] = sum;
        slot = slot + 1 == depth ? 0 : slot + 1;
    }
    wait_async(0);
}

/* ---- results ---- */

static __device__ __forceinline__ float activated(Activation activation, float limit, float gate, float up, bool gated)
{
    if (activation == ACT_SWIGLU_OAI) {
        const float most = limit > 0.0f ? limit : INFINITY;
        const float u = fmaxf(fminf(up, most), -most), g = gated ? fminf(gate, most) : u;
        const float glu = g / (1.0f + expf(-1.702f * g));
        return gated ? (u + 1.0f) * glu : glu;
    }
    const float x = gated ? gate : up;
    float value = x;
    switch (activation) {
    case ACT_SILU: value = x / (1.0f + expf(-x)); break;
    case ACT_GELU: value = 0.5f * x * (1.0f + erff(x * 0.70710678f)); break;
    case ACT_GELU_TANH: value = 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x))); break;
    case ACT_RELU: value = fmaxf(x, 0.0f); break;
    case ACT_RELU2: value = x > 0.0f ? x * x : 0.0f; break;
    default: break;
    }
    return gated ? value * up : value;
}

/* Row `row` of matrix m: the sum over the team's slices, ranks one after the other. */
static __device__ __forceinline__ float finish_row(const DeviceCall &call, const DeviceOutput &output, const float *partial,
                                                   int m, int row, int block_rank)
{
    float total = 0.0f;
    for (int rank = 0; rank < call.summed; rank++) {
        float sum = 0.0f;
        for (int s = 0; s < call.slices; s++) sum += partial[rank * call.slices + s];
        const int at = call.summed > 1 ? rank : block_rank;
        const int expert = call.ids != NULL ? call.ids[at] : 0;
        sum *= output.stack_scales[m] != NULL ? output.stack_scales[m][expert] : output.scale[m];
        if (call.experts == EXPERTS_SPREAD && call.id_weights != NULL) sum *= call.id_weights[at];
        if (output.bias[m] != NULL) sum += output.bias[m][(int64_t)expert * output.stack_rows + row];
        total += call.experts == EXPERTS_SUMMED && call.id_weights != NULL ? call.id_weights[rank] * sum : sum;
    }
    return total;
}

static __global__ void __launch_bounds__(MAX_WARPS * LANES, 1) matvec_kernel(const __grid_constant__ DeviceCall call)
{
    extern __shared__ __align__(16) uint8_t shared[];
    cuda_let_next_start();
    int index = 0;
    while (index + 1 < call.n_outputs && (int)blockIdx.x >= call.outputs[index + 1].first_block) index++;
    const DeviceOutput &output = call.outputs[index];
    const int warp = threadIdx.x / LANES, team = warp / call.team, member = warp % call.team;
    const int block = (int)blockIdx.x - output.first_block, blocks = output.n_blocks / call.spread;
    const int block_rank = block / blocks, part = block % blocks * call.n_teams + team, parts = blocks * call.n_teams;
    const int first = (int)((int64_t)output.rows * part / parts);
    const int n_rows = (int)((int64_t)output.rows * (part + 1) / parts) - first;
    const int rank = member / call.slices; /* of the team's, where ranks are summed */

    const bool early = call.ids == NULL;
    int expert = 0;
    if (!early) {
        cuda_wait_for_inputs();
        expert = call.ids[call.summed > 1 ? rank : block_rank];
    }
    const int per_row = call.gated ? 2 : 1;
    const int most = (int)(((int64_t)output.rows + parts - 1) / parts) * per_row;
    const WarpRows rows = {&output, (int64_t)expert * output.stack_rows + first, n_rows * per_row,
                           call.first_slice + member % call.slices, call.gated};
    float *partials = (float *)(shared + call.partial_at) + (size_t)team * most * call.team;
    uint8_t *ring = shared + call.ring_at + warp * call.ring_bytes;
    switch (output.type) {
#define WALK(type) case type: walk<type>(call, rows, rank, early, shared, ring, partials + member); break;
        CODEC_TYPES(WALK)
#undef WALK
    default: break;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x - team * call.team * LANES; i < n_rows; i += call.team * LANES) {
        const float *at = partials + i * per_row * call.team;
        const int row = first + i;
        float value = finish_row(call, output, at, 0, row, block_rank);
        if (call.gated) {
            const float up = finish_row(call, output, at + call.team, 1, row, block_rank);
            value = activated(call.activation, call.limit, value, up, true);
        } else if (call.activated) {
            value = activated(call.activation, call.limit, 0.0f, value, false);
        }
        if (call.sigmoid_of != NULL) value *= 1.0f / (1.0f + expf(-*call.sigmoid_of));
        float *y = output.y + (int64_t)block_rank * output.rows + row;
        *y = call.add ? *y + value : value;
    }
}

/* ---- launching ---- */

static int32_t divide_up(int64_t a, int64_t b) { return (int32_t)((a + b - 1) / b); }
static int32_t at_least(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t at_most(int32_t a, int32_t b) { return a < b ? a : b; }

static int32_t stage_bytes_of(DType type)
{
    switch (type) {
#define BYTES(type) case type: return stage_bytes(type);
        CODEC_TYPES(BYTES)
#undef BYTES
    default: return 0;
    }
}

static size_t row_bytes_of(const CudaWeight *weight)
{
    size_t bytes = 0;
    for (int plane = 0; plane < CUDA_MAX_PLANES; plane++) bytes += weight->plane_stride[plane];
    return bytes;
}

static DeviceOutput describe(const MatvecOutput *output, bool stacked)
{
    DeviceOutput out = {};
    const CudaWeight *weights[2] = {output->a, output->b != NULL ? output->b : output->a};
    for (int m = 0; m < 2; m++) {
        for (int plane = 0; plane < CUDA_MAX_PLANES; plane++) out.planes[m][plane] = weights[m]->planes[plane];
        out.scale[m] = weights[m]->scale;
        out.stack_scales[m] = stacked ? weights[m]->stack_scales : NULL;
    }
    for (int plane = 0; plane < CUDA_MAX_PLANES; plane++) out.stride[plane] = (uint32_t)output->a->plane_stride[plane];
    out.bias[0] = output->bias_a;
    out.bias[1] = output->bias_b;
    out.y = output->y;
    out.type = output->a->type;
    out.rows = output->rows;
    out.stack_rows = stacked ? output->a->stack_rows : 0;
    return out;
}

/* Gives each output a share of about `blocks` blocks by its bytes, a whole number for each rank, and no more teams than it
 * has rows. Returns the blocks given. */
static int32_t share_blocks(const MatvecCall *from, DeviceCall *call, int32_t blocks, int32_t partial_floats)
{
    double total = 0.0;
    for (int32_t i = 0; i < from->n_outputs; i++)
        total += (double)row_bytes_of(from->outputs[i].a) * from->outputs[i].rows;
    int32_t next = 0;
    const int32_t per_row = call->gated ? 2 : 1;
    for (int32_t i = 0; i < from->n_outputs; i++) {
        DeviceOutput *output = &call->outputs[i];
        const double share = (double)row_bytes_of(from->outputs[i].a) * output->rows / total * blocks / call->spread;
        int32_t n = at_least((int32_t)(share + 0.5), 1);
        n = at_most(n, divide_up(output->rows, call->n_teams));
        /* The sums of a block's rows must fit. */
        n = at_least(n, divide_up((int64_t)output->rows * per_row * call->team, partial_floats - call->n_teams * call->team * per_row));
        output->first_block = next;
        output->n_blocks = n * call->spread;
        next += output->n_blocks;
    }
    return next;
}

/* Floats that the partial sums of any block take. */
static int32_t partial_floats(const DeviceCall *call)
{
    int32_t most = 0;
    for (int32_t i = 0; i < call->n_outputs; i++) {
        const DeviceOutput *output = &call->outputs[i];
        const int32_t rows = divide_up(output->rows, output->n_blocks / call->spread * call->n_teams) * (call->gated ? 2 : 1);
        most = at_least(most, rows * call->team * call->n_teams);
    }
    return most;
}

/* One launch over the columns of slices first_slice … first_slice + n_slices - 1. */
static void launch_pass(CudaQueue *queue, const MatvecCall *from, int32_t first_slice, int32_t n_slices)
{
    const MatvecTuning *tuning = &matvec_tuning;
    DeviceCall call = {};
    call.x = from->x + (size_t)first_slice * SLICE;
    call.ids = from->ids;
    call.id_weights = from->id_weights;
    call.sigmoid_of = from->sigmoid_of;
    call.n_outputs = from->n_outputs;
    call.cols = at_most(from->outputs[0].a->cols - first_slice * SLICE, n_slices * SLICE);
    call.slices = n_slices;
    call.first_slice = first_slice;
    call.spread = from->experts == EXPERTS_SPREAD ? from->n_ids : 1;
    call.summed = from->experts == EXPERTS_SUMMED ? from->n_ids : 1;
    call.experts = from->experts;
    call.activation = from->activation;
    call.limit = from->limit;
    call.gated = from->outputs[0].b != NULL;
    call.activated = from->activated;
    call.add = from->add || first_slice > 0;
    call.team = call.slices * call.summed;
    call.n_teams = at_least(tuning->warps / call.team, 1);
    bool blocked = false;
    for (int32_t i = 0; i < from->n_outputs; i++) {
        call.outputs[i] = describe(&from->outputs[i], from->experts != EXPERTS_NONE);
        if (first_slice > 0) call.outputs[i].bias[0] = NULL;
        blocked = blocked || codec_shape(call.outputs[i].type).scaling != SCALING_NONE;
    }
    const int32_t n_blocks = share_blocks(from, &call, queue->n_sms * tuning->blocks_per_sm, PARTIAL_FLOATS);
    const int32_t n_warps = call.n_teams * call.team;
    call.partial_at = blocked ? call.cols / CODEC_GROUP * call.summed * X_GROUP_BYTES : 0;
    call.ring_at = (call.partial_at + partial_floats(&call) * 4 + 15) / 16 * 16;
    const int32_t budget = tuning->ring_bytes / tuning->blocks_per_sm / n_warps;
    for (int32_t i = 0; i < from->n_outputs; i++) {
        const int32_t bytes = stage_bytes_of(call.outputs[i].type);
        call.outputs[i].depth = at_least(2, at_most(budget / bytes, 8));
        call.ring_bytes = at_least(call.ring_bytes, call.outputs[i].depth * bytes);
    }
    cuda_launch(queue, matvec_kernel, dim3((unsigned)n_blocks), dim3((unsigned)(n_warps * LANES)),
                (size_t)call.ring_at + (size_t)call.ring_bytes * (size_t)n_warps, call);
}

int32_t matvec_max_summed(int32_t cols) { return at_least(MAX_WARPS / divide_up(cols, SLICE), 1); }

void matvec_launch(CudaQueue *queue, const MatvecCall *call)
{
    const int32_t slices = divide_up(call->outputs[0].a->cols, SLICE);
    const bool several = call->experts == EXPERTS_SUMMED || call->activated || call->sigmoid_of != NULL;
    if (slices * (call->experts == EXPERTS_SUMMED ? call->n_ids : 1) <= MAX_WARPS) {
        launch_pass(queue, call, 0, slices);
    } else if (!several) {
        for (int32_t first = 0; first < slices; first += MAX_WARPS / 2)
            launch_pass(queue, call, first, at_most(slices - first, MAX_WARPS / 2));
    } else if (queue->error == cudaSuccess) {
        queue->error = cudaErrorInvalidValue; /* 32,768 columns into an activation: no model has them */
    }
}

/* ---- the calls of matvec.h ---- */

static MatvecOutput plain_output(const CudaOutput *output)
{
    return MatvecOutput{output->weight, NULL, output->bias, NULL, output->y, output->weight->rows};
}

void cuda_matvec(CudaQueue *queue, const float *x, const CudaOutput *outputs, int32_t n_outputs)
{
    MatvecCall call = {};
    call.x = x;
    for (int32_t i = 0; i < n_outputs; i++) {
        if (outputs[i].weight->type == DT_F32)
            cuda_linear_f32(queue, x, 1, &outputs[i], 1);
        else
            call.outputs[call.n_outputs++] = plain_output(&outputs[i]);
    }
    if (call.n_outputs > 0) matvec_launch(queue, &call);
}

void matvec_gated(CudaQueue *queue, const float *x, const CudaOutput *gate, const CudaOutput *up, Activation activation,
                  float limit, float *out, float *scratch)
{
    const bool has_gate = gate != NULL;
    if (up->weight->type != DT_F32 && (!has_gate || gate->weight->type == up->weight->type)) {
        MatvecCall call = {};
        call.x = x;
        call.n_outputs = 1;
        call.outputs[0] = has_gate ? MatvecOutput{gate->weight, up->weight, gate->bias, up->bias, out, up->weight->rows}
                                   : MatvecOutput{up->weight, NULL, up->bias, NULL, out, up->weight->rows};
        call.activated = true;
        call.activation = activation;
        call.limit = limit;
        matvec_launch(queue, &call);
        return;
    }
    CudaOutput outputs[2] = {{up->weight, up->bias, out}, {}};
    if (has_gate) outputs[1] = CudaOutput{gate->weight, gate->bias, scratch};
    cuda_matvec(queue, x, outputs, has_gate ? 2 : 1);
    const CudaAct act = {out, NULL};
    cuda_activate(queue, 1, up->weight->rows, activation, limit, has_gate ? scratch : NULL, out, CUDA_FORM_F32, &act);
}

void cuda_matvec_gated(CudaQueue *queue, const float *x, const CudaOutput *gate, const CudaOutput *up, Activation activation,
                       float limit, float *out)
{
    matvec_gated(queue, x, gate, up, activation, limit, out, (float *)queue->workspace);
}
