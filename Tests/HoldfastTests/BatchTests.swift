import Holdfast
import HoldfastBytes
import Testing

@Suite struct BatchTests {
    @Test func everyOperationOfABatchIsAnsweredInOrder() async throws {
        try await withStore { store, _ in
            for _ in 0..<4 { _ = try await store.enqueue("q", payload: []) }
            let plain = try await store.enqueue("plain", payload: []).id
            let leases = try await store.lease(from: "q", limit: 4)
            let replies = try await store.batch([
                .enqueue(queue: "next", payload: [1]),
                .ack(leases[0].identity, result: bytes("1")),
                .requeue(leases[1].identity, after: .zero, error: "again"),
                .bury(leases[2].identity, error: "no"),
                .cancel(leases[3].id),
                .cancel(plain),
                .effect(scope: "s", key: "k", value: [7]),
                .effect(scope: "s", key: "k", value: [8]),
            ])
            #expect(replies.count == 8)
            guard case .enqueued(let enqueued) = replies[0] else {
                Issue.record("no id")
                return
            }
            #expect(try await store.lease(from: "next").map(\.id) == [enqueued.id])
            #expect(replies[1] == .done)
            guard case .requeued(let outcome) = replies[2] else {
                Issue.record("no outcome")
                return
            }
            #expect(outcome.state == .ready)
            #expect(Array(replies[3...5]) == [.done, .done, .done])
            guard case .effect(let first) = replies[6], case .effect(let second) = replies[7] else {
                Issue.record("no effect")
                return
            }
            #expect(first.value == [7] && !first.isReplayed)
            #expect(second.value == [7] && second.isReplayed)
            var states: [JobInfo.State?] = []
            for lease in leases { states.append(try await store.job(lease.id)?.state) }
            #expect(states == [.completed, .ready, .dead, .cancelled])
            #expect(try await store.job(plain)?.state == .cancelled)
        }
    }

