/*
 * fuzz_conf.c - any bytes as imp.conf: an error with a sentence, or values that the schema allows.
 */
#include "imp/settings.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted lies in its range. */
static void check_values(const ImpSettings *settings)
{
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        if (!imp_settings_is_set(settings, info->key)) continue;
        const double number = imp_settings_float(settings, info->key);
        const bool is_number = info->type == IMP_SETTING_INT || info->type == IMP_SETTING_FLOAT;
        if (!info->built || (is_number && !(number >= info->min && number <= info->max))) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ImpSettings *settings = NULL;
    if (imp_settings_create(&settings) != IMP_OK) return 0;
    if (imp_settings_parse(settings, "fuzz", (const char *)data, size) != IMP_OK) {
        if (imp_last_error()[0] == '\0') abort();
    } else {
        check_values(settings);
    }
    imp_settings_free(settings);
    return 0;
}
