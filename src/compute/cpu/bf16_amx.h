/*
 * bf16_amx.h - products of BF16 in tiles: 16 activation rows times a panel's 16 rows and 32 columns an instruction.
 *
 * Sums stay in tiles for all columns, or for a piece of them that is stored and loaded again, which is exact. Four tiles of sums, two
 * groups of rows times two panels, take four loads for four products. Of these, measured on an Emerald Rapids core at 2.6 GHz:
 *
 *     the products alone                           25 ns, as many as there can be
 *     operands in the first cache                  28
 *     in the second                                37: the floor of all that follows
 *     in the third                                 165, 40 for each kilobyte: nothing that is used again may lie there
 *     in the second, weights fetched from memory   39: what is asked for early enough costs nothing
 *
 * So where rows fit into the second cache they stay there, and pairs of panels pass over them (bf16_whole_panels); where they are too
 * long, a piece of some panels stays, and rows pass (bf16_piece).
 *
 * One group of rows, as in decoding, meets four panels at once, so that four chains of sums hide each other's latency. What a block
 * of products leaves goes to the output while the next block is multiplied.
 */
#ifndef IMP_COMPUTE_CPU_BF16_AMX_H
#define IMP_COMPUTE_CPU_BF16_AMX_H

#include "compute/cpu/amx_tiles.h"
#include "compute/cpu/bf16.h"
#include "compute/cpu/packed_amx.h"

enum {
    BF16_NEAR = 4,   /* tiles ahead that weights are asked for which are read once; further or nearer was slower */
    BF16_GROUP_BYTES = BF16_COLS * 2, /* a row's part of a tile of activations */
};

static void bf16_round_amx(const float *const rows[], int32_t n_rows, int64_t cols, uint16_t *out)
{
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7FFF), quiet = _mm512_set1_epi32(0x400000);
    for (int64_t first = 0; first < cols; first += BF16_COLS)
        for (int32_t r = 0; r < n_rows; r++, out += BF16_COLS)
            for (int i = 0; i < BF16_COLS; i += 16) {
                const __m512 x = _mm512_loadu_ps(rows[r] + first + i);
                const __m512i bits = _mm512_castps_si512(x);
                const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
                const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, half));
                const __m512i rounded = _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, quiet);
                _mm256_storeu_si256((__m256i *)(void *)(out + i), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
            }
}

/* ---- tiles ---- */

/* Of two groups: 0 … 3 sums, 4 and 5 activations, 6 and 7 weights. Of one: 0 … 3 sums, 4 activations, 5 … 7 weights. */
static void bf16_configure(int32_t first, int32_t second)
{
    const uint8_t one = (uint8_t)first, two = (uint8_t)(second > 0 ? second : first);
    TileConfig config = {
        .palette = 1,
        .rows = {one, one, two, two, one, second > 0 ? two : BF16_ROWS, BF16_ROWS, BF16_ROWS},
    };
    for (int t = 0; t < TILE_COUNT; t++) config.row_bytes[t] = TILE_ROW_BYTES;
    tile_configure(&config);
}

/* Sums of 16 rows and a panel. */
typedef float Bf16Tile[BF16_ROWS][BF16_ROWS];

static void bf16_zero(void)
{
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
}

static void bf16_load_sums(Bf16Tile sums[4])
{
    tile_load(0, sums[0], TILE_ROW_BYTES);
    tile_load(1, sums[1], TILE_ROW_BYTES);
    tile_load(2, sums[2], TILE_ROW_BYTES);
    tile_load(3, sums[3], TILE_ROW_BYTES);
}

static void bf16_store_sums(Bf16Tile sums[4])
{
    tile_store(0, sums[0], TILE_ROW_BYTES);
    tile_store(1, sums[1], TILE_ROW_BYTES);
    tile_store(2, sums[2], TILE_ROW_BYTES);
    tile_store(3, sums[3], TILE_ROW_BYTES);
}

/* What is asked for, for the second cache, while two operands are multiplied: `lines` a step, `offset` bytes behind each. */
typedef struct Bf16Ahead {
    ptrdiff_t offset;
    int lines;
} Bf16Ahead;

KERNEL_INLINE void bf16_fetch(const uint8_t *at[2], int lines)
{
    for (int i = 0; i < lines; i++)
        UNROLL for (int k = 0; k < 2; k++) {
            _mm_prefetch((const char *)at[k], _MM_HINT_T1);
            at[k] += 64;
        }
}

