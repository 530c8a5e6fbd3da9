/* test_generate.c - text in, text out: what ends it, what it may depend on, what it hands out on the way. */
#include "api_test.h"

#include <stdio.h>

enum { TEXT_BYTES = 4096 };

/* The text of a fresh context. */
static void fresh_text(ImpModel model, const char *prompt, const ImpGenerateParams *params, char text[TEXT_BYTES])
{
    ImpContext context = open_context(model);
    assert_ok(imp_generate(context, prompt, params, text, TEXT_BYTES, NULL));
    imp_context_free(context);
}

typedef struct Pieces {
    char text[TEXT_BYTES];
    size_t length;
    int count, stop_after; /* 0: never */
    ImpContext cancel;
} Pieces;

static bool on_piece(void *user, const char *text, size_t length)
{
    Pieces *pieces = user;
    assert_true(length > 0);
    assert_int_equal(text[length], 0);
    assert_int_not_equal((unsigned char)text[0] & 0xC0, 0x80); /* no piece begins inside a character */
    memcpy(pieces->text + pieces->length, text, length + 1);
    pieces->length += length;
    if (++pieces->count != pieces->stop_after) return true;
    if (pieces->cancel) imp_context_cancel(pieces->cancel);
    return pieces->cancel != NULL;
}

static void equal_seeds_give_equal_texts(void **state)
{
    ImpModel model = *state;
    char first[TEXT_BYTES], again[TEXT_BYTES], other[TEXT_BYTES];
    ImpGenerateParams params = steady_params(40);
    fresh_text(model, "the and", &params, first);
    fresh_text(model, "the and", &params, again);
    assert_string_equal(first, again);
    params.seed++;
    fresh_text(model, "the and", &params, other);
    assert_string_not_equal(first, other);

    /* A random seed is told, and gives its text again. */
    params.seed = IMP_SEED_RANDOM;
    ImpContext context = open_context(model);
    assert_ok(imp_generate(context, "the and", &params, first, sizeof first, NULL));
    params.seed = stats_of(context).seed;
    assert_int_not_equal(params.seed, IMP_SEED_RANDOM);
    fresh_text(model, "the and", &params, again);
    assert_string_equal(first, again);
    imp_context_free(context);
}

static void threads_and_chunks_do_not_matter(void **state)
{
    (void)state;
    const char *const prompt = "the quick brown fox and the lazy dog, and then the other one; in the end there is more";
    const ImpGenerateParams params = steady_params(30);
    char expected[TEXT_BYTES], text[TEXT_BYTES];
    ImpModel model = open_model(TINY_MODEL);
    fresh_text(model, prompt, &params, expected);
    imp_model_free(model);
    const struct {
        int32_t n_threads, chunk;
        ImpCpuIsa isa;
    } ways[] = {{2, 512, IMP_CPU_AUTO}, {1, 1, IMP_CPU_AUTO}, {3, 7, IMP_CPU_AUTO}, {1, 16, IMP_CPU_PORTABLE}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        ImpConfig config = small_config();
        config.n_threads = ways[i].n_threads;
        config.prefill_chunk_size = ways[i].chunk;
        config.cpu_isa = ways[i].isa;
        ImpContext context;
        model = open_model(TINY_MODEL);
        assert_ok(imp_context_create(model, &config, &context));
        assert_ok(imp_generate(context, prompt, &params, text, sizeof text, NULL));
        assert_string_equal(text, expected);
        imp_context_free(context);
        imp_model_free(model);
    }
}

static void pieces_join_to_the_text(void **state)
{
    ImpModel model = *state;
    char expected[TEXT_BYTES];
    const ImpGenerateParams params = steady_params(60);
    fresh_text(model, "on the", &params, expected);
    ImpContext context = open_context(model);
    Pieces pieces = {.count = 0};
    assert_ok(imp_generate_stream(context, "on the", &params, on_piece, &pieces));
    assert_string_equal(pieces.text, expected);
    size_t length;
    assert_string_equal(imp_generated_text(context, &length), expected);
    assert_int_equal(length, strlen(expected));
    assert_true(pieces.count > 10);

    /* The tokens say the same. */
    int32_t n_tokens;
    char text[TEXT_BYTES];
    const int32_t *tokens = imp_generated_tokens(context, &n_tokens);
    assert_int_equal(n_tokens, 60);
    assert_ok(imp_detokenize(model, tokens, (size_t)n_tokens, false, text, sizeof text, NULL));
    assert_string_equal(text, expected);
    imp_context_free(context);
}

