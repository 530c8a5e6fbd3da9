/*
 * value.c - making values, and dictionaries with their hashes.
 */
#include "text/template/value.h"
#include "text/template/big.h"
#include "text/template/interpreter.h"

#include <math.h>

/* ---- making values ---- */

static inline bool make_string(JinjaState *state, const char *bytes, size_t length, JinjaValue *out)
{
    JinjaString *string = jinja_alloc_raw(state, sizeof *string);
    if (string == NULL) return false;
    *string = (JinjaString){.data = bytes, .length = length, .n_chars = JINJA_UNCOUNTED};
    *out = (JinjaValue){.kind = JINJA_STRING, .string = string};
    return true;
}

bool jinja_view(JinjaState *state, const char *bytes, size_t length, JinjaValue *out)
{
    return make_string(state, bytes, length, out);
}

bool jinja_string(JinjaState *state, const char *bytes, size_t length, JinjaValue *out)
{
    char *copy = jinja_alloc_raw(state, length);
    if (copy == NULL) return false;
    if (length > 0) memcpy(copy, bytes, length);
    return make_string(state, copy, length, out);
}

bool jinja_text(JinjaState *state, const char *text, JinjaValue *out)
{
    return make_string(state, text, strlen(text), out);
}

static bool make_sequence(JinjaState *state, JinjaKind kind, size_t n, JinjaValue *out)
{
    JinjaList *list = jinja_alloc(state, 1, sizeof *list);
    if (list == NULL) return false;
    list->items = jinja_alloc(state, n, sizeof *list->items);
    if (list->items == NULL) return false;
    list->n = n;
    *out = (JinjaValue){.kind = kind, .list = list};
    return true;
}

bool jinja_list(JinjaState *state, size_t n, JinjaValue *out) { return make_sequence(state, JINJA_LIST, n, out); }
bool jinja_tuple(JinjaState *state, size_t n, JinjaValue *out) { return make_sequence(state, JINJA_TUPLE, n, out); }

bool jinja_pair(JinjaState *state, JinjaValue first, JinjaValue second, JinjaValue *out)
{
    if (!jinja_tuple(state, 2, out)) return false;
    out->list->items[0] = first;
    out->list->items[1] = second;
    return true;
}

bool jinja_dict(JinjaState *state, size_t capacity, JinjaValue *out)
{
    JinjaDict *dict = jinja_alloc(state, 1, sizeof *dict);
    if (dict == NULL) return false;
    dict->entries = jinja_alloc(state, capacity, sizeof *dict->entries);
    if (dict->entries == NULL) return false;
    dict->capacity = capacity;
    *out = (JinjaValue){.kind = JINJA_DICT, .dict = dict};
    return true;
}

static bool make_undefined(JinjaState *state, const char *hint, JinjaValue object, JinjaValue name, JinjaValue *out)
{
    JinjaUndefined *undefined = jinja_alloc(state, 1, sizeof *undefined);
    if (undefined == NULL) return false;
    *undefined = (JinjaUndefined){.hint = hint, .object = object, .name = name};
    *out = (JinjaValue){.kind = JINJA_UNDEFINED, .undefined = undefined};
    return true;
}

bool jinja_undefined_name(JinjaState *state, JinjaString *name, JinjaValue *out)
{
    return make_undefined(state, NULL, jinja_missing(), (JinjaValue){.kind = JINJA_STRING, .string = name}, out);
}

bool jinja_undefined_member(JinjaState *state, JinjaValue object, JinjaValue name, JinjaValue *out)
{
    return make_undefined(state, NULL, object, name, out);
}

bool jinja_undefined_hint(JinjaState *state, const char *hint, JinjaValue *out)
{
    return make_undefined(state, hint, jinja_missing(), jinja_none(), out);
}

bool jinja_push(JinjaState *state, JinjaItems *items, JinjaValue value)
{
    if (items->n == items->capacity) {
        const size_t capacity = items->capacity < 8 ? 8 : items->capacity * 2;
        JinjaValue *grown = jinja_alloc(state, capacity, sizeof *grown);
        if (grown == NULL) return false;
        if (items->n > 0) memcpy(grown, items->items, items->n * sizeof *grown);
        items->items = grown;
        items->capacity = capacity;
    }
    items->items[items->n++] = value;
    return true;
}

