/* hparams.c - one lookup for two formats: every architecture names its keys side by side. */
#include "model/hparams.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static ImpStatus open_gguf(Hparams *out)
{
    GgufString name;
    if (!gguf_get_string(out->gguf, "general.architecture", &name))
        return imp_fail(IMP_ERR_FORMAT, "%s: the metadata key general.architecture is missing", out->path);
    if (name.length == 0 || name.length >= sizeof out->arch)
        return imp_fail(IMP_ERR_FORMAT, "%s: general.architecture is not a usable name", out->path);
    memcpy(out->arch, name.data, name.length);
    return IMP_OK;
}

static ImpStatus open_config(const ModelFile *file, Hparams *out)
{
    const json_t *config = model_file_config(file);
    if (!json_is_object(config))
        return imp_fail(IMP_ERR_FORMAT, "%s: config.json is missing or not an object", out->path);
    const json_t *text = json_object_get(config, "text_config");
    out->config = json_is_object(text) ? text : config;
    if (out->config != config) out->wrapper = config;
    const char *type = json_string_value(json_object_get(out->config, "model_type"));
    if (type == NULL) type = json_string_value(json_object_get(config, "model_type"));
    if (type == NULL) return imp_fail(IMP_ERR_FORMAT, "%s: config.json has no model_type", out->path);
    if (strlen(type) >= sizeof out->arch)
        return imp_fail(IMP_ERR_FORMAT, "%s: model_type in config.json is not a usable name", out->path);
    memcpy(out->arch, type, strlen(type));
    return IMP_OK;
}

ImpStatus hparams_open(const ModelFile *file, Hparams *out)
{
    *out = (Hparams){.path = model_file_path(file), .gguf = model_file_gguf(file)};
    return out->gguf != NULL ? open_gguf(out) : open_config(file, out);
}

static void full_key(const Hparams *hparams, const char *key, char *out, size_t size)
{
    (void)snprintf(out, size, "%s.%s", hparams->arch, key);
}

const GgufValue *hparams_gguf(const Hparams *hparams, const char *gguf_key)
{
    if (hparams->gguf == NULL || gguf_key == NULL) return NULL;
    char key[192];
    full_key(hparams, gguf_key, key, sizeof key);
    return gguf_find(hparams->gguf, key);
}

const json_t *hparams_json(const Hparams *hparams, const char *config_key)
{
    if (hparams->config == NULL || config_key == NULL) return NULL;
    const json_t *value = json_object_get(hparams->config, config_key);
    return json_is_null(value) ? NULL : value;
}

const char *hparams_either(const Hparams *hparams, const char *config_key, const char *other_key)
{
    return hparams_json(hparams, config_key) != NULL ? config_key : other_key;
}

bool hparams_is_null(const Hparams *hparams, const char *config_key)
{
    return hparams->config != NULL && json_is_null(json_object_get(hparams->config, config_key));
}

bool hparams_has(const Hparams *hparams, const char *gguf_key, const char *config_key)
{
    return hparams_gguf(hparams, gguf_key) != NULL || hparams_json(hparams, config_key) != NULL;
}

/* The name that a message should use. */
static const char *key_name(const Hparams *hparams, const char *gguf_key, const char *config_key)
{
    const char *key = hparams->gguf != NULL ? gguf_key : config_key;
    return key != NULL ? key : "a hyperparameter this format cannot hold";
}

static ImpStatus wrong_kind(const Hparams *hparams, const char *name, const char *expected)
{
    return imp_fail(IMP_ERR_FORMAT, "%s: %s is not %s", hparams->path, name, expected);
}

static ImpStatus missing(const Hparams *hparams, const char *name)
{
    return imp_fail(IMP_ERR_FORMAT, "%s: %s is missing", hparams->path, name);
}

static bool gguf_scalar_i64(const Hparams *hparams, const char *gguf_key, int64_t *out)
{
    char key[192];
    full_key(hparams, gguf_key, key, sizeof key);
    return gguf_get_i64(hparams->gguf, key, out);
}

static bool json_i64(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    /* Some writers store counts as 4096.0. */
    const double real = json_is_real(value) ? json_real_value(value) : NAN;
    if (!(fabs(real) < 9e15) || real != floor(real)) return false;
    *out = (int64_t)real;
    return true;
}

