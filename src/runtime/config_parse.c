/*
 * config_parse.c - the subset of TOML that imp.conf is written in.
 *
 *   # a comment
 *   [section]
 *   switch = true            # or false
 *   count  = 1_000           # decimal
 *   share  = 0.9             # or 9e-1
 *   word   = "fp16"          # escapes as in TOML; 'single quotes' take every character as it is
 *   words  = ["a", "b"]      # strings only; may run over several lines
 *
 * Before the first section a key carries its section: kv_cache.dtype = "fp16". Whatever is accepted here is TOML and
 * means the same there. What TOML has beyond it (dates, tables in values, strings over several lines, other bases) gets
 * a sentence.
 *
 * libinih does not do: it cuts a quoted string at " ;", leaves "# comment" in the value, splits lines of more than 200
 * bytes in silence, joins indented lines, accepts text behind a section's bracket, and cannot tell a line number.
 */
#include "runtime/config.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

typedef struct Parser {
    const char *at, *end;
    int line;
    Arena *arena;
} Parser;

static bool at_end(const Parser *parser) { return parser->at == parser->end; }

/* The byte at hand; '\0', which no checked text contains, at the end. */
static char peek(const Parser *parser) { return at_end(parser) ? '\0' : *parser->at; }

static bool accept(Parser *parser, char byte)
{
    if (peek(parser) != byte || at_end(parser)) return false;
    parser->at++;
    return true;
}

static void skip_blanks(Parser *parser)
{
    while (peek(parser) == ' ' || peek(parser) == '\t') parser->at++;
}

/* Blanks, then a comment up to the end of its line. */
static void skip_comment(Parser *parser)
{
    skip_blanks(parser);
    if (peek(parser) != '#') return;
    while (!at_end(parser) && *parser->at != '\n') parser->at++;
}

/* The end of a line: nothing but blanks, a comment and a line break (or the end of the text) may follow. */
static bool accept_line_end(Parser *parser)
{
    skip_comment(parser);
    if (at_end(parser)) return true;
    if (!accept(parser, '\n')) return false;
    parser->line++;
    return true;
}

static void skip_empty_lines(Parser *parser)
{
    do skip_comment(parser);
    while (!at_end(parser) && accept_line_end(parser));
}

static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == '-';
}

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

/* A bare name into `out`, which it must fit. */
static ImpStatus parse_name(Parser *parser, const char *what, char *out, size_t size)
{
    const char *start = parser->at;
    while (is_name_byte(peek(parser))) parser->at++;
    const size_t length = (size_t)(parser->at - start);
    if (length == 0) return imp_fail(IMP_ERR_FORMAT, "expected %s of letters, digits, '_' and '-'", what);
    if (length >= size)
        return imp_fail(IMP_ERR_FORMAT, "%s of %zu bytes is too long for any that imp knows", what, length);
    memcpy(out, start, length);
    out[length] = '\0';
    return IMP_OK;
}

/* ---- values ---- */

static ImpStatus append_code_point(StrBuf *text, Parser *parser, int n_digits)
{
    uint32_t code = 0;
    for (int i = 0; i < n_digits; i++) {
        const char digit = peek(parser);
        const char lower = (char)(digit | 0x20);
        uint32_t value;
        if (is_digit(digit)) {
            value = (uint32_t)(digit - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = (uint32_t)(lower - 'a') + 10;
        } else {
            return imp_fail(IMP_ERR_FORMAT, "\\%c needs %d hexadecimal digits", n_digits == 4 ? 'u' : 'U', n_digits);
        }
        code = code * 16 + value;
        parser->at++;
    }
    utf8proc_uint8_t bytes[4];
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return imp_fail(IMP_ERR_FORMAT, "the escape for U+%04" PRIX32 " stands for no character allowed here", code);
    const utf8proc_ssize_t length = utf8proc_encode_char((utf8proc_int32_t)code, bytes);
    strbuf_append(text, (const char *)bytes, (size_t)length);
    return IMP_OK;
}

static ImpStatus parse_escape(Parser *parser, StrBuf *text)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    const char letter = peek(parser);
    const char *known = letter != '\0' ? strchr(letters, letter) : NULL;
    if (known != NULL) {
        strbuf_putc(text, meanings[known - letters]);
        parser->at++;
        return IMP_OK;
    }
    if (letter != 'u' && letter != 'U')
        return imp_fail(IMP_ERR_FORMAT, "unknown escape: a backslash is written \\\\, or use 'single quotes'");
    parser->at++;
    return append_code_point(text, parser, letter == 'u' ? 4 : 8);
}

