/*
 * filters_sequence.c - filters over sequences and mappings.
 *
 * map, select, reject, unique, batch, slice, items and reverse give iterators, as generators do in Jinja2: they compute
 * an item when it is asked for, can be walked once, are always true and have no length.
 */
#include "text/template/builtins.h"
#include "text/template/operators.h"
#include "text/template/sort.h"
#include "text/template/unicode.h"

#include <stdio.h>

#define FILTER(name)                                                                                                   \
    static bool name(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, JinjaValue *out)

static bool truthy_argument(JinjaState *state, const JinjaValue *argument)
{
    return argument->kind != JINJA_MISSING && jinja_truthy(state, argument);
}

/* ---- attribute paths: "a.b.0" ---- */

typedef struct Path {
    JinjaValue *parts;
    size_t n;
    bool lower;               /* compare without case */
    JinjaValue default_value; /* JINJA_MISSING or none: no default */
} Path;

static bool is_all_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
    }
    return length > 0 && length < 18;
}

static bool make_path(JinjaState *state, const JinjaValue *attribute, bool lower, Path *out)
{
    *out = (Path){.lower = lower};
    if (attribute->kind == JINJA_MISSING || attribute->kind == JINJA_NONE) return true;
    if (attribute->kind != JINJA_STRING) {
        out->parts = jinja_alloc(state, 1, sizeof *out->parts);
        if (out->parts == NULL) return false;
        out->parts[0] = *attribute;
        out->n = 1;
        return true;
    }
    const JinjaString *text = attribute->string;
    JinjaItems parts = {0};
    for (size_t start = 0; start <= text->length;) {
        const char *dot = memchr(text->data + start, '.', text->length - start);
        const size_t end = dot == NULL ? text->length : (size_t)(dot - text->data);
        JinjaValue part;
        if (is_all_digits(text->data + start, end - start)) {
            int64_t index = 0;
            for (size_t i = start; i < end; i++) index = index * 10 + (text->data[i] - '0');
            part = jinja_int(index);
        } else if (!jinja_view(state, text->data + start, end - start, &part)) {
            return false;
        }
        if (!jinja_push(state, &parts, part)) return false;
        start = end + 1;
    }
    out->parts = parts.items;
    out->n = parts.n;
    return true;
}

static bool follow_path(JinjaState *state, const Path *path, const JinjaValue *item, JinjaValue *out)
{
    JinjaValue value = *item;
    for (size_t i = 0; i < path->n; i++) {
        JinjaValue next;
        if (!jinja_charge(state, 1) || !jinja_get_item(state, &value, &path->parts[i], &next)) return false;
        const bool has_default = path->default_value.kind != JINJA_MISSING && path->default_value.kind != JINJA_NONE;
        value = has_default && next.kind == JINJA_UNDEFINED ? path->default_value : next;
    }
    if (path->lower && value.kind == JINJA_STRING) return jinja_lower(state, value.string, out);
    *out = value;
    return true;
}

/* ---- iterators ---- */

static bool start_iterator(JinjaState *state, JinjaIterator *iterator, const JinjaValue *source)
{
    if (iterator->started) return true;
    iterator->started = true;
    return jinja_iterate(state, source, &iterator->source);
}

typedef struct MapState {
    JinjaValue source;
    JinjaArguments arguments;
    JinjaArguments rest; /* for the filter or test */
    Path path;
    JinjaValue name; /* of the filter or test; missing: none */
    bool by_attribute, negate, is_select, is_attribute_select;
} MapState;

static bool copy_arguments(JinjaState *state, const JinjaArguments *from, JinjaArguments *to)
{
    JinjaValue *positional = jinja_alloc(state, from->n_positional, sizeof *positional);
    JinjaNamed *named = jinja_alloc(state, from->n_named, sizeof *named);
    if (positional == NULL || named == NULL) return false;
    for (size_t i = 0; i < from->n_positional; i++) positional[i] = from->positional[i];
    for (size_t i = 0; i < from->n_named; i++) named[i] = from->named[i];
    *to = (JinjaArguments){positional, from->n_positional, named, from->n_named};
    return true;
}

