/*
 * thread_pool.c - every thread has a lane of tasks that follow each other, a countdown ends the job.
 *
 * A thread goes through its own lane in order, because tasks that follow each other read memory that does: two threads that
 * read blocks of 16 KiB in turn get 26 GB/s where two halves are read at 63 (Zen 4). Who has finished helps with the rear
 * of another lane, an eighth of it or half of what is left at a time, so that a processor that is busy with something
 * else costs its share of the speed and no more: the caller waits for tasks that are being run and never for workers that
 * did not come.
 *
 * A lane is one word, its next task and its end. A word that is not empty holds tasks of the running job that nobody has
 * taken, whoever looks at it and when: so whoever takes some by moving it on may run them, and reads after that which job
 * it is.
 *
 * Handing out costs too: a word travels between processors, which takes about as long as reading a few KiB. So a job of
 * known size hands out tasks of some KiB, and only as many threads take part as have enough to do.
 *
 * Workers look for work in a short spin after each job, because a decode step is hundreds of jobs microseconds apart,
 * and then sleep on a condition variable, because a chat waits for its user most of the time. Where others want the
 * processors, spinning takes away the very time that a task's thread is waiting for: so a worker's spin yields, and the
 * caller sleeps when the last tasks take longer than their share.
 */
#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* Rounds of a few dozen cycles: workers between jobs, of which they yield after each YIELD_ROUNDS; the caller at a job's end.
 * Bytes: what a thread, and what taking a task, must be worth. */
enum { SPIN_ROUNDS = 20000, YIELD_ROUNDS = 256, JOIN_ROUNDS = 4000, MAX_THREADS = 1024 };
enum { THREAD_BYTES = 64 << 10, TAKE_BYTES = 32 << 10 };

typedef struct Worker {
    ThreadPool *pool;
    pthread_t handle;
    int32_t index;
} Worker;

typedef struct Lane {
    _Alignas(64) atomic_uint_fast64_t tasks; /* end << 32 | next; empty when next is not below the end */
} Lane;

/* In a lane's word: nobody else may take from it. */
#define LANE_APART ((uint_fast64_t)1 << 63)

