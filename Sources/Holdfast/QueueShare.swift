// Leasing from several queues by weight: what callers say, and what the store remembers from one call to the next.
//
// Shares are a matter of who leases, not of the jobs: neither the state nor a record knows of them. What each queue has
// had is kept in memory, for each list of queues and weights; after a restart, and for a list that was forgotten, all
// queues begin as equals, which makes a difference of one job of each.

internal import HoldfastBytes
internal import HoldfastEngine

/// A queue that shares workers with others.
public struct QueueShare: Hashable, Sendable {
    /// The queue.
    public var queue: String
    /// How many jobs of it are leased where one of a queue of weight 1 is; 1 to 1000.
    public var weight: Int

    /// A queue that weighs as much.
    public init(_ queue: String, weight: Int = 1) { (self.queue, self.weight) = (queue, weight) }
}

extension JobStore {
    /// Leases up to `limit` ready jobs of several queues, by their weights: while all have ready jobs, each gives its
    /// share, evenly spread, also from one call to the next; one that has none leaves its turns to the others and saves
    /// none up. Calls that name the same queues and weights in the same order take turns together.
    ///
    /// - Throws: As `lease(from:limit:for:worker:waitingUpTo:)` for one queue; `.badRequest` for a weight outside 1 to
    ///   1000, a queue named twice, and more than 256 queues.
    public func lease(
        from shares: [QueueShare], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) async throws(JobStoreError) -> [Lease] {
        try await lease(
            from: .byWeight(shares), limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }
}

extension BlockingJobStore {
    /// Leases up to `limit` ready jobs of several queues, by their weights.
    public func lease(
        from shares: [QueueShare], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = "",
        waitingUpTo: Duration? = nil
    ) throws(JobStoreError) -> [Lease] {
        try store.leaseBlocking(
            from: .byWeight(shares), limit: limit, for: duration, worker: worker, waitingUpTo: waitingUpTo)
    }
}

extension BlockingJobStore {
    /// Leases what `next` says, and waits for it.
    package func lease(_ next: NextLease, waitingUpTo: Duration?) throws(JobStoreError) -> [Lease] {
        try store.leaseBlocking(
            from: next.source, limit: next.limit, for: next.duration, worker: next.worker, waitingUpTo: waitingUpTo)
    }
}

extension NextLease {
    /// Leases from several queues, by their weights.
    public init(
        from shares: [QueueShare], limit: Int = 1, for duration: Duration = .seconds(30), worker: String = ""
    ) {
        self.init(from: shares.map(\.queue), limit: limit, for: duration, worker: worker)
        weights = shares.map(\.weight)
    }

    var source: LeaseSource {
        if weights.isEmpty { return .inOrder(queues) }
        if weights.count != queues.count { return .mismatched }
        return .byWeight(zip(queues, weights).map { QueueShare($0, weight: $1) })
    }
}

/// Where to lease from.
enum LeaseSource: Sendable {
    /// From earlier queues first.
    case inOrder([String])
    case byWeight([QueueShare])
    /// Not as many weights as queues.
    case mismatched

    /// Returns the queues, and their weights where they have any.
    func checked() throws(JobStoreError) -> (queues: [String], weights: [Int]) {
        switch self {
        case .inOrder(let queues):
            try Self.check(queues)
            return (queues, [])
        case .byWeight(let shares):
            let queues = shares.map(\.queue)
            try Self.check(queues)
            guard shares.count <= LeaseTurns.queuesMax else {
                throw JobStoreError(
                    .badRequest, "`queue` names \(shares.count) queues; give \(LeaseTurns.queuesMax) at most")
            }
            guard Set(queues.map { Array($0.utf8) }).count == queues.count else {
                throw JobStoreError(.badRequest, "`queue` names a queue twice; give each one weight")
            }
            for share in shares where !(1...LeaseTurns.weightMax).contains(share.weight) {
                throw JobStoreError(
                    .badRequest,
                    "`queue` gives \(share.queue.prefix(40)) the weight \(share.weight); give 1 to "
                        + "\(LeaseTurns.weightMax)")
            }
            return (queues, shares.map(\.weight))
        case .mismatched:
            throw JobStoreError(.badRequest, "`weights` are not as many as queues; give each queue one, or none any")
        }
    }

    private static func check(_ queues: [String]) throws(JobStoreError) {
        guard !queues.isEmpty else { throw JobStoreError(.badRequest, "`queue` names no queue; give one or more") }
        for queue in queues { try Limits.checkName(queue, "queue") }
    }
}

/// The turns of all lists of queues and weights in use.
struct SharedTurns: Sendable {
    /// More lists than that, and all begin anew.
    static let listsMax = 1024

    private struct List: Hashable {
        let queues: [String]
        let weights: [Int]
    }

    private var lists: [List: LeaseTurns] = [:]

    /// Where a list stands.
    func turns(of queues: [String], _ weights: [Int]) -> LeaseTurns {
        lists[List(queues: queues, weights: weights)] ?? LeaseTurns(weights: weights)
    }

    /// Notes what a lease that began at `turns` was granted.
    mutating func serve(_ grants: [LeaseGrant], _ turns: LeaseTurns, of queues: [String], _ weights: [Int]) {
        var turns = turns
        for grant in grants {
            // By their bytes, as names are compared.
            guard let index = queues.firstIndex(where: { $0.hasSameBytes(as: grant.lane.queue) }) else {
                continue
            }
            turns.serve(index)
        }
        let list = List(queues: queues, weights: weights)
        if lists.count >= Self.listsMax, lists[list] == nil { lists = [:] }
        lists[list] = turns
    }
}
