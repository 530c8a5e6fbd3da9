/* page_pool.c - a stack of free pages. */
#include "memory/page_pool.h"

#include <stdlib.h>

ImpStatus page_pool_create(PagePool *pool, int32_t n_pages)
{
    const size_t count = n_pages > 0 ? (size_t)n_pages : 1;
    *pool = (PagePool){.free = malloc(count * sizeof(int32_t)),
                       .holders = calloc(count, sizeof(int32_t)),
                       .indexed = calloc(count, sizeof(bool)),
                       .n_free = n_pages,
                       .n_pages = n_pages};
    if (pool->free == NULL || pool->holders == NULL || pool->indexed == NULL) {
        page_pool_free(pool);
        return imp_fail_memory(2 * count * sizeof(int32_t));
    }
    /* Low ids on top, so that a short run touches little memory. */
    for (int32_t i = 0; i < n_pages; i++) pool->free[i] = n_pages - 1 - i;
    return IMP_OK;
}

void page_pool_free(PagePool *pool)
{
    free(pool->free);
    free(pool->holders);
    free(pool->indexed);
    *pool = (PagePool){0};
}

int32_t page_pool_take(PagePool *pool)
{
    if (pool->n_free == 0) return -1;
    const int32_t page = pool->free[--pool->n_free];
    pool->holders[page] = 1;
    return page;
}

void page_pool_hold(PagePool *pool, int32_t page)
{
    if (pool->indexed[page] && pool->holders[page] == 1) pool->n_cached--;
    pool->holders[page]++;
}

void page_pool_release(PagePool *pool, int32_t page)
{
    if (--pool->holders[page] == 0)
        pool->free[pool->n_free++] = page;
    else if (pool->indexed[page] && pool->holders[page] == 1)
        pool->n_cached++;
}

void page_pool_index(PagePool *pool, int32_t page)
{
    pool->holders[page]++;
    pool->indexed[page] = true;
}

void page_pool_unindex(PagePool *pool, int32_t page)
{
    if (pool->holders[page] == 1) pool->n_cached--;
    pool->indexed[page] = false;
    page_pool_release(pool, page);
}
