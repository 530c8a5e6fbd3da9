/* test_kv_cache.c - pages are taken, shared with nobody, released behind windows, and all come back. */
#include "cmocka_all.h"

#include "memory/kv_cache.h"

#include <string.h>

/* One group that keeps everything and one with a window of 20 tokens; 8 pages each, contexts of up to 100 tokens. */
static KvCache *make_cache(Model *model, bool has_state)
{
    *model = (Model){.n_page_groups = 2, .page_groups = {{.window = 0, .n_layers = 1}, {.window = 20, .n_layers = 1}}};
    model->has_state = has_state;
    const ComputeSizes sizes = {.n_pages = {8, 8}};
    KvCache *cache;
    assert_int_equal(kv_cache_create(model, &sizes, 2, 100, &cache), IMP_OK);
    return cache;
}

static void take(KvCache *cache, int32_t sequence, int32_t n_tokens)
{
    assert_int_equal(kv_sequence_grow(cache, sequence, n_tokens), IMP_OK);
    kv_sequence_commit(cache, sequence, n_tokens);
}

static void pages_behind_the_window_are_released(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, false);
    int32_t sequence;
    assert_int_equal(kv_sequence_open(cache, &sequence), IMP_OK);
    for (int32_t length = 1; length <= 100; length++) {
        take(cache, sequence, 1);
        BatchSequence view;
        kv_sequence_describe(cache, sequence, &view);
        assert_int_equal(view.n_past, length);
        for (int32_t page = 0; page < (length + 15) / 16; page++) {
            assert_true(view.pages[0][page] >= 0);
            /* The next query, at `length`, sees keys after length - 20. */
            const bool visible = page * 16 + 15 > length - 20;
            assert_int_equal(view.pages[1][page] >= 0, visible);
        }
    }
    assert_int_equal(kv_cache_free_pages(cache, 0), 1);
    assert_true(kv_cache_free_pages(cache, 1) >= 5);
    assert_int_equal(kv_sequence_grow(cache, sequence, 1), IMP_ERR_CONTEXT_FULL);
    assert_non_null(strstr(imp_last_error(), "runtime.max_seq_len"));
    kv_sequence_close(cache, sequence);
    assert_int_equal(kv_cache_free_pages(cache, 0), 8);
    assert_int_equal(kv_cache_free_pages(cache, 1), 8);
    kv_cache_free(cache);
}

static void growing_is_all_or_nothing(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, false);
    int32_t a, b, c;
    assert_int_equal(kv_sequence_open(cache, &a), IMP_OK);
    assert_int_equal(kv_sequence_open(cache, &b), IMP_OK);
    assert_int_not_equal(a, b);
    assert_int_equal(kv_sequence_open(cache, &c), IMP_ERR_CONTEXT_FULL);
    take(cache, a, 90); /* 6 pages of group 0 */
    assert_int_equal(kv_sequence_grow(cache, b, 40), IMP_ERR_CONTEXT_FULL);
    assert_int_equal(kv_cache_free_pages(cache, 0), 2);
    take(cache, b, 32);
    BatchSequence view_a, view_b;
    kv_sequence_describe(cache, a, &view_a);
    kv_sequence_describe(cache, b, &view_b);
    for (int32_t i = 0; i < 6; i++)
        for (int32_t j = 0; j < 2; j++) assert_int_not_equal(view_a.pages[0][i], view_b.pages[0][j]);
    kv_sequence_close(cache, a);
    assert_int_equal(kv_cache_free_pages(cache, 0), 6);
    kv_cache_free(cache);
}

static void truncation_says_when_it_must_recompute(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, false);
    int32_t sequence;
    assert_int_equal(kv_sequence_open(cache, &sequence), IMP_OK);
    take(cache, sequence, 30);
    assert_true(kv_sequence_truncate(cache, sequence, 17));
    assert_int_equal(kv_sequence_length(cache, sequence), 17);
    take(cache, sequence, 60);
    /* The window's pages of token 17 are gone. */
    assert_false(kv_sequence_truncate(cache, sequence, 17));
    assert_int_equal(kv_sequence_length(cache, sequence), 0);
    assert_int_equal(kv_cache_free_pages(cache, 0), 8);
    assert_int_equal(kv_cache_free_pages(cache, 1), 8);
    kv_cache_free(cache);

    cache = make_cache(&model, true);
    assert_int_equal(kv_sequence_open(cache, &sequence), IMP_OK);
    assert_int_equal(kv_sequence_state_slot(cache, sequence), sequence);
    take(cache, sequence, 10);
    assert_true(kv_sequence_truncate(cache, sequence, 10));
    assert_false(kv_sequence_truncate(cache, sequence, 9)); /* a recurrent state has moved on */
    kv_cache_free(cache);
}

static void planned_pages_suffice(void **state)
{
    (void)state;
    for (int32_t window = 1; window < 70; window += 3) {
        for (int32_t chunk = 1; chunk <= 50; chunk += 7) {
            Model model = {.n_page_groups = 1, .page_groups = {{.window = window, .n_layers = 1}}};
            const ComputeSizes sizes = {.n_pages = {kv_pages_needed(&model.page_groups[0], 400, chunk)}};
            KvCache *cache;
            int32_t sequence;
            assert_int_equal(kv_cache_create(&model, &sizes, 1, 400, &cache), IMP_OK);
            assert_int_equal(kv_sequence_open(cache, &sequence), IMP_OK);
            for (int32_t done = 0; done + chunk <= 400; done += chunk) take(cache, sequence, chunk);
            kv_cache_free(cache);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_behind_the_window_are_released), cmocka_unit_test(growing_is_all_or_nothing),
        cmocka_unit_test(truncation_says_when_it_must_recompute), cmocka_unit_test(planned_pages_suffice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
