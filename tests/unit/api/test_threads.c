/*
 * test_threads.c - eight contexts of one model generate at once, each in its own thread, and say what one alone says.
 * Made for ThreadSanitizer: -DIMP_SANITIZE=thread.
 */
#include "api_test.h"

#include <pthread.h>

enum { N_THREADS = 8, TEXT_BYTES = 1024 };

static const char *const prompts[] = {"the hand", "and on", "in the end", "one more"};

typedef struct Worker {
    pthread_t thread;
    ImpModel model;
    int32_t index;
    char text[TEXT_BYTES], error[200];
} Worker;

static bool count_pieces(void *user, const char *text, size_t length)
{
    (void)text;
    *(size_t *)user += length;
    return true;
}

/* Everything that several threads may do with one model, each with a context of its own. */
static ImpStatus work(Worker *worker, ImpContext *context)
{
    const ImpConfig config = {.size = offsetof(ImpConfig, max_sequences),
                              .gpu_layers = -1,
                              .n_threads = 1 + worker->index % 2,
                              .max_seq_len = 256};
    const ImpMessage message = {"user", prompts[worker->index % 4]};
    ImpGenerateParams params = steady_params(16);
    char rendered[TEXT_BYTES];
    size_t streamed = 0;
    ImpStatus status = imp_context_create(worker->model, &config, context);
    if (status == IMP_OK) status = imp_chat_render(worker->model, &message, 1, NULL, rendered, sizeof rendered, NULL);
    if (status == IMP_OK) status = imp_generate_stream(*context, rendered, &params, count_pieces, &streamed);
    if (status == IMP_OK)
        status = imp_generate(*context, prompts[worker->index % 4], &params, worker->text, sizeof worker->text, NULL);
    return status;
}

static void *run(void *argument)
{
    Worker *worker = argument;
    ImpContext context = NULL;
    if (work(worker, &context) != IMP_OK) strncpy(worker->error, imp_last_error(), sizeof worker->error - 1);
    imp_context_free(context);
    return NULL;
}

static void eight_contexts_at_once(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    Worker workers[N_THREADS];
    memset(workers, 0, sizeof workers);
    for (int32_t i = 0; i < N_THREADS; i++) {
        workers[i].model = model;
        workers[i].index = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (int32_t i = 0; i < N_THREADS; i++) assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    ImpContext alone = open_context(model);
    const ImpGenerateParams params = steady_params(16);
    for (int32_t i = 0; i < N_THREADS; i++) {
        char expected[TEXT_BYTES];
        assert_string_equal(workers[i].error, "");
        assert_ok(imp_generate(alone, prompts[i % 4], &params, expected, sizeof expected, NULL));
        assert_string_equal(workers[i].text, expected);
    }
    imp_context_free(alone);
    imp_model_free(model);
}

static void *cancel_soon(void *argument)
{
    ImpContext context = argument;
    for (int i = 0; i < 200; i++) {
        const struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
        imp_context_cancel(context);
    }
    return NULL;
}

static bool go_on(void *user, const char *text, size_t length)
{
    (void)text;
    (void)length;
    const struct timespec pause = {.tv_nsec = 2000000};
    (void)nanosleep(&pause, NULL);
    return ++*(int *)user < 400;
}

/* A generation that would take long is cancelled from another thread. */
static void another_thread_cancels(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    ImpContext context = open_context(model);
    const ImpGenerateParams params = steady_params(0);
    pthread_t thread;
    int pieces = 0;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, context), 0);
    const ImpStatus status = imp_generate_stream(context, "the", &params, go_on, &pieces);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(status, IMP_ERR_CANCELLED);
    assert_int_equal(stats_of(context).stop_reason, IMP_STOP_CANCELLED);
    imp_context_free(context);
    imp_model_free(model);
}

/* The sentence is the failing thread's own. */
static void *fail_elsewhere(void *argument)
{
    ImpModel model;
    (void)imp_model_load("/nowhere/in/the/other/thread", IMP_FORMAT_AUTO, &model);
    strncpy(argument, imp_last_error(), 199);
    return NULL;
}

static void sentences_belong_to_threads(void **state)
{
    (void)state;
    ImpModel model;
    char other[200] = "";
    pthread_t thread;
    assert_int_equal(imp_model_load("/nowhere/here", IMP_FORMAT_AUTO, &model), IMP_ERR_IO);
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(strstr(imp_last_error(), "/nowhere/here"));
    assert_non_null(strstr(other, "/nowhere/in/the/other/thread"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_contexts_at_once),
        cmocka_unit_test(another_thread_cancels),
        cmocka_unit_test(sentences_belong_to_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
