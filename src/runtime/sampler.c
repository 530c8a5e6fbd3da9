/*
 * sampler.c - the chain: what is known about a sequence (recent tokens, their counts, mirostat's bound) and the links
 * that use it. How candidates are found is sampler_select.c's business, how repetitions are is sampler_dry.c's.
 *
 * Links before the first truncation work on the logits in place and touch only the tokens they concern; links behind it
 * work on the short list. All memory is taken at creation.
 */
#include "runtime/sampler.h"

#include "runtime/sampler_dry.h"
#include "runtime/sampler_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct Sampler {
    SamplerParams params;
    DryBreakers breakers;
    int32_t n_vocab;
    Arena arena;
    Selection selection;

    /* The last `window` accepted tokens or more: history[n_history], moved to the front when its end is reached. */
    int32_t window, history_capacity, n_history;
    int32_t *history;
    int32_t penalty_window, dry_window;
    int32_t *counts;     /* [n_vocab] of the last penalty_window tokens; NULL: no penalties */
    int32_t *dry_length; /* [n_vocab] zero between draws; NULL: no DRY */
    int32_t *dry_match;  /* [dry_window] */
    SampleEntry *bias; /* params.logit_bias, for backends */
    SampleEntry *penalized, *repeating; /* what sampler_describe hands out: [penalty_window], [dry_window] */

    double mirostat_bound; /* mu: the largest surprise, in bits */
    int32_t drawn;         /* the last draw, until something is accepted */
    double drawn_surprise;
};

SamplerParams sampler_default_params(void)
{
    return (SamplerParams){
        .temperature = 0.7f,
        .top_k = 40,
        .top_p = 0.9f,
        .typical_p = 1.0f,
        .repeat_penalty = 1.0f,
        .repeat_last_n = 64,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_penalty_last_n = -1,
        .mirostat_tau = 5.0f,
        .mirostat_eta = 0.1f,
        .order = {SAMPLER_PENALTIES, SAMPLER_DRY, SAMPLER_TOP_K, SAMPLER_TYPICAL_P, SAMPLER_TOP_P, SAMPLER_MIN_P,
                  SAMPLER_TEMPERATURE},
        .n_links = SAMPLER_LINK_COUNT,
    };
}

/* ---- Parameters ---- */

/* A NaN is in no range. */
static ImpStatus check_range(const char *name, double value, double low, double high)
{
    if (value >= low && value <= high) return IMP_OK;
    if (high < 1e9) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s is %g, but must be %g to %g", name, value, low, high);
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s is %g, but must be at least %g", name, value, low);
}

static ImpStatus check_numbers(const SamplerParams *p)
{
    const double any = 1e30;
    const struct {
        const char *name;
        double value, low, high;
    } ranges[] = {
        {"temperature", (double)p->temperature, 0, any},
        {"top_k", p->top_k, 0, INT32_MAX},
        {"top_p", (double)p->top_p, 0, 1},
        {"min_p", (double)p->min_p, 0, 1},
        {"typical_p", (double)p->typical_p, 0, 1},
        {"repeat_penalty", (double)p->repeat_penalty, 0.01, 100},
        {"repeat_last_n", p->repeat_last_n, -1, INT32_MAX},
        {"frequency_penalty", (double)p->frequency_penalty, -100, 100},
        {"presence_penalty", (double)p->presence_penalty, -100, 100},
        {"dry_multiplier", (double)p->dry_multiplier, 0, any},
        {"dry_base", (double)p->dry_base, 1, any},
        {"dry_allowed_length", p->dry_allowed_length, 0, INT32_MAX},
        {"dry_penalty_last_n", p->dry_penalty_last_n, -1, INT32_MAX},
        {"mirostat_tau", (double)p->mirostat_tau, 0, any},
        {"mirostat_eta", (double)p->mirostat_eta, 0, any},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        IMP_TRY(check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high));
    return IMP_OK;
}

