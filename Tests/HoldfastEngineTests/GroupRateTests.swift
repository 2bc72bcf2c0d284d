// How often jobs of each group may be leased.

import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct GroupRateTests {
    private func configured(_ count: Int, per milliseconds: Int64, burst: Int) throws -> EngineHarness {
        var engine = EngineHarness()
        let rate = RateLimit(count: count, periodMilliseconds: milliseconds, burst: burst)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRate: rate))))
        return engine
    }

    private func groups(_ engine: inout EngineHarness, _ limit: Int) throws -> [String] {
        let jobs = try engine.lease(limit, for: 600_000).map(\.job)
        return jobs.map { engine.state.status(of: $0)?.lane.group ?? "?" }
    }

    private func expectSameState(_ engine: EngineHarness) throws {
        let digest = engine.state.digest()
        #expect(try engine.replayed().digest() == digest)
        #expect(try engine.restored().digest() == digest)
        engine.state.checkInvariants()
        try engine.restored().checkInvariants()
    }

    @Test func eachGroupHasItsOwnRate() throws {
        var engine = try configured(1, per: 1000, burst: 2)
        for _ in 0..<5 { for group in ["a", "b", ""] { try engine.enqueue(group: group) } }
        #expect(try groups(&engine, 20).sorted() == ["", "", "", "", "", "a", "a", "b", "b"])
        #expect(try groups(&engine, 20).isEmpty && !engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(engine.state.heldCount(of: "q") == 6)
        let next = engine.now.advanced(byMilliseconds: 1000)
        #expect(engine.state.nextDeadline(after: engine.now) == next)
        #expect(engine.state.standing(of: JobID(9), at: engine.now)?.heldBy == .groupRate(until: next))
        try expectSameState(engine)
        #expect(try engine.restored().nextDeadline(after: engine.now) == next)
        engine.advance(999)
        #expect(try groups(&engine, 20).isEmpty)
        engine.advance(1)
        #expect(engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(try groups(&engine, 20).sorted() == ["a", "b"])
        // A long while gives no more than may be leased at once.
        engine.advance(60_000)
        #expect(try groups(&engine, 20).sorted() == ["a", "a", "b", "b"])
        try expectSameState(engine)
    }

    @Test func aGroupThatRanEmptyHasNoMoreThanBefore() throws {
        var engine = try configured(1, per: 1000, burst: 1)
        try engine.enqueue(group: "a")
        try engine.ack(try engine.lease()[0])
        try engine.enqueue(group: "a")
        #expect(try engine.lease().isEmpty && engine.state.heldCount(of: "q") == 1)
        try expectSameState(engine)
        #expect(try engine.restored().heldCount(of: "q") == 1)
        engine.advance(1000)
        #expect(try engine.lease().count == 1)
    }

    @Test func aFullBucketLeavesNoTrace() throws {
        var engine = try configured(1, per: 1000, burst: 3)
        let digest = engine.state.digest()
        let size = image(of: engine.state).count
        for number in 0..<50 {
            try engine.enqueue(group: "g\(number)")
            try engine.ack(try engine.lease()[0])
        }
        #expect(engine.state.digest() != digest)
        engine.advance(3000)
        try engine.run(.advanceClock)
        #expect(engine.state.digest() == digest)
        #expect(image(of: engine.state).count <= size + 8)
        try expectSameState(engine)
    }

    @Test func lookingDoesNotChangeTheState() throws {
        var engine = try configured(1, per: 1000, burst: 2)
        for _ in 0..<3 { try engine.enqueue(group: "a") }
        #expect(try engine.lease(9).count == 2)
        let digest = engine.state.digest()
        var later = engine.state
        later.promoteDue(at: engine.now.advanced(byMilliseconds: 5000))
        #expect(later.digest() == digest && later.heldCount(of: "q") == 0)
        later.checkInvariants()
    }

    @Test func aRateSetAnewBeginsFull() throws {
        var engine = try configured(1, per: 60_000, burst: 1)
        for _ in 0..<9 { try engine.enqueue(group: "a") }
        #expect(try engine.lease(9).count == 1)
        let rate = RateLimit(count: 1, periodMilliseconds: 60_000, burst: 2)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRate: rate))))
        #expect(try engine.lease(9).count == 2 && engine.lease(9).isEmpty)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: SharingSettings(groupRate: RateLimit.none))))
        #expect(try engine.lease(9).count == 6)
        try expectSameState(engine)
    }

    @Test func rateLimitAndOrderOfAGroupHoldTogether() throws {
        var engine = EngineHarness()
        let rate = RateLimit(count: 1, periodMilliseconds: 1000, burst: 5)
        let sharing = SharingSettings(groupRunningMax: 3, order: .strict, rate: rate, groupRate: rate)
        try engine.run(.configure(QueueSettings(queue: "q", sharing: sharing)))
        for _ in 0..<4 { for group in ["a", "b"] { try engine.enqueue(priority: 1, group: group) } }
        let leases = try engine.lease(9)
        #expect(leases.count == 2)
        for lease in leases { try engine.ack(lease) }
        #expect(try engine.lease(9).count == 2)
        try expectSameState(engine)
    }

    @Test func noFlippedBitTrapsOrBreaksAnInvariant() throws {
        var engine = try configured(1, per: 1000, burst: 2)
        for _ in 0..<3 { for group in ["a", "b", "c"] { try engine.enqueue(group: group) } }
        #expect(try engine.lease(5).count == 5)
        let bytes = image(of: engine.state)
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let state = try? restoredState(from: damaged) else { continue }
            state.checkInvariants()
            #expect(image(of: state) == damaged)
        }
        for count in 0..<bytes.count {
            #expect(throws: EngineError.self) { try restoredState(from: Array(bytes[..<count])) }
        }
    }

    @Test func manyGroupsArePassedOverAtOnce() throws {
        let count = 20_000
        var state = QueueState()
        let start = Timestamp(milliseconds: 1_000_000)
        func add(_ mutation: Mutation, at time: Timestamp = start) {
            state.apply(Record(sequence: state.lastSequence.next, time: time, mutation: mutation))
        }
        let rate = RateLimit(count: 1, periodMilliseconds: 1000, burst: 1)
        add(.queueSettings(QueueSettings(queue: "q", sharing: SharingSettings(groupRate: rate))))
        for number in 0..<count {
            let lane = Lane(queue: "q", group: "g\(number)")
            for _ in 0..<2 { add(.enqueue(Enqueue(lane: lane, payload: []))) }
        }
        func lease(_ limit: Int, at now: Timestamp) throws -> Int {
            state.promoteDue(at: now)
            let command = Command.lease(queues: ["q"], limit: limit, milliseconds: 86_400_000, worker: "")
            var scope = BatchScope()
            let decision = try state.decide(command, at: now, next: state.lastSequence.next, in: &scope)
            decision.mutations.forEach { add($0, at: now) }
            return decision.mutations.count
        }
        #expect(try lease(2 * count, at: start) == count)
        // Every group waits now; asking again and again looks at none of them.
        for _ in 0..<1000 { #expect(try lease(10, at: start) == 0) }
        #expect(state.nextDeadline(after: start) == start.advanced(byMilliseconds: 1000))
        #expect(state.heldCount(of: "q") == count)
        #expect(try lease(2 * count, at: start.advanced(byMilliseconds: 1000)) == count)
        let restored = try restoredState(from: image(of: state))
        #expect(restored.digest() == state.digest())
    }

    @Test func impossibleRatesOfGroupsAreCorrupt() throws {
        for rate in [
            RateLimit(count: 1, periodMilliseconds: 0, burst: 1), RateLimit(count: 1, periodMilliseconds: 1, burst: 0),
        ] {
            var engine = EngineHarness()
            let settings = QueueSettings(queue: "q", sharing: SharingSettings(groupRate: rate))
            #expect(code { try engine.append(.queueSettings(settings)) } == .corrupt)
        }
    }
}
