/*
 * test_tool_constraint.c - whatever is written under a constraint of calls, in every format, is read back as valid calls.
 *
 * A walk draws from the allowed tokens at random, with a liking for marks and quotes so that it ends; what it wrote goes through the parser,
 * and the arguments through the tool's schema by itself.
 */
#include "cmocka_all.h"

#include "runtime/tools/tool_constraint.h"
#include "runtime/tools/tool_parser.h"
#include "text/tokenizer/tokenizer_internal.h"

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

/* Marks as ordinary words of a vocabulary that has all bytes besides, or as special tokens, which stand for no text. */
static const char *const words[] = {
    "\"", "</parameter>", "</arg_value>", "}", ")", "]", "\"}", "\n", "true", "12", "look", "{\"", "\": ", ", ", "hello", " world", "city",
};
static const char *const marks[] = {
    "<escape>", "<|\"|>", "<tool_call>", "</tool_call>", "<|end|>", "<|start|>", "[/THINK]", "<channel|>", "<|channel|>", "<|message|>",
    "<|constrain|>", "<|return|>", "<|call|>", "[TOOL_CALLS]", "[ARGS]", "[THINK]", "<|channel>", "<|tool_call>", "<tool_call|>",
    "<start_function_call>", "<end_function_call>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<|tool_call_start|>", "<|tool_call_end|>", "<|tool_call|>", "<TOOLCALL>", "</TOOLCALL>",
    "<think>", "<|im_end|>",
};
enum {
    N_WORDS = sizeof words / sizeof words[0],
    N_MARKS = sizeof marks / sizeof marks[0],
    FIRST_WORD = 256,
    FIRST_MARK = FIRST_WORD + N_WORDS,
    END = FIRST_MARK + N_MARKS - 1,
    N_TOKENS,
};

static ConstraintVocab *make_vocab(bool special)
{
    static char bytes[256];
    ConstraintToken tokens[N_TOKENS] = {{NULL, 0}};
    const int32_t ends[] = {END, END - 20};
    ConstraintVocab *vocab = NULL;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    for (int i = 0; i < N_WORDS; i++) tokens[FIRST_WORD + i] = (ConstraintToken){words[i], strlen(words[i])};
    for (int i = 0; i + 1 < N_MARKS && !special; i++) tokens[FIRST_MARK + i] = (ConstraintToken){marks[i], strlen(marks[i])};
    assert_string_equal(marks[END - 20 - FIRST_MARK], "<|call|>");
    assert_int_equal(constraint_vocab_create(tokens, N_TOKENS, ends, special ? 2 : 1, &vocab), IMP_OK);
    return vocab;
}

/* A tokenizer with the same ids: bytes as byte-level BPE names them, special tokens, and something where the words are. */
static Tokenizer *make_tokenizer(void)
{
    Tokenizer *tokenizer = NULL;
    json_t *vocab = json_object(), *added = json_array();
    for (int i = 0, next = 0; i < 256; i++) {
        char name[8];
        const bool printable = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        const int point = printable ? i : 256 + next++;
        (void)snprintf(name, sizeof name, point < 128 ? "%c" : "%c%c", point < 128 ? point : 0xc0 | point >> 6, 0x80 | (point & 0x3f));
        (void)json_object_set_new(vocab, name, json_integer(i));
    }
    for (int i = 0; i < N_WORDS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "word%d", i);
        (void)json_object_set_new(vocab, name, json_integer(FIRST_WORD + i));
    }
    for (int i = 0; i < N_MARKS; i++)
        (void)json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b}", "id", FIRST_MARK + i, "content", marks[i], "special", 1,
                                                     "normalized", 0));
    json_t *json = json_pack("{s:{s:s, s:o, s:[]}, s:o, s:{s:s}, s:{s:s, s:b, s:b}}", "model", "type", "BPE", "vocab", vocab, "merges",
                             "added_tokens", added, "decoder", "type", "ByteLevel", "pre_tokenizer", "type", "ByteLevel",
                             "add_prefix_space", 0, "use_regex", 0);
    if (tokenizer_create_json(json, NULL, NULL, NULL, &tokenizer) != IMP_OK) fail_msg("%s", imp_last_error());
    json_decref(json);
    return tokenizer;
}

static bool is_set(const uint32_t *bits, int32_t token) { return (bits[token / 32] >> token % 32 & 1) != 0; }

