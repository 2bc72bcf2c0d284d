// What holds of every history, over some that a seed gives.

import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import HoldfastWhatIf
import Testing

@Suite struct RandomHistoryTests {
    /// Workers that lease as soon as they can, over jobs that come, fail and are done by chance.
    private func history(
        seed: UInt64, workers: Int, jobs: Int, failures: Int
    ) throws -> (history: RecordedHistory, measurement: RunMeasurement) {
        var random = SeededRandom(seed: seed)
        var log = Recording()
        var arrivals: [Int64] = []
        for _ in 0..<jobs { arrivals.append((arrivals.last ?? 0) + Int64(random.next() % 30)) }
        var busy: [(time: Int64, job: JobID)] = []
        var wakes: [Int64] = []
        while let now = (busy.map(\.time) + wakes + arrivals.prefix(1)).min() {
            wakes.removeAll { $0 <= now }
            for (time, job) in busy.sorted(by: { ($0.time, log.token($0.job)) < ($1.time, log.token($1.job)) })
            where time <= now {
                busy.removeAll { $0.job == job }
                if Int(random.next() % 100) < failures {
                    let delay = Int64(random.next() % 200)
                    try log.fail(job, at: now, delay: delay)
                    wakes.append(now + max(delay, 1))
                } else {
                    try log.ack(job, at: now)
                }
            }
            while let next = arrivals.first, next <= now {
                arrivals.removeFirst()
                _ = try log.enqueue(at: now, maxAttempts: 4)
            }
            while busy.count < workers {
                let command = Command.lease(queues: ["q"], limit: 1, milliseconds: 100_000, worker: "")
                guard case .leased(let grants) = try log.add(command, at: now), let grant = grants.first else { break }
                busy.append((now + 1 + Int64(random.next() % 100), grant.job))
            }
        }
        return try log.history()
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func theBaselineOfEagerWorkersIsWhatWasRecorded(seed: UInt64) throws {
        let (history, measurement) = try history(seed: seed, workers: 3, jobs: 300, failures: 20)
        #expect(history.leasedMax == [3])
        #expect(Outline(try history.run()) == Outline(measurement.tally()))
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func theSameGivesTheSame(seed: UInt64) throws {
        let (history, _) = try history(seed: seed, workers: 2, jobs: 200, failures: 40)
        func run() throws -> Outline {
            Outline(
                try history.run {
                    $0.maxAttempts = 20
                    $0.retry = .exponential(first: 10, factor: 2000, most: 500)
                    $0.workers = 4
                })
        }
        #expect(try run() == run())
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func moreWorkersNeverMakeJobsWaitLonger(seed: UInt64) throws {
        let (history, _) = try history(seed: seed, workers: 2, jobs: 200, failures: 0)
        var before = Int64.max
        for workers in 1...8 {
            let tally = try history.run { $0.workers = workers }
            let total = tally.wait.sorted.reduce(0, +)
            #expect(total <= before, "\(workers) workers")
            #expect(tally.completed == 200)
            before = total
        }
    }

    /// Whatever callers may do to a store, in no sensible order.
    private func anyHistory(seed: UInt64) throws -> (log: Recording, cut: Int) {
        var random = SeededRandom(seed: seed)
        var log = Recording()
        var time: Int64 = 0
        var jobs: [JobID] = []
        for _ in 0..<400 {
            time += Int64(random.pick(0...40))
            let queue = random.pick(from: ["a", "b", "c"])
            let job = jobs.isEmpty ? JobID(1) : random.pick(from: jobs)
            let token = log.token(job)
            let command: Command
            switch random.pick(0...11) {
            case 0...3:
                let lane = Lane(
                    queue: queue, priority: Int8(random.pick(-1...1)), maxAttempts: UInt32(random.pick(1...3)),
                    group: random.pick(from: ["", "g", "h"]))
                let now = Timestamp(milliseconds: Recording.start + time)
                command = .enqueue(
                    Enqueue(
                        lane: lane, runAt: random.chance(1, in: 4) ? now.advanced(byMilliseconds: 300) : nil,
                        uniqueKey: random.chance(1, in: 5) ? random.pick(from: ["x", "y"]) : nil,
                        uniqueUntil: random.chance(1, in: 2) ? now.advanced(byMilliseconds: 500) : nil,
                        startBy: random.chance(1, in: 6) ? now.advanced(byMilliseconds: 400) : nil))
            case 4, 5: command = .lease(queues: [queue], limit: random.pick(1...3), milliseconds: 200, worker: "w")
            case 6: command = .heartbeat(job: job, token: token, milliseconds: 300, progress: nil)
            case 7: command = .ack(job: job, token: token, result: nil)
            case 8:
                command = .requeue(
                    job: job, token: token, delayMilliseconds: random.chance(1, in: 2) ? 20 : nil, error: nil,
                    countsAttempt: random.chance(3, in: 4))
            case 9: command = .bury(job: job, token: token, reason: .buried, error: nil)
            case 10:
                let later = Timestamp(milliseconds: Recording.start + time + Int64(random.pick(0...200)))
                command = random.pick(from: [
                    .redrive(job: job), .redriveJobs([Redrive(job: job, runAt: later)]), .cancel(job: job, lane: nil),
                    .cancel(job: job, lane: nil),
                ])
            default:
                command =
                    random.chance(1, in: 2)
                    ? .setPaused(queue: queue, random.chance(1, in: 3))
                    : .configure(
                        QueueSettings(
                            queue: queue, capacity: random.pick(from: [0, 4]),
                            runningMax: random.pick(from: [0, 1, 3]),
                            retry: RetryPolicy(.fixed(Int64(random.pick(0...50))), jitterPercent: 0),
                            retention: RetentionSettings(deadMax: random.pick(from: [nil, 0, 2]), deadAge: 5_000)))
            }
            // What is refused leaves no record.
            guard let reply = try? log.add(command, at: time) else { continue }
            if case .enqueued(let id) = reply { jobs.append(id) }
        }
        return (log, random.pick(0...log.records.count - 1))
    }

    @Test(arguments: 1...60 as ClosedRange<UInt64>) func everyHistoryCanBeDrivenAgainAndAddsUp(seed: UInt64) throws {
        let (log, cut) = try anyHistory(seed: seed)
        for start in [0, cut] {
            let (history, measurement) = try log.history(after: start)
            var tallies = [measurement.tally()]
            tallies.append(try history.run())
            tallies.append(
                try history.run {
                    $0.workers = 2
                    $0.limit = 1
                    $0.leaseMilliseconds = 60
                    $0.maxAttempts = 6
                    $0.retry = .fixed(30)
                })
            var settings = WhatIfSettings(queues: history.queues.count)
            settings.sharedWorkers = 3
            for index in settings.queues.indices { settings.queues[index].speed = 0.5 }
            tallies.append(try Simulation(history, settings).run().tally())
            for tally in tallies {
                #expect(tally.jobs == tally.completed + tally.dead + tally.cancelled + tally.unfinished)
                #expect(tally.jobs == history.jobs.count - history.leftOut, "seed \(seed), from \(start)")
                #expect(tally.latency.sorted.count >= tally.completed)
                #expect(tally.backlog.counts.allSatisfy { $0 >= 0 })
            }
        }
    }
}
