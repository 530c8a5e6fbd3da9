/*
 * params.h - sampler and length fields of a request, in either dialect, over the server's defaults.
 */
#ifndef IMP_SERVER_PARAMS_H
#define IMP_SERVER_PARAMS_H

#include "fields.h"
#include "server.h"

enum { MAX_STOP_STRINGS = 16, MAX_LOGIT_BIAS = 4096 };

typedef struct RequestParams {
    ImpGenerateParams sampling;
    const char *stop[MAX_STOP_STRINGS];
    int32_t n_stop;
    ImpLogitBias *bias;
    ImpConstraint constraint; /* of response_format, regex or grammar; moves to the stream */
    bool stream;
    int64_t n;
    int64_t priority;
    float timeout;
} RequestParams;

/* Reads every field that both dialects and the extensions share. `stop_field`: "stop" or "stop_sequences". The strings
 * stay the request's. */
void params_read(const Server *server, Fields *fields, const char *stop_field, RequestParams *out);
void params_free(RequestParams *params);
/* What the answer must be: response_format, output_config, regex, grammar. Called by params_read. */
void params_read_constraint(Fields *fields, RequestParams *out);

/* An ImpRequest of these parameters; choice number `index` draws with its own seed. */
ImpRequest params_request(const RequestParams *params, ImpGenerateParams *storage, const int32_t *tokens,
                          int32_t n_tokens, int32_t index);

#endif
