/*
 * gguf.h - GGUF v2 and v3 files: metadata and tensors, mapped and checked, split files joined.
 *
 * Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. All numbers are little-endian.
 */
#ifndef IMP_FORMAT_GGUF_H
#define IMP_FORMAT_GGUF_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum GgufType {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
} GgufType;

/* Bytes inside the mapping; not NUL-terminated. */
typedef struct GgufString {
    const char *data;
    size_t length;
} GgufString;

/* One metadata value. Scalars lie in the union; arrays are walked with the gguf_array_… calls. */
typedef struct GgufValue {
    GgufType type;
    GgufType element_type; /* of an array */
    uint64_t count;        /* elements of an array */
    union {
        uint64_t u;        /* unsigned types and GGUF_BOOL (0 or 1) */
        int64_t i;         /* signed types */
        double f;          /* GGUF_F32, GGUF_F64 */
        GgufString string;
        const uint8_t *array; /* first element in the file; strings are u64 length + bytes */
        const GgufString *strings; /* arrays of strings: indexed at load, [count] */
    } as;
} GgufValue;

typedef struct GgufMeta GgufMeta;

/* NULL when the key is absent. Hash lookup. */
const GgufValue *gguf_find(const GgufMeta *meta, const char *key);

/* Typed reads that convert between the numeric types where nothing is lost; false when absent or of another kind. */
bool gguf_get_i64(const GgufMeta *meta, const char *key, int64_t *out);
bool gguf_get_f64(const GgufMeta *meta, const char *key, double *out);
bool gguf_get_bool(const GgufMeta *meta, const char *key, bool *out);
bool gguf_get_string(const GgufMeta *meta, const char *key, GgufString *out);

/* Element `index` (< count) of a numeric or boolean array; false for arrays of other kinds. */
bool gguf_array_i64(const GgufValue *array, uint64_t index, int64_t *out);
bool gguf_array_f64(const GgufValue *array, uint64_t index, double *out);

/* Iteration, in file order. */
size_t gguf_count(const GgufMeta *meta);
GgufString gguf_key_at(const GgufMeta *meta, size_t index);
const GgufValue *gguf_value_at(const GgufMeta *meta, size_t index);

#endif
