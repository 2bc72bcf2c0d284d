// Jobs that wait for other jobs, as programs speak of them. How a job ended of which the state knows nothing is read
// from its records, outside the lock, before the enqueue that names it is decided.

public import HoldfastBytes
package import HoldfastEngine
internal import HoldfastLog

/// What becomes of a job when one that it waits for dies or is cancelled.
public enum DependencyFailure: String, Hashable, Sendable, CaseIterable {
    /// It waits on for a dead job, which may be redriven and complete after all. A cancelled one never completes: then
    /// the job is dead itself, with the reason `.dependency`.
    case wait
    /// It runs once all have ended, however they did.
    case run
    /// It is cancelled.
    case cancel
    /// It is dead, with the reason `.dependency`.
    case die
}

extension JobInfo {
    /// What a job waits for, or waited for.
    public struct Dependencies: Hashable, Sendable {
        /// How many jobs it waits for.
        public var pending = 0
        /// The first of those, 100 at most, by id.
        public var waitingFor: [JobID] = []
        /// How many have completed.
        public var done = 0
        /// How many died, if that is an end for it: it runs however they end.
        public var dead = 0
        /// How many were cancelled.
        public var cancelled = 0
        /// What becomes of it when one fails.
        public var ifOneFails = DependencyFailure.wait
        /// Whether it waits for `release(_:)`, too.
        public var isHeld = false

        /// Creates what says nothing.
        public init() {}

        package init(_ status: DependencyStatus) {
            pending = status.pendingCount
            waitingFor = status.pending
            (done, dead, cancelled) = (status.done, status.dead, status.cancelled)
            ifOneFails = DependencyFailure(status.policy)
            isHeld = status.isHeld
        }
    }
}

extension DependencyFailure {
    package init(_ policy: DependencyPolicy) {
        self =
            switch policy {
            case .wait: .wait
            case .run: .run
            case .cancel: .cancel
            case .die: .die
            }
    }

    /// As records have it.
    package var policy: DependencyPolicy {
        switch self {
        case .wait: .wait
        case .run: .run
        case .cancel: .cancel
        case .die: .die
        }
    }
}

extension JobStore {
    /// Lets a job go on that was enqueued with `hold`: from here on it waits only for the jobs that it was to wait for
    /// so far, and no more can be added once those have ended.
    ///
    /// - Throws: `.notFound` for an unknown job; `.invalidState` for one that is not held; `.noSpace`, `.closed` or the
    ///   store's failure. Nothing is changed then.
    /// - Postcondition: The release is durable.
    public func release(_ id: JobID) async throws(JobStoreError) {
        try await core.submitAsync(Self.releaseOperation(id)).value
    }

    /// Decides a release; blocks only for room in the journal.
    package func submitRelease(_ id: JobID) -> Pending<Void> { core.submit(Self.releaseOperation(id)) }

    private static func releaseOperation(_ id: JobID) -> CommandOperation<Void> {
        CommandOperation(.changes) {
            .release(job: id)
        } value: { _ in
        }
    }
}

extension BlockingJobStore {
    /// Lets a job go on that was enqueued with `hold`.
    public func release(_ id: JobID) throws(JobStoreError) { try store.submitRelease(id).valueBlocking() }
}

// MARK: - Deciding

/// How a job ended that is not in the state.
enum JobEnding: Hashable, Sendable {
    case completed, cancelled
    /// Nothing is left of it: compaction has dropped its records.
    case forgotten
    /// That number is not a job's.
    case noJob
}

/// What an enqueue says of other jobs, ready to be decided, or which of them have to be looked up before.
enum ResolvedDependencies: Sendable {
    case resolved(EnqueueDependencies?)
    case needsEndings([JobID])
}

extension EnqueueOptions {
    /// Whether it names jobs to wait for.
    var namesJobs: Bool { !after.isEmpty || !afterIndex.isEmpty }

    /// About how many bytes its record takes for the jobs that it names.
    var dependencyBytes: Int { (after.count + afterIndex.count) * 8 }

