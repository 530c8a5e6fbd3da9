/*
 * tool_format.h - how models write calls of tools: one row a format, found by what a chat template says.
 *
 * A format has one form that is asked for and constrained (the first) and others that its models are known to write besides. White
 * space inside of these strings stands for any run of white space when calls are read, and for itself when they are constrained.
 */
#ifndef IMP_RUNTIME_TOOL_FORMAT_H
#define IMP_RUNTIME_TOOL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ArgumentSyntax {
    ARGUMENTS_JSON,   /* {"city": "Oslo", "days": 3} */
    ARGUMENTS_PYTHON, /* city="Oslo", days=3) */
    ARGUMENTS_BARE,   /* city:<quote>Oslo<quote>,days:3} */
    ARGUMENTS_TAGGED  /* <parameter=city>\nOslo\n</parameter>, each value between tags */
} ArgumentSyntax;

typedef struct ToolForm {
    const char *open, *close;   /* around all calls that follow each other; "": nothing */
    const char *call, *call_end; /* around each */
    const char *between;        /* between two of them; NULL: there is only one */
    const char *after_name;     /* between name and arguments; NULL: name and arguments are members of a JSON object */
    const char *id_mark;        /* between name and the call's id, where there may be one; NULL: never */
    ArgumentSyntax arguments;
    bool only_at_start;         /* of the answer: elsewhere the same characters are text */
} ToolForm;

enum { TOOL_MAX_FORMS = 10, TOOL_MAX_SIGNS = 2 };

typedef struct ToolFormat {
    const char *name;
    const char *signs[TOOL_MAX_SIGNS]; /* a template that holds all of these, or a vocabulary */
    const char *other_sign;            /* that tells by itself, too */
    const char *arguments_key;         /* of the JSON object, where it is one */
    const char *key_open, *key_end, *value_end; /* ARGUMENTS_TAGGED: around a parameter's name, behind its value */
    const char *key_end_json;          /* the second instead, where the value is JSON: then key_end stands before text as it is */
    const char *quote;                 /* ARGUMENTS_BARE */
    const char *think_open, *think_close; /* reasoning apart from the answer, where it is not <think> */
    bool code_is_text;                 /* a call in a block of code is an example: its marks are no tokens that only calls have */
    bool channels;                     /* the answer is a list of messages on channels */
    bool short_ids;                    /* ids are nine letters and digits */
    bool named_ids;                    /* names are written functions.NAME:NUMBER, which is the call's id, too */
    ToolForm forms[TOOL_MAX_FORMS];    /* up to the first whose `call` is NULL */
} ToolFormat;

typedef bool ToolSignTest(const void *where, const char *sign);

/* The format of a template (NULL: there is none), or else of a vocabulary in which `is_token` (may be NULL) finds signs. Never
 * NULL: what no row knows is the last row, JSON between tags. */
const ToolFormat *tool_format_detect(const char *chat_template, ToolSignTest *is_token, const void *tokens);
/* By name; NULL when there is none. */
const ToolFormat *tool_format_find(const char *name);
/* In the table's order; NULL past the end. */
const ToolFormat *tool_format_at(size_t index);

#endif
