// What a store of jobs should do, told as plainly as possible: arrays, linear scans, no index, no record. It is held
// against the engine in tests; where the two differ, one of them is wrong.
//
// Groups share "in turn", which allows more than one order. The model lets the engine choose which group comes next,
// and checks that the choice is allowed: the job must be its group's first, and no group that is waiting all along
// may see another served more than twice (the end of one round and the start of the next), or more often as it weighs
// more.

package import HoldfastBytes
package import HoldfastEngine

/// A naive model of the queue semantics, for comparison with the engine.
public struct ReferenceModel {
    struct Job {
        enum State: Equatable {
            case waiting(runAt: Timestamp)
            case leased(token: LeaseToken, deadline: Timestamp)
            case dead
        }
        let id: JobID
        /// As it was enqueued, with what was changed since in its place.
        var enqueue: Enqueue
        /// The unique key that it holds or will hold again when it is redriven.
        var key: String?
        var state: State
        var attempt: UInt32 = 0
        var crashes = 0
        /// How many bytes of its payload count, if they do.
        var countedBytes: Int?
        /// When its attempt ends at the latest.
        var mustEndBy = Timestamp.max
        var startBy: Timestamp?
        /// When and why it died, of a dead one.
        var diedAt = Timestamp.zero
        var deadReason = DeadReason.buried
        /// The text of its last error.
        var error: String?
        /// What it waits for besides a time, or waited for.
        var dependencies: Dependencies?
        /// How often each other group was served while this job's group waited.
        var overtakenBy: [String: Int] = [:]
    }

    struct HeldKey {
        var queue: String
        let key: String
        let job: JobID
        let until: Timestamp?
    }

    var jobs: [Job] = []
    var keys: [HeldKey] = []
    var effects: [(scope: String, key: String, sequence: SequenceNumber, until: Timestamp?)] = []
    /// Until when the results of jobs that were acked are kept, where they are for a time.
    package internal(set) var results: [JobID: Timestamp] = [:]
    var terms: [String: QueueTerms] = [:]
    /// What the store takes in all.
    package internal(set) var capacity = StoreCapacity()
    /// When jobs of a queue were leased since its rate was set.
    var leaseTimes: [String: [Timestamp]] = [:]
    /// When jobs of its groups were, since the rate of these was set.
    var groupLeaseTimes: [String: [String: [Timestamp]]] = [:]
    /// Where each consumer said that it goes on, and what it may hold.
    var cursors: [(name: String, cursor: Cursor)] = []
    /// For each record about a cursor, the last record before it that is not, while there are cursors.
    var cursorRecords: [SequenceNumber: SequenceNumber] = [:]
    /// How jobs ended that are no more.
    var endings: [JobID: End] = [:]
    /// Jobs that were cancelled because of others, in order; whoever looks empties it.
    var cancelledByDependency: [JobID] = []
    /// How many jobs were acked.
    package internal(set) var completedCount: UInt64 = 0
    /// The last sequence number used.
    package var last = SequenceNumber.zero
    /// The least and the most that jobs of a group have weighed.
    var weights: [String: ClosedRange<UInt32>] = [:]
    /// A sentence for each group that was passed over too often.
    package internal(set) var complaints: [String] = []

    /// Creates a model of an empty store.
    public init() {}

    /// How many jobs are neither finished nor forgotten.
    public var unfinishedCount: Int { jobs.count }

    /// Returns the counts of every queue that holds a job or has settings, by name.
    package func queueCounts(at now: Timestamp) -> [String: QueueCounts] {
        var result: [String: QueueCounts] = [:]
        for (queue, terms) in terms where terms != QueueTerms() { result[queue] = QueueCounts() }
        for job in jobs {
            var counts = result[job.enqueue.lane.queue] ?? QueueCounts()
            switch job.state {
            case .waiting: if job.isReady(at: now) { counts.ready += 1 } else { counts.scheduled += 1 }
            case .leased: counts.leased += 1
            case .dead: counts.dead += 1
            }
            result[job.enqueue.lane.queue] = counts
        }
        return result
    }

    /// What the queue does with its jobs.
    package func terms(of queue: String) -> QueueTerms { terms[queue] ?? QueueTerms() }

