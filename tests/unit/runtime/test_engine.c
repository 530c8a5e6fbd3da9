/* test_engine.c - many requests at once say what each says alone, whatever happens to them on the way. */
#include "cmocka_all.h"

#include "compute/cpu/cpu_backend.h"
#include "compute/cuda/cuda_backend.h"
#include "compute/split.h"
#include "runtime/engine.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ANSWER = 64, N_VOCAB = 76 };

typedef struct Fixture {
    ModelFile *file;
    Model *model;
    Backend *backend;
} Fixture;

/* Built twice: for the processor, and with IMP_TEST_GPU for the first GPU, whose tier IMP_TIER=0 lowers; with IMP_SPLIT=1 the
 * first layer is the processor's then. */
static ImpStatus create_backend(Backend **out)
{
    const CpuOptions cpu = {.n_threads = 2};
#ifdef IMP_TEST_GPU
    const CudaOptions cuda = {.tier = getenv("IMP_TIER") != NULL ? CUDA_USE_PORTABLE : CUDA_USE_AUTO,
                              .deterministic = true};
    Backend *first = NULL, *second = NULL;
    if (getenv("IMP_SPLIT") == NULL) return cuda_backend_create(&cuda, out);
    IMP_TRY(cpu_backend_create(&cpu, &first));
    IMP_TRY(cuda_backend_create(&cuda, &second));
    return split_backend_create(first, second, 1, out);
#else
    return cpu_backend_create(&cpu, out);
#endif
}

static void open_fixture(Fixture *fixture, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/oracle/golden/%s/model.gguf", IMP_TEST_DATA, name);
    assert_int_equal(model_file_open(path, MODEL_FORMAT_AUTO, &fixture->file), IMP_OK);
    assert_int_equal(model_load(fixture->file, &fixture->model), IMP_OK);
    assert_int_equal(create_backend(&fixture->backend), IMP_OK);
    assert_int_equal(fixture->backend->ops->prepare(fixture->backend, fixture->model, NULL), IMP_OK);
}

static void close_fixture(Fixture *fixture)
{
    fixture->backend->ops->release(fixture->backend, fixture->model);
    fixture->backend->ops->destroy(fixture->backend);
    model_free(fixture->model);
    model_file_close(fixture->file);
}

/* One request and what came of it. */
typedef struct Answer {
    pthread_mutex_t mutex;
    pthread_cond_t done_signal;
    int32_t tokens[MAX_ANSWER];
    float logprobs[MAX_ANSWER];
    int32_t n_tokens, cached_tokens;
    bool done;
    ImpStopReason reason;
    ImpStatus status;
    int32_t n_embd; /* of the embedding that is awaited */
    float embedding[256];
} Answer;

static void on_event(void *user, const ImpEvent *event)
{
    Answer *answer = user;
    pthread_mutex_lock(&answer->mutex);
    assert_false(answer->done); /* nothing comes after the last event */
    if (event->kind == IMP_EVENT_TOKEN) {
        answer->logprobs[answer->n_tokens] = event->logprob;
        answer->tokens[answer->n_tokens++] = event->token;
    } else {
        answer->done = true;
        answer->reason = event->stop_reason;
        answer->status = event->status;
        answer->cached_tokens = event->cached_tokens;
        if (event->embedding != NULL)
            memcpy(answer->embedding, event->embedding, (size_t)answer->n_embd * sizeof(float));
        pthread_cond_signal(&answer->done_signal);
    }
    pthread_mutex_unlock(&answer->mutex);
}

static void answer_init(Answer *answer)
{
    *answer = (Answer){0};
    (void)pthread_mutex_init(&answer->mutex, NULL);
    (void)pthread_cond_init(&answer->done_signal, NULL);
}

static void answer_wait(Answer *answer)
{
    pthread_mutex_lock(&answer->mutex);
    while (!answer->done) pthread_cond_wait(&answer->done_signal, &answer->mutex);
    pthread_mutex_unlock(&answer->mutex);
}

