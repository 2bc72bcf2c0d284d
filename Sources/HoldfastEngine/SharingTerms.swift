// What a queue says of its groups, and of the queues it shares workers with. Beside the other terms of a queue, and
// free of cost where nothing of it is said.
//
//     sharing terms      u8(flags) · [1: varint(running at most in a group)]
//                        · [8: rate] · [16: limiter] · [32: rate of each group]
//                        flag 2: groups keep their order; flag 4: they do, and jobs that wait are passed over
//     rate               varint(count) · varint(period, ms) · varint(burst)
//     limiter            varint(size) · name
//     sharing settings   varint(flags) · [1: varint(running at most in a group, 0: none)] · [2: u8(order)]
//                        · [4: rate, or varint(0): none] · [8: limiter, or varint(0): none]
//                        · [16: rate of each group, or varint(0): none]

internal import HoldfastBytes

/// In which order jobs of one group run.
package enum GroupOrder: UInt8, Hashable, Sendable {
    /// As workers ask for them: several at once, by priority.
    case free = 0
    /// One at a time, the one with the lowest id first; one that waits for its time keeps the others waiting.
    case strict = 1
    /// One at a time, the one with the lowest id first of those that do not wait for a time.
    case parking = 2
}

/// What a queue says of its groups. Jobs without a group are not concerned.
package struct SharingTerms: Hashable, Sendable {
    /// How many jobs of one group may be leased at once; `nil` for any number.
    package var groupRunningMax: Int?
    /// In which order they run.
    package var order = GroupOrder.free
    /// How often jobs are leased.
    package var rate: RateLimit?
    /// Slots that it shares with other queues.
    package var limiter: SharedLimiter?
    /// How often jobs of each group are leased.
    package var groupRate: RateLimit?

    /// Nothing is said.
    package init() {}

    /// Whether the state must know of each group how many of its jobs may run.
    var countsGroups: Bool { groupRunningMax != nil || order != .free || groupRate != nil }

    /// Whether every part is within its bounds.
    var isValid: Bool {
        (groupRunningMax.map((1...QueueTerms.limitMax).contains) ?? true) && (rate?.isValid ?? true)
            && (limiter?.isValid ?? true) && (groupRate?.isValid ?? true)
    }
}

/// A change of them; `nil` leaves a part as it was, and a limit of 0 takes it away.
package struct SharingSettings: Hashable, Sendable {
    package var groupRunningMax: Int?
    package var order: GroupOrder?
    package var rate: RateLimit?
    package var limiter: SharedLimiter?
    package var groupRate: RateLimit?

    package init(
        groupRunningMax: Int? = nil, order: GroupOrder? = nil, rate: RateLimit? = nil, limiter: SharedLimiter? = nil,
        groupRate: RateLimit? = nil
    ) {
        self.groupRunningMax = groupRunningMax
        self.order = order
        self.rate = rate
        self.limiter = limiter
        self.groupRate = groupRate
    }

    /// Settings that lead to `terms` whatever was before.
    package init(_ terms: SharingTerms) {
        self.init(
            groupRunningMax: terms.groupRunningMax ?? 0, order: terms.order, rate: terms.rate ?? RateLimit.none,
            limiter: terms.limiter ?? SharedLimiter.none, groupRate: terms.groupRate ?? RateLimit.none)
    }

    /// Whether they change nothing.
    var isEmpty: Bool { self == SharingSettings() }

    func applied(to terms: SharingTerms) -> SharingTerms {
        var terms = terms
        if let groupRunningMax { terms.groupRunningMax = groupRunningMax == 0 ? nil : groupRunningMax }
        if let order { terms.order = order }
        if let rate { terms.rate = rate.count == 0 ? nil : rate }
        if let limiter { terms.limiter = limiter.size == 0 ? nil : limiter }
        if let groupRate { terms.groupRate = groupRate.count == 0 ? nil : groupRate }
        return terms
    }
}

