/*
 * expression.h - regular expressions as schemas and requests write them, compiled to automata.
 *
 * The common ground of ECMA-262 and Python's re, with Python's meaning where they differ, because Python's jsonschema judges:
 * classes are Unicode-aware, `.` is all but a newline, `$` stands before a final newline too. What looks around
 * (?= ?! ?<= ?<! \b \B) may stand anywhere, only what looks behind not inside another look. Back-references, which are not regular, are
 * refused, and so are atomic groups and possessive repetitions.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_EXPRESSION_H
#define IMP_RUNTIME_CONSTRAINT_EXPRESSION_H

#include "runtime/constraint/dfa.h"

typedef enum ExpressionMode {
    EXPRESSION_SEARCH, /* accepts texts in which the pattern matches somewhere: JSON Schema's `pattern` */
    EXPRESSION_WHOLE,  /* accepts texts that the pattern matches from end to end */
} ExpressionMode;

/* IMP_ERR_FORMAT, IMP_ERR_UNSUPPORTED or IMP_ERR_LIMIT with the byte and the construct. */
ImpStatus expression_compile(Arena *arena, const char *pattern, size_t length, ExpressionMode mode, const Dfa **out);

#endif
