// A hundred times as much work as the store holds at a time goes through it. Space and the cost of keeping it stay
// within their bounds at every moment, whatever else lies about: jobs of next year, dead jobs, heartbeats, effects.
// Payloads are random bytes, so that compression does not hide anything.

import Holdfast
import HoldfastTestKit
import Testing

/// What lies about while jobs come and go.
enum Churn: String, CaseIterable, CustomTestStringConvertible {
    case plain, delayed, dead, heartbeats, effects, small

    var testDescription: String { rawValue }
    var payloadBytes: Int { self == .small ? 8 : 1000 }
}

@Suite(.serialized, .timeLimit(.minutes(10))) struct ChurnTests {
    private static let segmentBytes = JobStoreOptions.journalSegmentBytesMin
    /// Jobs that are unfinished at a time, and how often as many go through.
    private static let liveCount = 200
    /// Jobs of one batch: together they fit into a journal segment.
    private static let batchCount = 25
    private static let rounds = 100

    @Test(arguments: Churn.allCases) func spaceAndWritesStayWithinTheirBounds(churn: Churn) async throws {
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = clock
        options.journalSegmentBytes = Self.segmentBytes
        options.history = .none
        options.compaction = .automatic(share: 1)
        let store = try await JobStore.open(at: "/store", options: options)
        var random = SeededRandom(seed: 21)
        var extraBytes = 0
        if churn == .dead {
            _ = try await store.batch((0..<400).map { _ in .enqueue(queue: "dead", payload: random.bytes(100)) })
            let leases = try await store.lease(from: "dead", limit: 400)
            _ = try await store.batch(leases.map { .bury($0.identity) })
            extraBytes += 400 * 150
        }
        let held = churn == .heartbeats ? try await Self.held(store) : nil
        var waiting: [Lease] = []
        var worst = (space: 0.0, writes: 0.0)
        for round in 0..<Self.rounds {
            var batch: [BatchOperation] = []
            for number in 0..<Self.liveCount {
                let payload = random.bytes(churn.payloadBytes)
                if churn == .delayed, number % 100 == 0 {
                    var enqueue = EnqueueOptions()
                    enqueue.delay = .seconds(365 * 86_400)
                    batch.append(.enqueue(queue: "later", payload: payload, options: enqueue))
                    extraBytes += payload.count + 50
                } else {
                    batch.append(.enqueue(queue: "q", payload: payload))
                }
            }
            for start in stride(from: 0, to: batch.count, by: Self.batchCount) {
                _ = try await store.batch(Array(batch[start..<min(start + Self.batchCount, batch.count)]))
            }
            var settling: [BatchOperation] = []
            for lease in waiting {
                if churn == .effects, lease.id.rawValue.isMultiple(of: 4) {
                    settling.append(
                        .effect(scope: "s", key: "\(lease.id)", fencedBy: lease.identity, value: [1, 2, 3]))
                    extraBytes += 40
                }
                settling.append(.ack(lease.identity))
            }
            if !settling.isEmpty { _ = try await store.batch(settling) }
            if let held { for _ in 0..<50 { try await store.heartbeat(held, for: .seconds(3600)) } }
            waiting = try await store.lease(from: "q", limit: Self.liveCount, for: .seconds(3600))
            let stats = try await store.stats()
            let live = extraBytes + Self.liveCount * (churn.payloadBytes + 50)
            let bound =
                live * 5 / 2 + 4 * Self.segmentBytes + stats.checkpointBytes + 4 * Self.segmentBytes + Self.reserveBytes
            let bytes = Self.usedBytes(disk)
            worst.space = max(worst.space, Double(bytes) / Double(bound))
            if round >= 10 {
                worst.writes = max(worst.writes, Double(stats.rewrittenBytes) / Double(stats.recordBytes))
            }
        }
        #expect(worst.space <= 1)
        #expect(worst.writes <= 3)
        print("figure | churn: \(churn.rawValue), worst share of the bound on space | \(Self.hundredths(worst.space))")
        print("figure | churn: \(churn.rawValue), bytes rewritten a byte recorded | \(Self.hundredths(worst.writes))")
        let digest = try await store.digest()
        try await store.close()
        let again = try await JobStore.open(at: "/store", options: options)
        #expect(try await again.digest().hex == digest.hex)
        #expect(try await again.lease(from: "q", limit: 1).isEmpty)
        try await again.close()
    }

    private static let reserveBytes = 512 << 10

    private static func hundredths(_ value: Double) -> Double { (value * 100).rounded() / 100 }

    private static func held(_ store: JobStore) async throws -> Lease? {
        _ = try await store.enqueue("held", payload: [1])
        return try await store.lease(from: "held", for: .seconds(3600)).first
    }

    private static func usedBytes(_ disk: SimulatedFileSystem) -> Int {
        disk.snapshotFiles().values.reduce(0) { $0 + $1.count }
    }
}
