// Jobs that wait for other jobs: when they may run, what becomes of them when one fails, and that the state says the
// same of it however it came about.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct DependencyTests {
    private var engine = EngineHarness()

    private mutating func enqueue(
        _ queue: String = "q", after: [JobID] = [], _ policy: DependencyPolicy = .wait, hold: Bool = false,
        before: JobID? = nil, attempts: UInt32 = 5, group: String = "", delay: Int64? = nil, startWithin: Int64? = nil
    ) throws -> JobID {
        var enqueue = Enqueue(
            lane: Lane(queue: queue, maxAttempts: attempts, group: group),
            runAt: delay.map { engine.now.advanced(byMilliseconds: $0) },
            startBy: startWithin.map { engine.now.advanced(byMilliseconds: $0) })
        let said = EnqueueDependencies(after: after, policy: policy, isHeld: hold, before: before)
        if said.isValid { enqueue.dependencies = said }
        guard case .enqueued(let job) = try engine.run(.enqueue(enqueue)) else {
            throw EngineError(.corrupt, "no job")
        }
        return job
    }

    /// Lets what follows be recorded, and compares the states that records and image give.
    private mutating func settle() throws {
        try engine.run(.advanceClock)
        let digest = engine.state.digest()
        #expect(try engine.replayed().digest() == digest)
        let restored = try engine.restored()
        restored.checkInvariants()
        #expect(restored.digest() == digest && image(of: restored) == image(of: engine.state))
    }

    private func state(_ job: JobID) -> JobState? { engine.state.status(of: job, at: engine.now)?.state }

    private mutating func bury(_ lease: (job: JobID, token: LeaseToken, attempt: UInt32)) throws {
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
    }

    // MARK: - Waiting

    @Test mutating func aJobRunsOnceAllThatItWaitsForHaveCompleted() throws {
        let jobs = [try enqueue("a"), try enqueue("a")]
        let last = try enqueue(after: jobs)
        #expect(state(last) == .scheduled && engine.counts()?.scheduled == 1)
        #expect(engine.state.status(of: last)?.dependencies?.pending == jobs)
        for job in jobs {
            try settle()
            #expect(try engine.lease(5).isEmpty)
            let lease = try engine.lease(from: ["a"])[0]
            #expect(lease.job == job)
            try engine.ack(lease)
        }
        try settle()
        #expect(state(last) == .ready && engine.state.status(of: last)?.dependencies?.done == 2)
        let lease = try #require(try engine.lease().first)
        #expect(lease.job == last && engine.state.status(of: last)?.dependencies?.pendingCount == 0)
        // What it waited for it remembers until it ends, over retries.
        try engine.requeue(lease, delay: 0)
        #expect(state(last) == .ready && engine.state.status(of: last)?.dependencies?.done == 2)
        try settle()
        try engine.ack(try engine.lease()[0])
        #expect(engine.state.digest() == (try engine.replayed()).digest())
        #expect(engine.state.status(of: last) == nil)
    }

    @Test mutating func aTimeCountsOnceNothingElseIsLeft() throws {
        let first = try enqueue("a")
        let late = try enqueue(after: [first], delay: 60_000)
        let early = try enqueue(after: [first], delay: 1_000)
        engine.advance(5_000)
        #expect(try engine.lease(5).isEmpty)
        try engine.ack(try engine.lease(from: ["a"])[0])
        try settle()
        #expect(state(early) == .ready && state(late) == .scheduled)
        #expect(try engine.lease(5).map(\.job) == [early])
        engine.advance(60_000)
        #expect(try engine.lease(5, from: ["q"]).map(\.job).contains(late))
    }

    @Test mutating func aBlockedJobCanBeEditedMovedAndCancelled() throws {
        let first = try enqueue("a")
        let job = try enqueue(after: [first])
        let other = try enqueue(after: [first])
        var changes = JobChanges()
        (changes.queue, changes.priority, changes.runAt) = ("r", 3, engine.now)
        try engine.run(.edit(job: job, lane: nil, changes))
        try engine.run(.cancel(job: other, lane: nil))
        try settle()
        #expect(state(job) == .scheduled && state(other) == nil && engine.counts("r")?.scheduled == 1)
        try engine.ack(try engine.lease(from: ["a"])[0])
        try settle()
        #expect(try engine.lease(5, from: ["r"]).map(\.job) == [job])
    }

    @Test mutating func aBlockedJobHoldsUpAStrictlyOrderedGroupAndIsPassedOverInAParkingOne() throws {
        for (queue, order) in [("s", GroupOrder.strict), ("p", .parking)] {
            try engine.run(.configure(QueueSettings(queue: queue, sharing: SharingSettings(order: order))))
            let first = try enqueue("a")
            let head = try enqueue(queue, after: [first], group: "g")
            let next = try enqueue(queue, group: "g")
            let free = try engine.lease(5, from: [queue])
            #expect(free.map(\.job) == (order == .strict ? [] : [next]))
            for lease in free { try engine.ack(lease) }
            try settle()
            try engine.ack(try engine.lease(from: ["a"])[0])
            #expect(try engine.lease(5, from: [queue]).map(\.job) == [head])
            try settle()
        }
    }

    @Test mutating func nobodyComesToWaitForOneBehindItInAStrictlyOrderedGroup() throws {
        try engine.run(.configure(QueueSettings(queue: "s", sharing: SharingSettings(order: .strict))))
        let end = try enqueue("s", hold: true, group: "g")
        let behind = code { _ = try enqueue("s", before: end, group: "g") }
        #expect(behind == .invalidState)
        let members = [
            try enqueue("s", before: end, group: "h"), try enqueue("s", before: end),
            try enqueue("a", before: end, group: "g"),
        ]
        try engine.run(.release(job: end))
        #expect(engine.state.status(of: end)?.dependencies?.pending == members)
        for lease in try engine.lease(5, from: ["s", "a"]) { try engine.ack(lease) }
        for lease in try engine.lease(5, from: ["s", "a"]) { try engine.ack(lease) }
        try settle()
        #expect(state(end) == nil)
        // In any other order it runs before what waits for it.
        try engine.run(.configure(QueueSettings(queue: "s", sharing: SharingSettings(order: .parking))))
        let held = try enqueue("s", hold: true, group: "g")
        let ahead = try enqueue("s", before: held, group: "g")
        #expect(try engine.lease(5, from: ["s"]).map(\.job) == [ahead])
    }

    @Test mutating func aBlockedJobMayBecomeTooLate() throws {
        let first = try enqueue("a")
        let job = try enqueue(after: [first], startWithin: 1_000)
        engine.advance(2_000)
        try settle()
        #expect(engine.state.status(of: job)?.deadReason == .startByPassed)
        // Redriven, it waits for what has not ended.
        try engine.run(.redrive(job: job))
        try settle()
        #expect(state(job) == .scheduled)
        try engine.ack(try engine.lease(from: ["a"])[0])
        #expect(state(job) == .ready)
        try settle()
    }

    // MARK: - Failing

    @Test(arguments: DependencyPolicy.allCases) func theEndOfADependencyDoesWhatTheJobSaid(
        policy: DependencyPolicy
    ) throws {
        var test = self
        let dying = try test.enqueue("a")
        let afterDead = try test.enqueue(after: [dying], policy)
        try test.bury(try test.engine.lease(from: ["a"])[0])
        let cancelled = try test.enqueue("a")
        let afterCancelled = try test.enqueue(after: [cancelled], policy)
        try test.engine.run(.cancel(job: cancelled, lane: Lane(queue: "a")))
        try test.settle()
        let dead = test.engine.state.status(of: afterDead)
        let other = test.engine.state.status(of: afterCancelled)
        switch policy {
        case .wait:
            #expect(dead?.state == .scheduled && dead?.dependencies?.deadPending == [dying])
            #expect(other?.state == .dead && other?.deadReason == .dependency)
        case .run:
            #expect(dead?.state == .ready && dead?.dependencies?.dead == 1)
            #expect(other?.state == .ready && other?.dependencies?.cancelled == 1)
        case .cancel: #expect(dead == nil && other == nil)
        case .die:
            #expect(dead?.deadReason == .dependency && other?.deadReason == .dependency)
            #expect(
                test.engine.records.contains {
                    $0.mutation == .expire(.dependency(job: afterDead, failed: dying))
                })
        }
    }

    @Test mutating func aRedrivenDependencyIsWaitedForAgain() throws {
        let first = try enqueue("a")
        let patient = try enqueue(after: [first])
        let proud = try enqueue(after: [first], .die)
        try bury(try engine.lease(from: ["a"])[0])
        try settle()
        #expect(state(patient) == .scheduled && state(proud) == .dead)
        try engine.run(.redrive(job: first))
        try engine.run(.redrive(job: proud))
        try settle()
        #expect(state(proud) == .scheduled)
        try engine.ack(try engine.lease(from: ["a"])[0])
        try settle()
        #expect(state(patient) == .ready && state(proud) == .ready)
    }

    @Test mutating func aCascadeIsWorkedOffInBoundedSteps() throws {
        let first = try enqueue("a")
        var chain = [first]
        for number in 0..<200 { chain.append(try enqueue(after: [chain[number]], number % 2 == 0 ? .die : .cancel)) }
        let end = try enqueue(after: chain, .run)
        let before = engine.records.count
        try bury(try engine.lease(from: ["a"])[0])
        // One record for the lease, one for the burial: nothing else has happened yet, and the next may not run.
        #expect(engine.records.count == before + 2 && state(chain[1]) == .scheduled)
        #expect(engine.state.hasOverdue(at: engine.now) && engine.state.nextDeadline(after: engine.now) == engine.now)
        #expect(engine.state.overdue(at: engine.now, limit: 1).count == 1)
        #expect(try restoredState(from: image(of: engine.state)).digest() == engine.state.digest())
        try settle()
        #expect(engine.records.count == before + 2 + 200 + 1)
        #expect(state(end) == .ready)
        let ends = engine.state.status(of: end)?.dependencies
        #expect(ends?.dead == 101 && ends?.cancelled == 100 && ends?.pendingCount == 0)
    }

    @Test mutating func whatHasFailedIsNotWaitedFor() throws {
        let dying = try enqueue("a")
        try bury(try engine.lease(from: ["a"])[0])
        for policy in [DependencyPolicy.cancel, .die] {
            let refused = code { _ = try enqueue(after: [dying], policy) }
            #expect(refused == .invalidState)
        }
        let waits = try enqueue(after: [dying])
        let runs = try enqueue(after: [dying], .run)
        #expect(state(waits) == .scheduled && state(runs) == .ready)
        let unknown = code { _ = try enqueue(after: [JobID(1 << 40)]) }
        #expect(unknown == .notFound)
        try settle()
    }

    // MARK: - Sets of jobs

    @Test mutating func aHeldJobWaitsForWhatIsAddedUntilItIsReleased() throws {
        let end = try enqueue("q", .run, hold: true)
        var members = [try enqueue("a", before: end)]
        try engine.ack(try engine.lease(from: ["a"])[0])
        #expect(state(end) == .scheduled)
        members.append(try enqueue("a", before: end))
        try settle()
        try engine.run(.release(job: end))
        #expect(state(end) == .scheduled)
        // As long as a member is left, more may come.
        members.append(try enqueue("a", before: end))
        let again = code { _ = try engine.run(.release(job: end)) }
        #expect(again == .invalidState)
        try settle()
        for lease in try engine.lease(5, from: ["a"]) { try engine.ack(lease) }
        try settle()
        #expect(state(end) == .ready && engine.state.status(of: end)?.dependencies?.done == 3)
        let late = code { _ = try enqueue("a", before: end) }
        let unknown = code { _ = try enqueue("a", before: JobID(1 << 40)) }
        #expect(late == .invalidState && unknown == .notFound)
    }

    @Test mutating func jobsNeverWaitForEachOther() throws {
        let first = try enqueue("a", hold: true)
        let second = try enqueue(after: [first])
        let third = try enqueue(after: [second])
        let cycle = code { _ = try enqueue(after: [third], before: first) }
        let own = code { _ = try enqueue(after: [first], before: first) }
        #expect(cycle == .invalidState && own == .invalidState)
        _ = try enqueue(after: [first], before: third)
        try settle()
        // Nor by two steps of one batch.
        func step(_ after: JobID, _ before: JobID) -> Command {
            var enqueue = Enqueue(lane: Lane(queue: "q"))
            enqueue.dependencies = EnqueueDependencies(after: [after], before: before)
            return .enqueue(enqueue)
        }
        let (left, right) = (try enqueue("l", hold: true), try enqueue("r", hold: true))
        let both = code { _ = try engine.runBatch([step(left, right), step(right, left)]) }
        #expect(both == .invalidState)
        try engine.runBatch([step(left, right), step(left, third)])
        try settle()
        // What a batch cancels waits for nothing any more, so that nothing waits through it.
        let (root, tail) = (try enqueue("s", hold: true), try enqueue("t", hold: true))
        let middle = try enqueue("m", after: [root])
        let end = try enqueue("e", after: [tail, middle])
        let through = code { _ = try engine.runBatch([step(end, root), .cancel(job: middle, lane: nil)]) }
        #expect(through == .invalidState)
        try engine.runBatch([.cancel(job: middle, lane: nil), step(end, root)])
        #expect(engine.state.status(of: root)?.dependencies?.pendingCount == 1)
        try settle()
    }

    @Test mutating func whatABatchEndsIsNotWaitedForByItsLaterSteps() throws {
        let first = try enqueue("a")
        let blocked = try enqueue(after: [first])
        let lease = try engine.lease(from: ["a"])[0]
        let ack = Command.ack(job: lease.job, token: lease.token, result: nil)
        var after = Enqueue(lane: Lane(queue: "q"))
        after.dependencies = EnqueueDependencies(after: [first])
        var before = Enqueue(lane: Lane(queue: "q"))
        before.dependencies = EnqueueDependencies(before: blocked)
        let late = code { _ = try engine.runBatch([ack, .enqueue(before)]) }
        #expect(late == .invalidState)
        let replies = try engine.runBatch([.enqueue(before), ack, .enqueue(after)])
        guard case .enqueued(let member) = replies[0], case .enqueued(let job) = replies[2] else {
            throw EngineError(.corrupt, "no jobs")
        }
        #expect(state(job) == .ready && engine.state.status(of: job)?.dependencies?.done == 1)
        #expect(engine.state.status(of: blocked)?.dependencies?.pending == [member])
        try settle()
    }

    @Test mutating func soManyMayWaitForOneJobAndNoMore() throws {
        let first = try enqueue("a")
        var new = Enqueue(lane: Lane(queue: "q"))
        new.dependencies = EnqueueDependencies(after: [first])
        let most = RecordLimits.dependentsMax
        var scope = BatchScope()
        var next = engine.state.lastSequence.next
        for _ in 0..<most {
            _ = try engine.state.decide(.enqueue(new), at: engine.now, next: next, in: &scope)
            next = next.next
        }
        let more = code { _ = try engine.state.decide(.enqueue(new), at: engine.now, next: next, in: &scope) }
        #expect(more == .invalidState)
    }

    @Test mutating func aJobWhoseDependencyIsLostEndsAsThoughThatWereCancelled() throws {
        let first = try enqueue("a")
        let job = try enqueue(after: [first], .die)
        let runs = try enqueue(after: [first], .run)
        var kept = engine.state.neededRecords
        kept.remove(first.rawValue)
        _ = engine.state.forget(recordsOutside: kept)
        engine.state.checkInvariants()
        engine.state.settle(at: engine.now)
        #expect(engine.state.status(of: job)?.deadReason == .dependency)
        #expect(engine.state.status(of: runs, at: engine.now)?.state == .ready)
    }

    @Test mutating func aJobWhoseDependencyNobodyKnowsIsHeld() throws {
        let first = try enqueue("a")
        for policy in DependencyPolicy.allCases {
            var lost = Enqueue(lane: Lane(queue: "q"))
            lost.dependencies = EnqueueDependencies(
                after: [first, JobID(900)], policy: policy, before: JobID(first.rawValue))
            let mended = engine.state.mended(lost).dependencies
            #expect(mended?.after == [first] && mended?.before == nil)
            #expect(mended?.isHeld == (policy != .run) && mended?.cancelled == (policy == .run ? 1 : 0))
            try engine.append(.enqueue(engine.state.mended(lost)))
        }
        var only = Enqueue(lane: Lane(queue: "q"))
        only.dependencies = EnqueueDependencies(before: first)
        #expect(engine.state.mended(only).dependencies == nil)
        try settle()
    }

    @Test mutating func recordsThatSayWhatCanNotBeAreCorrupt() throws {
        let first = try enqueue("a")
        let job = try enqueue(after: [first], .die)
        let plain = try enqueue()
        func said(_ dependencies: EnqueueDependencies) -> Mutation {
            var enqueue = Enqueue(lane: Lane(queue: "q"))
            enqueue.dependencies = dependencies
            return .enqueue(enqueue)
        }
        let illegal: [Mutation] = [
            .expire(.dependency(job: job, failed: first)), .expire(.dependency(job: plain, failed: first)),
            .release(Release(job: job)), .release(Release(job: plain)),
            said(EnqueueDependencies(after: [JobID(900)])), said(EnqueueDependencies(before: plain)),
            said(EnqueueDependencies(after: [first, first])), said(EnqueueDependencies()),
            .lease(LeaseGrant(job: job, lane: Lane(queue: "q"), attempt: 1, deadline: .max, worker: "")),
        ]
        let digest = engine.state.digest()
        for mutation in illegal {
            let refused = code { try engine.append(mutation) }
            #expect(refused == .corrupt, "\(mutation)")
        }
        #expect(engine.state.digest() == digest)
    }
}
