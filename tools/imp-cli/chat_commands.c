/*
 * chat_commands.c - what a line that begins with a slash does.
 */
#include "chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

typedef void CommandHandler(Chat *chat, const char *argument);

static CommandHandler run_help, run_reset, run_system, run_regen, run_save, run_load, run_set, run_stats, run_quit;

static const struct {
    const char *name, *argument, *help;
    CommandHandler *run;
} commands[] = {
    {"/help", "", "tell this", run_help},
    {"/reset", "", "forget the conversation", run_reset},
    {"/system", "[TEXT]", "set the system message, or tell it; \"\" for none", run_system},
    {"/regen", "", "another answer to the last message", run_regen},
    {"/save", "FILE", "write the conversation as JSON", run_save},
    {"/load", "FILE", "go on with a saved conversation", run_load},
    {"/set", "[KEY [VALUE]]", "set a key of [sampling] or [generation], or tell them", run_set},
    {"/stats", "", "tell the speed of the last answer and how full the context is", run_stats},
    {"/quit", "", "leave, as Ctrl-D does", run_quit},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

const char *const *chat_command_names(void)
{
    static const char *const names[] = {"/help", "/reset", "/system", "/regen", "/save",
                                        "/load", "/set",   "/stats",  "/quit",  NULL};
    return names;
}

void chat_command(Chat *chat, const char *line)
{
    const size_t length = strcspn(line, " \t\n");
    const char *argument = line + length + strspn(line + length, " \t");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strlen(commands[i].name) != length || memcmp(commands[i].name, line, length) != 0) continue;
        if (commands[i].argument[0] == '\0' && argument[0] != '\0') {
            tell("%s takes nothing behind it", commands[i].name);
        } else if (strcmp(commands[i].argument, "FILE") == 0 && argument[0] == '\0') {
            tell("%s expects the name of a file", commands[i].name);
        } else {
            commands[i].run(chat, argument);
        }
        return;
    }
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)length, line);
    tell("there is no command %s; the nearest is %s. A message that begins with a slash is written //", name,
         imp_nearest_name(name, chat_command_names()));
}

static void run_help(Chat *chat, const char *argument)
{
    (void)chat;
    (void)argument;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char usage[64];
        (void)snprintf(usage, sizeof usage, "%s %s", commands[i].name, commands[i].argument);
        tell("  %-22s %s", usage, commands[i].help);
    }
    tell("A line that ends in \\ goes on in the next; lines between two lines of \"\"\" are one message.\n"
         "Ctrl-C stops an answer, Ctrl-D leaves.");
}

static void run_reset(Chat *chat, const char *argument)
{
    (void)argument;
    chat_shorten(chat, 0);
    imp_context_reset(chat->session->context);
    note("the conversation is forgotten");
}

static void run_system(Chat *chat, const char *argument)
{
    ImpSettings *settings = chat->session->settings;
    if (argument[0] != '\0') {
        const char *text = strcmp(argument, "\"\"") == 0 ? "" : argument;
        if (imp_settings_set_string(settings, "generation.system", text) != IMP_OK) (void)fail_imp();
    }
    const char *system = imp_settings_string(settings, "generation.system");
    tell(system[0] != '\0' ? "system message: %s" : "there is no system message%s", system);
    if (argument[0] != '\0' && !session_uses_template(chat->session)) tell("without a chat template it has no effect");
}

static void run_regen(Chat *chat, const char *argument)
{
    (void)argument;
    const bool answered = chat->n_turns > 0 && strcmp(chat->turns[chat->n_turns - 1].role, "assistant") == 0;
    if (chat->n_turns < (answered ? 2u : 1u)) {
        tell("there is no message to answer again");
        return;
    }
    if (answered) chat_shorten(chat, chat->n_turns - 1);
    chat->regenerations++;
    chat_answer(chat);
}

static void run_quit(Chat *chat, const char *argument)
{
    (void)argument;
    chat->leave = true;
}

static void run_stats(Chat *chat, const char *argument)
{
    (void)argument;
    int32_t n_tokens;
    (void)imp_context_tokens(chat->session->context, &n_tokens);
    const int32_t capacity = imp_context_capacity(chat->session->context);
    ImpStats stats = {.size = sizeof stats};
    if (imp_stats(chat->session->context, &stats) == IMP_OK && stats.stop_reason != IMP_STOP_NONE) {
        generate_report(chat->session, true);
        tell("%d of the prompt's %d tokens were there already; seed %llu", stats.reused_tokens, stats.prompt_tokens,
             (unsigned long long)stats.seed);
    }
    tell("context: %d of %d tokens, %zu messages", n_tokens, capacity, chat->n_turns);
}

/* ---- /set ---- */

static bool may_change(const char *key)
{
    return strncmp(key, "sampling.", 9) == 0 || strncmp(key, "generation.", 11) == 0;
}

static void tell_setting(const ImpSettings *settings, const ImpSettingInfo *info)
{
    Text value = {0};
    char number[64];
    bool done = true;
    switch (info->type) {
    case IMP_SETTING_BOOL:
        done = text_puts(&value, imp_settings_bool(settings, info->key) ? "true" : "false");
        break;
    case IMP_SETTING_INT:
        (void)snprintf(number, sizeof number, "%lld", (long long)imp_settings_int(settings, info->key));
        done = text_puts(&value, number);
        break;
    case IMP_SETTING_FLOAT:
        (void)snprintf(number, sizeof number, "%.6g", imp_settings_float(settings, info->key));
        done = text_puts(&value, number);
        break;
    case IMP_SETTING_CHOICE:
    case IMP_SETTING_STRING: {
        const char *string = imp_settings_string(settings, info->key);
        done = text_append_json(&value, string, strlen(string));
        break;
    }
    case IMP_SETTING_STRINGS:
        done = text_puts(&value, "[");
        for (size_t i = 0; imp_settings_item(settings, info->key, i) != NULL && done; i++) {
            const char *item = imp_settings_item(settings, info->key, i);
            done = (i == 0 || text_puts(&value, ", ")) && text_append_json(&value, item, strlen(item));
        }
        done = done && text_puts(&value, "]");
        break;
    }
    if (done) tell("%s = %s", info->key, value.data);
    text_free(&value);
}

