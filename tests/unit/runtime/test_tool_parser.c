/*
 * test_tool_parser.c - transcripts in each format, as the models write them, and the calls that must come out: whole, a byte at a
 * time, and cut anywhere.
 */
#include "cmocka_all.h"

#include "imp/settings.h"
#include "runtime/tools/tool_parser.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CALLS = 8, RANDOM_CUTS = 25 };

typedef struct Heard {
    StrBuf text, reasoning, names, arguments[MAX_CALLS];
    int32_t n_begun, n_ended;
} Heard;

static json_t *load_transcripts(void)
{
    json_error_t error;
    json_t *all = json_load_file(IMP_TEST_DATA "/unit/runtime/tool_transcripts.json", 0, &error);
    if (all == NULL) fail_msg("line %d: %s", error.line, error.text);
    return all;
}

static ToolList read_tools(const json_t *all)
{
    ToolList tools;
    char *json = json_dumps(json_object_get(all, "tools"), 0);
    assert_int_equal(tool_list_parse(json, strlen(json), &tools), IMP_OK);
    free(json);
    return tools;
}

static void hear(void *user, const ImpToolEvent *event)
{
    Heard *heard = user;
    switch (event->kind) {
    case IMP_TOOL_TEXT: strbuf_append(&heard->text, event->text, event->length); break;
    case IMP_TOOL_REASONING: strbuf_append(&heard->reasoning, event->text, event->length); break;
    case IMP_TOOL_CALL:
        assert_int_equal(event->index, heard->n_begun);
        assert_int_equal(heard->n_begun, heard->n_ended);
        assert_true(event->id[0] != '\0' && heard->n_begun < MAX_CALLS);
        strbuf_printf(&heard->names, "%s;", event->name);
        heard->n_begun++;
        break;
    case IMP_TOOL_ARGUMENTS:
        assert_int_equal(event->index, heard->n_begun - 1);
        strbuf_append(&heard->arguments[event->index], event->text, event->length);
        break;
    case IMP_TOOL_CALL_END: heard->n_ended++; break;
    }
    if (event->kind <= IMP_TOOL_REASONING || event->kind == IMP_TOOL_ARGUMENTS) assert_true(event->length > 0);
}

static void free_heard(Heard *heard)
{
    strbuf_free(&heard->text);
    strbuf_free(&heard->reasoning);
    strbuf_free(&heard->names);
    for (int i = 0; i < MAX_CALLS; i++) strbuf_free(&heard->arguments[i]);
}

/* most: longest piece; 0: all at once. */
static void parse(const ToolFormat *format, const ToolList *tools, const char *text, size_t length, size_t most, Heard *heard)
{
    ToolParser *parser = NULL;
    *heard = (Heard){0};
    assert_int_equal(tool_parser_create(format, tools, 7, hear, heard, &parser), IMP_OK);
    for (size_t at = 0; at < length && most > 0;) {
        size_t piece = 1 + (size_t)rand() % most;
        if (piece > length - at) piece = length - at;
        assert_int_equal(tool_parser_push(parser, text + at, piece, false), IMP_OK);
        at += piece;
    }
    assert_int_equal(tool_parser_push(parser, text, most > 0 ? 0 : length, true), IMP_OK);
    tool_parser_free(parser);
}

static const char *string_of(const StrBuf *buffer) { return buffer->data != NULL ? buffer->data : ""; }

static void assert_same(const char *text, const Heard *a, const Heard *b)
{
    if (strcmp(string_of(&a->text), string_of(&b->text)) != 0 || strcmp(string_of(&a->names), string_of(&b->names)) != 0)
        fail_msg("cut otherwise, \"%s\" gives \"%s\" %s instead of \"%s\" %s", text, string_of(&b->text),
                 string_of(&b->names), string_of(&a->text), string_of(&a->names));
    assert_string_equal(string_of(&a->reasoning), string_of(&b->reasoning));
    for (int i = 0; i < MAX_CALLS; i++) assert_string_equal(string_of(&a->arguments[i]), string_of(&b->arguments[i]));
    assert_int_equal(a->n_ended, b->n_ended);
}

