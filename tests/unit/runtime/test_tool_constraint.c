/*
 * test_tool_constraint.c - whatever is written under a constraint of calls, in every format, is read back as valid calls.
 *
 * A walk draws from the allowed tokens at random, with a liking for marks and quotes so that it ends; what it wrote goes through the parser,
 * and the arguments through the tool's schema by itself.
 */
#include "cmocka_all.h"

#include "runtime/tools/tool_constraint.h"
#include "runtime/tools/tool_parser.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 600, MAX_CALLS = TOOL_MAX_CALLS, WALKS = 8 };

static const char tools_json[] =
    "[{\"name\": \"ping\"},"
    " {\"name\": \"look\", \"parameters\": {\"type\": \"object\", \"properties\": {"
    "    \"city\": {\"type\": \"string\"}, \"unit\": {\"type\": \"string\", \"enum\": [\"celsius\", \"kelvin\"]},"
    "    \"days\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 14}},"
    "   \"required\": [\"city\", \"days\"], \"additionalProperties\": false}},"
    " {\"name\": \"look_up\", \"parameters\": {\"properties\": {"
    "    \"code\": {\"type\": \"string\", \"pattern\": \"^[0-9]{2}$\"}, \"on\": {\"type\": \"boolean\"},"
    "    \"where\": {\"$ref\": \"#/$defs/place\"}, \"tags\": {\"type\": \"array\", \"items\": {\"enum\": [\"a\", 1, null]}, \"maxItems\": 3}},"
    "   \"required\": [\"where\", \"code\"], \"$defs\": {\"place\": {\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"number\"}},"
    "    \"required\": [\"x\"], \"additionalProperties\": false}}, \"additionalProperties\": false}}]";

static const char *const words[] = {
    "\"", "</parameter>", "</arg_value>", "<escape>", "<|\"|>", "}", ")", "]", "\"}", "\n", "<tool_call>", "</tool_call>", "true",
    "<|end|>", "<|start|>assistant", "[/THINK]", "<channel|>", "12", "look", "{\"", "\": ", ", ", "hello", " world", "city",
};
enum { N_WORDS = sizeof words / sizeof words[0], END = 256 + N_WORDS, N_TOKENS };

static ConstraintVocab *make_vocab(void)
{
    static char bytes[256];
    ConstraintToken tokens[N_TOKENS] = {{NULL, 0}};
    const int32_t end = END;
    ConstraintVocab *vocab = NULL;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    for (int i = 0; i < N_WORDS; i++) tokens[256 + i] = (ConstraintToken){words[i], strlen(words[i])};
    assert_int_equal(constraint_vocab_create(tokens, N_TOKENS, &end, 1, &vocab), IMP_OK);
    return vocab;
}

static bool is_set(const uint32_t *bits, int32_t token) { return (bits[token / 32] >> token % 32 & 1) != 0; }

/* An allowed token: often the end, a mark or a quote, otherwise any printable one. */
static int32_t choose(const uint32_t *bits)
{
    int32_t allowed[N_TOKENS], n = 0;
    if (is_set(bits, END) && rand() % 3 == 0) return END;
    for (int32_t token = N_TOKENS - 1; token >= 0; token--)
        if (is_set(bits, token)) allowed[n++] = token;
    assert_true(n > 0);
    const int32_t first_byte = n > 1 && allowed[0] == END;
    if (rand() % 2 == 0)
        for (int32_t i = first_byte; i < n && allowed[i] >= 256; i++)
            if (rand() % 3 == 0) return allowed[i];
    for (int tries = 0; tries < 20; tries++) {
        const int32_t token = allowed[rand() % n];
        if (token != END && (token >= 256 || (token >= 32 && token < 127))) return token;
    }
    return allowed[rand() % n];
}

/* False when the walk did not come to an end. */
static bool walk(const Constraint *constraint, ConstraintVocab *vocab, StrBuf *text)
{
    ConstraintState *state = NULL;
    uint32_t bits[(N_TOKENS + 31) / 32];
    bool ended = false;
    assert_int_equal(constraint_state_create(constraint, vocab, &state), IMP_OK);
    for (int step = 0; step < MAX_STEPS && !ended; step++) {
        assert_int_equal(constraint_mask(state, bits), IMP_OK);
        const int32_t token = choose(bits);
        assert_true(constraint_advance(state, token));
        ended = token == END;
        if (token < 256) strbuf_putc(text, (char)token);
        else if (!ended) strbuf_puts(text, words[token - 256]);
    }
    constraint_state_free(state);
    return ended;
}

