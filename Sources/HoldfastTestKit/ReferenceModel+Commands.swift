// Commands against the model: decided and carried out at once.

package import HoldfastBytes
package import HoldfastEngine

extension ReferenceModel {
    /// Carries out `command` at `now`; its records would be numbered from `next` on.
    ///
    /// - Parameter observed: What the engine leased: where the order of groups is open, the model follows it.
    /// - Returns: The reply, and the number of records.
    /// - Throws: The code of the refusal matters, the message does not; nothing has changed then.
    package mutating func perform(
        _ command: Command, at now: Timestamp, next: SequenceNumber, observed: [LeaseGrant] = []
    ) throws(EngineError) -> (reply: Reply, records: Int) {
        let result: (reply: Reply, records: Int)
        switch command {
        case .enqueue(let enqueue, let collision): result = try add(enqueue, collision, at: now, next)
        case .lease(let queues, let limit, let milliseconds, let worker, let turns):
            let deadline = now.advanced(byMilliseconds: milliseconds)
            let grants =
                turns == nil
                ? lease(queues, limit, deadline, worker, at: now, next, observed)
                : leaseByWeight(queues, limit, deadline, worker, at: now, next, observed)
            result = (.leased(grants), grants.count)
        case .heartbeat(let job, let token, let milliseconds, _):
            let index = try index(of: job, leasedWith: token)
            let deadline = min(now.advanced(byMilliseconds: milliseconds), jobs[index].mustEndBy)
            jobs[index].state = .leased(token: token, deadline: deadline)
            result = (.heartbeat(deadline: deadline), 1)
        case .ack(let job, let token, let ackResult, let span):
            let index = try index(of: job, leasedWith: token)
            keepResult(of: index, ackResult, span, at: now)
            jobs.remove(at: index)
            releaseKey(of: job)
            tell(.done, of: job)
            completedCount += 1
            result = (.done, 1)
        case .requeue(let job, let token, let delay, let error, let countsAttempt, let errorClass):
            let index = try index(of: job, leasedWith: token)
            jobs[index].error = error ?? jobs[index].error
            result = (.requeued(requeue(index, delay, countsAttempt, errorClass, at: now)), 1)
        case .bury(let job, let token, let reason, let error):
            let index = try index(of: job, leasedWith: token)
            jobs[index].error = error ?? jobs[index].error
            bury(index, reason == .buried ? .buried : .unreadable, at: now)
            result = (.done, 1)
        case .cancel(let job, let lane):
            try cancel(job, lane)
            result = (.done, 1)
        case .edit(let job, let lane, let changes): result = (.done, try edit(job, lane, changes, at: now))
        case .redrive(let job):
            try redrive(job)
            result = (.redriven(count: 1, skipped: 0), 1)
        case .redriveJobs(let list):
            let (count, skipped) = redrive(list, at: now)
            result = (.redriven(count: count, skipped: skipped), count)
        case .release(let job):
            try release(job)
            result = (.done, 1)
        case .redriveQueue(let queue, let limit):
            let (count, skipped) = redrive(queue, limit)
            result = (.redriven(count: count, skipped: skipped), count)
        case .effect(let effect):
            if let fence = effect.fence { _ = try index(of: fence.job, leasedWith: fence.token) }
            result = record(effect, next)
        case .removeEffect(let scope, let key):
            let before = effects.count
            effects.removeAll { $0.scope == scope && $0.key == key }
            result = (.effectRemoved(effects.count < before), before - effects.count)
        case .configure(let settings):
            let before = terms(of: settings.queue)
            terms[settings.queue] = settings.applied(to: before)
            if terms(of: settings.queue).sharing.rate != before.sharing.rate { leaseTimes[settings.queue] = [] }
            if terms(of: settings.queue).sharing.groupRate != before.sharing.groupRate {
                groupLeaseTimes[settings.queue] = [:]
            }
            result = (.done, terms[settings.queue] == before ? 0 : 1)
        case .advanceClock: result = (.done, 1)
        case .moveCursor(let name, let move): result = try moveCursor(name, move, next)
        case .configureStore(let settings): result = (.done, configure(settings))
        }
        if result.records > 0 { last = next.advanced(by: UInt64(result.records - 1)) }
        if case .moveCursor = command, result.records > 0 { leaveNobodyBehind() }
        return result
    }

    // MARK: - Private

