/*
 * tool_header.c - a cursor over the text and functions that move it, each saying no, yes, or that it takes more text to know.
 */
#include "runtime/tools/tool_header.h"

#include <string.h>

typedef struct Cursor {
    const char *text;
    size_t at, length;
} Cursor;

/* Leaves the function unless the match is made. */
#define MATCH(expression)                                    \
    do {                                                     \
        const LiteralMatch match_ = (expression);            \
        if (match_ != LITERAL_YES) return match_;            \
    } while (0)

static void skip_space(Cursor *cursor)
{
    while (cursor->at < cursor->length && argument_is_space(cursor->text[cursor->at])) cursor->at++;
}

static LiteralMatch match_literal(Cursor *cursor, const char *literal)
{
    size_t used = 0;
    const LiteralMatch match = literal_match(literal, cursor->text + cursor->at, cursor->length - cursor->at, &used);
    if (match == LITERAL_YES) cursor->at += used;
    return match;
}

static LiteralMatch match_byte(Cursor *cursor, char byte)
{
    skip_space(cursor);
    if (cursor->at == cursor->length) return LITERAL_MORE;
    if (cursor->text[cursor->at] != byte) return LITERAL_NO;
    cursor->at++;
    return LITERAL_YES;
}

/* A JSON string, or one as Python quotes it; *content without its quotes. */
static LiteralMatch match_string(Cursor *cursor, const char **content, size_t *length)
{
    skip_space(cursor);
    const char quote = cursor->at < cursor->length && cursor->text[cursor->at] == '\'' ? '\'' : '"';
    MATCH(match_byte(cursor, quote));
    const size_t start = cursor->at;
    for (; cursor->at < cursor->length; cursor->at++) {
        if (cursor->text[cursor->at] == '\\') {
            cursor->at++;
        } else if (cursor->text[cursor->at] == quote) {
            *content = cursor->text + start;
            *length = cursor->at++ - start;
            return LITERAL_YES;
        }
    }
    return LITERAL_MORE;
}

/* Any JSON value, by its strings and brackets. */
static LiteralMatch match_value(Cursor *cursor)
{
    const char *content;
    size_t length;
    int depth = 0;
    skip_space(cursor);
    const size_t start = cursor->at;
    for (; cursor->at < cursor->length;) {
        const char byte = cursor->text[cursor->at];
        if (byte == '"' || byte == '\'') {
            MATCH(match_string(cursor, &content, &length));
            if (depth == 0) return LITERAL_YES;
            continue;
        }
        if (depth == 0 && strchr(",}]:", byte) != NULL) return cursor->at > start ? LITERAL_YES : LITERAL_NO;
        if (byte == '{' || byte == '[') depth++;
        if (byte == '}' || byte == ']') depth--;
        cursor->at++;
        if (depth == 0 && (byte == '}' || byte == ']')) return LITERAL_YES;
    }
    return LITERAL_MORE;
}

static bool is_word(const char *text, size_t length, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strlen(*words) == length && memcmp(*words, text, length) == 0) return true;
    return false;
}

static const char *const name_keys[] = {"name", "tool_name", "function", NULL};
static const char *const argument_keys[] = {"arguments", "parameters", NULL};
static const char *const id_keys[] = {"id", "tool_call_id", NULL};

/* Where the arguments are the object's value, they can be read as they come. */
static LiteralMatch match_arguments_start(Cursor *cursor)
{
    Cursor ahead;
    skip_space(cursor);
    if (cursor->at == cursor->length) return LITERAL_MORE;
    const char byte = cursor->text[cursor->at];
    if (byte == '{' || byte == '"') return LITERAL_YES;
    ahead = *cursor;
    if (byte != '[') return match_literal(&ahead, byte == 'N' ? "None" : "null");
    ahead.at++;
    return match_byte(&ahead, ']'); /* of no arguments */
}

static LiteralMatch match_members(Cursor *cursor, const ToolList *tools, ToolHeader *out, bool *arrived);

