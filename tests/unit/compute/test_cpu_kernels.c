/*
 * test_cpu_kernels.c - every entry of every level's table against the portable one, bit for bit: random data, ragged
 * sizes, extreme values. And the portable one against the C library in double precision.
 */
#include "cmocka_all.h"
#include "compute/amx_model.h"
#include "compute/random_data.h"

#include "compute/cpu/kernels.h"
#include "quant/float_bits.h"

#include <math.h>
#include <string.h>

enum { MOST = 160, GUARD = 16 };

static const CpuKernels *levels[4];
static int n_levels;

static int find_levels(void **state)
{
    (void)state;
    const CpuIsa wanted[] = {CPU_ISA_AVX2, CPU_ISA_AMX, CPU_ISA_AVX512};
    for (size_t i = 0; i < 3; i++)
        if (kernels_choose(wanted[i], &levels[n_levels]) == IMP_OK) n_levels++;
    if (n_levels > 0 && levels[n_levels - 1]->isa == CPU_ISA_AVX512) levels[n_levels++] = kernels_amx_model();
    return 0;
}

/* Same bits, or both not a number. */
static void assert_same(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i])) continue;
        if (f32_to_bits(a[i]) != f32_to_bits(b[i])) fail_msg("%s: element %zu is %a, not %a", what, i, a[i], b[i]);
    }
}

/* Mostly ordinary numbers, some of every extreme kind. */
static void extreme_fill(uint64_t *seed, float *out, size_t n)
{
    static const float special[] = {0.0f,   -0.0f,   1e-40f,    -1e-45f,   3e38f,  -3e38f,
                                    65504.0f, 65520.0f, INFINITY, -INFINITY, NAN,    -104.5f};
    for (size_t i = 0; i < n; i++)
        out[i] = random_int(seed, 6) == 0 ? special[random_int(seed, 12)] : random_float(seed, 20.0f);
}

static void fill(uint64_t *seed, float *out, size_t n, bool extreme)
{
    if (extreme) extreme_fill(seed, out, n);
    else random_fill(seed, out, n, 3.0f);
}

/* Buffers of one comparison: the same contents for both tables, and space behind them that must stay as it was. */
typedef struct Pair {
    float first[MOST + GUARD], second[MOST + GUARD];
} Pair;

static void pair_fill(uint64_t *seed, Pair *pair, int n, bool extreme)
{
    fill(seed, pair->first, (size_t)n, extreme);
    for (int i = n; i < MOST + GUARD; i++) pair->first[i] = 1234.5f;
    memcpy(pair->second, pair->first, sizeof pair->first);
}

static void pair_check(const Pair *pair, const char *what)
{
    assert_same(pair->first, pair->second, MOST + GUARD, what);
}

