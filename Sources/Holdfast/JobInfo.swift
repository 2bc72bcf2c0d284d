// What inspection shows: values read from the state and the log, never live objects.

public import HoldfastBytes

/// What is known of a job.
public struct JobInfo: Hashable, Sendable {
    /// Where a job is in its life.
    public enum State: String, Hashable, Sendable, CaseIterable {
        /// Waits for its time.
        case scheduled
        /// May be leased.
        case ready
        /// A worker has it.
        case leased
        /// Acked.
        case completed
        /// Cancelled.
        case cancelled
        /// Out of attempts, buried, out of time, or unreadable.
        case dead
    }

    /// Why a job is among the dead letters.
    public enum DeadReason: String, Hashable, Sendable, CaseIterable {
        /// Its last attempt failed or was not reported.
        case attemptsUsedUp = "attempts_used_up"
        /// It was not leased in time.
        case ttlExpired = "ttl_expired"
        /// Its worker said so.
        case buried
        /// Its enqueue record can't be read.
        case unreadable
        /// Too many of its attempts ended without a report.
        case poison
        /// It failed with an error after which it is not tried again.
        case finalError = "final_error"
        /// A job that it waited for has failed.
        case dependency
    }

    /// The job.
    public var id: JobID
    /// Its queue.
    public var queue: String
    /// Where it is in its life.
    public var state: State
    /// How many attempts have begun.
    public var attempt = 0
    /// How many of them ended without a report, as when a worker crashes.
    public var crashes = 0
    /// How often it is tried.
    public var maxAttempts = 0
    /// Higher runs first.
    public var priority = 0
    /// The group it shares its turns with, if any.
    public var group: String?
    /// How many turns that has where one of weight 1 has one.
    public var weight = 1
    /// When it was enqueued; `nil` when its enqueue record can't be read.
    public var enqueuedAt: Timestamp?
    /// When it may run, for a scheduled job.
    public var runAt: Timestamp?
    /// When its lease ends, for a leased job.
    public var deadline: Timestamp?
    /// Its lease's token, for a leased job.
    public var token: LeaseToken?
    /// When its attempt ends, whatever its heartbeats say, for a leased job with a time limit.
    public var mustEndBy: Timestamp?
    /// Who holds it, for a leased job.
    public var worker: String?
    /// How its last failed attempt ended.
    public var lastError: String?
    /// The last progress a heartbeat reported.
    public var progress: [UInt8]?
    /// What its ack reported.
    public var result: [UInt8]?
    /// Until when that is kept; `nil` for as long as history is.
    public var resultKeptUntil: Timestamp?
    /// Why it is dead, for a dead job.
    public var deadReason: DeadReason?
    /// When it was acked, cancelled or died.
    public var finishedAt: Timestamp?
    /// What it waits or waited for, of a job that waits for others or did, while it is unfinished or dead.
    public var dependencies: Dependencies?
    /// Its unique key, if it was given one.
    public var uniqueKey: String?
    /// In the order given.
    public var headers: [JobHeader] = []
    /// What was enqueued, or given in an edit since; `nil` in lists.
    ///
    /// `nil`, too, for a secret that was not asked for, and for one that can't be decoded: `payloadError` says why.
    public var payload: [UInt8]?
    /// Names the key that the payload is encoded with, if it is; `nil` in lists.
    public var payloadKeyID: String?
    /// Why the payload can't be decoded: `.payloadCodec`, naming the key.
    public var payloadError: JobStoreError?
    /// Whether its payload is shown to who holds a lease of it alone.
    public var isSecret = false
    /// Given when it was enqueued.
    public var labels: [String: String] = [:]
    /// Who it belongs to, if that was said.
    public var owner: String?

    init(id: JobID, queue: String, state: State) {
        self.id = id
        self.queue = queue
        self.state = state
    }
}

/// Which jobs to list.
public struct JobFilter: Hashable, Sendable {
    /// Only those of this queue.
    public var queue: String?
    /// Only those in this state.
    public var state: JobInfo.State?
    /// At most so many; 1 to 10,000.
    public var limit = 100
    /// Only those with a greater id.
    public var after: JobID?
    /// Only those that have all of these labels.
    public var labels: [String: String] = [:]
    /// Only those that belong to this owner.
    public var owner: String?

    /// Creates a filter.
    public init(queue: String? = nil, state: JobInfo.State? = nil, limit: Int = 100, after: JobID? = nil) {
        self.queue = queue
        self.state = state
        self.limit = limit
        self.after = after
    }
}

/// One record of a job's life.
public struct HistoryRecord: Hashable, Sendable {
    /// A value in a record.
    public enum Value: Hashable, Sendable {
        /// A number, an id or a time in milliseconds.
        case integer(Int64)
        /// Text.
        case text(String)
        /// A yes or no.
        case flag(Bool)
        /// Bytes that the caller gave: a result, a value or progress.
        case bytes([UInt8])
    }

    /// A named value.
    public struct Field: Hashable, Sendable {
        /// The name in the line protocol, such as `deadline_ms`.
        public let name: String
        /// The value.
        public let value: Value
    }

    /// Its place in the log.
    public let sequence: SequenceNumber
    /// When it happened.
    public let time: Timestamp
    /// What happened: `enqueue`, `lease`, `heartbeat`, `ack`, `requeue`, `expire`, `bury`, `redrive`, `cancel`, `edit`,
    /// `release` or `effect`.
    public let kind: String
    /// What it says, without what identifies the job.
    public let fields: [Field]
}
