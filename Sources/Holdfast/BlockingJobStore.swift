// The same operations for programs without async: each call blocks its thread until its answer is durable. Meanings,
// limits and errors are those of the operations of JobStore with the same name.

public import HoldfastBytes

/// The operations of a store for programs without async.
public struct BlockingJobStore: Sendable {
    let store: JobStore

    /// Adds a job, unless a live job of the queue holds its unique key.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) throws(JobStoreError) -> EnqueueResult {
        try store.submitEnqueue(queue, payload: payload, options: options).valueBlocking()
    }

    /// Leases up to `limit` ready jobs of a queue.
    public func lease(
        from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) throws(JobStoreError) -> [Lease] {
        try store.leaseBlocking(
            from: .inOrder([queue]), limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }

    /// Leases up to `limit` ready jobs of several queues, earlier named queues first.
    public func lease(
        from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) throws(JobStoreError) -> [Lease] {
        try store.leaseBlocking(
            from: .inOrder(queues), limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }

    /// Says that the holder is alive: the lease ends `duration` from now.
    @discardableResult
    public func heartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) throws(JobStoreError) -> Timestamp {
        try store.submitHeartbeat(lease, for: duration, progress: progress).valueBlocking()
    }

    /// Completes the job.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil
    ) throws(JobStoreError) {
        try store.submitAck(lease, result: result, keepFor: keepFor).valueBlocking()
    }

    /// Gives the job back after a failed attempt.
    @discardableResult
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true
    ) throws(JobStoreError) -> RequeueOutcome {
        try store.submitRequeue(lease, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
            .valueBlocking()
    }

    /// Dead-letters the job at once.
    public func bury(_ lease: some LeaseReference, error: String? = nil) throws(JobStoreError) {
        try store.submitBury(lease, error: error).valueBlocking()
    }

    /// Completes the job and leases the next, in one commit.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil, thenLease next: NextLease
    ) throws(JobStoreError) -> [Lease] {
        try store.submitAck(lease, result: result, keepFor: keepFor, thenLease: next).valueBlocking().leases
    }

    /// Gives the job back after a failed attempt and leases the next, in one commit.
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true,
        thenLease next: NextLease
    ) throws(JobStoreError) -> (outcome: RequeueOutcome, leases: [Lease]) {
        let settled = try store.submitRequeue(
            lease, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt, thenLease: next
        ).valueBlocking()
        return (settled.outcome, settled.leases)
    }

    /// Dead-letters the job at once and leases the next, in one commit.
    public func bury(
        _ lease: some LeaseReference, error: String? = nil, thenLease next: NextLease
    ) throws(JobStoreError) -> [Lease] {
        try store.submitBury(lease, error: error, thenLease: next).valueBlocking().leases
    }

    /// Cancels a job that has not finished.
    public func cancel(_ id: JobID) throws(JobStoreError) {
        try store.submitCancel(id).valueBlocking()
    }

    /// Makes a dead job ready again, its attempts counted from zero.
    public func redrive(_ id: JobID) throws(JobStoreError) {
        try store.submitRedrive(id).valueBlocking()
    }

    /// Makes up to `limit` dead jobs of a queue ready again.
    public func redrive(queue: String, limit: Int = 10_000) throws(JobStoreError) -> RedriveResult {
        try store.submitRedrive(queue: queue, limit: limit).valueBlocking()
    }

    /// Stops leasing from a queue.
    public func pause(_ queue: String) throws(JobStoreError) {
        try store.submitPause(queue).valueBlocking()
    }

    /// Leases from a paused queue again.
    public func resume(_ queue: String) throws(JobStoreError) {
        try store.submitResume(queue).valueBlocking()
    }

    /// Pauses a queue and says what it still holds.
    public func drain(_ queue: String) throws(JobStoreError) -> DrainStatus {
        try store.submitDrain(queue).valueBlocking()
    }

    /// Does all operations in one atomic commit, or none.
    public func batch(_ operations: [BatchOperation]) throws(JobStoreError) -> [BatchReply] {
        try store.submitBatch(operations).valueBlocking()
    }

    /// Records a value under (scope, key), unless one is recorded.
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, value: [UInt8]
    ) throws(JobStoreError) -> EffectResult {
        try store.submitEffect(scope: scope, key: key, fencedBy: fencedBy, value: value).valueBlocking()
    }

    /// Returns what is known of a job.
    public func job(_ id: JobID, showingSecrets: Bool = false) throws(JobStoreError) -> JobInfo? {
        try store.submitJob(id, showingSecrets: showingSecrets).valueBlocking()
    }

    /// Lists jobs in the order of their ids, without payloads.
    public func jobs(_ filter: JobFilter = JobFilter()) throws(JobStoreError) -> [JobInfo] {
        try store.submitJobs(filter).valueBlocking()
    }

    /// Returns every record of a job that the log still holds, oldest first.
    public func history(of id: JobID) throws(JobStoreError) -> [HistoryRecord] {
        try store.submitHistory(of: id).valueBlocking()
    }

    /// Returns counts of what the store holds.
    public func stats() throws(JobStoreError) -> StoreStats {
        try store.submitStats().valueBlocking()
    }

    /// Returns a fingerprint of the queue and effect state.
    public func digest() throws(JobStoreError) -> StoreDigest {
        try store.submitDigest().valueBlocking()
    }

    /// Returns the store's time.
    public func now() throws(JobStoreError) -> Timestamp {
        try store.submitNow().valueBlocking()
    }

    /// Writes the state to disk, so that the next open replays less.
    @discardableResult
    public func checkpoint() throws(JobStoreError) -> SequenceNumber {
        try store.core.checkpoint()
    }

    /// Rewrites the log without what nobody needs.
    @discardableResult
    public func compact(proving: Bool = false) throws(JobStoreError) -> CompactionSummary {
        try store.core.compact(proving: proving)
    }

    /// Makes a verified copy of this store at `directory`.
    @discardableResult
    public func backup(to directory: String) throws(JobStoreError) -> ForkSummary {
        try store.core.backup(to: directory)
    }

    /// Closes the store; a second call does nothing.
    public func close() throws(JobStoreError) {
        try store.core.close()
    }

    /// Moves the manual clock and records that.
    @discardableResult
    public func advanceClock(by milliseconds: Int64) throws(JobStoreError) -> Timestamp {
        try store.submitAdvanceClock(by: milliseconds).valueBlocking()
    }

    /// Returns the value recorded under (scope, key), or runs `body` and records what it returns.
    public func effect(
        scope: String, key: String, fencedBy: LeaseIdentity? = nil, _ body: () throws -> [UInt8]
    ) throws -> EffectResult {
        try store.effectBlocking(scope: scope, key: key, fencedBy: fencedBy, body)
    }
}
