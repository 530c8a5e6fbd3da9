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
/* Name spaces that models put before the names of all tools; NULL past the end. */
const char *tool_name_space(size_t index);
/* The tool that a model calls so: by its name, with a name space or without. */
const OfferedTool *tool_list_find_called(const ToolList *list, const char *name, size_t length);

typedef enum ParameterKind {
    PARAMETER_ANY,    /* nothing is known, or no string */
    PARAMETER_STRING, /* a string that has to satisfy more than its type */
    PARAMETER_TEXT    /* any string, or one of a list: where strings have no quotes its value is text as it stands */
} ParameterKind;

/* The types of JSON that a parameter may have. */
enum {
    PARAMETER_OF_STRING = 1,
    PARAMETER_OF_NUMBER = 2,
    PARAMETER_OF_BOOLEAN = 4,
    PARAMETER_OF_NULL = 8,
    PARAMETER_OF_ARRAY = 16,
    PARAMETER_OF_OBJECT = 32
};
/* 0: its schema does not say. */
unsigned tool_parameter_types(const OfferedTool *tool, const char *name, size_t length);
/* The type of a value. */
unsigned tool_type_of(const json_t *value);

ParameterKind tool_parameter_kind(const OfferedTool *tool, const char *name, size_t length);
/* Name of the n-th declared parameter; NULL past the end. */
const char *tool_parameter_name(const OfferedTool *tool, size_t index);

#endif
