/*
 * tool_constraint.c - a format's row becomes parts of a constraint (compose.h).
 *
 * Where arguments are a JSON object the tool's schema holds as it is. Where they are not, each declared parameter becomes a part with the
 * schema of its value, those that are required first: such objects say less than a schema can, so that tools whose schema says more are
 * called in the format's JSON form, if it has one.
 */
#include "runtime/tools/tool_constraint.h"

#include "runtime/constraint/compose.h"
#include "runtime/tools/tool_text.h"

#include <string.h>

enum { MAX_PARAMETERS = 256, MAX_TOKEN_TEXT = 48, MAX_MARK = 64, MAX_LITERALS = 64, MAX_TOOLS = 256 };

typedef struct Composer {
    ConstraintBuilder *builder;
    const ToolFormat *format;
    const Tokenizer *tokenizer;
    ConstraintPart nothing;
    struct {
        const char *text;
        ConstraintPart part;
    } literals[MAX_LITERALS]; /* made before: tools share most of them */
    size_t n_literals;
    char value_tag[MAX_MARK];
    ConstraintPart free_strings[ARGUMENTS_TAGGED + 1]; /* 0: not made yet; part 0 is `nothing` */
} Composer;

/* ---- literals ---- */

/* The special token that the text begins with; -1: none. */
static int32_t special_at(const Tokenizer *tokenizer, const char *text, size_t *length)
{
    if (tokenizer == NULL || (text[0] != '<' && text[0] != '[' && (unsigned char)text[0] < 0xc0)) return -1;
    size_t n = strlen(text);
    for (n = n < MAX_TOKEN_TEXT ? n : MAX_TOKEN_TEXT; n > 2; n--) {
        const int32_t id = tokenizer_find(tokenizer, text, n);
        if (id < 0 || !tokenizer_is_special(tokenizer, id)) continue;
        *length = n;
        return id;
    }
    return -1;
}

static bool has_special(const Tokenizer *tokenizer, const char *text)
{
    size_t length = 0;
    for (; *text != '\0'; text++) {
        if (special_at(tokenizer, text, &length) >= 0) return true;
    }
    return false;
}

bool tool_format_has_special(const ToolFormat *format, const Tokenizer *tokenizer)
{
    const char *texts[TOOL_MAX_FORMS * 3 + 3] = {format->quote, format->think_open, format->think_close};
    size_t n = 3;
    for (size_t i = 0; i < TOOL_MAX_FORMS && format->forms[i].call != NULL; i++) {
        texts[n++] = format->forms[i].open;
        texts[n++] = format->forms[i].call;
        texts[n++] = format->forms[i].after_name;
    }
    for (size_t i = 0; i < n; i++)
        if (texts[i] != NULL && has_special(tokenizer, texts[i])) return true;
    return false;
}

static ImpStatus sequence(Composer *composer, const ConstraintPart *parts, size_t n, ConstraintPart *out)
{
    return constraint_add_sequence(composer->builder, parts, n, out);
}

static ImpStatus either(Composer *composer, ConstraintPart a, ConstraintPart b, ConstraintPart *out)
{
    return constraint_add_choice(composer->builder, (const ConstraintPart[]){a, b}, 2, out);
}

static ImpStatus make_literal(Composer *composer, const char *text, ConstraintPart *out);

/* Text in which the names of special tokens stand for these. `text` lives as long as the composer. */
static ImpStatus literal(Composer *composer, const char *text, ConstraintPart *out)
{
    size_t i = 0;
    while (i < composer->n_literals && strcmp(composer->literals[i].text, text) != 0) i++;
    if (i == composer->n_literals) {
        IMP_TRY(make_literal(composer, text, out));
        if (composer->n_literals == MAX_LITERALS) return IMP_OK;
        i = composer->n_literals++; /* what make_literal added in between is in its place */
        composer->literals[i].text = text;
        composer->literals[i].part = *out;
    }
    *out = composer->literals[i].part;
    return IMP_OK;
}

static ImpStatus make_literal(Composer *composer, const char *text, ConstraintPart *out)
{
    ConstraintPart parts[3];
    size_t length = 0;
    const char *at = text;
    int32_t token = -1;
    for (; *at != '\0'; at++) {
        token = special_at(composer->tokenizer, at, &length);
        if (token >= 0) break;
    }
    IMP_TRY(constraint_add_text(composer->builder, text, (size_t)(at - text), &parts[0]));
    if (token < 0) {
        *out = parts[0];
        return IMP_OK;
    }
    IMP_TRY(constraint_add_token(composer->builder, token, &parts[1]));
    IMP_TRY(literal(composer, at + length, &parts[2]));
    return sequence(composer, parts, 3, out);
}

