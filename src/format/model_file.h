/*
 * model_file.h - a GGUF file (or its splits) or a SafeTensors directory as metadata and named tensors, mapped and checked.
 *
 * Whatever this room hands out has been checked: a tensor's bytes lie inside a mapping, its size fits its type and shape.
 */
#ifndef IMP_FORMAT_MODEL_FILE_H
#define IMP_FORMAT_MODEL_FILE_H

#include "core/status.h"
#include "format/gguf.h"
#include "quant/dtype.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { TENSOR_MAX_DIMS = 8 };

typedef enum ModelFormat { MODEL_FORMAT_AUTO, MODEL_FORMAT_GGUF, MODEL_FORMAT_SAFETENSORS } ModelFormat;

typedef struct FileTensor {
    const char *name;              /* NUL-terminated, owned by the file */
    DType type;                    /* always below DT_COUNT: a file with an unknown type is refused */
    int32_t n_dims;                /* 0 … TENSOR_MAX_DIMS */
    int64_t dims[TENSOR_MAX_DIMS]; /* outermost first, as in PyTorch: a matrix is [rows][cols], rows contiguous */
    const uint8_t *data;           /* NULL when `size` is 0; no alignment is promised */
    size_t size;
} FileTensor;

typedef struct ModelFile ModelFile;

/*
 * Opens a model. AUTO: a directory is SafeTensors, all else GGUF. A directory holding only tokenizer.json or config.json
 * opens as a SafeTensors model without tensors. SAFETENSORS takes a single file too; its directory has the rest.
 * For a split GGUF any one part's path opens all of them. Errors: IMP_ERR_IO, IMP_ERR_FORMAT, IMP_ERR_UNSUPPORTED with
 * file, tensor and reason.
 */
ImpStatus model_file_open(const char *path, ModelFormat format, ModelFile **out);
void model_file_close(ModelFile *file);

ModelFormat model_file_format(const ModelFile *file);
const char *model_file_path(const ModelFile *file);

/* Sum of all tensors' bytes. */
uint64_t model_file_tensor_bytes(const ModelFile *file);
size_t model_file_tensor_count(const ModelFile *file);
const FileTensor *model_file_tensor_at(const ModelFile *file, size_t index);
/* Hash lookup; NULL when absent. */
const FileTensor *model_file_tensor(const ModelFile *file, const char *name);

/* GGUF: the metadata of the first part. NULL for SafeTensors. */
const GgufMeta *model_file_gguf(const ModelFile *file);

/* SafeTensors: the directory's files, parsed; NULL where a file is absent and for GGUF. Owned by the file. What Python
 * writes beyond JSON is accepted: NaN reads as null, Infinity as the largest double (infinity after a cast to float),
 * integers past 18 digits as reals. */
const json_t *model_file_config(const ModelFile *file);            /* config.json */
const json_t *model_file_generation_config(const ModelFile *file); /* generation_config.json */
const json_t *model_file_tokenizer_config(const ModelFile *file);  /* tokenizer_config.json */
const json_t *model_file_tokenizer(const ModelFile *file);         /* tokenizer.json */
/* chat_template.jinja, NUL-terminated; NULL when absent. */
const char *model_file_chat_template(const ModelFile *file);

#endif
