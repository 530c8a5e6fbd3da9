/*
 * loops.c - the for statement and the `loop` that its body sees.
 */
#include "text/template/builtins.h"
#include "text/template/interpreter.h"

/* ---- `for … if …`: items are tested as they are pulled, since the test may see what the body changed ---- */

typedef struct FilteredItems {
    const JinjaNode *node;
    JinjaActivation *activation;
    JinjaValue iterable;
} FilteredItems;

static JinjaNext next_filtered(JinjaState *state, JinjaIterator *iterator, JinjaValue *out)
{
    const FilteredItems *items = iterator->private_data;
    if (!iterator->started) {
        iterator->started = true;
        if (!jinja_iterate(state, &items->iterable, &iterator->source)) return JINJA_NEXT_FAILED;
        jinja_enter_scope(state, items->activation, &items->node->loop.test_scope);
    }
    for (;;) {
        JinjaValue test;
        const JinjaNext next = jinja_next(state, &iterator->source, out);
        if (next != JINJA_NEXT_ITEM) return next;
        if (!jinja_assign(state, items->activation, items->node->loop.test_target, out)) return JINJA_NEXT_FAILED;
        if (!jinja_evaluate(state, items->activation, items->node->loop.test, &test)) return JINJA_NEXT_FAILED;
        if (jinja_truthy(state, &test)) return JINJA_NEXT_ITEM;
    }
}

static bool filter_items(JinjaState *state, JinjaActivation *activation, const JinjaNode *node,
                         const JinjaValue *iterable, JinjaValue *out)
{
    FilteredItems *items = jinja_alloc(state, 1, sizeof *items);
    if (items == NULL) return false;
    *items = (FilteredItems){.node = node, .activation = activation, .iterable = *iterable};
    return jinja_iterator(state, "generator", next_filtered, items, out);
}

/* ---- running ---- */

static JinjaFlow run_iterations(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaLoop *loop,
                                JinjaCursor *cursor, bool *completed)
{
    const JinjaNode *target = node->loop.target;
    for (;;) {
        JinjaValue item;
        state->line = node->line;
        if (loop == NULL && cursor->kind == JINJA_LIST && cursor->position < cursor->n) {
            if (!jinja_charge(state, 1)) return JINJA_FLOW_FAILED;
            item = cursor->items[cursor->position++];
        } else {
            const JinjaNext next =
                loop != NULL ? jinja_loop_next(state, loop, &item) : jinja_next(state, cursor, &item);
            if (next == JINJA_NEXT_FAILED) return JINJA_FLOW_FAILED;
            if (next == JINJA_NEXT_END) return JINJA_FLOW_NEXT;
        }
        if (target->type == NODE_NAME && !target->name.exported) {
            *jinja_slot(activation, target->name.slot) = item;
        } else if (!jinja_assign(state, activation, target, &item)) {
            return JINJA_FLOW_FAILED;
        }
        if (loop != NULL) activation->slots[node->loop.loop_slot] = (JinjaValue){.kind = JINJA_LOOP, .loop = loop};
        if (node->loop.body_scope.n_loaded > 0) jinja_enter_scope(state, activation, &node->loop.body_scope);
        const JinjaFlow result = jinja_execute(state, activation, &node->loop.body);
        if (result == JINJA_FLOW_FAILED) return result;
        if (result == JINJA_FLOW_BREAK) return JINJA_FLOW_NEXT;
        if (result == JINJA_FLOW_NEXT) *completed = true;
    }
}

