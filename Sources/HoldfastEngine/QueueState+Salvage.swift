// Taking out of a state what rests on records that are lost. A job without its payload can't run, and an effect without
// its value can't be answered; what is left refers to kept records only, and is a state like any other.

package import HoldfastBytes

/// What a state gave up because its records are lost.
package struct ForgottenContent: Sendable {
    /// One job.
    package struct Job: Hashable, Sendable {
        package let id: JobID
        package let queue: String
    }
    /// One effect.
    package struct EffectName: Hashable, Sendable {
        package let scope: String
        package let key: String
    }
    /// In the order of their ids.
    package internal(set) var jobs: [Job] = []
    package internal(set) var effects: [EffectName] = []
    /// Error texts and progress notes of jobs that are kept, and results of jobs that have ended.
    package internal(set) var noteCount = 0
}

extension QueueState {
    /// Returns an enqueue without what lost records keep it from having: a unique key that another job holds, as what
    /// freed it is lost, and the jobs that it is to wait for and of which nothing is left. Nobody knows whether they
    /// had ended: the job is held until somebody says so, unless it runs however they end.
    package func mended(_ enqueue: Enqueue) -> Enqueue {
        var enqueue = enqueue
        if isHeld(enqueue.uniqueKey, in: enqueue.lane.queue, BatchScope()) {
            enqueue.uniqueKey = nil
            enqueue.uniqueUntil = nil
            enqueue.isKeyFreedByLease = false
        }
        guard var own = enqueue.dependencies else { return enqueue }
        var place: Slot<LaneRecord>?
        let asked = own.after
        own.after = asked.filter { job in
            holds(job.rawValue, near: &place) && (own.policy == .wait || entries[job.rawValue]?.phase != .dead)
        }
        let lost = asked.count - own.after.count
        if lost > 0, own.policy == .run { own.cancelled += lost } else if lost > 0 { own.isHeld = true }
        if let before = own.before, !(entries[before.rawValue]?.isBlocked ?? false) { own.before = nil }
        var result = enqueue
        result.dependencies = own.isValid ? own : nil
        return result
    }

    /// Lets a job that is known not to wait for others any more wait for none, as records that said so are lost;
    /// returns false for one that does not. Those that it waited for count as completed, or, where it runs however they
    /// end and nobody knows how they did, as cancelled.
    package mutating func unblock(lostEndsOf job: JobID, _ time: Timestamp) -> Bool {
        let id = job.rawValue
        guard entries[id]?.isBlocked ?? false, var own = waits.jobs[id] else { return false }
        let pending = own.pending
        if own.policy == .run { own.cancelled += UInt64(pending.count) } else { own.done += UInt64(pending.count) }
        own.pending = SequenceBitmap()
        own.isHeld = false
        waits.jobs[id] = own
        spare(id)
        pending.forEachRange { range in
            for other in range { removeDependent(id, of: other) }
        }
        unblock(id, at: time)
        return true
    }

    /// Removes the jobs and effects whose records are not in `kept`, and the errors and progress notes that are not.
    ///
    /// - Postcondition: `neededRecords` holds kept records only.
    /// - Complexity: O(needed records + entries + lost jobs · lanes).
    package mutating func forget(recordsOutside kept: SequenceBitmap) -> ForgottenContent {
        var missing: Set<UInt64> = []
        var next = needed.first
        while let number = next {
            if !kept.contains(number) { missing.insert(number) }
            next = needed.first(after: number)
        }
        var result = ForgottenContent()
        guard !missing.isEmpty else { return result }
        // What it was before it was changed is not what anybody wants done.
        for (job, content) in edited where content.sequences.contains(where: missing.contains) { missing.insert(job) }
        for (key, sequence) in effects.sorted(by: { $0.value < $1.value }) where missing.contains(sequence) {
            result.effects.append(.init(scope: key.scope.string, key: key.key.string))
            forgetEffect(key)
        }
        for (job, kept) in results where missing.contains(kept.sequence) {
            forgetResult(of: job)
            result.noteCount += 1
        }
        for (job, entry) in entries where !missing.contains(job) {
            if missing.contains(entry.lastError) {
                entries[job]?.lastError = 0
                needed.remove(entry.lastError)
                result.noteCount += 1
            }
            if missing.contains(entry.progress) {
                entries[job]?.progress = 0
                needed.remove(entry.progress)
                result.noteCount += 1
            }
        }
        for job in missing.sorted() {
            if let entry = entries[job] {
                let queue = table.queues[table.lanes[entry.lane].queue].name
                result.jobs.append(.init(id: JobID(job), queue: queue))
                finish(job, as: .cancelled, at: latestTime)
            } else if let lane = table.lanes.slots.first(where: { table.lanes[$0].ready.contains(job) }) {
                result.jobs.append(.init(id: JobID(job), queue: table.queues[table.lanes[lane].queue].name))
                if table.removeReady(job, from: lane) {
                    forgetPlain(job, in: lane)
                    tellDependents(of: job, .cancelled, at: latestTime)
                }
            }
        }
        return result
    }
}
