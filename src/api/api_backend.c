/*
 * api_backend.c - which device a context runs on, and the backends that a model's contexts share.
 *
 * The first context's backend prepares the weights, and all later ones run on what it prepared.
 */
#include "api/api.h"

#include "compute/split.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- the choice of a device ---- */

static CpuOptions cpu_options(const ImpConfig *config)
{
    static const CpuIsa levels[] = {
        [IMP_CPU_AUTO] = CPU_ISA_AUTO,     [IMP_CPU_PORTABLE] = CPU_ISA_PORTABLE, [IMP_CPU_AVX2] = CPU_ISA_AVX2,
        [IMP_CPU_AVX512] = CPU_ISA_AVX512, [IMP_CPU_AMX] = CPU_ISA_AMX,
    };
    static const CpuRepack layouts[] = {
        [IMP_REPACK_AUTO] = CPU_REPACK_AUTO,
        [IMP_REPACK_ALWAYS] = CPU_REPACK_ALWAYS,
        [IMP_REPACK_NEVER] = CPU_REPACK_NEVER,
    };
    return (CpuOptions){.n_threads = config->n_threads,
                        .isa = levels[config->cpu_isa],
                        .repack = layouts[config->repack],
                        .pin_threads = config->pin_threads};
}

static CudaOptions cuda_options(const ImpConfig *config, int32_t device)
{
    static const CudaTierChoice tiers[] = {
        [IMP_CUDA_AUTO] = CUDA_USE_AUTO,
        [IMP_CUDA_PORTABLE] = CUDA_USE_PORTABLE,
        [IMP_CUDA_HOPPER] = CUDA_USE_HOPPER,
        [IMP_CUDA_BLACKWELL] = CUDA_USE_BLACKWELL,
    };
    static const CudaGraphs graphs[] = {
        [IMP_GRAPHS_AUTO] = CUDA_GRAPHS_AUTO,
        [IMP_GRAPHS_ALWAYS] = CUDA_GRAPHS_ALWAYS,
        [IMP_GRAPHS_NEVER] = CUDA_GRAPHS_NEVER,
    };
    return (CudaOptions){.device = device,
                         .tier = tiers[config->cuda_tier],
                         .graphs = graphs[config->cuda_graphs],
                         .no_overlap = config->cuda_no_overlap,
                         .deterministic = config->deterministic};
}

/* The number of a GPU's name; -1: not a number. */
static int32_t gpu_number(const char *name)
{
    char *end;
    const long number = strtol(name, &end, 10);
    return *name >= '0' && *name <= '9' && *end == '\0' && number < 1 << 16 ? (int32_t)number : -1;
}

static ImpStatus no_such_gpu(const char *name)
{
    const char *problem = cuda_device_problem();
    if (cuda_device_count() > 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "there is no device '%s' here, only 'cpu' and GPUs up to '%d'", name,
                        (int)cuda_device_count() - 1);
    return imp_fail(IMP_ERR_UNSUPPORTED, "there is no device '%s' here, only 'cpu'%s%s", name,
                    problem != NULL ? ": " : "", problem != NULL ? problem : "");
}

ImpStatus api_device_options(const ImpConfig *config, DeviceOptions *out)
{
    const char *name = config->device != NULL ? config->device : "auto";
    const bool any = strcmp(name, "auto") == 0;
    *out = (DeviceOptions){.cpu = cpu_options(config)};
    if (strcmp(name, "cpu") == 0 && config->gpu_layers > 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%d layers are to go on a GPU, but the device is 'cpu'",
                        (int)config->gpu_layers);
    if (strcmp(name, "cpu") == 0 || config->gpu_layers == 0) return IMP_OK;
    const int32_t number = any ? 0 : gpu_number(name);
    if (number >= 0 && number < cuda_device_count()) {
        out->gpu = true;
        out->n_gpu_layers = config->gpu_layers > 0 ? config->gpu_layers : 0;
        out->cuda = cuda_options(config, number);
        return IMP_OK;
    }
    if (!any) return no_such_gpu(name);
    if (config->gpu_layers > 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%d layers are to go on a GPU, but there is no device but 'cpu' here",
                        (int)config->gpu_layers);
    return IMP_OK;
}

/* ---- what a model's contexts share ---- */

static bool same_cuda(const CudaOptions *a, const CudaOptions *b)
{
    return a->device == b->device && a->tier == b->tier && a->graphs == b->graphs && a->no_overlap == b->no_overlap &&
           a->deterministic == b->deterministic;
}

/* Layers that the processor has beside a GPU. */
static int32_t layers_beside_gpu(ImpModel model, const DeviceOptions *options)
{
    const int32_t n_layers = model->model->n_layers;
    return options->n_gpu_layers > 0 && options->n_gpu_layers < n_layers ? n_layers - options->n_gpu_layers : 0;
}

