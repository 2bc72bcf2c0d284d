// What becomes of a lease: it is renewed, acked, given back or buried; and of a job: it is cancelled or redriven.

public import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Says that the holder is alive: the lease ends `duration` from now.
    ///
    /// - Returns: The new deadline.
    /// - Throws: `.leaseLost` when the lease has ended; `.notFound` for an id that was never given; `.badRequest`,
    ///   `.tooLarge`, `.noSpace`, `.closed` or the store's failure.
    @discardableResult
    public func heartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) async throws(JobStoreError) -> Timestamp {
        try await core.submitAsync(CommandOperation.heartbeat(lease.identity, duration, progress)).value
    }

    /// Completes the job.
    ///
    /// - Parameters:
    ///   - result: What it gave, for whoever asks for `result(of:)` or waits for `outcome(of:)`.
    ///   - keepFor: How long the result is kept at least, whatever is kept of history, in whole milliseconds; `nil` for
    ///     what its queue's `resultRetention` says, zero for no longer than history.
    /// - Throws: `.leaseLost`, `.notFound`, `.tooLarge`, `.badRequest` for a time without a result, `.closed` or the
    ///   store's failure.
    /// - Postcondition: The job never runs again.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil
    ) async throws(JobStoreError) {
        try await core.submitAsync(AckOperation(lease: lease.identity, result: result, keepFor: keepFor)).value
    }

    /// Gives the job back after a failed attempt.
    ///
    /// - Parameters:
    ///   - after: How long it waits; `nil` for what the retry policy says.
    ///   - error: What went wrong, for people to read.
    ///   - errorClass: What kind of error it was, a name of 1 to 255 bytes: job and queue say after which kinds a job
    ///     is not tried again.
    ///   - countsAttempt: False gives the attempt back, as on shutdown.
    /// - Returns: What became of the job; it is dead when its attempts are used up, or the error is final.
    /// - Throws: `.leaseLost`, `.notFound`, `.badRequest`, `.tooLarge`, `.closed` or the store's failure.
    @discardableResult
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true
    ) async throws(JobStoreError) -> RequeueOutcome {
        try await core.submitAsync(
            RequeueOperation(
                lease: lease.identity, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
        ).value
    }

    /// Dead-letters the job at once.
    ///
    /// - Throws: `.leaseLost`, `.notFound`, `.tooLarge`, `.closed` or the store's failure.
    public func bury(_ lease: some LeaseReference, error: String? = nil) async throws(JobStoreError) {
        try await core.submitAsync(CommandOperation.bury(lease.identity, error)).value
    }

    /// Cancels a job that has not finished; a lease on it is void from then on.
    ///
    /// - Throws: `.notFound` for an unknown job, `.invalidState` for a finished one; `.closed` or the store's failure.
    public func cancel(_ id: JobID) async throws(JobStoreError) {
        try await core.submitAsync(CancelOperation(id: id)).value
    }

    /// Makes a dead job ready again, its attempts counted from zero.
    ///
    /// - Throws: `.notFound` for an unknown job, `.invalidState` for one that is not dead or whose unique key another
    ///   job holds; `.noSpace`, `.closed` or the store's failure.
    public func redrive(_ id: JobID) async throws(JobStoreError) {
        try await core.submitAsync(RedriveOperation(id: id)).value
    }
}

// Each blocks only for room in the journal.
extension JobStore {
    /// Decides a heartbeat.
    package func submitHeartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) -> Pending<Timestamp> {
        core.submit(CommandOperation.heartbeat(lease.identity, duration, progress))
    }

    /// Decides an ack.
    package func submitAck(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil
    ) -> Pending<Void> {
        core.submit(AckOperation(lease: lease.identity, result: result, keepFor: keepFor))
    }

    /// Decides a requeue.
    package func submitRequeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true
    ) -> Pending<RequeueOutcome> {
        core.submit(
            RequeueOperation(
                lease: lease.identity, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
        )
    }

    /// Decides a burial.
    package func submitBury(_ lease: some LeaseReference, error: String? = nil) -> Pending<Void> {
        core.submit(CommandOperation.bury(lease.identity, error))
    }

    /// Decides a cancellation; may read the job's enqueue record first.
    package func submitCancel(_ id: JobID) -> Pending<Void> { core.submit(CancelOperation(id: id)) }

    /// Decides a redrive; may read the job's enqueue record first.
    package func submitRedrive(_ id: JobID) -> Pending<Void> { core.submit(RedriveOperation(id: id)) }
}

