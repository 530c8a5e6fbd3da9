/*
 * builder.c - the blocks that most families share, and the checks that every finished model must pass.
 */
#include "model/builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD_DIM = 1024, MAX_EXPERTS = 4096 };

const AttentionNames builder_attention_names = {
    .q = {"blk.*.attn_q", "layers.*.self_attn.q_proj"},
    .k = {"blk.*.attn_k", "layers.*.self_attn.k_proj"},
    .v = {"blk.*.attn_v", "layers.*.self_attn.v_proj"},
    .o = {"blk.*.attn_output", "layers.*.self_attn.o_proj"},
    .q_norm = {"blk.*.attn_q_norm", "layers.*.self_attn.q_norm"},
    .k_norm = {"blk.*.attn_k_norm", "layers.*.self_attn.k_norm"},
};

const DenseNames builder_dense_names = {
    .gate = {"blk.*.ffn_gate", "layers.*.mlp.gate_proj"},
    .up = {"blk.*.ffn_up", "layers.*.mlp.up_proj"},
    .down = {"blk.*.ffn_down", "layers.*.mlp.down_proj"},
};

/* Where the text model's tensors start: plain causal models, the two generations of multimodal wrappers, bare bodies.
 */
static const char *find_prefix(const ModelFile *file)
{
    static const char *const prefixes[] = {"model.", "model.language_model.", "language_model.model.", ""};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char name[64] = "";
        strcat(strcpy(name, prefixes[i]), "embed_tokens.weight");
        if (model_file_tensor(file, name) != NULL) return prefixes[i];
    }
    return prefixes[0];
}

ImpStatus builder_open(const ModelFile *file, Builder *out)
{
    *out = (Builder){.file = file, .gguf = model_file_gguf(file) != NULL};
    IMP_TRY(hparams_open(file, &out->hparams));
    if (!out->gguf) strcpy(out->prefix, find_prefix(file));
    Model *model = calloc(1, sizeof *model);
    if (model == NULL) return imp_fail_memory(sizeof *model);
    out->model = model;
    model->arch = arena_string(&model->arena, out->hparams.arch, strlen(out->hparams.arch));
    model->embedding_multiplier = model->logit_multiplier = 1.0f;
    return model->arch != NULL ? IMP_OK : imp_fail_memory(sizeof out->hparams.arch);
}

