/*
 * builder_tensors.c - from a name and a shape to a weight: the only place where a model meets its file's tensors.
 */
#include "model/builder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* Replaces the first '*' by the layer, the second by the expert, and appends the suffix. False: absent in this format.
 */
static bool expand_name(const Builder *builder, TensorPlace place, const char *suffix, char *out)
{
    const char *pattern = builder->gguf ? place.name.gguf : place.name.hf;
    if (pattern == NULL) return false;
    /* "lm_head" and its like stand outside of the text model's prefix and start with '/'. */
    const bool absolute = pattern[0] == '/';
    size_t length = (size_t)snprintf(out, NAME_BYTES, "%s", builder->gguf || absolute ? "" : builder->prefix);
    int32_t number = place.layer;
    for (const char *p = pattern + absolute; *p != '\0' && length + 16 < NAME_BYTES; p++) {
        if (*p != '*') {
            out[length++] = *p;
            continue;
        }
        length += (size_t)snprintf(out + length, NAME_BYTES - length, "%" PRId32, number);
        number = place.expert;
    }
    (void)snprintf(out + length, NAME_BYTES - length, "%s", suffix);
    return true;
}

static const FileTensor *find(const Builder *builder, TensorPlace place, const char *suffix, char *name)
{
    name[0] = '\0';
    return expand_name(builder, place, suffix, name) ? model_file_tensor(builder->file, name) : NULL;
}

bool builder_has(const Builder *builder, TensorPlace place, const char *suffix)
{
    char name[NAME_BYTES];
    return find(builder, place, suffix, name) != NULL;
}

static ImpStatus tensor_missing(const Builder *builder, const char *name)
{
    return imp_fail(IMP_ERR_FORMAT, "%s: tensor %s is missing", builder->hparams.path, name);
}

static int64_t element_count(const FileTensor *tensor)
{
    int64_t count = 1; /* the file has checked that this does not overflow */
    for (int32_t i = 0; i < tensor->n_dims; i++) count *= tensor->dims[i];
    return count;
}

static ImpStatus wrong_shape(const Builder *builder, const FileTensor *tensor, const char *expected)
{
    char shape[NAME_BYTES] = "";
    size_t length = 0;
    for (int32_t i = 0; i < tensor->n_dims && length < sizeof shape - 24; i++)
        length +=
            (size_t)snprintf(shape + length, sizeof shape - length, "%s%" PRId64, i == 0 ? "" : " × ", tensor->dims[i]);
    return imp_fail(IMP_ERR_FORMAT, "%s: tensor %s has the shape %s, %s was expected", builder->hparams.path,
                    tensor->name, shape, expected);
}

static ImpStatus check_matrix_type(const Builder *builder, const FileTensor *tensor)
{
    const DTypeInfo *info = dtype_info(tensor->type);
    if (info->decode == NULL)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: tensor %s has the integer type %s, which no weight may have",
                        builder->hparams.path, tensor->name, info->name);
    if (tensor->type == DT_F8_E4M3 || tensor->type == DT_F8_E5M2)
        return imp_fail(IMP_ERR_UNSUPPORTED,
                        "%s: tensor %s is %s: FP8 checkpoints with separate scales are not supported",
                        builder->hparams.path, tensor->name, info->name);
    return IMP_OK;
}

