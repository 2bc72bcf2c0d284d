// What may be said of other jobs when a job is enqueued, decided and checked. A job never comes to wait for itself:
// what it names is older, and where it is also to be waited for, none of those may wait for that job in turn.

internal import HoldfastBytes

// MARK: - Deciding

extension QueueState {
    /// How many jobs are looked at to find out whether two would wait for each other.
    private static let cycleStepsMax = 10_000

    /// Returns an enqueue as its record has it.
    func resolved(
        _ enqueue: Enqueue, at next: SequenceNumber, in batch: BatchScope
    ) throws(EngineError) -> Enqueue {
        var result = enqueue
        if let asked = enqueue.dependencies {
            result.dependencies = try dependencies(asked, of: JobID(next), in: batch)
            if let before = asked.before { try requireNoStrictOrder(before, enqueue.lane, in: batch) }
        }
        return result
    }

    /// Returns what a new job says of others, with what has ended in this batch, or is dead and ends a wait, counted.
    ///
    /// - Throws: `.notFound` for a job that is not in the state; `.invalidState` for one that has failed already, or
    ///   that can't be waited for by one more.
    private func dependencies(
        _ asked: EnqueueDependencies, of new: JobID, in batch: BatchScope
    ) throws(EngineError) -> EnqueueDependencies {
        var result = asked
        result.after = []
        var place: Slot<LaneRecord>?
        for job in asked.after {
            switch try fate(of: job, before: new, asked.policy, &place, in: batch) {
            case nil:
                let count = (waits.dependents[job.rawValue]?.count ?? 0) + batch.dependentsGrowth(of: job)
                guard count < RecordLimits.dependentsMax else {
                    throw EngineError(
                        .invalidState,
                        "\(count) jobs wait for job \(job), as many as may; let one job wait for it, and the others "
                            + "for that one", job: job)
                }
                result.after.append(job)
            case .done: result.done += 1
            case .dead: result.dead += 1
            case .cancelled: result.cancelled += 1
            }
        }
        if let before = result.before {
            try requireBlocked(before, in: batch)
            try requireOrder(result.after, before, in: batch)
        }
        return result
    }

    /// How a job has ended that is to be waited for; `nil` when it has not.
    private func fate(
        of job: JobID, before new: JobID, _ policy: DependencyPolicy, _ place: inout Slot<LaneRecord>?,
        in batch: BatchScope
    ) throws(EngineError) -> DependencyEnd? {
        let end: DependencyEnd?
        if let fate = batch.fate(of: job) {
            end = DependencyEnd(fate)
        } else {
            let isOfBatch = job.sequence > lastSequence && job < new
            guard job.rawValue > 0, isOfBatch || holds(job.rawValue, near: &place) else { throw .notFound(job) }
            end = entries[job.rawValue]?.phase == .dead ? .dead : nil
        }
        guard let end, policy != .run, end != .done else { return end }
        if end == .dead, policy == .wait { return nil }
        let what = end == .dead ? "is dead; redrive it first" : "was cancelled"
        throw EngineError(
            .invalidState, "job \(job), which is to be waited for, \(what), leave it out, or run however it ended",
            job: job)
    }

    /// Checks that a new job may come to be waited for by `job`, which waits already.
    private func requireBlocked(_ job: JobID, in batch: BatchScope) throws(EngineError) {
        guard job.rawValue > 0, job.sequence <= lastSequence else { throw .notFound(job) }
        let added = batch.dependencies[job]?.count ?? 0
        guard entries[job.rawValue]?.isBlocked ?? false, let own = waits.jobs[job.rawValue],
            batch.fate(of: job) == nil, waits(own, adding: added, in: batch)
        else {
            throw EngineError(
                .invalidState,
                "job \(job) does not wait for jobs (any more); hold it when it is enqueued, and release it when all "
                    + "that it waits for are", job: job)
        }
        guard own.pending.count + added < RecordLimits.pendingMax else {
            throw EngineError(
                .invalidState,
                "job \(job) waits for \(own.pending.count + added) jobs, as many as it may; let it wait for one that "
                    + "waits for a part of them", job: job)
        }
    }

    /// Checks that a new job is not to run before one that is ahead of it in a group in strict order.
    private func requireNoStrictOrder(
        _ before: JobID, _ lane: Lane, in batch: BatchScope
    ) throws(EngineError) {
        guard !lane.group.isEmpty, let queue = table.queue(lane.queue),
            table.queues[queue].terms.sharing.order == .strict, let entry = entries[before.rawValue]
        else { return }
        let other = batch.lane(of: before) ?? table.lane(entry.lane)
        guard other.queue.isSameName(as: lane.queue), other.group.isSameName(as: lane.group) else { return }
        throw EngineError(
            .invalidState,
            "job \(before) is ahead of the new one in group \(lane.group) of queue \(lane.queue), which is in strict "
                + "order: neither would ever run; give the new one another group or queue, or leave out `before`",
            job: before)
    }