/* A quoted string, escapes resolved. */
static ImpStatus parse_string(Parser *parser, const char **out)
{
    const char quote = *parser->at++;
    if (parser->end - parser->at >= 2 && parser->at[0] == quote && parser->at[1] == quote)
        return imp_fail(IMP_ERR_FORMAT, "strings over several lines are not supported: write \\n in a \"string\"");
    StrBuf text = {0};
    ImpStatus status = IMP_OK;
    while (!accept(parser, quote)) {
        if (at_end(parser) || *parser->at == '\n')
            IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "the string has no closing %c on its line", quote));
        if (quote == '"' && accept(parser, '\\')) {
            IMP_GOTO(parse_escape(parser, &text));
        } else {
            strbuf_putc(&text, *parser->at++);
        }
    }
    IMP_GOTO(strbuf_check(&text));
    *out = arena_string(parser->arena, text.data, text.length);
    if (*out == NULL) IMP_GOTO(imp_fail_memory(text.length));
fail:
    strbuf_free(&text);
    return status;
}

static ImpStatus parse_list(Parser *parser, Literal *out)
{
    const char **items = arena_alloc(parser->arena, CONFIG_MAX_ITEMS, sizeof *items);
    if (items == NULL) return imp_fail_memory(CONFIG_MAX_ITEMS * sizeof *items);
    *out = (Literal){.kind = LITERAL_LIST, .items = items};
    parser->at++;
    for (;;) {
        skip_empty_lines(parser);
        if (accept(parser, ']')) return IMP_OK;
        if (at_end(parser)) return imp_fail(IMP_ERR_FORMAT, "the list has no closing ]");
        if (out->n_items == CONFIG_MAX_ITEMS)
            return imp_fail(IMP_ERR_FORMAT, "the list has more than %d entries", CONFIG_MAX_ITEMS);
        if (peek(parser) != '"' && peek(parser) != '\'')
            return imp_fail(IMP_ERR_FORMAT, "a list holds quoted strings, separated by commas");
        IMP_TRY(parse_string(parser, &items[out->n_items++]));
        skip_empty_lines(parser);
        if (!accept(parser, ',') && peek(parser) != ']')
            return imp_fail(IMP_ERR_FORMAT, "expected ',' or ']' after an entry of the list");
    }
}

/* Digits with single underscores between them, appended to `text` without the underscores. */
static bool scan_digits(const char **at, const char *end, StrBuf *text)
{
    const char *start = *at;
    while (*at < end) {
        if (is_digit(**at)) {
            strbuf_putc(text, **at);
        } else if (**at != '_' || *at == start || end - *at < 2 || !is_digit((*at)[1]) || !is_digit((*at)[-1])) {
            break;
        }
        (*at)++;
    }
    return *at > start;
}

/* TOML's numbers in base ten; `text` receives one that strtoll and strtod can read. */
static bool scan_number(const char *at, const char *end, StrBuf *text, bool *is_float)
{
    *is_float = false;
    if (at < end && (*at == '-' || *at == '+')) strbuf_putc(text, *at++);
    const char *digits = at;
    if (!scan_digits(&at, end, text) || (*digits == '0' && at - digits > 1)) return false;
    if (at < end && *at == '.') {
        *is_float = true;
        strbuf_putc(text, *at++);
        if (!scan_digits(&at, end, text)) return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        *is_float = true;
        strbuf_putc(text, *at++);
        if (at < end && (*at == '-' || *at == '+')) strbuf_putc(text, *at++);
        if (!scan_digits(&at, end, text)) return false;
    }
    return at == end && !text->failed;
}

/* strtod reads the decimal point of the program's locale; a configuration file's is always '.'. */
static double parse_double(const char *text)
{
    const locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0) return strtod(text, NULL);
    const double value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    return value;
}

