// Exactly-once results of at-least-once jobs: the first value recorded under (scope, key) is the value until it is
// removed. Values live in the log; the state knows where. A computation runs at most once per recorded value: callers
// of one key in this process wait for the one that computes, and a crash before the value is durable only means that it
// runs again.

public import HoldfastBytes
package import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// The recorded steps of the piece of work called `scope`.
    public func effects(scope: String) -> Effects { Effects(scope: scope, source: StoreEffects(core: core)) }

    /// The recorded steps of a leased job: the same ones in each of its attempts, recorded only while the lease is
    /// active.
    public func effects(of lease: some LeaseReference) -> Effects {
        let identity = lease.identity
        return Effects(scope: Self.effectScope(of: identity.id), lease: identity, source: StoreEffects(core: core))
    }

    /// The scope of a job's own effects.
    public static func effectScope(of job: JobID) -> String { "job \(job.rawValue)" }

    /// Returns the scopes under which something is recorded, by name, with the number of its keys.
    ///
    /// - Throws: `.closed` or the store's failure.
    public func effectScopes() async throws(JobStoreError) -> [(scope: String, count: Int)] {
        try await core.submitAsync(EffectScopes()).value
    }

    /// Records a value under (scope, key), unless one is recorded.
    ///
    /// - Parameter fencedBy: The lease that must be active for it.
    /// - Returns: The first value recorded.
    /// - Throws: `.leaseLost` when the fence has ended; `.badRequest`, `.tooLarge`, `.noSpace`, `.closed` or the
    ///   store's failure. Nothing is recorded then.
    /// - Postcondition: The value is durable.
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) async throws(JobStoreError) -> EffectResult {
        let effect = EffectOperation(scope: scope, key: key, fence: fencedBy, value: value)
        return EffectResult(try await core.submitAsync(effect).value)
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
        let name = EffectName(scope: scope, key: key)
        let source = StoreEffects(core: core)
        if case .recorded(let recorded) = try await source.begin(name, fence: fencedBy) {
            return EffectResult(recorded)
        }
        defer { source.end(name) }
        return try await effect(scope: scope, key: key, fencedBy: fencedBy, value: try await body())
    }

    func effectBlocking(
        scope: String, key: String, fencedBy: LeaseIdentity?, _ body: () throws -> [UInt8]
    ) throws -> EffectResult {
        let begin = EffectBegin(name: EffectName(scope: scope, key: key), fence: fencedBy)
        while true {
            switch try core.submit(begin).valueBlocking() {
            case .recorded(let recorded): return EffectResult(recorded)
            case .removed: continue
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
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, tag: String = "", isFailure: Bool = false,
        keepFor: Duration? = nil, value: [UInt8]
    ) -> Pending<EffectResult> {
        core.submit(
            EffectOperation(
                scope: scope, key: key, fence: fencedBy, value: value, tag: tag, isFailure: isFailure, keepFor: keepFor)
        ).map { EffectResult($0) }
    }

    /// Decides that an effect be forgotten; blocks only for room in the journal.
    package func submitRemoveEffect(scope: String, key: String) -> Pending<Bool> {
        core.submit(CommandOperation.removeEffect(EffectName(scope: scope, key: key)))
    }

    /// Reads what is recorded.
    package func submitEffects(scope: String, after: String?, limit: Int) -> Pending<[RecordedEffect]> {
        core.submit(EffectList(scope: scope, after: after, limit: limit))
    }

    /// Reads under which scopes something is recorded.
    package func submitEffectScopes() -> Pending<[(scope: String, count: Int)]> { core.submit(EffectScopes()) }
}

/// The effects of a store.
private struct StoreEffects: EffectSource {
    let core: StoreCore

    func begin(_ name: EffectName, tag: String, fence: LeaseIdentity?) async throws -> EffectStart {
        let start = try await begin(name, fence: fence)
        if case .recorded(let recorded) = start { try recorded.checkTag(tag, name) }
        return start
    }

    func begin(_ name: EffectName, fence: LeaseIdentity?) async throws -> EffectStart {
        let begin = EffectBegin(name: name, fence: fence)
        while true {
            switch try await core.submitAsync(begin).value {
            case .recorded(let recorded): return .recorded(recorded)
            case .removed: continue
            case .wait(let waiter):
                await waiter.wait()
                try Task.checkCancellation()
            case .compute: return .compute
            }
        }
    }

    func record(
        _ name: EffectName, _ recording: EffectRecording, keepFor: Duration?, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue {
        try await core.submitAsync(
            EffectOperation(
                scope: name.scope, key: name.key, fence: fence, value: recording.value, tag: recording.tag,
                isFailure: recording.isFailure, keepFor: keepFor)
        ).value
    }

    func end(_ name: EffectName) { core.endFlight(name) }

    func decide(
        _ name: EffectName, _ recording: EffectRecording, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue {
        try await record(name, recording, keepFor: nil, fence: fence)
    }

    func list(scope: String, after: String?, limit: Int) async throws(JobStoreError) -> [RecordedEffect] {
        try await core.submitAsync(EffectList(scope: scope, after: after, limit: limit)).value
    }

    func remove(_ name: EffectName) async throws(JobStoreError) -> Bool {
        try await core.submitAsync(CommandOperation.removeEffect(name)).value
    }
}

/// A value to be recorded.
struct EffectOperation: StoreOperation {
    let scope: String
    let key: String
    let fence: LeaseIdentity?
    let value: [UInt8]
    var tag = ""
    var isFailure = false
    var keepFor: Duration?

    var access: OperationAccess { .changes }
    var bytes: Int { value.count }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(scope, "scope")
        try Limits.checkName(key, "key")
        if !tag.isEmpty { try Limits.checkName(tag, "tag") }
        try Limits.checkValue(value, "value")
        _ = try command(at: .zero)
    }

    /// Returns the command, with absolute times.
    func command(at now: Timestamp) throws(JobStoreError) -> Command {
        var effect = Effect(
            scope: scope, key: key, value: value, fence: fence.map { Effect.Fence(job: $0.id, token: $0.token) },
            tag: tag, isFailure: isFailure)
        if let keepFor {
            let milliseconds = try Limits.delayMilliseconds(keepFor, "keep_ms", atLeast: 1)
            effect.until = try Limits.instant(now, plus: milliseconds, "keep_ms")
        }
        return .effect(effect)
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<RecordedValue> {
        guard case .effect(let isRecorded, let sequence) = try core.perform(command(at: now), at: now) else {
            preconditionFailure("an effect is answered by where it is")
        }
        if isRecorded {
            return .value(RecordedValue(value: value, tag: tag, isFailure: isFailure, isReplayed: false))
        }
        return .deferred { () throws(JobStoreError) -> RecordedValue in
            RecordedValue(try core.existingEffect(at: sequence), isReplayed: true)
        }
    }
}

extension CommandOperation where Value == Bool {
    fileprivate static func removeEffect(_ name: EffectName) -> CommandOperation<Bool> {
        CommandOperation(.settles) { () throws(JobStoreError) -> Command in
            try Limits.checkName(name.scope, "scope")
            try Limits.checkName(name.key, "key")
            return .removeEffect(scope: name.scope, key: name.key)
        } value: { reply in
            guard case .effectRemoved(let wasThere) = reply else {
                preconditionFailure("a removal is answered by whether there was one")
            }
            return wasThere
        }
    }
}

/// Asks for a recorded value, or for the right to compute it.
private struct EffectBegin: StoreOperation {
    enum Value: Sendable {
        case recorded(RecordedValue)
        /// It was recorded when this was asked, and was removed before it could be read.
        case removed
        case wait(WaitingCaller)
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
            return .deferred { () throws(JobStoreError) -> Value in
                guard let found = try core.effect(at: sequence) else { return .removed }
                return .recorded(RecordedValue(found.effect, isReplayed: true))
            }
        }
        if let waiter = core.flights.begin(name, orWait: WaitingCaller(lock: core.lock)) {
            return .value(.wait(waiter))
        }
        return .value(.compute)
    }
}

extension JobStore {
    /// Looks up what is recorded under (scope, key), without recording anything; blocks only for room in the journal.
    package func submitRecordedEffect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil
    ) -> Pending<EffectResult?> {
        core.submit(EffectLookup(scope: scope, key: key, fence: fencedBy))
    }
}

/// Looks up one effect.
private struct EffectLookup: StoreOperation {
    let scope: String
    let key: String
    let fence: LeaseIdentity?

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(scope, "scope")
        try Limits.checkName(key, "key")
    }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<EffectResult?> {
        if let fence { try core.checkActive(fence) }
        guard let sequence = core.state.effect(scope: scope, key: key) else { return .value(nil) }
        return .deferred { () throws(JobStoreError) -> EffectResult? in
            EffectResult(RecordedValue(try core.existingEffect(at: sequence), isReplayed: true))
        }
    }
}

