// Full queues and stores: who waits for room, in which order, and what makes it.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct WaitingEnqueueTests {
    /// Starts an enqueue that waits, and returns once it does.
    private func waiting(
        _ store: JobStore, _ queue: String = "q", _ payload: [UInt8] = [], upTo limit: Duration = .seconds(3600),
        count: Int = 1
    ) async -> Task<EnqueueResult, any Error> {
        let task = Task { try await store.enqueue(queue, payload: payload, waitingUpTo: limit) }
        while store.waitingEnqueueCount < count { await Task.yield() }
        return task
    }

    private func fill(_ store: JobStore, _ capacity: Int = 1) async throws {
        try await store.configure("q", QueueConfiguration(capacity: capacity))
        for _ in 0..<capacity { _ = try await store.enqueue("q", payload: [0]) }
    }

    @Test func withRoomNothingWaits() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(capacity: 1))
            let id = try await store.enqueue("q", payload: [7], waitingUpTo: .seconds(5)).id
            #expect(try await store.job(id)?.payload == [7])
            await expectRefusal(.queueFull) { _ = try await store.enqueue("q", payload: []) }
            await expectRefusal(.queueFull) { _ = try await store.enqueue("q", payload: [], waitingUpTo: .zero) }
            await expectRefusal(.badRequest) { _ = try await store.enqueue("", payload: [], waitingUpTo: .seconds(1)) }
        }
    }

    @Test func roomGoesToTheOneThatCameFirst() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let first = await waiting(store, "q", [1], count: 1)
            let second = await waiting(store, "q", [2], count: 2)
            for wanted in [0, 1, 2] as [UInt8] {
                let lease = try #require(try await store.lease(from: "q").first)
                #expect(lease.payload == [wanted])
                try await store.ack(lease)
            }
            let ids = [try await first.value.id, try await second.value.id]
            #expect(ids == ids.sorted() && store.waitingEnqueueCount == 0)
        }
    }

    /// The log makes that place without the store's lock, which whoever waits for it must not keep.
    @Test func oneThatNeedsAPlaceOfItsOwnInTheLogWaitsForThatWithoutTheLock() async throws {
        try await withStore({ $0.journalSegmentBytes = 64 << 10 }) { store, _ in
            let large = [UInt8](repeating: 7, count: 100_000)
            for _ in 0..<10 {
                try await fill(store)
                let task = await waiting(store, "q", large)
                // What was made for the one is taken by another as room comes.
                async let other = store.enqueue("other", payload: large).id
                _ = try await store.purge(queue: "q", states: .all)
                let ids = (try await task.value.id, try await other)
                #expect(ids.0 != ids.1)
                _ = try await store.purge(queue: "q", states: .all)
            }
        }
    }

    @Test func oneThatReadsRecordsKeepsItsPlaceInTheLine() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let awaited = try await store.enqueue("other", payload: []).id
            var options = EnqueueOptions()
            options.after = [awaited]
            let dependent = options
            let first = Task {
                try await store.enqueue("q", payload: [1], options: dependent, waitingUpTo: .seconds(3600))
            }
            while store.waitingEnqueueCount < 1 { await Task.yield() }
            let second = await waiting(store, "q", [2], count: 2)
            // From here on the first has to read how that job ended.
            try await store.ack(try #require(try await store.lease(from: "other").first))
            for wanted in [0, 1, 2] as [UInt8] {
                let lease = try #require(try await store.lease(from: "q", waitingUpTo: .seconds(3600)).first)
                #expect(lease.payload == [wanted])
                try await store.ack(lease)
            }
            let ids = [try await first.value.id, try await second.value.id]
            #expect(ids == ids.sorted() && store.waitingEnqueueCount == 0)
        }
    }

    @Test func oneThatAddsNothingDoesNotWaitForThoseWhoDo() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(capacity: 1))
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            let id = try await store.enqueue("q", payload: [], options: options).id
            let task = await waiting(store)
            let again = try await store.enqueue("q", payload: [], options: options, waitingUpTo: .seconds(3600))
            #expect(again.id == id && again.isDuplicate)
            try await store.cancel(id)
            _ = try await task.value
        }
    }

    /// Everything that lets a job go makes room.
    @Test(arguments: ["cancel", "bury", "requeue", "move", "purge", "expire", "ttl", "raise"])
    func whateverMakesRoomWakesTheWaiter(_ what: String) async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(capacity: 1))
            var options = EnqueueOptions()
            options.maxAttempts = 1
            if what == "ttl" { options.timeToLive = .seconds(5) }
            let id = try await store.enqueue("q", payload: [], options: options).id
            let lease = ["bury", "requeue", "expire"].contains(what) ? try await store.lease(from: "q").first : nil
            let task = await waiting(store)
            switch what {
            case "cancel": try await store.cancel(id)
            case "bury": try await store.bury(try #require(lease), error: "e")
            case "requeue": try await store.requeue(try #require(lease), error: "e")
            case "move": try await store.move(id, to: "other")
            case "purge": _ = try await store.purge(queue: "q", states: .all)
            case "raise": try await store.configure("q", QueueConfiguration(capacity: 2))
            default: try await store.advanceClock(by: 40_000)
            }
            let result = try await task.value
            #expect(result.id > id && store.waitingEnqueueCount == 0)
        }
    }

    @Test func aWaitEndsWhenItsTimeIsUp() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let task = await waiting(store, upTo: .seconds(10))
            let last = await waiting(store, upTo: .seconds(20), count: 2)
            try await store.advanceClock(by: 9_999)
            #expect(store.waitingEnqueueCount == 2)
            try await store.advanceClock(by: 1)
            await expectRefusal(.queueFull) { _ = try await task.value }
            try await store.advanceClock(by: 10_000)
            await expectRefusal(.queueFull) { _ = try await last.value }
            #expect(try await store.stats().queues.first?.ready == 1)
        }
    }

    @Test func aCancelledTaskAddsNothing() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let task = await waiting(store)
            let next = await waiting(store, "q", [2], count: 2)
            task.cancel()
            await #expect(throws: CancellationError.self) { _ = try await task.value }
            try await store.ack(try #require(try await store.lease(from: "q").first))
            let id = try await next.value.id
            let jobs = try await store.jobs(JobFilter(state: .ready))
            #expect(jobs.map(\.id) == [id])
        }
    }

    @Test func aBatchWaitsUntilAllOfItHasRoom() async throws {
        try await withStore { store, _ in
            try await fill(store, 2)
            try await store.configure(StoreLimits(jobs: 3))
            let operations: [BatchOperation] = [
                .enqueue(queue: "q", payload: [1]), .enqueue(queue: "other", payload: [2]),
            ]
            await expectRefusal(.queueFull, index: 0) { _ = try await store.batch(operations) }
            let task = Task { try await store.batch(operations, waitingUpTo: .seconds(3600)) }
            while store.waitingEnqueueCount < 1 { await Task.yield() }
            // Room in the queue, and then none in the store.
            try await store.ack(try #require(try await store.lease(from: "q").first))
            #expect(store.waitingEnqueueCount == 0)
            #expect(try await task.value.count == 2)
            let load = try await store.load()
            #expect(load == StoreLoad(limits: StoreLimits(jobs: 3), jobs: 3, payloadBytes: 0))
        }
    }

    /// One that needs more than there is keeps its place; who stands behind it goes on when it gives up.
    @Test(arguments: [false, true]) func whoStandsBehindOneThatGivesUpGoesOn(isCancelled: Bool) async throws {
        try await withStore { store, _ in
            try await fill(store, 2)
            let operations = (0..<2).map { BatchOperation.enqueue(queue: "q", payload: [UInt8($0)]) }
            let large = Task { try await store.batch(operations, waitingUpTo: .seconds(10)) }
            while store.waitingEnqueueCount < 1 { await Task.yield() }
            let small = await waiting(store, "q", [9], count: 2)
            try await store.ack(try #require(try await store.lease(from: "q").first))
            #expect(store.waitingEnqueueCount == 2)
            if isCancelled { large.cancel() } else { try await store.advanceClock(by: 10_000) }
            let id = try await small.value.id
            #expect(try await store.job(id)?.payload == [9])
            await #expect(throws: (any Error).self) { _ = try await large.value }
        }
    }

    @Test func oneWithoutRoomInTheStoreMovesToThatLine() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let other = try await store.enqueue("other", payload: []).id
            let task = await waiting(store)
            try await store.configure(StoreLimits(jobs: 1))
            try await store.ack(try #require(try await store.lease(from: "q").first))
            #expect(store.waitingEnqueueCount == 1)
            try await store.cancel(other)
            let result = try await task.value
            #expect(result.id > other)
        }
    }

    @Test func bytesOfPayloadsAreLimited() async throws {
        try await withStore { store, fixture in
            try await store.configure(StoreLimits(payloadBytes: 100))
            let id = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 60)).id
            await expectRefusal(.queueFull) {
                _ = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 41))
            }
            let big = await waiting(store, "q", [UInt8](repeating: 1, count: 90))
            // One that does not wait takes what there is.
            let small = try await store.enqueue("r", payload: [UInt8](repeating: 1, count: 40)).id
            try await store.cancel(id)
            #expect(store.waitingEnqueueCount == 1)
            try await store.cancel(small)
            let result = try await big.value
            #expect(try await store.load().payloadBytes == 90)
            try await store.close()
            let again = try await fixture.open()
            #expect(
                try await again.load() == StoreLoad(limits: StoreLimits(payloadBytes: 100), jobs: 1, payloadBytes: 90))
            try await again.configure(StoreLimits())
            #expect(try await again.load().limits == StoreLimits())
            #expect(try await again.job(result.id)?.payload?.count == 90)
            await expectRefusal(.badRequest) { try await again.configure(StoreLimits(jobs: 0)) }
            try await again.close()
        }
    }

    @Test func closingEndsTheWait() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let task = await waiting(store)
            try await store.close()
            await expectRefusal(.closed) { _ = try await task.value }
        }
    }

    @Test func moreThanTheMostAreRefused() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let tasks = (0..<1024).map { _ in
                Task { try await store.enqueue("q", payload: [], waitingUpTo: .seconds(9)) }
            }
            while store.waitingEnqueueCount < 1024 { await Task.yield() }
            await expectRefusal(.queueFull) { _ = try await store.enqueue("q", payload: [], waitingUpTo: .seconds(9)) }
            try await store.configure("q", QueueConfiguration())
            for task in tasks { _ = try await task.value }
            #expect(try await store.stats().queues.first?.ready == 1025)
        }
    }

    @Test func aBlockingCallerWaitsOnItsThread() async throws {
        try await withStore { store, _ in
            try await fill(store)
            let result = Locked<Result<EnqueueResult, JobStoreError>?>(nil)
            let thread = try DedicatedThread(name: "producer") {
                let outcome = Result { () throws(JobStoreError) in
                    try store.blocking.enqueue("q", payload: [5], waitingUpTo: .seconds(3600))
                }
                result.withLock { $0 = outcome }
            }
            while store.waitingEnqueueCount < 1 { await Task.yield() }
            try await store.ack(try #require(try await store.lease(from: "q").first))
            while result.withLock({ $0 == nil }) { await Task.yield() }
            thread.join()
            let id = try #require(try result.withLock { $0 }?.get().id)
            #expect(try await store.job(id)?.payload == [5])
        }
    }

    /// An enqueue that was waited for is leased by whoever waits for a job.
    @Test func aWaitingLeaseGetsTheJobThatWaited() async throws {
        try await withStore { store, _ in
            try await store.configure(StoreLimits(jobs: 1))
            let first = try await store.enqueue("q", payload: []).id
            let producer = await waiting(store, "r", [9])
            let lease = Task { try await store.lease(from: "r", waitingUpTo: .seconds(3600)) }
            while store.waitingLeaseCount < 1 { await Task.yield() }
            try await store.cancel(first)
            let id = try await producer.value.id
            #expect(try await lease.value.map(\.id) == [id])
        }
    }
}
