/* test_sampler.c - the chain against plain models of its papers, its distribution, and what a draw may depend on. */
#include "cmocka_all.h"

#include "runtime/sampler.h"
#include "runtime/sampler_dry.h"
#include "count_allocations.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const link_names[SAMPLER_LINK_COUNT] = {
    [SAMPLER_PENALTIES] = "penalties",     [SAMPLER_DRY] = "dry",     [SAMPLER_TOP_K] = "top_k",
    [SAMPLER_TYPICAL_P] = "typical_p",     [SAMPLER_TOP_P] = "top_p", [SAMPLER_MIN_P] = "min_p",
    [SAMPLER_TEMPERATURE] = "temperature",
};

/* As hash32, logits_of and history_of in make_sampler_goldens.py. */
static uint32_t hash32(uint32_t value)
{
    value ^= value >> 16;
    value *= 0x85EBCA6Bu;
    value ^= value >> 13;
    value *= 0xC2B2AE35u;
    return value ^ value >> 16;
}

static void make_logits(float *logits, int32_t n_vocab, uint32_t salt, int bits, float spread)
{
    for (int32_t i = 0; i < n_vocab; i++) {
        const uint32_t value = hash32((uint32_t)i * 2654435761u + salt) >> (32 - bits);
        logits[i] = (float)value * spread / (float)(1u << bits) - spread / 2;
    }
}

static int32_t history_token(int32_t n_vocab, uint32_t salt, uint32_t index, uint32_t distinct)
{
    return (int32_t)(hash32(salt * 7919u + index) % distinct * 31u % (uint32_t)n_vocab);
}

enum { MAX_BIAS = 8, MAX_BREAKER = 4 };

typedef struct CaseLists {
    LogitBias bias[MAX_BIAS];
    uint32_t breaker_tokens[64];
    int32_t breakers[SAMPLER_MAX_BREAKERS][MAX_BREAKER];
} CaseLists;

static void read_lists(const json_t *changes, SamplerParams *params, CaseLists *lists)
{
    size_t i, j;
    json_t *item, *token;
    json_array_foreach(json_object_get(changes, "order"), i, item)
    {
        for (int link = 0; link < SAMPLER_LINK_COUNT; link++)
            if (strcmp(link_names[link], json_string_value(item)) == 0) params->order[i] = (SamplerLink)link;
    }
    if (json_object_get(changes, "order")) params->n_links = (int32_t)i;
    json_array_foreach(json_object_get(changes, "logit_bias"), i, item)
    {
        const json_t *bias = json_array_get(item, 1);
        lists->bias[i].token = (int32_t)json_integer_value(json_array_get(item, 0));
        lists->bias[i].bias = json_is_null(bias) ? -INFINITY : (float)json_number_value(bias);
        params->logit_bias = lists->bias;
        params->n_logit_bias = (int32_t)i + 1;
    }
    json_array_foreach(json_object_get(changes, "breaker_tokens"), i, item)
    {
        const int32_t id = (int32_t)json_integer_value(item);
        lists->breaker_tokens[id / 32] |= 1u << (id % 32);
        params->dry_breaker_tokens = lists->breaker_tokens;
    }
    json_array_foreach(json_object_get(changes, "breaker_sequences"), i, item)
    {
        json_array_foreach(item, j, token) lists->breakers[i][j] = (int32_t)json_integer_value(token);
        params->dry_breakers[i].tokens = lists->breakers[i];
        params->dry_breakers[i].count = (int32_t)json_array_size(item);
        params->n_dry_breakers = (int32_t)i + 1;
    }
}

static void read_numbers(const json_t *changes, SamplerParams *params)
{
    const struct {
        const char *name;
        float *number;
        int32_t *integer;
    } fields[] = {
        {"temperature", &params->temperature, NULL},
        {"top_k", NULL, &params->top_k},
        {"top_p", &params->top_p, NULL},
        {"min_p", &params->min_p, NULL},
        {"typical_p", &params->typical_p, NULL},
        {"repeat_penalty", &params->repeat_penalty, NULL},
        {"repeat_last_n", NULL, &params->repeat_last_n},
        {"frequency_penalty", &params->frequency_penalty, NULL},
        {"presence_penalty", &params->presence_penalty, NULL},
        {"dry_multiplier", &params->dry_multiplier, NULL},
        {"dry_base", &params->dry_base, NULL},
        {"dry_allowed_length", NULL, &params->dry_allowed_length},
        {"dry_penalty_last_n", NULL, &params->dry_penalty_last_n},
        {"mirostat", NULL, &params->mirostat},
        {"mirostat_tau", &params->mirostat_tau, NULL},
        {"mirostat_eta", &params->mirostat_eta, NULL},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const json_t *value = json_object_get(changes, fields[i].name);
        if (value && fields[i].number) *fields[i].number = (float)json_number_value(value);
        if (value && fields[i].integer) *fields[i].integer = (int32_t)json_integer_value(value);
    }
    const json_t *seed = json_object_get(changes, "seed");
    if (seed) params->seed = json_is_string(seed) ? strtoull(json_string_value(seed), NULL, 10) : 0;
}