static void assert_expected(const json_t *expected, const Heard *heard)
{
    const char *text = json_string_value(json_object_get(expected, "text"));
    const char *reasoning = json_string_value(json_object_get(expected, "reasoning"));
    const json_t *calls = json_object_get(expected, "calls");
    StrBuf names = {0};
    if (strcmp(string_of(&heard->text), json_string_value(json_object_get(expected, "content"))) != 0)
        fail_msg("\"%s\" left the text \"%s\"", text, string_of(&heard->text));
    assert_string_equal(string_of(&heard->reasoning), reasoning != NULL ? reasoning : "");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        strbuf_printf(&names, "%s;", json_string_value(json_object_get(call, "name")));
        const char *raw = json_string_value(json_object_get(call, "raw")); /* of a call that was cut off */
        if (raw != NULL) assert_string_equal(string_of(&heard->arguments[i]), raw);
        json_t *arguments = json_loads(string_of(&heard->arguments[i]), 0, NULL);
        if (raw == NULL && !json_equal(arguments, json_object_get(call, "arguments")))
            fail_msg("\"%s\" gave the arguments %s", text, string_of(&heard->arguments[i]));
        json_decref(arguments);
    }
    if (strcmp(string_of(&names), string_of(&heard->names)) != 0)
        fail_msg("\"%s\" gave the calls %s", text, string_of(&heard->names));
    assert_int_equal(heard->n_ended, json_array_size(calls));
    strbuf_free(&names);
}

static void test_transcripts(void **state)
{
    json_t *all = load_transcripts();
    ToolList tools = read_tools(all);
    const json_t *transcripts = json_object_get(all, "transcripts");
    (void)state;
    srand(1);
    for (size_t i = 0; i < json_array_size(transcripts); i++) {
        const json_t *transcript = json_array_get(transcripts, i);
        const ToolFormat *format = tool_format_find(json_string_value(json_object_get(transcript, "format")));
        const char *text = json_string_value(json_object_get(transcript, "text"));
        Heard whole, cut;
        assert_non_null(format);
        parse(format, &tools, text, strlen(text), 0, &whole);
        assert_expected(transcript, &whole);
        for (size_t most = 1; most <= RANDOM_CUTS; most++) {
            parse(format, &tools, text, strlen(text), most, &cut);
            assert_same(text, &whole, &cut);
            free_heard(&cut);
        }
        free_heard(&whole);
    }
    tool_list_free(&tools);
    json_decref(all);
}

/* A transcript of one format is at worst text in all others, and any beginning of one is read the same however it is cut. */
static void test_beginnings_in_all_formats(void **state)
{
    json_t *all = load_transcripts();
    ToolList tools = read_tools(all);
    const json_t *transcripts = json_object_get(all, "transcripts");
    (void)state;
    srand(2);
    for (size_t i = 0; i < json_array_size(transcripts); i++) {
        const char *text = json_string_value(json_object_get(json_array_get(transcripts, i), "text"));
        for (size_t f = 0; tool_format_at(f) != NULL; f++) {
            Heard whole, cut;
            const size_t length = strlen(text) - (size_t)rand() % (strlen(text) + 1);
            parse(tool_format_at(f), &tools, text, length, 0, &whole);
            parse(tool_format_at(f), &tools, text, length, 3, &cut);
            assert_same(text, &whole, &cut);
            assert_int_equal(whole.n_begun, whole.n_ended);
            free_heard(&whole);
            free_heard(&cut);
        }
    }
    tool_list_free(&tools);
    json_decref(all);
}

static bool is_one_of(const void *words, const char *sign)
{
    char spaced[64];
    (void)snprintf(spaced, sizeof spaced, " %s ", sign);
    return strstr(words, spaced) != NULL;
}

