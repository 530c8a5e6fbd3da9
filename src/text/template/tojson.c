/*
 * tojson.c - the tojson filter as transformers defines it: json.dumps with ensure_ascii off and nothing escaped for
 * HTML.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/number.h"
#include "text/template/sort.h"
#include "text/template/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

typedef struct Encoder {
    JinjaState *state;
    StrBuf *text;
    bool ensure_ascii, sort_keys, pretty;
    JinjaValue indent, item_separator, key_separator;
    size_t level;
} Encoder;

static void encode(Encoder *encoder, const JinjaValue *value);

static void put(Encoder *encoder, const char *text) { jinja_puts(encoder->state, encoder->text, text); }

static void put_value(Encoder *encoder, const JinjaValue *string)
{
    jinja_append(encoder->state, encoder->text, string->string->data, string->string->length);
}

static void encode_escaped(Encoder *encoder, uint32_t c)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char text[16];
    for (size_t i = 0; i + 1 < sizeof names; i += 2) {
        if ((uint32_t)names[i] != c) continue;
        text[0] = '\\';
        text[1] = names[i + 1];
        jinja_append(encoder->state, encoder->text, text, 2);
        return;
    }
    if (c >= 0x10000) {
        (void)snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                       0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
        (void)snprintf(text, sizeof text, "\\u%04x", c);
    }
    put(encoder, text);
}

static void encode_string(Encoder *encoder, const JinjaString *string)
{
    if (!jinja_charge_bytes(encoder->state, string->length)) return;
    const char *at = string->data, *end = at + string->length, *plain = at;
    put(encoder, "\"");
    while (at < end) {
        const unsigned char byte = (unsigned char)*at;
        if (byte >= ' ' && byte != '"' && byte != '\\' && !(encoder->ensure_ascii && byte >= 0x7F)) {
            at++;
            continue;
        }
        jinja_append(encoder->state, encoder->text, plain, (size_t)(at - plain));
        size_t width;
        encode_escaped(encoder, unicode_decode(at, end, &width));
        plain = at += width;
    }
    jinja_append(encoder->state, encoder->text, plain, (size_t)(end - plain));
    put(encoder, "\"");
}

static void encode_float(Encoder *encoder, double number)
{
    char text[NUMBER_TEXT];
    if (isnan(number)) {
        put(encoder, "NaN");
    } else if (isinf(number)) {
        put(encoder, number > 0 ? "Infinity" : "-Infinity");
    } else {
        jinja_append(encoder->state, encoder->text, text, number_repr(number, text));
    }
}

static void encode_integer(Encoder *encoder, int64_t integer)
{
    char text[NUMBER_TEXT];
    (void)snprintf(text, sizeof text, "%" PRId64, integer);
    put(encoder, text);
}

static void new_line(Encoder *encoder)
{
    if (!encoder->pretty) return;
    put(encoder, "\n");
    jinja_pad(encoder->state, encoder->text, encoder->indent.string->data, encoder->indent.string->length,
              encoder->level);
}

static void encode_list(Encoder *encoder, const JinjaList *list)
{
    if (list->n == 0) {
        put(encoder, "[]");
        return;
    }
    put(encoder, "[");
    encoder->level++;
    for (size_t i = 0; i < list->n && encoder->state->status == IMP_OK; i++) {
        if (i > 0) put_value(encoder, &encoder->item_separator);
        new_line(encoder);
        encode(encoder, &list->items[i]);
    }
    encoder->level--;
    new_line(encoder);
    put(encoder, "]");
}

static void encode_key(Encoder *encoder, const JinjaValue *key)
{
    if (key->kind == JINJA_STRING) {
        encode_string(encoder, key->string);
    } else if (key->kind >= JINJA_NONE && key->kind <= JINJA_FLOAT) {
        put(encoder, "\"");
        encode(encoder, key);
        put(encoder, "\"");
    } else {
        (void)jinja_raise(encoder->state, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
    }
}

/* The entries in the order they are written. */
static const JinjaValue *ordered_keys(Encoder *encoder, const JinjaDict *dict)
{
    JinjaValue *keys = jinja_alloc(encoder->state, dict->n, 2 * sizeof *keys), *copy = keys + dict->n;
    if (keys == NULL) return NULL;
    for (size_t i = 0; i < dict->n; i++) keys[i] = copy[i] = dict->entries[i].key;
    return jinja_sort(encoder->state, keys, copy, dict->n, false) ? keys : NULL;
}