static void buffers_of_any_size(void **state)
{
    ImpModel model = *state;
    char expected[TEXT_BYTES], text[TEXT_BYTES];
    const ImpGenerateParams params = steady_params(30);
    fresh_text(model, "on the", &params, expected);
    ImpContext context = open_context(model);
    for (size_t size = 1; size <= strlen(expected) + 2; size++) {
        size_t length = 0;
        memset(text, 'x', sizeof text);
        const ImpStatus status = imp_generate(context, "on the", &params, text, size, &length);
        assert_int_equal(status, size > strlen(expected) ? IMP_OK : IMP_ERR_BUFFER_TOO_SMALL);
        assert_int_equal(length, strlen(expected));
        assert_int_equal(text[size], 'x');
        assert_true(strlen(text) < size && strlen(text) + 4 >= (size <= length ? size : length + 1));
        assert_memory_equal(text, expected, strlen(text));
        const unsigned char next = (unsigned char)expected[strlen(text)];
        assert_int_not_equal(next & 0xC0, 0x80); /* cut between characters */
    }
    size_t length;
    assert_ok(imp_generate(context, "on the", &params, NULL, 0, &length));
    assert_int_equal(length, strlen(expected));
    imp_context_free(context);
}

static void stop_strings_end_it_and_never_appear(void **state)
{
    ImpModel model = *state;
    char whole[TEXT_BYTES], text[TEXT_BYTES];
    ImpGenerateParams params = steady_params(80);
    fresh_text(model, "in the", &params, whole);
    const size_t length = strlen(whole);
    assert_true(length > 60);
    int n_straddling = 0;
    for (size_t start = 5; start + 12 < length; start += 7) {
        if (((unsigned char)whole[start] & 0xC0) == 0x80) continue;
        char stop[8];
        memcpy(stop, whole + start, 5);
        stop[5] = '\0';
        params.stop[0] = "never said, surely";
        params.stop[1] = stop;
        params.n_stop = 2;
        ImpContext context = open_context(model);
        Pieces pieces = {.count = 0};
        assert_ok(imp_generate_stream(context, "in the", &params, on_piece, &pieces));
        const size_t expected = (size_t)(strstr(whole, stop) - whole);
        assert_int_equal(pieces.length, expected);
        assert_memory_equal(pieces.text, whole, expected);
        assert_int_equal(stats_of(context).stop_reason, IMP_STOP_STRING);
        assert_int_equal(stats_of(context).stop_index, 1);
        n_straddling++;
        imp_context_free(context);
    }
    assert_true(n_straddling > 5);

    /* One that begins but is not finished when the text ends belongs to the text. */
    char unfinished[TEXT_BYTES + 8];
    size_t last = length - 1;
    while (((unsigned char)whole[last] & 0xC0) == 0x80) last--;
    (void)snprintf(unfinished, sizeof unfinished, "%s!!!", whole + last);
    params.stop[0] = unfinished;
    params.n_stop = 1;
    fresh_text(model, "in the", &params, text);
    assert_string_equal(text, whole);
}

static void ends_are_told(void **state)
{
    ImpModel model = *state;
    ImpContext context = open_context(model);
    char text[TEXT_BYTES];
    int32_t n_tokens;

    /* The model ends its turn: the token counts for nothing and says nothing. */
    const ImpLogitBias at_once = {.token = 2, .bias = 100.0f};
    ImpGenerateParams params = steady_params(20);
    params.ignore_end = false;
    params.logit_bias = &at_once;
    params.n_logit_bias = 1;
    assert_ok(imp_generate(context, "the", &params, text, sizeof text, NULL));
    assert_string_equal(text, "");
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_END);
    assert_int_equal(stats_of(context).generated_tokens, 0);
    assert_int_equal(imp_generated_tokens(context, &n_tokens)[0], 2);
    assert_int_equal(n_tokens, 1);
    assert_true(imp_token_is_end(model, 2));

    /* Unless it is to be ignored. */
    params.ignore_end = true;
    params.keep_special = true;
    params.max_tokens = 3;
    assert_ok(imp_generate(context, "the", &params, text, sizeof text, NULL));
    assert_string_equal(text, "<|im_end|><|im_end|><|im_end|>");
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_LENGTH);
    assert_int_equal(stats_of(context).generated_tokens, 3);
    params.keep_special = false;
    assert_ok(imp_generate(context, "the", &params, text, sizeof text, NULL));
    assert_string_equal(text, "");

    /* The context is full: its last token was computed, one more drawn. */
    params = steady_params(0);
    assert_ok(imp_generate(context, "the", &params, NULL, 0, NULL));
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_CONTEXT);
    (void)imp_context_tokens(context, &n_tokens);
    assert_int_equal(n_tokens, imp_context_capacity(context));
    assert_int_equal(stats_of(context).prompt_tokens + stats_of(context).generated_tokens, n_tokens + 1);
    imp_context_free(context);
}

