/*
 * safetensors.c - headers are JSON, so jansson reads them; what they claim is checked against the file.
 *
 * Offsets may leave gaps but must not overlap: two tensors in the same bytes are a broken or a malicious file. A
 * sharded model's index maps each tensor to a file of the same directory; every shard it names is read whole, and what
 * the index promises must be there.
 */
#include "format/safetensors.h"

#include "format/json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const single_name = "model.safetensors";
static const char *const index_name = "model.safetensors.index.json";

/* As in the reference implementation. */
static const uint64_t max_header_bytes = 100 * 1000 * 1000;
static const size_t max_index_bytes = 64 * 1024 * 1024;

typedef struct ByteRange {
    uint64_t begin, end;
    const char *name;
} ByteRange;

/* Reads "shape" into dims, outermost first, as the table wants them. */
static ImpStatus read_shape(const json_t *shape, FileTensor *tensor)
{
    if (!json_is_array(shape)) return imp_fail(IMP_ERR_FORMAT, "its header has no shape");
    const size_t n_dims = json_array_size(shape);
    if (n_dims > TENSOR_MAX_DIMS)
        return imp_fail(IMP_ERR_UNSUPPORTED, "it has %zu dimensions, imp reads up to %d", n_dims, TENSOR_MAX_DIMS);
    tensor->n_dims = (int32_t)n_dims;
    for (size_t d = 0; d < n_dims; d++) {
        const json_t *dim = json_array_get(shape, d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return imp_fail(IMP_ERR_FORMAT, "dimension %zu of its shape is not a count", d);
        tensor->dims[d] = json_integer_value(dim);
    }
    return IMP_OK;
}

static ImpStatus read_offsets(const json_t *offsets, ByteRange *range)
{
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return imp_fail(IMP_ERR_FORMAT, "its data_offsets are not two numbers");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin))
        return imp_fail(IMP_ERR_FORMAT, "its data_offsets are not a range of bytes");
    range->begin = (uint64_t)json_integer_value(begin);
    range->end = (uint64_t)json_integer_value(end);
    return IMP_OK;
}

static ImpStatus read_tensor(const json_t *entry, ByteRange *range, const TensorSection *section, TensorTable *table)
{
    if (!json_is_object(entry)) return imp_fail(IMP_ERR_FORMAT, "its header is not an object");
    FileTensor tensor = {0};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (dtype == NULL) return imp_fail(IMP_ERR_FORMAT, "its header has no dtype");
    tensor.type = dtype_from_safetensors(dtype);
    if (tensor.type == DT_NONE)
        return imp_fail(IMP_ERR_UNSUPPORTED, "its data type '%s' is not one that imp reads", dtype);
    IMP_TRY(read_shape(json_object_get(entry, "shape"), &tensor));
    IMP_TRY(read_offsets(json_object_get(entry, "data_offsets"), range));
    IMP_TRY(tensor_byte_size(tensor.type, tensor.dims, tensor.n_dims, &tensor.size));
    if (range->end - range->begin != tensor.size)
        return imp_fail(IMP_ERR_FORMAT, "its shape needs %zu bytes, its data_offsets span %llu", tensor.size,
                        (unsigned long long)(range->end - range->begin));
    return tensor_table_add(table, range->name, strlen(range->name), &tensor, section, range->begin);
}

static int compare_ranges(const void *a, const void *b)
{
    const ByteRange *left = a, *right = b;
    if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

static ImpStatus check_overlaps(ByteRange *ranges, size_t count)
{
    qsort(ranges, count, sizeof *ranges, compare_ranges);
    for (size_t i = 1; i < count; i++) {
        if (ranges[i].begin < ranges[i - 1].end)
            return imp_fail(IMP_ERR_FORMAT, "tensors '%s' and '%s' lie over each other", ranges[i - 1].name,
                            ranges[i].name);
    }
    return IMP_OK;
}

static ImpStatus read_tensors(json_t *header, const TensorSection *section, TensorTable *table)
{
    if (!json_is_object(header)) return imp_fail(IMP_ERR_FORMAT, "its header is not a JSON object");
    const size_t n_entries = json_object_size(header);
    ByteRange *ranges = calloc(n_entries + 1, sizeof *ranges);
    if (ranges == NULL) return imp_fail_memory(n_entries * sizeof *ranges);
    size_t n_ranges = 0;
    ImpStatus status = IMP_OK;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        ByteRange *range = &ranges[n_ranges];
        range->name = name;
        status = read_tensor(entry, range, section, table);
        if (status != IMP_OK) {
            (void)imp_fail_prefix(status, "tensor '%s'", name);
            break;
        }
        if (range->end > range->begin) n_ranges++;
    }
    if (status == IMP_OK) status = check_overlaps(ranges, n_ranges);
    free(ranges);
    return status;
}

