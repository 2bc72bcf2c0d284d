// Drives a recorded history again under other settings. The queue is a real `QueueState`: what is leased, retried, dead
// or expired is decided by the same code as in a store, on a clock that jumps from event to event. Around it are only
// workers: each leases a job as soon as there is one, and is at it for as long as recorded.
//
// Within a millisecond: leases and deadlines end first, then workers report, then jobs come, then free workers lease.
// Nothing depends on chance or on the machine: the same history and settings give the same run.

internal import HoldfastBytes
package import HoldfastEngine

/// One run.
package struct Simulation {
    private struct Job {
        /// Its id in the state; 0 before it came.
        var id: UInt64 = 0
        /// That of its lease; 0 when it has none.
        var token: UInt64 = 0
        /// The recorded attempt to come next; -1 for none.
        var next: Int32 = -1
        /// The recorded attempt that is or was driven again.
        var playing: Int32 = -1
        /// How it ends this time, unless its lease ends first.
        var outcome = RecordedAttempt.Outcome.ack
        /// How many attempts count: those before the range do until a redrive.
        var attempts: UInt32
        /// Whether the last attempt was cut short by the end of its lease.
        var wasCutShort = false
        var isDead = false
    }

    /// Workers that serve the same queues.
    private struct Pool {
        var queues: [Int]
        var free: Int
        /// Jobs that wait in `queues`.
        var waiting = 0
        /// Where in `queues` the next lease is asked for.
        var turn = 0
        /// Whether it has a free worker and a waiting job.
        var isOpen: Bool { free > 0 && waiting > 0 }
    }

    private let history: RecordedHistory
    private let settings: WhatIfSettings
    private var state = QueueState()
    private var measurement: RunMeasurement
    private var jobs: [Job] = []
    /// The ids in the state, in the order in which jobs came; with the index of each job.
    private var ids: [(id: UInt64, job: Int32)] = []
    private var pools: [Pool] = []
    /// The pool that serves each queue; there may be none.
    private var poolOfQueue: [Int]
    /// The pools that are open: the only ones to look at, of perhaps thousands.
    private var openPools: Set<Int> = []
    private var busy = WorkerHeap()
    /// Jobs of each queue that are leased, and that wait.
    private var leased: [Int]
    private var waiting: [Int]
    /// Jobs that wait for others, and who waits for a job.
    private var blocked: Set<Int> = []
    private var dependents: [Int: [Int]] = [:]
    private var arrivals = 0
    private var inputs = 0
    private var now: Int64
    /// How many attempts began that were not recorded as they were, and how many may.
    private var unrecorded = 0
    private let unrecordedMax: Int

    /// How many workers there are.
    package let workers: Int

    /// Prepares a run.
    ///
    /// - Precondition: `settings` has one entry for each queue of `history`.
    package init(_ history: RecordedHistory, _ settings: WhatIfSettings) {
        precondition(settings.queues.count == history.queues.count, "each queue has settings")
        self.history = history
        self.settings = settings
        now = history.start
        leased = [Int](repeating: 0, count: history.queues.count)
        waiting = leased
        poolOfQueue = [Int](repeating: 0, count: history.queues.count)
        measurement = RunMeasurement(
            queues: history.queues.count, jobs: history.jobs.count, deadline: history.end)
        jobs.reserveCapacity(history.jobs.count)
        for job in history.jobs { jobs.append(Job(next: job.firstAttempt, attempts: job.attemptsBefore)) }
        unrecordedMax = Self.unrecordedFactor * (history.attempts.count + history.jobs.count)
        ids.reserveCapacity(history.jobs.count)
        for (job, said) in history.dependencies {
            for other in said.after { dependents[Int(other), default: []].append(Int(job)) }
            if let before = said.before { dependents[Int(job), default: []].append(Int(before)) }
        }
        var shared = Pool(queues: [], free: settings.sharedWorkers ?? 0)
        for (queue, own) in settings.queues.enumerated() {
            if own.workers == nil, settings.sharedWorkers != nil {
                shared.queues.append(queue)
            } else {
                pools.append(Pool(queues: [queue], free: own.workers ?? history.leasedMax[queue]))
            }
        }
        if !shared.queues.isEmpty { pools.append(shared) }
        // Without any attempt nothing tells how long one takes.
        if history.attempts.isEmpty { pools = [] }
        for (pool, serving) in pools.enumerated() {
            for queue in serving.queues { poolOfQueue[queue] = pool }
        }
        workers = pools.reduce(0) { $0 + $1.free }
    }

    /// For each recorded attempt, and for each job, so many more may begin. Settings and logs may allow a million
    /// attempts a job; a run stays as long as its recording is, not as long as they allow.
    private static let unrecordedFactor = 4

    /// Runs until nothing more can happen, or too much did of which nothing is recorded.
    ///
    /// - Parameter progress: Gets the count of jobs that came, now and then.
    /// - Throws: What the state refuses; it refuses nothing of what is asked here.
    package consuming func run(progress: (Int) -> Void = { _ in }) throws(EngineError) -> RunMeasurement {
        var rounds = 0
        while !isStopped, let time = nextInstant() {
            assert(time >= now, "time does not go back")
            now = time
            repeat {
                expire()
                state.promoteDue(at: Timestamp(milliseconds: now))
                try finishWork()
                try takeInputs()
                try lease()
            } while !isStopped && (busy.first?.time ?? .max) <= now
            rounds += 1
            if rounds.isMultiple(of: 4096) { progress(arrivals) }
        }
        let history = history
        if isStopped {
            measurement.isStopped = true
            // Those that never came are unfinished, too.
            for job in arrivals..<jobs.count where !history.isLeftOut(job) {
                let recorded = history.jobs[job]
                measurement.arrive(
                    job, history.queue(of: job), runnableAt: max(recorded.runAt, recorded.arrivedAt))
            }
        }
        measurement.finish(at: max(now, history.end)) { history.isLeftOut($0) }
        return measurement
    }

    private var isStopped: Bool { unrecorded > unrecordedMax }

    private func nextInstant() -> Int64? {
        var next = Int64.max
        if arrivals < jobs.count { next = min(next, history.jobs[arrivals].arrivedAt) }
        if inputs < history.inputs.count { next = min(next, history.inputs[inputs].time) }
        if let worker = busy.first { next = min(next, worker.time) }
        if let deadline = state.nextDeadline(after: Timestamp(milliseconds: now)) {
            next = min(next, deadline.milliseconds)
        }
        return next == .max ? nil : max(next, now)
    }

    private mutating func apply(_ mutations: Mutations) {
        let time = Timestamp(milliseconds: now)
        mutations.forEach { mutation in
            state.apply(Record(sequence: state.lastSequence.next, time: time, mutation: mutation))
            if !blocked.isEmpty { goOn(after: mutation) }
        }
    }

    private func decide(_ command: Command) throws(EngineError) -> Decision {
        var batch = BatchScope()
        return try state.decide(
            command, at: Timestamp(milliseconds: now), next: state.lastSequence.next, in: &batch)
    }

    /// Returns the index of the job that has `id` in the state.
    private func index(_ id: JobID) -> Int {
        var (low, high) = (0, ids.count)
        while low < high {
            let middle = (low + high) / 2
            if ids[middle].id < id.rawValue { low = middle + 1 } else { high = middle }
        }
        precondition(low < ids.count && ids[low].id == id.rawValue, "the state holds only jobs that came")
        return Int(ids[low].job)
    }

    // MARK: - What happens by itself

    private mutating func expire() {
        let time = Timestamp(milliseconds: now)
        while state.hasOverdue(at: time) {
            let mutations = state.overdue(at: time, limit: .max)
            assert(!mutations.isEmpty, "what is overdue can be recorded")
            if mutations.isEmpty { break }
            for mutation in mutations {
                apply(.one(mutation))
                if case .cancel(let cancel) = mutation { endCancelled(index(cancel.job)) }
                guard case .expire(let expire) = mutation else { continue }
                switch expire {
                case .lease(let id, _, let isDead), .timeLimit(let id, _, let isDead):
                    let job = index(id)
                    jobs[job].wasCutShort = jobs[job].outcome != .expire
                    measurement.endLease(job, at: now, isExpired: true)
                    settled(job)
                    if isDead { die(job) } else { wait(job, from: now) }
                case .startBy(let id), .dependency(let id, _):
                    let job = index(id)
                    noteWaiting(history.queue(of: job), -1)
                    die(job)
                case .deadLetter(let id): jobs[index(id)].isDead = false
                case .uniqueKey, .effect, .result: break
                }
            }
        }
    }

    private mutating func finishWork() throws(EngineError) {
        while let worker = busy.first, worker.time <= now {
            busy.popFirst()
            noteFree(Int(worker.pool), 1)
            let job = Int(worker.job)
            // A worker that comes back late has lost the lease.
            guard jobs[job].token == worker.token else { continue }
            let (attempt, outcome) = (history.attempts[Int(jobs[job].playing)], jobs[job].outcome)
            let (id, token) = (JobID(jobs[job].id), LeaseToken(worker.token))
            let command: Command
            switch outcome {
            case .bury: command = .bury(job: id, token: token, reason: .buried, error: nil)
            case .requeue:
                let delay = delay(after: attempt, of: job)
                command = .requeue(job: id, token: token, delayMilliseconds: delay, error: nil, countsAttempt: true)
            case .giveBack:
                jobs[job].attempts -= 1
                command = .requeue(
                    job: id, token: token, delayMilliseconds: max(attempt.delay, 0), error: nil, countsAttempt: false)
            case .ack, .expire, .open: command = .ack(job: id, token: token, result: nil)
            }
            let decision = try decide(command)
            apply(decision.mutations)
            measurement.endLease(job, at: now)
            settled(job)
            switch (outcome, decision.reply) {
            case (.bury, _), (_, .requeued(.dead)): die(job)
            case (_, .requeued(.ready)): wait(job, from: now)
            case (_, .requeued(.scheduled(let runAt))): wait(job, from: runAt.milliseconds)
            default: measurement.complete(job, at: now)
            }
        }
    }

    /// How long the job waits after an attempt that failed.
    private func delay(after attempt: RecordedAttempt, of job: Int) -> Int64 {
        let queue = history.queue(of: job)
        let policy: RetryPolicy
        switch settings.queues[queue].retry {
        case .recorded where attempt.delay >= 0: return attempt.delay
        case .recorded: policy = state.terms(of: history.queues[queue]).retry
        case .policy(let chosen): policy = chosen
        }
        return policy.delayMilliseconds(job: JobID(history.jobs[job].id), attempt: jobs[job].attempts)
    }

    /// A lease of the job has ended.
    private mutating func settled(_ job: Int) {
        jobs[job].token = 0
        leased[history.queue(of: job)] -= 1
    }

    private mutating func wait(_ job: Int, from time: Int64) {
        noteWaiting(history.queue(of: job), 1)
        measurement.wait(job, from: time)
    }

    private mutating func die(_ job: Int) {
        jobs[job].isDead = true
        measurement.die(job, at: now)
    }

    // MARK: - What comes from outside

    private mutating func takeInputs() throws(EngineError) {
        while arrivals < jobs.count, history.jobs[arrivals].arrivedAt <= now {
            if !history.isLeftOut(arrivals) { try arrive(arrivals) }
            arrivals += 1
        }
        while inputs < history.inputs.count, history.inputs[inputs].time <= now {
            switch history.inputs[inputs].action {
            case .cancel(let job): try cancel(Int(job))
            case .redrive(let job, let delay): try redrive(Int(job), runAt: now + Int64(delay))
            case .release(let job): if let release = release(Int(job)) { apply(release.mutations) }
            case .configure(let queue, let number):
                var recorded = history.settings[Int(number)]
                if settings.queues[Int(queue)].limit != nil { recorded.runningMax = nil }
                apply(try decide(.configure(recorded)).mutations)
            }
            inputs += 1
        }
    }

    private mutating func arrive(_ job: Int) throws(EngineError) {
        let recorded = history.jobs[job]
        let queue = history.queue(of: job)
        let enqueue = Enqueue(
            lane: lane(of: job), runAt: recorded.runAt > 0 ? Timestamp(milliseconds: recorded.runAt) : nil,
            startBy: recorded.startBy > 0 ? Timestamp(milliseconds: recorded.startBy) : nil)
        jobs[job].id = state.lastSequence.next.rawValue
        ids.append((jobs[job].id, Int32(job)))
        let isBlocked = try enter(enqueue, job)
        noteWaiting(queue, 1)
        measurement.arrive(
            job, queue, runnableAt: isBlocked ? RecordedWaits.never : max(recorded.runAt, recorded.arrivedAt))
    }

    /// The lane of a job under the settings.
    private func lane(of job: Int) -> Lane {
        let recorded = history.jobs[job]
        var lane = history.lanes[Int(recorded.lane)]
        lane.maxAttempts = settings.queues[history.queue(of: job)].maxAttempts ?? lane.maxAttempts
        return lane
    }

    private mutating func cancel(_ job: Int) throws(EngineError) {
        // Done, or left out.
        guard jobs[job].id > 0, isUnfinished(job) else { return }
        apply(try decide(.cancel(job: JobID(jobs[job].id), lane: lane(of: job))).mutations)
        endCancelled(job)
    }

    private mutating func endCancelled(_ job: Int) {
        if jobs[job].token > 0 {
            settled(job)
        } else if !jobs[job].isDead {
            noteWaiting(history.queue(of: job), -1)
        }
        jobs[job].isDead = false
        measurement.cancel(job, at: now)
    }

    private mutating func redrive(_ job: Int, runAt: Int64) throws(EngineError) {
        guard jobs[job].isDead else { return }
        let redrive = Redrive(job: JobID(jobs[job].id), runAt: Timestamp(milliseconds: runAt))
        apply(try decide(.redriveJobs([redrive])).mutations)
        jobs[job].isDead = false
        jobs[job].attempts = 0
        noteWaiting(history.queue(of: job), 1)
        if isBlocked(job) { blocked.insert(job) }
        let runnableAt = blocked.contains(job) ? RecordedWaits.never : runAt
        measurement.arrive(job, history.queue(of: job), runnableAt: runnableAt)
    }

    // MARK: - Jobs that wait for others

    /// Adds a job; returns whether it waits for others.
    private mutating func enter(_ enqueue: Enqueue, _ job: Int) throws(EngineError) -> Bool {
        guard let said = history.dependencies[Int32(job)] else {
            apply(try decide(.enqueue(enqueue)).mutations)
            return false
        }
        var dependent = enqueue
        dependent.dependencies = dependencies(said)
        let decision: Decision
        // What has failed this time, and had not when it was recorded, is not waited for.
        do throws(EngineError) { decision = try decide(.enqueue(dependent)) } catch {
            decision = try decide(.enqueue(enqueue))
        }
        apply(decision.mutations)
        if isBlocked(job) { blocked.insert(job) }
        return blocked.contains(job)
    }

    /// What a job says of those that are left.
    private func dependencies(_ said: RecordedDependencies) -> EnqueueDependencies? {
        func id(_ job: Int32) -> JobID? {
            let id = jobs[Int(job)].id
            return id > 0 && isUnfinished(Int(job)) ? JobID(id) : nil
        }
        let before = said.before.flatMap { blocked.contains(Int($0)) ? id($0) : nil }
        let after = said.after.compactMap(id)
        let isWaiting = said.isHeld || !after.isEmpty
        guard isWaiting || before != nil else { return nil }
        return EnqueueDependencies(
            after: after.sorted(), policy: isWaiting ? said.policy : .wait, isHeld: said.isHeld, before: before)
    }

    private func isBlocked(_ job: Int) -> Bool {
        guard jobs[job].id > 0, let own = state.status(of: JobID(jobs[job].id))?.dependencies else { return false }
        return own.pendingCount > 0 || own.isHeld
    }

    /// Nothing when it is not held this time.
    private func release(_ job: Int) -> Decision? {
        guard blocked.contains(job) else { return nil }
        return try? decide(.release(job: JobID(jobs[job].id)))
    }

    /// Notes from when on jobs may run that waited for the one that a record ends.
    private mutating func goOn(after mutation: Mutation) {
        let candidates: [Int]
        switch mutation {
        case .release(let release): candidates = [index(release.job)]
        case .ack(let ack): candidates = dependents[index(ack.job)] ?? []
        case .cancel(let cancel): candidates = dependents[index(cancel.job)] ?? []
        case .bury(let bury): candidates = dependents[index(bury.job)] ?? []
        case .requeue(let requeue) where requeue.outcome == .dead: candidates = dependents[index(requeue.job)] ?? []
        case .expire(.lease(let job, _, true)), .expire(.timeLimit(let job, _, true)), .expire(.startBy(let job)),
            .expire(.dependency(let job, _)), .expire(.deadLetter(let job)):
            candidates = dependents[index(job)] ?? []
        default: return
        }
        for job in candidates where blocked.contains(job) && !isBlocked(job) {
            blocked.remove(job)
            if jobs[job].isDead { continue }
            measurement.postpone(job, to: max(now, history.jobs[job].runAt), at: now)
        }
    }

    private func isUnfinished(_ job: Int) -> Bool {
        state.isNeeded(sequence: SequenceNumber(jobs[job].id), kind: RecordKind.enqueue.rawValue)
    }

    // MARK: - Workers

    private mutating func lease() throws(EngineError) {
        for pool in openPools.sorted() {
            let queues = pools[pool].queues
            if queues.count == 1 {
                _ = try lease(from: queues[0], limit: pools[pool].free, for: pool)
                continue
            }
            // In turn, one at a time, until none of the queues gives any.
            var empty = 0
            while pools[pool].free > 0, empty < queues.count {
                let queue = queues[pools[pool].turn]
                pools[pool].turn = (pools[pool].turn + 1) % queues.count
                empty = try lease(from: queue, limit: 1, for: pool) > 0 ? 0 : empty + 1
            }
        }
    }

    private mutating func noteWaiting(_ queue: Int, _ change: Int) {
        waiting[queue] += change
        assert(waiting[queue] >= 0, "no more jobs end to wait than began to")
        guard !pools.isEmpty else { return }
        let pool = poolOfQueue[queue]
        let wasOpen = pools[pool].isOpen
        pools[pool].waiting += change
        noteOpen(pool, wasOpen)
    }

    private mutating func noteFree(_ pool: Int, _ change: Int) {
        let wasOpen = pools[pool].isOpen
        pools[pool].free += change
        noteOpen(pool, wasOpen)
    }

    private mutating func noteOpen(_ pool: Int, _ wasOpen: Bool) {
        guard pools[pool].isOpen != wasOpen else { return }
        if wasOpen { openPools.remove(pool) } else { openPools.insert(pool) }
    }

    /// Leases up to `limit` jobs of a queue; returns how many.
    private mutating func lease(from queue: Int, limit: Int, for pool: Int) throws(EngineError) -> Int {
        let room = min(limit, (settings.queues[queue].limit ?? .max) - leased[queue], waiting[queue])
        guard room > 0 else { return 0 }
        let command = Command.lease(queues: [history.queues[queue]], limit: room, milliseconds: 1, worker: "")
        guard case .leased(let grants) = try decide(command).reply else { return 0 }
        for grant in grants { begin(grant, queue, pool) }
        return grants.count
    }

    private mutating func begin(_ grant: LeaseGrant, _ queue: Int, _ pool: Int) {
        let job = index(grant.job)
        let play = play(job, settings.queues[queue])
        var grant = grant
        grant.deadline = Timestamp(milliseconds: now).advanced(byMilliseconds: play.lease)
        // The state knows nothing of attempts before the range. There may have been more than are allowed now; the
        // next is then the last.
        jobs[job].attempts += 1
        grant.attempt = min(jobs[job].attempts, grant.lane.maxAttempts)
        apply(.one(.lease(grant)))
        jobs[job].token = state.lastSequence.rawValue
        leased[queue] += 1
        noteWaiting(queue, -1)
        noteFree(pool, -1)
        busy.push(
            WorkerHeap.Element(
                time: now + play.service, token: jobs[job].token, job: Int32(job), pool: Int32(pool)))
        measurement.lease(job, at: now)
    }

    /// Chooses the attempt that is driven again, and says how long its worker is busy and when its lease would end.
    private mutating func play(_ job: Int, _ settings: WhatIfQueue) -> (service: Int64, lease: Int64) {
        var served: Int64 = 0
        let next = jobs[job].next
        if next >= 0, history.attempts[Int(next)].outcome != .open {
            jobs[job].playing = next
            jobs[job].outcome = history.attempts[Int(next)].outcome
        } else {
            // One that was cut short takes as long when it is tried again; of others nothing is known.
            if next >= 0 || !jobs[job].wasCutShort {
                if next >= 0 { served = history.attempts[Int(next)].service }
                draw(job, next)
            }
            unrecorded += 1
        }
        if next >= 0 { jobs[job].next = history.attempts[Int(next)].next }
        jobs[job].wasCutShort = false
        let attempt = history.attempts[Int(jobs[job].playing)]
        let length = settings.leaseMilliseconds ?? attempt.lease
        if jobs[job].outcome == .expire {
            // Its worker is gone; another takes its place when the lease ends.
            let end = max(attempt.heartbeatAt, 0) + length
            return (end, end)
        }
        let service = max(Int64((Double(attempt.service) / settings.speed).rounded()), served)
        return (service, attempt.heartbeatAt >= 0 ? max(service + 1, length) : length)
    }

    /// Draws the attempt that is driven again. Where no recorded one tells how it ends, it is as long as the job's own
    /// and ends well: one that is only given back would come again for ever.
    private mutating func draw(_ job: Int, _ next: Int32) {
        if let drawn = history.draw(for: job, number: jobs[job].attempts) {
            jobs[job].playing = drawn
            jobs[job].outcome = history.attempts[Int(drawn)].outcome
        } else {
            jobs[job].playing = next >= 0 ? next : max(jobs[job].playing, 0)
            jobs[job].outcome = .ack
        }
        measurement.noteDrawn(job)
    }
}
