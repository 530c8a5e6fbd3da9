/*
 * api_context.c - a conversation's own things: a backend's threads, pages for its tokens, a session.
 *
 * How long a sequence may be when nobody says so is decided here: as long as the model was trained for, but no longer
 * than its share of the free memory can hold, so that filling the context never costs the process its life.
 */
#include "api/api.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_LOGIT_BYTES = 64 << 20, /* as many rows of logits as this holds, but */
    LEAST_LOGIT_ROWS = 32,
    STATE_SNAPSHOTS = 8,    /* a prompt that leaves the last one's path starts from one of these */
    UNKNOWN_CONTEXT = 4096, /* for a model that does not say what it was trained for */
    LEAST_CONTEXT = 512,
    MAX_THREADS = 1024,
    MAX_CONTEXT = 1 << 28,
    CPU_CHUNK = 512,  /* rows of a step: enough to reuse what is in the caches, */
    GPU_CHUNK = 4096, /* or to keep a GPU's tensor cores busy */
};

/* ---- Configuration ---- */

static ImpStatus check_range(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "ImpConfig.%s is %lld, but must be %lld to %lld", name, (long long)value,
                    (long long)low, (long long)high);
}

ImpStatus api_check_config(const ImpConfig *config)
{
    IMP_TRY(check_range("n_threads", config->n_threads, 0, MAX_THREADS));
    IMP_TRY(check_range("max_seq_len", config->max_seq_len, 0, MAX_CONTEXT));
    IMP_TRY(check_range("max_sequences", config->max_sequences, 1, 1 << 16));
    IMP_TRY(check_range("min_kv_tokens", config->min_kv_tokens, 0, INT32_MAX));
    IMP_TRY(check_range("prefill_chunk_size", config->prefill_chunk_size, 0, 1 << 16));
    IMP_TRY(check_range("max_logits", config->max_logits, 0, 1 << 16));
    IMP_TRY(check_range("gpu_layers", config->gpu_layers, -1, INT32_MAX));
    if (!(config->kv_memory_fraction > 0.0f && config->kv_memory_fraction <= 1.0f))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "ImpConfig.kv_memory_fraction is %g, but must be above 0, up to 1",
                        (double)config->kv_memory_fraction);
    IMP_TRY(check_range("kv_type", (int64_t)config->kv_type, IMP_KV_F16, IMP_KV_NVFP4));
    IMP_TRY(check_range("cpu_isa", (int64_t)config->cpu_isa, IMP_CPU_AUTO, IMP_CPU_AMX));
    IMP_TRY(check_range("repack", (int64_t)config->repack, IMP_REPACK_AUTO, IMP_REPACK_NEVER));
    IMP_TRY(check_range("cuda_tier", (int64_t)config->cuda_tier, IMP_CUDA_AUTO, IMP_CUDA_BLACKWELL));
    IMP_TRY(check_range("cuda_graphs", (int64_t)config->cuda_graphs, IMP_GRAPHS_AUTO, IMP_GRAPHS_NEVER));
    return IMP_OK;
}

static DType kv_dtype(ImpKvType type)
{
    static const DType types[] = {
        [IMP_KV_F16] = DT_F16, [IMP_KV_BF16] = DT_BF16, [IMP_KV_F32] = DT_F32,     [IMP_KV_FP8] = DT_F8_E4M3,
        [IMP_KV_INT8] = DT_I8, [IMP_KV_INT4] = DT_Q4_0, [IMP_KV_NVFP4] = DT_NVFP4,
    };
    return types[type];
}

/* Bytes of keys and values of one token in all layers that keep everything; windows are small beside them. */
uint64_t api_kv_bytes_per_token(const Model *model, DType type)
{
    uint64_t elements = 0;
    for (int32_t i = 0; i < model->n_layers; i++) {
        const Attention *attention = &model->layers[i].attention;
        if (model->layers[i].mixer != MIXER_ATTENTION || attention->kv_layer != i || attention->window > 0) continue;
        elements += (uint64_t)attention->n_kv_heads * (uint64_t)(attention->head_dim + attention->head_dim_v);
    }
    return elements * dtype_info(type)->block_bytes / dtype_info(type)->block_elems;
}

static int32_t default_context(const Model *model, const ImpConfig *config, uint64_t available)
{
    const uint64_t bytes = api_kv_bytes_per_token(model, kv_dtype(config->kv_type)) * (uint64_t)config->max_sequences;
    int32_t n_tokens = model->n_ctx_train > 0 ? model->n_ctx_train : UNKNOWN_CONTEXT;
    if (n_tokens > MAX_CONTEXT) n_tokens = MAX_CONTEXT;
    if (bytes == 0 || available == 0 || available / bytes >= (uint64_t)n_tokens) return n_tokens;
    const int32_t least = n_tokens < LEAST_CONTEXT ? n_tokens : LEAST_CONTEXT;
    int32_t fits = (int32_t)(available / bytes);
    fits -= fits % LEAST_CONTEXT;
    if (fits < least) fits = least;
    log_line(LOG_WARNING,
             "the context is %d tokens, not the model's %d: keys and values may take %.0f %% of the free memory", (int)fits,
             (int)n_tokens, 100 * (double)config->kv_memory_fraction);
    return fits;
}

static int32_t default_logit_rows(const Model *model, int32_t chunk)
{
    const int32_t fit = DEFAULT_LOGIT_BYTES / (int32_t)sizeof(float) / model->n_vocab;
    const int32_t most = chunk < fit ? chunk : fit;
    return most > LEAST_LOGIT_ROWS ? most : LEAST_LOGIT_ROWS;
}