static bool is_named(const JinjaNamed *named, const char *name)
{
    return named->name->length == strlen(name) && memcmp(named->name->data, name, named->name->length) == 0;
}

/* map(attribute=…, default=…) */
static bool prepare_attribute_map(JinjaState *state, MapState *map)
{
    JinjaValue attribute = jinja_missing(), fallback = jinja_missing();
    const JinjaNamed *unexpected = NULL;
    for (size_t i = 0; i < map->arguments.n_named; i++) {
        const JinjaNamed *named = &map->arguments.named[i];
        if (is_named(named, "attribute")) {
            attribute = named->value;
        } else if (is_named(named, "default")) {
            fallback = named->value;
        } else if (unexpected == NULL) {
            unexpected = named;
        }
    }
    if (unexpected != NULL) {
        const JinjaValue name = {.kind = JINJA_STRING, .string = unexpected->name};
        return jinja_raise(state, "Unexpected keyword argument %s", jinja_repr_text(state, &name));
    }
    map->by_attribute = true;
    if (!make_path(state, &attribute, false, &map->path)) return false;
    map->path.default_value = fallback;
    return true;
}

/* The name of a filter or test, from argument number `at`. */
static void take_name(MapState *map, size_t at)
{
    map->name = map->arguments.positional[at];
    map->rest = map->arguments;
    map->rest.positional += at + 1;
    map->rest.n_positional -= at + 1;
}

/* Jinja2 looks for a name in its tables, of any kind as long as it is hashable, when it has the first item. */
static bool raise_unknown(JinjaState *state, const MapState *map)
{
    const JinjaDict empty = {0};
    (void)jinja_dict_find(state, &empty, &map->name);
    const char *kind = map->is_select ? "test" : "filter";
    if (map->name.kind == JINJA_UNDEFINED) {
        return jinja_raise(state, "No %s named Undefined. (%s; did you forget to quote the callable name?)", kind,
                           jinja_undefined_message(state, &map->name));
    }
    return jinja_raise(state, "No %s named %s.", kind, jinja_repr_text(state, &map->name));
}

static bool apply_named(JinjaState *state, const MapState *map, const JinjaValue *item, JinjaValue *out)
{
    if (map->name.kind != JINJA_STRING) return raise_unknown(state, map);
    return jinja_apply(state, map->is_select, map->name.string, item, &map->rest, out);
}

static bool prepare_map(JinjaState *state, MapState *map)
{
    for (size_t i = 0; map->arguments.n_positional == 0 && i < map->arguments.n_named; i++) {
        if (is_named(&map->arguments.named[i], "attribute")) return prepare_attribute_map(state, map);
    }
    if (map->arguments.n_positional == 0) return jinja_raise(state, "map requires a filter argument");
    take_name(map, 0);
    return true;
}

static bool prepare_select(JinjaState *state, MapState *map)
{
    size_t at = 0;
    if (map->is_attribute_select) {
        if (map->arguments.n_positional == 0) return jinja_raise(state, "Missing parameter for attribute name");
        if (!make_path(state, &map->arguments.positional[0], false, &map->path)) return false;
        at = 1;
    }
    if (map->arguments.n_positional > at) take_name(map, at);
    return true;
}

/* What Jinja2's generators do before their first item: nothing at all for a false value. */
static JinjaNext start_map(JinjaState *state, JinjaIterator *iterator, MapState *map)
{
    if (iterator->started) return JINJA_NEXT_ITEM;
    if (!jinja_truthy(state, &map->source)) return JINJA_NEXT_END;
    if (!(map->is_select ? prepare_select(state, map) : prepare_map(state, map))) return JINJA_NEXT_FAILED;
    return start_iterator(state, iterator, &map->source) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
}

static JinjaNext next_mapped(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    MapState *map = iterator->private_data;
    JinjaValue item;
    JinjaNext next = start_map(state, iterator, map);
    if (next == JINJA_NEXT_ITEM) next = jinja_next(state, &iterator->source, &item);
    if (next != JINJA_NEXT_ITEM) return next;
    const bool ok =
        map->by_attribute ? follow_path(state, &map->path, &item, out) : apply_named(state, map, &item, out);
    return ok ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
}