static void check_rows(const CpuKernels *one, const CpuKernels *two, int n, bool extreme, uint64_t *seed)
{
    float a[MOST], b[MOST], c[MOST];
    Pair p, r;
    fill(seed, a, MOST, extreme);
    fill(seed, b, MOST, extreme);
    fill(seed, c, MOST, extreme);
    const float sums[2] = {one->sum(a, n), two->sum(a, n)};
    assert_same(&sums[0], &sums[1], 1, "sum");
    const float squares[2] = {one->sum_of_squares(a, 0.25f, n), two->sum_of_squares(a, 0.25f, n)};
    assert_same(&squares[0], &squares[1], 1, "sum_of_squares");
    const float most[2] = {one->max(a, n), two->max(a, n)};
    assert_same(&most[0], &most[1], 1, "max");

#define COMPARE(name, call_one, call_two)                                                                              \
    do {                                                                                                               \
        pair_fill(seed, &p, n, extreme);                                                                               \
        call_one;                                                                                                      \
        call_two;                                                                                                      \
        pair_check(&p, name);                                                                                          \
    } while (0)
    COMPARE("add_scaled", one->add_scaled(p.first, a, 0.7f, n), two->add_scaled(p.second, a, 0.7f, n));
    COMPARE("scale", one->scale(p.first, -1.3f, n), two->scale(p.second, -1.3f, n));
    COMPARE("normalize", one->normalize(a, 0.1f, 0.9f, b, c, p.first, n),
            two->normalize(a, 0.1f, 0.9f, b, c, p.second, n));
    COMPARE("normalize plain", one->normalize(a, 0.0f, 0.9f, NULL, NULL, p.first, n),
            two->normalize(a, 0.0f, 0.9f, NULL, NULL, p.second, n));
    COMPARE("finish_logits", one->finish_logits(p.first, 0.5f, b, 30.0f, n),
            two->finish_logits(p.second, 0.5f, b, 30.0f, n));
    COMPARE("sigmoid", one->sigmoid(p.first, n), two->sigmoid(p.second, n));
    COMPARE("gate_sigmoid", one->gate_sigmoid(p.first, a, n), two->gate_sigmoid(p.second, a, n));
    for (int act = ACT_SILU; act <= ACT_SWIGLU_OAI; act++) {
        const Activation activation = (Activation)act;
        COMPARE("activate", one->activate(activation, 7.0f, a, b, p.first, n),
                two->activate(activation, 7.0f, a, b, p.second, n));
        COMPARE("activate without gate", one->activate(activation, 0.0f, NULL, b, p.first, n),
                two->activate(activation, 0.0f, NULL, b, p.second, n));
    }
    float totals[2];
    COMPARE("exp_sum", totals[0] = one->exp_sum(p.first, 2.0f, n), totals[1] = two->exp_sum(p.second, 2.0f, n));
    assert_same(&totals[0], &totals[1], 1, "exp_sum's sum");
#undef COMPARE
    pair_fill(seed, &p, n, extreme);
    pair_fill(seed, &r, n, extreme);
    one->rotate_half(p.first, r.first, a, b, n);
    two->rotate_half(p.second, r.second, a, b, n);
    pair_check(&p, "rotate_half");
    pair_check(&r, "rotate_half");
    for (int type = DT_F32; type <= DT_BF16; type++) {
        uint8_t encoded[2][MOST * 4] = {{0}};
        one->encode_kv[type](a, encoded[0], n);
        two->encode_kv[type](a, encoded[1], n);
        float decoded[2][MOST];
        for (int i = 0; i < 2; i++) dtype_info((DType)type)->decode(encoded[i], decoded[i], (size_t)n);
        assert_same(decoded[0], decoded[1], (size_t)n, "encode_kv");
    }
}

static void rows_agree(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int level = 0; level < n_levels; level++)
        for (int n = 1; n <= 70; n++)
            for (int extreme = 0; extreme < 2; extreme++)
                check_rows(kernels_portable(), levels[level], n < 66 ? n : n * 2 + 17, extreme != 0, &seed);
}

static void dot_tiles_agree(void **state)
{
    (void)state;
    uint64_t seed = 2;
    float w[DOT_TILE_ROWS][MOST], x[DOT_TILE_ACTS][MOST];
    uint16_t encoded[DOT_TILE_ROWS][MOST * 2];
    const void *rows[DOT_TILE_ROWS];
    const float *acts[DOT_TILE_ACTS];
    for (int r = 0; r < DOT_TILE_ROWS; r++) rows[r] = encoded[r];
    for (int a = 0; a < DOT_TILE_ACTS; a++) acts[a] = x[a];
    for (int k = 1; k < 100; k++)
        for (int type = DT_F32; type <= DT_BF16; type++) {
            fill(&seed, &w[0][0], DOT_TILE_ROWS * MOST, k % 5 == 0);
            fill(&seed, &x[0][0], DOT_TILE_ACTS * MOST, k % 5 == 0);
            for (int r = 0; r < DOT_TILE_ROWS; r++) {
                kernels_portable()->encode_kv[type](w[r], encoded[r], MOST);
                dtype_info((DType)type)->decode(encoded[r], w[r], MOST);
            }
            float expected[DOT_TILE_ACTS * DOT_TILE_ROWS], sums[DOT_TILE_ACTS * DOT_TILE_ROWS];
            kernels_portable()->dot_tile[type](rows, acts, DOT_TILE_ACTS, k, expected);
            for (int level = 0; level < n_levels; level++)
                for (int n = 1; n <= DOT_TILE_ACTS; n++) {
                    levels[level]->dot_tile[type](rows, acts, n, k, sums);
                    assert_same(expected, sums, (size_t)(n * DOT_TILE_ROWS), "dot_tile");
                }
            if (k % 5 == 0) continue;
            double exact = 0.0;
            for (int i = 0; i < k; i++) exact += (double)w[1][i] * (double)x[2][i];
            assert_true(fabs(exact - (double)expected[2 * DOT_TILE_ROWS + 1]) < 1e-4);
        }
}

