// Histories that tell little, or of more than there is room for: every run ends, and says what it left.

import HoldfastBytes
import HoldfastEngine
import HoldfastWhatIf
import Testing

@Suite(.timeLimit(.minutes(5)))
struct SimulationBoundTests {
    // MARK: - Where nothing tells how an attempt ends

    @Test(arguments: [Int64?.none, 0, 40]) func aRunOverAttemptsThatWereOnlyGivenBackEnds(delay: Int64?) throws {
        var log = Recording()
        let job = try log.enqueue(at: 0)
        try log.lease(at: 0)
        try log.add(
            .requeue(job: job, token: log.token(job), delayMilliseconds: delay, error: nil, countsAttempt: false),
            at: 30)
        let (history, measurement) = try log.history()
        #expect(measurement.tally().unfinished == 1)
        // Given back after 30 ms as recorded; the next is as long and ends well.
        let tally = try history.run()
        #expect(tally.jobs == 1 && tally.completed == 1 && tally.attempts == 2 && tally.drawn == 1)
        #expect(tally.latency.sorted == [30 + (delay ?? 0) + 30])
    }

    @Test func anAttemptOfWhichNothingTellsIsAsLongAsItWasUntilTheEnd() throws {
        var log = Recording()
        _ = try log.enqueue(at: 0)
        try log.lease(at: 0)
        _ = try log.enqueue(at: 70)
        let tally = try log.history().history.run()
        #expect(tally.completed == 2 && tally.drawn == 2 && tally.latency.sorted == [70, 70])
    }

    @Test func aQueueWithoutSamplesDrawsFromTheQueueThatHasMost() throws {
        var log = Recording()
        let done = try log.enqueue("busy", at: 0)
        try log.lease("busy", at: 0)
        try log.ack(done, at: 25)
        let open = try log.enqueue("quiet", at: 25)
        try log.lease("quiet", at: 25)
        try log.add(
            .requeue(job: open, token: log.token(open), delayMilliseconds: 0, error: nil, countsAttempt: false), at: 26)
        let (history, _) = try log.history()
        #expect(history.samples.map(\.count) == [1, 0])
        let tally = try history.run()
        #expect(tally.completed == 2 && tally.drawn == 1 && tally.latency.sorted == [25, 26])
    }

    // MARK: - Many queues

    /// Each queue has workers of its own; a limit and a pause hold some back until another event frees them.
    @Test func everyQueueOfManyIsServed() throws {
        var log = Recording()
        let names = (0..<40).map { "q\($0)" }
        var jobs: [JobID] = []
        for (index, name) in names.enumerated() {
            if index.isMultiple(of: 7) { try log.add(.setPaused(queue: name, true), at: 0) }
            jobs.append(try log.enqueue(name, at: 0))
            jobs.append(try log.enqueue(name, at: 0, delay: Int64(index)))
        }
        for (index, name) in names.enumerated() where index.isMultiple(of: 7) {
            try log.add(.setPaused(queue: name, false), at: 100)
        }
        for name in names {
            try log.lease(name, at: 100)
            try log.lease(name, at: 100)
        }
        for job in jobs { try log.ack(job, at: 150) }
        let (history, _) = try log.history()
        #expect(try history.run().completed == 80)
        let limited = try history.run { $0.limit = 1 }
        #expect(limited.completed == 80 && limited.latency.sorted.last == 200 && limited.drawn == 0)
        var settings = WhatIfSettings(queues: names.count)
        settings.sharedWorkers = 3
        #expect(try Simulation(history, settings).run().tally().completed == 80)
    }

    // MARK: - Attempts before the range

