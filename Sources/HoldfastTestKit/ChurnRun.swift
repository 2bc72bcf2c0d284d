// Many times as much work as a store holds at a time goes through it, while something else lies about: jobs of next
// year, dead jobs, heartbeats, effects. What the disk holds is measured after each round, beside what it may hold.
// Payloads are random bytes, so that compression does not hide anything.

package import Holdfast

/// What lies about while jobs come and go.
package enum Churn: String, CaseIterable, Sendable {
    /// Nothing else.
    case plain
    /// One job in a hundred is delayed by a year.
    case delayed
    /// Dead jobs.
    case dead
    /// A lease that is renewed again and again.
    case heartbeats
    /// Every fourth job records an effect.
    case effects
    /// Jobs of a few bytes each.
    case small
    /// Batches that do not fit into a journal segment.
    case large

    /// The size of a job's payload.
    package var payloadBytes: Int {
        switch self {
        case .small: 8
        case .large: 20_000
        default: 1000
        }
    }
}

/// Rounds of enqueue, lease and ack in which as many jobs go through as the store holds at a time. They go in batches,
/// so that what is live hardly changes.
package struct ChurnRun: Sendable {
    /// What was measured in a round: after the batch where the disk held most of what it may hold.
    package struct Row: Hashable, Sendable {
        /// Jobs enqueued so far.
        package let jobs: Int
        /// What unfinished and dead jobs and effects need.
        package let liveBytes: Int
        /// All that the store takes.
        package let diskBytes: Int
        /// The most that it may take.
        package let boundBytes: Int
        /// Bytes of all records so far.
        package let recordBytes: UInt64
        /// Bytes written by sealing, compaction and checkpoints so far.
        package let rewrittenBytes: UInt64

        /// Which part of what the disk may hold it holds.
        package var share: Double { Double(diskBytes) / Double(boundBytes) }
        /// Bytes on disk for each that is needed.
        package var amplification: Double { Double(diskBytes) / Double(liveBytes) }
    }

    /// What lies about.
    package var churn: Churn
    /// The size of a journal segment.
    package var segmentBytes = JobStoreOptions.journalSegmentBytesMin
    /// Jobs that are unfinished at a time.
    package var liveCount = 200
    /// How often as many go through.
    package var rounds: Int

    /// Jobs of one batch.
    private static let batchCount = 25
    private static let reserveBytes = 512 << 10
    private static let deadCount = 400

    /// Creates a run.
    package init(_ churn: Churn) {
        self.churn = churn
        rounds = churn == .large ? 20 : 100
    }

    /// Changes what a store needs to be opened with: no history, and compaction in all of a thread's time.
    package func apply(to options: inout JobStoreOptions) {
        options.journalSegmentBytes = segmentBytes
        options.history = .none
        options.compaction = .automatic(share: 1)
    }

    /// Sends jobs through `store`, which is empty.
    ///
    /// - Parameter usedBytes: Says what the store takes on its disk.
    /// - Returns: One row for each round.
    package func run(_ store: JobStore, usedBytes: () throws -> Int) async throws -> [Row] {
        var random = SeededRandom(seed: 21)
        var extraBytes = 0
        if churn == .dead {
            _ = try await store.batch(
                (0..<Self.deadCount).map { _ in .enqueue(queue: "dead", payload: random.bytes(100)) })
            let leases = try await store.lease(from: "dead", limit: Self.deadCount)
            _ = try await store.batch(leases.map { .bury($0.identity) })
            extraBytes += Self.deadCount * 150
        }
        let held = churn == .heartbeats ? try await held(store) : nil
        // A batch that does not fit into a segment gets a file of its own.
        let fileBytes = max(segmentBytes, Self.batchCount * churn.payloadBytes)
        var leased: [Lease] = []
        var rows: [Row] = []
        for round in 0..<rounds {
            var worst: Row?
            for batch in 0..<(liveCount / Self.batchCount) {
                try await enqueue(batch, store, &random, &extraBytes)
                leased += try await store.lease(from: "q", limit: Self.batchCount, for: .seconds(3600))
                let finished = leased.prefix(max(0, leased.count - liveCount))
                try await settle(Array(finished), store, &extraBytes)
                leased.removeFirst(finished.count)
                if let held { for _ in 0..<6 { try await store.heartbeat(held, for: .seconds(3600)) } }
                let stats = try await store.stats()
                let live = extraBytes + leased.count * (churn.payloadBytes + 50)
                let row = Row(
                    jobs: round * liveCount + (batch + 1) * Self.batchCount, liveBytes: live,
                    diskBytes: try usedBytes(),
                    boundBytes: live * 5 / 2 + 8 * fileBytes + stats.checkpointBytes + Self.reserveBytes,
                    recordBytes: stats.recordBytes, rewrittenBytes: stats.rewrittenBytes)
                if row.share > worst?.share ?? 0 { worst = row }
            }
            if let worst { rows.append(worst) }
        }
        return rows
    }

    private func held(_ store: JobStore) async throws -> Lease? {
        _ = try await store.enqueue("held", payload: [1])
        return try await store.lease(from: "held", for: .seconds(3600)).first
    }

    private func enqueue(
        _ batch: Int, _ store: JobStore, _ random: inout SeededRandom, _ extraBytes: inout Int
    ) async throws {
        var operations: [BatchOperation] = []
        for number in (batch * Self.batchCount)..<((batch + 1) * Self.batchCount) {
            let payload = random.bytes(churn.payloadBytes)
            if churn == .delayed, number % 100 == 0 {
                var enqueue = EnqueueOptions()
                enqueue.delay = .seconds(365 * 86_400)
                operations.append(.enqueue(queue: "later", payload: payload, options: enqueue))
                extraBytes += payload.count + 50
            } else {
                operations.append(.enqueue(queue: "q", payload: payload))
            }
        }
        _ = try await store.batch(operations)
    }

    private func settle(_ leases: [Lease], _ store: JobStore, _ extraBytes: inout Int) async throws {
        var settling: [BatchOperation] = []
        for lease in leases {
            if churn == .effects, lease.id.rawValue.isMultiple(of: 4) {
                settling.append(.effect(scope: "s", key: "\(lease.id)", fencedBy: lease.identity, value: [1, 2, 3]))
                extraBytes += 40
            }
            settling.append(.ack(lease.identity))
        }
        if !settling.isEmpty { _ = try await store.batch(settling) }
    }
}
