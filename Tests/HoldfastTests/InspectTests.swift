import Holdfast
import HoldfastBytes
import Testing

@Suite struct InspectTests {
    /// One job in each state, in the order of `JobInfo.State.allCases`.
    private func fill(_ store: JobStore) async throws -> [JobInfo.State: JobID] {
        var ids: [JobInfo.State: JobID] = [:]
        for state in [JobInfo.State.completed, .dead, .leased] {
            ids[state] = try await store.enqueue("q", payload: [1]).id
            let lease = try #require(try await store.lease(from: "q", for: .seconds(600)).first)
            if state == .completed { try await store.ack(lease, result: [9]) }
            if state == .dead { try await store.bury(lease, error: "bad") }
        }
        ids[.cancelled] = try await store.enqueue("q", payload: [2]).id
        try await store.cancel(try #require(ids[.cancelled]))
        var options = EnqueueOptions()
        options.delay = .seconds(60)
        ids[.scheduled] = try await store.enqueue("q", payload: [3], options: options).id
        ids[.ready] = try await store.enqueue("q", payload: [4]).id
        return ids
    }

    @Test func aJobOfEachStateIsShownAndListed() async throws {
        try await withStore { store, _ in
            let ids = try await fill(store)
            for state in JobInfo.State.allCases {
                let id = try #require(ids[state])
                let job = try #require(try await store.job(id))
                #expect(job.state == state)
                #expect(job.id == id)
                #expect(job.payload != nil)
                #expect(job.enqueuedAt == Timestamp(milliseconds: StoreFixture.start))
                let listed = try await store.jobs(JobFilter(state: state))
                #expect(listed.map(\.id) == [id])
                #expect(listed.first?.payload == nil)
                var withoutPayload = job
                withoutPayload.payload = nil
                #expect(listed.first == withoutPayload)
            }
            let all = try await store.jobs()
            #expect(all.map(\.id) == ids.values.sorted())
            #expect(try await store.jobs(JobFilter(queue: "other")).isEmpty)
        }
    }

    @Test func aListGoesOnAfterAnId() async throws {
        try await withStore { store, _ in
            let ids = try await fill(store).values.sorted()
            var listed: [JobID] = []
            while true {
                let page = try await store.jobs(JobFilter(queue: "q", limit: 2, after: listed.last))
                #expect(page.count <= 2)
                if page.isEmpty { break }
                listed += page.map(\.id)
            }
            #expect(listed == ids)
            await expectRefusal(.badRequest) { _ = try await store.jobs(JobFilter(limit: 0)) }
            await expectRefusal(.badRequest) { _ = try await store.jobs(JobFilter(limit: 10_001)) }
            await expectRefusal(.badRequest) { _ = try await store.jobs(JobFilter(queue: "")) }
        }
    }

    @Test func anUnknownJobIsNil() async throws {
        try await withStore { store, _ in
            let ids = try await fill(store)
            #expect(try await store.job(JobID(0)) == nil)
            #expect(try await store.job(JobID(1 << 50)) == nil)
            // The sequence number of a lease.
            #expect(try await store.job(JobID(try #require(ids[.completed]).rawValue + 1)) == nil)
            #expect(try await store.history(of: JobID(1 << 50)).isEmpty)
        }
    }

    @Test func aHistoryHoldsEveryRecordOfItsJobInOrder() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: [1, 2]).id
            _ = try await store.enqueue("q", payload: [])
            var lease = try #require(try await store.lease(from: "q", for: .seconds(1)).first)
            try await store.heartbeat(lease, for: .seconds(1), progress: [5])
            try await store.advanceClock(by: 1_000)
            lease = try #require(try await store.lease(from: "q").first)
            try await store.requeue(lease, after: .zero, error: "e")
            lease = try #require(try await store.lease(from: "q").first)
            try await store.bury(lease)
            try await store.redrive(id)
            try await store.cancel(id)
            let history = try await store.history(of: id)
            #expect(
                history.map(\.kind) == [
                    "enqueue", "lease", "heartbeat", "expire", "lease", "requeue", "lease", "bury", "redrive",
                    "cancel",
                ])
            #expect(history.first?.sequence == id.sequence)
            #expect(history.map(\.sequence) == history.map(\.sequence).sorted())
            #expect(history.last?.time == Timestamp(milliseconds: StoreFixture.start + 1_000))
            #expect(history[5].fields.contains { $0.name == "error" && $0.value == .text("e") })
        }
    }

    @Test func statsCountJobsByQueueAndState() async throws {
        try await withStore { store, _ in
            _ = try await fill(store)
            _ = try await store.enqueue("a", payload: [])
            let stats = try await store.stats()
            #expect(stats.queues.map(\.name) == ["a", "q"])
            let queue = try #require(stats.queues.last)
            #expect([queue.ready, queue.scheduled, queue.leased, queue.dead] == [1, 1, 1, 1])
            #expect(stats.completed == 1)
            #expect(stats.segments > 0)
            #expect(stats.logBytes > 0)
            #expect(stats.sequence.rawValue >= 10)
        }
    }

    @Test func whatWasSubmittedIsSeenByWhatIsSubmittedAfter() async throws {
        try await withStore { store, _ in
            let enqueued = store.submitEnqueue("q", payload: [1])
            let leased = store.submitLease(from: ["q"])
            let stats = store.submitStats()
            let digest = store.submitDigest()
            let id = try await enqueued.value.id
            let lease = try #require(try await leased.value.first)
            #expect(lease.id == id)
            let acked = store.submitAck(lease)
            let job = store.submitJob(id)
            let listed = store.submitJobs(JobFilter())
            let history = store.submitHistory(of: id)
            let cancelled = store.submitCancel(id)
            #expect(try await stats.value.queues.first?.leased == 1)
            #expect(try await digest.value.hex.count == 32)
            try await acked.value
            #expect(try await job.value?.state == .completed)
            #expect(try await listed.value.map(\.state) == [.completed])
            #expect(try await history.value.count == 3)
            await expectRefusal(.invalidState) { try await cancelled.value }
        }
    }
}
