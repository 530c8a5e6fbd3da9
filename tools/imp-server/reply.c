/* reply.c - answers and errors in each dialect's own shape. */
#include "server.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static enum MHD_Result queue(Exchange *exchange, unsigned status, const char *content_type,
                             struct MHD_Response *response)
{
    if (response == NULL) return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    (void)MHD_add_response_header(response, "x-request-id", exchange->id);
    if (status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%d", exchange->retry_seconds > 0 ? exchange->retry_seconds : 1);
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (status == MHD_HTTP_UNAUTHORIZED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, exchange->allowed);
    if (status >= 400) atomic_fetch_add(&exchange->server->errors, 1);
    const enum MHD_Result result = MHD_queue_response(exchange->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result reply_text(Exchange *exchange, unsigned status, const char *content_type, const char *text,
                           size_t length)
{
    return queue(exchange, status, content_type,
                 MHD_create_response_from_buffer(length, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY));
}

enum MHD_Result reply_json(Exchange *exchange, unsigned status, json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text == NULL) return MHD_NO;
    return queue(exchange, status, "application/json",
                 MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

/* What each dialect calls a kind of failure. */
static const struct {
    unsigned status;
    const char *openai, *anthropic;
} error_types[] = {
    {400, "invalid_request_error", "invalid_request_error"},
    {401, "authentication_error", "authentication_error"},
    {404, "not_found_error", "not_found_error"},
    {405, "invalid_request_error", "invalid_request_error"},
    {413, "invalid_request_error", "request_too_large"},
    {429, "rate_limit_error", "rate_limit_error"},
    {503, "server_error", "overloaded_error"},
    {500, "server_error", "api_error"},
};
enum { N_ERROR_TYPES = sizeof error_types / sizeof error_types[0] };

json_t *error_object(Dialect dialect, unsigned status, const char *param, const char *message)
{
    size_t i = 0;
    while (i < N_ERROR_TYPES - 1 && error_types[i].status != status) i++;
    if (dialect == DIALECT_ANTHROPIC)
        return json_pack("{s:s, s:{s:s, s:s}}", "type", "error", "error", "type", error_types[i].anthropic, "message",
                         message);
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", message, "type", error_types[i].openai, "param",
                     param, "code",
                     status == 401   ? "invalid_api_key"
                     : status == 404 ? "not_found"
                                     : NULL);
}

enum MHD_Result reply_error(Exchange *exchange, unsigned status, const char *param, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    json_t *body = error_object(exchange->dialect, status, param, message);
    /* What a client sent may not be UTF-8: then it is not quoted. */
    if (body == NULL) body = error_object(exchange->dialect, status, NULL, "the request could not be understood");
    return reply_json(exchange, status, body);
}

unsigned http_status_of(ImpStatus status)
{
    switch (status) {
    case IMP_ERR_INVALID_ARGUMENT:
    case IMP_ERR_FORMAT:
    case IMP_ERR_UNSUPPORTED:
    case IMP_ERR_CONTEXT_FULL:
        return 400;
    case IMP_ERR_LIMIT:
        return 429;
    default:
        return 500;
    }
}

enum MHD_Result reply_imp_error(Exchange *exchange, ImpStatus status)
{
    /* The server's own failed allocations leave no sentence behind. */
    const char *sentence = status == IMP_ERR_OUT_OF_MEMORY ? "the server is out of memory" : imp_last_error();
    return reply_error(exchange, http_status_of(status), NULL, "%s", sentence);
}
