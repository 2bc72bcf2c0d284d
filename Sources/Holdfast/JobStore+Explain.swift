// Asking a store why a job is not running.

public import HoldfastBytes
package import HoldfastEngine

extension JobStore {
    /// Says why a job is not running: paused, delayed, behind others, leased already, dead, or finished.
    ///
    /// - Returns: What was true when the store was asked; `nil` when there is no such job, or it finished and
    ///   compaction has dropped it.
    /// - Throws: `.corrupt` when its record can't be read; `.closed` or the store's failure.
    /// - Complexity: O(lanes · log n).
    public func explain(_ id: JobID) async throws(JobStoreError) -> JobExplanation? {
        try await core.submitAsync(ExplainOperation(id: id)).value
    }

    /// Explains a job as of now.
    package func submitExplain(_ id: JobID) -> Pending<JobExplanation?> { core.submit(ExplainOperation(id: id)) }
}

/// A look at what keeps a job.
struct ExplainOperation: StoreOperation {
    let id: JobID

    var access: OperationAccess { .reads }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<JobExplanation?> {
        if let explanation = JobExplanation(id, in: core.state, at: now) { return .value(explanation) }
        let (id, last, state) = (id, core.state.lastSequence, core.state)
        return .deferred { () throws(JobStoreError) -> JobExplanation? in
            let records = try core.records(of: id, through: last)
            return JobExplanation(id, finishedBy: records, in: state, at: now)
        }
    }
}

extension JobExplanation {
    /// Explains a job that is not in the state any more by its records; `nil` when they don't begin with its enqueue.
    package init?(_ id: JobID, finishedBy records: [Record], in state: QueueState, at now: Timestamp) {
        guard let first = records.first, first.sequence == id.sequence, case .enqueue(let enqueue) = first.mutation
        else { return nil }
        var end = Reason.completed
        for record in records {
            switch record.mutation {
            case .cancel: end = .cancelled
            case .expire(.deadLetter): end = .dropped
            default: break
            }
        }
        self.init(id, enqueue.lane, finishedBy: end, in: state, at: now)
    }
}
