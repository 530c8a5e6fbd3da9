/*
 * metaschema.h - the schemas of JSON Schema itself, which other schemas may refer to without bringing them along.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_METASCHEMA_H
#define IMP_RUNTIME_CONSTRAINT_METASCHEMA_H

#include "core/strbuf.h"

#include <stdbool.h>

/* Appends the metaschema that `uri` (without fragment) names; false when it names none. */
bool metaschema_write(const char *uri, StrBuf *out);

#endif
