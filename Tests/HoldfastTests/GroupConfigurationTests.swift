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

    @Test func groupSettingsOutOfBoundsAreRefused() async throws {
        try await withStore { store, _ in
            for wrong in [0, -1, .max] {
                await expectRefusal(.badRequest) {
                    try await store.configure("q", QueueConfiguration(groupRunningMax: wrong))
                }
            }
        }
    }
}
