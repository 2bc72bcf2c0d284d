import Holdfast
import HoldfastBytes
import Testing

@Suite(.timeLimit(.minutes(10))) struct ExplainTests {
    @Test func eachReasonIsGivenAndTrueAtThatMoment() async throws {
        try await withStore { store, fixture in
            func reason(_ id: JobID) async throws -> JobExplanation.Reason? { try await store.explain(id)?.reason }
            var options = EnqueueOptions()
            options.delay = .seconds(5)
            let late = try await store.enqueue("q", payload: [1], options: options).id
            let leased = try await store.enqueue("q", payload: [2]).id
            let now = try await store.now()
            let lease = try #require(try await store.lease(from: "q", for: .seconds(9), worker: "w").first)
            #expect(lease.id == leased)
            #expect(try await reason(leased) == .leased(worker: "w", until: now.advanced(byMilliseconds: 9000)))
            #expect(try await reason(late) == .delayed(until: now.advanced(byMilliseconds: 5000)))
            let next = try await store.enqueue("q", payload: [3]).id
            #expect(try await reason(next) == .next)
            fixture.clock.advance(byMilliseconds: 5000)
            let behind = try #require(try await store.explain(next))
            #expect(behind.ahead?.older == 1 && behind.ahead?.count == 1, "the delayed job is ready now")
            #expect(behind.description == "job 4 waits behind 1 older one of its own priority and group of queue q")
            try await store.pause("q")
            #expect(try await reason(next) == .paused)
            #expect(try await store.explain(next)?.ahead?.count == 1)
            try await store.resume("q")
            try await store.ack(lease)
            #expect(try await reason(leased) == .completed)
            try await store.cancel(next)
            #expect(try await reason(next) == .cancelled)
            let last = try #require(try await store.lease(from: "q").first)
            try await store.bury(last)
            #expect(try await reason(late) == .dead("it was buried", at: try await store.now()))
            #expect(try await store.explain(JobID(9999)) == nil)
        }
    }
}