/* Request number i: a prompt of its own length behind a prefix that many share. */
static void make_prompt(int32_t i, int32_t *tokens, int32_t *n_tokens)
{
    *n_tokens = 20 + i * 7 % 60;
    for (int32_t t = 0; t < *n_tokens; t++) tokens[t] = t < 18 ? (t * 5 + i % 2) % N_VOCAB : (t * 11 + i * 3) % N_VOCAB;
}

static uint64_t submit(Engine *engine, int32_t i, int32_t max_tokens, Answer *answer)
{
    int32_t tokens[128];
    EngineRequest request = {.tokens = tokens,
                             .sampler = sampler_default_params(),
                             .max_tokens = max_tokens,
                             .ignore_end = true,
                             .want_logprobs = i % 2 == 0, /* others may be drawn by the backend */
                             .callback = on_event,
                             .user = answer};
    uint64_t id;
    make_prompt(i, tokens, &request.n_tokens);
    request.sampler.seed = (uint64_t)i;
    request.sampler.temperature = 1.5f;
    answer_init(answer);
    assert_int_equal(engine_submit(engine, &request, &id), IMP_OK);
    return id;
}

static Engine *make_engine(const Fixture *fixture, int32_t max_sequences, int32_t kv_tokens, bool prefix_index)
{
    EngineOptions options = {.runner = runner_default_options(), .max_waiting = 200};
    options.runner.max_tokens = 128;
    options.runner.max_sequences = max_sequences;
    options.runner.chunk = 48;
    options.runner.kv_tokens = kv_tokens;
    options.runner.prefix_index = prefix_index;
    options.runner.n_snapshots = 8;
    options.runner.pin_percent = 25;
    Engine *engine;
    assert_int_equal(engine_create(fixture->backend, fixture->model, NULL, &options, &engine), IMP_OK);
    return engine;
}

/* A hundred at once, with room for few of them and prefixes shared, against each one alone without an index. */
static void load_changes_nothing(const char *name)
{
    enum { N = 100 };
    static Answer alone[N], together[N];
    Fixture fixture;
    open_fixture(&fixture, name);
    Engine *engine = make_engine(&fixture, 1, 128, false);
    for (int32_t i = 0; i < N; i++) {
        (void)submit(engine, i, 30, &alone[i]);
        answer_wait(&alone[i]);
    }
    engine_free(engine);
    engine = make_engine(&fixture, 8, 300, true);
    for (int32_t i = 0; i < N; i++) (void)submit(engine, i, 30, &together[i]);
    for (int32_t i = 0; i < N; i++) answer_wait(&together[i]);
    ImpEngineStats stats;
    usleep(20000);
    engine_stats(engine, &stats);
    assert_int_equal(stats.finished, N);
    assert_true(stats.preempted > 0 && stats.preempted < 2 * N); /* nobody is put back over and over */
    assert_true(stats.cached_tokens > 0);
    assert_int_equal(stats.pages_in_use, 0);
    for (int32_t i = 0; i < N; i++) {
        assert_int_equal(together[i].n_tokens, 30);
        assert_memory_equal(together[i].tokens, alone[i].tokens, 30 * sizeof(int32_t));
        assert_memory_equal(together[i].logprobs, alone[i].logprobs, 30 * sizeof(float));
        assert_int_equal(together[i].reason, IMP_STOP_LENGTH);
    }
    engine_free(engine);
    close_fixture(&fixture);
}

static void load_changes_no_dense_model(void **state)
{
    (void)state;
    load_changes_nothing("llama");
}
static void load_changes_no_windowed_model(void **state)
{
    (void)state;
    load_changes_nothing("gemma3");
}
static void load_changes_no_model_with_state(void **state)
{
    (void)state;
    load_changes_nothing("lfm2");
}

