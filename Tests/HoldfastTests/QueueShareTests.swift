import Holdfast
import HoldfastBytes
import Testing

@Suite(.timeLimit(.minutes(10))) struct QueueShareTests {
    private let shares = [QueueShare("mail", weight: 3), QueueShare("sms", weight: 1)]

    private func fill(_ store: JobStore, _ queues: [String] = ["mail", "sms"], count: Int = 40) async throws {
        for _ in 0..<count { for queue in queues { _ = try await store.enqueue(queue, payload: []) } }
    }

    @Test func queuesShareByWeightOverManyCalls() async throws {
        try await withStore { store, _ in
            try await fill(store)
            var queues: [String] = []
            for _ in 0..<8 { queues += try await store.lease(from: shares).map(\.queue) }
            queues += try store.blocking.lease(from: shares, limit: 8).map(\.queue)
            for _ in 0..<4 {
                let lease = try #require(try await store.lease(from: shares).first)
                queues.append(lease.queue)
                queues += try await store.ack(lease, thenLease: NextLease(from: shares, limit: 3)).map(\.queue)
            }
            #expect(queues.count == 32 && queues.count { $0 == "mail" } == 24, "\(queues)")
            for start in stride(from: 0, to: 32, by: 4) {
                #expect(queues[start..<start + 4].count { $0 == "sms" } == 1, "\(queues)")
            }
            // Other weights, and other queues, have turns of their own; in order is as it was.
            let even = [QueueShare("sms"), QueueShare("mail")]
            #expect(try await store.lease(from: even, limit: 2).map(\.queue) == ["sms", "mail"])
            #expect(try await store.lease(from: ["mail", "sms"], limit: 3).map(\.queue) == ["mail", "mail", "mail"])
        }
    }

    @Test func anEmptyQueueLeavesItsTurnsToTheOthers() async throws {
        try await withStore { store, _ in
            try await fill(store, ["sms"], count: 5)
            #expect(try await store.lease(from: shares, limit: 9).count == 5)
            #expect(try await store.lease(from: shares, limit: 9).isEmpty)
        }
    }

    @Test func leasesThatWaitShare() async throws {
        try await withStore { store, _ in
            var queues: [String] = []
            for number in 0..<16 {
                try await store.pause("mail")
                try await store.pause("sms")
                if number == 0 { try await fill(store) }
                let task = Task { [shares] in try await store.lease(from: shares, waitingUpTo: .seconds(3600)) }
                while store.waitingLeaseCount == 0 { await Task.yield() }
                // While one queue is paused, its turns go to the other.
                try await store.resume(number == 3 ? "sms" : "mail")
                queues += try await task.value.map(\.queue)
                try await store.resume("mail")
                try await store.resume("sms")
                queues += try await store.lease(from: shares, waitingUpTo: .seconds(1)).map(\.queue)
            }
            #expect(queues.count == 32 && queues[6] == "sms")
            #expect(queues.count { $0 == "sms" } >= 7)
        }
    }

    @Test func impossibleSharesAreRefused() async throws {
        try await withStore { store, _ in
            let impossible: [[QueueShare]] = [
                [], [QueueShare("q", weight: 0)], [QueueShare("q", weight: 1001)], [QueueShare("q"), QueueShare("q")],
                [QueueShare("")], (0..<257).map { QueueShare("q\($0)") },
            ]
            for shares in impossible {
                await expectRefusal(.badRequest) { _ = try await store.lease(from: shares) }
            }
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q").first)
            var next = NextLease(from: ["q", "r"])
            next.weights = [1]
            await expectRefusal(.badRequest) { _ = try await store.ack(lease, thenLease: next) }
            try await store.ack(lease)
        }
    }

    @Test func manyListsOfQueuesAreForgotten() async throws {
        try await withStore { store, _ in
            try await fill(store, count: 2100)
            for number in 0..<1100 {
                let weights = (1 + number % 1000, 1 + number / 1000)
                let shares = [QueueShare("mail", weight: weights.0), QueueShare("sms", weight: weights.1)]
                #expect(try await store.lease(from: shares).count == 1)
            }
        }
    }
}
