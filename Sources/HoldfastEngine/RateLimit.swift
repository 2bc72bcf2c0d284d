// How often jobs of a queue may be leased: a bucket that holds up to `burst` tokens, into which `count` flow in each
// `period`, evenly. A lease takes one, and there is none without. The bucket is state: what lease records have made of
// it, and nothing else; a change of the limit fills it.
//
// All in whole numbers, so that a replay comes to the same: a token is `period` drops, and `count` drops flow in each
// millisecond.

internal import HoldfastBytes

/// So many leases in a period, and so many at once.
package struct RateLimit: Hashable, Sendable {
    /// How many in each period; 0 in a change of settings takes the limit away.
    package var count: Int
    package var periodMilliseconds: Int64
    /// How many at once after a while without any.
    package var burst: Int

    package static let countMax = 1_000_000
    /// A leap year.
    package static let periodMax: Int64 = 366 * 86_400_000

    package init(count: Int, periodMilliseconds: Int64, burst: Int) {
        (self.count, self.periodMilliseconds, self.burst) = (count, periodMilliseconds, burst)
    }

    /// No limit, in a change of settings.
    package static let none = RateLimit(count: 0, periodMilliseconds: 1, burst: 1)

    /// Whether it is a limit within its bounds.
    package var isValid: Bool {
        (1...Self.countMax).contains(count) && (1...Self.periodMax).contains(periodMilliseconds)
            && (1...Self.countMax).contains(burst)
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(count))
        guard count > 0 else { return }
        writer.append(varint: UInt64(periodMilliseconds))
        writer.append(varint: UInt64(burst))
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let count = Int(try reader.varint(atMost: UInt64(Self.countMax)))
        guard count > 0 else {
            self = .none
            return
        }
        let period = Int64(try reader.varint(atMost: UInt64(Self.periodMax)))
        self.init(
            count: count, periodMilliseconds: period, burst: Int(try reader.varint(atMost: UInt64(Self.countMax))))
        guard isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }
}

/// What is left of a rate.
struct RateBucket: Hashable, Sendable {
    /// Drops that were in it at `time`.
    private(set) var drops: Int64
    private(set) var time: Timestamp

    /// A full one.
    init(_ limit: RateLimit) {
        drops = Self.capacity(of: limit)
        time = .zero
    }

    private static func capacity(of limit: RateLimit) -> Int64 { Int64(limit.burst) * limit.periodMilliseconds }

    private func drops(at now: Timestamp, _ limit: RateLimit) -> Int64 {
        let capacity = Self.capacity(of: limit)
        let elapsed = max(0, now.milliseconds - time.milliseconds)
        let (inflow, isMore) = elapsed.multipliedReportingOverflow(by: Int64(limit.count))
        return isMore || inflow >= capacity - drops ? capacity : drops + inflow
    }

    /// How many leases there may be now.
    func tokens(at now: Timestamp, _ limit: RateLimit) -> Int { Int(drops(at: now, limit) / limit.periodMilliseconds) }

    /// Takes a token for a lease.
    mutating func take(at now: Timestamp, _ limit: RateLimit) {
        drops = max(0, drops(at: now, limit) - limit.periodMilliseconds)
        time = max(time, now)
    }

    /// When there is one again; `nil` when there was one left by the last lease.
    func refill(_ limit: RateLimit) -> Timestamp? {
        let missing = limit.periodMilliseconds - drops
        guard missing > 0 else { return nil }
        return time.advanced(byMilliseconds: (missing + Int64(limit.count) - 1) / Int64(limit.count))
    }

    /// When there is one more than at `now`; `nil` when it is full.
    func next(after now: Timestamp, _ limit: RateLimit) -> Timestamp? {
        let tokens = Int64(tokens(at: now, limit))
        guard tokens < limit.burst else { return nil }
        let missing = (tokens + 1) * limit.periodMilliseconds - drops
        return time.advanced(byMilliseconds: (missing + Int64(limit.count) - 1) / Int64(limit.count))
    }

    /// Whether it holds as much as it can.
    func isFull(at now: Timestamp, _ limit: RateLimit) -> Bool { drops(at: now, limit) == Self.capacity(of: limit) }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(drops))
        writer.append(varint: UInt64(time.milliseconds))
    }

    init(of limit: RateLimit, from reader: inout ByteReader) throws(ByteReaderError) {
        drops = Int64(try reader.varint(atMost: UInt64(Self.capacity(of: limit))))
        time = Timestamp(milliseconds: Int64(try reader.varint(atMost: UInt64(Timestamp.max.milliseconds))))
    }
}

/// Slots that queues share: of all that name it, so many jobs may be leased at once.
package struct SharedLimiter: Hashable, Sendable {
    package var name: String
    /// How many; 0 in a change of settings takes the limiter away.
    package var size: Int

    package init(name: String, size: Int) { (self.name, self.size) = (name, size) }

    /// No limiter, in a change of settings.
    package static let none = SharedLimiter(name: "", size: 0)

    /// Whether it is a limiter within its bounds.
    package var isValid: Bool {
        (1...RecordLimits.nameBytesMax).contains(name.utf8.count) && (1...QueueTerms.limitMax).contains(size)
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(size))
        if size > 0 { writer.append(counted: name) }
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let size = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
        guard size > 0 else {
            self = .none
            return
        }
        self.init(name: try reader.countedString(atMost: RecordLimits.nameBytesMax), size: size)
        guard isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }
}