/* ---- hashing ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    a ^= b;
    a *= 0x9E3779B97F4A7C15u;
    a ^= a >> 32;
    a *= 0xD6E8FEB86659FD93u;
    return a ^ a >> 29;
}

uint64_t jinja_string_hash(uint64_t seed, const char *bytes, size_t length)
{
    uint64_t hash = mix(seed, length);
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = mix(hash, word);
    }
    uint64_t word = 0;
    if (length > 0) memcpy(&word, bytes, length);
    hash = mix(hash + 1, word);
    return hash == 0 ? 1 : hash;
}

static uint64_t string_hash(const JinjaState *state, JinjaString *string)
{
    if (string->hash == 0) string->hash = jinja_string_hash(state->seed, string->data, string->length);
    return string->hash;
}

/* The type of the first value inside that cannot be hashed, NULL when all can. */
static const char *unhashable(const JinjaValue *value, unsigned depth)
{
    if (value->kind == JINJA_LIST || value->kind == JINJA_DICT) return jinja_type_name(value);
    if (value->kind == JINJA_VIEW && value->view->part != JINJA_VALUES) return jinja_type_name(value);
    if (value->kind != JINJA_TUPLE) return NULL;
    if (depth == JINJA_MAX_NESTING) return "tuple";
    for (size_t i = 0; i < value->list->n; i++) {
        const char *type_name = unhashable(&value->list->items[i], depth + 1);
        if (type_name != NULL) return type_name;
    }
    return NULL;
}

static const int64_t HASHED_AS_INTEGER = (int64_t)1 << 62; /* what is larger is hashed as the nearest double */

