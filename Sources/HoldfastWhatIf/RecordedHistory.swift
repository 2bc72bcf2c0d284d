// What happened in a range of the log, in the form in which it can happen again: jobs in the order in which they came,
// their attempts with length and outcome, and what was done to jobs and queues from outside. Built by `HistoryBuilder`.
//
// Plain numbers in flat arrays, because there are millions: a job is 48 bytes, an attempt 40.

package import HoldfastEngine

/// A job as it came.
package struct RecordedJob: Hashable, Sendable {
    /// Its id in the log, on which the jitter of the store's own retry policy rests.
    package var id: UInt64
    /// Where it waits: an index into `RecordedHistory.lanes`.
    package var lane: Int32
    /// Attempts begun before the range.
    package var attemptsBefore: UInt32 = 0
    /// When it came; the beginning of the range for one that was there before.
    package var arrivedAt: Int64
    /// The time it was to wait for; 0 for none.
    package var runAt: Int64 = 0
    /// The instant by which it had to start; 0 for none.
    package var startBy: Int64 = 0
    /// The first of its attempts in the range; -1 for none.
    package var firstAttempt: Int32 = -1
}

/// One lease of a job and how it ended. Times are milliseconds from its beginning.
package struct RecordedAttempt: Hashable, Sendable {
    /// How it ended.
    package enum Outcome: UInt8, Hashable, Sendable {
        case ack, requeue
        /// Given back without counting, as on shutdown.
        case giveBack
        case bury, expire
        /// The range ended first, or the job was cancelled.
        case open
    }
    /// How long its worker was at it.
    package var service: Int64 = 0
    /// How long the lease was meant to last from its beginning, or from the last heartbeat.
    package var lease: Int64
    /// When the last heartbeat came; -1 for none.
    package var heartbeatAt: Int64 = -1
    /// How long the job was to wait afterwards; -1 when nothing tells.
    package var delay: Int64 = -1
    /// The job's next attempt; -1 for none.
    package var next: Int32 = -1
    /// How it ended.
    package var outcome = Outcome.open
}

/// Something done from outside.
package struct RecordedInput: Hashable, Sendable {
    /// What was done.
    package enum Action: Hashable, Sendable {
        /// Jobs are meant by their index; one that is redriven may have to wait for so many milliseconds.
        case cancel(Int32), redrive(Int32, delay: Int32), release(Int32)
        /// A queue, and what was set, by their index.
        case configure(queue: Int32, settings: Int32)
    }
    /// When.
    package var time: Int64
    /// What.
    package var action: Action
}

/// A range of the log, ready to be driven again.
package struct RecordedHistory: Sendable {
    /// How much a range may hold.
    package struct Bounds: Hashable, Sendable {
        /// With what is measured of each they take some gigabytes.
        package var jobs = 16_000_000
        /// The most attempts. They are referred to by 32 bits.
        package var attempts = 64_000_000
        /// The most cancels, redrives and changes of settings together.
        package var inputs = 64_000_000

        /// The usual ones.
        package init() {}
    }

    /// The names of the queues.
    package internal(set) var queues: [String] = []
    /// Queue, priority, limit of attempts and group.
    package internal(set) var lanes: [Lane] = []
    /// The queue of each lane: an index into `queues`.
    package internal(set) var queueOfLane: [Int32] = []
    /// In the order in which they came.
    package internal(set) var jobs: [RecordedJob] = []
    /// In the order in which they began.
    package internal(set) var attempts: [RecordedAttempt] = []
    /// In the order in which they were done.
    package internal(set) var inputs: [RecordedInput] = []
    /// What jobs say of others, of those that say anything.
    package internal(set) var dependencies: [Int32: RecordedDependencies] = [:]
    /// What queues were set to, each once.
    package internal(set) var settings: [QueueSettings] = []
    /// How many jobs of each queue were leased at once, at most.
    package internal(set) var leasedMax: [Int] = []
    /// The first instant.
    package internal(set) var start: Int64 = 0
    /// The time of the last record.
    package internal(set) var end: Int64 = 0
    /// Jobs that were there before the range.
    package internal(set) var carriedOver = 0
    /// Jobs delayed beyond the end of the range, which are left out.
    package internal(set) var leftOut = 0
    /// Records in the range.
    package internal(set) var records = 0
    /// Attempts that ended and were not given back, by queue: those after a failed one where there are any, else all.
    package internal(set) var samples: [[Int32]] = []

    /// Returns the queue of a job.
    package func queue(of job: Int) -> Int { Int(queueOfLane[Int(jobs[job].lane)]) }

    /// Whether a job is left out.
    func isLeftOut(_ job: Int) -> Bool { jobs[job].runAt > end }

    /// Returns one of the samples of the job's queue, or of the queue that has most where it has none; always the same
    /// for the same numbers; `nil` when no queue has any.
    func draw(for job: Int, number: UInt32) -> Int32? {
        var pool = samples[queue(of: job)]
        if pool.isEmpty { pool = samples.max { $0.count < $1.count } ?? [] }
        guard !pool.isEmpty else { return nil }
        var bits = jobs[job].id &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(number) &+ 1)
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return pool[Int((bits ^ (bits >> 31)) % UInt64(pool.count))]
    }

    /// Collects what `draw` draws from.
    mutating func collectSamples() {
        var all = [[Int32]](repeating: [], count: queues.count)
        var later = all
        for (index, job) in jobs.enumerated() {
            let queue = queue(of: index)
            var next = job.firstAttempt
            var isLater = job.attemptsBefore > 0
            while next >= 0 {
                let attempt = attempts[Int(next)]
                if attempt.outcome != .open && attempt.outcome != .giveBack {
                    all[queue].append(next)
                    if isLater { later[queue].append(next) }
                    isLater = true
                }
                next = attempt.next
            }
        }
        samples = zip(all, later).map { $1.isEmpty ? $0 : $1 }
    }
}
