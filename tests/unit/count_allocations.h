/*
 * count_allocations.h - how often this program asked for memory: included by one file of a test that must not.
 *
 * glibc's allocator stands behind our own malloc; under a sanitizer, which brings its own, its hook counts.
 */
#ifndef IMP_TESTS_COUNT_ALLOCATIONS_H
#define IMP_TESTS_COUNT_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>

static _Atomic size_t allocations_counted;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COUNT_ALLOCATIONS_BY_HOOK 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS_BY_HOOK 1
#endif

#ifdef COUNT_ALLOCATIONS_BY_HOOK

int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                              void (*free_hook)(const volatile void *));

static void count_one(const volatile void *memory, size_t size)
{
    (void)memory;
    (void)size;
    allocations_counted++;
}

static void count_none(const volatile void *memory) { (void)memory; }

__attribute__((constructor)) static void install_hooks(void)
{
    (void)__sanitizer_install_malloc_and_free_hooks(count_one, count_none);
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int posix_memalign(void **memory, size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations_counted++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations_counted++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    allocations_counted++;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations_counted++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations_counted++;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : 12; /* ENOMEM */
}

#endif

static size_t allocations(void) { return allocations_counted; }

#endif
