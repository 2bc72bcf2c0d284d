// What a command becomes. Reads only: the decision is applied, record by record, by `apply`, and by nothing else.
// The caller has applied `overdue(at: now)` and called `promoteDue(at: now)` before, so that no decision rests on a
// deadline that has passed without a record.

package import HoldfastBytes

extension QueueState {
    /// Decides `command` at `now`; its mutations become the records from sequence number `next` on.
    ///
    /// - Parameter batch: What earlier operations of the same atomic batch decided; a fresh one otherwise. Leases and
    ///   redrives are no part of batches.
    /// - Throws: `.notFound`, `.leaseLost`, `.queueFull` or `.invalidState`; `batch` is unchanged then.
    /// - Precondition: What is overdue at `now` was recorded and applied.
    package func decide(
        _ command: consuming Command, at now: Timestamp, next: SequenceNumber, in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        assert(next > lastSequence, "sequence numbers only grow")
        switch consume command {
        case .enqueue(let enqueue, let collision):
            return try decide(enqueue, collision, at: now, next: next, in: &batch)
        case .lease(let queues, let limit, let milliseconds, let worker, let turns):
            try requireAlone(batch)
            let deadline = now.advanced(byMilliseconds: milliseconds)
            let granted = grant(
                from: queues, turns, limit: limit, until: deadline, worker: worker, at: now, first: next)
            return Decision(mutations: Mutations(granted.grants.map { .lease($0) }), reply: .leased(granted.grants))
        case .heartbeat(let job, let token, let milliseconds, let progress):
            _ = try requireLease(job, token, at: now, in: batch)
            let latest = mustEndBy.isEmpty ? nil : mustEndBy[job.rawValue]
            let deadline = min(
                now.advanced(byMilliseconds: milliseconds), latest.map { Timestamp(milliseconds: $0) } ?? .max)
            let heartbeat = Heartbeat(job: job, token: token, deadline: deadline, progress: progress)
            return Decision(.heartbeat(heartbeat), .heartbeat(deadline: deadline))
        case .ack(let job, let token, let result, let span):
            let entry = try requireLease(job, token, at: now, in: batch)
            settle(job, entry, as: .ended, in: &batch)
            let until = resultEnd(entry, result, span, at: now)
            return Decision(.ack(Ack(job: job, token: token, result: result, until: until)), .done)
        case .requeue(let job, let token, let delay, let error, let countsAttempt, let errorClass):
            let entry = try requireLease(job, token, at: now, in: batch)
            let outcome = outcome(of: job, entry, delay, countsAttempt, errorClass, at: now)
            let attempt = countsAttempt ? entry.attempt : max(entry.attempt, 1) - 1
            settle(job, entry, as: outcome == .dead ? .dead : .waiting(attempt: attempt), in: &batch)
            let requeue = Requeue(
                job: job, token: token, outcome: outcome, countsAttempt: countsAttempt, error: error,
                errorClass: errorClass)
            return Decision(.requeue(requeue), .requeued(outcome))
        case .bury(let job, let token, let reason, let error):
            let entry = try requireLease(job, token, at: now, in: batch)
            settle(job, entry, as: .dead, in: &batch)
            return Decision(.bury(Bury(job: job, token: token, reason: reason, error: error)), .done)
        case .cancel(let job, let lane): return try cancel(job, lane, in: &batch)
        case .edit(let job, let lane, let changes): return try edit(job, lane, changes, at: now, in: &batch)
        case .redrive(let job):
            try requireAlone(batch)
            return try redrive(job)
        case .redriveJobs(let jobs):
            try requireAlone(batch)
            return redrive(jobs, at: now, in: &batch)
        case .release(let job):
            try requireAlone(batch)
            return try release(job)
        case .redriveQueue(let queue, let limit):
            try requireAlone(batch)
            return redrive(queue, limit, in: batch)
        case .effect(let effect): return try decide(effect, at: now, next: next, in: &batch)
        case .removeEffect(let scope, let key):
            try requireAlone(batch)
            guard effects[EffectKey(scope, key)] != nil else {
                return Decision(mutations: .none, reply: .effectRemoved(false))
            }
            return Decision(.effectRemove(EffectRemove(scope: scope, key: key)), .effectRemoved(true))
        case .configure(var settings):
            let known = terms(of: settings.queue)
            let isSame = settings.applied(to: known) == known
            // What nearly nobody says is not spelled out each time.
            if settings.sharing.applied(to: known.sharing) == known.sharing { settings.sharing = SharingSettings() }
            if settings.retention.applied(to: known.retention) == known.retention {
                settings.retention = RetentionSettings()
            }
            if settings.ageing ?? 0 == known.ageing ?? 0 { settings.ageing = nil }
            return Decision(mutations: isSame ? .none : .one(.queueSettings(settings)), reply: .done)
        case .advanceClock: return Decision(.clock(ClockAdvance()), .done)
        case .moveCursor(let name, let move):
            try requireAlone(batch)
            return try decide(name, move)
        case .configureStore(let settings): return decide(settings)
        }
    }

