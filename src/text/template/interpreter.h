/*
 * interpreter.h - runs a compiled template: statements, expressions, calls of macros and loops.
 */
#ifndef IMP_TEXT_TEMPLATE_INTERPRETER_H
#define IMP_TEXT_TEMPLATE_INTERPRETER_H

#include "text/template/ast.h"

typedef enum JinjaFlow { JINJA_FLOW_NEXT, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE, JINJA_FLOW_FAILED } JinjaFlow;

JinjaFlow jinja_execute(JinjaState *state, JinjaActivation *activation, const JinjaNodes *body);
/* A statement's expression, and a part of one. */
bool jinja_evaluate(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out);
bool jinja_evaluate_within(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out);
/* The whole template into state->out. */
bool jinja_run(JinjaState *state);

JinjaActivation *jinja_activate(JinjaState *state, JinjaActivation *parent, uint32_t n_slots);
void jinja_enter_scope(JinjaState *state, JinjaActivation *activation, const JinjaScope *scope);
void jinja_leave_scope(JinjaActivation *activation, const JinjaScope *scope);
static inline JinjaValue *jinja_slot(JinjaActivation *activation, JinjaSlot slot)
{
    for (uint32_t hops = slot.hops; hops > 0; hops--) activation = activation->parent;
    return &activation->slots[slot.slot];
}

/* The value of an expression that needs no computing: a constant, a variable, a variable's field. NULL for others. It
 * stays there until something is assigned or called. */
static inline const JinjaValue *jinja_in_place(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    if (node->field != NULL) {
        const JinjaValue *object = jinja_slot(activation, node->variable);
        if (object->kind != JINJA_DICT) return NULL;
        return jinja_dict_find_interned(state, object->dict, node->field);
    }
    if (node->type == NODE_CONST) return &node->constant;
    if (node->type != NODE_NAME) return NULL;
    const JinjaValue *value = jinja_slot(activation, node->name.slot);
    return value->kind == JINJA_MISSING ? NULL : value;
}

/* Calls any value; raises for what cannot be called. */
bool jinja_call(JinjaState *state, const JinjaValue *callee, const JinjaArguments *arguments, JinjaValue *out);
bool jinja_call_macro(JinjaState *state, const JinjaMacro *macro, const JinjaArguments *arguments, JinjaValue *out);
/* Evaluates a call's arguments; `extra` (may be NULL) joins the named ones. */
bool jinja_evaluate_arguments(JinjaState *state, JinjaActivation *activation, const JinjaCallArguments *arguments,
                              const JinjaNamed *extra, JinjaArguments *out);
bool jinja_call_block(JinjaState *state, const JinjaNode *block, JinjaValue *out);

/* ---- loops ---- */

JinjaNext jinja_loop_next(JinjaState *state, JinjaLoop *loop, JinjaValue *out);
bool jinja_loop_length(JinjaState *state, JinjaLoop *loop, int64_t *out);
/* loop.index and the like; *found false for other names. */
bool jinja_loop_attribute(JinjaState *state, JinjaLoop *loop, const JinjaString *name, JinjaValue *out, bool *found);
/* loop(iterable): the text of the body over other items, one level deeper. */
bool jinja_loop_recurse(JinjaState *state, JinjaLoop *loop, const JinjaValue *iterable, JinjaValue *out);
/* Runs a for statement over `iterable`; writes to state->out. */
JinjaFlow jinja_run_loop(JinjaState *state, JinjaActivation *activation, const JinjaNode *node,
                         const JinjaValue *iterable, int64_t depth0);
/* Stores a value in a name, a namespace's attribute, or spreads it over a tuple of targets. */
bool jinja_assign(JinjaState *state, JinjaActivation *activation, const JinjaNode *target, const JinjaValue *value);

#endif
