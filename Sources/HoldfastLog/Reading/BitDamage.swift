// A CRC is linear: what a flipped bit changes in the checksum does not depend on the other bits. So the difference
// between the checksum that stands there and the one that the bytes give names the bit, if there was only one.

internal import HoldfastBytes

/// Finds single flipped bits, and seeds, from checksums.
package enum BitDamage {
    /// The checksum's polynomial, as its register shifts.
    private static let polynomial: UInt32 = 0x82F6_3B78

    /// Returns which bit of `bytes`, counted from the lowest of the first byte, must be flipped for the checksum to be
    /// `expected`; `nil` when no single one does.
    ///
    /// - Complexity: O(n): one step of the checksum's register for each bit, from the last one back. The largest frame,
    ///   of 68 MiB, takes about a second. No two bits of it change the checksum alike: that begins at 256 MiB.
    package static func flippedBit(in bytes: Span<UInt8>, seed: UInt32, expected: UInt32) -> Int? {
        let difference = CRC32C.checksum(bytes, seed: seed) ^ expected
        guard difference != 0 else { return nil }
        // A flip of the register's lowest bit just before its last shift changes the result by the polynomial; each
        // earlier bit is one shift further.
        var change = polynomial
        var bit = bytes.count * 8 - 1
        while bit >= 0 {
            if change == difference { return bit }
            // The mask instead of a branch that would be guessed wrong half the time.
            change = change >> 1 ^ (polynomial & (0 &- (change & 1)))
            bit -= 1
        }
        return nil
    }

    /// Returns the seed with which `bytes` have the checksum `expected`; there is exactly one.
    package static func seed(of bytes: Span<UInt8>, giving expected: UInt32) -> UInt32? {
        let zero = CRC32C.checksum(bytes, seed: 0)
        // Gauss: each row is what a bit of the seed changes, and which bits of the seed it stands for.
        var rows: [(change: UInt32, seed: UInt32)] = (0..<32).map { bit in
            (CRC32C.checksum(bytes, seed: 1 << UInt32(bit)) ^ zero, 1 << UInt32(bit))
        }
        var (rest, result) = (expected ^ zero, UInt32(0))
        for bit in 0..<32 {
            let mask: UInt32 = 1 << UInt32(bit)
            guard let pivot = rows.indices.first(where: { rows[$0].change & mask != 0 }) else {
                if rest & mask != 0 { return nil }
                continue
            }
            let row = rows.remove(at: pivot)
            for index in rows.indices where rows[index].change & mask != 0 {
                rows[index].change ^= row.change
                rows[index].seed ^= row.seed
            }
            if rest & mask != 0 {
                rest ^= row.change
                result ^= row.seed
            }
        }
        assert(CRC32C.checksum(bytes, seed: result) == expected, "the seed gives the checksum")
        return result
    }
}
