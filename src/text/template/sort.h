/* sort.h - Python's sorted(): stable, by keys, with errors for what has no order. */
#ifndef IMP_TEXT_TEMPLATE_SORT_H
#define IMP_TEXT_TEMPLATE_SORT_H

#include "text/template/value.h"

/* Orders `items` and `keys` together by the keys. */
bool jinja_sort(JinjaState *state, JinjaValue *items, JinjaValue *keys, size_t n, bool reverse);

#endif