/* Two groups times two panels: sums 0 and 1 are of the first group. */
static void bf16_two_groups(const uint8_t *const acts[2], const size_t act_bytes[2], const uint8_t *const panels[2],
                            int64_t steps, Bf16Ahead weights, Bf16Ahead rows)
{
    const uint8_t *a0 = acts[0], *a1 = acts[1], *b0 = panels[0], *b1 = panels[1];
    const uint8_t *next_weights[2] = {b0 + weights.offset, b1 + weights.offset};
    const uint8_t *next_rows[2] = {a0 + rows.offset, a1 + rows.offset};
    for (int64_t step = 0; step < steps; step++) {
        tile_load(4, a0, BF16_GROUP_BYTES);
        tile_load(6, b0, BF16_GROUP_BYTES);
        tile_dot_bf16(0, 4, 6);
        tile_load(7, b1, BF16_GROUP_BYTES);
        tile_dot_bf16(1, 4, 7);
        tile_load(5, a1, BF16_GROUP_BYTES);
        tile_dot_bf16(2, 5, 6);
        tile_dot_bf16(3, 5, 7);
        bf16_fetch(next_weights, weights.lines);
        bf16_fetch(next_rows, rows.lines);
        a0 += act_bytes[0];
        a1 += act_bytes[1];
        b0 += BF16_TILE_BYTES;
        b1 += BF16_TILE_BYTES;
    }
}

/* One group times four panels. `next`: bytes from the end of a panel to the one that follows the four; 0: nothing is asked for. */
KERNEL_INLINE void bf16_one_group(const uint8_t *acts, size_t act_bytes, const uint8_t *const panels[4], int64_t steps,
                                  size_t next)
{
    const uint8_t *b0 = panels[0], *b1 = panels[1], *b2 = panels[2], *b3 = panels[3];
    for (int64_t step = 0; step < steps; step++) {
        tile_load(4, acts, BF16_GROUP_BYTES);
        tile_load(5, b0, BF16_GROUP_BYTES);
        tile_dot_bf16(0, 4, 5);
        tile_load(6, b1, BF16_GROUP_BYTES);
        tile_dot_bf16(1, 4, 6);
        tile_load(7, b2, BF16_GROUP_BYTES);
        tile_dot_bf16(2, 4, 7);
        tile_load(5, b3, BF16_GROUP_BYTES);
        tile_dot_bf16(3, 4, 5);
        if (next > 0) {
            const size_t ahead = BF16_NEAR * BF16_TILE_BYTES + (step + BF16_NEAR < steps ? 0 : next);
            UNROLL for (int line = 0; line < BF16_TILE_BYTES; line += 64) {
                _mm_prefetch((const char *)b0 + ahead + line, _MM_HINT_T1);
                _mm_prefetch((const char *)b1 + ahead + line, _MM_HINT_T1);
                _mm_prefetch((const char *)b2 + ahead + line, _MM_HINT_T1);
                _mm_prefetch((const char *)b3 + ahead + line, _MM_HINT_T1);
            }
        }
        acts += act_bytes;
        b0 += BF16_TILE_BYTES;
        b1 += BF16_TILE_BYTES;
        b2 += BF16_TILE_BYTES;
        b3 += BF16_TILE_BYTES;
    }
}

/* ---- what becomes of sums ---- */

/* A tile's sums of `n_acts` rows from `act` on and panel `panel` go to the output; there is no such panel: nowhere. */
static void bf16_finish(const Bf16Product *product, Bf16Tile sums, int32_t act, int32_t n_acts, int32_t panel)
{
    const int32_t first = panel * BF16_ROWS, left = product->n_rows - first;
    if (left <= 0) return;
    const __mmask16 mask = (__mmask16)(left < BF16_ROWS ? (1u << left) - 1 : 0xFFFF);
    const __m512 scale = _mm512_set1_ps(product->scale);
    const __m512 bias = product->bias != NULL ? _mm512_maskz_loadu_ps(mask, product->bias + first) : _mm512_setzero_ps();
    for (int32_t a = 0; a < n_acts; a++) {
        const int32_t row = product->y_rows != NULL ? product->y_rows[act + a] : act + a;
        const __m512 scaled = _mm512_mul_ps(_mm512_load_ps(sums[a]), scale);
        const __m512 y = product->bias != NULL ? _mm512_add_ps(scaled, bias) : scaled;
        _mm512_mask_storeu_ps(product->y + (size_t)row * product->y_stride + first, mask, y);
    }
}

