/*
 * gguf_file.h - the steps of reading a GGUF file: metadata, tensor table, further parts of a split model.
 *
 * Inside the format room only; gguf.h is what the others see.
 */
#ifndef IMP_FORMAT_GGUF_FILE_H
#define IMP_FORMAT_GGUF_FILE_H

#include "format/gguf.h"
#include "format/tensor_table.h"

/* A read position in mapped bytes. */
typedef struct GgufCursor {
    const uint8_t *data;
    size_t size, at;
} GgufCursor;

/* Take a number or a string and move on; fail when the file ends first. */
ImpStatus gguf_take_u32(GgufCursor *cursor, uint32_t *out);
ImpStatus gguf_take_u64(GgufCursor *cursor, uint64_t *out);
ImpStatus gguf_take_string(GgufCursor *cursor, GgufString *out);

/* Reads header and metadata. Sentences do not name the file. On success `cursor` stands at the tensor table, which has
 * `*n_tensors` rows; strings and arrays of `*out` point into the mapping. */
ImpStatus gguf_meta_read(GgufCursor *cursor, GgufMeta **out, uint64_t *n_tensors);
void gguf_meta_free(GgufMeta *meta);

/* Reads the tensor table that `cursor` stands at and adds its tensors to `table`. */
ImpStatus gguf_tensors_read(GgufCursor *cursor, const GgufMeta *meta, uint64_t n_tensors, TensorTable *table);

/* Opens `path` and, when it is part of a split model, all other parts. `*meta` is that of the first part. Sentences
 * name the part's file. */
ImpStatus gguf_open(const char *path, TensorTable *table, GgufMeta **meta);

#endif
