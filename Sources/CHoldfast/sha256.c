// SHA-256 (FIPS 180-4), incremental. The block function is the portable one or Intel's SHA instructions, chosen once
// at run time; both take whole blocks straight from the caller's memory, so only the odd ends are copied.

#include "CHoldfast.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

void holdfast_sha256_blocks_portable(uint32_t state[8], const uint8_t *bytes, size_t blocks) {
    while (blocks > 0) {
        uint32_t schedule[64];
        for (int i = 0; i < 16; i++) {
            const uint8_t *word = bytes + 4 * i;
            schedule[i] = (uint32_t)word[0] << 24 | (uint32_t)word[1] << 16 | (uint32_t)word[2] << 8 | word[3];
        }
        for (int i = 16; i < 64; i++) {
            uint32_t early = schedule[i - 15], late = schedule[i - 2];
            uint32_t sigma0 = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3;
            uint32_t sigma1 = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10;
            schedule[i] = schedule[i - 16] + sigma0 + schedule[i - 7] + sigma1;
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 64; i++) {
            uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
            uint32_t first = h + sum1 + ((e & f) ^ (~e & g)) + round_constants[i] + schedule[i];
            uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
            uint32_t second = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + first;
            d = c, c = b, b = a, a = first + second;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
        bytes += 64;
        blocks -= 1;
    }
}

#if defined(__x86_64__)

// The instructions keep the state as the word groups ABEF and CDGH and do two rounds at a time. The message schedule
// lives in four registers of four words, used in turn.
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_fast(uint32_t state[8], const uint8_t *bytes,
                                                                    size_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[0]), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[4]), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xF0);
    while (blocks > 0) {
        __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i message[4];
        for (int i = 0; i < 4; i++) {
            message[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(bytes + 16 * i)), big_endian);
        }
#pragma clang loop unroll(full)
        for (int group = 0; group < 16; group++) {
            __m128i words = message[group & 3];
            __m128i constants = _mm_loadu_si128((const __m128i *)&round_constants[4 * group]);
            __m128i sum = _mm_add_epi32(words, constants);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
            if (group < 12) {
                __m128i second = message[(group + 1) & 3], third = message[(group + 2) & 3];
                __m128i fourth = message[(group + 3) & 3];
                __m128i next = _mm_sha256msg1_epu32(words, second);
                next = _mm_add_epi32(next, _mm_alignr_epi8(fourth, third, 4));
                message[group & 3] = _mm_sha256msg2_epu32(next, fourth);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
        bytes += 64;
        blocks -= 1;
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(high, low, 8));
}

static int has_instructions(void) {
    // Leaf 7, EBX bit 29 is SHA; leaf 1, ECX bits 9 and 19 are SSSE3 and SSE4.1.
    uint32_t a = 0, b = 0, c = 0, d = 0;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    if (a < 7) {
        return 0;
    }
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    uint32_t vectors = c;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return (vectors >> 9 & 1) && (vectors >> 19 & 1) && (b >> 29 & 1);
}

#else

static void blocks_fast(uint32_t state[8], const uint8_t *bytes, size_t blocks) {
    holdfast_sha256_blocks_portable(state, bytes, blocks);
}

static int has_instructions(void) { return 0; }

#endif

static void compress(uint32_t state[8], const uint8_t *bytes, size_t blocks) {
    // -1 until asked. Threads that race to ask find the same answer.
    static int instructions = -1;
    int answer = __atomic_load_n(&instructions, __ATOMIC_RELAXED);
    if (answer < 0) {
        answer = has_instructions();
        __atomic_store_n(&instructions, answer, __ATOMIC_RELAXED);
    }
    if (answer) {
        blocks_fast(state, bytes, blocks);
    } else {
        holdfast_sha256_blocks_portable(state, bytes, blocks);
    }
}

static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static void store_bits(uint8_t *bytes, uint64_t bits) {
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
}

static void store_digest(const uint32_t state[8], uint8_t digest[32]) {
    for (int i = 0; i < 8; i++) {
        for (int byte = 0; byte < 4; byte++) {
            digest[4 * i + byte] = (uint8_t)(state[i] >> (24 - 8 * byte));
        }
    }
}

void holdfast_sha256_init(holdfast_sha256 *context) {
    memset(context, 0, sizeof(*context));
    memcpy(context->state, initial, sizeof(initial));
}

void holdfast_sha256_update(holdfast_sha256 *context, const uint8_t *bytes, size_t count) {
    if (count == 0) {
        return;
    }
    size_t held = context->length % 64;
    context->length += count;
    if (held > 0) {
        size_t fill = 64 - held < count ? 64 - held : count;
        memcpy(context->block + held, bytes, fill);
        if (held + fill < 64) {
            return;
        }
        compress(context->state, context->block, 1);
        bytes += fill;
        count -= fill;
    }
    if (count >= 64) {
        compress(context->state, bytes, count / 64);
        bytes += count / 64 * 64;
        count %= 64;
    }
    memcpy(context->block, bytes, count);
}

void holdfast_sha256_final(holdfast_sha256 *context, uint8_t digest[32]) {
    uint64_t bits = context->length * 8;
    size_t held = context->length % 64;
    context->block[held] = 0x80;
    held += 1;
    if (held > 56) {
        memset(context->block + held, 0, 64 - held);
        compress(context->state, context->block, 1);
        held = 0;
    }
    memset(context->block + held, 0, 56 - held);
    store_bits(context->block + 56, bits);
    compress(context->state, context->block, 1);
    store_digest(context->state, digest);
}

void holdfast_audit_link(uint8_t hash[32], uint64_t gap, uint8_t kind, const uint8_t *body, size_t count) {
    // Most records fit in two blocks, many in one. They are padded here and cost half of what they would through a
    // context.
    enum { head_max = 32 + 10 + 1, room = 128 - 9 };
    uint8_t blocks[128] = {0};
    memcpy(blocks, hash, 32);
    size_t length = 32;
    for (; gap >= 0x80; gap >>= 7) {
        blocks[length++] = (uint8_t)(gap | 0x80);
    }
    blocks[length++] = (uint8_t)gap;
    blocks[length++] = kind;
    if (count > room - head_max) {
        holdfast_sha256 context;
        holdfast_sha256_init(&context);
        holdfast_sha256_update(&context, blocks, length);
        holdfast_sha256_update(&context, body, count);
        holdfast_sha256_final(&context, hash);
        return;
    }
    if (count > 0) {
        memcpy(blocks + length, body, count);
        length += count;
    }
    blocks[length] = 0x80;
    size_t bytes = length + 9 <= 64 ? 64 : 128;
    store_bits(blocks + bytes - 8, (uint64_t)length * 8);
    uint32_t state[8];
    memcpy(state, initial, sizeof(state));
    compress(state, blocks, bytes / 64);
    store_digest(state, hash);
}