JinjaFlow jinja_run_loop(JinjaState *state, JinjaActivation *activation, const JinjaNode *node,
                         const JinjaValue *iterable, int64_t depth0)
{
    JinjaValue items = *iterable;
    if (node->loop.test != NULL && !filter_items(state, activation, node, iterable, &items)) return JINJA_FLOW_FAILED;
    JinjaCursor cursor;
    if (!jinja_iterate(state, &items, &cursor)) return JINJA_FLOW_FAILED;
    JinjaLoop *loop = NULL;
    if (node->loop.extended) {
        loop = jinja_alloc(state, 1, sizeof *loop);
        if (loop == NULL) return JINJA_FLOW_FAILED;
        *loop = (JinjaLoop){.cursor = cursor,
                            .iterable = items,
                            .index0 = -1,
                            .length = -1,
                            .recursive = node->loop.recursive ? node : NULL,
                            .activation = activation->parent,
                            .depth0 = depth0};
    }
    /* Jinja2 runs the else branch unless some iteration reached the end of the body: break and continue do not count.
     */
    bool completed = false;
    JinjaFlow result = run_iterations(state, activation, node, loop, &cursor, &completed);
    if (result == JINJA_FLOW_FAILED) return result;
    jinja_leave_scope(activation, &node->loop.body_scope);
    if (node->loop.has_otherwise && !completed) {
        jinja_enter_scope(state, activation, &node->loop.otherwise_scope);
        result = jinja_execute(state, activation, &node->loop.otherwise);
        jinja_leave_scope(activation, &node->loop.otherwise_scope);
    }
    return result;
}

bool jinja_loop_recurse(JinjaState *state, JinjaLoop *loop, const JinjaValue *iterable, JinjaValue *out)
{
    if (loop->recursive == NULL) {
        return jinja_raise(state, "The loop must have the 'recursive' marker to be called recursively.");
    }
    if (state->limits.depth != 0 && state->depth >= state->limits.depth) {
        return jinja_raise_limit(state, "maximum recursion depth exceeded");
    }
    JinjaActivation *activation = jinja_activate(state, loop->activation, loop->recursive->loop.n_slots);
    StrBuf *outer = state->out, *text = activation == NULL ? NULL : jinja_capture(state);
    if (text == NULL) return false;
    const uint32_t line = state->line;
    state->depth++;
    state->out = text;
    const JinjaFlow result = jinja_run_loop(state, activation, loop->recursive, iterable, loop->depth0 + 1);
    state->out = outer;
    state->depth--;
    if (result == JINJA_FLOW_FAILED) return false;
    state->line = line;
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = state->autoescape;
    return true;
}

/* ---- the loop's own iteration, one item ahead at most ---- */

static bool peek(JinjaState *state, JinjaLoop *loop)
{
    JinjaValue after;
    if (loop->after.kind != JINJA_MISSING) return true;
    const JinjaNext next = jinja_next(state, &loop->cursor, &after);
    if (next == JINJA_NEXT_ITEM) loop->after = after;
    return next != JINJA_NEXT_FAILED;
}

