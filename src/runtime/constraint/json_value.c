/*
 * json_value.c - a strict recursive-descent JSON reader with bounded depth, and the conversion from Jansson's values.
 *
 * Elements are collected on a growing stack and copied into the arena when their container closes, so that a container's
 * size need not be known beforehand.
 */
#include "runtime/constraint/json_value.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 256 };

typedef struct Reader {
    Arena *arena;
    const char *text;
    size_t length, at;
    void *stack; /* elements of the containers that are still open */
    size_t stack_used, stack_capacity;
    size_t depth;
} Reader;

uint32_t utf8_next(const char *text, size_t length, size_t *at)
{
    const unsigned char *p = (const unsigned char *)text + *at;
    const size_t left = length - *at;
    if (p[0] < 0x80 || left < 2) {
        *at += 1;
        return p[0];
    }
    if (p[0] < 0xe0 || left < 3) {
        *at += 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3fU);
    }
    if (p[0] < 0xf0 || left < 4) {
        *at += 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3fU);
    }
    *at += 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3fU);
}

size_t utf8_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool utf8_is_valid(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        const unsigned char lead = p[i];
        const size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
        if (size == 0 || size > length - i) return false;
        for (size_t k = 1; k < size; k++) {
            if ((p[i + k] & 0xc0) != 0x80) return false;
        }
        if (lead == 0xe0 && p[i + 1] < 0xa0) return false;
        if (lead == 0xed && p[i + 1] > 0x9f) return false;
        if (lead == 0xf0 && p[i + 1] < 0x90) return false;
        if (lead == 0xf4 && p[i + 1] > 0x8f) return false;
        i += size;
    }
    return true;
}

static ImpStatus bad_json(const Reader *reader, const char *what)
{
    return imp_fail(IMP_ERR_FORMAT, "not JSON: %s at byte %zu", what, reader->at);
}

static ImpStatus stack_push(Reader *reader, const void *element, size_t size)
{
    if (reader->stack_used + size > reader->stack_capacity) {
        const size_t capacity = reader->stack_capacity * 2 + 1024;
        void *grown = realloc(reader->stack, capacity);
        if (grown == NULL) return imp_fail_memory(capacity);
        reader->stack = grown;
        reader->stack_capacity = capacity;
    }
    memcpy((char *)reader->stack + reader->stack_used, element, size);
    reader->stack_used += size;
    return IMP_OK;
}

/* Moves what was pushed since `mark` into the arena. */
static ImpStatus stack_take(Reader *reader, size_t mark, const void **out)
{
    const size_t size = reader->stack_used - mark;
    void *copy = arena_alloc(reader->arena, size, 1);
    if (copy == NULL) return imp_fail_memory(size);
    if (size != 0) memcpy(copy, (char *)reader->stack + mark, size);
    reader->stack_used = mark;
    *out = copy;
    return IMP_OK;
}

static ImpStatus new_value(Arena *arena, JsonType type, JsonValue **out)
{
    *out = arena_alloc(arena, 1, sizeof **out);
    if (*out == NULL) return imp_fail_memory(sizeof **out);
    (*out)->type = type;
    return IMP_OK;
}

static void skip_space(Reader *reader)
{
    while (reader->at < reader->length && strchr(" \t\r\n", reader->text[reader->at]) != NULL &&
           reader->text[reader->at] != '\0')
        reader->at++;
}

static bool take(Reader *reader, char byte)
{
    if (reader->at >= reader->length || reader->text[reader->at] != byte) return false;
    reader->at++;
    return true;
}

static bool read_hex(Reader *reader, uint32_t *out)
{
    if (reader->length - reader->at < 4) return false;
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = reader->text[reader->at++];
        const char *digits = "0123456789abcdef";
        const char *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
        if (found == NULL) return false;
        value = value * 16 + (uint32_t)(found - digits);
    }
    *out = value;
    return true;
}

