/*
 * constrain.c - response_format, regex and grammar: what the answer must be.
 */
#include "params.h"

#include "imp/constrain.h"

#include "reasoning.h"

#include <stdlib.h>
#include <string.h>

static void compile(Fields *fields, const char *name, ImpConstraintKind kind, const char *text, size_t length,
                    RequestParams *out)
{
    if (out->constraint != NULL) {
        fields_fail(fields, name, "%s: only one of response_format, regex and grammar can hold", name);
    } else if (imp_constraint_compile(kind, text, length, &out->constraint) != IMP_OK) {
        fields_fail(fields, name, "%s: %s", name, imp_last_error());
    }
    out->sampling.constraint = out->constraint;
}

static void compile_schema(Fields *fields, const char *name, const json_t *schema, RequestParams *out)
{
    char *text = schema != NULL ? json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text == NULL)
        fields_fail(fields, name, "%s: the schema is missing", name);
    else
        compile(fields, name, IMP_CONSTRAINT_SCHEMA, text, strlen(text), out);
    free(out->answer_schema);
    out->answer_schema = text;
}

/* {"type": "text" | "json_object" | "json_schema", "json_schema": {"name": …, "schema": …, "strict": …}} */
static void read_response_format(Fields *fields, RequestParams *out)
{
    const json_t *format = fields_member(fields, "response_format", JSON_OBJECT, "an object");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format == NULL || (type != NULL && strcmp(type, "text") == 0)) return;
    if (type != NULL && strcmp(type, "json_object") == 0) {
        compile(fields, "response_format", IMP_CONSTRAINT_JSON, NULL, 0, out);
        free(out->answer_schema);
        out->answer_schema = strdup("{\"type\": \"object\"}");
    } else if (type != NULL && strcmp(type, "json_schema") == 0) {
        compile_schema(fields, "response_format", json_object_get(json_object_get(format, "json_schema"), "schema"),
                       out);
    } else {
        fields_fail(fields, "response_format", "response_format: type must be text, json_object or json_schema");
    }
}

/* Anthropic: {"format": {"type": "json_schema", "schema": …}}. */
static void read_output_config(Fields *fields, RequestParams *out)
{
    const json_t *config = fields_member(fields, "output_config", JSON_OBJECT, "an object");
    const json_t *format = json_object_get(config, "format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format == NULL || json_is_null(format)) return;
    if (type != NULL && strcmp(type, "json_schema") == 0)
        compile_schema(fields, "output_config", json_object_get(format, "schema"), out);
    else
        fields_fail(fields, "output_config", "output_config: format.type must be json_schema");
}

void params_read_constraint(Fields *fields, RequestParams *out)
{
    const char *regex = NULL, *grammar = NULL;
    read_response_format(fields, out);
    read_output_config(fields, out);
    fields_string(fields, "regex", &regex);
    fields_string(fields, "grammar", &grammar);
    if (regex != NULL) compile(fields, "regex", IMP_CONSTRAINT_REGEX, regex, IMP_NUL_TERMINATED, out);
    if (grammar != NULL) compile(fields, "grammar", IMP_CONSTRAINT_GRAMMAR, grammar, IMP_NUL_TERMINATED, out);
}

/* Whether the model's template knows the tags of the server's reasoning. */
static bool may_reason(const Server *server, const Prompt *prompt, const RequestParams *params)
{
    const char *source = server->defaults.chat_template != NULL ? server->defaults.chat_template : imp_model_template(server->model);
    return !prompt->inside_reasoning && params->thinking != THINKING_OFF && source != NULL &&
           strstr(source, server->tags.close) != NULL;
}

ImpStatus params_constrain_tools(const Server *server, const Prompt *prompt, RequestParams *params)
{
    ImpConstraint constraint = NULL;
    ToolUse *use = &params->use;
    params->sampling.keep_special = params->sampling.keep_special || (tool_use_reads(use) && imp_tools_need_special(use->tools));
    if (use->list == NULL) return IMP_OK;
    use->rules.answer_schema = params->answer_schema;
    use->rules.reasoning_open = may_reason(server, prompt, params) ? server->tags.open : NULL;
    use->rules.no_reasoning = params->thinking == THINKING_OFF;
    const ImpStatus status = imp_tools_constrain(use->tools, &use->rules, &constraint);
    if (status != IMP_OK || constraint == NULL) return status;
    imp_constraint_free(params->constraint);
    params->constraint = params->sampling.constraint = constraint;
    return IMP_OK;
}