/* Any text up to and with the first mark, in which none of the marks stands before. A special token's name may not be spelled out
 * either: who reads the text could not tell it from the token. */
static ImpStatus text_until_one_of(Composer *composer, const char *const *marks, size_t n, ConstraintPart *out)
{
    ConstraintPart parts[2];
    if (!has_special(composer->tokenizer, marks[0]))
        return constraint_add_text_until(composer->builder, marks, n, 0, out);
    IMP_TRY(constraint_add_text_without(composer->builder, marks, n, &parts[0]));
    IMP_TRY(literal(composer, marks[0], &parts[1]));
    return sequence(composer, parts, 2, out);
}

static ImpStatus text_until(Composer *composer, const char *mark, ConstraintPart *out)
{
    return text_until_one_of(composer, &mark, 1, out);
}

/* ---- arguments ---- */

/* The schema of a tool's arguments, which are an object whatever it says. A new reference. */
static json_t *arguments_schema(const OfferedTool *tool)
{
    if (tool->parameters == NULL)
        return json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0);
    json_t *schema = json_copy((json_t *)(uintptr_t)tool->parameters);
    if (json_object_get(schema, "type") == NULL) (void)json_object_set_new(schema, "type", json_string("object"));
    return schema;
}

/* The schema of one parameter, within reach of the definitions it may refer to. A new reference. */
static json_t *parameter_schema(const OfferedTool *tool, const json_t *own)
{
    static const char *const shared[] = {"$schema", "$defs", "definitions"};
    if (!json_is_object(own)) return own == NULL ? json_true() : json_copy((json_t *)(uintptr_t)own);
    json_t *schema = json_copy((json_t *)(uintptr_t)own);
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        json_t *value = json_object_get(tool->parameters, shared[i]);
        if (value != NULL && json_object_get(schema, shared[i]) == NULL) (void)json_object_set(schema, shared[i], value);
    }
    return schema;
}

/* The keywords of an object that parameters one by one can express. */
static bool is_plain_object(const OfferedTool *tool)
{
    static const char *const plain[] = {"type",  "properties", "required",    "additionalProperties", "description", "title",
                                        "$defs", "$schema",    "definitions", "$comment",             "default",     "examples"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tool->parameters, key, value)
    {
        size_t i = 0;
        while (i < sizeof plain / sizeof plain[0] && strcmp(key, plain[i]) != 0) i++;
        if (i == sizeof plain / sizeof plain[0]) return false;
    }
    return json_object_size(json_object_get(tool->parameters, "properties")) <= MAX_PARAMETERS;
}

static bool is_required(const OfferedTool *tool, const char *name)
{
    const json_t *required = json_object_get(tool->parameters, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *entry = json_string_value(json_array_get(required, i));
        if (entry != NULL && strcmp(entry, name) == 0) return true;
    }
    return false;
}

/* Names can be written in this syntax as they are. */
static bool is_writable(const ToolFormat *format, ArgumentSyntax syntax, const char *name)
{
    const char *barred = syntax == ARGUMENTS_TAGGED ? "<>\"\n" : "\"'{}[](),:=< \t\n";
    return name[0] != '\0' && strpbrk(name, barred) == NULL && strlen(name) < 256 &&
           (format->quote == NULL || strstr(name, format->quote) == NULL) && (name[0] < '0' || name[0] > '9') && name[0] != '-';
}

/* A string that the schema does not restrict, between the format's marks. */
static ImpStatus make_free_string(Composer *composer, ArgumentSyntax syntax, ConstraintPart *out)
{
    ConstraintPart parts[2];
    if (syntax == ARGUMENTS_TAGGED) {
        /* The line break before the tag is the model's to write: the reader takes it away. */
        const char *end = composer->format->value_end + strspn(composer->format->value_end, "\n");
        const size_t length = strcspn(end, "\n");
        (void)snprintf(composer->value_tag, sizeof composer->value_tag, "%.*s", (int)length, end);
        /* Lines that the reader takes for the end of a value. */
        char lines[2][MAX_MARK];
        const char *const marks[] = {composer->value_tag, lines[0], lines[1]};
        const char *call_end = composer->format->forms[0].call_end;
        (void)snprintf(lines[0], MAX_MARK, "\n%s", composer->format->key_open);
        (void)snprintf(lines[1], MAX_MARK, "\n%.*s", (int)strcspn(call_end, "\n"), call_end);
        IMP_TRY(text_until_one_of(composer, marks, 3, &parts[0]));
        IMP_TRY(literal(composer, end + length, &parts[1]));
        return sequence(composer, parts, 2, out);
    }
    IMP_TRY(literal(composer, composer->format->quote, &parts[0]));
    IMP_TRY(text_until(composer, composer->format->quote, &parts[1]));
    return sequence(composer, parts, 2, out);
}

