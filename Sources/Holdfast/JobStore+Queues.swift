// What concerns a whole queue: pausing, draining, and its dead letters. And moving a manual clock.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Makes up to `limit` dead jobs of a queue ready again, their attempts counted from zero.
    ///
    /// - Parameter limit: 1 to 10,000.
    /// - Returns: How many; jobs whose unique key another job holds are left and counted apart.
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure.
    public func redrive(queue: String, limit: Int = 10_000) async throws(JobStoreError) -> RedriveResult {
        try await core.submitAsync(QueueRedriveOperation(queue: queue, limit: limit)).value
    }

    /// Stops leasing from a queue; enqueues go on.
    ///
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure.
    public func pause(_ queue: String) async throws(JobStoreError) {
        try await core.submitAsync(CommandOperation.setPaused(queue, true)).value
    }

    /// Leases from a paused queue again.
    ///
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure.
    public func resume(_ queue: String) async throws(JobStoreError) {
        try await core.submitAsync(CommandOperation.setPaused(queue, false)).value
    }

    /// Pauses a queue and says what it still holds.
    ///
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure.
    public func drain(_ queue: String) async throws(JobStoreError) -> DrainStatus {
        try await core.submitAsync(DrainOperation(queue: queue)).value
    }

    /// Moves the manual clock and records that, so that time goes on from there after a restart.
    ///
    /// - Parameter milliseconds: 0 or more.
    /// - Returns: The new time.
    /// - Throws: `.badRequest` when the store has no manual clock or the time would pass the year 9999; `.closed` or
    ///   the store's failure; `.noSpace`, and then the clock may have moved, unrecorded: what fell due took the room.
    @discardableResult
    public func advanceClock(by milliseconds: Int64) async throws(JobStoreError) -> Timestamp {
        let pending = await core.submitAsync(AdvanceOperation(milliseconds: milliseconds))
        core.manualClock?.notifyObservers()
        return try await pending.value
    }
}

// Each blocks only for room in the journal.
extension JobStore {
    /// Decides a redrive of a queue.
    package func submitRedrive(queue: String, limit: Int = 10_000) -> Pending<RedriveResult> {
        core.submit(QueueRedriveOperation(queue: queue, limit: limit))
    }

    /// Decides a pause.
    package func submitPause(_ queue: String) -> Pending<Void> { core.submit(CommandOperation.setPaused(queue, true)) }

    /// Decides a resumption.
    package func submitResume(_ queue: String) -> Pending<Void> {
        core.submit(CommandOperation.setPaused(queue, false))
    }

    /// Decides a drain.
    package func submitDrain(_ queue: String) -> Pending<DrainStatus> { core.submit(DrainOperation(queue: queue)) }

    /// Moves the manual clock.
    package func submitAdvanceClock(by milliseconds: Int64) -> Pending<Timestamp> {
        let pending = core.submit(AdvanceOperation(milliseconds: milliseconds))
        core.manualClock?.notifyObservers()
        return pending
    }

    /// Reads the store's time, durable with all that was submitted before.
    package func submitNow() -> Pending<Timestamp> { core.submit(NowOperation()) }
}

/// Dead jobs of a queue made ready, in one commit.
struct QueueRedriveOperation: StoreOperation {
    let queue: String
    let limit: Int
    /// Once it is known how many there are.
    private(set) var bytes = 0

    init(queue: String, limit: Int) { (self.queue, self.limit) = (queue, limit) }

    var access: OperationAccess { .changes }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(queue, "queue")
        try Limits.checkCount(limit, "limit")
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<RedriveResult> {
        var scope = BatchScope()
        let decision = try core.decide(
            .redriveQueue(queue: queue, limit: limit), at: now, next: core.log.nextSequence, in: &scope)
        guard case .redriven(let count, let skipped) = decision.reply else {
            preconditionFailure("a redrive is answered by counts")
        }
        let needed = count * Limits.shortRecordBytesMax
        guard core.hasRoom(for: needed, of: self) else {
            bytes = needed
            return .needsRoom
        }
        core.append(decision, at: now)
        return .value(RedriveResult(count: count, skipped: skipped))
    }
}

extension CommandOperation where Value == Void {
    static func setPaused(_ queue: String, _ isPaused: Bool) -> CommandOperation<Void> {
        CommandOperation(.changes) { () throws(JobStoreError) -> Command in
            try Limits.checkName(queue, "queue")
            return .setPaused(queue: queue, isPaused)
        } value: { _ in
        }
    }
}

/// Pauses a queue and counts what it holds.
struct DrainOperation: StoreOperation {
    let queue: String

    var access: OperationAccess { .changes }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) { try Limits.checkName(queue, "queue") }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<DrainStatus> {
        _ = try core.perform(.setPaused(queue: queue, true), at: now)
        for row in core.state.queueCounts(at: now) where row.queue.hasSameBytes(as: queue) {
            return .value(DrainStatus(pending: row.counts.ready + row.counts.scheduled, leased: row.counts.leased))
        }
        return .value(DrainStatus(pending: 0, leased: 0))
    }
}

/// Moves the manual clock, once, before its time is read.
struct AdvanceOperation: StoreOperation {
    let milliseconds: Int64
    private var isMoved = false

    init(milliseconds: Int64) { self.milliseconds = milliseconds }

    // Time that was answered must not go back over a restart, so the record goes even on a full disk.
    var access: OperationAccess { .settles }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        guard let clock = options.clock as? ManualClock else {
            throw JobStoreError(.badRequest, "the store runs on the system's clock; open it with a manual clock")
        }
        guard milliseconds >= 0 else {
            throw JobStoreError(.badRequest, "`ms` is \(milliseconds); give 0 or more, because time does not go back")
        }
        _ = try Limits.instant(clock.boundedNow(), plus: milliseconds, "ms")
    }

    mutating func prepare(_ core: StoreCore) {
        guard !isMoved, let clock = core.manualClock else { return }
        // Catch up first: the store's time may be ahead of a clock that another store reads too.
        clock.raise(to: core.latestTime)
        clock.move(byMilliseconds: milliseconds)
        isMoved = true
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Timestamp> {
        _ = try core.perform(.advanceClock, at: now)
        return .value(now)
    }
}

/// Reads the time.
struct NowOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Timestamp> {
        .value(now)
    }
}