static JinjaNext next_selected(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    MapState *map = iterator->private_data;
    JinjaNext next = start_map(state, iterator, map);
    while (next == JINJA_NEXT_ITEM) {
        JinjaValue tested, verdict;
        next = jinja_next(state, &iterator->source, out);
        if (next != JINJA_NEXT_ITEM) break;
        if (!follow_path(state, &map->path, out, &tested)) return JINJA_NEXT_FAILED;
        verdict = tested;
        if (map->name.kind != JINJA_MISSING && !apply_named(state, map, &tested, &verdict)) return JINJA_NEXT_FAILED;
        if (jinja_truthy(state, &verdict) != map->negate) return JINJA_NEXT_ITEM;
    }
    return next;
}

static bool make_map(JinjaState *state, const JinjaValue *value, const JinjaArguments *arguments, MapState kind,
                     JinjaValue *out)
{
    MapState *map = jinja_alloc(state, 1, sizeof *map);
    if (map == NULL) return false;
    *map = kind;
    map->source = *value;
    map->name = jinja_missing();
    if (!copy_arguments(state, arguments, &map->arguments)) return false;
    return jinja_iterator(state, "generator", kind.is_select ? next_selected : next_mapped, map, out);
}

#define RAW_FILTER(name)                                                                                               \
    static bool name(JinjaState *state, const JinjaValue *value, const JinjaArguments *arguments, JinjaValue *out)

RAW_FILTER(filter_map) { return make_map(state, value, arguments, (MapState){0}, out); }
RAW_FILTER(filter_select) { return make_map(state, value, arguments, (MapState){.is_select = true}, out); }
RAW_FILTER(filter_reject)
{
    return make_map(state, value, arguments, (MapState){.is_select = true, .negate = true}, out);
}
RAW_FILTER(filter_selectattr)
{
    return make_map(state, value, arguments, (MapState){.is_select = true, .is_attribute_select = true}, out);
}
RAW_FILTER(filter_rejectattr)
{
    return make_map(state, value, arguments, (MapState){.is_select = true, .is_attribute_select = true, .negate = true},
                    out);
}

typedef struct UniqueState {
    JinjaValue source;
    Path path;
    JinjaDict *seen;
} UniqueState;

static JinjaNext next_unique(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    UniqueState *unique = iterator->private_data;
    if (!start_iterator(state, iterator, &unique->source)) return JINJA_NEXT_FAILED;
    for (;;) {
        JinjaValue key;
        const JinjaNext next = jinja_next(state, &iterator->source, out);
        if (next != JINJA_NEXT_ITEM) return next;
        if (!follow_path(state, &unique->path, out, &key)) return JINJA_NEXT_FAILED;
        const bool seen = jinja_dict_find(state, unique->seen, &key) != NULL;
        if (state->status != IMP_OK) return JINJA_NEXT_FAILED;
        if (seen) continue;
        return jinja_dict_set(state, unique->seen, key, jinja_none()) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
    }
}

FILTER(filter_unique)
{
    UniqueState *unique = jinja_alloc(state, 1, sizeof *unique);
    JinjaValue seen;
    if (unique == NULL || !jinja_dict(state, 0, &seen)) return false;
    unique->source = *value;
    unique->seen = seen.dict;
    if (!make_path(state, &arguments[1], !truthy_argument(state, &arguments[0]), &unique->path)) return false;
    return jinja_iterator(state, "generator", next_unique, unique, out);
}

typedef struct ChunkState {
    JinjaValue source, count, fill;
    JinjaItems items; /* slice: all of them; batch: one that was read ahead */
    int64_t at, offset;
} ChunkState;

static bool push_fill(JinjaState *state, JinjaItems *items, const JinjaValue *fill)
{
    return fill->kind == JINJA_MISSING || fill->kind == JINJA_NONE || jinja_push(state, items, *fill);
}

static bool list_of(JinjaState *state, const JinjaItems *items, JinjaValue *out)
{
    if (!jinja_list(state, items->n, out)) return false;
    if (items->n > 0) memcpy(out->list->items, items->items, items->n * sizeof *items->items);
    return true;
}