static ImpStatus free_string(Composer *composer, ArgumentSyntax syntax, ConstraintPart *out)
{
    if (composer->free_strings[syntax] == 0) IMP_TRY(make_free_string(composer, syntax, &composer->free_strings[syntax]));
    *out = composer->free_strings[syntax];
    return IMP_OK;
}

/* One of the strings of an enum. */
static ImpStatus listed_string(Composer *composer, ArgumentSyntax syntax, const char *text, ConstraintPart *out)
{
    const ToolFormat *format = composer->format;
    const bool tagged = syntax == ARGUMENTS_TAGGED;
    ConstraintPart parts[3];
    IMP_TRY(literal(composer, tagged ? "" : format->quote, &parts[0]));
    IMP_TRY(constraint_add_text(composer->builder, text, strlen(text), &parts[1]));
    IMP_TRY(literal(composer, tagged ? format->value_end : format->quote, &parts[2]));
    return sequence(composer, parts, 3, out);
}

/* A parameter that is any string, or one of a list, as text without JSON's quotes. */
static ImpStatus text_value(Composer *composer, ArgumentSyntax syntax, const json_t *schema, ConstraintPart *out)
{
    const json_t *list = json_object_get(schema, "enum");
    ConstraintPart any;
    if (list == NULL) return free_string(composer, syntax, out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        IMP_TRY(listed_string(composer, syntax, json_string_value(json_array_get(list, i)), &any));
        if (i == 0) *out = any;
        else IMP_TRY(either(composer, *out, any, out));
    }
    return IMP_OK;
}

/* What a parameter may be, and what ends it. */
static ImpStatus value_part(Composer *composer, ArgumentSyntax syntax, const OfferedTool *tool, const char *name,
                            ConstraintPart *out)
{
    const json_t *own = json_object_get(json_object_get(tool->parameters, "properties"), name);
    const bool tagged = syntax == ARGUMENTS_TAGGED;
    ConstraintPart parts[2];
    if (syntax != ARGUMENTS_PYTHON && tool_parameter_kind(tool, name, strlen(name)) == PARAMETER_TEXT)
        return text_value(composer, syntax, own, out);
    json_t *schema = parameter_schema(tool, own);
    const ImpStatus status = constraint_add_schema(composer->builder, schema, &parts[0]);
    json_decref(schema);
    if (status != IMP_OK) return imp_fail_prefix(status, "parameter \"%s\"", name);
    IMP_TRY(literal(composer, tagged ? composer->format->value_end : "", &parts[1]));
    return sequence(composer, parts, 2, out);
}

/* Behind a parameter's name. */
static const char *key_end(const ToolFormat *format, const OfferedTool *tool, const char *name)
{
    const bool is_text = tool_parameter_kind(tool, name, strlen(name)) == PARAMETER_TEXT;
    return format->key_end_json != NULL && !is_text ? format->key_end_json : format->key_end;
}

/* A parameter with its name. */
static ImpStatus parameter_part(Composer *composer, ArgumentSyntax syntax, const OfferedTool *tool, const char *name,
                                ConstraintPart *out)
{
    const ToolFormat *format = composer->format;
    const bool tagged = syntax == ARGUMENTS_TAGGED;
    ConstraintPart parts[4];
    if (!is_writable(format, syntax, name))
        return imp_fail(IMP_ERR_UNSUPPORTED, "the name of parameter \"%.64s\" cannot be written in the format %s", name,
                        format->name);
    IMP_TRY(literal(composer, tagged ? format->key_open : "", &parts[0]));
    IMP_TRY(constraint_add_text(composer->builder, name, strlen(name), &parts[1]));
    IMP_TRY(literal(composer, tagged ? key_end(format, tool, name) : syntax == ARGUMENTS_PYTHON ? "=" : ":", &parts[2]));
    IMP_TRY(value_part(composer, syntax, tool, name, &parts[3]));
    return sequence(composer, parts, 4, out);
}