ImpStatus api_runner_options(const Model *model, const ImpConfig *config, const ModelBackend *backend,
                             RunnerOptions *out)
{
    *out = runner_default_options();
    out->max_tokens = config->max_seq_len > 0 ? config->max_seq_len
                                              : default_context(model, config, api_kv_memory(config, backend));
    if (model->n_ctx_train > 0 && out->max_tokens > model->n_ctx_train)
        log_line(LOG_WARNING, "the context is %d tokens, but the model was trained for %d", (int)out->max_tokens,
                 (int)model->n_ctx_train);
    out->max_sequences = config->max_sequences;
    out->chunk = config->prefill_chunk_size;
    if (out->chunk == 0) out->chunk = backend->options.gpu ? GPU_CHUNK : CPU_CHUNK;
    out->kv_type = kv_dtype(config->kv_type);
    out->max_logits = config->max_logits > 0 ? config->max_logits : default_logit_rows(model, out->chunk);
    if (out->max_logits < out->max_sequences) out->max_logits = out->max_sequences;
    /* Where a sequence alone cannot go back, the index can; where it can, it goes back further by itself. */
    bool has_window = false;
    for (int32_t g = 0; g < model->n_page_groups; g++) has_window = has_window || model->page_groups[g].window > 0;
    out->prefix_index = model->has_state || has_window;
    out->n_snapshots = model->has_state ? STATE_SNAPSHOTS : 0;
    if ((int64_t)out->max_tokens * out->max_sequences >= config->min_kv_tokens) return IMP_OK;
    return imp_fail(IMP_ERR_OUT_OF_MEMORY,
                    "keys and values of %d tokens are asked for (min_kv_tokens), but there is room for %lld",
                    (int)config->min_kv_tokens, (long long)out->max_tokens * out->max_sequences);
}

/* ---- Life ---- */

static ImpStatus create_parts(ImpContext context, const ImpConfig *config)
{
    ImpModel model = context->model;
    const Progress progress = {config->progress, config->progress_user};
    DeviceOptions device;
    RunnerOptions options;
    IMP_TRY(api_device_options(config, &device));
    IMP_TRY(api_backend_take(model, &device, &progress, &context->backend));
    IMP_TRY(api_runner_options(model->model, config, context->backend, &options));
    IMP_TRY(runner_create(context->backend->backend, model->model, &options, &context->runner));
    IMP_TRY(session_create(context->runner, model->model->n_vocab, model->tokenizer, &context->session));
    session_watch(context->session, &progress);
    context->open_sequences = calloc((size_t)options.max_sequences, sizeof *context->open_sequences);
    context->step_inputs = calloc((size_t)options.max_sequences, sizeof *context->step_inputs);
    if (context->open_sequences && context->step_inputs) return IMP_OK;
    return imp_fail_memory((size_t)options.max_sequences * sizeof *context->step_inputs);
}

ImpStatus imp_context_create(ImpModel model, const ImpConfig *config, ImpContext *context)
{
    ImpConfig full;
    API_REQUIRE(context);
    *context = NULL;
    API_REQUIRE(model);
    IMP_TRY(api_read_config(config, &full));
    IMP_TRY(api_check_config(&full));
    if (!model->model)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: only its vocabulary is loaded, there are no weights to run",
                        model_file_path(model->file));
    ImpContext created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    created->model = api_model_keep(model);
    created->random_seed = api_random_seed();
    const ImpStatus status = create_parts(created, &full);
    if (status != IMP_OK) {
        imp_context_free(created);
        return status;
    }
    *context = created;
    return IMP_OK;
}

void imp_context_free(ImpContext context)
{
    if (!context) return;
    session_free(context->session);
    runner_free(context->runner);
    if (context->backend) api_backend_return(context->model, context->backend);
    imp_model_free(context->model);
    free(context->open_sequences);
    free(context->step_inputs);
    free(context);
}

/* ---- Tokens ---- */

const int32_t *imp_context_tokens(ImpContext context, int32_t *n_tokens)
{
    int32_t count = 0;
    const int32_t *tokens = context ? session_tokens(context->session, &count) : NULL;
    if (n_tokens) *n_tokens = count;
    return tokens;
}

int32_t imp_context_capacity(ImpContext context) { return context ? session_capacity(context->session) : 0; }

void imp_context_reset(ImpContext context)
{
    if (context) session_reset(context->session);
}

void imp_context_cancel(ImpContext context)
{
    if (context) atomic_store(session_cancel_flag(context->session), true);
}

ImpStatus imp_prefill(ImpContext context, const int32_t *tokens, int32_t n_tokens)
{
    API_REQUIRE(context);
    API_REQUIRE(tokens);
    return session_feed(context->session, tokens, n_tokens);
}

float *imp_logits(ImpContext context) { return context ? session_logits(context->session) : NULL; }

ImpStatus imp_decode_step(ImpContext context, const ImpGenerateParams *params, int32_t *token)
{
    ImpGenerateParams full;
    SamplerParams sampler;
    Arena arena = {0};
    ImpStatus status;
    API_REQUIRE(token);
    *token = -1;
    API_REQUIRE(context);
    IMP_TRY(api_read_params(params, &full));
    if (!params) full.temperature = 0.0f;
    const uint64_t seed = full.seed == IMP_SEED_RANDOM ? context->random_seed : full.seed;
    IMP_GOTO(api_sampler_params(context->model, &full, seed, &arena, &sampler));
    status = session_step(context->session, &sampler, token);
fail:
    arena_free(&arena);
    return status;
}
