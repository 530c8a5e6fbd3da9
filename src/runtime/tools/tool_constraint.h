/*
 * tool_constraint.h - constraints under which only valid calls of the offered tools can be written, in a format's first form.
 */
#ifndef IMP_RUNTIME_TOOL_CONSTRAINT_H
#define IMP_RUNTIME_TOOL_CONSTRAINT_H

#include "runtime/constraint/constraint.h"
#include "runtime/tools/tool_format.h"
#include "runtime/tools/tool_list.h"

/* At most so many calls in one answer: a model that goes on calling has to come to an end. */
enum { TOOL_MAX_CALLS = 32 };

typedef struct ToolRules {
    bool required;           /* at least one call, and nothing but calls; otherwise text or calls */
    const OfferedTool *only; /* NULL: any of the list */
    bool single;             /* one call at most */
    const char *reasoning_open; /* tag of a block that may come first, whose inside does not reach the constraint; NULL: none */
    bool no_reasoning;       /* also where the format has tags of its own for it */
    const json_t *answer;    /* not required: the schema of an answer without calls; NULL: any text */
} ToolRules;

/* Special tokens are the tokenizer's (NULL: there are none). A tool whose schema cannot be enforced is named in the sentence. */
ImpStatus tool_constraint_create(const ToolFormat *format, const ToolList *tools, const ToolRules *rules,
                                 const Tokenizer *tokenizer, Constraint **out);

/* Appends a call as the format's first form has it. */
ImpStatus tool_write_call(const ToolFormat *format, const char *name, const json_t *arguments, StrBuf *out);

/* Whether calls of the format hold special tokens. */
bool tool_format_has_special(const ToolFormat *format, const Tokenizer *tokenizer);

#endif
