/*
 * argument_loose.c - arguments as Python's calls and Gemma's have them, become JSON.
 *
 *   city="Oslo", days=[1, 2], when=None)          keys before =, values as Python writes them
 *   city:<quote>Oslo<quote>,where:{lat:1.5}}      keys bare, strings between the format's quotes
 *
 * The two differ in what ends a key and the whole, and share the rest: either may quote with ' or ", nest lists and dictionaries, and
 * leave out quotes. A Python value without a key is the next declared parameter. Gemma's forget commas, and write = for : sometimes.
 */
#include "runtime/tools/argument_reader.h"

#include <stdlib.h>
#include <string.h>

enum { LOOSE_START, LOOSE_KEY, LOOSE_KEY_WORD, LOOSE_COLON, LOOSE_VALUE, LOOSE_STRING, LOOSE_WORD, LOOSE_AFTER };

static bool is_python(const ArgumentReader *reader) { return reader->syntax == ARGUMENTS_PYTHON; }
/* Inside the call itself, not inside of a value. */
static bool at_top(const ArgumentReader *reader) { return reader->depth == 1; }
static bool ends_key(const ArgumentReader *reader, char byte)
{
    if (is_python(reader)) return byte == (at_top(reader) ? '=' : ':');
    return byte == ':' || byte == '=';
}

static bool closes(const ArgumentReader *reader, char byte)
{
    if (at_top(reader)) return byte == (is_python(reader) ? ')' : '}');
    return argument_in_list(reader) ? byte == ']' || byte == ')' : byte == '}';
}

static void close_container(ArgumentReader *reader, StrBuf *out, ArgumentStatus *status)
{
    strbuf_putc(out, argument_in_list(reader) ? ']' : '}');
    reader->mode = LOOSE_AFTER;
    reader->member_follows = true;
    if (--reader->depth == 0) *status = ARGUMENT_DONE;
}

static void put_comma(ArgumentReader *reader, StrBuf *out)
{
    if (reader->member_follows) strbuf_puts(out, ", ");
    reader->member_follows = false;
}

static void put_key(ArgumentReader *reader, const char *key, size_t length, StrBuf *out)
{
    put_comma(reader, out);
    argument_put_string(out, key, length);
    strbuf_puts(out, ": ");
}

/* A value without its key: its parameter's name comes from the order in which they were declared. */
static void put_positional_key(ArgumentReader *reader, StrBuf *out)
{
    char number[32];
    const char *name = tool_parameter_name(reader->tool, reader->n_positional++);
    if (name == NULL) {
        (void)snprintf(number, sizeof number, "argument_%u", (unsigned)reader->n_positional);
        name = number;
    }
    put_key(reader, name, strlen(name), out);
}

static bool word_byte(char byte) { return !argument_is_space(byte) && strchr("\"'{}[](),:=<", byte) == NULL; }

/* Python quotes with one or three; *triple says which. LITERAL_MORE: that cannot be told yet. */
static LiteralMatch match_python_quote(const ArgumentReader *reader, const char *text, size_t length, bool last, bool *triple)
{
    *triple = false;
    if (text[0] != '"' && text[0] != '\'') return LITERAL_NO;
    if (!is_python(reader)) return LITERAL_YES;
    for (size_t i = 1; i < 3; i++) {
        if (i == length) return last ? LITERAL_YES : LITERAL_MORE;
        if (text[i] != text[0]) return LITERAL_YES;
    }
    *triple = true;
    return LITERAL_YES;
}

/* At the quote of this format. *used: its bytes. */
static LiteralMatch match_quote(const ArgumentReader *reader, const char *text, size_t length, size_t *used)
{
    return reader->format->quote == NULL ? LITERAL_NO : literal_match(reader->format->quote, text, length, used);
}

/* The beginning of a value, or of a key in quotes. Returns the bytes used, 0: more must come, or *status says otherwise. */
static size_t begin_value(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                          ArgumentStatus *status)
{
    size_t used = 0;
    const LiteralMatch quote = match_quote(reader, text, length, &used);
    if (quote == LITERAL_MORE && !last) return 0;
    const LiteralMatch python = match_python_quote(reader, text, length, last, &reader->triple);
    if (python == LITERAL_MORE) return 0;
    if (quote == LITERAL_YES || python == LITERAL_YES) {
        reader->string_end = quote == LITERAL_YES ? '\0' : text[0];
        reader->mode = LOOSE_STRING;
        strbuf_putc(out, '"');
        return quote == LITERAL_YES ? used : reader->triple ? 3 : 1;
    }
    if (text[0] == '{' || text[0] == '[' || text[0] == '(') {
        if (!argument_enter(reader, text[0] != '{')) *status = ARGUMENT_BROKEN;
        strbuf_putc(out, text[0] == '{' ? '{' : '[');
        reader->member_follows = false;
        reader->mode = text[0] == '{' ? LOOSE_KEY : LOOSE_VALUE;
        return 1;
    }
    if (!word_byte(text[0]) && (is_python(reader) || text[0] == ',' || closes(reader, text[0]))) *status = ARGUMENT_BROKEN;
    strbuf_clear(&reader->word);
    reader->mode = LOOSE_WORD;
    return 0;
}

