/*
 * schema.c - finding the schemas of a document.
 *
 * A walk from the root visits every value that stands where the drafts expect a schema, notes its place, its resource ($id)
 * and its anchors. References are resolved afterwards; one that points into a part of the document that is no schema position
 * (#/components/…) starts another walk there. Last, references that lead back to themselves in place are refused: such a
 * schema means nothing.
 */
#include "runtime/constraint/schema.h"
#include "runtime/constraint/metaschema.h"
#include "runtime/constraint/schema_uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 200000, MAX_WALK_DEPTH = 300 };

/* How a keyword holds subschemas. */
typedef enum Holding { HOLDS_ONE, HOLDS_LIST, HOLDS_ONE_OR_LIST, HOLDS_MAP } Holding;

typedef struct SubschemaKeyword {
    const char *name;
    Holding holding;
    bool in_place; /* applies to the same value */
} SubschemaKeyword;

static const SubschemaKeyword subschema_keywords[] = {
    {"$defs", HOLDS_MAP, false},
    {"definitions", HOLDS_MAP, false},
    {"allOf", HOLDS_LIST, true},
    {"anyOf", HOLDS_LIST, true},
    {"oneOf", HOLDS_LIST, true},
    {"not", HOLDS_ONE, true},
    {"if", HOLDS_ONE, true},
    {"then", HOLDS_ONE, true},
    {"else", HOLDS_ONE, true},
    {"dependentSchemas", HOLDS_MAP, true},
    {"dependencies", HOLDS_MAP, true},
    {"prefixItems", HOLDS_LIST, false},
    {"items", HOLDS_ONE_OR_LIST, false},
    {"additionalItems", HOLDS_ONE, false},
    {"unevaluatedItems", HOLDS_ONE, false},
    {"contains", HOLDS_ONE, false},
    {"properties", HOLDS_MAP, false},
    {"patternProperties", HOLDS_MAP, false},
    {"additionalProperties", HOLDS_ONE, false},
    {"unevaluatedProperties", HOLDS_ONE, false},
    {"propertyNames", HOLDS_ONE, false},
};
enum { N_SUBSCHEMA_KEYWORDS = sizeof subschema_keywords / sizeof subschema_keywords[0] };

typedef struct Anchor {
    const char *base, *name;
    const SchemaNode *node;
    bool dynamic;
} Anchor;

struct SchemaDocument {
    Arena *arena;
    const JsonValue *root;
    SchemaDraft draft;
    bool open_draft, has_unevaluated;
    SchemaNode **nodes; /* in order of number */
    size_t n_nodes, node_capacity;
    uint32_t *table; /* hash table: node number + 1 by (value, kind) */
    size_t table_size;
    Anchor *anchors;
    size_t n_anchors, anchor_capacity;
    const SchemaNode *always, *never;
};

static const JsonValue true_value = {.type = JSON_VALUE_TRUE};
static const JsonValue false_value = {.type = JSON_VALUE_FALSE};

const SchemaNode *schema_root(const SchemaDocument *document) { return schema_find(document, document->root); }
SchemaDraft schema_draft(const SchemaDocument *document) { return document->draft; }
bool schema_draft_is_open(const SchemaDocument *document) { return document->open_draft; }
bool schema_has_unevaluated(const SchemaDocument *document) { return document->has_unevaluated; }

const SchemaNode *schema_boolean(const SchemaDocument *document, bool value)
{
    return value ? document->always : document->never;
}

static size_t node_slot(const SchemaDocument *document, const JsonValue *value, SchemaKind kind)
{
    const uint64_t hash = ((uint64_t)(uintptr_t)value / 16 + (uint64_t)kind) * 0x9e3779b97f4a7c15ULL;
    size_t slot = (size_t)(hash >> 20) % document->table_size;
    while (document->table[slot] != 0) {
        const SchemaNode *node = document->nodes[document->table[slot] - 1];
        if (node->value == value && node->kind == kind) break;
        slot = (slot + 1) % document->table_size;
    }
    return slot;
}

