/*
 * test_patterns.c - the matchers written by hand against the regular expressions that they stand for, the reading of
 * Oniguruma's syntax, the ways to split, and the repair of UTF-8.
 */
#include "cmocka_all.h"

#include "text/tokenizer/pre_names.h"
#include "text/tokenizer/pretokenizer.h"
#include "text/tokenizer/regex.h"
#include "text/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct Tools {
    Arena arena;
    PatternCompiler compiler;
} Tools;

static int set_up(void **state)
{
    Tools *tools = calloc(1, sizeof *tools);
    if (tools == NULL || unicode_table_create(&tools->arena, &tools->compiler.unicode) != IMP_OK) return -1;
    *state = tools;
    return 0;
}

static int tear_down(void **state)
{
    Tools *tools = *state;
    category_cache_free(&tools->compiler.categories);
    arena_free(&tools->arena);
    free(tools);
    return 0;
}

/* Characters of every kind that the patterns tell apart, often in runs. */
static size_t random_text(char *text, size_t capacity)
{
    static const char *const units[] = {"a",
                                        "Z",
                                        "s",
                                        "'",
                                        "'s",
                                        "'LL",
                                        "\xC5\xBF",
                                        "1",
                                        "23",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\r\n",
                                        "\t",
                                        "\xC2\xA0",
                                        "/",
                                        "-",
                                        "!!",
                                        "_",
                                        "\xC3\xA9",
                                        "\xC3\x89",
                                        "\xCC\x81",
                                        "\xE4\xB8\xAD",
                                        "\xE3\x81\x82",
                                        "\xE3\x80\x85",
                                        "\xE0\xB8\x81",
                                        "\xE0\xB8\xB3",
                                        "\xD9\xA1",
                                        "\xC2\xBD",
                                        "\xE2\x85\xA7",
                                        "\xF0\x9F\x98\x80",
                                        "\xE2\x80\x8D",
                                        "\xEF\xBB\xBF",
                                        "\xE2\x80\xA8",
                                        "\xC7\x85",
                                        "\xCA\xB0",
                                        "\xEE\x80\x80",
                                        "\xF0\x90\xB5\x8A",
                                        "\xE1\x82\xA0",
                                        "\x01",
                                        "$",
                                        "\xE2\x82\xAC"};
    const int count = rand() % 24;
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        const char *unit = units[(size_t)rand() % (sizeof units / sizeof units[0])];
        for (int n = rand() % 4 == 0 ? rand() % 5 : 1; n > 0 && length + strlen(unit) < capacity; n--) {
            memcpy(text + length, unit, strlen(unit));
            length += strlen(unit);
        }
    }
    return length;
}

static void hand_written_matchers_agree_with_the_patterns(void **state)
{
    Tools *tools = *state;
    size_t n_rules = 0;
    for (const WordRules *rules; (rules = word_rules_at(n_rules)) != NULL; n_rules++) {
        const char *source = word_rules_pattern(rules);
        assert_ptr_equal(word_rules_find(source, strlen(source)), rules);
        Pattern by_hand = {.kind = PATTERN_WORDS, .unicode = tools->compiler.unicode, .rules = rules};
        Pattern general = {.kind = PATTERN_REGEX};
        assert_int_equal(regex_compile(&tools->compiler, source, strlen(source), &general.regex), IMP_OK);
        RegexScratch *scratch = NULL;
        srand(3);
        for (int round = 0; round < 20000; round++) {
            char text[256];
            const size_t length = random_text(text, sizeof text);
            PatternWalk walks[2] = {{0}, {0}};
            for (bool more = true; more;) {
                bool found;
                size_t start[2] = {0, 0}, end[2] = {0, 0};
                assert_int_equal(pattern_next(&by_hand, &scratch, text, length, &walks[0], &more, &start[0], &end[0]),
                                 IMP_OK);
                assert_int_equal(pattern_next(&general, &scratch, text, length, &walks[1], &found, &start[1], &end[1]),
                                 IMP_OK);
                if (found != more || start[0] != start[1] || end[0] != end[1])
                    print_error("\"%.*s\" with %s\n", (int)length, text, source);
                assert_int_equal(found, more);
                assert_int_equal(start[0], start[1]);
                assert_int_equal(end[0], end[1]);
            }
        }
        regex_scratch_free(scratch);
        pattern_free(&general);
    }
    assert_true(n_rules >= 8);
}

/* All matches of a pattern, each between bars. */
static void expect_matches(Tools *tools, const char *source, const char *text, const char *expected)
{
    Pattern pattern;
    RegexScratch *scratch = NULL;
    StrBuf out = {0};
    const ImpStatus status = pattern_regex(&tools->compiler, source, strlen(source), &pattern);
    if (status != IMP_OK) print_error("%s\n", imp_last_error());
    assert_int_equal(status, IMP_OK);
    PatternWalk walk = {0};
    for (bool found = true; found;) {
        size_t start, end;
        assert_int_equal(pattern_next(&pattern, &scratch, text, strlen(text), &walk, &found, &start, &end), IMP_OK);
        if (found) strbuf_printf(&out, "%.*s|", (int)(end - start), text + start);
    }
    assert_int_equal(strbuf_check(&out), IMP_OK);
    if (strcmp(out.data, expected) != 0) print_error("%s on \"%s\"\n", source, text);
    assert_string_equal(out.data, expected);
    strbuf_free(&out);
    regex_scratch_free(scratch);
    pattern_free(&pattern);
}

