// Telling disks apart by what they hold. No checksum of the kind that the files themselves end in: bytes followed by
// their own CRC all have the same CRC, so that any two headers would be taken for one.

/// A hash of what a disk holds: 64 bits, in runs of 32 bytes as XXH64 mixes them.
struct ContentHash {
    private(set) var value: UInt64 = 0

    mutating func add(_ number: UInt64) {
        var mixer = SeededRandom(seed: value ^ number)
        value = mixer.next()
    }

    mutating func add(_ bytes: Span<UInt8>) {
        add(UInt64(bytes.count))
        add(Self.hash(bytes))
    }

    /// The first two primes of XXH64.
    private static let (first, second): (UInt64, UInt64) = (0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F)

    private static func mixed(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        let sum = lane &+ word &* second
        return (sum << 31 | sum >> 33) &* first
    }

    private static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var lanes = (first, second, first ^ second, first &+ second)
        let words = bytes.count / 8
        // SAFETY: a word that is read ends within the buffer.
        unsafe bytes.withUnsafeBytes { raw in
            for word in stride(from: 0, to: words - 3, by: 4) {
                let at = word * 8
                lanes.0 = mixed(lanes.0, unsafe raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                lanes.1 = mixed(lanes.1, unsafe raw.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self))
                lanes.2 = mixed(lanes.2, unsafe raw.loadUnaligned(fromByteOffset: at + 16, as: UInt64.self))
                lanes.3 = mixed(lanes.3, unsafe raw.loadUnaligned(fromByteOffset: at + 24, as: UInt64.self))
            }
        }
        for index in words / 4 * 32..<bytes.count { lanes.0 = mixed(lanes.0, UInt64(bytes[index])) }
        var all = ContentHash()
        for lane in [lanes.0, lanes.1, lanes.2, lanes.3] { all.add(lane) }
        return all.value
    }
}
