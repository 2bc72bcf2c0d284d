// What a job says about its own attempts beyond how many there may be: how long one may take, how often a worker may
// vanish with it, how long it waits in between, and which errors are final. Fixed at enqueue. Kept beside the entries,
// so that a job without any of it costs nothing.
//
//     terms      u8(flags) · [1: varint(time limit, ms)] · [2: varint(crashes at most)] · [4: retry policy]
//                · [8: error classes]; at least one flag
//     error classes   varint(count) · name ..., in the order of their bytes

internal import HoldfastBytes

/// The terms of one job.
package struct JobTerms: Hashable, Sendable {
    /// How long one attempt may take, whatever its heartbeats say; in milliseconds.
    package var timeLimit: Int64?
    /// How many attempts may end without a report before the job is dead.
    package var crashMax: Int?
    /// Instead of its queue's.
    package var retry: RetryPolicy?
    /// Errors after which it is not tried again, besides its queue's.
    package var finalErrors = ErrorClasses()

    /// The longest limit of an attempt: a year.
    package static let timeLimitMax: Int64 = 366 * 24 * 60 * 60 * 1000
    /// What a cap on crashes may be.
    package static let crashesMax = Int(RecordLimits.maxAttemptsMax)

    /// Terms that say nothing.
    package init() {}

    /// Whether they say nothing.
    package var isEmpty: Bool { self == JobTerms() }

    /// Whether every part is within its bounds.
    package var isValid: Bool {
        timeLimit.map((1...Self.timeLimitMax).contains) ?? true && crashMax.map((1...Self.crashesMax).contains) ?? true
            && retry?.isValid ?? true && finalErrors.isValid
    }
}

/// Names of kinds of errors.
package struct ErrorClasses: Hashable, Sendable {
    /// In the order of their bytes, each once.
    package let names: [String]

    /// The most that a list may name.
    package static let countMax = 16

    /// Names the kinds in `names`, in any order.
    package init(_ names: [String] = []) {
        self.names = Set(names.map { Name($0) }).sorted().map(\.string)
    }

    package var isEmpty: Bool { names.isEmpty }

    package func contains(_ name: String) -> Bool { names.contains { $0.isSameName(as: name) } }

    package var isValid: Bool {
        names.count <= Self.countMax
            && names.allSatisfy { (1...RecordLimits.nameBytesMax).contains($0.utf8.count) }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(names.count))
        for name in names { writer.append(counted: name) }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `.notCanonical` for names out of order or empty, `.tooLong` for more than there may be.
    init(from reader: inout ByteReader) throws(ByteReaderError) {
        var names: [String] = []
        for _ in 0..<(try reader.varint(atMost: UInt64(Self.countMax))) {
            let start = reader.offset
            let name = try reader.countedString(atMost: RecordLimits.nameBytesMax)
            let isNext = names.last.map { Name($0) < Name(name) } ?? true
            guard isNext, !name.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
            names.append(name)
        }
        self.names = names
    }
}

extension JobTerms {
    private static let timeLimitFlag: UInt8 = 1
    private static let crashFlag: UInt8 = 2
    private static let retryFlag: UInt8 = 4
    private static let errorsFlag: UInt8 = 8

    func encode(into writer: inout ByteWriter) {
        var flags: UInt8 = 0
        if timeLimit != nil { flags |= Self.timeLimitFlag }
        if crashMax != nil { flags |= Self.crashFlag }
        if retry != nil { flags |= Self.retryFlag }
        if !finalErrors.isEmpty { flags |= Self.errorsFlag }
        writer.append(flags)
        if let timeLimit { writer.append(varint: UInt64(timeLimit)) }
        if let crashMax { writer.append(varint: UInt64(crashMax)) }
        retry?.encode(into: &writer)
        if !finalErrors.isEmpty { finalErrors.encode(into: &writer) }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `.unsupported` for terms of a later version, `.notCanonical` or `.tooLong` for what is out of bounds.
    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.u8()
        guard flags < Self.errorsFlag << 1 else { throw ByteReaderError(.unsupported, at: start) }
        if flags & Self.timeLimitFlag != 0 { timeLimit = Int64(try reader.varint(atMost: UInt64(Self.timeLimitMax))) }
        if flags & Self.crashFlag != 0 { crashMax = Int(try reader.varint(atMost: UInt64(Self.crashesMax))) }
        if flags & Self.retryFlag != 0 { retry = try RetryPolicy(from: &reader) }
        if flags & Self.errorsFlag != 0 { finalErrors = try ErrorClasses(from: &reader) }
        guard flags != 0, isValid, flags & Self.errorsFlag == 0 || !finalErrors.isEmpty else {
            throw ByteReaderError(.notCanonical, at: start)
        }
    }
}
