// Several operations in one atomic commit. All are decided before anything is applied: the scope carries what the
// earlier ones decided to the later ones, so that one refusal leaves nothing behind.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Does all operations in one atomic commit, or none.
    ///
    /// - Parameter operations: At most 10,000, with at most 64 MiB of payloads, values and results.
    /// - Returns: What each did, in order.
    /// - Throws: What the first refused operation would throw by itself; its `index` says which it is.
    /// - Postcondition: All of them are durable.
    public func batch(_ operations: [BatchOperation]) async throws(JobStoreError) -> [BatchReply] {
        try await core.submitAsync(AtomicBatch(operations: operations)).value
    }

    /// Decides a batch; blocks only for room in the journal, and to read the enqueue records of jobs to be cancelled or
    /// changed.
    package func submitBatch(_ operations: [BatchOperation]) -> Pending<[BatchReply]> {
        core.submit(AtomicBatch(operations: operations))
    }
}

/// A batch.
struct AtomicBatch: JobAddingOperation {
    private(set) var operations: [BatchOperation]
    /// Of payloads, values and results: what a batch may have so many of.
    private var valueBytes = 0
    /// The most that its records take beside them, but for the queues and groups of jobs that it changes.
    private var nameBytes = 0
    /// What it was found to need in all.
    private var neededBytes = 0
    private(set) var access = OperationAccess.settles
    /// Whether some of it needs to know a job.
    private var seeksJobs = false
    /// Whether a job of it has to do with others.
    private var hasDependencies = false
    /// Plain jobs of one lane next to each other, in order.
    private var plainRuns: [PlainRun] = []
    /// All that it does, if that is nothing but plain acks.
    private var plainAcks: PlainAcks?
    private var lookups: [JobID: EnqueueLookup] = [:]
    private var endings: [JobID: JobEnding] = [:]

    init(operations: [BatchOperation]) { self.operations = operations }

    var targets: [String] {
        operations.compactMap { operation in
            switch operation {
            case .enqueue(let queue, _, _): queue
            case .edit(_, let edit): edit.queue
            default: nil
            }
        }
    }

    /// Names don't count before it has run and they are known: small records take what room there is.
    var bytes: Int { max(valueBytes, neededBytes) }

    mutating func encode(with codec: any PayloadCodec, _ options: JobStoreOptions) throws(JobStoreError) {
        valueBytes = 0
        for (index, operation) in operations.enumerated() {
            do throws(JobStoreError) {
                operations[index] = try operation.encoded(with: codec, options)
            } catch { throw error.at(index) }
            valueBytes += operations[index].valueBytes
        }
        for index in plainRuns.indices { plainRuns[index].replacePayloads(from: operations) }
        try checkBytes()
    }