/* What Oniguruma gave for each. */
static void patterns_read_as_oniguruma_reads_them(void **state)
{
    Tools *tools = *state;
    expect_matches(tools, "^a", "a\na", "a|a|");
    expect_matches(tools, "a$", "a\na", "a|a|");
    expect_matches(tools, ".+", "a\nb", "a|b|");
    expect_matches(tools, "(?m).+", "a\nb", "a\nb|");
    expect_matches(tools, "\\p{N}{1,3}+", "1234567", "1234567|");
    expect_matches(tools, "a{,2}b", "aaab", "aab|");
    expect_matches(tools, "a++b", "aaab", "aaab|");
    expect_matches(tools, "[\\p{L}&&[^\\p{Han}]]+",
                   "ab\xE6\xBC\xA2"
                   "c",
                   "ab|c|");
    expect_matches(tools, "[a-z[0-9]]+", "a1B2c", "a1|2c|");
    expect_matches(tools, "[^\\S\\n]+", " \n\t", " |\t|");
    expect_matches(tools, "\\h+", "agf0", "a|f0|");
    expect_matches(tools, "\\v", "a\vb\n", "\v|");
    expect_matches(tools, "\\u00e9|\\x{4e2d}", "\xC3\xA9\xE4\xB8\xAD", "\xC3\xA9|\xE4\xB8\xAD|");
    expect_matches(tools, "\\p{^L}|\\P{L}", "a1", "1|");
    expect_matches(tools, "[\\d\\-a]+", "1-a", "1-a|");
    expect_matches(tools, "(?i:'s|'t)", "it'\xC5\xBF don'T", "'\xC5\xBF|'T|");
    expect_matches(tools, "\\w+",
                   "a\xC2\xBD"
                   "b",
                   "a\xC2\xBD"
                   "b|"); /* of the two \w, only the one outside of classes has it */
    expect_matches(tools, "[\\w]+",
                   "a\xC2\xBD"
                   "b",
                   "a|b|");
    expect_matches(tools, "[^\\w\\s]+",
                   "|\xC2\xBD"
                   "b",
                   "|\xC2\xBD|");
    expect_matches(tools, "\\b\\w+\\b", "ab \xE0\xA4\x95\xE0\xA5\x8D\xC2\xBD", "ab|\xE0\xA4\x95\xE0\xA5\x8D\xC2\xBD|");
    expect_matches(tools, "\\B.", "ab", "b|");
    expect_matches(tools, "x*", "axb", "|x||");
    expect_matches(tools, "[^\\s\\p{L}]", "a \xF0\x90\xB5\x8A!", "!|"); /* U+10D4A is a letter since Unicode 16 */
    expect_matches(tools, "\\s+",
                   "a\xE1\xA0\x8E"
                   "b\xC2\x85",
                   "\xC2\x85|"); /* U+180E is no space */
}

static ImpStatus collect(void *user, const char *word, size_t length)
{
    strbuf_printf(user, "%.*s|", (int)length, word);
    return IMP_OK;
}

