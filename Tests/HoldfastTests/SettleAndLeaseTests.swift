// Settling a job and leasing the next in one commit.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite struct SettleAndLeaseTests {
    @Test func aWorkersLoopTakesOneCommitAJob() async throws {
        try await withStore { store, _ in
            let ids = [
                try await store.enqueue("q", payload: [1]).id, try await store.enqueue("q", payload: [2]).id,
                try await store.enqueue("q", payload: [3]).id,
            ]
            let next = NextLease(from: "q", for: .seconds(9), worker: "w")
            let first = try #require(try await store.lease(from: "q").first)
            let before = try await store.stats()
            let second = try #require(try await store.ack(first, result: [7], thenLease: next).first)
            let third = try #require(try await store.ack(second, thenLease: next).first)
            #expect(try await store.stats().commits == before.commits + 2)
            #expect([first.id, second.id, third.id] == ids && third.payload == [3] && third.attempt == 1)
            #expect(third.deadline == Timestamp(milliseconds: StoreFixture.start + 9_000))
            #expect(try await store.job(third.id)?.worker == "w")
            #expect(try await store.job(first.id)?.result == [7])
            #expect(try await store.ack(third, thenLease: next).isEmpty)
            #expect(try await store.stats().completed == 3)
        }
    }

    @Test func aJobGivenBackMayBeTheNextOne() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: []).id
            let lease = try #require(try await store.lease(from: "q").first)
            let (later, none) = try await store.requeue(lease, error: "no", thenLease: NextLease(from: "q"))
            #expect(later.state == .scheduled && none.isEmpty)
            try await store.advanceClock(by: 86_400_000)
            let again = try #require(try await store.lease(from: "q").first)
            let (outcome, leases) = try await store.requeue(
                again, after: .zero, error: "once more", thenLease: NextLease(from: ["other", "q"]))
            #expect(outcome.state == .ready)
            #expect(leases.map(\.id) == [id] && leases.first?.attempt == 3 && leases.first?.lastError == "once more")
        }
    }

    @Test func aBurialLeadsToTheNextJob() async throws {
        try await withStore { store, _ in
            for number in 0..<4 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
            let lease = try #require(try await store.lease(from: "q").first)
            let leases = try await store.bury(lease, error: "bad", thenLease: NextLease(from: "q", limit: 2))
            #expect(leases.map(\.payload) == [[1], [2]])
            #expect(try await store.job(lease.id)?.state == .dead)
        }
    }

    @Test func whatIsRefusedSettlesNothingAndLeasesNothing() async throws {
        try await withStore { store, _ in
            for _ in 0..<2 { _ = try await store.enqueue("q", payload: []) }
            let lease = try #require(try await store.lease(from: "q").first)
            let wrong = LeaseIdentity(id: lease.id, token: LeaseToken(lease.token.rawValue + 1))
            let next = NextLease(from: "q")
            await expectRefusal(.leaseLost) { _ = try await store.ack(wrong, thenLease: next) }
            await expectRefusal(.leaseLost) { _ = try await store.requeue(wrong, thenLease: next) }
            await expectRefusal(.leaseLost) { _ = try await store.bury(wrong, thenLease: next) }
            for bad in [
                NextLease(from: [String]()), NextLease(from: ""), NextLease(from: "q", limit: 0),
                NextLease(from: "q", for: .zero),
            ] {
                await expectRefusal(.badRequest) { _ = try await store.ack(lease, thenLease: bad) }
            }
            let queue = try #require(try await store.stats().queues.first)
            #expect(queue.leased == 1 && queue.ready == 1)
            #expect(try await store.ack(lease, thenLease: next).count == 1)
        }
    }

    @Test func aJobIsSettledAlsoWhenTheNextCanNotBeRead() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.use(disk)
        let first = try await JobStore.open(at: "/store", options: options)
        // Each fills blocks of its own.
        var random = SeededRandom(seed: 1)
        for _ in 0..<3 { _ = try await first.enqueue("q", payload: random.bytes(600_000)) }
        _ = try await first.compact()
        try await first.close()
        let store = try await JobStore.open(at: "/store", options: options)
        let lease = try #require(try await store.lease(from: "q").first)
        disk.faultPlan.readFaults = [.init(operation: disk.readCount + 1, isLasting: true)]
        let outcome = try await store.requeue(
            lease, after: .seconds(60), thenLease: NextLease(from: "q"))
        #expect(disk.faultHits > 0, "the payloads are read from the disk")
        #expect(outcome.outcome.state == .scheduled && outcome.leases.isEmpty)
        // A lease alone says why.
        await expectRefusal(.ioError) { _ = try await store.lease(from: "q") }
        disk.faultPlan = FaultPlan()
        // What had been leased for nobody comes back when those leases end.
        try await store.advanceClock(by: 30_000)
        let again = try await store.lease(from: "q", limit: 9)
        #expect(again.map(\.attempt) == [2, 2])
        try await store.close()
    }

    @Test(.timeLimit(.minutes(10))) func aLeaseThatWaitsComesFirst() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(runningMax: 1))
            for number in 0..<9 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
            let first = try #require(try await store.lease(from: "q").first)
            async let waiting = store.lease(from: "q", waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            #expect(try await store.ack(first, thenLease: NextLease(from: "q")).isEmpty)
            let second = try #require(try await waiting.first)
            #expect(second.payload == [1])
            // And a job that is given back is theirs, too.
            try await store.configure("q", QueueConfiguration(runningMax: 2))
            let third = try #require(try await store.lease(from: "q").first)
            try await store.pause("q")
            async let other = store.lease(from: ["q", "none"], waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.requeue(third, after: .zero)
            #expect(store.waitingLeaseCount == 1)
            try await store.resume("q")
            #expect(try await other.map(\.id) == [third.id])
        }
    }

    @Test func aBlockingWorkerDoesTheSame() async throws {
        try await withStore { store, _ in
            try await ThreadExecutor.run {
                let store = store.blocking
                for number in 0..<3 { _ = try store.enqueue("q", payload: [UInt8(number)]) }
                let first = try store.lease(from: "q")[0]
                let second = try store.ack(first, thenLease: NextLease(from: "q"))[0]
                let (outcome, third) = try store.requeue(
                    second, after: .seconds(1), thenLease: NextLease(from: "q"))
                #expect(outcome.state == .scheduled && third.map(\.payload) == [[2]])
                #expect(try store.bury(third[0], thenLease: NextLease(from: "q")).isEmpty)
            }
        }
    }
}
