/*
 * gguf_split.c - a model in one file or in several, NAME-00001-of-00003.gguf and so on.
 *
 * A part says with `split.count` and `split.no` (from 0) what it is; the other parts' names follow from its own. The
 * first part carries the model's metadata, each part its own tensors.
 */
#include "format/gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 99999, SUFFIX_LENGTH = 20 /* -00001-of-00003.gguf */ };

typedef struct GgufPart {
    int64_t number, count; /* number from 0; count 1: not split */
    int64_t tensors;       /* in all parts together, -1: not stated */
} GgufPart;

static ImpStatus read_part(const GgufMeta *meta, GgufPart *part)
{
    *part = (GgufPart){.count = 1, .tensors = -1};
    if (gguf_find(meta, "split.count") == NULL) return IMP_OK;
    if (!gguf_get_i64(meta, "split.count", &part->count) || part->count < 0 || part->count > MAX_PARTS)
        return imp_fail(IMP_ERR_FORMAT, "split.count is not a number of parts");
    if (part->count <= 1) {
        part->count = 1;
        return IMP_OK;
    }
    if (!gguf_get_i64(meta, "split.no", &part->number) || part->number < 0 || part->number >= part->count)
        return imp_fail(IMP_ERR_FORMAT, "split.no is not below split.count, which is %lld", (long long)part->count);
    if (gguf_find(meta, "split.tensors.count") != NULL &&
        (!gguf_get_i64(meta, "split.tensors.count", &part->tensors) || part->tensors < 0))
        return imp_fail(IMP_ERR_FORMAT, "split.tensors.count is not a count");
    return IMP_OK;
}

/* Reads one file; sentences name it. */
static ImpStatus read_file(const char *path, TensorTable *table, GgufMeta **meta, GgufPart *part, bool with_tensors)
{
    const FileMap *map;
    IMP_TRY(tensor_table_map(table, path, &map));
    GgufCursor cursor = {.data = map->data, .size = map->size};
    uint64_t n_tensors;
    GgufMeta *read = NULL;
    ImpStatus status = gguf_meta_read(&cursor, &read, &n_tensors);
    if (status == IMP_OK) status = read_part(read, part);
    if (status == IMP_OK && (with_tensors || part->count == 1))
        status = gguf_tensors_read(&cursor, read, n_tensors, table);
    if (status != IMP_OK) {
        gguf_meta_free(read);
        return imp_fail_prefix(status, "%s", path);
    }
    *meta = read;
    return IMP_OK;
}

static void part_suffix(char suffix[SUFFIX_LENGTH + 1], int64_t number, int64_t count)
{
    (void)snprintf(suffix, SUFFIX_LENGTH + 1, "-%05d-of-%05d.gguf", (int)(number + 1), (int)count);
}

/* Opens part `number` of the model whose part paths are `path` with another suffix. */
static ImpStatus read_sibling(char *path, const GgufPart *opened, int64_t number, TensorTable *table, GgufMeta **first)
{
    char suffix[SUFFIX_LENGTH + 1];
    part_suffix(suffix, number, opened->count);
    memcpy(path + strlen(path) - SUFFIX_LENGTH, suffix, SUFFIX_LENGTH);
    GgufMeta *meta;
    GgufPart part;
    IMP_TRY(read_file(path, table, &meta, &part, true));
    const bool fits = part.count == opened->count && part.number == number;
    if (fits && number == 0)
        *first = meta;
    else
        gguf_meta_free(meta);
    if (fits) return IMP_OK;
    return imp_fail(IMP_ERR_FORMAT, "%s: it says that it is part %lld of %lld, its name says %lld of %lld", path,
                    (long long)part.number + 1, (long long)part.count, (long long)number + 1, (long long)opened->count);
}

static ImpStatus read_parts(char *path, const GgufPart *opened, TensorTable *table, GgufMeta **first)
{
    char suffix[SUFFIX_LENGTH + 1];
    part_suffix(suffix, opened->number, opened->count);
    const size_t length = strlen(path);
    if (length < SUFFIX_LENGTH || strcmp(path + length - SUFFIX_LENGTH, suffix) != 0)
        return imp_fail(IMP_ERR_FORMAT, "%s: part %lld of %lld of a split model must have a name that ends in %s", path,
                        (long long)opened->number + 1, (long long)opened->count, suffix);
    for (int64_t number = 0; number < opened->count; number++)
        IMP_TRY(read_sibling(path, opened, number, table, first));
    if (opened->tensors >= 0 && (uint64_t)opened->tensors != table->count)
        return imp_fail(IMP_ERR_FORMAT, "%s: the parts have %zu tensors together, split.tensors.count says %lld", path,
                        table->count, (long long)opened->tensors);
    return IMP_OK;
}

ImpStatus gguf_open(const char *path, TensorTable *table, GgufMeta **meta)
{
    GgufPart part;
    IMP_TRY(read_file(path, table, meta, &part, false));
    if (part.count == 1) return IMP_OK;
    gguf_meta_free(*meta);
    *meta = NULL;
    char *part_path = strdup(path);
    if (part_path == NULL) return imp_fail_memory(strlen(path));
    const ImpStatus status = read_parts(part_path, &part, table, meta);
    free(part_path);
    if (status != IMP_OK) {
        gguf_meta_free(*meta);
        *meta = NULL;
    }
    return status;
}
