/*
 * tool_list.h - the tools that a request offers: names, parameters, and what reading calls of them needs to know.
 */
#ifndef IMP_RUNTIME_TOOL_LIST_H
#define IMP_RUNTIME_TOOL_LIST_H

#include "core/status.h"

#include <jansson.h>
#include <stdbool.h>

enum { TOOL_MAX_COUNT = 1024, TOOL_MAX_NAME = 128 };

typedef struct OfferedTool {
    const char *name;
    size_t name_length;
    const json_t *parameters; /* a JSON Schema; NULL: none is given */
    bool strict;
} OfferedTool;

typedef struct ToolList {
    json_t *json; /* what was parsed; the tools point into it */
    OfferedTool *tools;
    size_t count;
} ToolList;

/* [{"type": "function", "function": {"name", "description", "parameters", "strict"}}, …], or the inner objects by themselves.
 * IMP_ERR_FORMAT with the tool's number. */
ImpStatus tool_list_parse(const char *json, size_t length, ToolList *out);
void tool_list_free(ToolList *list);

/* NULL when no tool has this name. */
const OfferedTool *tool_list_find(const ToolList *list, const char *name, size_t length);

typedef enum ParameterKind {
    PARAMETER_ANY,    /* nothing is known, or no string */
    PARAMETER_STRING, /* a string that has to satisfy more than its type */
    PARAMETER_TEXT    /* any string, or one of a list: where strings have no quotes its value is text as it stands */
} ParameterKind;

ParameterKind tool_parameter_kind(const OfferedTool *tool, const char *name, size_t length);
/* Name of the n-th declared parameter; NULL past the end. */
const char *tool_parameter_name(const OfferedTool *tool, size_t index);

#endif
