/*
 * test_cpu_ops.c - the operations around attention against plain references in double precision, and the same bits for
 * any batch, threads and level.
 */
#include "cmocka_all.h"
#include "compute/random_data.h"

#include "compute/cpu/cpu_compute.h"

#include <math.h>
#include <string.h>

enum { MAX_ROWS = 40, EMBD = 100, FF = 52, N_EXPERTS = 12 };

/* A model that gives a compute its sizes; the operations bring their own specs. */
typedef struct Rig {
    Backend *backend;
    Layer layer;
    Model model;
    Compute *compute;
    int32_t tokens[MAX_ROWS], positions[MAX_ROWS], logit_rows[MAX_ROWS];
    BatchSequence sequences[MAX_ROWS];
    Batch batch;
} Rig;

static void rig_open(Rig *rig, CpuIsa isa, int32_t n_threads, const Layer *layer, const Weight *head)
{
    const CpuOptions options = {.n_threads = n_threads, .isa = isa, .repack = CPU_REPACK_ALWAYS};
    *rig = (Rig){.layer = *layer};
    assert_int_equal(cpu_backend_create(&options, &rig->backend), IMP_OK);
    rig->model = (Model){.n_layers = 1, .n_embd = EMBD, .n_vocab = head != NULL ? (int32_t)head->rows : 1,
                         .layers = &rig->layer, .n_page_groups = 1, .logit_multiplier = 1.0f};
    if (head != NULL) rig->model.head = *head;
    const ComputeSizes sizes = {.max_rows = MAX_ROWS, .max_sequences = MAX_ROWS, .max_logits = MAX_ROWS,
                                .n_pages = {4}, .n_state_slots = 4, .kv_type = DT_F16};
    assert_int_equal(rig->backend->ops->create_compute(rig->backend, &rig->model, &sizes, &rig->compute), IMP_OK);
}

static void rig_close(Rig *rig)
{
    rig->compute->ops->destroy(rig->compute);
    rig->backend->ops->destroy(rig->backend);
}

/* One sequence of n rows. */
static void rig_begin(Rig *rig, int32_t n_rows, int32_t slot)
{
    for (int32_t i = 0; i < n_rows; i++) rig->positions[i] = i;
    rig->sequences[0] = (BatchSequence){.n_rows = n_rows, .state_slot = slot};
    rig->batch = (Batch){.n_rows = n_rows, .tokens = rig->tokens, .positions = rig->positions, .n_sequences = 1,
                         .sequences = rig->sequences, .logit_rows = rig->logit_rows};
    rig->compute->ops->begin(rig->compute, &rig->batch);
}

static Act rig_act(Rig *rig, int32_t width, const float *rows, int32_t n)
{
    Act act;
    assert_int_equal(rig->compute->ops->act_create(rig->compute, width, &act), IMP_OK);
    if (rows != NULL) memcpy(act.data, rows, (size_t)n * (size_t)width * sizeof *rows);
    return act;
}

static void assert_near(const float *got, const double *expected, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance))
            fail_msg("%s: element %zu is %g, not %g", what, i, (double)got[i], expected[i]);
}

/* ---- weights ---- */

/* A random matrix of a type, and what it decodes to. */
typedef struct Matrix {
    Weight weight;
    uint8_t *bytes;
    float *values; /* [rows][cols], times the scale */
} Matrix;

static Matrix matrix_create(uint64_t *seed, DType type, int32_t rows, int32_t cols, float scale)
{
    const DTypeInfo *info = dtype_info(type);
    Matrix matrix = {.weight = {.name = "m", .type = type, .rows = rows, .cols = cols, .scale = scale}};
    assert_true(dtype_row_bytes(type, (uint64_t)cols, &matrix.weight.row_bytes));
    const size_t n = (size_t)rows * (size_t)cols;
    matrix.bytes = malloc((size_t)rows * matrix.weight.row_bytes);
    matrix.values = random_floats(seed, n, 1.0f);
    if (info->encode != NULL) {
        info->encode(matrix.values, matrix.bytes, n);
    } else {
        /* Random blocks; their scales, wherever they are, must be neither huge nor NaN. */
        for (size_t i = 0; i < (size_t)rows * matrix.weight.row_bytes; i++)
            matrix.bytes[i] = (uint8_t)(random_bits(seed) & 0x2F);
    }
    info->decode(matrix.bytes, matrix.values, n);
    for (size_t i = 0; i < n; i++) matrix.values[i] *= scale;
    matrix.weight.data = matrix.bytes;
    return matrix;
}

static void matrix_free(Matrix *matrix)
{
    free(matrix->bytes);
    free(matrix->values);
}

static double dot(const float *w, const float *x, int32_t n)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) sum += (double)w[i] * (double)x[i];
    return sum;
}

/* ---- linear, embed, logits ---- */

