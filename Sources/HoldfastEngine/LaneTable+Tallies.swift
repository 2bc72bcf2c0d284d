// Groups that may not run as many jobs as they like. Where a queue limits its groups, or keeps them in order, each has
// a tally over all priorities: how many of its jobs are leased, and which wait for a time. From that follows whether
// its ready jobs may be leased, and a group of which none may is taken out of the rotation until one may again. So it
// costs nothing to pass over such groups, however many there are.
//
// A tally is an index: rebuilt from the entries when a queue's terms change or an image is read, never stored, so that
// no crash can leave a slot taken. Jobs without a group have none.
//
// Invariants: `leased` and `waiting` are those of the entries; `held` is what is ready less what may be leased, and a
// queue's `held` is the sum over its tallies; a group is held in a level exactly when none of its jobs there may be
// leased.

internal import HoldfastBytes

/// A group of one queue, over all priorities.
struct GroupTally: Sendable {
    let queue: Slot<QueueRecord>
    let name: Name
    var leased = 0
    /// Jobs that wait for a time, where these keep others waiting.
    var waiting = SequenceBitmap()
    /// The group in each priority that has any of its jobs.
    var places: [Slot<GroupRecord>] = []
    /// How many of its ready jobs may be leased now.
    var allowance = 0
    /// How many of its ready jobs may not.
    var held = 0
    /// When its rate lets one more of them be leased, where one waits for that; zero for no time.
    var wakesAt = Timestamp.zero
}

/// What one lease of several jobs has taken of groups that may run only so many.
struct TallySpending: Sendable {
    private var spent: [Slot<GroupTally>: Int] = [:]

    mutating func spend(_ tally: Slot<GroupTally>) {
        if tally != .none { spent[tally, default: 0] += 1 }
    }

    func left(of tally: Slot<GroupTally>, allowance: Int) -> Int { allowance - (spent[tally] ?? 0) }
}

extension LaneTable {
    /// Whether the group has a job left to give in a lease that has spent so much already.
    func mayGive(_ group: Slot<GroupRecord>, _ spending: TallySpending) -> Bool {
        let tally = groups[group].tally
        return tally == .none || spending.left(of: tally, allowance: tallies[tally].allowance) > 0
    }

    // MARK: - Jobs that come and go

    /// Counts a lease.
    mutating func beginLease(in lane: Slot<LaneRecord>) { countLease(1, in: lane) }

    /// Counts the end of a lease.
    mutating func endLease(in lane: Slot<LaneRecord>) { countLease(-1, in: lane) }

    private mutating func countLease(_ change: Int, in lane: Slot<LaneRecord>) {
        queues[lanes[lane].queue].leased += change
        let tally = groups[lanes[lane].group].tally
        guard tally != .none else { return }
        tallies[tally].leased += change
        assert(tallies[tally].leased >= 0, "a group's leases are those that there are")
        refresh(tally)
    }

    /// Counts a job that waits for a time.
    mutating func addScheduled(_ job: UInt64, in lane: Slot<LaneRecord>) {
        queues[lanes[lane].queue].scheduled += 1
        let tally = groups[lanes[lane].group].tally
        guard tally != .none, queues[lanes[lane].queue].terms.sharing.order == .strict else { return }
        tallies[tally].waiting.insert(job)
        refresh(tally)
    }

    /// Counts a job out that waited for a time.
    mutating func removeScheduled(_ job: UInt64, in lane: Slot<LaneRecord>) {
        queues[lanes[lane].queue].scheduled -= 1
        let tally = groups[lanes[lane].group].tally
        guard tally != .none, tallies[tally].waiting.remove(job) else { return }
        refresh(tally)
    }

    // MARK: - Groups that come and go

    /// Gives a group in one of its priorities its tally.
    mutating func tally(_ group: Slot<GroupRecord>, in queue: Slot<QueueRecord>) {
        guard !groups[group].name.isEmpty else { return }
        let name = Name(groups[group].name)
        let slot: Slot<GroupTally>
        if let known = queues[queue].tallies?[name] {
            slot = known
        } else {
            slot = tallies.insert(GroupTally(queue: queue, name: name))
            queues[queue].tallies?[name] = slot
        }
        groups[group].tally = slot
        tallies[slot].places.append(group)
        refresh(slot)
    }

