/*
 * argument_tagged.c - each argument between tags: <parameter=city>\nOslo\n</parameter>.
 *
 * What a value means is mostly not in the text (one format says it there) but in the tool's schema: a parameter that is declared a string
 * is taken as it stands and handed on while it comes (one that has to satisfy more may stand in quotes, as constraints have it); of any
 * other the whole text decides whether it is JSON of a type that it may have, a Python literal or a string after all.
 *
 * Values hold anything, their own tags too, and models forget tags: a tag ends a value when what follows it could stand there, and a line
 * that begins the next parameter ends it without.
 */
#include "runtime/tools/argument_reader.h"

#include <string.h>

enum { TAGGED_START, TAGGED_BETWEEN, TAGGED_KEY, TAGGED_OPENED, TAGGED_TEXT, TAGGED_STRING, TAGGED_VALUE };
enum { MAX_TAG = 64, MAX_SPACE = 256 };

/* Whether the text at hand goes on as the literal says, exactly; LITERAL_MORE: as far as it goes. */
static LiteralMatch starts_with(const char *literal, const char *text, size_t length)
{
    const size_t n = strlen(literal);
    if (memcmp(literal, text, length < n ? length : n) != 0) return LITERAL_NO;
    return length < n ? LITERAL_MORE : LITERAL_YES;
}

static bool ends_line(const char *literal) { return literal[strlen(literal) - 1] == '\n'; }

/* One of the lines of a mark, as the whole text of a tag. */
static const char *next_tag(const char *mark, char *tag, size_t size)
{
    mark += strspn(mark, "\n ");
    const size_t n = strcspn(mark, "\n");
    (void)snprintf(tag, size, "%.*s", (int)n, mark);
    return mark + n;
}

/* Whether the text begins with any of the tags of these marks. */
static LiteralMatch match_any_tag(const char *const *marks, size_t n_marks, const char *text, size_t length)
{
    char tag[MAX_TAG];
    LiteralMatch best = LITERAL_NO;
    for (size_t i = 0; i < n_marks; i++) {
        const char *mark = marks[i];
        while (*mark != '\0' && best != LITERAL_YES) {
            size_t used = 0;
            mark = next_tag(mark, tag, sizeof tag);
            const LiteralMatch match = tag[0] == '\0' ? LITERAL_NO : literal_match(tag, text, length, &used);
            if (match != LITERAL_NO) best = match;
        }
    }
    return best;
}

/* Behind a tag that ends a value there is another parameter, or the end of the call; otherwise the tag belongs to the value. */
static LiteralMatch match_follower(const ToolFormat *format, const char *text, size_t length, bool last)
{
    const ToolForm *form = &format->forms[0];
    const char *const marks[] = {format->key_open, form->call_end, form->close, form->call};
    size_t space = 0;
    while (space < length && argument_is_space(text[space])) space++;
    if (space >= MAX_SPACE) return LITERAL_YES;
    if (space == length) return last ? LITERAL_YES : LITERAL_MORE;
    const LiteralMatch match = match_any_tag(marks, sizeof marks / sizeof marks[0], text + space, length - space);
    return match == LITERAL_MORE && last ? LITERAL_YES : match;
}

/* The tag behind a value, with the line break before it that belongs to it. *used: its bytes. */
static LiteralMatch match_value_end(const ToolFormat *format, const char *text, size_t length, bool last, size_t *used)
{
    char tag[MAX_TAG];
    LiteralMatch match = LITERAL_NO;
    (void)next_tag(format->value_end, tag, sizeof tag);
    for (size_t skip = 0; skip <= (size_t)(format->value_end[0] == '\n') && match == LITERAL_NO; skip++) {
        if (skip > 0 && text[0] != '\n') break;
        if (length == skip) return LITERAL_MORE;
        match = literal_match(tag, text + skip, length - skip, used);
        *used += skip;
    }
    return match == LITERAL_YES ? match_follower(format, text + *used, length - *used, last) : match;
}

/* The name of one of the declared parameters between its tags. */
static LiteralMatch match_declared(const ArgumentReader *reader, const char *text, size_t length)
{
    const char *name;
    const size_t used = strlen(reader->format->key_open);
    LiteralMatch best = starts_with(reader->format->key_open, text, length);
    if (best != LITERAL_YES) return best;
    best = LITERAL_NO;
    for (size_t i = 0; best != LITERAL_YES && (name = tool_parameter_name(reader->tool, i)) != NULL; i++) {
        size_t behind = 0;
        LiteralMatch match = starts_with(name, text + used, length - used);
        if (match == LITERAL_YES)
            match = literal_match(reader->format->key_end, text + used + strlen(name), length - used - strlen(name), &behind);
        if (match != LITERAL_NO) best = match;
    }
    return best;
}

/* All that ends a call, and then nothing, or another call. */
static LiteralMatch match_call_end(const ArgumentReader *reader, const char *text, size_t length, bool last)
{
    const ToolForm *form = &reader->format->forms[0];
    const char *const behind[] = {form->close, form->call};
    char tag[MAX_TAG];
    size_t used = 0;
    (void)next_tag(form->call_end, tag, sizeof tag);
    LiteralMatch match = starts_with(tag, text, length);
    if (match == LITERAL_YES) match = literal_match(form->call_end, text, length, &used);
    if (match != LITERAL_YES) return match;
    while (used < length && argument_is_space(text[used])) used++;
    if (used == length) return last ? LITERAL_YES : LITERAL_MORE;
    return match_any_tag(behind, 2, text + used, length - used);
}

