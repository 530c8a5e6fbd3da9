/* test_core.c - the small things everything stands on: errors, arenas, strings, files, threads. */
#include "cmocka_all.h"

#include "core/arena.h"
#include "core/file_map.h"
#include "core/large_memory.h"
#include "core/strbuf.h"
#include "core/thread_pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void failure_leaves_a_sentence(void **state)
{
    (void)state;
    assert_int_equal(imp_fail(IMP_ERR_FORMAT, "tensor %s is %d bytes short", "a.b", 3), IMP_ERR_FORMAT);
    assert_string_equal(imp_last_error(), "tensor a.b is 3 bytes short");
    assert_int_equal(imp_fail_prefix(IMP_ERR_IO, "%s", "model.gguf"), IMP_ERR_IO);
    assert_string_equal(imp_last_error(), "model.gguf: tensor a.b is 3 bytes short");
    (void)imp_fail(IMP_ERR_FORMAT, "bad\x1b[31m\nname");
    assert_string_equal(imp_last_error(), "bad?[31m?name");
}

static void long_sentence_is_cut_at_a_character(void **state)
{
    (void)state;
    char text[4096];
    for (size_t i = 0; i + 3 <= sizeof text - 1; i += 3) memcpy(text + i, "\xE2\x82\xAC", 3);
    text[4095] = '\0';
    (void)imp_fail(IMP_ERR_FORMAT, "%s", text);
    const size_t length = strlen(imp_last_error());
    assert_true(length > 1000 && length < 1024);
    assert_int_equal(length % 3, 0);
}

static void arena_aligns_zeroes_and_limits(void **state)
{
    (void)state;
    Arena arena = {.limit = 1 << 20};
    for (size_t size = 1; size < 300; size += 7) {
        unsigned char *bytes = arena_alloc(&arena, size, 1);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(bytes[i], 0);
        memset(bytes, 0xAA, size);
    }
    assert_null(arena_alloc(&arena, SIZE_MAX / 2, 4));
    assert_null(arena_alloc(&arena, 1 << 21, 1));
    assert_string_equal(arena_string(&arena, "hello world", 5), "hello");
    arena_free(&arena);
    assert_non_null(arena_alloc(&arena, 1, 1));
    arena_free(&arena);
}

static void strbuf_grows(void **state)
{
    (void)state;
    StrBuf buffer = {0};
    for (int i = 0; i < 1000; i++) strbuf_printf(&buffer, "%d,", i);
    strbuf_append(&buffer, "\0x", 2);
    assert_int_equal(strbuf_check(&buffer), IMP_OK);
    assert_int_equal(buffer.length, 3892);
    assert_memory_equal(buffer.data + 3884, "8,999,\0x", 8);
    strbuf_free(&buffer);
}

static void files_name_themselves_in_errors(void **state)
{
    (void)state;
    FileMap map;
    assert_int_equal(file_map_open("/nowhere/at/all", &map), IMP_ERR_IO);
    assert_non_null(strstr(imp_last_error(), "/nowhere/at/all"));
    assert_int_equal(file_map_open("/tmp", &map), IMP_ERR_IO);
    assert_non_null(strstr(imp_last_error(), "is a directory"));
    StrBuf text = {0};
    assert_int_equal(file_read(__FILE__, 10, &text), IMP_ERR_LIMIT);
    strbuf_clear(&text);
    assert_int_equal(file_read(__FILE__, 1 << 20, &text), IMP_OK);
    assert_int_equal(file_map_open(__FILE__, &map), IMP_OK);
    assert_int_equal(map.size, text.length);
    assert_memory_equal(map.data, text.data, text.length);
    file_map_close(&map);
    strbuf_free(&text);
}

static void count_task(void *context, int32_t task, int32_t thread)
{
    (void)thread;
    atomic_int *counts = context;
    atomic_fetch_add(&counts[task], 1);
}

static void pool_runs_every_task_once(void **state)
{
    (void)state;
    for (int32_t n_threads = 1; n_threads <= 4; n_threads++) {
        ThreadPool *pool;
        assert_int_equal(thread_pool_create(n_threads, &pool), IMP_OK);
        assert_int_equal(thread_pool_size(pool), n_threads);
        atomic_int counts[64];
        for (int i = 0; i < 64; i++) atomic_init(&counts[i], 0);
        for (int round = 0; round < 500; round++) thread_pool_run(pool, count_task, counts, 1 + round % 64);
        int expected = 0;
        for (int i = 63; i >= 0; i--) {
            for (int round = 0; round < 500; round++) expected += round % 64 == i;
            assert_int_equal(atomic_load(&counts[i]), expected);
        }
        thread_pool_free(pool);
    }
}

static void large_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    const size_t bytes = ((size_t)5 << 20) + 123;
    uint8_t *memory = large_memory_take(bytes);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    size_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += memory[i];
    assert_int_equal(sum, 0);
    memset(memory, 7, bytes);
    large_memory_give(memory, bytes);
    large_memory_give(NULL, bytes);
    assert_null(large_memory_take(SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failure_leaves_a_sentence),       cmocka_unit_test(long_sentence_is_cut_at_a_character),
        cmocka_unit_test(arena_aligns_zeroes_and_limits),  cmocka_unit_test(strbuf_grows),
        cmocka_unit_test(files_name_themselves_in_errors), cmocka_unit_test(pool_runs_every_task_once),
        cmocka_unit_test(large_memory_is_zeroed_and_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
