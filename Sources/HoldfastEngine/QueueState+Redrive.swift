// Dead letters by what is known of them, and making several of them ready again.

package import HoldfastBytes

/// Which dead letters are meant, as far as the state tells.
package struct DeadCriteria: Hashable, Sendable {
    /// Any of these; any at all when empty.
    package var reasons: Set<DeadReason> = []
    package var group: String?
    /// At that time or later.
    package var diedFrom = Timestamp.zero
    /// Before that time; `nil` for at any.
    package var diedBefore: Timestamp?
    /// With so many attempts at least.
    package var attemptsMin: UInt32 = 0
    package var first = JobID(0)
    package var last = JobID(UInt64.max)

    /// All.
    package init() {}
}

/// A dead letter. Whoever died at another time is another one, though it be the same job.
package struct DeadLetter: Hashable, Sendable {
    package let id: JobID
    package let reason: DeadReason
    package let diedAt: Timestamp
    /// The record whose error text applies.
    package let errorSequence: SequenceNumber?
}

extension QueueState {
    /// Returns dead letters of a queue with ids greater than `after`, in their order, `limit` at most.
    ///
    /// - Parameter looksMax: No more are looked at, so that a look at many goes in steps.
    /// - Returns: What was found, and where to go on; `nil` at the end.
    /// - Complexity: O(looks · log n).
    package func deadLetters(
        queue name: String, meeting criteria: DeadCriteria, after: JobID, limit: Int, looksMax: Int
    ) -> (found: [DeadLetter], next: JobID?) {
        guard let slot = table.queue(name) else { return ([], nil) }
        var found: [DeadLetter] = []
        var looks = 0
        var last = max(after.rawValue, max(criteria.first.rawValue, 1) - 1)
        while let id = table.queues[slot].dead.first(after: last), id <= criteria.last.rawValue {
            guard found.count < limit, looks < looksMax else { return (found, JobID(last)) }
            last = id
            looks += 1
            if let letter = deadLetter(id, meeting: criteria) { found.append(letter) }
        }
        return (found, nil)
    }

    private func deadLetter(_ id: UInt64, meeting criteria: DeadCriteria) -> DeadLetter? {
        guard let entry = entries[id], let reason = DeadReason(rawValue: entry.deadReason) else { return nil }
        let diedAt = Timestamp(milliseconds: entry.deadline)
        guard criteria.reasons.isEmpty || criteria.reasons.contains(reason), diedAt >= criteria.diedFrom,
            criteria.diedBefore.map({ diedAt < $0 }) ?? true, entry.attempt >= criteria.attemptsMin
        else { return nil }
        if let group = criteria.group {
            guard table.groups[table.lanes[entry.lane].group].name.isSameName(as: group) else { return nil }
        }
        return DeadLetter(
            id: JobID(id), reason: reason, diedAt: diedAt,
            errorSequence: entry.lastError == 0 ? nil : SequenceNumber(entry.lastError))
    }

    /// Whether it is still what it was when it was looked at.
    package func isDead(_ letter: DeadLetter) -> Bool {
        guard let entry = entries[letter.id.rawValue] else { return false }
        return entry.phase == .dead && entry.deadline == letter.diedAt.milliseconds
    }

    /// Decides that those of the jobs that are dead be ready again, each at its time. One whose unique key another job
    /// holds is left, and counted.
    ///
    /// - Parameter batch: The keys that were taken before, where nothing of that was applied.
    package func redrive(_ list: [Redrive], at now: Timestamp, in batch: inout BatchScope) -> Decision {
        var mutations: [Mutation] = []
        var skipped = 0
        var seen: Set<JobID> = []
        for var redrive in list {
            let job = redrive.job.rawValue
            guard seen.insert(redrive.job).inserted, let entry = entries[job], entry.phase == .dead else { continue }
            if let key = keysOfJobs[job]?.string {
                let queue = table.queues[table.lanes[entry.lane].queue].name
                if let other = holder(of: key, in: queue, batch), other.rawValue != job,
                    Safeguard.redrivenUniqueKey.isOn
                {
                    skipped += 1
                    continue
                }
                if !entry.flags.contains(.keyIsWindowed) { batch.setHolder(redrive.job, queue: queue, key: key) }
            }
            if let runAt = redrive.runAt, runAt <= now { redrive.runAt = nil }
            mutations.append(.redrive(redrive))
        }
        return Decision(
            mutations: Mutations(mutations), reply: .redriven(count: mutations.count, skipped: skipped))
    }
}
