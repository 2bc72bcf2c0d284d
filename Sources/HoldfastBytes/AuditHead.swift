// What is published of a store: one line of text that stands for every record up to it.

/// The value of a store's audit chain after a record, to be kept where the store's files are not. While the records up
/// to there, or the newest of them, are in the log, `holdfast verify --expect` proves that they are the same.
public struct AuditHead: Hashable, Sendable, CustomStringConvertible, LosslessStringConvertible {
    /// The last record that it stands for; 0 before the first.
    public let sequence: SequenceNumber
    /// 32 bytes: the chain's value, or, with a key, the code that authenticates it.
    public let hash: [UInt8]

    package static let hashBytes = 32

    /// Puts a head together.
    ///
    /// - Precondition: `hash` has 32 bytes.
    public init(sequence: SequenceNumber, hash: [UInt8]) {
        precondition(hash.count == Self.hashBytes, "the hash of a head has 32 bytes")
        self.sequence = sequence
        self.hash = hash
    }

    /// Reads `SEQ:HASH`, a decimal number and 64 hexadecimal digits; `nil` for anything else.
    public init?(_ description: String) {
        let parts = description.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts[0].first, first != UInt8(ascii: "+"),
            let number = UInt64(String(parts[0]) ?? ""), number <= SequenceNumber.max.rawValue,
            parts[1].count == 2 * Self.hashBytes
        else { return nil }
        var hash: [UInt8] = []
        var high: UInt8?
        for character in parts[1] {
            guard let digit = Self.value(of: character) else { return nil }
            if let left = high {
                hash.append(left << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        self.init(sequence: SequenceNumber(number), hash: hash)
    }

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The hash in 64 hexadecimal digits.
    public var hexadecimal: String { hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    /// `SEQ:HASH`, as `holdfast verify --expect` takes it.
    public var description: String { "\(sequence):\(hexadecimal)" }
}

/// A secret with which heads are authenticated. It never shows itself in text.
public struct AuditKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package let bytes: [UInt8]

    /// How many bytes a key has: a shorter one could be guessed.
    public static let byteCounts = 16...4096

    /// Makes a key of random bytes, all of which count.
    ///
    /// - Parameter bytes: As many as `byteCounts` says; the store refuses to be opened with others.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Says nothing of the key.
    public var description: String { "an audit key" }
    /// Says nothing of the key.
    public var debugDescription: String { description }
    /// Shows nothing of the key.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