    /// Whether it says anything of other jobs.
    var hasDependencies: Bool { namesJobs || hold || before != nil }

    /// Checks what can be checked without the state.
    ///
    /// - Parameter index: The place in a batch; `nil` outside.
    func validateDependencies(at index: Int? = nil) throws(JobStoreError) {
        guard after.count + afterIndex.count <= RecordLimits.dependenciesMax else {
            throw JobStoreError(
                .badRequest,
                "`after` names \(after.count + afterIndex.count) jobs; give at most \(RecordLimits.dependenciesMax), "
                    + "or let further ones say `before`")
        }
        guard namesJobs || hold || ifOneFails == .wait else {
            throw JobStoreError(.badRequest, "`if_one_fails` is given without `after` or `hold`; give one of those too")
        }
        guard let place = index else {
            guard afterIndex.isEmpty else {
                throw JobStoreError(
                    .badRequest, "`after_index` is given outside a batch; name the jobs by their ids in `after`")
            }
            return
        }
        if let wrong = afterIndex.first(where: { $0 < 0 || $0 >= place }) {
            throw JobStoreError(
                .badRequest, "`after_index` names operation \(wrong) of the batch; give earlier ones, from 0 on")
        }
    }

    /// Returns what the record says of other jobs. The caller holds the lock.
    ///
    /// - Parameters:
    ///   - indexed: The jobs that `afterIndex` stands for.
    ///   - endings: What was looked up.
    /// - Throws: `.notFound` for what is no job, `.invalidState` for one that was cancelled, unless that is no matter.
    func dependencies(
        in state: QueueState, indexed: [JobID] = [], _ endings: [JobID: JobEnding]
    ) throws(JobStoreError) -> ResolvedDependencies {
        var result = EnqueueDependencies(policy: ifOneFails.policy, isHeld: hold, before: before)
        if let unknown = after.first(where: { $0.rawValue == 0 || $0.sequence > state.lastSequence }) {
            throw StoreCore.noSuchJob(unknown)
        }
        let named = Set(after + indexed).sorted()
        let finished = state.finished(among: named)
        let missing = finished.filter { endings[$0] == nil }
        guard missing.isEmpty else { return .needsEndings(missing) }
        for job in finished {
            switch endings[job] {
            case .noJob, nil: throw StoreCore.noSuchJob(job)
            case .completed, .forgotten: result.done += 1
            case .cancelled where ifOneFails == .run: result.cancelled += 1
            case .cancelled:
                throw JobStoreError(
                    .invalidState,
                    "job \(job), which is to be waited for, was cancelled or let go; leave it out, or run however it "
                        + "ended", job: job)
            }
        }
        let ended = Set(finished)
        result.after = named.filter { !ended.contains($0) }
        return .resolved(result)
    }
}

extension StoreCore {
    /// Reads how jobs ended that are not in the state. Blocks until their ends are durable; the caller does not hold
    /// the lock.
    func endings(of jobs: [JobID]) throws(JobStoreError) -> [JobID: JobEnding] {
        let (ticket, last) = lock.withLock { (log.ticket, state.lastSequence) }
        do {
            try log.waitBlocking(for: ticket)
            let records = LogRecords(log: log)
            var endings: [JobID: JobEnding] = [:]
            for job in jobs { endings[job] = try JobEnding(of: job, records, through: last) }
            return endings
        } catch { throw JobStoreError(error) }
    }
}

extension JobEnding {
    fileprivate init(of job: JobID, _ records: LogRecords, through last: SequenceNumber) throws(LogError) {
        if let first = try records.record(job.sequence) {
            guard case .enqueue = first.mutation else {
                self = .noJob
                return
            }
        }
        for record in try records.records(of: job, through: last).reversed() {
            switch record.mutation {
            case .ack: self = .completed
            // A dead letter that was let go never completes either.
            case .cancel, .expire(.deadLetter): self = .cancelled
            default: continue
            }
            return
        }
        self = .forgotten
    }
}
