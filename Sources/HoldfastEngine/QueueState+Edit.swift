// Edits, in all three ways in which a record meets the state: decided, checked, applied. A move into another queue
// keeps its capacity and takes the unique key along, which must be free there.

internal import HoldfastBytes

// MARK: - Deciding

extension QueueState {
    /// A job that waits, as the operations of a batch before this one leave it.
    struct WaitingJob {
        let lane: Lane
        let attempt: UInt32
    }

    func edit(
        _ job: JobID, _ lane: Lane?, _ changes: JobChanges, at now: Timestamp, in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        guard let waiting = waiting(job, lane, in: batch) else { throw refusal(ofEditing: job, lane, in: batch) }
        return try edit(job, waiting, changes, .done, at: now, in: &batch)
    }

    /// Decides an enqueue whose key `holder` has.
    func collide(
        _ enqueue: Enqueue, _ holder: JobID, _ collision: KeyCollision, at now: Timestamp, in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        let existing = Decision(mutations: .none, reply: .duplicate(holder))
        var changes = JobChanges()
        switch collision {
        case .existing: return existing
        case .reject:
            throw EngineError(
                .invalidState,
                "job \(holder) holds the unique key; enqueue again when it has let go of that, or take it as it is",
                job: holder)
        case .replace:
            changes.priority = enqueue.lane.priority
            changes.headers = enqueue.headers
            changes.payload = enqueue.payload
        case .postpone: break
        }
        changes.runAt = enqueue.runAt ?? now
        guard let waiting = waiting(holder, nil, in: batch) else { return existing }
        return try edit(holder, waiting, changes, .updated(holder), at: now, in: &batch)
    }

    private func edit(
        _ job: JobID, _ waiting: WaitingJob, _ changes: JobChanges, _ reply: Reply, at now: Timestamp,
        in batch: inout BatchScope
    ) throws(EngineError) -> Decision {
        var edit = Edit(
            job: job, from: waiting.lane, to: waiting.lane, runAt: changes.runAt.map { max($0, now) },
            headers: changes.headers, payload: changes.payload)
        if let queue = changes.queue { edit.to.queue = queue }
        if let priority = changes.priority { edit.to.priority = priority }
        if let maxAttempts = changes.maxAttempts { edit.to.maxAttempts = maxAttempts }
        guard waiting.attempt < edit.to.maxAttempts else {
            throw EngineError(
                .invalidState,
                "job \(job) has begun \(waiting.attempt) attempts; give it more than that, or cancel it", job: job)
        }
        if edit.changesNothing { return Decision(mutations: .none, reply: reply) }
        if let payload = edit.payload { try resizeInStore(job, bytes: payload.count, &batch) }
        if !edit.from.queue.isSameName(as: edit.to.queue) { try move(edit, in: &batch) }
        batch.setLane(edit.to, of: job)
        return Decision(.edit(edit), reply)
    }

    /// Notes in `batch` that a job changes its queue, if it may.
    private func move(_ edit: Edit, in batch: inout BatchScope) throws(EngineError) {
        let (from, to) = (edit.from.queue, edit.to.queue)
        let key = keysOfJobs[edit.job.rawValue]?.string
        let holdsKey = key.map { holder(of: $0, in: from, batch) == edit.job } ?? false
        if let key, holdsKey, let other = holder(of: key, in: to, batch), Safeguard.movedUniqueKey.isOn {
            throw EngineError(
                .invalidState,
                "job \(other) holds the unique key of job \(edit.job) in queue \(to); move it when that has ended",
                job: edit.job)
        }
        try reserve(in: to, &batch)
        shrink(from, in: &batch)
        if let key, holdsKey {
            batch.setHolder(nil, queue: from, key: key)
            batch.setHolder(edit.job, queue: to, key: key)
        }
    }

    private func waiting(_ job: JobID, _ lane: Lane?, in batch: BatchScope) -> WaitingJob? {
        let pending = batch.lane(of: job)
        let entry = entries[job.rawValue]
        switch batch.fate(of: job) {
        case .dead, .ended, .cancelled: return nil
        case .waiting(let attempt):
            return entry.map { WaitingJob(lane: pending ?? table.lane($0.lane), attempt: attempt) }
        case nil: break
        }
        if let entry {
            guard entry.phase == .waiting else { return nil }
            return WaitingJob(lane: pending ?? table.lane(entry.lane), attempt: entry.attempt)
        }
        // Enqueued or changed by an earlier operation of the batch; or ready and nothing else.
        if let pending { return WaitingJob(lane: pending, attempt: 0) }
        guard let lane, isPlainReady(job, lane: lane) else { return nil }
        return WaitingJob(lane: lane, attempt: 0)
    }

    private func refusal(ofEditing job: JobID, _ lane: Lane?, in batch: BatchScope) -> EngineError {
        let why: String
        switch (batch.fate(of: job), entries[job.rawValue]?.phase) {
        case (.dead, _), (nil, .dead): why = "is dead; redrive it first"
        case (nil, .leased):
            let worker = workers[job.rawValue].map { " by \($0)" } ?? ""
            why = "is leased\(worker); edit it once it waits again, or cancel it and enqueue another"
        case (nil, nil) where lane == nil || job.sequence > lastSequence: return .notFound(job)
        default: why = "has already finished; enqueue another"
        }
        return EngineError(.invalidState, "job \(job) \(why): only a job that waits can be edited", job: job)
    }
}

