/*
 * config_value.c - what the schema makes of a value: type, range, choices, and how a command line may write it.
 */
#include "runtime/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- words of a list such as "auto|on|off" ---- */

/* The next word of `*list`, its length in *length; NULL past the last. */
static const char *next_word(const char **list, size_t *length)
{
    if (**list == '\0') return NULL;
    const char *word = *list;
    *length = strcspn(word, "|");
    *list = word + *length + (word[*length] == '|');
    return word;
}

static bool is_word_of(const char *list, const char *text)
{
    size_t length;
    for (const char *word; (word = next_word(&list, &length)) != NULL;)
        if (strlen(text) == length && memcmp(word, text, length) == 0) return true;
    return false;
}

/* "a, b or c". */
static void append_words(StrBuf *out, const char *list)
{
    size_t length;
    bool first = true;
    for (const char *word; (word = next_word(&list, &length)) != NULL; first = false) {
        if (!first) strbuf_puts(out, *list == '\0' ? " or " : ", ");
        strbuf_append(out, word, length);
    }
}

static void append_bounds(StrBuf *out, double min, double max)
{
    if (isfinite(min) && isfinite(max)) {
        strbuf_printf(out, "%.10g to %.10g", min, max);
    } else if (isfinite(min)) {
        strbuf_printf(out, "at least %.10g", min);
    } else if (isfinite(max)) {
        strbuf_printf(out, "at most %.10g", max);
    }
}

static void append_range(StrBuf *out, const ImpSettingInfo *info)
{
    if (info->type == IMP_SETTING_BOOL) {
        strbuf_puts(out, "true or false");
    } else if (info->type == IMP_SETTING_STRINGS) {
        strbuf_printf(out, "up to %.0f%s", info->max, info->choices[0] != '\0' ? " of " : " entries");
        append_words(out, info->choices);
    } else if (info->choices[0] != '\0') {
        append_words(out, info->choices);
    } else {
        append_bounds(out, info->min, info->max);
    }
}

ImpStatus imp_setting_range(const ImpSettingInfo *info, char *buffer, size_t size)
{
    StrBuf text = {0};
    append_range(&text, info);
    ImpStatus status = strbuf_check(&text);
    if (status == IMP_OK && text.length >= size)
        status = imp_fail(IMP_ERR_BUFFER_TOO_SMALL, "the range of %s needs %zu bytes", info->key, text.length + 1);
    if (status == IMP_OK) memcpy(buffer, text.data, text.length + 1);
    strbuf_free(&text);
    return status;
}

/* ---- checking ---- */

static const char *expected_text(ImpSettingType type)
{
    static const char *const texts[] = {
        [IMP_SETTING_BOOL] = "true or false",     [IMP_SETTING_INT] = "a whole number",
        [IMP_SETTING_FLOAT] = "a number",         [IMP_SETTING_CHOICE] = "a word in quotes",
        [IMP_SETTING_STRING] = "a quoted string", [IMP_SETTING_STRINGS] = "a list of strings such as [\"a\", \"b\"]",
    };
    return texts[type];
}

static void append_literal(StrBuf *out, const Literal *literal)
{
    switch (literal->kind) {
    case LITERAL_BOOL:
        strbuf_puts(out, literal->boolean ? "true" : "false");
        break;
    case LITERAL_INT:
        strbuf_printf(out, "%lld", (long long)literal->integer);
        break;
    case LITERAL_FLOAT:
        strbuf_printf(out, "the fraction %.10g", literal->real);
        break;
    case LITERAL_STRING:
        strbuf_printf(out, "the string \"%.64s\"", literal->text);
        break;
    case LITERAL_LIST:
        strbuf_puts(out, "a list");
        break;
    }
}

static ImpStatus fail_type(const ImpSettingInfo *entry, const Literal *literal)
{
    StrBuf got = {0};
    append_literal(&got, literal);
    ImpStatus status = strbuf_check(&got);
    if (status == IMP_OK)
        status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s expects %s, not %s", entry->key, expected_text(entry->type),
                          got.data);
    strbuf_free(&got);
    return status;
}

static ImpStatus fail_range(const ImpSettingInfo *entry, const char *value)
{
    StrBuf range = {0};
    append_range(&range, entry);
    ImpStatus status = strbuf_check(&range);
    if (status == IMP_OK)
        status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s = %.64s is out of range: %s", entry->key, value, range.data);
    strbuf_free(&range);
    return status;
}

/* The word of `list` that `text` most likely meant goes to `nearest`. */
static void find_nearest_word(const char *list, const char *text, char *nearest, size_t size)
{
    char words[256];
    const char *names[32] = {0};
    (void)snprintf(words, sizeof words, "%s", list);
    size_t count = 0;
    for (char *save = NULL, *word = strtok_r(words, "|", &save); word != NULL && count < 31;
         word = strtok_r(NULL, "|", &save))
        names[count++] = word;
    const char *found = imp_nearest_name(text, names);
    (void)snprintf(nearest, size, "%s", found != NULL ? found : "");
}

