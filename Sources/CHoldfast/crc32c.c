// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 appendix B.4). Three ways to the same value: a table
// of 8 x 256 entries that runs anywhere, SSE4.2 and the ARMv8 CRC instructions, chosen once at run time.

#include "CHoldfast.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
        }
        table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (int slice = 1; slice < 8; slice++) {
            uint32_t before = table[slice - 1][byte];
            table[slice][byte] = (before >> 8) ^ table[0][before & 0xFF];
        }
    }
}

uint32_t holdfast_crc32c_portable(uint32_t seed, const uint8_t *bytes, size_t count) {
    pthread_once(&table_once, fill_table);
    uint32_t crc = ~seed;
    while (count >= 8) {
        // Bytes are put together one by one, so that neither alignment nor the byte order of the machine matters.
        uint32_t low = crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                              (uint32_t)bytes[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][(low >> 8) & 0xFF] ^ table[5][(low >> 16) & 0xFF] ^ table[4][low >> 24] ^
              table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^ table[0][bytes[7]];
        bytes += 8;
        count -= 8;
    }
    while (count > 0) {
        crc = (crc >> 8) ^ table[0][(crc ^ *bytes) & 0xFF];
        bytes += 1;
        count -= 1;
    }
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t seed, const uint8_t *bytes, size_t count) {
    uint64_t crc = (uint32_t)~seed;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = _mm_crc32_u64(crc, word);
        bytes += 8;
        count -= 8;
    }
    uint32_t rest = (uint32_t)crc;
    while (count > 0) {
        rest = _mm_crc32_u8(rest, *bytes);
        bytes += 1;
        count -= 1;
    }
    return ~rest;
}

static int has_instruction(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
}

#elif defined(__aarch64__)

__attribute__((target("crc"))) static uint32_t crc32c_fast(uint32_t seed, const uint8_t *bytes, size_t count) {
    uint32_t crc = ~seed;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __builtin_arm_crc32cd(crc, word);
        bytes += 8;
        count -= 8;
    }
    while (count > 0) {
        crc = __builtin_arm_crc32cb(crc, *bytes);
        bytes += 1;
        count -= 1;
    }
    return ~crc;
}

static int has_instruction(void) {
#if defined(__linux__)
    // HWCAP_CRC32, by value, because <asm/hwcap.h> isn't everywhere.
    return (getauxval(AT_HWCAP) & (1ul << 7)) != 0;
#else
    return 1;
#endif
}

#else

static uint32_t crc32c_fast(uint32_t seed, const uint8_t *bytes, size_t count) {
    return holdfast_crc32c_portable(seed, bytes, count);
}

static int has_instruction(void) { return 0; }

#endif

uint32_t holdfast_crc32c(uint32_t seed, const uint8_t *bytes, size_t count) {
    // -1 until asked. Threads that race to ask find the same answer.
    static int instruction = -1;
    int answer = __atomic_load_n(&instruction, __ATOMIC_RELAXED);
    if (answer < 0) {
        answer = has_instruction();
        __atomic_store_n(&instruction, answer, __ATOMIC_RELAXED);
    }
    return answer ? crc32c_fast(seed, bytes, count) : holdfast_crc32c_portable(seed, bytes, count);
}