static void run_case(const json_t *golden)
{
    const char *name = json_string_value(json_object_get(golden, "name"));
    const int32_t n_vocab = (int32_t)json_integer_value(json_object_get(golden, "n_vocab"));
    const int bits = (int)json_integer_value(json_object_get(golden, "bits"));
    const float spread = (float)json_number_value(json_object_get(golden, "spread"));
    const int32_t step = (int32_t)json_integer_value(json_object_get(golden, "allowed_step"));
    const bool accept = json_is_true(json_object_get(golden, "accept"));
    const json_t *history = json_object_get(golden, "history"), *tokens = json_object_get(golden, "tokens");
    const json_t *changes = json_object_get(golden, "changes");
    const uint32_t salt = (uint32_t)strlen(name);

    SamplerParams params = sampler_default_params();
    params.seed = 1;
    CaseLists lists = {0};
    read_numbers(changes, &params);
    read_lists(changes, &params, &lists);
    Sampler *sampler;
    assert_int_equal(sampler_create(&params, n_vocab, 1000, &sampler), IMP_OK);

    const uint32_t n_history = (uint32_t)json_integer_value(json_array_get(history, 0));
    const uint32_t distinct = (uint32_t)json_integer_value(json_array_get(history, 1));
    for (uint32_t i = 0; i < n_history; i++) sampler_accept(sampler, history_token(n_vocab, salt, i, distinct));
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    uint32_t *allowed = calloc((size_t)n_vocab / 32 + 1, sizeof *allowed);
    for (int32_t id = 0; step > 0 && id < n_vocab; id += step) allowed[id / 32] |= 1u << (id % 32);

    size_t position;
    json_t *expected;
    json_array_foreach(tokens, position, expected)
    {
        make_logits(logits, n_vocab, (uint32_t)position * 977u + salt, bits, spread);
        const int32_t token = sampler_draw(sampler, logits, step > 0 ? allowed : NULL, (int64_t)position);
        if (token != json_integer_value(expected))
            fail_msg("%s: draw %zu is %d, the model of the paper draws %d", name, position, (int)token,
                     (int)json_integer_value(expected));
        if (accept) sampler_accept(sampler, token);
    }
    free(allowed);
    free(logits);
    sampler_free(sampler);
}

static void draws_are_those_of_the_papers(void **state)
{
    (void)state;
    json_error_t error;
    json_t *goldens = json_load_file(IMP_TEST_DATA "/unit/runtime/sampler_goldens.json", 0, &error);
    assert_non_null(goldens);
    assert_true(json_array_size(goldens) > 40);
    size_t i;
    json_t *golden;
    json_array_foreach(goldens, i, golden) run_case(golden);
    json_decref(goldens);
}

/* 100,000 draws at successive positions against exact probabilities: Pearson's statistic below its 99.9 % quantile. The
 * seed is fixed, so this either holds or does not. */
