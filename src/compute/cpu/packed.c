/*
 * packed.c - the table of packed formats, re-laying into them, and the plain way back.
 *
 * Re-laying goes through the plain form of a block: every row's 32 codes are taken out of the file's block into bytes
 * [g][row][4], then squeezed into nibbles and bit planes, a loop over 64-byte vectors that compilers vectorize.
 */
#include "compute/cpu/packed.h"

#include "quant/float_bits.h"

#include <string.h>

enum { VECTOR = PANEL_ROWS * 4, VECTORS = BLOCK_COLS / 4 };

/* ---- the table ---- */

#define TABLE_ENTRY(name, ...) [DT_##name] = PACKED_FORMAT(name, __VA_ARGS__),

static const PackedFormat formats[DT_COUNT] = {PACKED_FORMATS(TABLE_ENTRY)};

const PackedFormat *packed_format(DType type)
{
    return formats[type].bits != 0 ? &formats[type] : NULL;
}

/* ---- out of the file ---- */

/* One superblock of one row: where each block's codes go is the caller's business. */
typedef struct RawSuper {
    uint16_t d, m;            /* halves as they are in the file */
    uint8_t scale[16], min[16]; /* group bytes, by half block */
    uint8_t codes[8][BLOCK_COLS];
} RawSuper;

static uint16_t read_u16(const uint8_t *bytes) { return (uint16_t)(bytes[0] | (uint16_t)bytes[1] << 8); }

/* `half` bytes: the low nibbles come first, then the high ones. */
static void take_nibbles(const uint8_t *in, uint8_t *out, int half)
{
    for (int i = 0; i < half; i++) {
        out[i] = in[i] & 0x0F;
        out[half + i] = in[i] >> 4;
    }
}

static void take_fifth_bits(const uint8_t *bits, uint8_t *codes)
{
    for (int i = 0; i < BLOCK_COLS; i++) codes[i] |= (uint8_t)((bits[i / 8] >> (i % 8) & 1) << 4);
}

static void take_plain(DType type, const uint8_t *block, RawSuper *out)
{
    out->d = read_u16(block);
    switch (type) {
    case DT_Q4_0:
    case DT_IQ4_NL: take_nibbles(block + 2, out->codes[0], 16); break;
    case DT_Q4_1:
        out->m = read_u16(block + 2);
        take_nibbles(block + 4, out->codes[0], 16);
        break;
    case DT_Q5_0:
        take_nibbles(block + 6, out->codes[0], 16);
        take_fifth_bits(block + 2, out->codes[0]);
        break;
    case DT_Q5_1:
        out->m = read_u16(block + 2);
        take_nibbles(block + 8, out->codes[0], 16);
        take_fifth_bits(block + 4, out->codes[0]);
        break;
    case DT_MXFP4:
        out->scale[0] = block[0];
        take_nibbles(block + 1, out->codes[0], 16);
        break;
    case DT_NVFP4:
        memcpy(out->scale, block, 4);
        for (int group = 0; group < 4; group++) take_nibbles(block + 4 + group * 8, &out->codes[0][0] + group * 16, 8);
        break;
    default: /* Q8_0: signed bytes, moved up by 128 */
        for (int i = 0; i < BLOCK_COLS; i++) out->codes[0][i] = block[2 + i] ^ 0x80;
    }
}

/* Two bits of 32 columns from 32 bytes, `shift` bits up. */
static void take_pairs(const uint8_t *in, int shift, uint8_t *out)
{
    for (int i = 0; i < BLOCK_COLS; i++) out[i] = in[i] >> shift & 3;
}

static void take_q2_k(const uint8_t *block, RawSuper *out)
{
    out->d = read_u16(block + 80);
    out->m = read_u16(block + 82);
    memcpy(out->scale, block, 16);
    for (int b = 0; b < 8; b++) take_pairs(block + 16 + b / 4 * 32, b % 4 * 2, out->codes[b]);
}

static void take_q3_k(const uint8_t *block, RawSuper *out)
{
    const uint8_t *scales = block + 96;
    out->d = read_u16(block + 108);
    for (int group = 0; group < 16; group++) {
        const int low = scales[group % 8] >> (group / 8 * 4) & 0x0F, high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
        out->scale[group] = (uint8_t)((low | high << 4) - 32);
    }
    for (int b = 0; b < 8; b++) {
        take_pairs(block + 32 + b / 4 * 32, b % 4 * 2, out->codes[b]);
        for (int i = 0; i < BLOCK_COLS; i++) out->codes[b][i] |= (uint8_t)((block[i] >> b & 1) << 2);
    }
}