static ImpStatus check_params(const SamplerParams *params, int32_t n_vocab)
{
    IMP_TRY(check_numbers(params));
    if (params->mirostat != 0 && params->mirostat != 2)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "mirostat is %d, but must be 0 (off) or 2", (int)params->mirostat);
    if (params->n_links < 0 || params->n_links > SAMPLER_MAX_LINKS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the sampler chain has %d links, but may have 0 to %d",
                        (int)params->n_links, (int)SAMPLER_MAX_LINKS);
    bool seen[SAMPLER_LINK_COUNT] = {false};
    for (int32_t i = 0; i < params->n_links; i++) {
        const int link = (int)params->order[i];
        if (link < 0 || link >= SAMPLER_LINK_COUNT)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "link %d of the sampler chain is none that there is", (int)i);
        if (seen[link])
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "link %d of the sampler chain is there twice", (int)i);
        seen[link] = true;
    }
    if (params->n_logit_bias < 0 || (params->n_logit_bias > 0 && !params->logit_bias))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "logit_bias has no entries at its address");
    for (int32_t i = 0; i < params->n_logit_bias; i++) {
        const LogitBias *bias = &params->logit_bias[i];
        if (bias->token < 0 || bias->token >= n_vocab)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "logit_bias names token %d, but ids are 0 to %d",
                            (int)bias->token, (int)n_vocab - 1);
        if (isnan(bias->bias) || bias->bias > 1e30f)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "logit_bias of token %d must be a number", (int)bias->token);
    }
    if (params->n_dry_breakers < 0 || params->n_dry_breakers > SAMPLER_MAX_BREAKERS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d DRY breakers are given, but at most %d are possible",
                        (int)params->n_dry_breakers, (int)SAMPLER_MAX_BREAKERS);
    for (int32_t i = 0; i < params->n_dry_breakers; i++)
        if (params->dry_breakers[i].count < 1 || !params->dry_breakers[i].tokens)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "DRY breaker %d has no tokens", (int)i);
    return IMP_OK;
}

/* ---- Life ---- */

static void *copy_into(Arena *arena, const void *items, size_t count, size_t size)
{
    void *copy = arena_alloc(arena, count, size);
    if (copy && count > 0) memcpy(copy, items, count * size);
    return copy;
}

static ImpStatus copy_lists(Sampler *sampler, const SamplerParams *params)
{
    Arena *arena = &sampler->arena;
    LogitBias *bias = copy_into(arena, params->logit_bias, (size_t)params->n_logit_bias, sizeof *bias);
    if (!bias) return imp_fail_memory((size_t)params->n_logit_bias * sizeof *bias);
    sampler->params.logit_bias = bias;
    sampler->bias = arena_alloc(arena, (size_t)params->n_logit_bias, sizeof *sampler->bias);
    if (!sampler->bias) return imp_fail_memory((size_t)params->n_logit_bias * sizeof *sampler->bias);
    for (int32_t i = 0; i < params->n_logit_bias; i++) sampler->bias[i] = (SampleEntry){bias[i].token, bias[i].bias};

    DryBreakers *breakers = &sampler->breakers;
    if (params->dry_breaker_tokens) {
        const size_t words = ((size_t)sampler->n_vocab + 31) / 32;
        breakers->tokens = copy_into(arena, params->dry_breaker_tokens, words, sizeof(uint32_t));
        if (!breakers->tokens) return imp_fail_memory(words * sizeof(uint32_t));
        sampler->params.dry_breaker_tokens = breakers->tokens;
    }
    breakers->n_sequences = params->n_dry_breakers;
    for (int32_t i = 0; i < params->n_dry_breakers; i++) {
        const size_t count = (size_t)params->dry_breakers[i].count;
        int32_t *tokens = copy_into(arena, params->dry_breakers[i].tokens, count, sizeof *tokens);
        if (!tokens) return imp_fail_memory(count * sizeof *tokens);
        sampler->params.dry_breakers[i].tokens = tokens;
        breakers->sequences[i].tokens = tokens;
        breakers->sequences[i].count = (int32_t)count;
    }
    return IMP_OK;
}

static bool has_link(const SamplerParams *params, SamplerLink link)
{
    for (int32_t i = 0; i < params->n_links; i++)
        if (params->order[i] == link) return true;
    return false;
}

