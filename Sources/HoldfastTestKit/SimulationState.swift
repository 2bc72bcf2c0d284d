// What a store should hold and answer: the reference model, what became of jobs that ended, and the rules by which an
// operation of the store becomes commands. Every operation first lets everything fall due, as the store does, even
// one that only reads or that is then refused.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine

/// The expected state after some operation.
struct SimulationState {
    /// What an operation should be answered with.
    enum Outcome {
        /// One reply of the engine for each part; none for what is compared with the state itself.
        case replies([Reply])
        /// One of these codes, at this place of a batch.
        case refused([JobStoreError.Code], index: Int?)
    }

    var model = ReferenceModel()
    /// Jobs that were acked or cancelled, and dead letters that were let go.
    var ended: [JobID: JobInfo.State] = [:]

    /// Lets everything fall due that is due at `now`; its records would be numbered from `next` on.
    ///
    /// - Returns: How many records that takes.
    mutating func expire(at now: Timestamp, next: SequenceNumber) -> Int {
        let before = model.jobIDs
        let count = model.expire(at: now)
        // Of a dead letter that is let go nothing is left.
        if model.unfinishedCount < before.count {
            let left = Set(model.jobIDs)
            for job in before where !left.contains(job) { ended[job] = .dead }
        }
        for job in model.cancelledByDependency { ended[job] = .cancelled }
        model.cancelledByDependency = []
        // Numbers may be left out between two openings.
        if count > 0 { model.last = next.advanced(by: UInt64(count - 1)) }
        return count
    }

    /// Carries an operation out.
    ///
    /// - Returns: What it should be answered with, and how many records it takes.
    mutating func apply(
        _ operation: SimulationOperation, at now: Timestamp, next: SequenceNumber, observed: [LeaseGrant]
    ) -> (outcome: Outcome, records: Int) {
        switch operation {
        case .batch(let operations): return apply(operations, at: now, next: next)
        case .settle(let settlement, let lease):
            let (settled, count) = apply(settlement, at: now, next: next, observed: [])
            guard case .replies(let first) = settled else { return (settled, 0) }
            let place = next.advanced(by: UInt64(count))
            let (leased, more) = apply(lease, at: now, next: place, observed: observed)
            guard case .replies(let second) = leased else { preconditionFailure("the model refuses no lease") }
            return (.replies(first + second), count + more)
        case .purge(let queue, let states): return (.replies([]), purge(queue, states, at: now, next: next))
        case .redriveWhere(let queue, let filter, let speed):
            let (count, skipped) = redrive(queue, filter, perSecond: speed, at: now, next: next)
            return (.replies([.redriven(count: count, skipped: skipped)]), count)
        case .purgeWhere(let queue, let filter):
            let dead = model.deadLetters(of: queue, meeting: filter.criteria, errorContains: filter.errorContains)
            return (.replies([.redriven(count: dead.count, skipped: 0)]), cancel(dead, at: now, next: next))
        case .result(let id) where id.sequence > model.last: return (.refused([.notFound], index: nil), 0)
        case .cancelJobs(let labels, let owner, let queue):
            return (.replies([]), cancel(labels, owner, queue, at: now, next: next))
        case .job, .jobs, .result, .stats, .now: return (.replies([]), 0)
        default: break
        }
        guard let command = command(for: operation, at: now) else { return (.replies([]), 0) }
        do throws(Refusal) {
            let (reply, records) = try perform(command, at: now, next: next, observed: observed)
            return (.replies([reply]), records)
        } catch { return (.refused(error.codes, index: nil), 0) }
    }

    // MARK: - Parts

    /// Why the model refuses; more than one code where compaction decides what the store still knows.
    private struct Refusal: Error { let codes: [JobStoreError.Code] }

    private mutating func apply(
        _ operations: [BatchOperation], at now: Timestamp, next: SequenceNumber
    ) -> (outcome: Outcome, records: Int) {
        var changed = self
        var replies: [Reply] = []
        var count = 0
        for (index, operation) in operations.enumerated() {
            do throws(Refusal) {
                let place = next.advanced(by: UInt64(count))
                let (reply, records) = try changed.perform(
                    Self.command(for: operation, at: now), at: now, next: place, observed: [])
                replies.append(reply)
                count += records
                // What is decided later in a batch does not know of the records of what was decided before.
                changed.model.last = model.last
            } catch { return (.refused(error.codes, index: index), 0) }
        }
        self = changed
        if count > 0 { model.last = next.advanced(by: UInt64(count - 1)) }
        return (.replies(replies), count)
    }