/* Q4_K and Q5_K share everything but the fifth bits. */
static void take_q45_k(const uint8_t *block, bool fifth, RawSuper *out)
{
    const uint8_t *scales = block + 4, *high = block + 16, *quants = fifth ? block + 48 : block + 16;
    out->d = read_u16(block);
    out->m = read_u16(block + 2);
    for (int g = 0; g < 8; g++) {
        out->scale[2 * g] = g < 4 ? scales[g] & 0x3F
                                  : (uint8_t)((scales[g + 4] & 0x0F) | (scales[g - 4] >> 6) << 4);
        out->min[2 * g] = g < 4 ? scales[g + 4] & 0x3F : (uint8_t)(scales[g + 4] >> 4 | (scales[g] >> 6) << 4);
        for (int i = 0; i < BLOCK_COLS; i++) out->codes[g][i] = quants[g / 2 * 32 + i] >> (g % 2 * 4) & 0x0F;
        for (int i = 0; i < BLOCK_COLS && fifth; i++) out->codes[g][i] |= (uint8_t)((high[i] >> g & 1) << 4);
    }
}

static void take_q6_k(const uint8_t *block, RawSuper *out)
{
    out->d = read_u16(block + 208);
    memcpy(out->scale, block + 192, 16);
    for (int b = 0; b < 8; b++) {
        const uint8_t *low = block + b / 4 * 64 + b % 2 * 32, *high = block + 128 + b / 4 * 32;
        const int low_shift = b % 4 / 2 * 4, high_shift = b % 4 * 2;
        for (int i = 0; i < BLOCK_COLS; i++)
            out->codes[b][i] = (uint8_t)((low[i] >> low_shift & 0x0F) | (high[i] >> high_shift & 3) << 4);
    }
}

static void take_iq4_xs(const uint8_t *block, RawSuper *out)
{
    out->d = read_u16(block);
    const unsigned high = read_u16(block + 2);
    for (int g = 0; g < 8; g++) {
        const unsigned low = block[4 + g / 2] >> (g % 2 * 4) & 0x0F;
        out->scale[2 * g] = (uint8_t)((low | (high >> (g * 2) & 3) << 4) - 32);
        take_nibbles(block + 8 + g * 16, out->codes[g], 16);
    }
}

static void take_super(DType type, const uint8_t *block, RawSuper *out)
{
    switch (type) {
    case DT_Q2_K: take_q2_k(block, out); break;
    case DT_Q3_K: take_q3_k(block, out); break;
    case DT_Q4_K: take_q45_k(block, false, out); break;
    case DT_Q5_K: take_q45_k(block, true, out); break;
    case DT_Q6_K: take_q6_k(block, out); break;
    case DT_IQ4_XS: take_iq4_xs(block, out); break;
    default: take_plain(type, block, out);
    }
}

/* ---- into the panel ---- */

/* Bits shift … shift + width - 1 of the codes: 8 / width vectors share one. */
static void squeeze(const uint8_t *codes, int shift, int width, uint8_t *out)
{
    const int together = 8 / width, mask = (1 << width) - 1;
    for (int v = 0; v < VECTORS / together; v++) {
        uint8_t *vector = out + v * VECTOR;
        memset(vector, 0, VECTOR);
        for (int t = 0; t < together; t++) {
            const uint8_t *from = codes + (v * together + t) * VECTOR;
            for (int i = 0; i < VECTOR; i++) vector[i] |= (uint8_t)((from[i] >> shift & mask) << (t * width));
        }
    }
}

static void write_codes(int bits, const uint8_t *codes, uint8_t *out)
{
    switch (bits) {
    case 8: memcpy(out, codes, BLOCK_CODES); break;
    case 6:
        squeeze(codes, 0, 4, out);
        squeeze(codes, 4, 2, out + CODE_BYTES(4));
        break;
    case 5:
        squeeze(codes, 0, 4, out);
        squeeze(codes, 4, 1, out + CODE_BYTES(4));
        break;
    case 4: squeeze(codes, 0, 4, out); break;
    case 3:
        squeeze(codes, 0, 2, out);
        squeeze(codes, 2, 1, out + CODE_BYTES(2));
        break;
    default: squeeze(codes, 0, 2, out);
    }
}

static void write_u16(uint8_t *out, uint16_t value) { memcpy(out, &value, sizeof value); }

