/*
 * tool_parser_internal.h - the parser's state, for its two halves: calls in a text, and messages on channels.
 */
#ifndef IMP_RUNTIME_TOOL_PARSER_INTERNAL_H
#define IMP_RUNTIME_TOOL_PARSER_INTERNAL_H

#include "runtime/tools/code_fence.h"
#include "runtime/tools/tool_parser.h"

typedef enum ParserPhase {
    PHASE_TEXT,
    PHASE_REASONING,
    PHASE_ARGUMENTS,
    PHASE_OBJECT_END, /* behind the arguments: the rest of the JSON object */
    PHASE_CALL_END,   /* the mark behind a call */
    PHASE_BETWEEN,    /* another call may follow, or what closes them all */
    PHASE_MESSAGE_HEAD, /* channels: up to <|message|> */
    PHASE_MESSAGE
} ParserPhase;

struct ToolParser {
    const ToolFormat *format;
    const ToolList *tools;
    ImpToolEventCallback *callback;
    void *user;
    ParserPhase phase;
    StrBuf held;        /* bytes that no phase has consumed yet */
    size_t used;        /* of these */
    bool last;
    bool answered;      /* something other than white space went out as text: nothing starts here any more */
    bool skip_space;    /* behind a call: white space says nothing */
    bool behind_call;   /* nothing was said since the last one */
    CodeFence fence;    /* behind the text that was sent */
    bool long_space;    /* the text so far ends in more white space than is held back */
    const ToolForm *form;
    bool nested;        /* the call's object stands in another */
    ArgumentReader arguments;
    StrBuf out;
    uint64_t random;
    int32_t n_calls;
    char id[TOOL_MAX_NAME + 64];
    ImpToolEventKind message_kind; /* channels: what the message at hand is */
};

void parser_emit_text(ToolParser *parser, ImpToolEventKind kind, const char *text, size_t length);
/* Reports the call; `id` NULL: made here. */
void parser_begin_call(ToolParser *parser, const OfferedTool *tool, const char *id, size_t id_length);
void parser_emit_arguments(ToolParser *parser, const char *text, size_t length);
void parser_end_call(ToolParser *parser);

/* Runs a phase of channels over held[used …]; false when it takes more text. */
bool parser_channel_step(ToolParser *parser);

#endif