typedef struct Heard {
    const ToolList *tools;
    const OfferedTool *called[MAX_CALLS];
    StrBuf arguments[MAX_CALLS], text;
    int32_t n_calls;
} Heard;

static void hear(void *user, const ImpToolEvent *event)
{
    Heard *heard = user;
    if (event->kind == IMP_TOOL_TEXT) strbuf_append(&heard->text, event->text, event->length);
    if (event->kind == IMP_TOOL_ARGUMENTS) strbuf_append(&heard->arguments[event->index], event->text, event->length);
    if (event->kind != IMP_TOOL_CALL) return;
    assert_true(heard->n_calls < MAX_CALLS);
    heard->called[heard->n_calls++] = tool_list_find(heard->tools, event->name, strlen(event->name));
}

static void check_arguments(const OfferedTool *tool, const StrBuf *arguments, ConstraintVocab *vocab, const char *text)
{
    static const char nothing[] = "{\"type\": \"object\", \"maxProperties\": 0}";
    Constraint *schema = NULL;
    ConstraintState *state = NULL;
    json_t *value = json_loadb(arguments->data != NULL ? arguments->data : "", arguments->length, 0, NULL);
    if (!json_is_object(value)) fail_msg("%s\ngave the arguments %s", text, arguments->data);
    json_decref(value);
    if (tool->parameters != NULL) assert_int_equal(constraint_compile_schema(tool->parameters, &schema), IMP_OK);
    else assert_int_equal(constraint_compile_schema_text(nothing, sizeof nothing - 1, &schema), IMP_OK);
    assert_int_equal(constraint_state_create(schema, vocab, &state), IMP_OK);
    for (size_t i = 0; i < arguments->length; i++)
        if (!constraint_advance(state, (unsigned char)arguments->data[i]))
            fail_msg("%s\ngave arguments that are refused at byte %zu: %s", text, i, arguments->data);
    assert_true(constraint_complete(state));
    constraint_state_free(state);
    constraint_free(schema);
}

/* Returns the calls. */
static int32_t read_back(const ToolFormat *format, const ToolList *tools, const char *text, ConstraintVocab *vocab, bool only_calls)
{
    Heard heard = {.tools = tools};
    ToolParser *parser = NULL;
    assert_int_equal(tool_parser_create(format, tools, 1, hear, &heard, &parser), IMP_OK);
    assert_int_equal(tool_parser_push(parser, text, strlen(text), true), IMP_OK);
    tool_parser_free(parser);
    for (int32_t i = 0; i < heard.n_calls; i++) check_arguments(heard.called[i], &heard.arguments[i], vocab, text);
    if (only_calls && (heard.n_calls == 0 || heard.text.length > 0))
        fail_msg("%s: \"%s\"\nwas read as %d calls and the text \"%s\"", format->name, text, (int)heard.n_calls, heard.text.data);
    for (int32_t i = 0; i < MAX_CALLS; i++) strbuf_free(&heard.arguments[i]);
    strbuf_free(&heard.text);
    return heard.n_calls;
}

static void run_walks(const ToolRules *rules, const char *json)
{
    ConstraintVocab *vocab = make_vocab();
    ToolList tools;
    int ended = 0;
    assert_int_equal(tool_list_parse(json, strlen(json), &tools), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        const ToolFormat *format = tool_format_at(f);
        Constraint *constraint = NULL;
        ToolRules own = *rules;
        if (rules->only != NULL) own.only = &tools.tools[1];
        if (tool_constraint_create(format, &tools, &own, NULL, &constraint) != IMP_OK)
            fail_msg("%s: %s", format->name, imp_last_error());
        for (int i = 0; i < WALKS; i++) {
            StrBuf text = {0};
            const bool whole = walk(constraint, vocab, &text);
            ended += whole;
            if (whole && strbuf_check(&text) == IMP_OK && memchr(text.data, '\0', text.length) == NULL) {
                const int32_t n = read_back(format, &tools, text.data, vocab, rules->required);
                assert_true(!rules->single || n <= 1);
            }
            strbuf_free(&text);
        }
        constraint_free(constraint);
    }
    if (ended < 60) fail_msg("only %d walks came to an end", ended);
    tool_list_free(&tools);
    constraint_vocab_free(vocab);
}