    /// Takes a group's tally from it, which ends with its last priority.
    mutating func untally(_ group: Slot<GroupRecord>) {
        let slot = groups[group].tally
        groups[group].tally = .none
        groups[group].isHeld = false
        tallies[slot].places.removeAll { $0 == group }
        guard tallies[slot].places.isEmpty else { return }
        assert(tallies[slot].leased == 0, "a group whose jobs have ended has none leased")
        let queue = tallies[slot].queue
        queues[queue].held -= tallies[slot].held
        queues[queue].tallies?[tallies[slot].name] = nil
        tallies.remove(slot, leaving: GroupTally(queue: queue, name: Name("")))
    }

    // MARK: - Terms that change

    /// Whether the indexes of a queue fit what it says of its groups.
    func hasTalliesAsNeeded(_ queue: Slot<QueueRecord>) -> Bool {
        (queues[queue].tallies != nil) == queues[queue].terms.sharing.countsGroups
    }

    /// Begins all tallies of a queue anew, with no job leased or waiting yet; or ends them when none are needed.
    mutating func resetTallies(of queue: Slot<QueueRecord>) {
        let all = queues[queue].levels.flatMap { levels[$0].groups.values }
        for slot in queues[queue].tallies?.values.map(\.self) ?? [] {
            tallies.remove(slot, leaving: GroupTally(queue: queue, name: Name("")))
        }
        queues[queue].held = 0
        queues[queue].tallies = queues[queue].terms.sharing.countsGroups ? [:] : nil
        for group in all {
            groups[group].tally = .none
            groups[group].isHeld = false
            if levels[groups[group].level].populatedGroups > 1 { refreshHead(of: group) }
        }
        if queues[queue].tallies != nil {
            for group in all { tally(group, in: queue) }
        }
    }

    /// Notes a job that is leased, or waits for a time, of which a tally that begins anew does not know.
    mutating func recount(_ job: UInt64, isLeased: Bool, in lane: Slot<LaneRecord>) {
        let tally = groups[lanes[lane].group].tally
        guard tally != .none else { return }
        if isLeased {
            tallies[tally].leased += 1
        } else if queues[lanes[lane].queue].terms.sharing.order == .strict {
            tallies[tally].waiting.insert(job)
        }
        refresh(tally)
    }

    // MARK: - What may be leased

    /// Finds out anew how many jobs of a group may be leased, and where.
    ///
    /// - Complexity: O(p + log n) in the priorities and lanes of the group.
    mutating func refresh(_ slot: Slot<GroupTally>) {
        let (queue, places) = (tallies[slot].queue, tallies[slot].places)
        let sharing = queues[queue].terms.sharing
        var ready = 0
        var lowest: (job: UInt64, place: Slot<GroupRecord>)?
        for place in places {
            for lane in groups[place].lanes {
                ready += lanes[lane].ready.count
                if let first = lanes[lane].ready.first, first < lowest?.job ?? .max { lowest = (first, place) }
            }
        }
        let allowance = allowance(of: tallies[slot], sharing, lowest: lowest?.job)
        let held = max(0, ready - allowance)
        queues[queue].held += held - tallies[slot].held
        tallies[slot].allowance = allowance
        tallies[slot].held = held
        for place in places {
            groups[place].isHeld = allowance == 0 || sharing.order != .free && place != lowest?.place
            if levels[groups[place].level].populatedGroups > 1 { refreshHead(of: place) }
        }
        if let limit = sharing.groupRate { awaitToken(slot, ready: ready, limit) }
    }

    /// How many jobs of a group may be leased, if so many are ready.
    func allowance(of tally: GroupTally, _ sharing: SharingTerms, lowest: UInt64?) -> Int {
        var allowance = sharing.groupRunningMax.map { max(0, $0 - tally.leased) } ?? .max
        if let limit = sharing.groupRate { allowance = min(allowance, groupTokens(of: tally, at: tokensSeenAt, limit)) }
        guard sharing.order != .free else { return allowance }
        let isBlocked = tally.leased > 0 || tally.waiting.first ?? .max < lowest ?? .max
        return isBlocked ? 0 : min(1, allowance)
    }
}