static void blocks_of_keys_agree(void **state)
{
    (void)state;
    enum { DIM = 84, VALUES = 80, PAGE_BYTES = (DIM + VALUES) * KV_PAGE_TOKENS * 4 + 2 * KV_PAGE_TOKENS * 4 };
    static const DType types[] = {DT_F32, DT_F16, DT_BF16, DT_I8, DT_F8_E4M3};
    static uint8_t pages[ATTEND_PAGES][PAGE_BYTES];
    uint64_t seed = 3;
    float q[ATTEND_QUERIES][DIM], x[VALUES], start[ATTEND_QUERIES][VALUES];
    float out[ATTEND_QUERIES][VALUES], reference[ATTEND_QUERIES][VALUES];
    for (int round = 0; round < 100; round++) {
        const DType type = types[round % 5];
        const size_t bytes = dtype_info(type)->block_bytes, scales = bytes == 1 ? KV_PAGE_TOKENS * sizeof(float) : 0;
        AttendBlock block = {.head_dim = DIM - round % 7, .value_stride = VALUES, .scale = 0.3f,
                             .softcap = round % 2 == 0 ? 0.0f : 5.0f};
        block.key_bytes = (size_t)block.head_dim * KV_PAGE_TOKENS * bytes + scales;
        /* What lies in slots that nobody sees must not matter. */
        const int32_t first = random_int(&seed, ATTEND_KEYS), end = first + 1 + random_int(&seed, ATTEND_KEYS - first);
        memset(pages, 0xFF, sizeof pages);
        for (int32_t j = 0; j < ATTEND_KEYS; j++) {
            uint8_t *page = pages[j / KV_PAGE_TOKENS], keys[DIM * 4];
            if (j / KV_PAGE_TOKENS >= first / KV_PAGE_TOKENS && j - j % KV_PAGE_TOKENS < end)
                block.pages[j / KV_PAGE_TOKENS] = page;
            if (j < first || j >= end) continue;
            const size_t slot = (size_t)(j % KV_PAGE_TOKENS);
            random_fill(&seed, x, DIM < VALUES ? DIM : VALUES, 1.0f);
            const float k_scale = kernels_portable()->encode_kv[type](x, keys, VALUES);
            for (int32_t d = 0; d < block.head_dim; d++)
                memcpy(page + ((size_t)d * KV_PAGE_TOKENS + slot) * bytes, keys + (size_t)(d % VALUES) * bytes, bytes);
            uint8_t *values = page + block.key_bytes;
            const float v_scale = kernels_portable()->encode_kv[type](x, values + slot * VALUES * bytes, VALUES);
            if (scales == 0) continue;
            memcpy(page + (size_t)block.head_dim * KV_PAGE_TOKENS + slot * 4, &k_scale, 4);
            memcpy(values + VALUES * KV_PAGE_TOKENS + slot * 4, &v_scale, 4);
        }
        const int32_t n = 1 + round % ATTEND_QUERIES;
        AttendQuery before[ATTEND_QUERIES], expected[ATTEND_QUERIES], after[ATTEND_QUERIES];
        for (int32_t a = 0; a < n; a++) {
            const bool fresh = random_int(&seed, 3) == 0;
            random_fill(&seed, q[a], DIM, 1.0f);
            random_fill(&seed, start[a], VALUES, 1.0f);
            if (fresh) memset(start[a], 0, sizeof start[a]);
            before[a] = (AttendQuery){q[a], NULL, fresh ? -INFINITY : 0.2f, fresh ? 0.0f : 1.5f, first, end};
            /* Others see less, or nothing. */
            if (a > 0) before[a].end = first + random_int(&seed, end - first + 1);
            expected[a] = before[a];
            expected[a].out = reference[a];
        }
        memcpy(reference, start, sizeof reference);
        kernels_portable()->attend_block[type](&block, expected, n);
        assert_true(isnormal(reference[0][0]) && expected[0].sum > 0.0f);
        for (int level = 0; level < n_levels; level++) {
            memcpy(out, start, sizeof out);
            /* Together, and one by one. */
            for (int32_t step = n; step > 0; step = step > 1 ? 1 : 0) {
                memcpy(out, start, sizeof out);
                for (int32_t a = 0; a < n; a++) {
                    after[a] = before[a];
                    after[a].out = out[a];
                }
                for (int32_t a = 0; a < n; a += step) levels[level]->attend_block[type](&block, after + a, step);
                for (int32_t a = 0; a < n; a++) {
                    assert_same(&expected[a].max, &after[a].max, 1, "attend_block's maximum");
                    assert_same(&expected[a].sum, &after[a].sum, 1, "attend_block's sum");
                    assert_same(reference[a], out[a], VALUES, "attend_block");
                }
            }
        }
    }
}

