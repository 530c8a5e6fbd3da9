/*
 * short_conv.c - LFM2's mixer: C * conv(B * x), a causal depthwise convolution over the last `width` tokens.
 *
 * The state of a sequence is its last width - 1 products B * x. A task walks one sequence's rows in order for a block of
 * channels, so that chunks of any size see the same sums: taps in ascending order, the oldest token first.
 */
#include "compute/cpu/cpu_compute.h"

#include <string.h>

enum { CONV_CHANNELS = 256 };

typedef struct ConvRun {
    const CpuCompute *compute;
    const ShortConv *spec;
    const ConvState *state;
    Act bcx, out;
    int32_t blocks;
} ConvRun;

/* One row of a block of channels; `past` holds width - 1 rows of `channels` floats and moves on by one. */
static void conv_row(const ShortConv *spec, int32_t first, int32_t n, const float *bcx, float *past, float *out)
{
    const int32_t channels = spec->channels, width = spec->width;
    for (int32_t c = first; c < first + n; c++) {
        const float *taps = spec->taps.data + (size_t)c * (size_t)width;
        const float current = bcx[c] * bcx[2 * channels + c];
        float sum = 0.0f;
        for (int32_t t = 0; t < width - 1; t++) sum += taps[t] * past[(size_t)t * (size_t)channels + (size_t)c];
        sum += taps[width - 1] * current;
        if (vector_present(&spec->conv_bias)) sum += spec->conv_bias.data[c];
        out[c] = bcx[channels + c] * sum;
        for (int32_t t = 0; t + 2 < width; t++)
            past[(size_t)t * (size_t)channels + (size_t)c] = past[(size_t)(t + 1) * (size_t)channels + (size_t)c];
        if (width > 1) past[(size_t)(width - 2) * (size_t)channels + (size_t)c] = current;
    }
}

static void conv_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    const ConvRun *run = context;
    const BatchSequence *sequence = &run->compute->batch->sequences[task / run->blocks];
    const int32_t first = task % run->blocks * CONV_CHANNELS;
    const int32_t n = min_i32(CONV_CHANNELS, run->spec->channels - first);
    float *past = run->state->slots + (size_t)sequence->state_slot * run->state->slot_floats;
    for (int32_t row = sequence->first_row; row < sequence->first_row + sequence->n_rows; row++)
        conv_row(run->spec, first, n, act_row(run->bcx, row), past, act_row(run->out, row));
}

void cpu_short_conv(Compute *base, int32_t layer, const ShortConv *spec, Act bcx, Act out)
{
    CpuCompute *compute = cpu_compute(base);
    ConvRun run = {compute, spec, &compute->conv[layer], bcx, out, blocks_of(spec->channels, CONV_CHANNELS)};
    thread_pool_run_sized(compute->pool, conv_task, &run, compute->batch->n_sequences * run.blocks, act_bytes(compute, bcx) * 2);
}