static LiteralMatch match_name(Cursor *cursor, const ToolList *tools, ToolHeader *out, bool *arrived)
{
    const char *value;
    size_t length;
    skip_space(cursor);
    if (cursor->at == cursor->length) return LITERAL_MORE;
    if (cursor->text[cursor->at] == '{' && !out->nested) {
        cursor->at++;
        out->nested = true;
        MATCH(match_members(cursor, tools, out, arrived));
        out->nested = *arrived;
        return out->tool != NULL ? LITERAL_YES : LITERAL_NO;
    }
    MATCH(match_string(cursor, &value, &length));
    out->tool = tool_list_find_called(tools, value, length);
    return out->tool != NULL ? LITERAL_YES : LITERAL_NO;
}

/* One member; *arrived: behind it come the arguments of a tool that is known. */
static LiteralMatch match_member(Cursor *cursor, const ToolList *tools, ToolHeader *out, bool *arrived)
{
    const char *key;
    size_t key_length;
    MATCH(match_string(cursor, &key, &key_length));
    MATCH(match_byte(cursor, ':'));
    if (is_word(key, key_length, name_keys)) return match_name(cursor, tools, out, arrived);
    if (is_word(key, key_length, id_keys) && cursor->at < cursor->length) {
        Cursor ahead = *cursor;
        if (match_string(&ahead, &out->id, &out->id_length) == LITERAL_NO) return match_value(cursor);
        return match_string(cursor, &out->id, &out->id_length);
    }
    if (!is_word(key, key_length, argument_keys)) return match_value(cursor);
    MATCH(match_arguments_start(cursor));
    *arrived = out->tool != NULL;
    if (*arrived) return LITERAL_YES;
    out->arguments = cursor->text + cursor->at;
    const size_t start = cursor->at;
    MATCH(match_value(cursor));
    out->arguments_length = cursor->at - start;
    return LITERAL_YES;
}

/* "name": …, "arguments": up to the value, or to the end of the object where the arguments stand first or nowhere. */
static LiteralMatch match_members(Cursor *cursor, const ToolList *tools, ToolHeader *out, bool *arrived)
{
    for (;;) {
        MATCH(match_member(cursor, tools, out, arrived));
        if (*arrived) return LITERAL_YES;
        skip_space(cursor);
        if (cursor->at == cursor->length) return LITERAL_MORE;
        if (cursor->text[cursor->at] == '}') break;
        MATCH(match_byte(cursor, ','));
    }
    cursor->at++;
    return LITERAL_YES;
}

static LiteralMatch match_object(Cursor *cursor, const ToolList *tools, ToolHeader *out)
{
    bool arrived = false;
    MATCH(match_byte(cursor, '{'));
    MATCH(match_members(cursor, tools, out, &arrived));
    out->length = cursor->at;
    out->whole = !arrived;
    return out->tool != NULL ? LITERAL_YES : LITERAL_NO;
}

/* id_mark id, where there is one. */
static LiteralMatch match_id(Cursor *cursor, const ToolForm *form, ToolHeader *out)
{
    if (form->id_mark == NULL) return LITERAL_YES;
    const LiteralMatch mark = match_literal(cursor, form->id_mark);
    if (mark == LITERAL_NO) return LITERAL_YES;
    MATCH(mark);
    skip_space(cursor);
    const size_t start = cursor->at;
    while (cursor->at < cursor->length && strchr("[<{ \n", cursor->text[cursor->at]) == NULL) cursor->at++;
    if (cursor->at == cursor->length) return LITERAL_MORE;
    out->id = cursor->text + start;
    out->id_length = cursor->at - start;
    return LITERAL_YES;
}

/* What follows a name, up to where the arguments can be read. */
static LiteralMatch match_after_name(Cursor *cursor, const ToolForm *form, ToolHeader *out)
{
    MATCH(match_id(cursor, form, out));
    skip_space(cursor);
    MATCH(match_literal(cursor, form->after_name));
    if (form->arguments == ARGUMENTS_JSON) MATCH(match_byte(cursor, '{'));
    if (form->arguments == ARGUMENTS_JSON) cursor->at--;
    return LITERAL_YES;
}