    private mutating func perform(
        _ command: Command, at now: Timestamp, next: SequenceNumber, observed: [LeaseGrant]
    ) throws(Refusal) -> (reply: Reply, records: Int) {
        do {
            let result = try model.perform(command, at: now, next: next, observed: observed)
            switch command {
            case .ack(let job, _, _, _): ended[job] = .completed
            case .cancel(let job, _): ended[job] = .cancelled
            default: break
            }
            return result
        } catch {
            switch command {
            // A store may be full, too, for one that takes another's place.
            case .edit where error.code == .queueFull: throw Refusal(codes: [.queueFull])
            case .release(let job) where model.index(of: job) == nil:
                throw Refusal(codes: [.invalidState, .notFound])
            case .cancel(let job, _), .redrive(let job), .edit(let job, _, _), .release(let job):
                if ended[job] != nil { throw Refusal(codes: [.invalidState, .notFound]) }
                throw Refusal(codes: [model.index(of: job) == nil ? .notFound : .invalidState])
            case .moveCursor: throw Refusal(codes: [error.code == .notFound ? .notFound : .invalidState])
            case .enqueue where error.code == .notFound: throw Refusal(codes: [.notFound])
            case .enqueue: throw Refusal(codes: [error.code == .queueFull ? .queueFull : .invalidState])
            default: throw Refusal(codes: [error.code == .leaseLost ? .leaseLost : .notFound])
            }
        }
    }

    private mutating func purge(
        _ queue: String, _ states: PurgeStates, at now: Timestamp, next: SequenceNumber
    ) -> Int {
        var count = 0
        for job in model.jobs where job.enqueue.lane.queue == queue {
            let isMeant =
                switch job.state {
                case .waiting: states.contains(job.isReady(at: now) ? .ready : .scheduled)
                case .dead: states.contains(.dead)
                case .leased: false
                }
            // One that waited for another that is cancelled may be ready by now, and is not meant then.
            guard isMeant, let index = model.index(of: job.id),
                states.contains(.ready) || !model.jobs[index].isReady(at: now)
            else { continue }
            count += cancel([job.id], at: now, next: next.advanced(by: UInt64(count)))
        }
        return count
    }

    /// Makes dead letters ready again, each at its time, where it is one of several a second.
    private mutating func redrive(
        _ queue: String, _ filter: DeadFilter, perSecond: Int?, at now: Timestamp, next: SequenceNumber
    ) -> (count: Int, skipped: Int) {
        let dead = model.deadLetters(of: queue, meeting: filter.criteria, errorContains: filter.errorContains)
        let list = dead.enumerated().map { index, job in
            Redrive(job: job, runAt: perSecond.map { now.advanced(byMilliseconds: Int64(index * 1000 / $0)) })
        }
        do throws(Refusal) {
            let (reply, _) = try perform(.redriveJobs(list), at: now, next: next, observed: [])
            if case .redriven(let count, let skipped) = reply { return (count, skipped) }
        } catch { assertionFailure("the model redrives any dead job it holds") }
        return (0, 0)
    }

    private mutating func cancel(_ jobs: [JobID], at now: Timestamp, next: SequenceNumber) -> Int {
        var count = 0
        for job in jobs {
            let place = next.advanced(by: UInt64(count))
            do throws(Refusal) {
                count += try perform(.cancel(job: job, lane: nil), at: now, next: place, observed: []).records
            } catch { assertionFailure("the model cancels any job it holds") }
        }
        return count
    }

    private mutating func cancel(
        _ labels: [String: String], _ owner: String?, _ queue: String?, at now: Timestamp, next: SequenceNumber
    ) -> Int {
        var count = 0
        for job in model.jobs where job.has(labels, owner) && job.isMeant(queue) {
            if case .leased = job.state { continue }
            let place = next.advanced(by: UInt64(count))
            do throws(Refusal) {
                count += try perform(.cancel(job: job.id, lane: nil), at: now, next: place, observed: []).records
            } catch { assertionFailure("the model cancels any job it holds") }
        }
        return count
    }

