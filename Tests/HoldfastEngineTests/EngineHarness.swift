// A state driven the way a store drives it: overdue records first, then promotion, then the decision, each record
// validated before it is applied. Keeps the records, so that a test can replay them.

import HoldfastBytes
import HoldfastEngine
import Testing

struct EngineHarness {
    static let start = Timestamp(milliseconds: 1_700_000_000_000)

    var state = QueueState()
    var now = Self.start
    var records: [Record] = []
    var promotes = true

    @discardableResult
    mutating func run(_ command: Command) throws -> Reply { try runBatch([command])[0] }

    /// Records what is overdue, and promotes what is due.
    mutating func catchUp() throws {
        while state.hasOverdue(at: now) {
            for mutation in state.overdue(at: now, limit: 100) { try append(mutation) }
        }
        if promotes { state.promoteDue(at: now) }
    }

    @discardableResult
    mutating func runBatch(_ commands: [Command]) throws -> [Reply] {
        try catchUp()
        var scope = BatchScope()
        var decided: [Mutation] = []
        var replies: [Reply] = []
        for command in commands {
            let next = state.lastSequence.advanced(by: UInt64(decided.count) + 1)
            let decision = try state.decide(command, at: now, next: next, in: &scope)
            decision.mutations.forEach { decided.append($0) }
            replies.append(decision.reply)
        }
        for mutation in decided { try append(mutation) }
        return replies
    }

    mutating func append(_ mutation: Mutation) throws {
        let record = Record(sequence: state.lastSequence.next, time: max(now, state.latestTime), mutation: mutation)
        try state.validate(record)
        state.apply(record)
        records.append(record)
        state.checkInvariants()
    }

    mutating func advance(_ milliseconds: Int64) { now = now.advanced(byMilliseconds: milliseconds) }

    @discardableResult
    mutating func enqueue(
        _ queue: String = "q", priority: Int8 = 0, attempts: UInt32 = 5, group: String = "", delay: Int64? = nil,
        key: String? = nil, window: Int64? = nil, freesKeyAtLease: Bool = false, startWithin: Int64? = nil,
        weight: UInt32 = 1
    ) throws -> JobID {
        let reply = try run(
            .enqueue(
                Enqueue(
                    lane: Lane(
                        queue: queue, priority: priority, maxAttempts: attempts, group: group, weight: weight),
                    runAt: delay.map { now.advanced(byMilliseconds: $0) }, uniqueKey: key,
                    uniqueUntil: window.map { now.advanced(byMilliseconds: $0) }, isKeyFreedByLease: freesKeyAtLease,
                    startBy: startWithin.map { now.advanced(byMilliseconds: $0) })))
        switch reply {
        case .enqueued(let job), .duplicate(let job): return job
        default: throw EngineError(.corrupt, "an enqueue was answered with \(reply)")
        }
    }

    @discardableResult
    mutating func lease(_ limit: Int = 1, from queues: [String] = ["q"], for milliseconds: Int64 = 30_000) throws
        -> [(job: JobID, token: LeaseToken, attempt: UInt32)]
    {
        let first = state.lastSequence
        let reply = try run(.lease(queues: queues, limit: limit, milliseconds: milliseconds, worker: "w"))
        guard case .leased(let grants) = reply else { throw EngineError(.corrupt, "no leases") }
        // Expire records may come first, so tokens are counted from the end.
        let next = state.lastSequence.rawValue - UInt64(grants.count) + 1
        assert(next > first.rawValue || grants.isEmpty)
        return grants.enumerated().map { ($1.job, LeaseToken(next + UInt64($0)), $1.attempt) }
    }

    mutating func ack(_ lease: (job: JobID, token: LeaseToken, attempt: UInt32)) throws {
        try run(.ack(job: lease.job, token: lease.token, result: nil))
    }

    @discardableResult
    mutating func requeue(
        _ lease: (job: JobID, token: LeaseToken, attempt: UInt32), delay: Int64? = nil, error: String? = "no",
        counts: Bool = true
    ) throws -> Reply {
        try run(
            .requeue(
                job: lease.job, token: lease.token, delayMilliseconds: delay, error: error, countsAttempt: counts))
    }

    func counts(_ queue: String = "q") -> QueueCounts? {
        state.queueCounts(at: now).first { $0.queue == queue }?.counts
    }

    /// The state that the records give without any decision or promotion.
    func replayed() throws -> QueueState {
        var state = QueueState()
        for record in records {
            try state.validate(record)
            state.apply(record)
        }
        return state
    }

    func restored() throws -> QueueState { try restoredState(from: image(of: state)) }
}

func image(of state: QueueState) -> [UInt8] {
    var writer = ByteWriter()
    state.encodeImage(into: &writer)
    return [UInt8](copying: writer.bytes)
}

func restoredState(from bytes: [UInt8]) throws -> QueueState { try QueueState(image: bytes.span) }

func code(_ body: () throws -> Void) -> EngineError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? EngineError)?.code
    }
}
