/*
 * tool_use.c - the fields of the two dialects, of one meaning.
 */
#include "tool_use.h"

#include <stdlib.h>
#include <string.h>

void tool_use_free(ToolUse *use)
{
    imp_tools_free(use->tools);
    json_decref(use->list);
    *use = (ToolUse){0};
}

bool tool_use_reads(const ToolUse *use) { return use->list != NULL || imp_tools_always_read(use->tools); }

static void create(const Server *server, Fields *fields, ToolUse *out)
{
    char *text = out->list != NULL ? json_dumps(out->list, JSON_COMPACT) : NULL;
    const char *format = imp_settings_string(server->settings, "generation.tool_format");
    if (!fields_good(fields)) {
        free(text);
        return;
    }
    const ImpStatus status =
        imp_tools_create(server->model, text, text != NULL ? strlen(text) : 0, server->defaults.chat_template, format, &out->tools);
    if (status != IMP_OK) fields_fail(fields, "tools", "%s", imp_last_error());
    free(text);
}

static bool is_offered(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *function = json_object_get(json_array_get(list, i), "function");
        const char *offered = json_string_value(json_object_get(function, "name"));
        if (offered != NULL && strcmp(offered, name) == 0) return true;
    }
    return false;
}

static void choose_one(Fields *fields, const json_t *name, ToolUse *out)
{
    out->rules.choice = IMP_TOOL_CHOICE_REQUIRED;
    out->rules.single = true;
    out->rules.only = json_string_value(name);
    if (out->rules.only == NULL) fields_fail(fields, "tool_choice", "tool_choice names no tool");
    else if (!is_offered(out->list, out->rules.only))
        fields_fail(fields, "tool_choice", "tool_choice: there is no tool named %.128s in tools", out->rules.only);
}

static void choose_none(ToolUse *out)
{
    json_decref(out->list);
    out->list = NULL;
}

/* ---- OpenAI ---- */

/* The name in {"type": "function", "function": {"name": …}}, or in the same without the inner object. */
static const json_t *function_name(const json_t *entry)
{
    const json_t *function = json_object_get(entry, "function");
    return json_object_get(function != NULL ? function : entry, "name");
}

/* {"type": "allowed_tools", "allowed_tools": {"mode": "auto" or "required", "tools": […]}}: the other tools are not offered at all. */
static void choose_some(Fields *fields, const json_t *choice, ToolUse *out)
{
    const json_t *inner = json_object_get(choice, "allowed_tools");
    const json_t *some = inner != NULL ? inner : choice, *wanted = json_object_get(some, "tools");
    const char *mode = json_string_value(json_object_get(some, "mode"));
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(wanted) && fields_good(fields); i++) {
        const char *name = json_string_value(function_name(json_array_get(wanted, i)));
        if (name == NULL || !is_offered(out->list, name))
            fields_fail(fields, "tool_choice", "tool_choice: there is no tool named %.128s in tools", name != NULL ? name : "(none)");
    }
    for (size_t i = 0; i < json_array_size(out->list); i++) {
        json_t *tool = json_array_get(out->list, i);
        const char *name = json_string_value(function_name(tool));
        for (size_t k = 0; k < json_array_size(wanted) && name != NULL; k++) {
            const char *entry = json_string_value(function_name(json_array_get(wanted, k)));
            if (entry == NULL || strcmp(entry, name) != 0) continue;
            (void)json_array_append(kept, tool);
            break;
        }
    }
    if (mode == NULL || (strcmp(mode, "auto") != 0 && strcmp(mode, "required") != 0))
        fields_fail(fields, "tool_choice", "tool_choice.allowed_tools.mode must be auto or required");
    else if (json_array_size(kept) == 0 && fields_good(fields)) fields_fail(fields, "tool_choice", "tool_choice allows no tool");
    else if (strcmp(mode, "required") == 0) out->rules.choice = IMP_TOOL_CHOICE_REQUIRED;
    json_decref(out->list);
    out->list = kept;
}

