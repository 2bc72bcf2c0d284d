// What one piece of work has recorded: the values that its steps gave when they first ran. Its code asks for each step
// by name and gets the recorded value, or runs the step and records what comes. Run again, from the beginning and
// however often, it takes the same way without doing anything twice.
//
// Values come from a store, or from a recording of one that can't be added to (`EffectReplay` of HoldfastTestKit).

internal import HoldfastBytes
package import HoldfastEngine

/// The recorded steps of one piece of work.
public struct Effects: Sendable {
    /// Under what the steps are recorded.
    public let scope: String
    /// The lease that must be active for a step to run or be recorded, if any.
    public let lease: LeaseIdentity?
    private let prefix: String
    private let source: any EffectSource

    package init(scope: String, lease: LeaseIdentity? = nil, prefix: String = "", source: any EffectSource) {
        self.scope = scope
        self.lease = lease
        self.prefix = prefix
        self.source = source
    }

    func prefixed(_ prefix: String) -> Effects {
        Effects(scope: scope, lease: lease, prefix: self.prefix + prefix, source: source)
    }

    /// Returns what the step gave when it first ran, or runs it now and records what it gives.
    ///
    /// Of concurrent callers of one step in this process one runs it, and the others get what it gave. A crash before
    /// the value is durable only means that the step runs again: what it changes elsewhere needs a key there, too.
    ///
    /// - Parameters:
    ///   - key: The step; unique in the scope, 1 to 255 bytes, not blank. Blanks around it do not count.
    ///   - codec: How the value is recorded.
    ///   - policy: What becomes of an error. By default it is thrown as it is, and nothing is recorded.
    ///   - keepFor: How long the value is kept; as long as it is not removed by default.
    /// - Throws: `JobStoreError`: `.effectMismatch` when the recorded value has another tag (the step does not run
    ///   then), `.leaseLost`, `.badRequest`, `.tooLarge`, `.noSpace`, `.closed` or the store's failure;
    ///   `EffectFailure` for a failure that is recorded; what the step or the codec throws; `CancellationError`.
    /// - Postcondition: The value is durable.
    /// - Warning: A step that asks for itself waits for ever.
    public func capture<Value: Sendable>(
        _ key: String, as codec: EffectCodec<Value>, onError policy: EffectErrorPolicy = .retry,
        keepFor: Duration? = nil, _ step: () async throws -> Value
    ) async throws -> Value {
        let name = try name(of: key)
        try Limits.checkName(codec.tag, "tag")
        let start = try await source.begin(name, tag: codec.tag, fence: lease)
        if case .recorded(let recorded) = start { return try decode(recorded, name, codec) }
        do {
            let recording = try await run(step, codec, policy)
            let recorded = try await source.record(
                name, recording, keepFor: keepFor, fence: lease)
            source.end(name)
            return try decode(recorded, name, codec)
        } catch {
            source.end(name)
            throw error
        }
    }

    /// Returns the bytes that the step gave when it first ran, or runs it now and records them.
    ///
    /// - Throws: The same as for other values.
    public func capture(
        _ key: String, onError policy: EffectErrorPolicy = .retry, keepFor: Duration? = nil,
        _ step: () async throws -> [UInt8]
    ) async throws -> [UInt8] {
        try await capture(key, as: .bytes, onError: policy, keepFor: keepFor, step)
    }

    private func run<Value: Sendable>(
        _ step: () async throws -> Value, _ codec: EffectCodec<Value>, _ policy: EffectErrorPolicy
    ) async throws -> EffectRecording {
        let value: Value
        do { value = try await step() } catch {
            // That somebody gave up is no result.
            if error is CancellationError || Task.isCancelled { throw error }
            guard case .record(let message) = policy.decide(error) else { throw error }
            return EffectRecording(value: Array(message.utf8), tag: codec.tag, isFailure: true)
        }
        return EffectRecording(value: try codec.encode(value), tag: codec.tag, isFailure: false)
    }

