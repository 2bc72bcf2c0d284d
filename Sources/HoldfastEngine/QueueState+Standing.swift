// Why a job is not running. What is ahead of a ready job is counted as leases of one queue would be given out if
// nothing else happened, exactly where the jobs of a group have one weight and no limit of groups spans priorities:
// levels of higher priority first; in its own level groups in turn, round by round as `GroupRotation` has them. Nothing
// is simulated: how often a group comes before the job follows from where in its own group the job stands.

package import HoldfastBytes

/// Where a job that has not finished stands.
package struct JobStanding: Hashable, Sendable {
    /// Queue, priority and group.
    package let lane: Lane
    /// Scheduled, ready, leased or dead.
    package let state: JobState
    /// What it waits for besides a time.
    package let waitsFor: DependencyStatus?
    /// Whether its queue gives nothing out.
    package let isPaused: Bool
    /// How many jobs its queue lets run at once, when so many run.
    package let runningMax: Int?
    /// What its rate, the slots its queue shares or its group keeps it from, if it is ready.
    package let heldBy: JobHold?
    /// When a scheduled job may run, or a lease ends.
    package let until: Timestamp?
    /// Who holds the lease; `""` for somebody without a name.
    package let worker: String
    /// Why and when it died.
    package let deadReason: DeadReason?
    /// When it died.
    package let diedAt: Timestamp?
    /// What is leased before it, if it is ready.
    package let ahead: JobsAhead?
}

/// How many jobs of its queue are leased before a ready one.
package struct JobsAhead: Hashable, Sendable {
    /// How many there are of one priority.
    package struct Level: Hashable, Sendable {
        /// The priority.
        package let priority: Int8
        /// How many.
        package let count: Int
    }
    /// Those of each higher priority that has any, the highest first.
    package var higher: [Level] = []
    /// Older ones of the same priority and group.
    package var older = 0
    /// Those of the same priority in other groups, whose turns come first.
    package var otherGroups = 0

    /// All of them.
    package var count: Int { higher.reduce(older + otherGroups) { $0 + $1.count } }
}

extension QueueState {
    /// Returns where a job stands; `nil` when it is not among those that are unfinished or dead. The caller has
    /// recorded what is overdue at `now` and called `promoteDue(at:)`.
    ///
    /// - Complexity: O(lanes · log n).
    package func standing(of job: JobID, at now: Timestamp) -> JobStanding? {
        let id = job.rawValue
        let entry = entries[id]
        let slot = entry?.lane ?? table.lanes.slots.first { table.lanes[$0].ready.contains(id) }
        guard let slot else { return nil }
        let state = entry?.state(at: now) ?? .ready
        let status = status(of: job, at: now)
        let queue = table.queues[table.lanes[slot].queue]
        return JobStanding(
            lane: table.lane(slot), state: state,
            waitsFor: entry?.isBlocked ?? false ? status?.dependencies : nil, isPaused: queue.terms.isPaused,
            runningMax: queue.terms.runningMax.flatMap { $0 <= queue.leased ? $0 : nil },
            heldBy: state == .ready ? hold(of: id, in: slot, at: now) : nil,
            until: state == .scheduled ? status?.runAt : status?.deadline, worker: status?.worker ?? "",
            deadReason: status?.deadReason, diedAt: status?.diedAt,
            ahead: state == .ready ? table.ahead(of: id, in: slot, at: now) : nil)
    }

    /// Records what is overdue at `now`, and lets due jobs be leased, as an owner of the store would do before it
    /// answers anything. For a copy of the state that is only looked at.
    package mutating func settle(at now: Timestamp) {
        while hasOverdue(at: now) {
            let mutations = overdue(at: now, limit: .max)
            assert(!mutations.isEmpty, "what is overdue can be recorded")
            if mutations.isEmpty { break }
            for mutation in mutations { apply(Record(sequence: lastSequence.next, time: now, mutation: mutation)) }
        }
        promoteDue(at: now)
    }
}

extension LaneTable {
    /// Counts what a lease of everything in the queue gets before the ready job `id`.
    fileprivate func ahead(of id: UInt64, in lane: Slot<LaneRecord>, at now: Timestamp) -> JobsAhead {
        let (level, group) = (lanes[lane].level, lanes[lane].group)
        var ahead = JobsAhead()
        for higher in levelsInOrder(of: lanes[lane].queue, at: now) {
            if higher == level { break }
            let count = leasable(in: higher)
            guard count > 0 else { continue }
            ahead.higher.append(.init(priority: levels[higher].priority, count: count))
        }
        ahead.older = ready(below: id, in: group)
        guard let rotation = levels[level].rotation else { return ahead }
        // Each group is served in the round of its first turn, then every so many rounds as its weight says; in one
        // round the lowest id comes first. Groups that are late for this round join the next that there is.
        let all = levels[level].groups.values.filter { groups[$0].head != 0 || $0 == group }
        let late = nextRound(rotation, all)
        func first(_ group: Slot<GroupRecord>) -> UInt64 {
            if isServed(group) { return groups[group].due }
            return groups[group].head != 0 && groups[group].head < rotation.roundStart
                ? rotation.round : late
        }
        let own =
            first(group) + UInt64(ahead.older) * GroupRotation.stride(ofWeight: lanes[lane].weight)
        for other in all where other != group {
            let (first, stride) = (first(other), stride(of: other))
            guard first <= own else { continue }
            // How many jobs the other group has given once the rounds before the job's own are over.
            let given = Int((own - first + stride - 1) / stride)
            let isInRound = (own - first) % stride == 0
            let comesFirst = isInRound && ready(below: id, in: other) > given
            ahead.otherGroups += min(
                comesFirst ? given + 1 : min(given, ready(in: other)), allowance(of: other))
        }
        return ahead
    }

    /// The round that begins when this one is over.
    private func nextRound(_ rotation: GroupRotation, _ waiting: [Slot<GroupRecord>]) -> UInt64 {
        let early = waiting.filter {
            !isServed($0) && groups[$0].head != 0 && groups[$0].head < rotation.roundStart
        }
        let rounds =
            early.map { rotation.round + stride(of: $0) } + [rotation.soonestRound].compactMap(\.self)
        return rounds.min() ?? rotation.round
    }

    private func stride(of group: Slot<GroupRecord>) -> UInt64 {
        let head = groups[group].head
        let lane = groups[group].lanes.first { lanes[$0].ready.first == head }
        return GroupRotation.stride(ofWeight: lane.map { lanes[$0].weight } ?? 1)
    }

    /// How many jobs of a level may be leased now.
    private func leasable(in level: Slot<LevelRecord>) -> Int {
        guard queues[levels[level].queue].tallies != nil else { return levels[level].ready }
        return levels[level].groups.values.reduce(0) { $0 + min(ready(in: $1), allowance(of: $1)) }
    }

    private func allowance(of group: Slot<GroupRecord>) -> Int {
        let tally = groups[group].tally
        return tally == .none ? .max : groups[group].isHeld ? 0 : tallies[tally].allowance
    }

    private func ready(below id: UInt64, in group: Slot<GroupRecord>) -> Int {
        groups[group].lanes.reduce(0) { $0 + (id > 0 ? lanes[$1].ready.count(in: 0...(id - 1)) : 0) }
    }

    private func ready(in group: Slot<GroupRecord>) -> Int {
        groups[group].lanes.reduce(0) { $0 + lanes[$1].ready.count }
    }
}
