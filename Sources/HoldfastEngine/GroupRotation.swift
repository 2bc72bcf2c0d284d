// How groups of one queue and priority take turns. A round begins with a lease; every group that has its turn in it and
// had a job waiting then is served once before any is served again, the one with the lowest waiting id first. Jobs
// enqueued after the round began wait for the next, so that a stream of new groups can't starve an old one.
//
// Rounds are numbered, and a group's weight says how many it sits out once it was served: one of weight 1 comes again
// after `turn` rounds, one of weight w after the w-th part of it. Rounds in which nobody would be served are left out.
// So groups that all weigh the same are in every round; one of weight 3 is in three where one of weight 1 is in one;
// and a group that has something new to do waits for what is left of a round and at most one lease more, whatever the
// others weigh and however much they have waiting.
//
// `roundStart`, and for each group served how far off its next round is, are state (in image and digest), changed by
// lease records only. The bitmaps are an index: the head (lowest waiting id) of each group with something waiting, in
// order. A group with nothing waiting, or that may not run anything, is in none of them. With fewer than two populated
// groups there is no rotation at all.

/// The turns of the groups in one level.
struct GroupRotation: Sendable {
    /// The groups whose next round is the same.
    struct Bucket: Sendable {
        var round: UInt64 = 0
        /// How many groups there are, with something waiting or without.
        var groups = 0
        var heads = SequenceBitmap()
    }

    /// How many rounds a group of weight 1 sits out: enough that shares are true to a percent up to a weight of 100,
    /// and to 5 percent up to 1000; and that strides of small weights meet in the same rounds.
    static let turn: UInt64 = 10_080

    /// Returns after how many rounds a group comes again.
    static func stride(ofWeight weight: UInt32) -> UInt64 {
        (turn + UInt64(weight) / 2) / UInt64(weight)
    }

    /// The sequence number of the lease that began the round; 0 before the first.
    var roundStart: UInt64 = 0
    /// The number of the round, counted from when the rotation was made or read.
    private(set) var round: UInt64 = 0
    /// The heads of groups whose turn is in this round, or was due before.
    private(set) var fresh = SequenceBitmap()
    /// The groups served whose next round is the soonest; without groups when nobody was served.
    private(set) var soonest = Bucket()
    private var later: [UInt64: Bucket] = [:]
    private var laterRounds = DescendingNumbers()
    /// Those of later rounds in which somebody has something waiting.
    private var laterWaiting = DescendingNumbers()
    private(set) var groupOfHead: [UInt64: Slot<GroupRecord>] = [:]

    /// The next round of anybody who was served; `nil` when nobody was.
    var soonestRound: UInt64? { soonest.groups > 0 ? soonest.round : nil }

    /// The head whose group is next: of this round while it has any, else the lowest of the next.
    var next: UInt64? {
        if let head = fresh.first, head < roundStart { return head }
        let again = soonest.heads.first ?? laterWaiting.last.flatMap { later[$0]?.heads.first }
        guard let late = fresh.first else { return again }
        return again.map { min(late, $0) } ?? late
    }

    /// The first of the heads after `head`, in the order of their rounds, of groups that were served.
    func servedHead(after head: UInt64, in round: UInt64) -> (head: UInt64, round: UInt64)? {
        if round > 0, let next = bucket(round)?.heads.first(after: head) { return (next, round) }
        if round < soonest.round, let first = soonest.heads.first { return (first, soonest.round) }
        guard let next = laterWaiting.last(above: round), let first = later[next]?.heads.first else {
            return nil
        }
        return (first, next)
    }

    private func bucket(_ round: UInt64) -> Bucket? {
        round == soonest.round ? soonest : later[round]
    }

    // MARK: - Heads

    /// Adds the head of a group whose next round is `due`.
    mutating func insert(head: UInt64, of group: Slot<GroupRecord>, due: UInt64) {
        let isNew = due <= round ? fresh.insert(head) : change(due) { $0.heads.insert(head) }
        assert(isNew, "two groups have one head")
        groupOfHead[head] = group
    }