struct ThreadPool {
    Worker *workers; /* [n_threads - 1] */
    Lane *lanes;     /* [n_threads] */
    int32_t n_threads;
    /* The job: written by the caller while all lanes are empty. Atomic, because a worker may still be reading what the
     * last job was when the next one is written; it finds out when it tries to take a task. */
    _Atomic(ThreadTask *) task;
    _Atomic(void *) context;
    atomic_int grain; /* tasks taken at a time off a thread's own lane, */
    atomic_int piece; /* and off another's, at most */
    atomic_int most;  /* threads that take part */
    _Alignas(64) atomic_int unfinished;
    _Alignas(64) atomic_uint generation;
    atomic_bool stop;
    atomic_int parked;
    atomic_bool joining; /* the caller sleeps until the job is done */
    atomic_int started;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Counts tasks off. Sequentially consistent: either the last one sees the caller sleeping, or the caller sees the zero. */
static void finish_tasks(ThreadPool *pool, int32_t n)
{
    if (atomic_fetch_sub(&pool->unfinished, n) != n || !atomic_load(&pool->joining)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static inline uint_fast64_t lane_word(uint32_t next, uint32_t end) { return (uint_fast64_t)end << 32 | next; }

/* Takes up to `grain` tasks off the front of a lane: *first … *end - 1. False when it is empty. */
static bool take_front(Lane *lane, uint32_t grain, uint32_t *first, uint32_t *end)
{
    uint_fast64_t word = atomic_load_explicit(&lane->tasks, memory_order_acquire);
    uint32_t lane_end;
    do {
        *first = (uint32_t)word;
        lane_end = (uint32_t)((word & ~LANE_APART) >> 32);
        if (*first >= lane_end) return false;
        *end = grain < lane_end - *first ? *first + grain : lane_end;
    } while (!atomic_compare_exchange_weak_explicit(&lane->tasks, &word, lane_word(*end, lane_end) | (word & LANE_APART), memory_order_acq_rel,
                                                    memory_order_acquire));
    return true;
}

/* Takes up to `piece` tasks off the rear of a lane, half of it at most: *first … *end - 1. False when it is empty. */
static bool take_rear(Lane *lane, uint32_t piece, uint32_t *first, uint32_t *end)
{
    uint_fast64_t word = atomic_load_explicit(&lane->tasks, memory_order_acquire);
    uint32_t next;
    do {
        next = (uint32_t)word;
        *end = (uint32_t)(word >> 32);
        if (next >= *end || (word & LANE_APART) != 0) return false;
        const uint32_t half = (*end - next + 1) / 2;
        *first = *end - (half < piece ? half : piece);
    } while (!atomic_compare_exchange_weak_explicit(&lane->tasks, &word, lane_word(next, *first), memory_order_acq_rel,
                                                    memory_order_acquire));
    return true;
}

/* Takes from this thread's own lane while it has any, then from the next ones'. */
static bool take_tasks(ThreadPool *pool, int32_t thread, uint32_t *first, uint32_t *end)
{
    const int32_t n_lanes = atomic_load_explicit(&pool->most, memory_order_relaxed);
    if (thread >= n_lanes) return false;
    if (take_front(&pool->lanes[thread], (uint32_t)atomic_load_explicit(&pool->grain, memory_order_relaxed), first, end))
        return true;
    const uint32_t piece = (uint32_t)atomic_load_explicit(&pool->piece, memory_order_relaxed);
    for (int32_t other = thread + 1; other < thread + n_lanes; other++)
        if (take_rear(&pool->lanes[other % n_lanes], piece, first, end)) return true;
    return false;
}

/* Runs tasks until no lane has any. */
static void run_tasks(ThreadPool *pool, int32_t thread)
{
    for (uint32_t first, end; take_tasks(pool, thread, &first, &end);) {
        ThreadTask *task = atomic_load_explicit(&pool->task, memory_order_relaxed);
        void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
        for (uint32_t i = first; i < end; i++) task(context, (int32_t)i, thread);
        finish_tasks(pool, (int32_t)(end - first));
    }
}

/* Waits until the generation differs from `seen`; returns the new one. */
static unsigned wait_for_job(ThreadPool *pool, unsigned seen)
{
    for (int round = 0; round < SPIN_ROUNDS; round++) {
        const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        cpu_relax();
        if (round % YIELD_ROUNDS == YIELD_ROUNDS - 1) (void)sched_yield();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->parked, 1);
    unsigned now;
    while ((now = atomic_load(&pool->generation)) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->parked, 1);
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void *worker_main(void *argument)
{
    Worker *worker = argument;
    ThreadPool *pool = worker->pool;
    unsigned seen = 0;
    atomic_fetch_add(&pool->started, 1);
    for (;;) {
        seen = wait_for_job(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        run_tasks(pool, worker->index);
    }
}

/* Moves the generation and wakes whoever parked. The counters are sequentially consistent: either the worker sees the
 * new generation before it sleeps, or the caller sees it parked. */
static void announce(ThreadPool *pool)
{
    atomic_store(&pool->generation, atomic_load_explicit(&pool->generation, memory_order_relaxed) + 1);
    if (atomic_load(&pool->parked) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static int32_t usable_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int32_t)online : 1;
}

ImpStatus thread_pool_create(int32_t n_threads, ThreadPool **out)
{
    *out = NULL;
    if (n_threads < 1) n_threads = usable_processors();
    if (n_threads > MAX_THREADS) n_threads = MAX_THREADS;
    ThreadPool *pool = aligned_alloc(64, (sizeof *pool + 63) & ~(size_t)63);
    if (pool == NULL) return imp_fail_memory(sizeof *pool);
    *pool = (ThreadPool){.n_threads = 1, .grain = 1, .piece = 1};
    atomic_init(&pool->generation, 0);
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    pool->workers = calloc((size_t)n_threads, sizeof *pool->workers);
    pool->lanes = aligned_alloc(64, (size_t)n_threads * sizeof *pool->lanes);
    if (pool->workers == NULL || pool->lanes == NULL) {
        thread_pool_free(pool);
        return imp_fail_memory((size_t)n_threads * (sizeof(Worker) + sizeof(Lane)));
    }
    for (int32_t i = 0; i < n_threads; i++) atomic_init(&pool->lanes[i].tasks, 0);
    for (int32_t i = 1; i < n_threads; i++) {
        Worker *worker = &pool->workers[i - 1];
        *worker = (Worker){.pool = pool, .index = i};
        if (pthread_create(&worker->handle, NULL, worker_main, worker) != 0) {
            thread_pool_free(pool);
            return imp_fail(IMP_ERR_IO, "worker thread %d could not be started: lower cpu.threads", (int)i);
        }
        pool->n_threads = i + 1;
    }
    /* What a thread's start costs, memory included, is not to fall into somebody's first steps. */
    while (atomic_load(&pool->started) < n_threads - 1) (void)sched_yield();
    *out = pool;
    return IMP_OK;
}

void thread_pool_free(ThreadPool *pool)
{
    if (pool == NULL) return;
    atomic_store(&pool->stop, true);
    announce(pool);
    for (int32_t i = 1; i < pool->n_threads; i++) (void)pthread_join(pool->workers[i - 1].handle, NULL);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->lanes);
    free(pool->workers);
    free(pool);
}

int32_t thread_pool_size(const ThreadPool *pool) { return pool->n_threads; }

/* Waits for the tasks that others run. */
static void wait_for_tasks(ThreadPool *pool)
{
    for (int round = 0; round < JOIN_ROUNDS; round++) {
        if (atomic_load_explicit(&pool->unfinished, memory_order_acquire) == 0) return;
        cpu_relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->joining, true);
    while (atomic_load(&pool->unfinished) > 0) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->joining, false);
    pthread_mutex_unlock(&pool->mutex);
}

/* Hands `n_tasks` > 0 tasks to `most` threads. */
static void share_job(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks, int32_t most, int32_t grain, bool apart)
{
    atomic_store_explicit(&pool->task, task, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store_explicit(&pool->grain, grain, memory_order_relaxed);
    atomic_store_explicit(&pool->piece, n_tasks / (8 * most) + 1, memory_order_relaxed);
    atomic_store_explicit(&pool->most, most, memory_order_relaxed);
    atomic_store_explicit(&pool->unfinished, n_tasks, memory_order_relaxed);
    for (int32_t i = most - 1; i >= 0; i--) {
        int32_t first, end;
        thread_pool_lane(n_tasks, most, i, &first, &end);
        atomic_store_explicit(&pool->lanes[i].tasks, lane_word((uint32_t)first, (uint32_t)end) | (apart ? LANE_APART : 0), memory_order_release);
    }
    announce(pool);
    run_tasks(pool, 0);
    wait_for_tasks(pool);
}

static void run_job(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks, int32_t most, int32_t grain)
{
    if (n_tasks <= 1 || most <= 1 || pool->n_threads == 1) {
        for (int32_t i = 0; i < n_tasks; i++) task(context, i, 0);
        return;
    }
    share_job(pool, task, context, n_tasks, most < n_tasks ? most : n_tasks, grain, false);
}

void thread_pool_run_lanes(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks)
{
    if (n_tasks > 0) share_job(pool, task, context, n_tasks, pool->n_threads, 1, true);
}

void thread_pool_run(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks)
{
    run_job(pool, task, context, n_tasks, pool->n_threads, 1);
}

void thread_pool_run_sized(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks, size_t bytes)
{
    if (n_tasks <= 0) return;
    const size_t worth = bytes / THREAD_BYTES, each = bytes / (size_t)n_tasks + 1;
    const int32_t most = worth < (size_t)pool->n_threads ? (int32_t)worth : pool->n_threads;
    /* As many as are worth taking, while every thread that takes part comes back a few times. */
    const int32_t few = n_tasks / (4 * (most > 0 ? most : 1)), grain = each < TAKE_BYTES ? (int32_t)(TAKE_BYTES / each) : 1;
    run_job(pool, task, context, n_tasks, most, grain < few ? grain : few > 0 ? few : 1);
}
