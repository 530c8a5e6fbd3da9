/*
 * test_cpu_bf16.c - BF16 weights in tiles (bf16.h): the arithmetic against its definition, bit for bit, and against double precision;
 * the same bits for a row alone, in company, on other threads, re-laid or not. Over the model of the tiles, and over the
 * processor's own where it has them.
 */
#include "cmocka_all.h"
#include "compute/amx_model.h"
#include "compute/random_data.h"

#include "compute/cpu/cpu_compute.h"
#include "quant/float_bits.h"

#include <math.h>
#include <string.h>

enum { MOST_COLS = 4224, MOST_ACTS = 545, PAD = 5 };

static const CpuKernels *tables[2];
static int n_tables;

static int find_tables(void **state)
{
    (void)state;
    const CpuKernels *kernels;
    if (kernels_choose(CPU_ISA_AVX512, &kernels) == IMP_OK) tables[n_tables++] = kernels_amx_model();
    if (kernels_choose(CPU_ISA_AMX, &kernels) == IMP_OK && kernels->bf16_multiply != NULL) tables[n_tables++] = kernels;
    return 0;
}

/* ---- the definition ---- */

static float flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

static float reference(const uint16_t *w, const uint16_t *x, int64_t cols)
{
    float sum = 0.0f;
    for (int64_t first = 0; first < cols; first += BF16_COLS) {
        float even = 0.0f, odd = 0.0f;
        for (int64_t i = first; i < first + BF16_COLS; i += 2) {
            even = flush(fmaf(flush(bf16_to_f32(x[i])), flush(bf16_to_f32(w[i])), even));
            odd = flush(fmaf(flush(bf16_to_f32(x[i + 1])), flush(bf16_to_f32(w[i + 1])), odd));
        }
        sum = flush(sum + flush(even + odd));
    }
    return sum;
}

static bool same(float a, float b) { return f32_to_bits(a) == f32_to_bits(b) || (isnan(a) && isnan(b)); }

/* ---- kernels ---- */

static uint16_t random_bf16(uint64_t *seed, float range) { return f32_to_bf16(random_float(seed, range)); }

static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    enum { COLS = 96 };
    static const float special[] = {0.0f, -0.0f, 1e-40f, -1e-45f, 0x1.FFFFFEp127f, 0x1.FEp127f, INFINITY, -INFINITY, NAN,
                                    0x1.01p0f, 0x1.03p0f, 0x1.010002p0f, -0x1.00FFFEp0f};
    uint64_t seed = 1;
    float x[BF16_ROWS][COLS];
    uint16_t group[BF16_ROWS * COLS + 1];
    const float *rows[BF16_ROWS];
    for (int t = 0; t < n_tables; t++)
        for (int32_t n = 1; n <= BF16_ROWS; n++) {
            for (int32_t r = 0; r < n; r++) {
                rows[r] = x[n - 1 - r];
                for (int i = 0; i < COLS; i++)
                    x[r][i] = random_int(&seed, 4) == 0 ? special[random_int(&seed, 13)]
                                                        : f32_from_bits((uint32_t)random_bits(&seed));
            }
            group[n * COLS] = 77;
            tables[t]->bf16_round(rows, n, COLS, group);
            for (int32_t r = 0; r < n; r++)
                for (int i = 0; i < COLS; i++)
                    assert_int_equal(group[(i / BF16_COLS * n + r) * BF16_COLS + i % BF16_COLS], f32_to_bf16(rows[r][i]));
            assert_int_equal(group[n * COLS], 77);
        }
}

typedef struct Case {
    int64_t cols;
    int32_t n_rows, n_acts;
    uint16_t *w, *x; /* [n_rows][cols], [n_acts][cols] */
    uint8_t *panels;
    uint16_t *groups;
    Bf16Sums *sums;
} Case;

/* memory that vectors and lines like. */
static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(memory);
    return memory;
}

