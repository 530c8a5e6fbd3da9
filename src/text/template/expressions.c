/*
 * expressions.c - evaluation: one function a kind of node.
 */
#include "text/template/big.h"
#include "text/template/builtins.h"
#include "text/template/interpreter.h"
#include "text/template/operators.h"

#include <math.h>
#include <stdio.h>

typedef bool Evaluator(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out);

static bool evaluate_const(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    (void)state, (void)activation;
    *out = node->constant;
    return true;
}

static bool evaluate_name(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    *out = *jinja_slot(activation, node->name.slot);
    return out->kind != JINJA_MISSING || jinja_undefined_name(state, node->name.name, out);
}

static bool evaluate_sequence(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue sequence;
    const size_t n = node->items.n;
    if (!(node->type == NODE_LIST ? jinja_list(state, n, &sequence) : jinja_tuple(state, n, &sequence))) return false;
    for (size_t i = 0; i < n; i++) {
        if (!jinja_evaluate_within(state, activation, node->items.at[i], &sequence.list->items[i])) return false;
    }
    *out = sequence;
    return true;
}

static bool evaluate_dict(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    enum { TOGETHER = 16 }; /* pairs that Python evaluates before it looks whether their keys can be hashed */
    JinjaValue dict;
    const size_t n = node->dict.keys.n;
    if (!jinja_dict(state, n, &dict)) return false;
    const size_t most = n < TOGETHER ? n : TOGETHER;
    JinjaValue *keys = jinja_alloc_raw(state, 2 * most * sizeof *keys);
    if (keys == NULL) return false;
    JinjaValue *values = keys + most;
    for (size_t start = 0; start < n; start += TOGETHER) {
        const size_t count = n - start < TOGETHER ? n - start : TOGETHER;
        for (size_t i = 0; i < count; i++) {
            if (!jinja_evaluate_within(state, activation, node->dict.keys.at[start + i], &keys[i])) return false;
            if (!jinja_evaluate_within(state, activation, node->dict.values.at[start + i], &values[i])) return false;
        }
        for (size_t i = 0; i < count; i++) {
            if (!jinja_dict_set(state, dict.dict, keys[i], values[i])) return false;
        }
    }
    *out = dict;
    return true;
}

static bool evaluate_condition(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue test;
    if (!jinja_evaluate_within(state, activation, node->condition.test, &test)) return false;
    if (jinja_is_true(state, &test)) return jinja_evaluate_within(state, activation, node->condition.then, out);
    if (node->condition.otherwise != NULL)
        return jinja_evaluate_within(state, activation, node->condition.otherwise, out);
    char *hint = jinja_alloc(state, 128, 1);
    if (hint == NULL) return false;
    (void)snprintf(hint, 128, "the inline if-expression on line %u evaluated to false and no else section was defined.",
                   node->line);
    return jinja_undefined_hint(state, hint, out);
}

static bool evaluate_and(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    if (!jinja_evaluate_within(state, activation, node->binary.left, out)) return false;
    return !jinja_is_true(state, out) || jinja_evaluate_within(state, activation, node->binary.right, out);
}

static bool evaluate_or(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    if (!jinja_evaluate_within(state, activation, node->binary.left, out)) return false;
    return jinja_is_true(state, out) || jinja_evaluate_within(state, activation, node->binary.right, out);
}

static bool evaluate_not(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue value;
    if (!jinja_evaluate_within(state, activation, node->operand, &value)) return false;
    *out = jinja_bool(!jinja_is_true(state, &value));
    return true;
}

static bool evaluate_sign(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue value;
    return jinja_evaluate_within(state, activation, node->operand, &value) &&
           jinja_sign(state, node->type == NODE_NEGATE, &value, out);
}

/* Whether Jinja2 computes it while it compiles. Numbers are all that is asked about here. */
static bool is_literal(const JinjaNode *node)
{
    switch (node->type) {
    case NODE_CONST:
        return true;
    case NODE_NEGATE:
    case NODE_POSITIVE:
        return is_literal(node->operand);
    case NODE_BINARY:
        return is_literal(node->binary.left) && is_literal(node->binary.right);
    case NODE_FILTER:
        return node->filter.subject != NULL && is_literal(node->filter.subject);
    default:
        return false;
    }
}

static bool has_sign(const JinjaValue *value)
{
    return value->kind == JINJA_FLOAT ? signbit(value->number) != 0
                                      : jinja_is_integer(value) && jinja_clamped(value) < 0;
}

