/*
 * fields.h - typed reads of a request's members. The first field that is wrong is remembered with its name; everything
 * read after it is ignored, so that a route checks once.
 */
#ifndef IMP_SERVER_FIELDS_H
#define IMP_SERVER_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Fields {
    const json_t *object;
    char param[64]; /* of the first error; "" when there was none */
    char error[256];
} Fields;

/* Each leaves *out alone when the member is absent or null. */
void fields_int(Fields *fields, const char *name, int64_t min, int64_t max, int64_t *out);
void fields_float(Fields *fields, const char *name, double min, double max, float *out);
void fields_bool(Fields *fields, const char *name, bool *out);
void fields_string(Fields *fields, const char *name, const char **out);
/* The member itself, of one of these types (JSON_OBJECT, …); NULL when absent. */
const json_t *fields_member(Fields *fields, const char *name, json_type type, const char *expected);
void fields_fail(Fields *fields, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What a JSON text has too much of for a parser that recurses and allocates, as the end of a sentence; NULL: nothing.
 */
const char *json_excess(const char *text, size_t length);
/* Why jansson could not read a text, as the end of a sentence; of a number that it cannot hold, in which field. */
void json_explain(const char *text, size_t length, const json_error_t *error, char *sentence, size_t size);
static inline bool fields_good(const Fields *fields) { return fields->error[0] == '\0'; }

#endif
