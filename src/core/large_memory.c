/* large_memory.c - anonymous mappings with advice: whoever reads gigabytes in order gets a tenth more of them through huge pages. */
#include "core/large_memory.h"

#include <sys/mman.h>

void *large_memory_take(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void large_memory_give(void *memory, size_t bytes)
{
    if (memory != NULL) (void)munmap(memory, bytes);
}
