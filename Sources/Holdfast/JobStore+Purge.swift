// Emptying a queue: its dead letters, or all that nobody works on. A purge looks once at what there is and then cancels
// that, a bounded number of jobs in each commit, so that others get their turn; what is leased meanwhile, or moved out
// of the queue, is left alone, and what is added meanwhile stays.

internal import HoldfastBytes
internal import HoldfastEngine

/// Which jobs a purge cancels.
public struct PurgeStates: OptionSet, Hashable, Sendable {
    /// One bit for each state.
    public let rawValue: UInt8

    /// Creates a set from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Jobs that may be leased.
    public static let ready = PurgeStates(rawValue: 1)
    /// Jobs that wait for their time.
    public static let scheduled = PurgeStates(rawValue: 2)
    /// Dead letters.
    public static let dead = PurgeStates(rawValue: 4)
    /// All that nobody works on.
    public static let all: PurgeStates = [.ready, .scheduled, .dead]

    var states: Set<JobState> {
        var states: Set<JobState> = []
        if contains(.ready) { states.insert(.ready) }
        if contains(.scheduled) { states.insert(.scheduled) }
        if contains(.dead) { states.insert(.dead) }
        return states
    }
}

/// How many jobs a purge cancelled, or would cancel, by the state they were in.
public struct PurgeResult: Hashable, Sendable {
    /// Jobs that could have been leased.
    public internal(set) var ready = 0
    /// Jobs that waited for their time.
    public internal(set) var scheduled = 0
    /// Dead letters.
    public internal(set) var dead = 0

    /// All of them.
    public var count: Int { ready + scheduled + dead }

    mutating func add(_ state: JobState) {
        switch state {
        case .ready: ready += 1
        case .scheduled: scheduled += 1
        case .dead: dead += 1
        default: assertionFailure("only what nobody works on is purged")
        }
    }
}

extension JobStore {
    /// Cancels the jobs of a queue that are in one of `states`: its dead letters, unless more is asked for. Jobs that
    /// are leased, or become so meanwhile, are left alone, and so are jobs that are added meanwhile.
    ///
    /// - Returns: How many, by the state they were in.
    /// - Throws: `.badRequest`, `.noSpace`, `.closed` or the store's failure; some may be cancelled then.
    /// - Postcondition: All of them are durable; they were cancelled in several commits when there are many.
    /// - Complexity: O(n log n) in the number of jobs cancelled, after one look at the queue's groups.
    public func purge(queue: String, states: PurgeStates = .dead) async throws(JobStoreError) -> PurgeResult {
        var operation = PurgeOperation(queue: queue, states: states)
        while true {
            let step = try await core.submitAsync(operation).value
            guard let rest = step.rest else { return step.result }
            operation.rest = rest
            operation.result = step.result
        }
    }

    /// Counts what `purge` with the same arguments would cancel now, and changes nothing.
    ///
    /// - Throws: `.badRequest`, `.closed` or the store's failure.
    public func purgeable(queue: String, states: PurgeStates = .dead) async throws(JobStoreError) -> PurgeResult {
        try await core.submitAsync(PurgeCountOperation(queue: queue, states: states)).value
    }

    /// Decides a purge, in several commits when there are many jobs; blocks only for room in the journal.
    package func submitPurge(queue: String, states: PurgeStates = .dead) -> Pending<PurgeResult> {
        var operation = PurgeOperation(queue: queue, states: states)
        while true {
            let pending = core.submit(operation)
            guard case .value(let step) = pending.outcome, let rest = step.rest else {
                return pending.map { $0.result }
            }
            operation.rest = rest
            operation.result = step.result
        }
    }

    /// Counts what a purge would cancel.
    package func submitPurgeable(queue: String, states: PurgeStates = .dead) -> Pending<PurgeResult> {
        core.submit(PurgeCountOperation(queue: queue, states: states))
    }
}

extension BlockingJobStore {
    /// Cancels the jobs of a queue that are in one of `states` and returns how many.
    public func purge(queue: String, states: PurgeStates = .dead) throws(JobStoreError) -> PurgeResult {
        try store.submitPurge(queue: queue, states: states).valueBlocking()
    }

    /// Counts what `purge` with the same arguments would cancel now, and changes nothing.
    public func purgeable(queue: String, states: PurgeStates = .dead) throws(JobStoreError) -> PurgeResult {
        try store.submitPurgeable(queue: queue, states: states).valueBlocking()
    }
}

/// Cancels a bounded number of jobs.
private struct PurgeOperation: StoreOperation {
    /// How far it got.
    struct Step: Sendable {
        let result: PurgeResult
        /// What is left to do; `nil` at the end.
        let rest: WaitingJobs?
    }
    let queue: String
    let states: PurgeStates
    /// `nil` before the first step.
    var rest: WaitingJobs?
    /// Of the steps before.
    var result = PurgeResult()

    private static let stepMax = 1_000

    var access: OperationAccess { .settles }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) { try Limits.checkName(queue, "queue") }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Step> {
        let states = states.states
        // The operation's own copy goes, so that taking jobs out copies nothing.
        var jobs = rest ?? core.state.waitingJobs(queue: queue, states: states)
        rest = nil
        for index in 0..<Self.stepMax {
            if index > 0, !core.hasRoomForMore(isSettling: true) { break }
            guard let job = jobs.popFirst() else { return .value(Step(result: result, rest: nil)) }
            // Others had their turn since the look at the queue.
            guard let state = core.state.state(of: job.id, in: queue, lane: job.lane, at: now), states.contains(state)
            else {
                continue
            }
            _ = try core.perform(.cancel(job: job.id, lane: job.lane), at: now)
            result.add(state)
        }
        return .value(Step(result: result, rest: jobs))
    }
}

/// Counts what a purge would cancel.
private struct PurgeCountOperation: StoreOperation {
    let queue: String
    let states: PurgeStates

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) { try Limits.checkName(queue, "queue") }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<PurgeResult> {
        var result = PurgeResult()
        for row in core.state.queueCounts(at: now) where row.queue.hasSameBytes(as: queue) {
            if states.contains(.ready) { result.ready = row.counts.ready }
            if states.contains(.scheduled) { result.scheduled = row.counts.scheduled }
            if states.contains(.dead) { result.dead = row.counts.dead }
        }
        return .value(result)
    }
}

extension QueueState {
    /// Where a job of `lane` is in its life; `nil` once it has ended or was moved out of the queue. A job without a
    /// lane has an entry.
    fileprivate func state(of job: JobID, in queue: String, lane: Lane?, at now: Timestamp) -> JobState? {
        if let status = status(of: job, at: now) { return status.lane.queue == queue ? status.state : nil }
        guard let lane, isPlainReady(job, lane: lane) else { return nil }
        return .ready
    }
}
