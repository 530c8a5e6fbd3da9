/*
 * api_generate.c - prompts become tokens, parameters become a sampler, and a session does the rest.
 */
#include "api/api.h"

#include "runtime/sampler_breakers.h"

#include <string.h>

/* ---- Parameters ---- */

static ImpStatus copy_order(const ImpGenerateParams *params, SamplerParams *out)
{
    static const SamplerLink links[] = {
        [IMP_SAMPLER_PENALTIES] = SAMPLER_PENALTIES,
        [IMP_SAMPLER_DRY] = SAMPLER_DRY,
        [IMP_SAMPLER_TOP_K] = SAMPLER_TOP_K,
        [IMP_SAMPLER_TYPICAL_P] = SAMPLER_TYPICAL_P,
        [IMP_SAMPLER_TOP_P] = SAMPLER_TOP_P,
        [IMP_SAMPLER_MIN_P] = SAMPLER_MIN_P,
        [IMP_SAMPLER_TEMPERATURE] = SAMPLER_TEMPERATURE,
    };
    if (params->n_order < 0 || params->n_order > IMP_MAX_SAMPLER_LINKS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the sampler chain has %d links, but may have 0 to %d",
                        (int)params->n_order, (int)IMP_MAX_SAMPLER_LINKS);
    out->n_links = params->n_order;
    for (int32_t i = 0; i < params->n_order; i++) {
        const unsigned link = (unsigned)params->order[i];
        if (link >= sizeof links / sizeof links[0])
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "link %d of the sampler chain is none that there is", (int)i);
        out->order[i] = links[link];
    }
    return IMP_OK;
}

static ImpStatus copy_bias(const ImpGenerateParams *params, Arena *arena, SamplerParams *out)
{
    if (params->n_logit_bias < 0 || (params->n_logit_bias > 0 && !params->logit_bias))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "logit_bias has no entries at its address");
    LogitBias *bias = arena_alloc(arena, (size_t)params->n_logit_bias, sizeof *bias);
    if (!bias) return imp_fail_memory((size_t)params->n_logit_bias * sizeof *bias);
    for (int32_t i = 0; i < params->n_logit_bias; i++)
        bias[i] = (LogitBias){.token = params->logit_bias[i].token, .bias = params->logit_bias[i].bias};
    out->logit_bias = bias;
    out->n_logit_bias = params->n_logit_bias;
    return IMP_OK;
}

ImpStatus api_sampler_params(ImpModel model, const ImpGenerateParams *params, uint64_t seed, Arena *arena,
                             SamplerParams *out)
{
    *out = (SamplerParams){
        .temperature = params->temperature,
        .top_k = params->top_k,
        .top_p = params->top_p,
        .min_p = params->min_p,
        .typical_p = params->typical_p,
        .repeat_penalty = params->repeat_penalty,
        .repeat_last_n = params->repeat_last_n,
        .frequency_penalty = params->frequency_penalty,
        .presence_penalty = params->presence_penalty,
        .dry_multiplier = params->dry_multiplier,
        .dry_base = params->dry_base,
        .dry_allowed_length = params->dry_allowed_length,
        .dry_penalty_last_n = params->dry_penalty_last_n,
        .mirostat = params->mirostat,
        .mirostat_tau = params->mirostat_tau,
        .mirostat_eta = params->mirostat_eta,
        .seed = seed,
    };
    IMP_TRY(copy_order(params, out));
    IMP_TRY(copy_bias(params, arena, out));
    if (params->dry_multiplier > 0.0f && model->tokenizer)
        IMP_TRY(sampler_breakers_set(model->tokenizer, params->dry_breakers, params->n_dry_breakers,
                                     model->model->n_vocab, arena, out));
    return IMP_OK;
}

/* A block of reasoning, between the tags of the chat template, that is kept within a budget. */
static ReasoningRule reasoning_rule(ImpModel model, const int32_t *tokens, size_t n_tokens,
                                    const ImpGenerateParams *params)
{
    const char *source = params->chat_template, *named = source != NULL ? chat_template_named(source) : NULL;
    ReasoningRule rule = {.budget = params->think_budget};
    if (params->think_budget <= 0 || model->tokenizer == NULL) return (ReasoningRule){0};
    reasoning_tags(named != NULL ? named : source != NULL ? source : model->template_source, &rule.open, &rule.close);
    rule.inside = reasoning_opened(rule.open, model->tokenizer, tokens, n_tokens);
    return rule;
}

/* ---- Generation ---- */

static ImpStatus generate(ImpContext context, const int32_t *tokens, size_t n_tokens, const ImpGenerateParams *params,
                          ImpTextCallback *callback, void *user)
{
    ImpStatus status;
    Arena arena = {0};
    if (n_tokens > INT32_MAX) return imp_fail(IMP_ERR_CONTEXT_FULL, "the prompt has %zu tokens", n_tokens);
    if (params->n_stop < 0 || params->n_stop > IMP_MAX_STOP)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d stop strings are given, but 0 to %d are possible",
                        (int)params->n_stop, (int)IMP_MAX_STOP);
    GenerateOptions options = {
        .max_tokens = params->max_tokens,
        .stop = params->stop,
        .n_stop = params->n_stop,
        .ignore_end = params->ignore_end,
        .keep_special = params->keep_special,
        .reasoning = reasoning_rule(context->model, tokens, n_tokens, params),
        .on_text = callback,
        .user = user,
    };
    context->used_seed = params->seed == IMP_SEED_RANDOM ? api_random_seed() : params->seed;
    IMP_GOTO(api_sampler_params(context->model, params, context->used_seed, &arena, &options.sampler));
    IMP_GOTO(api_constraint(context->model, params, &options.constraint, &options.vocab));
    status = session_generate(context->session, tokens, (int32_t)n_tokens, &options);
