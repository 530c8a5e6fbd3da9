/*
 * test_cpu_topology.c - processors, cores and memory nodes as Linux describes them, from trees of files made here; and the order of
 * tasks that keeps a thread with its own rows.
 */
#include "cmocka_all.h"

#include "compute/cpu/cpu_topology.h"
#include "compute/cpu/task_order.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char tree[64];

static void put(const char *path, const char *text)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s/%s", tree, path);
    for (char *slash = full + strlen(tree) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_processor(int processor, int package, int core)
{
    char path[128], text[16];
    (void)snprintf(path, sizeof path, "cpu/cpu%d/topology/physical_package_id", processor);
    (void)snprintf(text, sizeof text, "%d\n", package);
    put(path, text);
    (void)snprintf(path, sizeof path, "cpu/cpu%d/topology/core_id", processor);
    (void)snprintf(text, sizeof text, "%d\n", core);
    put(path, text);
}

static int open_tree(void **state)
{
    (void)state;
    strcpy(tree, "/tmp/imp-topology-XXXXXX");
    return mkdtemp(tree) == NULL;
}

static int remove_file(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int close_tree(void **state)
{
    (void)state;
    return nftw(tree, remove_file, 8, FTW_DEPTH | FTW_PHYS);
}

static CpuTopology read_tree(int first, int end)
{
    cpu_set_t usable;
    CpuTopology topology;
    CPU_ZERO(&usable);
    for (int i = first; i < end; i++) CPU_SET((size_t)i, &usable);
    cpu_topology_read(tree, &usable, &topology);
    return topology;
}

/* Two packages of four cores with two hardware threads each: 0 … 7 the cores' first, 8 … 15 their second ones. */
static void put_server(void)
{
    for (int i = 0; i < 16; i++) put_processor(i, i % 8 / 4, i % 4);
    put("node/node0/cpulist", "0-3,8-11\n");
    put("node/node2/cpulist", "4-7,12-15\n"); /* numbers may be left out */
    put("node/node3/cpulist", "\n");          /* and a node may be memory alone */
}

static void nodes_and_cores_are_told_apart(void **state)
{
    (void)state;
    put_server();
    const CpuTopology all = read_tree(0, 16);
    assert_int_equal(all.n_processors, 16);
    assert_int_equal(all.n_cores, 8);
    assert_int_equal(all.n_nodes, 2);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(all.processor[i], i);
        assert_int_equal(all.node[i], i % 8 / 4);
    }
    /* What may not be used does not count. */
    const CpuTopology one = read_tree(12, 16);
    assert_int_equal(one.n_nodes, 1);
    assert_int_equal(one.n_cores, 4);
    assert_int_equal(one.node[3], 0);
}

static void a_system_that_says_nothing_has_one_node(void **state)
{
    (void)state;
    const CpuTopology topology = read_tree(3, 6);
    assert_int_equal(topology.n_processors, 3);
    assert_int_equal(topology.n_cores, 3);
    assert_int_equal(topology.n_nodes, 1);
    assert_int_equal(topology.processor[2], 5);
    assert_int_equal(read_tree(0, 0).n_processors, 0);
    put("node/node0/cpulist", "3-99999999999999999999,-1-");
    assert_int_equal(read_tree(3, 6).n_nodes, 1);
}

static void threads_that_follow_each_other_share_a_node(void **state)
{
    (void)state;
    put_server();
    const CpuTopology all = read_tree(0, 16);
    int32_t places[40];
    for (int32_t n = 1; n <= 40; n++) {
        int32_t times[16] = {0};
        cpu_topology_places(&all, n, places);
        for (int32_t t = 0; t < n; t++) {
            assert_in_range(places[t], 0, 15);
            times[places[t]]++;
            if (t > 0) assert_true(all.node[places[t]] >= all.node[places[t - 1]]);
        }
        /* Cores first, and none twice while another has nobody. */
        for (int32_t i = 0; i < 16; i++) assert_in_range(times[i], n / 16, n <= i ? 0 : (n + 15) / 16);
    }
}

/* Every task comes once; in a thread's share of the order come its lanes of all weights, as re-laying hands them out. */
static void the_order_of_tasks_follows_the_lanes(void **state)
{
    (void)state;
    static const int32_t counts[][3] = {{1, 1, 1}, {7, 2, 2}, {32, 8, 8}, {5, 0, 90}};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
        for (int32_t n_lanes = 1; n_lanes <= 9; n_lanes++) {
            int32_t place = 0;
            for (int32_t lane = 0; lane < n_lanes; lane++)
                for (int32_t weight = 0; weight < 3; weight++) {
                    int32_t first, end;
                    thread_pool_lane(counts[c][weight], n_lanes, lane, &first, &end);
                    for (; first < end; first++) {
                        const TaskPlace at = task_in_lanes(counts[c], 3, n_lanes, place++);
                        assert_int_equal(at.weight, weight);
                        assert_int_equal(at.task, first);
                    }
                }
            assert_int_equal(place, counts[c][0] + counts[c][1] + counts[c][2]);
        }
}

static void threads_find_their_places(void **state)
{
    (void)state;
    ThreadPool *pool;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(thread_pool_create(2, &pool), IMP_OK);
    assert_true(cpu_physical_cores() >= 1);
    assert_true(cpu_place_threads(pool, false) >= 1);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after)); /* the caller stays free */
    assert_true(cpu_place_threads(pool, true) >= 1);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_int_equal(CPU_COUNT(&after), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    thread_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nodes_and_cores_are_told_apart, open_tree, close_tree),
        cmocka_unit_test_setup_teardown(a_system_that_says_nothing_has_one_node, open_tree, close_tree),
        cmocka_unit_test_setup_teardown(threads_that_follow_each_other_share_a_node, open_tree, close_tree),
        cmocka_unit_test(the_order_of_tasks_follows_the_lanes),
        cmocka_unit_test(threads_find_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