static int32_t resolve_window(int32_t last_n, int32_t max_tokens)
{
    return last_n < 0 || last_n > max_tokens ? max_tokens : last_n;
}

static ImpStatus create_history(Sampler *sampler, int32_t max_tokens)
{
    const SamplerParams *p = &sampler->params;
    const size_t n_vocab = (size_t)sampler->n_vocab;
    if (has_link(p, SAMPLER_PENALTIES) &&
        (p->repeat_penalty != 1.0f || p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f))
        sampler->penalty_window = resolve_window(p->repeat_last_n, max_tokens);
    if (has_link(p, SAMPLER_DRY) && p->dry_multiplier > 0.0f)
        sampler->dry_window = resolve_window(p->dry_penalty_last_n, max_tokens);
    sampler->window = sampler->penalty_window > sampler->dry_window ? sampler->penalty_window : sampler->dry_window;
    if (sampler->window == 0) return IMP_OK;

    sampler->history_capacity = sampler->window < INT32_MAX / 2 ? 2 * sampler->window : INT32_MAX;
    sampler->history = arena_alloc(&sampler->arena, (size_t)sampler->history_capacity, sizeof(int32_t));
    if (!sampler->history) return imp_fail_memory((size_t)sampler->history_capacity * sizeof(int32_t));
    if (sampler->penalty_window > 0) {
        sampler->counts = arena_alloc(&sampler->arena, n_vocab, sizeof(int32_t));
        sampler->penalized = arena_alloc(&sampler->arena, (size_t)sampler->penalty_window, sizeof(SampleEntry));
        if (!sampler->counts || !sampler->penalized) return imp_fail_memory(n_vocab * sizeof(int32_t));
    }
    if (sampler->dry_window > 0) {
        sampler->dry_length = arena_alloc(&sampler->arena, n_vocab, sizeof(int32_t));
        sampler->dry_match = arena_alloc(&sampler->arena, (size_t)sampler->dry_window, sizeof(int32_t));
        sampler->repeating = arena_alloc(&sampler->arena, (size_t)sampler->dry_window, sizeof(SampleEntry));
        if (!sampler->dry_length || !sampler->dry_match || !sampler->repeating)
            return imp_fail_memory(n_vocab * sizeof(int32_t));
    }
    return IMP_OK;
}

ImpStatus sampler_create(const SamplerParams *params, int32_t n_vocab, int32_t max_tokens, Sampler **out)
{
    ImpStatus status;
    *out = NULL;
    if (n_vocab < 1 || max_tokens < 1)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a sampler needs a vocabulary and room for tokens");
    IMP_TRY(check_params(params, n_vocab));
    Sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) return imp_fail_memory(sizeof *sampler);
    sampler->params = *params;
    sampler->n_vocab = n_vocab;
    IMP_GOTO(selection_init(&sampler->selection, n_vocab, &sampler->arena));
    IMP_GOTO(copy_lists(sampler, params));
    IMP_GOTO(create_history(sampler, max_tokens));
    sampler_reset(sampler);
    *out = sampler;
    return IMP_OK;
fail:
    sampler_free(sampler);
    return status;
}

void sampler_free(Sampler *sampler)
{
    if (!sampler) return;
    arena_free(&sampler->arena);
    free(sampler);
}

static bool same_numbers(const SamplerParams *a, const SamplerParams *b)
{
    return a->temperature == b->temperature && a->top_k == b->top_k && a->top_p == b->top_p && a->min_p == b->min_p &&
           a->typical_p == b->typical_p && a->repeat_penalty == b->repeat_penalty &&
           a->repeat_last_n == b->repeat_last_n && a->frequency_penalty == b->frequency_penalty &&
           a->presence_penalty == b->presence_penalty && a->dry_multiplier == b->dry_multiplier &&
           a->dry_base == b->dry_base && a->dry_allowed_length == b->dry_allowed_length &&
           a->dry_penalty_last_n == b->dry_penalty_last_n && a->mirostat == b->mirostat &&
           a->mirostat_tau == b->mirostat_tau && a->mirostat_eta == b->mirostat_eta && a->seed == b->seed;
}

