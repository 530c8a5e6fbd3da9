/*
 * api_test.h - what the tests of the public API share: the tiny model, and calls that must succeed.
 */
#ifndef IMP_TESTS_API_TEST_H
#define IMP_TESTS_API_TEST_H

#include "cmocka_all.h"

#include "imp/imp.h"
#include "imp/inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TINY_MODEL IMP_TEST_DATA "/unit/api/tiny.gguf"
#define GOLDEN(name) IMP_TEST_DATA "/oracle/golden/" name "/model.gguf"

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        const ImpStatus assert_status = (call);                                                                        \
        if (assert_status != IMP_OK) fail_msg("%s: %s", #call, imp_last_error());                                      \
    } while (0)

/* The call fails with this status and a sentence that holds `words`. */
#define assert_fails(call, status, words)                                                                              \
    do {                                                                                                               \
        assert_int_equal((call), (status));                                                                            \
        if (!strstr(imp_last_error(), (words))) fail_msg("'%s' does not say '%s'", imp_last_error(), (words));         \
    } while (0)

static inline ImpModel open_model(const char *path)
{
    ImpModel model = NULL;
    assert_ok(imp_model_load(path, IMP_FORMAT_AUTO, &model));
    return model;
}

static inline ImpConfig small_config(void)
{
    ImpConfig config = imp_config_default();
    config.n_threads = 1;
    config.max_seq_len = 512;
    return config;
}

static inline ImpContext open_context(ImpModel model)
{
    const ImpConfig config = small_config();
    ImpContext context = NULL;
    assert_ok(imp_context_create(model, &config, &context));
    return context;
}

/* A reproducible generation to the last token that never says a NUL, so that strlen and strstr can be used. */
static inline ImpGenerateParams steady_params(int32_t max_tokens)
{
    static const ImpLogitBias no_nul = {.token = 3, .bias = -INFINITY};
    ImpGenerateParams params = imp_generate_params_default();
    params.logit_bias = &no_nul;
    params.n_logit_bias = 1;
    params.seed = 11;
    params.max_tokens = max_tokens;
    params.ignore_end = true;
    return params;
}

static inline ImpStats stats_of(ImpContext context)
{
    ImpStats stats = {.size = sizeof stats};
    assert_ok(imp_stats(context, &stats));
    return stats;
}

#endif