/* Products of every type and of ragged shapes, and the same bits alone, in company, on other threads and levels. */
static void linear_multiplies_every_type(void **state)
{
    (void)state;
    static const struct {
        int32_t rows, cols;
    } plain[] = {{1, 1}, {3, 5}, {37, 100}, {64, 33}}, blocks[] = {{5, 256}, {33, 512}};
    uint64_t seed = 21;
    for (int type = 0; type < DT_COUNT; type++) {
        const DTypeInfo *info = dtype_info((DType)type);
        if (info->decode == NULL || type == DT_F64) continue;
        for (int shape = 0; shape < (info->block_elems > 1 ? 2 : 4); shape++) {
            const int32_t rows = info->block_elems > 1 ? blocks[shape].rows : plain[shape].rows;
            const int32_t cols = info->block_elems > 1 ? blocks[shape].cols : plain[shape].cols;
            Matrix a = matrix_create(&seed, (DType)type, rows, cols, 1.0f);
            Matrix b = matrix_create(&seed, (DType)type, rows + 2, cols, 0.25f);
            float *x = random_floats(&seed, (size_t)(MAX_ROWS * cols), 1.0f);
            float *bias = random_floats(&seed, (size_t)rows, 1.0f);
            const Vector bias_vector = {.data = bias, .size = rows};
            const Layer layer = {.ffn = FFN_DENSE, .dense = {.up = a.weight, .down = b.weight}};
            float *first = NULL; /* the outputs of the first setup */
            static const struct {
                CpuIsa isa;
                int32_t n_threads, n_rows;
            } setups[] = {{CPU_ISA_PORTABLE, 1, 23}, {CPU_ISA_AUTO, 2, 1}, {CPU_ISA_AUTO, 1, 23}, {CPU_ISA_AVX2, 3, 8}};
            for (size_t s = 0; s < sizeof setups / sizeof *setups; s++) {
                const CpuOptions probe = {.n_threads = 1, .isa = setups[s].isa};
                Backend *backend;
                if (cpu_backend_create(&probe, &backend) != IMP_OK) continue;
                backend->ops->destroy(backend);
                Rig rig;
                rig_open(&rig, setups[s].isa, setups[s].n_threads, &layer, NULL);
                const int32_t n = setups[s].n_rows;
                const Act in = rig_act(&rig, cols, x, n), y1 = rig_act(&rig, rows, NULL, 0),
                          y2 = rig_act(&rig, rows + 2, NULL, 0);
                rig_begin(&rig, n, 0);
                /* Re-laid in every other setup, straight from the file's bytes in the others. */
                if (s % 2 == 1) assert_int_equal(rig.backend->ops->prepare(rig.backend, &rig.model, NULL), IMP_OK);
                const bool re_laid = rig.layer.dense.up.prepared != NULL;
                assert_int_equal(re_laid, s % 2 == 1 && info->block_elems > 1);
                const LinearOutput outputs[] = {{&rig.layer.dense.up, &bias_vector, y1},
                                                {&rig.layer.dense.down, NULL, y2}};
                rig.compute->ops->linear(rig.compute, in, outputs, 2);
                assert_int_equal(rig.compute->ops->finish(rig.compute), IMP_OK);
                const size_t per_row = (size_t)(2 * rows + 2);
                float *got = malloc((size_t)n * per_row * sizeof *got);
                for (int32_t r = 0; r < n; r++) {
                    memcpy(got + (size_t)r * per_row, (float *)y1.data + r * rows, (size_t)rows * 4);
                    memcpy(got + (size_t)r * per_row + rows, (float *)y2.data + r * (rows + 2), (size_t)(rows + 2) * 4);
                }
                if (first == NULL) {
                    first = got;
                    for (int32_t r = 0; r < n; r++)
                        for (int32_t o = 0; o < 2 * rows + 2; o++) {
                            const float *w = o < rows ? a.values + o * cols : b.values + (o - rows) * cols;
                            double magnitude = 1e-30;
                            for (int32_t i = 0; i < cols; i++)
                                magnitude += fabs((double)w[i] * (double)x[r * cols + i]);
                            const double expected = dot(w, x + r * cols, cols) + (o < rows ? (double)bias[o] : 0.0);
                            const double error = fabs((double)first[(size_t)r * per_row + (size_t)o] - expected);
                            /* Fixed point of 16 bits rounds to half of 1 / 32639 of a block's largest element. */
                            const double tolerance = info->block_elems > 1 ? 4e-5 : 1e-6;
                            if (!(error <= tolerance * (magnitude + 1.0)))
                                fail_msg("%s [%d][%d]: off by %g", info->name, (int)rows, (int)cols, error);
                        }
                } else {
                    if (memcmp(first, got, (size_t)n * per_row * sizeof *got) != 0)
                        fail_msg("%s [%d][%d]: other bits in setup %zu", info->name, (int)rows, (int)cols, s);
                    free(got);
                }
                rig.backend->ops->release(rig.backend, &rig.model);
                assert_null(rig.layer.dense.up.prepared);
                rig_close(&rig);
            }
            free(first);
            free(bias);
            free(x);
            matrix_free(&a);
            matrix_free(&b);
        }
    }
}

