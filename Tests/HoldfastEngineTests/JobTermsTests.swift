// What a job says about its own attempts, and what its queue says of crashes and of errors that are final.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct JobTermsTests {
    private var engine = EngineHarness()

    private mutating func enqueue(attempts: UInt32 = 5, _ change: (inout JobTerms) -> Void) throws -> JobID {
        var terms = JobTerms()
        change(&terms)
        let lane = Lane(queue: "q", maxAttempts: attempts)
        guard case .enqueued(let job) = try engine.run(.enqueue(Enqueue(lane: lane, terms: terms))) else {
            throw EngineError(.corrupt, "no job")
        }
        return job
    }

    private func isSameEverywhere() throws -> Bool {
        let digest = engine.state.digest()
        return try engine.replayed().digest() == digest && engine.restored().digest() == digest
    }

    private mutating func heartbeat(_ lease: (job: JobID, token: LeaseToken, attempt: UInt32), _ time: Int64) throws
        -> Timestamp?
    {
        let reply = try engine.run(
            .heartbeat(job: lease.job, token: lease.token, milliseconds: time, progress: nil))
        if case .heartbeat(let deadline) = reply { return deadline }
        return nil
    }

    // MARK: - Time limits

    @Test mutating func noHeartbeatGoesBeyondTheTimeLimit() throws {
        let job = try enqueue { $0.timeLimit = 10_000 }
        let lease = try engine.lease(for: 4_000)[0]
        let begun = engine.now
        #expect(engine.state.status(of: job)?.mustEndBy == begun.advanced(byMilliseconds: 10_000))
        engine.advance(3_000)
        #expect(try heartbeat(lease, 4_000) == begun.advanced(byMilliseconds: 7_000))
        engine.advance(3_000)
        #expect(try heartbeat(lease, 4_000) == begun.advanced(byMilliseconds: 10_000))
        #expect(try isSameEverywhere())
        engine.advance(4_000)
        try engine.run(.advanceClock)
        #expect(
            engine.records.contains { $0.mutation == .expire(.timeLimit(job: job, token: lease.token, isDead: false)) })
        #expect(engine.state.status(of: job)?.crashes == 0 && engine.counts()?.ready == 1)
        // The next attempt has all of its time; a lease that asks for more ends with it.
        let second = try engine.lease(for: 60_000)[0]
        #expect(engine.state.status(of: job)?.deadline == engine.now.advanced(byMilliseconds: 10_000))
        try engine.ack(second)
        #expect(engine.state.status(of: job) == nil)
        #expect(try isSameEverywhere())
    }

    @Test mutating func whichOfTheTwoEndedAnAttemptIsRecorded() throws {
        let job = try enqueue(attempts: 2) { $0.timeLimit = 10_000 }
        let first = try engine.lease(for: 4_000)[0]
        engine.advance(4_000)
        let second = try engine.lease(for: 10_000)[0]
        engine.advance(10_000)
        try engine.run(.advanceClock)
        let ends = engine.records.compactMap { if case .expire(let end) = $0.mutation { end } else { nil } }
        #expect(
            ends == [
                .lease(job: job, token: first.token, isDead: false),
                .timeLimit(job: job, token: second.token, isDead: true),
            ])
        let status = engine.state.status(of: job)
        #expect(status?.crashes == 1 && status?.attempt == 2 && status?.deadReason == .attemptsUsedUp)
        #expect(try isSameEverywhere())
    }

    @Test mutating func aTimeLimitIsKeptByEveryRecord() throws {
        let job = try enqueue { $0.timeLimit = 1_000 }
        let lane = Lane(queue: "q")
        let deadline = { (milliseconds: Int64) in EngineHarness.start.advanced(byMilliseconds: milliseconds) }
        let grant = { (end: Int64) in
            Mutation.lease(LeaseGrant(job: job, lane: lane, attempt: 1, deadline: deadline(end), worker: ""))
        }
        #expect(code { try engine.append(grant(1_001)) } == .corrupt)
        try engine.append(grant(500))
        let token = LeaseToken(2)
        let beat = { (end: Int64) in Mutation.heartbeat(Heartbeat(job: job, token: token, deadline: deadline(end))) }
        #expect(code { try engine.append(beat(1_001)) } == .corrupt)
        // It has not come to the limit yet; then it has, and did not crash.
        #expect(code { try engine.append(.expire(.timeLimit(job: job, token: token, isDead: false))) } == .corrupt)
        try engine.append(beat(1_000))
        #expect(code { try engine.append(.expire(.lease(job: job, token: token, isDead: false))) } == .corrupt)
        #expect(code { try engine.append(.expire(.timeLimit(job: job, token: token, isDead: true))) } == .corrupt)
        try engine.append(.expire(.timeLimit(job: job, token: token, isDead: false)))
    }

    // MARK: - Crashes

    private mutating func crash(_ times: Int) throws {
        for _ in 0..<times {
            _ = try engine.lease(for: 1_000)
            engine.advance(1_000)
        }
        try engine.run(.advanceClock)
    }

    @Test mutating func tooManyCrashesAreTheEndWhateverTheAttempts() throws {
        let own = try enqueue(attempts: 9) { $0.crashMax = 2 }
        try crash(1)
        #expect(engine.state.status(of: own)?.crashes == 1 && engine.counts()?.ready == 1)
        // A failure that is reported is none.
        try engine.requeue(try engine.lease()[0], delay: 0)
        #expect(engine.state.status(of: own)?.crashes == 1)
        #expect(try isSameEverywhere())
        try crash(1)
        #expect(engine.state.status(of: own)?.deadReason == .poison && engine.state.status(of: own)?.attempt == 3)
        #expect(try isSameEverywhere())
        // Redriven, it begins anew.
        try engine.run(.redrive(job: own))
        try crash(1)
        #expect(engine.state.status(of: own)?.crashes == 1)
    }

    @Test mutating func aQueueCapsTheCrashesOfJobsThatDoNot() throws {
        try engine.run(.configure(QueueSettings(queue: "q", crashMax: 1)))
        let plain = try engine.enqueue()
        let own = try enqueue { $0.crashMax = 3 }
        for _ in 0..<2 {
            _ = try engine.lease(2, for: 1_000)
            engine.advance(1_000)
        }
        try engine.run(.advanceClock)
        #expect(engine.state.status(of: plain)?.deadReason == .poison)
        #expect(engine.state.status(of: own)?.crashes == 2 && engine.state.status(of: own)?.state == .ready)
        try engine.run(.configure(QueueSettings(queue: "q", crashMax: 0)))
        #expect(engine.state.terms(of: "q") == QueueTerms())
        #expect(try isSameEverywhere())
    }

    @Test mutating func theLastCrashAllowedComesBeforeTheLastAttempt() throws {
        let job = try enqueue(attempts: 1) { $0.crashMax = 1 }
        try crash(1)
        #expect(engine.state.status(of: job)?.deadReason == .poison)
    }

    // MARK: - Retries

    @Test mutating func aJobsOwnRetryPolicyComesBeforeItsQueues() throws {
        try engine.run(.configure(QueueSettings(queue: "q", retry: RetryPolicy(.fixed(9_000), jitterPercent: 0))))
        let job = try enqueue { $0.retry = RetryPolicy(.fixed(2_000), jitterPercent: 0) }
        try engine.requeue(try engine.lease()[0])
        #expect(engine.state.status(of: job)?.runAt == engine.now.advanced(byMilliseconds: 2_000))
        #expect(try isSameEverywhere())
    }

    @Test mutating func afterAFinalErrorAJobIsNotTriedAgain() throws {
        try engine.run(.configure(QueueSettings(queue: "q", finalErrors: ErrorClasses(["invalid"]))))
        let jobs = [try engine.enqueue(), try enqueue { $0.finalErrors = ErrorClasses(["gone", "also"]) }]
        func fail(_ errorClass: String?, counts: Bool = true) throws -> [Reply] {
            try engine.lease(2).map { lease in
                try engine.run(
                    .requeue(
                        job: lease.job, token: lease.token, delayMilliseconds: 0, error: "e", countsAttempt: counts,
                        errorClass: errorClass))
            }
        }
        #expect(try fail("busy") == [.requeued(.ready), .requeued(.ready)])
        // Who gives a job back has not failed.
        #expect(try fail("invalid", counts: false) == [.requeued(.ready), .requeued(.ready)])
        #expect(try fail("gone") == [.requeued(.ready), .requeued(.dead)])
        #expect(try fail("invalid") == [.requeued(.dead)])
        for job in jobs { #expect(engine.state.status(of: job)?.deadReason == .finalError) }
        #expect(try isSameEverywhere())
        try engine.run(.configure(QueueSettings(queue: "q", finalErrors: ErrorClasses())))
        try engine.run(.redrive(job: jobs[0]))
        #expect(try fail("invalid") == [.requeued(.ready)])
    }

    // MARK: - Bytes

    @Test func termsHaveOneEncoding() throws {
        let classes = ErrorClasses(["b", "a", "b"])
        #expect(classes.names == ["a", "b"] && classes.contains("b") && !classes.contains("c"))
        #expect(!ErrorClasses((0...ErrorClasses.countMax).map { "\($0)" }).isValid && !ErrorClasses([""]).isValid)
        var terms = JobTerms()
        terms.timeLimit = 0
        #expect(!terms.isValid)
        terms.timeLimit = JobTerms.timeLimitMax + 1
        #expect(!terms.isValid)
        terms.timeLimit = 1
        terms.crashMax = 0
        #expect(!terms.isValid)
        let job = Enqueue(lane: Lane(queue: "q"), terms: JobTerms())
        #expect(code { try EngineHarness().state.validate(record(job)) } == .corrupt)
    }

    private func record(_ enqueue: Enqueue) -> Record {
        Record(sequence: SequenceNumber(1), time: EngineHarness.start, mutation: .enqueue(enqueue))
    }

    /// Bytes of an enqueue record with terms, and what is wrong with them.
    @Test(arguments: [
        ([0], "no terms"), ([16], "terms of a later version"), ([1, 0], "a limit of no time"), ([2, 0], "no crash"),
        ([8, 0], "no error class"), ([8, 2, 1, 98, 1, 97], "classes out of order"),
        ([8, 1, 0], "a class without a name"),
    ]) func impossibleTermsAreNoRecord(_ terms: [UInt8], _ what: String) throws {
        // time, flags 256, queue `q`
        let body: [UInt8] = [0, 0x80, 2, 1, 113] + terms
        #expect(throws: (any Error).self, "\(what)") {
            _ = try Record(sequence: SequenceNumber(1), kind: RecordKind.enqueue.rawValue, body: body.span)
        }
        let right: [UInt8] = [0, 0x80, 2, 1, 113, 2, 7]
        let record = try Record(sequence: SequenceNumber(1), kind: RecordKind.enqueue.rawValue, body: right.span)
        guard case .enqueue(let enqueue) = record?.mutation else {
            Issue.record("\(String(describing: record))")
            return
        }
        #expect(enqueue.terms?.crashMax == 7)
    }
}
