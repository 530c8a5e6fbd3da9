/*
 * text.c - bytes and token ids on their way in and out: files, standard input, JSON strings and arrays.
 *
 * JSON strings are read and written here and not by a library, because text for a tokenizer need not be text: lone
 * surrogates, NUL and bytes that are no UTF-8 have to come through.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

/* ---- growing ---- */

static bool grow(void **data, size_t *capacity, size_t need, size_t element)
{
    if (need <= *capacity) return true;
    size_t wanted = *capacity < 64 ? 64 : *capacity;
    while (wanted < need && wanted <= SIZE_MAX / 4) wanted *= 2;
    if (wanted < need || wanted > SIZE_MAX / element) return false;
    void *larger = realloc(*data, wanted * element);
    if (larger == NULL) return false;
    *data = larger;
    *capacity = wanted;
    return true;
}

bool text_append(Text *text, const char *bytes, size_t length)
{
    void *data = text->data;
    if (length >= SIZE_MAX - text->length || !grow(&data, &text->capacity, text->length + length + 1, 1)) return false;
    text->data = data;
    if (length > 0) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
    return true;
}

bool text_puts(Text *text, const char *string) { return text_append(text, string, strlen(string)); }

void text_clear(Text *text)
{
    text->length = 0;
    if (text->data != NULL) text->data[0] = '\0';
}

void text_free(Text *text)
{
    free(text->data);
    *text = (Text){0};
}

bool ids_push(Ids *ids, int32_t id)
{
    void *data = ids->data;
    if (!grow(&data, &ids->capacity, ids->count + 1, sizeof *ids->data)) return false;
    ids->data = data;
    ids->data[ids->count++] = id;
    return true;
}

void ids_free(Ids *ids)
{
    free(ids->data);
    *ids = (Ids){0};
}

/* ---- files ---- */

enum { READ_BYTES = 1 << 16 };

static int read_descriptor(Text *text, int descriptor, const char *name)
{
    char buffer[READ_BYTES];
    if (!text_append(text, "", 0)) return fail("out of memory for %s", name);
    for (;;) {
        const ssize_t length = read(descriptor, buffer, sizeof buffer);
        if (length == 0) return EXIT_OK;
        if (length < 0 && errno == EINTR) continue;
        if (length < 0) return fail("cannot read %s: %s", name, strerror(errno));
        if (!text_append(text, buffer, (size_t)length)) return fail("out of memory for %s", name);
    }
}

int text_read_file(Text *text, const char *path)
{
    if (strcmp(path, "-") == 0) return read_descriptor(text, STDIN_FILENO, "standard input");
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return fail("cannot open %s: %s", path, strerror(errno));
    const int code = read_descriptor(text, descriptor, path);
    (void)close(descriptor);
    return code;
}

int text_read_prompt(Text *text, const char *prompt, bool strip)
{
    if (prompt != NULL && prompt[0] != '@') return text_puts(text, prompt) ? EXIT_OK : fail("out of memory");
    if (prompt != NULL && prompt[1] == '@') return text_puts(text, prompt + 1) ? EXIT_OK : fail("out of memory");
    if (prompt != NULL && prompt[1] == '\0') return fail_usage("--prompt @ expects the name of a file behind the @");
    const int code = text_read_file(text, prompt == NULL ? "-" : prompt + 1);
    if (code != EXIT_OK || !strip || text->length == 0 || text->data[text->length - 1] != '\n') return code;
    text->data[--text->length] = '\0';
    if (text->length > 0 && text->data[text->length - 1] == '\r') text->data[--text->length] = '\0';
    return EXIT_OK;
}

int ids_read_file(Ids *ids, const char *path, int32_t n_vocab)
{
    Text bytes = {0};
    int code = text_read_file(&bytes, path);
    if (code == EXIT_OK && (bytes.length == 0 || bytes.length % 4 != 0))
        code = fail("%s holds %zu bytes: expected token ids of 4 bytes each", path, bytes.length);
    for (size_t i = 0; i < bytes.length / 4 && code == EXIT_OK; i++) {
        const unsigned char *four = (const unsigned char *)bytes.data + 4 * i;
        const uint32_t id = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24;
        if (id >= (uint32_t)n_vocab) {
            code = fail("%s: id %u at position %zu is outside the vocabulary of %d", path, id, i, n_vocab);
        } else if (!ids_push(ids, (int32_t)id)) {
            code = fail("out of memory for the ids of %s", path);
        }
    }
    text_free(&bytes);
    return code;
}

int ids_tokenize(Ids *ids, ImpModel model, const char *text, size_t length, unsigned flags)
{
    /* A token is seldom shorter than a byte; where that fails the second call knows the number. */
    size_t count = length + 16;
    for (int attempt = 0; attempt < 2; attempt++) {
        void *data = ids->data;
        if (!grow(&data, &ids->capacity, count, sizeof *ids->data)) return fail("out of memory for %zu tokens", count);
        ids->data = data;
        const ImpStatus status = imp_tokenize(model, text, length, flags, ids->data, ids->capacity, &count);
        ids->count = count;
        if (status == IMP_OK) return EXIT_OK;
        if (status != IMP_ERR_BUFFER_TOO_SMALL) break;
    }
    ids->count = 0;
    return fail_imp();
}

/* ---- JSON ---- */