/* ---- the loops ---- */

/* Some tiles of all panels: the first ones, or sums go on; the last ones, or sums are kept. */
typedef struct Bf16Part {
    const Bf16Product *product;
    int32_t n_panels;
    size_t panel_bytes;
    int64_t first, end;
    bool starts, ends;
} Bf16Part;

static const uint8_t *bf16_panel(const Bf16Part *part, int32_t panel)
{
    const int32_t last = part->n_panels - 1;
    return part->product->panels + (size_t)(panel < last ? panel : last) * part->panel_bytes +
           (size_t)part->first * BF16_TILE_BYTES;
}

static const uint8_t *bf16_group(const Bf16Part *part, int32_t act, int32_t n_acts)
{
    return (const uint8_t *)(part->product->acts + (size_t)act * (size_t)part->product->cols) +
           (size_t)part->first * (size_t)n_acts * BF16_GROUP_BYTES;
}

/* The sums' tiles of rows from `act` on and panels from `panel` on. */
static Bf16Tile *bf16_sums(const Bf16Part *part, int32_t act, int32_t panel, int32_t n_panels)
{
    const int32_t padded = (part->n_panels + 3) / 4 * 4;
    return part->product->sums->tiles + act / BF16_ROWS * padded + panel * (4 / n_panels);
}

/* The sums of a block that are not in the output yet, beside those of the next one. */
typedef struct Bf16Waiting {
    _Alignas(64) Bf16Tile tiles[2][4];
    int which, pair, block;
    bool any;
} Bf16Waiting;

/* Rows of a pair's second group. */
static int32_t bf16_second(const Bf16Part *part, int32_t pair)
{
    const int32_t left = part->product->n_acts - 2 * BF16_ROWS * pair - BF16_ROWS;
    return left < BF16_ROWS ? left : BF16_ROWS;
}

static void bf16_finish_waiting(const Bf16Part *part, Bf16Waiting *waiting)
{
    if (!waiting->any) return;
    const int32_t act = 2 * BF16_ROWS * waiting->pair;
    for (int32_t i = 0; i < 4; i++)
        bf16_finish(part->product, waiting->tiles[waiting->which][i], act + i / 2 * BF16_ROWS,
                    i < 2 ? BF16_ROWS : bf16_second(part, waiting->pair), 2 * waiting->block + i % 2);
    waiting->any = false;
}

/* A pair of groups times two panels. *configured: the rows of a pair's second group that tiles are configured for. */
static void bf16_block(const Bf16Part *part, int32_t pair, int32_t block, Bf16Ahead weights, Bf16Ahead rows, int32_t *configured,
                       Bf16Waiting *waiting)
{
    const int32_t act = 2 * BF16_ROWS * pair, second = bf16_second(part, pair);
    const uint8_t *const acts[2] = {bf16_group(part, act, BF16_ROWS), bf16_group(part, act + BF16_ROWS, second)};
    const size_t act_bytes[2] = {BF16_TILE_BYTES, (size_t)second * BF16_GROUP_BYTES};
    const uint8_t *const panels[2] = {bf16_panel(part, 2 * block), bf16_panel(part, 2 * block + 1)};
    Bf16Tile *sums = part->ends ? waiting->tiles[waiting->which ^ 1] : bf16_sums(part, act, 2 * block, 2);
    if (second != *configured) bf16_configure(BF16_ROWS, second);
    *configured = second;
    if (part->starts) bf16_zero();
    else bf16_load_sums(bf16_sums(part, act, 2 * block, 2));
    bf16_two_groups(acts, act_bytes, panels, part->end - part->first, weights, rows);
    bf16_store_sums(sums);
    bf16_finish_waiting(part, waiting);
    waiting->which ^= 1;
    waiting->pair = pair;
    waiting->block = block;
    waiting->any = part->ends;
}

/* Whole panels: two of them meet all rows, which the second cache holds, before the next two do. Those are fetched meanwhile. */
static void bf16_whole_panels(const Bf16Part *part, int32_t n_pairs)
{
    const int lines = n_pairs > 0 ? (16 + n_pairs - 1) / n_pairs : 0;
    int32_t configured = 0;
    Bf16Waiting waiting;
    waiting.any = false;
    waiting.which = 0;
    for (int32_t block = 0; block < (part->n_panels + 1) / 2; block++)
        for (int32_t pair = 0; pair < n_pairs; pair++) {
            const ptrdiff_t next = (ptrdiff_t)(2 * part->panel_bytes) + pair * part->end * lines * 64;
            const Bf16Ahead weights = {n_pairs == 1 ? BF16_NEAR * BF16_TILE_BYTES : next, lines};
            bf16_block(part, pair, block, weights, (Bf16Ahead){0, 0}, &configured, &waiting);
        }
    bf16_finish_waiting(part, &waiting);
}