static void test_required(void **state)
{
    (void)state;
    srand(1);
    run_walks(&(ToolRules){.required = true}, tools_json);
}

static void test_required_once(void **state)
{
    (void)state;
    srand(2);
    run_walks(&(ToolRules){.required = true, .single = true}, tools_json);
}

static void test_auto(void **state)
{
    (void)state;
    srand(3);
    run_walks(&(ToolRules){0}, tools_json);
}

/* Only the named tool can be called. */
static void test_named(void **state)
{
    ToolList tools;
    ConstraintVocab *vocab = make_vocab();
    Constraint *constraint = NULL;
    ConstraintState *walk_state = NULL;
    char forced[64] = "";
    (void)state;
    assert_int_equal(tool_list_parse(tools_json, sizeof tools_json - 1, &tools), IMP_OK);
    const ToolRules rules = {.required = true, .only = &tools.tools[2]};
    assert_int_equal(tool_constraint_create(tool_format_find("hermes"), &tools, &rules, NULL, &constraint), IMP_OK);
    assert_int_equal(constraint_state_create(constraint, vocab, &walk_state), IMP_OK);
    assert_true(constraint_advance(walk_state, '<'));
    const size_t n = constraint_forced_bytes(walk_state, forced, sizeof forced - 1);
    forced[n] = '\0';
    assert_string_equal(forced, "tool_call>\n{\"name\": \"look_up\", \"arguments\": ");
    constraint_state_free(walk_state);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
    tool_list_free(&tools);
}

/* A schema that parameters one by one cannot express is held in JSON where the format has it, and refused by name elsewhere. */
static void test_beyond_parameters(void **state)
{
    static const char json[] = "[{\"name\": \"pick\", \"parameters\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, "
                               "\"b\": {\"type\": \"integer\"}}, \"minProperties\": 1, \"maxProperties\": 1, \"additionalProperties\": false}}]";
    ToolList tools;
    ConstraintVocab *vocab = make_vocab();
    (void)state;
    srand(4);
    assert_int_equal(tool_list_parse(json, sizeof json - 1, &tools), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        const ToolFormat *format = tool_format_at(f);
        Constraint *constraint = NULL;
        const ImpStatus status = tool_constraint_create(format, &tools, &(ToolRules){.required = true, .single = true}, NULL, &constraint);
        if (status != IMP_OK) {
            assert_int_equal(status, IMP_ERR_UNSUPPORTED);
            assert_non_null(strstr(imp_last_error(), "pick"));
            continue;
        }
        StrBuf text = {0};
        if (walk(constraint, vocab, &text)) (void)read_back(format, &tools, text.data, vocab, true);
        strbuf_free(&text);
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
    tool_list_free(&tools);
}

/* What is written for a history is read back. */
static void test_written_calls(void **state)
{
    static const char given[] = "{\"city\": \"Oslo\", \"days\": 3}";
    ToolList tools;
    ConstraintVocab *vocab = make_vocab();
    json_t *arguments = json_loads(given, 0, NULL);
    (void)state;
    assert_int_equal(tool_list_parse(tools_json, sizeof tools_json - 1, &tools), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        StrBuf text = {0};
        assert_int_equal(tool_write_call(tool_format_at(f), "look", arguments, &text), IMP_OK);
        assert_int_equal(read_back(tool_format_at(f), &tools, text.data, vocab, true), 1);
        strbuf_free(&text);
    }
    json_decref(arguments);
    constraint_vocab_free(vocab);
    tool_list_free(&tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_required), cmocka_unit_test(test_required_once),    cmocka_unit_test(test_auto),
        cmocka_unit_test(test_named),    cmocka_unit_test(test_beyond_parameters), cmocka_unit_test(test_written_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
