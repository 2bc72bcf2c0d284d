// Which jobs a lease would get, without changing anything. Higher priorities first; in one of them groups in turn;
// in a group the lowest id, whatever lane it is in. What is picked here, leased in this order, leaves the rotation
// exactly where the picking assumed it: a test compares many leases of one with one lease of many.

internal import HoldfastBytes

/// A job chosen for a lease.
struct Pick: Hashable, Sendable {
    let job: UInt64
    let lane: Slot<LaneRecord>
}

extension LaneTable {
    /// The job that a lease from `queue` gets first.
    ///
    /// - Complexity: O(log n).
    func firstPick(in queue: Slot<QueueRecord>, at now: Timestamp) -> Pick? {
        guard queues[queue].ready > queues[queue].held, leasable(in: queue, at: now) > 0 else { return nil }
        for level in levelsInOrder(of: queue, at: now) {
            if let pick = firstPick(in: level) { return pick }
        }
        return nil
    }

    /// Appends the jobs that a lease from `queue` gets, in order, until there are `limit` picks.
    ///
    /// - Complexity: O(picks · log n).
    func pick(from queue: Slot<QueueRecord>, limit: Int, at now: Timestamp, into picks: inout [Pick]) {
        guard queues[queue].ready > queues[queue].held else { return }
        let leasable = leasable(in: queue, at: now, after: picks)
        let limit = leasable < limit - picks.count ? picks.count + leasable : limit
        var spending = TallySpending()
        for level in levelsInOrder(of: queue, at: now) where levels[level].ready > 0 && picks.count < limit {
            if let rotation = levels[level].rotation {
                pickInTurn(rotation, level, limit: limit, &spending, into: &picks)
            } else if let sole = levels[level].sole {
                var last: UInt64 = 0
                while picks.count < limit, mayGive(sole, spending), let pick = pick(in: sole, after: last) {
                    picks.append(pick)
                    spending.spend(groups[sole].tally)
                    last = pick.job
                }
            }
        }
    }

    /// The group's lowest ready job after `job`.
    func pick(in group: Slot<GroupRecord>, after job: UInt64) -> Pick? {
        var best: Pick?
        for lane in groups[group].lanes where !groups[group].isHeld {
            guard let next = lanes[lane].ready.first(after: job) else { continue }
            if best == nil || next < best!.job { best = Pick(job: next, lane: lane) }
        }
        return best
    }

    /// The job at the head of its group.
    func pick(head: UInt64, in level: Slot<LevelRecord>) -> Pick? {
        guard let group = levels[level].rotation?.groupOfHead[head] else { return nil }
        let lane = groups[group].lanes.first { lanes[$0].ready.first == head }
        return lane.map { Pick(job: head, lane: $0) }
    }
}