/* left ** right. Jinja2 writes a negative literal into the Python it makes without parentheses: (-2) ** n is -(2 ** n).
 */
static bool evaluate_power(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue left, right;
    if (!jinja_evaluate_within(state, activation, node->binary.left, &left)) return false;
    if (!jinja_evaluate_within(state, activation, node->binary.right, &right)) return false;
    const bool turned = has_sign(&left) && is_literal(node->binary.left) && !is_literal(node->binary.right);
    if (turned && !jinja_sign(state, true, &left, &left)) return false;
    return jinja_operate(state, OPERATOR_POWER, &left, &right, out) && (!turned || jinja_sign(state, true, out, out));
}

static bool evaluate_binary(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    if (node->binary.operation == OPERATOR_POWER) return evaluate_power(state, activation, node, out);
    JinjaValue left, right;
    return jinja_evaluate_within(state, activation, node->binary.left, &left) &&
           jinja_evaluate_within(state, activation, node->binary.right, &right) &&
           jinja_operate(state, node->binary.operation, &left, &right, out);
}

static bool evaluate_concat(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue values[16], *items = values;
    const size_t n = node->items.n;
    if (n > sizeof values / sizeof *values) {
        items = jinja_alloc(state, n, sizeof *items);
        if (items == NULL) return false;
    }
    bool markup = false;
    for (size_t i = 0; i < n; i++) {
        if (!jinja_evaluate_within(state, activation, node->items.at[i], &items[i])) return false;
        markup |= state->autoescape && items[i].kind == JINJA_STRING && items[i].string->markup;
    }
    /* A string in front may grow in place, so it stays out of the buffer. */
    const bool append = items[0].kind == JINJA_STRING && !items[0].string->markup && !markup;
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    for (size_t i = append; i < n; i++) {
        JinjaValue escaped = items[i];
        if (markup && !jinja_escape(state, &items[i], &escaped)) return false;
        jinja_str(state, text, &escaped);
    }
    JinjaValue rest;
    if (!jinja_capture_finish(state, text, &rest)) return false;
    rest.string->markup = markup;
    if (append) return jinja_add(state, &items[0], &rest, out);
    *out = rest;
    return true;
}

static bool evaluate_compare(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue left, right;
    if (!jinja_evaluate_within(state, activation, node->compare.first, &left)) return false;
    for (size_t i = 0; i < node->compare.rest.n; i++) {
        const JinjaNode *operand = node->compare.rest.at[i];
        bool holds;
        if (operand->type != NODE_CONST && !jinja_evaluate_within(state, activation, operand, &right)) return false;
        const JinjaValue *other = operand->type == NODE_CONST ? &operand->constant : &right;
        if (!jinja_compare_pair(state, node->compare.operators[i], &left, other, &holds)) return false;
        *out = jinja_bool(holds);
        if (!holds) return true;
        if (i + 1 < node->compare.rest.n) left = *other;
    }
    return true;
}

/* The method that `object.name` certainly is, without looking further. */
static const JinjaBuiltin *known_method(const JinjaNode *node, const JinjaValue *object)
{
    const JinjaBuiltin *method = object->kind == JINJA_STRING ? node->attribute.string_method
                                 : object->kind == JINJA_DICT ? node->attribute.dict_method
                                 : object->kind == JINJA_LIST ? node->attribute.list_method
                                                              : NULL;
    return method != NULL && !method->forbidden ? method : NULL;
}

static bool attribute_of(JinjaState *state, const JinjaNode *node, const JinjaValue *object, JinjaValue *out)
{
    /* What is no method is an entry or nothing, unless Python's own attributes come in. */
    const JinjaString *name = node->attribute.name.string;
    const bool plain = name->length > 0 && name->data[0] != '_';
    if (plain &&
        (object->kind == JINJA_NAMESPACE || (object->kind == JINJA_DICT && node->attribute.dict_method == NULL))) {
        const JinjaValue *value = jinja_dict_find_name(state, object->dict, name);
        if (value != NULL) {
            *out = *value;
            return true;
        }
        if (object->kind == JINJA_DICT) return jinja_undefined_member(state, *object, node->attribute.name, out);
    }
    return jinja_get_attribute(state, object, &node->attribute.name, out);
}

static bool evaluate_attribute(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue object;
    return jinja_evaluate_within(state, activation, node->attribute.object, &object) &&
           attribute_of(state, node, &object, out);
}

