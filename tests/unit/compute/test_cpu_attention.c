/*
 * test_cpu_attention.c - attention over pages against a plain reference in double precision, with every option of the
 * layer table; and the same bits for any chunks, neighbours, threads and level.
 */
#include "cmocka_all.h"
#include "compute/random_data.h"

#include "compute/cpu/cpu_backend.h"

#include <math.h>
#include <string.h>

enum { TOKENS = 75, MAX_WIDTH = 512, N_SEQUENCES = 3, PAGES = 32 };

/* What one sequence's rows are projected to, before norms and turns. */
typedef struct Inputs {
    float q[TOKENS][MAX_WIDTH], k[TOKENS][MAX_WIDTH], v[TOKENS][MAX_WIDTH];
} Inputs;

static float inv_freq[32], inv_freq_long[32], norm_q[MAX_WIDTH], norm_k[MAX_WIDTH], sinks[16];
static Inputs inputs[N_SEQUENCES];

static int fill_inputs(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int i = 0; i < 32; i++) {
        inv_freq[i] = powf(10000.0f, -(float)i / 16.0f);
        inv_freq_long[i] = inv_freq[i] * 0.3f;
    }
    random_fill(&seed, norm_q, MAX_WIDTH, 1.0f);
    random_fill(&seed, norm_k, MAX_WIDTH, 1.0f);
    random_fill(&seed, sinks, 16, 2.0f);
    random_fill(&seed, (float *)inputs, sizeof inputs / (sizeof(float)), 1.5f);
    return 0;
}

/* ---- the reference ---- */

static void ref_norm(const Attention *spec, double *x, int heads, const float *weight)
{
    const int dim = spec->head_dim, n = spec->qk_norm == QK_NORM_ROW ? heads * dim : dim;
    for (int start = 0; start < heads * dim; start += n) {
        double squares = 0.0;
        for (int i = 0; i < n; i++) squares += x[start + i] * x[start + i];
        const double m = 1.0 / sqrt(squares / n + (double)spec->qk_norm_eps);
        for (int i = 0; i < n; i++)
            x[start + i] *= spec->qk_norm == QK_NORM_HEAD_UNWEIGHTED ? m : m * (double)weight[i];
    }
}

static void ref_rope(const Rope *rope, double *head, int position)
{
    const float *freq = rope->inv_freq_long != NULL && position >= rope->original_context ? rope->inv_freq_long
                                                                                         : rope->inv_freq;
    for (int i = 0; i < rope->n_dims / 2 && rope->kind != ROPE_NONE; i++) {
        const int a = rope->kind == ROPE_HALF ? i : 2 * i, b = rope->kind == ROPE_HALF ? i + rope->n_dims / 2 : a + 1;
        const double angle = (double)((float)position * freq[i]), c = cos(angle), s = sin(angle), x = head[a];
        head[a] = (x * c - head[b] * s) * (double)rope->magnitude;
        head[b] = (head[b] * c + x * s) * (double)rope->magnitude;
    }
}

static void ref_treat(const Attention *spec, double *x, int heads, const float *weight, int position)
{
    if (spec->qk_norm != QK_NORM_NONE && !spec->qk_norm_after_rope) ref_norm(spec, x, heads, weight);
    for (int h = 0; h < heads; h++) ref_rope(&spec->rope, x + h * spec->head_dim, position);
    if (spec->qk_norm != QK_NORM_NONE && spec->qk_norm_after_rope) ref_norm(spec, x, heads, weight);
}

static bool ref_visible(const Attention *spec, int i, int j)
{
    if (j > i && !spec->bidirectional) return false;
    if (spec->window > 0 && (i - j >= spec->window || j - i >= spec->window)) return false;
    return spec->chunk == 0 || i / spec->chunk == j / spec->chunk;
}

static double round_kv(double x, DType type)
{
    const DTypeInfo *info = dtype_info(type);
    float in = (float)x, out;
    uint8_t bytes[4];
    if (type == DT_F32) return (double)in;
    if (type == DT_I8) return nearbyint(x);
    if (type == DT_F8_E4M3) {
        double best = 0.0;
        for (int code = 0; code < 256; code++) {
            bytes[0] = (uint8_t)code;
            info->decode(bytes, &out, 1);
            if (fabs((double)out - x) < fabs(best - x)) best = (double)out;
        }
        return best;
    }
    info->encode(&in, bytes, 1);
    info->decode(bytes, &out, 1);
    return (double)out;
}

