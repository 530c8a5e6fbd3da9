/* model.c - the table of architectures, and what can be asked of any finished model. */
#include "model/model.h"

#include "core/strbuf.h"
#include "model/arch/arch.h"

#include <stdlib.h>
#include <string.h>

typedef struct Architecture {
    const char *gguf;       /* general.architecture; NULL: only Hugging Face */
    const char *model_type; /* of config.json; NULL: only GGUF */
    ArchBuild *build;
} Architecture;

static const Architecture architectures[] = {
    {"llama", "llama", arch_build_llama},         {NULL, "mistral", arch_build_llama},
    {NULL, "mixtral", arch_build_llama},          {"qwen2", "qwen2", arch_build_qwen},
    {"qwen3", "qwen3", arch_build_qwen},          {"qwen3moe", "qwen3_moe", arch_build_qwen},
    {"gemma3", "gemma3_text", arch_build_gemma3}, {NULL, "gemma3", arch_build_gemma3},
    {"lfm2", "lfm2", arch_build_lfm2},            {"lfm2moe", "lfm2_moe", arch_build_lfm2},
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof architectures[0] };

static const char *format_name(const Architecture *entry, bool gguf) { return gguf ? entry->gguf : entry->model_type; }

static ImpStatus unsupported(const Builder *builder)
{
    StrBuf names = {0};
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        const char *name = format_name(&architectures[i], builder->gguf);
        if (name != NULL) strbuf_printf(&names, "%s%s", names.length > 0 ? ", " : "", name);
    }
    ImpStatus status = strbuf_check(&names);
    if (status == IMP_OK)
        status = imp_fail(IMP_ERR_UNSUPPORTED, "%s: the architecture %s is not supported; supported are %s",
                          builder->hparams.path, builder->hparams.arch, names.data);
    strbuf_free(&names);
    return status;
}

ImpStatus model_load(const ModelFile *file, Model **out)
{
    *out = NULL;
    Builder builder;
    ImpStatus status = builder_open(file, &builder);
    ArchBuild *build = NULL;
    for (size_t i = 0; status == IMP_OK && build == NULL && i < N_ARCHITECTURES; i++) {
        const char *name = format_name(&architectures[i], builder.gguf);
        if (name != NULL && strcmp(name, builder.hparams.arch) == 0) build = architectures[i].build;
    }
    if (status == IMP_OK) status = build != NULL ? build(&builder) : unsupported(&builder);
    if (status == IMP_OK) status = builder_finish(&builder);
    if (status != IMP_OK) {
        model_free(builder.model);
        return status;
    }
    *out = builder.model;
    return IMP_OK;
}

void model_free(Model *model)
{
    if (model == NULL) return;
    arena_free(&model->arena);
    free(model);
}

int32_t layer_matrices(Layer *layer, Weight *out[LAYER_MATRICES])
{
    Attention *attention = &layer->attention;
    Weight *const candidates[LAYER_MATRICES] = {
        &attention->wq,
        &attention->wk,
        &attention->wv,
        &attention->wo,
        &layer->short_conv.in_proj,
        &layer->short_conv.out_proj,
        &layer->dense.gate,
        &layer->dense.up,
        &layer->dense.down,
        &layer->experts.router,
        &layer->experts.shared.gate,
        &layer->experts.shared.up,
        &layer->experts.shared.down,
        &layer->experts.shared_gate,
    };
    int32_t count = 0;
    for (int32_t i = 0; i < LAYER_MATRICES; i++)
        if (weight_present(candidates[i])) out[count++] = candidates[i];
    return count;
}

static ImpStatus visit_layer(Layer *layer, WeightVisitor *visit, void *context)
{
    Weight *matrices[LAYER_MATRICES];
    const int32_t count = layer_matrices(layer, matrices);
    for (int32_t i = 0; i < count; i++) IMP_TRY(visit(matrices[i], context));
    if (layer->ffn != FFN_EXPERTS) return IMP_OK;
    Experts *experts = &layer->experts;
    for (int32_t i = 0; i < experts->n_experts; i++) {
        if (weight_present(&experts->gate[i])) IMP_TRY(visit(&experts->gate[i], context));
        IMP_TRY(visit(&experts->up[i], context));
        IMP_TRY(visit(&experts->down[i], context));
    }
    return IMP_OK;
}

ImpStatus model_visit_layers(Model *model, int32_t first, int32_t end, WeightVisitor *visit, void *context)
{
    for (int32_t i = first; i < end; i++) IMP_TRY(visit_layer(&model->layers[i], visit, context));
    return IMP_OK;
}