/* The last batch, filled up to its count: Python compares and subtracts with whatever the count is. */
static bool fill_batch(JinjaState *state, const ChunkState *chunk, JinjaItems *items)
{
    if (chunk->fill.kind == JINJA_MISSING || chunk->fill.kind == JINJA_NONE) return true;
    const JinjaValue n_items = jinja_int((int64_t)items->n);
    JinjaValue lacking;
    bool short_of = false;
    int64_t n = 0;
    if (!jinja_compare(state, OPERATOR_LESS, &n_items, &chunk->count, &short_of)) return false;
    if (!short_of) return true;
    if (!jinja_operate(state, OPERATOR_SUBTRACT, &chunk->count, &n_items, &lacking)) return false;
    if (lacking.kind == JINJA_FLOAT) return jinja_raise(state, "can't multiply sequence by non-int of type 'float'");
    if (!jinja_index(state, &lacking, &n)) return false;
    for (int64_t i = 0; i < n; i++) {
        if (!jinja_charge(state, 1) || !jinja_push(state, items, chunk->fill)) return false;
    }
    return true;
}

static JinjaNext next_batch(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    ChunkState *chunk = iterator->private_data;
    const bool first = !iterator->started;
    if (!start_iterator(state, iterator, &chunk->source)) return JINJA_NEXT_FAILED;
    JinjaItems items = {0};
    JinjaValue size = jinja_int(0);
    if (first && jinja_equal(state, &size, &chunk->count)) {
        /* Batches of none: an empty one before the first item, and then all. */
        JinjaValue item;
        const JinjaNext next = jinja_next(state, &iterator->source, &item);
        if (next != JINJA_NEXT_ITEM) return next;
        if (!jinja_push(state, &chunk->items, item)) return JINJA_NEXT_FAILED;
        return list_of(state, &items, out) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
    }
    if (chunk->items.n > 0) {
        items = chunk->items;
        chunk->items = (JinjaItems){0};
    }
    for (;;) {
        JinjaValue item;
        size = jinja_int((int64_t)items.n);
        /* A batch is given when the next item comes, so that an exact multiple leaves no empty one. */
        if (items.n > 0 && jinja_equal(state, &size, &chunk->count)) break;
        const JinjaNext next = jinja_next(state, &iterator->source, &item);
        if (next == JINJA_NEXT_FAILED || (next == JINJA_NEXT_END && items.n == 0)) return next;
        if (next == JINJA_NEXT_END) {
            if (!fill_batch(state, chunk, &items)) return JINJA_NEXT_FAILED;
            break;
        }
        if (!jinja_push(state, &items, item)) return JINJA_NEXT_FAILED;
    }
    return list_of(state, &items, out) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
}

static JinjaNext next_slice(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    ChunkState *chunk = iterator->private_data;
    int64_t slices;
    if (!iterator->started) {
        iterator->started = true;
        if (!jinja_collect(state, &chunk->source, &chunk->items)) return JINJA_NEXT_FAILED;
    }
    /* Python divides first, whatever the count is, and asks for an integer then. */
    const JinjaValue n_items = jinja_int((int64_t)chunk->items.n);
    JinjaValue quotient;
    if (!jinja_operate(state, OPERATOR_FLOOR_DIVIDE, &n_items, &chunk->count, &quotient) ||
        !jinja_index(state, &chunk->count, &slices)) {
        return JINJA_NEXT_FAILED;
    }
    if (chunk->at >= slices) return JINJA_NEXT_END;
    const int64_t length = (int64_t)chunk->items.n, size = length / slices, extra = length % slices;
    const int64_t start = chunk->offset + chunk->at * size;
    if (chunk->at < extra) chunk->offset++;
    const int64_t end = chunk->offset + (chunk->at + 1) * size;
    JinjaItems items = {0};
    for (int64_t i = start; i < end; i++) {
        if (!jinja_push(state, &items, chunk->items.items[i])) return JINJA_NEXT_FAILED;
    }
    if (chunk->at >= extra && !push_fill(state, &items, &chunk->fill)) return JINJA_NEXT_FAILED;
    chunk->at++;
    return list_of(state, &items, out) ? JINJA_NEXT_ITEM : JINJA_NEXT_FAILED;
}