// MARK: - Bytes

extension SharingTerms {
    private static let runningFlag: UInt8 = 1
    private static let strictFlag: UInt8 = 2
    private static let parkingFlag: UInt8 = 4
    private static let rateFlag: UInt8 = 8
    private static let limiterFlag: UInt8 = 16
    private static let groupRateFlag: UInt8 = 32
    private static let knownFlags = runningFlag | strictFlag | parkingFlag | rateFlag | limiterFlag | groupRateFlag

    func encode(into writer: inout ByteWriter) {
        var flags: UInt8 = groupRunningMax == nil ? 0 : Self.runningFlag
        switch order {
        case .free: break
        case .strict: flags |= Self.strictFlag
        case .parking: flags |= Self.parkingFlag
        }
        if rate != nil { flags |= Self.rateFlag }
        if limiter != nil { flags |= Self.limiterFlag }
        if groupRate != nil { flags |= Self.groupRateFlag }
        writer.append(flags)
        if let groupRunningMax { writer.append(varint: UInt64(groupRunningMax)) }
        rate?.encode(into: &writer)
        limiter?.encode(into: &writer)
        groupRate?.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.u8()
        guard flags & ~Self.knownFlags == 0 else { throw ByteReaderError(.unsupported, at: start) }
        if flags & Self.runningFlag != 0 {
            groupRunningMax = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
        }
        switch flags & (Self.strictFlag | Self.parkingFlag) {
        case 0: order = .free
        case Self.strictFlag: order = .strict
        case Self.parkingFlag: order = .parking
        default: throw ByteReaderError(.notCanonical, at: start)
        }
        if flags & Self.rateFlag != 0 { rate = try RateLimit(from: &reader) }
        if flags & Self.limiterFlag != 0 { limiter = try SharedLimiter(from: &reader) }
        if flags & Self.groupRateFlag != 0 { groupRate = try RateLimit(from: &reader) }
        guard isValid, self != SharingTerms() else { throw ByteReaderError(.notCanonical, at: start) }
    }
}

extension SharingSettings {
    private static let runningFlag: UInt64 = 1
    private static let orderFlag: UInt64 = 2
    private static let rateFlag: UInt64 = 4
    private static let limiterFlag: UInt64 = 8
    private static let groupRateFlag: UInt64 = 16
    private static let knownFlags = runningFlag | orderFlag | rateFlag | limiterFlag | groupRateFlag

    func encode(into writer: inout ByteWriter) {
        var flags: UInt64 = 0
        if groupRunningMax != nil { flags |= Self.runningFlag }
        if order != nil { flags |= Self.orderFlag }
        if rate != nil { flags |= Self.rateFlag }
        if limiter != nil { flags |= Self.limiterFlag }
        if groupRate != nil { flags |= Self.groupRateFlag }
        writer.append(varint: flags)
        if let groupRunningMax { writer.append(varint: UInt64(groupRunningMax)) }
        if let order { writer.append(order.rawValue) }
        rate?.encode(into: &writer)
        limiter?.encode(into: &writer)
        groupRate?.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.varint()
        guard flags & ~Self.knownFlags == 0 else { throw ByteReaderError(.unsupported, at: start) }
        guard flags != 0 else { throw ByteReaderError(.notCanonical, at: start) }
        if flags & Self.runningFlag != 0 {
            groupRunningMax = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
        }
        if flags & Self.orderFlag != 0 {
            let place = reader.offset
            guard let order = GroupOrder(rawValue: try reader.u8()) else {
                throw ByteReaderError(.unsupported, at: place)
            }
            self.order = order
        }
        if flags & Self.rateFlag != 0 { rate = try RateLimit(from: &reader) }
        if flags & Self.limiterFlag != 0 { limiter = try SharedLimiter(from: &reader) }
        if flags & Self.groupRateFlag != 0 { groupRate = try RateLimit(from: &reader) }
    }
}
