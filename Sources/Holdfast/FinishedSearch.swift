// Jobs that ended are in the log only. A listing finds them in one walk that keeps nothing but ids, and takes their
// records in a second one, which goes only as far as those reach. Which enqueue records belong to jobs that ended the
// state tells before the walk begins, so that it need not look for the end of one that has none.
//
// A job may be moved: where one queue is asked for, the jobs of all are followed until they end. Where a rewrite has
// dropped the move and not the rest, the job is taken for one of its first queue.
//
// A rewrite may have dropped a job's end and not yet its enqueue record, which lie in different segments: such a job
// is not listed, and the first walk goes to the end of the log for it.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The first walk: finds the ids of the first jobs that ended as asked.
struct FinishedSearch {
    let queue: String?
    /// `.completed`, `.cancelled`, or `nil` for both.
    let state: JobInfo.State?
    let limit: Int
    /// No job behind it is looked for.
    let through: SequenceNumber
    /// Holds the id of every job that has not ended.
    let live: SequenceBitmap
    /// Only jobs that have all of them.
    let labels: JobLabels
    /// Jobs that may be meant and whose end was not met yet.
    private var open = SequenceBitmap()
    /// Those of them that are in the queue by now, where one is asked for: a job may be moved.
    private var inQueue = SequenceBitmap()
    /// In order, at most `limit`.
    private(set) var found: [UInt64] = []

    init(
        queue: String?, state: JobInfo.State?, labels: JobLabels, limit: Int, through: SequenceNumber,
        live: SequenceBitmap
    ) {
        self.labels = labels
        self.queue = queue
        self.state = state
        self.limit = limit
        self.through = through
        self.live = live
    }

    /// Returns false when nothing more is to be learned.
    mutating func take(_ entry: borrowing EntryView) throws(LogError) -> Bool {
        let sequence = entry.sequence
        switch RecordKind(rawValue: entry.kind) {
        case .enqueue where found.count < limit && sequence <= through && !live.contains(sequence.rawValue):
            guard try hasLabels(entry) else { break }
            open.insert(sequence.rawValue)
            if try isOfQueue(entry) { inQueue.insert(sequence.rawValue) }
        case .edit where queue != nil && !open.isEmpty: try takeMove(entry)
        case .ack, .cancel, .expire: try takeEnd(entry)
        default: break
        }
        if found.count == limit, let last = found.last { return (open.first ?? .max) < last }
        return sequence < through || !open.isEmpty
    }

    private func isOfQueue(_ entry: borrowing EntryView) throws(LogError) -> Bool {
        guard let queue else { return false }
        let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
        guard case .enqueue(let enqueue) = record?.mutation else { return false }
        return enqueue.lane.queue == queue
    }

    private func hasLabels(_ entry: borrowing EntryView) throws(LogError) -> Bool {
        guard !labels.isEmpty else { return true }
        let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
        guard case .enqueue(let enqueue) = record?.mutation else { return false }
        return enqueue.labels.contains(labels)
    }

    private mutating func takeMove(_ entry: borrowing EntryView) throws(LogError) {
        let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
        guard case .edit(let edit) = record?.mutation, open.contains(edit.job.rawValue) else { return }
        if edit.to.queue == queue { inQueue.insert(edit.job.rawValue) } else { inQueue.remove(edit.job.rawValue) }
    }

    private mutating func takeEnd(_ entry: borrowing EntryView) throws(LogError) {
        guard !open.isEmpty,
            let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body),
            record.mutation.endsJob, let id = record.mutation.job(entry.sequence)?.rawValue, open.remove(id)
        else { return }
        guard inQueue.remove(id) || queue == nil else { return }
        switch record.mutation {
        // It is looked for no more, and not listed.
        case .expire: return
        case .ack where state == .cancelled: return
        case .cancel where state == .completed: return
        default: break
        }
        let index = found.partitioningIndex { $0 > id }
        guard index < limit else { return }
        found.insert(id, at: index)
        if found.count > limit { found.removeLast() }
    }
}

/// The second walk: takes the records of known jobs.
private struct FinishedJobs {
    private struct Job {
        var enqueue: Enqueue
        let time: Timestamp
        var records: [Record] = []
    }
    private let ids: Set<JobID>
    private var jobs: [JobID: Job] = [:]
    private var endedCount = 0

    init(_ ids: Set<JobID>) { self.ids = ids }

    /// Returns false when the end of each was met.
    mutating func take(_ entry: borrowing EntryView) throws(LogError) -> Bool {
        let sequence = entry.sequence
        switch RecordKind(rawValue: entry.kind) {
        case .enqueue where !ids.contains(JobID(sequence)): return true
        case .heartbeat:
            guard let job = Record.job(sequence: sequence, kind: entry.kind, body: entry.body), jobs[job] != nil else {
                return true
            }
        case .effect, .effectRemove, .queueSettings, .clock, .cursorSet, .cursorRemove, .storeSettings, nil: return true
        default: break
        }
        guard let record = try Record(checking: sequence, kind: entry.kind, body: entry.body) else { return true }
        if case .enqueue(var enqueue) = record.mutation {
            enqueue.payload = []
            jobs[JobID(sequence)] = Job(enqueue: enqueue, time: record.time)
        } else if let job = record.mutation.job(sequence), jobs[job] != nil {
            jobs[job]?.records.append(record.withoutPayload)
            switch record.mutation {
            case .ack, .cancel: endedCount += 1
            default: break
            }
        }
        return endedCount < ids.count
    }

    /// What the records tell, by id, without payloads.
    var list: [JobInfo] {
        jobs.sorted { $0.key < $1.key }.compactMap { id, job in
            var info = JobInfo(id, job.enqueue, enqueuedAt: job.time, finishedBy: job.records)
            info?.payload = nil
            return info
        }
    }
}

extension Mutation {
    /// Whether its job is no part of the state after it.
    fileprivate var endsJob: Bool {
        switch self {
        case .ack, .cancel, .expire(.deadLetter): true
        default: false
        }
    }
}

extension Record {
    /// The same without what a list leaves out.
    fileprivate var withoutPayload: Record {
        guard case .edit(var edit) = mutation else { return self }
        edit.payload = nil
        return Record(sequence: sequence, time: time, mutation: .edit(edit))
    }
}

extension PastRecords {
    /// Lists jobs that ended, as of `last`.
    func finishedJobs(
        _ search: FinishedSearch, after: SequenceNumber, last: SequenceNumber
    ) throws(LogError) -> [JobInfo] {
        var search = search
        try forEachEntry(after: after, through: last) { (entry) throws(LogError) in try search.take(entry) }
        guard let first = search.found.first else { return [] }
        var jobs = FinishedJobs(Set(search.found.map { JobID($0) }))
        try forEachEntry(after: SequenceNumber(first - 1), through: last) { (entry) throws(LogError) in
            try jobs.take(entry)
        }
        return jobs.list
    }
}

extension [UInt64] {
    /// Returns the index of the first element for which `isAfter` holds, in an array partitioned by it.
    fileprivate func partitioningIndex(where isAfter: (UInt64) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