static ImpStatus read_escape(Reader *reader, uint32_t *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at >= reader->length) return bad_json(reader, "an unfinished escape");
    const char c = reader->text[reader->at++];
    const char *found = c == '\0' ? NULL : strchr(names, c);
    if (found != NULL) {
        *out = (unsigned char)meanings[found - names];
        return IMP_OK;
    }
    uint32_t low = 0;
    if (c != 'u' || !read_hex(reader, out)) return bad_json(reader, "an unknown escape");
    if (*out >= 0xd800 && *out < 0xdc00 && take(reader, '\\') && take(reader, 'u') && read_hex(reader, &low) &&
        low >= 0xdc00 && low < 0xe000)
        *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    if (*out >= 0xd800 && *out < 0xe000) return bad_json(reader, "half of a surrogate pair");
    return IMP_OK;
}

static ImpStatus read_string(Reader *reader, const char **out, size_t *out_length)
{
    const size_t mark = reader->stack_used;
    while (!take(reader, '"')) {
        if (reader->at >= reader->length) return bad_json(reader, "an unfinished string");
        const unsigned char c = (unsigned char)reader->text[reader->at++];
        if (c < 0x20) return bad_json(reader, "a control character in a string");
        if (c != '\\') {
            IMP_TRY(stack_push(reader, &c, 1));
            continue;
        }
        uint32_t code_point = 0;
        char bytes[4];
        IMP_TRY(read_escape(reader, &code_point));
        IMP_TRY(stack_push(reader, bytes, utf8_put(code_point, bytes)));
    }
    const size_t length = reader->stack_used - mark;
    *out = arena_string(reader->arena, length == 0 ? "" : (const char *)reader->stack + mark, length);
    if (*out == NULL) return imp_fail_memory(length);
    *out_length = length;
    reader->stack_used = mark;
    return IMP_OK;
}

static ImpStatus read_number(Reader *reader, JsonValue *value)
{
    const size_t start = reader->at;
    while (reader->at < reader->length && reader->text[reader->at] != '\0' &&
           strchr("+-.0123456789eE", reader->text[reader->at]) != NULL)
        reader->at++;
    const char *text = reader->text + start;
    const size_t length = reader->at - start;
    const char *digits = text + (length > 0 && text[0] == '-');
    if (length == 0) return bad_json(reader, "an unexpected character");
    if (digits + 1 < text + length && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9')
        return bad_json(reader, "a leading zero");
    if (!decimal_parse(text, length, &value->as.number)) return bad_json(reader, "a malformed or too long number");
    value->integer_text = true;
    for (size_t i = 0; i < length; i++) {
        if (strchr(".eE", text[i]) != NULL) value->integer_text = false;
    }
    return IMP_OK;
}

static ImpStatus read_value(Reader *reader, const JsonValue **out);

static ImpStatus read_array(Reader *reader, JsonValue *value)
{
    const size_t mark = reader->stack_used;
    skip_space(reader);
    if (!take(reader, ']')) {
        do {
            const JsonValue *item = NULL;
            IMP_TRY(read_value(reader, &item));
            IMP_TRY(stack_push(reader, &item, sizeof item));
            skip_space(reader);
        } while (take(reader, ','));
        if (!take(reader, ']')) return bad_json(reader, "a missing ']'");
    }
    value->count = (reader->stack_used - mark) / sizeof(JsonValue *);
    const void *items = NULL;
    IMP_TRY(stack_take(reader, mark, &items));
    value->as.items = items;
    return IMP_OK;
}

static int compare_members(const void *left, const void *right)
{
    const JsonMember *a = left;
    const JsonMember *b = right;
    const size_t shared = a->key_length < b->key_length ? a->key_length : b->key_length;
    const int order = memcmp(a->key, b->key, shared);
    if (order != 0) return order;
    return (a->key_length > b->key_length) - (a->key_length < b->key_length);
}

static ImpStatus refuse_repeated_keys(Reader *reader, const JsonMember *members, size_t count)
{
    if (count < 2) return IMP_OK;
    JsonMember *sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL) return imp_fail_memory(count * sizeof *sorted);
    memcpy(sorted, members, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_members);
    bool repeated = false;
    for (size_t i = 1; i < count; i++) repeated = repeated || compare_members(&sorted[i - 1], &sorted[i]) == 0;
    free(sorted);
    return repeated ? bad_json(reader, "a key written twice in an object that ends") : IMP_OK;
}