/* On several memory nodes tasks come in another order, and threads re-lay their own rows: all rows, and the same sums. */
static void memory_nodes_do_not_matter(void **state)
{
    (void)state;
    enum { COLS = 512, ALL_ROWS = 200 + 330 + 64 };
    uint64_t seed = 22;
    Matrix a = matrix_create(&seed, DT_Q8_0, 200, COLS, 1.0f), b = matrix_create(&seed, DT_Q4_K, 330, COLS, 1.0f);
    Matrix c = matrix_create(&seed, DT_F32, 64, COLS, 1.0f);
    float *x = random_floats(&seed, MAX_ROWS * COLS, 1.0f), *y[2];
    const Layer layer = {.ffn = FFN_DENSE, .dense = {.gate = a.weight, .up = b.weight, .down = c.weight}};
    for (int32_t nodes = 1; nodes <= 2; nodes++) {
        Rig rig;
        rig_open(&rig, CPU_ISA_AUTO, 3, &layer, NULL);
        ((CpuBackend *)rig.backend)->n_nodes = nodes;
        assert_int_equal(rig.backend->ops->prepare(rig.backend, &rig.model, NULL), IMP_OK);
        const Act in = rig_act(&rig, COLS, x, MAX_ROWS);
        const Act out[] = {rig_act(&rig, 200, NULL, 0), rig_act(&rig, 330, NULL, 0), rig_act(&rig, 64, NULL, 0)};
        const FeedForward *dense = &rig.layer.dense;
        const LinearOutput outputs[] = {{&dense->gate, NULL, out[0]}, {&dense->up, NULL, out[1]}, {&dense->down, NULL, out[2]}};
        rig_begin(&rig, MAX_ROWS, 0);
        rig.compute->ops->linear(rig.compute, in, outputs, 3);
        assert_int_equal(rig.compute->ops->finish(rig.compute), IMP_OK);
        y[nodes - 1] = malloc(MAX_ROWS * ALL_ROWS * sizeof(float));
        size_t used = 0;
        for (int i = 0; i < 3; i++) {
            memcpy(y[nodes - 1] + used, out[i].data, (size_t)(MAX_ROWS * out[i].width) * sizeof(float));
            used += (size_t)(MAX_ROWS * out[i].width);
        }
        rig.backend->ops->release(rig.backend, &rig.model);
        rig_close(&rig);
    }
    assert_memory_equal(y[0], y[1], MAX_ROWS * ALL_ROWS * sizeof(float));
    for (int i = 0; i < 2; i++) free(y[i]);
    free(x);
    matrix_free(&a);
    matrix_free(&b);
    matrix_free(&c);
}

static void embed_and_logits_are_the_two_ends(void **state)
{
    (void)state;
    uint64_t seed = 22;
    enum { VOCAB = 77 };
    Matrix table = matrix_create(&seed, DT_F16, VOCAB, EMBD, 0.5f);
    float *bias = random_floats(&seed, VOCAB, 1.0f);
    Rig rig;
    const Layer layer = {0};
    rig_open(&rig, CPU_ISA_AUTO, 2, &layer, &table.weight);
    const Act x = rig_act(&rig, EMBD, NULL, 0);
    for (int32_t i = 0; i < 9; i++) rig.tokens[i] = (i * 31) % VOCAB;
    rig_begin(&rig, 9, 0);
    rig.compute->ops->embed(rig.compute, &table.weight, 3.0f, x);
    for (int32_t r = 0; r < 9; r++)
        for (int32_t i = 0; i < EMBD; i++)
            assert_true(fabs((double)((float *)x.data)[r * EMBD + i] -
                             3.0 * (double)table.values[rig.tokens[r] * EMBD + i]) < 1e-6);

    float logits[3][VOCAB];
    const int32_t wanted[] = {0, 4, 8};
    memcpy(rig.logit_rows, wanted, sizeof wanted);
    rig.batch.n_logits = 3;
    for (int options = 0; options < 2; options++) {
        rig.model.head_bias = (Vector){.data = options != 0 ? bias : NULL, .size = VOCAB};
        rig.model.logit_multiplier = options != 0 ? 0.3f : 1.0f;
        rig.model.logit_softcap = options != 0 ? 2.0f : 0.0f;
        rig.compute->ops->logits(rig.compute, &rig.model, x, &logits[0][0]);
        for (int i = 0; i < 3; i++)
            for (int v = 0; v < VOCAB; v++) {
                double y = dot(table.values + v * EMBD, (float *)x.data + wanted[i] * EMBD, EMBD);
                if (options != 0) y = 2.0 * tanh((double)0.3f * (y + (double)bias[v]) / 2.0);
                assert_true(fabs((double)logits[i][v] - y) < 1e-5);
            }
    }
    rig_close(&rig);
    free(bias);
    matrix_free(&table);
}

