/*
 * thread_pool.h - fork and join for one caller: the caller works too, workers spin a while between jobs, then park. A job
 * that says how much work it is gets no more threads than that pays for.
 */
#ifndef IMP_CORE_THREAD_POOL_H
#define IMP_CORE_THREAD_POOL_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ThreadPool ThreadPool;

/* One unit of work. `task` is 0 … n_tasks-1, each run exactly once by some thread; `thread` is 0 … size-1 (0 the
 * caller) and indexes per-thread scratch. Which thread gets which task is unspecified: a result must not depend on it.
 */
typedef void ThreadTask(void *context, int32_t task, int32_t thread);

/* Starts n_threads-1 workers; n_threads < 1 means the number of processors this process may use. */
ImpStatus thread_pool_create(int32_t n_threads, ThreadPool **out);
void thread_pool_free(ThreadPool *pool);
int32_t thread_pool_size(const ThreadPool *pool);

/* Runs all tasks and returns when they are done. One caller at a time. Allocates nothing and, while workers spin and every
 * thread has a processor, does not wait in the kernel. */
void thread_pool_run(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks);

/* A thread's lane of a job: tasks *first … *end - 1. Lanes follow each other and hold all tasks. */
static inline void thread_pool_lane(int32_t n_tasks, int32_t n_lanes, int32_t lane, int32_t *first, int32_t *end)
{
    *first = (int32_t)((int64_t)n_tasks * lane / n_lanes);
    *end = (int32_t)((int64_t)n_tasks * (lane + 1) / n_lanes);
}

/* Runs all tasks, each by the thread in whose lane of `thread_pool_size` lanes it is: for what a thread is to touch first that will
 * use it later. */
void thread_pool_run_lanes(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks);

/* Like thread_pool_run, for tasks that go through `bytes` of memory together, or compute as long as that would take: a small job runs on
 * few threads or on the caller alone, and small tasks are taken several at a time. */
void thread_pool_run_sized(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks, size_t bytes);

#endif
