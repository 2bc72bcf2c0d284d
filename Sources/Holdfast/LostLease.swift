// What a worker that comes too late is told: how its lease ended, and who has the job now.

public import HoldfastBytes
internal import HoldfastEngine

/// What became of a lease that is not active any more, and of its job.
///
/// Where the job is now, and who has it, the store always knows. How and when the lease ended stands in the log, and is
/// told as long as the log holds that.
public struct LostLease: Hashable, Sendable {
    /// How a lease ended.
    public enum End: String, Hashable, Sendable, CaseIterable {
        /// No heartbeat came before its deadline.
        case expired
        /// The attempt took as long as it may.
        case timeLimit = "time_limit"
        /// The job was acked under it.
        case acked
        /// The job was given back under it.
        case requeued
        /// The job was dead-lettered under it.
        case buried
        /// Somebody cancelled the job.
        case cancelled
        /// The token never was a lease of this job.
        case neverHeld = "never_held"
    }

    /// Who has leased the job since.
    public struct Holder: Hashable, Sendable {
        /// The token of that lease. It settles nothing that this worker did: it is here to tell leases apart.
        public let token: LeaseToken
        /// The name given with the lease; empty for none.
        public let worker: String
        /// Which attempt it is; 1 for the first.
        public let attempt: Int
        /// When that lease ends unless it is renewed.
        public let deadline: Timestamp
        /// When it began; `nil` when the log does not hold its record any more.
        public internal(set) var since: Timestamp?
    }

    /// The job.
    public let id: JobID
    /// The token that was given.
    public let token: LeaseToken
    /// How the lease ended; `nil` when the log does not hold that any more, and for a job that an earlier operation of
    /// the same batch settles.
    public internal(set) var end: End?
    /// When it ended.
    public internal(set) var endedAt: Timestamp?
    /// Where the job is now: `.cancelled` for one that somebody has cancelled meanwhile. `nil` when it was never
    /// leased, or has ended and the log does not hold its end any more.
    public internal(set) var state: JobInfo.State?
    /// Who has leased it since, if somebody has it.
    public internal(set) var holder: Holder?
    /// When it may be leased again, for a scheduled job.
    public let runAt: Timestamp?
    /// Why it is dead, for a dead job.
    public let deadReason: JobInfo.DeadReason?
    /// When it was cancelled, acked or died.
    public internal(set) var finishedAt: Timestamp?

    /// The name of who has leased it since, if somebody has it.
    public var worker: String? { holder?.worker }
    /// When that lease ends.
    public var deadline: Timestamp? { holder?.deadline }

    /// What the state knows; `nil` for an error that is about no lease.
    init?(_ error: EngineError) {
        guard let id = error.job, let token = error.token else { return nil }
        let status = error.status
        self.id = id
        self.token = token
        state = (status?.state).map(JobInfo.State.init)
        if let status, let token = status.token, let deadline = status.deadline {
            holder = Holder(
                token: token, worker: status.worker ?? "", attempt: Int(status.attempt), deadline: deadline)
        }
        runAt = status?.state == .scheduled ? status?.runAt : nil
        deadReason = status?.deadReason.map(JobInfo.DeadReason.init)
        finishedAt = status?.diedAt
    }
}

extension LostLease {
    /// Adds what the records of the job tell, oldest first, from the lease on.
    ///
    /// - Returns: Whether the lease itself is among them.
    mutating func learn(from records: [Record]) -> Bool {
        var (isFound, isLast) = (false, false)
        for record in records {
            switch record.mutation {
            case .lease:
                let other = LeaseToken(record.sequence)
                isLast = other == token
                if isLast { isFound = true }
                if other == holder?.token { holder?.since = record.time }
            case .cancel:
                // A cancellation names no lease: it ended this one when no other has begun.
                if isLast, end == nil { (end, endedAt) = (.cancelled, record.time) }
                (state, finishedAt) = (.cancelled, record.time)
            case .ack: (state, finishedAt) = (.completed, record.time)
            default: break
            }
            if let found = record.mutation.end(of: token), end == nil { (end, endedAt) = (found, record.time) }
        }
        return isFound
    }

    /// How the lease ended, as a sentence about it; `nil` when that is not known.
    var sentence: String? {
        guard let end else { return nil }
        let time = endedAt.map { " at \($0.milliseconds) ms" } ?? ""
        switch end {
        case .expired: return "that lease expired\(time)"
        case .timeLimit: return "that lease reached the time limit of the job\(time)"
        case .acked: return "the job was acked under that lease\(time)"
        case .requeued: return "the job was given back under that lease\(time)"
        case .buried: return "the job was dead-lettered under that lease\(time)"
        case .cancelled: return "the job was cancelled\(time)"
        case .neverHeld: return "the token never was a lease of this job"
        }
    }
}

extension Mutation {
    /// How this ends the lease with `token`, if it names and ends it.
    fileprivate func end(of token: LeaseToken) -> LostLease.End? {
        switch self {
        case .ack(let ack) where ack.token == token: .acked
        case .requeue(let requeue) where requeue.token == token: .requeued
        case .bury(let bury) where bury.token == token: .buried
        case .expire(.lease(_, token, _)): .expired
        case .expire(.timeLimit(_, token, _)): .timeLimit
        default: nil
        }
    }
}