/// Lists what is recorded under a scope.
private struct EffectList: StoreOperation {
    let scope: String
    let after: String?
    let limit: Int

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(scope, "scope")
        try Limits.checkCount(limit, "limit")
    }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<[RecordedEffect]> {
        let known = core.state.effects(scope: scope, after: after, limit: limit)
        return .deferred { () throws(JobStoreError) -> [RecordedEffect] in
            var effects: [RecordedEffect] = []
            for (sequence, until) in known {
                guard let (effect, time) = try core.effect(at: sequence) else { continue }
                effects.append(RecordedEffect(effect, sequence, recordedAt: time, keptUntil: until))
            }
            return effects
        }
    }
}

/// Lists the scopes.
private struct EffectScopes: StoreOperation {
    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {}

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<[(scope: String, count: Int)]> { .value(core.state.effectScopes) }
}

extension RecordedEffect {
    package init(_ effect: Effect, _ sequence: SequenceNumber, recordedAt: Timestamp, keptUntil: Timestamp?) {
        self.init(
            scope: effect.scope, key: effect.key, tag: effect.tag.isEmpty ? nil : effect.tag, value: effect.value,
            isFailure: effect.isFailure, job: effect.fence?.job, sequence: sequence, recordedAt: recordedAt,
            keptUntil: keptUntil)
    }
}