static bool never(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return strcmp(what, "prompt") != 0 || ++*(int *)user < 2;
}

static void callbacks_stop_it(void **state)
{
    ImpModel model = *state;
    char whole[TEXT_BYTES];
    const ImpGenerateParams params = steady_params(50);
    fresh_text(model, "and the", &params, whole);
    ImpContext context = open_context(model);

    Pieces stopped = {.stop_after = 3};
    assert_ok(imp_generate_stream(context, "and the", &params, on_piece, &stopped));
    assert_int_equal(stopped.count, 3);
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_CALLBACK);
    assert_memory_equal(stopped.text, whole, stopped.length);

    /* Cancelled: an error, but what was said stays. */
    Pieces cancelled = {.stop_after = 3, .cancel = context};
    assert_fails(imp_generate_stream(context, "and the", &params, on_piece, &cancelled), IMP_ERR_CANCELLED,
                 "cancelled");
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_CANCELLED);
    assert_string_equal(imp_generated_text(context, NULL), cancelled.text);
    assert_memory_equal(cancelled.text, whole, cancelled.length);

    /* And the context is as good as before. */
    char text[TEXT_BYTES];
    assert_ok(imp_generate(context, "and the", &params, text, sizeof text, NULL));
    assert_string_equal(text, whole);
    imp_context_free(context);

    /* A long prompt, cancelled after its second chunk. */
    int calls = 0;
    ImpConfig config = small_config();
    config.prefill_chunk_size = 4;
    config.progress = never;
    config.progress_user = &calls;
    assert_ok(imp_context_create(model, &config, &context));
    assert_fails(imp_generate(context, "one two three four five six seven", &params, text, sizeof text, NULL),
                 IMP_ERR_CANCELLED, "cancelled after 8 of");
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_CANCELLED);
    imp_context_free(context);
}

/* A conversation goes on: only what is new is computed, and the text is that of a fresh context. */
static void common_beginnings_are_reused(void **state)
{
    ImpModel model = *state;
    ImpContext context = open_context(model);
    const ImpGenerateParams params = steady_params(10);
    ImpMessage messages[3] = {{"user", "hello there"}, {"assistant", ""}, {"user", "and then?"}};
    char first[TEXT_BYTES], second[TEXT_BYTES], expected[TEXT_BYTES];
    assert_ok(imp_chat(context, messages, 1, &params, first, sizeof first, NULL));
    const int32_t first_prompt = stats_of(context).prompt_tokens;
    assert_int_equal(stats_of(context).reused_tokens, 0);

    messages[1].content = first;
    assert_ok(imp_chat(context, messages, 3, &params, second, sizeof second, NULL));
    assert_true(stats_of(context).reused_tokens >= first_prompt);
    ImpContext fresh = open_context(model);
    assert_ok(imp_chat(fresh, messages, 3, &params, expected, sizeof expected, NULL));
    assert_string_equal(second, expected);

    /* Back to the first turn, as /regen does: the last prompt token is computed again, for its logits. */
    assert_ok(imp_chat(context, messages, 1, &params, second, sizeof second, NULL));
    assert_string_equal(second, first);
    assert_int_equal(stats_of(context).reused_tokens, first_prompt - 1);
    imp_context_free(fresh);
    imp_context_free(context);
}

/* The same for models with recurrent state, by ids. */
static void recurrent_models_go_back_too(void **state)
{
    (void)state;
    ImpModel model = open_model(GOLDEN("lfm2"));
    ImpContext context = open_context(model);
    const ImpGenerateParams params = steady_params(12);
    int32_t prompt[60], n_first, n_expected;
    for (int32_t i = 0; i < 60; i++) prompt[i] = 3 + i * 7 % 60;
    assert_ok(imp_generate_tokens(context, prompt, 40, &params, NULL, NULL));
    int32_t first[12];
    const int32_t *tokens = imp_generated_tokens(context, &n_first);
    assert_int_equal(n_first, 12);
    memcpy(first, tokens, sizeof first);

    prompt[45] = 9;
    assert_ok(imp_generate_tokens(context, prompt, 60, &params, NULL, NULL));
    ImpContext fresh = open_context(model);
    assert_ok(imp_generate_tokens(fresh, prompt, 60, &params, NULL, NULL));
    tokens = imp_generated_tokens(fresh, &n_expected);
    assert_memory_equal(imp_generated_tokens(context, NULL), tokens, (size_t)n_expected * sizeof *tokens);

    assert_ok(imp_generate_tokens(context, prompt, 40, &params, NULL, NULL));
    assert_memory_equal(imp_generated_tokens(context, NULL), first, sizeof first);
    assert_true(stats_of(context).reused_tokens >= 32); /* from the snapshot at a page border */
    imp_context_free(fresh);
    imp_context_free(context);
    imp_model_free(model);
}