static ImpStatus check_word(const ImpSettingInfo *entry, const char *word)
{
    if (is_word_of(entry->choices, word)) return IMP_OK;
    if (is_word_of(entry->planned, word))
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s = %s: its mechanism is not built yet", entry->key, word);
    char nearest[64];
    find_nearest_word(entry->choices, word, nearest, sizeof nearest);
    StrBuf range = {0};
    append_words(&range, entry->choices);
    ImpStatus status = strbuf_check(&range);
    if (status == IMP_OK)
        status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s = \"%.64s\" is none of %s; the nearest is %s", entry->key, word,
                          range.data, nearest);
    strbuf_free(&range);
    return status;
}

static ImpStatus check_number(const ImpSettingInfo *entry, const Literal *literal)
{
    char text[64];
    if (literal->kind == LITERAL_INT) {
        (void)snprintf(text, sizeof text, "%lld", (long long)literal->integer);
    } else {
        (void)snprintf(text, sizeof text, "%.10g", literal->real);
    }
    if (entry->choices[0] != '\0') return is_word_of(entry->choices, text) ? IMP_OK : fail_range(entry, text);
    return literal->real >= entry->min && literal->real <= entry->max ? IMP_OK : fail_range(entry, text);
}

static ImpStatus check_list(const ImpSettingInfo *entry, const Literal *literal)
{
    if ((double)literal->n_items > entry->max)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s has %zu entries, at most %.0f are possible", entry->key,
                        literal->n_items, entry->max);
    for (size_t i = 0; i < literal->n_items; i++)
        if (literal->items[i][0] == '\0') return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s has an empty entry", entry->key);
    if (entry->choices[0] == '\0') return IMP_OK;
    for (size_t i = 0; i < literal->n_items; i++) {
        IMP_TRY(check_word(entry, literal->items[i]));
        for (size_t j = 0; j < i; j++)
            if (strcmp(literal->items[i], literal->items[j]) == 0)
                return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s names %s twice", entry->key, literal->items[i]);
    }
    return IMP_OK;
}

ImpStatus config_check(const ImpSettingInfo *entry, const Literal *literal, Literal *out)
{
    static const LiteralKind kinds[] = {
        [IMP_SETTING_BOOL] = LITERAL_BOOL,     [IMP_SETTING_INT] = LITERAL_INT,
        [IMP_SETTING_FLOAT] = LITERAL_FLOAT,   [IMP_SETTING_CHOICE] = LITERAL_STRING,
        [IMP_SETTING_STRING] = LITERAL_STRING, [IMP_SETTING_STRINGS] = LITERAL_LIST,
    };
    if (!entry->built) return imp_fail(IMP_ERR_UNSUPPORTED, "%s: its mechanism is not built yet", entry->key);
    *out = *literal;
    if (entry->type == IMP_SETTING_FLOAT && literal->kind == LITERAL_INT) out->kind = LITERAL_FLOAT;
    if (out->kind != kinds[entry->type]) return fail_type(entry, literal);
    if (out->kind == LITERAL_INT || out->kind == LITERAL_FLOAT) return check_number(entry, literal);
    if (entry->type == IMP_SETTING_CHOICE) return check_word(entry, out->text);
    return entry->type == IMP_SETTING_STRINGS ? check_list(entry, out) : IMP_OK;
}

/* ---- a command line's way of writing ---- */

static ImpStatus string_literal(const char *text, size_t length, Arena *arena, const char **out)
{
    *out = arena_string(arena, text, length);
    return *out != NULL ? IMP_OK : imp_fail_memory(length);
}

/* "a,b,c" without quotes; nothing at all is the empty list. */
static ImpStatus list_literal(const char *text, Arena *arena, Literal *out)
{
    const char **items = arena_alloc(arena, CONFIG_MAX_ITEMS, sizeof *items);
    if (items == NULL) return imp_fail_memory(CONFIG_MAX_ITEMS * sizeof *items);
    *out = (Literal){.kind = LITERAL_LIST, .items = items};
    while (*text != '\0') {
        const size_t length = strcspn(text, ",");
        if (out->n_items == CONFIG_MAX_ITEMS)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the list has more than %d entries", CONFIG_MAX_ITEMS);
        IMP_TRY(string_literal(text, length, arena, &items[out->n_items++]));
        text += length + (text[length] == ',');
    }
    return IMP_OK;
}

ImpStatus config_literal_from_argument(const ImpSettingInfo *entry, const char *text, Arena *arena, Literal *out)
{
    const bool quoted = text[0] == '"' || text[0] == '\'';
    const bool is_text = entry->type == IMP_SETTING_STRING || entry->type == IMP_SETTING_CHOICE;
    if (is_text && !quoted) {
        *out = (Literal){.kind = LITERAL_STRING};
        return string_literal(text, strlen(text), arena, &out->text);
    }
    if (entry->type == IMP_SETTING_STRINGS && text[0] != '[') return list_literal(text, arena, out);
    const ImpStatus status = config_parse_literal(text, strlen(text), arena, out);
    if (status == IMP_OK) return IMP_OK;
    /* "max_tokens=many": what the key expects says more than what TOML would have read. */
    if (!is_text && entry->type != IMP_SETTING_STRINGS)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%s expects %s, not \"%.64s\"", entry->key,
                        expected_text(entry->type), text);
    return imp_fail_prefix(status, "%s", entry->key);
}
