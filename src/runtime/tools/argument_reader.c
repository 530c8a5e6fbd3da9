/*
 * argument_reader.c - what the syntaxes share, and the simplest of them: JSON, which passes as it is.
 *
 * JSON is not checked beyond its strings and brackets: a model's mistakes inside are its caller's to see, but for those that models
 * make all the time. Line breaks inside of strings are escaped, commas before a closing bracket go, quotes and literals may be Python's.
 * Some models write the whole object as a string; it is unpacked.
 */
#include "runtime/tools/argument_reader.h"

#include <string.h>

enum { OBJECT_START, OBJECT_BODY, OBJECT_STRING, OBJECT_QUOTED, OBJECT_COMMA, OBJECT_WORD, OBJECT_PACKED, OBJECT_EMPTY_LIST };

bool argument_is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

/* Bytes of the literal that stand in the text as this byte: models to whom a mark is no token of its own spell it with ASCII's letters. */
static size_t other_spelling(const char *literal, char byte)
{
    if (byte == '|') return strncmp(literal, "｜", 3) == 0 ? 3 : 0;
    return (byte == '_' || byte == ' ') && strncmp(literal, "▁", 3) == 0 ? 3 : 0;
}

/* White space may stand between a mark and what comes next to it. */
static bool begins_mark(const char *literal, const char *start)
{
    return literal > start && (*literal == '<' || (*literal == '[' && literal[-1] == '>'));
}

LiteralMatch literal_match(const char *literal, const char *text, size_t length, size_t *length_out)
{
    const char *start = literal;
    size_t at = 0;
    while (*literal != '\0') {
        if (argument_is_space(*literal) || begins_mark(literal, start))
            while (at < length && argument_is_space(text[at])) at++;
        if (argument_is_space(*literal)) {
            literal++;
            continue;
        }
        if (at == length) return LITERAL_MORE;
        const size_t spelled = text[at] == *literal ? 1 : other_spelling(literal, text[at]);
        if (spelled == 0) return LITERAL_NO;
        literal += spelled;
        at++;
    }
    *length_out = at;
    return LITERAL_YES;
}

bool argument_enter(ArgumentReader *reader, bool list)
{
    if (reader->depth == ARGUMENT_MAX_DEPTH) return false;
    const uint8_t bit = (uint8_t)(1U << reader->depth % 8);
    uint8_t *byte = &reader->is_list[reader->depth / 8];
    *byte = (uint8_t)(list ? *byte | bit : *byte & ~bit);
    reader->depth++;
    return true;
}

bool argument_in_list(const ArgumentReader *reader)
{
    const uint32_t top = reader->depth - 1;
    return reader->depth > 0 && (reader->is_list[top / 8] >> top % 8 & 1) != 0;
}

void argument_put_character(StrBuf *out, char byte)
{
    static const char names[] = "\b\f\n\r\t\"\\";
    static const char letters[] = "bfnrt\"\\";
    const char *found = byte == '\0' ? NULL : strchr(names, byte);
    if (found != NULL) {
        strbuf_putc(out, '\\');
        strbuf_putc(out, letters[found - names]);
    } else if ((unsigned char)byte < 0x20) {
        strbuf_printf(out, "\\u%04x", (unsigned)(unsigned char)byte);
    } else {
        strbuf_putc(out, byte);
    }
}

void argument_put_string(StrBuf *out, const char *text, size_t length)
{
    strbuf_putc(out, '"');
    for (size_t i = 0; i < length; i++) argument_put_character(out, text[i]);
    strbuf_putc(out, '"');
}

/* As JSON's grammar has it. */
static bool is_json_number(const char *text, size_t length)
{
    size_t i = 0;
    const size_t sign = length > 0 && text[0] == '-' ? 1 : 0;
    for (i = sign; i < length && text[i] >= '0' && text[i] <= '9'; i++) continue;
    if (i == sign || (text[sign] == '0' && i > sign + 1)) return false;
    if (i < length && text[i] == '.') {
        const size_t first = ++i;
        while (i < length && text[i] >= '0' && text[i] <= '9') i++;
        if (i == first) return false;
    }
    if (i < length && (text[i] | 32) == 'e') {
        i++;
        if (i < length && (text[i] == '+' || text[i] == '-')) i++;
        const size_t first = i;
        while (i < length && text[i] >= '0' && text[i] <= '9') i++;
        if (i == first) return false;
    }
    return i == length;
}

