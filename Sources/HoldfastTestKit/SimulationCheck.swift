// Where the store and the model are held against each other: each answer as it comes, and all that the store shows
// whenever it was opened again.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine

/// Says what the store did that it should not have.
struct SimulationMismatch: Error { let message: String }

/// All that a store shows of its state at one instant.
struct SimulationObservation {
    let time: Timestamp
    let stats: StoreStats
    let load: StoreLoad
    let jobs: [JobInfo]
    /// Values by scope and key.
    let effects: [String: [UInt8]]
    let cursors: [StoreCursor]

    /// The leases granted by records `next` up to `next + count`, in their order.
    func grants(from next: SequenceNumber, count: Int) -> [LeaseGrant] {
        let tokens = next.rawValue..<next.rawValue + UInt64(count)
        return jobs.filter { $0.token.map { tokens.contains($0.rawValue) } ?? false }
            .sorted { $0.token?.rawValue ?? 0 < $1.token?.rawValue ?? 0 }.map { LeaseGrant(observing: $0.id) }
    }
}

extension SimulationState {
    // MARK: - Answers

    /// Throws when `answer` is not what the model said of the operation that led to this state.
    func check(
        _ answer: SimulationAnswer, to operation: SimulationOperation, _ outcome: Outcome, from before: SimulationState,
        at now: Timestamp, next: SequenceNumber, effectValues: [UInt64: [UInt8]]
    ) throws(SimulationMismatch) {
        guard case .replies(let replies) = outcome else {
            throw SimulationMismatch(message: "it was answered with \(answer); the model refuses it: \(outcome)")
        }
        switch answer {
        case .batch(let parts):
            guard parts.count == replies.count else { throw mismatch(answer, replies) }
            for (part, reply) in zip(parts, replies) { try check(part, reply, effectValues) }
        case .leased(let leases): try check(leases, replies, next: next)
        case .settled(let settled, let leases):
            guard case .settle(let settlement, _) = operation, replies.count == 2 else {
                throw mismatch(answer, replies)
            }
            try check(
                settled, to: settlement, .replies([replies[0]]), from: before, at: now, next: next,
                effectValues: effectValues)
            try check(leases, [replies[1]], next: next.next)
        case .drained(let status):
            let counts = queueCounts(of: operation.queue, at: now)
            guard status.pending == counts.ready + counts.scheduled, status.leased == counts.leased else {
                throw SimulationMismatch(message: "\(status), the model holds \(counts)")
            }
        case .configured(let terms):
            guard case .configure(let queue, let wanted) = operation, QueueConfiguration(terms) == wanted,
                terms == model.terms(of: queue)
            else { throw mismatch(answer, replies) }
        case .loaded(let load):
            if let difference = difference(load) { throw SimulationMismatch(message: difference) }
        case .jobs(let infos): try check(infos, operation, at: now)
        case .cancelled(let result):
            guard result.count == before.model.jobs.count - model.jobs.count else {
                throw mismatch(answer, model.jobIDs)
            }
        case .purged(let result):
            let (was, left) = (
                before.queueCounts(of: operation.queue, at: now), queueCounts(of: operation.queue, at: now)
            )
            let gone = (was.ready - left.ready, was.scheduled - left.scheduled, was.dead - left.dead)
            // Who waited for a job that is cancelled may change its state by that.
            let isMixed = !before.model.blockedJobs.isEmpty
            guard
                isMixed
                    ? result.count == gone.0 + gone.1 + gone.2
                    : (result.ready, result.scheduled, result.dead) == gone
            else { throw SimulationMismatch(message: "\(result), the model had \(was) and now \(left)") }
        case .time(let time):
            guard time == now else { throw SimulationMismatch(message: "the time was \(time), not \(now)") }
        case .job(let info): try check(info, operation, at: now)
        case .stats(let stats): try check(stats, at: now)
        case .enqueued(let result): try check(.enqueued(result), replies.first, effectValues)
        case .requeued(let result): try check(.requeued(result), replies.first, effectValues)
        case .effect(let result): try check(.effect(result), replies.first, effectValues)
        case .effectRemoved(let wasThere):
            guard case .effectRemoved(wasThere) = replies.first else { throw mismatch(answer, replies) }
        case .done: try check(.done, replies.first, effectValues)
        case .deadline(let deadline):
            guard case .heartbeat(deadline) = replies.first else { throw mismatch(answer, replies) }
        case .cursor(let place):
            guard case .cursor(place.next, place.isNew) = replies.first else { throw mismatch(answer, replies) }
        case .deadLetters(let report):
            guard case .redriven(report.count, report.skipped) = replies.first else { throw mismatch(answer, replies) }
        case .result(let result): try check(result, operation)
        case .redriven(let result):
            guard case .redriven(result.count, result.skipped) = replies.first else { throw mismatch(answer, replies) }
        }
    }