/* "none", "auto", "required", {"type": "function", "function": {"name": …}} or {"type": "allowed_tools", …}. */
static void read_openai_choice(Fields *fields, ToolUse *out)
{
    const json_t *choice = json_object_get(fields->object, "tool_choice");
    const char *word = json_string_value(choice), *type = json_string_value(json_object_get(choice, "type"));
    if (choice == NULL || json_is_null(choice)) return;
    const bool is_none = word != NULL && strcmp(word, "none") == 0, is_auto = word != NULL && strcmp(word, "auto") == 0;
    if (out->list == NULL && !is_none && !is_auto)
        fields_fail(fields, "tool_choice", "tool_choice is only allowed when tools are specified");
    else if (is_none) choose_none(out);
    else if (word != NULL && strcmp(word, "required") == 0) out->rules.choice = IMP_TOOL_CHOICE_REQUIRED;
    else if (type != NULL && strcmp(type, "function") == 0)
        choose_one(fields, json_object_get(json_object_get(choice, "function"), "name"), out);
    else if (type != NULL && strcmp(type, "allowed_tools") == 0) choose_some(fields, choice, out);
    else if (!is_auto)
        fields_fail(fields, "tool_choice",
                    "tool_choice must be none, auto, required, {\"type\": \"function\", \"function\": {\"name\": …}} or "
                    "{\"type\": \"allowed_tools\", \"allowed_tools\": {\"mode\": …, \"tools\": […]}}");
}

void tool_use_read_openai(const Server *server, Fields *fields, ToolUse *out)
{
    bool parallel = true;
    *out = (ToolUse){.rules = {.size = sizeof out->rules}};
    const json_t *tools = fields_member(fields, "tools", JSON_ARRAY, "a list of tools");
    if (json_array_size(tools) > 0) out->list = json_incref((json_t *)(uintptr_t)tools);
    fields_bool(fields, "parallel_tool_calls", &parallel);
    out->rules.single = !parallel;
    if (json_array_size(json_object_get(fields->object, "functions")) > 0)
        fields_fail(fields, "functions", "functions is not supported: use tools");
    const json_t *old = json_object_get(fields->object, "function_call");
    if (old != NULL && !json_is_null(old)) fields_fail(fields, "function_call", "function_call is not supported: use tool_choice");
    read_openai_choice(fields, out);
    create(server, fields, out);
}

/* ---- Anthropic ---- */

json_t *anthropic_tools(Fields *fields)
{
    const json_t *tools = fields_member(fields, "tools", JSON_ARRAY, "a list of tools");
    if (json_array_size(tools) == 0) return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        json_t *schema = json_object_get(tool, "input_schema");
        const char *name = json_string_value(json_object_get(tool, "name"));
        const char *description = json_string_value(json_object_get(tool, "description"));
        const char *type = json_string_value(json_object_get(tool, "type"));
        if (type != NULL && strcmp(type, "custom") != 0) {
            fields_fail(fields, "tools", "tools: entry %zu: tools of the type %.40s are not supported", i, type);
            break;
        }
        if (name == NULL || !json_is_object(schema)) {
            fields_fail(fields, "tools", "tools: entry %zu needs a name and an input_schema", i);
            break;
        }
        json_t *function = json_pack("{s:s, s:s, s:O}", "name", name, "description", description != NULL ? description : "",
                                     "parameters", schema);
        if (json_is_true(json_object_get(tool, "strict"))) (void)json_object_set_new(function, "strict", json_true());
        (void)json_array_append_new(list, json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
    return list;
}

/* {"type": "auto" | "any" | "tool" | "none", "name": …, "disable_parallel_tool_use": …}. */
static void read_anthropic_choice(Fields *fields, ToolUse *out)
{
    const json_t *choice = fields_member(fields, "tool_choice", JSON_OBJECT, "an object");
    const char *type = json_string_value(json_object_get(choice, "type"));
    if (choice == NULL) return;
    out->rules.single = json_is_true(json_object_get(choice, "disable_parallel_tool_use"));
    const bool is_none = type != NULL && strcmp(type, "none") == 0, is_auto = type != NULL && strcmp(type, "auto") == 0;
    if (out->list == NULL && !is_none && !is_auto)
        fields_fail(fields, "tool_choice", "tool_choice may only be specified while providing tools");
    else if (is_none) choose_none(out);
    else if (type != NULL && strcmp(type, "any") == 0) out->rules.choice = IMP_TOOL_CHOICE_REQUIRED;
    else if (type != NULL && strcmp(type, "tool") == 0) choose_one(fields, json_object_get(choice, "name"), out);
    else if (!is_auto) fields_fail(fields, "tool_choice", "tool_choice.type must be auto, any, tool or none");
}

void tool_use_read_anthropic(const Server *server, Fields *fields, ToolUse *out)
{
    *out = (ToolUse){.rules = {.size = sizeof out->rules}};
    out->list = anthropic_tools(fields);
    read_anthropic_choice(fields, out);
    create(server, fields, out);
}
