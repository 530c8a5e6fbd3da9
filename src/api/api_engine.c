/*
 * api_engine.c - imp/serve.h over the engine: configurations and requests translated, the backend lent for its life.
 */
#include "api/api.h"

#include "imp/serve.h"
#include "runtime/engine.h"

#include <stdlib.h>

struct ImpEngineObject {
    ImpModel model;
    ModelBackend *backend;
    Engine *engine;
};

enum { DEFAULT_SEQUENCES = 16, DEFAULT_WAITING = 1024, SNAPSHOTS = 256, PIN_PERCENT = 25 };

static ImpEngineConfig default_config(void)
{
    ImpEngineConfig config = {.size = sizeof config,
                              .context = imp_config_default(),
                              .max_waiting = DEFAULT_WAITING,
                              .prefix_cache = true,
                              .pin_percent = PIN_PERCENT};
    config.context.max_sequences = DEFAULT_SEQUENCES;
    return config;
}

void imp_engine_config_init(ImpEngineConfig *config, size_t size)
{
    const ImpEngineConfig defaults = default_config();
    api_init_sized(config, size, &defaults, sizeof defaults);
}

/* Pages for every sequence at its longest, or for what their share of the free memory holds. */
static int32_t choose_kv_tokens(const Model *model, uint64_t available, const RunnerOptions *runner)
{
    const int64_t most = (int64_t)runner->max_tokens * runner->max_sequences;
    const uint64_t per_token = api_kv_bytes_per_token(model, runner->kv_type);
    int64_t fits = most;
    if (per_token > 0 && available > 0 && available / per_token < (uint64_t)most)
        fits = (int64_t)(available / per_token);
    if (fits < runner->max_tokens) fits = runner->max_tokens;
    return fits < INT32_MAX / 2 ? (int32_t)fits : INT32_MAX / 2;
}

static ImpStatus engine_options(ImpModel model, const ImpEngineConfig *config, const ModelBackend *backend,
                                EngineOptions *out)
{
    ImpConfig context = config->context;
    /* How long one sequence may be is decided as for a context of its own; how many there are is the pages' business.
     */
    context.max_sequences = 1;
    *out = (EngineOptions){.max_waiting = config->max_waiting};
    IMP_TRY(api_runner_options(model->model, &context, backend, &out->runner));
    out->runner.max_sequences = out->runner.max_logits = config->context.max_sequences;
    out->runner.prefix_index = config->prefix_cache;
    out->runner.pin_percent = config->pin_percent;
    out->runner.n_snapshots = config->prefix_cache && model->model->has_state ? SNAPSHOTS : 0;
    out->runner.kv_tokens =
        config->kv_tokens > 0 ? config->kv_tokens : choose_kv_tokens(model->model, api_kv_memory(&context, backend), &out->runner);
    return IMP_OK;
}

static ImpStatus check_config(const ImpEngineConfig *config)
{
    if (config->kv_tokens < 0 || config->max_waiting < 1)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                        "ImpEngineConfig: kv_tokens must be at least 0, max_waiting at least 1");
    if (!(config->pin_percent >= 0 && config->pin_percent <= 100))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "ImpEngineConfig.pin_percent is %g, but must be 0 to 100",
                        (double)config->pin_percent);
    return api_check_config(&config->context);
}

ImpStatus imp_engine_create(ImpModel model, const ImpEngineConfig *config, ImpEngine *engine)
{
    ImpEngineConfig full = default_config();
    EngineOptions options;
    ImpStatus status;
    API_REQUIRE(engine);
    *engine = NULL;
    API_REQUIRE(model);
    IMP_TRY(api_read_sized(config, &full, sizeof full, "ImpEngineConfig", "imp_engine_config_default"));
    IMP_TRY(check_config(&full));
    if (!model->model)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: only its vocabulary is loaded, there are no weights to run",
                        model_file_path(model->file));
    ImpEngine created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    created->model = api_model_keep(model);
    const Progress progress = {full.context.progress, full.context.progress_user};
    DeviceOptions device;
    IMP_GOTO(api_device_options(&full.context, &device));
    IMP_GOTO(api_backend_take(model, &device, &progress, &created->backend));
    IMP_GOTO(engine_options(model, &full, created->backend, &options));
    IMP_GOTO(engine_create(created->backend->backend, model->model, model->tokenizer, &options, &created->engine));
    *engine = created;
    return IMP_OK;