static ImpStatus read_map(const FileMap *map, TensorTable *table)
{
    uint64_t header_bytes = 0;
    if (map->size < sizeof header_bytes) return imp_fail(IMP_ERR_FORMAT, "too short for a SafeTensors file");
    memcpy(&header_bytes, map->data, sizeof header_bytes);
    const uint64_t rest = map->size - sizeof header_bytes;
    if (header_bytes > rest || header_bytes > max_header_bytes)
        return imp_fail(IMP_ERR_FORMAT,
                        "a header of %llu bytes in a file of %zu (truncated, or not a SafeTensors file?)",
                        (unsigned long long)header_bytes, map->size);
    const TensorSection section = {.data = map->data + sizeof header_bytes + header_bytes, .size = rest - header_bytes};
    const char *text = (const char *)map->data + sizeof header_bytes;
    json_error_t error;
    json_t *header = json_loadb(text, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &error);
    if (header == NULL)
        return imp_fail(IMP_ERR_FORMAT, "its header is not valid JSON: column %d: %s", error.column, error.text);
    const ImpStatus status = read_tensors(header, &section, table);
    json_decref(header);
    return status;
}

ImpStatus safetensors_read_file(const char *path, TensorTable *table)
{
    const FileMap *map;
    IMP_TRY(tensor_table_map(table, path, &map));
    const ImpStatus status = read_map(map, table);
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "%s", path);
}

static ImpStatus read_file_in(const char *directory, const char *name, TensorTable *table)
{
    StrBuf path = {0};
    strbuf_printf(&path, "%s/%s", directory, name);
    ImpStatus status = strbuf_check(&path);
    if (status == IMP_OK) status = safetensors_read_file(path.data, table);
    strbuf_free(&path);
    return status;
}

/* Reads every shard once. `shards` maps file names to the range of tensors [first, end) that each brought. */
static ImpStatus read_shard(const char *directory, const char *shard, NameMap *shards, size_t *ends, size_t *index,
                            TensorTable *table)
{
    if (shard == NULL || shard[0] == '\0' || strchr(shard, '/') != NULL || strcmp(shard, "..") == 0)
        return imp_fail(IMP_ERR_FORMAT, "%s/%s: '%s' is not the name of a file in the same directory", directory,
                        index_name, shard == NULL ? "" : shard);
    const size_t number = shards->count;
    IMP_TRY(name_map_add(shards, shard, strlen(shard), number, index));
    if (*index != number) return IMP_OK;
    IMP_TRY(read_file_in(directory, shard, table));
    ends[number] = table->count;
    return IMP_OK;
}

static ImpStatus read_shards(const char *directory, const json_t *weight_map, NameMap *shards, size_t *ends,
                             TensorTable *table)
{
    const char *name;
    json_t *value;
    /* jansson iterates a const object through a non-const pointer. */
    json_object_foreach((json_t *)(uintptr_t)weight_map, name, value)
    {
        size_t shard, tensor;
        const char *shard_name = json_string_value(value);
        IMP_TRY(read_shard(directory, shard_name, shards, ends, &shard, table));
        const size_t first = shard == 0 ? 0 : ends[shard - 1];
        if (!name_map_find(&table->names, name, strlen(name), &tensor) || tensor < first || tensor >= ends[shard])
            return imp_fail(IMP_ERR_FORMAT, "%s/%s: tensor '%s' is not in %s, where the index says it is", directory,
                            index_name, name, shard_name);
    }
    return IMP_OK;
}

static ImpStatus read_index(const char *directory, TensorTable *table)
{
    json_t *index;
    IMP_TRY(json_file_read(directory, index_name, max_index_bytes, &index));
    if (index == NULL) return IMP_OK;
    const json_t *weight_map = json_object_get(index, "weight_map");
    ImpStatus status = IMP_OK;
    NameMap shards = {0};
    size_t *ends = NULL;
    if (!json_is_object(weight_map)) {
        status = imp_fail(IMP_ERR_FORMAT, "%s/%s: there is no weight_map in it", directory, index_name);
    } else {
        ends = calloc(json_object_size(weight_map) + 1, sizeof *ends);
        status = ends == NULL ? imp_fail_memory(json_object_size(weight_map) * sizeof *ends)
                              : read_shards(directory, weight_map, &shards, ends, table);
    }
    name_map_free(&shards);
    free(ends);
    json_decref(index);
    return status;
}

static bool file_exists(const char *directory, const char *name)
{
    StrBuf path = {0};
    struct stat info;
    strbuf_printf(&path, "%s/%s", directory, name);
    const bool exists = !path.failed && stat(path.data, &info) == 0;
    strbuf_free(&path);
    return exists;
}

ImpStatus safetensors_read_directory(const char *directory, TensorTable *table)
{
    if (file_exists(directory, single_name)) return read_file_in(directory, single_name, table);
    return read_index(directory, table);
}
