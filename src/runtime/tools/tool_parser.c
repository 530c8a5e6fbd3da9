/*
 * tool_parser.c - phases over what is held: each consumes what it is sure of, or waits.
 *
 * In text, every place where one of the format's forms could begin is tried; the first that is a call's beginning for certain wins, and
 * while one may still become it the text waits there. White space before a call is not part of the answer. Between the ``` lines of a
 * code block stand examples of calls, where a format's marks are text that anybody can write.
 */
#include "runtime/tools/tool_parser_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SPACE = 256, THINK_MAX_BYTES = 64 };

static const char *rest(const ToolParser *parser) { return parser->held.data + parser->used; }
static size_t rest_length(const ToolParser *parser) { return parser->held.length - parser->used; }

/* ---- events ---- */

void parser_emit_text(ToolParser *parser, ImpToolEventKind kind, const char *text, size_t length)
{
    if (length == 0) return;
    parser->callback(parser->user, &(ImpToolEvent){.kind = kind, .index = parser->n_calls, .text = text, .length = length});
}

static uint64_t next_random(ToolParser *parser)
{
    uint64_t z = parser->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static bool is_id(const char *text, size_t length, size_t capacity)
{
    for (size_t i = 0; i < length; i++)
        if (strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-", text[i]) == NULL || text[i] == '\0')
            return false;
    return length > 0 && length < capacity;
}

/* `number`: as the model wrote it; it may have not. */
static void make_named_id(ToolParser *parser, const char *name, const char *number, size_t length)
{
    enum { MAX_DIGITS = 7 };
    size_t digits = 0;
    while (digits < length && number[digits] >= '0' && number[digits] <= '9') digits++;
    if (digits > 0 && digits == length && digits <= MAX_DIGITS)
        (void)snprintf(parser->id, sizeof parser->id, "functions.%s:%.*s", name, (int)digits, number);
    else (void)snprintf(parser->id, sizeof parser->id, "functions.%s:%d", name, (int)parser->n_calls);
}

static void make_id(ToolParser *parser)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = 0;
    const size_t count = parser->format->short_ids ? 9 : 24;
    if (!parser->format->short_ids) n = (size_t)snprintf(parser->id, sizeof parser->id, "call_");
    for (size_t i = 0; i < count; i++) parser->id[n++] = letters[next_random(parser) % (sizeof letters - 1)];
    parser->id[n] = '\0';
}

void parser_begin_call(ToolParser *parser, const OfferedTool *tool, const char *id, size_t id_length)
{
    if (parser->format->named_ids) {
        make_named_id(parser, tool->name, id, id_length);
    } else if (id != NULL && is_id(id, id_length, sizeof parser->id)) {
        memcpy(parser->id, id, id_length);
        parser->id[id_length] = '\0';
    } else {
        make_id(parser);
    }
    parser->callback(parser->user, &(ImpToolEvent){.kind = IMP_TOOL_CALL, .index = parser->n_calls, .id = parser->id,
                                                   .name = tool->name});
}

void parser_emit_arguments(ToolParser *parser, const char *text, size_t length)
{
    parser_emit_text(parser, IMP_TOOL_ARGUMENTS, text, length);
}

void parser_end_call(ToolParser *parser)
{
    parser->callback(parser->user, &(ImpToolEvent){.kind = IMP_TOOL_CALL_END, .index = parser->n_calls});
    parser->n_calls++;
    parser->skip_space = parser->behind_call = true;
}

/* ---- text ---- */

/* The format's other tags around reasoning. LITERAL_YES moves into it. */
static LiteralMatch match_think(ToolParser *parser, const char *text, size_t length, size_t *used)
{
    if (parser->format->think_open == NULL) return LITERAL_NO;
    const LiteralMatch match = literal_match(parser->format->think_open, text, length, used);
    return match == LITERAL_MORE && (parser->last || length > THINK_MAX_BYTES) ? LITERAL_NO : match;
}

/* Whether a call or reasoning begins at text[0], which is no white space. */
static LiteralMatch match_beginning(ToolParser *parser, const char *text, size_t length, bool at_start, ToolHeader *header,
                                    size_t *think_used)
{
    LiteralMatch best = match_think(parser, text, length, think_used);
    header->form = NULL;
    for (size_t i = 0; i < TOOL_MAX_FORMS && parser->format->forms[i].call != NULL && best == LITERAL_NO; i++) {
        const ToolForm *form = &parser->format->forms[i];
        if (parser->tools->count == 0 || (form->only_at_start && !at_start)) continue;
        best = tool_header_match(form, parser->tools, false, text, length, parser->last, header);
        if (best != LITERAL_YES) header->form = NULL;
    }
    return best;
}

static size_t leading_space(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && argument_is_space(text[n])) n++;
    return n;
}