static const SchemaNode *find_node(const SchemaDocument *document, const JsonValue *value, SchemaKind kind)
{
    const uint32_t number = document->table[node_slot(document, value, kind)];
    return number == 0 ? NULL : document->nodes[number - 1];
}

const SchemaNode *schema_find(const SchemaDocument *document, const JsonValue *value)
{
    return find_node(document, value, SCHEMA_RULES);
}

static ImpStatus grow_nodes(SchemaDocument *document)
{
    const size_t capacity = document->node_capacity * 2 + 64;
    SchemaNode **nodes = realloc(document->nodes, capacity * sizeof *nodes);
    if (nodes == NULL) return imp_fail_memory(capacity * sizeof *nodes);
    document->nodes = nodes;
    document->node_capacity = capacity;
    uint32_t *table = calloc(capacity * 2, sizeof *table);
    if (table == NULL) return imp_fail_memory(capacity * 2 * sizeof *table);
    free(document->table);
    document->table = table;
    document->table_size = capacity * 2;
    for (size_t i = 0; i < document->n_nodes; i++)
        table[node_slot(document, nodes[i]->value, nodes[i]->kind)] = (uint32_t)i + 1;
    return IMP_OK;
}

static ImpStatus add_node(SchemaDocument *document, const JsonValue *value, SchemaKind kind, const char *pointer,
                          SchemaNode **out)
{
    if (document->n_nodes == MAX_NODES) return imp_fail(IMP_ERR_LIMIT, "the schema has more than %d parts", MAX_NODES);
    if (document->n_nodes == document->node_capacity) IMP_TRY(grow_nodes(document));
    SchemaNode *node = arena_alloc(document->arena, 1, sizeof *node);
    if (node == NULL) return imp_fail_memory(sizeof *node);
    *node = (SchemaNode){
        .kind = kind, .value = value, .number = (uint32_t)document->n_nodes, .pointer = pointer, .base = ""};
    document->table[node_slot(document, value, kind)] = node->number + 1;
    document->nodes[document->n_nodes++] = node;
    *out = node;
    return IMP_OK;
}

ImpStatus schema_const(SchemaDocument *document, const JsonValue *value, const char *pointer, const SchemaNode **out)
{
    *out = find_node(document, value, SCHEMA_CONST);
    if (*out != NULL) return IMP_OK;
    SchemaNode *node = NULL;
    IMP_TRY(add_node(document, value, SCHEMA_CONST, pointer, &node));
    *out = node;
    return IMP_OK;
}

