// Whose turn it is among queues that share workers by weight: each queue has a distance to its next turn, the nearest
// is served, and all others come as much nearer. A queue of weight w is put back by the w-th part of a whole turn. So
// while all have jobs, each gets its share within one job of each other queue, spread evenly; one that has none misses
// its turns and saves none up, and the others get them; and none waits for ever.
//
// Not part of the state: it says what one caller would like next, and lease records say what became of that.

/// Weights of queues, and how far each is from its turn.
package struct LeaseTurns: Hashable, Sendable {
    /// Of each queue, in the order in which they were named; distances never exceed that of weight 1.
    private var distances: [UInt64]
    private let strides: [UInt64]

    /// A whole turn: fine enough that shares are true to 7 in 100,000 up to the greatest weight.
    private static let turn: UInt64 = 1 << 24

    /// The most that a queue can weigh.
    package static let weightMax = 1000
    /// How many queues can share.
    package static let queuesMax = 256

    /// All are as near; the one named first begins.
    ///
    /// - Precondition: Weights are 1 to `weightMax`.
    package init(weights: [Int]) {
        assert(weights.allSatisfy((1...Self.weightMax).contains) && weights.count <= Self.queuesMax)
        distances = weights.map { _ in 0 }
        strides = weights.map { Self.turn / UInt64($0) }
    }

    /// How many queues there are.
    package var count: Int { distances.count }

    /// The nearest of those queues of which `isReady` holds, the one named first of several as near.
    ///
    /// - Complexity: O(queues).
    package func next(where isReady: (Int) -> Bool) -> Int? {
        var found: Int?
        for index in distances.indices where distances[index] < found.map({ distances[$0] }) ?? .max {
            if isReady(index) { found = index }
        }
        return found
    }

    /// Notes that a queue gave a job.
    ///
    /// - Complexity: O(queues).
    package mutating func serve(_ queue: Int) {
        let passed = distances[queue]
        for index in distances.indices { distances[index] -= min(distances[index], passed) }
        distances[queue] = strides[queue]
    }
}
