// How many jobs of a group run at once, and in which order.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct GroupTermsTests {
    private func configured(_ sharing: SharingSettings, runningMax: Int? = nil) throws -> EngineHarness {
        var engine = EngineHarness()
        try engine.run(.configure(QueueSettings(queue: "q", runningMax: runningMax, sharing: sharing)))
        return engine
    }

    private func held(_ engine: EngineHarness) -> Int { engine.state.heldCount(of: "q") }

    @Test func aGroupRunsNoMoreJobsThanItMay() throws {
        var engine = try configured(SharingSettings(groupRunningMax: 2))
        for group in ["a", "a", "a", "b", "", "", ""] { try engine.enqueue(group: group) }
        #expect(try engine.lease(9).map(\.job.rawValue).sorted() == [2, 3, 5, 6, 7, 8])
        #expect(held(engine) == 1 && !engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(try engine.lease(1).isEmpty)
        #expect(engine.state.standing(of: JobID(4), at: engine.now)?.heldBy == .running(max: 2))
        // A lease that nobody reports ends, and its place is free.
        engine.advance(30_000)
        #expect(try engine.lease(9).count { $0.job < JobID(5) } == 2)
        #expect(try engine.replayed().digest() == engine.state.digest())
    }

    @Test func aGroupIsOneOverAllPriorities() throws {
        var engine = try configured(SharingSettings(groupRunningMax: 1))
        try engine.enqueue(priority: 5, group: "a")
        try engine.enqueue(group: "a")
        try engine.enqueue(priority: -5, group: "b")
        #expect(try engine.lease(9).map(\.job.rawValue) == [2, 4])
        #expect(held(engine) == 1)
    }

    @Test func manyLeasesOfOneAndOneOfManyGetTheSame() throws {
        for sharing in [
            SharingSettings(groupRunningMax: 2), SharingSettings(order: .strict),
            SharingSettings(groupRunningMax: 3, order: .parking),
        ] {
            var engine = try configured(sharing)
            for number in 0..<40 {
                try engine.enqueue(priority: Int8(number % 3), group: ["a", "b", "", "c"][number * 7 % 4])
            }
            var other = engine
            let many = try engine.lease(30).map(\.job)
            var single: [JobID] = []
            while let lease = try other.lease(1).first, single.count < 30 { single.append(lease.job) }
            #expect(many == single && !many.isEmpty)
            #expect(engine.state.digest() == other.state.digest())
        }
    }

    @Test func aLimitThatIsSetLaterCountsWhatRunsAlready() throws {
        var engine = EngineHarness()
        for _ in 0..<4 { try engine.enqueue(group: "a") }
        _ = try engine.lease(2)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRunningMax: 1))))
        #expect(try engine.lease(9).isEmpty)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRunningMax: 3))))
        #expect(try engine.lease(9).count == 1)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRunningMax: 0))))
        #expect(try engine.lease(9).count == 1 && held(engine) == 0)
    }

    @Test func strictOrderWaitsForAFailedJobAndNotForADeadOne() throws {
        var engine = try configured(SharingSettings(order: .strict))
        try engine.enqueue(group: "a")
        try engine.enqueue(priority: 9, group: "a")
        try engine.enqueue(group: "b")
        #expect(engine.state.standing(of: JobID(3), at: engine.now)?.heldBy == .order(behind: JobID(2)))
        let leases = try engine.lease(9)
        #expect(leases.map(\.job.rawValue) == [2, 4])
        #expect(engine.state.standing(of: JobID(3), at: engine.now)?.heldBy == .order(behind: JobID(2)))
        try engine.requeue(leases[0], delay: 1000)
        #expect(try engine.lease(9).isEmpty && held(engine) == 1)
        #expect(engine.state.standing(of: JobID(3), at: engine.now)?.heldBy == .order(behind: JobID(2)))
        engine.advance(1000)
        let again = try #require(try engine.lease(9).first)
        #expect(again.job == JobID(2) && again.attempt == 2)
        try engine.run(.bury(job: again.job, token: again.token, reason: .buried, error: nil))
        let next = try #require(try engine.lease(9).first)
        #expect(next.job == JobID(3))
        // One that is redriven comes first again.
        try engine.run(.redrive(job: again.job))
        #expect(try engine.lease(9).isEmpty)
        try engine.ack(next)
        #expect(try engine.lease(9).map(\.job.rawValue) == [2])
        #expect(try engine.replayed().digest() == engine.state.digest())
    }

    @Test func aParkedJobLetsOthersOfItsGroupGoOn() throws {
        var engine = try configured(SharingSettings(order: .parking))
        for _ in 0..<3 { try engine.enqueue(group: "a") }
        try engine.requeue(try #require(try engine.lease(9).first), delay: 1000)
        let second = try #require(try engine.lease(9).first)
        #expect(second.job == JobID(3))
        engine.advance(1000)
        #expect(try engine.lease(9).isEmpty && held(engine) == 2)
        try engine.ack(second)
        #expect(try engine.lease(9).map(\.job.rawValue) == [2])
    }

    @Test func anImageKeepsWhatGroupsMayRun() throws {
        var engine = try configured(SharingSettings(groupRunningMax: 1, order: .strict))
        for number in 0..<6 { try engine.enqueue(priority: Int8(number % 2), group: number < 4 ? "a" : "b") }
        try engine.requeue(try #require(try engine.lease(1).first), delay: 1000)
        _ = try engine.lease(1)
        var writer = ByteWriter()
        engine.state.encodeImage(into: &writer)
        let restored = try QueueState(image: writer.bytes)
        restored.checkInvariants()
        #expect(restored.digest() == engine.state.digest())
        #expect(restored.heldCount(of: "q") == held(engine) && held(engine) == 4)
        #expect(restored.terms(of: "q").sharing.order == .strict)
    }
}