static bool make_chunks(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, bool slice,
                        JinjaValue *out)
{
    ChunkState *chunk = jinja_alloc(state, 1, sizeof *chunk);
    if (chunk == NULL) return false;
    *chunk = (ChunkState){.source = *value, .count = arguments[0], .fill = arguments[1]};
    return jinja_iterator(state, "generator", slice ? next_slice : next_batch, chunk, out);
}

FILTER(filter_batch) { return make_chunks(state, value, arguments, false, out); }
FILTER(filter_slice) { return make_chunks(state, value, arguments, true, out); }

static JinjaNext next_item(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    const JinjaValue *source = iterator->private_data;
    if (!iterator->started && source->kind != JINJA_DICT && source->kind != JINJA_UNDEFINED) {
        (void)jinja_raise(state, "Can only get item pairs from a mapping.");
        return JINJA_NEXT_FAILED;
    }
    if (!start_iterator(state, iterator, source)) return JINJA_NEXT_FAILED;
    if (source->kind == JINJA_DICT) iterator->source.part = JINJA_ITEMS;
    return jinja_next(state, &iterator->source, out);
}

FILTER(filter_items)
{
    (void)arguments;
    JinjaValue *source = jinja_alloc(state, 1, sizeof *source);
    if (source == NULL) return false;
    *source = *value;
    return jinja_iterator(state, "generator", next_item, source, out);
}

static JinjaNext next_of_source(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    return jinja_next(state, &iterator->source, out);
}

FILTER(filter_reverse)
{
    (void)arguments;
    JinjaItems items;
    const JinjaValue none = jinja_none(), back = jinja_int(-1);
    if (value->kind == JINJA_STRING) return jinja_slice(state, value, &none, &none, &back, out);
    if (!jinja_is_iterable(value)) return jinja_raise(state, "argument must be iterable");
    if (!jinja_collect(state, value, &items)) return false;
    for (size_t i = 0; i < items.n / 2; i++) {
        const JinjaValue swapped = items.items[i];
        items.items[i] = items.items[items.n - 1 - i];
        items.items[items.n - 1 - i] = swapped;
    }
    if (value->kind == JINJA_ITERATOR || value->kind == JINJA_LOOP) return list_of(state, &items, out);
    const char *type = value->kind == JINJA_LIST    ? "list_reverseiterator"
                       : value->kind == JINJA_RANGE ? "range_iterator"
                       : value->kind == JINJA_DICT  ? "dict_reversekeyiterator"
                       : value->kind == JINJA_VIEW  ? (value->view->part == JINJA_KEYS     ? "dict_reversekeyiterator"
                                                       : value->view->part == JINJA_VALUES ? "dict_reversevalueiterator"
                                                                                           : "dict_reverseitemiterator")
                                                    : "reversed";
    if (!jinja_iterator(state, type, next_of_source, NULL, out)) return false;
    out->iterator->source = (JinjaCursor){.kind = JINJA_LIST, .items = items.items, .n = items.n};
    return true;
}

/* ---- order ---- */

/* sorted() wants an integer, and says so once it has the items. */
static bool sort_direction(JinjaState *state, const JinjaValue *argument, int64_t *out)
{
    return argument->kind == JINJA_MISSING || jinja_index(state, argument, out);
}

FILTER(filter_sort)
{
    JinjaItems items;
    int64_t reverse = 0;
    const bool lower = !truthy_argument(state, &arguments[1]);
    const JinjaValue *attribute = &arguments[2];
    JinjaItems paths = {0};
    if (attribute->kind == JINJA_STRING) {
        const JinjaString *text = attribute->string;
        for (size_t start = 0; start <= text->length;) {
            const char *comma = memchr(text->data + start, ',', text->length - start);
            const size_t end = comma == NULL ? text->length : (size_t)(comma - text->data);
            JinjaValue part;
            if (!jinja_view(state, text->data + start, end - start, &part) || !jinja_push(state, &paths, part))
                return false;
            start = end + 1;
        }
    } else if (!jinja_push(state, &paths, *attribute)) {
        return false;
    }
    if (!jinja_collect(state, value, &items) || !sort_direction(state, &arguments[0], &reverse)) return false;
    JinjaValue *keys = jinja_alloc(state, items.n, sizeof *keys);
    Path *steps = jinja_alloc(state, paths.n, sizeof *steps);
    if (keys == NULL || steps == NULL) return false;
    for (size_t j = 0; j < paths.n; j++) {
        if (!make_path(state, &paths.items[j], lower, &steps[j])) return false;
    }
    for (size_t i = 0; i < items.n; i++) {
        if (!jinja_list(state, paths.n, &keys[i])) return false;
        for (size_t j = 0; j < paths.n; j++) {
            if (!follow_path(state, &steps[j], &items.items[i], &keys[i].list->items[j])) return false;
        }
    }
    return jinja_sort(state, items.items, keys, items.n, reverse != 0) && list_of(state, &items, out);
}

