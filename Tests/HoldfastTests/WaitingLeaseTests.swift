import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct WaitingLeaseTests {
    /// Starts a lease that waits, and returns once it does.
    private func waiting(
        _ store: JobStore, from queues: [String] = ["q"], limit: Int = 1, upTo wait: Duration = .seconds(3600),
        count: Int = 1
    ) async -> Task<[Lease], any Error> {
        let task = Task {
            try await store.lease(from: queues, limit: limit, worker: "w", waitingUpTo: wait)
        }
        while store.waitingLeaseCount < count { await Task.yield() }
        return task
    }

    @Test func anEnqueueWakesTheWaiter() async throws {
        try await withStore { store, _ in
            let task = await waiting(store)
            let id = try await store.enqueue("q", payload: [1]).id
            let leases = try await task.value
            #expect(leases.map(\.id) == [id])
            #expect(leases.first?.payload == [1])
            #expect(store.waitingLeaseCount == 0)
        }
    }

    @Test func waitersAreServedInTheOrderTheyCame() async throws {
        try await withStore { store, _ in
            let first = await waiting(store, count: 1)
            let second = await waiting(store, from: ["other", "q"], count: 2)
            let third = await waiting(store, count: 3)
            var ids: [JobID] = []
            for _ in 0..<3 { ids.append(try await store.enqueue("q", payload: []).id) }
            #expect(try await first.value.map(\.id) == [ids[0]])
            #expect(try await second.value.map(\.id) == [ids[1]])
            #expect(try await third.value.map(\.id) == [ids[2]])
        }
    }

    @Test func anEnqueueInAnotherQueueWakesNobody() async throws {
        try await withStore { store, _ in
            let task = await waiting(store)
            _ = try await store.enqueue("other", payload: [])
            #expect(store.waitingLeaseCount == 1)
            let id = try await store.enqueue("q", payload: []).id
            #expect(try await task.value.map(\.id) == [id])
        }
    }

    @Test func aScheduledJobThatFallsDueWakesTheWaiter() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.delay = .seconds(5)
            let id = try await store.enqueue("q", payload: [], options: options).id
            let task = await waiting(store)
            try await store.advanceClock(by: 4_999)
            #expect(store.waitingLeaseCount == 1)
            try await store.advanceClock(by: 1)
            #expect(try await task.value.map(\.id) == [id])
        }
    }

    @Test func anExpiringLeaseWakesTheWaiter() async throws {
        try await withStore { store, fixture in
            let id = try await store.enqueue("q", payload: []).id
            _ = try await store.lease(from: "q", for: .seconds(1))
            let task = await waiting(store)
            // Moved behind the store's back: its timer notices.
            fixture.clock.advance(byMilliseconds: 1_000)
            let leases = try await task.value
            #expect(leases.map(\.id) == [id])
            #expect(leases.first?.attempt == 2)
        }
    }

    @Test func aRequeueARedriveAndAResumeWakeTheWaiter() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            var lease = try #require(try await store.lease(from: "q").first)
            var task = await waiting(store)
            try await store.requeue(lease, after: .zero)
            lease = try #require(try await task.value.first)
            try await store.bury(lease)
            task = await waiting(store)
            try await store.redrive(lease.id)
            lease = try #require(try await task.value.first)
            try await store.pause("q")
            task = await waiting(store)
            try await store.requeue(lease, after: .zero)
            #expect(store.waitingLeaseCount == 1)
            try await store.resume("q")
            #expect(try await task.value.map(\.id) == [lease.id])
        }
    }

    @Test func aWaitEndsEmptyWhenItsTimeIsUp() async throws {
        try await withStore { store, _ in
            let task = await waiting(store, upTo: .seconds(10))
            try await store.advanceClock(by: 9_999)
            #expect(store.waitingLeaseCount == 1)
            try await store.advanceClock(by: 1)
            #expect(try await task.value.isEmpty)
        }
    }

    @Test func aWaitOnTheSystemClockEndsByItself() async throws {
        try await withStore({ $0.clock = SystemClock() }) { store, _ in
            var options = EnqueueOptions()
            options.delay = .milliseconds(20)
            let id = try await store.enqueue("q", payload: [], options: options).id
            #expect(try await store.lease(from: "q", waitingUpTo: .seconds(50)).map(\.id) == [id])
            #expect(try await store.lease(from: "q", waitingUpTo: .milliseconds(20)).isEmpty)
        }
    }

    @Test func cancellingTheTaskEndsItsWaitEmpty() async throws {
        try await withStore { store, _ in
            let task = await waiting(store)
            task.cancel()
            #expect(try await task.value.isEmpty)
            #expect(store.waitingLeaseCount == 0)
            let id = try await store.enqueue("q", payload: []).id
            #expect(try await store.lease(from: "q").map(\.id) == [id])
        }
    }

    @Test func closingTheStoreEndsEveryWait() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let task = await waiting(store)
        try await store.close()
        await expectRefusal(.closed) { _ = try await task.value }
    }

    @Test func aBlockedThreadIsWokenToo() async throws {
        try await withStore { store, _ in
            async let leases = onThread { try store.blocking.lease(from: "q", waitingUpTo: .seconds(3600)) }
            while store.waitingLeaseCount < 1 { await Task.yield() }
            let id = try await store.enqueue("q", payload: [3]).id
            let leased = try await leases
            #expect(leased.map(\.id) == [id])
            #expect(leased.first?.payload == [3])
        }
    }
}

/// Runs blocking work on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await ThreadExecutor.run(body)
}
