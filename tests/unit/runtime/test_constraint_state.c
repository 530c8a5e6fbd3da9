/* States: masks agree with what is accepted, roll-back, copies, forced text, end tokens, regular expressions, GBNF, the check line. */
#include "cmocka_all.h"
#include "runtime/constraint_vocab.h"

#include <stdlib.h>

enum { WORDS = (CONSTRAINT_TEST_TOKENS + 31) / 32 };

static bool allowed(const uint32_t *bits, int32_t token) { return (bits[token / 32] >> token % 32 & 1) != 0; }

static Constraint *compile(ImpStatus (*compiler)(const char *, size_t, Constraint **), const char *source)
{
    Constraint *constraint = NULL;
    if (compiler(source, strlen(source), &constraint) != IMP_OK) fail_msg("%s: %s", source, imp_last_error());
    return constraint;
}

static const char json_grammar[] =
    "# JSON without numbers\n"
    "root ::= object\n"
    "value ::= object | array | string | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::=\n  \"{\" ws ( string \":\" ws value (\",\" ws string \":\" ws value)* )? \"}\" ws\n"
    "array ::= \"[\" ws ( value (\",\" ws value)* )? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\" ws\n"
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";

typedef struct WalkCase {
    ImpStatus (*compiler)(const char *, size_t, Constraint **);
    const char *source;
} WalkCase;

static const WalkCase walks[] = {
    {constraint_compile_schema_text, "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
                                     "\"integer\",\"minimum\":0,\"maximum\":150}},\"required\":[\"name\",\"age\"],"
                                     "\"additionalProperties\":false}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\",\"\xc3\xa9\xe4\xb8\xad\",1.5]},"
                                     "\"minItems\":2,\"maxItems\":4,\"uniqueItems\":true}"},
    {constraint_compile_schema_text, "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"null\"},\"abc\":false,\"age\":{\"type\":"
                                     "\"boolean\"},\"a b\":true},\"patternProperties\":{\"^[a-h]+$\":{\"type\":\"integer\"}},"
                                     "\"additionalProperties\":false}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"enum\":["
                                     "\"red\",\"re\"]},\"age\":{\"type\":\"string\",\"pattern\":\"^[a-h]*$\"}},\"additionalProperties\":false}}"},
    {constraint_compile_schema_text, "{\"type\":\"object\",\"maxProperties\":3,\"additionalProperties\":{\"type\":\"boolean\"}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\",\"pattern\":\"^[a-h]{0,3}$\"}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"anyOf\":[{\"type\":\"string\",\"maxLength\":2},{\"type\":"
                                     "\"string\",\"minLength\":2,\"pattern\":\"^(ab|9)*$\"}]}}"},
    {constraint_compile_schema_text, "{\"type\":\"object\",\"patternProperties\":{\"^.*$\":{\"type\":\"string\",\"pattern\":\"^(?!.*ab)[a-z0-9]{2,5}$\"}},"
                                     "\"additionalProperties\":false}"},
    {constraint_compile_schema_text, "{\"type\":\"string\",\"not\":{\"pattern\":\"abc|hel|9a\"},\"minLength\":1,\"maxLength\":9}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{"
                                     "\"b\":{\"enum\":[\"a\",\"ab\",1]},\"ab\":{\"enum\":[1,2]}},\"additionalProperties\":false,\"required\":"
                                     "[\"b\"]},{\"const\":{\"hello\":1}}]}}"},
    {constraint_compile_schema_text, "{\"uniqueItems\":true}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":[\"number\",\"array\"],\"items\":{\"type\":"
                                     "\"integer\",\"minimum\":-2,\"maximum\":120}}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":9,\"items\":{\"type\":\"object\",\"properties\":{\"ab\":"
                                     "{\"type\":\"integer\",\"minimum\":1,\"maximum\":3},\"a\":{\"enum\":[\"a\",\"ab\",1]}},"
                                     "\"additionalProperties\":false,\"required\":[\"a\",\"ab\"]}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":"
                                     "[10,1,0,100,\"ab\"]}},\"contains\":{\"const\":[]}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"contains\":{\"const\":[]},\"maxItems\":2,\"uniqueItems\":true}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"anyOf\":[{\"const\":{}},{\"properties\":{\"b\":false},"
                                     "\"enum\":[{},{\"a\":1}]},{\"minProperties\":0,\"enum\":[{\"a\":1.0},{}]}]}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"array\",\"prefixItems\":[{\"type\":\"object\"}],"
                                     "\"items\":false,\"contains\":{\"type\":\"object\"},\"maxContains\":1}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-d]{1,2}$\"},"
                                     "\"minProperties\":2}}"},
    {constraint_compile_schema_text, "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"}},"
                                     "\"patternProperties\":{\"^x\":{\"type\":\"string\"}},\"unevaluatedProperties\":{\"type\":\"object\"}}}"},
    {constraint_compile_regex, "(ab|[\\w]{2,4}\xc3\xa9)+|12{1,3}\\.5"},
    {constraint_compile_grammar, json_grammar},
};