bool jinja_fail_items(JinjaState *state, const JinjaValue *value)
{
    if (value->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, value);
    if (value->kind == JINJA_NAMESPACE) return jinja_raise(state, "items");
    return jinja_raise(state, "'%s' object has no attribute 'items'", jinja_type_name(value));
}

FILTER(filter_dictsort)
{
    const bool lower = !truthy_argument(state, &arguments[0]);
    int64_t reverse = 0;
    bool by_value = false;
    if (arguments[1].kind != JINJA_MISSING) {
        const JinjaString *by = arguments[1].kind == JINJA_STRING ? arguments[1].string : NULL;
        by_value = by != NULL && by->length == 5 && memcmp(by->data, "value", 5) == 0;
        if (!by_value && !(by != NULL && by->length == 3 && memcmp(by->data, "key", 3) == 0)) {
            return jinja_raise(state, "You can only sort by either \"key\" or \"value\"");
        }
    }
    if (value->kind != JINJA_DICT) return jinja_fail_items(state, value);
    if (!sort_direction(state, &arguments[2], &reverse)) return false;
    const size_t n = value->dict->n;
    JinjaItems items = {.items = jinja_alloc(state, n, sizeof(JinjaValue)), .n = n};
    JinjaValue *keys = jinja_alloc(state, n, sizeof *keys);
    if (items.items == NULL || keys == NULL) return false;
    for (size_t i = 0; i < n; i++) {
        const JinjaEntry *entry = &value->dict->entries[i];
        if (!jinja_pair(state, entry->key, entry->value, &items.items[i])) return false;
        keys[i] = by_value ? entry->value : entry->key;
        if (lower && keys[i].kind == JINJA_STRING && !jinja_lower(state, keys[i].string, &keys[i])) return false;
    }
    return jinja_sort(state, items.items, keys, n, reverse != 0) && list_of(state, &items, out);
}

static bool extreme(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, bool largest,
                    JinjaValue *out)
{
    Path path;
    JinjaCursor cursor;
    JinjaValue best_key = jinja_missing(), item, key;
    if (!make_path(state, &arguments[1], !truthy_argument(state, &arguments[0]), &path)) return false;
    if (!jinja_iterate(state, value, &cursor)) return false;
    for (;;) {
        const JinjaNext next = jinja_next(state, &cursor, &item);
        if (next == JINJA_NEXT_FAILED) return false;
        if (next == JINJA_NEXT_END) break;
        if (!follow_path(state, &path, &item, &key)) return false;
        int order = 0;
        if (best_key.kind != JINJA_MISSING && !jinja_order(state, &key, &best_key, largest ? ">" : "<", &order))
            return false;
        if (best_key.kind == JINJA_MISSING || (order != 2 && (largest ? order > 0 : order < 0))) {
            best_key = key;
            *out = item;
        }
    }
    return best_key.kind != JINJA_MISSING ||
           jinja_undefined_hint(state, "No aggregated item, sequence was empty.", out);
}

FILTER(filter_min) { return extreme(state, value, arguments, false, out); }
FILTER(filter_max) { return extreme(state, value, arguments, true, out); }

static bool push_group(JinjaState *state, JinjaItems *groups, const JinjaValue *key, const JinjaItems *members)
{
    JinjaValue list, group;
    if (!list_of(state, members, &list) || !jinja_pair(state, *key, list, &group)) return false;
    group.tag = 1;
    return jinja_push(state, groups, group);
}