    private mutating func add(
        _ enqueue: Enqueue, _ collision: KeyCollision, at now: Timestamp, _ next: SequenceNumber
    ) throws(EngineError) -> (reply: Reply, records: Int) {
        if let key = enqueue.uniqueKey, let holder = holder(of: key, in: enqueue.lane.queue) {
            return try collide(enqueue, holder, collision, at: now)
        }
        let dependencies = try dependencies(of: enqueue, before: next)
        try requireRoom(in: enqueue.lane.queue)
        try requireRoomInStore(bytes: enqueue.payload.count)
        if let key = enqueue.uniqueKey {
            keys.append(
                HeldKey(queue: enqueue.lane.queue, key: key, job: JobID(next), until: enqueue.uniqueUntil))
        }
        noteWeight(of: enqueue.lane)
        let state = Job.State.waiting(runAt: enqueue.runAt ?? .zero)
        jobs.append(
            Job(
                id: JobID(next), enqueue: enqueue, key: enqueue.uniqueKey, state: state,
                countedBytes: capacity.payloadBytes == nil ? nil : enqueue.payload.count, startBy: enqueue.startBy,
                dependencies: dependencies))
        addDependency(JobID(next), of: enqueue.dependencies?.before)
        return (.enqueued(JobID(next)), 1)
    }

    /// Follows the engine in whose turn it is: whoever has a job to give may be next, and while anybody has, somebody
    /// is.
    private mutating func leaseByWeight(
        _ queues: [String], _ limit: Int, _ deadline: Timestamp, _ worker: String, at now: Timestamp,
        _ next: SequenceNumber, _ observed: [LeaseGrant]
    ) -> [LeaseGrant] {
        var grants: [LeaseGrant] = []
        while grants.count < limit {
            let wish = grants.count < observed.count ? observed[grants.count...].prefix(1) : []
            let turn = wish.first.flatMap { index(of: $0.job) }.map { jobs[$0].enqueue.lane.queue }
            let order = queues.filter { $0 == turn } + queues.filter { $0 != turn }
            let grant = lease(
                order, 1, deadline, worker, at: now, next.advanced(by: UInt64(grants.count)), Array(wish))
            if grant.isEmpty { break }
            grants += grant
        }
        return grants
    }

    private mutating func lease(
        _ queues: [String], _ limit: Int, _ deadline: Timestamp, _ worker: String, at now: Timestamp,
        _ next: SequenceNumber, _ observed: [LeaseGrant]
    ) -> [LeaseGrant] {
        var grants: [LeaseGrant] = []
        for queue in queues {
            while grants.count < limit, mayLease(from: queue, at: now) {
                let wish = grants.count < observed.count ? observed[grants.count].job : nil
                let candidates = candidates(in: queue, at: now, wish: wish)
                guard let lowest = candidates.first else { break }
                let index = candidates.first { jobs[$0].id == wish } ?? lowest
                countTurn(of: index, over: candidates)
                leaseTimes[queue, default: []].append(now)
                groupLeaseTimes[queue, default: [:]][jobs[index].enqueue.lane.group, default: []].append(now)
                jobs[index].attempt += 1
                jobs[index].startBy = nil
                let limit = jobs[index].enqueue.terms?.timeLimit
                jobs[index].mustEndBy = limit.map { now.advanced(byMilliseconds: $0) } ?? .max
                let deadline = min(deadline, jobs[index].mustEndBy)
                if jobs[index].enqueue.isKeyFreedByLease {
                    releaseKey(of: jobs[index].id)
                    jobs[index].key = nil
                }
                let token = LeaseToken(next.advanced(by: UInt64(grants.count)))
                jobs[index].state = .leased(token: token, deadline: deadline)
                let (id, lane, attempt) = (jobs[index].id, jobs[index].enqueue.lane, jobs[index].attempt)
                grants.append(LeaseGrant(job: id, lane: lane, attempt: attempt, deadline: deadline, worker: worker))
            }
        }
        return grants
    }

    /// The first ready job of each group, among those of the highest priority that has any, lowest id first.
    private func candidates(in queue: String, at now: Timestamp, wish: JobID?) -> [Int] {
        let ready = jobs.indices.filter { index in
            jobs[index].enqueue.lane.queue == queue && jobs[index].isReady(at: now) && mayRun(jobs[index], at: now)
        }
        guard let highest = ready.map({ jobs[$0].enqueue.lane.priority }).max() else { return [] }
        // Where priorities age, any may be next: the model follows the engine.
        let seen = terms(of: queue).ageing == nil ? nil : ready.first { jobs[$0].id == wish }
        let priority = seen.map { jobs[$0].enqueue.lane.priority } ?? highest
        var groups: Set<String> = []
        return ready.filter {
            jobs[$0].enqueue.lane.priority == priority && groups.insert(jobs[$0].enqueue.lane.group).inserted
        }
    }

