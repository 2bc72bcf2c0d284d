// Taking jobs to run.

internal import HoldfastBytes
internal import HoldfastLog

extension JobStore {
    /// Leases up to `limit` ready jobs of a queue, highest priority first, then lowest id.
    ///
    /// - Parameters:
    ///   - limit: 1 to 10,000; fewer are returned when fewer are ready, when their payloads pass 32 MiB, or, after a
    ///     wait, when the journal has no place for the records of more.
    ///   - duration: 1 ms to 7 days.
    ///   - worker: Who asks, for people to read.
    ///   - waitingUpTo: How long to wait for a job when none is ready; `nil` not at all.
    /// - Returns: The leases. None when nothing was ready in time, or when the task was cancelled while it waited.
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure; no job is leased then.
    /// - Postcondition: Every returned lease is durable.
    public func lease(
        from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) async throws(JobStoreError) -> [Lease] {
        try await lease(
            from: [queue], limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }

    /// Leases up to `limit` ready jobs of several queues, earlier named queues first.
    ///
    /// - Throws: As `lease(from:limit:for:worker:waitingUpTo:)` for one queue.
    public func lease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) async throws(JobStoreError) -> [Lease] {
        try await lease(
            from: .inOrder(queues), limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }

    func lease(
        from source: LeaseSource, limit: Int, for duration: Duration, worker: String, waitingUpTo: Duration?
    ) async throws(JobStoreError) -> [Lease] {
        let operation = try LeaseOperation(
            source, limit: limit, duration: duration, worker: worker, waitingUpTo: waitingUpTo, core: core)
        let pending = await core.submitAsync(operation)
        guard let waiter = operation.waiter, waiter.isRegistered else { return try await pending.value }
        return try await waiter.wait(on: core).value
    }

    func leaseBlocking(
        from source: LeaseSource, limit: Int, for duration: Duration, worker: String, waitingUpTo: Duration?
    ) throws(JobStoreError) -> [Lease] {
        let operation = try LeaseOperation(
            source, limit: limit, duration: duration, worker: worker, waitingUpTo: waitingUpTo, core: core)
        let pending = core.submit(operation)
        guard let waiter = operation.waiter, waiter.isRegistered else { return try pending.valueBlocking() }
        return try waiter.waitBlocking(on: core).valueBlocking()
    }

    /// How many leases wait for a job.
    package var waitingLeaseCount: Int { core.lock.withLock { core.waiters.count } }

    /// Decides a lease that does not wait; blocks only for room in the journal.
    package func submitLease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = ""
    ) -> Pending<[Lease]> {
        submitLease(NextLease(from: queues, limit: limit, for: duration, worker: worker))
    }

    /// Decides a lease that does not wait; blocks only for room in the journal.
    package func submitLease(_ next: NextLease) -> Pending<[Lease]> {
        do { return core.submit(try LeaseOperation(next, core: core)) } catch { return core.refusal(error) }
    }
}

/// A lease, which may wait.
struct LeaseOperation: StoreOperation {
    let request: LeaseRequest
    /// Registered when nothing is ready.
    let waiter: LeaseWaiter?
    /// Of all that it asks for, once that is known.
    private(set) var bytes = 0

    var access: OperationAccess { .changes }

    init(
        _ source: LeaseSource, limit: Int, duration: Duration, worker: String, waitingUpTo: Duration?, core: StoreCore
    ) throws(JobStoreError) {
        request = try LeaseRequest(source, limit: limit, duration: duration, worker: worker)
        guard let waitingUpTo, waitingUpTo > .zero else {
            waiter = nil
            return
        }
        try core.timer.start(on: core)
        // Longer than a century is for ever.
        let wait = min(waitingUpTo, .seconds(3_200_000_000))
        waiter = LeaseWaiter(request: request, timesOutAt: core.clock.monotonicNow() + wait, lock: core.lock)
    }

    /// One that does not wait.
    init(_ next: NextLease, core: StoreCore) throws(JobStoreError) {
        try self.init(
            next.source, limit: next.limit, duration: next.duration, worker: next.worker, waitingUpTo: nil, core: core)
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[Lease]> {
        var needed: Int? = bytes
        if let reader = request.lease(on: core, at: now, admittedWith: &needed) {
            return .deferred(reader.read, atHand: reader.readAtHand)
        }
        if let needed, needed > bytes {
            bytes = needed
            return .needsRoom
        }
        if let waiter { core.register(waiter) }
        return .value([])
    }
}
