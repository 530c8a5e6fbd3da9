/*
 * json_value.h - a JSON document as an immutable tree in an arena, with exact numbers: the schemas that constraints are
 * compiled from. (Jansson rounds numbers to 64 bits; a bound of a schema must not be.)
 */
#ifndef IMP_RUNTIME_CONSTRAINT_JSON_VALUE_H
#define IMP_RUNTIME_CONSTRAINT_JSON_VALUE_H

#include "core/arena.h"
#include "core/status.h"
#include "runtime/constraint/decimal.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum JsonType { JSON_VALUE_NULL, JSON_VALUE_FALSE, JSON_VALUE_TRUE, JSON_VALUE_NUMBER, JSON_VALUE_STRING,
                        JSON_VALUE_ARRAY, JSON_VALUE_OBJECT } JsonType;

typedef struct JsonValue JsonValue;

typedef struct JsonMember {
    const char *key; /* UTF-8, NUL-terminated; may hold NUL bytes */
    size_t key_length;
    const JsonValue *value;
    const char *text; /* [text_length] the value as it was written, in the text that was parsed; NULL of Jansson's */
    size_t text_length;
} JsonMember;

struct JsonValue {
    JsonType type;
    bool integer_text; /* a number written without point and exponent */
    size_t count;      /* bytes of the string, elements, members */
    union {
        Decimal number;
        const char *string;            /* UTF-8, NUL-terminated */
        const JsonValue *const *items; /* [count] */
        const JsonMember *members;     /* [count], in order of appearance; a repeated key is refused */
    } as;
};

/* Nesting is bounded at 256 levels. Failures name the byte. */
ImpStatus json_value_parse(Arena *arena, const char *text, size_t length, const JsonValue **out);
ImpStatus json_value_from_jansson(Arena *arena, const json_t *json, const JsonValue **out);

/* NULL when there is none (or `object` is no object). */
const JsonValue *json_value_get(const JsonValue *object, const char *key);
const JsonValue *json_value_find(const JsonValue *object, const char *key, size_t key_length);
/* As JSON Schema compares: 1 and 1.0 are equal, members have no order. */
bool json_value_equal(const JsonValue *a, const JsonValue *b);

/* Reads one code point of valid UTF-8 at text[*at] and moves *at behind it. */
uint32_t utf8_next(const char *text, size_t length, size_t *at);
/* Writes `code_point` to out[4]; returns the number of bytes. */
size_t utf8_put(uint32_t code_point, char *out);
/* Every byte belongs to a well-formed character (no surrogates, nothing overlong). */
bool utf8_is_valid(const char *text, size_t length);

#endif