/* An allowed token: often the end, a mark or a quote, otherwise any printable one. */
static int32_t choose(const uint32_t *bits)
{
    int32_t allowed[N_TOKENS], n = 0;
    if (is_set(bits, END) && rand() % 3 == 0) return END;
    for (int32_t token = END; token-- > 0;)
        if (is_set(bits, token)) allowed[n++] = token;
    if (n == 0) return END;
    if (rand() % 2 == 0)
        for (int32_t i = 0; i < n && allowed[i] >= FIRST_WORD; i++)
            if (rand() % 3 == 0) return allowed[i];
    for (int tries = 0; tries < 20; tries++) {
        const int32_t token = allowed[rand() % n];
        if (token >= FIRST_WORD || (token >= 32 && token < 127)) return token;
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
        const bool complete = constraint_complete(state);
        const int32_t token = choose(bits);
        assert_true(constraint_advance(state, token));
        ended = complete && is_set(bits, END) && (token == END || strcmp(token >= FIRST_MARK ? marks[token - FIRST_MARK] : "", "<|call|>") == 0);
        if (ended) break;
        if (token < FIRST_WORD) strbuf_putc(text, (char)token);
        else strbuf_puts(text, token < FIRST_MARK ? words[token - FIRST_WORD] : marks[token - FIRST_MARK]);
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
    json_t *value = json_loadb(arguments->data != NULL ? arguments->data : "", arguments->length, JSON_DECODE_INT_AS_REAL, NULL);
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

static void run_walks(const ToolRules *rules, const char *json, bool special)
{
    ConstraintVocab *vocab = make_vocab(special);
    Tokenizer *tokenizer = special ? make_tokenizer() : NULL;
    ToolList tools;
    int ended = 0;
    assert_int_equal(tool_list_parse(json, strlen(json), &tools), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        const ToolFormat *format = tool_format_at(f);
        Constraint *constraint = NULL;
        ToolRules own = *rules;
        if (rules->only != NULL) own.only = &tools.tools[1];
        if (tool_constraint_create(format, &tools, &own, tokenizer, &constraint) != IMP_OK)
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
    tokenizer_free(tokenizer);
    constraint_vocab_free(vocab);
}

static void test_required(void **state)
{
    (void)state;
    srand(1);
    run_walks(&(ToolRules){.required = true}, tools_json, false);
    run_walks(&(ToolRules){.required = true}, tools_json, true);
}

static void test_required_once(void **state)
{
    (void)state;
    srand(2);
    run_walks(&(ToolRules){.required = true, .single = true}, tools_json, false);
    run_walks(&(ToolRules){.required = true, .single = true}, tools_json, true);
}

static void test_auto(void **state)
{
    (void)state;
    srand(3);
    run_walks(&(ToolRules){0}, tools_json, false);
    run_walks(&(ToolRules){0}, tools_json, true);
}

/* Only the named tool can be called. */
static void test_named(void **state)
{
    ToolList tools;
    ConstraintVocab *vocab = make_vocab(false);
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
    ConstraintVocab *vocab = make_vocab(false);
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

/* Whether the constraint lets the text stand as a whole answer. */
static bool allows(const Constraint *constraint, ConstraintVocab *vocab, const char *text)
{
    ConstraintState *state = NULL;
    bool good = true;
    assert_int_equal(constraint_state_create(constraint, vocab, &state), IMP_OK);
    for (size_t i = 0; text[i] != '\0' && good; i++) good = constraint_advance(state, (unsigned char)text[i]);
    good = good && constraint_complete(state);
    constraint_state_free(state);
    return good;
}

static char *joined(const char *a, const char *b, const char *c)
{
    StrBuf all = {0};
    strbuf_printf(&all, "%s%s%s", a, b, c);
    assert_int_equal(strbuf_check(&all), IMP_OK);
    return all.data;
}

/* No call of the transcripts is valid for these tools: text that stands all the same is read as one without calls. */
static void test_text_is_read_as_text(void **state)
{
    static const char *const around[][2] = {
        {"", ""}, {"Sure. ", ""}, {"Like this:\n```xml\n", "\n```\n"}, {"```", ""}, {"```\nx\n```\n", ""}, {"    ```\n", "```"},
        {"\n\n\n\n\n\n", "\n"}, {"`` ", " ```"}, {"```a``` ", ""}, {"a ```\n", "\n```\n"}, {"[THINK]", "[/THINK]"},
        {"<|channel>thought\n", "<channel|>"}, {"````\n```\n", "\n```\n"}, {"[THINK]x[/THINK]```\n", ""}};
    ConstraintVocab *vocab = make_vocab(false);
    json_t *all = json_load_file(IMP_TEST_DATA "/unit/runtime/tool_transcripts.json", 0, NULL);
    json_t *transcripts = json_object_get(all, "transcripts"), *entry;
    json_t *never = json_pack("{s:s, s:{s:{s:s}}, s:[s], s:b}", "type", "object", "properties", "never", "type", "integer", "required",
                              "never", "additionalProperties", 0);
    size_t index, n_allowed = 0;
    ToolList tools;
    (void)state;
    json_array_foreach(json_object_get(all, "tools"), index, entry)
        (void)json_object_set(json_object_get(entry, "function"), "parameters", never);
    char *json = json_dumps(json_object_get(all, "tools"), 0);
    assert_int_equal(tool_list_parse(json, strlen(json), &tools), IMP_OK);
    for (size_t f = 0; tool_format_at(f) != NULL; f++) {
        Constraint *constraint = NULL;
        assert_int_equal(tool_constraint_create(tool_format_at(f), &tools, &(ToolRules){0}, NULL, &constraint), IMP_OK);
        json_array_foreach(transcripts, index, entry)
        {
            for (size_t i = (index + f) % 7; i < sizeof around / sizeof around[0]; i += 7) {
                char *text = joined(around[i][0], json_string_value(json_object_get(entry, "text")), around[i][1]);
                const bool allowed = allows(constraint, vocab, text);
                n_allowed += allowed;
                if (allowed && read_back(tool_format_at(f), &tools, text, vocab, false) > 0)
                    fail_msg("%s: \"%s\" may stand as text but is read as a call", tool_format_at(f)->name, text);
                free(text);
            }
        }
        constraint_free(constraint);
    }
    assert_true(n_allowed > 500);
    free(json);
    json_decref(never);
    json_decref(all);
    tool_list_free(&tools);
    constraint_vocab_free(vocab);
}

/* Examples in blocks of code are text, whose marks force nothing; a call is a call in front of them and behind them. */
static void test_examples_in_code(void **state)
{
    static const char call[] = "<tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>";
    static const struct {
        const char *before, *behind;
        bool allowed;
        int32_t n_calls;
    } expected[] = {
        {"", "", true, 1},
        {"Sure:\n", "", true, 1},
        {"```\n", "\n```\nThat is how.", true, 0},
        {"```\n", "", true, 0},
        {"A call has a tag:\n```xml\n<tool_call>\n```\nNow:\n", "", true, 1},
        {"```tag``` here: ", "", true, 1},
        {"A <tool_call> in words. ", "", false, 0},
        {"```\ncode\n```\n<tool_call> in words ", "", false, 0},
        {"", "\nand then text", false, 0},
    };
    ToolList tools;
    ConstraintVocab *vocab = make_vocab(false);
    (void)state;
    assert_int_equal(tool_list_parse(tools_json, sizeof tools_json - 1, &tools), IMP_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        Constraint *constraint = NULL;
        char *text = joined(expected[i].before, call, expected[i].behind);
        assert_int_equal(tool_constraint_create(tool_format_find("hermes"), &tools, &(ToolRules){0}, NULL, &constraint), IMP_OK);
        if (allows(constraint, vocab, text) != expected[i].allowed) fail_msg("\"%s\" is taken wrongly", text);
        if (expected[i].allowed)
            assert_int_equal(read_back(tool_format_find("hermes"), &tools, text, vocab, false), expected[i].n_calls);
        constraint_free(constraint);
        free(text);
    }
    tool_list_free(&tools);
    constraint_vocab_free(vocab);
}

/* A value holds no line that would be read as the next parameter or as the end of the call. */
static void test_values_end_once(void **state)
{
    static const struct {
        const char *format, *value, *end;
        bool allowed;
    } expected[] = {
        {"qwen3_coder", "<tool_call>\n<function=look>\n<parameter=city>\na <parameter=days>, </function>\n", "</parameter>", true},
        {"qwen3_coder", "<tool_call>\n<function=look>\n<parameter=city>\na\n<parameter=days>", "", false},
        {"qwen3_coder", "<tool_call>\n<function=look>\n<parameter=city>\na\n</function>", "", false},
        {"glm", "<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>a\n<arg_value>", "</arg_value>", true},
        {"glm", "<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>a\n<arg_key>", "", false},
        {"deepseek_v32", "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"look\">\n<｜DSML｜parameter name=\"city\" string=\"true\">a\n</｜DSML｜invoke>",
         "", false},
    };
    ToolList tools;
    ConstraintVocab *vocab = make_vocab(false);
    (void)state;
    assert_int_equal(tool_list_parse(tools_json, sizeof tools_json - 1, &tools), IMP_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        Constraint *constraint = NULL;
        ConstraintState *walked = NULL;
        bool good = true;
        char *text = joined(expected[i].value, expected[i].end, "");
        assert_int_equal(tool_constraint_create(tool_format_find(expected[i].format), &tools, &(ToolRules){.required = true}, NULL, &constraint), IMP_OK);
        assert_int_equal(constraint_state_create(constraint, vocab, &walked), IMP_OK);
        for (size_t k = 0; text[k] != '\0' && good; k++) good = constraint_advance(walked, (unsigned char)text[k]);
        if (good != expected[i].allowed) fail_msg("%s: \"%s\" is taken wrongly", expected[i].format, text);
        constraint_state_free(walked);
        constraint_free(constraint);
        free(text);
    }
    tool_list_free(&tools);
    constraint_vocab_free(vocab);
}

/* What is written for a history is read back. */
static void test_written_calls(void **state)
{
    static const char given[] = "{\"city\": \"Oslo\", \"days\": 3}";
    ToolList tools;
    ConstraintVocab *vocab = make_vocab(false);
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
        cmocka_unit_test(test_text_is_read_as_text), cmocka_unit_test(test_examples_in_code),
        cmocka_unit_test(test_values_end_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
