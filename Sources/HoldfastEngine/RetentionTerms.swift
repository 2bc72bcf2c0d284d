// What a queue says of how long it keeps what has ended: its dead letters, and the results of its jobs. Beside the
// other terms of a queue, and free of cost where nothing of it is said.
//
//     in terms      [512: varint(dead letters at most)] · [1024: varint(age of dead letters, ms)]
//                   · [2048: varint(retention of results, ms)]
//     in settings   [256: varint(dead letters at most, 0: none)] · [512: varint(age of dead letters, ms, 0: none)]
//                   · [1024: varint(retention of results, ms, 0: none)]

internal import HoldfastBytes

/// How long a queue keeps what has ended.
package struct RetentionTerms: Hashable, Sendable {
    /// How many dead letters it keeps; `nil` for any number.
    package var deadMax: Int?
    /// How long it keeps a dead letter, in milliseconds; `nil` for ever.
    package var deadAge: Int64?
    /// How long it keeps a result of which its ack says nothing, in milliseconds; `nil` for as long as history.
    package var results: Int64?

    /// The longest that anything is kept by: a thousand years.
    package static let longest: Int64 = 365_000 * 86_400_000

    /// Nothing is said.
    package init() {}

    /// Whether dead letters may have to go.
    var limitsDeadLetters: Bool { deadMax != nil || deadAge != nil }

    /// Whether every part is within its bounds.
    var isValid: Bool {
        (deadMax.map((1...QueueTerms.limitMax).contains) ?? true)
            && [deadAge, results].allSatisfy { $0.map((1...Self.longest).contains) ?? true }
    }
}

/// A change of them; `nil` leaves a part as it was, and 0 takes it away.
package struct RetentionSettings: Hashable, Sendable {
    package var deadMax: Int?
    package var deadAge: Int64?
    package var results: Int64?

    package init(deadMax: Int? = nil, deadAge: Int64? = nil, results: Int64? = nil) {
        (self.deadMax, self.deadAge, self.results) = (deadMax, deadAge, results)
    }

    /// Says all that `terms` do.
    package init(_ terms: RetentionTerms) {
        self.init(deadMax: terms.deadMax, deadAge: terms.deadAge, results: terms.results)
    }

    func applied(to terms: RetentionTerms) -> RetentionTerms {
        var terms = terms
        if let deadMax { terms.deadMax = deadMax == 0 ? nil : deadMax }
        if let deadAge { terms.deadAge = deadAge == 0 ? nil : deadAge }
        if let results { terms.results = results == 0 ? nil : results }
        return terms
    }
}

// MARK: - Bytes

extension RetentionTerms {
    private static let deadMaxFlag: UInt64 = 512
    private static let deadAgeFlag: UInt64 = 1024
    private static let resultsFlag: UInt64 = 2048
    static let knownFlags = deadMaxFlag | deadAgeFlag | resultsFlag

    /// Its part of the flags of the terms.
    var flags: UInt64 {
        (deadMax == nil ? 0 : Self.deadMaxFlag) | (deadAge == nil ? 0 : Self.deadAgeFlag)
            | (results == nil ? 0 : Self.resultsFlag)
    }

    func encode(into writer: inout ByteWriter) {
        if let deadMax { writer.append(varint: UInt64(deadMax)) }
        if let deadAge { writer.append(varint: UInt64(deadAge)) }
        if let results { writer.append(varint: UInt64(results)) }
    }

    init(flags: UInt64, from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        if flags & Self.deadMaxFlag != 0 { deadMax = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax))) }
        if flags & Self.deadAgeFlag != 0 { deadAge = Int64(try reader.varint(atMost: UInt64(Self.longest))) }
        if flags & Self.resultsFlag != 0 { results = Int64(try reader.varint(atMost: UInt64(Self.longest))) }
        guard isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }
}

extension RetentionSettings {
    private static let deadMaxFlag: UInt64 = 256
    private static let deadAgeFlag: UInt64 = 512
    private static let resultsFlag: UInt64 = 1024
    static let knownFlags = deadMaxFlag | deadAgeFlag | resultsFlag

    /// Its part of the flags of the settings.
    var flags: UInt64 {
        (deadMax == nil ? 0 : Self.deadMaxFlag) | (deadAge == nil ? 0 : Self.deadAgeFlag)
            | (results == nil ? 0 : Self.resultsFlag)
    }

    func encode(into writer: inout ByteWriter) {
        if let deadMax { writer.append(varint: UInt64(deadMax)) }
        if let deadAge { writer.append(varint: UInt64(deadAge)) }
        if let results { writer.append(varint: UInt64(results)) }
    }

    init(flags: UInt64, from reader: inout ByteReader) throws(ByteReaderError) {
        self.init()
        let longest = UInt64(RetentionTerms.longest)
        if flags & Self.deadMaxFlag != 0 { deadMax = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax))) }
        if flags & Self.deadAgeFlag != 0 { deadAge = Int64(try reader.varint(atMost: longest)) }
        if flags & Self.resultsFlag != 0 { results = Int64(try reader.varint(atMost: longest)) }
    }
}
