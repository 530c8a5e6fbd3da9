/*
 * container_methods.c - the methods of lists, tuples, dictionaries, ranges, numbers and cyclers. Those that would
 * change their object are listed as forbidden: the sandbox refuses them.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/number.h"

#include <math.h>
#include <stdio.h>

#define METHOD(name)                                                                                                   \
    static bool name(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, JinjaValue *out)
#define FORBIDDEN(method_name)                                                                                         \
    {                                                                                                                  \
        .name = method_name, .forbidden = true                                                                         \
    }

/* ---- sequences ---- */

METHOD(sequence_index)
{
    const JinjaList *list = self->list;
    int64_t bounds[2] = {0, INT64_MAX};
    for (int i = 0; i < 2; i++) {
        if (arguments[i + 1].kind == JINJA_MISSING) continue;
        if (!jinja_is_integer(&arguments[i + 1]))
            return jinja_raise(state, "slice indices must be integers or have an __index__ method");
        bounds[i] = jinja_clamped(&arguments[i + 1]);
        if (bounds[i] < 0) bounds[i] = bounds[i] < -(int64_t)list->n ? 0 : bounds[i] + (int64_t)list->n;
    }
    for (int64_t i = bounds[0]; i < (int64_t)list->n && i < bounds[1]; i++) {
        if (!jinja_equal(state, &list->items[i], &arguments[0])) continue;
        *out = jinja_int(i);
        return state->status == IMP_OK;
    }
    if (self->kind == JINJA_TUPLE) return jinja_raise(state, "tuple.index(x): x not in tuple");
    return jinja_raise(state, "%s is not in list", jinja_repr_text(state, &arguments[0]));
}

METHOD(sequence_count)
{
    int64_t count = 0;
    for (size_t i = 0; i < self->list->n; i++) count += jinja_equal(state, &self->list->items[i], &arguments[0]);
    *out = jinja_int(count);
    return state->status == IMP_OK;
}

METHOD(list_copy)
{
    (void)arguments;
    if (!jinja_list(state, self->list->n, out)) return false;
    if (self->list->n > 0) memcpy(out->list->items, self->list->items, self->list->n * sizeof *out->list->items);
    return true;
}

static const JinjaBuiltin list_methods[] = {
    {.name = "index",
     .python_name = "list.index",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 3,
     .call = sequence_index},
    {.name = "count",
     .python_name = "list.count",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 1,
     .call = sequence_count},
    {.name = "copy", .python_name = "list.copy", .style = JINJA_C_STYLE, .call = list_copy},
    FORBIDDEN("append"),
    FORBIDDEN("clear"),
    FORBIDDEN("pop"),
    FORBIDDEN("reverse"),
    FORBIDDEN("insert"),
    FORBIDDEN("sort"),
    FORBIDDEN("extend"),
    FORBIDDEN("remove"),
};

const JinjaBuiltin *jinja_find_list_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {list_methods, sizeof list_methods / sizeof *list_methods};
    return jinja_find_in(&table, name);
}

static const JinjaBuiltin tuple_methods[] = {
    {.name = "index",
     .python_name = "tuple.index",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 3,
     .call = sequence_index},
    {.name = "count",
     .python_name = "tuple.count",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 1,
     .call = sequence_count},
};

const JinjaBuiltin *jinja_find_tuple_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {tuple_methods, sizeof tuple_methods / sizeof *tuple_methods};
    return jinja_find_in(&table, name);
}

/* ---- dictionaries ---- */

static bool make_view(JinjaState *state, const JinjaValue *self, JinjaViewKind part, JinjaValue *out)
{
    JinjaView *view = jinja_alloc(state, 1, sizeof *view);
    if (view == NULL) return false;
    *view = (JinjaView){.dict = self->dict, .part = part};
    *out = (JinjaValue){.kind = JINJA_VIEW, .view = view};
    return true;
}