static void lay_out(Case *c, const CpuKernels *kernels)
{
    const size_t panel = bf16_panel_bytes(c->cols), row_bytes = (size_t)c->cols * 2;
    for (int32_t r = 0; r < c->n_rows; r += BF16_ROWS)
        bf16_pack((const uint8_t *)(c->w + (size_t)r * (size_t)c->cols), row_bytes,
                  c->n_rows - r < BF16_ROWS ? c->n_rows - r : BF16_ROWS, c->cols, c->panels + (size_t)(r / BF16_ROWS) * panel);
    float *floats = malloc(BF16_ROWS * row_bytes * 2);
    for (int32_t a = 0; a < c->n_acts; a += BF16_ROWS) {
        const int32_t n = c->n_acts - a < BF16_ROWS ? c->n_acts - a : BF16_ROWS;
        const float *rows[BF16_ROWS];
        for (int32_t i = 0; i < n; i++) {
            rows[i] = floats + (size_t)i * (size_t)c->cols;
            for (int64_t k = 0; k < c->cols; k++)
                floats[(int64_t)i * c->cols + k] = bf16_to_f32(c->x[(int64_t)(a + i) * c->cols + k]);
        }
        kernels->bf16_round(rows, n, c->cols, c->groups + (size_t)a * (size_t)c->cols);
    }
    free(floats);
}

static Case case_create(uint64_t *seed, int64_t cols, int32_t n_rows, int32_t n_acts)
{
    Case c = {.cols = cols, .n_rows = n_rows, .n_acts = n_acts};
    const size_t padded = (size_t)(n_rows + BF16_ROWS - 1) / BF16_ROWS;
    c.w = aligned((size_t)n_rows * (size_t)cols * 2);
    c.x = aligned((size_t)n_acts * (size_t)cols * 2);
    c.panels = aligned(padded * bf16_panel_bytes(cols));
    c.groups = aligned((size_t)n_acts * (size_t)cols * 2);
    c.sums = aligned(sizeof *c.sums);
    for (int64_t i = 0; i < n_rows * cols; i++) c.w[i] = random_bf16(seed, 1.0f);
    for (int64_t i = 0; i < n_acts * cols; i++) c.x[i] = random_bf16(seed, 3.0f);
    return c;
}

static void case_free(Case *c)
{
    free(c->w);
    free(c->x);
    free(c->panels);
    free(c->groups);
    free(c->sums);
}

/* y: [n_acts][n_rows + PAD] */
static void case_run(const Case *c, const CpuKernels *kernels, float *y)
{
    const size_t stride = (size_t)c->n_rows + PAD;
    for (size_t i = 0; i < (size_t)c->n_acts * stride; i++) y[i] = 1234.5f;
    const Bf16Product product = {.panels = c->panels, .n_rows = c->n_rows, .n_acts = c->n_acts, .cols = c->cols,
                                 .acts = c->groups, .sums = c->sums, .y = y, .y_stride = stride, .scale = 1.0f};
    kernels->bf16_multiply(&product);
    for (int32_t a = 0; a < c->n_acts; a++)
        for (int32_t i = 0; i < PAD; i++) assert_true(y[(size_t)a * stride + (size_t)(c->n_rows + i)] == 1234.5f);
}

static void check_case(const Case *c, const float *y)
{
    for (int32_t a = 0; a < c->n_acts; a++)
        for (int32_t r = 0; r < c->n_rows; r++) {
            const uint16_t *w = c->w + r * c->cols, *x = c->x + a * c->cols;
            const float got = y[(size_t)a * (size_t)(c->n_rows + PAD) + (size_t)r], expected = reference(w, x, c->cols);
            if (!same(got, expected)) fail_msg("row %d of %d, weight %d: %a, not %a", a, c->n_acts, r, got, expected);
            double exact = 0.0, magnitude = 0.0;
            for (int64_t i = 0; i < c->cols; i++) {
                const double term = (double)bf16_to_f32(w[i]) * (double)bf16_to_f32(x[i]);
                exact += term;
                magnitude += fabs(term);
            }
            if (isfinite(magnitude) && magnitude < 1e38) assert_true(fabs((double)got - exact) <= 2e-6 * magnitude + 1e-33);
        }
}