static void distribution_passes_chi_square(void **state)
{
    (void)state;
    enum { N = 30, DRAWS = 100000 };
    SamplerParams params = sampler_default_params();
    params.temperature = 1.3f;
    params.top_k = 0;
    params.top_p = 1.0f;
    params.seed = 20240229;
    for (int truncated = 0; truncated < 2; truncated++) {
        params.top_k = truncated ? 20 : 0;
        Sampler *sampler;
        assert_int_equal(sampler_create(&params, N, 100, &sampler), IMP_OK);
        /* Logits fall with the id, so that the first 20 ids are the top 20. */
        double expected[N], total = 0.0;
        const int kept = truncated ? 20 : N;
        for (int i = 0; i < kept; i++) total += expected[i] = exp(-0.15 * i / 1.3);
        int counts[N] = {0};
        for (int draw = 0; draw < DRAWS; draw++) {
            float logits[N];
            for (int i = 0; i < N; i++) logits[i] = 3.0f - 0.15f * (float)i;
            const int32_t token = sampler_draw(sampler, logits, NULL, draw);
            assert_in_range(token, 0, kept - 1);
            counts[token]++;
        }
        double chi = 0.0;
        for (int i = 0; i < kept; i++) {
            const double mean = expected[i] / total * DRAWS;
            chi += (counts[i] - mean) * (counts[i] - mean) / mean;
        }
        assert_true(chi < (truncated ? 43.82 : 58.30)); /* 19 and 29 degrees of freedom */
        assert_true(chi > (truncated ? 4.0 : 8.0));     /* nor too good to be random */
        sampler_free(sampler);
    }
}

static int32_t draw_at(uint64_t seed, int64_t position, int draws_before)
{
    SamplerParams params = sampler_default_params();
    params.seed = seed;
    params.temperature = 3.0f;
    Sampler *sampler;
    assert_int_equal(sampler_create(&params, 500, 100, &sampler), IMP_OK);
    float logits[500];
    for (int i = 0; i < draws_before; i++) {
        make_logits(logits, 500, 1000u + (uint32_t)i, 20, 8);
        (void)sampler_draw(sampler, logits, NULL, i);
    }
    make_logits(logits, 500, 5, 20, 8);
    const int32_t token = sampler_draw(sampler, logits, NULL, position);
    sampler_free(sampler);
    return token;
}

static void a_draw_depends_on_seed_and_position_alone(void **state)
{
    (void)state;
    int other_seed = 0, other_position = 0;
    for (int64_t position = 0; position < 50; position++) {
        const int32_t token = draw_at(7, position, 0);
        assert_int_equal(token, draw_at(7, position, 3));
        other_seed += token != draw_at(8, position, 0);
        other_position += token != draw_at(7, position + (1LL << 40), 0);
    }
    assert_true(other_seed > 30 && other_position > 30);
}

/* A draw that is thrown away (a rejected draft) leaves no trace in mirostat. */
static void mirostat_learns_from_accepted_draws_only(void **state)
{
    (void)state;
    SamplerParams params = sampler_default_params();
    params.mirostat = 2;
    params.mirostat_tau = 2.0f;
    params.mirostat_eta = 0.7f;
    Sampler *plain, *disturbed;
    assert_int_equal(sampler_create(&params, 500, 100, &plain), IMP_OK);
    assert_int_equal(sampler_create(&params, 500, 100, &disturbed), IMP_OK);
    float logits[500];
    for (int position = 0; position < 100; position++) {
        make_logits(logits, 500, (uint32_t)position, 20, 12);
        const int32_t token = sampler_draw(plain, logits, NULL, position);
        make_logits(logits, 500, 77, 20, 12);
        (void)sampler_draw(disturbed, logits, NULL, position + 1000);
        make_logits(logits, 500, (uint32_t)position, 20, 12);
        assert_int_equal(sampler_draw(disturbed, logits, NULL, position), token);
        sampler_accept(plain, token);
        sampler_accept(disturbed, token);
    }
    sampler_free(plain);
    sampler_free(disturbed);
}

static void reset_forgets(void **state)
{
    (void)state;
    SamplerParams params = sampler_default_params();
    params.presence_penalty = 50.0f;
    params.repeat_last_n = -1;
    params.temperature = 0.0f;
    Sampler *sampler;
    assert_int_equal(sampler_create(&params, 4, 16, &sampler), IMP_OK);
    for (int round = 0; round < 3; round++) {
        float logits[4] = {1, 4, 3, 2};
        assert_int_equal(sampler_draw(sampler, logits, NULL, 0), 1);
        sampler_accept(sampler, 1);
        float again[4] = {1, 4, 3, 2};
        assert_int_equal(sampler_draw(sampler, again, NULL, 1), 2);
        sampler_reset(sampler);
    }
    sampler_free(sampler);
}

