/* tool_list.c - checks and looks up; jansson keeps the order in which parameters were declared. */
#include "runtime/tools/tool_list.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static ImpStatus read_tool(const json_t *entry, size_t index, OfferedTool *out)
{
    const json_t *inner = json_object_get(entry, "function");
    const json_t *tool = inner != NULL ? inner : entry;
    const char *type = json_string_value(json_object_get(entry, "type"));
    const char *name = json_string_value(json_object_get(tool, "name"));
    const json_t *parameters = json_object_get(tool, "parameters");
    if (type != NULL && strcmp(type, "function") != 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "tools[%zu]: type must be function", index);
    if (name == NULL || name[0] == '\0' || strlen(name) > TOOL_MAX_NAME)
        return imp_fail(IMP_ERR_FORMAT, "tools[%zu]: function.name must be a string of 1 to %d bytes", index, TOOL_MAX_NAME);
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || strchr("\"\\<>[]{}()", *c) != NULL)
            return imp_fail(IMP_ERR_FORMAT, "tools[%zu]: function.name must not hold spaces, quotes or brackets", index);
    if (parameters != NULL && !json_is_null(parameters) && !json_is_object(parameters))
        return imp_fail(IMP_ERR_FORMAT, "tools[%zu]: function.parameters must be an object", index);
    *out = (OfferedTool){.name = name, .name_length = strlen(name),
                         .parameters = json_is_object(parameters) ? parameters : NULL,
                         .strict = json_is_true(json_object_get(tool, "strict"))};
    return IMP_OK;
}

ImpStatus tool_list_parse(const char *json, size_t length, ToolList *out)
{
    ImpStatus status = IMP_OK;
    *out = (ToolList){.json = json_loadb(json, length, 0, NULL)};
    const size_t count = json_array_size(out->json);
    if (!json_is_array(out->json)) IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "tools must be a list"));
    if (count > TOOL_MAX_COUNT) IMP_GOTO(imp_fail(IMP_ERR_LIMIT, "tools: more than %d", TOOL_MAX_COUNT));
    out->tools = calloc(count + 1, sizeof *out->tools);
    if (out->tools == NULL) IMP_GOTO(imp_fail_memory(count * sizeof *out->tools));
    for (; out->count < count; out->count++) {
        OfferedTool *tool = &out->tools[out->count];
        IMP_GOTO(read_tool(json_array_get(out->json, out->count), out->count, tool));
        if (tool_list_find(out, tool->name, tool->name_length) != NULL)
            IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "tools[%zu]: the name \"%s\" was used before", out->count, tool->name));
    }
    return IMP_OK;
fail:
    tool_list_free(out);
    return status;
}

void tool_list_free(ToolList *list)
{
    json_decref(list->json);
    free(list->tools);
    *list = (ToolList){0};
}

const OfferedTool *tool_list_find(const ToolList *list, const char *name, size_t length)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->tools[i].name_length == length && memcmp(list->tools[i].name, name, length) == 0) return &list->tools[i];
    return NULL;
}

const char *tool_name_space(size_t index)
{
    static const char *const spaces[] = {"functions.", "default_api."};
    return index < sizeof spaces / sizeof spaces[0] ? spaces[index] : NULL;
}

const OfferedTool *tool_list_find_called(const ToolList *list, const char *name, size_t length)
{
    const OfferedTool *tool = tool_list_find(list, name, length);
    const char *space;
    for (size_t i = 0; tool == NULL && (space = tool_name_space(i)) != NULL; i++) {
        const size_t n = strlen(space);
        if (length > n && memcmp(name, space, n) == 0) tool = tool_list_find(list, name + n, length - n);
    }
    return tool;
}

/* Strings that no mark of a format occurs in. */
static bool all_plain(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || text[0] == '\0' || strpbrk(text, "<\n") != NULL) return false;
    }
    return json_array_size(list) > 0;
}