/* ---- norms and activations ---- */

static void ref_norm(const Norm *norm, const double *x, double *out)
{
    double mean = 0.0, squares = 0.0;
    for (int i = 0; i < EMBD && norm->kind == NORM_LAYER; i++) mean += x[i] / EMBD;
    for (int i = 0; i < EMBD; i++) squares += (x[i] - mean) * (x[i] - mean) / EMBD;
    const double m = 1.0 / sqrt(squares + (double)norm->eps);
    for (int i = 0; i < EMBD; i++) {
        out[i] = (x[i] - mean) * m;
        if (norm->weight.data != NULL) out[i] *= (double)norm->weight.data[i];
        if (norm->bias.data != NULL) out[i] += (double)norm->bias.data[i];
    }
}

static void residual_norm_in_all_its_forms(void **state)
{
    (void)state;
    uint64_t seed = 23;
    float *w = random_floats(&seed, EMBD, 1.0f), *b = random_floats(&seed, EMBD, 1.0f);
    float *x0 = random_floats(&seed, MAX_ROWS * EMBD, 2.0f), *y0 = random_floats(&seed, MAX_ROWS * EMBD, 2.0f);
    const Vector weight = {.data = w, .size = EMBD}, bias = {.data = b, .size = EMBD}, none = {0};
    const Norm rms = {NORM_RMS, 1e-5f, weight, none}, layer_norm = {NORM_LAYER, 1e-5f, weight, bias};
    const Norm bare = {NORM_RMS, 1e-6f, none, none}, nothing = {0};
    const struct {
        bool with_y;
        const Norm *post, *norm;
        float multiplier, scale;
    } cases[] = {
        {false, NULL, &rms, 1.0f, 1.0f},     {true, NULL, &layer_norm, 1.0f, 1.0f}, {true, &rms, &bare, 0.22f, 1.0f},
        {true, &nothing, &rms, 1.0f, 0.5f},  {true, &layer_norm, NULL, 2.0f, 1.0f}, {true, NULL, &nothing, 1.0f, 1.0f},
    };
    const Layer layer = {0};
    Rig rig;
    rig_open(&rig, CPU_ISA_AUTO, 2, &layer, NULL);
    const Act x = rig_act(&rig, EMBD, NULL, 0), y = rig_act(&rig, EMBD, y0, MAX_ROWS), out = rig_act(&rig, EMBD, NULL, 0);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        memcpy(x.data, x0, MAX_ROWS * EMBD * sizeof *x0);
        rig_begin(&rig, 19, 0);
        rig.compute->ops->residual_norm(rig.compute, x, cases[c].with_y ? y : (Act){0}, cases[c].post,
                                        cases[c].multiplier, cases[c].scale, cases[c].norm, out);
        for (int r = 0; r < 19; r++) {
            double sum[EMBD], part[EMBD], expected[EMBD];
            for (int i = 0; i < EMBD; i++) part[i] = cases[c].with_y ? (double)y0[r * EMBD + i] : 0.0;
            if (cases[c].post != NULL && cases[c].post->kind != NORM_NONE) ref_norm(cases[c].post, part, part);
            for (int i = 0; i < EMBD; i++)
                sum[i] = ((double)x0[r * EMBD + i] + (double)cases[c].multiplier * part[i]) * (double)cases[c].scale;
            assert_near((float *)x.data + r * EMBD, sum, EMBD, 2e-6, "residual");
            if (cases[c].norm == NULL) continue;
            if (cases[c].norm->kind == NORM_NONE) memcpy(expected, sum, sizeof sum);
            else ref_norm(cases[c].norm, sum, expected);
            assert_near((float *)out.data + r * EMBD, expected, EMBD, 3e-6, "norm");
        }
    }
    rig_close(&rig);
    free(w);
    free(b);
    free(x0);
    free(y0);
}

static double ref_activation(Activation activation, double limit, double gate, double up, bool gated)
{
    if (activation == ACT_SWIGLU_OAI) {
        if (limit == 0.0) limit = INFINITY;
        const double g = fmin(gated ? gate : fmax(up, -limit), limit), u = fmax(fmin(up, limit), -limit);
        return (gated ? u + 1.0 : 1.0) * g / (1.0 + exp(-1.702 * g));
    }
    const double x = gated ? gate : up, m = gated ? up : 1.0;
    switch (activation) {
    case ACT_SILU: return m * x / (1.0 + exp(-x));
    case ACT_GELU: return m * 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case ACT_GELU_TANH: return m * 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case ACT_RELU: return m * fmax(x, 0.0);
    default: return m * fmax(x, 0.0) * fmax(x, 0.0);
    }
}