static void eight_bit_keys_are_close_and_the_same_everywhere(void **state)
{
    (void)state;
    enum { N = 75 };
    uint64_t seed = 4;
    float x[N], decoded;
    uint8_t codes[N], same[N];
    for (int round = 0; round < 40; round++) {
        random_fill(&seed, x, N, ldexpf(1.0f, round - 20));
        if (round == 0) memset(x, 0, sizeof x);
        for (int i = 0; i < 10; i++) x[i] *= ldexpf(1.0f, -i); /* into the subnormal codes */
        const float s8 = kernels_portable()->encode_kv[DT_I8](x, codes, N);
        for (int i = 0; i < N; i++) assert_true(fabsf((float)(int8_t)codes[i] * s8 - x[i]) <= 0.501f * s8);
        const float e4m3 = kernels_portable()->encode_kv[DT_F8_E4M3](x, codes, N);
        for (int i = 0; i < N; i++) {
            dtype_info(DT_F8_E4M3)->decode(&codes[i], &decoded, 1);
            assert_true(fabsf(decoded * e4m3 - x[i]) <= fmaxf(0x1.01p-4f * fabsf(x[i]), 0x1.01p-10f * e4m3));
        }
        for (int level = 0; level < n_levels; level++) {
            const float scale = levels[level]->encode_kv[DT_F8_E4M3](x, same, N);
            assert_same(&e4m3, &scale, 1, "encode_kv's scale");
            assert_memory_equal(codes, same, N);
        }
    }
}

/* Fast decoders give the codecs' bits, whatever the blocks hold. */
static void decoders_agree_with_codecs(void **state)
{
    (void)state;
    enum { ELEMENTS = 1024 };
    uint64_t seed = 4;
    uint8_t bytes[ELEMENTS * 8];
    float expected[ELEMENTS], decoded[ELEMENTS];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random_bits(&seed);
        for (int type = 0; type < DT_COUNT; type++) {
            const DTypeInfo *info = dtype_info((DType)type);
            if (info->decode == NULL) continue;
            const size_t n = (size_t)(ELEMENTS / info->block_elems - round % 3) * info->block_elems;
            info->decode(bytes, expected, n);
            for (int level = -1; level < n_levels; level++) {
                kernels_decoder(level < 0 ? kernels_portable() : levels[level], (DType)type)(bytes, decoded, n);
                assert_same(expected, decoded, n, info->name);
            }
        }
    }
}

/* ---- quantized products ---- */

/* Some levels have other kernels for hundreds of rows: MANY_ACTS are tried now and then. */
enum { PACKED_COLS = 768, MOST_ACTS = 37, MANY_ACTS = 197 };
enum { PACKED_CHUNKS = (PACKED_COLS + CHUNK_COLS - 1) / CHUNK_COLS };

