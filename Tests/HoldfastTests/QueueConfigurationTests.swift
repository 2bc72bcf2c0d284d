// The settings of queues, as a user of the store meets them.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite struct QueueConfigurationTests {
    @Test func aFullQueueRefusesWithWhatToDo() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(capacity: 2))
            for _ in 0..<2 { _ = try await store.enqueue("q", payload: []) }
            do throws(JobStoreError) {
                _ = try await store.enqueue("q", payload: [])
                Issue.record("a third was taken")
            } catch {
                #expect(error.code == .queueFull && error.message.contains("raise its capacity"), "\(error)")
            }
            await expectRefusal(.queueFull, index: 1) {
                _ = try await store.batch([
                    .enqueue(queue: "r", payload: [], options: EnqueueOptions()),
                    .enqueue(queue: "q", payload: [], options: EnqueueOptions()),
                ])
            }
            #expect(try await store.stats().queues.contains { $0.name == "r" } == false)
            let lease = try #require(try await store.lease(from: "q").first)
            await expectRefusal(.queueFull) { _ = try await store.enqueue("q", payload: []) }
            try await store.ack(lease)
            _ = try await store.enqueue("q", payload: [])
        }
    }

    @Test(.timeLimit(.minutes(1))) func aLeaseThatWaitsGetsTheJobWhenAPlaceIsFree() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(runningMax: 1))
            for number in 0..<3 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
            let first = try #require(try await store.lease(from: "q", limit: 3).first)
            async let waiting = store.lease(from: "q", limit: 3, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.ack(first)
            let second = try await waiting
            #expect(second.map(\.payload) == [[1]])
            // And when more may run.
            async let more = store.lease(from: "q", limit: 3, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.configure("q", QueueConfiguration())
            #expect(try await more.map(\.payload) == [[2]])
        }
    }

    @Test func settingsAreThereAfterCrashesCheckpointsAndCompaction() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        let listed = QueueConfiguration(
            capacity: 9, runningMax: 3, retry: .listed([.seconds(1), .seconds(9)], jitterPercent: 5))
        let growing = QueueConfiguration(retry: .exponential(first: .seconds(1), factor: 1.5, most: .seconds(60)))
        try await store.configure("a", listed)
        try await store.configure("b", growing)
        try await store.configure("c", QueueConfiguration(retry: .fixed(.milliseconds(1))))
        try await store.configure("c", QueueConfiguration())
        let digest = try await store.digest().hex
        var image = disk.crashImage(.nothingPending)
        for round in 0..<3 {
            options.use(image)
            let again = try await JobStore.open(at: "/store", options: options)
            let found = Dictionary(
                uniqueKeysWithValues: try await again.stats().queues.map { ($0.name, $0.configuration) })
            #expect(found == ["a": listed, "b": growing, "c": QueueConfiguration()], "round \(round)")
            #expect(try await again.digest().hex == digest)
            if round == 0 { try await again.checkpoint() } else { _ = try await again.compact() }
            try await again.close()
            image = image.crashImage(.nothingPending)
        }
        try await store.close()
    }

    @Test func whatIsOutOfBoundsIsRefusedAndChangesNothing() async throws {
        try await withStore { store, _ in
            let bad: [QueueConfiguration] = [
                .init(capacity: 0), .init(capacity: -1), .init(capacity: .max), .init(runningMax: 0),
                .init(retry: .fixed(.seconds(-1))), .init(retry: .fixed(.seconds(400 * 86_400))),
                .init(retry: .fixed(.seconds(1), jitterPercent: 101)),
                .init(retry: .fixed(.seconds(1), jitterPercent: -1)),
                .init(retry: .exponential(first: .seconds(2), most: .seconds(1))),
                .init(retry: .exponential(first: .seconds(1), factor: 0.5)),
                .init(retry: .exponential(first: .seconds(1), factor: .infinity)),
                .init(retry: .exponential(first: .seconds(1), factor: .nan)), .init(retry: .listed([])),
                .init(retry: .listed([Duration](repeating: .seconds(1), count: 65))),
            ]
            for configuration in bad {
                await expectRefusal(.badRequest) { try await store.configure("q", configuration) }
            }
            await expectRefusal(.badRequest) { try await store.configure("", QueueConfiguration()) }
            let last = try await store.stats().sequence
            #expect(last == .zero)
        }
    }

    @Test func aFailedJobWaitsAsItsQueueSaysWhenItFails() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(retry: .fixed(.seconds(7))))
            _ = try await store.enqueue("q", payload: [])
            let first = try #require(try await store.lease(from: "q").first)
            let outcome = try await store.requeue(first)
            #expect(outcome.runAt == Timestamp(milliseconds: StoreFixture.start + 7_000))
            // It stays so when the queue's policy changes.
            try await store.configure("q", QueueConfiguration(retry: .fixed(.zero)))
            #expect(try await store.job(first.id)?.runAt == outcome.runAt)
            try await store.advanceClock(by: 7_000)
            let second = try #require(try await store.lease(from: "q").first)
            #expect(try await store.requeue(second).state == .ready)
            // What the worker says comes first.
            let third = try #require(try await store.lease(from: "q").first)
            #expect(try await store.requeue(third, after: .seconds(1)).state == .scheduled)
        }
    }

    @Test func aJobThatWaitsForAPlaceSaysSo() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(runningMax: 1))
            let ids = [try await store.enqueue("q", payload: []).id, try await store.enqueue("q", payload: []).id]
            _ = try await store.lease(from: "q")
            let explanation = try #require(try await store.explain(ids[1]))
            #expect(explanation.reason == .limited(runningMax: 1))
            #expect(explanation.description.hasSuffix("waits because queue q lets 1 job run at once, and so many do"))
        }
    }

    @Test func settingsShowInRecordsAndThePast() async throws {
        try await withStore { store, _ in
            try store.blocking.configure("q", QueueConfiguration(capacity: 5, retry: .fixed(.seconds(1))))
            try await store.pause("q")
            try store.blocking.configure("q", QueueConfiguration(runningMax: 2))
            var fields: [[String]] = []
            for try await event in store.events(from: .oldest) {
                fields.append(event.record.fields.map(\.name))
                if fields.count == 3 { break }
            }
            let all = ["queue", "capacity", "running_max", "retry", "crash_max", "final_errors"]
            #expect(fields == [all, ["queue", "paused"], all])
            let past = try await store.state(asOf: .sequence(SequenceNumber(1)))
            let queue = try #require(past.stats.queues.first)
            let first = QueueConfiguration(capacity: 5, retry: .fixed(.seconds(1)))
            #expect(queue.configuration == first && !queue.isPaused)
            let now = try #require(try await store.stats().queues.first)
            #expect(now.configuration == QueueConfiguration(runningMax: 2) && now.isPaused)
        }
    }

    @Test func prioritiesThatAgeStarveNobody() async throws {
        try await withStore { store, fixture in
            try await store.configure("q", QueueConfiguration(ageing: .seconds(1)))
            let low = try await store.enqueue("q", payload: []).id
            try await store.advanceClock(by: 4000)
            var options = EnqueueOptions()
            options.priority = 3
            for _ in 0..<3 { _ = try await store.enqueue("q", payload: [], options: options) }
            _ = try await store.checkpoint()
            #expect(try await store.lease(from: "q").map(\.id) == [low])
            for wrong in [Duration.zero, .seconds(-1), .microseconds(1), .seconds(86_400 * 367)] {
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(ageing: wrong))
                }
            }
        }
    }
}
