/*
 * config_apply.c - from keys to the structures of the public API: the one place that says which field a key fills.
 */
#include "runtime/config.h"

#include "imp/config.h"

#include <string.h>

/* Position of the value of a choice in its list "auto|portable|avx2": the order of the enumeration it stands for. */
static int choice_index(const char *words, const char *word)
{
    int index = 0;
    for (size_t length; *words != '\0'; words += length + (words[length] == '|'), index++) {
        length = strcspn(words, "|");
        if (strlen(word) == length && memcmp(words, word, length) == 0) return index;
    }
    return 0;
}

static int choice(const ImpSettings *settings, const char *key)
{
    return choice_index(imp_setting_find(key)->choices, imp_settings_string(settings, key));
}

/* Ranges of the schema keep these within 32 bits. */
static int32_t int32_of(const ImpSettings *settings, const char *key)
{
    return (int32_t)imp_settings_int(settings, key);
}

static float float_of(const ImpSettings *settings, const char *key) { return (float)imp_settings_float(settings, key); }

ImpStatus imp_settings_apply_config(const ImpSettings *settings, ImpConfig *config)
{
    static const ImpKvType kv_types[] = {IMP_KV_F16,  IMP_KV_BF16, IMP_KV_F32,  IMP_KV_FP8,
                                         IMP_KV_INT8, IMP_KV_INT4, IMP_KV_NVFP4};
    static const ImpCpuIsa levels[] = {IMP_CPU_AUTO, IMP_CPU_PORTABLE, IMP_CPU_AVX2, IMP_CPU_AVX512, IMP_CPU_AMX};
    static const ImpRepack repacks[] = {IMP_REPACK_AUTO, IMP_REPACK_ALWAYS, IMP_REPACK_NEVER};
    config->device = imp_settings_string(settings, "runtime.device");
    config->gpu_layers = int32_of(settings, "runtime.gpu_layers");
    config->n_threads = int32_of(settings, "cpu.threads");
    config->max_seq_len = int32_of(settings, "runtime.max_seq_len");
    config->min_kv_tokens = int32_of(settings, "kv_cache.min_tokens");
    config->prefill_chunk_size = int32_of(settings, "runtime.prefill_chunk_size");
    config->kv_memory_fraction = float_of(settings, "kv_cache.memory_fraction");
    config->kv_type = kv_types[choice(settings, "kv_cache.dtype")];
    config->cpu_isa = levels[choice(settings, "cpu.isa")];
    config->repack = repacks[choice(settings, "cpu.repack")];
    static const ImpCudaTier tiers[] = {IMP_CUDA_AUTO, IMP_CUDA_PORTABLE, IMP_CUDA_HOPPER, IMP_CUDA_BLACKWELL};
    static const ImpCudaGraphs graphs[] = {IMP_GRAPHS_AUTO, IMP_GRAPHS_ALWAYS, IMP_GRAPHS_NEVER};
    config->cuda_tier = tiers[choice(settings, "cuda.tier")];
    config->cuda_graphs = graphs[choice(settings, "runtime.cuda_graphs")];
    config->cuda_no_overlap = imp_settings_bool(settings, "runtime.no_pdl");
    config->pin_threads = imp_settings_bool(settings, "cpu.pin_threads");
    config->deterministic = imp_settings_bool(settings, "runtime.deterministic") ||
                            imp_settings_bool(settings, "runtime.deterministic_gemm");
    return IMP_OK;
}

static void apply_sampling(const ImpSettings *settings, ImpGenerateParams *params)
{
    params->repeat_penalty = float_of(settings, "sampling.repeat_penalty");
    params->repeat_last_n = int32_of(settings, "sampling.repeat_last_n");
    params->frequency_penalty = float_of(settings, "sampling.frequency_penalty");
    params->presence_penalty = float_of(settings, "sampling.presence_penalty");
    params->dry_multiplier = float_of(settings, "sampling.dry_multiplier");
    params->dry_base = float_of(settings, "sampling.dry_base");
    params->dry_allowed_length = int32_of(settings, "sampling.dry_allowed_length");
    params->dry_penalty_last_n = int32_of(settings, "sampling.dry_penalty_last_n");
    params->top_k = int32_of(settings, "sampling.top_k");
    params->typical_p = float_of(settings, "sampling.typical_p");
    params->top_p = float_of(settings, "sampling.top_p");
    params->min_p = float_of(settings, "sampling.min_p");
    params->temperature = float_of(settings, "sampling.temperature");
    params->mirostat = int32_of(settings, "sampling.mirostat");
    params->mirostat_tau = float_of(settings, "sampling.mirostat_tau");
    params->mirostat_eta = float_of(settings, "sampling.mirostat_eta");
    const int64_t seed = imp_settings_int(settings, "sampling.seed");
    params->seed = seed < 0 ? IMP_SEED_RANDOM : (uint64_t)seed;
}

ImpStatus imp_settings_apply_params(ImpSettings *settings, ImpGenerateParams *params)
{
    static const ImpSamplerLink links[] = {IMP_SAMPLER_PENALTIES,  IMP_SAMPLER_DRY,   IMP_SAMPLER_TOP_K,
                                           IMP_SAMPLER_TYPICAL_P,  IMP_SAMPLER_TOP_P, IMP_SAMPLER_MIN_P,
                                           IMP_SAMPLER_TEMPERATURE};
    size_t count;
    apply_sampling(settings, params);
    params->max_tokens = int32_of(settings, "generation.max_tokens");
    params->think_budget = int32_of(settings, "generation.think_budget");

    params->dry_breakers = config_items(settings, "sampling.dry_breakers", &count);
    params->n_dry_breakers = (int32_t)count;

    /* The schema bounds both lists: seven links, four stop strings. */
    const char *const *order = config_items(settings, "sampling.order", &count);
    const char *names = imp_setting_find("sampling.order")->choices;
    for (size_t i = 0; i < count; i++) params->order[i] = links[choice_index(names, order[i])];
    params->n_order = (int32_t)count;
    const char *const *stop = config_items(settings, "generation.stop", &count);
    for (size_t i = 0; i < count; i++) params->stop[i] = stop[i];
    params->n_stop = (int32_t)count;

    const char *file = imp_settings_string(settings, "generation.chat_template_file");
    const char *name = imp_settings_string(settings, "generation.chat_template");
    const bool none = strcmp(name, "none") == 0;
    params->chat_template = none || strcmp(name, "auto") == 0 ? NULL : name;
    return file[0] != '\0' && !none ? config_keep_file(settings, file, &params->chat_template) : IMP_OK;
}
