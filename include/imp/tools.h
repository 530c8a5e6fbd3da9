/*
 * imp/tools.h - calls of tools: recognized in what a model writes, in the model's own format, and enforced while it writes.
 *
 * A set of tools knows the format (found by the chat template and the vocabulary), makes constraints under which only valid
 * calls of its tools can be generated (ImpGenerateParams.constraint), and reads answers piece by piece.
 */
#ifndef IMP_TOOLS_H
#define IMP_TOOLS_H

#include "imp/imp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque handles, passed by value; NULL is none. A set of tools is immutable and any number of threads may use it; a reader belongs
 * to one answer and one thread at a time. Both outlive neither their model nor, for a reader, its set. */
typedef struct ImpToolsObject *ImpTools;
typedef struct ImpToolReaderObject *ImpToolReader;

/* `tools`: a JSON list as OpenAI's API has it, [{"type": "function", "function": {"name", "description", "parameters", "strict"}},
 * …]; NULL: none, for models whose answers have channels all the same. `chat_template`: as ImpGenerateParams has it. `format`: a name
 * of imp_tool_format_name; NULL or "auto": found. IMP_ERR_FORMAT names the tool that is wrong. */
IMP_API ImpStatus imp_tools_create(ImpModel model, const char *tools, size_t length, const char *chat_template,
                                   const char *format, ImpTools *out);
IMP_API void imp_tools_free(ImpTools tools);

/* The format's name, and all names in order, NULL past the end. */
IMP_API const char *imp_tools_format(ImpTools tools);
IMP_API const char *imp_tool_format_name(size_t index);

/* What the chat template has no place for: who renders it has to put that into the messages' text. */
enum {
    IMP_TOOLS_NO_LIST = 1,   /* the tools that are offered */
    IMP_TOOLS_NO_CALLS = 2,  /* tool_calls of the assistant's messages */
    IMP_TOOLS_NO_RESULTS = 4, /* messages of the role "tool" */
    IMP_TOOLS_IN_SYSTEM = 8   /* the tools are not a variable but a member of the system message, as text */
};
IMP_API unsigned imp_tools_missing(ImpTools tools);
/* Calls are marked with special tokens of the model: set ImpGenerateParams.keep_special, or they will not be seen. */
IMP_API bool imp_tools_need_special(ImpTools tools);
/* Even an answer without calls needs to be read (channels, reasoning between marks of its own). */
IMP_API bool imp_tools_always_read(ImpTools tools);
/* Ids of calls in this format are nine letters and digits. */
IMP_API bool imp_tools_have_short_ids(ImpTools tools);
/* A call as the model would write it, `arguments` being a JSON object: for histories of models whose template cannot. */
IMP_API ImpStatus imp_tools_write_call(ImpTools tools, const char *name, const char *arguments, char *buffer, size_t size,
                                       size_t *length);

typedef enum ImpToolChoice {
    IMP_TOOL_CHOICE_AUTO = 0,    /* text or calls; calls of strict tools are valid */
    IMP_TOOL_CHOICE_REQUIRED = 1 /* at least one call, and every call is valid */
} ImpToolChoice;

typedef struct ImpToolRules {
    size_t size;
    ImpToolChoice choice;
    const char *only;       /* the one tool that may be called; NULL: all */
    bool single;            /* one call at most */
    bool strict;            /* arguments of all tools validate, also under AUTO */
    /* The tag of a block of reasoning that the answer may begin with, as ImpRequest.reasoning_open has it: what is inside does
     * not reach the constraint. NULL: none. */
    const char *reasoning_open;
    bool no_reasoning;         /* none may come first, also where the format has tags of its own for it */
    const char *answer_schema; /* under AUTO: an answer without calls satisfies this JSON Schema; NULL: it is any text */
} ImpToolRules;

/* *constraint is NULL when the rules constrain nothing. IMP_ERR_UNSUPPORTED and IMP_ERR_FORMAT name the tool whose schema cannot
 * be enforced. */
IMP_API ImpStatus imp_tools_constrain(ImpTools tools, const ImpToolRules *rules, ImpConstraint *constraint);

typedef enum ImpToolEventKind {
    IMP_TOOL_TEXT = 0,      /* of the answer */
    IMP_TOOL_REASONING = 1, /* text before the answer, where the format tells them apart */
    IMP_TOOL_CALL = 2,      /* a call begins: index, id, name */
    IMP_TOOL_ARGUMENTS = 3, /* more of the arguments of the call at hand, as JSON text */
    IMP_TOOL_CALL_END = 4   /* its arguments are whole */
} ImpToolEventKind;

/* Valid during the callback only. `text` is not NUL-terminated. */
typedef struct ImpToolEvent {
    ImpToolEventKind kind;
    int32_t index;        /* of the call, 0 … */
    const char *id, *name;
    const char *text;     /* never empty for text, reasoning and arguments */
    size_t length;
} ImpToolEvent;

typedef void ImpToolEventCallback(void *user, const ImpToolEvent *event);

/* `seed` makes the ids. */
IMP_API ImpStatus imp_tool_reader_create(ImpTools tools, uint64_t seed, ImpToolEventCallback *callback, void *user,
                                         ImpToolReader *out);
/* Text in pieces of any size; `last`: nothing follows. What comes out does not depend on how it was cut. */
IMP_API ImpStatus imp_tool_reader_push(ImpToolReader reader, const char *text, size_t length, bool last);
IMP_API void imp_tool_reader_free(ImpToolReader reader);

#ifdef __cplusplus
}
#endif
#endif
