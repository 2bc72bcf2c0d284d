import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct QueueStateTests {
    /// Ids of one queue among those of others: a set of thousands in runs of one or two.
    @Test(arguments: UInt64(0)..<4) func jobsOfManyInterleavedQueuesAreLeasedOnceEach(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var state = QueueState()
        let time = EngineHarness.start
        var expected: [JobID] = []
        for _ in 0..<7_500 {
            let queue = random.pick(from: ["q", "r", "s"])
            let id = state.lastSequence.next
            if queue == "q" { expected.append(JobID(id)) }
            let mutation = Mutation.enqueue(Enqueue(lane: Lane(queue: queue)))
            state.apply(Record(sequence: id, time: time, mutation: mutation))
        }
        var leased: [JobID] = []
        while leased.count <= expected.count {
            var scope = BatchScope()
            let next = state.lastSequence.next
            let lease = Command.lease(queues: ["q"], limit: 1, milliseconds: 30_000, worker: "")
            let decision = try state.decide(lease, at: time, next: next, in: &scope)
            guard case .leased(let grants) = decision.reply, let grant = grants.first else { break }
            leased.append(grant.job)
            state.apply(Record(sequence: next, time: time, mutation: .lease(grant)))
            let ack = Ack(job: grant.job, token: LeaseToken(next))
            state.apply(Record(sequence: next.next, time: time, mutation: .ack(ack)))
        }
        #expect(leased == expected)
        state.checkInvariants()
    }

    @Test func aPlainReadyJobHasNoEntry() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        #expect(engine.state.status(of: job) == nil)
        #expect(engine.state.isPlainReady(job, lane: Lane(queue: "q")))
        #expect(!engine.state.isPlainReady(job, lane: Lane(queue: "q", priority: 1)))
        #expect(engine.counts() == QueueCounts(ready: 1))
    }

    @Test func leasesTakeHigherPrioritiesFirstThenLowerIds() throws {
        var engine = EngineHarness()
        let low = try engine.enqueue(priority: -3)
        let first = try engine.enqueue(priority: 5)
        let second = try engine.enqueue(priority: 5, attempts: 2)
        let third = try engine.enqueue(priority: 5)
        #expect(try engine.lease(10).map(\.job) == [first, second, third, low])
    }

    @Test func leasesTakeEarlierQueuesFirstAndEachQueueOnce() throws {
        var engine = EngineHarness()
        let a = try engine.enqueue("a")
        let b = try engine.enqueue("b")
        #expect(try engine.lease(5, from: ["b", "a", "b"]).map(\.job) == [b, a])
    }

    @Test func aPausedQueueLeasesNothingAndPausingTwiceWritesNothing() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        try engine.run(.setPaused(queue: "q", true))
        let records = engine.records.count
        try engine.run(.setPaused(queue: "q", true))
        #expect(engine.records.count == records)
        #expect(try engine.lease().isEmpty)
        #expect(!engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        try engine.run(.setPaused(queue: "q", false))
        #expect(try engine.lease().count == 1)
    }

    @Test func aSettledLeaseIsLost() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let lease = try engine.lease()[0]
        try engine.ack(lease)
        #expect(code { try engine.ack(lease) } == .leaseLost)
        #expect(code { try engine.requeue(lease) } == .leaseLost)
        #expect(
            code { try engine.run(.ack(job: JobID(99), token: lease.token, result: nil)) } == .notFound)
        #expect(engine.state.completedCount == 1)
        #expect(engine.counts() == QueueCounts())
    }

    @Test func aLeaseEndsAtItsDeadlineAndItsJobIsReadyAtOnce() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 2)
        let lease = try engine.lease(for: 1000)[0]
        engine.advance(999)
        #expect(!engine.state.hasOverdue(at: engine.now))
        engine.advance(1)
        #expect(engine.state.hasOverdue(at: engine.now))
        #expect(code { try engine.ack(lease) } == .leaseLost)
        let again = try engine.lease(for: 1000)[0]
        #expect(again.job == job && again.attempt == 2)
        engine.advance(1000)
        #expect(try engine.lease().isEmpty)
        #expect(engine.state.status(of: job)?.deadReason == .attemptsUsedUp)
        #expect(engine.state.status(of: job)?.diedAt == engine.now)
    }

    @Test func aHeartbeatMovesTheDeadlineBothWays() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let lease = try engine.lease(for: 1000)[0]
        let beat = Command.heartbeat(job: lease.job, token: lease.token, milliseconds: 5000, progress: [1])
        #expect(try engine.run(beat) == .heartbeat(deadline: engine.now.advanced(byMilliseconds: 5000)))
        #expect(engine.state.nextDeadline(after: .zero) == engine.now.advanced(byMilliseconds: 5000))
        let progress = try #require(engine.state.status(of: lease.job)?.progressSequence)
        #expect(engine.state.isNeeded(sequence: progress, kind: RecordKind.heartbeat.rawValue))
        try engine.run(.heartbeat(job: lease.job, token: lease.token, milliseconds: 10, progress: nil))
        #expect(engine.state.nextDeadline(after: .zero) == engine.now.advanced(byMilliseconds: 10))
        #expect(engine.state.status(of: lease.job)?.progressSequence == progress)
        try engine.ack(lease)
        #expect(engine.state.nextDeadline(after: .zero) == nil)
        #expect(!engine.state.isNeeded(sequence: progress, kind: RecordKind.heartbeat.rawValue))
    }

    @Test func aScheduledJobThatIsDueIsReadyWithoutARecord() throws {
        var engine = EngineHarness()
        engine.promotes = false
        let job = try engine.enqueue(delay: 500)
        #expect(engine.counts() == QueueCounts(scheduled: 1))
        #expect(try engine.lease().isEmpty)
        #expect(
            engine.state.unfinishedJobs(
                queue: nil, state: .scheduled, after: JobID(0), limit: 9, at: engine.now) == [job])
        engine.advance(500)
        #expect(engine.counts() == QueueCounts(ready: 1))
        #expect(engine.state.waitingLeasable(queues: ["q"], at: engine.now))
        #expect(engine.state.status(of: job, at: engine.now)?.state == .ready)
        #expect(
            engine.state.unfinishedJobs(
                queue: "q", state: .ready, after: JobID(0), limit: 9, at: engine.now) == [job])
        #expect(try engine.lease().map(\.job) == [job])
    }

    @Test func requeueSaysWhereTheJobWent() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 2)
        #expect(try engine.requeue(engine.lease()[0], delay: 0) == .requeued(.ready))
        let error = try #require(engine.state.status(of: job)?.lastErrorSequence)
        #expect(error == engine.state.lastSequence)
        let back = try engine.lease()[0]
        #expect(back.attempt == 2)
        #expect(try engine.requeue(back, error: nil, counts: false) == .requeued(.ready))
        #expect(engine.state.status(of: job)?.attempt == 1)
        #expect(engine.state.status(of: job)?.lastErrorSequence == error)
        #expect(try engine.requeue(engine.lease()[0], delay: 7) == .requeued(.dead))
        #expect(engine.counts() == QueueCounts(dead: 1))
        #expect(!engine.state.isNeeded(sequence: error, kind: RecordKind.requeue.rawValue))
    }

    @Test func requeueWithoutADelayFollowsThePolicy() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        let runAt = engine.now.advanced(
            byMilliseconds: RetryPolicy.standard.delayMilliseconds(job: job, attempt: 1))
        #expect(try engine.requeue(engine.lease()[0]) == .requeued(.scheduled(runAt: runAt)))
        #expect(engine.state.nextDeadline(after: .zero) == runAt)
        engine.now = runAt
        #expect(try engine.lease().map(\.job) == [job])
    }

    @Test func aJobNotStartedInTimeDiesButALeasedOneDoesNot() throws {
        var engine = EngineHarness()
        let late = try engine.enqueue(delay: 2000, startWithin: 1000)
        let prompt = try engine.enqueue(startWithin: 1000)
        let lease = try engine.lease()[0]
        #expect(lease.job == prompt)
        engine.advance(1000)
        try engine.run(.advanceClock)
        #expect(engine.state.status(of: late)?.deadReason == .startByPassed)
        #expect(engine.state.status(of: prompt)?.state == .leased)
        try engine.run(.redrive(job: late))
        #expect(engine.state.status(of: late)?.state == .ready)
        #expect(engine.state.status(of: late)?.startBy == nil)
    }

    @Test func cancelTakesAJobInAnyState() throws {
        var engine = EngineHarness()
        let lane = Lane(queue: "q")
        let plain = try engine.enqueue()
        let scheduled = try engine.enqueue(delay: 10)
        try engine.run(.cancel(job: plain, lane: lane))
        try engine.run(.cancel(job: scheduled, lane: nil))
        #expect(code { try engine.run(.cancel(job: plain, lane: lane)) } == .invalidState)
        #expect(code { try engine.run(.cancel(job: JobID(50), lane: nil)) } == .notFound)
        let leased = try engine.enqueue()
        let lease = try engine.lease()[0]
        try engine.run(.cancel(job: leased, lane: lane))
        #expect(code { try engine.ack(lease) } == .leaseLost)
        let dead = try engine.enqueue()
        let last = try engine.lease()[0]
        try engine.run(.bury(job: dead, token: last.token, reason: .unreadable, error: nil))
        #expect(engine.state.status(of: dead)?.deadReason == .unreadable)
        try engine.run(.cancel(job: dead, lane: nil))
        #expect(engine.counts() == QueueCounts())
        #expect(engine.state.digest() == QueueState().digest())
    }

    @Test func unfinishedJobsComeInOrderAndInPages() throws {
        var engine = EngineHarness()
        var jobs: [JobID] = []
        for index in 0..<40 {
            jobs.append(try engine.enqueue("q\(index % 3)", delay: index % 4 == 0 ? 1000 : nil))
        }
        var found: [JobID] = []
        while true {
            let page = engine.state.unfinishedJobs(
                queue: nil, state: nil, after: found.last ?? JobID(0), limit: 7, at: engine.now)
            if page.isEmpty { break }
            found += page
        }
        #expect(found == jobs)
        #expect(
            engine.state.unfinishedJobs(
                queue: "nowhere", state: nil, after: JobID(0), limit: 7, at: engine.now
            ).isEmpty)
    }

    @Test func onlyUnfinishedJobsRecordsAreNeeded() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        let enqueue = RecordKind.enqueue.rawValue
        #expect(engine.state.isNeeded(sequence: job.sequence, kind: enqueue))
        let lease = try engine.lease()[0]
        #expect(engine.state.isNeeded(sequence: job.sequence, kind: enqueue))
        try engine.ack(lease)
        #expect(!engine.state.isNeeded(sequence: job.sequence, kind: enqueue))
    }

    @Test func manyHeartbeatsLeaveNoTrailOfDeadlines() throws {
        var state = QueueState()
        let lane = Lane(queue: "q")
        let now = EngineHarness.start
        var sequence = SequenceNumber.zero
        func apply(_ mutation: Mutation) {
            sequence = sequence.next
            state.apply(Record(sequence: sequence, time: now, mutation: mutation))
        }
        apply(.enqueue(Enqueue(lane: lane)))
        apply(.lease(LeaseGrant(job: JobID(1), lane: lane, attempt: 1, deadline: now, worker: "")))
        for step in 1...5000 {
            let deadline = now.advanced(byMilliseconds: Int64(step))
            apply(.heartbeat(Heartbeat(job: JobID(1), token: LeaseToken(2), deadline: deadline)))
        }
        state.checkInvariants()
        #expect(state.nextDeadline(after: .zero) == now.advanced(byMilliseconds: 5000))
        #expect(state.overdue(at: .max, limit: 10).count == 1)
    }
}
