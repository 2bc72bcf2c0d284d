// Settling one job and leasing the next in one commit: a worker's loop then costs one wait for the disk a job, not two.
//
// Both happen in one hold of the lock, so a crash keeps both or neither. On a full disk work may end and none may
// begin: then the job is settled from the reserve, and nothing is leased. Where the next job can't be read, the one
// before it is settled all the same; the next is tried again when its lease has ended, as after a failed lease.
// Leases that wait come first: what the settlement makes leasable is theirs.

/// What to lease in the commit that settles a job.
public struct NextLease: Hashable, Sendable {
    /// Where to lease from; earlier named queues first, unless they have weights.
    public var queues: [String]
    /// The weight of each queue, 1 to 1000, by which they share; none where earlier named ones come first.
    public var weights: [Int] = []
    /// How many jobs at most: 1 to 10,000.
    public var limit: Int
    /// How long the leases last: 1 ms to 7 days.
    public var duration: Duration
    /// Who asks, for people to read.
    public var worker: String

    /// Leases from one queue.
    public init(from queue: String, limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "") {
        self.init(from: [queue], limit: limit, for: duration, worker: worker)
    }

    /// Leases from several queues.
    public init(from queues: [String], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "") {
        self.queues = queues
        self.limit = limit
        self.duration = duration
        self.worker = worker
    }
}

extension JobStore {
    /// Completes the job and leases the next, in one commit.
    ///
    /// - Returns: The leases; none when nothing is ready, and fewer where the journal has no place for the records of
    ///   more. It does not wait for a job.
    /// - Throws: What `ack(_:result:keepFor:)` throws, and `.badRequest` for `next`; nothing is settled and nothing
    ///   leased then. On a full disk, and when the next jobs can't be read, the job is completed and none is returned.
    /// - Postcondition: The job never runs again, and every returned lease is durable.
    public func ack(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil, thenLease next: NextLease
    ) async throws(JobStoreError) -> [Lease] {
        let ack = AckOperation(lease: lease.identity, result: result, keepFor: keepFor)
        return try await core.submitAsync(ack, thenLease: next).value.leases
    }

    /// Gives the job back after a failed attempt and leases the next, in one commit. That may be the same job, when it
    /// is ready at once.
    ///
    /// - Returns: What became of the job, and the leases.
    /// - Throws: What `requeue(_:after:error:errorClass:countsAttempt:)` throws, and `.badRequest` for `next`; nothing
    ///   is settled and nothing leased then. On a full disk, and when the next jobs can't be read, the job is given
    ///   back and none is returned.
    public func requeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true,
        thenLease next: NextLease
    ) async throws(JobStoreError) -> (outcome: RequeueOutcome, leases: [Lease]) {
        let requeue = RequeueOperation(
            lease: lease.identity, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt)
        let settled = try await core.submitAsync(requeue, thenLease: next).value
        return (settled.outcome, settled.leases)
    }

    /// Dead-letters the job at once and leases the next, in one commit.
    ///
    /// - Returns: The leases; none when nothing is ready.
    /// - Throws: What `bury(_:error:)` throws, and `.badRequest` for `next`; nothing is settled and nothing leased
    ///   then. On a full disk, and when the next jobs can't be read, the job is dead-lettered and none is returned.
    public func bury(
        _ lease: some LeaseReference, error: String? = nil, thenLease next: NextLease
    ) async throws(JobStoreError) -> [Lease] {
        try await core.submitAsync(CommandOperation.bury(lease.identity, error), thenLease: next).value.leases
    }
}

// Each blocks only for room in the journal.
extension JobStore {
    /// Decides an ack and a lease.
    package func submitAck(
        _ lease: some LeaseReference, result: [UInt8]? = nil, keepFor: Duration? = nil, thenLease next: NextLease
    ) -> Pending<Settled<Void>> {
        core.submit(AckOperation(lease: lease.identity, result: result, keepFor: keepFor), thenLease: next)
    }

    /// Decides a requeue and a lease.
    package func submitRequeue(
        _ lease: some LeaseReference, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true,
        thenLease next: NextLease
    ) -> Pending<Settled<RequeueOutcome>> {
        core.submit(
            RequeueOperation(
                lease: lease.identity, after: after, error: error, errorClass: errorClass,
                countsAttempt: countsAttempt),
            thenLease: next)
    }

    /// Decides a burial and a lease.
    package func submitBury(
        _ lease: some LeaseReference, error: String? = nil, thenLease next: NextLease
    ) -> Pending<Settled<Void>> {
        core.submit(CommandOperation.bury(lease.identity, error), thenLease: next)
    }
}

/// What became of a job, and what was leased with it.
package struct Settled<Outcome: Sendable>: Sendable {
    package let outcome: Outcome
    package let leases: [Lease]
}

extension StoreCore {
    /// Settles and leases on the calling thread.
    fileprivate func submit<Settle: StoreOperation>(
        _ settle: Settle, thenLease next: NextLease
    ) -> Pending<Settled<Settle.Value>> {
        let pending = submit(SettleThenLease(settle: settle, next: next))
        guard pending.isWithoutSpace else { return pending }
        return submit(settle).map { Settled(outcome: $0, leases: []) }
    }

    /// The same, suspending the task for room only.
    func submitAsync<Settle: StoreOperation>(
        _ settle: Settle, thenLease next: NextLease
    ) async -> Pending<Settled<Settle.Value>> {
        let pending = await submitAsync(SettleThenLease(settle: settle, next: next))
        guard pending.isWithoutSpace else { return pending }
        return await submitAsync(settle).map { Settled(outcome: $0, leases: []) }
    }
}

extension Pending {
    /// Whether the disk had no room for it: nothing was changed.
    fileprivate var isWithoutSpace: Bool {
        if case .refused(let error) = outcome { error.code == .noSpace } else { false }
    }
}

/// A settlement and, unless that is refused, a lease.
private struct SettleThenLease<Settle: StoreOperation>: StoreOperation {
    private var settle: Settle
    private let request: Result<LeaseRequest, JobStoreError>

    init(settle: Settle, next: NextLease) {
        self.settle = settle
        request = Result { () throws(JobStoreError) in
            try LeaseRequest(next.source, limit: next.limit, duration: next.duration, worker: next.worker)
        }
    }

    /// It asks for room for both, lest the job be settled and the lease refused.
    var access: OperationAccess { .changes }
    var bytes: Int { settle.bytes }

    mutating func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try settle.validate(options)
        _ = try request.get()
    }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<Settled<Settle.Value>> {
        guard case .value(let outcome) = try settle.run(on: core, at: now) else {
            preconditionFailure("settling a lease needs nothing but the state")
        }
        core.serveWaitersEarly(at: now)
        guard let reader = try request.get().lease(on: core, at: now) else {
            return .value(Settled(outcome: outcome, leases: []))
        }
        return .deferred {
            // The job is settled, whatever becomes of reading. What was leased for nobody ends with its deadline.
            Settled(outcome: outcome, leases: (try? reader.read()) ?? [])
        } atHand: {
            reader.readAtHand().map { Settled(outcome: outcome, leases: $0) }
        }
    }
}