static void reverse(const char **names, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const char *name = names[i];
        names[i] = names[n - 1 - i];
        names[n - 1 - i] = name;
    }
}

/* The parameters in the order in which they were declared, those that are required first. They are made from the back: behind each, what
 * may follow it (`tail`) and what may come when none came yet (`head`). */
static ImpStatus parameters_part(Composer *composer, ArgumentSyntax syntax, const OfferedTool *tool, ConstraintPart *out)
{
    const char *names[MAX_PARAMETERS];
    size_t n = 0, n_optional = 0;
    const json_t *properties = json_object_get(tool->parameters, "properties");
    const char *name;
    json_t *schema;
    ConstraintPart separator;
    ConstraintPart tail = composer->nothing, head = composer->nothing;
    for (int required = 0; required < 2; required++) {
        json_object_foreach((json_t *)(uintptr_t)properties, name, schema)
        {
            if (is_required(tool, name) == (required == 1) && (required == 1 || !json_is_false(schema))) names[n++] = name;
        }
        if (required == 0) n_optional = n;
    }
    reverse(names, n_optional);
    reverse(names + n_optional, n - n_optional);
    IMP_TRY(literal(composer, syntax == ARGUMENTS_TAGGED ? "" : syntax == ARGUMENTS_PYTHON ? ", " : ",", &separator));
    for (size_t i = 0; i < n; i++) {
        ConstraintPart one, with_separator, without;
        IMP_TRY(parameter_part(composer, syntax, tool, names[i], &one));
        IMP_TRY(sequence(composer, (const ConstraintPart[]){separator, one, tail}, 3, &with_separator));
        IMP_TRY(sequence(composer, (const ConstraintPart[]){one, tail}, 2, &without));
        if (i < n_optional) IMP_TRY(either(composer, without, head, &head));
        else head = without;
        if (i < n_optional) IMP_TRY(either(composer, with_separator, tail, &tail));
        else tail = with_separator;
    }
    *out = head;
    return IMP_OK;
}

/* Required names that are not declared. */
static ImpStatus check_required(const OfferedTool *tool)
{
    const json_t *required = json_object_get(tool->parameters, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name != NULL && json_object_get(json_object_get(tool->parameters, "properties"), name) == NULL)
            return imp_fail(IMP_ERR_UNSUPPORTED, "parameter \"%.64s\" is required but not declared", name);
    }
    return IMP_OK;
}

static ImpStatus arguments_part(Composer *composer, ArgumentSyntax syntax, const OfferedTool *tool, ConstraintPart *out)
{
    static const char *const ends[] = {
        [ARGUMENTS_JSON] = "", [ARGUMENTS_PYTHON] = ")", [ARGUMENTS_BARE] = "}", [ARGUMENTS_TAGGED] = ""};
    ConstraintPart parts[2];
    if (syntax == ARGUMENTS_JSON) {
        json_t *schema = arguments_schema(tool);
        const ImpStatus status = constraint_add_schema(composer->builder, schema, out);
        json_decref(schema);
        return status;
    }
    IMP_TRY(check_required(tool));
    IMP_TRY(parameters_part(composer, syntax, tool, &parts[0]));
    IMP_TRY(literal(composer, ends[syntax], &parts[1]));
    return sequence(composer, parts, 2, out);
}

/* ---- calls ---- */

static const char *arguments_key(const ToolFormat *format)
{
    return format->arguments_key != NULL ? format->arguments_key : "arguments";
}

/* Behind the name in formats whose names have numbers. */
static ImpStatus number_part(Composer *composer, ConstraintPart *out)
{
    static const char pattern[] = ":(?:0|[1-9][0-9]{0,2})";
    return constraint_add_pattern(composer->builder, pattern, sizeof pattern - 1, out);
}

