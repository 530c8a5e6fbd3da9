/* Masks made beside the computation are the masks made on the spot, for one generation and for many at once. */
#include "cmocka_all.h"
#include "compute/cpu/cpu_backend.h"
#include "runtime/constraint_vocab.h"
#include "runtime/engine.h"

#include <pthread.h>
#include <stdlib.h>

enum { N_GUIDES = 6, N_SOURCES = 3, WORDS = (CONSTRAINT_TEST_TOKENS + 31) / 32, MAX_ANSWER = 40 };

static const char *const sources[N_SOURCES] = {
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"pattern\":\"^[a-z]{2,9}$\"},\"n\":{\"type\":\"integer\"}}}",
    "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"object\",\"maxProperties\":2}}",
    "{\"anyOf\":[{\"type\":\"number\",\"minimum\":-20},{\"type\":\"string\"},{\"enum\":[\"red\",null,[1,2]]}]}",
};

static void compile_all(Constraint *constraints[N_SOURCES])
{
    for (size_t i = 0; i < N_SOURCES; i++)
        assert_int_equal(constraint_compile_schema_text(sources[i], strlen(sources[i]), &constraints[i]), IMP_OK);
}

static int32_t pick(const uint32_t *bits, unsigned *seed)
{
    int32_t choices[CONSTRAINT_TEST_TOKENS];
    int32_t n = 0;
    for (int32_t token = 0; token < CONSTRAINT_TEST_TOKENS; token++) {
        if ((bits[token / 32] >> token % 32 & 1) != 0) choices[n++] = token;
    }
    assert_true(n > 0);
    return choices[(size_t)rand_r(seed) % (size_t)n];
}

static void test_prepared_masks_are_the_same(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    ConstraintVocab *other = constraint_test_vocab(); /* its cache is its own */
    GuideWorker *worker = NULL;
    Constraint *constraints[N_SOURCES];
    Guide guides[N_GUIDES];
    Guide plain[N_GUIDES];
    unsigned seed = 3;
    compile_all(constraints);
    assert_int_equal(guide_worker_create(&worker), IMP_OK);
    for (size_t i = 0; i < N_GUIDES; i++) {
        assert_int_equal(guide_open(&guides[i], constraints[i % N_SOURCES], vocab), IMP_OK);
        assert_int_equal(guide_open(&plain[i], constraints[i % N_SOURCES], other), IMP_OK);
    }
    for (int step = 0; step < 120; step++) {
        for (size_t i = 0; i < N_GUIDES; i++) guide_prepare(&guides[i], worker);
        for (size_t i = N_GUIDES; i-- > 0;) {
            const uint32_t *allowed = NULL;
            const uint32_t *expected = NULL;
            assert_int_equal(guide_allowed(&guides[i], &allowed), IMP_OK);
            assert_int_equal(guide_allowed(&plain[i], &expected), IMP_OK);
            assert_memory_equal(allowed, expected, WORDS * sizeof *allowed);
            const int32_t token = pick(allowed, &seed);
            assert_int_equal(guide_accept(&guides[i], token), IMP_OK);
            assert_int_equal(guide_accept(&plain[i], token), IMP_OK);
            if (token != CONSTRAINT_TEST_END && !guide_finished(&guides[i])) continue;
            guide_close(&guides[i]);
            guide_close(&plain[i]);
            assert_int_equal(guide_open(&guides[i], constraints[i % N_SOURCES], vocab), IMP_OK);
            assert_int_equal(guide_open(&plain[i], constraints[i % N_SOURCES], other), IMP_OK);
        }
    }
    /* Closed while they wait or are worked at. */
    for (size_t i = 0; i < N_GUIDES; i++) guide_prepare(&guides[i], worker);
    for (size_t i = 0; i < N_GUIDES; i++) {
        guide_close(&guides[(i * 5 + 2) % N_GUIDES]);
        guide_close(&plain[i]);
    }
    guide_worker_free(worker);
    for (size_t i = 0; i < N_SOURCES; i++) constraint_free(constraints[i]);
    constraint_vocab_free(vocab);
    constraint_vocab_free(other);
}

typedef struct Answer {
    pthread_mutex_t mutex;
    pthread_cond_t signal;
    int32_t tokens[MAX_ANSWER];
    int32_t n_tokens;
    bool done;
    ImpStopReason reason;
} Answer;

static void on_event(void *user, const ImpEvent *event)
{
    Answer *answer = user;
    (void)pthread_mutex_lock(&answer->mutex);
    if (event->kind == IMP_EVENT_TOKEN) {
        answer->tokens[answer->n_tokens++] = event->token;
    } else {
        answer->done = true;
        answer->reason = event->stop_reason;
        (void)pthread_cond_signal(&answer->signal);
    }
    (void)pthread_mutex_unlock(&answer->mutex);
}

