/* test_name_map.c - names are found, told apart and kept once, however many there are. */
#include "cmocka_all.h"

#include "core/name_map.h"

#include <stdio.h>
#include <string.h>

static void finds_what_was_added(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char names[N][16];
    NameMap map = {0};
    size_t value;
    assert_false(name_map_find(&map, "a", 1, &value));
    for (size_t i = 0; i < N; i++) {
        const size_t length = (size_t)snprintf(names[i], sizeof names[i], "blk.%zu.w", i);
        assert_int_equal(name_map_add(&map, names[i], length, i, &value), IMP_OK);
        assert_int_equal(value, i);
    }
    for (size_t i = 0; i < N; i++) {
        assert_true(name_map_find(&map, names[i], strlen(names[i]), &value));
        assert_int_equal(value, i);
        assert_false(name_map_find(&map, names[i], strlen(names[i]) - 1, &value));
    }
    assert_int_equal(map.count, N);
    name_map_free(&map);
}

static void the_first_of_equal_names_stays(void **state)
{
    (void)state;
    NameMap map = {0};
    size_t value;
    assert_int_equal(name_map_add(&map, "x\0y", 3, 1, &value), IMP_OK);
    assert_int_equal(name_map_add(&map, "x\0z", 3, 2, &value), IMP_OK);
    assert_int_equal(value, 2);
    assert_int_equal(name_map_add(&map, "x\0y", 3, 3, &value), IMP_OK);
    assert_int_equal(value, 1);
    assert_int_equal(name_map_add(&map, "", 0, 4, &value), IMP_OK);
    assert_true(name_map_find(&map, "", 0, &value));
    assert_int_equal(value, 4);
    assert_int_equal(map.count, 3);
    name_map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(the_first_of_equal_names_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
