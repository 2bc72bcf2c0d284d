// What can be asked of the state. A scheduled job that is due counts as ready everywhere, whether or not it was
// promoted: an answer at an instant is a function of the records and that instant.

package import HoldfastBytes

/// How many jobs a queue holds.
package struct QueueCounts: Hashable, Sendable {
    package var ready: Int
    package var scheduled: Int
    package var leased: Int
    package var dead: Int

    /// Creates counts.
    package init(ready: Int = 0, scheduled: Int = 0, leased: Int = 0, dead: Int = 0) {
        (self.ready, self.scheduled, self.leased, self.dead) = (ready, scheduled, leased, dead)
    }
}

extension QueueState {
    /// Every queue ever used, by name.
    package func queueCounts(
        at now: Timestamp
    ) -> [(queue: String, counts: QueueCounts, terms: QueueTerms)] {
        var due: [Slot<QueueRecord>: Int] = [:]
        for job in dueButNotPromoted(at: now) {
            if let lane = entries[job]?.lane { due[table.lanes[lane].queue, default: 0] += 1 }
        }
        return table.queueSlots.sorted { $0.key < $1.key }.map { name, slot in
            let queue = table.queues[slot]
            let moved = due[slot] ?? 0
            let counts = QueueCounts(
                ready: queue.ready + moved, scheduled: queue.scheduled - moved, leased: queue.leased,
                dead: queue.dead.count)
            return (name.string, counts, queue.terms)
        }
    }

    /// What is known of a job: `nil` for a ready job without anything unusual, a finished job and an unknown one.
    ///
    /// - Parameter now: The instant at which a scheduled job may be due; that of the last record when `nil`.
    package func status(of job: JobID, at now: Timestamp? = nil) -> JobStatus? {
        guard let entry = entries[job.rawValue] else { return nil }
        var status = JobStatus(
            lane: table.lane(entry.lane), state: entry.state(at: now ?? latestTime), attempt: entry.attempt,
            crashes: entry.crashes)
        let deadline = Timestamp(milliseconds: entry.deadline)
        switch entry.phase {
        case .waiting:
            if entry.runAt != 0 { status.runAt = Timestamp(milliseconds: entry.runAt) }
            if entry.flags.contains(.hasStartBy) { status.startBy = deadline }
        case .leased:
            status.token = LeaseToken(entry.token)
            status.deadline = deadline
            status.worker = workers[job.rawValue] ?? ""
            status.mustEndBy = mustEndBy[job.rawValue].map { Timestamp(milliseconds: $0) }
        case .dead:
            status.deadReason = DeadReason(rawValue: entry.deadReason)
            status.diedAt = deadline
        }
        if entry.flags.contains(.hasUniqueKey) { status.uniqueKey = keysOfJobs[job.rawValue]?.string }
        if entry.lastError != 0 { status.lastErrorSequence = SequenceNumber(entry.lastError) }
        if entry.progress != 0 { status.progressSequence = SequenceNumber(entry.progress) }
        if let content = edited.isEmpty ? nil : edited[job.rawValue] {
            if content.payload != 0 { status.payloadSequence = SequenceNumber(content.payload) }
            if content.headers != 0 { status.headersSequence = SequenceNumber(content.headers) }
        }
        status.dependencies = dependencyStatus(of: job.rawValue)
        return status
    }

    /// What is beside a leased job's enqueue record.
    package func leasedContent(of job: JobID) -> LeasedContent {
        var content = LeasedContent()
        guard let entry = entries[job.rawValue] else { return content }
        if entry.lastError != 0 { content.lastError = SequenceNumber(entry.lastError) }
        if let edited = edited.isEmpty ? nil : edited[job.rawValue] {
            if edited.payload != 0 { content.payload = SequenceNumber(edited.payload) }
            if edited.headers != 0 { content.headers = SequenceNumber(edited.headers) }
        }
        if !mustEndBy.isEmpty { content.mustEndBy = mustEndBy[job.rawValue].map { Timestamp(milliseconds: $0) } }
        return content
    }

    /// Whether the job is ready and has nothing unusual about it.
    package func isPlainReady(_ job: JobID, lane: Lane) -> Bool {
        guard entries[job.rawValue] == nil, let slot = table.find(lane) else { return false }
        return table.lanes[slot].ready.contains(job.rawValue)
    }

    /// The lane of a job of which more is known than that it is ready; `nil` for any other.
    package func entryLane(of job: JobID) -> Lane? { entries[job.rawValue].map { table.lane($0.lane) } }

    /// The lane of a ready job that has nothing unusual about it; `nil` for any other.
    ///
    /// - Complexity: O(lanes).
    package func plainLane(of job: JobID) -> Lane? {
        guard entries[job.rawValue] == nil else { return nil }
        let slot = table.lanes.slots.first { table.lanes[$0].ready.contains(job.rawValue) }
        return slot.map { table.lane($0) }
    }