    mutating func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        guard operations.count <= Limits.batchOperationsMax else {
            throw JobStoreError(
                .tooLarge,
                "`ops` holds \(operations.count) operations; split it into batches of at most "
                    + "\(Limits.batchOperationsMax)")
        }
        (valueBytes, nameBytes) = (0, operations.count * Limits.shortRecordBytesMax)
        plainRuns = []
        plainAcks = PlainAcks(operations)
        if plainAcks != nil { return }
        for index in operations.indices {
            do { try note(index, options) } catch { throw error.at(index) }
        }
        for run in plainRuns { nameBytes += run.nameBytes }
        try checkBytes()
    }

    /// Checks an operation and takes in what is to be known of it. An enqueue is looked at once, because each look
    /// copies the operation.
    private mutating func note(_ index: Int, _ store: JobStoreOptions) throws(JobStoreError) {
        switch operations[index] {
        case .enqueue(let queue, let payload, let options):
            access = .changes
            valueBytes += payload.count
            let last = plainRuns.count - 1
            if last >= 0, plainRuns[last].add(index, queue, payload, options) {
                return try Limits.checkPayload(payload, store)
            }
            try options.validate(queue: queue, payload: payload, store, at: index)
            if let lane = options.plainLane(of: queue) {
                plainRuns.append(PlainRun(lane: lane, first: index, payload))
                return
            }
            nameBytes += queue.utf8.count + options.nameBytes
            if options.hasDependencies {
                hasDependencies = true
                valueBytes += options.dependencyBytes
            }
            return
        case .ack(let lease, let result, let keepFor):
            try AckOperation(lease: lease, result: result, keepFor: keepFor).validate(store)
        case .requeue(let lease, let after, let error, let errorClass, let counts):
            try RequeueOperation(
                lease: lease, after: after, error: error, errorClass: errorClass, countsAttempt: counts
            ).validate(store)
        case .bury(_, let error): try Limits.checkValue(error, "error")
        case .cancel: seeksJobs = true
        case .edit(_, let edit):
            access = .changes
            seeksJobs = true
            try edit.validate(store)
        case .effect(let scope, let key, let fence, let tag, let value):
            access = .changes
            try EffectOperation(scope: scope, key: key, fence: fence, value: value, tag: tag).validate(store)
        }
        valueBytes += operations[index].valueBytes
        nameBytes += operations[index].nameBytes
    }

    private func checkBytes() throws(JobStoreError) {
        guard valueBytes <= Limits.batchBytesMax else {
            throw JobStoreError(
                .tooLarge, "`ops` holds \(valueBytes) bytes; split it into batches of at most \(Limits.batchBytesMax)")
        }
    }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { lookups[job] = lookup }

    mutating func supply(_ endings: [JobID: JobEnding]) { self.endings.merge(endings) { $1 } }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[BatchReply]> {
        guard core.hasRoom(for: valueBytes + nameBytes, of: self) else {
            neededBytes = valueBytes + nameBytes
            return .needsRoom
        }
        if let plainAcks, core.ack(plainAcks, at: now) {
            return .value([BatchReply](repeating: .done, count: plainAcks.count))
        }
        // All that is missing is read at once: this runs twice, not once for each job to be cancelled.
        let unknown = seeksJobs ? unknownJobs(to: core) : []
        guard unknown.isEmpty else { return .needsRecords(unknown) }
        let ended = hasDependencies ? finishedJobs(in: core) : []
        guard ended.isEmpty else { return .needsEndings(ended) }
        var scope = BatchScope(operations: operations.count)
        var replies: [BatchReply] = []
        replies.reserveCapacity(operations.count)
        var replayed: [(index: Int, sequence: SequenceNumber)] = []
        var plan = BatchPlan(first: core.log.nextSequence, plainRuns: core.takesPlainJobs ? plainRuns : [])
        var laneBytes = 0
        var index = 0
        while index < operations.count {
            if let jobs = plan.takePlainJobs(at: index, time: now) {
                for job in 0..<jobs.count {
                    let id = JobID(jobs.first.advanced(by: UInt64(job)))
                    replies.append(.enqueued(EnqueueResult(id: id, isDuplicate: false)))
                }
                index += jobs.count
                continue
            }
            let operation = operations[index]
            do throws(JobStoreError) {
                var lane: Lane?
                if let id = operation.soughtJob {
                    guard let known = try core.knownJob(id, lookups[id]) else { return .needsRecords([id]) }
                    lane = known.lane
                    laneBytes += (lane ?? core.state.entryLane(of: id))?.nameBytes ?? 0
                }
                var command = try operation.command(at: now, lane: lane)
                if hasDependencies {
                    switch try dependencies(of: operation, replies, scope, in: core) {
                    case .resolved(nil): break
                    case .resolved(let dependencies): command = command.adding(dependencies)
                    case .needsEndings(let jobs): return .needsEndings(jobs)
                    }
                }
                var decision = try core.decide(consume command, at: now, next: plan.next, in: &scope)
                let reply = plan.add(&decision, at: now)
                replies.append(operation.reply(reply))
                if case .effect(false, let sequence) = reply { replayed.append((index, sequence)) }
            } catch { throw error.at(index) }
            index += 1
        }
        guard core.hasRoom(for: valueBytes + nameBytes + laneBytes, of: self) else {
            neededBytes = valueBytes + nameBytes + laneBytes
            return .needsRoom
        }
        plan.append(to: core)
        guard !replayed.isEmpty else { return .value(replies) }
        let (values, decided) = (replayed, replies)
        return .deferred { () throws(JobStoreError) -> [BatchReply] in
            var replies = decided
            for (index, sequence) in values {
                do throws(JobStoreError) {
                    let effect = try core.existingEffect(at: sequence)
                    replies[index] = .effect(EffectResult(RecordedValue(effect, isReplayed: true)))
                } catch { throw error.at(index) }
            }
            return replies
        }
    }
}