extension StoreCore {
    /// Returns the effect record at `sequence`, to which the state refers or did before; `nil` when it was removed and
    /// compacted away meanwhile. The caller does not hold the lock.
    fileprivate func effect(at sequence: SequenceNumber) throws(JobStoreError) -> (effect: Effect, time: Timestamp)? {
        if let record = try record(sequence), case .effect(let effect) = record.mutation {
            return (effect, record.time)
        }
        guard lock.withLock({ state.neededRecords.contains(sequence.rawValue) }) else { return nil }
        throw JobStoreError(
            .corrupt, "the effect recorded at \(sequence) is not in the log; restore the store from a backup")
    }

    /// Returns the effect record at `sequence`. The caller does not hold the lock.
    ///
    /// - Throws: `.invalidState` when it was removed meanwhile.
    func existingEffect(at sequence: SequenceNumber) throws(JobStoreError) -> Effect {
        if let found = try effect(at: sequence) { return found.effect }
        throw JobStoreError(.invalidState, "the effect was removed while it was read; ask for it again")
    }

    /// Throws unless the lease is active. The caller holds the lock.
    fileprivate func checkActive(_ lease: LeaseIdentity) throws(JobStoreError) {
        if let status = state.status(of: lease.id), status.state == .leased, status.token == lease.token { return }
        guard lease.id.sequence <= state.lastSequence else { throw Self.noSuchJob(lease.id) }
        throw JobStoreError(.leaseLost(lease.id, lease.token, state.status(of: lease.id)))
    }

    /// Lets the next caller of an effect go on. The caller does not hold the lock.
    fileprivate func endFlight(_ name: EffectName) {
        let waiting = lock.withLock { flights.end(name) }
        for waiter in waiting { waiter.wake() }
    }
}
