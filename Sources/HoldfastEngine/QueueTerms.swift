// What a queue does with its jobs beyond what each job says. Part of the state, of digests and of images; changed by
// records of kind `queueSettings` and by nothing else.
//
//     terms      varint(flags) · [2: varint(capacity)] · [4: varint(running at most)] · [8: retry policy]
//                · [16: varint(crashes at most)] · [256: error classes, see JobTerms.swift]
//                · [32: sharing terms, see SharingTerms.swift] · what is kept, see RetentionTerms.swift
//                · [4096: varint(ageing, ms a step)]; flag 1: paused

internal import HoldfastBytes

/// The terms of a queue.
package struct QueueTerms: Hashable, Sendable {
    /// Nothing is leased.
    package var isPaused = false
    /// How many unfinished jobs it takes, dead ones not counted; `nil` for any number.
    package var capacity: Int?
    /// How many of its jobs may be leased at once; `nil` for any number.
    package var runningMax: Int?
    /// How long failed jobs wait.
    package var retry = RetryPolicy.standard
    /// How many attempts at a job may end without a report before it is dead; `nil` for any number.
    package var crashMax: Int?
    /// Errors after which a job is not tried again.
    package var finalErrors = ErrorClasses()
    /// What it says of its groups.
    package var sharing = SharingTerms()
    /// How long it keeps what has ended.
    package var retention = RetentionTerms()
    /// After how many milliseconds a waiting job counts for one priority more; `nil` for never.
    package var ageing: Int64?

    /// The longest step: a leap year.
    package static let ageingMax: Int64 = 366 * 86_400_000
    /// The most that either limit can be set to.
    package static let limitMax = 1 << 40

    /// A queue about which nothing was said.
    package init() {}

    /// Whether every part is within its bounds.
    package var isValid: Bool {
        [capacity, runningMax].allSatisfy { $0.map((1...Self.limitMax).contains) ?? true } && retry.isValid
            && crashMax.map((1...JobTerms.crashesMax).contains) ?? true && finalErrors.isValid && sharing.isValid
            && retention.isValid && ageing.map((1...Self.ageingMax).contains) ?? true
    }
}

extension QueueTerms {
    private static let pausedFlag: UInt64 = 1
    private static let capacityFlag: UInt64 = 2
    private static let runningFlag: UInt64 = 4
    private static let retryFlag: UInt64 = 8
    private static let crashFlag: UInt64 = 16
    private static let sharingFlag: UInt64 = 32
    private static let errorsFlag: UInt64 = 256
    private static let ageingFlag: UInt64 = 4096
    private static let knownFlags =
        pausedFlag | capacityFlag | runningFlag | retryFlag | crashFlag | sharingFlag | errorsFlag | ageingFlag
        | RetentionTerms.knownFlags

    func encode(into writer: inout ByteWriter) {
        var flags = isPaused ? Self.pausedFlag : 0
        if capacity != nil { flags |= Self.capacityFlag }
        if runningMax != nil { flags |= Self.runningFlag }
        if retry != .standard { flags |= Self.retryFlag }
        if crashMax != nil { flags |= Self.crashFlag }
        if !finalErrors.isEmpty { flags |= Self.errorsFlag }
        if sharing != SharingTerms() { flags |= Self.sharingFlag }
        flags |= retention.flags
        if ageing != nil { flags |= Self.ageingFlag }
        writer.append(varint: flags)
        if let capacity { writer.append(varint: UInt64(capacity)) }
        if let runningMax { writer.append(varint: UInt64(runningMax)) }
        if retry != .standard { retry.encode(into: &writer) }
        if let crashMax { writer.append(varint: UInt64(crashMax)) }
        if !finalErrors.isEmpty { finalErrors.encode(into: &writer) }
        if sharing != SharingTerms() { sharing.encode(into: &writer) }
        retention.encode(into: &writer)
        if let ageing { writer.append(varint: UInt64(ageing)) }
    }

    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.varint()
        guard flags & ~Self.knownFlags == 0 else { throw ByteReaderError(.unsupported, at: start) }
        isPaused = flags & Self.pausedFlag != 0
        if flags & Self.capacityFlag != 0 { capacity = Int(try reader.varint(atMost: UInt64(Self.limitMax))) }
        if flags & Self.runningFlag != 0 { runningMax = Int(try reader.varint(atMost: UInt64(Self.limitMax))) }
        if flags & Self.retryFlag != 0 { retry = try RetryPolicy(from: &reader) }
        if flags & Self.crashFlag != 0 { crashMax = Int(try reader.varint(atMost: UInt64(JobTerms.crashesMax))) }
        if flags & Self.errorsFlag != 0 { finalErrors = try ErrorClasses(from: &reader) }
        if flags & Self.sharingFlag != 0 { sharing = try SharingTerms(from: &reader) }
        retention = try RetentionTerms(flags: flags, from: &reader)
        if flags & Self.ageingFlag != 0 { ageing = Int64(try reader.varint(atMost: UInt64(Self.ageingMax))) }
        guard isValid, flags & Self.retryFlag == 0 || retry != .standard,
            flags & Self.errorsFlag == 0 || !finalErrors.isEmpty
        else {
            throw ByteReaderError(.notCanonical, at: start)
        }
    }
}