static void assert_same_acts(const ActChunk *a, const ActChunk *b, int32_t cols)
{
    for (int32_t left = cols / BLOCK_COLS; left > 0; left -= CHUNK_BLOCKS, a++, b++) {
        const size_t n = left < CHUNK_BLOCKS ? (size_t)left : CHUNK_BLOCKS;
        assert_same(&a->scale, &b->scale, 1, "quantize_row's scales");
        assert_same(a->exponent, b->exponent, n, "quantize_row's exponents");
        assert_same(a->sum, b->sum, n, "quantize_row's sums");
        assert_same(a->sum + CHUNK_BLOCKS, b->sum + CHUNK_BLOCKS, 2 * n, "quantize_row's sums of halves");
        assert_int_equal(a->fine, b->fine);
        assert_int_equal(a->joined, b->joined);
        assert_memory_equal(a->high, b->high, n * BLOCK_COLS);
        assert_memory_equal(a->minus_high, b->minus_high, n * sizeof a->minus_high[0]);
        assert_memory_equal(a->minus_high + CHUNK_BLOCKS, b->minus_high + CHUNK_BLOCKS, 2 * n * sizeof a->minus_high[0]);
        for (int block = 0; block < CHUNK_BLOCKS; block++) {
            if ((a->fine >> block & 1) == 0) continue;
            const int half = act_part(2, block, 0);
            assert_same(&a->low_scale[block], &b->low_scale[block], 1, "quantize_row's scales");
            assert_memory_equal(a->low + block * BLOCK_COLS, b->low + block * BLOCK_COLS, BLOCK_COLS);
            assert_int_equal(a->minus_low[block], b->minus_low[block]);
            assert_memory_equal(&a->minus_low[half], &b->minus_low[half], 2 * sizeof a->minus_low[half]);
        }
    }
}

/* Rows whose blocks differ in size, so that thresholds part them. */
static void fill_acts(uint64_t *seed, float *x, bool extreme)
{
    fill(seed, x, PACKED_COLS, extreme);
    for (int i = 0; i < PACKED_COLS && !extreme; i++) x[i] *= (float)(1 + (i / 32) % 5 * 3);
}

static void fixed_point_is_close_and_the_same_everywhere(void **state)
{
    (void)state;
    uint64_t seed = 5;
    float x[PACKED_COLS];
    ActChunk expected[PACKED_CHUNKS], got[PACKED_CHUNKS];
    const float thresholds[] = {0.0f, 1.0f, INFINITY};
    for (int round = 0; round < 240; round++) {
        fill_acts(&seed, x, round % 4 == 3);
        if (round == 0) memset(x, 0, sizeof x);
        const float threshold = thresholds[round % 3];
        kernels_portable()->quantize_row(x, PACKED_COLS, threshold, expected, 1);
        int n_fine = 0;
        for (int i = 0; i < PACKED_COLS && round % 4 != 3; i++) {
            const ActChunk *chunk = &expected[i / CHUNK_COLS];
            const int at = i % CHUNK_COLS, b = at / BLOCK_COLS;
            const bool fine = chunk->joined != 0 || (chunk->fine >> b & 1) != 0;
            const double step = ldexp((double)chunk->scale, (int)chunk->exponent[b]);
            const double high = chunk->joined != 0 ? 256.0 * step : step;
            const double value = high * chunk->high[at] + (fine ? (double)chunk->low_scale[b] * chunk->low[at] : 0.0);
            const double unit = fine ? (double)chunk->low_scale[b] : step;
            n_fine += fine && i % BLOCK_COLS == 0;
            assert_true(fabs(value - (double)x[i]) <= 0.51 * unit);
        }
        if (round % 4 != 3 && round > 0) {
            if (round % 3 == 0) assert_int_equal(n_fine, PACKED_COLS / BLOCK_COLS);
            if (round % 3 == 1) assert_true(n_fine > 0 && n_fine < PACKED_COLS / BLOCK_COLS);
            if (round % 3 == 2) assert_int_equal(n_fine, 0);
        }
        for (int level = 0; level < n_levels; level++) {
            levels[level]->quantize_row(x, PACKED_COLS, threshold, got, 1);
            assert_same_acts(expected, got, PACKED_COLS);
        }
        /* Part of a chunk. */
        const int32_t cols = BLOCK_COLS * (1 + round % 23);
        kernels_portable()->quantize_row(x, cols, threshold, expected, 1);
        for (int level = 0; level < n_levels; level++) {
            levels[level]->quantize_row(x, cols, threshold, got, 1);
            assert_same_acts(expected, got, cols);
        }
    }
}

