/*
 * imp/settings.h - imp.conf: the one table of keys, the file that sets them, and the values in force.
 *
 * Every key has a name (section.key), a type, a built-in value, a range and a help text; the command line, the
 * configuration file and the reference documentation are all made from that table. Nothing here is thread-safe for one
 * ImpSettings; different ones are independent.
 */
#ifndef IMP_SETTINGS_H
#define IMP_SETTINGS_H

#include "imp/config.h"
#include "imp/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ImpSettingType {
    IMP_SETTING_BOOL,
    IMP_SETTING_INT,
    IMP_SETTING_FLOAT,
    IMP_SETTING_CHOICE, /* one of a few words */
    IMP_SETTING_STRING,
    IMP_SETTING_STRINGS /* a list of strings */
} ImpSettingType;

/* What the table says of one key. Strings are static and never NULL. */
typedef struct ImpSettingInfo {
    const char *key; /* "kv_cache.dtype" */
    ImpSettingType type;
    const char *default_value; /* as imp.conf would write it: "fp16" with its quotes, 0.7, true, [] */
    const char *choices;       /* choices and lists of words: "fp16|bf16"; "" when any value of the type will do */
    const char *planned;       /* further choices whose mechanism is not built yet; "" mostly */
    double min, max;           /* of numbers, both allowed (±INFINITY: no bound); of lists: how many entries */
    bool built;                /* false: the mechanism does not exist yet, setting the key is an error */
    const char *help;          /* one or more sentences */
} ImpSettingInfo;

/* The keys in the order of the reference page, grouped by section; NULL past the end. */
IMP_API const ImpSettingInfo *imp_setting_at(size_t index);
/* NULL when there is no such key. */
IMP_API const ImpSettingInfo *imp_setting_find(const char *key);
/* What a section ("kv_cache") is about, as one line; NULL for an unknown section. */
IMP_API const char *imp_setting_section_help(const char *section);
/* The allowed values in words: "0 to 64", "at least 1", "fp16, bf16 or fp32"; "" when any value of the type will do. */
IMP_API ImpStatus imp_setting_range(const ImpSettingInfo *info, char *buffer, size_t size);

/* The name in a NULL-ended list that a mistyped `word` most likely meant; NULL for an empty list. */
IMP_API const char *imp_nearest_name(const char *word, const char *const *names);

/* Values in force: built-in ones at first. */
typedef struct ImpSettings ImpSettings;

IMP_API ImpStatus imp_settings_create(ImpSettings **out);
IMP_API void imp_settings_free(ImpSettings *settings);

/* Reads the one configuration file that applies: `path` when it is not NULL; else the file that $IMP_CONFIG names, else
 * ./imp.conf, else ~/.config/imp/imp.conf, else none. A file that was named must exist. Fails with a sentence that
 * names file and line; the values are then not to be used. */
IMP_API ImpStatus imp_settings_load(ImpSettings *settings, const char *path);
/* The file that imp_settings_load read; "" when there was none. */
IMP_API const char *imp_settings_file(const ImpSettings *settings);

/* The same for text in memory; `name` stands for the file's in sentences. */
IMP_API ImpStatus imp_settings_parse(ImpSettings *settings, const char *name, const char *text, size_t length);

/* Sets one key to a value as a command line gives it: 0.5, true, fp16, "quoted or not", lists as ["a", "b"] or a,b.
 * On failure the key keeps its value. */
IMP_API ImpStatus imp_settings_set(ImpSettings *settings, const char *key, const char *value);
/* The same for "section.key=value". */
IMP_API ImpStatus imp_settings_assign(ImpSettings *settings, const char *assignment);
/* Sets a string or a choice to text taken as it is, quotes and all. */
IMP_API ImpStatus imp_settings_set_string(ImpSettings *settings, const char *key, const char *text);
/* Adds one string, taken as it is, to a list. */
IMP_API ImpStatus imp_settings_append(ImpSettings *settings, const char *key, const char *value);
/* Whether something set the key: a file or a call above. */
IMP_API bool imp_settings_is_set(const ImpSettings *settings, const char *key);

/* The value of a key of the named type; for any other key false, 0, "" or NULL. Strings live as long as the settings.
 */
IMP_API bool imp_settings_bool(const ImpSettings *settings, const char *key);
IMP_API int64_t imp_settings_int(const ImpSettings *settings, const char *key);
IMP_API double imp_settings_float(const ImpSettings *settings, const char *key);       /* whole numbers too */
IMP_API const char *imp_settings_string(const ImpSettings *settings, const char *key); /* choices too */
/* Entry `index` of a list; NULL past its end. */
IMP_API const char *imp_settings_item(const ImpSettings *settings, const char *key, size_t index);

/* ---- Into the structures of imp/config.h ---- */

/* Overwrites every field of `config` that a key stands for. Its strings live as long as the settings. */
IMP_API ImpStatus imp_settings_apply_config(const ImpSettings *settings, ImpConfig *config);

/* Overwrites every field of `params` that a key stands for. Pointers in it are the settings' and hold until they
 * change. generation.chat_template_file is read now; "none" and "auto" both leave chat_template NULL, for the caller
 * has to choose between imp_generate and imp_chat. */
IMP_API ImpStatus imp_settings_apply_params(ImpSettings *settings, ImpGenerateParams *params);

#ifdef __cplusplus
}
#endif
#endif
