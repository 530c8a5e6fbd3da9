/*
 * tool_ways.c - small conversations go through the template, and what comes out says what it takes.
 *
 * Templates differ: arguments as an object or as text, the content of a message with calls as null or as an empty string, one call a
 * message or several, the user behind a result or not. They do not say which. Of the ways to pass a call the first is taken that
 * shows its arguments as JSON; anything else that a template refuses is avoided only where avoiding it helps.
 */
#include "tool_ways.h"

#include <stdlib.h>
#include <string.h>

enum { KNOWN = 1, AS_TEXT = 2, IS_NULL = 4, TAKES_TEXT = 8, ONE_CALL = 16, NO_USER = 32 };

/* What the template makes of the messages, whose reference is taken; NULL: it refuses them. The caller frees it. */
static char *render(Server *server, json_t *messages)
{
    json_t *variables = json_pack("{s:o, s:b}", "messages", messages, "add_generation_prompt", 0);
    char *json = json_dumps(variables, JSON_COMPACT), *text = NULL;
    size_t length = 0, size = 1 << 16;
    json_decref(variables);
    if (json != NULL) text = calloc(1, size);
    if (text != NULL && imp_template_render(server->model, server->defaults.chat_template, json, text, size, &length) != IMP_OK) {
        free(text);
        text = NULL;
    }
    free(json);
    return text;
}

/* Whether they come out with each of the words. */
static bool shows(Server *server, json_t *messages, const char *const *words)
{
    char *text = render(server, messages);
    bool good = text != NULL;
    for (; good && *words != NULL; words++) good = strstr(text, *words) != NULL;
    free(text);
    return good;
}

static json_t *say(const char *role, const char *text) { return json_pack("{s:s, s:s}", "role", role, "content", text); }

/* A call with one argument named `word`; without it the arguments are text that is no JSON. */
static json_t *make_call(unsigned ways, const char *id, const char *word)
{
    json_t *arguments = word != NULL ? json_pack("{s:s}", word, "value") : json_string("{\"imp_pro");
    if ((ways & AS_TEXT) != 0 && word != NULL) {
        char *text = json_dumps(arguments, 0);
        json_decref(arguments);
        arguments = json_string(text != NULL ? text : "");
        free(text);
    }
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name", "f", "arguments", arguments);
}

/* The assistant's message with a call or, with `second`, two. */
static json_t *calling(unsigned ways, const char *text, json_t *first, json_t *second)
{
    json_t *content = text != NULL ? json_string(text) : (ways & IS_NULL) != 0 ? json_null() : json_string("");
    json_t *message = json_pack("{s:s, s:o, s:[o]}", "role", "assistant", "content", content, "tool_calls", first);
    if (second != NULL) (void)json_array_append_new(json_object_get(message, "tool_calls"), second);
    return message;
}

static json_t *result_of(const char *id)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "role", "tool", "tool_call_id", id, "name", "f", "content", "result");
}

static int count_words(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) n++;
    return n;
}

static char *render_call(Server *server, unsigned ways)
{
    return render(server, json_pack("[o, o]", say("user", "x"), calling(ways, NULL, make_call(ways, "probe0000", "imp_probe"), NULL)));
}

/* How one call is passed. */
static unsigned find_way(Server *server)
{
    static const unsigned ways[] = {IS_NULL, 0, AS_TEXT | IS_NULL, AS_TEXT};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const bool is_null = (ways[i] & IS_NULL) != 0;
        char *text = render_call(server, ways[i]), *other = is_null ? render_call(server, ways[i] & ~(unsigned)IS_NULL) : NULL;
        bool good = text != NULL && strstr(text, "imp_probe") != NULL && strstr(text, "'imp_probe'") == NULL &&
                    strstr(text, "\\\"imp_probe") == NULL;
        /* A null that shows as a word. */
        if (good && other != NULL)
            good = count_words(text, "None") == count_words(other, "None") && count_words(text, "null") == count_words(other, "null");
        free(text);
        free(other);
        if (good) return ways[i];
    }
    return 0;
}

/* Two calls in one message are refused or not all shown, but in a message each they are. */
static bool shows_one_call(Server *server, unsigned ways, const char *text)
{
    static const char *const words[] = {"imp_probe", "imp_other", NULL};
    json_t *together = json_pack("[o, o, o, o]", say("user", "x"),
                                 calling(ways, text, make_call(ways, "probe0000", "imp_probe"), make_call(ways, "probe0001", "imp_other")),
                                 result_of("probe0000"), result_of("probe0001"));
    json_t *apart = json_pack("[o, o, o, o, o]", say("user", "x"), calling(ways, text, make_call(ways, "probe0000", "imp_probe"), NULL),
                              result_of("probe0000"), calling(ways, NULL, make_call(ways, "probe0001", "imp_other"), NULL),
                              result_of("probe0001"));
    const bool helps = shows(server, apart, words);
    return !shows(server, together, words) && helps;
}

/* A conversation in which the user speaks behind a result, or behind an answer to it that says nothing. */
static json_t *speaking(unsigned ways, bool answered)
{
    json_t *messages = json_pack("[o, o, o]", say("user", "x"), calling(ways, NULL, make_call(ways, "probe0000", "imp_probe"), NULL),
                                 result_of("probe0000"));
    if (answered) (void)json_array_append_new(messages, say("assistant", ""));
    (void)json_array_append_new(messages, say("user", "imp_after"));
    return messages;
}

static unsigned find_ways(Server *server)
{
    static const char *const nothing[] = {NULL}, *const after[] = {"imp_after", NULL};
    unsigned ways = find_way(server);
    if (shows(server, json_pack("[o, o]", say("user", "x"), calling(ways, NULL, make_call(ways, "probe0000", NULL), NULL)), nothing))
        ways |= TAKES_TEXT;
    if (shows_one_call(server, ways, NULL) || shows_one_call(server, ways, "words")) ways |= ONE_CALL;
    if (!shows(server, speaking(ways, false), after) && shows(server, speaking(ways, true), after)) ways |= NO_USER;
    return ways | KNOWN;
}

ToolWays tool_ways_of(Server *server)
{
    unsigned ways = atomic_load(&server->tool_ways);
    if (ways == 0) atomic_store(&server->tool_ways, ways = find_ways(server));
    return (ToolWays){.arguments_as_text = (ways & AS_TEXT) != 0, .content_is_null = (ways & IS_NULL) != 0,
                      .takes_text = (ways & TAKES_TEXT) != 0, .one_call = (ways & ONE_CALL) != 0,
                      .no_user_behind_result = (ways & NO_USER) != 0};
}
