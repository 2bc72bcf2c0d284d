// What is to be different when a history is driven again. What is not said stays as it was recorded.

internal import HoldfastBytes
internal import HoldfastEngine

/// How long a job waits after an attempt that its worker reported as failed.
package enum RetryRule: Hashable, Sendable {
    /// As long as it did; where nothing tells, as the store's own policy says.
    case recorded
    /// As the store's own policy says.
    case standard
    /// Always so long.
    case fixed(Int64)
    /// The first time `base` milliseconds, each time `factor` times as long, `cap` at most.
    case exponential(base: Int64, factor: Double, cap: Int64)
    /// So long after each attempt; the last holds for all further ones.
    case custom([Int64])

    /// Returns the delay after attempt number `attempt`.
    ///
    /// - Parameter recorded: What it was; -1 when nothing tells.
    func delay(job: UInt64, attempt: UInt32, recorded: Int64) -> Int64 {
        switch self {
        case .recorded where recorded >= 0: return recorded
        case .recorded, .standard: return RetryPolicy.delayMilliseconds(job: JobID(job), attempt: attempt)
        case .fixed(let delay): return delay
        case .exponential(let base, let factor, let cap):
            var delay = Double(base)
            var number: UInt32 = 1
            while number < attempt, delay < Double(cap), factor > 1 {
                delay *= factor
                number += 1
            }
            return min(Int64(min(delay, Double(cap)).rounded()), cap)
        case .custom(let delays):
            guard let last = delays.last else { return 0 }
            return attempt > 0 && Int(attempt) <= delays.count ? delays[Int(attempt) - 1] : last
        }
    }
}

/// Settings of one queue.
package struct WhatIfQueue: Hashable, Sendable {
    /// Workers that do nothing but this queue's jobs; `nil` for as many as jobs were leased at once.
    package var workers: Int?
    /// How many jobs may be leased at once, whoever works on them.
    package var limit: Int?
    /// How long a lease is; `nil` for as long as each was.
    package var leaseMilliseconds: Int64?
    /// `nil` for as many as each job was enqueued with.
    package var maxAttempts: UInt32?
    /// How long failed jobs wait.
    package var retry = RetryRule.recorded
    /// How much faster than recorded workers are.
    package var speed = 1.0

    /// As it was.
    package init() {}
}

/// Settings of a run.
package struct WhatIfSettings: Hashable, Sendable {
    /// Workers that serve all queues in turn that name none of their own.
    package var sharedWorkers: Int?
    /// One for each queue of the history.
    package var queues: [WhatIfQueue]

    /// As it was, for so many queues.
    package init(queues: Int) { self.queues = [WhatIfQueue](repeating: WhatIfQueue(), count: queues) }

    /// The most workers of a queue.
    package static let workersMax = 100_000
}
