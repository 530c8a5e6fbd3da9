/*
 * json_file.h - JSON as model directories hold it: written by Python, by Rust and by hand, and not always quite JSON.
 */
#ifndef IMP_FORMAT_JSON_FILE_H
#define IMP_FORMAT_JSON_FILE_H

#include "core/status.h"

#include <jansson.h>
#include <stddef.h>

/*
 * Parses a whole text. Accepted beside strict JSON: NaN (read as null), Infinity and -Infinity (the largest doubles, so
 * that a cast to float gives infinity), integers of any length (those past 18 digits become reals), escaped surrogates
 * without a partner (U+FFFD), escaped NULs in keys (U+FFFD; in values they stay). Nesting is bounded. The caller owns
 * `*out`. Sentences give line and column, not the file.
 */
ImpStatus json_parse_lenient(const char *text, size_t length, json_t **out);

/* Reads DIRECTORY/NAME; `*out` is NULL when there is no such file. Refuses files over `max_bytes`. */
ImpStatus json_file_read(const char *directory, const char *name, size_t max_bytes, json_t **out);

#endif
