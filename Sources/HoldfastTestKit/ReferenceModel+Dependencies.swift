// Jobs that wait for other jobs, in the model: each end is told to every job, and what follows is done at once.

internal import HoldfastBytes
internal import HoldfastEngine

extension ReferenceModel {
    /// What a job waits for besides a time.
    struct Dependencies {
        var policy: DependencyPolicy
        var isHeld: Bool
        var pending: Set<JobID>
        /// The job because of which this one is about to end.
        var failed: JobID?
    }

    enum End { case done, dead, cancelled }

    /// The jobs that wait for more than a time.
    var blockedJobs: [JobID] { jobs.filter(\.isBlocked).map(\.id) }

    /// Returns what a new job is to wait for, or says why it can't.
    func dependencies(of new: Enqueue, before next: SequenceNumber) throws(EngineError) -> Dependencies? {
        guard let asked = new.dependencies else { return nil }
        var own = Dependencies(policy: asked.policy, isHeld: asked.isHeld, pending: [])
        for job in asked.after {
            guard let index = index(of: job) else {
                guard let end = endings[job] else { throw EngineError(.notFound, "the model refuses", job: job) }
                guard end == .done || asked.policy == .run else {
                    throw EngineError(.invalidState, "the model refuses", job: job)
                }
                continue
            }
            if case .dead = jobs[index].state {
                if asked.policy == .run { continue }
                guard asked.policy == .wait else { throw EngineError(.invalidState, "the model refuses", job: job) }
            }
            own.pending.insert(job)
        }
        if let before = asked.before {
            guard before.rawValue > 0, before.sequence <= last else {
                throw EngineError(.notFound, "the model refuses", job: before)
            }
            guard let index = index(of: before), jobs[index].isBlocked, jobs[index].dependencies?.failed == nil,
                !own.pending.contains(where: waits(for: before)), !isAhead(jobs[index], of: new.lane)
            else { throw EngineError(.invalidState, "the model refuses", job: before) }
        }
        let isNothing = !asked.isHeld && asked.after.isEmpty && asked.done + asked.dead + asked.cancelled == 0
        return isNothing ? nil : own
    }

    /// Whether a job is before every new one of the lane, in a group in strict order.
    private func isAhead(_ job: Job, of lane: Lane) -> Bool {
        let own = job.enqueue.lane
        return !lane.group.isEmpty && terms(of: lane.queue).sharing.order == .strict && own.queue == lane.queue
            && own.group == lane.group
    }

    /// Whether a job waits for another, through whatever others, or is that.
    private func waits(for target: JobID) -> (JobID) -> Bool {
        { job in
            var (seen, open) = (Set<JobID>(), [job])
            while let next = open.popLast() {
                if next == target { return true }
                guard seen.insert(next).inserted, let index = index(of: next) else { continue }
                open += jobs[index].dependencies?.pending ?? []
            }
            return false
        }
    }

    /// Lets the job wait for `new`, too.
    mutating func addDependency(_ new: JobID, of job: JobID?) {
        guard let job, let index = index(of: job) else { return }
        jobs[index].dependencies?.pending.insert(new)
    }

    mutating func release(_ job: JobID) throws(EngineError) {
        guard let index = index(of: job), jobs[index].isBlocked, jobs[index].dependencies?.isHeld ?? false else {
            throw EngineError(job.sequence <= last ? .invalidState : .notFound, "the model refuses", job: job)
        }
        jobs[index].dependencies?.isHeld = false
        jobs[index].overtakenBy = [:]
    }

    /// Tells all jobs that one has ended.
    mutating func tell(_ end: End, of job: JobID) {
        if end != .dead { endings[job] = end }
        for index in jobs.indices {
            guard let own = jobs[index].dependencies, own.pending.contains(job) else { continue }
            let wasBlocked = jobs[index].isBlocked
            if end != .dead || own.policy == .run { jobs[index].dependencies?.pending.remove(job) }
            let isFailure =
                end == .cancelled ? own.policy != .run : end == .dead && [.cancel, .die].contains(own.policy)
            if wasBlocked, isFailure, own.failed == nil { jobs[index].dependencies?.failed = job }
            jobs[index].overtakenBy = [:]
        }
    }

    /// Ends the first job that is about to end because of another; returns false when there is none.
    mutating func endDoomed(at now: Timestamp) -> Bool {
        guard let index = jobs.indices.first(where: { jobs[$0].dependencies?.failed != nil }) else { return false }
        if jobs[index].dependencies?.policy == .cancel {
            let id = jobs[index].id
            jobs.remove(at: index)
            releaseKey(of: id)
            cancelledByDependency.append(id)
            tell(.cancelled, of: id)
        } else {
            let failed = jobs[index].dependencies?.failed
            jobs[index].error = failed.map { "job \($0), which it waited for, failed" }
            bury(index, .dependency, at: now)
        }
        return true
    }
}

extension ReferenceModel.Job {
    /// Whether it waits for more than a time.
    var isBlocked: Bool {
        guard case .waiting = state, let dependencies else { return false }
        return dependencies.isHeld || dependencies.failed != nil || !dependencies.pending.isEmpty
    }

    /// Whether it waits and may run, as far as times and other jobs go.
    func isReady(at now: Timestamp) -> Bool {
        guard case .waiting(let runAt) = state else { return false }
        return runAt <= now && !isBlocked
    }
}
