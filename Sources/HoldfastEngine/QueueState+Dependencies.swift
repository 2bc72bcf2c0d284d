// Jobs that wait for other jobs, in the state. A job that does is blocked: it counts as scheduled, is in no lane's
// bitmap, and its time, if it waits for one as well, counts once nothing else is left. Jobs that neither wait nor are
// waited for have no part in this: their end looks at one table, which is empty where nobody waits.
//
// The end of a job reaches those that wait for it in the record that ends it: there are `dependentsMax` of them at
// most. What follows for them may be an end in turn; that is a record of its own, written like an expiry before
// anything else happens. So a cascade, however long, is worked off in steps of one job each.
//
// Invariants: `dependents` is `pending` the other way round; a job is in `doomed` exactly while its `failed` is set; a
// waiting job is blocked exactly while its entry here `blocks`, and no leased one has anything pending.

package import HoldfastBytes

/// What one job waits for, or waited for.
struct JobDependencies: Sendable {
    var policy: DependencyPolicy
    var isHeld: Bool
    /// The job whose failure is about to end this one; 0 for none.
    var failed: UInt64 = 0
    /// Those that have not ended. A dead one has not, as it may be redriven, unless the job runs however they end.
    var pending = SequenceBitmap()
    /// How many have, by how they did.
    var done: UInt64
    var dead: UInt64
    var cancelled: UInt64

    /// Whether the job may not run yet.
    var blocks: Bool { isHeld || failed != 0 || !pending.isEmpty }

    init(_ new: EnqueueDependencies) {
        policy = new.policy
        isHeld = new.isHeld
        (done, dead, cancelled) = (UInt64(new.done), UInt64(new.dead), UInt64(new.cancelled))
        for job in new.after { pending.insert(job.rawValue) }
    }

    /// Whether it ends the wait for a job that this one ended so.
    func isEnd(_ end: DependencyEnd) -> Bool { end != .dead || policy == .run }

    /// Whether it ends the waiting job.
    func dooms(_ end: DependencyEnd) -> Bool {
        switch (policy, end) {
        case (_, .done), (.run, _), (.wait, .dead): false
        default: true
        }
    }

    fileprivate mutating func count(_ end: DependencyEnd, of job: UInt64) {
        pending.remove(job)
        switch end {
        case .done: done += 1
        case .dead: dead += 1
        case .cancelled: cancelled += 1
        }
    }
}

/// What jobs wait for besides a time.
struct DependencyTable: Sendable {
    /// By the job that waits, or waited and has not ended.
    var jobs: [UInt64: JobDependencies] = [:]
    /// Who waits for a job.
    var dependents: [UInt64: Set<UInt64>] = [:]
    /// Waiting jobs that are to end because one that they waited for failed.
    var doomed = SequenceBitmap()

    mutating func removeDependent(_ dependent: UInt64, of job: UInt64) {
        guard dependents[job]?.remove(dependent) != nil, dependents[job]?.isEmpty == true else { return }
        dependents[job] = nil
    }
}

/// What is known of what a job waits for.
package struct DependencyStatus: Hashable, Sendable {
    /// How many it waits for.
    package let pendingCount: Int
    /// The first of them.
    package let pending: [JobID]
    /// Those of the first that are dead: they wait for a redrive.
    package let deadPending: [JobID]
    /// How many have ended, by how they did.
    package let done: Int
    package let dead: Int
    package let cancelled: Int
    package let policy: DependencyPolicy
    /// Whether it waits for a release, too.
    package let isHeld: Bool

    /// How many of them are listed.
    package static let listMax = 100
}

// MARK: - Applying

extension QueueState {
    /// Whether the job waits for more than a time.
    func isBlocked(_ job: UInt64) -> Bool { !waits.jobs.isEmpty && waits.jobs[job]?.blocks ?? false }

    /// Keeps what a new job waits for; returns whether it is blocked by that.
    mutating func remember(_ new: EnqueueDependencies, of job: UInt64) -> Bool {
        guard new.concernsItself else { return false }
        let own = JobDependencies(new)
        waits.jobs[job] = own
        for other in new.after {
            waits.dependents[other.rawValue, default: []].insert(job)
            deadLetterHeld(other.rawValue)
        }
        return own.blocks
    }

    /// Lets a blocked job wait for a new one, too.
    mutating func addDependency(_ new: JobID, of job: JobID) {
        guard entries[job.rawValue]?.isBlocked ?? false else { return }
        waits.jobs[job.rawValue]?.pending.insert(new.rawValue)
        waits.dependents[new.rawValue, default: []].insert(job.rawValue)
    }

    mutating func apply(_ release: Release, _ record: Record) {
        let job = release.job.rawValue
        waits.jobs[job]?.isHeld = false
        unblock(job, at: record.time)
    }

    /// Lets those that wait for a job know that it ended.
    ///
    /// - Complexity: O(1) where nobody waits for any job; else O(d log d) in those that wait for this one.
    mutating func tellDependents(of job: UInt64, _ end: DependencyEnd, at now: Timestamp) {
        guard !waits.dependents.isEmpty, let dependents = waits.dependents[job] else { return }
        for dependent in dependents.sorted() {
            guard let isEnd = waits.jobs[dependent]?.isEnd(end), let dooms = waits.jobs[dependent]?.dooms(end) else {
                continue
            }
            if isEnd {
                waits.jobs[dependent]?.count(end, of: job)
                removeDependent(dependent, of: job)
            }
            guard entries[dependent]?.isBlocked ?? false else { continue }
            if dooms, waits.doomed.insert(dependent) { waits.jobs[dependent]?.failed = job }
            unblock(dependent, at: now)
        }
    }