/* One of the tokens; those that are made of marks, digits and few letters are taken twice as often, so that values repeat. */
static int32_t choose(const int32_t *choices, int32_t n, unsigned *seed)
{
    int32_t choice = 0;
    for (int try = 0; try < 3; try++) {
        choice = choices[(size_t)rand_r(seed) % (size_t)n];
        if (choice >= 256 || strchr("[]{},:\"012eEabxy", choice) != NULL) break;
    }
    return choice;
}

/* At every step of random texts each token is in the mask exactly when it is accepted, and no text gets stuck. Texts of one schema share
 * masks, so none may have been left there by a state that differs. */
static void test_masks_agree_with_acceptance(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof walks / sizeof walks[0]; i++) {
        Constraint *constraint = compile(walks[i].compiler, walks[i].source);
        for (int round = 0; round < 60; round++) {
            ConstraintState *text = NULL;
            assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
            for (int step = 0; step < 40; step++) {
                uint32_t bits[WORDS];
                int32_t choices[CONSTRAINT_TEST_TOKENS];
                int32_t n = 0;
                assert_int_equal(constraint_mask(text, bits), IMP_OK);
                for (int32_t token = 0; token < CONSTRAINT_TEST_TOKENS; token++) {
                    const bool taken = constraint_advance(text, token);
                    if (taken) constraint_rollback(text, 1);
                    if (taken != allowed(bits, token)) fail_msg("walk %zu: token %d", i, (int)token);
                    if (taken) choices[n++] = token;
                }
                assert_int_equal(allowed(bits, CONSTRAINT_TEST_END), constraint_complete(text));
                if (n == 0) fail_msg("walk %zu: stuck after %zu tokens", i, constraint_length(text));
                const int32_t choice = choose(choices, n, &seed);
                assert_true(constraint_advance(text, choice));
                if (choice == CONSTRAINT_TEST_END) break;
            }
            constraint_state_free(text);
        }
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

static void advance_text(ConstraintState *state, const char *text)
{
    for (; *text != '\0'; text++) assert_true(constraint_advance(state, (unsigned char)*text));
}

/* Texts of one schema share masks: what one leaves behind must hold for the next. 70 and 1E2 are other numbers to come than 100. */
static void test_texts_share_masks(void **state)
{
    (void)state;
    static const char *const texts[] = {"[70,450,7", "[1E2,450,7", "[70,450,1", "[1E2,450,1", "[[70],[", "[[1E2],[", "[{\"a\":70},{\"a\":",
                                        "[{\"a\":1E2},{\"a\":"};
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_schema_text, "{\"uniqueItems\":true}");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ConstraintState *text = NULL;
        assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
        advance_text(text, texts[i]);
        for (int more = 0; more < 3; more++) {
            uint32_t bits[WORDS];
            assert_int_equal(constraint_mask(text, bits), IMP_OK);
            for (int32_t token = 0; token < CONSTRAINT_TEST_END; token++) {
                const bool taken = constraint_advance(text, token);
                if (taken) constraint_rollback(text, 1);
                if (taken != allowed(bits, token)) fail_msg("%s and %d more: token %d", texts[i], more, (int)token);
            }
            if (!constraint_advance(text, '0')) break;
        }
        constraint_state_free(text);
    }
    assert_true(constraint_takes(constraint, vocab, "[{\"a\":70},{\"a\":1E2}]", 20));
    assert_true(constraint_takes(constraint, vocab, "[[70],[1E2]]", 12));
    assert_false(constraint_takes(constraint, vocab, "[[100],[1E2]]", 13));
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