static ImpStatus add_anchor(SchemaDocument *document, const SchemaNode *node, const char *name, bool dynamic)
{
    if (document->n_anchors == document->anchor_capacity) {
        const size_t capacity = document->anchor_capacity * 2 + 8;
        Anchor *grown = realloc(document->anchors, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        document->anchors = grown;
        document->anchor_capacity = capacity;
    }
    document->anchors[document->n_anchors++] = (Anchor){node->base, name, node, dynamic};
    return IMP_OK;
}

static const char *string_member(const JsonValue *object, const char *key)
{
    const JsonValue *value = json_value_get(object, key);
    return value != NULL && value->type == JSON_VALUE_STRING ? value->as.string : NULL;
}

static ImpStatus join_pointer(Arena *arena, const char *pointer, const char *key, const char **out)
{
    const size_t size = strlen(pointer) + 2 * strlen(key) + 2;
    char *joined = arena_alloc(arena, size, 1);
    if (joined == NULL) return imp_fail_memory(size);
    size_t at = strlen(pointer);
    memcpy(joined, pointer, at);
    joined[at++] = '/';
    for (; *key != '\0'; key++) {
        if (*key == '~' || *key == '/') {
            joined[at++] = '~';
            joined[at++] = *key == '~' ? '0' : '1';
        } else {
            joined[at++] = *key;
        }
    }
    *out = joined;
    return IMP_OK;
}

static ImpStatus visit(SchemaDocument *document, const JsonValue *value, const char *pointer, const SchemaNode *parent,
                       size_t depth);

static ImpStatus visit_list(SchemaDocument *document, const JsonValue *list, const char *pointer,
                            const SchemaNode *parent, size_t depth)
{
    for (size_t i = 0; i < list->count; i++) {
        char index[24];
        const char *place = NULL;
        (void)snprintf(index, sizeof index, "%zu", i);
        IMP_TRY(join_pointer(document->arena, pointer, index, &place));
        IMP_TRY(visit(document, list->as.items[i], place, parent, depth));
    }
    return IMP_OK;
}

static ImpStatus visit_keyword(SchemaDocument *document, const SubschemaKeyword *keyword, const JsonValue *value,
                               const SchemaNode *parent, size_t depth)
{
    const char *place = NULL;
    IMP_TRY(join_pointer(document->arena, parent->pointer, keyword->name, &place));
    const bool list = value->type == JSON_VALUE_ARRAY;
    if (list && keyword->holding == HOLDS_LIST) return visit_list(document, value, place, parent, depth);
    if (list && keyword->holding == HOLDS_ONE_OR_LIST) return visit_list(document, value, place, parent, depth);
    if (keyword->holding == HOLDS_LIST) return imp_fail(IMP_ERR_FORMAT, "schema, %s: not an array of schemas", place);
    if (keyword->holding != HOLDS_MAP) return visit(document, value, place, parent, depth);
    if (value->type != JSON_VALUE_OBJECT) return imp_fail(IMP_ERR_FORMAT, "schema, %s: not an object of schemas", place);
    for (size_t i = 0; i < value->count; i++) {
        const char *inner = NULL;
        const JsonMember *member = &value->as.members[i];
        /* An array in `dependencies` is a list of names. */
        if (member->value->type == JSON_VALUE_ARRAY && strcmp(keyword->name, "dependencies") == 0) continue;
        IMP_TRY(join_pointer(document->arena, place, member->key, &inner));
        IMP_TRY(visit(document, member->value, inner, parent, depth));
    }
    return IMP_OK;
}

/* $id opens a resource of its own, or in drafts 6 and 7 ("#name") is an anchor. */
static ImpStatus enter_resource(SchemaDocument *document, SchemaNode *node)
{
    const char *id = string_member(node->value, document->draft == SCHEMA_DRAFT_4 ? "id" : "$id");
    if (id == NULL) return IMP_OK;
    if (id[0] == '#') return id[1] == '\0' ? IMP_OK : add_anchor(document, node, id + 1, false);
    const char *uri = NULL;
    const char *fragment = NULL;
    IMP_TRY(schema_uri_resolve(document->arena, node->base, id, &uri, &fragment));
    node->base = uri;
    node->resource = node;
    return fragment[0] == '\0' ? IMP_OK : add_anchor(document, node, fragment, false);
}

static ImpStatus visit(SchemaDocument *document, const JsonValue *value, const char *pointer, const SchemaNode *parent,
                       size_t depth)
{
    if (depth == MAX_WALK_DEPTH) return imp_fail(IMP_ERR_LIMIT, "schema, %s: nested too deeply", pointer);
    if (schema_find(document, value) != NULL) return IMP_OK;
    const bool boolean = value->type == JSON_VALUE_TRUE || value->type == JSON_VALUE_FALSE;
    if (value->type != JSON_VALUE_OBJECT && !boolean)
        return imp_fail(IMP_ERR_FORMAT, "schema, %s: neither an object nor a boolean", pointer);
    SchemaNode *node = NULL;
    IMP_TRY(add_node(document, value, SCHEMA_RULES, pointer, &node));
    node->resource = parent == NULL ? node : parent->resource;
    node->base = parent == NULL ? "" : parent->base;
    if (boolean) return IMP_OK;
    IMP_TRY(enter_resource(document, node));
    const char *anchor = string_member(value, "$anchor");
    const char *dynamic = string_member(value, "$dynamicAnchor");
    if (anchor != NULL) IMP_TRY(add_anchor(document, node, anchor, false));
    if (dynamic != NULL) IMP_TRY(add_anchor(document, node, dynamic, true));
    for (size_t i = 0; i < value->count; i++) {
        document->has_unevaluated = document->has_unevaluated || strncmp(value->as.members[i].key, "unevaluated", 11) == 0;
        for (size_t k = 0; k < N_SUBSCHEMA_KEYWORDS; k++) {
            if (strcmp(subschema_keywords[k].name, value->as.members[i].key) == 0)
                IMP_TRY(visit_keyword(document, &subschema_keywords[k], value->as.members[i].value, node, depth + 1));
        }
    }
    return IMP_OK;
}

/* Follows a JSON pointer from the root of a resource. */
static const JsonValue *follow_pointer(const JsonValue *value, const char *pointer)
{
    char token[512];
    while (*pointer == '/' && value != NULL) {
        size_t length = 0;
        for (pointer++; *pointer != '\0' && *pointer != '/'; pointer++) {
            char c = *pointer;
            if (c == '~' && (pointer[1] == '0' || pointer[1] == '1')) c = *++pointer == '0' ? '~' : '/';
            if (length + 1 == sizeof token) return NULL;
            token[length++] = c;
        }
        token[length] = '\0';
        if (value->type == JSON_VALUE_ARRAY) {
            const size_t index = (size_t)strtoul(token, NULL, 10);
            value = strspn(token, "0123456789") == length && length > 0 && index < value->count ? value->as.items[index]
                                                                                              : NULL;
        } else {
            value = json_value_find(value, token, length);
        }
    }
    return *pointer == '\0' ? value : NULL;
}

static bool same_uri(const char *a, const char *b)
{
    const size_t n = strcspn(a, "#");
    return n == strcspn(b, "#") && memcmp(a, b, n) == 0;
}

static const SchemaNode *find_resource(const SchemaDocument *document, const char *uri)
{
    for (size_t i = 0; i < document->n_nodes; i++) {
        const SchemaNode *node = document->nodes[i];
        if (node->resource == node && same_uri(node->base, uri)) return node;
    }
    return NULL;
}

/* The metaschema that `uri` names becomes a resource of the document; NULL in *out when there is none. */
static ImpStatus add_metaschema(SchemaDocument *document, const char *uri, const SchemaNode **out)
{
    StrBuf text = {0};
    const JsonValue *value = NULL;
    ImpStatus status = IMP_OK;
    if (metaschema_write(uri, &text)) {
        status = strbuf_check(&text);
        if (status == IMP_OK) status = json_value_parse(document->arena, text.data, text.length, &value);
        if (status == IMP_OK) status = visit(document, value, uri, NULL, 0);
        if (status == IMP_OK) *out = schema_find(document, value);
    }
    strbuf_free(&text);
    return status;
}

/* A dynamic reference to a dynamic anchor means the outermost resource that defines it, among those that the value came through. The
 * root is always outermost; where it does not define the anchor and several others do, there is no telling here. */
static ImpStatus find_anchor(const SchemaDocument *document, const SchemaNode *from, const char *uri, const char *name,
                             bool dynamic, const SchemaNode **out)
{
    const SchemaNode *root = schema_root(document);
    const SchemaNode *outermost = NULL;
    size_t rivals = 0;
    *out = NULL;
    for (size_t i = 0; i < document->n_anchors; i++) {
        const Anchor *anchor = &document->anchors[i];
        if (strcmp(anchor->name, name) != 0) continue;
        rivals += anchor->dynamic;
        if (anchor->dynamic && same_uri(anchor->base, root->base)) outermost = anchor->node;
        if (!same_uri(anchor->base, uri)) continue;
        *out = anchor->node;
        dynamic = dynamic && anchor->dynamic;
    }
    if (dynamic && *out != NULL && outermost != NULL) *out = outermost;
    else if (dynamic && rivals > 1)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s/$dynamicRef: several resources define the anchor \"%s\"",
                        from->pointer, name);
    return IMP_OK;
}

