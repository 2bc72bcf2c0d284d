// How long what has ended is kept: dead letters, where their queue says how many or how old; and results that are kept
// for a time of their own. Both go by a record when they are due, one too many at once, like all that expires.
//
// Which dead letter goes next follows from the state: of a queue that limits them, the one that died first, of several
// that died together the one with the lowest id. One that others wait for is passed over until none does: it may yet be
// redriven, and without it they would end. A queue that says nothing of it has no order and pays nothing.

package import HoldfastBytes

/// The dead letters of a queue that limits them, and for which nobody waits.
struct DeadLetterOrder: Sendable {
    /// By the time of death, then by id; may hold stale elements below its top.
    var heap = DeadlineHeap<Due>()
    /// The size at which it is next cleared of stale elements.
    var heapLimit = QueueState.heapSlack
    /// Which goes next, and when: as it is among the expiries.
    var next: DeadlineHeap<Due>.Element?
}

/// A result that is kept for a time, of a job that was acked.
struct KeptResult: Hashable, Sendable {
    /// That of the ack record.
    let sequence: UInt64
    /// Milliseconds.
    let until: Int64
    let queue: Slot<QueueRecord>
}

// MARK: - Dead letters

extension QueueState {
    /// Whether an element of a queue's order is of a job that died then, has been dead since, and is not waited for.
    private func mayGo(_ element: DeadlineHeap<Due>.Element) -> Bool {
        let job = element.job.rawValue
        guard let entry = entries[job], waits.dependents[job] == nil else { return false }
        return entry.phase == .dead && entry.deadline == element.deadline.milliseconds
    }

    func isNextDeadLetter(_ element: DeadlineHeap<Due>.Element) -> Bool {
        guard let entry = entries[element.job.rawValue] else { return false }
        return deadLetters[table.lanes[entry.lane].queue]?.next == element
    }

    /// Notes that a job of `queue` has died.
    mutating func deadLetterCame(_ job: UInt64, in queue: Slot<QueueRecord>, at time: Timestamp) {
        guard !deadLetters.isEmpty, deadLetters[queue] != nil else { return }
        if waits.dependents[job] == nil { deadLetters[queue]?.heap.push(time, JobID(job), .deadLetter) }
        if var order = deadLetters[queue], order.heap.count > order.heapLimit {
            // One that was waited for in between is there twice.
            var seen: Set<JobID> = []
            order.heap.removeAll { mayGo($0) && seen.insert($0.job).inserted }
            order.heapLimit = max(2 * order.heap.count, Self.heapSlack)
            deadLetters[queue] = order
        }
        deadLettersChanged(in: queue)
    }

    /// Notes that somebody waits for a job, which may be dead.
    mutating func deadLetterHeld(_ job: UInt64) {
        guard !deadLetters.isEmpty, let entry = entries[job], entry.phase == .dead else { return }
        deadLettersChanged(in: table.lanes[entry.lane].queue)
    }

    /// Notes that nobody waits for a job any more, which may be dead.
    mutating func deadLetterFreed(_ job: UInt64) {
        guard !deadLetters.isEmpty, let entry = entries[job], entry.phase == .dead else { return }
        deadLetterCame(job, in: table.lanes[entry.lane].queue, at: Timestamp(milliseconds: entry.deadline))
    }

    /// Finds out which dead letter of a queue goes next, after one has come or gone.
    mutating func deadLettersChanged(in queue: Slot<QueueRecord>) {
        guard !deadLetters.isEmpty, let before = deadLetters[queue]?.next ?? deadLetters[queue]?.heap.first else {
            return
        }
        while let top = deadLetters[queue]?.heap.first, !mayGo(top) { deadLetters[queue]?.heap.popFirst() }
        let next = nextDeadLetter(of: queue)
        guard next != deadLetters[queue]?.next else { return }
        deadLetters[queue]?.next = next
        if let next { pushExpiry(next.deadline.milliseconds, next.job.rawValue, .deadLetter) }
        deadlinesChanged(of: before.job.rawValue)
    }

    private func nextDeadLetter(of queue: Slot<QueueRecord>) -> DeadlineHeap<Due>.Element? {
        guard let oldest = deadLetters[queue]?.heap.first else { return nil }
        let retention = table.queues[queue].terms.retention
        let isOneTooMany = retention.deadMax.map { table.queues[queue].dead.count > $0 } ?? false
        let age = retention.deadAge.map { oldest.deadline.advanced(byMilliseconds: $0) }
        guard let due = isOneTooMany ? .zero : age else { return nil }
        return DeadlineHeap<Due>.Element(deadline: due, job: oldest.job, tag: .deadLetter)
    }

