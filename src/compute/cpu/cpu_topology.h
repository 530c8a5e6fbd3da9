/*
 * cpu_topology.h - how many cores there are to work with, and tying threads to them.
 */
#ifndef IMP_COMPUTE_CPU_TOPOLOGY_H
#define IMP_COMPUTE_CPU_TOPOLOGY_H

#include "core/thread_pool.h"

/* Cores that this process may run on, counting the hardware threads of one core once. At least 1. */
int32_t cpu_physical_cores(void);

/* Ties each thread of the pool to a processor of its own, different cores first. Without effect where the system refuses. */
void cpu_pin_threads(ThreadPool *pool);

#endif
