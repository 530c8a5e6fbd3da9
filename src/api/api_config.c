/*
 * api_config.c - default values, and structures that grow: a program built against an older header hands in a shorter
 * one.
 */
#include "api/api.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char *const default_breakers[] = {"\n", ":", "\"", "*"};

static ImpConfig default_config(void)
{
    return (ImpConfig){
        .size = sizeof(ImpConfig),
        .gpu_layers = -1,
        .max_sequences = 1,
        .kv_memory_fraction = 0.5f,
    };
}

/* The numbers of the sampler are its own defaults. */
static ImpGenerateParams default_params(void)
{
    const SamplerParams sampler = sampler_default_params();
    ImpGenerateParams params = {
        .size = sizeof(ImpGenerateParams),
        .max_tokens = 256,
        .repeat_penalty = sampler.repeat_penalty,
        .repeat_last_n = sampler.repeat_last_n,
        .frequency_penalty = sampler.frequency_penalty,
        .presence_penalty = sampler.presence_penalty,
        .dry_multiplier = sampler.dry_multiplier,
        .dry_base = sampler.dry_base,
        .dry_allowed_length = sampler.dry_allowed_length,
        .dry_penalty_last_n = sampler.dry_penalty_last_n,
        .dry_breakers = default_breakers,
        .n_dry_breakers = sizeof default_breakers / sizeof default_breakers[0],
        .top_k = sampler.top_k,
        .typical_p = sampler.typical_p,
        .top_p = sampler.top_p,
        .min_p = sampler.min_p,
        .temperature = sampler.temperature,
        .mirostat = sampler.mirostat,
        .mirostat_tau = sampler.mirostat_tau,
        .mirostat_eta = sampler.mirostat_eta,
        .seed = IMP_SEED_RANDOM,
        .n_order = sampler.n_links,
        .parse_special = true,
    };
    for (int32_t i = 0; i < sampler.n_links; i++) params.order[i] = (ImpSamplerLink)sampler.order[i];
    return params;
}

/* Fills `size` bytes: the known ones from `defaults`, any others, of a newer header, with zeros. The structure then
 * says how much of it is known here. */
void api_init_sized(void *out, size_t size, const void *defaults, size_t known)
{
    const size_t filled = size < known ? size : known;
    if (!out || size < sizeof(size_t)) return;
    memset(out, 0, size);
    memcpy(out, defaults, filled);
    memcpy(out, &filled, sizeof filled);
}

void imp_config_init(ImpConfig *config, size_t size)
{
    const ImpConfig defaults = default_config();
    api_init_sized(config, size, &defaults, sizeof defaults);
}

void imp_generate_params_init(ImpGenerateParams *params, size_t size)
{
    const ImpGenerateParams defaults = default_params();
    api_init_sized(params, size, &defaults, sizeof defaults);
}

ImpStatus api_read_sized(const void *in, void *defaults, size_t known, const char *what, const char *maker)
{
    size_t size;
    if (!in) return IMP_OK;
    memcpy(&size, in, sizeof size);
    if (size < sizeof size || size > known)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s.size is %zu, which is no size of it: start from %s()", what, size,
                        maker);
    memcpy(defaults, in, size);
    memcpy(defaults, &known, sizeof known);
    return IMP_OK;
}

ImpStatus api_read_config(const ImpConfig *in, ImpConfig *out)
{
    *out = default_config();
    return api_read_sized(in, out, sizeof *out, "ImpConfig", "imp_config_default");
}

ImpStatus api_read_params(const ImpGenerateParams *in, ImpGenerateParams *out)
{
    *out = default_params();
    return api_read_sized(in, out, sizeof *out, "ImpGenerateParams", "imp_generate_params_default");
}

ImpStatus api_write_sized(void *out, const void *value, size_t known, const char *what)
{
    size_t size;
    memcpy(&size, out, sizeof size);
    if (size < sizeof size)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s.size is %zu: set it to sizeof the structure before the call",
                        what, size);
    memcpy((char *)out + sizeof size, (const char *)value + sizeof size, (size < known ? size : known) - sizeof size);
    return IMP_OK;
}

uint64_t api_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec * 6364136223846793005u;
    }
    return seed == IMP_SEED_RANDOM ? 0 : seed;
}

/* A cut goes between characters: back over the followers of one that does not fit whole. */
static size_t whole_characters(const char *text, size_t length, size_t fits)
{
    if (length <= fits) return length;
    while (fits > 0 && ((unsigned char)text[fits] & 0xC0) == 0x80) fits--;
    return fits;
}

ImpStatus api_copy_text(const char *text, size_t text_length, char *buffer, size_t size, size_t *length)
{
    if (length) *length = text_length;
    if (!buffer && size > 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the buffer is NULL, but its size is %zu", size);
    if (size > 0) {
        const size_t stored = whole_characters(text, text_length, size - 1);
        if (stored > 0) memcpy(buffer, text, stored);
        buffer[stored] = '\0';
    }
    if (text_length < size || !buffer) return IMP_OK;
    return imp_fail(IMP_ERR_BUFFER_TOO_SMALL, "the text has %zu bytes and a NUL, the buffer %zu", text_length, size);
}
