// A few thousand bodies are made once; a payload is one of them with its number and a hash of that put in. Words and
// numbers take turns at random, so that the text compresses about as well as what programs really send: records of
// one kind share their names, and hardly anything else.
#include "CBenchPayload.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODIES = 4096, NUMBER_AT = 7, HASH_AT = 34, DIGITS = 16 };

struct bench_payloads {
    size_t length;
    char *bodies;
};

static const char *const words[] = {
    "order", "parcel", "resize", "mail", "invoice", "sweden", "retry", "upload", "thumbnail", "webhook", "north",
    "sync", "customer", "amount", "confirm", "weekly", "archive", "signed", "report", "eu-west", "refund", "pending",
};
enum { WORDS = sizeof words / sizeof words[0] };

uint64_t bench_payload_mix(uint64_t number) {
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9u + 0x9E3779B97F4A7C15u;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBu;
    return number ^ (number >> 31);
}

static void write_body(char *body, size_t length, uint64_t *random) {
    char text[512];
    uint64_t r = *random = bench_payload_mix(*random + 1);
    int count = snprintf(
        text, sizeof text,
        "{\"id\":\"%016d\",\"trace\":\"%016d\",\"kind\":\"%s.%s\",\"user\":%u,\"amount\":%u.%02u,"
        "\"at\":\"2025-%02u-%02uT%02u:%02u:%02uZ\",\"note\":\"",
        0, 0, words[r % WORDS], words[(r >> 8) % WORDS], (unsigned)(r >> 13) % 1000000, (unsigned)(r >> 17) % 5000,
        (unsigned)(r >> 25) % 100, (unsigned)(r >> 29) % 12 + 1, (unsigned)(r >> 33) % 28 + 1, (unsigned)(r >> 38) % 24,
        (unsigned)(r >> 43) % 60, (unsigned)(r >> 49) % 60);
    size_t used = 0;
    while (used < length) {
        for (int i = 0; i < count && used < length; i++) body[used++] = text[i];
        r = *random = bench_payload_mix(*random + 1);
        count = r & 1 ? snprintf(text, sizeof text, "%s ", words[(r >> 8) % WORDS])
                      : snprintf(text, sizeof text, "%06x ", (unsigned)(r >> 16) & 0xFFFFFF);
    }
    memcpy(body + length - 2, "\"}", 2);
}

bench_payloads *bench_payloads_make(size_t length) {
    if (length < BENCH_PAYLOAD_MIN || length > BENCH_PAYLOAD_MAX) return NULL;
    bench_payloads *payloads = malloc(sizeof *payloads);
    if (!payloads) return NULL;
    payloads->length = length;
    payloads->bodies = malloc(BODIES * length);
    if (!payloads->bodies) {
        free(payloads);
        return NULL;
    }
    uint64_t random = 7;
    for (size_t i = 0; i < BODIES; i++) write_body(payloads->bodies + i * length, length, &random);
    return payloads;
}

void bench_payloads_free(bench_payloads *payloads) {
    if (payloads) free(payloads->bodies);
    free(payloads);
}

static void put_digits(uint8_t *bytes, uint64_t value) {
    for (int i = DIGITS - 1; i >= 0; i--, value >>= 4) bytes[i] = (uint8_t) "0123456789abcdef"[value & 15];
}

void bench_payload_write(const bench_payloads *payloads, uint64_t number, uint8_t *bytes) {
    memcpy(bytes, payloads->bodies + number % BODIES * payloads->length, payloads->length);
    put_digits(bytes + NUMBER_AT, number);
    put_digits(bytes + HASH_AT, bench_payload_mix(number));
}

static int is_same(const char *body, const uint8_t *bytes, size_t from, size_t to) {
    return memcmp(body + from, bytes + from, to - from) == 0;
}

uint64_t bench_payload_read(const bench_payloads *payloads, const uint8_t *bytes, size_t count) {
    if (count != payloads->length) return UINT64_MAX;
    uint64_t number = 0;
    for (int i = NUMBER_AT; i < NUMBER_AT + DIGITS; i++) {
        uint8_t c = bytes[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return UINT64_MAX;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    const char *body = payloads->bodies + number % BODIES * payloads->length;
    uint8_t hash[DIGITS];
    put_digits(hash, bench_payload_mix(number));
    int whole = is_same(body, bytes, 0, NUMBER_AT) && is_same(body, bytes, NUMBER_AT + DIGITS, HASH_AT)
        && memcmp(hash, bytes + HASH_AT, DIGITS) == 0 && is_same(body, bytes, HASH_AT + DIGITS, count);
    return whole ? number : UINT64_MAX;
}