fail:
    imp_engine_free(created);
    return status;
}

void imp_engine_free(ImpEngine engine)
{
    if (!engine) return;
    engine_free(engine->engine);
    if (engine->backend) api_backend_return(engine->model, engine->backend);
    imp_model_free(engine->model);
    free(engine);
}

/* The stop strings of params and of the request as one list. */
static ImpStatus join_stops(const ImpGenerateParams *params, const ImpRequest *request, Arena *arena,
                            EngineRequest *out)
{
    if (params->n_stop < 0 || params->n_stop > IMP_MAX_STOP || request->n_stop < 0)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the number of stop strings makes no sense");
    out->n_stop = params->n_stop + request->n_stop;
    const char **all = arena_alloc(arena, (size_t)out->n_stop, sizeof *all);
    if (!all) return imp_fail_memory((size_t)out->n_stop * sizeof *all);
    for (int32_t i = 0; i < out->n_stop; i++)
        all[i] = i < params->n_stop ? params->stop[i] : request->stop[i - params->n_stop];
    out->stop = all;
    return IMP_OK;
}

ImpStatus imp_engine_submit(ImpEngine engine, const ImpRequest *request, uint64_t *id)
{
    ImpRequest full = {.size = sizeof full};
    ImpGenerateParams params;
    Arena arena = {0};
    ImpStatus status;
    uint64_t ignored;
    API_REQUIRE(engine);
    API_REQUIRE(request);
    IMP_TRY(api_read_sized(request, &full, sizeof full, "ImpRequest", "a cleared structure with its size set"));
    API_REQUIRE(full.callback);
    API_REQUIRE(full.tokens);
    IMP_TRY(api_read_params(full.params, &params));
    EngineRequest given = {
        .tokens = full.tokens,
        .n_tokens = full.n_tokens,
        .max_tokens = params.max_tokens,
        .ignore_end = params.ignore_end,
        .keep_special = params.keep_special,
        .want_logprobs = full.want_logprobs,
        .n_top_logprobs = full.n_top_logprobs,
        .embedding = full.embedding,
        .reasoning = {.open = full.reasoning_open,
                      .close = full.reasoning_close,
                      .budget = full.reasoning_budget,
                      .inside = full.inside_reasoning},
        .n_pinned = full.n_pinned,
        .pin_seconds = full.pin_seconds,
        .priority = full.priority,
        .timeout_seconds = full.timeout_seconds,
        .callback = full.callback,
        .user = full.user,
    };
    const uint64_t seed = params.seed == IMP_SEED_RANDOM ? api_random_seed() : params.seed;
    IMP_GOTO(join_stops(&params, &full, &arena, &given));
    IMP_GOTO(api_sampler_params(engine->model, &params, seed, &arena, &given.sampler));
    IMP_GOTO(api_constraint(engine->model, &params, &given.constraint, &given.vocab));
    status = engine_submit(engine->engine, &given, id ? id : &ignored);
fail:
    arena_free(&arena);
    return status;
}

void imp_engine_cancel(ImpEngine engine, uint64_t id)
{
    if (engine) engine_cancel(engine->engine, id);
}

void imp_engine_stop(ImpEngine engine)
{
    if (engine) engine_stop(engine->engine);
}

int32_t imp_engine_context(ImpEngine engine) { return engine ? engine_context(engine->engine) : 0; }

ImpStatus imp_engine_stats(ImpEngine engine, ImpEngineStats *stats)
{
    ImpEngineStats now;
    API_REQUIRE(engine);
    API_REQUIRE(stats);
    engine_stats(engine->engine, &now);
    return api_write_sized(stats, &now, sizeof now, "ImpEngineStats");
}
