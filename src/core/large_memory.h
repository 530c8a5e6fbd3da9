/*
 * large_memory.h - regions of many megabytes straight from the system: zeroed, not touched yet, in huge pages where it grants them.
 */
#ifndef IMP_CORE_LARGE_MEMORY_H
#define IMP_CORE_LARGE_MEMORY_H

#include <stddef.h>

/* `bytes` > 0 zeroed bytes, aligned to a page at least. NULL when the system has none. A page becomes memory, on the node of whoever
 * does so, when it is first touched. */
void *large_memory_take(size_t bytes);
/* Gives back what `large_memory_take` returned for as many bytes; NULL is fine. */
void large_memory_give(void *memory, size_t bytes);

#endif
