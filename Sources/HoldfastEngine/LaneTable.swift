// The lanes: which jobs are ready, by queue, priority, group, attempts allowed and weight. Names are kept once,
// whatever the number of jobs. A lane, and a group with a name, exist only while a job is in them in any state; queues
// are remembered, so that one that has run empty still shows in the figures.
//
// Invariants: a lane's population counts its unfinished and dead jobs; a level's `ready` is the sum of its lanes'
// bitmaps; a level has a rotation exactly when two or more of its groups are populated.

internal import HoldfastBytes

/// A queue.
struct QueueRecord: Sendable {
    let name: String
    var terms = QueueTerms()
    var ready = 0
    var scheduled = 0
    var leased = 0
    var dead = SequenceBitmap()
    /// How many of those ready may not be leased because of their groups.
    var held = 0
    /// Its groups, where what it says of groups asks for that.
    var tallies: [Name: Slot<GroupTally>]?
    /// Whether it has a rate, or shares slots with others.
    var hasLimits = false
    /// What is left of its rate.
    var bucket: RateBucket?
    /// What is left of the rate of each group, where groups have one.
    var groupBuckets: GroupBuckets?
    /// About when its jobs were enqueued, where their priorities age.
    var times: EnqueueTimes?
    /// Highest priority first.
    var levels: [Slot<LevelRecord>] = []
}

/// The jobs of one queue and priority.
struct LevelRecord: Sendable {
    let queue: Slot<QueueRecord>
    let priority: Int8
    var groups: [Name: Slot<GroupRecord>] = [:]
    var populatedGroups = 0
    var ready = 0
    /// The populated group while there is exactly one.
    var sole: Slot<GroupRecord>?
    var rotation: GroupRotation?
}

/// The jobs of one queue, priority and group.
struct GroupRecord: Sendable {
    let name: String
    let level: Slot<LevelRecord>
    /// What is known of the group over all priorities; `none` where nobody needs that.
    var tally = Slot<GroupTally>.none
    /// One for each number of attempts allowed.
    var lanes: [Slot<LaneRecord>] = []
    var populatedLanes: Int32 = 0
    /// Whether none of its ready jobs may be leased.
    var isHeld = false
    /// The lowest ready id as the rotation knows it; 0 when none is ready, it is held, or there is no rotation.
    var head: UInt64 = 0
    /// The round in which it comes again; served in this one when that is a later one.
    var due: UInt64 = 0
}

/// Jobs that differ in nothing but their id.
struct LaneRecord: Sendable {
    let queue: Slot<QueueRecord>
    let level: Slot<LevelRecord>
    let group: Slot<GroupRecord>
    /// As `Lane.terms` has them.
    let terms: UInt32
    var population = 0
    /// The ids that may be leased, with an entry or without.
    var ready = SequenceBitmap()

    var maxAttempts: UInt32 { Lane.maxAttempts(ofTerms: terms) }
    var weight: UInt32 { Lane.weight(ofTerms: terms) }
}

/// Every queue with its lanes.
struct LaneTable: Sendable {
    /// More lanes than this in the unnamed group are forgotten when they run empty.
    static let idleLanesMax = 4

    private(set) var queueSlots: [Name: Slot<QueueRecord>] = [:]
    var queues = SlotTable<QueueRecord>()
    /// How many queues have a capacity: while none has, no enqueue looks for one.
    private(set) var cappedQueues = 0
    private(set) var levels = SlotTable<LevelRecord>()
    var groups = SlotTable<GroupRecord>()
    var tallies = SlotTable<GroupTally>()
    /// The queues that have a rate.
    var ratedQueues: [Slot<QueueRecord>] = []
    /// Groups that wait for their rate, by their tallies' places; may hold elements that nobody waits for any more.
    var groupTokens = DeadlineHeap<GroupToken>()
    /// The size at which that is next cleared of those.
    var groupTokensLimit = QueueState.heapSlack
    /// The instant for which groups' tokens were counted last.
    var tokensSeenAt = Timestamp.zero
    /// The queues that share slots, by the limiter's name.
    var sharers: [Name: [Slot<QueueRecord>]] = [:]
    private(set) var lanes = SlotTable<LaneRecord>()
    /// The lane looked up last: records come in runs of one lane.
    private var recent: Slot<LaneRecord>?

    // MARK: - Looking up

    func queue(_ name: String) -> Slot<QueueRecord>? {
        if let recent, queues[lanes[recent].queue].name.isSameName(as: name) { return lanes[recent].queue }
        return queueSlots[Name(name)]
    }

    /// Whether `slot` is the lane that `lane` describes.
    func matches(_ slot: Slot<LaneRecord>, _ lane: Lane) -> Bool {
        let record = lanes[slot]
        return record.terms == lane.terms && levels[record.level].priority == lane.priority
            && queues[record.queue].name.isSameName(as: lane.queue)
            && groups[record.group].name.isSameName(as: lane.group)
    }

