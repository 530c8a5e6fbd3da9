/*
 * rope.c - rotary embedding: cosines and sines once a step for each set of frequencies, then plain turns.
 *
 * The angle is position * inv_freq in float32, its cosine and sine the C library's, both times the magnitude: the order in
 * which transformers computes them. Multi-section rotary needs nothing more here: a batch has one position a token, and
 * with equal components the sections do not matter. LongRoPE's long frequencies are taken from the first position that
 * lies beyond the original context; earlier tokens keep what was stored for them.
 */
#include "compute/cpu/cpu_compute.h"

#include <math.h>

static void fill_row(const Rope *rope, RopeTable *table, int32_t row, int32_t position)
{
    const bool is_long = rope->inv_freq_long != NULL && position >= rope->original_context;
    const float *inv_freq = is_long ? rope->inv_freq_long : rope->inv_freq;
    float *cosine = table->cosine + (size_t)row * (size_t)table->n_pairs;
    float *sine = table->sine + (size_t)row * (size_t)table->n_pairs;
    for (int32_t i = 0; i < table->n_pairs; i++) {
        const float angle = (float)position * inv_freq[i];
        cosine[i] = cosf(angle) * rope->magnitude;
        sine[i] = sinf(angle) * rope->magnitude;
    }
}

const RopeTable *rope_table(CpuCompute *compute, const Rope *rope)
{
    if (rope->kind == ROPE_NONE || rope->n_dims < 2) return NULL;
    const int32_t n_pairs = rope->n_dims / 2;
    for (int32_t i = 0; i < min_i32(compute->n_rope, ROPE_TABLES); i++) {
        const RopeTable *table = &compute->rope[i];
        if (table->inv_freq == rope->inv_freq && table->n_pairs == n_pairs && table->magnitude == rope->magnitude)
            return table;
    }
    RopeTable *table = &compute->rope[compute->n_rope++ % ROPE_TABLES];
    table->inv_freq = rope->inv_freq;
    table->magnitude = rope->magnitude;
    table->n_pairs = n_pairs;
    for (int32_t row = 0; row < compute->batch->n_rows; row++)
        fill_row(rope, table, row, compute->batch->positions[row]);
    return table;
}

void rope_apply(const CpuKernels *kernels, const Rope *rope, const RopeTable *table, int32_t row, float *head)
{
    const float *cosine = table->cosine + (size_t)row * (size_t)table->n_pairs;
    const float *sine = table->sine + (size_t)row * (size_t)table->n_pairs;
    if (rope->kind == ROPE_HALF) {
        kernels->rotate_half(head, head + table->n_pairs, cosine, sine, table->n_pairs);
        return;
    }
    for (int32_t i = 0; i < table->n_pairs; i++) {
        const float a = head[2 * i], b = head[2 * i + 1];
        head[2 * i] = a * cosine[i] - b * sine[i];
        head[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}
