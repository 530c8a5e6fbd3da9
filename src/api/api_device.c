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

/* GPUs first, then the processor. */
size_t imp_device_count(void) { return (size_t)cuda_device_count() + 1; }

/* Text of the device that there always is; found once, then read by all threads. */
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

enum { MAX_GPUS = 64 };

static struct {
    char name[8];
    CudaDevice device;
    ImpStatus status;
} gpus[MAX_GPUS];

static void find_gpus(void)
{
    for (int32_t i = 0; i < cuda_device_count() && i < MAX_GPUS; i++) {
        (void)snprintf(gpus[i].name, sizeof gpus[i].name, "%d", (int)i);
        gpus[i].status = cuda_device_info(i, &gpus[i].device);
    }
}

static ImpStatus gpu_info(size_t index, ImpDeviceInfo *info)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, find_gpus);
    IMP_TRY(gpus[index].status);
    const CudaDevice *device = &gpus[index].device;
    const ImpDeviceInfo value = {
        .name = gpus[index].name,
        .description = device->name,
        .features = device->features,
        .n_cores = device->n_sms,
        .memory_bytes = device->memory_bytes,
        .memory_free_bytes = device->memory_free_bytes,
    };
    return api_write_sized(info, &value, sizeof value, "ImpDeviceInfo");
}

ImpStatus imp_device_info(size_t index, ImpDeviceInfo *info)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    API_REQUIRE(info);
    if (index >= imp_device_count())
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no device %zu: there are %zu", index, imp_device_count());
    if (index < (size_t)cuda_device_count()) return gpu_info(index, info);
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
