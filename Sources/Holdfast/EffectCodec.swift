// How values of effects become bytes and back, what is done about a computation that fails, and what is recorded.

public import HoldfastBytes

/// The form in which values of one kind are recorded.
///
/// The tag is recorded with the value and says what it is. It stays the same when a type gets another name or another
/// version that reads the old bytes; a value recorded under another tag is never decoded. With Foundation, a codec for
/// any `Codable` type takes three lines:
///
///     extension EffectCodec where Value: Codable {
///         static func json(_ tag: String) -> EffectCodec {
///             EffectCodec(tag: tag, encode: { Array(try JSONEncoder().encode($0)) },
///                 decode: { try JSONDecoder().decode(Value.self, from: Data($0)) })
///         }
///     }
public struct EffectCodec<Value: Sendable>: Sendable {
    /// What the bytes are; 1 to 255 bytes.
    public let tag: String
    let encode: @Sendable (Value) throws -> [UInt8]
    let decode: @Sendable ([UInt8]) throws -> Value

    /// Creates a form.
    ///
    /// - Parameter decode: Its errors reach whoever asked for the value; what is recorded stays.
    public init(
        tag: String, encode: @escaping @Sendable (Value) throws -> [UInt8],
        decode: @escaping @Sendable ([UInt8]) throws -> Value
    ) {
        self.tag = tag
        self.encode = encode
        self.decode = decode
    }
}

/// A recorded value is not of the kind that its tag says.
public struct EffectDecodingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The tag.
    public let tag: String

    /// Creates the error for a codec with `tag`.
    public init(tag: String) { self.tag = tag }

    /// What was found, for people.
    public var description: String { "the recorded value is no \(tag)" }
}

extension EffectCodec<[UInt8]> {
    /// Bytes as they are.
    public static var bytes: EffectCodec<[UInt8]> {
        EffectCodec<[UInt8]>(tag: "bytes", encode: { $0 }, decode: { $0 })
    }
}

extension EffectCodec<String> {
    /// Text in UTF-8.
    public static var text: EffectCodec<String> {
        EffectCodec<String>(tag: "text", encode: { Array($0.utf8) }) { bytes in
            guard let text = String(validating: bytes.span) else { throw EffectDecodingError(tag: "text") }
            return text
        }
    }
}

extension EffectCodec<Int> {
    /// A whole number, as decimal digits.
    public static var integer: EffectCodec<Int> {
        EffectCodec<Int>(tag: "integer", encode: { Array("\($0)".utf8) }) { bytes in
            guard let number = Int(String(decoding: bytes, as: UTF8.self)) else {
                throw EffectDecodingError(tag: "integer")
            }
            return number
        }
    }
}

/// What is done about a computation that throws. A cancellation is never recorded, whatever the policy.
public struct EffectErrorPolicy: Sendable {
    /// What to do about one error.
    public enum Decision: Hashable, Sendable {
        /// Nothing is recorded; whoever asks next computes anew.
        case retry
        /// The failure is recorded with this text, and is what everybody gets who asks later.
        case record(String)
    }
    let decide: @Sendable (any Error) -> Decision

    /// Nothing is recorded.
    public static let retry = EffectErrorPolicy { _ in .retry }
    /// Every failure is recorded, described by itself.
    public static let record = EffectErrorPolicy { .record("\($0)") }
    /// Decides by the error.
    public static func classify(_ decide: @escaping @Sendable (any Error) -> Decision) -> EffectErrorPolicy {
        EffectErrorPolicy(decide: decide)
    }
}

/// A computation that failed, and whose failure is recorded: the first caller gets it as everybody later does.
public struct EffectFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What it was recorded under.
    public let scope: String
    /// What it was recorded under.
    public let key: String
    /// What the policy said of the error.
    public let message: String

    /// Creates a failure, as a recording would give it.
    public init(scope: String, key: String, message: String) {
        self.scope = scope
        self.key = key
        self.message = message
    }

    /// For people.
    public var description: String { "effect \(key) of \(scope) failed for good: \(message)" }
}

/// A recorded effect.
public struct RecordedEffect: Hashable, Sendable {
    /// What it was recorded under.
    public let scope: String
    /// What it was recorded under.
    public let key: String
    /// What the value is; `nil` when nothing was said.
    public let tag: String?
    /// The value, or what was said of the failure.
    public let value: [UInt8]
    /// Whether the computation failed.
    public let isFailure: Bool
    /// The job under whose lease it was recorded, if it was fenced.
    public let job: JobID?
    /// Its place in the log.
    public let sequence: SequenceNumber
    /// When it was recorded.
    public let recordedAt: Timestamp
    /// Until when it is kept; `nil` for until it is removed.
    public let keptUntil: Timestamp?
}