static void a_second_turn_computes_only_what_is_new(void **state)
{
    (void)state;
    const char *const names[] = {"llama", "gemma3", "lfm2"};
    for (size_t n = 0; n < 3; n++) {
        Fixture fixture;
        open_fixture(&fixture, names[n]);
        Engine *engine = make_engine(&fixture, 4, 1024, true);
        int32_t tokens[128];
        for (int32_t i = 0; i < 128; i++) tokens[i] = i * 7 % N_VOCAB;
        Answer answers[2];
        for (int32_t turn = 0; turn < 2; turn++) {
            EngineRequest request = {.tokens = tokens,
                                     .n_tokens = turn == 0 ? 70 : 90,
                                     .max_tokens = 4,
                                     .ignore_end = true,
                                     .sampler = sampler_default_params(),
                                     .callback = on_event,
                                     .user = &answers[turn]};
            uint64_t id;
            answer_init(&answers[turn]);
            assert_int_equal(engine_submit(engine, &request, &id), IMP_OK);
            answer_wait(&answers[turn]);
        }
        assert_int_equal(answers[0].cached_tokens, 0);
        assert_int_equal(answers[1].cached_tokens, 64); /* the last page border of the first prompt */
        engine_free(engine);
        close_fixture(&fixture);
    }
}

/* Cached tokens of a request of `n_tokens` that agrees with others of its `text` in the first 40. */
static int32_t ask(Engine *engine, int32_t text, int32_t rest, int32_t n_pinned)
{
    int32_t tokens[100];
    for (int32_t i = 0; i < 100; i++) tokens[i] = (i < 40 ? i * 7 + text * 13 : i * (5 + rest) + text + rest) % N_VOCAB;
    Answer answer;
    const EngineRequest request = {.tokens = tokens,
                                   .n_tokens = 100,
                                   .max_tokens = 2,
                                   .ignore_end = true,
                                   .n_pinned = n_pinned,
                                   .pin_seconds = 1000,
                                   .sampler = sampler_default_params(),
                                   .callback = on_event,
                                   .user = &answer};
    uint64_t id;
    answer_init(&answer);
    assert_int_equal(engine_submit(engine, &request, &id), IMP_OK);
    answer_wait(&answer);
    assert_int_equal(answer.status, IMP_OK);
    return answer.cached_tokens;
}

static void a_pinned_prefix_outlives_others(void **state)
{
    (void)state;
    const char *const names[] = {"llama", "gemma3", "lfm2"};
    for (size_t n = 0; n < 3; n++) {
        Fixture fixture;
        open_fixture(&fixture, names[n]);
        for (int32_t pinned = 0; pinned <= 40; pinned += 40) {
            Engine *engine = make_engine(&fixture, 2, 256, true);
            assert_int_equal(ask(engine, 0, 0, pinned), 0);
            for (int32_t text = 1; text < 12; text++) assert_int_equal(ask(engine, text, 0, 0), 0);
            assert_int_equal(ask(engine, 0, 1, 0), pinned > 0 ? 32 : 0); /* to the last border of pages before 40 */
            engine_free(engine);
        }
        close_fixture(&fixture);
    }
}

static void cancelled_requests_end_once_and_free_their_pages(void **state)
{
    (void)state;
    enum { N = 40 };
    static Answer answers[N];
    uint64_t ids[N];
    Fixture fixture;
    open_fixture(&fixture, "llama");
    Engine *engine = make_engine(&fixture, 4, 512, true);
    for (int32_t i = 0; i < N; i++) ids[i] = submit(engine, i, 40, &answers[i]);
    for (int32_t i = 0; i < N; i += 2) engine_cancel(engine, ids[i]);
    for (int32_t i = 0; i < N; i++) answer_wait(&answers[i]);
    for (int32_t i = 0; i < N; i++) assert_true(answers[i].reason == IMP_STOP_CANCELLED || answers[i].n_tokens == 40);
    ImpEngineStats stats;
    usleep(20000);
    engine_stats(engine, &stats);
    assert_int_equal(stats.pages_in_use, 0);
    assert_int_equal(stats.running + stats.waiting, 0);
    assert_int_equal(stats.finished + stats.cancelled, N);
    engine_free(engine);
    close_fixture(&fixture);
}

