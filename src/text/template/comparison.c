/*
 * comparison.c - types, truth, equality, order, length, membership and iteration of values, as Python defines them.
 */
#include "text/template/big.h"
#include "text/template/interpreter.h"
#include "text/template/unicode.h"
#include "text/template/value.h"

#include <math.h>
#include <stdio.h>

/* ---- what values are ---- */

static const char *const type_names[JINJA_KINDS] = {
    [JINJA_MISSING] = "missing",
    [JINJA_UNDEFINED] = "Undefined",
    [JINJA_NONE] = "NoneType",
    [JINJA_BOOL] = "bool",
    [JINJA_INT] = "int",
    [JINJA_BIG] = "int",
    [JINJA_FLOAT] = "float",
    [JINJA_STRING] = "str",
    [JINJA_LIST] = "list",
    [JINJA_TUPLE] = "tuple",
    [JINJA_DICT] = "dict",
    [JINJA_RANGE] = "range",
    [JINJA_NAMESPACE] = "Namespace",
    [JINJA_LOOP] = "LoopContext",
    [JINJA_MACRO] = "Macro",
    [JINJA_FUNCTION] = "function",
    [JINJA_METHOD] = "builtin_function_or_method",
    [JINJA_CYCLER] = "Cycler",
    [JINJA_JOINER] = "Joiner",
    [JINJA_SELF] = "TemplateReference",
    [JINJA_BLOCK] = "BlockReference",
};

const char *jinja_type_name(const JinjaValue *value)
{
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    switch (value->kind) {
    case JINJA_VIEW:
        return views[value->view->part];
    case JINJA_ITERATOR:
        return value->iterator->type_name;
    case JINJA_STRING:
        return value->string->markup ? "Markup" : "str";
    case JINJA_TUPLE:
        return value->tag == 1 ? "_GroupTuple" : "tuple";
    case JINJA_METHOD: /* the sandbox wraps str.format in a function of its own */
        return strncmp(value->method->builtin->name, "format", 6) == 0 ? "function" : "builtin_function_or_method";
    case JINJA_FUNCTION:
        return value->function->style == JINJA_C_KEYWORDS ? "type" : "function";
    default:
        return type_names[value->kind];
    }
}

bool jinja_truthy(JinjaState *state, const JinjaValue *value)
{
    (void)state;
    switch (value->kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value->boolean;
    case JINJA_INT:
        return value->integer != 0;
    case JINJA_FLOAT:
        return value->number != 0;
    case JINJA_STRING:
        return value->string->length != 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return value->list->n != 0;
    case JINJA_DICT:
        return value->dict->n != 0;
    case JINJA_RANGE:
        return value->range->n != 0;
    case JINJA_VIEW:
        return value->view->dict->n != 0;
    default:
        return true;
    }
}

static int64_t as_integer(const JinjaValue *value)
{
    return value->kind == JINJA_BOOL ? value->boolean : value->integer;
}

/* Exact, as Python's: an integer is not rounded to a double first. 2: not a number. */
static int compare_numbers(const JinjaValue *a, const JinjaValue *b)
{
    if (a->kind != JINJA_FLOAT && b->kind != JINJA_FLOAT) {
        if (a->kind == JINJA_BIG || b->kind == JINJA_BIG) return jinja_big_compare(a, b);
        const int64_t x = as_integer(a), y = as_integer(b);
        return (x > y) - (x < y);
    }
    if (a->kind == JINJA_FLOAT && b->kind == JINJA_FLOAT) {
        if (isnan(a->number) || isnan(b->number)) return 2;
        return (a->number > b->number) - (a->number < b->number);
    }
    if (b->kind != JINJA_FLOAT) {
        const int swapped = compare_numbers(b, a);
        return swapped == 2 ? 2 : -swapped;
    }
    const double y = b->number;
    return isnan(y) ? 2 : jinja_big_compare_double(a, y);
}

