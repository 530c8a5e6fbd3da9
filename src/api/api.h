/*
 * api.h - what stands behind the public handles, and what the files of this room share.
 */
#ifndef IMP_API_API_H
#define IMP_API_API_H

#include "compute/cpu/cpu_backend.h"
#include "compute/cuda/cuda_backend.h"
#include "core/arena.h"
#include "core/strbuf.h"
#include "format/model_file.h"
#include "imp/imp.h"
#include "imp/inspect.h"
#include "model/model.h"
#include "runtime/generate.h"
#include "runtime/runner.h"
#include "runtime/sampler.h"
#include "text/template/chat_template.h"
#include "text/tokenizer/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>

/* A NULL where something is needed is the caller's mistake, and named. */
#define API_REQUIRE(argument)                                                                                          \
    do {                                                                                                               \
        if (!(argument)) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s: %s is NULL", __func__, #argument);             \
    } while (0)

/* Where a context runs and how. */
typedef struct DeviceOptions {
    bool gpu;           /* all layers, or the last n_gpu_layers where that is not 0 */
    int32_t n_gpu_layers;
    CpuOptions cpu;
    CudaOptions cuda;
} DeviceOptions;

/* A CPU backend is lent to one context at a time, because its threads serve one caller; a GPU's serves any number. */
typedef struct ModelBackend {
    Backend *backend;
    DeviceOptions options;
    int32_t n_users;
    struct ModelBackend *next;
} ModelBackend;

struct ImpModelObject {
    atomic_int references; /* the caller's, and one of each context and detokenizer */
    ModelFile *file;
    Model *model;         /* NULL: vocabulary only */
    Tokenizer *tokenizer; /* NULL: ids only */
    Arena arena;          /* strings */
    const char *name, *weight_type;
    const char *template_source; /* NULL: none */

    pthread_mutex_t lock; /* of everything below */
    ModelBackend *backends;
    Backend *preparer; /* the one that prepared the weights; NULL: not yet */
    DeviceOptions prepared_with;
    ChatTemplate *chat_template; /* compiled at its first use */
    ConstraintVocab *constraint_vocab; /* built at its first use */
};

struct ImpContextObject {
    ImpModel model;
    ModelBackend *backend;
    Runner *runner;
    Session *session;
    uint64_t random_seed;   /* what IMP_SEED_RANDOM is in imp_decode_step */
    uint64_t used_seed;     /* of the last generation */
    bool *open_sequences;   /* [max_sequences], the session's own not among them */
    StepInput *step_inputs; /* [max_sequences] */
};

struct ImpDetokenizerObject {
    ImpModel model;
    Detokenizer *stream;
    StrBuf text;
};

/* Structures that grow: `out` is the defaults with the caller's first in->size bytes over them. `in` may be NULL. */
ImpStatus api_read_config(const ImpConfig *in, ImpConfig *out);
ImpStatus api_read_params(const ImpGenerateParams *in, ImpGenerateParams *out);
/* What these stand on: `in` NULL leaves the defaults. `maker` is the function that a sentence names. */
ImpStatus api_read_sized(const void *in, void *defaults, size_t known, const char *what, const char *maker);
void api_init_sized(void *out, size_t size, const void *defaults, size_t known);

/* A configuration's ranges; what it means for the backend and for a runner of this model. */
ImpStatus api_check_config(const ImpConfig *config);
ImpStatus api_device_options(const ImpConfig *config, DeviceOptions *out);
ImpStatus api_runner_options(const Model *model, const ImpConfig *config, const ModelBackend *backend,
                             RunnerOptions *out);
/* Bytes of keys and values of one token in all layers that keep everything. */
uint64_t api_kv_bytes_per_token(const Model *model, DType type);

/* Copies what the caller's structure has room for, by its size member, from `value` of `known` bytes. */
ImpStatus api_write_sized(void *out, const void *value, size_t known, const char *what);

/* The end of every call that fills a caller's buffer; see imp.h. */
ImpStatus api_copy_text(const char *text, size_t text_length, char *buffer, size_t size, size_t *length);

/* Reference counting: contexts keep their model. */
ImpModel api_model_keep(ImpModel model);

/* IMP_ERR_UNSUPPORTED with a sentence when the model has no vocabulary. */
ImpStatus api_need_tokenizer(ImpModel model);

/* Lends a backend with these options; the first one prepares the weights. */
ImpStatus api_backend_take(ImpModel model, const DeviceOptions *options, const Progress *progress, ModelBackend **out);
void api_backend_return(ImpModel model, ModelBackend *backend);

/* Sampler parameters out of public ones; lists from `arena`. */
ImpStatus api_sampler_params(ImpModel model, const ImpGenerateParams *params, uint64_t seed, Arena *arena,
                             SamplerParams *out);

/* A public handle that owns a compiled constraint. */
ImpStatus api_constraint_wrap(Constraint *compiled, ImpConstraint *constraint);

/* What params->constraint means for a generation; both NULL without one. */
ImpStatus api_constraint(ImpModel model, const ImpGenerateParams *params, const Constraint **constraint,
                         ConstraintVocab **vocab);

/* The prompt of a conversation. */
ImpStatus api_render_chat(ImpModel model, const ImpMessage *messages, size_t n_messages,
                          const ImpGenerateParams *params, StrBuf *out);

/* A number nobody can foretell, never IMP_SEED_RANDOM. */
uint64_t api_random_seed(void);

/* Bytes that could be taken without swapping; 0: unknown. */
uint64_t api_memory_available(void);
/* The share of what is free on the backend's device that keys and values may take; 0 when it is not known. */
uint64_t api_kv_memory(const ImpConfig *config, const ModelBackend *backend);

#endif
