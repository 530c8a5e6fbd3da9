/*
 * sampler_select.c - how a few candidates are found among a quarter of a million.
 *
 * One pass takes the maximum of every block of logits. After it most questions need few blocks only: the k-th largest
 * block maximum is a lower bound of the k-th largest logit (k blocks have one at least as large), so that top-k looks
 * into the blocks that reach it and sorts what it finds there; a threshold (min-p, mirostat) does the same. Only top-p
 * and typical-p over the whole vocabulary need every probability: they weigh the tokens into a histogram over the
 * distance from where they start, find the bucket in which the mass reaches p, and gather what lies up to there. A
 * short sort makes it exact.
 *
 * The exponential is our own: it vectorizes, and a draw is then the same on every machine.
 */
#include "runtime/sampler_select.h"

#include "quant/float_bits.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    SELECT_BLOCK = 128,
    SELECT_LANES = 16,
    SELECT_BUCKETS = 4096,
    SELECT_BUCKETS_PER_NAT = 64,
    SMALL_SORT = 48, /* up to here insertion beats the radix sort */
    RADIX_BITS = 11,
    RADIX_SIZE = 1 << RADIX_BITS,
};

static const float LEAST_SHIFT = -87.0f; /* e^-87 is the last normal power */

ImpStatus selection_init(Selection *selection, int32_t n_vocab, Arena *arena)
{
    const size_t n = (size_t)n_vocab;
    *selection = (Selection){.n_vocab = n_vocab, .n_blocks = (n_vocab + SELECT_BLOCK - 1) / SELECT_BLOCK};
    selection->list = arena_alloc(arena, n, sizeof(Candidate));
    selection->order = arena_alloc(arena, n, sizeof(Candidate));
    selection->spare = arena_alloc(arena, n, sizeof(Candidate));
    selection->block_max = arena_alloc(arena, (size_t)selection->n_blocks, sizeof(float));
    selection->mass = arena_alloc(arena, SELECT_BUCKETS, sizeof(double));
    if (!selection->list || !selection->order || !selection->spare || !selection->block_max || !selection->mass)
        return imp_fail_memory(3 * n * sizeof(Candidate));
    return IMP_OK;
}

/* e^x for x <= 0 to a relative error of 2e-7; 0 below LEAST_SHIFT and for NaN. x = k ln 2 + r with |r| <= ln 2 / 2,
 * Taylor's series in r. Without a branch, so that loops over it become vector code. */
static inline float exp_negative(float x)
{
    const float clamped = x > LEAST_SHIFT ? x : LEAST_SHIFT;
    const float shifted = clamped * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are round(x / ln 2) */
    const float k = shifted - 12582912.0f;
    const float r = (clamped - k * 0.693145752f) - k * 1.42860677e-6f;
    float sum = 1.0f / 720.0f;
    sum = sum * r + 1.0f / 120.0f;
    sum = sum * r + 1.0f / 24.0f;
    sum = sum * r + 1.0f / 6.0f;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    const uint32_t power = (f32_to_bits(shifted) - 0x4B400000u + 127u) << 23; /* 2^k */
    const uint32_t keep = 0u - (uint32_t)(x > LEAST_SHIFT);
    return f32_from_bits(f32_to_bits(sum * f32_from_bits(power)) & keep);
}

static int32_t block_length(const Selection *selection, int32_t block)
{
    const int32_t rest = selection->n_vocab - block * SELECT_BLOCK;
    return rest < SELECT_BLOCK ? rest : SELECT_BLOCK;
}

/* ---- Sorting ---- */

