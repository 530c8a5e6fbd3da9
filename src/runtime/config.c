/*
 * config.c - the values in force: built-in ones, then one file, then what the caller sets.
 */
#include "runtime/config.h"

#include "core/file_map.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct ImpSettings {
    Arena arena; /* strings and lists of the values; given back with the settings only, values change seldom */
    const char *file;
    const char *kept_path, *kept_text; /* the last file of config_keep_file */
    struct {
        Literal literal;
        bool is_set;
    } * values; /* [config_entry_count()] */
};

/* ---- the nearest name ---- */

enum { COMPARED_BYTES = 63 };

/* Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other (optimal string
 * alignment); only the first COMPARED_BYTES bytes count. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][COMPARED_BYTES + 1];
    const size_t n = strnlen(a, COMPARED_BYTES), m = strnlen(b, COMPARED_BYTES);
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++) above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const bool same = a[i - 1] == b[j - 1];
            size_t best = above[j - 1] + !same;
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

const char *imp_nearest_name(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (; *names != NULL; names++) {
        const size_t distance = edit_distance(word, *names);
        if (distance < least) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}

/* ---- creation ---- */

ImpStatus imp_settings_create(ImpSettings **out)
{
    ImpSettings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) return imp_fail_memory(sizeof *settings);
    settings->file = "";
    ImpStatus status = IMP_OK;
    const size_t count = config_entry_count();
    settings->values = calloc(count, sizeof *settings->values);
    if (settings->values == NULL) IMP_GOTO(imp_fail_memory(count * sizeof *settings->values));
    for (size_t i = 0; i < count; i++) {
        const ImpSettingInfo *entry = imp_setting_at(i);
        Literal *value = &settings->values[i].literal;
        IMP_GOTO(config_parse_literal(entry->default_value, strlen(entry->default_value), &settings->arena, value));
    }
    *out = settings;
    return IMP_OK;
fail:
    imp_settings_free(settings);
    return status;
}

void imp_settings_free(ImpSettings *settings)
{
    if (settings == NULL) return;
    arena_free(&settings->arena);
    free(settings->values);
    free(settings);
}

/* ---- setting ---- */

static ImpStatus store(ImpSettings *settings, size_t index, const Literal *literal)
{
    Literal checked;
    IMP_TRY(config_check(imp_setting_at(index), literal, &checked));
    settings->values[index].literal = checked;
    settings->values[index].is_set = true;
    return IMP_OK;
}

static ImpStatus assign_from_file(void *user, const char *key, int line, const Literal *literal)
{
    (void)line;
    size_t index;
    IMP_TRY(config_find(key, &index));
    return store(user, index, literal);
}

ImpStatus imp_settings_parse(ImpSettings *settings, const char *name, const char *text, size_t length)
{
    if (length > CONFIG_MAX_FILE_BYTES)
        return imp_fail(IMP_ERR_LIMIT, "%s is larger than %d bytes", name, CONFIG_MAX_FILE_BYTES);
    return config_parse_text(name, text, length, &settings->arena, assign_from_file, settings);
}

ImpStatus imp_settings_set(ImpSettings *settings, const char *key, const char *value)
{
    size_t index;
    IMP_TRY(config_find(key, &index));
    const ImpSettingInfo *entry = imp_setting_at(index);
    Literal literal = {.kind = LITERAL_BOOL};
    if (entry->built) IMP_TRY(config_literal_from_argument(entry, value, &settings->arena, &literal));
    return store(settings, index, &literal);
}

ImpStatus imp_settings_assign(ImpSettings *settings, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    char key[128];
    if (equals == NULL || equals == assignment)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "expected section.key=value, not \"%.64s\"", assignment);
    const size_t length = (size_t)(equals - assignment);
    if (length >= sizeof key) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no key of %zu bytes", length);
    memcpy(key, assignment, length);
    key[length] = '\0';
    return imp_settings_set(settings, key, equals + 1);
}

ImpStatus imp_settings_set_string(ImpSettings *settings, const char *key, const char *text)
{
    size_t index;
    IMP_TRY(config_find(key, &index));
    const Literal literal = {.kind = LITERAL_STRING, .text = arena_string(&settings->arena, text, strlen(text))};
    return literal.text != NULL ? store(settings, index, &literal) : imp_fail_memory(strlen(text));
}

