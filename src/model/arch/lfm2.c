/*
 * lfm2.c - LFM2 and LFM2-MoE: gated short convolutions with a few attention layers between them; in the mixture the
 * first layers are dense and the router is a sigmoid whose bias decides the choice only.
 */
#include "model/arch/arch.h"

#include <string.h>

static const AttentionNames attention_names = {
    .q = {"blk.*.attn_q", "layers.*.self_attn.q_proj"},
    .k = {"blk.*.attn_k", "layers.*.self_attn.k_proj"},
    .v = {"blk.*.attn_v", "layers.*.self_attn.v_proj"},
    .o = {"blk.*.attn_output", "layers.*.self_attn.out_proj"},
    .q_norm = {"blk.*.attn_q_norm", "layers.*.self_attn.q_layernorm"},
    .k_norm = {"blk.*.attn_k_norm", "layers.*.self_attn.k_layernorm"},
};

static const TensorName conv_in = {"blk.*.shortconv.in_proj", "layers.*.conv.in_proj"};

static const DenseNames dense_names = {
    .gate = {"blk.*.ffn_gate", "layers.*.feed_forward.w1"},
    .up = {"blk.*.ffn_up", "layers.*.feed_forward.w3"},
    .down = {"blk.*.ffn_down", "layers.*.feed_forward.w2"},
};

static const ExpertNames expert_names = {
    .router = {"blk.*.ffn_gate_inp", "layers.*.feed_forward.gate"},
    .gate = {NULL, "layers.*.feed_forward.experts.*.w1"},
    .up = {NULL, "layers.*.feed_forward.experts.*.w3"},
    .down = {NULL, "layers.*.feed_forward.experts.*.w2"},
    .gate_stack = {"blk.*.ffn_gate_exps", NULL},
    .up_stack = {"blk.*.ffn_up_exps", NULL},
    .down_stack = {"blk.*.ffn_down_exps", "layers.*.feed_forward.experts.down_proj"},
    .gate_up_stack = {NULL, "layers.*.feed_forward.experts.gate_up_proj"},
};

/* Which layers attend: GGUF says it by their tensors (and by having no key-value heads in the others), Hugging Face by
 * layer_types or full_attn_idxs. */
static bool is_attention(const Builder *builder, int32_t i)
{
    const Hparams *hparams = &builder->hparams;
    if (builder->gguf) return !builder_has(builder, at_layer(conv_in, i), ".weight");
    const char *type = json_string_value(json_array_get(hparams_json(hparams, "layer_types"), (size_t)i));
    if (type != NULL) return strcmp(type, "conv") != 0;
    const json_t *indices = hparams_json(hparams, "full_attn_idxs");
    bool found = indices == NULL;
    for (size_t j = 0; j < json_array_size(indices); j++)
        found = found || json_integer_value(json_array_get(indices, j)) == i;
    return found;
}

static ImpStatus build_attention(Builder *builder, int32_t i, const ClassDefaults *defaults, Layer *layer)
{
    Attention *attention = &layer->attention;
    layer->mixer = MIXER_ATTENTION;
    IMP_TRY(builder_attention_sizes(builder, i, defaults, attention));
    const RopeSource rope = {.head_dim = attention->head_dim,
                             .gguf_base = "rope.freq_base",
                             .config_base = "rope_theta",
                             .default_base = builder->gguf ? 10000.0f : defaults->rope_base,
                             .gguf_kind = ROPE_HALF};
    IMP_TRY(builder_rope(builder, &rope, &attention->rope));
    attention->qk_norm = QK_NORM_HEAD;
    return builder_attention(builder, i, &attention_names, attention);
}

static ImpStatus build_short_conv(Builder *builder, int32_t i, Layer *layer)
{
    const int32_t n_embd = builder->model->n_embd;
    ShortConv *conv = &layer->short_conv;
    layer->mixer = MIXER_SHORT_CONV;
    conv->channels = n_embd;
    IMP_TRY(hparams_int(&builder->hparams, "shortconv.l_cache", "conv_L_cache", builder->gguf ? HPARAMS_REQUIRED : 3, 1,
                        64, &conv->width));
    const TensorPlace in = at_layer(conv_in, i);
    const TensorPlace taps = at_layer((TensorName){"blk.*.shortconv.conv", "layers.*.conv.conv"}, i);
    const TensorPlace out = at_layer((TensorName){"blk.*.shortconv.out_proj", "layers.*.conv.out_proj"}, i);
    IMP_TRY(builder_matrix(builder, in, 3 * (int64_t)n_embd, n_embd, REQUIRED, &conv->in_proj));
    IMP_TRY(builder_vector(builder, in, ".bias", 3 * (int64_t)n_embd, OPTIONAL, &conv->in_bias));
    IMP_TRY(builder_vector(builder, taps, ".weight", (int64_t)n_embd * conv->width, REQUIRED, &conv->taps));
    IMP_TRY(builder_vector(builder, taps, ".bias", n_embd, OPTIONAL, &conv->conv_bias));
    IMP_TRY(builder_matrix(builder, out, n_embd, n_embd, REQUIRED, &conv->out_proj));
    return builder_vector(builder, out, ".bias", n_embd, OPTIONAL, &conv->out_bias);
}