/* Few and many rows, one panel and many, ragged ones; columns in one part and in several. */
static void products_are_those_of_the_definition(void **state)
{
    (void)state;
    static const struct {
        int64_t cols;
        int32_t n_rows, n_acts;
    } shapes[] = {{64, 16, 1},  {64, 5, 2},   {128, 33, 7},  {192, 128, 16}, {64, 100, 17},   {320, 31, 31},  {64, 113, 32},
                  {128, 64, 33}, {64, 17, 100}, {64, 40, 512}, {2112, 33, 35}, {4224, 50, 65}, {2048, 18, 49}, {4160, 1, 1}};
    uint64_t seed = 2;
    for (int t = 0; t < n_tables; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            Case c = case_create(&seed, shapes[s].cols, shapes[s].n_rows, shapes[s].n_acts);
            float *y = malloc((size_t)c.n_acts * (size_t)(c.n_rows + PAD) * sizeof *y);
            lay_out(&c, tables[t]);
            case_run(&c, tables[t], y);
            check_case(&c, y);
            free(y);
            case_free(&c);
        }
}

static void extreme_values_are_as_defined(void **state)
{
    (void)state;
    static const uint16_t special[] = {0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0x2000};
    uint64_t seed = 3;
    for (int t = 0; t < n_tables; t++)
        for (int round = 0; round < 12; round++) {
            Case c = case_create(&seed, 128, 20, 35);
            /* The first rounds have single kinds, in which not everything becomes infinite or no number. */
            for (int64_t i = 0; i < c.n_rows * c.cols; i++)
                if (random_int(&seed, 20) == 0) c.w[i] = special[round < 11 ? round : random_int(&seed, 11)];
            for (int64_t i = 0; i < c.n_acts * c.cols; i++)
                if (random_int(&seed, 20) == 0) c.x[i] = special[round < 11 ? round : random_int(&seed, 11)];
            float *y = malloc((size_t)c.n_acts * (size_t)(c.n_rows + PAD) * sizeof *y);
            lay_out(&c, tables[t]);
            case_run(&c, tables[t], y);
            check_case(&c, y);
            free(y);
            case_free(&c);
        }
    /* Products below the least normal number are zero. */
    for (int t = 0; t < n_tables; t++) {
        Case c = case_create(&seed, 64, 3, 2);
        float y[2 * (3 + PAD)];
        for (int64_t i = 0; i < c.n_rows * c.cols; i++) c.w[i] = 0x1F80; /* 2^-64 */
        for (int64_t i = 0; i < c.n_acts * c.cols; i++) c.x[i] = 0x2000; /* 2^-63 */
        lay_out(&c, tables[t]);
        case_run(&c, tables[t], y);
        for (int r = 0; r < 3; r++) assert_true(y[r] == 0.0f);
        case_free(&c);
    }
}

/* Scales, biases, rows that go elsewhere. */
static void results_go_where_they_are_wanted(void **state)
{
    (void)state;
    enum { ROWS = 37, ACTS = 20 };
    uint64_t seed = 4;
    for (int t = 0; t < n_tables; t++) {
        Case c = case_create(&seed, 64, ROWS, ACTS);
        float bias[ROWS], y[ACTS][ROWS];
        int32_t places[ACTS];
        random_fill(&seed, bias, ROWS, 1.0f);
        for (int32_t a = 0; a < ACTS; a++) places[a] = (a * 7 + 3) % ACTS;
        lay_out(&c, tables[t]);
        const Bf16Product product = {.panels = c.panels, .n_rows = ROWS, .n_acts = ACTS, .cols = 64, .acts = c.groups,
                                     .sums = c.sums, .y = &y[0][0], .y_stride = ROWS, .y_rows = places, .bias = bias,
                                     .scale = 0.3f};
        tables[t]->bf16_multiply(&product);
        for (int32_t a = 0; a < ACTS; a++)
            for (int32_t r = 0; r < ROWS; r++) {
                const float scaled = reference(c.w + r * 64, c.x + a * 64, 64) * 0.3f;
                assert_true(same(y[places[a]][r], scaled + bias[r]));
            }
        case_free(&c);
    }
}