bool jinja_identical(const JinjaValue *a, const JinjaValue *b)
{
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case JINJA_NONE:
    case JINJA_MISSING:
        return true;
    case JINJA_BOOL:
        return a->boolean == b->boolean;
    case JINJA_INT: /* CPython keeps one object for each small integer */
        return a->integer == b->integer && a->integer >= -5 && a->integer <= 256;
    case JINJA_FLOAT:
        return false;
    case JINJA_STRING:
        return a->string == b->string || (a->string->length <= 1 && jinja_same_string(a->string, b->string));
    default:
        return a->list == b->list;
    }
}

static bool equal_lists(JinjaState *state, const JinjaList *a, const JinjaList *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!jinja_matches(state, &a->items[i], &b->items[i])) return false;
    }
    return true;
}

static bool equal_dicts(JinjaState *state, const JinjaDict *a, const JinjaDict *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const JinjaValue *other = jinja_dict_find(state, b, &a->entries[i].key);
        if (other == NULL || !jinja_matches(state, &a->entries[i].value, other)) return false;
    }
    return true;
}

/* Views of keys and items compare as sets. */
static bool equal_views(JinjaState *state, const JinjaView *a, const JinjaView *b)
{
    if (a->part != b->part || a->part == JINJA_VALUES) return a == b;
    if (a->part == JINJA_ITEMS) return equal_dicts(state, a->dict, b->dict);
    if (a->dict->n != b->dict->n) return false;
    for (size_t i = 0; i < a->dict->n; i++) {
        if (jinja_dict_find(state, b->dict, &a->dict->entries[i].key) == NULL) return false;
    }
    return true;
}

static bool equal_containers(JinjaState *state, const JinjaValue *a, const JinjaValue *b)
{
    switch (a->kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_lists(state, a->list, b->list);
    case JINJA_DICT:
        return equal_dicts(state, a->dict, b->dict);
    default:
        return equal_views(state, a->view, b->view);
    }
}

bool jinja_equal(JinjaState *state, const JinjaValue *a, const JinjaValue *b)
{
    if (jinja_is_number(a) && jinja_is_number(b)) return compare_numbers(a, b) == 0;
    if (a->kind != b->kind) return false;
    if (!jinja_charge(state, 1)) return false;
    switch (a->kind) {
    case JINJA_NONE:
    case JINJA_UNDEFINED:
        return true;
    case JINJA_STRING:
        return jinja_same_string(a->string, b->string);
    case JINJA_RANGE:
        return a->range->n == b->range->n &&
               (a->range->n == 0 ||
                (a->range->start == b->range->start && (a->range->n == 1 || a->range->step == b->range->step)));
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_VIEW: {
        if (!jinja_enter(state)) return false;
        const bool equal = equal_containers(state, a, b);
        jinja_leave(state);
        return equal;
    }
    case JINJA_METHOD:
        return a->method->builtin == b->method->builtin && jinja_identical(&a->method->self, &b->method->self);
    default:
        return a->list == b->list;
    }
}

static bool order_strings(const JinjaString *a, const JinjaString *b, int *order)
{
    const size_t shorter = a->length < b->length ? a->length : b->length;
    const int difference = memcmp(a->data, b->data, shorter);
    *order = difference != 0 ? (difference > 0) - (difference < 0) : (a->length > b->length) - (a->length < b->length);
    return true;
}

static bool order_lists(JinjaState *state, const JinjaList *a, const JinjaList *b, const char *symbol, int *order)
{
    const size_t shorter = a->n < b->n ? a->n : b->n;
    for (size_t i = 0; i < shorter; i++) {
        if (jinja_matches(state, &a->items[i], &b->items[i])) continue;
        return jinja_order(state, &a->items[i], &b->items[i], symbol, order);
    }
    *order = (a->n > b->n) - (a->n < b->n);
    return true;
}

bool jinja_order(JinjaState *state, const JinjaValue *a, const JinjaValue *b, const char *symbol, int *order)
{
    *order = 0;
    if (!jinja_charge(state, 1)) return false;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *order = compare_numbers(a, b);
        return true;
    }
    if (a->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, a);
    if (b->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, b);
    if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) return order_strings(a->string, b->string, order);
    if (a->kind == b->kind && (a->kind == JINJA_LIST || a->kind == JINJA_TUPLE)) {
        if (!jinja_enter(state)) return false;
        const bool ok = order_lists(state, a->list, b->list, symbol, order);
        jinja_leave(state);
        return ok;
    }
    return jinja_raise(state, "'%s' not supported between instances of '%s' and '%s'", symbol, jinja_type_name(a),
                       jinja_type_name(b));
}