/* Length of the UTF-8 character at hand, 0 when there is none. */
static size_t utf8_length(const unsigned char *bytes, size_t available)
{
    const unsigned char lead = bytes[0];
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    if (length == 0 || length > available) return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xC0) != 0x80) return 0;
    const bool overlong = (lead == 0xE0 && bytes[1] < 0xA0) || (lead == 0xF0 && bytes[1] < 0x90);
    const bool outside = (lead == 0xED && bytes[1] >= 0xA0) || (lead == 0xF4 && bytes[1] >= 0x90);
    return overlong || outside ? 0 : length;
}

bool text_append_json(Text *text, const char *bytes, size_t length)
{
    static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    bool done = text_append(text, "\"", 1);
    for (size_t i = 0; i < length && done;) {
        const unsigned char byte = (unsigned char)bytes[i];
        const char *letter = byte != '\0' ? strchr(letters, bytes[i]) : NULL;
        const size_t size = utf8_length((const unsigned char *)bytes + i, length - i);
        char escape[8];
        if (letter != NULL) {
            (void)snprintf(escape, sizeof escape, "\\%c", names[letter - letters]);
            done = text_puts(text, escape);
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", byte);
            done = text_puts(text, escape);
        } else {
            done = size > 0 ? text_append(text, bytes + i, size) : text_puts(text, "\xEF\xBF\xBD");
        }
        i += size > 0 ? size : 1;
    }
    return done && text_append(text, "\"", 1);
}

/* Four hexadecimal digits, or -1. */
static long parse_hex4(const char *at, const char *end)
{
    long value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char digit = at[i], lower = (char)(digit | 0x20);
        if (digit >= '0' && digit <= '9') {
            value = value * 16 + (digit - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (lower - 'a') + 10;
        } else {
            return -1;
        }
    }
    return value;
}

static bool append_utf8(Text *text, long code)
{
    const int followers = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0x00, 0xC0, 0xE0, 0xF0};
    char bytes[4];
    for (int i = followers; i > 0; i--, code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(leads[followers] | code);
    return text_append(text, bytes, (size_t)followers + 1);
}

/* What follows a backslash and its u; surrogates in pairs, a lone one becomes U+FFFD. NULL when there are no four
 * digits. */
static const char *parse_unicode(Text *text, const char *at, const char *end, bool *done)
{
    long code = parse_hex4(at, end);
    if (code < 0) return NULL;
    at += 4;
    if (code >= 0xD800 && code < 0xE000) {
        const long low = code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? parse_hex4(at + 2, end) : -1;
        const bool pair = low >= 0xDC00 && low < 0xE000;
        code = pair ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
        at += pair ? 6 : 0;
    }
    *done = append_utf8(text, code);
    return at;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* One escape; `at` stands behind its backslash. NULL when there is no such escape. */
static const char *parse_escape(Text *text, const char *at, const char *end, bool *done)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (at == end) return NULL;
    if (*at == 'u') return parse_unicode(text, at + 1, end, done);
    const char *letter = *at != '\0' ? strchr(letters, *at) : NULL;
    if (letter == NULL) return NULL;
    *done = text_append(text, &meanings[letter - letters], 1);
    return at + 1;
}

bool text_parse_json(Text *text, const char *line, size_t length, const char **error)
{
    const char *end = line + length, *at = skip_space(line, end);
    bool done = true;
    *error = "expected a JSON string";
    if (at == end || *at != '"') return false;
    for (at++; at < end && *at != '"' && done;) {
        const char *run = at;
        while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) at++;
        if (at > run) {
            done = text_append(text, run, (size_t)(at - run));
        } else if (*at == '\\') {
            at = parse_escape(text, at + 1, end, &done);
            *error = "the string holds an escape that JSON does not have";
            if (at == NULL) return false;
        } else {
            *error = "the string holds a control character, which JSON writes as an escape";
            return false;
        }
    }
    *error = !done ? "out of memory" : at == end ? "the string has no closing quote" : "something follows the string";
    return done && at < end && skip_space(at + 1, end) == end;
}

bool ids_append_json(Text *text, const int32_t *ids, size_t count)
{
    bool done = text_puts(text, "[");
    for (size_t i = 0; i < count && done; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, i == 0 ? "%d" : ", %d", ids[i]);
        done = text_puts(text, number);
    }
    return done && text_puts(text, "]");
}

/* A whole number of an array; NULL when there is none that fits an id. */
static const char *parse_id(const char *at, const char *end, int32_t *id)
{
    const char *start = at;
    int64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9' && value <= INT32_MAX) value = value * 10 + (*at++ - '0');
    *id = (int32_t)value;
    return at == start || value > INT32_MAX ? NULL : at;
}

bool ids_parse_json(Ids *ids, const char *line, size_t length, const char **error)
{
    const char *end = line + length, *at = skip_space(line, end);
    *error = "expected a JSON array of token ids such as [1, 2, 3]";
    if (at == end || *at != '[') return false;
    at = skip_space(at + 1, end);
    while (at < end && *at != ']') {
        int32_t id;
        at = parse_id(at, end, &id);
        if (at == NULL) return false;
        if (!ids_push(ids, id)) {
            *error = "out of memory";
            return false;
        }
        at = skip_space(at, end);
        if (at < end && *at == ',') {
            at = skip_space(at + 1, end);
            if (at < end && *at == ']') return false;
        } else if (at < end && *at != ']') {
            return false;
        }
    }
    return at < end && skip_space(at + 1, end) == end;
}
