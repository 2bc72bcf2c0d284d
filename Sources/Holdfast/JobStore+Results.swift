// What jobs gave. A result is in the record of its ack, which is kept as history is; one that is kept for a time of its
// own is found until then, whatever became of history, and neither sooner nor later is it let go.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// What a job gave when it was acked.
public struct JobResult: Hashable, Sendable {
    /// The bytes of `ack(result:)`.
    public let value: [UInt8]
    /// Until when it is kept; `nil` for as long as history is.
    public let keptUntil: Timestamp?
}

extension JobStore {
    /// Returns what a job gave when it was acked.
    ///
    /// - Returns: `nil` when the job has not been acked, gave nothing, or what it gave was kept for its time: that of
    ///   `ack(_:result:keepFor:)` or of its queue's `resultRetention`, and without either as long as the log holds the
    ///   record.
    /// - Throws: `.notFound` for an id that was never given; `.corrupt` when the record can't be read; `.closed` or the
    ///   store's failure.
    /// - Complexity: One read for a result that is kept for a time.
    public func result(of id: JobID) async throws(JobStoreError) -> JobResult? {
        try await core.submitAsync(ResultOperation(id: id)).value
    }

    /// Looks for a result as of now. Blocks only for room in the journal.
    package func submitResult(of id: JobID) -> Pending<JobResult?> { core.submit(ResultOperation(id: id)) }
}

extension BlockingJobStore {
    /// Returns what a job gave when it was acked.
    public func result(of id: JobID) throws(JobStoreError) -> JobResult? {
        try store.submitResult(of: id).valueBlocking()
    }
}

/// A job completed.
struct AckOperation: StoreOperation {
    let lease: LeaseIdentity
    let result: [UInt8]?
    let keepFor: Duration?

    var access: OperationAccess { .settles }
    var bytes: Int { result?.count ?? 0 }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkValue(result, "result")
        if let result, result.count > options.resultBytesMax {
            throw JobStoreError(
                .tooLarge, "`result` is \(result.count) bytes long; shorten it to \(options.resultBytesMax) bytes")
        }
        if keepFor != nil && result == nil {
            throw JobStoreError(.badRequest, "`keep_ms` is there without `result`; give both, or leave it out")
        }
        _ = try keepMilliseconds(at: .zero)
    }

    /// Returns for how long the result is kept; that must end before the year 10000.
    private func keepMilliseconds(at now: Timestamp) throws(JobStoreError) -> Int64? {
        guard let keepFor else { return nil }
        let milliseconds = try Limits.delayMilliseconds(keepFor, "keep_ms")
        _ = try Limits.instant(now, plus: milliseconds, "keep_ms")
        return milliseconds
    }

    func command(at now: Timestamp) throws(JobStoreError) -> Command {
        .ack(job: lease.id, token: lease.token, result: result, keepMilliseconds: try keepMilliseconds(at: now))
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Void> {
        _ = try core.perform(command(at: now), at: now)
        return .value(())
    }
}

/// A look at what a job gave.
private struct ResultOperation: StoreOperation {
    let id: JobID

    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<JobResult?> {
        let (id, last) = (id, core.state.lastSequence)
        guard id.rawValue > 0, id.sequence <= last else { throw StoreCore.noSuchJob(id) }
        if let kept = core.state.keptResult(of: id) {
            return .deferred { () throws(JobStoreError) -> JobResult? in
                guard case .ack(let ack) = try core.record(kept.sequence)?.mutation else { return nil }
                return ack.result.map { JobResult(value: $0, keptUntil: kept.until) }
            }
        }
        guard core.state.status(of: id, at: now) == nil else { return .value(nil) }
        return .deferred { () throws(JobStoreError) -> JobResult? in
            for record in try core.records(of: id, through: last).reversed() {
                // One that was kept for a time is not there any more after that, though history may hold it.
                guard case .ack(let ack) = record.mutation, ack.until == nil else { continue }
                return ack.result.map { JobResult(value: $0, keptUntil: nil) }
            }
            return nil
        }
    }
}

extension JobInfo {
    /// A job that was acked, of which nothing is left but that and its result.
    init(_ id: JobID, of queue: String, ackedBy record: Record) {
        self.init(id: id, queue: queue, state: .completed)
        guard case .ack(let ack) = record.mutation else { return }
        (result, resultKeptUntil, finishedAt) = (ack.result, ack.until, record.time)
    }
}

extension PastRecords {
    /// Returns a job of which `state` keeps the result and nothing else may be left.
    func keptJob(_ id: JobID, of state: QueueState) throws(LogError) -> JobInfo? {
        guard let kept = state.keptResult(of: id), let record = try record(kept.sequence) else { return nil }
        return JobInfo(id, of: kept.queue, ackedBy: record)
    }
}