static void activations_match_their_formulas(void **state)
{
    (void)state;
    enum { WIDE = 4133 }; /* more than one task a row */
    uint64_t seed = 24;
    float *gate0 = random_floats(&seed, 3 * WIDE, 6.0f), *up0 = random_floats(&seed, 3 * WIDE, 6.0f);
    const Layer layer = {0};
    Rig rig;
    rig_open(&rig, CPU_ISA_AUTO, 2, &layer, NULL);
    const Act gate = rig_act(&rig, WIDE, gate0, 3), up = rig_act(&rig, WIDE, up0, 3), out = rig_act(&rig, WIDE, NULL, 0);
    for (int act = ACT_SILU; act <= ACT_SWIGLU_OAI; act++)
        for (int gated = 0; gated < 2; gated++) {
            const float limit = gated != 0 ? 4.0f : 0.0f;
            rig_begin(&rig, 3, 0);
            cpu_activate(rig.compute, (Activation)act, limit, gated != 0 ? gate : (Act){0}, up, out);
            for (int i = 0; i < 3 * WIDE; i++) {
                const double expected = ref_activation((Activation)act, (double)limit, (double)gate0[i],
                                                       (double)up0[i], gated != 0);
                const double got = (double)((float *)out.data)[i];
                if (!(fabs(got - expected) <= 1e-6 * (1.0 + fabs(expected)))) fail_msg("activation %d of %g: %g, not %g", act,
                                                              (double)gate0[i], got, expected);
            }
        }
    rig_close(&rig);
    free(gate0);
    free(up0);
}

/* ---- experts ---- */

typedef struct ExpertModel {
    Experts spec;
    Matrix router, gate[N_EXPERTS], up[N_EXPERTS], down[N_EXPERTS], shared[3], shared_gate;
    Weight gate_w[N_EXPERTS], up_w[N_EXPERTS], down_w[N_EXPERTS];
    float biases[3][N_EXPERTS][EMBD + FF], router_bias[N_EXPERTS], choice_bias[N_EXPERTS];
    Vector bias_vectors[3][N_EXPERTS];
} ExpertModel;

static void expert_model_create(ExpertModel *m, uint64_t *seed)
{
    memset(m, 0, sizeof *m);
    m->router = matrix_create(seed, DT_F32, N_EXPERTS, EMBD, 1.0f);
    random_fill(seed, m->router_bias, N_EXPERTS, 0.5f);
    random_fill(seed, m->choice_bias, N_EXPERTS, 0.5f);
    random_fill(seed, &m->biases[0][0][0], sizeof m->biases / sizeof(float), 0.5f);
    for (int e = 0; e < N_EXPERTS; e++) {
        m->gate[e] = matrix_create(seed, DT_F16, FF, EMBD, 0.2f);
        m->up[e] = matrix_create(seed, DT_BF16, FF, EMBD, 0.2f);
        m->down[e] = matrix_create(seed, DT_F32, EMBD, FF, 0.2f);
        m->gate_w[e] = m->gate[e].weight;
        m->up_w[e] = m->up[e].weight;
        m->down_w[e] = m->down[e].weight;
        for (int k = 0; k < 3; k++) m->bias_vectors[k][e] = (Vector){.data = m->biases[k][e], .size = EMBD + FF};
    }
    for (int k = 0; k < 3; k++)
        m->shared[k] = matrix_create(seed, DT_F32, k < 2 ? FF : EMBD, k < 2 ? EMBD : FF, 0.2f);
    m->shared_gate = matrix_create(seed, DT_F32, 1, EMBD, 1.0f);
    m->spec = (Experts){.n_experts = N_EXPERTS, .n_used = 3, .router = m->router.weight, .scale = 1.0f, .n_ff = FF,
                        .gate = m->gate_w, .up = m->up_w, .down = m->down_w};
}

static void expert_model_free(ExpertModel *m)
{
    matrix_free(&m->router);
    matrix_free(&m->shared_gate);
    for (int k = 0; k < 3; k++) matrix_free(&m->shared[k]);
    for (int e = 0; e < N_EXPERTS; e++) {
        matrix_free(&m->gate[e]);
        matrix_free(&m->up[e]);
        matrix_free(&m->down[e]);
    }
}

static void ref_feed_forward(const float *gate, const float *up, const float *down, const float *bias[3],
                             Activation activation, float limit, const double *x, double *y)
{
    double hidden[FF];
    for (int f = 0; f < FF; f++) {
        double g = bias[0] != NULL ? (double)bias[0][f] : 0.0, u = bias[1] != NULL ? (double)bias[1][f] : 0.0;
        for (int i = 0; i < EMBD; i++) {
            if (gate != NULL) g += (double)gate[f * EMBD + i] * x[i];
            u += (double)up[f * EMBD + i] * x[i];
        }
        hidden[f] = ref_activation(activation, (double)limit, g, u, gate != NULL);
    }
    for (int i = 0; i < EMBD; i++) {
        y[i] = bias[2] != NULL ? (double)bias[2][i] : 0.0;
        for (int f = 0; f < FF; f++) y[i] += (double)down[i * FF + f] * hidden[f];
    }
}

