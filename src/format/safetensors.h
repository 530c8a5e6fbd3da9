/*
 * safetensors.h - SafeTensors files and the index that joins several of them.
 *
 * Inside the format room only. Layout: https://huggingface.co/docs/safetensors - a u64 length, that many bytes of JSON
 * ({name: {dtype, shape, data_offsets}}), the tensors' bytes.
 */
#ifndef IMP_FORMAT_SAFETENSORS_H
#define IMP_FORMAT_SAFETENSORS_H

#include "format/tensor_table.h"

/* Adds the tensors of one file. Sentences name the file. */
ImpStatus safetensors_read_file(const char *path, TensorTable *table);

/* Adds the tensors of DIRECTORY/model.safetensors or, failing that, of the shards that
 * DIRECTORY/model.safetensors.index.json names. With neither, adds nothing. */
ImpStatus safetensors_read_directory(const char *directory, TensorTable *table);

#endif
