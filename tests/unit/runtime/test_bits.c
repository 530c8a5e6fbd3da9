/*
 * test_bits.c - the same tokens give the same bits: alone and beside seven other sequences, in chunks of any size, on one
 * thread and on two, for every architecture, every data type and every level of instructions that this processor has.
 *
 * The architectures are the goldens. The data types are tried on a model made here, wide enough for every block format,
 * with an attention layer, a short convolution, a dense and an expert feed-forward.
 */
#include "loaded_model.h"

#include "core/arena.h"

#include <math.h>

enum { N_NEIGHBOURS = 7, MAX_CHUNK = 512, MAX_TOKENS = 70 };

/* One way of computing the logits of a sequence. */
typedef struct Manner {
    int32_t chunk;
    int32_t n_threads;
    bool neighbours;
    CpuIsa isa;
    DType kv_type;
} Manner;

typedef struct Neighbours {
    int32_t sequences[N_NEIGHBOURS];
    int32_t tokens[16];
} Neighbours;

/* Some decode, some read a prompt; the one whose bits are compared runs in their middle. */
static const int32_t neighbour_rows[N_NEIGHBOURS] = {1, 3, 1, 8, 2, 1, 5};
enum { NEIGHBOUR_ROWS = 21 };

static void step_beside(LoadedModel *loaded, Neighbours *neighbours, const StepInput *own, float *own_logits,
                        float *scratch)
{
    StepInput inputs[N_NEIGHBOURS + 1];
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    KvCache *kv = runner_kv(loaded->runner);
    size_t own_row = 0;
    for (int32_t i = 0, n = 0; i < N_NEIGHBOURS; i++) {
        if (kv_sequence_length(kv, neighbours->sequences[i]) + neighbour_rows[i] > MAX_TOKENS) {
            kv_sequence_close(kv, neighbours->sequences[i]);
            neighbours->sequences[i] = loaded_sequence(loaded);
        }
        inputs[n++] = (StepInput){neighbours->sequences[i], neighbours->tokens + i, neighbour_rows[i], 1};
        if (i == N_NEIGHBOURS / 2) {
            own_row = (size_t)n;
            inputs[n++] = *own;
        }
    }
    assert_ok(runner_step(loaded->runner, inputs, N_NEIGHBOURS + 1, scratch));
    memcpy(own_logits, scratch + own_row * n_vocab, (size_t)own->n_logits * n_vocab * sizeof(float));
}

/* All logits of `tokens`: [n_tokens][n_vocab], from malloc. `loaded` has a model and gets a runner for the while. */
static float *run(LoadedModel *loaded, const Manner *manner, const int32_t *tokens, int32_t n_tokens)
{
    const RunnerOptions options = {.max_tokens = MAX_TOKENS, .max_sequences = N_NEIGHBOURS + 1,
                                   .chunk = MAX_CHUNK + NEIGHBOUR_ROWS, .max_logits = MAX_CHUNK + NEIGHBOUR_ROWS,
                                   .kv_type = manner->kv_type};
    loaded_runner(loaded, manner->isa, manner->n_threads, &options);
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    float *logits = malloc((size_t)n_tokens * n_vocab * sizeof(float));
    float *scratch = malloc((size_t)(n_tokens + N_NEIGHBOURS) * n_vocab * sizeof(float));
    Neighbours neighbours;
    for (int32_t i = 0; i < 16; i++) neighbours.tokens[i] = 5 + 4 * i % 23;
    for (int32_t i = 0; manner->neighbours && i < N_NEIGHBOURS; i++) neighbours.sequences[i] = loaded_sequence(loaded);

    const int32_t sequence = loaded_sequence(loaded);
    for (int32_t done = 0; done < n_tokens; done += manner->chunk) {
        const int32_t rows = n_tokens - done < manner->chunk ? n_tokens - done : manner->chunk;
        const StepInput own = {sequence, tokens + done, rows, rows};
        float *out = logits + (size_t)done * n_vocab;
        if (manner->neighbours) {
            step_beside(loaded, &neighbours, &own, out, scratch);
        } else {
            assert_ok(runner_step(loaded->runner, &own, 1, out));
        }
    }
    free(scratch);
    loaded_close_runner(loaded);
    return logits;
}

/* Every manner must give the bits of the first. */
static void check_alike(LoadedModel *loaded, const char *name, const Manner *manners, size_t n_manners, int32_t n_tokens)
{
    int32_t tokens[MAX_TOKENS];
    for (int32_t i = 0; i < n_tokens; i++) tokens[i] = (7 + 31 * i + i * i) % loaded->model->n_vocab;
    const size_t n_vocab = (size_t)loaded->model->n_vocab;
    float *first = run(loaded, &manners[0], tokens, n_tokens);
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < (size_t)n_tokens * n_vocab; i++) {
        assert_true(isfinite(first[i]));
        low = fminf(low, first[i]);
        high = fmaxf(high, first[i]);
    }
    assert_true(high > low); /* or equality would say nothing */
    for (size_t i = 1; i < n_manners; i++) {
        float *logits = run(loaded, &manners[i], tokens, n_tokens);
        for (size_t j = 0; j < (size_t)n_tokens * n_vocab; j++) {
            if (memcmp(&logits[j], &first[j], sizeof(float)) != 0) {
                fail_msg("%s, instruction level %d: token %zu has other bits in chunks of %d on %d threads%s", name,
                         (int)manners[i].isa, j / n_vocab, (int)manners[i].chunk, (int)manners[i].n_threads,
                         manners[i].neighbours ? " beside others" : "");
            }
        }
        free(logits);
    }
    free(first);
}