/* Random rows of a type whose scales are ordinary numbers. */
static void random_rows(uint64_t *seed, DType type, uint8_t *rows, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) rows[i] = (uint8_t)random_bits(seed);
    const size_t block = dtype_info(type)->block_bytes;
    for (size_t i = 0; i < bytes; i += block) {
        /* Half-precision scales below 4: clear the upper exponent bits wherever they are. */
        const size_t at[] = {type == DT_Q2_K ? 80 : type == DT_Q3_K ? 108 : type == DT_Q6_K ? 208 : 0,
                             type == DT_Q2_K ? 82 : 2};
        const bool two = type == DT_Q2_K || type == DT_Q4_1 || type == DT_Q5_1 || type == DT_Q4_K || type == DT_Q5_K;
        if (type == DT_MXFP4) rows[i] = (uint8_t)(100 + rows[i] % 40);
        else if (type != DT_NVFP4)
            for (int k = 0; k < (two ? 2 : 1); k++) rows[i + at[k] + 1] &= 0xBF;
    }
}

static void packed_products_agree(void **state)
{
    (void)state;
    enum { ROWS = PANEL_ROWS + 13 };
    uint64_t seed = 6;
    static uint8_t rows[ROWS * PACKED_COLS * 2], panel[2 * PANEL_ROWS * PACKED_COLS * 2];
    static float x[MANY_ACTS][PACKED_COLS], w[PACKED_COLS];
    static _Alignas(64) ActChunk acts[PACKED_CHUNKS][MANY_ACTS];
    static _Alignas(64) PackedScratch scratch;
    for (int type = 0; type < DT_COUNT; type++) {
        const PackedFormat *format = packed_format((DType)type);
        if (format == NULL) continue;
        size_t row_bytes;
        assert_true(dtype_row_bytes((DType)type, PACKED_COLS, &row_bytes));
        /* Re-laid, a model may grow by a twentieth. */
        assert_true((double)packed_panel_bytes(format, PACKED_COLS) <= 1.05 * PANEL_ROWS * (double)row_bytes);
        for (int round = 0; round < 12; round++) {
            random_rows(&seed, (DType)type, rows, ROWS * row_bytes);
            uint8_t *second = panel + packed_panel_bytes(format, PACKED_COLS);
            packed_pack(format, rows, row_bytes, PANEL_ROWS, PACKED_COLS, panel);
            packed_pack(format, rows + PANEL_ROWS * row_bytes, row_bytes, ROWS - PANEL_ROWS, PACKED_COLS, second);
            const uint8_t *const panels[2] = {panel, second};
            const int most = round % 4 == 0 ? MANY_ACTS : MOST_ACTS;
            ActRows act_rows = {.stride = MANY_ACTS, .n = most};
            for (int a = 0; a < most; a++) {
                fill_acts(&seed, x[a], round == 11);
                kernels_portable()->quantize_row(x[a], PACKED_COLS, (float)(round % 3), &acts[0][a], MANY_ACTS);
                act_rows.first[a] = &acts[0][a];
            }
            static float expected[MANY_ACTS * PACKED_ROWS], got[MANY_ACTS * PACKED_ROWS];
            float *expected_rows[MANY_ACTS], *got_rows[MANY_ACTS];
            for (int a = 0; a < MANY_ACTS; a++) {
                expected_rows[a] = expected + a * PACKED_ROWS;
                got_rows[a] = got + a * PACKED_ROWS;
            }
            kernels_portable()->packed_multiply(format, panels, 2, PACKED_COLS, &act_rows, &scratch, expected_rows);
            for (int level = 0; level < n_levels; level++)
                for (int n = 1; n <= most; n += n < 10 ? 1 : n < MOST_ACTS ? 9 : MANY_ACTS - MOST_ACTS) {
                    act_rows.n = n;
                    levels[level]->packed_multiply(format, panels, 2, PACKED_COLS, &act_rows, &scratch, got_rows);
                    assert_same(expected, got, (size_t)n * PACKED_ROWS, dtype_info((DType)type)->name);
                    levels[level]->packed_multiply(format, panels, 1, PACKED_COLS, &act_rows, &scratch, got_rows);
                    for (int a = 0; a < n; a++)
                        assert_same(expected + a * PACKED_ROWS, got + a * PACKED_ROWS, PANEL_ROWS, "one panel");
                }
            if (round == 11 || round % 3 != 0) continue;
            /* Against the codec, in double. */
            for (int r = 0; r < ROWS; r++) {
                dtype_info((DType)type)->decode(rows + (size_t)r * row_bytes, w, PACKED_COLS);
                double exact = 0.0, magnitude = 0.0;
                for (int i = 0; i < PACKED_COLS; i++) {
                    exact += (double)w[i] * (double)x[3][i];
                    magnitude += fabs((double)w[i]) * 15.0;
                }
                if (!(fabs((double)expected[3 * PACKED_ROWS + r] - exact) <= 4e-5 * magnitude))
                    fail_msg("%s: %g, not %g", dtype_info((DType)type)->name,
                             (double)expected[3 * PACKED_ROWS + r], exact);
            }
        }
    }
}

