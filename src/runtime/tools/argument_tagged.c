/*
 * argument_tagged.c - each argument between tags: <parameter=city>\nOslo\n</parameter>.
 *
 * What a value means is mostly not in the text (one format says it there) but in the tool's schema: a parameter that is declared a string is taken as it stands and
 * handed on while it comes (one that has to satisfy more may stand in quotes, as constraints have it); of any other the whole text decides
 * whether it is JSON, a Python literal or a string after all.
 */
#include "runtime/tools/argument_reader.h"

#include <string.h>

enum { TAGGED_START, TAGGED_BETWEEN, TAGGED_KEY, TAGGED_OPENED, TAGGED_TEXT, TAGGED_STRING, TAGGED_VALUE };

/* Whether the text at hand goes on as the literal says, exactly; LITERAL_MORE: as far as it goes. */
static LiteralMatch starts_with(const char *literal, const char *text, size_t length)
{
    const size_t n = strlen(literal);
    if (memcmp(literal, text, length < n ? length : n) != 0) return LITERAL_NO;
    return length < n ? LITERAL_MORE : LITERAL_YES;
}

static bool ends_line(const char *literal) { return literal[strlen(literal) - 1] == '\n'; }

/* The tag behind a value, with the line break before it that belongs to it. *used: its bytes. */
static LiteralMatch match_value_end(const ToolFormat *format, const char *text, size_t length, size_t *used)
{
    const char *tag = format->value_end + (format->value_end[0] == '\n');
    const size_t n = strlen(tag) - ends_line(tag);
    LiteralMatch match = LITERAL_NO;
    for (size_t skip = 0; skip <= (size_t)(tag != format->value_end) && match == LITERAL_NO; skip++) {
        if (skip > 0 && text[0] != '\n') break;
        if (length == skip) return LITERAL_MORE;
        const size_t have = length - skip < n ? length - skip : n;
        if (memcmp(tag, text + skip, have) != 0) continue;
        match = have < n ? LITERAL_MORE : LITERAL_YES;
        *used = skip + n;
    }
    return match;
}

static size_t at_between(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                         ArgumentStatus *status)
{
    if (argument_is_space(text[0])) return 1;
    const LiteralMatch open = starts_with(reader->format->key_open, text, length);
    if (open == LITERAL_MORE && !last) return 0;
    if (open == LITERAL_YES) {
        strbuf_clear(&reader->word);
        reader->mode = TAGGED_KEY;
        return strlen(reader->format->key_open);
    }
    strbuf_putc(out, '}');
    *status = ARGUMENT_DONE;
    return 0;
}

static size_t at_key(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    const char *json_mark = reader->format->key_end_json;
    size_t used = 0;
    LiteralMatch end = literal_match(reader->format->key_end, text, length, &used);
    reader->value_mode = json_mark == NULL ? TAGGED_START : TAGGED_TEXT;
    if (json_mark != NULL && end == LITERAL_NO) {
        end = literal_match(json_mark, text, length, &used);
        reader->value_mode = TAGGED_VALUE;
    }
    if (end == LITERAL_MORE && !last) return 0;
    if (end != LITERAL_YES) {
        if (reader->word.length == ARGUMENT_MAX_KEY) *status = ARGUMENT_BROKEN;
        else strbuf_putc(&reader->word, text[0]);
        return *status == ARGUMENT_MORE;
    }
    if (reader->member_follows) strbuf_puts(out, ", ");
    reader->member_follows = true;
    const char *key = reader->word.data != NULL ? reader->word.data : "";
    argument_put_string(out, key, reader->word.length);
    strbuf_puts(out, ": ");
    reader->mode = TAGGED_OPENED;
    /* The line break behind the tag is the next step's: there may be one, and only one. */
    while (ends_line(reader->format->key_end) && used > 1 && argument_is_space(text[used - 1])) used--;
    return used;
}

static size_t at_opened(ArgumentReader *reader, char byte, StrBuf *out)
{
    static const int modes[] = {
        [PARAMETER_ANY] = TAGGED_VALUE, [PARAMETER_STRING] = TAGGED_STRING, [PARAMETER_TEXT] = TAGGED_TEXT};
    const char *key = reader->word.data != NULL ? reader->word.data : "";
    reader->mode = reader->value_mode;
    if (reader->mode == TAGGED_START) reader->mode = modes[tool_parameter_kind(reader->tool, key, reader->word.length)];
    if (reader->mode == TAGGED_TEXT) strbuf_putc(out, '"');
    strbuf_clear(&reader->word);
    return byte == '\n' && ends_line(reader->format->key_end);
}

/* The whole text of a value. A string that is declared as one may come with quotes or without. */
static void put_value(const char *text, size_t length, bool is_string, StrBuf *out)
{
    size_t from = 0;
    size_t to = length;
    while (from < to && argument_is_space(text[from])) from++;
    while (to > from && argument_is_space(text[to - 1])) to--;
    json_t *value = json_loadb(text + from, to - from, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    if (value != NULL && (!is_string || json_is_string(value))) strbuf_append(out, text + from, to - from);
    else if (to - from <= 5 && !is_string) argument_put_word(out, text + from, to - from); /* True, False, None */
    else argument_put_string(out, text, length);
    json_decref(value);
}

static size_t in_value(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                       ArgumentStatus *status)
{
    const bool is_text = reader->mode == TAGGED_TEXT;
    size_t used = 0;
    const LiteralMatch end = match_value_end(reader->format, text, length, &used);
    if (end == LITERAL_MORE && !last) return 0;
    if (end == LITERAL_YES) {
        if (is_text) strbuf_putc(out, '"');
        else
            put_value(reader->word.data != NULL ? reader->word.data : "", reader->word.length, reader->mode == TAGGED_STRING,
                      out);
        reader->mode = TAGGED_BETWEEN;
        return used;
    }
    if (is_text) argument_put_character(out, text[0]);
    else if (reader->word.length < ARGUMENT_MAX_WORD) strbuf_putc(&reader->word, text[0]);
    else *status = ARGUMENT_BROKEN;
    return *status == ARGUMENT_MORE;
}

static size_t step(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    switch (reader->mode) {
    case TAGGED_START:
        strbuf_putc(out, '{');
        reader->mode = TAGGED_BETWEEN;
        return 0;
    case TAGGED_BETWEEN: return at_between(reader, text, length, last, out, status);
    case TAGGED_KEY: return at_key(reader, text, length, last, out, status);
    case TAGGED_OPENED: return at_opened(reader, text[0], out);
    default: return in_value(reader, text, length, last, out, status);
    }
}

size_t argument_tagged_push(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                            ArgumentStatus *status)
{
    size_t at = 0;
    while (at < length && *status == ARGUMENT_MORE) {
        const int mode = reader->mode;
        const size_t used = step(reader, text + at, length - at, last, out, status);
        if (used == 0 && reader->mode == mode) break;
        at += used;
    }
    /* The text ended before a value: that is where the call may end too. */
    const bool at_border = reader->mode == TAGGED_BETWEEN || reader->mode == TAGGED_START;
    if (last && at == length && *status == ARGUMENT_MORE && at_border) {
        strbuf_puts(out, reader->mode == TAGGED_START ? "{}" : "}");
        *status = ARGUMENT_DONE;
    }
    return at;
}