/* As stored: 8 bits beside a scale for each head of a token. */
static void round_head(double *x, int n, DType type)
{
    const double top = type == DT_I8 ? 127.0 : type == DT_F8_E4M3 ? 448.0 : 0.0;
    double most = 0.0;
    for (int i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    const double scale = top > 0.0 ? most / top : 1.0;
    for (int i = 0; i < n; i++) x[i] = round_kv(x[i] / scale, type) * scale;
}

/* out[TOKENS][n_heads * head_dim_v] */
static void reference(const Attention *spec, const Inputs *in, DType type, double *out)
{
    static double q[TOKENS][MAX_WIDTH], k[TOKENS][MAX_WIDTH], v[TOKENS][MAX_WIDTH];
    const int dim = spec->head_dim, dim_v = spec->head_dim_v;
    const int stride = spec->gate == OUTPUT_GATE_NONE ? dim : 2 * dim;
    for (int t = 0; t < TOKENS; t++) {
        for (int h = 0; h < spec->n_heads; h++)
            for (int d = 0; d < dim; d++) q[t][h * dim + d] = (double)in->q[t][h * stride + d];
        ref_treat(spec, q[t], spec->n_heads, norm_q, t);
        for (int d = 0; d < spec->n_heads * dim && spec->temperature_scale != 0.0f; d++)
            q[t][d] *= 1.0 + (double)spec->temperature_scale * log(1.0 + floor((t + 1) / spec->temperature_floor));
        for (int d = 0; d < spec->n_kv_heads * dim; d++) k[t][d] = (double)in->k[t][d];
        ref_treat(spec, k[t], spec->n_kv_heads, norm_k, t);
        const float *values = weight_present(&spec->wv) ? in->v[t] : in->k[t];
        for (int h = 0; h < spec->n_kv_heads; h++) {
            double squares = 0.0;
            for (int d = 0; d < dim_v; d++) squares += pow((double)values[h * dim_v + d], 2);
            const double m = spec->v_norm ? 1.0 / sqrt(squares / dim_v + (double)spec->qk_norm_eps) : 1.0;
            for (int d = 0; d < dim_v; d++) v[t][h * dim_v + d] = (double)values[h * dim_v + d] * m;
            round_head(&v[t][h * dim_v], dim_v, type);
            round_head(&k[t][h * dim], dim, type);
        }
    }
    for (int t = 0; t < TOKENS; t++)
        for (int h = 0; h < spec->n_heads; h++) {
            const int kv = h / (spec->n_heads / spec->n_kv_heads);
            double sum = vector_present(&spec->sinks) ? exp((double)sinks[h]) : 0.0, total[MAX_WIDTH] = {0};
            for (int j = 0; j < TOKENS; j++) {
                if (!ref_visible(spec, t, j)) continue;
                double s = 0.0;
                for (int d = 0; d < dim; d++) s += q[t][h * dim + d] * k[j][kv * dim + d];
                s *= (double)spec->scale;
                if (spec->softcap != 0.0f) s = (double)spec->softcap * tanh(s / (double)spec->softcap);
                sum += exp(s);
                for (int d = 0; d < dim_v; d++) total[d] += exp(s) * v[j][kv * dim_v + d];
            }
            for (int d = 0; d < dim_v; d++) {
                double y = total[d] / sum;
                if (spec->gate == OUTPUT_GATE_SIGMOID)
                    y /= 1.0 + exp(-(double)in->q[t][h * stride + dim + d]);
                out[(t * spec->n_heads + h) * dim_v + d] = y;
            }
        }
}

/* ---- imp ---- */

typedef struct Setup {
    CpuIsa isa;
    int32_t n_threads;
    int32_t chunk; /* rows of each sequence in one step */
    int32_t n_sequences;
    DType type;
} Setup;

static Weight present(int64_t rows)
{
    static const uint8_t nothing[1];
    return (Weight){.name = "w", .type = DT_F32, .rows = rows, .cols = 1, .data = nothing, .scale = 1.0f};
}

/* Runs the first n_sequences of `inputs` together; out: those of sequence 0. Layer 1 reads layer 0's keys and values. */
static void run(Attention spec, const Setup *setup, float *out)
{
    const CpuOptions options = {.n_threads = setup->n_threads, .isa = setup->isa};
    Backend *backend;
    assert_int_equal(cpu_backend_create(&options, &backend), IMP_OK);
    Layer layers[2] = {{.mixer = MIXER_ATTENTION, .attention = spec}, {.mixer = MIXER_ATTENTION, .attention = spec}};
    Model model = {.n_layers = 2, .n_embd = 64, .n_vocab = 1, .layers = layers, .n_page_groups = 1};
    const ComputeSizes sizes = {.max_rows = TOKENS * N_SEQUENCES, .max_sequences = N_SEQUENCES, .n_pages = {PAGES},
                                .kv_type = setup->type};
    Compute *compute;
    assert_int_equal(backend->ops->create_compute(backend, &model, &sizes, &compute), IMP_OK);
    const int32_t stride = spec.gate == OUTPUT_GATE_NONE ? spec.head_dim : 2 * spec.head_dim;
    Act q, k, v, y;
    assert_int_equal(compute->ops->act_create(compute, spec.n_heads * stride, &q), IMP_OK);
    assert_int_equal(compute->ops->act_create(compute, spec.n_kv_heads * spec.head_dim, &k), IMP_OK);
    assert_int_equal(compute->ops->act_create(compute, spec.n_kv_heads * spec.head_dim_v, &v), IMP_OK);
    assert_int_equal(compute->ops->act_create(compute, spec.n_heads * spec.head_dim_v, &y), IMP_OK);
    /* Interleaved, descending pages. */
    int32_t pages[N_SEQUENCES][(TOKENS + 15) / 16];
    for (int32_t p = 0; p < (TOKENS + 15) / 16; p++)
        for (int32_t s = 0; s < N_SEQUENCES; s++) pages[s][p] = PAGES - 1 - p * N_SEQUENCES - s;
    for (int32_t past = 0; past < TOKENS; past += setup->chunk) {
        const int32_t n = past + setup->chunk < TOKENS ? setup->chunk : TOKENS - past;
        int32_t positions[TOKENS * N_SEQUENCES], tokens[TOKENS * N_SEQUENCES] = {0};
        BatchSequence sequences[N_SEQUENCES];
        for (int32_t s = 0; s < setup->n_sequences; s++) {
            sequences[s] = (BatchSequence){.first_row = s * n, .n_rows = n, .n_past = past, .pages = {pages[s]}};
            for (int32_t r = 0; r < n; r++) {
                positions[s * n + r] = past + r;
                memcpy((float *)q.data + (s * n + r) * q.width, inputs[s].q[past + r], (size_t)q.width * 4);
                memcpy((float *)k.data + (s * n + r) * k.width, inputs[s].k[past + r], (size_t)k.width * 4);
                memcpy((float *)v.data + (s * n + r) * v.width, inputs[s].v[past + r], (size_t)v.width * 4);
            }
        }
        const Batch batch = {.n_rows = n * setup->n_sequences, .tokens = tokens, .positions = positions,
                             .n_sequences = setup->n_sequences, .sequences = sequences};
        compute->ops->begin(compute, &batch);
        compute->ops->attention_store(compute, 0, &spec, q, k, weight_present(&spec.wv) ? v : (Act){0});
        /* As layer 1 does it: only the queries are treated anew. */
        for (int32_t r = 0; r < n * setup->n_sequences; r++)
            memcpy((float *)q.data + r * q.width, inputs[r / n].q[past + r % n], (size_t)q.width * 4);
        compute->ops->attention_store(compute, 1, &spec, q, (Act){0}, (Act){0});
        compute->ops->attention(compute, &spec, q, y);
        assert_int_equal(compute->ops->finish(compute), IMP_OK);
        assert_int_equal(compute->ops->act_read(compute, y, 0, n, out + past * y.width), IMP_OK);
    }
    compute->ops->destroy(compute);
    backend->ops->destroy(backend);
}

/* The options, alone and in the company that real models give them. */
static Attention option(int index)
{
    Attention spec = {
        .n_heads = 4, .n_kv_heads = 2, .head_dim = 32, .head_dim_v = 32, .scale = 0.2f, .qk_norm_eps = 1e-6f,
        .q_norm = {.data = norm_q, .size = MAX_WIDTH}, .k_norm = {.data = norm_k, .size = MAX_WIDTH},
        .rope = {.kind = ROPE_HALF, .n_dims = 32, .inv_freq = inv_freq, .magnitude = 1.0f},
    };
    spec.wv = present(64);
    switch (index) {
    case 0: break;
    case 1: spec.rope.kind = ROPE_PAIRS; spec.rope.n_dims = 20; spec.rope.magnitude = 1.2f; break;
    case 2: spec.rope.kind = ROPE_NONE; spec.n_kv_heads = 4; break;
    case 3: spec.qk_norm = QK_NORM_HEAD; spec.window = 20; break;
    case 4: spec.qk_norm = QK_NORM_ROW; spec.n_kv_heads = 1; break;
    case 5: spec.qk_norm = QK_NORM_HEAD_UNWEIGHTED; spec.qk_norm_after_rope = true; spec.chunk = 24; break;
    case 6: spec.softcap = 3.0f; spec.window = 1; break;
    case 7: spec.sinks = (Vector){.data = sinks, .size = 16}; spec.window = 17; spec.scale = 1.0f; break;
    case 8: spec.gate = OUTPUT_GATE_SIGMOID; spec.qk_norm = QK_NORM_HEAD; spec.rope.n_dims = 8; break;
    case 9: spec.temperature_scale = 0.7f; spec.temperature_floor = 10; spec.rope.kind = ROPE_NONE; break;
    case 10: spec.wv = (Weight){0}; spec.v_norm = true; spec.qk_norm = QK_NORM_HEAD; break;
    case 11: spec.head_dim = 22; spec.head_dim_v = 10; spec.rope.n_dims = 22; break;
    case 12: spec.rope.inv_freq_long = inv_freq_long; spec.rope.original_context = 40; break;
    case 13: spec.bidirectional = true; break;
    case 14: spec.bidirectional = true; spec.window = 9; break;
    case 15: spec.bidirectional = true; spec.chunk = 19; break;
    default: spec.head_dim = 128; spec.head_dim_v = 128; spec.n_heads = 3; spec.n_kv_heads = 3; spec.scale = 0.09f;
    }
    return spec;
}

enum { N_OPTIONS = 17 };

/* What a key makes that float32 rounds the other way than double before it is stored. */
static const struct {
    DType type;
    double tolerance;
} kv_types[] = {{DT_F32, 3e-6}, {DT_F16, 1e-3}, {DT_BF16, 8e-3}, {DT_I8, 2e-2}, {DT_F8_E4M3, 1e-1}};
enum { N_TYPES = sizeof kv_types / sizeof *kv_types };

static void every_option_matches_the_reference(void **state)
{
    (void)state;
    static double expected[TOKENS * MAX_WIDTH];
    static float got[TOKENS * MAX_WIDTH];
    for (int index = 0; index < N_OPTIONS; index++) {
        const Attention spec = option(index);
        for (size_t t = 0; t < N_TYPES; t++) {
            const DType type = kv_types[t].type;
            const Setup setup = {CPU_ISA_AUTO, 2, spec.bidirectional ? TOKENS : 31, 1, type};
            reference(&spec, &inputs[0], type, expected);
            run(spec, &setup, got);
            for (int i = 0; i < TOKENS * spec.n_heads * spec.head_dim_v; i++)
                if (!(fabs((double)got[i] - expected[i]) <= kv_types[t].tolerance))
                    fail_msg("option %d, %s, row %d: %g, not %g", index, dtype_info(type)->name,
                             i / (spec.n_heads * spec.head_dim_v), (double)got[i], expected[i]);
        }
    }
}

static void nothing_else_changes_a_bit(void **state)
{
    (void)state;
    static float expected[TOKENS * MAX_WIDTH], got[TOKENS * MAX_WIDTH];
    for (int index = 0; index < N_OPTIONS; index++) {
        const Attention spec = option(index);
        const size_t bytes = (size_t)(TOKENS * spec.n_heads * spec.head_dim_v) * sizeof(float);
        const DType type = kv_types[index % N_TYPES].type;
        const Setup first = {CPU_ISA_PORTABLE, 1, TOKENS, 1, type};
        run(spec, &first, expected);
        const Setup others[] = {
            {CPU_ISA_AUTO, 2, 1, 1, type}, {CPU_ISA_AUTO, 2, 7, 3, type}, {CPU_ISA_AUTO, 1, 64, 2, type},
            {CPU_ISA_AVX2, 3, 13, 3, type},
        };
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            Setup setup = others[i];
            const CpuOptions options = {.n_threads = 1, .isa = setup.isa};
            Backend *backend;
            if (cpu_backend_create(&options, &backend) != IMP_OK) continue; /* a processor without that level */
            backend->ops->destroy(backend);
            if (spec.bidirectional) setup.chunk = TOKENS; /* it sees the whole sequence at once or not at all */
            run(spec, &setup, got);
            if (memcmp(expected, got, bytes) != 0) fail_msg("option %d, setup %zu", index, i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_matches_the_reference),
        cmocka_unit_test(nothing_else_changes_a_bit),
    };
    return cmocka_run_group_tests(tests, fill_inputs, NULL);
}
