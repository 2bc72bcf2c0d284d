// Looking at jobs. What the state knows is copied under the lock; the rest is read from the log after the commit that
// covers the copy, so an answer is as durable as any other.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Returns what is known of a job.
    ///
    /// - Parameter showingSecrets: Whether the payload of a secret job is shown, too.
    /// - Returns: `nil` when there is no such job, or it finished and compaction has dropped it. Of one whose result is
    ///   kept for longer, queue, end and result are left.
    /// - Throws: `.corrupt` when its record can't be read; `.closed` or the store's failure.
    public func job(_ id: JobID, showingSecrets: Bool = false) async throws(JobStoreError) -> JobInfo? {
        try await core.submitAsync(JobOperation(id: id, viewer: core.viewer(showingSecrets))).value
    }

    /// Lists jobs in the order of their ids, without payloads. Finished jobs are listed as long as the log holds them.
    ///
    /// - Throws: `.badRequest`, `.corrupt`, `.closed` or the store's failure.
    /// - Complexity: O(limit) reads for unfinished jobs. Finished ones take two walks over the log at most, from
    ///   `filter.after` to where the last of them ended, whatever the limit.
    public func jobs(_ filter: JobFilter = JobFilter()) async throws(JobStoreError) -> [JobInfo] {
        try await core.submitAsync(JobListOperation(filter: filter)).value
    }

    /// Returns every record of a job that the log still holds, oldest first.
    ///
    /// - Throws: `.corrupt`, `.closed` or the store's failure.
    public func history(of id: JobID) async throws(JobStoreError) -> [HistoryRecord] {
        try await core.submitAsync(HistoryOperation(id: id)).value
    }
}

// Each blocks only for room in the journal, and for reading one record.
extension JobStore {
    /// Looks at a job as of now.
    package func submitJob(_ id: JobID, showingSecrets: Bool = false) -> Pending<JobInfo?> {
        core.submit(JobOperation(id: id, viewer: core.viewer(showingSecrets)))
    }

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
    let viewer: PayloadViewer
    private var lookup: EnqueueLookup?

    init(id: JobID, viewer: PayloadViewer) { (self.id, self.viewer) = (id, viewer) }

    var access: OperationAccess { .reads }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { self.lookup = lookup }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<JobInfo?> {
        let (id, viewer) = (id, viewer)
        if let status = core.state.status(of: id, at: now) {
            let records = LogRecords(log: core.log)
            return .deferred { () throws(JobStoreError) -> JobInfo? in
                do throws(LogError) {
                    return try JobInfo(id, status, records.enqueue(of: id), from: records).shown(to: viewer)
                } catch { throw JobStoreError(error) }
            }
        }
        let last = core.state.lastSequence
        guard id.rawValue > 0, id.sequence <= last else { return .value(nil) }
        switch lookup {
        case nil: return .needsRecords([id])
        case .missing:
            guard core.state.keptResult(of: id) != nil else { return .value(nil) }
            let (state, records) = (core.state, LogRecords(log: core.log))
            return .deferred { () throws(JobStoreError) -> JobInfo? in
                do throws(LogError) { return try records.keptJob(id, of: state) } catch { throw JobStoreError(error) }
            }
        case .failed(let error): throw error
        case .found(let enqueue, let time):
            if core.state.isPlainReady(id, lane: enqueue.lane) {
                let info = JobInfo(id, enqueue, enqueuedAt: time, state: .ready)
                if info.isShownAsIs { return .value(info) }
                return .deferred { () throws(JobStoreError) -> JobInfo? in info.shown(to: viewer) }
            }
            return .deferred { () throws(JobStoreError) -> JobInfo? in
                JobInfo(id, enqueue, enqueuedAt: time, finishedBy: try core.records(of: id, through: last))?
                    .shown(to: viewer)
            }
        }
    }
}

/// A look at many jobs.
struct JobListOperation: StoreOperation {
    let filter: JobFilter

    var access: OperationAccess { .reads }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try filter.validate()
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[JobInfo]> {
        let listing = JobListing(filter, of: core.state, at: now, isPast: false, records: LogRecords(log: core.log))
        return .deferred { () throws(JobStoreError) -> [JobInfo] in
            do throws(LogError) { return try listing.read() } catch { throw JobStoreError(error) }
        }
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

extension JobFilter {
    func validate() throws(JobStoreError) {
        try Limits.checkCount(limit, "limit")
        if let queue { try Limits.checkName(queue, "queue") }
        _ = try Limits.jobLabels(labels, owner: owner)
    }
}

extension PastRecords {
    /// Returns a job's enqueue record and its time.
    func enqueue(of id: JobID) throws(LogError) -> (Enqueue, Timestamp)? {
        guard let record = try record(id.sequence), case .enqueue(let enqueue) = record.mutation else { return nil }
        return (enqueue, record.time)
    }
}

extension StoreCore {
    func viewer(_ showingSecrets: Bool) -> PayloadViewer {
        PayloadViewer(seesSecrets: showingSecrets, codec: options.payloadCodec)
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
