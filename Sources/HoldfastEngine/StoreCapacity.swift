// How much a store takes in all. What it holds is counted only while that is limited; payloads only while their bytes
// are, and only those that were given since: what was there before has left no size behind.
//
//     capacity   flags u8 · [1: varint(jobs)] · [2: varint(bytes)]

internal import HoldfastBytes

/// Limits on what waits or runs in a whole store; dead jobs are not counted.
package struct StoreCapacity: Hashable, Sendable {
    /// How many unfinished jobs it takes; `nil` for any number.
    package var jobs: Int?
    /// How many bytes their payloads have, as far as they were given since the limit was set; `nil` for any number.
    package var payloadBytes: Int?

    package init(jobs: Int? = nil, payloadBytes: Int? = nil) { (self.jobs, self.payloadBytes) = (jobs, payloadBytes) }

    /// Whether nothing is limited.
    package var isUnlimited: Bool { jobs == nil && payloadBytes == nil }

    /// Whether both are within their bounds.
    package var isValid: Bool {
        [jobs, payloadBytes].allSatisfy { $0.map((1...QueueTerms.limitMax).contains) ?? true }
    }
}

/// A store's limits from here on; `nil` leaves a limit as it was, and 0 takes it away.
package struct StoreSettings: Hashable, Sendable {
    package var jobs: Int?
    package var payloadBytes: Int?

    package init(jobs: Int? = nil, payloadBytes: Int? = nil) { (self.jobs, self.payloadBytes) = (jobs, payloadBytes) }

    /// Returns what they make of `capacity`.
    package func applied(to capacity: StoreCapacity) -> StoreCapacity {
        var capacity = capacity
        if let jobs { capacity.jobs = jobs == 0 ? nil : jobs }
        if let payloadBytes { capacity.payloadBytes = payloadBytes == 0 ? nil : payloadBytes }
        return capacity
    }
}

/// What a store with a limit holds.
struct StoreTally: Sendable {
    var capacity: StoreCapacity
    /// Unfinished jobs, dead ones not counted.
    var jobs = 0
    /// The sum of the sizes of those jobs.
    var payloadBytes = 0
    /// Of jobs in the state whose payload is not empty, as far as it is known.
    var sizes: [UInt64: Int] = [:]
}
