/*
 * cpu_topology.c - the processors this process may use, told apart by what Linux says of their cores and memory nodes.
 */
#include "compute/cpu/cpu_topology.h"

#include <stdio.h>

enum { MAX_NODES = 256, SEVERAL_NODES = 2 };

/* ---- what the system says ---- */

/* A number of cpu/cpuN/topology/NAME; -1 when it is not there. */
static int topology_number(const char *system, int processor, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/cpu/cpu%d/topology/%s", system, processor, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) return -1;
    int number = -1;
    if (fscanf(file, "%d", &number) != 1) number = -1;
    (void)fclose(file);
    return number;
}

/* The processors of node/nodeN/cpulist, such as "0-3,8-11". False when there is no such node. */
static bool node_processors(const char *system, int node, cpu_set_t *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/node/node%d/cpulist", system, node);
    CPU_ZERO(out);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    int first, last;
    while (fscanf(file, "%d", &first) == 1) {
        int next = fgetc(file);
        last = first;
        if (next == '-' && fscanf(file, "%d", &last) == 1) next = fgetc(file);
        for (int processor = first; processor >= 0 && processor <= last && processor < CPU_SETSIZE; processor++)
            CPU_SET((size_t)processor, out);
        if (next != ',') break;
    }
    (void)fclose(file);
    return true;
}

/* Numbers the nodes that any usable processor is on. */
static void read_nodes(const char *system, CpuTopology *out)
{
    out->n_nodes = 0;
    for (int32_t i = 0; i < out->n_processors; i++) out->node[i] = 0;
    for (int node = 0; node < MAX_NODES; node++) {
        cpu_set_t set;
        bool used = false;
        if (!node_processors(system, node, &set)) continue;
        for (int32_t i = 0; i < out->n_processors; i++) {
            if (!CPU_ISSET((size_t)out->processor[i], &set)) continue;
            out->node[i] = out->n_nodes;
            used = true;
        }
        out->n_nodes += used;
    }
    if (out->n_nodes == 0) out->n_nodes = 1;
}

void cpu_topology_read(const char *system, const cpu_set_t *usable, CpuTopology *out)
{
    int32_t second[CPU_SETSIZE], n = 0, n_second = 0;
    int package[CPU_SETSIZE], core[CPU_SETSIZE];
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET((size_t)processor, usable)) continue;
        const int its_package = topology_number(system, processor, "physical_package_id");
        const int its_core = topology_number(system, processor, "core_id");
        bool known = false;
        for (int32_t i = 0; i < n && its_core >= 0; i++) known |= package[i] == its_package && core[i] == its_core;
        if (known) {
            second[n_second++] = processor;
        } else {
            package[n] = its_package;
            core[n] = its_core;
            out->processor[n++] = processor;
        }
    }
    for (int32_t i = 0; i < n_second; i++) out->processor[n + i] = second[i];
    out->n_cores = n;
    out->n_processors = n + n_second;
    read_nodes(system, out);
}

/* Of the processors that this process may use. */
static void read_own(CpuTopology *out)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
    cpu_topology_read("/sys/devices/system", &set, out);
}

int32_t cpu_physical_cores(void)
{
    CpuTopology topology;
    read_own(&topology);
    return topology.n_cores > 0 ? topology.n_cores : 1;
}

/* ---- threads ---- */

void cpu_topology_places(const CpuTopology *topology, int32_t n_threads, int32_t places[])
{
    const int32_t used = n_threads < topology->n_processors ? n_threads : topology->n_processors;
    int32_t n = 0;
    for (int32_t node = 0; node < topology->n_nodes; node++)
        for (int32_t thread = 0; thread < n_threads; thread++) /* more threads than processors begin anew */
            if (used > 0 && topology->node[thread % used] == node) places[n++] = thread % used;
}

typedef struct PlaceRun {
    CpuTopology topology;
    int32_t places[CPU_SETSIZE];
    int32_t n_threads;
    bool pin;
} PlaceRun;

static void place_task(void *context, int32_t task, int32_t thread)
{
    (void)task;
    PlaceRun *run = context;
    const CpuTopology *topology = &run->topology;
    const int32_t place = run->places[thread];
    cpu_set_t set;
    CPU_ZERO(&set);
    if (run->pin) CPU_SET((size_t)topology->processor[place], &set);
    for (int32_t i = 0; i < topology->n_processors && !run->pin; i++)
        if (topology->node[i] == topology->node[place]) CPU_SET((size_t)topology->processor[i], &set);
    /* Threads that the caller starts later inherit what it is tied to: it is tied only when that was asked for. */
    if (run->pin || thread > 0) (void)sched_setaffinity(0, sizeof set, &set);
}

int32_t cpu_place_threads(ThreadPool *pool, bool pin)
{
    PlaceRun run = {.n_threads = thread_pool_size(pool), .pin = pin};
    read_own(&run.topology);
    if (run.topology.n_processors == 0 || run.n_threads == 1 || run.n_threads > CPU_SETSIZE) return 1;
    if (!pin && run.topology.n_nodes < SEVERAL_NODES) return 1;
    cpu_topology_places(&run.topology, run.n_threads, run.places);
    thread_pool_run_lanes(pool, place_task, &run, run.n_threads);
    return run.topology.node[run.places[run.n_threads - 1]] - run.topology.node[run.places[0]] + 1;
}
