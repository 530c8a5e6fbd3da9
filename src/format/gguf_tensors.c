/*
 * gguf_tensors.c - the table of tensors behind the metadata, and the data section that its offsets count from.
 *
 * A row: name, number of dimensions, dimensions (innermost first), type, offset. The data section starts at the next
 * multiple of `general.alignment` after the last row, so rows are first walked to find where they end, then read.
 */
#include "format/gguf_file.h"

enum {
    GGUF_MAX_DIMS = 4,
    MAX_NAME_BYTES = 1024,
    DEFAULT_ALIGNMENT = 32,
    MIN_ROW_BYTES = 8 + 4 + 4 + 8,
};

typedef struct GgufRow {
    GgufString name;
    uint32_t type;
    uint64_t offset;
    FileTensor tensor;
} GgufRow;

static ImpStatus read_alignment(const GgufMeta *meta, uint64_t *alignment)
{
    *alignment = DEFAULT_ALIGNMENT;
    const GgufValue *value = gguf_find(meta, "general.alignment");
    if (value == NULL) return IMP_OK;
    int64_t stated = 0;
    if (!gguf_get_i64(meta, "general.alignment", &stated) || stated <= 0 || stated > UINT32_MAX ||
        (stated & (stated - 1)) != 0)
        return imp_fail(IMP_ERR_FORMAT, "general.alignment must be a power of two, and is %lld", (long long)stated);
    *alignment = (uint64_t)stated;
    return IMP_OK;
}

/* Name and dimensions, and the type and offset as they stand in the file. */
static ImpStatus read_row(GgufCursor *cursor, GgufRow *row)
{
    uint32_t n_dims;
    IMP_TRY(gguf_take_string(cursor, &row->name));
    if (row->name.length > MAX_NAME_BYTES)
        return imp_fail(IMP_ERR_FORMAT, "a tensor's name of %zu bytes", row->name.length);
    IMP_TRY(gguf_take_u32(cursor, &n_dims));
    if (n_dims > GGUF_MAX_DIMS)
        return imp_fail(IMP_ERR_FORMAT, "tensor '%.*s' has %u dimensions, GGUF allows %d", (int)row->name.length,
                        row->name.data, n_dims, GGUF_MAX_DIMS);
    row->tensor = (FileTensor){.n_dims = (int32_t)n_dims};
    for (uint32_t d = n_dims; d-- > 0;) {
        uint64_t dim;
        IMP_TRY(gguf_take_u64(cursor, &dim));
        /* What does not fit turns negative, which the check of the shape refuses. */
        row->tensor.dims[d] = dim <= INT64_MAX ? (int64_t)dim : -1;
    }
    IMP_TRY(gguf_take_u32(cursor, &row->type));
    return gguf_take_u64(cursor, &row->offset);
}

/* Types that GGUF has and imp does not read, by number. */
static const char *unread_type_name(uint32_t type)
{
    static const char *const names[] = {
        [9] = "Q8_1",   [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
        [21] = "IQ3_S", [22] = "IQ2_S", [29] = "IQ1_M",   [34] = "TQ1_0",  [35] = "TQ2_0",   [41] = "Q1_0",
    };
    const char *name = type < sizeof names / sizeof names[0] ? names[type] : NULL;
    return name != NULL ? name : "unknown";
}

static ImpStatus add_row(GgufRow *row, uint64_t alignment, const TensorSection *section, TensorTable *table)
{
    row->tensor.type = dtype_from_gguf(row->type);
    if (row->tensor.type == DT_NONE)
        return imp_fail(IMP_ERR_UNSUPPORTED, "its data type, %s (number %u), is not one that imp reads",
                        unread_type_name(row->type), row->type);
    if (row->offset % alignment != 0)
        return imp_fail(IMP_ERR_FORMAT, "its offset %llu is not a multiple of the alignment %llu",
                        (unsigned long long)row->offset, (unsigned long long)alignment);
    IMP_TRY(tensor_byte_size(row->tensor.type, row->tensor.dims, row->tensor.n_dims, &row->tensor.size));
    return tensor_table_add(table, row->name.data, row->name.length, &row->tensor, section, row->offset);
}

ImpStatus gguf_tensors_read(GgufCursor *cursor, const GgufMeta *meta, uint64_t n_tensors, TensorTable *table)
{
    uint64_t alignment;
    IMP_TRY(read_alignment(meta, &alignment));
    if (n_tensors > (cursor->size - cursor->at) / MIN_ROW_BYTES)
        return imp_fail(IMP_ERR_FORMAT, "%llu tensors do not fit into the file", (unsigned long long)n_tensors);
    IMP_TRY(tensor_table_reserve(table, (size_t)n_tensors));
    const size_t table_start = cursor->at;
    GgufRow row;
    for (uint64_t i = 0; i < n_tensors; i++) IMP_TRY(read_row(cursor, &row));
    const uint64_t table_end = (uint64_t)cursor->at;
    const uint64_t start = (table_end + alignment - 1) / alignment * alignment;
    TensorSection section = {0};
    if (start < cursor->size) section = (TensorSection){cursor->data + start, cursor->size - start};

    cursor->at = table_start;
    for (uint64_t i = 0; i < n_tensors; i++) {
        IMP_TRY(read_row(cursor, &row));
        const ImpStatus status = add_row(&row, alignment, &section, table);
        if (status != IMP_OK) return imp_fail_prefix(status, "tensor '%.*s'", (int)row.name.length, row.name.data);
    }
    return IMP_OK;
}
