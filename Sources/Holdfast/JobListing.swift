// A list of jobs: what the state knows is copied first, under the store's lock where it is a live one; the rest is read
// from the log.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Merges the unfinished jobs, which the state knows, with the finished ones, which only the log knows.
struct JobListing: Sendable {
    private struct Unfinished: Sendable {
        let id: JobID
        /// `nil` for a ready job without anything unusual.
        let status: JobStatus?
        /// Looked up where the enqueue record may be gone.
        let lane: Lane?
    }
    private let records: any PastRecords
    private let filter: JobFilter
    private let after: JobID
    private let last: SequenceNumber
    /// In id order; not more than the limit.
    private let unfinished: [Unfinished]
    /// Holds the id of every job that has not ended.
    private let live: SequenceBitmap

    /// Takes from `state` what it knows at `now`; the rest is in `records`.
    ///
    /// - Parameter isPast: Whether enqueue records of jobs in `state` may have been dropped.
    init(
        _ filter: JobFilter, of state: borrowing QueueState, at now: Timestamp, isPast: Bool, records: any PastRecords
    ) {
        self.records = records
        self.filter = filter
        after = filter.after ?? JobID(0)
        last = state.lastSequence
        live = state.neededRecords
        var unfinished: [Unfinished] = []
        if filter.state?.isFinished != true {
            let (wanted, labels) = (filter.state.flatMap(JobState.init), filter.jobLabels)
            let ids =
                labels.isEmpty
                ? state.unfinishedJobs(
                    queue: filter.queue, state: wanted, after: after, limit: filter.limit, at: now)
                : state.unfinishedJobs(
                    labelled: labels, queue: filter.queue, state: wanted, after: after, limit: filter.limit, at: now)
            for id in ids {
                unfinished.append(
                    Unfinished(
                        id: id, status: state.status(of: id, at: now), lane: isPast ? state.plainLane(of: id) : nil))
            }
        }
        self.unfinished = unfinished
    }

    /// Returns the jobs.
    func read() throws(LogError) -> [JobInfo] {
        var result: [JobInfo] = []
        for job in unfinished { if let info = try info(job) { result.append(info) } }
        if filter.state?.isFinished ?? true {
            result += try finished()
            result.sort { $0.id < $1.id }
        }
        if result.count > filter.limit { result.removeLast(result.count - filter.limit) }
        return result
    }

    private func info(_ job: Unfinished) throws(LogError) -> JobInfo? {
        // A job whose record is damaged is listed with what the state knows of it.
        var enqueued: (Enqueue, Timestamp)?
        do throws(LogError) { enqueued = try records.enqueue(of: job.id) } catch {
            guard error.code == .corrupt, job.status != nil else { throw error }
        }
        var info: JobInfo?
        if let status = job.status {
            info = try JobInfo(job.id, status, enqueued, from: records)
        } else if let (enqueue, time) = enqueued {
            info = JobInfo(job.id, enqueue, enqueuedAt: time, state: .ready)
        } else if let lane = job.lane {
            info = JobInfo(job.id, lane)
        }
        info?.payload = nil
        return info
    }

    /// Finds the jobs that ended.
    private func finished() throws(LogError) -> [JobInfo] {
        // When the list of unfinished jobs is full, what lies behind its end is cut off anyway.
        let isFull = unfinished.count == filter.limit
        let through = isFull ? unfinished[unfinished.count - 1].id.sequence : last
        let search = FinishedSearch(
            queue: filter.queue, state: filter.state, labels: filter.jobLabels, limit: filter.limit, through: through,
            live: live)
        return try records.finishedJobs(search, after: after.sequence, last: last)
    }
}
