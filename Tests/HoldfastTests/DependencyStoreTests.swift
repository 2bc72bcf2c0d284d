// Jobs that wait for other jobs, in a store: over crashes, checkpoints and compaction, in batches, and as whoever looks
// at them sees them.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct DependencyStoreTests {
    private func after(_ jobs: [JobID], _ failure: DependencyFailure = .wait) -> EnqueueOptions {
        var options = EnqueueOptions()
        options.after = jobs
        options.ifOneFails = failure
        return options
    }

    private func indexed(_ indices: [Int], _ failure: DependencyFailure = .wait) -> EnqueueOptions {
        var options = EnqueueOptions()
        options.afterIndex = indices
        options.ifOneFails = failure
        return options
    }

    private func finish(_ store: JobStore, _ queue: String) async throws {
        for lease in try await store.lease(from: queue, limit: 10_000) { try await store.ack(lease) }
    }

    @Test func aThousandJobsAndWhatComesWhenTheyAreDone() async throws {
        try await withStore { store, _ in
            let members = (0..<1000).map { BatchOperation.enqueue(queue: "part", payload: [UInt8($0 % 251)]) }
            let replies = try await store.batch(
                members + [.enqueue(queue: "end", payload: [], options: indexed(Array(0..<1000), .run))])
            guard case .enqueued(let end) = replies.last, case .enqueued(let first) = replies.first else {
                throw FixtureError(reason: "no job")
            }
            let waiting = try #require(try await store.job(end.id))
            #expect(waiting.state == .scheduled && waiting.dependencies?.pending == 1000)
            #expect(waiting.dependencies?.waitingFor.count == 100 && waiting.dependencies?.waitingFor[0] == first.id)
            let why = try #require(try await store.explain(end.id))
            let words = "waits for jobs \(first.id.rawValue), "
            #expect(why.description.contains(words) && why.description.contains("990 more"))
            let outcome = Task { try await store.outcome(of: end.id) }
            let leases = try await store.lease(from: "part", limit: 1000)
            for lease in leases.dropFirst(10) { try await store.ack(lease) }
            for lease in leases.prefix(9) { try await store.bury(lease) }
            #expect(try await store.lease(from: "end").isEmpty)
            try await store.cancel(leases[9].id)
            let lease = try #require(try await store.lease(from: "end").first)
            let ends = try #require(try await store.job(end.id)?.dependencies)
            #expect((ends.done, ends.dead, ends.cancelled, ends.pending) == (990, 9, 1, 0))
            try await store.ack(lease, result: [1])
            let result = try await outcome.value
            #expect(result.result == [1])
        }
    }

    @Test func whatWaitsIsTheSameAfterCheckpointsCompactionAndReopening() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open { $0.history = .none }
        var hold = EnqueueOptions()
        hold.hold = true
        let end = try await store.enqueue("end", payload: [7], options: hold).id
        var member = EnqueueOptions()
        member.before = end
        for number in 0..<3 { _ = try await store.enqueue("part", payload: [UInt8(number)], options: member) }
        try await store.ack(try #require(try await store.lease(from: "part").first))
        for step in 0..<3 {
            let digest = try await store.digest()
            if step == 1 { _ = try await store.checkpoint() }
            if step == 2 { _ = try await store.compact() }
            try await store.close()
            store = try await fixture.open { $0.history = .none }
            #expect(try await store.digest() == digest)
            let job = try #require(try await store.job(end))
            #expect(job.dependencies?.pending == 2 && job.dependencies?.done == 1 && job.dependencies?.isHeld == true)
        }
        try await store.release(end)
        try await finish(store, "part")
        #expect(try await store.lease(from: "end").first?.payload == [7])
        await expectRefusal(.invalidState) { _ = try await store.enqueue("part", payload: [], options: member) }
        await expectRefusal(.invalidState) { try await store.release(end) }
        await expectRefusal(.notFound) { try await store.release(JobID(1 << 40)) }
        try await store.close()
    }

    @Test func whatHasEndedBeforeCountsAsItEnded() async throws {
        try await withStore { store, _ in
            let jobs = [
                try await store.enqueue("q", payload: []).id, try await store.enqueue("q", payload: []).id,
                try await store.enqueue("q", payload: []).id,
            ]
            try await store.ack(try #require(try await store.lease(from: "q").first))
            try await store.cancel(jobs[1])
            try await store.bury(try #require(try await store.lease(from: "q").first))
            let done = try await store.enqueue("r", payload: [], options: after([jobs[0]])).id
            #expect(try await store.job(done)?.state == .ready)
            #expect(try await store.job(done)?.dependencies?.done == 1)
            for failure in [DependencyFailure.wait, .cancel, .die] {
                await expectRefusal(.invalidState) {
                    _ = try await store.enqueue("r", payload: [], options: after([jobs[1]], failure))
                }
            }
            do throws(JobStoreError) {
                _ = try await store.enqueue("r", payload: [], options: after([jobs[1]]))
            } catch { #expect(error.job == jobs[1]) }
            let runs = try await store.enqueue("r", payload: [], options: after(jobs, .run)).id
            let ends = try #require(try await store.job(runs)?.dependencies)
            #expect((ends.done, ends.dead, ends.cancelled, ends.pending) == (1, 1, 1, 0))
            let patient = try await store.enqueue("r", payload: [], options: after([jobs[2]])).id
            let why = try #require(try await store.explain(patient))
            guard case .waitsFor(let dependencies, let dead) = why.reason else {
                throw FixtureError(reason: "\(why)")
            }
            #expect(dependencies.waitingFor == [jobs[2]] && dead == [jobs[2]])
            #expect(why.description.contains("is dead: redrive it"))
            // A number that is a lease's is no job, and neither is one that nobody has.
            let lease = try #require(try await store.lease(from: "r").first)
            for id in [JobID(lease.token.rawValue), JobID(0), JobID(1 << 40)] {
                await expectRefusal(.notFound) {
                    _ = try await store.enqueue("r", payload: [], options: after([id]))
                }
            }
            // The holder of the key is returned whatever became of what was to be waited for.
            var unique = after([jobs[2]])
            unique.uniqueKey = "k"
            let holder = try await store.enqueue("u", payload: [], options: unique).id
            unique.after = [jobs[1]]
            let again = try await store.enqueue("u", payload: [], options: unique)
            #expect(again.id == holder && again.isDuplicate)
        }
    }

    @Test func whatCompactionHasForgottenCountsAsCompleted() async throws {
        try await withStore({ $0.history = .none }) { store, _ in
            let old = try await store.enqueue("q", payload: []).id
            try await store.cancel(old)
            _ = try await store.checkpoint()
            for _ in 0..<200 { _ = try await store.enqueue("fill", payload: [UInt8](repeating: 1, count: 2000)) }
            _ = try await store.compact()
            let isForgotten = try await store.job(old) == nil
            #expect(isForgotten)
            let job = try await store.enqueue("q", payload: [], options: after([old], .die)).id
            #expect(try await store.job(job)?.state == .ready)
        }
    }

    @Test func aCascadeIsDoneBeforeAnythingElseIsAnswered() async throws {
        try await withStore { store, _ in
            var chain = [try await store.enqueue("q", payload: []).id]
            for number in 0..<50 {
                let options = after([chain[number]], number % 2 == 0 ? .die : .cancel)
                chain.append(try await store.enqueue("q", payload: [], options: options).id)
            }
            let awaited = chain[49]
            let waiter = Task { try await store.outcome(of: awaited) }
            while store.waitingOutcomeCount == 0 { await Task.yield() }
            try await store.bury(try #require(try await store.lease(from: "q").first), error: "no")
            let outcome = try await waiter.value
            #expect(outcome.deadReason == .dependency)
            #expect(outcome.lastError == "job \(chain[48]), which it waited for, failed")
            let last = try #require(try await store.job(chain[50]))
            #expect(last.state == .cancelled)
            let stats = try await store.stats()
            #expect(stats.queues.first?.scheduled == 0 && stats.queues.first?.dead == 26)
            let history = try await store.history(of: chain[49])
            #expect(history.map(\.kind) == ["enqueue", "expire"])
        }
    }

    @Test func aBatchNamesItsOwnJobsByTheirPlaces() async throws {
        try await withStore { store, _ in
            let replies = try await store.batch([
                .enqueue(queue: "q", payload: [1]), .enqueue(queue: "q", payload: [2], options: indexed([0])),
                .enqueue(queue: "q", payload: [3], options: indexed([0, 1])),
            ])
            let ids = replies.compactMap { reply in
                if case .enqueued(let result) = reply { result.id } else { nil }
            }
            for id in ids {
                let lease = try #require(try await store.lease(from: "q", limit: 5).first)
                #expect(lease.id == id)
                try await store.ack(lease)
            }
            for wrong in [1, 5, -1] {
                await expectRefusal(.badRequest, index: 1) {
                    _ = try await store.batch([
                        .enqueue(queue: "q", payload: []), .enqueue(queue: "q", payload: [], options: indexed([wrong])),
                    ])
                }
            }
            await expectRefusal(.badRequest, index: 1) {
                _ = try await store.batch([
                    .effect(scope: "s", key: "k", value: []), .enqueue(queue: "q", payload: [], options: indexed([0])),
                ])
            }
            await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: [], options: indexed([0])) }
            var failing = EnqueueOptions()
            failing.ifOneFails = .die
            await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: [], options: failing) }
            let many = after(Array(repeating: ids[0], count: 10_001))
            await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: [], options: many) }
        }
    }

    @Test func aLeaseThatWaitsIsServedWhenNothingIsLeftToWaitFor() async throws {
        try await withStore { store, _ in
            let first = try await store.enqueue("q", payload: []).id
            let dying = try await store.enqueue("r", payload: [], options: after([first], .die)).id
            let last = try await store.enqueue("s", payload: [], options: after([dying], .run)).id
            let waiting = Task { try await store.lease(from: "s", waitingUpTo: .seconds(3600)) }
            while store.waitingLeaseCount == 0 { await Task.yield() }
            // The second ends because the first did, and that lets the third go on: nobody else asks for anything.
            try await store.bury(try #require(try await store.lease(from: "q").first))
            let leases = try await waiting.value
            #expect(leases.map(\.id) == [last])
        }
    }

    @Test func thePastShowsWhatWasWaitedForThen() async throws {
        try await withStore { store, _ in
            let first = try await store.enqueue("q", payload: []).id
            let job = try await store.enqueue("r", payload: [], options: after([first])).id
            let before = try await store.digest()
            try await finish(store, "q")
            let past = try await store.state(asOf: .sequence(before.sequence))
            #expect(past.digest() == before)
            let shown = try #require(try await past.job(job))
            #expect(shown.state == .scheduled && shown.dependencies?.waitingFor == [first])
            let why = try #require(try await past.explain(job))
            #expect(why.description.contains("waits for job \(first.rawValue)"))
            #expect(try await store.job(job)?.state == .ready)
        }
    }
}