/* From the name to the end of the arguments. */
static ImpStatus inner_part(Composer *composer, const ToolForm *form, const OfferedTool *tool, ConstraintPart *out)
{
    const bool object = form->after_name == NULL, numbered = composer->format->named_ids;
    ConstraintPart parts[6];
    IMP_TRY(literal(composer, object ? "{\"name\": \"" : numbered ? "functions." : "", &parts[0]));
    IMP_TRY(constraint_add_text(composer->builder, tool->name, tool->name_length, &parts[1]));
    if (numbered) IMP_TRY(number_part(composer, &parts[2]));
    else IMP_TRY(literal(composer, object ? "\", \"" : "", &parts[2]));
    IMP_TRY(literal(composer, object ? arguments_key(composer->format) : form->after_name, &parts[3]));
    IMP_TRY(literal(composer, object ? "\": " : "", &parts[4]));
    IMP_TRY(arguments_part(composer, form->arguments, tool, &parts[5]));
    IMP_TRY(sequence(composer, parts, 6, &parts[0]));
    IMP_TRY(literal(composer, object ? "}" : "", &parts[1]));
    return sequence(composer, parts, 2, out);
}

static ImpStatus call_part(Composer *composer, const ToolForm *form, const OfferedTool *tool, ConstraintPart *out)
{
    ConstraintPart parts[3];
    IMP_TRY(literal(composer, form->call, &parts[0]));
    IMP_TRY(literal(composer, form->call_end, &parts[2]));
    const ImpStatus status = inner_part(composer, form, tool, &parts[1]);
    if (status != IMP_OK) return imp_fail_prefix(status, "tool \"%s\"", tool->name);
    return sequence(composer, parts, 3, out);
}

/* All tools that the form is for, one call or several. */
static ImpStatus calls_part(Composer *composer, const ToolForm *form, const OfferedTool *const *tools, size_t n_tools,
                            bool single, ConstraintPart *out)
{
    ConstraintPart parts[4], one, any = composer->nothing;
    for (size_t i = 0; i < n_tools; i++) {
        IMP_TRY(call_part(composer, form, tools[i], &one));
        if (i == 0) any = one;
        else IMP_TRY(either(composer, any, one, &any));
    }
    IMP_TRY(literal(composer, form->open, &parts[0]));
    parts[1] = any;
    parts[2] = composer->nothing;
    IMP_TRY(literal(composer, form->close, &parts[3]));
    if (!single && form->between != NULL) {
        IMP_TRY(literal(composer, form->between, &one));
        IMP_TRY(sequence(composer, (const ConstraintPart[]){one, any}, 2, &one));
        IMP_TRY(constraint_add_repeat(composer->builder, one, 0, TOOL_MAX_CALLS - 1, &parts[2]));
    }
    return sequence(composer, parts, 4, out);
}

static const ToolForm *json_form(const ToolFormat *format)
{
    for (size_t i = 0; i < TOOL_MAX_FORMS && format->forms[i].call != NULL; i++)
        if (format->forms[i].after_name == NULL || format->forms[i].arguments == ARGUMENTS_JSON) return &format->forms[i];
    return NULL;
}