extension PlainAcks {
    /// The acks of a batch of nothing else; `nil` where one has a result, or two may be of one job.
    fileprivate init?(_ operations: [BatchOperation]) {
        guard case .ack = operations.first else { return nil }
        self.init(capacity: operations.count)
        for operation in operations {
            guard case .ack(let lease, nil, nil) = operation, add(lease.id, lease.token) else { return nil }
        }
    }
}

extension Lane {
    /// How many bytes its names take in a record.
    fileprivate var nameBytes: Int { queue.utf8.count + group.utf8.count }
}

/// Operations next to each other that enqueue plain jobs of one lane.
private struct PlainRun {
    let lane: Lane
    let first: Int
    private(set) var payloads: [[UInt8]]

    /// About how many bytes of their records name queue and group.
    var nameBytes: Int { payloads.count * lane.nameBytes }

    init(lane: Lane, first: Int, _ payload: [UInt8]) { (self.lane, self.first, payloads) = (lane, first, [payload]) }

    /// Adds the operation at `index` if it is the next one, and says nothing but what those before it do; returns
    /// whether it was. Then its payload is all that is left to be checked.
    mutating func add(_ index: Int, _ queue: String, _ payload: [UInt8], _ options: EnqueueOptions) -> Bool {
        guard index == first + payloads.count, options.saysOnly(lane, of: queue) else { return false }
        payloads.append(payload)
        return true
    }

    /// Takes the payloads of its operations again, which were encoded.
    mutating func replacePayloads(from operations: [BatchOperation]) {
        for index in payloads.indices {
            if case .enqueue(_, let payload, _) = operations[first + index] { payloads[index] = payload }
        }
    }
}

/// What a batch will append, in order: records, and plain jobs between them.
private struct BatchPlan {
    /// What the next record will have.
    private(set) var next: SequenceNumber
    private var records: [Record] = []
    private var plainJobs: [(jobs: PlainJobs, payloads: [[UInt8]])] = []
    /// The runs that are to come.
    private var runs: ArraySlice<PlainRun>

    init(first: SequenceNumber, plainRuns: [PlainRun]) {
        next = first
        runs = plainRuns[...]
    }

    /// Adds the plain jobs that begin at an operation, if any.
    mutating func takePlainJobs(at index: Int, time: Timestamp) -> PlainJobs? {
        guard let run = runs.first, run.first == index else { return nil }
        runs.removeFirst()
        let jobs = PlainJobs(lane: run.lane, first: next, count: run.payloads.count, time: time)
        plainJobs.append((jobs, run.payloads))
        next = jobs.last.next
        return jobs
    }

    /// Adds what an operation becomes; returns the reply.
    mutating func add(_ decision: inout Decision, at now: Timestamp) -> Reply {
        let before = records.count
        let reply = decision.move(into: &records, at: now, next: next)
        next = next.advanced(by: UInt64(records.count - before))
        return reply
    }

    /// Appends and applies all of it.
    mutating func append(to core: StoreCore) {
        var index = 0
        for (jobs, payloads) in plainJobs {
            while index < records.count, records[index].sequence < jobs.first {
                core.append(&records[index])
                index += 1
            }
            core.append(jobs) { $1.append(payloads[$0]) }
        }
        while index < records.count {
            core.append(&records[index])
            index += 1
        }
    }
}

extension AtomicBatch {
    /// Returns, in order, the jobs to be cancelled or changed whose enqueue record is not at hand.
    private func unknownJobs(to core: StoreCore) -> [JobID] {
        var unknown: Set<JobID> = []
        for operation in operations {
            guard let id = operation.soughtJob, lookups[id] == nil else { continue }
            // What is refused is refused in its turn, with its index.
            do { if try core.knownJob(id, nil) == nil { unknown.insert(id) } } catch { continue }
        }
        return unknown.sorted()
    }
}

extension AtomicBatch {
    /// Returns the jobs that enqueues name to wait for and of whose end nothing is known yet.
    private func finishedJobs(in core: StoreCore) -> [JobID] {
        var jobs: Set<JobID> = []
        for case .enqueue(_, _, let options) in operations { jobs.formUnion(options.after) }
        return jobs.isEmpty ? [] : core.state.finished(among: jobs.sorted()).filter { endings[$0] == nil }
    }

