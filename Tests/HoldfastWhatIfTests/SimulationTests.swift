// Histories small enough to work out on paper, driven again under one changed setting at a time.

import HoldfastBytes
import HoldfastEngine
import HoldfastWhatIf
import Testing

@Suite struct WhatIfSimulationTests {
    /// Two jobs at 0, one worker: 0 to 100 and 100 to 250.
    private func twoJobs() throws -> Recording {
        var log = Recording()
        let (a, b) = (try log.enqueue(at: 0), try log.enqueue(at: 0))
        try log.lease(at: 0)
        try log.ack(a, at: 100)
        try log.lease(at: 100)
        try log.ack(b, at: 250)
        return log
    }

    @Test func twoJobsAndOneWorkerGiveTheNumbersOnPaper() throws {
        let (history, measurement) = try twoJobs().history()
        let recorded = measurement.tally()
        #expect(history.leasedMax == [1])
        #expect(recorded.latency.sorted == [100, 250])
        #expect(recorded.wait.sorted == [0, 100])
        #expect(recorded.backlog.peak.count == 1 && recorded.backlog.peak.time == Recording.start)
        #expect(recorded.backlog.times.map { $0 - Recording.start } == [0, 100])
        #expect(recorded.makespan == 250 && recorded.leasedMilliseconds == 250)
        #expect(recorded.utilisation(workers: 1) == 1)
        #expect(Outline(try history.run()) == Outline(recorded))
    }

    @Test func twoWorkersDoBothAtOnce() throws {
        let tally = try twoJobs().history().history.run { $0.workers = 2 }
        #expect(tally.latency.sorted == [100, 150] && tally.wait.sorted == [0, 0])
        #expect(tally.makespan == 150 && tally.backlog.peak.count == 0)
    }

    @Test func aLimitHoldsWorkersBack() throws {
        let tally = try twoJobs().history().history.run {
            $0.workers = 2
            $0.limit = 1
        }
        #expect(tally.latency.sorted == [100, 250])
    }

    @Test func speedDividesWhatWorkersTake() throws {
        let tally = try twoJobs().history().history.run { $0.speed = 2 }
        #expect(tally.latency.sorted == [50, 125])
    }

    /// Two jobs in each of two queues at 0, 100 ms each; one worker a queue.
    private func twoQueues() throws -> RecordedHistory {
        var log = Recording()
        let jobs = try ["a", "b", "a", "b"].map { queue in try log.enqueue(queue, at: 0) }
        for round in 0..<2 {
            for queue in ["a", "b"] { try log.lease(queue, at: Int64(100 * round)) }
            for job in jobs[(2 * round)...(2 * round + 1)] { try log.ack(job, at: Int64(100 * round + 100)) }
        }
        return try log.history().history
    }

    @Test func sharedWorkersServeQueuesInTurn() throws {
        let history = try twoQueues()
        var settings = WhatIfSettings(queues: 2)
        #expect(Simulation(history, settings).workers == 2)
        settings.sharedWorkers = 1
        #expect(Simulation(history, settings).workers == 1)
        let run = try Simulation(history, settings).run()
        #expect(run.tally(0).latency.sorted == [100, 300] && run.tally(1).latency.sorted == [200, 400])
        #expect(run.tally().backlog.counts == [3, 2, 1, 0])
    }

    @Test func aLimitLeavesSharedWorkersToOtherQueues() throws {
        let history = try twoQueues()
        var settings = WhatIfSettings(queues: 2)
        settings.sharedWorkers = 3
        settings.queues[0].limit = 1
        let run = try Simulation(history, settings).run()
        #expect(run.tally(0).latency.sorted == [100, 200] && run.tally(1).latency.sorted == [100, 100])
    }

