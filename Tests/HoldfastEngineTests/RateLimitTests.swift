// How often jobs of a queue may be leased, and slots that queues share.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct RateLimitTests {
    private func configured(_ sharing: SharingSettings, queues: [String] = ["q"]) throws -> EngineHarness {
        var engine = EngineHarness()
        for queue in queues { try engine.run(.configure(QueueSettings(queue: queue, sharing: sharing))) }
        return engine
    }

    private func rate(_ count: Int, per milliseconds: Int64, burst: Int) -> SharingSettings {
        SharingSettings(rate: RateLimit(count: count, periodMilliseconds: milliseconds, burst: burst))
    }

    @Test func noMoreAreLeasedThanTheRateLets() throws {
        var engine = try configured(rate(2, per: 1000, burst: 3))
        for _ in 0..<20 { try engine.enqueue() }
        #expect(try engine.lease(9).count == 3 && engine.lease(1).isEmpty)
        #expect(!engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        let next = engine.now.advanced(byMilliseconds: 500)
        #expect(engine.state.nextDeadline(after: engine.now) == next)
        #expect(engine.state.standing(of: JobID(9), at: engine.now)?.heldBy == .rate(until: next))
        engine.advance(499)
        #expect(try engine.lease(9).isEmpty)
        engine.advance(1)
        #expect(engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(engine.state.nextDeadline(after: engine.now) ?? .max > engine.now)
        #expect(try engine.lease(9).count == 1)
        // Settling a job gives nothing back; a long while gives no more than may be leased at once.
        engine.advance(20_000)
        #expect(try engine.lease(9, for: 100_000).count == 3)
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
        #expect(try engine.restored().nextDeadline(after: engine.now) == engine.state.nextDeadline(after: engine.now))
    }

    @Test func aRateThatDoesNotDivideLosesNothing() throws {
        // Three in a second: after 100 seconds of asking each millisecond, 300 and the first at once.
        var engine = try configured(rate(3, per: 1000, burst: 1))
        for _ in 0..<40 { try engine.enqueue() }
        var count = 0
        for _ in 0..<1000 {
            count += try engine.lease(9, for: 1_000_000).count
            engine.advance(10)
        }
        #expect(count == 30)
    }

    @Test func aRateSetAnewBeginsFull() throws {
        var engine = try configured(rate(1, per: 60_000, burst: 1))
        for _ in 0..<9 { try engine.enqueue() }
        #expect(try engine.lease(9).count == 1 && engine.lease(9).isEmpty)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: rate(1, per: 60_000, burst: 2))))
        #expect(try engine.lease(9).count == 2)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(rate: RateLimit.none))))
        #expect(try engine.lease(9).count == 6 && engine.state.nextDeadline(after: .max) != nil)
    }

    @Test func largeRatesDoNotOverflow() throws {
        let limit = RateLimit(
            count: RateLimit.countMax, periodMilliseconds: RateLimit.periodMax, burst: RateLimit.countMax)
        var engine = try configured(SharingSettings(rate: limit))
        engine.now = Timestamp(milliseconds: Timestamp.max.milliseconds - 1_000_000)
        for _ in 0..<3 { try engine.enqueue() }
        #expect(try engine.lease(2).count == 2 && engine.lease(2).count == 1)
    }

    @Test func queuesShareSlots() throws {
        var engine = try configured(
            SharingSettings(limiter: SharedLimiter(name: "gpu", size: 3)), queues: ["q", "r"])
        for _ in 0..<3 {
            try engine.enqueue("q")
            try engine.enqueue("r")
            try engine.enqueue("other")
        }
        let leases = try engine.lease(4, from: ["q", "r", "other"])
        #expect(leases.count == 4)
        #expect(engine.state.queueCounts(at: engine.now).map(\.counts.leased) == [1, 3, 0])
        try engine.ack(leases[0])
        #expect(try engine.lease(9, from: ["r", "q"]).count == 1)
        #expect(engine.state.waitingLeasable(queues: ["q", "r"], at: engine.now) == false)
        let last = try engine.enqueue("r")
        #expect(
            engine.state.standing(of: last, at: engine.now)?.heldBy == .slots(SharedLimiter(name: "gpu", size: 3)))
        // A queue that leaves the others has slots of its own, and leaves them theirs.
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(limiter: SharedLimiter.none))))
        #expect(try engine.lease(9, from: ["r"]).count == 2)
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
    }

    @Test func impossibleLimitsAreCorrupt() throws {
        for sharing in [
            SharingSettings(rate: RateLimit(count: 1, periodMilliseconds: 0, burst: 1)),
            SharingSettings(rate: RateLimit(count: 1, periodMilliseconds: 1, burst: 0)),
            SharingSettings(limiter: SharedLimiter(name: "", size: 1)),
        ] {
            var engine = EngineHarness()
            #expect(code { try engine.append(.queueSettings(QueueSettings(queue: "q", sharing: sharing))) } == .corrupt)
        }
    }
}
