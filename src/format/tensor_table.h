/*
 * tensor_table.h - the tensors of a model as its files are read: names, shapes, bytes, each checked once, here.
 *
 * Inside the format room only; model_file.c owns the one table of a model.
 */
#ifndef IMP_FORMAT_TENSOR_TABLE_H
#define IMP_FORMAT_TENSOR_TABLE_H

#include "core/arena.h"
#include "core/file_map.h"
#include "core/name_map.h"
#include "format/model_file.h"

#include <stdbool.h>

/* Zero-initialize to start. */
typedef struct TensorTable {
    FileTensor *tensors; /* [count] */
    size_t count, capacity;
    uint64_t bytes; /* of all tensors */
    NameMap names;
    Arena arena;   /* names and whatever else lives as long as the model */
    FileMap *maps; /* [n_maps], the files that the tensors lie in */
    size_t n_maps, map_capacity;
} TensorTable;

/* The bytes of a file that its tensors' offsets count from. */
typedef struct TensorSection {
    const uint8_t *data;
    uint64_t size;
} TensorSection;

/* Maps a file that stays mapped as long as the table; `*out` is valid until the next call. */
ImpStatus tensor_table_map(TensorTable *table, const char *path, const FileMap **out);

/* Makes room for `extra` more tensors. */
ImpStatus tensor_table_reserve(TensorTable *table, size_t extra);

/* Bytes of a tensor of this type and shape (dims outermost first). Fails without the tensor's name, which the caller
 * puts in front: a negative dimension, a row that is not a whole number of blocks, a product that overflows. */
ImpStatus tensor_byte_size(DType type, const int64_t *dims, int32_t n_dims, size_t *bytes);

/* Adds a tensor of `tensor->size` bytes at `offset` of `section`; fails when they do not lie inside or when the name
 * (`length` bytes, copied) is taken or holds a NUL. `tensor->name` and `tensor->data` are set here. */
ImpStatus tensor_table_add(TensorTable *table, const char *name, size_t length, const FileTensor *tensor,
                           const TensorSection *section, uint64_t offset);

void tensor_table_free(TensorTable *table);

#endif
