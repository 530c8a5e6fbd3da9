/*
 * metaschema.c - a table of keywords by draft and by what their values may be; the metaschema of a draft is written from it. The drafts
 * that put theirs together from vocabularies get one of one piece, which accepts the same.
 */
#include "runtime/constraint/metaschema.h"
#include "runtime/constraint/schema.h"

#include <string.h>

enum { FIRST = SCHEMA_DRAFT_4, D6 = SCHEMA_DRAFT_6, D7 = SCHEMA_DRAFT_7, D2019 = SCHEMA_DRAFT_2019, LAST = SCHEMA_DRAFT_2020 };

static const struct {
    const char *uri;
    SchemaDraft draft;
} metaschemas[] = {
    {"http://json-schema.org/draft-04/schema", SCHEMA_DRAFT_4},
    {"http://json-schema.org/draft-06/schema", SCHEMA_DRAFT_6},
    {"http://json-schema.org/draft-07/schema", SCHEMA_DRAFT_7},
    {"https://json-schema.org/draft/2019-09/schema", SCHEMA_DRAFT_2019},
    {"https://json-schema.org/draft/2020-12/schema", SCHEMA_DRAFT_2020},
};

/* Values, written with ' for ". */
#define ANYTHING "{}"
#define SCHEMA "{'$ref':'#'}"
#define SCHEMA_OR_BOOLEAN "{'anyOf':[{'type':'boolean'},{'$ref':'#'}]}"
#define SCHEMAS "{'type':'array','minItems':1,'items':{'$ref':'#'}}"
#define SCHEMA_OR_SCHEMAS "{'anyOf':[{'$ref':'#'}," SCHEMAS "]}"
#define SCHEMA_MAP "{'type':'object','additionalProperties':{'$ref':'#'}}"
#define PATTERN_MAP "{'type':'object','additionalProperties':{'$ref':'#'},'propertyNames':{'format':'regex'}}"
#define BOOLEAN "{'type':'boolean'}"
#define STRING "{'type':'string'}"
#define LIST "{'type':'array'}"
#define NUMBER "{'type':'number'}"
#define POSITIVE "{'type':'number','minimum':0,'not':{'enum':[0]}}"
#define SIZE "{'type':'integer','minimum':0}"
#define NAMES "{'type':'array','items':{'type':'string'},'uniqueItems':true}"
#define SOME_NAMES "{'type':'array','items':{'type':'string'},'minItems':1,'uniqueItems':true}"
#define TYPE "{'enum':['array','boolean','integer','null','number','object','string']}"
#define TYPES "{'anyOf':[" TYPE ",{'type':'array','items':" TYPE ",'minItems':1,'uniqueItems':true}]}"
#define URI "{'type':'string','format':'uri'}"
#define REFERENCE "{'type':'string','format':'uri-reference'}"
#define NEEDS(names) "{'type':'object','additionalProperties':{'anyOf':[{'$ref':'#'}," names "]}}"

/* A member of the metaschema's properties, or of its definitions, in the drafts from `first` to `last`. */
typedef struct Entry {
    const char *name, *value;
    int first, last;
} Entry;