/* ---- the loops around them ---- */

enum { EMBD = 128, FF = 64, N_EXPERTS = 6, MAX_ROWS = 150, LONG = 2048, LONG_ROWS = 300 };

/* A backend whose kernels are those of a table. */
typedef struct Rig {
    Backend *backend;
    Layer layer;
    Model model;
    Compute *compute;
    int32_t positions[LONG_ROWS];
    BatchSequence sequence;
    Batch batch;
} Rig;

static void rig_open(Rig *rig, const CpuKernels *kernels, int32_t n_threads, bool re_laid, const Layer *layer, int32_t n_rows)
{
    const CpuOptions options = {.n_threads = n_threads, .isa = CPU_ISA_AVX512,
                                .repack = re_laid ? CPU_REPACK_ALWAYS : CPU_REPACK_NEVER};
    const ComputeSizes sizes = {.max_rows = LONG_ROWS, .max_sequences = 1, .max_logits = 1, .n_pages = {1},
                                .n_state_slots = 1, .kv_type = DT_F16};
    *rig = (Rig){.layer = *layer};
    rig->model = (Model){.n_layers = 1, .n_embd = EMBD, .n_vocab = 1, .layers = &rig->layer, .n_page_groups = 1,
                         .logit_multiplier = 1.0f};
    assert_int_equal(cpu_backend_create(&options, &rig->backend), IMP_OK);
    ((CpuBackend *)rig->backend)->kernels = kernels;
    assert_int_equal(rig->backend->ops->prepare(rig->backend, &rig->model, NULL), IMP_OK);
    assert_int_equal(rig->backend->ops->create_compute(rig->backend, &rig->model, &sizes, &rig->compute), IMP_OK);
    rig->sequence = (BatchSequence){.n_rows = n_rows};
    rig->batch = (Batch){.n_rows = n_rows, .tokens = rig->positions, .positions = rig->positions, .n_sequences = 1,
                         .sequences = &rig->sequence, .logit_rows = rig->positions};
    rig->compute->ops->begin(rig->compute, &rig->batch);
}

static void rig_close(Rig *rig)
{
    assert_int_equal(rig->compute->ops->finish(rig->compute), IMP_OK);
    rig->compute->ops->destroy(rig->compute);
    rig->backend->ops->release(rig->backend, &rig->model);
    rig->backend->ops->destroy(rig->backend);
}

static Act rig_act(Rig *rig, int32_t width, const float *rows, int32_t n)
{
    Act act;
    assert_int_equal(rig->compute->ops->act_create(rig->compute, width, &act), IMP_OK);
    if (rows != NULL) memcpy(act.data, rows, (size_t)n * (size_t)width * sizeof *rows);
    return act;
}

static Weight random_weight(uint64_t *seed, DType type, int32_t rows, int32_t cols)
{
    Weight weight = {.name = "w", .type = type, .rows = rows, .cols = cols, .scale = 1.0f};
    assert_true(dtype_row_bytes(type, (uint64_t)cols, &weight.row_bytes));
    const size_t n = (size_t)rows * (size_t)cols;
    float *x = random_floats(seed, n, 0.3f);
    uint8_t *bytes = malloc((size_t)rows * weight.row_bytes);
    dtype_info(type)->encode(x, bytes, n);
    free(x);
    weight.data = bytes;
    return weight;
}

static void weight_free(Weight *weight) { free((void *)(uintptr_t)weight->data); }