/* Enters the arguments, which for JSON may all be there already. */
static void enter_call(ToolParser *parser, const ToolHeader *header)
{
    parser->form = header->form;
    parser_begin_call(parser, header->tool, header->id, header->id_length);
    argument_reader_begin(&parser->arguments, parser->format, header->form->arguments, header->tool);
    parser->phase = PHASE_ARGUMENTS;
    if (header->whole) {
        ArgumentStatus status = ARGUMENT_MORE;
        strbuf_clear(&parser->out);
        const char *text = header->arguments != NULL ? header->arguments : "{}";
        const size_t length = header->arguments != NULL ? header->arguments_length : 2;
        (void)argument_reader_push(&parser->arguments, text, length, true, &parser->out, &status);
        parser_emit_arguments(parser, parser->out.data, parser->out.length);
        parser_end_call(parser);
        parser->phase = PHASE_CALL_END;
    }
    parser->used += header->length;
    parser->nested = header->nested;
    parser->answered = true;
    parser->fence = (CodeFence){0}; /* what follows is on a line of its own */
}

static void send_text(ToolParser *parser, size_t length)
{
    code_fence_follow(&parser->fence, rest(parser), length);
    parser->answered = parser->answered || leading_space(rest(parser), length) < length;
    parser_emit_text(parser, IMP_TOOL_TEXT, rest(parser), length);
    parser->behind_call = parser->behind_call && length == 0;
    parser->used += length;
}

/* What begins behind `plain` bytes of text and some white space. */
static void begin(ToolParser *parser, size_t plain, size_t at, const ToolHeader *header, size_t think_used)
{
    send_text(parser, plain);
    parser->used += at - plain;
    if (header->form != NULL) {
        enter_call(parser, header);
    } else {
        parser->used += think_used;
        parser->skip_space = true;
        parser->phase = PHASE_REASONING;
    }
}

/* White space at the front that says nothing; false when there is nothing else. */
static bool skip_space(ToolParser *parser)
{
    const size_t space = leading_space(rest(parser), rest_length(parser));
    parser->used += space;
    parser->skip_space = rest_length(parser) == 0;
    return !parser->skip_space;
}

/* With the end of the text, whether what follows a call is the beginning of another, which was cut off. */
static bool is_cut_off(ToolParser *parser, const char *text, size_t length)
{
    ToolHeader header;
    for (size_t i = 0; i < TOOL_MAX_FORMS && parser->format->forms[i].call != NULL; i++) {
        const ToolForm *form = &parser->format->forms[i];
        if (form->only_at_start || length >= HEADER_MAX_BYTES) continue;
        if (tool_header_match(form, parser->tools, false, text, length, false, &header) == LITERAL_MORE) return true;
    }
    return false;
}

/* Sends the text that is certain: up to where something may begin, without the white space before that, unless there is much. */
static bool step_text(ToolParser *parser)
{
    if (parser->skip_space && !skip_space(parser)) return false;
    const char *text = rest(parser);
    const size_t length = rest_length(parser);
    size_t plain = 0;
    if (parser->last && parser->behind_call && is_cut_off(parser, text, length)) {
        parser->used = parser->held.length;
        return false;
    }
    bool at_start = !parser->answered;
    CodeFence fence = parser->fence; /* before text[at] */
    for (size_t at = 0; at < length; at++, at_start = false) {
        ToolHeader header;
        size_t think_used = 0;
        const size_t space = leading_space(text + at, length - at);
        code_fence_follow(&fence, text + at, space);
        const bool is_long = space > MAX_SPACE || (at == 0 && space > 0 && parser->long_space);
        at += space;
        if (is_long) plain = at;
        parser->long_space = is_long;
        if (at == length) break;
        const bool example = fence.inside && parser->format->code_is_text;
        const LiteralMatch match =
            example ? LITERAL_NO : match_beginning(parser, text + at, length - at, at_start, &header, &think_used);
        if (match == LITERAL_NO) {
            code_fence_follow(&fence, text + at, 1);
            plain = at + 1;
            continue;
        }
        if (match == LITERAL_YES) begin(parser, plain, at, &header, think_used);
        else send_text(parser, plain);
        return match == LITERAL_YES;
    }
    send_text(parser, parser->last ? length : plain);
    return false;
}

