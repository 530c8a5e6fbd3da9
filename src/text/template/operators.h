/*
 * operators.h - Python's operators on values.
 */
#ifndef IMP_TEXT_TEMPLATE_OPERATORS_H
#define IMP_TEXT_TEMPLATE_OPERATORS_H

#include "text/template/ast.h"

bool jinja_operate(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b,
                   JinjaValue *out);
bool jinja_sign(JinjaState *state, bool negative, const JinjaValue *value, JinjaValue *out);
bool jinja_compare(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b, bool *out);

/* One comparison; two strings, the common case, need no call. */
static inline bool jinja_compare_pair(JinjaState *state, JinjaOperator operation, const JinjaValue *left,
                                      const JinjaValue *right, bool *holds)
{
    if (left->kind == JINJA_STRING && right->kind == JINJA_STRING &&
        (operation == OPERATOR_EQUAL || operation == OPERATOR_NOT_EQUAL)) {
        *holds = jinja_same_string(left->string, right->string) == (operation == OPERATOR_EQUAL);
        return true;
    }
    return jinja_compare(state, operation, left, right, holds);
}

#endif
