/*
 * http.c - connections in, exchanges out: bodies with limits, keys, rates, routes; and the end of the server.
 */
#include "fields.h"
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    CONNECTION_LIMIT = 4096,
    HURRY_SECONDS = 5,      /* for requests that are not whole when the server is told to end */
    THREAD_STACK = 2 << 20, /* rendering a template recurses */
    RATE_SLOTS = 4096
};

typedef struct RouteEntry {
    const char *method, *path;
    Route *route;
    Dialect dialect;
    bool open;      /* needs no key */
    bool generates; /* refused while draining, counted by the rate limit */
    bool wants_json;
    const char *id_prefix;
} RouteEntry;

static const RouteEntry routes[] = {
    {"POST", "/v1/chat/completions", route_chat_completions, DIALECT_OPENAI, false, true, true, "chatcmpl-"},
    {"POST", "/v1/completions", route_completions, DIALECT_OPENAI, false, true, true, "cmpl-"},
    {"POST", "/v1/embeddings", route_embeddings, DIALECT_OPENAI, false, true, true, "embd-"},
    {"GET", "/v1/models", route_models, DIALECT_OPENAI, false, false, false, "req-"},
    {"POST", "/v1/messages", route_messages, DIALECT_ANTHROPIC, false, true, true, "msg_"},
    {"POST", "/v1/messages/count_tokens", route_count_tokens, DIALECT_ANTHROPIC, false, false, true, "req_"},
    {"POST", "/tokenize", route_tokenize, DIALECT_OPENAI, false, false, true, "req-"},
    {"POST", "/detokenize", route_detokenize, DIALECT_OPENAI, false, false, true, "req-"},
    {"GET", "/health", route_health, DIALECT_OPENAI, true, false, false, "req-"},
    {"GET", "/metrics", route_metrics, DIALECT_OPENAI, false, false, false, "req-"},
    {"GET", "/", route_page, DIALECT_OPENAI, true, false, false, "req-"},
    {"GET", "/style.css", route_page, DIALECT_OPENAI, true, false, false, "req-"},
    {"GET", "/app.js", route_page, DIALECT_OPENAI, true, false, false, "req-"},
};
enum { N_ROUTES = sizeof routes / sizeof routes[0] };

/* ---- who may ----- */

/* The time that this takes does not tell where the first difference is. */
static bool same_key(const char *given, const char *key)
{
    const size_t n_given = strlen(given), n_key = strlen(key);
    unsigned char difference = n_given != n_key;
    for (size_t i = 0; i < n_key; i++) difference |= (unsigned char)(key[i] ^ (n_given > 0 ? given[i % n_given] : 0));
    return difference == 0;
}

static const char *header(Exchange *exchange, const char *name)
{
    const char *value = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
    return value != NULL ? value : "";
}

static bool has_key(Exchange *exchange)
{
    const char *key = exchange->server->api_key;
    if (key[0] == '\0') return true;
    const char *bearer = header(exchange, "Authorization");
    if (strlen(bearer) > 7 && strncasecmp(bearer, "Bearer ", 7) == 0) return same_key(bearer + 7, key);
    return same_key(header(exchange, "x-api-key"), key);
}

