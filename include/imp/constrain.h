/*
 * imp/constrain.h - text that is what was asked for: JSON, JSON Schema, a regular expression or a grammar, enforced token by
 * token while the text is generated (ImpGenerateParams.constraint).
 */
#ifndef IMP_CONSTRAIN_H
#define IMP_CONSTRAIN_H

#include "imp/imp.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ImpConstraintKind {
    IMP_CONSTRAINT_JSON = 0,    /* any JSON object; no text needed */
    IMP_CONSTRAINT_SCHEMA = 1,  /* JSON Schema */
    IMP_CONSTRAINT_REGEX = 2,   /* the whole text matches */
    IMP_CONSTRAINT_GRAMMAR = 3, /* GBNF, from `root` */
} ImpConstraintKind;

/* Compiles `length` bytes (IMP_NUL_TERMINATED: up to the NUL). Immutable afterwards: any number of generations on any number of
 * threads and models may use it. IMP_ERR_FORMAT: not a schema, pattern or grammar; IMP_ERR_UNSUPPORTED: a construct that cannot
 * be enforced, named with its place; IMP_ERR_LIMIT: too large. */
IMP_API ImpStatus imp_constraint_compile(ImpConstraintKind kind, const char *text, size_t length, ImpConstraint *constraint);
IMP_API void imp_constraint_free(ImpConstraint constraint);

/* Looking inside: a line {"schema"|"regex"|"grammar": …, "text": …} gives {"accepted": …, "at": byte, "error": …,
 * "compile_ms": …, "mask_us": [p50, p99, max]}, the text taken token by token through the masks that generation uses. Buffers as
 * in imp/imp.h. */
IMP_API ImpStatus imp_constraint_check(ImpModel model, const char *line, size_t line_length, char *buffer, size_t size,
                                       size_t *length);

#ifdef __cplusplus
}
#endif
#endif