static ImpStatus resolve(SchemaDocument *document, SchemaNode *node, const char *keyword, const char *reference)
{
    const char *uri = NULL;
    const char *fragment = NULL;
    const SchemaNode *target = NULL;
    IMP_TRY(schema_uri_resolve(document->arena, node->base, reference, &uri, &fragment));
    const bool local = same_uri(uri, node->base);
    const SchemaNode *resource = local ? node->resource : find_resource(document, uri);
    if (resource == NULL) IMP_TRY(add_metaschema(document, uri, &resource));
    if (resource == NULL)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s/%s: \"%s\" is in another document", node->pointer, keyword,
                        reference);
    if (fragment[0] != '\0' && fragment[0] != '/') {
        IMP_TRY(find_anchor(document, node, uri, fragment, strcmp(keyword, "$dynamicRef") == 0, &target));
    } else {
        const JsonValue *value = follow_pointer(resource->value, fragment);
        /* Some documents write every pointer from the root although a part of them has an $id. */
        if (value == NULL) value = follow_pointer(document->root, fragment);
        /* And some write "#/" for the whole of it, where nothing is called "". */
        if (value == NULL && strcmp(fragment, "/") == 0) value = resource->value;
        if (value != NULL) IMP_TRY(visit(document, value, fragment, resource, 0));
        if (value != NULL) target = schema_find(document, value);
    }
    if (target == NULL)
        return imp_fail(IMP_ERR_FORMAT, "schema, %s/%s: nothing is at \"%s\"", node->pointer, keyword, reference);
    node->reference = target;
    return IMP_OK;
}

