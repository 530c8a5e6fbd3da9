/*
 * rope.c - inverse frequencies of rotary embeddings, with every scaling folded in.
 *
 * Sources: RoFormer (arXiv 2104.09864); YaRN (arXiv 2309.00071); Llama 3.1's frequency bands as transformers'
 * modeling_rope_utils computes them. Two generations of config.json (rope_theta + rope_scaling, rope_parameters) and
 * GGUF keys become one RopeScaling.
 */
#include "model/builder.h"

#include <math.h>
#include <string.h>

typedef struct RopeScaling {
    enum { SCALING_NONE, SCALING_LINEAR, SCALING_DYNAMIC, SCALING_LLAMA3, SCALING_YARN } kind;
    double factor;
    double original_context;
    double low_freq_factor, high_freq_factor; /* Llama 3 */
    double beta_fast, beta_slow;              /* YaRN */
    bool truncate;                            /* YaRN: ramp ends rounded outwards */
    double extrapolation;                     /* YaRN: how much of the unscaled frequency the fast dimensions keep */
    double magnitude;
} RopeScaling;

static double yarn_magnitude(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

/* The dimension whose wave turns `rotations` times over the original context. */
static double yarn_dimension(double rotations, int32_t n_dims, double base, double context)
{
    const double pi = 3.14159265358979323846;
    return n_dims * log(context / (rotations * 2 * pi)) / (2 * log(base));
}

static double scale_llama3(const RopeScaling *scaling, double inv_freq)
{
    const double wavelength = 2 * 3.14159265358979323846 / inv_freq;
    if (wavelength > scaling->original_context / scaling->low_freq_factor) return inv_freq / scaling->factor;
    if (wavelength < scaling->original_context / scaling->high_freq_factor) return inv_freq;
    const double smooth = (scaling->original_context / wavelength - scaling->low_freq_factor) /
                          (scaling->high_freq_factor - scaling->low_freq_factor);
    return (1 - smooth) * inv_freq / scaling->factor + smooth * inv_freq;
}

static void fill_frequencies(const RopeScaling *scaling, int32_t n_dims, double base, float *inv_freq)
{
    double low = 0, high = 0;
    if (scaling->kind == SCALING_YARN) {
        low = yarn_dimension(scaling->beta_fast, n_dims, base, scaling->original_context);
        high = yarn_dimension(scaling->beta_slow, n_dims, base, scaling->original_context);
        if (scaling->truncate) {
            low = floor(low);
            high = ceil(high);
        }
        low = fmax(low, 0);
        high = fmin(high, n_dims - 1);
        if (low == high) high += 0.001;
    }
    for (int32_t i = 0; i < n_dims / 2; i++) {
        double value = 1.0 / pow(base, 2.0 * i / n_dims);
        if (scaling->kind == SCALING_LINEAR) value /= scaling->factor;
        if (scaling->kind == SCALING_LLAMA3) value = scale_llama3(scaling, value);
        if (scaling->kind == SCALING_YARN) {
            const double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
            const double kept = (1 - ramp) * scaling->extrapolation;
            value = value / scaling->factor * (1 - kept) + value * kept;
        }
        inv_freq[i] = (float)value;
    }
}

/* The object that holds this layer type's parameters: rope_scaling where an old configuration has it, else
 * rope_parameters (perhaps one object a layer type), else NULL. */
static const json_t *config_object(const Builder *builder, const RopeSource *source)
{
    const json_t *scaling = hparams_json(&builder->hparams, "rope_scaling");
    const json_t *parameters = hparams_json(&builder->hparams, "rope_parameters");
    if (json_object_size(scaling) > 0) return scaling;
    const json_t *own = source->layer_type != NULL ? json_object_get(parameters, source->layer_type) : NULL;
    return json_is_object(own) ? own : parameters;
}

static ImpStatus yarn_from_config(const Builder *builder, const json_t *object, RopeScaling *out)
{
    const Hparams *hparams = &builder->hparams;
    double mscale, mscale_all_dim;
    IMP_TRY(hparams_json_float(hparams, object, "beta_fast", 32, &out->beta_fast));
    IMP_TRY(hparams_json_float(hparams, object, "beta_slow", 1, &out->beta_slow));
    IMP_TRY(hparams_json_float(hparams, object, "mscale", 0, &mscale));
    IMP_TRY(hparams_json_float(hparams, object, "mscale_all_dim", 0, &mscale_all_dim));
    const double plain = mscale != 0 && mscale_all_dim != 0
                             ? yarn_magnitude(out->factor, mscale) / yarn_magnitude(out->factor, mscale_all_dim)
                             : yarn_magnitude(out->factor, 1);
    IMP_TRY(hparams_json_float(hparams, object, "attention_factor", plain, &out->magnitude));
    /* transformers reads it beside, not inside, the objects of layer types. */
    const json_t *top = hparams_json(hparams, "rope_parameters");
    out->extrapolation = 1;
    out->truncate = !json_is_false(json_object_get(json_is_object(top) ? top : object, "truncate"));
    if (out->beta_fast == 0) out->beta_fast = 32;
    if (out->beta_slow == 0) out->beta_slow = 1;
    return IMP_OK;
}

static ImpStatus scaling_from_config(Builder *builder, const RopeSource *source, const json_t *object, RopeScaling *out)
{
    const Hparams *hparams = &builder->hparams;
    const json_t *type = json_object_get(object, "rope_type");
    if (!json_is_string(type)) type = json_object_get(object, "type");
    const char *name = json_is_string(type) ? json_string_value(type) : "default";
    if (strcmp(name, "default") == 0 || strcmp(name, "mrope") == 0) return IMP_OK;
    if (strcmp(name, "dynamic") == 0) {
        /* Frequencies that change with the sequence's length, but only past what the model was trained for. */
        out->kind = SCALING_DYNAMIC;
        builder->model->n_ctx_most = builder->model->n_ctx_train;
        return IMP_OK;
    }
    if (strcmp(name, "linear") == 0)
        out->kind = SCALING_LINEAR;
    else if (strcmp(name, "llama3") == 0)
        out->kind = SCALING_LLAMA3;
    else if (strcmp(name, "yarn") == 0)
        out->kind = SCALING_YARN;
    else
        return imp_fail(IMP_ERR_UNSUPPORTED,
                        "%s: rotary scaling %s is not supported (linear, llama3, yarn, dynamic are)", hparams->path,
                        name);
    IMP_TRY(hparams_json_float(hparams, object, "factor", 0, &out->factor));
    float whole_model;
    IMP_TRY(hparams_float(hparams, NULL, "original_max_position_embeddings", 0, &whole_model));
    IMP_TRY(hparams_json_float(hparams, object, "original_max_position_embeddings", builder->model->n_ctx_train,
                               &out->original_context));
    if (whole_model > 0 && source->layer_type == NULL) out->original_context = whole_model;
    IMP_TRY(hparams_json_float(hparams, object, "low_freq_factor", 1, &out->low_freq_factor));
    IMP_TRY(hparams_json_float(hparams, object, "high_freq_factor", 4, &out->high_freq_factor));
    if (out->factor == 0 && out->original_context > 0)
        out->factor = builder->model->n_ctx_train / out->original_context;
    return out->kind == SCALING_YARN ? yarn_from_config(builder, object, out) : IMP_OK;
}

static ImpStatus scaling_from_gguf(const Builder *builder, RopeScaling *out)
{
    const Hparams *hparams = &builder->hparams;
    char name[32];
    float factor, context, beta_fast, beta_slow, attention, yarn, extrapolation;
    IMP_TRY(hparams_string(hparams, "rope.scaling.type", NULL, name, sizeof name));
    IMP_TRY(hparams_float(hparams, "rope.scale_linear", NULL, 1, &factor));
    const bool old_linear = name[0] == '\0' && factor != 1.0f;
    IMP_TRY(hparams_float(hparams, "rope.scaling.factor", NULL, factor, &factor));
    IMP_TRY(
        hparams_float(hparams, "rope.scaling.original_context_length", NULL, builder->model->n_ctx_train, &context));
    IMP_TRY(hparams_float(hparams, "rope.scaling.yarn_beta_fast", NULL, 32, &beta_fast));
    IMP_TRY(hparams_float(hparams, "rope.scaling.yarn_beta_slow", NULL, 1, &beta_slow));
    IMP_TRY(hparams_float(hparams, "rope.scaling.attn_factor", NULL, 1, &attention));
    IMP_TRY(hparams_float(hparams, "rope.scaling.yarn_ext_factor", NULL, 1, &extrapolation));
    /* A checkpoint's own attention_factor, which stands for what the factor would give. */
    IMP_TRY(hparams_float(hparams, "rope.scaling.yarn_attn_factor", NULL, yarn_magnitude(factor, 1), &yarn));
    if (old_linear || strcmp(name, "linear") == 0)
        out->kind = SCALING_LINEAR;
    else if (strcmp(name, "yarn") == 0)
        out->kind = SCALING_YARN;
    else if (name[0] != '\0' && strcmp(name, "none") != 0)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s: rotary scaling %s is not supported (linear and yarn are)",
                        hparams->path, name);
    out->factor = factor;
    out->original_context = context;
    out->beta_fast = beta_fast;
    out->beta_slow = beta_slow;
    out->truncate = true;
    out->extrapolation = extrapolation;
    out->magnitude = out->kind == SCALING_YARN ? (double)attention * yarn : 1;
    return IMP_OK;
}