static ImpStatus convert_number(const char *text, bool is_float, Literal *out)
{
    *out = (Literal){.kind = is_float ? LITERAL_FLOAT : LITERAL_INT, .real = parse_double(text)};
    if (out->real > 1e300 || out->real < -1e300) return imp_fail(IMP_ERR_FORMAT, "the number %.40s is too large", text);
    if (is_float) return IMP_OK;
    errno = 0;
    out->integer = strtoll(text, NULL, 10);
    return errno == 0 ? IMP_OK : imp_fail(IMP_ERR_FORMAT, "the number %.40s does not fit in 64 bits", text);
}

/* true, false or a number: everything up to a separator. */
static ImpStatus parse_bare(Parser *parser, Literal *out)
{
    const char *start = parser->at;
    while (!at_end(parser) && strchr(" \t\n,]#=\"'[", *parser->at) == NULL) parser->at++;
    const size_t length = (size_t)(parser->at - start);
    const int shown = length > 40 ? 40 : (int)length;
    if (length == 0) return imp_fail(IMP_ERR_FORMAT, "the value is missing");
    const bool is_true = length == 4 && memcmp(start, "true", 4) == 0;
    if (is_true || (length == 5 && memcmp(start, "false", 5) == 0)) {
        *out = (Literal){.kind = LITERAL_BOOL, .boolean = is_true};
        return IMP_OK;
    }
    StrBuf text = {0};
    bool is_float = false;
    ImpStatus status = IMP_OK;
    if (scan_number(start, parser->at, &text, &is_float)) {
        status = convert_number(text.data, is_float, out);
    } else if (is_digit(*start) || *start == '-' || *start == '+' || *start == '.') {
        status = imp_fail(IMP_ERR_FORMAT, "%.*s is no number: write 12, -3, 0.5 or 1e-6", shown, start);
    } else {
        status = imp_fail(IMP_ERR_FORMAT, "%.*s is no value: write true, false, a number or a \"quoted string\"", shown,
                          start);
    }
    strbuf_free(&text);
    return status;
}

static ImpStatus parse_value(Parser *parser, Literal *out)
{
    const char first = peek(parser);
    if (first == '[') return parse_list(parser, out);
    if (first == '{') return imp_fail(IMP_ERR_FORMAT, "tables in braces are not supported");
    if (first != '"' && first != '\'') return parse_bare(parser, out);
    *out = (Literal){.kind = LITERAL_STRING};
    return parse_string(parser, &out->text);
}

ImpStatus config_parse_literal(const char *text, size_t length, Arena *arena, Literal *out)
{
    Parser parser = {.at = text, .end = text + length, .line = 1, .arena = arena};
    skip_blanks(&parser);
    IMP_TRY(parse_value(&parser, out));
    skip_blanks(&parser);
    if (!at_end(&parser)) return imp_fail(IMP_ERR_FORMAT, "something follows the value");
    return IMP_OK;
}

/* ---- lines ---- */

enum { NAME_BYTES = 64 };

/* What a file has said so far, to tell what is said twice. */
typedef struct Seen {
    char name[2 * NAME_BYTES]; /* "[section]" or "section.key" */
    int line;
    struct Seen *next;
} Seen;

static ImpStatus remember(Parser *parser, Seen **seen, const char *name, int line)
{
    for (const Seen *entry = *seen; entry != NULL; entry = entry->next)
        if (strcmp(entry->name, name) == 0)
            return imp_fail(IMP_ERR_FORMAT, "%s was given in line %d already", name, entry->line);
    Seen *entry = arena_alloc(parser->arena, 1, sizeof *entry);
    if (entry == NULL) return imp_fail_memory(sizeof *entry);
    strcpy(entry->name, name);
    entry->line = line;
    entry->next = *seen;
    *seen = entry;
    return IMP_OK;
}

/* "[section]" and the end of its line. */
static ImpStatus parse_section(Parser *parser, Seen **seen, char *section)
{
    parser->at++;
    skip_blanks(parser);
    IMP_TRY(parse_name(parser, "a section's name", section, NAME_BYTES));
    skip_blanks(parser);
    if (!accept(parser, ']')) return imp_fail(IMP_ERR_FORMAT, "expected [%s] with a closing bracket", section);
    IMP_TRY(config_check_section(section));
    char name[2 * NAME_BYTES] = "[";
    strcat(strcat(name, section), "]");
    IMP_TRY(remember(parser, seen, name, parser->line));
    if (!accept_line_end(parser)) return imp_fail(IMP_ERR_FORMAT, "something follows [%s]", section);
    return IMP_OK;
}

