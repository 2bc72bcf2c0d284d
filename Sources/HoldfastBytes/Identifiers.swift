// The newtypes that keep apart what would otherwise all be 64-bit integers. None of them can be computed with by
// accident; arithmetic that makes sense has a name.

/// The position of a record in the store's total order: assigned once, never reused, kept through compaction.
public struct SequenceNumber: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number itself.
    public let rawValue: UInt64

    /// Wraps a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Before the first record; no record has it.
    public static let zero = SequenceNumber(0)
    /// Sequence numbers stay below 2^63, so that any language's signed integer holds one.
    public static let max = SequenceNumber(UInt64(Int64.max))

    /// Compares the numbers.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// Returns the sequence number `count` places later.
    ///
    /// - Precondition: The result is at most `SequenceNumber.max`.
    public func advanced(by count: UInt64) -> SequenceNumber {
        precondition(
            count <= Self.max.rawValue && rawValue <= Self.max.rawValue - count, "sequence numbers are used up")
        return SequenceNumber(rawValue + count)
    }
    /// The sequence number one place later.
    public var next: SequenceNumber { advanced(by: 1) }
}

/// A job's identity: the sequence number of its enqueue record.
public struct JobID: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number itself.
    public let rawValue: UInt64

    /// Wraps a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// The identity that a record with this sequence number gives.
    public init(_ sequence: SequenceNumber) { self.rawValue = sequence.rawValue }

    /// The sequence number of the job's enqueue record, which is also its address in the log.
    public var sequence: SequenceNumber { SequenceNumber(rawValue) }

    /// Compares the numbers.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Proof of one attempt: the sequence number of the lease record, so tokens of one store only grow.
public struct LeaseToken: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number itself.
    public let rawValue: UInt64

    /// Wraps a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// The identity that a record with this sequence number gives.
    public init(_ sequence: SequenceNumber) { self.rawValue = sequence.rawValue }

    /// Compares the numbers.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// An instant of wall time in whole milliseconds since 1970-01-01T00:00:00Z.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public let milliseconds: Int64

    /// An instant by its milliseconds since 1970.
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The start of 1970.
    public static let zero = Timestamp(milliseconds: 0)
    /// The last millisecond of the year 9999, the latest instant the store accepts.
    public static let max = Timestamp(milliseconds: 253_402_300_799_999)

    /// Compares the numbers.
    public static func < (a: Self, b: Self) -> Bool { a.milliseconds < b.milliseconds }

    /// Returns this instant moved by `milliseconds`, clamped to `zero ... max`.
    public func advanced(byMilliseconds milliseconds: Int64) -> Timestamp {
        let (sum, overflow) = self.milliseconds.addingReportingOverflow(milliseconds)
        if overflow { return milliseconds > 0 ? .max : .zero }
        return Timestamp(milliseconds: Swift.min(Swift.max(sum, 0), Self.max.milliseconds))
    }
}

/// The identity of one use of one segment file; grows over the life of a store and is never reused.
package struct SegmentID: Hashable, Comparable, Sendable {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    package var next: SegmentID { SegmentID(rawValue + 1) }
}

/// Counts the writable opens of a store; a frame written by a superseded owner is told by it.
package struct Epoch: Hashable, Comparable, Sendable {
    package let rawValue: UInt32

    package init(_ rawValue: UInt32) { self.rawValue = rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// A byte position in the store's journal, over all segments it ever used; never goes back.
package struct LogPosition: Hashable, Comparable, Sendable {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package static let zero = LogPosition(0)
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    package func advanced(by bytes: Int) -> LogPosition { LogPosition(rawValue + UInt64(bytes)) }
}

extension SequenceNumber: CustomStringConvertible {
    /// The number, in decimal.
    public var description: String { String(rawValue) }
}
extension JobID: CustomStringConvertible {
    /// The number, in decimal.
    public var description: String { String(rawValue) }
}
extension LeaseToken: CustomStringConvertible {
    /// The number, in decimal.
    public var description: String { String(rawValue) }
}
extension Timestamp: CustomStringConvertible {
    /// The number, in decimal.
    public var description: String { "\(milliseconds) ms" }
}
extension SegmentID: CustomStringConvertible {
    /// The number, in decimal.
    package var description: String { String(rawValue) }
}
extension Epoch: CustomStringConvertible {
    /// The number, in decimal.
    package var description: String { String(rawValue) }
}
extension LogPosition: CustomStringConvertible {
    /// The number, in decimal.
    package var description: String { String(rawValue) }
}
