// What jobs carry in the benchmarks: text that looks like JSON, of an exact length, another one for every number. Both
// the Swift program and the clients of other systems use it, so that all move the same bytes.
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

/// The shortest and the longest payload that can be made.
#define BENCH_PAYLOAD_MIN 200
#define BENCH_PAYLOAD_MAX 65536

/// Bodies of one length. Not changed after it was made, so threads may share it.
typedef struct bench_payloads bench_payloads;

/// Makes the bodies for payloads of `length` bytes; NULL when that is out of bounds or there is no memory.
bench_payloads *bench_payloads_make(size_t length);
/// Releases what `bench_payloads_make` returned.
void bench_payloads_free(bench_payloads *payloads);
/// Writes the payload of `number`, as long as was asked for, to `bytes`.
void bench_payload_write(const bench_payloads *payloads, uint64_t number, uint8_t *bytes);
/// Returns the number whose payload `bytes` is, or UINT64_MAX when a single byte differs from it.
uint64_t bench_payload_read(const bench_payloads *payloads, const uint8_t *bytes, size_t count);
/// Scatters a number: sums of these tell whether two sets of numbers are the same.
uint64_t bench_payload_mix(uint64_t number);

#endif
