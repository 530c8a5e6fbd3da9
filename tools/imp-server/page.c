/* page.c - GET / and the two files it wants. Nothing on the page comes from another place. */
#include "page.h"

#include "server.h"

#include <string.h>

enum MHD_Result route_page(Exchange *exchange)
{
    if (strcmp(exchange->path, "/style.css") == 0)
        return reply_text(exchange, MHD_HTTP_OK, "text/css; charset=utf-8", (const char *)page_style_css,
                          page_style_css_size);
    if (strcmp(exchange->path, "/app.js") == 0)
        return reply_text(exchange, MHD_HTTP_OK, "text/javascript; charset=utf-8", (const char *)page_app_js,
                          page_app_js_size);
    return reply_text(exchange, MHD_HTTP_OK, "text/html; charset=utf-8", (const char *)page_index_html,
                      page_index_html_size);
}