// MARK: - Checking

extension QueueState {
    func validate(_ edit: Edit, _ record: Record) throws(EngineError) {
        var attempt: UInt32 = 0
        if entries[edit.job.rawValue] != nil {
            let entry = try require(edit.job, allowing: .edit, record)
            guard table.matches(entry.lane, edit.from) || Safeguard.replayedLane.isOff else {
                throw illegal(record, "names another lane")
            }
            attempt = entry.attempt
        } else if !isPlainReady(edit.job, lane: edit.from), Safeguard.replayedEdit.isOn {
            throw illegal(record, "changes job \(edit.job), which does not wait")
        }
        let (from, to) = (edit.from, edit.to)
        let isLane =
            !to.queue.isEmpty && to.group.isSameName(as: from.group)
            && (1...RecordLimits.maxAttemptsMax).contains(to.maxAttempts) && attempt < to.maxAttempts
        guard isLane || Safeguard.replayedEdit.isOff else {
            throw illegal(record, "puts job \(edit.job) where it can't be")
        }
        guard !from.queue.isSameName(as: to.queue), let key = keysOfJobs[edit.job.rawValue] else { return }
        let isHeld = [from, to].map { lane in
            table.queue(lane.queue).flatMap { uniqueKeys[UniqueKey(queue: $0, key: key)]?.job }
        }
        guard isHeld[0] != edit.job.rawValue || isHeld[1] == nil || Safeguard.replayedEdit.isOff else {
            throw illegal(record, "takes a unique key along to where another job holds it")
        }
    }
}

// MARK: - Applying

extension QueueState {
    mutating func apply(_ edit: Edit, _ record: Record) {
        let job = edit.job.rawValue
        guard var entry = takeWaiting(job, in: edit.from) else { return }
        let from = entry.lane
        if !table.matches(from, edit.to) {
            entry.lane = table.intern(edit.to)
            table.addJobs(1, to: entry.lane)
            moveKey(of: job, entry, from: table.lanes[from].queue, to: table.lanes[entry.lane].queue)
        }
        if let runAt = edit.runAt {
            entry.runAt = runAt > record.time ? runAt.milliseconds : 0
            entry.flags.remove(.isPromoted)
        }
        entries[job] = entry
        wait(job, entry)
        if entry.lane != from { table.removeJob(from: from) }
        replaceContent(of: job, edit, record.sequence.rawValue)
        deadlinesChanged(of: job)
    }

    /// Takes along the key that a job holds, whether for its life or for a time.
    private mutating func moveKey(
        of job: UInt64, _ entry: JobEntry, from: Slot<QueueRecord>, to: Slot<QueueRecord>
    ) {
        guard from != to, entry.flags.contains(.hasUniqueKey), let key = keysOfJobs[job] else { return }
        let (old, new) = (UniqueKey(queue: from, key: key), UniqueKey(queue: to, key: key))
        guard let holder = uniqueKeys[old], holder.job == job else { return }
        uniqueKeys[old] = nil
        guard uniqueKeys[new] == nil else {
            windows[job] = nil
            return
        }
        uniqueKeys[new] = holder
        if holder.until != nil { windows[job] = new }
    }

    private mutating func replaceContent(of job: UInt64, _ edit: Edit, _ sequence: UInt64) {
        guard edit.payload != nil || edit.headers != nil else { return }
        let before = edited[job] ?? EditedContent()
        var content = before
        if edit.payload != nil { content.payload = sequence }
        if edit.headers != nil { content.headers = sequence }
        edited[job] = content
        needed.insert(sequence)
        if let payload = edit.payload { resize(job, bytes: payload.count) }
        let kept = content.sequences
        for old in before.sequences where !kept.contains(old) { needed.remove(old) }
    }

    /// Forgets what was changed about a job that ends.
    mutating func forgetContent(of job: UInt64) {
        guard !edited.isEmpty, let content = edited.removeValue(forKey: job) else { return }
        for sequence in content.sequences { needed.remove(sequence) }
    }
}

// MARK: - In digests and images

extension QueueState {
    /// Appends which records hold what was changed, by job.
    func encodeEdited(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(edited.count))
        var previous: UInt64 = 0
        for (job, content) in edited.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: job - previous)
            writer.append(varint: content.payload)
            writer.append(varint: content.headers)
            previous = job
        }
    }

    /// Reads what `encodeEdited` wrote; the entries are there.
    mutating func decodeEdited(_ reader: inout ByteReader) throws {
        var previous: UInt64 = 0
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let job = previous + step
            previous = job
            guard step > 0, entries[job] != nil else { throw Self.corruptImage("changes are of no job") }
            let content = EditedContent(
                payload: try reader.varint(atMost: lastSequence.rawValue),
                headers: try reader.varint(atMost: lastSequence.rawValue))
            guard !content.sequences.isEmpty else { throw Self.corruptImage("job \(job) was changed in nothing") }
            for sequence in content.sequences {
                guard needed.insert(sequence) else { throw Self.corruptImage("two things are in record \(sequence)") }
            }
            edited[job] = content
        }
    }
}