void packed_pack(const PackedFormat *format, const uint8_t *rows, size_t row_bytes, int32_t n_rows, int64_t cols,
                 uint8_t *panel)
{
    const int blocks = format->super / BLOCK_COLS;
    const size_t raw_bytes = dtype_info(format->type)->block_bytes;
    RawSuper raw[PANEL_ROWS];
    memset(raw, 0, sizeof raw);
    for (int64_t s = 0; s < cols / format->super; s++) {
        for (int32_t r = 0; r < PANEL_ROWS; r++) {
            const int32_t row = r < n_rows ? r : n_rows - 1;
            take_super(format->type, rows + (size_t)row * row_bytes + (size_t)s * raw_bytes, &raw[r]);
            if (format->header_bytes > 0) write_u16(panel + 2 * r, raw[r].d);
            if (format->header_bytes > 32) write_u16(panel + 32 + 2 * r, raw[r].m);
        }
        panel += format->header_bytes;
        for (int b = 0; b < blocks; b++, panel += format->block_bytes) {
            uint8_t codes[BLOCK_CODES];
            for (int32_t r = 0; r < PANEL_ROWS; r++) {
                for (int g = 0; g < VECTORS; g++) memcpy(codes + g * VECTOR + r * 4, raw[r].codes[b] + g * 4, 4);
                /* 16 bytes of scales a half, or one of scales and one of minima. */
                if (format->group_bytes > 0) panel[r] = raw[r].scale[format->super > 32 ? 2 * b : b];
                if (format->group_bytes > 16)
                    panel[16 + r] = format->halves == 2 ? raw[r].scale[2 * b + 1] : raw[r].min[2 * b];
            }
            write_codes(format->bits, codes, panel + format->group_bytes);
        }
    }
}

/* ---- and back ---- */

/* Adds the bits that `squeeze` put away. */
static void expand(const uint8_t *in, int shift, int width, uint8_t *codes)
{
    const int together = 8 / width, mask = (1 << width) - 1;
    for (int v = 0; v < VECTORS; v++)
        for (int i = 0; i < VECTOR; i++)
            codes[v * VECTOR + i] |=
                (uint8_t)((in[v / together * VECTOR + i] >> (v % together * width) & mask) << shift);
}

static void read_codes(const PackedFormat *format, const uint8_t *in, uint8_t *codes)
{
    static const uint8_t low_bits[9] = {[2] = 2, [3] = 2, [4] = 4, [5] = 4, [6] = 4, [8] = 8};
    const int low = low_bits[format->bits], high = format->bits - low;
    memset(codes, 0, BLOCK_CODES);
    if (low == 8) memcpy(codes, in, BLOCK_CODES);
    else expand(in, 0, low, codes);
    if (high > 0) expand(in + CODE_BYTES(low), low, high, codes);
    if (format->table != NULL)
        for (int i = 0; i < BLOCK_CODES; i++) codes[i] = format->table[codes[i]];
}

static float e8m0_half(uint8_t code)
{
    return f32_from_bits(code < 2 ? 0x00200000u << code : (uint32_t)(code - 1) << 23);
}

static float ue4m3_half(uint8_t code)
{
    return code == 0x7F ? 0.0f : f32_from_bits((uint32_t)(code & 0x7F) << 20) * 0x1p119f;
}

static float read_f16(const uint8_t *bytes) { return f16_to_f32(read_u16(bytes)); }

void packed_expand(const PackedFormat *format, const uint8_t *panel, int64_t block, PlainBlock *out)
{
    const int blocks = format->super / BLOCK_COLS;
    const size_t super_bytes = format->header_bytes + (size_t)blocks * format->block_bytes;
    const uint8_t *header = panel + (size_t)(block / blocks) * super_bytes;
    const uint8_t *group = header + format->header_bytes + (size_t)(block % blocks) * format->block_bytes;
    read_codes(format, group + format->group_bytes, out->codes);
    for (int r = 0; r < PANEL_ROWS; r++) {
        const float d = format->header_bytes > 0 ? read_f16(header + 2 * r) : 0.0f;
        const float m = format->has_min ? read_f16(header + 32 + 2 * r) : 0.0f;
        for (int half = 0; half < format->halves; half++) {
            const uint8_t byte = format->group_bytes > 0 ? group[16 * half + r] : 0;
            float scale = d, minimum = format->adds_min ? m : -m;
            switch (format->scale) {
            case SCALE_D: break;
            case SCALE_D_GROUP:
                scale = d * (float)(int8_t)byte;
                if (format->has_min) minimum = minimum * (float)group[16 + r];
                break;
            case SCALE_D_NIBBLE:
                scale = d * (float)(byte & 0x0F);
                minimum = minimum * (float)(byte >> 4);
                break;
            case SCALE_E8M0: scale = e8m0_half(byte); break;
            case SCALE_UE4M3: scale = ue4m3_half(byte); break;
            }
            out->scale[half][r] = scale;
            out->minimum[half][r] = minimum;
        }
    }
}
