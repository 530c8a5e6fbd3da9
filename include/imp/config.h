/*
 * imp/config.h - how a context runs (ImpConfig) and how text is generated (ImpGenerateParams).
 *
 * Start from imp_config_default() and imp_generate_params_default(), then change what you like. Both structures carry
 * their size, so that a program built against this header runs with later versions of the library.
 */
#ifndef IMP_CONFIG_H
#define IMP_CONFIG_H

#include "imp/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element type of the stored keys and values. */
typedef enum ImpKvType {
    IMP_KV_F16 = 0,
    IMP_KV_BF16 = 1,
    IMP_KV_F32 = 2,
    IMP_KV_FP8 = 3,   /* E4M3 with a scale for each token and head, as INT8 */
    IMP_KV_INT8 = 4,
    IMP_KV_INT4 = 5,  /* groups of 32 */
    IMP_KV_NVFP4 = 6, /* groups of 16 */
} ImpKvType;

/* Highest instruction set to use; one that the processor lacks is an error. */
typedef enum ImpCpuIsa {
    IMP_CPU_AUTO = 0,
    IMP_CPU_PORTABLE = 1,
    IMP_CPU_AVX2 = 2,
    IMP_CPU_AVX512 = 3,
    IMP_CPU_AMX = 4,
} ImpCpuIsa;

/* Whether weights are laid out anew in memory for the processor: faster prompts for a longer start and more memory. */
typedef enum ImpRepack { IMP_REPACK_AUTO = 0, IMP_REPACK_ALWAYS = 1, IMP_REPACK_NEVER = 2 } ImpRepack;

/* Which kernels a GPU runs; above what it has is an error. */
typedef enum ImpCudaTier {
    IMP_CUDA_AUTO = 0,
    IMP_CUDA_PORTABLE = 1, /* compute capability 8.0 and up */
    IMP_CUDA_HOPPER = 2,
    IMP_CUDA_BLACKWELL = 3,
} ImpCudaTier;

/* Whether a GPU's decode steps are recorded once and replayed. */
typedef enum ImpCudaGraphs { IMP_GRAPHS_AUTO = 0, IMP_GRAPHS_ALWAYS = 1, IMP_GRAPHS_NEVER = 2 } ImpCudaGraphs;

typedef struct ImpConfig {
    size_t size;
    const char *device;         /* NULL or "auto": the best there is; else a name of imp_device_info: "cpu", "0" */
    int32_t gpu_layers;         /* layers on the GPU; -1: as many as fit */
    int32_t n_threads;          /* 0: one for each physical core */
    int32_t max_seq_len;        /* tokens that a sequence may hold; 0: as many as the model was trained for */
    int32_t max_sequences;      /* sequences alive together, the context's own included (imp/inspect.h); 1 */
    int32_t min_kv_tokens;      /* fail unless keys and values of this many tokens fit; 0: do not ask */
    int32_t prefill_chunk_size; /* prompt tokens computed at once; 0: 512 on a CPU, 4096 on a GPU */
    int32_t max_logits;         /* rows of logits that one step may give (imp/inspect.h); 0: chosen */
    float kv_memory_fraction;   /* 0.5: of the free memory, for keys and values where max_seq_len does not size them */
    ImpKvType kv_type;
    ImpCpuIsa cpu_isa;
    ImpRepack repack;
    bool pin_threads;              /* keep each thread on its core */
    bool deterministic;            /* bit-equal results in any batch also on devices where that costs speed */
    ImpProgressCallback *progress; /* loading and prompts; NULL: nobody watches */
    void *progress_user;
    ImpCudaTier cuda_tier;
    ImpCudaGraphs cuda_graphs;
    bool cuda_no_overlap; /* a GPU's kernels start only when their predecessor has ended */
} ImpConfig;

/* The links of the sampler chain, which begins with the logits of all tokens and ends with one drawn token. */
typedef enum ImpSamplerLink {
    IMP_SAMPLER_PENALTIES = 0, /* logit bias; repeat, frequency and presence penalties */
    IMP_SAMPLER_DRY = 1,
    IMP_SAMPLER_TOP_K = 2,
    IMP_SAMPLER_TYPICAL_P = 3,
    IMP_SAMPLER_TOP_P = 4,
    IMP_SAMPLER_MIN_P = 5,
    IMP_SAMPLER_TEMPERATURE = 6,
} ImpSamplerLink;

