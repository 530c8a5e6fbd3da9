/*
 * cuda_device.c - which GPUs there are, and which tier of kernels each can run.
 *
 * The driver is opened by the CUDA runtime at its first call; where there is none, that call fails and the machine simply has
 * no GPU. A driver that is there but cannot be used is a problem worth a sentence, kept for whoever asks for a GPU.
 */
#include "compute/cuda/cuda_private.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEVICES = 64, LEAST_MAJOR = 8 };

static struct {
    int32_t count;
    int32_t ids[MAX_DEVICES]; /* the runtime's numbers of the usable ones */
    char problem[256];
} devices;

static void find_devices(void)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        int version = 0;
        if (cudaDriverGetVersion(&version) == cudaSuccess && version > 0)
            (void)snprintf(devices.problem, sizeof devices.problem,
                           "the NVIDIA driver is too old: it knows CUDA %d.%d, this program needs %d.%d", version / 1000,
                           version % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
        return;
    }
    if (error != cudaSuccess) {
        if (error != cudaErrorNoDevice)
            (void)snprintf(devices.problem, sizeof devices.problem, "the GPU cannot be used: %s", cudaGetErrorString(error));
        return;
    }
    for (int i = 0; i < count && devices.count < MAX_DEVICES; i++) {
        int major = 0;
        if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) != cudaSuccess) continue;
        if (major >= LEAST_MAJOR)
            devices.ids[devices.count++] = i;
        else
            (void)snprintf(devices.problem, sizeof devices.problem,
                           "GPU %d has compute capability %d.x, the least that imp runs on is %d.0", i, major,
                           LEAST_MAJOR);
    }
}

int32_t cuda_device_count(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, find_devices);
    return devices.count;
}

const char *cuda_device_problem(void)
{
    return cuda_device_count() == 0 && devices.problem[0] != '\0' ? devices.problem : NULL;
}

int cuda_runtime_device(int32_t device) { return devices.ids[device]; }

ImpStatus cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return IMP_OK;
    return imp_fail(error == cudaErrorMemoryAllocation ? IMP_ERR_OUT_OF_MEMORY : IMP_ERR_DEVICE, "GPU: %s: %s", what,
                    cudaGetErrorString(error));
}

/* Code for one compute capability alone runs on no later one. */
CudaTier cuda_best_tier(int major, int minor)
{
    if (major == 9 && minor == 0) return CUDA_TIER_HOPPER;
    return major == 12 && minor == 0 ? CUDA_TIER_BLACKWELL : CUDA_TIER_PORTABLE;
}

const char *cuda_tier_name(CudaTier tier)
{
    static const char *const names[] = {"portable", "Hopper", "Blackwell"};
    return names[tier];
}

ImpStatus cuda_device_info(int32_t device, CudaDevice *out)
{
    struct cudaDeviceProp properties;
    size_t available = 0, total = 0;
    if (device < 0 || device >= cuda_device_count())
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no GPU %d: there are %d", (int)device,
                        (int)cuda_device_count());
    const int id = cuda_runtime_device(device);
    IMP_TRY(cuda_check(cudaGetDeviceProperties(&properties, id), "reading its properties"));
    IMP_TRY(cuda_check(cudaSetDevice(id), "choosing it"));
    IMP_TRY(cuda_check(cudaMemGetInfo(&available, &total), "asking for its memory"));
    *out = (CudaDevice){.n_sms = properties.multiProcessorCount, .memory_bytes = total, .memory_free_bytes = available};
    (void)snprintf(out->name, sizeof out->name, "%.63s", properties.name);
    (void)snprintf(out->features, sizeof out->features, "compute %d.%d, %s kernels", properties.major, properties.minor,
                   cuda_tier_name(cuda_best_tier(properties.major, properties.minor)));
    return IMP_OK;
}
