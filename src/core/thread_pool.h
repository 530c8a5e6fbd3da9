/*
 * thread_pool.h - fork and join for one caller: the caller works too, workers spin a while between jobs, then park.
 */
#ifndef IMP_CORE_THREAD_POOL_H
#define IMP_CORE_THREAD_POOL_H

#include "core/status.h"

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

/* Runs all tasks and returns when they are done. One caller at a time. Neither allocates nor, while workers spin,
 * enters the kernel. */
void thread_pool_run(ThreadPool *pool, ThreadTask *task, void *context, int32_t n_tasks);

#endif
