/*
 * kernels.h - what a processor level provides: one table of functions, filled from CPUID once.
 *
 * Every kernel is written once, in float_kernels.h, over a vector of 16 floats that each level defines (simd_*.h). Adding,
 * multiplying, fusing and rounding are the same IEEE operations everywhere and reductions run over the same 16 lanes in
 * the same tree, so all levels give the same bits; the tests compare them so. BF16 weights alone have an arithmetic of their own
 * where there are tiles for them (bf16.h): the same bits for a row alone and in any company, but other bits than elsewhere.
 *
 * The order of a sum over k: lane l adds the products with k ≡ l (mod 16) by fused multiply-add, k ascending, from zero;
 * then lanes l and l+8, l+4, l+2, l+1 are added. It depends on the row alone.
 */
#ifndef IMP_COMPUTE_CPU_KERNELS_H
#define IMP_COMPUTE_CPU_KERNELS_H

#include "compute/batch.h"
#include "compute/cpu/bf16.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/cpu/packed.h"
#include "compute/cpu/wide.h"
#include "quant/dtype.h"

enum {
    CPU_LANES = 16,
    DOT_TILE_ROWS = 4, /* weight rows of a dot_tile */
    PACKED_PANELS = 4,
    PACKED_ROWS = PACKED_PANELS * PANEL_ROWS,
    PACKED_ACTS = 512,
    PACKED_OUT = (PACKED_ACTS + 16) * PACKED_ROWS, /* floats that products write: a tile's rows past the end have room */
    DOT_TILE_ACTS = 6, /* most activation rows of a dot_tile: 24 accumulators, 4 weights and 1 activation in 32 registers */
};

/* Keys of an attend_block: those of ATTEND_PAGES pages that follow each other in a sequence, from a multiple of
 * ATTEND_KEYS on. */
enum { ATTEND_PAGES = 4, ATTEND_KEYS = ATTEND_PAGES * KV_PAGE_TOKENS, ATTEND_QUERIES = 6 };

/* One KV head's part of a block. A page's keys: [head_dim][KV_PAGE_TOKENS] elements, of 8-bit types then a float32 scale a
 * token; `key_bytes` behind them its values: [KV_PAGE_TOKENS][value_stride], then scales likewise. */
typedef struct AttendBlock {
    const uint8_t *pages[ATTEND_PAGES]; /* NULL: no query sees any of it */
    size_t key_bytes;
    int32_t head_dim;
    int32_t value_stride; /* head_dim_v rounded up to CPU_LANES, the padding zero */
    float scale, softcap;
} AttendBlock;

/* A query and its running softmax: maximum, sum of exponentials, weighted sum of values. */
typedef struct AttendQuery {
    const float *q;     /* [head_dim] */
    float *out;         /* [value_stride] */
    float max, sum;
    int32_t first, end; /* the keys of the block that it sees: first <= j < end; none when first >= end */
} AttendQuery;

/* Activation rows in fixed point, each a chunk every `stride`. */
typedef struct ActRows {
    const ActChunk *first[PACKED_ACTS];
    size_t stride;
    int32_t n;
} ActRows;

/* What products with packed panels need beside their operands; aligned to 64 bytes. */
typedef struct PackedScratch {
    PlainChunk panels[PACKED_PANELS];
    float high[PACKED_OUT], low[PACKED_OUT];      /* sums of the chunks so far; the low planes' */
    int32_t fine[CHUNK_BLOCKS][PACKED_ACTS + 16]; /* rows of which a block of this chunk is fine */
} PackedScratch;