    /// What records a step's value in a batch, in one commit with the ack of the job, say, and what it leads to.
    ///
    /// - Throws: `.badRequest` for a key or tag out of bounds; what the codec throws.
    public func operation<Value: Sendable>(
        _ key: String, as codec: EffectCodec<Value>, value: Value
    ) throws -> BatchOperation {
        let name = try name(of: key)
        return .effect(
            scope: name.scope, key: name.key, fencedBy: lease, tag: codec.tag, value: try codec.encode(value))
    }

    /// Returns what is recorded, by key: at most `limit`, 1 to 10,000, after the key `after`.
    ///
    /// - Throws: `.badRequest`, `.closed` or the store's failure.
    public func list(after: String? = nil, limit: Int = 1000) async throws(JobStoreError) -> [RecordedEffect] {
        try await source.list(scope: scope, after: after, limit: limit)
    }

    /// Forgets what the step gave, so that it runs again when it is asked for.
    ///
    /// - Returns: Whether anything was recorded.
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure.
    @discardableResult
    public func remove(_ key: String) async throws(JobStoreError) -> Bool {
        try await source.remove(try name(of: key))
    }

    // MARK: - For gates

    func name(of key: String) throws(JobStoreError) -> EffectName {
        guard let first = key.firstIndex(where: { !$0.isWhitespace }),
            let last = key.lastIndex(where: { !$0.isWhitespace })
        else { throw JobStoreError(.badRequest, "`key` is blank; name the step") }
        return EffectName(scope: scope, key: prefix + key[first...last])
    }

    /// Records what is known already, unless something is recorded.
    func record(_ name: EffectName, _ recording: EffectRecording) async throws(JobStoreError) -> RecordedValue {
        try await source.decide(name, recording, fence: lease)
    }

    private func decode<Value: Sendable>(
        _ recorded: RecordedValue, _ name: EffectName, _ codec: EffectCodec<Value>
    ) throws -> Value {
        try recorded.checkTag(codec.tag, name)
        guard !recorded.isFailure else {
            throw EffectFailure(
                scope: name.scope, key: name.key, message: String(decoding: recorded.value, as: UTF8.self))
        }
        return try codec.decode(recorded.value)
    }
}

// MARK: - Where values come from

/// What is about to be recorded.
package struct EffectRecording: Sendable {
    package let value: [UInt8]
    package let tag: String
    package let isFailure: Bool
}

/// What is recorded.
package struct RecordedValue: Hashable, Sendable {
    package let value: [UInt8]
    package let tag: String
    package let isFailure: Bool
    package let isReplayed: Bool

    package init(value: [UInt8], tag: String, isFailure: Bool, isReplayed: Bool) {
        self.value = value
        self.tag = tag
        self.isFailure = isFailure
        self.isReplayed = isReplayed
    }

    package init(_ effect: Effect, isReplayed: Bool) {
        self.init(value: effect.value, tag: effect.tag, isFailure: effect.isFailure, isReplayed: isReplayed)
    }

    /// Throws unless it is what was asked for. What was recorded without a tag is anything.
    func checkTag(_ tag: String, _ name: EffectName) throws(JobStoreError) {
        guard self.tag.isEmpty || self.tag == tag || Safeguard.effectTag.isOff else {
            throw JobStoreError(
                .effectMismatch,
                "effect `\(name.key)` of `\(name.scope)` is recorded as `\(self.tag)`, and `\(tag)` is asked for; ask "
                    + "for what is recorded, use another key, or remove it")
        }
    }
}

/// Keeps effects.
package protocol EffectSource: Sendable {
    /// Returns what is recorded, or says that the caller is to compute it, and calls `end` then.
    func begin(_ name: EffectName, tag: String, fence: LeaseIdentity?) async throws -> EffectStart
    /// Records what was computed, unless something is recorded.
    func record(
        _ name: EffectName, _ recording: EffectRecording, keepFor: Duration?, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue
    /// Ends a computation.
    func end(_ name: EffectName)
    /// Records what needs no computation, unless something is recorded.
    func decide(
        _ name: EffectName, _ recording: EffectRecording, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue
    func list(scope: String, after: String?, limit: Int) async throws(JobStoreError) -> [RecordedEffect]
    func remove(_ name: EffectName) async throws(JobStoreError) -> Bool
}

/// How a step begins.
package enum EffectStart: Sendable {
    case recorded(RecordedValue)
    case compute
}
