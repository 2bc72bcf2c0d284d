import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct TransitionTests {
    @Test func theTableAllowsExactlyWhatLeadsSomewhere() {
        for state in JobState.allCases {
            for event in JobEvent.allCases {
                #expect(state.allows(event) == !state.states(after: event).isEmpty)
                if state.isFinished { #expect(!state.allows(event)) }
            }
        }
    }

    @Test func recordsThatNoStoreWroteAreCorrupt() throws {
        var engine = EngineHarness()
        let lane = Lane(queue: "q", maxAttempts: 1)
        let plain = try engine.enqueue(attempts: 1)
        let scheduled = try engine.enqueue(attempts: 1, delay: 1000, key: "k")
        let token = LeaseToken(99)
        let lease = { (job: JobID, attempt: UInt32) in
            Mutation.lease(LeaseGrant(job: job, lane: lane, attempt: attempt, deadline: .max, worker: ""))
        }
        let cursor = { (name: String, next: UInt64) in
            Mutation.cursorSet(
                CursorSet(name: name, cursor: Cursor(next: SequenceNumber(next), caps: .standard)))
        }
        let illegal: [Mutation] = [
            lease(JobID(7), 1), lease(plain, 2), lease(scheduled, 1),
            .heartbeat(Heartbeat(job: plain, token: token, deadline: .max)),
            .ack(Ack(job: plain, token: token)),
            .requeue(Requeue(job: plain, token: token, outcome: .ready)),
            .bury(Bury(job: plain, token: token)),
            .expire(.lease(job: plain, token: token, isDead: false)),
            .expire(.startBy(job: scheduled)),
            .expire(.uniqueKey(queue: "q", key: "k", job: scheduled)),
            .redrive(Redrive(job: plain)), .redrive(Redrive(job: scheduled)),
            .cancel(Cancel(job: JobID(7), lane: lane)), .cancel(Cancel(job: scheduled, lane: Lane(queue: "q"))),
            .enqueue(Enqueue(lane: lane, uniqueKey: "k")), .enqueue(Enqueue(lane: Lane(queue: ""))),
            .enqueue(Enqueue(lane: Lane(queue: "q", maxAttempts: 0))),
            .effect(Effect(scope: "s", key: "k", value: [], fence: Effect.Fence(job: plain, token: token))),
            .queueSettings(QueueSettings(queue: "", isPaused: true)),
            cursor("c", 0), cursor("c", 4), cursor("", 1), .cursorRemove(CursorRemove(name: "c")),
        ]
        let digest = engine.state.digest()
        for mutation in illegal {
            #expect(code { try engine.append(mutation) } == .corrupt, "\(mutation)")
        }
        #expect(engine.state.digest() == digest)
        // Unvalidated, they are ignored as far as they make no sense, and don't trap.
        for mutation in illegal {
            var state = engine.state
            state.apply(Record(sequence: state.lastSequence.next, time: engine.now, mutation: mutation))
            _ = state.digest()
        }
    }

    @Test func aLeaseCanNotEndWhereItsAttemptsDoNotLead() throws {
        var engine = EngineHarness()
        try engine.enqueue(attempts: 1)
        let lease = try engine.lease()[0]
        let illegal: [Mutation] = [
            .requeue(Requeue(job: lease.job, token: lease.token, outcome: .ready)),
            .requeue(Requeue(job: lease.job, token: lease.token, outcome: .dead, countsAttempt: false)),
            .expire(.lease(job: lease.job, token: lease.token, isDead: false)),
        ]
        for mutation in illegal { #expect(code { try engine.append(mutation) } == .corrupt) }
        try engine.append(.expire(.lease(job: lease.job, token: lease.token, isDead: true)))
    }

    @Test func aLeaseBeginsTheNextAttemptInTheLaneOfItsJob() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 2)
        try engine.requeue(try engine.lease()[0], delay: 0)
        let lease = { (attempt: UInt32, attempts: UInt32) in
            let lane = Lane(queue: "q", maxAttempts: attempts)
            return Mutation.lease(LeaseGrant(job: job, lane: lane, attempt: attempt, deadline: .max, worker: ""))
        }
        for illegal in [lease(1, 2), lease(3, 2), lease(2, 5)] {
            #expect(code { try engine.append(illegal) } == .corrupt, "\(illegal)")
        }
        try engine.append(lease(2, 2))
    }

    @Test func aRedriveTakesNoKeyFromItsHolder() throws {
        var engine = EngineHarness()
        let first = try engine.enqueue(key: "k")
        let lease = try engine.lease()[0]
        try engine.run(.bury(job: first, token: lease.token, reason: .buried, error: nil))
        let second = try engine.enqueue(key: "k")
        #expect(code { try engine.append(.redrive(Redrive(job: first))) } == .corrupt)
        try engine.run(.cancel(job: second, lane: nil))
        try engine.append(.redrive(Redrive(job: first)))
    }

    @Test func anEffectIsRecordedOnce() throws {
        var engine = EngineHarness()
        try engine.append(.effect(Effect(scope: "s", key: "k", value: [1])))
        #expect(code { try engine.append(.effect(Effect(scope: "s", key: "k", value: [2]))) } == .corrupt)
        try engine.append(.effect(Effect(scope: "s", key: "other", value: [2])))
    }

    @Test func sequenceAndTimeNeverGoBack() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let enqueue = Mutation.enqueue(Enqueue(lane: Lane(queue: "q")))
        let same = Record(sequence: engine.state.lastSequence, time: engine.now, mutation: enqueue)
        let early = Record(sequence: SequenceNumber(9), time: .zero, mutation: enqueue)
        let gap = Record(sequence: SequenceNumber(9), time: engine.now, mutation: enqueue)
        #expect(code { try engine.state.validate(same) } == .corrupt)
        #expect(code { try engine.state.validate(early) } == .corrupt)
        try engine.state.validate(gap)
        engine.state.apply(gap)
        #expect(engine.state.lastSequence == SequenceNumber(9))
    }
}