    func find(_ lane: Lane) -> Slot<LaneRecord>? {
        if let recent, matches(recent, lane) { return recent }
        guard let queue = queueSlots[Name(lane.queue)],
            let level = queues[queue].levels.first(where: { levels[$0].priority == lane.priority }),
            let group = levels[level].groups[Name(lane.group)]
        else { return nil }
        return groups[group].lanes.first { lanes[$0].terms == lane.terms }
    }

    /// Describes a lane in words.
    func lane(_ slot: Slot<LaneRecord>) -> Lane {
        Lane(
            queue: queues[lanes[slot].queue].name, priority: levels[lanes[slot].level].priority,
            maxAttempts: lanes[slot].maxAttempts, group: groups[lanes[slot].group].name,
            weight: lanes[slot].weight)
    }

    // MARK: - Making

    mutating func internQueue(_ name: String) -> Slot<QueueRecord> {
        if let slot = queueSlots[Name(name)] { return slot }
        let slot = queues.insert(QueueRecord(name: name))
        queueSlots[Name(name)] = slot
        return slot
    }

    mutating func setTerms(_ terms: QueueTerms, of queue: Slot<QueueRecord>) {
        if queues[queue].terms.capacity != nil { cappedQueues -= 1 }
        if terms.capacity != nil { cappedQueues += 1 }
        let sharing = queues[queue].terms.sharing
        queues[queue].terms = terms
        if terms.sharing != sharing { limitsChanged(of: queue, from: sharing) }
        ageingChanged(of: queue)
        if !hasTalliesAsNeeded(queue) { resetTallies(of: queue) }
    }

    mutating func intern(_ lane: Lane) -> Slot<LaneRecord> {
        if let slot = find(lane) {
            recent = slot
            return slot
        }
        let queue = internQueue(lane.queue)
        let level = internLevel(lane.priority, in: queue)
        let group: Slot<GroupRecord>
        if let known = levels[level].groups[Name(lane.group)] {
            group = known
        } else {
            group = groups.insert(GroupRecord(name: lane.group, level: level))
            levels[level].groups[Name(lane.group)] = group
            if queues[queue].tallies != nil { tally(group, in: queue) }
        }
        let slot = lanes.insert(LaneRecord(queue: queue, level: level, group: group, terms: lane.terms))
        groups[group].lanes.append(slot)
        recent = slot
        return slot
    }

    private mutating func internLevel(_ priority: Int8, in queue: Slot<QueueRecord>) -> Slot<LevelRecord> {
        let index = queues[queue].levels.firstIndex { levels[$0].priority <= priority } ?? queues[queue].levels.count
        if index < queues[queue].levels.count, levels[queues[queue].levels[index]].priority == priority {
            return queues[queue].levels[index]
        }
        let slot = levels.insert(LevelRecord(queue: queue, priority: priority))
        queues[queue].levels.insert(slot, at: index)
        return slot
    }

    // MARK: - Populations

    /// Counts a job in, in whatever state it is.
    mutating func addJobs(_ count: Int, to slot: Slot<LaneRecord>) {
        assert(count > 0, "only jobs populate a lane")
        lanes[slot].population += count
        guard lanes[slot].population == count else { return }
        let (group, level) = (lanes[slot].group, lanes[slot].level)
        groups[group].populatedLanes += 1
        guard groups[group].populatedLanes == 1 else { return }
        levels[level].populatedGroups += 1
        switch levels[level].populatedGroups {
        case 1: levels[level].sole = group
        case 2:
            levels[level].rotation = GroupRotation()
            if let first = levels[level].sole { refreshHead(of: first) }
            levels[level].sole = nil
        default: break
        }
    }

    /// Counts a job out that has ended; its lane may go with it.
    mutating func removeJob(from slot: Slot<LaneRecord>) {
        assert(lanes[slot].population > 0, "a lane's population is not negative")
        lanes[slot].population -= 1
        guard lanes[slot].population == 0 else { return }
        let (group, level) = (lanes[slot].group, lanes[slot].level)
        groups[group].populatedLanes -= 1
        if groups[group].populatedLanes == 0 { depopulate(group, in: level) }
        let isNamed = !groups[group].name.isEmpty
        if isNamed || groups[group].lanes.count > Self.idleLanesMax { forget(slot) }
        if isNamed && groups[group].populatedLanes == 0 { forget(group, in: level) }
    }

    private mutating func depopulate(_ group: Slot<GroupRecord>, in level: Slot<LevelRecord>) {
        assert(groups[group].head == 0, "a group without jobs has none ready")
        levels[level].rotation?.leave(due: groups[group].due)
        groups[group].due = 0
        levels[level].populatedGroups -= 1
        switch levels[level].populatedGroups {
        case 0: levels[level].sole = nil
        case 1:
            levels[level].rotation = nil
            let sole = levels[level].groups.values.first { groups[$0].populatedLanes > 0 }
            levels[level].sole = sole
            if let sole {
                groups[sole].head = 0
                groups[sole].due = 0
            }
        default: break
        }
    }