/* Far more tokens than the window: memory is bounded, and only the window counts. */
static void the_window_slides(void **state)
{
    (void)state;
    SamplerParams params = sampler_default_params();
    params.presence_penalty = 50.0f;
    params.repeat_last_n = 3;
    params.temperature = 0.0f;
    Sampler *sampler;
    assert_int_equal(sampler_create(&params, 5, 8, &sampler), IMP_OK);
    /* The most probable token that none of the last three was: 0 1 2 3 0 1 2 3 … */
    for (int i = 0; i < 1000; i++) {
        float logits[5] = {9, 8, 7, 6, 5};
        assert_int_equal(sampler_draw(sampler, logits, NULL, i), i % 4);
        sampler_accept(sampler, i % 4);
    }
    sampler_free(sampler);
}

static void nothing_left_is_minus_one(void **state)
{
    (void)state;
    const uint32_t none[2] = {0, 0}, last[2] = {0, 1u << 7};
    for (int greedy = 0; greedy < 2; greedy++) {
        SamplerParams params = sampler_default_params();
        params.temperature = greedy ? 0.0f : 1.0f;
        Sampler *sampler;
        assert_int_equal(sampler_create(&params, 40, 8, &sampler), IMP_OK);
        float logits[40];
        make_logits(logits, 40, 1, 20, 8);
        assert_int_equal(sampler_draw(sampler, logits, none, 0), -1);
        make_logits(logits, 40, 1, 20, 8);
        assert_int_equal(sampler_draw(sampler, logits, last, 0), 39);
        for (int i = 0; i < 40; i++) logits[i] = NAN;
        assert_int_equal(sampler_draw(sampler, logits, NULL, 0), -1);
        logits[11] = -3.0f;
        for (int i = 0; i < 40; i++) logits[i] = i == 11 ? -3.0f : NAN;
        assert_int_equal(sampler_draw(sampler, logits, NULL, 0), 11);
        for (int i = 0; i < 40; i++) logits[i] = i % 9 == 8 ? INFINITY : 0.0f;
        assert_int_equal(sampler_draw(sampler, logits, NULL, 0), 8);
        sampler_free(sampler);
    }
}

/* Whatever a broken model computes, the answer is an id. */
static void wild_logits_give_an_id(void **state)
{
    (void)state;
    enum { N = 300 };
    const float wild[] = {0.0f, -0.0f, 3e38f, -3e38f, 1e-40f, -1e-40f, NAN, -INFINITY, 88.0f, -88.0f};
    for (uint32_t trial = 0; trial < 600; trial++) {
        SamplerParams params = sampler_default_params();
        params.temperature = (float[]){1e-38f, 0.5f, 1e20f}[trial % 3];
        params.top_k = (int32_t)(trial % 5) * 3;
        params.top_p = (float[]){1.0f, 0.5f, 0.0f}[trial / 3 % 3];
        params.typical_p = (float[]){1.0f, 0.3f}[trial / 9 % 2];
        params.min_p = (float[]){0.0f, 0.2f}[trial / 18 % 2];
        params.mirostat = trial / 36 % 2 ? 2 : 0;
        params.dry_multiplier = trial % 7 == 0 ? 1e29f : 0.0f;
        params.repeat_penalty = trial % 4 == 0 ? 100.0f : 1.0f;
        Sampler *sampler;
        assert_int_equal(sampler_create(&params, N, 64, &sampler), IMP_OK);
        for (uint32_t i = 0; i < 40; i++) sampler_accept(sampler, (int32_t)(i % 3));
        float logits[N];
        for (uint32_t i = 0; i < N; i++) logits[i] = wild[hash32(i * 31u + trial) % 10u];
        logits[trial % N] = 1.0f;
        assert_in_range(sampler_draw(sampler, logits, NULL, trial), 0, N - 1);
        sampler_free(sampler);
    }
}

/* However long the repetition: a token that would prolong it can still be drawn when it is the only one. */
static void a_penalty_is_no_ban(void **state)
{
    (void)state;
    SamplerParams params = sampler_default_params();
    params.dry_multiplier = 1e20f;
    params.dry_base = 1e20f;
    params.repeat_penalty = 100.0f;
    Sampler *sampler;
    assert_int_equal(sampler_create(&params, 40, 64, &sampler), IMP_OK);
    for (int i = 0; i < 60; i++) sampler_accept(sampler, 5);
    const uint32_t only[2] = {1u << 5, 0};
    float logits[40];
    make_logits(logits, 40, 1, 20, 8);
    assert_int_equal(sampler_draw(sampler, logits, only, 60), 5);
    make_logits(logits, 40, 1, 20, 8);
    assert_int_not_equal(sampler_draw(sampler, logits, NULL, 60), 5);
    sampler_free(sampler);
}

