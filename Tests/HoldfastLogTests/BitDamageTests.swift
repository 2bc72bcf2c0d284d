import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// Bits and seeds, told from checksums.
@Suite struct BitDamageTests {
    @Test func everySingleFlippedBitIsFound() {
        var random = SeededRandom(seed: 7)
        var bytes = (0..<60).map { _ in UInt8.random(in: 0...255, using: &random) }
        let expected = CRC32C.checksum(bytes.span, seed: 99)
        #expect(BitDamage.flippedBit(in: bytes.span, seed: 99, expected: expected) == nil)
        for bit in 0..<(bytes.count * 8) {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(BitDamage.flippedBit(in: bytes.span, seed: 99, expected: expected) == bit)
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    /// The search goes from the last bit to the first.
    @Test func aFlippedBitIsFoundHoweverLongTheBytesAre() {
        var bytes = [UInt8](repeating: 0x5A, count: 3 << 19)
        let expected = CRC32C.checksum(bytes.span, seed: 99)
        bytes[0] ^= 1
        #expect(BitDamage.flippedBit(in: bytes.span, seed: 99, expected: expected) == 0)
    }

    @Test func theSeedFollowsFromOneChecksum() {
        var random = SeededRandom(seed: 8)
        for _ in 0..<50 {
            let bytes = (0..<60).map { _ in UInt8.random(in: 0...255, using: &random) }
            let seed = UInt32.random(in: 0 ... .max, using: &random)
            #expect(BitDamage.seed(of: bytes.span, giving: CRC32C.checksum(bytes.span, seed: seed)) == seed)
        }
    }
}