/* The head: its own tensor, or the embedding where the configuration or its absence says so. */
static ImpStatus bind_head(Builder *builder, bool tied_by_default)
{
    Model *model = builder->model;
    bool tied = false;
    if (!builder->gguf) {
        IMP_TRY(hparams_bool(&builder->hparams, NULL, "tie_word_embeddings", tied_by_default, &tied));
        IMP_TRY(hparams_bool(&builder->hparams, NULL, "tie_embedding", tied, &tied)); /* LFM2's older name */
        const json_t *outer = json_object_get(builder->hparams.wrapper, "tie_word_embeddings");
        if (json_is_boolean(outer)) tied = json_is_true(outer);
    }
    static const TensorName names[] = {
        {"output", "/lm_head"}, {NULL, "/language_model.lm_head"}, {NULL, "/model.lm_head"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !tied && !weight_present(&model->head); i++) {
        const TensorPlace place = at_layer(names[i], 0);
        IMP_TRY(builder_matrix(builder, place, model->n_vocab, model->n_embd, OPTIONAL, &model->head));
        if (weight_present(&model->head))
            IMP_TRY(builder_vector(builder, place, ".bias", model->n_vocab, OPTIONAL, &model->head_bias));
    }
    if (!weight_present(&model->head)) model->head = model->embedding;
    return IMP_OK;
}

ImpStatus builder_begin(Builder *builder, const ClassDefaults *defaults, TensorName final_norm, const char *eps_key)
{
    const Hparams *hparams = &builder->hparams;
    Model *model = builder->model;
    const bool gguf = builder->gguf;
    IMP_TRY(hparams_int(hparams, "block_count", "num_hidden_layers", gguf ? HPARAMS_REQUIRED : defaults->n_layers, 1,
                        MAX_LAYERS, &model->n_layers));
    IMP_TRY(hparams_int(hparams, "embedding_length", "hidden_size", gguf ? HPARAMS_REQUIRED : defaults->n_embd, 1,
                        MAX_WIDTH, &model->n_embd));
    IMP_TRY(hparams_int(hparams, "context_length", "max_position_embeddings", gguf ? 0 : defaults->n_ctx, 0, INT32_MAX,
                        &model->n_ctx_train));
    IMP_TRY(
        hparams_float(hparams, "attention.layer_norm_rms_epsilon", eps_key, defaults->norm_eps, &builder->norm_eps));
    model->layers = arena_alloc(&model->arena, (size_t)model->n_layers, sizeof *model->layers);
    if (model->layers == NULL) return imp_fail_memory((size_t)model->n_layers * sizeof *model->layers);
    for (int32_t i = 0; i < model->n_layers; i++) {
        model->layers[i].residual_multiplier = model->layers[i].output_scale = 1.0f;
        model->layers[i].attention.kv_layer = i;
    }
    IMP_TRY(builder_matrix(builder, at_layer((TensorName){"token_embd", "embed_tokens"}, 0), 0, model->n_embd, REQUIRED,
                           &model->embedding));
    if (model->embedding.rows > INT32_MAX / 2)
        return imp_fail(IMP_ERR_FORMAT, "%s: the vocabulary is too large", hparams->path);
    model->n_vocab = (int32_t)model->embedding.rows;
    IMP_TRY(builder_norm(builder, at_layer(final_norm, 0), model->n_embd, &model->final_norm));
    return bind_head(builder, defaults->tied);
}

ImpStatus builder_attention_sizes(Builder *builder, int32_t layer, const ClassDefaults *defaults, Attention *out)
{
    const Hparams *hparams = &builder->hparams;
    const Model *model = builder->model;
    IMP_TRY(hparams_int_at(hparams, "attention.head_count", "num_attention_heads", layer,
                           builder->gguf ? HPARAMS_REQUIRED : defaults->n_heads, 1, MAX_HEADS, &out->n_heads));
    const bool plain = builder->gguf || hparams_is_null(hparams, "num_key_value_heads");
    const int32_t kv_default = plain || defaults->n_kv_heads == 0 ? out->n_heads : defaults->n_kv_heads;
    IMP_TRY(hparams_int_at(hparams, "attention.head_count_kv", "num_key_value_heads", layer, kv_default, 1, MAX_HEADS,
                           &out->n_kv_heads));
    if (out->n_heads % out->n_kv_heads != 0)
        return imp_fail(IMP_ERR_FORMAT, "%s: %d attention heads cannot share %d key-value heads", hparams->path,
                        (int)out->n_heads, (int)out->n_kv_heads);
    const bool even = builder->gguf || defaults->head_dim == 0 || hparams_is_null(hparams, "head_dim");
    IMP_TRY(hparams_int(hparams, "attention.key_length", "head_dim",
                        even ? model->n_embd / out->n_heads : defaults->head_dim, 1, MAX_HEAD_DIM, &out->head_dim));
    if (out->head_dim < 1 || out->head_dim > MAX_HEAD_DIM)
        return imp_fail(IMP_ERR_FORMAT, "%s: heads of %d dimensions are not possible", hparams->path,
                        (int)out->head_dim);
    IMP_TRY(hparams_int(hparams, "attention.value_length", NULL, out->head_dim, 1, MAX_HEAD_DIM, &out->head_dim_v));
    IMP_TRY(hparams_float(hparams, "attention.scale", NULL, 0, &out->scale));
    if (out->scale == 0.0f) out->scale = 1.0f / sqrtf((float)out->head_dim);
    return IMP_OK;
}

ImpStatus builder_windowed(const Builder *builder, int32_t i, const char *period_key, int32_t default_period, bool *out)
{
    static const char gguf_key[] = "attention.sliding_window_pattern";
    const Hparams *hparams = &builder->hparams;
    const char *type = json_string_value(json_array_get(hparams_json(hparams, "layer_types"), (size_t)i));
    if (type != NULL) {
        *out = strcmp(type, "sliding_attention") == 0;
        return IMP_OK;
    }
    const GgufValue *stored = hparams_gguf(hparams, gguf_key);
    const bool list = stored != NULL && stored->type == GGUF_ARRAY;
    int32_t value;
    IMP_TRY(hparams_int_at(hparams, gguf_key, period_key, i, default_period, 0, INT32_MAX, &value));
    *out = list ? value != 0 : value == 0 || (i + 1) % value != 0;
    return IMP_OK;
}

static ImpStatus bind_qk_norms(Builder *builder, int32_t layer, const AttentionNames *names, Attention *out)
{
    if (out->qk_norm != QK_NORM_HEAD && out->qk_norm != QK_NORM_ROW) return IMP_OK;
    const bool row = out->qk_norm == QK_NORM_ROW;
    Norm q, k;
    IMP_TRY(
        builder_norm(builder, at_layer(names->q_norm, layer), row ? out->n_heads * out->head_dim : out->head_dim, &q));
    IMP_TRY(builder_norm(builder, at_layer(names->k_norm, layer), row ? out->n_kv_heads * out->head_dim : out->head_dim,
                         &k));
    out->q_norm = q.weight;
    out->k_norm = k.weight;
    out->qk_norm_eps = q.eps;
    return IMP_OK;
}

ImpStatus builder_attention(Builder *builder, int32_t layer, const AttentionNames *names, Attention *out)
{
    const int64_t n_embd = builder->model->n_embd;
    const int64_t q_rows = (int64_t)out->n_heads * out->head_dim;
    const int64_t k_rows = (int64_t)out->n_kv_heads * out->head_dim;
    const int64_t v_rows = (int64_t)out->n_kv_heads * out->head_dim_v;
    const int64_t o_cols = (int64_t)out->n_heads * out->head_dim_v;
    const TensorPlace q = at_layer(names->q, layer), k = at_layer(names->k, layer);
    const TensorPlace v = at_layer(names->v, layer), o = at_layer(names->o, layer);
    IMP_TRY(builder_matrix(builder, q, q_rows, n_embd, REQUIRED, &out->wq));
    IMP_TRY(builder_matrix(builder, k, k_rows, n_embd, REQUIRED, &out->wk));
    IMP_TRY(builder_matrix(builder, v, v_rows, n_embd, REQUIRED, &out->wv));
    IMP_TRY(builder_matrix(builder, o, n_embd, o_cols, REQUIRED, &out->wo));
    IMP_TRY(builder_vector(builder, q, ".bias", q_rows, OPTIONAL, &out->bq));
    IMP_TRY(builder_vector(builder, k, ".bias", k_rows, OPTIONAL, &out->bk));
    IMP_TRY(builder_vector(builder, v, ".bias", v_rows, OPTIONAL, &out->bv));
    IMP_TRY(builder_vector(builder, o, ".bias", n_embd, OPTIONAL, &out->bo));
    return bind_qk_norms(builder, layer, names, out);
}

ImpStatus builder_dense(Builder *builder, int32_t layer, const DenseNames *names, Activation activation,
                        FeedForward *out)
{
    const int64_t n_embd = builder->model->n_embd;
    const TensorPlace gate = at_layer(names->gate, layer), up = at_layer(names->up, layer);
    const TensorPlace down = at_layer(names->down, layer);
    *out = (FeedForward){.activation = activation};
    IMP_TRY(builder_matrix(builder, up, 0, n_embd, REQUIRED, &out->up));
    if (out->up.rows > MAX_WIDTH)
        return imp_fail(IMP_ERR_FORMAT, "%s: tensor %s is too wide", builder->hparams.path, out->up.name);
    out->n_ff = (int32_t)out->up.rows;
    IMP_TRY(builder_matrix(builder, gate, out->n_ff, n_embd, REQUIRED, &out->gate));
    IMP_TRY(builder_matrix(builder, down, n_embd, out->n_ff, REQUIRED, &out->down));
    IMP_TRY(builder_vector(builder, gate, ".bias", out->n_ff, OPTIONAL, &out->gate_bias));
    IMP_TRY(builder_vector(builder, up, ".bias", out->n_ff, OPTIONAL, &out->up_bias));
    return builder_vector(builder, down, ".bias", n_embd, OPTIONAL, &out->down_bias);
}

/* One projection of all experts: a stack, or one tensor each. rows 0: as many as the first has. */
static ImpStatus bind_projection(Builder *builder, int32_t layer, TensorName stack, TensorName single,
                                 int32_t n_experts, int64_t rows, int64_t cols, Weight *out)
{
    if (builder_has(builder, at_layer(stack, layer), ".weight") || builder_has(builder, at_layer(stack, layer), ""))
        return builder_matrix_stack(builder, at_layer(stack, layer), n_experts, rows, cols, REQUIRED, out);
    if (builder->gguf && single.gguf != NULL && !builder_has(builder, (TensorPlace){single, layer, 0}, ".weight"))
        return builder_matrix_stack(builder, at_layer(stack, layer), n_experts, rows, cols, REQUIRED, out);
    for (int32_t expert = 0; expert < n_experts; expert++) {
        IMP_TRY(builder_matrix(builder, (TensorPlace){single, layer, expert}, rows, cols, REQUIRED, &out[expert]));
        rows = out[0].rows;
    }
    return IMP_OK;
}

/* transformers' fused form: each expert's gate rows stand before its up rows. */
static ImpStatus bind_gate_up_stack(Builder *builder, int32_t layer, const ExpertNames *names, Experts *out)
{
    IMP_TRY(builder_matrix_stack(builder, at_layer(names->gate_up_stack, layer), out->n_experts, 0,
                                 builder->model->n_embd, REQUIRED, out->gate));
    for (int32_t i = 0; i < out->n_experts; i++) {
        Weight *gate = &out->gate[i];
        if (gate->rows % 2 != 0)
            return imp_fail(IMP_ERR_FORMAT, "%s: tensor %s has an odd number of rows", builder->hparams.path,
                            gate->name);
        gate->rows /= 2;
        out->up[i] = *gate;
        out->up[i].data += (size_t)gate->rows * gate->row_bytes;
    }
    return IMP_OK;
}

/* What GGUF says of the router and config.json does not. */
static ImpStatus read_router(const Builder *builder, Experts *out)
{
    static const RouterKind kinds[] = {ROUTER_SOFTMAX, ROUTER_SIGMOID, ROUTER_SOFTMAX_CHOSEN};
    int32_t kind;
    float scale;
    IMP_TRY(hparams_int(&builder->hparams, "expert_gating_func", NULL, 0, 0, 3, &kind));
    if (kind > 0) out->router_kind = kinds[kind - 1];
    IMP_TRY(hparams_float(&builder->hparams, "expert_weights_scale", NULL, 0, &scale));
    if (scale != 0.0f) out->scale = scale;
    return IMP_OK;
}

ImpStatus builder_experts(Builder *builder, int32_t layer, const ExpertNames *names, Experts *out)
{
    Model *model = builder->model;
    const int32_t n = out->n_experts;
    if (n < 1 || n > MAX_EXPERTS || out->n_used < 1 || out->n_used > n)
        return imp_fail(IMP_ERR_FORMAT, "%s: %d of %d experts cannot be used", builder->hparams.path, (int)out->n_used,
                        (int)n);
    IMP_TRY(read_router(builder, out));
    IMP_TRY(builder_matrix(builder, at_layer(names->router, layer), n, model->n_embd, REQUIRED, &out->router));
    Weight *weights = arena_alloc(&model->arena, (size_t)n * 3, sizeof *weights);
    if (weights == NULL) return imp_fail_memory((size_t)n * 3 * sizeof *weights);
    out->gate = weights;
    out->up = weights + n;
    out->down = weights + 2 * (size_t)n;
    const TensorPlace fused = at_layer(names->gate_up_stack, layer);
    if (builder_has(builder, fused, "") || builder_has(builder, fused, ".weight")) {
        IMP_TRY(bind_gate_up_stack(builder, layer, names, out));
    } else {
        IMP_TRY(bind_projection(builder, layer, names->up_stack, names->up, n, 0, model->n_embd, out->up));
        IMP_TRY(bind_projection(builder, layer, names->gate_stack, names->gate, n, out->up[0].rows, model->n_embd,
                                out->gate));
    }
    if (out->up[0].rows > MAX_WIDTH)
        return imp_fail(IMP_ERR_FORMAT, "%s: tensor %s is too wide", builder->hparams.path, out->up[0].name);
    out->n_ff = (int32_t)out->up[0].rows;
    return bind_projection(builder, layer, names->down_stack, names->down, n, model->n_embd, out->n_ff, out->down);
}

ImpStatus builder_activation(const Builder *builder, const char *config_key, Activation fallback, Activation *out)
{
    static const struct {
        const char *name;
        Activation activation;
    } table[] = {
        {"silu", ACT_SILU},
        {"swish", ACT_SILU},
        {"gelu", ACT_GELU},
        {"gelu_python", ACT_GELU},
        {"gelu_pytorch_tanh", ACT_GELU_TANH},
        {"gelu_python_tanh", ACT_GELU_TANH},
        {"gelu_new", ACT_GELU_TANH},
        {"gelu_fast", ACT_GELU_TANH},
        {"gelu_accurate", ACT_GELU_TANH},
        {"relu", ACT_RELU},
        {"relu2", ACT_RELU2},
    };
    char name[32];
    *out = fallback;
    IMP_TRY(hparams_string(&builder->hparams, NULL, config_key, name, sizeof name));
    if (name[0] == '\0') return IMP_OK;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0) {
            *out = table[i].activation;
            return IMP_OK;
        }
    }
    return imp_fail(IMP_ERR_UNSUPPORTED, "%s: %s is %s, an activation that is not supported", builder->hparams.path,
                    config_key, name);
}