/* Fills `count` weights from a tensor of count × rows × cols elements. */
static ImpStatus bind_matrices(Builder *builder, TensorPlace place, const FileTensor *tensor, int32_t count,
                               int64_t rows, int64_t cols, Weight *out)
{
    const int64_t elements = element_count(tensor);
    const int64_t last = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 0;
    if (rows == 0 && last == cols && cols > 0 && elements > 0 && elements % (count * cols) == 0)
        rows = elements / (count * cols);
    if (last != cols || rows < 1 || elements != count * rows * cols) {
        char expected[96];
        const int length = count > 1 ? snprintf(expected, sizeof expected, "%" PRId32 " × ", count) : 0;
        if (rows > 0)
            (void)snprintf(expected + length, sizeof expected - (size_t)length, "%" PRId64 " × %" PRId64, rows, cols);
        else
            (void)snprintf(expected + length, sizeof expected - (size_t)length, "a width of %" PRId64, cols);
        return wrong_shape(builder, tensor, expected);
    }
    IMP_TRY(check_matrix_type(builder, tensor));
    size_t row_bytes;
    if (!dtype_row_bytes(tensor->type, (uint64_t)cols, &row_bytes))
        return imp_fail(IMP_ERR_FORMAT, "%s: rows of tensor %s are not a whole number of %s blocks",
                        builder->hparams.path, tensor->name, dtype_info(tensor->type)->name);
    /* NVFP4 and its like: one more scale for the whole matrix, beside it. */
    Vector scale = {0};
    if (builder->gguf) IMP_TRY(builder_vector(builder, place, ".scale", count, OPTIONAL, &scale));
    for (int32_t i = 0; i < count; i++)
        out[i] = (Weight){.name = tensor->name,
                          .type = tensor->type,
                          .rows = rows,
                          .cols = cols,
                          .row_bytes = row_bytes,
                          .data = tensor->data + (size_t)i * (size_t)rows * row_bytes,
                          .scale = vector_present(&scale) ? scale.data[i] : 1.0f};
    return IMP_OK;
}

ImpStatus builder_matrix_stack(Builder *builder, TensorPlace place, int32_t count, int64_t rows, int64_t cols,
                               Presence presence, Weight *out)
{
    char name[NAME_BYTES];
    const FileTensor *tensor = find(builder, place, ".weight", name);
    /* transformers keeps fused expert stacks as bare parameters. */
    if (tensor == NULL && !builder->gguf) tensor = find(builder, place, "", name);
    memset(out, 0, (size_t)count * sizeof *out);
    if (tensor == NULL) return presence == OPTIONAL ? IMP_OK : tensor_missing(builder, name);
    return bind_matrices(builder, place, tensor, count, rows, cols, out);
}

ImpStatus builder_matrix(Builder *builder, TensorPlace place, int64_t rows, int64_t cols, Presence presence,
                         Weight *out)
{
    char name[NAME_BYTES];
    const FileTensor *tensor = find(builder, place, ".weight", name);
    *out = (Weight){0};
    if (tensor == NULL) return presence == OPTIONAL ? IMP_OK : tensor_missing(builder, name);
    return bind_matrices(builder, place, tensor, 1, rows, cols, out);
}

ImpStatus builder_vector(Builder *builder, TensorPlace place, const char *suffix, int64_t size, Presence presence,
                         Vector *out)
{
    char name[NAME_BYTES];
    const FileTensor *tensor = find(builder, place, suffix, name);
    *out = (Vector){0};
    if (tensor == NULL) return presence == OPTIONAL ? IMP_OK : tensor_missing(builder, name);
    if (element_count(tensor) != size || size < 1) {
        char expected[48];
        (void)snprintf(expected, sizeof expected, "%" PRId64 " elements", size);
        return wrong_shape(builder, tensor, expected);
    }
    const DTypeInfo *info = dtype_info(tensor->type);
    if (info->decode == NULL || size % info->block_elems != 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: tensor %s cannot be of the type %s", builder->hparams.path,
                        tensor->name, info->name);
    float *data = arena_alloc(&builder->model->arena, (size_t)size, sizeof *data);
    if (data == NULL) return imp_fail_memory((size_t)size * sizeof *data);
    info->decode(tensor->data, data, (size_t)size);
    *out = (Vector){.data = data, .size = (int32_t)size};
    return IMP_OK;
}

ImpStatus builder_norm(Builder *builder, TensorPlace place, int32_t size, Norm *out)
{
    *out = (Norm){.kind = NORM_RMS, .eps = builder->norm_eps};
    IMP_TRY(builder_vector(builder, place, ".weight", size, REQUIRED, &out->weight));
    if (builder->norm_offset != 0.0f && !builder->gguf) {
        /* The arena's own copy, written once here: 1 + w in float32, as the reference computes it. */
        float *data = (float *)(uintptr_t)out->weight.data;
        for (int32_t i = 0; i < size; i++) data[i] += builder->norm_offset;
    }
    return IMP_OK;
}
