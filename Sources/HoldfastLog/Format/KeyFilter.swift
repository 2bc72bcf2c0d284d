// A Bloom filter over the keys (job ids) of a sealed segment: whoever looks for one job's records skips the segments
// that can't hold any. Ten bits a key and seven probes give about 1 % false positives
// (Bloom 1970; probe positions by double hashing, Kirsch and Mitzenmacher 2006).

internal import HoldfastBytes

package struct KeyFilter: Hashable, Sendable {
    private var bits: [UInt8]

    static let bitsPerKey = 10
    static let probes: UInt64 = 7
    static let byteCountMax = 16 << 20

    /// - Parameter keys: Each once.
    /// - Parameter breathe: Called between some thousand keys.
    package init(keys: [UInt64], breathe: () -> Void = {}) {
        let bytes = min(Self.byteCountMax, (keys.count * Self.bitsPerKey + 7) / 8)
        bits = [UInt8](repeating: 0, count: bytes)
        let divisor = Divisor(UInt64(bytes * 8))
        for (index, key) in keys.enumerated() {
            var (position, step) = Self.probe(key)
            for _ in 0..<Self.probes {
                let bit = Int(divisor.remainder(of: position))
                bits[bit >> 3] |= 1 << UInt8(bit & 7)
                position &+= step
            }
            if index % 4096 == 4095 { breathe() }
        }
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        bits = try reader.countedArray(atMost: Self.byteCountMax)
    }

    func encode(into writer: inout ByteWriter) { writer.append(counted: bits) }

    /// False when the segment certainly holds no record of `key`.
    package func mayContain(_ key: UInt64) -> Bool {
        if bits.isEmpty { return false }
        let bitCount = UInt64(bits.count * 8)
        var (position, step) = Self.probe(key)
        for _ in 0..<Self.probes {
            let bit = Int(position % bitCount)
            guard bits[bit >> 3] & (1 << UInt8(bit & 7)) != 0 else { return false }
            position &+= step
        }
        return true
    }

    /// Where a key's bits are, before they are taken modulo the number of bits: the first, and the way to the next.
    private static func probe(_ key: UInt64) -> (first: UInt64, step: UInt64) {
        let first = mixed(key)
        return (first, mixed(first) | 1)
    }

    // The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Takes remainders by one number again and again, with a multiplication in place of each division.
struct Divisor {
    private let divisor: UInt64
    private let reciprocal: UInt64

    init(_ divisor: UInt64) {
        self.divisor = max(divisor, 1)
        reciprocal = .max / self.divisor
    }

    func remainder(of number: UInt64) -> UInt64 {
        // The reciprocal falls short of 2^64 / divisor by at most 1, and so does the quotient.
        let rest = number &- number.multipliedFullWidth(by: reciprocal).high &* divisor
        return rest >= divisor ? rest - divisor : rest
    }
}

/// The keys that a segment has so far. The records of one job come close together, and most jobs in order, so they are
/// sorted now and then: a set hashes each, which took a twentieth of sealing's time.
struct KeyCollector {
    private var keys: [UInt64] = []
    /// At so many, those that are there twice are looked for.
    private var limit = limitMin
    private static let limitMin = 1 << 16

    mutating func insert(_ key: UInt64) {
        if keys.last == key { return }
        keys.append(key)
        guard keys.count >= limit else { return }
        removeDuplicates()
        limit = max(Self.limitMin, 2 * keys.count)
    }

    private mutating func removeDuplicates() {
        keys.sort()
        var count = 0
        for index in keys.indices where count == 0 || keys[index] != keys[count - 1] {
            keys[count] = keys[index]
            count += 1
        }
        keys.removeLast(keys.count - count)
    }

    /// Returns each once.
    consuming func finish() -> [UInt64] {
        removeDuplicates()
        return keys
    }
}
