import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct GroupSharingTests {
    /// The groups of the jobs that one lease gets.
    private func leasedGroups(_ engine: inout EngineHarness) throws -> [String] {
        let jobs = try engine.lease().map(\.job)
        return jobs.map { engine.state.status(of: $0)?.lane.group ?? "?" }
    }

    @Test func groupsShareInTurnHoweverMuchEachHasWaiting() throws {
        var engine = EngineHarness()
        for _ in 0..<6 { try engine.enqueue(group: "big") }
        for _ in 0..<2 { try engine.enqueue(group: "small") }
        try engine.enqueue()
        var order: [String] = []
        for _ in 0..<9 { order += try leasedGroups(&engine) }
        #expect(order == ["big", "small", "", "big", "small", "big", "big", "big", "big"])
    }

    @Test func aGroupThatFinishesGivesUpItsTurn() throws {
        var engine = EngineHarness()
        for group in ["a", "b", "c"] { for _ in 0..<2 { try engine.enqueue(group: group) } }
        for _ in 0..<6 { try engine.ack(try engine.lease()[0]) }
        #expect(engine.state.digest() == QueueState().digest())
        #expect(engine.counts() == QueueCounts())
    }

    @Test func aStreamOfNewGroupsDoesNotStarveAnOldOne() throws {
        var engine = EngineHarness()
        for _ in 0..<5 { try engine.enqueue(group: "old") }
        try engine.enqueue(group: "other")
        var served = 0
        for step in 0..<12 {
            try engine.enqueue(group: "new\(step)")
            try engine.enqueue(group: "newer\(step)")
            served += try leasedGroups(&engine).filter { $0 == "old" }.count
        }
        #expect(served >= 2)
    }

    @Test(arguments: [2, 3, 5, 8, 40]) func oneLeaseOfManyTakesWhatManyLeasesOfOneTake(limit: Int) throws {
        var one = EngineHarness()
        for index in 0..<60 {
            let group = ["a", "b", "", "d"][(index * index / 3) % 4]
            try one.enqueue(priority: Int8(index % 2), attempts: UInt32(4 + index % 3), group: group)
        }
        var many = one
        for _ in 0..<(60 / limit) {
            let together = try many.lease(limit).map(\.job)
            var apart: [JobID] = []
            for _ in 0..<limit { apart += try one.lease().map(\.job) }
            #expect(together == apart)
            #expect(many.state.digest() == one.state.digest())
            try one.enqueue(priority: 1, group: "late")
            try many.enqueue(priority: 1, group: "late")
        }
    }

    @Test func turnsSurviveAnImage() throws {
        var engine = EngineHarness()
        for index in 0..<30 { try engine.enqueue(group: ["a", "b", "c"][index / 10]) }
        try engine.lease()
        try engine.lease()
        var copy = engine
        copy.state = try engine.restored()
        copy.state.checkInvariants()
        #expect(copy.state.digest() == engine.state.digest())
        #expect(try copy.lease(7).map(\.job) == engine.lease(7).map(\.job))
        #expect(copy.state.digest() == engine.state.digest())
    }

    @Test func groupsCountScheduledJobsFromWhenTheyAreDue() throws {
        var engine = EngineHarness()
        let soon = try engine.enqueue(group: "a", delay: 100)
        let b = try engine.enqueue(group: "b")
        let later = try engine.enqueue(group: "b")
        #expect(try engine.lease().map(\.job) == [b])
        engine.advance(100)
        #expect(try engine.lease(2).map(\.job) == [soon, later])
    }

    @Test func manyGroupsComeAndGo() throws {
        var engine = EngineHarness()
        for index in 0..<300 { try engine.enqueue(group: "g\(index)") }
        for lease in try engine.lease(300) { try engine.ack(lease) }
        #expect(engine.state.digest() == QueueState().digest())
        try engine.enqueue(group: "again")
        #expect(try engine.lease().count == 1)
    }
}