    /// Puts the dead letters of a queue in order, or forgets their order, after it said something else of them.
    ///
    /// - Complexity: O(d log d) in its dead letters when it begins to limit them.
    mutating func retentionChanged(of queue: Slot<QueueRecord>) {
        guard table.queues[queue].terms.retention.limitsDeadLetters else {
            if let next = deadLetters.removeValue(forKey: queue)?.next { deadlinesChanged(of: next.job.rawValue) }
            return
        }
        if deadLetters[queue] == nil {
            var order = DeadLetterOrder()
            var job = table.queues[queue].dead.first
            while let id = job {
                if let entry = entries[id], waits.dependents[id] == nil {
                    order.heap.push(Timestamp(milliseconds: entry.deadline), JobID(id), .deadLetter)
                }
                job = table.queues[queue].dead.first(after: id)
            }
            order.heapLimit = max(2 * order.heap.count, Self.heapSlack)
            deadLetters[queue] = order
        }
        deadLettersChanged(in: queue)
    }

    /// Returns, in their order, the dead letters that are to go at `now` from the queue of the job `first`, which is
    /// one of them; at most `limit`.
    func dueDeadLetters(from first: JobID, at now: Timestamp, limit: Int) -> [Mutation] {
        guard let entry = entries[first.rawValue], let order = deadLetters[table.lanes[entry.lane].queue] else {
            return []
        }
        let queue = table.queues[table.lanes[entry.lane].queue]
        let retention = queue.terms.retention
        let surplus = max(0, queue.dead.count - (retention.deadMax ?? .max))
        // One that died twice at one instant is there twice, like one that was waited for in between.
        func due(at time: Timestamp, limit: Int) -> [DeadlineHeap<Due>.Element] {
            var previous: JobID?
            return order.heap.due(
                at: time, limit: limit,
                where: { element in
                    guard element.job != previous, mayGo(element) else { return false }
                    previous = element.job
                    return true
                }, upTo: { freesOthers($0.job) })
        }
        var oldest = due(at: .max, limit: min(surplus, limit))
        if let age = retention.deadAge, age <= now.milliseconds {
            let aged = due(at: now.advanced(byMilliseconds: -age), limit: limit)
            if aged.count > oldest.count { oldest = aged }
        }
        return oldest.isEmpty
            ? [.expire(.deadLetter(job: first))] : oldest.map { .expire(.deadLetter(job: $0.job)) }
    }

    /// Whether others may have to go first once this dead letter has gone, as it waits for them.
    func freesOthers(_ job: JobID) -> Bool { !(waits.jobs[job.rawValue]?.pending.isEmpty ?? true) }

    /// When a dead letter goes because of its age; `nil` when its queue keeps it for any time, or others wait for it.
    package func deadLetterEnd(of job: JobID) -> Timestamp? {
        guard let entry = entries[job.rawValue], entry.phase == .dead, waits.dependents[job.rawValue] == nil else {
            return nil
        }
        let age = table.queues[table.lanes[entry.lane].queue].terms.retention.deadAge
        return age.map { Timestamp(milliseconds: entry.deadline).advanced(byMilliseconds: $0) }
    }

    /// Traps when the order of a queue's dead letters is not that of the jobs, or a kept result has no record.
    func checkRetention() {
        for (job, kept) in results {
            precondition(entries[job] == nil, "a job whose result is kept has ended")
            precondition(needed.contains(kept.sequence), "a result's record is needed")
        }
        for (queue, record) in table.queueSlots.values.map({ ($0, table.queues[$0]) }) {
            let isLimited = record.terms.retention.limitsDeadLetters
            precondition((deadLetters[queue] != nil) == isLimited, "dead letters are in order where they are limited")
            guard let order = deadLetters[queue] else { continue }
            let listed = Set(order.heap.due(at: .max, limit: .max) { mayGo($0) }.map(\.job.rawValue))
            let held = waits.dependents.keys.count { record.dead.contains($0) }
            let count = record.dead.count - held
            precondition(listed.count == count, "every dead letter that nobody waits for is in order, and no other")
            precondition(listed.allSatisfy(record.dead.contains), "what is in order is dead")
            precondition(order.next == nextDeadLetter(of: queue), "the next dead letter to go is known")
            precondition(order.heap.first.map { mayGo($0) } ?? true, "the oldest dead letter may go")
        }
    }
}

