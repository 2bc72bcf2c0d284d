// The operations of producers and workers for who keeps many of them outstanding. A task that waits for each answer has
// to be resumed for each, and that costs more than the operation; one that has a thousand outstanding is resumed once
// for a commit.

public import HoldfastBytes

extension JobStore {
    /// The operations of producers and workers, for who keeps many outstanding: each returns once it is decided, and
    /// what it returns has the answer once that is durable.
    public var pipelined: PipelinedJobStore { PipelinedJobStore(store: self) }
}

/// The operations of producers and workers, for who keeps many outstanding.
///
/// Operations of one task take effect in the order of its calls, each on what the ones before did; a crash keeps those
/// up to some call. Meanings, limits and errors are those of the operations of `JobStore` with the same name; errors
/// come with the answer. Leases last from the call on, so ask for their answer soon.
///
/// The call itself waits where the others would before they are decided: for room in the journal, so that what is yet
/// to be written stays bounded (to an eighth of a segment, 16 KiB at least and 1 MiB at most, before the last call, and
/// what is being written), and, for a job that depends on finished ones or is to be cancelled, for a record to be read.
/// What takes memory beside that is the answers that are held.
public struct PipelinedJobStore: Sendable {
    let store: JobStore

    /// Adds a job, unless a live job of the queue holds its unique key.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) async -> Pending<EnqueueResult> {
        await store.core.submitAsync(EnqueueOperation(queue: queue, payload: payload, options: options))
    }

    /// Does all operations in one atomic commit, or none.
    public func batch(_ operations: [BatchOperation]) async -> Pending<[BatchReply]> {
        await store.core.submitAsync(AtomicBatch(operations: operations))
    }

    /// Leases up to `limit` ready jobs of a queue; does not wait for any.
    public func lease(
        from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = ""
    ) async -> Pending<[Lease]> {
        await lease(NextLease(from: queue, limit: limit, for: duration, worker: worker))
    }

    /// Leases what is ready, as it says; does not wait for any.
    public func lease(_ next: NextLease) async -> Pending<[Lease]> {
        do throws(JobStoreError) {
            return await store.core.submitAsync(try LeaseOperation(next, core: store.core))
        } catch { return store.core.refusal(error) }
    }

    /// Says that the holder is alive: the lease ends `duration` from now.
    public func heartbeat(
        _ lease: some LeaseReference, for duration: Duration = .seconds(30), progress: [UInt8]? = nil
    ) async -> Pending<Timestamp> {
        await store.core.submitAsync(CommandOperation.heartbeat(lease.identity, duration, progress))
    }

    /// Completes the job.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil
    ) async -> Pending<Void> {
        await store.core.submitAsync(AckOperation(lease: lease.identity, result: result, keepFor: keepFor))
    }

    /// Gives the job back after a failed attempt.
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true
    ) async -> Pending<RequeueOutcome> {
        await store.core.submitAsync(
            RequeueOperation(
                lease: lease.identity, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
        )
    }

    /// Dead-letters the job at once.
    public func bury(_ lease: some LeaseReference, error: String? = nil) async -> Pending<Void> {
        await store.core.submitAsync(CommandOperation.bury(lease.identity, error))
    }

    /// Cancels a job that has not finished.
    public func cancel(_ id: JobID) async -> Pending<Void> { await store.core.submitAsync(CancelOperation(id: id)) }

    /// Completes the job and leases the next, in one commit.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil, thenLease next: NextLease
    ) async -> Pending<[Lease]> {
        let ack = AckOperation(lease: lease.identity, result: result, keepFor: keepFor)
        return await store.core.submitAsync(ack, thenLease: next).map(\.leases)
    }

    /// Gives the job back after a failed attempt and leases the next, in one commit.
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true, thenLease next: NextLease
    ) async -> Pending<(outcome: RequeueOutcome, leases: [Lease])> {
        let requeue = RequeueOperation(
            lease: lease.identity, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
        return await store.core.submitAsync(requeue, thenLease: next).map { ($0.outcome, $0.leases) }
    }

    /// Dead-letters the job at once and leases the next, in one commit.
    public func bury(
        _ lease: some LeaseReference, error: String? = nil, thenLease next: NextLease
    ) async -> Pending<[Lease]> {
        await store.core.submitAsync(CommandOperation.bury(lease.identity, error), thenLease: next).map(\.leases)
    }
}
