// What keeps a ready job from being leased besides pausing and the most that run: its queue's rate, slots shared with
// other queues, and the rules for its group.

package import HoldfastBytes

/// What a ready job waits for.
package enum JobHold: Hashable, Sendable {
    /// Its queue may lease nothing before, as its rate goes.
    case rate(until: Timestamp)
    /// All slots that its queue shares with others are taken.
    case slots(SharedLimiter)
    /// So many jobs of the group run, and no more may.
    case running(max: Int)
    /// Its group may lease nothing before, as its rate goes.
    case groupRate(until: Timestamp)
    /// Another job of the group comes first.
    case order(behind: JobID)
}

extension QueueState {
    /// Returns what keeps the ready job from being leased; `nil` for nothing of this kind.
    ///
    /// - Complexity: O(entries) where groups keep their order, else O(1).
    func hold(of job: UInt64, in lane: Slot<LaneRecord>, at now: Timestamp) -> JobHold? {
        let queue = table.lanes[lane].queue
        if table.tokens(of: queue, at: now) == 0, let limit = table.queues[queue].terms.sharing.rate {
            return .rate(until: table.queues[queue].bucket?.refill(limit) ?? now)
        }
        if table.freeSlots(of: queue) == 0, let limiter = table.queues[queue].terms.sharing.limiter {
            return .slots(limiter)
        }
        return groupHold(of: job, in: lane, at: now)
    }

    private func groupHold(of job: UInt64, in lane: Slot<LaneRecord>, at now: Timestamp) -> JobHold? {
        let slot = table.groups[table.lanes[lane].group].tally
        guard slot != .none else { return nil }
        let tally = table.tallies[slot]
        let sharing = table.queues[tally.queue].terms.sharing
        if sharing.order != .free, let first = firstOfGroup(slot), first != job { return .order(behind: JobID(first)) }
        if let most = sharing.groupRunningMax, tally.leased >= most { return .running(max: most) }
        if let limit = sharing.groupRate, table.groupTokens(of: tally, at: now, limit) == 0 {
            return .groupRate(until: table.queues[tally.queue].groupBuckets?[tally.name]?.refill(limit) ?? now)
        }
        return nil
    }

    /// The job of a group in order that runs, or is to run next.
    private func firstOfGroup(_ slot: Slot<GroupTally>) -> UInt64? {
        let tally = table.tallies[slot]
        if tally.leased > 0 {
            let leased = entries.filter {
                $1.phase == .leased && table.groups[table.lanes[$1.lane].group].tally == slot
            }
            return leased.keys.min()
        }
        let ready = tally.places.flatMap { table.groups[$0].lanes }.compactMap { table.lanes[$0].ready.first }
        return (ready + [tally.waiting.first].compactMap(\.self)).min()
    }

    /// How many ready jobs of a queue may not be leased because of their groups.
    package func heldCount(of queue: String) -> Int { table.queue(queue).map { table.queues[$0].held } ?? 0 }
}
