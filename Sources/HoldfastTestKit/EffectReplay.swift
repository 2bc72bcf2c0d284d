// Running a handler again against what it recorded when it ran for real. Nothing is computed and nothing is written:
// each step must be asked for in the order in which it was recorded, and gives what it gave then. A handler that takes
// another way, because its code has changed or because it depends on something that is not recorded, is told so at the
// first step that differs.

public import Holdfast
public import HoldfastBytes
internal import HoldfastLog

/// The recorded steps of one piece of work, to be taken once more.
public final class EffectReplay: Sendable {
    private let source: ReplayedEffects
    private let scope: String

    /// Reads what the handler of `job` recorded, from the files of the store in `directory`. Of one that is open, what
    /// was recorded last may be missing for a moment.
    ///
    /// - Throws: `.notAStore`, `.corrupt`, `.unsupportedFormat`, `.permissionDenied`, `.ioError`.
    public convenience init(of job: JobID, in directory: String) throws(JobStoreError) {
        try self.init(scope: JobStore.effectScope(of: job), in: directory)
    }

    /// Reads what is recorded under `scope`, from the files of the store in `directory`, as for a job.
    ///
    /// - Throws: The same as for a job.
    public convenience init(scope: String, in directory: String) throws(JobStoreError) {
        try self.init(scope: scope, in: directory, on: POSIXFileSystem())
    }

    /// Reads what is recorded under `scope` in a store on a simulated disk.
    ///
    /// - Throws: The same as for a job.
    public convenience init(
        scope: String, in directory: String, on disk: SimulatedFileSystem
    ) throws(JobStoreError) {
        try self.init(scope: scope, in: directory, on: disk as any FileSystem)
    }

    private init(scope: String, in directory: String, on fileSystem: any FileSystem) throws(JobStoreError) {
        self.scope = scope
        source = ReplayedEffects(try EffectArchive.read(directory, scope: scope, fileSystem: fileSystem))
    }

    /// What to give to the handler.
    public var effects: Effects { Effects(scope: scope, source: source) }

    /// The steps, in the order in which they were recorded.
    public var recorded: [RecordedEffect] { source.recorded }

    /// Says whether the handler took the recorded way, and took it to its end.
    ///
    /// - Throws: The first step that differed, also when the handler caught that; or the first recorded step that it
    ///   did not ask for.
    public func finish() throws(EffectDivergence) { try source.finish() }
}

/// A handler does not take the way that it took when it ran for real.
public struct EffectDivergence: Error, Hashable, Sendable, CustomStringConvertible {
    /// A step by its key and tag.
    public struct Step: Hashable, Sendable, CustomStringConvertible {
        /// The key.
        public let key: String
        /// What its value is, if that is known.
        public let tag: String?
        /// For people.
        public var description: String { "`\(key)`" + (tag.map { " (\($0))" } ?? "") }
    }
    /// Which step, counted from 1.
    public let position: Int
    /// What was recorded; `nil` when there was nothing more.
    public let recorded: Step?
    /// What the handler asked for; `nil` when it asked for nothing more.
    public let asked: Step?

    /// Both sides, for people.
    public var description: String {
        "step \(position): recorded is \(recorded?.description ?? "nothing more"), asked for is "
            + (asked?.description ?? "nothing more")
    }
}

extension EffectDivergence {
    fileprivate init(_ divergence: RecordedWay.Divergence) {
        self.init(
            position: divergence.position, recorded: divergence.recorded.map { Step(key: $0.key, tag: $0.tag) },
            asked: divergence.asked.map { Step(key: $0.key, tag: $0.tag) })
    }
}

/// Effects that are only read, in order.
private final class ReplayedEffects: EffectSource {
    let recorded: [RecordedEffect]
    private let way: Locked<RecordedWay>

    init(_ recorded: [RecordedEffect]) {
        self.recorded = recorded
        way = Locked(RecordedWay(recorded))
    }

    func finish() throws(EffectDivergence) {
        if let difference = way.withLock({ $0.difference }) { throw EffectDivergence(difference) }
    }

    private func take(_ name: EffectName, _ tag: String) -> Result<RecordedValue, EffectDivergence> {
        way.withLock { $0.take(name.key, tag: tag) }.map { effect in
            RecordedValue(value: effect.value, tag: effect.tag ?? "", isFailure: effect.isFailure, isReplayed: true)
        }.mapError { EffectDivergence($0) }
    }

    func begin(_ name: EffectName, tag: String, fence: LeaseIdentity?) async throws -> EffectStart {
        .recorded(try take(name, tag).get())
    }

    func decide(
        _ name: EffectName, _ recording: EffectRecording, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue {
        do { return try take(name, recording.tag).get() } catch {
            throw JobStoreError(.versionConflict, "the handler diverges from its recording at \(error)")
        }
    }

    func record(
        _ name: EffectName, _ recording: EffectRecording, keepFor: Duration?, fence: LeaseIdentity?
    ) async throws(JobStoreError) -> RecordedValue { throw Self.refusal }

    func end(_ name: EffectName) {}

    func list(scope: String, after: String?, limit: Int) async throws(JobStoreError) -> [RecordedEffect] {
        let sorted = recorded.sorted { $0.key < $1.key }
        return Array(sorted.filter { effect in after.map { $0 < effect.key } ?? true }.prefix(limit))
    }

    func remove(_ name: EffectName) async throws(JobStoreError) -> Bool { throw Self.refusal }

    private static var refusal: JobStoreError {
        JobStoreError(.invalidState, "a recording can't be changed; use the store's own effects for that")
    }
}
