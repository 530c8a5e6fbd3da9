/*
 * api_model.c - a model file with everything that is shared between contexts: weights, vocabulary, template, backends.
 *
 * A model is immutable but for two things done once under its lock: the weights are prepared by the first backend, and
 * the chat template is compiled at its first use. It lives until its last user lets go.
 */
#include "api/api.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- What the file says ---- */

static ImpStatus keep_string(ImpModel model, const char *text, size_t length, const char **out)
{
    *out = arena_string(&model->arena, text, length);
    return *out ? IMP_OK : imp_fail_memory(length + 1);
}

/* A GGUF's own name; a directory's has none but what its config.json was made from. */
static ImpStatus find_name(ImpModel model)
{
    GgufString name = {"", 0};
    const GgufMeta *meta = model_file_gguf(model->file);
    if (meta) {
        (void)gguf_get_string(meta, "general.name", &name);
    } else {
        const json_t *path = json_object_get(model_file_config(model->file), "_name_or_path");
        if (json_is_string(path)) name = (GgufString){json_string_value(path), json_string_length(path)};
    }
    return keep_string(model, name.data, name.length, &model->name);
}

/* A tokenizer_config.json holds a template, or several with names, of which "default" is for conversations. */
static const json_t *template_in_config(const json_t *tokenizer_config)
{
    const json_t *value = json_object_get(tokenizer_config, "chat_template");
    size_t index;
    json_t *item;
    if (json_is_string(value)) return value;
    json_array_foreach(value, index, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *source = json_object_get(item, "template");
        if (name && strcmp(name, "default") == 0 && json_is_string(source)) return source;
    }
    return NULL;
}

static ImpStatus find_template(ImpModel model)
{
    const GgufMeta *meta = model_file_gguf(model->file);
    GgufString source;
    if (meta) {
        if (!gguf_get_string(meta, "tokenizer.chat_template", &source)) return IMP_OK;
        return keep_string(model, source.data, source.length, &model->template_source);
    }
    if (model_file_chat_template(model->file)) {
        model->template_source = model_file_chat_template(model->file);
        return IMP_OK;
    }
    const json_t *value = template_in_config(model_file_tokenizer_config(model->file));
    if (!value) return IMP_OK;
    return keep_string(model, json_string_value(value), json_string_length(value), &model->template_source);
}

/* The type that most bytes are in, which is what people name a file after. */
static const char *main_weight_type(const ModelFile *file)
{
    uint64_t bytes[DT_COUNT] = {0};
    int best = 0;
    for (size_t i = 0; i < model_file_tensor_count(file); i++) {
        const FileTensor *tensor = model_file_tensor_at(file, i);
        bytes[tensor->type] += tensor->size;
        if (bytes[tensor->type] > bytes[best]) best = (int)tensor->type;
    }
    return bytes[best] > 0 ? dtype_info((DType)best)->name : "";
}

/* ---- Life ---- */

static ImpStatus load_parts(ImpModel model, bool vocabulary_only)
{
    IMP_TRY(tokenizer_load(model->file, &model->tokenizer));
    model->weight_type = "";
    if (!vocabulary_only && model_file_tensor_count(model->file) > 0) {
        IMP_TRY(model_load(model->file, &model->model));
        model->weight_type = main_weight_type(model->file);
    }
    if (!model->model && !model->tokenizer)
        return imp_fail(IMP_ERR_FORMAT, "%s: there is no vocabulary in it%s", model_file_path(model->file),
                        vocabulary_only ? "" : ", and there are no weights");
    IMP_TRY(find_name(model));
    return find_template(model);
}

static ImpStatus load(const char *path, ImpFormat format, bool vocabulary_only, ImpModel *out)
{
    static const ModelFormat formats[] = {
        [IMP_FORMAT_AUTO] = MODEL_FORMAT_AUTO,
        [IMP_FORMAT_GGUF] = MODEL_FORMAT_GGUF,
        [IMP_FORMAT_SAFETENSORS] = MODEL_FORMAT_SAFETENSORS,
    };
    ImpStatus status;
    if (out) *out = NULL;
    if (!out || !path) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "imp_model_load: %s is NULL", out ? "path" : "model");
    if ((unsigned)format >= sizeof formats / sizeof formats[0])
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d is no model format", (int)format);
    ImpModel model = calloc(1, sizeof *model);
    if (!model) return imp_fail_memory(sizeof *model);
    atomic_init(&model->references, 1);
    (void)pthread_mutex_init(&model->lock, NULL);
    IMP_GOTO(model_file_open(path, formats[format], &model->file));
    IMP_GOTO(load_parts(model, vocabulary_only));
    *out = model;
    return IMP_OK;
fail:
    imp_model_free(model);
    return status;
}

ImpStatus imp_model_load(const char *path, ImpFormat format, ImpModel *model)
{
    return load(path, format, false, model);
}

ImpStatus imp_model_load_vocabulary(const char *path, ImpFormat format, ImpModel *model)
{
    return load(path, format, true, model);
}

ImpModel api_model_keep(ImpModel model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void imp_model_free(ImpModel model)
{
    if (!model || atomic_fetch_sub(&model->references, 1) > 1) return;
    if (model->preparer) model->preparer->ops->release(model->preparer, model->model);
    for (ModelBackend *entry = model->backends, *next; entry; entry = next) {
        next = entry->next;
        entry->backend->ops->destroy(entry->backend);
        free(entry);
    }
    chat_template_free(model->chat_template);
    constraint_vocab_free(model->constraint_vocab);
    tokenizer_free(model->tokenizer);
    model_free(model->model);
    model_file_close(model->file);
    arena_free(&model->arena);
    (void)pthread_mutex_destroy(&model->lock);
    free(model);
}

ImpStatus imp_model_info(ImpModel model, ImpModelInfo *info)
{
    API_REQUIRE(model);
    API_REQUIRE(info);
    const Model *weights = model->model;
    const Tokenizer *tokenizer = model->tokenizer;
    const bool is_gguf = model_file_format(model->file) == MODEL_FORMAT_GGUF;
    ImpModelInfo value = {
        .architecture = weights ? weights->arch : "",
        .name = model->name,
        .weight_type = model->weight_type,
        .format = is_gguf ? IMP_FORMAT_GGUF : IMP_FORMAT_SAFETENSORS,
        .has_weights = weights != NULL,
        .has_vocabulary = tokenizer != NULL,
        .has_chat_template = model->template_source != NULL,
        .adds_bos = tokenizer && tokenizer_adds_bos(tokenizer),
        .bos = tokenizer ? tokenizer_bos(tokenizer) : -1,
        .eos = tokenizer ? tokenizer_eos(tokenizer) : -1,
        .n_vocab = tokenizer ? tokenizer_vocab_size(tokenizer) : 0,
    };
    if (weights) {
        value.n_layers = weights->n_layers;
        value.n_embd = weights->n_embd;
        value.n_vocab = weights->n_vocab;
        value.n_ctx_train = weights->n_ctx_train;
        value.n_parameters = model_parameter_count(weights);
        value.weight_bytes = model_file_tensor_bytes(model->file);
        value.bytes_per_token = model_bytes_per_token(weights);
    }
    return api_write_sized(info, &value, sizeof value, "ImpModelInfo");
}

ImpStatus api_need_tokenizer(ImpModel model)
{
    if (model->tokenizer) return IMP_OK;
    return imp_fail(IMP_ERR_UNSUPPORTED, "%s: there is no vocabulary in it, so only token ids can be used",
                    model_file_path(model->file));
}
