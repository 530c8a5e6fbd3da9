/*
 * tensor_table.c - where a file's claims about a tensor become a checked FileTensor.
 *
 * Both formats end here, so that the rules on sizes, borders and names are written down once.
 */
#include "format/tensor_table.h"

#include <stdlib.h>
#include <string.h>

ImpStatus tensor_table_map(TensorTable *table, const char *path, const FileMap **out)
{
    if (table->n_maps == table->map_capacity) {
        const size_t capacity = table->map_capacity == 0 ? 4 : table->map_capacity * 2;
        FileMap *maps = realloc(table->maps, capacity * sizeof *maps);
        if (maps == NULL) return imp_fail_memory(capacity * sizeof *maps);
        table->maps = maps;
        table->map_capacity = capacity;
    }
    FileMap *map = &table->maps[table->n_maps];
    IMP_TRY(file_map_open(path, map));
    table->n_maps++;
    *out = map;
    return IMP_OK;
}

ImpStatus tensor_table_reserve(TensorTable *table, size_t extra)
{
    if (extra <= table->capacity - table->count) return IMP_OK;
    if (extra > SIZE_MAX / 4 / sizeof *table->tensors - table->count) return imp_fail_memory(extra);
    size_t capacity = table->count + extra;
    if (capacity < table->capacity * 2) capacity = table->capacity * 2;
    FileTensor *tensors = realloc(table->tensors, capacity * sizeof *tensors);
    if (tensors == NULL) return imp_fail_memory(capacity * sizeof *tensors);
    table->tensors = tensors;
    table->capacity = capacity;
    return name_map_reserve(&table->names, capacity);
}

ImpStatus tensor_byte_size(DType type, const int64_t *dims, int32_t n_dims, size_t *bytes)
{
    const DTypeInfo *info = dtype_info(type);
    const int64_t row = n_dims > 0 ? dims[n_dims - 1] : 1;
    uint64_t n_rows = 1;
    bool empty = false, overflow = false;
    for (int32_t d = 0; d < n_dims; d++) {
        if (dims[d] < 0) return imp_fail(IMP_ERR_FORMAT, "dimension %d is negative", (int)d);
        empty |= dims[d] == 0;
    }
    for (int32_t d = 0; d + 1 < n_dims && !empty; d++) {
        if ((uint64_t)dims[d] > UINT64_MAX / n_rows)
            overflow = true;
        else
            n_rows *= (uint64_t)dims[d];
    }
    if (row % info->block_elems != 0)
        return imp_fail(IMP_ERR_FORMAT, "its rows of %lld elements are not whole blocks of %u, as %s needs",
                        (long long)row, (unsigned)info->block_elems, info->name);
    size_t row_bytes = 0;
    overflow |= !dtype_row_bytes(type, (uint64_t)row, &row_bytes);
    if (empty) {
        *bytes = 0;
        return IMP_OK;
    }
    /* Counts of elements are kept in int64_t by everyone who reads the table. */
    if (overflow || n_rows > SIZE_MAX / row_bytes || n_rows > INT64_MAX / (uint64_t)row)
        return imp_fail(IMP_ERR_FORMAT, "its shape has more elements than can be counted");
    *bytes = (size_t)n_rows * row_bytes;
    return IMP_OK;
}

ImpStatus tensor_table_add(TensorTable *table, const char *name, size_t length, const FileTensor *tensor,
                           const TensorSection *section, uint64_t offset)
{
    if (length == 0 || memchr(name, '\0', length) != NULL)
        return imp_fail(IMP_ERR_FORMAT, "a tensor's name is empty or holds a NUL");
    if (offset > section->size || tensor->size > section->size - offset)
        return imp_fail(IMP_ERR_FORMAT,
                        "its %zu bytes at offset %llu do not fit the %llu bytes of tensor data (a truncated file?)",
                        tensor->size, (unsigned long long)offset, (unsigned long long)section->size);
    IMP_TRY(tensor_table_reserve(table, 1));
    FileTensor *added = &table->tensors[table->count];
    *added = *tensor;
    char *copy = arena_string(&table->arena, name, length);
    if (copy == NULL) return imp_fail_memory(length);
    added->name = copy;
    added->data = tensor->size > 0 ? section->data + offset : NULL;
    size_t existing;
    IMP_TRY(name_map_add(&table->names, copy, length, table->count, &existing));
    if (existing != table->count) return imp_fail(IMP_ERR_FORMAT, "there are two tensors of this name");
    table->count++;
    table->bytes += tensor->size;
    return IMP_OK;
}

void tensor_table_free(TensorTable *table)
{
    for (size_t i = 0; i < table->n_maps; i++) file_map_close(&table->maps[i]);
    free(table->maps);
    free(table->tensors);
    name_map_free(&table->names);
    arena_free(&table->arena);
    *table = (TensorTable){0};
}