/* ---- half-precision products ---- */

static void random_halves(uint64_t *seed, DType type, uint8_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* Rows whose blocks differ in size, with a zero here and there. */
        const float x = random_bits(seed) % 50 == 0 ? 0.0f : random_float(seed, ldexpf(1.0f, (int)(i / 100 % 7) - 5));
        dtype_info(type)->encode(&x, rows + 2 * i, 1);
    }
}

static void wide_products_agree(void **state)
{
    (void)state;
    enum { ROWS = WIDE_ROWS + 5 };
    static const DType types[] = {DT_F16, DT_BF16};
    uint64_t seed = 8;
    static _Alignas(2) uint8_t rows[ROWS * PACKED_COLS * 2];
    static uint8_t panel[2 * WIDE_ROWS * PACKED_COLS * 3];
    static float x[MOST_ACTS][PACKED_COLS], w[PACKED_COLS];
    static WideAct acts[MOST_ACTS][PACKED_COLS / WIDE_COLS], same[PACKED_COLS / WIDE_COLS];
    assert_true((double)wide_panel_bytes(PACKED_COLS) <= 1.05 * WIDE_ROWS * PACKED_COLS * 2);
    for (int round = 0; round < 12; round++) {
        const DType type = types[round % 2];
        const size_t row_bytes = PACKED_COLS * 2;
        random_halves(&seed, type, rows, (size_t)ROWS * PACKED_COLS);
        if (round == 10) memset(rows, 0xFF, 2); /* no number */
        uint8_t *second = panel + wide_panel_bytes(PACKED_COLS);
        wide_pack(dtype_info(type)->decode, rows, row_bytes, WIDE_ROWS, PACKED_COLS, panel);
        wide_pack(dtype_info(type)->decode, rows + WIDE_ROWS * row_bytes, row_bytes, ROWS - WIDE_ROWS, PACKED_COLS,
                  second);
        const uint8_t *const panels[2] = {panel, second};
        const WideAct *pointers[MOST_ACTS];
        for (int a = 0; a < MOST_ACTS; a++) {
            fill_acts(&seed, x[a], round == 11);
            kernels_portable()->wide_quantize(x[a], PACKED_COLS, acts[a]);
            pointers[a] = acts[a];
            for (int level = 0; level < n_levels; level++) {
                levels[level]->wide_quantize(x[a], PACKED_COLS, same);
                for (int b = 0; b < PACKED_COLS / WIDE_COLS; b++) {
                    assert_memory_equal(same[b].codes, acts[a][b].codes, sizeof same[b].codes);
                    assert_same(&same[b].scale, &acts[a][b].scale, 1, "wide_quantize's scale");
                }
            }
        }
        static float expected[PACKED_OUT], got[PACKED_OUT];
        kernels_portable()->wide_multiply(panels, 2, PACKED_COLS, pointers, MOST_ACTS, expected);
        for (int level = 0; level < n_levels; level++) {
            /* A level may keep more beside the codes. */
            for (int i = 0; i < MOST_ACTS; i++) levels[level]->wide_quantize(x[i], PACKED_COLS, acts[i]);
            for (int n = 1; n <= MOST_ACTS; n += n < 10 ? 1 : 9) {
                levels[level]->wide_multiply(panels, 2, PACKED_COLS, pointers, n, got);
                assert_same(expected, got, (size_t)n * PACKED_ROWS, "wide_multiply");
                levels[level]->wide_multiply(panels, 1, PACKED_COLS, pointers, n, got);
                for (int a = 0; a < n; a++)
                    assert_same(expected + a * PACKED_ROWS, got + a * PACKED_ROWS, WIDE_ROWS, "one panel");
            }
        }
        if (round == 10) assert_true(isnan(expected[0] - expected[0]));
        for (int r = 0; r < ROWS && round < 10; r++) {
            dtype_info(type)->decode(rows + (size_t)r * row_bytes, w, PACKED_COLS);
            double exact = 0.0, squares = 0.0;
            for (int i = 0; i < PACKED_COLS; i++) {
                exact += (double)w[i] * (double)x[3][i];
                squares += pow((double)w[i] * (double)x[3][i], 2.0);
            }
            const double error = fabs((double)expected[3 * PACKED_ROWS + r] - exact);
            if (!(error <= 2e-3 * sqrt(squares))) fail_msg("row %d is off by %g of %g", r, error, sqrt(squares));
        }
    }
}

