/*
 * imp/types.h - handles, callbacks and the small structures of the public API.
 *
 * A structure whose first member is `size` can grow in later versions: set `size` to sizeof the structure before the
 * call that fills it (`ImpModelInfo info = {sizeof info};`); only that many bytes are touched.
 */
#ifndef IMP_TYPES_H
#define IMP_TYPES_H

#include "imp/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque handles, passed by value; NULL is no handle, and every …_free takes it in silence.
 *
 * ImpModel: a model file with its weights, vocabulary and chat template. Immutable: any number of threads may use one.
 * ImpContext: a conversation on a model: its keys and values, threads, sampler. One thread at a time.
 * ImpDetokenizer: text out of a stream of tokens. One thread at a time. */
typedef struct ImpModelObject *ImpModel;
typedef struct ImpContextObject *ImpContext;
typedef struct ImpDetokenizerObject *ImpDetokenizer;
typedef struct ImpConstraintObject *ImpConstraint; /* imp/constrain.h */

/* Files: a directory with SafeTensors weights, or a GGUF file (any part of a split one). */
typedef enum ImpFormat {
    IMP_FORMAT_AUTO = 0, /* a directory with model.safetensors or its index is SafeTensors, all else GGUF */
    IMP_FORMAT_GGUF = 1,
    IMP_FORMAT_SAFETENSORS = 2,
} ImpFormat;

/* In place of a length: the text ends at its NUL. */
#define IMP_NUL_TERMINATED ((size_t)-1)

/* Long work reports here now and then: `done` of `total` units of `what`, which is "prompt" (tokens), or "load", "re-laying
 * weights" or "uploading weights" (bytes). Returning false cancels: the running call ends with IMP_ERR_CANCELLED. */
typedef bool ImpProgressCallback(void *user, const char *what, uint64_t done, uint64_t total);

/* Receives text as it is generated: whole UTF-8 characters, `length` bytes and a NUL after them. Returning false ends
 * the generation normally (IMP_STOP_CALLBACK). */
typedef bool ImpTextCallback(void *user, const char *text, size_t length);

typedef enum ImpLogLevel { IMP_LOG_ERROR = 0, IMP_LOG_WARNING = 1, IMP_LOG_INFO = 2, IMP_LOG_DEBUG = 3 } ImpLogLevel;

/* Receives one line without its newline, from any thread. */
typedef void ImpLogCallback(ImpLogLevel level, const char *line, void *user);

/* One message of a conversation. Roles are the template's: "system", "user", "assistant", "tool". */
typedef struct ImpMessage {
    const char *role;
    const char *content;
} ImpMessage;

/* What a model is. Strings live as long as the model. */
typedef struct ImpModelInfo {
    size_t size;
    const char *architecture; /* as its file names it: "llama", "LlamaForCausalLM"; "" without weights */
    const char *name;         /* the model's own name, "" when the file has none */
    const char *weight_type;  /* type of most of its bytes: "Q4_K"; "" without weights */
    ImpFormat format;
    bool has_weights;    /* false: only a vocabulary; imp_context_create refuses it */
    bool has_vocabulary; /* false: only token ids go in and come out */
    bool has_chat_template;
    bool adds_bos; /* IMP_TOKENIZE_ADD_SPECIAL puts a BOS first */
    int32_t n_layers, n_embd;
    int32_t n_vocab;          /* rows of logits; without weights the vocabulary's size */
    int32_t n_ctx_train;      /* longest sequence it was trained for, 0: unknown */
    int32_t bos, eos;         /* -1: none */
    uint64_t n_parameters;    /* elements of all matrices */
    uint64_t weight_bytes;    /* of all tensors in the file */
    uint64_t bytes_per_token; /* of weights that one decode step reads */
} ImpModelInfo;

typedef enum ImpStopReason {
    IMP_STOP_NONE = 0,     /* nothing was generated yet */
    IMP_STOP_END = 1,      /* the model ended its turn */
    IMP_STOP_LENGTH = 2,   /* max_tokens were generated */
    IMP_STOP_CONTEXT = 3,  /* the context is full */
    IMP_STOP_STRING = 4,   /* a stop string appeared */
    IMP_STOP_CALLBACK = 5, /* the text callback returned false */
    IMP_STOP_CANCELLED = 6 /* imp_context_cancel, or the progress callback returned false */
} ImpStopReason;

/* What the last imp_generate… or imp_chat… call did, in tokens and seconds. */
typedef struct ImpStats {
    size_t size;
    int32_t prompt_tokens;    /* the whole prompt */
    int32_t reused_tokens;    /* of these, already computed by an earlier call */
    int32_t generated_tokens; /* the end token is not counted */
    ImpStopReason stop_reason;
    int32_t stop_index;      /* which stop string, -1: none */
    uint64_t seed;           /* the seed that was used, also where a random one was asked for */
    double prompt_seconds;   /* computing the prompt */
    double generate_seconds; /* from then to the end */
    int32_t forced_tokens;   /* generated ones that a constraint left no choice about: taken without asking the model */
} ImpStats;

typedef struct ImpDeviceInfo {
    size_t size;
    const char *name;        /* what ImpConfig.device takes: "cpu" */
    const char *description; /* "Intel(R) Xeon(R) Platinum 8480C" */
    const char *features;    /* instruction sets or compute capability that imp uses: "AVX-512" */
    int32_t n_cores;         /* processors this process may use, or multiprocessors */
    uint64_t memory_bytes, memory_free_bytes;
} ImpDeviceInfo;

#ifdef __cplusplus
}
#endif
#endif
