// Waiting for the end of a job, as whoever enqueued it may want to. A caller registers in the hold of the lock in which
// it found the job unfinished, and the record that ends the job tells it; then it looks at the job like anybody else.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Waits until a job has been acked or cancelled, or is dead, and returns what is known of it then: its `result`,
    /// or its `deadReason` and `lastError`. Returns at once when that is so already.
    ///
    /// A dead job may be redriven, and end again.
    ///
    /// - Throws: `JobStoreError`: `.notFound` for an unknown job, for one that ended and of which compaction has left
    ///   nothing, and for one that was dropped among the dead letters; `.corrupt`, `.closed` or the store's failure.
    ///   `CancellationError` when the task is cancelled.
    /// - Postcondition: The job's end is durable.
    /// - Complexity: O(lanes) to begin with; then nothing until the job ends.
    public func outcome(of id: JobID) async throws -> JobInfo {
        try core.timer.start(on: core)
        while true {
            try Task.checkCancellation()
            if let waiter = try await core.submitAsync(OutcomeWait(id: id)).value {
                await waiter.wait()
                core.lock.withLock { core.outcomes.remove(waiter, of: id) }
                continue
            }
            guard let info = try await job(id) else { throw StoreCore.noSuchJob(id) }
            switch info.state {
            case .completed, .cancelled, .dead: return info
            // Redriven in between.
            case .scheduled, .ready, .leased: continue
            }
        }
    }
}

extension JobStore {
    /// How many callers wait for the end of a job.
    package var waitingOutcomeCount: Int { core.lock.withLock { core.outcomes.count } }
}

/// Registers a caller unless the job has ended.
private struct OutcomeWait: StoreOperation {
    let id: JobID

    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<WaitingCaller?> {
        guard id.sequence <= core.state.lastSequence else { throw StoreCore.noSuchJob(id) }
        // A job that has not ended has an entry, or is ready in its lane.
        let isWaiting = core.state.status(of: id).map { $0.state != .dead } ?? (core.state.plainLane(of: id) != nil)
        guard isWaiting else { return .value(nil) }
        let waiter = WaitingCaller(lock: core.lock)
        core.outcomes.append(waiter, for: id)
        core.timer.poke()
        return .value(waiter)
    }
}

/// Callers that wait for the end of jobs.
struct OutcomeWaiters: Sendable {
    private var waiting: [JobID: [WaitingCaller]] = [:]
    /// Those whose job has ended, to be woken once the lock is released.
    private var ended: [WaitingCaller] = []

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.values.reduce(0) { $0 + $1.count } }
    var hasEnded: Bool { !ended.isEmpty }

    mutating func append(_ waiter: WaitingCaller, for job: JobID) { waiting[job, default: []].append(waiter) }

    /// Forgets a caller that does not wait any more.
    mutating func remove(_ waiter: WaitingCaller, of job: JobID) {
        waiting[job]?.removeAll { $0 === waiter }
        if waiting[job]?.isEmpty == true { waiting[job] = nil }
    }

    /// Notes what a record did to its job.
    mutating func note(_ mutation: Mutation) {
        let job: JobID
        switch mutation {
        case .ack(let ack): job = ack.job
        case .cancel(let cancel): job = cancel.job
        case .bury(let bury): job = bury.job
        case .requeue(let requeue) where requeue.outcome == .dead: job = requeue.job
        case .expire(.lease(let id, _, true)), .expire(.timeLimit(let id, _, true)), .expire(.startBy(let id)),
            .expire(.dependency(let id, _)):
            job = id
        default: return
        }
        if let callers = waiting.removeValue(forKey: job) { ended += callers }
    }

    mutating func takeEnded() -> [WaitingCaller] {
        defer { ended = [] }
        return ended
    }

    /// Forgets all and returns whom to wake.
    mutating func removeAll() -> [WaitingCaller] {
        defer { waiting = [:] }
        return takeEnded() + waiting.values.flatMap { $0 }
    }
}