/* Making a mask tries tokens that go on far behind the object being read; its keys are still known afterwards. */
static void test_masks_leave_no_trace(void **state)
{
    (void)state;
    static const char *const texts[] = {"[{\"ab\":\"", "[{\"ab\":{\"x\":1},\"b\":\"", "[{\"ab\":1},{\"x\":1,\"ab\":\""};
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_schema_text, "{\"type\":\"array\"}");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ConstraintState *text = NULL;
        uint32_t bits[WORDS];
        assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
        for (const char *c = texts[i]; *c != '\0'; c++) {
            assert_true(constraint_advance(text, (unsigned char)*c));
            assert_int_equal(constraint_mask(text, bits), IMP_OK);
        }
        advance_text(text, "\",\"ab");
        if (constraint_advance(text, '"')) fail_msg("%s: the key came twice", texts[i]);
        constraint_state_free(text);
    }
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

/* Items of few values, one behind the other, until none is left: at each byte some way on is in the mask. */
static void test_all_values_once(void **state)
{
    (void)state;
    static const char *const items[] = {
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":45}},\"required\":[\"a\"],\"additionalProperties\":"
        "false}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":23},\"ab\":{\"type\":\"boolean\"}},"
        "\"required\":[\"a\",\"ab\"],\"additionalProperties\":false}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-h]{2}$\"},\"minItems\":1,\"maxItems\":1}",
        "{\"type\":\"array\",\"prefixItems\":[{\"enum\":[\"ab\",\"abc\",\"b\",\"ba\",1,10,100]},{\"type\":\"integer\",\"minimum\":5,\"maximum\":11}],"
        "\"items\":false,\"minItems\":2}",
    };
    ConstraintVocab *vocab = constraint_test_vocab();
    unsigned seed = 3;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char schema[512];
        (void)snprintf(schema, sizeof schema, "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":45,\"items\":%s}", items[i]);
        Constraint *constraint = compile(constraint_compile_schema_text, schema);
        for (int round = 0; round < 4; round++) {
            ConstraintState *text = NULL;
            assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
            for (int step = 0; step < 2500 && !constraint_finished(text); step++) {
                uint32_t bits[WORDS];
                int32_t choices[CONSTRAINT_TEST_TOKENS];
                int32_t n = 0;
                assert_int_equal(constraint_mask(text, bits), IMP_OK);
                for (int32_t token = 0; token < CONSTRAINT_TEST_END; token++) {
                    if (allowed(bits, token) && (token >= 256 || strchr(" \t\r\n", token) == NULL)) choices[n++] = token;
                }
                if (n == 0) fail_msg("items %zu: stuck after %zu tokens", i, constraint_length(text));
                assert_true(constraint_advance(text, choose(choices, n, &seed)));
            }
            constraint_state_free(text);
        }
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

