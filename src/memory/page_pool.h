/*
 * page_pool.h - numbered pages of one group with reference counts: a page goes back when its last holder lets go. Pages
 * that the prefix index alone holds are counted, because they are as good as free.
 */
#ifndef IMP_MEMORY_PAGE_POOL_H
#define IMP_MEMORY_PAGE_POOL_H

#include "core/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct PagePool {
    int32_t *free;    /* [n_pages], a stack of page ids */
    int32_t *holders; /* [n_pages] sequences that hold the page, and the index */
    bool *indexed;    /* [n_pages] whether the index is among them */
    int32_t n_free, n_pages;
    int32_t n_cached; /* pages that the index alone holds */
} PagePool;

ImpStatus page_pool_create(PagePool *pool, int32_t n_pages);
void page_pool_free(PagePool *pool);

/* A page with one holder; -1 when none is free. */
int32_t page_pool_take(PagePool *pool);
void page_pool_hold(PagePool *pool, int32_t page);
void page_pool_release(PagePool *pool, int32_t page);

/* The prefix index becomes a holder of the page, and lets go of it again. */
void page_pool_index(PagePool *pool, int32_t page);
void page_pool_unindex(PagePool *pool, int32_t page);

#endif