ParameterKind tool_parameter_kind(const OfferedTool *tool, const char *name, size_t length)
{
    static const char *const harmless[] = {"type", "enum", "description", "title", "default", "examples", "$comment"};
    const json_t *schema = json_object_getn(json_object_get(tool->parameters, "properties"), name, length);
    const json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
    const bool is_string = json_is_string(type) && strcmp(json_string_value(type), "string") == 0;
    const char *key;
    json_t *value;
    if (!is_string && !(type == NULL && all_plain(list))) return PARAMETER_ANY;
    if (list != NULL && !all_plain(list)) return PARAMETER_STRING;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        size_t i = 0;
        while (i < sizeof harmless / sizeof harmless[0] && strcmp(key, harmless[i]) != 0) i++;
        if (i == sizeof harmless / sizeof harmless[0]) return PARAMETER_STRING;
    }
    return PARAMETER_TEXT;
}

unsigned tool_type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING: return PARAMETER_OF_STRING;
    case JSON_INTEGER:
    case JSON_REAL: return PARAMETER_OF_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE: return PARAMETER_OF_BOOLEAN;
    case JSON_NULL: return PARAMETER_OF_NULL;
    case JSON_ARRAY: return PARAMETER_OF_ARRAY;
    case JSON_OBJECT: break;
    }
    return PARAMETER_OF_OBJECT;
}

static unsigned type_named(const json_t *name)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {{"string", PARAMETER_OF_STRING},   {"number", PARAMETER_OF_NUMBER}, {"integer", PARAMETER_OF_NUMBER},
                 {"boolean", PARAMETER_OF_BOOLEAN}, {"null", PARAMETER_OF_NULL},     {"array", PARAMETER_OF_ARRAY},
                 {"object", PARAMETER_OF_OBJECT}};
    for (size_t i = 0; i < sizeof types / sizeof types[0] && json_is_string(name); i++)
        if (strcmp(types[i].name, json_string_value(name)) == 0) return types[i].type;
    return 0;
}

/* "#/$defs/NAME" or "#/definitions/NAME"; NULL: elsewhere. */
static const json_t *follow_reference(const OfferedTool *tool, const json_t *schema)
{
    static const char *const places[] = {"$defs", "definitions"};
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    for (size_t i = 0; i < sizeof places / sizeof places[0] && reference != NULL; i++) {
        const size_t n = strlen(places[i]);
        if (strncmp(reference, "#/", 2) != 0 || strncmp(reference + 2, places[i], n) != 0 || reference[2 + n] != '/') continue;
        return json_object_get(json_object_get(tool->parameters, places[i]), reference + 3 + n);
    }
    return NULL;
}

static unsigned types_of(const OfferedTool *tool, const json_t *schema, int depth);

/* Of any of these schemas; 0 when one of them does not say. */
static unsigned types_of_any(const OfferedTool *tool, const json_t *schemas, int depth)
{
    unsigned types = 0;
    for (size_t i = 0; i < json_array_size(schemas); i++) {
        const unsigned own = types_of(tool, json_array_get(schemas, i), depth);
        if (own == 0) return 0;
        types |= own;
    }
    return types;
}

static unsigned types_of(const OfferedTool *tool, const json_t *schema, int depth)
{
    const json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
    const json_t *fixed = json_object_get(schema, "const"), *any = json_object_get(schema, "anyOf");
    unsigned types = type_named(type);
    if (schema == NULL || depth == 0) return 0;
    for (size_t i = 0; i < json_array_size(type); i++) types |= type_named(json_array_get(type, i));
    if (types != 0) return types;
    for (size_t i = 0; i < json_array_size(list); i++) types |= tool_type_of(json_array_get(list, i));
    if (types != 0) return types;
    if (fixed != NULL) return tool_type_of(fixed);
    if (json_object_get(schema, "$ref") != NULL) return types_of(tool, follow_reference(tool, schema), depth - 1);
    return types_of_any(tool, any != NULL ? any : json_object_get(schema, "oneOf"), depth - 1);
}

unsigned tool_parameter_types(const OfferedTool *tool, const char *name, size_t length)
{
    enum { MAX_DEPTH = 6 };
    return types_of(tool, json_object_getn(json_object_get(tool->parameters, "properties"), name, length), MAX_DEPTH);
}

const char *tool_parameter_name(const OfferedTool *tool, size_t index)
{
    const char *name;
    json_t *schema;
    json_object_foreach(json_object_get(tool->parameters, "properties"), name, schema)
    {
        if (index-- == 0) return name;
    }
    return NULL;
}