static bool recurses(const SchemaNode *resource)
{
    const JsonValue *anchor = json_value_get(resource->value, "$recursiveAnchor");
    return anchor != NULL && anchor->type == JSON_VALUE_TRUE;
}

/* $recursiveRef to a resource that has $recursiveAnchor means the outermost such resource. Where all have it that is the root. */
static ImpStatus find_recursive(const SchemaDocument *document, SchemaNode *node)
{
    size_t with = 0;
    size_t without = 0;
    if (node->reference->resource != node->reference || !recurses(node->reference)) return IMP_OK;
    for (size_t i = 0; i < document->n_nodes; i++) {
        const SchemaNode *other = document->nodes[i];
        if (other->resource != other) continue;
        if (recurses(other)) with++;
        else without++;
    }
    if (with == 1) return IMP_OK;
    if (without > 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s/$recursiveRef: some resources have a $recursiveAnchor and some have not",
                        node->pointer);
    node->reference = schema_root(document);
    return IMP_OK;
}

static ImpStatus resolve_node(SchemaDocument *document, SchemaNode *node)
{
    static const char *const keywords[] = {"$ref", "$dynamicRef", "$recursiveRef"};
    if (node->kind != SCHEMA_RULES || node->value->type != JSON_VALUE_OBJECT) return IMP_OK;
    for (size_t i = 0; i < 3; i++) {
        const char *reference = string_member(node->value, keywords[i]);
        if (reference == NULL) continue;
        if (i == 2 && document->draft != SCHEMA_DRAFT_2019) continue; /* an unknown name to all others */
        if (node->reference != NULL)
            return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: %s beside another reference", node->pointer, keywords[i]);
        IMP_TRY(resolve(document, node, keywords[i], reference));
        if (i == 2) IMP_TRY(find_recursive(document, node));
        node->only_reference = node->value->count == 1 || document->draft <= SCHEMA_DRAFT_7;
    }
    return IMP_OK;
}

/* Depth-first over what applies in place: $ref and the in-place keywords. */
typedef struct CycleSearch {
    const SchemaDocument *document;
    uint8_t *colour; /* [n_nodes] 0 unseen, 1 open, 2 done */
} CycleSearch;

static ImpStatus search_cycle(CycleSearch *search, const SchemaNode *node, size_t depth);