    private mutating func forget(_ slot: Slot<LaneRecord>) {
        let group = lanes[slot].group
        groups[group].lanes.removeAll { $0 == slot }
        if recent == slot { recent = nil }
        lanes.remove(
            slot,
            leaving: LaneRecord(
                queue: lanes[slot].queue, level: lanes[slot].level, group: group, terms: 0))
    }

    private mutating func forget(_ group: Slot<GroupRecord>, in level: Slot<LevelRecord>) {
        for slot in groups[group].lanes { forget(slot) }
        if groups[group].tally != .none { untally(group) }
        levels[level].groups[Name(groups[group].name)] = nil
        groups.remove(group, leaving: GroupRecord(name: "", level: level))
        // A table once large would make every walk over it long.
        let (count, capacity) = (levels[level].groups.count, levels[level].groups.capacity)
        if capacity > 64 && count < capacity / 8 {
            levels[level].groups = Dictionary(uniqueKeysWithValues: levels[level].groups.map { ($0.key, $0.value) })
        }
    }

    // MARK: - Ready jobs

    /// Makes a job of the lane leasable.
    mutating func insertReady(_ job: UInt64, in slot: Slot<LaneRecord>) {
        guard lanes[slot].ready.insert(job) else { return }
        let (queue, level) = (lanes[slot].queue, lanes[slot].level)
        queues[queue].ready += 1
        levels[level].ready += 1
        refresh(lanes[slot].group, in: level)
    }

    /// Makes new jobs of the lane leasable.
    mutating func insertReady(_ jobs: ClosedRange<UInt64>, in slot: Slot<LaneRecord>) {
        let added = lanes[slot].ready.insertRange(jobs)
        assert(added == jobs.count, "new jobs were not leasable before")
        let (queue, level) = (lanes[slot].queue, lanes[slot].level)
        queues[queue].ready += added
        levels[level].ready += added
        refresh(lanes[slot].group, in: level)
    }

    /// Makes jobs of the lane leasable, in which none was.
    mutating func restoreReady(_ jobs: SequenceBitmap, in slot: Slot<LaneRecord>) {
        lanes[slot].ready = jobs
        let (queue, level) = (lanes[slot].queue, lanes[slot].level)
        queues[queue].ready += jobs.count
        levels[level].ready += jobs.count
        refresh(lanes[slot].group, in: level)
    }

    /// Takes a job out of what may be leased; returns false when it was not in it.
    @discardableResult
    mutating func removeReady(_ job: UInt64, from slot: Slot<LaneRecord>) -> Bool {
        guard lanes[slot].ready.remove(job) else { return false }
        let (queue, level) = (lanes[slot].queue, lanes[slot].level)
        queues[queue].ready -= 1
        levels[level].ready -= 1
        refresh(lanes[slot].group, in: level)
        return true
    }

    /// Notes that a lease of `job` used up a turn of its group.
    mutating func serve(_ job: UInt64, of slot: Slot<LaneRecord>, at sequence: UInt64) {
        let (group, level) = (lanes[slot].group, lanes[slot].level)
        guard levels[level].populatedGroups > 1, let roundStart = levels[level].rotation?.roundStart
        else { return }
        let due = isServed(group) ? groups[group].due : nil
        if due != nil || job >= roundStart { levels[level].rotation?.beginRound(at: sequence, due: due) }
        markServed(group, until: GroupRotation.stride(ofWeight: lanes[slot].weight))
    }

    /// Restores a round from an image.
    mutating func restoreRound(of level: Slot<LevelRecord>, start: UInt64) {
        levels[level].rotation?.roundStart = start
    }

    /// Notes that a group was served in this round, and after how many it comes again.
    mutating func markServed(_ group: Slot<GroupRecord>, until stride: UInt64) {
        let level = groups[group].level
        guard let round = levels[level].rotation?.round else { return }
        levels[level].rotation?.serve(head: groups[group].head, due: round + stride)
        groups[group].due = round + stride
    }

    func isServed(_ group: Slot<GroupRecord>) -> Bool {
        groups[group].due > levels[groups[group].level].rotation?.round ?? .max
    }

    /// Brings the indexes up to date after the ready jobs of a group changed.
    private mutating func refresh(_ group: Slot<GroupRecord>, in level: Slot<LevelRecord>) {
        if groups[group].tally != .none {
            refresh(groups[group].tally)
        } else if levels[level].populatedGroups > 1 {
            refreshHead(of: group)
        }
    }

    mutating func refreshHead(of group: Slot<GroupRecord>) {
        var head: UInt64 = 0
        for lane in groups[group].lanes where !groups[group].isHeld {
            if let first = lanes[lane].ready.first, head == 0 || first < head { head = first }
        }
        let old = groups[group].head
        guard head != old else { return }
        groups[group].head = head
        let level = groups[group].level
        let due = groups[group].due
        if old != 0 { levels[level].rotation?.remove(head: old, due: due) }
        if head != 0 { levels[level].rotation?.insert(head: head, of: group, due: due) }
    }
}

extension String {
    /// Whether both are the same bytes.
    func isSameName(as other: String) -> Bool { Name(self) == Name(other) }
}