fail:
    arena_free(&arena);
    return status;
}

static ImpStatus generate_text(ImpContext context, const char *prompt, size_t length, unsigned flags,
                               const ImpGenerateParams *params, ImpTextCallback *callback, void *user)
{
    TokenList tokens = {0};
    ImpStatus status;
    IMP_TRY(api_need_tokenizer(context->model));
    IMP_GOTO(tokenizer_encode(context->model->tokenizer, prompt, length, flags, &tokens));
    status = generate(context, tokens.ids, tokens.count, params, callback, user);
fail:
    token_list_free(&tokens);
    return status;
}

ImpStatus imp_generate_tokens(ImpContext context, const int32_t *tokens, int32_t n_tokens,
                              const ImpGenerateParams *params, ImpTextCallback *callback, void *user)
{
    ImpGenerateParams full;
    API_REQUIRE(context);
    API_REQUIRE(tokens);
    IMP_TRY(api_read_params(params, &full));
    return generate(context, tokens, n_tokens > 0 ? (size_t)n_tokens : 0, &full, callback, user);
}

ImpStatus imp_generate_stream(ImpContext context, const char *prompt, const ImpGenerateParams *params,
                              ImpTextCallback *callback, void *user)
{
    ImpGenerateParams full;
    API_REQUIRE(context);
    API_REQUIRE(prompt);
    IMP_TRY(api_read_params(params, &full));
    const unsigned flags = TOKENIZE_ADD_SPECIAL | (full.parse_special ? (unsigned)TOKENIZE_PARSE_SPECIAL : 0u);
    return generate_text(context, prompt, strlen(prompt), flags, &full, callback, user);
}

/* The template writes BOS itself where the model wants it, and its special tokens always count. */
ImpStatus imp_chat_stream(ImpContext context, const ImpMessage *messages, size_t n_messages,
                          const ImpGenerateParams *params, ImpTextCallback *callback, void *user)
{
    ImpGenerateParams full;
    StrBuf prompt = {0};
    ImpStatus status;
    API_REQUIRE(context);
    IMP_TRY(api_read_params(params, &full));
    IMP_GOTO(api_render_chat(context->model, messages, n_messages, &full, &prompt));
    status = generate_text(context, prompt.data, prompt.length, TOKENIZE_PARSE_SPECIAL, &full, callback, user);
fail:
    strbuf_free(&prompt);
    return status;
}

static ImpStatus copy_generated(ImpContext context, char *buffer, size_t size, size_t *length)
{
    size_t text_length;
    const char *text = session_text(context->session, &text_length);
    return api_copy_text(text, text_length, buffer, size, length);
}

ImpStatus imp_generate(ImpContext context, const char *prompt, const ImpGenerateParams *params, char *buffer,
                       size_t size, size_t *length)
{
    if (length) *length = 0;
    if (buffer && size > 0) buffer[0] = '\0';
    IMP_TRY(imp_generate_stream(context, prompt, params, NULL, NULL));
    return copy_generated(context, buffer, size, length);
}

ImpStatus imp_chat(ImpContext context, const ImpMessage *messages, size_t n_messages, const ImpGenerateParams *params,
                   char *buffer, size_t size, size_t *length)
{
    if (length) *length = 0;
    if (buffer && size > 0) buffer[0] = '\0';
    IMP_TRY(imp_chat_stream(context, messages, n_messages, params, NULL, NULL));
    return copy_generated(context, buffer, size, length);
}

/* ---- Afterwards ---- */

const char *imp_generated_text(ImpContext context, size_t *length)
{
    size_t text_length = 0;
    const char *text = context ? session_text(context->session, &text_length) : "";
    if (length) *length = text_length;
    return text;
}

const int32_t *imp_generated_tokens(ImpContext context, int32_t *n_tokens)
{
    int32_t count = 0;
    const int32_t *tokens = context ? session_generated(context->session, &count) : NULL;
    if (n_tokens) *n_tokens = count;
    return tokens;
}

ImpStatus imp_stats(ImpContext context, ImpStats *stats)
{
    API_REQUIRE(context);
    API_REQUIRE(stats);
    const GenerateResult *result = session_result(context->session);
    const ImpStats value = {
        .prompt_tokens = result->prompt_tokens,
        .reused_tokens = result->reused_tokens,
        .generated_tokens = result->generated_tokens,
        .forced_tokens = result->forced_tokens,
        .stop_reason = result->stop_reason,
        .stop_index = result->stop_index,
        .seed = context->used_seed,
        .prompt_seconds = result->prompt_seconds,
        .generate_seconds = result->generate_seconds,
    };
    return api_write_sized(stats, &value, sizeof value, "ImpStats");
}
