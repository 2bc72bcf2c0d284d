import Holdfast
import HoldfastBytes
import Testing

@Suite struct LeaseTests {
    @Test func higherPrioritiesComeFirstAndThenLowerIds() async throws {
        try await withStore { store, _ in
            var ids: [Int: [JobID]] = [:]
            for priority in [0, 5, -1, 5, 0] {
                var options = EnqueueOptions()
                options.priority = priority
                ids[priority, default: []].append(try await store.enqueue("q", payload: [], options: options).id)
            }
            let expected = [5, 0, -1].flatMap { ids[$0] ?? [] }
            #expect(try await store.lease(from: "q", limit: 10).map(\.id) == expected)
        }
    }

    @Test func earlierNamedQueuesComeFirst() async throws {
        try await withStore { store, _ in
            let a = try await store.enqueue("a", payload: []).id
            let b = try await store.enqueue("b", payload: []).id
            #expect(try await store.lease(from: ["b", "a"], limit: 2).map(\.id) == [b, a])
        }
    }

    @Test func anExpiredLeaseIsVoidAndItsJobReadyAgain() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: [9]).id
            let first = try #require(try await store.lease(from: "q", for: .seconds(1)).first)
            #expect(try await store.lease(from: "q").isEmpty)
            try await store.advanceClock(by: 1_000)
            await expectRefusal(.leaseLost) { try await store.ack(first) }
            let second = try #require(try await store.lease(from: "q").first)
            #expect(second.id == id)
            #expect(second.attempt == 2)
            #expect(second.token > first.token)
            #expect(second.lastError == "lease expired")
            #expect(second.payload == [9])
        }
    }

    @Test func aJobIsDeadAfterItsLastAttempt() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.maxAttempts = 1
            let id = try await store.enqueue("q", payload: [], options: options).id
            _ = try await store.lease(from: "q", for: .milliseconds(1))
            try await store.advanceClock(by: 1)
            let job = try #require(try await store.job(id))
            #expect(job.state == .dead)
            #expect(job.attempt == 1)
            #expect(job.lastError == "lease expired")
        }
    }

    @Test func aHeartbeatMovesTheDeadlineAndKeepsProgress() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: []).id
            let lease = try #require(try await store.lease(from: "q", for: .seconds(1), worker: "me").first)
            try await store.advanceClock(by: 999)
            let deadline = try await store.heartbeat(lease, for: .seconds(5), progress: bytes("50"))
            #expect(deadline == Timestamp(milliseconds: StoreFixture.start + 5_999))
            try await store.advanceClock(by: 1_000)
            let job = try #require(try await store.job(id))
            #expect(job.state == .leased)
            #expect(job.progress == bytes("50"))
            #expect(job.deadline == deadline)
            #expect(job.worker == "me")
            #expect(job.token == lease.token)
            try await store.ack(lease)
        }
    }

    @Test func aLeaseReturnsFewerJobsOnceTheirPayloadsPassTheLimit() async throws {
        try await withStore { store, _ in
            let payload = [UInt8](repeating: 1, count: 12 << 20)
            for _ in 0..<3 { _ = try await store.enqueue("q", payload: payload) }
            let first = try await store.lease(from: "q", limit: 3)
            #expect(first.count == 2)
            let second = try await store.lease(from: "q", limit: 3)
            #expect(second.count == 1)
            #expect(second.first?.attempt == 1)
            #expect(second.first?.payload == payload)
        }
    }

    @Test func requestsOutOfTheirLimitsAreRefused() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            await expectRefusal(.badRequest) { _ = try await store.lease(from: "q", limit: 0) }
            await expectRefusal(.badRequest) { _ = try await store.lease(from: "q", limit: 10_001) }
            await expectRefusal(.badRequest) { _ = try await store.lease(from: "q", for: .microseconds(999)) }
            await expectRefusal(.badRequest) { _ = try await store.lease(from: "q", for: .seconds(604_801)) }
            await expectRefusal(.badRequest) { _ = try await store.lease(from: [String]()) }
            await expectRefusal(.badRequest) { _ = try await store.lease(from: ["q", ""]) }
            await expectRefusal(.badRequest) {
                _ = try await store.lease(from: "q", worker: String(repeating: "w", count: 256))
            }
            #expect(try await store.lease(from: "q", for: .seconds(604_800)).count == 1)
        }
    }

    @Test func aPausedQueueLeasesNothingUntilItIsResumed() async throws {
        try await withStore { store, _ in
            try await store.pause("q")
            let id = try await store.enqueue("q", payload: []).id
            #expect(try await store.lease(from: "q").isEmpty)
            #expect(try await store.stats().queues.first?.isPaused == true)
            try await store.resume("q")
            #expect(try await store.lease(from: "q").map(\.id) == [id])
        }
    }

    @Test func drainingPausesAndCounts() async throws {
        try await withStore { store, _ in
            var delayed = EnqueueOptions()
            delayed.delay = .seconds(1)
            _ = try await store.enqueue("q", payload: [])
            _ = try await store.enqueue("q", payload: [])
            _ = try await store.enqueue("q", payload: [], options: delayed)
            _ = try await store.lease(from: "q")
            let status = try await store.drain("q")
            #expect(status.pending == 2)
            #expect(status.leased == 1)
            #expect(try await store.lease(from: "q").isEmpty)
            #expect(try await store.drain("empty").pending == 0)
        }
    }
}
