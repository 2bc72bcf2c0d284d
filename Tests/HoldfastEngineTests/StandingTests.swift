import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct StandingTests {
    /// What is ahead of each ready job of `q`, found by leasing everything.
    private func leasedOrder(_ engine: EngineHarness) throws -> [JobID] {
        var copy = engine
        return try copy.lease(10_000).map(\.job)
    }

    @Test(arguments: UInt64(1)...20) func whatIsAheadIsWhatALeaseOfEverythingGetsBefore(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var engine = EngineHarness()
        var leases: [(job: JobID, token: LeaseToken, attempt: UInt32)] = []
        for step in 0..<150 {
            switch random.pick(0...7) {
            case 0...3:
                try engine.enqueue(
                    priority: Int8(random.pick(0...2)), attempts: UInt32(random.pick(3...4)),
                    group: random.pick(from: ["", "a", "b", "c", "d"]),
                    delay: random.chance(1, in: 6) ? Int64(random.pick(1...400)) : nil)
            case 4: leases += try engine.lease(random.pick(1...3))
            case 5:
                if !leases.isEmpty { try engine.requeue(leases.removeFirst(), delay: Int64(random.pick(0...50))) }
            case 6: if !leases.isEmpty { try engine.ack(leases.removeLast()) }
            default: engine.advance(Int64(random.pick(1...100)))
            }
            guard step % 10 == 9 else { continue }
            var state = engine.state
            state.settle(at: engine.now)
            let order = try leasedOrder(engine)
            let lanes = try Dictionary(
                uniqueKeysWithValues: order.map { ($0, try #require(state.standing(of: $0, at: engine.now)).lane) })
            for (index, job) in order.enumerated() {
                let standing = try #require(state.standing(of: job, at: engine.now))
                let ahead = try #require(standing.ahead, "seed \(seed), step \(step), job \(job)")
                let before = order[..<index].compactMap { lanes[$0] }
                #expect(ahead.count == index, "seed \(seed), step \(step), job \(job)")
                let level = before.filter { $0.priority == standing.lane.priority }
                #expect(ahead.older == level.filter { $0.group == standing.lane.group }.count)
                #expect(ahead.otherGroups == level.filter { $0.group != standing.lane.group }.count)
                #expect(
                    ahead.higher.map(\.priority)
                        == Set(before.map(\.priority)).subtracting([standing.lane.priority]).sorted(by: >))
            }
        }
    }

    @Test func eachStateSaysWhatItWaitsFor() throws {
        var engine = EngineHarness()
        let later = try engine.enqueue(delay: 500)
        let dead = try engine.enqueue(attempts: 1)
        try engine.requeue(try engine.lease()[0])
        let leased = try engine.enqueue(priority: 1)
        try engine.lease(1, for: 1000)
        try engine.enqueue(priority: 2)
        let ready = try engine.enqueue()
        func standing(_ job: JobID) -> JobStanding? { engine.state.standing(of: job, at: engine.now) }
        #expect(standing(later)?.state == .scheduled)
        #expect(standing(later)?.until == engine.now.advanced(byMilliseconds: 500))
        #expect(standing(leased)?.state == .leased && standing(leased)?.worker == "w")
        #expect(standing(leased)?.until == engine.now.advanced(byMilliseconds: 1000))
        #expect(standing(dead)?.deadReason == .attemptsUsedUp && standing(dead)?.diedAt == engine.now)
        #expect(standing(ready)?.ahead?.higher.map(\.priority) == [2] && standing(ready)?.isPaused == false)
        #expect(standing(JobID(999)) == nil)
    }

    @Test func aStateThatIsSettledKnowsWhatIsOverdue() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        try engine.lease(1, for: 1000)
        let later = try engine.enqueue(delay: 500)
        engine.advance(1000)
        var state = engine.state
        state.settle(at: engine.now)
        #expect(state.standing(of: job, at: engine.now)?.ahead?.count == 0)
        #expect(state.standing(of: later, at: engine.now)?.ahead?.older == 1)
        #expect(engine.state.standing(of: job, at: engine.now)?.state == .leased)
    }
}
