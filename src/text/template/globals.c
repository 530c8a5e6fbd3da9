/*
 * globals.c - the functions that every template may call: Jinja2's range, dict, namespace, cycler, joiner and lipsum,
 * and what transformers adds, raise_exception and strftime_now.
 */
#include "text/template/builtins.h"

#include <time.h>

enum { MAX_RANGE = 100000 };

static bool global_range(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    (void)self;
    int64_t bounds[3] = {0, 0, 1};
    const size_t n = arguments->n_positional;
    if (arguments->n_named > 0) {
        return jinja_raise(state, "safe_range() got an unexpected keyword argument '%.*s'",
                           (int)arguments->named[0].name->length, arguments->named[0].name->data);
    }
    if (n == 0) return jinja_raise(state, "range expected at least 1 argument, got 0");
    if (n > 3) return jinja_raise(state, "range expected at most 3 arguments, got %zu", n);
    for (size_t i = 0; i < n; i++) {
        if (!jinja_index(state, &arguments->positional[i], &bounds[n == 1 ? 1 : i])) return false;
    }
    if (bounds[2] == 0) return jinja_raise(state, "range() arg 3 must not be zero");
    const bool forward = bounds[2] > 0;
    int64_t span, items = 0;
    const bool overflow = forward ? __builtin_sub_overflow(bounds[1], bounds[0], &span)
                                  : __builtin_sub_overflow(bounds[0], bounds[1], &span);
    if (overflow) span = (forward ? bounds[1] > bounds[0] : bounds[0] > bounds[1]) ? INT64_MAX : 0;
    if (span > 0) items = (span - 1) / (forward ? bounds[2] : bounds[2] == INT64_MIN ? INT64_MAX : -bounds[2]) + 1;
    if (items > MAX_RANGE) {
        return jinja_raise(state, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE);
    }
    JinjaRange *range = jinja_alloc(state, 1, sizeof *range);
    if (range == NULL) return false;
    *range = (JinjaRange){.start = bounds[0], .stop = bounds[1], .step = bounds[2], .n = items};
    *out = (JinjaValue){.kind = JINJA_RANGE, .range = range};
    return true;
}

/* One (key, value) of dict(iterable). */
static bool set_pair(JinjaState *state, JinjaDict *dict, const JinjaValue *pair, size_t index)
{
    JinjaItems items;
    if (!jinja_is_iterable(pair)) {
        return jinja_raise(state, "cannot convert dictionary update sequence element #%zu to a sequence", index);
    }
    if (!jinja_collect(state, pair, &items)) return false;
    if (items.n != 2) {
        return jinja_raise(state, "dictionary update sequence element #%zu has length %zu; 2 is required", index,
                           items.n);
    }
    return jinja_dict_set(state, dict, items.items[0], items.items[1]);
}

/* dict(mapping or pairs, **named) */
static bool build_dict(JinjaState *state, const JinjaArguments *arguments, JinjaValue *out)
{
    if (arguments->n_positional > 1) {
        return jinja_raise(state, "dict expected at most 1 argument, got %zu", arguments->n_positional);
    }
    JinjaValue dict;
    if (arguments->n_positional == 1 && arguments->positional[0].kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(state, &arguments->positional[0]);
    }
    if (!jinja_dict(state, arguments->n_named, &dict)) return false;
    if (arguments->n_positional == 1 && arguments->positional[0].kind == JINJA_DICT) {
        const JinjaDict *from = arguments->positional[0].dict;
        for (size_t i = 0; i < from->n; i++) {
            if (!jinja_charge(state, 1)) return false;
            if (!jinja_dict_set(state, dict.dict, from->entries[i].key, from->entries[i].value)) return false;
        }
    } else if (arguments->n_positional == 1) {
        JinjaItems pairs;
        if (!jinja_collect(state, &arguments->positional[0], &pairs)) return false;
        for (size_t i = 0; i < pairs.n; i++) {
            if (!set_pair(state, dict.dict, &pairs.items[i], i)) return false;
        }
    }
    for (size_t i = 0; i < arguments->n_named; i++) {
        const JinjaValue key = {.kind = JINJA_STRING, .string = arguments->named[i].name};
        if (!jinja_dict_set(state, dict.dict, key, arguments->named[i].value)) return false;
    }
    *out = dict;
    return true;
}