/* BF16 beside other types in one call, every row as by the definition. */
static void linear_gives_every_row_its_bits(void **state)
{
    (void)state;
    enum { N = 4 };
    static const DType types[N] = {DT_BF16, DT_F32, DT_BF16, DT_F16};
    static const int32_t sizes[N] = {21, 9, 300, 40};
    static const struct {
        int32_t n_threads, n_rows;
        bool re_laid;
    } ways[] = {{1, 150, true}, {3, 150, false}, {2, 1, true}, {1, 1, false}, {2, 19, true}, {3, 129, true}};
    uint64_t seed = 5;
    float *x = random_floats(&seed, MAX_ROWS * EMBD, 2.0f), bias[21], *first[N] = {NULL};
    random_fill(&seed, bias, 21, 1.0f);
    const Vector biases[N] = {{.data = bias, .size = 21}};
    Weight weights[N];
    for (int i = 0; i < N; i++) weights[i] = random_weight(&seed, types[i], sizes[i], EMBD);
    const Layer layer = {.ffn = FFN_DENSE, .dense = {.gate = weights[0], .up = weights[1], .down = weights[2]},
                         .attention = {.wo = weights[3]}};
    for (size_t way = 0; way < (size_t)n_tables * 6; way++) {
        const int32_t n = ways[way % 6].n_rows;
        Rig rig;
        rig_open(&rig, tables[way / 6], ways[way % 6].n_threads, ways[way % 6].re_laid, &layer, n);
        Weight *const used[N] = {&rig.layer.dense.gate, &rig.layer.dense.up, &rig.layer.dense.down, &rig.layer.attention.wo};
        LinearOutput outputs[N];
        for (int i = 0; i < N; i++)
            outputs[i] = (LinearOutput){used[i], i == 0 ? &biases[0] : NULL, rig_act(&rig, sizes[i], NULL, 0)};
        assert_int_equal(used[0]->prepared != NULL, ways[way % 6].re_laid);
        rig.compute->ops->linear(rig.compute, rig_act(&rig, EMBD, x, n), outputs, N);
        for (int i = 0; i < N; i++) {
            const float *got = outputs[i].y.data;
            const size_t bytes = (size_t)n * (size_t)sizes[i] * sizeof *got;
            if (first[i] == NULL) {
                first[i] = malloc(bytes);
                memcpy(first[i], got, bytes);
            }
            assert_memory_equal(got, first[i], bytes);
            for (int32_t r = 0; r < n * (types[i] == DT_BF16 ? 1 : 0); r += 7)
                for (int32_t row = 0; row < sizes[i]; row++) {
                    uint16_t rounded[EMBD];
                    for (int k = 0; k < EMBD; k++) rounded[k] = f32_to_bf16(x[r * EMBD + k]);
                    const uint16_t *w = (const uint16_t *)(const void *)weights[i].data + row * EMBD;
                    const float expected = reference(w, rounded, EMBD) + (i == 0 ? bias[row] : 0.0f);
                    assert_true(same(got[r * sizes[i] + row], expected));
                }
        }
        rig_close(&rig);
    }
    for (int i = 0; i < N; i++) {
        weight_free(&weights[i]);
        free(first[i]);
    }
    free(x);
}

