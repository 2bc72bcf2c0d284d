// What became of a lease whose worker comes too late. The state knows where the job is and who has it; how the lease
// ended, and since when somebody else has the job, stands in its records. They are read like anything else that only
// the log knows: after the commit, outside the lock, never on a caller's executor, and only for a refusal.

internal import HoldfastBytes
internal import HoldfastEngine

extension StoreCore {
    /// Returns the outcome of a refused operation: for a lost lease one that looks up what became of it. The caller
    /// holds the lock.
    func refused<Value>(_ error: JobStoreError) -> Pending<Value>.Outcome {
        guard let lost = error.lostLease else { return .refused(error) }
        let last = state.lastSequence
        return .deferred { () throws(JobStoreError) -> Value in throw self.told(error, of: lost, through: last) }
    }

    /// Returns the error with how the lease ended, if the log still tells; as it is otherwise.
    private func told(_ error: JobStoreError, of lease: LostLease, through last: SequenceNumber) -> JobStoreError {
        var lost = lease
        let first = SequenceNumber(max(lease.token.rawValue, lease.id.rawValue))
        // The refusal stands, whatever can be read.
        guard let records = try? LogRecords(log: log).records(of: lease.id, from: first, through: last) else {
            return error
        }
        if !lost.learn(from: records), lost.end == nil, isNoLease(lease, last) { lost.end = .neverHeld }
        if lost == lease { return error }
        let tail = lost.sentence.map { " (\($0))" } ?? ""
        let message: String
        switch lost.state {
        case .cancelled: message = "the lease is lost: job \(lost.id) was cancelled; stop working on it\(tail)"
        case .completed:
            message = "the lease is lost: job \(lost.id) has ended: it was acked; there is nothing to settle\(tail)"
        default: message = error.message + tail
        }
        return JobStoreError(error.code, message, index: error.index, oldest: error.oldest, lostLease: lost)
    }

    /// Whether the token can't ever have been a lease of the job, of which there is no record at that place.
    private func isNoLease(_ lease: LostLease, _ last: SequenceNumber) -> Bool {
        let token = lease.token.rawValue
        if token <= lease.id.rawValue || token > last.rawValue { return true }
        // One that compaction has dropped says nothing.
        guard let record = try? record(SequenceNumber(token)) else { return false }
        if case .lease(let grant) = record.mutation { return grant.job != lease.id }
        return true
    }
}