    @Test func workersOfItsOwnKeepAQueueFromSharedOnes() throws {
        let history = try twoQueues()
        var settings = WhatIfSettings(queues: 2)
        settings.sharedWorkers = 2
        settings.queues[0].workers = 1
        #expect(Simulation(history, settings).workers == 3)
        let run = try Simulation(history, settings).run()
        #expect(run.tally(0).latency.sorted == [100, 200] && run.tally(1).latency.sorted == [100, 100])
    }

    @Test func aJobThatWasEditedComesAsItWasInTheEnd() throws {
        var log = Recording()
        let (moved, delayed) = (try log.enqueue("a", at: 0), try log.enqueue("b", at: 0, delay: 500))
        var changes = JobChanges()
        changes.queue = "b"
        try log.add(.edit(job: moved, lane: Lane(queue: "a"), changes), at: 10)
        changes = JobChanges()
        changes.runAt = Timestamp(milliseconds: Recording.start + 40)
        try log.add(.edit(job: delayed, lane: nil, changes), at: 15)
        try log.lease("b", at: 20)
        try log.ack(moved, at: 30)
        try log.lease("b", at: 40)
        try log.ack(delayed, at: 60)
        let (history, measurement) = try log.history()
        #expect(history.queues == ["a", "b"] && measurement.tally(0).jobs == 0)
        #expect(measurement.tally(1).latency.sorted == [20, 30] && measurement.tally(1).wait.sorted == [0, 20])
        let run = try Simulation(history, WhatIfSettings(queues: 2)).run()
        #expect(run.tally(0).jobs == 0 && run.tally(1).latency.sorted == [10, 20])
    }

    @Test func jobsThatWaitedForOthersDoSoAgain() throws {
        var log = Recording()
        let parts = [try log.enqueue("a", at: 0), try log.enqueue("a", at: 0)]
        func wait(_ policy: DependencyPolicy, _ queue: String) throws -> JobID {
            var enqueue = Enqueue(lane: Lane(queue: queue))
            enqueue.dependencies = EnqueueDependencies(after: parts, policy: policy)
            try log.add(.enqueue(enqueue), at: 0)
            return JobID(log.state.lastSequence)
        }
        let end = try wait(.run, "b")
        _ = try wait(.cancel, "c")
        for (index, part) in parts.enumerated() {
            try log.lease("a", at: Int64(100 * index))
            if index == 0 {
                try log.ack(part, at: 100)
            } else {
                try log.add(.bury(job: part, token: log.token(part), reason: .buried, error: nil), at: 200)
            }
        }
        try log.lease("b", at: 250)
        try log.ack(end, at: 280)
        let (history, measurement) = try log.history()
        #expect(measurement.tally(1).wait.sorted == [50] && measurement.tally(1).latency.sorted == [80])
        #expect(measurement.tally(2).cancelled == 1 && history.inputs.isEmpty)
        var settings = WhatIfSettings(queues: 3)
        for workers in [1, 2] {
            settings.queues[0].workers = workers
            let run = try Simulation(history, settings).run()
            #expect(run.tally(1).wait.sorted == [0] && run.tally(1).latency.sorted == [30])
            #expect(run.tally(1).completed == 1)
            #expect(run.tally(2).cancelled == 1 && run.tally(0).dead == 1)
        }
    }

    // MARK: - Retries

    /// One job that fails twice, 10 ms each, and is done in the third attempt; recorded delays 1000 and 2000.
    private func retried() throws -> Recording {
        var log = Recording()
        let job = try log.enqueue(at: 0, maxAttempts: 3)
        try log.lease(at: 0)
        try log.fail(job, at: 10, delay: 1000)
        try log.lease(at: 1010)
        try log.fail(job, at: 1020, delay: 2000)
        try log.lease(at: 3020)
        try log.ack(job, at: 3030)
        return log
    }

    @Test(arguments: [
        (RetryRule.recorded, 3030), (.fixed(0), 30), (.fixed(500), 1030), (.listed([5, 7]), 42), (.listed([100]), 230),
        (.exponential(first: 100, factor: 3000, most: 1000), 430),
        (.exponential(first: 100, factor: 3000, most: 150), 280),
    ])
    func retryRulesGiveExactTimes(rule: RetryRule, latency: Int) throws {
        let tally = try retried().history().history.run { $0.retry = rule }
        #expect(tally.latency.sorted == [Int64(latency)] && tally.attempts == 3 && tally.drawn == 0)
    }