/* Gate, up and activation in one go, for many rows, and one after the other for few. */
static void gated_gives_every_row_its_bits(void **state)
{
    (void)state;
    enum { COLUMNS = 203 };
    uint64_t seed = 7;
    float *x = random_floats(&seed, MAX_ROWS * EMBD, 1.0f), biases[2][COLUMNS], *together = NULL;
    random_fill(&seed, &biases[0][0], 2 * COLUMNS, 0.5f);
    const Layer layer = {.ffn = FFN_DENSE,
                         .dense = {.gate = random_weight(&seed, DT_BF16, COLUMNS, EMBD), .activation = ACT_SILU,
                                   .up = random_weight(&seed, DT_BF16, COLUMNS, EMBD), .n_ff = COLUMNS,
                                   .gate_bias = {.data = biases[0], .size = COLUMNS},
                                   .up_bias = {.data = biases[1], .size = COLUMNS}}};
    static const struct {
        int32_t n_rows, at;
        bool re_laid;
    } ways[] = {{MAX_ROWS, 0, true}, {MAX_ROWS, 0, false}, {1, 149, true}, {33, 100, true}, {128, 3, true}};
    for (size_t way = 0; way < (size_t)n_tables * 5; way++) {
        const int32_t n = ways[way % 5].n_rows, at = ways[way % 5].at;
        Rig rig;
        rig_open(&rig, tables[way / 5], (int32_t)(1 + way % 3), ways[way % 5].re_laid, &layer, n);
        const Act in = rig_act(&rig, EMBD, x + at * EMBD, n), gate = rig_act(&rig, COLUMNS, NULL, 0),
                  up = rig_act(&rig, COLUMNS, NULL, 0);
        rig.compute->ops->gated(rig.compute, &rig.layer.dense, in, gate, up);
        if (together == NULL) {
            together = malloc(MAX_ROWS * COLUMNS * sizeof *together);
            memcpy(together, up.data, MAX_ROWS * COLUMNS * sizeof *together);
            for (int32_t i = 0; i < MAX_ROWS * COLUMNS; i += 11) {
                double sums[2] = {(double)biases[0][i % COLUMNS], (double)biases[1][i % COLUMNS]};
                for (int w = 0; w < 2; w++) {
                    const Weight *weight = w == 0 ? &layer.dense.gate : &layer.dense.up;
                    float row[EMBD];
                    dtype_info(DT_BF16)->decode(weight->data + (size_t)(i % COLUMNS) * weight->row_bytes, row, EMBD);
                    for (int k = 0; k < EMBD; k++) sums[w] += (double)row[k] * (double)x[i / COLUMNS * EMBD + k];
                }
                const double expected = sums[0] / (1.0 + exp(-sums[0])) * sums[1];
                assert_true(fabs((double)together[i] - expected) < 0.02 + 0.02 * fabs(expected));
            }
        }
        assert_memory_equal(up.data, together + at * COLUMNS, (size_t)n * COLUMNS * sizeof *together);
        rig_close(&rig);
    }
    free((void *)(uintptr_t)layer.dense.gate.data);
    free((void *)(uintptr_t)layer.dense.up.data);
    free(together);
    free(x);
}

/* Rows that the cache does not hold together take turns. */
static void rows_of_every_turn_have_their_bits(void **state)
{
    (void)state;
    enum { COLUMNS = 37 };
    assert_true(bf16_acts_at_once(LONG) < LONG_ROWS);
    uint64_t seed = 8;
    float *x = random_floats(&seed, LONG_ROWS * LONG, 1.0f);
    const Layer layer = {.ffn = FFN_DENSE,
                         .dense = {.gate = random_weight(&seed, DT_BF16, COLUMNS, LONG), .activation = ACT_SILU,
                                   .up = random_weight(&seed, DT_BF16, COLUMNS, LONG), .n_ff = COLUMNS}};
    static const struct {
        int32_t n_rows, at;
    } ways[] = {{LONG_ROWS, 0}, {1, 0}, {1, 255}, {20, 250}, {1, 299}};
    for (int t = 0; t < n_tables; t++) {
        float *all[2] = {NULL};
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            const int32_t n = ways[way].n_rows, at = ways[way].at;
            Rig rig;
            rig_open(&rig, tables[t], 2, true, &layer, n);
            const Act in = rig_act(&rig, LONG, x + at * LONG, n), gate = rig_act(&rig, COLUMNS, NULL, 0);
            const Act outs[2] = {rig_act(&rig, COLUMNS, NULL, 0), rig_act(&rig, COLUMNS, NULL, 0)};
            rig.compute->ops->gated(rig.compute, &rig.layer.dense, in, gate, outs[0]);
            const LinearOutput output = {&rig.layer.dense.up, NULL, outs[1]};
            rig.compute->ops->linear(rig.compute, in, &output, 1);
            for (int i = 0; i < 2; i++) {
                const size_t bytes = (size_t)n * COLUMNS * sizeof(float);
                if (all[i] == NULL) {
                    all[i] = malloc(bytes);
                    memcpy(all[i], outs[i].data, bytes);
                }
                assert_memory_equal(outs[i].data, all[i] + at * COLUMNS, bytes);
            }
            rig_close(&rig);
        }
        for (int32_t r = 0; r < LONG_ROWS; r += 51) {
            uint16_t rounded[LONG];
            for (int k = 0; k < LONG; k++) rounded[k] = f32_to_bf16(x[r * LONG + k]);
            for (int32_t row = 0; row < COLUMNS; row += 9) {
                const uint16_t *w = (const uint16_t *)(const void *)layer.dense.up.data + row * LONG;
                assert_true(same(all[1][r * COLUMNS + row], reference(w, rounded, LONG)));
            }
        }
        free(all[0]);
        free(all[1]);
    }
    free((void *)(uintptr_t)layer.dense.gate.data);
    free((void *)(uintptr_t)layer.dense.up.data);
    free(x);
}

