// A store as it was at one moment. The state is in memory and never changes; what only the log knows of a job (its
// payload, its errors, how a finished one ended) is read from it when asked for.

public import HoldfastBytes
internal import HoldfastEngine
package import HoldfastLog

/// A store as it was after some record: to look at, not to change.
public struct StoreSnapshot: Sendable {
    /// Counts of what a store held.
    public struct Stats: Hashable, Sendable {
        /// The last sequence number by then.
        public var sequence: SequenceNumber
        /// The moment that was asked for, or the time of its last record.
        public var time: Timestamp
        /// Sorted by name.
        public var queues: [StoreStats.Queue]
        /// Acks since the store was created.
        public var completed: UInt64
    }

    let state: QueueState
    private let records: any PastRecords
    private let readers: ReaderThread?
    private let codec: (any PayloadCodec)?
    /// The moment that was asked for, or the time of its last record.
    public let time: Timestamp

    /// The last sequence number by then.
    public var sequence: SequenceNumber { state.lastSequence }

    init(
        _ state: QueueState, at time: Timestamp, from records: any PastRecords, on readers: ReaderThread?,
        codec: (any PayloadCodec)? = nil
    ) {
        self.codec = codec
        self.state = state
        self.time = max(time, state.latestTime)
        self.records = records
        self.readers = readers
    }

    /// Looks back in a store's files.
    ///
    /// - Returns: The snapshot, or `.beyondHistory`, or `.badRequest` for what is yet to come.
    /// - Throws: `.corrupt` when a record or the image it takes is damaged, `.ioFailed`.
    package static func read(
        _ records: FileRecords, asOf moment: StoreMoment
    ) throws(LogError) -> Result<StoreSnapshot, JobStoreError> {
        let (last, damage) = try records.soundEnd()
        let past = try PastReplay(records, last: last, damage: damage).state(asOf: moment)
        return Result { () throws(JobStoreError) in
            let state = try past.found(moment)
            return StoreSnapshot(state, at: moment.time ?? state.latestTime, from: records, on: nil)
        }
    }

    // MARK: - Looking

    /// Counts of what the store held. A job that was due by then counts as ready.
    public var stats: Stats {
        let queues = state.queueCounts(at: time).map {
            StoreStats.Queue($0.queue, $0.counts, $0.terms, held: state.heldCount(of: $0.queue))
        }
        return Stats(sequence: sequence, time: time, queues: queues, completed: state.completedCount)
    }

    /// Returns the fingerprint that the store had.
    ///
    /// - Complexity: O(state).
    public func digest() -> StoreDigest { StoreDigest(sequence: sequence, hex: state.digest().description) }

    /// Returns what was known of a job. What it had from before the kept history and nobody needs since, such as the
    /// payload of one that has finished, or the error of an attempt before the last, may be missing.
    ///
    /// - Returns: `nil` when there was no such job, or it had finished and compaction has dropped it since.
    /// - Throws: `.corrupt` when its record can't be read; `.ioError`.
    public func job(_ id: JobID, showingSecrets: Bool = false) async throws(JobStoreError) -> JobInfo? {
        try await read { () throws(LogError) in try find(id, showingSecrets: showingSecrets) }
    }

    /// Lists jobs in the order of their ids, without payloads. Those that had finished are listed as far as the log
    /// still holds them.
    ///
    /// - Throws: `.badRequest`, `.corrupt`, `.ioError`.
    public func jobs(_ filter: JobFilter = JobFilter()) async throws(JobStoreError) -> [JobInfo] {
        try filter.validate()
        return try await read { () throws(LogError) in try list(filter) }
    }

    /// Says why a job was not running.
    ///
    /// - Returns: `nil` when there was no such job, or it had finished and compaction has dropped it since.
    /// - Throws: `.corrupt` when its record can't be read; `.ioError`.
    /// - Complexity: O(lanes · log n), and of what was overdue.
    public func explain(_ id: JobID) async throws(JobStoreError) -> JobExplanation? {
        try await read { () throws(LogError) in try explanation(of: id) }
    }

    /// As `explain`, blocking this thread.
    package func explanation(of id: JobID) throws(LogError) -> JobExplanation? {
        guard id.rawValue > 0, id.sequence <= sequence else { return nil }
        var settled = state
        settled.settle(at: time)
        if let explanation = JobExplanation(id, in: settled, at: time) { return explanation }
        return JobExplanation(
            id, finishedBy: try records.records(of: id, through: sequence), in: settled, at: time)
    }

    /// As `job`, blocking this thread.
    package func find(_ id: JobID, showingSecrets: Bool = false) throws(LogError) -> JobInfo? {
        try stored(id)?.shown(to: PayloadViewer(seesSecrets: showingSecrets, codec: codec))
    }

    private func stored(_ id: JobID) throws(LogError) -> JobInfo? {
        guard id.rawValue > 0, id.sequence <= sequence else { return nil }
        if let status = state.status(of: id, at: time) {
            return try JobInfo(id, status, records.enqueue(of: id), from: records)
        }
        let enqueued = try records.enqueue(of: id)
        if let lane = state.plainLane(of: id) {
            guard let (enqueue, time) = enqueued else { return JobInfo(id, lane) }
            return JobInfo(id, enqueue, enqueuedAt: time, state: .ready)
        }
        guard let (enqueue, time) = enqueued else { return try records.keptJob(id, of: state) }
        return JobInfo(id, enqueue, enqueuedAt: time, finishedBy: try records.records(of: id, through: sequence))
    }

    /// As `jobs`, blocking this thread.
    package func list(_ filter: JobFilter) throws(LogError) -> [JobInfo] {
        try JobListing(filter, of: state, at: time, isPast: true, records: records).read()
    }

    private func read<Value: Sendable>(
        _ body: @escaping @Sendable () throws(LogError) -> Value
    ) async throws(JobStoreError) -> Value {
        let work = { @Sendable () throws(JobStoreError) -> Value in
            do throws(LogError) { return try body() } catch { throw JobStoreError(error) }
        }
        guard let readers else { return try work() }
        return try await readers.run(work)
    }
}

extension StoreMoment {
    /// The time, if it is one.
    var time: Timestamp? { if case .time(let time) = self { time } else { nil } }

    /// The moment as it reads in a sentence.
    var words: String {
        switch self {
        case .sequence(let sequence): "sequence number \(sequence)"
        case .time(let time): "\(time.milliseconds) ms after 1970"
        }
    }
}

extension PastOutcome {
    /// Returns the state, or says why there is none.
    func found(_ moment: StoreMoment) throws(JobStoreError) -> QueueState {
        switch self {
        case .found(let state): return state
        case .dropped(let oldest): throw JobStoreError(beyondHistory: moment.words, oldest: oldest)
        case .future(let last):
            throw JobStoreError(.badRequest, "\(moment.words) is yet to come: the last record is \(last)")
        }
    }
}

extension JobStoreError {
    /// Says that the log does not go back so far.
    init(beyondHistory what: String, oldest: SequenceNumber?) {
        let remedy = oldest.map { "the oldest that is available is sequence number \($0)" } ?? "none is available"
        self.init(
            .beyondHistory,
            "\(what) lies before the kept history: \(remedy); a store opened with more history keeps more",
            oldest: oldest)
    }
}
