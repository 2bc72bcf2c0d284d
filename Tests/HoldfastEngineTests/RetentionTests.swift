// How long dead letters and results are kept.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct RetentionTests {
    private func configured(_ retention: RetentionSettings) throws -> EngineHarness {
        var engine = EngineHarness()
        try engine.run(.configure(QueueSettings(queue: "q", retention: retention)))
        return engine
    }

    /// Enqueues a job and lets it die.
    @discardableResult
    private func die(_ engine: inout EngineHarness) throws -> JobID {
        let job = try engine.enqueue()
        let lease = try #require(try engine.lease().first)
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: "e"))
        return job
    }

    private func dead(_ engine: EngineHarness) -> [JobID] {
        engine.state.deadLetters(
            queue: "q", meeting: DeadCriteria(), after: JobID(0), limit: .max, looksMax: .max
        ).found.map(\.id)
    }

    private func settle(_ engine: inout EngineHarness) throws { try engine.run(.advanceClock) }

    private func expectSameEverywhere(_ engine: EngineHarness) throws {
        let digest = engine.state.digest()
        #expect(try engine.replayed().digest() == digest)
        var restored = try engine.restored()
        #expect(restored.digest() == digest)
        restored.checkInvariants()
        // What is due next is due in all of them.
        restored.settle(at: engine.now.advanced(byMilliseconds: 1 << 40))
        var replayed = try engine.replayed()
        replayed.settle(at: engine.now.advanced(byMilliseconds: 1 << 40))
        #expect(replayed.digest() == restored.digest())
    }

    @Test func beyondItsNumberThoseThatDiedFirstGo() throws {
        var engine = try configured(RetentionSettings(deadMax: 2))
        let late = try engine.enqueue(delay: 1000)
        let jobs = [try die(&engine), try die(&engine)]
        engine.advance(1000)
        // The lowest id of all died last, and stays.
        let lease = try #require(try engine.lease().first)
        #expect(lease.job == late)
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
        #expect(engine.state.hasOverdue(at: engine.now))
        try settle(&engine)
        #expect(dead(engine) == [late, jobs[1]])
        #expect(engine.records.last { $0.mutation == .expire(.deadLetter(job: jobs[0])) } != nil)
        #expect(engine.state.status(of: jobs[0]) == nil)
        #expect(engine.state.neededRecords.contains(jobs[0].rawValue) == false)
        try expectSameEverywhere(engine)
        // What is redriven makes room, and comes back as the newest.
        try engine.run(.redrive(job: jobs[1]))
        try die(&engine)
        try settle(&engine)
        #expect(dead(engine).count == 2 && dead(engine).contains(late))
        try expectSameEverywhere(engine)
    }

    @Test func deadLettersGoAtTheirAge() throws {
        var engine = try configured(RetentionSettings(deadAge: 1000))
        let first = try die(&engine)
        engine.advance(400)
        let second = try die(&engine)
        #expect(engine.state.deadLetterEnd(of: second) == engine.now.advanced(byMilliseconds: 1000))
        engine.advance(599)
        try settle(&engine)
        #expect(dead(engine) == [first, second])
        engine.advance(1)
        try settle(&engine)
        #expect(dead(engine) == [second])
        try expectSameEverywhere(engine)
        // One that died again goes by its last death.
        try engine.run(.redrive(job: second))
        let lease = try #require(try engine.lease().first)
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
        engine.advance(999)
        try settle(&engine)
        #expect(dead(engine) == [second])
        engine.advance(1)
        try settle(&engine)
        #expect(dead(engine).isEmpty)
        #expect(code { try engine.run(.redrive(job: second)) } == .invalidState)
        try expectSameEverywhere(engine)
    }

    @Test func aLimitThatIsSetLaterIsWorkedOffInBoundedSteps() throws {
        var engine = EngineHarness()
        for _ in 0..<30 { try die(&engine) }
        #expect(!engine.state.hasOverdue(at: engine.now))
        try engine.run(.configure(QueueSettings(queue: "q", retention: RetentionSettings(deadMax: 3))))
        #expect(engine.state.overdue(at: engine.now, limit: 10).count == 10)
        var steps = 0
        while engine.state.hasOverdue(at: engine.now) {
            for mutation in engine.state.overdue(at: engine.now, limit: 10) { try engine.append(mutation) }
            steps += 1
        }
        #expect(steps == 3 && dead(engine).count == 3)
        try expectSameEverywhere(engine)
        // Taken away again, nothing more goes, and nothing is remembered.
        try engine.run(.configure(QueueSettings(queue: "q", retention: RetentionSettings(deadMax: 0))))
        for _ in 0..<5 { try die(&engine) }
        #expect(dead(engine).count == 8 && !engine.state.hasOverdue(at: .max))
        try expectSameEverywhere(engine)
    }

    /// Enqueues a job that waits for others.
    private func wait(
        _ engine: inout EngineHarness, for jobs: [JobID], in queue: String = "w", startBy: Timestamp? = nil
    ) throws -> JobID {
        var enqueue = Enqueue(lane: Lane(queue: queue), startBy: startBy)
        enqueue.dependencies = EnqueueDependencies(after: jobs)
        guard case .enqueued(let job) = try engine.run(.enqueue(enqueue)) else {
            throw EngineError(.corrupt, "no job")
        }
        return job
    }

    @Test func aDeadLetterThatJobsWaitForStaysUntilNoneDoes() throws {
        var engine = try configured(RetentionSettings(deadMax: 1, deadAge: 1000))
        let first = try die(&engine)
        let waiting = [try wait(&engine, for: [first]), try wait(&engine, for: [first])]
        try expectSameEverywhere(engine)
        // It counts, but the next one goes for it.
        try die(&engine)
        try expectSameEverywhere(engine)
        try settle(&engine)
        #expect(dead(engine) == [first])
        engine.advance(5000)
        try settle(&engine)
        #expect(dead(engine) == [first] && !engine.state.hasOverdue(at: .max))
        #expect(engine.state.deadLetterEnd(of: first) == nil)
        let dropped = code { try engine.append(.expire(.deadLetter(job: first))) }
        #expect(dropped == .corrupt)
        try engine.run(.cancel(job: waiting[0], lane: nil))
        try settle(&engine)
        #expect(dead(engine) == [first] && engine.counts("w")?.scheduled == 1)
        try expectSameEverywhere(engine)
        try engine.run(.cancel(job: waiting[1], lane: nil))
        #expect(engine.state.hasOverdue(at: engine.now))
        try expectSameEverywhere(engine)
        try settle(&engine)
        #expect(dead(engine).isEmpty)
        try expectSameEverywhere(engine)
    }

    @Test func aDeadLetterThatGoesLetsThoseGoThatItWaitedFor() throws {
        var engine = try configured(RetentionSettings(deadAge: 1000))
        let first = try die(&engine)
        let late = try wait(&engine, for: [first], in: "q", startBy: engine.now.advanced(byMilliseconds: 500))
        engine.advance(300)
        let other = try die(&engine)
        engine.advance(200)
        try settle(&engine)
        engine.advance(800)
        try settle(&engine)
        #expect(dead(engine) == [first, late])
        try expectSameEverywhere(engine)
        engine.advance(200)
        try settle(&engine)
        let last: [Mutation] = [late, first].map { .expire(.deadLetter(job: $0)) }
        #expect(engine.records.map(\.mutation).filter { $0 != .clock(ClockAdvance()) }.suffix(2) == last)
        #expect(dead(engine).isEmpty && engine.state.status(of: other) == nil)
        try expectSameEverywhere(engine)
    }

    /// One that it waited for may have to go next, so each that goes is looked for alone.
    @Test func manyDeadLettersThatWaitedForOthersGoOneByOne() throws {
        var engine = try configured(RetentionSettings(deadAge: 1000))
        let first = try die(&engine)
        let count = 60
        var late: [JobID] = []
        for _ in 0..<count {
            late.append(try wait(&engine, for: [first], in: "q", startBy: engine.now.advanced(byMilliseconds: 500)))
        }
        engine.advance(500)
        try settle(&engine)
        #expect(dead(engine).count == count + 1)
        engine.advance(1000)
        var calls = 0
        while engine.state.hasOverdue(at: engine.now) {
            let mutations = engine.state.overdue(at: engine.now, limit: 10_000)
            #expect(mutations.count == 1)
            for mutation in mutations { try engine.append(mutation) }
            calls += 1
        }
        #expect(calls == count + 1 && dead(engine).isEmpty)
    }

    @Test func whoeverWaitsForADeadLetterAndStopsLeavesItWhereItWas() throws {
        var engine = try configured(RetentionSettings(deadMax: 2))
        let jobs = [try die(&engine), try die(&engine)]
        for _ in 0..<600 {
            let waiting = try wait(&engine, for: jobs)
            try engine.run(.cancel(job: waiting, lane: nil))
        }
        try expectSameEverywhere(engine)
        let third = try die(&engine)
        try settle(&engine)
        #expect(dead(engine) == [jobs[1], third])
    }

    @Test func aResultIsKeptForItsTimeAndItsRecordIsNeeded() throws {
        var engine = try configured(RetentionSettings(results: 1000))
        func ack(_ result: [UInt8]?, _ span: Int64?) throws -> JobID {
            try engine.enqueue()
            let lease = try #require(try engine.lease().first)
            try engine.run(.ack(job: lease.job, token: lease.token, result: result, keepMilliseconds: span))
            return lease.job
        }
        let byQueue = try ack([1], nil)
        let own = try ack([2], 5000)
        let without = try ack(nil, nil)
        let history = try ack([3], 0)
        let kept = try #require(engine.state.keptResult(of: byQueue))
        #expect(kept.until == engine.now.advanced(byMilliseconds: 1000) && kept.queue == "q")
        #expect(engine.state.neededRecords.contains(kept.sequence.rawValue))
        #expect(engine.state.keptResult(of: without) == nil && engine.state.keptResult(of: history) == nil)
        try expectSameEverywhere(engine)
        engine.advance(1000)
        try settle(&engine)
        #expect(engine.state.keptResult(of: byQueue) == nil)
        #expect(!engine.state.neededRecords.contains(kept.sequence.rawValue))
        #expect(engine.records.contains { $0.mutation == .expire(.result(job: byQueue)) })
        #expect(engine.state.keptResult(of: own) != nil)
        engine.advance(4000)
        try settle(&engine)
        #expect(engine.state.keptResultCount == 0)
        try expectSameEverywhere(engine)
    }

    @Test func aRedriveMayWaitForItsTime() throws {
        var engine = EngineHarness()
        let jobs = [try die(&engine), try die(&engine)]
        let later = engine.now.advanced(byMilliseconds: 500)
        let list = [Redrive(job: jobs[0], runAt: engine.now), Redrive(job: jobs[1], runAt: later)]
        #expect(try engine.run(.redriveJobs(list)) == .redriven(count: 2, skipped: 0))
        #expect(engine.counts() == QueueCounts(ready: 1, scheduled: 1))
        try expectSameEverywhere(engine)
        engine.advance(500)
        #expect(try engine.lease(5).map(\.job) == jobs)
        #expect(try engine.run(.redriveJobs(list)) == .redriven(count: 0, skipped: 0))
    }

    @Test func aDeadLetterGoesOnlyWhenItIsItsTurn() throws {
        var engine = try configured(RetentionSettings(deadMax: 2, deadAge: 1000))
        let jobs = [try die(&engine), try die(&engine)]
        for job in jobs + [JobID(1), JobID(900)] {
            #expect(code { try engine.append(.expire(.deadLetter(job: job))) } == .corrupt)
        }
        let third = try die(&engine)
        #expect(code { try engine.append(.expire(.deadLetter(job: jobs[1]))) } == .corrupt)
        try engine.append(.expire(.deadLetter(job: jobs[0])))
        #expect(code { try engine.append(.expire(.deadLetter(job: third))) } == .corrupt)
        engine.advance(1000)
        #expect(code { try engine.append(.expire(.deadLetter(job: third))) } == .corrupt)
        try engine.append(.expire(.deadLetter(job: jobs[1])))
        try engine.append(.expire(.deadLetter(job: third)))
    }

    @Test func aResultIsForgottenOnlyWhenItsTimeHasPassed() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let lease = try #require(try engine.lease().first)
        let ack = Ack(job: lease.job, token: lease.token, result: [1], until: engine.now)
        #expect(code { try engine.append(.ack(ack)) } == .corrupt)
        try engine.run(.ack(job: lease.job, token: lease.token, result: [1], keepMilliseconds: 10))
        #expect(code { try engine.append(.expire(.result(job: lease.job))) } == .corrupt)
        engine.advance(10)
        #expect(code { try engine.append(.expire(.result(job: JobID(900)))) } == .corrupt)
        try engine.append(.expire(.result(job: lease.job)))
        #expect(code { try engine.append(.expire(.result(job: lease.job))) } == .corrupt)
    }

    @Test func whatIsLostOfResultsIsForgotten() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let lease = try #require(try engine.lease().first)
        try engine.run(.ack(job: lease.job, token: lease.token, result: [1], keepMilliseconds: 10))
        let forgotten = engine.state.forget(recordsOutside: SequenceBitmap())
        #expect(forgotten.noteCount == 1 && engine.state.keptResultCount == 0)
        engine.state.checkInvariants()
    }
}