// MARK: - Results

extension QueueState {
    /// Where a result lies that is kept for a time, until when, and of which queue its job was.
    package func keptResult(of job: JobID) -> (sequence: SequenceNumber, until: Timestamp, queue: String)? {
        results[job.rawValue].map {
            (SequenceNumber($0.sequence), Timestamp(milliseconds: $0.until), table.queues[$0.queue].name)
        }
    }

    /// How many results are kept for a time.
    package var keptResultCount: Int { results.count }

    /// Until when the result of a job that is acked now is kept; `nil` for no longer than history.
    func resultEnd(_ entry: JobEntry, _ result: [UInt8]?, _ milliseconds: Int64?, at now: Timestamp) -> Timestamp? {
        guard result != nil else { return nil }
        let span = milliseconds ?? table.queues[table.lanes[entry.lane].queue].terms.retention.results ?? 0
        let until = now.advanced(byMilliseconds: max(span, 0))
        return until > now ? until : nil
    }

    /// Keeps the result of a job that is about to leave the state.
    mutating func keepResult(of job: UInt64, _ entry: JobEntry, until: Timestamp, at sequence: SequenceNumber) {
        let queue = table.lanes[entry.lane].queue
        results[job] = KeptResult(sequence: sequence.rawValue, until: until.milliseconds, queue: queue)
        needed.insert(sequence.rawValue)
        pushExpiry(until.milliseconds, job, .result)
    }

    mutating func forgetResult(of job: UInt64) {
        guard let kept = results.removeValue(forKey: job) else { return }
        needed.remove(kept.sequence)
        deadlinesChanged(of: job)
    }

    /// Appends which results are kept for a time, by job: varint(job - job before) · varint(ack record)
    /// · varint(until) · name(queue).
    func encodeResults(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(results.count))
        var previous: UInt64 = 0
        for (job, kept) in results.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: job - previous)
            writer.append(varint: kept.sequence)
            writer.append(varint: UInt64(bitPattern: kept.until))
            writer.append(counted: table.queues[kept.queue].name)
            previous = job
        }
    }

    /// Reads what `encodeResults` wrote; queues and entries are there.
    mutating func decodeResults(_ reader: inout ByteReader) throws {
        var previous: UInt64 = 0
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let job = previous + step
            previous = job
            let sequence = try reader.varint(atMost: lastSequence.rawValue)
            guard step > 0, job < sequence, entries[job] == nil, needed.insert(sequence) else {
                throw Self.corruptImage("record \(sequence) holds no result that is kept")
            }
            let until = Int64(try reader.varint(atMost: UInt64(Timestamp.max.milliseconds)))
            let name = try reader.countedString(atMost: RecordLimits.nameBytesMax)
            guard let queue = table.queue(name) else { throw Self.corruptImage("a result is of no queue") }
            results[job] = KeptResult(sequence: sequence, until: until, queue: queue)
            pushExpiry(until, job, .result)
        }
    }
}

// MARK: - Checking

extension QueueState {
    func validate(_ ack: Ack, _ record: Record) throws(EngineError) {
        guard let until = ack.until else { return }
        guard until > record.time && ack.result != nil || Safeguard.replayedResult.isOff else {
            throw illegal(record, "keeps a result for no time")
        }
    }

    func validate(deadLetter job: JobID, _ record: Record) throws(EngineError) {
        let queue = entries[job.rawValue].map { table.lanes[$0.lane].queue }
        let next = queue.flatMap { deadLetters[$0]?.next }
        guard let next, next.job == job, next.deadline <= record.time else {
            if Safeguard.replayedDeadLetter.isOff { return }
            throw illegal(record, "drops job \(job), which is no dead letter that has to go")
        }
    }

    func validate(resultOf job: JobID, _ record: Record) throws(EngineError) {
        guard let kept = results[job.rawValue], kept.until <= record.time.milliseconds else {
            if Safeguard.replayedResult.isOff { return }
            throw illegal(record, "forgets a result of job \(job) that is kept for longer, or not at all")
        }
    }
}
