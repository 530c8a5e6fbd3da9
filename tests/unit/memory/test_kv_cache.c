/* test_kv_cache.c - pages are taken, shared, released behind windows, found again by content, and all come back. */
#include "cmocka_all.h"

#include "memory/kv_cache.h"

#include <stdlib.h>
#include <string.h>

enum { FULL, WINDOWED, WINDOW = 20 };

/* One group that keeps everything and one with a window of 20 tokens; contexts of up to 100 tokens. */
static KvCache *make_cache(Model *model, bool has_state, bool prefix_index, int32_t n_pages)
{
    *model =
        (Model){.n_page_groups = 2, .page_groups = {{.window = 0, .n_layers = 1}, {.window = WINDOW, .n_layers = 1}}};
    model->has_state = has_state;
    const ComputeSizes sizes = {.n_pages = {n_pages, n_pages}, .n_state_slots = has_state ? 5 : 0};
    const KvOptions options = {.max_sequences = 3, .max_tokens = 100, .prefix_index = prefix_index, .pin_percent = 50};
    KvCache *cache;
    assert_int_equal(kv_cache_create(model, &sizes, &options, &cache), IMP_OK);
    return cache;
}

/* Token i of text `seed`: texts agree up to `fork`. */
static void fill_text(int32_t *tokens, int32_t n, int32_t fork, int32_t seed)
{
    for (int32_t i = 0; i < n; i++) tokens[i] = i < fork ? i : i + 1000 * seed;
}

static void take(KvCache *cache, int32_t sequence, const int32_t *tokens, int32_t n_tokens)
{
    assert_int_equal(kv_sequence_grow(cache, sequence, n_tokens), IMP_OK);
    kv_sequence_commit(cache, sequence, tokens + kv_sequence_length(cache, sequence), n_tokens);
}

static int32_t open_sequence(KvCache *cache)
{
    int32_t sequence;
    assert_int_equal(kv_sequence_open(cache, &sequence), IMP_OK);
    return sequence;
}

static void pages_behind_the_window_are_released(void **state)
{
    (void)state;
    Model model;
    int32_t text[101];
    fill_text(text, 101, 101, 0);
    KvCache *cache = make_cache(&model, false, false, 8);
    const int32_t sequence = open_sequence(cache);
    for (int32_t length = 1; length <= 100; length++) {
        take(cache, sequence, text, 1);
        BatchSequence view;
        kv_sequence_describe(cache, sequence, &view);
        assert_int_equal(view.n_past, length);
        for (int32_t page = 0; page < (length + 15) / 16; page++) {
            assert_true(view.pages[FULL][page] >= 0);
            /* The next query, at `length`, sees keys after length - WINDOW. */
            const bool visible = page * 16 + 15 > length - WINDOW;
            assert_int_equal(view.pages[WINDOWED][page] >= 0, visible);
        }
    }
    assert_int_equal(kv_cache_available_pages(cache, FULL), 1);
    assert_true(kv_cache_available_pages(cache, WINDOWED) >= 5);
    assert_int_equal(kv_sequence_grow(cache, sequence, 1), IMP_ERR_CONTEXT_FULL);
    assert_non_null(strstr(imp_last_error(), "runtime.max_seq_len"));
    kv_sequence_close(cache, sequence);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 8);
    assert_int_equal(kv_cache_available_pages(cache, WINDOWED), 8);
    kv_cache_free(cache);
}

static void growing_is_all_or_nothing(void **state)
{
    (void)state;
    Model model;
    int32_t text[100];
    fill_text(text, 100, 0, 1);
    KvCache *cache = make_cache(&model, false, false, 8);
    const int32_t a = open_sequence(cache), b = open_sequence(cache);
    int32_t c;
    assert_int_not_equal(a, b);
    (void)open_sequence(cache);
    assert_int_equal(kv_sequence_open(cache, &c), IMP_ERR_CONTEXT_FULL);
    take(cache, a, text, 90); /* 6 pages of group 0 */
    assert_int_equal(kv_sequence_grow(cache, b, 40), IMP_ERR_CONTEXT_FULL);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 2);
    take(cache, b, text, 32);
    BatchSequence view_a, view_b;
    kv_sequence_describe(cache, a, &view_a);
    kv_sequence_describe(cache, b, &view_b);
    for (int32_t i = 0; i < 6; i++)
        for (int32_t j = 0; j < 2; j++) assert_int_not_equal(view_a.pages[FULL][i], view_b.pages[FULL][j]);
    kv_sequence_close(cache, a);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 6);
    kv_cache_free(cache);
}