/* An expert's rows come from anywhere and go anywhere: together as alone. */
static void experts_give_every_row_its_bits(void **state)
{
    (void)state;
    uint64_t seed = 6;
    Weight weights[3 * N_EXPERTS + 1];
    for (int e = 0; e < N_EXPERTS; e++) {
        weights[e] = random_weight(&seed, DT_BF16, FF, EMBD);
        weights[N_EXPERTS + e] = random_weight(&seed, DT_BF16, FF, EMBD);
        weights[2 * N_EXPERTS + e] = random_weight(&seed, DT_BF16, EMBD, FF);
    }
    weights[3 * N_EXPERTS] = random_weight(&seed, DT_F32, N_EXPERTS, EMBD);
    float *x = random_floats(&seed, MAX_ROWS * EMBD, 1.0f);
    for (int on_input = 0; on_input < 2; on_input++) {
        float *together = NULL;
        for (int way = 0; way < 4 * n_tables; way++) {
            const int32_t n = way % 4 == 3 ? 1 : MAX_ROWS, at = way % 4 == 3 ? 77 : 0;
            Weight own[3 * N_EXPERTS];
            memcpy(own, weights, sizeof own);
            const Layer layer = {
                .ffn = FFN_EXPERTS,
                .experts = {.n_experts = N_EXPERTS, .n_used = 2, .router = weights[3 * N_EXPERTS], .scale = 1.0f, .n_ff = FF,
                            .gate = own, .up = own + N_EXPERTS, .down = own + 2 * N_EXPERTS,
                            .weight_on_input = on_input != 0}};
            Rig rig;
            rig_open(&rig, tables[way / 4], way % 4, way % 4 != 1, &layer, n);
            const Act in = rig_act(&rig, EMBD, x + at * EMBD, n), out = rig_act(&rig, EMBD, NULL, 0);
            rig.compute->ops->experts(rig.compute, &rig.layer.experts, in, out);
            if (together == NULL) {
                together = malloc(MAX_ROWS * EMBD * sizeof *together);
                memcpy(together, out.data, MAX_ROWS * EMBD * sizeof *together);
                float low = together[0], high = together[0];
                for (int i = 0; i < EMBD; i++) {
                    low = fminf(low, together[i]);
                    high = fmaxf(high, together[i]);
                }
                assert_true(high > low + 0.01f);
            }
            assert_memory_equal(out.data, together + at * EMBD, (size_t)n * EMBD * sizeof *together);
            rig_close(&rig);
        }
        free(together);
    }
    for (int i = 0; i < 3 * N_EXPERTS + 1; i++) weight_free(&weights[i]);
    free(x);
}

static void the_model_of_tiles_was_used_as_a_processor_demands(void **state)
{
    (void)state;
    assert_int_equal(amx_model_faults(), 0);
    if (n_tables > 0) assert_true(amx_model_products() > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(products_are_those_of_the_definition),
        cmocka_unit_test(extreme_values_are_as_defined),
        cmocka_unit_test(results_go_where_they_are_wanted),
        cmocka_unit_test(linear_gives_every_row_its_bits),
        cmocka_unit_test(gated_gives_every_row_its_bits),
        cmocka_unit_test(rows_of_every_turn_have_their_bits),
        cmocka_unit_test(experts_give_every_row_its_bits),
        cmocka_unit_test(the_model_of_tiles_was_used_as_a_processor_demands),
    };
    return cmocka_run_group_tests(tests, find_tables, NULL);
}