FILTER(filter_groupby)
{
    Path path, shown;
    JinjaItems items, groups = {0}, members = {0};
    const bool lower = !truthy_argument(state, &arguments[2]);
    if (!make_path(state, &arguments[0], lower, &path) || !make_path(state, &arguments[0], false, &shown)) return false;
    path.default_value = shown.default_value = arguments[1];
    if (!jinja_collect(state, value, &items)) return false;
    JinjaValue *keys = jinja_alloc(state, items.n, sizeof *keys);
    if (keys == NULL) return false;
    for (size_t i = 0; i < items.n; i++) {
        if (!follow_path(state, &path, &items.items[i], &keys[i])) return false;
    }
    if (!jinja_sort(state, items.items, keys, items.n, false)) return false;
    JinjaValue group_key = jinja_none();
    for (size_t i = 0; i < items.n; i++) {
        if (i > 0 && !jinja_equal(state, &keys[i], &keys[i - 1])) {
            if (!push_group(state, &groups, &group_key, &members)) return false;
            members = (JinjaItems){0};
        }
        if (members.n == 0 && !follow_path(state, &shown, &items.items[i], &group_key)) return false;
        if (!jinja_push(state, &members, items.items[i])) return false;
    }
    if (members.n > 0 && !push_group(state, &groups, &group_key, &members)) return false;
    return state->status == IMP_OK && list_of(state, &groups, out);
}

/* ---- single values ---- */

FILTER(filter_length)
{
    (void)arguments;
    size_t length;
    if (!jinja_length(state, value, &length)) return false;
    *out = jinja_int((int64_t)length);
    return true;
}

FILTER(filter_list)
{
    (void)arguments;
    JinjaItems items;
    return jinja_collect(state, value, &items) && list_of(state, &items, out);
}

FILTER(filter_first)
{
    (void)arguments;
    JinjaCursor cursor;
    if (!jinja_iterate(state, value, &cursor)) return false;
    const JinjaNext next = jinja_next(state, &cursor, out);
    if (next == JINJA_NEXT_END) return jinja_undefined_hint(state, "No first item, sequence was empty.", out);
    return next == JINJA_NEXT_ITEM;
}

FILTER(filter_last)
{
    (void)arguments;
    size_t length;
    const JinjaValue index = jinja_int(-1);
    if (value->kind == JINJA_ITERATOR || value->kind == JINJA_LOOP || !jinja_has_length(value)) {
        return jinja_raise(state, "'%s' object is not reversible", jinja_type_name(value));
    }
    if (!jinja_length(state, value, &length)) return false;
    if (length == 0) return jinja_undefined_hint(state, "No last item, sequence was empty.", out);
    if (value->kind != JINJA_DICT && value->kind != JINJA_VIEW) return jinja_get_item(state, value, &index, out);
    JinjaCursor cursor;
    if (!jinja_iterate(state, value, &cursor)) return false;
    cursor.position = cursor.n - 1;
    return jinja_next(state, &cursor, out) == JINJA_NEXT_ITEM;
}

/* Any item will do: nothing can depend on which. */
FILTER(filter_random)
{
    (void)arguments;
    size_t length;
    if (!jinja_length(state, value, &length)) return false;
    if (length == 0) return jinja_undefined_hint(state, "No random item, sequence was empty.", out);
    const JinjaValue index = jinja_int((int64_t)(state->seed % length));
    return jinja_get_item(state, value, &index, out);
}

FILTER(filter_join)
{
    Path path;
    JinjaItems items;
    JinjaValue separator, source = *value;
    if (arguments[0].kind == JINJA_MISSING ? !jinja_text(state, "", &separator)
                                           : !jinja_to_string(state, &arguments[0], &separator)) {
        return false;
    }
    if (arguments[1].kind != JINJA_MISSING && arguments[1].kind != JINJA_NONE) {
        if (!make_path(state, &arguments[1], false, &path) || !jinja_collect(state, value, &items)) return false;
        for (size_t i = 0; i < items.n; i++) {
            if (!follow_path(state, &path, &items.items[i], &items.items[i])) return false;
        }
        if (!list_of(state, &items, &source)) return false;
    }
    return jinja_join(state, separator.string, &source, true, out);
}