static ImpStatus read_object(Reader *reader, JsonValue *value)
{
    const size_t mark = reader->stack_used;
    skip_space(reader);
    if (!take(reader, '}')) {
        do {
            JsonMember member = {0};
            skip_space(reader);
            if (!take(reader, '"')) return bad_json(reader, "a missing key");
            IMP_TRY(read_string(reader, &member.key, &member.key_length));
            skip_space(reader);
            if (!take(reader, ':')) return bad_json(reader, "a missing ':'");
            skip_space(reader);
            member.text = reader->text + reader->at;
            IMP_TRY(read_value(reader, &member.value));
            member.text_length = (size_t)(reader->text + reader->at - member.text);
            IMP_TRY(stack_push(reader, &member, sizeof member));
            skip_space(reader);
        } while (take(reader, ','));
        if (!take(reader, '}')) return bad_json(reader, "a missing '}'");
    }
    value->count = (reader->stack_used - mark) / sizeof(JsonMember);
    const void *members = NULL;
    IMP_TRY(stack_take(reader, mark, &members));
    value->as.members = members;
    return refuse_repeated_keys(reader, value->as.members, value->count);
}

static bool take_word(Reader *reader, const char *word)
{
    const size_t length = strlen(word);
    if (reader->length - reader->at < length || memcmp(reader->text + reader->at, word, length) != 0) return false;
    reader->at += length;
    return true;
}

static ImpStatus read_value(Reader *reader, const JsonValue **out)
{
    skip_space(reader);
    if (reader->depth == MAX_DEPTH) return bad_json(reader, "more than 256 nested values");
    reader->depth++;
    JsonValue *value = NULL;
    IMP_TRY(new_value(reader->arena, JSON_VALUE_NULL, &value));
    if (take(reader, '{')) {
        value->type = JSON_VALUE_OBJECT;
        IMP_TRY(read_object(reader, value));
    } else if (take(reader, '[')) {
        value->type = JSON_VALUE_ARRAY;
        IMP_TRY(read_array(reader, value));
    } else if (take(reader, '"')) {
        value->type = JSON_VALUE_STRING;
        IMP_TRY(read_string(reader, &value->as.string, &value->count));
    } else if (take_word(reader, "true")) {
        value->type = JSON_VALUE_TRUE;
    } else if (take_word(reader, "false")) {
        value->type = JSON_VALUE_FALSE;
    } else if (!take_word(reader, "null")) {
        value->type = JSON_VALUE_NUMBER;
        IMP_TRY(read_number(reader, value));
    }
    reader->depth--;
    *out = value;
    return IMP_OK;
}

ImpStatus json_value_parse(Arena *arena, const char *text, size_t length, const JsonValue **out)
{
    if (!utf8_is_valid(text, length)) return imp_fail(IMP_ERR_FORMAT, "not JSON: the text is not UTF-8");
    Reader reader = {.arena = arena, .text = text, .length = length};
    ImpStatus status = read_value(&reader, out);
    if (status == IMP_OK) {
        skip_space(&reader);
        if (reader.at != length) status = bad_json(&reader, "something after the value");
    }
    free(reader.stack);
    return status;
}

static ImpStatus convert(Arena *arena, const json_t *json, size_t depth, const JsonValue **out);

static ImpStatus convert_array(Arena *arena, const json_t *json, size_t depth, JsonValue *value)
{
    value->count = json_array_size(json);
    const JsonValue **items = arena_alloc(arena, value->count, sizeof *items);
    if (items == NULL) return imp_fail_memory(value->count * sizeof *items);
    for (size_t i = 0; i < value->count; i++) IMP_TRY(convert(arena, json_array_get(json, i), depth, &items[i]));
    value->as.items = items;
    return IMP_OK;
}

