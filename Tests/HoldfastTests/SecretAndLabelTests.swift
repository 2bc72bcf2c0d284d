// Secret payloads, and jobs found by labels and owners.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct SecretAndLabelTests {
    private func options(_ change: (inout EnqueueOptions) -> Void) -> EnqueueOptions {
        var options = EnqueueOptions()
        change(&options)
        return options
    }

    @Test func aSecretIsShownToItsWorkerAlone() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: [1], options: options { $0.isSecret = true }).id
            try await store.edit(id, JobEdit(payload: [2]))
            let hidden = try #require(try await store.job(id))
            #expect(hidden.payload == nil && hidden.isSecret)
            #expect(try await store.job(id, showingSecrets: true)?.payload == [2])
            let past = try await store.state(asOf: .sequence(id.sequence))
            #expect(try await past.job(id)?.payload == nil)
            #expect(try await past.job(id, showingSecrets: true)?.payload == [1])
            var shown: [[UInt8]?] = []
            for try await event in store.events(from: .oldest) {
                shown.append(event.payload)
                if shown.count == 2 { break }
            }
            #expect(shown == [nil, nil])
            let lease = try #require(try await store.lease(from: "q").first)
            #expect(lease.payload == [2] && lease.isSecret)
            try await store.ack(lease)
            #expect(try await store.job(id)?.payload == nil)
            await expectRefusal(.badRequest) {
                _ = try await store.enqueue(
                    "q", payload: [],
                    options: options { ($0.isSecret, $0.uniqueKey, $0.onCollision) = (true, "k", .replace) })
            }
        }
    }

    @Test func jobsAreListedByLabelAndOwnerAlsoWhenTheyHaveEnded() async throws {
        try await withStore { store, _ in
            var ids: [JobID] = []
            for tenant in ["a", "b", "a", "a"] {
                let options = options { ($0.labels, $0.owner) = (["tenant": tenant], ids.count < 2 ? "me" : nil) }
                ids.append(try await store.enqueue("q", payload: [], options: options).id)
            }
            var filter = JobFilter()
            filter.labels = ["tenant": "a"]
            #expect(try await store.jobs(filter).map(\.id) == [ids[0], ids[2], ids[3]])
            let lease = try #require(try await store.lease(from: "q").first)
            #expect(lease.labels == ["tenant": "a"] && lease.owner == "me")
            try await store.ack(lease)
            try await store.cancel(ids[2])
            #expect(try await store.jobs(filter).map(\.state) == [.completed, .cancelled, .ready])
            filter.state = .completed
            #expect(try await store.jobs(filter).map(\.id) == [ids[0]])
            (filter.state, filter.labels, filter.owner) = (nil, [:], "me")
            let mine = try await store.jobs(filter)
            #expect(mine.map(\.id) == [ids[0], ids[1]] && mine.map(\.owner) == ["me", "me"])
            filter.labels = ["tenant": "b"]
            #expect(try await store.jobs(filter).map(\.labels) == [["tenant": "b"]])
            let past = try await store.state(asOf: .sequence(ids[3].sequence))
            #expect(try await past.jobs(JobFilter(state: .ready)).count == 4)
            filter.owner = nil
            #expect(try await past.jobs(filter).map(\.id) == [ids[1]])
        }
    }

    @Test func allJobsWithALabelAreCancelledAndOthersLeft() async throws {
        try await withStore { store, fixture in
            let mine = options { $0.labels = ["tenant": "a"] }
            for number in 0..<2_100 {
                let options = number % 7 == 0 ? EnqueueOptions() : mine
                _ = try await store.enqueue(number % 2 == 0 ? "q" : "r", payload: [], options: options)
            }
            let lease = try #require(try await store.lease(from: "r").first)
            await expectRefusal(.badRequest) { _ = try await store.cancelJobs() }
            await expectRefusal(.badRequest) { _ = try await store.cancelJobs(queue: "q") }
            #expect(try await store.cancelJobs(owner: "nobody").count == 0)
            let inQueue = try await store.cancelJobs(labels: ["tenant": "a"], queue: "q")
            #expect(inQueue.ready == 900 && inQueue.count == 900)
            #expect(try await store.cancelJobs(labels: ["tenant": "a"]).count == 899)
            try await store.ack(lease)
            #expect(try await store.stats().queues.map(\.ready) == [150, 150])
            try await store.close()
            let again = try await fixture.open()
            var filter = JobFilter(state: .ready)
            filter.labels = ["tenant": "a"]
            #expect(try await again.jobs(filter).isEmpty)
            try await again.close()
        }
    }

    @Test func labelsOutOfBoundsAreRefused() async throws {
        try await withStore { store, _ in
            let many = Dictionary(uniqueKeysWithValues: (0...16).map { ("l\($0)", "v") })
            let long = String(repeating: "n", count: 256)
            for labels in [many, ["": "v"], ["l": ""], [long: "v"], ["l": long]] {
                await expectRefusal(.badRequest) {
                    _ = try await store.enqueue("q", payload: [], options: options { $0.labels = labels })
                }
            }
            await expectRefusal(.badRequest) {
                _ = try await store.enqueue("q", payload: [], options: options { $0.owner = "" })
            }
        }
    }

    @Test func labelsSurviveCompactionAndAClosedStore() async throws {
        try await withStore({ $0.history = .none }) { store, fixture in
            let mine = options { ($0.labels, $0.owner) = (["tenant": "a"], "me") }
            let id = try await store.enqueue("q", payload: [], options: mine).id
            for _ in 0..<20 { try await store.cancel(try await store.enqueue("q", payload: []).id) }
            let digest = try await store.digest().hex
            _ = try await store.compact(proving: true)
            try await store.close()
            let again = try await fixture.open { $0.history = .none }
            var filter = JobFilter()
            filter.owner = "me"
            #expect(try await again.jobs(filter).map(\.id) == [id])
            #expect(try await again.digest().hex == digest)
            try await again.close()
        }
    }
}