    // MARK: - Enqueue

    private func decide(
        _ enqueue: consuming Enqueue, _ collision: KeyCollision, at now: Timestamp, next: SequenceNumber,
        in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        let queue = enqueue.lane.queue
        if let key = enqueue.uniqueKey, let holder = holder(of: key, in: queue, batch), Safeguard.uniqueKey.isOn {
            return try collide(enqueue, holder, collision, at: now, in: &batch)
        }
        // Only what names others is copied.
        let dependent = enqueue.dependencies != nil ? try resolved(enqueue, at: next, in: batch) : nil
        try reserve(in: queue, &batch)
        if storeTally != nil { try reserveInStore(JobID(next), bytes: enqueue.payload.count, &batch) }
        if let key = enqueue.uniqueKey {
            batch.setHolder(JobID(next), queue: queue, key: key)
            batch.setLane(enqueue.lane, of: JobID(next))
        }
        if let dependencies = dependent?.dependencies { batch.add(dependencies, of: JobID(next)) }
        if let dependent { return Decision(.enqueue(dependent), .enqueued(JobID(next))) }
        return Decision(.enqueue(enqueue), .enqueued(JobID(next)))
    }

    /// Notes that a job is about to come into a queue, if that takes one more.
    func reserve(in queue: String, _ batch: inout BatchScope) throws(EngineError) {
        guard table.cappedQueues > 0, let slot = table.queue(queue), let capacity = table.queues[slot].terms.capacity
        else { return }
        let held =
            table.queues[slot].ready + table.queues[slot].scheduled + table.queues[slot].leased
            + batch.growth(of: queue)
        guard held < capacity else { throw .queueFull(queue, capacity) }
        batch.grow(queue, by: 1)
    }

    /// What a queue does with its jobs.
    package func terms(of queue: String) -> QueueTerms { table.queue(queue).map { table.queues[$0].terms } ?? .init() }

    /// Whether a job holds the key, also one of the batch.
    package func isHeld(_ key: String?, in queue: String, _ batch: BatchScope) -> Bool {
        key.map { holder(of: $0, in: queue, batch) != nil } ?? false
    }

    func holder(of key: String, in queue: String, _ batch: BatchScope) -> JobID? {
        if let pending = batch.holder(queue: queue, key: key) { return pending }
        guard let slot = table.queue(queue) else { return nil }
        return uniqueKeys[UniqueKey(queue: slot, key: Name(key))].map { JobID($0.job) }
    }

    // MARK: - Settling

    private func requireLease(
        _ job: JobID, _ token: LeaseToken, at now: Timestamp, in batch: BatchScope
    ) throws(EngineError) -> JobEntry {
        let isSettledInBatch = batch.fate(of: job) != nil && Safeguard.batchSettlement.isOn
        guard let entry = leasedEntry(job, token), !isSettledInBatch else {
            guard job.sequence <= lastSequence else { throw .notFound(job) }
            throw .leaseLost(
                job, token, isSettledInBatch ? nil : status(of: job, at: now), isSettledInBatch: isSettledInBatch)
        }
        assert(entry.deadline > now.milliseconds, "a deadline that has passed was recorded before")
        return entry
    }

    private func settle(_ job: JobID, _ entry: JobEntry, as fate: BatchScope.Fate, in batch: inout BatchScope) {
        let isDead = entry.phase == .dead || batch.fate(of: job) == .dead
        batch.settle(job, as: fate)
        if case .waiting = fate { return }
        releaseKey(of: job, entry, in: &batch)
        if !isDead { shrinkStore(job, in: &batch) }
        guard !isDead, table.cappedQueues > 0 else { return }
        shrink(batch.lane(of: job)?.queue ?? table.queues[table.lanes[entry.lane].queue].name, in: &batch)
    }

    /// Notes that a job which had not finished is about to leave its queue.
    func shrink(_ queue: String, in batch: inout BatchScope) {
        if table.cappedQueues > 0, terms(of: queue).capacity != nil { batch.grow(queue, by: -1) }
    }

