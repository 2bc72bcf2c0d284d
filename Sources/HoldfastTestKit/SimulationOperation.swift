// What a simulated client may ask of a store, and what the store may say to it. Submitting and waiting are two steps,
// so that several operations can share a commit and be caught by one crash.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine

/// One request to the store.
enum SimulationOperation {
    case enqueue(queue: String, payload: [UInt8], options: EnqueueOptions)
    /// Earlier queues first, or by weights.
    case lease(queues: [String], limit: Int, milliseconds: Int64, worker: String, weights: [Int] = [])
    /// An ack, a requeue or a burial, and a lease.
    indirect case settle(SimulationOperation, thenLease: SimulationOperation)
    case heartbeat(LeaseIdentity, milliseconds: Int64)
    case ack(LeaseIdentity, keepFor: Int64?)
    case requeue(LeaseIdentity, delay: Int64?, errorClass: String?, countsAttempt: Bool)
    case bury(LeaseIdentity)
    case cancel(JobID)
    case edit(JobID, JobEdit)
    case redrive(JobID)
    case release(JobID)
    case redriveQueue(String, limit: Int)
    case redriveWhere(String, DeadFilter, perSecond: Int?)
    case purgeWhere(String, DeadFilter)
    case result(JobID)
    case effect(scope: String, key: String, fence: LeaseIdentity?, value: [UInt8])
    case keptEffect(scope: String, key: String, seconds: Int, value: [UInt8])
    case removeEffect(scope: String, key: String)
    case batch([BatchOperation])
    case setPaused(String, Bool)
    case configure(String, QueueConfiguration)
    case configureStore(StoreLimits)
    case jobs(JobFilter)
    case cancelJobs(labels: [String: String], owner: String?, queue: String?)
    case drain(String)
    case purge(String, PurgeStates)
    case advance(Int64)
    case openCursor(String)
    case advanceCursor(String, SequenceNumber)
    case resetCursor(String)
    case removeCursor(String)
    case job(JobID)
    case stats
    case now

    /// Whether what is overdue may become durable without the operation itself: it lets go of the lock in between, to
    /// read a record.
    var isInTwoSteps: Bool {
        switch self {
        case .cancel, .edit, .redrive, .redriveWhere, .purgeWhere, .job, .batch: true
        case .enqueue(_, _, let options): !options.after.isEmpty
        default: false
        }
    }

    /// Whether it leases.
    var isLease: Bool {
        switch self {
        case .lease, .settle: true
        default: false
        }
    }

    /// The same without new leases, as on a full disk.
    var settlingOnly: SimulationOperation {
        guard case .settle(let settlement, .lease(let queues, _, let milliseconds, let worker, let weights)) = self
        else { return self }
        return .settle(
            settlement,
            thenLease: .lease(queues: queues, limit: 0, milliseconds: milliseconds, worker: worker, weights: weights))
    }

    /// What each job gives when it is acked.
    static func result(of job: JobID) -> [UInt8] { Array("result \(job)".utf8) }

