import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct UniqueKeyAndEffectTests {
    @Test func aUniqueKeyIsHeldUntilTheJobEnds() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k")
        #expect(try engine.enqueue(key: "k") == job)
        #expect(try engine.enqueue("other", key: "k") != job)
        let lease = try engine.lease()[0]
        #expect(try engine.enqueue(key: "k") == job)
        try engine.ack(lease)
        #expect(try engine.enqueue(key: "k") != job)
    }

    @Test func aWindowHoldsTheKeyPastTheJob() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k", window: 1000)
        try engine.ack(try engine.lease()[0])
        #expect(try engine.enqueue(key: "k") == job)
        engine.advance(999)
        #expect(try engine.enqueue(key: "k") == job)
        engine.advance(1)
        let next = try engine.enqueue(key: "k")
        #expect(next != job)
        #expect(engine.records.contains { $0.mutation == .expire(.uniqueKey(queue: "q", key: "k", job: job)) })
    }

    @Test func keysThatDifferInBytesOnlyAreDifferent() throws {
        var engine = EngineHarness()
        let composed = try engine.enqueue(key: "\u{E9}")
        #expect(try engine.enqueue(key: "e\u{301}") != composed)
        try engine.enqueue("\u{E9}")
        try engine.enqueue("e\u{301}")
        #expect(engine.state.queueCounts(at: engine.now).count == 3)
        #expect(try engine.restored().digest() == engine.state.digest())
    }

    @Test func redriveTakesTheKeyAgainUnlessAnotherHoldsIt() throws {
        var engine = EngineHarness()
        let first = try engine.enqueue(key: "k")
        let lease = try engine.lease()[0]
        try engine.run(.bury(job: first, token: lease.token, reason: .buried, error: "bad"))
        let second = try engine.enqueue(key: "k")
        #expect(second != first)
        #expect(code { try engine.run(.redrive(job: first)) } == .invalidState)
        #expect(try engine.run(.redriveQueue(queue: "q", limit: 5)) == .redriven(count: 0, skipped: 1))
        #expect(code { try engine.run(.redrive(job: second)) } == .invalidState)
        try engine.ack(try engine.lease()[0])
        #expect(try engine.run(.redrive(job: first)) == .redriven(count: 1, skipped: 0))
        #expect(try engine.enqueue(key: "k") == first)
        #expect(try engine.lease()[0].attempt == 1)
    }

    @Test func redrivingAQueueGivesOneKeyToOneJob() throws {
        var engine = EngineHarness()
        for _ in 0..<3 {
            let job = try engine.enqueue(key: "k")
            let lease = try engine.lease()[0]
            try engine.run(.bury(job: job, token: lease.token, reason: .buried, error: nil))
        }
        #expect(try engine.run(.redriveQueue(queue: "q", limit: 10)) == .redriven(count: 1, skipped: 2))
        #expect(engine.counts() == QueueCounts(ready: 1, dead: 2))
    }

    @Test func theFirstEffectStays() throws {
        var engine = EngineHarness()
        let effect = Command.effect(Effect(scope: "s", key: "k", value: [1]))
        let first = try engine.run(effect)
        let sequence = engine.state.lastSequence
        #expect(first == .effect(recorded: true, sequence: sequence))
        #expect(try engine.run(effect) == .effect(recorded: false, sequence: sequence))
        #expect(engine.state.effect(scope: "s", key: "k") == sequence)
        #expect(engine.state.isNeeded(sequence: sequence, kind: RecordKind.effect.rawValue))
    }

    @Test func aStaleFenceRefusesEvenAReplay() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let lease = try engine.lease()[0]
        let fence = Effect.Fence(job: lease.job, token: lease.token)
        let effect = Command.effect(Effect(scope: "s", key: "k", value: [1], fence: fence))
        try engine.run(effect)
        try engine.ack(lease)
        #expect(code { try engine.run(effect) } == .leaseLost)
    }

    @Test func aBatchSeesWhatItDecidedBefore() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k")
        let lease = try engine.lease()[0]
        let again = Command.enqueue(Enqueue(lane: Lane(queue: "q"), uniqueKey: "k"))
        let effect = Command.effect(Effect(scope: "s", key: "k", value: []))
        let next = engine.state.lastSequence.next
        let replies = try engine.runBatch([
            again, .ack(job: job, token: lease.token, result: nil), again, again, effect, effect,
        ])
        let claimed = JobID(next.next)
        let recorded = next.advanced(by: 2)
        #expect(
            replies == [
                .duplicate(job), .done, .enqueued(claimed), .duplicate(claimed),
                .effect(recorded: true, sequence: recorded), .effect(recorded: false, sequence: recorded),
            ])
    }

    @Test func aBatchSettlesAJobOnce() throws {
        var engine = EngineHarness()
        for _ in 0..<3 { try engine.enqueue() }
        let leases = try engine.lease(3)
        let acks = leases.map { Command.ack(job: $0.job, token: $0.token, result: nil) }
        let digest = engine.state.digest()
        #expect(code { try engine.runBatch(acks + [acks[1]]) } == .leaseLost)
        #expect(code { try engine.runBatch([acks[0], .cancel(job: leases[0].job, lane: nil)]) } == .invalidState)
        let fence = Effect.Fence(job: leases[2].job, token: leases[2].token)
        let fenced = Command.effect(Effect(scope: "s", key: "k", value: [], fence: fence))
        #expect(code { try engine.runBatch([acks[2], fenced]) } == .leaseLost)
        let lease = Command.lease(queues: ["q"], limit: 1, milliseconds: 1, worker: "")
        #expect(code { try engine.runBatch([acks[0], lease]) } == .invalidState)
        #expect(engine.state.digest() == digest)
        try engine.runBatch([fenced] + acks)
        #expect(engine.counts() == QueueCounts())
    }

    @Test func aBatchMayCancelWhatItRequeued() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k")
        let lease = try engine.lease()[0]
        let requeue = Command.requeue(
            job: job, token: lease.token, delayMilliseconds: nil, error: nil, countsAttempt: true)
        let replies = try engine.runBatch([
            requeue, .cancel(job: job, lane: nil), .enqueue(Enqueue(lane: Lane(queue: "q"), uniqueKey: "k")),
        ])
        #expect(replies[1] == .done)
        #expect(replies[2] == .enqueued(JobID(engine.state.lastSequence)))
    }
}