/* A piece of all panels, which the second cache holds: two groups of rows meet it before the next two do. Those are fetched meanwhile,
 * and the next piece of the panels. */
static void bf16_piece(const Bf16Part *part, int32_t n_pairs)
{
    const int32_t blocks = (part->n_panels + 1) / 2;
    const int64_t steps = part->end - part->first;
    const int act_lines = (16 + blocks - 1) / blocks, panel_lines = (16 + n_pairs - 1) / n_pairs; /* a piece: there are pairs */
    const ptrdiff_t next_acts = (ptrdiff_t)(2 * BF16_ROWS) * part->product->cols * 2;
    const ptrdiff_t next_panels = part->ends ? (ptrdiff_t)((size_t)part->n_panels * part->panel_bytes) -
                                                   part->first * BF16_TILE_BYTES
                                             : steps * BF16_TILE_BYTES;
    int32_t configured = 0;
    Bf16Waiting waiting;
    waiting.any = false;
    waiting.which = 0;
    for (int32_t pair = 0; pair < n_pairs; pair++)
        for (int32_t block = 0; block < blocks; block++) {
            const Bf16Ahead weights = {next_panels + pair * steps * panel_lines * 64, panel_lines};
            const Bf16Ahead rows = {next_acts + block * steps * act_lines * 64, act_lines};
            bf16_block(part, pair, block, weights, rows, &configured, &waiting);
        }
    bf16_finish_waiting(part, &waiting);
}

static void bf16_last_group(const Bf16Part *part, int32_t act, int32_t n_acts)
{
    const Bf16Product *product = part->product;
    const int64_t steps = part->end - part->first;
    const uint8_t *acts = bf16_group(part, act, n_acts);
    _Alignas(64) Bf16Tile last[4];
    for (int32_t block = 0; block < (part->n_panels + 3) / 4; block++) {
        const uint8_t *panels[4];
        for (int32_t i = 0; i < 4; i++) panels[i] = bf16_panel(part, 4 * block + i);
        Bf16Tile *sums = part->ends ? last : bf16_sums(part, act, 4 * block, 4);
        if (part->starts) bf16_zero();
        else bf16_load_sums(bf16_sums(part, act, 4 * block, 4));
        const size_t act_bytes = (size_t)n_acts * BF16_GROUP_BYTES;
        if (act == 0) bf16_one_group(acts, act_bytes, panels, steps, 3 * part->panel_bytes);
        else bf16_one_group(acts, act_bytes, panels, steps, 0);
        bf16_store_sums(sums);
        for (int32_t i = 0; i < 4 && part->ends; i++) bf16_finish(product, sums[i], act, n_acts, 4 * block + i);
    }
}

static void bf16_part(const Bf16Part *part)
{
    const int32_t n_acts = part->product->n_acts, n_pairs = (n_acts + BF16_ROWS - 1) / BF16_ROWS / 2;
    if (part->starts && part->ends) bf16_whole_panels(part, n_pairs);
    else bf16_piece(part, n_pairs);
    const int32_t rest = n_acts - 2 * BF16_ROWS * n_pairs;
    if (rest <= 0) return;
    bf16_configure(rest, 0);
    bf16_last_group(part, n_acts - rest, rest);
}

static void bf16_multiply_amx(const Bf16Product *product)
{
    const int64_t tiles = product->cols / BF16_COLS, piece = product->n_acts > BF16_WHOLE ? BF16_PIECE : tiles;
    Bf16Part part = {.product = product, .n_panels = (product->n_rows + BF16_ROWS - 1) / BF16_ROWS};
    part.panel_bytes = bf16_panel_bytes(product->cols);
    for (part.first = 0; part.first < tiles; part.first = part.end) {
        part.end = tiles - part.first < piece ? tiles : part.first + piece;
        part.starts = part.first == 0;
        part.ends = part.end == tiles;
        bf16_part(&part);
    }
    tile_release();
}

#endif
