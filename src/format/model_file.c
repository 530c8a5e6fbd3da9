/*
 * model_file.c - one face for the two formats: opens what a path means, keeps what was read, answers by name.
 */
#include "format/model_file.h"

#include "format/gguf_file.h"
#include "format/json_file.h"
#include "format/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The JSON files of a SafeTensors directory. */
typedef enum Companion { CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG, TOKENIZER, N_COMPANIONS } Companion;

static const struct {
    const char *name;
    size_t max_bytes;
} companions[N_COMPANIONS] = {
    [CONFIG] = {"config.json", 16 << 20},
    [GENERATION_CONFIG] = {"generation_config.json", 16 << 20},
    [TOKENIZER_CONFIG] = {"tokenizer_config.json", 64 << 20},
    [TOKENIZER] = {"tokenizer.json", 256 << 20},
};

static const char *const chat_template_name = "chat_template.jinja";
static const size_t max_chat_template_bytes = 16 << 20;

struct ModelFile {
    char *path;
    ModelFormat format;
    TensorTable tensors;
    GgufMeta *gguf;
    json_t *json[N_COMPANIONS];
    StrBuf chat_template;
};

static ImpStatus read_chat_template(const char *directory, StrBuf *out)
{
    StrBuf path = {0};
    struct stat info;
    strbuf_printf(&path, "%s/%s", directory, chat_template_name);
    ImpStatus status = strbuf_check(&path);
    if (status == IMP_OK && stat(path.data, &info) == 0) {
        status = file_read(path.data, max_chat_template_bytes, out);
        if (status == IMP_OK && out->data != NULL && strlen(out->data) != out->length)
            status = imp_fail(IMP_ERR_FORMAT, "%s: there is a NUL in it", path.data);
    }
    strbuf_free(&path);
    return status;
}

static ImpStatus read_companions(ModelFile *file, const char *directory)
{
    for (int i = 0; i < N_COMPANIONS; i++)
        IMP_TRY(json_file_read(directory, companions[i].name, companions[i].max_bytes, &file->json[i]));
    IMP_TRY(read_chat_template(directory, &file->chat_template));
    if (file->tensors.n_maps == 0 && file->json[CONFIG] == NULL && file->json[TOKENIZER] == NULL)
        return imp_fail(IMP_ERR_FORMAT,
                        "%s holds none of model.safetensors, model.safetensors.index.json and tokenizer.json; of a "
                        "GGUF model name the file itself",
                        directory);
    return IMP_OK;
}

/* `path` is a directory, or one SafeTensors file whose directory has the rest. */
static ImpStatus open_safetensors(ModelFile *file, bool is_directory)
{
    if (is_directory) {
        IMP_TRY(safetensors_read_directory(file->path, &file->tensors));
        return read_companions(file, file->path);
    }
    IMP_TRY(safetensors_read_file(file->path, &file->tensors));
    const char *slash = strrchr(file->path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(file->path, (size_t)(slash - file->path + 1));
    if (directory == NULL) return imp_fail_memory(strlen(file->path));
    const ImpStatus status = read_companions(file, directory);
    free(directory);
    return status;
}

/* A GGUF file, or the hint that someone who named a file of a SafeTensors directory needs. */
static ImpStatus open_gguf(ModelFile *file)
{
    static const char suffix[] = ".safetensors";
    const ImpStatus status = gguf_open(file->path, &file->tensors, &file->gguf);
    const size_t length = strlen(file->path), suffix_length = sizeof suffix - 1;
    if (status == IMP_ERR_FORMAT && length > suffix_length && strcmp(file->path + length - suffix_length, suffix) == 0)
        return imp_fail(status, "%s; of a SafeTensors model name the directory", imp_last_error());
    return status;
}

ImpStatus model_file_open(const char *path, ModelFormat format, ModelFile **out)
{
    *out = NULL;
    ModelFile *file = calloc(1, sizeof *file);
    if (file == NULL) return imp_fail_memory(sizeof *file);
    struct stat info;
    const bool is_directory = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    file->format = format != MODEL_FORMAT_AUTO ? format : is_directory ? MODEL_FORMAT_SAFETENSORS : MODEL_FORMAT_GGUF;
    file->path = strdup(path);
    ImpStatus status = IMP_OK;
    if (file->path == NULL)
        status = imp_fail_memory(strlen(path));
    else if (file->format == MODEL_FORMAT_GGUF)
        status = open_gguf(file);
    else
        status = open_safetensors(file, is_directory);
    if (status != IMP_OK) {
        model_file_close(file);
        return status;
    }
    *out = file;
    return IMP_OK;
}

void model_file_close(ModelFile *file)
{
    if (file == NULL) return;
    gguf_meta_free(file->gguf);
    for (int i = 0; i < N_COMPANIONS; i++) json_decref(file->json[i]);
    strbuf_free(&file->chat_template);
    tensor_table_free(&file->tensors);
    free(file->path);
    free(file);
}

ModelFormat model_file_format(const ModelFile *file) { return file->format; }
const char *model_file_path(const ModelFile *file) { return file->path; }

uint64_t model_file_tensor_bytes(const ModelFile *file) { return file->tensors.bytes; }
size_t model_file_tensor_count(const ModelFile *file) { return file->tensors.count; }
const FileTensor *model_file_tensor_at(const ModelFile *file, size_t index) { return &file->tensors.tensors[index]; }

const FileTensor *model_file_tensor(const ModelFile *file, const char *name)
{
    size_t index;
    if (!name_map_find(&file->tensors.names, name, strlen(name), &index)) return NULL;
    return &file->tensors.tensors[index];
}

const GgufMeta *model_file_gguf(const ModelFile *file) { return file->gguf; }
const json_t *model_file_config(const ModelFile *file) { return file->json[CONFIG]; }
const json_t *model_file_generation_config(const ModelFile *file) { return file->json[GENERATION_CONFIG]; }
const json_t *model_file_tokenizer_config(const ModelFile *file) { return file->json[TOKENIZER_CONFIG]; }
const json_t *model_file_tokenizer(const ModelFile *file) { return file->json[TOKENIZER]; }
const char *model_file_chat_template(const ModelFile *file) { return file->chat_template.data; }
