// Adding jobs.

internal import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Adds a job, unless a live job of the queue holds its unique key.
    ///
    /// - Returns: The job's id; that of the holder when it is a duplicate.
    /// - Throws: `.badRequest` or `.tooLarge` when a field is out of its limits; `.queueFull`; `.notFound` for an
    ///   unknown job in `after` or `before`; `.invalidState` for a duplicate that is to be rejected, for a job in
    ///   `after` that has failed, unless this one runs all the same, and for one in `before` that does not wait;
    ///   `.noSpace`, `.closed` or the store's failure. No job is added then, except that after `.ioError` it may be
    ///   there on the next open.
    /// - Postcondition: The job is durable.
    /// - Complexity: O(log n), and one sync shared with all concurrent callers.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) async throws(JobStoreError) -> EnqueueResult {
        try await core.submitAsync(EnqueueOperation(queue: queue, payload: payload, options: options)).value
    }

    /// Decides an enqueue; blocks only for room in the journal.
    package func submitEnqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions()
    ) -> Pending<EnqueueResult> {
        core.submit(EnqueueOperation(queue: queue, payload: payload, options: options))
    }
}

/// A job to be added.
struct EnqueueOperation: JobAddingOperation {
    let queue: String
    private(set) var payload: [UInt8]
    let options: EnqueueOptions
    /// How jobs ended that it names, as far as that was looked up.
    private var endings: [JobID: JobEnding] = [:]

    init(queue: String, payload: [UInt8], options: EnqueueOptions) {
        (self.queue, self.payload, self.options) = (queue, payload, options)
    }

    var access: OperationAccess { .changes }
    var bytes: Int { payload.count + options.dependencyBytes + options.nameBytes }

    var targets: [String] { [queue] }

    func addsNothing(to core: StoreCore) -> Bool {
        options.uniqueKey != nil && core.state.isHeld(options.uniqueKey, in: queue, BatchScope())
    }

    mutating func encode(with codec: any PayloadCodec, _ store: JobStoreOptions) throws(JobStoreError) {
        payload = try PayloadEnvelope.seal(payload, with: codec, store)
    }

    func validate(_ store: JobStoreOptions) throws(JobStoreError) {
        try options.validate(queue: queue, payload: payload, store, at: nil)
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<EnqueueResult> {
        if let lane = options.plainLane(of: queue), core.takesPlainJobs {
            return .value(EnqueueResult(id: core.append(plain: lane, payload, at: now), isDuplicate: false))
        }
        var enqueue = try options.record(queue: queue, payload: payload, at: now)
        // Of whoever holds its key nothing is asked: the same enqueue again gives the same job.
        if options.hasDependencies, !core.state.isHeld(options.uniqueKey, in: queue, BatchScope()) {
            switch try options.dependencies(in: core.state, endings) {
            case .resolved(let dependencies): enqueue.dependencies = dependencies
            case .needsEndings(let jobs): return .needsEndings(jobs)
            }
        }
        return .value(
            EnqueueResult(try core.perform(.enqueue(enqueue, KeyCollision(options.onCollision)), at: now)))
    }

    mutating func supply(_ endings: [JobID: JobEnding]) { self.endings.merge(endings) { $1 } }
}

extension EnqueueOptions {
    /// Checks an enqueue.
    ///
    /// - Parameter place: That in a batch; `nil` outside.
    func validate(
        queue: String, payload: [UInt8], _ store: JobStoreOptions, at place: Int?
    ) throws(JobStoreError) {
        try Limits.checkName(queue, "queue")
        try Limits.checkPayload(payload, store)
        try Limits.checkPriority(priority)
        try Limits.checkMaxAttempts(maxAttempts)
        guard delay == nil || runAt == nil else {
            throw JobStoreError(.badRequest, "`delay_ms` and `run_at_ms` are both given; give one")
        }
        if let group { try Limits.checkName(group, "group") }
        guard (1...Int(RecordLimits.weightMax)).contains(weight) else {
            throw JobStoreError(.badRequest, "`weight` is \(weight); give 1 to \(RecordLimits.weightMax)")
        }
        guard weight == 1 || group.map({ !$0.isEmpty }) ?? false else {
            throw JobStoreError(
                .badRequest, "`weight` is given without `group`, whose turns it counts; give the group too")
        }
        try Limits.checkHeaders(headers)
        if !isPlain { try validateRest(at: place) }
        // Whether times end before the year 10000 depends on the clock; that they are no nonsense does not.
        if delay != nil || runAt != nil || uniqueFor != nil || timeToLive != nil {
            _ = try record(queue: queue, payload: payload, at: .zero)
        }
    }

