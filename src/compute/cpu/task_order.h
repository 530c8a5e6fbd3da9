/*
 * task_order.h - which rows of which weight a task of a product goes through.
 *
 * A task is TASK_ROWS rows of one of the weights that are multiplied together. On one memory node the tasks of all weights follow each
 * other. On several, a thread's lane is to hold those rows of each weight that this thread has re-laid, whose memory is on its node:
 * first come the first thread's lanes of all weights, then the second one's.
 */
#ifndef IMP_COMPUTE_CPU_TASK_ORDER_H
#define IMP_COMPUTE_CPU_TASK_ORDER_H

#include "core/thread_pool.h"

/* Weights that are multiplied together and are taken in lanes on several memory nodes, at most: those of one layer, but not all experts. */
enum { TASK_ROWS = 64, LANE_JOBS = 8 };

/* A weight's place among others, and one of its tasks. */
typedef struct TaskPlace {
    int32_t weight, task;
} TaskPlace;

/* The place-th task, 0 <= place < sum of counts, of weights with counts[n] tasks, in the order of `n_lanes` lanes. */
static inline TaskPlace task_in_lanes(const int32_t counts[], int32_t n, int32_t n_lanes, int32_t place)
{
    for (int32_t lane = 0; lane < n_lanes; lane++)
        for (int32_t i = 0; i < n; i++) {
            int32_t first, end;
            thread_pool_lane(counts[i], n_lanes, lane, &first, &end);
            if (place < end - first) return (TaskPlace){i, first + place};
            place -= end - first;
        }
    return (TaskPlace){0, 0};
}

#endif