static bool same_order(const SamplerParams *a, const SamplerParams *b)
{
    if (a->n_links != b->n_links) return false;
    for (int32_t i = 0; i < a->n_links; i++)
        if (a->order[i] != b->order[i]) return false;
    return true;
}

static bool same_bias(const SamplerParams *a, const SamplerParams *b)
{
    if (a->n_logit_bias != b->n_logit_bias) return false;
    for (int32_t i = 0; i < a->n_logit_bias; i++)
        if (a->logit_bias[i].token != b->logit_bias[i].token || a->logit_bias[i].bias != b->logit_bias[i].bias)
            return false;
    return true;
}

static bool same_breakers(const SamplerParams *a, const SamplerParams *b, int32_t n_vocab)
{
    const size_t mask_bytes = ((size_t)n_vocab + 31) / 32 * sizeof(uint32_t);
    if (a->n_dry_breakers != b->n_dry_breakers || !a->dry_breaker_tokens != !b->dry_breaker_tokens) return false;
    if (a->dry_breaker_tokens && memcmp(a->dry_breaker_tokens, b->dry_breaker_tokens, mask_bytes) != 0) return false;
    for (int32_t i = 0; i < a->n_dry_breakers; i++) {
        if (a->dry_breakers[i].count != b->dry_breakers[i].count) return false;
        const size_t bytes = (size_t)a->dry_breakers[i].count * sizeof(int32_t);
        if (memcmp(a->dry_breakers[i].tokens, b->dry_breakers[i].tokens, bytes) != 0) return false;
    }
    return true;
}

bool sampler_has_params(const Sampler *sampler, const SamplerParams *params)
{
    const SamplerParams *own = &sampler->params;
    return same_numbers(own, params) && same_order(own, params) && same_bias(own, params) &&
           same_breakers(own, params, sampler->n_vocab);
}

void sampler_reset(Sampler *sampler)
{
    sampler->n_history = 0;
    if (sampler->counts) memset(sampler->counts, 0, (size_t)sampler->n_vocab * sizeof *sampler->counts);
    sampler->mirostat_bound = 2.0 * (double)sampler->params.mirostat_tau;
    sampler->drawn = -1;
}

static void remember(Sampler *sampler, int32_t token)
{
    if (sampler->n_history == sampler->history_capacity) {
        const int32_t kept = sampler->window;
        memmove(sampler->history, sampler->history + sampler->n_history - kept, (size_t)kept * sizeof(int32_t));
        sampler->n_history = kept;
    }
    sampler->history[sampler->n_history++] = token;
    if (!sampler->counts) return;
    sampler->counts[token]++;
    if (sampler->n_history > sampler->penalty_window)
        sampler->counts[sampler->history[sampler->n_history - 1 - sampler->penalty_window]]--;
}

void sampler_accept(Sampler *sampler, int32_t token)
{
    if (token < 0 || token >= sampler->n_vocab) return;
    if (sampler->window > 0) remember(sampler, token);
    if (token == sampler->drawn)
        sampler->mirostat_bound -=
            (double)sampler->params.mirostat_eta * (sampler->drawn_surprise - (double)sampler->params.mirostat_tau);
    sampler->drawn = -1;
}

/* ---- Links ---- */

static void apply_allowed(int32_t n_vocab, float *logits, const uint32_t *allowed)
{
    for (int32_t first = 0; first < n_vocab; first += 32) {
        const uint32_t word = allowed[first / 32];
        if (word == UINT32_MAX) continue;
        const int32_t n = n_vocab - first < 32 ? n_vocab - first : 32;
        for (int32_t i = 0; i < n; i++)
            if (!(word >> i & 1u)) logits[first + i] = -INFINITY;
    }
}

static float penalize(const SamplerParams *p, float logit, int32_t count)
{
    const float repeated = logit > 0.0f ? logit / p->repeat_penalty : logit * p->repeat_penalty;
    return repeated - (float)count * p->frequency_penalty - p->presence_penalty;
}

/* The last n tokens, as many as a window holds. */
static const int32_t *recent_tokens(const Sampler *sampler, int32_t window, int32_t *n)
{
    *n = sampler->n_history < window ? sampler->n_history : window;
    return sampler->history + sampler->n_history - *n;
}

