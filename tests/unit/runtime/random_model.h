/*
 * random_model.h - a model of any one data type, made in memory: wide enough for every block format, with an attention layer,
 * a short convolution, a dense and an expert feed-forward.
 */
#ifndef IMP_TESTS_RANDOM_MODEL_H
#define IMP_TESTS_RANDOM_MODEL_H

#include "cmocka_all.h"

#include "core/arena.h"
#include "model/model.h"

#include <math.h>

enum { RANDOM_CONTEXT = 70 };
enum { N_EMBD = 256, N_HEADS = 4, N_KV_HEADS = 2, HEAD_DIM = 64, N_FF = 256, N_EXPERTS = 3, N_VOCAB = 48 };

static inline uint32_t random_bits(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline float random_float(uint32_t *state) { return (float)(random_bits(state) >> 8) / 8388608.0f - 1.0f; }

/* Fills one block with random bits until its values are finite and of a size that keeps activations in range. */
static inline void random_block(const DTypeInfo *type, uint8_t *block, float limit, uint32_t *state)
{
    float values[256];
    bool usable = false;
    while (!usable) {
        for (size_t i = 0; i < type->block_bytes; i++) block[i] = (uint8_t)(random_bits(state) >> 11);
        type->decode(block, values, type->block_elems);
        float largest = 0;
        for (size_t i = 0; i < type->block_elems; i++) {
            largest = isfinite(values[i]) ? fmaxf(largest, fabsf(values[i])) : INFINITY;
        }
        usable = largest <= limit && (type->block_elems == 1 || largest >= limit / 64);
    }
}

static inline Weight random_weight(Arena *arena, DType type, int64_t rows, int64_t cols, uint32_t *state)
{
    const DTypeInfo *info = dtype_info(type);
    Weight weight = {.name = "random", .type = type, .rows = rows, .cols = cols, .scale = 1};
    if (type == DT_NVFP4) weight.scale = 1.0f / 4096; /* its blocks hold values up to 2688 */
    assert_true(dtype_row_bytes(type, (uint64_t)cols, &weight.row_bytes));
    uint8_t *data = arena_alloc(arena, (size_t)rows, weight.row_bytes);
    assert_non_null(data);
    weight.data = data;
    if (info->encode) {
        float row[3 * N_EMBD];
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < cols; j++) row[j] = random_float(state) / 8;
            info->encode(row, data + (size_t)i * weight.row_bytes, (size_t)cols);
        }
    } else {
        for (size_t offset = 0; offset < (size_t)rows * weight.row_bytes; offset += info->block_bytes) {
            random_block(info, data + offset, type == DT_NVFP4 ? 2688.0f : 0.25f, state);
        }
    }
    return weight;
}

static inline Vector random_vector(Arena *arena, int32_t size, uint32_t *state)
{
    float *data = arena_alloc(arena, (size_t)size, sizeof(float));
    assert_non_null(data);
    for (int32_t i = 0; i < size; i++) data[i] = 1 + random_float(state) / 4;
    return (Vector){.data = data, .size = size};
}

static inline Norm random_norm(Arena *arena, uint32_t *state)
{
    return (Norm){.kind = NORM_RMS, .eps = 1e-5f, .weight = random_vector(arena, N_EMBD, state)};
}

static inline Attention random_attention(Arena *arena, DType type, uint32_t *state)
{
    float *inv_freq = arena_alloc(arena, HEAD_DIM / 2, sizeof(float));
    assert_non_null(inv_freq);
    for (int32_t i = 0; i < HEAD_DIM / 2; i++) inv_freq[i] = powf(10000.0f, -2.0f * (float)i / HEAD_DIM);
    return (Attention){
        .n_heads = N_HEADS, .n_kv_heads = N_KV_HEADS, .head_dim = HEAD_DIM, .head_dim_v = HEAD_DIM,
        .wq = random_weight(arena, type, N_HEADS * HEAD_DIM, N_EMBD, state),
        .wk = random_weight(arena, type, N_KV_HEADS * HEAD_DIM, N_EMBD, state),
        .wv = random_weight(arena, type, N_KV_HEADS * HEAD_DIM, N_EMBD, state),
        .wo = random_weight(arena, type, N_EMBD, N_HEADS * HEAD_DIM, state),
        .bq = random_vector(arena, N_HEADS * HEAD_DIM, state),
        .qk_norm = QK_NORM_HEAD, .qk_norm_eps = 1e-5f,
        .q_norm = random_vector(arena, HEAD_DIM, state), .k_norm = random_vector(arena, HEAD_DIM, state),
        .rope = {.kind = ROPE_HALF, .n_dims = HEAD_DIM, .inv_freq = inv_freq, .magnitude = 1},
        .scale = 0.125f, .sinks = random_vector(arena, N_HEADS, state),
    };
}

