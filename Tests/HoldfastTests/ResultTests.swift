// What jobs gave, and for how long it is kept.

import Holdfast
import HoldfastBytes
import Testing

@Suite(.timeLimit(.minutes(10))) struct ResultTests {
    /// Enqueues a job and leases it.
    private func lease(_ store: JobStore) async throws -> Lease {
        _ = try await store.enqueue("q", payload: [1])
        return try #require(try await store.lease(from: "q").first)
    }

    @Test func aKeptResultOutlivesHistoryAndAReopening() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open { $0.history = .none }
        let (kept, other) = (try await lease(store), try await lease(store))
        try await store.ack(kept, result: [7], keepFor: .seconds(100))
        try await store.ack(other, result: [8])
        for _ in 0..<2 {
            _ = try store.blocking.compact()
            let result = try #require(try await store.result(of: kept.id))
            #expect(result.value == [7])
            #expect(result.keptUntil?.milliseconds == StoreFixture.start + 100_000)
            #expect(try await store.result(of: other.id) == nil)
            #expect(try await store.job(other.id) == nil)
            // Of the job itself as much is left as whoever waits for it needs.
            let job = try #require(try await store.job(kept.id))
            #expect(job.state == .completed && job.result == [7] && job.queue == "q")
            #expect(job.resultKeptUntil == result.keptUntil)
            #expect(try await store.outcome(of: kept.id).result == [7])
            try await store.close()
            store = try await fixture.open { $0.history = .none }
        }
        fixture.clock.advance(byMilliseconds: 99_999)
        #expect(try await store.result(of: kept.id) != nil)
        fixture.clock.advance(byMilliseconds: 1)
        #expect(try await store.result(of: kept.id) == nil)
        _ = try store.blocking.compact()
        #expect(try await store.job(kept.id) == nil)
        await expectRefusal(.notFound) { _ = try await store.result(of: JobID(1 << 40)) }
        try await store.close()
    }

    @Test func withoutATimeOfItsOwnAResultIsThereAsLongAsHistory() async throws {
        try await withStore { store, fixture in
            let leases = [try await lease(store), try await lease(store), try await lease(store)]
            #expect(try await store.result(of: leases[0].id) == nil)
            try await store.ack(leases[0], result: [1])
            try await store.ack(leases[1])
            try await store.ack(leases[2], result: [3], keepFor: .seconds(1))
            #expect(try await store.result(of: leases[0].id)?.value == [1])
            #expect(try await store.result(of: leases[0].id)?.keptUntil == nil)
            #expect(try await store.result(of: leases[1].id) == nil)
            fixture.clock.advance(byMilliseconds: 1_000)
            #expect(try await store.result(of: leases[0].id)?.value == [1])
            // History may still hold it; its time has passed all the same.
            #expect(try await store.result(of: leases[2].id) == nil)
        }
    }

    @Test func aQueueSaysHowLongResultsAreKept() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(resultRetention: .seconds(10)))
            let first = try await lease(store)
            let second = try await store.ack(first, result: [1], thenLease: NextLease(from: "q"))
            #expect(second.isEmpty)
            #expect(try await store.result(of: first.id)?.keptUntil?.milliseconds == StoreFixture.start + 10_000)
            let (own, none, batched) = (try await lease(store), try await lease(store), try await lease(store))
            try await store.ack(own, result: [2], keepFor: .seconds(5))
            try await store.ack(none, result: [3], keepFor: .zero)
            _ = try await store.batch([.ack(batched.identity, result: [4], keepFor: .seconds(7))])
            #expect(try await store.result(of: own.id)?.keptUntil?.milliseconds == StoreFixture.start + 5_000)
            #expect(try await store.result(of: none.id)?.keptUntil == nil)
            #expect(try store.blocking.result(of: batched.id)?.keptUntil?.milliseconds == StoreFixture.start + 7_000)
        }
    }

    @Test func resultsOutOfBoundsAreRefused() async throws {
        try await withStore { options in
            options.resultBytesMax = 4
        } _: { store, _ in
            let lease = try await lease(store)
            await expectRefusal(.tooLarge) { try await store.ack(lease, result: [1, 2, 3, 4, 5]) }
            await expectRefusal(.tooLarge, index: 0) {
                _ = try await store.batch([.ack(lease.identity, result: [1, 2, 3, 4, 5])])
            }
            await expectRefusal(.badRequest) { try await store.ack(lease, keepFor: .seconds(1)) }
            await expectRefusal(.badRequest) { try await store.ack(lease, result: [1], keepFor: .seconds(-1)) }
            await expectRefusal(.badRequest) { try await store.ack(lease, result: [1], keepFor: .seconds(1 << 50)) }
            try await store.ack(lease, result: [1, 2, 3, 4])
            #expect(try await store.result(of: lease.id)?.value == [1, 2, 3, 4])
        }
        let fixture = try StoreFixture()
        await expectRefusal(.badRequest) { _ = try await fixture.open { $0.resultBytesMax = (1 << 20) + 1 } }
    }
}
