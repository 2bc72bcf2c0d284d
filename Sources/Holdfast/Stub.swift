public import HoldfastBytes

public final class JobStore: Sendable {
    public static func open(
        at path: String, options: JobStoreOptions = JobStoreOptions()
    ) async throws(JobStoreError) -> JobStore { fatalError() }
    public static func openBlocking(
        at path: String, options: JobStoreOptions = JobStoreOptions()
    ) throws(JobStoreError) -> JobStore { fatalError() }
    public let recovery: RecoverySummary
    private init() { fatalError() }
    public var blocking: BlockingJobStore { BlockingJobStore(store: self) }

    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) async throws(JobStoreError) -> EnqueueResult { fatalError() }
    public func lease(
        from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) async throws(JobStoreError) -> [Lease] { fatalError() }
    public func lease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) async throws(JobStoreError) -> [Lease] { fatalError() }
    @discardableResult
    public func heartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) async throws(JobStoreError) -> Timestamp { fatalError() }
    public func ack(_ lease: some LeaseReference, result: [UInt8]? = nil) async throws(JobStoreError) { fatalError() }
    @discardableResult
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, countsAttempt: Bool = true
    ) async throws(JobStoreError) -> RequeueOutcome { fatalError() }
    public func bury(_ lease: some LeaseReference, error: String? = nil) async throws(JobStoreError) { fatalError() }
    public func cancel(_ id: JobID) async throws(JobStoreError) { fatalError() }
    public func redrive(_ id: JobID) async throws(JobStoreError) { fatalError() }
    public func redrive(queue: String, limit: Int = 10_000) async throws(JobStoreError) -> RedriveResult { fatalError() }
    public func purge(queue: String) async throws(JobStoreError) -> Int { fatalError() }
    public func pause(_ queue: String) async throws(JobStoreError) { fatalError() }
    public func resume(_ queue: String) async throws(JobStoreError) { fatalError() }
    public func drain(_ queue: String) async throws(JobStoreError) -> DrainStatus { fatalError() }
    public func batch(_ operations: [BatchOperation]) async throws(JobStoreError) -> [BatchReply] { fatalError() }
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) async throws(JobStoreError) -> EffectResult { fatalError() }
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, _ body: () async throws -> [UInt8]
    ) async throws -> EffectResult { fatalError() }
    public func job(_ id: JobID) async throws(JobStoreError) -> JobInfo? { fatalError() }
    public func jobs(_ filter: JobFilter = JobFilter()) async throws(JobStoreError) -> [JobInfo] { fatalError() }
    public func history(of id: JobID) async throws(JobStoreError) -> [HistoryRecord] { fatalError() }
    public func stats() async throws(JobStoreError) -> StoreStats { fatalError() }
    public func digest() async throws(JobStoreError) -> StoreDigest { fatalError() }
    @discardableResult
    public func checkpoint() async throws(JobStoreError) -> SequenceNumber { fatalError() }
    @discardableResult
    public func compact() async throws(JobStoreError) -> CompactionSummary { fatalError() }
    public func close() async throws(JobStoreError) { fatalError() }
    /// Not durable by itself.
    public func now() -> Timestamp { fatalError() }
    @discardableResult
    public func advanceClock(by milliseconds: Int64) async throws(JobStoreError) -> Timestamp { fatalError() }
}

/// An operation whose effect is decided but perhaps not durable yet.
package struct Pending<Value: Sendable>: Sendable {
    package func value() async throws(JobStoreError) -> Value { fatalError() }
    package func valueBlocking() throws(JobStoreError) -> Value { fatalError() }
}