    @Test func aRefusedOperationLeavesNothingOfItsBatch() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q").first)
            let before = try await store.digest()
            await expectRefusal(.leaseLost, index: 2) {
                _ = try await store.batch([
                    .enqueue(queue: "q", payload: [1]), .ack(lease.identity), .ack(lease.identity),
                ])
            }
            await expectRefusal(.badRequest, index: 1) {
                _ = try await store.batch([.ack(lease.identity), .enqueue(queue: "", payload: [])])
            }
            await expectRefusal(.notFound, index: 1) {
                _ = try await store.batch([.ack(lease.identity), .cancel(JobID(12_345))])
            }
            await expectRefusal(.tooLarge) {
                _ = try await store.batch(
                    Array(repeating: .enqueue(queue: "q", payload: []), count: 10_001))
            }
            #expect(try await store.digest() == before)
            try await store.ack(lease)
        }
    }

    @Test func acksAloneAreAllTakenOrNone() async throws {
        try await withStore { store, _ in
            _ = try await store.batch((0..<5).map { .enqueue(queue: "q", payload: [$0]) })
            let leases = try await store.lease(from: "q", limit: 5).map(\.identity)
            try await store.ack(leases[4])
            let before = try await store.digest()
            let lost: [[LeaseIdentity]] = [
                [leases[0], leases[1], leases[4]], [leases[1], leases[0], leases[4]],
                [leases[0], leases[1], leases[1]],
                [leases[0], leases[1], LeaseIdentity(id: leases[2].id, token: leases[3].token)],
            ]
            for batch in lost {
                await expectRefusal(.leaseLost, index: 2) { _ = try await store.batch(batch.map { .ack($0) }) }
            }
            await expectRefusal(.notFound, index: 1) {
                _ = try await store.batch([
                    .ack(leases[0]), .ack(LeaseIdentity(id: JobID(12_345), token: leases[1].token)),
                ])
            }
            #expect(try await store.digest() == before)
            #expect(try await store.batch([.ack(leases[0]), .ack(leases[2])]) == [.done, .done])
            #expect(try await store.batch([.ack(leases[3]), .ack(leases[1])]) == [.done, .done])
            #expect(try await store.stats().completed == 5)
        }
    }

    @Test func ackingAndEnqueueingWithTheKeyItFreesIsOneStep() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            let first = try await store.enqueue("q", payload: [], options: options).id
            let lease = try #require(try await store.lease(from: "q").first)
            let replies = try await store.batch([
                .ack(lease.identity), .enqueue(queue: "q", payload: [], options: options),
                .enqueue(queue: "q", payload: [], options: options),
            ])
            guard case .enqueued(let second) = replies[1], case .enqueued(let third) = replies[2] else {
                Issue.record("no ids")
                return
            }
            #expect(!second.isDuplicate)
            #expect(second.id > first)
            #expect(third.isDuplicate)
            #expect(third.id == second.id)
        }
    }

    /// Jobs of which little is said take a shorter way, unless something has a capacity: what comes of it is the same.
    @Test func jobsOfSeveralLanesBetweenOtherOperationsComeInOrder() async throws {
        var seen: [[StoreEvent]] = []
        for settings in [QueueConfiguration(runningMax: 1000), QueueConfiguration(capacity: 1000)] {
            try await withStore { store, fixture in
                try await store.configure("q", settings)
                _ = try await store.enqueue("q", payload: [])
                let lease = try #require(try await store.lease(from: "q").first)
                var (urgent, late, keyed) = (EnqueueOptions(), EnqueueOptions(), EnqueueOptions())
                urgent.priority = 7
                late.delay = .seconds(1)
                keyed.uniqueKey = "k"
                let operations: [BatchOperation] = [
                    .enqueue(queue: "q", payload: [1]), .enqueue(queue: "q", payload: [2]),
                    .enqueue(queue: "q", payload: [3], options: urgent), .ack(lease.identity),
                    .enqueue(queue: "q", payload: [4], options: late),
                    .enqueue(queue: "q", payload: [5], options: keyed),
                    .enqueue(queue: "q", payload: [6], options: keyed),
                    .enqueue(queue: "r", payload: [7]), .enqueue(queue: "q", payload: [8]),
                ]
                let replies = try await store.batch(operations)
                let first = lease.token.rawValue + 1
                let places: [UInt64?] = [0, 1, 2, nil, 4, 5, 5, 6, 7]
                for (index, reply) in replies.enumerated() {
                    guard case .enqueued(let result) = reply else {
                        #expect(places[index] == nil && reply == .done)
                        continue
                    }
                    #expect(result.id.rawValue == places[index].map { first + $0 }, "operation \(index)")
                    #expect(result.isDuplicate == (index == 6))
                }
                #expect(try await store.lease(from: "q", limit: 9).map(\.payload) == [[3], [1], [2], [5], [8]])
                fixture.clock.advance(byMilliseconds: 1000)
                #expect(try await store.lease(from: ["q", "r"], limit: 9).map(\.payload) == [[4], [7]])
                let digest = try await store.digest()
                try await store.close()
                let again = try await fixture.open()
                #expect(try await again.digest() == digest)
                var events: [StoreEvent] = []
                for try await event in again.events(from: .sequence(SequenceNumber(first))) {
                    events.append(event)
                    if events.count == operations.count - 1 { break }
                }
                seen.append(events)
                try await again.close()
            }
        }
        #expect(seen[0] == seen[1])
    }

    /// What is like the one before is not checked again: so each way to differ is tried behind one that says nothing.
    @Test func whatDiffersFromTheJobBeforeIsSeen() async throws {
        try await withStore { store, _ in
            func batch(_ second: BatchOperation) async throws -> JobID {
                let replies = try await store.batch([.enqueue(queue: "q", payload: [0]), second])
                guard case .enqueued(let result) = replies[1] else { throw JobStoreError(.badRequest, "no job") }
                return result.id
            }
            func options(_ change: (inout EnqueueOptions) -> Void) -> EnqueueOptions {
                var options = EnqueueOptions()
                change(&options)
                return options
            }
            let runAt = Timestamp(milliseconds: StoreFixture.start + 5000)
            let header = JobHeader(name: "n", value: "v")
            let differing: [(EnqueueOptions, (JobInfo) -> Bool)] = [
                (options { $0.priority = 7 }, { $0.priority == 7 }),
                (options { $0.maxAttempts = 6 }, { $0.maxAttempts == 6 }),
                (options { $0.group = "g" }, { $0.group == "g" }),
                (options { ($0.group, $0.weight) = ("g", 3) }, { $0.weight == 3 }),
                (options { $0.delay = .seconds(5) }, { $0.runAt == runAt && $0.state == .scheduled }),
                (options { $0.runAt = runAt }, { $0.runAt == runAt && $0.state == .scheduled }),
                (options { $0.headers = [header] }, { $0.headers == [header] }),
                (options { $0.uniqueKey = "k" }, { $0.uniqueKey == "k" }),
            ]
            for (index, (options, isSeen)) in differing.enumerated() {
                let id = try await batch(.enqueue(queue: "q", payload: [1], options: options))
                #expect(isSeen(try #require(try await store.job(id))), "\(index)")
            }
            let elsewhere = try await batch(.enqueue(queue: "r", payload: [1]))
            #expect(try await store.job(elsewhere)?.queue == "r")
            let before = try await store.digest()
            let bad: [BatchOperation] = [
                .enqueue(queue: "", payload: []), .enqueue(queue: "q", payload: [], options: options { $0.group = "" }),
                .enqueue(queue: "q", payload: [], options: options { $0.priority = 128 }),
                .enqueue(queue: "q", payload: [], options: options { $0.priority = 256 }),
                .enqueue(queue: "q", payload: [], options: options { $0.maxAttempts = 0 }),
                .enqueue(queue: "q", payload: [], options: options { $0.maxAttempts = 5 + 1 << 32 }),
                .enqueue(queue: "q", payload: [], options: options { $0.weight = 2 }),
                .enqueue(queue: "q", payload: [], options: options { ($0.delay, $0.runAt) = (.zero, runAt) }),
            ]
            for second in bad { await expectRefusal(.badRequest, index: 1) { _ = try await batch(second) } }
            await expectRefusal(.tooLarge, index: 1) {
                _ = try await batch(.enqueue(queue: "q", payload: [UInt8](repeating: 0, count: 17 << 20)))
            }
            #expect(try await store.digest() == before)
        }
    }

    @Test func anEmptyBatchDoesNothing() async throws {
        try await withStore { store, _ in
            let replies = try await store.batch([])
            #expect(replies.isEmpty)
        }
    }

    @Test func tenThousandOperationsFitInOneBatch() async throws {
        try await withStore { store, fixture in
            let replies = try await store.batch(
                Array(repeating: .enqueue(queue: "q", payload: bytes("payload")), count: 10_000))
            #expect(replies.count == 10_000)
            #expect(try await store.lease(from: "q", limit: 10_000).count == 10_000)
            #expect(try await store.stats().queues.first?.leased == 10_000)
        }
    }
}