    @Test func theStoresOwnPolicyGivesTheDelaysItWouldHaveGiven() throws {
        let delays = (1...2).map { RetryPolicy.standard.delayMilliseconds(job: JobID(1), attempt: UInt32($0)) }
        let tally = try retried().history().history.run { $0.retry = .policy(.standard) }
        #expect(tally.latency.sorted == [30 + delays[0] + delays[1]])
    }

    @Test func fewerAttemptsMakeADeadLetterAndMoreAreDrawn() throws {
        let fewer = try retried().history().history.run { $0.maxAttempts = 2 }
        #expect(fewer.dead == 1 && fewer.attempts == 2 && fewer.completed == 0 && fewer.drawn == 0)
        var log = Recording()
        let dead = try log.enqueue(at: 0, maxAttempts: 1)
        try log.lease(at: 0)
        try log.fail(dead, at: 10)
        let other = try log.enqueue(at: 20)
        try log.lease(at: 20)
        try log.fail(other, at: 30, delay: 0)
        try log.lease(at: 30)
        try log.ack(other, at: 37)
        let (history, measurement) = try log.history()
        #expect(measurement.tally().dead == 1)
        // What is drawn comes after a failure, as the only such attempt did: done after 7 ms.
        let more = try history.run {
            $0.maxAttempts = 5
            $0.retry = .fixed(100)
        }
        #expect(more.dead == 0 && more.completed == 2 && more.drawn == 1)
        #expect(more.latency.sorted == [117, 117])
    }

    @Test func whatAQueueKeepsIsTakenOverFromBeforeTheRange() throws {
        var log = Recording()
        let retention = RetentionSettings(deadMax: 2, deadAge: 5_000, results: 7)
        try log.add(.configure(QueueSettings(queue: "q", retention: retention)), at: 0)
        _ = try log.enqueue(at: 1)
        let (history, _) = try log.history(after: 1)
        #expect(history.settings.map(\.retention) == [retention])
    }

    // MARK: - Leases

    @Test func aShorterLeaseCutsShortWhatDoesNotHeartbeat() throws {
        let (history, _) = try twoJobs().history()
        let tally = try history.run { $0.leaseMilliseconds = 120 }
        // The second job takes 150: each of its five attempts ends at 120, its worker is busy for 150.
        #expect(tally.completed == 1 && tally.dead == 1 && tally.expired == 5 && tally.attempts == 6)
        #expect(tally.drawn == 0)
        #expect(tally.makespan == 100 + 4 * 150 + 120)
        #expect(try history.run { $0.leaseMilliseconds = 151 }.completed == 2)
        #expect(try history.run { $0.leaseMilliseconds = 150 }.expired == 5, "void from the deadline on")
    }

