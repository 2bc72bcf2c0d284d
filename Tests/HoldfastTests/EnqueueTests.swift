import Holdfast
import HoldfastBytes
import Testing

@Suite struct EnqueueTests {
    @Test func anEnqueuedJobIsLeasedWithAllThatWasSaidAboutIt() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.priority = -3
            options.group = "g"
            options.headers = [JobHeader(name: "b", value: "2"), JobHeader(name: "a", value: "1")]
            let enqueued = try await store.enqueue("mail", payload: bytes("hello"), options: options)
            #expect(!enqueued.isDuplicate)
            let leases = try await store.lease(from: "mail", worker: "w")
            let lease = try #require(leases.first)
            #expect(leases.count == 1)
            #expect(lease.id == enqueued.id)
            #expect(lease.token.rawValue > lease.id.rawValue)
            #expect(lease.attempt == 1)
            #expect(lease.queue == "mail")
            #expect(lease.priority == -3)
            #expect(lease.group == "g")
            #expect(lease.payload == bytes("hello"))
            #expect(lease.headers == options.headers)
            #expect(lease.enqueuedAt == Timestamp(milliseconds: StoreFixture.start))
            #expect(lease.deadline == Timestamp(milliseconds: StoreFixture.start + 30_000))
            #expect(lease.lastError == nil)
        }
    }

    @Test func aUniqueKeyIsHeldUntilTheJobEnds() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            let first = try await store.enqueue("q", payload: [1], options: options)
            let second = try await store.enqueue("q", payload: [2], options: options)
            #expect(second == EnqueueResult.duplicate(of: first))
            let lease = try #require(try await store.lease(from: "q").first)
            #expect(try await store.enqueue("q", payload: [3], options: options).isDuplicate)
            try await store.ack(lease)
            let third = try await store.enqueue("q", payload: [4], options: options)
            #expect(!third.isDuplicate)
        }
    }

    @Test func aUniqueKeyWithAWindowOutlivesItsJob() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            options.uniqueFor = .seconds(60)
            let first = try await store.enqueue("q", payload: [1], options: options)
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.ack(lease)
            #expect(try await store.enqueue("q", payload: [2], options: options).id == first.id)
            try await store.advanceClock(by: 60_000)
            #expect(try await store.enqueue("q", payload: [3], options: options).isDuplicate == false)
        }
    }

    @Test func aDelayedJobWaitsForItsTime() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.delay = .seconds(10)
            let id = try await store.enqueue("q", payload: [], options: options).id
            #expect(try await store.lease(from: "q").isEmpty)
            #expect(try await store.job(id)?.state == .scheduled)
            #expect(try await store.job(id)?.runAt == Timestamp(milliseconds: StoreFixture.start + 10_000))
            try await store.advanceClock(by: 9_999)
            #expect(try await store.lease(from: "q").isEmpty)
            try await store.advanceClock(by: 1)
            #expect(try await store.job(id)?.state == .ready)
            #expect(try await store.lease(from: "q").map(\.id) == [id])
        }
    }

    @Test func aRunAtTimeInThePastMeansAtOnce() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.runAt = Timestamp(milliseconds: 5)
            let id = try await store.enqueue("q", payload: [], options: options).id
            #expect(try await store.lease(from: "q").map(\.id) == [id])
        }
    }

    @Test func aJobNotLeasedInTimeIsDead() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.timeToLive = .milliseconds(5)
            let id = try await store.enqueue("q", payload: [], options: options).id
            try await store.advanceClock(by: 5)
            #expect(try await store.lease(from: "q").isEmpty)
            let job = try #require(try await store.job(id))
            #expect(job.state == .dead)
            #expect(job.lastError == "ttl expired")
        }
    }

    static let bad: [(String, @Sendable (inout EnqueueOptions) -> Void)] = [
        ("priority", { $0.priority = 128 }), ("priority", { $0.priority = -129 }),
        ("max_attempts", { $0.maxAttempts = 0 }), ("max_attempts", { $0.maxAttempts = 1_000_001 }),
        ("unique_key", { $0.uniqueKey = "" }),
        ("unique_key", { $0.uniqueKey = String(repeating: "x", count: 256) }),
        ("unique_key", { $0.uniqueFor = .seconds(1) }),
        ("unique_for_ms", { ($0.uniqueKey, $0.uniqueFor) = ("k", .zero) }),
        ("group", { $0.group = "" }), ("delay_ms", { $0.delay = .milliseconds(-1) }),
        ("delay_ms", { $0.delay = .seconds(Int64.max) }), ("delay_ms", { $0.delay = .seconds(300_000_000_000) }),
        ("delay_ms", { ($0.delay, $0.runAt) = (.zero, .zero) }),
        ("run_at_ms", { $0.runAt = Timestamp(milliseconds: Timestamp.max.milliseconds + 1) }),
        ("ttl_ms", { $0.timeToLive = .zero }),
        ("headers", { $0.headers = [JobHeader(name: "n", value: String(repeating: "x", count: 65_536))] }),
        ("headers", { $0.headers = Array(repeating: JobHeader(name: "n", value: ""), count: 1025) }),
    ]

    @Test func optionsOutOfTheirLimitsAreRefusedByName() async throws {
        try await withStore { store, _ in
            for (field, change) in Self.bad {
                var options = EnqueueOptions()
                change(&options)
                let error = await #expect(throws: JobStoreError.self, "\(field)") {
                    try await store.enqueue("q", payload: [], options: options)
                }
                #expect(error?.code == .badRequest, "\(field)")
                #expect(error?.message.contains("`\(field)`") == true, "\(field): \(error?.message ?? "")")
            }
            await expectRefusal(.badRequest) { _ = try await store.enqueue("", payload: []) }
            await expectRefusal(.badRequest) {
                _ = try await store.enqueue(String(repeating: "q", count: 256), payload: [])
            }
            let stats = try await store.stats()
            #expect(stats.sequence == .zero)
        }
    }

    @Test func aPayloadOverTheLimitIsTooLarge() async throws {
        try await withStore({ $0.payloadBytesMax = 100 }) { store, _ in
            await expectRefusal(.tooLarge) {
                _ = try await store.enqueue("q", payload: [UInt8](repeating: 0, count: 101))
            }
            _ = try await store.enqueue("q", payload: [UInt8](repeating: 7, count: 100))
            #expect(try await store.lease(from: "q").first?.payload.count == 100)
        }
    }
}

extension EnqueueResult {
    static func duplicate(of result: EnqueueResult) -> EnqueueResult {
        EnqueueResult(id: result.id, isDuplicate: true)
    }
}
