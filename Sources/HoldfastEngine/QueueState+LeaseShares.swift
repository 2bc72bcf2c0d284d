// Leases from several queues by weight. Who gives how many is counted out first, turn by turn, from how many each queue
// may give; then each gives them as it would alone, and they are put in the order of the turns.

internal import HoldfastBytes

extension LaneTable {
    /// The jobs that a lease from `names` gets, in order, at most `limit`.
    ///
    /// - Complexity: O(names · limit) comparisons, and O(picks · log n).
    func picks(from names: [String], _ turns: LeaseTurns, limit: Int, at now: Timestamp) -> [Pick] {
        assert(names.count == turns.count, "each queue has a weight")
        let slots = names.map { queue($0) }
        if limit == 1 {
            var pick: Pick?
            _ = turns.next { index in
                guard let found = slots[index].flatMap({ firstPick(in: $0, at: now) }) else { return false }
                pick = found
                return true
            }
            return pick.map { [$0] } ?? []
        }
        let order = countOut(slots, turns, limit: limit, at: now)
        var shares = [ArraySlice<Pick>](repeating: [], count: slots.count)
        for (index, count) in Dictionary(order.map { ($0, 1) }, uniquingKeysWith: +) {
            guard let slot = slots[index] else { continue }
            var picks: [Pick] = []
            pick(from: slot, limit: count, at: now, into: &picks)
            shares[index] = picks[...]
        }
        return order.compactMap { shares[$0].popFirst() }
    }

    /// Which queue gives a job, turn by turn.
    private func countOut(
        _ slots: [Slot<QueueRecord>?], _ turns: LeaseTurns, limit: Int, at now: Timestamp
    ) -> [Int] {
        var turns = turns
        var left = slots.map { slot in
            slot.map { max(0, min(queues[$0].ready - queues[$0].held, leasable(in: $0, at: now))) } ?? 0
        }
        // What queues take of slots that they share is missing for the others.
        let limiters = slots.map { slot in
            slot.flatMap { queues[$0].terms.sharing.limiter }.map { Name($0.name) }
        }
        let free = slots.map { slot in slot.map { freeSlots(of: $0) } ?? 0 }
        var taken: [Name: Int] = [:]
        var order: [Int] = []
        while order.count < limit {
            let next = turns.next { index in
                left[index] > 0 && (limiters[index].map { taken[$0, default: 0] < free[index] } ?? true)
            }
            guard let next else { break }
            order.append(next)
            turns.serve(next)
            left[next] -= 1
            if let limiter = limiters[next] { taken[limiter, default: 0] += 1 }
        }
        return order
    }
}
