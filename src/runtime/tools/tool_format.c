/*
 * tool_format.c - the table. Rows whose signs are more telling stand before those whose signs they hold too.
 *
 * Sources: the chat templates that the models are published with, and their model cards.
 */
#include "runtime/tools/tool_format.h"

#include <string.h>

#define JSON_OBJECT_IN(before, behind, separator) \
    {.open = "", .close = "", .call = before, .call_end = behind, .between = separator}
#define JSON_LINE_IN(before, behind) {.open = before, .close = behind, .call = "", .call_end = "", .between = "; "}
#define JSON_LIST_IN(before, behind) {.open = before, .close = behind, .call = "", .call_end = "", .between = ", "}
#define PYTHON_IN(before, behind) \
    {.open = before, .close = behind, .call = "", .call_end = "", .between = ", ", .after_name = "(", \
     .arguments = ARGUMENTS_PYTHON}

#define DEEPSEEK_FORM(kind, separator, behind) \
    {.open = "<｜tool▁calls▁begin｜>", .close = "<｜tool▁calls▁end｜>", .call = "<｜tool▁call▁begin｜>" kind, \
     .call_end = behind "<｜tool▁call▁end｜>", .between = "\n", .after_name = separator}

/* The name is written functions.NAME:NUMBER, which is the call's id, too. */
#define KIMI_FORM(before, behind) \
    {.open = before, .close = behind, .call = "<|tool_call_begin|>", .call_end = "<|tool_call_end|>", .between = "", \
     .after_name = "<|tool_call_argument_begin|>", .id_mark = ":"}

#define HERMES_FORMS \
    {JSON_OBJECT_IN("<tool_call>\n", "\n</tool_call>", "\n"), JSON_LIST_IN("<tool_call>\n[", "]\n</tool_call>"), \
     JSON_OBJECT_IN("<tool_call>\n```json\n", "\n```\n</tool_call>", "\n"), JSON_OBJECT_IN("<tools>\n", "\n</tools>", "\n")}