static ImpStatus build_experts(Builder *builder, int32_t i, Layer *layer)
{
    const Hparams *hparams = &builder->hparams;
    Experts *experts = &layer->experts;
    bool use_bias;
    layer->ffn = FFN_EXPERTS;
    *experts = (Experts){.router_kind = ROUTER_SIGMOID, .renormalize_eps = 1e-6f, .activation = ACT_SILU};
    IMP_TRY(hparams_int(hparams, "expert_count", hparams_either(hparams, "num_local_experts", "num_experts"),
                        builder->gguf ? HPARAMS_REQUIRED : 32, 1, 4096, &experts->n_experts));
    IMP_TRY(hparams_int(hparams, "expert_used_count", "num_experts_per_tok", builder->gguf ? HPARAMS_REQUIRED : 4, 1,
                        4096, &experts->n_used));
    IMP_TRY(hparams_bool(hparams, "expert_weights_norm", "norm_topk_prob", true, &experts->renormalize));
    IMP_TRY(hparams_float(hparams, NULL, "routed_scaling_factor", 1, &experts->scale));
    IMP_TRY(hparams_bool(hparams, NULL, "use_expert_bias", true, &use_bias));
    const TensorPlace bias = at_layer((TensorName){"blk.*.exp_probs_b", "layers.*.feed_forward"}, i);
    if (use_bias)
        IMP_TRY(builder_vector(builder, bias, builder->gguf ? ".bias" : ".expert_bias", experts->n_experts,
                               builder->gguf ? OPTIONAL : REQUIRED, &experts->choice_bias));
    return builder_experts(builder, i, &expert_names, experts);
}

ImpStatus arch_build_lfm2(Builder *builder)
{
    static const ClassDefaults classes[] = {
        {32, 2560, 32, 128000, .n_kv_heads = 8, .rope_base = 1e6f, .norm_eps = 1e-5f, .tied = true},
        {32, 2048, 32, 128000, .n_kv_heads = 8, .rope_base = 1e6f, .norm_eps = 1e-5f, .tied = true},
    };
    const Hparams *hparams = &builder->hparams;
    Model *model = builder->model;
    const bool moe = strstr(hparams->arch, "moe") != NULL;
    const ClassDefaults *defaults = &classes[moe];
    TensorName final_norm = {"token_embd_norm", "embedding_norm"};
    int32_t n_dense;
    if (!builder_has(builder, at_layer(final_norm, 0), ".weight")) final_norm.gguf = "output_norm";
    IMP_TRY(builder_begin(builder, defaults, final_norm, "norm_eps"));
    IMP_TRY(hparams_int(hparams, "leading_dense_block_count", "num_dense_layers", builder->gguf ? 0 : 2, 0, INT32_MAX,
                        &n_dense));
    for (int32_t i = 0; i < model->n_layers; i++) {
        Layer *layer = &model->layers[i];
        IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.attn_norm", "layers.*.operator_norm"}, i),
                             model->n_embd, &layer->mixer_norm));
        IMP_TRY(builder_norm(builder, at_layer((TensorName){"blk.*.ffn_norm", "layers.*.ffn_norm"}, i), model->n_embd,
                             &layer->ffn_norm));
        IMP_TRY(is_attention(builder, i) ? build_attention(builder, i, defaults, layer)
                                         : build_short_conv(builder, i, layer));
        if (moe && i >= n_dense) {
            IMP_TRY(build_experts(builder, i, layer));
            continue;
        }
        layer->ffn = FFN_DENSE;
        IMP_TRY(builder_dense(builder, i, &dense_names, ACT_SILU, &layer->dense));
    }
    return IMP_OK;
}