static ImpStatus search_values(CycleSearch *search, const JsonValue *value, size_t depth)
{
    const SchemaNode *node = schema_find(search->document, value);
    if (node != NULL) return search_cycle(search, node, depth);
    for (size_t i = 0; i < value->count && value->type >= JSON_VALUE_ARRAY; i++) {
        const bool list = value->type == JSON_VALUE_ARRAY;
        IMP_TRY(search_values(search, list ? value->as.items[i] : value->as.members[i].value, depth));
    }
    return IMP_OK;
}

static ImpStatus search_cycle(CycleSearch *search, const SchemaNode *node, size_t depth)
{
    if (search->colour[node->number] == 2) return IMP_OK;
    if (search->colour[node->number] == 1)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: refers to itself without going deeper", node->pointer);
    if (depth == 2000) return imp_fail(IMP_ERR_LIMIT, "schema, %s: too long a chain of references", node->pointer);
    search->colour[node->number] = 1;
    if (node->reference != NULL) IMP_TRY(search_cycle(search, node->reference, depth + 1));
    for (size_t k = 0; k < N_SUBSCHEMA_KEYWORDS && !node->only_reference; k++) {
        const JsonValue *value = json_value_get(node->value, subschema_keywords[k].name);
        if (subschema_keywords[k].in_place && value != NULL) IMP_TRY(search_values(search, value, depth + 1));
    }
    search->colour[node->number] = 2;
    return IMP_OK;
}

static ImpStatus refuse_cycles(const SchemaDocument *document)
{
    CycleSearch search = {document, calloc(document->n_nodes, 1)};
    if (search.colour == NULL) return imp_fail_memory(document->n_nodes);
    ImpStatus status = IMP_OK;
    for (size_t i = 0; status == IMP_OK && i < document->n_nodes; i++) {
        if (document->nodes[i]->kind == SCHEMA_RULES) status = search_cycle(&search, document->nodes[i], 0);
    }
    free(search.colour);
    return status;
}

static ImpStatus read_draft(SchemaDocument *document)
{
    static const struct {
        const char *part;
        SchemaDraft draft;
    } drafts[] = {{"draft-04", SCHEMA_DRAFT_4},    {"draft-06", SCHEMA_DRAFT_6},     {"draft-07", SCHEMA_DRAFT_7},
                  {"2019-09", SCHEMA_DRAFT_2019}, {"2020-12", SCHEMA_DRAFT_2020}};
    const char *uri = string_member(document->root, "$schema");
    document->draft = SCHEMA_DRAFT_2020;
    document->open_draft = true;
    for (size_t i = 0; uri != NULL && i < sizeof drafts / sizeof drafts[0]; i++) {
        if (strstr(uri, drafts[i].part) == NULL) continue;
        document->draft = drafts[i].draft;
        document->open_draft = false;
    }
    if (uri != NULL && strstr(uri, "draft-03") != NULL)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, /$schema: draft 3 is not supported");
    return IMP_OK;
}

ImpStatus schema_document_create(Arena *arena, const JsonValue *root, SchemaDocument **out)
{
    SchemaNode *node = NULL;
    SchemaDocument *document = calloc(1, sizeof *document);
    if (document == NULL) return imp_fail_memory(sizeof *document);
    document->arena = arena;
    document->root = root;
    ImpStatus status = grow_nodes(document);
    if (status == IMP_OK) status = read_draft(document);
    if (status == IMP_OK) status = add_node(document, &true_value, SCHEMA_RULES, "", &node);
    document->always = node;
    if (status == IMP_OK) status = add_node(document, &false_value, SCHEMA_RULES, "", &node);
    document->never = node;
    if (status == IMP_OK) status = visit(document, root, "", NULL, 0);
    /* Resolving may find new schemas, which may refer to others. */
    for (size_t i = 0; status == IMP_OK && i < document->n_nodes; i++) status = resolve_node(document, document->nodes[i]);
    if (status == IMP_OK) status = refuse_cycles(document);
    if (status != IMP_OK) {
        schema_document_free(document);
        return status;
    }
    *out = document;
    return IMP_OK;
}

void schema_document_free(SchemaDocument *document)
{
    if (document == NULL) return;
    free(document->nodes);
    free(document->table);
    free(document->anchors);
    free(document);
}
