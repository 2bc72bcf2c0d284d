// What is to be different when a history is driven again. What is not said stays as it was recorded.

package import HoldfastEngine

/// How long a job waits after an attempt that its worker reported as failed.
package enum RetryRule: Hashable, Sendable {
    /// As long as it did; where nothing tells, as its queue's policy says.
    case recorded
    /// As this policy says.
    case policy(RetryPolicy)
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
