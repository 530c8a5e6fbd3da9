/* params.c - one table of numbers, and the few fields that are more than a number. */
#include "params.h"

#include "imp/constrain.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER(field) offsetof(ImpGenerateParams, field)

static const struct {
    const char *name;
    double min, max;
    size_t offset;
} float_fields[] = {
    {"temperature", 0, 100, MEMBER(temperature)},
    {"top_p", 0, 1, MEMBER(top_p)},
    {"min_p", 0, 1, MEMBER(min_p)},
    {"typical_p", 0, 1, MEMBER(typical_p)},
    {"repeat_penalty", 0.01, 100, MEMBER(repeat_penalty)},
    {"repetition_penalty", 0.01, 100, MEMBER(repeat_penalty)},
    {"frequency_penalty", -2, 2, MEMBER(frequency_penalty)},
    {"presence_penalty", -2, 2, MEMBER(presence_penalty)},
    {"dry_multiplier", 0, 100, MEMBER(dry_multiplier)},
    {"dry_base", 1, 100, MEMBER(dry_base)},
    {"mirostat_tau", 0, 100, MEMBER(mirostat_tau)},
    {"mirostat_eta", 0, 1, MEMBER(mirostat_eta)},
};

static const struct {
    const char *name;
    int64_t min, max;
    size_t offset;
} int_fields[] = {
    {"top_k", -1, INT32_MAX, MEMBER(top_k)},
    {"repeat_last_n", -1, INT32_MAX, MEMBER(repeat_last_n)},
    {"dry_allowed_length", 0, INT32_MAX, MEMBER(dry_allowed_length)},
    {"dry_penalty_last_n", -1, INT32_MAX, MEMBER(dry_penalty_last_n)},
    {"mirostat", 0, 2, MEMBER(mirostat)},
};

static void read_stop(Fields *fields, const char *name, RequestParams *out)
{
    const json_t *value = json_object_get(fields->object, name);
    if (value == NULL || json_is_null(value)) return;
    const size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count > MAX_STOP_STRINGS) {
        fields_fail(fields, name, "%s may hold up to %d strings", name, MAX_STOP_STRINGS);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_is_array(value) ? json_array_get(value, i) : value;
        const char *text = json_string_value(entry);
        if (text == NULL)
            fields_fail(fields, name, "%s must be a string or a list of strings", name);
        else if (text[0] == '\0')
            fields_fail(fields, name, "%s must not hold an empty string", name);
        else
            out->stop[out->n_stop++] = text;
    }
}

/* {"15043": -100, …}: ids as strings. */
static void read_logit_bias(const Server *server, Fields *fields, RequestParams *out)
{
    const json_t *object = fields_member(fields, "logit_bias", JSON_OBJECT, "an object of token ids and numbers");
    const size_t count = json_object_size(object);
    if (count == 0) return;
    if (count > MAX_LOGIT_BIAS)
        fields_fail(fields, "logit_bias", "logit_bias may hold up to %d tokens", MAX_LOGIT_BIAS);
    out->bias = calloc(count, sizeof *out->bias);
    if (out->bias == NULL || !fields_good(fields)) return;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char *end;
        const long token = strtol(key, &end, 10);
        const double bias = json_number_value(value);
        if (*end != '\0' || end == key || token < 0 || token >= server->info.n_vocab)
            fields_fail(fields, "logit_bias", "logit_bias: %.40s is not a token id of this model", key);
        else if (!json_is_number(value) || !(fabs(bias) <= 100))
            fields_fail(fields, "logit_bias", "logit_bias: values must be numbers within -100 and 100");
        else /* OpenAI's -100 means a ban */
            out->bias[out->sampling.n_logit_bias++] =
                (ImpLogitBias){(int32_t)token, bias <= -100 ? -INFINITY : (float)bias};
    }
    out->sampling.logit_bias = out->bias;
}

/* Texts over which DRY looks for no repetition. */
static void read_breakers(Fields *fields, const char *name, RequestParams *out)
{
    const json_t *list = fields_member(fields, name, JSON_ARRAY, "a list of strings");
    if (list == NULL) return;
    if (json_array_size(list) > MAX_BREAKERS)
        fields_fail(fields, name, "%s may hold up to %d strings", name, MAX_BREAKERS);
    out->sampling.dry_breakers = out->breakers;
    out->sampling.n_dry_breakers = 0;
    for (size_t i = 0; i < json_array_size(list) && fields_good(fields); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || text[0] == '\0')
            fields_fail(fields, name, "%s must hold strings that are not empty", name);
        else
            out->breakers[out->sampling.n_dry_breakers++] = text;
    }
}

