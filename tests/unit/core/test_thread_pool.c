/* test_thread_pool.c - every task of every job runs once, with its own job's context, while its caller waits. */
#include "cmocka_all.h"

#include "core/thread_pool.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { MOST_TASKS = 64, N_JOBS = 100000 };

typedef struct Job {
    atomic_int runs[MOST_TASKS];
    int32_t n_tasks;
    atomic_bool open;
    atomic_int mistakes;
} Job;

static void count_task(void *context, int32_t index, int32_t thread)
{
    (void)thread;
    Job *job = context;
    if (!atomic_load(&job->open) || index >= job->n_tasks) atomic_fetch_add(&job->mistakes, 1);
    else atomic_fetch_add(&job->runs[index], 1);
}

/* Few tasks and many in turn, on more threads than processors: a worker that lags behind holds the small
 * job's end beside the large one's count. */
static void each_task_runs_once(void **state)
{
    (void)state;
    static Job jobs[2];
    ThreadPool *pool;
    assert_int_equal(thread_pool_create(24, &pool), IMP_OK);
    for (int32_t i = 0; i < N_JOBS; i++) {
        Job *job = &jobs[i % 2];
        job->n_tasks = i % 2 ? MOST_TASKS : 2;
        for (int32_t t = 0; t < job->n_tasks; t++) atomic_store(&job->runs[t], 0);
        atomic_store(&job->open, true);
        /* Of no size, of any that makes more threads and tasks at a time. */
        if (i % 3 == 0) thread_pool_run(pool, count_task, job, job->n_tasks);
        else thread_pool_run_sized(pool, count_task, job, job->n_tasks, (size_t)(i % 40) << 15);
        atomic_store(&job->open, false);
        for (int32_t t = 0; t < job->n_tasks; t++) assert_int_equal(atomic_load(&job->runs[t]), 1);
    }
    assert_int_equal(atomic_load(&jobs[0].mistakes) + atomic_load(&jobs[1].mistakes), 0);
    thread_pool_free(pool);
}

enum { LANE_THREADS = 5, LANE_TASKS = 23 };

static void note_thread(void *context, int32_t index, int32_t thread)
{
    atomic_int *threads = context;
    atomic_fetch_add(&threads[index], 1 + thread);
}

/* Lanes are what jobs hand out, and of a job in lanes nobody takes another's tasks: also not a worker that is late from the job before. */
static void lanes_stay_with_their_threads(void **state)
{
    (void)state;
    ThreadPool *pool;
    assert_int_equal(thread_pool_create(LANE_THREADS, &pool), IMP_OK);
    for (int32_t round = 0; round < 2000; round++) {
        const int32_t n_tasks = round % (LANE_TASKS + 1);
        atomic_int threads[LANE_TASKS + 1], others[LANE_TASKS + 1];
        for (int32_t i = 0; i <= LANE_TASKS; i++) {
            atomic_init(&threads[i], 0);
            atomic_init(&others[i], 0);
        }
        thread_pool_run_lanes(pool, note_thread, threads, n_tasks);
        thread_pool_run(pool, note_thread, others, LANE_TASKS);
        int32_t next = 0;
        for (int32_t lane = 0; lane < LANE_THREADS; lane++) {
            int32_t first, end;
            thread_pool_lane(n_tasks, LANE_THREADS, lane, &first, &end);
            assert_int_equal(first, next);
            for (next = end; first < end; first++) assert_int_equal(atomic_load(&threads[first]), 1 + lane);
        }
        assert_int_equal(next, n_tasks);
        for (int32_t i = 0; i < LANE_TASKS; i++) assert_in_range(atomic_load(&others[i]), 1, LANE_THREADS);
        assert_int_equal(atomic_load(&threads[n_tasks]), 0);
    }
    thread_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_runs_once),
        cmocka_unit_test(lanes_stay_with_their_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