/* Keskar et al., CTRL, 2019 (repeat); the other two as OpenAI's API documents them. */
static void apply_penalties(Sampler *sampler)
{
    if (!sampler->counts) return;
    Selection *selection = &sampler->selection;
    int32_t *counts = sampler->counts;
    if (!selection->whole) {
        for (int32_t i = 0; i < selection->n; i++) {
            Candidate *candidate = &selection->list[i];
            if (counts[candidate->id] > 0)
                candidate->key = penalize(&sampler->params, candidate->key, counts[candidate->id]);
        }
        selection_resort(selection);
        return;
    }
    /* A token may be there many times but is penalized once: its count is negative from then to the end of the pass. */
    int32_t n;
    const int32_t *recent = recent_tokens(sampler, sampler->penalty_window, &n);
    for (int32_t i = 0; i < n; i++) {
        const int32_t id = recent[i];
        if (counts[id] < 0) continue;
        selection->logits[id] = penalize(&sampler->params, selection->logits[id], counts[id]);
        counts[id] = -counts[id];
    }
    for (int32_t i = 0; i < n; i++)
        if (counts[recent[i]] < 0) counts[recent[i]] = -counts[recent[i]];
    selection_touch(selection);
}

static float dry_penalty(const SamplerParams *p, int32_t length)
{
    if (length < 1 || length < p->dry_allowed_length) return 0.0f;
    const double penalty =
        (double)p->dry_multiplier * pow((double)p->dry_base, (double)(length - p->dry_allowed_length));
    return penalty < 1e30 ? (float)penalty : 1e30f; /* not infinity: a penalty is no ban */
}

/* Sets dry_length of the tokens that would prolong a repetition, all of them among recent[n]; false: there is none. */
static bool measure_repetitions(Sampler *sampler, const int32_t *recent, int32_t n)
{
    const int32_t reach = dry_reach(&sampler->breakers, recent, n);
    if (reach == 0 || reach < sampler->params.dry_allowed_length) return false;
    dry_match(recent, n, reach, sampler->dry_match);
    for (int32_t i = 1; i < n; i++) {
        const int32_t id = recent[n - i];
        if (dry_is_breaker(&sampler->breakers, id)) continue;
        if (sampler->dry_match[i] > sampler->dry_length[id]) sampler->dry_length[id] = sampler->dry_match[i];
    }
    return true;
}

static void apply_dry(Sampler *sampler)
{
    if (sampler->dry_window == 0) return;
    Selection *selection = &sampler->selection;
    int32_t n;
    const int32_t *recent = recent_tokens(sampler, sampler->dry_window, &n);
    if (!measure_repetitions(sampler, recent, n)) return;
    if (!selection->whole) {
        for (int32_t i = 0; i < selection->n; i++)
            selection->list[i].key -= dry_penalty(&sampler->params, sampler->dry_length[selection->list[i].id]);
        selection_resort(selection);
    }
    for (int32_t i = 1; i < n; i++) {
        const int32_t id = recent[n - i];
        if (selection->whole) selection->logits[id] -= dry_penalty(&sampler->params, sampler->dry_length[id]);
        sampler->dry_length[id] = 0;
    }
    selection_touch(selection);
}

static void apply_top_k(Sampler *sampler)
{
    if (sampler->params.top_k > 0) selection_top_k(&sampler->selection, sampler->params.top_k);
}

static void apply_typical_p(Sampler *sampler)
{
    if (sampler->params.typical_p < 1.0f) selection_typical_p(&sampler->selection, sampler->params.typical_p);
}

static void apply_top_p(Sampler *sampler)
{
    if (sampler->params.top_p < 1.0f) selection_top_p(&sampler->selection, sampler->params.top_p);
}

static void apply_min_p(Sampler *sampler)
{
    if (sampler->params.min_p > 0.0f)
        selection_at_least(&sampler->selection, selection_max(&sampler->selection) + logf(sampler->params.min_p));
}

static float temperature_factor(const SamplerParams *p)
{
    const float factor = 1.0f / p->temperature;
    return factor < 1e30f ? factor : 1e30f;
}