static ImpStatus assign_page_group(Builder *builder, Attention *attention)
{
    Model *model = builder->model;
    int32_t group = 0;
    while (group < model->n_page_groups && model->page_groups[group].window != attention->window) group++;
    if (group == MODEL_MAX_PAGE_GROUPS)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: layers have more than %d different windows", builder->hparams.path,
                        MODEL_MAX_PAGE_GROUPS);
    if (group == model->n_page_groups) model->page_groups[model->n_page_groups++].window = attention->window;
    model->page_groups[group].n_layers++;
    attention->page_group = group;
    return IMP_OK;
}

static ImpStatus set_exact(Weight *weight, void *context)
{
    (void)context;
    weight->exact = true;
    return IMP_OK;
}

ImpStatus builder_finish(Builder *builder)
{
    enum { TINY = 20000000 };
    Model *model = builder->model;
    if (model_parameter_count(model) < TINY) IMP_TRY(model_visit_weights(model, set_exact, NULL));
    for (int32_t i = 0; i < model->n_layers; i++) {
        Layer *layer = &model->layers[i];
        if (layer->mixer == MIXER_SHORT_CONV) model->has_state = true;
        if (layer->mixer != MIXER_ATTENTION) continue;
        Attention *attention = &layer->attention;
        if (attention->kv_layer == i)
            IMP_TRY(assign_page_group(builder, attention));
        else
            attention->page_group = model->layers[attention->kv_layer].attention.page_group;
    }
    return IMP_OK;
}
