// Priorities that age, and what is known of when jobs were enqueued.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastEngine

@Suite struct AgeingTests {
    private func configured(_ ageing: Int64?) throws -> EngineHarness {
        var engine = EngineHarness()
        if let ageing { try engine.run(.configure(QueueSettings(queue: "q", ageing: ageing))) }
        return engine
    }

    /// How long a job of priority 0 waits, in milliseconds, while there is always one of priority 2.
    private func wait(_ engine: inout EngineHarness, limit: Int = 1) throws -> Int64? {
        let low = try engine.enqueue(priority: 0)
        let start = engine.now
        for _ in 0..<100 {
            for _ in 0...limit { try engine.enqueue(priority: 2) }
            let leases = try engine.lease(limit)
            #expect(leases.count == limit)
            for lease in leases { try engine.ack(lease) }
            if leases.contains(where: { $0.job == low }) { return engine.now.milliseconds - start.milliseconds }
            engine.advance(100)
        }
        return nil
    }

    @Test func aLowPriorityWaitsForItsStepsAtMost() throws {
        var strict = try configured(nil)
        #expect(try wait(&strict) == nil)
        for limit in [1, 5] {
            var engine = try configured(1000)
            // The job at the head of the others is up to 100 leases of waiting old itself, and ages, too.
            let waited = try #require(try wait(&engine, limit: limit))
            #expect((2000...9900).contains(waited), "\(waited) ms")
            engine.state.checkInvariants()
        }
    }

    @Test func whoeverWaitedLongerComesFirstByItsSteps() throws {
        var engine = try configured(1000)
        let low = try engine.enqueue(priority: 0)
        engine.advance(2000)
        let high = try engine.enqueue(priority: 2)
        // As far as each other: the higher priority comes first.
        #expect(engine.state.standing(of: low, at: engine.now)?.ahead?.count == 1)
        engine.advance(999)
        #expect(engine.state.standing(of: high, at: engine.now)?.ahead?.count == 0)
        let restored = try engine.restored()
        #expect(restored.table.queues[try #require(restored.table.queue("q"))].times != nil)
        engine.advance(1)
        // Both have grown by the same since.
        #expect(try engine.lease().map(\.job) == [high])
        let higher = try engine.enqueue(priority: 2)
        engine.advance(5)
        #expect(engine.state.standing(of: higher, at: engine.now)?.ahead?.higher.map(\.priority) == [0])
        #expect(try engine.lease(2).map(\.job) == [low, higher])
    }

    @Test func restoredAndReplayedStoresChooseAlike() throws {
        var random = SeededRandom(seed: 11)
        var engine = try configured(50)
        for _ in 0..<600 {
            try engine.enqueue(priority: Int8(random.pick(-3...3)), group: random.pick(from: ["", "a", "b"]))
            engine.advance(Int64(random.pick(0...40)))
            if random.chance(1, in: 3) { _ = try engine.lease(random.pick(1...3), for: 600_000) }
        }
        var restored = engine
        restored.state = try engine.restored()
        var replayed = engine
        replayed.state = try engine.replayed()
        #expect(image(of: restored.state) == image(of: engine.state))
        #expect(image(of: replayed.state) == image(of: engine.state))
        for _ in 0..<100 {
            engine.advance(33)
            restored.advance(33)
            replayed.advance(33)
            let jobs = try engine.lease(2, for: 600_000).map(\.job)
            #expect(try restored.lease(2, for: 600_000).map(\.job) == jobs)
            #expect(try replayed.lease(2, for: 600_000).map(\.job) == jobs)
        }
    }

    @Test func jobsThatWaitedBeforeAgeFromWhenItWasSet() throws {
        var engine = EngineHarness()
        let low = try engine.enqueue(priority: 0)
        engine.advance(100_000)
        try engine.run(.configure(QueueSettings(queue: "q", ageing: 1000)))
        let high = try engine.enqueue(priority: 1)
        #expect(try engine.lease().map(\.job) == [high])
        engine.advance(3000)
        try engine.enqueue(priority: 1)
        #expect(try engine.lease().map(\.job) == [low])
        try engine.run(.configure(QueueSettings(queue: "q", ageing: 0)))
        engine.state.checkInvariants()
    }

    @Test func timesAreTrueToASixteenthAndTheirSamplesBounded() throws {
        var times = EnqueueTimes()
        #expect(times.time(of: 1) == nil)
        let count: UInt64 = 200_000
        for job in 1...count { times.note(job, at: Timestamp(milliseconds: Int64(job) * 10)) }
        #expect(times.tiers.count <= 16 && times.tiers.allSatisfy { $0.count <= EnqueueTimes.samplesMax })
        #expect(times.isInOrder(upTo: count, at: Timestamp(milliseconds: Int64(count) * 10)))
        var job = count
        while job > 0 {
            let (age, known) = (Int64(count - job) * 10, times.time(of: job)?.milliseconds ?? 0)
            let error = known - Int64(job) * 10
            #expect(error >= 0 && error <= age / 12 + 10, "\(age) ms ago was off by \(error)")
            job -= min(job, max(1, (count - job) / 3))
        }
    }

    @Test func nobodyIsAsOldAsThePauseBeforeIt() throws {
        var times = EnqueueTimes()
        let pause: Int64 = 10 * 86_400_000
        let half: UInt64 = 2000
        func time(_ job: UInt64) -> Int64 { Int64(job) * 10 + (job > half ? pause : 0) }
        for job in 1...(2 * half) {
            times.note(job, at: Timestamp(milliseconds: time(job)))
            for known in stride(from: half + 1, through: job, by: 7) {
                let found = try #require(times.time(of: known))
                #expect(found.milliseconds >= time(known), "job \(known) at \(job)")
            }
        }
        let last = times.time(of: 2 * half)
        #expect(last?.milliseconds == time(2 * half) && times.time(of: 2 * half + 9) == last)
    }

    @Test func impossibleStepsAreCorrupt() throws {
        var engine = EngineHarness()
        let settings = QueueSettings(queue: "q", ageing: QueueTerms.ageingMax + 1)
        #expect(code { try engine.append(.queueSettings(settings)) } == .corrupt)
    }
}
