/* options.c - the command line of imp-bench. */
#include "bench_tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const usage =
    "usage: imp-bench --model MODEL [options]\n"
    "Measures how fast a model reads prompts and decodes. Lists (1,2,4) measure every combination.\n"
    "\n"
    "  -m, --model PATH        a GGUF file or a SafeTensors directory\n"
    "  -p, --prompt LIST       tokens of a prompt; 0: none (512)\n"
    "  -n, --generate LIST     tokens decoded; 0: none (128)\n"
    "  -d, --depth LIST        tokens that each sequence holds already (0)\n"
    "  -s, --sequences LIST    sequences that run together (1)\n"
    "  -t, --threads LIST      threads; 0: one for each physical core (0)\n"
    "  -r, --reps N            runs that count, after one that does not (5)\n"
    "  -c, --chunk N           most tokens of one step; 0: 512 on a processor, 4096 on a GPU (0)\n"
    "  -k, --kv-type TYPE      f16, bf16, f32, fp8, int8, int4 or nvfp4 (f16)\n"
    "      --device NAME       auto, cpu, or a GPU's number (auto)\n"
    "      --cpu-isa ISA       auto, portable, avx2, avx512 or amx (auto)\n"
    "      --cuda-tier TIER    auto, portable, hopper or blackwell (auto)\n"
    "      --cuda-graphs WHEN  auto, always or never (auto)\n"
    "      --deterministic     bit-equal results in any batch, on a GPU too\n"
    "  -o, --output FORM       table, json or csv (table)\n"
    "      --no-machine        do not measure what the machine could do\n"
    "      --processor-time    time processors instead of the clock: for one thread on a busy machine\n"
    "  -h, --help\n"
    "      --version\n";

enum {
    OPTION_NO_MACHINE = 256,
    OPTION_VERSION,
    OPTION_PROCESSOR_TIME,
    OPTION_DETERMINISTIC,
    OPTION_DEVICE,
    OPTION_ISA,
    OPTION_TIER,
    OPTION_GRAPHS,
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"prompt", required_argument, NULL, 'p'},
    {"generate", required_argument, NULL, 'n'},
    {"depth", required_argument, NULL, 'd'},
    {"sequences", required_argument, NULL, 's'},
    {"threads", required_argument, NULL, 't'},
    {"reps", required_argument, NULL, 'r'},
    {"chunk", required_argument, NULL, 'c'},
    {"kv-type", required_argument, NULL, 'k'},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"cpu-isa", required_argument, NULL, OPTION_ISA},
    {"cuda-tier", required_argument, NULL, OPTION_TIER},
    {"cuda-graphs", required_argument, NULL, OPTION_GRAPHS},
    {"deterministic", no_argument, NULL, OPTION_DETERMINISTIC},
    {"output", required_argument, NULL, 'o'},
    {"no-machine", no_argument, NULL, OPTION_NO_MACHINE},
    {"processor-time", no_argument, NULL, OPTION_PROCESSOR_TIME},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool read_number(const char **text, int32_t min, int32_t *out)
{
    char *end;
    errno = 0;
    const long value = strtol(*text, &end, 10);
    if (end == *text || errno != 0 || value < min || value > 1 << 24) return false;
    *text = end;
    *out = (int32_t)value;
    return true;
}

static bool read_values(const char *text, int32_t min, Values *out)
{
    for (out->count = 0; out->count < MAX_VALUES;) {
        if (!read_number(&text, min, &out->values[out->count])) return false;
        out->count++;
        if (*text == '\0') return true;
        if (*text++ != ',') return false;
    }
    return false;
}

static bool read_one(const char *text, int32_t min, int32_t *out)
{
    return read_number(&text, min, out) && *text == '\0';
}

static bool read_word(const char *text, const char *const *words, int *out)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* Applies one flag that has a value; false when the value makes no sense. */
static bool apply(int flag, const char *value, Options *options)
{
    static const char *const kv_types[] = {"f16", "bf16", "f32", "fp8", "int8", "int4", "nvfp4", NULL};
    static const char *const isas[] = {"auto", "portable", "avx2", "avx512", "amx", NULL};
    static const char *const tiers[] = {"auto", "portable", "hopper", "blackwell", NULL};
    static const char *const graphs[] = {"auto", "always", "never", NULL};
    static const char *const forms[] = {"table", "json", "csv", NULL};
    int word = 0;
    bool good = true;
    switch (flag) {
    case 'm':
        options->model = value;
        break;
    case 'p':
        good = read_values(value, 0, &options->prompt);
        break;
    case 'n':
        good = read_values(value, 0, &options->generate);
        break;
    case 'd':
        good = read_values(value, 0, &options->depth);
        break;
    case 's':
        good = read_values(value, 1, &options->sequences);
        break;
    case 't':
        good = read_values(value, 0, &options->threads);
        break;
    case 'r':
        good = read_one(value, 1, &options->reps);
        break;
    case 'c':
        good = read_one(value, 0, &options->chunk);
        break;
    case 'k':
        good = read_word(value, kv_types, &word);
        options->kv_type = (ImpKvType)word;
        break;
    case 'o':
        good = read_word(value, forms, &word);
        options->output = (OutputForm)word;
        break;
    case OPTION_DEVICE:
        options->device = value;
        break;
    case OPTION_TIER:
        good = read_word(value, tiers, &word);
        options->cuda_tier = (ImpCudaTier)word;
        break;
    case OPTION_GRAPHS:
        good = read_word(value, graphs, &word);
        options->cuda_graphs = (ImpCudaGraphs)word;
        break;
    default:
        good = read_word(value, isas, &word);
        options->cpu_isa = (ImpCpuIsa)word;
        break;
    }
    if (!good) fprintf(stderr, "imp-bench: '%s' makes no sense here; see --help\n", value);
    return good;
}

bool options_read(int argc, char **argv, Options *options, int *exit_code)
{
    *options = (Options){.prompt = {{512}, 1},
                         .generate = {{128}, 1},
                         .depth = {{0}, 1},
                         .sequences = {{1}, 1},
                         .threads = {{0}, 1},
                         .reps = 5,
                         .kv_type = IMP_KV_F16,
                         .measure_machine = true};
    *exit_code = 0;
    for (int flag; (flag = getopt_long(argc, argv, "m:p:n:d:s:t:r:c:k:o:h", long_options, NULL)) != -1;) {
        if (flag == 'h') {
            (void)fputs(usage, stdout);
            return false;
        }
        if (flag == OPTION_VERSION) {
            printf("imp-bench %s\n", IMP_VERSION);
            return false;
        }
        if (flag == OPTION_NO_MACHINE) {
            options->measure_machine = false;
        } else if (flag == OPTION_PROCESSOR_TIME) {
            options->processor_time = true;
        } else if (flag == OPTION_DETERMINISTIC) {
            options->deterministic = true;
        } else if (flag == '?' || !apply(flag, optarg, options)) {
            *exit_code = 2;
            return false;
        }
    }
    if (options->model != NULL && optind == argc) return true;
    fprintf(stderr, options->model == NULL ? "imp-bench: --model is missing; see --help\n"
                                           : "imp-bench: too many arguments; see --help\n");
    *exit_code = 2;
    return false;
}