    private mutating func countTurn(of chosen: Int, over candidates: [Int]) {
        let lane = jobs[chosen].enqueue.lane
        let group = lane.group
        for index in jobs.indices {
            let other = jobs[index].enqueue.lane
            guard (other.queue, other.priority, other.group) == (lane.queue, lane.priority, group) else { continue }
            jobs[index].overtakenBy = [:]
        }
        // Who was kept from running was not waiting all along.
        for index in jobs.indices where !candidates.contains(index) { jobs[index].overtakenBy = [:] }
        for index in candidates where index != chosen {
            jobs[index].overtakenBy[group, default: 0] += 1
            let turns = jobs[index].overtakenBy[group] ?? 0
            if turns > turnsMax(of: lane, over: jobs[index].enqueue.lane) {
                complaints.append(
                    "group \(group) was served \(turns) times while job \(jobs[index].id) waited")
            }
        }
    }

    private mutating func requeue(
        _ index: Int, _ delay: Int64?, _ countsAttempt: Bool, _ errorClass: String?, at now: Timestamp
    ) -> Requeue.Outcome {
        let job = jobs[index]
        let final = terms(of: job.enqueue.lane.queue).finalErrors.names + (job.enqueue.terms?.finalErrors.names ?? [])
        let isFinal = errorClass.map { final.contains($0) } ?? false
        if countsAttempt && (job.attempt >= job.enqueue.lane.maxAttempts || isFinal) {
            bury(index, job.attempt >= job.enqueue.lane.maxAttempts ? .attemptsUsedUp : .finalError, at: now)
            return .dead
        }
        let retry = job.enqueue.terms?.retry ?? terms(of: job.enqueue.lane.queue).retry
        let policy = countsAttempt ? retry.delayMilliseconds(job: job.id, attempt: job.attempt) : 0
        let runAt = now.advanced(byMilliseconds: delay ?? policy)
        if !countsAttempt { jobs[index].attempt -= 1 }
        jobs[index].overtakenBy = [:]
        jobs[index].state = .waiting(runAt: runAt > now ? runAt : .zero)
        return runAt > now ? .scheduled(runAt: runAt) : .ready
    }

    private mutating func cancel(_ job: JobID, _ lane: Lane?) throws(EngineError) {
        guard let index = index(of: job) else {
            let isFinished = lane != nil && job.sequence <= last
            throw EngineError(isFinished ? .invalidState : .notFound, "the model refuses", job: job)
        }
        jobs.remove(at: index)
        releaseKey(of: job)
        tell(.cancelled, of: job)
    }

    private mutating func redrive(_ job: JobID) throws(EngineError) {
        guard let index = index(of: job), jobs[index].state == .dead, revive(index) else {
            throw EngineError(job.sequence <= last ? .invalidState : .notFound, "the model refuses", job: job)
        }
    }

    private mutating func redrive(_ queue: String, _ limit: Int) -> (count: Int, skipped: Int) {
        var (count, skipped) = (0, 0)
        for index in jobs.indices where jobs[index].enqueue.lane.queue == queue && jobs[index].state == .dead {
            if count == limit { break }
            if revive(index) { count += 1 } else { skipped += 1 }
        }
        return (count, skipped)
    }

    mutating func revive(_ index: Int) -> Bool {
        let (id, enqueue) = (jobs[index].id, jobs[index].enqueue)
        if let key = jobs[index].key {
            let holder = holder(of: key, in: enqueue.lane.queue)
            if let holder, holder != id { return false }
            if enqueue.uniqueUntil == nil {
                keys.append(HeldKey(queue: enqueue.lane.queue, key: key, job: id, until: nil))
            }
        }
        jobs[index].state = .waiting(runAt: .zero)
        (jobs[index].attempt, jobs[index].crashes) = (0, 0)
        jobs[index].overtakenBy = [:]
        return true
    }

    private mutating func record(
        _ effect: Effect, _ next: SequenceNumber
    ) -> (reply: Reply, records: Int) {
        if let known = effects.first(where: { $0.scope == effect.scope && $0.key == effect.key }) {
            return (.effect(recorded: false, sequence: known.sequence), 0)
        }
        effects.append((effect.scope, effect.key, next, effect.until))
        return (.effect(recorded: true, sequence: next), 1)
    }
}