/* Up to the tag that ends it. */
static bool step_reasoning(ToolParser *parser)
{
    if (parser->skip_space && !skip_space(parser)) return false;
    const char *tag = parser->format->think_close;
    const size_t n = strlen(tag);
    const char *text = rest(parser);
    const size_t length = rest_length(parser);
    const char *end = length == 0 ? NULL : memmem(text, length, tag, n);
    size_t sure = end != NULL ? (size_t)(end - text) : length;
    if (end == NULL && !parser->last) {
        size_t begun = n - 1 < length ? n - 1 : length;
        while (begun > 0 && memcmp(text + length - begun, tag, begun) != 0) begun--;
        sure = length - begun;
    }
    parser_emit_text(parser, IMP_TOOL_REASONING, text, sure);
    parser->used += sure;
    if (end == NULL) return false;
    parser->used += n;
    parser->skip_space = true;
    parser->phase = PHASE_TEXT;
    return true;
}

/* ---- calls ---- */

static bool step_arguments(ToolParser *parser)
{
    ArgumentStatus status = ARGUMENT_MORE;
    strbuf_clear(&parser->out);
    const size_t used =
        argument_reader_push(&parser->arguments, rest(parser), rest_length(parser), parser->last, &parser->out, &status);
    parser->used += used;
    parser_emit_arguments(parser, parser->out.data, parser->out.length);
    if (status == ARGUMENT_MORE) {
        if (parser->last) parser_end_call(parser);
        return false;
    }
    parser_end_call(parser);
    parser->phase = parser->form->after_name == NULL ? PHASE_OBJECT_END : PHASE_CALL_END;
    if (status == ARGUMENT_BROKEN) parser->phase = PHASE_TEXT; /* what follows is no part of the call */
    return true;
}

static bool step_object_end(ToolParser *parser)
{
    size_t used = 0;
    const LiteralMatch match = tool_object_end_match(rest(parser), rest_length(parser), &used);
    const bool too_long = rest_length(parser) >= HEADER_MAX_BYTES;
    if (match == LITERAL_MORE && !too_long) {
        if (parser->last) parser->used = parser->held.length;
        return false;
    }
    parser->used += match == LITERAL_YES ? used : 0;
    if (!parser->nested || match != LITERAL_YES) parser->phase = PHASE_CALL_END; /* where the object's own bracket is missing, too */
    parser->nested = false;
    return true;
}

/* The end of one of the tags that a mark is made of. */
static const char *tag_end(const char *mark)
{
    const char *end = mark + strspn(mark, " \n");
    while (*end != '\0' && *end != '\n') end++;
    return end;
}

/* A mark of several tags, of which some may be missing. LITERAL_NO: all are. */
static LiteralMatch match_tags(const char *mark, const char *text, size_t length, size_t *used)
{
    char tag[64];
    LiteralMatch best = LITERAL_NO;
    for (*used = 0; *mark != '\0'; mark = tag_end(mark)) {
        size_t own = 0;
        (void)snprintf(tag, sizeof tag, "%.*s", (int)(tag_end(mark) - mark), mark);
        const size_t space = leading_space(text + *used, length - *used);
        const LiteralMatch match = literal_match(tag, text + *used + space, length - *used - space, &own);
        if (match == LITERAL_MORE) return LITERAL_MORE;
        if (match == LITERAL_NO) continue;
        best = LITERAL_YES;
        *used += space + own;
    }
    return best;
}

/* A mark, behind commas and brackets that are too many. */
static LiteralMatch match_end(const char *mark, const char *text, size_t length, size_t *used)
{
    enum { MOST_TOO_MANY = 3 };
    size_t at = 0;
    LiteralMatch match = match_tags(mark, text, length, used);
    for (int i = 0; i < MOST_TOO_MANY && match == LITERAL_NO && mark[0] != '\0'; i++) {
        at += leading_space(text + at, length - at);
        if (at == length) return LITERAL_MORE;
        if (text[at] != '}' && text[at] != ',') break;
        at++;
        match = match_tags(mark, text + at, length - at, used);
    }
    *used += at;
    return match;
}

