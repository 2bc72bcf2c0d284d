// What is known of the store: the state that it has for certain, and those that it may have after a crash. Operations
// whose answer never came are there whole or not at all, and in their order; in the weaker durability modes this holds
// for answered ones too, until something made them durable. So the states that are possible form a list, each led to
// by one operation more, and what is found after a crash must be one of them.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine

/// The possible states of a store.
struct SimulationLedger {
    /// A lease that was never answered: which jobs it got, where the order of groups is open, only the store can tell.
    struct UnknownLease {
        let operation: SimulationOperation
        let time: Timestamp
        let next: SequenceNumber
        let count: Int
    }

    private struct Candidate {
        var state: SimulationState
        var lease: UnknownLease?
        /// Whether the model knows the number of its last record.
        var isLastRecordKnown = true
    }

    /// The last is what the store has while nothing goes wrong; of the others any may be left after a crash, and none
    /// before the first.
    private var candidates = [Candidate(state: SimulationState())]
    /// The sequence numbers below it were used.
    private(set) var next = SequenceNumber(1)

    /// The state behind all operations.
    var state: SimulationState { candidates[candidates.count - 1].state }

    /// Adds a state that an operation may have led to, using the numbers below `next`.
    mutating func add(_ state: SimulationState, lease: UnknownLease? = nil, next: SequenceNumber) {
        candidates.append(Candidate(state: state, lease: lease))
        self.next = max(self.next, next)
    }

    /// All that was done so far is durable.
    mutating func settle() { candidates.removeFirst(candidates.count - 1) }

    /// Finds the state that a store was opened with: that one is durable, or where records that the look added are not,
    /// those that it may have come from.
    ///
    /// - Parameters:
    ///   - last: The last record before the look.
    ///   - expired: How many records the look at the store added, because something had fallen due.
    ///   - isLastRecordKnown: False when such records may have been added by an opening before this one.
    ///   - isDurable: Whether those records are durable.
    /// - Throws: When there is none.
    mutating func match(
        _ seen: SimulationObservation, last: SequenceNumber, next: SequenceNumber, expired: Int,
        isLastRecordKnown: Bool, isDurable: Bool, effectValues: [UInt64: [UInt8]]
    ) throws(SimulationMismatch) {
        guard next >= self.next else {
            throw SimulationMismatch(
                message: "the next number is \(next), although those up to \(self.next) were given before")
        }
        var reasons: [String] = []
        var opened: SimulationState?
        // What fell due hides differences: where the last record is not known either, several states may have led to
        // the one seen, the newest first.
        var origins: [Candidate] = []
        for candidate in candidates.reversed() {
            var state = candidate.state
            if let lease = candidate.lease {
                let observed = seen.grants(from: lease.next, count: lease.count)
                _ = state.apply(lease.operation, at: lease.time, next: lease.next, observed: observed)
            }
            let found = state
            let isKnown = isLastRecordKnown && candidate.isLastRecordKnown
            let count = state.expire(at: seen.time, next: SequenceNumber(next.rawValue - UInt64(expired)))
            let isSame = found.model.last == last && state.model.last == seen.stats.sequence && count == expired
            let difference = state.difference(seen, effectValues: effectValues)
            if let difference {
                reasons.append("\(difference), last record \(state.model.last)")
            } else if isKnown && !isSame {
                reasons.append(
                    "the last record is \(seen.stats.sequence), \(last) before \(expired) fell due; the model says "
                        + "\(state.model.last), \(found.model.last) and \(count)")
            } else {
                state.model.last = seen.stats.sequence
                if opened == nil { opened = state }
                guard expired > 0 && !isDurable else { break }
                origins.append(Candidate(state: found, isLastRecordKnown: isKnown))
            }
        }
        if let opened {
            candidates = origins.reversed() + [Candidate(state: opened)]
            self.next = next
            return
        }
        throw SimulationMismatch(
            message: "the store, whose last record is \(seen.stats.sequence) after \(expired) fell due, is in none of "
                + "\(candidates.count) possible states; of the newest: "
                + reasons.joined(separator: "; of the one before: "))
    }
}
