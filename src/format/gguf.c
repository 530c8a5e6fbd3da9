/*
 * gguf.c - a GGUF file's header and metadata: keys with typed values.
 *
 * The file is walked once. Every value stays where it is in the mapping; only arrays of strings (vocabularies, merges)
 * get an index, because their elements have no fixed size. Every read goes through gguf_take, which knows where the
 * file ends, and every count is compared with the bytes that are left before anything is allocated for it.
 */
#include "format/gguf_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_KEY_BYTES = 65535, /* by the specification */
    MAX_ARRAY_DEPTH = 8,   /* arrays of arrays: legal, in use nowhere */
    MIN_PAIR_BYTES = 8 + 4 + 1,
};

typedef struct GgufPair {
    GgufString key;
    GgufValue value;
} GgufPair;

struct GgufMeta {
    Arena arena;
    GgufPair *pairs; /* [count], in file order */
    size_t count;
    NameMap keys;
};

/* Bytes of a value of fixed size, 0 for strings, arrays and numbers that are no type. */
static size_t type_size(uint32_t type)
{
    static const uint8_t sizes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return type < sizeof sizes ? sizes[type] : 0;
}

/* The next `size` bytes, or NULL and a failure. */
static const uint8_t *gguf_take(GgufCursor *cursor, uint64_t size)
{
    if (size > cursor->size - cursor->at) {
        (void)imp_fail(IMP_ERR_FORMAT, "the file ends at byte %zu, where %llu more were expected (truncated?)",
                       cursor->size, (unsigned long long)(size - (cursor->size - cursor->at)));
        return NULL;
    }
    const uint8_t *bytes = cursor->data + cursor->at;
    cursor->at += (size_t)size;
    return bytes;
}

ImpStatus gguf_take_u32(GgufCursor *cursor, uint32_t *out)
{
    const uint8_t *bytes = gguf_take(cursor, sizeof *out);
    if (bytes == NULL) return IMP_ERR_FORMAT;
    memcpy(out, bytes, sizeof *out);
    return IMP_OK;
}

ImpStatus gguf_take_u64(GgufCursor *cursor, uint64_t *out)
{
    const uint8_t *bytes = gguf_take(cursor, sizeof *out);
    if (bytes == NULL) return IMP_ERR_FORMAT;
    memcpy(out, bytes, sizeof *out);
    return IMP_OK;
}

ImpStatus gguf_take_string(GgufCursor *cursor, GgufString *out)
{
    uint64_t length;
    IMP_TRY(gguf_take_u64(cursor, &length));
    const uint8_t *bytes = gguf_take(cursor, length);
    if (bytes == NULL) return IMP_ERR_FORMAT;
    *out = (GgufString){.data = (const char *)bytes, .length = (size_t)length};
    return IMP_OK;
}

static bool is_unsigned(GgufType type)
{
    return type == GGUF_U8 || type == GGUF_U16 || type == GGUF_U32 || type == GGUF_U64;
}

