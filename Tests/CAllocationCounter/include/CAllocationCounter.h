// Counts what a thread allocates, for tests that hold operations to a number of allocations. It stands before the
// system's allocator in any program that it is linked into: the tests, and nothing else.
#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdint.h>

/// 1 where allocations are counted: with glibc, unless a sanitizer stands before the allocator.
int allocation_counter_works(void);
/// Allocations that the calling thread has made; making a block larger is one too.
uint64_t allocation_count_of_thread(void);
/// Leaves out what the calling thread allocated since its count was `made` less than it is.
void allocation_count_forget(uint64_t made);
/// Another number for each thread that runs.
uintptr_t allocation_counter_of_thread(void);

#endif