extension CommandOperation where Value == Timestamp {
    static func heartbeat(
        _ lease: LeaseIdentity, _ duration: Duration, _ progress: [UInt8]?
    ) -> CommandOperation<Timestamp> {
        CommandOperation(.changes, bytes: progress?.count ?? 0) { () throws(JobStoreError) -> Command in
            try Limits.checkValue(progress, "progress")
            return .heartbeat(
                job: lease.id, token: lease.token, milliseconds: try Limits.leaseMilliseconds(duration),
                progress: progress)
        } value: { reply in
            guard case .heartbeat(let deadline) = reply else {
                preconditionFailure("a heartbeat is answered by a deadline")
            }
            return deadline
        }
    }
}

extension CommandOperation where Value == Void {
    static func bury(_ lease: LeaseIdentity, _ error: String?) -> CommandOperation<Void> {
        CommandOperation(.settles, bytes: error?.utf8.count ?? 0) { () throws(JobStoreError) -> Command in
            try Limits.checkValue(error, "error")
            return .bury(job: lease.id, token: lease.token, reason: .buried, error: error)
        } value: { _ in
        }
    }
}

/// A job given back.
struct RequeueOperation: StoreOperation {
    let lease: LeaseIdentity
    let after: Duration?
    let error: String?
    let errorClass: String?
    let countsAttempt: Bool

    var access: OperationAccess { .settles }
    var bytes: Int { error?.utf8.count ?? 0 }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkValue(error, "error")
        if let errorClass { try Limits.checkName(errorClass, "error_class") }
        _ = try command(at: .zero)
    }

    /// Returns the command; a delay must end before the year 10000.
    func command(at now: Timestamp) throws(JobStoreError) -> Command {
        var milliseconds: Int64?
        if let after {
            let delay = try Limits.delayMilliseconds(after, "delay_ms")
            _ = try Limits.instant(now, plus: delay, "delay_ms")
            milliseconds = delay
        }
        return .requeue(
            job: lease.id, token: lease.token, delayMilliseconds: milliseconds, error: error,
            countsAttempt: countsAttempt, errorClass: errorClass)
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<RequeueOutcome> {
        .value(RequeueOutcome(try core.perform(command(at: now), at: now)))
    }
}

extension RequeueOutcome {
    init(_ reply: Reply) {
        guard case .requeued(let outcome) = reply else { preconditionFailure("a requeue is answered by an outcome") }
        switch outcome {
        case .ready: self.init(state: .ready, runAt: nil)
        case .scheduled(let runAt): self.init(state: .scheduled, runAt: runAt)
        case .dead: self.init(state: .dead, runAt: nil)
        }
    }
}

/// A job cancelled. A ready job without an entry is found by its lane, which its enqueue record tells.
struct CancelOperation: StoreOperation {
    let id: JobID
    private var lookup: EnqueueLookup?

    init(id: JobID) { self.id = id }

    var access: OperationAccess { .settles }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { self.lookup = lookup }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Void> {
        guard let lane = try core.knownJob(id, lookup) else { return .needsRecords([id]) }
        _ = try core.perform(.cancel(job: id, lane: lane.lane), at: now)
        return .value(())
    }
}

/// A dead job made ready.
struct RedriveOperation: StoreOperation {
    let id: JobID
    private var lookup: EnqueueLookup?

    init(id: JobID) { self.id = id }

    var access: OperationAccess { .changes }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { self.lookup = lookup }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Void> {
        guard let known = try core.knownJob(id, lookup) else { return .needsRecords([id]) }
        guard known.lane == nil else {
            throw JobStoreError(.invalidState, "job \(id) is not dead; only dead jobs can be redriven", job: id)
        }
        _ = try core.perform(.redrive(job: id), at: now)
        return .value(())
    }
}

/// What is known of a job before it is cancelled or redriven.
struct KnownJob: Sendable {
    /// `nil` when the state has an entry for the job and needs no lane.
    let lane: Lane?
}

extension StoreCore {
    /// Returns what a cancellation needs, or `nil` when the job's enqueue record has to be looked up first. The caller
    /// holds the lock.
    ///
    /// - Throws: `.notFound` when there is no such job, or what kept its record from being read.
    func knownJob(_ id: JobID, _ lookup: EnqueueLookup?) throws(JobStoreError) -> KnownJob? {
        if state.status(of: id) != nil { return KnownJob(lane: nil) }
        guard id.rawValue > 0, id.sequence <= state.lastSequence else { throw Self.noSuchJob(id) }
        switch lookup {
        case nil: return nil
        case .found(let enqueue, _): return KnownJob(lane: enqueue.lane)
        case .missing: throw Self.noSuchJob(id)
        case .failed(let error): throw error
        }
    }

    static func noSuchJob(_ id: JobID) -> JobStoreError {
        JobStoreError(
            .notFound, "there is no job \(id), or it finished and compaction has dropped it; check the `id`", job: id)
    }
}