static bool is_signed(GgufType type)
{
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

/* A number or boolean of fixed size at `bytes`. The caller has checked the type. */
static void load_scalar(GgufType type, const uint8_t *bytes, GgufValue *value)
{
    /* Little-endian: the low bytes of a zeroed word; the signed types are then extended from their top bit. */
    uint64_t word = 0;
    const size_t size = type_size(type);
    memcpy(&word, bytes, size);
    value->type = type;
    if (type == GGUF_F64) {
        memcpy(&value->as.f, bytes, sizeof value->as.f);
    } else if (type == GGUF_F32) {
        float number;
        memcpy(&number, bytes, sizeof number);
        value->as.f = (double)number;
    } else if (is_signed(type)) {
        const size_t unused_bits = 64 - 8 * size;
        value->as.i = (int64_t)(word << unused_bits) >> unused_bits;
    } else {
        value->as.u = word;
    }
}

static ImpStatus read_string_array(GgufCursor *cursor, Arena *arena, GgufValue *value)
{
    GgufString *strings = arena_alloc(arena, (size_t)value->count, sizeof *strings);
    if (strings == NULL) return imp_fail_memory((size_t)value->count * sizeof *strings);
    for (uint64_t i = 0; i < value->count; i++) IMP_TRY(gguf_take_string(cursor, &strings[i]));
    value->as.strings = strings;
    return IMP_OK;
}

static ImpStatus read_array(GgufCursor *cursor, Arena *arena, int depth, GgufValue *value)
{
    uint32_t element;
    IMP_TRY(gguf_take_u32(cursor, &element));
    IMP_TRY(gguf_take_u64(cursor, &value->count));
    if (element > GGUF_F64) return imp_fail(IMP_ERR_FORMAT, "an array of elements of unknown type %u", element);
    value->element_type = (GgufType)element;
    const size_t size = type_size(element);
    /* A string takes at least its length, an array at least its type and count. */
    const size_t least = size > 0 ? size : element == GGUF_STRING ? 8 : 12;
    if (value->count > (cursor->size - cursor->at) / least)
        return imp_fail(IMP_ERR_FORMAT, "an array of %llu elements does not fit into the rest of the file",
                        (unsigned long long)value->count);
    if (element == GGUF_STRING) return read_string_array(cursor, arena, value);
    value->as.array = cursor->data + cursor->at;
    if (element == GGUF_ARRAY) {
        if (depth >= MAX_ARRAY_DEPTH)
            return imp_fail(IMP_ERR_LIMIT, "arrays nested more than %d deep", MAX_ARRAY_DEPTH);
        for (uint64_t i = 0; i < value->count; i++) {
            GgufValue inner = {.type = GGUF_ARRAY};
            IMP_TRY(read_array(cursor, arena, depth + 1, &inner));
        }
        return IMP_OK;
    }
    const uint8_t *bytes = gguf_take(cursor, value->count * size);
    if (bytes == NULL) return IMP_ERR_FORMAT;
    for (uint64_t i = 0; element == GGUF_BOOL && i < value->count; i++) {
        if (bytes[i] > 1) return imp_fail(IMP_ERR_FORMAT, "a boolean of value %u", bytes[i]);
    }
    return IMP_OK;
}

static ImpStatus read_value(GgufCursor *cursor, Arena *arena, GgufValue *value)
{
    uint32_t type;
    IMP_TRY(gguf_take_u32(cursor, &type));
    if (type > GGUF_F64) return imp_fail(IMP_ERR_FORMAT, "a value of unknown type %u", type);
    value->type = (GgufType)type;
    if (type == GGUF_ARRAY) return read_array(cursor, arena, 1, value);
    if (type == GGUF_STRING) return gguf_take_string(cursor, &value->as.string);
    const uint8_t *bytes = gguf_take(cursor, type_size(type));
    if (bytes == NULL) return IMP_ERR_FORMAT;
    load_scalar((GgufType)type, bytes, value);
    if (type == GGUF_BOOL && value->as.u > 1)
        return imp_fail(IMP_ERR_FORMAT, "a boolean of value %u", (unsigned)value->as.u);
    return IMP_OK;
}

static ImpStatus read_pair(GgufCursor *cursor, GgufMeta *meta)
{
    GgufPair *pair = &meta->pairs[meta->count];
    IMP_TRY(gguf_take_string(cursor, &pair->key));
    if (pair->key.length > MAX_KEY_BYTES)
        return imp_fail(IMP_ERR_FORMAT, "a metadata key of %zu bytes", pair->key.length);
    ImpStatus status = read_value(cursor, &meta->arena, &pair->value);
    size_t existing = meta->count;
    if (status == IMP_OK) status = name_map_add(&meta->keys, pair->key.data, pair->key.length, meta->count, &existing);
    if (status == IMP_OK && existing != meta->count) status = imp_fail(IMP_ERR_FORMAT, "the key is there twice");
    if (status != IMP_OK) return imp_fail_prefix(status, "metadata key '%.*s'", (int)pair->key.length, pair->key.data);
    meta->count++;
    return IMP_OK;
}

/* Magic, version and the two counts. */
static ImpStatus read_header(GgufCursor *cursor, uint64_t *n_tensors, uint64_t *n_pairs)
{
    if (cursor->size < 4 || memcmp(cursor->data, "GGUF", 4) != 0)
        return imp_fail(IMP_ERR_FORMAT, "not a GGUF file: it does not start with the letters GGUF");
    cursor->at = 4;
    uint32_t version;
    IMP_TRY(gguf_take_u32(cursor, &version));
    if ((version & 0xFFFF) == 0 && version != 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "a big-endian GGUF file; imp reads little-endian ones");
    if (version != 2 && version != 3)
        return imp_fail(IMP_ERR_UNSUPPORTED, "GGUF version %u; imp reads versions 2 and 3", version);
    IMP_TRY(gguf_take_u64(cursor, n_tensors));
    IMP_TRY(gguf_take_u64(cursor, n_pairs));
    if (*n_pairs > (cursor->size - cursor->at) / MIN_PAIR_BYTES)
        return imp_fail(IMP_ERR_FORMAT, "%llu metadata keys do not fit into the file", (unsigned long long)*n_pairs);
    return IMP_OK;
}

ImpStatus gguf_meta_read(GgufCursor *cursor, GgufMeta **out, uint64_t *n_tensors)
{
    uint64_t n_pairs = 0;
    IMP_TRY(read_header(cursor, n_tensors, &n_pairs));
    GgufMeta *meta = calloc(1, sizeof *meta);
    if (meta == NULL) return imp_fail_memory(sizeof *meta);
    ImpStatus status = name_map_reserve(&meta->keys, (size_t)n_pairs);
    if (status == IMP_OK) {
        meta->pairs = arena_alloc(&meta->arena, (size_t)n_pairs, sizeof *meta->pairs);
        if (meta->pairs == NULL) status = imp_fail_memory((size_t)n_pairs * sizeof *meta->pairs);
    }
    while (status == IMP_OK && meta->count < n_pairs) status = read_pair(cursor, meta);
    if (status != IMP_OK) {
        gguf_meta_free(meta);
        return status;
    }
    *out = meta;
    return IMP_OK;
}

void gguf_meta_free(GgufMeta *meta)
{
    if (meta == NULL) return;
    name_map_free(&meta->keys);
    arena_free(&meta->arena);
    free(meta);
}

const GgufValue *gguf_find(const GgufMeta *meta, const char *key)
{
    size_t index;
    return name_map_find(&meta->keys, key, strlen(key), &index) ? &meta->pairs[index].value : NULL;
}

size_t gguf_count(const GgufMeta *meta) { return meta->count; }
GgufString gguf_key_at(const GgufMeta *meta, size_t index) { return meta->pairs[index].key; }
const GgufValue *gguf_value_at(const GgufMeta *meta, size_t index) { return &meta->pairs[index].value; }

static bool scalar_i64(const GgufValue *value, int64_t *out)
{
    if (is_unsigned(value->type)) {
        if (value->as.u > INT64_MAX) return false;
        *out = (int64_t)value->as.u;
        return true;
    }
    if (is_signed(value->type)) {
        *out = value->as.i;
        return true;
    }
    if (value->type != GGUF_F32 && value->type != GGUF_F64) return false;
    if (!(fabs(value->as.f) < 0x1p63) || value->as.f != floor(value->as.f)) return false;
    *out = (int64_t)value->as.f;
    return true;
}

static bool scalar_f64(const GgufValue *value, double *out)
{
    if (value->type == GGUF_F32 || value->type == GGUF_F64) {
        *out = value->as.f;
        return true;
    }
    int64_t integer;
    if (!scalar_i64(value, &integer) || integer > (INT64_C(1) << 53) || integer < -(INT64_C(1) << 53)) return false;
    *out = (double)integer;
    return true;
}

bool gguf_get_i64(const GgufMeta *meta, const char *key, int64_t *out)
{
    const GgufValue *value = gguf_find(meta, key);
    return value != NULL && scalar_i64(value, out);
}

bool gguf_get_f64(const GgufMeta *meta, const char *key, double *out)
{
    const GgufValue *value = gguf_find(meta, key);
    return value != NULL && scalar_f64(value, out);
}

bool gguf_get_bool(const GgufMeta *meta, const char *key, bool *out)
{
    const GgufValue *value = gguf_find(meta, key);
    if (value == NULL || value->type != GGUF_BOOL) return false;
    *out = value->as.u != 0;
    return true;
}

bool gguf_get_string(const GgufMeta *meta, const char *key, GgufString *out)
{
    const GgufValue *value = gguf_find(meta, key);
    if (value == NULL || value->type != GGUF_STRING) return false;
    *out = value->as.string;
    return true;
}

/* Element `index` as a scalar; booleans count as 0 and 1 here. */
static bool array_element(const GgufValue *array, uint64_t index, GgufValue *element)
{
    const size_t size = type_size(array->element_type);
    if (array->type != GGUF_ARRAY || size == 0 || index >= array->count) return false;
    load_scalar(array->element_type, array->as.array + index * size, element);
    if (element->type == GGUF_BOOL) element->type = GGUF_U8;
    return true;
}

bool gguf_array_i64(const GgufValue *array, uint64_t index, int64_t *out)
{
    GgufValue element;
    return array_element(array, index, &element) && scalar_i64(&element, out);
}

bool gguf_array_f64(const GgufValue *array, uint64_t index, double *out)
{
    GgufValue element;
    return array_element(array, index, &element) && scalar_f64(&element, out);
}
