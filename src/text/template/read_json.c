/*
 * read_json.c - the variables of a rendering, read from JSON text straight into the values that templates compute with.
 *
 * One pass over the text. A string without escapes stays where it is in the text; only the others are copied. The
 * members of a container gather on a stack until its end tells how many they are. Keys become the template's own
 * strings where it has them: that is what lets the interpreter find a message's fields by comparing pointers.
 */
#include "text/template/ast.h"
#include "text/template/big.h"
#include "text/template/interpreter.h"
#include "text/template/number.h"
#include "text/template/unicode.h"
#include "text/tokenizer/utf8.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_DEPTH = 2048, KEY_CACHE = 32 };

typedef struct Reader {
    JinjaState *state;
    const char *text, *at, *end;
    JinjaValue *stack; /* members of the containers that have not ended; a dictionary's alternate with their keys */
    size_t n, capacity;
    uint32_t depth;
    JinjaString *keys[KEY_CACHE]; /* recent ones: messages have the same */
} Reader;

struct TemplateValues {
    JinjaState state; /* memory, the template's seed and the variables; nothing runs in it */
};

static bool refuse(Reader *reader, const char *at, const char *what)
{
    if (reader->state->status != IMP_OK) return false;
    size_t line = 1, column = 1;
    for (const char *c = reader->text; c < at; c++) {
        column = *c == '\n' ? 1 : column + (((unsigned char)*c & 0xC0) != 0x80);
        line += *c == '\n';
    }
    reader->state->status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "line %zu, column %zu: %s", line, column, what);
    return false;
}

static bool push(Reader *reader, const JinjaValue *value)
{
    if (reader->n == reader->capacity) {
        const size_t capacity = reader->capacity == 0 ? 256 : reader->capacity * 2;
        JinjaValue *grown = realloc(reader->stack, capacity * sizeof *grown);
        if (grown == NULL) {
            reader->state->status = imp_fail_memory(capacity * sizeof *grown);
            return false;
        }
        reader->stack = grown;
        reader->capacity = capacity;
    }
    reader->stack[reader->n++] = *value;
    return true;
}

/* The next byte that is no white space; '\0' at the end, which is no byte of JSON outside of strings. */
static inline char peek(Reader *reader)
{
    while (reader->at < reader->end) {
        const char c = *reader->at;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
        reader->at++;
    }
    return '\0';
}

/* ---- strings ---- */

typedef signed char Bytes __attribute__((vector_size(16)));
typedef uint64_t Words __attribute__((vector_size(16)));

/* The first byte that does not stand for itself: a quote, a backslash, a control character, a byte of a longer
 * character (the negative ones), or the end. */
static inline const char *plain_end(const char *at, const char *end)
{
    while (end - at >= (ptrdiff_t)sizeof(Bytes)) {
        Bytes bytes;
        memcpy(&bytes, at, sizeof bytes);
        const Words special = (Words)((bytes == '"') | (bytes == '\\') | (bytes < 0x20));
        if ((special[0] | special[1]) != 0) {
            return at + (special[0] != 0 ? __builtin_ctzll(special[0]) : 64 + __builtin_ctzll(special[1])) / 8;
        }
        at += sizeof bytes;
    }
    while (at < end && *at != '"' && *at != '\\' && (signed char)*at >= 0x20) at++;
    return at;
}

