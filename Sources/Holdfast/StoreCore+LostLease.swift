// What became of a job whose worker comes too late. The state knows nothing of jobs that have ended; their records tell
// whether somebody cancelled it, and when. They are read like anything else that only the log knows: after the commit,
// outside the lock, and only for a refusal.

internal import HoldfastBytes
internal import HoldfastEngine

extension StoreCore {
    /// Returns the outcome of a refused operation: one that looks up how the job ended whose lease was lost, if it has.
    /// The caller holds the lock.
    func refused<Value>(_ error: JobStoreError) -> Pending<Value>.Outcome {
        guard let lost = error.lostLease, lost.state == nil else { return .refused(error) }
        let last = state.lastSequence
        return .deferred { () throws(JobStoreError) -> Value in throw self.told(error, of: lost.id, through: last) }
    }

    /// Returns the error with how the job ended, if the log still tells; as it is otherwise.
    private func told(_ error: JobStoreError, of id: JobID, through last: SequenceNumber) -> JobStoreError {
        // The refusal stands, whatever can be read.
        guard let records = try? records(of: id, through: last), let first = records.first,
            case .enqueue(let enqueue) = first.mutation,
            let job = JobInfo(id, enqueue, enqueuedAt: first.time, finishedBy: records)
        else { return error }
        let message =
            switch job.state {
            case .cancelled: "job \(id) was cancelled; stop working on it"
            default: "job \(id) has ended: it was acked; there is nothing to settle"
            }
        return JobStoreError(code: error, message, LostLease(ended: job))
    }
}

extension JobStoreError {
    fileprivate init(code error: JobStoreError, _ message: String, _ lost: LostLease) {
        self.init(
            error.code, "the lease is lost: " + message, index: error.index, oldest: error.oldest, lostLease: lost)
    }
}
