/*
 * packed.h - quantized weights as the kernels want them, and activations to multiply them with.
 *
 * A panel is 16 rows side by side, cut into blocks of 32 columns. The codes of a block are unsigned bytes, once expanded:
 * code [g][row][4] is column 4 g + i of a row, so that one 64-byte vector holds four columns of all rows and one integer
 * dot-product instruction (VNNI) advances all 16 sums. A panel keeps the codes in the file's bits (nibbles, bit planes)
 * and the scales in the file's precision, so re-laying costs next to no memory:
 *
 *     panel = superblocks of `super` columns: [d: f16 x 16] [m: f16 x 16], then for each block of 32 columns
 *             [group scales: 16 bytes a half] [group minima: 16 bytes a half] [codes: 64 bytes a bit]
 *
 *     value(row, column) = scale * (code - offset) - minimum     or, for the table formats, scale * (table[code] - offset)
 *
 * Activations become 16-bit fixed point, kept as a high and a low plane of signed bytes. 256 columns, a chunk, share a
 * float32 scale; each block of 32 has a power of two beside it, as small as holds its largest element, and the scale is the
 * one of those at hand that makes the squares of all steps together least. Plain 8 bits are not enough: on SmolLM2 (Q4_1)
 * they move a token's log-probability by 0.089 (standard deviation against float32), perplexity by 0.4 %, and change the
 * first word of an answer. Most of that error comes from few blocks, those with large elements: every block whose largest
 * element is above `fine_threshold` times the row's root mean square of block maxima is fine (16 bits), the others get by
 * with the high plane. Which blocks are fine depends on the row and the model alone (cpu_backend.c has the choice and its
 * numbers).
 *
 * A sum over k: integers inside a block (or half a block where scales cover 16 columns), exact in any order; then, in a
 * chunk, sum = fma(float(integer) * power of two, weight scale, sum), which rounds once, and the minima likewise, blocks
 * ascending; then total = fma(sum, chunk's scale, total). A power of two costs no multiplier where there is an instruction for
 * it, and multipliers are what a product waits for. The low planes of fine blocks have a sum of their own, added at the end:
 * many rows' high planes are multiplied without asking which of them are fine. Where all blocks are (a model whose threshold
 * is 0), the planes are joined instead: 256 * high + low is one integer and there is one sum.
 */
#ifndef IMP_COMPUTE_CPU_PACKED_H
#define IMP_COMPUTE_CPU_PACKED_H

#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PANEL_ROWS = 16, BLOCK_COLS = 32, BLOCK_CODES = PANEL_ROWS * BLOCK_COLS };

typedef enum ScaleKind {
    SCALE_D,        /* d */
    SCALE_D_GROUP,  /* d * group byte (signed) */
    SCALE_D_NIBBLE, /* d * low nibble of the group byte; minimum dmin * high nibble */
    SCALE_E8M0,     /* half of 2^(group byte - 127) */
    SCALE_UE4M3,    /* half of the group byte as E4M3 */
} ScaleKind;

typedef struct PackedFormat {
    DType type;
    uint8_t bits;           /* of a code: 2, 3, 4, 5, 6, 8 */
    uint8_t halves;         /* scales cover 32 (1) or 16 (2) columns */
    ScaleKind scale;
    bool has_min;           /* m in the header; with group scales, a group byte of minima too */
    bool adds_min;          /* value = scale * code + m, not - m */
    uint8_t offset_shift;   /* offset = 1 << offset_shift; 0: none */
    const uint8_t *table;   /* [16] code of a nibble, NULL: the nibble itself */
    uint16_t super;         /* columns that share a header */
    uint16_t header_bytes;  /* of a superblock of a panel */
    uint16_t group_bytes;   /* of a block: scales and minima */
    uint16_t block_bytes;   /* of a block: group bytes and codes */
} PackedFormat;

/* Bytes of a block's codes. */
#define CODE_BYTES(bits) ((bits) * BLOCK_CODES / 8)

