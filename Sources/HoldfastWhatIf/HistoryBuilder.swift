// Turns records into a history that can be driven again, and measures the run as it was.
//
// What was there when the range begins comes in at its first instant: leased jobs first, then the others in the order
// of their ids. An attempt that was running then is as long as what was left of it.

package import HoldfastBytes
package import HoldfastEngine

/// Reads a range of the log, record by record.
package struct HistoryBuilder {
    private struct Lease {
        let attempt: Int32
        let since: Int64
    }

    private var history = RecordedHistory()
    private var measurement = RunMeasurement(queues: 0)
    private var queueIndices: [String: Int32] = [:]
    private var laneIndices: [Lane: Int32] = [:]
    private var settingsNumbers: [QueueSettings: Int32] = [:]
    /// Jobs that are unfinished or dead.
    private var indices: [UInt64: Int32] = [:]
    private var leases: [Int32: Lease] = [:]
    /// The last attempt of each job; -1 for none.
    private var lastAttempts: [Int32] = []
    private var leasedNow: [Int] = []
    private var waits = RecordedWaits()
    /// What was there before the range.
    private let base: QueueState
    private let bounds: RecordedHistory.Bounds
    private var start: Int64?

    /// Begins a range.
    ///
    /// - Parameters:
    ///   - base: The state before the first record.
    ///   - start: The first instant; that of the first record when `nil`.
    ///   - bounds: How much there is room for.
    package init(
        after base: QueueState, from start: Timestamp? = nil, bounds: RecordedHistory.Bounds = .init()
    ) {
        assert(bounds.attempts < Int(Int32.max) && bounds.jobs < Int(Int32.max), "indices have 32 bits")
        self.base = base
        self.bounds = bounds
        self.start = start?.milliseconds
    }

    /// Adds the next record.
    ///
    /// - Returns: Whether there is room for more.
    package mutating func add(_ record: Record) -> Bool {
        let time = record.time.milliseconds
        if history.records == 0 { begin(at: start ?? time) }
        history.records += 1
        history.end = max(history.end, time)
        switch record.mutation {
        case .enqueue(let enqueue):
            let runAt = enqueue.runAt.map { max($0.milliseconds, time) } ?? time
            let job = RecordedJob(
                id: record.sequence.rawValue, lane: lane(enqueue.lane), arrivedAt: time,
                runAt: runAt > time ? runAt : 0, startBy: enqueue.startBy?.milliseconds ?? 0)
            arrive(job, runnableAt: runAt)
            if let said = enqueue.dependencies {
                let after = said.after.compactMap { indices[$0.rawValue] }
                depend(record.sequence.rawValue, after, said.policy, said.isHeld, before: said.before, runAt, at: time)
            }
        case .lease(let grant):
            guard let job = indices[grant.job.rawValue] else { break }
            lease(job, until: grant.deadline.milliseconds, at: time)
        case .heartbeat(let heartbeat):
            guard let job = indices[heartbeat.job.rawValue], let lease = leases[job] else { break }
            history.attempts[Int(lease.attempt)].heartbeatAt = time - lease.since
            history.attempts[Int(lease.attempt)].lease = heartbeat.deadline.milliseconds - time
        case .ack(let ack):
            guard let job = end(ack.job, .ack, at: time) else { break }
            measurement.complete(Int(job), at: time)
            indices[ack.job.rawValue] = nil
            go(on: waits.end(job, isDone: true), at: time)
        case .requeue(let requeue): add(requeue, at: time)
        case .bury(let bury):
            guard let job = end(bury.job, .bury, at: time) else { break }
            die(job, at: time)
        case .expire(let expire): add(expire, at: time)
        case .redrive(let redrive): add(redrive, at: time)
        case .cancel(let cancel):
            guard let job = indices[cancel.job.rawValue] else { break }
            _ = end(cancel.job, .open, at: time)
            measurement.cancel(Int(job), at: time)
            indices[cancel.job.rawValue] = nil
            // What follows from another end follows again, or not.
            if !waits.isDoomed(job) { history.inputs.append(RecordedInput(time: time, action: .cancel(job))) }
            go(on: waits.end(job), at: time)
        case .release(let release):
            guard let job = indices[release.job.rawValue] else { break }
            history.inputs.append(RecordedInput(time: time, action: .release(job)))
            go(on: waits.release(job), at: time)
        case .edit(let edit): add(edit, at: time)
        case .queueSettings(let settings):
            configure(settings, at: time)
        case .effect, .effectRemove, .clock, .cursorSet, .cursorRemove, .storeSettings: break
        }
        return history.jobs.count < bounds.jobs && history.attempts.count < bounds.attempts
            && history.inputs.count < bounds.inputs
    }

    /// Ends the range.
    package consuming func finish() -> (history: RecordedHistory, measurement: RunMeasurement) {
        for (_, lease) in leases { history.attempts[Int(lease.attempt)].service = history.end - lease.since }
        let (recorded, end) = (history, history.end)
        history.leftOut = recorded.jobs.indices.count { recorded.isLeftOut($0) }
        history.collectSamples()
        measurement.finish(at: end) { recorded.isLeftOut($0) }
        return (history, measurement)
    }

    // MARK: - One method per kind

    private mutating func configure(_ settings: QueueSettings, at time: Int64) {
        var settings = settings
        // What was refused for it is not in the log, and what is there was taken.
        settings.capacity = nil
        let number = settingsNumbers[settings] ?? Int32(history.settings.count)
        if settingsNumbers.updateValue(number, forKey: settings) == nil { history.settings.append(settings) }
        history.inputs.append(
            RecordedInput(time: time, action: .configure(queue: queue(settings.queue), settings: number)))
    }

    private mutating func add(_ requeue: Requeue, at time: Int64) {
        guard let lease = leases[indices[requeue.job.rawValue] ?? -1],
            let job = end(requeue.job, requeue.countsAttempt ? .requeue : .giveBack, at: time)
        else { return }
        switch requeue.outcome {
        case .ready:
            history.attempts[Int(lease.attempt)].delay = 0
            measurement.wait(Int(job), from: time)
        case .scheduled(let runAt):
            history.attempts[Int(lease.attempt)].delay = runAt.milliseconds - time
            measurement.wait(Int(job), from: runAt.milliseconds)
        case .dead: die(job, at: time)
        }
    }

    private mutating func add(_ expire: Expire, at time: Int64) {
        switch expire {
        case .lease(let id, _, let isDead), .timeLimit(let id, _, let isDead):
            guard let job = end(id, .expire, at: time) else { return }
            if isDead { die(job, at: time) } else { measurement.wait(Int(job), from: time) }
        case .startBy(let id), .dependency(let id, _):
            if let job = indices[id.rawValue] { die(job, at: time) }
        case .deadLetter(let id): if let job = indices[id.rawValue] { go(on: waits.end(job), at: time) }
        case .uniqueKey, .effect, .result: break
        }
    }

    private mutating func add(_ redrive: Redrive, at time: Int64) {
        let runAt = redrive.runAt.map { max($0.milliseconds, time) } ?? time
        if let job = indices[redrive.job.rawValue] {
            let delay = Int32(clamping: runAt - time)
            history.inputs.append(RecordedInput(time: time, action: .redrive(job, delay: delay)))
            measurement.arrive(Int(job), history.queue(of: Int(job)), runnableAt: runAt)
            if waits.redrive(job) { measurement.postpone(Int(job), to: RecordedWaits.never, at: time) }
        } else if let status = base.status(of: redrive.job) {
            // It was dead before the range.
            let job = RecordedJob(
                id: redrive.job.rawValue, lane: lane(status.lane), arrivedAt: time, runAt: runAt > time ? runAt : 0)
            arrive(job, runnableAt: runAt)
        }
    }

    /// A job that was changed counts, and is driven again, as though it had come so: in the lane where it was last, and
    /// with the time that it was last to wait for before its first attempt.
    private mutating func add(_ edit: Edit, at time: Int64) {
        guard let job = indices[edit.job.rawValue] else { return }
        history.jobs[Int(job)].lane = lane(edit.to)
        measurement.move(Int(job), to: history.queue(of: Int(job)))
        guard let runAt = edit.runAt.map({ max($0.milliseconds, time) }) else { return }
        if lastAttempts[Int(job)] < 0 {
            history.jobs[Int(job)].runAt = runAt > history.jobs[Int(job)].arrivedAt ? runAt : 0
        }
        measurement.postpone(Int(job), to: runAt, at: time)
    }

    // MARK: - Jobs that wait for others

    /// Keeps what a job says of others.
    private mutating func depend(
        _ id: UInt64, _ after: [Int32], _ policy: DependencyPolicy, _ isHeld: Bool, before: JobID? = nil,
        _ runAt: Int64, at time: Int64
    ) {
        guard let job = indices[id] else { return }
        let said = RecordedDependencies(
            policy: policy, isHeld: isHeld, after: after, before: before.flatMap { indices[$0.rawValue] })
        guard isHeld || !after.isEmpty || said.before != nil else { return }
        history.dependencies[job] = said
        if waits.add(job, said, runAt: runAt) { measurement.postpone(Int(job), to: RecordedWaits.never, at: time) }
    }

    private mutating func go(on unblocked: [(job: Int32, runAt: Int64)], at time: Int64) {
        for (job, runAt) in unblocked { measurement.postpone(Int(job), to: max(runAt, time), at: time) }
    }

    private mutating func die(_ job: Int32, at time: Int64) {
        measurement.die(Int(job), at: time)
        go(on: waits.end(job, isDead: true), at: time)
    }

    // MARK: - Jobs

    private mutating func arrive(_ job: RecordedJob, runnableAt: Int64) {
        let index = Int32(history.jobs.count)
        history.jobs.append(job)
        lastAttempts.append(-1)
        indices[job.id] = index
        measurement.arrive(Int(index), history.queue(of: Int(index)), runnableAt: runnableAt)
    }

    private mutating func lease(_ job: Int32, until deadline: Int64, at time: Int64) {
        let attempt = Int32(history.attempts.count)
        history.attempts.append(RecordedAttempt(lease: max(deadline - time, 1)))
        let last = lastAttempts[Int(job)]
        if last >= 0 {
            history.attempts[Int(last)].next = attempt
        } else {
            history.jobs[Int(job)].firstAttempt = attempt
        }
        lastAttempts[Int(job)] = attempt
        leases[job] = Lease(attempt: attempt, since: time)
        let queue = history.queue(of: Int(job))
        leasedNow[queue] += 1
        history.leasedMax[queue] = max(history.leasedMax[queue], leasedNow[queue])
        measurement.lease(Int(job), at: time)
    }

    /// Ends the lease of a job, if it has one.
    private mutating func end(_ id: JobID, _ outcome: RecordedAttempt.Outcome, at time: Int64) -> Int32? {
        guard let job = indices[id.rawValue], let lease = leases.removeValue(forKey: job) else { return nil }
        leasedNow[history.queue(of: Int(job))] -= 1
        history.attempts[Int(lease.attempt)].service = time - lease.since
        history.attempts[Int(lease.attempt)].outcome = outcome
        // What becomes of a cancelled job is measured as one event.
        if outcome != .open { measurement.endLease(Int(job), at: time, isExpired: outcome == .expire) }
        return job
    }

    private mutating func lane(_ lane: Lane) -> Int32 {
        if let known = laneIndices[lane] { return known }
        let index = Int32(history.lanes.count)
        laneIndices[lane] = index
        history.lanes.append(lane)
        history.queueOfLane.append(queue(lane.queue))
        return index
    }

    private mutating func queue(_ name: String) -> Int32 {
        if let known = queueIndices[name] { return known }
        let index = Int32(history.queues.count)
        queueIndices[name] = index
        history.queues.append(name)
        history.leasedMax.append(0)
        leasedNow.append(0)
        measurement.addQueue()
        return index
    }

    // MARK: - What was there before

    private mutating func begin(at start: Int64) {
        history.start = start
        history.end = start
        var base = base
        base.promoteDue(at: Timestamp(milliseconds: start))
        var waiting: [(id: JobID, lane: Lane?)] = []
        for row in base.queueCounts(at: Timestamp(milliseconds: start)) {
            if row.terms != QueueTerms() {
                let settings = QueueSettings(
                    queue: row.queue, isPaused: row.terms.isPaused, runningMax: row.terms.runningMax,
                    retry: row.terms.retry, crashMax: row.terms.crashMax, finalErrors: row.terms.finalErrors,
                    sharing: SharingSettings(row.terms.sharing), retention: RetentionSettings(row.terms.retention),
                    ageing: row.terms.ageing)
                configure(settings, at: start)
            }
            var jobs = base.waitingJobs(queue: row.queue, states: [.ready, .scheduled])
            while let job = jobs.popFirst() { waiting.append((job.id, job.lane)) }
        }
        waiting.sort { $0.id < $1.id }
        let leased = base.unfinishedJobs(
            queue: nil, state: .leased, after: JobID(0), limit: bounds.jobs,
            at: Timestamp(milliseconds: start))
        for id in leased {
            guard let status = base.status(of: id) else { continue }
            carry(id, status, status.lane, attemptsBefore: status.attempt - 1)
            lease(indices[id.rawValue] ?? 0, until: status.deadline?.milliseconds ?? start, at: start)
        }
        for (id, lane) in waiting {
            let status = base.status(of: id, at: Timestamp(milliseconds: start))
            guard let lane = status?.lane ?? lane else { continue }
            carry(id, status, lane, attemptsBefore: status?.attempt ?? 0)
        }
        for (id, _) in waiting {
            // Those that came later, or were dead before the range, count as ended.
            guard let own = base.status(of: id)?.dependencies, let job = indices[id.rawValue] else { continue }
            let after = base.pendingDependencies(of: id).compactMap { indices[$0.rawValue] }.filter { $0 < job }
            depend(id.rawValue, after, own.policy, own.isHeld, history.jobs[Int(job)].runAt, at: start)
        }
    }

    private mutating func carry(_ id: JobID, _ status: JobStatus?, _ lane: Lane, attemptsBefore: UInt32) {
        let runAt = max(status?.runAt?.milliseconds ?? 0, history.start)
        let job = RecordedJob(
            id: id.rawValue, lane: self.lane(lane), attemptsBefore: attemptsBefore, arrivedAt: history.start,
            runAt: runAt > history.start ? runAt : 0, startBy: status?.startBy?.milliseconds ?? 0)
        history.carriedOver += 1
        arrive(job, runnableAt: runAt)
    }
}
