/*
 * tool_header.h - recognizes the beginning and the end of a call in text that may not all be there yet.
 *
 * Nothing is remembered between attempts: the same bytes give the same answer however they came.
 */
#ifndef IMP_RUNTIME_TOOL_HEADER_H
#define IMP_RUNTIME_TOOL_HEADER_H

#include "runtime/tools/argument_reader.h"

/* A call is recognized within so many bytes, or it is text. */
enum { HEADER_MAX_BYTES = 4096 };

typedef struct ToolHeader {
    const ToolForm *form;
    const OfferedTool *tool;
    const char *id;             /* as the model wrote it, NULL: it did not */
    size_t id_length;
    size_t length;              /* bytes up to the arguments, or up to the end of the JSON object */
    const char *arguments;      /* JSON: they came before the name */
    size_t arguments_length;
    bool whole;                 /* JSON: the object ended; without `arguments` it had none */
    bool nested;                /* JSON: name and arguments stand in an object of the object, {"function": {…}} */
} ToolHeader;

/* What `text` begins with: open (unless `inside`, and then what stands between two calls), the mark of a call, its name. */
LiteralMatch tool_header_match(const ToolForm *form, const ToolList *tools, bool inside, const char *text, size_t length,
                               bool last, ToolHeader *out);
/* Behind the arguments: the rest of the JSON object. *used: its bytes. */
LiteralMatch tool_object_end_match(const char *text, size_t length, size_t *used);

#endif