/* Calls in the first form; of tools whose schema it cannot express, in the form that has JSON. */
static ImpStatus all_calls(Composer *composer, const ToolList *tools, const ToolRules *rules, ConstraintPart *out)
{
    const OfferedTool *plain[TOOL_MAX_COUNT], *others[TOOL_MAX_COUNT];
    size_t n_plain = 0, n_others = 0;
    const ToolForm *form = &composer->format->forms[0], *json = json_form(composer->format);
    ConstraintPart other;
    for (size_t i = 0; i < tools->count; i++) {
        const OfferedTool *tool = &tools->tools[i];
        if (rules->only != NULL && tool != rules->only) continue;
        if (form->arguments == ARGUMENTS_JSON || is_plain_object(tool)) plain[n_plain++] = tool;
        else if (json != NULL) others[n_others++] = tool;
        else
            return imp_fail(IMP_ERR_UNSUPPORTED, "tool \"%s\": its schema says more than parameters one by one can, which is all "
                            "that the format %s has", tool->name, composer->format->name);
    }
    if (n_plain + n_others > MAX_TOOLS)
        return imp_fail(IMP_ERR_UNSUPPORTED, "tools: calls of more than %d at once cannot be enforced", MAX_TOOLS);
    if (n_plain + n_others == 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no tool to call");
    if (n_plain > 0) IMP_TRY(calls_part(composer, form, plain, n_plain, rules->single, out));
    if (n_others == 0) return IMP_OK;
    IMP_TRY(calls_part(composer, json, others, n_others, rules->single, &other));
    if (n_plain == 0) *out = other;
    return n_plain == 0 ? IMP_OK : either(composer, *out, other, out);
}

/* ---- answers ---- */

/* Up to four white spaces. */
static ImpStatus some_space(Composer *composer, ConstraintPart *out)
{
    ConstraintPart line, blank;
    IMP_TRY(constraint_add_text(composer->builder, "\n", 1, &line));
    IMP_TRY(constraint_add_text(composer->builder, " ", 1, &blank));
    IMP_TRY(either(composer, line, blank, &line));
    return constraint_add_repeat(composer->builder, line, 0, 4, out);
}

/* What ends a message on a channel. */
static const char *const channel_marks[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"};
enum { N_CHANNEL_MARKS = sizeof channel_marks / sizeof channel_marks[0] };

/* What may stand before an answer: reasoning. Of the engine's blocks only the opening tag reaches the constraint. */
static ImpStatus reasoning_part(Composer *composer, const ToolRules *rules, ConstraintPart *out)
{
    const char *open = rules->no_reasoning ? NULL : rules->reasoning_open;
    const ToolFormat *format = composer->format;
    ConstraintPart parts[3];
    *out = composer->nothing;
    if (format->channels) {
        if (rules->no_reasoning) return IMP_OK;
        IMP_TRY(literal(composer, "<|channel|>analysis<|message|>", &parts[0]));
        IMP_TRY(text_until_one_of(composer, channel_marks, N_CHANNEL_MARKS, &parts[1]));
        IMP_TRY(literal(composer, "<|start|>assistant", &parts[2]));
        IMP_TRY(sequence(composer, parts, 3, &parts[0]));
        return either(composer, parts[0], composer->nothing, out);
    }
    if (open != NULL) {
        IMP_TRY(literal(composer, open, &parts[0]));
        IMP_TRY(either(composer, parts[0], composer->nothing, out));
    } else if (format->think_open != NULL && !rules->no_reasoning) {
        IMP_TRY(literal(composer, format->think_open, &parts[0]));
        IMP_TRY(text_until(composer, format->think_close, &parts[1]));
        IMP_TRY(sequence(composer, parts, 2, &parts[0]));
        IMP_TRY(either(composer, parts[0], composer->nothing, out));
    }
    IMP_TRY(some_space(composer, &parts[1]));
    parts[0] = *out;
    return sequence(composer, parts, 2, out);
}

/* Text without calls, or with calls at its end. */
static ImpStatus text_or_calls(Composer *composer, const json_t *answer, ConstraintPart calls, ConstraintPart *out)
{
    ConstraintPart text, before, parts[2];
    if (composer->format->channels || answer != NULL) {
        IMP_TRY(literal(composer, composer->format->channels ? "<|channel|>final<|message|>" : "", &parts[0]));
        if (answer != NULL) IMP_TRY(constraint_add_schema(composer->builder, answer, &parts[1]));
        else IMP_TRY(constraint_add_text_without(composer->builder, channel_marks, N_CHANNEL_MARKS, &parts[1]));
        IMP_TRY(sequence(composer, parts, 2, &text));
        return either(composer, text, calls, out);
    }
    IMP_TRY(tool_text_add(composer->builder, composer->format, &text, &before));
    if (composer->format->forms[0].only_at_start) return either(composer, text, calls, out);
    IMP_TRY(sequence(composer, (const ConstraintPart[]){before, calls}, 2, &parts[0]));
    return either(composer, text, parts[0], out);
}

static ImpStatus compose(Composer *composer, const ToolList *tools, const ToolRules *rules, ConstraintPart *out)
{
    ConstraintPart parts[2];
    IMP_TRY(constraint_add_text(composer->builder, "", 0, &composer->nothing));
    IMP_TRY(reasoning_part(composer, rules, &parts[0]));
    IMP_TRY(all_calls(composer, tools, rules, &parts[1]));
    if (!rules->required) IMP_TRY(text_or_calls(composer, rules->answer, parts[1], &parts[1]));
    return sequence(composer, parts, 2, out);
}

ImpStatus tool_constraint_create(const ToolFormat *format, const ToolList *tools, const ToolRules *rules,
                                 const Tokenizer *tokenizer, Constraint **out)
{
    Composer composer = {.format = format, .tokenizer = tokenizer};
    ConstraintPart whole = 0;
    IMP_TRY(constraint_builder_create(&composer.builder));
    ImpStatus status = compose(&composer, tools, rules, &whole);
    if (status == IMP_OK) status = constraint_builder_finish(composer.builder, whole, out);
    constraint_builder_free(composer.builder);
    return status;
}