static void rewinding_says_when_it_must_recompute(void **state)
{
    (void)state;
    Model model;
    int32_t text[100];
    fill_text(text, 100, 100, 0);
    KvCache *cache = make_cache(&model, false, false, 8);
    int32_t sequence = open_sequence(cache);
    take(cache, sequence, text, 30);
    assert_int_equal(kv_sequence_rewind(cache, sequence, 17), 17);
    assert_int_equal(kv_sequence_length(cache, sequence), 17);
    take(cache, sequence, text, 60);
    /* The window's pages of token 17 are gone. */
    assert_int_equal(kv_sequence_rewind(cache, sequence, 17), 0);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 8);
    assert_int_equal(kv_cache_available_pages(cache, WINDOWED), 8);
    kv_cache_free(cache);

    cache = make_cache(&model, true, false, 8);
    sequence = open_sequence(cache);
    assert_int_equal(kv_sequence_state_slot(cache, sequence), sequence);
    take(cache, sequence, text, 10);
    assert_int_equal(kv_sequence_rewind(cache, sequence, 10), 10);
    assert_int_equal(kv_sequence_rewind(cache, sequence, 9), 0); /* a recurrent state has moved on */
    kv_cache_free(cache);
}

static void a_common_prefix_is_found_and_shared(void **state)
{
    (void)state;
    Model model;
    int32_t first[100], second[100];
    fill_text(first, 100, 50, 1);
    fill_text(second, 100, 50, 2);
    KvCache *cache = make_cache(&model, false, true, 40);
    const int32_t a = open_sequence(cache), b = open_sequence(cache);
    assert_int_equal(kv_sequence_start(cache, a, first, 100).n_kept, 0);
    take(cache, a, first, 90);
    /* While the first still runs, the second starts after three full pages: 48 of the 50 common tokens. */
    assert_int_equal(kv_sequence_start(cache, b, second, 100).n_kept, 48);
    BatchSequence view_a, view_b;
    kv_sequence_describe(cache, a, &view_a);
    kv_sequence_describe(cache, b, &view_b);
    assert_memory_equal(view_a.pages[FULL], view_b.pages[FULL], 3 * sizeof(int32_t));
    take(cache, b, second, 40);
    kv_sequence_describe(cache, b, &view_b);
    for (int32_t i = 3; i < 5; i++) assert_int_not_equal(view_a.pages[FULL][i], view_b.pages[FULL][i]);
    kv_sequence_close(cache, a);
    kv_sequence_close(cache, b);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 40);
    /* A third, the same as the first, finds all of its full pages; the last token is left to compute. */
    const int32_t c = open_sequence(cache);
    assert_int_equal(kv_sequence_start(cache, c, first, 81).n_kept, 80);
    assert_int_equal(kv_sequence_start(cache, c, first, 80).n_kept, 64); /* the page of its last token is shared */
    kv_sequence_close(cache, c);
    kv_cache_clear(cache);
    assert_int_equal(kv_cache_cached_pages(cache, FULL), 0);
    assert_int_equal(kv_cache_available_pages(cache, WINDOWED), 40);
    kv_cache_free(cache);
}

static void a_shared_page_is_never_written_again(void **state)
{
    (void)state;
    Model model;
    int32_t first[100], second[100];
    fill_text(first, 100, 40, 1);
    fill_text(second, 100, 40, 2);
    KvCache *cache = make_cache(&model, false, true, 40);
    const int32_t a = open_sequence(cache);
    take(cache, a, first, 64);
    /* 40 tokens agree, but the third page is in the index: the sequence goes back to its start. */
    assert_int_equal(kv_sequence_start(cache, a, second, 100).n_kept, 32);
    kv_cache_free(cache);
}

static void states_are_found_at_their_snapshots_only(void **state)
{
    (void)state;
    Model model;
    int32_t text[100];
    fill_text(text, 100, 100, 0);
    KvCache *cache = make_cache(&model, true, true, 40);
    const int32_t a = open_sequence(cache);
    take(cache, a, text, 32);
    const int32_t slot = kv_sequence_snapshot(cache, a);
    assert_true(slot >= 3 && slot < 5);
    assert_int_equal(kv_sequence_snapshot(cache, a), -1); /* there already */
    take(cache, a, text, 31);
    assert_int_equal(kv_sequence_snapshot(cache, a), -1); /* not at a border */
    const int32_t b = open_sequence(cache);
    const KvStart start = kv_sequence_start(cache, b, text, 100);
    assert_int_equal(start.n_kept, 32);
    assert_int_equal(start.from_snapshot, slot);
    kv_cache_free(cache);
}