static void test_rollback_and_copy(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_schema_text, walks[0].source);
    ConstraintState *text = NULL;
    ConstraintState *copy = NULL;
    uint32_t before[WORDS];
    uint32_t after[WORDS];
    assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
    advance_text(text, "{\"name\":\"x");
    assert_int_equal(constraint_mask(text, before), IMP_OK);
    advance_text(text, "yz\",\"age\":15");
    assert_int_equal(constraint_length(text), 22);
    assert_int_equal(constraint_state_copy(text, &copy), IMP_OK);
    constraint_rollback(text, 12);
    assert_int_equal(constraint_mask(text, after), IMP_OK);
    assert_memory_equal(before, after, sizeof before);
    /* The copy goes its own way. */
    advance_text(text, "\",\"age\":7}");
    assert_true(constraint_complete(text));
    advance_text(copy, "0}");
    assert_true(constraint_complete(copy));
    constraint_rollback(text, 1000);
    assert_int_equal(constraint_length(text), 0);
    advance_text(text, "{");
    constraint_state_free(text);
    constraint_state_free(copy);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

/* The longest numbers: no point follows that nothing could follow. */
static void test_longest_numbers(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    static const char *const schemas[] = {"{\"type\":\"number\"}", "{\"type\":\"integer\",\"minimum\":1}"};
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        Constraint *constraint = compile(constraint_compile_schema_text, schemas[i]);
        ConstraintState *text = NULL;
        assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
        for (int n = 0; n < 36; n++) assert_true(constraint_advance(text, '1'));
        assert_false(constraint_advance(text, '.'));
        for (int n = 36; n < 40; n++) assert_true(constraint_advance(text, '1'));
        assert_false(constraint_advance(text, '1'));
        assert_false(constraint_advance(text, 'e'));
        assert_true(constraint_complete(text));
        constraint_rollback(text, 5);
        advance_text(text, ".0");
        assert_true(constraint_complete(text));
        constraint_state_free(text);
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

static void test_end_tokens(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_regex, "ab?");
    ConstraintState *text = NULL;
    uint32_t bits[WORDS];
    assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
    assert_false(constraint_advance(text, CONSTRAINT_TEST_END));
    advance_text(text, "a");
    assert_false(constraint_finished(text));
    advance_text(text, "b");
    assert_true(constraint_finished(text));
    assert_true(constraint_advance(text, CONSTRAINT_TEST_END));
    assert_false(constraint_advance(text, 'a'));
    assert_int_equal(constraint_mask(text, bits), IMP_OK);
    for (size_t w = 0; w < WORDS; w++) assert_int_equal(bits[w], 0);
    constraint_rollback(text, 2);
    advance_text(text, "b");
    assert_false(constraint_advance(text, -1));
    assert_false(constraint_advance(text, CONSTRAINT_TEST_TOKENS));
    constraint_state_free(text);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

typedef struct ForcedCase {
    ImpStatus (*compiler)(const char *, size_t, Constraint **);
    const char *source, *text, *forced;
    size_t n_tokens; /* that are taken: not the last where a longer one may stand in its place */
} ForcedCase;

static const ForcedCase forced_cases[] = {
    {constraint_compile_schema_text, "{\"enum\":[\"green\",\"grey\"]}", "\"gr", "e", 1},
    {constraint_compile_schema_text, "{\"enum\":[\"green\",\"grey\"]}", "\"gree", "n\"", 2},
    {constraint_compile_schema_text, "{\"type\":\"object\",\"properties\":{\"name\":{}},\"additionalProperties\":false}", "{\"", "name\"", 1},
    {constraint_compile_schema_text, "{\"type\":\"boolean\"}", "t", "rue", 3},
    {constraint_compile_schema_text, "{\"type\":\"string\"}", "\"a", "", 0},
    {constraint_compile_regex, "hello( world)?", "he", "llo", 3},
    {constraint_compile_grammar, "root ::= \"ab\" (\"cd\" | \"ce\")", "", "abc", 1},
};

static void test_forced_text(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    for (size_t i = 0; i < sizeof forced_cases / sizeof forced_cases[0]; i++) {
        Constraint *constraint = compile(forced_cases[i].compiler, forced_cases[i].source);
        ConstraintState *text = NULL;
        char bytes[64];
        int32_t tokens[64];
        assert_int_equal(constraint_state_create(constraint, vocab, &text), IMP_OK);
        advance_text(text, forced_cases[i].text);
        const size_t n = constraint_forced_bytes(text, bytes, sizeof bytes);
        assert_int_equal(n, strlen(forced_cases[i].forced));
        assert_memory_equal(bytes, forced_cases[i].forced, n);
        const size_t n_tokens = constraint_forced_tokens(text, tokens, 64);
        assert_int_equal(n_tokens, forced_cases[i].n_tokens);
        for (size_t k = 0; k < n_tokens; k++) assert_true(constraint_advance(text, tokens[k]));
        assert_int_equal(constraint_length(text), strlen(forced_cases[i].text) + n_tokens);
        constraint_state_free(text);
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

/* Any usual spacing, and no more: a model could go on with it forever. */
static void test_spacing(void **state)
{
    static const char *const taken[] = {
        "{\"a\":[1,2]}", "{ \"a\" : [ 1 , 2 ] }", " {\"a\": [1, 2]}\n", "{\r\n\t\"a\": [\r\n\t\t1,\r\n\t\t2\r\n\t]\r\n}",
        "{\n        \"a\": [\n                1,\n\n                2\n        ]\n}", "{\"a\":          [1\n    ,2]}"};
    static const char *const refused[] = {"{\"a\"  :[1]}", "{\n\n\n\"a\":[1]}", "{\"a\":[1]\f}",
                                          "{                                        \"a\":[1]}"};
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_schema_text, "{\"properties\":{\"a\":{\"type\":\"array\"}}}");
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (!constraint_takes(constraint, vocab, taken[i], strlen(taken[i]))) fail_msg("refused: %s", taken[i]);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (constraint_takes(constraint, vocab, refused[i], strlen(refused[i]))) fail_msg("taken: %s", refused[i]);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

/* What items that must differ have to be compared with makes the tape grow in the middle of a step. */
static void test_many_items_that_differ(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = compile(constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":"
                                                                     "{\"enum\":[1,2,3,\"a\",null,[1]],\"type\":[\"integer\",\"string\"]}}");
    Constraint *numbers = compile(constraint_compile_schema_text, "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":900,\"items\":"
                                                                  "{\"type\":\"integer\",\"minimum\":0,\"maximum\":999}}");
    assert_true(constraint_takes(constraint, vocab, "[3,\"a\",1,2]", 11));
    assert_false(constraint_takes(constraint, vocab, "[3,\"a\",1,2,", 11));
    StrBuf text = {0};
    for (int i = 0; i < 950; i++) strbuf_printf(&text, "%c%d", i == 0 ? '[' : ',', i * 7 % 1000);
    assert_false(constraint_takes(numbers, vocab, text.data, text.length));
    strbuf_puts(&text, "]");
    assert_true(constraint_takes(numbers, vocab, text.data, text.length));
    strbuf_free(&text);
    constraint_free(numbers);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

typedef struct TextCase {
    const char *source;
    const char *accepted[6];
    const char *refused[6];
} TextCase;

static const TextCase patterns[] = {
    {"^a+$", {"a", "aaa"}, {"", "ab", "a\n"}},
    {"a|bc*", {"a", "b", "bccc"}, {"ac", ""}},
    {"(?!0)[0-9]{1,3}(?:\\.[0-9]+)?", {"1", "99.5"}, {"0", "01", "1.", "1234"}},
    {"[^\\W\\d_]{2}", {"ab", "\xc3\xa9\xe4\xb8\xad"}, {"a1", "_a", "a"}},
    {"(?i)Yes|no", {"YES", "No"}, {"y"}},
    {"\\p{Lu}\\p{Script=Greek}", {"A\xce\xb1"}, {"a\xce\xb1", "Aa"}},
    {"\\u00e9\\x41\\/\\.", {"\xc3\xa9"
                            "A/."},
     {"\xc3\xa9"
      "Ax."}},
    {"a{2,}b{0}c{,2}", {"aa", "aaacc"}, {"a", "aab", "aaccc"}},
    {"(?:(?!--)[a-z-])+", {"a-b", "a-"}, {"a--b", "--"}},
    {"(?=^[a-z0-9.]{3,6}$)(?!^[0-9]+$)[a-z0-9]+(?:\\.[a-z0-9]+)*", {"a1.b", "12a"}, {"123", "ab", "a..b", "abcdefg"}},
    {"[a-z-]+(?<!-)", {"a-b"}, {"a-", "-"}},
    {"\\bone\\b.*\\B!", {"one !", "one  !"}, {"onex!", "one", "one a!"}},
    {"[a-z]([a-z-]{0,12}[a-z])?", {"nf", "n", "n-f", "abcdefghijklmn"}, {"n-", "", "abcdefghijklmno"}},
    {"(?:a(?=b)|b(?!b))*c", {"c", "abc", "ababc"}, {"aabc", "abbc", "ac"}},
};

static const TextCase grammars[] = {
    {json_grammar, {"{}", "{\"a\":[true,null ]}", "{\"\\u00e9\":\"\xe4\xb8\xad\"}"}, {"[]", "{\"a\"}", "{\"a\":1}"}},
    {"root ::= \"a\"{2,3} [x-z]? | . \"!\"\n", {"aa", "aaaz", "\xc3\xa9!"}, {"a", "aaaa", "!"}},
    {"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\"", {"1+(2+33)"}, {"1+", "()", "(1"}},
    {"root ::= a\na ::= \"x\" a \"y\" | endless | \"\"\nendless ::= \"z\" endless", {"", "xxyy"}, {"z", "xy y", "xxy"}},
    {"root ::= (\"a\"*)* \"b\"  # nested emptiness\n", {"b", "aaab"}, {"a"}},
    {"root ::=\n  one |\n  two\none ::= \"1\"\n\ntwo ::= \"2\"\n  | \"3\"", {"1", "2", "3"}, {"12"}},
};

static void check_texts(ImpStatus (*compiler)(const char *, size_t, Constraint **), const TextCase *texts, size_t n)
{
    ConstraintVocab *vocab = constraint_test_vocab();
    for (size_t i = 0; i < n; i++) {
        Constraint *constraint = compile(compiler, texts[i].source);
        for (size_t k = 0; k < 6 && texts[i].accepted[k] != NULL; k++) {
            const char *text = texts[i].accepted[k];
            if (!constraint_takes(constraint, vocab, text, strlen(text))) fail_msg("%s loses %s", texts[i].source, text);
        }
        for (size_t k = 0; k < 6 && texts[i].refused[k] != NULL; k++) {
            const char *text = texts[i].refused[k];
            if (constraint_takes(constraint, vocab, text, strlen(text))) fail_msg("%s takes %s", texts[i].source, text);
        }
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

static void test_patterns(void **state)
{
    (void)state;
    check_texts(constraint_compile_regex, patterns, sizeof patterns / sizeof patterns[0]);
}

static void test_grammars(void **state)
{
    (void)state;
    check_texts(constraint_compile_grammar, grammars, sizeof grammars / sizeof grammars[0]);
}

typedef struct RefusedSource {
    ImpStatus (*compiler)(const char *, size_t, Constraint **);
    const char *source;
    ImpStatus status;
    const char *words;
} RefusedSource;

static const RefusedSource refused_sources[] = {
    {constraint_compile_regex, "a(", IMP_ERR_FORMAT, "not closed"},
    {constraint_compile_regex, "(a)\\1", IMP_ERR_UNSUPPORTED, "back-references"},
    {constraint_compile_regex, "(((a{1,100}){1,100}){1,100}){1,100}", IMP_ERR_LIMIT, "too large"},
    {constraint_compile_regex, "(.*a.{20}){3}", IMP_ERR_LIMIT, "pattern"},
    {constraint_compile_regex, "a$b", IMP_ERR_FORMAT, "no text"},
    {constraint_compile_grammar, "root ::= root \"a\" | \"b\"", IMP_ERR_UNSUPPORTED, "left recursion"},
    {constraint_compile_grammar, "root ::= a\na ::= b \"x\" | \"y\"\nb ::= c? a", IMP_ERR_UNSUPPORTED, "not defined"},
    {constraint_compile_grammar, "root ::= \"a\" root", IMP_ERR_FORMAT, "no text"},
    {constraint_compile_grammar, "root ::= [a", IMP_ERR_FORMAT, "line 1"},
    {constraint_compile_grammar, "root ::= \"a\"\nb := \"c\"", IMP_ERR_FORMAT, "line 2"},
    {constraint_compile_grammar, "root ::= (\"a\"{1000}){1000}{1000}", IMP_ERR_FORMAT, "grammar"},
};

static void test_refusals_say_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_sources / sizeof refused_sources[0]; i++) {
        const RefusedSource *source = &refused_sources[i];
        Constraint *constraint = NULL;
        const ImpStatus status = source->compiler(source->source, strlen(source->source), &constraint);
        if (status == IMP_OK || strstr(imp_last_error(), source->words) == NULL)
            fail_msg("%s: status %d, %s", source->source, (int)status, imp_last_error());
    }
}

static void test_check_line(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    static const struct {
        const char *line;
        bool accepted;
        int at;
        bool error;
    } lines[] = {
        {"{\"schema\":{\"type\":\"integer\"},\"text\":\"123\"}", true, 3, false},
        {"{\"schema\":\"{\\\"maximum\\\": 5}\",\"text\":\"12\"}", false, 1, false},
        {"{\"json\":true,\"text\":\"{\\\"name\\\": [1\"}", false, 11, false},
        {"{\"regex\":\"ab\",\"text\":\"ab\"}", true, 2, false},
        {"{\"grammar\":\"root ::= \\\"a\\\"\",\"text\":\"b\"}", false, 0, false},
        {"{\"schema\":{\"type\":\"x\"},\"text\":\"1\"}", false, 0, true},
        {"{\"schema\":{\"minimum\":18446744073709551615},\"text\":\"18446744073709551615\"}", true, 20, false},
        {"{\"schema\":{\"minimum\":18446744073709551615},\"text\":\"18446744073709551614\"}", false, 20, false},
        {"{\"schema\":null,\"regex\":\"ab\",\"text\":\"ab\"}", true, 2, false},
        {"{\"schema\":true,\"regex\":\"ab\",\"text\":\"ab\"}", false, 0, true},
        {"{\"regex\":1,\"text\":\"1\"}", false, 0, true},
        {"{\"json\":false,\"text\":\"1\"}", false, 0, true},
        {"{\"text\":\"1\"}", false, 0, true},
        {"[", false, 0, true},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        StrBuf out = {0};
        assert_int_equal(constraint_check_line(NULL, vocab, lines[i].line, strlen(lines[i].line), &out), IMP_OK);
        json_t *result = json_loads(out.data, 0, NULL);
        assert_non_null(result);
        assert_int_equal(json_is_true(json_object_get(result, "accepted")), lines[i].accepted);
        assert_int_equal(json_integer_value(json_object_get(result, "at")), lines[i].at);
        assert_int_equal(json_is_string(json_object_get(result, "error")), lines[i].error);
        assert_int_equal(json_array_size(json_object_get(result, "mask_us")), 3);
        json_decref(result);
        strbuf_free(&out);
    }
    constraint_vocab_free(vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_agree_with_acceptance),
        cmocka_unit_test(test_texts_share_masks),
        cmocka_unit_test(test_masks_leave_no_trace),
        cmocka_unit_test(test_all_values_once),
        cmocka_unit_test(test_rollback_and_copy),
        cmocka_unit_test(test_longest_numbers),
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_forced_text),
        cmocka_unit_test(test_spacing),
        cmocka_unit_test(test_many_items_that_differ),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_grammars),
        cmocka_unit_test(test_refusals_say_why),
        cmocka_unit_test(test_check_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
