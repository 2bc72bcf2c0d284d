// How groups of one queue and priority take turns. A round begins with a lease; every group that had a job waiting
// then is served once before any is served again, the one with the lowest waiting id first. Jobs enqueued after the
// round began wait for the next, so that a stream of new groups can't starve an old one.
//
// `roundStart` and the set of groups served since are state (in image and digest), changed by lease records only.
// The bitmaps are an index: the head (lowest waiting id) of each group with something waiting, in order. A group with
// nothing waiting is in none of them. With fewer than two populated groups there is no rotation at all.

/// The turns of the groups in one level.
struct GroupRotation: Sendable {
    /// The sequence number of the lease that began the round; 0 before the first.
    var roundStart: UInt64 = 0
    /// Tells the groups served in this round: those whose `servedRound` equals it.
    private(set) var round: UInt64 = 1
    /// The heads of groups not served in this round.
    private(set) var fresh = SequenceBitmap()
    /// The heads of groups served in this round.
    private(set) var served = SequenceBitmap()
    private(set) var groupOfHead: [UInt64: Slot<GroupRecord>] = [:]

    /// The head whose group is next: of this round while it has any, else the lowest of all.
    var next: UInt64? {
        if let head = fresh.first, head < roundStart { return head }
        guard let late = fresh.first else { return served.first }
        guard let again = served.first else { return late }
        return min(late, again)
    }

    mutating func insert(head: UInt64, of group: Slot<GroupRecord>, isServed: Bool) {
        let isNew = isServed ? served.insert(head) : fresh.insert(head)
        assert(isNew, "two groups have one head")
        groupOfHead[head] = group
    }

    mutating func remove(head: UInt64, isServed: Bool) {
        let wasThere = isServed ? served.remove(head) : fresh.remove(head)
        assert(wasThere, "a head was lost")
        groupOfHead[head] = nil
    }

    /// Begins a round in which no group is served yet.
    ///
    /// - Complexity: O(1) amortised over the leases of the round before.
    mutating func beginRound(at sequence: UInt64) {
        if fresh.count < served.count { swap(&fresh, &served) }
        served.forEachRange { range in
            for head in range { fresh.insert(head) }
        }
        served = SequenceBitmap()
        round += 1
        roundStart = sequence
    }

    /// Moves a waiting group's head to where served groups are.
    mutating func markServed(head: UInt64) {
        if fresh.remove(head) { served.insert(head) }
    }
}