@Suite struct RetryPolicyTests {
    @Test(arguments: [1, 2, 3, 7, 17, 18, 1000, UInt32.max]) func delaysAreTheFourthPowerWithinATenth(attempt: UInt32) {
        let wide = Double(attempt)
        let exact = min(wide * wide * wide * wide * 1000, Double(RetryPolicy.quarticMillisecondsMax))
        var seen: Set<Int64> = []
        for id in 1...200 as ClosedRange<UInt64> {
            let delay = RetryPolicy.standard.delayMilliseconds(job: JobID(id), attempt: attempt)
            #expect(Double(delay) >= exact * 0.9 - 1 && Double(delay) <= exact * 1.1 + 1)
            #expect(delay <= RetryPolicy.quarticMillisecondsMax)
            #expect(delay == RetryPolicy.standard.delayMilliseconds(job: JobID(id), attempt: attempt))
            seen.insert(delay)
        }
        #expect(seen.count > 50)
    }

    @Test func hugeIdsDoNotOverflow() {
        #expect(RetryPolicy.standard.delayMilliseconds(job: JobID(.max), attempt: .max) > 0)
        #expect(RetryPolicy.standard.delayMilliseconds(job: JobID(.max), attempt: 0) == 0)
    }

    @Test(arguments: [
        (RetryPolicy.Growth.fixed(0), [0, 0, 0]), (.fixed(700), [700, 700, 700]),
        (.exponential(first: 100, factor: 3000, most: 1000), [100, 300, 900, 1000, 1000]),
        (.exponential(first: 100, factor: 1500, most: 400), [100, 150, 225, 337, 400, 400]),
        // Growth that rounds to nothing grows all the same; nothing does not.
        (.exponential(first: 1, factor: 1010, most: 4), [1, 2, 3, 4, 4]),
        (.exponential(first: 0, factor: 2000, most: 9), [0, 0, 0]),
        (.listed([9, 1, 4]), [9, 1, 4, 4, 4]), (.listed([8]), [8, 8]),
    ])
    func otherPoliciesGiveExactTimes(growth: RetryPolicy.Growth, delays: [Int64]) {
        let policy = RetryPolicy(growth, jitterPercent: 0)
        #expect(policy.isValid)
        for (index, delay) in delays.enumerated() {
            #expect(policy.delayMilliseconds(job: JobID(7), attempt: UInt32(index + 1)) == delay)
        }
        #expect(policy.delayMilliseconds(job: JobID(7), attempt: 0) == delays[0])
    }

    @Test func jitterStaysWithinItsPartAndTheLongestTime() {
        let policy = RetryPolicy(.exponential(first: 1000, factor: 2000, most: 1500), jitterPercent: 50)
        let delays = (1...500).map { policy.delayMilliseconds(job: JobID($0), attempt: 1) }
        #expect(delays.allSatisfy { (500...1500).contains($0) } && Set(delays).count > 100)
        #expect((delays.min() ?? 0) < 600 && (delays.max() ?? 0) > 1400)
        let most = (1...500).map { policy.delayMilliseconds(job: JobID($0), attempt: 9) }
        #expect(most.allSatisfy { (750...1500).contains($0) })
        let slow = RetryPolicy(
            .exponential(first: 1, factor: 1010, most: RetryPolicy.delayMillisecondsMax), jitterPercent: 0)
        #expect(slow.delayMilliseconds(job: JobID(1), attempt: .max) == RetryPolicy.delayMillisecondsMax)
    }

    @Test(arguments: [
        RetryPolicy(.fixed(-1), jitterPercent: 0), RetryPolicy(.fixed(1), jitterPercent: 101),
        RetryPolicy(.fixed(RetryPolicy.delayMillisecondsMax + 1), jitterPercent: 0),
        RetryPolicy(.exponential(first: 2, factor: 2000, most: 1), jitterPercent: 0),
        RetryPolicy(.exponential(first: 1, factor: 1009, most: 2), jitterPercent: 0),
        RetryPolicy(.exponential(first: 1, factor: 1_000_001, most: 2), jitterPercent: 0),
        RetryPolicy(.listed([]), jitterPercent: 0), RetryPolicy(.listed([1, -1]), jitterPercent: 0),
        RetryPolicy(.listed([Int64](repeating: 1, count: RetryPolicy.listMax + 1)), jitterPercent: 0),
        RetryPolicy(.quartic, jitterPercent: 9),
    ])
    func whatIsOutOfBoundsIsNoPolicy(policy: RetryPolicy) {
        #expect(!policy.isValid)
        var engine = EngineHarness()
        let settings = QueueSettings(queue: "q", retry: policy)
        #expect(code { try engine.append(.queueSettings(settings)) } == .corrupt)
    }
}