typedef struct ImpLogitBias {
    int32_t token;
    float bias; /* added to the token's logit; -INFINITY bans it */
} ImpLogitBias;

enum { IMP_MAX_STOP = 4, IMP_MAX_SAMPLER_LINKS = 16 };

/* ImpGenerateParams.seed: take one from the operating system (ImpStats.seed tells which). */
#define IMP_SEED_RANDOM UINT64_MAX

/* All pointers stay the caller's and need to live only during the call they are passed to. */
typedef struct ImpGenerateParams {
    size_t size;
    int32_t max_tokens; /* 256; 0: until the end or the end of the context */

    /* The sampler, in its default order. */
    float repeat_penalty;    /* 1: off. Logits of recent tokens are divided by it (multiplied when negative) */
    int32_t repeat_last_n;   /* 64: how many tokens are recent for the three penalties; 0: none, -1: all */
    float frequency_penalty; /* 0: off. Subtracted once for each time the token is recent */
    float presence_penalty;  /* 0: off. Subtracted once when the token is recent */
    float dry_multiplier; /* 0: off. multiplier * base^(length - allowed) off a token that would prolong a repetition */
    float dry_base;       /* 1.75 */
    int32_t dry_allowed_length;      /* 2: repetitions up to this length are free */
    int32_t dry_penalty_last_n;      /* -1: how far back repetitions are looked for; 0: off, -1: all */
    const char *const *dry_breakers; /* texts over which no repetition reaches: "\n", ":", "\"", "*" */
    int32_t n_dry_breakers;
    int32_t top_k;      /* 40: the k most probable tokens stay; 0: off */
    float typical_p;    /* 1: off. Locally typical sampling */
    float top_p;        /* 0.9: the smallest set of at least this probability stays; 1: off */
    float min_p;        /* 0: off. Tokens of at least min_p times the highest probability stay */
    float temperature;  /* 0.7; 0: always the most probable token, every other link but penalties and DRY is idle */
    int32_t mirostat;   /* 0: off; 2: Mirostat 2, in place of top-k, typical-p, top-p and min-p */
    float mirostat_tau; /* 5: the surprise that it keeps to, in bits */
    float mirostat_eta; /* 0.1: how fast */
    uint64_t seed;      /* IMP_SEED_RANDOM; equal seeds give equal texts */
    const ImpLogitBias *logit_bias;
    int32_t n_logit_bias;
    ImpSamplerLink order[IMP_MAX_SAMPLER_LINKS]; /* penalties, DRY, top-k, typical-p, top-p, min-p, temperature */
    int32_t n_order;

    const char *stop[IMP_MAX_STOP]; /* generation ends before any of these texts; none is handed out */
    int32_t n_stop;
    bool ignore_end;    /* go on past the model's end tokens, for benchmarks */
    bool keep_special;  /* hand out the text of special tokens too */
    bool parse_special; /* true: special tokens written in a prompt ("<|im_end|>") are read as such */

    /* imp_chat… and imp_chat_render. */
    const char *chat_template;      /* NULL: the model's; else a name (imp_template_name) or Jinja source */
    const char *template_variables; /* NULL, or a JSON object with more variables ("tools", "enable_thinking", …) */

    ImpConstraint constraint; /* what the text must be (imp/constrain.h); NULL: anything. Outlives the call or request */
    int32_t think_budget;     /* 0: no limit. Most tokens of a block of reasoning at the answer's head, between the tags
                                 of the chat template; then it is closed. Of imp_generate…, imp_chat…, no constraint */
} ImpGenerateParams;

/* Fill the first `size` bytes with defaults; what the inline functions below stand on, and other languages' way. */
IMP_API void imp_config_init(ImpConfig *config, size_t size);
IMP_API void imp_generate_params_init(ImpGenerateParams *params, size_t size);

static inline ImpConfig imp_config_default(void)
{
    ImpConfig config;
    imp_config_init(&config, sizeof config);
    return config;
}

static inline ImpGenerateParams imp_generate_params_default(void)
{
    ImpGenerateParams params;
    imp_generate_params_init(&params, sizeof params);
    return params;
}

#ifdef __cplusplus
}
#endif
#endif
