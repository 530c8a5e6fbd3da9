/*
 * tool_text.h - text in which tool_parser.c finds no call, as a part of a constraint: what an answer may say besides calling.
 */
#ifndef IMP_RUNTIME_TOOL_TEXT_H
#define IMP_RUNTIME_TOOL_TEXT_H

#include "runtime/constraint/compose.h"
#include "runtime/tools/tool_format.h"

/* *whole: a text without calls. *before_calls: one behind which a call is read as such. For formats without channels. */
ImpStatus tool_text_add(ConstraintBuilder *builder, const ToolFormat *format, ConstraintPart *whole, ConstraintPart *before_calls);

#endif