static ImpStatus check_scaling(const Builder *builder, const RopeScaling *scaling, double base)
{
    const bool factor_good = scaling->kind == SCALING_NONE || (scaling->factor > 0 && isfinite(scaling->factor));
    const bool needs_context = scaling->kind == SCALING_LLAMA3 || scaling->kind == SCALING_YARN;
    const bool context_good = !needs_context || scaling->original_context > 0;
    const bool bands_good = scaling->kind != SCALING_LLAMA3 ||
                            (scaling->low_freq_factor > 0 && scaling->high_freq_factor > scaling->low_freq_factor);
    const bool betas_good = scaling->kind != SCALING_YARN || (scaling->beta_fast > 0 && scaling->beta_slow > 0);
    if (factor_good && context_good && bands_good && betas_good && base > 1) return IMP_OK;
    return imp_fail(IMP_ERR_FORMAT, "%s: the rotary embedding's base and scaling make no sense together",
                    builder->hparams.path);
}

/* Llama 3's scaling arrives in GGUF as a tensor of divisors. */
static ImpStatus divide_by_tensor(Builder *builder, int32_t n_dims, float *inv_freq)
{
    Vector divisors;
    IMP_TRY(builder_vector(builder, at_layer((TensorName){"rope_freqs", NULL}, 0), ".weight", n_dims / 2, OPTIONAL,
                           &divisors));
    for (int32_t i = 0; i < divisors.size; i++) {
        if (!(divisors.data[i] > 0))
            return imp_fail(IMP_ERR_FORMAT, "%s: rope_freqs.weight holds a divisor that is not positive",
                            builder->hparams.path);
        inv_freq[i] /= divisors.data[i];
    }
    return IMP_OK;
}

