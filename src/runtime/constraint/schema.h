/*
 * schema.h - a JSON Schema document as a set of places: which values are schemas, what each $ref means, which draft's rules
 * hold. What the keywords demand is goal.h's business.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_SCHEMA_H
#define IMP_RUNTIME_CONSTRAINT_SCHEMA_H

#include "runtime/constraint/json_value.h"

typedef enum SchemaDraft { SCHEMA_DRAFT_4 = 4, SCHEMA_DRAFT_6 = 6, SCHEMA_DRAFT_7 = 7, SCHEMA_DRAFT_2019 = 8,
                           SCHEMA_DRAFT_2020 = 9 } SchemaDraft;

typedef enum SchemaKind {
    SCHEMA_RULES, /* `value` is an object of keywords, or true or false */
    SCHEMA_CONST, /* the one value `value` (elements of enum and const are taken apart this way) */
} SchemaKind;

/* A subschema where it stands. */
typedef struct SchemaNode {
    SchemaKind kind;
    const JsonValue *value;
    uint32_t number;                    /* distinct for each node: an order to sort by */
    const char *pointer;                /* JSON pointer from the root of the document, for messages */
    const struct SchemaNode *reference; /* what its $ref, $dynamicRef or $recursiveRef names; NULL without one */
    const struct SchemaNode *resource;  /* root of the schema resource it belongs to */
    const char *base;                   /* URI of that resource, "" when it has none */
    bool only_reference;                /* nothing beside the reference counts */
} SchemaNode;

typedef struct SchemaDocument SchemaDocument;

/* Reads all schemas of a document and resolves their references. The arena and `root` must outlive the document. */
ImpStatus schema_document_create(Arena *arena, const JsonValue *root, SchemaDocument **out);
void schema_document_free(SchemaDocument *document);
const SchemaNode *schema_root(const SchemaDocument *document);
SchemaDraft schema_draft(const SchemaDocument *document);
/* No $schema was given: the spellings of every draft are understood. */
bool schema_draft_is_open(const SchemaDocument *document);
/* Some unevaluatedItems or unevaluatedProperties is in it: then it matters what a schema looks at even where it decides nothing. */
bool schema_has_unevaluated(const SchemaDocument *document);

/* The node of a subschema value; NULL when `value` stands where no schema is expected. */
const SchemaNode *schema_find(const SchemaDocument *document, const JsonValue *value);
/* The node that allows exactly `value`. */
ImpStatus schema_const(SchemaDocument *document, const JsonValue *value, const char *pointer, const SchemaNode **out);
/* The schema true or false. */
const SchemaNode *schema_boolean(const SchemaDocument *document, bool value);

#endif
