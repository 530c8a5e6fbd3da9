/*
 * config_schema.c - the one table of configuration keys.
 *
 * The parser, --set, the defaults of the named flags, --help, docs/configuration.md, imp.conf.example and imp.conf(5)
 * are all made from it. A key that users of the established imp.conf have, but whose mechanism imp lacks so far, is
 * marked as planned: setting it is an error. Whoever builds the mechanism changes the row's macro and its help.
 */
#include "runtime/config.h"

#include <math.h>
#include <string.h>

#define ANY (-INFINITY), INFINITY
#define AT_LEAST(low) (low), INFINITY

#define BOOL(name, value, text)                                                                                        \
    {                                                                                                                  \
        name, IMP_SETTING_BOOL, value, "", "", ANY, true, text                                                         \
    }
#define INT(name, value, range, text)                                                                                  \
    {                                                                                                                  \
        name, IMP_SETTING_INT, value, "", "", range, true, text                                                        \
    }
#define FLOAT(name, value, range, text)                                                                                \
    {                                                                                                                  \
        name, IMP_SETTING_FLOAT, value, "", "", range, true, text                                                      \
    }
#define CHOICE(name, value, words, planned_words, text)                                                                \
    {                                                                                                                  \
        name, IMP_SETTING_CHOICE, "\"" value "\"", words, planned_words, ANY, true, text                               \
    }
#define STRING(name, value, text)                                                                                      \
    {                                                                                                                  \
        name, IMP_SETTING_STRING, "\"" value "\"", "", "", ANY, true, text                                             \
    }
#define STRINGS(name, value, words, most, text)                                                                        \
    {                                                                                                                  \
        name, IMP_SETTING_STRINGS, value, words, "", 0, most, true, text                                               \
    }

#define PLANNED_BOOL(name, value, text)                                                                                \
    {                                                                                                                  \
        name, IMP_SETTING_BOOL, value, "", "", ANY, false, text                                                        \
    }
#define PLANNED_INT(name, value, range, text)                                                                          \
    {                                                                                                                  \
        name, IMP_SETTING_INT, value, "", "", range, false, text                                                       \
    }
#define PLANNED_FLOAT(name, value, range, text)                                                                        \
    {                                                                                                                  \
        name, IMP_SETTING_FLOAT, value, "", "", range, false, text                                                     \
    }
#define PLANNED_CHOICE(name, value, words, text)                                                                       \
    {                                                                                                                  \
        name, IMP_SETTING_CHOICE, "\"" value "\"", words, "", ANY, false, text                                         \
    }
#define PLANNED_STRING(name, value, text)                                                                              \
    {                                                                                                                  \
        name, IMP_SETTING_STRING, "\"" value "\"", "", "", ANY, false, text                                            \
    }

#define RANGE(low, high) (low), (high)

static const struct {
    const char *name, *help;
} sections[] = {
    {"models", "Which model, and where models are kept."},
    {"runtime", "How a model is run."},
    {"cuda", "The GPU backend."},
    {"cpu", "The CPU backend."},
    {"kv_cache", "Keys and values of the tokens so far."},
    {"attention", "Attention kernels of the GPU backend."},
    {"moe", "Mixture-of-experts layers on the GPU."},
    {"gdn", "Gated delta net layers."},
    {"gemm", "Matrix products of the GPU backend."},
    {"ffn", "Feed-forward layers."},
    {"generation", "What is generated, and when it ends."},
    {"sampling", "How the next token is chosen."},
    {"speculative", "Drafting tokens ahead and checking them in one step."},
    {"server", "The HTTP server."},
    {"bench", "Benchmarks (--bench)."},
    {"paths", "Further files."},
    {"diagnostics", "Looking inside; none of these is meant for everyday use."},
};