    private func command(for operation: SimulationOperation, at now: Timestamp) -> Command? {
        switch operation {
        case .enqueue(let queue, let payload, let options):
            .enqueue(Enqueue(queue, payload, options, at: now), KeyCollision(options))
        case .edit(let id, let edit): .edit(job: id, lane: nil, JobChanges(edit, at: now))
        case .lease(let queues, let limit, let milliseconds, let worker, let weights):
            .lease(
                queues: queues, limit: limit, milliseconds: milliseconds, worker: worker,
                turns: weights.isEmpty ? nil : LeaseTurns(weights: weights))
        case .heartbeat(let lease, let milliseconds):
            .heartbeat(job: lease.id, token: lease.token, milliseconds: milliseconds, progress: nil)
        case .ack(let lease, let keepFor):
            .ack(
                job: lease.id, token: lease.token, result: SimulationOperation.result(of: lease.id),
                keepMilliseconds: keepFor)
        case .requeue(let lease, let delay, let errorClass, let countsAttempt):
            .requeue(
                job: lease.id, token: lease.token, delayMilliseconds: delay, error: "no", countsAttempt: countsAttempt,
                errorClass: errorClass)
        case .bury(let lease): .bury(job: lease.id, token: lease.token, reason: .buried, error: "bad")
        case .cancel(let id): .cancel(job: id, lane: nil)
        case .redrive(let id): .redrive(job: id)
        case .release(let id): .release(job: id)
        case .redriveQueue(let queue, let limit): .redriveQueue(queue: queue, limit: limit)
        case .effect(let scope, let key, let fence, let value):
            .effect(Effect(scope, key, fence, value))
        case .keptEffect(let scope, let key, let seconds, let value):
            .effect(Effect(scope, key, nil, value, until: now.advanced(byMilliseconds: Int64(seconds) * 1000)))
        case .removeEffect(let scope, let key): .removeEffect(scope: scope, key: key)
        case .setPaused(let queue, let isPaused): .setPaused(queue: queue, isPaused)
        case .configure(let queue, let configuration): .configure(QueueSettings(queue, configuration))
        case .configureStore(let limits):
            .configureStore(StoreSettings(jobs: limits.jobs ?? 0, payloadBytes: limits.payloadBytes ?? 0))
        case .drain(let queue): .setPaused(queue: queue, true)
        case .advance: .advanceClock
        case .openCursor(let name): .moveCursor(name, .create(at: model.last.next, CursorCaps(bytes: 0, age: 0)))
        case .advanceCursor(let name, let next): .moveCursor(name, .advance(to: next))
        case .resetCursor(let name): .moveCursor(name, .reset(to: model.last.next))
        case .removeCursor(let name): .moveCursor(name, .remove)
        case .settle, .batch, .purge, .purgeWhere, .cancelJobs, .redriveWhere, .job, .jobs, .result, .stats, .now: nil
        }
    }

    private static func command(for operation: BatchOperation, at now: Timestamp) -> Command {
        switch operation {
        case .enqueue(let queue, let payload, let options):
            .enqueue(Enqueue(queue, payload, options, at: now), KeyCollision(options))
        case .edit(let id, let edit): .edit(job: id, lane: nil, JobChanges(edit, at: now))
        case .ack(let lease, let result, let keepFor):
            .ack(
                job: lease.id, token: lease.token, result: result,
                keepMilliseconds: keepFor.map { $0.components.seconds * 1000 })
        case .requeue(let lease, let after, let error, let errorClass, let countsAttempt):
            .requeue(
                job: lease.id, token: lease.token,
                delayMilliseconds: after.map { $0.components.seconds * 1000 }, error: error,
                countsAttempt: countsAttempt, errorClass: errorClass)
        case .bury(let lease, let error): .bury(job: lease.id, token: lease.token, reason: .buried, error: error)
        case .cancel(let id): .cancel(job: id, lane: nil)
        case .effect(let scope, let key, let fence, _, let value): .effect(Effect(scope, key, fence, value))
        }
    }
}

extension QueueSettings {
    /// What a change of settings should record.
    fileprivate init(_ queue: String, _ configuration: QueueConfiguration) {
        self.init(
            queue: queue, capacity: configuration.capacity ?? 0, runningMax: configuration.runningMax ?? 0,
            retry: RetryPolicy(simulated: configuration.retry), crashMax: configuration.crashMax ?? 0,
            finalErrors: ErrorClasses(configuration.finalErrors), sharing: Self.sharing(configuration),
            retention: RetentionSettings(
                deadMax: configuration.deadMax ?? 0,
                deadAge: (configuration.deadAge?.components.seconds ?? 0) * 1000,
                results: (configuration.resultRetention?.components.seconds ?? 0) * 1000),
            ageing: configuration.ageing.map { $0.components.seconds * 1000 } ?? 0)
    }