    /// How many jobs of the queue are leased, and how many have not finished at all.
    func counts(of queue: String) -> (leased: Int, unfinished: Int) {
        let live = jobs.filter { $0.enqueue.lane.queue == queue && $0.state != .dead }
        return (live.count { if case .leased = $0.state { true } else { false } }, live.count)
    }

    /// The ids of unfinished and dead jobs, in order.
    package var jobIDs: [JobID] { jobs.map(\.id) }

    /// The active leases.
    package var leases: [(job: JobID, token: LeaseToken)] {
        jobs.compactMap { job in
            if case .leased(let token, _) = job.state { (job.id, token) } else { nil }
        }
    }

    /// Lets everything fall due that is due at `now`; returns how many records that takes.
    package mutating func expire(at now: Timestamp) -> Int {
        var count = 0
        // What follows from one end comes before the next; ends come as they fall due, and dead letters go last.
        while true {
            if endDoomed(at: now) {
                count += 1
                continue
            }
            let due = jobs.indices.compactMap { index in jobs[index].due.map { (time: $0, index: index) } }
            if let first = due.min(by: { ($0.time, $0.index) < ($1.time, $1.index) }), first.time <= now {
                expire(first.index, at: now)
                count += 1
                continue
            }
            let dropped = dropDeadLetters(at: now)
            if dropped == 0 { break }
            count += dropped
        }
        count += keys.count { $0.until.map { $0 <= now } ?? false }
        keys.removeAll { $0.until.map { $0 <= now } ?? false }
        count += effects.count { $0.until.map { $0 <= now } ?? false }
        effects.removeAll { $0.until.map { $0 <= now } ?? false }
        count += results.values.count { $0 <= now }
        results = results.filter { $0.value > now }
        last = last.advanced(by: UInt64(count))
        return count
    }

    // MARK: - Parts of commands

    /// Ends what has fallen due of a job: its lease, or its time to live.
    private mutating func expire(_ index: Int, at now: Timestamp) {
        guard case .leased(_, let deadline) = jobs[index].state else {
            jobs[index].error = "ttl expired"
            return bury(index, .startByPassed, at: now)
        }
        let isCrash = deadline != jobs[index].mustEndBy
        jobs[index].error = isCrash ? "lease expired" : "time limit passed"
        if isCrash { jobs[index].crashes += 1 }
        let own = jobs[index].enqueue.terms?.crashMax
        let crashMax = own ?? terms(of: jobs[index].enqueue.lane.queue).crashMax ?? .max
        let isPoison = isCrash && jobs[index].crashes >= crashMax
        if jobs[index].attempt >= jobs[index].enqueue.lane.maxAttempts || isPoison {
            bury(index, isPoison ? .poison : .attemptsUsedUp, at: now)
        } else {
            jobs[index].state = .waiting(runAt: .zero)
            jobs[index].overtakenBy = [:]
        }
    }

    mutating func bury(_ index: Int, _ reason: DeadReason, at now: Timestamp) {
        (jobs[index].diedAt, jobs[index].deadReason) = (now, reason)
        jobs[index].state = .dead
        jobs[index].startBy = nil
        jobs[index].dependencies?.failed = nil
        releaseKey(of: jobs[index].id)
        tell(.dead, of: jobs[index].id)
    }

    mutating func releaseKey(of job: JobID) { keys.removeAll { $0.job == job && $0.until == nil } }

    func index(of job: JobID) -> Int? { jobs.firstIndex { $0.id == job } }

    func index(of job: JobID, leasedWith token: LeaseToken) throws(EngineError) -> Int {
        if let index = index(of: job), case .leased(token, _) = jobs[index].state { return index }
        throw EngineError(job.sequence <= last ? .leaseLost : .notFound, "the model refuses", job: job)
    }

    func holder(of key: String, in queue: String) -> JobID? {
        keys.first { $0.queue == queue && $0.key == key }?.job
    }
}

extension ReferenceModel.Job {
    /// When its lease ends, or its time to live, if it has either.
    fileprivate var due: Timestamp? {
        switch state {
        case .leased(_, let deadline): deadline
        case .waiting: startBy
        case .dead: nil
        }
    }
}
