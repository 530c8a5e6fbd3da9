/*
 * json_place.c - why a JSON text cannot be read, and in which of its fields: messages[2].tool_calls[0].id.
 *
 * jansson says where in the text it stopped. The text up to there is walked once more, with the path of the value that
 * is being read; what it has of keys is cut rather than allocated.
 */
#include "fields.h"

#include <stdio.h>
#include <string.h>

enum { MAX_LEVELS = 64, MAX_PATH = 160 };

typedef struct Place {
    char path[MAX_PATH];
    size_t length;
    struct {
        size_t outside; /* of the path, its part before this container's members */
        long index;     /* of the member; -1: the container is an object */
    } levels[MAX_LEVELS];
    size_t depth; /* may exceed MAX_LEVELS: what is deeper is not named */
} Place;

static void add(Place *place, const char *text, size_t length)
{
    if (length > sizeof place->path - 1 - place->length) length = sizeof place->path - 1 - place->length;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--; /* at the border of a character */
    memcpy(place->path + place->length, text, length);
    place->length += length;
    place->path[place->length] = '\0';
}

static void name_item(Place *place, size_t level)
{
    char text[32];
    place->length = place->levels[level].outside;
    add(place, text, (size_t)snprintf(text, sizeof text, "[%ld]", place->levels[level].index));
}

static void enter(Place *place, bool is_array)
{
    if (place->depth < MAX_LEVELS) {
        place->levels[place->depth].outside = place->length;
        place->levels[place->depth].index = is_array ? 0 : -1;
        if (is_array) name_item(place, place->depth);
    }
    place->depth++;
}

static void leave(Place *place)
{
    if (place->depth == 0) return;
    place->depth--;
    if (place->depth < MAX_LEVELS) place->length = place->levels[place->depth].outside;
    place->path[place->length] = '\0';
}

/* After a comma or at a key: the next member of the innermost container. */
static void next_member(Place *place, const char *key, size_t length)
{
    const size_t level = place->depth - 1;
    if (place->depth == 0 || place->depth > MAX_LEVELS) return;
    if (key == NULL && place->levels[level].index >= 0) {
        place->levels[level].index++;
        name_item(place, level);
    } else if (key != NULL && place->levels[level].index < 0) {
        place->length = place->levels[level].outside;
        if (place->length > 0) add(place, ".", 1);
        add(place, key, length);
    }
}

/* Walks `length` bytes of the text. A string before a colon is a key. */
static void walk(Place *place, const char *text, size_t length)
{
    const char *key = NULL;
    size_t key_length = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') {
            key = text + ++i;
            while (i < length && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
            key_length = (size_t)(text + (i < length ? i : length) - key);
        } else if (text[i] == ':') {
            next_member(place, key != NULL ? key : "", key_length);
        } else if (text[i] == ',') {
            next_member(place, NULL, 0);
        } else if (text[i] == '{' || text[i] == '[') {
            enter(place, text[i] == '[');
        } else if (text[i] == '}' || text[i] == ']') {
            leave(place);
        }
    }
}

void json_explain(const char *text, size_t length, const json_error_t *error, char *sentence, size_t size)
{
    Place place = {.length = 0};
    if (json_error_code(error) != json_error_numeric_overflow) {
        (void)snprintf(sentence, size, "is not valid JSON: line %d, column %d: %s", error->line, error->column,
                       error->text);
        return;
    }
    const size_t end = error->position > 0 ? (size_t)error->position : 0;
    walk(&place, text, end < length ? end : length);
    (void)snprintf(sentence, size, "has a number in %s that is too large: integers have 64 bits here", place.path);
}
