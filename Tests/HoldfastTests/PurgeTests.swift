import Holdfast
import HoldfastBytes
import Testing

@Suite(.timeLimit(.minutes(10))) struct PurgeTests {
    /// Twelve ready jobs in several lanes, of which one was leased before; three scheduled, two dead, one leased.
    private func fill(_ store: JobStore) async throws -> Lease {
        let leased = try await store.enqueue("q", payload: [0]).id
        let lease = try #require(try await store.lease(from: "q", for: .seconds(3600)).first)
        #expect(lease.id == leased)
        for _ in 0..<2 {
            _ = try await store.enqueue("q", payload: [1])
            try await store.bury(try #require(try await store.lease(from: "q").first))
        }
        _ = try await store.enqueue("q", payload: [2])
        try await store.requeue(try #require(try await store.lease(from: "q").first), after: .zero)
        for number in 0..<11 {
            var options = EnqueueOptions()
            options.priority = number % 3
            if number % 2 == 0 { options.group = "g\(number)" }
            if number == 5 { options.uniqueKey = "key" }
            _ = try await store.enqueue("q", payload: [3], options: options)
        }
        var later = EnqueueOptions()
        later.delay = .seconds(60)
        for _ in 0..<3 { _ = try await store.enqueue("q", payload: [4], options: later) }
        _ = try await store.enqueue("other", payload: [5])
        return lease
    }

    private static let tables: [(states: PurgeStates, counts: [Int])] = [
        ([], [0, 0, 0]), (.dead, [0, 0, 2]), (.ready, [12, 0, 0]), (.scheduled, [0, 3, 0]),
        ([.ready, .dead], [12, 0, 2]), (.all, [12, 3, 2]),
    ]

    /// Two names that Swift takes for equal, of different bytes.
    @Test func namesAreCountedByTheirBytes() async throws {
        try await withStore { store, _ in
            let (short, long) = ("\u{e9}", "e\u{301}")
            #expect(short == long)
            _ = try await store.enqueue(short, payload: [])
            for _ in 0..<2 { _ = try await store.enqueue(long, payload: []) }
            for (queue, count) in [(short, 1), (long, 2)] {
                #expect(try await store.purgeable(queue: queue, states: .all).ready == count)
                #expect(try await store.drain(queue).pending == count)
            }
        }
    }

    @Test(arguments: tables) func aPurgeCancelsWhatWasAskedForAndNothingElse(
        states: PurgeStates, counts: [Int]
    ) async throws {
        try await withStore { store, _ in
            let lease = try await fill(store)
            let wouldBe = try await store.purgeable(queue: "q", states: states)
            #expect([wouldBe.ready, wouldBe.scheduled, wouldBe.dead] == counts)
            #expect(wouldBe.count == counts.reduce(0, +))
            #expect(try await store.purge(queue: "q", states: states) == wouldBe)
            #expect(try await store.purge(queue: "q", states: states).count == 0)
            let queue = try #require(try await store.stats().queues.first { $0.name == "q" })
            #expect([queue.ready, queue.scheduled, queue.dead] == zip([12, 3, 2], counts).map { $0 - $1 })
            #expect(queue.leased == 1)
            try await store.ack(lease)
            #expect(try await store.stats().queues.first { $0.name == "other" }?.ready == 1)
            // A key that a cancelled job held is free.
            var options = EnqueueOptions()
            options.uniqueKey = "key"
            let isHeld = try await store.enqueue("q", payload: [], options: options).isDuplicate
            #expect(isHeld == !states.contains(.ready))
        }
    }

    @Test func aLargePurgeGoesInStepsAndSurvivesAReopening() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        for start in stride(from: 0, to: 5_000, by: 1_000) {
            _ = try await store.batch(
                (start..<start + 1_000).map { number in
                    var options = EnqueueOptions()
                    options.group = "g\(number)"
                    return .enqueue(queue: "q", payload: [], options: options)
                })
        }
        _ = try await store.pause("q")
        #expect(try await store.purge(queue: "q", states: .all).ready == 5_000)
        let digest = try await store.digest()
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.digest().hex == digest.hex)
        #expect(try await store.stats().queues.first?.ready == 0)
        #expect(try store.blocking.purgeable(queue: "q", states: .all).count == 0)
        #expect(try store.blocking.purge(queue: "q", states: .all).count == 0)
        await expectRefusal(.badRequest) { _ = try await store.purge(queue: "") }
        await expectRefusal(.badRequest) { _ = try await store.purgeable(queue: "") }
        try await store.close()
    }
}