    private func validateRest(at place: Int?) throws(JobStoreError) {
        if let key = uniqueKey { try Limits.checkName(key, "unique_key") }
        guard uniqueFor == nil || uniqueKey != nil else {
            throw JobStoreError(.badRequest, "`unique_for_ms` is given without `unique_key`; give the key too")
        }
        guard uniqueKey != nil || (uniqueScope, onCollision) == (.unfinished, .returnExisting)
        else {
            throw JobStoreError(
                .badRequest, "`unique_scope` or `on_collision` is given without `unique_key`; give the key too")
        }
        guard uniqueFor == nil || uniqueScope == .unfinished else {
            throw JobStoreError(.badRequest, "`unique_for_ms` and `unique_scope` are both given; give one")
        }
        _ = try terms()
        try validateDependencies(at: place)
        _ = try jobLabels()
        guard !isSecret || onCollision != .replace else {
            throw JobStoreError(
                .badRequest,
                "`secret` does not go with `on_collision` replace: the job that is there may show its payload; "
                    + "leave one out"
            )
        }
    }

    private func lane(of queue: String) -> Lane {
        Lane(
            queue: queue, priority: Int8(truncatingIfNeeded: priority),
            maxAttempts: UInt32(truncatingIfNeeded: maxAttempts), group: group ?? "",
            weight: UInt32(truncatingIfNeeded: weight))
    }

    /// Whether nothing is said of the job but what makes its lane: then it is a plain job.
    private var saysLaneOnly: Bool { isPlain && headers.isEmpty && delay == nil && runAt == nil }

    /// The lane of a plain job; `nil` for others.
    func plainLane(of queue: String) -> Lane? { saysLaneOnly ? lane(of: queue) : nil }

    /// Whether the job is a plain one of `lane`, whose names and numbers are as they may be. No group is not the group
    /// without a name, which is refused.
    func saysOnly(_ lane: Lane, of queue: String) -> Bool {
        saysLaneOnly && priority == Int(lane.priority) && maxAttempts == Int(lane.maxAttempts)
            && weight == Int(lane.weight)
            && queue.hasSameBytes(as: lane.queue)
            && (group.map { !$0.isEmpty && $0.hasSameBytes(as: lane.group) } ?? lane.group.isEmpty)
    }

    /// Returns the content of an enqueue's record, with absolute times.
    func record(queue: String, payload: [UInt8], at now: Timestamp) throws(JobStoreError) -> Enqueue {
        let lane = lane(of: queue)
        let runAt = try Limits.runAt(runAt, after: delay, at: now).flatMap { $0 > now ? $0 : nil }
        // A job that says nothing more is not changed once it is made, because that would copy it.
        if isPlain && headers.isEmpty { return Enqueue(lane: lane, runAt: runAt, payload: payload) }
        var enqueue = Enqueue(lane: lane, runAt: runAt, payload: payload)
        enqueue.headers = headers.map { Enqueue.Header(name: $0.name, value: $0.value) }
        if let key = uniqueKey { enqueue.uniqueKey = key }
        if uniqueScope == .queued { enqueue.isKeyFreedByLease = true }
        if let uniqueFor {
            let milliseconds = try Limits.delayMilliseconds(uniqueFor, "unique_for_ms", atLeast: 1)
            enqueue.uniqueUntil = try Limits.instant(now, plus: milliseconds, "unique_for_ms")
        }
        if let timeToLive {
            let milliseconds = try Limits.delayMilliseconds(timeToLive, "ttl_ms", atLeast: 1)
            enqueue.startBy = try Limits.instant(now, plus: milliseconds, "ttl_ms")
        }
        if let terms = try terms() { enqueue.terms = terms }
        let labels = try jobLabels()
        if !labels.isEmpty { enqueue.labels = labels }
        if isSecret { enqueue.isSecret = true }
        return enqueue
    }

    /// What the record says of attempts; `nil` for nothing.
    fileprivate func terms() throws(JobStoreError) -> JobTerms? {
        if timeLimit == nil && crashMax == nil && retry == nil && finalErrors.isEmpty { return nil }
        var terms = JobTerms()
        if let timeLimit {
            terms.timeLimit = timeLimit.wholeMilliseconds
            guard let limit = terms.timeLimit, (1...JobTerms.timeLimitMax).contains(limit) else {
                throw JobStoreError(.badRequest, "`time_limit_ms` is \(timeLimit); give 1 ms to 366 days")
            }
        }
        if let crashMax {
            try Limits.checkCrashes(crashMax)
            terms.crashMax = crashMax
        }
        terms.retry = try retry?.policy()
        terms.finalErrors = try Limits.errorClasses(finalErrors)
        return terms
    }
}

extension EnqueueResult {
    init(_ reply: Reply) {
        switch reply {
        case .enqueued(let id): self.init(id: id, isDuplicate: false)
        case .duplicate(let id): self.init(id: id, isDuplicate: true)
        case .updated(let id): self.init(id: id, isDuplicate: true, isUpdated: true)
        default: preconditionFailure("an enqueue is answered by an id")
        }
    }
}

extension KeyCollision {
    init(_ collision: UniqueCollision) {
        self =
            switch collision {
            case .returnExisting: .existing
            case .reject: .reject
            case .replace: .replace
            case .postpone: .postpone
            }
    }
}