static ImpStatus check_layout(ImpModel model, const DeviceOptions *options)
{
    const DeviceOptions *first = &model->prepared_with;
    if (!model->preparer) return IMP_OK;
    const bool same_cpu = first->cpu.isa == options->cpu.isa && first->cpu.repack == options->cpu.repack;
    const bool same_gpu = first->n_gpu_layers == options->n_gpu_layers && same_cuda(&first->cuda, &options->cuda);
    const bool uses_cpu = !options->gpu || layers_beside_gpu(model, options) > 0;
    if (first->gpu == options->gpu && (!options->gpu || same_gpu) && (!uses_cpu || same_cpu)) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT,
                    "the model was prepared by its first context for another device or with another cpu_isa or repack; "
                    "all contexts of a model share them");
}

/* The backend of these options: one device, or the processor for the first layers and the GPU for the rest. A GPU that
 * has the weights is shared. */
static ImpStatus create_backend(ImpModel model, const DeviceOptions *options, Backend **out)
{
    Backend *cpu = NULL, *gpu = NULL;
    *out = NULL;
    if (!options->gpu) return cpu_backend_create(&options->cpu, out);
    const int32_t n_first = layers_beside_gpu(model, options);
    if (n_first == 0) return cuda_backend_create(&options->cuda, out);
    IMP_TRY(cpu_backend_create(&options->cpu, &cpu));
    if (model->preparer) return split_backend_create_beside(model->preparer, cpu, out);
    const ImpStatus status = cuda_backend_create(&options->cuda, &gpu);
    if (status == IMP_OK) return split_backend_create(cpu, gpu, n_first, out);
    cpu->ops->destroy(cpu);
    return status;
}

static ModelBackend *find_idle(ImpModel model, const DeviceOptions *options)
{
    ModelBackend *entry = model->backends;
    if (options->gpu && layers_beside_gpu(model, options) == 0) return entry;
    while (entry && (entry->n_users > 0 || entry->options.cpu.n_threads != options->cpu.n_threads ||
                     entry->options.cpu.pin_threads != options->cpu.pin_threads))
        entry = entry->next;
    return entry;
}

static ImpStatus add_backend(ImpModel model, const DeviceOptions *options, const Progress *progress, ModelBackend **out)
{
    ImpStatus status;
    ModelBackend *entry = calloc(1, sizeof *entry);
    if (!entry) return imp_fail_memory(sizeof *entry);
    entry->options = *options;
    IMP_GOTO(create_backend(model, options, &entry->backend));
    if (!model->preparer) {
        IMP_GOTO(entry->backend->ops->prepare(entry->backend, model->model, progress));
        model->preparer = entry->backend;
        model->prepared_with = *options;
        log_line(LOG_INFO, "%s: weights prepared for %s", model_file_path(model->file), entry->backend->name);
    }
    entry->next = model->backends;
    model->backends = entry;
    *out = entry;
    return IMP_OK;
fail:
    if (entry->backend) entry->backend->ops->destroy(entry->backend);
    free(entry);
    return status;
}

ImpStatus api_backend_take(ImpModel model, const DeviceOptions *options, const Progress *progress, ModelBackend **out)
{
    *out = NULL;
    (void)pthread_mutex_lock(&model->lock);
    ImpStatus status = check_layout(model, options);
    if (status == IMP_OK) {
        *out = find_idle(model, options);
        if (!*out) status = add_backend(model, options, progress, out);
    }
    if (status == IMP_OK) (*out)->n_users++;
    (void)pthread_mutex_unlock(&model->lock);
    return status;
}

void api_backend_return(ImpModel model, ModelBackend *backend)
{
    (void)pthread_mutex_lock(&model->lock);
    backend->n_users--;
    (void)pthread_mutex_unlock(&model->lock);
}

/* ---- memory ---- */

static uint64_t available_on(Backend *device)
{
    return device->ops->memory_available != NULL ? device->ops->memory_available(device) : api_memory_available();
}

uint64_t api_kv_memory(const ImpConfig *config, const ModelBackend *backend)
{
    return (uint64_t)((double)available_on(backend->backend) * (double)config->kv_memory_fraction);
}

ImpStatus imp_context_memory(ImpContext context, ImpMemory *memory)
{
    API_REQUIRE(context);
    API_REQUIRE(memory);
    Backend *device = context->backend->backend;
    const ComputeMemory taken = runner_memory(context->runner);
    const RunnerOptions *options = runner_options(context->runner);
    const ImpMemory value = {
        .device = device->name,
        .weight_bytes = device->weight_bytes,
        .page_bytes = taken.pages,
        .state_bytes = taken.states,
        .activation_bytes = taken.activations,
        .workspace_bytes = taken.workspace,
        .free_bytes = available_on(device),
        .max_tokens = options->max_tokens,
        .max_sequences = options->max_sequences,
        .chunk = options->chunk,
    };
    return api_write_sized(memory, &value, sizeof value, "ImpMemory");
}
