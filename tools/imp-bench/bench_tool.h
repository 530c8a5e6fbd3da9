/*
 * bench_tool.h - what imp-bench is asked to do, and what it found.
 */
#ifndef IMP_BENCH_TOOL_H
#define IMP_BENCH_TOOL_H

#include "imp/bench.h"
#include "imp/imp.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_VALUES = 16 };

/* A list of numbers of one flag: every combination with the others is measured. */
typedef struct Values {
    int32_t values[MAX_VALUES];
    int32_t count;
} Values;

typedef enum OutputForm { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV } OutputForm;

typedef struct Options {
    const char *model;
    Values prompt, generate, depth, sequences, threads;
    int32_t reps, chunk;
    ImpKvType kv_type;
    const char *device; /* NULL: auto */
    ImpCudaTier cuda_tier;
    ImpCudaGraphs cuda_graphs;
    bool deterministic;
    ImpCpuIsa cpu_isa;
    OutputForm output;
    bool measure_machine, processor_time;
} Options;

/* Reads the command line; false with a message on stderr, or when help or version was asked for (*exit_code is then 0).
 */
bool options_read(int argc, char **argv, Options *options, int *exit_code);

/* One measured line. */
typedef struct Line {
    char name[64]; /* "pp512 @ d1024 x 4" */
    int32_t threads;
    ImpBenchTest test;
    ImpBenchResult result;
} Line;

/* The opening, each line as soon as it is measured, and the end, in the chosen form. */
typedef struct Report {
    OutputForm form;
    ImpModelInfo model;
    ImpMachineSpeed machine; /* all 0: not measured */
    int32_t n_lines;
} Report;

void report_begin(const Report *report, const char *path);
void report_line(Report *report, const Line *line);
void report_end(const Report *report);

#endif