    /// Whether a job still waits, and is not about to end, after what the batch has decided.
    private func waits(_ own: JobDependencies, adding added: Int, in batch: BatchScope) -> Bool {
        var ended = 0
        var isDoomed = own.failed != 0
        batch.forEachFate { job, fate in
            guard let end = DependencyEnd(fate), own.pending.contains(job.rawValue) else { return true }
            if own.isEnd(end) { ended += 1 }
            if own.dooms(end) { isDoomed = true }
            return !isDoomed
        }
        return !isDoomed && (own.isHeld || own.pending.count + added > ended)
    }

    /// Checks that none of `after` waits for `before`, through whatever others.
    private func requireOrder(_ after: [JobID], _ before: JobID, in batch: BatchScope) throws(EngineError) {
        guard !after.isEmpty else { return }
        var steps = 0
        var seen: Set<UInt64> = []
        var open = after.map(\.rawValue)
        while let job = open.popLast() {
            guard job != before.rawValue else {
                throw EngineError(
                    .invalidState,
                    "jobs would wait for each other: job \(before) for the new one, and that for it; leave one of the "
                        + "two out", job: before)
            }
            // What ends in this batch waits for nothing any more.
            guard seen.insert(job).inserted, !(batch.fate(of: JobID(job))?.isEnd ?? false) else { continue }
            open += batch.dependencies[JobID(job)]?.map(\.rawValue) ?? []
            waits.jobs[job]?.pending.forEachRange { open += $0 }
            steps += 1
            guard steps <= Self.cycleStepsMax, open.count <= RecordLimits.pendingMax + Self.cycleStepsMax else {
                throw EngineError(
                    .invalidState,
                    "too many jobs wait for each other to see whether job \(before) would wait for itself; name fewer "
                        + "in `after`, or do without `before`", job: before)
            }
        }
    }

    func release(_ job: JobID) throws(EngineError) -> Decision {
        guard job.rawValue > 0, job.sequence <= lastSequence else { throw .notFound(job) }
        guard entries[job.rawValue]?.isBlocked ?? false, waits.jobs[job.rawValue]?.isHeld ?? false else {
            throw EngineError(
                .invalidState, "job \(job) is not held (any more); there is nothing to release", job: job)
        }
        return Decision(.release(Release(job: job)), .done)
    }
}

extension DependencyEnd {
    /// What becomes of a job in a batch, if that is an end.
    fileprivate init?(_ fate: BatchScope.Fate) {
        switch fate {
        case .ended: self = .done
        case .cancelled: self = .cancelled
        case .dead: self = .dead
        case .waiting: return nil
        }
    }
}

// MARK: - Checking

extension QueueState {
    func validate(_ new: EnqueueDependencies, _ record: Record) throws(EngineError) {
        guard new.isValid || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "says impossible things of other jobs")
        }
        var place: Slot<LaneRecord>?
        for job in new.after {
            let isDead = entries[job.rawValue]?.phase == .dead
            let isLegal = holds(job.rawValue, near: &place) && (!isDead || new.policy == .wait)
            guard isLegal || Safeguard.replayedEnqueue.isOff else {
                throw illegal(record, "waits for job \(job), which is not in the state, or dead")
            }
        }
        guard let before = new.before else { return }
        let isBlocked = entries[before.rawValue]?.isBlocked ?? false
        guard isBlocked || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "is waited for by job \(before), which does not wait for jobs")
        }
    }

    func validate(_ release: Release, _ record: Record) throws(EngineError) {
        _ = try require(release.job, allowing: .release, record)
        guard waits.jobs[release.job.rawValue]?.isHeld ?? false || Safeguard.replayedTransition.isOff else {
            throw illegal(record, "releases job \(release.job), which is not held")
        }
    }

    /// Checks the end of a job because of another.
    func validate(_ job: JobID, _ failed: JobID, _ record: Record) throws(EngineError) {
        _ = try require(job, allowing: .expireDependency, record)
        let own = waits.jobs[job.rawValue]
        let isRight = own?.failed == failed.rawValue && own?.policy != .cancel && waits.doomed.contains(job.rawValue)
        guard isRight || Safeguard.replayedExpiry.isOff else {
            throw illegal(record, "ends job \(job) because of job \(failed), which is no reason")
        }
    }
}
