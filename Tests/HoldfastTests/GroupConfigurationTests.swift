// What a queue says of its groups, as a user of the store meets it.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite struct GroupConfigurationTests {
    private func enqueue(_ store: JobStore, _ group: String) async throws -> JobID {
        var options = EnqueueOptions()
        options.group = group
        return try await store.enqueue("q", payload: Array(group.utf8), options: options).id
    }

    @Test(.timeLimit(.minutes(1))) func aLeaseThatWaitsGetsAJobWhenItsGroupMayRunOneMore() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(groupRunningMax: 1))
            let ids = [try await enqueue(store, "a"), try await enqueue(store, "a")]
            let first = try #require(try await store.lease(from: "q", limit: 9).first)
            #expect(try await store.stats().queues.first?.held == 1)
            let explanation = try #require(try await store.explain(ids[1]))
            #expect(explanation.reason == .groupLimited(runningMax: 1))
            #expect(explanation.description.hasSuffix("lets 1 job of a group run at once, and so many of group a do"))
            async let waiting = store.lease(from: "q", limit: 3, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            let other = try await enqueue(store, "b")
            let second = try await waiting
            #expect(second.map(\.id) == [other])
            async let more = store.lease(from: "q", limit: 3, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.ack(first)
            #expect(try await more.map(\.id) == [ids[1]])
        }
    }

    @Test func jobsOfAGroupRunInOrderAndSayBehindWhichTheyWait() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(groupOrder: .strict, retry: .fixed(.seconds(5))))
            let ids = [try await enqueue(store, "a"), try await enqueue(store, "a")]
            let first = try #require(try await store.lease(from: "q", limit: 9).first)
            #expect(try await store.requeue(first).state == .scheduled)
            #expect(try await store.lease(from: "q").isEmpty)
            #expect(try await store.explain(ids[1])?.reason == .ordered(behind: ids[0]))
            try await store.configure("q", QueueConfiguration(groupOrder: .parking))
            #expect(try await store.lease(from: "q", limit: 9).map(\.id) == [ids[1]])
            #expect(try await store.stats().queues.first?.configuration.groupOrder == .parking)
        }
    }

    @Test(arguments: [1, 1000]) func aNoisyGroupDelaysASingleJobByOneLeaseAtMost(weight: Int) async throws {
        try await withStore { store, _ in
            var noisy = EnqueueOptions()
            noisy.group = "noisy"
            noisy.weight = weight
            for _ in 0..<20 {
                _ = try await store.batch(
                    (0..<1000).map { _ in .enqueue(queue: "q", payload: [], options: noisy) })
            }
            for round in 0..<30 {
                for _ in 0..<(round % 3) { _ = try await store.lease(from: "q") }
                let job = try await enqueue(store, "quiet\(round)")
                let next = [try await store.lease(from: "q"), try await store.lease(from: "q")].flatMap { $0.map(\.id) }
                #expect(next.contains(job), "round \(round)")
            }
        }
    }

    @Test func sharesFollowWeightsThroughARestart() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.use(disk)
        var counts: [String: Int] = [:]
        for session in 0..<4 {
            let store = try await JobStore.open(at: "/store", options: options)
            if session == 0 {
                for (group, weight) in [("a", 1), ("b", 3)] {
                    var options = EnqueueOptions()
                    (options.group, options.weight) = (group, weight)
                    for _ in 0..<60 { _ = try await store.enqueue("q", payload: [], options: options) }
                }
            }
            for lease in try await store.lease(from: "q", limit: 10) { counts[lease.group ?? "", default: 0] += 1 }
            if session % 2 == 0 { _ = try await store.checkpoint() }
            try await store.close()
        }
        #expect(counts == ["a": 10, "b": 30])
    }

    @Test(.timeLimit(.minutes(1))) func aLeaseThatWaitsGetsAJobWhenTheRateLetsIt() async throws {
        try await withStore { store, _ in
            try await store.configure("q", QueueConfiguration(rate: .init(2, per: .seconds(1), burst: 1)))
            for _ in 0..<3 { _ = try await enqueue(store, "a") }
            #expect(try await store.lease(from: "q", limit: 9).count == 1)
            async let waiting = store.lease(from: "q", limit: 9, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.advanceClock(by: 499)
            #expect(store.waitingLeaseCount == 1)
            try await store.advanceClock(by: 1)
            #expect(try await waiting.count == 1)
        }
    }

    @Test(.timeLimit(.minutes(1))) func aLeaseThatWaitsGetsAJobWhenTheRateOfItsGroupLetsIt() async throws {
        try await withStore { store, fixture in
            try await store.configure("q", QueueConfiguration(groupRate: .init(2, per: .seconds(1), burst: 1)))
            var jobs: [JobID] = []
            for _ in 0..<3 { jobs.append(try await enqueue(store, "a")) }
            #expect(try await store.lease(from: "q", limit: 9).count == 1)
            let until = Timestamp(milliseconds: StoreFixture.start + 500)
            #expect(try await store.explain(jobs[1])?.reason == .groupRateLimited(until: until))
            async let waiting = store.lease(from: "q", limit: 9, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.advanceClock(by: 499)
            #expect(store.waitingLeaseCount == 1)
            // Another group is not concerned.
            let other = try await enqueue(store, "b")
            #expect(try await waiting.map(\.id) == [other])
            async let next = store.lease(from: "q", limit: 9, waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.advanceClock(by: 1)
            #expect(try await next.map(\.id) == [jobs[1]])
            _ = try await store.checkpoint()
        }
    }

    @Test(.timeLimit(.minutes(1))) func aWaitingLeaseIsWokenByTimeAlone() async throws {
        // On the system's clock nobody else does anything: the store's own timer must notice.
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        try await store.configure("q", QueueConfiguration(rate: .init(1, per: .milliseconds(50))))
        for _ in 0..<3 { _ = try await enqueue(store, "a") }
        var count = 0
        while count < 3 { count += try await store.lease(from: "q", waitingUpTo: .seconds(50)).count }
        #expect(count == 3)
        try await store.close()
    }

    @Test(.timeLimit(.minutes(1))) func aSlotThatIsFreedInOneQueueServesAnother() async throws {
        try await withStore { store, _ in
            for queue in ["q", "r"] {
                try await store.configure(queue, QueueConfiguration(limiter: .init(name: "gpu", size: 1)))
            }
            _ = try await store.enqueue("r", payload: [])
            let lease = try #require(try await store.lease(from: "r").first)
            let job = try await enqueue(store, "a")
            #expect(try await store.explain(job)?.reason == .slotsTaken(limiter: "gpu", size: 1))
            async let waiting = store.lease(from: "q", waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.ack(lease)
            #expect(try await waiting.map(\.id) == [job])
        }
    }

    @Test func groupSettingsOutOfBoundsAreRefused() async throws {
        try await withStore { store, _ in
            for wrong in [0, -1, .max] {
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(groupRunningMax: wrong))
                }
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(rate: .init(wrong, per: .seconds(1))))
                }
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(groupRate: .init(wrong, per: .seconds(1))))
                }
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(limiter: .init(name: "l", size: wrong)))
                }
            }
        }
    }
}
