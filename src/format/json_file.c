/*
 * json_file.c - what jansson refuses and model files contain is rewritten before jansson sees it.
 *
 * One pass over the text that knows strings from the rest. Runs that need no change are copied as they are, and a text
 * that needs none (nearly all do not) is never copied at all.
 */
#include "format/json_file.h"

#include "core/file_map.h"
#include "core/strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_INTEGER_DIGITS = 18, ESCAPE_LENGTH = 6 /* \u0000 */ };

typedef struct Rewriter {
    const char *text;
    size_t length;
    size_t at;     /* what has been looked at */
    size_t copied; /* what is in `out` */
    StrBuf out;
} Rewriter;

/* Puts `text` in place of the `length` bytes at `from`. */
static void replace(Rewriter *rewriter, size_t from, size_t length, const char *text)
{
    strbuf_append(&rewriter->out, rewriter->text + rewriter->copied, from - rewriter->copied);
    strbuf_puts(&rewriter->out, text);
    rewriter->copied = from + length;
}

/* The code unit of the \uXXXX at `at`, or -1. */
static int32_t escape_at(const Rewriter *rewriter, size_t at)
{
    if (rewriter->length < ESCAPE_LENGTH || at > rewriter->length - ESCAPE_LENGTH) return -1;
    if (rewriter->text[at] != '\\' || rewriter->text[at + 1] != 'u') return -1;
    int32_t unit = 0;
    for (size_t i = 2; i < ESCAPE_LENGTH; i++) {
        const char digit = rewriter->text[at + i];
        if (!isxdigit((unsigned char)digit)) return -1;
        unit = unit * 16 + (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return unit;
}

static bool is_high_surrogate(int32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
static bool is_low_surrogate(int32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

/* Moves past the escape at `at`; replaces a surrogate that has no partner and, in a key, a NUL. */
static void pass_escape(Rewriter *rewriter, bool in_key)
{
    const size_t start = rewriter->at;
    const int32_t unit = escape_at(rewriter, start);
    if (unit < 0) {
        rewriter->at += 2;
        return;
    }
    rewriter->at += ESCAPE_LENGTH;
    if (is_high_surrogate(unit) && is_low_surrogate(escape_at(rewriter, rewriter->at)))
        rewriter->at += ESCAPE_LENGTH;
    else if (is_high_surrogate(unit) || is_low_surrogate(unit) || (in_key && unit == 0))
        replace(rewriter, start, ESCAPE_LENGTH, "\\uFFFD");
}

/* The closing quote of the string whose inside starts at `at`, or the text's end. */
static size_t string_end(const Rewriter *rewriter, size_t at)
{
    while (at < rewriter->length && rewriter->text[at] != '"') at += rewriter->text[at] == '\\' ? 2 : 1;
    return at < rewriter->length ? at : rewriter->length;
}

/* A string is a key when a colon follows it. */
static bool colon_follows(const Rewriter *rewriter, size_t end)
{
    size_t at = end + 1;
    while (at < rewriter->length && isspace((unsigned char)rewriter->text[at])) at++;
    return at < rewriter->length && rewriter->text[at] == ':';
}

/* Moves past the string whose opening quote has been passed. */
static void pass_string(Rewriter *rewriter)
{
    const size_t end = string_end(rewriter, rewriter->at);
    const bool is_key = colon_follows(rewriter, end);
    while (rewriter->at < end) {
        const char *escape = memchr(rewriter->text + rewriter->at, '\\', end - rewriter->at);
        if (escape == NULL) break;
        rewriter->at = (size_t)(escape - rewriter->text);
        pass_escape(rewriter, is_key);
    }
    rewriter->at = end + 1;
}

/* Moves past a number. A long integer gets a fraction, which makes it a real. */
static void pass_number(Rewriter *rewriter)
{
    size_t digits = 0;
    bool is_real = false;
    while (rewriter->at < rewriter->length) {
        const char byte = rewriter->text[rewriter->at];
        if (isdigit((unsigned char)byte))
            digits++;
        else if (byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-')
            is_real = true;
        else
            break;
        rewriter->at++;
    }
    if (!is_real && digits > MAX_INTEGER_DIGITS) replace(rewriter, rewriter->at, 0, ".0");
}

/* Replaces one of the words that Python writes for floats that JSON lacks; false when there is none here. */
static bool pass_literal(Rewriter *rewriter)
{
    static const struct {
        const char *word, *number;
    } literals[] = {
        {"NaN", "null"},
        {"Infinity", "1.7976931348623157e308"},
        {"-Infinity", "-1.7976931348623157e308"},
    };
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        const size_t length = strlen(literals[i].word);
        if (length > rewriter->length - rewriter->at) continue;
        if (memcmp(rewriter->text + rewriter->at, literals[i].word, length) != 0) continue;
        replace(rewriter, rewriter->at, length, literals[i].number);
        rewriter->at += length;
        return true;
    }
    return false;
}

static void rewrite(Rewriter *rewriter)
{
    while (rewriter->at < rewriter->length) {
        const char byte = rewriter->text[rewriter->at];
        if (byte == '"') {
            rewriter->at++;
            pass_string(rewriter);
        } else if ((byte == 'N' || byte == 'I' || byte == '-') && pass_literal(rewriter)) {
            continue;
        } else if (isdigit((unsigned char)byte)) {
            pass_number(rewriter);
        } else {
            rewriter->at++;
        }
    }
}

ImpStatus json_parse_lenient(const char *text, size_t length, json_t **out)
{
    Rewriter rewriter = {.text = text, .length = length};
    rewrite(&rewriter);
    if (rewriter.copied > 0) {
        strbuf_append(&rewriter.out, text + rewriter.copied, length - rewriter.copied);
        const ImpStatus status = strbuf_check(&rewriter.out);
        if (status != IMP_OK) {
            strbuf_free(&rewriter.out);
            return status;
        }
        text = rewriter.out.data;
        length = rewriter.out.length;
    }
    json_error_t error;
    *out = json_loadb(length > 0 ? text : "", length, JSON_ALLOW_NUL, &error);
    strbuf_free(&rewriter.out);
    if (*out != NULL) return IMP_OK;
    return imp_fail(IMP_ERR_FORMAT, "not valid JSON: line %d, column %d: %s", error.line, error.column, error.text);
}

ImpStatus json_file_read(const char *directory, const char *name, size_t max_bytes, json_t **out)
{
    *out = NULL;
    StrBuf path = {0};
    strbuf_printf(&path, "%s/%s", directory, name);
    ImpStatus status = strbuf_check(&path);
    struct stat info;
    if (status != IMP_OK || (stat(path.data, &info) != 0 && errno == ENOENT)) {
        strbuf_free(&path);
        return status;
    }
    FileMap map;
    status = file_map_open(path.data, &map);
    if (status == IMP_OK) {
        status = map.size <= max_bytes ? json_parse_lenient((const char *)map.data, map.size, out)
                                       : imp_fail(IMP_ERR_LIMIT, "larger than %zu bytes", max_bytes);
        if (status != IMP_OK) (void)imp_fail_prefix(status, "%s", path.data);
        file_map_close(&map);
    }
    strbuf_free(&path);
    return status;
}
