/* test_json_file.c - JSON as it is found in model directories. */
#include "cmocka_all.h"

#include "format/json_file.h"

#include <float.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *value;
    if (json_parse_lenient(text, strlen(text), &value) != IMP_OK) fail_msg("%s: %s", text, imp_last_error());
    return value;
}

/* The parsed text written again must be `expected`. */
static void assert_reads_as(const char *text, const char *expected)
{
    json_t *value = parse(text);
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
    assert_string_equal(dumped, expected);
    free(dumped);
    json_decref(value);
}

static void assert_refused(const char *text, size_t length, const char *words)
{
    json_t *value;
    assert_int_equal(json_parse_lenient(text, length, &value), IMP_ERR_FORMAT);
    assert_non_null(strstr(imp_last_error(), words));
    assert_null(value);
}

static void plain_json_stays_what_it_is(void **state)
{
    (void)state;
    assert_reads_as("{\"a\": [1, -2, 3.5, true, null, \"x\\\\\"]}", "{\"a\":[1,-2,3.5,true,null,\"x\\\\\"]}");
    assert_reads_as("[123456789012345678, -123456789012345678]", "[123456789012345678,-123456789012345678]");
    assert_reads_as("[\"\\uD83D\\uDE00\", \"\\u00e4\"]", "[\"\\uD83D\\uDE00\",\"\\u00E4\"]");
}

static void python_literals_are_numbers(void **state)
{
    (void)state;
    json_t *value = parse("[NaN, Infinity, -Infinity, \"NaN -Infinity\", \"\\\"Infinity\", -1]");
    assert_true(json_is_null(json_array_get(value, 0)));
    assert_true(json_real_value(json_array_get(value, 1)) == DBL_MAX);
    assert_true(json_real_value(json_array_get(value, 2)) == -DBL_MAX);
    assert_string_equal(json_string_value(json_array_get(value, 3)), "NaN -Infinity");
    assert_string_equal(json_string_value(json_array_get(value, 4)), "\"Infinity");
    assert_int_equal(json_integer_value(json_array_get(value, 5)), -1);
    json_decref(value);
}

static void long_integers_become_reals(void **state)
{
    (void)state;
    json_t *value = parse("[1000000000000000019884624838656, -9223372036854775808, 1e30, \"12345678901234567890\"]");
    assert_true(json_real_value(json_array_get(value, 0)) == 1e30);
    assert_true(json_real_value(json_array_get(value, 1)) == -0x1p63);
    assert_true(json_real_value(json_array_get(value, 2)) == 1e30);
    assert_string_equal(json_string_value(json_array_get(value, 3)), "12345678901234567890");
    json_decref(value);
}

static void lone_surrogates_are_replaced(void **state)
{
    (void)state;
    assert_reads_as("[\"a\\ud800b\", \"\\uDC00\\uD83D\\uDE00\"]", "[\"a\\uFFFDb\",\"\\uFFFD\\uD83D\\uDE00\"]");
    assert_reads_as("{\"\\ud800\": 1}", "{\"\\uFFFD\":1}");
    assert_reads_as("[\"\\\\ud800\", \"\\uD800\\n\"]", "[\"\\\\ud800\",\"\\uFFFD\\n\"]");
}

static void escaped_nuls_stay_in_values_only(void **state)
{
    (void)state;
    json_t *value = parse("{\"k\\u0000\\ud800\" : \"v\\u0000w\", \"x\": [\"\\u0000\"]}");
    const json_t *text = json_object_get(value, "k\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_int_equal(json_string_length(text), 3);
    assert_memory_equal(json_string_value(text), "v\0w", 3);
    json_decref(value);
}

static void broken_text_is_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "",     "{",      "[1,]",        "\"\\ud8", "\"\\", "\"\\u",      "[\"\\ud800", "{\"a\":1", "Inf",
        "-Inf", "[NaNa]", "{\"a\\u0000", "1 2",     "\xFF", "[\"\xC3\"]", "-",          "[1e999]",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_refused(broken[i], strlen(broken[i]), "not valid JSON: line ");
    assert_refused("[1]\0", 4, "not valid JSON");
    enum { DEPTH = 100000 };
    char *deep = malloc(DEPTH);
    memset(deep, '[', DEPTH);
    assert_refused(deep, DEPTH, "depth");
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_json_stays_what_it_is),
        cmocka_unit_test(python_literals_are_numbers),
        cmocka_unit_test(long_integers_become_reals),
        cmocka_unit_test(lone_surrogates_are_replaced),
        cmocka_unit_test(escaped_nuls_stay_in_values_only),
        cmocka_unit_test(broken_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