/* A name ends where nothing but white space is asked for behind it. */
static LiteralMatch match_name_end(const Cursor *cursor, const ToolForm *form)
{
    if (form->id_mark != NULL || form->after_name[strspn(form->after_name, " \n")] != '\0') return LITERAL_YES;
    if (cursor->at == cursor->length) return LITERAL_MORE;
    const char byte = cursor->text[cursor->at];
    return argument_is_space(byte) || byte == '<' || byte == '{' ? LITERAL_YES : LITERAL_NO;
}

/* A tool's name, with or without a name space. */
static LiteralMatch match_called(Cursor *cursor, const char *name)
{
    const char *space;
    LiteralMatch best = match_literal(cursor, name);
    for (size_t i = 0; best != LITERAL_YES && (space = tool_name_space(i)) != NULL; i++) {
        Cursor ahead = *cursor;
        LiteralMatch match = match_literal(&ahead, space);
        if (match == LITERAL_YES) match = match_literal(&ahead, name);
        if (match == LITERAL_YES) *cursor = ahead;
        if (match != LITERAL_NO) best = match;
    }
    return best;
}

/* The longest of the offered names that is followed by what has to follow it. */
static LiteralMatch match_named(Cursor *cursor, const ToolForm *form, const ToolList *tools, ToolHeader *out)
{
    LiteralMatch best = LITERAL_NO;
    skip_space(cursor);
    for (size_t i = 0; i < tools->count; i++) {
        const OfferedTool *tool = &tools->tools[i];
        Cursor behind = *cursor;
        ToolHeader header = *out;
        if (out->tool != NULL && tool->name_length < out->tool->name_length) continue;
        LiteralMatch match = match_called(&behind, tool->name);
        if (match == LITERAL_YES) match = match_name_end(&behind, form);
        if (match == LITERAL_YES) match = match_after_name(&behind, form, &header);
        if (match == LITERAL_NO) continue;
        best = match;
        *out = header;
        out->tool = tool;
        out->length = behind.at;
    }
    return best;
}

LiteralMatch tool_header_match(const ToolForm *form, const ToolList *tools, bool inside, const char *text, size_t length,
                               bool last, ToolHeader *out)
{
    Cursor cursor = {text, 0, length < HEADER_MAX_BYTES ? length : HEADER_MAX_BYTES};
    *out = (ToolHeader){.form = form};
    LiteralMatch match = match_literal(&cursor, inside ? form->between : form->open);
    if (match == LITERAL_YES && (form->call[0] != '\0' || inside)) skip_space(&cursor);
    if (match == LITERAL_YES) match = match_literal(&cursor, form->call);
    if (match == LITERAL_YES)
        match = form->after_name == NULL ? match_object(&cursor, tools, out) : match_named(&cursor, form, tools, out);
    /* Nothing but its arguments tells a bare object from text that is JSON. */
    if (match == LITERAL_YES && out->whole && out->arguments == NULL && form->only_at_start) match = LITERAL_NO;
    return match == LITERAL_MORE && (last || length >= HEADER_MAX_BYTES) ? LITERAL_NO : match;
}

LiteralMatch tool_object_end_match(const char *text, size_t length, size_t *used)
{
    Cursor cursor = {text, 0, length < HEADER_MAX_BYTES ? length : HEADER_MAX_BYTES};
    ToolHeader ignored = {0};
    const ToolList none = {0};
    bool arrived = false;
    for (;;) {
        skip_space(&cursor);
        if (cursor.at == cursor.length) return LITERAL_MORE;
        if (cursor.text[cursor.at] == '}') break;
        MATCH(match_byte(&cursor, ','));
        skip_space(&cursor);
        if (cursor.at == cursor.length) return LITERAL_MORE;
        if (cursor.text[cursor.at] == '}') break;
        MATCH(match_member(&cursor, &none, &ignored, &arrived));
    }
    *used = cursor.at + 1;
    return LITERAL_YES;
}
