// What may be changed about a job that waits.

public import HoldfastBytes
internal import HoldfastEngine

/// Changes of a job that is ready or scheduled; what is `nil` stays as it is.
public struct JobEdit: Hashable, Sendable {
    /// Moves it into this queue.
    public var queue: String?
    /// Higher runs first; -128 to 127.
    public var priority: Int?
    /// How long it waits from now on before it may run; zero for not at all. Not together with `runAt`.
    public var delay: Duration?
    /// When it may run; an instant in the past means at once. Not together with `delay`.
    public var runAt: Timestamp?
    /// How often it is tried; more than it was already, and 1,000,000 at most.
    public var maxAttempts: Int?
    /// Travels with it instead of what was enqueued.
    public var payload: [UInt8]?
    /// Travel with it instead of those that were enqueued.
    public var headers: [JobHeader]?

    /// Creates changes.
    public init(
        queue: String? = nil, priority: Int? = nil, delay: Duration? = nil, runAt: Timestamp? = nil,
        maxAttempts: Int? = nil, payload: [UInt8]? = nil, headers: [JobHeader]? = nil
    ) {
        self.queue = queue
        self.priority = priority
        self.delay = delay
        self.runAt = runAt
        self.maxAttempts = maxAttempts
        self.payload = payload
        self.headers = headers
    }
}

extension JobEdit {
    /// About how many bytes its record has.
    var bytes: Int { (payload?.count ?? 0) + (headers ?? []).recordBytes }

    mutating func encode(with codec: any PayloadCodec, _ store: JobStoreOptions) throws(JobStoreError) {
        if let plain = payload { payload = try PayloadEnvelope.seal(plain, with: codec, store) }
    }

    func validate(_ store: JobStoreOptions) throws(JobStoreError) {
        guard self != JobEdit() else {
            throw JobStoreError(
                .badRequest,
                "an edit changes nothing; give `queue`, `priority`, `delay_ms` or `run_at_ms`, `max_attempts`, "
                    + "`payload` or `headers`")
        }
        if let queue { try Limits.checkName(queue, "queue") }
        if let priority { try Limits.checkPriority(priority) }
        if let maxAttempts { try Limits.checkMaxAttempts(maxAttempts) }
        if let payload { try Limits.checkPayload(payload, store) }
        if let headers { try Limits.checkHeaders(headers) }
        guard delay == nil || runAt == nil else {
            throw JobStoreError(.badRequest, "`delay_ms` and `run_at_ms` are both given; give one")
        }
        _ = try Limits.runAt(runAt, after: delay, at: .zero)
    }

    /// Returns the changes in absolute terms.
    func changes(at now: Timestamp) throws(JobStoreError) -> JobChanges {
        var changes = JobChanges()
        changes.queue = queue
        changes.priority = priority.map { Int8(truncatingIfNeeded: $0) }
        changes.maxAttempts = maxAttempts.map { UInt32(truncatingIfNeeded: $0) }
        changes.runAt = try Limits.runAt(runAt, after: delay, at: now)
        changes.headers = headers?.map { Enqueue.Header(name: $0.name, value: $0.value) }
        changes.payload = payload
        return changes
    }
}