/* "key", or "section.key" before the first section, as section.key. */
static ImpStatus parse_key(Parser *parser, const char *section, char *key)
{
    char first[NAME_BYTES], second[NAME_BYTES];
    IMP_TRY(parse_name(parser, "a key", first, sizeof first));
    if (section[0] != '\0') {
        strcpy(key, section);
        strcpy(second, first);
    } else {
        strcpy(key, first);
        if (!accept(parser, '.'))
            return imp_fail(IMP_ERR_FORMAT, "%s stands before any section: write [section] above it", first);
        IMP_TRY(parse_name(parser, "a key", second, sizeof second));
    }
    strcat(strcat(key, "."), second);
    return IMP_OK;
}

/* "key = value" and the end of its line. */
static ImpStatus parse_assignment(Parser *parser, Seen **seen, const char *section, ConfigAssign *assign, void *user)
{
    char key[2 * NAME_BYTES];
    const int line = parser->line;
    IMP_TRY(parse_key(parser, section, key));
    skip_blanks(parser);
    if (!accept(parser, '=')) return imp_fail(IMP_ERR_FORMAT, "expected '=' after %s", key);
    skip_blanks(parser);
    Literal literal;
    const ImpStatus status = parse_value(parser, &literal);
    if (status != IMP_OK) return imp_fail_prefix(status, "%s", key);
    IMP_TRY(remember(parser, seen, key, line));
    skip_comment(parser);
    if (!at_end(parser) && peek(parser) != '\n')
        return imp_fail(IMP_ERR_FORMAT, "something follows the value of %s", key);
    IMP_TRY(assign(user, key, line, &literal));
    (void)accept_line_end(parser);
    return IMP_OK;
}

/* What no line may contain; on failure *line says where. */
static ImpStatus check_bytes(const char *text, size_t length, int *line)
{
    size_t line_start = 0;
    for (size_t i = 0; i < length;) {
        const unsigned char byte = (unsigned char)text[i];
        if (i - line_start > CONFIG_MAX_LINE_BYTES)
            return imp_fail(IMP_ERR_LIMIT, "the line is longer than %d bytes", CONFIG_MAX_LINE_BYTES);
        if (byte == '\n') {
            line_start = ++i;
            (*line)++;
            continue;
        }
        if (byte == '\r' && i + 1 < length && text[i + 1] == '\n') {
            i++;
            continue;
        }
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return imp_fail(IMP_ERR_FORMAT, "the line contains the control byte 0x%02x", byte);
        utf8proc_int32_t code;
        const utf8proc_ssize_t size =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(length - i), &code);
        if (size < 1) return imp_fail(IMP_ERR_FORMAT, "the line is not valid UTF-8");
        i += (size_t)size;
    }
    return IMP_OK;
}

/* A copy of the text with \n for \r\n, so that nothing below sees a carriage return. */
static char *normalize_line_ends(Arena *arena, const char *text, size_t length, size_t *out_length)
{
    char *copy = arena_alloc(arena, length + 1, 1);
    if (copy == NULL) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] != '\r') copy[n++] = text[i];
    *out_length = n;
    return copy;
}

static ImpStatus parse_lines(Parser *parser, ConfigAssign *assign, void *user)
{
    char section[NAME_BYTES] = "";
    Seen *seen = NULL;
    for (;;) {
        skip_empty_lines(parser);
        if (at_end(parser)) return IMP_OK;
        if (peek(parser) == '[') {
            IMP_TRY(parse_section(parser, &seen, section));
        } else {
            IMP_TRY(parse_assignment(parser, &seen, section, assign, user));
        }
    }
}

ImpStatus config_parse_text(const char *name, const char *text, size_t length, Arena *arena, ConfigAssign *assign,
                            void *user)
{
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    Parser parser = {.line = 1, .arena = arena};
    ImpStatus status = check_bytes(text, length, &parser.line);
    if (status == IMP_OK) {
        size_t normalized = 0;
        parser.at = normalize_line_ends(arena, text, length, &normalized);
        if (parser.at == NULL) return imp_fail_memory(length);
        parser.end = parser.at + normalized;
        parser.line = 1;
        status = parse_lines(&parser, assign, user);
    }
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "%s:%d", name, parser.line);
}