static const ImpSettingInfo entries[] = {
    STRING("models.default", "", "Model to use when --model is not given: a path, or a short name in models.dir."),
    STRING("models.dir", "", "Directory of models that go by a short name; empty: ~/.cache/imp."),

    CHOICE("runtime.device", "auto", "auto|cpu|0|1|2|3|4|5|6|7", "",
           "Where the model runs: the processor, or a GPU by its number. auto: the first GPU that can be used, else cpu."),
    INT("runtime.gpu_layers", "-1", RANGE(-1, 65536),
        "Layers to put on the GPU, the last ones and the head; -1: all. The others run on the processor. Without a GPU only "
        "-1 and 0 are possible."),
    INT("runtime.prefill_chunk_size", "0", RANGE(0, 65536),
        "Tokens of a prompt that are computed in one step; 0: 512 on a processor, 4096 on a GPU. Affects speed and "
        "memory, not results."),
    INT("runtime.max_seq_len", "0", RANGE(0, 16777216),
        "Longest sequence in tokens, prompt included; 0: what the model was trained for."),
    INT("runtime.max_batch_size", "4", RANGE(1, 1024),
        "Sequences decoding together. Set, it makes --bench measure so many; a single answer or chat is one."),
    BOOL("runtime.warmup", "false",
         "Run one token through the model at start, so that the first answer starts sooner."),
    BOOL("runtime.deterministic", "false",
         "Bit-equal results whatever else is in the batch. The CPU backend always works so; the key makes other "
         "backends do it too."),
    BOOL("runtime.deterministic_gemm", "false",
         "Matrix products whose sums are never split, part of runtime.deterministic. Always so on the CPU."),
    CHOICE("runtime.cuda_graphs", "auto", "auto|always|never", "", "Record decode steps on a GPU once and replay them."),
    PLANNED_CHOICE("runtime.graph_capture_mode", "relaxed", "relaxed|global|thread_local",
                   "How CUDA graphs are captured."),
    PLANNED_BOOL("runtime.prefill_graph", "true", "Capture prompt steps as CUDA graphs as well."),
    BOOL("runtime.no_pdl", "false", "Start each GPU kernel only when the one before it has ended."),
    PLANNED_BOOL("runtime.debug_raw", "false", "The plain 16-bit path: no FP8, no FP4, no graphs, no warm-up."),
    PLANNED_BOOL("runtime.no_vision_graph", "false", "Run the vision encoder without a CUDA graph."),

    CHOICE("cuda.tier", "auto", "auto|portable|hopper|blackwell", "",
           "Which GPU kernels run. auto: those made for the GPU; portable ones run on all from compute capability 8.0."),

    INT("cpu.threads", "0", RANGE(0, 1024), "Threads that compute; 0: one for each physical core."),
    CHOICE("cpu.isa", "auto", "auto|portable|avx2|avx512|amx", "",
           "Highest instruction set to use; one that the processor lacks is an error."),
    CHOICE("cpu.repack", "auto", "auto|always|never", "",
           "Re-lay weights for the processor when a model is loaded: more speed for more memory and loading time."),
    BOOL("cpu.pin_threads", "false", "Tie each thread to one core."),

    CHOICE("kv_cache.dtype", "fp16", "fp16|bf16|fp32|fp8|int8|int4|nvfp4", "",
           "Type in which keys and values are kept. A type that the device does not have is an error."),
    INT("kv_cache.min_tokens", "0", RANGE(0, 16777216),
        "Fail at start when there is not room for this many tokens; 0: no such demand."),
    FLOAT("kv_cache.memory_fraction", "0.5", RANGE(0.01, 1),
          "Share of the free memory that keys and values may take where runtime.max_seq_len does not size them."),
    PLANNED_BOOL("kv_cache.allow_nondeterministic_fp8", "false",
                 "Let FP8 keys and values be combined with runtime.deterministic."),
    PLANNED_BOOL("kv_cache.fp8_auto_legacy", "false", "Choose FP8 keys and values unasked when memory is short."),
    PLANNED_BOOL("kv_cache.bitdecoding_qk", "false", "Attention over packed keys and values on tensor cores."),
    PLANNED_INT("kv_cache.bitdecoding_residual_tokens", "0", RANGE(0, 65536),
                "Newest tokens that stay in FP16 beside packed keys and values."),

    PLANNED_CHOICE("attention.fp8_prefill", "auto", "auto|on|off", "FP8 attention over prompts."),
    PLANNED_CHOICE("attention.fp8_fmha", "never", "never|on", "Q·K in FP8 inside fused attention over prompts."),
    PLANNED_CHOICE("attention.fmha_sm120", "auto", "auto|on|off", "Tiled attention over prompts for Blackwell."),
    PLANNED_CHOICE("attention.fmha_fa2", "on", "auto|on|off",
                   "Attention over prompts that keeps its tiles in registers."),
    PLANNED_CHOICE("attention.fa2_fp16qk", "on", "auto|on|off", "The form of attention.fmha_fa2 for short prompts."),
    PLANNED_BOOL("attention.fa2_f16acc", "true", "Accumulate Q·K in FP16."),
    PLANNED_BOOL("attention.fa2_pv_f16acc", "true", "Accumulate P·V in FP16."),
    PLANNED_INT("attention.fmha_prefill_threshold", "-1", AT_LEAST(-1),
                "Rows from which the tiled form is used; -1: chosen by itself."),
    PLANNED_CHOICE("attention.mxfp4", "auto", "auto|on|off", "Attention in MXFP4."),
    PLANNED_BOOL("attention.mxfp4_fp16_fallback", "false", "Fall back to FP16 where attention.mxfp4 cannot run."),
    PLANNED_CHOICE("attention.mxfp4_fp16_cache_policy", "legacy", "legacy|pruned",
                   "Which FP16 copies are kept beside MXFP4."),
    PLANNED_BOOL("attention.force_cublas_decode", "false", "Decode attention as plain matrix products."),
    PLANNED_BOOL("attention.no_qknorm_fused", "false", "Norms of Q and K in a kernel of their own."),
    PLANNED_BOOL("attention.splitk_pipe", "true", "Pipelined decode attention that splits a long context."),
    PLANNED_BOOL("attention.gate_concat", "false", "One product for the query and its output gate."),
    PLANNED_INT("attention.attn_scores_mib", "384", RANGE(0, 1048576),
                "Largest score matrix in MiB that may be held at once."),

    PLANNED_FLOAT("moe.expert_overhead_pct", "10", RANGE(0, 100),
                  "Percent of memory kept free when deciding which experts fit."),
    PLANNED_INT("moe.force_host_experts", "0", AT_LEAST(0), "Last layers whose experts stay in host memory."),
    PLANNED_BOOL("moe.skip", "false", "Diagnostic: leave the experts out."),
    PLANNED_BOOL("moe.force_fp16_sync", "false", "Wait after each FP16 product over experts."),
    PLANNED_BOOL("moe.no_expert_cache", "false", "Keep no copies of host experts on the device."),
    PLANNED_BOOL("moe.zero_workspace", "false", "Clear the workspace before each use."),
    PLANNED_BOOL("moe.no_shared_mlp", "false", "Diagnostic: leave the shared expert out."),
    PLANNED_BOOL("moe.no_shexp_gate", "false", "Diagnostic: leave the shared expert's gate out."),
    PLANNED_BOOL("moe.no_cutlass3x", "false", "No grouped product over experts."),
    PLANNED_BOOL("moe.expert_cache_debug_parity", "false", "Compare cached experts with the host's after each change."),
    PLANNED_INT("moe.prefetch_top_k", "0", RANGE(0, 256), "Experts of the next layer that are fetched ahead."),
    PLANNED_BOOL("moe.allow_graphs_under_offload", "false",
                 "Capture CUDA graphs although experts live in host memory."),
    PLANNED_INT("moe.reserve_mib", "0", RANGE(0, 1048576), "Workspace in MiB; 0: computed."),
    PLANNED_BOOL("moe.nvfp4_device_args", "true", "Grouped NVFP4 products that read their sizes on the device."),
    PLANNED_BOOL("moe.nvfp4_smallM", "false", "The NVFP4 kernel for small batches."),
    PLANNED_INT("moe.nvfp4_smallM_threshold", "64", RANGE(0, 65536), "Rows up to which moe.nvfp4_smallM is used."),
    {"moe.mr_nr", IMP_SETTING_INT, "8", "4|8|16|32", "", ANY, false,
     "Rows a block in matrix-vector products of experts."},

    PLANNED_BOOL("gdn.fp32_scan", "false", "Carry the state of the scan in FP32."),
    PLANNED_BOOL("gdn.fp32_out", "false", "Write the output of the scan in FP32."),
    PLANNED_FLOAT("gdn.norm_eps_override", "0.0", RANGE(0, 1), "Epsilon of the output norm; 0: the model's."),
    PLANNED_BOOL("gdn.ref_kernel", "false", "The plain recurrent kernel."),
    PLANNED_BOOL("gdn.vhead_reorder", "false", "Reorder value heads when the model is loaded."),
    PLANNED_BOOL("gdn.chunkwise_scan", "true", "Compute prompts in chunks and not token by token."),
    PLANNED_STRING("gdn.layout_override", "", "Layout of the weights; empty: found out."),

    PLANNED_BOOL("gemm.no_dp4a_gemv", "false", "No packed INT8 matrix-vector products."),
    PLANNED_BOOL("gemm.no_dp4a_lm", "false", "The same for the output head alone."),
    PLANNED_BOOL("gemm.no_mmvq", "false", "No packed matrix-vector products at all."),
    PLANNED_BOOL("gemm.no_mmvq_q8_0", "false", "The same for Q8_0 alone."),
    PLANNED_BOOL("gemm.nvfp4_decode_all", "false", "Decode low-bit types from an NVFP4 copy too."),
    PLANNED_BOOL("gemm.q4k_hmma_enabled", "false", "Q4_K prompts on FP16 tensor cores."),
    PLANNED_BOOL("gemm.nvfp4_lm_head", "true", "NVFP4 copy of a 16-bit output head."),
    PLANNED_BOOL("gemm.nvfp4_lm_head_gdn", "true", "The same for models with recurrent layers."),
    PLANNED_BOOL("gemm.nvfp4_ssm_proj", "false", "NVFP4 copy of the projections of recurrent layers."),
    PLANNED_BOOL("gemm.nvfp4_attn_proj", "false", "NVFP4 copy of 16-bit attention projections."),
    PLANNED_BOOL("gemm.nvfp4_moe_decode", "true", "Matrix-vector products an expert when one row is decoded."),
    PLANNED_CHOICE("gemm.cublas_fp16_acc", "auto", "auto|true|false", "Accumulate in FP16 in products over prompts."),
    PLANNED_BOOL("gemm.q8_imma_enabled", "true", "Q8_0 prompts on INT8 tensor cores."),
    PLANNED_BOOL("gemm.moe_imma_prefill", "true", "One launch over all experts for prompts."),
    PLANNED_BOOL("gemm.q4k_imma_prefill", "false", "Q4_K prompts on INT8 tensor cores."),

    PLANNED_BOOL("ffn.sparsity_probe", "false", "Count what sparse activations would let a step skip."),
    PLANNED_FLOAT("ffn.sparsity_threshold", "0.0", AT_LEAST(0), "Skip blocks of activations below it; 0: off."),

    INT("generation.max_tokens", "256", RANGE(0, 16777216),
        "Most tokens of one answer; 0: until it ends or the context is full."),
    STRINGS("generation.stop", "[]", "", 4, "Texts at which an answer ends; they are not part of it."),
    STRING("generation.system", "", "System message of every conversation; empty: none of ours."),
    CHOICE(
        "generation.chat_template", "auto", "auto|none|chatml|llama2|llama3|nemotron|gemma|deepseek_r1|phi", "",
        "How a conversation becomes a prompt. auto: by the model's own template, or none when it has none; none: the "
        "text as it stands; else by a built-in template."),
    STRING("generation.chat_template_file", "",
           "File with a Jinja chat template, used unless generation.chat_template is none."),
    CHOICE("generation.tool_format", "auto",
           "auto|harmony|qwen3_coder|glm|deepseek_v3|deepseek_v31|deepseek_v32|gemma4|function_gemma|mistral|mistral_json|nemotron|"
           "lfm2|phi4_mini|granite|kimi|hermes|llama4|llama3|gemma3|json",
           "", "How the model writes calls of tools. auto: by its chat template, or else by its vocabulary."),
    BOOL("generation.force_bos", "false",
         "Put the beginning-of-sequence token before every prompt, also where the model's files do not."),
    PLANNED_BOOL("generation.no_logit_softcap", "false", "Leave out the soft cap on logits."),
    PLANNED_BOOL("generation.lm_dequant_fp16", "false", "Run the output head from an FP16 copy."),
    INT("generation.think_budget", "0", RANGE(0, 16777216),
        "Most tokens inside a reasoning block, which is closed then; 0: no limit (imp-server: but server.think_budget)."),
    PLANNED_BOOL("generation.no_ban", "false", "Let tokens be drawn that are banned otherwise."),
    PLANNED_BOOL("generation.mtp_no_rope", "false", "Diagnostic: no rotary embedding in multi-token prediction."),

    FLOAT("sampling.temperature", "0.7", RANGE(0, 100),
          "Flattens (above 1) or sharpens (below 1) the distribution; 0: always the likeliest token."),
    INT("sampling.top_k", "40", RANGE(0, 16777216), "Keep the K likeliest tokens; 0: off."),
    FLOAT("sampling.top_p", "0.9", RANGE(0, 1),
          "Keep the likeliest tokens that together reach this probability; 1: off."),
    FLOAT("sampling.min_p", "0.0", RANGE(0, 1),
          "Drop tokens less likely than this share of the likeliest one; 0: off."),
    FLOAT("sampling.typical_p", "1.0", RANGE(0, 1),
          "Keep the tokens closest to the expected surprise that together reach this probability; 1: off."),
    FLOAT("sampling.repeat_penalty", "1.0", RANGE(0.01, 100),
          "Divides (negative: multiplies) the logits of tokens seen lately; 1: off."),
    INT("sampling.repeat_last_n", "64", RANGE(-1, 16777216),
        "How many tokens count as lately for the penalties; 0: none, -1: all."),
    FLOAT("sampling.frequency_penalty", "0.0", RANGE(-100, 100),
          "Taken from a token's logit for each time it was seen lately; 0: off."),
    FLOAT("sampling.presence_penalty", "0.0", RANGE(-100, 100),
          "Taken from a token's logit once if it was seen lately; 0: off."),
    FLOAT("sampling.dry_multiplier", "0.0", RANGE(0, 100),
          "Strength of DRY, which penalizes going on with a repetition; 0: off."),
    FLOAT("sampling.dry_base", "1.75", RANGE(1, 100), "Growth of the DRY penalty with the length of the repetition."),
    INT("sampling.dry_allowed_length", "2", RANGE(0, 16777216), "Length of repetition that DRY leaves alone."),
    INT("sampling.dry_penalty_last_n", "-1", RANGE(-1, 16777216), "Tokens that DRY looks back at; 0: none, -1: all."),
    STRINGS("sampling.dry_breakers", "[\"\\n\", \":\", \"\\\"\", \"*\"]", "", 16,
            "Texts across which DRY sees no repetition."),
    {"sampling.mirostat", IMP_SETTING_INT, "0", "0|2", "", ANY, true,
     "2: Mirostat 2 chooses the token in place of top_k, top_p, min_p and typical_p; 0: off."},
    FLOAT("sampling.mirostat_tau", "5.0", RANGE(0, 100), "Surprise in bits that Mirostat aims at."),
    FLOAT("sampling.mirostat_eta", "0.1", RANGE(0, 1), "How fast Mirostat corrects itself."),
    INT("sampling.seed", "-1", AT_LEAST(-1),
        "Seed of the draws: the same seed gives the same text. -1: another one every time."),
    STRINGS("sampling.order",
            "[\"penalties\", \"dry\", \"top_k\", \"typical_p\", \"top_p\", \"min_p\", \"temperature\"]",
            "penalties|dry|top_k|typical_p|top_p|min_p|temperature", 7,
            "The order of the sampler chain; a link that is left out does not act."),

    PLANNED_BOOL("speculative.ngram", "false", "Draft from earlier text with the same ending."),
    PLANNED_INT("speculative.k", "16", RANGE(1, 256), "Tokens of one draft."),
    PLANNED_INT("speculative.min_match", "6", RANGE(1, 256), "Shortest ending that must match."),
    PLANNED_INT("speculative.max_match", "12", RANGE(1, 256), "Longest ending that is looked for."),
    PLANNED_INT("speculative.give_up_after", "64", AT_LEAST(1), "Misses after which drafting rests."),
    PLANNED_INT("speculative.burst", "128", AT_LEAST(1), "Tokens after which it is tried again."),
    PLANNED_INT("speculative.miss_burst", "8", AT_LEAST(0), "Plain tokens after a miss."),

    STRING("server.host", "127.0.0.1", "Address that imp-server listens on; 0.0.0.0: all of the machine's."),
    INT("server.port", "8080", RANGE(0, 65535), "Port that it listens on; 0: a free one, which is printed."),
    STRING("server.api_key", "", "Key that requests must carry (Authorization: Bearer, x-api-key); empty: none."),
    INT("server.max_concurrent", "64", RANGE(1, 1024), "Requests that are generated together; others wait."),
    INT("server.max_waiting", "4096", RANGE(1, 1048576), "Requests that may wait; more are refused."),
    INT("server.rate_limit", "0", RANGE(0, 1000000), "Requests a minute and address; 0: no limit."),
    INT("server.head_seconds", "60", RANGE(1, 3600),
        "Time for the head of a request, and for a connection on which nothing happens."),
    INT("server.body_seconds", "300", RANGE(1, 86400), "Time for the body of a request."),
    STRING("server.log_requests", "", "File to which each request's prompt, answer and timing are appended as JSON."),
    CHOICE("server.reasoning_format", "deepseek", "deepseek|none", "",
           "deepseek: text inside <think> goes to reasoning_content or thinking blocks; none: it stays in the text."),
    FLOAT("server.think_budget", "0.5", RANGE(0, 1),
          "Share of an answer's tokens that its reasoning may take before it is closed; 1: all."),
    INT("server.kv_tokens", "0", RANGE(0, 1000000000),
        "Tokens that all requests and the prefix cache hold together; 0: as many as kv_cache.memory_fraction of the "
        "free memory holds."),
    BOOL("server.prefix_cache", "true", "Reuse what is computed already of a prompt's beginning."),
    FLOAT("server.prefix_pin_budget_pct", "25", RANGE(0, 100), "Percent of the pages that cache_control may pin."),
    PLANNED_BOOL("server.green_contexts", "false", "Prompts and decoding on separate parts of the GPU."),

    INT("bench.prompt_tokens", "512", RANGE(0, 16777216), "Tokens of the prompt test; 0: leave it out."),
    INT("bench.generate_tokens", "128", RANGE(0, 16777216), "Tokens of the decode test; 0: leave it out."),
    INT("bench.depth", "0", RANGE(0, 16777216), "Tokens that each sequence holds before a test begins."),
    INT("bench.reps", "5", RANGE(1, 10000), "Repetitions of each test."),
    PLANNED_BOOL("bench.generate", "false", "Measure through the whole engine."),

    PLANNED_STRING("paths.mmproj", "", "Vision projector."),
    STRING(
        "paths.history", "",
        "File that keeps the lines typed in chats; empty: ~/.local/state/imp/history. What is no regular file, such as "
        "/dev/null, keeps nothing."),

    CHOICE("diagnostics.log_level", "warning", "error|warning|info|debug", "",
           "What is told on standard error while imp works."),
    BOOL("diagnostics.debug_template", "false", "Write the rendered prompt to standard error."),
    BOOL("diagnostics.dump_tokens", "false", "Write the ids of prompt and answer to standard error."),
    STRING("diagnostics.dump_hidden_dir", "",
           "Directory that receives, for the prompt, the embedding, the residual stream after each layer and the final "
           "norm: one .npy file each, float32 [tokens][width]."),
    BOOL("diagnostics.debug_forward", "false",
         "Write the root mean square and the largest value of the residual stream after each layer to standard error."),
    PLANNED_STRING("diagnostics.dump_logits_dir", "",
                   "Directory that receives the experts' router logits and weights."),
    PLANNED_STRING("diagnostics.dump_routing_dir", "", "Directory that receives the chosen experts."),
    PLANNED_INT("diagnostics.exit_layer", "-1", AT_LEAST(-1), "Stop after this layer; -1: run all."),
    PLANNED_BOOL("diagnostics.profile", "false", "Time every kernel."),
    PLANNED_BOOL("diagnostics.graph_diag", "false", "Say why a CUDA graph was not captured."),
    PLANNED_STRING("diagnostics.graph_dump_dir", "", "Directory that receives captured CUDA graphs."),
    PLANNED_BOOL("diagnostics.nvfp4_force_dequant", "false", "Run NVFP4 weights through 16-bit copies."),
    PLANNED_BOOL("diagnostics.log_gemm_algo", "false", "Log which algorithm each matrix product takes."),
    PLANNED_BOOL("diagnostics.mtp_pattern_log", "false", "Log which drafted tokens were accepted."),
    PLANNED_BOOL("diagnostics.mtp_prenorm_h", "false", "Feed multi-token prediction from before the final norm."),
    PLANNED_BOOL("diagnostics.audit_nvfp4_scales", "false",
                 "Check the scales of NVFP4 weights when a model is loaded."),
};