/* Numbers that are equal have the same hash, whatever their types. */
static uint64_t hash_double(const JinjaState *state, double number)
{
    if (number > -0x1p62 && number < 0x1p62 && number == floor(number)) {
        return mix(state->seed, (uint64_t)(int64_t)number);
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return mix(state->seed, bits);
}

static uint64_t value_hash(JinjaState *state, const JinjaValue *value)
{
    switch (value->kind) {
    case JINJA_STRING:
        return string_hash(state, value->string);
    case JINJA_BOOL:
        return mix(state->seed, value->boolean);
    case JINJA_INT:
        if (value->integer > -HASHED_AS_INTEGER && value->integer < HASHED_AS_INTEGER) {
            return mix(state->seed, (uint64_t)value->integer);
        }
        return hash_double(state, (double)value->integer);
    case JINJA_BIG:
        return hash_double(state, jinja_big_to_double(value));
    case JINJA_FLOAT:
        return hash_double(state, value->number);
    case JINJA_TUPLE: {
        uint64_t hash = mix(state->seed, value->list->n + 77);
        if (!jinja_enter(state)) return hash;
        for (size_t i = 0; i < value->list->n; i++) hash = mix(hash, value_hash(state, &value->list->items[i]));
        jinja_leave(state);
        return hash;
    }
    case JINJA_NONE:
    case JINJA_UNDEFINED:
    case JINJA_RANGE:
        return mix(state->seed, (uint64_t)value->kind + 1000);
    default:
        return mix(state->seed, (uint64_t)(uintptr_t)value->list);
    }
}

/* ---- dictionaries ---- */

static bool dict_reindex(JinjaState *state, JinjaDict *dict)
{
    size_t size = 32;
    while (size < dict->capacity * 2) size *= 2;
    uint32_t *table = jinja_alloc(state, size, sizeof *table);
    if (table == NULL) return false;
    for (size_t i = 0; i < dict->n; i++) {
        JinjaEntry *entry = &dict->entries[i];
        if (entry->hash == 0) entry->hash = value_hash(state, &entry->key);
        size_t at = entry->hash & (size - 1);
        while (table[at] != 0) at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    dict->index = table;
    dict->index_size = size;
    return true;
}

JinjaValue *jinja_dict_find_string(JinjaState *state, const JinjaDict *dict, const JinjaString *key)
{
    if (dict->canonical && key->interned) return jinja_dict_find_name(state, dict, key);
    if (dict->index_size == 0) {
        for (size_t i = 0; i < dict->n; i++) {
            JinjaEntry *entry = &dict->entries[i];
            if (entry->key.kind == JINJA_STRING && jinja_same_string(entry->key.string, key)) return &entry->value;
        }
        return NULL;
    }
    const uint64_t hash = key->hash != 0 ? key->hash : jinja_string_hash(state->seed, key->data, key->length);
    for (size_t at = hash & (dict->index_size - 1); dict->index[at] != 0; at = (at + 1) & (dict->index_size - 1)) {
        JinjaEntry *entry = &dict->entries[dict->index[at] - 1];
        if (entry->hash == hash && entry->key.kind == JINJA_STRING && jinja_same_string(entry->key.string, key)) {
            return &entry->value;
        }
    }
    return NULL;
}

JinjaValue *jinja_dict_find(JinjaState *state, const JinjaDict *dict, const JinjaValue *key)
{
    if (key->kind == JINJA_STRING) return jinja_dict_find_string(state, dict, key->string);
    const char *type_name = unhashable(key, 0);
    if (type_name != NULL) {
        (void)jinja_raise(state, "unhashable type: '%s'", type_name);
        return NULL;
    }
    if (dict->index_size == 0) {
        for (size_t i = 0; i < dict->n; i++) {
            if (jinja_matches(state, &dict->entries[i].key, key)) return &dict->entries[i].value;
        }
        return NULL;
    }
    const uint64_t hash = value_hash(state, key);
    for (size_t at = hash & (dict->index_size - 1); dict->index[at] != 0; at = (at + 1) & (dict->index_size - 1)) {
        JinjaEntry *entry = &dict->entries[dict->index[at] - 1];
        if (entry->hash == hash && jinja_matches(state, &entry->key, key)) return &entry->value;
    }
    return NULL;
}

static bool dict_grow(JinjaState *state, JinjaDict *dict)
{
    const size_t capacity = dict->capacity < 4 ? 4 : dict->capacity * 2;
    if (capacity > UINT32_MAX / 2) return jinja_raise_limit(state, "a dictionary is too large");
    JinjaEntry *entries = jinja_alloc(state, capacity, sizeof *entries);
    if (entries == NULL) return false;
    if (dict->n > 0) memcpy(entries, dict->entries, dict->n * sizeof *entries);
    dict->entries = entries;
    dict->capacity = capacity;
    return true;
}

bool jinja_dict_set(JinjaState *state, JinjaDict *dict, JinjaValue key, JinjaValue value)
{
    JinjaValue *present = jinja_dict_find(state, dict, &key);
    if (state->status != IMP_OK) return false;
    if (present != NULL) {
        *present = value;
        return true;
    }
    dict->canonical = false;
    const bool grow = dict->n == dict->capacity;
    if (grow && !dict_grow(state, dict)) return false;
    dict->entries[dict->n++] = (JinjaEntry){.key = key, .value = value};
    if (dict->n <= JINJA_DICT_SCAN) return true;
    if (dict->index_size < dict->n * 2) return dict_reindex(state, dict);
    JinjaEntry *entry = &dict->entries[dict->n - 1];
    entry->hash = value_hash(state, &key);
    size_t at = entry->hash & (dict->index_size - 1);
    while (dict->index[at] != 0) at = (at + 1) & (dict->index_size - 1);
    dict->index[at] = (uint32_t)dict->n;
    return true;
}

/* ---- dictionaries that outlive the rendering ---- */

/* What a dictionary was before the rendering changed it. */
struct JinjaChanged {
    JinjaChanged *next;
    JinjaDict *dict, before;
};

bool jinja_dict_own(JinjaState *state, JinjaDict *dict)
{
    if (!dict->lasting) return true;
    JinjaChanged *changed = jinja_alloc(state, 1, sizeof *changed);
    if (changed == NULL) return false;
    *changed = (JinjaChanged){.next = state->changed, .dict = dict, .before = *dict};
    if (!dict_grow(state, dict)) return false;
    state->changed = changed;
    dict->lasting = false;
    dict->index_size = 0;
    return dict->n <= JINJA_DICT_SCAN || dict_reindex(state, dict);
}

void jinja_dicts_restore(JinjaState *state)
{
    for (const JinjaChanged *changed = state->changed; changed != NULL; changed = changed->next) {
        *changed->dict = changed->before;
    }
}