ImpStatus model_visit_weights(Model *model, WeightVisitor *visit, void *context)
{
    IMP_TRY(model_visit_layers(model, 0, model->n_layers, visit, context));
    IMP_TRY(visit(&model->embedding, context));
    return visit(&model->head, context);
}

static ImpStatus visit_vectors(Vector *const *vectors, size_t count, VectorVisitor *visit, void *context)
{
    for (size_t i = 0; i < count; i++)
        if (vector_present(vectors[i])) IMP_TRY(visit(vectors[i], context));
    return IMP_OK;
}

static ImpStatus visit_expert_vectors(Experts *experts, VectorVisitor *visit, void *context)
{
    Vector *const lists[] = {experts->gate_bias, experts->up_bias, experts->down_bias};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (int32_t e = 0; lists[i] != NULL && e < experts->n_experts; e++)
            if (vector_present(&lists[i][e])) IMP_TRY(visit(&lists[i][e], context));
    return IMP_OK;
}

static ImpStatus visit_layer_vectors(Layer *layer, VectorVisitor *visit, void *context)
{
    Attention *attention = &layer->attention;
    ShortConv *conv = &layer->short_conv;
    FeedForward *shared = &layer->experts.shared;
    Vector *const vectors[] = {
        &layer->mixer_norm.weight, &layer->mixer_norm.bias, &layer->mixer_post_norm.weight, &layer->mixer_post_norm.bias,
        &layer->ffn_norm.weight, &layer->ffn_norm.bias, &layer->ffn_post_norm.weight, &layer->ffn_post_norm.bias,
        &attention->bq, &attention->bk, &attention->bv, &attention->bo,
        &attention->q_norm, &attention->k_norm, &attention->sinks,
        &conv->in_bias, &conv->taps, &conv->conv_bias, &conv->out_bias,
        &layer->dense.gate_bias, &layer->dense.up_bias, &layer->dense.down_bias,
        &layer->experts.router_bias, &layer->experts.choice_bias,
        &shared->gate_bias, &shared->up_bias, &shared->down_bias,
    };
    IMP_TRY(visit_vectors(vectors, sizeof vectors / sizeof vectors[0], visit, context));
    return layer->ffn == FFN_EXPERTS ? visit_expert_vectors(&layer->experts, visit, context) : IMP_OK;
}

ImpStatus model_visit_vectors(Model *model, VectorVisitor *visit, void *context)
{
    Vector *const vectors[] = {&model->embedding_norm.weight, &model->embedding_norm.bias, &model->final_norm.weight,
                               &model->final_norm.bias, &model->head_bias};
    IMP_TRY(visit_vectors(vectors, sizeof vectors / sizeof vectors[0], visit, context));
    for (int32_t i = 0; i < model->n_layers; i++) IMP_TRY(visit_layer_vectors(&model->layers[i], visit, context));
    return IMP_OK;
}

static uint64_t weight_bytes(const Weight *weight) { return (uint64_t)weight->rows * weight->row_bytes; }

uint64_t model_bytes_per_token(const Model *model)
{
    uint64_t total = weight_bytes(&model->head) + model->embedding.row_bytes;
    for (int32_t i = 0; i < model->n_layers; i++) {
        Layer *layer = &model->layers[i];
        Weight *matrices[LAYER_MATRICES];
        const int32_t count = layer_matrices(layer, matrices);
        for (int32_t j = 0; j < count; j++) total += weight_bytes(matrices[j]);
        if (layer->ffn != FFN_EXPERTS) continue;
        const Experts *experts = &layer->experts;
        total += (uint64_t)experts->n_used *
                 (weight_bytes(&experts->gate[0]) + weight_bytes(&experts->up[0]) + weight_bytes(&experts->down[0]));
    }
    return total;
}

uint64_t model_parameter_count(const Model *model)
{
    const bool tied = model->head.data == model->embedding.data;
    uint64_t total = (uint64_t)model->embedding.rows * (uint64_t)model->embedding.cols * (tied ? 1 : 2);
    for (int32_t i = 0; i < model->n_layers; i++) {
        Layer *layer = &model->layers[i];
        Weight *matrices[LAYER_MATRICES];
        const int32_t count = layer_matrices(layer, matrices);
        for (int32_t j = 0; j < count; j++) total += (uint64_t)matrices[j]->rows * (uint64_t)matrices[j]->cols;
        if (layer->ffn != FFN_EXPERTS) continue;
        const Experts *experts = &layer->experts;
        total += (uint64_t)experts->n_experts * 3 * (uint64_t)experts->n_ff * (uint64_t)model->n_embd;
    }
    return total;
}