enum { ENTRY_COUNT = sizeof entries / sizeof entries[0], SECTION_COUNT = sizeof sections / sizeof sections[0] };

const ImpSettingInfo *imp_setting_at(size_t index) { return index < ENTRY_COUNT ? &entries[index] : NULL; }

size_t config_entry_count(void) { return ENTRY_COUNT; }

const ImpSettingInfo *imp_setting_find(const char *key)
{
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        if (strcmp(entries[i].key, key) == 0) return &entries[i];
    return NULL;
}

const char *imp_setting_section_help(const char *section)
{
    for (size_t i = 0; i < SECTION_COUNT; i++)
        if (strcmp(sections[i].name, section) == 0) return sections[i].help;
    return NULL;
}

ImpStatus config_check_section(const char *section)
{
    if (imp_setting_section_help(section) != NULL) return IMP_OK;
    const char *names[SECTION_COUNT + 1] = {0};
    for (size_t i = 0; i < SECTION_COUNT; i++) names[i] = sections[i].name;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no section [%.64s]; the nearest is [%s]", section,
                    imp_nearest_name(section, names));
}

ImpStatus config_find(const char *key, size_t *index)
{
    const char *names[ENTRY_COUNT + 1] = {0};
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        names[i] = entries[i].key;
        if (strcmp(entries[i].key, key) == 0) {
            *index = i;
            return IMP_OK;
        }
    }
    /* Without a section only the part behind the dot can be meant; pointers into `entries` lead back to the whole key.
     */
    const bool bare = strchr(key, '.') == NULL;
    for (size_t i = 0; bare && i < ENTRY_COUNT; i++) names[i] = strchr(names[i], '.') + 1;
    const char *nearest = imp_nearest_name(key, names);
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        if (names[i] == nearest) nearest = entries[i].key;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no key %.128s; the nearest is %s", key, nearest);
}
