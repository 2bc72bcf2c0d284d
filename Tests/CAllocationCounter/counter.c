// glibc lets a program replace its allocator by defining these functions, and offers its own under other names. Memory
// stays glibc's, so that freeing needs no replacement.
#include "CAllocationCounter.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

#if defined(__GLIBC__) && !defined(HAS_SANITIZER)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static __thread uint64_t count;

int allocation_counter_works(void) { return 1; }
uint64_t allocation_count_of_thread(void) { return count; }
void allocation_count_forget(uint64_t made) { count -= made; }
uintptr_t allocation_counter_of_thread(void) { return (uintptr_t)&count; }

void *malloc(size_t size) {
    count++;
    return __libc_malloc(size);
}

void *calloc(size_t members, size_t size) {
    count++;
    return __libc_calloc(members, size);
}

void *realloc(void *block, size_t size) {
    count++;
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    count++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *result = memalign(alignment, size);
    if (!result) return ENOMEM;
    *block = result;
    return 0;
}

#else

int allocation_counter_works(void) { return 0; }
uint64_t allocation_count_of_thread(void) { return 0; }
void allocation_count_forget(uint64_t made) { (void)made; }
uintptr_t allocation_counter_of_thread(void) { return 0; }

#endif