static void apply_temperature(Sampler *sampler)
{
    const float factor = temperature_factor(&sampler->params);
    if (factor != 1.0f) selection_scale(&sampler->selection, factor);
}

/* Which links have a part to play when the answer is the most probable token, or under mirostat. */
static const struct {
    void (*apply)(Sampler *sampler);
    bool greedy, mirostat;
} links[SAMPLER_LINK_COUNT] = {
    [SAMPLER_PENALTIES] = {apply_penalties, true, true},
    [SAMPLER_DRY] = {apply_dry, true, true},
    [SAMPLER_TOP_K] = {apply_top_k, false, false},
    [SAMPLER_TYPICAL_P] = {apply_typical_p, false, false},
    [SAMPLER_TOP_P] = {apply_top_p, false, false},
    [SAMPLER_MIN_P] = {apply_min_p, false, false},
    [SAMPLER_TEMPERATURE] = {apply_temperature, false, true},
};

/* ---- The draw ---- */

/* Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011: Philox 4x32-10. Key: the seed; counter: the
 * position. */
static double uniform_at(uint64_t seed, int64_t position)
{
    uint32_t c[4] = {(uint32_t)position, (uint32_t)((uint64_t)position >> 32), 0, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ key[1],
                                  (uint32_t)a};
        memcpy(c, next, sizeof c);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) * 0x1p-53;
}

/* Basu et al., Mirostat, 2021, with the bound on the surprise in place of an estimated k ("mirostat 2"): tokens more
 * surprising than the bound are cut off; how surprising the drawn one was, before the cut, moves the bound. */
static int32_t draw_mirostat(Sampler *sampler, double u)
{
    Selection *selection = &sampler->selection;
    const double log_sum = selection_log_sum(selection) + (double)selection_max(selection);
    selection_at_least(selection, (float)(log_sum - sampler->mirostat_bound * M_LN2));
    const int32_t token = selection_draw(selection, u);
    sampler->drawn_surprise = (log_sum - (double)selection_logit(selection, token)) / M_LN2;
    return token;
}

int32_t sampler_draw(Sampler *sampler, float *logits, const uint32_t *allowed, int64_t position)
{
    const SamplerParams *p = &sampler->params;
    Selection *selection = &sampler->selection;
    const bool greedy = p->temperature <= 0.0f;
    sampler->drawn = -1;
    if (allowed) apply_allowed(sampler->n_vocab, logits, allowed);
    for (int32_t i = 0; i < p->n_logit_bias; i++) logits[p->logit_bias[i].token] += p->logit_bias[i].bias;
    selection_begin(selection, logits);

    for (int32_t i = 0; i < p->n_links; i++) {
        const SamplerLink link = p->order[i];
        if ((greedy && !links[link].greedy) || (p->mirostat && !links[link].mirostat)) continue;
        if (!links[link].greedy && !isfinite(selection_max(selection))) break;
        links[link].apply(sampler);
    }
    const float max = selection_max(selection);
    if (max == -INFINITY) return -1;
    if (greedy || max == INFINITY) return selection_best(selection);

    const double u = uniform_at(p->seed, position);
    if (p->mirostat) {
        sampler->drawn = draw_mirostat(sampler, u);
        return sampler->drawn;
    }
    return selection_draw(selection, u);
}

/* ---- Draws by a backend ---- */

static bool list_penalized(Sampler *sampler, SampleRow *row)
{
    int32_t n, *counts = sampler->counts;
    if (!counts) return false;
    const int32_t *recent = recent_tokens(sampler, sampler->penalty_window, &n);
    for (int32_t i = 0; i < n; i++) {
        const int32_t id = recent[i];
        if (counts[id] < 0) continue;
        sampler->penalized[row->penalties.count++] = (SampleEntry){id, (float)counts[id]};
        counts[id] = -counts[id];
    }
    for (int32_t i = 0; i < row->penalties.count; i++)
        counts[sampler->penalized[i].token] = -counts[sampler->penalized[i].token];
    row->penalties.entries = sampler->penalized;
    return n > 0;
}