static void ref_route(const ExpertModel *m, const float *x, int chosen[], double weights[])
{
    const Experts *spec = &m->spec;
    double scores[N_EXPERTS], choice[N_EXPERTS], sum = 0.0;
    for (int e = 0; e < N_EXPERTS; e++) {
        scores[e] = dot(m->router.values + e * EMBD, x, EMBD);
        if (vector_present(&spec->router_bias)) scores[e] += (double)m->router_bias[e];
        sum += exp(scores[e]);
    }
    for (int e = 0; e < N_EXPERTS; e++) {
        if (spec->router_kind == ROUTER_SOFTMAX) scores[e] = exp(scores[e]) / sum;
        if (spec->router_kind == ROUTER_SIGMOID) scores[e] = 1.0 / (1.0 + exp(-scores[e]));
        choice[e] = scores[e] + (vector_present(&spec->choice_bias) ? (double)m->choice_bias[e] : 0.0);
    }
    if (spec->n_groups > 0) {
        const int size = N_EXPERTS / spec->n_groups;
        double value[N_EXPERTS];
        for (int g = 0; g < spec->n_groups; g++) {
            double best = -1e30, second = -1e30;
            for (int e = g * size; e < (g + 1) * size; e++) {
                if (choice[e] > best) { second = best; best = choice[e]; }
                else if (choice[e] > second) second = choice[e];
            }
            value[g] = spec->group_score == GROUP_BEST ? best : best + second;
        }
        for (int g = 0; g < spec->n_groups; g++) {
            int better = 0;
            for (int o = 0; o < spec->n_groups; o++) better += value[o] > value[g];
            for (int e = g * size; e < (g + 1) * size && better >= spec->n_groups_used; e++) choice[e] = -1e30;
        }
    }
    sum = 0.0;
    for (int rank = 0; rank < spec->n_used; rank++) {
        int best = 0;
        for (int e = 0; e < N_EXPERTS; e++) if (choice[e] > choice[best]) best = e;
        choice[best] = -2e30;
        chosen[rank] = best;
        weights[rank] = spec->router_kind == ROUTER_SOFTMAX_CHOSEN ? exp(scores[best]) : scores[best];
        sum += weights[rank];
    }
    for (int rank = 0; rank < spec->n_used; rank++) {
        if (spec->router_kind == ROUTER_SOFTMAX_CHOSEN) weights[rank] /= sum;
        if (spec->renormalize) weights[rank] /= sum + (double)spec->renormalize_eps;
        weights[rank] *= (double)spec->scale;
    }
}

static void ref_experts(const ExpertModel *m, const float *x, double *out)
{
    const Experts *spec = &m->spec;
    int chosen[N_EXPERTS];
    double weights[N_EXPERTS], input[EMBD], y[EMBD];
    ref_route(m, x, chosen, weights);
    memset(out, 0, EMBD * sizeof *out);
    for (int rank = 0; rank < spec->n_used; rank++) {
        const int e = chosen[rank];
        for (int i = 0; i < EMBD; i++) input[i] = (double)x[i] * (spec->weight_on_input ? weights[rank] : 1.0);
        const float *bias[3] = {NULL, NULL, NULL};
        for (int k = 0; k < 3 && spec->up_bias != NULL; k++) bias[k] = m->biases[k][e];
        ref_feed_forward(spec->gate != NULL ? m->gate[e].values : NULL, m->up[e].values, m->down[e].values, bias,
                         spec->activation, spec->limit, input, y);
        for (int i = 0; i < EMBD; i++) out[i] += y[i] * (spec->weight_on_input ? 1.0 : weights[rank]);
    }
    if (spec->shared.n_ff == 0) return;
    const float *no_bias[3] = {NULL, NULL, NULL};
    for (int i = 0; i < EMBD; i++) input[i] = (double)x[i];
    ref_feed_forward(weight_present(&spec->shared.gate) ? m->shared[0].values : NULL, m->shared[1].values,
                     m->shared[2].values, no_bias, spec->shared.activation, 0.0f, input, y);
    const double weight = weight_present(&spec->shared_gate)
                              ? 1.0 / (1.0 + exp(-dot(m->shared_gate.values, x, EMBD))) : 1.0;
    for (int i = 0; i < EMBD; i++) out[i] += weight * y[i];
}

