// What was counted of a queue, or of several together.

/// Counts and times of one run's jobs. Times are milliseconds.
package struct QueueTally: Sendable {
    /// Those that came.
    package internal(set) var jobs = 0
    /// How they stood in the end.
    package internal(set) var completed = 0
    /// Those that were done when the recording ended.
    package internal(set) var completedInTime = 0
    /// Dead letters.
    package internal(set) var dead = 0
    /// Those ended from outside.
    package internal(set) var cancelled = 0
    /// Those that wait or are leased in the end.
    package internal(set) var unfinished = 0
    /// Leases.
    package internal(set) var attempts = 0
    /// Leases that ended without a word.
    package internal(set) var expired = 0
    /// Attempts of which nothing was recorded.
    package internal(set) var drawn = 0
    /// How long jobs were leased until the recording ended.
    package internal(set) var leasedMilliseconds: Int64 = 0
    /// When the first job could run.
    package internal(set) var firstRunnable = Int64.max
    /// When the last lease ended, and when it or the recording did.
    package internal(set) var lastEnd = Int64.min
    private var lastEndInTime = Int64.min

    var latencies: [Int64] = []
    var waits: [Int64] = []
    var waitStarts: [Int64] = []
    var waitEnds: [Int64] = []

    init() {}

    mutating func add(_ other: QueueTally) {
        jobs += other.jobs
        completed += other.completed
        completedInTime += other.completedInTime
        dead += other.dead
        cancelled += other.cancelled
        unfinished += other.unfinished
        attempts += other.attempts
        expired += other.expired
        drawn += other.drawn
        leasedMilliseconds += other.leasedMilliseconds
        firstRunnable = min(firstRunnable, other.firstRunnable)
        lastEnd = max(lastEnd, other.lastEnd)
        lastEndInTime = max(lastEndInTime, other.lastEndInTime)
        latencies += other.latencies
        waits += other.waits
        waitStarts += other.waitStarts
        waitEnds += other.waitEnds
    }

    /// Counts a lease; of its time what lies before `deadline`.
    mutating func addLease(from start: Int64, to end: Int64, deadline: Int64) {
        lastEnd = max(lastEnd, end)
        lastEndInTime = max(lastEndInTime, min(end, deadline))
        leasedMilliseconds += max(min(end, deadline) - start, 0)
    }

    /// From the instant at which the first job could run to the end of the last lease.
    package var makespan: Int64 { lastEnd > firstRunnable ? lastEnd - firstRunnable : 0 }

    /// From the instant at which a job could run to its ack, over the completed jobs.
    package var latency: Distribution { Distribution(latencies) }

    /// From the instant at which a job could run to its first lease, over the jobs that were leased.
    package var wait: Distribution { Distribution(waits) }

    /// How many jobs waited that could run, over time.
    package var backlog: Backlog { Backlog(starts: waitStarts, ends: waitEnds) }

    /// The share of `workers` workers' time in which they held a lease, until all was done or the recording ended;
    /// `nil` when there was no time.
    package func utilisation(workers: Int) -> Double? {
        guard workers > 0, lastEndInTime > firstRunnable else { return nil }
        return Double(leasedMilliseconds) / (Double(workers) * Double(lastEndInTime - firstRunnable))
    }
}

/// Lengths of time in order.
package struct Distribution: Sendable {
    /// From the shortest to the longest.
    package let sorted: [Int64]

    init(_ values: [Int64]) { sorted = values.sorted() }

    /// Returns the shortest length that a `share` of them does not exceed; `nil` when there are none.
    package func quantile(_ share: Double) -> Int64? {
        guard !sorted.isEmpty else { return nil }
        let rank = Int((Double(sorted.count) * share).rounded(.up))
        return sorted[min(max(rank - 1, 0), sorted.count - 1)]
    }
}

/// A count over time: it holds from each of `times` to the next.
package struct Backlog: Sendable {
    /// When it changed.
    package private(set) var times: [Int64] = []
    /// To what.
    package private(set) var counts: [Int] = []
    /// The highest count, and when it was first reached.
    package private(set) var peak = (count: 0, time: Int64(0))

    init(starts: [Int64], ends: [Int64]) {
        let (starts, ends) = (starts.sorted(), ends.sorted())
        var (start, end, count) = (0, 0, 0)
        while end < ends.count {
            let time = start < starts.count ? min(starts[start], ends[end]) : ends[end]
            let before = count
            while start < starts.count, starts[start] == time {
                count += 1
                start += 1
            }
            while end < ends.count, ends[end] == time {
                count -= 1
                end += 1
            }
            guard count != before else { continue }
            times.append(time)
            counts.append(count)
            if count > peak.count { peak = (count, time) }
        }
    }
}
