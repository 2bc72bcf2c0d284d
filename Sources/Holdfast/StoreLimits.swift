// How much a whole store takes: recorded, so that it holds for whoever opens the store, and that what is refused
// follows from the log alone.

internal import HoldfastBytes
package import HoldfastEngine

/// Limits on what waits or runs in a whole store; dead jobs don't count.
public struct StoreLimits: Hashable, Sendable {
    /// How many unfinished jobs it takes: 1 to 2^40; `nil` for any number.
    public var jobs: Int?
    /// How many bytes their payloads may have together, as they are stored: 1 to 2^40; `nil` for any number. Counted
    /// are payloads enqueued, or given in an edit, since this was set.
    public var payloadBytes: Int?

    /// Creates limits.
    public init(jobs: Int? = nil, payloadBytes: Int? = nil) { (self.jobs, self.payloadBytes) = (jobs, payloadBytes) }

    package init(_ capacity: StoreCapacity) { self.init(jobs: capacity.jobs, payloadBytes: capacity.payloadBytes) }
}

/// What a store takes, and what it holds of that.
public struct StoreLoad: Hashable, Sendable {
    /// What it takes.
    public let limits: StoreLimits
    /// Unfinished jobs, dead ones not counted.
    public let jobs: Int
    /// Bytes of payloads, as far as they count; 0 where they are not limited.
    public let payloadBytes: Int

    /// Creates a load, as a store would return it.
    public init(limits: StoreLimits, jobs: Int, payloadBytes: Int) {
        (self.limits, self.jobs, self.payloadBytes) = (limits, jobs, payloadBytes)
    }
}

extension JobStore {
    /// Limits what the store takes in all. An enqueue beyond it is refused as `.queueFull`, or waits if it is told to.
    /// What is there already stays. Nothing is recorded when the limits are those already.
    ///
    /// - Throws: `.badRequest` for a limit outside 1 to 2^40; `.noSpace`, `.closed` or the store's failure.
    /// - Postcondition: The limits are durable, and hold for whoever opens the store later.
    public func configure(_ limits: StoreLimits) async throws(JobStoreError) {
        _ = try await core.submitAsync(LimitsOperation(limits)).value
    }

    /// Returns what the store takes in all, and how much of that it holds.
    ///
    /// - Throws: `.closed` or the store's failure.
    /// - Complexity: O(queues).
    public func load() async throws(JobStoreError) -> StoreLoad { try await core.submitAsync(LoadOperation()).value }

    /// Decides a change of limits, of which 0 takes one away. Blocks only for room in the journal.
    package func submitConfigure(_ settings: StoreSettings) -> Pending<StoreLoad> {
        core.submit(LimitsOperation(settings))
    }

    /// Looks at what the store takes and holds.
    package func submitLoad() -> Pending<StoreLoad> { core.submit(LoadOperation()) }
}

extension BlockingJobStore {
    /// Limits what the store takes in all.
    public func configure(_ limits: StoreLimits) throws(JobStoreError) {
        _ = try store.core.submit(LimitsOperation(limits)).valueBlocking()
    }

    /// Returns what the store takes in all, and how much of that it holds.
    public func load() throws(JobStoreError) -> StoreLoad { try store.submitLoad().valueBlocking() }
}

/// Changes the store's limits.
private struct LimitsOperation: StoreOperation {
    private let settings: StoreSettings
    /// Whether 0 is no limit that may be asked for.
    private let refusesZero: Bool

    var access: OperationAccess { .changes }

    init(_ settings: StoreSettings) { (self.settings, refusesZero) = (settings, false) }

    init(_ limits: StoreLimits) {
        refusesZero = limits.jobs == 0 || limits.payloadBytes == 0
        settings = StoreSettings(jobs: limits.jobs ?? 0, payloadBytes: limits.payloadBytes ?? 0)
    }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        for (limit, name) in [(settings.jobs, "jobs"), (settings.payloadBytes, "payload_bytes")] {
            guard let limit, !(0...QueueTerms.limitMax).contains(limit) || refusesZero && limit == 0 else { continue }
            throw JobStoreError(.badRequest, "`\(name)` is \(limit); give 1 to 2^40, or nothing for no limit")
        }
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<StoreLoad> {
        _ = try core.perform(.configureStore(settings), at: now)
        return .value(StoreLoad(core.state))
    }
}

/// Looks at what the store takes and holds.
private struct LoadOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<StoreLoad> {
        .value(StoreLoad(core.state))
    }
}

extension StoreLoad {
    fileprivate init(_ state: borrowing QueueState) {
        self.init(
            limits: StoreLimits(state.storeCapacity), jobs: state.unfinishedCount,
            payloadBytes: state.storeLoad?.payloadBytes ?? 0)
    }
}
