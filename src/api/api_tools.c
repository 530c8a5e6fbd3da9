/* api_tools.c - imp/tools.h over the runtime's formats, constraints and parser. */
#include "api/api.h"

#include "imp/tools.h"
#include "runtime/tools/tool_constraint.h"
#include "runtime/tools/tool_parser.h"

#include <stdlib.h>
#include <string.h>

struct ImpToolsObject {
    ImpModel model;
    ToolList list;
    const ToolFormat *format;
    unsigned missing;
    bool special;
};

struct ImpToolReaderObject {
    ToolParser *parser;
};

static bool is_token(const void *where, const char *sign)
{
    const Tokenizer *tokenizer = where;
    return tokenizer != NULL && tokenizer_find(tokenizer, sign, strlen(sign)) >= 0;
}

/* The Jinja source that a conversation goes through; NULL: there is none. */
static const char *template_source(ImpModel model, const char *chat_template)
{
    if (!chat_template) return model->template_source;
    const char *named = chat_template_named(chat_template);
    return named ? named : chat_template;
}

static unsigned find_missing(const char *source)
{
    unsigned missing = strstr(source, "tools") ? 0 : IMP_TOOLS_NO_LIST;
    if (!strstr(source, "tool_calls")) missing |= IMP_TOOLS_NO_CALLS;
    if (!strstr(source, "'tool'") && !strstr(source, "\"tool\"")) missing |= IMP_TOOLS_NO_RESULTS;
    if (strstr(source, "message['tools']") || strstr(source, "message[\"tools\"]") || strstr(source, "message.tools"))
        missing |= IMP_TOOLS_IN_SYSTEM;
    return missing;
}

static ImpStatus choose_format(ImpTools tools, const char *chat_template, const char *format)
{
    const char *source = template_source(tools->model, chat_template);
    const bool chosen = format && strcmp(format, "auto") != 0;
    tools->format = chosen ? tool_format_find(format) : tool_format_detect(source, is_token, tools->model->tokenizer);
    if (!tools->format) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no tool format named '%.64s'", format);
    tools->missing = find_missing(source != NULL ? source : "");
    tools->special = tools->model->tokenizer && tool_format_has_special(tools->format, tools->model->tokenizer);
    return IMP_OK;
}

ImpStatus imp_tools_create(ImpModel model, const char *tools, size_t length, const char *chat_template, const char *format,
                           ImpTools *out)
{
    ImpStatus status = IMP_OK;
    API_REQUIRE(model);
    API_REQUIRE(out);
    *out = NULL;
    ImpTools created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    created->model = api_model_keep(model);
    if (tools) IMP_GOTO(tool_list_parse(tools, length == IMP_NUL_TERMINATED ? strlen(tools) : length, &created->list));
    IMP_GOTO(choose_format(created, chat_template, format));
    *out = created;
    return IMP_OK;
fail:
    imp_tools_free(created);
    return status;
}

void imp_tools_free(ImpTools tools)
{
    if (!tools) return;
    tool_list_free(&tools->list);
    imp_model_free(tools->model);
    free(tools);
}

const char *imp_tools_format(ImpTools tools) { return tools ? tools->format->name : ""; }

const char *imp_tool_format_name(size_t index)
{
    const ToolFormat *format = tool_format_at(index);
    return format ? format->name : NULL;
}

unsigned imp_tools_missing(ImpTools tools) { return tools ? tools->missing : 0; }
bool imp_tools_need_special(ImpTools tools) { return tools && tools->special; }
bool imp_tools_always_read(ImpTools tools)
{
    return tools && (tools->format->channels || tools->format->think_open != NULL);
}
bool imp_tools_have_short_ids(ImpTools tools) { return tools && tools->format->short_ids; }

ImpStatus imp_tools_write_call(ImpTools tools, const char *name, const char *arguments, char *buffer, size_t size,
                               size_t *length)
{
    StrBuf text = {0};
    json_t *object = NULL;
    ImpStatus status;
    if (length) *length = 0;
    API_REQUIRE(tools);
    API_REQUIRE(name);
    API_REQUIRE(arguments);
    object = json_loads(arguments, 0, NULL);
    if (!json_is_object(object)) IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "arguments are no JSON object"));
    IMP_GOTO(tool_write_call(tools->format, name, object, &text));
    status = api_copy_text(text.data, text.length, buffer, size, length);
fail:
    json_decref(object);
    strbuf_free(&text);
    return status;
}

/* Any of the tools whose schemas hold also where text may be written. */
static bool is_strict(ImpTools tools, const ImpToolRules *rules)
{
    bool strict = rules->strict;
    for (size_t i = 0; i < tools->list.count; i++) strict = strict || tools->list.tools[i].strict;
    return strict && tools->list.count > 0;
}

ImpStatus imp_tools_constrain(ImpTools tools, const ImpToolRules *rules, ImpConstraint *constraint)
{
    ImpToolRules full = {.size = sizeof full};
    Constraint *compiled = NULL;
    API_REQUIRE(tools);
    API_REQUIRE(rules);
    API_REQUIRE(constraint);
    *constraint = NULL;
    IMP_TRY(api_read_sized(rules, &full, sizeof full, "ImpToolRules", "a cleared structure with its size set"));
    ToolRules inner = {.required = full.choice == IMP_TOOL_CHOICE_REQUIRED,
                       .only = full.only ? tool_list_find(&tools->list, full.only, strlen(full.only)) : NULL,
                       .single = full.single,
                       .no_reasoning = full.no_reasoning,
                       .reasoning_open = full.reasoning_open};
    if (full.only && !inner.only) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no tool named \"%.128s\"", full.only);
    if (!inner.required && !full.answer_schema && !is_strict(tools, &full)) return IMP_OK;
    json_t *answer = full.answer_schema ? json_loads(full.answer_schema, JSON_DECODE_ANY, NULL) : NULL;
    if (full.answer_schema && !answer) return imp_fail(IMP_ERR_FORMAT, "answer_schema is no JSON");
    inner.answer = answer;
    ImpStatus status =
        tool_constraint_create(tools->format, &tools->list, &inner, tools->model->tokenizer, &compiled);
    json_decref(answer);
    if (status == IMP_OK) status = api_constraint_wrap(compiled, constraint);
    if (status != IMP_OK) constraint_free(compiled);
    return status;
}

ImpStatus imp_tool_reader_create(ImpTools tools, uint64_t seed, ImpToolEventCallback *callback, void *user, ImpToolReader *out)
{
    API_REQUIRE(tools);
    API_REQUIRE(callback);
    API_REQUIRE(out);
    *out = NULL;
    ImpToolReader created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    const ImpStatus status = tool_parser_create(tools->format, &tools->list, seed, callback, user, &created->parser);
    if (status == IMP_OK) *out = created;
    else free(created);
    return status;
}

ImpStatus imp_tool_reader_push(ImpToolReader reader, const char *text, size_t length, bool last)
{
    API_REQUIRE(reader);
    API_REQUIRE(text);
    return tool_parser_push(reader->parser, text, length == IMP_NUL_TERMINATED ? strlen(text) : length, last);
}

void imp_tool_reader_free(ImpToolReader reader)
{
    if (!reader) return;
    tool_parser_free(reader->parser);
    free(reader);
}