    private static func sharing(_ configuration: QueueConfiguration) -> SharingSettings {
        let rates = [configuration.rate, configuration.groupRate].map { rate in
            rate.map {
                RateLimit(count: $0.count, periodMilliseconds: $0.period.components.seconds * 1000, burst: $0.burst)
            } ?? RateLimit.none
        }
        let limiter = configuration.limiter.map { SharedLimiter(name: $0.name, size: $0.size) }
        return SharingSettings(
            groupRunningMax: configuration.groupRunningMax ?? 0, order: configuration.groupOrder.engineOrder,
            rate: rates[0], limiter: limiter ?? SharedLimiter.none, groupRate: rates[1])
    }
}

extension Effect {
    /// What an effect should record.
    fileprivate init(
        _ scope: String, _ key: String, _ fence: LeaseIdentity?, _ value: [UInt8], until: Timestamp? = nil
    ) {
        self.init(
            scope: scope, key: key, value: value, fence: fence.map { Fence(job: $0.id, token: $0.token) }, until: until)
    }
}

extension RetryPolicy {
    /// What a record should say of a retry. The simulation gives none but fixed ones of whole seconds.
    fileprivate init(simulated retry: QueueConfiguration.Retry) {
        if case .fixed(let delay, let jitter) = retry {
            self.init(.fixed(delay.components.seconds * 1000), jitterPercent: UInt8(jitter))
        } else {
            self = .standard
        }
    }
}

extension KeyCollision {
    fileprivate init(_ options: EnqueueOptions) {
        self =
            switch options.onCollision {
            case .returnExisting: .existing
            case .reject: .reject
            case .replace: .replace
            case .postpone: .postpone
            }
    }
}

extension JobChanges {
    /// What an edit should record. The simulation gives whole seconds.
    fileprivate init(_ edit: JobEdit, at now: Timestamp) {
        self.init()
        queue = edit.queue
        priority = edit.priority.map { Int8($0) }
        maxAttempts = edit.maxAttempts.map { UInt32($0) }
        runAt = edit.runAt ?? edit.delay.map { now.advanced(byMilliseconds: $0.components.seconds * 1000) }
        headers = edit.headers?.map { Enqueue.Header(name: $0.name, value: $0.value) }
        payload = edit.payload
    }
}

extension Enqueue {
    /// What an enqueue with `options` should record. The simulation gives whole seconds.
    fileprivate init(_ queue: String, _ payload: [UInt8], _ options: EnqueueOptions, at now: Timestamp) {
        func after(_ duration: Duration?) -> Timestamp? {
            duration.map { now.advanced(byMilliseconds: $0.components.seconds * 1000) }
        }
        let runAt = options.runAt ?? after(options.delay)
        var terms = JobTerms()
        terms.timeLimit = options.timeLimit.map { $0.components.seconds * 1000 }
        terms.crashMax = options.crashMax
        terms.retry = options.retry.map { RetryPolicy(simulated: $0) }
        terms.finalErrors = ErrorClasses(options.finalErrors)
        self.init(
            lane: Lane(
                queue: queue, priority: Int8(options.priority), maxAttempts: UInt32(options.maxAttempts),
                group: options.group ?? "", weight: UInt32(options.weight)),
            runAt: runAt.flatMap { $0 > now ? $0 : nil }, uniqueKey: options.uniqueKey,
            uniqueUntil: after(options.uniqueFor), isKeyFreedByLease: options.uniqueScope == .queued,
            startBy: after(options.timeToLive), terms: terms.isEmpty ? nil : terms,
            headers: options.headers.map { Header(name: $0.name, value: $0.value) }, payload: payload)
        if !options.after.isEmpty || options.hold || options.before != nil {
            dependencies = EnqueueDependencies(
                after: Set(options.after).sorted(), policy: options.ifOneFails.policy, isHeld: options.hold,
                before: options.before)
        }
        labels = JobLabels(options.labels.map { ($0.key, $0.value) }, owner: options.owner)
        isSecret = options.isSecret
    }
}