static void expert_option(ExpertModel *m, int index)
{
    Experts *spec = &m->spec;
    switch (index) {
    case 0: break;
    case 1: spec->router_kind = ROUTER_SOFTMAX_CHOSEN; spec->router_bias = (Vector){m->router_bias, N_EXPERTS, NULL};
            spec->gate_bias = m->bias_vectors[0]; spec->up_bias = m->bias_vectors[1];
            spec->down_bias = m->bias_vectors[2]; spec->activation = ACT_SWIGLU_OAI; spec->limit = 1.0f; break;
    case 2: spec->router_kind = ROUTER_SIGMOID; spec->choice_bias = (Vector){m->choice_bias, N_EXPERTS, NULL};
            spec->renormalize = true; spec->renormalize_eps = 1e-3f; spec->scale = 2.5f; spec->n_groups = 4;
            spec->n_groups_used = 2; spec->group_score = GROUP_BEST_TWO; break;
    case 3: spec->n_groups = 6; spec->n_groups_used = 3; spec->renormalize = true; spec->n_used = 6; break;
    case 4: spec->router_kind = ROUTER_SIGMOID; spec->weight_on_input = true; spec->n_used = 1; break;
    default:
        spec->gate = NULL;
        spec->activation = ACT_RELU2;
        spec->n_used = N_EXPERTS;
    }
    if (index % 2 == 1) {
        spec->shared = (FeedForward){.activation = ACT_SILU, .n_ff = FF, .up = m->shared[1].weight,
                                     .down = m->shared[2].weight};
        if (index > 1) spec->shared.gate = m->shared[0].weight;
        if (index > 3) spec->shared_gate = m->shared_gate.weight;
    }
}

static void experts_route_and_add(void **state)
{
    (void)state;
    static ExpertModel m;
    uint64_t seed = 25;
    float *x0 = random_floats(&seed, MAX_ROWS * EMBD, 0.5f);
    for (int index = 0; index < 6; index++) {
        expert_model_create(&m, &seed);
        expert_option(&m, index);
        const Layer layer = {.ffn = FFN_EXPERTS, .experts = m.spec};
        float all[MAX_ROWS * EMBD], one[EMBD];
        Rig rig;
        rig_open(&rig, CPU_ISA_AUTO, 2, &layer, NULL);
        const Act x = rig_act(&rig, EMBD, x0, MAX_ROWS), out = rig_act(&rig, EMBD, NULL, 0);
        rig_begin(&rig, MAX_ROWS, 0);
        rig.compute->ops->experts(rig.compute, &m.spec, x, out);
        assert_int_equal(rig.compute->ops->act_read(rig.compute, out, 0, MAX_ROWS, all), IMP_OK);
        rig_close(&rig);
        for (int r = 0; r < MAX_ROWS; r++) {
            double expected[EMBD];
            ref_experts(&m, x0 + r * EMBD, expected);
            assert_near(all + r * EMBD, expected, EMBD, 2e-5, "experts");
        }
        /* A row alone, on another level, has the same bits. */
        for (int r = 0; r < MAX_ROWS; r += 13) {
            rig_open(&rig, CPU_ISA_PORTABLE, 1, &layer, NULL);
            const Act alone = rig_act(&rig, EMBD, x0 + r * EMBD, 1), y = rig_act(&rig, EMBD, NULL, 0);
            rig_begin(&rig, 1, 0);
            rig.compute->ops->experts(rig.compute, &m.spec, alone, y);
            assert_int_equal(rig.compute->ops->act_read(rig.compute, y, 0, 1, one), IMP_OK);
            rig_close(&rig);
            assert_memory_equal(one, all + r * EMBD, sizeof one);
        }
        expert_model_free(&m);
    }
    free(x0);
}

/* All experts score the same: the first ones win. */
static void ties_go_to_the_lowest_index(void **state)
{
    (void)state;
    static ExpertModel m;
    uint64_t seed = 26;
    expert_model_create(&m, &seed);
    memset(m.router.bytes, 0, N_EXPERTS * EMBD * sizeof(float));
    memset(m.router.values, 0, N_EXPERTS * EMBD * sizeof(float));
    const Layer layer = {.ffn = FFN_EXPERTS, .experts = m.spec};
    float x0[EMBD], got[EMBD];
    double expected[EMBD];
    random_fill(&seed, x0, EMBD, 1.0f);
    Rig rig;
    rig_open(&rig, CPU_ISA_AUTO, 1, &layer, NULL);
    const Act x = rig_act(&rig, EMBD, x0, 1), out = rig_act(&rig, EMBD, NULL, 0);
    rig_begin(&rig, 1, 0);
    rig.compute->ops->experts(rig.compute, &m.spec, x, out);
    assert_int_equal(rig.compute->ops->act_read(rig.compute, out, 0, 1, got), IMP_OK);
    ref_experts(&m, x0, expected); /* takes the first of equals */
    assert_near(got, expected, EMBD, 1e-5, "experts");
    rig_close(&rig);
    expert_model_free(&m);
}

/* ---- short convolution and states ---- */

