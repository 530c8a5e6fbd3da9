/* cpu_speed_amx.c - the yardstick loop of AMX: products of 16 x 64 by 64 x 16 signed bytes into four tiles in turn. */
#include "compute/cpu/cpu_speed.h"

#if defined(__AMX_TILE__) && defined(__AMX_INT8__)

#include "compute/cpu/amx_tiles.h"

enum { SUMS = 4, MADDS = TILE_ROWS * TILE_ROWS * TILE_ROW_BYTES };

static int32_t tile_madds(int64_t rounds)
{
    static const int8_t ones[TILE_ROWS][TILE_ROW_BYTES] = {{1, 2, 3}, {4, 5, 6}};
    int32_t sums[TILE_ROWS][TILE_ROWS];
    TileConfig config = {.palette = 1};
    for (int t = 0; t < TILE_COUNT; t++) {
        config.rows[t] = TILE_ROWS;
        config.row_bytes[t] = TILE_ROW_BYTES;
    }
    tile_configure(&config);
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    tile_load(4, ones, TILE_ROW_BYTES);
    tile_load(5, ones, TILE_ROW_BYTES);
    for (int64_t round = 0; round < rounds; round++) {
        tile_dot_s8(0, 4, 5);
        tile_dot_s8(1, 4, 5);
        tile_dot_s8(2, 4, 5);
        tile_dot_s8(3, 4, 5);
    }
    tile_store(0, sums, sizeof sums[0]);
    tile_release();
    return sums[0][0];
}

static const CpuSpeedLoops loops = {.int8_madds = tile_madds, .int8s_a_round = SUMS * MADDS};

const CpuSpeedLoops *cpu_speed_loops_amx(void) { return &loops; }

#else

const CpuSpeedLoops *cpu_speed_loops_amx(void) { return NULL; }

#endif