/* A line on which the next parameter begins or the call ends, though no tag ended the value. (Constraints allow no such line.) */
static LiteralMatch match_missing_end(const ArgumentReader *reader, const char *text, size_t length, bool last)
{
    enum { MAX_BYTES = 512 };
    if (length == 1) return LITERAL_MORE;
    const size_t seen = length < MAX_BYTES ? length - 1 : MAX_BYTES;
    const LiteralMatch declared = match_declared(reader, text + 1, seen);
    if (declared == LITERAL_YES) return LITERAL_YES;
    const LiteralMatch ends = match_call_end(reader, text + 1, seen, last);
    const LiteralMatch best = ends == LITERAL_NO ? declared : ends;
    return best == LITERAL_MORE && seen == MAX_BYTES ? LITERAL_NO : best;
}

/* Behind a parameter's name. *used: its bytes. */
static LiteralMatch match_key_end(const ToolFormat *format, const char *text, size_t length, size_t *used)
{
    char tag[MAX_TAG];
    const LiteralMatch match = literal_match(format->key_end, text, length, used);
    if (match != LITERAL_NO) return match;
    const char *behind = next_tag(format->key_end, tag, sizeof tag);
    if (behind[strspn(behind, "\n ")] != '\0') return literal_match(tag, text, length, used); /* the tag of the value may be missing */
    *used = 0;
    return text[0] == '\n' && ends_line(format->key_end) ? LITERAL_YES : LITERAL_NO; /* or what ends the name */
}

static size_t at_between(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                         ArgumentStatus *status)
{
    if (argument_is_space(text[0])) return 1;
    size_t used = 0;
    const LiteralMatch open = literal_match(reader->format->key_open, text, length, &used);
    if (open == LITERAL_MORE && !last) return 0;
    if (open == LITERAL_YES) {
        strbuf_clear(&reader->word);
        reader->mode = TAGGED_KEY;
        return used;
    }
    strbuf_putc(out, '}');
    *status = ARGUMENT_DONE;
    return 0;
}

static size_t at_key(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    const char *json_mark = reader->format->key_end_json;
    size_t used = 0;
    LiteralMatch end = match_key_end(reader->format, text, length, &used);
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
    reader->types = reader->mode == TAGGED_START ? tool_parameter_types(reader->tool, key, reader->word.length) : 0;
    if (reader->mode == TAGGED_START) reader->mode = modes[tool_parameter_kind(reader->tool, key, reader->word.length)];
    if (reader->mode == TAGGED_TEXT) strbuf_putc(out, '"');
    strbuf_clear(&reader->word);
    return byte == '\n' && ends_line(reader->format->key_end);
}

/* What is no JSON but means some: Python's literals, nothing at all. */
static bool put_otherwise(const char *text, size_t length, unsigned types, StrBuf *out)
{
    static const char *const literals[] = {"True", "False", "None"};
    const bool may_be_text = types == 0 || (types & PARAMETER_OF_STRING) != 0;
    if (length == 0 && !may_be_text && (types & PARAMETER_OF_NULL) != 0) {
        strbuf_puts(out, "null");
        return true;
    }
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        const unsigned type = i < 2 ? PARAMETER_OF_BOOLEAN : PARAMETER_OF_NULL;
        if (strlen(literals[i]) != length || memcmp(literals[i], text, length) != 0 || (may_be_text && types != 0 && !(types & type)))
            continue;
        argument_put_word(out, text, length);
        return true;
    }
    if (length == 0 || (text[0] != '{' && text[0] != '[')) return false;
    const unsigned type = text[0] == '{' ? PARAMETER_OF_OBJECT : PARAMETER_OF_ARRAY;
    return (types == 0 || (types & type) != 0) && argument_put_python(out, text, length);
}

/* The whole text of a value: JSON of a type that it may have, or else a string if it may be one. Strings may come in quotes. */
static void put_value(const char *text, size_t length, unsigned types, StrBuf *out)
{
    size_t from = 0;
    size_t to = length;
    while (from < to && argument_is_space(text[from])) from++;
    while (to > from && argument_is_space(text[to - 1])) to--;
    json_t *value = json_loadb(text + from, to - from, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    const bool fits = types == 0 || (types & PARAMETER_OF_STRING) == 0 || (value != NULL && (types & tool_type_of(value)) != 0);
    if (value != NULL && fits) strbuf_append(out, text + from, to - from);
    else if (!put_otherwise(text + from, to - from, types, out)) argument_put_string(out, text, length);
    json_decref(value);
}

static size_t in_value(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                       ArgumentStatus *status)
{
    const bool is_text = reader->mode == TAGGED_TEXT;
    size_t used = 0;
    LiteralMatch end = LITERAL_NO;
    if (text[0] == '<' || text[0] == '\n') end = match_value_end(reader->format, text, length, last, &used);
    if (text[0] == '\n' && end == LITERAL_NO) {
        end = match_missing_end(reader, text, length, last);
        used = 0;
    }
    if (end == LITERAL_MORE && !last) return 0;
    if (end == LITERAL_YES) {
        const char *word = reader->word.data != NULL ? reader->word.data : "";
        if (is_text) strbuf_putc(out, '"');
        else put_value(word, reader->word.length, reader->mode == TAGGED_STRING ? PARAMETER_OF_STRING : reader->types, out);
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