FILTER(filter_sum)
{
    Path path;
    JinjaCursor cursor;
    JinjaValue total = arguments[1].kind == JINJA_MISSING ? jinja_int(0) : arguments[1], item, term;
    if (!make_path(state, &arguments[0], false, &path) || !jinja_iterate(state, value, &cursor)) return false;
    if (total.kind == JINJA_STRING) return jinja_raise(state, "sum() can't sum strings [use ''.join(seq) instead]");
    for (;;) {
        const JinjaNext next = jinja_next(state, &cursor, &item);
        if (next == JINJA_NEXT_FAILED) return false;
        if (next == JINJA_NEXT_END) break;
        if (!follow_path(state, &path, &item, &term) || !jinja_add(state, &total, &term, &item)) return false;
        total = item;
    }
    *out = total;
    return true;
}

#define GENERATOR(filter_name)                                                                                         \
    {                                                                                                                  \
        .name = #filter_name, .n_parameters = JINJA_VARIADIC, .raw = filter_##filter_name                              \
    }
#define PLAIN(filter_name, python, hidden_count)                                                                       \
    {                                                                                                                  \
        .name = #filter_name, .python_name = python, .hidden = hidden_count, .call = filter_##filter_name              \
    }

static const JinjaBuiltin filters[] = {
    {.name = "length", .python_name = "len", .style = JINJA_C_STYLE, .hidden = 1, .call = filter_length},
    {.name = "count", .python_name = "len", .style = JINJA_C_STYLE, .hidden = 1, .call = filter_length},
    {.name = "join",
     .python_name = "sync_do_join",
     .hidden = 2,
     .n_parameters = 2,
     .parameters = {"d", "attribute"},
     .call = filter_join},
    PLAIN(first, "sync_do_first", 2),
    PLAIN(last, "do_last", 2),
    PLAIN(list, "sync_do_list", 1),
    PLAIN(items, "do_items", 1),
    PLAIN(reverse, "do_reverse", 1),
    PLAIN(random, "do_random", 2),
    GENERATOR(map),
    GENERATOR(select),
    GENERATOR(reject),
    GENERATOR(selectattr),
    GENERATOR(rejectattr),
    {.name = "unique",
     .python_name = "sync_do_unique",
     .hidden = 2,
     .n_parameters = 2,
     .parameters = {"case_sensitive", "attribute"},
     .call = filter_unique},
    {.name = "batch",
     .python_name = "do_batch",
     .hidden = 1,
     .n_required = 1,
     .n_parameters = 2,
     .parameters = {"linecount", "fill_with"},
     .call = filter_batch},
    {.name = "slice",
     .python_name = "sync_do_slice",
     .hidden = 1,
     .n_required = 1,
     .n_parameters = 2,
     .parameters = {"slices", "fill_with"},
     .call = filter_slice},
    {.name = "sort",
     .python_name = "do_sort",
     .hidden = 2,
     .n_parameters = 3,
     .parameters = {"reverse", "case_sensitive", "attribute"},
     .call = filter_sort},
    {.name = "dictsort",
     .python_name = "do_dictsort",
     .hidden = 1,
     .n_parameters = 3,
     .parameters = {"case_sensitive", "by", "reverse"},
     .call = filter_dictsort},
    {.name = "min",
     .python_name = "do_min",
     .hidden = 2,
     .n_parameters = 2,
     .parameters = {"case_sensitive", "attribute"},
     .call = filter_min},
    {.name = "max",
     .python_name = "do_max",
     .hidden = 2,
     .n_parameters = 2,
     .parameters = {"case_sensitive", "attribute"},
     .call = filter_max},
    {.name = "groupby",
     .python_name = "sync_do_groupby",
     .hidden = 2,
     .n_required = 1,
     .n_parameters = 3,
     .parameters = {"attribute", "default", "case_sensitive"},
     .call = filter_groupby},
    {.name = "sum",
     .python_name = "sync_do_sum",
     .hidden = 2,
     .n_parameters = 2,
     .parameters = {"attribute", "start"},
     .call = filter_sum},
};

const JinjaBuiltinTable jinja_sequence_filters = {filters, sizeof filters / sizeof *filters};