    /// Decides the operation on `store`.
    ///
    /// - Returns: What waits for the answer.
    func submit(to store: JobStore) -> () throws(JobStoreError) -> SimulationAnswer {
        func wait<Value>(
            _ pending: Pending<Value>, _ answer: @escaping (Value) -> SimulationAnswer
        ) -> () throws(JobStoreError) -> SimulationAnswer {
            { () throws(JobStoreError) in answer(try pending.valueBlocking()) }
        }
        switch self {
        case .enqueue(let queue, let payload, let options):
            return wait(store.submitEnqueue(queue, payload: payload, options: options)) { .enqueued($0) }
        case .lease(let queues, let limit, let milliseconds, let worker, let weights):
            var next = NextLease(from: queues, limit: limit, for: .milliseconds(milliseconds), worker: worker)
            next.weights = weights
            return wait(store.submitLease(next)) { .leased($0) }
        case .settle(let settlement, .lease(let queues, let limit, let milliseconds, let worker, let weights)):
            var next = NextLease(from: queues, limit: limit, for: .milliseconds(milliseconds), worker: worker)
            next.weights = weights
            switch settlement {
            case .ack(let lease, let keepFor):
                return wait(
                    store.submitAck(
                        lease, result: Self.result(of: lease.id), keepFor: keepFor.map { .milliseconds($0) },
                        thenLease: next)
                ) { .settled(.done, $0.leases) }
            case .requeue(let lease, let delay, let errorClass, let countsAttempt):
                let after = delay.map { Duration.milliseconds($0) }
                return wait(
                    store.submitRequeue(
                        lease, after: after, error: "no", errorClass: errorClass, countsAttempt: countsAttempt,
                        thenLease: next)
                ) { .settled(.requeued($0.outcome), $0.leases) }
            case .bury(let lease):
                return wait(store.submitBury(lease, error: "bad", thenLease: next)) { .settled(.done, $0.leases) }
            default: preconditionFailure("nothing else settles a lease")
            }
        case .settle: preconditionFailure("a lease follows a settlement")
        case .heartbeat(let lease, let milliseconds):
            return wait(store.submitHeartbeat(lease, for: .milliseconds(milliseconds), progress: [1])) { .deadline($0) }
        case .ack(let lease, let keepFor):
            return wait(
                store.submitAck(lease, result: Self.result(of: lease.id), keepFor: keepFor.map { .milliseconds($0) })
            ) { .done }
        case .requeue(let lease, let delay, let errorClass, let countsAttempt):
            let after = delay.map { Duration.milliseconds($0) }
            return wait(
                store.submitRequeue(
                    lease, after: after, error: "no", errorClass: errorClass, countsAttempt: countsAttempt)
            ) { .requeued($0) }
        case .bury(let lease): return wait(store.submitBury(lease, error: "bad")) { .done }
        case .cancel(let id): return wait(store.submitCancel(id)) { .done }
        case .edit(let id, let edit): return wait(store.submitEdit(id, edit)) { .done }
        case .redrive(let id): return wait(store.submitRedrive(id)) { .done }
        case .release(let id): return wait(store.submitRelease(id)) { .done }
        case .redriveQueue(let queue, let limit):
            return wait(store.submitRedrive(queue: queue, limit: limit)) { .redriven($0) }
        case .redriveWhere(let queue, let filter, let speed):
            // Its steps are waited for one by one.
            let report = Result { () throws(JobStoreError) in
                try store.blocking.redrive(queue: queue, where: filter, perSecond: speed)
            }
            return { () throws(JobStoreError) in .deadLetters(try report.get()) }
        case .purgeWhere(let queue, let filter):
            let report = Result { () throws(JobStoreError) in try store.blocking.purge(queue: queue, where: filter) }
            return { () throws(JobStoreError) in .deadLetters(try report.get()) }
        case .result(let id): return wait(store.submitResult(of: id)) { .result($0) }
        case .effect(let scope, let key, let fence, let value):
            return wait(store.submitEffect(scope: scope, key: key, fencedBy: fence, value: value)) { .effect($0) }
        case .keptEffect(let scope, let key, let seconds, let value):
            return wait(store.submitEffect(scope: scope, key: key, keepFor: .seconds(seconds), value: value)) {
                .effect($0)
            }
        case .removeEffect(let scope, let key):
            return wait(store.submitRemoveEffect(scope: scope, key: key)) { .effectRemoved($0) }
        case .batch(let operations): return wait(store.submitBatch(operations)) { .batch($0) }
        case .setPaused(let queue, true): return wait(store.submitPause(queue)) { .done }
        case .setPaused(let queue, false): return wait(store.submitResume(queue)) { .done }
        case .configure(let queue, let configuration):
            return wait(store.submitConfigure(queue, configuration)) { .configured($0) }
        case .configureStore(let limits):
            let settings = StoreSettings(jobs: limits.jobs ?? 0, payloadBytes: limits.payloadBytes ?? 0)
            return wait(store.submitConfigure(settings)) { .loaded($0) }
        case .jobs(let filter): return wait(store.submitJobs(filter)) { .jobs($0) }
        case .cancelJobs(let labels, let owner, let queue):
            return wait(store.submitCancelJobs(labels: labels, owner: owner, queue: queue, states: .all)) {
                .cancelled($0)
            }
        case .drain(let queue): return wait(store.submitDrain(queue)) { .drained($0) }
        case .purge(let queue, let states): return wait(store.submitPurge(queue: queue, states: states)) { .purged($0) }
        case .advance(let milliseconds): return wait(store.submitAdvanceClock(by: milliseconds)) { .time($0) }
        case .openCursor(let name):
            // Without bounds, so that it is never told that it has missed anything.
            let limits = CursorLimits(bytes: 1 << 60, age: .seconds(86_400 * 365 * 1000))
            return wait(store.submitOpenCursor(name, from: .now, limits: limits)) { .cursor($0) }
        case .advanceCursor(let name, let next):
            return wait(store.submitAdvance(cursor: name, to: next)) { .cursor($0) }
        case .resetCursor(let name): return wait(store.submitReset(cursor: name, to: .now)) { .cursor($0) }
        case .removeCursor(let name): return wait(store.submitRemoveCursor(name)) { _ in .done }
        case .job(let id): return wait(store.submitJob(id)) { .job($0) }
        case .stats: return wait(store.submitStats()) { .stats($0) }
        case .now: return wait(store.submitNow()) { .time($0) }
        }
    }
}

/// One reply of the store.
enum SimulationAnswer {
    case enqueued(EnqueueResult)
    case leased([Lease])
    indirect case settled(SimulationAnswer, [Lease])
    case deadline(Timestamp)
    case done
    case requeued(RequeueOutcome)
    case redriven(RedriveResult)
    case deadLetters(DeadLetterReport)
    case result(JobResult?)
    case effect(EffectResult)
    case effectRemoved(Bool)
    case batch([BatchReply])
    case configured(QueueTerms)
    case loaded(StoreLoad)
    case jobs([JobInfo])
    case cancelled(PurgeResult)
    case drained(DrainStatus)
    case purged(PurgeResult)
    case time(Timestamp)
    case job(JobInfo?)
    case cursor(CursorPlace)
    case stats(StoreStats)

    /// What was leased, as far as the model needs it where the order of groups is open.
    var grants: [LeaseGrant] { leases.map { LeaseGrant(observing: $0.id) } }

    /// What was leased.
    var leases: [Lease] {
        switch self {
        case .leased(let leases), .settled(_, let leases): leases
        default: []
        }
    }
}

extension LeaseGrant {
    /// Names a job that was leased; the model looks at nothing else.
    init(observing job: JobID) {
        self.init(job: job, lane: Lane(queue: ""), attempt: 0, deadline: .zero, worker: "")
    }
}
