/*
 * tool_channels.c - answers that are messages on channels, as gpt-oss writes them:
 *
 *   <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
 *
 * A message to a function that was offered is a call, whatever its channel; other messages of the analysis channel are reasoning, and all
 * others are the answer.
 */
#include "runtime/tools/tool_parser_internal.h"

#include <string.h>

enum { HEAD_MAX_BYTES = 1024 };

static const char message_mark[] = "<|message|>";
static const char *const end_marks[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"};
enum { N_END_MARKS = sizeof end_marks / sizeof end_marks[0], N_CLOSING_MARKS = 3, LONGEST_MARK = 11 };

static const OfferedTool *recipient(const ToolParser *parser, const char *head, size_t length)
{
    static const char prefix[] = "to=";
    const OfferedTool *tool = NULL;
    const char *end = head + length;
    while (tool == NULL && (head = memmem(head, (size_t)(end - head), prefix, sizeof prefix - 1)) != NULL) {
        size_t n = 0;
        head += sizeof prefix - 1;
        while (head + n < end && !argument_is_space(head[n]) && head[n] != '<') n++;
        tool = tool_list_find_called(parser->tools, head, n);
    }
    return tool;
}

static void open_message(ToolParser *parser, const char *head, size_t length)
{
    static const char analysis[] = "<|channel|>analysis";
    const OfferedTool *tool = recipient(parser, head, length);
    parser->phase = PHASE_MESSAGE;
    parser->skip_space = tool != NULL;
    if (tool != NULL) {
        parser->message_kind = IMP_TOOL_ARGUMENTS;
        parser->form = &parser->format->forms[0];
        parser_begin_call(parser, tool, NULL, 0);
        argument_reader_begin(&parser->arguments, parser->format, ARGUMENTS_JSON, tool);
    } else {
        const bool reasons = length >= sizeof analysis - 1 && memmem(head, length, analysis, sizeof analysis - 1) != NULL;
        parser->message_kind = reasons ? IMP_TOOL_REASONING : IMP_TOOL_TEXT;
    }
}

/* What a head may begin with; text that begins otherwise is a message without one. */
static bool may_be_head(const char *text, size_t length)
{
    static const char *const beginnings[] = {"<|start|>", "<|channel|>", "<|message|>", " to="};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        const size_t n = strlen(beginnings[i]);
        if (memcmp(beginnings[i], text, length < n ? length : n) == 0) return true;
    }
    return false;
}

static bool step_head(ToolParser *parser)
{
    const char *text = parser->held.data + parser->used;
    size_t length = parser->held.length - parser->used;
    if (length == 0) return false;
    const size_t seen = length < HEAD_MAX_BYTES ? length : HEAD_MAX_BYTES;
    const char *mark = memmem(text, seen, message_mark, sizeof message_mark - 1);
    const bool too_long = mark == NULL && length >= HEAD_MAX_BYTES;
    if (!may_be_head(text, length) || too_long) {
        /* The mark that it begins with would end the message at once. */
        if (too_long) parser_emit_text(parser, IMP_TOOL_TEXT, text, 1);
        parser->used += too_long ? 1 : 0;
        parser->message_kind = IMP_TOOL_TEXT;
        parser->phase = PHASE_MESSAGE;
        return true;
    }
    if (mark != NULL) {
        open_message(parser, text, (size_t)(mark - text));
        parser->used += (size_t)(mark - text) + sizeof message_mark - 1;
        return true;
    }
    if (parser->last && text[0] == '<') parser->used = parser->held.length; /* a head without its message says nothing */
    if (parser->last && text[0] != '<') {
        parser_emit_text(parser, IMP_TOOL_TEXT, text, length);
        parser->used = parser->held.length;
    }
    return false;
}

/* The first mark that ends a message; NULL: none is there, and *sure bytes cannot be the beginning of one. */
static const char *find_end(const ToolParser *parser, const char *text, size_t length, size_t *sure, size_t *mark_length)
{
    for (size_t at = 0; at < length; at++) {
        if (text[at] != '<') continue;
        for (size_t i = 0; i < N_END_MARKS; i++) {
            const size_t n = strlen(end_marks[i]);
            const size_t have = length - at < n ? length - at : n;
            if (memcmp(end_marks[i], text + at, have) != 0) continue;
            *sure = at;
            *mark_length = i < N_CLOSING_MARKS ? n : 0;
            if (have == n) return text + at;
            if (!parser->last) return NULL;
        }
    }
    *sure = length;
    return NULL;
}

/* Arguments end by themselves: what looks like a mark inside of their strings is none. False when more text must come. */
static bool step_message_arguments(ToolParser *parser)
{
    ArgumentStatus status = ARGUMENT_MORE;
    const size_t length = parser->held.length - parser->used;
    strbuf_clear(&parser->out);
    parser->used += argument_reader_push(&parser->arguments, parser->held.data + parser->used, length, parser->last, &parser->out,
                                         &status);
    parser_emit_arguments(parser, parser->out.data, parser->out.length);
    if (status == ARGUMENT_MORE && !parser->last) return false;
    parser_end_call(parser);
    parser->message_kind = IMP_TOOL_CALL_END; /* nothing more is asked of this message */
    return true;
}

static bool step_message(ToolParser *parser)
{
    if (parser->message_kind == IMP_TOOL_ARGUMENTS) return step_message_arguments(parser);
    size_t sure = 0;
    size_t mark_length = 0;
    const char *text = parser->held.data + parser->used;
    const size_t length = parser->held.length - parser->used;
    const char *end = find_end(parser, text, length, &sure, &mark_length);
    if (parser->message_kind != IMP_TOOL_CALL_END) parser_emit_text(parser, parser->message_kind, text, sure);
    parser->used += sure + (end != NULL ? mark_length : 0);
    if (end == NULL && !parser->last) return false;
    parser->message_kind = IMP_TOOL_TEXT;
    parser->phase = PHASE_MESSAGE_HEAD;
    return end != NULL;
}

bool parser_channel_step(ToolParser *parser)
{
    return parser->phase == PHASE_MESSAGE_HEAD ? step_head(parser) : step_message(parser);
}
