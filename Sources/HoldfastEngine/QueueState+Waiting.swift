// The jobs of a queue that nobody works on, as of one instant, to be ended one after the other: what a purge goes
// through. Copies of the lanes' bitmaps share their bytes with the state until that changes, so taking them is cheap
// whatever the backlog; and jobs added later are not among them.

package import HoldfastBytes

/// Ready, scheduled and dead jobs of one queue.
package struct WaitingJobs: Sendable {
    /// One of them.
    package struct Job: Sendable {
        package let id: JobID
        /// That of a job which may have no entry.
        package let lane: Lane?
    }
    private var lanes: [(lane: Lane, ids: SequenceBitmap)] = []
    private var others: SequenceBitmap

    fileprivate init(others: SequenceBitmap) { self.others = others }

    fileprivate mutating func add(_ lane: Lane, _ ids: SequenceBitmap) { lanes.append((lane, ids)) }

    /// How many are left.
    package var count: Int { lanes.reduce(others.count) { $0 + $1.ids.count } }

    /// Takes one out: those that are ready first, lane by lane.
    ///
    /// - Complexity: O(log n) amortised.
    package mutating func popFirst() -> Job? {
        while let last = lanes.indices.last {
            if let id = lanes[last].ids.first {
                lanes[last].ids.remove(id)
                return Job(id: JobID(id), lane: lanes[last].lane)
            }
            lanes.removeLast()
        }
        guard let id = others.first else { return nil }
        others.remove(id)
        return Job(id: JobID(id), lane: nil)
    }
}

extension QueueState {
    /// Returns the jobs of a queue that are in one of `states`, of which `.leased` is passed over. The caller has
    /// called `promoteDue(at:)`.
    ///
    /// - Complexity: O(lanes + g log g) in the lanes and groups of the queue, and O(jobs with an entry) when scheduled
    ///   ones are asked for and there are any.
    package func waitingJobs(queue name: String, states: Set<JobState>) -> WaitingJobs {
        guard let slot = table.queue(name) else { return WaitingJobs(others: SequenceBitmap()) }
        var others = states.contains(.dead) ? table.queues[slot].dead : SequenceBitmap()
        if states.contains(.scheduled), table.queues[slot].scheduled > 0 {
            var next = entryIDs.first
            while let id = next {
                next = entryIDs.first(after: id)
                guard let entry = entries[id], entry.phase == .waiting, !entry.isInLane else { continue }
                if table.lanes[entry.lane].queue == slot { others.insert(id) }
            }
        }
        var jobs = WaitingJobs(others: others)
        guard states.contains(.ready) else { return jobs }
        for level in table.queues[slot].levels {
            // By name, so that a purge leaves the same records each time.
            for (_, group) in table.levels[level].groups.sorted(by: { $0.key < $1.key }) {
                for lane in table.groups[group].lanes where !table.lanes[lane].ready.isEmpty {
                    jobs.add(table.lane(lane), table.lanes[lane].ready)
                }
            }
        }
        return jobs
    }
}
