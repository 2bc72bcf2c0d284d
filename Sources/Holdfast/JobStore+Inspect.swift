// Looking at jobs. What the state knows is copied under the lock; the rest is read from the log after the commit that
// covers the copy, so an answer is as durable as any other.

public import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Returns what is known of a job.
    ///
    /// - Returns: `nil` when there is no such job, or it finished and compaction has dropped it.
    /// - Throws: `.corrupt` when its record can't be read; `.closed` or the store's failure.
    public func job(_ id: JobID) async throws(JobStoreError) -> JobInfo? {
        try await core.submitAsync(JobOperation(id: id)).value()
    }

    /// Lists jobs in the order of their ids, without payloads. Finished jobs are listed as long as the log holds them.
    ///
    /// - Throws: `.badRequest`, `.corrupt`, `.closed` or the store's failure.
    /// - Complexity: O(limit) reads for unfinished jobs. Finished ones take two walks over the log at most, from
    ///   `filter.after` to where the last of them ended, whatever the limit.
    public func jobs(_ filter: JobFilter = JobFilter()) async throws(JobStoreError) -> [JobInfo] {
        try await core.submitAsync(JobListOperation(filter: filter)).value()
    }

    /// Returns every record of a job that the log still holds, oldest first.
    ///
    /// - Throws: `.corrupt`, `.closed` or the store's failure.
    public func history(of id: JobID) async throws(JobStoreError) -> [HistoryRecord] {
        try await core.submitAsync(HistoryOperation(id: id)).value()
    }
}

// Each blocks only for room in the journal, and for reading one record.
extension JobStore {
    /// Looks at a job as of now.
    package func submitJob(_ id: JobID) -> Pending<JobInfo?> { core.submit(JobOperation(id: id)) }

    /// Lists jobs as of now.
    package func submitJobs(_ filter: JobFilter) -> Pending<[JobInfo]> {
        core.submit(JobListOperation(filter: filter))
    }

    /// Returns a job's records as of now.
    package func submitHistory(of id: JobID) -> Pending<[HistoryRecord]> { core.submit(HistoryOperation(id: id)) }
}

/// A look at one job.
struct JobOperation: StoreOperation {
    let id: JobID
    private var lookup: EnqueueLookup?

    init(id: JobID) { self.id = id }

    var access: OperationAccess { .reads }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { self.lookup = lookup }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<JobInfo?> {
        let id = id
        if let status = core.state.status(of: id, at: now) {
            return .deferred { () throws(JobStoreError) -> JobInfo? in
                try JobInfo(id, status, core.enqueueRecord(id), from: core)
            }
        }
        let last = core.state.lastSequence
        guard id.rawValue > 0, id.sequence <= last else { return .value(nil) }
        switch lookup {
        case nil: return .needsRecords([id])
        case .missing: return .value(nil)
        case .failed(let error): throw error
        case .found(let enqueue, let time):
            if core.state.isPlainReady(id, lane: enqueue.lane) {
                return .value(JobInfo(id, enqueue, enqueuedAt: time, state: .ready))
            }
            return .deferred { () throws(JobStoreError) -> JobInfo? in
                JobInfo(id, enqueue, enqueuedAt: time, finishedBy: try core.records(of: id, through: last))
            }
        }
    }
}

/// A look at many jobs.
struct JobListOperation: StoreOperation {
    let filter: JobFilter

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkCount(filter.limit, "limit")
        if let queue = filter.queue { try Limits.checkName(queue, "queue") }
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[JobInfo]> {
        let after = filter.after ?? JobID(0)
        var unfinished: [(id: JobID, status: JobStatus?)] = []
        if filter.state?.isFinished != true {
            let ids = core.state.unfinishedJobs(
                queue: filter.queue, state: filter.state.flatMap(JobState.init), after: after, limit: filter.limit,
                at: now)
            unfinished = ids.map { ($0, core.state.status(of: $0, at: now)) }
        }
        let listing = JobListing(
            core: core, filter: filter, after: after, last: core.state.lastSequence, unfinished: unfinished,
            live: core.state.neededRecords)
        return .deferred { () throws(JobStoreError) -> [JobInfo] in try listing.read() }
    }
}

/// Merges the unfinished jobs, which the state knows, with the finished ones, which only the log knows.
private struct JobListing: Sendable {
    let core: StoreCore
    let filter: JobFilter
    let after: JobID
    let last: SequenceNumber
    /// In id order; not more than the limit.
    let unfinished: [(id: JobID, status: JobStatus?)]
    /// Holds the id of every job that has not ended.
    let live: SequenceBitmap

    func read() throws(JobStoreError) -> [JobInfo] {
        var result: [JobInfo] = []
        for job in unfinished { if let info = try info(job) { result.append(info) } }
        if filter.state?.isFinished ?? true {
            result += try finished()
            result.sort { $0.id < $1.id }
        }
        if result.count > filter.limit { result.removeLast(result.count - filter.limit) }
        return result
    }

    private func info(_ job: (id: JobID, status: JobStatus?)) throws(JobStoreError) -> JobInfo? {
        // A job whose record is damaged is listed with what the state knows of it.
        var enqueued: (Enqueue, Timestamp)?
        do { enqueued = try core.enqueueRecord(job.id) } catch {
            guard error.code == .corrupt, job.status != nil else { throw error }
        }
        var info: JobInfo?
        if let status = job.status {
            info = try JobInfo(job.id, status, enqueued, from: core)
        } else if let (enqueue, time) = enqueued {
            info = JobInfo(job.id, enqueue, enqueuedAt: time, state: .ready)
        }
        info?.payload = nil
        return info
    }

    /// Finds the jobs that ended.
    private func finished() throws(JobStoreError) -> [JobInfo] {
        // When the list of unfinished jobs is full, what lies behind its end is cut off anyway.
        let isFull = unfinished.count == filter.limit
        let through = isFull ? unfinished[unfinished.count - 1].id.sequence : last
        let search = FinishedSearch(
            queue: filter.queue, state: filter.state, limit: filter.limit, through: through, live: live)
        return try core.finishedJobs(search, after: after.sequence, last: last)
    }
}

/// A job's records.
struct HistoryOperation: StoreOperation {
    let id: JobID

    var access: OperationAccess { .reads }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<[HistoryRecord]> {
        let (id, last) = (id, core.state.lastSequence)
        return .deferred { () throws(JobStoreError) -> [HistoryRecord] in
            try core.records(of: id, through: last).map(HistoryRecord.init)
        }
    }
}

extension StoreCore {
    /// Returns a job's enqueue record and its time. The caller does not hold the lock.
    fileprivate func enqueueRecord(_ id: JobID) throws(JobStoreError) -> (Enqueue, Timestamp)? {
        guard let record = try record(id.sequence), case .enqueue(let enqueue) = record.mutation else { return nil }
        return (enqueue, record.time)
    }
}

extension JobInfo.State {
    /// Whether only the log knows of such jobs.
    var isFinished: Bool { self == .completed || self == .cancelled }

    init(_ state: JobState) {
        self =
            switch state {
            case .scheduled: .scheduled
            case .ready: .ready
            case .leased: .leased
            case .completed: .completed
            case .cancelled: .cancelled
            case .dead: .dead
            }
    }
}

extension JobState {
    init(_ state: JobInfo.State) {
        self =
            switch state {
            case .scheduled: .scheduled
            case .ready: .ready
            case .leased: .leased
            case .completed: .completed
            case .cancelled: .cancelled
            case .dead: .dead
            }
    }
}
