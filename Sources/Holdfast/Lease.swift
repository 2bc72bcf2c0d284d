// What a worker holds while it runs a job.

public import HoldfastBytes
internal import HoldfastEngine

/// Names one attempt at one job: what settling needs.
public struct LeaseIdentity: Hashable, Sendable {
    /// The job.
    public let id: JobID
    /// Proof of the attempt.
    public let token: LeaseToken

    /// Names the attempt with `token` at job `id`.
    public init(id: JobID, token: LeaseToken) {
        self.id = id
        self.token = token
    }
}

/// Anything that tells which lease is meant: a `Lease`, or just its identity.
public protocol LeaseReference: Sendable {
    /// The attempt that is meant.
    var identity: LeaseIdentity { get }
}

extension LeaseIdentity: LeaseReference {
    /// Itself.
    public var identity: LeaseIdentity { self }
}

/// A name and a value that travel with a job.
public struct JobHeader: Hashable, Sendable {
    /// What the value is.
    public var name: String
    /// The value.
    public var value: String

    /// Creates a pair.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

extension [JobHeader] {
    /// The most that they take in a record.
    var recordBytes: Int {
        reduce(isEmpty ? 0 : Limits.listedBytesMax) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + Limits.listedBytesMax
        }
    }
}

/// The right to run one job until its deadline.
public struct Lease: Hashable, Sendable, LeaseReference {
    /// The job.
    public let id: JobID
    /// Proof of this attempt; tokens of one store only grow, so they also fence what the job touches outside.
    public let token: LeaseToken
    /// 1 for the first.
    public let attempt: Int
    /// The queue it came from.
    public let queue: String
    /// Higher runs first.
    public let priority: Int
    /// The group it shares its turns with, if any.
    public let group: String?
    /// What was enqueued, or given in an edit since.
    public let payload: [UInt8]
    /// In the order given.
    public let headers: [JobHeader]
    /// When it was enqueued.
    public let enqueuedAt: Timestamp
    /// When the lease ends unless it is renewed by a heartbeat.
    public let deadline: Timestamp
    /// When the attempt ends, whatever its heartbeats say; `nil` when the job has no time limit.
    public let mustEndBy: Timestamp?
    /// How the attempt before this one ended, if it failed.
    public let lastError: String?
    /// Given when it was enqueued.
    public let labels: [String: String]
    /// Who it belongs to, if that was said.
    public let owner: String?
    /// Whether its payload is to be shown to nobody else.
    public let isSecret: Bool

    /// What settling needs.
    public var identity: LeaseIdentity { LeaseIdentity(id: id, token: token) }
}

/// What became of a job given back.
public struct RequeueOutcome: Hashable, Sendable {
    /// `.ready`, `.scheduled`, or `.dead` when the attempts are used up.
    public let state: JobInfo.State
    /// When a scheduled job may be leased.
    public let runAt: Timestamp?
}
