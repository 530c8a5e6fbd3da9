/* test_inspect.c - logits of every token, layers, perplexity and several sequences agree with plain generation. */
#include "api_test.h"

enum { N_PROMPT = 45 };

typedef struct Rows {
    float *logits; /* [n][n_vocab] */
    int32_t n, n_vocab, most;
    int32_t stop_at;
} Rows;

static bool on_rows(void *user, int32_t first_row, int32_t n_rows, int32_t n_vocab, const float *logits)
{
    Rows *rows = user;
    assert_int_equal(first_row, rows->n);
    rows->n_vocab = n_vocab;
    if (n_rows > rows->most) rows->most = n_rows;
    rows->logits = realloc(rows->logits, (size_t)(rows->n + n_rows) * (size_t)n_vocab * sizeof(float));
    memcpy(rows->logits + (size_t)rows->n * (size_t)n_vocab, logits, (size_t)n_rows * (size_t)n_vocab * sizeof(float));
    rows->n += n_rows;
    return rows->stop_at == 0 || rows->n < rows->stop_at;
}

static void make_prompt(int32_t *tokens, int32_t n)
{
    for (int32_t i = 0; i < n; i++) tokens[i] = 4 + i * 37 % 250;
}

static ImpContext context_with(ImpModel model, int32_t max_logits, int32_t max_sequences)
{
    ImpConfig config = small_config();
    config.max_logits = max_logits;
    config.max_sequences = max_sequences;
    ImpContext context = NULL;
    assert_ok(imp_context_create(model, &config, &context));
    return context;
}

static void every_row_is_what_a_prefill_gives(void **state)
{
    ImpModel model = *state;
    int32_t tokens[N_PROMPT], n_held;
    make_prompt(tokens, N_PROMPT);
    ImpContext context = context_with(model, 7, 1);
    Rows rows = {.n = 0};
    assert_ok(imp_evaluate(context, tokens, N_PROMPT, on_rows, &rows));
    assert_int_equal(rows.n, N_PROMPT);
    assert_int_equal(rows.most, 7);
    (void)imp_context_tokens(context, &n_held);
    assert_int_equal(n_held, 0);
    for (int32_t n = 1; n <= N_PROMPT; n += 11) {
        imp_context_reset(context);
        assert_ok(imp_prefill(context, tokens, n));
        assert_memory_equal(imp_logits(context), rows.logits + (size_t)(n - 1) * (size_t)rows.n_vocab,
                            (size_t)rows.n_vocab * sizeof(float));
    }

    /* A callback can end it. */
    Rows few = {.stop_at = 10};
    assert_fails(imp_evaluate(context, tokens, N_PROMPT, on_rows, &few), IMP_ERR_CANCELLED, "cancelled");
    assert_int_equal(few.n, 14);
    assert_ok(imp_prefill(context, tokens, 3));
    free(few.logits);
    free(rows.logits);
    imp_context_free(context);
}

typedef struct Layers {
    int32_t expected, n_rows, calls;
    float last;
} Layers;

static void on_layer(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width)
{
    Layers *layers = user;
    assert_int_equal(layer, layers->expected);
    assert_int_equal(n_rows, layers->n_rows);
    assert_int_equal(width, 32);
    layers->expected = layer == 2 ? -1 : layer + 1;
    layers->calls++;
    layers->last = rows[(size_t)n_rows * (size_t)width - 1];
    assert_true(isfinite(layers->last));
}

static void layers_are_seen_in_order(void **state)
{
    ImpModel model = *state;
    int32_t tokens[N_PROMPT];
    make_prompt(tokens, N_PROMPT);
    ImpContext context = open_context(model);
    Layers layers = {.expected = -1, .n_rows = N_PROMPT};
    assert_ok(imp_watch_layers(context, on_layer, &layers));
    assert_ok(imp_prefill(context, tokens, N_PROMPT));
    assert_int_equal(layers.calls, 4); /* embedding, two layers, final norm */
    assert_ok(imp_watch_layers(context, NULL, NULL));
    assert_ok(imp_prefill(context, tokens, 5));
    assert_int_equal(layers.calls, 4);
    imp_context_free(context);
}

/* -ln p of `token` by the definition. */
static double surprise(const float *logits, int32_t n_vocab, int32_t token)
{
    double max = -INFINITY, sum = 0.0;
    for (int32_t i = 0; i < n_vocab; i++) max = fmax(max, (double)logits[i]);
    for (int32_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - max);
    return log(sum) + max - (double)logits[token];
}

