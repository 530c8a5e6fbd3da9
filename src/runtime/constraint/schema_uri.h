/*
 * schema_uri.h - the little of RFC 3986 that references between schemas need.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_SCHEMA_URI_H
#define IMP_RUNTIME_CONSTRAINT_SCHEMA_URI_H

#include "core/arena.h"
#include "core/status.h"

/* Resolves `reference` against `base` and splits off the fragment ("" when there is none), both new strings. */
ImpStatus schema_uri_resolve(Arena *arena, const char *base, const char *reference, const char **uri,
                             const char **fragment);

#endif