static bool list_repeating(Sampler *sampler, SampleRow *row)
{
    int32_t n;
    if (sampler->dry_window == 0) return false;
    const int32_t *recent = recent_tokens(sampler, sampler->dry_window, &n);
    if (!measure_repetitions(sampler, recent, n)) return false;
    for (int32_t i = 1; i < n; i++) {
        const int32_t id = recent[n - i];
        const float penalty = dry_penalty(&sampler->params, sampler->dry_length[id]);
        if (penalty > 0.0f) sampler->repeating[row->dry.count++] = (SampleEntry){id, penalty};
        sampler->dry_length[id] = 0;
    }
    row->dry.entries = sampler->repeating;
    return row->dry.count > 0;
}

/* Whether a link has something to do; makes its list where it has one. */
static bool describe_link(Sampler *sampler, SamplerLink link, SampleRow *row)
{
    const SamplerParams *p = &sampler->params;
    switch (link) {
    case SAMPLER_PENALTIES: return list_penalized(sampler, row);
    case SAMPLER_DRY: return list_repeating(sampler, row);
    case SAMPLER_TOP_K: return p->top_k > 0 && p->top_k < sampler->n_vocab;
    case SAMPLER_TYPICAL_P: return p->typical_p < 1.0f;
    case SAMPLER_TOP_P: return p->top_p < 1.0f;
    case SAMPLER_MIN_P: return p->min_p > 0.0f;
    case SAMPLER_TEMPERATURE: return row->factor != 1.0f;
    default: return false;
    }
}

bool sampler_describe(Sampler *sampler, const uint32_t *allowed, int64_t position, SampleRow *row)
{
    static const uint8_t names[SAMPLER_LINK_COUNT] = {
        [SAMPLER_PENALTIES] = SAMPLE_PENALTIES, [SAMPLER_DRY] = SAMPLE_DRY,
        [SAMPLER_TOP_K] = SAMPLE_TOP_K,         [SAMPLER_TYPICAL_P] = SAMPLE_TYPICAL_P,
        [SAMPLER_TOP_P] = SAMPLE_TOP_P,         [SAMPLER_MIN_P] = SAMPLE_MIN_P,
        [SAMPLER_TEMPERATURE] = SAMPLE_TEMPERATURE,
    };
    const SamplerParams *p = &sampler->params;
    const bool greedy = p->temperature <= 0.0f;
    bool scaled = false, cut = false, good = true;
    *row = (SampleRow){.kind = greedy ? SAMPLE_GREEDY : SAMPLE_DRAW,
                       .n_vocab = sampler->n_vocab,
                       .allowed = allowed,
                       .bias = {sampler->bias, p->n_logit_bias},
                       .repeat = p->repeat_penalty,
                       .frequency = p->frequency_penalty,
                       .presence = p->presence_penalty,
                       .top_k = p->top_k,
                       .typical_p = p->typical_p,
                       .top_p = p->top_p,
                       .min_p_log = p->min_p > 0.0f ? logf(p->min_p) : -INFINITY,
                       .factor = greedy ? 1.0f : temperature_factor(p),
                       .mirostat_bound = sampler->mirostat_bound,
                       .u = uniform_at(p->seed, position)};
    sampler->drawn = -1;
    for (int32_t i = 0; i < p->n_links; i++) {
        const SamplerLink link = p->order[i];
        if ((greedy && !links[link].greedy) || (p->mirostat && !links[link].mirostat)) continue;
        if (!describe_link(sampler, link, row)) continue;
        row->links[row->n_links++] = names[link];
        /* Single logits of the whole vocabulary behind a change of all. */
        if (links[link].greedy && scaled && !cut) good = false;
        scaled = scaled || link == SAMPLER_TEMPERATURE;
        cut = cut || !links[link].mirostat;
    }
    if (p->mirostat && !greedy) row->links[row->n_links++] = SAMPLE_MIROSTAT;
    return good;
}

int32_t sampler_take(Sampler *sampler, const SampleResult *result)
{
    sampler->drawn = -1;
    if (sampler->params.mirostat && !isnan(result->surprise)) {
        sampler->drawn = result->token;
        sampler->drawn_surprise = result->surprise;
    }
    return result->token;
}