    mutating func remove(head: UInt64, due: UInt64) {
        let wasThere = due <= round ? fresh.remove(head) : change(due) { $0.heads.remove(head) }
        assert(wasThere, "a head was lost")
        groupOfHead[head] = nil
    }

    // MARK: - Rounds

    /// Begins a round: that of `due`, of a group that was served; else the soonest of anybody who was.
    ///
    /// - Complexity: O(1) amortised over the leases of the rounds before.
    mutating func beginRound(at sequence: UInt64, due: UInt64?) {
        round = max(round, due ?? soonestRound ?? round)
        roundStart = sequence
        while soonest.groups > 0, soonest.round <= round {
            if fresh.count < soonest.heads.count { swap(&fresh, &soonest.heads) }
            soonest.heads.forEachRange { range in
                for head in range { fresh.insert(head) }
            }
            soonest = popLater()
        }
    }

    /// Notes that a group of this round was served and comes again in round `due`; moves its head, 0 for none.
    mutating func serve(head: UInt64, due: UInt64) {
        assert(due > round, "who was served waits for a later round")
        if soonest.groups == 0 {
            soonest.round = due
            soonest.groups = 1
        } else if due < soonest.round {
            later[soonest.round] = soonest
            laterRounds.insert(soonest.round)
            if !soonest.heads.isEmpty { laterWaiting.insert(soonest.round) }
            soonest = Bucket(round: due, groups: 1)
        } else {
            change(due) { $0.groups += 1 }
        }
        if head != 0, fresh.remove(head) { _ = change(due) { $0.heads.insert(head) } }
    }

    /// Forgets a group that was served and has nothing waiting.
    mutating func leave(due: UInt64) {
        if due > round { change(due) { $0.groups -= 1 } }
    }

    // MARK: - Buckets

    private mutating func popLater() -> Bucket {
        guard let round = laterRounds.popLast(), let bucket = later.removeValue(forKey: round) else {
            return Bucket()
        }
        laterWaiting.remove(round)
        return bucket
    }

    @discardableResult
    private mutating func change<Result>(_ due: UInt64, _ body: (inout Bucket) -> Result) -> Result {
        if soonest.groups > 0, soonest.round == due {
            let result = body(&soonest)
            if soonest.groups == 0 { soonest = popLater() }
            return result
        }
        let result = body(&later[due, default: Bucket(round: due)])
        let (groups, isIdle) = later[due].map { ($0.groups, $0.heads.isEmpty) } ?? (0, true)
        if isIdle { laterWaiting.remove(due) } else { laterWaiting.insert(due) }
        if groups == 0 {
            later[due] = nil
            laterRounds.remove(due)
        } else {
            laterRounds.insert(due)
        }
        return result
    }
}

/// Different numbers, the lowest last, where it is taken.
private struct DescendingNumbers: Sendable {
    private var numbers: [UInt64] = []

    var last: UInt64? { numbers.last }

    /// The lowest above `number`.
    func last(above number: UInt64) -> UInt64? {
        let index = firstIndex(atMost: number)
        return index > 0 ? numbers[index - 1] : nil
    }

    mutating func popLast() -> UInt64? { numbers.popLast() }

    mutating func insert(_ number: UInt64) {
        let index = firstIndex(atMost: number)
        if index == numbers.count || numbers[index] != number { numbers.insert(number, at: index) }
    }

    mutating func remove(_ number: UInt64) {
        let index = firstIndex(atMost: number)
        if index < numbers.count, numbers[index] == number { numbers.remove(at: index) }
    }

    private func firstIndex(atMost number: UInt64) -> Int {
        var (low, high) = (0, numbers.count)
        while low < high {
            let middle = (low + high) / 2
            if numbers[middle] > number { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