static void test_every_architecture(void **state)
{
    (void)state;
    static const Manner manners[] = {
        {512, 1, false, CPU_ISA_AUTO, DT_F32}, {64, 1, false, CPU_ISA_AUTO, DT_F32}, {7, 1, false, CPU_ISA_AUTO, DT_F32},
        {1, 2, false, CPU_ISA_AUTO, DT_F32},   {512, 2, true, CPU_ISA_AUTO, DT_F32}, {7, 2, true, CPU_ISA_AUTO, DT_F32},
        {1, 1, true, CPU_ISA_AUTO, DT_F32},
    };
    char *names[MAX_GOLDENS];
    const size_t n_names = golden_names(GOLDEN_DIR, names);
    assert_true(n_names > 0);
    for (size_t i = 0; i < n_names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, names[i]);
        LoadedModel loaded = {0};
        assert_ok(model_file_open(path, MODEL_FORMAT_AUTO, &loaded.file));
        assert_ok(model_load(loaded.file, &loaded.model));
        check_alike(&loaded, names[i], manners, sizeof manners / sizeof *manners, MAX_TOKENS);
        model_free(loaded.model);
        model_file_close(loaded.file);
        free(names[i]);
    }
}

/* ---- a model of any data type ---- */

enum { N_EMBD = 256, N_HEADS = 4, N_KV_HEADS = 2, HEAD_DIM = 64, N_FF = 256, N_EXPERTS = 3, N_VOCAB = 48 };

static uint32_t random_bits(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static float random_float(uint32_t *state) { return (float)(random_bits(state) >> 8) / 8388608.0f - 1.0f; }

/* Fills one block with random bits until its values are finite and of a size that keeps activations in range. */
static void random_block(const DTypeInfo *type, uint8_t *block, float limit, uint32_t *state)
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

static Weight random_weight(Arena *arena, DType type, int64_t rows, int64_t cols, uint32_t *state)
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

static Vector random_vector(Arena *arena, int32_t size, uint32_t *state)
{
    float *data = arena_alloc(arena, (size_t)size, sizeof(float));
    assert_non_null(data);
    for (int32_t i = 0; i < size; i++) data[i] = 1 + random_float(state) / 4;
    return (Vector){.data = data, .size = size};
}

static Norm random_norm(Arena *arena, uint32_t *state)
{
    return (Norm){.kind = NORM_RMS, .eps = 1e-5f, .weight = random_vector(arena, N_EMBD, state)};
}

static Attention random_attention(Arena *arena, DType type, uint32_t *state)
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

static Experts random_experts(Arena *arena, DType type, uint32_t *state)
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
static Model *random_model(Arena *arena, DType type)
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
        .arch = "random", .n_layers = 2, .n_embd = N_EMBD, .n_vocab = N_VOCAB, .n_ctx_train = MAX_TOKENS,
        .embedding = random_weight(arena, type, N_VOCAB, N_EMBD, &state), .embedding_multiplier = 1,
        .layers = layers, .final_norm = random_norm(arena, &state),
        .head = random_weight(arena, type, N_VOCAB, N_EMBD, &state), .logit_multiplier = 1,
        .n_page_groups = 1, .page_groups = {{.window = 0, .n_layers = 1}}, .has_state = true,
    };
    return model;
}

static void check_type(DType type, CpuIsa isa)
{
    const Manner manners[] = {
        {512, 1, false, isa, DT_F16}, {5, 1, false, isa, DT_F16}, {1, 2, false, isa, DT_F16}, {3, 2, true, isa, DT_F16},
    };
    Arena arena = {0};
    LoadedModel loaded = {.model = random_model(&arena, type)};
    check_alike(&loaded, dtype_info(type)->name, manners, sizeof manners / sizeof *manners, 8);
    arena_free(&arena);
}

static void test_every_type_at_every_level(void **state)
{
    (void)state;
    for (CpuIsa isa = CPU_ISA_PORTABLE; isa <= CPU_ISA_AMX; isa++) {
        Backend *backend;
        if (cpu_backend_create(&(CpuOptions){.n_threads = 1, .isa = isa}, &backend) != IMP_OK) continue;
        backend->ops->destroy(backend);
        for (DType type = 0; type < DT_COUNT; type++) {
            if (dtype_info(type)->decode) check_type(type, isa);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_architecture),
        cmocka_unit_test(test_every_type_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