static int hex_value(const char *digits, const char *end)
{
    int value = 0;
    if (end - digits < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = digits[i];
        const int digit = c >= '0' && c <= '9'                 ? c - '0'
                          : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                               : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character of an escape, `at` behind its backslash; moves `at` past it. -1 after refusing. */
static int32_t escaped_character(Reader *reader, const char **at)
{
    static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    const char *start = *at, *letter = *start == '\0' ? NULL : strchr(letters, *start);
    *at = start + 1;
    if (letter != NULL) return characters[letter - letters];
    int unit = *start == 'u' ? hex_value(start + 1, reader->end) : -1;
    if (unit < 0) (void)refuse(reader, start - 1, "invalid escape");
    *at = start + 5;
    if (unit < 0xD800 || unit > 0xDFFF) return unit;
    int low = -1;
    if (unit < 0xDC00 && reader->end - *at >= 6 && memcmp(*at, "\\u", 2) == 0) low = hex_value(*at + 2, reader->end);
    if (low < 0xDC00 || low > 0xDFFF) {
        (void)refuse(reader, start - 1, "half of a surrogate pair");
        return -1;
    }
    *at += 6;
    return 0x10000 + (unit - 0xD800) * 0x400 + (low - 0xDC00);
}

static bool unescape(Reader *reader, const char *at, const char *end, JinjaString *out)
{
    char *text = jinja_alloc_raw(reader->state, (size_t)(end - at)), *to = text;
    if (text == NULL) return false;
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        const size_t plain = (size_t)((backslash == NULL ? end : backslash) - at);
        memcpy(to, at, plain);
        to += plain;
        at += plain;
        if (backslash == NULL) break;
        at++;
        const int32_t character = escaped_character(reader, &at);
        if (character < 0) return false;
        to += unicode_encode((uint32_t)character, to);
    }
    out->data = text;
    out->length = (size_t)(to - text);
    out->n_chars = JINJA_UNCOUNTED;
    return true;
}

/* From behind the opening quote to behind the closing one. */
static bool read_string(Reader *reader, JinjaString *out)
{
    const char *start = reader->at, *at = start;
    size_t n_continued = 0; /* bytes that begin no character */
    bool escaped = false;
    for (;;) {
        at = plain_end(at, reader->end);
        if (at == reader->end) return refuse(reader, start - 1, "a string has no end");
        if (*at == '"') break;
        if (*at == '\\') {
            escaped = true;
            if (reader->end - at < 2) return refuse(reader, start - 1, "a string has no end");
            at += 2;
        } else if ((unsigned char)*at < 0x20) {
            return refuse(reader, at, "a control character in a string must be escaped");
        } else {
            if (utf8_bad_length(at, (size_t)(reader->end - at), false) != 0) return refuse(reader, at, "not UTF-8");
            const size_t width = utf8_width(*at);
            n_continued += width - 1;
            at += width;
        }
    }
    reader->at = at + 1;
    const size_t length = (size_t)(at - start);
    *out = (JinjaString){.data = start, .length = length, .n_chars = length - n_continued};
    return !escaped || unescape(reader, start, at, out);
}

static bool read_text(Reader *reader, JinjaValue *out)
{
    JinjaString *string = jinja_alloc_raw(reader->state, sizeof *string);
    *out = (JinjaValue){.kind = JINJA_STRING, .string = string};
    reader->at++;
    return string != NULL && read_string(reader, string);
}

/* The string of a key: the template's own when it names it, and the same one again for a key seen lately. */
static bool intern_key(Reader *reader, const JinjaString *key, JinjaValue *out)
{
    const size_t hash = key->length * 7 + (key->length > 0 ? (unsigned char)key->data[0] : 0);
    JinjaString **place = &reader->keys[hash % KEY_CACHE];
    if (*place == NULL || (*place)->length != key->length ||
        !jinja_same_bytes((*place)->data, key->data, key->length)) {
        JinjaString *own = jinja_find_interned(reader->state->chat_template, key->data, key->length);
        if (own == NULL) {
            own = jinja_alloc_raw(reader->state, sizeof *own);
            if (own == NULL) return false;
            *own = *key;
        }
        *place = own;
    }
    *out = (JinjaValue){.kind = JINJA_STRING, .string = *place};
    return true;
}

/* ---- numbers ---- */

static size_t skip_digits(Reader *reader)
{
    const char *start = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') reader->at++;
    return (size_t)(reader->at - start);
}

static bool read_integer(Reader *reader, const char *start, JinjaValue *out)
{
    const bool negative = *start == '-';
    const size_t n = (size_t)(reader->at - start) - negative;
    const char *text = start + negative;
    if (n <= 18) {
        int64_t value = 0;
        for (size_t i = 0; i < n; i++) value = value * 10 + (text[i] - '0');
        *out = jinja_int(negative ? -value : value);
        return true;
    }
    if (n > BIG_MAX_DIGITS) return refuse(reader, start, "an integer has more than 4300 digits");
    unsigned char *digits = jinja_alloc_raw(reader->state, n);
    JinjaBig *big = digits == NULL ? NULL : jinja_alloc(reader->state, 1, jinja_big_size(n, 10));
    if (big == NULL) return false;
    for (size_t i = 0; i < n; i++) digits[i] = (unsigned char)(text[i] - '0');
    jinja_big_read(big, negative, digits, n, 10);
    *out = jinja_big_value(big);
    return true;
}

static bool read_number(Reader *reader, JinjaValue *out)
{
    const char *start = reader->at;
    reader->at += *start == '-';
    const char *first = reader->at;
    const size_t n = skip_digits(reader);
    bool real = false, whole = n > 0 && (n == 1 || *first != '0');
    if (whole && reader->at < reader->end && *reader->at == '.') {
        reader->at++;
        real = true;
        whole = skip_digits(reader) > 0;
    }
    if (whole && reader->at < reader->end && (*reader->at | 32) == 'e') {
        reader->at++;
        if (reader->at < reader->end && (*reader->at == '+' || *reader->at == '-')) reader->at++;
        real = true;
        whole = skip_digits(reader) > 0;
    }
    if (!whole) return refuse(reader, start, "not a value");
    if (!real) return read_integer(reader, start, out);
    double value;
    if (!number_parse_float(start, (size_t)(reader->at - start), &value)) return refuse(reader, start, "not a number");
    *out = jinja_float(value);
    return true;
}

/* ---- containers ---- */

static bool read_value(Reader *reader, JinjaValue *out);

/* The members from stack[base] become a list. */
static bool finish_list(Reader *reader, size_t base, JinjaValue *out)
{
    const size_t n = reader->n - base;
    JinjaList *list = jinja_alloc_raw(reader->state, sizeof *list + n * sizeof *list->items);
    if (list == NULL) return false;
    *list = (JinjaList){.items = (JinjaValue *)(list + 1), .n = n};
    if (n > 0) memcpy(list->items, reader->stack + base, n * sizeof *list->items);
    *out = (JinjaValue){.kind = JINJA_LIST, .list = list};
    reader->n = base;
    return true;
}

/* The keys and values from stack[base] become a dictionary; of equal keys the last value stays in the first place. */
static bool finish_dict(Reader *reader, size_t base, JinjaValue *out)
{
    const size_t n = (reader->n - base) / 2;
    const JinjaValue *members = reader->n == base ? NULL : reader->stack + base;
    JinjaDict *dict = jinja_alloc_raw(reader->state, sizeof *dict + n * sizeof *dict->entries);
    if (dict == NULL) return false;
    *dict = (JinjaDict){.entries = (JinjaEntry *)(dict + 1), .capacity = n, .lasting = true};
    for (size_t i = 0; i < n; i++) {
        const JinjaValue *key = &members[2 * i], *value = key + 1;
        if (n > JINJA_DICT_SCAN) {
            if (!jinja_dict_set(reader->state, dict, *key, *value)) return false;
            continue;
        }
        size_t at = 0;
        while (at < dict->n && !jinja_same_string(dict->entries[at].key.string, key->string)) at++;
        dict->entries[at] = (JinjaEntry){.key = *key, .value = *value};
        if (at == dict->n) dict->n++;
    }
    dict->canonical = dict->index_size == 0;
    *out = (JinjaValue){.kind = JINJA_DICT, .dict = dict};
    reader->n = base;
    return true;
}

static bool read_list(Reader *reader, JinjaValue *out)
{
    const size_t base = reader->n;
    const char *start = reader->at++;
    if (peek(reader) == ']') {
        reader->at++;
        return finish_list(reader, base, out);
    }
    for (;;) {
        JinjaValue item;
        if (!read_value(reader, &item) || !push(reader, &item)) return false;
        const char c = peek(reader);
        if (c != ',' && c != ']') return refuse(reader, c == '\0' ? start : reader->at, "',' or ']' is missing");
        reader->at++;
        if (c == ']') return finish_list(reader, base, out);
    }
}

static bool read_dict(Reader *reader, JinjaValue *out)
{
    const size_t base = reader->n;
    const char *start = reader->at++;
    if (peek(reader) == '}') {
        reader->at++;
        return finish_dict(reader, base, out);
    }
    for (;;) {
        JinjaString name;
        JinjaValue key, value;
        if (peek(reader) != '"') return refuse(reader, reader->at, "a key is missing");
        reader->at++;
        if (!read_string(reader, &name) || !intern_key(reader, &name, &key)) return false;
        if (peek(reader) != ':') return refuse(reader, reader->at, "':' is missing");
        reader->at++;
        if (!read_value(reader, &value) || !push(reader, &key) || !push(reader, &value)) return false;
        const char c = peek(reader);
        if (c != ',' && c != '}') return refuse(reader, c == '\0' ? start : reader->at, "',' or '}' is missing");
        reader->at++;
        if (c == '}') return finish_dict(reader, base, out);
    }
}

static bool read_container(Reader *reader, bool is_dict, JinjaValue *out)
{
    if (reader->depth == MAX_DEPTH) return refuse(reader, reader->at, "nested too deeply");
    reader->depth++;
    const bool ok = is_dict ? read_dict(reader, out) : read_list(reader, out);
    reader->depth--;
    return ok;
}

static bool read_word(Reader *reader, const char *word, JinjaValue value, JinjaValue *out)
{
    const size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return refuse(reader, reader->at, "not a value");
    }
    reader->at += length;
    *out = value;
    return true;
}

