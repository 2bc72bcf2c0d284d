// Time limits, crashes and final errors as a user of the store meets them.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct AttemptTermsTests {
    @Test func anAttemptEndsAtItsTimeLimitHoweverOftenItBeats() async throws {
        try await withStore { store, fixture in
            var options = EnqueueOptions()
            options.timeLimit = .seconds(10)
            let id = try await store.enqueue("q", payload: [1], options: options).id
            let lease = try #require(try await store.lease(from: "q", for: .seconds(6)).first)
            let end = fixture.clock.wallNow().advanced(byMilliseconds: 10_000)
            #expect(lease.mustEndBy == end && lease.deadline < end)
            fixture.clock.advance(byMilliseconds: 5_000)
            #expect(try await store.heartbeat(lease, for: .seconds(60)) == end)
            #expect(try await store.job(id)?.mustEndBy == end)
            fixture.clock.advance(byMilliseconds: 5_000)
            await expectRefusal(.leaseLost) { try await store.ack(lease) }
            let info = try #require(try await store.job(id))
            #expect(info.state == .ready && info.crashes == 0 && info.lastError == "time limit passed")
            let ends = try await store.history(of: id).filter { $0.kind == "expire" }
            #expect(ends.first?.fields.first?.value == .text("time limit passed"))
            // What has none is as it was.
            _ = try await store.enqueue("plain", payload: [])
            #expect(try await store.lease(from: "plain").first?.mustEndBy == nil)
        }
    }

    @Test func aJobThatKillsItsWorkersIsPoison() async throws {
        try await withStore { store, fixture in
            try await store.configure("q", QueueConfiguration(crashMax: 2))
            let id = try await store.enqueue("q", payload: [1]).id
            for crash in 1...2 {
                #expect(try await store.lease(from: "q", for: .seconds(1)).count == 1)
                fixture.clock.advance(byMilliseconds: 1_000)
                #expect(try await store.job(id)?.crashes == crash)
            }
            let dead = try #require(try await store.jobs(JobFilter(state: .dead)).first)
            #expect(dead.id == id && dead.deadReason == .poison && dead.attempt == 2 && dead.maxAttempts == 5)
            #expect(try await store.explain(id)?.description.contains("without a report") == true)
            try await store.redrive(id)
            #expect(try await store.job(id)?.crashes == 0)
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.bury(lease)
            #expect(try await store.job(id)?.deadReason == .buried)
        }
    }

    @Test func errorsOfAFinalClassAreNotTriedAgain() async throws {
        try await withStore { store, _ in
            var options = EnqueueOptions()
            options.finalErrors = ["gone"]
            options.retry = .fixed(.seconds(7))
            let id = try await store.enqueue("q", payload: [1], options: options).id
            var lease = try #require(try await store.lease(from: "q").first)
            let again = try await store.requeue(lease, error: "later", errorClass: "busy")
            #expect(again.state == .scheduled)
            #expect(try await store.now().advanced(byMilliseconds: 7_000) == again.runAt)
            try await store.cancel(id)
            let other = try await store.enqueue("q", payload: [1], options: options).id
            lease = try #require(try await store.lease(from: "q").first)
            let replies = try await store.batch([
                .requeue(lease.identity, after: .seconds(1), error: "404", errorClass: "gone")
            ])
            guard case .requeued(let outcome) = replies.first else { throw FixtureError(reason: "no outcome") }
            #expect(outcome.state == .dead)
            #expect(try await store.job(other)?.deadReason == .finalError)
            #expect(try await store.history(of: other).last?.fields.contains { $0.name == "error_class" } == true)
        }
    }

    @Test func whatIsOutOfBoundsIsRefused() async throws {
        try await withStore { store, _ in
            let changes: [(inout EnqueueOptions) -> Void] = [
                { $0.timeLimit = .zero }, { $0.timeLimit = .seconds(367 * 86_400) }, { $0.timeLimit = .nanoseconds(1) },
                { $0.crashMax = 0 }, { $0.crashMax = 1_000_001 }, { $0.finalErrors = [""] },
                { $0.finalErrors = (0...16).map { "e\($0)" } }, { $0.retry = .listed([]) },
            ]
            for change in changes {
                var options = EnqueueOptions()
                change(&options)
                await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: [], options: options) }
            }
            for bad in [QueueConfiguration(crashMax: 0), .init(finalErrors: (0...16).map { "e\($0)" })] {
                await expectRefusal(.badRequest) { try await store.configure("q", bad) }
            }
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q").first)
            await expectRefusal(.badRequest) { try await store.requeue(lease, errorClass: "") }
            try await store.ack(lease)
        }
    }

    @Test func allOfItIsThereAfterCrashesCheckpointsAndCompaction() async throws {
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = JobStoreOptions()
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        var terms = EnqueueOptions()
        (terms.timeLimit, terms.crashMax, terms.finalErrors) = (.seconds(100), 3, ["a", "b"])
        terms.retry = .listed([.seconds(1), .seconds(2)])
        try await store.configure("q", QueueConfiguration(crashMax: 7, finalErrors: ["x"]))
        for _ in 0..<3 { _ = try await store.enqueue("q", payload: [1], options: terms) }
        _ = try await store.lease(from: "q", limit: 2, for: .seconds(5))
        clock.advance(byMilliseconds: 5_000)
        let lease = try #require(try await store.lease(from: "q", for: .seconds(50)).first)
        let digest = try await store.digest().hex
        var image = disk.crashImage(.nothingPending)
        for round in 0..<3 {
            options.use(image)
            let again = try await JobStore.open(at: "/store", options: options)
            #expect(try await again.digest().hex == digest, "round \(round)")
            let info = try #require(try await again.job(lease.id))
            #expect(info.crashes == 1 && info.mustEndBy == lease.mustEndBy)
            #expect(try await again.stats().queues.first?.configuration.finalErrors == ["x"])
            if round == 0 { try await again.checkpoint() } else { _ = try await again.compact() }
            try await again.close()
            image = image.crashImage(.nothingPending)
        }
        try await store.close()
    }
}
