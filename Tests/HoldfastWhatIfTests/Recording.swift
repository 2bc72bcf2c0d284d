// A log written by hand, record by record, for histories whose figures can be worked out on paper.

import HoldfastBytes
import HoldfastEngine
import HoldfastWhatIf

/// Records of one queue. Every record is what a store would have written: the state checks it.
struct Recording {
    private(set) var records: [Record] = []
    private(set) var state = QueueState()
    private var tokens: [JobID: LeaseToken] = [:]

    /// Where its times are counted from.
    static let start: Int64 = 1_000_000

    /// Adds what `command` becomes at `time`, with what falls due before it.
    @discardableResult
    mutating func add(_ command: Command, at time: Int64) throws -> Reply {
        let now = Timestamp(milliseconds: Self.start + time)
        while let due = state.nextDeadline(after: now), due <= now {
            for mutation in state.overdue(at: due, limit: .max) { try append(mutation, due) }
            state.promoteDue(at: due)
        }
        var batch = BatchScope()
        let decision = try state.decide(command, at: now, next: state.lastSequence.next, in: &batch)
        try decision.mutations.forEach { mutation in try append(mutation, now) }
        return decision.reply
    }

    private mutating func append(_ mutation: Mutation, _ time: Timestamp) throws {
        let record = Record(sequence: state.lastSequence.next, time: time, mutation: mutation)
        try state.validate(record)
        state.apply(record)
        records.append(record)
        if case .lease(let grant) = mutation { tokens[grant.job] = LeaseToken(record.sequence) }
    }

    mutating func enqueue(
        _ queue: String = "q", at time: Int64, delay: Int64 = 0, maxAttempts: UInt32 = 5, startBy: Int64? = nil
    ) throws -> JobID {
        let enqueue = Enqueue(
            lane: Lane(queue: queue, maxAttempts: maxAttempts),
            runAt: delay > 0 ? Timestamp(milliseconds: Self.start + time + delay) : nil,
            startBy: startBy.map { Timestamp(milliseconds: Self.start + $0) })
        try add(.enqueue(enqueue), at: time)
        return JobID(state.lastSequence)
    }

    mutating func lease(_ queue: String = "q", at time: Int64, for milliseconds: Int64 = 10_000) throws {
        try add(.lease(queues: [queue], limit: 1, milliseconds: milliseconds, worker: ""), at: time)
    }

    mutating func ack(_ job: JobID, at time: Int64) throws {
        try add(.ack(job: job, token: token(job), result: nil), at: time)
    }

    mutating func fail(_ job: JobID, at time: Int64, delay: Int64? = nil) throws {
        try add(
            .requeue(job: job, token: token(job), delayMilliseconds: delay, error: nil, countsAttempt: true), at: time)
    }

    mutating func heartbeat(_ job: JobID, at time: Int64, for milliseconds: Int64) throws {
        try add(.heartbeat(job: job, token: token(job), milliseconds: milliseconds, progress: nil), at: time)
    }

    func token(_ job: JobID) -> LeaseToken { tokens[job] ?? LeaseToken(0) }

    /// The history of the records after the first `count`.
    func history(after count: Int = 0) throws -> (history: RecordedHistory, measurement: RunMeasurement) {
        var base = QueueState()
        for record in records.prefix(count) { base.apply(record) }
        var builder = HistoryBuilder(after: base)
        for record in records.dropFirst(count) { _ = builder.add(record) }
        return builder.finish()
    }
}

/// The figures that runs are compared by.
struct Outline: Hashable {
    var jobs, completed, dead, cancelled, unfinished, attempts, expired: Int
    var latencies, waits: [Int64]
    var peak: Int
    var peakAt, leased, makespan: Int64

    init(_ tally: QueueTally) {
        (jobs, completed, dead) = (tally.jobs, tally.completed, tally.dead)
        (cancelled, unfinished) = (tally.cancelled, tally.unfinished)
        (attempts, expired) = (tally.attempts, tally.expired)
        (latencies, waits) = (tally.latency.sorted, tally.wait.sorted)
        (peak, peakAt) = (tally.backlog.peak.count, tally.backlog.peak.time)
        (leased, makespan) = (tally.leasedMilliseconds, tally.makespan)
    }
}

extension RecordedHistory {
    /// Runs it with one change to all queues.
    func run(_ change: (inout WhatIfQueue) -> Void = { _ in }) throws -> QueueTally {
        var settings = WhatIfSettings(queues: queues.count)
        for index in queues.indices { change(&settings.queues[index]) }
        return try Simulation(self, settings).run().tally()
    }
}

extension RetryRule {
    static func fixed(_ delay: Int64) -> RetryRule { .policy(RetryPolicy(.fixed(delay), jitterPercent: 0)) }

    static func listed(_ delays: [Int64]) -> RetryRule { .policy(RetryPolicy(.listed(delays), jitterPercent: 0)) }

    static func exponential(first: Int64, factor: UInt32, most: Int64) -> RetryRule {
        .policy(RetryPolicy(.exponential(first: first, factor: factor, most: most), jitterPercent: 0))
    }
}
