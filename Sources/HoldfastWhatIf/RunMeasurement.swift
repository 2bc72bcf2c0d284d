// What is measured of a run, recorded or simulated, in the same way of both: the two tell it of the same events.
//
// A job waits from the instant at which it may run until it is leased. What waits at an instant is counted at the end
// of that millisecond, so that what is leased in the millisecond in which it came never waited.

/// Measures a run.
package struct RunMeasurement: Sendable {
    /// Where a job is.
    private enum Phase: UInt8, Sendable { case absent, waiting, leased, completed, dead, cancelled }

    private struct Job: Sendable {
        /// When it could first have run.
        var runnableAt: Int64 = 0
        /// Since when it waits or is leased.
        var since: Int64 = 0
        var phase = Phase.absent
        var wasLeased = false
    }

    private var jobs: [Job] = []
    private var queueOfJob: [Int32] = []
    private var queues: [QueueTally]
    /// What was done by then counts as done in time.
    private let deadline: Int64
    /// Whether the run was stopped before all was done.
    package internal(set) var isStopped = false

    /// Creates a measurement of nothing yet.
    init(queues: Int, jobs: Int = 0, deadline: Int64 = .max) {
        self.queues = [QueueTally](repeating: QueueTally(), count: queues)
        self.deadline = deadline
        self.jobs.reserveCapacity(jobs)
        queueOfJob.reserveCapacity(jobs)
    }

    // MARK: - What happens

    mutating func addQueue() { queues.append(QueueTally()) }

    /// A job that may run from `time` on. Jobs come in the order of their numbers, and again when they are redriven.
    mutating func arrive(_ job: Int, _ queue: Int, runnableAt time: Int64) {
        while jobs.count <= job {
            jobs.append(Job())
            queueOfJob.append(Int32(queue))
        }
        queueOfJob[job] = Int32(queue)
        jobs[job].runnableAt = time
        wait(job, from: time)
    }

    /// A job waits (again), to run from `time` on.
    mutating func wait(_ job: Int, from time: Int64) {
        jobs[job].phase = .waiting
        jobs[job].since = time
    }

    /// A waiting job counts in another queue from here on, and so does all that was measured of it.
    mutating func move(_ job: Int, to queue: Int) { queueOfJob[job] = Int32(queue) }

    /// A waiting job may run from `time` on instead, as was said at `now`.
    mutating func postpone(_ job: Int, to time: Int64, at now: Int64) {
        endWait(job, at: now)
        if !jobs[job].wasLeased { jobs[job].runnableAt = time }
        jobs[job].since = time
    }

    mutating func lease(_ job: Int, at time: Int64) {
        endWait(job, at: time)
        let queue = Int(queueOfJob[job])
        if !jobs[job].wasLeased {
            jobs[job].wasLeased = true
            queues[queue].waits.append(max(time - jobs[job].runnableAt, 0))
        }
        queues[queue].attempts += 1
        jobs[job].phase = .leased
        jobs[job].since = time
    }

    /// The job's lease ended at `time`; what becomes of the job follows.
    mutating func endLease(_ job: Int, at time: Int64, isExpired: Bool = false) {
        let queue = Int(queueOfJob[job])
        queues[queue].addLease(from: jobs[job].since, to: time, deadline: deadline)
        if isExpired { queues[queue].expired += 1 }
    }

    mutating func complete(_ job: Int, at time: Int64) {
        jobs[job].phase = .completed
        let queue = Int(queueOfJob[job])
        queues[queue].latencies.append(max(time - jobs[job].runnableAt, 0))
        if time <= deadline { queues[queue].completedInTime += 1 }
    }

    mutating func die(_ job: Int, at time: Int64) {
        endWait(job, at: time)
        jobs[job].phase = .dead
    }

    mutating func cancel(_ job: Int, at time: Int64) {
        if jobs[job].phase == .leased { endLease(job, at: time) }
        endWait(job, at: time)
        jobs[job].phase = .cancelled
    }

    /// An attempt whose length and outcome were not recorded.
    mutating func noteDrawn(_ job: Int) { queues[Int(queueOfJob[job])].drawn += 1 }

    private mutating func endWait(_ job: Int, at time: Int64) {
        guard jobs[job].phase == .waiting, jobs[job].since < time else { return }
        let queue = Int(queueOfJob[job])
        queues[queue].waitStarts.append(jobs[job].since)
        queues[queue].waitEnds.append(time)
    }

    /// The run is over at `time`.
    ///
    /// - Parameter isLeftOut: Whether a job does not count.
    mutating func finish(at time: Int64, isLeftOut: (Int) -> Bool) {
        for (index, job) in jobs.enumerated() where job.phase != .absent && !isLeftOut(index) {
            let queue = Int(queueOfJob[index])
            queues[queue].firstRunnable = min(queues[queue].firstRunnable, job.runnableAt)
            queues[queue].jobs += 1
            switch job.phase {
            case .completed: queues[queue].completed += 1
            case .dead: queues[queue].dead += 1
            case .cancelled: queues[queue].cancelled += 1
            case .waiting:
                // It waits at the last instant, too.
                endWait(index, at: time + 1)
                queues[queue].unfinished += 1
            case .leased:
                queues[queue].addLease(from: job.since, to: time, deadline: deadline)
                queues[queue].unfinished += 1
            case .absent: break
            }
        }
    }

    // MARK: - What came of it

    /// Returns the tally of a queue, or of all when `nil`.
    package func tally(_ queue: Int? = nil) -> QueueTally {
        if let queue { return queues[queue] }
        return queues.reduce(into: QueueTally()) { $0.add($1) }
    }
}
