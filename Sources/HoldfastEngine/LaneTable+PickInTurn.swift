// The picks of one priority in which several groups take turns: rounds as `GroupRotation` has them, begun here as the
// leases that are picked will begin them. First what is left of this round; then, by round and id, the groups that came
// too late for it, those that were served, and those picked from here, each again after its stride.

internal import HoldfastBytes

/// Where the next of a run of heads comes from.
private struct TurnSource: Comparable, Sendable {
    enum Kind: UInt8 { case fresh, served, again }
    let kind: Kind
    /// Of a job that follows one picked here.
    var lane = Slot<LaneRecord>.none

    static func < (a: Self, b: Self) -> Bool { a.kind.rawValue < b.kind.rawValue }
}

/// Heads that wait for their rounds; a round's number stands where a deadline would.
private typealias Turns = DeadlineHeap<TurnSource>

extension DeadlineHeap where Tag == TurnSource {
    fileprivate mutating func push(_ head: UInt64, in round: UInt64, _ source: TurnSource) {
        push(Timestamp(milliseconds: Int64(round)), JobID(head), source)
    }
}

extension LaneTable {
    /// Appends picks until there are `limit`.
    ///
    /// - Complexity: O(picks · log n).
    func pickInTurn(
        _ rotation: GroupRotation, _ level: Slot<LevelRecord>, limit: Int,
        _ spending: inout TallySpending,
        into picks: inout [Pick]
    ) {
        var turns = Turns()
        /// The soonest next round of anybody who was served.
        var soonest = rotation.soonestRound
        func take(_ pick: Pick, in round: UInt64) {
            let group = lanes[pick.lane].group
            guard mayGive(group, spending) else { return }
            picks.append(pick)
            spending.spend(groups[group].tally)
            let due = round + GroupRotation.stride(ofWeight: lanes[pick.lane].weight)
            soonest = min(soonest ?? due, due)
            guard mayGive(group, spending), let next = self.pick(in: group, after: pick.job) else {
                return
            }
            turns.push(next.job, in: due, TurnSource(kind: .again, lane: next.lane))
        }
        var fresh = rotation.fresh.first
        while picks.count < limit, let head = fresh, head < rotation.roundStart {
            if let pick = pick(head: head, in: level) { take(pick, in: rotation.round) }
            fresh = rotation.fresh.first(after: head)
        }
        if let served = rotation.servedHead(after: 0, in: 0) {
            turns.push(served.head, in: served.round, TurnSource(kind: .served))
        }
        if let head = fresh {
            // Whoever came too late for this round is in the one that the next lease begins.
            let again = turns.first
            let isFirst = again.map { head < $0.job.rawValue } ?? true
            let round = isFirst ? soonest ?? rotation.round : UInt64(again?.deadline.milliseconds ?? 0)
            turns.push(head, in: round, TurnSource(kind: .fresh))
        }
        while picks.count < limit, let turn = turns.popFirst() {
            let (head, round) = (turn.job.rawValue, UInt64(turn.deadline.milliseconds))
            switch turn.tag.kind {
            case .fresh:
                if let next = rotation.fresh.first(after: head) { turns.push(next, in: round, turn.tag) }
                if let pick = pick(head: head, in: level) { take(pick, in: round) }
            case .served:
                if let next = rotation.servedHead(after: head, in: round) {
                    turns.push(next.head, in: next.round, turn.tag)
                }
                if let pick = pick(head: head, in: level) { take(pick, in: round) }
            case .again: take(Pick(job: head, lane: turn.tag.lane), in: round)
            }
        }
    }
}