static void test_detection(void **state)
{
    static const char *const expected[][2] = {
        {"deepseek", "deepseek_v3"}, {"harmony", "harmony"},        {"hermes", "hermes"},  {"llama_3.1", "llama3"},
        {"mistral", "mistral_json"}, {"nemotron_nano", "nemotron"}, {"qwen_3", "hermes"},  {"qwen_coder", "qwen3_coder"},
        {"lfm_2", "lfm2"},           {"gemma_3", "gemma3"},         {"glm_4", "glm"},      {"phi_4", "json"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char path[512];
        static char source[1 << 16];
        (void)snprintf(path, sizeof path, "%s/oracle/chat_templates/%s.jinja", IMP_TEST_DATA, expected[i][0]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        source[fread(source, 1, sizeof source - 1, file)] = '\0';
        (void)fclose(file);
        assert_string_equal(tool_format_detect(source, NULL, NULL)->name, expected[i][1]);
    }
    assert_string_equal(tool_format_detect(NULL, NULL, NULL)->name, "json");
    assert_string_equal(tool_format_detect("{{ x }}<|tool_call_argument_begin|>", NULL, NULL)->name, "kimi");
    assert_string_equal(tool_format_detect("<|tool_call_start|>[", NULL, NULL)->name, "lfm2");
    assert_string_equal(tool_format_detect("<|tool|>", is_one_of, " <|tool_call|> <|/tool_call|> ")->name, "phi4_mini");
    assert_string_equal(tool_format_detect(NULL, is_one_of, " <|tool_call|> ")->name, "granite");
}

/* What is held back stays small, whatever comes. */
static void test_long_runs(void **state)
{
    static const char *const units[] = {" ", "<tool_call>", "<tool_call>\n{\"a\": [", "\n\n", "{", "[", "<", "x", "<|channel|>", "<|start|>a"};
    json_t *all = load_transcripts();
    ToolList tools = read_tools(all);
    (void)state;
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        StrBuf text = {0};
        for (int i = 0; i < 3000; i++) strbuf_puts(&text, units[u]);
        for (size_t f = 0; tool_format_at(f) != NULL; f++) {
            Heard heard;
            parse(tool_format_at(f), &tools, text.data, text.length, 999, &heard);
            assert_int_equal(heard.n_begun, 0);
            if (!tool_format_at(f)->channels) assert_string_equal(heard.text.data, text.data); /* a head says nothing */
            free_heard(&heard);
        }
        strbuf_free(&text);
    }
    tool_list_free(&tools);
    json_decref(all);
}

/* The configuration offers every format by its name. */
static void test_names_in_configuration(void **state)
{
    ImpSettings *settings = NULL;
    (void)state;
    assert_int_equal(imp_settings_create(&settings), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        assert_ptr_equal(tool_format_find(tool_format_at(f)->name), tool_format_at(f));
        assert_int_equal(imp_settings_set(settings, "generation.tool_format", tool_format_at(f)->name), IMP_OK);
    }
    imp_settings_free(settings);
}

static void test_bad_tools(void **state)
{
    static const char *const bad[] = {
        "{}", "[{}]", "[{\"type\": \"function\"}]", "[{\"function\": {\"name\": 3}}]", "[{\"function\": {\"name\": \"\"}}]",
        "[{\"function\": {\"name\": \"a b\"}}]", "[{\"function\": {\"name\": \"a\", \"parameters\": []}}]",
        "[{\"function\": {\"name\": \"a\"}}, {\"name\": \"a\"}]", "[{\"type\": \"web_search\"}]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ToolList tools;
        assert_int_not_equal(tool_list_parse(bad[i], strlen(bad[i]), &tools), IMP_OK);
        assert_non_null(strstr(imp_last_error(), "tools"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transcripts), cmocka_unit_test(test_beginnings_in_all_formats),
        cmocka_unit_test(test_detection),   cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_bad_tools),   cmocka_unit_test(test_names_in_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
