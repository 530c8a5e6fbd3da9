/* test_stop_strings.c - whatever the pieces, the text ends where a reader of single bytes would end it. */
#include "cmocka_all.h"

#include "runtime/stop_strings.h"

#include <stdlib.h>
#include <string.h>

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 16) % n;
}

static void random_text(char *text, uint32_t least, uint32_t most)
{
    const uint32_t length = least + random_below(most - least + 1);
    for (uint32_t i = 0; i < length; i++) text[i] = (char)('a' + random_below(2));
    text[length] = '\0';
}

/* Reads byte by byte: the first end of any stop string, the longest of those that end there. */
static int32_t first_stop(const char *text, const char *const *stops, int32_t n_stops, size_t *start)
{
    for (size_t end = 1; end <= strlen(text); end++) {
        int32_t found = -1;
        for (int32_t i = 0; i < n_stops; i++) {
            const size_t length = strlen(stops[i]);
            if (length > end || memcmp(text + end - length, stops[i], length) != 0) continue;
            if (found < 0 || length > strlen(stops[found])) found = i;
        }
        if (found >= 0) {
            *start = end - strlen(stops[found]);
            return found;
        }
    }
    *start = strlen(text);
    return -1;
}

static void pieces_do_not_matter(void **state)
{
    (void)state;
    random_state = 1;
    int stopped = 0;
    for (int trial = 0; trial < 20000; trial++) {
        char text[32], stop_texts[4][8];
        const char *stops[4];
        const int32_t n_stops = (int32_t)random_below(5);
        random_text(text, 0, 30);
        for (int32_t i = 0; i < n_stops; i++) {
            random_text(stop_texts[i], 1, 7);
            stops[i] = stop_texts[i];
        }
        StopMatcher matcher;
        StrBuf out = {0};
        assert_int_equal(stop_matcher_init(&matcher, stops, n_stops), IMP_OK);
        int32_t found = -1;
        for (size_t at = 0; at < strlen(text) && found < 0;) {
            size_t length = 1 + random_below(5);
            if (length > strlen(text) - at) length = strlen(text) - at;
            found = stop_matcher_push(&matcher, text + at, length, &out);
            at += length;
        }
        if (found < 0) stop_matcher_finish(&matcher, &out);
        size_t expected_length;
        const int32_t expected = first_stop(text, stops, n_stops, &expected_length);
        assert_int_equal(found, expected);
        assert_int_equal(out.length, expected_length);
        assert_memory_equal(out.length > 0 ? out.data : text, text, expected_length);
        stopped += found >= 0;
        stop_matcher_free(&matcher);
        strbuf_free(&out);
    }
    assert_in_range(stopped, 5000, 19000);
}

/* What cannot become a stop string any more is handed out at once. */
static void nothing_is_held_needlessly(void **state)
{
    (void)state;
    const char *const stops[] = {"STOP", "\n\n"};
    StopMatcher matcher;
    StrBuf out = {0};
    assert_int_equal(stop_matcher_init(&matcher, stops, 2), IMP_OK);
    assert_int_equal(stop_matcher_push(&matcher, "one ST", 6, &out), -1);
    assert_string_equal(out.data, "one ");
    assert_int_equal(stop_matcher_push(&matcher, "A\n", 2, &out), -1);
    assert_string_equal(out.data, "one STA");
    assert_int_equal(stop_matcher_push(&matcher, "two", 3, &out), -1);
    assert_string_equal(out.data, "one STA\ntwo");
    assert_int_equal(stop_matcher_push(&matcher, "\n\nthree", 7, &out), 1);
    assert_string_equal(out.data, "one STA\ntwo");
    stop_matcher_free(&matcher);
    strbuf_free(&out);
}

static void bad_strings_are_named(void **state)
{
    (void)state;
    const char *many[STOP_MAX_STRINGS + 1];
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) many[i] = "x";
    const char *const empty[] = {"a", ""}, *const half[] = {"\x82\xAC"};
    StopMatcher matcher;
    assert_int_equal(stop_matcher_init(&matcher, many, STOP_MAX_STRINGS + 1), IMP_ERR_INVALID_ARGUMENT);
    assert_int_equal(stop_matcher_init(&matcher, empty, 2), IMP_ERR_INVALID_ARGUMENT);
    assert_string_equal(imp_last_error(), "stop string 2 is empty");
    assert_int_equal(stop_matcher_init(&matcher, half, 1), IMP_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(imp_last_error(), "inside a UTF-8 character"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(nothing_is_held_needlessly),
        cmocka_unit_test(bad_strings_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
