/*
 * report.c - results as a table for people, JSON or CSV for programs.
 *
 * Each line is set against both limits of the machine, reading memory and multiplying; the closer one shows in the
 * percentages.
 */
#include "bench_tool.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

/* Of the rates that the line reached: bytes and multiply-adds a second. */
static double read_rate(const Line *line) { return line->result.tokens_per_second * line->result.bytes_per_token; }
static double madd_rate(const Line *line) { return line->result.tokens_per_second * line->result.madds_per_token; }

/* Quantized weights could be multiplied in 8 bits, others only as floats. */
static double best_madds(const Report *report)
{
    const char *type = report->model.weight_type;
    const bool floats = strcmp(type, "F32") == 0 || strcmp(type, "F16") == 0 || strcmp(type, "BF16") == 0;
    return floats ? report->machine.float_madds : report->machine.int8_madds;
}

static void table_begin(const Report *report, const char *path)
{
    printf("%s: %s %s, %.1f M parameters, %.1f MB of tensors\n", path, report->model.architecture,
           report->model.weight_type, 1e-6 * (double)report->model.n_parameters,
           1e-6 * (double)report->model.weight_bytes);
    if (report->machine.read_bytes > 0)
        printf("machine: reads %.1f GB/s, multiplies %.1f Gmadd/s in float32, %.1f in 8 bits",
               1e-9 * report->machine.read_bytes, 1e-9 * report->machine.float_madds,
               1e-9 * report->machine.int8_madds);
    if (report->machine.tile_madds > 0) printf(", %.1f in tiles", 1e-9 * report->machine.tile_madds);
    if (report->machine.read_bytes > 0) printf("\n");
    /* "±" is two bytes and one column. */
    printf("\n%-26s %7s %10s %8s %10s %8s %6s %9s %6s\n", "test", "threads", "tok/s", "±", "MB/token", "GB/s", "read",
           "Gmadd/s", "math");
    (void)fflush(stdout);
}

/* A percentage, or a dash when the machine was not measured. */
static void print_share(char *out, size_t size, double part, double whole)
{
    if (whole > 0)
        (void)snprintf(out, size, "%.1f%%", 100 * share(part, whole));
    else
        (void)snprintf(out, size, "-");
}

static void table_line(const Report *report, const Line *line)
{
    char threads[16] = "auto", read[16], math[16];
    if (line->threads > 0) (void)snprintf(threads, sizeof threads, "%d", (int)line->threads);
    print_share(read, sizeof read, read_rate(line), report->machine.read_bytes);
    print_share(math, sizeof math, madd_rate(line), best_madds(report));
    printf("%-26s %7s %10.2f %7.2f %10.2f %8.2f %6s %9.2f %6s\n", line->name, threads, line->result.tokens_per_second,
           line->result.deviation, 1e-6 * line->result.bytes_per_token, 1e-9 * read_rate(line), read,
           1e-9 * madd_rate(line), math);
    (void)fflush(stdout);
}

static void csv_begin(void)
{
    printf("test,threads,prompt,generate,sequences,depth,reps,tokens_per_second,deviation,best,bytes_per_token,"
           "bytes_per_second,read_fraction,madds_per_second,math_fraction\n");
}

static void csv_line(const Report *report, const Line *line)
{
    printf("%s,%d,%d,%d,%d,%d,%d,%.4f,%.4f,%.4f,%.0f,%.0f,%.4f,%.0f,%.4f\n", line->name, (int)line->threads,
           (int)line->test.n_prompt, (int)line->test.n_generate, (int)line->test.n_sequences, (int)line->test.depth,
           (int)line->test.reps, line->result.tokens_per_second, line->result.deviation, line->result.best,
           line->result.bytes_per_token, read_rate(line), share(read_rate(line), report->machine.read_bytes),
           madd_rate(line), share(madd_rate(line), best_madds(report)));
}

static void print_json(json_t *value)
{
    if (value == NULL) return; /* out of memory, or a path that is not UTF-8 */
    (void)json_dumpf(value, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(value);
}

static void json_begin(const Report *report, const char *path)
{
    printf("{\"model\":");
    print_json(json_pack("{s:s+, s:s, s:s, s:I, s:I}", "path", path, "", "architecture", report->model.architecture,
                         "weights", report->model.weight_type, "parameters", (json_int_t)report->model.n_parameters,
                         "weight_bytes", (json_int_t)report->model.weight_bytes));
    printf(",\"machine\":");
    print_json(json_pack("{s:f, s:f, s:f, s:f}", "read_bytes_per_second", report->machine.read_bytes,
                         "float_madds_per_second", report->machine.float_madds, "int8_madds_per_second",
                         report->machine.int8_madds, "tile_madds_per_second", report->machine.tile_madds));
    printf(",\"results\":[");
}

static void json_line(const Report *report, const Line *line)
{
    printf(report->n_lines == 0 ? "\n" : ",\n");
    print_json(json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "test",
                         line->name, "threads", line->threads, "prompt", line->test.n_prompt, "generate",
                         line->test.n_generate, "sequences", line->test.n_sequences, "depth", line->test.depth, "reps",
                         line->test.reps, "tokens_per_second", line->result.tokens_per_second, "deviation",
                         line->result.deviation, "best", line->result.best, "bytes_per_token",
                         line->result.bytes_per_token, "bytes_per_second", read_rate(line), "read_fraction",
                         share(read_rate(line), report->machine.read_bytes), "madds_per_second", madd_rate(line),
                         "math_fraction", share(madd_rate(line), best_madds(report))));
}

void report_begin(const Report *report, const char *path)
{
    if (report->form == OUTPUT_TABLE)
        table_begin(report, path);
    else if (report->form == OUTPUT_CSV)
        csv_begin();
    else
        json_begin(report, path);
}

void report_line(Report *report, const Line *line)
{
    if (report->form == OUTPUT_TABLE)
        table_line(report, line);
    else if (report->form == OUTPUT_CSV)
        csv_line(report, line);
    else
        json_line(report, line);
    report->n_lines++;
}

void report_end(const Report *report)
{
    if (report->form == OUTPUT_JSON) printf("]}\n");
}