/* Every token of the model's vocabulary is a character of those that JSON needs, and some more; the last one is the end. */
static ConstraintVocab *byte_vocab(int32_t n_vocab)
{
    static const char characters[] = "{}[]\",:-.0123456789 abcdefghijklmnopqrstuvwxyzE+_\\/!?ABCDFGHIJKLMNOP";
    ConstraintToken *tokens = calloc((size_t)n_vocab, sizeof *tokens);
    const int32_t end = n_vocab - 1;
    ConstraintVocab *vocab = NULL;
    for (int32_t i = 0; i + 1 < n_vocab; i++) {
        tokens[i] = (ConstraintToken){&characters[(size_t)i % (sizeof characters - 1)], 1};
    }
    assert_int_equal(constraint_vocab_create(tokens, n_vocab, &end, 1, &vocab), IMP_OK);
    free(tokens);
    return vocab;
}

static void answer_all(Backend *backend, const Model *model, int32_t max_sequences, const Constraint *const *constraints,
                       ConstraintVocab *vocab, Answer answers[N_GUIDES])
{
    EngineOptions options = {.runner = runner_default_options(), .max_waiting = 20};
    Engine *engine = NULL;
    options.runner.max_tokens = 64;
    options.runner.max_sequences = max_sequences;
    options.runner.chunk = 16;
    options.runner.kv_tokens = 1024;
    assert_int_equal(engine_create(backend, model, NULL, &options, &engine), IMP_OK);
    for (int32_t i = 0; i < N_GUIDES; i++) {
        const int32_t prompt[] = {i, 2, 3};
        uint64_t id = 0;
        EngineRequest request = {.tokens = prompt,
                                 .n_tokens = 3,
                                 .sampler = sampler_default_params(),
                                 .max_tokens = MAX_ANSWER,
                                 .callback = on_event,
                                 .user = &answers[i],
                                 .constraint = constraints[i % N_SOURCES],
                                 .vocab = vocab};
        request.sampler.seed = (uint64_t)i + 7;
        request.sampler.temperature = 1.5f;
        answers[i] = (Answer){0};
        (void)pthread_mutex_init(&answers[i].mutex, NULL);
        (void)pthread_cond_init(&answers[i].signal, NULL);
        assert_int_equal(engine_submit(engine, &request, &id), IMP_OK);
    }
    for (int32_t i = 0; i < N_GUIDES; i++) {
        (void)pthread_mutex_lock(&answers[i].mutex);
        while (!answers[i].done) (void)pthread_cond_wait(&answers[i].signal, &answers[i].mutex);
        (void)pthread_mutex_unlock(&answers[i].mutex);
    }
    engine_free(engine);
}

/* A batch in which each sequence has its own constraint gives each what it gets alone, and what its constraint allows. */
static void test_each_sequence_has_its_own(void **state)
{
    (void)state;
    ModelFile *file = NULL;
    Model *model = NULL;
    Backend *backend = NULL;
    Constraint *constraints[N_SOURCES];
    static Answer alone[N_GUIDES], together[N_GUIDES];
    const CpuOptions cpu = {.n_threads = 2};
    assert_int_equal(model_file_open(IMP_TEST_DATA "/oracle/golden/llama/model.gguf", MODEL_FORMAT_AUTO, &file), IMP_OK);
    assert_int_equal(model_load(file, &model), IMP_OK);
    assert_int_equal(cpu_backend_create(&cpu, &backend), IMP_OK);
    assert_int_equal(backend->ops->prepare(backend, model, NULL), IMP_OK);
    ConstraintVocab *vocab = byte_vocab(model->n_vocab);
    compile_all(constraints);
    answer_all(backend, model, 1, (const Constraint *const *)constraints, vocab, alone);
    answer_all(backend, model, N_GUIDES, (const Constraint *const *)constraints, vocab, together);
    for (int32_t i = 0; i < N_GUIDES; i++) {
        ConstraintState *text = NULL;
        assert_int_equal(alone[i].n_tokens, together[i].n_tokens);
        assert_memory_equal(alone[i].tokens, together[i].tokens, (size_t)alone[i].n_tokens * sizeof(int32_t));
        assert_int_equal(alone[i].reason, together[i].reason);
        assert_int_equal(constraint_state_create(constraints[i % N_SOURCES], vocab, &text), IMP_OK);
        for (int32_t t = 0; t < alone[i].n_tokens; t++) assert_true(constraint_advance(text, alone[i].tokens[t]));
        assert_true(alone[i].reason == IMP_STOP_LENGTH || constraint_complete(text));
        constraint_state_free(text);
    }
    for (size_t i = 0; i < N_SOURCES; i++) constraint_free(constraints[i]);
    constraint_vocab_free(vocab);
    backend->ops->release(backend, model);
    backend->ops->destroy(backend);
    model_free(model);
    model_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepared_masks_are_the_same),
        cmocka_unit_test(test_each_sequence_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
