/*
 * cpu_topology.c - the processors this process may use, told apart by what Linux says of their cores.
 */
#include "compute/cpu/cpu_topology.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

enum { MAX_PROCESSORS = CPU_SETSIZE };

/* A number of /sys/devices/system/cpu/cpuN/topology/NAME; -1 when it is not there. */
static int topology_number(int processor, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", processor, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) return -1;
    int number = -1;
    if (fscanf(file, "%d", &number) != 1) number = -1;
    (void)fclose(file);
    return number;
}

/* Usable processors, the first of each core before the second ones. Returns how many there are, *n_cores the cores. */
static int32_t list_processors(int32_t order[MAX_PROCESSORS], int32_t *n_cores)
{
    cpu_set_t set;
    int32_t n = 0, n_second = 0;
    int32_t second[MAX_PROCESSORS];
    int package[MAX_PROCESSORS], core[MAX_PROCESSORS];
    *n_cores = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    for (int processor = 0; processor < MAX_PROCESSORS; processor++) {
        if (!CPU_ISSET((size_t)processor, &set)) continue;
        const int its_package = topology_number(processor, "physical_package_id");
        const int its_core = topology_number(processor, "core_id");
        bool known = false;
        for (int32_t i = 0; i < n && its_core >= 0; i++) known |= package[i] == its_package && core[i] == its_core;
        if (known) {
            second[n_second++] = processor;
        } else {
            package[n] = its_package;
            core[n] = its_core;
            order[n++] = processor;
        }
    }
    *n_cores = n;
    for (int32_t i = 0; i < n_second; i++) order[n + i] = second[i];
    return n + n_second;
}

int32_t cpu_physical_cores(void)
{
    int32_t order[MAX_PROCESSORS], n_cores;
    (void)list_processors(order, &n_cores);
    return n_cores > 0 ? n_cores : 1;
}

typedef struct PinRun {
    int32_t order[MAX_PROCESSORS];
    int32_t n_processors, n_threads;
    atomic_int arrived;
} PinRun;

/* No task ends before all have begun, so every thread runs exactly one of them. */
static void pin_task(void *context, int32_t task, int32_t thread)
{
    (void)task;
    PinRun *run = context;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)run->order[thread % run->n_processors], &set);
    (void)sched_setaffinity(0, sizeof set, &set);
    atomic_fetch_add(&run->arrived, 1);
    while (atomic_load(&run->arrived) < run->n_threads) (void)sched_yield();
}

void cpu_pin_threads(ThreadPool *pool)
{
    PinRun run;
    int32_t n_cores;
    run.n_processors = list_processors(run.order, &n_cores);
    run.n_threads = thread_pool_size(pool);
    atomic_init(&run.arrived, 0);
    if (run.n_processors > 0 && run.n_threads > 1) thread_pool_run(pool, pin_task, &run, run.n_threads);
}
