// Groups that weigh more than others.

import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct WeightTests {
    private func group(of job: JobID, in engine: EngineHarness) -> String {
        engine.state.status(of: job)?.lane.group ?? "?"
    }

    @Test func groupsShareByWeight() throws {
        var engine = EngineHarness()
        let weights: [(String, UInt32)] = [("a", 1), ("b", 2), ("c", 5)]
        for (name, weight) in weights {
            for _ in 0..<100 { try engine.enqueue(group: name, weight: weight) }
        }
        var counts: [String: Int] = [:]
        for _ in 0..<80 { counts[group(of: try engine.lease()[0].job, in: engine), default: 0] += 1 }
        #expect(counts == ["a": 10, "b": 20, "c": 50])
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
    }

    @Test func whatOneGroupLeavesTheOthersTake() throws {
        var engine = EngineHarness()
        for _ in 0..<3 { try engine.enqueue(group: "heavy", weight: 1000) }
        for _ in 0..<9 { try engine.enqueue(group: "light") }
        #expect(try engine.lease(12).count == 12)
    }

    @Test(arguments: [UInt32(1), 10, 1000]) func aSingleJobWaitsForOneLeaseMore(weight: UInt32) throws {
        var engine = EngineHarness()
        for _ in 0..<50 { try engine.enqueue(group: "noisy", weight: weight) }
        for number in 0..<20 {
            // Whenever it comes, and whatever the group leased before.
            for _ in 0..<(number % 3) { _ = try engine.lease() }
            let job = try engine.enqueue(group: "g\(number)")
            let next = [try engine.lease()[0].job, try engine.lease()[0].job]
            #expect(next.contains(job), "job \(number)")
        }
    }

    @Test(arguments: UInt64(0)..<30) func oneLeaseOfManyTakesWhatManyLeasesOfOneTake(seed: UInt64)
        throws
    {
        var random = SeededRandom(seed: seed)
        var one = EngineHarness()
        for _ in 0..<40 {
            for _ in 0..<random.pick(1...6) {
                let group = random.pick(from: ["", "a", "b", "c", "d"])
                try one.enqueue(
                    priority: Int8(random.pick(0...1)), attempts: UInt32(random.pick(4...6)), group: group,
                    weight: group.isEmpty ? 1 : random.pick(from: [1, 1, 2, 3, 1000]))
            }
            let limit = random.pick(2...9)
            var many = one
            let together = try many.lease(limit)
            var apart: [JobID] = []
            for _ in 0..<limit { apart += try one.lease().map(\.job) }
            #expect(together.map(\.job) == apart, "seed \(seed)")
            #expect(many.state.digest() == one.state.digest(), "seed \(seed)")
            for lease in together where random.chance(1, in: 2) { try one.ack(lease) }
            if random.chance(1, in: 4) { one.state = try one.restored() }
        }
    }

    @Test func aJobKeepsItsWeight() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 1, group: "g", weight: 7)
        try engine.requeue(try engine.lease()[0])
        try engine.run(.redrive(job: job))
        #expect(try engine.restored().status(of: job)?.lane.weight == 7)
        try engine.requeue(try engine.lease()[0])
        #expect(
            engine.state.status(of: job)?.lane == Lane(queue: "q", maxAttempts: 1, group: "g", weight: 7))
    }

    @Test func aWeightWithoutAGroupOrOutOfBoundsIsCorrupt() throws {
        for lane in [Lane(queue: "q", weight: 2), Lane(queue: "q", group: "g", weight: 1001)] {
            var engine = EngineHarness()
            #expect(code { try engine.append(.enqueue(Enqueue(lane: lane))) } == .corrupt)
        }
    }

    @Test func whatIsAheadOfAJobIsWhatALeaseOfEverythingGetsBefore() throws {
        var engine = EngineHarness()
        for (name, weight) in [("a", UInt32(1)), ("b", 2), ("c", 5)] {
            for _ in 0..<20 { try engine.enqueue(group: name, weight: weight) }
        }
        _ = try engine.lease(7)
        var copy = engine
        for (index, lease) in try copy.lease(100).enumerated() {
            #expect(engine.state.standing(of: lease.job, at: engine.now)?.ahead?.count == index)
        }
    }
}