static size_t at_value(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    if (argument_is_space(text[0])) return 1;
    if (argument_in_list(reader) && closes(reader, text[0])) {
        close_container(reader, out, status);
        return 1;
    }
    if (argument_in_list(reader)) put_comma(reader, out);
    return begin_value(reader, text, length, last, out, status);
}

static size_t at_key(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    size_t used = 0;
    if (argument_is_space(text[0])) return 1;
    if (closes(reader, text[0])) {
        close_container(reader, out, status);
        return 1;
    }
    if (word_byte(text[0]) && !(is_python(reader) && at_top(reader) && strchr("-0123456789", text[0]) != NULL)) {
        strbuf_clear(&reader->word);
        reader->mode = LOOSE_KEY_WORD;
        return 0;
    }
    bool triple;
    const LiteralMatch quote = match_quote(reader, text, length, &used);
    if ((quote == LITERAL_MORE && !last) || match_python_quote(reader, text, length, last, &triple) == LITERAL_MORE) return 0;
    if (is_python(reader) && at_top(reader)) put_positional_key(reader, out);
    else if (text[0] != '"' && text[0] != '\'' && quote != LITERAL_YES) *status = ARGUMENT_BROKEN;
    if (*status == ARGUMENT_BROKEN) return 0;
    put_comma(reader, out);
    reader->string_is_key = !(is_python(reader) && at_top(reader));
    return begin_value(reader, text, length, last, out, status);
}

/* The byte behind a key without quotes. In Python it may have been a value. */
static size_t end_key_word(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (argument_is_space(byte)) return 1;
    if (ends_key(reader, byte)) {
        put_key(reader, reader->word.data, reader->word.length, out);
        reader->mode = LOOSE_VALUE;
        return 1;
    }
    if (!is_python(reader) && (byte == ',' || closes(reader, byte))) {
        reader->mode = LOOSE_AFTER; /* a word that belongs to nothing, such as what follows a comma of a value without quotes */
        return 0;
    }
    if (!is_python(reader) || !at_top(reader)) {
        *status = ARGUMENT_BROKEN;
        return 0;
    }
    put_positional_key(reader, out);
    argument_put_word(out, reader->word.data, reader->word.length);
    reader->member_follows = true;
    reader->mode = LOOSE_AFTER;
    return 0;
}

/* A value without quotes where these are the rule goes up to what ends values. */
static size_t at_bare_text(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (byte != ',' && !closes(reader, byte)) {
        if (reader->word.length == ARGUMENT_MAX_WORD) *status = ARGUMENT_BROKEN;
        else strbuf_putc(&reader->word, byte);
        return *status == ARGUMENT_MORE;
    }
    size_t length = reader->word.length;
    while (length > 0 && argument_is_space(reader->word.data[length - 1])) length--;
    argument_put_word(out, reader->word.data, length);
    reader->member_follows = true;
    reader->mode = LOOSE_AFTER;
    return 0;
}

/* One character of a word, or the end of it. */
static size_t at_word(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (reader->mode == LOOSE_WORD && !is_python(reader)) return at_bare_text(reader, byte, out, status);
    if (word_byte(byte) && reader->word.length < ARGUMENT_MAX_KEY) {
        strbuf_putc(&reader->word, byte);
        return 1;
    }
    if (word_byte(byte)) {
        *status = ARGUMENT_BROKEN;
        return 0;
    }
    if (reader->mode == LOOSE_KEY_WORD) return end_key_word(reader, byte, out, status);
    argument_put_word(out, reader->word.data, reader->word.length);
    reader->member_follows = true;
    reader->mode = LOOSE_AFTER;
    return 0;
}

static size_t count_hex(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && text[n] != '\0' && strchr("0123456789abcdefABCDEF", text[n]) != NULL) n++;
    return n;
}

/* A character beyond the first 65,536, as JSON escapes it. */
static void put_pair(StrBuf *out, const char *digits)
{
    char number[9] = "";
    memcpy(number, digits, 8);
    const unsigned long point = strtoul(number, NULL, 16);
    if (point < 0x10000) strbuf_printf(out, "\\u%04lx", point);
    else strbuf_printf(out, "\\u%04lx\\u%04lx", 0xd800 + ((point - 0x10000) >> 10 & 0x3ff), 0xdc00 + (point & 0x3ff));
}