    /// Two failures, then in the range a third, a redrive, a failure and an ack; three attempts are allowed.
    @Test func aRedriveGivesAJobFromBeforeTheRangeAllItsAttemptsBack() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: 3)
        for time: Int64 in [0, 10] {
            try log.lease(at: time)
            try log.fail(job, at: time + 5, delay: 0)
        }
        let count = log.records.count
        try log.lease(at: 20)
        try log.fail(job, at: 30)
        try log.add(.redrive(job: job), at: 40)
        try log.lease(at: 40)
        try log.fail(job, at: 50, delay: 0)
        try log.lease(at: 50)
        try log.ack(job, at: 60)
        let (history, measurement) = try log.history(after: count)
        let recorded = measurement.tally()
        #expect(recorded.completed == 1 && recorded.dead == 0 && history.jobs[0].attemptsBefore == 2)
        let baseline = try history.run()
        #expect(Outline(baseline) == Outline(recorded) && baseline.drawn == 0)
        // With fewer it dies at once, and again after the redrive.
        let fewer = try history.run { $0.maxAttempts = 1 }
        #expect(fewer.dead == 1 && fewer.attempts == 2)
    }

    @Test func attemptsBeforeTheRangeCountUntilARedrive() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: 3)
        try log.lease(at: 0)
        try log.fail(job, at: 5, delay: 0)
        let count = log.records.count
        for time: Int64 in [10, 20] {
            try log.lease(at: time)
            try log.fail(job, at: time + 10, delay: 0)
        }
        let (history, measurement) = try log.history(after: count)
        #expect(measurement.tally().dead == 1)
        #expect(Outline(try history.run()) == Outline(measurement.tally()))
    }

    // MARK: - Bounds

    /// One job that fails once, and other jobs that come later; all may be tried a million times.
    private func failing(others: Int) throws -> RecordedHistory {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: RecordLimits.maxAttemptsMax)
        try log.lease(at: 0)
        try log.fail(job, at: 0, delay: 0)
        for _ in 0..<others { _ = try log.enqueue(at: 10, maxAttempts: RecordLimits.maxAttemptsMax) }
        return try log.history().history
    }

    @Test func aJobThatMayFailAMillionTimesDoesNotHoldARunUp() throws {
        let history = try failing(others: 3)
        let run = try Simulation(history, WhatIfSettings(queues: 1)).run()
        let tally = run.tally()
        // Four for each of one attempt and four jobs, and the one that was recorded.
        #expect(run.isStopped && tally.attempts == 1 + 4 * 5 + 1 && tally.drawn == 21)
        #expect(tally.jobs == 4 && tally.unfinished == 4, "also those that had not come yet")
    }

    @Test func aLeaseThatAlwaysEndsTooSoonDoesNotHoldARunUp() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: RecordLimits.maxAttemptsMax)
        try log.lease(at: 0)
        try log.ack(job, at: 100)
        var settings = WhatIfSettings(queues: 1)
        settings.queues[0].leaseMilliseconds = 10
        let run = try Simulation(try log.history().history, settings).run()
        #expect(run.isStopped && run.tally().unfinished == 1 && run.tally().expired >= 8)
        settings.queues[0].leaseMilliseconds = 101
        let enough = try Simulation(try log.history().history, settings).run()
        #expect(!enough.isStopped && enough.tally().completed == 1)
    }

    @Test func aRangeHoldsNoMoreJobsAttemptsAndInputsThanThereIsRoomFor() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: 9)
        for _ in 0..<3 {
            try log.lease(at: 0)
            try log.fail(job, at: 0, delay: 0)
        }
        for isPaused in [true, false, true] { try log.add(.setPaused(queue: "q", isPaused), at: 1) }
        func taken(_ change: (inout RecordedHistory.Bounds) -> Void) -> Int {
            var bounds = RecordedHistory.Bounds()
            change(&bounds)
            var builder = HistoryBuilder(after: QueueState(), bounds: bounds)
            return log.records.firstIndex { !builder.add($0) } ?? log.records.count
        }
        #expect(taken { _ in } == log.records.count && log.records.count == 10)
        #expect(taken { $0.jobs = 1 } == 0)
        #expect(taken { $0.attempts = 2 } == 3, "the second lease")
        #expect(taken { $0.inputs = 2 } == 8, "the second pause")
        let usual = RecordedHistory.Bounds()
        #expect(usual.attempts < Int32.max && usual.jobs < Int32.max && usual.inputs < Int32.max)
    }
}
