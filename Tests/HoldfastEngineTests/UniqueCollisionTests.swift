// What an enqueue does when another job holds its unique key, and until when that holds it.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct UniqueCollisionTests {
    private func enqueue(
        _ engine: EngineHarness, _ collision: KeyCollision, priority: Int8 = 0, delay: Int64? = nil,
        window: Int64? = nil, payload: [UInt8] = [7]
    ) -> Command {
        var enqueue = Enqueue(
            lane: Lane(queue: "q", priority: priority), runAt: delay.map { engine.now.advanced(byMilliseconds: $0) },
            uniqueKey: "k", payload: payload)
        enqueue.uniqueUntil = window.map { engine.now.advanced(byMilliseconds: $0) }
        return .enqueue(enqueue, collision)
    }

    @Test func aHolderThatWaitsTakesOverWhatIsNew() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(priority: 1, key: "k")
        #expect(try engine.run(enqueue(engine, .replace, priority: 3, delay: 500)) == .updated(job))
        let status = engine.state.status(of: job)
        #expect(status?.lane.priority == 3 && status?.state == .scheduled && status?.payloadSequence != nil)
        #expect(try engine.run(enqueue(engine, .postpone, priority: -3, delay: 900)) == .updated(job))
        #expect(engine.state.status(of: job)?.lane.priority == 3)
        #expect(engine.state.status(of: job)?.runAt == engine.now.advanced(byMilliseconds: 900))
        #expect(engine.state.status(of: job)?.payloadSequence == status?.payloadSequence)
        // Without a delay it may run at once.
        #expect(try engine.run(enqueue(engine, .postpone)) == .updated(job))
        #expect(try engine.lease().map(\.job) == [job])
        #expect(engine.counts() == QueueCounts(leased: 1))
    }

    @Test func aHolderThatIsLeasedOrDoneStaysAsItIs() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k", window: 90_000)
        let lease = try engine.lease()[0]
        func replies() throws -> [Reply] {
            try [KeyCollision.existing, .replace, .postpone].map { try engine.run(enqueue(engine, $0)) }
        }
        #expect(try replies() == [.duplicate(job), .duplicate(job), .duplicate(job)])
        try engine.ack(lease)
        #expect(try replies() == [.duplicate(job), .duplicate(job), .duplicate(job)])
        #expect(code { try engine.run(enqueue(engine, .reject)) } == .invalidState)
        engine.advance(90_000)
        #expect(try engine.run(enqueue(engine, .reject)) == .enqueued(JobID(engine.state.lastSequence)))
    }

    @Test func aRejectedDuplicateUndoesItsBatch() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k")
        let other = Command.enqueue(Enqueue(lane: Lane(queue: "other")))
        #expect(code { try engine.runBatch([other, enqueue(engine, .reject)]) } == .invalidState)
        #expect(code { try engine.runBatch([other, enqueue(engine, .existing)]) } == nil)
        #expect(engine.counts("other") == QueueCounts(ready: 1) && engine.counts() == QueueCounts(ready: 1))
        try engine.runBatch([.cancel(job: job, lane: nil), enqueue(engine, .reject)])
    }

    @Test func theLastOfABatchPrevails() throws {
        var engine = EngineHarness()
        let replies = try engine.runBatch([
            enqueue(engine, .replace), enqueue(engine, .replace, priority: 2, payload: [8]),
            enqueue(engine, .replace, priority: 5, payload: [9]), enqueue(engine, .postpone, delay: 40),
        ])
        let job = JobID(1)
        #expect(replies == [.enqueued(job), .updated(job), .updated(job), .updated(job)])
        let status = engine.state.status(of: job)
        #expect(status?.lane.priority == 5 && status?.payloadSequence == SequenceNumber(3))
        #expect(status?.state == .scheduled)
        #expect(try engine.replayed().digest() == engine.state.digest())
    }

    @Test func aFullQueueTakesWhatItHasAlready() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k")
        try engine.run(.configure(QueueSettings(queue: "q", capacity: 1)))
        #expect(try engine.run(enqueue(engine, .replace)) == .updated(job))
        #expect(code { try engine.enqueue() } == .queueFull)
    }

    @Test func aKeyHeldWhileQueuedIsFreeOnceTheJobIsLeased() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k", freesKeyAtLease: true)
        #expect(try engine.enqueue(key: "k") == job)
        let lease = try engine.lease()[0]
        let next = try engine.enqueue(key: "k", freesKeyAtLease: true)
        #expect(next != job)
        // For good: the job that waits again does not want it back.
        try engine.requeue(lease, delay: 0)
        #expect(try engine.enqueue(key: "k") == next)
        #expect(engine.counts() == QueueCounts(ready: 2))
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
        let again = try engine.lease()[0]
        try engine.run(.bury(job: again.job, token: again.token, reason: .buried, error: nil))
        try engine.run(.redrive(job: job))
        #expect(try engine.enqueue(key: "k") == next)
    }

    @Test func aJobThatDiesUnleasedWantsItsKeyBackWhenRedriven() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k", freesKeyAtLease: true, startWithin: 10)
        engine.advance(10)
        let next = try engine.enqueue(key: "k")
        #expect(next != job)
        #expect(code { try engine.run(.redrive(job: job)) } == .invalidState)
        try engine.ack(try engine.lease()[0])
        try engine.run(.redrive(job: job))
        #expect(try engine.enqueue(key: "k") == job)
    }

    /// An idempotency key is a unique key held for a time.
    @Test func theSameEnqueueWithinItsTimeIsTheFirstOneWhateverBecameOfThat() throws {
        for end in 0..<4 {
            var engine = EngineHarness()
            let job = try engine.enqueue(attempts: 1, key: "k", window: 60_000)
            let lease = try engine.lease()[0]
            switch end {
            case 0: try engine.ack(lease)
            case 1: try engine.requeue(lease)
            case 2: try engine.run(.cancel(job: job, lane: nil))
            default: break
            }
            engine.advance(59_999)
            #expect(try engine.enqueue(key: "k", window: 60_000) == job)
            engine.state = try engine.restored()
            #expect(try engine.enqueue(key: "k", window: 60_000) == job)
            engine.advance(1)
            #expect(try engine.enqueue(key: "k", window: 60_000) != job)
        }
    }
}
