// What earlier operations of one atomic batch decided and nobody has applied yet. The whole batch is decided before
// anything is applied, so that a refusal of its last operation leaves no trace of its first.
//
// One job needs no table: an operation alone gets a fresh scope, and ends one job at most.

internal import HoldfastBytes

/// The pending changes of a batch, as far as later operations of it depend on them.
package struct BatchScope: Sendable {
    /// What became of a job in this batch.
    enum Fate: Hashable, Sendable {
        /// With so many attempts begun.
        case waiting(attempt: UInt32)
        case dead, ended, cancelled

        /// Whether nothing more may happen to it.
        var isEnd: Bool { self == .ended || self == .cancelled }
    }

    private var firstJob: (job: JobID, fate: Fate)?
    private var otherJobs: [JobID: Fate] = [:]
    /// A key claimed in this batch has its new holder here; one released has `nil`.
    private var keys: [PendingKey: JobID?] = [:]
    /// The lanes of jobs that were changed, or enqueued with a key, by which a later enqueue may find them.
    private var lanes: [JobID: Lane] = [:]
    private var effects: [EffectKey: SequenceNumber] = [:]
    /// What jobs wait for from this batch on, and how many more wait for a job.
    private(set) var dependencies: [JobID: [JobID]] = [:]
    private var dependents: [JobID: Int] = [:]
    /// By how many jobs that have not finished each queue with a capacity has grown.
    private var growths: [Name: Int] = [:]

    /// By how many unfinished jobs, and by how many bytes of their payloads, a store with a capacity has grown.
    var storeJobs = 0
    var storeBytes = 0
    /// Of payloads that were given in this batch, where they count.
    var payloadSizes: [JobID: Int] = [:]

    private struct PendingKey: Hashable, Sendable {
        let queue: Name
        let key: Name
    }

    /// How many jobs more than one it may settle.
    private let othersMax: Int

    /// Creates the scope of a batch of which nothing is decided yet.
    ///
    /// - Parameter operations: How many it has.
    package init(operations: Int = 1) { othersMax = max(operations - 1, 0) }

    /// Whether nothing in it can bear on a further operation.
    var isEmpty: Bool {
        firstJob == nil && keys.isEmpty && lanes.isEmpty && effects.isEmpty && growths.isEmpty
            && dependencies.isEmpty && storeJobs == 0 && payloadSizes.isEmpty
    }

    func fate(of job: JobID) -> Fate? {
        guard let firstJob else { return nil }
        return firstJob.job == job ? firstJob.fate : otherJobs[job]
    }

    mutating func settle(_ job: JobID, as fate: Fate) {
        if firstJob == nil || firstJob?.job == job {
            firstJob = (job, fate)
        } else {
            // At once, instead of in steps that move what is there; a large batch may settle few of its jobs.
            if otherJobs.isEmpty { otherJobs.reserveCapacity(min(othersMax, 256)) }
            otherJobs[job] = fate
        }
    }

    /// Returns the holder of a key as this batch leaves it: no value when the batch does not touch the key.
    func holder(queue: String, key: String) -> JobID?? {
        keys.isEmpty ? nil : keys[PendingKey(queue: Name(queue), key: Name(key))]
    }

    mutating func setHolder(_ job: JobID?, queue: String, key: String) {
        keys.updateValue(job, forKey: PendingKey(queue: Name(queue), key: Name(key)))
    }

    /// Returns the lane that this batch puts a job into; `nil` when it does not.
    func lane(of job: JobID) -> Lane? { lanes.isEmpty ? nil : lanes[job] }

    mutating func setLane(_ lane: Lane, of job: JobID) { lanes[job] = lane }

    func growth(of queue: String) -> Int { growths.isEmpty ? 0 : growths[Name(queue)] ?? 0 }

    mutating func grow(_ queue: String, by jobs: Int) { growths[Name(queue), default: 0] += jobs }

    func effect(_ key: EffectKey) -> SequenceNumber? { effects.isEmpty ? nil : effects[key] }

    mutating func record(_ key: EffectKey, at sequence: SequenceNumber) {
        assert(effects[key] == nil, "an effect is recorded once")
        effects[key] = sequence
    }
}

// MARK: - Dependencies

extension BatchScope {
    /// Notes what a new job waits for, and what waits for it.
    mutating func add(_ new: EnqueueDependencies, of job: JobID) {
        if !new.after.isEmpty {
            dependencies[job] = new.after
            for other in new.after { dependents[other, default: 0] += 1 }
        }
        guard let before = new.before else { return }
        dependencies[before, default: []].append(job)
        dependents[job, default: 0] += 1
    }

    /// Calls `body` with what becomes of each job that the batch settles, until it returns false.
    func forEachFate(_ body: (JobID, Fate) -> Bool) {
        guard let firstJob, body(firstJob.job, firstJob.fate) else { return }
        for (job, fate) in otherJobs where !body(job, fate) { return }
    }

    /// How many more jobs wait for `job` from this batch on.
    func dependentsGrowth(of job: JobID) -> Int { dependents.isEmpty ? 0 : dependents[job] ?? 0 }
}