    /// Returns the ids of jobs that have not finished, dead ones included, in order.
    ///
    /// - Parameters:
    ///   - queue: Only of this queue; of all when `nil`.
    ///   - state: Only in this state; in any when `nil`.
    /// - Complexity: O(lanes + jobs with an entry + limit).
    package func unfinishedJobs(
        queue: String?, state: JobState?, after: JobID, limit: Int, at now: Timestamp
    ) -> [JobID] {
        guard limit > 0 else { return [] }
        var slot: Slot<QueueRecord>?
        if let queue {
            guard let known = table.queue(queue) else { return [] }
            slot = known
        }
        var ids: [UInt64] = []
        var bound = UInt64.max
        func add(_ id: UInt64) {
            ids.append(id)
            if ids.count >= 2 * limit {
                ids.sort()
                ids.removeSubrange(limit...)
                bound = ids[limit - 1]
            }
        }
        if state == nil || state == .ready {
            for lane in table.lanes.slots where slot == nil || table.lanes[lane].queue == slot {
                var taken = 0
                var next = table.lanes[lane].ready.first(after: after.rawValue)
                while let id = next, id <= bound, taken < limit {
                    add(id)
                    taken += 1
                    next = table.lanes[lane].ready.first(after: id)
                }
            }
        }
        var taken = 0
        var next = entryIDs.first(after: after.rawValue)
        while let id = next, id <= bound, taken < limit {
            next = entryIDs.first(after: id)
            guard let entry = entries[id], !entry.isInLane else { continue }
            guard slot == nil || table.lanes[entry.lane].queue == slot else { continue }
            guard state == nil || entry.state(at: now) == state else { continue }
            add(id)
            taken += 1
        }
        return ids.sorted().prefix(limit).map { JobID($0) }
    }

    /// The sequence number of the record that holds an effect's value.
    package func effect(scope: String, key: String) -> SequenceNumber? {
        effects[EffectKey(scope, key)].map { SequenceNumber($0) }
    }

    /// Where what is recorded under `scope` lies, by key, and until when it is kept: at most `limit`, after the key
    /// `after`.
    ///
    /// - Complexity: O(effects + n log n) in the effects of the scope.
    package func effects(
        scope: String, after: String?, limit: Int
    ) -> [(sequence: SequenceNumber, until: Timestamp?)] {
        let (name, start) = (Name(scope), after.map { Name($0) })
        let found = effects.filter { key, _ in key.scope == name && start.map { $0 < key.key } ?? true }
        return found.sorted { $0.key < $1.key }.prefix(limit).map { _, sequence in
            (SequenceNumber(sequence), effectWindows[sequence].map { Timestamp(milliseconds: $0.until) })
        }
    }

    /// The scopes under which something is recorded, by name, with how many keys each has.
    ///
    /// - Complexity: O(effects).
    package var effectScopes: [(scope: String, count: Int)] {
        var counts: [Name: Int] = [:]
        for key in effects.keys { counts[key.scope, default: 0] += 1 }
        return counts.sorted { $0.key < $1.key }.map { ($0.key.string, $0.value) }
    }

    /// Whether the state refers to the record: the enqueue of an unfinished or dead job, a change of its payload or
    /// headers, a recorded effect, the last error or progress of a job. Any other may be dropped once a checkpoint
    /// covers it.
    package func isNeeded(sequence: SequenceNumber, kind: UInt8) -> Bool {
        needed.contains(sequence.rawValue)
    }

    /// The sequence numbers for which `isNeeded` holds: among enqueue records, those of jobs that have not ended.
    package var neededRecords: SequenceBitmap { needed }

    /// Whether a lease from `queues` would get anything now.
    package func waitingLeasable(queues: [String], at now: Timestamp) -> Bool {
        if table.hasGroupTokens(by: now) {
            // Right all the same, at the price of a copy.
            var promoted = self
            promoted.promoteDue(at: now)
            return promoted.waitingLeasable(queues: queues, at: now)
        }
        var hasScheduled = false
        for name in queues {
            guard let slot = table.queue(name), table.leasable(in: slot, at: now) > 0 else { continue }
            if table.queues[slot].ready > table.queues[slot].held { return true }
            if table.queues[slot].scheduled > 0 { hasScheduled = true }
        }
        guard hasScheduled, let first = runs.first, first.deadline <= now else { return false }
        if queues.contains(where: { table.queue($0).map { table.queues[$0].tallies != nil } ?? false }) {
            // Whether one that is due may be leased depends on its group: right all the same, at the price of a copy.
            var promoted = self
            promoted.promoteDue(at: now)
            return promoted.waitingLeasable(queues: queues, at: now)
        }
        let slots = queues.compactMap { table.queue($0) }.filter { table.leasable(in: $0, at: now) > 0 }
        return dueButNotPromoted(at: now).contains { job in
            entries[job].map { slots.contains(table.lanes[$0.lane].queue) } ?? false
        }
    }

    /// Jobs whose time has come and that are in no lane's bitmap yet.
    private func dueButNotPromoted(at now: Timestamp) -> [UInt64] {
        guard let first = runs.first, first.deadline <= now else { return [] }
        var jobs: [UInt64] = []
        for element in runs.due(at: now, limit: .max, where: { isLive($0) }) where jobs.last != element.job.rawValue {
            jobs.append(element.job.rawValue)
        }
        return jobs
    }
}
