// Exactly-once results of at-least-once jobs: the first value recorded under (scope, key) is the value for ever. Values
// live in the log; the state knows where. A computation runs at most once per recorded value: callers of one key in
// this process wait for the one that computes, and a crash before the value is durable only means that it runs again.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Records a value under (scope, key), unless one is recorded.
    ///
    /// - Parameter fencedBy: The lease that must be active for it.
    /// - Returns: The first value ever recorded.
    /// - Throws: `.leaseLost` when the fence has ended; `.badRequest`, `.tooLarge`, `.noSpace`, `.closed` or the
    ///   store's failure. Nothing is recorded then.
    /// - Postcondition: The value is durable.
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) async throws(JobStoreError) -> EffectResult {
        try await core.submitAsync(EffectOperation(scope: scope, key: key, fence: fencedBy, value: value)).value()
    }

    /// Returns the value recorded under (scope, key), or runs `body` and records what it returns.
    ///
    /// Concurrent calls with one key run one body at a time. An error is not recorded: the next caller runs its own.
    ///
    /// - Throws: `JobStoreError` as the call with a value does; what `body` throws, untouched; `CancellationError` when
    ///   the task is cancelled while it waits for another's body.
    /// - Warning: A body that asks for its own key waits for itself for ever.
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, _ body: () async throws -> [UInt8]
    ) async throws -> EffectResult {
        let begin = EffectBegin(name: EffectName(scope: scope, key: key), fence: fencedBy)
        while true {
            switch try await core.submitAsync(begin).value() {
            case .recorded(let value): return EffectResult(value: value, isReplayed: true)
            case .wait(let waiter):
                await waiter.wait()
                try Task.checkCancellation()
            case .compute:
                defer { core.endFlight(begin.name) }
                let value = try await body()
                return try await effect(scope: scope, key: key, fencedBy: fencedBy, value: value)
            }
        }
    }

    func effectBlocking(
        scope: String, key: String, fencedBy: LeaseIdentity?, _ body: () throws -> [UInt8]
    ) throws -> EffectResult {
        let begin = EffectBegin(name: EffectName(scope: scope, key: key), fence: fencedBy)
        while true {
            switch try core.submit(begin).valueBlocking() {
            case .recorded(let value): return EffectResult(value: value, isReplayed: true)
            case .wait(let waiter): waiter.waitBlocking()
            case .compute:
                defer { core.endFlight(begin.name) }
                let value = try body()
                return try submitEffect(scope: scope, key: key, fencedBy: fencedBy, value: value).valueBlocking()
            }
        }
    }

    /// Decides an effect; blocks only for room in the journal.
    package func submitEffect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) -> Pending<EffectResult> {
        core.submit(EffectOperation(scope: scope, key: key, fence: fencedBy, value: value))
    }
}

/// A value to be recorded.
struct EffectOperation: StoreOperation {
    let scope: String
    let key: String
    let fence: LeaseIdentity?
    let value: [UInt8]

    var access: OperationAccess { .changes }

    var command: Command {
        .effect(
            scope: scope, key: key, value: value, fence: fence.map { Effect.Fence(job: $0.id, token: $0.token) })
    }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(scope, "scope")
        try Limits.checkName(key, "key")
        try Limits.checkValue(value, "value")
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<EffectResult> {
        guard case .effect(let isRecorded, let sequence) = try core.perform(command, at: now) else {
            preconditionFailure("an effect is answered by where it is")
        }
        if isRecorded { return .value(EffectResult(value: value, isReplayed: false)) }
        return .deferred { () throws(JobStoreError) -> EffectResult in
            EffectResult(value: try core.effectValue(sequence), isReplayed: true)
        }
    }
}

/// Asks for a recorded value, or for the right to compute it.
private struct EffectBegin: StoreOperation {
    enum Value: Sendable {
        case recorded([UInt8])
        case wait(EffectWaiter)
        case compute
    }
    let name: EffectName
    let fence: LeaseIdentity?

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(name.scope, "scope")
        try Limits.checkName(name.key, "key")
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Value> {
        if let fence, Safeguard.computedFence.isOn { try core.checkActive(fence) }
        if let sequence = core.state.effect(scope: name.scope, key: name.key) {
            return .deferred { () throws(JobStoreError) -> Value in .recorded(try core.effectValue(sequence)) }
        }
        if let waiter = core.flights.begin(name, orWait: EffectWaiter(lock: core.lock)) { return .value(.wait(waiter)) }
        return .value(.compute)
    }
}

extension StoreCore {
    /// Returns the value in the effect record at `sequence`. The caller does not hold the lock.
    func effectValue(_ sequence: SequenceNumber) throws(JobStoreError) -> [UInt8] {
        guard let record = try record(sequence), case .effect(let effect) = record.mutation else {
            throw JobStoreError(
                .corrupt, "the effect recorded at \(sequence) is not in the log; restore the store from a backup")
        }
        return effect.value
    }

    /// Throws unless the lease is active. The caller holds the lock.
    fileprivate func checkActive(_ lease: LeaseIdentity) throws(JobStoreError) {
        if let status = state.status(of: lease.id), status.state == .leased, status.token == lease.token { return }
        guard lease.id.sequence <= state.lastSequence else { throw Self.noSuchJob(lease.id) }
        throw JobStoreError(
            .leaseLost, "token \(lease.token) is not the active lease of job \(lease.id); stop working on it",
            lostLease: LostLease(lease.id, state.status(of: lease.id)))
    }

    /// Lets the next caller of an effect go on. The caller does not hold the lock.
    fileprivate func endFlight(_ name: EffectName) {
        let waiting = lock.withLock { flights.end(name) }
        for waiter in waiting { waiter.wake() }
    }
}