/* Unsigned integers in the order of the keys, largest key first. Both zeros are one. */
static inline uint32_t descending_bits(float key)
{
    const float plain = key + 0.0f;
    uint32_t bits;
    memcpy(&bits, &plain, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
}

static void insertion_sort(Candidate *list, int32_t n)
{
    for (int32_t i = 1; i < n; i++) {
        const Candidate moving = list[i];
        int32_t j = i;
        for (; j > 0 && list[j - 1].key < moving.key; j--) list[j] = list[j - 1];
        list[j] = moving;
    }
}

/* Largest key first; equal keys keep their order. */
static void sort_candidates(Candidate *list, int32_t n, Candidate *spare)
{
    if (n <= SMALL_SORT) {
        insertion_sort(list, n);
        return;
    }
    Candidate *from = list, *to = spare;
    for (int shift = 0; shift < 32; shift += RADIX_BITS) {
        int32_t starts[RADIX_SIZE] = {0};
        for (int32_t i = 0; i < n; i++) starts[descending_bits(from[i].key) >> shift & (RADIX_SIZE - 1)]++;
        int32_t sum = 0;
        for (int32_t digit = 0; digit < RADIX_SIZE; digit++) {
            const int32_t count = starts[digit];
            starts[digit] = sum;
            sum += count;
        }
        for (int32_t i = 0; i < n; i++)
            to[starts[descending_bits(from[i].key) >> shift & (RADIX_SIZE - 1)]++] = from[i];
        Candidate *swap = from;
        from = to;
        to = swap;
    }
    if (from != list) memcpy(list, from, (size_t)n * sizeof *list); /* three passes: always */
}

/* ---- The whole vocabulary ---- */

void selection_begin(Selection *selection, float *logits)
{
    selection->logits = logits;
    selection->whole = true;
    selection->n = 0;
    selection->maxima_valid = false;
}

void selection_touch(Selection *selection) { selection->maxima_valid = false; }

/* A comparison with NaN is false: a NaN never becomes a maximum. */
static float maximum_of(const float *values, int32_t n)
{
    float lanes[SELECT_LANES];
    for (int32_t j = 0; j < SELECT_LANES; j++) lanes[j] = -INFINITY;
    int32_t i = 0;
    for (; i + SELECT_LANES <= n; i += SELECT_LANES)
        for (int32_t j = 0; j < SELECT_LANES; j++) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
    for (; i < n; i++) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
    for (int32_t width = SELECT_LANES / 2; width > 0; width /= 2)
        for (int32_t j = 0; j < width; j++) lanes[j] = lanes[j + width] > lanes[j] ? lanes[j + width] : lanes[j];
    return lanes[0];
}

static void find_maxima(Selection *selection)
{
    if (selection->maxima_valid) return;
    for (int32_t block = 0; block < selection->n_blocks; block++)
        selection->block_max[block] =
            maximum_of(selection->logits + (size_t)block * SELECT_BLOCK, block_length(selection, block));
    selection->maxima_valid = true;
}

float selection_max(Selection *selection)
{
    if (!selection->whole) return selection->n > 0 ? selection->list[0].key : -INFINITY;
    find_maxima(selection);
    return maximum_of(selection->block_max, selection->n_blocks);
}

int32_t selection_best(Selection *selection)
{
    if (!selection->whole) return selection->list[0].id;
    const float best = selection_max(selection);
    int32_t block = 0;
    while (selection->block_max[block] < best) block++;
    int32_t id = block * SELECT_BLOCK;
    while (!(selection->logits[id] >= best)) id++;
    return id;
}

/* Makes the list of all tokens with a logit of at least `threshold`, sorted. Banned ones (-infinity) never get in. */
static void gather(Selection *selection, float threshold)
{
    if (threshold < -FLT_MAX) threshold = -FLT_MAX;
    find_maxima(selection);
    int32_t n = 0;
    for (int32_t block = 0; block < selection->n_blocks; block++) {
        if (!(selection->block_max[block] >= threshold)) continue;
        const int32_t first = block * SELECT_BLOCK, length = block_length(selection, block);
        for (int32_t id = first; id < first + length; id++)
            if (selection->logits[id] >= threshold) selection->list[n++] = (Candidate){selection->logits[id], id};
    }
    selection->n = n;
    selection->whole = false;
    sort_candidates(selection->list, n, selection->spare);
}

/* Logits relative to `max`, and e to their power, of a block; weights behind the vocabulary's end are 0. */
static void weigh_block(const Selection *selection, int32_t block, float max, float *restrict shifts,
                        float *restrict weights)
{
    const float *logits = selection->logits + (size_t)block * SELECT_BLOCK;
    const int32_t length = block_length(selection, block);
    for (int32_t i = 0; i < length; i++) {
        const float shift = logits[i] - max;
        shifts[i] = shift > LEAST_SHIFT ? shift : LEAST_SHIFT;
        weights[i] = exp_negative(shift);
    }
    for (int32_t i = length; i < SELECT_BLOCK; i++) shifts[i] = weights[i] = 0.0f;
}

/* What the distribution is measured by, relative to the maximum. */
typedef struct Moments {
    double sum;        /* of exp(logit - max) */
    double mean_shift; /* expected logit - max */
} Moments;

/* Sums in SUM_LANES interleaved parts: a fixed order that suits vectors. The mean is not divided by the sum yet. */
static Moments moments_of_block(const float *shifts, const float *weights)
{
    enum { SUM_LANES = 4 };
    double sums[SUM_LANES] = {0}, means[SUM_LANES] = {0};
    for (int32_t i = 0; i < SELECT_BLOCK; i += SUM_LANES) {
        for (int32_t j = 0; j < SUM_LANES; j++) {
            sums[j] += (double)weights[i + j];
            means[j] += (double)weights[i + j] * (double)shifts[i + j];
        }
    }
    return (Moments){(sums[0] + sums[1]) + (sums[2] + sums[3]), (means[0] + means[1]) + (means[2] + means[3])};
}

static Moments find_moments(Selection *selection)
{
    const float max = selection_max(selection);
    float shifts[SELECT_BLOCK], weights[SELECT_BLOCK];
    Moments moments = {0};
    for (int32_t block = 0; selection->whole && block < selection->n_blocks; block++) {
        weigh_block(selection, block, max, shifts, weights);
        const Moments part = moments_of_block(shifts, weights);
        moments.sum += part.sum;
        moments.mean_shift += part.mean_shift;
    }
    for (int32_t i = 0; !selection->whole && i < selection->n; i++) {
        const float shift = selection->list[i].key - max;
        const double weight = (double)exp_negative(shift);
        moments.sum += weight;
        if (weight > 0.0) moments.mean_shift += weight * (double)shift;
    }
    moments.mean_shift /= moments.sum;
    return moments;
}

double selection_log_sum(Selection *selection) { return log(find_moments(selection).sum); }

/* `distance` of a logit from where the gathering starts; NaN is far. */
static int32_t bucket_of(float distance)
{
    const float bucket = fabsf(distance) * (float)SELECT_BUCKETS_PER_NAT;
    return bucket < (float)(SELECT_BUCKETS - 1) ? (int32_t)bucket : SELECT_BUCKETS - 1;
}

/* Makes the list of the tokens whose shift is nearest to `center` and that hold at least `wanted` of the mass, and a
 * few more: whole buckets. */
static void gather_nearest(Selection *selection, float center, double wanted)
{
    const float max = selection_max(selection);
    float shifts[SELECT_BLOCK], weights[SELECT_BLOCK];
    memset(selection->mass, 0, SELECT_BUCKETS * sizeof *selection->mass);
    for (int32_t block = 0; block < selection->n_blocks; block++) {
        if (selection->block_max[block] - max <= LEAST_SHIFT) continue;
        weigh_block(selection, block, max, shifts, weights);
        for (int32_t i = 0; i < SELECT_BLOCK; i++)
            if (weights[i] > 0.0f) selection->mass[bucket_of(shifts[i] - center)] += (double)weights[i];
    }
    int32_t last = 0;
    double sum = selection->mass[0];
    while ((sum < wanted || sum == 0.0) && last < SELECT_BUCKETS - 1) sum += selection->mass[++last];

    int32_t n = 0;
    for (int32_t id = 0; id < selection->n_vocab; id++) {
        const float shift = selection->logits[id] - max;
        if (shift > LEAST_SHIFT && bucket_of(shift - center) <= last)
            selection->list[n++] = (Candidate){selection->logits[id], id};
    }
    selection->n = n;
    selection->whole = false;
    sort_candidates(selection->list, n, selection->spare);
}

/* ---- The links ---- */

/* Off the maximum, so that no finite logit overflows however low the temperature. */
void selection_scale(Selection *selection, float factor)
{
    const float max = selection_max(selection);
    if (selection->whole) {
        for (int32_t id = 0; id < selection->n_vocab; id++)
            selection->logits[id] = (selection->logits[id] - max) * factor;
        selection->maxima_valid = false;
    } else {
        for (int32_t i = 0; i < selection->n; i++) selection->list[i].key = (selection->list[i].key - max) * factor;
    }
}

void selection_at_least(Selection *selection, float threshold)
{
    const float max = selection_max(selection);
    const float bound = threshold < max ? threshold : max;
    if (selection->whole) {
        gather(selection, bound);
        return;
    }
    int32_t n = selection->n;
    while (n > 1 && selection->list[n - 1].key < bound) n--;
    selection->n = n;
}

void selection_top_k(Selection *selection, int32_t k)
{
    if (selection->whole) {
        if (k >= selection->n_vocab) return;
        float threshold = -INFINITY;
        find_maxima(selection);
        if (k < selection->n_blocks) {
            for (int32_t block = 0; block < selection->n_blocks; block++)
                selection->order[block] = (Candidate){selection->block_max[block], block};
            sort_candidates(selection->order, selection->n_blocks, selection->spare);
            threshold = selection->order[k - 1].key;
        }
        gather(selection, threshold);
    }
    if (selection->n > k) selection->n = k;
}

void selection_top_p(Selection *selection, float p)
{
    const float max = selection_max(selection);
    const double wanted = (double)p * find_moments(selection).sum;
    if (selection->whole) gather_nearest(selection, 0.0f, wanted);
    double sum = 0.0;
    for (int32_t i = 0; i < selection->n; i++) {
        sum += (double)exp_negative(selection->list[i].key - max);
        if (sum >= wanted) selection->n = i + 1;
    }
}

/* A token's surprise minus the entropy is the expected logit minus its own: the sum cancels. So the typical tokens are
 * those whose logit is nearest to the mean logit (Meister et al., Locally Typical Sampling, 2023). */
void selection_typical_p(Selection *selection, float p)
{
    const float max = selection_max(selection);
    const Moments moments = find_moments(selection);
    const float center = (float)moments.mean_shift;
    const double wanted = (double)p * moments.sum;
    if (selection->whole) gather_nearest(selection, center, wanted);

    for (int32_t i = 0; i < selection->n; i++)
        selection->order[i] = (Candidate){-fabsf(selection->list[i].key - max - center), i};
    sort_candidates(selection->order, selection->n, selection->spare);
    int32_t n_kept = 0;
    for (double sum = 0.0; n_kept < selection->n && (n_kept == 0 || sum < wanted); n_kept++)
        sum += (double)exp_negative(selection->list[selection->order[n_kept].id].key - max);

    /* Kept ones are marked with the complement of their id, then moved together in their old order. */
    for (int32_t i = 0; i < n_kept; i++) {
        Candidate *kept = &selection->list[selection->order[i].id];
        kept->id = ~kept->id;
    }
    int32_t n = 0;
    for (int32_t i = 0; i < selection->n; i++)
        if (selection->list[i].id < 0)
            selection->list[n++] = (Candidate){selection->list[i].key, ~selection->list[i].id};
    selection->n = n;
}

void selection_resort(Selection *selection) { sort_candidates(selection->list, selection->n, selection->spare); }

float selection_logit(const Selection *selection, int32_t id)
{
    if (selection->whole) return selection->logits[id];
    for (int32_t i = 0; i < selection->n; i++)
        if (selection->list[i].id == id) return selection->list[i].key;
    return -INFINITY;
}

/* ---- The draw ---- */

static int32_t draw_from_list(const Selection *selection, double u)
{
    const float max = selection->list[0].key;
    double total = 0.0, sum = 0.0;
    for (int32_t i = 0; i < selection->n; i++) total += (double)exp_negative(selection->list[i].key - max);
    int32_t drawn = selection->list[0].id;
    for (int32_t i = 0; i < selection->n; i++) {
        const double weight = (double)exp_negative(selection->list[i].key - max);
        if (weight > 0.0) drawn = selection->list[i].id;
        sum += weight;
        if (sum > u * total) break;
    }
    return drawn;
}

/* In the order of the ids: first the block in which the cumulative sum passes u, then the token in it. */
static int32_t draw_from_all(Selection *selection, double u)
{
    const float max = selection_max(selection);
    const double target = u * find_moments(selection).sum;
    float shifts[SELECT_BLOCK], weights[SELECT_BLOCK];
    double sum = 0.0;
    int32_t drawn = -1;
    for (int32_t block = 0; block < selection->n_blocks; block++) {
        weigh_block(selection, block, max, shifts, weights);
        const double mass = moments_of_block(shifts, weights).sum;
        if (sum + mass <= target) {
            sum += mass;
            continue;
        }
        for (int32_t i = 0; i < SELECT_BLOCK; i++) {
            if (!(weights[i] > 0.0f)) continue;
            drawn = block * SELECT_BLOCK + i;
            sum += (double)weights[i];
            if (sum > target) return drawn;
        }
    }
    return drawn;
}

int32_t selection_draw(Selection *selection, double u)
{
    return selection->whole ? draw_from_all(selection, u) : draw_from_list(selection, u);
}
