/*
 * qwen.c - Qwen2 (biases on Q, K, V), Qwen3 (norms on Q and K instead) and Qwen3-MoE.
 */
#include "model/arch/arch.h"

#include <string.h>

static const ExpertNames expert_names = {
    .router = {"blk.*.ffn_gate_inp", "layers.*.mlp.gate"},
    .gate = {NULL, "layers.*.mlp.experts.*.gate_proj"},
    .up = {NULL, "layers.*.mlp.experts.*.up_proj"},
    .down = {NULL, "layers.*.mlp.experts.*.down_proj"},
    .gate_stack = {"blk.*.ffn_gate_exps", NULL},
    .up_stack = {"blk.*.ffn_up_exps", NULL},
    .down_stack = {"blk.*.ffn_down_exps", "layers.*.mlp.experts.down_proj"},
    .gate_up_stack = {NULL, "layers.*.mlp.experts.gate_up_proj"},
};

typedef struct QwenOptions {
    const ClassDefaults *defaults;
    Activation activation;
    bool qk_norm, moe, renormalize;
    int32_t n_experts, n_used, sparse_step;
    int32_t window, first_windowed_layer; /* Hugging Face: use_sliding_window, max_window_layers */
} QwenOptions;

static ImpStatus read_options(const Builder *builder, QwenOptions *out)
{
    const Hparams *hparams = &builder->hparams;
    bool windowed;
    IMP_TRY(builder_activation(builder, "hidden_act", ACT_SILU, &out->activation));
    IMP_TRY(hparams_bool(hparams, NULL, "use_sliding_window", builder->gguf, &windowed));
    IMP_TRY(hparams_int(hparams, "attention.sliding_window", "sliding_window",
                        builder->gguf || hparams_is_null(hparams, "sliding_window") ? 0 : 4096, 0, INT32_MAX,
                        &out->window));
    if (!windowed) out->window = 0;
    /* The mixture's class puts the window on every layer. */
    IMP_TRY(hparams_int(hparams, NULL, out->moe ? NULL : "max_window_layers", builder->gguf || out->moe ? 0 : 28, 0,
                        INT32_MAX, &out->first_windowed_layer));
    if (!out->moe) return IMP_OK;
    IMP_TRY(hparams_int(hparams, "expert_count", hparams_either(hparams, "num_local_experts", "num_experts"),
                        builder->gguf ? HPARAMS_REQUIRED : 128, 0, 4096, &out->n_experts));
    IMP_TRY(hparams_int(hparams, "expert_used_count", "num_experts_per_tok", builder->gguf ? HPARAMS_REQUIRED : 8, 1,
                        4096, &out->n_used));
    IMP_TRY(hparams_int(hparams, NULL, "decoder_sparse_step", 1, 1, INT32_MAX, &out->sparse_step));
    /* Most GGUF files do not say it: the common runtime always renormalizes. */
    return hparams_bool(hparams, "expert_weights_norm", "norm_topk_prob", builder->gguf, &out->renormalize);
}

/* Whether layer i's attention has the window. */
static ImpStatus is_windowed(const Builder *builder, const QwenOptions *options, int32_t i, bool *out)
{
    const bool listed = !options->moe && hparams_json(&builder->hparams, "layer_types") != NULL;
    if (builder->gguf || listed) return builder_windowed(builder, i, NULL, 0, out);
    *out = i >= options->first_windowed_layer;
    return IMP_OK;
}

/* GGUF tells by the tensors; Hugging Face by mlp_only_layers and decoder_sparse_step. */
static bool is_sparse(const Builder *builder, const QwenOptions *options, int32_t i)
{
    if (!options->moe || options->n_experts == 0) return false;
    if (builder->gguf) return builder_has(builder, at_layer(expert_names.router, i), ".weight");
    const json_t *dense = hparams_json(&builder->hparams, "mlp_only_layers");
    for (size_t j = 0; j < json_array_size(dense); j++) {
        const json_t *entry = json_array_get(dense, j);
        if (json_is_integer(entry) && json_integer_value(entry) == i) return false;
    }
    return (i + 1) % options->sparse_step == 0;
}

static ImpStatus build_layer(Builder *builder, int32_t i, const QwenOptions *options)
{
    Layer *layer = &builder->model->layers[i];
    Attention *attention = &layer->attention;
    bool windowed;
    layer->mixer = MIXER_ATTENTION;
    IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.attn_norm", "layers.*.input_layernorm"}, i),
                         builder->model->n_embd, &layer->mixer_norm));
    IMP_TRY(builder_attention_sizes(builder, i, options->defaults, attention));
    attention->qk_norm = options->qk_norm ? QK_NORM_HEAD : QK_NORM_NONE;
    IMP_TRY(is_windowed(builder, options, i, &windowed));
    if (windowed) attention->window = options->window;
    const RopeSource rope = {.head_dim = attention->head_dim,
                             .gguf_base = "rope.freq_base",
                             .config_base = "rope_theta",
                             .default_base = 10000,
                             .gguf_kind = ROPE_HALF};
    IMP_TRY(builder_rope(builder, &rope, &attention->rope));
    IMP_TRY(builder_attention(builder, i, &builder_attention_names, attention));
    IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.ffn_norm", "layers.*.post_attention_layernorm"}, i),
                         builder->model->n_embd, &layer->ffn_norm));
    if (!is_sparse(builder, options, i)) {
        layer->ffn = FFN_DENSE;
        return builder_dense(builder, i, &builder_dense_names, options->activation, &layer->dense);
    }
    layer->ffn = FFN_EXPERTS;
    layer->experts = (Experts){.n_experts = options->n_experts,
                               .n_used = options->n_used,
                               .router_kind = ROUTER_SOFTMAX,
                               .renormalize = options->renormalize,
                               .scale = 1,
                               .activation = options->activation};
    return builder_experts(builder, i, &expert_names, &layer->experts);
}

ImpStatus arch_build_qwen(Builder *builder)
{
    static const ClassDefaults qwen2 = {32, 4096, 32, 32768, .n_kv_heads = 32, .rope_base = 10000, .norm_eps = 1e-6f};
    static const ClassDefaults qwen3 = {
        32, 4096, 32, 32768, .n_kv_heads = 32, .head_dim = 128, .rope_base = 10000, .norm_eps = 1e-6f};
    static const ClassDefaults moe = {24, 2048, 32, 32768, .n_kv_heads = 4, .rope_base = 10000, .norm_eps = 1e-6f};
    const char *arch = builder->hparams.arch;
    QwenOptions options = {.qk_norm = strncmp(arch, "qwen3", 5) == 0, .moe = strstr(arch, "moe") != NULL};
    options.defaults = options.moe ? &moe : options.qk_norm ? &qwen3 : &qwen2;
    IMP_TRY(read_options(builder, &options));
    IMP_TRY(builder_begin(builder, options.defaults, (TensorName){"output_norm", "norm"}, "rms_norm_eps"));
    for (int32_t i = 0; i < builder->model->n_layers; i++) IMP_TRY(build_layer(builder, i, &options));
    return IMP_OK;
}
