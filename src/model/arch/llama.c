/*
 * llama.c - Llama 1 to 3, Mistral, Mixtral, SmolLM2 and the many that kept their shape: pre-norm attention with rotary
 * positions, gated feed-forward or a mixture of experts.
 *
 * GGUF calls all of them "llama" and stores the rows of Q and K so that adjacent pairs turn.
 */
#include "model/arch/arch.h"

#include <string.h>

static const ExpertNames expert_names = {
    .router = {"blk.*.ffn_gate_inp", "layers.*.block_sparse_moe.gate"},
    .gate = {"blk.*.ffn_gate.*", "layers.*.block_sparse_moe.experts.*.w1"},
    .up = {"blk.*.ffn_up.*", "layers.*.block_sparse_moe.experts.*.w3"},
    .down = {"blk.*.ffn_down.*", "layers.*.block_sparse_moe.experts.*.w2"},
    .gate_stack = {"blk.*.ffn_gate_exps", NULL},
    .up_stack = {"blk.*.ffn_up_exps", NULL},
    .down_stack = {"blk.*.ffn_down_exps", "layers.*.mlp.experts.down_proj"},
    .gate_up_stack = {NULL, "layers.*.mlp.experts.gate_up_proj"},
};

static ImpStatus build_feed_forward(Builder *builder, int32_t i, int32_t n_experts, Activation activation, Layer *layer)
{
    if (n_experts == 0) {
        layer->ffn = FFN_DENSE;
        return builder_dense(builder, i, &builder_dense_names, activation, &layer->dense);
    }
    layer->ffn = FFN_EXPERTS;
    Experts *experts = &layer->experts;
    *experts = (Experts){.n_experts = n_experts,
                         .router_kind = ROUTER_SOFTMAX,
                         .renormalize = true,
                         .scale = 1,
                         .activation = activation};
    IMP_TRY(
        hparams_int(&builder->hparams, "expert_used_count", "num_experts_per_tok", 2, 1, n_experts, &experts->n_used));
    ExpertNames names = expert_names;
    if (!builder_has(builder, at_layer(names.router, i), ".weight")) names.router.hf = "layers.*.mlp.gate";
    return builder_experts(builder, i, &names, experts);
}

/* Only Mistral's and Mixtral's classes know windows, and on every layer; a Llama config may carry the key without
 * meaning it. GGUF may say which layers have one. */
static ImpStatus read_window(const Builder *builder, int32_t i, int32_t *out)
{
    const Hparams *hparams = &builder->hparams;
    bool windowed = true;
    *out = 0;
    if (builder->gguf) IMP_TRY(builder_windowed(builder, i, NULL, 0, &windowed));
    if (!windowed) return IMP_OK;
    const bool mistral = strcmp(hparams->arch, "mistral") == 0;
    const char *key = mistral || strcmp(hparams->arch, "mixtral") == 0 ? "sliding_window" : NULL;
    const int32_t fallback = mistral && !hparams_is_null(hparams, "sliding_window") ? 4096 : 0;
    return hparams_int(hparams, "attention.sliding_window", key, fallback, 0, INT32_MAX, out);
}

static ImpStatus build_layer(Builder *builder, int32_t i, const ClassDefaults *defaults, int32_t n_experts)
{
    Layer *layer = &builder->model->layers[i];
    Attention *attention = &layer->attention;
    Activation activation;
    layer->mixer = MIXER_ATTENTION;
    IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.attn_norm", "layers.*.input_layernorm"}, i),
                         builder->model->n_embd, &layer->mixer_norm));
    IMP_TRY(builder_attention_sizes(builder, i, defaults, attention));
    IMP_TRY(read_window(builder, i, &attention->window));
    const RopeSource rope = {.head_dim = attention->head_dim,
                             .gguf_base = "rope.freq_base",
                             .config_base = "rope_theta",
                             .default_base = builder->gguf ? 10000.0f : defaults->rope_base,
                             .gguf_kind = ROPE_PAIRS};
    IMP_TRY(builder_rope(builder, &rope, &attention->rope));
    IMP_TRY(builder_attention(builder, i, &builder_attention_names, attention));
    IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.ffn_norm", "layers.*.post_attention_layernorm"}, i),
                         builder->model->n_embd, &layer->ffn_norm));
    IMP_TRY(builder_activation(builder, "hidden_act", ACT_SILU, &activation));
    return build_feed_forward(builder, i, n_experts, activation, layer);
}

ImpStatus arch_build_llama(Builder *builder)
{
    static const ClassDefaults llama = {32, 4096, 32, 2048, .rope_base = 10000, .norm_eps = 1e-6f};
    static const ClassDefaults mistral = {32, 4096, 32, 131072, .n_kv_heads = 8, .rope_base = 10000, .norm_eps = 1e-6f};
    static const ClassDefaults mixtral = {32, 4096, 32, 131072, .n_kv_heads = 8, .rope_base = 1e6f, .norm_eps = 1e-5f};
    const char *arch = builder->hparams.arch;
    const bool is_mixtral = strcmp(arch, "mixtral") == 0;
    const ClassDefaults *defaults = is_mixtral ? &mixtral : strcmp(arch, "mistral") == 0 ? &mistral : &llama;
    const char *experts_key = hparams_either(&builder->hparams, "num_experts", "num_local_experts");
    int32_t n_experts;
    IMP_TRY(hparams_int(&builder->hparams, "expert_count", is_mixtral ? experts_key : NULL, is_mixtral ? 8 : 0, 0, 4096,
                        &n_experts));
    IMP_TRY(builder_begin(builder, defaults, (TensorName){"output_norm", "norm"}, "rms_norm_eps"));
    for (int32_t i = 0; i < builder->model->n_layers; i++) IMP_TRY(build_layer(builder, i, defaults, n_experts));
    return IMP_OK;
}