bool jinja_has_length(const JinjaValue *value)
{
    switch (value->kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_LOOP:
        return true;
    default:
        return false;
    }
}

bool jinja_length(JinjaState *state, const JinjaValue *value, size_t *out)
{
    *out = 0;
    switch (value->kind) {
    case JINJA_UNDEFINED:
        return true;
    case JINJA_STRING:
        if (!jinja_charge_bytes(state, value->string->n_chars == JINJA_UNCOUNTED ? value->string->length : 0))
            return false;
        *out = jinja_n_chars(value->string);
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *out = value->list->n;
        return true;
    case JINJA_DICT:
        *out = value->dict->n;
        return true;
    case JINJA_RANGE:
        *out = (size_t)value->range->n;
        return true;
    case JINJA_VIEW:
        *out = value->view->dict->n;
        return true;
    case JINJA_LOOP: {
        int64_t length;
        if (!jinja_loop_length(state, value->loop, &length)) return false;
        *out = (size_t)length;
        return true;
    }
    default:
        return jinja_raise(state, "object of type '%s' has no len()", jinja_type_name(value));
    }
}

bool jinja_is_iterable(const JinjaValue *value) { return jinja_has_length(value) || value->kind == JINJA_ITERATOR; }

/* Whether `needle` occurs in `hay`. Tags such as </think> are looked for whose first character is rare: a few searches
 * for that one come first. */
static bool string_contains(const JinjaString *hay, const JinjaString *needle)
{
    const char *at = hay->data, *end = at + hay->length;
    if (needle->length == 0) return true;
    for (int i = 0; i < 8; i++, at++) {
        if ((size_t)(end - at) < needle->length) return false;
        at = memchr(at, needle->data[0], (size_t)(end - at) - needle->length + 1);
        if (at == NULL) return false;
        if (jinja_same_bytes(at, needle->data, needle->length)) return true;
    }
    return memmem(at, (size_t)(end - at), needle->data, needle->length) != NULL;
}

static bool contains_by_iteration(JinjaState *state, const JinjaValue *container, const JinjaValue *item, bool *out)
{
    JinjaCursor cursor;
    if (!jinja_iterate(state, container, &cursor)) return false;
    JinjaValue element;
    for (;;) {
        const JinjaNext next = jinja_next(state, &cursor, &element);
        if (next == JINJA_NEXT_FAILED) return false;
        if (next == JINJA_NEXT_END) return true;
        if (jinja_matches(state, &element, item)) {
            *out = true;
            return true;
        }
        if (state->status != IMP_OK) return false;
    }
}