/* Requests of one address in the current minute. Addresses that share a slot share the limit. */
static bool within_rate(Exchange *exchange)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        time_t minute;
        int32_t count;
    } slots[RATE_SLOTS];
    if (exchange->server->rate_limit == 0) return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    uint32_t hash = 2166136261u;
    if (info != NULL && info->client_addr->sa_family == AF_INET)
        hash ^= ((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr.s_addr * 2654435761u;
    if (info != NULL && info->client_addr->sa_family == AF_INET6) {
        const unsigned char *bytes = ((const struct sockaddr_in6 *)(const void *)info->client_addr)->sin6_addr.s6_addr;
        for (int i = 0; i < 16; i++) hash = (hash ^ bytes[i]) * 16777619u;
    }
    const time_t now = time(NULL), minute = now / 60;
    exchange->retry_seconds = (int)(60 - now % 60);
    (void)pthread_mutex_lock(&mutex);
    const size_t slot = (hash ^ hash >> 16) % RATE_SLOTS;
    if (slots[slot].minute != minute) {
        slots[slot].minute = minute;
        slots[slot].count = 0;
    }
    const bool within = ++slots[slot].count <= exchange->server->rate_limit;
    (void)pthread_mutex_unlock(&mutex);
    return within;
}

/* ---- the body ---- */

/* Parses the body; NULL when it went well, else what is wrong. */
static const char *read_json(Exchange *exchange, char *sentence, size_t size)
{
    json_error_t error;
    const char *text = exchange->body.data != NULL ? exchange->body.data : "";
    const char *excess = json_excess(text, exchange->body.length);
    if (excess != NULL) {
        (void)snprintf(sentence, size, "the body %s", excess);
        return sentence;
    }
    exchange->request = json_loadb(text, exchange->body.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (exchange->request == NULL) {
        const int start = snprintf(sentence, size, "the body ");
        json_explain(text, exchange->body.length, &error, sentence + start, size - (size_t)start);
        return sentence;
    }
    return json_is_object(exchange->request) ? NULL : "the body must be a JSON object";
}

/* ---- one exchange ---- */

static void make_id(Exchange *exchange, const char *prefix)
{
    unsigned char random[12] = {0};
    size_t length = (size_t)snprintf(exchange->id, sizeof exchange->id, "%s", prefix);
    (void)!getrandom(random, sizeof random, 0);
    for (size_t i = 0; i < sizeof random; i++)
        length += (size_t)snprintf(exchange->id + length, sizeof exchange->id - length, "%02x", random[i]);
}

/* The route of an exchange, NULL: none; exchange->allowed is set when the path is known. A path has one route. */
static const RouteEntry *find_route(Exchange *exchange)
{
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].path, exchange->path) != 0) continue;
        const bool gets = strcmp(routes[i].method, "GET") == 0;
        exchange->allowed = gets ? "GET, HEAD" : routes[i].method;
        if (strcmp(routes[i].method, exchange->method) == 0) return &routes[i];
        return gets && strcmp(exchange->method, "HEAD") == 0 ? &routes[i] : NULL;
    }
    return NULL;
}

/* Runs the route, or says why not. */
static enum MHD_Result answer(Exchange *exchange)
{
    Server *server = exchange->server;
    const RouteEntry *entry = find_route(exchange);
    if (strncmp(exchange->path, "/v1/messages", 12) == 0) exchange->dialect = DIALECT_ANTHROPIC;
    make_id(exchange, entry != NULL ? entry->id_prefix : "req-");
    if (exchange->allowed == NULL)
        return reply_error(exchange, 404, NULL, "there is nothing at %.200s", exchange->path);
    if (entry == NULL) return reply_error(exchange, 405, NULL, "%.20s is not possible here", exchange->method);
    if (!entry->open && !has_key(exchange)) return reply_error(exchange, 401, NULL, "the API key is missing or wrong");
    if (exchange->too_large)
        return reply_error(exchange, 413, NULL, "the body is larger than the %d MiB allowed", MAX_BODY_BYTES >> 20);
    if (entry->generates && atomic_load(&server->draining))
        return reply_error(exchange, 503, NULL, "the server is shutting down");
    if (entry->generates && !within_rate(exchange))
        return reply_error(exchange, 429, NULL, "more than %d requests a minute", (int)server->rate_limit);
    if (entry->wants_json) {
        char sentence[256];
        const char *wrong = read_json(exchange, sentence, sizeof sentence);
        if (wrong != NULL) return reply_error(exchange, 400, NULL, "%s", wrong);
    }
    return entry->route(exchange);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version;
    Exchange *exchange = *state;
    if (exchange == NULL) {
        exchange = calloc(1, sizeof *exchange);
        if (exchange == NULL) return MHD_NO;
        *exchange = (Exchange){
            .server = user, .connection = connection, .method = method, .path = path, .started = now_seconds()};
        atomic_init(&exchange->holders, 1);
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        if (info != NULL) exchange->watched = info->socket_context;
        watch_allow(&exchange->server->watch, exchange->watched, exchange->server->body_seconds);
        const RouteEntry *entry = find_route(exchange);
        exchange->keeps_body = entry != NULL && entry->wants_json && (entry->open || has_key(exchange));
        atomic_fetch_add(&exchange->server->active, 1);
        atomic_fetch_add(&exchange->server->requests, 1);
        *state = exchange;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        /* Read on when it is too large, or the client never sees the answer; but not for ever. */
        exchange->received += *upload_size;
        exchange->too_large = exchange->received > MAX_BODY_BYTES;
        if (exchange->received > (size_t)4 * MAX_BODY_BYTES) return MHD_NO;
        if (exchange->too_large)
            bytes_free(&exchange->body);
        else if (exchange->keeps_body && !bytes_append(&exchange->body, upload, *upload_size))
            return MHD_NO;
        *upload_size = 0;
        return MHD_YES;
    }
    watch_allow(&exchange->server->watch, exchange->watched, 0);
    return answer(exchange);
}