static bool read_value(Reader *reader, JinjaValue *out)
{
    const char c = peek(reader);
    switch (c) {
    case '"':
        return read_text(reader, out);
    case '{':
    case '[':
        return read_container(reader, c == '{', out);
    case 'n':
        return read_word(reader, "null", jinja_none(), out);
    case 't':
        return read_word(reader, "true", jinja_bool(true), out);
    case 'f':
        return read_word(reader, "false", jinja_bool(false), out);
    case '\0':
        return refuse(reader, reader->at, reader->at == reader->end ? "the text ends too early" : "not a value");
    default:
        return read_number(reader, out);
    }
}

static bool read_whole(Reader *reader, const char *json, size_t length, JinjaValue *out)
{
    reader->text = reader->at = json;
    reader->end = json + length;
    const bool ok = read_value(reader, out);
    if (ok && (peek(reader) != '\0' || reader->at != reader->end)) {
        return refuse(reader, reader->at, "something follows the value");
    }
    return ok;
}

/* ---- the room's door ---- */

ImpStatus template_values_read(const ChatTemplate *chat_template, const char *json, size_t length, TemplateValues **out)
{
    *out = NULL;
    TemplateValues *values = calloc(1, sizeof *values);
    if (values == NULL) return imp_fail_memory(sizeof *values);
    JinjaState *state = &values->state;
    state->chat_template = chat_template;
    state->seed = chat_template->seed;
    state->limits.memory_bytes = chat_template_default_limits().memory_bytes;
    state->steps_left = UINT64_MAX;
    Reader reader = {.state = state};
    JinjaValue variables;
    if (read_whole(&reader, json, length, &variables) && variables.kind != JINJA_DICT) {
        state->status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "not a JSON object");
    }
    free(reader.stack);
    const ImpStatus status = state->status;
    if (status != IMP_OK) {
        template_values_free(values);
        return status;
    }
    state->variables = variables.dict;
    *out = values;
    return IMP_OK;
}

ImpStatus template_values_default(TemplateValues *values, const char *name, const char *json, size_t length)
{
    JinjaState *state = &values->state;
    Reader reader = {.state = state};
    const JinjaString text = {.data = name, .length = strlen(name), .n_chars = JINJA_UNCOUNTED};
    JinjaValue key, value;
    if (jinja_dict_find_string(state, state->variables, &text) != NULL) return IMP_OK;
    /* Both live as long as the values. */
    const char *own_name = jinja_copy_text(state, name, text.length);
    const char *own = own_name == NULL ? NULL : jinja_copy_text(state, json, length);
    if (own == NULL) return state->status;
    const JinjaString own_text = {.data = own_name, .length = text.length, .n_chars = JINJA_UNCOUNTED};
    if (intern_key(&reader, &own_text, &key) && read_whole(&reader, own, length, &value)) {
        (void)jinja_dict_set(state, state->variables, key, value);
        state->variables->canonical = state->variables->index_size == 0;
    }
    free(reader.stack);
    return state->status;
}

const JinjaState *jinja_values_state(const TemplateValues *values) { return &values->state; }

void template_values_free(TemplateValues *values)
{
    if (values == NULL) return;
    jinja_free_memory(&values->state);
    free(values);
}