static void the_least_recently_used_prefix_goes_first(void **state)
{
    (void)state;
    Model model;
    int32_t texts[4][100];
    KvCache *cache = make_cache(&model, false, true, 9);
    for (int32_t i = 0; i < 4; i++) {
        fill_text(texts[i], 100, 0, i + 1);
        const int32_t sequence = open_sequence(cache);
        assert_int_equal(kv_sequence_start(cache, sequence, texts[i], 49).n_kept, 0);
        take(cache, sequence, texts[i], 48);
        kv_sequence_close(cache, sequence);
        if (i == 2) { /* use the first again: the second is now the oldest */
            const int32_t again = open_sequence(cache);
            assert_int_equal(kv_sequence_start(cache, again, texts[0], 49).n_kept, 48);
            kv_sequence_close(cache, again);
        }
    }
    const int32_t kept[4] = {48, 0, 48, 48};
    for (int32_t i = 0; i < 4; i++) {
        const int32_t sequence = open_sequence(cache);
        assert_int_equal(kv_sequence_start(cache, sequence, texts[i], 49).n_kept, kept[i]);
        kv_sequence_close(cache, sequence);
    }
    kv_cache_free(cache);
}

/* Computes `n` tokens of text `seed` in a sequence of its own, pins `n_pinned` of them, and leaves. */
static void visit(KvCache *cache, int32_t seed, int32_t n, int32_t n_pinned, double expires)
{
    int32_t text[100];
    fill_text(text, 100, 0, seed);
    const int32_t sequence = open_sequence(cache);
    (void)kv_sequence_start(cache, sequence, text, n + 1);
    take(cache, sequence, text, n - kv_sequence_length(cache, sequence));
    if (n_pinned > 0)
        assert_int_equal(kv_sequence_pin(cache, sequence, n_pinned, expires),
                         n_pinned / KV_PAGE_TOKENS * KV_PAGE_TOKENS);
    kv_sequence_close(cache, sequence);
}

/* Leading tokens of text `seed` that need no computing. */
static int32_t kept_of(KvCache *cache, int32_t seed)
{
    int32_t text[100];
    fill_text(text, 100, 0, seed);
    const int32_t sequence = open_sequence(cache);
    const int32_t n_kept = kv_sequence_start(cache, sequence, text, 100).n_kept;
    kv_sequence_close(cache, sequence);
    return n_kept;
}

static void pins_outlive_others(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, false, true, 8);
    visit(cache, 1, 48, 40, 100); /* 2 pages of the 4 that may be pinned */
    assert_int_equal(kv_cache_pinned_pages(cache), 2);
    for (int32_t seed = 2; seed < 8; seed++) visit(cache, seed, 80, 0, 0);
    assert_int_equal(kept_of(cache, 1), 32);
    kv_cache_clear(cache);
    assert_int_equal(kept_of(cache, 1), 32);
    kv_cache_expire_pins(cache, 100);
    assert_int_equal(kv_cache_pinned_pages(cache), 2);
    kv_cache_expire_pins(cache, 101);
    assert_int_equal(kv_cache_pinned_pages(cache), 0);
    kv_cache_clear(cache);
    assert_int_equal(kept_of(cache, 1), 0);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 8);
    kv_cache_free(cache);
}

static void pins_keep_to_their_budget(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, false, true, 12); /* 6 may be pinned */
    visit(cache, 1, 48, 48, 100);
    visit(cache, 2, 48, 48, 100);
    assert_int_equal(kv_cache_pinned_pages(cache), 6);
    visit(cache, 1, 48, 48, 100); /* renewed: the other is the older one now */
    assert_int_equal(kv_cache_pinned_pages(cache), 6);
    visit(cache, 3, 32, 32, 100);
    assert_int_equal(kv_cache_pinned_pages(cache), 5);
    kv_cache_clear(cache);
    assert_int_equal(kept_of(cache, 1), 48);
    assert_int_equal(kept_of(cache, 2), 0);
    assert_int_equal(kept_of(cache, 3), 32);
    kv_cache_free(cache);
}

static void a_pin_longer_than_the_budget_is_cut(void **state)
{
    (void)state;
    Model model;
    int32_t text[100];
    fill_text(text, 100, 0, 1);
    KvCache *cache = make_cache(&model, false, true, 8); /* 4 may be pinned */
    const int32_t sequence = open_sequence(cache);
    take(cache, sequence, text, 100);
    assert_int_equal(kv_sequence_pin(cache, sequence, 15, 100), 0);
    assert_int_equal(kv_sequence_pin(cache, sequence, 100, 100), 64);
    assert_int_equal(kv_cache_pinned_pages(cache), 4);
    kv_cache_free(cache);
}

static void pins_yield_to_a_running_sequence(void **state)
{
    (void)state;
    Model model;
    int32_t text[100];
    fill_text(text, 100, 0, 3);
    KvCache *cache = make_cache(&model, false, true, 8);
    visit(cache, 1, 32, 32, 100);
    visit(cache, 2, 32, 32, 100);
    const int32_t sequence = open_sequence(cache);
    take(cache, sequence, text, 64);
    assert_int_equal(kv_cache_pinned_pages(cache), 4);
    take(cache, sequence, text, 16);
    assert_int_equal(kv_cache_pinned_pages(cache), 2);
    assert_int_equal(kept_of(cache, 2), 32);
    kv_cache_free(cache);
}