/* The tables of quant/codec_lut.c, moved up by 128 and 16 to be unsigned. */
static const uint8_t iq4_codes[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t e2m1_codes[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

/* All formats: type, bits, halves, scale, has_min, adds_min, offset_shift, table, super, header bytes, group bytes. */
#define PACKED_FORMATS(X)                                                                                              \
    X(Q4_0, 4, 1, SCALE_D, false, false, 3, NULL, 32, 32, 0)                                                           \
    X(Q4_1, 4, 1, SCALE_D, true, true, 0, NULL, 32, 64, 0)                                                             \
    X(Q5_0, 5, 1, SCALE_D, false, false, 4, NULL, 32, 32, 0)                                                           \
    X(Q5_1, 5, 1, SCALE_D, true, true, 0, NULL, 32, 64, 0)                                                             \
    X(Q8_0, 8, 1, SCALE_D, false, false, 7, NULL, 32, 32, 0)                                                           \
    X(Q2_K, 2, 2, SCALE_D_NIBBLE, true, false, 0, NULL, 256, 64, 32)                                                   \
    X(Q3_K, 3, 2, SCALE_D_GROUP, false, false, 2, NULL, 256, 32, 32)                                                   \
    X(Q4_K, 4, 1, SCALE_D_GROUP, true, false, 0, NULL, 256, 64, 32)                                                    \
    X(Q5_K, 5, 1, SCALE_D_GROUP, true, false, 0, NULL, 256, 64, 32)                                                    \
    X(Q6_K, 6, 2, SCALE_D_GROUP, false, false, 5, NULL, 256, 32, 32)                                                   \
    X(IQ4_NL, 4, 1, SCALE_D, false, false, 7, iq4_codes, 32, 32, 0)                                                    \
    X(IQ4_XS, 4, 1, SCALE_D_GROUP, false, false, 7, iq4_codes, 256, 32, 16)                                            \
    X(MXFP4, 4, 1, SCALE_E8M0, false, false, 4, e2m1_codes, 32, 0, 16)                                                 \
    X(NVFP4, 4, 2, SCALE_UE4M3, false, false, 4, e2m1_codes, 64, 0, 32)

#define PACKED_FORMAT(name, bits_, halves_, scale_, min_, adds_, shift_, table_, super_, header_, group_)              \
    {.type = DT_##name, .bits = (bits_), .halves = (halves_), .scale = (scale_), .has_min = (min_),                    \
     .adds_min = (adds_), .offset_shift = (shift_), .table = (table_), .super = (super_), .header_bytes = (header_),   \
     .group_bytes = (group_), .block_bytes = (group_) + CODE_BYTES(bits_)}

/* NULL for a type that is multiplied as float32. */
const PackedFormat *packed_format(DType type);

/* Bytes of a panel over `cols` columns, a whole number of superblocks. */
static inline size_t packed_panel_bytes(const PackedFormat *format, int64_t cols)
{
    const size_t supers = (size_t)cols / format->super;
    return supers * (format->header_bytes + (size_t)(format->super / BLOCK_COLS) * format->block_bytes);
}

/* Re-lays `n_rows` <= PANEL_ROWS rows of a file, `row_bytes` apart; missing rows repeat the last. */
void packed_pack(const PackedFormat *format, const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols,
                 uint8_t *panel);

/* Blocks that are processed together: a superblock, where a format has some of 256 columns. */
enum { CHUNK_BLOCKS = 8, CHUNK_COLS = CHUNK_BLOCKS * BLOCK_COLS };

/* A block with everything expanded. */
typedef struct PlainBlock {
    _Alignas(64) uint8_t codes[BLOCK_CODES]; /* [8][PANEL_ROWS][4] */
    float scale[2][PANEL_ROWS];              /* by half; the first alone when scales cover the block */
    float minimum[2][PANEL_ROWS];            /* added to scale * code; of formats with has_min */
} PlainBlock;

/* A panel's part of a chunk. */
typedef struct PlainChunk {
    PlainBlock blocks[CHUNK_BLOCKS];
} PlainChunk;

/* Expands block `block` of a panel: the reference. */
void packed_expand(const PackedFormat *format, const uint8_t *panel, int64_t block, PlainBlock *out);

/* Kernels that expand codes to memory give all formats with an offset this one. */
enum { ACT_OFFSET_SHIFT = 7, ACT_OFFSET = 1 << ACT_OFFSET_SHIFT };

/* Up to CHUNK_COLS activations of a row. Joined: value = scale * 2^exponent * (256 * high + low). Otherwise value =
 * scale * 2^exponent * high, in fine blocks + low_scale * low. Parts (act_part) are the blocks, then their halves.
 * `high` is never -128, which has no opposite among bytes: packed_avx2.h relies on it. `low` may be. */
typedef struct ActChunk {
    int8_t high[CHUNK_COLS];
    float exponent[CHUNK_BLOCKS];         /* whole numbers */
    float scale;
    uint32_t fine;                        /* bit b: block b has a low plane */
    uint32_t joined;                      /* all rows that are multiplied together agree in it */
    uint32_t unused[5];                   /* what all products need fills whole cache lines, then comes what some need */
    int32_t minus_high[3 * CHUNK_BLOCKS]; /* ACT_OFFSET times minus the sums of `high` over each part */
    float sum[3 * CHUNK_BLOCKS];          /* sums of the values, divided by `scale` */
    int8_t low[CHUNK_COLS];               /* this and what follows: of fine blocks, others are not written */
    float low_scale[CHUNK_BLOCKS];
    int32_t minus_low[3 * CHUNK_BLOCKS];
} ActChunk;

/* Where a chunk keeps what belongs to block b, or to one of its halves where scales cover half a block. */
static inline int act_part(int halves, int b, int half) { return halves == 1 ? b : CHUNK_BLOCKS + 2 * b + half; }

static inline int32_t act_chunks(int64_t cols) { return (int32_t)((cols + CHUNK_COLS - 1) / CHUNK_COLS); }

#endif