/* A closing mark, which may be missing; with the text's end it need not be whole. */
static bool step_mark(ToolParser *parser, const char *mark, ParserPhase next)
{
    size_t used = 0;
    parser->used += leading_space(rest(parser), rest_length(parser));
    const size_t length = rest_length(parser) < MAX_SPACE ? rest_length(parser) : MAX_SPACE;
    const LiteralMatch match = match_end(mark, rest(parser), length, &used);
    if (match == LITERAL_MORE && length < MAX_SPACE) {
        if (parser->last) parser->used = parser->held.length;
        return false;
    }
    if (match == LITERAL_YES) parser->used += used;
    parser->phase = next;
    return true;
}

static bool step_call_end(ToolParser *parser)
{
    const ToolForm *form = parser->form;
    const bool follows = form->between != NULL && (form->open[0] != '\0' || form->call[0] == '\0');
    return step_mark(parser, form->call_end, follows ? PHASE_BETWEEN : PHASE_TEXT);
}

/* Another call at text[0]. Objects that stand in no list follow each other without their separator, too. */
static LiteralMatch match_next(const ToolParser *parser, const char *text, size_t length, ToolHeader *header)
{
    const ToolForm *form = parser->form;
    const LiteralMatch match = tool_header_match(form, parser->tools, true, text, length, false, header);
    const bool in_list = form->open[0] == '[' || form->after_name != NULL || form->close[0] == ']';
    if (match != LITERAL_NO || in_list) return match;
    ToolForm bare = *form;
    bare.between = "";
    const LiteralMatch loose = tool_header_match(&bare, parser->tools, true, text, length, false, header);
    header->form = form;
    return loose;
}

static bool step_between(ToolParser *parser)
{
    ToolHeader header;
    parser->used += leading_space(rest(parser), rest_length(parser));
    const LiteralMatch match = match_next(parser, rest(parser), rest_length(parser), &header);
    if (match == LITERAL_MORE) {
        if (parser->last) parser->used = parser->held.length; /* it was cut off */
        return false;
    }
    if (match == LITERAL_YES) {
        enter_call(parser, &header);
        return true;
    }
    return step_mark(parser, parser->form->close, PHASE_TEXT);
}

static bool step(ToolParser *parser)
{
    switch (parser->phase) {
    case PHASE_TEXT: return step_text(parser);
    case PHASE_REASONING: return step_reasoning(parser);
    case PHASE_ARGUMENTS: return step_arguments(parser);
    case PHASE_OBJECT_END: return step_object_end(parser);
    case PHASE_CALL_END: return step_call_end(parser);
    case PHASE_BETWEEN: return step_between(parser);
    case PHASE_MESSAGE_HEAD:
    case PHASE_MESSAGE: break;
    }
    return parser_channel_step(parser);
}

ImpStatus tool_parser_create(const ToolFormat *format, const ToolList *tools, uint64_t seed, ImpToolEventCallback *callback,
                             void *user, ToolParser **out)
{
    ToolParser *parser = calloc(1, sizeof *parser);
    if (parser == NULL) return imp_fail_memory(sizeof *parser);
    parser->format = format;
    parser->tools = tools;
    parser->callback = callback;
    parser->user = user;
    parser->random = seed;
    parser->phase = format->channels ? PHASE_MESSAGE_HEAD : PHASE_TEXT;
    *out = parser;
    return IMP_OK;
}

void tool_parser_free(ToolParser *parser)
{
    if (parser == NULL) return;
    argument_reader_free(&parser->arguments);
    strbuf_free(&parser->held);
    strbuf_free(&parser->out);
    free(parser);
}

ImpStatus tool_parser_push(ToolParser *parser, const char *text, size_t length, bool last)
{
    strbuf_append(&parser->held, text, length);
    parser->last = last;
    IMP_TRY(strbuf_check(&parser->held));
    while (step(parser)) continue;
    const size_t left = rest_length(parser);
    if (left > 0) memmove(parser->held.data, rest(parser), left);
    parser->held.length = left;
    parser->used = 0;
    if (parser->out.failed || parser->arguments.word.failed) return imp_fail_memory(left);
    return IMP_OK;
}
