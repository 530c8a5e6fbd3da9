/* page.h - the chat page's files, embedded by cmake/embed.cmake. */
#ifndef IMP_SERVER_PAGE_H
#define IMP_SERVER_PAGE_H

#include <stddef.h>

extern const unsigned char page_index_html[], page_style_css[], page_app_js[];
extern const size_t page_index_html_size, page_style_css_size, page_app_js_size;

#endif
