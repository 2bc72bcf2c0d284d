// Changing code under work that is under way: which version of a change a piece of work began with is recorded once,
// and holds for it ever after. A gate is an effect like any other, with a tag of its own.

internal import HoldfastBytes
internal import HoldfastEngine

/// Which version of a change a piece of work goes by.
public struct VersionDecision: Hashable, Sendable {
    /// The change.
    public let change: String
    /// The version recorded first.
    public let version: Int
    /// Whether it was recorded by this call.
    public let isNew: Bool

    /// Creates a decision, as a recording would give it.
    public init(change: String, version: Int, isNew: Bool) {
        self.change = change
        self.version = version
        self.isNew = isNew
    }
}

/// What a branch by version works with.
public struct VersionContext: Sendable {
    /// The version, and whether this is the first time.
    public let decision: VersionDecision
    /// The steps of the branch; those of other versions have the same names and other values.
    public let effects: Effects
}

/// What is done for some of the versions of a change.
public struct VersionBranch<Value>: Sendable {
    fileprivate let bounds: ClosedRange<Int>?
    fileprivate let matches: @Sendable (Int) -> Bool
    fileprivate let body: @Sendable (VersionContext) async throws -> Value

    /// For one version.
    public static func version(
        _ version: Int, _ body: @escaping @Sendable (VersionContext) async throws -> Value
    ) -> Self { range(version...version, body) }

    /// For several versions in a row.
    public static func range(
        _ range: ClosedRange<Int>, _ body: @escaping @Sendable (VersionContext) async throws -> Value
    ) -> Self { Self(bounds: range, matches: { range.contains($0) }, body: body) }

    /// For the versions that `predicate` accepts.
    public static func when(
        _ predicate: @escaping @Sendable (Int) -> Bool,
        _ body: @escaping @Sendable (VersionContext) async throws -> Value
    ) -> Self { Self(bounds: nil, matches: predicate, body: body) }

    /// For every version.
    public static func otherwise(_ body: @escaping @Sendable (VersionContext) async throws -> Value) -> Self {
        Self(bounds: nil, matches: { _ in true }, body: body)
    }
}

extension Effects {
    /// What is recorded of a gate.
    package static let versionTag = "holdfast.version"

    /// Returns the version of `change` that this work goes by: the one recorded, or else `initial`, which is recorded.
    ///
    /// - Parameters:
    ///   - min: The oldest version that the code still has.
    ///   - max: The newest.
    ///   - initial: What work that begins now goes by; the newest unless given.
    /// - Throws: `.versionConflict` when the version recorded, or `initial`, is not within `min...max`, and
    ///   `.effectMismatch` when something else is recorded under the name; `.badRequest` for `min` above `max`;
    ///   `.leaseLost`, `.noSpace`, `.closed` or the store's failure.
    public func require(
        change: String, min: Int, max: Int, initial: Int? = nil
    ) async throws(JobStoreError) -> VersionDecision {
        guard min <= max else {
            throw JobStoreError(.badRequest, "`min` is \(min), above `max`, \(max), of change \(change); swap them")
        }
        let first = initial ?? max
        guard (min...max).contains(first) else { throw Self.conflict(change, first, min, max, isRecorded: false) }
        let name = try name(of: change)
        let recording = EffectRecording(value: Array("\(first)".utf8), tag: Self.versionTag, isFailure: false)
        let recorded = try await record(name, recording)
        guard recorded.tag == Self.versionTag, let version = Int(String(decoding: recorded.value, as: UTF8.self))
        else {
            throw JobStoreError(
                .effectMismatch,
                "effect `\(name.key)` of `\(scope)` is no version; give the change another name, or remove the effect")
        }
        guard (min...max).contains(version) else { throw Self.conflict(change, version, min, max, isRecorded: true) }
        return VersionDecision(change: change, version: version, isNew: !recorded.isReplayed)
    }

    /// Does what the first of `branches` that fits the version of `change` says.
    ///
    /// - Throws: As `require(change:min:max:initial:)`; `.badRequest` for a branch of versions that are not within
    ///   `min...max`; `.versionConflict` when no branch fits; what the branch throws.
    public func branch<Value>(
        _ change: String, min: Int, max: Int, initial: Int? = nil, _ branches: VersionBranch<Value>...
    ) async throws -> Value {
        for bounds in branches.compactMap(\.bounds) where bounds.lowerBound < min || bounds.upperBound > max {
            throw JobStoreError(
                .badRequest, "change \(change) has a branch for \(bounds), and versions \(min) to \(max); leave it out")
        }
        let decision = try await require(change: change, min: min, max: max, initial: initial)
        guard let branch = branches.first(where: { $0.matches(decision.version) }) else {
            throw JobStoreError(
                .versionConflict,
                "change \(change) has no branch for version \(decision.version), by which this work goes; keep one")
        }
        let effects = prefixed("\(change)::v\(decision.version)::")
        return try await branch.body(VersionContext(decision: decision, effects: effects))
    }

    private static func conflict(
        _ change: String, _ version: Int, _ min: Int, _ max: Int, isRecorded: Bool
    ) -> JobStoreError {
        JobStoreError(
            .versionConflict,
            isRecorded
                ? "this work goes by version \(version) of change \(change), and the code has \(min) to \(max); run "
                    + "it with code that has it"
                : "version \(version) of change \(change) is to begin with, and the code has \(min) to \(max)")
    }
}
