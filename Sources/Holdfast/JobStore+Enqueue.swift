// Adding jobs.

internal import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Adds a job, unless a live job of the queue holds its unique key.
    ///
    /// - Returns: The job's id; that of the holder when it is a duplicate.
    /// - Throws: `.badRequest` or `.tooLarge` when a field is out of its limits; `.noSpace`, `.closed` or the store's
    ///   failure. No job is added then, except that after `.ioError` it may be there on the next open.
    /// - Postcondition: The job is durable.
    /// - Complexity: O(log n), and one sync shared with all concurrent callers.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) async throws(JobStoreError) -> EnqueueResult {
        try await core.submitAsync(EnqueueOperation(queue: queue, payload: payload, options: options)).value()
    }

    /// Decides an enqueue; blocks only for room in the journal.
    package func submitEnqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) -> Pending<EnqueueResult> {
        core.submit(EnqueueOperation(queue: queue, payload: payload, options: options))
    }
}

/// A job to be added.
struct EnqueueOperation: StoreOperation {
    let queue: String
    let payload: [UInt8]
    let options: EnqueueOptions

    var access: OperationAccess { .changes }
    var bytes: Int {
        options.headers.reduce(payload.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    }

    func validate(_ store: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(queue, "queue")
        guard payload.count <= store.payloadBytesMax else {
            throw JobStoreError(
                .tooLarge, "`payload` is \(payload.count) bytes long; shorten it to \(store.payloadBytesMax) bytes")
        }
        guard Int8(exactly: options.priority) != nil else {
            throw JobStoreError(.badRequest, "`priority` is \(options.priority); give -128 to 127")
        }
        guard (1...Int(RecordLimits.maxAttemptsMax)).contains(options.maxAttempts) else {
            throw JobStoreError(
                .badRequest, "`max_attempts` is \(options.maxAttempts); give 1 to \(RecordLimits.maxAttemptsMax)")
        }
        guard options.delay == nil || options.runAt == nil else {
            throw JobStoreError(.badRequest, "`delay_ms` and `run_at_ms` are both given; give one")
        }
        if let key = options.uniqueKey { try Limits.checkName(key, "unique_key") }
        guard options.uniqueFor == nil || options.uniqueKey != nil else {
            throw JobStoreError(.badRequest, "`unique_for_ms` is given without `unique_key`; give the key too")
        }
        if let group = options.group { try Limits.checkName(group, "group") }
        guard (1...Int(RecordLimits.weightMax)).contains(options.weight) else {
            throw JobStoreError(.badRequest, "`weight` is \(options.weight); give 1 to \(RecordLimits.weightMax)")
        }
        guard options.weight == 1 || options.group.map({ !$0.isEmpty }) ?? false else {
            throw JobStoreError(
                .badRequest, "`weight` is given without `group`, whose turns it counts; give the group too")
        }
        try Limits.checkHeaders(options.headers)
        // Whether times end before the year 10000 depends on the clock; that they are no nonsense does not.
        if options.delay != nil || options.runAt != nil || options.uniqueFor != nil || options.timeToLive != nil {
            _ = try record(at: .zero)
        }
    }

    /// Returns the record's content, with absolute times.
    func record(at now: Timestamp) throws(JobStoreError) -> Enqueue {
        var enqueue = Enqueue(
            lane: Lane(
                queue: queue, priority: Int8(truncatingIfNeeded: options.priority),
                maxAttempts: UInt32(truncatingIfNeeded: options.maxAttempts), group: options.group ?? "",
                weight: UInt32(truncatingIfNeeded: options.weight)),
            payload: payload)
        if let delay = options.delay {
            let milliseconds = try Limits.delayMilliseconds(delay, "delay_ms")
            if milliseconds > 0 { enqueue.runAt = try Limits.instant(now, plus: milliseconds, "delay_ms") }
        } else if let runAt = options.runAt {
            guard runAt <= .max else {
                throw JobStoreError(.badRequest, "`run_at_ms` is \(runAt), after the year 9999; give an earlier time")
            }
            if runAt > now { enqueue.runAt = runAt }
        }
        enqueue.uniqueKey = options.uniqueKey
        if let uniqueFor = options.uniqueFor {
            let milliseconds = try Limits.delayMilliseconds(uniqueFor, "unique_for_ms", atLeast: 1)
            enqueue.uniqueUntil = try Limits.instant(now, plus: milliseconds, "unique_for_ms")
        }
        if let timeToLive = options.timeToLive {
            let milliseconds = try Limits.delayMilliseconds(timeToLive, "ttl_ms", atLeast: 1)
            enqueue.startBy = try Limits.instant(now, plus: milliseconds, "ttl_ms")
        }
        if !options.headers.isEmpty {
            enqueue.headers = options.headers.map { Enqueue.Header(name: $0.name, value: $0.value) }
        }
        return enqueue
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<EnqueueResult> {
        .value(EnqueueResult(try core.perform(.enqueue(record(at: now)), at: now)))
    }
}

extension EnqueueResult {
    init(_ reply: Reply) {
        switch reply {
        case .enqueued(let id): self.init(id: id, isDuplicate: false)
        case .duplicate(let id): self.init(id: id, isDuplicate: true)
        default: preconditionFailure("an enqueue is answered by an id")
        }
    }
}