/* A literal of JSON or Python as JSON spells it; NULL: it is none. */
static const char *json_literal(const char *text, size_t length)
{
    static const char *const literals[][2] = {{"true", "true"}, {"false", "false"}, {"null", "null"},
                                              {"True", "true"}, {"False", "false"}, {"None", "null"}};
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++)
        if (strlen(literals[i][0]) == length && memcmp(literals[i][0], text, length) == 0) return literals[i][1];
    return NULL;
}

void argument_put_word(StrBuf *out, const char *text, size_t length)
{
    const char *literal = json_literal(text, length);
    if (literal != NULL) strbuf_puts(out, literal);
    else if (is_json_number(text, length)) strbuf_append(out, text, length);
    else argument_put_string(out, text, length);
}

/* ---- JSON ---- */

/* The object came as a string: what it holds, as it is. */
static void unpack(ArgumentReader *reader, StrBuf *out)
{
    json_t *value = json_loadb(reader->word.data, reader->word.length, JSON_DECODE_ANY, NULL);
    if (json_is_string(value) && json_string_length(value) > 0)
        strbuf_append(out, json_string_value(value), json_string_length(value));
    else strbuf_puts(out, "{}");
    json_decref(value);
}

/* The first byte says how the rest comes. */
static size_t start_json(ArgumentReader *reader, const char *text, size_t length, StrBuf *out, ArgumentStatus *status)
{
    size_t used = 0;
    if (argument_is_space(text[0])) return 1;
    if (text[0] == '{') {
        (void)argument_enter(reader, false);
        strbuf_putc(out, '{');
        reader->mode = OBJECT_BODY;
        return 1;
    }
    if (text[0] == '"' || text[0] == '[') {
        reader->mode = text[0] == '"' ? OBJECT_PACKED : OBJECT_EMPTY_LIST;
        strbuf_putc(&reader->word, '"');
        return 1;
    }
    const LiteralMatch null = literal_match("null", text, length, &used);
    if (null == LITERAL_MORE) return 0;
    strbuf_puts(out, "{}"); /* nothing at all is no arguments, too */
    *status = null == LITERAL_YES ? ARGUMENT_DONE : ARGUMENT_BROKEN;
    return used;
}

static void packed_byte(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (reader->word.length >= ARGUMENT_MAX_WORD) {
        *status = ARGUMENT_BROKEN;
        return;
    }
    if ((unsigned char)byte < 0x20) argument_put_character(&reader->word, byte);
    else strbuf_putc(&reader->word, byte);
    if (byte == '"' && !reader->escaped) {
        unpack(reader, out);
        *status = ARGUMENT_DONE;
    }
    reader->escaped = byte == '\\' && !reader->escaped;
}

static void string_byte(ArgumentReader *reader, char byte, StrBuf *out)
{
    if ((unsigned char)byte < 0x20) argument_put_character(out, byte);
    else strbuf_putc(out, byte);
    if (byte == '"' && !reader->escaped) reader->mode = OBJECT_BODY;
    reader->escaped = byte == '\\' && !reader->escaped;
}

/* A list where the object should be: of nothing, or it is a mistake. */
static void empty_list_byte(char byte, StrBuf *out, ArgumentStatus *status)
{
    if (argument_is_space(byte)) return;
    strbuf_puts(out, "{}");
    *status = byte == ']' ? ARGUMENT_DONE : ARGUMENT_BROKEN;
}

/* A string between single quotes becomes one between double quotes. */
static void quoted_byte(ArgumentReader *reader, char byte, StrBuf *out)
{
    const bool escaped = reader->escaped;
    reader->escaped = byte == '\\' && !escaped;
    if (reader->escaped) return;
    if (byte == '\'' && !escaped) {
        strbuf_putc(out, '"');
        reader->mode = OBJECT_BODY;
        return;
    }
    if (escaped && byte != '\'') {
        const bool known = byte != '\0' && strchr("\"\\/bfnrtu", byte) != NULL;
        strbuf_puts(out, known ? "\\" : "\\\\");
        if (known) strbuf_putc(out, byte);
        else argument_put_character(out, byte);
        return;
    }
    argument_put_character(out, byte);
}

