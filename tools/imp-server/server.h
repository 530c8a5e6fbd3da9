/*
 * server.h - what the files of imp-server share: the server, an exchange (one HTTP request and its answer), replies.
 *
 * Each connection has a thread, which blocks where it waits: for the engine, or for a slow reader. The engine's thread
 * only appends to a job's queue (job.h).
 */
#ifndef IMP_SERVER_H
#define IMP_SERVER_H

#include "imp/imp.h"
#include "imp/inspect.h"
#include "imp/serve.h"
#include "imp/settings.h"

#include "reasoning.h"
#include "watch.h"

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

enum {
    MAX_BODY_BYTES = 32 << 20,
    MAX_JSON_DEPTH = 64,
    MAX_JSON_VALUES = 2 << 20,
    MAX_CHOICES = 16,
    PING_SECONDS = 10,
};

typedef struct Server {
    ImpSettings *settings;
    ImpModel model;
    ImpModelInfo info;
    ImpEngine engine;
    ImpGenerateParams defaults; /* of requests that do not say otherwise */
    const char *api_key;        /* "": none is asked for */
    char model_name[256];       /* what answers call the model */
    char models_dir[1024];
    ReasoningTags tags;                 /* around the model's reasoning */
    bool split_reasoning;               /* it goes apart from the answer */
    double think_budget;                /* share of an answer's tokens that it may take */
    int32_t rate_limit;                 /* requests a minute and address; 0: none */
    int32_t head_seconds, body_seconds; /* that the parts of a request may take to arrive */
    FILE *request_log;                  /* NULL: none */
    pthread_mutex_t log_mutex;
    time_t started;
    Watch watch;       /* over connections */
    atomic_uint tool_ways; /* tool_ways.c; 0: not found out yet */
    atomic_int active; /* exchanges that are being answered */
    atomic_bool draining;
    atomic_uint_fast64_t requests, errors;
} Server;

typedef enum Dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC } Dialect;

/* A growing byte string. */
typedef struct Bytes {
    char *data;
    size_t length, capacity;
} Bytes;

/* False without memory; the bytes are then as before. */
bool bytes_append(Bytes *bytes, const char *data, size_t length);
bool bytes_puts(Bytes *bytes, const char *text);
/* UTF-8 text as a JSON string, in its quotes. */
bool bytes_json(Bytes *bytes, const char *text, size_t length);
void bytes_free(Bytes *bytes);

typedef struct Exchange {
    Server *server;
    struct MHD_Connection *connection;
    const char *method, *path;
    Dialect dialect;
    char id[40]; /* of the answer and in the log: "chatcmpl-…" */
    Bytes body;
    bool keeps_body; /* a route wants it, and who sends it may */
    bool too_large;
    size_t received;     /* bytes of the body, kept or not */
    const char *allowed; /* methods of the path, for an answer that says so */
    int retry_seconds;   /* after which a client that was put off may come again */
    json_t *request;     /* the body, where a route wants JSON */
    double started;
    Watched *watched;   /* its connection; NULL: not watched */
    atomic_int holders; /* the connection's handler, and a stream that may end after it */
} Exchange;

/* ---- http.c ---- */

/* Signals that end the server; http_run waits for them, and no other thread may get them. */
void http_block_signals(void);

/* Serves until server->draining and nothing is active, or a second signal. Prints its own errors. */
int http_run(Server *server, const char *host, int port);

/* An exchange lives until its last holder lets go. */
void exchange_hold(Exchange *exchange);
void exchange_release(Exchange *exchange);

/* ---- reply.c: each queues the one answer of an exchange ---- */

/* Takes the reference. */
enum MHD_Result reply_json(Exchange *exchange, unsigned status, json_t *body);
enum MHD_Result reply_text(Exchange *exchange, unsigned status, const char *content_type, const char *text,
                           size_t length);
/* In the dialect's own shape. `param` names the field, NULL: none. */
enum MHD_Result reply_error(Exchange *exchange, unsigned status, const char *param, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The library's last error, with the status that fits it. */
enum MHD_Result reply_imp_error(Exchange *exchange, ImpStatus status);
/* The same as an object, for an error inside of a stream. */
json_t *error_object(Dialect dialect, unsigned status, const char *param, const char *message);
unsigned http_status_of(ImpStatus status);

/* ---- routes: each answers one exchange ---- */

typedef enum MHD_Result Route(Exchange *exchange);

Route route_chat_completions, route_completions, route_embeddings, route_models, route_messages, route_count_tokens,
    route_tokenize, route_detokenize, route_health, route_metrics, route_page;

/* One line of the request log: prompt, answer, timing. */
void log_exchange(Exchange *exchange, const char *prompt, const char *answer, int32_t prompt_tokens,
                  int32_t cached_tokens, int32_t generated_tokens);

double now_seconds(void);

#endif
