// What a queue takes, how many of its jobs run at once, and how long failed ones wait.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct QueueTermsTests {
    private func configured(_ settings: QueueSettings) throws -> EngineHarness {
        var engine = EngineHarness()
        try engine.run(.configure(settings))
        return engine
    }

    private func code(_ body: () throws -> Void) -> EngineError.Code? {
        do { try body() } catch { return (error as? EngineError)?.code }
        return nil
    }

    @Test func aFullQueueRefusesUntilAJobHasEnded() throws {
        var engine = try configured(QueueSettings(queue: "q", capacity: 3))
        try engine.enqueue()
        try engine.enqueue(delay: 1000)
        try engine.enqueue(key: "k")
        #expect(code { try engine.enqueue() } == .queueFull)
        // Another queue has its own, and a duplicate adds nothing.
        try engine.enqueue("other")
        #expect(try engine.enqueue(key: "k") == JobID(4))
        // A job that runs is still there; one that is dead is not.
        let lease = try #require(try engine.lease().first)
        #expect(code { try engine.enqueue() } == .queueFull)
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
        try engine.enqueue()
        #expect(code { try engine.enqueue() } == .queueFull)
        // Dead jobs come back all the same.
        try engine.run(.redrive(job: lease.job))
        #expect(engine.state.queueCounts(at: engine.now).first { $0.queue == "q" }?.counts.ready == 3)
        try engine.run(.configure(QueueSettings(queue: "q", capacity: 0)))
        try engine.enqueue()
    }

    @Test func aBatchCountsWhatItAddsAndWhatItEnds() throws {
        var engine = try configured(QueueSettings(queue: "q", capacity: 2))
        func enqueue() -> Command { .enqueue(Enqueue(lane: Lane(queue: "q"))) }
        #expect(code { try engine.runBatch([enqueue(), enqueue(), enqueue()]) } == .queueFull)
        #expect(engine.state.queueCounts(at: engine.now).first?.counts.ready == 0)
        try engine.runBatch([enqueue(), enqueue()])
        let lease = try #require(try engine.lease().first)
        let ack = Command.ack(job: lease.job, token: lease.token, result: nil)
        #expect(code { try engine.runBatch([enqueue(), ack]) } == .queueFull)
        try engine.runBatch([ack, enqueue()])
        let cancel = Command.cancel(job: JobID(3), lane: Lane(queue: "q"))
        #expect(code { try engine.runBatch([cancel, enqueue(), enqueue()]) } == .queueFull)
        try engine.runBatch([cancel, enqueue()])
        let next = try #require(try engine.lease().first)
        // One that dies and is then cancelled makes room once.
        let bury = Command.bury(job: next.job, token: next.token, reason: .buried, error: nil)
        let end = Command.cancel(job: next.job, lane: nil)
        #expect(code { try engine.runBatch([bury, end, enqueue(), enqueue()]) } == .queueFull)
        let requeue = Command.requeue(
            job: next.job, token: next.token, delayMilliseconds: 0, error: nil, countsAttempt: true)
        #expect(code { try engine.runBatch([requeue, enqueue()]) } == .queueFull)
        #expect(engine.state.queueCounts(at: engine.now).first?.counts == QueueCounts(ready: 1, leased: 1))
    }

    @Test func noMoreRunAtOnceThanMay() throws {
        var engine = try configured(QueueSettings(queue: "q", runningMax: 2))
        for group in ["", "g", "h", ""] { try engine.enqueue(group: group) }
        try engine.enqueue("r")
        let leases = try engine.lease(5, from: ["q", "r"])
        #expect(leases.count == 3 && leases.last?.job == JobID(6))
        #expect(try engine.lease(1).isEmpty && engine.lease(9).isEmpty)
        #expect(!engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(engine.state.standing(of: JobID(4), at: engine.now)?.runningMax == 2)
        try engine.ack(leases[0])
        #expect(engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(try engine.lease(9).count == 1)
        // A lease that nobody reports ends, and its place is free.
        engine.advance(30_000)
        #expect(try engine.lease(9).count == 2)
        try engine.run(.configure(QueueSettings(queue: "q", runningMax: 3)))
        #expect(try engine.lease(9).count == 1)
        // What runs goes on when less may.
        try engine.run(.configure(QueueSettings(queue: "q", runningMax: 1)))
        #expect(engine.state.queueCounts(at: engine.now).first { $0.queue == "q" }?.counts.leased == 3)
        #expect(try engine.lease(9).isEmpty)
    }

    @Test func failedJobsWaitAsTheQueueSays() throws {
        var engine = try configured(
            QueueSettings(queue: "q", retry: RetryPolicy(.listed([5, 70]), jitterPercent: 0)))
        try engine.enqueue()
        for delay in [5, 70, 70] as [Int64] {
            let lease = try #require(try engine.lease().first)
            let reply = try engine.requeue(lease)
            #expect(reply == .requeued(.scheduled(runAt: engine.now.advanced(byMilliseconds: delay))))
            engine.advance(delay)
        }
        let lease = try #require(try engine.lease().first)
        #expect(try engine.requeue(lease, delay: 9, counts: false) != .requeued(.ready))
        engine.advance(9)
        let again = try #require(try engine.lease().first)
        #expect(try engine.requeue(again, counts: false) == .requeued(.ready))
    }

    @Test func theSameSettingsAgainLeaveNoRecord() throws {
        let settings = QueueSettings(queue: "q", isPaused: false, capacity: 5, runningMax: 0, retry: .standard)
        var engine = try configured(settings)
        #expect(engine.records.count == 1)
        try engine.run(.configure(settings))
        try engine.run(.configure(QueueSettings(queue: "other", capacity: 0)))
        #expect(engine.records.count == 1)
        #expect(engine.state.terms(of: "q").capacity == 5 && engine.state.terms(of: "q").runningMax == nil)
    }

    @Test func settingsShowInTheDigestUntilTheyAreTakenBack() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        var digests: Set<StateDigest> = [engine.state.digest()]
        let settings = [
            QueueSettings(queue: "q", capacity: 5), QueueSettings(queue: "q", runningMax: 5),
            QueueSettings(queue: "q", retry: RetryPolicy(.fixed(5), jitterPercent: 0)),
            QueueSettings(queue: "q", isPaused: true),
        ]
        for setting in settings {
            try engine.run(.configure(setting))
            #expect(digests.insert(engine.state.digest()).inserted)
            #expect(try engine.replayed().digest() == engine.state.digest())
        }
        try engine.run(
            .configure(QueueSettings(queue: "q", isPaused: false, capacity: 0, runningMax: 0, retry: .standard)))
        #expect(!digests.insert(engine.state.digest()).inserted)
    }
}