JinjaNext jinja_loop_next(JinjaState *state, JinjaLoop *loop, JinjaValue *out)
{
    if (loop->after.kind != JINJA_MISSING) {
        *out = loop->after;
        loop->after = jinja_missing();
    } else {
        const JinjaNext next = jinja_next(state, &loop->cursor, out);
        if (next != JINJA_NEXT_ITEM) return next;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = *out;
    return JINJA_NEXT_ITEM;
}

bool jinja_loop_length(JinjaState *state, JinjaLoop *loop, int64_t *out)
{
    if (loop->length < 0 && jinja_has_length(&loop->iterable) && loop->iterable.kind != JINJA_LOOP) {
        size_t length;
        if (!jinja_length(state, &loop->iterable, &length)) return false;
        loop->length = (int64_t)length;
    } else if (loop->length < 0) {
        /* An iterator is read to its end, and the loop goes on over what was read. */
        JinjaItems rest = {0};
        JinjaValue item;
        for (;;) {
            const JinjaNext next = jinja_next(state, &loop->cursor, &item);
            if (next == JINJA_NEXT_END) break;
            if (next == JINJA_NEXT_FAILED || !jinja_push(state, &rest, item)) return false;
        }
        loop->cursor = (JinjaCursor){.kind = JINJA_LIST, .items = rest.items, .n = rest.n};
        loop->length = (int64_t)rest.n + loop->index0 + 1 + (loop->after.kind != JINJA_MISSING);
    }
    *out = loop->length;
    return true;
}

/* ---- attributes ---- */

static bool neighbour(JinjaState *state, JinjaLoop *loop, bool after, JinjaValue *out)
{
    if (!after) {
        if (loop->index0 == 0) return jinja_undefined_hint(state, "there is no previous item", out);
        *out = loop->before;
        return true;
    }
    if (!peek(state, loop)) return false;
    if (loop->after.kind == JINJA_MISSING) return jinja_undefined_hint(state, "there is no next item", out);
    *out = loop->after;
    return true;
}

static bool loop_property(JinjaState *state, JinjaLoop *loop, const char *name, JinjaValue *out)
{
    int64_t length;
    if (strcmp(name, "index") == 0) {
        *out = jinja_int(loop->index0 + 1);
    } else if (strcmp(name, "index0") == 0) {
        *out = jinja_int(loop->index0);
    } else if (strcmp(name, "first") == 0) {
        *out = jinja_bool(loop->index0 == 0);
    } else if (strcmp(name, "last") == 0) {
        if (!peek(state, loop)) return false;
        *out = jinja_bool(loop->after.kind == JINJA_MISSING);
    } else if (strcmp(name, "depth") == 0) {
        *out = jinja_int(loop->depth0 + 1);
    } else if (strcmp(name, "depth0") == 0) {
        *out = jinja_int(loop->depth0);
    } else if (strcmp(name, "previtem") == 0 || strcmp(name, "nextitem") == 0) {
        return neighbour(state, loop, name[0] == 'n', out);
    } else {
        if (!jinja_loop_length(state, loop, &length)) return false;
        *out = jinja_int(strcmp(name, "length") == 0     ? length
                         : strcmp(name, "revindex") == 0 ? length - loop->index0
                                                         : length - loop->index0 - 1);
    }
    return true;
}

bool jinja_loop_attribute(JinjaState *state, JinjaLoop *loop, const JinjaString *name, JinjaValue *out, bool *found)
{
    static const char *const names[] = {"index",     "index0", "first",  "last",     "length",  "revindex",
                                        "revindex0", "depth",  "depth0", "previtem", "nextitem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) != name->length || memcmp(names[i], name->data, name->length) != 0) continue;
        *found = true;
        return loop_property(state, loop, names[i], out);
    }
    const JinjaBuiltin *builtin = jinja_find_loop_method(name);
    *found = builtin != NULL;
    if (builtin == NULL) return true;
    JinjaMethod *method = jinja_alloc(state, 1, sizeof *method);
    if (method == NULL) return false;
    *method = (JinjaMethod){.builtin = builtin, .self = {.kind = JINJA_LOOP, .loop = loop}};
    *out = (JinjaValue){.kind = JINJA_METHOD, .method = method};
    return true;
}

static bool loop_cycle(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    if (arguments->n_named > 0) {
        return jinja_raise(state, "LoopContext.cycle() got an unexpected keyword argument '%.*s'",
                           (int)arguments->named[0].name->length, arguments->named[0].name->data);
    }
    if (arguments->n_positional == 0) return jinja_raise(state, "no items for cycling given");
    *out = arguments->positional[(size_t)self->loop->index0 % arguments->n_positional];
    return true;
}

static bool loop_changed(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out)
{
    JinjaLoop *loop = self->loop;
    if (arguments->n_named > 0) {
        return jinja_raise(state, "LoopContext.changed() got an unexpected keyword argument '%.*s'",
                           (int)arguments->named[0].name->length, arguments->named[0].name->data);
    }
    const JinjaValue before = {.kind = JINJA_TUPLE, .list = &loop->last_changed};
    JinjaValue now;
    if (!jinja_tuple(state, arguments->n_positional, &now)) return false;
    for (size_t i = 0; i < arguments->n_positional; i++) now.list->items[i] = arguments->positional[i];
    const bool changed = !loop->has_changed || !jinja_equal(state, &before, &now);
    if (state->status != IMP_OK) return false;
    if (changed) loop->last_changed = *now.list;
    loop->has_changed = true;
    *out = jinja_bool(changed);
    return true;
}

static const JinjaBuiltin loop_methods[] = {
    {.name = "cycle", .n_parameters = JINJA_VARIADIC, .raw = loop_cycle},
    {.name = "changed", .n_parameters = JINJA_VARIADIC, .raw = loop_changed},
};

const JinjaBuiltin *jinja_find_loop_method(const JinjaString *name)
{
    static const JinjaBuiltinTable table = {loop_methods, sizeof loop_methods / sizeof *loop_methods};
    return jinja_find_in(&table, name);
}