/* "temperature" is sampling.temperature, "max_tokens" generation.max_tokens. */
static const ImpSettingInfo *find_key(const char *name)
{
    static const char *const sections[] = {"", "sampling.", "generation."};
    char key[128];
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        (void)snprintf(key, sizeof key, "%s%s", sections[i], name);
        const ImpSettingInfo *info = imp_setting_find(key);
        if (info != NULL) return info;
    }
    return NULL;
}

/* Among the keys that can change, with or without their section as the name has one. */
static const char *nearest_key(const char *name)
{
    enum { MAX_KEYS = 64 };
    const char *names[MAX_KEYS + 1] = {0};
    size_t count = 0;
    for (size_t i = 0; imp_setting_at(i) != NULL && count < MAX_KEYS; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        if (!info->built || !may_change(info->key)) continue;
        names[count++] = strchr(name, '.') != NULL ? info->key : strchr(info->key, '.') + 1;
    }
    return imp_nearest_name(name, names);
}

static void change_setting(Chat *chat, const ImpSettingInfo *info, const char *value)
{
    Session *session = chat->session;
    if (info->built && !may_change(info->key)) {
        tell("%s cannot change while the program runs: give it as a flag or in imp.conf", info->key);
    } else if (imp_settings_set(session->settings, info->key, value) != IMP_OK ||
               imp_settings_apply_params(session->settings, &session->params) != IMP_OK) {
        (void)fail_imp();
    } else {
        tell_setting(session->settings, info);
    }
}

static void run_set(Chat *chat, const char *argument)
{
    ImpSettings *settings = chat->session->settings;
    char name[128];
    const size_t length = strcspn(argument, " \t=");
    const char *value = argument + length + strspn(argument + length, " \t=");
    (void)snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : (int)sizeof name - 1, argument);
    if (name[0] == '\0') {
        for (size_t i = 0; imp_setting_at(i) != NULL; i++)
            if (imp_setting_at(i)->built && may_change(imp_setting_at(i)->key))
                tell_setting(settings, imp_setting_at(i));
        return;
    }
    const ImpSettingInfo *info = find_key(name);
    if (info == NULL) {
        tell("there is no key %s; the nearest is %s", name, nearest_key(name));
    } else if (argument[length] == '\0') {
        tell_setting(settings, info);
    } else {
        change_setting(chat, info, value);
    }
}

/* ---- /save, /load ---- */

static bool append_message(Text *out, const char *role, const char *content, bool first)
{
    return text_puts(out, first ? "\n  {\"role\": " : ",\n  {\"role\": ") &&
           text_append_json(out, role, strlen(role)) && text_puts(out, ", \"content\": ") &&
           text_append_json(out, content, strlen(content)) && text_puts(out, "}");
}

static void run_save(Chat *chat, const char *path)
{
    const char *system = imp_settings_string(chat->session->settings, "generation.system");
    Text out = {0};
    bool done = text_puts(&out, "{\"messages\": [");
    if (system[0] != '\0') done = done && append_message(&out, "system", system, true);
    for (size_t i = 0; i < chat->n_turns && done; i++)
        done = append_message(&out, chat->turns[i].role, chat->turns[i].content, i == 0 && system[0] == '\0');
    done = done && text_puts(&out, "\n]}\n");
    FILE *file = done ? fopen(path, "w") : NULL;
    if (!done) {
        (void)fail("out of memory for the conversation");
    } else if (file == NULL) {
        (void)fail("cannot write %s: %s", path, strerror(errno));
    } else {
        const bool written = fwrite(out.data, 1, out.length, file) == out.length;
        if (fclose(file) != 0 || !written) {
            (void)fail("cannot write %s: %s", path, strerror(errno));
        } else {
            note("%zu messages are in %s", chat->n_turns + (system[0] != '\0'), path);
        }
    }
    text_free(&out);
}

/* Takes over messages once all of them are known to be well-formed. */
static bool take_messages(Chat *chat, const json_t *messages)
{
    size_t index;
    const json_t *message;
    if (!json_is_array(messages)) return false;
    json_array_foreach(messages, index, message)
    {
        if (!json_is_string(json_object_get(message, "role")) || !json_is_string(json_object_get(message, "content")))
            return false;
    }
    chat_shorten(chat, 0);
    ImpSettings *settings = chat->session->settings;
    if (imp_settings_set_string(settings, "generation.system", "") != IMP_OK) (void)fail_imp();
    json_array_foreach(messages, index, message)
    {
        const char *role = json_string_value(json_object_get(message, "role"));
        const json_t *content = json_object_get(message, "content");
        if (index == 0 && strcmp(role, "system") == 0) {
            if (imp_settings_set_string(settings, "generation.system", json_string_value(content)) != IMP_OK)
                (void)fail_imp();
        } else {
            (void)chat_add(chat, role, json_string_value(content), json_string_length(content));
        }
    }
    return true;
}

static void run_load(Chat *chat, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) {
        (void)fail("cannot load %s: %s", path, error.text);
    } else if (!take_messages(chat, json_object_get(root, "messages"))) {
        (void)fail("cannot load %s: expected {\"messages\": [{\"role\": …, \"content\": …}, …]}", path);
    } else {
        note("%zu messages from %s", json_array_size(json_object_get(root, "messages")), path);
    }
    json_decref(root);
}