METHOD(dict_keys)
{
    (void)arguments;
    return make_view(state, self, JINJA_KEYS, out);
}

METHOD(dict_values)
{
    (void)arguments;
    return make_view(state, self, JINJA_VALUES, out);
}

METHOD(dict_items)
{
    (void)arguments;
    return make_view(state, self, JINJA_ITEMS, out);
}

METHOD(dict_get)
{
    const JinjaValue *value = jinja_dict_find(state, self->dict, &arguments[0]);
    if (state->status != IMP_OK) return false;
    *out = value != NULL ? *value : arguments[1].kind == JINJA_MISSING ? jinja_none() : arguments[1];
    return true;
}

static bool copy_into(JinjaState *state, JinjaDict *dict, const JinjaDict *from)
{
    for (size_t i = 0; i < from->n; i++) {
        if (!jinja_charge(state, 1) || !jinja_dict_set(state, dict, from->entries[i].key, from->entries[i].value))
            return false;
    }
    return true;
}

METHOD(dict_copy)
{
    (void)arguments;
    JinjaValue copy;
    if (!jinja_dict(state, self->dict->n, &copy) || !copy_into(state, copy.dict, self->dict)) return false;
    *out = copy;
    return true;
}

METHOD(dict_fromkeys)
{
    (void)self;
    JinjaItems keys;
    JinjaValue dict;
    if (!jinja_collect(state, &arguments[0], &keys) || !jinja_dict(state, keys.n, &dict)) return false;
    const JinjaValue value = arguments[1].kind == JINJA_MISSING ? jinja_none() : arguments[1];
    for (size_t i = 0; i < keys.n; i++) {
        if (!jinja_dict_set(state, dict.dict, keys.items[i], value)) return false;
    }
    *out = dict;
    return true;
}

static const JinjaBuiltin dict_methods[] = {
    {.name = "get",
     .python_name = "dict.get",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 2,
     .call = dict_get},
    {.name = "items", .python_name = "dict.items", .style = JINJA_C_STYLE, .call = dict_items},
    {.name = "keys", .python_name = "dict.keys", .style = JINJA_C_STYLE, .call = dict_keys},
    {.name = "values", .python_name = "dict.values", .style = JINJA_C_STYLE, .call = dict_values},
    {.name = "copy", .python_name = "dict.copy", .style = JINJA_C_STYLE, .call = dict_copy},
    {.name = "fromkeys",
     .python_name = "dict.fromkeys",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 2,
     .call = dict_fromkeys},
    FORBIDDEN("clear"),
    FORBIDDEN("pop"),
    FORBIDDEN("popitem"),
    FORBIDDEN("setdefault"),
    FORBIDDEN("update"),
};

const JinjaBuiltin *jinja_find_dict_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {dict_methods, sizeof dict_methods / sizeof *dict_methods};
    return jinja_find_in(&table, name);
}

/* ---- ranges ---- */

METHOD(range_index)
{
    bool found;
    if (!jinja_contains(state, self, &arguments[0], &found)) return false;
    if (!found && !jinja_is_integer(&arguments[0])) {
        return jinja_raise(state, "sequence.index(x): x not in sequence");
    }
    if (!found) return jinja_raise(state, "%s is not in range", jinja_repr_text(state, &arguments[0]));
    const bool is_float = arguments[0].kind == JINJA_FLOAT;
    const int64_t value = is_float ? (int64_t)arguments[0].number : jinja_clamped(&arguments[0]);
    *out = jinja_int((value - self->range->start) / self->range->step);
    return true;
}

METHOD(range_count)
{
    bool found;
    if (!jinja_contains(state, self, &arguments[0], &found)) return false;
    *out = jinja_int(found);
    return true;
}

static const JinjaBuiltin range_methods[] = {
    {.name = "index",
     .python_name = "range.index",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 1,
     .call = range_index},
    {.name = "count",
     .python_name = "range.count",
     .style = JINJA_C_STYLE,
     .n_required = 1,
     .n_parameters = 1,
     .call = range_count},
};

