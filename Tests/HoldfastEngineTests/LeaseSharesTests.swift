// Leases from several queues by weight.

import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct LeaseSharesTests {
    /// Leases by weight, one call after the other, as a store does.
    private struct Caller {
        var engine = EngineHarness()
        let queues: [String]
        var turns: LeaseTurns

        init(_ queues: [String], weights: [Int]) {
            self.queues = queues
            turns = LeaseTurns(weights: weights)
        }

        mutating func lease(_ limit: Int) throws -> [LeaseGrant] {
            let reply = try engine.run(
                .lease(queues: queues, limit: limit, milliseconds: 600_000, worker: "", turns: turns))
            guard case .leased(let grants) = reply else { return [] }
            for grant in grants { turns.serve(queues.firstIndex(of: grant.lane.queue) ?? 0) }
            return grants
        }
    }

    @Test(arguments: [1, 2, 7, 40])
    func longRunSharesAreTheWeights(_ limit: Int) throws {
        var caller = Caller(["a", "b", "c"], weights: [5, 3, 1])
        var counts = ["a": 0, "b": 0, "c": 0]
        for _ in 0..<400 { for queue in caller.queues { try caller.engine.enqueue(queue) } }
        var total = 0
        while total < 700 {
            let grants = try caller.lease(min(limit, 700 - total))
            #expect(!grants.isEmpty)
            for grant in grants {
                counts[grant.lane.queue, default: 0] += 1
                total += 1
                for (queue, weight) in zip(caller.queues, [5, 3, 1]) where counts["a"]! < 400 {
                    // At any point, not only in the end.
                    let error = abs(Double(counts[queue] ?? 0) - Double(total * weight) / 9)
                    #expect(error <= 2, "\(queue) had \(counts[queue] ?? 0) of \(total)")
                }
            }
        }
    }

    @Test func aBatchIsWhatSingleLeasesWouldBe() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<30 {
            var (one, many) = (
                Caller(["a", "b", "c"], weights: [3, 1, 2]), Caller(["a", "b", "c"], weights: [3, 1, 2])
            )
            for _ in 0..<random.pick(0...30) {
                let (queue, priority) = (random.pick(from: ["a", "b", "c"]), Int8(random.pick(0...1)))
                try one.engine.enqueue(queue, priority: priority)
                try many.engine.enqueue(queue, priority: priority)
            }
            var singles: [JobID] = []
            for _ in 0..<12 { singles += try one.lease(1).map(\.job) }
            #expect(try many.lease(12).map(\.job) == singles)
            #expect(one.turns == many.turns)
        }
    }

    @Test func turnsThatNobodyTakesGoToTheOthers() throws {
        var caller = Caller(["a", "b"], weights: [1, 9])
        for _ in 0..<20 { try caller.engine.enqueue("a") }
        #expect(try caller.lease(10).count == 10)
        // What `b` missed is not made up for: it gets its share from now on.
        for _ in 0..<40 { try caller.engine.enqueue("b") }
        let next = try caller.lease(20).map(\.lane.queue)
        #expect((1...2).contains(next.count { $0 == "a" }), "\(next)")
        #expect(try caller.lease(99).count == 30)
        #expect(try caller.engine.lease(1, from: ["a", "b"]).isEmpty)
        #expect(try caller.lease(1).isEmpty)
    }

    @Test func noQueueWaitsForLongerThanItsWeightSays() throws {
        var caller = Caller(["a", "b"], weights: [1, 1000])
        for _ in 0..<3 { try caller.engine.enqueue("a") }
        for _ in 0..<2500 { try caller.engine.enqueue("b") }
        let order = try caller.lease(2102).map(\.lane.queue)
        let places = order.indices.filter { order[$0] == "a" }
        #expect(places.count == 3 && places[2] <= 2003, "\(places)")
    }

    @Test func limitsOfQueuesHold() throws {
        var caller = Caller(["a", "b", "c"], weights: [1, 1, 1])
        let shared = SharingSettings(limiter: SharedLimiter(name: "l", size: 3))
        for queue in ["a", "b"] { try caller.engine.run(.configure(QueueSettings(queue: queue, sharing: shared))) }
        try caller.engine.run(.configure(QueueSettings(queue: "c", runningMax: 2)))
        for _ in 0..<5 { for queue in caller.queues { try caller.engine.enqueue(queue) } }
        let leased = try caller.lease(20).map(\.lane.queue)
        #expect(leased.count == 5 && leased.count { $0 == "c" } == 2)
        #expect(Set(leased) == ["a", "b", "c"])
        try caller.engine.run(.setPaused(queue: "c", true))
        #expect(try caller.lease(20).isEmpty)
    }

    @Test func distancesStayBounded() {
        var turns = LeaseTurns(weights: [1, 1000, 3])
        var random = SeededRandom(seed: 3)
        var counts = [0, 0, 0]
        for _ in 0..<100_400 {
            let next = turns.next { _ in true }
            turns.serve(next ?? 0)
            counts[next ?? 0] += 1
        }
        #expect((99...101).contains(counts[0]) && (298...302).contains(counts[2]), "\(counts)")
        // Whoever is ready at random gets a turn.
        for _ in 0..<1000 {
            let ready = random.pick(0...2)
            #expect(turns.next { $0 == ready } == ready)
            turns.serve(ready)
        }
        #expect(turns.next { _ in false } == nil)
    }
}
