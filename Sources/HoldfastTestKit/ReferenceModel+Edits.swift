// Changes of jobs that wait, and enqueues whose unique key another job holds.

internal import HoldfastBytes
internal import HoldfastEngine

extension ReferenceModel {
    /// Changes a job; returns the number of records.
    mutating func edit(
        _ job: JobID, _ lane: Lane?, _ changes: JobChanges, at now: Timestamp
    ) throws(EngineError) -> Int {
        guard let index = index(of: job) else {
            let isFinished = lane != nil && job.sequence <= last
            throw EngineError(isFinished ? .invalidState : .notFound, "the model refuses", job: job)
        }
        var changed = jobs[index]
        let before = changed.enqueue
        guard case .waiting = changed.state, changed.attempt < changes.maxAttempts ?? before.lane.maxAttempts else {
            throw EngineError(.invalidState, "the model refuses", job: job)
        }
        changed.enqueue.lane.queue = changes.queue ?? before.lane.queue
        changed.enqueue.lane.priority = changes.priority ?? before.lane.priority
        changed.enqueue.lane.maxAttempts = changes.maxAttempts ?? before.lane.maxAttempts
        changed.enqueue.headers = changes.headers ?? before.headers
        changed.enqueue.payload = changes.payload ?? before.payload
        if let runAt = changes.runAt { changed.state = .waiting(runAt: runAt > now ? runAt : .zero) }
        if let payload = changes.payload, capacity.payloadBytes != nil {
            try requireRoomInStore(bytes: payload.count - (changed.countedBytes ?? 0), isNew: false)
            changed.countedBytes = payload.count
        }
        let lane = changed.enqueue.lane
        if lane.queue != before.lane.queue { try move(changed, from: before.lane.queue) }
        // Elsewhere, or at another time, it waits anew.
        if lane != before.lane || changes.runAt != nil { changed.overtakenBy = [:] }
        jobs[index] = changed
        let isSame = lane == before.lane && changes.runAt == nil && changes.headers == nil && changes.payload == nil
        return isSame ? 0 : 1
    }

    private mutating func move(_ job: Job, from queue: String) throws(EngineError) {
        let target = job.enqueue.lane.queue
        let held = keys.indices.first { keys[$0].job == job.id && keys[$0].queue == queue }
        if let held, holder(of: keys[held].key, in: target) != nil {
            throw EngineError(.invalidState, "the model refuses", job: job.id)
        }
        try requireRoom(in: target)
        if let held { keys[held].queue = target }
    }

    func requireRoom(in queue: String) throws(EngineError) {
        if let capacity = terms(of: queue).capacity, counts(of: queue).unfinished >= capacity {
            throw EngineError(.queueFull, "the model refuses")
        }
    }

    mutating func collide(
        _ enqueue: Enqueue, _ holder: JobID, _ collision: KeyCollision, at now: Timestamp
    ) throws(EngineError) -> (reply: Reply, records: Int) {
        var changes = JobChanges()
        changes.runAt = enqueue.runAt ?? now
        switch collision {
        case .existing: return (.duplicate(holder), 0)
        case .reject: throw EngineError(.invalidState, "the model refuses", job: holder)
        case .replace:
            changes.priority = enqueue.lane.priority
            changes.headers = enqueue.headers
            changes.payload = enqueue.payload
        case .postpone: break
        }
        guard let index = index(of: holder), case .waiting = jobs[index].state else { return (.duplicate(holder), 0) }
        return (.updated(holder), try edit(holder, nil, changes, at: now))
    }
}
