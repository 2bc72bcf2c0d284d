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
                    $0.retry = .exponential(base: 10, factor: 2, cap: 500)
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
}