static bool global_dict(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    (void)self;
    return build_dict(state, arguments, out);
}

static bool global_namespace(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments,
                             JinjaValue *out)
{
    (void)self;
    if (!build_dict(state, arguments, out)) return false;
    out->kind = JINJA_NAMESPACE;
    return true;
}

static bool global_cycler(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    (void)self;
    const size_t n = arguments->n_positional;
    if (arguments->n_named > 0) {
        return jinja_raise(state, "Cycler.__init__() got an unexpected keyword argument '%.*s'",
                           (int)arguments->named[0].name->length, arguments->named[0].name->data);
    }
    if (n == 0) return jinja_raise(state, "at least one item has to be provided");
    JinjaCycler *cycler = jinja_alloc(state, 1, sizeof *cycler);
    if (cycler == NULL) return false;
    cycler->items.items = jinja_alloc(state, n, sizeof(JinjaValue));
    if (cycler->items.items == NULL) return false;
    memcpy(cycler->items.items, arguments->positional, n * sizeof(JinjaValue));
    cycler->items.n = n;
    *out = (JinjaValue){.kind = JINJA_CYCLER, .cycler = cycler};
    return true;
}

static bool global_joiner(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, JinjaValue *out)
{
    (void)self;
    JinjaJoiner *joiner = jinja_alloc(state, 1, sizeof *joiner);
    if (joiner == NULL) return false;
    joiner->separator = arguments[0];
    if (arguments[0].kind == JINJA_MISSING && !jinja_text(state, ", ", &joiner->separator)) return false;
    *out = (JinjaValue){.kind = JINJA_JOINER, .joiner = joiner};
    return true;
}

static bool global_raise_exception(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments,
                                   JinjaValue *out)
{
    (void)self, (void)out;
    JinjaValue message;
    if (!jinja_to_string(state, &arguments[0], &message)) return false;
    return jinja_raise(state, "%.*s", (int)(message.string->length < 4096 ? message.string->length : 4096),
                       message.string->data);
}

static bool global_strftime_now(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, JinjaValue *out)
{
    (void)self;
    if (arguments[0].kind != JINJA_STRING) {
        return jinja_raise(state, "strftime() argument 1 must be str, not %s", jinja_type_name(&arguments[0]));
    }
    return jinja_strftime(state, arguments[0].string, state->limits.now != 0 ? state->limits.now : (int64_t)time(NULL),
                          out);
}

/* lipsum() is random text in Jinja2; nothing can depend on what it says. */
static bool global_lipsum(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    (void)self, (void)arguments;
    return jinja_text(state, "<p>Lorem ipsum dolor sit amet.</p>", out);
}

static const JinjaBuiltin globals[] = {
    {.name = "range", .n_parameters = JINJA_VARIADIC, .raw = global_range},
    {.name = "dict", .style = JINJA_C_KEYWORDS, .n_parameters = JINJA_VARIADIC, .raw = global_dict},
    {.name = "namespace", .style = JINJA_C_KEYWORDS, .n_parameters = JINJA_VARIADIC, .raw = global_namespace},
    {.name = "cycler", .style = JINJA_C_KEYWORDS, .n_parameters = JINJA_VARIADIC, .raw = global_cycler},
    {.name = "joiner",
     .python_name = "Joiner.__init__",
     .hidden = 1,
     .n_parameters = 1,
     .parameters = {"sep"},
     .call = global_joiner},
    {.name = "lipsum", .n_parameters = JINJA_VARIADIC, .raw = global_lipsum},
    {.name = "raise_exception",
     .n_required = 1,
     .n_parameters = 1,
     .parameters = {"message"},
     .call = global_raise_exception},
    {.name = "strftime_now", .n_required = 1, .n_parameters = 1, .parameters = {"format"}, .call = global_strftime_now},
};

const JinjaBuiltin *jinja_find_global(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {globals, sizeof globals / sizeof *globals};
    return jinja_find_in(&table, name);
}