static void encode_dict(Encoder *encoder, const JinjaDict *dict)
{
    const JinjaValue *keys = NULL;
    if (dict->n == 0) {
        put(encoder, "{}");
        return;
    }
    if (encoder->sort_keys) {
        keys = ordered_keys(encoder, dict);
        if (keys == NULL) return;
    }
    put(encoder, "{");
    encoder->level++;
    for (size_t i = 0; i < dict->n && encoder->state->status == IMP_OK; i++) {
        const JinjaValue *key = keys == NULL ? &dict->entries[i].key : &keys[i];
        const JinjaValue *value = keys == NULL ? &dict->entries[i].value : jinja_dict_find(encoder->state, dict, key);
        if (i > 0) put_value(encoder, &encoder->item_separator);
        new_line(encoder);
        encode_key(encoder, key);
        put_value(encoder, &encoder->key_separator);
        if (value != NULL) encode(encoder, value);
    }
    encoder->level--;
    new_line(encoder);
    put(encoder, "}");
}

static void encode(Encoder *encoder, const JinjaValue *value)
{
    JinjaState *state = encoder->state;
    if (!jinja_charge(state, 1) || !jinja_enter(state)) return;
    switch (value->kind) {
    case JINJA_NONE:
        put(encoder, "null");
        break;
    case JINJA_BOOL:
        put(encoder, value->boolean ? "true" : "false");
        break;
    case JINJA_INT:
        encode_integer(encoder, value->integer);
        break;
    case JINJA_BIG:
        jinja_append_integer(state, encoder->text, value);
        break;
    case JINJA_FLOAT:
        encode_float(encoder, value->number);
        break;
    case JINJA_STRING:
        encode_string(encoder, value->string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        encode_list(encoder, value->list);
        break;
    case JINJA_DICT:
        encode_dict(encoder, value->dict);
        break;
    default:
        (void)jinja_raise(state, "Object of type %s is not JSON serializable", jinja_type_name(value));
        break;
    }
    jinja_leave(state);
}

static bool read_indent(JinjaState *state, const JinjaValue *argument, Encoder *encoder)
{
    if (!encoder->pretty) return true;
    if (argument->kind == JINJA_STRING) {
        encoder->indent = *argument;
        return true;
    }
    if (argument->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, argument);
    if (!jinja_is_integer(argument)) {
        return jinja_raise(state, "can't multiply sequence by non-int of type '%s'", jinja_type_name(argument));
    }
    int64_t width;
    if (argument->kind == JINJA_BIG) return jinja_raise(state, "cannot fit 'int' into an index-sized integer");
    StrBuf *text = jinja_index(state, argument, &width) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    jinja_pad(state, text, " ", 1, width > 0 ? (size_t)width : 0);
    return jinja_capture_finish(state, text, &encoder->indent);
}

static bool read_separators(JinjaState *state, const JinjaValue *argument, Encoder *encoder)
{
    JinjaItems items;
    if (argument->kind == JINJA_MISSING || argument->kind == JINJA_NONE) {
        return jinja_text(state, encoder->pretty ? "," : ", ", &encoder->item_separator) &&
               jinja_text(state, ": ", &encoder->key_separator);
    }
    if (!jinja_is_iterable(argument)) {
        return jinja_raise(state, "cannot unpack non-iterable %s object", jinja_type_name(argument));
    }
    if (!jinja_collect(state, argument, &items)) return false;
    if (items.n > 2) return jinja_raise(state, "too many values to unpack (expected 2)");
    if (items.n < 2) return jinja_raise(state, "not enough values to unpack (expected 2, got %zu)", items.n);
    encoder->item_separator = items.items[0];
    encoder->key_separator = items.items[1];
    return true;
}

static bool check_separators(JinjaState *state, const Encoder *encoder)
{
    const JinjaValue *separators[] = {&encoder->item_separator, &encoder->key_separator};
    for (size_t i = 0; i < 2; i++) {
        if (separators[i]->kind == JINJA_STRING) continue;
        return jinja_raise(state, "make_encoder() argument %zu must be str, not %s", 6 - i,
                           jinja_type_name(separators[i]));
    }
    return true;
}

bool jinja_tojson(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, JinjaValue *out)
{
    Encoder encoder = {.state = state};
    encoder.ensure_ascii = arguments[0].kind != JINJA_MISSING && jinja_truthy(state, &arguments[0]);
    encoder.sort_keys = arguments[3].kind != JINJA_MISSING && jinja_truthy(state, &arguments[3]);
    encoder.pretty = arguments[1].kind != JINJA_MISSING && arguments[1].kind != JINJA_NONE;
    /* Python unpacks the separators first and looks at what they are last. */
    if (!read_separators(state, &arguments[2], &encoder) || !read_indent(state, &arguments[1], &encoder)) return false;
    if (!check_separators(state, &encoder)) return false;
    encoder.text = jinja_capture(state);
    if (encoder.text == NULL) return false;
    encode(&encoder, value);
    return jinja_capture_finish(state, encoder.text, out);
}
