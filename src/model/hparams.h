/*
 * hparams.h - hyperparameters by name, from GGUF metadata or from a Hugging Face config.json, with ranges checked.
 */
#ifndef IMP_MODEL_HPARAMS_H
#define IMP_MODEL_HPARAMS_H

#include "core/status.h"
#include "format/model_file.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Hparams {
    const char *path;      /* of the model, for messages */
    const GgufMeta *gguf;  /* one of these two is set */
    const json_t *config;  /* the text model's object: text_config of a multimodal wrapper, else the whole */
    const json_t *wrapper; /* the whole of such a wrapper, else NULL */
    char arch[64];         /* GGUF: general.architecture; Hugging Face: model_type of `config` */
} Hparams;

/* Reads the architecture's name. */
ImpStatus hparams_open(const ModelFile *file, Hparams *out);

/* As a `fallback`: absence is an error that names the key. */
#define HPARAMS_REQUIRED INT64_MIN

/* `gguf_key` is without the architecture's prefix ("attention.head_count"), `config_key` a member of config.json;
 * either may be NULL: absent in that format. A JSON null counts as absent. Values outside min … max are an error. */
ImpStatus hparams_int(const Hparams *hparams, const char *gguf_key, const char *config_key, int64_t fallback,
                      int64_t min, int64_t max, int32_t *out);
/* The same where the value may be an array with one entry a layer; a scalar holds for all layers. */
ImpStatus hparams_int_at(const Hparams *hparams, const char *gguf_key, const char *config_key, int32_t layer,
                         int64_t fallback, int64_t min, int64_t max, int32_t *out);
/* NaN as fallback: required. */
ImpStatus hparams_float(const Hparams *hparams, const char *gguf_key, const char *config_key, double fallback,
                        float *out);
ImpStatus hparams_bool(const Hparams *hparams, const char *gguf_key, const char *config_key, bool fallback, bool *out);
/* Copies at most size-1 bytes; "" when absent. */
ImpStatus hparams_string(const Hparams *hparams, const char *gguf_key, const char *config_key, char *out, size_t size);

bool hparams_has(const Hparams *hparams, const char *gguf_key, const char *config_key);
/* The first of two names of one member of config.json that is there, the second when neither is. */
const char *hparams_either(const Hparams *hparams, const char *config_key, const char *other_key);
/* Whether config.json holds the key with the value null, which says "none" where absence says "the class's default". */
bool hparams_is_null(const Hparams *hparams, const char *config_key);
/* The JSON member, NULL when absent, null or GGUF. */
const json_t *hparams_json(const Hparams *hparams, const char *config_key);
/* The GGUF value, NULL when absent or SafeTensors. */
const GgufValue *hparams_gguf(const Hparams *hparams, const char *gguf_key);

/* Numbers of a JSON object such as rope_scaling; `fallback` when absent or null. IMP_ERR_FORMAT when of another kind.
 */
ImpStatus hparams_json_float(const Hparams *hparams, const json_t *object, const char *key, double fallback,
                             double *out);

#endif