/* One of the two opening marks is missing. */
#define DEEPSEEK_CALL_ONLY \
    {.open = "", .close = "", .call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", .call_end = "\n```<｜tool▁call▁end｜>", \
     .between = "\n", .after_name = "\n```json\n"}
#define DEEPSEEK_CALLS_ONLY \
    {.open = "<｜tool▁calls▁begin｜>", .close = "<｜tool▁calls▁end｜>", .call = "function<｜tool▁sep｜>", \
     .call_end = "\n```<｜tool▁call▁end｜>", .between = "\n", .after_name = "\n```json\n"}

static const ToolFormat formats[] = {
    {.name = "harmony", /* gpt-oss */
     .signs = {"<|channel|>"},
     .channels = true,
     .forms = {{.open = "", .close = "", .call = "<|channel|>commentary to=functions.", .call_end = "",
                .after_name = " <|constrain|>json<|message|>"}}},
    {.name = "qwen3_coder", /* Qwen3-Coder, Qwen3.5, Nemotron 3 */
     .code_is_text = true,
     .signs = {"<function=", "<parameter="},
     .key_open = "<parameter=", .key_end = ">\n", .value_end = "\n</parameter>\n",
     .forms = {{.open = "", .close = "", .call = "<tool_call>\n<function=", .call_end = "</function>\n</tool_call>",
                .between = "\n", .after_name = ">\n", .arguments = ARGUMENTS_TAGGED},
               {.open = "", .close = "", .call = "<function=", .call_end = "</function>\n</tool_call>", .between = "\n",
                .after_name = ">\n", .arguments = ARGUMENTS_TAGGED},
               JSON_OBJECT_IN("<tool_call>\n", "\n</tool_call>", "\n")}},
    {.name = "glm", /* GLM-4.5 and later */
     .code_is_text = true,
     .signs = {"<arg_key>", "<arg_value>"},
     .key_open = "<arg_key>", .key_end = "</arg_key>\n<arg_value>", .value_end = "</arg_value>\n",
     .forms = {{.open = "", .close = "", .call = "<tool_call>", .call_end = "</tool_call>", .between = "\n",
                .after_name = "\n", .arguments = ARGUMENTS_TAGGED}}},
    {.name = "deepseek_v32", /* DeepSeek V3.2 */
     .signs = {"｜DSML｜"},
     .key_open = "<｜DSML｜parameter name=\"", .key_end = "\" string=\"true\">", .key_end_json = "\" string=\"false\">",
     .value_end = "</｜DSML｜parameter>\n",
     .forms = {{.open = "<｜DSML｜function_calls>\n", .close = "\n</｜DSML｜function_calls>", .call = "<｜DSML｜invoke name=\"",
                .call_end = "</｜DSML｜invoke>", .between = "\n", .after_name = "\">\n", .arguments = ARGUMENTS_TAGGED}}},
    {.name = "deepseek_v3", /* DeepSeek V3, R1 */
     .signs = {"<｜tool▁calls▁begin｜>", "```json"},
     .forms = {DEEPSEEK_FORM("function<｜tool▁sep｜>", "\n```json\n", "\n```"), DEEPSEEK_FORM("", "<｜tool▁sep｜>", ""),
               DEEPSEEK_FORM("function<｜tool▁sep｜>", "\n", ""), DEEPSEEK_CALL_ONLY, DEEPSEEK_CALLS_ONLY}},
    {.name = "deepseek_v31", /* DeepSeek V3.1 */
     .signs = {"<｜tool▁calls▁begin｜>"},
     .forms = {DEEPSEEK_FORM("", "<｜tool▁sep｜>", ""), DEEPSEEK_FORM("function<｜tool▁sep｜>", "\n```json\n", "\n```")}},
    {.name = "gemma4",
     .signs = {"<|tool_call>"},
     .quote = "<|\"|>",
     .think_open = "<|channel>thought\n", .think_close = "<channel|>",
     .forms = {{.open = "", .close = "", .call = "<|tool_call>call:", .call_end = "<tool_call|>", .between = "",
                .after_name = "{", .arguments = ARGUMENTS_BARE}}},
    {.name = "function_gemma",
     .signs = {"<start_function_call>"},
     .quote = "<escape>",
     .forms = {{.open = "", .close = "", .call = "<start_function_call>call:", .call_end = "<end_function_call>",
                .between = "", .after_name = "{", .arguments = ARGUMENTS_BARE}}},
    {.name = "mistral", /* from Mistral Small 3.2 and Devstral on */
     .signs = {"[TOOL_CALLS]", "[ARGS]"},
     .think_open = "[THINK]", .think_close = "[/THINK]",
     .short_ids = true,
     .forms = {{.open = "", .close = "", .call = "[TOOL_CALLS]", .call_end = "", .between = "", .after_name = "[ARGS]",
                .id_mark = "[CALL_ID]"},
               {.open = "", .close = "", .call = "[TOOL_CALLS]", .call_end = "", .between = "", .after_name = ""},
               JSON_LIST_IN("[TOOL_CALLS] [", "]"),
               JSON_OBJECT_IN("[TOOL_CALLS]", "", "")}},
    {.name = "mistral_json", /* Mistral before that */
     .signs = {"[TOOL_CALLS]"},
     .think_open = "[THINK]", .think_close = "[/THINK]",
     .short_ids = true,
     .forms = {JSON_LIST_IN("[TOOL_CALLS] [", "]"),
               JSON_OBJECT_IN("[TOOL_CALLS]", "", ""),
               {.open = "", .close = "", .call = "[TOOL_CALLS]", .call_end = "", .between = "", .after_name = "[ARGS]",
                .id_mark = "[CALL_ID]"},
               {.open = "", .close = "", .call = "[TOOL_CALLS]", .call_end = "", .between = "", .after_name = ""}}},
    {.name = "nemotron", /* Nemotron Nano 2, Llama-Nemotron */
     .code_is_text = true,
     .signs = {"<TOOLCALL>"},
     .forms = {JSON_LIST_IN("<TOOLCALL>[", "]</TOOLCALL>"), JSON_OBJECT_IN("<TOOLCALL>", "</TOOLCALL>", "\n")}},
    {.name = "lfm2", /* LFM2, LFM2.5 */
     .signs = {"<|tool_list_start|>"},
     .other_sign = "<|tool_call_start|>",
     .forms = {PYTHON_IN("<|tool_call_start|>[", "]<|tool_call_end|>"),
               PYTHON_IN("<|tool_call_start|>", "<|tool_call_end|>"),
               JSON_LIST_IN("<|tool_call_start|>[", "]<|tool_call_end|>"),
               JSON_OBJECT_IN("<|tool_call_start|>", "<|tool_call_end|>", "")}},
    {.name = "phi4_mini",
     .signs = {"<|tool_call|>", "<|/tool_call|>"},
     .forms = {JSON_LIST_IN("<|tool_call|>[", "]<|/tool_call|>"), JSON_OBJECT_IN("<|tool_call|>", "<|/tool_call|>", "")}},
    {.name = "granite", /* Granite 3 */
     .signs = {"<|tool_call|>"},
     .forms = {JSON_LIST_IN("<|tool_call|>[", "]"),
               JSON_LIST_IN("<tool_call>[", "]"),
               JSON_OBJECT_IN("<|tool_call|>", "", ""),
               JSON_OBJECT_IN("<tool_call>\n", "\n</tool_call>", "\n")}},
    {.name = "kimi", /* Kimi K2 */
     .signs = {"<|tool_call_argument_begin|>"},
     .named_ids = true,
     .forms = {KIMI_FORM("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
               KIMI_FORM("<|tool_call_section_begin|>", "<|tool_call_section_end|>"),
               KIMI_FORM("", "")}},
    {.name = "hermes", /* Hermes 2 and 3, Qwen 2.5 and 3, SmolLM3, Granite 4 */
     .code_is_text = true,
     .signs = {"<tool_call>"},
     .forms = HERMES_FORMS},
    {.name = "llama4",
     .signs = {"<|python_start|>"},
     .forms = {{.open = "[", .close = "]", .call = "", .call_end = "", .between = ", ", .after_name = "(",
                .arguments = ARGUMENTS_PYTHON, .only_at_start = true},
               PYTHON_IN("<|python_start|>[", "]<|python_end|>"),
               JSON_LINE_IN("<|python_start|>", "<|python_end|>"),
               {.open = "", .close = "", .call = "", .call_end = "", .between = "; ", .only_at_start = true}}},
    {.name = "llama3", /* Llama 3.1 to 3.3 */
     .code_is_text = true,
     .signs = {"<|start_header_id|>"},
     .arguments_key = "parameters",
     .forms = {{.open = "", .close = "", .call = "", .call_end = "", .between = "; ", .only_at_start = true},
               JSON_LINE_IN("<|python_tag|>", ""),
               {.open = "<|python_tag|>", .close = "", .call = "", .call_end = "", .between = "; ",
                .after_name = ".call(", .arguments = ARGUMENTS_PYTHON},
               {.open = "<|python_tag|>", .close = "", .call = "", .call_end = "", .between = "; ",
                .after_name = "(", .arguments = ARGUMENTS_PYTHON},
               PYTHON_IN("<|python_tag|>[", "]"),
               {.open = "", .close = "", .call = "<function=", .call_end = "</function>", .between = "\n",
                .after_name = ">"},
               {.open = "", .close = "", .call = "<function=", .call_end = "</function>", .between = "\n", .after_name = ""},
               {.open = "[", .close = "]", .call = "", .call_end = "", .between = ", ", .after_name = "(",
                .arguments = ARGUMENTS_PYTHON, .only_at_start = true},
               {.open = "[", .close = "]", .call = "", .call_end = "", .between = ", ", .only_at_start = true}}},
    {.name = "gemma3", /* Gemma 2 and 3 have no format of their own: what Google's guides ask for */
     .signs = {"<start_of_turn>"},
     .arguments_key = "parameters",
     .forms = {{.open = "", .close = "", .call = "```tool_call\n", .call_end = "\n```", .between = "\n"},
               {.open = "```tool_code\n", .close = "\n```", .call = "print(", .call_end = ")", .between = "\n",
                .after_name = "(", .arguments = ARGUMENTS_PYTHON},
               {.open = "```tool_code\n", .close = "\n```", .call = "", .call_end = "", .between = "\n", .after_name = "(",
                .arguments = ARGUMENTS_PYTHON},
               PYTHON_IN("```tool_code\n[", "]\n```"),
               {.open = "[", .close = "]", .call = "", .call_end = "", .between = ", ", .after_name = "(",
                .arguments = ARGUMENTS_PYTHON, .only_at_start = true},
               JSON_LIST_IN("```json\n[", "]\n```"),
               {.open = "", .close = "", .call = "```json\n", .call_end = "\n```", .between = "\n"},
               {.open = "", .close = "", .call = "", .call_end = "", .between = "\n", .only_at_start = true}}},
    {.name = "json", /* models that were never told of tools */
     .code_is_text = true,
     .forms = HERMES_FORMS},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const ToolFormat *tool_format_at(size_t index) { return index < N_FORMATS ? &formats[index] : NULL; }

static const ToolFormat *find_signs(ToolSignTest *has_sign, const void *where)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        size_t n = 0;
        while (n < TOOL_MAX_SIGNS && formats[i].signs[n] != NULL && has_sign(where, formats[i].signs[n])) n++;
        if (n > 0 && (n == TOOL_MAX_SIGNS || formats[i].signs[n] == NULL)) return &formats[i];
        if (formats[i].other_sign != NULL && has_sign(where, formats[i].other_sign)) return &formats[i];
    }
    return NULL;
}

static bool template_has(const void *where, const char *sign) { return strstr(where, sign) != NULL; }

const ToolFormat *tool_format_detect(const char *chat_template, ToolSignTest *is_token, const void *tokens)
{
    const ToolFormat *found = chat_template != NULL ? find_signs(template_has, chat_template) : NULL;
    if (found == NULL && is_token != NULL) found = find_signs(is_token, tokens);
    return found != NULL ? found : &formats[N_FORMATS - 1];
}

const ToolFormat *tool_format_find(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}