typedef struct CpuKernels {
    const char *name;
    CpuIsa isa;

    /* out[a * DOT_TILE_ROWS + r] = w[r] · x[a] for DOT_TILE_ROWS rows of F32, F16 or BF16 weights, aligned to their
     * size, and n_acts <= DOT_TILE_ACTS activations of k floats. */
    void (*dot_tile[DT_BF16 + 1])(const void *const w[DOT_TILE_ROWS], const float *const x[], int32_t n_acts, int32_t k,
                                  float *out);
    /* Decoders to float32 that are faster than the codecs, and bit-equal; NULL: there is none. */
    DTypeDecode *decode[DT_COUNT];

    /* Sums in the order above. */
    float (*sum)(const float *x, int32_t n);
    float (*sum_of_squares)(const float *x, float mean, int32_t n); /* of x - mean */
    float (*max)(const float *x, int32_t n);

    /* y += m * x;  y *= m;  y = x * m * w + b with w, b possibly NULL, over x - mean. */
    void (*add_scaled)(float *y, const float *x, float m, int32_t n);
    void (*scale)(float *y, float m, int32_t n);
    void (*normalize)(const float *x, float mean, float m, const float *w, const float *b, float *y, int32_t n);
    /* y = m * y + b (b NULL: none), then capped when cap is not 0. */
    void (*finish_logits)(float *y, float m, const float *b, float cap, int32_t n);

    /* y = activation(gate) * up, or activation(up) when gate is NULL; y may be one of them. */
    void (*activate)(Activation activation, float limit, const float *gate, const float *up, float *y, int32_t n);
    /* y *= sigmoid(gate); x = 1 / (1 + exp(-x)). */
    void (*gate_sigmoid)(float *y, const float *gate, int32_t n);
    void (*sigmoid)(float *x, int32_t n);
    /* x = exp(x - max) and their sum. */
    float (*exp_sum)(float *x, float max, int32_t n);

    /* Fixed point (packed.h) of a row of n values, a multiple of BLOCK_COLS; its chunks go `stride` apart to `out`. */
    void (*quantize_row)(const float *x, int32_t n, float fine_threshold, ActChunk *out, size_t stride);
    /* out[a][p * PANEL_ROWS + r] = row r of panel p x the row whose first chunk is acts[a], for up to PACKED_PANELS panels
     * and 1 … PACKED_ACTS rows. */
    void (*packed_multiply)(const PackedFormat *format, const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols,
                            const ActRows *acts, PackedScratch *scratch, float *const out[]);

    /* The same for half-precision weights (wide.h); n a multiple of WIDE_COLS. */
    void (*wide_quantize)(const float *x, int32_t n, WideAct *out);
    void (*wide_multiply)(const uint8_t *const panels[PACKED_PANELS], int n_panels, int64_t cols, const WideAct *const acts[],
                          int32_t n_acts, float *out);

    /* BF16 weights in tiles of BF16 (bf16.h); NULL: the level has none, and takes them for half precision like any other. Rounds
     * n <= BF16_ROWS rows into a group. */
    void (*bf16_round)(const float *const rows[], int32_t n, int64_t cols, uint16_t *group);
    void (*bf16_multiply)(const Bf16Product *product);

    /* Turns pairs (a[i], b[i]) by (c[i], s[i]); a and b are the halves of the turning dimensions. */
    void (*rotate_half)(float *a, float *b, const float *c, const float *s, int32_t n);

    /* Elements of keys and values from float32; returns their scale (1 for types without). NULL: no type of theirs. */
    float (*encode_kv[DT_COUNT])(const float *x, void *out, int32_t n);
    /* Folds a block into n <= ATTEND_QUERIES queries. */
    void (*attend_block[DT_COUNT])(const AttendBlock *block, AttendQuery *queries, int32_t n);
} CpuKernels;

/* The tables; NULL where the compiler's target has no such level. */
const CpuKernels *kernels_portable(void);
const CpuKernels *kernels_avx2(void);
const CpuKernels *kernels_avx512(void);
const CpuKernels *kernels_amx(void);

/* Whether this processor, and its system, have a level. */
bool kernels_level_exists(CpuIsa isa);

/* The best table of at most `isa` that this processor runs. An explicit level that it does not have is an error. */
ImpStatus kernels_choose(CpuIsa isa, const CpuKernels **out);

/* The fastest decoder of a type that has a codec. */
static inline DTypeDecode *kernels_decoder(const CpuKernels *kernels, DType type)
{
    return kernels->decode[type] != NULL ? kernels->decode[type] : dtype_info(type)->decode;
}

#endif
