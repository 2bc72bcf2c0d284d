// How many jobs of a queue may be leased now: pausing, the most that run, the rate, and the slots shared with other
// queues. Slots are counted from the leases there are.

internal import HoldfastBytes

extension LaneTable {
    /// How many jobs of the queue may be leased at `now`, whether or not so many are ready.
    ///
    /// - Complexity: O(1), or O(queues that share its slots).
    func leasable(in slot: Slot<QueueRecord>, at now: Timestamp) -> Int {
        guard !queues[slot].terms.isPaused else { return 0 }
        let running = queues[slot].terms.runningMax.map { max(0, $0 - queues[slot].leased) } ?? .max
        guard queues[slot].hasLimits else { return running }
        return min(running, tokens(of: slot, at: now), freeSlots(of: slot))
    }

    /// The same in the middle of one lease from several queues, which has picked from others already.
    func leasable(in slot: Slot<QueueRecord>, at now: Timestamp, after picks: [Pick]) -> Int {
        let count = leasable(in: slot, at: now)
        guard let name = queues[slot].terms.sharing.limiter?.name, !picks.isEmpty, count > 0 else { return count }
        let taken = picks.count { pick in
            let queue = lanes[pick.lane].queue
            return queue != slot && queues[queue].terms.sharing.limiter?.name.isSameName(as: name) ?? false
        }
        return min(count, max(0, freeSlots(of: slot) - taken))
    }

    func tokens(of slot: Slot<QueueRecord>, at now: Timestamp) -> Int {
        guard let limit = queues[slot].terms.sharing.rate, let bucket = queues[slot].bucket else { return .max }
        return bucket.tokens(at: now, limit)
    }

    func freeSlots(of slot: Slot<QueueRecord>) -> Int {
        guard let limiter = queues[slot].terms.sharing.limiter else { return .max }
        let leased = sharers[Name(limiter.name)]?.reduce(0) { $0 + queues[$1].leased } ?? 0
        return max(0, limiter.size - leased)
    }

    /// Takes a token for a lease.
    mutating func takeToken(of slot: Slot<QueueRecord>, at time: Timestamp) {
        if let limit = queues[slot].terms.sharing.rate { queues[slot].bucket?.take(at: time, limit) }
    }

    /// The first instant after `now` at which a queue with ready jobs may lease one more as its rate goes.
    ///
    /// - Complexity: O(queues with a rate).
    func nextToken(after now: Timestamp) -> Timestamp? {
        var first: Timestamp?
        for slot in ratedQueues where queues[slot].ready > queues[slot].held {
            guard let limit = queues[slot].terms.sharing.rate, let refill = queues[slot].bucket?.refill(limit),
                refill > now
            else { continue }
            first = min(first ?? refill, refill)
        }
        return first
    }

    /// Keeps the lists of queues with limits after what is said of one of them has changed.
    mutating func limitsChanged(of slot: Slot<QueueRecord>, from old: SharingTerms) {
        let sharing = queues[slot].terms.sharing
        if sharing.rate != old.rate {
            queues[slot].bucket = sharing.rate.map { RateBucket($0) }
            ratedQueues.removeAll { $0 == slot }
            if sharing.rate != nil { ratedQueues.append(slot) }
        }
        if sharing.groupRate != old.groupRate {
            queues[slot].groupBuckets = sharing.groupRate.map { _ in GroupBuckets() }
        }
        if let limiter = old.limiter {
            sharers[Name(limiter.name)]?.removeAll { $0 == slot }
            if sharers[Name(limiter.name)]?.isEmpty ?? false { sharers[Name(limiter.name)] = nil }
        }
        if let limiter = sharing.limiter { sharers[Name(limiter.name), default: []].append(slot) }
        queues[slot].hasLimits = sharing.rate != nil || sharing.limiter != nil
    }
}
