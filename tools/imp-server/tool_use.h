/*
 * tool_use.h - what a request says of tools, in either dialect: which are offered, whether they must be called, and how the
 * conversation's earlier calls go through the model's template.
 */
#ifndef IMP_SERVER_TOOL_USE_H
#define IMP_SERVER_TOOL_USE_H

#include "fields.h"
#include "server.h"

#include "imp/tools.h"

typedef struct ToolUse {
    ImpTools tools; /* what reads the answer; NULL after a failure only */
    json_t *list;   /* the tools in OpenAI's shape, as templates want them; NULL: none may be called */
    ImpToolRules rules;
} ToolUse;

/* tools, tool_choice, parallel_tool_calls. */
void tool_use_read_openai(const Server *server, Fields *fields, ToolUse *out);
/* tools, tool_choice with disable_parallel_tool_use. */
void tool_use_read_anthropic(const Server *server, Fields *fields, ToolUse *out);
void tool_use_free(ToolUse *use);

/* Whether answers have to be read for calls. */
bool tool_use_reads(const ToolUse *use);

/* Anthropic's tools in OpenAI's shape, a new reference; NULL when there are none. */
json_t *anthropic_tools(Fields *fields);

/* Changes messages in OpenAI's shape to what the model's template can show: calls, results and, where it has no place for `list`
 * (NULL: none are offered), the tools themselves. */
void tool_use_adapt(Server *server, const ToolUse *use, const json_t *list, json_t *messages);

#endif
