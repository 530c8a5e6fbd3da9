/*
 * params.h - sampler and length fields of a request, in either dialect, over the server's defaults.
 */
#ifndef IMP_SERVER_PARAMS_H
#define IMP_SERVER_PARAMS_H

#include "fields.h"
#include "prompt.h"
#include "server.h"
#include "tool_use.h"

enum { MAX_STOP_STRINGS = 16, MAX_LOGIT_BIAS = 4096, MAX_BREAKERS = 16 };

typedef enum Thinking { THINKING_UNSAID, THINKING_ON, THINKING_OFF } Thinking;

typedef struct RequestParams {
    ImpGenerateParams sampling;
    const char *stop[MAX_STOP_STRINGS];
    int32_t n_stop;
    const char *breakers[MAX_BREAKERS]; /* of DRY, where the request names some */
    ImpLogitBias *bias;
    ImpConstraint constraint; /* of response_format, regex or grammar; moves to the stream */
    char *answer_schema;      /* of response_format */
    ToolUse use;              /* of chats; moves to the stream */
    bool stream;
    int64_t n;
    int64_t priority;
    float timeout;
    Thinking thinking;
    const char *reasoning_effort; /* NULL: not said */
    double reasoning_share;       /* of the answer's tokens */
    int64_t reasoning_budget;     /* in tokens, in place of the share; -1: not said */
} RequestParams;

/* Reads every field that both dialects and the extensions share. `stop_field`: "stop" or "stop_sequences". The strings
 * stay the request's. */
void params_read(const Server *server, Fields *fields, const char *stop_field, RequestParams *out);
void params_free(RequestParams *params);
/* Makes the constraint of a chat that may call tools, from its rules and from what its answer must be besides. */
ImpStatus params_constrain_tools(const Server *server, const Prompt *prompt, RequestParams *params);
/* What the answer must be: response_format, output_config, regex, grammar. Called by params_read. */
void params_read_constraint(Fields *fields, RequestParams *out);

/* How much to think: reasoning_effort, reasoning_budget, thinking. Called by params_read. */
void params_read_reasoning(const Server *server, Fields *fields, RequestParams *out);
/* What a template is told of it, where the request's own variables do not say. */
void params_template_variables(const RequestParams *params, json_t *variables);
/* The markers and the budget of a chat's request. */
void params_limit_reasoning(const Server *server, const RequestParams *params, const Prompt *prompt, ImpRequest *out);

/* An ImpRequest of these parameters; choice number `index` draws with its own seed. */
ImpRequest params_request(const RequestParams *params, ImpGenerateParams *storage, const int32_t *tokens,
                          int32_t n_tokens, int32_t index);

#endif