static void splits_behave_as_named(void **state)
{
    Tools *tools = *state;
    static const struct {
        SplitBehavior behavior;
        bool invert;
        const char *expected;
    } cases[] = {
        {SPLIT_REMOVED, false, "the|final|countdown|"},
        {SPLIT_ISOLATED, false, "the|-|final|-|-|countdown|"},
        {SPLIT_MERGED_WITH_PREVIOUS, false, "the-|final-|-|countdown|"},
        {SPLIT_MERGED_WITH_NEXT, false, "the|-final|-|-countdown|"},
        {SPLIT_CONTIGUOUS, false, "the|-|final|--|countdown|"},
        {SPLIT_REMOVED, true, "-|-|-|"},
        {SPLIT_MERGED_WITH_PREVIOUS, true, "the|-final|-|-countdown|"},
        {SPLIT_CONTIGUOUS, true, "the|-|final|--|countdown|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PreTokenizer pre = {.count = 0};
        PreScratch scratch = {0};
        StrBuf out = {0};
        PreStep *step = pre_add_step(&pre, PRE_SPLIT);
        assert_non_null(step);
        assert_int_equal(pattern_literal(&tools->arena, "-", 1, &step->pattern), IMP_OK);
        step->behavior = cases[i].behavior;
        step->invert = cases[i].invert;
        assert_int_equal(pretokenize(&pre, &scratch, (Piece){"the-final--countdown", 20, true}, collect, &out), IMP_OK);
        assert_string_equal(out.data, cases[i].expected);
        strbuf_free(&out);
        pre_scratch_free(&scratch);
        pretokenizer_free(&pre);
    }
}

static void named_pre_tokenizers_split(void **state)
{
    Tools *tools = *state;
    static const struct {
        const char *name, *text, *expected;
    } cases[] = {
        {"gpt-2", "I'm 1234 \n\n ok", "I|'m| 1234| \n\n| ok|"},
        {"smollm", "it's 123", "it|'s| |1|2|3|"},
        {"llama-bpe", "DON'T 12345 x\n\n y", "DON|'T| |123|45| x|\n\n| y|"},
        {"qwen2", "a12!?\n", "a|1|2|!?\n|"},
        {"gpt-4o", "camelCase HTTPServer's 1234", "camel|Case| HTTPServer's| |123|4|"},
        {"tekken", "Ab12", "Ab|1|2|"},
        {"deepseek-v3", "x=1 ok .net", "x|=|1| ok| .|net|"},
        {"deepseek-llm", "ab 12,", "ab| |12|,|"},
        {"deepseek-coder", "ab 12,", "ab| |1|2|,|"},
        {"kimi-k2",
         "ab\xE4\xB8\xAD\xE5\x9B\xBD"
         "cd",
         "ab|\xE4\xB8\xAD\xE5\x9B\xBD|cd|"},
        {"falcon", "a..b 1234", "a|..|b|\xC4\xA0|123|4|"},
        {"bloom", "a, b", "a|,| b|"},
        {"superbpe", "1234567", "1|234|567|"},
        {"jais-2", "a   b", "a|  | b|"},
        {"exaone-moe", "ab cd 1", "ab cd| |1|"},
        {"chameleon", "a1.b", "a|1|.|b|"},
        {"seed-coder", "a.\nb", "a|.|\n|b|"},
        {"bailingmoe", "I've 12", "I|'ve| |1|2|"},
        {"tiny_aya", "1234567", "1|234|567|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const PreRecipe *recipe = pre_recipe_find(cases[i].name, strlen(cases[i].name));
        assert_non_null(recipe);
        PreTokenizer pre = {.count = 0};
        PreScratch scratch = {0};
        StrBuf out = {0};
        const ImpStatus status = pre_recipe_apply(recipe, &tools->compiler, &pre);
        if (status != IMP_OK) print_error("%s: %s\n", cases[i].name, imp_last_error());
        assert_int_equal(status, IMP_OK);
        assert_int_equal(
            pretokenize(&pre, &scratch, (Piece){cases[i].text, strlen(cases[i].text), true}, collect, &out), IMP_OK);
        if (strcmp(out.data, cases[i].expected) != 0) print_error("%s\n", cases[i].name);
        assert_string_equal(out.data, cases[i].expected);
        strbuf_free(&out);
        pre_scratch_free(&scratch);
        pretokenizer_free(&pre);
    }
    assert_null(pre_recipe_find("nonsense", 8));
    assert_null(pre_recipe_find("gpt", 3));
    assert_null(pre_recipe_find("gpt-2 gpt2", 10));
}

static void ill_formed_text_is_repaired_as_python_does(void **state)
{
    (void)state;
    /* bytes.decode("utf-8", "replace"), with ? for U+FFFD */
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"abc", "abc"},
        {"\xFF", "?"},
        {"\x80\x80", "??"},
        {"a\xC3", "a?"},
        {"\xC3(", "?("},
        {"\xC0\xAF", "??"},
        {"\xE0\x80\x80", "???"},
        {"\xE4\xB8", "?"},
        {"\xE4\xB8x", "?x"},
        {"\xED\xA0\x80", "???"},
        {"\xF0\x9F\x98", "?"},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", "?\xF0\x9F\x98\x80"},
        {"\xF4\x90\x80\x80", "????"},
        {"\xF5\x80", "??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        StrBuf out = {0}, expected = {0};
        utf8_repair(cases[i].text, strlen(cases[i].text), &out);
        for (const char *c = cases[i].expected; *c != '\0'; c++) {
            if (*c == '?')
                strbuf_puts(&expected, "\xEF\xBF\xBD");
            else
                strbuf_putc(&expected, *c);
        }
        assert_string_equal(out.data, expected.data);
        strbuf_free(&out);
        strbuf_free(&expected);
    }
    assert_int_equal(utf8_bad_length("\xE4\xB8", 2, true), SIZE_MAX);
    assert_int_equal(utf8_bad_length("\xE4", 1, false), 1);
    assert_int_equal(utf8_bad_length("\xE4\xB8\xAD", 3, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hand_written_matchers_agree_with_the_patterns),
        cmocka_unit_test(patterns_read_as_oniguruma_reads_them),
        cmocka_unit_test(splits_behave_as_named),
        cmocka_unit_test(named_pre_tokenizers_split),
        cmocka_unit_test(ill_formed_text_is_repaired_as_python_does),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