const JinjaBuiltin *jinja_find_range_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {range_methods, sizeof range_methods / sizeof *range_methods};
    return jinja_find_in(&table, name);
}

/* ---- numbers ---- */

METHOD(number_conjugate)
{
    (void)state, (void)arguments;
    *out = self->kind == JINJA_BOOL ? jinja_int(self->boolean) : *self;
    return true;
}

METHOD(int_bit_length)
{
    (void)state, (void)arguments;
    int64_t length, set;
    jinja_count_bits(self, &length, &set);
    *out = jinja_int(length);
    return true;
}

METHOD(int_bit_count)
{
    (void)state, (void)arguments;
    int64_t length, set;
    jinja_count_bits(self, &length, &set);
    *out = jinja_int(set);
    return true;
}

METHOD(int_as_integer_ratio)
{
    (void)arguments;
    return jinja_pair(state, self->kind == JINJA_BOOL ? jinja_int(self->boolean) : *self, jinja_int(1), out);
}

METHOD(float_is_integer)
{
    (void)state, (void)arguments;
    *out = jinja_bool(isfinite(self->number) && self->number == floor(self->number));
    return true;
}

/* A bool has what an int has, and messages call it by its own type. */
#define INTEGER_METHOD(type, method, function)                                                                         \
    {                                                                                                                  \
        .name = method, .python_name = type "." method, .style = JINJA_C_STYLE, .call = function                       \
    }
#define INTEGER_METHODS(type)                                                                                          \
    {                                                                                                                  \
        INTEGER_METHOD(type, "conjugate", number_conjugate), INTEGER_METHOD(type, "bit_length", int_bit_length),       \
            INTEGER_METHOD(type, "bit_count", int_bit_count),                                                          \
            INTEGER_METHOD(type, "as_integer_ratio", int_as_integer_ratio),                                            \
    }

static const JinjaBuiltin int_methods[] = INTEGER_METHODS("int");
static const JinjaBuiltin bool_methods[] = INTEGER_METHODS("bool");

static const JinjaBuiltin float_methods[] = {
    {.name = "conjugate", .python_name = "float.conjugate", .style = JINJA_C_STYLE, .call = number_conjugate},
    {.name = "is_integer", .python_name = "float.is_integer", .style = JINJA_C_STYLE, .call = float_is_integer},
};

const JinjaBuiltin *jinja_find_number_method(const JinjaString *name, JinjaKind kind)
{
    static const JinjaBuiltinTable ints = {int_methods, sizeof int_methods / sizeof *int_methods};
    static const JinjaBuiltinTable floats = {float_methods, sizeof float_methods / sizeof *float_methods};
    static const JinjaBuiltinTable bools = {bool_methods, sizeof bool_methods / sizeof *bool_methods};
    return jinja_find_in(kind == JINJA_FLOAT ? &floats : kind == JINJA_BOOL ? &bools : &ints, name);
}

/* ---- cyclers ---- */

METHOD(cycler_next)
{
    (void)state, (void)arguments;
    JinjaCycler *cycler = self->cycler;
    *out = cycler->items.items[cycler->position];
    cycler->position = (cycler->position + 1) % cycler->items.n;
    return true;
}

METHOD(cycler_reset)
{
    (void)state, (void)arguments;
    self->cycler->position = 0;
    *out = jinja_none();
    return true;
}

static const JinjaBuiltin cycler_methods[] = {
    {.name = "next", .python_name = "Cycler.next", .hidden = 1, .call = cycler_next},
    {.name = "reset", .python_name = "Cycler.reset", .hidden = 1, .call = cycler_reset},
};

const JinjaBuiltin *jinja_find_cycler_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {cycler_methods, sizeof cycler_methods / sizeof *cycler_methods};
    return jinja_find_in(&table, name);
}