/* A page is available exactly when no sequence lists it. */
static void check_counts(const KvCache *cache, const int32_t *sequences, int32_t n_pages)
{
    for (int32_t group = FULL; group <= WINDOWED; group++) {
        bool held[100] = {false};
        int32_t n_held = 0;
        for (int32_t s = 0; s < 3; s++) {
            BatchSequence view;
            kv_sequence_describe(cache, sequences[s], &view);
            for (int32_t i = 0; i < (view.n_past + 15) / 16; i++) {
                const int32_t page = view.pages[group][i];
                if (page >= 0 && !held[page]) n_held++;
                if (page >= 0) held[page] = true;
            }
        }
        assert_int_equal(kv_cache_available_pages(cache, group), n_pages - n_held);
    }
}

/* Random use against a count of every page's holders. */
static void random_use_loses_no_page(void **state)
{
    (void)state;
    Model model;
    KvCache *cache = make_cache(&model, true, true, 14);
    srand(7);
    int32_t text[100], sequences[3];
    for (int32_t i = 0; i < 3; i++) sequences[i] = open_sequence(cache);
    for (int32_t round = 0; round < 20000; round++) {
        const int32_t s = sequences[rand() % 3];
        fill_text(text, 100, rand() % 100, rand() % 3);
        const int32_t n = 1 + rand() % 99;
        const int32_t kept = kv_sequence_start(cache, s, text, n).n_kept;
        assert_true(kept >= 0 && kept < n);
        if (round % 3 == 0) (void)kv_sequence_pin(cache, s, rand() % 100, round + 100);
        kv_cache_expire_pins(cache, round);
        for (int32_t left = n - kept; left > 0;) {
            const int32_t count = 1 + rand() % left;
            if (kv_sequence_grow(cache, s, count) != IMP_OK) break;
            kv_sequence_commit(cache, s, text + kv_sequence_length(cache, s), count);
            (void)kv_sequence_snapshot(cache, s);
            left -= count;
        }
        BatchSequence view;
        kv_sequence_describe(cache, s, &view);
        for (int32_t page = 0; page < (view.n_past + 15) / 16; page++) {
            assert_true(view.pages[FULL][page] >= 0);
            if (page * 16 + 15 > view.n_past - WINDOW) assert_true(view.pages[WINDOWED][page] >= 0);
        }
        check_counts(cache, sequences, 14);
    }
    kv_cache_expire_pins(cache, 1e9);
    for (int32_t i = 0; i < 3; i++) kv_sequence_close(cache, sequences[i]);
    kv_cache_clear(cache);
    assert_int_equal(kv_cache_available_pages(cache, FULL), 14);
    assert_int_equal(kv_cache_available_pages(cache, WINDOWED), 14);
    assert_int_equal(kv_cache_cached_pages(cache, FULL), 0);
    kv_cache_free(cache);
}

static void planned_pages_suffice(void **state)
{
    (void)state;
    int32_t text[400];
    fill_text(text, 400, 400, 0);
    for (int32_t window = 1; window < 70; window += 3) {
        for (int32_t chunk = 1; chunk <= 50; chunk += 7) {
            Model model = {.n_page_groups = 1, .page_groups = {{.window = window, .n_layers = 1}}};
            const ComputeSizes sizes = {.n_pages = {kv_pages_needed(&model.page_groups[0], 400, chunk)}};
            const KvOptions options = {.max_sequences = 1, .max_tokens = 400};
            KvCache *cache;
            assert_int_equal(kv_cache_create(&model, &sizes, &options, &cache), IMP_OK);
            const int32_t sequence = open_sequence(cache);
            for (int32_t done = 0; done + chunk <= 400; done += chunk) take(cache, sequence, text, chunk);
            kv_cache_free(cache);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_behind_the_window_are_released),
        cmocka_unit_test(growing_is_all_or_nothing),
        cmocka_unit_test(rewinding_says_when_it_must_recompute),
        cmocka_unit_test(a_common_prefix_is_found_and_shared),
        cmocka_unit_test(a_shared_page_is_never_written_again),
        cmocka_unit_test(states_are_found_at_their_snapshots_only),
        cmocka_unit_test(the_least_recently_used_prefix_goes_first),
        cmocka_unit_test(pins_outlive_others),
        cmocka_unit_test(pins_keep_to_their_budget),
        cmocka_unit_test(a_pin_longer_than_the_budget_is_cut),
        cmocka_unit_test(pins_yield_to_a_running_sequence),
        cmocka_unit_test(random_use_loses_no_page),
        cmocka_unit_test(planned_pages_suffice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
