// What follows from the terms of a job and of its queue when an attempt begins, goes on or ends. The job's own come
// first; what it does not say, its queue does.

internal import HoldfastBytes

extension QueueState {
    func ownTerms(of job: UInt64, _ entry: JobEntry) -> JobTerms? {
        entry.flags.contains(.hasTerms) ? termsOfJobs[job] : nil
    }

    private func queueTerms(of entry: JobEntry) -> QueueTerms { table.queues[table.lanes[entry.lane].queue].terms }

    /// The latest end of an attempt that begins at `now`; `nil` when it has none.
    func latestEnd(of job: UInt64, _ entry: JobEntry?, from now: Timestamp) -> Timestamp? {
        guard let entry, let limit = ownTerms(of: job, entry)?.timeLimit else { return nil }
        return now.advanced(byMilliseconds: limit)
    }

    /// Whether it is the time limit that the lease under way is about to end by, not the lease's length.
    func endsByTimeLimit(_ job: UInt64, _ entry: JobEntry) -> Bool {
        entry.flags.contains(.hasTerms) && mustEndBy[job] == entry.deadline
    }

    /// Why the job is dead if the attempt under way ends without a report; `nil` when it is tried again.
    func deathByCrash(_ job: UInt64, _ entry: JobEntry) -> DeadReason? {
        let most = ownTerms(of: job, entry)?.crashMax ?? queueTerms(of: entry).crashMax
        if let most, Int(entry.crashes) + 1 >= most { return .poison }
        return hasUsedUpAttempts(entry) ? .attemptsUsedUp : nil
    }

    /// Why the job is dead if the attempt under way fails with an error of `errorClass`; `nil` when it is tried again.
    func deathByFailure(_ job: UInt64, _ entry: JobEntry, _ errorClass: String?) -> DeadReason? {
        if hasUsedUpAttempts(entry) { return .attemptsUsedUp }
        guard let errorClass else { return nil }
        let isFinal =
            queueTerms(of: entry).finalErrors.contains(errorClass)
            || ownTerms(of: job, entry)?.finalErrors.contains(errorClass) ?? false
        return isFinal ? .finalError : nil
    }

    func hasUsedUpAttempts(_ entry: JobEntry) -> Bool { entry.attempt >= table.lanes[entry.lane].maxAttempts }

    /// How long it waits after the attempt under way has failed, in milliseconds.
    func retryDelay(of job: UInt64, _ entry: JobEntry) -> Int64 {
        let retry = ownTerms(of: job, entry)?.retry ?? queueTerms(of: entry).retry
        return retry.delayMilliseconds(job: JobID(job), attempt: entry.attempt)
    }
}