    private func mismatch(_ answer: Any, _ replies: Any) -> SimulationMismatch {
        SimulationMismatch(message: "it was answered with \(answer), the model says \(replies)")
    }

    private func check(
        _ answer: BatchReply, _ reply: Reply?, _ effectValues: [UInt64: [UInt8]]
    ) throws(SimulationMismatch) {
        switch (answer, reply) {
        case (.enqueued(let result), .enqueued(let id)) where !result.isDuplicate && result.id == id: return
        case (.enqueued(let result), .duplicate(let id))
        where result.isDuplicate && !result.isUpdated && result.id == id:
            return
        case (.enqueued(let result), .updated(let id))
        where result.isDuplicate && result.isUpdated && result.id == id:
            return
        case (.requeued(let result), .requeued(.ready)) where result.state == .ready: return
        case (.requeued(let result), .requeued(.dead)) where result.state == .dead: return
        case (.requeued(let result), .requeued(.scheduled(let runAt)))
        where result.state == .scheduled && result.runAt == runAt:
            return
        case (.effect(let result), .effect(let isRecorded, let sequence))
        where result.isReplayed != isRecorded && result.value == effectValues[sequence.rawValue]:
            return
        case (.done, .done), (.done, .redriven(1, 0)): return
        default: throw mismatch(answer, reply as Any)
        }
    }

    private func check(_ leases: [Lease], _ replies: [Reply], next: SequenceNumber) throws(SimulationMismatch) {
        guard case .leased(let grants) = replies.first, grants.count == leases.count else {
            throw mismatch(leases, replies)
        }
        for (index, (lease, grant)) in zip(leases, grants).enumerated() {
            guard let job = model.jobs.first(where: { $0.id == grant.job }) else { throw mismatch(lease, grant) }
            let lane = job.enqueue.lane
            guard lease.id == grant.job, lease.token.rawValue == next.rawValue + UInt64(index),
                lease.attempt == Int(grant.attempt), lease.mustEndBy ?? .max == job.mustEndBy,
                lease.deadline == grant.deadline, lease.queue == lane.queue,
                lease.priority == Int(lane.priority), lease.group ?? "" == lane.group,
                lease.payload == job.enqueue.payload,
                lease.headers.map(\.value) == job.enqueue.headers.map(\.value)
            else { throw mismatch(lease, grant) }
        }
        if let complaint = model.complaints.first { throw SimulationMismatch(message: complaint) }
    }

    private func check(
        _ info: JobInfo?, _ operation: SimulationOperation, at now: Timestamp
    ) throws(SimulationMismatch) {
        guard case .job(let id) = operation else { return }
        if let index = model.index(of: id) {
            guard let info else { throw SimulationMismatch(message: "job \(id) is lost") }
            if let difference = difference(model.jobs[index], info, at: now) {
                throw SimulationMismatch(message: difference)
            }
        } else if let info, info.state != ended[id] {
            throw SimulationMismatch(
                message: "job \(id) is \(info.state), the model says \(String(describing: ended[id]))")
        }
    }

    /// A result that is kept for a time is there until then, whatever was compacted.
    private func check(_ result: JobResult?, _ operation: SimulationOperation) throws(SimulationMismatch) {
        guard case .result(let id) = operation else { return }
        let until = model.results[id]
        let isItsOwn = result.map { $0.value == SimulationOperation.result(of: id) } ?? (until == nil)
        guard result?.keptUntil == until, isItsOwn else {
            throw SimulationMismatch(
                message: "the result of job \(id) is \(String(describing: result)), kept until "
                    + "\(String(describing: until)) by the model")
        }
    }

    private func check(
        _ infos: [JobInfo], _ operation: SimulationOperation, at now: Timestamp
    ) throws(SimulationMismatch) {
        guard case .jobs(let filter) = operation else { return }
        let wanted = model.jobs.filter { job in
            guard job.has(filter.labels, filter.owner), job.isMeant(filter.queue) else { return false }
            return filter.state.map { $0 == job.shownState(at: now) } ?? true
        }
        guard infos.map(\.id) == wanted.map(\.id) else { throw mismatch(infos.map(\.id), wanted.map(\.id)) }
        for (job, info) in zip(wanted, infos) {
            if let difference = difference(job, info, at: now) { throw SimulationMismatch(message: difference) }
        }
    }

    private func check(_ stats: StoreStats, at now: Timestamp) throws(SimulationMismatch) {
        if let difference = difference(stats, at: now) { throw SimulationMismatch(message: difference) }
    }

    // MARK: - The whole state

