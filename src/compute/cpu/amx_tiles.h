/*
 * amx_tiles.h - the tile instructions that kernels use, behind names of their own, so that a machine without them can run a
 * model of them: with IMP_TILE_MODEL they are plain C after the pseudo-code of Intel's Software Developer's Manual, and note
 * in tile_faults what the processor would refuse. Tests compile the kernels a second time that way.
 *
 * Tiles are named by constants 0 … 7. A configuration belongs to a thread and lasts until tile_release.
 */
#ifndef IMP_COMPUTE_CPU_AMX_TILES_H
#define IMP_COMPUTE_CPU_AMX_TILES_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { TILE_COUNT = 8, TILE_ROWS = 16, TILE_ROW_BYTES = 64 };

/* The operand of LDTILECFG. */
typedef struct TileConfig {
    uint8_t palette; /* 1 */
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[TILE_ROWS]; /* of each tile; those past the last tile 0 */
    uint8_t rows[TILE_ROWS];
} TileConfig;

#ifndef IMP_TILE_MODEL

#include <cpuid.h>

/* Whether a processor with tiles multiplies BF16 in them. */
static inline bool tile_has_bf16(void)
{
    enum { AMX_BF16_BIT = 1 << 22 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & AMX_BF16_BIT) != 0;
}

/* gcc 12 believes that the instruction reads 8 bytes, and drops the stores to the others without the barrier. */
static inline void tile_configure(const TileConfig *config)
{
    __asm__ volatile("" : : "r"(config) : "memory");
    _tile_loadconfig(config);
}

static inline void tile_release(void) { _tile_release(); }

#define tile_zero(tile) _tile_zero(tile)
/* Not _tile_loadd: gcc 12 does not know that it reads memory, and may drop or move the stores before it. */
#define tile_load(tile, base, stride)                                                                                  \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"((const void *)(base)), "r"((size_t)(stride)) : "memory")
#define tile_store(tile, base, stride) _tile_stored(tile, base, stride)
/* to[m][n] += sum over k of a[m][k] * b[k][n], k by fours: signed bytes. */
#define tile_dot_s8(to, a, b) _tile_dpbssd(to, a, b)
/* to[m][n] += sum over k of a[m][k] * b[k][n], k by pairs: BF16, float32 sums. */
#define tile_dot_bf16(to, a, b) _tile_dpbf16ps(to, a, b)

#else

typedef struct TileState {
    TileConfig config;
    uint8_t bytes[TILE_COUNT][TILE_ROWS][TILE_ROW_BYTES];
} TileState;

static _Thread_local TileState tile_state;
static _Thread_local int tile_faults, tile_products;

static inline bool tile_has_bf16(void) { return true; }

static inline void tile_configure(const TileConfig *config)
{
    tile_state.config = *config;
    memset(tile_state.bytes, 0, sizeof tile_state.bytes);
    tile_faults += config->palette != 1 || config->start_row != 0;
    for (int i = 0; i < 14; i++) tile_faults += config->reserved[i] != 0;
    for (int t = 0; t < TILE_ROWS; t++) {
        const int bytes = config->row_bytes[t], rows = config->rows[t];
        if (t < TILE_COUNT) tile_faults += bytes > TILE_ROW_BYTES || rows > TILE_ROWS || (bytes == 0) != (rows == 0);
        else tile_faults += bytes != 0 || rows != 0;
    }
}

static inline void tile_release(void)
{
    tile_faults += tile_state.config.palette == 0;
    memset(&tile_state, 0, sizeof tile_state);
}

static inline void tile_zero(int tile)
{
    tile_faults += tile_state.config.rows[tile] == 0;
    memset(tile_state.bytes[tile], 0, sizeof tile_state.bytes[tile]);
}

static inline void tile_load(int tile, const void *base, size_t stride)
{
    tile_zero(tile);
    for (int row = 0; row < tile_state.config.rows[tile]; row++)
        memcpy(tile_state.bytes[tile][row], (const uint8_t *)base + (size_t)row * stride,
               tile_state.config.row_bytes[tile]);
}

static inline void tile_store(int tile, void *base, size_t stride)
{
    tile_faults += tile_state.config.rows[tile] == 0;
    for (int row = 0; row < tile_state.config.rows[tile]; row++)
        memcpy((uint8_t *)base + (size_t)row * stride, tile_state.bytes[tile][row], tile_state.config.row_bytes[tile]);
}

/* What products demand of their tiles' shapes. */
static inline void tile_check_product(const TileConfig *config, int to, int a, int b)
{
    tile_products++;
    tile_faults += to == a || to == b || a == b;
    tile_faults += config->rows[to] != config->rows[a] || config->row_bytes[to] != config->row_bytes[b];
    tile_faults += config->row_bytes[a] / 4 != config->rows[b] || config->row_bytes[a] % 4 != 0;
    tile_faults += config->row_bytes[to] % 4 != 0 || config->rows[to] == 0;
}

static inline void tile_dot_s8(int to, int a, int b)
{
    const TileConfig *config = &tile_state.config;
    tile_check_product(config, to, a, b);
    for (int m = 0; m < config->rows[to]; m++) {
        int32_t sums[TILE_ROW_BYTES / 4] = {0};
        memcpy(sums, tile_state.bytes[to][m], config->row_bytes[to]);
        for (int k = 0; k < config->row_bytes[a] / 4; k++)
            for (int n = 0; n < config->row_bytes[to] / 4; n++)
                for (int i = 0; i < 4; i++)
                    sums[n] += (int8_t)tile_state.bytes[a][m][4 * k + i] * (int8_t)tile_state.bytes[b][k][4 * n + i];
        memcpy(tile_state.bytes[to][m], sums, config->row_bytes[to]);
    }
    for (int m = config->rows[to]; m < TILE_ROWS; m++) memset(tile_state.bytes[to][m], 0, TILE_ROW_BYTES);
}

/* Subnormals count as zero, in what goes in and in what comes out. */
static inline float tile_flush(float x)
{
    return x > -0x1p-126f && x < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static inline float tile_bf16(const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 24;
    float x;
    memcpy(&x, &bits, sizeof x);
    return tile_flush(x);
}

static inline void tile_dot_bf16(int to, int a, int b)
{
    enum { MOST = TILE_ROW_BYTES / 4 };
    const TileConfig *config = &tile_state.config;
    tile_check_product(config, to, a, b);
    for (int m = 0; m < config->rows[to]; m++) {
        float chains[2][MOST] = {{0.0f}}, sums[MOST] = {0.0f};
        for (int k = 0; k < config->row_bytes[a] / 4; k++)
            for (int i = 0; i < 2; i++) {
                const float x = tile_bf16(&tile_state.bytes[a][m][4 * k + 2 * i]);
                for (int n = 0; n < MOST; n++)
                    chains[i][n] = tile_flush(fmaf(x, tile_bf16(&tile_state.bytes[b][k][4 * n + 2 * i]), chains[i][n]));
            }
        memcpy(sums, tile_state.bytes[to][m], config->row_bytes[to]);
        for (int n = 0; n < MOST; n++)
            sums[n] = tile_flush(tile_flush(sums[n]) + tile_flush(chains[0][n] + chains[1][n]));
        memcpy(tile_state.bytes[to][m], sums, config->row_bytes[to]);
    }
    for (int m = config->rows[to]; m < TILE_ROWS; m++) memset(tile_state.bytes[to][m], 0, TILE_ROW_BYTES);
}

#endif

#endif