    /// Returns what an operation says of other jobs, after those before it were answered with `replies`.
    private func dependencies(
        of operation: BatchOperation, _ replies: [BatchReply], _ scope: BatchScope, in core: StoreCore
    ) throws(JobStoreError) -> ResolvedDependencies {
        guard case .enqueue(let queue, _, let options) = operation, options.hasDependencies,
            !core.state.isHeld(options.uniqueKey, in: queue, scope)
        else { return .resolved(nil) }
        var indexed: [JobID] = []
        for index in options.afterIndex {
            guard case .enqueued(let result) = replies[index] else {
                throw JobStoreError(
                    .badRequest, "`after_index` names operation \(index) of the batch, which enqueues no job")
            }
            indexed.append(result.id)
        }
        return try options.dependencies(in: core.state, indexed: indexed, endings)
    }
}

extension Command {
    /// The same enqueue, with what it says of other jobs.
    fileprivate func adding(_ dependencies: EnqueueDependencies?) -> Command {
        guard case .enqueue(var enqueue, let collision) = self else { return self }
        enqueue.dependencies = dependencies
        return .enqueue(enqueue, collision)
    }
}

extension BatchOperation {
    /// The job that has to be known before this is decided.
    fileprivate var soughtJob: JobID? {
        switch self {
        case .cancel(let id), .edit(let id, _): id
        default: nil
        }
    }

    /// The same with its payload encoded, if it has one.
    fileprivate func encoded(
        with codec: any PayloadCodec, _ options: JobStoreOptions
    ) throws(JobStoreError) -> BatchOperation {
        switch self {
        case .enqueue(let queue, let payload, let enqueueOptions):
            return .enqueue(
                queue: queue, payload: try PayloadEnvelope.seal(payload, with: codec, options), options: enqueueOptions)
        case .edit(let id, var edit):
            try edit.encode(with: codec, options)
            return .edit(id, edit)
        default: return self
        }
    }

    /// What the names of one take that enqueues nothing; queue and group of a job that it changes are not known yet.
    fileprivate var nameBytes: Int {
        switch self {
        case .enqueue, .ack, .bury, .cancel: 0
        case .requeue(_, _, _, let errorClass, _): errorClass?.utf8.count ?? 0
        case .edit(_, let edit):
            Limits.optionBytesMax + (edit.queue?.utf8.count ?? 0) + (edit.headers ?? []).recordBytes
        case .effect(let scope, let key, _, let tag, _):
            Limits.optionBytesMax + scope.utf8.count + key.utf8.count + tag.utf8.count
        }
    }

    /// The bytes that count towards a batch's limit.
    fileprivate var valueBytes: Int {
        switch self {
        case .enqueue(_, let payload, let options): payload.count + options.dependencyBytes
        case .ack(_, let result, _): result?.count ?? 0
        case .requeue(_, _, let error, _, _), .bury(_, let error): error?.utf8.count ?? 0
        case .cancel: 0
        case .edit(_, let edit): edit.payload?.count ?? 0
        case .effect(_, _, _, _, let value): value.count
        }
    }

    fileprivate func command(at now: Timestamp, lane: Lane?) throws(JobStoreError) -> Command {
        switch self {
        case .enqueue(let queue, let payload, let options):
            return .enqueue(
                try options.record(queue: queue, payload: payload, at: now),
                KeyCollision(options.onCollision))
        case .ack(let lease, let result, let keepFor):
            return try AckOperation(lease: lease, result: result, keepFor: keepFor).command(at: now)
        case .requeue(let lease, let after, let error, let errorClass, let countsAttempt):
            return try RequeueOperation(
                lease: lease, after: after, error: error, errorClass: errorClass, countsAttempt: countsAttempt
            ).command(at: now)
        case .bury(let lease, let error):
            return .bury(job: lease.id, token: lease.token, reason: .buried, error: error)
        case .cancel(let id): return .cancel(job: id, lane: lane)
        case .edit(let id, let edit): return .edit(job: id, lane: lane, try edit.changes(at: now))
        case .effect(let scope, let key, let fence, let tag, let value):
            return try EffectOperation(scope: scope, key: key, fence: fence, value: value, tag: tag).command(at: now)
        }
    }

    fileprivate func reply(_ reply: Reply) -> BatchReply {
        switch self {
        case .enqueue: .enqueued(EnqueueResult(reply))
        case .requeue: .requeued(RequeueOutcome(reply))
        // The value of one that was there before is read after the commit.
        case .effect(_, _, _, let tag, let value):
            .effect(EffectResult(RecordedValue(value: value, tag: tag, isFailure: false, isReplayed: false)))
        case .ack, .bury, .cancel, .edit: .done
        }
    }
}