ImpStatus builder_rope(Builder *builder, const RopeSource *source, Rope *out)
{
    const Hparams *hparams = &builder->hparams;
    RopeScaling scaling = {.factor = 1, .magnitude = 1};
    int32_t n_dims = source->head_dim;
    double base = source->default_base;
    float stored_base;
    IMP_TRY(hparams_float(hparams, source->gguf_base, source->config_base, source->default_base, &stored_base));
    base = stored_base;
    if (builder->gguf) {
        IMP_TRY(hparams_int(hparams, "rope.dimension_count", NULL, n_dims, 2, n_dims, &n_dims));
        if (!source->unscaled) IMP_TRY(scaling_from_gguf(builder, &scaling));
    } else {
        const json_t *object = config_object(builder, source);
        double partial;
        float whole_model;
        IMP_TRY(hparams_float(hparams, NULL, "partial_rotary_factor", 1, &whole_model));
        IMP_TRY(hparams_json_float(hparams, object, "partial_rotary_factor", whole_model, &partial));
        if (!(partial > 0 && partial <= 1))
            return imp_fail(IMP_ERR_FORMAT, "%s: partial_rotary_factor is outside 0 … 1", hparams->path);
        IMP_TRY(hparams_json_float(hparams, object, "rope_theta", base, &base));
        if (!source->unscaled) IMP_TRY(scaling_from_config(builder, source, object, &scaling));
        /* transformers' code of these families reads it together with a scaling and passes over it without one. */
        if (scaling.kind != SCALING_NONE) n_dims = (int32_t)(partial * n_dims);
    }
    if (n_dims < 2 || n_dims % 2 != 0)
        return imp_fail(IMP_ERR_FORMAT, "%s: %d dimensions cannot turn in pairs", hparams->path, (int)n_dims);
    IMP_TRY(check_scaling(builder, &scaling, base));
    float *inv_freq = arena_alloc(&builder->model->arena, (size_t)n_dims / 2, sizeof *inv_freq);
    if (inv_freq == NULL) return imp_fail_memory((size_t)n_dims * 2);
    fill_frequencies(&scaling, n_dims, base, inv_freq);
    if (builder->gguf && !source->unscaled) IMP_TRY(divide_by_tensor(builder, n_dims, inv_freq));
    *out = (Rope){.kind = builder->gguf ? source->gguf_kind : ROPE_HALF,
                  .n_dims = n_dims,
                  .inv_freq = inv_freq,
                  .magnitude = (float)scaling.magnitude};
    return IMP_OK;
}