/* The links of the sampler chain in another order, or fewer of them. */
static void read_order(Fields *fields, const char *name, RequestParams *out)
{
    static const struct {
        const char *name;
        ImpSamplerLink link;
    } links[] = {{"penalties", IMP_SAMPLER_PENALTIES},    {"dry", IMP_SAMPLER_DRY},     {"top_k", IMP_SAMPLER_TOP_K},
                 {"typical_p", IMP_SAMPLER_TYPICAL_P},    {"top_p", IMP_SAMPLER_TOP_P}, {"min_p", IMP_SAMPLER_MIN_P},
                 {"temperature", IMP_SAMPLER_TEMPERATURE}};
    enum { N_LINKS = sizeof links / sizeof links[0] };
    const json_t *list = fields_member(fields, name, JSON_ARRAY, "a list of samplers");
    bool taken[N_LINKS] = {false};
    if (list == NULL) return;
    out->sampling.n_order = 0;
    for (size_t i = 0; i < json_array_size(list) && fields_good(fields); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        size_t at = 0;
        while (at < N_LINKS && (word == NULL || strcmp(word, links[at].name) != 0)) at++;
        if (at == N_LINKS)
            fields_fail(fields, name, "%s may hold penalties, dry, top_k, typical_p, top_p, min_p and temperature",
                        name);
        else if (taken[at])
            fields_fail(fields, name, "%s holds %s twice", name, word);
        else
            out->sampling.order[out->sampling.n_order++] = links[at].link;
        if (at < N_LINKS) taken[at] = true;
    }
}

void params_read(const Server *server, Fields *fields, const char *stop_field, RequestParams *out)
{
    *out = (RequestParams){.sampling = server->defaults, .n = 1};
    char *const base = (char *)&out->sampling;
    for (size_t i = 0; i < sizeof float_fields / sizeof float_fields[0]; i++)
        fields_float(fields, float_fields[i].name, float_fields[i].min, float_fields[i].max,
                     (float *)(void *)(base + float_fields[i].offset));
    for (size_t i = 0; i < sizeof int_fields / sizeof int_fields[0]; i++) {
        int32_t *member = (int32_t *)(void *)(base + int_fields[i].offset);
        int64_t value = *member;
        fields_int(fields, int_fields[i].name, int_fields[i].min, int_fields[i].max, &value);
        *member = (int32_t)value;
    }
    if (out->sampling.top_k < 0) out->sampling.top_k = 0;
    int64_t max_tokens = out->sampling.max_tokens, seed = -1;
    fields_int(fields, "max_tokens", 0, INT32_MAX, &max_tokens);
    fields_int(fields, "max_completion_tokens", 0, INT32_MAX, &max_tokens);
    fields_int(fields, "seed", INT64_MIN, INT64_MAX, &seed);
    fields_int(fields, "n", 1, MAX_CHOICES, &out->n);
    fields_int(fields, "priority", -1000, 1000, &out->priority);
    fields_float(fields, "timeout", 0, 86400, &out->timeout);
    fields_bool(fields, "stream", &out->stream);
    fields_bool(fields, "ignore_eos", &out->sampling.ignore_end);
    out->sampling.max_tokens = (int32_t)max_tokens;
    if (seed != -1) out->sampling.seed = (uint64_t)seed;
    read_stop(fields, stop_field, out);
    read_breakers(fields, "dry_breakers", out);
    read_breakers(fields, "dry_sequence_breakers", out);
    read_order(fields, "sampler_order", out);
    read_logit_bias(server, fields, out);
    params_read_constraint(fields, out);
    params_read_reasoning(server, fields, out);
}

void params_free(RequestParams *params)
{
    imp_constraint_free(params->constraint);
    params->constraint = NULL;
    tool_use_free(&params->use);
    free(params->answer_schema);
    params->answer_schema = NULL;
    free(params->bias);
    params->bias = NULL;
}

ImpRequest params_request(const RequestParams *params, ImpGenerateParams *storage, const int32_t *tokens,
                          int32_t n_tokens, int32_t index)
{
    *storage = params->sampling;
    storage->n_stop = 0;
    if (storage->seed != IMP_SEED_RANDOM) storage->seed += (uint64_t)index;
    return (ImpRequest){.size = sizeof(ImpRequest),
                        .tokens = tokens,
                        .n_tokens = n_tokens,
                        .params = storage,
                        .stop = params->stop,
                        .n_stop = params->n_stop,
                        .priority = (int32_t)params->priority,
                        .timeout_seconds = (double)params->timeout};
}
