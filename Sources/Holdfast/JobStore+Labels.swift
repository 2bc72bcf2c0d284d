// Labels and owners of jobs: what they may be, and cancelling all jobs that have some.

internal import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Cancels the jobs that have all of `labels` and belong to `owner`, are in one of `states`, and in the queue if
    /// one is given. Jobs that are leased, or become so meanwhile, are left alone, and so are jobs that are added
    /// meanwhile.
    ///
    /// - Returns: How many, by the state they were in.
    /// - Throws: `.badRequest`, also when neither labels nor an owner are given: `purge` is for all of a queue;
    ///   `.noSpace`, `.closed` or the store's failure; some may be cancelled then.
    /// - Postcondition: All of them are durable; they were cancelled in several commits when there are many.
    /// - Complexity: O(k · log n) in the jobs that have the rarest label, and O(lanes) for each ready one.
    public func cancelJobs(
        labels: [String: String] = [:], owner: String? = nil, queue: String? = nil, states: PurgeStates = .all
    ) async throws(JobStoreError) -> PurgeResult {
        var operation = LabelCancelOperation(labels: labels, owner: owner, queue: queue, states: states)
        while true {
            let step = try await core.submitAsync(operation).value
            guard step.goesOn else { return step.result }
            operation.go(on: step)
        }
    }

    /// Decides such a cancellation, in several commits when there are many jobs; blocks only for room in the journal.
    package func submitCancelJobs(
        labels: [String: String], owner: String?, queue: String?, states: PurgeStates
    ) -> Pending<PurgeResult> {
        var operation = LabelCancelOperation(labels: labels, owner: owner, queue: queue, states: states)
        while true {
            let pending = core.submit(operation)
            guard case .value(let step) = pending.outcome, step.goesOn else { return pending.map { $0.result } }
            operation.go(on: step)
        }
    }
}

extension BlockingJobStore {
    /// Cancels the jobs that have all of `labels` and belong to `owner`, and returns how many.
    public func cancelJobs(
        labels: [String: String] = [:], owner: String? = nil, queue: String? = nil, states: PurgeStates = .all
    ) throws(JobStoreError) -> PurgeResult {
        try store.submitCancelJobs(labels: labels, owner: owner, queue: queue, states: states).valueBlocking()
    }
}

/// Cancels a bounded number of jobs with labels.
private struct LabelCancelOperation: StoreOperation {
    /// How far it got.
    struct Step: Sendable {
        var result: PurgeResult
        /// The last job that was looked at.
        var last: JobID
        /// No job behind it was there at the beginning.
        let end: JobID
        var goesOn = true
    }
    private let labels: [String: String]
    private let owner: String?
    private let queue: String?
    private let states: PurgeStates
    private var step: Step?

    private static let stepMax = 1_000

    init(labels: [String: String], owner: String?, queue: String?, states: PurgeStates) {
        (self.labels, self.owner, self.queue, self.states) = (labels, owner, queue, states)
    }

    mutating func go(on step: Step) { self.step = step }

    var access: OperationAccess { .settles }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        if let queue { try Limits.checkName(queue, "queue") }
        guard !(try Limits.jobLabels(labels, owner: owner)).isEmpty else {
            throw JobStoreError(
                .badRequest, "neither `labels` nor `owner` is given; give one, or purge a queue to cancel all of it")
        }
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Step> {
        let wanted = try Limits.jobLabels(labels, owner: owner)
        var step = step ?? Step(result: PurgeResult(), last: JobID(0), end: JobID(core.state.lastSequence))
        let ids = core.state.unfinishedJobs(
            labelled: wanted, queue: queue, state: nil, after: step.last, limit: Self.stepMax, at: now)
        step.goesOn = ids.count == Self.stepMax
        for (index, id) in ids.enumerated() {
            guard id <= step.end else {
                step.goesOn = false
                break
            }
            if index > 0, !core.hasRoomForMore(isSettling: true) {
                step.goesOn = true
                break
            }
            step.last = id
            let status = core.state.status(of: id, at: now)
            let state = status?.state ?? .ready
            guard states.states.contains(state) else { continue }
            let lane = status == nil ? core.state.plainLane(of: id) : nil
            _ = try core.perform(.cancel(job: id, lane: lane), at: now)
            step.result.add(state)
        }
        return .value(step)
    }
}

extension Limits {
    /// Returns labels and owner as the state has them.
    static func jobLabels(_ labels: [String: String], owner: String?) throws(JobStoreError) -> JobLabels {
        guard !labels.isEmpty || owner != nil else { return JobLabels() }
        guard labels.count <= JobLabels.countMax else {
            throw JobStoreError(
                .badRequest, "`labels` holds \(labels.count) labels; give at most \(JobLabels.countMax)")
        }
        for (name, value) in labels {
            try checkName(name, "labels")
            try checkName(value, "labels")
        }
        if let owner { try checkName(owner, "owner") }
        return JobLabels(labels.map { ($0.key, $0.value) }, owner: owner)
    }
}

extension EnqueueOptions {
    /// What the record says of labels and owner.
    func jobLabels() throws(JobStoreError) -> JobLabels { try Limits.jobLabels(labels, owner: owner) }
}

extension JobFilter {
    /// What is looked for, of a filter that was checked.
    var jobLabels: JobLabels { JobLabels(labels.map { ($0.key, $0.value) }, owner: owner) }
}

extension [String: String] {
    /// Labels by name. Of names that Swift takes for one, whoever wrote them, one is left.
    init(_ labels: JobLabels) {
        self.init(labels.named.map { ($0.name, $0.value) }) { first, _ in first }
    }
}
