/*
 * think.c - how much a model may think before it answers: an effort, a budget of tokens, or not at all.
 */
#include "params.h"

#include <string.h>

/* OpenAI: words for shares of the answer's tokens; below zero: the server's own. */
static const struct {
    const char *word;
    double share;
} efforts[] = {{"none", 0}, {"minimal", 0.1}, {"low", 0.25}, {"medium", -1}, {"high", 0.8}, {"xhigh", 1}};
enum { N_EFFORTS = sizeof efforts / sizeof efforts[0] };

static void read_effort(Fields *fields, RequestParams *out)
{
    size_t i = 0;
    fields_string(fields, "reasoning_effort", &out->reasoning_effort);
    if (out->reasoning_effort == NULL) return;
    while (i < N_EFFORTS && strcmp(efforts[i].word, out->reasoning_effort) != 0) i++;
    if (i == N_EFFORTS) {
        fields_fail(fields, "reasoning_effort", "reasoning_effort must be none, minimal, low, medium, high or xhigh");
        return;
    }
    if (efforts[i].share >= 0) out->reasoning_share = efforts[i].share;
    out->thinking = i == 0 ? THINKING_OFF : THINKING_ON;
}

/* Anthropic: {"type": "enabled", "budget_tokens": N}, {"type": "adaptive"} or {"type": "disabled"}. */
static void read_thinking(Fields *fields, RequestParams *out)
{
    const json_t *thinking = fields_member(fields, "thinking", JSON_OBJECT, "an object");
    if (thinking == NULL) return;
    const char *type = json_string_value(json_object_get(thinking, "type"));
    if (type != NULL && strcmp(type, "disabled") == 0) {
        out->thinking = THINKING_OFF;
    } else if (type != NULL && strcmp(type, "adaptive") == 0) {
        out->thinking = THINKING_ON;
    } else if (type != NULL && strcmp(type, "enabled") == 0) {
        const json_t *budget = json_object_get(thinking, "budget_tokens");
        out->thinking = THINKING_ON;
        out->reasoning_budget = json_integer_value(budget);
        if (!json_is_integer(budget) || out->reasoning_budget < 1 || out->reasoning_budget > INT32_MAX)
            fields_fail(fields, "thinking", "thinking.budget_tokens must be an integer of at least 1");
        else if (out->sampling.max_tokens > 0 && out->reasoning_budget >= out->sampling.max_tokens)
            fields_fail(fields, "thinking", "thinking.budget_tokens must be less than max_tokens");
    } else {
        fields_fail(fields, "thinking", "thinking.type must be enabled, adaptive or disabled");
    }
}

void params_read_reasoning(const Server *server, Fields *fields, RequestParams *out)
{
    out->thinking = THINKING_UNSAID;
    out->reasoning_effort = NULL;
    out->reasoning_share = server->think_budget;
    out->reasoning_budget = -1;
    read_effort(fields, out);
    fields_int(fields, "reasoning_budget", 0, INT32_MAX, &out->reasoning_budget);
    read_thinking(fields, out);
}

void params_template_variables(const RequestParams *params, json_t *variables)
{
    json_t *said = json_object();
    if (params->thinking != THINKING_UNSAID) {
        /* Two names for one thing: templates look for either. */
        (void)json_object_set_new(said, "enable_thinking", json_boolean(params->thinking == THINKING_ON));
        (void)json_object_set_new(said, "thinking", json_boolean(params->thinking == THINKING_ON));
    }
    if (params->reasoning_effort != NULL)
        (void)json_object_set_new(said, "reasoning_effort", json_string(params->reasoning_effort));
    (void)json_object_update_missing(variables, said);
    json_decref(said);
}

void params_limit_reasoning(const Server *server, const RequestParams *params, const Prompt *prompt, ImpRequest *out)
{
    const int32_t left = imp_engine_context(server->engine) - prompt->n_tokens;
    int32_t most = params->sampling.max_tokens;
    if (most == 0 || most > left) most = left > 0 ? left : 0;
    out->reasoning_open = server->tags.open;
    out->reasoning_close = server->tags.close;
    out->inside_reasoning = prompt->inside_reasoning;
    out->reasoning_budget = params->reasoning_budget >= 0 ? (int32_t)params->reasoning_budget
                                                          : (int32_t)(params->reasoning_share * (double)most);
    const int32_t limit = server->defaults.think_budget;
    if (params->reasoning_budget < 0 && limit > 0 && out->reasoning_budget > limit) out->reasoning_budget = limit;
    if (params->thinking == THINKING_OFF) out->reasoning_budget = 0;
}
