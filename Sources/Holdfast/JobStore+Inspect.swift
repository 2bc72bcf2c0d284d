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
    /// - Complexity: O(limit) reads for unfinished jobs; those of finished ones grow with the log between them.
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
        case nil: return .needsRecord(id)
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
            core: core, filter: filter, after: after, last: core.state.lastSequence, unfinished: unfinished)
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

    /// Walks the log for jobs that ended, as many at a time as are still missing.
    private func finished() throws(JobStoreError) -> [JobInfo] {
        // When the list of unfinished jobs is full, what lies behind its end is cut off anyway.
        let isFull = unfinished.count == filter.limit
        let through = isFull ? unfinished[unfinished.count - 1].id.sequence : last
        let known = Set(unfinished.lazy.map(\.id))
        var result: [JobInfo] = []
        var position = after.sequence
        while result.count < filter.limit {
            var search = FinishedSearch(
                queue: filter.queue, through: through, known: known, countMax: filter.limit - result.count)
            try core.forEachRecord(after: position, through: last) { search.take($0) }
            for info in search.jobs where filter.state == nil || filter.state == info.state { result.append(info) }
            guard search.isFull, let next = search.lastID else { break }
            position = next.sequence
        }
        return result
    }
}

/// One walk over the log: takes note of jobs, and of what became of them.
private struct FinishedSearch {
    private struct Candidate {
        let enqueue: Enqueue
        let time: Timestamp
        var records: [Record] = []
    }
    private let queue: String?
    private let through: SequenceNumber
    private let known: Set<JobID>
    private let countMax: Int
    private var candidates: [JobID: Candidate] = [:]
    private var order: [JobID] = []
    private var unresolved = 0

    init(queue: String?, through: SequenceNumber, known: Set<JobID>, countMax: Int) {
        self.queue = queue
        self.through = through
        self.known = known
        self.countMax = countMax
    }

    var isFull: Bool { order.count == countMax }
    var lastID: JobID? { order.last }

    /// The jobs that ended.
    var jobs: [JobInfo] {
        order.compactMap { id in
            guard let candidate = candidates[id] else { return nil }
            var info = JobInfo(
                id, candidate.enqueue, enqueuedAt: candidate.time, finishedBy: candidate.records)
            info?.payload = nil
            return info
        }
    }

    /// Returns false when nothing more is to be learned.
    mutating func take(_ record: Record) -> Bool {
        if case .enqueue(var enqueue) = record.mutation {
            let id = JobID(record.sequence)
            guard !isFull, record.sequence <= through, !known.contains(id),
                queue == nil || queue == enqueue.lane.queue
            else { return !isDone(at: record.sequence) }
            enqueue.payload = []
            candidates[id] = Candidate(enqueue: enqueue, time: record.time)
            order.append(id)
            unresolved += 1
        } else if let id = record.mutation.job(record.sequence), candidates[id] != nil {
            candidates[id]?.records.append(record)
            switch record.mutation {
            case .ack, .cancel: unresolved -= 1
            default: break
            }
        }
        return !isDone(at: record.sequence)
    }

    private func isDone(at sequence: SequenceNumber) -> Bool {
        unresolved == 0 && (isFull || sequence >= through)
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
