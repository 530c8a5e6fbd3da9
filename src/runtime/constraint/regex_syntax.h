/*
 * regex_syntax.h - the syntax tree of a regular expression.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_REGEX_SYNTAX_H
#define IMP_RUNTIME_CONSTRAINT_REGEX_SYNTAX_H

#include "runtime/constraint/charset.h"

typedef enum RegexKind {
    REGEX_SET,       /* one character of `set` */
    REGEX_SEQUENCE,  /* parts[0], then parts[1], … ; none: the empty text */
    REGEX_CHOICE,    /* one of parts[] */
    REGEX_REPEAT,    /* parts[0], min to max times (max REGEX_FOREVER: no end) */
    REGEX_START,     /* ^ \A */
    REGEX_DOLLAR,    /* $ */
    REGEX_END,       /* \Z \z */
    REGEX_AHEAD,     /* (?=parts[0]) */
    REGEX_NOT_AHEAD, /* (?!parts[0]) */
} RegexKind;

#define REGEX_FOREVER UINT32_MAX

typedef struct RegexNode RegexNode;
struct RegexNode {
    RegexKind kind;
    uint32_t min, max;
    size_t n_parts, at; /* `at`: byte of the pattern, for messages */
    CharSet set;
    RegexNode **parts;
};

ImpStatus regex_parse(Arena *arena, const char *pattern, size_t length, RegexNode **out);

#endif