void exchange_hold(Exchange *exchange) { atomic_fetch_add(&exchange->holders, 1); }

void exchange_release(Exchange *exchange)
{
    if (atomic_fetch_sub(&exchange->holders, 1) > 1) return;
    json_decref(exchange->request);
    bytes_free(&exchange->body);
    free(exchange);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)user, (void)connection, (void)code;
    Exchange *exchange = *state;
    if (exchange == NULL) return;
    atomic_fetch_sub(&exchange->server->active, 1);
    watch_allow(&exchange->server->watch, exchange->watched, exchange->server->head_seconds);
    exchange_release(exchange);
    *state = NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    Server *server = user;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_close(&server->watch, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL) *context = watch_open(&server->watch, info->connect_fd, server->head_seconds);
}

/* ---- the server's life ---- */

static int listen_on(const char *host, int port)
{
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    (void)snprintf(service, sizeof service, "%d", port);
    const int failed = getaddrinfo(host, service, &hints, &found);
    if (failed != 0) {
        (void)fprintf(stderr, "imp-server: %s: %s\n", host, gai_strerror(failed));
        return -1;
    }
    const int yes = 1;
    int listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0) (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) != 0 || listen(listener, 1024) != 0) {
        (void)fprintf(stderr, "imp-server: %s port %d: %s\n", host, port, strerror(errno));
        if (listener >= 0) (void)close(listener);
        listener = -1;
    }
    freeaddrinfo(found);
    return listener;
}

static int bound_port(int listener)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                               : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

static sigset_t end_signals(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    return signals;
}

void http_block_signals(void)
{
    const sigset_t signals = end_signals();
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* A connection is a file: as many as the system lets us have. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const rlim_t wanted = CONNECTION_LIMIT + 256;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* The first signal drains, the second ends the wait. */
static void wait_for_end(Server *server)
{
    const sigset_t signals = end_signals();
    const struct timespec second = {.tv_sec = 1};
    while (sigtimedwait(&signals, NULL, &second) < 0) watch_cut(&server->watch);
    atomic_store(&server->draining, true);
    watch_hurry(&server->watch, HURRY_SECONDS);
    const int active = atomic_load(&server->active);
    if (active > 0) (void)fprintf(stderr, "imp-server: finishing %d requests; once more stops at once\n", active);
    while (atomic_load(&server->active) > 0) {
        const struct timespec tenth = {.tv_nsec = 100000000};
        watch_cut(&server->watch);
        if (sigtimedwait(&signals, NULL, &tenth) > 0) return;
    }
}

int http_run(Server *server, const char *host, int port)
{
    const int listener = listen_on(host, port);
    if (listener < 0) return 1;
    (void)signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    watch_init(&server->watch);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request,
        server, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)server->head_seconds, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK, MHD_OPTION_END);
    if (daemon == NULL) {
        (void)fprintf(stderr, "imp-server: the HTTP server could not be started\n");
        (void)close(listener);
        watch_free(&server->watch);
        return 1;
    }
    (void)fprintf(stderr, "imp-server: %s on http://%s:%d\n", server->model_name, host, bound_port(listener));
    wait_for_end(server);
    /* What still waits for tokens must be woken before the daemon joins its threads. */
    imp_engine_stop(server->engine);
    MHD_stop_daemon(daemon);
    watch_free(&server->watch);
    return 0;
}
