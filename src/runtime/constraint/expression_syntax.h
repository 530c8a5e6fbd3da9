/*
 * expression_syntax.h - the syntax tree of a regular expression.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_EXPRESSION_SYNTAX_H
#define IMP_RUNTIME_CONSTRAINT_EXPRESSION_SYNTAX_H

#include "runtime/constraint/charset.h"

typedef enum ExpressionKind {
    EXPRESSION_SET,       /* one character of `set` */
    EXPRESSION_SEQUENCE,  /* parts[0], then parts[1], … ; none: the empty text */
    EXPRESSION_CHOICE,    /* one of parts[] */
    EXPRESSION_REPEAT,    /* parts[0], min to max times (max EXPRESSION_FOREVER: no end) */
    EXPRESSION_START,     /* ^ \A */
    EXPRESSION_DOLLAR,    /* $ */
    EXPRESSION_END,       /* \Z \z */
    EXPRESSION_AHEAD,     /* (?=parts[0]) */
    EXPRESSION_NOT_AHEAD, /* (?!parts[0]) */
    EXPRESSION_BEHIND,    /* (?<=parts[0]) */
    EXPRESSION_NOT_BEHIND, /* (?<!parts[0]) */
    EXPRESSION_BORDER,    /* \b */
    EXPRESSION_NOT_BORDER, /* \B */
} ExpressionKind;

#define EXPRESSION_FOREVER UINT32_MAX

typedef struct ExpressionNode ExpressionNode;
struct ExpressionNode {
    ExpressionKind kind;
    uint32_t min, max;
    size_t n_parts, at; /* `at`: byte of the pattern, for messages */
    CharSet set;
    ExpressionNode **parts;
};

ImpStatus expression_parse(Arena *arena, const char *pattern, size_t length, ExpressionNode **out);

#endif