/* Units in the last place between a float and the exact value. */
static double ulps(float got, double exact)
{
    const double scale = fabs(exact) < 0x1p-126 ? 0x1p-149 : ldexp(1.0, ilogb(exact) - 23);
    return fabs((double)got - exact) / scale;
}

static void elementary_functions_are_accurate(void **state)
{
    (void)state;
    const CpuKernels *kernels = kernels_portable();
    double worst_exp = 0.0, worst_tanh = 0.0, worst_sigmoid = 0.0, worst_silu = 0.0, worst_gelu = 0.0;
    for (float x = -103.0f; x < 88.0f; x += 0.00737f) {
        float y = x;
        kernels->exp_sum(&y, 0.0f, 1);
        worst_exp = fmax(worst_exp, ulps(y, exp((double)x)));
    }
    for (float x = -12.0f; x < 12.0f; x += 0.000737f) {
        float y = x;
        kernels->sigmoid(&y, 1);
        worst_sigmoid = fmax(worst_sigmoid, ulps(y, 1.0 / (1.0 + exp(-(double)x))));
        y = x;
        kernels->finish_logits(&y, 1.0f, NULL, 1.0f, 1);
        worst_tanh = fmax(worst_tanh, ulps(y, tanh((double)x)));
        const float one = 1.0f;
        kernels->activate(ACT_SILU, 0.0f, &x, &one, &y, 1);
        worst_silu = fmax(worst_silu, ulps(y, (double)x / (1.0 + exp(-(double)x))));
        kernels->activate(ACT_GELU_TANH, 0.0f, &x, &one, &y, 1);
        const double u = 0.7978845608028654 * ((double)x + 0.044715 * pow((double)x, 3.0));
        worst_gelu = fmax(worst_gelu, fabs((double)y - (double)x / (1.0 + exp(-2.0 * u))));
    }
    assert_true(worst_exp < 1.5);
    assert_true(worst_sigmoid < 4.0);
    assert_true(worst_tanh < 4.0);
    assert_true(worst_silu < 4.0);
    assert_true(worst_gelu < 1e-6);
    float huge[] = {89.5f, INFINITY, -INFINITY, -200.0f};
    kernels->exp_sum(huge, 0.0f, 4);
    assert_true(isinf(huge[0]) && isinf(huge[1]) && huge[2] == 0.0f && huge[3] == 0.0f);
}

static void the_model_of_tiles_was_used_as_a_processor_demands(void **state)
{
    (void)state;
    assert_int_equal(amx_model_faults(), 0);
    for (int level = 0; level < n_levels; level++)
        if (levels[level] == kernels_amx_model()) assert_true(amx_model_products() > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_agree),
        cmocka_unit_test(dot_tiles_agree),
        cmocka_unit_test(blocks_of_keys_agree),
        cmocka_unit_test(eight_bit_keys_are_close_and_the_same_everywhere),
        cmocka_unit_test(decoders_agree_with_codecs),
        cmocka_unit_test(fixed_point_is_close_and_the_same_everywhere),
        cmocka_unit_test(packed_products_agree),
        cmocka_unit_test(wide_products_agree),
        cmocka_unit_test(the_model_of_tiles_was_used_as_a_processor_demands),
        cmocka_unit_test(elementary_functions_are_accurate),
    };
    return cmocka_run_group_tests(tests, find_levels, NULL);
}