static void body_byte(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    static const struct {
        char byte;
        int mode;
    } held[] = {{',', OBJECT_COMMA}, {'T', OBJECT_WORD}, {'F', OBJECT_WORD}, {'N', OBJECT_WORD}};
    const bool closes = byte == '}' || byte == ']';
    if ((byte == '{' || byte == '[') && !argument_enter(reader, byte == '[')) *status = ARGUMENT_BROKEN;
    if (closes && argument_in_list(reader) != (byte == ']')) *status = ARGUMENT_BROKEN;
    if (*status == ARGUMENT_BROKEN) return;
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
        if (byte != held[i].byte) continue;
        strbuf_clear(&reader->word);
        strbuf_putc(&reader->word, byte);
        reader->mode = held[i].mode;
        return;
    }
    strbuf_putc(out, byte == '\'' ? '"' : byte);
    if (byte == '"') reader->mode = OBJECT_STRING;
    if (byte == '\'') reader->mode = OBJECT_QUOTED;
    if (closes && --reader->depth == 0) *status = ARGUMENT_DONE;
}

/* Behind a comma, which counts only when something follows it; behind a letter that begins one of Python's literals. */
static void held_byte(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    enum { MAX_HELD = 64 };
    const bool comma = reader->mode == OBJECT_COMMA;
    const bool goes_on = comma ? argument_is_space(byte) : (byte | 32) >= 'a' && (byte | 32) <= 'z';
    if (goes_on && reader->word.length < MAX_HELD) {
        strbuf_putc(&reader->word, byte);
        return;
    }
    const size_t skipped = comma && (byte == '}' || byte == ']') ? 1 : 0;
    const char *literal = comma ? NULL : json_literal(reader->word.data, reader->word.length);
    if (literal != NULL) strbuf_puts(out, literal);
    else strbuf_append(out, reader->word.data + skipped, reader->word.length - skipped);
    reader->mode = OBJECT_BODY;
    body_byte(reader, byte, out, status);
}

size_t argument_json_push(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                          ArgumentStatus *status)
{
    size_t at = 0;
    (void)last;
    while (at < length && *status == ARGUMENT_MORE) {
        if (reader->mode == OBJECT_START) {
            const size_t used = start_json(reader, text + at, length - at, out, status);
            if (used == 0) return at;
            at += used;
            continue;
        }
        if (reader->mode == OBJECT_PACKED) packed_byte(reader, text[at], out, status);
        else if (reader->mode == OBJECT_STRING) string_byte(reader, text[at], out);
        else if (reader->mode == OBJECT_QUOTED) quoted_byte(reader, text[at], out);
        else if (reader->mode == OBJECT_EMPTY_LIST) empty_list_byte(text[at], out, status);
        else if (reader->mode != OBJECT_BODY) held_byte(reader, text[at], out, status);
        else body_byte(reader, text[at], out, status);
        if (*status == ARGUMENT_BROKEN) return at;
        at++;
    }
    return at;
}

/* ---- all syntaxes ---- */

void argument_reader_begin(ArgumentReader *reader, const ToolFormat *format, ArgumentSyntax syntax, const OfferedTool *tool)
{
    StrBuf word = reader->word;
    strbuf_clear(&word);
    *reader = (ArgumentReader){.format = format, .syntax = syntax, .tool = tool, .word = word};
}

void argument_reader_free(ArgumentReader *reader) { strbuf_free(&reader->word); }

size_t argument_reader_push(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                            ArgumentStatus *status)
{
    static ArgumentSyntaxPush *const pushes[] = {[ARGUMENTS_JSON] = argument_json_push,
                                                 [ARGUMENTS_PYTHON] = argument_loose_push,
                                                 [ARGUMENTS_BARE] = argument_loose_push,
                                                 [ARGUMENTS_TAGGED] = argument_tagged_push};
    *status = ARGUMENT_MORE;
    return pushes[reader->syntax](reader, text, length, last, out, status);
}
