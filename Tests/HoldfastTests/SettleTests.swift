import Holdfast
import HoldfastBytes
import Testing

@Suite struct SettleTests {
    private func leaseOne(
        _ store: JobStore, _ options: EnqueueOptions = EnqueueOptions()
    ) async throws -> Lease {
        _ = try await store.enqueue("q", payload: [1], options: options)
        return try #require(try await store.lease(from: "q").first)
    }

    @Test func anAckedJobIsCompletedWithItsResult() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            try await store.ack(lease, result: bytes("{}"))
            let job = try #require(try await store.job(lease.id))
            #expect(job.state == .completed)
            #expect(job.result == bytes("{}"))
            #expect(job.attempt == 1)
            #expect(job.payload == [1])
            #expect(try await store.stats().completed == 1)
            await expectRefusal(.leaseLost) { try await store.ack(lease) }
        }
    }

    @Test func settlingWithAWrongTokenIsLeaseLostAndWithAnUnknownIdNotFound() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            let wrong = LeaseIdentity(id: lease.id, token: LeaseToken(lease.token.rawValue + 1))
            let unknown = LeaseIdentity(id: JobID(1_000_000_000), token: lease.token)
            await expectRefusal(.leaseLost) { try await store.ack(wrong) }
            await expectRefusal(.leaseLost) { try await store.heartbeat(wrong) }
            await expectRefusal(.leaseLost) { try await store.requeue(wrong) }
            await expectRefusal(.leaseLost) { try await store.bury(wrong) }
            await expectRefusal(.notFound) { try await store.ack(unknown) }
            await expectRefusal(.notFound) { try await store.heartbeat(unknown) }
            await expectRefusal(.notFound) { try await store.requeue(unknown) }
            await expectRefusal(.notFound) { try await store.bury(unknown) }
            try await store.ack(lease.identity)
        }
    }

    @Test func aStaleLeaseIsToldWhereItsJobIsNow() async throws {
        try await withStore { store, _ in
            func lost(_ lease: Lease) async -> LostLease? {
                do throws(JobStoreError) {
                    try await store.ack(lease)
                } catch {
                    #expect(error.code == .leaseLost && error.message.contains("job \(lease.id)"))
                    return error.lostLease
                }
                Issue.record("a stale lease was taken")
                return nil
            }
            let first = try await leaseOne(store)
            try await store.requeue(first, after: .seconds(9))
            #expect(await lost(first)?.state == .scheduled)
            try await store.advanceClock(by: 9_000)
            #expect(await lost(first)?.state == .ready)
            let second = try #require(try await store.lease(from: "q", worker: "w2").first)
            let held = try #require(await lost(first))
            #expect(held.state == .leased && held.worker == "w2")
            #expect(held.deadline == second.deadline)
            try await store.bury(second)
            #expect(await lost(second)?.state == .dead)
            try await store.redrive(second.id)
            let third = try #require(try await store.lease(from: "q").first)
            try await store.ack(third)
            let ended = try #require(await lost(third))
            #expect(ended.state == .completed && ended.deadline == nil)
            let twice = try await leaseOne(store)
            do throws(JobStoreError) {
                _ = try await store.batch([.ack(twice.identity, result: nil), .bury(twice.identity, error: nil)])
                Issue.record("a batch settled a job twice")
            } catch {
                #expect(error.index == 1 && error.message.contains("settle a job once"))
                #expect(error.description == "\(error.code): operation at index 1: \(error.message)")
            }
        }
    }

    @Test func aRequeuedJobComesBackAfterItsDelayWithTheError() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            let outcome = try await store.requeue(lease, after: .seconds(2), error: "boom")
            #expect(outcome.state == .scheduled)
            #expect(outcome.runAt == Timestamp(milliseconds: StoreFixture.start + 2_000))
            #expect(try await store.lease(from: "q").isEmpty)
            try await store.advanceClock(by: 2_000)
            let again = try #require(try await store.lease(from: "q").first)
            #expect(again.attempt == 2)
            #expect(again.lastError == "boom")
        }
    }

    @Test func theRetryPolicyDelaysAFirstFailureByAboutASecond() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            let outcome = try await store.requeue(lease, error: "boom")
            let runAt = try #require(outcome.runAt)
            #expect((900...1_100).contains(runAt.milliseconds - StoreFixture.start))
        }
    }

    @Test func aRequeueThatDoesNotCountGivesTheAttemptBack() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.maxAttempts = 1
            let lease = try await leaseOne(store, options)
            #expect(try await store.requeue(lease, countsAttempt: false).state == .ready)
            let again = try #require(try await store.lease(from: "q").first)
            #expect(again.attempt == 1)
            #expect(try await store.requeue(again).state == .dead)
        }
    }

    @Test func aBuriedJobIsDeadUntilItIsRedriven() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            try await store.bury(lease, error: "no")
            let job = try #require(try await store.job(lease.id))
            #expect(job.state == .dead)
            #expect(job.lastError == "no")
            try await store.redrive(lease.id)
            let again = try #require(try await store.lease(from: "q").first)
            #expect(again.id == lease.id)
            #expect(again.attempt == 1)
            await expectRefusal(.invalidState) { try await store.redrive(lease.id) }
        }
    }

    @Test func redrivingAQueueSkipsJobsWhoseKeyIsTaken() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            let keyed = try await leaseOne(store, options)
            try await store.bury(keyed)
            let plain = try await leaseOne(store)
            try await store.bury(plain)
            _ = try await store.enqueue("q", payload: [], options: options)
            await expectRefusal(.invalidState) { try await store.redrive(keyed.id) }
            for limit in [.min, 0, 10_001] {
                await expectRefusal(.badRequest) { _ = try await store.redrive(queue: "q", limit: limit) }
            }
            let result = try await store.redrive(queue: "q")
            #expect(result.count == 1)
            #expect(result.skipped == 1)
        }
    }

    @Test func jobsOfEveryStateCanBeCancelledOnce() async throws {
        try await withStore { store, _ in
            let ready = try await store.enqueue("a", payload: []).id
            var delayed = EnqueueOptions()
            delayed.delay = .seconds(1)
            let scheduled = try await store.enqueue("a", payload: [], options: delayed).id
            let leased = try await leaseOne(store)
            let buried = try await leaseOne(store)
            try await store.bury(buried)
            for id in [ready, scheduled, leased.id, buried.id] {
                try await store.cancel(id)
                #expect(try await store.job(id)?.state == .cancelled)
                await expectRefusal(.invalidState) { try await store.cancel(id) }
                await expectRefusal(.invalidState) { try await store.redrive(id) }
            }
            await expectRefusal(.leaseLost) { try await store.ack(leased) }
            await expectRefusal(.notFound) { try await store.cancel(JobID(0)) }
            await expectRefusal(.notFound) { try await store.cancel(JobID(leased.token.rawValue)) }
            await expectRefusal(.notFound) { try await store.cancel(JobID(UInt64.max)) }
            await expectRefusal(.notFound) { try await store.redrive(JobID(1 << 40)) }
        }
    }

    @Test func purgingCancelsTheDeadJobsOfAQueue() async throws {
        try await withStore { store, _ in
            for _ in 0..<3 { try await store.bury(try await leaseOne(store)) }
            let live = try await store.enqueue("q", payload: []).id
            #expect(try await store.purge(queue: "q").count == 3)
            #expect(try await store.purge(queue: "q").count == 0)
            #expect(try await store.jobs(JobFilter(queue: "q", state: .ready)).map(\.id) == [live])
            #expect(try await store.jobs(JobFilter(queue: "q", state: .cancelled)).count == 3)
        }
    }

    @Test func valuesOverAMebibyteAreTooLarge() async throws {
        try await withStore { store, _ in
            let lease = try await leaseOne(store)
            let long = [UInt8](repeating: 65, count: (1 << 20) + 1)
            let text = String(decoding: long, as: UTF8.self)
            await expectRefusal(.tooLarge) { try await store.ack(lease, result: long) }
            await expectRefusal(.tooLarge) { try await store.heartbeat(lease, progress: long) }
            await expectRefusal(.tooLarge) { try await store.requeue(lease, error: text) }
            await expectRefusal(.tooLarge) { try await store.bury(lease, error: text) }
            await expectRefusal(.badRequest) { try await store.requeue(lease, after: .seconds(-1)) }
            await expectRefusal(.badRequest) { try await store.requeue(lease, after: .seconds(300_000_000_000)) }
            await expectRefusal(.badRequest) { try await store.heartbeat(lease, for: .zero) }
            try await store.ack(lease)
        }
    }
}