static void short_conv_carries_its_state(void **state)
{
    (void)state;
    enum { CHANNELS = 300, WIDTH = 4, T = 30 };
    uint64_t seed = 27;
    float *taps = random_floats(&seed, CHANNELS * WIDTH, 1.0f), *bias = random_floats(&seed, CHANNELS, 1.0f);
    float *bcx = random_floats(&seed, T * 3 * CHANNELS, 1.0f);
    const ShortConv spec = {.width = WIDTH, .channels = CHANNELS, .taps = {taps, CHANNELS * WIDTH, NULL},
                            .conv_bias = {bias, CHANNELS, NULL}};
    const Layer layer = {.mixer = MIXER_SHORT_CONV, .short_conv = spec};
    float *got = malloc(T * CHANNELS * sizeof *got), *again = malloc(T * CHANNELS * sizeof *again);
    Rig rig;
    rig_open(&rig, CPU_ISA_AUTO, 2, &layer, NULL);
    const Act in = rig_act(&rig, 3 * CHANNELS, NULL, 0), out = rig_act(&rig, CHANNELS, NULL, 0);
    const int32_t chunks[] = {T, 1, 7, 2};
    for (int c = 0; c < 4; c++) {
        float *y = c == 0 ? got : again;
        rig.compute->ops->state_clear(rig.compute, 2);
        for (int32_t past = 0; past < T; past += chunks[c]) {
            const int32_t n = past + chunks[c] < T ? chunks[c] : T - past;
            memcpy(in.data, bcx + past * 3 * CHANNELS, (size_t)n * 3 * CHANNELS * sizeof *bcx);
            rig_begin(&rig, n, 2);
            rig.compute->ops->short_conv(rig.compute, 0, &spec, in, out);
            memcpy(y + past * CHANNELS, out.data, (size_t)n * CHANNELS * sizeof *y);
        }
        if (c > 0) assert_memory_equal(got, again, T * CHANNELS * sizeof *got);
    }
    for (int t = 0; t < T; t++)
        for (int ch = 0; ch < CHANNELS; ch++) {
            double sum = (double)bias[ch];
            for (int k = 0; k < WIDTH; k++) {
                const int from = t - (WIDTH - 1) + k;
                if (from < 0) continue;
                const float *row = bcx + from * 3 * CHANNELS;
                sum += (double)taps[ch * WIDTH + k] * (double)row[ch] * (double)row[2 * CHANNELS + ch];
            }
            const double expected = sum * (double)bcx[t * 3 * CHANNELS + CHANNELS + ch];
            assert_true(fabs((double)got[t * CHANNELS + ch] - expected) < 1e-5);
        }
    /* A copied state goes on as the original does; a cleared one does not. */
    float next[3][CHANNELS];
    rig.compute->ops->state_copy(rig.compute, 2, 3);
    rig.compute->ops->state_clear(rig.compute, 1);
    for (int i = 0; i < 3; i++) {
        memcpy(in.data, bcx, 3 * CHANNELS * sizeof *bcx);
        rig_begin(&rig, 1, 3 - i);
        rig.compute->ops->short_conv(rig.compute, 0, &spec, in, out);
        memcpy(next[i], out.data, sizeof next[i]);
    }
    assert_memory_equal(next[0], next[1], sizeof next[0]);
    assert_memory_not_equal(next[0], next[2], sizeof next[0]);
    rig_close(&rig);
    free(taps);
    free(bias);
    free(bcx);
    free(got);
    free(again);
}

/* ---- the objects ---- */

static void bad_requests_are_refused(void **state)
{
    (void)state;
    Backend *backend;
    CpuOptions options = {.isa = CPU_ISA_PORTABLE, .n_threads = 1};
    assert_int_equal(cpu_backend_create(&options, &backend), IMP_OK);
    assert_string_equal(backend->name, "cpu (portable)");
    Model model = {.n_embd = 8, .n_vocab = 1};
    ComputeSizes sizes = {.max_rows = 2, .max_sequences = 1, .kv_type = DT_Q4_K};
    Compute *compute;
    assert_int_equal(backend->ops->create_compute(backend, &model, &sizes, &compute), IMP_ERR_UNSUPPORTED);
    sizes.kv_type = DT_F16;
    assert_int_equal(backend->ops->create_compute(backend, &model, &sizes, &compute), IMP_OK);
    const BatchSequence sequence = {.n_rows = 3};
    const Batch batch = {.n_rows = 3, .n_sequences = 1, .sequences = &sequence};
    compute->ops->begin(compute, &batch);
    assert_int_equal(compute->ops->finish(compute), IMP_ERR_INTERNAL);
    compute->ops->destroy(compute);
    backend->ops->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_multiplies_every_type),
        cmocka_unit_test(memory_nodes_do_not_matter),
        cmocka_unit_test(embed_and_logits_are_the_two_ends),
        cmocka_unit_test(residual_norm_in_all_its_forms),
        cmocka_unit_test(activations_match_their_formulas),
        cmocka_unit_test(experts_route_and_add),
        cmocka_unit_test(ties_go_to_the_lowest_index),
        cmocka_unit_test(short_conv_carries_its_state),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