/* An escape of Python's, of which JSON knows most. */
static size_t put_escape(const char *text, size_t length, bool last, StrBuf *out)
{
    static const char same[] = "\"\\/bfnrt";
    const size_t digits = length < 2 ? 0 : text[1] == 'x' ? 2 : text[1] == 'u' ? 4 : text[1] == 'U' ? 8 : 0;
    if (length < 2 + digits && !last) return 0;
    if (length < 2) {
        strbuf_puts(out, "\\\\");
        return 1;
    }
    const char letter = text[1];
    if (digits > 0 && length >= 2 + digits && count_hex(text + 2, digits) == digits) {
        if (digits < 8) strbuf_puts(out, digits == 2 ? "\\u00" : "\\u");
        if (digits < 8) strbuf_append(out, text + 2, digits);
        else put_pair(out, text + 2);
        return 2 + digits;
    }
    if (letter == '\n') return 2; /* a line that goes on */
    if (letter != '\0' && strchr(same, letter) != NULL) {
        strbuf_putc(out, '\\');
        strbuf_putc(out, letter);
        return 2;
    }
    if (letter != '\'') strbuf_puts(out, "\\\\");
    argument_put_character(out, letter);
    return 2;
}

static size_t end_string(ArgumentReader *reader, size_t used, StrBuf *out)
{
    strbuf_putc(out, '"');
    reader->mode = reader->string_is_key ? LOOSE_COLON : LOOSE_AFTER;
    reader->member_follows = !reader->string_is_key;
    reader->string_is_key = false;
    return used;
}

static size_t in_string(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out)
{
    size_t used = 1;
    if (reader->string_end == '\0') {
        const LiteralMatch end = match_quote(reader, text, length, &used);
        if (end == LITERAL_MORE && !last) return 0;
        if (end == LITERAL_YES) return end_string(reader, used, out);
    } else if (text[0] == reader->string_end) {
        bool triple = false;
        if (!reader->triple) return end_string(reader, 1, out);
        if (match_python_quote(reader, text, length, last, &triple) == LITERAL_MORE) return 0;
        if (triple) return end_string(reader, 3, out);
    } else if (text[0] == '\\') {
        return put_escape(text, length, last, out);
    }
    argument_put_character(out, text[0]);
    return 1;
}

static size_t at_after(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (argument_is_space(byte)) return 1;
    if (closes(reader, byte)) {
        close_container(reader, out, status);
        return 1;
    }
    if (byte != ',' && is_python(reader)) {
        *status = ARGUMENT_BROKEN;
        return 0;
    }
    reader->mode = argument_in_list(reader) ? LOOSE_VALUE : LOOSE_KEY;
    return byte == ',';
}

static size_t at_colon(ArgumentReader *reader, char byte, StrBuf *out, ArgumentStatus *status)
{
    if (argument_is_space(byte)) return 1;
    if (byte != ':') {
        *status = ARGUMENT_BROKEN;
        return 0;
    }
    strbuf_puts(out, ": ");
    reader->mode = LOOSE_VALUE;
    return 1;
}

/* One step; 0 bytes and the same mode: more must come. */
static size_t step(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out, ArgumentStatus *status)
{
    switch (reader->mode) {
    case LOOSE_START:
        (void)argument_enter(reader, false);
        strbuf_putc(out, '{');
        reader->mode = LOOSE_KEY;
        return 0;
    case LOOSE_KEY: return at_key(reader, text, length, last, out, status);
    case LOOSE_KEY_WORD:
    case LOOSE_WORD: return at_word(reader, text[0], out, status);
    case LOOSE_COLON: return at_colon(reader, text[0], out, status);
    case LOOSE_VALUE: return at_value(reader, text, length, last, out, status);
    case LOOSE_STRING: return in_string(reader, text, length, last, out);
    default: return at_after(reader, text[0], out, status);
    }
}

size_t argument_loose_push(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                           ArgumentStatus *status)
{
    size_t at = 0;
    while (at < length && *status == ARGUMENT_MORE) {
        const int mode = reader->mode;
        const size_t used = step(reader, text + at, length - at, last, out, status);
        if (used == 0 && reader->mode == mode) break;
        at += used;
    }
    return at;
}

bool argument_put_python(StrBuf *out, const char *text, size_t length)
{
    static const char before[] = "{\"v\": ", behind[] = "}";
    const char *const pieces[] = {"v=", text, ")"};
    const size_t lengths[] = {2, length, 1};
    ArgumentReader reader = {.word = {0}};
    ArgumentStatus status = ARGUMENT_MORE;
    StrBuf json = {0};
    argument_reader_begin(&reader, &(ToolFormat){.quote = NULL}, ARGUMENTS_PYTHON, &(OfferedTool){.name = NULL});
    for (size_t i = 0; i < 3 && status == ARGUMENT_MORE; i++) {
        const size_t used = argument_loose_push(&reader, pieces[i], lengths[i], i > 0, &json, &status);
        if (used < lengths[i] || (status == ARGUMENT_DONE && i < 2)) status = ARGUMENT_BROKEN;
    }
    json_t *value = status == ARGUMENT_DONE && json.data != NULL ? json_loadb(json.data, json.length, JSON_DECODE_INT_AS_REAL, NULL) : NULL;
    const bool good = json_object_size(value) == 1;
    if (good) strbuf_append(out, json.data + sizeof before - 1, json.length - (sizeof before - 1) - (sizeof behind - 1));
    json_decref(value);
    strbuf_free(&json);
    argument_reader_free(&reader);
    return good;
}