    private func releaseKey(of job: JobID, _ entry: JobEntry, in batch: inout BatchScope) {
        guard entry.flags.contains(.hasUniqueKey), !entry.flags.contains(.keyIsWindowed),
            let key = keysOfJobs[job.rawValue]
        else { return }
        let queue = batch.lane(of: job)?.queue ?? table.queues[table.lanes[entry.lane].queue].name
        if holder(of: key.string, in: queue, batch) == job { batch.setHolder(nil, queue: queue, key: key.string) }
    }

    private func outcome(
        of job: JobID, _ entry: JobEntry, _ delay: Int64?, _ countsAttempt: Bool, _ errorClass: String?,
        at now: Timestamp
    ) -> Requeue.Outcome {
        if countsAttempt, deathByFailure(job.rawValue, entry, errorClass) != nil { return .dead }
        let policy = countsAttempt && delay == nil ? retryDelay(of: job.rawValue, entry) : 0
        let runAt = now.advanced(byMilliseconds: max(delay ?? policy, 0))
        return runAt > now ? .scheduled(runAt: runAt) : .ready
    }

    private func cancel(_ job: JobID, _ lane: Lane?, in batch: inout BatchScope) throws(EngineError) -> Decision {
        let finished = EngineError(
            .invalidState, "job \(job) has already finished; only an unfinished or dead job can be cancelled", job: job)
        if batch.fate(of: job)?.isEnd ?? false { throw finished }
        if let entry = entries[job.rawValue] {
            settle(job, entry, as: .cancelled, in: &batch)
            return Decision(.cancel(Cancel(job: job, lane: batch.lane(of: job) ?? table.lane(entry.lane))), .done)
        }
        guard let lane else { throw .notFound(job) }
        guard isPlainReady(job, lane: lane) else { throw job.sequence <= lastSequence ? finished : .notFound(job) }
        batch.settle(job, as: .cancelled)
        shrinkStore(job, in: &batch)
        let last = batch.lane(of: job) ?? lane
        shrink(last.queue, in: &batch)
        return Decision(.cancel(Cancel(job: job, lane: last)), .done)
    }

    // MARK: - Redrive and effects

    private func redrive(_ job: JobID) throws(EngineError) -> Decision {
        guard let entry = entries[job.rawValue], entry.phase == .dead else {
            guard job.sequence <= lastSequence else { throw .notFound(job) }
            throw EngineError(.invalidState, "job \(job) is not dead; only a dead job can be redriven", job: job)
        }
        if let key = keysOfJobs[job.rawValue] {
            let unique = UniqueKey(queue: table.lanes[entry.lane].queue, key: key)
            if let other = uniqueKeys[unique], other.job != job.rawValue, Safeguard.redrivenUniqueKey.isOn {
                throw EngineError(
                    .invalidState,
                    "job \(other.job) holds the unique key of job \(job); redrive this one when that has ended",
                    job: job)
            }
        }
        return Decision(.redrive(Redrive(job: job)), .redriven(count: 1, skipped: 0))
    }

    private func redrive(_ queue: String, _ limit: Int, in batch: BatchScope) -> Decision {
        var mutations: [Mutation] = []
        var skipped = 0
        var pending = batch
        var cursor = table.queue(queue).flatMap { table.queues[$0].dead.first }
        while let job = cursor, mutations.count < limit, let slot = table.queue(queue) {
            cursor = table.queues[slot].dead.first(after: job)
            if let key = keysOfJobs[job]?.string {
                if let other = holder(of: key, in: queue, pending), other.rawValue != job,
                    Safeguard.redrivenUniqueKey.isOn
                {
                    skipped += 1
                    continue
                }
                if entries[job]?.flags.contains(.keyIsWindowed) == false {
                    pending.setHolder(JobID(job), queue: queue, key: key)
                }
            }
            mutations.append(.redrive(Redrive(job: JobID(job))))
        }
        return Decision(
            mutations: Mutations(mutations), reply: .redriven(count: mutations.count, skipped: skipped))
    }

    private func decide(
        _ effect: Effect, at now: Timestamp, next: SequenceNumber, in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        if let fence = effect.fence, Safeguard.effectFence.isOn {
            _ = try requireLease(fence.job, fence.token, at: now, in: batch)
        }
        let key = EffectKey(effect.scope, effect.key)
        if let known = batch.effect(key) ?? effects[key].map({ SequenceNumber($0) }) {
            return Decision(mutations: .none, reply: .effect(recorded: false, sequence: known))
        }
        batch.record(key, at: next)
        return Decision(.effect(effect), .effect(recorded: true, sequence: next))
    }

    func requireAlone(_ batch: BatchScope) throws(EngineError) {
        guard batch.isEmpty else {
            throw EngineError(.invalidState, "a lease or redrive can't be part of a batch; send it on its own")
        }
    }
}
