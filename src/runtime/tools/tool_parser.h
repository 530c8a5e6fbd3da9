/*
 * tool_parser.h - an answer comes in pieces; text, reasoning and calls of tools go out, as early as they are certain.
 *
 * What comes out does not depend on how the answer was cut. Text that turns out not to be a call goes out whole. Memory is bounded by
 * the longest beginning of a call (tool_header.h) and the longest single value that must be whole (argument_reader.h).
 */
#ifndef IMP_RUNTIME_TOOL_PARSER_H
#define IMP_RUNTIME_TOOL_PARSER_H

#include "imp/tools.h"
#include "runtime/tools/tool_header.h"

typedef struct ToolParser ToolParser;

/* Format and tools outlive the parser. */
ImpStatus tool_parser_create(const ToolFormat *format, const ToolList *tools, uint64_t seed, ImpToolEventCallback *callback,
                             void *user, ToolParser **out);
void tool_parser_free(ToolParser *parser);
/* IMP_ERR_OUT_OF_MEMORY is the only failure. */
ImpStatus tool_parser_push(ToolParser *parser, const char *text, size_t length, bool last);

#endif