static inline Experts random_experts(Arena *arena, DType type, uint32_t *state)
{
    Experts experts = {.n_experts = N_EXPERTS, .n_used = 2, .router_kind = ROUTER_SOFTMAX,
                       .router = random_weight(arena, DT_F32, N_EXPERTS, N_EMBD, state), .renormalize = true, .scale = 1,
                       .activation = ACT_SILU, .n_ff = N_FF};
    experts.gate = arena_alloc(arena, N_EXPERTS, sizeof(Weight));
    experts.up = arena_alloc(arena, N_EXPERTS, sizeof(Weight));
    experts.down = arena_alloc(arena, N_EXPERTS, sizeof(Weight));
    assert_true(experts.gate && experts.up && experts.down);
    for (int32_t i = 0; i < N_EXPERTS; i++) {
        experts.gate[i] = random_weight(arena, type, N_FF, N_EMBD, state);
        experts.up[i] = random_weight(arena, type, N_FF, N_EMBD, state);
        experts.down[i] = random_weight(arena, type, N_EMBD, N_FF, state);
    }
    return experts;
}

/* Two layers: attention and experts; short convolution and a dense feed-forward. Everything lies in `arena`. */
static inline Model *random_model(Arena *arena, DType type)
{
    uint32_t state = 2463534242u + (uint32_t)type;
    Model *model = arena_alloc(arena, 1, sizeof(Model));
    Layer *layers = arena_alloc(arena, 2, sizeof(Layer));
    assert_true(model && layers);
    layers[0] = (Layer){
        .mixer_norm = random_norm(arena, &state), .mixer = MIXER_ATTENTION,
        .attention = random_attention(arena, type, &state),
        .ffn_norm = random_norm(arena, &state), .ffn = FFN_EXPERTS, .experts = random_experts(arena, type, &state),
        .residual_multiplier = 1, .output_scale = 1,
    };
    layers[1] = (Layer){
        .mixer_norm = random_norm(arena, &state), .mixer = MIXER_SHORT_CONV,
        .short_conv = {.width = 3, .channels = N_EMBD,
                       .in_proj = random_weight(arena, type, 3 * (int64_t)N_EMBD, N_EMBD, &state),
                       .taps = random_vector(arena, 3 * N_EMBD, &state),
                       .out_proj = random_weight(arena, type, N_EMBD, N_EMBD, &state)},
        .ffn_norm = random_norm(arena, &state), .ffn = FFN_DENSE,
        .dense = {.activation = ACT_SILU, .n_ff = N_FF,
                  .gate = random_weight(arena, type, N_FF, N_EMBD, &state),
                  .up = random_weight(arena, type, N_FF, N_EMBD, &state),
                  .down = random_weight(arena, type, N_EMBD, N_FF, &state)},
        .residual_multiplier = 1, .output_scale = 1,
    };
    *model = (Model){
        .arch = "random", .n_layers = 2, .n_embd = N_EMBD, .n_vocab = N_VOCAB, .n_ctx_train = RANDOM_CONTEXT,
        .embedding = random_weight(arena, type, N_VOCAB, N_EMBD, &state), .embedding_multiplier = 1,
        .layers = layers, .final_norm = random_norm(arena, &state),
        .head = random_weight(arena, type, N_VOCAB, N_EMBD, &state), .logit_multiplier = 1,
        .n_page_groups = 1, .page_groups = {{.window = 0, .n_layers = 1}}, .has_state = true,
    };
    return model;
}

#endif
