/*
 * cpu_topology.h - which processors there are to work with, on which cores and memory nodes, and tying threads to them.
 */
#ifndef IMP_COMPUTE_CPU_TOPOLOGY_H
#define IMP_COMPUTE_CPU_TOPOLOGY_H

#include "core/thread_pool.h"

#include <sched.h>
#include <stdbool.h>

/* The processors that a process may use, the first ones of all cores before the second ones. */
typedef struct CpuTopology {
    int32_t n_processors, n_cores, n_nodes;
    int32_t processor[CPU_SETSIZE]; /* as the system numbers them */
    int32_t node[CPU_SETSIZE];      /* where its memory is, 0 … n_nodes - 1 */
} CpuTopology;

/* Reads what Linux says below `system`, /sys/devices/system, of the processors in `usable`. What it does not say: each is a core of its
 * own, and all memory is on one node. */
void cpu_topology_read(const char *system, const cpu_set_t *usable, CpuTopology *out);

/* The place in a topology of each of `n_threads` threads: different cores first, threads that follow each other on the same node. */
void cpu_topology_places(const CpuTopology *topology, int32_t n_threads, int32_t places[]);

/* Cores that this process may run on, counting the hardware threads of one core once. At least 1. */
int32_t cpu_physical_cores(void);

/* Ties each thread of the pool to a processor of its own (`pin`), or, where there are several memory nodes, each but the caller to
 * the processors of one node. Without effect where the system refuses. Returns how many nodes the threads are on. */
int32_t cpu_place_threads(ThreadPool *pool, bool pin);

#endif