ImpStatus imp_settings_append(ImpSettings *settings, const char *key, const char *value)
{
    size_t index;
    IMP_TRY(config_find(key, &index));
    const Literal *old = &settings->values[index].literal;
    if (old->kind != LITERAL_LIST) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s is no list", key);
    if (old->n_items == CONFIG_MAX_ITEMS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s has %d entries already", key, CONFIG_MAX_ITEMS);
    const char **items = arena_alloc(&settings->arena, CONFIG_MAX_ITEMS, sizeof *items);
    const char *copy = arena_string(&settings->arena, value, strlen(value));
    if (items == NULL || copy == NULL) return imp_fail_memory(strlen(value));
    memcpy(items, old->items, old->n_items * sizeof *items);
    items[old->n_items] = copy;
    const Literal literal = {.kind = LITERAL_LIST, .items = items, .n_items = old->n_items + 1};
    return store(settings, index, &literal);
}

/* ---- the file ---- */

static ImpStatus load_file(ImpSettings *settings, const char *path)
{
    StrBuf text = {0};
    ImpStatus status = file_read(path, CONFIG_MAX_FILE_BYTES, &text);
    if (status == IMP_OK) status = strbuf_check(&text);
    if (status == IMP_OK) status = imp_settings_parse(settings, path, text.data, text.length);
    strbuf_free(&text);
    if (status != IMP_OK) return status;
    settings->file = arena_string(&settings->arena, path, strlen(path));
    return settings->file != NULL ? IMP_OK : imp_fail_memory(strlen(path));
}

/* Whatever carries the name: a directory there is an error to report, not a reason to look further. */
static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

ImpStatus imp_settings_load(ImpSettings *settings, const char *path)
{
    if (path != NULL) return load_file(settings, path);
    const char *named = getenv("IMP_CONFIG");
    if (named != NULL && named[0] != '\0') {
        const ImpStatus status = load_file(settings, named);
        return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "$IMP_CONFIG");
    }
    if (exists("imp.conf")) return load_file(settings, "imp.conf");
    const char *home = getenv("HOME");
    char personal[PATH_MAX];
    if (home == NULL || home[0] == '\0') return IMP_OK;
    const int length = snprintf(personal, sizeof personal, "%s/.config/imp/imp.conf", home);
    if (length < 0 || (size_t)length >= sizeof personal || !exists(personal)) return IMP_OK;
    return load_file(settings, personal);
}

ImpStatus config_keep_file(ImpSettings *settings, const char *path, const char **text)
{
    if (settings->kept_path != NULL && strcmp(settings->kept_path, path) == 0) {
        *text = settings->kept_text;
        return IMP_OK;
    }
    StrBuf bytes = {0};
    ImpStatus status = IMP_OK;
    IMP_GOTO(file_read(path, CONFIG_MAX_FILE_BYTES, &bytes));
    IMP_GOTO(strbuf_check(&bytes));
    if (memchr(bytes.data, '\0', bytes.length) != NULL)
        IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "%s contains a NUL byte, it is no text", path));
    settings->kept_text = arena_string(&settings->arena, bytes.data, bytes.length);
    settings->kept_path = settings->kept_text != NULL ? arena_string(&settings->arena, path, strlen(path)) : NULL;
    if (settings->kept_path == NULL) IMP_GOTO(imp_fail_memory(bytes.length));
    *text = settings->kept_text;
fail:
    strbuf_free(&bytes);
    return status;
}

const char *imp_settings_file(const ImpSettings *settings) { return settings->file; }

/* ---- reading ---- */

/* The value of a key of one kind; NULL for any other. Keeps the caller's last error. */
static const Literal *find_value(const ImpSettings *settings, const char *key, LiteralKind kind)
{
    for (size_t i = 0; i < config_entry_count(); i++) {
        if (strcmp(imp_setting_at(i)->key, key) != 0) continue;
        const Literal *literal = &settings->values[i].literal;
        return literal->kind == kind ? literal : NULL;
    }
    return NULL;
}

bool imp_settings_is_set(const ImpSettings *settings, const char *key)
{
    for (size_t i = 0; i < config_entry_count(); i++)
        if (strcmp(imp_setting_at(i)->key, key) == 0) return settings->values[i].is_set;
    return false;
}

bool imp_settings_bool(const ImpSettings *settings, const char *key)
{
    const Literal *value = find_value(settings, key, LITERAL_BOOL);
    return value != NULL && value->boolean;
}

int64_t imp_settings_int(const ImpSettings *settings, const char *key)
{
    const Literal *value = find_value(settings, key, LITERAL_INT);
    return value != NULL ? value->integer : 0;
}

double imp_settings_float(const ImpSettings *settings, const char *key)
{
    const Literal *value = find_value(settings, key, LITERAL_FLOAT);
    if (value == NULL) value = find_value(settings, key, LITERAL_INT);
    return value != NULL ? value->real : 0;
}

const char *imp_settings_string(const ImpSettings *settings, const char *key)
{
    const Literal *value = find_value(settings, key, LITERAL_STRING);
    return value != NULL ? value->text : "";
}

const char *imp_settings_item(const ImpSettings *settings, const char *key, size_t index)
{
    const Literal *value = find_value(settings, key, LITERAL_LIST);
    return value != NULL && index < value->n_items ? value->items[index] : NULL;
}

const char *const *config_items(const ImpSettings *settings, const char *key, size_t *count)
{
    const Literal *value = find_value(settings, key, LITERAL_LIST);
    *count = value != NULL ? value->n_items : 0;
    return value != NULL ? value->items : NULL;
}