static void perplexity_is_its_definition(void **state)
{
    ImpModel model = *state;
    enum { N = 100 };
    int32_t tokens[N];
    make_prompt(tokens, N);
    ImpContext context = context_with(model, 6, 1);
    const int32_t windows[] = {32, 33, 2, 100};
    for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
        const int32_t window = windows[w], n_windows = N / window;
        double sum = 0.0;
        for (int32_t i = 0; i < n_windows; i++) {
            int32_t part[N];
            memcpy(part, tokens + i * window, (size_t)window * sizeof *part);
            part[0] = 0; /* BOS: the model adds one */
            Rows rows = {.n = 0};
            assert_ok(imp_evaluate(context, part, window, on_rows, &rows));
            for (int32_t t = window / 2; t < window; t++)
                sum += surprise(rows.logits + (size_t)(t - 1) * (size_t)rows.n_vocab, rows.n_vocab, part[t]);
            free(rows.logits);
        }
        const int64_t n_scored = (int64_t)n_windows * (window - window / 2);
        ImpPerplexity result = {.size = sizeof result};
        assert_ok(imp_perplexity(context, tokens, N, window, &result));
        assert_int_equal(result.n_scored, n_scored);
        assert_int_equal(result.n_windows, n_windows);
        assert_true(fabs(result.mean_nll - sum / (double)n_scored) < 1e-5);
        assert_true(fabs(log(result.perplexity) - result.mean_nll) < 1e-12);
    }
    ImpPerplexity result = {.size = sizeof result};
    assert_fails(imp_perplexity(context, tokens, N, 0, &result), IMP_ERR_INVALID_ARGUMENT, "no window of 512");
    assert_fails(imp_perplexity(context, tokens, N, 513, &result), IMP_ERR_INVALID_ARGUMENT, "2 to 512 are possible");
    tokens[3] = 267;
    assert_fails(imp_perplexity(context, tokens, N, 50, &result), IMP_ERR_INVALID_ARGUMENT, "token id 267");
    imp_context_free(context);
}

static void sequences_do_not_disturb_each_other(void **state)
{
    ImpModel model = *state;
    enum { N_SEQUENCES = 3, N_VOCAB = 267 };
    int32_t tokens[N_PROMPT], sequences[N_SEQUENCES], extra;
    make_prompt(tokens, N_PROMPT);
    ImpContext context = context_with(model, 8, N_SEQUENCES + 1);
    for (int32_t i = 0; i < N_SEQUENCES; i++) assert_ok(imp_sequence_open(context, &sequences[i]));
    assert_fails(imp_sequence_open(context, &extra), IMP_ERR_CONTEXT_FULL, "in use");
    assert_int_equal(extra, -1);

    /* Prompts of different lengths in one step, then one token each. */
    float logits[2 * N_SEQUENCES * N_VOCAB];
    ImpStepInput inputs[N_SEQUENCES];
    for (int32_t i = 0; i < N_SEQUENCES; i++)
        inputs[i] = (ImpStepInput){.sequence = sequences[i], .tokens = tokens + i, .n_tokens = 10 + i, .n_logits = 2};
    assert_ok(imp_step(context, inputs, N_SEQUENCES, logits));
    for (int32_t i = 0; i < N_SEQUENCES; i++) {
        assert_int_equal(imp_sequence_length(context, sequences[i]), 10 + i);
        inputs[i] = (ImpStepInput){.sequence = sequences[i], .tokens = tokens + 40, .n_tokens = 1, .n_logits = 1};
    }
    assert_ok(imp_step(context, inputs, N_SEQUENCES, logits));
    for (int32_t i = 0; i < N_SEQUENCES; i++) {
        ImpContext alone = open_context(model);
        assert_ok(imp_prefill(alone, tokens + i, 10 + i));
        assert_ok(imp_prefill(alone, tokens + 40, 1));
        assert_memory_equal(imp_logits(alone), logits + i * N_VOCAB, N_VOCAB * sizeof(float));
        imp_context_free(alone);
    }

    /* Back, and wrong uses. */
    int32_t kept;
    assert_ok(imp_sequence_truncate(context, sequences[1], 4, &kept));
    assert_int_equal(kept, 4);
    assert_int_equal(imp_sequence_length(context, sequences[1]), 4);
    inputs[1].sequence = inputs[0].sequence;
    assert_fails(imp_step(context, inputs, 2, logits), IMP_ERR_INVALID_ARGUMENT, "in the step twice");
    assert_fails(imp_step(context, inputs, 1, NULL), IMP_ERR_INVALID_ARGUMENT, "logits is NULL");
    inputs[0].n_logits = 9;
    inputs[0].n_tokens = 9;
    inputs[0].tokens = tokens;
    assert_fails(imp_step(context, inputs, 1, logits), IMP_ERR_INVALID_ARGUMENT, "9 logits");
    assert_fails(imp_step(context, inputs, 5, logits), IMP_ERR_INVALID_ARGUMENT, "1 to 4 are possible");
    assert_ok(imp_sequence_close(context, sequences[0]));
    assert_fails(imp_step(context, inputs, 1, logits), IMP_ERR_INVALID_ARGUMENT, "no sequence");
    assert_fails(imp_sequence_close(context, sequences[0]), IMP_ERR_INVALID_ARGUMENT, "no sequence");
    assert_fails(imp_sequence_close(context, 1000), IMP_ERR_INVALID_ARGUMENT, "1000 is no sequence");
    assert_int_equal(imp_sequence_length(context, sequences[0]), -1);
    assert_ok(imp_sequence_open(context, &extra));
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
        cmocka_unit_test(every_row_is_what_a_prefill_gives),
        cmocka_unit_test(layers_are_seen_in_order),
        cmocka_unit_test(perplexity_is_its_definition),
        cmocka_unit_test(sequences_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, open_tiny, close_tiny);
}