static bool slice_bound(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    *out = jinja_none();
    return node == NULL || jinja_evaluate_within(state, activation, node, out);
}

static bool evaluate_item(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue object, argument;
    if (!jinja_evaluate_within(state, activation, node->item.object, &object)) return false;
    const JinjaNode *index = node->item.argument;
    if (index->type == NODE_SLICE) {
        JinjaValue start, stop, step;
        return slice_bound(state, activation, index->slice.start, &start) &&
               slice_bound(state, activation, index->slice.stop, &stop) &&
               slice_bound(state, activation, index->slice.step, &step) &&
               jinja_slice(state, &object, &start, &stop, &step, out);
    }
    const JinjaValue *key = &index->constant;
    if (index->type != NODE_CONST) {
        if (!jinja_evaluate_within(state, activation, index, &argument)) return false;
        key = &argument;
    }
    if (object.kind == JINJA_DICT && key->kind == JINJA_STRING) {
        const JinjaValue *value = jinja_dict_find_name(state, object.dict, key->string);
        if (value != NULL) {
            *out = *value;
            return true;
        }
    }
    return jinja_get_item(state, &object, key, out);
}

static bool evaluate_call(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    const JinjaNode *callee = node->call.callee;
    JinjaArguments arguments;
    JinjaValue function, object;
    if (callee->type == NODE_ATTRIBUTE) {
        /* A method is called without being made a value first. */
        if (!jinja_evaluate_within(state, activation, callee->attribute.object, &object)) return false;
        const JinjaBuiltin *method = known_method(callee, &object);
        if (method != NULL) {
            return jinja_evaluate_arguments(state, activation, &node->call.arguments, NULL, &arguments) &&
                   jinja_invoke(state, method, &object, &arguments, out);
        }
        if (!attribute_of(state, callee, &object, &function)) return false;
    } else if (!jinja_evaluate_within(state, activation, callee, &function)) {
        return false;
    }
    return jinja_evaluate_arguments(state, activation, &node->call.arguments, NULL, &arguments) &&
           jinja_call(state, &function, &arguments, out);
}

static bool evaluate_filter(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaValue subject = state->block_text;
    if (node->filter.subject != NULL && !jinja_evaluate_within(state, activation, node->filter.subject, &subject))
        return false;
    JinjaArguments arguments;
    if (!jinja_evaluate_arguments(state, activation, &node->filter.arguments, NULL, &arguments)) return false;
    if (node->filter.builtin == NULL) {
        return jinja_raise(state, "No %s named '%.*s' found.", node->type == NODE_FILTER ? "filter" : "test",
                           (int)node->filter.name->length, node->filter.name->data);
    }
    return jinja_invoke(state, node->filter.builtin, &subject, &arguments, out);
}

static Evaluator *const evaluators[NODE_TYPES] = {
    [NODE_CONST] = evaluate_const,   [NODE_NAME] = evaluate_name,       [NODE_TUPLE] = evaluate_sequence,
    [NODE_LIST] = evaluate_sequence, [NODE_DICT] = evaluate_dict,       [NODE_CONDITION] = evaluate_condition,
    [NODE_AND] = evaluate_and,       [NODE_OR] = evaluate_or,           [NODE_NOT] = evaluate_not,
    [NODE_NEGATE] = evaluate_sign,   [NODE_POSITIVE] = evaluate_sign,   [NODE_BINARY] = evaluate_binary,
    [NODE_CONCAT] = evaluate_concat, [NODE_COMPARE] = evaluate_compare, [NODE_ATTRIBUTE] = evaluate_attribute,
    [NODE_ITEM] = evaluate_item,     [NODE_CALL] = evaluate_call,       [NODE_FILTER] = evaluate_filter,
    [NODE_TEST] = evaluate_filter,
};

bool jinja_evaluate_within(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    const JinjaValue *value = jinja_in_place(state, activation, node);
    if (value != NULL) {
        *out = *value;
        return true;
    }
    return jinja_charge(state, 1) && evaluators[node->type](state, activation, node, out);
}

bool jinja_evaluate(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    /* An expression needs as many C frames as it is high: one check for all of them. */
    state->nesting += node->height;
    if (state->nesting > JINJA_MAX_NESTING) return jinja_enter_failed(state);
    const bool ok = jinja_evaluate_within(state, activation, node, out);
    state->nesting -= node->height;
    return ok;
}
