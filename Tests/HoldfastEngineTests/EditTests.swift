// Changing jobs that wait: what of it shows where, what is refused, and which records the state still needs.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct EditTests {
    private func changes(_ change: (inout JobChanges) -> Void) -> JobChanges {
        var changes = JobChanges()
        change(&changes)
        return changes
    }

    private func edit(_ job: JobID, _ lane: Lane? = Lane(queue: "q"), _ change: (inout JobChanges) -> Void) -> Command {
        .edit(job: job, lane: lane, changes(change))
    }

    @Test func aReadyJobIsLeasedByWhatItBecame() throws {
        var engine = EngineHarness()
        let jobs = try (0..<3).map { _ in try engine.enqueue() }
        try engine.run(edit(jobs[2]) { $0.priority = 4 })
        try engine.run(edit(jobs[0]) { $0.queue = "r" })
        #expect(try engine.lease(5).map(\.job) == [jobs[2], jobs[1]])
        let moved = try engine.lease(5, from: ["r"])
        #expect(moved.map(\.job) == [jobs[0]])
        #expect(engine.counts("q") == QueueCounts(leased: 2) && engine.counts("r") == QueueCounts(leased: 1))
        #expect(engine.state.status(of: jobs[2])?.lane == Lane(queue: "q", priority: 4))
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
    }

    @Test func aTimeIsPutOffAndBroughtForward() throws {
        var engine = EngineHarness()
        let (ready, scheduled) = (try engine.enqueue(), try engine.enqueue(delay: 5000))
        let later = engine.now.advanced(byMilliseconds: 9000)
        try engine.run(edit(ready) { $0.runAt = later })
        try engine.run(edit(scheduled) { $0.runAt = .zero })
        #expect(engine.counts() == QueueCounts(ready: 1, scheduled: 1))
        #expect(engine.state.nextDeadline(after: engine.now) == later)
        #expect(try engine.lease(5).map(\.job) == [scheduled])
        engine.advance(8999)
        #expect(try engine.lease(5).isEmpty)
        // Due, and leasable by then, it waits again.
        engine.advance(1)
        engine.state.promoteDue(at: engine.now)
        try engine.run(edit(ready) { $0.runAt = engine.now.advanced(byMilliseconds: 10) })
        #expect(try engine.lease(5).isEmpty)
        engine.advance(10)
        #expect(try engine.lease(5).map(\.job) == [ready])
    }

    @Test func aDueJobIsMovedWhetherOrNotItWasSeenToBeDue() throws {
        for promotes in [false, true] {
            var engine = EngineHarness()
            engine.promotes = promotes
            let job = try engine.enqueue(delay: 50)
            engine.advance(60)
            try engine.run(edit(job) { $0.queue = "r" })
            #expect(engine.counts("q") == QueueCounts() && engine.counts("r") == QueueCounts(ready: 1))
            #expect(try engine.replayed().digest() == engine.state.digest())
            #expect(try engine.lease(from: ["r"]).map(\.job) == [job])
        }
    }

    @Test func whoHasBegunAttemptsKeepsThemAndMayHaveMore() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 3)
        for _ in 0..<2 { try engine.requeue(try engine.lease()[0], delay: 0) }
        #expect(code { try engine.run(edit(job) { $0.maxAttempts = 2 }) } == .invalidState)
        try engine.run(edit(job) { $0.maxAttempts = 4 })
        let third = try engine.lease()[0]
        #expect(third.attempt == 3)
        try engine.requeue(third, delay: 0)
        #expect(try engine.requeue(try engine.lease()[0], delay: 0) == .requeued(.dead))
    }

    @Test func theStateNeedsTheNewestContentAndNoOther() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        let plain = engine.state.digest()
        func isNeeded(_ sequence: UInt64) -> Bool {
            engine.state.isNeeded(sequence: SequenceNumber(sequence), kind: RecordKind.edit.rawValue)
        }
        try engine.run(edit(job) { $0.priority = 1 })
        #expect(!isNeeded(2))
        try engine.run(edit(job) { $0.payload = [1] })
        try engine.run(edit(job) { $0.headers = [.init(name: "h", value: "v")] })
        #expect(isNeeded(1) && isNeeded(3) && isNeeded(4))
        try engine.run(edit(job) { ($0.payload, $0.headers) = ([2], []) })
        #expect(isNeeded(1) && !isNeeded(3) && !isNeeded(4) && isNeeded(5))
        try engine.run(edit(job) { $0.payload = [] })
        #expect(isNeeded(5) && isNeeded(6))
        let status = engine.state.status(of: job)
        #expect(status?.payloadSequence == SequenceNumber(6) && status?.headersSequence == SequenceNumber(5))
        #expect(engine.state.digest() != plain)
        let restored = try engine.restored()
        restored.checkInvariants()
        #expect(restored.status(of: job) == status && restored.neededRecords.count == 3)
        // It stays so for as long as the job is there.
        let lease = try engine.lease()[0]
        try engine.run(.bury(job: job, token: lease.token, reason: .buried, error: nil))
        #expect(isNeeded(5) && isNeeded(6))
        try engine.run(.redrive(job: job))
        try engine.ack(try engine.lease()[0])
        #expect(engine.state.neededRecords.isEmpty)
        #expect(engine.state.digest() == QueueState().digest())
    }

    @Test func whatDoesNotWaitIsNotChanged() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 1)
        func refusal(_ job: JobID, _ lane: Lane? = nil) -> EngineError? {
            do { try engine.run(edit(job, lane) { $0.priority = 1 }) } catch { return error as? EngineError }
            return nil
        }
        let lease = try engine.lease()[0]
        #expect(refusal(job)?.code == .invalidState && refusal(job)?.message.contains("is leased by w") == true)
        try engine.requeue(lease)
        #expect(refusal(job)?.code == .invalidState && refusal(job)?.message.contains("redrive it first") == true)
        try engine.run(.cancel(job: job, lane: nil))
        #expect(refusal(job, Lane(queue: "q", maxAttempts: 1))?.message.contains("finished") == true)
        #expect(refusal(job)?.code == .notFound && refusal(JobID(99), Lane(queue: "q"))?.code == .notFound)
        let before = engine.records.count
        let next = try engine.enqueue()
        try engine.run(edit(next) { $0.queue = "q" })
        #expect(engine.records.count == before + 1)
    }

    @Test func aMoveKeepsTheCapacityOfTheNewQueue() throws {
        var engine = EngineHarness()
        try engine.run(.configure(QueueSettings(queue: "r", capacity: 2)))
        let jobs = try (0..<3).map { _ in try engine.enqueue() }
        try engine.run(edit(jobs[0]) { $0.queue = "r" })
        #expect(code { try engine.runBatch(jobs[1...].map { edit($0) { $0.queue = "r" } }) } == .queueFull)
        #expect(engine.counts("r") == QueueCounts(ready: 1))
        let back = edit(jobs[0], Lane(queue: "r")) { $0.queue = "q" }
        try engine.runBatch([back] + jobs[1...].map { edit($0) { $0.queue = "r" } })
        #expect(engine.counts("q") == QueueCounts(ready: 1) && engine.counts("r") == QueueCounts(ready: 2))
        // One that is moved and cancelled makes room where it was last.
        let enqueue = Command.enqueue(Enqueue(lane: Lane(queue: "r")))
        #expect(code { try engine.runBatch([enqueue]) } == .queueFull)
        try engine.runBatch([.cancel(job: jobs[1], lane: nil), edit(jobs[0]) { $0.queue = "r" }])
        try engine.runBatch([
            edit(jobs[0]) { $0.queue = "q" }, edit(jobs[0]) { $0.queue = "r" }, .cancel(job: jobs[0], lane: nil),
            enqueue,
        ])
        #expect(engine.counts("q") == QueueCounts() && engine.counts("r") == QueueCounts(ready: 2))
    }

    @Test func aMoveTakesTheKeyAlongUnlessAnotherHoldsItThere() throws {
        for window in [nil, 60_000] as [Int64?] {
            var engine = EngineHarness()
            let job = try engine.enqueue(key: "k", window: window)
            let other = try engine.enqueue("r", key: "k", window: window)
            #expect(code { try engine.run(edit(job) { $0.queue = "r" }) } == .invalidState)
            try engine.run(edit(job) { $0.queue = "s" })
            #expect(try engine.enqueue("s", key: "k") == job)
            let next = try engine.enqueue(key: "k", window: window)
            #expect(next != job)
            // Within a batch as well.
            try engine.runBatch([edit(next, nil) { $0.queue = "t" }, edit(job, nil) { $0.queue = "q" }])
            #expect(code { try engine.run(edit(other) { $0.queue = "q" }) } == .invalidState)
            #expect(try engine.enqueue(key: "k") == job && engine.enqueue("t", key: "k") == next)
            #expect(try engine.replayed().digest() == engine.state.digest())
            #expect(try engine.restored().digest() == engine.state.digest())
            engine.advance(60_000)
            try engine.run(.advanceClock)
            #expect(try (engine.enqueue(key: "k") == job) == (window == nil))
        }
    }

    @Test func aKeyWhoseTimeIsOverDoesNotMove() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(key: "k", window: 100)
        let other = try engine.enqueue("r", key: "k")
        engine.advance(100)
        try engine.run(edit(job) { $0.queue = "r" })
        #expect(try engine.enqueue("r", key: "k") == other && engine.enqueue(key: "k") != job)
    }

    @Test func aBatchDecidesUponWhatItHasChanged() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue(attempts: 2)
        let lease = try engine.lease()[0]
        let requeue = Command.requeue(
            job: job, token: lease.token, delayMilliseconds: 0, error: nil, countsAttempt: true)
        #expect(code { try engine.runBatch([requeue, edit(job) { $0.maxAttempts = 1 }]) } == .invalidState)
        try engine.runBatch([
            requeue, edit(job) { ($0.queue, $0.priority) = ("r", 3) }, edit(job) { $0.maxAttempts = 9 },
        ])
        #expect(engine.state.status(of: job)?.lane == Lane(queue: "r", priority: 3, maxAttempts: 9))
        let bury = try engine.lease(from: ["r"])[0]
        let dead = Command.bury(job: job, token: bury.token, reason: .buried, error: nil)
        #expect(code { try engine.runBatch([dead, edit(job) { $0.priority = 1 }]) } == .invalidState)
        #expect(try engine.replayed().digest() == engine.state.digest())
    }

    @Test func editRecordsThatNoStoreWroteAreCorrupt() throws {
        var engine = EngineHarness()
        let lane = Lane(queue: "q")
        let plain = try engine.enqueue()
        let keyed = try engine.enqueue(key: "k")
        try engine.enqueue("r", key: "k")
        let tried = try engine.enqueue("s")
        try engine.requeue(try engine.lease(from: ["s"])[0], delay: 0)
        let leased = try engine.enqueue("t")
        try engine.lease(from: ["t"])
        var grouped = lane
        grouped.group = "g"
        let illegal = [
            Edit(job: JobID(77), from: lane, to: lane), Edit(job: plain, from: grouped, to: grouped),
            Edit(job: plain, from: lane, to: grouped), Edit(job: plain, from: lane, to: Lane(queue: "")),
            Edit(job: plain, from: lane, to: Lane(queue: "q", maxAttempts: 0)),
            Edit(job: keyed, from: Lane(queue: "x"), to: Lane(queue: "x")),
            Edit(job: keyed, from: lane, to: Lane(queue: "r")),
            Edit(job: tried, from: Lane(queue: "s"), to: Lane(queue: "s", maxAttempts: 1)),
            Edit(job: leased, from: Lane(queue: "t"), to: Lane(queue: "t", priority: 1)),
        ]
        let digest = engine.state.digest()
        for edit in illegal {
            #expect(code { try engine.append(.edit(edit)) } == .corrupt, "\(edit)")
            // Unvalidated, it is ignored as far as it makes no sense, and does not trap.
            var state = engine.state
            state.apply(Record(sequence: state.lastSequence.next, time: engine.now, mutation: .edit(edit)))
            _ = state.digest()
        }
        #expect(engine.state.digest() == digest)
    }

    @Test func aJobWhoseNewContentIsLostIsForgotten() throws {
        var engine = EngineHarness()
        let (kept, lost) = (try engine.enqueue(), try engine.enqueue())
        for job in [kept, lost] { try engine.run(edit(job) { $0.payload = [7] }) }
        var records = engine.state.neededRecords
        records.remove(engine.state.lastSequence.rawValue)
        let forgotten = engine.state.forget(recordsOutside: records)
        engine.state.checkInvariants()
        #expect(forgotten.jobs.map(\.id) == [lost] && engine.state.neededRecords.count == 2)
        #expect(try engine.lease(5).map(\.job) == [kept])
    }
}