    /// Lets a job that waits for nothing but a time any more wait for that alone.
    mutating func unblock(_ job: UInt64, at now: Timestamp) {
        guard var entry = entries[job], entry.phase == .waiting, entry.isBlocked, !isBlocked(job) else { return }
        unwait(job, entry)
        entry.flags.remove(.isBlocked)
        if entry.runAt <= now.milliseconds { entry.runAt = 0 }
        entries[job] = entry
        wait(job, entry)
    }

    /// Notes that a job does not wait for another any more.
    mutating func removeDependent(_ dependent: UInt64, of job: UInt64) {
        waits.removeDependent(dependent, of: job)
        if waits.dependents[job] == nil { deadLetterFreed(job) }
    }

    /// Takes back that a job is to end because of another: it ends otherwise, or did.
    mutating func spare(_ job: UInt64) {
        if waits.doomed.remove(job) { waits.jobs[job]?.failed = 0 }
    }

    /// Forgets what a job waited for that ends.
    ///
    /// - Complexity: O(1) where no job waits; else O(jobs that it waited for).
    mutating func forgetDependencies(of job: UInt64) {
        guard !waits.jobs.isEmpty, let own = waits.jobs.removeValue(forKey: job) else { return }
        own.pending.forEachRange { range in
            for other in range { removeDependent(job, of: other) }
        }
        waits.doomed.remove(job)
    }

    // MARK: - What follows by itself

    /// Returns the ends of jobs of which one that they waited for has failed, at most `limit`.
    func endsOfDoomed(_ limit: Int) -> [Mutation] {
        var mutations: [Mutation] = []
        var next = waits.doomed.first
        while let job = next, mutations.count < limit, let own = waits.jobs[job], let entry = entries[job] {
            next = waits.doomed.first(after: job)
            if own.policy == .cancel {
                mutations.append(.cancel(Cancel(job: JobID(job), lane: table.lane(entry.lane))))
            } else {
                mutations.append(.expire(.dependency(job: JobID(job), failed: JobID(own.failed))))
            }
        }
        return mutations
    }

    // MARK: - Queries

    /// What is known of what the job waits or waited for; `nil` for nothing.
    func dependencyStatus(of job: UInt64) -> DependencyStatus? {
        guard !waits.jobs.isEmpty, let own = waits.jobs[job] else { return nil }
        var first: [JobID] = []
        var next = own.pending.first
        while let other = next, first.count < DependencyStatus.listMax {
            first.append(JobID(other))
            next = own.pending.first(after: other)
        }
        return DependencyStatus(
            pendingCount: own.pending.count, pending: first,
            deadPending: first.filter { entries[$0.rawValue]?.phase == .dead }, done: Int(clamping: own.done),
            dead: Int(clamping: own.dead), cancelled: Int(clamping: own.cancelled), policy: own.policy,
            isHeld: own.isHeld)
    }

    /// What is left in `queues` when nothing there runs or may run by itself: jobs that only a redrive or a release
    /// moves on, that is those that are held or wait for a dead job, and those that wait for these; and those of
    /// `excepted`, which the asker can't do, that have not ended. `nil` while anything else is left.
    ///
    /// - Complexity: O(queues) while jobs run or are ready, else O(jobs that wait, and what they wait for).
    package func leftovers(in queues: [String], excepting excepted: Set<JobID>) -> (stuck: Int, excepted: Int)? {
        var scheduled = 0
        for name in queues {
            guard let queue = table.queue(name) else { continue }
            guard table.queues[queue].ready + table.queues[queue].leased == 0 else { return nil }
            scheduled += table.queues[queue].scheduled
        }
        guard scheduled > 0 else { return (0, 0) }
        func isLeft(_ job: JobID) -> Bool {
            status(of: job).map { $0.state == .scheduled && queues.contains($0.lane.queue) } ?? false
        }
        let roots = excepted.filter(isLeft)
        var stuck: Set<UInt64> = []
        var unseen = waits.dependents.keys.filter { entries[$0]?.phase == .dead } + roots.map(\.rawValue)
        for (job, own) in waits.jobs where own.isHeld && own.failed == 0 {
            stuck.insert(job)
            unseen.append(job)
        }
        while let job = unseen.popLast() {
            for dependent in waits.dependents[job] ?? [] {
                guard waits.jobs[dependent]?.failed == 0, stuck.insert(dependent).inserted else { continue }
                unseen.append(dependent)
            }
        }
        let count = stuck.count { isLeft(JobID($0)) && !roots.contains(JobID($0)) }
        return scheduled > count + roots.count ? nil : (count, roots.count)
    }

    /// All jobs that the job waits for, ascending.
    package func pendingDependencies(of job: JobID) -> [JobID] {
        var jobs: [JobID] = []
        waits.jobs[job.rawValue]?.pending.forEachRange { jobs += $0.map { JobID($0) } }
        return jobs
    }

    /// Returns those of `jobs` that were given an id and are not in the state (any more).
    ///
    /// - Complexity: O(jobs · lanes), and O(jobs) where they are of few lanes.
    package func finished(among jobs: [JobID]) -> [JobID] {
        var place: Slot<LaneRecord>?
        return jobs.filter {
            $0.rawValue > 0 && $0.sequence <= lastSequence && !holds($0.rawValue, near: &place)
        }
    }

    /// Whether the job is unfinished or dead. Jobs of one lane come together: `place` is where the last one was.
    func holds(_ job: UInt64, near place: inout Slot<LaneRecord>?) -> Bool {
        if entries[job] != nil { return true }
        guard needed.contains(job) else { return false }
        if let place, table.lanes[place].ready.contains(job) { return true }
        guard let found = table.lanes.slots.first(where: { table.lanes[$0].ready.contains(job) }) else { return false }
        place = found
        return true
    }
}