static const Entry properties[] = {
    {"id", STRING, FIRST, FIRST},
    {"$id", REFERENCE, D6, D7},
    {"$id", "{'type':'string','format':'uri-reference','pattern':'^[^#]*#?$'}", D2019, LAST},
    {"$schema", STRING, FIRST, FIRST},
    {"$schema", URI, D6, LAST},
    {"$ref", REFERENCE, D6, LAST},
    {"$anchor", "{'type':'string','pattern':'^[A-Za-z][-A-Za-z0-9.:_]*$'}", D2019, D2019},
    {"$anchor", "{'type':'string','pattern':'^[A-Za-z_][-A-Za-z0-9._]*$'}", LAST, LAST},
    {"$dynamicAnchor", "{'type':'string','pattern':'^[A-Za-z_][-A-Za-z0-9._]*$'}", LAST, LAST},
    {"$recursiveAnchor", BOOLEAN, D2019, D2019},
    {"$recursiveAnchor", "{'type':'string','pattern':'^[A-Za-z_][-A-Za-z0-9._]*$'}", LAST, LAST},
    {"$recursiveRef", REFERENCE, D2019, LAST},
    {"$dynamicRef", REFERENCE, LAST, LAST},
    {"$vocabulary", "{'type':'object','propertyNames':" URI ",'additionalProperties':" BOOLEAN "}", D2019, LAST},
    {"$comment", STRING, D7, LAST},
    {"$defs", SCHEMA_MAP, D2019, LAST},
    {"definitions", SCHEMA_MAP, FIRST, LAST},
    {"title", STRING, FIRST, LAST},
    {"description", STRING, FIRST, LAST},
    {"default", ANYTHING, FIRST, LAST},
    {"examples", LIST, D6, LAST},
    {"readOnly", BOOLEAN, D7, LAST},
    {"writeOnly", BOOLEAN, D2019, LAST},
    {"deprecated", BOOLEAN, D2019, LAST},
    {"multipleOf", POSITIVE, FIRST, LAST},
    {"maximum", NUMBER, FIRST, LAST},
    {"minimum", NUMBER, FIRST, LAST},
    {"exclusiveMaximum", BOOLEAN, FIRST, FIRST},
    {"exclusiveMinimum", BOOLEAN, FIRST, FIRST},
    {"exclusiveMaximum", NUMBER, D6, LAST},
    {"exclusiveMinimum", NUMBER, D6, LAST},
    {"maxLength", SIZE, FIRST, LAST},
    {"minLength", SIZE, FIRST, LAST},
    {"maxItems", SIZE, FIRST, LAST},
    {"minItems", SIZE, FIRST, LAST},
    {"maxContains", SIZE, D2019, LAST},
    {"minContains", SIZE, D2019, LAST},
    {"maxProperties", SIZE, FIRST, LAST},
    {"minProperties", SIZE, FIRST, LAST},
    {"pattern", "{'type':'string','format':'regex'}", FIRST, LAST},
    {"format", STRING, FIRST, LAST},
    {"uniqueItems", BOOLEAN, FIRST, LAST},
    {"prefixItems", SCHEMAS, LAST, LAST},
    {"items", SCHEMA_OR_SCHEMAS, FIRST, D2019},
    {"items", SCHEMA, LAST, LAST},
    {"additionalItems", SCHEMA_OR_BOOLEAN, FIRST, FIRST},
    {"additionalItems", SCHEMA, D6, D2019},
    {"unevaluatedItems", SCHEMA, D2019, LAST},
    {"contains", SCHEMA, D6, LAST},
    {"required", SOME_NAMES, FIRST, FIRST},
    {"required", NAMES, D6, LAST},
    {"properties", SCHEMA_MAP, FIRST, LAST},
    {"patternProperties", SCHEMA_MAP, FIRST, FIRST},
    {"patternProperties", PATTERN_MAP, D6, LAST},
    {"additionalProperties", SCHEMA_OR_BOOLEAN, FIRST, FIRST},
    {"additionalProperties", SCHEMA, D6, LAST},
    {"unevaluatedProperties", SCHEMA, D2019, LAST},
    {"propertyNames", SCHEMA, D6, LAST},
    {"dependencies", NEEDS(SOME_NAMES), FIRST, FIRST},
    {"dependencies", NEEDS(NAMES), D6, LAST},
    {"dependentSchemas", SCHEMA_MAP, D2019, LAST},
    {"dependentRequired", "{'type':'object','additionalProperties':" NAMES "}", D2019, LAST},
    {"const", ANYTHING, D6, LAST},
    {"enum", "{'type':'array','minItems':1,'uniqueItems':true}", FIRST, FIRST},
    {"enum", LIST, D6, LAST},
    {"type", TYPES, FIRST, LAST},
    {"allOf", SCHEMAS, FIRST, LAST},
    {"anyOf", SCHEMAS, FIRST, LAST},
    {"oneOf", SCHEMAS, FIRST, LAST},
    {"not", SCHEMA, FIRST, LAST},
    {"if", SCHEMA, D7, LAST},
    {"then", SCHEMA, D7, LAST},
    {"else", SCHEMA, D7, LAST},
    {"contentMediaType", STRING, D7, LAST},
    {"contentEncoding", STRING, D7, LAST},
    {"contentSchema", SCHEMA, D2019, LAST},
};

static const Entry definitions[] = {
    {"schemaArray", SCHEMAS, FIRST, LAST},
    {"positiveInteger", SIZE, FIRST, FIRST},
    {"positiveIntegerDefault0", SIZE, FIRST, FIRST},
    {"nonNegativeInteger", SIZE, D6, LAST},
    {"nonNegativeIntegerDefault0", SIZE, D6, LAST},
    {"simpleTypes", TYPE, FIRST, LAST},
    {"stringArray", SOME_NAMES, FIRST, FIRST},
    {"stringArray", NAMES, D6, LAST},
};

static void put(StrBuf *out, const char *text)
{
    for (; *text != '\0'; text++) strbuf_append(out, *text == '\'' ? "\"" : text, 1);
}

static void put_entries(StrBuf *out, const Entry *entries, size_t n, int draft)
{
    const char *before = "";
    for (size_t i = 0; i < n; i++) {
        if (draft < entries[i].first || draft > entries[i].last) continue;
        strbuf_printf(out, "%s\"%s\":", before, entries[i].name);
        put(out, entries[i].value);
        before = ",";
    }
}

bool metaschema_write(const char *uri, StrBuf *out)
{
    for (size_t i = 0; i < sizeof metaschemas / sizeof metaschemas[0]; i++) {
        if (strcmp(metaschemas[i].uri, uri) != 0) continue;
        const int draft = (int)metaschemas[i].draft;
        strbuf_printf(out, "{\"id\":\"%s\",\"$id\":\"%s\",", uri, uri);
        put(out, draft == FIRST ? "'type':'object','dependencies':{'exclusiveMaximum':['maximum'],'exclusiveMinimum':['minimum']},"
                                : "'type':['object','boolean'],");
        put(out, draft < D2019 ? "'definitions':{" : "'$defs':{");
        put_entries(out, definitions, sizeof definitions / sizeof definitions[0], draft);
        put(out, "},'properties':{");
        put_entries(out, properties, sizeof properties / sizeof properties[0], draft);
        put(out, "}}");
        return true;
    }
    return false;
}