ImpStatus hparams_int_at(const Hparams *hparams, const char *gguf_key, const char *config_key, int32_t layer,
                         int64_t fallback, int64_t min, int64_t max, int32_t *out)
{
    const char *name = key_name(hparams, gguf_key, config_key);
    const GgufValue *stored = hparams_gguf(hparams, gguf_key);
    const json_t *json = hparams_json(hparams, config_key);
    int64_t value = fallback;
    bool good = true;
    if (stored != NULL && stored->type == GGUF_ARRAY) {
        good = (uint64_t)layer < stored->count && gguf_array_i64(stored, (uint64_t)layer, &value);
    } else if (stored != NULL) {
        good = gguf_scalar_i64(hparams, gguf_key, &value);
    } else if (json_is_array(json)) {
        good = (size_t)layer < json_array_size(json) && json_i64(json_array_get(json, (size_t)layer), &value);
    } else if (json != NULL) {
        good = json_i64(json, &value);
    } else if (fallback == HPARAMS_REQUIRED) {
        return missing(hparams, name);
    } else {
        *out = (int32_t)fallback;
        return IMP_OK;
    }
    if (!good) return wrong_kind(hparams, name, "an integer (or a list with one a layer)");
    if (value < min || value > max)
        return imp_fail(IMP_ERR_FORMAT, "%s: %s is %" PRId64 ", outside %" PRId64 " … %" PRId64, hparams->path, name,
                        value, min, max);
    *out = (int32_t)value;
    return IMP_OK;
}

ImpStatus hparams_int(const Hparams *hparams, const char *gguf_key, const char *config_key, int64_t fallback,
                      int64_t min, int64_t max, int32_t *out)
{
    return hparams_int_at(hparams, gguf_key, config_key, 0, fallback, min, max, out);
}

ImpStatus hparams_float(const Hparams *hparams, const char *gguf_key, const char *config_key, double fallback,
                        float *out)
{
    const char *name = key_name(hparams, gguf_key, config_key);
    double value = fallback;
    if (hparams_gguf(hparams, gguf_key) != NULL) {
        char key[192];
        full_key(hparams, gguf_key, key, sizeof key);
        if (!gguf_get_f64(hparams->gguf, key, &value)) return wrong_kind(hparams, name, "a number");
    } else {
        const json_t *json = hparams_json(hparams, config_key);
        if (json != NULL && !json_is_number(json)) return wrong_kind(hparams, name, "a number");
        if (json != NULL) value = json_number_value(json);
        if (json == NULL && isnan(fallback)) return missing(hparams, name);
    }
    if (!isfinite(value)) return wrong_kind(hparams, name, "a finite number");
    *out = (float)value;
    return IMP_OK;
}

ImpStatus hparams_bool(const Hparams *hparams, const char *gguf_key, const char *config_key, bool fallback, bool *out)
{
    const char *name = key_name(hparams, gguf_key, config_key);
    *out = fallback;
    if (hparams_gguf(hparams, gguf_key) != NULL) {
        char key[192];
        full_key(hparams, gguf_key, key, sizeof key);
        return gguf_get_bool(hparams->gguf, key, out) ? IMP_OK : wrong_kind(hparams, name, "true or false");
    }
    const json_t *json = hparams_json(hparams, config_key);
    if (json == NULL) return IMP_OK;
    if (!json_is_boolean(json)) return wrong_kind(hparams, name, "true or false");
    *out = json_is_true(json);
    return IMP_OK;
}

ImpStatus hparams_string(const Hparams *hparams, const char *gguf_key, const char *config_key, char *out, size_t size)
{
    const char *name = key_name(hparams, gguf_key, config_key);
    GgufString text = {"", 0};
    if (hparams_gguf(hparams, gguf_key) != NULL) {
        char key[192];
        full_key(hparams, gguf_key, key, sizeof key);
        if (!gguf_get_string(hparams->gguf, key, &text)) return wrong_kind(hparams, name, "a string");
    } else {
        const json_t *json = hparams_json(hparams, config_key);
        if (json != NULL && !json_is_string(json)) return wrong_kind(hparams, name, "a string");
        if (json != NULL) text = (GgufString){json_string_value(json), json_string_length(json)};
    }
    const size_t length = text.length < size - 1 ? text.length : size - 1;
    memcpy(out, text.data, length);
    out[length] = '\0';
    return IMP_OK;
}

ImpStatus hparams_json_float(const Hparams *hparams, const json_t *object, const char *key, double fallback,
                             double *out)
{
    const json_t *value = json_object_get(object, key);
    *out = fallback;
    if (value == NULL || json_is_null(value)) return IMP_OK;
    if (!json_is_number(value)) return wrong_kind(hparams, key, "a number");
    *out = json_number_value(value);
    return isfinite(*out) ? IMP_OK : wrong_kind(hparams, key, "a finite number");
}