/* Token by token gives what the loop gives. */
static void steps_follow_the_loop(void **state)
{
    ImpModel model = *state;
    ImpContext context = open_context(model), other = open_context(model);
    ImpGenerateParams params = steady_params(25);
    params.repeat_penalty = 1.3f;
    params.mirostat = 2;
    int32_t n_prompt, n_tokens;
    assert_ok(imp_generate(context, "on and on", &params, NULL, 0, NULL));
    const int32_t *expected = imp_generated_tokens(context, &n_tokens);
    n_prompt = stats_of(context).prompt_tokens;

    assert_null(imp_logits(other));
    int32_t token;
    assert_fails(imp_decode_step(other, &params, &token), IMP_ERR_INVALID_ARGUMENT, "no logits are in reach");
    assert_ok(imp_prefill(other, imp_context_tokens(context, NULL), n_prompt));
    for (int32_t i = 0; i < n_tokens; i++) {
        assert_ok(imp_decode_step(other, &params, &token));
        assert_int_equal(token, expected[i]);
    }
    int32_t n_held;
    (void)imp_context_tokens(other, &n_held);
    assert_int_equal(n_held, n_prompt + n_tokens);

    /* Logits in reach may be changed. */
    imp_logits(other)[77] = 1e6f;
    assert_ok(imp_decode_step(other, NULL, &token));
    assert_int_equal(token, 77);
    imp_context_reset(other);
    assert_null(imp_logits(other));
    (void)imp_context_tokens(other, &n_held);
    assert_int_equal(n_held, 0);
    imp_context_free(other);
    imp_context_free(context);
}

/* DRY with its breakers as text, from the parameters down to the draw: a greedy loop is broken. */
static void dry_breaks_a_loop(void **state)
{
    ImpModel model = *state;
    ImpContext context = open_context(model);
    ImpGenerateParams params = steady_params(120);
    params.temperature = 0.0f;
    const ImpLogitBias loop = {.token = 40, .bias = 30.0f};
    params.logit_bias = &loop;
    params.n_logit_bias = 1;
    int32_t n_tokens;
    for (int dry = 0; dry < 2; dry++) {
        params.dry_multiplier = dry ? 5.0f : 0.0f;
        assert_ok(imp_generate(context, "the", &params, NULL, 0, NULL));
        const int32_t *tokens = imp_generated_tokens(context, &n_tokens);
        int32_t run = 0, longest = 0;
        for (int32_t i = 0; i < n_tokens; i++) {
            run = tokens[i] == 40 ? run + 1 : 0;
            if (run > longest) longest = run;
        }
        assert_int_equal(n_tokens, 120);
        assert_in_range(longest, dry ? 3 : 120, dry ? 10 : 120); /* 5 * 1.75^(n - 2) outweighs the bias from n = 6 on */
    }
    imp_context_free(context);
}

static int open_tiny(void **state)
{
    ImpModel model = NULL;
    if (imp_model_load(TINY_MODEL, IMP_FORMAT_GGUF, &model) != IMP_OK) return 1;
    *state = model;
    return 0;
}

static int close_tiny(void **state)
{
    imp_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_seeds_give_equal_texts),
        cmocka_unit_test(threads_and_chunks_do_not_matter),
        cmocka_unit_test(pieces_join_to_the_text),
        cmocka_unit_test(buffers_of_any_size),
        cmocka_unit_test(stop_strings_end_it_and_never_appear),
        cmocka_unit_test(ends_are_told),
        cmocka_unit_test(callbacks_stop_it),
        cmocka_unit_test(common_beginnings_are_reused),
        cmocka_unit_test(recurrent_models_go_back_too),
        cmocka_unit_test(steps_follow_the_loop),
        cmocka_unit_test(dry_breaks_a_loop),
    };
    return cmocka_run_group_tests(tests, open_tiny, close_tiny);
}
