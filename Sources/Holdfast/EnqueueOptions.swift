// What may be said about a job besides its queue and payload.

public import HoldfastBytes

/// The optional properties of a new job.
public struct EnqueueOptions: Hashable, Sendable {
    /// Higher runs first; -128 to 127.
    public var priority = 0
    /// How long it waits before it may run. Not together with `runAt`.
    public var delay: Duration?
    /// When it may run; an instant in the past means at once. Not together with `delay`.
    public var runAt: Timestamp?
    /// How often it is tried; 1 to 1,000,000.
    public var maxAttempts = 5
    /// While a live job of the queue holds this key, another enqueue with it returns that job instead.
    public var uniqueKey: String?
    /// Holds the unique key for this long from the enqueue on, even past the job's end, instead of until its end.
    public var uniqueFor: Duration?
    /// Jobs of several groups in one queue share in turn.
    public var group: String?
    /// How many turns its group has where one of weight 1 has one; 1 to 1000. Needs a group.
    public var weight = 1
    /// Travel with the job; 64 KiB in all.
    public var headers: [JobHeader] = []
    /// The job is dead unless it is leased within this time.
    public var timeToLive: Duration?

    /// Creates the defaults.
    public init() {}
}

/// What an enqueue did.
public struct EnqueueResult: Hashable, Sendable {
    /// The new job, or the one that holds the unique key.
    public let id: JobID
    /// Whether a live job already held the unique key.
    public let isDuplicate: Bool

    /// Creates a result, as a store would return it.
    public init(id: JobID, isDuplicate: Bool) {
        self.id = id
        self.isDuplicate = isDuplicate
    }
}