static ImpStatus convert_object(Arena *arena, const json_t *json, size_t depth, JsonValue *value)
{
    value->count = json_object_size(json);
    JsonMember *members = arena_alloc(arena, value->count, sizeof *members);
    if (members == NULL) return imp_fail_memory(value->count * sizeof *members);
    JsonMember *member = members;
    /* Jansson's iterators take a mutable object though they change nothing. */
    for (void *it = json_object_iter((json_t *)(uintptr_t)json); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)json, it), member++) {
        const char *key = json_object_iter_key(it);
        member->text = NULL;
        member->text_length = 0;
        member->key_length = strlen(key);
        member->key = arena_string(arena, key, member->key_length);
        if (member->key == NULL) return imp_fail_memory(member->key_length);
        IMP_TRY(convert(arena, json_object_iter_value(it), depth, &member->value));
    }
    value->as.members = members;
    return IMP_OK;
}

static ImpStatus convert(Arena *arena, const json_t *json, size_t depth, const JsonValue **out)
{
    if (json == NULL) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "no JSON value was given");
    if (depth == MAX_DEPTH) return imp_fail(IMP_ERR_LIMIT, "JSON is nested more than 256 deep");
    JsonValue *value = NULL;
    IMP_TRY(new_value(arena, JSON_VALUE_NULL, &value));
    *out = value;
    switch (json_typeof(json)) {
    case JSON_NULL: return IMP_OK;
    case JSON_TRUE: value->type = JSON_VALUE_TRUE; return IMP_OK;
    case JSON_FALSE: value->type = JSON_VALUE_FALSE; return IMP_OK;
    case JSON_INTEGER:
        value->type = JSON_VALUE_NUMBER;
        value->integer_text = true;
        value->as.number = decimal_from_integer(json_integer_value(json));
        return IMP_OK;
    case JSON_REAL:
        value->type = JSON_VALUE_NUMBER;
        value->as.number = decimal_from_double(json_real_value(json));
        return IMP_OK;
    case JSON_STRING:
        value->type = JSON_VALUE_STRING;
        value->count = json_string_length(json);
        value->as.string = arena_string(arena, json_string_value(json), value->count);
        return value->as.string == NULL ? imp_fail_memory(value->count) : IMP_OK;
    case JSON_ARRAY: value->type = JSON_VALUE_ARRAY; return convert_array(arena, json, depth + 1, value);
    case JSON_OBJECT: value->type = JSON_VALUE_OBJECT; return convert_object(arena, json, depth + 1, value);
    }
    return imp_fail(IMP_ERR_INTERNAL, "Jansson gave a value of an unknown type");
}

ImpStatus json_value_from_jansson(Arena *arena, const json_t *json, const JsonValue **out)
{
    return convert(arena, json, 0, out);
}

const JsonValue *json_value_find(const JsonValue *object, const char *key, size_t key_length)
{
    if (object == NULL || object->type != JSON_VALUE_OBJECT) return NULL;
    for (size_t i = 0; i < object->count; i++) {
        const JsonMember *member = &object->as.members[i];
        if (member->key_length == key_length && memcmp(member->key, key, key_length) == 0) return member->value;
    }
    return NULL;
}

const JsonValue *json_value_get(const JsonValue *object, const char *key)
{
    return json_value_find(object, key, strlen(key));
}

bool json_value_equal(const JsonValue *a, const JsonValue *b)
{
    if (a == b) return true;
    if (a->type != b->type) return false;
    if (a->type == JSON_VALUE_NUMBER) return decimal_compare(a->as.number, b->as.number) == 0;
    if (a->count != b->count) return false;
    if (a->type == JSON_VALUE_STRING) return memcmp(a->as.string, b->as.string, a->count) == 0;
    if (a->type == JSON_VALUE_ARRAY) {
        for (size_t i = 0; i < a->count; i++) {
            if (!json_value_equal(a->as.items[i], b->as.items[i])) return false;
        }
    }
    if (a->type == JSON_VALUE_OBJECT) {
        for (size_t i = 0; i < a->count; i++) {
            const JsonMember *member = &a->as.members[i];
            const JsonValue *other = json_value_find(b, member->key, member->key_length);
            if (other == NULL || !json_value_equal(member->value, other)) return false;
        }
    }
    return true;
}