// Each blocks only for room in the journal; wait for the pendings in the order of submission.
extension JobStore {
    package func submitEnqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) -> Pending<EnqueueResult> { fatalError() }
    package func submitLease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = ""
    ) -> Pending<[Lease]> { fatalError() }
    package func submitHeartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) -> Pending<Timestamp> { fatalError() }
    package func submitAck(_ lease: some LeaseReference, result: [UInt8]? = nil) -> Pending<Void> { fatalError() }
    package func submitRequeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, countsAttempt: Bool = true
    ) -> Pending<RequeueOutcome> { fatalError() }
    package func submitBury(_ lease: some LeaseReference, error: String? = nil) -> Pending<Void> { fatalError() }
    package func submitCancel(_ id: JobID) -> Pending<Void> { fatalError() }
    package func submitRedrive(_ id: JobID) -> Pending<Void> { fatalError() }
    package func submitRedrive(queue: String, limit: Int = 10_000) -> Pending<RedriveResult> { fatalError() }
    package func submitPurge(queue: String) -> Pending<Int> { fatalError() }
    package func submitPause(_ queue: String) -> Pending<Void> { fatalError() }
    package func submitResume(_ queue: String) -> Pending<Void> { fatalError() }
    package func submitDrain(_ queue: String) -> Pending<DrainStatus> { fatalError() }
    package func submitBatch(_ operations: [BatchOperation]) -> Pending<[BatchReply]> { fatalError() }
    package func submitEffect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) -> Pending<EffectResult> { fatalError() }
    package func submitJob(_ id: JobID) -> Pending<JobInfo?> { fatalError() }
    package func submitJobs(_ filter: JobFilter) -> Pending<[JobInfo]> { fatalError() }
    package func submitHistory(of id: JobID) -> Pending<[HistoryRecord]> { fatalError() }
    package func submitStats() -> Pending<StoreStats> { fatalError() }
    package func submitDigest() -> Pending<StoreDigest> { fatalError() }
    package func submitNow() -> Pending<Timestamp> { fatalError() }
    package func submitAdvanceClock(by milliseconds: Int64) -> Pending<Timestamp> { fatalError() }
    // checkpoint, compact, close: use `blocking`, after waiting for all that was submitted before.
}

/// The same operations for programs without async: each call blocks its thread until its answer is durable.
public struct BlockingJobStore: Sendable {
    let store: JobStore
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) throws(JobStoreError) -> EnqueueResult { fatalError() }
    public func lease(
        from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) throws(JobStoreError) -> [Lease] { fatalError() }
    public func lease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) throws(JobStoreError) -> [Lease] { fatalError() }
    @discardableResult
    public func heartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) throws(JobStoreError) -> Timestamp { fatalError() }
    public func ack(_ lease: some LeaseReference, result: [UInt8]? = nil) throws(JobStoreError) { fatalError() }
    @discardableResult
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, countsAttempt: Bool = true
    ) throws(JobStoreError) -> RequeueOutcome { fatalError() }
    public func bury(_ lease: some LeaseReference, error: String? = nil) throws(JobStoreError) { fatalError() }
    public func cancel(_ id: JobID) throws(JobStoreError) { fatalError() }
    public func redrive(_ id: JobID) throws(JobStoreError) { fatalError() }
    public func redrive(queue: String, limit: Int = 10_000) throws(JobStoreError) -> RedriveResult { fatalError() }
    public func purge(queue: String) throws(JobStoreError) -> Int { fatalError() }
    public func pause(_ queue: String) throws(JobStoreError) { fatalError() }
    public func resume(_ queue: String) throws(JobStoreError) { fatalError() }
    public func drain(_ queue: String) throws(JobStoreError) -> DrainStatus { fatalError() }
    public func batch(_ operations: [BatchOperation]) throws(JobStoreError) -> [BatchReply] { fatalError() }
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) throws(JobStoreError) -> EffectResult { fatalError() }
    public func job(_ id: JobID) throws(JobStoreError) -> JobInfo? { fatalError() }
    public func jobs(_ filter: JobFilter = JobFilter()) throws(JobStoreError) -> [JobInfo] { fatalError() }
    public func history(of id: JobID) throws(JobStoreError) -> [HistoryRecord] { fatalError() }
    public func stats() throws(JobStoreError) -> StoreStats { fatalError() }
    public func digest() throws(JobStoreError) -> StoreDigest { fatalError() }
    @discardableResult
    public func checkpoint() throws(JobStoreError) -> SequenceNumber { fatalError() }
    @discardableResult
    public func compact() throws(JobStoreError) -> CompactionSummary { fatalError() }
    public func close() throws(JobStoreError) { fatalError() }
    @discardableResult
    public func advanceClock(by milliseconds: Int64) throws(JobStoreError) -> Timestamp { fatalError() }
}
