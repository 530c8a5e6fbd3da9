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

#endif
