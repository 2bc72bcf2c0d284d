// CRC-32C against published values, and the processor's instruction against the portable code.

import CHoldfast
import HoldfastBytes
import Testing

@Suite struct CRC32CTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        let checksum: UInt32
        var testDescription: String { name }
    }

    /// RFC 3720, appendix B.4, and the check value of the algorithm.
    static let vectors = [
        Vector(name: "nothing", bytes: [], checksum: 0),
        Vector(name: "32 zeros", bytes: [UInt8](repeating: 0, count: 32), checksum: 0x8A91_36AA),
        Vector(name: "32 ones", bytes: [UInt8](repeating: 0xFF, count: 32), checksum: 0x62A8_AB43),
        Vector(name: "32 ascending", bytes: [UInt8](0..<32), checksum: 0x46DD_794E),
        Vector(name: "32 descending", bytes: [UInt8]((0..<32).reversed()), checksum: 0x113F_DB5C),
        Vector(
            name: "an iSCSI read command",
            bytes: [
                0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14,
                0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
            ], checksum: 0xD996_3A56),
        Vector(name: "the digits 1 to 9", bytes: Array("123456789".utf8), checksum: 0xE306_9283),
    ]

    @Test(arguments: vectors) func publishedValuesAreReproduced(_ vector: Vector) {
        #expect(CRC32C.checksum(vector.bytes.span) == vector.checksum)
        #expect(holdfast_crc32c_portable(0, vector.bytes, vector.bytes.count) == vector.checksum)
    }

    @Test func fastAndPortableAgreeAtEveryLengthAndAlignment() {
        var random = TestRandom(state: 1)
        let bytes = random.bytes(700)
        for start in 0..<16 {
            for length in [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 650] {
                let seed = UInt32(truncatingIfNeeded: random.next())
                bytes.withUnsafeBufferPointer { buffer in
                    let part = UnsafeBufferPointer(rebasing: buffer[start..<start + length])
                    let fast = holdfast_crc32c(seed, part.baseAddress, length)
                    #expect(fast == holdfast_crc32c_portable(seed, part.baseAddress, length))
                }
            }
        }
    }

    @Test func aChecksumContinuesAcrossAnyCut() {
        var random = TestRandom(state: 2)
        let bytes = random.bytes(1_000)
        let whole = CRC32C.checksum(bytes.span)
        for cut in 0...bytes.count {
            let first = CRC32C.checksum(bytes.span.extracting(0..<cut))
            #expect(CRC32C.checksum(bytes.span.extracting(cut...), seed: first) == whole)
        }
    }
}

/// A small seeded generator (SplitMix64), so that a failure can be repeated.
private struct TestRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}
