/*
 * api_device.c - what the library runs on, and where its log goes.
 */
#include "api/api.h"

#include "compute/cpu/cpu_topology.h"
#include "compute/cpu/kernels.h"
#include "core/log.h"

#include <stdio.h>
#include <string.h>

const char *imp_version(void) { return IMP_VERSION; }

/* ---- Log ---- */

/* Levels and arguments are those of the public callback; set before other threads exist, like the sink itself. */
static ImpLogCallback *log_callback;

static void forward_line(LogLevel level, const char *line, void *user) { log_callback((ImpLogLevel)level, line, user); }

void imp_log_set(ImpLogCallback *callback, void *user, ImpLogLevel max_level)
{
    log_callback = callback;
    log_set_sink(callback ? forward_line : NULL, user, (LogLevel)max_level);
}

/* ---- Devices ---- */

/* The value of "key<blanks>: value" or "key:  value kB" lines, as /proc has them; "" when the key is not there. */
static void proc_value(const char *path, const char *key, char *value, size_t size)
{
    char line[512];
    value[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        const char *start = colon + 1 + strspn(colon + 1, " \t");
        (void)snprintf(value, size, "%.*s", (int)strcspn(start, "\n"), start);
        break;
    }
    (void)fclose(file);
}

static uint64_t memory_value(const char *key)
{
    char text[64];
    unsigned long long kib = 0;
    proc_value("/proc/meminfo", key, text, sizeof text);
    return sscanf(text, "%llu", &kib) == 1 ? (uint64_t)kib * 1024 : 0;
}

uint64_t api_memory_available(void) { return memory_value("MemAvailable"); }

size_t imp_device_count(void) { return 1; }

/* Text of the one device that there always is; found once, then read by all threads. */
static struct {
    char description[128];
    const char *features;
    int32_t n_cores;
} cpu;

static void find_cpu(void)
{
    const CpuKernels *kernels;
    proc_value("/proc/cpuinfo", "model name", cpu.description, sizeof cpu.description);
    if (cpu.description[0] == '\0') (void)snprintf(cpu.description, sizeof cpu.description, "processor");
    cpu.features = kernels_choose(CPU_ISA_AUTO, &kernels) == IMP_OK ? kernels->name : "";
    cpu.n_cores = cpu_physical_cores();
}

ImpStatus imp_device_info(size_t index, ImpDeviceInfo *info)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    API_REQUIRE(info);
    if (index >= imp_device_count())
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no device %zu: there are %zu", index, imp_device_count());
    (void)pthread_once(&once, find_cpu);
    const ImpDeviceInfo value = {
        .name = "cpu",
        .description = cpu.description,
        .features = cpu.features,
        .n_cores = cpu.n_cores,
        .memory_bytes = memory_value("MemTotal"),
        .memory_free_bytes = api_memory_available(),
    };
    return api_write_sized(info, &value, sizeof value, "ImpDeviceInfo");
}
