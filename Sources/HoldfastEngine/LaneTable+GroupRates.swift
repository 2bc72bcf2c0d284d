// How often jobs of each group are leased. A group has a bucket only while that is not full: what is not in the table
// is full, so groups that did nothing for a while cost nothing. Buckets are state, made by lease records alone, and
// outlive the jobs of their group: who has run empty and comes again has no more than before.
//
// How many tokens a group has at an instant is part of its allowance (see LaneTable+Tallies.swift), so a group without
// any is out of the rotation like one that runs as many jobs as it may. It comes back when its token does: each group
// that holds jobs back waits for its next one in a heap. A token is waited for once, so all of this costs O(log groups)
// a lease, however many groups there are.

internal import HoldfastBytes

/// A tag for deadlines that need none.
struct GroupToken: Comparable, Sendable {
    static func < (a: Self, b: Self) -> Bool { false }
}

/// The buckets of a queue's groups that are not full, or were not when that was last looked at.
struct GroupBuckets: Sendable {
    private(set) var buckets: [Name: RateBucket] = [:]
    /// The size at which full ones are next thrown away.
    private var limit = QueueState.heapSlack

    subscript(group: Name) -> RateBucket? { buckets[group] }

    /// Takes a token for a lease.
    ///
    /// - Complexity: O(1) amortised.
    mutating func take(_ group: Name, at time: Timestamp, _ rate: RateLimit) {
        if buckets.count >= limit, buckets[group] == nil {
            buckets = buckets.filter { !$0.value.isFull(at: time, rate) }
            limit = max(2 * buckets.count, QueueState.heapSlack)
        }
        buckets[group, default: RateBucket(rate)].take(at: time, rate)
    }

    /// Those that are not full at `time`, in the order of their groups.
    func open(at time: Timestamp, _ rate: RateLimit) -> [(group: Name, bucket: RateBucket)] {
        buckets.filter { !$0.value.isFull(at: time, rate) }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Restores a bucket; returns false when there is one.
    mutating func restore(_ bucket: RateBucket, of group: Name) -> Bool {
        buckets.updateValue(bucket, forKey: group) == nil
    }
}

extension LaneTable {
    /// How many leases a group may have at `now`, as its rate goes.
    func groupTokens(of tally: GroupTally, at now: Timestamp, _ limit: RateLimit) -> Int {
        queues[tally.queue].groupBuckets?[tally.name]?.tokens(at: now, limit) ?? limit.burst
    }

    /// Takes a token of the group for a lease. The caller counts the lease next, which brings the tally up to date.
    mutating func takeGroupToken(in lane: Slot<LaneRecord>, at time: Timestamp) {
        let (queue, tally) = (lanes[lane].queue, groups[lanes[lane].group].tally)
        guard tally != .none, let limit = queues[queue].terms.sharing.groupRate else { return }
        queues[queue].groupBuckets?.take(tallies[tally].name, at: time, limit)
    }

    /// Notes when a group that holds jobs back has its next token.
    mutating func awaitToken(_ slot: Slot<GroupTally>, ready: Int, _ limit: RateLimit) {
        let (queue, name) = (tallies[slot].queue, tallies[slot].name)
        guard let bucket = queues[queue].groupBuckets?[name], ready > bucket.tokens(at: tokensSeenAt, limit),
            let next = bucket.next(after: tokensSeenAt, limit), next != tallies[slot].wakesAt
        else { return }
        tallies[slot].wakesAt = next
        groupTokens.push(next, JobID(UInt64(slot.index)), GroupToken())
        guard groupTokens.count > groupTokensLimit else { return }
        let tallies = tallies
        groupTokens.removeAll { tallies[Slot(Int($0.job.rawValue))].wakesAt == $0.deadline }
        groupTokensLimit = max(2 * groupTokens.count, QueueState.heapSlack)
    }

    /// Whether groups may have got tokens by `now` that are not counted.
    func hasGroupTokens(by now: Timestamp) -> Bool { groupTokens.first.map { $0.deadline <= now } ?? false }

    /// Lets groups lease whose tokens have come. An index change.
    ///
    /// - Complexity: O(log groups) for each that waited.
    mutating func countGroupTokens(at now: Timestamp) {
        tokensSeenAt = max(tokensSeenAt, now)
        while let first = groupTokens.first, first.deadline <= tokensSeenAt {
            groupTokens.popFirst()
            let slot = Slot<GroupTally>(Int(first.job.rawValue))
            guard tallies[slot].wakesAt == first.deadline else { continue }
            tallies[slot].wakesAt = .zero
            refresh(slot)
        }
    }
}

// MARK: - In digests and images

extension QueueState {
    /// Whether any group has less than a full bucket.
    var hasOpenGroupBuckets: Bool { table.queueSlots.values.contains { !openGroupBuckets(of: $0).isEmpty } }

    private func openGroupBuckets(of queue: Slot<QueueRecord>) -> [(group: Name, bucket: RateBucket)] {
        guard let limit = table.queues[queue].terms.sharing.groupRate else { return [] }
        return table.queues[queue].groupBuckets?.open(at: latestTime, limit) ?? []
    }

    /// Appends the buckets that are not full, by queue and group. Which those are goes by the records, not by when
    /// anybody looked.
    func encodeGroupBuckets(into writer: inout ByteWriter) {
        var queues: [(name: Name, buckets: [(group: Name, bucket: RateBucket)])] = []
        for (name, slot) in table.queueSlots {
            let buckets = openGroupBuckets(of: slot)
            if !buckets.isEmpty { queues.append((name, buckets)) }
        }
        writer.append(varint: UInt64(queues.count))
        for queue in queues.sorted(by: { $0.name < $1.name }) {
            writer.append(counted: queue.name.string)
            writer.append(varint: UInt64(queue.buckets.count))
            for (group, bucket) in queue.buckets {
                writer.append(counted: group.string)
                bucket.encode(into: &writer)
            }
        }
    }

    /// Reads what `encodeGroupBuckets` wrote; jobs and settings are there.
    mutating func decodeGroupBuckets(_ reader: inout ByteReader) throws {
        var previous: Name?
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let name = try reader.countedString(atMost: RecordLimits.nameBytesMax)
            if let previous, !(previous < Name(name)) { throw Self.corruptImage("rated queues are out of order") }
            previous = Name(name)
            guard let slot = table.queueSlots[Name(name)], let limit = table.queues[slot].terms.sharing.groupRate else {
                throw Self.corruptImage("groups have tokens of no rate")
            }
            let count = try reader.varint(atMost: UInt64(reader.remaining))
            guard count > 0 else { throw Self.corruptImage("a queue has no rated groups") }
            try decodeGroupBuckets(of: slot, count, limit, &reader)
        }
    }

    private mutating func decodeGroupBuckets(
        of queue: Slot<QueueRecord>, _ count: UInt64, _ limit: RateLimit, _ reader: inout ByteReader
    ) throws {
        var previous: Name?
        for _ in 0..<count {
            let group = Name(try reader.countedString(atMost: RecordLimits.nameBytesMax))
            if let previous, !(previous < group) { throw Self.corruptImage("rated groups are out of order") }
            previous = group
            let bucket = try RateBucket(of: limit, from: &reader)
            guard bucket.time <= latestTime, !bucket.isFull(at: latestTime, limit), !group.string.isEmpty,
                table.queues[queue].groupBuckets?.restore(bucket, of: group) ?? false
            else { throw Self.corruptImage("a group has tokens that it can't have") }
            if let tally = table.queues[queue].tallies?[group] { table.refresh(tally) }
        }
    }
}
