/*
 * schema_uri.c - reference resolution (RFC 3986, section 5) on plain strings.
 */
#include "runtime/constraint/schema_uri.h"

#include <stdbool.h>
#include <string.h>

/* Length of "scheme:" at the start; 0 when there is none. */
static size_t scheme_length(const char *uri)
{
    size_t i = 0;
    for (; uri[i] != '\0'; i++) {
        const char c = uri[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == ':') return i > 0 ? i + 1 : 0;
        if (!letter && (i == 0 || strchr("0123456789+-.", c) == NULL)) return 0;
    }
    return 0;
}

/* Length of "scheme://authority" or "scheme:". */
static size_t root_length(const char *uri)
{
    size_t at = scheme_length(uri);
    if (strncmp(uri + at, "//", 2) == 0) {
        at += 2;
        at += strcspn(uri + at, "/?#");
    }
    return at;
}

/* Removes "." and ".." segments from the path that starts at `path`, in place. */
static void remove_dots(char *path)
{
    char *out = path;
    const char *in = path;
    while (*in != '\0') {
        const size_t segment = 1 + strcspn(in + 1, "/");
        const bool last = in[segment] == '\0';
        if (segment == 2 && in[0] == '/' && in[1] == '.') {
            if (last) *out++ = '/';
        } else if (segment == 3 && memcmp(in, "/..", 3) == 0) {
            while (out > path && *--out != '/') continue;
            if (last) *out++ = '/';
        } else {
            memmove(out, in, segment);
            out += segment;
        }
        in += segment;
    }
    *out = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f') return (c | 32) - 'a' + 10;
    return -1;
}

static void percent_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in == '%' && hex_digit(in[1]) >= 0 && hex_digit(in[2]) >= 0) {
            *out++ = (char)(hex_digit(in[1]) * 16 + hex_digit(in[2]));
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

ImpStatus schema_uri_resolve(Arena *arena, const char *base, const char *reference, const char **uri,
                             const char **fragment)
{
    const size_t size = strlen(base) + strlen(reference) + 2;
    char *joined = arena_alloc(arena, size, 1);
    const size_t before_fragment = strcspn(reference, "#");
    const char *hash = reference + before_fragment;
    char *decoded = arena_string(arena, *hash == '#' ? hash + 1 : hash, strlen(*hash == '#' ? hash + 1 : hash));
    if (joined == NULL || decoded == NULL) return imp_fail_memory(size);
    percent_decode(decoded);
    *fragment = decoded;
    *uri = joined;
    size_t kept = strcspn(base, "#");
    if (before_fragment > 0) {
        if (scheme_length(reference) > 0) kept = 0;
        else if (strncmp(reference, "//", 2) == 0) kept = scheme_length(base);
        else if (reference[0] == '/') kept = root_length(base);
        else {
            kept = strcspn(base, "?#");
            const size_t root = root_length(base);
            while (kept > root && base[kept - 1] != '/') kept--;
        }
    }
    memcpy(joined, base, kept);
    if (kept > 0 && kept == root_length(base) && before_fragment > 0 && reference[0] != '/') joined[kept++] = '/';
    memcpy(joined + kept, reference, before_fragment);
    joined[kept + before_fragment] = '\0';
    char *path = joined + root_length(joined);
    if (path[0] == '/' && strpbrk(path, "?") == NULL) remove_dots(path);
    return IMP_OK;
}
