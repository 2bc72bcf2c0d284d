// Waiting for the end of a job.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct OutcomeTests {
    /// Waits until as many callers wait.
    private func until(_ store: JobStore, waits count: Int) async {
        while store.waitingOutcomeCount != count { await Task.yield() }
    }

    @Test func aProducerGetsTheResultOfItsJob() async throws {
        try await withStore { store, _ in
            let ids = [try await store.enqueue("q", payload: [1]).id, try await store.enqueue("q", payload: [2]).id]
            let tasks = [ids[0], ids[0], ids[1]].map { id in Task { try await store.outcome(of: id) } }
            await until(store, waits: 3)
            for lease in try await store.lease(from: "q", limit: 2) {
                if lease.id == ids[0] { try await store.ack(lease, result: [9]) } else { try await store.bury(lease) }
            }
            var outcomes: [JobInfo] = []
            for task in tasks { outcomes.append(try await task.value) }
            #expect(outcomes.map(\.state) == [.completed, .completed, .dead])
            #expect(outcomes[0].result == [9] && outcomes[2].deadReason == .buried)
            #expect(store.waitingOutcomeCount == 0)
            // What has ended is answered at once.
            let again = try await store.outcome(of: ids[0])
            #expect(again.result == [9])
        }
    }

    @Test func everyEndIsNoticed() async throws {
        try await withStore { store, fixture in
            var ttl = EnqueueOptions()
            ttl.timeToLive = .seconds(10)
            var last = EnqueueOptions()
            last.maxAttempts = 1
            let late = try await store.enqueue("late", payload: [], options: ttl).id
            let lost = try await store.enqueue("lost", payload: [], options: last).id
            let failed = try await store.enqueue("failed", payload: [], options: last).id
            let cancelled = try await store.enqueue("cancelled", payload: []).id
            let tasks = [late, lost, failed, cancelled].map { id in Task { try await store.outcome(of: id) } }
            await until(store, waits: 4)
            _ = try await store.lease(from: "lost", for: .seconds(5))
            let lease = try #require(try await store.lease(from: "failed").first)
            try await store.requeue(lease, error: "no")
            try await store.cancel(cancelled)
            // Nobody else asks for anything: passing time is noticed all the same.
            fixture.clock.advance(byMilliseconds: 10_000)
            var found: [JobInfo] = []
            for task in tasks { found.append(try await task.value) }
            #expect(found.map(\.state) == [.dead, .dead, .dead, .cancelled])
            #expect(found.map(\.deadReason) == [.ttlExpired, .attemptsUsedUp, .attemptsUsedUp, nil])
        }
    }

    @Test func acksOfOneBatchAreNoticed() async throws {
        try await withStore { store, _ in
            let ids = [try await store.enqueue("q", payload: [1]).id, try await store.enqueue("q", payload: [2]).id]
            let tasks = ids.map { id in Task { try await store.outcome(of: id) } }
            await until(store, waits: 2)
            _ = try await store.batch(try await store.lease(from: "q", limit: 2).map { .ack($0.identity) })
            for task in tasks { #expect(try await task.value.state == .completed) }
        }
    }

    @Test func aRetryIsNoEnd() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: []).id
            let task = Task { try await store.outcome(of: id) }
            await until(store, waits: 1)
            var lease = try #require(try await store.lease(from: "q").first)
            try await store.requeue(lease, after: .zero)
            lease = try #require(try await store.lease(from: "q").first)
            #expect(store.waitingOutcomeCount == 1)
            try await store.ack(lease)
            let info = try await task.value
            #expect(info.state == .completed && info.attempt == 2)
        }
    }

    @Test func whoGivesUpIsForgotten() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: []).id
            let task = Task { try await store.outcome(of: id) }
            await until(store, waits: 1)
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(store.waitingOutcomeCount == 0)
            await #expect(throws: JobStoreError.self) { try await store.outcome(of: JobID(1 << 40)) }
        }
    }

    @Test func closingEndsTheWait() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let id = try await store.enqueue("q", payload: []).id
        let task = Task { try await store.outcome(of: id) }
        await until(store, waits: 1)
        try await store.close()
        let error = await #expect(throws: JobStoreError.self) { try await task.value }
        #expect(error?.code == .closed)
    }
}