    /// Says in what the observation differs; `nil` when in nothing. Everything due has been let fall due.
    func difference(_ seen: SimulationObservation, effectValues: [UInt64: [UInt8]]) -> String? {
        if let difference = difference(seen.stats, at: seen.time) ?? difference(seen.load) { return difference }
        let ids = Set(model.jobIDs)
        if let extra = seen.jobs.first(where: { !ids.contains($0.id) }) {
            return
                "job \(extra.id) is there, \(extra.state); the model says \(ended[extra.id].map { "\($0)" } ?? "never")"
        }
        let infos = Dictionary(seen.jobs.map { ($0.id, $0) }) { first, _ in first }
        for job in model.jobs {
            guard let info = infos[job.id] else { return "job \(job.id) is lost; it should be \(job.state)" }
            if let difference = difference(job, info, at: seen.time) { return difference }
        }
        guard seen.effects.count == model.effects.count else {
            return "\(seen.effects.count) effects, the model has \(model.effects.count)"
        }
        for effect in model.effects
        where seen.effects[effect.scope + "/" + effect.key] != effectValues[effect.sequence.rawValue] {
            return "effect \(effect.scope)/\(effect.key) is another than was recorded at \(effect.sequence)"
        }
        let cursors = Dictionary(seen.cursors.map { ($0.name, $0.next) }) { first, _ in first }
        let expected = model.standingCursors.mapValues(\.next)
        if cursors != expected { return "the cursors are \(cursors), the model has \(expected)" }
        if let lost = seen.cursors.first(where: { $0.isHolding != true }) {
            return "cursor \(lost.name) holds nothing, though it has no limits"
        }
        return nil
    }

    private func difference(_ stats: StoreStats, at now: Timestamp) -> String? {
        if stats.completed != model.completedCount {
            return "\(stats.completed) completed, the model has \(model.completedCount)"
        }
        var counts = model.queueCounts(at: now)
        for queue in stats.queues {
            let expected = counts.removeValue(forKey: queue.name) ?? QueueCounts()
            let found = QueueCounts(
                ready: queue.ready, scheduled: queue.scheduled, leased: queue.leased, dead: queue.dead)
            if found != expected { return "queue \(queue.name) has \(found), the model \(expected)" }
            let held = model.heldCount(of: queue.name, at: now)
            if queue.held != held { return "queue \(queue.name) holds \(queue.held) jobs back, the model \(held)" }
            let terms = model.terms(of: queue.name)
            if queue.terms != terms { return "queue \(queue.name) has \(queue.terms), the model \(terms)" }
        }
        return counts.isEmpty ? nil : "queues \(counts.keys.sorted()) are missing"
    }

    private func difference(_ load: StoreLoad) -> String? {
        let limits = StoreLimits(model.capacity)
        let isSame =
            load.limits == limits && load.jobs == model.load.jobs && load.payloadBytes == model.load.payloadBytes
        return isSame ? nil : "the store has \(load), the model \(model.load) of \(limits)"
    }

    private func difference(_ job: ReferenceModel.Job, _ info: JobInfo, at now: Timestamp) -> String? {
        let lane = job.enqueue.lane
        let isSame =
            switch job.state {
            case .waiting(let runAt) where !job.isReady(at: now):
                // A blocked job keeps the time that it waits for as well, whether or not that has come.
                info.state == .scheduled && (info.runAt ?? .zero == runAt)
            case .waiting: info.state == .ready
            case .leased(let token, let deadline):
                info.state == .leased && info.token == token && info.deadline == deadline
            case .dead: info.state == .dead
            }
        let isDeadAsItShould =
            job.state != .dead
            || info.finishedAt == job.diedAt && isError(info.lastError, of: job)
                && info.deadReason == JobInfo.DeadReason(job.deadReason)
        guard isSame, isDeadAsItShould, info.queue == lane.queue, info.priority == Int(lane.priority),
            info.group ?? "" == lane.group,
            info.attempt == Int(job.attempt), info.maxAttempts == Int(lane.maxAttempts),
            Set(info.dependencies?.waitingFor ?? []) == job.dependencies?.pending ?? [],
            info.dependencies?.isHeld ?? false == job.dependencies?.isHeld ?? false,
            info.uniqueKey == job.enqueue.uniqueKey, info.weight == Int(lane.weight),
            info.headers.map(\.value) == job.enqueue.headers.map(\.value), job.has(info.labels, info.owner),
            info.labels.count == job.enqueue.labels.named.count, info.owner == job.enqueue.labels.owner,
            info.isSecret == job.enqueue.isSecret
        else { return "job \(job.id) is \(info), the model says \(job.state), attempt \(job.attempt), \(lane)" }
        return nil
    }

    /// Whether a job died with this error. Of several that it waited for and that a purge ends at once, either may be
    /// named: which comes first is not promised.
    private func isError(_ text: String?, of job: ReferenceModel.Job) -> Bool {
        if text == job.error { return true }
        return job.deadReason == .dependency && text?.hasSuffix(", which it waited for, failed") ?? false
    }

    private func queueCounts(of queue: String, at now: Timestamp) -> QueueCounts {
        model.queueCounts(at: now)[queue] ?? QueueCounts()
    }
}

extension SimulationOperation {
    fileprivate var queue: String {
        switch self {
        case .drain(let queue), .purge(let queue, _): queue
        default: ""
        }
    }
}