bool jinja_contains(JinjaState *state, const JinjaValue *container, const JinjaValue *item, bool *out)
{
    *out = false;
    switch (container->kind) {
    case JINJA_STRING:
        if (item->kind != JINJA_STRING) {
            return jinja_raise(state, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        }
        *out = string_contains(container->string, item->string);
        return jinja_charge_bytes(state, container->string->length);
    case JINJA_DICT:
        *out = jinja_dict_find(state, container->dict, item) != NULL;
        return state->status == IMP_OK;
    case JINJA_RANGE:
        if (item->kind == JINJA_BIG) return true;
        if (item->kind == JINJA_INT || item->kind == JINJA_BOOL) {
            const JinjaRange *range = container->range;
            const int64_t value = as_integer(item);
            const int64_t low = range->step > 0 ? range->start : range->start + (range->n - 1) * range->step;
            const int64_t high = range->step > 0 ? range->start + (range->n - 1) * range->step : range->start;
            *out = range->n > 0 && value >= low && value <= high && (value - range->start) % range->step == 0;
            return true;
        }
        return contains_by_iteration(state, container, item, out);
    case JINJA_LIST:
    case JINJA_TUPLE:
        for (size_t i = 0; i < container->list->n && !*out; i++) {
            *out = jinja_matches(state, &container->list->items[i], item);
        }
        return state->status == IMP_OK;
    case JINJA_VIEW:
        if (container->view->part == JINJA_KEYS) {
            *out = jinja_dict_find(state, container->view->dict, item) != NULL;
            return state->status == IMP_OK;
        }
        return contains_by_iteration(state, container, item, out);
    case JINJA_UNDEFINED:
        return true;
    default:
        if (jinja_is_iterable(container)) return contains_by_iteration(state, container, item, out);
        return jinja_raise(state, "argument of type '%s' is not iterable", jinja_type_name(container));
    }
}

/* As jinja2.utils.object_type_repr. */
static const char *object_type(JinjaState *state, const JinjaValue *object)
{
    static const char *const modules[JINJA_KINDS] = {
        [JINJA_UNDEFINED] = "jinja2.runtime.", [JINJA_NAMESPACE] = "jinja2.utils.", [JINJA_LOOP] = "jinja2.runtime.",
        [JINJA_MACRO] = "jinja2.runtime.",     [JINJA_CYCLER] = "jinja2.utils.",    [JINJA_JOINER] = "jinja2.utils.",
        [JINJA_SELF] = "jinja2.runtime.",      [JINJA_BLOCK] = "jinja2.runtime.",
    };
    if (object->kind == JINJA_NONE) return "None";
    const char *module = modules[object->kind] == NULL ? "" : modules[object->kind];
    if (object->kind == JINJA_STRING && object->string->markup) module = "markupsafe.";
    if (object->kind == JINJA_TUPLE && object->tag == 1) module = "jinja2.filters.";
    char *text = jinja_alloc(state, 96, 1);
    if (text == NULL) return "?";
    (void)snprintf(text, 96, "%s%s object", module, jinja_type_name(object));
    return text;
}

const char *jinja_undefined_message(JinjaState *state, const JinjaValue *value)
{
    const JinjaUndefined *undefined = value->undefined;
    if (undefined->hint != NULL) return undefined->hint;
    const char *name = jinja_repr_text(state, &undefined->name);
    const bool variable = undefined->object.kind == JINJA_MISSING, element = undefined->name.kind != JINJA_STRING;
    const char *type = variable ? "" : object_type(state, &undefined->object);
    const size_t room = strlen(name) + strlen(type) + 32;
    char *text = jinja_alloc(state, room, 1);
    if (text == NULL) return "?";
    if (variable) {
        (void)snprintf(text, room, "%s is undefined", name);
    } else {
        (void)snprintf(text, room, element ? "%s has no element %s" : "'%s' has no attribute %s", type, name);
    }
    return text;
}

bool jinja_fail_undefined(JinjaState *state, const JinjaValue *value)
{
    return jinja_raise(state, "%s", jinja_undefined_message(state, value));
}

bool jinja_index(JinjaState *state, const JinjaValue *value, int64_t *out)
{
    *out = 0;
    if (value->kind == JINJA_INT || value->kind == JINJA_BOOL) {
        *out = as_integer(value);
        return true;
    }
    if (value->kind == JINJA_BIG) return jinja_raise(state, "Python int too large to convert to C ssize_t");
    return jinja_raise(state, "'%s' object cannot be interpreted as an integer", jinja_type_name(value));
}

size_t jinja_n_chars(JinjaString *string)
{
    if (string->n_chars == JINJA_UNCOUNTED) string->n_chars = unicode_count(string->data, string->length);
    return string->n_chars;
}

/* ---- iteration ---- */

bool jinja_iterate(JinjaState *state, const JinjaValue *value, JinjaCursor *out)
{
    *out = (JinjaCursor){.kind = value->kind};
    switch (value->kind) {
    case JINJA_UNDEFINED:
        return true;
    case JINJA_STRING:
        out->string = value->string;
        out->n = value->string->length;
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
        out->kind = JINJA_LIST;
        out->items = value->list->items;
        out->n = value->list->n;
        return true;
    case JINJA_DICT:
        out->kind = JINJA_VIEW;
        out->dict = value->dict;
        out->part = JINJA_KEYS;
        out->n = value->dict->n;
        return true;
    case JINJA_VIEW:
        out->dict = value->view->dict;
        out->part = value->view->part;
        out->n = value->view->dict->n;
        return true;
    case JINJA_RANGE:
        out->range = value->range;
        out->n = (size_t)value->range->n;
        return true;
    case JINJA_ITERATOR:
        out->iterator = value->iterator;
        return true;
    case JINJA_LOOP:
        out->loop = value->loop;
        return true;
    default:
        return jinja_raise(state, "'%s' object is not iterable", jinja_type_name(value));
    }
}

static JinjaNext next_char(JinjaState *state, JinjaCursor *cursor, JinjaValue *out)
{
    const char *at = cursor->string->data + cursor->position;
    size_t width;
    (void)unicode_decode(at, cursor->string->data + cursor->n, &width);
    cursor->position += width;
    if (!jinja_view(state, at, width, out)) return JINJA_NEXT_FAILED;
    out->string->n_chars = 1;
    return JINJA_NEXT_ITEM;
}

JinjaNext jinja_next(JinjaState *state, JinjaCursor *cursor, JinjaValue *out)
{
    if (!jinja_charge(state, 1)) return JINJA_NEXT_FAILED;
    if (cursor->kind == JINJA_ITERATOR) {
        JinjaIterator *iterator = cursor->iterator;
        if (iterator->done) return JINJA_NEXT_END;
        if (!jinja_enter(state)) return JINJA_NEXT_FAILED;
        const JinjaNext next = iterator->next(state, iterator, out);
        jinja_leave(state);
        if (next != JINJA_NEXT_ITEM) iterator->done = true;
        return next;
    }
    if (cursor->kind == JINJA_LOOP) {
        JinjaValue item;
        const JinjaNext next = jinja_loop_next(state, cursor->loop, &item);
        if (next != JINJA_NEXT_ITEM) return next;
        const JinjaValue loop = {.kind = JINJA_LOOP, .loop = cursor->loop};
        return jinja_pair(state, item, loop, out) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
    }
    if (cursor->position >= cursor->n) return JINJA_NEXT_END;
    if (cursor->kind == JINJA_STRING) return next_char(state, cursor, out);
    const size_t at = cursor->position++;
    if (cursor->kind == JINJA_LIST) {
        *out = cursor->items[at];
    } else if (cursor->kind == JINJA_RANGE) {
        *out = jinja_int(cursor->range->start + (int64_t)at * cursor->range->step);
    } else {
        const JinjaEntry *entry = &cursor->dict->entries[at];
        if (cursor->part == JINJA_ITEMS) {
            return jinja_pair(state, entry->key, entry->value, out) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
        }
        *out = cursor->part == JINJA_KEYS ? entry->key : entry->value;
    }
    return JINJA_NEXT_ITEM;
}

bool jinja_collect(JinjaState *state, const JinjaValue *value, JinjaItems *out)
{
    *out = (JinjaItems){0};
    JinjaCursor cursor;
    if (!jinja_iterate(state, value, &cursor)) return false;
    JinjaValue item;
    for (;;) {
        const JinjaNext next = jinja_next(state, &cursor, &item);
        if (next == JINJA_NEXT_END) return true;
        if (next == JINJA_NEXT_FAILED || !jinja_push(state, out, item)) return false;
    }
}

bool jinja_iterator(JinjaState *state, const char *type_name,
                    JinjaNext (*next)(JinjaState *, JinjaIterator *, JinjaValue *), void *private_data, JinjaValue *out)
{
    JinjaIterator *iterator = jinja_alloc(state, 1, sizeof *iterator);
    if (iterator == NULL) return false;
    iterator->next = next;
    iterator->type_name = type_name;
    iterator->private_data = private_data;
    *out = (JinjaValue){.kind = JINJA_ITERATOR, .iterator = iterator};
    return true;
}