static void a_draw_allocates_nothing(void **state)
{
    (void)state;
    SamplerParams params = sampler_default_params();
    params.top_k = 0;
    params.typical_p = 0.9f;
    params.min_p = 0.001f;
    params.repeat_penalty = 1.1f;
    params.dry_multiplier = 0.5f;
    Sampler *sampler;
    static float logits[20000];
    assert_int_equal(sampler_create(&params, 20000, 64, &sampler), IMP_OK);
    for (int i = 0; i < 300; i++) {
        make_logits(logits, 20000, (uint32_t)i, 20, 14);
        const size_t before = allocations();
        const int32_t token = sampler_draw(sampler, logits, NULL, i);
        sampler_accept(sampler, token % 50);
        assert_int_equal(allocations(), before);
    }
    sampler_free(sampler);
}

static void bad_parameters_are_named(void **state)
{
    (void)state;
    const SamplerParams defaults = sampler_default_params();
    Sampler *sampler;
#define REFUSED(change, word)                                                                                          \
    do {                                                                                                               \
        SamplerParams p = defaults;                                                                                    \
        change;                                                                                                        \
        assert_int_equal(sampler_create(&p, 100, 100, &sampler), IMP_ERR_INVALID_ARGUMENT);                            \
        assert_null(sampler);                                                                                          \
        assert_non_null(strstr(imp_last_error(), word));                                                               \
    } while (0)
    REFUSED(p.temperature = -0.1f, "temperature is -0.1, but must be at least 0");
    REFUSED(p.temperature = NAN, "temperature");
    REFUSED(p.top_k = -1, "top_k");
    REFUSED(p.top_p = 1.01f, "top_p is 1.01, but must be 0 to 1");
    REFUSED(p.min_p = -1.0f, "min_p");
    REFUSED(p.typical_p = 2.0f, "typical_p");
    REFUSED(p.repeat_penalty = 0.0f, "repeat_penalty");
    REFUSED(p.repeat_last_n = -2, "repeat_last_n");
    REFUSED(p.frequency_penalty = INFINITY, "frequency_penalty");
    REFUSED(p.presence_penalty = NAN, "presence_penalty");
    REFUSED(p.dry_base = 0.5f, "dry_base");
    REFUSED(p.dry_multiplier = -1.0f, "dry_multiplier");
    REFUSED(p.mirostat = 1, "mirostat is 1, but must be 0 (off) or 2");
    REFUSED((p.order[0] = SAMPLER_DRY, p.order[1] = SAMPLER_DRY), "twice");
    REFUSED(p.order[2] = (SamplerLink)99, "link 2");
    REFUSED(p.n_links = 17, "17 links");
    const LogitBias outside = {.token = 100, .bias = 1.0f}, not_a_number = {.token = 1, .bias = NAN};
    REFUSED((p.logit_bias = &outside, p.n_logit_bias = 1), "logit_bias names token 100");
    REFUSED((p.logit_bias = &not_a_number, p.n_logit_bias = 1), "logit_bias of token 1");
#undef REFUSED
}

/* The Z function against comparing every pair, on texts of few letters. */
static void repetitions_are_found(void **state)
{
    (void)state;
    for (uint32_t trial = 0; trial < 300; trial++) {
        int32_t text[40], match[40];
        const int32_t n = 1 + (int32_t)(hash32(trial) % 40u);
        for (int32_t i = 0; i < n; i++) text[i] = (int32_t)(hash32(trial * 64u + (uint32_t)i) % (1u + trial % 3u));
        dry_match(text, n, n, match);
        for (int32_t i = 1; i < n; i++) {
            int32_t length = 0;
            while (i + length < n && text[n - 1 - length] == text[n - 1 - i - length]) length++;
            assert_int_equal(match[i], length);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_the_papers),
        cmocka_unit_test(distribution_passes_chi_square),
        cmocka_unit_test(a_draw_depends_on_seed_and_position_alone),
        cmocka_unit_test(mirostat_learns_from_accepted_draws_only),
        cmocka_unit_test(reset_forgets),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(nothing_left_is_minus_one),
        cmocka_unit_test(wild_logits_give_an_id),
        cmocka_unit_test(a_penalty_is_no_ban),
        cmocka_unit_test(a_draw_allocates_nothing),
        cmocka_unit_test(bad_parameters_are_named),
        cmocka_unit_test(repetitions_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