static void freeing_the_engine_ends_what_is_left(void **state)
{
    (void)state;
    static Answer answers[20];
    Fixture fixture;
    open_fixture(&fixture, "llama");
    Engine *engine = make_engine(&fixture, 2, 256, true);
    for (int32_t i = 0; i < 20; i++) (void)submit(engine, i, 60, &answers[i]);
    engine_free(engine);
    for (int32_t i = 0; i < 20; i++) assert_true(answers[i].done);
    close_fixture(&fixture);
}

static void embeddings_do_not_depend_on_load(void **state)
{
    (void)state;
    Fixture fixture;
    open_fixture(&fixture, "llama");
    static Answer others[10];
    Answer answers[2];
    for (int32_t round = 0; round < 2; round++) {
        Engine *engine = make_engine(&fixture, 8, 1024, true);
        for (int32_t i = 0; i < 10 * round; i++) (void)submit(engine, i, 20, &others[i]);
        int32_t tokens[100];
        for (int32_t i = 0; i < 100; i++) tokens[i] = i * 3 % N_VOCAB;
        const EngineRequest request = {.tokens = tokens,
                                       .n_tokens = 100,
                                       .embedding = true,
                                       .callback = on_event,
                                       .sampler = sampler_default_params(),
                                       .user = &answers[round]};
        uint64_t id;
        answer_init(&answers[round]);
        answers[round].n_embd = fixture.model->n_embd;
        assert_int_equal(engine_submit(engine, &request, &id), IMP_OK);
        answer_wait(&answers[round]);
        engine_free(engine);
    }
    float norm = 0;
    for (int32_t i = 0; i < fixture.model->n_embd; i++) norm += answers[0].embedding[i] * answers[0].embedding[i];
    assert_true(fabsf(norm - 1) < 1e-5f);
    assert_memory_equal(answers[0].embedding, answers[1].embedding, sizeof answers[0].embedding);
    close_fixture(&fixture);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    Fixture fixture;
    open_fixture(&fixture, "llama");
    Engine *engine = make_engine(&fixture, 2, 256, true);
    int32_t tokens[200] = {0};
    uint64_t id;
    EngineRequest request = {
        .tokens = tokens, .n_tokens = 0, .sampler = sampler_default_params(), .callback = on_event};
    assert_int_equal(engine_submit(engine, &request, &id), IMP_ERR_INVALID_ARGUMENT);
    request.n_tokens = 129;
    assert_int_equal(engine_submit(engine, &request, &id), IMP_ERR_CONTEXT_FULL);
    request.n_tokens = 3;
    tokens[2] = N_VOCAB;
    assert_int_equal(engine_submit(engine, &request, &id), IMP_ERR_INVALID_ARGUMENT);
    tokens[2] = 0;
    request.sampler.top_p = -1;
    assert_int_equal(engine_submit(engine, &request, &id), IMP_ERR_INVALID_ARGUMENT);
    engine_free(engine);
    close_fixture(&fixture);
}

int main(void)
{
#ifdef IMP_TEST_GPU
    if (cuda_device_count() == 0) return 77; /* skipped */
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_changes_no_dense_model),
        cmocka_unit_test(load_changes_no_windowed_model),
        cmocka_unit_test(load_changes_no_model_with_state),
        cmocka_unit_test(a_second_turn_computes_only_what_is_new),
        cmocka_unit_test(a_pinned_prefix_outlives_others),
        cmocka_unit_test(cancelled_requests_end_once_and_free_their_pages),
        cmocka_unit_test(freeing_the_engine_ends_what_is_left),
        cmocka_unit_test(embeddings_do_not_depend_on_load),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
