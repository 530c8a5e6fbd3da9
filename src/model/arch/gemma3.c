/*
 * gemma3.c - Gemma-3 text: norms of 1 + w around mixer and feed-forward, windowed layers with their own rotary base
 * between global ones, norms on Q and K, embeddings times sqrt(n_embd).
 */
#include "model/arch/arch.h"

#include <math.h>
#include <string.h>

/* GGUF names the query's scale only where it is not the usual one; Hugging Face as query_pre_attn_scalar. */
static ImpStatus read_scale(const Builder *builder, Attention *out)
{
    const Hparams *hparams = &builder->hparams;
    float scalar;
    if (builder->gguf) {
        /* The 27B model divides by its width a head; its file is told by its layer count. */
        if (builder->model->n_layers == 62 && !hparams_has(hparams, "attention.scale", NULL))
            out->scale = 1.0f / sqrtf((float)(builder->model->n_embd / out->n_heads));
        return IMP_OK;
    }
    IMP_TRY(hparams_float(hparams, NULL, "query_pre_attn_scalar", 256, &scalar));
    if (!(scalar > 0)) return imp_fail(IMP_ERR_FORMAT, "%s: query_pre_attn_scalar is not positive", hparams->path);
    out->scale = (float)(1 / sqrt((double)scalar));
    return IMP_OK;
}

static ImpStatus read_rope(Builder *builder, bool windowed, Attention *out)
{
    const RopeSource global = {.head_dim = out->head_dim,
                               .layer_type = "full_attention",
                               .gguf_base = "rope.freq_base",
                               .config_base = "rope_theta",
                               .default_base = 1e6f,
                               .gguf_kind = ROPE_HALF};
    /* Old configurations and GGUF scale global layers only; the new ones say it for each kind. */
    const json_t *own = json_object_get(hparams_json(&builder->hparams, "rope_parameters"), "sliding_attention");
    const RopeSource local = {.head_dim = out->head_dim,
                              .layer_type = "sliding_attention",
                              .gguf_base = "rope.freq_base_swa",
                              .config_base = "rope_local_base_freq",
                              .default_base = 1e4f,
                              .unscaled = !json_is_object(own),
                              .gguf_kind = ROPE_HALF};
    return builder_rope(builder, windowed ? &local : &global, &out->rope);
}

static ImpStatus build_attention(Builder *builder, int32_t i, const ClassDefaults *defaults, Attention *out)
{
    const Hparams *hparams = &builder->hparams;
    bool windowed;
    IMP_TRY(builder_attention_sizes(builder, i, defaults, out));
    IMP_TRY(read_scale(builder, out));
    IMP_TRY(builder_windowed(builder, i, "sliding_window_pattern", 6, &windowed));
    if (windowed)
        IMP_TRY(hparams_int(hparams, "attention.sliding_window", "sliding_window",
                            builder->gguf || hparams_is_null(hparams, "sliding_window") ? 0 : 4096, 0, INT32_MAX,
                            &out->window));
    /* attn_logit_softcapping is Gemma-2's: configurations may carry the key, but Gemma-3's attention does not read it.
     */
    IMP_TRY(read_rope(builder, windowed, out));
    out->qk_norm = QK_NORM_HEAD;
    return builder_attention(builder, i, &builder_attention_names, out);
}

static ImpStatus build_layer(Builder *builder, int32_t i, const ClassDefaults *defaults)
{
    Layer *layer = &builder->model->layers[i];
    Activation activation;
    layer->mixer = MIXER_ATTENTION;
    layer->ffn = FFN_DENSE;
    const struct {
        TensorName name;
        Norm *norm;
    } norms[] = {
        {{"blk.*.attn_norm", "layers.*.input_layernorm"}, &layer->mixer_norm},
        {{"blk.*.post_attention_norm", "layers.*.post_attention_layernorm"}, &layer->mixer_post_norm},
        {{"blk.*.ffn_norm", "layers.*.pre_feedforward_layernorm"}, &layer->ffn_norm},
        {{"blk.*.post_ffw_norm", "layers.*.post_feedforward_layernorm"}, &layer->ffn_post_norm},
    };
    for (size_t j = 0; j < sizeof norms / sizeof norms[0]; j++)
        IMP_TRY(builder_norm(builder, at_layer(norms[j].name, i), builder->model->n_embd, norms[j].norm));
    IMP_TRY(build_attention(builder, i, defaults, &layer->attention));
    IMP_TRY(builder_activation(builder, "hidden_activation", ACT_GELU_TANH, &activation));
    return builder_dense(builder, i, &builder_dense_names, activation, &layer->dense);
}

ImpStatus arch_build_gemma3(Builder *builder)
{
    const json_t *bidirectional = hparams_json(&builder->hparams, "use_bidirectional_attention");
    if (json_is_true(bidirectional))
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: Gemma-3 encoders (use_bidirectional_attention) are not supported",
                        builder->hparams.path);
    static const ClassDefaults defaults = {.n_layers = 26,
                                           .n_embd = 2304,
                                           .n_heads = 8,
                                           .n_ctx = 131072,
                                           .n_kv_heads = 4,
                                           .head_dim = 256,
                                           .rope_base = 1e6f,
                                           .norm_eps = 1e-6f,
                                           .tied = true};
    Model *model = builder->model;
    builder->norm_offset = 1.0f;
    IMP_TRY(builder_begin(builder, &defaults, (TensorName){"output_norm", "norm"}, "rms_norm_eps"));
    model->embedding_multiplier = (float)sqrt((double)model->n_embd);
    /* transformers' class for pictures and text does not read the key. */
    IMP_TRY(hparams_float(&builder->hparams, "final_logit_softcapping",
                          builder->hparams.wrapper == NULL ? "final_logit_softcapping" : NULL, 0,
                          &model->logit_softcap));
    for (int32_t i = 0; i < model->n_layers; i++) IMP_TRY(build_layer(builder, i, &defaults));
    return IMP_OK;
}