    @Test func whatHeartbeatsKeepsItsLease() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0)
        try log.lease(at: 0, for: 100)
        try log.heartbeat(job, at: 90, for: 100)
        try log.ack(job, at: 180)
        let (history, measurement) = try log.history()
        #expect(Outline(try history.run()) == Outline(measurement.tally()))
        #expect(try history.run { $0.leaseMilliseconds = 50 }.latency.sorted == [180])
    }

    @Test func aVanishedWorkersLeaseEndsWithTheNewLength() throws {
        var log = Recording()
        let job = try log.enqueue(at: 0)
        try log.lease(at: 0, for: 1000)
        try log.heartbeat(job, at: 400, for: 1000)
        try log.lease(at: 1400)
        try log.ack(job, at: 1410)
        let (history, measurement) = try log.history()
        #expect(measurement.tally().latency.sorted == [1410] && measurement.tally().expired == 1)
        #expect(Outline(try history.run()) == Outline(measurement.tally()))
        #expect(try history.run { $0.leaseMilliseconds = 50 }.latency.sorted == [460])
    }

    // MARK: - From outside

    @Test func delaysCancelsPausesRedrivesAndTimesToLiveHappenAgain() throws {
        var log = Recording()
        let delayed = try log.enqueue(at: 0, delay: 50)
        let cancelled = try log.enqueue(at: 0)
        let late = try log.enqueue(at: 0, startBy: 40)
        try log.add(.setPaused(queue: "q", true), at: 0)
        try log.add(.cancel(job: cancelled, lane: Lane(queue: "q")), at: 20)
        try log.add(.setPaused(queue: "q", false), at: 60)
        try log.lease(at: 60)
        try log.add(.bury(job: delayed, token: log.token(delayed), reason: .buried, error: nil), at: 80)
        try log.add(.redrive(job: delayed), at: 90)
        try log.lease(at: 90)
        try log.ack(delayed, at: 100)
        let forgotten = try log.enqueue(at: 100, delay: 1_000_000)
        let (history, measurement) = try log.history()
        let recorded = measurement.tally()
        #expect(forgotten > late && history.leftOut == 1)
        #expect(recorded.jobs == 3 && recorded.completed == 1 && recorded.cancelled == 1 && recorded.dead == 1)
        #expect(recorded.latency.sorted == [10], "counted from the redrive on")
        #expect(Outline(try history.run()) == Outline(recorded))
    }

    @Test func jobsFromBeforeTheRangeComeInAtItsBeginning() throws {
        var log = Recording()
        let running = try log.enqueue(at: 0, maxAttempts: 2)
        let waiting = try log.enqueue(at: 0)
        try log.lease(at: 0)
        try log.fail(running, at: 10, delay: 0)
        try log.lease(at: 10)
        let count = log.records.count
        try log.ack(running, at: 60)
        try log.lease(at: 60)
        try log.ack(waiting, at: 90)
        let (history, measurement) = try log.history(after: count)
        #expect(history.carriedOver == 2 && history.start == Recording.start + 60)
        let recorded = measurement.tally()
        #expect(recorded.jobs == 2 && recorded.completed == 2 && recorded.latency.sorted == [0, 30])
        #expect(Outline(try history.run()) == Outline(recorded))
    }

    @Test func whatWasRunningWhenTheRangeEndsTakesAtLeastAsLong() throws {
        var log = Recording()
        let (a, b) = (try log.enqueue(at: 0), try log.enqueue(at: 0))
        try log.lease(at: 0)
        try log.lease(at: 0)
        try log.ack(a, at: 10)
        _ = try log.enqueue(at: 500, delay: 1)
        let (history, measurement) = try log.history()
        #expect(b.rawValue > 0 && measurement.tally().unfinished == 1)
        let tally = try history.run()
        #expect(tally.completed == 2 && tally.completedInTime == 2 && tally.drawn == 1)
        #expect(tally.latency.sorted == [10, 500])
    }

    @Test func whatHappensAfterTheEndOfTheRecordingIsNoTimeToBeBusyIn() throws {
        let (history, measurement) = try twoJobs().history()
        let slow = try history.run { $0.speed = 0.5 }
        // 0 to 200 and 200 to 500; the recording ended at 250.
        #expect(slow.latency.sorted == [200, 500] && slow.completedInTime == 1 && slow.makespan == 500)
        #expect(slow.utilisation(workers: 1) == 1 && slow.leasedMilliseconds == 250)
        #expect(measurement.tally().utilisation(workers: 2) == 0.5)
    }

    @Test func aRangeWithoutAnyLeaseRunsNothing() throws {
        var log = Recording()
        _ = try log.enqueue(at: 0)
        let tally = try log.history().history.run { $0.workers = 4 }
        #expect(tally.attempts == 0 && tally.unfinished == 1 && tally.backlog.peak.count == 1)
    }
}
